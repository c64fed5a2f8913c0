//! What the runtime costs beside the bare journal: durable commands, latency, recovery, memory.
//!
//! Everything that is set against something is measured in turn in one run, and a ratio is the median over the repetitions.
//! `cargo bench -p ionveil-actors --bench runtime`; `IONVEIL_BENCH_SECONDS` is the time per measurement (0.8),
//! `IONVEIL_BENCH_REPETITIONS` their number (5), and `IONVEIL_BENCH_ONLY` may name one part: `rates`, `latency`, `recovery`
//! or `memory`. The crate cqrs-es on SQLite and PostgreSQL is in `benches/peers-actors`.

#![allow(clippy::print_stdout)] // the table is what a benchmark is for

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ionveil_actors::runtime::{Limits, Registry, Runtime, SystemClock};
use ionveil_journal::{Journal, LocalJournal, SnapshotCriteria};

use support::appends::{GroupWriter, Payloads, PlainFile, STREAMS, append_rate, median, setting};
use support::{PlainTally, Tally, note_rate, plain_rate, resident_bytes};

fn main() {
    let seconds = Duration::from_secs_f64(setting("IONVEIL_BENCH_SECONDS", 0.8));
    let repetitions = setting("IONVEIL_BENCH_REPETITIONS", 5.0) as usize;
    let only = std::env::var("IONVEIL_BENCH_ONLY").ok();
    let is_wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on the disk of the build");
    if is_wanted("rates") {
        rates(place.path(), seconds, repetitions);
    }
    if is_wanted("latency") {
        latency(place.path(), seconds, repetitions);
    }
    if is_wanted("recovery") {
        recovery(place.path(), repetitions.min(3));
    }
    if is_wanted("memory") {
        memory();
    }
}

fn runtime_on(journal: &Arc<LocalJournal>, limits: Limits) -> (Arc<Runtime>, Registry<Tally>) {
    let runtime = Runtime::start(Arc::clone(journal) as _, Arc::new(SystemClock), limits).expect("threads");
    let tallies = Registry::new(&runtime);
    (runtime, tallies)
}

/// Commands with one event of 200 bytes each, made durable before the reply. Beside the journal's own rate the least that any
/// durable log needs: a plain file, one append and one `fdatasync` for all who wait.
fn rates(place: &Path, seconds: Duration, repetitions: usize) {
    const ROWS: [(&str, usize, usize); 4] = [
        ("1 caller", 1, STREAMS),
        ("64 callers", 64, STREAMS),
        ("512 callers", 512, STREAMS),
        ("64 callers, one entity", 64, 1),
    ];
    println!("durable commands/s over {STREAMS} entities, medians of {repetitions}\n");
    println!(
        "{:>22} {:>12} {:>12} {:>12} {:>8} {:>10} {:>16}",
        "", "plain file", "journal", "actors", "of file", "of journal", "actors, no disk"
    );
    for (row, (name, callers, entities)) in ROWS.into_iter().enumerate() {
        let mut results = Vec::new();
        for repetition in 0..repetitions {
            let dir = place.join(format!("rates-{row}-{repetition}"));
            std::fs::create_dir_all(&dir).expect("created");
            let payloads = Payloads::new();
            let file = GroupWriter::start(PlainFile::create(&dir.join("file")));
            let plain_file = append_rate(&file, &payloads, callers, 1, seconds);
            drop(file);
            let journal = LocalJournal::open(&dir.join("bare")).expect("opens");
            let bare = append_rate(&journal, &payloads, callers, 1, seconds);
            drop(journal);
            let journal = Arc::new(LocalJournal::open(&dir.join("actors")).expect("opens"));
            let (runtime, tallies) = runtime_on(&journal, Limits::default());
            let through = note_rate(&tallies, callers, entities, seconds);
            assert!(runtime.stop(Duration::from_secs(10)));
            journal.close();
            let no_disk = plain_rate(&PlainTally::start_many(entities), callers, seconds);
            results.push([plain_file, bare, through, through / plain_file, through / bare, no_disk]);
            std::fs::remove_dir_all(&dir).expect("removed");
        }
        let [plain_file, bare, through, of_file, of_bare, no_disk] = medians(&results);
        println!(
            "{name:>22} {plain_file:>12.0} {bare:>12.0} {through:>12.0} {of_file:>8.2} {of_bare:>10.2} {no_disk:>16.0}"
        );
    }
}

