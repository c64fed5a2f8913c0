//! Failure patterns: successes and failures with their offsets from a virtual start.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::domain::check_id;
use crate::error::Invalid;

/// Most events of a pattern.
pub const PATTERN_EVENTS_MAX: usize = 10_000_000;

/// Seconds from the virtual start, in whole microseconds; not negative.
///
/// In JSON a number of seconds, whole when it is whole.
///
/// ```
/// use ionveil_actors::simulation::Offset;
/// assert_eq!(Offset::from_seconds(1.25)?.as_micros(), 1_250_000);
/// assert_eq!(serde_json::to_string(&[Offset::from_seconds(60.0)?, Offset::from_seconds(0.5)?]).unwrap(), "[60,0.5]");
/// assert!(Offset::from_seconds(-1.0).is_err() && Offset::from_seconds(f64::NAN).is_err());
/// # Ok::<(), ionveil_actors::error::Invalid>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(i64);

impl Offset {
    /// The latest, some 285 years: as far as a microsecond still tells two numbers of seconds apart.
    pub const MAX: Offset = Offset(9_007_199_254_000_000);

    /// What is finer than a microsecond is rounded.
    ///
    /// # Errors
    /// When it is no number from 0 to [`Offset::MAX`].
    pub fn from_seconds(seconds: f64) -> Result<Self, Invalid> {
        if (0.0..=Self::MAX.as_seconds()).contains(&seconds) {
            // Adding 0 makes 0 of −0.
            return Ok(Offset((seconds * 1e6).round() as i64));
        }
        Err(Invalid::new("offset_seconds", seconds, format!("a number, 0 to {}", Self::MAX.as_seconds())))
    }

    /// The offset of that many microseconds, if it is one.
    pub fn from_micros(micros: i64) -> Option<Self> {
        (0..=Self::MAX.0).contains(&micros).then_some(Offset(micros))
    }

    /// Microseconds.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// Seconds.
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_seconds().fmt(f)
    }
}

impl Serialize for Offset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % 1_000_000 {
            0 => serializer.serialize_i64(self.0 / 1_000_000),
            _ => serializer.serialize_f64(self.as_seconds()),
        }
    }
}

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Offset::from_seconds(f64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// Successes and failures to run a policy against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailurePattern {
    /// 1–128 characters, no control characters, no `/`; of a generated pattern the generator's own text.
    pub pattern_id: String,
    /// For people.
    pub description: String,
    /// Offset and whether it was a success, in any order; at most [`PATTERN_EVENTS_MAX`].
    pub events: Vec<(Offset, bool)>,
}

impl FailurePattern {
    /// Checks the id and the number of events.
    ///
    /// # Errors
    /// Names the field, its value and what is allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        check_id("pattern_id", &self.pattern_id)?;
        check_events_len(self.events.len())
    }
}

pub(super) fn check_events_len(len: usize) -> Result<(), Invalid> {
    if len > PATTERN_EVENTS_MAX {
        return Err(Invalid::new("events", format_args!("{len} of them"), format!("at most {PATTERN_EVENTS_MAX}")));
    }
    Ok(())
}

impl Serialize for FailurePattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("FailurePattern", 3)?;
        object.serialize_field("pattern_id", &self.pattern_id)?;
        object.serialize_field("description", &self.description)?;
        object.serialize_field("events", &self.events)?;
        object.end()
    }
}

/// A flag by which long computing is told to stop, and says how far it is. Clones are the same flag.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    is_cancelled: AtomicBool,
    done: AtomicU64,
}

/// Computing was told to stop, and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it was cancelled")]
pub struct Cancelled;

impl Cancel {
    /// Tells whoever looks at the flag to stop.
    pub fn cancel(&self) {
        self.0.is_cancelled.store(true, Ordering::Relaxed);
    }

    /// How many events the state machine has taken in so far.
    pub fn events_done(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed)
    }

    /// As [`Cancel::check`]; says how many events are done.
    pub(super) fn check_at(&self, done: u64) -> Result<(), Cancelled> {
        self.0.done.store(done, Ordering::Relaxed);
        self.check()
    }

    /// Goes on unless told to stop.
    ///
    /// # Errors
    /// When told to stop.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.0.is_cancelled.load(Ordering::Relaxed) { Err(Cancelled) } else { Ok(()) }
    }
}

