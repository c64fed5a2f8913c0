//! Starting entities on demand and asking them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use actix::{Actor, Addr};
use ionveil_journal::{Journal, Position, StreamId};
use tokio::sync::oneshot;

use super::aggregate::{Aggregate, Caller, Command, Given, Query};
use super::clock::Clock;
use super::entity::{Entity, Job, ReplyTo, unavailable};
use super::gate::{Gate, Refused};
use super::replay::replay;
use super::threads::Threads;
use crate::error::Error;

/// Bounds on what may be under way. Beyond them askers are told `overloaded`; nothing queues without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Arbiter threads that entities live on.
    pub threads: usize,
    /// Most messages under way to one entity.
    pub entity_messages_max: usize,
    /// Most messages under way in the whole runtime.
    pub system_messages_max: usize,
}

impl Default for Limits {
    /// One thread per core, 1,024 messages per entity, 65,536 in all.
    fn default() -> Self {
        Limits {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            entity_messages_max: 1_024,
            system_messages_max: 65_536,
        }
    }
}

/// What a caller who finds a queue full is told to wait.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// Threads that have nothing to do get this long to end, also when the time for draining is up.
const JOIN_MIN: Duration = Duration::from_millis(100);

/// The threads, the journal and the clock that all entities share.
pub struct Runtime {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    limits: Limits,
    gate: Arc<Gate>,
    threads: Mutex<Threads>,
    hasher: RandomState,
}

impl Runtime {
    /// Starts the runtime's threads. No entity is started yet.
    ///
    /// # Errors
    /// When the operating system gives no threads.
    pub fn start(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>, limits: Limits) -> io::Result<Arc<Self>> {
        let threads = Mutex::new(Threads::start(limits.threads.max(1))?);
        let gate = Gate::new(limits.system_messages_max);
        Ok(Arc::new(Runtime { journal, clock, limits, gate, threads, hasher: RandomState::new() }))
    }

    /// Lets nobody in any more, waits until everything under way has its reply (false when that took longer than
    /// `timeout`), then stops all actors and joins all threads; what is still at work then is left to end by itself. Does
    /// nothing the second time.
    pub fn stop(&self, timeout: Duration) -> bool {
        let begin = Instant::now();
        let drained = self.gate.close(timeout);
        let left = timeout.saturating_sub(begin.elapsed()).max(JOIN_MIN);
        let ended = self.threads.lock().unwrap_or_else(PoisonError::into_inner).stop(left);
        drained && ended
    }

    /// Does work that may block, such as reading much of the journal, on a thread apart from those of the entities.
    ///
    /// # Errors
    /// What `work` says, `overloaded` when the system's queue is full, `unavailable` when it is shutting down.
    pub fn run_blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<R, Error> + Send + 'static,
    ) -> Reply<R> {
        let (sender, receiver) = oneshot::channel();
        let started = self.gate.enter().map_err(|refused| refusal("the system's queue", refused)).map(|pass| {
            let work = move || {
                let result = work();
                drop(pass);
                // An asker that went away wants no result.
                let _ = sender.send(result);
            };
            let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
            threads.apart().spawn(async move {
                tokio::task::spawn_blocking(work);
            });
        });
        Reply(started.map(|()| receiver).map_err(Some))
    }

    /// The bounds it was started with.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The journal that everything is in.
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    fn start_entity<A: Aggregate>(&self, stream: &StreamId) -> Addr<Entity<A>> {
        let entity = Entity::new(stream.clone(), Arc::clone(&self.journal), Arc::clone(&self.clock));
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        Entity::start_in_arbiter(threads.arbiter(self.hasher.hash_one(stream)), |_| entity)
    }
}

/// The entities of one kind, by id. Cheap to clone.
pub struct Registry<A: Aggregate> {
    runtime: Arc<Runtime>,
    entities: Arc<Mutex<HashMap<StreamId, Slot<A>>>>,
}

struct Slot<A: Aggregate> {
    addr: Addr<Entity<A>>,
    gate: Arc<Gate>,
}

impl<A: Aggregate> Clone for Registry<A> {
    fn clone(&self) -> Self {
        Registry { runtime: Arc::clone(&self.runtime), entities: Arc::clone(&self.entities) }
    }
}

impl<A: Aggregate> Registry<A> {
    /// The entities of this kind in `runtime`. There is to be one registry per kind and runtime.
    pub fn new(runtime: &Arc<Runtime>) -> Self {
        Registry { runtime: Arc::clone(runtime), entities: Arc::default() }
    }

