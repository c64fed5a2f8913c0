//! The whole file of real dispatches against figures that another program computed from it.
//!
//! The file lies beside the repository, in `../shared/data`; where it does not, these tests say so and pass.

use std::fs::File;
use std::io::BufReader;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use ionveil::dispatch::{AggregationType, Dimensions, DispatchEvent, GetMetric, Instant, Metric, Percent};
use ionveil::domain::{OrgId, Timestamp};
use ionveil::ingest::{self, Mapping, Source};
use ionveil::{AnalyzeTrend, Config, IonVeil, blocking};
use serde_json::{Value, json};

use crate::support::{Home, shuffle};

const START: &str = "2000-01-01T00:00:00Z";
const SEED: u64 = 42;

fn shared() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data")
}

fn mapping_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/sf-fire-calls.toml")
}

/// The file and its reference figures, if they are there.
fn real_data() -> Option<(PathBuf, Value)> {
    let rows = shared().join("sf-fire-calls.csv.gz");
    let Ok(figures) = File::open(shared().join("sf-fire-calls.reference.json")) else {
        eprintln!("skipped: {} is not there", rows.display());
        return None;
    };
    Some((rows, serde_json::from_reader(BufReader::new(figures)).expect("JSON")))
}

fn org() -> OrgId {
    "sffd".parse().expect("an id")
}

#[track_caller]
fn assert_close(met: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap_or_else(|| panic!("{what}: no figure"));
    assert!((met - expected).abs() <= 1e-9 * expected.abs(), "{what}: {met} instead of {expected}");
}

fn question(metric: Metric, aggregation: AggregationType, dimensions: &Dimensions) -> GetMetric {
    GetMetric {
        dimensions: dimensions.clone(),
        start: Some(Instant::At(START.parse().expect("an instant"))),
        end: Some(Instant::Latest),
        ..GetMetric::new(metric, ionveil::domain::TimeWindow::All, aggregation)
    }
}

/// What the reference has of a group: these figures, as JSON.
fn answers(aggregator: &blocking::DispatchAggregator, dimensions: &Dimensions, figures: &[&str]) -> Value {
    let ask = |metric, aggregation| {
        let answer = aggregator.get_metric(&org(), question(metric, aggregation, dimensions)).expect("an answer");
        assert_eq!((answer.len(), answer[0].exact), (1, true));
        json!(answer[0].value)
    };
    let answer = |figure: &&str| {
        let value = match *figure {
            "count" => ask(Metric::DispatchCount, AggregationType::Count),
            "mean" => ask(Metric::ResponseTime, AggregationType::Average),
            "sla_share" => ask(Metric::SlaCompliance, AggregationType::Average),
            "sla_met" => ask(Metric::SlaCompliance, AggregationType::Sum),
            other => ask(Metric::ResponseTime, other.parse().expect("an aggregation")),
        };
        ((*figure).to_owned(), value)
    };
    Value::Object(figures.iter().map(answer).collect())
}

const ALL: [&str; 10] = ["count", "mean", "p50", "p90", "p95", "p99", "min", "max", "sla_share", "sla_met"];

/// What is asked again where the whole reference would take too long: overall figures, all regions, every day.
fn some_answers(ionveil: &IonVeil) -> Value {
    let aggregator = blocking::DispatchAggregator::new(ionveil);
    let (start, end) = (Some(Instant::At(START.parse().expect("an instant"))), Some(Instant::Latest));
    let regions = blocking::GeographicBreakdown::new(ionveil).get_regional_summary(&org(), start, end);
    let days = |aggregation| {
        let question = GetMetric {
            start,
            end,
            ..GetMetric::new(Metric::ResponseTime, ionveil::domain::TimeWindow::Day1, aggregation)
        };
        let days = aggregator.get_metric(&org(), question).expect("an answer");
        assert!(days.len() > 6_000, "{} days", days.len());
        days
    };
    json!({
        "overall": answers(&aggregator, &Dimensions::any(), &ALL),
        "regions": regions.expect("an answer"),
        "snapshot": aggregator.get_dashboard_snapshot(&org(), Some(Instant::Latest)).expect("an answer"),
        "daily_mean": days(AggregationType::Average),
        "daily_p90": days(AggregationType::Percentile(Percent::P90)),
    })
}

