//! Series, trends and anomalies of an org, read off its events.

use super::*;
use crate::domain::{OutlierTest, TimeWindow};

/// An event in the n-th hour before noon, the tests' now, with that response time.
fn hours_ago(id: &str, hours: i64, minutes: f64) -> DispatchEvent {
    event_with(id, now_plus(-hours * HOUR + 5 * MIN), |event| event.response_time_minutes = minutes)
}

fn series_of(org: &Org, metric: Metric, which: Which, as_of: Option<Instant>) -> Vec<(String, f64)> {
    let points = org.ask(GetSeries { metric, window: TimeWindow::Hour1, which, as_of }).expect("a series");
    points.iter().map(|point| (point.timestamp.to_string()[8..13].to_owned(), point.value)).collect()
}

fn named(points: &[(&str, f64)]) -> Vec<(String, f64)> {
    points.iter().map(|&(at, value)| (at.to_owned(), value)).collect()
}

/// Two dispatches at 05, one at 07, two at 09 of which one is still active, one in the unfinished hour 12.
fn some_hours() -> Org {
    let active = event_with("open", now_plus(-3 * HOUR), |event| event.status = Status::Active);
    org_with([
        hours_ago("a", 7, 2.0),
        hours_ago("b", 7, 4.0),
        hours_ago("c", 5, 8.0),
        hours_ago("d", 3, 16.0),
        active,
        event_with("e", now_plus(MIN), |event| event.response_time_minutes = 32.0),
    ])
}

#[test]
fn a_series_is_the_mean_of_finished_windows_and_a_count_also_of_empty_ones() {
    let org = some_hours();
    let all = Which::Retained;
    let response = series_of(&org, Metric::ResponseTime, all, None);
    assert_eq!(response, named(&[("01T05", 3.0), ("01T07", 8.0), ("01T09", 16.0)]));
    // Something came in the hour after noon by one minute, but now is noon: nothing later is looked at.
    let counts = series_of(&org, Metric::DispatchCount, all, None);
    assert_eq!(counts, named(&[("01T05", 2.0), ("01T06", 0.0), ("01T07", 1.0), ("01T08", 0.0), ("01T09", 1.0)]));
    // Once it has come, the hours before it are known to be empty, though its own is not finished.
    let later = Some(Instant::At(now_plus(2 * MIN)));
    let counts = series_of(&org, Metric::DispatchCount, all, later);
    assert_eq!(counts[4..], named(&[("01T09", 1.0), ("01T10", 0.0), ("01T11", 0.0)]));
    // And its own counts as soon as it is over.
    let over = Some(Instant::At(now_plus(HOUR)));
    assert_eq!(series_of(&org, Metric::DispatchCount, all, over).last(), named(&[("01T12", 1.0)]).last());
    assert_eq!(series_of(&org, Metric::ResponseTime, all, over).last(), named(&[("01T12", 32.0)]).last());
    let just_before = Some(Instant::At(now_plus(HOUR - 1)));
    assert_eq!(series_of(&org, Metric::ResponseTime, all, just_before).len(), 3);
}

#[test]
fn the_latest_windows_are_those_with_a_value() {
    let org = some_hours();
    let latest = |count| series_of(&org, Metric::ResponseTime, Which::Latest(count), None);
    assert_eq!(latest(2), named(&[("01T07", 8.0), ("01T09", 16.0)]));
    assert_eq!(latest(9).len(), 3);
    let counts = series_of(&org, Metric::DispatchCount, Which::Latest(2), None);
    assert_eq!(counts, named(&[("01T08", 0.0), ("01T09", 1.0)]));
    let as_of = Some(Instant::At(now_plus(-4 * HOUR)));
    assert_eq!(series_of(&org, Metric::ResponseTime, Which::Latest(1), as_of), named(&[("01T07", 8.0)]));
    assert_eq!(series_of(&org, Metric::SlaCompliance, Which::Latest(1), None), named(&[("01T09", 1.0)]));
}

