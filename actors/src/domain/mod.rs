//! Values that several entities share: instants, ids, severities, windows, statistics.
//!
//! Everything here is pure. Nothing reads a clock, a random source or the environment.

mod exact_sum;
mod id;
mod mann_kendall;
mod outlier;
mod quantile_sketch;
mod regression;
mod seasonal;
mod severity;
mod statistics;
mod timestamp;
mod window;

pub use exact_sum::ExactSum;
pub use id::{ID_CHARS_MAX, OrgId, check_id, check_label};
pub use mann_kendall::{MannKendall, Z_SIGNIFICANT};
pub use outlier::{Comparison, OTHERS_MIN, OutlierTest, outliers};
pub use quantile_sketch::QuantileSketch;
pub use regression::{Fit, Line, least_squares, median_sorted, theil_sen};
pub use seasonal::{BACKTESTS_MAX, SEASONAL_WEEKS, SeasonalForecast, seasonal_forecast};
pub use severity::Severity;
pub use statistics::{mean, moving_average, percentile_rank, percentile_sorted, sample_stddev};
pub use timestamp::{MICROS_PER_HOUR, MICROS_PER_MINUTE, Timestamp};
pub use window::TimeWindow;
