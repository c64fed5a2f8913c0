//! `simulation/{id}`: one run of a proposed policy against a failure pattern, and everything that is computed with such runs.
//!
//! The entity guards three things: a simulation is created, asked for, started and finished in this order, each once; a
//! finished one keeps its result; the journal alone rebuilds scenario, pattern and result. It touches nothing that is live.
//!
//! Reading order: [`FailurePattern`] and [`Generator`] are what policies are tried against, [`simulate`] runs one,
//! [`SimulationResult`] is what comes of it; [`recommend`], [`sweep`], [`monte_carlo`], [`fit`] and
//! [`Counterfactual`] are what can be done with runs. Then the entity: `command`, `event`, `state`, `decide`, `evolve`,
//! `query`.

mod command;
mod counterfactual;
mod decide;
mod event;
mod evolve;
mod fit;
mod generator;
mod measures;
mod monte_carlo;
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
pub use counterfactual::{
    Counterfactual, CounterfactualReport, CounterfactualSummary, Difference, ManualRecord, OPEN_LOOP_NOTE, Reaction,
    SpanSummary,
};
pub use event::{
    Event, OutcomesAdded, RELEASED, SimulationCompleted, SimulationCreated, SimulationFailed, StageReached,
    StoredPattern, TransitionsAdded,
};
pub use fit::{BurstFit, FIT_EVENTS_MAX, GilbertFit, HawkesFit, fit};
pub use generator::{
    DURATION_SECONDS_MAX, FailurePatternGenerator, GenerateError, Generator, Rule, SYNTAX, SeededPatternGenerator,
};
pub use measures::{Measure, Measures, Ranking, Weights};
pub use monte_carlo::{
    Comparison, Estimate, MonteCarlo, MonteCarloReport, PairedDifference, RUNS_MAX, ScenarioEstimate, StopRule,
    monte_carlo,
};
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
/// What stands in records for the software that made them.
pub(crate) const SOFTWARE: &str = concat!("ionveil ", env!("CARGO_PKG_VERSION"));

/// Checks how long a simulation lasts: 1 to 10⁹ seconds.
///
/// # Errors
/// When it does not.
pub fn check_duration(duration_seconds: u64) -> Result<(), crate::error::Invalid> {
    match duration_seconds {
        1..=DURATION_SECONDS_MAX => Ok(()),
        _ => {
            let allowed = format!("1 to {DURATION_SECONDS_MAX}");
            Err(crate::error::Invalid::new("duration_seconds", duration_seconds, allowed))
        }
    }
}

impl Aggregate for Simulation {
    const KIND: StreamKind = StreamKind::new("simulation");
    type Event = Event;

    fn evolve(&mut self, event: &Event) -> Result<(), crate::error::Corrupt> {
        evolve::evolve(self, event)
    }
}
