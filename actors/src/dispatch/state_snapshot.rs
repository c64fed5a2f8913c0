//! The stored copy of an org's state: what it is made of, in an order that follows from it alone, so that equal states are
//! equal bytes however they came about. Tables and lists are made anew of it.

use std::cell::RefCell;

use ionveil_journal::Fold;
use ionveil_journal::codec::{self, BINCODE_2, DecodeError};
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Serialize, Serializer};

use super::dispatch_event::Status;
use super::state::Dispatches;
use super::timeline::Row;
use crate::domain::{Severity, Timestamp};
use crate::runtime::Snapshotted;

/// What stands before the rows. Texts are borrowed when it is written and owned when it is read.
#[derive(Serialize, Deserialize)]
struct StoredHead<T> {
    retention_hours: u32,
    dimension_values_max: u32,
    watermark: Option<Timestamp>,
    /// Each once, in the order in which the rows first name them; rows name them by their place here.
    regions: Vec<T>,
    unit_types: Vec<T>,
    dispatch_ids: Vec<T>,
}

/// One row, in the order of instant and event id.
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

/// The rows as they are written, one by one: a copy of them all would be larger than what is stored.
struct Rows<'a> {
    state: &'a Dispatches,
    met: RefCell<Met>,
}

/// What the rows written so far name.
struct Met {
    regions: Places,
    unit_types: Places,
    dispatches: Places,
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Dispatches { timeline, ledger, .. } = self.state;
        let mut met = self.met.borrow_mut();
        let mut rows = serializer.serialize_seq(Some(timeline.len()))?;
        let mut in_order = timeline.located(i64::MIN, i64::MAX).peekable();
        let mut same_instant: Vec<(Option<(f64, f64)>, &Row)> = Vec::new();
        while let Some(first) = in_order.next() {
            same_instant.push(first);
            while let Some(other) = in_order.next_if(|(_, row)| row.at == first.1.at) {
                same_instant.push(other);
            }
            // In the order of time already; what happened at the same instant stands in the order of its arrival.
            same_instant.sort_unstable_by_key(|(_, row)| ledger.entry(row.event).event_id);
            for (place, row) in same_instant.drain(..) {
                let entry = ledger.entry(row.event);
                let mut names = || StoredNames {
                    region: met.regions.of(row.region),
                    unit_type: met.unit_types.of(row.unit_type),
                    place,
                };
                let closed = row.is_closed.then(&mut names);
                rows.serialize_element(&StoredRow {
                    event_id: entry.event_id,
                    dispatch: met.dispatches.of(entry.dispatch),
                    at: row.timestamp(),
                    status: entry.status,
                    severity: row.severity,
                    response_time_minutes: row.response_time_minutes,
                    distance_km: row.distance_km,
                    sla_met: row.sla_met,
                    closed,
                })?;
            }
        }
        rows.end()
    }
}

impl Snapshotted for Dispatches {
    const FOLD: Fold = Fold { schema: 2, version: 1 };

    fn to_snapshot(&self) -> Vec<u8> {
        let Dispatches { retention_hours, dimension_values_max, watermark, ledger, regions, unit_types, .. } = self;
        let met = Met {
            regions: Places::new(regions.numbers_end()),
            unit_types: Places::new(unit_types.numbers_end()),
            dispatches: Places::new(ledger.dispatch_numbers_end()),
        };
        let rows = Rows { state: self, met: RefCell::new(met) };
        let stored_rows = codec::encode(&rows);
        let met = rows.met.into_inner();
        let mut stored = codec::encode(&StoredHead {
            retention_hours: *retention_hours,
            dimension_values_max: *dimension_values_max,
            watermark: *watermark,
            regions: met.regions.in_order().map(|number| regions.name(number)).collect(),
            unit_types: met.unit_types.in_order().map(|number| unit_types.name(number)).collect(),
            dispatch_ids: met.dispatches.in_order().map(|number| ledger.dispatch_id(number)).collect(),
        });
        // In the codec a pair is one behind the other.
        stored.extend_from_slice(&stored_rows);
        stored
    }

    fn from_snapshot(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (stored, rows): (StoredHead<String>, Vec<StoredRow<String>>) = codec::decode(BINCODE_2, bytes)?;
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
        for row in rows {
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