#[test]
fn a_span_cuts_the_series_and_in_full_goes_on_to_its_bounds() {
    let org = some_hours();
    let between = |from: Option<i64>, to: Option<i64>, in_full| Which::Between {
        start: from.map(|hours| Instant::At(now_plus(hours * HOUR))),
        end: to.map(|hours| Instant::At(now_plus(hours * HOUR))),
        in_full,
    };
    let counts = |which| series_of(&org, Metric::DispatchCount, which, None);
    assert_eq!(counts(between(Some(-6), Some(-4), false)), named(&[("01T06", 0.0), ("01T07", 1.0)]));
    assert_eq!(counts(between(None, Some(-5), false)), named(&[("01T05", 2.0), ("01T06", 0.0)]));
    assert_eq!(counts(between(Some(-9), Some(0), false)).len(), 5);
    let full = counts(between(Some(-9), Some(0), true));
    assert_eq!((full.len(), full[0].clone(), full[8].clone()), (9, ("01T03".into(), 0.0), ("01T11".into(), 0.0)));
    assert_eq!(counts(between(None, Some(0), true)).len(), 7);
    // Other metrics have no value in empty windows, whatever is asked.
    assert_eq!(series_of(&org, Metric::ResponseTime, between(Some(-9), Some(0), true), None).len(), 3);
    // The window that holds the last instant before the end is whole.
    let half = Which::Between { start: None, end: Some(Instant::At(now_plus(-5 * HOUR + 1))), in_full: false };
    assert_eq!(counts(half).last(), named(&[("01T07", 1.0)]).last());
    let empty = org.ask(GetSeries {
        metric: Metric::ResponseTime,
        window: TimeWindow::Hour1,
        which: between(Some(-1), Some(-1), false),
        as_of: None,
    });
    assert_eq!(empty.expect_err("start is not before end").to_string().split(' ').next(), Some("start"));
}

#[test]
fn questions_that_have_no_series_are_refused() {
    let ask = |org: &Org, window, which| {
        org.ask(GetSeries { metric: Metric::DispatchCount, window, which, as_of: None }).map(|points| points.len())
    };
    let org = org_with([event("a", now_plus(-100_001 * MIN)), event("b", now_plus(-MIN))]);
    let refusal = ask(&org, TimeWindow::All, Which::Retained).expect_err("no series");
    assert_eq!(refusal.to_string(), "window is all, allowed: 1m, 5m, 15m, 1h, 6h, 1d");
    let refusal = ask(&org, TimeWindow::Minute1, Which::Retained).expect_err("too many");
    assert_eq!(refusal.to_string(), "window is 1m (100001 windows), allowed: at most 100000 windows");
    assert_eq!(ask(&org, TimeWindow::Minute5, Which::Retained), Ok(20_001));
    assert_eq!(ask(&org, TimeWindow::Minute1, Which::Latest(500)), Ok(500));
    assert_eq!(ask(&empty_org(), TimeWindow::Minute1, Which::Retained), Ok(0));
}

#[test]
fn trend_direction_slope_forecast_and_confidence() {
    let line =
        |slope: f64| -> Org { org_with((0..10).map(|n| hours_ago(&format!("e{n}"), 10 - n, 50.0 + slope * n as f64))) };
    for (slope, direction) in
        [(2.0, TrendDirection::Increasing), (-2.0, TrendDirection::Decreasing), (0.0, TrendDirection::Stable)]
    {
        let org = line(slope);
        let which = Which::Latest(24);
        let series = org.ask(GetSeries { metric: Metric::ResponseTime, window: TimeWindow::Hour1, which, as_of: None });
        let trend = analyze_trend(Metric::ResponseTime, TimeWindow::Hour1, &series.expect("a series"), 24);
        assert_eq!((trend.trend_direction, trend.points.len()), (direction, 10), "{slope}");
        assert!((trend.slope - slope).abs() < 1e-12, "{slope}: {}", trend.slope);
        assert!((trend.forecast_next_hour.expect("a line") - (50.0 + 10.0 * slope)).abs() < 1e-9);
        assert!((trend.confidence - if slope == 0.0 { 0.0 } else { 1.0 }).abs() < 1e-12);
        assert_eq!(trend.theil_sen.expect("ten points").slope, slope);
        assert_eq!(trend.smoothed[2].value, 50.0 + slope);
    }
}

