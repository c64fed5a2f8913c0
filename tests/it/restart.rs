//! Processes that are killed, and processes that are closed: what was acknowledged is there, and answers are the same.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};

use ionveil::dispatch::{AggregationType, DispatchEvent, GetMetric, Instant, Metric, Percent};
use ionveil::domain::{OrgId, TimeWindow, Timestamp};
use ionveil::{AuditFilter, Config, IonVeil, blocking};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support;
use crate::support::{Home, child, dispatch, dispatches_ndjson};

const KILLS: usize = 10;

fn org() -> OrgId {
    "sffd".parse().expect("an id")
}

/// Kills a child of ours, as `kill -9` does, and waits until it is gone.
fn kill(child: &mut Child) {
    child.kill().expect("it can be killed");
    child.wait().expect("it can be waited for");
}

#[test]
fn an_ingest_that_is_killed_midway_leaves_a_sound_journal() {
    let home = Home::new();
    const ROWS: usize = 4_000;
    let lines = dispatches_ndjson("e", ROWS);
    let lines: Vec<&str> = lines.split_inclusive('\n').collect();
    let mut events_before = 0;
    for round in 0..KILLS {
        let mut command = home.command(&["ingest", "--org", "sffd", "--retention-hours", "0", "-"]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = command.spawn().expect("the program starts");
        let mut stdin = running.stdin.take().expect("a piped stdin");
        // More of the rows in each round, and never all: it waits for the rest when it is killed. A pipe holds 64 KiB, so
        // when the last of these has been written, nearly all have been read.
        for line in &lines[..(round + 1) * ROWS / (KILLS + 1)] {
            stdin.write_all(line.as_bytes()).expect("it reads");
        }
        kill(&mut running);
        if !home.data().join("journal/journal.toml").exists() {
            assert!(round == 0, "the journal is gone");
            continue; // killed before there was one
        }
        let verified = home.run(&["journal", "verify"]).document();
        assert_eq!(verified["ok"], true, "{verified}");
        let events = home.stat()["events"].as_u64().expect("a count");
        assert!(events >= events_before, "{events} after {events_before}");
        events_before = events;
    }
    assert!(events_before > 0, "no round got anything to disk");
    // The first event is the retention, if it got there; it changes nothing the next time.
    let summary = home.ingest(&lines.concat());
    let duplicates = summary["duplicates"].as_u64().expect("a count");
    assert_eq!(summary["accepted"].as_u64().expect("a count") + duplicates, ROWS as u64);
    assert_eq!(duplicates + 1, events_before);
    assert_eq!(home.ingest(&lines.concat())["duplicates"], ROWS);
}

const BATCH_EVENTS: usize = 20;

fn batch(number: u64) -> Vec<DispatchEvent> {
    let event = |n| dispatch(&format!("b{number}-{n}"), "2026-01-31T12:00:00Z", json!({}));
    (0..BATCH_EVENTS).map(event).collect()
}

/// Ingests batch after batch until it is killed, and notes each that was acknowledged. `--exact` runs it as a child of
/// the test below; on its own it does nothing.
#[test]
fn writer() {
    if !child::is("writer") {
        return;
    }
    let dir = std::env::var("IONVEIL_TEST_DIR").expect("the parent says where");
    let acks = Path::new(&dir).join("acks");
    let next = std::fs::read_to_string(&acks).unwrap_or_default().lines().count() as u64;
    let mut acks = OpenOptions::new().create(true).append(true).open(acks).expect("a file");
    let ionveil = IonVeil::open(Config::at(Path::new(&dir).join("data"))).expect("the journal is free");
    let aggregator = blocking::DispatchAggregator::new(&ionveil);
    for number in next.. {
        let report = aggregator.ingest_batch(batch(number)).expect("taken");
        // The batch that was under way when its forerunner was killed may have got to disk whole or in part.
        assert_eq!(report.accepted + report.duplicates.len(), BATCH_EVENTS);
        acks.write_all(format!("{number}\n").as_bytes()).expect("a file");
        // The parent counts these, so that it kills in the middle of the work.
        eprintln!("acknowledged {number}");
    }
}

#[test]
fn whatever_was_acknowledged_outlives_a_kill() {
    let dir = TempDir::new().expect("a temporary directory");
    for round in 0..KILLS {
        let mut command = child::command("writer", "restart::writer");
        command.env("IONVEIL_TEST_DIR", dir.path()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut running = command.spawn().expect("the program starts");
        let said = BufReader::new(running.stderr.take().expect("a piped stderr"));
        // Another number of batches in each round; the child goes on while it is killed.
        let heard =
            said.lines().map_while(Result::ok).filter(|line| line.contains("acknowledged")).take(3 + round * 2).count();
        assert_eq!(heard, 3 + round * 2, "the child ended by itself");
        kill(&mut running);

        let acks = std::fs::read_to_string(dir.path().join("acks")).expect("acknowledgements");
        let acknowledged = acks.lines().count();
        let ionveil = IonVeil::open(Config::at(dir.path().join("data"))).expect("the journal is sound and free");
        let verified = blocking::Audit::new(&ionveil).verify(None).expect("can be read");
        assert!(verified.ok, "round {round}: {verified:?}");
        let aggregator = blocking::DispatchAggregator::new(&ionveil);
        for number in 0..acknowledged as u64 {
            let report = aggregator.ingest_batch(batch(number)).expect("taken");
            assert_eq!(report.duplicates.len(), BATCH_EVENTS, "round {round} lost some of acknowledged batch {number}");
        }
    }
}

#[test]
fn answers_after_a_restart_are_those_from_before() {
    let dir = TempDir::new().expect("a temporary directory");
    let open = || IonVeil::open(Config::at(dir.path())).expect("the journal is free");
    let ask = |ionveil: &IonVeil| -> Value {
        let aggregator = blocking::DispatchAggregator::new(ionveil);
        let mut told = Vec::new();
        for metric in Metric::ALL {
            for window in TimeWindow::ALL {
                for aggregation in
                    [AggregationType::Average, AggregationType::Percentile(Percent::P90), AggregationType::Sum]
                {
                    let mut question = GetMetric::new(metric, window, aggregation);
                    question.end = Some(Instant::Latest);
                    told.push(json!(aggregator.get_metric(&org(), question).expect("an answer")));
                }
            }
        }
        told.push(json!(aggregator.get_dashboard_snapshot(&org(), Some(Instant::Latest)).expect("an answer")));
        told.push(json!(
            blocking::GeographicBreakdown::new(ionveil)
                .get_regional_summary(&org(), Some(Instant::At(Timestamp::EPOCH)), Some(Instant::Latest))
                .expect("an answer")
        ));
        told.push(json!(blocking::Audit::new(ionveil).page(AuditFilter::default(), 0).expect("entries")));
        let stat = blocking::Audit::new(ionveil).stat();
        told.push(json!([
            stat.events,
            stat.blocks,
            stat.streams,
            stat.head.head_position,
            stat.head.head_hash.to_string()
        ]));
        Value::from(told)
    };
    let ionveil = open();
    let aggregator = blocking::DispatchAggregator::new(&ionveil);
    for number in 0..300usize {
        let at = format!("2026-01-31T{:02}:{:02}:07.25Z", number % 24, number % 60);
        let changes = json!({
            "response_time_minutes": number as f64 / 7.0, "distance_km": number as f64 / 3.0, "severity": 1 + number % 5,
            "region": format!("B{}", number % 5), "status": (["closed", "closed", "active", "pending"][number % 4]),
            "dispatch_id": format!("d-{}", number / 3), "metadata": { "note": "é" }, "latitude": 37.5, "longitude": -122.5,
        });
        if number == 150 {
            aggregator.set_retention(&org(), 12).expect("in range");
        }
        // Some are too late for the retention; that is the same after a restart as well.
        aggregator.ingest_batch(vec![dispatch(&format!("e-{number}"), &at, changes)]).expect("taken");
    }
    let before = ask(&ionveil);
    drop((aggregator, ionveil));
    for _ in 0..2 {
        assert_eq!(ask(&open()), before);
    }
}

#[test]
fn the_same_journal_on_another_machine_gives_the_same_answers() {
    let home = Home::new();
    home.ingest(&dispatches_ndjson("e", 200));
    let elsewhere = Home::new();
    support::copy_dir(&home.data(), &elsewhere.data());
    for args in [
        &["snapshot", "--org", "sffd", "--as-of", "latest"][..],
        &["regions", "--org", "sffd", "--end", "latest"],
        &["journal", "stat"],
        &["audit"],
    ] {
        let (here, there) = (home.run(args), elsewhere.run(args));
        assert_eq!((here.code, &here.stdout), (0, &there.stdout), "{there}");
    }
}

#[test]
fn a_creation_that_was_cut_short_is_taken_up_again() {
    let home = Home::new();
    std::fs::create_dir_all(home.data().join("journal/sled")).expect("a directory");
    std::fs::write(home.data().join("journal/head"), [0; 10]).expect("a file");
    assert_eq!(home.ingest(&dispatches_ndjson("e", 3))["accepted"], 3);
    assert_eq!(home.run(&["journal", "verify"]).document()["ok"], true);
}
