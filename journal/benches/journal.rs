//! What the journal costs: durable appends, replay, opening and bytes, beside a plain file that does the least that
//! durability needs (append, `fdatasync`), with the same callers and the same sort of writer thread.
//!
//! Both are measured in turn in one run, and the ratio is the median over the repetitions: rates of different runs, on a
//! machine that others use too, cannot be compared. `cargo bench -p ionveil-journal`; `IONVEIL_BENCH_SECONDS` is the time
//! per measurement (0.8) and `IONVEIL_BENCH_REPETITIONS` their number (5). `IONVEIL_BENCH_MILLIONS=3` shows
//! instead what a journal of so many million events takes in memory, which lasts a minute. `IONVEIL_BENCH_ROW` is for a profiler: only the
//! appends of that row, from 1, and nothing else.

#![allow(clippy::print_stdout)] // the table is what a benchmark is for

mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ionveil_journal::{Journal, LocalJournal, Outcome, Position, Sequence, StreamId};

use support::{
    APPENDS, Engine, GroupWriter, PAYLOAD_LEN, Payloads, PlainFile, STREAMS, append_events, append_rate, median,
    setting,
};

/// Replay: this many appends of `REPLAY_BATCH` events, each followed by a few events of one stream.
const REPLAY_APPENDS: u64 = 1_000;
const REPLAY_BATCH: u64 = 990;
const REPLAY_OF_ONE: u64 = 10;
const REPLAY_EVENTS: u64 = REPLAY_APPENDS * (REPLAY_BATCH + REPLAY_OF_ONE);

fn main() {
    let seconds = Duration::from_secs_f64(setting("IONVEIL_BENCH_SECONDS", 0.8));
    let repetitions = setting("IONVEIL_BENCH_REPETITIONS", 5.0) as usize;
    let only = (setting("IONVEIL_BENCH_ROW", 0.0) as usize).checked_sub(1);
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on the disk of the build");
    let payloads = Payloads::new();
    let millions = setting("IONVEIL_BENCH_MILLIONS", 0.0) as u64;
    if millions > 0 {
        return memory(&place.path().join("memory"), &payloads, millions);
    }

    println!(
        "durable appends, events/s, {PAYLOAD_LEN} random bytes each, {STREAMS} streams, medians of {repetitions}\n"
    );
    println!("{:>10} {:>8} {:>14} {:>14} {:>8}", "in flight", "batch", "plain file", "journal", "ratio");
    let mut results: BTreeMap<usize, Vec<[f64; 2]>> = BTreeMap::new();
    for repetition in 0..repetitions {
        for (row, &(in_flight, batch)) in
            APPENDS.iter().enumerate().filter(|(row, _)| only.is_none_or(|only| only == *row))
        {
            let dir = place.path().join(format!("{repetition}-{row}"));
            std::fs::create_dir(&dir).expect("created");
            let plain = GroupWriter::start(PlainFile::create(&dir.join("file")));
            let of_plain = append_rate(&plain, &payloads, in_flight, batch, seconds);
            drop(plain);
            let journal = LocalJournal::open(&dir.join("journal")).expect("opens");
            let of_journal = append_rate(&journal, &payloads, in_flight, batch, seconds);
            drop(journal);
            results.entry(row).or_default().push([of_plain, of_journal]);
            std::fs::remove_dir_all(&dir).expect("removed");
        }
    }
    for (row, (in_flight, batch)) in APPENDS.iter().enumerate() {
        let Some(results) = results.get(&row) else { continue };
        let [plain, journal, ratio] = medians(results);
        println!("{in_flight:>10} {batch:>8} {plain:>14.0} {journal:>14.0} {ratio:>8.2}");
    }

    if only.is_some() {
        return;
    }
    replay(place.path(), &payloads, repetitions);
}

/// Memory of this process before and after opening a journal of so many million events that came one by one, 64 in flight.
fn memory(dir: &Path, payloads: &Payloads, millions: u64) {
    let journal = LocalJournal::open(dir).expect("opens");
    let begin = Instant::now();
    append_events(&journal, payloads, 64, 1, &mut |events| events < millions * 1_000_000);
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "\n{millions} M events written in {seconds:.0} s, 64 in flight; resident memory then {} MiB",
        resident_mib()
    );
    drop(journal);
    let before = resident_mib();
    let begin = Instant::now();
    let journal = LocalJournal::open(dir).expect("opens");
    let seconds = begin.elapsed().as_secs_f64();
    let after = resident_mib();
    let bytes = journal.stat().bytes_on_disk as f64 / journal.stat().events as f64;
    println!(
        "opened in {seconds:.2} s; resident memory {before} MiB before, {after} MiB after; {bytes:.0} bytes per event"
    );
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("there");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") / 1024
}

