//! The actor around one entity. The only file that knows actix's contexts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use ionveil_journal::{Append, Journal, NewEvent, Origin, Outcome, Position, StreamId, codec};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::aggregate::{Aggregate, Caller, Command, Decision, Event, Given, Query};
use super::clock::Clock;
use super::gate::Pass;
use super::replay::{Replayed, replay};
use crate::error::{Error, Kind};

/// Where an asker gets the reply, and the passes that are given back with it.
pub(super) struct ReplyTo<R> {
    /// First, so that they are given back before the asker hears of it, also when a panic drops this.
    pub(super) passes: [Pass; 2],
    pub(super) sender: oneshot::Sender<Result<R, Error>>,
}

impl<R> ReplyTo<R> {
    fn send(self, reply: Result<R, Error>) {
        // Passes first: an asker that has its reply finds the gate as it left it.
        drop(self.passes);
        // An asker that went away wants no reply; what it asked for has happened all the same.
        let _ = self.sender.send(reply);
    }
}

/// One message to the entity, with the types of its reply put away.
pub(super) struct Job<A: Aggregate>(Work<A>);

type Work<A> = Box<dyn FnOnce(&mut Entity<A>) + Send>;

impl<A: Aggregate> Message for Job<A> {
    type Result = ();
}

impl<A: Aggregate> Job<A> {
    pub(super) fn command<C: Command<A>>(command: C, caller: Caller, to: ReplyTo<C::Reply>) -> Self {
        Job(Box::new(move |entity| entity.command(command, caller, to)))
    }

    pub(super) fn query<Q: Query<A>>(query: Q, caller: Caller, to: ReplyTo<Q::Answer>) -> Self {
        Job(Box::new(move |entity| entity.query(query, caller, to)))
    }
}

/// One entity, alive.
pub(super) struct Entity<A: Aggregate> {
    stream: StreamId,
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    stage: Stage<A>,
    writes: Arc<Writes>,
    /// As many failed writes as this incarnation has taken notice of.
    failures_seen: u64,
}

/// The stages of its life. From `Ready` it falls back to `Unloaded` when a handler panics; after a failed write it counts
/// as unloaded too.
enum Stage<A> {
    Unloaded,
    Ready(Replayed<A>),
    /// It could not be rebuilt, and says why. When its stream is corrupt it stays so; else the next message tries again.
    Refusing(Error),
}

/// What the journal's writer thread tells the entity.
#[derive(Default)]
struct Writes {
    under_way: AtomicU64,
    failed: AtomicU64,
}

impl<A: Aggregate> Entity<A> {
    pub(super) fn new(stream: StreamId, journal: Arc<dyn Journal>, clock: Arc<dyn Clock>) -> Self {
        let writes = Arc::default();
        Entity { stream, journal, clock, stage: Stage::Unloaded, writes, failures_seen: 0 }
    }

    fn needs_loading(&self) -> bool {
        let is_settled = match &self.stage {
            Stage::Unloaded => false,
            Stage::Ready(_) => true,
            Stage::Refusing(error) => error.kind() == Kind::Corrupt,
        };
        !is_settled || self.writes.failed.load(Ordering::Acquire) != self.failures_seen
    }

    fn run(&mut self, job: Job<A>) {
        // A handler that panics has dropped its reply, so its asker knows; the state it left is not to be trusted.
        if catch_unwind(AssertUnwindSafe(|| (job.0)(self))).is_err() {
            tracing::error!(stream = %self.stream, "a handler panicked; the entity is rebuilt from the journal");
            self.stage = Stage::Unloaded;
        }
    }

    fn given(&self, caller: Caller) -> Given {
        Given { now: self.clock.now(), caller }
    }

    fn query<Q: Query<A>>(&mut self, query: Q, caller: Caller, to: ReplyTo<Q::Answer>) {
        let given = self.given(caller);
        let answer = match &self.stage {
            Stage::Ready(ready) => query.answer(&ready.state, &given),
            Stage::Refusing(error) => Err(error.clone()),
            Stage::Unloaded => unreachable!("a job runs only after loading"),
        };
        self.send_when_durable(answer, to);
    }

