//! State and command to decision or refusal.

use ionveil_journal::codec;

use super::command::{Configure, ManualAction, ManualStep, RecordBatch, RecordOutcomes, Recorded, RejectedOutcome};
use super::event::{Event, ManuallyMoved, OutcomesRecorded, PolicyConfigured, StoredScenario, StoredStep, instant};
use super::evolve::walk;
use super::machine::{Ladder, Machine};
use super::outcome_log::{OutcomeLog, OutcomeRun};
use super::reply::{StoredRecorded, StoredTransition};
use super::state::{OrgPolicy, Transition, TransitionReason};
use super::{BATCH_OUTCOMES_MAX, EVENT_OUTCOMES_MAX, OUTCOMES_MAX, REASON_CHARS_MAX};
use crate::domain::{Timestamp, check_id};
use crate::error::{Error, Invalid};
use crate::runtime::{Command, Decision, Given, ReplyCodec};

impl Command<OrgPolicy> for RecordOutcomes {
    type Reply = Recorded;
    const REPLY: Option<ReplyCodec<Recorded>> = Some(ReplyCodec::stored_as::<StoredRecorded, 1>());

    fn content(&self) -> Option<Vec<u8>> {
        Some(codec::encode(&(self.is_success, self.count, self.at)))
    }

    fn decide(self, state: &OrgPolicy, given: &Given) -> Result<Decision<Event, Recorded>, Error> {
        if !(1..=OUTCOMES_MAX).contains(&self.count) {
            return Err(Invalid::new("count", self.count, format!("1 to {OUTCOMES_MAX}")).into());
        }
        let at = instant_of(self.at, state, given)?.as_micros();
        let run = OutcomeRun { first: at, distance: 0, is_success: self.is_success, count: self.count };
        let mut recording = Recording::new(state);
        recording.take(OutcomeLog::pack_runs([run].into_iter()));
        Ok(recording.decision(vec![]))
    }
}

impl Command<OrgPolicy> for RecordBatch {
    type Reply = Recorded;
    const REPLY: Option<ReplyCodec<Recorded>> = Some(ReplyCodec::stored_as::<StoredRecorded, 1>());

    fn content(&self) -> Option<Vec<u8>> {
        Some(codec::encode(&(&self.outcomes, self.is_whole)))
    }

    fn decide(self, state: &OrgPolicy, _: &Given) -> Result<Decision<Event, Recorded>, Error> {
        if self.outcomes.len() > BATCH_OUTCOMES_MAX {
            let met = format!("{} outcomes", self.outcomes.len());
            return Err(Invalid::new("outcomes", met, format!("at most {BATCH_OUTCOMES_MAX}")).into());
        }
        let (mut accepted, mut rejected) = (Vec::with_capacity(self.outcomes.len()), Vec::new());
        let mut last = state.last_at();
        for (index, (at, is_success)) in self.outcomes.into_iter().enumerate() {
            match check_not_earlier("timestamp", at, last) {
                Ok(()) => {
                    accepted.push((at.as_micros(), is_success));
                    last = Some(at);
                }
                Err(because) if self.is_whole => return Err(because.into()),
                Err(because) => rejected.push(RejectedOutcome { index, because }),
            }
        }
        let mut recording = Recording::new(state);
        for outcomes in accepted.chunks(EVENT_OUTCOMES_MAX) {
            recording.take(OutcomeLog::pack(outcomes.iter().copied()));
        }
        Ok(recording.decision(rejected))
    }
}

impl Command<OrgPolicy> for ManualStep {
    type Reply = Transition;
    const REPLY: Option<ReplyCodec<Transition>> = Some(ReplyCodec::stored_as::<StoredTransition, 1>());

    fn content(&self) -> Option<Vec<u8>> {
        Some(codec::encode(&(self.action, &self.user, &self.reason, self.at)))
    }

