//! Checks, deadlines, memory and restarts of alerting, and how fast alerts are taken in beside Prometheus Alertmanager.
//!
//! `cargo bench --bench alerts` runs every part, each in a process of its own; after `--` one may be named: `checks`,
//! `deadlines`, `memory` (which is followed by the restarts). `IONVEIL_BENCH_REPETITIONS` is how often rates are measured
//! (5), `IONVEIL_BENCH_CHECKS` of so many each (100,000), `IONVEIL_BENCH_DEADLINES` and `IONVEIL_BENCH_OPEN` are how many
//! deadlines there are in one second (100,000) and how many open incidents (1,000,000).
//!
//! The part `alertmanager` needs Debian's package, and says so where it is not there:
//!
//! ```sh
//! apt-get install prometheus-alertmanager
//! IONVEIL_BENCH_ALERTMANAGER=/usr/bin/prometheus-alertmanager cargo bench --bench alerts -- alertmanager
//! ```

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod alertmanager;
#[path = "../../journal/benches/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use alertmanager::Alertmanager;
use ionveil::alerts::GetNextDue;
use ionveil::domain::{OrgId, Timestamp};
use ionveil::rules::{AlertRule, AlertSeverity, Condition};
use ionveil::runtime::{Clock, ManualClock};
use ionveil::{Config, DispatchEvent, IncidentCheck, IonVeil};
use ionveil_journal::{Journal, LocalJournal, SnapshotCriteria, StreamId};
use pollster::block_on;
use support::{Payloads, append_rate, median, setting};

const CALLERS: usize = 64;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => ["checks", "deadlines", "memory", "alertmanager"].into_iter().for_each(|part| in_own_process(&[part])),
        ["checks"] => checks(),
        ["deadlines"] => deadlines(count("IONVEIL_BENCH_DEADLINES", 100_000)),
        ["memory"] => memory(count("IONVEIL_BENCH_OPEN", 1_000_000)),
        ["alertmanager"] => beside_alertmanager(),
        ["restart", dir] => restart(Path::new(dir)),
        _ => panic!("there are the parts checks, deadlines, memory and alertmanager, not {arguments:?}"),
    }
}

/// Memory that one part has left behind is not the next one's, and a start is one with nothing in memory.
fn in_own_process(arguments: &[&str]) {
    let itself = std::env::current_exe().expect("known");
    let status = Command::new(itself).args(arguments).status().expect("it starts");
    assert!(status.success(), "{arguments:?}: {status}");
}

fn count(name: &str, default: usize) -> usize {
    setting(name, default as f64) as usize
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on the disk of the build")
}

fn org(number: usize) -> OrgId {
    format!("org-{number}").parse().expect("an id")
}

fn noon() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().expect("an instant")
}

fn check(orgs: usize, number: usize, micros: i64) -> IncidentCheck {
    IncidentCheck {
        incident_id: format!("incident-{number}"),
        org_id: org(number % orgs),
        priority: 1,
        dispatch_time: noon().saturating_add_micros(micros),
        arrival_time: None,
        closed_time: None,
        current_time: None,
    }
}

fn dispatch(orgs: usize, number: usize) -> DispatchEvent {
    let event = DispatchEvent::from_json(&serde_json::json!({
        "event_id": format!("e-{number}"), "org_id": org(number % orgs), "dispatch_id": "d", "timestamp": noon(),
        "severity": 3, "response_time_minutes": 1.0, "distance_km": 1.0, "region": "r", "unit_type": "u",
    }));
    event.expect("an event")
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

/// Per second: 64 callers, each a task that waits for its answer before it goes on, all on one thread of the host's.
fn by_tasks<F: Future<Output = ()> + Send>(count: usize, work: impl Fn(usize) -> F + Send + Sync + 'static) -> f64 {
    let (work, next) = (Arc::new(work), Arc::new(AtomicUsize::new(0)));
    let host = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let started = Instant::now();
    host.block_on(async {
        let mut callers = tokio::task::JoinSet::new();
        for _ in 0..CALLERS {
            let (work, next) = (Arc::clone(&work), Arc::clone(&next));
            callers.spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    work(number).await;
                }
            });
        }
        while let Some(done) = callers.join_next().await {
            done.expect("no panic");
        }
    });
    count as f64 / started.elapsed().as_secs_f64()
}

