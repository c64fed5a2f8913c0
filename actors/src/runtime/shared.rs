//! What all entities of a runtime share: journal, clock, bounds, counters, and who follows whom.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Instant;

use actix::ArbiterHandle;
use ionveil_journal::{Journal, Position, Sequence, StreamId, StreamKind};
use tokio::sync::Semaphore;

use super::abilities::Source;
use super::aggregate::Aggregate;
use super::attention::Attention;
use super::clock::Clock;
use super::gate::{Gate, Pass};
use super::ids::Ids;
use super::limits::Limits;
use super::metrics::{Counters, Metrics};
use super::state_snapshot::{self, Taken};
use super::steady::SteadyClock;
use crate::domain::Timestamp;
use crate::error::Error;

/// An entity that cannot be rebuilt, or that cannot follow its source. It refuses everything as `corrupt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Whose.
    pub entity: StreamId,
    /// The stream that holds the event: its own, or the source's.
    pub stream: String,
    /// The first event that cannot be applied.
    pub sequence: Sequence,
    /// Where that lies; [`Position::NONE`] when it cannot be read.
    pub position: Position,
    /// What is wrong with it.
    pub cause: String,
    /// When that was found out.
    pub since: Timestamp,
}

pub(super) struct Shared {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) clock: Arc<dyn Clock>,
    /// What waits are measured by.
    pub(super) steady: SteadyClock,
    pub(super) ids: Ids,
    pub(super) limits: Limits,
    pub(super) gate: Arc<Gate>,
    /// Effects under way; each entity bounds its own.
    pub(super) effects: Arc<Gate>,
    pub(super) counters: Counters,
    pub(super) attention: Attention,
    /// Whether the background work has a task, at work or at rest.
    pub(super) has_loop: AtomicBool,
    /// A permit for each entity that may be rebuilt at a time.
    pub(super) recoveries: Arc<Semaphore>,
    /// The thread that no entity lives on.
    apart: ArbiterHandle,
    /// Everything on the calling thread, for simulation.
    pub(super) is_inline: bool,
    kinds: RwLock<BTreeMap<StreamKind, Weak<dyn Port>>>,
    /// Who follows streams of a kind, by that kind.
    followers: RwLock<BTreeMap<StreamKind, Followers>>,
    has_followers: AtomicBool,
    quarantine: Mutex<BTreeMap<StreamId, Quarantined>>,
    /// How far each follower that lives has read.
    offsets: Mutex<HashMap<StreamId, Vec<(StreamId, Sequence)>>>,
}

tokio::task_local! {
    /// Set while an effect is performed: the gate that it has passed.
    pub(super) static PERFORMED_IN: Arc<Gate>;
}

/// The kinds that follow one kind of streams, and how.
pub(super) type Followers = Arc<[(StreamKind, Source)]>;

/// The entities of one kind, whatever they are.
pub(super) trait Port: Send + Sync {
    /// Sends a message that makes the entity look after itself; false when there is no room for it now.
    fn attend(&self, id: &str) -> bool;

    /// Takes those out of memory that nobody has used for long enough.
    fn retire_idle(&self, now: Timestamp);

    /// Those that have something to do, and when. Reads the journal.
    fn survey(&self) -> Vec<(StreamId, Timestamp)>;

    fn measure(&self, metrics: &mut Metrics);
}

impl Shared {
    pub(super) fn new(
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        limits: Limits,
        apart: ArbiterHandle,
        is_inline: bool,
    ) -> Self {
        Shared {
            journal,
            steady: SteadyClock::of(Arc::clone(&clock)),
            clock,
            ids: Ids::default(),
            limits,
            gate: Gate::new(limits.system_messages_max),
            effects: Gate::new(usize::MAX),
            counters: Counters::default(),
            attention: Attention::default(),
            has_loop: AtomicBool::new(false),
            recoveries: Arc::new(Semaphore::new(limits.recoveries_max.clamp(1, Semaphore::MAX_PERMITS))),
            apart,
            is_inline,
            kinds: RwLock::default(),
            followers: RwLock::default(),
            has_followers: AtomicBool::new(false),
            quarantine: Mutex::default(),
            offsets: Mutex::default(),
        }
    }

    /// Whether whoever calls is an effect of this runtime.
    pub(super) fn is_in_effect(&self) -> bool {
        PERFORMED_IN.try_with(|gate| Arc::ptr_eq(gate, &self.effects)).unwrap_or(false)
    }

    /// Whether nothing at all is under way.
    pub(super) fn is_at_rest(&self) -> bool {
        self.gate.inside() == 0 && self.effects.inside() == 0
    }

    // Threads.

    /// Does work that may block, apart from the threads of the entities; `None` when it panicked. For entities, whose number
    /// bounds it.
    pub(super) async fn blocking<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> Option<R> {
        if self.is_inline {
            return catch_unwind(AssertUnwindSafe(work)).ok();
        }
        tokio::task::spawn_blocking(work).await.ok()
    }

    /// Does work that may block, on a thread apart, whoever asks for it. It keeps its pass until it is done.
    pub(super) fn spawn_blocking(&self, pass: Pass, work: impl FnOnce(Pass) + Send + 'static) {
        if self.is_inline {
            return work(pass);
        }
        self.apart.spawn(async move {
            tokio::task::spawn_blocking(move || work(pass));
        });
    }

