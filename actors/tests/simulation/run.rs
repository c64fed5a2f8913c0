//! One run: what happens, by the seed, and what is checked.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ionveil_actors::domain::Timestamp;
use ionveil_actors::error::{Error, Kind};
use ionveil_actors::runtime::{Caller, Clock, Limits, ManualClock, Registry, Reply, Runtime};
use ionveil_journal::testing::{Fault, FaultyStore, Random};
use ionveil_journal::{Journal, LocalJournal, Position, SnapshotCriteria};
use uuid::Uuid;

use crate::counter::{Add, Counter, Panic, Total};
use crate::journal::SlowJournal;
use crate::model::Model;
use crate::reminder::{Deliver, Look, Outside, Reminder, Schedule, UNHEARD};

const STEPS: usize = 120;
/// Counters and reminders have the same ids; `all` is the counter that every reminder follows.
const IDS: [&str; 4] = ["a", "b", "c", "all"];
const START: &str = "2026-03-01T12:00:00Z";
/// Polls that any chain of messages inside the runtime needs at most before it waits for the journal or the clock.
const POLLS: usize = 40;

/// What the runs came across, so that nobody takes a run without faults for a proof.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Met {
    steps: u64,
    acknowledged: u64,
    refused: u64,
    overloaded: u64,
    unknown: u64,
    retried: u64,
    retries_answered: u64,
    answers: u64,
    crashes: u64,
    power_cuts: u64,
    failed_writes: u64,
    panics: u64,
    passivations: u64,
    recoveries: u64,
    snapshots: u64,
    rings: u64,
    late_rings: u64,
    heard: u64,
    effects: u64,
    effects_again: u64,
    clock_set_back: u64,
}

impl Met {
    pub(crate) fn add(&mut self, other: &Met) {
        let [mine, others] = [self.clone(), other.clone()].map(Met::into_array);
        let mut sums = mine.into_iter().zip(others).map(|(mine, other)| mine + other);
        *self = Met::from_next(|| sums.next().expect("as many as fields"));
    }

    pub(crate) fn assert_everything_happened(&self) {
        assert!(self.clone().into_array().iter().all(|count| *count > 0), "not everything happens: {self:?}");
    }
}

/// The fields in order, once for all.
macro_rules! fields {
    ($($field:ident),*) => {
        impl Met {
            fn into_array(self) -> Vec<u64> {
                vec![$(self.$field),*]
            }

            fn from_next(mut next: impl FnMut() -> u64) -> Self {
                Met { $($field: next()),* }
            }
        }
    };
}

fields!(
    steps,
    acknowledged,
    refused,
    overloaded,
    unknown,
    retried,
    retries_answered,
    answers,
    crashes,
    power_cuts,
    failed_writes,
    panics,
    passivations,
    recoveries,
    snapshots,
    rings,
    late_rings,
    heard,
    effects,
    effects_again,
    clock_set_back
);

/// Everything that runs and goes with a crash.
struct World {
    journal: Arc<SlowJournal>,
    runtime: Arc<Runtime>,
    counters: Registry<Counter>,
    reminders: Registry<Reminder>,
    waiting: Vec<Waiting>,
}

