//! When a rule about an incident is met, and from which instant on.

use crate::domain::{IncidentTimes, Priority, Sla, SlaStatus, Timestamp};
use crate::rules::Condition;

/// Whether a rule about single incidents is met at an instant. Rules about windows and patterns never are: they are met by
/// what happens, not by the state of one incident.
pub(super) fn is_met(condition: &Condition, priority: Priority, times: IncidentTimes, at: Timestamp) -> bool {
    let sla = Sla::assess(priority, times, at);
    match condition {
        Condition::SlaWarning { sla_remaining_pct } => {
            let is_short = sla.elapsed_micros >= warned_after(priority, *sla_remaining_pct);
            times.is_open() && is_short && sla.status != SlaStatus::Breached
        }
        Condition::SlaBreach => sla.status == SlaStatus::Breached,
        Condition::Threshold(_) | Condition::Pattern(_) => false,
    }
}

/// From when on an open incident meets the rule, and until when, if it stays as it is: `[from, until)`.
pub(super) fn met_during(
    condition: &Condition,
    priority: Priority,
    dispatch: Timestamp,
) -> Option<(Timestamp, Timestamp)> {
    let breach = dispatch.saturating_add_micros(priority.sla_micros());
    match condition {
        Condition::SlaWarning { sla_remaining_pct } => {
            let from = dispatch.saturating_add_micros(warned_after(priority, *sla_remaining_pct));
            (from < breach).then_some((from, breach))
        }
        Condition::SlaBreach => Some((breach, Timestamp::MAX)),
        Condition::Threshold(_) | Condition::Pattern(_) => None,
    }
}

/// Microseconds after dispatch from which on `pct` per cent of the target, or less, are left.
fn warned_after(priority: Priority, pct: f64) -> i64 {
    let target = priority.sla_micros();
    // Exact for whole per cents: the product stays below 2^53.
    target - (target as f64 * pct / 100.0).floor() as i64
}

/// Why the rule is met or not, with the values that were seen.
pub(super) fn why(condition: &Condition, priority: Priority, times: IncidentTimes, at: Timestamp) -> String {
    let sla = Sla::assess(priority, times, at);
    let stand = match (times.arrival, times.closed) {
        (Some(arrival), _) => format!("arrived at {arrival}"),
        (None, Some(closed)) => format!("closed at {closed}"),
        (None, None) => "open".to_owned(),
    };
    let elapsed = format!("{:.3} of {} minutes elapsed", sla.elapsed_minutes(), sla.target_minutes);
    match condition {
        Condition::SlaWarning { sla_remaining_pct } => {
            let remaining = 100.0 * (1.0 - sla.ratio());
            format!("{stand}, {elapsed}, {remaining:.1} % remaining, asked for {sla_remaining_pct} % or less")
        }
        _ => format!("{stand}, {elapsed}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_met_from_its_share_on_and_up_to_the_breach() {
        let dispatch = Timestamp::EPOCH;
        let at = |micros: i64| Timestamp::from_micros(micros).expect("in range");
        let open = IncidentTimes { dispatch, arrival: None, closed: None };
        for number in 1..=5 {
            let priority = Priority::new(number).expect("1 to 5");
            let target = priority.sla_micros();
            for (pct, from) in [(25.0, target / 4 * 3), (50.0, target / 2), (100.0, 0), (1.0, target / 100 * 99)] {
                let warning = Condition::SlaWarning { sla_remaining_pct: pct };
                assert_eq!(met_during(&warning, priority, dispatch), Some((at(from), at(target))));
                for (micros, expected) in [(from - 1, false), (from, true), (target - 1, true), (target, false)] {
                    assert_eq!(is_met(&warning, priority, open, at(micros)), expected, "{pct} % at {micros}");
                }
                let arrived = IncidentTimes { arrival: Some(at(from)), ..open };
                assert!(!is_met(&warning, priority, arrived, at(from)), "nobody is warned of what has arrived");
            }
            let never = Condition::SlaWarning { sla_remaining_pct: 0.0 };
            assert_eq!(met_during(&never, priority, dispatch), None);
            let breach = Condition::SlaBreach;
            assert_eq!(met_during(&breach, priority, dispatch), Some((at(target), Timestamp::MAX)));
            assert!(!is_met(&breach, priority, open, at(target - 1)) && is_met(&breach, priority, open, at(target)));
        }
    }
}
