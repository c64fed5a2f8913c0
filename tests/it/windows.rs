//! What `get_metric` and the snapshot answer, against an oracle that looks at the raw events one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ionveil::dispatch::{
    AggregatedMetric, AggregationType, Dimensions, DispatchEvent, GetMetric, Instant, Metric, Percent, Status,
};
use ionveil::domain::{MICROS_PER_HOUR, MICROS_PER_MINUTE, OrgId, TimeWindow, Timestamp};
use ionveil::journal::Position;
use ionveil::runtime::{Limits, ManualClock};
use ionveil::{Config, Error, IonVeil, Kind, blocking};
use proptest::prelude::*;
use proptest::test_runner::{Config as ProptestConfig, RngSeed};
use serde_json::{Value, json};

use crate::support;
use crate::support::dispatch;

const NOW: &str = "2026-01-31T12:34:56.789Z";

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn org() -> OrgId {
    "sffd".parse().expect("an id")
}

/// An IonVeil in memory whose clock stands at [`NOW`].
struct World {
    ionveil: IonVeil,
    aggregator: blocking::DispatchAggregator,
}

impl World {
    fn new() -> Self {
        let limits = Limits { threads: 1, ..Limits::default() };
        let config = Config::in_memory().with_clock(Arc::new(ManualClock::new(at(NOW)))).with_limits(limits);
        let ionveil = IonVeil::open(config).expect("memory");
        let aggregator = blocking::DispatchAggregator::new(&ionveil);
        aggregator.set_retention(&org(), 0).expect("in range");
        World { ionveil, aggregator }
    }

    #[track_caller]
    fn holding(events: &[DispatchEvent]) -> Self {
        let world = World::new();
        let report = world.aggregator.ingest_batch(events.to_vec()).expect("taken");
        assert_eq!((report.accepted, report.rejected), (events.len(), vec![]));
        world
    }

    #[track_caller]
    fn ask(&self, question: &GetMetric) -> Vec<AggregatedMetric> {
        self.aggregator.get_metric(&org(), question.clone()).unwrap_or_else(|error| panic!("{error}: {question:?}"))
    }

    #[track_caller]
    fn refuses(&self, question: GetMetric, field: &str) {
        let error = self.aggregator.get_metric(&org(), question).expect_err("out of range");
        assert_eq!((error.kind(), error.invalid().map(|invalid| invalid.field)), (Kind::Invalid, Some(field.into())));
    }
}

/// What the answer to a question has to be, read off the raw events.
struct Oracle<'a>(&'a [DispatchEvent]);

impl Oracle<'_> {
    fn instant(&self, instant: Instant, now: Timestamp) -> Timestamp {
        match instant {
            Instant::At(at) => at,
            Instant::FromNow(micros) => now.saturating_add_micros(micros),
            Instant::Latest => {
                self.0.iter().map(|event| event.timestamp).max().map_or(now, |at| at.saturating_add_micros(1))
            }
        }
    }

    /// `None` when the question is to be refused.
    fn answer(&self, question: &GetMetric) -> Option<Vec<Value>> {
        let as_of = question.as_of.map(|as_of| self.instant(as_of, at(NOW)));
        let now = as_of.unwrap_or(at(NOW));
        let mut end = question.end.map_or(now, |end| self.instant(end, now)).as_micros();
        if let Some(as_of) = as_of {
            end = end.min(as_of.as_micros());
        }
        let start = question.start.map_or(end - MICROS_PER_HOUR, |start| self.instant(start, now).as_micros());
        if start >= end {
            return None;
        }
        let mut windows = vec![(start, end)];
        if let Some(width) = question.window.width_micros() {
            windows.clear();
            let mut from = start - start.rem_euclid(width);
            while from < end {
                windows.push((from, from + width));
                from += width;
            }
        }
        let dimensions = question.dimensions.to_map();
        let counted: Vec<Vec<&DispatchEvent>> =
            windows.iter().map(|&(from, to)| self.closed(from, to, &dimensions)).collect();
        let held =
            |side: Option<usize>, bound: Option<Instant>, full: usize| if bound.is_some() { Some(full) } else { side };
        let first = held(counted.iter().position(|events| !events.is_empty()), question.start, 0);
        let last = held(counted.iter().rposition(|events| !events.is_empty()), question.end, windows.len() - 1);
        let (Some(first), Some(last)) = (first, last) else { return Some(Vec::new()) };
        let mut answer = Vec::new();
        for index in first..=last {
            let events = &counted[index];
            let value = value(question.metric, question.aggregation, events);
            if value.is_none() && !question.include_empty {
                continue;
            }
            answer.push(json!({
                "metric_name": question.metric.as_str(), "value": value,
                "window_start": micros(windows[index].0), "window_end": micros(windows[index].1),
                "dimensions": dimensions, "sample_count": events.len(),
                "aggregation": question.aggregation.as_str(), "exact": true,
            }));
        }
        Some(answer)
    }

    fn closed(&self, from: i64, to: i64, dimensions: &BTreeMap<&str, String>) -> Vec<&DispatchEvent> {
        let fits = |event: &&DispatchEvent| {
            let of = |name: &str| match name {
                "region" => event.region.clone(),
                "unit_type" => event.unit_type.clone(),
                _ => event.severity.to_string(),
            };
            event.status == Status::Closed
                && (from..to).contains(&event.timestamp.as_micros())
                && dimensions.iter().all(|(name, wanted)| of(name) == *wanted)
        };
        self.0.iter().filter(fits).collect()
    }

    /// How many dispatches' latest report before `as_of` has that status.
    fn latest_with(&self, status: Status, as_of: Timestamp) -> usize {
        let mut latest: BTreeMap<&str, (Timestamp, Status)> = BTreeMap::new();
        for event in self.0.iter().filter(|event| event.timestamp < as_of) {
            let report = (event.timestamp, event.status);
            let entry = latest.entry(&event.dispatch_id).or_insert(report);
            *entry = report.max(*entry);
        }
        latest.values().filter(|(_, latest)| *latest == status).count()
    }
}

