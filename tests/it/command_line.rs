//! The command line as scripts hold on to it: exact JSON, exit codes, errors.

use std::process::Stdio;

use ionveil::{Config, IonVeil};
use serde_json::{Value, json};

use crate::support::{Home, Ran, dispatch_json, dispatches_ndjson, keys};

const ENTRY_KEYS: [&str; 11] = [
    "by",
    "causation_id",
    "correlation_id",
    "event_id",
    "payload",
    "position",
    "recorded_at",
    "sequence",
    "stream",
    "type",
    "version",
];
const METRIC_KEYS: [&str; 8] =
    ["aggregation", "dimensions", "exact", "metric_name", "sample_count", "value", "window_end", "window_start"];

fn metric<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let base = ["metric", "--org", "sffd", "--metric", "response_time", "--window", "1h", "--agg", "avg"];
    [&base, more].concat()
}

/// Two closed dispatches of one region, one active of another.
fn three() -> Home {
    let home = Home::new();
    let lines = [
        dispatch_json("a", "2026-01-31T12:00:30Z", json!({ "response_time_minutes": 2.5 })),
        dispatch_json("b", "2026-01-31T12:10:00Z", json!({ "response_time_minutes": 40.0 })),
        dispatch_json("c", "2026-01-31T12:20:00.5Z", json!({ "region": "B01", "status": "active" })),
    ];
    home.ingest(&lines.map(|line| format!("{line}\n")).concat());
    home
}

