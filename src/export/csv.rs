//! CSV as RFC 4180 has it, with a header.

use std::io::{self, Write};

use super::MetricRow;

const HEADER: [&str; 11] = [
    "org_id",
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

/// Writes a header and a line a row. A value or a dimension that is not there is an empty field; numbers are written with
/// the fewest digits that read back to the same number.
///
/// # Errors
/// Those of the writer.
pub fn write_csv<'a>(rows: impl IntoIterator<Item = &'a MetricRow>, out: impl Write) -> io::Result<()> {
    let mut out = ::csv::Writer::from_writer(out);
    out.write_record(HEADER)?;
    for row in rows {
        let metric = &row.metric;
        let dimension = |name| row.dimension(name).unwrap_or_default();
        out.write_record([
            row.org_id.as_str(),
            metric.metric_name,
            metric.aggregation.as_str(),
            &metric.window_start.to_string(),
            &metric.window_end.to_string(),
            dimension("region"),
            dimension("severity"),
            dimension("unit_type"),
            &metric.value.map(|value| value.to_string()).unwrap_or_default(),
            &metric.sample_count.to_string(),
            if metric.exact { "true" } else { "false" },
        ])?;
    }
    out.flush()
}
