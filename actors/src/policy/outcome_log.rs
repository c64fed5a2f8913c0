//! Outcomes with their times, packed: what is stored of them, and read again by the million.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Outcomes in order, each at a number of microseconds, in a few bytes or less.
///
/// Runs of equal outcomes at equal distances are stored once, with their count. Times may go back; two in a row are less
/// than 2⁶¹ µs (73,000 years) apart, and no more than 2⁶² outcomes are one log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeLog {
    count: u64,
    /// The time before the first outcome, in microseconds.
    origin: i64,
    /// What distances are counted in: 1, 1,000 or 1,000,000 microseconds.
    unit: u32,
    runs: Bytes,
}

/// Equal outcomes at equal distances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutcomeRun {
    /// When the first of them was, in microseconds.
    pub first: i64,
    /// Microseconds from each to the next; may be negative.
    pub distance: i64,
    /// What all of them were.
    pub is_success: bool,
    /// How many; at least 1.
    pub count: u64,
}

impl OutcomeRun {
    /// When the outcome of that number, from 0, was.
    pub fn time_of(&self, number: u64) -> i64 {
        self.first + self.distance * number as i64
    }
}

/// Bytes of a log that do not say what its head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an outcome log of {count} outcomes is damaged")]
pub struct DamagedLog {
    count: u64,
}

impl OutcomeLog {
    /// Packs outcomes. The clone of the iterator is walked first, to find the unit.
    pub fn pack(outcomes: impl Iterator<Item = (i64, bool)> + Clone) -> Self {
        let runs = outcomes.map(|(at, is_success)| OutcomeRun { first: at, distance: 0, is_success, count: 1 });
        Self::pack_runs(runs)
    }

    /// Packs runs of outcomes, such as a million at one instant.
    pub fn pack_runs(runs: impl Iterator<Item = OutcomeRun> + Clone) -> Self {
        let origin = runs.clone().next().map_or(0, |run| run.first);
        let unit = unit_of(runs.clone().flat_map(|run| [run.first.wrapping_sub(origin), run.distance]));
        let mut packer = Packer { bytes: Vec::new(), pending: None, unit: i64::from(unit) };
        let (mut count, mut before) = (0u64, origin);
        for run in runs {
            packer.push(run.first.wrapping_sub(before), run.is_success, 1);
            if run.count > 1 {
                packer.push(run.distance, run.is_success, run.count - 1);
            }
            before = run.time_of(run.count - 1);
            count += run.count;
        }
        packer.flush();
        OutcomeLog { count, origin, unit, runs: Bytes(packer.bytes) }
    }

    /// How many outcomes.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Bytes that it takes up, about.
    pub fn bytes(&self) -> usize {
        self.runs.0.len() + 32
    }

    /// The runs in order.
    ///
    /// # Panics
    /// On bytes that [`OutcomeLog::check`] refuses.
    pub fn runs(&self) -> impl Iterator<Item = OutcomeRun> + '_ {
        self.try_runs().map(|run| run.expect("a log is checked when it is decoded"))
    }

    /// The outcomes one by one: microseconds and whether it was a success.
    ///
    /// # Panics
    /// As [`OutcomeLog::runs`].
    pub fn outcomes(&self) -> impl Iterator<Item = (i64, bool)> + '_ {
        self.runs().flat_map(|run| (0..run.count).map(move |number| (run.time_of(number), run.is_success)))
    }

    /// Whether the bytes are as many outcomes as the log says, none of them beyond what microseconds can count.
    ///
    /// # Errors
    /// When they are not.
    pub fn check(&self) -> Result<(), DamagedLog> {
        let damaged = DamagedLog { count: self.count };
        if ![1, 1_000, 1_000_000].contains(&self.unit) {
            return Err(damaged);
        }
        let mut count = 0u64;
        for run in self.try_runs() {
            count = count.checked_add(run?.count).ok_or(damaged)?;
        }
        if count == self.count { Ok(()) } else { Err(damaged) }
    }

    fn try_runs(&self) -> impl Iterator<Item = Result<OutcomeRun, DamagedLog>> + '_ {
        let damaged = DamagedLog { count: self.count };
        let (mut rest, mut before) = (&self.runs.0[..], self.origin);
        let unit = i64::from(self.unit);
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let mut next = || {
                let head = read_varint(&mut rest)?;
                let more = read_varint(&mut rest)?;
                let distance = unzigzag(head >> 1).checked_mul(unit)?;
                let count = more + 1;
                let first = before.checked_add(distance)?;
                let span = distance.checked_mul(i64::try_from(count - 1).ok()?)?;
                before = first.checked_add(span)?;
                Some(OutcomeRun { first, distance, is_success: head & 1 == 1, count })
            };
            let run = next().ok_or(damaged);
            if run.is_err() {
                rest = &[];
            }
            Some(run)
        })
    }
}

