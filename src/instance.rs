//! Opening, holding and shutting down one IonVeil.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ionveil_actors::alerts::Alerts;
use ionveil_actors::dispatch::Dispatches;
use ionveil_actors::domain::{Timestamp, check_id};
use ionveil_actors::error::Invalid;
use ionveil_actors::escalation::Escalation;
use ionveil_actors::notification::Notifications;
use ionveil_actors::policy::OrgPolicy;
use ionveil_actors::rules::Rules;
use ionveil_actors::runtime::{Caller, Clock, Limits, Registry, Runtime, SystemClock};
use ionveil_actors::simulation::Simulation;
use ionveil_journal::{Journal, LocalJournal};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::api::{
    AlertSuppressionManager, Audit, DispatchAggregator, EscalationManager, FieldPerformance, GeographicBreakdown,
    Judges, KnownCache, NotificationOutbox, PolicyEngine, PolicySimulator, SYSTEM, SlaMonitorService, Sweeper,
    TrendAnalyzer, resume_interrupted,
};
use crate::channels::Channels;
use crate::error::Error;
use crate::sender::Sender;
use crate::simulation_pool::SimulationPool;
use crate::updates::Updates;

/// How long the last handle, when it is dropped, waits for what is under way.
const DROP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often live updates are told.
const FLUSH_INTERVAL_DEFAULT: Duration = Duration::from_secs(10);
/// How often it is made sure that no deadline, rule or window was overlooked.
const CHECK_INTERVAL_DEFAULT: Duration = Duration::from_secs(30);
/// Simulations that run at once unless it is said otherwise.
const SIMULATIONS_MAX_DEFAULT: usize = 10;

/// How an IonVeil is opened.
#[derive(Clone)]
pub struct Config {
    /// `None` keeps everything in memory.
    data_dir: Option<PathBuf>,
    must_exist: bool,
    clock: Arc<dyn Clock>,
    limits: Limits,
    flush_interval: Duration,
    check_interval: Duration,
    has_background: bool,
    simulations_max: usize,
    channels: Channels,
}

impl Config {
    /// Keeps its journal in `data_dir`, which is created when it is not there.
    pub fn at(data_dir: impl Into<PathBuf>) -> Self {
        Config { data_dir: Some(data_dir.into()), ..Config::in_memory() }
    }

    /// Keeps everything in memory; nothing is left when it is shut down.
    pub fn in_memory() -> Self {
        Config {
            data_dir: None,
            must_exist: false,
            clock: Arc::new(SystemClock),
            limits: Limits::default(),
            flush_interval: FLUSH_INTERVAL_DEFAULT,
            check_interval: CHECK_INTERVAL_DEFAULT,
            has_background: true,
            simulations_max: SIMULATIONS_MAX_DEFAULT,
            channels: Channels::default(),
        }
    }

    /// Opens what is there and never creates anything: `not_found` where no journal is.
    #[must_use]
    pub fn existing(mut self) -> Self {
        self.must_exist = true;
        self
    }

    /// Takes the time from `clock` instead of the machine's wall clock. `recorded_at` stays the machine's.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Does nothing by itself: no timer, no delivery, no interrupted simulation, nothing but what it is asked and told. For a command that comes and goes.
    #[must_use]
    pub fn without_background(mut self) -> Self {
        self.has_background = false;
        self
    }

    /// Tells people on these channels. Without it there is only `log`.
    #[must_use]
    pub fn with_channels(mut self, channels: Channels) -> Self {
        self.channels = channels;
        self
    }

    /// Bounds on threads and on what may be under way.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How often live updates are told to subscribers, 10 s by default; zero tells them only when
    /// [`DispatchAggregator::flush`] is called.
    #[must_use]
    pub fn with_flush_interval(mut self, interval: Duration) -> Self {
        self.flush_interval = interval;
        self
    }

    /// How often a sweep makes sure that no deadline, no change of a rule and no closed window was overlooked, 30 s by default;
    /// zero never sweeps. Deadlines come due by themselves, within a second, whatever this is.
    #[must_use]
    pub fn with_check_interval(mut self, interval: Duration) -> Self {
        self.check_interval = interval;
        self
    }

    /// Runs at most that many simulations at once, on as many threads of their own; 10 unless it is said otherwise.
    #[must_use]
    pub fn with_max_concurrent_simulations(mut self, max_concurrent: usize) -> Self {
        self.simulations_max = max_concurrent;
        self
    }
}

/// Where the journal of a data directory lies.
pub(crate) fn journal_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("journal")
}