fn micros(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).expect("in range")
}

fn value(metric: Metric, aggregation: AggregationType, events: &[&DispatchEvent]) -> Option<f64> {
    let count = events.len() as f64;
    if metric == Metric::DispatchCount {
        return Some(count);
    }
    let mut values: Vec<f64> = events
        .iter()
        .map(|event| match metric {
            Metric::ResponseTime => event.response_time_minutes,
            Metric::Distance => event.distance_km,
            _ => f64::from(u8::from(event.sla_met())),
        })
        .collect();
    values.sort_unstable_by(f64::total_cmp);
    let of_rank = |percent: usize| values.get((percent * values.len()).div_ceil(100).wrapping_sub(1)).copied();
    match aggregation {
        AggregationType::Sum => Some(exact_sum(&values)),
        AggregationType::Count => Some(count),
        AggregationType::Average => (count > 0.0).then(|| exact_sum(&values) / count),
        AggregationType::Min => values.first().copied(),
        AggregationType::Max => values.last().copied(),
        AggregationType::Percentile(Percent::P50) => of_rank(50),
        AggregationType::Percentile(Percent::P90) => of_rank(90),
        AggregationType::Percentile(Percent::P95) => of_rank(95),
        AggregationType::Percentile(Percent::P99) => of_rank(99),
    }
}

/// The exact sum, rounded once: every sample here is an odd number of at most 53 bits times 2^-70 or more, and there are
/// few, so that a whole number of 128 bits holds their sum.
fn exact_sum(values: &[f64]) -> f64 {
    let whole: i128 = values
        .iter()
        .map(|value| {
            let scaled = value * 2f64.powi(70);
            assert!(scaled.fract() == 0.0 && scaled < 2f64.powi(120), "{value} is out of the oracle's reach");
            scaled as i128
        })
        .sum();
    // Converting rounds to the nearest, ties to even; scaling back by a power of two does not round.
    whole as f64 / 2f64.powi(70)
}

fn closed(id: &str, when: &str, changes: Value) -> DispatchEvent {
    dispatch(id, when, changes)
}

/// Events around every kind of edge: before 1970, at and just before the start of windows, equal instants.
fn edgy() -> Vec<DispatchEvent> {
    let times = [
        "1969-12-31T22:59:59.999999Z",
        "1969-12-31T23:00:00Z",
        "1969-12-31T23:59:59.999999Z",
        "1970-01-01T00:00:00Z",
        "1970-01-01T00:00:00.000001Z",
        "1970-01-01T00:04:59.999999Z",
        "1970-01-01T00:05:00Z",
        "1970-01-01T00:59:59.999999Z",
        "1970-01-01T01:00:00Z",
        "1970-01-01T01:00:00Z",
        "1970-01-01T06:00:00Z",
        "1970-01-02T00:00:00Z",
    ];
    let event = |(number, when): (usize, &&str)| {
        let changes = json!({
            "severity": 1 + number % 5, "region": (["B01", "B02", "north/east"][number % 3]),
            "unit_type": (["TRUCK", "MEDIC"][number % 2]), "response_time_minutes": 0.1 * number as f64,
            "distance_km": (number * number) as f64 / 3.0, "dispatch_id": format!("d-{}", number / 2),
            "status": (["closed", "closed", "closed", "active", "pending"][number % 5]),
            "sla_met": ([None, Some(true), Some(false)][number % 3]),
        });
        closed(&format!("e-{number}"), when, changes)
    };
    times.iter().enumerate().map(event).collect()
}

