//! Simulations as scripts hold on to them: the commands' exact JSON, the rules of the simulator, refusals.

use serde_json::{Value, json};

use crate::support::{Home, keys};

const RESULT_KEYS: [&str; 14] = [
    "error_message",
    "events_ignored",
    "events_simulated",
    "exposure",
    "failure_pattern",
    "final_policy",
    "policy_transitions",
    "scenario",
    "simulation_id",
    "sla_compliance_rate",
    "status",
    "time_in_each_policy",
    "total_deescalations",
    "total_escalations",
];
const MEASURES: [&str; 5] =
    ["elevated_share", "exposure", "last_policy_share", "sla_compliance_rate", "transitions_per_hour"];

fn scenario(name: &str, order: &[&str], escalation: i64, down: Value) -> Value {
    json!({
        "name": name, "policy_order": order, "escalation_threshold": escalation, "deescalation_thresholds": down,
        "metadata": {},
    })
}

/// `open` and `shut`, up at 2, down at 3.
fn two() -> Value {
    scenario("two", &["open", "shut"], 2, json!({"shut": 3}))
}

/// A directory with the scenario of that name in a file of it.
fn with_scenarios(scenarios: &[Value]) -> (Home, Vec<String>) {
    let home = Home::new();
    let file = |(index, scenario): (usize, &Value)| home.file(&format!("s{index}.json"), scenario.to_string());
    let files = scenarios.iter().enumerate().map(file).collect();
    (home, files)
}

fn simulate<'a>(scenario: &'a str, pattern: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["simulate", "--scenario", scenario, "--pattern", pattern], more].concat()
}

#[track_caller]
fn events(home: &Home, pattern: &str) -> Vec<(f64, bool)> {
    let document = home.run(&["pattern", pattern]).document();
    assert_eq!(keys(&document), ["description", "events", "pattern_id"]);
    let pair = |event: &Value| (event[0].as_f64().expect("seconds"), event[1].as_bool().expect("an outcome"));
    document["events"].as_array().expect("an array").iter().map(pair).collect()
}

fn failed_at(events: &[(f64, bool)]) -> Vec<f64> {
    events.iter().filter(|(_, is_success)| !is_success).map(|(at, _)| *at).collect()
}

#[test]
fn a_result_is_as_the_contract_says() {
    let (home, files) = with_scenarios(&[two()]);
    let pattern = json!({
        "pattern_id": "p", "description": "ten",
        "events": [[1, false], [2, false], [3, true], [4.25, true], [6, true], [7, true], [7, false], [10, true]],
    });
    let file = home.file("p.json", pattern.to_string());
    let ran = home.run(&simulate(&files[0], &file, &["--duration", "10"]));
    let result = ran.document();
    assert_eq!(keys(&result), RESULT_KEYS);
    assert!(ran.stderr.contains("warning: 1 of 8 events are ignored"), "{ran}");
    assert!(result["simulation_id"].as_str().is_some_and(|id| id.len() == 36));
    assert_eq!([&result["scenario"], &result["failure_pattern"]], [&two(), &pattern]);
    assert_eq!(
        result["policy_transitions"],
        json!([
            {"from": "open", "to": "shut", "offset_seconds": 2, "timestamp": "1970-01-01T00:00:02Z", "reason": "failure_burst:2"},
            {"from": "shut", "to": "open", "offset_seconds": 6, "timestamp": "1970-01-01T00:00:06Z", "reason": "success_streak:3"},
        ])
    );
    assert_eq!(result["time_in_each_policy"], json!({"open": 6.0, "shut": 4.0}));
    assert_eq!(
        [&result["final_policy"], &result["status"], &result["error_message"]],
        [&json!("open"), &json!("completed"), &Value::Null]
    );
    assert_eq!([&result["total_escalations"], &result["total_deescalations"]], [&json!(1), &json!(1)]);
    assert_eq!([&result["events_simulated"], &result["events_ignored"]], [&json!(7), &json!(1)]);
    // Of seven events one success met the open policy; both failures that led up did, and so did the last.
    assert_eq!(result["sla_compliance_rate"].as_f64(), Some(1.0 / 7.0));
    assert_eq!(result["exposure"], 1.0);
}

#[test]
fn each_rule_of_a_run() {
    let ladder_of_one = scenario("one", &["only"], 1, json!({}));
    let sticky = scenario("sticky", &["a", "b", "c"], 1, json!({"b": 1}));
    // Scenario, events, duration, then: time by policy, compliance, exposure, steps.
    for (scenario, events, duration, times, compliance, exposure, steps) in [
        (two(), json!([]), "5", json!({"open": 5.0, "shut": 0.0}), 1.0, 0.0, 0),
        (two(), json!([[0, true]]), "5", json!({"open": 5.0, "shut": 0.0}), 1.0, 0.0, 0),
        (two(), json!([[0, false], [0, false]]), "5", json!({"open": 0.0, "shut": 5.0}), 0.0, 1.0, 1),
        // The failure that leads up and the success that leads down meet the policy before.
        (two(), json!([[0, false], [1, false], [2, false]]), "4", json!({"open": 1.0, "shut": 3.0}), 0.0, 2.0 / 3.0, 1),
        (ladder_of_one.clone(), json!([[1, false], [2, true]]), "4", json!({"only": 4.0}), 0.5, 1.0, 0),
        (
            sticky.clone(),
            json!([[1, false], [2, true], [3, false], [4, false], [5, true]]),
            "10",
            json!({"a": 2.0, "b": 2.0, "c": 6.0}),
            0.2,
            2.0 / 3.0,
            4,
        ),
        // Equal offsets keep the order given.
        (two(), json!([[1, false], [1, true], [1, false]]), "5", json!({"open": 5.0, "shut": 0.0}), 1.0 / 3.0, 1.0, 0),
        (two(), json!([[2, true], [1, false], [1, false]]), "5", json!({"open": 1.0, "shut": 4.0}), 0.0, 1.0, 1),
        // What is at the duration is ignored.
        (two(), json!([[0, false], [5, false]]), "5", json!({"open": 5.0, "shut": 0.0}), 0.0, 1.0, 0),
        (two(), json!([[0, false], [4.999999, false]]), "5", json!({"open": 4.999999, "shut": 0.000001}), 0.0, 1.0, 1),
    ] {
        let (home, files) = with_scenarios(&[scenario]);
        let file = home.file("p.json", json!({"pattern_id": "p", "events": events}).to_string());
        let result = home.run(&simulate(&files[0], &file, &["--duration", duration])).document();
        assert_eq!(result["time_in_each_policy"], times, "{events}");
        assert_eq!(result["sla_compliance_rate"].as_f64(), Some(compliance), "{events}");
        assert_eq!(result["exposure"].as_f64(), Some(exposure), "{events}");
        assert_eq!(result["policy_transitions"].as_array().map(Vec::len), Some(steps), "{events}");
    }
}

