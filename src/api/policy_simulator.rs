//! Trying policies before living with them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use ionveil_actors::domain::{Timestamp, check_id};
use ionveil_actors::error::{Error as ServiceError, Invalid};
use ionveil_actors::policy::PolicyScenario;
use ionveil_actors::runtime::{Aggregate, Caller, Reply};
use ionveil_actors::simulation::{
    Cancel, CancelSimulation, CreateSimulation, DURATION_SECONDS_DEFAULT, EnqueueSimulation, Enqueued, Event,
    FailurePattern, GenerateError, GetSimulation, GetSimulationStatus, PatternSource, Recommendation, Simulation,
    SimulationResult, SimulationStatus, Stage, Weights, recommend,
};
use ionveil_journal::{Journal, Sequence};
use pollster::block_on;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::error::Error;
use crate::instance::IonVeil;
use crate::simulation_pool::{SimulationPool, Task};

/// Runs proposed policies against failure patterns, apart from everything that is live.
///
/// Each run is recorded in a stream of its own, from which its result can be had for ever. At most so many run at once as
/// [`crate::Config::with_max_concurrent_simulations`] says; others wait in the order in which they were asked for.
#[derive(Clone)]
pub struct PolicySimulator {
    ionveil: IonVeil,
}

/// What is to be simulated.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulationRequest {
    /// What to try.
    pub scenario: PolicyScenario,
    /// What to try it against.
    pub pattern: PatternSource,
    /// How long: 1 to 10⁹ virtual seconds.
    pub duration_seconds: u64,
    /// The virtual start.
    pub start: Timestamp,
}

impl SimulationRequest {
    /// An hour from the Unix epoch on.
    pub fn new(scenario: PolicyScenario, pattern: impl Into<PatternSource>) -> Self {
        SimulationRequest {
            scenario,
            pattern: pattern.into(),
            duration_seconds: DURATION_SECONDS_DEFAULT,
            start: Timestamp::EPOCH,
        }
    }

    /// Lasts that many virtual seconds.
    #[must_use]
    pub fn lasting(mut self, duration_seconds: u64) -> Self {
        self.duration_seconds = duration_seconds;
        self
    }

    /// Starts at that virtual instant.
    #[must_use]
    pub fn starting(mut self, start: Timestamp) -> Self {
        self.start = start;
        self
    }
}

/// A run that was asked for: either its result, or where it will come.
type Asked = Result<SimulationResult, oneshot::Receiver<Result<SimulationResult, ServiceError>>>;

impl PolicySimulator {
    /// The simulator of a running IonVeil.
    pub fn new(ionveil: &IonVeil) -> Self {
        PolicySimulator { ionveil: ionveil.clone() }
    }

    /// Makes a simulation, which then waits to be run, and gives its id.
    ///
    /// # Errors
    /// `invalid` when the scenario, the pattern or the duration is; nothing is recorded then. As every method:
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn create_simulation(&self, request: SimulationRequest) -> Result<String, Error> {
        let SimulationRequest { scenario, pattern, duration_seconds, start } = request;
        let id = Uuid::now_v7().to_string();
        let create = CreateSimulation { id: id.clone(), scenario, pattern, duration_seconds, start };
        self.ionveil.inner.simulations.tell(&id, create, self.ionveil.caller.clone()).await?;
        Ok(id)
    }

    /// Runs a simulation, when its turn comes, and gives its result; that of a finished one is kept. The simulation runs to
    /// its end also when this future is dropped.
    ///
    /// # Errors
    /// `not_found` when there is no such simulation, `conflict` when it is running, waiting to run, or was cancelled before.
    pub async fn run_simulation(&self, simulation_id: &str) -> Result<SimulationResult, Error> {
        let begun = self.begin(known(simulation_id)?);
        Self::finish(begun).await
    }

