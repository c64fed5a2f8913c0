//! Live policies as scripts hold on to them: PolicyEngine's JSON, instants, refusals.

use serde_json::{Value, json};

use crate::support::{Home, keys};

const AT: &str = "2026-01-31T12:00:00Z";

/// `policy VERB --org sffd …`
fn policy<'a>(verb: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["policy", verb, "--org", "sffd"], more].concat()
}

#[track_caller]
fn shown(home: &Home) -> Value {
    home.run(&policy("show", &[])).document()
}

#[test]
fn an_org_that_nothing_is_known_of_is_normal_and_looking_leaves_no_trace() {
    let home = Home::new();
    let view = shown(&home);
    assert_eq!(keys(&view), ["failure_burst", "history", "org_id", "policy", "scenario", "success_streak"]);
    assert_eq!([&view["org_id"], &view["policy"], &view["history"]], [&json!("sffd"), &json!("normal"), &json!([])]);
    assert_eq!(
        view["scenario"],
        json!({
            "name": "platform", "policy_order": ["normal", "watch", "restricted", "halted"], "escalation_threshold": 3,
            "deescalation_thresholds": {"halted": 20, "restricted": 10, "watch": 5}, "metadata": {},
        })
    );
    assert!(!home.data().exists());
}

#[test]
fn outcomes_lead_up_and_down_and_every_command_answers_with_the_policy() {
    let home = Home::new();
    let record = |more: &[&str]| home.run(&policy("record", more)).document();
    let view = record(&["failure", "--count", "4", "--now", AT]);
    assert_eq!(
        [&view["policy"], &view["failure_burst"], &view["success_streak"]],
        [&json!("watch"), &json!(1), &json!(0)]
    );
    assert_eq!(
        view["history"],
        json!([{"from": "normal", "to": "watch", "timestamp": AT, "reason": "failure_burst:3"}])
    );
    let view = record(&["success", "--count", "7", "--now", "2026-01-31T12:00:01.5Z"]);
    assert_eq!(
        [&view["policy"], &view["failure_burst"], &view["success_streak"]],
        [&json!("normal"), &json!(0), &json!(2)]
    );
    assert_eq!(
        view["history"][1],
        json!({"from": "watch", "to": "normal", "timestamp": "2026-01-31T12:00:01.500Z", "reason": "success_streak:5"})
    );
    let view = record(&["success"]);
    assert_eq!(view["success_streak"], 3);
    assert_eq!(shown(&home), view);
}

#[test]
fn people_move_the_policy_and_stand_in_the_audit_trail_for_it() {
    let home = Home::new();
    let step = |verb, now: &str| home.run(&policy(verb, &["--user", "ana", "--reason", "storm", "--now", now]));
    home.run(&policy("record", &["failure", "--count", "2", "--now", AT])).document();
    let view = step("escalate", "2026-01-31T12:01:00Z").document();
    assert_eq!([&view["policy"], &view["failure_burst"]], [&json!("watch"), &json!(0)]);
    let view = step("escalate", "2026-01-31T12:02:00Z").document();
    assert_eq!(
        view["history"][1],
        json!({
            "from": "watch", "to": "restricted", "timestamp": "2026-01-31T12:02:00Z", "reason": "storm", "user": "ana",
        })
    );
    step("escalate", "2026-01-31T12:03:00Z").document();
    step("escalate", "2026-01-31T12:04:00Z").error(1, "conflict");
    assert_eq!(step("deescalate", "2026-01-31T12:05:00Z").document()["policy"], "restricted");
    assert_eq!(step("reset", "2026-01-31T12:06:00Z").document()["policy"], "normal");
    step("deescalate", "2026-01-31T12:07:00Z").error(1, "conflict");
    assert_eq!(shown(&home)["history"].as_array().expect("an array").len(), 5);
    let entries = home.run(&["audit", "--user", "ana"]).lines();
    assert_eq!(entries.len(), 5);
    assert_eq!(entries[0]["payload"]["action"], "escalate");
    let of_org = home.run(&["audit", "--org", "sffd"]).lines();
    assert_eq!(of_org[0]["payload"]["count"], 2);
}

