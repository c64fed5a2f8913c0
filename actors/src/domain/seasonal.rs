//! A forecast by the hour of the week, and how far off it and a straight line were in the past.

use super::regression::least_squares;
use super::timestamp::{MICROS_PER_HOUR, Timestamp};
use super::{ExactSum, mean};

/// Hours of a week: what repeats in the life of a city.
const WEEK_MICROS: i64 = 7 * 24 * MICROS_PER_HOUR;
/// How far back it looks, so that a city that has changed since is not remembered for ever.
pub const SEASONAL_WEEKS: i64 = 12;
/// Past windows that both forecasts are tried on.
pub const BACKTESTS_MAX: usize = 168;
/// A line through fewer points is none.
const LINE_POINTS_MIN: usize = 3;

/// A forecast by the hour of the week beside the line's, and how far off both were.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeasonalForecast {
    /// The instant that the forecast is for: one hour after the start of the last window, or one window when it is wider.
    pub at: Timestamp,
    /// The mean of the values at that hour of the week in the weeks before.
    pub value: f64,
    /// Mean distance of such forecasts from what came, over the latest windows; `None` when none could be tried.
    pub backtest_error: Option<f64>,
    /// The same of the straight line's forecasts, for the same windows.
    pub line_backtest_error: Option<f64>,
    /// How many windows both were tried on.
    pub backtests: usize,
}

/// Forecasts from values with the starts of their windows, oldest first; `width` is the windows' in microseconds, and the
/// line goes through the last `line_points` before each forecast. `None` when that hour of the week was never seen before.
pub fn seasonal_forecast(values: &[(Timestamp, f64)], width: i64, line_points: usize) -> Option<SeasonalForecast> {
    let (last, _) = *values.last()?;
    let horizon = width.max(MICROS_PER_HOUR);
    let at = last.saturating_add_micros(horizon);
    let value = at_that_hour(values, at, width)?;
    let mut errors: Vec<(f64, f64)> = Vec::new();
    for (origin, &(start, _)) in values.iter().enumerate().rev().skip(1) {
        if errors.len() == BACKTESTS_MAX {
            break;
        }
        let target = start.saturating_add_micros(horizon);
        let Ok(came) = values.binary_search_by_key(&target, |&(start, _)| start) else { continue };
        let known = &values[..=origin];
        let line = line_at(&known[known.len().saturating_sub(line_points)..], target);
        if let Some((seasonal, line)) = at_that_hour(known, target, width).zip(line) {
            let came = values[came].1;
            errors.push(((seasonal - came).abs(), (line - came).abs()));
        }
    }
    let mean_of = |pick: fn(&(f64, f64)) -> f64| mean(&errors.iter().map(pick).collect::<Vec<_>>());
    Some(SeasonalForecast {
        at,
        value,
        backtest_error: mean_of(|error| error.0),
        line_backtest_error: mean_of(|error| error.1),
        backtests: errors.len(),
    })
}

/// The mean of what was at that hour of the week, in the weeks before `at`.
fn at_that_hour(known: &[(Timestamp, f64)], at: Timestamp, width: i64) -> Option<f64> {
    let slot_width = width.max(MICROS_PER_HOUR);
    let slot = at.as_micros().div_euclid(slot_width) * slot_width;
    let mut sum = ExactSum::default();
    let mut count = 0u32;
    for week in 1..=SEASONAL_WEEKS {
        let (from, to) = (slot - week * WEEK_MICROS, slot - week * WEEK_MICROS + slot_width);
        let first = known.partition_point(|(start, _)| start.as_micros() < from);
        for (_, value) in known[first..].iter().take_while(|(start, _)| start.as_micros() < to) {
            sum.add(*value);
            count += 1;
        }
    }
    (count > 0).then(|| sum.value() / f64::from(count))
}

fn line_at(known: &[(Timestamp, f64)], at: Timestamp) -> Option<f64> {
    if known.len() < LINE_POINTS_MIN {
        return None;
    }
    let (first, _) = known[0];
    let hours = |instant: Timestamp| (instant.as_micros() - first.as_micros()) as f64 / MICROS_PER_HOUR as f64;
    let points: Vec<(f64, f64)> = known.iter().map(|&(start, value)| (hours(start), value)).collect();
    least_squares(&points).map(|fit| fit.line.at(hours(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hourly values over so many weeks, from the Monday 5 January 2026 on.
    fn hourly(weeks: i64, value: impl Fn(i64) -> f64) -> Vec<(Timestamp, f64)> {
        let monday: Timestamp = "2026-01-05T00:00:00Z".parse().expect("an instant");
        (0..weeks * 168).map(|hour| (monday.saturating_add_micros(hour * MICROS_PER_HOUR), value(hour))).collect()
    }

    /// Busy in the day, quiet at night, and quieter on Sundays.
    fn city(hour: i64) -> f64 {
        let (day, hour) = (hour / 24 % 7, hour % 24);
        (if (8..20).contains(&hour) { 40.0 } else { 10.0 }) - if day == 6 { 5.0 } else { 0.0 }
    }

    #[test]
    fn what_repeats_every_week_is_forecast_without_error_and_a_line_is_not() {
        let forecast = seasonal_forecast(&hourly(5, city), MICROS_PER_HOUR, 24).expect("five weeks are known");
        assert_eq!(forecast.at.to_string(), "2026-02-09T00:00:00Z");
        assert_eq!((forecast.value, forecast.backtest_error, forecast.backtests), (10.0, Some(0.0), BACKTESTS_MAX));
        assert!(forecast.line_backtest_error > Some(5.0), "{forecast:?}");
    }

    #[test]
    fn what_only_grows_is_better_told_by_the_line() {
        let forecast = seasonal_forecast(&hourly(5, |hour| hour as f64), MICROS_PER_HOUR, 24).expect("five weeks");
        assert!(forecast.line_backtest_error < Some(1e-9), "{forecast:?}");
        assert!(forecast.backtest_error >= Some(168.0), "{forecast:?}");
    }

    #[test]
    fn the_first_week_has_no_forecast_and_the_second_no_backtest_before_its_time() {
        assert_eq!(seasonal_forecast(&[], MICROS_PER_HOUR, 24), None);
        assert_eq!(seasonal_forecast(&hourly(1, city)[..167], MICROS_PER_HOUR, 24), None);
        let one_week = seasonal_forecast(&hourly(1, city), MICROS_PER_HOUR, 24).expect("that hour was seen once");
        assert_eq!((one_week.value, one_week.backtest_error, one_week.backtests), (10.0, None, 0));
    }

    #[test]
    fn only_the_latest_weeks_count() {
        let weeks = SEASONAL_WEEKS + 3;
        let changed = hourly(weeks, |hour| if hour < 3 * 168 { 1_000.0 } else { 7.0 });
        assert_eq!(seasonal_forecast(&changed, MICROS_PER_HOUR, 24).map(|forecast| forecast.value), Some(7.0));
    }

    #[test]
    fn wider_windows_are_forecast_for_the_next_window() {
        let days = hourly(3, |_| 0.0).into_iter().step_by(24).enumerate();
        let days: Vec<_> = days.map(|(day, (start, _))| (start, (day % 7) as f64)).collect();
        let forecast = seasonal_forecast(&days, 24 * MICROS_PER_HOUR, 24).expect("three weeks");
        assert_eq!((forecast.at.to_string().as_str(), forecast.value), ("2026-01-26T00:00:00Z", 0.0));
        assert_eq!(forecast.backtest_error, Some(0.0));
    }
}
