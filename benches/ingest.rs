//! From CSV to durable and queryable, beside what no journal can beat: the same rows read by the same reader and written
//! to a plain file with one `fdatasync` per 1,000 rows. Then dispatches that are in memory already, made durable and counted in
//! batches of 1,000, beside the bare journal that is given what they are stored as; all of one org, and of twenty orgs in
//! turn. Interleaved runs, medians. `cargo bench --bench ingest`, or `-- file`, `-- batches` for one of the two.
//!
//! Reads the whole San Francisco file when it lies at `../shared/data`, else the extract in `examples`.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ionveil::dispatch::{self, DispatchEvent, Dispatches, IngestBatch, RetentionSet};
use ionveil::domain::{OrgId, Timestamp};
use ionveil::ingest::{Mapping, Source, read};
use ionveil::runtime::{Aggregate as _, Command as _, Event as _, Given};
use ionveil::{Config, IonVeil};
use ionveil_journal::{Append, Journal as _, LocalJournal, NewEvent, Origin, Outcome, Sequence};
use pollster::block_on;
use serde_json::Value;
use uuid::Uuid;

const ROUNDS: usize = 5;
const BATCH: usize = 1_000;

/// Type, version, payload.
type StoredEvent = (&'static str, u16, Vec<u8>);

fn main() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let whole = root.join("../shared/data/sf-fire-calls.csv.gz");
    let input = if whole.exists() { whole } else { root.join("examples/sf-fire-calls-extract.csv") };
    let mapping = root.join("examples/sf-fire-calls.toml");
    match std::env::args().skip(1).find(|arg| !arg.starts_with('-')).as_deref() {
        None => {
            file(&input, &mapping);
            durable_batches(&input, &mapping);
        }
        Some("file") => file(&input, &mapping),
        Some("batches") => durable_batches(&input, &mapping),
        Some(other) => panic!("there is no part {other}: file, batches"),
    }
}

fn file(input: &Path, mapping: &Path) {
    let mut ionveil = Vec::new();
    let mut plain = Vec::new();
    for _ in 0..ROUNDS {
        plain.push(plain_file(input, mapping));
        ionveil.push(ingest(input, mapping));
    }
    let (ionveil, plain) = (median(ionveil), median(plain));
    println!("{} (median of {ROUNDS} interleaved runs)", input.display());
    println!("plain file + fdatasync  {plain:>10.0} rows/s");
    println!("ionveil ingest          {ionveil:>10.0} rows/s  {:.2} of the plain file", ionveil / plain);
}

/// Dispatches in memory to durable and counted, beside their stored forms in the bare journal.
fn durable_batches(input: &Path, mapping: &Path) {
    let events = events_of(input, mapping);
    let payloads = stored(&events);
    println!("\n{} dispatches in memory, batches of {BATCH}", events.len());
    for (orgs, in_flight) in [(1, 1), (1, 16), (20, 1), (20, 16)] {
        let (mut ionveil, mut journal) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            journal.push(into_journal(&payloads, orgs, in_flight));
            ionveil.push(into_ionveil(&events, orgs, in_flight));
        }
        let (ionveil, journal) = (median(ionveil), median(journal));
        println!("{orgs} orgs, {in_flight} in flight");
        println!("  bare journal          {journal:>10.0} events/s");
        println!("  ionveil               {ionveil:>10.0} events/s  {:.2} of the bare journal", ionveil / journal);
    }
}

fn events_of(input: &Path, mapping: &Path) -> Vec<DispatchEvent> {
    let mapping = Mapping::load(mapping).expect("the shipped mapping is good");
    let org: OrgId = "sffd".parse().expect("a valid org");
    let mut events = Vec::new();
    read(&Source::from(input), &org, Some(&mapping), &AtomicU64::new(0), &mut |row| {
        events.push(row.outcome.expect("every row of this file is good"));
        ControlFlow::Continue(())
    })
    .expect("the file is readable");
    events
}

/// What the events are in the journal.
fn stored(events: &[DispatchEvent]) -> Vec<StoredEvent> {
    let mut state = Dispatches::default();
    // As the orgs of IonVeil are told: else what is a day older than its forerunners would be left out.
    state.evolve(&dispatch::Event::RetentionSet(RetentionSet { hours: 0 })).expect("a change of any state");
    let command = IngestBatch::from_iter(events.to_vec());
    let decided = command.decide(&state, &Given::at(Timestamp::MAX)).expect("never refused");
    assert_eq!(decided.events.len(), events.len(), "every event is written");
    decided.events.iter().map(|event| (event.event_type(), event.version(), event.encode())).collect()
}

