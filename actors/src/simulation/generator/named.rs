//! The generators by the names that the interface contract gives them.

use super::super::pattern::{Cancel, FailurePattern};
use super::{GenerateError, Generator, Rule};
use crate::error::Invalid;

/// The seed's generators by name: even patterns.
///
/// ```
/// use ionveil_actors::simulation::FailurePatternGenerator;
/// let pattern = FailurePatternGenerator::burst_failure(3, 60, 3600)?;
/// assert_eq!(pattern.events.iter().filter(|(_, is_success)| !is_success).count(), 180);
/// let random = FailurePatternGenerator::seeded(42).constant_failure_rate(0.2, 3600, 1.0)?;
/// assert_eq!(random, FailurePatternGenerator::seeded(42).constant_failure_rate(0.2, 3600, 1.0)?);
/// # Ok::<(), ionveil_actors::error::Invalid>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct FailurePatternGenerator;

/// The same rules at random: each event fails with the rule's rate at that time.
#[derive(Debug, Clone, Copy)]
pub struct SeededPatternGenerator {
    seed: u64,
}

impl FailurePatternGenerator {
    /// The random forms, by a seed.
    pub fn seeded(seed: u64) -> SeededPatternGenerator {
        SeededPatternGenerator { seed }
    }

    /// `floor(duration · events per second)` events at equal distances, of which `rate` fail, spread evenly.
    ///
    /// # Errors
    /// When the rate is not 0–1, the duration not 1 to 10⁹ seconds, or there are no events per second or too many.
    pub fn constant_failure_rate(
        rate: f64,
        duration_seconds: u64,
        events_per_second: f64,
    ) -> Result<FailurePattern, Invalid> {
        made(Rule::Constant { rate, duration: duration_seconds, events_per_second }, None)
    }

    /// An event a second; the first `burst_size` of each interval fail.
    ///
    /// # Errors
    /// When one of them is 0, or the duration more than a pattern may hold.
    pub fn burst_failure(
        burst_size: u64,
        burst_interval_seconds: u64,
        duration_seconds: u64,
    ) -> Result<FailurePattern, Invalid> {
        made(Rule::Burst { size: burst_size, interval: burst_interval_seconds, duration: duration_seconds }, None)
    }

    /// An event a second; the rate grows by the factor each minute until recovery begins, then shrinks by it.
    ///
    /// # Errors
    /// When the rate is not 0–1, the factor not above 0, or the duration more than a pattern may hold.
    pub fn cascading_failure(
        initial_rate: f64,
        escalation_factor: f64,
        recovery_after_seconds: u64,
        duration_seconds: u64,
    ) -> Result<FailurePattern, Invalid> {
        made(cascading(initial_rate, escalation_factor, recovery_after_seconds, duration_seconds), None)
    }
}

#[allow(clippy::missing_errors_doc, reason = "as the even forms of the same name")]
impl SeededPatternGenerator {
    /// As [`FailurePatternGenerator::constant_failure_rate`], at random.
    pub fn constant_failure_rate(
        self,
        rate: f64,
        duration_seconds: u64,
        events_per_second: f64,
    ) -> Result<FailurePattern, Invalid> {
        made(Rule::Constant { rate, duration: duration_seconds, events_per_second }, Some(self.seed))
    }

    /// As [`FailurePatternGenerator::burst_failure`]; its rates are 0 and 1, so chance has no say in it.
    pub fn burst_failure(
        self,
        burst_size: u64,
        burst_interval_seconds: u64,
        duration_seconds: u64,
    ) -> Result<FailurePattern, Invalid> {
        let rule = Rule::Burst { size: burst_size, interval: burst_interval_seconds, duration: duration_seconds };
        made(rule, Some(self.seed))
    }

    /// As [`FailurePatternGenerator::cascading_failure`], at random.
    pub fn cascading_failure(
        self,
        initial_rate: f64,
        escalation_factor: f64,
        recovery_after_seconds: u64,
        duration_seconds: u64,
    ) -> Result<FailurePattern, Invalid> {
        let rule = cascading(initial_rate, escalation_factor, recovery_after_seconds, duration_seconds);
        made(rule, Some(self.seed))
    }
}

fn cascading(initial: f64, factor: f64, recovery_after: u64, duration: u64) -> Rule {
    Rule::Cascading { initial, factor, recovery_after, duration }
}

fn made(rule: Rule, seed: Option<u64>) -> Result<FailurePattern, Invalid> {
    Generator::new(rule, seed)?.generate(&Cancel::default()).map_err(|error| match error {
        GenerateError::Invalid(invalid) => invalid,
        GenerateError::Cancelled(_) => unreachable!("nobody has the flag"),
    })
}