fn replay(place: &Path, payloads: &Payloads, repetitions: usize) {
    let (file, dir) = (place.join("file"), place.join("journal"));
    let plain = GroupWriter::start(PlainFile::create(&file));
    fill(&plain, payloads);
    drop(plain);
    let journal = LocalJournal::open(&dir).expect("opens");
    fill(&journal, payloads);
    drop(journal);

    let one: StreamId = "dispatch/one".parse().expect("a stream");
    let mut scans = Vec::new();
    let mut of_one = Vec::new();
    let mut opens = Vec::new();
    let mut bytes = [std::fs::metadata(&file).expect("there").len() as f64, 0.0];
    for _ in 0..repetitions {
        let of_plain = rate(REPLAY_EVENTS, || scan_plain(&file));
        let begin = Instant::now();
        let journal = LocalJournal::open(&dir).expect("opens");
        opens.push(begin.elapsed().as_secs_f64());
        let of_journal = rate(REPLAY_EVENTS, || {
            let mut touched = Touched::default();
            journal
                .read_all(Position::FIRST, Position::MAX, &mut |record| {
                    touched.touch(record.payload);
                    ControlFlow::Continue(())
                })
                .expect("readable");
            touched
        });
        scans.push([of_plain, of_journal]);
        of_one.push(rate(REPLAY_APPENDS * REPLAY_OF_ONE, || {
            let mut touched = Touched::default();
            journal
                .read_stream(&one, Sequence::FIRST, Sequence::MAX, &mut |record| {
                    touched.touch(record.payload);
                    ControlFlow::Continue(())
                })
                .expect("readable");
            touched
        }));
        bytes[1] = journal.stat().bytes_on_disk as f64;
    }
    let [plain, journal, ratio] = medians(&scans);
    println!("\nreplay of {REPLAY_EVENTS} events, touching every payload, files in the page cache\n");
    println!("{:>34} {:>14} {:>14} {:>8}", "", "plain file", "journal", "ratio");
    println!("{:>34} {plain:>14.0} {journal:>14.0} {ratio:>8.2}", "all, events/s");
    println!("{:>34} {:>14} {:>14.0}", "one stream of 10000, events/s", "", median(of_one));
    println!("{:>34} {:>14} {:>14.2}", "opening, seconds", "", median(opens));
    let [plain, journal] = bytes.map(|bytes| bytes / REPLAY_EVENTS as f64);
    println!("{:>34} {plain:>14.0} {journal:>14.0} {:>8.2}", "bytes on disk per event", journal / plain);
}

/// Of the plain file's rates, the journal's, and the ratios of those measured together.
fn medians(pairs: &[[f64; 2]]) -> [f64; 3] {
    let of = |value: fn(&[f64; 2]) -> f64| median(pairs.iter().map(value).collect());
    [of(|pair| pair[0]), of(|pair| pair[1]), of(|pair| pair[1] / pair[0])]
}

fn rate(events: u64, work: impl FnOnce() -> Touched) -> f64 {
    let begin = Instant::now();
    let touched = work();
    assert_eq!(touched.events, events, "everything was read");
    std::hint::black_box(touched.sum);
    events as f64 / begin.elapsed().as_secs_f64()
}

#[derive(Default)]
struct Touched {
    events: u64,
    sum: u64,
}

impl Touched {
    fn touch(&mut self, payload: &[u8]) {
        self.events += 1;
        self.sum = payload.iter().fold(self.sum, |sum, &byte| sum.wrapping_add(byte.into()));
    }
}

/// Writes what the replay reads, as fast as it goes.
fn fill(engine: &dyn Engine, payloads: &Payloads) {
    let one: StreamId = "dispatch/one".parse().expect("a stream");
    let (sender, finished) = mpsc::sync_channel(0);
    let mut number = 0;
    for append in 0..REPLAY_APPENDS {
        let stream = format!("dispatch/{}", append % STREAMS as u64).parse().expect("a stream");
        let many = payloads.append(&stream, 0, number..number + REPLAY_BATCH);
        let few_from = number + REPLAY_BATCH;
        let few = payloads.append(&one, append * REPLAY_OF_ONE, few_from..few_from + REPLAY_OF_ONE);
        number = few_from + REPLAY_OF_ONE;
        engine.submit(many, Box::new(|outcome| assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}")));
        let sender = sender.clone();
        engine.submit(few, Box::new(move |_| sender.send(()).expect("awaited")));
        finished.recv().expect("the writer lives");
    }
}

fn scan_plain(path: &Path) -> Touched {
    let mut file = File::open(path).expect("there");
    let mut touched = Touched::default();
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut chunk).expect("readable");
        if read == 0 {
            return touched;
        }
        bytes.extend_from_slice(&chunk[..read]);
        let mut at = 0;
        while let Some(prefix) = bytes.get(at..at + 8) {
            let number = |part: &[u8]| u32::from_le_bytes(part.try_into().expect("four bytes"));
            let Some(record) = bytes.get(at + 8..at + 8 + number(&prefix[..4]) as usize) else { break };
            assert_eq!(crc32fast::hash(record), number(&prefix[4..]), "sound");
            touched.touch(&record[17 + usize::from(record[16])..]);
            at += 8 + record.len();
        }
        bytes.drain(..at);
    }
}