#[test]
fn ingest_answers_with_its_counts() {
    let home = Home::new();
    let bad = dispatch_json("bad", "2026-01-31T12:00:00Z", json!({ "severity": 6 }));
    let late = dispatch_json("late", "2026-01-29T12:00:00Z", json!({}));
    let lines = format!("{}{bad}\nno json\n{late}\n", dispatches_ndjson("e", 5));
    let summary = home.run_with(&["ingest", "--org", "sffd", "-"], lines.as_bytes()).document();
    let expected_keys =
        ["accepted", "duplicates", "events_per_second", "read", "rejected", "rejected_reasons", "seconds"];
    assert_eq!(keys(&summary), expected_keys);
    assert_eq!(
        [&summary["read"], &summary["accepted"], &summary["duplicates"], &summary["rejected"]],
        [&json!(8), &json!(5), &json!(0), &json!(3)]
    );
    assert_eq!(summary["rejected_reasons"], json!({ "invalid": 2, "in_future": 0, "too_late": 1 }));
    assert!(summary["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert!(summary["events_per_second"].as_f64().is_some_and(|rate| rate > 0.0));
    let again = home.run_with(&["ingest", "--org", "sffd", "-"], lines.as_bytes()).document();
    assert_eq!([&again["accepted"], &again["duplicates"]], [&json!(0), &json!(5)]);
}

#[test]
fn metric_answers_with_an_array_of_aggregated_metrics() {
    let home = three();
    let answer = home.run(&metric(&["--start", "2026-01-31T12:00:00Z", "--end", "latest"])).document();
    let one = json!([{
        "metric_name": "response_time", "value": 21.25, "window_start": "2026-01-31T12:00:00Z",
        "window_end": "2026-01-31T13:00:00Z", "dimensions": {}, "sample_count": 2, "aggregation": "avg", "exact": true,
    }]);
    assert_eq!(answer, one);
    assert_eq!(keys(&answer[0]), METRIC_KEYS);

    let filtered = ["--dim", "region=B04", "--dim", "severity=4", "--dim", "unit_type=TRUCK", "--end", "latest"];
    let answer = home.run(&metric(&filtered)).document();
    assert_eq!(answer[0]["dimensions"], json!({ "region": "B04", "severity": "4", "unit_type": "TRUCK" }));
    assert_eq!(home.run(&metric(&["--dim", "region=B09", "--end", "latest"])).document(), json!([]));

    let empty =
        home.run(&metric(&["--include-empty", "--start", "2026-01-31T11:00:00Z", "--end", "2026-01-31T12:00:00Z"]));
    assert_eq!(empty.document()[0]["value"], Value::Null);
    assert_eq!(empty.document()[0]["sample_count"], 0);
}

#[test]
fn times_are_absolute_or_relative_or_the_latest_event() {
    let home = three();
    let answer = |more: &[&str]| home.run(&metric(more)).document();
    let samples = |more: &[&str]| {
        answer(more)
            .as_array()
            .expect("an array")
            .iter()
            .map(|m| m["sample_count"].as_u64().expect("a count"))
            .sum::<u64>()
    };
    assert_eq!(samples(&["--end", "latest"]), 2);
    assert_eq!(samples(&["--as-of", "latest"]), 2);
    // An hour ago is an hour before the instant that is asked as of.
    assert_eq!(samples(&["--as-of", "latest", "--start", "-1h", "--end", "now"]), 2);
    assert_eq!(samples(&["--as-of", "2026-01-31T12:00:00Z"]), 0);
    assert_eq!(samples(&["--as-of", "2026-01-31T13:00:00+01:00", "--start", "2026-01-31T11:00:00Z"]), 0);
    assert_eq!(samples(&["--start", "2026-01-31T12:00:00Z", "--end", "now"]), 2);
    assert_eq!(samples(&["--start", "-1h", "--end", "now"]), 0);
    assert_eq!(samples(&["--start", "-1h"]), 0);
    // What was known after the retention was set, the first event, the second.
    for (position, count) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (1_000, 2)] {
        let position = position.to_string();
        let at = ["--start", "2026-01-31T12:00:00Z", "--end", "2026-01-31T13:00:00Z", "--at-position", &position];
        assert_eq!(samples(&at), count, "position {position}");
    }
    home.run(&metric(&["--start", "yesterday"])).invalid("start", "yesterday");
    home.run(&metric(&["--end", "-1"])).invalid("end", "-1");
    home.run(&metric(&["--as-of", "2026-01-31"])).invalid("as_of", "2026-01-31");
    home.run(&metric(&["--start", "now", "--end", "-1h"])).error(2, "invalid");
}

#[test]
fn snapshot_answers_with_the_dashboard() {
    let home = three();
    let snapshot = home.run(&["snapshot", "--org", "sffd", "--as-of", "latest"]).document();
    let expected_keys = [
        "active_dispatches",
        "alerts",
        "average_response_time",
        "metrics",
        "org_id",
        "pending_dispatches",
        "sla_compliance_rate",
        "timestamp",
    ];
    assert_eq!(keys(&snapshot), expected_keys);
    assert_eq!(snapshot["org_id"], "sffd");
    assert_eq!(snapshot["timestamp"], "2026-01-31T12:20:00.500001Z");
    assert_eq!([&snapshot["active_dispatches"], &snapshot["pending_dispatches"]], [&json!(1), &json!(0)]);
    assert_eq!([&snapshot["sla_compliance_rate"], &snapshot["average_response_time"]], [&json!(0.5), &json!(21.25)]);
    assert_eq!(snapshot["alerts"], json!([]));
    let metrics = snapshot["metrics"].as_array().expect("an array");
    assert!(metrics.iter().all(|metric| keys(metric) == METRIC_KEYS));
    assert_eq!(metrics.len(), 9 + 2);
    let before = home.run(&["snapshot", "--org", "sffd", "--as-of", "latest", "--at-position", "2"]).document();
    assert_eq!(before["timestamp"], "2026-01-31T12:00:30.000001Z");
    assert_eq!(before["average_response_time"], 2.5);
}

#[test]
fn regions_answers_with_an_object_by_region() {
    let home = three();
    let regions = home.run(&["regions", "--org", "sffd", "--end", "latest"]).document();
    let expected = json!({ "B04": {
        "dispatch_count": 2, "avg_response": 21.25, "p50_response": 2.5, "p90_response": 40.0, "sla_compliance": 0.5,
        "avg_distance": 1.25,
    } });
    assert_eq!(regions, expected);
    home.run(&["regions", "--org", "sffd", "--start", "latest", "--end", "latest"]).error(2, "invalid");
}

#[test]
fn journal_commands_answer_as_documented() {
    let home = three();
    let stat = home.stat();
    let stat_keys =
        ["blocks", "bytes_on_disk", "engine", "events", "head_hash", "head_position", "snapshots", "streams"];
    assert_eq!(keys(&stat), stat_keys);
    assert_eq!([&stat["engine"], &stat["events"], &stat["streams"]], [&json!("sled"), &json!(4), &json!(1)]);
    assert_eq!([&stat["head_position"], &stat["snapshots"]], [&json!(4), &json!(0)]);
    assert!(stat["bytes_on_disk"].as_u64().is_some_and(|bytes| bytes > 0));
    let hash = stat["head_hash"].as_str().expect("a text");
    assert!(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");

    let verified = home.run(&["journal", "verify"]).document();
    assert_eq!(keys(&verified), ["blocks", "events", "head_hash", "head_position", "ok"]);
    assert_eq!(
        [&verified["ok"], &verified["events"], &verified["head_position"]],
        [&json!(true), &json!(4), &json!(4)]
    );
    assert_eq!([&verified["head_hash"], &verified["blocks"]], [&stat["head_hash"], &stat["blocks"]]);

    let streams = home.run(&["journal", "streams"]).lines();
    assert_eq!(streams, [json!({ "stream": "dispatch/sffd", "events": 4, "last_sequence": 4 })]);

    let audit = home.run(&["audit"]).lines();
    assert_eq!(audit.len(), 4);
    assert!(audit.iter().all(|entry| keys(entry) == ENTRY_KEYS));
    assert_eq!(home.run(&["journal", "export"]).lines(), audit);
    assert_eq!(home.run(&["journal", "replay", "--stream", "dispatch/sffd"]).lines(), audit);
    let some = home.run(&["journal", "replay", "--stream", "dispatch/sffd", "--from", "2", "--to", "3"]).lines();
    assert_eq!(some, audit[1..3]);
    assert_eq!(home.run(&["journal", "replay", "--stream", "dispatch/sffd", "--from", "9"]).lines(), [Value::Null; 0]);

    home.run(&["journal", "replay", "--stream", "dispatch/nobody"]).error(1, "not_found");
    home.run(&["journal", "replay", "--stream", "dispatch"]).invalid("stream", "dispatch");
    home.run(&["journal", "replay", "--stream", "dispatch/sffd", "--from", "3", "--to", "2"]).invalid("from", "3");
}

#[test]
fn export_prints_json_also_for_people() {
    let home = three();
    let ran = home.run_for_people(&["journal", "export"]);
    assert_eq!(ran.lines(), home.run(&["audit"]).lines());
}

#[test]
fn an_audit_entry_says_what_changed_when_by_whom_and_why() {
    let home = three();
    let audit = home.run(&["audit"]).lines();
    let positions: Vec<_> = audit.iter().map(|entry| (entry["position"].clone(), entry["sequence"].clone())).collect();
    assert_eq!(positions, (1..=4).map(|n| (json!(n), json!(n))).collect::<Vec<_>>());
    assert_eq!(audit[0]["type"], "retention-set");
    assert_eq!(audit[0]["payload"], json!({ "hours": 0 }));
    assert_eq!(audit[1]["type"], "dispatch-recorded");
    let payload = json!({
        "event_id": "a", "dispatch_id": "call-a", "timestamp": "2026-01-31T12:00:30Z", "severity": 4,
        "response_time_minutes": 2.5, "distance_km": 1.25, "region": "B04", "unit_type": "TRUCK", "sla_met": true,
        "status": "closed", "location": null, "metadata": null,
    });
    assert_eq!(audit[1]["payload"], payload);
    for entry in &audit {
        assert_eq!([&entry["stream"], &entry["version"]], [&json!("dispatch/sffd"), &json!(1)]);
        assert_eq!(entry["by"], "command-line");
        assert_eq!(entry["correlation_id"], audit[0]["correlation_id"]);
        for id in ["event_id", "correlation_id", "causation_id"] {
            let id = entry[id].as_str().expect("a text");
            assert_eq!(uuid::Uuid::parse_str(id).expect("a UUID").get_version_num(), 7);
        }
        assert!(entry["recorded_at"].as_str().is_some_and(|at| at.ends_with('Z')));
    }
    assert_ne!(audit[0]["causation_id"], audit[1]["causation_id"]);
}

#[test]
fn audit_filters_narrow_down_together() {
    let home = three();
    let count = |args: &[&str]| home.run(&[&["audit"], args].concat()).lines().len();
    assert_eq!(count(&["--org", "sffd"]), 4);
    assert_eq!(count(&["--org", "other"]), 0);
    assert_eq!(count(&["--stream", "dispatch/sffd", "--user", "command-line"]), 4);
    assert_eq!(count(&["--user", "system"]), 0);
    assert_eq!(count(&["--incident", "i"]), 0);
    assert_eq!(count(&["--alert", "a"]), 0);
    assert_eq!(count(&["--from", "-1h"]), 4);
    assert_eq!(count(&["--from", "-1h", "--to", "now"]), 4);
    assert_eq!(count(&["--to", "-1h"]), 0);
    assert_eq!(count(&["--from", "2000-01-01T00:00:00Z", "--to", "2000-01-02T00:00:00Z"]), 0);
    home.run(&["audit", "--from", "latest"]).invalid("from", "latest");
    home.run(&["audit", "--from", "now", "--to", "-1h"]).error(2, "invalid");
    home.run(&["audit", "--stream", "nonsense"]).invalid("stream", "nonsense");
    home.run(&["audit", "--org", "a/b"]).invalid("org_id", "\"a/b\"");
}

#[test]
fn pages_of_the_audit_join_without_seams() {
    let home = Home::new();
    home.ingest(&dispatches_ndjson("e", 2_500));
    for args in
        [&["audit"][..], &["audit", "--stream", "dispatch/sffd"], &["journal", "replay", "--stream", "dispatch/sffd"]]
    {
        let positions: Vec<_> = home.run(args).lines().iter().map(|entry| entry["position"].as_u64()).collect();
        assert_eq!(positions, (1..=2_501).map(Some).collect::<Vec<_>>(), "{args:?}");
    }
    let part = home.run(&["journal", "replay", "--stream", "dispatch/sffd", "--from", "999", "--to", "2100"]).lines();
    assert_eq!((part.len(), &part[0]["sequence"], &part[1_101]["sequence"]), (1_102, &json!(999), &json!(2_100)));
}

#[test]
fn demo_does_the_main_job_and_leaves_nothing_behind() {
    let home = Home::new();
    let temporary = home.path("tmp");
    std::fs::create_dir(&temporary).expect("a directory");
    let mut command = home.command(&["demo"]);
    command.env("TMPDIR", &temporary);
    let report = Ran::of(command, &["demo"], b"").document();
    assert_eq!(
        keys(&report),
        ["answers", "busiest_hour", "identical_after_replay", "ingested", "simulated", "verified"]
    );
    assert_eq!([&report["ingested"]["read"], &report["ingested"]["accepted"]], [&json!(4_000), &json!(4_000)]);
    assert_eq!(report["identical_after_replay"], true);
    // 4,001 of the dispatches, and six of each of the three simulations.
    assert_eq!([&report["verified"]["ok"], &report["verified"]["events"]], [&json!(true), &json!(4_019)]);
    assert_eq!(keys(&report["answers"]), ["hours", "regions", "snapshot"]);
    let simulated = &report["simulated"];
    assert_eq!([&simulated["outcomes"], &simulated["recommendation"]["recommended"]], [&json!(1_108), &json!("calm")]);
    assert_eq!(simulated["recommendation"]["scores"].as_array().map(Vec::len), Some(3));
    let in_regions: u64 = report["answers"]["regions"]
        .as_object()
        .expect("an object")
        .values()
        .map(|region| region["dispatch_count"].as_u64().expect("a count"))
        .sum();
    assert_eq!(in_regions, 4_000);
    assert_eq!(keys(&report["busiest_hour"]), METRIC_KEYS);
    assert_eq!(std::fs::read_dir(&temporary).expect("a directory").count(), 0, "demo left something behind");
    assert!(!home.data().exists());

    let kept = home.path("kept");
    let kept = kept.to_str().expect("UTF-8");
    let ran = home.run_for_people(&["demo", "--keep", kept]);
    assert_eq!(ran.code, 0, "{ran}");
    for said in ["accepted 4000", "busiest hour", "B04", "1108 real outcomes", "identical answers", "head hash"] {
        assert!(ran.stdout.contains(said), "{said:?} is missing\n{ran}");
    }
    assert!(std::path::Path::new(kept).join("journal").exists());
}

#[test]
fn completions_are_a_script_for_each_shell() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = home.run_for_people(&["completions", shell]);
        assert!(ran.code == 0 && ran.stdout.contains("ionveil") && ran.stdout.contains("snapshot"), "{ran}");
    }
}