/// A running IonVeil. Clones are handles to the same one; it shuts down with the last of them, or when told to.
///
/// It runs on threads of its own: the host's runtime, if there is one, is not needed, and the services' futures never block
/// it. What does block the calling thread says so: [`IonVeil::open`], [`Audit::stat`], and dropping the last handle without
/// [`IonVeil::shutdown`], which then waits for what is under way.
#[derive(Clone)]
pub struct IonVeil {
    pub(crate) inner: Arc<Inner>,
    pub(crate) caller: Caller,
    /// What the host holds; none where IonVeil itself acts, which keeps nothing alive.
    hold: Option<Arc<Hold>>,
}

/// Shuts down when the last of the host's handles goes.
struct Hold(Arc<Ending>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.shut(DROP_TIMEOUT);
    }
}

pub(crate) struct Inner {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) dispatches: Registry<Dispatches>,
    pub(crate) updates: Arc<Updates>,
    pub(crate) policies: Registry<OrgPolicy>,
    pub(crate) simulations: Registry<Simulation>,
    pub(crate) simulation_pool: Arc<SimulationPool>,
    pub(crate) rules: Registry<Rules>,
    pub(crate) escalation: Registry<Escalation>,
    pub(crate) alerts: Registry<Alerts>,
    pub(crate) notifications: Registry<Notifications>,
    pub(crate) sender: Sender,
    pub(crate) known: KnownCache,
    pub(crate) judges: Judges,
    clock: Arc<dyn Clock>,
    in_background: AtomicBool,
    ending: Arc<Ending>,
}

/// What it takes to shut down, whoever does it: the last handle, or a thread that was told to.
struct Ending {
    runtime: Arc<Runtime>,
    journal: Arc<LocalJournal>,
    updates: Arc<Updates>,
    sweeper: Arc<Sweeper>,
    simulation_pool: Arc<SimulationPool>,
    /// Once shut: whether everything under way was finished.
    drained: Mutex<Option<bool>>,
}

impl IonVeil {
    /// Opens the journal, replays what is needed on demand, and starts the threads. Blocks while the journal is read.
    ///
    /// # Errors
    /// `unavailable` when another process holds the journal, `corrupt` when it is damaged or behind its head checkpoint,
    /// `not_found` when it has to exist and does not, `invalid` when no simulation may run.
    pub fn open(config: Config) -> Result<Self, Error> {
        if config.simulations_max == 0 {
            return Err(Invalid::new("max_concurrent", 0, "at least 1").into());
        }
        let journal = Arc::new(match &config.data_dir {
            Some(data_dir) if config.must_exist => LocalJournal::open_existing(&journal_dir(data_dir))?,
            Some(data_dir) => LocalJournal::open(&journal_dir(data_dir))?,
            None => LocalJournal::in_memory(),
        });
        let shared: Arc<dyn Journal> = Arc::clone(&journal) as _;
        let runtime = Runtime::start(Arc::clone(&shared), Arc::clone(&config.clock), config.limits)
            .map_err(|source| Error::Io { doing: "starting the actor threads".into(), source })?;
        let dispatches = Registry::new(&runtime);
        let flush_interval = Some(config.flush_interval).filter(|it| config.has_background && !it.is_zero());
        let updates = Updates::start(shared, dispatches.clone(), flush_interval)
            .map_err(|source| Error::Io { doing: "starting the flushing thread".into(), source })?;
        let simulations = Registry::new(&runtime);
        let simulation_pool = SimulationPool::new(simulations.clone(), config.simulations_max);
        let ending = Arc::new(Ending {
            runtime: Arc::clone(&runtime),
            journal,
            updates: Arc::clone(&updates),
            sweeper: Sweeper::new(config.check_interval),
            simulation_pool: Arc::clone(&simulation_pool),
            drained: Mutex::new(None),
        });
        let alerts = Registry::new(&runtime);
        let sender = Sender::new(config.channels, alerts.clone(), Arc::clone(&config.clock));
        let inner = Arc::new(Inner {
            dispatches,
            updates,
            policies: Registry::new(&runtime),
            simulations,
            simulation_pool,
            rules: Registry::new(&runtime),
            escalation: Registry::new(&runtime),
            alerts,
            notifications: Registry::with_effects(&runtime, sender.clone()),
            sender,
            known: KnownCache::default(),
            judges: Judges::default(),
            clock: config.clock,
            in_background: AtomicBool::new(config.has_background),
            runtime,
            ending,
        });
        if config.has_background {
            // What is due is found out meanwhile; a failure of that is logged where it happens.
            drop(inner.runtime.start_background());
            resume_simulations(&inner.runtime, &inner.simulation_pool);
            start_sweeping(&inner)?;
        }
        let hold = Some(Arc::new(Hold(Arc::clone(&inner.ending))));
        Ok(IonVeil { inner, caller: Caller::default(), hold })
    }

    /// A handle of the system itself.
    pub(crate) fn of(inner: Arc<Inner>) -> Self {
        IonVeil { inner, caller: Caller::default(), hold: None }
    }

