//! What every measurement of durable appends shares: events, callers, and the least that a durable log needs.
//!
//! Peers are given the same callers and the same kind of writer thread ([`GroupWriter`]), so that only the store differs.

#![allow(unreachable_pub, dead_code, reason = "used by this crate's benchmark and by that of the peers")]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ionveil_journal::{
    Append, Journal, LocalJournal, NewEvent, OnOutcome, Origin, Outcome, Position, Sequence, StreamId, Written, codec,
};
use uuid::Uuid;

pub const PAYLOAD_LEN: usize = 200;
pub const STREAMS: usize = 1_000;
const GROUP_BYTES_MAX: usize = 4 << 20;

/// How many are in flight at once, and how many events each appends.
pub const APPENDS: [(usize, usize); 5] = [(1, 1), (64, 1), (512, 1), (1, 100), (1, 1_000)];

pub fn setting(name: &str, default: f64) -> f64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Bytes that no compression makes smaller.
pub struct Payloads(Vec<u8>);

impl Payloads {
    pub fn new() -> Self {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        Payloads((0..1 << 17).flat_map(|_| next()).collect())
    }

    pub fn event(&self, number: u64) -> NewEvent {
        let at = (number as usize).wrapping_mul(211) % (self.0.len() - PAYLOAD_LEN);
        NewEvent {
            id: Uuid::from_u128(number.into()),
            event_type: "benchmarked".into(),
            version: 1,
            codec: codec::BINCODE_2,
            payload: self.0[at..at + PAYLOAD_LEN].to_vec(),
        }
    }

    pub fn append(&self, stream: &StreamId, expected: u64, numbers: std::ops::Range<u64>) -> Append {
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
pub trait Engine {
    fn submit(&self, append: Append, done: OnOutcome);
}

impl Engine for LocalJournal {
    fn submit(&self, append: Append, done: OnOutcome) {
        Journal::submit(self, append, done).expect("taken");
    }
}

/// Durable events per second with so many appends in flight, each of so many events. One thread submits for all of them,
/// each time an outcome comes in; each of those in flight has streams of its own.
pub fn append_rate(engine: &dyn Engine, payloads: &Payloads, in_flight: usize, batch: usize, time: Duration) -> f64 {
    let begin = Instant::now();
    let events = append_events(engine, payloads, in_flight, batch, &mut |_| begin.elapsed() < time);
    events as f64 / begin.elapsed().as_secs_f64()
}

/// Appends as [`append_rate`] does, as long as `goes_on` says so of the number of durable events, which is returned.
pub fn append_events(
    engine: &dyn Engine,
    payloads: &Payloads,
    in_flight: usize,
    batch: usize,
    goes_on: &mut dyn FnMut(u64) -> bool,
) -> u64 {
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
    (0..in_flight).for_each(&mut submit);
    let mut events = 0;
    while goes_on(events) {
        let producer = finished.recv().expect("the writer lives");
        events += batch as u64;
        submit(producer);
    }
    events
}

/// What makes a group of appends durable, one group after the other.
pub trait Sink: Send + 'static {
    /// Stores all of them and returns when they are on disk.
    fn commit(&mut self, group: &[Append]);
}

/// A thread that takes whatever waits, has a [`Sink`] commit it, and answers.
pub struct GroupWriter {
    queue: Option<mpsc::Sender<(Append, OnOutcome)>>,
    writer: Option<JoinHandle<()>>,
}

impl GroupWriter {
    pub fn start(mut sink: impl Sink) -> Self {
        let (sender, queue) = mpsc::channel::<(Append, OnOutcome)>();
        let writer = std::thread::spawn(move || {
            let (mut group, mut answers) = (Vec::new(), Vec::new());
            let mut position = Position::NONE;
            while let Ok(first) = queue.recv() {
                let mut next = Some(first);
                let mut bytes = 0;
                while let Some((append, done)) = next.take() {
                    position = position.plus(append.events.len() as u64);
                    let sequence = append.expected.plus(append.events.len() as u64);
                    answers.push((done, Outcome::Committed(Written { sequence, position })));
                    bytes += append.events.iter().map(|event| event.payload.len()).sum::<usize>();
                    group.push(append);
                    if bytes < GROUP_BYTES_MAX {
                        next = queue.try_recv().ok();
                    }
                }
                sink.commit(&group);
                group.clear();
                answers.drain(..).for_each(|(done, outcome)| done(outcome));
            }
        });
        GroupWriter { queue: Some(sender), writer: Some(writer) }
    }
}

impl Engine for GroupWriter {
    fn submit(&self, append: Append, done: OnOutcome) {
        self.queue.as_ref().expect("open").send((append, done)).expect("the writer lives");
    }
}

impl Drop for GroupWriter {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(writer) = self.writer.take() {
            writer.join().expect("no panic");
        }
    }
}

/// The limit: a file that is appended to and synced, with a length, a checksum and the stream's address before each payload,
/// and no index, chain or group.
pub struct PlainFile {
    file: File,
    bytes: Vec<u8>,
}

impl PlainFile {
    pub fn create(path: &Path) -> Self {
        PlainFile { file: File::create(path).expect("created"), bytes: Vec::new() }
    }
}

impl Sink for PlainFile {
    fn commit(&mut self, group: &[Append]) {
        self.bytes.clear();
        for append in group {
            append.events.iter().for_each(|event| frame(&mut self.bytes, append, event));
        }
        self.file.write_all(&self.bytes).and_then(|()| self.file.sync_data()).expect("written");
    }
}

pub fn frame(bytes: &mut Vec<u8>, append: &Append, event: &NewEvent) {
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