/// Every group of the reference, with the dimensions that single it out.
fn groups(figures: &Value) -> Vec<(String, Dimensions, Value)> {
    let mut groups = vec![("overall".to_owned(), Dimensions::any(), figures["overall"].clone())];
    for (name, dimension) in [("by_region", "region"), ("by_unit_type", "unit_type"), ("by_priority", "severity")] {
        let Some(members) = figures[name].as_object() else { panic!("the reference has no {name}") };
        for (value, expected) in members {
            let value = match dimension {
                "severity" => (6 - value.parse::<u8>().expect("a priority")).to_string(),
                _ => value.clone(),
            };
            let dimensions = Dimensions::any().with(dimension, &value).expect("in range");
            groups.push((format!("{dimension}={value}"), dimensions, expected.clone()));
        }
    }
    groups
}

#[track_caller]
fn assert_as_reference(aggregator: &blocking::DispatchAggregator, figures: &Value) {
    let all = groups(figures);
    assert!(all.len() > 20, "{} groups", all.len());
    for (name, dimensions, expected) in all {
        // In a debug build a question over 18 years takes its time, so not every figure of every group is asked for
        // singly; regions have theirs from one summary as well.
        let asked = match name.split('=').next() {
            Some("overall") => &ALL[..],
            Some("region") => &["mean", "p95", "p99", "min", "max"],
            _ => &["count", "mean", "p90"],
        };
        let met = answers(aggregator, &dimensions, asked);
        for (figure, value) in met.as_object().expect("an object") {
            let value = value.as_f64().unwrap_or_else(|| panic!("{name} {figure}: no value"));
            assert_close(value, &expected[figure], &format!("{name} {figure}"));
        }
    }
}

#[test]
fn the_whole_file_matches_the_reference_twice_and_after_a_restart() {
    let Some((rows, figures)) = real_data() else { return };
    let home = Home::new();
    let mapping = mapping_path();
    let (mapping, rows) = (mapping.to_str().expect("UTF-8"), rows.to_str().expect("UTF-8"));
    let ingest =
        || home.run(&["ingest", "--org", "sffd", "--mapping", mapping, "--retention-hours", "0", rows]).document();
    let first = ingest();
    let rows_total = &figures["rows"];
    assert_eq!([&first["read"], &first["accepted"], &first["rejected"]], [rows_total, rows_total, &json!(0)]);

    let metric = |metric: &str, aggregation: &str, dimension: &str| {
        let args = ["metric", "--org", "sffd", "--metric", metric, "--window", "all", "--agg", aggregation];
        let span = ["--start", START, "--end", "latest"];
        let dimension = if dimension.is_empty() { vec![] } else { vec!["--dim", dimension] };
        let answer = home.run(&[&args[..], &span, &dimension].concat()).document();
        answer[0]["value"].as_f64().unwrap_or_else(|| panic!("{answer}"))
    };
    assert_close(metric("response_time", "avg", ""), &figures["overall"]["mean"], "mean");
    assert_close(metric("response_time", "p99", "region=B02"), &figures["by_region"]["B02"]["p99"], "B02 p99");

    let open = || IonVeil::open(Config::at(home.data())).expect("the journal is free");
    let after_first = {
        let ionveil = open();
        assert_as_reference(&blocking::DispatchAggregator::new(&ionveil), &figures);
        let told = some_answers(&ionveil);
        let regions = figures["by_region"].as_object().expect("an object");
        assert_eq!(told["regions"].as_object().expect("an object").len(), regions.len());
        for (region, expected) in regions {
            for (figure, name) in [
                ("count", "dispatch_count"),
                ("mean", "avg_response"),
                ("p50", "p50_response"),
                ("p90", "p90_response"),
                ("sla_share", "sla_compliance"),
            ] {
                let met = told["regions"][region][name].as_f64().expect("a number");
                assert_close(met, &expected[figure], &format!("{region} {name}"));
            }
        }
        (ionveil.audit().stat().head, told)
    };
    let second = ingest();
    assert_eq!([&second["accepted"], &second["duplicates"]], [&json!(0), rows_total]);
    let ionveil = open();
    assert_eq!(ionveil.audit().stat().head, after_first.0, "the second run wrote something");
    assert!(some_answers(&ionveil) == after_first.1, "the second run changed an answer");
    drop(ionveil);
    assert_eq!(home.run(&["journal", "verify"]).document()["ok"], true);
}

