//! State and event to state.

use super::dispatch_event::Status;
use super::event::{DispatchRecorded, Event};
use super::state::{Dispatches, earliest_kept};
use super::timeline::Row;
use crate::error::Corrupt;

pub(super) fn evolve(state: &mut Dispatches, event: &Event) -> Result<(), Corrupt> {
    match event {
        Event::Recorded(event) => {
            state.watermark = state.watermark.max(Some(event.timestamp));
            // First, so that names which go make room for this event's.
            forget(state);
            record(state, event)?;
        }
        Event::RetentionSet(event) => {
            state.retention_hours = event.hours;
            forget(state);
        }
        Event::DimensionLimitSet(event) => state.dimension_values_max = event.values_max,
    }
    Ok(())
}

fn record(state: &mut Dispatches, event: &DispatchRecorded) -> Result<(), Corrupt> {
    let Some(number) = state.ledger.count(&event.event_id, &event.dispatch_id, event.timestamp, event.status) else {
        return Err(Corrupt(format!("event {} is recorded twice within retention", event.event_id)));
    };
    let is_closed = event.status == Status::Closed;
    let (mut region, mut unit_type) = (0, 0);
    if is_closed {
        region = state.regions.take(&event.region, state.dimension_values_max);
        unit_type = state.unit_types.take(&event.unit_type, state.dimension_values_max);
    }
    let row = Row {
        at: event.timestamp.as_micros(),
        response_time_minutes: event.response_time_minutes,
        distance_km: event.distance_km,
        region,
        unit_type,
        event: number,
        severity: event.severity,
        is_closed,
        sla_met: event.sla_met,
    };
    state.timeline.insert(row, event.location.filter(|_| is_closed));
    Ok(())
}

/// Forgets what retention no longer reaches, with all that is known of it.
fn forget(state: &mut Dispatches) {
    let Some(earliest) = earliest_kept(state.watermark, state.retention_hours) else { return };
    let earliest = earliest.as_micros();
    if state.timeline.first_at().is_none_or(|first| first >= earliest) {
        return;
    }
    let Dispatches { timeline, ledger, regions, unit_types, .. } = state;
    timeline.forget_before(earliest, |row| {
        ledger.forget(row.event);
        if row.is_closed {
            regions.release(row.region);
            unit_types.release(row.unit_type);
        }
    });
    ledger.shrink();
}