fn dimension_sets() -> Vec<Dimensions> {
    let any = Dimensions::any;
    let with = |dimensions: Dimensions, name: &str, value: &str| dimensions.with(name, value).expect("in range");
    vec![
        any(),
        with(any(), "region", "B01"),
        with(any(), "region", "north/east"),
        with(any(), "severity", "3"),
        with(any(), "unit_type", "MEDIC"),
        with(with(any(), "region", "B02"), "unit_type", "MEDIC"),
        with(with(with(any(), "region", "B01"), "severity", "2"), "unit_type", "TRUCK"),
        with(any(), "region", "nowhere"),
        with(any(), "unit_type", "nothing"),
    ]
}

/// Spans as start and end; `None` is a bound that is left out.
fn spans() -> Vec<(Option<Instant>, Option<Instant>)> {
    let given = |text: &str| Some(Instant::At(at(text)));
    vec![
        (given("1969-12-31T22:00:00Z"), given("1970-01-02T00:00:00Z")),
        (given("1969-12-31T22:00:00Z"), Some(Instant::Latest)),
        (given("1969-12-31T23:00:00.000001Z"), given("1970-01-01T01:00:00Z")),
        (given("1970-01-01T00:00:00Z"), given("1970-01-01T00:00:00.000001Z")),
        (given("1969-12-31T23:59:59.999999Z"), given("1970-01-01T00:00:00Z")),
        (given("1970-01-01T00:04:59.999999Z"), given("1970-01-01T01:00:00.000001Z")),
        (None, given("1970-01-01T01:00:00Z")),
        (None, given("1970-01-01T01:30:00Z")),
        (None, given("1975-01-01T00:00:00Z")),
        (None, Some(Instant::Latest)),
        (None, None),
        (Some(Instant::FromNow(-90 * MICROS_PER_MINUTE)), None),
        (Some(Instant::FromNow(-90 * MICROS_PER_MINUTE)), Some(Instant::FromNow(-MICROS_PER_MINUTE))),
    ]
}

#[track_caller]
fn assert_as_oracle(world: &World, events: &[DispatchEvent], question: &GetMetric) {
    let expected = Oracle(events).answer(question);
    match (world.aggregator.get_metric(&org(), question.clone()), expected) {
        (Ok(answer), Some(expected)) => {
            let answer = serde_json::to_value(&answer).expect("JSON");
            assert_eq!(answer, Value::from(expected), "{question:?}");
        }
        (Err(error), None) => assert_eq!(error.kind(), Kind::Invalid, "{question:?}"),
        (answer, expected) => panic!("{answer:?}\ninstead of {expected:?}\n{question:?}"),
    }
}

#[test]
fn every_window_aggregation_dimension_and_bound_is_as_the_events_say() {
    let events = edgy();
    let world = World::holding(&events);
    let mut asked = 0;
    for (start, end) in spans() {
        for dimensions in dimension_sets() {
            for window in TimeWindow::ALL {
                for (metric, aggregation) in
                    Metric::ALL.iter().flat_map(|metric| AggregationType::ALL.map(|aggregation| (*metric, aggregation)))
                {
                    // Every seventh of the 29,484 combinations: seven divides none of the other lists, so that each
                    // member of one meets each member of every other.
                    if asked % 7 == 0 {
                        let include_empty = asked % 2 == 0;
                        let dimensions = dimensions.clone();
                        let question = GetMetric {
                            dimensions,
                            start,
                            end,
                            include_empty,
                            ..GetMetric::new(metric, window, aggregation)
                        };
                        assert_as_oracle(&world, &events, &question);
                    }
                    asked += 1;
                }
            }
        }
    }
}