#[test]
fn rows_in_any_order_give_the_same_answers() {
    let Some((rows, figures)) = real_data() else { return };
    let mapping = Mapping::load(&mapping_path()).expect("the shipped mapping");
    let mut events: Vec<DispatchEvent> = Vec::new();
    let source: Source = Path::new(&rows).into();
    ingest::read(&source, &org(), Some(&mapping), &AtomicU64::new(0), &mut |row| {
        events.push(row.outcome.expect("every row is one"));
        ControlFlow::Continue(())
    })
    .expect("a whole file");
    let latest: Timestamp = events.iter().map(|event| event.timestamp).max().expect("rows");
    let told = |events: Vec<DispatchEvent>| {
        let ionveil = IonVeil::open(Config::in_memory()).expect("memory");
        let aggregator = blocking::DispatchAggregator::new(&ionveil);
        aggregator.set_retention(&org(), 0).expect("in range");
        let report = aggregator.ingest_batch(events).expect("taken");
        assert_eq!(Some(report.accepted as u64), figures["rows"].as_u64());
        assert_eq!(aggregator.get_watermark(&org()).expect("an answer"), Some(latest));
        some_answers(&ionveil)
    };
    eprintln!("seed {SEED}");
    let mut shuffled = events.clone();
    shuffle(&mut shuffled, SEED);
    assert!(told(events) == told(shuffled), "another order, other answers");
}

/// The file by another mapping: everything that is not named is as in the shipped one.
fn ingested_by(rows: &Path, timestamp: &str, region: &str) -> (IonVeil, u64) {
    let text = format!(
        r#"
        event_id = {{ column = "RowID" }}
        dispatch_id = {{ column = "CallNumber" }}
        timestamp = {timestamp}
        severity = {{ column = "Priority", values = {{ E = 5, 3 = 4, 2 = 3, C = 3, 1 = 2, B = 2, A = 1, I = 1 }} }}
        response_time_minutes = {{ column = "Delay" }}
        distance_km = {{ constant = 0.0 }}
        region = {{ column = "{region}" }}
        unit_type = {{ column = "UnitType" }}
        [sla_met]
        column = "Priority"
        allowed_minutes = {{ E = 5, 3 = 10, 2 = 20, C = 20, 1 = 45, B = 45, A = 120, I = 120 }}
        "#
    );
    let mapping = Mapping::parse("mapping", &text).expect("a mapping");
    let ionveil = IonVeil::open(Config::in_memory()).expect("memory");
    let aggregator = blocking::DispatchAggregator::new(&ionveil);
    aggregator.set_retention(&org(), 0).expect("in range");
    let (mut events, mut rejected) = (Vec::new(), 0);
    ingest::read(&Source::from(rows), &org(), Some(&mapping), &AtomicU64::new(0), &mut |row| {
        match row.outcome {
            Ok(event) => events.push(event),
            Err(_) => rejected += 1,
        }
        ControlFlow::Continue(())
    })
    .expect("a whole file");
    let count = events.len();
    assert_eq!(aggregator.ingest_batch(events).expect("taken").accepted, count);
    (ionveil, rejected)
}

