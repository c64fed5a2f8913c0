//! What the journal costs: durable appends, replay, opening and bytes, beside a plain file that does the least that
//! durability needs (append, `fdatasync`), with the same callers and the same sort of writer thread.
//!
//! Both are measured in turn in one run, and the ratio is the median over the repetitions: rates of different runs, on a
//! machine that others use too, cannot be compared. `cargo bench -p ionveil-journal`; `IONVEIL_BENCH_SECONDS` is the time
//! per measurement (0.8) and `IONVEIL_BENCH_REPETITIONS` their number (5).

#![allow(clippy::print_stdout)] // the table is what a benchmark is for

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ionveil_journal::{
    Append, Journal, LocalJournal, NewEvent, OnOutcome, Origin, Outcome, Position, Sequence, StreamId, Written, codec,
};
use uuid::Uuid;

const PAYLOAD_LEN: usize = 200;
const STREAMS: usize = 1_000;
const GROUP_BYTES_MAX: usize = 4 << 20;
/// Replay: this many appends of `REPLAY_BATCH` events, each followed by a few events of one stream.
const REPLAY_APPENDS: u64 = 1_000;
const REPLAY_BATCH: u64 = 990;
const REPLAY_OF_ONE: u64 = 10;
const REPLAY_EVENTS: u64 = REPLAY_APPENDS * (REPLAY_BATCH + REPLAY_OF_ONE);

/// How many are in flight at once, and how many events each appends.
const APPENDS: [(usize, usize); 5] = [(1, 1), (64, 1), (512, 1), (1, 100), (1, 1_000)];

