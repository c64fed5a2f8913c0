//! The runtime: threads, journal and clock that all entities share, and the work that it does by itself.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use actix::{Actor, Addr};
use ionveil_journal::Journal;
use std::hash::{BuildHasher, RandomState};
use tokio::sync::watch;

use super::aggregate::Aggregate;
use super::clock::Clock;
use super::entity::{Entity, Parts, when_settled};
use super::limits::Limits;
use super::metrics::Metrics;
use super::reply::{Reply, reply_channel};
use super::shared::{Quarantined, Shared};
use super::threads::Threads;
use crate::error::Error;

/// Threads that have nothing to do get this long to end, also when the time for draining is up.
const JOIN_MIN: Duration = Duration::from_millis(100);
/// A clock that runs by itself is looked at this often, so that a jump of it is noticed.
const CLOCK_READ_EVERY: Duration = Duration::from_millis(250);
/// When an entity cannot be looked after because a queue is full, it is tried again after this.
const ATTEND_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// As many entities are looked after in one go.
const ATTENDED_MAX: usize = 4_096;

/// The threads, the journal and the clock that all entities share.
pub struct Runtime {
    pub(super) shared: Arc<Shared>,
    threads: Mutex<Threads>,
    hasher: RandomState,
    /// Of the last start of the background work: whether it is known what is to be done. Closed when that could not be found
    /// out.
    survey: Mutex<Option<watch::Receiver<bool>>>,
}

impl Runtime {
    /// Starts the runtime's threads. No entity is started yet, and none starts by itself before
    /// [`Runtime::start_background`].
    ///
    /// # Errors
    /// When the operating system gives no threads.
    pub fn start(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>, limits: Limits) -> io::Result<Arc<Self>> {
        Ok(Self::on(Threads::start(limits.threads.max(1))?, journal, clock, limits))
    }

    /// A runtime without threads of its own: everything happens on this one, which runs an actix system, and nothing happens
    /// by itself; [`Runtime::tick`] does what is due. For simulation: a run is a function of what it is fed.
    ///
    /// # Panics
    /// When no actix system runs on this thread.
    #[cfg(any(test, feature = "testing"))]
    pub fn on_this_thread(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>, limits: Limits) -> Arc<Self> {
        Self::on(Threads::this(), journal, clock, limits)
    }

    fn on(threads: Threads, journal: Arc<dyn Journal>, clock: Arc<dyn Clock>, limits: Limits) -> Arc<Self> {
        let shared = Shared::new(journal, clock, limits, threads.apart().clone(), threads.is_this());
        Arc::new(Runtime {
            shared: Arc::new(shared),
            threads: Mutex::new(threads),
            hasher: RandomState::new(),
            survey: Mutex::default(),
        })
    }

    /// Begins the work that nobody asks for: wakes entities when they are due, lets followers read, hands out effects, takes
    /// idle entities out of memory. To be called when all registries are there; begins nothing while it is at work already.
    ///
    /// What is to be done is found out first, from the snapshots and streams of the kinds that need it; the reply says when
    /// that is through, to whoever calls meanwhile too. Until then nothing is woken but what is asked or told something.
    ///
    /// # Errors
    /// As [`Runtime::run_blocking`]. What is to be done is found out by the next call then.
    pub fn start_background(self: &Arc<Self>) -> Reply<()> {
        let mut survey = self.survey.lock().unwrap_or_else(PoisonError::into_inner);
        let has_failed = |it: &watch::Receiver<bool>| !*it.borrow() && it.has_changed().is_err();
        if self.shared.attention.turn_on()
            && let Some(survey) = survey.as_ref().filter(|it| !has_failed(it))
        {
            return self.when_surveyed(survey.clone());
        }
        let (is_through, watched) = watch::channel(false);
        *survey = Some(watched);
        let surveyed =
            if self.shared.is_at_rest() { self.survey(is_through) } else { self.survey_when_settled(is_through) };
        if !self.shared.is_inline && !self.shared.has_loop.swap(true, Ordering::AcqRel) {
            let attention = Arc::downgrade(&self.shared);
            self.shared.clock.watch(Box::new(move || {
                if let Some(shared) = attention.upgrade() {
                    shared.attention.changed.notify_one();
                }
            }));
            self.shared.spawn(run_background(Arc::downgrade(&self.shared)));
        }
        surveyed
    }

    /// Replies when a survey that somebody else began is through.
    fn when_surveyed(&self, mut survey: watch::Receiver<bool>) -> Reply<()> {
        let pass = match self.enter() {
            Ok(pass) => pass,
            Err(refused) => return Reply::refused(refused),
        };
        let (sender, reply) = reply_channel();
        self.shared.spawn(async move {
            let surveyed = survey.wait_for(|is_through| *is_through).await.map(drop);
            drop(pass);
            // An asker that went away wants no reply.
            let _ = sender
                .send(surveyed.map_err(|_| Error::unavailable("what is to be done could not be found out", true)));
        });
        reply
    }

    /// Finds out what is to be done.
    fn survey(&self, is_through: watch::Sender<bool>) -> Reply<()> {
        let shared = Arc::clone(&self.shared);
        self.run_blocking(move || {
            for port in shared.ports() {
                for (stream, at) in port.survey() {
                    shared.attention.set_by(&stream, at);
                }
            }
            is_through.send_replace(true);
            Ok(())
        })
    }

