//! Answers in the forms that other tools take in: CSV, JSON Lines, OpenMetrics text, and Parquet with the feature of that
//! name.
//!
//! Pure functions from answers to bytes. A metric is a row with the columns of [`COLUMNS`] in CSV and Parquet, and the
//! same document as in an answer's JSON in JSON Lines.

mod openmetrics;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use ionveil_actors::dispatch::AggregatedMetric;
use ionveil_actors::domain::Timestamp;
use serde::Serialize;

pub use self::openmetrics::{MEDIA_TYPE, OrgMetrics, write_openmetrics};
#[cfg(feature = "parquet")]
pub use self::parquet::write_parquet;

/// The columns of a metric. A dimension that was not asked for and a value that is not there are empty.
pub const COLUMNS: [&str; 10] = [
    "metric_name",
    "aggregation",
    "window_start",
    "window_end",
    "region",
    "severity",
    "unit_type",
    "value",
    "sample_count",
    "exact",
];

#[derive(Serialize)]
struct Row<'a> {
    metric_name: &'static str,
    aggregation: &'static str,
    window_start: Timestamp,
    window_end: Timestamp,
    region: Option<&'a str>,
    severity: Option<&'a str>,
    unit_type: Option<&'a str>,
    value: Option<f64>,
    sample_count: u64,
    exact: bool,
}

impl<'a> Row<'a> {
    fn of(metric: &'a AggregatedMetric) -> Self {
        let dimension = |name| metric.dimensions.get(name).map(String::as_str);
        Row {
            metric_name: metric.metric_name,
            aggregation: metric.aggregation.as_str(),
            window_start: metric.window_start,
            window_end: metric.window_end,
            region: dimension("region"),
            severity: dimension("severity"),
            unit_type: dimension("unit_type"),
            value: metric.value,
            sample_count: metric.sample_count,
            exact: metric.exact,
        }
    }
}

/// Writes metrics as CSV (RFC 4180, line ends LF): a header with [`COLUMNS`], then a row each.
///
/// # Errors
/// Those of `out`.
pub fn write_csv(metrics: &[AggregatedMetric], out: impl Write) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(out);
    writer.write_record(COLUMNS).map_err(io::Error::from)?;
    for metric in metrics {
        writer.serialize(Row::of(metric)).map_err(io::Error::from)?;
    }
    writer.flush()
}

/// Writes metrics as JSON Lines, one document a line, as they stand in an answer's JSON.
///
/// # Errors
/// Those of `out`.
pub fn write_jsonl(metrics: &[AggregatedMetric], mut out: impl Write) -> io::Result<()> {
    for metric in metrics {
        serde_json::to_writer(&mut out, metric)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}