#[test]
fn windows_are_half_open_and_count_down_before_1970() {
    let world = World::holding(&edgy());
    let mut question = GetMetric::new(Metric::DispatchCount, TimeWindow::Hour1, AggregationType::Count);
    question.start = Some(Instant::At(at("1969-12-31T22:30:00Z")));
    question.end = Some(Instant::At(at("1970-01-01T01:00:00Z")));
    let told: Vec<_> =
        world.ask(&question).iter().map(|m| (m.window_start.to_string(), m.value.expect("a count"))).collect();
    let expected = [("1969-12-31T22:00:00Z", 1.0), ("1969-12-31T23:00:00Z", 2.0), ("1970-01-01T00:00:00Z", 3.0)];
    assert_eq!(told, expected.map(|(start, count)| (start.to_owned(), count)));
}

#[test]
fn a_given_bound_is_listed_in_full_and_a_default_one_is_trimmed() {
    let events = [closed("a", "2026-01-31T12:10:30Z", json!({})), closed("b", "2026-01-31T12:12:30Z", json!({}))];
    let world = World::holding(&events);
    let (start, end) = (Some(Instant::At(at("2026-01-31T12:08:00Z"))), Some(Instant::At(at("2026-01-31T12:15:00Z"))));
    for (start, end, include_empty, aggregation, minutes) in [
        (start, end, false, AggregationType::Sum, "08 09 10 11 12 13 14"),
        (start, None, false, AggregationType::Sum, "08 09 10 11 12"),
        (None, end, false, AggregationType::Sum, "10 11 12 13 14"),
        (None, None, false, AggregationType::Sum, "10 11 12"),
        (None, None, false, AggregationType::Count, "10 11 12"),
        (start, end, false, AggregationType::Max, "10 12"),
        (start, end, true, AggregationType::Max, "08 09 10 11 12 13 14"),
        (start, None, true, AggregationType::Max, "08 09 10 11 12"),
        (None, end, true, AggregationType::Average, "10 11 12 13 14"),
        (None, None, true, AggregationType::Percentile(Percent::P99), "10 11 12"),
    ] {
        let question = GetMetric {
            start,
            end,
            include_empty,
            ..GetMetric::new(Metric::ResponseTime, TimeWindow::Minute1, aggregation)
        };
        let answer = world.ask(&question);
        let told: Vec<_> = answer.iter().map(|m| m.window_start.to_string()[14..16].to_owned()).collect();
        assert_eq!(told.join(" "), minutes, "{question:?}");
        let empty =
            if aggregation == AggregationType::Sum || aggregation == AggregationType::Count { Some(0.0) } else { None };
        assert!(answer.iter().filter(|m| m.sample_count == 0).all(|m| m.value == empty), "{answer:?}");
    }
}

#[test]
fn the_window_all_is_exactly_the_span() {
    let events = [
        closed("a", "2026-01-31T12:00:10Z", json!({ "response_time_minutes": 1.0 })),
        closed("b", "2026-01-31T12:00:20Z", json!({ "response_time_minutes": 2.0 })),
        closed("c", "2026-01-31T12:00:20.000001Z", json!({ "response_time_minutes": 4.0 })),
        closed("d", "2026-01-31T12:01:00Z", json!({ "response_time_minutes": 8.0 })),
    ];
    let world = World::holding(&events);
    for (start, end, sum) in [
        ("2026-01-31T12:00:10Z", "2026-01-31T12:00:20Z", 1.0),
        ("2026-01-31T12:00:10.000001Z", "2026-01-31T12:00:20.000001Z", 2.0),
        ("2026-01-31T12:00:20Z", "2026-01-31T12:01:00Z", 6.0),
        ("2026-01-31T12:00:20Z", "2026-01-31T12:01:00.000001Z", 14.0),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:02:00Z", 15.0),
        ("2026-01-31T12:01:00.000001Z", "2026-01-31T12:02:00Z", 0.0),
    ] {
        let mut question = GetMetric::new(Metric::ResponseTime, TimeWindow::All, AggregationType::Sum);
        (question.start, question.end) = (Some(Instant::At(at(start))), Some(Instant::At(at(end))));
        let answer = world.ask(&question);
        assert_eq!(answer.len(), 1);
        let AggregatedMetric { value, window_start, window_end, .. } = answer[0];
        assert_eq!((value, window_start, window_end), (Some(sum), at(start), at(end)));
    }
}

