//! `GetMetric` and `GetRegions`: windows, aggregations, dimensions.

use std::collections::BTreeMap;

use super::*;
use crate::domain::{TimeWindow, mean, percentile_sorted};
use crate::error::{Error, Kind};

const P: [(Percent, u32); 4] = [(Percent::P50, 50), (Percent::P90, 90), (Percent::P95, 95), (Percent::P99, 99)];

fn query(metric: Metric, window: TimeWindow, aggregation: AggregationType, start: &str, end: &str) -> GetMetric {
    let at = |text: &str| (!text.is_empty()).then(|| Instant::At(t(text)));
    GetMetric { start: at(start), end: at(end), ..GetMetric::new(metric, window, aggregation) }
}

/// Start of the window within its day, and the value.
#[track_caller]
fn values(org: &Org, query: GetMetric) -> Vec<(String, Option<f64>)> {
    let answer = org.ask(query).expect("an answer");
    answer.iter().map(|it| (it.window_start.to_string()[11..16].to_owned(), it.value)).collect()
}

#[track_caller]
fn single(org: &Org, metric: Metric, aggregation: AggregationType, dimensions: Dimensions) -> AggregatedMetric {
    let query = GetMetric {
        dimensions,
        ..query(metric, TimeWindow::All, aggregation, "2026-01-01T00:00:00Z", "2026-12-31T00:00:00Z")
    };
    let query = GetMetric { include_empty: true, ..query };
    let [metric] = org.ask(query).expect("an answer").try_into().expect("one window");
    metric
}

fn minutes(event_id: &str, at: &str, minutes: f64) -> DispatchEvent {
    event_with(event_id, t(at), |event| event.response_time_minutes = minutes)
}

#[test]
fn every_aggregation_of_a_measure_up_to_forty_samples() {
    // Spread over groups and minutes, in no order.
    let sample = |n: usize| ((n * 37) % 41) as f64 * 0.1;
    for count in 0..=40 {
        let events = (0..count).map(|n| {
            event_with(&format!("e{n}"), now_plus(-(n as i64 % 3) * MIN), |event| {
                event.response_time_minutes = sample(n);
                event.distance_km = sample(n) * 2.0;
                event.severity = 1 + (n % 5) as i64;
            })
        });
        let org = org_with(events);
        let mut ascending: Vec<f64> = (0..count).map(sample).collect();
        ascending.sort_by(f64::total_cmp);
        let value = |aggregation| single(&org, Metric::ResponseTime, aggregation, Dimensions::any()).value;
        for (percent, number) in P {
            let expected = percentile_sorted(&ascending, number);
            assert_eq!(value(AggregationType::Percentile(percent)), expected, "p{number} of {count}");
        }
        assert_eq!(value(AggregationType::Min), ascending.first().copied(), "min of {count}");
        assert_eq!(value(AggregationType::Max), ascending.last().copied(), "max of {count}");
        assert_eq!(value(AggregationType::Average), mean(&ascending), "mean of {count}");
        assert_eq!(value(AggregationType::Count), Some(count as f64));
        let sum: crate::domain::ExactSum = ascending.iter().copied().collect();
        assert_eq!(value(AggregationType::Sum), Some(sum.value()));
        let doubled: Vec<f64> = ascending.iter().map(|value| value * 2.0).collect();
        let distance = single(&org, Metric::Distance, AggregationType::Percentile(Percent::P90), Dimensions::any());
        assert_eq!(distance.value, percentile_sorted(&doubled, 90));
        assert_eq!((distance.sample_count, distance.exact), (count as u64, true));
    }
}

#[test]
fn compliance_is_one_for_each_that_met_its_target() {
    for (met, missed) in [(0, 0), (1, 0), (0, 1), (1, 1), (9, 1), (1, 9), (19, 1), (99, 1), (1, 99), (50, 50)] {
        let events = (0..met + missed).map(|n| {
            event_with(&format!("e{n}"), now_plus(-(n as i64) * 1_000), |event| event.sla_met = Some(n < met))
        });
        let org = org_with(events);
        let count = met + missed;
        let mut ascending = vec![0.0; missed];
        ascending.resize(count, 1.0);
        let value = |aggregation| single(&org, Metric::SlaCompliance, aggregation, Dimensions::any()).value;
        let rate = (count > 0).then(|| met as f64 / count as f64);
        assert_eq!(value(AggregationType::Average), rate, "{met} of {count}");
        assert_eq!(value(AggregationType::Sum), Some(met as f64));
        assert_eq!(value(AggregationType::Count), Some(count as f64));
        assert_eq!(value(AggregationType::Min), ascending.first().copied());
        assert_eq!(value(AggregationType::Max), ascending.last().copied());
        for (percent, number) in P {
            let expected = percentile_sorted(&ascending, number);
            assert_eq!(value(AggregationType::Percentile(percent)), expected, "p{number}, {met} of {count} met");
        }
        for aggregation in AggregationType::ALL {
            let counted = single(&org, Metric::DispatchCount, aggregation, Dimensions::any());
            assert_eq!(counted.value, Some(count as f64), "dispatch_count, whatever the aggregation: {aggregation}");
        }
    }
}