/// Per second: 64 callers, each a thread that blocks until it has its answer.
fn by_threads(count: usize, work: impl Fn(usize) + Sync) -> f64 {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let work = &work;
            scope.spawn(move || (caller..count).step_by(CALLERS).for_each(work));
        }
    });
    count as f64 / started.elapsed().as_secs_f64()
}

fn check_all(
    ionveil: &IonVeil,
    orgs: usize,
    count: usize,
    micros: impl Fn(usize) -> i64 + Send + Sync + 'static,
) -> f64 {
    let monitor = ionveil.sla_monitor_service();
    by_tasks(count, move |number| {
        let checked = monitor.clone();
        let check = check(orgs, number, micros(number));
        async move {
            checked.check_incident(check).await.expect("checked");
        }
    })
}

/// Durable checks of new incidents, beside as many durable dispatches and the bare journal's appends of 200 bytes each.
fn checks() {
    let repetitions = count("IONVEIL_BENCH_REPETITIONS", 5);
    let checks = count("IONVEIL_BENCH_CHECKS", 100_000);
    println!("durable incident checks/s of {CALLERS} callers, medians of {repetitions} interleaved runs\n");
    println!(
        "{:>8} {:>12} {:>14} {:>16} {:>14} {:>8}",
        "", "journal", "tasks check", "threads check", "tasks ingest", "ratio"
    );
    for orgs in [1, 16] {
        let mut rates = vec![Vec::new(); 5];
        for _ in 0..repetitions {
            let dir = temporary();
            let journal = LocalJournal::open(&dir.path().join("bare")).expect("opens");
            let bare = append_rate(&journal, &Payloads::new(), CALLERS, 1, Duration::from_secs(1));
            journal.close();
            let clock = Arc::new(ManualClock::new(noon()));
            let ionveil = open(&dir.path().join("tasks"), &clock);
            add_rules(&ionveil);
            let tasks = check_all(&ionveil, orgs, checks, |_| 0);
            let aggregator = ionveil.dispatch_aggregator();
            let ingested = by_tasks(checks, move |number| {
                let (aggregator, event) = (aggregator.clone(), dispatch(orgs, number));
                async move {
                    aggregator.ingest_event(event).await.expect("taken");
                }
            });
            block_on(ionveil.shutdown(Duration::from_secs(60)));
            let ionveil = open(&dir.path().join("threads"), &clock);
            add_rules(&ionveil);
            let monitor = ionveil.sla_monitor_service();
            let threads = by_threads(checks, |number| {
                block_on(monitor.check_incident(check(orgs, number, 0))).expect("checked");
            });
            block_on(ionveil.shutdown(Duration::from_secs(60)));
            for (rates, rate) in rates.iter_mut().zip([bare, tasks, threads, ingested, tasks / bare]) {
                rates.push(rate);
            }
        }
        let medians: Vec<f64> = rates.into_iter().map(median).collect();
        let [bare, tasks, threads, ingested, ratio] = medians[..] else { unreachable!("five columns") };
        println!(
            "{:>8} {bare:>12.0} {tasks:>14.0} {threads:>16.0} {ingested:>14.0} {ratio:>8.2}",
            format!("{orgs} orgs")
        );
    }
}

/// So many deadlines in the same second: how long until the last alert is durable.
fn deadlines(count: usize) {
    for orgs in [1, 16] {
        let dir = temporary();
        let clock = Arc::new(ManualClock::new(noon()));
        let ionveil = open(dir.path(), &clock);
        add_rules(&ionveil);
        check_all(&ionveil, orgs, count, move |number| (number * 1_000_000 / count) as i64 - 1_000_000);
        clock.set(noon().saturating_add_micros(225_000_000));
        let started = Instant::now();
        block_on(ionveil.alerts().run_due(clock.now())).expect("done");
        let took = started.elapsed().as_secs_f64();
        let monitor = ionveil.sla_monitor_service();
        let raised: usize = (0..orgs)
            .map(|number| block_on(monitor.get_active_alerts(&org(number), None, None)).expect("a list").len())
            .sum();
        assert_eq!(raised, count);
        println!("{count} deadlines in one second, {orgs} orgs {took:>10.2} s until all alerts are durable");
        block_on(ionveil.shutdown(Duration::from_secs(60)));
    }
}