#[test]
fn the_default_duration_is_an_hour_and_the_start_can_be_moved() {
    let (home, files) = with_scenarios(&[two()]);
    let result = home.run(&simulate(&files[0], "burst:size=2,interval=3599,duration=3602", &[])).document();
    assert_eq!([&result["events_simulated"], &result["events_ignored"]], [&json!(3600), &json!(2)]);
    let started = home.run(&simulate(
        &files[0],
        "burst:size=2,interval=10,duration=10",
        &["--start", "2026-01-31T12:00:00+01:00"],
    ));
    assert_eq!(started.document()["policy_transitions"][0]["timestamp"], "2026-01-31T11:00:01Z");
    home.run(&simulate(&files[0], "burst:size=2,interval=10,duration=10", &["--start", "today"]))
        .invalid("start", "today");
    let year = "9999-12-31T23:59:59Z";
    home.run(&simulate(&files[0], "burst:size=2,interval=10,duration=10", &["--start", year])).invalid("start", year);
}

#[test]
fn a_run_is_recorded_so_that_the_journal_alone_has_it() {
    let (home, files) = with_scenarios(&[two()]);
    let result = home.run(&simulate(&files[0], "burst:size=2,interval=10,duration=20,seed=7", &[])).document();
    let id = result["simulation_id"].as_str().expect("an id");
    let stream = format!("simulation/{id}");
    let entries = home.run(&["journal", "replay", "--stream", &stream]).lines();
    let types: Vec<&str> = entries.iter().filter_map(|entry| entry["type"].as_str()).collect();
    let expected =
        ["created", "queued", "started", "transitions-added", "completed"].map(|stage| format!("simulation-{stage}"));
    assert_eq!(types, expected);
    let created = &entries[0]["payload"];
    assert_eq!(created["scenario"], two());
    assert_eq!(created["pattern"]["generator"], "burst:size=2,interval=10,duration=20,seed=7");
    assert_eq!(
        [&created["pattern"]["random"], &created["pattern"]["generator_version"]],
        [&json!("ChaCha8"), &json!(1)]
    );
    assert!(created["software"].as_str().is_some_and(|software| software.starts_with("ionveil ")));
    assert_eq!(entries[4]["payload"]["micros_by_level"], json!([3_594_000_000u64, 6_000_000]));
}

#[test]
fn each_generator_makes_what_its_rule_says() {
    let home = Home::new();
    let failed = |pattern: &str| failed_at(&events(&home, pattern));
    assert_eq!(
        events(&home, "constant:rate=0.5,duration=2,eps=2").iter().map(|event| event.0).collect::<Vec<_>>(),
        [0.0, 0.5, 1.0, 1.5]
    );
    assert_eq!(failed("constant:rate=0.25,duration=8"), [3.0, 7.0]);
    // Ten times a tenth is one, whatever floating point makes of it.
    assert_eq!(failed("constant:rate=0.1,duration=20"), [9.0, 19.0]);
    assert!(failed("constant:rate=0,duration=5").is_empty());
    assert_eq!(failed("constant:rate=1,duration=3"), [0.0, 1.0, 2.0]);
    assert_eq!(failed("constant:rate=0.3,duration=10"), [3.0, 6.0, 9.0]);
    assert_eq!(events(&home, "constant:rate=0,duration=3,eps=0.5").len(), 1);
    // 0.1 · 3 events a second for 10 seconds are three events, though 0.1 · 3 is more than 0.3.
    assert_eq!(events(&home, "constant:rate=0,duration=10,eps=0.3").len(), 3);
    assert_eq!(events(&home, "constant:rate=0,duration=1,eps=3")[1].0, 0.333333);
    assert_eq!(failed("burst:size=2,interval=5,duration=12"), [0.0, 1.0, 5.0, 6.0, 10.0, 11.0]);
    assert_eq!(failed("burst:size=9,interval=3,duration=4"), [0.0, 1.0, 2.0, 3.0]);
    assert_eq!(events(&home, "burst:size=1,interval=1,duration=4").len(), 4);
}

