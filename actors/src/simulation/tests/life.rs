//! The life of a simulation: every command at every stage.

use std::sync::Arc;

use super::*;
use crate::error::{Invalid, Kind};
use crate::runtime::testing::Scenario;
use crate::runtime::{Aggregate, Command, Given};

type Life = Scenario<Simulation>;

const ID: &str = "0198";

fn create() -> CreateSimulation {
    CreateSimulation {
        id: ID.into(),
        scenario: scenario("two", &["open", "shut"], 2, 3),
        pattern: pattern("FFSSSF").into(),
        duration_seconds: 10,
        start: Timestamp::EPOCH,
    }
}

fn complete() -> CompleteSimulation {
    let create = create();
    let ladder = crate::policy::Ladder::new(&create.scenario).expect("sound");
    let prepared = prepared(&pattern("FFSSSF"), 10);
    let mut steps = Vec::new();
    let totals = simulate(&ladder, &prepared, &Cancel::default(), &mut steps).expect("nobody has the flag");
    CompleteSimulation {
        id: ID.into(),
        totals,
        steps: CompleteSimulation::pack_steps(&steps, &Cancel::default()).expect("nobody has the flag"),
        events_simulated: prepared.len() as u64,
        events_ignored: prepared.ignored(),
        failures: prepared.failures(),
    }
}

fn enqueue() -> EnqueueSimulation {
    EnqueueSimulation { id: ID.into() }
}

fn start() -> StartSimulation {
    StartSimulation { id: ID.into() }
}

fn cancel() -> CancelSimulation {
    CancelSimulation { id: ID.into() }
}

fn fail() -> FailSimulation {
    FailSimulation { id: ID.into(), error_message: "it broke".into() }
}

/// A simulation at that stage.
fn life(stage: &str) -> Life {
    let absent = Life::given([]);
    if stage == "absent" {
        return absent;
    }
    let pending = absent.when(create()).then_reply(2, ());
    if stage == "pending" {
        return pending;
    }
    let queued = pending.when(enqueue()).then_reply(1, Enqueued::Waiting);
    if stage == "queued" {
        return queued;
    }
    let running = queued.when(start()).then_accepted();
    match stage {
        "running" => running,
        "completed" => running.when(complete()).then_reply(2, true),
        "failed" => running.when(fail()).then_reply(1, true),
        "cancelled" => running.when(cancel()).then_reply(1, true),
        _ => panic!("no stage {stage}"),
    }
}

fn status(life: &Life) -> Option<SimulationStatus> {
    life.ask(GetSimulationStatus { id: ID.into() }).ok()
}

#[test]
fn every_command_at_every_stage() {
    use SimulationStatus::{Cancelled, Completed, Failed, Pending, Running};
    const CONFLICT: Result<Option<SimulationStatus>, Kind> = Err(Kind::Conflict);
    const MISSING: Result<Option<SimulationStatus>, Kind> = Err(Kind::NotFound);
    fn done(life: Life, command: impl Command<Simulation> + Clone) -> Result<Life, Kind>
    where
        Simulation: Observed,
    {
        let given = Given::at(t("2026-01-01T00:00:00Z"));
        match command.decide(life.state(), &given) {
            Ok(decision) => {
                let history: Vec<Event> = life.history().iter().cloned().chain(decision.events).collect();
                Ok(Life::given(history))
            }
            Err(refusal) => Err(refusal.kind()),
        }
    }
    // Status before; then after enqueue, start, complete, fail and cancel, or the kind of the refusal.
    for (stage, before, after) in [
        ("absent", None, [MISSING, MISSING, MISSING, MISSING, MISSING]),
        ("pending", Some(Pending), [Ok(Some(Pending)), CONFLICT, CONFLICT, CONFLICT, Ok(Some(Cancelled))]),
        ("queued", Some(Pending), [CONFLICT, Ok(Some(Running)), CONFLICT, CONFLICT, Ok(Some(Cancelled))]),
        (
            "running",
            Some(Running),
            [CONFLICT, Ok(Some(Running)), Ok(Some(Completed)), Ok(Some(Failed)), Ok(Some(Cancelled))],
        ),
        ("completed", Some(Completed), [Ok(Some(Completed)), CONFLICT, CONFLICT, CONFLICT, Ok(Some(Completed))]),
        ("failed", Some(Failed), [Ok(Some(Failed)), CONFLICT, CONFLICT, CONFLICT, Ok(Some(Failed))]),
        (
            "cancelled",
            Some(Cancelled),
            [CONFLICT, Ok(Some(Cancelled)), Ok(Some(Cancelled)), Ok(Some(Cancelled)), Ok(Some(Cancelled))],
        ),
    ] {
        assert_eq!(status(&life(stage)), before, "{stage}");
        let reached = [
            done(life(stage), enqueue()),
            done(life(stage), start()),
            done(life(stage), complete()),
            done(life(stage), fail()),
            done(life(stage), cancel()),
        ];
        let reached = reached.map(|life| life.map(|life| status(&life)));
        assert_eq!(reached, after, "{stage}: enqueue, start, complete, fail, cancel");
        if stage != "absent" {
            life(stage).when(create()).then_refused(Kind::Conflict);
        }
    }
}

