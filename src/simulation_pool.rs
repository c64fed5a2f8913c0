//! The threads that simulations run on: apart from the entities' and the host's, so many at a time, the others in order.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ionveil_actors::error::Error;
use ionveil_actors::policy::Ladder;
use ionveil_actors::runtime::{Caller, Registry};
use ionveil_actors::simulation::{
    Cancel, CompleteSimulation, CompletedRun, FailSimulation, FailurePattern, GenerateError, PreparedPattern, RunInput,
    Simulation, SimulationResult, SimulationStatus, StartSimulation, simulate,
};
use pollster::block_on;
use tokio::sync::oneshot;

/// Runs simulations that have been asked for. Started without threads; they come with the work.
pub(crate) struct SimulationPool {
    simulations: Registry<Simulation>,
    max_concurrent: usize,
    state: Mutex<State>,
    /// Something waits, something has ended, or the pool was closed.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next_ticket: u64,
    waiting: BTreeMap<u64, Task>,
    /// By simulation.
    running: HashMap<String, Cancel>,
    threads: Vec<JoinHandle<()>>,
    is_closed: bool,
    /// What is still running is to stop without a trace, so that the next start takes it up again.
    is_abandoned: bool,
}

/// A place in the order in which simulations were asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket(u64);

/// One simulation that waits its turn.
pub(crate) struct Task {
    pub(crate) id: String,
    pub(crate) caller: Caller,
    pub(crate) done: oneshot::Sender<Result<SimulationResult, Error>>,
}

impl SimulationPool {
    pub(crate) fn new(simulations: Registry<Simulation>, max_concurrent: usize) -> Arc<Self> {
        let state = Mutex::default();
        Arc::new(SimulationPool { simulations, max_concurrent, state, changed: Condvar::new() })
    }

    /// Draws the next place in the order; `ask` is called before anybody else can draw one.
    pub(crate) fn ticket<R>(&self, ask: impl FnOnce() -> R) -> (Ticket, R) {
        let mut state = self.state();
        state.next_ticket += 1;
        (Ticket(state.next_ticket), ask())
    }

    /// Runs the task when its turn comes. After closing it is dropped: its asker hears that, and the next start takes it up.
    pub(crate) fn submit(self: &Arc<Self>, ticket: Ticket, task: Task) {
        let mut state = self.state();
        if state.is_closed {
            let _ = task.done.send(Err(closing()));
            return;
        }
        state.waiting.insert(ticket.0, task);
        if state.threads.len() < self.max_concurrent && state.threads.len() < state.waiting.len() + state.running.len()
        {
            let pool = Arc::clone(self);
            match std::thread::Builder::new().name("ionveil-simulation".into()).spawn(move || pool.work()) {
                Ok(thread) => state.threads.push(thread),
                Err(error) if state.threads.is_empty() => {
                    tracing::error!(%error, "no thread to run simulations on");
                    if let Some(task) = state.waiting.remove(&ticket.0) {
                        let reason = format!("no thread to run simulations on: {error}");
                        let _ =
                            task.done.send(Err(Error::Unavailable { reason, outcome_known: true, retry_after: None }));
                    }
                }
                Err(error) => tracing::warn!(%error, "fewer threads than asked for run simulations"),
            }
        }
        self.changed.notify_all();
    }

    /// Stops a simulation that has been cancelled. One that waits for its turn finds out when that comes; nobody has to wait
    /// for that.
    pub(crate) fn stop(&self, id: &str) {
        let mut state = self.state();
        if let Some(cancel) = state.running.get(id) {
            cancel.cancel();
        }
        if let Some(ticket) = state.waiting.iter().find(|(_, task)| task.id == id).map(|(ticket, _)| *ticket)
            && let Some(task) = state.waiting.remove(&ticket)
        {
            drop(state);
            let _ = task.done.send(block_on(cancelled(&self.simulations, task.id, task.caller)));
        }
    }

    /// Events that a running simulation has taken in so far; `None` when it does not run.
    pub(crate) fn events_done(&self, id: &str) -> Option<u64> {
        self.state().running.get(id).map(Cancel::events_done)
    }

