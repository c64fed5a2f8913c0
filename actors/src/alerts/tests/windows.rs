//! Threshold rules: which windows are closed when, with which value, and what is raised by them.

use super::*;
use crate::dispatch::{DispatchRecorded, Status};
use crate::domain::Severity;

fn slow(changes: Value) -> AlertRule {
    let mut config = json!({"metric": "response_time", "window": "5m", "aggregation": "avg", "op": ">", "value": 10});
    for (name, value) in changes.as_object().expect("an object") {
        config[name] = value.clone();
    }
    rule("slow", "threshold", config, json!({}))
}

/// A closed dispatch at that minute after noon that took so many minutes.
fn took(at: f64, minutes: f64) -> DispatchRecorded {
    DispatchRecorded {
        event_id: format!("e-{at}"),
        dispatch_id: "d".into(),
        timestamp: m(at),
        severity: Severity::new(4).expect("1 to 5"),
        response_time_minutes: minutes,
        distance_km: 2.0,
        region: "north".into(),
        unit_type: "engine".into(),
        sla_met: minutes < 10.0,
        status: Status::Closed,
        location: None,
        metadata: None,
    }
}

/// What is closed by dispatches, as `(closed by, from minute, to minute, value)`.
fn closed(rule: &AlertRule, dispatches: &[DispatchRecorded]) -> Vec<(u64, f64, f64, Option<f64>)> {
    let mut judge = WindowJudge::new([rule], |_| 0);
    let minutes = |at: Timestamp| (at.as_micros() - m(0.0).as_micros()) as f64 / MICROS_PER_MINUTE as f64;
    let tell = |(dispatch, sequence)| {
        judge
            .take(sequence, dispatch)
            .into_iter()
            .map(|window: ClosedWindow| {
                (window.closed_by, minutes(window.window_start), minutes(window.window_end), window.value)
            })
            .collect::<Vec<_>>()
    };
    dispatches.iter().zip(1..).flat_map(tell).collect()
}

#[test]
fn a_window_is_closed_by_the_first_dispatch_after_it_and_late_ones_change_nothing() {
    let dispatches =
        [took(1.0, 8.0), took(4.9, 16.0), took(5.0, 1.0), took(2.0, 99.0), took(6.0, 3.0), took(10.0, 1.0)];
    assert_eq!(closed(&slow(json!({})), &dispatches), [(3, 0.0, 5.0, Some(12.0)), (6, 5.0, 10.0, Some(2.0))]);
}

#[test]
fn windows_that_were_passed_over_are_empty() {
    let dispatches = [took(1.0, 8.0), took(31.0, 1.0)];
    assert_eq!(closed(&slow(json!({})), &dispatches), [(2, 0.0, 5.0, Some(8.0)), (2, 25.0, 30.0, None)]);
    let count = slow(json!({"metric": "dispatch_count", "aggregation": "count"}));
    assert_eq!(closed(&count, &dispatches), [(2, 0.0, 5.0, Some(1.0)), (2, 25.0, 30.0, Some(0.0))]);
}

#[test]
fn every_aggregation_and_metric_counts_the_closed_dispatches_that_match() {
    let mut pending = took(1.5, 500.0);
    pending.status = Status::Pending;
    let mut south = took(1.6, 100.0);
    (south.region, south.unit_type) = ("south".into(), "truck".into());
    let dispatches = [took(1.0, 4.0), took(2.0, 12.0), pending, south, took(3.0, 8.0), took(5.0, 1.0)];
    for (changes, expected) in [
        (json!({}), 31.0),
        (json!({"dimensions": {"region": "north"}}), 8.0),
        (json!({"dimensions": {"region": "north", "severity": "4", "unit_type": "engine"}}), 8.0),
        (json!({"dimensions": {"region": "north"}, "aggregation": "sum"}), 24.0),
        (json!({"dimensions": {"region": "north"}, "aggregation": "min"}), 4.0),
        (json!({"dimensions": {"region": "north"}, "aggregation": "max"}), 12.0),
        (json!({"dimensions": {"region": "north"}, "aggregation": "p50"}), 8.0),
        (json!({"dimensions": {"region": "north"}, "aggregation": "p90"}), 12.0),
        (json!({"dimensions": {"region": "north"}, "aggregation": "count"}), 3.0),
        (json!({"metric": "dispatch_count", "aggregation": "avg"}), 4.0),
        (json!({"metric": "distance", "aggregation": "sum"}), 8.0),
        (json!({"metric": "sla_compliance"}), 0.5),
    ] {
        assert_eq!(closed(&slow(changes.clone()), &dispatches)[0].3, Some(expected), "{changes}");
    }
    let nobody = slow(json!({"dimensions": {"region": "west"}}));
    assert_eq!(closed(&nobody, &dispatches), [(6, 0.0, 5.0, None)]);
}