#[test]
fn only_closed_dispatches_are_measured() {
    let open = |id: &str, status| event_with(id, now_plus(0), |event| event.status = status);
    let org = org_with([open("a", Status::Active), open("p", Status::Pending), event("c", now_plus(0))]);
    assert_eq!(single(&org, Metric::DispatchCount, AggregationType::Sum, Dimensions::any()).value, Some(1.0));
    let org = org_with([open("a", Status::Active)]);
    let average = single(&org, Metric::ResponseTime, AggregationType::Average, Dimensions::any());
    assert_eq!((average.value, average.sample_count), (None, 0));
}

#[test]
fn windows_are_whole_and_half_open() {
    let org = org_with([
        minutes("a", "2026-03-01T09:59:59.999999Z", 1.0),
        minutes("b", "2026-03-01T10:00:00Z", 2.0),
        minutes("c", "2026-03-01T10:29:59.999999Z", 4.0),
        minutes("d", "2026-03-01T11:00:00Z", 8.0),
    ]);
    let ask = |window, start, end| values(&org, query(Metric::ResponseTime, window, AggregationType::Sum, start, end));
    let some = |list: &[(&str, f64)]| list.iter().map(|&(at, v)| (at.to_owned(), Some(v))).collect::<Vec<_>>();
    // From the window that holds start to the one that holds the last instant before end.
    for (window, start, end, expected) in [
        (TimeWindow::Hour1, "2026-03-01T10:59:00Z", "2026-03-01T11:00:00Z", some(&[("10:00", 6.0)])),
        (
            TimeWindow::Hour1,
            "2026-03-01T10:59:00Z",
            "2026-03-01T11:00:00.000001Z",
            some(&[("10:00", 6.0), ("11:00", 8.0)]),
        ),
        (
            TimeWindow::Hour1,
            "2026-03-01T09:59:59Z",
            "2026-03-01T10:00:00.000001Z",
            some(&[("09:00", 1.0), ("10:00", 6.0)]),
        ),
        (
            TimeWindow::Minute15,
            "2026-03-01T10:00:00Z",
            "2026-03-01T10:45:00Z",
            some(&[("10:00", 2.0), ("10:15", 4.0), ("10:30", 0.0)]),
        ),
        (TimeWindow::Minute5, "2026-03-01T10:25:00Z", "2026-03-01T10:30:00Z", some(&[("10:25", 4.0)])),
        (TimeWindow::Minute1, "2026-03-01T10:29:00Z", "2026-03-01T10:31:00Z", some(&[("10:29", 4.0), ("10:30", 0.0)])),
        (TimeWindow::Hour6, "2026-03-01T10:00:00Z", "2026-03-01T10:00:01Z", some(&[("06:00", 15.0)])),
        (TimeWindow::Day1, "2026-03-01T10:00:00Z", "2026-03-01T10:00:01Z", some(&[("00:00", 15.0)])),
        // Only `all` is over exactly the span.
        (TimeWindow::All, "2026-03-01T10:00:00Z", "2026-03-01T10:29:59.999999Z", some(&[("10:00", 2.0)])),
        (TimeWindow::All, "2026-03-01T10:00:00Z", "2026-03-01T10:30:00Z", some(&[("10:00", 6.0)])),
        (TimeWindow::All, "2026-03-01T09:59:59.999999Z", "2026-03-01T11:00:00Z", some(&[("09:59", 7.0)])),
        (TimeWindow::All, "2026-03-01T10:00:00.000001Z", "2026-03-01T11:00:00.000001Z", some(&[("10:00", 12.0)])),
    ] {
        assert_eq!(ask(window, start, end), expected, "{window} from {start} to {end}");
    }
    let answer = org.ask(query(
        Metric::ResponseTime,
        TimeWindow::All,
        AggregationType::Max,
        "2026-03-01T09:30:15Z",
        "2026-03-01T11:00:00.000001Z",
    ));
    let [all] = answer.expect("an answer").try_into().expect("one window");
    assert_eq!((all.window_start, all.window_end), (t("2026-03-01T09:30:15Z"), t("2026-03-01T11:00:00.000001Z")));
    assert_eq!((all.metric_name, all.value), ("response_time", Some(8.0)));
    assert_eq!(serde_json::to_value(&all).expect("JSON")["aggregation"], "max");
}

