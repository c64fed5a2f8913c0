//! `simulation/{id}`: one run of a proposed policy against a failure pattern, and everything that is computed with such runs.
//!
//! The entity guards three things: a simulation is created, asked for, started and finished in this order, each once; a
//! finished one keeps its result; the journal alone rebuilds scenario, pattern and result. It touches nothing that is live.
//!
//! Reading order: [`FailurePattern`] and [`Generator`] are what policies are tried against, [`simulate`] runs one,
//! [`SimulationResult`] is what comes of it; [`recommend`] and [`sweep`] are what can be done with runs. Then the entity: `command`, `event`, `state`, `decide`, `evolve`,
//! `query`.

mod command;
mod decide;
mod event;
mod evolve;
mod generator;
mod measures;
mod parallel;
mod pattern;
mod query;
mod random;
mod recommendation;
mod result;
mod run;
mod state;
mod sweep;
#[cfg(test)]
mod tests;

pub use command::{
    CancelSimulation, CompleteSimulation, CreateSimulation, EnqueueSimulation, Enqueued, FailSimulation, PatternSource,
    StartSimulation,
};
pub use event::{
    Event, OutcomesAdded, RELEASED, SimulationCompleted, SimulationCreated, SimulationFailed, StageReached,
    StoredPattern, TransitionsAdded,
};
pub use generator::{
    DURATION_SECONDS_MAX, FailurePatternGenerator, GenerateError, Generator, Rule, SYNTAX, SeededPatternGenerator,
};
pub use measures::{Measure, Measures, Ranking, Weights};
pub use pattern::{Cancel, Cancelled, FailurePattern, Offset, PATTERN_EVENTS_MAX, PreparedPattern};
pub use query::{GetSimulation, GetSimulationStatus};
pub use random::{GENERATOR_NAME, GENERATOR_VERSION};
pub use recommendation::{Recommendation, Score, recommend};
pub use result::{CompletedRun, PolicyTransition, SimulationResult, SimulationStatus};
pub use run::{OnStep, Totals, simulate};
pub use state::{RunInput, Simulation, Stage, StoredResult};
pub use sweep::{SWEEP_SCENARIOS_MAX, SweepEntry, SweepGrid, ThresholdRange, sweep};

use crate::runtime::Aggregate;
use ionveil_journal::StreamKind;

/// How long a simulation lasts unless it is said otherwise.
pub const DURATION_SECONDS_DEFAULT: u64 = 3_600;

impl Aggregate for Simulation {
    const KIND: StreamKind = StreamKind::new("simulation");
    type Event = Event;

    fn evolve(&mut self, event: &Event) -> Result<(), crate::error::Corrupt> {
        evolve::evolve(self, event)
    }
}
