//! Breaches one after the other, counted per pattern rule.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::domain::{MICROS_PER_MINUTE, Timestamp};
use crate::rules::Pattern;

/// The breaches since the last compliant incident, or since the rule fired; at most as many as fire it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counter {
    /// The takeover of rules since which it counts.
    pub(super) since: u32,
    /// When each was breached, in the order in which that became known.
    pub(super) breaches: VecDeque<Timestamp>,
}

/// What made a pattern rule fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fired {
    pub(super) breaches: u32,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

impl Counter {
    /// Takes in the outcome of one incident: when it was breached, or `None` for a compliant one.
    pub(super) fn take(&mut self, pattern: Pattern, breach: Option<Timestamp>) -> Option<Fired> {
        let Some(breach) = breach else {
            self.breaches.clear();
            return None;
        };
        self.breaches.push_back(breach);
        if self.breaches.len() < pattern.consecutive_breaches as usize {
            return None;
        }
        let (first, last) = (self.breaches[0], breach);
        let apart = (last.as_micros() - first.as_micros()).abs();
        let is_within = pattern.within_minutes.is_none_or(|minutes| apart <= i64::from(minutes) * MICROS_PER_MINUTE);
        if is_within {
            self.breaches.clear();
            return Some(Fired { breaches: pattern.consecutive_breaches, first, last });
        }
        // Too far apart: the first one can no longer be part of a series that is close enough.
        self.breaches.pop_front();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fires_at_the_nth_breach_in_a_row_and_starts_again() {
        let minute = |minutes: i64| Timestamp::EPOCH.saturating_add_micros(minutes * MICROS_PER_MINUTE);
        let run = |n, within, outcomes: &[Option<i64>]| {
            let pattern = Pattern { consecutive_breaches: n, within_minutes: within };
            let mut counter = Counter::default();
            let fires = |outcome: &Option<i64>| counter.take(pattern, outcome.map(minute)).is_some();
            outcomes.iter().map(fires).map(u8::from).collect::<Vec<_>>()
        };
        let b = Some;
        assert_eq!(run(3, None, &[b(0), b(1), b(2), b(3), b(4), b(5)]), [0, 0, 1, 0, 0, 1]);
        assert_eq!(run(3, None, &[b(0), b(1), None, b(2), b(3), b(4)]), [0, 0, 0, 0, 0, 1]);
        assert_eq!(run(1, None, &[b(0), None, b(1)]), [1, 0, 1]);
        assert_eq!(run(2, Some(10), &[b(0), b(10), b(20), b(31), b(41)]), [0, 1, 0, 0, 1]);
        assert_eq!(run(2, Some(10), &[b(20), b(10)]), [0, 1], "the order is that in which they became known");
    }
}