#[test]
fn cancelling_says_whether_it_was_still_possible() {
    for (stage, was_possible) in [
        ("pending", true),
        ("queued", true),
        ("running", true),
        ("completed", false),
        ("failed", false),
        ("cancelled", false),
    ] {
        life(stage).when(cancel()).then_reply(usize::from(was_possible), was_possible);
    }
    life("cancelled").when(complete()).then_nothing_but(false);
    life("cancelled").when(start()).then_nothing_but(None);
    // One that was interrupted starts again, without another event.
    let input = Arc::clone(life("running").state().input().expect("created"));
    life("running").when(start()).then_nothing_but(Some(input));
}

#[test]
fn a_finished_one_keeps_its_result() {
    let completed = life("completed");
    let (input, stage) = completed.ask(GetSimulation { id: ID.into() }).expect("it exists");
    let Stage::Finished(stored) = stage else { panic!("{stage:?}") };
    let pattern = Arc::new(input.pattern(&Cancel::default()).expect("nobody has the flag"));
    let result = stored.to_result(ID, &input, Arc::clone(&pattern));
    assert_eq!((result.status, result.simulation_id.as_str()), (SimulationStatus::Completed, ID));
    assert_eq!(*result.failure_pattern, super::pattern("FFSSSF"));
    let transitions: Vec<(String, String, f64)> = result
        .policy_transitions
        .iter()
        .map(|step| (step.to.to_string(), step.reason.to_string(), step.offset_seconds.as_seconds()))
        .collect();
    let step = |to: &str, reason: &str, at| (to.to_owned(), reason.to_owned(), at);
    assert_eq!(transitions, [step("shut", "failure_burst:2", 1.0), step("open", "success_streak:3", 4.0)]);
    assert_eq!(result.time_in_each_policy, [("open".to_owned(), 7.0), ("shut".to_owned(), 3.0)]);
    // As the run itself had it.
    let create = create();
    let ladder = crate::policy::Ladder::new(&create.scenario).expect("sound");
    let prepared = prepared(&pattern, 10);
    let mut steps = Vec::new();
    let totals = simulate(&ladder, &prepared, &Cancel::default(), &mut steps).expect("nobody has the flag");
    let run = CompletedRun::new(&ladder, Timestamp::EPOCH, &totals, &steps, &prepared);
    assert_eq!(result, SimulationResult::completed(ID.into(), create.scenario, pattern, run));

    let failed = life("failed").ask(GetSimulation { id: ID.into() }).expect("it exists");
    let Stage::Finished(stored) = failed.1 else { panic!("{failed:?}") };
    let result = stored.to_result(ID, &failed.0, Arc::new(failed.0.pattern_head()));
    assert_eq!((result.status, result.error_message.as_deref()), (SimulationStatus::Failed, Some("it broke")));
}