#[test]
fn every_help_has_an_example() {
    let home = Home::new();
    let commands: [&[&str]; 19] = [
        &["demo"],
        &["ingest"],
        &["metric"],
        &["snapshot"],
        &["regions"],
        &["compliance"],
        &["utilisation"],
        &["standards"],
        &["export"],
        &["export", "metrics"],
        &["export", "openmetrics"],
        &["audit"],
        &["completions"],
        &["journal", "stat"],
        &["journal", "verify"],
        &["journal", "streams"],
        &["journal", "replay"],
        &["journal", "export"],
        &["journal"],
    ];
    for command in commands {
        let ran = home.run_for_people(&[command, &["--help"]].concat());
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran}");
        assert!(ran.stdout.contains("Example") && ran.stdout.contains("  ionveil "), "no example\n{ran}");
    }
    let ran = home.run_for_people(&["--help"]);
    assert!(ran.code == 0 && ran.stdout.contains("Example") && ran.stdout.contains("metric"), "{ran}");
    assert!(!home.data().exists());
}

#[test]
fn wrong_usage_is_an_error_of_kind_invalid() {
    let home = Home::new();
    for args in [
        &[][..],
        &["journal"],
        &["nonsense"],
        &["journal", "nonsense"],
        &["metric"],
        &["metric", "--org"],
        &["snapshot", "--org", "sffd", "--nonsense"],
        &["snapshot", "--org", "sffd", "--org", "sffd"],
        &["snapshot", "--org", "sffd", "--at-position", "-1"],
        &["snapshot", "--org", "sffd", "extra"],
        &["ingest", "--org", "sffd"],
        &["ingest", "--org", "sffd", "--retention-hours", "many", "-"],
        &["journal", "replay", "--stream", "dispatch/sffd", "--from", "x"],
    ] {
        home.run(args).error(2, "invalid");
        let for_people = home.run_for_people(args);
        assert_eq!((for_people.code, for_people.stdout.as_str()), (2, ""), "{for_people}");
    }
    assert!(!home.data().exists());
    home.run(&["snapshot", "--org", "sffd", "--at-position", "x"]).invalid("at_position", "x");
    home.run(&["snapshot", "--org"]).invalid("org", "missing");
    home.run(&["nonsense"]).invalid("nonsense", "nonsense");
    home.run(&["completions", "tcsh"]).invalid("SHELL", "tcsh");
    let error = home.run(&["ingest", "--org", "sffd", "--retention-hours", "-1", "-"]).invalid("retention_hours", "-1");
    assert_eq!(error["allowed"], "0..=4294967295");
    for args in [&[][..], &["journal"]] {
        home.run(args).invalid("COMMAND", "missing");
    }
    let error = home.run(&["metric"]).invalid("org", "missing");
    let message = error["message"].as_str().expect("a text");
    assert!(["--org", "--metric", "--window", "--agg"].iter().all(|option| message.contains(option)), "{message}");
}