#[test]
fn windows_before_1970_hold_what_lies_in_them() {
    let org = org_with([minutes("a", "1969-12-31T23:59:59.999999Z", 1.0), minutes("b", "1970-01-01T00:00:00Z", 2.0)]);
    let sum = |window| {
        values(
            &org,
            query(Metric::ResponseTime, window, AggregationType::Sum, "1969-12-31T23:59:00Z", "1970-01-01T00:01:00Z"),
        )
    };
    for window in [TimeWindow::Minute1, TimeWindow::Minute5, TimeWindow::Hour1, TimeWindow::Day1] {
        let [first, second] = sum(window).try_into().expect("two windows");
        assert_eq!((first.1, second), (Some(1.0), ("00:00".to_owned(), Some(2.0))), "{window}");
    }
}

#[test]
fn bounds_that_are_given_are_listed_in_full_and_others_trimmed() {
    let org = org_with([minutes("a", "2026-03-01T09:10:00Z", 1.0), minutes("b", "2026-03-01T10:10:00Z", 2.0)]);
    let hours = |aggregation, start: Option<&str>, end: Option<&str>, include_empty| {
        let at = |text: Option<&str>| text.map(|text| Instant::At(t(text)));
        let query = GetMetric {
            start: at(start),
            end: at(end),
            include_empty,
            ..GetMetric::new(Metric::ResponseTime, TimeWindow::Hour1, aggregation)
        };
        values(&org, query).into_iter().map(|(at, value)| (at[..2].to_owned(), value)).collect::<Vec<_>>()
    };
    let list = |list: &[(&str, Option<f64>)]| list.iter().map(|&(at, v)| (at.to_owned(), v)).collect::<Vec<_>>();
    let (sum, max) = (AggregationType::Sum, AggregationType::Max);
    let (eight, noon) = (Some("2026-03-01T08:00:00Z"), Some("2026-03-01T12:00:00Z"));
    // Now is 12:00, so that an end that is not given is noon, and a start that is not given an hour before the end.
    for (aggregation, start, end, include_empty, expected) in [
        (sum, eight, noon, false, list(&[("08", Some(0.0)), ("09", Some(1.0)), ("10", Some(2.0)), ("11", Some(0.0))])),
        (sum, eight, None, false, list(&[("08", Some(0.0)), ("09", Some(1.0)), ("10", Some(2.0))])),
        (sum, None, noon, false, list(&[])),
        (sum, None, Some("2026-03-01T11:00:00Z"), false, list(&[("10", Some(2.0))])),
        (sum, None, Some("2026-03-01T11:30:00Z"), false, list(&[("10", Some(2.0)), ("11", Some(0.0))])),
        (sum, None, None, false, list(&[])),
        (max, eight, noon, false, list(&[("09", Some(1.0)), ("10", Some(2.0))])),
        (max, eight, noon, true, list(&[("08", None), ("09", Some(1.0)), ("10", Some(2.0)), ("11", None)])),
        (max, eight, None, true, list(&[("08", None), ("09", Some(1.0)), ("10", Some(2.0))])),
        (max, Some("2026-03-01T11:00:00Z"), noon, false, list(&[])),
        (sum, Some("2026-03-01T11:00:00Z"), noon, false, list(&[("11", Some(0.0))])),
    ] {
        assert_eq!(
            hours(aggregation, start, end, include_empty),
            expected,
            "{aggregation} {start:?} {end:?} {include_empty}"
        );
    }
    // Empty windows between are listed, also for a count.
    let org = org_with([minutes("a", "2026-03-01T09:10:00Z", 1.0), minutes("b", "2026-03-01T11:10:00Z", 2.0)]);
    let counted = query(Metric::DispatchCount, TimeWindow::Hour1, AggregationType::Max, "2026-03-01T08:00:00Z", "");
    let counts: Vec<_> = values(&org, counted).into_iter().map(|(_, value)| value).collect();
    assert_eq!(counts, [Some(0.0), Some(1.0), Some(0.0), Some(1.0)]);
}

