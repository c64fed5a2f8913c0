//! The entities of one kind: starting them on demand, sending them messages, taking them out of memory.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::Addr;
use hashbrown::HashMap;
use ionveil_journal::{Position, Sequence, StreamId};
use uuid::Uuid;

use super::abilities::{EffectHandler, Effectful};
use super::aggregate::{Aggregate, Caller, Command, Given, Query};
use super::entity::{Entity, HandlerPerformer, Job, Parts, Performer, ReplyTo, Retire, Work};
use super::gate::{Admitted, Pass, Refused, Room};
use super::incarnation::Incarnation;
use super::metrics::Metrics;
use super::recovery::{Until, as_of, recover_many};
use super::reply::{Reply, reply_channel};
use super::runtime::Runtime;
use super::shared::{Port, Shared};
use super::state_snapshot;
use crate::domain::Timestamp;
use crate::error::Error;

/// What a caller who finds a queue full is told to wait.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// So many entities are looked at per message, and per tick, for one that may leave.
const LEAVING_PER_MESSAGE: usize = 4;
const LEAVING_PER_TICK: usize = 10_000;
/// As many entities are woken at a time by [`Registry::run_due`].
const WOKEN_AT_A_TIME: usize = 256;

/// The entities of one kind, by id. Cheap to clone.
pub struct Registry<A: Aggregate> {
    entities: Arc<Entities<A>>,
}

impl<A: Aggregate> Clone for Registry<A> {
    fn clone(&self) -> Self {
        Registry { entities: Arc::clone(&self.entities) }
    }
}

struct Entities<A: Aggregate> {
    runtime: Arc<Runtime>,
    performer: Option<Arc<dyn Performer<A>>>,
    live: Mutex<Live<A>>,
}

/// Those in memory. A stream that is merely in the journal has no entry here.
struct Live<A: Aggregate> {
    slots: HashMap<Arc<str>, Slot<A>>,
    /// Each of them once, with an instant at which it was used; it may have been used again since.
    oldest_first: VecDeque<(Timestamp, Arc<str>)>,
}

struct Slot<A: Aggregate> {
    addr: Addr<Entity<A>>,
    room: Arc<Room>,
    holds: Arc<Room>,
    /// Whether a message that makes it look after itself is on its way: one is enough.
    is_attended: Arc<AtomicBool>,
    used_at: Timestamp,
}

impl<A: Aggregate> Slot<A> {
    /// Under the registry's lock. In this order: whoever handles a message, or has an effect in hand, took its hold before the
    /// seat of that message was given back. So an entity is never told to leave while an effect is about to be handed out.
    fn may_leave(&self) -> bool {
        self.room.inside() == 0 && self.holds.inside() == 0
    }
}

impl<A: Aggregate> Registry<A> {
    /// The entities of this kind in `runtime`. There is to be one registry per kind and runtime.
    pub fn new(runtime: &Arc<Runtime>) -> Self {
        Self::with(runtime, None)
    }

    /// The same for a kind with effects, which `handler` performs while background work is on.
    pub fn with_effects(runtime: &Arc<Runtime>, handler: impl EffectHandler<A>) -> Self
    where
        A: Effectful,
    {
        Self::with(runtime, Some(Arc::new(HandlerPerformer::new(handler))))
    }

    fn with(runtime: &Arc<Runtime>, performer: Option<Arc<dyn Performer<A>>>) -> Self {
        let live = Mutex::new(Live { slots: HashMap::new(), oldest_first: VecDeque::new() });
        let entities = Arc::new(Entities { runtime: Arc::clone(runtime), performer, live });
        let port: Arc<dyn Port> = Arc::clone(&entities) as _;
        runtime.shared.register::<A>(Arc::downgrade(&port));
        Registry { entities }
    }

    /// Sends a command to one entity. The future may be driven by any executor; the command is on its way when this
    /// returns, whether or not the future is polled.
    ///
    /// # Errors
    /// The entity's refusal, `overloaded` when a queue is full, `unavailable` when the events could not be written or the
    /// system is shutting down, `corrupt` when the entity cannot be rebuilt.
    pub fn tell<C: Command<A>>(&self, id: &str, command: C, caller: Caller) -> Reply<C::Reply> {
        self.entities.post(id, move |to| Job::command(command, caller, to))
    }

