//! The entity that is measured, its callers, and the same without persistence.

#![allow(dead_code, unreachable_pub, reason = "the peers' benchmark uses a part")]

#[path = "../../../journal/benches/support/mod.rs"]
pub mod appends;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use actix::{Actor, Addr, Handler, Message};
use ionveil_actors::error::{Corrupt, Error};
use ionveil_actors::runtime::{
    Abilities, Aggregate, Caller, Command, Decision, Event, Given, Query, Registry, Snapshotted,
};
use ionveil_journal::codec::{self, DecodeError};
use ionveil_journal::{Fold, Journal, LocalJournal, StreamId, StreamKind};

use appends::Payloads;

/// What a host with many callers is advised to take (README.md, "Embed it"). Whatever is measured beside gets it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Counts what it is told.
#[derive(Debug, Default)]
pub struct Tally(u64);

#[derive(Debug, Clone, PartialEq)]
pub struct Noted(Vec<u8>);

impl Aggregate for Tally {
    const KIND: StreamKind = StreamKind::new("tally");
    const ABILITIES: Abilities<Self> = Abilities::NONE.with_snapshots();
    type Event = Noted;

    fn evolve(&mut self, event: &Noted) -> Result<(), Corrupt> {
        self.0 += event.0.len() as u64;
        Ok(())
    }
}

impl Event for Noted {
    fn event_type(&self) -> &'static str {
        "noted"
    }

    fn version(&self) -> u16 {
        1
    }

    fn encode(&self) -> Vec<u8> {
        self.0.clone()
    }

    fn decode(_: &str, _: u16, _: u8, payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(Noted(payload.to_vec()))
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

impl Snapshotted for Tally {
    const FOLD: Fold = Fold { schema: 1, version: 1 };

    fn to_snapshot(&self) -> Vec<u8> {
        codec::encode(&self.0)
    }

    fn from_snapshot(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(codec::BINCODE_2, bytes).map(Tally)
    }
}

pub struct Note(pub Vec<u8>);

impl Command<Tally> for Note {
    type Reply = u64;

    fn decide(self, tally: &Tally, _: &Given) -> Result<Decision<Noted, u64>, Error> {
        Ok(Decision { events: vec![Noted(self.0)], reply: tally.0 })
    }
}

pub struct HowMany;

impl Query<Tally> for HowMany {
    type Answer = u64;

    fn answer(self, tally: &Tally, _: &Given) -> Result<u64, Error> {
        Ok(tally.0)
    }
}

/// A random payload for each.
fn payload(payloads: &Payloads, number: u64) -> Vec<u8> {
    payloads.event(number).payload
}

/// So many callers on one thread, each of which sends the next command when it has the reply to the one before, each to
/// entities of its own if there are enough.
pub async fn call<F: Future<Output = ()>>(
    callers: usize,
    entities: usize,
    goes_on: impl Fn(u64) -> bool + Copy + 'static,
    send: impl Fn(usize, u64) -> F + Clone + 'static,
) -> u64 {
    let sent = std::rc::Rc::new(std::cell::Cell::new(0));
    let calling: Vec<_> = (0..callers)
        .map(|caller| {
            let (sent, send) = (std::rc::Rc::clone(&sent), send.clone());
            tokio::task::spawn_local(async move {
                let mut turn = 0;
                while goes_on(sent.get()) {
                    sent.set(sent.get() + 1);
                    let entity = (turn * callers + caller) % (entities / callers * callers).max(entities.min(callers));
                    send(entity % entities, sent.get()).await;
                    turn += 1;
                }
            })
        })
        .collect();
    for caller in calling {
        caller.await.expect("no panic");
    }
    sent.get()
}

fn on_one_thread<R>(future: impl Future<Output = R>) -> R {
    let host = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&host, future)
}

fn send_to(tallies: &Registry<Tally>, entities: usize) -> impl Fn(usize, u64) -> Sending + Clone + use<> {
    let ids: Arc<Vec<String>> = Arc::new((0..entities).map(|number| number.to_string()).collect());
    let (payloads, tallies) = (Arc::new(Payloads::new()), tallies.clone());
    move |entity, number| {
        let reply = tallies.tell(&ids[entity], Note(payload(&payloads, number)), Caller::default());
        Box::pin(async move {
            reply.await.expect("durable");
        })
    }
}

type Sending = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// Durable commands per second.
pub fn note_rate(tallies: &Registry<Tally>, callers: usize, entities: usize, time: Duration) -> f64 {
    // All entities live before it begins, as all streams of the bare journal are known to its caller.
    write_notes(tallies, callers, entities, entities as u64);
    let begin = Instant::now();
    let sent = on_one_thread(call(callers, entities, move |_| begin.elapsed() < time, send_to(tallies, entities)));
    sent as f64 / begin.elapsed().as_secs_f64()
}

