//! Which way a metric goes, and where it will be in an hour.

use serde::Serialize;

use super::query::Metric;
use super::series::TrendPoint;
use crate::domain::{
    MICROS_PER_HOUR, MannKendall, SeasonalForecast, TimeWindow, Timestamp, least_squares, moving_average,
    seasonal_forecast, theil_sen,
};
use crate::error::Invalid;

/// Windows that a trend is read off unless it is told otherwise.
pub const LOOKBACK_DEFAULT: usize = 24;
/// Most windows of one trend. Every pair of them is compared.
pub const LOOKBACK_MAX: usize = 10_000;
/// With fewer points there is no trend.
pub const TREND_POINTS_MIN: usize = 3;
/// Points that the smoothed line takes the mean of.
pub const SMOOTHING_POINTS: usize = 3;
/// Windows behind the lookback that the seasonal forecast looks at, at most.
const SEASONAL_WINDOWS_MAX: i64 = 20_000;

/// Whether a metric rises or falls, by the Mann–Kendall test at the 5 % level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrendDirection {
    /// It rises.
    Increasing,
    /// It falls.
    Decreasing,
    /// Neither can be said.
    Stable,
}

/// A metric over its latest windows, which way it goes, and forecasts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrendAnalysis {
    /// What was measured.
    pub metric_name: &'static str,
    /// The windows' values, oldest first.
    pub points: Vec<TrendPoint>,
    /// By the Mann–Kendall test.
    pub trend_direction: TrendDirection,
    /// Change per hour, by least squares; 0 with fewer than three points.
    pub slope: f64,
    /// The line one hour after the start of the last window; with fewer than three points the last value, if any.
    pub forecast_next_hour: Option<f64>,
    /// R² of the line, 0 to 1; 0 for a constant series.
    pub confidence: f64,
    /// The mean of each value and the two before it.
    pub smoothed: Vec<TrendPoint>,
    /// The Mann–Kendall statistics; beyond ±1.959964 Z is a trend.
    pub mann_kendall: MannKendallTest,
    /// Theil and Sen's line, which a few wild values do not move; `None` with fewer than three points.
    pub theil_sen: Option<TheilSen>,
    /// The forecast by the hour of the week; `None` when that hour was not seen in an earlier week.
    pub seasonal: Option<Seasonal>,
}

/// S and Z of the Mann–Kendall test.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MannKendallTest {
    /// Pairs that rise less pairs that fall.
    pub s: i64,
    /// In standard deviations.
    pub z: f64,
}

/// The median slope of all pairs of points.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TheilSen {
    /// Change per hour.
    pub slope: f64,
    /// That line one hour after the start of the last window.
    pub forecast_next_hour: f64,
}

/// The forecast by the hour of the week, and which of the two forecasts was nearer in the past.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Seasonal {
    /// What it is for: one hour after the start of the last window, or the next window when they are wider.
    pub at: Timestamp,
    /// The mean at that hour of the week in the twelve weeks before.
    pub forecast_next_hour: f64,
    /// Mean distance of such forecasts from what came, over the latest windows.
    pub backtest_error: Option<f64>,
    /// The same of the line, for the same windows.
    pub line_backtest_error: Option<f64>,
    /// How many windows both were tried on.
    pub backtests: usize,
}

impl From<SeasonalForecast> for Seasonal {
    fn from(forecast: SeasonalForecast) -> Self {
        let SeasonalForecast { at, value, backtest_error, line_backtest_error, backtests } = forecast;
        Seasonal { at, forecast_next_hour: value, backtest_error, line_backtest_error, backtests }
    }
}

/// Checks a number of windows to look back at.
///
/// # Errors
/// When it is not 1 to [`LOOKBACK_MAX`].
pub fn check_lookback(lookback_periods: usize) -> Result<(), Invalid> {
    if (1..=LOOKBACK_MAX).contains(&lookback_periods) {
        return Ok(());
    }
    Err(Invalid::new("lookback_periods", lookback_periods, format!("1 to {LOOKBACK_MAX}")))
}

/// As many of the latest windows as [`analyze_trend`] makes use of.
pub fn windows_of_interest(window: TimeWindow, lookback_periods: usize) -> usize {
    let seasonal = window
        .width_micros()
        .map_or(0, |width| (crate::domain::SEASONAL_WEEKS * 168 * MICROS_PER_HOUR / width).min(SEASONAL_WINDOWS_MAX));
    lookback_periods.max(seasonal as usize)
}

/// Reads the trend off a series, oldest first: its last `lookback_periods` points, and what is before them for the seasonal
/// forecast. Windows of one width; that of [`TimeWindow::All`] has no trend.
pub fn analyze_trend(
    metric: Metric,
    window: TimeWindow,
    series: &[TrendPoint],
    lookback_periods: usize,
) -> TrendAnalysis {
    let points = &series[series.len().saturating_sub(lookback_periods)..];
    let values: Vec<f64> = points.iter().map(|point| point.value).collect();
    let smoothed = moving_average(&values, SMOOTHING_POINTS);
    let smoothed =
        points.iter().zip(smoothed).map(|(point, value)| TrendPoint { timestamp: point.timestamp, value }).collect();
    let mut trend = TrendAnalysis {
        metric_name: metric.as_str(),
        points: points.to_vec(),
        trend_direction: TrendDirection::Stable,
        slope: 0.0,
        forecast_next_hour: values.last().copied(),
        confidence: 0.0,
        smoothed,
        mann_kendall: MannKendallTest { s: 0, z: 0.0 },
        theil_sen: None,
        seasonal: None,
    };
    if let Some(width) = window.width_micros() {
        let series: Vec<_> = series.iter().map(|point| (point.timestamp, point.value)).collect();
        trend.seasonal = seasonal_forecast(&series, width, lookback_periods).map(Seasonal::from);
    }
    if points.len() < TREND_POINTS_MIN {
        return trend;
    }
    let hours = |at: Timestamp| (at.as_micros() - points[0].timestamp.as_micros()) as f64 / MICROS_PER_HOUR as f64;
    let in_hours: Vec<(f64, f64)> = points.iter().map(|point| (hours(point.timestamp), point.value)).collect();
    let next_hour = hours(points[points.len() - 1].timestamp) + 1.0;
    if let Some(fit) = least_squares(&in_hours) {
        trend.slope = fit.line.slope;
        trend.forecast_next_hour = Some(fit.line.at(next_hour)).filter(|value| value.is_finite());
        trend.confidence = fit.r_squared;
    }
    trend.theil_sen =
        theil_sen(&in_hours).map(|line| TheilSen { slope: line.slope, forecast_next_hour: line.at(next_hour) });
    let test = MannKendall::of(&values);
    trend.mann_kendall = MannKendallTest { s: test.s, z: test.z };
    trend.trend_direction = match (test.is_increasing(), test.is_decreasing()) {
        (true, _) => TrendDirection::Increasing,
        (_, true) => TrendDirection::Decreasing,
        _ => TrendDirection::Stable,
    };
    trend
}
