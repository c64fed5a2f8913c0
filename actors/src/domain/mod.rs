//! Values that several entities share: instants, ids, severities, windows, statistics.
//!
//! Everything here is pure. Nothing reads a clock, a random source or the environment.

mod channel;
mod exact_sum;
mod id;
mod mann_kendall;
mod members;
mod outlier;
mod priority;
mod quantile_sketch;
mod regression;
mod seasonal;
mod severity;
mod sla;
mod statistics;
mod timestamp;
mod wilson;
mod window;

pub use channel::Channel;
pub use exact_sum::ExactSum;
pub use id::{ID_CHARS_MAX, OrgId, check_id, check_label};
pub use mann_kendall::{MannKendall, Z_SIGNIFICANT};
pub use members::Members;
pub use outlier::{Comparison, OTHERS_MIN, OutlierTest, outliers};
pub use priority::Priority;
pub use quantile_sketch::QuantileSketch;
pub use regression::{Fit, Line, least_squares, median_sorted, theil_sen};
pub use seasonal::{BACKTESTS_MAX, SEASONAL_WEEKS, SeasonalForecast, seasonal_forecast};
pub use severity::Severity;
pub use sla::{IncidentTimes, Sla, SlaStatus};
pub use statistics::{mean, moving_average, percentile_rank, percentile_sorted, sample_stddev};
pub use timestamp::{MICROS_PER_HOUR, MICROS_PER_MINUTE, Timestamp};
pub use wilson::wilson_interval;
pub use window::TimeWindow;