    /// Asks for a run at once, whether or not anybody waits for it.
    fn begin(&self, id: &str) -> Reply<Asked> {
        let ionveil = self.ionveil.clone();
        let (pool, simulations) = (Arc::clone(&ionveil.inner.simulation_pool), ionveil.inner.simulations.clone());
        let (id, caller) = (id.to_owned(), ionveil.caller.clone());
        let enqueue = EnqueueSimulation { id: id.clone() };
        let (ticket, enqueued) = pool.ticket(|| simulations.tell(&id, enqueue, caller.clone()));
        self.ionveil.inner.runtime.run_blocking(move || match block_on(enqueued)? {
            Enqueued::Finished(input, result) => {
                let pattern = pattern_of(input.pattern(&Cancel::default()))?;
                Ok(Ok(result.to_result(&id, &input, Arc::new(pattern))))
            }
            Enqueued::Waiting => {
                let (done, result) = oneshot::channel();
                pool.submit(ticket, Task { id, caller, done });
                Ok(Err(result))
            }
        })
    }

    async fn finish(begun: Reply<Asked>) -> Result<SimulationResult, Error> {
        match begun.await? {
            Ok(result) => Ok(result),
            Err(result) => Ok(result.await.unwrap_or_else(|_| {
                let reason = "the thread that ran the simulation ended".into();
                Err(ServiceError::Unavailable { reason, outcome_known: false })
            })?),
        }
    }

    /// Where a simulation stands.
    ///
    /// # Errors
    /// `not_found` when there is no such simulation.
    pub async fn get_simulation_status(&self, simulation_id: &str) -> Result<SimulationStatus, Error> {
        let question = GetSimulationStatus { id: known(simulation_id)?.to_owned() };
        Ok(self.ionveil.inner.simulations.ask(simulation_id, question, self.ionveil.caller.clone()).await?)
    }

    /// The result of a simulation; `None` while it is pending or running.
    ///
    /// # Errors
    /// `not_found` when there is no such simulation.
    pub async fn get_simulation_result(&self, simulation_id: &str) -> Result<Option<SimulationResult>, Error> {
        let id = known(simulation_id)?.to_owned();
        let question = GetSimulation { id: id.clone() };
        let (input, stage) = self.ionveil.inner.simulations.ask(&id, question, self.ionveil.caller.clone()).await?;
        let result = move || {
            let result = match stage {
                Stage::Pending | Stage::Queued | Stage::Running => return Ok(None),
                Stage::Cancelled => {
                    let (scenario, pattern) = (input.scenario(), Arc::new(input.pattern_head()));
                    SimulationResult::unfinished(id, scenario, pattern, SimulationStatus::Cancelled, None)
                }
                Stage::Finished(result) => {
                    let pattern = pattern_of(input.pattern(&Cancel::default()))?;
                    result.to_result(&id, &input, Arc::new(pattern))
                }
            };
            Ok(Some(result))
        };
        Ok(self.ionveil.inner.runtime.run_blocking(result).await?)
    }

    /// How many events of a running simulation are done; `None` when it does not run.
    pub fn get_simulation_progress(&self, simulation_id: &str) -> Option<u64> {
        self.ionveil.inner.simulation_pool.events_done(simulation_id)
    }

    /// Calls a simulation off. True from pending or running: then whoever waits for it gets a result with status
    /// `cancelled`, of a running one within 50 ms. False when it is finished, or was cancelled before.
    ///
    /// # Errors
    /// `not_found` when there is no such simulation.
    pub async fn cancel_simulation(&self, simulation_id: &str) -> Result<bool, Error> {
        let id = known(simulation_id)?.to_owned();
        let ionveil = self.ionveil.clone();
        let cancel = CancelSimulation { id: id.clone() };
        let cancelled = ionveil.inner.simulations.tell(&id, cancel, ionveil.caller.clone());
        let pool = Arc::clone(&ionveil.inner.simulation_pool);
        let stop = move || {
            let is_cancelled = block_on(cancelled)?;
            if is_cancelled {
                pool.stop(&id);
            }
            Ok(is_cancelled)
        };
        Ok(self.ionveil.inner.runtime.run_blocking(stop).await?)
    }

