//! Timers: an entity is woken at the instant its state names, once for each.

use actix::Context;
use ionveil_journal::Origin;

use super::super::aggregate::{Aggregate, Caller};
use super::super::backoff;
use super::super::steady::SteadyTime;
use super::deciding::Write;
use super::{Entity, ReplyTo, Stage, refusal};
use crate::domain::Timestamp;
use crate::error::Error;

impl<A: Aggregate> Entity<A> {
    /// Looks after everything that the entity has to do by itself.
    pub(super) fn attend(&mut self, to: ReplyTo<()>, ctx: &mut Context<Self>) {
        if matches!(self.stage, Stage::Ready(_)) {
            self.wake_if_due(None, ctx);
            self.hand_out_effects(ctx);
        } else if let Stage::Refusing { retry_at: Some(retry_at), .. } = self.stage
            && retry_at > self.shared.steady.now()
        {
            // It came too early. Whatever has made it refuse just now has seen to it that it is looked after again.
            self.shared.attention.wait_by(&self.stream, retry_at);
        }
        self.send_when_durable(Ok(()), to);
    }

    pub(super) fn wake(&mut self, now: Timestamp, to: ReplyTo<(bool, Option<Timestamp>)>, ctx: &mut Context<Self>) {
        let woken = self.wake_if_due(Some(now), ctx);
        let reply = match &self.stage {
            Stage::Ready(ready) => {
                let next = A::ABILITIES.timers.and_then(|timers| (timers.next_wake)(&ready.state));
                Ok((woken, next.filter(|next| self.stuck_at != Some(*next))))
            }
            Stage::Refusing { error, retry_at } => Err(refusal(error, *retry_at, self.shared.steady.now())),
            Stage::Unloaded => unreachable!("a job runs only after loading"),
        };
        self.send_when_durable(reply, to);
    }

    /// Wakes it if the instant that its state names has come, by the given clock. True when that led to events.
    fn wake_if_due(&mut self, now: Option<Timestamp>, ctx: &mut Context<Self>) -> bool {
        let (Some(timers), Stage::Ready(ready)) = (A::ABILITIES.timers, &self.stage) else { return false };
        let given = self.given(Caller { now, ..Caller::default() });
        let due = (timers.next_wake)(&ready.state);
        let Some(due) = due.filter(|due| *due <= given.now && self.stuck_at != Some(*due)) else { return false };
        if self.wakes_again_at(due).is_some_and(|again_at| again_at > self.shared.steady.now()) {
            return false;
        }
        let span = tracing::debug_span!("wake", stream = %self.stream, %due);
        let events = match span.in_scope(|| (timers.on_wake)(&ready.state, &given)) {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!(stream = %self.stream, %due, %error, "the entity could not be woken; it is tried again");
                self.wake_failures = self.wake_failures.saturating_add(1);
                // Never at once: a timer that cannot be handled must not go round in circles.
                let wait = backoff::after(&self.stream, self.wake_failures.saturating_add(1));
                self.wake_again_at = Some((due, self.shared.steady.now().after(wait)));
                return false;
            }
        };
        (self.wake_failures, self.wake_again_at) = (0, None);
        let origin = Origin { principal: None, correlation_id: None, causation_id: Some(given.id) };
        let gets_beyond = move |state: &A| match (timers.next_wake)(state) {
            Some(next) if next <= due => Err(format!("woken for {due}, it wants to be woken at {next}")),
            _ => Ok(()),
        };
        if events.is_empty() {
            // Nothing to write, and so nothing that could have got it beyond.
            self.shared.counters.faults.add(1);
            tracing::error!(stream = %self.stream, %due, "a wake led to nothing; the entity is not woken for it again");
            self.stuck_at = Some(due);
            return false;
        }
        let write = Write { id: given.id, origin, events: &events, answered: None };
        let mut is_stuck = false;
        let checked = |state: &A| {
            let checked = gets_beyond(state);
            is_stuck = checked.is_err();
            checked
        };
        let is_written = self.write(write, checked, drop::<Option<Error>>, ctx);
        if is_stuck {
            self.stuck_at = Some(due);
        }
        self.shared.counters.wakes.add(u64::from(is_written));
        is_written
    }

    /// When a wake for that instant, which has failed, is tried again. Other instants have done nothing to wait for.
    fn wakes_again_at(&self, due: Timestamp) -> Option<SteadyTime> {
        self.wake_again_at.filter(|(of, _)| *of == due).map(|(_, again_at)| again_at)
    }

    /// Tells the index when the entity next has to be looked after: after every message, and not before it is through.
    pub(super) fn note_next_wake(&mut self) {
        let Stage::Ready(ready) = &self.stage else { return };
        if !A::ABILITIES.need_attention() || !self.shared.attention.is_on() {
            return;
        }
        let next_wake = A::ABILITIES.timers.and_then(|timers| (timers.next_wake)(&ready.state));
        let next_wake = next_wake.filter(|next| self.stuck_at != Some(*next));
        // That instant has been. If the clock was set back behind it, it is noted when the wait is over.
        let again_at = next_wake.and_then(|next| self.wakes_again_at(next));
        let again_at = again_at.filter(|again_at| *again_at > self.shared.steady.now());
        let next_wake = next_wake.filter(|_| again_at.is_none());
        let next_try = again_at.into_iter().chain(self.in_hand.next_retry()).min();
        self.shared.attention.set(&self.stream, next_wake, next_try);
        // A source that has grown since it was looked at, or a write that has failed, has said so already, and that was
        // overwritten just now.
        if self.sources_behind().is_some() || self.needs_loading() {
            self.shared.look_after_now(&self.stream);
        }
    }
}
