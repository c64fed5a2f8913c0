//! How long to wait after the n-th failure in a row.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use ionveil_journal::StreamId;

/// The wait after the second failure in a row; it doubles from there.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
pub(super) const LONGEST: Duration = Duration::from_secs(30);

/// None after the first failure, which may be a matter of luck; then doubling up to [`LONGEST`]. A quarter more or less, by
/// entity and number, so that those who failed together do not come back together.
pub(super) fn after(stream: &StreamId, failures: u32) -> Duration {
    let Some(doublings) = failures.checked_sub(2) else { return Duration::ZERO };
    let wait = FIRST.saturating_mul(1 << doublings.min(16)).min(LONGEST);
    let mut hasher = DefaultHasher::new();
    (stream, failures).hash(&mut hasher);
    let permille = 750 + (hasher.finish() % 501) as u32;
    (wait * permille / 1_000).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_cap_and_differs_between_entities() {
        let stream = |n: u32| format!("counter/{n}").parse::<StreamId>().expect("a stream");
        assert_eq!(after(&stream(1), 1), Duration::ZERO);
        for failures in 2..100 {
            let nominal = FIRST.saturating_mul(1 << (failures - 2).min(16)).min(LONGEST);
            for n in 0..20 {
                let wait = after(&stream(n), failures);
                assert!(wait >= nominal * 3 / 4 && wait <= LONGEST && wait <= nominal * 5 / 4, "{failures}: {wait:?}");
                assert_eq!(wait, after(&stream(n), failures));
            }
        }
        let waits: std::collections::HashSet<_> = (0..20).map(|n| after(&stream(n), 3)).collect();
        assert!(waits.len() > 10, "{waits:?}");
    }
}
