//! What is known of a simulation, by the stage it is in.

use std::sync::Arc;

use super::event::{SimulationCompleted, SimulationCreated, StoredPattern};
use super::generator::{GenerateError, Generator};
use super::pattern::{CANCEL_STRIDE, Cancel, FailurePattern, Offset};
use super::result::{CompletedRun, SimulationResult, SimulationStatus};
use super::run::Totals;
use crate::policy::{Ladder, OutcomeLog, PolicyScenario, Reason, Step};

/// One simulation. The default is one that was never created.
#[derive(Debug, Default)]
pub struct Simulation {
    pub(super) created: Option<Created>,
}

/// A simulation that was created.
#[derive(Debug)]
pub(super) struct Created {
    pub(super) input: Arc<RunInput>,
    pub(super) stage: Stage,
    /// Steps of a result that is not complete yet.
    pub(super) steps: Vec<OutcomeLog>,
}

/// Where a simulation is in its life.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// Waits to be asked for.
    Pending,
    /// Waits its turn.
    Queued,
    /// Is being run.
    Running,
    /// Completed or failed.
    Finished(Arc<StoredResult>),
    /// Called off.
    Cancelled,
}

/// All that a run depends on, as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct RunInput {
    pub(super) created: SimulationCreated,
    pub(super) outcomes: Vec<OutcomeLog>,
}

/// What came of a run, as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub enum StoredResult {
    /// It was completed.
    Completed {
        /// What it adds up to.
        completed: SimulationCompleted,
        /// Times in microseconds of its steps, and whether each led up.
        steps: Vec<OutcomeLog>,
    },
    /// It failed, for this reason.
    Failed(String),
}

impl Simulation {
    /// The stage; `None` when there is no such simulation.
    pub fn stage(&self) -> Option<&Stage> {
        self.created.as_ref().map(|created| &created.stage)
    }

    /// What it depends on; `None` when there is no such simulation.
    pub fn input(&self) -> Option<&Arc<RunInput>> {
        self.created.as_ref().map(|created| &created.input)
    }
}

impl Stage {
    /// As users see it.
    pub fn status(&self) -> SimulationStatus {
        match self {
            Stage::Pending | Stage::Queued => SimulationStatus::Pending,
            Stage::Running => SimulationStatus::Running,
            Stage::Finished(result) => match **result {
                StoredResult::Completed { .. } => SimulationStatus::Completed,
                StoredResult::Failed(_) => SimulationStatus::Failed,
            },
            Stage::Cancelled => SimulationStatus::Cancelled,
        }
    }
}

impl RunInput {
    /// The scenario.
    pub fn scenario(&self) -> PolicyScenario {
        PolicyScenario::from(&self.created.scenario)
    }

    /// Virtual seconds.
    pub fn duration_seconds(&self) -> u64 {
        self.created.duration_seconds
    }

    /// The virtual start.
    pub fn start(&self) -> crate::domain::Timestamp {
        self.created.start
    }

    /// The pattern without its events, for results of which there are none.
    pub fn pattern_head(&self) -> FailurePattern {
        let (pattern_id, description) = match &self.created.pattern {
            StoredPattern::Given { pattern_id, description, .. } => (pattern_id.clone(), description.clone()),
            StoredPattern::Generated { generator, .. } => (generator.clone(), String::new()),
        };
        FailurePattern { pattern_id, description, events: Vec::new() }
    }

    /// The pattern, made again or unpacked.
    ///
    /// # Errors
    /// When it was cancelled. A generator that was accepted makes its pattern again.
    pub fn pattern(&self, cancel: &Cancel) -> Result<FailurePattern, GenerateError> {
        match &self.created.pattern {
            StoredPattern::Generated { generator, .. } => generator.parse::<Generator>()?.generate(cancel),
            StoredPattern::Given { events_len, .. } => {
                let mut events = Vec::with_capacity(*events_len as usize);
                for (at, is_success) in self.outcomes.iter().flat_map(OutcomeLog::outcomes) {
                    if events.len().is_multiple_of(CANCEL_STRIDE) {
                        cancel.check()?;
                    }
                    events.push((offset(at), is_success));
                }
                Ok(FailurePattern { events, ..self.pattern_head() })
            }
        }
    }
}

impl StoredResult {
    /// The result as its users see it.
    ///
    /// # Panics
    /// When `input` is that of another simulation.
    pub fn to_result(&self, id: &str, input: &RunInput, pattern: Arc<FailurePattern>) -> SimulationResult {
        let scenario = input.scenario();
        match self {
            StoredResult::Failed(message) => {
                let (status, message) = (SimulationStatus::Failed, Some(message.clone()));
                SimulationResult::unfinished(id.to_owned(), scenario, pattern, status, message)
            }
            StoredResult::Completed { completed, steps } => {
                let ladder = Ladder::new(&scenario).expect("it was checked when it was created");
                let totals = Totals::from(completed);
                let run = CompletedRun {
                    ladder: &ladder,
                    start: input.start(),
                    totals: &totals,
                    steps: &path(&ladder, steps),
                    events_simulated: completed.events_simulated,
                    events_ignored: completed.events_ignored,
                    failures: completed.failures,
                };
                SimulationResult::completed(id.to_owned(), scenario, pattern, run)
            }
        }
    }
}

impl From<&SimulationCompleted> for Totals {
    fn from(completed: &SimulationCompleted) -> Self {
        Totals {
            micros_by_level: completed.micros_by_level.clone(),
            final_level: completed.final_level,
            escalations: completed.escalations,
            deescalations: completed.deescalations,
            compliant: completed.compliant,
            exposed: completed.exposed,
        }
    }
}

/// Steps from the first level on. What each took is exactly its threshold: a run starts with nothing counted, and both
/// counters start anew with each step.
fn path(ladder: &Ladder, steps: &[OutcomeLog]) -> Vec<(Offset, Step)> {
    let mut level = 0;
    let directions = steps.iter().flat_map(OutcomeLog::outcomes);
    let step = directions.map(|(at, is_up)| {
        let from = level;
        let reason = if is_up {
            level += 1;
            Reason::FailureBurst(ladder.escalation_threshold())
        } else {
            level -= 1;
            Reason::SuccessStreak(
                ladder.deescalation_threshold(from).expect("a step down is where there is a threshold"),
            )
        };
        (offset(at), Step { from, to: level, reason })
    });
    step.collect()
}

fn offset(micros: i64) -> Offset {
    Offset::from_micros(micros).expect("only offsets were stored")
}