/// A pattern as the state machine takes it: in order, cut at the duration, equal outcomes in a row as one run. Prepared once,
/// it serves any number of scenarios.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedPattern {
    duration: i64,
    /// In microseconds, ascending, all before the duration.
    offsets: Vec<i64>,
    /// Lengths of runs of equal outcomes, successes and failures in turn.
    runs: Vec<u32>,
    first_is_success: bool,
    failures: u64,
    ignored: u64,
}

/// Elements between two looks at the flag: some hundred microseconds of work.
pub(super) const CANCEL_STRIDE: usize = 1 << 15;

impl PreparedPattern {
    /// Sorts events by offset, those of equal offsets in the order given, and leaves out what is at or after
    /// `duration_seconds`.
    ///
    /// # Errors
    /// When it was cancelled.
    pub fn new(events: &[(Offset, bool)], duration_seconds: u64, cancel: &Cancel) -> Result<Self, Cancelled> {
        let duration = duration_seconds as i64 * 1_000_000;
        let mut kept = Vec::new();
        for chunk in events.chunks(CANCEL_STRIDE) {
            cancel.check()?;
            kept.extend(chunk.iter().filter(|(offset, _)| offset.0 < duration));
        }
        let ignored = (events.len() - kept.len()) as u64;
        sort(&mut kept, cancel)?;
        Self::of_sorted(&kept, duration, ignored, cancel)
    }

    fn of_sorted(sorted: &[(Offset, bool)], duration: i64, ignored: u64, cancel: &Cancel) -> Result<Self, Cancelled> {
        let first_is_success = sorted.first().is_some_and(|&(_, is_success)| is_success);
        let mut prepared = PreparedPattern {
            duration,
            offsets: Vec::with_capacity(sorted.len()),
            runs: Vec::new(),
            first_is_success,
            failures: 0,
            ignored,
        };
        let (mut current, mut length) = (first_is_success, 0u32);
        for chunk in sorted.chunks(CANCEL_STRIDE) {
            cancel.check()?;
            for &(offset, is_success) in chunk {
                prepared.offsets.push(offset.0);
                prepared.failures += u64::from(!is_success);
                if is_success != current {
                    prepared.runs.push(length);
                    (current, length) = (is_success, 0);
                }
                length += 1;
            }
        }
        if length > 0 {
            prepared.runs.push(length);
        }
        Ok(prepared)
    }

    /// Two parts: what is before an instant, and what is at or after it, counted from that instant on.
    ///
    /// # Panics
    /// When the instant is not within the duration.
    pub fn split(&self, at_seconds: u64) -> (Self, Self) {
        let at = at_seconds as i64 * 1_000_000;
        assert!(0 < at && at < self.duration, "{at_seconds} s is not within the duration");
        let events: Vec<(Offset, bool)> = self.events().collect();
        let cut = events.partition_point(|(offset, _)| offset.0 < at);
        let later: Vec<_> =
            events[cut..].iter().map(|&(offset, is_success)| (Offset(offset.0 - at), is_success)).collect();
        let part = |events: &[_], duration| {
            Self::of_sorted(events, duration, 0, &Cancel::default()).expect("nobody has the flag")
        };
        (part(&events[..cut], at), part(&later, self.duration - at))
    }

    /// The events in order.
    pub fn events(&self) -> impl Iterator<Item = (Offset, bool)> + '_ {
        let outcomes = self.runs().flat_map(|(is_success, count)| std::iter::repeat_n(is_success, count as usize));
        self.offsets.iter().map(|&offset| Offset(offset)).zip(outcomes)
    }

    /// Runs of equal outcomes with their lengths, in order.
    #[inline]
    pub fn runs(&self) -> impl Iterator<Item = (bool, u32)> + '_ {
        let mut is_success = !self.first_is_success;
        self.runs.iter().map(move |&count| {
            is_success = !is_success;
            (is_success, count)
        })
    }

    /// Offsets in microseconds, ascending.
    pub fn offsets_micros(&self) -> &[i64] {
        &self.offsets
    }

    /// How long the simulation lasts, in microseconds.
    pub fn duration_micros(&self) -> i64 {
        self.duration
    }

    /// How many events are simulated.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether no event is simulated.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// How many of those are failures.
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// How many events lie at or after the duration.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }
}

