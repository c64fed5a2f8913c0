//! The stored copy of an org's state: what it is made of, in an order that follows from it alone, so that equal states are
//! equal bytes however they came about. Tables and lists are made anew of it.

use ionveil_journal::Fold;
use ionveil_journal::codec::{self, BINCODE_2, DecodeError};
use serde::{Deserialize, Serialize};

use super::dispatch_event::Status;
use super::state::Dispatches;
use super::timeline::Row;
use crate::domain::{Severity, Timestamp};
use crate::runtime::Snapshotted;

/// Texts are borrowed when it is written and owned when it is read.
#[derive(Serialize, Deserialize)]
struct Stored<T> {
    retention_hours: u32,
    dimension_values_max: u32,
    watermark: Option<Timestamp>,
    /// In ascending order, each once; rows name them by their place here.
    regions: Vec<T>,
    unit_types: Vec<T>,
    dispatch_ids: Vec<T>,
    /// By instant and event id.
    rows: Vec<StoredRow<T>>,
}

#[derive(Serialize, Deserialize)]
struct StoredRow<T> {
    event_id: T,
    dispatch: u32,
    at: Timestamp,
    status: Status,
    severity: Severity,
    response_time_minutes: f64,
    distance_km: f64,
    sla_met: bool,
    /// Region, unit type and place of a closed dispatch.
    closed: Option<(u32, u32, Option<(f64, f64)>)>,
}

impl Snapshotted for Dispatches {
    const FOLD: Fold = Fold { schema: 2, version: 1 };

    fn to_snapshot(&self) -> Vec<u8> {
        let Dispatches { retention_hours, dimension_values_max, watermark, timeline, ledger, regions, unit_types } =
            self;
        let (regions, region_places) = regions.sorted_with_places();
        let (unit_types, unit_type_places) = unit_types.sorted_with_places();
        let mut dispatch_ids: Vec<&str> = ledger.dispatch_ids().collect();
        dispatch_ids.sort_unstable();
        let mut rows = Vec::with_capacity(timeline.len());
        for (place, row) in timeline.located(i64::MIN, i64::MAX) {
            let (event_id, dispatch_id, status) = ledger.entry(row.event);
            let names = || (region_places[row.region as usize], unit_type_places[row.unit_type as usize], place);
            rows.push(StoredRow {
                event_id,
                dispatch: dispatch_ids.partition_point(|other| *other < dispatch_id) as u32,
                at: row.timestamp(),
                status,
                severity: row.severity,
                response_time_minutes: row.response_time_minutes,
                distance_km: row.distance_km,
                sla_met: row.sla_met,
                closed: row.is_closed.then(names),
            });
        }
        rows.sort_unstable_by(|a, b| (a.at, a.event_id).cmp(&(b.at, b.event_id)));
        codec::encode(&Stored {
            retention_hours: *retention_hours,
            dimension_values_max: *dimension_values_max,
            watermark: *watermark,
            regions,
            unit_types,
            dispatch_ids,
            rows,
        })
    }

    fn from_snapshot(bytes: &[u8]) -> Result<Self, DecodeError> {
        let stored: Stored<String> = codec::decode(BINCODE_2, bytes)?;
        let mut state = Dispatches {
            retention_hours: stored.retention_hours,
            dimension_values_max: stored.dimension_values_max,
            watermark: stored.watermark,
            ..Dispatches::default()
        };
        let named = |names: &[String], place: u32, what: &str| {
            let name = names.get(place as usize).cloned();
            name.ok_or_else(|| DecodeError::Malformed(format!("there is no {what} number {place}")))
        };
        for row in stored.rows {
            let dispatch_id = named(&stored.dispatch_ids, row.dispatch, "dispatch")?;
            let number = state.ledger.count(&row.event_id, &dispatch_id, row.at, row.status);
            let event = number
                .ok_or_else(|| DecodeError::Malformed(format!("event {} is there more than once", row.event_id)))?;
            let (mut region, mut unit_type, mut place) = (0, 0, None);
            if let Some((region_place, unit_type_place, of_row)) = row.closed {
                // What was beyond the limit bears the name for it already.
                region = state.regions.take_as_it_is(&named(&stored.regions, region_place, "region")?);
                unit_type = state.unit_types.take_as_it_is(&named(&stored.unit_types, unit_type_place, "unit type")?);
                place = of_row;
            }
            let row = Row {
                at: row.at.as_micros(),
                response_time_minutes: row.response_time_minutes,
                distance_km: row.distance_km,
                region,
                unit_type,
                event,
                severity: row.severity,
                is_closed: row.closed.is_some(),
                sla_met: row.sla_met,
            };
            state.timeline.insert(row, place);
        }
        Ok(state)
    }
}