    /// Runs the same pattern against several scenarios, in parallel; results by the scenario's name. Of a scenario that is
    /// invalid the result has status `failed` and the reason, and the others complete.
    ///
    /// # Errors
    /// `invalid` when two scenarios have the same name, or the pattern or the duration is invalid.
    pub async fn compare_scenarios(
        &self,
        scenarios: Vec<PolicyScenario>,
        pattern: impl Into<PatternSource>,
        duration_seconds: u64,
    ) -> Result<BTreeMap<String, SimulationResult>, Error> {
        let mut names = BTreeSet::new();
        if let Some(repeated) = scenarios.iter().find(|scenario| !names.insert(scenario.name.as_str())) {
            return Err(Invalid::new("name", format_args!("{:?}", repeated.name), "each scenario's name once").into());
        }
        let pattern = pattern.into();
        let mut results = BTreeMap::new();
        let mut begun = Vec::new();
        let mut refused = Vec::new();
        for scenario in scenarios {
            match scenario.check() {
                Ok(()) => {
                    let name = scenario.name.clone();
                    let request = SimulationRequest::new(scenario, pattern.clone()).lasting(duration_seconds);
                    let id = self.create_simulation(request).await?;
                    begun.push((name, self.begin(&id)));
                }
                Err(invalid) => refused.push((scenario, invalid)),
            }
        }
        for (name, begun) in begun {
            results.insert(name, Self::finish(begun).await?);
        }
        if !refused.is_empty() {
            let pattern = self.generated(pattern).await?;
            for (scenario, invalid) in refused {
                let id = Uuid::now_v7().to_string();
                let (name, message) = (scenario.name.clone(), Some(invalid.to_string()));
                let pattern = Arc::clone(&pattern);
                let failed = SimulationResult::unfinished(id, scenario, pattern, SimulationStatus::Failed, message);
                results.insert(name, failed);
            }
        }
        Ok(results)
    }

    async fn generated(&self, source: PatternSource) -> Result<Arc<FailurePattern>, Error> {
        match source {
            PatternSource::Given(pattern) => {
                pattern.check()?;
                Ok(pattern)
            }
            PatternSource::Generated(generator) => {
                let generate = move || pattern_of(generator.generate(&Cancel::default()));
                Ok(Arc::new(self.ionveil.inner.runtime.run_blocking(generate).await?))
            }
        }
    }

    /// Compares results and recommends one, with reasons; see [`recommend`].
    ///
    /// # Errors
    /// `invalid` when no result is completed.
    pub fn generate_recommendation(
        &self,
        results: &[SimulationResult],
        weights: &Weights,
    ) -> Result<Recommendation, Error> {
        Ok(recommend(results, weights)?)
    }
}

/// An id that cannot be one is one that does not exist.
fn known(id: &str) -> Result<&str, Error> {
    match check_id("simulation_id", id) {
        Ok(()) => Ok(id),
        Err(_) => Err(ServiceError::NotFound { what: "simulation", id: id.to_owned() }.into()),
    }
}

fn pattern_of(generated: Result<FailurePattern, GenerateError>) -> Result<FailurePattern, ServiceError> {
    generated.map_err(|error| match error {
        GenerateError::Invalid(invalid) => invalid.into(),
        GenerateError::Cancelled(_) => unreachable!("nobody has the flag"),
    })
}

/// Takes up the simulations that were asked for and not finished: those that were running first, then in the order in which
/// they were asked for.
pub(crate) fn resume_interrupted(journal: &dyn Journal, pool: &Arc<SimulationPool>) -> Result<(), ServiceError> {
    let mut interrupted = Vec::new();
    for summary in journal.streams() {
        let stream = &summary.stream;
        if stream.kind() != Simulation::KIND.as_str() {
            continue;
        }
        journal.read_stream(stream, summary.last_sequence, Sequence::MAX, &mut |record| {
            if let Some(status) = Event::unfinished_after(record.event_type) {
                interrupted.push((status != SimulationStatus::Running, record.position, stream.id().to_owned()));
            }
            ControlFlow::Continue(())
        })?;
    }
    interrupted.sort();
    for (_, _, id) in interrupted {
        tracing::info!(simulation = id, "an interrupted simulation runs again");
        let (ticket, ()) = pool.ticket(|| ());
        let (done, _) = oneshot::channel();
        pool.submit(ticket, Task { id, caller: Caller::default(), done });
    }
    Ok(())
}