/// A stable sort by offset that looks at the flag: the one of the standard library on pieces, then merging of neighbours.
fn sort(events: &mut Vec<(Offset, bool)>, cancel: &Cancel) -> Result<(), Cancelled> {
    if is_sorted(events, cancel)? {
        return Ok(());
    }
    for piece in events.chunks_mut(CANCEL_STRIDE) {
        cancel.check()?;
        piece.sort_by_key(|event| event.0);
    }
    let mut width = CANCEL_STRIDE;
    let mut merged = Vec::with_capacity(events.len());
    while width < events.len() {
        merged.clear();
        for pair in events.chunks(2 * width) {
            let (mut left, mut right) = pair.split_at(width.min(pair.len()));
            while let (Some(a), Some(b)) = (left.first(), right.first()) {
                if merged.len().is_multiple_of(CANCEL_STRIDE) {
                    cancel.check()?;
                }
                // Of equal offsets the left one was given first.
                let from = if b.0 < a.0 { &mut right } else { &mut left };
                merged.push(from[0]);
                *from = &from[1..];
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        std::mem::swap(events, &mut merged);
        width *= 2;
    }
    Ok(())
}

fn is_sorted(events: &[(Offset, bool)], cancel: &Cancel) -> Result<bool, Cancelled> {
    let mut latest = None;
    for chunk in events.chunks(CANCEL_STRIDE) {
        cancel.check()?;
        if !(latest <= chunk.first().map(|event| event.0) && chunk.is_sorted_by_key(|event| event.0)) {
            return Ok(false);
        }
        latest = chunk.last().map(|event| event.0);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: f64) -> Offset {
        Offset::from_seconds(seconds).expect("an offset")
    }

    fn prepared(events: &[(Offset, bool)], duration_seconds: u64) -> PreparedPattern {
        PreparedPattern::new(events, duration_seconds, &Cancel::default()).expect("not cancelled")
    }

    #[test]
    fn offsets_are_whole_microseconds_from_0() {
        for (seconds, micros) in
            [(0.0, Some(0)), (-0.0, Some(0)), (0.1 + 0.2, Some(300_000)), (1e-7, Some(0)), (0.000_000_6, Some(1))]
        {
            assert_eq!(Offset::from_seconds(seconds).ok().map(Offset::as_micros), micros, "{seconds}");
        }
        for seconds in [-1e-9, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 9_007_199_255.0] {
            let refusal = Offset::from_seconds(seconds).expect_err("no offset");
            assert_eq!((refusal.field.as_str(), refusal.value), ("offset_seconds", seconds.to_string()));
        }
        assert_eq!(Offset::from_micros(-1), None);
    }

    #[test]
    fn what_is_at_or_after_the_duration_is_ignored_and_counted() {
        let events = [(at(9.999_999), true), (at(10.0), false), (at(0.0), false), (at(1e6), true)];
        let pattern = prepared(&events, 10);
        assert_eq!(pattern.events().collect::<Vec<_>>(), [(at(0.0), false), (at(9.999_999), true)]);
        assert_eq!((pattern.ignored(), pattern.failures(), pattern.len()), (2, 1, 2));
    }

    #[test]
    fn a_cancelled_preparation_stops() {
        let cancel = Cancel::default();
        cancel.cancel();
        assert_eq!(PreparedPattern::new(&[(at(1.0), true)], 10, &cancel), Err(Cancelled));
        // Also while it looks whether there is anything to sort.
        assert_eq!(sort(&mut vec![(at(1.0), true), (at(2.0), true)], &cancel), Err(Cancelled));
    }

    #[test]
    fn more_than_one_piece_is_sorted_stably() {
        // Offsets that repeat, in an order that is far from sorted; whether it was a success tells equal ones apart.
        let events: Vec<_> = (0..3 * CANCEL_STRIDE + 17)
            .map(|n| (Offset((n as i64 * 7_919) % 1_000 * 1_000_000), n.is_multiple_of(3)))
            .collect();
        let mut expected = events.clone();
        expected.sort_by_key(|event| event.0);
        assert_eq!(prepared(&events, 10_000).events().collect::<Vec<_>>(), expected);
    }

    proptest! {
        #[test]
        fn preparing_is_a_stable_sort(events in proptest::collection::vec((0..20i64, any::<bool>()), 0..200)) {
            let events: Vec<_> = events.into_iter().map(|(second, ok)| (Offset(second * 1_000_000), ok)).collect();
            let pattern = prepared(&events, 15);
            let mut expected: Vec<_> = events.iter().copied().filter(|event| event.0 < at(15.0)).collect();
            expected.sort_by_key(|event| event.0);
            prop_assert_eq!(pattern.events().collect::<Vec<_>>(), expected);
            let (first, second) = pattern.split(7);
            let again = first.events().chain(second.events().map(|(offset, ok)| (Offset(offset.0 + 7_000_000), ok)));
            prop_assert_eq!(again.collect::<Vec<_>>(), pattern.events().collect::<Vec<_>>());
        }
    }
}
