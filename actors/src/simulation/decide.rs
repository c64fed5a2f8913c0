//! State and command to decision or refusal.

use std::sync::Arc;

use ionveil_journal::codec;

use super::command::{
    CancelSimulation, CompleteSimulation, CreateSimulation, EnqueueSimulation, Enqueued, FailSimulation,
    PART_OUTCOMES_MAX, PatternSource, StartSimulation,
};
use super::event::{
    Event, OutcomesAdded, SimulationCompleted, SimulationCreated, SimulationFailed, StageReached, StoredPattern,
    TransitionsAdded,
};
use super::pattern::FailurePattern;
use super::random::GENERATOR_VERSION;
use super::state::{Created, RunInput, Simulation, Stage};
use super::{SOFTWARE, check_duration};
use crate::domain::Timestamp;
use crate::error::{Error, Invalid};
use crate::policy::{OutcomeLog, StoredScenario};
use crate::runtime::{Command, Decision, Given, ReplyCodec};

/// What a pattern may take up, all parts together: what one append to the journal takes, less room for the rest.
const PATTERN_BYTES_MAX: usize = ionveil_journal::Append::BYTES_MAX - (1 << 20);

impl Command<Simulation> for CreateSimulation {
    type Reply = ();
    const REPLY: Option<ReplyCodec<()>> = Some(ReplyCodec::STORED);

    fn content(&self) -> Option<Vec<u8>> {
        let pattern = match &self.pattern {
            PatternSource::Given(pattern) => {
                let pair = |&(offset, is_success): &(super::Offset, bool)| (offset.as_micros(), is_success);
                let events: Vec<(i64, bool)> = pattern.events.iter().map(pair).collect();
                codec::encode(&(true, &pattern.pattern_id, &pattern.description, events))
            }
            PatternSource::Generated(generator) => codec::encode(&(false, generator.to_string())),
        };
        Some(codec::encode(&(StoredScenario::from(&self.scenario), pattern, self.duration_seconds, self.start)))
    }

    fn decide(self, state: &Simulation, given: &Given) -> Result<Decision<Event, ()>, Error> {
        let CreateSimulation { id, scenario, pattern, duration_seconds, start } = self;
        if state.created.is_some() {
            return Err(Error::Conflict { reason: format!("simulation {id} exists already") });
        }
        scenario.check()?;
        check_span(duration_seconds, start)?;
        let (pattern, outcomes) = match pattern {
            PatternSource::Given(pattern) => given_pattern(&pattern)?,
            PatternSource::Generated(generator) => {
                generator.check_seed()?;
                let generator = generator.to_string();
                (StoredPattern::Generated { generator, version: GENERATOR_VERSION }, vec![])
            }
        };
        let scenario = StoredScenario::from(&scenario);
        let software = SOFTWARE.to_owned();
        let created = SimulationCreated { at: given.now, scenario, pattern, duration_seconds, start, software };
        let parts = outcomes.into_iter().map(|outcomes| Event::OutcomesAdded(OutcomesAdded { outcomes }));
        Ok(Decision { events: [Event::Created(created)].into_iter().chain(parts).collect(), reply: () })
    }
}

/// Checks how long a simulation lasts and that its end is an instant.
fn check_span(duration_seconds: u64, start: Timestamp) -> Result<(), Invalid> {
    check_duration(duration_seconds)?;
    let end = start.as_micros() + duration_seconds as i64 * 1_000_000;
    match Timestamp::from_micros(end) {
        Some(_) => Ok(()),
        None => Err(Invalid::new(
            "start",
            start,
            format!("an instant from which {duration_seconds} s end before year 10000"),
        )),
    }
}

fn given_pattern(pattern: &FailurePattern) -> Result<(StoredPattern, Vec<OutcomeLog>), Invalid> {
    pattern.check()?;
    let pair = |&(offset, is_success): &(super::Offset, bool)| (offset.as_micros(), is_success);
    let parts = pattern.events.chunks(PART_OUTCOMES_MAX);
    let outcomes: Vec<OutcomeLog> = parts.map(|part| OutcomeLog::pack(part.iter().map(pair))).collect();
    let bytes: usize = outcomes.iter().map(OutcomeLog::bytes).sum();
    if bytes > PATTERN_BYTES_MAX {
        let allowed = format!("at most {PATTERN_BYTES_MAX} bytes; patterns in the order of time take less");
        return Err(Invalid::new("failure_pattern", format_args!("{bytes} bytes when stored"), allowed));
    }
    let stored = StoredPattern::Given {
        pattern_id: pattern.pattern_id.clone(),
        description: pattern.description.clone(),
        events_len: pattern.events.len() as u64,
    };
    Ok((stored, outcomes))
}