    /// The same behind what is on its way to disk: it was decided on before anything was noted, and is not to be read yet.
    fn survey_when_settled(self: &Arc<Self>, is_through: watch::Sender<bool>) -> Reply<()> {
        let (sender, reply) = reply_channel();
        let runtime = Arc::clone(self);
        self.shared.spawn(async move {
            let surveyed = match when_settled(&runtime.shared).await {
                Ok(()) => runtime.survey(is_through).await,
                Err(error) => Err(error),
            };
            // An asker that went away wants no reply.
            let _ = sender.send(surveyed);
        });
        reply
    }

    /// Ends the work that nobody asks for until it is started again; what is under way is finished. What comes due meanwhile
    /// is found out at the next start.
    pub fn stop_background(&self) {
        self.shared.attention.turn_off();
    }

    /// Does everything that is due, as the background does by itself.
    #[cfg(any(test, feature = "testing"))]
    pub fn tick(&self) {
        self.shared.tick();
    }

    /// Lets nobody in any more but what effects under way ask and tell, and begins no effect, waits until everything under
    /// way has its reply and what came of the effects under way is durable (false when that took longer than `timeout`), then
    /// stops all actors and joins all threads; what is still at work then is left to end by itself. Does nothing the second
    /// time.
    pub fn stop(&self, timeout: Duration) -> bool {
        let begin = Instant::now();
        let left = || timeout.saturating_sub(begin.elapsed());
        self.shared.effects.shut();
        let drained = self.shared.gate.close(timeout);
        let are_effects_over = self.shared.effects.close(left());
        // What effects have told somebody without waiting for the reply.
        let drained = self.shared.gate.close(left()) && drained;
        let ended = self.threads.lock().unwrap_or_else(PoisonError::into_inner).stop(left().max(JOIN_MIN));
        drained && are_effects_over && ended
    }

    /// Does work that may block, such as reading much of the journal, on a thread apart from those of the entities.
    ///
    /// # Errors
    /// What `work` says, `overloaded` when the system's queue is full, `unavailable` when it is shutting down.
    pub fn run_blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<R, Error> + Send + 'static,
    ) -> Reply<R> {
        let (sender, reply) = reply_channel();
        match self.enter() {
            Ok(pass) => {
                self.shared.spawn_blocking(pass, move |pass| {
                    let result = work();
                    drop(pass);
                    // An asker that went away wants no result.
                    let _ = sender.send(result);
                });
                reply
            }
            Err(refused) => Reply::refused(refused),
        }
    }

    /// The bounds it was started with.
    pub fn limits(&self) -> Limits {
        self.shared.limits
    }

    /// The journal that everything is in.
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.shared.journal
    }

    /// The entities that cannot be rebuilt, as far as anybody has asked for them, by address.
    pub fn quarantined(&self) -> Vec<Quarantined> {
        self.shared.quarantined()
    }

    /// The figures of this moment.
    pub fn metrics(&self) -> Metrics {
        let shared = &self.shared;
        let mut metrics = shared.counters.read();
        metrics.messages_under_way = shared.gate.inside();
        let free = shared.recoveries.available_permits();
        metrics.recoveries_under_way = shared.limits.recoveries_max.max(1).saturating_sub(free);
        metrics.quarantined = shared.quarantined().len();
        metrics.attention_waiting = shared.attention.len();
        metrics.follower_lag = shared.lags();
        for port in shared.ports() {
            port.measure(&mut metrics);
        }
        metrics
    }

    pub(super) fn enter(&self) -> Result<super::gate::Pass, Error> {
        self.shared.enter()
    }

    pub(super) fn start_entity<A: Aggregate>(&self, parts: Parts<A>) -> Addr<Entity<A>> {
        let hash = self.hasher.hash_one(&parts.stream);
        let entity = Entity::new(parts);
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        Entity::start_in_arbiter(threads.arbiter(hash), |_| entity)
    }
}

impl Shared {
    /// Looks after everything that is due; says how long there is nothing more to do, as far as is known.
    fn tick(&self) -> Duration {
        let now = self.clock.now();
        for kind in self.attention.take_all_of() {
            let followers = self.journal.streams().into_iter().filter(|it| it.stream.kind() == kind.as_str());
            followers.for_each(|it| self.look_after_now(&it.stream));
        }
        let due = self.attention.take_due(now, self.steady.now(), ATTENDED_MAX);
        let is_more = due.len() == ATTENDED_MAX;
        for stream in due {
            let Some(port) = self.port(stream.kind()) else { continue };
            if !port.attend(stream.id()) {
                self.attention.wait_by(&stream, self.steady.now().after(ATTEND_AGAIN_AFTER));
            }
        }
        self.ports().iter().for_each(|port| port.retire_idle(now));
        if is_more {
            return Duration::ZERO;
        }
        self.attention
            .left(self.clock.now(), self.steady.now())
            .map_or(CLOCK_READ_EVERY, |left| left.min(CLOCK_READ_EVERY))
    }
}

async fn run_background(shared: Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        let wait = shared.tick();
        // Woken early when something is due sooner, or when the clock is moved by hand.
        let _ = actix::clock::timeout(wait, shared.attention.changed.notified()).await;
    }
}
