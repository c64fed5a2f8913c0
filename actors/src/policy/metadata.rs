//! What the platform's policies mean to those who work under them: retries, timeouts, targets. Facts and pure functions.

use serde::Serialize;

use crate::domain::Severity;

/// What one of the platform's policies means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PolicyMetadata {
    /// The policy.
    pub policy: &'static str,
    /// For people.
    pub description: &'static str,
    /// How often a failed operation may be tried again.
    pub max_retries: u32,
    /// How long an operation may take, in seconds.
    pub timeout_seconds: u32,
}

/// The platform's policies, most permissive first.
pub const PLATFORM: [PolicyMetadata; 4] = [
    PolicyMetadata { policy: "normal", description: "Standard operations", max_retries: 3, timeout_seconds: 30 },
    PolicyMetadata { policy: "watch", description: "Elevated monitoring", max_retries: 2, timeout_seconds: 20 },
    PolicyMetadata { policy: "restricted", description: "Limited operations", max_retries: 1, timeout_seconds: 10 },
    PolicyMetadata { policy: "halted", description: "All operations suspended", max_retries: 0, timeout_seconds: 5 },
];

/// What a policy means, if it is one of the platform's.
pub fn of(policy: &str) -> Option<&'static PolicyMetadata> {
    PLATFORM.iter().find(|metadata| metadata.policy == policy)
}

/// Whether an operation that has been tried `attempts` times may be tried again under a policy; never under one that is not
/// the platform's.
pub fn may_retry(policy: &str, attempts: u32) -> bool {
    // The first attempt is no retry.
    of(policy).is_some_and(|metadata| attempts <= metadata.max_retries)
}

/// Whether a response met the target of its severity.
pub fn is_within_sla(severity: Severity, response_time_minutes: f64) -> bool {
    response_time_minutes <= f64::from(severity.sla_minutes())
}

/// The share of responses that met the target of their severity; 1 without any.
pub fn sla_compliance(responses: impl IntoIterator<Item = (Severity, f64)>) -> f64 {
    let (mut met, mut count) = (0u64, 0u64);
    for (severity, minutes) in responses {
        met += u64::from(is_within_sla(severity, minutes));
        count += 1;
    }
    if count == 0 { 1.0 } else { met as f64 / count as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::POLICY_ORDER_DEFAULT;

    #[test]
    fn the_platform_has_a_meaning_for_every_level_of_its_ladder() {
        assert_eq!(PLATFORM.map(|metadata| metadata.policy), POLICY_ORDER_DEFAULT);
        let of = |policy| of(policy).map(|m| (m.description, m.max_retries, m.timeout_seconds));
        for (policy, expected) in [
            ("normal", Some(("Standard operations", 3, 30))),
            ("watch", Some(("Elevated monitoring", 2, 20))),
            ("restricted", Some(("Limited operations", 1, 10))),
            ("halted", Some(("All operations suspended", 0, 5))),
            ("open", None),
        ] {
            assert_eq!(of(policy), expected, "{policy}");
        }
    }

    #[test]
    fn retries_end_where_the_policy_says() {
        for (policy, attempts, expected) in [
            ("normal", 1, true),
            ("normal", 3, true),
            ("normal", 4, false),
            ("restricted", 1, true),
            ("restricted", 2, false),
            ("halted", 1, false),
            ("open", 1, false),
        ] {
            assert_eq!(may_retry(policy, attempts), expected, "{policy} after {attempts}");
        }
    }

    #[test]
    fn compliance_counts_what_is_exactly_on_target_as_met() {
        let severity = |n| Severity::new(n).expect("1 to 5");
        assert!(is_within_sla(severity(5), 15.0) && !is_within_sla(severity(5), 15.000_001));
        assert_eq!(sla_compliance([]), 1.0);
        assert_eq!(sla_compliance([(severity(5), 15.0), (severity(4), 31.0), (severity(1), 480.0)]), 2.0 / 3.0);
    }
}