#[test]
fn fewer_than_three_points_are_stable_with_the_last_value_as_forecast() {
    let point = |hour: i64, value| TrendPoint { timestamp: now_plus(hour * HOUR), value };
    for (series, forecast) in
        [(vec![], None), (vec![point(0, 7.0)], Some(7.0)), (vec![point(0, 7.0), point(1, 9.0)], Some(9.0))]
    {
        let trend = analyze_trend(Metric::ResponseTime, TimeWindow::Hour1, &series, 24);
        let met = (trend.trend_direction, trend.slope, trend.confidence, trend.forecast_next_hour);
        assert_eq!(met, (TrendDirection::Stable, 0.0, 0.0, forecast));
    }
    let three = [point(0, 7.0), point(1, 9.0), point(2, 11.0)];
    assert_eq!(analyze_trend(Metric::ResponseTime, TimeWindow::Hour1, &three, 24).forecast_next_hour, Some(13.0));
    // Only the last two are looked at.
    let trend = analyze_trend(Metric::ResponseTime, TimeWindow::Hour1, &three, 2);
    assert_eq!((trend.points.len(), trend.slope, trend.forecast_next_hour), (2, 0.0, Some(11.0)));
}

#[test]
fn slopes_are_per_hour_whatever_the_window() {
    for (window, minutes) in [(TimeWindow::Minute5, 5), (TimeWindow::Minute15, 15), (TimeWindow::Day1, 24 * 60)] {
        let series: Vec<TrendPoint> = (0..6)
            .map(|n| TrendPoint { timestamp: now_plus(n * minutes * MIN), value: (n * minutes) as f64 / 60.0 * 3.0 })
            .collect();
        let trend = analyze_trend(Metric::ResponseTime, window, &series, 24);
        assert!((trend.slope - 3.0).abs() < 1e-12, "{window}: {}", trend.slope);
        let expected = 3.0 * (5.0 * minutes as f64 / 60.0 + 1.0);
        assert!((trend.forecast_next_hour.expect("a line") - expected).abs() < 1e-9, "{window}");
    }
}

#[test]
fn lookbacks_sensitivities_and_tests_out_of_range_are_refused() {
    for (lookback, is_fine) in [(0, false), (1, true), (LOOKBACK_MAX, true), (LOOKBACK_MAX + 1, false)] {
        assert_eq!(check_lookback(lookback).is_ok(), is_fine, "{lookback}");
    }
    for (sensitivity, is_fine) in [(0.0, true), (2.0, true), (-0.1, false), (f64::NAN, false), (f64::INFINITY, false)] {
        let checked = check_anomaly_test(Metric::ResponseTime, OutlierTest::ZScore, sensitivity);
        assert_eq!(checked.is_ok(), is_fine, "{sensitivity}");
    }
    assert!(check_anomaly_test(Metric::DispatchCount, OutlierTest::Poisson, 2.0).is_ok());
    assert!(check_anomaly_test(Metric::ResponseTime, OutlierTest::Poisson, 2.0).is_err());
}

#[test]
fn anomalies_name_window_value_and_what_was_expected() {
    let series: Vec<TrendPoint> = [4.0, 5.0, 6.0, 5.0, 40.0]
        .iter()
        .zip(0..)
        .map(|(&value, n)| TrendPoint { timestamp: now_plus(n * HOUR), value })
        .collect();
    let found = detect_anomalies(&series, OutlierTest::ZScore, 2.0);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].timestamp, found[0].value, found[0].expected), (now_plus(4 * HOUR), 40.0, 5.0));
    let deviation = (2.0_f64 / 3.0).sqrt();
    assert!((found[0].z_score.expect("a score") - 35.0 / deviation).abs() < 1e-9);
    assert_eq!(detect_anomalies(&series[..3], OutlierTest::ZScore, 0.0), []);
}
