//! Checks, deadlines, memory and restarts of alerting, each beside the journal's own rate in the same run.
//! `cargo bench --bench alerts`; the part to run may be named: `checks`, `deadlines`, `memory` or `restart`.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ionveil::alerts::GetNextDue;
use ionveil::domain::{OrgId, Timestamp};
use ionveil::rules::{AlertRule, AlertSeverity, Condition};
use ionveil::runtime::{Clock, ManualClock};
use ionveil::{Config, DispatchEvent, IncidentCheck, IonVeil};
use pollster::block_on;

const CALLERS: usize = 64;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == part);
    if is_wanted("checks") {
        checks();
    }
    if is_wanted("deadlines") {
        deadlines(100_000);
    }
    if is_wanted("memory") || is_wanted("restart") {
        memory_and_restart(1_000_000);
    }
}

fn org() -> OrgId {
    "org".parse().expect("an id")
}

fn noon() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().expect("an instant")
}

fn check(number: usize, micros: i64) -> IncidentCheck {
    IncidentCheck {
        incident_id: format!("incident-{number}"),
        org_id: org(),
        priority: 1,
        dispatch_time: noon().saturating_add_micros(micros),
        arrival_time: None,
        closed_time: None,
        current_time: None,
    }
}

fn open(dir: &Path, clock: &Arc<ManualClock>) -> IonVeil {
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    IonVeil::open(Config::at(dir).with_clock(clock).without_background()).expect("the journal is free")
}

fn add_rules(ionveil: &IonVeil) {
    let warning = Condition::SlaWarning { sla_remaining_pct: 25.0 };
    for rule in [
        AlertRule::new("warning", "Warning", warning, AlertSeverity::Warning),
        AlertRule::new("breach", "Breach", Condition::SlaBreach, AlertSeverity::Critical),
    ] {
        block_on(ionveil.sla_monitor_service().add_rule(rule)).expect("stored");
    }
}

/// Runs `work` for each number, by 64 callers that each wait for their answer; per second.
fn by_callers(count: usize, work: impl Fn(usize) + Sync) -> f64 {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let work = &work;
            scope.spawn(move || (caller..count).step_by(CALLERS).for_each(work));
        }
    });
    count as f64 / started.elapsed().as_secs_f64()
}

/// Durable checks by 64 callers, beside as many durable dispatches: one event each, through the same runtime and journal.
fn checks() {
    const COUNT: usize = 100_000;
    let (mut checked, mut ingested) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(ManualClock::new(noon()));
        let ionveil = open(dir.path(), &clock);
        add_rules(&ionveil);
        let monitor = ionveil.sla_monitor_service();
        checked.push(by_callers(COUNT, |number| {
            block_on(monitor.check_incident(check(number, 0))).expect("checked");
        }));
        let aggregator = ionveil.dispatch_aggregator();
        ingested.push(by_callers(COUNT, |number| {
            let event = DispatchEvent::from_json(&serde_json::json!({
                "event_id": format!("e-{number}"), "org_id": "org", "dispatch_id": "d", "timestamp": noon(), "severity": 3,
                "response_time_minutes": 1.0, "distance_km": 1.0, "region": "r", "unit_type": "u",
            }));
            block_on(aggregator.ingest_event(event.expect("an event"))).expect("taken");
        }));
    }
    let (checked, ingested) = (median(checked), median(ingested));
    println!("durable checks, {CALLERS} callers      {checked:>10.0} /s");
    println!(
        "durable dispatches, {CALLERS} callers  {ingested:>10.0} /s  checks are {:.2} of that",
        checked / ingested
    );
}

/// So many deadlines in the same second: how long until the last alert is durable.
fn deadlines(count: usize) {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(ManualClock::new(noon()));
    let ionveil = open(dir.path(), &clock);
    add_rules(&ionveil);
    let monitor = ionveil.sla_monitor_service();
    by_callers(count, |number| {
        let within_the_second = (number * 1_000_000 / count) as i64;
        block_on(monitor.check_incident(check(number, within_the_second - 1_000_000))).expect("checked");
    });
    clock.set(noon().saturating_add_micros(225_000_000));
    let started = Instant::now();
    block_on(ionveil.alerts().run_due(clock.now())).expect("done");
    let took = started.elapsed().as_secs_f64();
    let raised = block_on(monitor.get_active_alerts(&org(), None, None)).expect("a list").len();
    assert_eq!(raised, count);
    println!("{count} deadlines in one second    {took:>10.2} s until all alerts are durable");
}

/// Memory of open incidents, and how long a start takes with and without snapshots.
fn memory_and_restart(count: usize) {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(ManualClock::new(noon()));
    let before = resident_mib();
    let ionveil = open(dir.path(), &clock);
    add_rules(&ionveil);
    let monitor = ionveil.sla_monitor_service();
    by_callers(count, |number| {
        block_on(monitor.check_incident(check(number, 0))).expect("checked");
    });
    println!("{count} open incidents             {:>10.0} MiB resident, journal and all", resident_mib() - before);
    block_on(ionveil.shutdown(Duration::from_secs(60)));
    drop((monitor, ionveil));
    for snapshots in ["with snapshots", "without"] {
        if snapshots == "without" {
            let _ = std::fs::remove_dir_all(dir.path().join("journal/snapshots"));
        }
        let started = Instant::now();
        let ionveil = open(dir.path(), &clock);
        let due = block_on(ionveil.alerts().ask("org", GetNextDue, Default::default())).expect("an answer");
        assert!(due.is_some());
        println!("restart {snapshots:<22} {:>10.2} s", started.elapsed().as_secs_f64());
        block_on(ionveil.shutdown(Duration::from_secs(60)));
    }
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) / 1_024.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
