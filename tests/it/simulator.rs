//! The simulator inside a host: lifecycle, order, cancelling, crashes, and that nothing live is touched.

use std::sync::Arc;
use std::time::Duration;

use ionveil::domain::{OrgId, Timestamp};
use ionveil::policy::PolicyScenario;
use ionveil::runtime::Caller;
use ionveil::simulation::{
    EnqueueSimulation, Generator, MonteCarlo, PatternSource, StartSimulation, SweepGrid, ThresholdRange, Weights,
};
use ionveil::{
    AuditFilter, Config, FailurePattern, FailurePatternGenerator, IonVeil, Kind, ScenarioBuilder, SimulationRequest,
    SimulationResult, SimulationStatus, blocking,
};
use pollster::block_on;
use serde_json::json;
use tempfile::TempDir;

use crate::support::dispatch;

const TIMEOUT: Duration = Duration::from_secs(60);

fn org() -> OrgId {
    "sffd".parse().expect("an id")
}

fn in_memory(max_concurrent: usize) -> IonVeil {
    IonVeil::open(Config::in_memory().with_max_concurrent_simulations(max_concurrent)).expect("memory")
}

fn short() -> FailurePattern {
    FailurePatternGenerator::burst_failure(4, 20, 600).expect("a good pattern")
}

/// A rule whose pattern takes seconds to make.
fn long() -> Generator {
    "hawkes:rate=9,branching=0.9,decay=1,duration=1000000,successes=0.5,seed=1".parse().expect("a good generator")
}

fn request(name: &str, pattern: impl Into<PatternSource>) -> SimulationRequest {
    SimulationRequest::new(ScenarioBuilder::new(name).build().expect("a good scenario"), pattern).lasting(1_000_000)
}

/// Waits until a simulation is in that status.
#[track_caller]
fn until(simulator: &blocking::PolicySimulator, id: &str, status: SimulationStatus) {
    let deadline = std::time::Instant::now() + TIMEOUT;
    while simulator.get_simulation_status(id).expect("it exists") != status {
        assert!(std::time::Instant::now() < deadline, "{id} is never {status}");
        std::thread::yield_now();
    }
}

/// All but the id.
fn comparable(mut result: SimulationResult) -> SimulationResult {
    result.simulation_id.clear();
    result
}

#[test]
fn a_simulation_is_created_run_once_and_keeps_its_result() {
    let ionveil = in_memory(10);
    let simulator = blocking::PolicySimulator::new(&ionveil);
    let id = simulator.create_simulation(request("platform", short())).expect("good");
    assert_eq!(simulator.get_simulation_status(&id).expect("it exists"), SimulationStatus::Pending);
    assert_eq!(simulator.get_simulation_result(&id).expect("it exists"), None);
    let result = simulator.run_simulation(&id).expect("it runs");
    assert_eq!((result.simulation_id.as_str(), result.status), (id.as_str(), SimulationStatus::Completed));
    assert_eq!(*result.failure_pattern, short());
    assert!(result.total_escalations > 0);
    assert_eq!(simulator.get_simulation_status(&id).expect("it exists"), SimulationStatus::Completed);
    // Asked again, it is the stored one, and nothing is recorded.
    let head = ionveil.audit().stat().head;
    assert_eq!(simulator.run_simulation(&id).expect("stored"), result);
    assert_eq!(simulator.get_simulation_result(&id).expect("it exists").as_ref(), Some(&result));
    assert!(!simulator.cancel_simulation(&id).expect("it exists"), "it is done");
    assert_eq!(ionveil.audit().stat().head, head);
}