/// A message without a reply so far, with what was acknowledged when it was sent.
enum Waiting {
    Add { id: &'static str, by: i64, command: Option<Uuid>, known: usize, reply: Reply<i64> },
    Total { id: &'static str, known: usize, reply: Reply<i64> },
    Schedule { id: &'static str, at: Timestamp, reply: Reply<usize> },
    Look { id: &'static str, heard: usize, reply: Reply<Reminder> },
    Panics(Reply<()>),
}

struct Run {
    random: Random,
    store: FaultyStore,
    clock: Arc<ManualClock>,
    outside: Outside,
    world: World,
    met: Met,
    /// The next amount: each is added once, so that every event can be told from every other.
    next: i64,
    /// Amounts that were acknowledged, by counter.
    acknowledged: BTreeMap<&'static str, BTreeSet<i64>>,
    /// Commands that may be sent again: whose, what, and the first answer if it came.
    commands: Vec<(&'static str, i64, Uuid, Option<i64>)>,
    /// Instants whose scheduling was acknowledged, by reminder.
    scheduled: BTreeMap<&'static str, BTreeSet<Timestamp>>,
    is_poisoned: bool,
}

pub(crate) async fn run(seed: u64) -> Met {
    let store = FaultyStore::default();
    let clock = Arc::new(ManualClock::new(START.parse().expect("an instant")));
    let outside = Outside::default();
    let mut random = Random::new(seed);
    let world = open(&store, &clock, &outside, &mut random);
    let mut run = Run {
        random,
        store,
        clock,
        outside,
        world,
        met: Met::default(),
        next: 1,
        acknowledged: BTreeMap::new(),
        commands: Vec::new(),
        scheduled: BTreeMap::new(),
        is_poisoned: false,
    };
    for _ in 0..STEPS {
        run.step().await;
        run.met.steps += 1;
        run.take_replies();
    }
    run.end().await;
    run.met
}

/// Opens the journal on what the disk holds, and starts everything anew.
fn open(store: &FaultyStore, clock: &Arc<ManualClock>, outside: &Outside, random: &mut Random) -> World {
    let journal = SlowJournal::new(LocalJournal::on(store.clone()).expect("what a crash leaves can be opened"));
    let limits = Limits {
        threads: 1,
        entity_messages_max: 6,
        system_messages_max: 40,
        entities_live_max: 1 + random.below(8),
        idle_after: Duration::from_secs(30),
        recoveries_max: 1 + random.below(3),
        snapshot_events: 1 + random.below(20) as u64,
    };
    let runtime = Runtime::on_this_thread(Arc::clone(&journal) as _, Arc::clone(clock) as _, limits);
    let counters = Registry::new(&runtime);
    let reminders = Registry::with_effects(&runtime, outside.clone());
    drop(runtime.start_background());
    World { journal, runtime, counters, reminders, waiting: Vec::new() }
}

/// The reply, if it has come.
fn taken<R>(reply: &mut Reply<R>) -> Option<Result<R, Error>> {
    match Pin::new(reply).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(reply) => Some(reply),
        Poll::Pending => None,
    }
}

async fn polls(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

impl Run {
    async fn step(&mut self) {
        let id = IDS[self.random.below(IDS.len())];
        match self.random.below(100) {
            0..24 => self.add(id),
            24..30 => self.add_again(),
            30..36 => {
                let known = self.known(id);
                let reply = self.world.counters.ask(id, Total, Caller::default());
                self.world.waiting.push(Waiting::Total { id, known, reply });
            }
            36..46 => self.schedule(id),
            46..52 => {
                let heard = self.model().may_be_heard(id).len();
                let reply = self.world.reminders.ask(id, Look, Caller::default());
                self.world.waiting.push(Waiting::Look { id, heard, reply });
            }
            52 => {
                let reply = self.world.counters.tell(id, Panic, Caller::default());
                self.world.waiting.push(Waiting::Panics(reply));
            }
            53..60 => self.world.runtime.tick(),
            60..74 => {
                let count = 1 + self.random.below(4);
                self.world.journal.go_on(count);
            }
            74..86 => polls(1 + self.random.below(6)).await,
            86..92 => {
                let seconds = [0, 1, 10, 45, 3_600][self.random.below(5)];
                self.clock.advance(Duration::from_millis(1 + 1_000 * seconds));
            }
            92 => {
                let back = self.clock.now().saturating_add_micros(-1_000_000 * (1 + self.random.below(100) as i64));
                self.clock.set(back);
                self.met.clock_set_back += 1;
            }
            93 => {
                let mut outside = self.outside.0.lock().expect("no panic while it is held");
                outside.failing = self.random.below(3);
                outside.panicking = self.random.below(2);
            }
            94 => {
                let id = format!("{}/{id}", ["counter", "reminder"][self.random.below(2)]).parse().expect("a stream");
                let deleted = self.world.journal.delete_snapshots(&id, &SnapshotCriteria::ALL);
                assert!(deleted.is_ok() || self.is_poisoned, "{deleted:?}");
            }
            95 => {
                let max = [0, 2, usize::MAX][self.random.below(3)];
                self.world.journal.set_waiting_max(max);
            }
            96 => self.fail_a_write(),
            97 | 98 => self.settle().await,
            _ => self.crash().await,
        }
        // A disk without power cannot be read, not even by this.
        if self.is_poisoned && (self.random.chance(6) || self.is_off()) {
            self.crash().await;
        }
    }

    fn is_off(&self) -> bool {
        self.world.journal.read_all(Position::FIRST, Position::MAX, &mut |_| ControlFlow::Continue(())).is_err()
    }

    /// What is known to be durable of a counter.
    fn known(&self, id: &str) -> usize {
        self.model().totals(id).len() - 1
    }

    fn model(&self) -> Model {
        let model = Model::read(self.world.journal.as_ref());
        for (id, acknowledged) in &self.acknowledged {
            let added = model.added.get(*id);
            for by in acknowledged {
                assert!(added.is_some_and(|added| added.contains(by)), "{by} was acknowledged by {id} and is gone");
            }
        }
        let delivered = self.outside.0.lock().expect("no panic while it is held");
        for (id, _, due) in &delivered.all {
            assert!(model.rung(id).contains(due), "an effect of {id} for {due} ran ahead of its event");
        }
        drop(delivered);
        model
    }

    fn add(&mut self, id: &'static str) {
        let by = if self.random.chance(8) { UNHEARD } else { self.next };
        self.next += 1;
        // Events that lead to nothing look all alike, so they cannot be found again.
        let command = (by != UNHEARD && self.random.chance(2)).then(|| Uuid::from_u128(self.next as u128));
        if let Some(command) = command {
            self.commands.push((id, by, command, None));
        }
        self.send_add(id, by, command);
    }

    fn add_again(&mut self) {
        if self.commands.is_empty() {
            return;
        }
        let (id, by, command, _) = self.commands[self.random.below(self.commands.len())];
        self.met.retried += 1;
        self.send_add(id, by, Some(command));
    }

    fn send_add(&mut self, id: &'static str, by: i64, command: Option<Uuid>) {
        let caller = Caller { command_id: command, ..Caller::default() };
        let known = self.known(id);
        let reply = self.world.counters.tell(id, Add(by), caller);
        self.world.waiting.push(Waiting::Add { id, by, command, known, reply });
    }

    fn schedule(&mut self, id: &'static str) {
        let at = self.clock.now().saturating_add_micros(1_000_000 * self.random.below(200) as i64 + self.next);
        self.next += 1;
        let reply = self.world.reminders.tell(id, Schedule(at), Caller::default());
        self.world.waiting.push(Waiting::Schedule { id, at, reply });
    }

    fn fail_a_write(&mut self) {
        let fault = match self.random.below(5) {
            0 => Fault::Nothing,
            1 => Fault::Half,
            2 => Fault::NotSynced,
            3 => Fault::PowerCut(self.random.next_u64()),
            _ => Fault::All,
        };
        self.store.fail_write(self.store.writes() + 1 + self.random.below(4) as u64, fault);
        self.is_poisoned = true;
    }

    /// Takes the replies that have come, and checks each against what the journal says.
    fn take_replies(&mut self) {
        let waiting = std::mem::take(&mut self.world.waiting);
        let mut model = None;
        for mut it in waiting {
            let is_over = self.take_reply(&mut it, &mut model);
            if !is_over {
                self.world.waiting.push(it);
            }
        }
    }

    fn take_reply(&mut self, waiting: &mut Waiting, model: &mut Option<Model>) -> bool {
        match waiting {
            Waiting::Add { id, by, command, known, reply } => {
                let Some(reply) = taken(reply) else { return false };
                let Some(total) = self.accepted(reply) else { return true };
                let model = model.get_or_insert_with(|| self.model());
                let totals = model.totals(id);
                if *by != UNHEARD {
                    let place = model.added[*id].iter().position(|added| added == by);
                    let place = place.unwrap_or_else(|| panic!("{by} is acknowledged by {id} and not there")) + 1;
                    assert_eq!(total, totals[place], "the reply of {id} to {by} is not what the events say");
                    self.acknowledged.entry(id).or_default().insert(*by);
                } else {
                    assert!(totals[*known..].contains(&total), "{id} replied {total}, which it never was");
                }
                if let Some(command) = command
                    && let Some((.., first)) = self.commands.iter_mut().find(|it| it.2 == *command)
                {
                    if let Some(first) = first {
                        assert_eq!(total, *first, "a retry got another answer than the first");
                        self.met.retries_answered += 1;
                    }
                    *first = Some(total);
                }
                self.met.acknowledged += 1;
            }
            Waiting::Total { id, known, reply } => {
                let Some(reply) = taken(reply) else { return false };
                let Some(total) = self.accepted(reply) else { return true };
                let totals = model.get_or_insert_with(|| self.model()).totals(id);
                assert!(
                    totals[*known..].contains(&total),
                    "{id} is {total}, which it is not since the question: {totals:?}"
                );
                self.met.answers += 1;
            }
            Waiting::Schedule { id, at, reply } => {
                let Some(reply) = taken(reply) else { return false };
                if self.accepted(reply).is_some() {
                    self.scheduled.entry(id).or_default().insert(*at);
                    self.met.acknowledged += 1;
                }
            }
            Waiting::Look { id, heard, reply } => {
                let Some(reply) = taken(reply) else { return false };
                let Some(seen) = self.accepted(reply) else { return true };
                let model = model.get_or_insert_with(|| self.model());
                let all = model.may_be_heard(id);
                assert!(all.starts_with(&seen.heard), "{id} shows {:?} of {all:?}", seen.heard);
                assert!(seen.heard.len() >= *heard, "{id} has not heard what was durable before it was asked");
                let durable = model.reminders.get(*id).cloned().unwrap_or_default();
                assert!(durable.rings.starts_with(&seen.rings), "{id} tells of rings that are not durable");
                self.met.answers += 1;
            }
            Waiting::Panics(reply) => {
                let Some(reply) = taken(reply) else { return false };
                assert!(reply.is_err());
                self.met.panics += 1;
            }
        }
        true
    }

    fn accepted<R>(&mut self, reply: Result<R, Error>) -> Option<R> {
        match reply {
            Ok(reply) => return Some(reply),
            Err(Error::Unavailable { outcome_known: false, .. }) => self.met.unknown += 1,
            Err(error) => match error.kind() {
                Kind::Overloaded => self.met.overloaded += 1,
                Kind::Unavailable => self.met.refused += 1,
                Kind::Invalid => {}
                _ => panic!("{error}"),
            },
        }
        None
    }

    /// The process dies, with or without the machine, and comes back.
    async fn crash(&mut self) {
        self.met.crashes += 1;
        self.count_metrics();
        self.world.journal.vanish();
        if self.random.chance(2) || self.is_poisoned {
            self.store.cut_power(self.random.next_u64());
            self.met.power_cuts += 1;
        }
        self.store.fail_no_more();
        self.store.start();
        // What still runs of the old process meets a journal that is gone.
        let world = open(&self.store, &self.clock, &self.outside, &mut self.random);
        let mut old = std::mem::replace(&mut self.world, world);
        polls(POLLS).await;
        self.is_poisoned = false;
        let waiting = std::mem::take(&mut old.waiting);
        drop(old);
        polls(POLLS).await;
        self.verify();
        // What was said before the crash holds after it.
        let fresh = std::mem::replace(&mut self.world.waiting, waiting);
        self.take_replies();
        self.world.waiting = fresh;
    }

    fn count_metrics(&mut self) {
        let metrics = self.world.runtime.metrics();
        self.met.passivations += metrics.passivations;
        self.met.recoveries += metrics.recoveries;
        self.met.snapshots += metrics.snapshots;
        self.met.failed_writes += metrics.commits_failed;
        assert_eq!(metrics.faults, 0, "an entity broke its own rules");
        assert_eq!(self.world.runtime.quarantined(), [], "nothing is ever corrupt");
    }

    fn verify(&self) {
        let report = self.world.journal.verify(None, &mut |_| {}).expect("it can be read");
        assert!(report.is_ok(), "the chain is not intact: {report:?}");
        self.model();
    }

    /// Lets everything happen that can happen without the clock.
    async fn settle(&mut self) {
        let mut quiet = 0;
        let mut rounds = 0;
        while quiet < 3 {
            rounds += 1;
            assert!(rounds < 2_000, "it does not come to rest: {:?}", self.world.runtime.metrics());
            self.world.runtime.tick();
            polls(POLLS).await;
            quiet = if self.world.journal.waiting() == 0 { quiet + 1 } else { 0 };
            self.world.journal.go_on(usize::MAX);
        }
    }

    /// Mends everything, lets all timers ring and all effects be done, and checks the whole.
    async fn end(&mut self) {
        self.crash().await;
        {
            let mut outside = self.outside.0.lock().expect("no panic while it is held");
            (outside.failing, outside.panicking) = (0, 0);
        }
        for _ in 0..12 {
            self.settle().await;
            self.take_replies();
            self.clock.advance(Duration::from_secs(60));
        }
        assert!(self.world.waiting.is_empty(), "{} replies never came", self.world.waiting.len());
        let model = self.model();
        for (id, scheduled) in &self.scheduled {
            let rung = model.rung(id);
            for at in scheduled {
                assert!(rung.contains(at), "{id} was to ring at {at} and did not");
            }
        }
        let delivered = std::mem::take(&mut self.outside.0.lock().expect("no panic while it is held").all);
        let mut states = BTreeMap::new();
        for id in IDS {
            let seen = self.ask_now(|world| world.reminders.ask(id, Look, Caller::default())).await;
            // Only now: one that nobody has asked so far hears of what all follow when it is asked.
            let model = self.model();
            let expected = model.reminders.get(id).cloned().unwrap_or_default();
            assert_eq!(seen, expected, "{id} is not what its events say");
            assert_eq!(seen.heard, model.may_be_heard(id), "{id} has not heard everything");
            assert!(seen.undelivered.is_empty() && seen.scheduled.is_empty(), "{id} has something to do: {seen:?}");
            let total = self.ask_now(|world| world.counters.ask(id, Total, Caller::default())).await;
            assert_eq!(Some(&total), model.totals(id).last(), "{id} is not what its events say");
            for ring in &seen.rings {
                let times = delivered.iter().filter(|(of, _, due)| of == id && *due == ring.due).count();
                assert!(times > 0, "{id} never told anybody of {}", ring.due);
                self.met.effects += 1;
                self.met.effects_again += times as u64 - 1;
                self.met.late_rings += u64::from(ring.at.as_micros() - ring.due.as_micros() > 1_000_000);
            }
            self.met.rings += seen.rings.len() as u64;
            self.met.heard += seen.heard.len() as u64;
            states.insert(id, (seen, total));
        }
        // Without any snapshot everything is as it is.
        for stream in self.world.journal.streams() {
            self.world.journal.delete_snapshots(&stream.stream, &SnapshotCriteria::ALL).expect("deleted");
        }
        self.crash().await;
        self.settle().await;
        for (id, (reminder, total)) in states {
            assert_eq!(self.ask_now(|world| world.reminders.ask(id, Look, Caller::default())).await, reminder);
            assert_eq!(self.ask_now(|world| world.counters.ask(id, Total, Caller::default())).await, total);
        }
        self.count_metrics();
        self.world.journal.vanish();
        polls(POLLS).await;
    }

    async fn ask_now<R>(&mut self, ask: impl Fn(&World) -> Reply<R>) -> R {
        for _ in 0..100 {
            let mut reply = ask(&self.world);
            self.settle().await;
            match taken(&mut reply).expect("everything is settled") {
                Ok(answer) => return answer,
                // It failed just before the crash; its time to come back is near.
                Err(error) => self.clock.advance(error.retry_after().unwrap_or(Duration::from_secs(1))),
            }
        }
        panic!("no answer")
    }
}

// Outcomes of effects come back as this command; the runs look at its events only.
const _: fn(Uuid, bool) -> Deliver = Deliver;
