//! The stored copy of an org's state. It holds what cannot be derived, in an order that follows from the state alone, so that
//! equal states are equal bytes; sums and tables are made anew of it, by the same additions in the same order.

use std::sync::Arc;

use ionveil_journal::Fold;
use ionveil_journal::codec::{self, BINCODE_2, DecodeError};
use serde::{Deserialize, Serialize};

use super::cell::{GroupKey, Remembered, Sample};
use super::dispatch_event::Status;
use super::state::{Dispatches, Names, StatusReport};
use crate::domain::{Severity, Timestamp};
use crate::runtime::Snapshotted;

/// Texts are borrowed when it is written and owned when it is read.
#[derive(Serialize, Deserialize)]
struct Stored<T> {
    retention_hours: u32,
    watermark: Option<Timestamp>,
    /// By number.
    regions: Vec<T>,
    unit_types: Vec<T>,
    /// By id, each with its reports in the order of arrival.
    dispatches: Vec<(T, Vec<(Timestamp, Status)>)>,
    /// By minute since 1970.
    minutes: Vec<StoredMinute<T>>,
}

#[derive(Serialize, Deserialize)]
struct StoredMinute<T> {
    minute: i64,
    /// In the order of arrival: id, instant, and number of the dispatch in `dispatches`.
    events: Vec<(T, Timestamp, u32)>,
    groups: Vec<StoredGroup>,
}

#[derive(Serialize, Deserialize)]
struct StoredGroup {
    region: u32,
    unit_type: u32,
    severity: Severity,
    /// In the order of arrival: instant, minutes, kilometres, met.
    samples: Vec<(Timestamp, f64, f64, bool)>,
}

impl Snapshotted for Dispatches {
    const FOLD: Fold = Fold { schema: 1, version: 1 };

    fn to_snapshot(&self) -> Vec<u8> {
        let Dispatches { retention_hours, watermark, minutes, event_ids, reports, ever_open: _, regions, unit_types } =
            self;
        let mut dispatches: Vec<(&str, Vec<(Timestamp, Status)>)> = reports
            .iter()
            .map(|(id, reports)| (&**id, reports.iter().map(|report| (report.timestamp, report.status)).collect()))
            .collect();
        dispatches.sort_unstable_by_key(|(id, _)| *id);
        let number_of = |id: &str| dispatches.partition_point(|(other, _)| *other < id) as u32;
        let minutes = minutes.iter().map(|(minute, cell)| StoredMinute {
            minute: *minute,
            events: cell
                .events
                .iter()
                .map(|it| (&*it.event_id, event_ids[&it.event_id], number_of(&it.dispatch_id)))
                .collect(),
            groups: cell
                .samples()
                .map(|(GroupKey { region, unit_type, severity }, samples)| StoredGroup {
                    region,
                    unit_type,
                    severity,
                    samples: samples
                        .iter()
                        .map(|it| (it.timestamp, it.response_time_minutes, it.distance_km, it.sla_met))
                        .collect(),
                })
                .collect(),
        });
        codec::encode(&Stored {
            retention_hours: *retention_hours,
            watermark: *watermark,
            regions: regions.names().iter().map(|name| &**name).collect(),
            unit_types: unit_types.names().iter().map(|name| &**name).collect(),
            minutes: minutes.collect(),
            dispatches,
        })
    }

    fn from_snapshot(bytes: &[u8]) -> Result<Self, DecodeError> {
        let stored: Stored<String> = codec::decode(BINCODE_2, bytes)?;
        let mut state = Dispatches {
            retention_hours: stored.retention_hours,
            watermark: stored.watermark,
            ..Dispatches::default()
        };
        let name_all = |names: Vec<String>| {
            let mut named = Names::default();
            for name in &names {
                named.number_of(name);
            }
            named
        };
        state.regions = name_all(stored.regions);
        state.unit_types = name_all(stored.unit_types);
        let mut dispatch_ids: Vec<Arc<str>> = Vec::with_capacity(stored.dispatches.len());
        for (id, reports) in stored.dispatches {
            let id: Arc<str> = id.into();
            if reports.iter().any(|(_, status)| *status != Status::Closed) {
                state.ever_open.insert(Arc::clone(&id));
            }
            let reports = reports.into_iter().map(|(timestamp, status)| StatusReport { timestamp, status }).collect();
            state.reports.insert(Arc::clone(&id), reports);
            dispatch_ids.push(id);
        }
        for StoredMinute { minute, events, groups } in stored.minutes {
            let cell = state.minutes.entry(minute).or_default();
            for (event_id, timestamp, dispatch) in events {
                let event_id: Arc<str> = event_id.into();
                let dispatch_id = dispatch_ids.get(dispatch as usize).cloned();
                let dispatch_id = dispatch_id
                    .ok_or_else(|| DecodeError::Malformed(format!("there is no dispatch number {dispatch}")))?;
                state.event_ids.insert(Arc::clone(&event_id), timestamp);
                cell.events.push(Remembered { event_id, dispatch_id });
            }
            for StoredGroup { region, unit_type, severity, samples } in groups {
                let is_named = state.regions.names().len() > region as usize
                    && state.unit_types.names().len() > unit_type as usize;
                if !is_named {
                    return Err(DecodeError::Malformed(format!(
                        "there is no region {region} or unit type {unit_type}"
                    )));
                }
                let key = GroupKey { region, unit_type, severity };
                for (timestamp, response_time_minutes, distance_km, sla_met) in samples {
                    cell.add(key, Sample { timestamp, response_time_minutes, distance_km, sla_met });
                }
            }
        }
        Ok(state)
    }
}