    /// Asks one entity. As [`Registry::tell`], but changes nothing.
    ///
    /// # Errors
    /// As [`Registry::tell`].
    pub fn ask<Q: Query<A>>(&self, id: &str, query: Q, caller: Caller) -> Reply<Q::Answer> {
        match stream_of::<A>(id) {
            Ok(stream) if self.is_unheard_of(&stream) => {
                // Nothing is known, so no actor is needed to say so, and none is left behind by whoever asks.
                let given = self.given(caller);
                self.entities.runtime.run_blocking(move || query.answer(&A::default(), &given))
            }
            _ => self.entities.post(id, move |to| Job::query(query, caller, to)),
        }
    }

    fn is_unheard_of(&self, stream: &StreamId) -> bool {
        // A follower may have to hear of something first.
        A::ABILITIES.follows.is_none()
            && !self.entities.live().slots.contains_key(stream.id())
            && self.shared().journal.stream_head(stream).is_none()
    }

    /// Asks one entity as it was known at a past position of the journal, or when an instant had been recorded, without
    /// disturbing the live one: a copy is rebuilt from the stream's events up to there.
    ///
    /// # Errors
    /// As [`Registry::tell`].
    pub fn ask_at<Q: Query<A>>(&self, id: &str, until: impl Into<Until>, query: Q, caller: Caller) -> Reply<Q::Answer> {
        let (shared, stream, until) = (Arc::clone(self.shared()), stream_of::<A>(id), until.into());
        let given = self.given(caller);
        self.entities.runtime.run_blocking(move || {
            let past = as_of::<A>(shared.journal.as_ref(), &stream?, until)?;
            query.answer(&past.state, &given)
        })
    }

    fn given(&self, caller: Caller) -> Given {
        Given { now: caller.now.unwrap_or_else(|| self.shared().clock.now()), id: Uuid::nil(), caller }
    }

    /// The ids of all entities of this kind that the journal knows of, in order.
    pub fn ids(&self) -> Vec<String> {
        streams_of::<A>(self.shared()).iter().map(|stream| stream.id().to_owned()).collect()
    }

    /// Wakes every entity of this kind whose timer is due at `now` or earlier, as of `now`, in the order of their instants,
    /// until none is; replies with the ids of those that were woken, in that order, when it is all durable. For a command
    /// that is to do what is due in a process that does nothing by itself.
    ///
    /// # Errors
    /// The first error of an entity that was to be woken; the others were woken all the same.
    pub fn run_due(&self, now: Timestamp) -> Reply<Vec<String>> {
        let (sender, reply) = reply_channel();
        let entities = Arc::clone(&self.entities);
        let surveyed = self.entities.runtime.run_blocking({
            let entities = Arc::clone(&self.entities);
            move || Ok(entities.survey_until(now))
        });
        self.shared().spawn(async move {
            let ran = match surveyed.await {
                Ok(due) => entities.wake_all(due, now).await,
                Err(error) => Err(error),
            };
            // An asker that went away wants no reply.
            let _ = sender.send(ran);
        });
        reply
    }

    /// Brings every entity of this kind into memory, as many as may live, in one pass over the journal where that is the
    /// quickest; replies with how many that were. Otherwise each starts at its first message.
    ///
    /// # Errors
    /// As [`Runtime::run_blocking`], and the first error of an entity that cannot be rebuilt; the others are.
    pub fn start_all(&self) -> Reply<usize> {
        let (sender, reply) = reply_channel();
        let entities = Arc::clone(&self.entities);
        let recovered = self.entities.runtime.run_blocking({
            let shared = Arc::clone(self.shared());
            move || {
                let mut streams = streams_of::<A>(&shared);
                streams.truncate(shared.limits.entities_live_max);
                Ok(recover_many::<A>(shared.journal.as_ref(), streams))
            }
        });
        self.shared().spawn(async move {
            let started = match recovered.await {
                Ok(recovered) => entities.start_with(recovered).await,
                Err(error) => Err(error),
            };
            // An asker that went away wants no reply.
            let _ = sender.send(started);
        });
        reply
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.entities.runtime.shared
    }
}