#[test]
fn by_call_date_and_neighbourhood_the_slope_and_every_neighbourhood_match_the_reference() {
    let Some((rows, figures)) = real_data() else { return };
    let timestamp = r#"{ column = "CallDate", pattern = "%m/%d/%Y", time_zone = "UTC" }"#;
    let (ionveil, rejected) = ingested_by(Path::new(&rows), timestamp, "Neighborhood");
    assert_eq!(rejected, 0);

    let slope = &figures["daily_mean_response_slope"];
    let days = slope["days_with_data"].as_u64().expect("a number") as usize;
    let question = AnalyzeTrend {
        lookback_periods: days + 1,
        ..AnalyzeTrend::new(Metric::ResponseTime, ionveil::domain::TimeWindow::Day1)
    };
    let trend = blocking::TrendAnalyzer::new(&ionveil).analyze_trend(&org(), question).expect("a trend");
    assert_eq!(trend.points.len(), days);
    assert_close(trend.slope * 24.0, &slope["slope_minutes_per_day"], "slope");
    let day = |point: &ionveil::dispatch::TrendPoint| point.timestamp.to_string()[..10].to_owned();
    assert_eq!(json!(day(&trend.points[0])), slope["first_day"]);
    assert_eq!(json!(day(&trend.points[days - 1])), slope["last_day"]);
    // The line is held by its slope and by where it is an hour after the last day began.
    let first: Timestamp = trend.points[0].timestamp;
    let hours = (trend.points[days - 1].timestamp.as_micros() - first.as_micros()) as f64 / 3.6e9 + 1.0;
    let at_first = trend.forecast_next_hour.expect("a line") - trend.slope * hours;
    assert_close(at_first, &slope["intercept_minutes"], "intercept");

    let start = Some(Instant::At(START.parse().expect("an instant")));
    let geography = blocking::GeographicBreakdown::new(&ionveil);
    let regions = geography.get_regional_summary(&org(), start, Some(Instant::Latest)).expect("an answer");
    let neighbourhoods = figures["by_neighborhood"].as_object().expect("an object");
    assert_eq!(regions.keys().collect::<Vec<_>>(), neighbourhoods.keys().collect::<Vec<_>>());
    let aggregator = blocking::DispatchAggregator::new(&ionveil);
    for (name, expected) in neighbourhoods {
        let region = &regions[name];
        for (figure, value) in [
            ("count", region.dispatch_count as f64),
            ("mean", region.avg_response),
            ("p50", region.p50_response),
            ("p90", region.p90_response),
            ("sla_share", region.sla_compliance),
        ] {
            assert_close(value, &expected[figure], &format!("{name} {figure}"));
        }
        let dimensions = Dimensions::any().with("region", name).expect("a region");
        let figures = answers(&aggregator, &dimensions, &["p95", "p99", "max"]);
        for (figure, value) in figures.as_object().expect("an object") {
            assert_close(value.as_f64().expect("a value"), &expected[figure], &format!("{name} {figure}"));
        }
    }
}