/// The rates by minute of a cascade: the failures in each minute are their running sum.
#[test]
fn a_cascade_grows_and_recovers() {
    let home = Home::new();
    let by_minute = |pattern: &str| -> Vec<usize> {
        let failed = failed_at(&events(&home, pattern));
        let minutes = events(&home, pattern).len().div_ceil(60);
        (0..minutes).map(|minute| failed.iter().filter(|at| **at as usize / 60 == minute).count()).collect()
    };
    // 0.1, 0.2, 0.4, 0.8, 1 (not 1.6); peak 1 at 299; then 0.5, 0.25, 0.125, and 0.0625 is below 0.1: none.
    assert_eq!(
        by_minute("cascading:initial=0.1,factor=2,recovery=300,duration=600"),
        [6, 12, 24, 48, 60, 30, 15, 7, 0, 0]
    );
    // Back at exactly the initial rate it still fails; below it no more.
    assert_eq!(by_minute("cascading:initial=0.1,factor=2,recovery=120,duration=360"), [6, 12, 6, 0, 0, 0]);
    // Recovery from the start: the peak is the initial rate, and its half is below it.
    assert_eq!(by_minute("cascading:initial=0.5,factor=2,recovery=0,duration=120"), [0, 0]);
    // A factor of 1 or less grows to nothing and recovers to nothing.
    assert_eq!(by_minute("cascading:initial=0.5,factor=1,recovery=60,duration=180"), [30, 0, 0]);
    assert_eq!(by_minute("cascading:initial=0.8,factor=0.5,recovery=180,duration=240"), [48, 24, 12, 0]);
    assert_eq!(by_minute("cascading:initial=0,factor=1e300,recovery=60,duration=3600").iter().sum::<usize>(), 0);
    assert_eq!(by_minute("cascading:initial=0.01,factor=1e300,recovery=120,duration=180")[1], 60);
}

/// The same seed gives the same bytes, on every machine: these are the bytes.
#[test]
fn a_seed_means_the_same_everywhere() {
    let home = Home::new();
    let bytes = |pattern: &str| home.run(&["pattern", pattern]).stdout;
    for pattern in [
        "constant:rate=0.5,duration=64,seed=42",
        "cascading:initial=0.2,factor=2,recovery=120,duration=300,seed=1",
        "hawkes:rate=0.25,branching=0.8,decay=0.1,duration=600,seed=9",
        "gilbert:to_bad=0.05,to_good=0.2,good=0.01,bad=0.9,duration=300,seed=9",
        "daily:rate=0.1,amplitude=0.9,peak=1,duration=7200,seed=9",
    ] {
        assert_eq!(bytes(pattern), bytes(pattern), "{pattern}");
        let other = pattern.replace("seed=", "seed=1");
        assert_ne!(bytes(pattern), bytes(&other).replace(&other, pattern), "{pattern}");
    }
    let drawn: String = events(&home, "constant:rate=0.5,duration=64,seed=42")
        .iter()
        .map(|(_, ok)| if *ok { 'S' } else { 'F' })
        .collect();
    assert_eq!(drawn, DRAWN);
    let hawkes = events(&home, "hawkes:rate=0.25,branching=0.8,decay=0.1,duration=600,seed=9");
    assert_eq!(failed_at(&hawkes)[..4], HAWKES);
    // Chance has no say where rates are 0 and 1.
    let random = failed_at(&events(&home, "burst:size=2,interval=5,duration=60,seed=3"));
    assert_eq!(random, failed_at(&events(&home, "burst:size=2,interval=5,duration=60")));
}

/// What an implementation of ChaCha8 in another language draws below one half.
const DRAWN: &str = "FFFFSFFFFSSSFFSFFFSSSFSSFFSFSFFFFSSSFSFSSFFFSFSSFFSSSFFSFSFFSSFS";
/// The first failures of a Hawkes process, which come of logarithms and powers.
const HAWKES: [f64; 4] = [12.327055, 20.677007, 25.328906, 33.074688];

