//! State and command to decision or refusal.

use std::collections::HashMap;

use super::command::{IngestBatch, IngestReport, Rejected, RejectedBecause, SetRetention};
use super::dispatch_event::DispatchEvent;
use super::event::{DispatchRecorded, Event, RetentionSet};
use super::state::{Dispatches, earliest_kept};
use super::{FUTURE_TOLERANCE_MINUTES, RETENTION_HOURS_MAX};
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
        let severity = match event.check().and_then(|()| Severity::new(event.severity)) {
            Ok(severity) => severity,
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
        self.accepted.push(Event::Recorded(recorded(event, severity)));
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

fn recorded(event: DispatchEvent, severity: Severity) -> DispatchRecorded {
    DispatchRecorded {
        sla_met: event.sla_met(),
        timestamp: event.timestamp,
        severity,
        // Adding 0 makes 0 of −0, so that which of the two is smaller never matters.
        response_time_minutes: event.response_time_minutes + 0.0,
        distance_km: event.distance_km + 0.0,
        status: event.status,
        location: event.latitude.zip(event.longitude),
        metadata: (!event.metadata.is_empty()).then(|| serde_json::Value::Object(event.metadata).to_string()),
        event_id: event.event_id,
        dispatch_id: event.dispatch_id,
        region: event.region,
        unit_type: event.unit_type,
    }
}
