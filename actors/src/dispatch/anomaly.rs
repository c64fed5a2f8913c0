//! Windows whose value stands out from the others'.

use serde::Serialize;

use super::query::Metric;
use super::series::TrendPoint;
use crate::domain::{OutlierTest, Timestamp, outliers};
use crate::error::Invalid;

/// Deviations beyond which a value stands out unless it is told otherwise.
pub const SENSITIVITY_DEFAULT: f64 = 2.0;

/// A window that stands out from the others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Anomaly {
    /// The start of the window.
    pub timestamp: Timestamp,
    /// Its value.
    pub value: f64,
    /// What the other windows say it should be.
    pub expected: f64,
    /// The distance in deviations of the others; `None` when those have none.
    pub z_score: Option<f64>,
}

/// Checks how windows are to be told to stand out.
///
/// # Errors
/// When the sensitivity is not a finite number ≥ 0, or counts are to be compared that are none.
pub fn check_anomaly_test(metric: Metric, test: OutlierTest, sensitivity: f64) -> Result<(), Invalid> {
    if !sensitivity.is_finite() || sensitivity < 0.0 {
        return Err(Invalid::new("sensitivity", sensitivity, "a finite number ≥ 0"));
    }
    if test == OutlierTest::Poisson && metric != Metric::DispatchCount {
        return Err(Invalid::new("metric", metric, "dispatch_count, where counts are compared (Poisson)"));
    }
    Ok(())
}

/// The points of a series that stand out from the others, oldest first.
pub fn detect_anomalies(series: &[TrendPoint], test: OutlierTest, sensitivity: f64) -> Vec<Anomaly> {
    let values: Vec<f64> = series.iter().map(|point| point.value).collect();
    let compared = outliers(&values, test, sensitivity).into_iter().zip(series);
    let found = compared.filter(|(comparison, _)| comparison.is_outlier).map(|(comparison, point)| Anomaly {
        timestamp: point.timestamp,
        value: point.value,
        expected: comparison.expected,
        z_score: comparison.z_score,
    });
    found.collect()
}