#[test]
fn each_parameter_of_a_generator() {
    let home = Home::new();
    for (pattern, field, value) in [
        ("constant:rate=1.5,duration=10", "rate", "1.5"),
        ("constant:rate=-0.1,duration=10", "rate", "-0.1"),
        ("constant:rate=NaN,duration=10", "rate", "NaN"),
        ("constant:rate=inf,duration=10", "rate", "inf"),
        ("constant:rate=a,duration=10", "rate", "a"),
        ("constant:duration=10", "rate", "missing"),
        ("constant:rate=0.1", "duration", "missing"),
        ("constant:rate=0.1,duration=0", "duration", "0"),
        ("constant:rate=0.1,duration=-5", "duration", "-5"),
        ("constant:rate=0.1,duration=1.5", "duration", "1.5"),
        ("constant:rate=0.1,duration=1000000001,eps=0.001", "duration", "1000000001"),
        ("constant:rate=0.1,duration=10,eps=0", "events_per_second", "0"),
        ("constant:rate=0.1,duration=10,eps=-1", "events_per_second", "-1"),
        ("constant:rate=0.1,duration=10,eps=inf", "events_per_second", "inf"),
        ("constant:rate=0.1,duration=10000001", "events", "10000001 of them"),
        ("constant:rate=0.1,duration=10,seed=-1", "seed", "-1"),
        ("constant:rate=0.1,duration=10,seed=1.5", "seed", "1.5"),
        ("constant:rate=0.1,rate=0.2,duration=10", "rate", "0.2"),
        ("constant:rate=0.1,length=10", "length", "10"),
        ("constant:rate", "pattern", "rate"),
        ("burst:size=0,interval=60,duration=10", "size", "0"),
        ("burst:size=1,interval=0,duration=10", "interval", "0"),
        ("burst:size=1,interval=60,duration=0", "duration", "0"),
        ("cascading:initial=2,factor=2,recovery=1,duration=10", "initial", "2"),
        ("cascading:initial=0.1,factor=0,recovery=1,duration=10", "factor", "0"),
        ("cascading:initial=0.1,factor=-2,recovery=1,duration=10", "factor", "-2"),
        ("cascading:initial=0.1,factor=NaN,recovery=1,duration=10", "factor", "NaN"),
        ("cascading:initial=0.1,factor=2,recovery=-1,duration=10", "recovery", "-1"),
        ("hawkes:rate=0.1,branching=1,decay=1,duration=10,seed=1", "branching", "1"),
        ("hawkes:rate=0.1,branching=-0.1,decay=1,duration=10,seed=1", "branching", "-0.1"),
        ("hawkes:rate=-1,branching=0.1,decay=1,duration=10,seed=1", "rate", "-1"),
        ("hawkes:rate=0.1,branching=0.5,decay=0,duration=10,seed=1", "decay", "0"),
        ("hawkes:rate=0.1,branching=0.5,decay=1,duration=10,successes=-1,seed=1", "successes", "-1"),
        ("hawkes:rate=0.1,branching=0.5,decay=1,duration=10", "seed", "missing"),
        ("hawkes:rate=1e9,branching=0.5,decay=1,duration=10,seed=1", "events", "10000000010 of them"),
        ("gilbert:to_bad=0,to_good=0.1,good=0,bad=1,duration=10,seed=1", "to_bad", "0"),
        ("gilbert:to_bad=0.1,to_good=1.1,good=0,bad=1,duration=10,seed=1", "to_good", "1.1"),
        ("gilbert:to_bad=0.1,to_good=0.1,good=-1,bad=1,duration=10,seed=1", "good", "-1"),
        ("gilbert:to_bad=0.1,to_good=0.1,good=0,bad=2,duration=10,seed=1", "bad", "2"),
        ("daily:rate=0.1,amplitude=1.1,peak=12,duration=10,seed=1", "amplitude", "1.1"),
        ("daily:rate=0.1,amplitude=1,peak=25,duration=10,seed=1", "peak", "25"),
        ("sine:rate=0.1", "pattern", "sine:rate=0.1"),
        ("nowhere.csv", "FILE", "nowhere.csv"),
    ] {
        home.run(&["pattern", pattern]).invalid(field, value);
    }
    assert!(!home.data().exists(), "a pattern leaves no trace");
}

#[test]
fn each_fault_of_a_scenario_and_of_a_duration() {
    let home = Home::new();
    let pattern = "burst:size=2,interval=10,duration=10";
    for (scenario, field, value) in [
        (scenario("", &["a"], 1, json!({})), "name", "\"\""),
        (scenario("s", &[], 1, json!({})), "policy_order", "[]"),
        (scenario("s", &["a", ""], 1, json!({})), "policy_order[1]", "\"\""),
        (scenario("s", &["a", "a"], 1, json!({})), "policy_order[1]", "\"a\""),
        (scenario("s", &["a"], 0, json!({})), "escalation_threshold", "0"),
        (scenario("s", &["a", "b"], 1, json!({"b": 0})), "deescalation_thresholds.b", "0"),
        (scenario("s", &["a", "b"], 1, json!({"a": 1})), "deescalation_thresholds.a", "1"),
        (scenario("s", &["a", "b"], 1, json!({"halted": 1})), "deescalation_thresholds.halted", "1"),
        (json!({"name": "s"}), "policy_order", "missing"),
    ] {
        let file = home.file("s.json", scenario.to_string());
        home.run(&simulate(&file, pattern, &[])).invalid(field, value);
    }
    let malformed = home.file("bad.json", "{\n  \"name\": \"s\",\n  \"policy_order\": [\"a\" \"b\"]\n}");
    let error = home.run(&simulate(&malformed, pattern, &[])).error(2, "invalid");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("line 3, column 24")), "{error}");
    let good = home.file("good.json", two().to_string());
    home.run(&simulate(&good, pattern, &["--duration", "0"])).invalid("duration_seconds", "0");
    home.run(&simulate(&good, pattern, &["--duration", "1000000001"])).invalid("duration_seconds", "1000000001");
    home.run(&simulate(&good, pattern, &["--duration", "-1"])).invalid("duration", "-1");
    home.run(&simulate(&good, pattern, &["--duration", "1.5"])).invalid("duration", "1.5");
    home.run(&["simulate", "--pattern", pattern]).error(2, "invalid");
    assert_eq!(home.stat()["events"], 0, "nothing was recorded");
    let longest = home.run(&simulate(&good, pattern, &["--duration", "1000000000"])).document();
    assert_eq!(longest["time_in_each_policy"], json!({"open": 999_999_997.0, "shut": 3.0}));
}

