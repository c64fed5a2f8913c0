//! The actor around one entity: the stages of its life, and the messages it gets. The only folder that knows actix's
//! contexts. `loading` brings it to life, `following` up to date, `deciding` handles what it is asked and told, `waking` its
//! timers, `effects` what it does outside, `snapshots` what is stored of it.

mod deciding;
mod effects;
mod following;
mod loading;
mod snapshots;
mod under_way;
mod waking;

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use actix::{Actor, ActorContext, Context, Handler, Message};
use ionveil_journal::StreamId;
use tokio::sync::oneshot;

use self::effects::InHand;
pub(super) use self::effects::{HandlerPerformer, Performer};
pub(super) use self::loading::when_settled;
use self::snapshots::Pace;
use self::under_way::Behind;
use super::aggregate::{Aggregate, Caller, Command, Query};
use super::backoff;
use super::gate::{Pass, Room, Seat};
use super::incarnation::Incarnation;
use super::shared::Shared;
use super::steady::SteadyTime;
use crate::domain::Timestamp;
use crate::error::{Error, Kind};

/// Where an asker gets the reply, and what is given back with it.
pub(super) struct ReplyTo<R> {
    /// First, so that they are given back before the asker hears of it, also when a panic drops this.
    pub(super) effect: Option<Pass>,
    pub(super) seat: Seat,
    pub(super) sender: oneshot::Sender<Result<R, Error>>,
}

impl<R> ReplyTo<R> {
    fn send(self, reply: Result<R, Error>) {
        // These first: an asker that has its reply finds the gate as it left it.
        drop((self.effect, self.seat));
        // An asker that went away wants no reply; what it asked for has happened all the same.
        let _ = self.sender.send(reply);
    }
}

/// One message to the entity. The mailbox puts each into a box; only for one that has to wait its work gets a box before.
pub(super) struct Job<A: Aggregate, W = BoxedWork<A>> {
    work: W,
    /// The instant that it is to be judged at, if it brings one.
    now: Option<Timestamp>,
    /// Told when the entity begins with it, before it looks at anything.
    begun: Option<Arc<AtomicBool>>,
    entity: PhantomData<fn(A)>,
}

/// What the entity does for a message, with the types of its reply put away.
pub(super) trait Work<A: Aggregate>: FnOnce(&mut Entity<A>, &mut Context<Entity<A>>) + Send + 'static {}

impl<A: Aggregate, F: FnOnce(&mut Entity<A>, &mut Context<Entity<A>>) + Send + 'static> Work<A> for F {}

type BoxedWork<A> = Box<dyn FnOnce(&mut Entity<A>, &mut Context<Entity<A>>) + Send>;

impl<A: Aggregate, W: Work<A>> Message for Job<A, W> {
    type Result = ();
}

impl<A: Aggregate, W: Work<A>> Job<A, W> {
    fn new(now: Option<Timestamp>, work: W) -> Self {
        Job { work, now, begun: None, entity: PhantomData }
    }

    pub(super) fn boxed(self) -> Job<A> {
        Job { work: Box::new(self.work), now: self.now, begun: self.begun, entity: PhantomData }
    }
}

impl<A: Aggregate> Job<A> {
    pub(super) fn command<C: Command<A>>(command: C, caller: Caller, to: ReplyTo<C::Reply>) -> Job<A, impl Work<A>> {
        Job::new(caller.now, move |entity, ctx| entity.command(command, caller, to, ctx))
    }

    pub(super) fn query<Q: Query<A>>(query: Q, caller: Caller, to: ReplyTo<Q::Answer>) -> Job<A, impl Work<A>> {
        Job::new(caller.now, move |entity, _| entity.query(query, caller, to))
    }

    /// The entity is looked after: loaded if it is not, brought up to date, woken if it is due, its effects handed out.
    /// `is_waiting` says that such a message is on its way, until the entity begins with it.
    pub(super) fn attend(is_waiting: Arc<AtomicBool>, to: ReplyTo<()>) -> Job<A, impl Work<A>> {
        Job { begun: Some(is_waiting), ..Job::new(None, move |entity, ctx| entity.attend(to, ctx)) }
    }

    /// The entity is woken if it is due at `now`. Replies, when that is durable, whether it was woken and when it is due next.
    pub(super) fn wake(now: Timestamp, to: ReplyTo<(bool, Option<Timestamp>)>) -> Job<A, impl Work<A>> {
        Job::new(Some(now), move |entity, ctx| entity.wake(now, to, ctx))
    }

    /// The entity is loaded and brought up to date, and that is all.
    pub(super) fn start(to: ReplyTo<()>) -> Job<A, impl Work<A>> {
        Job::new(None, move |entity, _| {
            let started = match &entity.stage {
                Stage::Refusing { error, retry_at } => Err(refusal(error, *retry_at, entity.shared.steady.now())),
                Stage::Ready(_) | Stage::Unloaded => Ok(()),
            };
            to.send(started);
        })
    }
}

/// The entity leaves memory. It is sent only when nothing is under way, and nothing is sent after it.
pub(super) struct Retire;

impl Message for Retire {
    type Result = ();
}

/// One entity, alive.
pub(super) struct Entity<A: Aggregate> {
    stream: StreamId,
    shared: Arc<Shared>,
    performer: Option<Arc<dyn Performer<A>>>,
    stage: Stage<A>,
    /// Rebuilt together with many others, for the first load.
    prepared: Option<Box<Incarnation<A>>>,
    writes: Arc<Writes>,
    /// Of the last write, while that is under way.
    behind_last: Option<Weak<dyn Behind>>,
    /// As many failed writes as this incarnation has taken notice of.
    failures_seen: u64,
    /// Failures since it last did anything well.
    failures: u32,
    pace: Pace,
    /// An instant that its timer did not get beyond. It is not woken for that one again.
    stuck_at: Option<Timestamp>,
    /// Wakes that failed since the last one that went well; the instant of the last one, and when that is tried again.
    wake_failures: u32,
    wake_again_at: Option<(Timestamp, SteadyTime)>,
    in_hand: InHand,
    /// Whether its outbox was looked at since it was rebuilt, or since background work began.
    has_handed_out: bool,
    /// What keeps it in memory beside the messages under way: effects, until what came of them is durable.
    holds: Arc<Room>,
}

