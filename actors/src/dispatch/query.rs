//! What can be asked of an org's dispatches, and the shapes of the answers.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::domain::{OrgId, Severity, TimeWindow, Timestamp, check_label};
use crate::error::Invalid;

/// Most windows of one answer.
pub const WINDOWS_MAX: i64 = 100_000;

/// What is measured, over closed dispatches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// `response_time`, in minutes.
    ResponseTime,
    /// `distance`, in kilometres.
    Distance,
    /// `sla_compliance`: 1 when the target was met, else 0.
    SlaCompliance,
    /// `dispatch_count`: how many, whatever the aggregation.
    DispatchCount,
}

impl Metric {
    /// All metrics.
    pub const ALL: [Metric; 4] = [Metric::ResponseTime, Metric::Distance, Metric::SlaCompliance, Metric::DispatchCount];

    /// How it is aggregated where nobody says: the count for `dispatch_count`, else the mean.
    pub fn natural_aggregation(self) -> AggregationType {
        match self {
            Metric::DispatchCount => AggregationType::Count,
            Metric::ResponseTime | Metric::Distance | Metric::SlaCompliance => AggregationType::Average,
        }
    }

    /// Its name in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Metric::ResponseTime => "response_time",
            Metric::Distance => "distance",
            Metric::SlaCompliance => "sla_compliance",
            Metric::DispatchCount => "dispatch_count",
        }
    }
}

impl FromStr for Metric {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = Metric::ALL.into_iter().find(|metric| metric.as_str() == text);
        found.ok_or_else(|| Invalid::new("metric", text, "response_time, distance, sla_compliance, dispatch_count"))
    }
}

/// How the samples of a window become one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AggregationType {
    /// `sum`
    Sum,
    /// `count`
    Count,
    /// `avg`
    Average,
    /// `p50`, `p90`, `p95`, `p99`: nearest rank.
    Percentile(Percent),
    /// `min`
    Min,
    /// `max`
    Max,
}

/// The percentiles that are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Percent {
    /// The median, by nearest rank.
    P50,
    /// 90
    P90,
    /// 95
    P95,
    /// 99
    P99,
}

impl From<Percent> for u32 {
    fn from(percent: Percent) -> u32 {
        match percent {
            Percent::P50 => 50,
            Percent::P90 => 90,
            Percent::P95 => 95,
            Percent::P99 => 99,
        }
    }
}

impl AggregationType {
    /// All aggregations.
    pub const ALL: [AggregationType; 9] = [
        AggregationType::Sum,
        AggregationType::Count,
        AggregationType::Average,
        AggregationType::Percentile(Percent::P50),
        AggregationType::Percentile(Percent::P90),
        AggregationType::Percentile(Percent::P95),
        AggregationType::Percentile(Percent::P99),
        AggregationType::Min,
        AggregationType::Max,
    ];

    /// Its name in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            AggregationType::Sum => "sum",
            AggregationType::Count => "count",
            AggregationType::Average => "avg",
            AggregationType::Percentile(Percent::P50) => "p50",
            AggregationType::Percentile(Percent::P90) => "p90",
            AggregationType::Percentile(Percent::P95) => "p95",
            AggregationType::Percentile(Percent::P99) => "p99",
            AggregationType::Min => "min",
            AggregationType::Max => "max",
        }
    }
}

impl FromStr for AggregationType {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = AggregationType::ALL.into_iter().find(|aggregation| aggregation.as_str() == text);
        found.ok_or_else(|| Invalid::new("aggregation", text, "sum, count, avg, p50, p90, p95, p99, min, max"))
    }
}

impl Serialize for AggregationType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Which dispatches count: all that match every dimension given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dimensions {
    pub(super) region: Option<String>,
    pub(super) severity: Option<Severity>,
    pub(super) unit_type: Option<String>,
}

impl Dimensions {
    /// No restriction.
    pub fn any() -> Self {
        Dimensions::default()
    }

    /// Restricts one dimension more: `region`, `severity` or `unit_type`.
    ///
    /// # Errors
    /// When there is no such dimension, it is restricted already, or the value is out of range.
    pub fn with(mut self, dimension: &str, value: &str) -> Result<Self, Invalid> {
        let is_new = match dimension {
            "region" => {
                check_label("region", value)?;
                self.region.replace(value.to_owned()).is_none()
            }
            "unit_type" => {
                check_label("unit_type", value)?;
                self.unit_type.replace(value.to_owned()).is_none()
            }
            "severity" => {
                let number = value.parse().map_err(|_| Invalid::new("severity", value, "1 to 5 (5 is worst)"))?;
                self.severity.replace(Severity::new(number)?).is_none()
            }
            _ => return Err(Invalid::new("dimension", dimension, "region, severity, unit_type")),
        };
        if is_new { Ok(self) } else { Err(Invalid::new("dimension", dimension, "each dimension at most once")) }
    }

    /// By name, as in JSON.
    pub fn to_map(&self) -> BTreeMap<&'static str, String> {
        let severity = self.severity.map(|severity| severity.to_string());
        [("region", self.region.clone()), ("severity", severity), ("unit_type", self.unit_type.clone())]
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }
}

