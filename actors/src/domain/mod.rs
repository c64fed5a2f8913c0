//! Values that several entities share: instants, ids, severities, windows, statistics.
//!
//! Everything here is pure. Nothing reads a clock, a random source or the environment.

mod exact_sum;
mod id;
mod severity;
mod statistics;
mod timestamp;
mod wilson;
mod window;

pub use exact_sum::ExactSum;
pub use id::{ID_CHARS_MAX, OrgId, check_id, check_label};
pub use severity::Severity;
pub use statistics::{mean, moving_average, percentile_rank, percentile_sorted, sample_stddev};
pub use timestamp::{MICROS_PER_HOUR, MICROS_PER_MINUTE, Timestamp};
pub use wilson::wilson_interval;
pub use window::TimeWindow;