#[test]
fn values_out_of_range_name_field_value_and_what_is_allowed() {
    let home = three();
    let with = |option: &str, value: &str| {
        let mut args: Vec<String> = metric(&["--end", "latest"]).into_iter().map(str::to_owned).collect();
        let place = args.iter().position(|arg| arg == option).expect("an option of the command");
        args[place + 1] = value.to_owned();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        home.run(&args)
    };
    with("--metric", "speed").invalid("metric", "speed");
    with("--window", "2m").invalid("window", "2m");
    with("--agg", "p75").invalid("aggregation", "p75");
    with("--org", "a/b").invalid("org_id", "\"a/b\"");
    with("--org", "").invalid("org_id", "\"\"");
    home.run(&metric(&["--dim", "region"])).invalid("dim", "region");
    home.run(&metric(&["--dim", "colour=red"])).invalid("dimension", "colour");
    home.run(&metric(&["--dim", "severity=6"])).invalid("severity", "6");
    home.run(&metric(&["--dim", "region=a", "--dim", "region=b"])).invalid("dimension", "region");
    home.run(&metric(&["--start", "2026-01-31T12:00:00Z", "--end", "2026-01-31T12:00:00Z"]))
        .invalid("start", "2026-01-31T12:00:00Z");
    let window = ["metric", "--org", "sffd", "--metric", "distance", "--window", "1m", "--agg", "sum"];
    let too_many = ["--start", "2025-01-01T00:00:00Z", "--end", "2025-03-15T00:00:00Z"];
    home.run(&[&window[..], &too_many].concat()).invalid("window", "1m (105120 windows)");
}

