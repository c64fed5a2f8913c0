//! What the journal costs: durable appends, replay, opening and bytes, beside a plain file that does the least that
//! durability needs (append, `fdatasync`), with the same callers and the same sort of writer thread.
//!
//! They are measured in turn in one run, and the ratio is the median over the repetitions: rates of different runs, on a
//! machine that others use too, cannot be compared. Reading is measured in processor time of the thread that reads, which
//! others disturb less; the files are in the page cache, so there is nothing else to wait for.
//!
//! `cargo bench -p ionveil-journal`; `IONVEIL_BENCH_SECONDS` is the time per measurement (0.8) and
//! `IONVEIL_BENCH_REPETITIONS` their number (5). `IONVEIL_BENCH_MILLIONS=3` shows instead what a journal of so many million
//! events takes in memory and time to read, which lasts half a minute. `IONVEIL_BENCH_ROW` is for a
//! profiler: only the appends of that row, from 1, and nothing else.

#![allow(clippy::print_stdout)] // the table is what a benchmark is for

mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ionveil_journal::{Append, Journal, LocalJournal, Outcome, Position, Sequence, StreamId};

use support::{
    APPENDS, Engine, GroupWriter, PAYLOAD_LEN, Payloads, PlainFile, STREAMS, Sink, append_events, append_rate, frame,
    median, setting,
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
    if let Some(dir) = std::env::var_os("IONVEIL_BENCH_READ") {
        return reading(Path::new(&dir));
    }
    let millions = setting("IONVEIL_BENCH_MILLIONS", 0.0) as u64;
    if millions > 0 {
        return memory(&place.path().join("memory"), &payloads, millions);
    }

    println!(
        "durable appends, events/s, {PAYLOAD_LEN} random bytes each, {STREAMS} streams, medians of {repetitions}\n"
    );
    println!(
        "{:>10} {:>8} {:>14} {:>14} {:>8} {:>14} {:>8}",
        "in flight", "batch", "plain file", "journal", "ratio", "bare sled", "ratio"
    );
    let mut results: BTreeMap<usize, Vec<[f64; 3]>> = BTreeMap::new();
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
            let sled = GroupWriter::start(BareSled::create(&dir.join("sled")));
            let of_sled = append_rate(&sled, &payloads, in_flight, batch, seconds);
            drop(sled);
            results.entry(row).or_default().push([of_plain, of_journal, of_sled]);
            std::fs::remove_dir_all(&dir).expect("removed");
        }
    }
    for (row, (in_flight, batch)) in APPENDS.iter().enumerate() {
        let Some(results) = results.get(&row) else { continue };
        let pairs = |which: usize| results.iter().map(|of| [of[0], of[which]]).collect::<Vec<_>>();
        let ([plain, journal, ratio], [_, sled, sled_ratio]) = (medians(&pairs(1)), medians(&pairs(2)));
        println!(
            "{in_flight:>10} {batch:>8} {plain:>14.0} {journal:>14.0} {ratio:>8.2} {sled:>14.0} {sled_ratio:>8.2}"
        );
    }

    if only.is_some() {
        return;
    }
    replay(place.path(), &payloads, repetitions);
}

/// What sled itself can do with the guards that keep it from losing data, and without the redo log, the chain and the index:
/// blocks of 16 KiB of the plain file's frames, inserted one by one, and a flush and an `fdatasync` a group.
struct BareSled {
    db: sled::Db,
    file: File,
    next: u64,
    block: Vec<u8>,
}

impl BareSled {
    const BLOCK_LEN: usize = 16 << 10;

    fn create(dir: &Path) -> Self {
        let config = sled::Config::new().path(dir).segment_size(4 << 20).cache_capacity(32 << 20).flush_every_ms(None);
        let db = config.open().expect("created");
        BareSled { db, file: File::open(dir.join("db")).expect("there"), next: 1, block: Vec::new() }
    }

    fn insert(&mut self) {
        self.db.insert(self.next.to_be_bytes(), &self.block[..]).expect("inserted");
        self.next += 1;
        self.block.clear();
    }
}

