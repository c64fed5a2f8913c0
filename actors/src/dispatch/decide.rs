//! State and command to decision or refusal.

use std::hash::BuildHasher;

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::command::{IngestBatch, IngestReport, Rejected, RejectedBecause, SetDimensionLimit, SetRetention};
use super::dispatch_event::DispatchEvent;
use super::event::{DimensionLimitSet, DispatchRecorded, Event, RetentionSet};
use super::state::{Dispatches, earliest_kept};
use super::{DIMENSION_VALUES_MAX, FUTURE_TOLERANCE_MINUTES, METADATA_BYTES_MAX};
use crate::domain::{MICROS_PER_MINUTE, Severity, Timestamp};
use crate::error::{Error, Invalid};
use crate::runtime::{Command, Decision, Given, ReplyCodec};

impl Command<Dispatches> for IngestBatch {
    type Reply = IngestReport;
    const REPLY: Option<ReplyCodec<IngestReport>> = Some(ReplyCodec::STORED);

    fn decide(self, state: &Dispatches, given: &Given) -> Result<Decision<Event, IngestReport>, Error> {
        let mut batch = Batch::new(state, given.now, self.events.len());
        for (index, event) in self.events.into_iter().enumerate() {
            batch.take(index, event);
        }
        Ok(Decision { events: batch.accepted, reply: batch.report })
    }
}

impl Command<Dispatches> for SetRetention {
    type Reply = bool;
    const REPLY: Option<ReplyCodec<bool>> = Some(ReplyCodec::STORED);

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

/// A batch under way: what it has added so far counts when the next event is judged.
struct Batch<'a> {
    state: &'a Dispatches,
    latest: Timestamp,
    watermark: Option<Timestamp>,
    hasher: DefaultHashBuilder,
    /// Places in `accepted`, by event id; the latest of an id.
    new_ids: HashTable<usize>,
    accepted: Vec<Event>,
    report: IngestReport,
}

impl<'a> Batch<'a> {
    fn new(state: &'a Dispatches, now: Timestamp, len: usize) -> Self {
        Batch {
            state,
            latest: now.saturating_add_micros(FUTURE_TOLERANCE_MINUTES * MICROS_PER_MINUTE),
            watermark: state.watermark(),
            hasher: DefaultHashBuilder::default(),
            new_ids: HashTable::with_capacity(len),
            accepted: Vec::with_capacity(len),
            report: IngestReport::default(),
        }
    }

    fn take(&mut self, index: usize, event: DispatchEvent) {
        let event = match checked(event) {
            Ok(event) => event,
            Err(invalid) => return self.reject(index, RejectedBecause::Invalid(invalid)),
        };
        let timestamp = event.timestamp;
        if timestamp > self.latest {
            return self.reject(index, RejectedBecause::InFuture { timestamp, latest: self.latest });
        }
        let earliest = earliest_kept(self.watermark, self.state.retention_hours()).unwrap_or(Timestamp::MIN);
        if timestamp < earliest {
            return self.reject(index, RejectedBecause::TooLate { timestamp, earliest });
        }
        // What an earlier event of this very batch makes forgotten counts no more, as if it had come in a batch of its own.
        let is_kept = |at: Timestamp| at >= earliest;
        if self.state.ledger.counted_at(&event.event_id).is_some_and(is_kept) {
            return self.report.duplicates.push(index);
        }
        let Batch { hasher, new_ids, accepted, .. } = self;
        let new = |place: usize| match &accepted[place] {
            Event::Recorded(new) => (new.event_id.as_str(), new.timestamp),
            Event::RetentionSet(_) | Event::DimensionLimitSet(_) => unreachable!("a batch only records"),
        };
        let found = new_ids.entry(
            hasher.hash_one(event.event_id.as_str()),
            |&place| new(place).0 == event.event_id,
            |&place| hasher.hash_one(new(place).0),
        );
        match found {
            Entry::Occupied(found) if is_kept(new(*found.get()).1) => return self.report.duplicates.push(index),
            Entry::Occupied(mut found) => *found.get_mut() = accepted.len(),
            Entry::Vacant(free) => {
                free.insert(accepted.len());
            }
        }
        self.watermark = self.watermark.max(Some(timestamp));
        self.report.accepted += 1;
        self.accepted.push(Event::Recorded(event));
    }

    fn reject(&mut self, index: usize, because: RejectedBecause) {
        self.report.rejected.push(Rejected { index, because });
    }
}

/// The event as it would be recorded, if every field is in range.
fn checked(mut event: DispatchEvent) -> Result<DispatchRecorded, Invalid> {
    event.check()?;
    let severity = Severity::new(event.severity)?;
    let metadata = std::mem::take(&mut event.metadata);
    let metadata = (!metadata.is_empty()).then(|| serde_json::Value::Object(metadata).to_string());
    let metadata_bytes = metadata.as_ref().map_or(0, String::len);
    if metadata_bytes > METADATA_BYTES_MAX {
        let allowed = format!("at most {METADATA_BYTES_MAX} bytes as JSON");
        return Err(Invalid::new("metadata", format_args!("{metadata_bytes} bytes"), allowed));
    }
    Ok(DispatchRecorded {
        sla_met: event.sla_met(),
        timestamp: event.timestamp,
        severity,
        // Adding 0 makes 0 of −0, so that which of the two is smaller never matters.
        response_time_minutes: event.response_time_minutes + 0.0,
        distance_km: event.distance_km + 0.0,
        status: event.status,
        location: event.latitude.zip(event.longitude),
        metadata,
        event_id: event.event_id,
        dispatch_id: event.dispatch_id,
        region: event.region,
        unit_type: event.unit_type,
    })
}