    fn decide(self, state: &OrgPolicy, given: &Given) -> Result<Decision<Event, Transition>, Error> {
        check_id("user", &self.user)?;
        let reason_chars = self.reason.chars().count();
        if self.reason.trim().is_empty() || reason_chars > REASON_CHARS_MAX {
            let shown = format!("{:?}", self.reason);
            return Err(Invalid::new("reason", shown, format!("1 to {REASON_CHARS_MAX} characters, not blank")).into());
        }
        let at = instant_of(self.at, state, given)?;
        let (level, ladder) = (state.machine().level, state.ladder());
        let to_level = match self.action {
            ManualAction::Escalate if level == ladder.last() => return Err(conflict(state, "last")),
            ManualAction::Escalate => level + 1,
            ManualAction::Deescalate if level == 0 => return Err(conflict(state, "first")),
            ManualAction::Deescalate => level - 1,
            ManualAction::Reset => 0,
        };
        let (from, to) = (ladder.name(level), ladder.name(to_level));
        let reply = Transition {
            from: from.clone(),
            to: to.clone(),
            timestamp: at,
            reason: TransitionReason::Manual(self.reason.as_str().into()),
            user: Some(self.user.as_str().into()),
        };
        let (from, to) = (from.to_string(), to.to_string());
        let moved = ManuallyMoved { at, action: self.action, from, to, user: self.user, reason: self.reason };
        Ok(Decision { events: vec![Event::Moved(moved)], reply })
    }
}

impl Command<OrgPolicy> for Configure {
    type Reply = bool;
    const REPLY: Option<ReplyCodec<bool>> = Some(ReplyCodec::STORED);

    fn content(&self) -> Option<Vec<u8>> {
        Some(codec::encode(&(StoredScenario::from(&self.scenario), self.at)))
    }

    fn decide(self, state: &OrgPolicy, given: &Given) -> Result<Decision<Event, bool>, Error> {
        let ladder = Ladder::new(&self.scenario)?;
        let at = instant_of(self.at, state, given)?;
        if self.scenario == state.scenario {
            return Ok(Decision { events: vec![], reply: false });
        }
        let from = state.policy();
        let to = if ladder.level_of(from).is_some() { from } else { ladder.name(0) };
        let scenario = StoredScenario::from(&self.scenario);
        let configured = PolicyConfigured { at, scenario, from: from.to_string(), to: to.to_string() };
        Ok(Decision { events: vec![Event::Configured(configured)], reply: true })
    }
}

/// Outcomes on their way into events.
struct Recording<'a> {
    state: &'a OrgPolicy,
    machine: Machine,
    events: Vec<Event>,
    accepted: u64,
    transitions: Vec<Transition>,
}

impl<'a> Recording<'a> {
    fn new(state: &'a OrgPolicy) -> Self {
        Recording { state, machine: state.machine(), events: Vec::new(), accepted: 0, transitions: Vec::new() }
    }

    fn take(&mut self, outcomes: OutcomeLog) {
        let ladder = self.state.ladder();
        let mut steps = Vec::new();
        walk(&mut self.machine, ladder, &outcomes, |outcome, at, step| {
            steps.push(StoredStep { outcome, from_level: step.from, to_level: step.to, reason: step.reason });
            self.transitions.push(Transition::of_step(ladder, instant(at), step));
        });
        self.accepted += outcomes.count();
        self.events.push(Event::Recorded(OutcomesRecorded { outcomes, steps }));
    }

    fn decision(self, rejected: Vec<RejectedOutcome>) -> Decision<Event, Recorded> {
        let policy = self.state.ladder().name(self.machine.level).clone();
        let reply = Recorded { accepted: self.accepted, rejected, policy, transitions: self.transitions };
        Decision { events: self.events, reply }
    }
}

/// The instant of a change: as asked for, else by the clock, which may be a little behind what it stamped before.
fn instant_of(asked: Option<Timestamp>, state: &OrgPolicy, given: &Given) -> Result<Timestamp, Invalid> {
    match asked.or(given.caller.now) {
        Some(at) => check_not_earlier("now", at, state.last_at()).map(|()| at),
        None => Ok(state.last_at().map_or(given.now, |last| given.now.max(last))),
    }
}

fn check_not_earlier(field: &str, at: Timestamp, last: Option<Timestamp>) -> Result<(), Invalid> {
    match last {
        Some(last) if at < last => {
            Err(Invalid::new(field, at, format!("at least {last}, the last instant of the org's policy")))
        }
        _ => Ok(()),
    }
}

fn conflict(state: &OrgPolicy, end: &str) -> Error {
    Error::Conflict { reason: format!("the policy is {}, the {end} of its ladder", state.policy()) }
}