    /// Takes nothing new, finishes what was asked for, and ends the threads. After `timeout` what is not finished is left for
    /// the next start; false then.
    pub(crate) fn close(&self, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.state();
        state.is_closed = true;
        self.changed.notify_all();
        while !(state.waiting.is_empty() && state.running.is_empty()) {
            state = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => break,
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        let is_done = state.waiting.is_empty() && state.running.is_empty();
        state.is_abandoned = true;
        for task in std::mem::take(&mut state.waiting).into_values() {
            let _ = task.done.send(Err(closing()));
        }
        state.running.values().for_each(Cancel::cancel);
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        self.changed.notify_all();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread that runs simulations panicked");
            }
        }
        is_done
    }

    fn work(&self) {
        while let Some((task, cancel)) = self.next() {
            let Task { id, caller, done } = task;
            let result = block_on(self.run(&id, caller, &cancel));
            self.state().running.remove(&id);
            self.changed.notify_all();
            // An asker that went away wants no result; it is in the journal.
            let _ = done.send(result);
        }
    }

    fn next(&self) -> Option<(Task, Cancel)> {
        let mut state = self.state();
        loop {
            if let Some((_, task)) = state.waiting.pop_first() {
                let cancel = Cancel::default();
                state.running.insert(task.id.clone(), cancel.clone());
                return Some((task, cancel));
            }
            if state.is_closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    async fn run(&self, id: &str, caller: Caller, cancel: &Cancel) -> Result<SimulationResult, Error> {
        let start = StartSimulation { id: id.to_owned() };
        let Some(input) = self.simulations.tell(id, start, caller.clone()).await? else {
            return cancelled(&self.simulations, id.to_owned(), caller).await;
        };
        let computed = catch_unwind(AssertUnwindSafe(|| compute(id, &input, cancel)));
        if cancel.check().is_err() && self.state().is_abandoned {
            return Err(closing());
        }
        let recorded = match computed {
            Ok(Ok((completed, result))) => {
                let recorded = self.simulations.tell(id, completed, caller.clone()).await;
                recorded.map(|is_recorded| is_recorded.then_some(result))?
            }
            Ok(Err(GenerateError::Cancelled(_))) => None,
            Ok(Err(GenerateError::Invalid(invalid))) => {
                Some(self.fail(id, caller.clone(), &input, invalid.to_string()).await?)
            }
            Err(_) => Some(self.fail(id, caller.clone(), &input, "running it panicked".into()).await?),
        };
        match recorded {
            Some(result) => Ok(result),
            None => cancelled(&self.simulations, id.to_owned(), caller).await,
        }
    }

    async fn fail(
        &self,
        id: &str,
        caller: Caller,
        input: &RunInput,
        error_message: String,
    ) -> Result<SimulationResult, Error> {
        let failed = FailSimulation { id: id.to_owned(), error_message: error_message.clone() };
        let status = match self.simulations.tell(id, failed, caller).await? {
            true => (SimulationStatus::Failed, Some(error_message)),
            false => (SimulationStatus::Cancelled, None),
        };
        Ok(SimulationResult::unfinished(
            id.to_owned(),
            input.scenario(),
            Arc::new(input.pattern_head()),
            status.0,
            status.1,
        ))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic happens between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The run itself: what is to be recorded, and what the asker gets.
fn compute(
    id: &str,
    input: &RunInput,
    cancel: &Cancel,
) -> Result<(CompleteSimulation, SimulationResult), GenerateError> {
    let scenario = input.scenario();
    let ladder = Ladder::new(&scenario)?;
    let pattern = Arc::new(input.pattern(cancel)?);
    let prepared = PreparedPattern::new(&pattern.events, input.duration_seconds(), cancel)?;
    let mut steps = Vec::new();
    let totals = simulate(&ladder, &prepared, cancel, &mut steps)?;
    let completed = CompleteSimulation {
        id: id.to_owned(),
        totals: totals.clone(),
        steps: CompleteSimulation::pack_steps(&steps, cancel)?,
        events_simulated: prepared.len() as u64,
        events_ignored: prepared.ignored(),
        failures: prepared.failures(),
    };
    let run = CompletedRun::new(&ladder, input.start(), &totals, &steps, &prepared);
    Ok((completed, SimulationResult::completed(id.to_owned(), scenario, pattern, run)))
}

/// The result of a simulation that was called off.
async fn cancelled(simulations: &Registry<Simulation>, id: String, caller: Caller) -> Result<SimulationResult, Error> {
    let (input, _) = simulations.ask(&id, ionveil_actors::simulation::GetSimulation { id: id.clone() }, caller).await?;
    let pattern: Arc<FailurePattern> = Arc::new(input.pattern_head());
    Ok(SimulationResult::unfinished(id, input.scenario(), pattern, SimulationStatus::Cancelled, None))
}

fn closing() -> Error {
    Error::Unavailable {
        reason: "the system is shutting down; the next start takes the simulation up".into(),
        outcome_known: true,
        retry_after: None,
    }
}
