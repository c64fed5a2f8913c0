//! How long to wait before the next try. Nothing random: the jitter follows from the message and the try, so that a replay
//! computes the same, and yet no two messages come back in step.

use uuid::Uuid;

/// Tries of one message before it is a dead letter.
pub const ATTEMPTS_MAX: u32 = 10;
/// Longest wait that a receiver may ask for, in seconds.
pub const RETRY_AFTER_MAX_SECONDS: u64 = 3_600;

const SECOND: i64 = 1_000_000;
const FIRST: i64 = SECOND;
const CAP: i64 = 300 * SECOND;

/// Microseconds to wait after the `attempts`-th try failed: 1 s, doubled each time, 300 s at most, of which the last half
/// is jitter.
pub fn retry_delay_micros(notification_id: Uuid, attempts: u32) -> i64 {
    let doubled = FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(CAP);
    let half = doubled / 2;
    let jitter = mixed(notification_id, attempts) % (half as u64 + 1);
    half + jitter as i64
}

/// A number that looks random, of a message and a try (SplitMix64's finish over the id).
fn mixed(id: Uuid, attempts: u32) -> u64 {
    let (high, low) = id.as_u64_pair();
    let mut mixed = high ^ low.rotate_left(32) ^ (u64::from(attempts)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_cap_differ_between_messages_and_are_the_same_again() {
        let ids: Vec<Uuid> = (1..200u128).map(|n| Uuid::from_u128(n * 0x1234_5678_9abc_def1)).collect();
        for (attempts, full) in [(1, 1), (2, 2), (3, 4), (8, 128), (9, 256), (10, 300), (60, 300), (u32::MAX, 300)] {
            let waits: Vec<i64> = ids.iter().map(|&id| retry_delay_micros(id, attempts)).collect();
            assert!(
                waits.iter().all(|wait| (full * SECOND / 2..=full * SECOND).contains(wait)),
                "{attempts}: {waits:?}"
            );
            let distinct: std::collections::BTreeSet<_> = waits.iter().collect();
            assert!(distinct.len() > 150, "{} of {}", distinct.len(), ids.len());
            assert_eq!(waits, ids.iter().map(|&id| retry_delay_micros(id, attempts)).collect::<Vec<_>>());
        }
    }
}
