//! A toy entity, a disk with a gate, a reluctant journal, and a way to wait on a plain thread.

mod counter;
mod disk;
mod reluctant;
mod reminder;
mod unhurried;

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use ionveil_actors::domain::Timestamp;
use ionveil_actors::error::{Error, Kind};
use ionveil_actors::runtime::{Caller, Clock, Limits, ManualClock, Registry, Reply, Runtime};
use ionveil_journal::{Append, Journal, LocalJournal, NewEvent, Origin, Outcome, Position, Sequence, codec};
use uuid::Uuid;

pub(crate) use counter::*;
pub(crate) use disk::{Disk, Failing};
pub(crate) use reluctant::{Reading, Reluctant};
pub(crate) use reminder::*;
pub(crate) use unhurried::Unhurried;

/// Nothing that a test waits for takes nearly as long; then it fails instead of hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const NOW: &str = "2026-03-01T12:00:00Z";

/// A runtime with the counters in it, on a journal on a disk.
pub(crate) struct World {
    pub(crate) disk: Disk,
    pub(crate) journal: Arc<LocalJournal>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) counters: Registry<Counter>,
    pub(crate) reminders: Registry<Reminder>,
    pub(crate) outside: Outside,
    pub(crate) limits: Limits,
}

impl World {
    /// On an empty disk, with one arbiter thread, so that all entities are neighbours.
    pub(crate) fn new() -> Self {
        Self::with(Disk::default(), Limits { threads: 1, ..Limits::default() })
    }

    pub(crate) fn with(disk: Disk, limits: Limits) -> Self {
        let journal = Arc::new(LocalJournal::on(disk.clone()).expect("a sound disk"));
        let (runtime, clock) = runtime_on(Arc::clone(&journal) as Arc<dyn Journal>, limits);
        let counters = Registry::new(&runtime);
        let outside = Outside::default();
        let reminders = Registry::with_effects(&runtime, outside.clone());
        World { disk, journal, clock, runtime, counters, reminders, outside, limits }
    }

    /// The work that nobody asks for begins.
    pub(crate) fn with_background(self) -> Self {
        wait(self.runtime.start_background()).expect("a survey");
        self
    }

    /// Stops everything and starts anew on the same disk.
    pub(crate) fn reopened(self) -> Self {
        assert!(self.runtime.stop(PATIENCE));
        self.journal.close();
        let World { disk, limits, clock, .. } = self;
        let reopened = Self::with(disk, limits);
        reopened.clock.set(clock.now());
        reopened
    }

    pub(crate) fn schedule(&self, id: &str, at: &str) -> Reply<usize> {
        self.reminders.tell(id, Schedule(instant(at)), Caller::default())
    }

    #[track_caller]
    pub(crate) fn look(&self, id: &str) -> Reminder {
        wait(self.reminders.ask(id, Look, Caller::default())).expect("an answer")
    }

    /// Returns when the reminder, which is looked at again and again, is as wished.
    #[track_caller]
    pub(crate) fn await_reminder(&self, id: &str, is_so: impl Fn(&Reminder) -> bool) -> Reminder {
        let mut last = Reminder::default();
        until(&format!("reminder {id} as wished"), || {
            last = self.look(id);
            is_so(&last)
        });
        last
    }

    pub(crate) fn add(&self, id: &str, by: i64) -> Reply<i64> {
        self.counters.tell(id, Add(by), Caller::default())
    }

    pub(crate) fn total(&self, id: &str) -> Reply<i64> {
        self.counters.ask(id, Total, Caller::default())
    }

    /// Returns when the entity has handled everything it was sent before.
    #[track_caller]
    pub(crate) fn let_handle(&self, id: &str) {
        let (sender, receiver) = mpsc::channel();
        drop(self.counters.ask(id, Signal(sender), Caller::default()));
        receiver.recv_timeout(PATIENCE).expect("the entity handles what it was sent");
    }

    /// Writes to a stream past the entity.
    #[track_caller]
    pub(crate) fn foreign(&self, id: &str, expected: u64, event_type: &'static str, by: i64) -> Append {
        foreign(&format!("counter/{id}"), expected, event_type, codec::encode(&by))
    }