impl<A: Aggregate> Entities<A> {
    fn live(&self) -> MutexGuard<'_, Live<A>> {
        // What can panic in here, for want of memory, leaves at worst an entity that is not looked for when one has to leave.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn post<R, W: Work<A>>(&self, id: &str, job: impl FnOnce(ReplyTo<R>) -> Job<A, W>) -> Reply<R> {
        match self.post_to(id, None, |_, to| job(to)) {
            Ok(reply) => reply,
            Err(refused) => {
                if let Error::Overloaded { .. } = refused {
                    self.runtime.shared.counters.refused.add(1);
                }
                Reply::refused(refused)
            }
        }
    }

    fn post_to<R, W: Work<A>>(
        &self,
        id: &str,
        prepared: Option<Box<Incarnation<A>>>,
        job: impl FnOnce(&Slot<A>, ReplyTo<R>) -> Job<A, W>,
    ) -> Result<Reply<R>, Error> {
        let admitted = self.runtime.shared.admit()?;
        let (sender, reply) = reply_channel();
        let now = self.runtime.shared.clock.now();
        let mut guard = self.live();
        let live = &mut *guard;
        let slot = match live.slots.get_mut(id) {
            // Who lives has an id that is well-formed.
            Some(slot) if slot.addr.connected() => slot,
            _ => {
                let slot = self.started(stream_of::<A>(id)?, prepared, now);
                let key: Arc<str> = id.into();
                if live.slots.insert(Arc::clone(&key), slot).is_none() {
                    live.oldest_first.push_back((now, key));
                }
                live.slots.get_mut(id).expect("it was put there just now")
            }
        };
        slot.used_at = now;
        let seat = slot.room.seat(admitted).map_err(|refused| refusal("the entity's queue", refused))?;
        // `do_send` passes over the mailbox's own bound; the gates are the bound, and they count until the reply.
        let job = job(slot, ReplyTo { effect: None, seat, sender });
        slot.addr.do_send(job);
        if live.slots.len() > self.runtime.shared.limits.entities_live_max {
            self.retire(live, LEAVING_PER_MESSAGE, |_| false);
        }
        Ok(reply)
    }

    fn started(&self, stream: StreamId, prepared: Option<Box<Incarnation<A>>>, now: Timestamp) -> Slot<A> {
        let holds = Room::unbounded();
        let addr = self.runtime.start_entity(Parts {
            stream,
            shared: Arc::clone(&self.runtime.shared),
            performer: self.performer.clone(),
            prepared,
            holds: Arc::clone(&holds),
        });
        let room = Room::within(&self.runtime.shared.gate, self.runtime.shared.limits.entity_messages_max);
        Slot { addr, room, holds, is_attended: Arc::default(), used_at: now }
    }

    /// Takes those out of memory that are idle by when they were used last, or as many as are too many.
    ///
    /// Under the lock that every message passes: one that is on its way has entered the gate before, and keeps the entity;
    /// one that comes later finds no entity and starts a new one, after the last write of this one has settled.
    fn retire(&self, live: &mut Live<A>, looked_at_max: usize, is_idle: impl Fn(Timestamp) -> bool) {
        for _ in 0..looked_at_max.min(live.oldest_first.len()) {
            let is_over = live.slots.len() > self.runtime.shared.limits.entities_live_max;
            let Some((noted_at, id)) = live.oldest_first.front() else { return };
            if !is_over && !is_idle(*noted_at) {
                return;
            }
            let Some(slot) = live.slots.get(id) else {
                live.oldest_first.pop_front();
                continue;
            };
            let is_unused = slot.used_at == *noted_at || is_idle(slot.used_at);
            let used_at = slot.used_at;
            if is_unused && slot.may_leave() {
                slot.addr.do_send(Retire);
                live.slots.remove(id);
                live.oldest_first.pop_front();
                self.runtime.shared.counters.passivations.add(1);
            } else if let Some((_, id)) = live.oldest_first.pop_front() {
                live.oldest_first.push_back((used_at, id));
            }
        }
    }

    /// Of those that are not at rest: when they next have something to do.
    fn survey_states(&self) -> Vec<(StreamId, Surveyed)> {
        let shared = &self.runtime.shared;
        let journal = shared.journal.as_ref();
        let mut surveyed = Vec::new();
        let mut unknown = Vec::new();
        for stream in streams_of::<A>(shared) {
            // A snapshot of the last event says it all without being decoded.
            match state_snapshot::latest::<A>(journal, &stream) {
                Some((stored, _)) if journal.stream_head(&stream).is_some_and(|head| head.0 == stored.sequence) => {
                    let sources = stored.header.sources;
                    let parsed = sources.into_iter().map(|(of, read)| Some((of.parse().ok()?, Sequence::new(read))));
                    surveyed.push((
                        stream,
                        Surveyed {
                            next_wake: stored.header.next_wake,
                            has_effects: stored.header.has_effects,
                            read: parsed.flatten().collect(),
                        },
                    ));
                }
                _ => unknown.push(stream),
            }
        }
        for (stream, recovered) in recover_many::<A>(journal, unknown) {
            match recovered {
                Ok(incarnation) => match contained(&stream, &incarnation, || self.look_at(&stream, &incarnation)) {
                    Ok(it) => surveyed.push((stream, it)),
                    Err(error) => self.pass_over(&stream, &error),
                },
                Err(error) => self.pass_over(&stream, &error),
            }
        }
        surveyed
    }

    fn look_at(&self, stream: &StreamId, incarnation: &Incarnation<A>) -> Surveyed {
        let it = Surveyed::of(incarnation);
        self.store(stream.clone(), incarnation);
        it
    }

    fn pass_over(&self, stream: &StreamId, error: &Error) {
        tracing::error!(%stream, %error, "an entity cannot be rebuilt; nothing of it is looked after");
        self.runtime.shared.quarantine(stream, error);
    }

    /// So that the next start is quicker.
    fn store(&self, stream: StreamId, incarnation: &Incarnation<A>) {
        let shared = &self.runtime.shared;
        if incarnation.sequence.get() - incarnation.stored_at.get() >= shared.limits.snapshot_events
            && let Some(taken) = state_snapshot::take(incarnation)
        {
            shared.save_snapshot::<A>(stream, taken, Position::NONE);
        }
    }

    fn survey_until(&self, now: Timestamp) -> Vec<(Timestamp, StreamId)> {
        let surveyed = self.survey_states().into_iter();
        let due = surveyed.filter_map(|(stream, it)| Some((it.next_wake.filter(|at| *at <= now)?, stream)));
        let mut due: Vec<_> = due.collect();
        due.sort_unstable();
        due
    }

    async fn wake_all(&self, mut due: Vec<(Timestamp, StreamId)>, now: Timestamp) -> Result<Vec<String>, Error> {
        let mut woken = Vec::new();
        let mut failed = None;
        while !due.is_empty() {
            let mut again = Vec::new();
            for some in due.chunks(WOKEN_AT_A_TIME) {
                let replies: Vec<_> =
                    some.iter().map(|(_, stream)| self.post(stream.id(), move |to| Job::wake(now, to))).collect();
                for ((_, stream), reply) in some.iter().zip(replies) {
                    match reply.await {
                        Ok((was_woken, next)) => {
                            if was_woken {
                                woken.push(stream.id().to_owned());
                            }
                            // One that was not woken says so again: it is not asked twice.
                            again.extend(next.filter(|at| was_woken && *at <= now).map(|at| (at, stream.clone())));
                        }
                        Err(error) => failed = failed.or(Some(error)),
                    }
                }
            }
            again.sort_unstable();
            due = again;
        }
        failed.map_or(Ok(woken), Err)
    }

    async fn start_with(&self, recovered: Vec<(StreamId, Result<Incarnation<A>, Error>)>) -> Result<usize, Error> {
        let mut started = 0;
        let mut failed = None;
        let mut recovered = recovered.into_iter().peekable();
        while recovered.peek().is_some() {
            let mut replies = Vec::new();
            for (stream, recovered) in recovered.by_ref().take(WOKEN_AT_A_TIME) {
                match recovered {
                    Ok(incarnation) => {
                        let prepared = Some(Box::new(incarnation));
                        replies.push(self.post_to(stream.id(), prepared, |_, to| Job::start(to)));
                    }
                    Err(error) => {
                        self.runtime.shared.quarantine(&stream, &error);
                        failed = failed.or(Some(error));
                    }
                }
            }
            for reply in replies {
                let begun = match reply {
                    Ok(reply) => reply.await,
                    Err(refused) => Err(refused),
                };
                match begun {
                    Ok(()) => started += 1,
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        }
        failed.map_or(Ok(started), Err)
    }
}

/// What is known of an entity without bringing it to life.
struct Surveyed {
    next_wake: Option<Timestamp>,
    has_effects: bool,
    read: HashMap<StreamId, Sequence>,
}

impl Surveyed {
    fn of<A: Aggregate>(incarnation: &Incarnation<A>) -> Self {
        let state = &incarnation.state;
        let sources = A::ABILITIES.follows.map_or(&[][..], |follows| follows.sources);
        let read = incarnation.offsets.to_list().into_iter();
        let read = read.filter_map(|(stream, read)| Some((stream.parse().ok()?, Sequence::new(read))));
        Surveyed {
            next_wake: A::ABILITIES.timers.and_then(|timers| (timers.next_wake)(state)),
            has_effects: A::ABILITIES.effects.is_some_and(|effects| !(effects.pending)(state).is_empty()),
            read: if sources.is_empty() { HashMap::new() } else { read.collect() },
        }
    }
}

/// Asks an entity's code something; a panic is that entity's alone.
fn contained<A, R>(stream: &StreamId, incarnation: &Incarnation<A>, ask: impl FnOnce() -> R) -> Result<R, Error> {
    catch_unwind(AssertUnwindSafe(ask)).map_err(|_| Error::Corrupt {
        stream: stream.to_string(),
        sequence: incarnation.sequence.get(),
        cause: "asking its state what is to be done panicked".into(),
    })
}

impl<A: Aggregate> Port for Entities<A> {
    fn attend(&self, id: &str) -> bool {
        let is_attended = self.live().slots.get(id).map(|slot| Arc::clone(&slot.is_attended));
        if is_attended.is_some_and(|is_attended| is_attended.load(Ordering::Acquire)) {
            return true;
        }
        // An entity that refuses notes by itself when it has to be looked after again.
        self.post_to(id, None, |slot, to| {
            slot.is_attended.store(true, Ordering::Release);
            Job::attend(Arc::clone(&slot.is_attended), to)
        })
        .map(drop)
        .is_ok()
    }

    fn retire_idle(&self, now: Timestamp) {
        let micros = i64::try_from(self.runtime.shared.limits.idle_after.as_micros()).unwrap_or(i64::MAX);
        let (since, until) = (now.saturating_add_micros(micros.saturating_neg()), now.saturating_add_micros(micros));
        // Who was used that much later than now was used before the clock was set back.
        self.retire(&mut self.live(), LEAVING_PER_TICK, |used_at| used_at <= since || used_at > until);
    }

    fn survey(&self) -> Vec<(StreamId, Timestamp)> {
        if !A::ABILITIES.need_attention() {
            return Vec::new();
        }
        let journal = &self.runtime.shared.journal;
        let surveyed = self.survey_states();
        let mut at: HashMap<StreamId, Timestamp> = HashMap::new();
        if let Some(follows) = A::ABILITIES.follows {
            let known: HashMap<&StreamId, &Surveyed> = surveyed.iter().map(|(stream, it)| (stream, it)).collect();
            // A source may have grown whose follower has not begun yet.
            let streams = journal.streams().into_iter().map(|it| it.stream);
            let by_source = streams.filter(|stream| follows.is_same_id(stream.kind()));
            let ids = by_source.filter_map(|stream| stream_of::<A>(stream.id()).ok());
            let all: Vec<StreamId> = ids.chain(known.keys().map(|stream| (*stream).clone())).collect();
            for follower in all {
                let is_behind = follows.streams(follower.id()).into_iter().any(|source| {
                    let read = known.get(&follower).and_then(|it| it.read.get(&source)).copied();
                    journal.stream_head(&source).is_some_and(|(head, _)| head > read.unwrap_or_default())
                });
                if is_behind {
                    at.insert(follower, Timestamp::MIN);
                }
            }
        }
        for (stream, it) in surveyed {
            let effects = it.has_effects.then_some(Timestamp::MIN);
            if let Some(first) = it.next_wake.into_iter().chain(effects).min() {
                at.entry(stream).and_modify(|at| *at = first.min(*at)).or_insert(first);
            }
        }
        at.into_iter().collect()
    }

    fn measure(&self, metrics: &mut Metrics) {
        let live = self.live();
        metrics.entities_live.insert(A::KIND.as_str(), live.slots.len());
        let longest = live.slots.values().map(|slot| slot.room.inside()).max().unwrap_or_default();
        metrics.mailbox_len_longest = metrics.mailbox_len_longest.max(longest);
    }
}

fn stream_of<A: Aggregate>(id: &str) -> Result<StreamId, Error> {
    Ok(StreamId::new(A::KIND, id)?)
}

fn streams_of<A: Aggregate>(shared: &Shared) -> Vec<StreamId> {
    let streams = shared.journal.streams().into_iter().map(|it| it.stream);
    streams.filter(|stream| stream.kind() == A::KIND.as_str()).collect()
}

impl Shared {
    pub(super) fn enter(&self) -> Result<Pass, Error> {
        self.admit().map(|admitted| admitted.keep(&self.gate))
    }

    fn admit(&self) -> Result<Admitted<'_>, Error> {
        let admitted = match self.gate.admit() {
            // Stopping waits for effects, and so for what they ask.
            Err(Refused::Closed) if self.is_in_effect() => self.gate.admit_though_closed(),
            admitted => admitted,
        };
        admitted.map_err(|refused| refusal("the system's queue", refused))
    }
}

fn refusal(queue: &'static str, refused: Refused) -> Error {
    match refused {
        Refused::Full { max } => Error::Overloaded { queue, len_max: max, retry_after: RETRY_AFTER },
        Refused::Closed => Error::unavailable("the system is shutting down", true),
    }
}