impl Sink for BareSled {
    fn commit(&mut self, group: &[Append]) {
        for append in group {
            for event in &append.events {
                frame(&mut self.block, append, event);
                if self.block.len() + 2 * PAYLOAD_LEN > Self::BLOCK_LEN {
                    self.insert();
                }
            }
        }
        if !self.block.is_empty() {
            self.insert();
        }
        self.db.flush().expect("flushed");
        self.file.sync_data().expect("synced");
    }
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
    let bytes = journal.stat().bytes_on_disk as f64 / journal.stat().events as f64;
    drop(journal);
    println!("{bytes:.0} bytes on disk per event\n");
    // A process of its own, since memory that was given back is seldom seen to be.
    let program = std::env::current_exe().expect("this one");
    let ended = std::process::Command::new(program).env("IONVEIL_BENCH_READ", dir).status();
    assert!(ended.expect("started").success());
}

/// Opening a journal that is there, reading one of its streams, all of it, and verifying it, with the memory that takes.
fn reading(dir: &Path) {
    let before = resident_mib();
    let begin = on_processor();
    let journal = LocalJournal::open(dir).expect("opens");
    let seconds = on_processor() - begin;
    println!("{:>34} {seconds:>14.2}   {} MiB more than before", "opening, seconds", resident_mib() - before);
    let stream: StreamId = "dispatch/7".parse().expect("a stream");
    let (of_stream, _) = journal.stream_head(&stream).expect("it has events");
    let of_stream = rate(of_stream.get(), || read_stream(&journal, &stream));
    println!("{:>34} {of_stream:>14.0}   {} MiB more", "one stream, events/s", resident_mib() - before);
    let of_all = rate(journal.head().position.get(), || read_all(&journal));
    println!("{:>34} {of_all:>14.0}   {} MiB more", "all, events/s", resident_mib() - before);
    let begin = on_processor();
    let events = journal.verify(None, &mut |_| {}).expect("readable").events;
    let verified = events as f64 / (on_processor() - begin);
    println!("{:>34} {verified:>14.0}   {} MiB more", "verified, events/s", resident_mib() - before);
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
    let (mut scans, mut of_one, mut opens) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = [std::fs::metadata(&file).expect("there").len() as f64, 0.0];
    for _ in 0..repetitions {
        let of_plain = rate(REPLAY_EVENTS, || scan_plain(&file));
        let begin = on_processor();
        let journal = LocalJournal::open(&dir).expect("opens");
        opens.push(on_processor() - begin);
        let of_journal = rate(REPLAY_EVENTS, || read_all(&journal));
        scans.push([of_plain, of_journal]);
        of_one.push(rate(TIMES * REPLAY_APPENDS * REPLAY_OF_ONE, || again(|| read_stream(&journal, &one))));
        bytes[1] = journal.stat().bytes_on_disk as f64;
    }
    println!("\nreplay of {REPLAY_EVENTS} events, touching every payload, files in the page cache\n");
    let [plain, journal, ratio] = medians(&scans);
    println!("{:>34} {:>14} {:>14} {:>8}", "", "plain file", "journal", "ratio");
    println!("{:>34} {plain:>14.0} {journal:>14.0} {ratio:>8.2}", "all, events/s");
    println!("{:>34} {:>14} {:>14.0}", "one stream of 10000, events/s", "", median(of_one));
    println!("{:>34} {:>14} {:>14.2}", "opening, seconds", "", median(opens));
    let blocks = Extents::of(&file);
    let by_pread = || rate(TIMES * REPLAY_APPENDS * REPLAY_OF_ONE, || again(|| blocks.read_one()));
    let by_pread = (0..repetitions).map(|_| by_pread()).collect();
    println!("{:>34} {:>14.0}", "that stream with pread alone", median(by_pread));
    let [plain, journal] = bytes.map(|bytes| bytes / REPLAY_EVENTS as f64);
    println!("{:>34} {plain:>14.0} {journal:>14.0} {:>8.2}", "bytes on disk per event", journal / plain);
}

/// How often a stream is read for one figure: the kernel counts processor time in ticks of milliseconds.
const TIMES: u64 = 25;