/// One caller, one command after the other.
fn latency(place: &Path, seconds: Duration, repetitions: usize) {
    let mut results = Vec::new();
    for repetition in 0..repetitions {
        let dir = place.join(format!("latency-{repetition}"));
        let payloads = Payloads::new();
        let journal = LocalJournal::open(&dir.join("bare")).expect("opens");
        let bare = support::bare_latency(&journal, &payloads, seconds);
        drop(journal);
        let journal = Arc::new(LocalJournal::open(&dir.join("actors")).expect("opens"));
        let (runtime, tallies) = runtime_on(&journal, Limits::default());
        let through = support::note_latency(&tallies, seconds);
        assert!(runtime.stop(Duration::from_secs(10)));
        journal.close();
        results.push([bare, through, through - bare]);
        std::fs::remove_dir_all(&dir).expect("removed");
    }
    let [bare, through, added] = medians(&results);
    println!(
        "\nlatency of a durable command at 1 caller, p50: journal {bare:.0} µs, through actors {through:.0} µs, added {added:.0} µs"
    );
}

/// A million events of a thousand entities, as many callers write them: scattered over the whole journal.
fn recovery(place: &Path, repetitions: usize) {
    // So many that each has two entities of its own.
    const CALLERS: usize = STREAMS / 2;
    let dir = place.join("recovery");
    let events = setting("IONVEIL_BENCH_RECOVERED", 1_000_000.0) as u64;
    let open = || Arc::new(LocalJournal::open(&dir).expect("opens"));
    let journal = open();
    let limits = Limits { snapshot_events: u64::MAX, ..Limits::default() };
    let (runtime, tallies) = runtime_on(&journal, limits);
    support::write_notes(&tallies, CALLERS, STREAMS, events);
    assert!(runtime.stop(Duration::from_secs(10)));
    journal.close();
    let mut results = Vec::new();
    for _ in 0..repetitions {
        let timed = |limits: Limits| {
            let journal = open();
            let (runtime, tallies) = runtime_on(&journal, limits);
            let begin = Instant::now();
            assert_eq!(support::wait(tallies.start_all()), Ok(STREAMS));
            let took = begin.elapsed().as_secs_f64();
            (took, journal, runtime, tallies)
        };
        let end = |journal: Arc<LocalJournal>, runtime: Arc<Runtime>| {
            assert!(runtime.stop(Duration::from_secs(60)));
            journal.close();
        };
        let (without, journal, runtime, tallies) = timed(limits);
        // Each entity's next event is its thousand and first, and so the occasion for a snapshot.
        end(journal, runtime);
        drop(tallies);
        let (_, journal, runtime, tallies) = timed(Limits { snapshot_events: 1, ..Limits::default() });
        support::write_notes(&tallies, CALLERS, STREAMS, STREAMS as u64);
        end(journal, runtime);
        drop(tallies);
        let (with, journal, runtime, tallies) = timed(limits);
        for stream in journal.streams() {
            journal.delete_snapshots(&stream.stream, &SnapshotCriteria::ALL).expect("deleted");
        }
        end(journal, runtime);
        drop(tallies);
        results.push([without, with]);
    }
    let [without, with] = medians(&results);
    println!(
        "\nrecovery of {events} events of {STREAMS} entities: {without:.2} s from events, {with:.3} s from snapshots"
    );
    std::fs::remove_dir_all(&dir).expect("removed");
}

/// Entities that live and do nothing, and such as the journal knows and nobody uses. Their state is a number.
fn memory() {
    const ENTITIES: usize = 100_000;
    let journal = Arc::new(LocalJournal::in_memory());
    let few = Limits { entities_live_max: 100, ..Limits::default() };
    let all = Limits { entities_live_max: usize::MAX, ..Limits::default() };
    let (runtime, tallies) = runtime_on(&journal, few);
    support::write_notes_once(&tallies, ENTITIES);
    assert!(runtime.stop(Duration::from_secs(60)));
    let grown = |limits: Limits| {
        let (runtime, tallies) = runtime_on(&journal, limits);
        let before = resident_bytes();
        support::ask_each(&tallies, ENTITIES);
        let grown = resident_bytes().saturating_sub(before) as f64 / ENTITIES as f64;
        assert!(runtime.stop(Duration::from_secs(60)));
        grown
    };
    // In this order, since what is freed is not given back.
    let (passive, idle) = (grown(few), grown(all));
    println!(
        "\nmemory per entity, without its state and what the journal itself keeps of it: {idle:.0} bytes idle, {passive:.0} bytes passive"
    );
}

fn medians<const N: usize>(results: &[[f64; N]]) -> [f64; N] {
    std::array::from_fn(|column| median(results.iter().map(|row| row[column]).collect()))
}
