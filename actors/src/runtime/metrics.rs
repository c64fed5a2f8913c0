//! What the runtime counts, for whoever operates it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ionveil_journal::{Position, StreamId};

/// Figures of one runtime, counted since it was started unless said otherwise.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Metrics {
    /// Messages under way now, in the whole runtime: sent, and not yet replied to.
    pub messages_under_way: usize,
    /// Messages under way now to the entity that has most of them.
    pub mailbox_len_longest: usize,
    /// Entities in memory now, by kind.
    pub entities_live: BTreeMap<&'static str, usize>,
    /// Messages turned away because a queue was full.
    pub messages_refused: u64,
    /// Appends that became durable.
    pub commits: u64,
    /// Events in them.
    pub events: u64,
    /// Groups of the journal that held any of them.
    pub groups: u64,
    /// Appends that failed, or whose outcome is not known.
    pub commits_failed: u64,
    /// From handing an append to the journal until it is durable.
    pub commit_latency: Latency,
    /// Entities rebuilt: started, or started again after a failure.
    pub recoveries: u64,
    /// Of them those that failed.
    pub recoveries_failed: u64,
    /// Rebuildings under way now.
    pub recoveries_under_way: usize,
    /// Handlers that panicked.
    pub panics: u64,
    /// Decisions that were not written because `evolve` or a timer's rule refused them: mistakes in an entity's code.
    pub faults: u64,
    /// Entities taken out of memory.
    pub passivations: u64,
    /// Entities that cannot be rebuilt, now.
    pub quarantined: usize,
    /// Wakes that led to events.
    pub wakes: u64,
    /// Entities that wait to be looked after, now.
    pub attention_waiting: usize,
    /// Effects that were performed, successfully or not.
    pub effects: u64,
    /// Snapshots that were stored.
    pub snapshots: u64,
    /// Of each follower that lives: how many events of its sources it has not taken in, now.
    pub follower_lag: Vec<(StreamId, u64)>,
}

impl Metrics {
    /// Events per group of the journal, on average: how well one sync is shared.
    pub fn events_per_group(&self) -> f64 {
        if self.groups == 0 { 0.0 } else { self.events as f64 / self.groups as f64 }
    }
}

/// A distribution of durations, to a quarter of a doubling.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latency {
    /// Upper bounds in microseconds, ascending, with how many lie at or below and above the bound before. Empty ones are
    /// left out.
    pub buckets_us: Vec<(u64, u64)>,
}

impl Latency {
    /// How many durations it is of.
    pub fn count(&self) -> u64 {
        self.buckets_us.iter().map(|(_, count)| count).sum()
    }

    /// The duration that `permille` of all do not exceed: the upper bound of the bucket it lies in. Zero of none.
    pub fn at_permille(&self, permille: u64) -> Duration {
        let rank = (self.count() * permille).div_ceil(1_000);
        let mut seen = 0;
        let found = self.buckets_us.iter().find(|(_, count)| {
            seen += count;
            seen >= rank
        });
        Duration::from_micros(found.map_or(0, |(bound, _)| *bound))
    }
}

/// Four buckets per doubling, from 1 µs to over an hour.
const BUCKETS: usize = 128;

pub(super) struct Histogram([AtomicU64; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Histogram([const { AtomicU64::new(0) }; BUCKETS])
    }
}

/// The bucket of a duration: its highest bit, and the two bits behind it.
fn bucket_of(micros: u64) -> usize {
    let micros = micros.max(1);
    let octave = micros.ilog2();
    let quarter = if octave >= 2 { (micros >> (octave - 2)) & 3 } else { (micros << (2 - octave)) & 3 };
    (octave as usize * 4 + quarter as usize).min(BUCKETS - 1)
}

/// The greatest duration in a bucket, in whole microseconds.
fn bound_of(bucket: usize) -> u64 {
    let (octave, quarter) = (bucket / 4, bucket as u64 % 4);
    let end = (5 + quarter) << octave;
    end.div_ceil(4).saturating_sub(1).max(1 << octave)
}

impl Histogram {
    pub(super) fn add(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.0[bucket_of(micros)].fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> Latency {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed)).enumerate();
        Latency { buckets_us: counts.filter(|it| it.1 > 0).map(|(bucket, count)| (bound_of(bucket), count)).collect() }
    }
}

/// Where it is counted. On cache lines of its own: the journal's thread writes here with every commit, and what lies beside
/// it everybody reads with every message.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Counters {
    pub(super) refused: Counter,
    pub(super) commits: Counter,
    pub(super) events: Counter,
    pub(super) groups: Counter,
    /// Where the last group ends that was counted, and when the first of it was told.
    pub(super) last_group: Mutex<Option<(Position, Instant)>>,
    pub(super) commits_failed: Counter,
    pub(super) commit_latency: Histogram,
    pub(super) recoveries: Counter,
    pub(super) recoveries_failed: Counter,
    pub(super) panics: Counter,
    pub(super) faults: Counter,
    pub(super) passivations: Counter,
    pub(super) wakes: Counter,
    pub(super) effects: Counter,
    pub(super) snapshots: Counter,
}

#[derive(Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// What is counted; what is measured only when it is asked for stays at its default.
    pub(super) fn read(&self) -> Metrics {
        Metrics {
            messages_refused: self.refused.get(),
            commits: self.commits.get(),
            events: self.events.get(),
            groups: self.groups.get(),
            commits_failed: self.commits_failed.get(),
            commit_latency: self.commit_latency.read(),
            recoveries: self.recoveries.get(),
            recoveries_failed: self.recoveries_failed.get(),
            panics: self.panics.get(),
            faults: self.faults.get(),
            passivations: self.passivations.get(),
            wakes: self.wakes.get(),
            effects: self.effects.get(),
            snapshots: self.snapshots.get(),
            ..Metrics::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_lies_in_the_bucket_whose_bound_is_next() {
        let mut last = 0;
        for micros in 1..100_000u64 {
            let bound = bound_of(bucket_of(micros));
            assert!(bound >= micros, "{micros} above {bound}");
            assert!(bound as f64 <= micros as f64 * 1.25, "{micros} far below {bound}");
            assert!(bound >= last, "{micros}");
            last = bound;
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_share_of_the_durations_lies_at_or_below_its_bound() {
        let histogram = Histogram::default();
        (1..=1_000).for_each(|micros| histogram.add(Duration::from_micros(micros)));
        let latency = histogram.read();
        assert_eq!(latency.count(), 1_000);
        assert_eq!(latency.at_permille(500), Duration::from_micros(511));
        assert_eq!(latency.at_permille(1_000), Duration::from_micros(1_023));
        assert_eq!(Latency::default().at_permille(500), Duration::ZERO);
    }
}