#[test]
fn a_comparison_has_a_result_for_each_scenario_by_name() {
    let broken = scenario("broken", &["a"], 0, json!({}));
    let (home, files) = with_scenarios(&[two(), scenario("never", &["open", "shut"], 99, json!({})), broken.clone()]);
    let [two_file, never, broken_file] = &files[..] else { panic!("three files") };
    let pattern = "burst:size=2,interval=10,duration=20";
    let compare =
        ["compare", "--scenario", two_file, never, "--scenario", broken_file, "--pattern", pattern, "--duration", "20"];
    let results = home.run(&compare).document();
    assert_eq!(keys(&results), ["broken", "never", "two"]);
    assert!(results.as_object().expect("an object").values().all(|result| keys(result) == RESULT_KEYS));
    assert_eq!([&results["two"]["status"], &results["never"]["status"]], ["completed", "completed"]);
    assert_eq!(results["two"]["policy_transitions"].as_array().map(Vec::len), Some(4));
    assert_eq!(results["two"]["failure_pattern"], results["never"]["failure_pattern"]);
    let failed = &results["broken"];
    assert_eq!([&failed["status"], &failed["scenario"]], [&json!("failed"), &broken]);
    assert_eq!(failed["error_message"], "escalation_threshold is 0, allowed: a whole number, at least 1");
    assert_eq!([&failed["policy_transitions"], &failed["time_in_each_policy"]], [&json!([]), &json!({})]);

    let twice = ["compare", "--scenario", two_file, two_file, "--pattern", pattern];
    home.run(&twice).invalid("name", "\"two\"");
    home.run(&["compare", "--pattern", pattern]).error(2, "invalid");
    home.run(&["compare", "--scenario", two_file, "--pattern", "constant:rate=2,duration=1"]).invalid("rate", "2");
    home.run(&["compare", "--scenario", two_file, "--pattern", pattern, "--duration", "0"])
        .invalid("duration_seconds", "0");
}

#[test]
fn a_recommendation_cites_its_numbers() {
    let (home, files) = with_scenarios(&[
        two(),
        scenario("never", &["open", "shut"], 99, json!({})),
        scenario("broken", &["a"], 0, json!({})),
        scenario("one", &["open"], 1, json!({})),
    ]);
    let pattern = ["--pattern", "burst:size=4,interval=10,duration=20", "--duration", "20"];
    let recommend = |files: &[String], more: &[&str]| {
        let scenarios: Vec<&str> =
            ["recommend", "--scenario"].into_iter().chain(files.iter().map(String::as_str)).collect();
        home.run(&[&scenarios[..], &pattern[..], more].concat())
    };
    let recommendation = recommend(&files[..3], &[]).document();
    assert_eq!(
        keys(&recommendation),
        ["deescalation_thresholds", "escalation_threshold", "reasons", "recommended", "scores"]
    );
    // two: at 1 up, at 6 down, at 11 up, at 16 down; 4 of 8 failures met the open policy. never: 12 of 20 succeed.
    let score = |name: &str| {
        let scores = recommendation["scores"].as_array().expect("an array");
        scores.iter().find(|score| score["name"] == name).unwrap_or_else(|| panic!("no {name}")).clone()
    };
    let expected = |name, compliance: f64, last: f64, per_hour: f64, exposure: f64, total: f64| {
        json!({
            "name": name, "sla_compliance_rate": compliance, "last_policy_share": last, "elevated_share": last,
            "transitions_per_hour": per_hour, "exposure": exposure, "score": total, "pareto": true,
        })
    };
    assert_eq!(score("two"), expected("two", 0.3, 0.5, 720.0, 0.5, 4.0));
    assert_eq!(score("never"), expected("never", 0.6, 0.0, 0.0, 1.0, 1.0));
    assert_eq!(
        [&recommendation["recommended"], &recommendation["escalation_threshold"]],
        [&json!("never"), &json!(99)]
    );
    assert_eq!(recommendation["deescalation_thresholds"], json!({}));
    let reasons: Vec<&str> =
        recommendation["reasons"].as_array().expect("an array").iter().filter_map(Value::as_str).collect();
    let has = |text: &str| reasons.iter().any(|reason| reason.contains(text));
    for text in [
        "never reacts",
        "score 1, the smallest",
        "sla_compliance_rate 0.6",
        "exposure 1: the worst",
        "1 of 3 were not completed",
    ] {
        assert!(has(text), "{text}: {reasons:?}");
    }
    // Weights decide otherwise; equal inputs, in whatever order, give equal recommendations.
    let mut backwards = files[..3].to_vec();
    backwards.reverse();
    let weighted = ["--weight", "exposure=9", "--weight", "transitions_per_hour=0"];
    let other = recommend(&files[..3], &weighted).document();
    assert_eq!([&other["recommended"], &other["scores"][0]["score"]], [&json!("two"), &json!(3.0)]);
    assert_eq!(recommend(&backwards, &weighted).document(), other);
    // A ladder of one has no last policy in this sense; equals tie by name.
    let alone = recommend(&files[3..], &[]).document();
    assert_eq!([&alone["scores"][0]["last_policy_share"], &alone["scores"][0]["score"]], [&json!(0.0), &json!(0.0)]);
    let tied = recommend(&[files[3].clone(), files[1].clone()], &[]).document();
    assert_eq!(tied["recommended"], "never");

    recommend(&files[2..3], &[]).invalid("results", "1 of them");
    // What is asked of all is checked also when no scenario can be run.
    let only_bad = ["compare", "--scenario", &files[2], "--pattern", "constant:rate=1,duration=5", "--duration", "0"];
    home.run(&only_bad).invalid("duration_seconds", "0");
    recommend(&files[..1], &["--weight", "exposure=-1"]).invalid("weights.exposure", "-1");
    recommend(&files[..1], &["--weight", "beauty=1"]).invalid("measure", "beauty");
    recommend(&files[..1], &["--weight", "exposure"]).invalid("weight", "exposure");
}