    /// Sends a command to one entity. The future may be driven by any executor; the command is on its way when this
    /// returns, whether or not the future is polled.
    ///
    /// # Errors
    /// The entity's refusal, `overloaded` when a queue is full, `unavailable` when the events could not be written or the
    /// system is shutting down, `corrupt` when the entity cannot be rebuilt.
    pub fn tell<C: Command<A>>(&self, id: &str, command: C, caller: Caller) -> Reply<C::Reply> {
        self.post(id, move |to| Job::command(command, caller, to))
    }

    /// Asks one entity. As [`Registry::tell`], but changes nothing.
    ///
    /// # Errors
    /// As [`Registry::tell`].
    pub fn ask<Q: Query<A>>(&self, id: &str, query: Q, caller: Caller) -> Reply<Q::Answer> {
        match stream_of::<A>(id) {
            Ok(stream) if self.is_unheard_of(&stream) => {
                // Nothing is known, so no actor is needed to say so, and none is left behind by whoever asks.
                let given = Given { now: self.runtime.clock.now(), caller };
                self.runtime.run_blocking(move || query.answer(&A::default(), &given))
            }
            _ => self.post(id, move |to| Job::query(query, caller, to)),
        }
    }

    fn is_unheard_of(&self, stream: &StreamId) -> bool {
        let entities = self.entities.lock().unwrap_or_else(PoisonError::into_inner);
        !entities.contains_key(stream) && self.runtime.journal.stream_head(stream).is_none()
    }

    /// Asks one entity as it was known at a past position of the journal, without disturbing the live one: a copy is
    /// rebuilt from the stream's events up to there.
    ///
    /// # Errors
    /// As [`Registry::tell`].
    pub fn ask_at<Q: Query<A>>(&self, id: &str, position: Position, query: Q, caller: Caller) -> Reply<Q::Answer> {
        let runtime = Arc::clone(&self.runtime);
        let stream = stream_of::<A>(id);
        self.runtime.run_blocking(move || {
            let given = Given { now: runtime.clock.now(), caller };
            let replayed = replay::<A>(runtime.journal.as_ref(), &stream?, position)?;
            query.answer(&replayed.state, &given)
        })
    }

    fn post<R>(&self, id: &str, job: impl FnOnce(ReplyTo<R>) -> Job<A>) -> Reply<R> {
        let (sender, receiver) = oneshot::channel();
        let posted = stream_of::<A>(id).and_then(|stream| {
            let in_system = self.runtime.gate.enter().map_err(|refused| refusal("the system's queue", refused))?;
            let mut entities = self.entities.lock().unwrap_or_else(PoisonError::into_inner);
            if entities.get(&stream).is_none_or(|slot| !slot.addr.connected()) {
                let addr = self.runtime.start_entity(&stream);
                let gate = Gate::new(self.runtime.limits.entity_messages_max);
                entities.insert(stream.clone(), Slot { addr, gate });
            }
            let slot = &entities[&stream];
            let in_entity = slot.gate.enter().map_err(|refused| refusal("the entity's queue", refused))?;
            // `do_send` passes over the mailbox's own bound; the gates are the bound, and they count until the reply.
            slot.addr.do_send(job(ReplyTo { passes: [in_system, in_entity], sender }));
            Ok(())
        });
        Reply(posted.map(|()| receiver).map_err(Some))
    }
}

fn stream_of<A: Aggregate>(id: &str) -> Result<StreamId, Error> {
    Ok(StreamId::new(A::KIND, id)?)
}

fn refusal(queue: &'static str, refused: Refused) -> Error {
    match refused {
        Refused::Full { max } => Error::Overloaded { queue, len_max: max, retry_after: RETRY_AFTER },
        Refused::Closed => unavailable("the system is shutting down", true),
    }
}

/// The reply to a message that is already on its way: a future that any executor can drive, or that may be dropped.
#[must_use = "a message is on its way without it, but nobody hears of a refusal"]
pub struct Reply<R>(Result<oneshot::Receiver<Result<R, Error>>, Option<Error>>);

impl<R> Future for Reply<R> {
    type Output = Result<R, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Ok(receiver) => Pin::new(receiver).poll(context).map(|reply| {
                // A reply that was dropped: the handler panicked, or the actor was stopped before it was done.
                reply.unwrap_or_else(|_| Err(unavailable("the entity failed before it replied", false)))
            }),
            Err(refused) => Poll::Ready(Err(refused.take().expect("a future is not polled after it is ready"))),
        }
    }
}