pub fn write_notes(tallies: &Registry<Tally>, callers: usize, entities: usize, notes: u64) {
    on_one_thread(call(callers, entities, move |sent| sent < notes, send_to(tallies, entities)));
}

pub fn write_notes_once(tallies: &Registry<Tally>, entities: usize) {
    let tallies = tallies.clone();
    let send = move |_: usize, number: u64| {
        let reply = tallies.tell(&number.to_string(), Note(vec![7; 8]), Caller::default());
        async move { assert!(reply.await.is_ok()) }
    };
    on_one_thread(call(512, entities, move |sent| sent < entities as u64, send));
}

pub fn ask_each(tallies: &Registry<Tally>, entities: usize) {
    let tallies = tallies.clone();
    let send = move |_: usize, number: u64| {
        let reply = tallies.ask(&number.to_string(), HowMany, Caller::default());
        async move { assert!(reply.await.expect("an answer") > 0) }
    };
    on_one_thread(call(512, entities, move |sent| sent < entities as u64, send));
}

/// The same actor without persistence, on as many threads: what actix itself leaves to be reached.
pub struct PlainTally(u64);

impl Actor for PlainTally {
    type Context = actix::Context<Self>;
}

struct PlainNote(Vec<u8>);

impl Message for PlainNote {
    type Result = u64;
}

impl Handler<PlainNote> for PlainTally {
    type Result = u64;

    fn handle(&mut self, note: PlainNote, _: &mut actix::Context<Self>) -> u64 {
        self.0 += note.0.len() as u64;
        self.0
    }
}

/// A system with some actors, which ends with this.
pub struct PlainTallies {
    addrs: Vec<Addr<PlainTally>>,
    system: actix::System,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl PlainTally {
    pub fn start_many(entities: usize) -> PlainTallies {
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runner = actix::System::new();
            runner.block_on(async {
                let threads = std::thread::available_parallelism().map_or(1, usize::from);
                let arbiters: Vec<actix::Arbiter> = (0..threads).map(|_| actix::Arbiter::new()).collect();
                let start = |number: usize| {
                    PlainTally::start_in_arbiter(&arbiters[number % threads].handle(), |_| PlainTally(0))
                };
                let addrs: Vec<Addr<PlainTally>> = (0..entities).map(start).collect();
                let _ = sender.send((addrs, actix::System::current()));
            });
            runner.run().expect("the system runs");
        });
        let (addrs, system) = receiver.recv().expect("the system starts");
        PlainTallies { addrs, system, thread: Some(thread) }
    }
}

impl Drop for PlainTallies {
    fn drop(&mut self) {
        self.system.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic");
        }
    }
}

pub fn plain_rate(tallies: &PlainTallies, callers: usize, time: Duration) -> f64 {
    let (payloads, addrs) = (Arc::new(Payloads::new()), tallies.addrs.clone());
    let entities = addrs.len();
    let send = move |entity: usize, number: u64| {
        let reply = addrs[entity].send(PlainNote(payload(&payloads, number)));
        async move { assert!(reply.await.is_ok()) }
    };
    let begin = Instant::now();
    let sent = on_one_thread(call(callers, entities, move |_| begin.elapsed() < time, send));
    sent as f64 / begin.elapsed().as_secs_f64()
}

/// Microseconds, the median.
pub fn bare_latency(journal: &LocalJournal, payloads: &Payloads, time: Duration) -> f64 {
    let stream: StreamId = "tally/0".parse().expect("a stream");
    let mut expected = 0;
    median_latency(time, || {
        let outcome = journal.append(payloads.append(&stream, expected, expected..expected + 1));
        assert!(matches!(outcome, ionveil_journal::Outcome::Committed(_)), "{outcome:?}");
        expected += 1;
    })
}

pub fn note_latency(tallies: &Registry<Tally>, time: Duration) -> f64 {
    let payloads = Payloads::new();
    let mut number = 0;
    median_latency(time, || {
        number += 1;
        wait(tallies.tell("0", Note(payload(&payloads, number)), Caller::default())).expect("durable");
    })
}

fn median_latency(time: Duration, mut call: impl FnMut()) -> f64 {
    let begin = Instant::now();
    let mut took = Vec::new();
    while begin.elapsed() < time {
        let begin = Instant::now();
        call();
        took.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    appends::median(took)
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Drives a future on this thread.
pub fn wait<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// What this process takes of the machine's memory.
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).map_or(0, |kib| kib * 1_024)
}