fn again(work: impl Fn() -> Touched) -> Touched {
    (0..TIMES).map(|_| work()).fold(Touched::default(), |sum, touched| Touched {
        events: sum.events + touched.events,
        sum: sum.sum.wrapping_add(touched.sum),
    })
}

fn read_all(journal: &LocalJournal) -> Touched {
    let mut touched = Touched::default();
    let read = journal.read_all(Position::FIRST, Position::MAX, &mut |record| {
        touched.touch(record.payload);
        ControlFlow::Continue(())
    });
    read.expect("readable");
    touched
}

fn read_stream(journal: &LocalJournal, stream: &StreamId) -> Touched {
    let mut touched = Touched::default();
    let read = journal.read_stream(stream, Sequence::FIRST, Sequence::MAX, &mut |record| {
        touched.touch(record.payload);
        ControlFlow::Continue(())
    });
    read.expect("readable");
    touched
}

/// What the stream's blocks would cost without a store and with nothing cached but the file: for each append of the plain
/// file one `pread` of as many frames as a block holds, those of the stream among them, and their checksums.
struct Extents {
    file: File,
    /// Where each append ends, and where the frame begins with which a block of 16 KiB at most would begin.
    ends: Vec<(u64, u64)>,
}

impl Extents {
    const BLOCK_LEN: u64 = 16 << 10;

    fn of(path: &Path) -> Self {
        let bytes = std::fs::read(path).expect("there");
        let mut frames = vec![0];
        while let Some(prefix) = bytes.get(frames[frames.len() - 1] as usize..).and_then(|rest| rest.get(..8)) {
            frames.push(frames[frames.len() - 1] + 8 + u64::from(number(&prefix[..4])));
        }
        let per_append = (REPLAY_BATCH + REPLAY_OF_ONE) as usize;
        let ends = frames.iter().skip(per_append).step_by(per_append);
        let begin_of = |end| frames[frames.partition_point(|frame| frame + Self::BLOCK_LEN < end)];
        Extents { file: File::open(path).expect("there"), ends: ends.map(|&end| (begin_of(end), end)).collect() }
    }

    fn read_one(&self) -> Touched {
        let mut touched = Touched::default();
        for &(begin, end) in &self.ends {
            // Fresh memory for each, as from any store.
            let mut block = vec![0; (end - begin) as usize];
            self.file.read_exact_at(&mut block, begin).expect("readable");
            let mut rest = &block[..];
            while !rest.is_empty() {
                let (prefix, behind) = rest.split_at(8);
                let (record, behind) = behind.split_at(number(&prefix[..4]) as usize);
                rest = behind;
                let (stream, payload) = record[17..].split_at(usize::from(record[16]));
                if stream == b"dispatch/one" {
                    assert_eq!(crc32fast::hash(record), number(&prefix[4..]), "sound");
                    touched.touch(payload);
                }
            }
        }
        touched
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("four bytes"))
}

/// Of the plain file's rates, the journal's, and the ratios of those measured together.
fn medians(pairs: &[[f64; 2]]) -> [f64; 3] {
    let of = |value: fn(&[f64; 2]) -> f64| median(pairs.iter().map(value).collect());
    [of(|pair| pair[0]), of(|pair| pair[1]), of(|pair| pair[1] / pair[0])]
}

/// How long this thread was on a processor so far, in seconds.
fn on_processor() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).expect("a number") / 1e9
}

fn rate(events: u64, work: impl FnOnce() -> Touched) -> f64 {
    let begin = on_processor();
    let touched = work();
    assert_eq!(touched.events, events, "everything was read");
    std::hint::black_box(touched.sum);
    events as f64 / (on_processor() - begin)
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
            let Some(record) = bytes.get(at + 8..at + 8 + number(&prefix[..4]) as usize) else { break };
            assert_eq!(crc32fast::hash(record), number(&prefix[4..]), "sound");
            touched.touch(&record[17 + usize::from(record[16])..]);
            at += 8 + record.len();
        }
        bytes.drain(..at);
    }
}