    /// Runs a future on the thread that no entity lives on.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.apart.spawn(future);
    }

    // Kinds and their followers.

    pub(super) fn register<A: Aggregate>(&self, port: Weak<dyn Port>) {
        let kind = A::KIND;
        if write(&self.kinds).insert(kind, port).is_some_and(|before| before.strong_count() > 0) {
            tracing::error!(kind = kind.as_str(), "a kind has two registries; its entities have two writers");
        }
        let Some(follows) = A::ABILITIES.follows else { return };
        let mut followers = write(&self.followers);
        for &source in follows.sources {
            let (Source::SameId(of) | Source::Stream(of, _)) = source;
            let known = followers.get(&of).map_or(&[][..], |known| known);
            let others = known.iter().filter(|known| **known != (kind, source)).copied();
            let all = others.chain([(kind, source)]).collect();
            followers.insert(of, all);
        }
        self.has_followers.store(true, Ordering::Release);
    }

    pub(super) fn port(&self, kind: &str) -> Option<Arc<dyn Port>> {
        read(&self.kinds).iter().find(|(known, _)| known.as_str() == kind)?.1.upgrade()
    }

    pub(super) fn ports(&self) -> Vec<Arc<dyn Port>> {
        read(&self.kinds).values().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn followers_of(&self, stream: &StreamId) -> Option<Followers> {
        if !self.has_followers.load(Ordering::Acquire) {
            return None;
        }
        read(&self.followers).iter().find(|(of, _)| of.as_str() == stream.kind()).map(|(_, kinds)| Arc::clone(kinds))
    }

    /// A stream has grown: those who follow it are to look.
    pub(super) fn nudge(&self, stream: &StreamId, followers: &Followers) {
        for (kind, source) in followers.iter() {
            match source {
                Source::SameId(_) => {
                    if let Ok(follower) = StreamId::new(*kind, stream.id()) {
                        self.look_after_now(&follower);
                    }
                }
                Source::Stream(_, id) if *id == stream.id() => self.attention.set_all_of(*kind),
                Source::Stream(..) => {}
            }
        }
    }

    pub(super) fn look_after_now(&self, stream: &StreamId) {
        self.attention.set_by(stream, Timestamp::MIN);
    }

    pub(super) fn note_lag(&self, follower: &StreamId, read: Vec<(StreamId, Sequence)>) {
        locked(&self.offsets).insert(follower.clone(), read);
    }

    pub(super) fn forget_lag(&self, follower: &StreamId) {
        locked(&self.offsets).remove(follower);
    }

    pub(super) fn lags(&self) -> Vec<(StreamId, u64)> {
        let offsets = locked(&self.offsets).clone();
        let lag_of = |read: &[(StreamId, Sequence)]| {
            let heads = read.iter().map(|(stream, read)| (self.journal.stream_head(stream), read));
            heads.map(|(head, read)| head.map_or(0, |(head, _)| head.get().saturating_sub(read.get()))).sum()
        };
        let mut lags: Vec<(StreamId, u64)> = offsets.iter().map(|(of, read)| (of.clone(), lag_of(read))).collect();
        lags.sort_unstable();
        lags
    }

    // Commits and snapshots.

    /// Counts what has become durable, handed over at `begin`. On the journal's thread, one after the other.
    pub(super) fn count_commit(&self, begin: Instant, events: u64, position: Position) {
        let counters = &self.counters;
        counters.commits.add(1);
        counters.events.add(events);
        // All of a group are told after it is shown: the first one looks where it ends and at the clock, for all of them.
        let mut last = locked(&counters.last_group);
        let told = match *last {
            Some((end, told)) if position <= end && begin <= told => told,
            before => {
                counters.groups.add(before.is_none_or(|(end, _)| position > end).into());
                let now = Instant::now();
                *last = Some((self.journal.head().position, now));
                now
            }
        };
        drop(last);
        counters.commit_latency.add(told - begin);
    }

    /// Stores a snapshot, if there is room for the work: it is only a cache.
    pub(super) fn save_snapshot<A: Aggregate>(self: &Arc<Self>, stream: StreamId, taken: Taken, position: Position) {
        let Ok(pass) = self.gate.enter() else { return };
        let shared = Arc::clone(self);
        self.spawn_blocking(pass, move |pass| {
            let taken_at = shared.clock.now();
            match state_snapshot::save::<A>(shared.journal.as_ref(), &stream, taken, position, taken_at) {
                Ok(()) => shared.counters.snapshots.add(1),
                Err(error) => tracing::warn!(%stream, %error, "a snapshot could not be stored"),
            }
            drop(pass);
        });
    }

    // Quarantine.

    /// Notes an entity that cannot be rebuilt, if that is what the error says. Reads where the event lies.
    pub(super) fn quarantine(&self, stream: &StreamId, error: &Error) {
        let Error::Corrupt { stream: at, sequence, cause } = error else { return };
        let sequence = Sequence::new(*sequence);
        let mut position = Position::NONE;
        if let Ok(at) = at.parse() {
            // Where it cannot be read, stream and sequence have to do.
            let _ = self.journal.read_stream(&at, sequence, sequence, &mut |record| {
                position = record.position;
                std::ops::ControlFlow::Break(())
            });
        }
        let since = self.clock.now();
        let (at, cause) = (at.clone(), cause.clone());
        let quarantined = Quarantined { entity: stream.clone(), stream: at, sequence, position, cause, since };
        locked(&self.quarantine).entry(stream.clone()).or_insert(quarantined);
    }

    pub(super) fn release_from_quarantine(&self, stream: &StreamId) {
        locked(&self.quarantine).remove(stream);
    }

    pub(super) fn quarantined(&self) -> Vec<Quarantined> {
        locked(&self.quarantine).values().cloned().collect()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is one call of a map.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