fn main() {
    let seconds = Duration::from_secs_f64(setting("IONVEIL_BENCH_SECONDS", 0.8));
    let repetitions = setting("IONVEIL_BENCH_REPETITIONS", 5.0) as usize;
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory on the disk of the build");
    let payloads = Payloads::new();

    println!(
        "durable appends, events/s, {PAYLOAD_LEN} random bytes each, {STREAMS} streams, medians of {repetitions}\n"
    );
    println!("{:>10} {:>8} {:>14} {:>14} {:>8}", "in flight", "batch", "plain file", "journal", "ratio");
    let mut results: BTreeMap<usize, Vec<[f64; 2]>> = BTreeMap::new();
    for repetition in 0..repetitions {
        for (row, &(in_flight, batch)) in APPENDS.iter().enumerate() {
            let dir = place.path().join(format!("{repetition}-{row}"));
            std::fs::create_dir(&dir).expect("created");
            let plain = Plain::create(&dir.join("file"));
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
        let [plain, journal, ratio] = medians(&results[&row]);
        println!("{in_flight:>10} {batch:>8} {plain:>14.0} {journal:>14.0} {ratio:>8.2}");
    }

    replay(place.path(), &payloads, repetitions);
}

fn replay(place: &Path, payloads: &Payloads, repetitions: usize) {
    let (file, dir) = (place.join("file"), place.join("journal"));
    let plain = Plain::create(&file);
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

fn setting(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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

/// Bytes that no compression makes smaller.
struct Payloads(Vec<u8>);

impl Payloads {
    fn new() -> Self {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        Payloads((0..1 << 17).flat_map(|_| next()).collect())
    }

    fn event(&self, number: u64) -> NewEvent {
        let at = (number as usize).wrapping_mul(211) % (self.0.len() - PAYLOAD_LEN);
        NewEvent {
            id: Uuid::from_u128(number.into()),
            event_type: "benchmarked".into(),
            version: 1,
            codec: codec::BINCODE_2,
            payload: self.0[at..at + PAYLOAD_LEN].to_vec(),
        }
    }

    fn append(&self, stream: &StreamId, expected: u64, numbers: std::ops::Range<u64>) -> Append {
        Append {
            stream: stream.clone(),
            expected: Sequence::new(expected),
            expected_id: None,
            epoch: 1,
            origin: Origin::default(),
            events: numbers.map(|number| self.event(number)).collect(),
        }
    }
}

/// What takes appends and says when they are durable.
trait Engine {
    fn submit(&self, append: Append, done: OnOutcome);
}

impl Engine for LocalJournal {
    fn submit(&self, append: Append, done: OnOutcome) {
        Journal::submit(self, append, done).expect("taken");
    }
}

/// Durable events per second with so many appends in flight, each of so many events. One thread submits for all of them,
/// each time an outcome comes in; each of those in flight has streams of its own.
fn append_rate(engine: &dyn Engine, payloads: &Payloads, in_flight: usize, batch: usize, time: Duration) -> f64 {
    let streams: Vec<StreamId> =
        (0..STREAMS).map(|number| format!("dispatch/{number}").parse().expect("valid")).collect();
    let mut heads = vec![0; STREAMS];
    let mut turns = vec![0; in_flight];
    let mut number = 0;
    let (sender, finished) = mpsc::channel();
    let mut submit = |producer: usize| {
        turns[producer] += 1;
        let stream = (turns[producer] * in_flight + producer) % (STREAMS / in_flight * in_flight);
        let append = payloads.append(&streams[stream], heads[stream], number..number + batch as u64);
        heads[stream] += batch as u64;
        number += batch as u64;
        let sender = sender.clone();
        let done: OnOutcome = Box::new(move |outcome| {
            assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
            // At the end nobody waits for the last ones.
            let _ = sender.send(producer);
        });
        engine.submit(append, done);
    };
    let begin = Instant::now();
    (0..in_flight).for_each(&mut submit);
    let mut events = 0;
    while begin.elapsed() < time {
        let producer = finished.recv().expect("the writer lives");
        events += batch;
        submit(producer);
    }
    events as f64 / begin.elapsed().as_secs_f64()
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

/// The limit: a file that is appended to and synced by one thread for all that wait, with a length, a checksum and the
/// stream's address before each payload, and no index, chain or group.
struct Plain {
    queue: Option<mpsc::Sender<(Append, OnOutcome)>>,
    writer: Option<JoinHandle<()>>,
}

impl Plain {
    fn create(path: &Path) -> Self {
        let mut file = File::create(path).expect("created");
        let (sender, queue) = mpsc::channel::<(Append, OnOutcome)>();
        let writer = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let mut answers = Vec::new();
            let mut position = Position::NONE;
            while let Ok(first) = queue.recv() {
                let mut next = Some(first);
                while let Some((append, done)) = next.take() {
                    for event in &append.events {
                        frame(&mut bytes, &append, event);
                    }
                    position = position.plus(append.events.len() as u64);
                    let sequence = append.expected.plus(append.events.len() as u64);
                    answers.push((done, Outcome::Committed(Written { sequence, position })));
                    if bytes.len() < GROUP_BYTES_MAX {
                        next = queue.try_recv().ok();
                    }
                }
                file.write_all(&bytes).and_then(|()| file.sync_data()).expect("written");
                bytes.clear();
                answers.drain(..).for_each(|(done, outcome)| done(outcome));
            }
        });
        Plain { queue: Some(sender), writer: Some(writer) }
    }
}

impl Engine for Plain {
    fn submit(&self, append: Append, done: OnOutcome) {
        self.queue.as_ref().expect("open").send((append, done)).expect("the writer lives");
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(writer) = self.writer.take() {
            writer.join().expect("no panic");
        }
    }
}

fn frame(bytes: &mut Vec<u8>, append: &Append, event: &NewEvent) {
    let start = bytes.len();
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(event.id.as_bytes());
    bytes.push(append.stream.as_str().len() as u8);
    bytes.extend_from_slice(append.stream.as_str().as_bytes());
    bytes.extend_from_slice(&event.payload);
    let len = (bytes.len() - start - 8) as u32;
    let checksum = crc32fast::hash(&bytes[start + 8..]);
    bytes[start..start + 4].copy_from_slice(&len.to_le_bytes());
    bytes[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
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