/// The stages of its life. From `Ready` it falls back to `Refusing` when something fails; after a failed write it counts as
/// unloaded too.
enum Stage<A> {
    Unloaded,
    Ready(Incarnation<A>),
    /// It could not be rebuilt or has failed, and says why.
    Refusing {
        error: Error,
        /// When the next message tries again; `None` for never, since its stream is corrupt.
        retry_at: Option<SteadyTime>,
    },
}

/// What the journal's writer thread tells the entity.
struct Writes {
    /// Here, so that what is under way counts as one user of this, and not of what all threads use.
    shared: Arc<Shared>,
    under_way: AtomicU64,
    failed: AtomicU64,
    /// Where the last durable event lies.
    position: AtomicU64,
}

impl Writes {
    fn of(shared: Arc<Shared>) -> Self {
        Writes { shared, under_way: AtomicU64::new(0), failed: AtomicU64::new(0), position: AtomicU64::new(0) }
    }
}

/// What a registry keeps of an entity's making.
pub(super) struct Parts<A: Aggregate> {
    pub(super) stream: StreamId,
    pub(super) shared: Arc<Shared>,
    pub(super) performer: Option<Arc<dyn Performer<A>>>,
    pub(super) prepared: Option<Box<Incarnation<A>>>,
    pub(super) holds: Arc<Room>,
}

impl<A: Aggregate> Entity<A> {
    pub(super) fn new(parts: Parts<A>) -> Self {
        let Parts { stream, shared, performer, prepared, holds } = parts;
        let pace = Pace::of(shared.limits.snapshot_events);
        Entity {
            stream,
            writes: Arc::new(Writes::of(Arc::clone(&shared))),
            shared,
            performer,
            stage: Stage::Unloaded,
            prepared,
            behind_last: None,
            failures_seen: 0,
            failures: 0,
            pace,
            stuck_at: None,
            wake_failures: 0,
            wake_again_at: None,
            in_hand: InHand::default(),
            has_handed_out: false,
            holds,
        }
    }

    /// Handles a message, after whatever has to come before.
    fn proceed<W: Work<A>>(&mut self, job: Job<A, W>, ctx: &mut Context<Self>) {
        if self.needs_loading() {
            self.load_then(job.boxed(), ctx);
        } else {
            self.catch_up_then(job, ctx);
        }
    }

    fn run<W: Work<A>>(&mut self, job: Job<A, W>, ctx: &mut Context<Self>) {
        // Its reply may leave before the effects that go with it are in hand: the entity is not to leave with it.
        let _stays = self.performs().then(|| self.holds.seat_anybody());
        self.contain(|entity| {
            (job.work)(entity, ctx);
            if matches!(entity.stage, Stage::Ready(_)) {
                // A message that comes before it is looked after for the first time is in the place of that.
                if entity.has_to_hand_out() {
                    entity.hand_out_effects(ctx);
                }
                entity.note_next_wake();
                entity.failures = 0;
            }
        });
    }

    /// Calls what may panic for the entity's sake. What panics has dropped its reply, so its asker knows; the state it left
    /// is not to be trusted.
    fn contain(&mut self, work: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| work(self))).is_ok() {
            return;
        }
        self.shared.counters.panics.add(1);
        tracing::error!(stream = %self.stream, "the entity panicked; it is rebuilt from the journal");
        self.fail(Error::unavailable("the entity failed and is being rebuilt", true));
    }

    /// From now on it refuses everything with `error`, until it is rebuilt: by the next message, or after a while if it
    /// has failed before.
    fn fail(&mut self, error: Error) {
        self.failures = self.failures.saturating_add(1);
        let wait = backoff::after(&self.stream, self.failures);
        let retry_at = self.shared.steady.now().after(wait);
        self.stage = Stage::Refusing { error, retry_at: Some(retry_at) };
        if A::ABILITIES.need_attention() {
            // In place of whatever it waits for: before that it could not see to it.
            self.shared.attention.set(&self.stream, None, Some(retry_at));
        }
    }
}

/// What an entity in that stage says to everybody: why, and when to try again.
fn refusal(error: &Error, retry_at: Option<SteadyTime>, now: SteadyTime) -> Error {
    match (error.kind(), retry_at) {
        (Kind::Unavailable, Some(retry_at)) => {
            let left = retry_at.left(now);
            Error::Unavailable { reason: error.to_string(), outcome_known: true, retry_after: Some(left) }
        }
        _ => error.clone(),
    }
}

impl<A: Aggregate> Actor for Entity<A> {
    type Context = Context<Self>;
}

impl<A: Aggregate, W: Work<A>> Handler<Job<A, W>> for Entity<A> {
    type Result = ();

    fn handle(&mut self, job: Job<A, W>, ctx: &mut Context<Self>) {
        if let Some(begun) = &job.begun {
            begun.store(false, Ordering::Release);
        }
        self.proceed(job, ctx);
    }
}

impl<A: Aggregate> Handler<Retire> for Entity<A> {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Context<Self>) {
        self.store_before_retiring();
        self.shared.forget_lag(&self.stream);
        debug_assert!(
            !self.in_hand.is_busy(),
            "an effect in hand holds a seat, and with one taken nobody is sent away"
        );
        ctx.stop();
    }
}
