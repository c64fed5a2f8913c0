//! What a simulation can be told. Each command carries the simulation's id for what it refuses.

use std::sync::Arc;

use super::generator::Generator;
use super::pattern::{Cancel, Cancelled, FailurePattern, Offset};
use super::run::Totals;
use super::state::{RunInput, Simulation, StoredResult};
use crate::domain::Timestamp;
use crate::error::Error;
use crate::policy::{OutcomeLog, PolicyScenario, Step};

/// Where a simulation's pattern comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum PatternSource {
    /// Given as it is.
    Given(Arc<FailurePattern>),
    /// Made by rule whenever it is needed; only the rule is stored.
    Generated(Generator),
}

impl From<FailurePattern> for PatternSource {
    fn from(pattern: FailurePattern) -> Self {
        PatternSource::Given(Arc::new(pattern))
    }
}

impl From<Arc<FailurePattern>> for PatternSource {
    fn from(pattern: Arc<FailurePattern>) -> Self {
        PatternSource::Given(pattern)
    }
}

impl From<Generator> for PatternSource {
    fn from(generator: Generator) -> Self {
        PatternSource::Generated(generator)
    }
}

/// Makes a simulation, which then waits to be asked to run.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateSimulation {
    /// Its id.
    pub id: String,
    /// What to try.
    pub scenario: PolicyScenario,
    /// What to try it against.
    pub pattern: PatternSource,
    /// How long, 1 to 10⁹ seconds.
    pub duration_seconds: u64,
    /// The virtual start.
    pub start: Timestamp,
}

/// Asks it to run, as soon as there is room. A conflict when it is running, waiting to run, or cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnqueueSimulation {
    /// Its id.
    pub id: String,
}

/// What asking it to run led to.
#[derive(Debug, Clone, PartialEq)]
pub enum Enqueued {
    /// It waits its turn.
    Waiting,
    /// It was finished before, with this result.
    Finished(Arc<RunInput>, Arc<StoredResult>),
}

/// Its turn has come. Replies what to run; `None` when it was cancelled meanwhile. Also of one that was interrupted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartSimulation {
    /// Its id.
    pub id: String,
}

/// It is done. Replies whether that was recorded: not when it was cancelled meanwhile.
#[derive(Debug, Clone, PartialEq)]
pub struct CompleteSimulation {
    /// Its id.
    pub id: String,
    /// What it adds up to.
    pub totals: Totals,
    /// Times of its steps in microseconds, and whether each led up.
    pub steps: Vec<OutcomeLog>,
    /// Events that the policy met.
    pub events_simulated: u64,
    /// Events at or after the duration.
    pub events_ignored: u64,
    /// Failures among those that the policy met.
    pub failures: u64,
}

/// It could not be done. Replies as [`CompleteSimulation`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailSimulation {
    /// Its id.
    pub id: String,
    /// Why.
    pub error_message: String,
}

/// Calls it off. Replies whether that was still possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelSimulation {
    /// Its id.
    pub id: String,
}

/// Most steps of one stored part: a few megabytes at the worst.
pub(super) const PART_OUTCOMES_MAX: usize = 1 << 20;

impl CompleteSimulation {
    /// Packs the steps of a run.
    ///
    /// # Errors
    /// When it was cancelled.
    pub fn pack_steps(steps: &[(Offset, Step)], cancel: &Cancel) -> Result<Vec<OutcomeLog>, Cancelled> {
        let pair = |&(offset, step): &(Offset, Step)| (offset.as_micros(), step.to > step.from);
        let pack = |part: &[(Offset, Step)]| cancel.check().map(|()| OutcomeLog::pack(part.iter().map(pair)));
        steps.chunks(PART_OUTCOMES_MAX).map(pack).collect()
    }
}

impl Simulation {
    /// What is refused because there is no such simulation.
    pub(super) fn missing(id: &str) -> Error {
        Error::NotFound { what: "simulation", id: id.to_owned() }
    }
}
