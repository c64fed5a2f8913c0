//! What an entity is asked and told: decisions go to the journal, replies leave when all they depend on is durable.

use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Weak};
use std::time::Instant;

use actix::Context;
use ionveil_journal::{Origin, Outcome, Position, StreamId, Written};
use uuid::Uuid;

use super::super::aggregate::{Aggregate, Caller, Command, Decision, Given, Query};
use super::super::answers::{REPLY_BYTES_MAX, Repeatable};
use super::super::backoff;
use super::super::notes::CommandAnswered;
use super::super::shared::Followers;
use super::super::state_snapshot::Taken;
use super::under_way::{Behind, Called, UnderWay};
use super::{Entity, ReplyTo, Stage, refusal};
use crate::error::{Error, Invalid};

impl<A: Aggregate> Entity<A> {
    pub(super) fn query<Q: Query<A>>(&mut self, query: Q, caller: Caller, to: ReplyTo<Q::Answer>) {
        let now = caller.now.unwrap_or_else(|| self.shared.clock.now());
        let given = Given { now, id: Uuid::nil(), caller };
        let span = tracing::debug_span!("query", stream = %self.stream, query = name_of::<Q>(), correlation_id = ?given.caller.correlation_id);
        let answer = match &self.stage {
            Stage::Ready(ready) => span.in_scope(|| query.answer(&ready.state, &given)),
            Stage::Refusing { error, retry_at } => {
                let refused = refusal(error, *retry_at, self.shared.steady.now());
                return self.send_in_turn(Err(refused), to);
            }
            Stage::Unloaded => unreachable!("a job runs only after loading"),
        };
        self.send_when_durable(answer, to);
    }

    pub(super) fn command<C: Command<A>>(
        &mut self,
        command: C,
        caller: Caller,
        to: ReplyTo<C::Reply>,
        ctx: &mut Context<Self>,
    ) {
        let given = self.given(caller);
        let id = given.id;
        let span = tracing::debug_span!("command", stream = %self.stream, command = name_of::<C>(), correlation_id = ?given.caller.correlation_id);
        let ready = match &mut self.stage {
            Stage::Ready(ready) => ready,
            Stage::Refusing { error, retry_at } => {
                let refused = refusal(error, *retry_at, self.shared.steady.now());
                return self.send_in_turn(Err(refused), to);
            }
            Stage::Unloaded => unreachable!("a job runs only after loading"),
        };
        let repeatable = match (given.caller.command_id, C::REPLY) {
            (None, _) => None,
            (Some(command_id), Some(codec)) => {
                Some((Repeatable::new(command_id, name_of::<C>(), command.content().as_deref()), codec))
            }
            (Some(command_id), None) => {
                let refused = Invalid::new("command_id", command_id, "none for this command");
                return self.send_in_turn(Err(refused.into()), to);
            }
        };
        if let Some((asked, codec)) = &repeatable {
            match ready.answers.find(*asked) {
                Ok(None) => {}
                Ok(Some(Err(refusal))) => return self.send_when_durable(Err(refusal), to),
                Ok(Some(Ok(bytes))) => {
                    let first = (codec.decode)(ionveil_journal::codec::BINCODE_2, &bytes).map_err(|_| {
                        let allowed = "one whose reply was remembered by this release; the command was carried out";
                        Invalid::new("command_id", asked.command_id, allowed).into()
                    });
                    return self.send_when_durable(first, to);
                }
                Err(invalid) => return self.send_when_durable(Err(invalid.into()), to),
            }
        }
        let decided = span.in_scope(|| command.decide(&ready.state, &given));
        let Decision { events, reply } = match decided {
            Ok(decision) if !decision.events.is_empty() => decision,
            nothing_new => {
                let reply = nothing_new.map(|decision| decision.reply);
                if let Some((asked, codec)) = repeatable {
                    let answer = reply.as_ref().map(codec.encode).map_err(Error::clone);
                    ready.answers.remember(asked, given.now, answer);
                }
                return self.send_when_durable(reply, to);
            }
        };
        let answered = repeatable.map(|(asked, codec)| CommandAnswered {
            command_id: asked.command_id,
            command: asked.command.to_owned(),
            answered_at: given.now,
            reply: (codec.encode)(&reply),
            content: asked.content,
        });
        // Kept alone it would push out all others, and an append has to hold it.
        if let Some(answered) = answered.as_ref().filter(|answered| answered.reply.len() > REPLY_BYTES_MAX) {
            let allowed = format!("none: the reply takes {} bytes, {REPLY_BYTES_MAX} are kept", answered.reply.len());
            let refused = Invalid::new("command_id", answered.command_id, allowed);
            return self.send_in_turn(Err(refused.into()), to);
        }
        let origin = Origin {
            causation_id: Some(given.caller.command_id.unwrap_or(id)),
            principal: given.caller.principal,
            correlation_id: given.caller.correlation_id,
        };
        let decision = Write { id, origin, events: &events, answered };
        self.write(decision, |_| Ok(()), move |failure| to.send(failure.map_or(Ok(reply), Err)), ctx);
    }

