//! Every event within retention in the order of time, side by side in memory, so that a question is a scan of what it asks
//! about and nothing else.

use std::collections::VecDeque;

use crate::domain::{Severity, Timestamp};

/// Rows of a chunk at most. Putting a row into its place moves half a chunk on average; finding a place looks at one chunk.
const CHUNK_ROWS_MAX: usize = 512;

/// So many chunks are looked at, from the last one on, before a place is searched for among all.
const CHUNKS_NEAR: usize = 3;

/// One event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Row {
    pub(super) at: i64,
    pub(super) response_time_minutes: f64,
    pub(super) distance_km: f64,
    /// Number of its name; 0 when the event is not closed.
    pub(super) region: u32,
    /// Likewise.
    pub(super) unit_type: u32,
    /// Number of its entry in the ledger.
    pub(super) event: u32,
    pub(super) severity: Severity,
    pub(super) is_closed: bool,
    pub(super) sla_met: bool,
}

/// Latitude and longitude; NaN where there is none.
type Place = (f64, f64);
const NOWHERE: Place = (f64::NAN, f64::NAN);

/// Rows in the order of time; those of the same instant in the order of arrival.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// None is empty.
    chunks: VecDeque<Chunk>,
    rows: usize,
}

/// Some rows in the order of time.
#[derive(Debug, Default)]
struct Chunk {
    rows: Vec<Row>,
    /// One per row, or none at all when no row of the chunk is located.
    places: Vec<Place>,
}

impl Chunk {
    /// An empty one that will be full: only a timeline's first chunk may stay small.
    fn with_room() -> Self {
        Chunk { rows: Vec::with_capacity(CHUNK_ROWS_MAX), places: Vec::new() }
    }

    fn first_at(&self) -> i64 {
        self.rows[0].at
    }

    fn last_at(&self) -> i64 {
        self.rows[self.rows.len() - 1].at
    }

    fn insert(&mut self, row: Row, place: Option<Place>) {
        let index = match self.rows.last() {
            Some(last) if last.at > row.at => self.rows.partition_point(|other| other.at <= row.at),
            _ => self.rows.len(),
        };
        if place.is_some() && self.places.is_empty() {
            self.places.resize(self.rows.len(), NOWHERE);
        }
        if place.is_some() || !self.places.is_empty() {
            self.places.insert(index, place.unwrap_or(NOWHERE));
        }
        self.rows.insert(index, row);
    }

    fn split(&mut self) -> Chunk {
        let half = self.rows.len() / 2;
        let places = if self.places.is_empty() { Vec::new() } else { self.places.split_off(half) };
        Chunk { rows: self.rows.split_off(half), places }
    }

    /// Row numbers of `[from, to)`.
    fn range(&self, from: i64, to: i64) -> std::ops::Range<usize> {
        let first = if from <= self.first_at() { 0 } else { self.rows.partition_point(|row| row.at < from) };
        let end = if self.last_at() < to { self.rows.len() } else { self.rows.partition_point(|row| row.at < to) };
        first..end.max(first)
    }
}