impl fmt::Debug for OutcomeLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.try_runs()).finish()
    }
}

/// Largest unit that measures all of these.
fn unit_of(mut distances: impl Iterator<Item = i64> + Clone) -> u32 {
    [1_000_000, 1_000].into_iter().find(|&unit| distances.clone().all(|d| d % i64::from(unit) == 0)).unwrap_or_else(
        || {
            debug_assert!(distances.next().is_some(), "any unit measures nothing");
            1
        },
    )
}

struct Packer {
    bytes: Vec<u8>,
    /// Distance in units, outcome, count.
    pending: Option<(i64, bool, u64)>,
    unit: i64,
}

impl Packer {
    fn push(&mut self, distance: i64, is_success: bool, count: u64) {
        let distance = distance / self.unit;
        match &mut self.pending {
            Some((same, as_before, total)) if (*same, *as_before) == (distance, is_success) => *total += count,
            _ => {
                self.flush();
                self.pending = Some((distance, is_success, count));
            }
        }
    }

    fn flush(&mut self) {
        if let Some((distance, is_success, count)) = self.pending.take() {
            write_varint(&mut self.bytes, zigzag(distance) << 1 | u64::from(is_success));
            write_varint(&mut self.bytes, count - 1);
        }
    }
}

/// Small numbers of either sign become small numbers without one.
fn zigzag(number: i64) -> u64 {
    debug_assert!(number.unsigned_abs() < 1 << 61, "{number} µs apart");
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
fn write_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// At most 63 bits, which is what a log needs; `None` when the bytes end, or go on.
#[inline]
fn read_varint(rest: &mut &[u8]) -> Option<u64> {
    let (&first, mut tail) = rest.split_first()?;
    let mut number = u64::from(first & 0x7f);
    let mut last = first;
    for shift in (7..63).step_by(7) {
        if last < 0x80 {
            break;
        }
        let (&byte, after) = tail.split_first()?;
        (last, tail) = (byte, after);
        number |= u64::from(last & 0x7f) << shift;
    }
    *rest = tail;
    (last < 0x80).then_some(number)
}

/// Bytes that are stored as bytes, not number by number.
#[derive(Clone, PartialEq, Eq)]
struct Bytes(Vec<u8>);

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Buffer;
        impl Visitor<'_> for Buffer {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Buffer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcomes() -> impl Strategy<Value = Vec<(i64, bool)>> {
        let distance = prop_oneof![Just(0), Just(1_000_000), 0..10_000_000i64, -5_000..5_000i64, Just(3_000)];
        proptest::collection::vec((distance, any::<bool>()), 0..200).prop_map(|steps| {
            let mut at = 0;
            let absolute = steps.into_iter().map(|(distance, is_success)| {
                at += distance;
                (at, is_success)
            });
            absolute.collect()
        })
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read_back(outcomes in outcomes()) {
            let log = OutcomeLog::pack(outcomes.iter().copied());
            prop_assert_eq!(log.check(), Ok(()));
            prop_assert_eq!(log.count(), outcomes.len() as u64);
            prop_assert_eq!(log.outcomes().collect::<Vec<_>>(), outcomes);
        }

        #[test]
        fn damaged_bytes_are_refused_or_read_without_a_panic(outcomes in outcomes(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let mut log = OutcomeLog::pack(outcomes.iter().copied());
            if !log.runs.0.is_empty() {
                let index = at.index(log.runs.0.len());
                log.runs.0[index] ^= 1 << bit;
            }
            if log.check().is_ok() {
                prop_assert_eq!(log.runs().map(|run| run.count).sum::<u64>(), log.count());
            }
        }
    }

    #[test]
    fn a_regular_stream_takes_a_few_bytes_whatever_its_length() {
        let log = OutcomeLog::pack((0..1_000_000).map(|second| (second * 1_000_000, true)));
        assert!(log.bytes() < 50, "{}", log.bytes());
        let at_once = OutcomeRun { first: 7, distance: 0, is_success: false, count: 1_000_000 };
        let log = OutcomeLog::pack_runs([at_once].into_iter());
        assert!(log.bytes() < 50 && log.outcomes().all(|outcome| outcome == (7, false)), "{log:?}");
    }

    #[test]
    fn extremes_survive_and_a_wrong_count_or_unit_is_damage() {
        let far = [(1 << 59, true), (-(1 << 59), false), (0, true)];
        let log = OutcomeLog::pack(far.into_iter());
        assert_eq!(log.outcomes().collect::<Vec<_>>(), far);
        let damaged = OutcomeLog { count: 2, ..log.clone() };
        assert_eq!(damaged.check().expect_err("three").to_string(), "an outcome log of 2 outcomes is damaged");
        assert!(OutcomeLog { unit: 7, ..log }.check().is_err());
        assert_eq!(OutcomeLog::pack([].into_iter()).check(), Ok(()));
    }
}
