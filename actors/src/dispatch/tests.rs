//! Given, when, then for the dispatches of one org; helpers that all tables share.

mod dimensions;
mod encoding;
mod heatmap;
mod ingest;
mod metric;
mod model;
mod retention;
mod series;
mod snapshot;

use std::fmt::Write as _;

use serde_json::Map;

use super::*;
use crate::domain::{MICROS_PER_HOUR, MICROS_PER_MINUTE, Timestamp};
use crate::runtime::Snapshotted;
use crate::runtime::testing::{Observed, Scenario};

/// What the tests call now unless they say otherwise.
const NOW: &str = "2026-03-01T12:00:00Z";

type Org = Scenario<Dispatches>;

impl Observed for Dispatches {
    /// The bytes of its snapshot, from which it has to be the same again.
    fn observed(&self) -> String {
        let bytes = self.to_snapshot();
        let restored = Dispatches::from_snapshot(&bytes).expect("a snapshot that was just made");
        assert!(restored.to_snapshot() == bytes, "a restored state has other bytes");
        bytes.into_iter().map(char::from).collect()
    }
}

#[track_caller]
fn t(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

/// Microseconds after (or before) the tests' now.
fn now_plus(micros: i64) -> Timestamp {
    t(NOW).saturating_add_micros(micros)
}

const MIN: i64 = MICROS_PER_MINUTE;
const HOUR: i64 = MICROS_PER_HOUR;

/// A closed dispatch of moderate severity that took 10 minutes and 2 km, in region `north` by an `engine`.
fn event(event_id: &str, timestamp: Timestamp) -> DispatchEvent {
    DispatchEvent {
        event_id: event_id.into(),
        org_id: "org".parse().expect("an id"),
        dispatch_id: format!("d-{event_id}"),
        timestamp,
        severity: 3,
        response_time_minutes: 10.0,
        distance_km: 2.0,
        region: "north".into(),
        unit_type: "engine".into(),
        sla_met: None,
        metadata: Map::new(),
        latitude: None,
        longitude: None,
        status: Status::Closed,
    }
}

/// The same with one thing changed.
fn event_with(event_id: &str, timestamp: Timestamp, change: impl FnOnce(&mut DispatchEvent)) -> DispatchEvent {
    let mut event = event(event_id, timestamp);
    change(&mut event);
    event
}

fn batch(events: impl IntoIterator<Item = DispatchEvent>) -> IngestBatch {
    events.into_iter().collect()
}

fn empty_org() -> Org {
    Org::given([]).at(t(NOW))
}

/// An org that has accepted these, each, with everything kept.
#[track_caller]
fn org_with(events: impl IntoIterator<Item = DispatchEvent>) -> Org {
    let events: Vec<_> = events.into_iter().collect();
    let report = IngestReport { accepted: events.len(), ..IngestReport::default() };
    let count = events.len();
    Org::given([Event::RetentionSet(RetentionSet { hours: 0 })])
        .at(t(NOW))
        .when(batch(events))
        .then_reply(count, report)
}

/// What became of one event: `accepted`, `duplicate`, or the reason why not.
#[track_caller]
fn fate_of(org: &Org, event: DispatchEvent) -> &'static str {
    fates_of(org, [event])[0]
}

/// What became of each event of a batch.
#[track_caller]
fn fates_of(org: &Org, events: impl IntoIterator<Item = DispatchEvent>) -> Vec<&'static str> {
    use crate::runtime::{Command, Given};
    let batch = batch(events);
    let mut fates = vec!["accepted"; batch.len()];
    let given = Given::at(t(NOW));
    let report = batch.decide(org.state(), &given).expect("a batch is never refused").reply;
    for index in report.duplicates {
        fates[index] = "duplicate";
    }
    for rejected in report.rejected {
        fates[rejected.index] = rejected.because.as_str();
    }
    assert_eq!(fates.iter().filter(|&&fate| fate == "accepted").count(), report.accepted);
    fates
}