#[test]
fn a_sweep_tries_every_combination() {
    let home = Home::new();
    let sweep = |more: &[&str]| {
        home.run(
            &[&["sweep", "--pattern", "burst:size=4,interval=20,duration=600", "--duration", "600"], more].concat(),
        )
    };
    let entries =
        sweep(&["--escalation", "1..5", "--deescalation", "watch=2..4", "--deescalation", "halted=7"]).document();
    let entries = entries.as_array().expect("an array");
    assert_eq!(entries.len(), 15);
    let mut expected: Vec<&str> = MEASURES.to_vec();
    expected.extend(["deescalation_thresholds", "escalation_threshold", "pareto", "score"]);
    expected.sort_unstable();
    let thresholds: Vec<(i64, i64)> = entries
        .iter()
        .map(|entry| {
            assert_eq!(keys(entry), expected);
            assert_eq!(entry["deescalation_thresholds"]["halted"], 7);
            assert_eq!(entry["deescalation_thresholds"]["restricted"], 10);
            let number = |value: &Value| value.as_i64().expect("a number");
            (number(&entry["escalation_threshold"]), number(&entry["deescalation_thresholds"]["watch"]))
        })
        .collect();
    assert_eq!(thresholds, (1..=5).flat_map(|up| (2..=4).map(move |down| (up, down))).collect::<Vec<_>>());
    // A combination does as it does in a run of its own.
    let (entry, name) = (&entries[4], "own");
    let own = scenario(name, &["normal", "watch", "restricted", "halted"], 2, entry["deescalation_thresholds"].clone());
    let file = home.file("own.json", own.to_string());
    let recommendation = home
        .run(&[
            "recommend",
            "--scenario",
            &file,
            "--pattern",
            "burst:size=4,interval=20,duration=600",
            "--duration",
            "600",
        ])
        .document();
    for measure in MEASURES {
        assert_eq!(entry[measure], recommendation["scores"][0][measure], "{measure}");
    }
    // None on the front is dominated, and each that is not on it is.
    let better = |a: &Value, b: &Value| {
        let signed = |entry: &Value, measure: &str| {
            let value = entry[measure].as_f64().expect("a number");
            if measure == "sla_compliance_rate" { -value } else { value }
        };
        MEASURES.iter().all(|measure| signed(a, measure) <= signed(b, measure))
            && MEASURES.iter().any(|measure| signed(a, measure) < signed(b, measure))
    };
    for entry in entries {
        assert_eq!(entry["pareto"] == true, !entries.iter().any(|other| better(other, entry)), "{entry}");
    }

    let held = sweep(&["--escalation", "2", "--holdout", "0.25"]).document();
    assert_eq!(keys(&held[0]["holdout"]), MEASURES);
    sweep(&["--escalation", "5..3"]).invalid("escalation", "5..3");
    sweep(&["--escalation", "0..3"]).invalid("escalation", "0..3");
    sweep(&["--escalation", "a..3"]).invalid("escalation", "a");
    sweep(&["--escalation", "1..2000000"]).invalid("escalation", "2000000 combinations");
    sweep(&["--escalation", "1", "--deescalation", "watch"]).invalid("deescalation", "watch");
    sweep(&["--escalation", "1", "--deescalation", "watch=1", "--deescalation", "watch=2"])
        .invalid("deescalation", "watch=2");
    sweep(&["--escalation", "1", "--deescalation", "normal=1..2"]).invalid("deescalation_thresholds.normal", "1");
    sweep(&["--escalation", "1", "--holdout", "1"]).invalid("holdout", "1");
    sweep(&["--escalation", "1", "--holdout", "NaN"]).invalid("holdout", "NaN");
    home.run(&["sweep", "--pattern", "burst:size=4,interval=20,duration=60", "--escalation", "1", "--duration", "0"])
        .invalid("duration_seconds", "0");
    assert!(!home.path("data/journal").exists() || home.stat()["streams"] == 1, "a sweep records nothing");
}

#[test]
fn policies_over_time_are_drawn() {
    let (home, files) = with_scenarios(&[two(), scenario("<b>&amp;", &["open"], 1, json!({}))]);
    let svg = home.path("out.svg");
    let svg_arg = svg.to_str().expect("UTF-8");
    let pattern = "burst:size=2,interval=100,duration=100";
    let ran = home.run_for_people(&simulate(&files[0], pattern, &["--duration", "100", "--svg", svg_arg]));
    assert_eq!(ran.code, 0, "{ran}");
    for text in ["two against burst", "shut  ", "success_streak:3", "100 s"] {
        assert!(ran.stdout.contains(text), "{text}\n{ran}");
    }
    assert!(!ran.stdout.contains('\u{1b}'), "colours are for terminals");
    let drawn = std::fs::read_to_string(&svg).expect("a drawing");
    assert!(drawn.starts_with("<svg") && drawn.contains("shut: 3 s in all"), "{drawn}");
    let compare = ["compare", "--scenario", &files[0], &files[1], "--pattern", pattern, "--svg", svg_arg];
    home.run(&compare).document();
    let drawn = std::fs::read_to_string(&svg).expect("a drawing");
    assert!(drawn.contains("&lt;b&gt;&amp;amp;") && !drawn.contains("<b>"), "names are escaped: {drawn}");
    let nowhere = home.path("no/where.svg");
    let nowhere = nowhere.to_str().expect("UTF-8");
    let before = home.stat();
    home.run(&simulate(&files[0], pattern, &["--svg", nowhere])).invalid("svg", nowhere);
    home.run(&["compare", "--scenario", &files[0], "--pattern", pattern, "--svg", nowhere]).invalid("svg", nowhere);
    assert_eq!(home.stat(), before, "what cannot be drawn is not run");
}