#[test]
fn questions_out_of_range_are_invalid() {
    let world = World::holding(&edgy());
    let question = |window, start, end| {
        let mut question = GetMetric::new(Metric::Distance, window, AggregationType::Sum);
        (question.start, question.end) = (Some(Instant::At(start)), Some(Instant::At(end)));
        question
    };
    let noon = at("2026-01-31T12:00:00Z");
    for window in TimeWindow::ALL {
        world.refuses(question(window, noon, noon), "start");
        world.refuses(question(window, noon.saturating_add_micros(1), noon), "start");
    }
    let most = noon.saturating_add_micros(100_000 * MICROS_PER_MINUTE);
    assert_eq!(world.ask(&question(TimeWindow::Minute1, noon, most)).len(), 100_000);
    world.refuses(question(TimeWindow::Minute1, noon, most.saturating_add_micros(1)), "window");
    world.refuses(question(TimeWindow::Day1, Timestamp::MIN, Timestamp::MAX), "window");
    assert_eq!(world.ask(&question(TimeWindow::All, Timestamp::MIN, Timestamp::MAX))[0].sample_count, 8);

    assert_eq!("speed".parse::<Metric>().expect_err("unknown").field, "metric");
    assert_eq!("p42".parse::<AggregationType>().expect_err("unknown").field, "aggregation");
    assert_eq!("2h".parse::<TimeWindow>().expect_err("unknown").field, "window");
    for (name, value, field) in [
        ("colour", "red", "dimension"),
        ("severity", "0", "severity"),
        ("severity", "6", "severity"),
        ("severity", "high", "severity"),
        ("region", "", "region"),
        ("unit_type", "a\u{7}", "unit_type"),
    ] {
        assert_eq!(Dimensions::any().with(name, value).expect_err(value).field, field);
    }
}

#[test]
fn as_of_takes_the_place_of_now_on_all_that_is_known() {
    let events = edgy();
    let world = World::holding(&events);
    for as_of in ["1970-01-01T00:00:00Z", "1970-01-01T00:05:00.000001Z", "1970-01-01T01:00:00Z", "1975-01-01T00:00:00Z"]
    {
        for (start, end) in spans() {
            let mut question = GetMetric::new(Metric::ResponseTime, TimeWindow::Minute5, AggregationType::Count);
            (question.start, question.end, question.as_of) = (start, end, Some(Instant::At(at(as_of))));
            // Whole windows are counted, also the one that as_of cuts.
            assert_as_oracle(&world, &events, &question);
        }
    }
}

#[test]
fn sums_are_rounded_once_so_that_no_order_changes_them() {
    // 2^53 and two ones: added one by one, each one is lost.
    let minutes = [9_007_199_254_740_992.0, 1.0, 1.0, 0.1, 1e-9];
    let events: Vec<_> = minutes
        .iter()
        .enumerate()
        .map(|(n, minutes)| closed(&n.to_string(), "2026-01-31T12:00:00Z", json!({ "response_time_minutes": minutes })))
        .collect();
    let question = GetMetric::new(Metric::ResponseTime, TimeWindow::Hour1, AggregationType::Sum);
    let forwards = World::holding(&events).ask(&question);
    assert_eq!(forwards[0].value, Some(9_007_199_254_740_994.0));
    let backwards: Vec<_> = events.into_iter().rev().collect();
    assert_eq!(World::holding(&backwards).ask(&question), forwards);
}

/// Zero can be written with a sign. It has to be the same zero, or the order of events shows in the smallest value.
#[test]
fn a_negative_zero_is_a_zero() {
    let zeros = |first: f64, second: f64| {
        let mut events =
            vec![closed("a", "2026-01-31T12:00:00Z", json!({})), closed("b", "2026-01-31T12:00:00Z", json!({}))];
        (events[0].response_time_minutes, events[1].response_time_minutes) = (first, second);
        let world = World::holding(&events);
        let told = AggregationType::ALL
            .map(|aggregation| world.ask(&GetMetric::new(Metric::ResponseTime, TimeWindow::Hour1, aggregation)));
        serde_json::to_string(&told).expect("JSON")
    };
    let (forwards, backwards) = (zeros(0.0, -0.0), zeros(-0.0, 0.0));
    assert_eq!(forwards, backwards);
    assert_eq!(forwards, zeros(0.0, 0.0));
}