/// Memory of open incidents of one org; then how long a start takes with and without snapshots.
fn memory(count: usize) {
    let dir = temporary();
    let clock = Arc::new(ManualClock::new(noon()));
    let before = memory_mib("VmRSS:");
    let ionveil = open(dir.path(), &clock);
    add_rules(&ionveil);
    let rate = check_all(&ionveil, 1, count, |number| number as i64);
    println!(
        "{count} open incidents             {:>10.0} MiB resident, journal and all; at most {:.0} MiB; {rate:.0} checks/s",
        memory_mib("VmRSS:") - before,
        memory_mib("VmHWM:") - before,
    );
    block_on(ionveil.shutdown(Duration::from_secs(60)));
    drop(ionveil);
    let path = dir.path().to_str().expect("the build's directory is UTF-8");
    in_own_process(&["restart", path]);
    let journal = LocalJournal::open(&dir.path().join("journal")).expect("opens");
    let stream: StreamId = format!("alerts/{}", org(0)).parse().expect("an id");
    let deleted = journal.delete_snapshots(&stream, &SnapshotCriteria::ALL).expect("deleted");
    journal.close();
    println!("{deleted} snapshots deleted");
    in_own_process(&["restart", path]);
}

fn restart(dir: &Path) {
    let clock = Arc::new(ManualClock::new(noon()));
    let before = memory_mib("VmRSS:");
    let started = Instant::now();
    let ionveil = open(dir, &clock);
    let opened = started.elapsed().as_secs_f64();
    let due = block_on(ionveil.alerts().ask(org(0).as_str(), GetNextDue, Default::default())).expect("an answer");
    let took = started.elapsed().as_secs_f64();
    assert!(due.is_some());
    let resident = memory_mib("VmRSS:") - before;
    println!("restart {took:>10.2} s, of which the journal took {opened:.2} s; {resident:.0} MiB resident");
    block_on(ionveil.shutdown(Duration::from_secs(60)));
}

/// Alerts raised by checks of breached incidents and on disk when they are acknowledged, beside alerts that Alertmanager has
/// taken in, which are in its memory only. Ours come in process, theirs over HTTP on loopback, one or 64 at a time.
fn beside_alertmanager() {
    let Some(program) = std::env::var_os("IONVEIL_BENCH_ALERTMANAGER").map(PathBuf::from) else {
        println!("alertmanager: skipped, IONVEIL_BENCH_ALERTMANAGER does not say where it is");
        return;
    };
    let (repetitions, alerts) = (count("IONVEIL_BENCH_REPETITIONS", 5), count("IONVEIL_BENCH_CHECKS", 100_000));
    let dir = temporary();
    let theirs = Alertmanager::start(&program, dir.path());
    let mut rates = vec![Vec::new(); 5];
    for run in 0..repetitions {
        let dir = temporary();
        let clock = Arc::new(ManualClock::new(noon()));
        let ionveil = open(dir.path(), &clock);
        let breach = AlertRule::new("breach", "Breach", Condition::SlaBreach, AlertSeverity::Critical);
        block_on(ionveil.sla_monitor_service().add_rule(breach)).expect("stored");
        let raised = check_all(&ionveil, 1, alerts, |_| -360_000_000);
        let known = block_on(ionveil.sla_monitor_service().get_active_alerts(&org(0), None, None)).expect("a list");
        assert_eq!(known.len(), alerts);
        block_on(ionveil.shutdown(Duration::from_secs(60)));
        let single = theirs.rate(2 * run, CALLERS, 1, alerts);
        let batched = theirs.rate(2 * run + 1, 4, 64, alerts);
        for (rates, rate) in rates.iter_mut().zip([raised, single, batched, raised / single, raised / batched]) {
            rates.push(rate);
        }
    }
    let medians: Vec<f64> = rates.into_iter().map(median).collect();
    let [raised, single, batched, to_single, to_batched] = medians[..] else { unreachable!("five figures") };
    println!("alerts/s of {CALLERS} callers, medians of {repetitions} interleaved runs\n");
    println!("ionveil, in process, durable             {raised:>10.0}");
    println!("Alertmanager, HTTP, one a request        {single:>10.0}  ionveil takes {to_single:.2} times as many");
    println!("Alertmanager, HTTP, 64 a request         {batched:>10.0}  ionveil takes {to_batched:.2} times as many");
}

/// Of this process, from the kernel.
fn memory_mib(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) / 1_024.0
}