/// The shipped stream of a real web server, against its reference figures.
#[test]
fn real_failures_run_through_simulation_and_sweep() {
    let home = Home::new();
    let example = |name: &str| format!("{}/examples/{name}", env!("CARGO_MANIFEST_DIR"));
    let (stream, calm) = (example("failure-stream.csv"), example("calm.json"));
    let pattern = events(&home, &stream);
    assert_eq!((pattern.len(), failed_at(&pattern).len()), (1_108, 539));
    let result = home.run(&simulate(&calm, &stream, &["--duration", "138494"])).document();
    assert_eq!([&result["events_simulated"], &result["events_ignored"]], [&json!(1_108), &json!(0)]);
    assert_eq!([&result["total_escalations"], &result["final_policy"]], [&json!(19), &json!("normal")]);
    let total: f64 =
        result["time_in_each_policy"].as_object().expect("an object").values().filter_map(Value::as_f64).sum();
    assert_eq!(total, 138_494.0);
    // The last offset is 138,493, so that a second less leaves an event out.
    let shorter = home.run(&simulate(&calm, &stream, &["--duration", "138493"])).document();
    assert_eq!(shorter["events_ignored"].as_u64().map(|ignored| ignored > 0), Some(true));
    let sweep = ["sweep", "--pattern", &stream, "--duration", "138494", "--escalation", "1..8", "--holdout", "0.3"];
    assert_eq!(home.run(&sweep).document().as_array().map(Vec::len), Some(8));
}

#[test]
fn monte_carlo_says_how_surely_one_is_better() {
    let (home, files) = with_scenarios(&[two(), scenario("slow", &["open", "shut"], 6, json!({"shut": 3}))]);
    let montecarlo = |more: &[&str]| {
        let scenarios =
            ["montecarlo", "--scenario", &files[0], &files[1], "--pattern", "constant:rate=0.3,duration=600"];
        home.run(&[&scenarios[..], more].concat())
    };
    let ran = montecarlo(&["--runs", "40", "--seed", "7", "--duration", "600"]);
    let report = ran.document();
    let expected = [
        "confidence",
        "differences",
        "duration_seconds",
        "generator_version",
        "pattern",
        "random",
        "runs",
        "scenarios",
        "seed",
        "software",
        "stopped_early",
    ];
    assert_eq!(keys(&report), expected);
    assert_eq!([&report["runs"], &report["seed"], &report["stopped_early"]], [&json!(40), &json!(7), &json!(false)]);
    assert_eq!([&report["pattern"], &report["random"]], ["constant:rate=0.3,duration=600,eps=1", "ChaCha8"]);
    assert_eq!([&report["scenarios"][0]["name"], &report["scenarios"][0]["scenario"]], [&json!("two"), &two()]);
    assert_eq!(keys(&report["scenarios"][0]["measures"]), MEASURES);
    let exposure = &report["differences"][0]["measures"]["exposure"];
    assert_eq!(keys(exposure), ["high", "low", "mean", "probability_b_better", "probability_equal"]);
    assert_eq!([&report["differences"][0]["a"], &report["differences"][0]["b"]], ["two", "slow"]);
    // A slower policy leaves more failures to the first policy, on every pattern.
    let number = |name: &str| exposure[name].as_f64().expect("a number");
    assert!(number("low") > 0.0 && number("low") < number("mean") && number("mean") < number("high"));
    assert_eq!([&exposure["probability_b_better"], &exposure["probability_equal"]], [&json!(0.0), &json!(0.0)]);
    assert_eq!(
        montecarlo(&["--runs", "40", "--seed", "7", "--duration", "600"]).stdout,
        ran.stdout,
        "same seed, same bytes"
    );
    assert_ne!(montecarlo(&["--runs", "40", "--seed", "8", "--duration", "600"]).stdout, ran.stdout);
    let early =
        montecarlo(&["--runs", "5000", "--seed", "7", "--duration", "600", "--until", "exposure=0.2"]).document();
    assert_eq!([&early["runs"], &early["stopped_early"]], [&json!(64), &json!(true)]);

    montecarlo(&["--runs", "0", "--seed", "7"]).invalid("runs", "0");
    montecarlo(&["--runs", "-1", "--seed", "7"]).invalid("runs", "-1");
    montecarlo(&["--runs", "10"]).error(2, "invalid");
    montecarlo(&["--runs", "10", "--seed", "x"]).invalid("seed", "x");
    montecarlo(&["--runs", "10", "--seed", "1", "--until", "exposure=0"]).invalid("width", "0");
    montecarlo(&["--runs", "10", "--seed", "1", "--until", "exposure"]).invalid("until", "exposure");
    let of_file = ["montecarlo", "--scenario", &files[0], "--pattern", "p.csv", "--runs", "9", "--seed", "1"];
    home.run(&of_file).invalid("pattern", "p.csv");
    let twice = [
        "montecarlo",
        "--scenario",
        &files[0],
        &files[0],
        "--pattern",
        "constant:rate=0.3,duration=60",
        "--runs",
        "9",
        "--seed",
        "1",
    ];
    home.run(&twice).invalid("name", "\"two\"");
    assert!(!home.data().exists(), "nothing is recorded");
}