#[test]
fn reading_again_from_the_dispatch_that_closed_the_last_window_tells_the_rest() {
    let rule = slow(json!({}));
    let dispatches: Vec<_> = (0..40).map(|n| took(f64::from(n) * 1.7, f64::from(n % 7) * 4.0)).collect();
    let all = closed(&rule, &dispatches);
    let last = all[3].0;
    let mut judge = WindowJudge::new([&rule], |_| last);
    let rest = dispatches.iter().zip(1..).skip(last as usize - 1);
    let told: Vec<_> =
        rest.flat_map(|(dispatch, n)| judge.take(n, dispatch)).map(|it| (it.closed_by, it.value)).collect();
    assert_eq!(told, all[4..].iter().map(|it| (it.0, it.3)).collect::<Vec<_>>());
}

fn window(start: f64, value: Option<f64>) -> ClosedWindow {
    ClosedWindow {
        rule_id: "slow".into(),
        rule_version: 1,
        window_start: m(start),
        window_end: m(start + 5.0),
        value,
        samples: u64::from(value.is_some()),
        closed_by: start as u64 + 1,
    }
}

fn judge(life: &mut Life, known: &Known, start: f64, value: Option<f64>) -> Vec<Alert> {
    life.tell(JudgeWindow { window: window(start, value), known: known.clone(), at: Some(m(start + 5.0)) })
}

#[test]
fn a_met_window_raises_an_alert_without_an_incident_once() {
    let known = known(1, &[slow(json!({}))]);
    let mut life = Life::new();
    assert_eq!(judge(&mut life, &known, 0.0, Some(10.0)), [], "more than 10 is asked for");
    let raised = judge(&mut life, &known, 5.0, Some(10.5));
    assert_eq!((rules_of(&raised), raised[0].incident_id.as_deref()), (vec!["slow"], None));
    for (field, expected) in [
        ("value", json!(10.5)),
        ("window_start", json!(m(5.0))),
        ("window_end", json!(m(10.0))),
        ("limit", json!(10.0)),
    ] {
        assert_eq!(raised[0].metadata[field], expected, "{field}");
    }
    assert_eq!(judge(&mut life, &known, 10.0, Some(20.0)), [], "one unresolved alert");
    life.resolve(raised[0].alert_id, 16.0).expect("open");
    assert_eq!(judge(&mut life, &known, 15.0, Some(20.0)), [], "not false in between");
    assert_eq!(judge(&mut life, &known, 20.0, None), [], "no value is false");
    assert_eq!(rules_of(&judge(&mut life, &known, 25.0, Some(20.0))), ["slow"]);
    let events = life.org().history().len();
    assert_eq!(judge(&mut life, &known, 25.0, Some(99.0)), [], "judged already");
    assert_eq!(life.org().history().len(), events);
}

#[test]
fn what_was_kept_is_raised_when_the_suppression_ends_and_the_last_window_still_meets_it() {
    for (last, expected) in [(20.0, 1), (1.0, 0)] {
        let known = known(1, &[slow(json!({}))]);
        let mut life = Life::new();
        life.tell(AddSuppression {
            suppression_id: Uuid::from_u128(1),
            org_id: org_id(),
            rule_pattern: "slow".into(),
            duration_minutes: 30,
            reason: "tests".into(),
            created_by: "ann".into(),
            at: Some(m(0.0)),
        });
        assert_eq!(judge(&mut life, &known, 0.0, Some(50.0)), []);
        assert_eq!(judge(&mut life, &known, 5.0, Some(last)), []);
        assert_eq!(life.run_until(29.999).raised, []);
        assert_eq!(life.run_until(30.0).raised.len(), expected);
    }
}