#[test]
fn the_snapshot_covers_the_sixty_whole_minutes_before_its_instant() {
    let minutes_ago = |id: &str, when: &str, minutes: f64, region: &str| {
        closed(id, when, json!({ "response_time_minutes": minutes, "region": region }))
    };
    let events = [
        minutes_ago("before", "2026-01-31T10:59:59.999999Z", 99.0, "B09"),
        minutes_ago("first", "2026-01-31T11:00:00Z", 10.0, "B01"),
        minutes_ago("middle", "2026-01-31T11:30:00Z", 40.0, "B02"),
        minutes_ago("last", "2026-01-31T11:59:59.999999Z", 4.0, "B02"),
        minutes_ago("after", "2026-01-31T12:00:00Z", 77.0, "B03"),
    ];
    let world = World::holding(&events);
    let snapshot =
        |as_of: &str| world.aggregator.get_dashboard_snapshot(&org(), Some(Instant::At(at(as_of)))).expect("an answer");
    let noon = snapshot("2026-01-31T12:00:00Z");
    assert_eq!((noon.org_id, noon.timestamp), (org(), at("2026-01-31T12:00:00Z")));
    let told: Vec<_> = noon
        .metrics
        .iter()
        .map(|m| {
            let region = m.dimensions.get("region").map(String::as_str).unwrap_or_default();
            assert_eq!((m.window_start, m.window_end), (at("2026-01-31T11:00:00Z"), at("2026-01-31T12:00:00Z")));
            format!("{} {} {region} {}", m.metric_name, m.aggregation, m.value.expect("a value"))
        })
        .collect();
    assert_eq!(
        told,
        [
            "response_time avg  18",
            "response_time p50  10",
            "response_time p90  40",
            "response_time p95  40",
            "response_time p99  40",
            "response_time max  40",
            "distance avg  1.25",
            "dispatch_count count  3",
            "sla_compliance avg  0.6666666666666666",
            "response_time p90 B01 10",
            "response_time p90 B02 40",
            "dispatch_count count B01 1",
            "dispatch_count count B02 2",
        ]
    );
    assert_eq!((noon.average_response_time, noon.sla_compliance_rate), (Some(18.0), 2.0 / 3.0));
    assert_eq!((noon.active_dispatches, noon.pending_dispatches, noon.alerts.len()), (0, 0, 0));

    // The minute that holds the last instant before is whole; one microsecond later it is the next minute.
    assert_eq!(snapshot("2026-01-31T11:59:00.000001Z").average_response_time, Some(18.0));
    assert_eq!(snapshot("2026-01-31T11:59:00Z").average_response_time, Some((99.0 + 10.0 + 40.0) / 3.0));
    assert_eq!(snapshot("2026-01-31T12:00:00.000001Z").average_response_time, Some((40.0 + 4.0 + 77.0) / 3.0));

    let nothing = snapshot("2020-01-01T00:00:00Z");
    assert_eq!((nothing.average_response_time, nothing.sla_compliance_rate), (None, 1.0));
    let now = world.aggregator.get_dashboard_snapshot(&org(), None).expect("an answer");
    assert_eq!(now.timestamp, at(NOW));
}

#[test]
fn the_latest_status_of_a_dispatch_counts_and_ties_go_to_the_later_stage() {
    let report = |id: &str, dispatch_id: &str, when: &str, status: &str| {
        closed(id, when, json!({ "dispatch_id": dispatch_id, "status": status }))
    };
    let events = vec![
        report("1", "waits", "2026-01-31T11:00:00Z", "pending"),
        report("2", "runs", "2026-01-31T11:00:00Z", "pending"),
        report("3", "runs", "2026-01-31T11:05:00Z", "active"),
        report("4", "over", "2026-01-31T11:00:00Z", "active"),
        report("5", "over", "2026-01-31T11:10:00Z", "closed"),
        report("6", "back", "2026-01-31T11:10:00Z", "closed"),
        report("7", "back", "2026-01-31T11:20:00Z", "active"),
        report("8", "tied", "2026-01-31T11:15:00Z", "active"),
        report("9", "tied", "2026-01-31T11:15:00Z", "closed"),
        report("10", "tied", "2026-01-31T11:15:00Z", "pending"),
        report("11", "half", "2026-01-31T11:15:00Z", "pending"),
        report("12", "half", "2026-01-31T11:15:00Z", "active"),
        report("13", "old", "2025-01-31T11:15:00Z", "pending"),
    ];
    let reversed: Vec<_> = events.iter().rev().cloned().collect();
    for order in [&events, &reversed] {
        let world = World::holding(order);
        for (as_of, active, pending) in [
            (NOW, 3, 2),
            ("2026-01-31T11:00:00Z", 0, 1),
            ("2026-01-31T11:00:00.000001Z", 1, 3),
            ("2026-01-31T11:15:00Z", 1, 2),
            ("2026-01-31T11:15:00.000001Z", 2, 2),
        ] {
            let snapshot =
                world.aggregator.get_dashboard_snapshot(&org(), Some(Instant::At(at(as_of)))).expect("an answer");
            assert_eq!((snapshot.active_dispatches, snapshot.pending_dispatches), (active, pending), "as of {as_of}");
            let oracle = Oracle(order);
            let counts = [Status::Active, Status::Pending].map(|status| oracle.latest_with(status, at(as_of)));
            assert_eq!(counts, [active, pending], "the oracle, as of {as_of}");
        }
    }
    // Pending and active ones are in no metric.
    let mut question = GetMetric::new(Metric::DispatchCount, TimeWindow::Hour1, AggregationType::Count);
    question.end = Some(Instant::At(at("2026-01-31T12:00:00Z")));
    assert_eq!(World::holding(&events).ask(&question)[0].value, Some(3.0));
}