    fn command<C: Command<A>>(&mut self, command: C, caller: Caller, to: ReplyTo<C::Reply>) {
        let given = self.given(caller);
        let ready = match &mut self.stage {
            Stage::Ready(ready) => ready,
            Stage::Refusing(error) => return to.send(Err(error.clone())),
            Stage::Unloaded => unreachable!("a job runs only after loading"),
        };
        let Decision { events, reply } = match command.decide(&ready.state, &given) {
            Ok(decision) if decision.events.is_empty() => return self.send_when_durable(Ok(decision.reply), to),
            Ok(decision) => decision,
            Err(refusal) => return self.send_when_durable(Err(refusal), to),
        };
        let append = append_of(&self.stream, ready, &given.caller, &events);
        let last_id = append.events.last().map(|event| event.id);
        let waiting = Waiting::new((reply, to));
        let done = {
            let waiting = waiting.clone();
            let writes = Arc::clone(&self.writes);
            Box::new(move |outcome| {
                let failure = failure_of(outcome);
                if failure.is_some() {
                    writes.failed.fetch_add(1, Ordering::AcqRel);
                }
                if let Some((reply, to)) = waiting.take() {
                    to.send(failure.map_or(Ok(reply), Err));
                }
                // Only now, so that an answer that finds nothing under way cannot overtake this reply.
                writes.under_way.fetch_sub(1, Ordering::AcqRel);
            })
        };
        self.writes.under_way.fetch_add(1, Ordering::AcqRel);
        match self.journal.submit(append, done) {
            // From here on the entity goes on as if the events were durable; nobody hears of them before they are.
            Ok(()) => {
                ready.sequence = ready.sequence.plus(events.len() as u64);
                ready.last_id = last_id;
                if let Some(corrupt) = events.iter().find_map(|event| ready.state.evolve(event).err()) {
                    tracing::error!(stream = %self.stream, %corrupt, "decide wrote what evolve does not take");
                    self.stage = Stage::Unloaded;
                }
            }
            // Nothing was written and nothing evolved: no reason to rebuild, and nobody else's reply hangs on it.
            Err(error) => {
                self.writes.under_way.fetch_sub(1, Ordering::AcqRel);
                if let Some((_, to)) = waiting.take() {
                    to.send(Err(error.into()));
                }
            }
        }
    }

    /// Sends what depends on the present state, at once if that is durable, else as soon as it is.
    fn send_when_durable<R: Send + 'static>(&self, reply: Result<R, Error>, to: ReplyTo<R>) {
        let writes = Arc::clone(&self.writes);
        let failures_seen = self.failures_seen;
        let checked = move |reply: Result<R, Error>| {
            if writes.failed.load(Ordering::Acquire) == failures_seen {
                reply
            } else {
                Err(unavailable("events that this answer depends on could not be written", true))
            }
        };
        if self.writes.under_way.load(Ordering::Acquire) == 0 {
            return to.send(checked(reply));
        }
        let waiting = Waiting::new((reply, to));
        let done = {
            let waiting = waiting.clone();
            Box::new(move |durable: Result<_, ionveil_journal::Error>| {
                if let Some((reply, to)) = waiting.take() {
                    to.send(durable.map_err(Error::from).and_then(|_| checked(reply)));
                }
            })
        };
        if let Err(error) = self.journal.when_durable(done)
            && let Some((_, to)) = waiting.take()
        {
            to.send(Err(error.into()));
        }
    }
}

/// A reply that the journal's writer will send, or the entity itself when the journal does not take the request.
struct Waiting<T>(Arc<Mutex<Option<T>>>);

impl<T> Waiting<T> {
    fn new(value: T) -> Self {
        Waiting(Arc::new(Mutex::new(Some(value))))
    }

    fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<T> Clone for Waiting<T> {
    fn clone(&self) -> Self {
        Waiting(Arc::clone(&self.0))
    }
}

/// The events of one decision as the journal takes them. Their ids follow from the command's, so that the journal knows
/// a repeated append by them.
fn append_of<A: Aggregate>(stream: &StreamId, ready: &Replayed<A>, caller: &Caller, events: &[A::Event]) -> Append {
    let command_id = Uuid::now_v7();
    let new_events = events.iter().zip(1..).map(|(event, number)| NewEvent {
        id: nth_id(command_id, number),
        event_type: event.event_type().into(),
        version: event.version(),
        codec: codec::BINCODE_2,
        payload: event.encode(),
    });
    Append {
        stream: stream.clone(),
        expected: ready.sequence,
        expected_id: ready.last_id,
        epoch: ready.epoch,
        origin: Origin {
            principal: caller.principal.clone(),
            correlation_id: caller.correlation_id,
            causation_id: Some(command_id),
        },
        events: new_events.collect(),
    }
}

/// The `number`-th id after a version 7 UUID: its 62 random bits counted on.
fn nth_id(first: Uuid, number: u128) -> Uuid {
    const RANDOM: u128 = (1 << 62) - 1;
    let bits = first.as_u128();
    Uuid::from_u128((bits & !RANDOM) | ((bits + number) & RANDOM))
}

fn failure_of(outcome: Outcome) -> Option<Error> {
    match outcome {
        Outcome::Committed(_) | Outcome::AlreadyCommitted(_) => None,
        Outcome::Conflict { head } => {
            Some(unavailable(&format!("another writer has moved the stream to sequence {head}"), true))
        }
        Outcome::Fenced { epoch } => Some(unavailable(&format!("epoch {epoch} has taken over the stream"), true)),
        Outcome::Rejected(error) => Some(error.into()),
        Outcome::Unknown { cause } => {
            Some(unavailable(&format!("whether the events were written is not known: {cause}"), false))
        }
    }
}

pub(super) fn unavailable(reason: &str, outcome_known: bool) -> Error {
    Error::Unavailable { reason: reason.to_owned(), outcome_known }
}

/// Rebuilds an entity, on a thread that may block, after everything its former self wrote has settled.
async fn load<A: Aggregate>(journal: Arc<dyn Journal>, stream: StreamId) -> Result<Replayed<A>, Error> {
    let (settled, when_settled) = oneshot::channel();
    journal.when_durable(Box::new(move |durable| {
        let _ = settled.send(durable);
    }))?;
    when_settled.await.map_err(|_| unavailable("the journal's writer stopped", true))??;
    let replaying = tokio::task::spawn_blocking(move || replay::<A>(journal.as_ref(), &stream, Position::MAX));
    let mut replayed = replaying.await.map_err(|_| unavailable("replaying the stream panicked", true))??;
    // Each incarnation writes under an epoch of its own; an earlier one that is still about is fenced off.
    replayed.epoch += 1;
    Ok(replayed)
}

impl<A: Aggregate> Actor for Entity<A> {
    type Context = Context<Self>;
}

impl<A: Aggregate> Handler<Job<A>> for Entity<A> {
    type Result = ();

    fn handle(&mut self, job: Job<A>, ctx: &mut Context<Self>) {
        if !self.needs_loading() {
            return self.run(job);
        }
        // Until this future is done the context hands over no further message.
        let loading = load(Arc::clone(&self.journal), self.stream.clone()).into_actor(self);
        ctx.wait(loading.map(move |loaded, entity, _| {
            entity.failures_seen = entity.writes.failed.load(Ordering::Acquire);
            entity.stage = match loaded {
                Ok(replayed) => Stage::Ready(replayed),
                Err(error) => {
                    tracing::error!(stream = %entity.stream, %error, "the entity cannot be rebuilt");
                    Stage::Refusing(error)
                }
            };
            entity.run(job);
        }));
    }
}