impl Command<Simulation> for EnqueueSimulation {
    type Reply = Enqueued;

    fn decide(self, state: &Simulation, given: &Given) -> Result<Decision<Event, Enqueued>, Error> {
        let created = created(state, &self.id)?;
        match &created.stage {
            Stage::Pending => {
                let queued = Event::Queued(StageReached { at: given.now });
                Ok(Decision { events: vec![queued], reply: Enqueued::Waiting })
            }
            Stage::Finished(result) => {
                let reply = Enqueued::Finished(Arc::clone(&created.input), Arc::clone(result));
                Ok(Decision { events: vec![], reply })
            }
            Stage::Queued => Err(conflict(&self.id, "waits to run already")),
            Stage::Running => Err(conflict(&self.id, "is running already")),
            Stage::Cancelled => Err(conflict(&self.id, "was cancelled")),
        }
    }
}

impl Command<Simulation> for StartSimulation {
    type Reply = Option<Arc<RunInput>>;

    fn decide(self, state: &Simulation, given: &Given) -> Result<Decision<Event, Self::Reply>, Error> {
        let created = created(state, &self.id)?;
        let input = Arc::clone(&created.input);
        match &created.stage {
            Stage::Queued => {
                Ok(Decision { events: vec![Event::Started(StageReached { at: given.now })], reply: Some(input) })
            }
            // It was interrupted: it runs again, from the same input to the same result.
            Stage::Running => Ok(Decision { events: vec![], reply: Some(input) }),
            Stage::Cancelled => Ok(Decision { events: vec![], reply: None }),
            Stage::Pending => Err(conflict(&self.id, "has not been asked to run")),
            Stage::Finished(_) => Err(conflict(&self.id, "is finished")),
        }
    }
}

impl Command<Simulation> for CompleteSimulation {
    type Reply = bool;

    fn decide(self, state: &Simulation, given: &Given) -> Result<Decision<Event, bool>, Error> {
        let CompleteSimulation { id, totals, steps, events_simulated, events_ignored, failures } = self;
        finish(state, &id, || {
            let parts = steps.into_iter().map(|steps| Event::TransitionsAdded(TransitionsAdded { steps }));
            let completed = Event::Completed(SimulationCompleted {
                at: given.now,
                micros_by_level: totals.micros_by_level,
                final_level: totals.final_level,
                escalations: totals.escalations,
                deescalations: totals.deescalations,
                compliant: totals.compliant,
                exposed: totals.exposed,
                events_simulated,
                events_ignored,
                failures,
            });
            parts.chain([completed]).collect()
        })
    }
}

impl Command<Simulation> for FailSimulation {
    type Reply = bool;

    fn decide(self, state: &Simulation, given: &Given) -> Result<Decision<Event, bool>, Error> {
        let FailSimulation { id, error_message } = self;
        finish(state, &id, || vec![Event::Failed(SimulationFailed { at: given.now, error_message })])
    }
}

fn finish(state: &Simulation, id: &str, events: impl FnOnce() -> Vec<Event>) -> Result<Decision<Event, bool>, Error> {
    match created(state, id)?.stage {
        Stage::Running => Ok(Decision { events: events(), reply: true }),
        Stage::Cancelled => Ok(Decision { events: vec![], reply: false }),
        Stage::Pending | Stage::Queued => Err(conflict(id, "is not running")),
        Stage::Finished(_) => Err(conflict(id, "is finished")),
    }
}

impl Command<Simulation> for CancelSimulation {
    type Reply = bool;
    const REPLY: Option<ReplyCodec<bool>> = Some(ReplyCodec::STORED);

    fn decide(self, state: &Simulation, given: &Given) -> Result<Decision<Event, bool>, Error> {
        match created(state, &self.id)?.stage {
            Stage::Pending | Stage::Queued | Stage::Running => {
                Ok(Decision { events: vec![Event::Cancelled(StageReached { at: given.now })], reply: true })
            }
            Stage::Finished(_) | Stage::Cancelled => Ok(Decision { events: vec![], reply: false }),
        }
    }
}

fn created<'a>(state: &'a Simulation, id: &str) -> Result<&'a Created, Error> {
    state.created.as_ref().ok_or_else(|| Simulation::missing(id))
}

fn conflict(id: &str, because: &str) -> Error {
    Error::Conflict { reason: format!("simulation {id} {because}") }
}
