//! State and command to decision or refusal.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use ionveil_journal::codec;

use super::command::{IngestBatch, IngestReport, Rejected, RejectedBecause, SetDimensionLimit, SetRetention};
use super::event::{DimensionLimitSet, DispatchRecorded, Event, RetentionSet};
use super::state::{Dispatches, earliest_kept};
use super::{DIMENSION_VALUES_MAX, FUTURE_TOLERANCE_MINUTES};
use crate::domain::{MICROS_PER_MINUTE, Timestamp};
use crate::error::{Error, Invalid};
use crate::runtime::{Command, Decision, Given, ReplyCodec};

impl Command<Dispatches> for IngestBatch {
    type Reply = IngestReport;
    const REPLY: Option<ReplyCodec<IngestReport>> = Some(ReplyCodec::STORED);

    fn decide(self, state: &Dispatches, given: &Given) -> Result<Decision<Event, IngestReport>, Error> {
        let IngestBatch { sound, invalid } = &self;
        let is_sound = |index: &usize| invalid.binary_search_by_key(index, |rejected| rejected.index).is_err();
        let indices = (0..self.len()).filter(is_sound);
        let mut judging = Judging::new(state, given.now, sound);
        let mut report = IngestReport::default();
        // Places among the sound ones.
        let mut left_out = Vec::new();
        for (place, index) in indices.enumerate() {
            match judging.judge(place) {
                Verdict::Accepted => continue,
                Verdict::Duplicate => report.duplicates.push(index),
                Verdict::Rejected(because) => report.rejected.push(Rejected { index, because }),
            }
            left_out.push(place);
        }
        report.accepted = sound.len() - left_out.len();
        let IngestBatch { sound, invalid } = self;
        report.rejected.extend(invalid);
        report.rejected.sort_unstable_by_key(|rejected| rejected.index);
        let mut left_out = left_out.into_iter().peekable();
        let accepted = sound.into_iter().enumerate().filter(|(place, _)| left_out.next_if_eq(place).is_none());
        Ok(Decision { events: accepted.map(|(_, event)| Event::Recorded(event)).collect(), reply: report })
    }
}

impl Command<Dispatches> for SetRetention {
    type Reply = bool;
    const REPLY: Option<ReplyCodec<bool>> = Some(ReplyCodec::STORED);

    fn content(&self) -> Option<Vec<u8>> {
        Some(codec::encode(&self.hours))
    }

    fn decide(self, state: &Dispatches, _: &Given) -> Result<Decision<Event, bool>, Error> {
        self.check()?;
        let is_change = state.retention_hours() != self.hours;
        let events = if is_change { vec![Event::RetentionSet(RetentionSet { hours: self.hours })] } else { vec![] };
        Ok(Decision { events, reply: is_change })
    }
}

impl Command<Dispatches> for SetDimensionLimit {
    type Reply = bool;
    const REPLY: Option<ReplyCodec<bool>> = Some(ReplyCodec::STORED);

    fn content(&self) -> Option<Vec<u8>> {
        Some(codec::encode(&self.values_max))
    }

    fn decide(self, state: &Dispatches, _: &Given) -> Result<Decision<Event, bool>, Error> {
        let values_max = self.values_max;
        if !(1..=DIMENSION_VALUES_MAX).contains(&values_max) {
            return Err(Invalid::new("dimension_values", values_max, format!("1 to {DIMENSION_VALUES_MAX}")).into());
        }
        let is_change = state.dimension_values_max() != values_max;
        let events = if is_change { vec![Event::DimensionLimitSet(DimensionLimitSet { values_max })] } else { vec![] };
        Ok(Decision { events, reply: is_change })
    }
}

enum Verdict {
    Accepted,
    Duplicate,
    Rejected(RejectedBecause),
}

/// A batch under way: what it has added so far counts when the next event is judged.
struct Judging<'a> {
    state: &'a Dispatches,
    latest: Timestamp,
    watermark: Option<Timestamp>,
    events: &'a [DispatchRecorded],
    /// Places of those accepted, by event id; the latest of an id.
    new_ids: HashTable<usize>,
}

impl<'a> Judging<'a> {
    fn new(state: &'a Dispatches, now: Timestamp, events: &'a [DispatchRecorded]) -> Self {
        Judging {
            state,
            latest: now.saturating_add_micros(FUTURE_TOLERANCE_MINUTES * MICROS_PER_MINUTE),
            watermark: state.watermark(),
            events,
            new_ids: HashTable::with_capacity(events.len()),
        }
    }

    fn judge(&mut self, place: usize) -> Verdict {
        let Judging { state, events, new_ids, .. } = self;
        let event = &events[place];
        let timestamp = event.timestamp;
        if timestamp > self.latest {
            return Verdict::Rejected(RejectedBecause::InFuture { timestamp, latest: self.latest });
        }
        let earliest = earliest_kept(self.watermark, state.retention_hours()).unwrap_or(Timestamp::MIN);
        if timestamp < earliest {
            return Verdict::Rejected(RejectedBecause::TooLate { timestamp, earliest });
        }
        // What an earlier event of this very batch makes forgotten counts no more, as if it had come in a batch of its own.
        let is_kept = |at: Timestamp| at >= earliest;
        let id = state.ledger.hashed(&event.event_id);
        if state.ledger.counted_at(id).is_some_and(is_kept) {
            return Verdict::Duplicate;
        }
        let is_it = |&other: &usize| events[other].event_id == event.event_id;
        match new_ids.entry(id.spread(), is_it, |&other| state.ledger.hashed(&events[other].event_id).spread()) {
            Entry::Occupied(found) if is_kept(events[*found.get()].timestamp) => return Verdict::Duplicate,
            Entry::Occupied(mut found) => *found.get_mut() = place,
            Entry::Vacant(free) => {
                free.insert(place);
            }
        }
        self.watermark = self.watermark.max(Some(timestamp));
        Verdict::Accepted
    }
}
