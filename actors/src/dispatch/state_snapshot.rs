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
    /// Each once, in the order in which the rows first name them; rows name them by their place here.
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
    closed: Option<StoredNames>,
}

/// What only a closed dispatch has. Names by their place.
#[derive(Serialize, Deserialize)]
struct StoredNames {
    region: u32,
    unit_type: u32,
    place: Option<(f64, f64)>,
}

/// Numbers in the order in which they are first met.
struct Places {
    /// By number.
    places: Vec<u32>,
    met: Vec<u32>,
}

impl Places {
    const NOT_MET: u32 = u32::MAX;

    fn new(numbers_end: usize) -> Self {
        Places { places: vec![Self::NOT_MET; numbers_end], met: Vec::new() }
    }

    fn of(&mut self, number: u32) -> u32 {
        let place = &mut self.places[number as usize];
        if *place == Self::NOT_MET {
            *place = self.met.len() as u32;
            self.met.push(number);
        }
        *place
    }

    fn in_order(&self) -> impl Iterator<Item = u32> {
        self.met.iter().copied()
    }
}

impl Snapshotted for Dispatches {
    const FOLD: Fold = Fold { schema: 2, version: 1 };

    fn to_snapshot(&self) -> Vec<u8> {
        let Dispatches { retention_hours, dimension_values_max, watermark, timeline, ledger, regions, unit_types } =
            self;
        let mut in_order: Vec<(Option<(f64, f64)>, &Row)> = timeline.located(i64::MIN, i64::MAX).collect();
        // In the order of time already; what happened at the same instant stands in the order of its arrival.
        for same_instant in in_order.chunk_by_mut(|(_, a), (_, b)| a.at == b.at).filter(|rows| rows.len() > 1) {
            same_instant.sort_unstable_by_key(|(_, row)| ledger.entry(row.event).event_id);
        }
        let mut region_places = Places::new(regions.numbers_end());
        let mut unit_type_places = Places::new(unit_types.numbers_end());
        let mut dispatch_places = Places::new(ledger.dispatch_numbers_end());
        let row = |(place, row): (Option<(f64, f64)>, &Row)| {
            let entry = ledger.entry(row.event);
            let mut names = || StoredNames {
                region: region_places.of(row.region),
                unit_type: unit_type_places.of(row.unit_type),
                place,
            };
            StoredRow {
                event_id: entry.event_id,
                dispatch: dispatch_places.of(entry.dispatch),
                at: row.timestamp(),
                status: entry.status,
                severity: row.severity,
                response_time_minutes: row.response_time_minutes,
                distance_km: row.distance_km,
                sla_met: row.sla_met,
                closed: row.is_closed.then(&mut names),
            }
        };
        let rows = in_order.into_iter().map(row).collect();
        let regions = region_places.in_order().map(|number| regions.name(number)).collect();
        let unit_types = unit_type_places.in_order().map(|number| unit_types.name(number)).collect();
        let dispatch_ids = dispatch_places.in_order().map(|number| ledger.dispatch_id(number)).collect();
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
            if let Some(names) = &row.closed {
                // What was beyond the limit bears the name for it already.
                region = state.regions.take_as_it_is(&named(&stored.regions, names.region, "region")?);
                unit_type = state.unit_types.take_as_it_is(&named(&stored.unit_types, names.unit_type, "unit type")?);
                place = names.place;
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