#[test]
fn what_was_known_at_a_position_is_what_was_answered_then() {
    let world = World::new();
    let audit = world.ionveil.audit();
    let question = GetMetric {
        end: Some(Instant::Latest),
        include_empty: true,
        ..GetMetric::new(Metric::ResponseTime, TimeWindow::Minute15, AggregationType::Average)
    };
    let mut then = Vec::new();
    for (number, event) in edgy().into_iter().enumerate() {
        world.aggregator.ingest_event(event).expect("accepted");
        if number == 5 {
            world.aggregator.set_retention(&org(), 1).expect("in range");
        }
        let snapshot = world.aggregator.get_dashboard_snapshot(&org(), Some(Instant::Latest)).expect("an answer");
        then.push((audit.stat().head.head_position, world.ask(&question), snapshot));
    }
    for (position, answer, snapshot) in then {
        let position = Position::new(position);
        assert_eq!(world.aggregator.get_metric_at(&org(), position, question.clone()).expect("an answer"), answer);
        let again =
            world.aggregator.get_dashboard_snapshot_at(&org(), position, Some(Instant::Latest)).expect("an answer");
        assert_eq!(again, snapshot, "at position {position}");
    }
}

#[test]
fn retention_forgets_whole_minutes_behind_the_latest_event() {
    let world = World::new();
    world.aggregator.set_retention(&org(), 1).expect("in range");
    let count = || {
        let mut question = GetMetric::new(Metric::DispatchCount, TimeWindow::All, AggregationType::Count);
        (question.start, question.end) = (Some(Instant::At(Timestamp::EPOCH)), Some(Instant::Latest));
        world.ask(&question)[0].sample_count
    };
    let send = |id: &str, when: &str| world.aggregator.ingest_event(closed(id, when, json!({})));
    send("a", "2026-01-31T10:30:00Z").expect("accepted");
    send("b", "2026-01-31T10:30:59.999999Z").expect("accepted");
    send("c", "2026-01-31T11:30:59Z").expect("accepted");
    assert_eq!(count(), 3, "10:30 still holds the watermark minus an hour");
    send("d", "2026-01-31T11:31:00Z").expect("accepted");
    assert_eq!(count(), 2);
    let error = send("a", "2026-01-31T10:30:59.999999Z").expect_err("too late");
    let allowed = error.invalid().expect("invalid").allowed;
    assert!(allowed.contains("2026-01-31T10:31:00Z"), "{allowed}");
    send("e", "2026-01-31T10:31:00Z").expect("accepted");
    let error: Error = send("f", "2026-01-31T12:39:56.789001Z").expect_err("in the future");
    assert_eq!(error.invalid().expect("invalid").field, "timestamp");
    assert_eq!(count(), 3, "what was rejected moved something");
    send("f", "2026-01-31T12:39:56.789Z").expect("the clock plus five minutes is accepted");
    assert_eq!(count(), 1);
}

