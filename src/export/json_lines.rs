//! JSON Lines: the AggregatedMetric with its org, one a line.

use std::io::{self, Write};

use super::MetricRow;

/// Writes a JSON object a line.
///
/// # Errors
/// Those of the writer.
pub fn write_json_lines<'a>(rows: impl IntoIterator<Item = &'a MetricRow>, mut out: impl Write) -> io::Result<()> {
    for row in rows {
        serde_json::to_writer(&mut out, row)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}
