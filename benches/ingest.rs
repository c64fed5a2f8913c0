//! From CSV to durable and queryable, beside what no journal can beat: the same rows read by the same reader and written
//! to a plain file with one `fdatasync` per 1,000 rows. Interleaved runs, medians. `cargo bench --bench ingest`
//!
//! Reads the whole San Francisco file when it lies at `../shared/data`, else the extract in `examples`.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fs::File;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use ionveil::domain::OrgId;
use ionveil::ingest::{Mapping, Source, read};
use serde_json::Value;

const ROUNDS: usize = 5;
const ROWS_PER_SYNC: usize = 1_000;

fn main() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let whole = root.join("../shared/data/sf-fire-calls.csv.gz");
    let input = if whole.exists() { whole } else { root.join("examples/sf-fire-calls-extract.csv") };
    let mapping = root.join("examples/sf-fire-calls.toml");
    let mut ionveil = Vec::new();
    let mut plain = Vec::new();
    for _ in 0..ROUNDS {
        plain.push(plain_file(&input, &mapping));
        ionveil.push(ingest(&input, &mapping));
    }
    let (ionveil, plain) = (median(ionveil), median(plain));
    println!("{} (median of {ROUNDS} interleaved runs)", input.display());
    println!("plain file + fdatasync  {plain:>10.0} rows/s");
    println!("ionveil ingest          {ionveil:>10.0} rows/s  {:.2} of the plain file", ionveil / plain);
}

/// Rows per second of the binary itself, from the start of reading until everything is durable and counted.
fn ingest(input: &std::path::Path, mapping: &std::path::Path) -> f64 {
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

fn plain_file(input: &std::path::Path, mapping: &std::path::Path) -> f64 {
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
        if unsynced == ROWS_PER_SYNC {
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
