//! How an incident stands against the minutes it may take: status, stage, what is left, and when it is over.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::priority::Priority;
use super::timestamp::{MICROS_PER_MINUTE, Timestamp};

/// How an incident stands against its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlaStatus {
    /// In time, or with more than a quarter of the target left.
    Compliant,
    /// Open, with a quarter of the target left at most.
    Warning,
    /// Too late.
    Breached,
}

impl SlaStatus {
    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            SlaStatus::Compliant => "compliant",
            SlaStatus::Warning => "warning",
            SlaStatus::Breached => "breached",
        }
    }
}

impl fmt::Display for SlaStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An incident's times, as far as they are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentTimes {
    /// When a unit was sent.
    pub dispatch: Timestamp,
    /// When the first one arrived.
    pub arrival: Option<Timestamp>,
    /// When the incident was closed.
    pub closed: Option<Timestamp>,
}

impl IncidentTimes {
    /// Whether nobody has arrived and it is not closed.
    pub fn is_open(&self) -> bool {
        self.end().is_none()
    }

    /// What ends the count: the arrival, else the closing.
    pub fn end(&self) -> Option<Timestamp> {
        self.arrival.or(self.closed)
    }
}

/// How an incident stands against its target at one instant. All comparisons are of whole microseconds.
///
/// ```
/// use ionveil_actors::domain::{IncidentTimes, Priority, Sla, SlaStatus};
/// let dispatch = "2026-01-31T08:00:00Z".parse()?;
/// let times = IncidentTimes { dispatch, arrival: None, closed: None };
/// let sla = Sla::assess(Priority::new(1)?, times, "2026-01-31T08:03:45Z".parse()?);
/// assert_eq!((sla.status, sla.stage(), sla.remaining_minutes()), (SlaStatus::Warning, 2, 1.25));
/// assert_eq!(sla.breach_time.to_string(), "2026-01-31T08:05:00Z");
/// # Ok::<(), ionveil_actors::error::Invalid>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sla {
    /// Where it stands.
    pub status: SlaStatus,
    /// Minutes it may take.
    pub target_minutes: u32,
    /// Microseconds from dispatch to arrival, else closing, else now; negative when dispatch lies ahead.
    pub elapsed_micros: i64,
    /// Dispatch + target, whatever happened since.
    pub breach_time: Timestamp,
}

impl Sla {
    /// Looks at an incident at the instant `now`.
    pub fn assess(priority: Priority, times: IncidentTimes, now: Timestamp) -> Self {
        let target = priority.sla_micros();
        let end = times.end();
        let elapsed = end.unwrap_or(now).as_micros() - times.dispatch.as_micros();
        let status = match end {
            Some(_) if elapsed <= target => SlaStatus::Compliant,
            Some(_) => SlaStatus::Breached,
            None if elapsed >= target => SlaStatus::Breached,
            None if reaches(elapsed, target, 75) => SlaStatus::Warning,
            None => SlaStatus::Compliant,
        };
        let breach_time = times.dispatch.saturating_add_micros(target);
        Sla { status, target_minutes: priority.sla_minutes(), elapsed_micros: elapsed, breach_time }
    }

    /// How many of the thresholds 0.50, 0.75, 0.90 and 1.00 of the target have passed: 0 to 4.
    pub fn stage(&self) -> u8 {
        let target = self.target_micros();
        [50, 75, 90, 100].into_iter().map(|percent| u8::from(reaches(self.elapsed_micros, target, percent))).sum()
    }

    /// Minutes from dispatch to arrival, else closing, else now.
    pub fn elapsed_minutes(&self) -> f64 {
        minutes(self.elapsed_micros)
    }

    /// Minutes left; negative when the target is over.
    pub fn remaining_minutes(&self) -> f64 {
        minutes(self.target_micros() - self.elapsed_micros)
    }

    /// Elapsed / target.
    pub fn ratio(&self) -> f64 {
        self.elapsed_micros as f64 / self.target_micros() as f64
    }

    fn target_micros(&self) -> i64 {
        i64::from(self.target_minutes) * MICROS_PER_MINUTE
    }
}

/// Whether `elapsed` has reached that share of `target`. No product here leaves an `i64`: an elapsed time spans 10,000
/// years at most.
fn reaches(elapsed: i64, target: i64, percent: i64) -> bool {
    elapsed >= (target / 100) * percent
}

/// Microseconds as minutes.
fn minutes(micros: i64) -> f64 {
    micros as f64 / MICROS_PER_MINUTE as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISPATCH: i64 = 1_000_000_000_000_000;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(DISPATCH + micros).expect("in range")
    }

    fn times(arrival: Option<i64>, closed: Option<i64>) -> IncidentTimes {
        IncidentTimes { dispatch: at(0), arrival: arrival.map(at), closed: closed.map(at) }
    }

    /// The existing platform's checks, at each boundary and a microsecond beside it, for each priority.
    #[test]
    fn an_open_incident_changes_at_each_share_of_its_target_and_not_a_microsecond_before() {
        use SlaStatus::{Breached, Compliant, Warning};
        for number in 1..=5 {
            let priority = Priority::new(number).expect("1 to 5");
            let target = priority.sla_micros();
            for (elapsed, status, stage) in [
                (-1, Compliant, 0),
                (0, Compliant, 0),
                (target / 2 - 1, Compliant, 0),
                (target / 2, Compliant, 1),
                (target * 3 / 4 - 1, Compliant, 1),
                (target * 3 / 4, Warning, 2),
                (target * 9 / 10 - 1, Warning, 2),
                (target * 9 / 10, Warning, 3),
                (target - 1, Warning, 3),
                (target, Breached, 4),
                (target + 1, Breached, 4),
                (target * 1000, Breached, 4),
            ] {
                let sla = Sla::assess(priority, times(None, None), at(elapsed));
                assert_eq!((sla.status, sla.stage()), (status, stage), "priority {number}, {elapsed} µs");
                assert_eq!(sla.remaining_minutes(), (target - elapsed) as f64 / 6e7);
                assert_eq!(sla.elapsed_minutes(), elapsed as f64 / 6e7);
                assert_eq!(sla.breach_time, at(target));
                assert_eq!(sla.ratio(), elapsed as f64 / target as f64);
            }
        }
    }

    #[test]
    fn what_has_arrived_or_closed_is_in_time_up_to_the_target_and_never_warned_of() {
        use SlaStatus::{Breached, Compliant};
        let priority = Priority::new(2).expect("1 to 5");
        let target = priority.sla_micros();
        let long_after = at(target * 50);
        for (arrival, closed, status, elapsed, stage) in [
            (Some(0), None, Compliant, 0, 0),
            (Some(target * 9 / 10), None, Compliant, target * 9 / 10, 3),
            (Some(target), None, Compliant, target, 4),
            (Some(target + 1), None, Breached, target + 1, 4),
            // Without an arrival the closing counts, with one it does not.
            (None, Some(target), Compliant, target, 4),
            (None, Some(target + 1), Breached, target + 1, 4),
            (Some(1), Some(target * 9), Compliant, 1, 0),
            (Some(target + 1), Some(1), Breached, target + 1, 4),
        ] {
            let sla = Sla::assess(priority, times(arrival, closed), long_after);
            assert_eq!((sla.status, sla.elapsed_micros, sla.stage()), (status, elapsed, stage));
            assert_eq!(sla.breach_time, at(target));
        }
    }
}
