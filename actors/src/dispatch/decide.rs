//! State and command to decision or refusal.

use std::collections::HashMap;

use super::command::{IngestBatch, IngestReport, Rejected, RejectedBecause, SetRetention};
use super::dispatch_event::DispatchEvent;
use super::event::{DispatchRecorded, Event, RetentionSet};
use super::state::{Dispatches, earliest_kept};
use super::{FUTURE_TOLERANCE_MINUTES, METADATA_BYTES_MAX, RETENTION_HOURS_MAX};
use crate::domain::{MICROS_PER_MINUTE, Severity, Timestamp};
use crate::error::{Error, Invalid};
use crate::runtime::{Command, Decision, Given};

impl Command<Dispatches> for IngestBatch {
    type Reply = IngestReport;

    fn decide(self, state: &Dispatches, given: &Given) -> Result<Decision<Event, IngestReport>, Error> {
        let mut batch = Batch::new(state, given.now);
        for (index, event) in self.events.into_iter().enumerate() {
            batch.take(index, event);
        }
        Ok(Decision { events: batch.accepted, reply: batch.report })
    }
}

impl Command<Dispatches> for SetRetention {
    type Reply = bool;

    fn decide(self, state: &Dispatches, _: &Given) -> Result<Decision<Event, bool>, Error> {
        if self.hours > RETENTION_HOURS_MAX {
            let allowed = format!("0 (for ever) to {RETENTION_HOURS_MAX}");
            return Err(Invalid::new("retention_hours", self.hours, allowed).into());
        }
        let is_change = state.retention_hours() != self.hours;
        let events = if is_change { vec![Event::RetentionSet(RetentionSet { hours: self.hours })] } else { vec![] };
        Ok(Decision { events, reply: is_change })
    }
}

/// A batch under way: what it has added so far counts when the next event is judged.
struct Batch<'a> {
    state: &'a Dispatches,
    latest: Timestamp,
    watermark: Option<Timestamp>,
    new_ids: HashMap<String, Timestamp>,
    accepted: Vec<Event>,
    report: IngestReport,
}

impl<'a> Batch<'a> {
    fn new(state: &'a Dispatches, now: Timestamp) -> Self {
        Batch {
            state,
            latest: now.saturating_add_micros(FUTURE_TOLERANCE_MINUTES * MICROS_PER_MINUTE),
            watermark: state.watermark(),
            new_ids: HashMap::new(),
            accepted: Vec::new(),
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
        if self.is_counted_since(earliest, &event.event_id) {
            return self.report.duplicates.push(index);
        }
        self.new_ids.insert(event.event_id.clone(), timestamp);
        self.watermark = self.watermark.max(Some(timestamp));
        self.report.accepted += 1;
        self.accepted.push(Event::Recorded(event));
    }

    /// What an earlier event of this very batch makes forgotten counts no more, as if it had come in a batch of its own.
    fn is_counted_since(&self, earliest: Timestamp, event_id: &str) -> bool {
        let counted_at = self.new_ids.get(event_id).or_else(|| self.state.event_ids.get(event_id));
        counted_at.is_some_and(|&at| at >= earliest)
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