#[test]
fn instants_are_absolute_or_relative_and_as_of_takes_the_place_of_now() {
    let org = org_with([minutes("a", "2026-03-01T10:30:00Z", 1.0), minutes("b", "2026-03-01T11:30:00Z", 2.0)]);
    let sum = |start, end, as_of| {
        let query = GetMetric {
            start,
            end,
            as_of,
            ..GetMetric::new(Metric::ResponseTime, TimeWindow::All, AggregationType::Sum)
        };
        org.ask(query).map(|answer| answer.first().map(|it| (it.window_start, it.window_end, it.value)))
    };
    let window = |start: &str, end: &str, value| Ok(Some((t(start), t(end), Some(value))));
    let at = |text| Some(Instant::At(t(text)));
    for (start, end, as_of, expected) in [
        (None, None, None, window("2026-03-01T11:00:00Z", NOW, 2.0)),
        (Some(Instant::FromNow(-2 * HOUR)), None, None, window("2026-03-01T10:00:00Z", NOW, 3.0)),
        (
            at("2026-03-01T10:00:00Z"),
            Some(Instant::Latest),
            None,
            window("2026-03-01T10:00:00Z", "2026-03-01T11:30:00.000001Z", 3.0),
        ),
        (None, None, at("2026-03-01T11:00:00Z"), window("2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z", 1.0)),
        // The end is never after it.
        (
            at("2026-03-01T10:00:00Z"),
            at(NOW),
            at("2026-03-01T11:30:00Z"),
            window("2026-03-01T10:00:00Z", "2026-03-01T11:30:00Z", 1.0),
        ),
        (
            at("2026-03-01T10:00:00Z"),
            at("2026-03-01T11:00:00Z"),
            at(NOW),
            window("2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z", 1.0),
        ),
    ] {
        assert_eq!(sum(start, end, as_of), expected, "{start:?} {end:?} {as_of:?}");
    }
    for (start, end) in [(at(NOW), None), (at(NOW), at(NOW)), (at(NOW), at("2026-03-01T11:00:00Z"))] {
        let refusal = sum(start, end, None).expect_err("start is not before end");
        let Error::Invalid(invalid) = &refusal else { panic!("{refusal}") };
        assert_eq!((invalid.field.as_str(), invalid.value.as_str()), ("start", NOW));
    }
    let nothing = empty_org();
    let latest = GetMetric {
        end: Some(Instant::Latest),
        ..GetMetric::new(Metric::DispatchCount, TimeWindow::Hour1, AggregationType::Count)
    };
    assert_eq!(nothing.ask(latest).expect("the clock's, when there is no event").len(), 0);
}

#[test]
fn a_hundred_thousand_windows_are_answered_and_one_more_is_not() {
    let org = empty_org();
    let ask = |end: Timestamp| {
        org.ask(GetMetric {
            start: Some(Instant::At(t(NOW))),
            end: Some(Instant::At(end)),
            ..GetMetric::new(Metric::DispatchCount, TimeWindow::Minute1, AggregationType::Count)
        })
    };
    assert_eq!(ask(now_plus(WINDOWS_MAX * MIN)).expect("just so many").len() as i64, WINDOWS_MAX);
    let refusal = ask(now_plus(WINDOWS_MAX * MIN + 1)).expect_err("one more");
    assert_eq!(refusal.kind(), Kind::Invalid);
    assert!(refusal.to_string().contains("1m (100001 windows)"), "{refusal}");
}

