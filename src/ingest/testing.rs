//! What the tests of the readers share.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use ionveil_actors::dispatch::DispatchEvent;

use super::{Error, Mapping, ReadSummary, Row, read_from};

/// A mapping for files of the columns `id,at,severity,minutes,region`.
pub(super) const MAPPING: &str = r#"
event_id = { column = "id" }
dispatch_id = { column = "id" }
timestamp = { column = "at", pattern = "%Y-%m-%d", time_zone = "UTC" }
severity = { column = "severity" }
response_time_minutes = { column = "minutes" }
distance_km = { constant = 0 }
region = { column = "region" }
unit_type = { constant = "ENGINE" }
"#;

pub(super) const HEADER: &str = "id,at,severity,minutes,region\n";

#[track_caller]
pub(super) fn mapping(text: &str) -> Mapping {
    Mapping::parse("map.toml", text).expect("a mapping")
}

/// Reads `bytes` for the org `sffd`: every row handed out, and how it ended.
pub(super) fn read_bytes(bytes: &[u8], mapping: Option<&Mapping>) -> (Vec<Row>, Result<ReadSummary, Error>) {
    let org = "sffd".parse().expect("an org");
    let mut rows = Vec::new();
    let end = read_from("in", bytes, &org, mapping, &AtomicU64::new(0), &mut |row| {
        rows.push(row);
        ControlFlow::Continue(())
    });
    (rows, end)
}

/// As [`read_bytes`], of a file that is read to its end.
#[track_caller]
pub(super) fn rows_of(bytes: &[u8], mapping: Option<&Mapping>) -> Vec<Row> {
    let (rows, end) = read_bytes(bytes, mapping);
    let summary = end.expect("a file that can be read");
    let rejected = rows.iter().filter(|row| row.outcome.is_err()).count() as u64;
    assert_eq!(summary, ReadSummary { rows: rows.len() as u64, rejected, stopped: false });
    for row in &rows {
        assert!(row.outcome.as_ref().map_or_else(|rejection| rejection.line, |_| row.line) == row.line);
    }
    rows
}

/// A line of text for each row: its line, and the event's id or what the rejection says.
#[track_caller]
pub(super) fn told(rows: &[Row]) -> Vec<String> {
    let tell = |row: &Row| match &row.outcome {
        Ok(event) => format!("line {}: {}", row.line, event.event_id),
        Err(rejection) => rejection.to_string(),
    };
    rows.iter().map(tell).collect()
}

#[track_caller]
pub(super) fn event_of(rows: &[Row]) -> &DispatchEvent {
    let [Row { outcome: Ok(event), .. }] = rows else { panic!("not one event: {rows:?}") };
    event
}

/// The real data, when this checkout has it beside it. Says so when it has not.
pub(super) fn shared_data(file: &str) -> Option<std::path::PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(file);
    if !path.exists() {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}