#[test]
fn what_is_not_good_is_named_and_changes_nothing() {
    let home = Home::new();
    home.run(&policy("record", &["failure", "--now", AT])).document();
    let before = home.stat();
    let earlier = "2026-01-31T11:59:59.999999Z";
    let by_ana = ["--user", "ana", "--reason", "storm"];
    home.run(&policy("record", &["failure", "--count", "0"])).invalid("count", "0");
    home.run(&policy("record", &["failure", "--count", "10000001"])).invalid("count", "10000001");
    home.run(&policy("record", &["failure", "--count", "-1"])).invalid("count", "-1");
    home.run(&policy("record", &["failure", "--count", "1.5"])).invalid("count", "1.5");
    home.run(&policy("record", &["maybe"])).invalid("OUTCOME", "maybe");
    home.run(&policy("record", &["failure", "--now", earlier])).invalid("now", earlier);
    home.run(&policy("record", &["failure", "--now", "yesterday"])).invalid("now", "yesterday");
    home.run(&policy("escalate", &[&by_ana[..], &["--now", earlier]].concat())).invalid("now", earlier);
    home.run(&policy("escalate", &["--user", "ana"])).error(2, "invalid");
    home.run(&policy("escalate", &["--user", "ana", "--reason", " "])).invalid("reason", "\" \"");
    home.run(&policy("escalate", &["--user", "a/b", "--reason", "storm"])).invalid("user", "\"a/b\"");
    home.run(&policy("reset", &["--user", "system", "--reason", "storm"])).invalid("user", "system");
    home.run(&["policy", "record", "--org", "a/b", "failure"]).invalid("org_id", "\"a/b\"");
    home.run(&["policy", "show"]).error(2, "invalid");
    let file = home.file(
        "s.json",
        r#"{"name": "x", "policy_order": [], "escalation_threshold": 1, "deescalation_thresholds": {}}"#,
    );
    home.run(&policy("configure", &[&file])).invalid("policy_order", "[]");
    home.run(&policy("configure", &["nowhere.json"])).error(2, "invalid");
    let late = home.file("p.csv", "offset_seconds,is_success\n0,false\n");
    home.run(&policy("import", &[&late, "--start", earlier])).invalid("start", earlier);
    let stamped_earlier = [&late, "--start", "9999-12-31T00:00:00Z", "--now", earlier];
    home.run(&policy("import", &stamped_earlier)).invalid("now", earlier);
    home.run(&policy("show", &["--now", "yesterday"])).invalid("now", "yesterday");
    home.run(&policy("import", &[&late, "--start", "9999-12-31T23:59:59Z"])).document();
    assert_eq!(home.stat()["events"].as_u64(), before["events"].as_u64().map(|events| events + 1));
}

#[test]
fn an_import_starts_relative_to_the_now_that_is_given() {
    let home = Home::new();
    let failures = home.file("p.csv", "offset_seconds,is_success\n0,false\n1,false\n2,false\n");
    let now = ["--now", "2020-01-01T12:00:00Z"];
    let view = home.run(&policy("import", &[&[&failures, "--start", "-1h"], &now[..]].concat())).document();
    assert_eq!(view["history"][0]["timestamp"], "2020-01-01T11:00:02Z");
    let view = home.run(&policy("import", &[&[&failures, "--start", "now"], &now[..]].concat())).document();
    assert_eq!(view["history"][1]["timestamp"], "2020-01-01T12:00:02Z");
}

#[test]
fn an_org_keeps_its_policy_by_name_when_it_gets_another_ladder() {
    let home = Home::new();
    home.run(&policy("record", &["failure", "--count", "5", "--now", AT])).document();
    let scenario = json!({
        "name": "short", "policy_order": ["open", "watch"], "escalation_threshold": 9,
        "deescalation_thresholds": {"watch": 2}, "metadata": {"owner": "ops"},
    });
    let file = home.file("short.json", scenario.to_string());
    let view = home.run(&policy("configure", &[&file, "--now", "latest"])).document();
    assert_eq!([&view["policy"], &view["failure_burst"], &view["scenario"]], [&json!("watch"), &json!(2), &scenario]);
    let view = home.run(&policy("record", &["success", "--count", "2", "--now", "latest"])).document();
    assert_eq!(view["policy"], "open");
    assert_eq!(view["history"].as_array().expect("an array").len(), 2);
    let other = home.file("other.json", json!({
        "name": "other", "policy_order": ["first", "second"], "escalation_threshold": 1, "deescalation_thresholds": {},
    }).to_string());
    let view = home.run(&policy("configure", &[&other, "--now", "latest"])).document();
    assert_eq!(
        view["history"][2],
        json!({
            "from": "open", "to": "first", "timestamp": "2026-01-31T12:00:00.000003Z", "reason": "configured:other",
        })
    );
}

#[test]
fn recorded_outcomes_come_from_a_file_in_the_order_of_their_offsets() {
    let home = Home::new();
    // Of equal offsets the order given counts: two failures, a success, then one more failure are no burst of three.
    let file =
        home.file("p.csv", "offset_seconds,is_success\n10,false\n5,true\n0.5,false\n0.5,false\n10,false\n10,false\n");
    let view = home.run(&policy("import", &[&file, "--start", AT])).document();
    assert_eq!(
        view["history"],
        json!([
            {"from": "normal", "to": "watch", "timestamp": "2026-01-31T12:00:10Z", "reason": "failure_burst:3"},
        ])
    );
    let json = home
        .file("p.json", r#"{"pattern_id": "p", "events": [[0, true], [1, true], [2, true], [3, true], [4, true]]}"#);
    let view = home.run(&policy("import", &[&json, "--start", "2026-01-31T13:00:00Z"])).document();
    assert_eq!(view["history"][1]["timestamp"], "2026-01-31T13:00:04Z");
    let empty = home.file("e.csv", "offset_seconds,is_success\n");
    assert_eq!(home.run(&policy("import", &[&empty, "--start", "latest"])).document(), view);
}