    /// Sequence, epoch and type of every event of one counter.
    pub(crate) fn stored(&self, id: &str) -> Vec<(u64, u32, String)> {
        let mut stored = Vec::new();
        let stream = format!("counter/{id}").parse().expect("a stream");
        self.journal
            .read_stream(&stream, Sequence::FIRST, Sequence::MAX, &mut |record| {
                stored.push((record.sequence.get(), record.epoch, record.event_type.to_owned()));
                ControlFlow::Continue(())
            })
            .expect("a sound journal");
        stored
    }
}

#[track_caller]
pub(crate) fn foreign(stream: &str, expected: u64, event_type: &'static str, payload: Vec<u8>) -> Append {
    Append {
        stream: stream.parse().expect("a stream"),
        expected: Sequence::new(expected),
        expected_id: None,
        epoch: 1,
        origin: Origin::default(),
        events: vec![NewEvent {
            id: Uuid::now_v7(),
            event_type: event_type.into(),
            version: 1,
            codec: codec::BINCODE_2,
            payload,
        }],
    }
}

/// Schedules an instant of a reminder past the entity.
#[track_caller]
pub(crate) fn foreign_schedule(journal: &dyn Journal, id: &str, expected: u64, at: &str) {
    let payload = codec::encode(&Reminded::Scheduled(instant(at)));
    let (sender, receiver) = mpsc::channel();
    let done = Box::new(move |outcome| drop(sender.send(outcome)));
    journal.submit(foreign(&format!("reminder/{id}"), expected, "reminded", payload), done).expect("taken");
    let outcome = receiver.recv_timeout(PATIENCE);
    assert!(matches!(outcome, Ok(Outcome::Committed(_))), "{outcome:?}");
}

/// How many are looked after now, in a runtime that does nothing by itself; returns when they are through.
pub(crate) async fn looked_after(runtime: &Runtime) -> usize {
    runtime.tick();
    let looked_after = runtime.metrics().messages_under_way;
    while runtime.metrics().messages_under_way > 0 {
        tokio::task::yield_now().await;
    }
    looked_after
}

pub(crate) fn runtime_on(journal: Arc<dyn Journal>, limits: Limits) -> (Arc<Runtime>, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(NOW.parse().expect("an instant")));
    let runtime = Runtime::start(journal, Arc::clone(&clock) as _, limits).expect("threads");
    (runtime, clock)
}

pub(crate) fn position(number: u64) -> Position {
    Position::new(number)
}

#[track_caller]
pub(crate) fn instant(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

/// Returns when it is so; it is looked at again and again.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it does not come: {what}");
        std::thread::yield_now();
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Drives a future on this thread.
#[track_caller]
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let left = deadline.checked_duration_since(Instant::now()).expect("the reply does not come");
        std::thread::park_timeout(left);
    }
}

/// Whether there is no reply yet.
pub(crate) fn is_pending<R>(reply: &mut Reply<R>) -> bool {
    std::pin::Pin::new(reply).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// Notes in which order replies leave.
#[derive(Default, Clone)]
pub(crate) struct Order(Arc<(Mutex<Vec<usize>>, Condvar)>);

struct Note(Order, usize);

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        let (left, changed) = &*self.0.0;
        left.lock().expect("no panic while it is held").push(self.1);
        changed.notify_all();
    }
}

impl Order {
    /// Notes `number` when the reply leaves, which is still to come.
    #[track_caller]
    pub(crate) fn watch<R>(&self, reply: &mut Reply<R>, number: usize) {
        let waker = Waker::from(Arc::new(Note(self.clone(), number)));
        let polled = std::pin::Pin::new(reply).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending(), "reply {number} has left already");
    }

    pub(crate) fn so_far(&self) -> Vec<usize> {
        self.0.0.lock().expect("no panic while it is held").clone()
    }

    /// Waits until so many replies have left. Waiting for one of them would take its note away.
    #[track_caller]
    pub(crate) fn of_all(&self, count: usize) -> Vec<usize> {
        let (left, changed) = &*self.0;
        let left = left.lock().expect("no panic while it is held");
        let waited = changed.wait_timeout_while(left, PATIENCE, |left| left.len() < count);
        waited.expect("no panic while it is held").0.clone()
    }
}

/// What an error says of its outcome: its kind, and whether it is certain that nothing was changed.
pub(crate) fn outcome_of(error: &Error) -> (Kind, Option<bool>) {
    let known = match error {
        Error::Unavailable { outcome_known, .. } => Some(*outcome_known),
        _ => None,
    };
    (error.kind(), known)
}