#[test]
fn an_id_that_leads_nowhere_is_not_found() {
    let ionveil = in_memory(10);
    let simulator = blocking::PolicySimulator::new(&ionveil);
    for id in ["nowhere", "", "a/b", "0198f0aa-0000-7000-8000-000000000000"] {
        for error in [
            simulator.run_simulation(id).expect_err(id),
            simulator.get_simulation_status(id).expect_err(id),
            simulator.get_simulation_result(id).expect_err(id),
            simulator.cancel_simulation(id).expect_err(id),
        ] {
            assert_eq!(error.kind(), Kind::NotFound, "{id}: {error}");
        }
    }
    assert_eq!(
        IonVeil::open(Config::in_memory().with_max_concurrent_simulations(0)).err().map(|error| error.kind()),
        Some(Kind::Invalid)
    );
}

#[test]
fn a_cancelled_one_never_runs() {
    let ionveil = in_memory(10);
    let simulator = blocking::PolicySimulator::new(&ionveil);
    let id = simulator.create_simulation(request("platform", short())).expect("good");
    assert!(simulator.cancel_simulation(&id).expect("it exists"));
    assert!(!simulator.cancel_simulation(&id).expect("it exists"), "it was already");
    assert_eq!(simulator.get_simulation_status(&id).expect("it exists"), SimulationStatus::Cancelled);
    assert_eq!(simulator.run_simulation(&id).expect_err("cancelled").kind(), Kind::Conflict);
    let result = simulator.get_simulation_result(&id).expect("it exists").expect("an end is a result");
    assert_eq!((result.status, result.events_simulated), (SimulationStatus::Cancelled, 0));
}

#[test]
fn one_runs_at_a_time_others_wait_and_both_can_be_cancelled() {
    let ionveil = in_memory(1);
    let simulator = blocking::PolicySimulator::new(&ionveil);
    let create = |pattern: PatternSource| simulator.create_simulation(request("platform", pattern)).expect("good");
    let [running, waiting, last] = [create(long().into()), create(long().into()), create(short().into())];
    std::thread::scope(|scope| {
        let run = |id: &str| {
            let (simulator, id) = (simulator.clone(), id.to_owned());
            scope.spawn(move || simulator.run_simulation(&id).expect("an end is a result"))
        };
        let first = run(&running);
        until(&simulator, &running, SimulationStatus::Running);
        let second = run(&waiting);
        // Asked for when the journal says so.
        let stream = format!("simulation/{waiting}").parse().expect("an address");
        let filter = AuditFilter { stream: Some(stream), ..AuditFilter::default() };
        while block_on(ionveil.audit().page(filter.clone(), 0)).expect("entries").len() < 2 {
            std::thread::yield_now();
        }
        let third = run(&last);
        for id in [&running, &waiting] {
            assert_eq!(simulator.run_simulation(id).expect_err("asked for already").kind(), Kind::Conflict);
        }
        assert_eq!(simulator.get_simulation_status(&waiting).expect("it exists"), SimulationStatus::Pending);
        assert!(simulator.get_simulation_progress(&running).is_some());
        assert_eq!(simulator.get_simulation_progress(&waiting), None);
        // The one that waits is told at once, though the other goes on.
        assert!(simulator.cancel_simulation(&waiting).expect("it exists"));
        assert_eq!(second.join().expect("no panic").status, SimulationStatus::Cancelled);
        assert_eq!(simulator.get_simulation_status(&running).expect("it exists"), SimulationStatus::Running);
        assert!(simulator.cancel_simulation(&running).expect("it exists"));
        let result = first.join().expect("no panic");
        assert_eq!(
            (result.status, result.simulation_id, result.error_message),
            (SimulationStatus::Cancelled, running, None)
        );
        assert_eq!(third.join().expect("no panic").status, SimulationStatus::Completed);
    });
    assert!(blocking::shutdown(&ionveil, TIMEOUT));
}

#[test]
fn many_at_once_give_what_each_gives_alone() {
    let ionveil = in_memory(3);
    let simulator = blocking::PolicySimulator::new(&ionveil);
    let rates = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];
    let pattern =
        |rate| FailurePatternGenerator::seeded(1).constant_failure_rate(rate, 2_000, 1.0).expect("a good pattern");
    let run = |rate| {
        let id = simulator.create_simulation(request("platform", pattern(rate))).expect("good");
        comparable(simulator.run_simulation(&id).expect("it runs"))
    };
    let at_once: Vec<SimulationResult> = std::thread::scope(|scope| {
        let runs = rates.map(|rate| scope.spawn(move || run(rate)));
        runs.map(|run| run.join().expect("no panic")).into()
    });
    assert_eq!(at_once, rates.map(run));
}