#[test]
fn dimensions_must_all_match() {
    let of = |id: &str, region: &str, severity, unit: &str| {
        event_with(id, now_plus(0), |event| {
            (event.region, event.severity, event.unit_type) = (region.into(), severity, unit.into());
        })
    };
    let org = org_with([
        of("a", "north", 5, "engine"),
        of("b", "north", 5, "truck"),
        of("c", "north", 3, "engine"),
        of("d", "south", 5, "engine"),
        of("e", "nor", 1, "truck"),
    ]);
    for (dimensions, expected) in [
        (vec![], 5.0),
        (vec![("region", "north")], 3.0),
        (vec![("region", "nor")], 1.0),
        (vec![("severity", "5")], 3.0),
        (vec![("unit_type", "truck")], 2.0),
        (vec![("region", "north"), ("severity", "5")], 2.0),
        (vec![("unit_type", "engine"), ("severity", "5"), ("region", "north")], 1.0),
        (vec![("region", "nowhere")], 0.0),
        (vec![("unit_type", "nothing"), ("severity", "5")], 0.0),
        (vec![("severity", "2")], 0.0),
    ] {
        let fold = |all: Dimensions, (name, value): &(&str, &str)| all.with(name, value).expect("a dimension");
        let asked = dimensions.iter().fold(Dimensions::any(), fold);
        let answer = single(&org, Metric::DispatchCount, AggregationType::Count, asked);
        assert_eq!(answer.value, Some(expected), "{dimensions:?}");
        let shown: BTreeMap<&str, String> = dimensions.iter().map(|&(name, value)| (name, value.to_owned())).collect();
        assert_eq!(answer.dimensions, shown);
    }
    for (name, value, field) in [
        ("colour", "red", "dimension"),
        ("severity", "6", "severity"),
        ("severity", "high", "severity"),
        ("region", "", "region"),
        ("unit_type", "a\n", "unit_type"),
    ] {
        assert_eq!(Dimensions::any().with(name, value).expect_err(name).field, field);
    }
    for (name, value) in [("region", "north"), ("severity", "5"), ("unit_type", "truck")] {
        let twice = Dimensions::any().with(name, value).and_then(|it| it.with(name, value));
        assert_eq!(twice.expect_err("given twice").field, "dimension");
    }
}

#[test]
fn names_of_metrics_and_aggregations_round_trip() {
    for metric in Metric::ALL {
        assert_eq!(metric.to_string().parse::<Metric>(), Ok(metric));
    }
    for aggregation in AggregationType::ALL {
        assert_eq!(aggregation.to_string().parse::<AggregationType>(), Ok(aggregation));
    }
    assert_eq!("p75".parse::<AggregationType>().expect_err("not offered").field, "aggregation");
    assert_eq!("speed".parse::<Metric>().expect_err("not measured").field, "metric");
}

#[test]
fn regions_are_summed_up_over_exactly_the_span() {
    let of = |id: &str, region: &str, at: &str, minutes: f64, met| {
        event_with(id, t(at), |event| {
            (event.region, event.response_time_minutes, event.sla_met) = (region.into(), minutes, Some(met));
            event.distance_km = minutes / 2.0;
        })
    };
    let org = org_with([
        of("a", "north", "2026-03-01T10:00:00Z", 4.0, true),
        of("b", "north", "2026-03-01T10:00:30Z", 8.0, false),
        of("c", "north", "2026-03-01T10:01:30Z", 9.0, true),
        of("d", "south", "2026-03-01T10:01:00Z", 1.0, true),
        of("e", "west", "2026-03-01T10:02:30Z", 1.0, true),
        of("f", "east", "2026-03-01T09:59:59.999999Z", 1.0, true),
        event_with("g", t("2026-03-01T10:01:00Z"), |event| {
            (event.region, event.status) = ("open".into(), Status::Active);
        }),
    ]);
    let at = |text| Some(Instant::At(t(text)));
    let regions = |start, end| org.ask(GetRegions { start, end });
    let answer = regions(at("2026-03-01T10:00:00Z"), at("2026-03-01T10:02:30Z")).expect("an answer");
    let north = RegionSummary {
        dispatch_count: 3,
        avg_response: 7.0,
        p50_response: 8.0,
        p90_response: 9.0,
        sla_compliance: 2.0 / 3.0,
        avg_distance: 3.5,
    };
    let south = RegionSummary {
        dispatch_count: 1,
        avg_response: 1.0,
        p50_response: 1.0,
        p90_response: 1.0,
        sla_compliance: 1.0,
        avg_distance: 0.5,
    };
    assert_eq!(answer, BTreeMap::from([("north".to_owned(), north), ("south".to_owned(), south)]));
    // A bound inside a minute cuts it.
    let cut = regions(at("2026-03-01T10:00:15Z"), at("2026-03-01T10:01:15Z")).expect("an answer");
    assert_eq!((cut["north"].dispatch_count, cut["north"].avg_response), (1, 8.0));
    assert_eq!(cut["south"], south);
    assert_eq!(regions(None, None).expect("an answer"), BTreeMap::new(), "the last hour holds none");
    assert_eq!(regions(at(NOW), at(NOW)).expect_err("no span").kind(), Kind::Invalid);
    assert_eq!(empty_org().ask(GetRegions { start: None, end: None }).expect("nothing"), BTreeMap::new());
}