#[test]
fn errors_for_people_are_a_sentence() {
    let home = three();
    let ran = home.run_for_people(&["journal", "replay", "--stream", "dispatch/nobody"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{ran}");
    assert_eq!(ran.stderr, "error: stream dispatch/nobody does not exist\n");
}

#[test]
fn where_there_is_no_journal_nothing_is_known_and_nothing_is_created() {
    let home = Home::new();
    assert_eq!(home.run(&metric(&[])).document(), json!([]));
    let snapshot = home.run(&["snapshot", "--org", "sffd"]).document();
    assert_eq!([&snapshot["sla_compliance_rate"], &snapshot["average_response_time"]], [&json!(1.0), &Value::Null]);
    assert_eq!(home.run(&["regions", "--org", "sffd"]).document(), json!({}));
    let stat = home.stat();
    assert_eq!([&stat["events"], &stat["head_position"], &stat["streams"]], [&json!(0), &json!(0), &json!(0)]);
    assert_eq!(stat["head_hash"], "0".repeat(64));
    for args in [&["journal", "streams"][..], &["journal", "export"], &["audit"]] {
        assert_eq!(home.run(args).lines(), [Value::Null; 0]);
    }
    home.run(&["journal", "replay", "--stream", "dispatch/sffd"]).error(1, "not_found");
    home.run(&["journal", "verify"]).error(1, "not_found");
    assert!(!home.data().exists(), "a command that only asks created something");
}

#[test]
fn an_org_that_nothing_is_known_of_has_the_empty_answer() {
    let home = three();
    let before = home.stat();
    assert_eq!(home.run(&["snapshot", "--org", "other"]).document()["metrics"][0]["metric_name"], "dispatch_count");
    assert_eq!(home.run(&["regions", "--org", "other"]).document(), json!({}));
    assert_eq!(home.stat(), before);
}

#[test]
fn org_ids_may_be_anything_that_is_short_and_printable() {
    let home = Home::new();
    for org in ["zürich 1", "🚒".repeat(128).as_str(), "-x", "a..b", "%2F"] {
        let mut line = dispatch_json("a", "2026-01-31T12:00:30Z", json!({}));
        line["org_id"] = json!(org);
        let option = format!("--org={org}");
        let summary = home.run_with(&["ingest", &option, "-"], line.to_string().as_bytes()).document();
        assert_eq!(summary["accepted"], 1, "{org}");
        let answer = home.run(&["regions", &option, "--end", "latest"]).document();
        assert_eq!(answer["B04"]["dispatch_count"], 1, "{org}");
    }
    assert_eq!(home.run(&["journal", "streams"]).lines().len(), 5);
}

#[test]
fn a_journal_that_another_process_holds_is_unavailable() {
    let home = three();
    let holder = IonVeil::open(Config::at(home.data())).expect("the journal is free");
    let input = dispatches_ndjson("e", 1);
    for args in [
        &["journal", "stat"][..],
        &["journal", "verify"],
        &["journal", "streams"],
        &["audit"],
        &["snapshot", "--org", "sffd"],
        &["regions", "--org", "sffd"],
        &metric(&[]),
        &["ingest", "--org", "sffd", "-"],
    ] {
        home.run_with(args, input.as_bytes()).error(3, "unavailable");
    }
    drop(holder);
    assert_eq!(home.stat()["events"], 4);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = Home::new();
    home.ingest(&dispatches_ndjson("e", 2_000));
    for args in [&["audit"][..], &["journal", "export"], &["--help"], &["completions", "bash"]] {
        let mut command = home.command(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        // Closed before the first line is read, as `| head -0` does.
        drop(child.stdout.take());
        let ran = Ran::ended(&args.join(" "), &child.wait_with_output().expect("the binary ends"));
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran}");
    }
}

#[test]
fn a_data_directory_that_cannot_be_is_an_error() {
    let home = Home::new();
    home.file("data", "a file");
    let error = home.run_with(&["ingest", "--org", "sffd", "-"], dispatches_ndjson("e", 1).as_bytes());
    error.error(3, "unavailable");
}

#[test]
fn contracts_lists_the_platforms_services_and_their_order() {
    let answer = Home::new().run(&["contracts"]).document();
    assert_eq!(keys(&answer), ["services", "topological_order"]);
    let services = answer["services"].as_array().expect("an array");
    assert_eq!(services.len(), 13);
    let alerts = json!({
        "id": "alerts", "port": 8112, "health": "/health", "description": "SLA monitoring and alerting service",
        "deps": ["policy", "notifications", "audit"],
    });
    assert_eq!(services.last(), Some(&alerts));
    assert_eq!(answer["topological_order"][12], "simulator");
}

#[test]
fn a_number_that_is_none_is_refused_with_what_it_may_be() {
    for (value, allowed) in [
        ("abc", "a whole number, 0 or more"),
        ("1.5", "a whole number, 0 or more"),
        ("99999999999999999999", "a smaller whole number"),
    ] {
        let ran = Home::new().run(&["policy", "record", "--org", "o", "failure", "--count", value]);
        let error = ran.error(2, "invalid");
        assert_eq!([&error["value"], &error["allowed"]], [&json!(value), &json!(allowed)], "{error}");
    }
}
