//! Answers for other programs: CSV, JSON Lines, OpenMetrics, and Parquet with the feature `parquet`.
//!
//! Each format is a function from answers to a writer; nothing here asks questions of its own.

mod csv;
mod json_lines;
mod open_metrics;
#[cfg(feature = "parquet")]
mod parquet;

use ionveil_actors::dispatch::AggregatedMetric;
use ionveil_actors::domain::OrgId;
use serde::Serialize;

pub use self::csv::write_csv;
pub use self::json_lines::write_json_lines;
pub use self::open_metrics::write_open_metrics;
#[cfg(feature = "parquet")]
pub use self::parquet::write_parquet;

/// A metric of an org over one window, as one row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricRow {
    /// Whose it is.
    pub org_id: OrgId,
    /// The value.
    #[serde(flatten)]
    pub metric: AggregatedMetric,
}

impl MetricRow {
    /// What the named dimension is restricted to.
    fn dimension(&self, name: &str) -> Option<&str> {
        self.metric.dimensions.get(name).map(String::as_str)
    }
}