    /// What is known when something is decided: the instant, and a fresh id, both of one look at the clock.
    pub(super) fn given(&self, caller: Caller) -> Given {
        let now = self.shared.clock.now();
        Given { now: caller.now.unwrap_or(now), id: self.shared.ids.next(now), caller }
    }

    /// Takes events in and hands them to the journal; `settled` is called when they are durable, or with the reason why they
    /// are not, behind what was handed over before. False when that is known already.
    ///
    /// The state takes them first. If it refuses them, or `check` refuses the state that they lead to, nothing is written.
    /// Then, and when the journal does not take them, the entity rebuilds itself: its state tells of what never happened.
    pub(super) fn write(
        &mut self,
        Write { id, origin, events, answered }: Write<'_, A>,
        check: impl FnOnce(&A) -> Result<(), String>,
        settled: impl FnOnce(Option<Error>) + Send + 'static,
        ctx: &mut Context<Self>,
    ) -> bool {
        let Stage::Ready(ready) = &mut self.stage else { unreachable!("only a state that is there decides") };
        let taken = ready.take(&self.stream, id, origin, events, answered).map_err(|corrupt| corrupt.to_string());
        let append = match taken.and_then(|append| check(&ready.state).map(|()| append)) {
            Ok(append) => append,
            Err(problem) => {
                self.shared.counters.faults.add(1);
                tracing::error!(stream = %self.stream, problem, "a decision breaks the entity's own rules; it is not written");
                let fault =
                    Error::unavailable(format!("the entity decided what it does not accept itself: {problem}"), true);
                self.fail(fault.clone());
                self.in_turn(move || settled(Some(fault)));
                return false;
            }
        };
        let events_len = append.events.len() as u64;
        let snapshot = self.pace.take_if_due(ready, events_len);
        let followers = self.shared.followers_of(&self.stream);
        // Boxed, since most writes need none of it: what goes from thread to thread stays small.
        let afterwards = (A::ABILITIES.need_attention() || snapshot.is_some() || followers.is_some())
            .then(|| Box::new(Afterwards { stream: self.stream.clone(), snapshot, followers }));
        let under_way = Arc::new(UnderWay::new(settled));
        let done = {
            let under_way = Arc::clone(&under_way);
            let writes = Arc::clone(&self.writes);
            let begin = Instant::now();
            Box::new(move |outcome| {
                let shared = &writes.shared;
                let outcome = settle(outcome);
                match &outcome {
                    Ok(written) => {
                        shared.count_commit(begin, events_len, written.position);
                        writes.position.store(written.position.get(), Ordering::Release);
                    }
                    Err(_) => {
                        shared.counters.commits_failed.add(1);
                        writes.failed.fetch_add(1, Ordering::AcqRel);
                    }
                }
                let written = outcome.as_ref().ok().copied();
                if let Some(settled) = under_way.take() {
                    settled(outcome.err());
                }
                under_way.tell();
                // Only now, so that an answer that finds nothing under way cannot overtake these replies.
                writes.under_way.fetch_sub(1, Ordering::AcqRel);
                let Some(afterwards) = afterwards else { return };
                let Afterwards { stream, snapshot, followers } = *afterwards;
                match written {
                    Some(Written { position, .. }) => {
                        if let Some(followers) = followers {
                            shared.nudge(&stream, &followers);
                        }
                        if let Some(snapshot) = snapshot {
                            shared.save_snapshot::<A>(stream, snapshot, position);
                        }
                    }
                    // What it waits for may not be what its state on disk waits for.
                    None if A::ABILITIES.need_attention() => shared.look_after_now(&stream),
                    None => {}
                }
            })
        };
        self.writes.under_way.fetch_add(1, Ordering::AcqRel);
        if let Err(error) = self.shared.journal.submit(append, done) {
            self.writes.under_way.fetch_sub(1, Ordering::AcqRel);
            // Nothing was written, and nobody else's reply hangs on it.
            let now = self.shared.steady.now();
            let error = Error::from(error);
            self.stage = Stage::Refusing { error: error.clone(), retry_at: Some(now) };
            if A::ABILITIES.need_attention() {
                // Or earlier: what its state on disk waits for has nothing to do with this.
                let again_at = now.after(error.retry_after().unwrap_or(backoff::LONGEST));
                self.shared.attention.wait_by(&self.stream, again_at);
            }
            if let Some(settled) = under_way.take() {
                self.in_turn(move || settled(Some(error)));
            }
            return false;
        }
        let under_way: Arc<dyn Behind> = under_way;
        self.behind_last = Some(Arc::downgrade(&under_way));
        self.hand_out_effects(ctx);
        true
    }