/// A random event set: times from a few hours around 1970, so that windows are shared, and samples of every size.
fn events_strategy() -> impl Strategy<Value = Vec<DispatchEvent>> {
    let time = prop_oneof![
        (-3 * MICROS_PER_HOUR..3 * MICROS_PER_HOUR),
        (-180i64..180).prop_map(|minute| minute * MICROS_PER_MINUTE),
        (-180i64..180).prop_map(|minute| minute * MICROS_PER_MINUTE - 1),
    ];
    let minutes = prop_oneof![(0u32..100).prop_map(f64::from), 0.000_01..1e6, Just(0.1), Just(1e12)];
    let status = prop_oneof![4 => Just("closed"), 1 => Just("active"), 1 => Just("pending")];
    let event = (
        time,
        1..=5i64,
        minutes,
        0..50u32,
        0..3usize,
        0..2usize,
        status,
        0..12u32,
        proptest::option::of(any::<bool>()),
    );
    proptest::collection::vec(event, 0..40).prop_map(|events| {
        let build = |(number, event): (usize, _)| {
            let (time, severity, minutes, kilometres, region, unit, status, dispatch_id, met) = event;
            let changes = json!({
                "severity": severity, "distance_km": f64::from(kilometres) / 4.0, "region": (["B01", "B02", "north/east"][region]),
                "unit_type": (["TRUCK", "MEDIC"][unit]), "status": status, "dispatch_id": format!("d-{dispatch_id}"),
                "sla_met": met,
            });
            let mut event = closed(&format!("e-{number}"), &micros(time).to_string(), changes);
            event.response_time_minutes = minutes;
            event
        };
        events.into_iter().enumerate().map(build).collect()
    })
}

fn question_strategy() -> impl Strategy<Value = GetMetric> {
    let instant = || {
        let near = prop_oneof![
            (-4 * MICROS_PER_HOUR..4 * MICROS_PER_HOUR),
            (-16i64..16).prop_map(|quarter| quarter * 15 * MICROS_PER_MINUTE),
        ];
        prop_oneof![4 => near.prop_map(|at| Instant::At(micros(at))), 1 => Just(Instant::Latest)]
    };
    let metrics = (proptest::sample::select(&Metric::ALL[..]), proptest::sample::select(&AggregationType::ALL[..]));
    let window = proptest::sample::select(&TimeWindow::ALL[..]);
    let bounds =
        (proptest::option::of(instant()), proptest::option::of(instant()), proptest::option::weighted(0.2, instant()));
    (metrics, window, proptest::sample::select(dimension_sets()), bounds, any::<bool>()).prop_map(
        |((metric, aggregation), window, dimensions, (start, end, as_of), include_empty)| GetMetric {
            metric,
            window,
            aggregation,
            dimensions,
            start,
            end,
            as_of,
            include_empty,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64, rng_seed: RngSeed::Fixed(20_260_131), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn any_events_in_any_order_answer_any_question_as_the_oracle_does(
        events in events_strategy(),
        order in any::<u64>(),
        split in 1..8usize,
        questions in proptest::collection::vec(question_strategy(), 12),
    ) {
        // A start given and no end asks up to now, 56 years on: too many windows for the narrow ones.
        let asked = |question: &GetMetric| {
            let mut question = question.clone();
            if question.end.is_none() && question.as_of.is_none() {
                question.end = Some(Instant::Latest);
            }
            question
        };
        let world = World::holding(&events);
        let shuffled = World::new();
        let mut other = events.clone();
        support::shuffle(&mut other, order);
        for batch in other.chunks(split) {
            // Once more each time: duplicates change nothing.
            shuffled.aggregator.ingest_batch([batch, batch].concat()).expect("taken");
        }
        for question in questions.iter().map(asked) {
            // Without events the latest is now, and these questions start at 1970.
            if events.is_empty() && [question.start, question.end, question.as_of].contains(&Some(Instant::Latest)) {
                continue;
            }
            assert_as_oracle(&world, &events, &question);
            let answers = [&world, &shuffled].map(|world| {
                let answer = world.aggregator.get_metric(&org(), question.clone());
                answer.map(|answer| serde_json::to_string(&answer).expect("JSON")).map_err(|error| error.to_string())
            });
            prop_assert_eq!(&answers[0], &answers[1], "another order of the same events: {:?}", question);
        }
        let as_of = events.get(events.len() / 2).map_or(Timestamp::EPOCH, |event| event.timestamp);
        let snapshots = [&world, &shuffled].map(|world| {
            world.aggregator.get_dashboard_snapshot(&org(), Some(Instant::At(as_of))).expect("an answer")
        });
        prop_assert_eq!(serde_json::to_string(&snapshots[0]).expect("JSON"), serde_json::to_string(&snapshots[1]).expect("JSON"));
        let oracle = Oracle(&events);
        prop_assert_eq!(snapshots[0].active_dispatches, oracle.latest_with(Status::Active, as_of));
        prop_assert_eq!(snapshots[0].pending_dispatches, oracle.latest_with(Status::Pending, as_of));
        let regions: BTreeSet<_> = snapshots[0].metrics.iter().filter_map(|m| m.dimensions.get("region")).collect();
        prop_assert!(regions.iter().all(|region| events.iter().any(|event| event.region == **region)));
    }
}