/// What a crash leaves: asked for, or begun, and no result. The next start runs it to the same result.
#[test]
fn a_run_that_a_crash_interrupted_runs_again_with_the_same_result() {
    let dir = TempDir::new().expect("a directory");
    let generator: Generator =
        "gilbert:to_bad=0.02,to_good=0.1,good=0.01,bad=0.9,duration=3600,seed=5".parse().expect("a generator");
    let ionveil = IonVeil::open(Config::at(dir.path())).expect("a new journal");
    let simulator = blocking::PolicySimulator::new(&ionveil);
    let create = |pattern: PatternSource| simulator.create_simulation(request("platform", pattern)).expect("good");
    let ids = [create(generator.clone().into()), create(short().into()), create(short().into())];
    let expected = [generator.clone().into(), PatternSource::from(short())]
        .map(|pattern: PatternSource| comparable(simulator.run_simulation(&create(pattern)).expect("it runs")));
    let (begun, asked, pending) = (&ids[0], &ids[1], &ids[2]);
    let registry = ionveil.simulations();
    for id in [begun, asked] {
        block_on(registry.tell(id, EnqueueSimulation { id: id.clone() }, Caller::default())).expect("pending before");
    }
    block_on(registry.tell(begun, StartSimulation { id: begun.clone() }, Caller::default())).expect("queued before");
    assert!(blocking::shutdown(&ionveil, TIMEOUT));
    drop((simulator, ionveil));

    // A program that opens the journal for one command leaves them alone.
    let once = IonVeil::open(Config::at(dir.path()).without_background()).expect("the journal is free");
    let simulator = blocking::PolicySimulator::new(&once);
    assert_eq!(simulator.get_simulation_status(begun).expect("it exists"), SimulationStatus::Running);
    assert_eq!(simulator.get_simulation_progress(begun), None);
    assert!(blocking::shutdown(&once, TIMEOUT));
    drop((simulator, once));

    let reopened = IonVeil::open(Config::at(dir.path())).expect("the journal is free");
    let simulator = blocking::PolicySimulator::new(&reopened);
    for (id, expected) in [begun, asked].into_iter().zip(expected) {
        until(&simulator, id, SimulationStatus::Completed);
        let result = simulator.get_simulation_result(id).expect("it exists").expect("it is done");
        assert_eq!(comparable(result), expected);
    }
    assert_eq!(simulator.get_simulation_status(pending).expect("it exists"), SimulationStatus::Pending);
}

/// Shutting down does not wait for ever: what is still under way then is taken up by the next start.
#[test]
fn a_run_that_a_shutdown_interrupted_leaves_no_result_behind() {
    let dir = TempDir::new().expect("a directory");
    let ionveil = IonVeil::open(Config::at(dir.path())).expect("a new journal");
    let simulator = blocking::PolicySimulator::new(&ionveil);
    let id = simulator.create_simulation(request("platform", long())).expect("good");
    std::thread::scope(|scope| {
        let run = scope.spawn(|| simulator.run_simulation(&id));
        until(&simulator, &id, SimulationStatus::Running);
        assert!(!blocking::shutdown(&ionveil, Duration::ZERO), "something was under way");
        assert_eq!(run.join().expect("no panic").expect_err("no result").kind(), Kind::Unavailable);
    });
    drop(ionveil);
    let reopened = IonVeil::open(Config::at(dir.path()).without_background()).expect("the journal is free");
    let simulator = blocking::PolicySimulator::new(&reopened);
    assert_eq!(simulator.get_simulation_status(&id).expect("it exists"), SimulationStatus::Running);
}