    /// Sends what depends on the present state, at once if that is durable, else as soon as it is.
    pub(super) fn send_when_durable<R: Send + 'static>(&self, reply: Result<R, Error>, to: ReplyTo<R>) {
        self.when_durable(move |durable| to.send(durable.and(reply)));
    }

    /// Sends what depends on nothing: behind the replies to what came before, however that fares.
    fn send_in_turn<R: Send + 'static>(&self, reply: Result<R, Error>, to: ReplyTo<R>) {
        self.in_turn(move || to.send(reply));
    }

    fn in_turn(&self, called: impl FnOnce() + Send + 'static) {
        self.when_durable(move |_| called());
    }

    /// Calls back when the present state is durable, at once if it is; or with the reason why it never will be.
    pub(super) fn when_durable(&self, called: impl FnOnce(Result<(), Error>) + Send + 'static) {
        let writes = Arc::clone(&self.writes);
        let failures_seen = self.failures_seen;
        let check = move || {
            if writes.failed.load(Ordering::Acquire) == failures_seen {
                Ok(())
            } else {
                Err(Error::unavailable("events that this answer depends on could not be written", true))
            }
        };
        if self.writes.under_way.load(Ordering::Acquire) == 0 {
            return called(check());
        }
        let called: Called = Box::new(move |durable| called(durable.and_then(|()| check())));
        let Some(behind) = self.behind_last.as_ref().and_then(Weak::upgrade) else {
            // It has just come through, or its writer went without telling.
            fence(Ordering::Acquire);
            let is_through = self.writes.under_way.load(Ordering::Acquire) == 0;
            return called(
                is_through.then_some(()).ok_or_else(|| Error::unavailable("the journal's writer stopped", true)),
            );
        };
        if let Err(called) = behind.wait(called) {
            called(Ok(()));
        }
    }

    /// Where the last durable event of this incarnation's own lies; none before the first.
    pub(super) fn durable_position(&self) -> Position {
        Position::new(self.writes.position.load(Ordering::Acquire))
    }
}

/// What is to be written.
pub(super) struct Write<'a, A: Aggregate> {
    /// Fresh; the ids of the events follow from it, so that the journal knows a repeated append by them.
    pub(super) id: Uuid,
    pub(super) origin: Origin,
    pub(super) events: &'a [A::Event],
    pub(super) answered: Option<CommandAnswered>,
}

/// What is done behind the reply.
struct Afterwards {
    stream: StreamId,
    snapshot: Option<Taken>,
    followers: Option<Followers>,
}

fn settle(outcome: Outcome) -> Result<Written, Error> {
    match outcome {
        Outcome::Committed(written) | Outcome::AlreadyCommitted(written) => Ok(written),
        Outcome::Conflict { head } => {
            Err(Error::unavailable(format!("another writer has moved the stream to sequence {head}"), true))
        }
        Outcome::Fenced { epoch } => Err(Error::unavailable(format!("epoch {epoch} has taken over the stream"), true)),
        Outcome::Rejected(error) => Err(error.into()),
        Outcome::Unknown { cause } => {
            Err(Error::unavailable(format!("whether the events were written is not known: {cause}"), false))
        }
    }
}

/// The last part of a type's path: what a command or query is called in spans and remembered answers.
fn name_of<T>() -> &'static str {
    let path = std::any::type_name::<T>();
    let path = path.split('<').next().unwrap_or(path);
    path.rsplit("::").next().unwrap_or(path)
}
