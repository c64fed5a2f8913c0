//! Effects: handed out when the events that they follow from are durable, and again when nothing came of them.

use std::collections::{HashMap, HashSet};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use actix::{ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use ionveil_journal::StreamId;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::super::abilities::{EffectHandler, Effectful};
use super::super::aggregate::{Aggregate, Caller};
use super::super::backoff;
use super::super::gate::{Pass, Seat};
use super::super::shared::PERFORMED_IN;
use super::super::steady::SteadyTime;
use super::{Entity, Job, ReplyTo, Stage};

/// As many effects of one entity are under way at a time; the others stay in its state. Enough for all that an outbox offers
/// of its nine channels.
const EFFECTS_MAX: usize = 72;

/// Effects that left the state's list of pending ones for the handler, by id.
#[derive(Default)]
pub(super) struct InHand(HashMap<Uuid, (u32, Progress)>);

#[derive(Debug)]
enum Progress {
    /// Handed out as soon as the state that names it is durable. The seat holds the entity in memory, and goes with the
    /// effect until what came of it is durable.
    NotBegun(Seat),
    UnderWay,
    /// Done, or failed. If it is pending still at that instant, it is handed out again.
    Over {
        again_at: SteadyTime,
    },
}

impl InHand {
    /// When the first of those that are over would have to be tried again. Not while there is no room: who is done next makes
    /// some, and then this is asked again.
    pub(super) fn next_retry(&self) -> Option<SteadyTime> {
        if self.busy() >= EFFECTS_MAX {
            return None;
        }
        let again = self.0.values().filter_map(|(_, progress)| match progress {
            Progress::Over { again_at } => Some(*again_at),
            Progress::NotBegun(_) | Progress::UnderWay => None,
        });
        again.min()
    }

    /// Whether any is still to begin or under way.
    pub(super) fn is_busy(&self) -> bool {
        self.busy() > 0
    }

    /// What is to begin is under way from now on; gives what held the entity for it. `None` when it is not to begin.
    fn begin(&mut self, id: Uuid) -> Option<Seat> {
        let (attempts, progress) = self.0.remove(&id)?;
        let (progress, hold) = match progress {
            Progress::NotBegun(hold) => (Progress::UnderWay, Some(hold)),
            other => (other, None),
        };
        self.0.insert(id, (attempts, progress));
        hold
    }

    fn busy(&self) -> usize {
        self.0.values().filter(|(_, progress)| !matches!(progress, Progress::Over { .. })).count()
    }
}

/// An effect that is about to begin; what came of it is a message to the entity, which gives both back.
pub(in super::super) type Begin<A> = Box<dyn FnOnce(Pass, Seat) -> Pin<Box<dyn Future<Output = Job<A>> + Send>> + Send>;

/// An effect handler, with the types of the effects put away.
pub(in super::super) trait Performer<A: Aggregate>: Send + Sync {
    /// Takes an effect out of the state.
    fn prepare(&self, stream: &StreamId, state: &A, id: Uuid) -> Option<Begin<A>>;
}

pub(in super::super) struct HandlerPerformer<A, H> {
    handler: Arc<H>,
    entity: PhantomData<fn(A)>,
}

impl<A, H> HandlerPerformer<A, H> {
    pub(in super::super) fn new(handler: H) -> Self {
        HandlerPerformer { handler: Arc::new(handler), entity: PhantomData }
    }
}

impl<A: Effectful, H: EffectHandler<A>> Performer<A> for HandlerPerformer<A, H> {
    fn prepare(&self, stream: &StreamId, state: &A, id: Uuid) -> Option<Begin<A>> {
        let effect = state.effect(id)?;
        let (handler, stream) = (Arc::clone(&self.handler), stream.clone());
        Some(Box::new(move |under_way, seat| {
            Box::pin(async move {
                let outcome = handler.perform(stream.id(), id, effect).await;
                // Nobody waits: an outcome that is refused leaves its effect on the list, and so it comes again.
                Job::command(
                    outcome,
                    Caller::default(),
                    ReplyTo { effect: Some(under_way), seat, sender: oneshot::channel().0 },
                )
                .boxed()
            })
        }))
    }
}

/// The state that names these effects is durable.
struct Perform<A: Aggregate>(Vec<(Uuid, Begin<A>)>);

impl<A: Aggregate> Message for Perform<A> {
    type Result = ();
}

impl<A: Aggregate> Entity<A> {
    /// Hands out what is pending and not in hand already, once it is durable.
    pub(super) fn hand_out_effects(&mut self, ctx: &mut Context<Self>) {
        let (Some(effects), Some(performer), Stage::Ready(ready)) =
            (A::ABILITIES.effects, &self.performer, &self.stage)
        else {
            return;
        };
        self.has_handed_out = self.shared.attention.is_on();
        if !self.has_handed_out {
            return;
        }
        let pending = (effects.pending)(&ready.state);
        let listed: HashSet<Uuid> = pending.iter().copied().collect();
        self.in_hand.0.retain(|id, (_, progress)| listed.contains(id) || matches!(progress, Progress::UnderWay));
        // Looked at only if anything is over.
        let mut now = None;
        let mut room = EFFECTS_MAX.saturating_sub(self.in_hand.busy());
        let mut begins = Vec::new();
        for id in pending {
            let attempts = match self.in_hand.0.get(&id) {
                None => 0,
                Some((attempts, Progress::Over { again_at }))
                    if again_at <= now.get_or_insert_with(|| self.shared.steady.now()) =>
                {
                    *attempts
                }
                Some(_) => continue,
            };
            if room == 0 {
                break;
            }
            let Ok(hold) = self.holds.seat_anybody() else { break };
            let Some(begin) = performer.prepare(&self.stream, &ready.state, id) else {
                tracing::error!(stream = %self.stream, %id, "a pending effect is not there");
                continue;
            };
            room -= 1;
            self.in_hand.0.insert(id, (attempts, Progress::NotBegun(hold)));
            begins.push((id, begin));
        }
        if begins.is_empty() {
            return;
        }
        let address = ctx.address();
        self.when_durable(move |durable| {
            if durable.is_ok() {
                address.do_send(Perform(begins));
            }
        });
    }

    fn effect_is_over(&mut self, id: Uuid) {
        let Some((attempts, progress)) = self.in_hand.0.get_mut(&id) else { return };
        *attempts = attempts.saturating_add(1);
        // Never at once: an effect that stays pending must not go round in circles.
        let wait = backoff::after(&self.stream, attempts.saturating_add(1));
        *progress = Progress::Over { again_at: self.shared.steady.now().after(wait) };
    }

    /// The entity was rebuilt: what was to begin with the state before does not.
    pub(super) fn drop_effects_not_begun(&mut self) {
        self.in_hand.0.retain(|_, (_, progress)| !matches!(progress, Progress::NotBegun(_)));
        self.has_handed_out = false;
    }

    /// Whether it has effects, and somebody who performs them.
    pub(super) fn performs(&self) -> bool {
        A::ABILITIES.effects.is_some() && self.performer.is_some()
    }

    /// Whether its outbox is still to be looked at.
    pub(super) fn has_to_hand_out(&self) -> bool {
        self.performs() && !self.has_handed_out
    }
}

impl<A: Aggregate> Handler<Perform<A>> for Entity<A> {
    type Result = ();

    fn handle(&mut self, Perform(begins): Perform<A>, ctx: &mut Context<Self>) {
        for (id, begin) in begins {
            // When the system is shutting down it stays pending, and is handed out at the next start.
            let Ok(under_way) = self.shared.effects.enter() else { return };
            let Some(hold) = self.in_hand.begin(id) else {
                // The entity was rebuilt meanwhile; what is pending then is handed out then.
                continue;
            };
            self.shared.counters.effects.add(1);
            // Beside that one, which a handler that panics drops before the entity knows.
            let stays = self.holds.seat_anybody();
            // A task of its own, so that a handler's panic stays with it.
            let performing = async move { begin(under_way, hold).await };
            let performing = PERFORMED_IN.scope(Arc::clone(&self.shared.effects), performing);
            let performing = tokio::task::spawn_local(performing);
            ctx.spawn(performing.into_actor(self).map(move |outcome, entity, ctx| {
                entity.effect_is_over(id);
                match outcome {
                    Ok(outcome) => entity.proceed(outcome, ctx),
                    Err(error) => {
                        entity.shared.counters.panics.add(1);
                        tracing::error!(stream = %entity.stream, effect = %id, %error, "an effect's handler panicked; it is tried again");
                        entity.note_next_wake();
                    }
                }
                drop(stays);
            }));
        }
    }
}