/// Sandboxed: every stream that is not a simulation's own stays where it was, whatever is simulated.
#[test]
fn nothing_that_is_simulated_touches_what_is_live() {
    let ionveil = in_memory(10);
    let engine = blocking::PolicyEngine::new(&ionveil);
    let simulator = blocking::PolicySimulator::new(&ionveil);
    let second = |number: i64| Timestamp::EPOCH.saturating_add_micros(number * 1_000_000);
    let outcomes: Vec<(Timestamp, bool)> = (0..500).map(|number| (second(number), number % 7 > 3)).collect();
    engine.import(&org(), &outcomes).expect("in order");
    let event = dispatch("e-1", "2026-01-31T12:00:30Z", json!({}));
    block_on(ionveil.dispatch_aggregator().ingest_event(event)).expect("taken");
    let live = || {
        let mut streams = ionveil.audit().streams();
        streams.retain(|stream| !stream.stream.starts_with("simulation/"));
        (streams, engine.get(&org()).expect("an answer"))
    };
    let before = live();

    let id = simulator.create_simulation(request("platform", short())).expect("good");
    simulator.run_simulation(&id).expect("it runs");
    let strict = ScenarioBuilder::new("strict").with_escalation_threshold(1).build().expect("good");
    let results =
        simulator.compare_scenarios(vec![strict.clone(), PolicyScenario::default()], short(), 600).expect("good");
    let results: Vec<SimulationResult> = results.into_values().collect();
    simulator.generate_recommendation(&results, &Weights::default()).expect("both are completed");
    let streams = ionveil.audit().streams().len();
    let range = ThresholdRange::new("escalation", 1, 4).expect("a good range");
    let grid = SweepGrid { base: PolicyScenario::default(), escalation: range, deescalation: [].into() };
    let entries = simulator.sweep(grid, short(), 600, Some(0.3), Weights::default()).expect("good");
    assert_eq!(entries.len(), 4);
    let asked = MonteCarlo {
        scenarios: vec![strict.clone()],
        generator: "constant:rate=0.2,duration=60".parse().expect("a generator"),
        duration_seconds: 60,
        runs: 3,
        seed: 1,
        stop: None,
    };
    assert_eq!(simulator.monte_carlo(asked).expect("good").runs, 3);
    let report = simulator.counterfactual(&org(), &strict, None, None).expect("an answer");
    assert_eq!(report.real, engine.history(&org()).expect("an answer"));
    let recorded = simulator.recorded_pattern(&org(), Some(second(100)), Some(second(200))).expect("an answer");
    assert_eq!((recorded.events.len(), recorded.events[0].0.as_micros()), (100, 0));
    assert!(simulator.fit(recorded).expect("events").hawkes.is_some());
    assert_eq!(live(), before);
    // Three runs have a stream each; what is only computed has none.
    assert_eq!(streams, before.0.len() + 3);
    assert_eq!(ionveil.audit().streams().len(), streams);
}

#[test]
fn a_comparison_is_that_of_single_runs() {
    let ionveil = in_memory(2);
    let simulator = blocking::PolicySimulator::new(&ionveil);
    let broken = PolicyScenario { escalation_threshold: 0, name: "broken".into(), ..PolicyScenario::default() };
    let quick = ScenarioBuilder::new("quick").with_escalation_threshold(1).build().expect("good");
    let pattern = Arc::new(short());
    let scenarios = vec![quick.clone(), broken, PolicyScenario::default()];
    let results = simulator.compare_scenarios(scenarios, Arc::clone(&pattern), 300).expect("a comparison");
    assert_eq!(results.keys().map(String::as_str).collect::<Vec<_>>(), ["broken", "platform", "quick"]);
    let request = SimulationRequest::new(quick.clone(), Arc::clone(&pattern)).lasting(300);
    let id = simulator.create_simulation(request).expect("good");
    assert_eq!(comparable(simulator.run_simulation(&id).expect("it runs")), comparable(results["quick"].clone()));
    assert_eq!(results["broken"].status, SimulationStatus::Failed);
    assert_eq!(
        simulator.get_simulation_status(&results["quick"].simulation_id).expect("recorded"),
        SimulationStatus::Completed
    );
    let twice = simulator
        .compare_scenarios(vec![quick.clone(), quick.clone()], Arc::clone(&pattern), 300)
        .expect_err("repeated");
    assert_eq!(twice.invalid().map(|invalid| invalid.field), Some("name".into()));
    let nothing = simulator.compare_scenarios(vec![], pattern, 300).expect("nothing to compare");
    assert!(nothing.is_empty());
}

