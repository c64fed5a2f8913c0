//! State and event to state.

use std::collections::BTreeSet;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::cell::{GroupKey, MinuteCell, Remembered, Sample};
use super::dispatch_event::Status;
use super::event::{DispatchRecorded, Event};
use super::state::{Dispatches, StatusReport, earliest_kept, minute_of};
use crate::error::Corrupt;

pub(super) fn evolve(state: &mut Dispatches, event: &Event) -> Result<(), Corrupt> {
    match event {
        Event::Recorded(event) => record(state, event)?,
        Event::RetentionSet(event) => state.retention_hours = event.hours,
    }
    forget(state);
    Ok(())
}

fn record(state: &mut Dispatches, event: &DispatchRecorded) -> Result<(), Corrupt> {
    let event_id: Arc<str> = event.event_id.as_str().into();
    if state.event_ids.insert(Arc::clone(&event_id), event.timestamp).is_some() {
        return Err(Corrupt(format!("event {event_id} is recorded twice within retention")));
    }
    let dispatch_id = match state.reports.get_key_value(event.dispatch_id.as_str()) {
        Some((dispatch_id, _)) => Arc::clone(dispatch_id),
        None => event.dispatch_id.as_str().into(),
    };
    let report = StatusReport { timestamp: event.timestamp, status: event.status };
    state.reports.entry(Arc::clone(&dispatch_id)).or_default().push(report);
    if event.status != Status::Closed {
        state.ever_open.insert(Arc::clone(&dispatch_id));
    }
    let key = GroupKey {
        region: state.regions.number_of(&event.region),
        unit_type: state.unit_types.number_of(&event.unit_type),
        severity: event.severity,
    };
    let cell = state.minutes.entry(minute_of(event.timestamp)).or_default();
    cell.events.push(Remembered { event_id, dispatch_id });
    if event.status == Status::Closed {
        let sample = Sample {
            timestamp: event.timestamp,
            response_time_minutes: event.response_time_minutes,
            distance_km: event.distance_km,
            sla_met: event.sla_met,
            location: event.location,
        };
        cell.add(key, sample);
    }
    state.watermark = state.watermark.max(Some(event.timestamp));
    Ok(())
}

/// Forgets the minutes that retention no longer reaches, with all that lies in them.
fn forget(state: &mut Dispatches) {
    let Some(earliest) = earliest_kept(state.watermark, state.retention_hours) else { return };
    let earliest_minute = minute_of(earliest);
    let mut touched: BTreeSet<Arc<str>> = BTreeSet::new();
    while let Some(first) = state.minutes.first_entry()
        && *first.key() < earliest_minute
    {
        let cell: MinuteCell = first.remove();
        for Remembered { event_id, dispatch_id } in cell.events {
            state.event_ids.remove(&event_id);
            touched.insert(dispatch_id);
        }
    }
    // Each dispatch once, however many of its reports are forgotten.
    for dispatch_id in touched {
        if let Entry::Occupied(mut reports) = state.reports.entry(Arc::clone(&dispatch_id)) {
            reports.get_mut().retain(|report| report.timestamp >= earliest);
            if reports.get().iter().all(|report| report.status == Status::Closed) {
                state.ever_open.remove(&dispatch_id);
            }
            if reports.get().is_empty() {
                reports.remove();
            }
        }
    }
}