fn into_journal(payloads: &[StoredEvent], orgs: usize, in_flight: usize) -> f64 {
    let data = tempfile::tempdir().expect("a directory for the journal");
    let journal = LocalJournal::open(data.path()).expect("opens");
    // Envelopes as an entity writes them, so that the bytes are the same: ids that count on from a batch's own, and its cause.
    let append = |(batch, payloads): (usize, &[StoredEvent])| {
        let command_id = Uuid::now_v7();
        let event = |(number, (event_type, version, payload)): (u128, &StoredEvent)| NewEvent {
            id: Uuid::from_u128(command_id.as_u128() + number),
            event_type: (*event_type).into(),
            version: *version,
            codec: ionveil_journal::codec::BINCODE_2,
            payload: payload.clone(),
        };
        Append {
            stream: format!("dispatch/{}", org_of(batch, orgs)).parse().expect("an address"),
            expected: Sequence::new((batch / orgs * BATCH) as u64),
            expected_id: None,
            epoch: 1,
            origin: Origin { causation_id: Some(command_id), ..Origin::default() },
            events: (1..).zip(payloads).map(event).collect(),
        }
    };
    let appends: Vec<Append> = payloads.chunks(BATCH).enumerate().map(append).collect();
    let (sender, done) = mpsc::channel();
    let started = Instant::now();
    let mut under_way = 0;
    for append in appends {
        if under_way == in_flight {
            done.recv().expect("the journal answers");
            under_way -= 1;
        }
        let sender = sender.clone();
        let on_outcome = move |outcome: Outcome| {
            assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
            sender.send(()).expect("somebody waits for all of them");
        };
        journal.submit(append, Box::new(on_outcome)).expect("taken");
        under_way += 1;
    }
    (0..under_way).for_each(|_| done.recv().expect("the journal answers"));
    payloads.len() as f64 / started.elapsed().as_secs_f64()
}

/// Batches go to the orgs in turn.
fn org_of(batch: usize, orgs: usize) -> OrgId {
    format!("org-{}", batch % orgs).parse().expect("a valid org")
}

fn into_ionveil(events: &[DispatchEvent], orgs: usize, in_flight: usize) -> f64 {
    let data = tempfile::tempdir().expect("a directory for the data");
    let ionveil = IonVeil::open(Config::at(data.path())).expect("opens");
    let aggregator = ionveil.dispatch_aggregator();
    for org in 0..orgs {
        block_on(aggregator.set_retention(&org_of(org, orgs), 0)).expect("in range");
    }
    let mut copies = events.to_vec();
    for (batch, copies) in copies.chunks_mut(BATCH).enumerate() {
        let org = org_of(batch, orgs);
        copies.iter_mut().for_each(|event| event.org_id = org.clone());
    }
    let started = Instant::now();
    let mut accepted = 0;
    if in_flight == 1 {
        let mut copies = copies.into_iter().peekable();
        while copies.peek().is_some() {
            let batch = copies.by_ref().take(BATCH).collect();
            accepted += block_on(aggregator.ingest_batch(batch)).expect("taken").accepted;
        }
    } else {
        let mut stream = aggregator.ingest_stream();
        for event in copies {
            stream.push((), event);
            if stream.is_full() {
                accepted += block_on(stream.settle()).expect("taken").map_or(0, |settled| settled.report.accepted);
            }
        }
        stream.flush();
        while let Some(settled) = block_on(stream.settle()).expect("taken") {
            accepted += settled.report.accepted;
        }
    }
    let rate = accepted as f64 / started.elapsed().as_secs_f64();
    assert_eq!(accepted, events.len());
    block_on(ionveil.shutdown(Duration::from_secs(10)));
    rate
}

/// Rows per second of the binary itself, from the start of reading until everything is durable and counted.
fn ingest(input: &Path, mapping: &Path) -> f64 {
    let data = tempfile::tempdir().expect("a directory for the journal");
    let output = Command::new(env!("CARGO_BIN_EXE_ionveil"))
        .args(["--json", "--data"])
        .arg(data.path())
        .args(["ingest", "--org", "sffd", "--retention-hours", "0", "--mapping"])
        .args([mapping, input])
        .output()
        .expect("the binary runs");
    let summary: Value = serde_json::from_slice(&output.stdout).expect("a summary");
    assert_eq!(summary["read"], summary["accepted"], "every row is accepted: {summary}");
    summary["events_per_second"].as_f64().expect("a rate")
}

fn plain_file(input: &Path, mapping: &Path) -> f64 {
    let data = tempfile::tempdir().expect("a directory for the file");
    let mapping = Mapping::load(mapping).expect("the shipped mapping is good");
    let org: OrgId = "sffd".parse().expect("a valid org");
    let mut file = File::create(data.path().join("rows")).expect("a file");
    let mut pending = Vec::new();
    let (mut rows, mut unsynced) = (0u64, 0);
    let started = Instant::now();
    let mut sync = |pending: &mut Vec<u8>| {
        file.write_all(pending).and_then(|()| file.sync_data()).expect("the disk takes it");
        pending.clear();
    };
    read(&Source::from(input), &org, Some(&mapping), &AtomicU64::new(0), &mut |row| {
        let event = row.outcome.expect("every row of this file is good");
        serde_json::to_writer(&mut pending, &event).expect("an event is JSON");
        rows += 1;
        unsynced += 1;
        if unsynced == BATCH {
            sync(&mut pending);
            unsynced = 0;
        }
        ControlFlow::Continue(())
    })
    .expect("the file is readable");
    sync(&mut pending);
    rows as f64 / started.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
