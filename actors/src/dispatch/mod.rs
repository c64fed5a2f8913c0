//! `dispatch/{org}`: the dispatches of one organisation and what they add up to.
//!
//! It guards three things: an event is counted once per `event_id` within retention; any order of the same events gives
//! the same answers; what lies before the retained span is forgotten, and nothing else is. Every sample is kept as it came
//! (`timeline`), so that any span can be cut exactly; percentiles of very many samples come from a sketch. Names of regions
//! and unit types beyond a limit count as `__other__`; only which names those are depends on what came first.
//!
//! Reading order: [`DispatchEvent`] is what comes in, `event` what is journaled, `command` and `decide` what may happen,
//! `state` with `timeline`, `ledger`, `texts` and `names`, and `evolve`, what is known, `query` what can be asked and
//! `answer` how it is answered; `series` is what `trend` and `anomaly` are read off, `heatmap` where things happen.

mod anomaly;
mod answer;
mod command;
mod decide;
mod dispatch_event;
mod event;
mod evolve;
mod heatmap;
mod ledger;
mod merged;
mod names;
mod query;
mod series;
mod state;
mod state_snapshot;
#[cfg(test)]
mod tests;
mod texts;
mod timeline;
mod trend;

pub use anomaly::{Anomaly, SENSITIVITY_DEFAULT, check_anomaly_test, detect_anomalies};
pub use command::{IngestBatch, IngestReport, Rejected, RejectedBecause, SetDimensionLimit, SetRetention};
pub use dispatch_event::{DispatchEvent, Status};
pub use event::{DimensionLimitSet, DispatchRecorded, Event, RELEASED, RetentionSet};
pub use heatmap::{BoundingBox, GRID_MAX, GetHeatmap, GridSize, Heatmap, HeatmapCell};
pub use names::OTHER;
pub use query::{
    AggregatedMetric, AggregationType, DashboardSnapshot, DimensionInUse, Dimensions, DimensionsInUse,
    GetDashboardSnapshot, GetDimensions, GetMetric, GetMinutes, GetRegionMap, GetRegions, GetWatermark, Instant,
    Metric, Percent, RegionOnMap, RegionSummary, WINDOWS_MAX,
};
pub use series::{GetSeries, TrendPoint, Which};
pub use state::Dispatches;
pub use trend::{
    LOOKBACK_DEFAULT, LOOKBACK_MAX, MannKendallTest, SMOOTHING_POINTS, Seasonal, TREND_POINTS_MIN, TheilSen,
    TrendAnalysis, TrendDirection, analyze_trend, check_lookback, windows_of_interest,
};

use crate::runtime::{Abilities, Aggregate};
use ionveil_journal::StreamKind;

/// The clock may be this far behind an event's own time; what is later is rejected as `in_future`.
pub const FUTURE_TOLERANCE_MINUTES: i64 = 5;
/// Most bytes of an event's metadata as JSON: what the journal takes as one event, less room for everything else of it.
pub const METADATA_BYTES_MAX: usize = ionveil_journal::Append::EVENT_BYTES_MAX - (64 << 10);
/// Deepest nesting of an event's metadata: far more than anybody means, and few enough to walk without fear.
pub const METADATA_DEPTH_MAX: usize = 100;
/// What an org keeps until it is told otherwise.
pub const RETENTION_HOURS_DEFAULT: u32 = 24;
/// Most regions, and most unit types, that an org tells apart until it is told otherwise.
pub const DIMENSION_VALUES_DEFAULT: u32 = 10_000;
/// Most that it can be told to.
pub const DIMENSION_VALUES_MAX: u32 = 1_000_000;
/// The longest retention that is not for ever: 10,000 years, all that a timestamp spans.
pub const RETENTION_HOURS_MAX: u32 = 10_000 * 8_766;

impl Aggregate for Dispatches {
    const KIND: StreamKind = StreamKind::new("dispatch");
    const ABILITIES: Abilities<Self> = Abilities::NONE.with_snapshots();
    type Event = Event;

    fn evolve(&mut self, event: &Event) -> Result<(), crate::error::Corrupt> {
        evolve::evolve(self, event)
    }
}
