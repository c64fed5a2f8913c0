//! When a copy of the state is taken: every so many events, and when the entity leaves memory.

use std::sync::atomic::Ordering;

use ionveil_journal::Sequence;

use super::super::aggregate::Aggregate;
use super::super::incarnation::Incarnation;
use super::super::state_snapshot::{self, Taken};
use super::{Entity, Stage};

/// Fewer events are replayed sooner than a snapshot is read.
const EVENTS_MIN: u64 = 64;
/// Large states are stored the less often: one of so many bytes per event that came since the last one. A byte costs about
/// 8 ns (half of it on the entity's own thread) and a cheap event some 1.5 µs, so storing takes less than a tenth of the time;
/// with 64 it was a quarter. A restart replays the more, at millions of events a second.
const BYTES_PER_EVENT: u64 = 16;

/// How much has happened since the last snapshot.
#[derive(Debug)]
pub(super) struct Pace {
    /// Of the limits.
    events_every: u64,
    events_since: u64,
    /// The event that the last one ends with.
    stored_at: Sequence,
    bytes_last: u64,
}

impl Pace {
    pub(super) fn of(events_every: u64) -> Self {
        Pace { events_every, events_since: 0, stored_at: Sequence::NONE, bytes_last: 0 }
    }

    /// The entity was rebuilt up to `sequence`, from a snapshot of `stored_at` or none.
    pub(super) fn begin(&mut self, sequence: Sequence, stored_at: Sequence) {
        self.events_since = sequence.get() - stored_at.get();
        self.stored_at = stored_at;
    }

    /// A snapshot of the state with `events_len` more events in it, if it is time for one.
    pub(super) fn take_if_due<A: Aggregate>(&mut self, incarnation: &Incarnation<A>, events_len: u64) -> Option<Taken> {
        A::ABILITIES.snapshots?;
        self.events_since += events_len;
        let due = self.events_every.max(self.bytes_last / BYTES_PER_EVENT);
        if self.events_since < due { None } else { self.take(incarnation) }
    }

    fn take<A: Aggregate>(&mut self, incarnation: &Incarnation<A>) -> Option<Taken> {
        let mut taken = state_snapshot::take(incarnation)?;
        taken.before = std::mem::replace(&mut self.stored_at, taken.sequence);
        self.events_since = 0;
        self.bytes_last = taken.len() as u64;
        Some(taken)
    }
}

impl<A: Aggregate> Entity<A> {
    /// Stores the state if it is durable and worth it.
    pub(super) fn store_before_retiring(&mut self) {
        // No message is under way, but what came of an effect may be.
        let is_durable = self.writes.under_way.load(Ordering::Acquire) == 0 && !self.needs_loading();
        if !is_durable || self.pace.events_since < EVENTS_MIN {
            return;
        }
        if let Stage::Ready(ready) = &self.stage
            && let Some(taken) = self.pace.take(ready)
        {
            self.shared.save_snapshot::<A>(self.stream.clone(), taken, self.durable_position());
        }
    }
}