/// An instant as a question names it: itself, or relative to what only the answerer knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instant {
    /// That instant.
    At(Timestamp),
    /// Now, plus so many microseconds. Now is the clock's, when the question is answered, or what it is asked as of.
    FromNow(i64),
    /// Just after the latest accepted event (its time + 1 µs); now when there is none.
    Latest,
}

/// A metric over whole windows, oldest first.
///
/// The windows go from the one that holds `start` to the one that holds the last instant before `end`. A bound that is
/// given is listed in full, one that is left out is trimmed to what holds anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetMetric {
    /// What is measured.
    pub metric: Metric,
    /// How wide the windows are.
    pub window: TimeWindow,
    /// How a window becomes a value.
    pub aggregation: AggregationType,
    /// Which dispatches count.
    pub dimensions: Dimensions,
    /// Defaults to one hour before `end`.
    pub start: Option<Instant>,
    /// Defaults to now.
    pub end: Option<Instant>,
    /// Takes the place of now; `end` is never after it.
    pub as_of: Option<Instant>,
    /// Lists windows without samples also for aggregations that have no value then.
    pub include_empty: bool,
}

impl GetMetric {
    /// That metric of all dispatches of the last hour.
    pub fn new(metric: Metric, window: TimeWindow, aggregation: AggregationType) -> Self {
        GetMetric {
            metric,
            window,
            aggregation,
            dimensions: Dimensions::any(),
            start: None,
            end: None,
            as_of: None,
            include_empty: false,
        }
    }
}

/// One value of one window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AggregatedMetric {
    /// What was measured.
    pub metric_name: &'static str,
    /// `None` for windows without samples that were asked for, and when no `f64` can hold it, as a sum of two of 1.7e308.
    pub value: Option<f64>,
    /// First instant of the window.
    pub window_start: Timestamp,
    /// First instant after the window.
    pub window_end: Timestamp,
    /// Which dispatches counted.
    pub dimensions: BTreeMap<&'static str, String>,
    /// How many closed dispatches the window holds.
    pub sample_count: u64,
    /// How the value was made.
    pub aggregation: AggregationType,
    /// Whether the value is exact; a percentile from a sketch is not.
    pub exact: bool,
}

/// The state of an org's dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetDashboardSnapshot {
    /// Whose it is; goes into the answer.
    pub org_id: OrgId,
    /// Defaults to now.
    pub as_of: Option<Instant>,
}

/// Everything a dashboard shows, over the 60 whole minutes up to the one that holds the last instant before `timestamp`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DashboardSnapshot {
    /// Whose it is.
    pub org_id: OrgId,
    /// As of when.
    pub timestamp: Timestamp,
    /// The headline metrics, then response time p90 and dispatch count per region.
    pub metrics: Vec<AggregatedMetric>,
    /// Dispatches whose latest report says active.
    pub active_dispatches: usize,
    /// Dispatches whose latest report says pending.
    pub pending_dispatches: usize,
    /// Share of closed dispatches within target; 1.0 without any.
    pub sla_compliance_rate: f64,
    /// Mean response time in minutes; `None` without any.
    pub average_response_time: Option<f64>,
    /// The org's unresolved alerts.
    pub alerts: Vec<serde_json::Value>,
}

/// A summary per region, over exactly `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetRegions {
    /// Defaults to one hour before `end`.
    pub start: Option<Instant>,
    /// Defaults to now.
    pub end: Option<Instant>,
}

/// What the closed dispatches of one region add up to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RegionSummary {
    /// How many.
    pub dispatch_count: u64,
    /// Mean response time in minutes.
    pub avg_response: f64,
    /// Median response time in minutes, by nearest rank.
    pub p50_response: f64,
    /// 90th percentile of the response time in minutes, by nearest rank.
    pub p90_response: f64,
    /// Share within target.
    pub sla_compliance: f64,
    /// Mean distance in kilometres.
    pub avg_distance: f64,
}

/// Where regions are, over exactly `[start, end)`: the regional summary with the middle of each region's located dispatches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetRegionMap {
    /// Defaults to one hour before `end`.
    pub start: Option<Instant>,
    /// Defaults to now.
    pub end: Option<Instant>,
}

/// A region on the map. Regions of which no dispatch is located are on none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RegionOnMap {
    /// Its name.
    pub region: String,
    /// Mean latitude of its located closed dispatches, WGS 84 degrees.
    pub latitude: f64,
    /// Mean longitude of the same.
    pub longitude: f64,
    /// How many of its dispatches are located.
    pub located: u64,
    /// What all of its dispatches add up to.
    #[serde(flatten)]
    pub summary: RegionSummary,
}

/// Every metric over single minutes: means, and the count for `dispatch_count`. What live updates show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetMinutes {
    /// Instants in the minutes, in the order of the answer.
    pub minutes: Vec<Timestamp>,
}

/// How many names of each dimension are told apart, and how many events bear names beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetDimensions;

/// The dimensions of an org that have names, over the closed dispatches within retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DimensionsInUse {
    /// Most names of each dimension.
    pub values_max: u32,
    /// The regions.
    pub region: DimensionInUse,
    /// The unit types.
    pub unit_type: DimensionInUse,
}

/// One dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DimensionInUse {
    /// Names that are told apart.
    pub values: usize,
    /// Dispatches that count under `__other__`.
    pub other_dispatches: u64,
}

/// The latest accepted event's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetWatermark;

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for AggregationType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