impl Timeline {
    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows
    }

    pub(super) fn insert(&mut self, row: Row, place: Option<(f64, f64)>) {
        self.rows += 1;
        // The last chunk that begins before or at the row's instant; nearly always the last of all.
        let index = match self.chunks.back() {
            None => {
                self.chunks.push_back(Chunk::default());
                0
            }
            Some(last) if last.first_at() <= row.at => self.chunks.len() - 1,
            Some(_) => {
                let begins_before = |chunk: &Chunk| chunk.first_at() <= row.at;
                // Most of what comes out of order is a little late.
                let near = self.chunks.iter().rev().take(CHUNKS_NEAR).position(begins_before);
                let far = || self.chunks.partition_point(begins_before).saturating_sub(1);
                near.map_or_else(far, |behind| self.chunks.len() - 1 - behind)
            }
        };
        if self.chunks[index].rows.len() == CHUNK_ROWS_MAX {
            let is_behind_all = index + 1 == self.chunks.len() && self.chunks[index].last_at() <= row.at;
            // In order of time chunks are left full; only what comes out of order halves them.
            let next = if is_behind_all { Chunk::with_room() } else { self.chunks[index].split() };
            let goes_to_next = is_behind_all || next.first_at() <= row.at;
            self.chunks.insert(index + 1, next);
            self.chunks[index + usize::from(goes_to_next)].insert(row, place);
        } else {
            self.chunks[index].insert(row, place);
        }
    }

    /// The instant of the first row.
    pub(super) fn first_at(&self) -> Option<i64> {
        self.chunks.front().map(Chunk::first_at)
    }

    /// Takes away all rows before `at` and hands them out, oldest first.
    pub(super) fn forget_before(&mut self, at: i64, mut forgotten: impl FnMut(&Row)) {
        while let Some(chunk) = self.chunks.front_mut().filter(|chunk| chunk.first_at() < at) {
            let gone = chunk.range(i64::MIN, at).end;
            chunk.rows[..gone].iter().for_each(&mut forgotten);
            self.rows -= gone;
            if gone == chunk.rows.len() {
                self.chunks.pop_front();
            } else {
                chunk.rows.drain(..gone);
                chunk.places.drain(..gone.min(chunk.places.len()));
            }
        }
    }

    /// The rows of `[from, to)` in the order of time, as slices.
    pub(super) fn slices(&self, from: i64, to: i64) -> impl DoubleEndedIterator<Item = &[Row]> {
        self.touched(from, to).map(move |chunk| &chunk.rows[chunk.range(from, to)])
    }

    /// The rows of `[from, to)` with their places, in the order of time.
    pub(super) fn located(&self, from: i64, to: i64) -> impl Iterator<Item = (Option<(f64, f64)>, &Row)> {
        self.touched(from, to).flat_map(move |chunk| {
            chunk.range(from, to).map(|index| {
                let place = chunk.places.get(index).copied().filter(|place| !place.0.is_nan());
                (place, &chunk.rows[index])
            })
        })
    }

    fn touched(&self, from: i64, to: i64) -> impl DoubleEndedIterator<Item = &Chunk> {
        let first = self.chunks.partition_point(|chunk| chunk.last_at() < from);
        let end = self.chunks.partition_point(|chunk| chunk.first_at() < to);
        self.chunks.range(first..end.max(first))
    }
}

impl Row {
    pub(super) fn timestamp(&self) -> Timestamp {
        Timestamp::EPOCH.saturating_add_micros(self.at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(at: i64, event: u32) -> Row {
        Row {
            at,
            response_time_minutes: 0.0,
            distance_km: 0.0,
            region: 0,
            unit_type: 0,
            event,
            severity: Severity::new(1).expect("in range"),
            is_closed: true,
            sla_met: true,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_timeline_is_a_sorted_list(
            times in prop::collection::vec(prop_oneof![0i64..50, 0i64..10_000, Just(7i64)], 0..3_000),
            in_order in any::<bool>(), located in any::<bool>(), from in -10i64..10_010, len in 0i64..6_000, gone in 0i64..3_000,
        ) {
            let mut times = times;
            if in_order {
                times.sort_unstable();
            }
            let mut timeline = Timeline::default();
            let mut list: Vec<(i64, u32)> = Vec::new();
            for (&at, event) in times.iter().zip(0u32..) {
                let place = (located && event % 3 == 0).then_some((f64::from(event), at as f64));
                timeline.insert(row(at, event), place);
                list.push((at, event));
            }
            list.sort_by_key(|&(at, _)| at);
            prop_assert_eq!((timeline.len(), timeline.first_at()), (list.len(), list.first().map(|&(at, _)| at)));
            let mut forgotten = Vec::new();
            timeline.forget_before(gone, |row| forgotten.push((row.at, row.event)));
            let kept = list.partition_point(|&(at, _)| at < gone);
            prop_assert_eq!(&forgotten[..], &list[..kept]);
            list.drain(..kept);
            let inside = |&&(at, _): &&(i64, u32)| (from..from + len).contains(&at);
            let expected: Vec<(i64, u32)> = list.iter().filter(inside).copied().collect();
            let scanned: Vec<(i64, u32)> =
                timeline.slices(from, from + len).flatten().map(|row| (row.at, row.event)).collect();
            prop_assert_eq!(&scanned, &expected);
            let places: Vec<_> = timeline.located(from, from + len).map(|(place, row)| (place, row.event)).collect();
            let place = |&(at, event): &(i64, u32)| {
                ((located && event % 3 == 0).then_some((f64::from(event), at as f64)), event)
            };
            prop_assert_eq!(places, expected.iter().map(place).collect::<Vec<_>>());
            if in_order {
                prop_assert!(timeline.chunks.len() <= times.len() / CHUNK_ROWS_MAX + 1, "chunks are left full");
            }
        }
    }
}