#[test]
fn the_busiest_week_hour_by_hour_matches_the_reference() {
    let Some((rows, figures)) = real_data() else { return };
    let timestamp = r#"{ column = "AvailableDtTm", pattern = "%m/%d/%Y %I:%M:%S %p", time_zone = "UTC" }"#;
    let (ionveil, rejected) = ingested_by(Path::new(&rows), timestamp, "Battalion");
    assert_eq!(Some(rejected), figures["rows_without_AvailableDtTm"].as_u64());
    let week = &figures["busiest_week"];
    let monday: Timestamp =
        format!("{}T00:00:00Z", week["week_start"].as_str().expect("a day")).parse().expect("a day");
    let hour = ionveil::domain::MICROS_PER_HOUR;
    let aggregator = blocking::DispatchAggregator::new(&ionveil);
    let counts = |start: Timestamp, window| -> Vec<u64> {
        let question = GetMetric {
            start: Some(Instant::At(start)),
            end: Some(Instant::At(start.saturating_add_micros(168 * hour))),
            ..GetMetric::new(Metric::DispatchCount, window, AggregationType::Count)
        };
        aggregator.get_metric(&org(), question).expect("an answer").iter().map(|it| it.sample_count).collect()
    };
    assert_eq!(json!(counts(monday, ionveil::domain::TimeWindow::Hour1)), week["hourly_counts"]);
    assert_eq!(json!(counts(monday, ionveil::domain::TimeWindow::All)[0]), week["total"]);
    // And it is the busiest one: the days of each week from Monday on, the earliest week where several have as many.
    let question = GetMetric {
        start: Some(Instant::At("2000-01-03T00:00:00Z".parse().expect("a Monday"))),
        end: Some(Instant::Latest),
        ..GetMetric::new(Metric::DispatchCount, ionveil::domain::TimeWindow::Day1, AggregationType::Count)
    };
    let days = aggregator.get_metric(&org(), question).expect("an answer");
    let weeks = days.chunks(7).map(|days| (days.iter().map(|day| day.sample_count).sum::<u64>(), days[0].window_start));
    let busiest = weeks.max_by_key(|&(total, start)| (total, std::cmp::Reverse(start)));
    assert_eq!(busiest.map(|(_, start)| start), Some(monday));
}

/// Every row as an incident: priority by the mapping, reached after its minutes.
#[test]
fn breaches_and_compliance_of_all_incidents_match_the_reference() {
    let Some((rows, figures)) = real_data() else { return };
    let home = Home::new();
    let rule = r#"{"rule_id": "breach", "name": "Breach", "condition_type": "sla_breach", "severity": "info",
        "notification_channels": ["log"]}"#;
    home.run(&["rule", "add", &home.file("rule.json", rule)]).document();
    let (mapping, rows) = (mapping_path(), rows.to_str().expect("a path").to_owned());
    let import = ["incident", "import", "--org", "sffd", "--mapping", mapping.to_str().expect("a path"), rows.as_str()];
    let summary = home.run(&import).document();
    assert_eq!((&summary["accepted"], &summary["rejected"]), (&figures["rows"], &json!(0)), "{summary}");
    assert_eq!(home.run(&["incident", "list", "--org", "sffd"]).document(), json!([]), "all were reached");

    let violations = home.run(&["incident", "violations", "--org", "sffd"]).document();
    let violations = violations.as_array().expect("an array");
    let of = |priority: &str| {
        let priority: Value = priority.parse().expect("a number");
        violations.iter().filter(|it| it["priority"] == priority).collect::<Vec<_>>()
    };
    assert_eq!(json!(violations.len()), figures["overall"]["sla_breached"]);
    for (priority, expected) in figures["by_priority"].as_object().expect("groups") {
        let breached = of(priority);
        assert_eq!(json!(breached.len()), expected["sla_breached"], "priority {priority}");
        let count = expected["count"].as_f64().expect("a number");
        assert_close((count - breached.len() as f64) / count, &expected["sla_share"], "compliance");
        if breached.is_empty() {
            continue;
        }
        // The longest of all was a breach, to the microsecond that an instant has.
        let longest = breached.iter().filter_map(|it| it["actual_minutes"].as_f64()).fold(0.0, f64::max);
        let expected = expected["max"].as_f64().expect("a number");
        assert!((longest - expected).abs() * 60e6 <= 1.0, "priority {priority}: {longest} instead of {expected}");
    }
    let alerts = home.run(&["alert", "list", "--org", "sffd"]).document();
    let told = |alerts: &[Value]| {
        let mut ids: Vec<String> = alerts.iter().map(|it| it["incident_id"].to_string()).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(told(alerts.as_array().expect("an array")), told(violations), "an alert each");
}