/// The live engine with all its methods, as a host holds it.
#[test]
fn a_live_policy_survives_a_restart_and_can_be_seen_as_of_any_position() {
    let dir = TempDir::new().expect("a directory");
    let ionveil = IonVeil::open(Config::at(dir.path())).expect("a new journal");
    let at = |second: i64| Timestamp::EPOCH.saturating_add_micros(second * 1_000_000);
    let engine = blocking::PolicyEngine::new(&ionveil.acting_as("intake").expect("a name"));
    let engine = engine.at(at(10));
    for _ in 0..2 {
        engine.record_failure(&org()).expect("taken");
    }
    assert_eq!(engine.record_failure(&org()).expect("taken").policy.as_ref(), "watch");
    assert_eq!(engine.record_success(&org()).expect("taken").policy.as_ref(), "watch");
    assert_eq!(engine.metadata(&org()).expect("an answer").map(|metadata| metadata.max_retries), Some(2));
    let later = engine.clone().at(at(20));
    assert_eq!(later.escalate(&org(), "ana", "storm").expect("not the last").to.as_ref(), "restricted");
    assert_eq!(later.deescalate(&org(), "ana", "calm").expect("not the first").to.as_ref(), "watch");
    let report = later.record_batch(&org(), &[(at(5), false), (at(21), false)]).expect("a report");
    assert_eq!((report.accepted, report.rejected[0].index), (1, 0));
    assert_eq!(later.record(&org(), true, 0).expect_err("none").kind(), Kind::Invalid);
    assert_eq!(engine.record_failure(&org()).expect_err("before the last").kind(), Kind::Invalid);
    let latest = engine.clone().at(at(30));
    assert!(latest.configure(&org(), ScenarioBuilder::new("calm").build().expect("good")).expect("a change"));
    assert_eq!(latest.reset(&org(), "ana", "drill").expect("always").to.as_ref(), "normal");
    assert_eq!(latest.deescalate(&org(), "ana", "drill").expect_err("the first").kind(), Kind::Conflict);
    assert_eq!(latest.reset(&org(), "system", "drill").expect_err("not a person").kind(), Kind::Invalid);
    let view = engine.get(&org()).expect("an answer");
    assert_eq!(engine.last_instant(&org()).expect("an answer"), Some(at(30)));
    assert!(blocking::shutdown(&ionveil, TIMEOUT));
    drop((engine, later, latest, ionveil));

    let reopened = IonVeil::open(Config::at(dir.path())).expect("the journal is free");
    let engine = blocking::PolicyEngine::new(&reopened);
    assert_eq!(engine.get(&org()).expect("an answer"), view);
    assert_eq!(engine.history(&org()).expect("an answer"), view.history);
    let as_of = |position| engine.get_at(&org(), ionveil::journal::Position::new(position)).expect("an answer");
    assert_eq!((as_of(2).policy.as_ref(), as_of(2).failure_burst), ("normal", 2));
    assert_eq!(as_of(5).policy.as_ref(), "restricted");
    assert_eq!(engine.current(&org()).expect("an answer").as_ref(), "normal");
    let entries =
        block_on(reopened.audit().page(AuditFilter { user: Some("intake".into()), ..AuditFilter::default() }, 0));
    assert_eq!(entries.expect("entries").len(), 6, "outcomes are the host's, steps are Ana's");
}