    #[cfg(test)]
    pub(crate) fn sweeper(&self) -> &Arc<Sweeper> {
        &self.inner.ending.sweeper
    }

    /// A handle whose changes are recorded as done by `principal`, all under one new correlation id.
    ///
    /// # Errors
    /// When the name is no identifier (1–128 characters, no control characters, no `/`), or is `system`, which stands for
    /// IonVeil itself.
    pub fn acting_as(&self, principal: &str) -> Result<Self, Error> {
        check_id("principal", principal)?;
        if principal == SYSTEM {
            return Err(Invalid::new("principal", principal, "any name but that of the system itself").into());
        }
        let correlation_id = Some(Uuid::now_v7());
        let caller = Caller { principal: Some(principal.into()), correlation_id, ..Caller::default() };
        Ok(IonVeil { inner: Arc::clone(&self.inner), caller, hold: self.hold.clone() })
    }

    /// Dispatch analytics: ingest and metrics.
    pub fn dispatch_aggregator(&self) -> DispatchAggregator {
        DispatchAggregator::new(self)
    }

    /// Dispatch analytics: where things happen.
    pub fn geographic_breakdown(&self) -> GeographicBreakdown {
        GeographicBreakdown::new(self)
    }

    /// Dispatch analytics: trends and anomalies.
    pub fn trend_analyzer(&self) -> TrendAnalyzer {
        TrendAnalyzer::new(self)
    }

    /// Dispatch analytics: compliance with response standards, and how busy units are.
    pub fn field_performance(&self) -> FieldPerformance {
        FieldPerformance::new(self)
    }

    /// The entities behind dispatch analytics, one per org, for hosts that send the messages of [`crate::dispatch`]
    /// themselves: [`Registry::tell`] for commands, [`Registry::ask`] for questions.
    pub fn dispatches(&self) -> Registry<Dispatches> {
        self.inner.dispatches.clone()
    }

    /// Live policies: outcomes in, escalation and de-escalation out.
    pub fn policy_engine(&self) -> PolicyEngine {
        PolicyEngine::new(self)
    }

    /// Trying policies before living with them.
    pub fn policy_simulator(&self) -> PolicySimulator {
        PolicySimulator::new(self)
    }

    /// The entities behind live policies, one per org, for hosts that send the messages of [`crate::policy`] themselves.
    pub fn policies(&self) -> Registry<OrgPolicy> {
        self.inner.policies.clone()
    }

    /// The entities behind simulations, one per run. What is asked for in messages of [`crate::simulation`] is recorded, but
    /// run only by [`PolicySimulator::run_simulation`] or at the next start.
    pub fn simulations(&self) -> Registry<Simulation> {
        self.inner.simulations.clone()
    }

    /// A handle for one call that may be sent again: whoever repeats it under the same id, which the caller makes up, gets
    /// the first answer, and nothing happens twice. Also after a restart; for a day, as long as not a thousand others came
    /// to the same org (see `docs/runtime.md`).
    ///
    /// Which methods take an id stands with them; all others that change something refuse it as `invalid`. One id is for one
    /// call: another one under the same id, of another sort or with something else to say, is `invalid` and not carried out.
    /// An instant that the call itself brings (`PolicyEngine::at`, `IncidentCheck::current_time`) is part of what it says: keep
    /// it for the retry instead of looking at the clock again. Questions do not look at the id.
    ///
    /// ```
    /// # use ionveil::{Config, IonVeil, blocking};
    /// # let ionveil = IonVeil::open(Config::in_memory())?;
    /// let (org, once) = ("sffd".parse()?, ionveil.with_command_id(uuid::Uuid::now_v7()));
    /// let engine = blocking::PolicyEngine::new(&once);
    /// let first = engine.record(&org, false, 3)?;
    /// // The answer got lost on its way.
    /// assert_eq!(engine.record(&org, false, 3)?, first);
    /// # Ok::<(), ionveil::Error>(())
    /// ```
    #[must_use]
    pub fn with_command_id(&self, command_id: Uuid) -> Self {
        let caller = Caller { command_id: Some(command_id), ..self.caller.clone() };
        IonVeil { caller, ..self.clone() }
    }

    /// Who sends what follows by itself from a command that was given an id.
    pub(crate) fn following(&self) -> Caller {
        Caller { command_id: None, ..self.caller.clone() }
    }

    /// The same handle, acting at `now` instead of the clock's instant.
    pub(crate) fn at(&self, now: Timestamp) -> Self {
        let caller = Caller { now: Some(now), ..self.caller.clone() };
        IonVeil { inner: Arc::clone(&self.inner), caller, hold: self.hold.clone() }
    }

    /// The instant it acts at.
    pub(crate) fn now(&self) -> Timestamp {
        self.caller.now.unwrap_or_else(|| self.inner.clock.now())
    }