#[test]
fn what_cannot_be_simulated_is_not_created() {
    let changed = |change: &dyn Fn(&mut CreateSimulation)| {
        let mut create = create();
        change(&mut create);
        create
    };
    let many = || FailurePattern { events: vec![(at(0.0), true); PATTERN_EVENTS_MAX + 1], ..pattern("") };
    let hawkes =
        || "hawkes:rate=0.1,branching=0.5,decay=1,duration=10".parse::<Generator>().expect("good without a seed");
    for (create, refusal) in [
        (changed(&|c| c.scenario.name.clear()), Invalid::new("name", "\"\"", "a text that is not empty")),
        (changed(&|c| c.duration_seconds = 0), Invalid::new("duration_seconds", 0, "1 to 1000000000")),
        (
            changed(&|c| c.duration_seconds = 1_000_000_001),
            Invalid::new("duration_seconds", 1_000_000_001, "1 to 1000000000"),
        ),
        (
            changed(&|c| c.start = Timestamp::MAX),
            Invalid::new("start", Timestamp::MAX, "an instant from which 10 s end before year 10000"),
        ),
        (
            changed(&|c| c.pattern = FailurePattern { pattern_id: "a/b".into(), ..pattern("") }.into()),
            Invalid::new("pattern_id", "\"a/b\"", "1 to 128 characters, none of them a control character or '/'"),
        ),
        (changed(&|c| c.pattern = many().into()), Invalid::new("events", "10000001 of them", "at most 10000000")),
        (
            changed(&|c| c.pattern = hawkes().into()),
            Invalid::new("seed", "missing", "a whole number, 0 to 2^64 - 1, as in seed=42"),
        ),
    ] {
        Life::given([]).when(create).then_refused(refusal);
    }
}

#[test]
fn a_long_pattern_is_stored_in_parts_and_a_rule_as_such() {
    let events: Vec<_> = (0..1_100_000).map(|second| (at(f64::from(second)), second % 7 == 0)).collect();
    let long = FailurePattern { events, ..pattern("") };
    let created = CreateSimulation { pattern: long.clone().into(), ..create() };
    let decision = created.decide(&Simulation::default(), &Given::at(t("2026-01-01T00:00:00Z"))).expect("accepted");
    let mut state = Simulation::default();
    for event in &decision.events {
        state.evolve(event).expect("decided");
    }
    assert_eq!(decision.events.len(), 3);
    assert_eq!(state.input().expect("created").pattern(&Cancel::default()), Ok(long));

    let rule: Generator =
        "gilbert:to_bad=0.1,to_good=0.2,good=0,bad=1,duration=50,seed=3".parse().expect("a generator");
    let life = Life::given([]).when(CreateSimulation { pattern: rule.clone().into(), ..create() }).then_reply(1, ());
    let pattern = life.state().input().expect("created").pattern(&Cancel::default());
    assert_eq!(pattern, rule.generate(&Cancel::default()));
}

#[test]
fn histories_that_were_never_decided_are_corrupt() {
    let completed = life("completed");
    let history = completed.history();
    let [created, outcomes, queued, started, steps, completed] = history else { panic!("six events") };
    let Event::Completed(totals) = completed else { panic!("{completed:?}") };
    let wrong_level = Event::Completed(SimulationCompleted { final_level: 1, ..totals.clone() });
    let wrong_ladder = Event::Completed(SimulationCompleted { micros_by_level: vec![1], ..totals.clone() });
    let off_ladder = Event::TransitionsAdded(TransitionsAdded {
        steps: crate::policy::OutcomeLog::pack([(1, true), (2, true)].into_iter()),
    });
    let before_start =
        Event::OutcomesAdded(OutcomesAdded { outcomes: crate::policy::OutcomeLog::pack([(-1, true)].into_iter()) });
    for (history, message) in [
        (vec![queued], "it was never created"),
        (vec![created, created], "simulation-created cannot follow when it is pending"),
        (vec![created, &before_start], "-1 µs is no offset"),
        (vec![created, started], "simulation-started cannot follow when it is pending"),
        (vec![created, queued, outcomes], "simulation-outcomes-added cannot follow"),
        (vec![created, queued, completed], "simulation-completed cannot follow"),
        (vec![created, queued, started, completed], "a step"),
        (vec![created, queued, started, steps, &wrong_level], "do not lead to the last level"),
        (vec![created, queued, started, steps, &wrong_ladder], "another ladder"),
        (vec![created, queued, started, &off_ladder, completed], "a step leads off the ladder"),
    ] {
        let mut state = Simulation::default();
        let refusals = history.iter().filter_map(|event| state.evolve(event).err());
        let refusals: Vec<String> = refusals.map(|corrupt| corrupt.to_string()).collect();
        // The first of these leaves out the steps: they lead nowhere, which here is where the run ended.
        if message == "a step" {
            assert!(refusals.is_empty(), "{refusals:?}");
            continue;
        }
        assert_eq!(refusals.len(), 1, "{message}: {refusals:?}");
        assert!(refusals[0].contains(message), "{refusals:?}");
    }
}