#[test]
fn a_fit_gives_generators_that_resemble_the_stream() {
    let home = Home::new();
    let stream = format!("{}/examples/failure-stream.csv", env!("CARGO_MANIFEST_DIR"));
    let fitted = home.run(&["fit", "--pattern", &stream]).document();
    assert_eq!(
        [&fitted["events"], &fitted["failures"], &fitted["longest_failure_run"]],
        [&json!(1_108), &json!(539), &json!(7)]
    );
    // In the order of time there are 386 runs of failures; as the log has them, 391.
    assert_eq!(fitted["mean_failure_run"].as_f64(), Some(539.0 / 386.0));
    assert_eq!(fitted["duration_seconds"], 138_494);
    let hawkes = &fitted["hawkes"];
    assert!(hawkes["aic"].as_f64() < hawkes["poisson_aic"].as_f64(), "real failures come in bursts: {hawkes}");
    assert!(fitted["dispersion_index"].as_f64().is_some_and(|index| index > 2.0));
    for process in ["hawkes", "gilbert"] {
        let generator = fitted[process]["generator"].as_str().expect("a generator");
        let file = home.file("two.json", two().to_string());
        let args = [
            "montecarlo",
            "--scenario",
            &file,
            "--pattern",
            generator,
            "--runs",
            "2",
            "--seed",
            "1",
            "--duration",
            "138494",
        ];
        assert_eq!(home.run(&args).document()["runs"], 2);
    }
    // Of what an org recorded it is the same.
    home.run(&["policy", "import", "--org", "web", &stream, "--start", "2005-12-04T04:47:44Z"]).document();
    let recorded = home.run(&["fit", "--org", "web"]).document();
    assert_eq!([&recorded["pattern_id"], &recorded["hawkes"]], [&json!("web"), hawkes]);
    let part = home.run(&["fit", "--org", "web", "--to", "2005-12-04T12:00:00Z"]).document();
    assert!(part["events"].as_u64().is_some_and(|events| 0 < events && events < 1_108));
    home.run(&["fit"]).error(2, "invalid");
    home.run(&["fit", "--org", "web", "--pattern", &stream]).error(2, "invalid");
    home.run(&["fit", "--org", "nobody"]).invalid("events", "none");
}

#[test]
fn a_counterfactual_replays_what_an_org_recorded() {
    let (home, files) = with_scenarios(&[two()]);
    let record = |outcome: &str, count: &str, now: &str| {
        home.run(&["policy", "record", "--org", "web", outcome, "--count", count, "--now", now]).document();
    };
    record("success", "5", "2026-01-31T12:00:00Z");
    record("failure", "2", "2026-01-31T12:00:10Z");
    record("failure", "1", "2026-01-31T12:00:20Z");
    home.run(&[
        "policy",
        "escalate",
        "--org",
        "web",
        "--user",
        "ana",
        "--reason",
        "storm",
        "--now",
        "2026-01-31T12:00:30Z",
    ])
    .document();
    record("success", "5", "2026-01-31T12:00:40Z");
    let ask = |more: &[&str]| home.run(&[&["counterfactual", "--org", "web", "--scenario", &files[0]], more].concat());
    let before = home.stat();
    let report = ask(&[]).document();
    assert_eq!(keys(&report), ["differences", "manual", "proposed", "real", "summary"]);
    assert_eq!(
        report["real"],
        json!([
            {"from": "normal", "to": "watch", "timestamp": "2026-01-31T12:00:20Z", "reason": "failure_burst:3"},
            {"from": "watch", "to": "restricted", "timestamp": "2026-01-31T12:00:30Z", "reason": "storm", "user": "ana"},
        ])
    );
    // The ladder `open`, `shut` does not have the real policy, so it starts at its first.
    assert_eq!(
        report["proposed"],
        json!([
            {"from": "open", "to": "shut", "timestamp": "2026-01-31T12:00:10Z", "reason": "failure_burst:2"},
            {"from": "shut", "to": "open", "timestamp": "2026-01-31T12:00:40Z", "reason": "success_streak:3"},
        ])
    );
    assert_eq!(
        report["differences"][0],
        json!({
            "position": 2, "outcome": 1, "at": "2026-01-31T12:00:10Z", "real": "normal", "proposed": "shut",
            "because": "the real policy stayed at normal, because its burst was 2 of 3; the proposed one escalated to shut at a failure burst of 2",
        })
    );
    assert_eq!(
        report["manual"][0],
        json!({
            "position": 4, "at": "2026-01-31T12:00:30Z", "action": "escalate", "from": "watch", "to": "restricted", "user": "ana",
            "reason": "storm",
        })
    );
    let summary = &report["summary"];
    assert_eq!([&summary["outcomes"], &summary["from"]], [&json!(13), &json!("2026-01-31T12:00:00Z")]);
    assert_eq!(summary["to"], "2026-01-31T12:00:40.000001Z");
    let part = ask(&["--from", "2026-01-31T12:00:20Z", "--to", "latest"]).document();
    assert_eq!(
        [&part["summary"]["outcomes"], &part["summary"]["real"]["initial_policy"]],
        [&json!(6), &json!("normal")]
    );
    assert_eq!(part["proposed"], json!([]), "a burst that began before the span counts from 0");
    assert_eq!(home.stat(), before, "a replay records nothing");

    let nobody = home.run(&["counterfactual", "--org", "nobody", "--scenario", &files[0]]).document();
    assert_eq!(
        [&nobody["real"], &nobody["differences"], &nobody["summary"]["outcomes"]],
        [&json!([]), &json!([]), &json!(0)]
    );
    let same = "2026-01-31T12:00:20Z";
    ask(&["--from", same, "--to", same]).invalid("from", same);
    ask(&["--from", "yesterday"]).invalid("from", "yesterday");
    home.run(&["counterfactual", "--org", "web"]).error(2, "invalid");
    let broken = home.file("broken.json", scenario("broken", &["a"], 0, json!({})).to_string());
    home.run(&["counterfactual", "--org", "web", "--scenario", &broken]).invalid("escalation_threshold", "0");
    for command in
        [&["counterfactual", "--org", "web", "--scenario", &files[0]][..], &["policy", "show", "--org", "web"]]
    {
        let ran = home.run_for_people(command);
        assert_eq!(ran.code, 0, "{ran}");
        assert!(ran.stdout.contains("restricted"), "{ran}");
    }
}