    /// Begins to do what is due by itself: deadlines, escalations, messages. Once.
    pub(crate) async fn start_background(&self) -> Result<(), Error> {
        if self.inner.in_background.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.inner.runtime.start_background().await?;
        start_sweeping(&self.inner)
    }

    /// Does nothing by itself any more until it is started again.
    pub(crate) fn stop_background(&self) {
        if self.inner.in_background.swap(false, Ordering::AcqRel) {
            self.inner.runtime.stop_background();
        }
    }

    /// Whether it does what is due by itself.
    pub(crate) fn is_in_background(&self) -> bool {
        self.inner.in_background.load(Ordering::Acquire)
    }

    /// The entities behind alerting, one per org, for hosts that send the messages of [`crate::alerts`] themselves.
    pub fn alerts(&self) -> Registry<Alerts> {
        self.inner.alerts.clone()
    }

    /// The entity behind alert rules, [`crate::rules::ALL`], for hosts that send the messages of [`crate::rules`] themselves.
    /// Each org takes changed rules over with its next check; a running system sees to it within the check interval.
    pub fn rules(&self) -> Registry<Rules> {
        self.inner.rules.clone()
    }

    /// The entities behind escalation policies, one per org, for hosts that send the messages of [`crate::escalation`]
    /// themselves; policies are taken over as [`IonVeil::rules`] are.
    pub fn escalations(&self) -> Registry<Escalation> {
        self.inner.escalation.clone()
    }

    /// The outboxes, one per org, for hosts that send the messages of [`crate::notification`] themselves.
    pub fn notifications(&self) -> Registry<Notifications> {
        self.inner.notifications.clone()
    }

    /// Rules, incidents and alerts.
    pub fn sla_monitor_service(&self) -> SlaMonitorService {
        SlaMonitorService::new(self)
    }

    /// Who is told when nobody answers.
    pub fn escalation_manager(&self) -> EscalationManager {
        EscalationManager::new(self)
    }

    /// Alerts that are not wanted for a while.
    pub fn alert_suppression_manager(&self) -> AlertSuppressionManager {
        AlertSuppressionManager::new(self)
    }

    /// Messages: what is to be told, what was, and what could not be.
    pub fn notification_outbox(&self) -> NotificationOutbox {
        NotificationOutbox::new(self)
    }

    /// The journal as an auditor reads it.
    pub fn audit(&self) -> Audit {
        Audit::new(self)
    }

    /// Takes nothing new, finishes what is under way, and stops all threads. False when something was still under way
    /// after `timeout`; what was acknowledged is on disk all the same. A second call waits for the first and says the same.
    pub async fn shutdown(&self, timeout: Duration) -> bool {
        let (sender, receiver) = oneshot::channel();
        let ending = Arc::clone(&self.inner.ending);
        // Draining blocks, and the caller's executor must not be.
        let spawned = std::thread::Builder::new().name("ionveil-shutdown".into()).spawn(move || {
            // Whoever waited may have gone: then the last handle waits for this.
            let _ = sender.send(ending.shut(timeout));
        });
        match spawned {
            Ok(_) => receiver.await.unwrap_or(false),
            Err(_) => self.inner.ending.shut(timeout),
        }
    }
}

impl Ending {
    fn shut(&self, timeout: Duration) -> bool {
        // Whoever comes second waits for the first, and gets the same answer.
        let mut shut = self.drained.lock().unwrap_or_else(PoisonError::into_inner);
        *shut.get_or_insert_with(|| {
            self.sweeper.stop();
            self.updates.stop();
            let begin = Instant::now();
            // First, since what runs there sends messages until it is done.
            let simulated = self.simulation_pool.close(timeout);
            let drained = self.runtime.stop(timeout.saturating_sub(begin.elapsed()));
            self.journal.close();
            simulated && drained
        })
    }
}

fn start_sweeping(inner: &Arc<Inner>) -> Result<(), Error> {
    let failed = |source| Error::Io { doing: "starting the sweeping thread".into(), source };
    inner.ending.sweeper.start(inner).map_err(failed)
}

/// Takes up what was interrupted, apart from whoever opens.
fn resume_simulations(runtime: &Arc<Runtime>, pool: &Arc<SimulationPool>) {
    let (journal, pool) = (Arc::clone(runtime.journal()), Arc::clone(pool));
    // What is asked for from now on is no interrupted run, and would run twice.
    let opened_at = journal.head().position;
    let resumed = runtime.run_blocking(move || {
        let resumed = resume_interrupted(journal.as_ref(), opened_at, &pool);
        if let Err(error) = &resumed {
            tracing::error!(%error, "interrupted simulations are not taken up");
        }
        resumed
    });
    drop(resumed);
}
