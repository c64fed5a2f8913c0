//! Trying policies before living with them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use ionveil_actors::domain::{OrgId, Timestamp, check_id};
use ionveil_actors::error::{Error as ServiceError, Invalid};
use ionveil_actors::policy::{self, OrgPolicy, PolicyScenario};
use ionveil_actors::runtime::{Aggregate, Caller, Event as _, Reply, is_note};
use ionveil_actors::simulation::{
    BurstFit, Cancel, CancelSimulation, Counterfactual, CounterfactualReport, CreateSimulation,
    DURATION_SECONDS_DEFAULT, EnqueueSimulation, Enqueued, Event, FailurePattern, GenerateError, GetSimulation,
    GetSimulationStatus, MonteCarlo, MonteCarloReport, Offset, PATTERN_EVENTS_MAX, PatternSource, PreparedPattern,
    Recommendation, Simulation, SimulationResult, SimulationStatus, Stage, SweepEntry, SweepGrid, Weights,
    check_duration, fit, monte_carlo, recommend, sweep,
};
use ionveil_journal::{Journal, Position, Sequence, StreamId};
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

    /// The same, for one call that may be sent again under that id: [`IonVeil::with_command_id`].
    #[must_use]
    pub fn with_command_id(&self, command_id: Uuid) -> Self {
        PolicySimulator { ionveil: self.ionveil.with_command_id(command_id) }
    }

    /// Makes a simulation, which then waits to be run, and gives its id.
    ///
    /// Takes a command id: sent again, it gives the id of the one simulation that was made.
    ///
    /// # Errors
    /// `invalid` when the scenario, the pattern or the duration is; nothing is recorded then. As every method:
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn create_simulation(&self, request: SimulationRequest) -> Result<String, Error> {
        let SimulationRequest { scenario, pattern, duration_seconds, start } = request;
        let id = match self.ionveil.caller.command_id {
            Some(command_id) => Uuid::new_v5(&command_id, b"simulation"),
            None => Uuid::now_v7(),
        };
        let id = id.to_string();
        let create = CreateSimulation { id: id.clone(), scenario, pattern, duration_seconds, start };
        self.ionveil.inner.simulations.tell(&id, create, self.ionveil.caller.clone()).await?;
        Ok(id)
    }

    /// Runs a simulation, when its turn comes, and gives its result; that of a finished one is kept. The simulation runs to
    /// its end also when this future is dropped.
    ///
    /// Takes no command id: asked again, it gives the same result, or says that the simulation is still running.
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
                let pattern = input.pattern(&Cancel::default()).map_err(refusal)?;
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
                Err(ServiceError::Unavailable { reason, outcome_known: false, retry_after: None })
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
                    let pattern = input.pattern(&Cancel::default()).map_err(refusal)?;
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
    /// Takes a command id.
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
    /// Takes no command id: compared again, the results are the same, of simulations of their own.
    ///
    /// # Errors
    /// `invalid` when two scenarios have the same name, or the pattern or the duration is invalid.
    pub async fn compare_scenarios(
        &self,
        scenarios: Vec<PolicyScenario>,
        pattern: impl Into<PatternSource>,
        duration_seconds: u64,
    ) -> Result<BTreeMap<String, SimulationResult>, Error> {
        if let Some(command_id) = self.ionveil.caller.command_id {
            return Err(
                Invalid::new("command_id", command_id, "none for a comparison, which is several commands").into()
            );
        }
        check_duration(duration_seconds)?;
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
                let generate = move || generator.generate(&Cancel::default()).map_err(refusal);
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

impl PolicySimulator {
    /// Tries every combination of thresholds on a pattern, on all cores. With `holdout`, a share of the time above 0 and
    /// below 1, combinations are judged on the first part only, and each also says how it does on the last part.
    ///
    /// # Errors
    /// `invalid` when the grid, the pattern, the duration or the share is.
    pub async fn sweep(
        &self,
        grid: SweepGrid,
        pattern: impl Into<PatternSource>,
        duration_seconds: u64,
        holdout: Option<f64>,
        weights: Weights,
    ) -> Result<Vec<SweepEntry>, Error> {
        grid.scenarios()?;
        check_duration(duration_seconds)?;
        let split_at = holdout.map(|share| holdout_second(share, duration_seconds)).transpose()?;
        let pattern = self.generated(pattern.into()).await?;
        let cancel = Cancel::default();
        let _dropped = CancelOnDrop(cancel.clone());
        let work = move || {
            let computed = || {
                let prepared = PreparedPattern::new(&pattern.events, duration_seconds, &cancel)?;
                let (chosen_on, held_out) = match split_at.map(|second| prepared.split(second)) {
                    Some((first, last)) => (first, Some(last)),
                    None => (prepared, None),
                };
                Ok::<_, GenerateError>(sweep(&grid, &chosen_on, held_out.as_ref(), &weights, &cancel)??)
            };
            computed().map_err(refusal)
        };
        Ok(self.ionveil.inner.runtime.run_blocking(work).await?)
    }

    /// Tries scenarios on many random patterns, on all cores; see [`monte_carlo`].
    ///
    /// # Errors
    /// `invalid` when what is asked for is.
    pub async fn monte_carlo(&self, asked: MonteCarlo) -> Result<MonteCarloReport, Error> {
        let cancel = Cancel::default();
        let _dropped = CancelOnDrop(cancel.clone());
        let work = move || monte_carlo(&asked, &cancel).map_err(refusal);
        Ok(self.ionveil.inner.runtime.run_blocking(work).await?)
    }

    /// Estimates how bursty a pattern is, so that random patterns can be made that resemble it; see [`fit`].
    ///
    /// # Errors
    /// `invalid` when the pattern has no event.
    pub async fn fit(&self, pattern: impl Into<PatternSource>) -> Result<BurstFit, Error> {
        let pattern = self.generated(pattern.into()).await?;
        Ok(self.ionveil.inner.runtime.run_blocking(move || Ok(fit(&pattern)?)).await?)
    }

    /// What an org recorded, as a pattern: offsets count from the first outcome in `[from, to)`.
    ///
    /// # Errors
    /// `invalid` when there are more outcomes than a pattern may hold.
    pub async fn recorded_pattern(
        &self,
        org: &OrgId,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<FailurePattern, Error> {
        let mut events: Vec<(Offset, bool)> = Vec::new();
        let mut start = None;
        let journal = Arc::clone(self.ionveil.inner.runtime.journal());
        let org = org.clone();
        let work = move || {
            let mut refused = None;
            read_policy(journal.as_ref(), &org, &mut |_, event| {
                let policy::Event::Recorded(event) = event else { return true };
                for (at, is_success) in event.outcomes.outcomes() {
                    if from.is_some_and(|from| at < from.as_micros()) {
                        continue;
                    }
                    if to.is_some_and(|to| at >= to.as_micros()) {
                        return false;
                    }
                    if events.len() == PATTERN_EVENTS_MAX {
                        let allowed = format!("at most {PATTERN_EVENTS_MAX} outcomes");
                        refused = Some(Invalid::new("from", "a span with more", allowed));
                        return false;
                    }
                    let start = *start.get_or_insert(at);
                    events.push((Offset::from_micros(at - start).unwrap_or(Offset::MAX), is_success));
                }
                true
            })?;
            match refused {
                Some(invalid) => Err(invalid.into()),
                None => Ok(FailurePattern {
                    pattern_id: org.to_string(),
                    description: format!("{} outcomes that {org} recorded", events.len()),
                    events,
                }),
            }
        };
        Ok(self.ionveil.inner.runtime.run_blocking(work).await?)
    }

    /// What a proposed policy would have done with the outcomes that an org really recorded in `[from, to)`; without bounds,
    /// with all of them. See [`Counterfactual`].
    ///
    /// # Errors
    /// `invalid` when the scenario is, or `from` is not before `to`.
    pub async fn counterfactual(
        &self,
        org: &OrgId,
        scenario: &PolicyScenario,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<CounterfactualReport, Error> {
        let mut replay = Counterfactual::new(scenario, from, to)?;
        let journal = Arc::clone(self.ionveil.inner.runtime.journal());
        let org = org.clone();
        let work = move || {
            read_policy(journal.as_ref(), &org, &mut |position, event| replay.take(position, event))?;
            Ok(replay.finish())
        };
        Ok(self.ionveil.inner.runtime.run_blocking(work).await?)
    }
}

/// The first second of the part that is held out.
fn holdout_second(share: f64, duration_seconds: u64) -> Result<u64, Invalid> {
    let second = (duration_seconds as f64 * (1.0 - share)).round();
    if share > 0.0 && share < 1.0 && second >= 1.0 && second < duration_seconds as f64 {
        return Ok(second as u64);
    }
    Err(Invalid::new("holdout", share, "above 0 and below 1, so that each part has a second at least"))
}

/// Shows an org's policy events, in order, until told to stop.
fn read_policy(
    journal: &dyn Journal,
    org: &OrgId,
    visit: &mut dyn FnMut(u64, &policy::Event) -> bool,
) -> Result<(), ServiceError> {
    let stream = StreamId::new(OrgPolicy::KIND, org.as_str())?;
    let mut corrupt = None;
    journal.read_stream(&stream, Sequence::FIRST, Sequence::MAX, &mut |record| {
        if is_note(record.event_type) {
            return ControlFlow::Continue(());
        }
        match policy::Event::decode(record.event_type, record.version, record.codec, record.payload) {
            Ok(event) if visit(record.position.get(), &event) => ControlFlow::Continue(()),
            Ok(_) => ControlFlow::Break(()),
            Err(error) => {
                let (stream, sequence) = (stream.to_string(), record.sequence.get());
                corrupt = Some(ServiceError::Corrupt { stream, sequence, cause: error.to_string() });
                ControlFlow::Break(())
            }
        }
    })?;
    corrupt.map_or(Ok(()), Err)
}

/// Stops long computing when nobody waits for it any more.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn refusal(error: GenerateError) -> ServiceError {
    match error {
        GenerateError::Invalid(invalid) => invalid.into(),
        GenerateError::Cancelled(_) => ServiceError::Unavailable {
            reason: "nobody waits for it any more".into(),
            outcome_known: true,
            retry_after: None,
        },
    }
}

/// An id that cannot be one is one that does not exist.
fn known(id: &str) -> Result<&str, Error> {
    match check_id("simulation_id", id) {
        Ok(()) => Ok(id),
        Err(_) => Err(ServiceError::NotFound { what: "simulation", id: id.to_owned() }.into()),
    }
}

/// Takes up the simulations that were asked for and not finished: those that were running first, then in the order in which
/// they were asked for. Only what had happened up to `opened_at` counts: what is asked for later is no interrupted run.
pub(crate) fn resume_interrupted(
    journal: &dyn Journal,
    opened_at: Position,
    pool: &Arc<SimulationPool>,
) -> Result<(), ServiceError> {
    let mut interrupted = Vec::new();
    for summary in journal.streams() {
        let stream = &summary.stream;
        if stream.kind() != Simulation::KIND.as_str() {
            continue;
        }
        journal.read_stream(stream, summary.last_sequence, Sequence::MAX, &mut |record| {
            let status = Event::unfinished_after(record.event_type).filter(|_| record.position <= opened_at);
            if let Some(status) = status {
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
