//! Rules, incidents, alerts, suppressions, escalation and messages by the command line, held to the table of commands.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ionveil::domain::{OrgId, Timestamp};
use ionveil::rules::AlertRule;
use ionveil::runtime::{Clock, ManualClock};
use ionveil::{Config, IncidentCheck, IonVeil, blocking};
use pollster::block_on;
use serde_json::{Value, json};

use crate::support::{Home, Ran, keys};

/// Noon of the tests' day plus minutes and seconds.
fn at(minutes: u32, seconds: u32) -> String {
    format!("2026-01-31T{:02}:{:02}:{seconds:02}Z", 12 + minutes / 60, minutes % 60)
}

const RULES: &str = r#"[
    {"rule_id": "warn", "name": "Warn", "description": "", "condition_type": "sla_warning",
     "threshold_config": {"sla_remaining_pct": 25}, "severity": "warning", "notification_channels": []},
    {"rule_id": "breach", "name": "Breach", "description": "", "condition_type": "sla_breach",
     "threshold_config": {}, "severity": "critical", "notification_channels": ["log"]}
]"#;

const POLICY: &str = r#"
policy_id = "night"
name = "Night"
repeat_after_minutes = 30
max_escalations = 3
ack_timeout_minutes = 60
levels = [
    { level = 1, timeout_minutes = 15, channels = ["email"] },
    { level = 2, timeout_minutes = 10, channels = ["sms"] },
]
"#;

fn with_rules() -> Home {
    let home = Home::new();
    let file = home.file("rules.json", RULES);
    home.run(&["rule", "add", &file]).document();
    home
}

/// A check of an incident of priority 1, dispatched at noon; `more` are further arguments.
#[track_caller]
fn check(home: &Home, incident: &str, now: &str, more: &[&str]) -> Ran {
    let dispatch = at(0, 0);
    let mut args = vec!["incident", "check", "--org", "o", "--incident", incident, "--priority", "1"];
    args.extend(["--dispatch-time", &dispatch, "--now", now]);
    args.extend(more);
    home.run(&args)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} of {value}"))
}

fn column<'a>(list: &'a Value, name: &str) -> Vec<&'a str> {
    list.as_array().expect("an array").iter().map(|item| text(item, name)).collect()
}

#[test]
fn rules_are_added_listed_raised_in_version_and_removed() {
    let home = Home::new();
    assert_eq!(home.run(&["rule", "list"]).document(), json!([]));
    let single =
        r#"{"rule_id": "one", "name": "One", "condition_type": "sla_breach", "severity": "info", "org_id": "o"}"#;
    let file = home.file("one.json", single);
    let rule = home.run(&["rule", "add", &file]).document();
    assert_eq!(
        rule,
        json!({
            "rule_id": "one", "org_id": "o", "version": 1, "name": "One", "description": "",
            "condition_type": "sla_breach", "threshold_config": {}, "severity": "info", "notification_channels": [],
            "escalation_after_minutes": null, "suppression_window_minutes": 5, "enabled": true,
        })
    );
    assert_eq!(home.run(&["rule", "add", &file]).document()["version"], 2);
    let toml = home.file(
        "list.toml",
        "[[rule]]\nrule_id = \"a\"\nname = \"A\"\ncondition_type = \"pattern\"\nseverity = \"critical\"\n\
         threshold_config = { consecutive_breaches = 3, within_minutes = 60 }\nnotification_channels = [\"sms\"]\n",
    );
    assert_eq!(home.run(&["rule", "check", &toml]).document()[0]["version"], 0, "it stores nothing");
    assert_eq!(column(&home.run(&["rule", "add", &toml]).document(), "rule_id"), ["a"]);
    assert_eq!(column(&home.run(&["rule", "list"]).document(), "rule_id"), ["a", "one"]);
    assert_eq!(column(&home.run(&["rule", "list", "--org", "o"]).document(), "rule_id"), ["a", "one"]);
    assert_eq!(column(&home.run(&["rule", "list", "--org", "p"]).document(), "rule_id"), ["a"]);
    assert_eq!(home.run(&["rule", "remove", "a"]).document(), json!({"removed": true}));
    assert_eq!(home.run(&["rule", "remove", "a"]).document(), json!({"removed": false}));
    assert_eq!(column(&home.run(&["rule", "list"]).document(), "rule_id"), ["one"]);
}

#[test]
fn a_bad_rule_file_is_told_by_line_and_stores_nothing() {
    let home = Home::new();
    let bad = "[\n  {\"rule_id\": \"a\", \"name\": \"A\", \"condition_type\": \"sla_breach\", \"severity\": \"info\"},\n  \
               {\"rule_id\": \"b\", \"name\": \"B\",\n   \"condition_type\": \"sla_warning\",\n   \
               \"threshold_config\": {\"sla_remaining_pct\": 250},\n   \"severity\": \"info\"}\n]";
    let file = home.file("bad.json", bad);
    for command in ["check", "add"] {
        let error = home.run(&["rule", command, &file]).invalid("sla_remaining_pct", "250");
        assert!(text(&error, "message").contains("bad.json:5:"), "{error}");
    }
    let toml =
        home.file("bad.toml", "rule_id = \"a\"\nname = \"A\"\nseverity = \"bad\"\ncondition_type = \"sla_breach\"\n");
    let error = home.run(&["rule", "check", &toml]).invalid("severity", "\"bad\"");
    assert!(text(&error, "message").contains("bad.toml:3:"), "{error}");
    let broken = home.file("broken.json", "{\n\"rule_id\": ,\n}");
    let error = home.run(&["rule", "check", &broken]).error(2, "invalid");
    assert!(text(&error, "message").contains("broken.json:2:"), "{error}");
    home.run(&["rule", "check", "nothing.json"]).error(2, "invalid");
    assert_eq!(home.run(&["rule", "list"]).document(), json!([]));
}

#[test]
fn a_check_has_the_tables_members_and_raises_once() {
    let home = with_rules();
    let report = check(&home, "i", &at(2, 0), &[]).document();
    assert_eq!(
        report,
        json!({
            "incident_id": "i", "sla_status": "compliant", "sla_target_minutes": 5, "elapsed_minutes": 2.0,
            "remaining_minutes": 3.0, "escalation_stage": 0, "breach_time": at(5, 0), "alerts": [], "held_back": [],
        })
    );
    let report = check(&home, "i", &at(6, 0), &[]).document();
    assert_eq!((&report["sla_status"], &report["remaining_minutes"]), (&json!("breached"), &json!(-1.0)));
    assert_eq!(column(&report["alerts"], "rule_id"), ["breach"]);
    let alert = &report["alerts"][0];
    for member in [
        "alert_id",
        "rule_id",
        "org_id",
        "incident_id",
        "severity",
        "status",
        "title",
        "description",
        "created_at",
        "updated_at",
        "acknowledged_at",
        "acknowledged_by",
        "resolved_at",
        "resolved_by",
        "escalation_level",
        "escalation_history",
        "metadata",
        "history",
        "occurrences",
        "rule_version",
    ] {
        assert!(keys(alert).contains(&member.to_owned()), "{member}");
    }
    // A breached incident is no failure, and what stands is not raised again.
    let report = check(&home, "i", &at(7, 0), &[]).document();
    assert_eq!((&report["alerts"], &report["held_back"]), (&json!([]), &json!([])));
    let shown = home.run(&["alert", "show", text(alert, "alert_id")]).document();
    assert_eq!(shown["occurrences"], 2);
    check(&home, "i", &at(6, 59), &[]).invalid("now", &at(6, 59));
    check(&home, "i", &at(8, 0), &["--arrival", "2026-01-31T11:59:59Z"])
        .invalid("arrival_time", "2026-01-31T11:59:59Z");
    check(&home, "i", &at(8, 0), &["--arrival", "soon"]).invalid("arrival_time", "soon");
}

#[test]
fn what_a_window_or_a_suppression_keeps_is_held_back_with_its_reason() {
    let home = with_rules();
    let alert = check(&home, "i", &at(6, 0), &[]).document()["alerts"][0].clone();
    home.run(&["alert", "resolve", text(&alert, "alert_id"), "--user", "ann", "--note", "ok", "--now", &at(7, 0)])
        .document();
    let report = check(&home, "i", &at(8, 0), &[]).document();
    assert_eq!(
        (&report["alerts"], keys(&report["held_back"][0])),
        (&json!([]), vec!["reason".into(), "rule_id".into()])
    );
    assert!(text(&report["held_back"][0], "reason").contains("window"));
    let args =
        ["suppress", "add", "--org", "o", "--pattern", "br.*", "--minutes", "30", "--reason", "tests", "--by", "ann"];
    let mut with_now = args.to_vec();
    let now = at(9, 0);
    with_now.extend(["--now", &now]);
    let suppression = home.run(&with_now).document();
    assert_eq!((&suppression["created_at"], &suppression["expires_at"]), (&json!(at(9, 0)), &json!(at(39, 0))));
    assert_eq!(
        keys(&suppression),
        ["created_at", "created_by", "expires_at", "org_id", "reason", "rule_pattern", "suppression_id"]
    );
    let report = check(&home, "j", &at(10, 0), &[]).document();
    assert_eq!((&report["alerts"], column(&report["held_back"], "rule_id")), (&json!([]), vec!["breach"]));
    assert!(text(&report["held_back"][0], "reason").contains("suppression"));
    let list = |more: &[&str]| {
        let mut args = vec!["alert", "list", "--org", "o"];
        args.extend(more);
        home.run(&args).document()
    };
    assert_eq!(list(&[]), json!([]));
    assert_eq!(column(&list(&["--status", "suppressed"]), "incident_id"), ["j"]);
    assert_eq!(column(&list(&["--all"]), "status"), ["resolved", "suppressed"]);
    assert_eq!(list(&["--all", "--severity", "info"]), json!([]));
    let suppressed = |rule: &str, minute: u32| {
        home.run(&["suppress", "test", "--org", "o", "--rule", rule, "--now", &at(minute, 0)]).document()
    };
    assert_eq!(suppressed("breach", 9), json!({"suppressed": true}));
    assert_eq!(suppressed("breach", 39), json!({"suppressed": false}));
    assert_eq!(suppressed("warn", 9), json!({"suppressed": false}));
    assert_eq!(
        column(&home.run(&["suppress", "list", "--org", "o", "--now", &at(20, 0)]).document(), "created_by"),
        ["ann"]
    );
    let id = text(&suppression, "suppression_id");
    home.run(&["suppress", "remove", id, "--now", &at(8, 0)]).invalid("now", &at(8, 0));
    for expected in [true, false] {
        assert_eq!(home.run(&["suppress", "remove", id, "--now", &at(20, 0)]).document(), json!({"removed": expected}));
    }
    assert_eq!(home.run(&["suppress", "remove", "no-such-id"]).document(), json!({"removed": false}));
    assert_eq!(suppressed("breach", 20), json!({"suppressed": false}));
    let all = home.run(&["suppress", "list", "--org", "o", "--all"]).document();
    assert_eq!(all[0]["removed_at"], at(20, 0), "the record is kept");
}

#[test]
fn alerts_are_acknowledged_escalated_and_resolved_and_refuse_what_they_may_not() {
    let home = with_rules();
    let file = home.file("policy.toml", POLICY);
    let policy = home.run(&["escalation-policy", "set", "--org", "o", &file]).document();
    assert_eq!(home.run(&["escalation-policy", "get", "--org", "o"]).document(), policy);
    assert_eq!(
        keys(&policy),
        ["ack_timeout_minutes", "levels", "max_escalations", "name", "policy_id", "repeat_after_minutes"]
    );
    assert_eq!(home.run(&["escalation-policy", "get", "--org", "p"]).document(), Value::Null);
    let alert = check(&home, "i", &at(6, 0), &[]).document()["alerts"][0].clone();
    let id = text(&alert, "alert_id");
    let escalations = |minute: u32| home.run(&["escalations", "check", "--now", &at(minute, 0)]).document();
    assert_eq!(escalations(20), json!([]));
    let escalated = escalations(21);
    assert_eq!((column(&escalated, "alert_id"), &escalated[0]["escalation_level"]), (vec![id], &json!(2)));
    assert_eq!(escalated[0]["status"], "escalated");
    assert_eq!(escalations(21), json!([]));
    home.run(&["escalations", "check", "--now", &at(20, 0)]).invalid("now", &at(20, 0));
    let escalated =
        home.run(&["alert", "escalate", id, "--reason", "big fire", "--user", "cem", "--now", &at(22, 0)]).document();
    assert_eq!(
        escalated["escalation_history"][1],
        json!({
            "at": at(22, 0), "from_level": 2, "to_level": 1, "reason": "big fire", "by": "cem",
        })
    );
    home.run(&["alert", "ack", id, "--user", "ann", "--now", &at(21, 59)]).invalid("now", &at(21, 59));
    let acknowledged =
        home.run(&["alert", "ack", id, "--user", "ann", "--note", "on it", "--now", &at(23, 0)]).document();
    assert_eq!((&acknowledged["status"], &acknowledged["acknowledged_by"]), (&json!("acknowledged"), &json!("ann")));
    home.run(&["alert", "ack", id, "--user", "bob", "--now", &at(24, 0)]).document();
    home.run(&["alert", "escalate", id, "--now", &at(24, 0)]).error(1, "conflict");
    home.run(&["alert", "resolve", id, "--user", "ann", "--note", " "]).invalid("note", "\" \"");
    let resolved =
        home.run(&["alert", "resolve", id, "--user", "bob", "--note", "over", "--now", &at(25, 0)]).document();
    assert_eq!((&resolved["resolved_by"], &resolved["acknowledged_by"]), (&json!("bob"), &json!("ann")));
    for args in [
        &["alert", "ack", id, "--user", "ann", "--now", &at(26, 0)][..],
        &["alert", "resolve", id, "--user", "ann", "--note", "again", "--now", &at(26, 0)],
        &["alert", "escalate", id, "--now", &at(26, 0)],
    ] {
        home.run(args).error(1, "conflict");
    }
    for args in [
        &["alert", "show", "0b9d9b0e-55b1-5e0c-a9f0-9a86d2a5a0d7"][..],
        &["alert", "show", "no-uuid"],
        &["alert", "ack", "no-uuid", "--user", "ann"],
        &["notifications", "resend", "no-uuid"],
    ] {
        home.run(args).error(1, "not_found");
    }
    // What people did stands in the trail under their names.
    assert_eq!(column(&json!(home.run(&["audit", "--user", "bob"]).lines()), "type"), ["alert-resolved"]);
    let of_alert = home.run(&["audit", "--alert", id, "--stream", "alerts/o"]).lines();
    let types: Vec<&str> = of_alert.iter().map(|entry| text(entry, "type")).collect();
    assert_eq!(types, ["alert-raised", "alert-escalated", "alert-escalated", "alert-acknowledged", "alert-resolved"]);
}

#[test]
fn the_audit_of_an_incident_has_what_became_of_its_alerts_and_that_of_an_org_its_own_rules() {
    let home = with_rules();
    let own = r#"{"rule_id": "own", "org_id": "o", "name": "Own", "description": "", "condition_type": "sla_breach",
        "threshold_config": {}, "severity": "info", "notification_channels": []}"#;
    home.run(&["rule", "add", &home.file("own.json", own)]).document();
    check(&home, "i-1", &at(4, 0), &[]).document();
    check(&home, "i-2", &at(4, 0), &[]).document();
    let alerts = home.run(&["alert", "list", "--org", "o"]).document();
    let of_first = alerts.as_array().expect("alerts").iter().find(|alert| alert["incident_id"] == "i-1");
    let id = text(of_first.expect("it warns"), "alert_id");
    home.run(&["alert", "ack", id, "--user", "ann", "--now", &at(9, 0)]).document();
    home.run(&["alert", "resolve", id, "--user", "bob", "--note", "done", "--now", &at(9, 30)]).document();
    home.run(&["rule", "remove", "own"]).document();
    home.run(&["rule", "remove", "warn"]).document();

    let types = |args: &[&str]| -> Vec<String> {
        let entries = home.run(&[&["audit"], args].concat()).lines();
        entries.iter().map(|entry| text(entry, "type").to_owned()).collect()
    };
    let all = ["incident-checked", "alert-raised", "alert-acknowledged", "alert-resolved"];
    assert_eq!(types(&["--incident", "i-1", "--stream", "alerts/o"]), all);
    assert_eq!(types(&["--incident", "i-1", "--org", "o", "--user", "bob"]), ["alert-resolved"]);
    assert_eq!(types(&["--incident", "i-2"]), all[..2]);
    assert_eq!(types(&["--org", "o", "--stream", "rules/all"]), ["rule-set", "rule-removed"]);
    assert!(types(&["--org", "other"]).is_empty());
    assert!(types(&["--alert", "none"]).is_empty());
    // What nothing can be called is a slip, such as an empty variable of a script, and never "nothing found".
    for name in ["incident", "alert", "user"] {
        home.run(&["audit", &format!("--{name}"), ""]).invalid(name, "\"\"");
    }
}

#[test]
fn messages_wait_in_the_outbox_until_they_are_taken_back() {
    let home = with_rules();
    let file = home.file("policy.toml", POLICY);
    home.run(&["escalation-policy", "set", "--org", "o", &file]).document();
    let alert = check(&home, "i", &at(6, 0), &[]).document()["alerts"][0].clone();
    let id = text(&alert, "alert_id");
    let list = |more: &[&str]| {
        let mut args = vec!["notifications", "list", "--org", "o"];
        args.extend(more);
        home.run(&args).document()
    };
    let pending = list(&["--pending"]);
    assert_eq!(column(&pending, "channel"), ["log", "email"], "the rule's and level 1's");
    for member in [
        "notification_id",
        "alert_id",
        "kind",
        "channel",
        "level",
        "cycle",
        "idempotency_key",
        "attempts",
        "last_error",
        "due_at",
        "delivered_at",
    ] {
        assert!(keys(&pending[0]).contains(&member.to_owned()), "{member}");
    }
    home.run(&["escalations", "check", "--now", &at(21, 0)]).document();
    assert_eq!(column(&list(&["--pending"]), "kind"), ["raised", "raised", "escalated"]);
    home.run(&["alert", "ack", id, "--user", "ann", "--now", &at(22, 0)]).document();
    assert_eq!((list(&["--pending"]), list(&["--dead"])), (json!([]), json!([])));
    assert_eq!(column(&list(&[]), "status"), ["cancelled", "cancelled", "cancelled"]);
    home.run(&["notifications", "resend", text(&list(&[])[0], "notification_id")]).error(1, "conflict");
    assert_eq!(home.run(&["notifications", "list", "--org", "nobody"]).document(), json!([]));
}

#[test]
fn incidents_are_listed_while_open_and_their_violations_for_good() {
    let home = with_rules();
    check(&home, "a", &at(1, 0), &[]).document();
    check(&home, "b", &at(8, 0), &["--arrival", &at(7, 30)]).document();
    check(&home, "c", &at(9, 0), &["--closed", &at(4, 0)]).document();
    let now = at(10, 0);
    assert_eq!(column(&home.run(&["incident", "list", "--org", "o", "--now", &now]).document(), "incident_id"), ["a"]);
    let violations = home.run(&["incident", "violations", "--org", "o", "--now", &now]).document();
    assert_eq!(
        violations,
        json!([
            {"incident_id": "a", "org_id": "o", "priority": 1, "sla_target_minutes": 5, "actual_minutes": 10.0,
             "breach_time": at(5, 0), "breach_magnitude": 2.0},
            {"incident_id": "b", "org_id": "o", "priority": 1, "sla_target_minutes": 5, "actual_minutes": 7.5,
             "breach_time": at(5, 0), "breach_magnitude": 1.5},
        ])
    );
    let none = home.run(&["incident", "violations", "--org", "o", "--from", &at(5, 1), "--now", &now]).document();
    assert_eq!(none, json!([]));
    assert_eq!(home.run(&["incident", "list", "--org", "nobody"]).document(), json!([]));
}

#[test]
fn an_explanation_tells_what_was_looked_at_raised_and_told() {
    let home = with_rules();
    let suppress =
        ["suppress", "add", "--org", "o", "--pattern", "warn", "--minutes", "5", "--reason", "r", "--by", "ann"];
    let mut suppress = suppress.to_vec();
    let now = at(3, 0);
    suppress.extend(["--now", &now]);
    home.run(&suppress).document();
    check(&home, "i", &at(4, 0), &[]).document();
    let raised = check(&home, "i", &at(6, 0), &[]).document();
    check(&home, "other", &at(6, 0), &[]).document();
    let explanation = home.run(&["alert", "explain", "--org", "o", "--incident", "i"]).document();
    assert_eq!(keys(&explanation), ["decisions", "incident_id", "notifications"]);
    let decisions: Vec<(&str, &str)> = explanation["decisions"]
        .as_array()
        .expect("an array")
        .iter()
        .map(|decision| (text(decision, "rule_id"), text(decision, "outcome")))
        .collect();
    assert_eq!(
        decisions,
        [
            ("breach", "condition_false"),
            ("warn", "condition_true"),
            ("warn", "suppressed"),
            ("breach", "condition_true"),
            ("warn", "condition_false"),
            ("breach", "raised"),
        ]
    );
    for decision in explanation["decisions"].as_array().expect("an array") {
        assert!(decision["position"].as_u64() > Some(0) && !text(decision, "why").is_empty(), "{decision}");
    }
    assert_eq!(column(&explanation["notifications"], "alert_id"), [text(&raised["alerts"][0], "alert_id")]);
    let nothing = home.run(&["alert", "explain", "--org", "o", "--incident", "nothing"]).document();
    assert_eq!(nothing, json!({"incident_id": "nothing", "decisions": [], "notifications": []}));
}

#[test]
fn real_incidents_are_imported_and_breach_as_the_reference_says() {
    let home = with_rules();
    let root = env!("CARGO_MANIFEST_DIR");
    let (mapping, file) =
        (format!("{root}/examples/sf-fire-calls.toml"), format!("{root}/examples/sf-fire-calls-extract.csv"));
    let import = ["incident", "import", "--org", "sffd", "--mapping", &mapping, &file];
    let summary = home.run(&import).document();
    assert_eq!((&summary["read"], &summary["accepted"]), (&json!(4000), &json!(4000)));
    assert_eq!(
        keys(&summary),
        ["accepted", "duplicates", "events_per_second", "read", "rejected", "rejected_reasons", "seconds"]
    );
    // Counted apart from everything of ours: rows whose minutes are more than their priority allows.
    let minutes = |row: &csv::StringRecord| row[27].parse::<f64>().expect("minutes");
    let allowed = |row: &csv::StringRecord| match &row[15] {
        "E" => 5.0,
        "3" => 10.0,
        "2" | "C" => 20.0,
        "1" | "B" => 45.0,
        _ => 120.0,
    };
    let rows: Vec<_> =
        csv::Reader::from_path(&file).expect("a file").records().map(|row| row.expect("a row")).collect();
    let late = rows.iter().filter(|row| minutes(row) > allowed(row)).count();
    // The first ones, too, which have overtaken each other before the rules were at hand.
    let checked = home.run(&["journal", "replay", "--stream", "alerts/sffd"]).lines();
    let checked = checked.iter().filter(|event| event["type"] == "incident-checked");
    let checked: Vec<&str> = checked.map(|event| text(&event["payload"], "incident_id")).collect();
    let ids: Vec<&str> = rows.iter().map(|row| &row[26]).collect();
    assert_eq!(checked, ids, "in the order of the file");
    let violations = home.run(&["incident", "violations", "--org", "sffd"]).document();
    assert_eq!(violations.as_array().map(Vec::len), Some(late));
    let alerts = home.run(&["alert", "list", "--org", "sffd"]).document();
    assert_eq!(alerts.as_array().map(Vec::len), Some(late), "an alert each");
    assert_eq!(home.run(&["incident", "list", "--org", "sffd"]).document(), json!([]), "all have arrived");
    // The same file again tells nothing new.
    assert_eq!(home.run(&import).document()["duplicates"], 4000);
    assert_eq!(home.run(&["incident", "violations", "--org", "sffd"]).document(), violations);
}

#[test]
fn a_threshold_rule_is_judged_when_ingest_closes_its_window() {
    let home = Home::new();
    let line = |id: &str, minute: u32, took: f64| {
        let changes = json!({"response_time_minutes": took});
        format!("{}\n", crate::support::dispatch_json(id, &at(minute, 0), changes))
    };
    home.ingest(&[line("a", 0, 90.0), line("b", 5, 90.0)].concat());
    let rule = r#"{"rule_id": "slow", "name": "Slow", "condition_type": "threshold", "severity": "critical",
        "threshold_config": {"metric": "response_time", "window": "5m", "aggregation": "avg", "op": ">", "value": 10},
        "notification_channels": ["log"]}"#;
    let file = home.file("slow.json", rule);
    home.run(&["rule", "add", &file]).document();
    let alerts = || home.run(&["alert", "list", "--org", "sffd"]).document();
    home.ingest(&line("c", 6, 30.0));
    assert_eq!(alerts(), json!([]), "the window was closed before the rule was there, and this one is not closed yet");
    home.ingest(&line("d", 10, 1.0));
    let raised = alerts();
    assert_eq!((column(&raised, "rule_id"), &raised[0]["incident_id"]), (vec!["slow"], &Value::Null));
    assert_eq!(raised[0]["metadata"]["value"], 60.0, "the mean of what lies in it, from before the rule as well");
    assert_eq!(home.run(&["snapshot", "--org", "sffd", "--as-of", "latest"]).document()["alerts"], raised);
    home.ingest(&line("e", 20, 1.0));
    let judged = home.run(&["journal", "replay", "--stream", "alerts/sffd"]).lines();
    let windows: Vec<(&Value, &Value)> = judged
        .iter()
        .filter(|entry| entry["type"] == "window-judged")
        .map(|entry| (&entry["payload"]["value"], &entry["payload"]["met"]))
        .collect();
    assert_eq!(windows, [(&json!(60.0), &json!(true)), (&json!(1.0), &json!(false))]);
}

#[test]
fn what_other_rules_would_have_raised_is_told_without_changing_anything() {
    let home = with_rules();
    check(&home, "i", &at(1, 0), &[]).document();
    check(&home, "i", &at(4, 30), &["--arrival", &at(4, 20)]).document();
    let raised = check(&home, "j", &at(6, 0), &[]).document();
    assert_eq!(column(&raised["alerts"], "rule_id"), ["breach"]);
    let before = home.stat();
    let stricter = r#"[{"rule_id": "breach", "name": "Breach", "condition_type": "sla_breach", "severity": "critical",
         "enabled": false},
        {"rule_id": "half", "name": "Half", "condition_type": "sla_warning", "severity": "info",
         "threshold_config": {"sla_remaining_pct": 50}}]"#;
    let file = home.file("stricter.json", stricter);
    let what_if = home.run(&["rule", "what-if", &file, "--org", "o"]).document();
    assert_eq!((&what_if["checks"], &what_if["rules"]), (&json!(3), &json!(["breach", "half"])));
    let of = |name: &str| {
        let alerts = what_if[name].as_array().expect("an array").iter();
        alerts
            .map(|alert| {
                (text(alert, "rule_id").to_owned(), text(alert, "incident_id").to_owned(), text(alert, "at").to_owned())
            })
            .collect::<Vec<_>>()
    };
    let alert = |rule: &str, incident: &str, at: String| (rule.to_owned(), incident.to_owned(), at);
    // At its instant, although nobody checked then.
    assert_eq!(of("proposed"), [alert("half", "i", at(2, 30))]);
    assert_eq!(of("added"), of("proposed"));
    assert_eq!(
        (of("recorded"), of("removed")),
        (vec![alert("breach", "j", at(6, 0))], vec![alert("breach", "j", at(6, 0))])
    );
    let later = home.run(&["rule", "what-if", &file, "--org", "o", "--from", &at(3, 0)]).document();
    assert_eq!(later["proposed"], json!([]));
    assert_eq!(home.stat()["events"], before["events"]);
    assert_eq!(home.run(&["rule", "what-if", &file, "--org", "nobody"]).document()["proposed"], json!([]));
}

#[test]
fn an_org_that_is_later_than_the_instant_is_left_out_and_keeps_nobody_from_being_escalated() {
    let home = with_rules();
    let policy = home.file("policy.toml", POLICY);
    for (org, dispatch, now) in [("early", at(0, 0), at(5, 0)), ("later", at(60, 0), at(65, 0))] {
        home.run(&["escalation-policy", "set", "--org", org, &policy]).document();
        let mut args = vec!["incident", "check", "--org", org, "--incident", "i", "--priority", "1"];
        args.extend(["--dispatch-time", &dispatch, "--now", &now]);
        home.run(&args).document();
    }
    home.run(&["escalations", "check", "--now", &at(4, 0)]).invalid("now", &at(4, 0));
    let check = home.run(&["escalations", "check", "--now", &at(30, 0)]);
    assert_eq!(column(&check.document(), "org_id"), ["early"]);
    assert!(check.stderr.contains("later"), "who is left out is told: {}", check.stderr);
    let status = |org: &str| home.run(&["alert", "list", "--org", org]).document()[0]["status"].clone();
    assert_eq!((status("early"), status("later")), (json!("escalated"), json!("open")));
    assert_eq!(
        column(&home.run(&["escalations", "check", "--now", &at(80, 0)]).document(), "org_id"),
        ["early", "later"]
    );
}

#[test]
fn a_monitor_that_is_stopped_does_nothing_by_itself_until_it_is_started_again() {
    let minute = |minutes: i64| -> Timestamp {
        let noon: Timestamp = at(0, 0).parse().expect("an instant");
        noon.saturating_add_micros(minutes * 60_000_000)
    };
    let clock = Arc::new(ManualClock::new(minute(0)));
    let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
    let ionveil = IonVeil::open(Config::in_memory().with_clock(shared).without_background()).expect("opens");
    let monitor = ionveil.sla_monitor_service();
    let rules: Value = serde_json::from_str(RULES).expect("JSON");
    block_on(monitor.add_rule(AlertRule::from_json(&rules[1]).expect("a rule"))).expect("stored");
    let org: OrgId = "o".parse().expect("an id");
    let alerts = || block_on(monitor.get_active_alerts(&org, None, None)).expect("a list");
    let dispatched = |incident: &str, dispatch_time| IncidentCheck {
        incident_id: incident.into(),
        org_id: org.clone(),
        priority: 1,
        dispatch_time,
        arrival_time: None,
        closed_time: None,
        current_time: None,
    };
    for (number, start) in [0, 10, 20].into_iter().enumerate() {
        clock.set(minute(start));
        block_on(monitor.check_incident(dispatched(&start.to_string(), minute(start)))).expect("checked");
        clock.set(minute(start + 6));
        // Whatever ran by itself would have had its turn among so many.
        for _ in 0..200 {
            assert_eq!(alerts().len(), number, "it does not run");
        }
        block_on(monitor.start()).expect("started");
        block_on(monitor.start()).expect("started already");
        let begin = Instant::now();
        while alerts().len() == number {
            assert!(begin.elapsed() < Duration::from_secs(60), "nothing comes due");
            std::thread::yield_now();
        }
        assert_eq!(alerts()[number].metadata["late"], true);
        monitor.stop();
        monitor.stop();
    }
}

#[test]
fn a_host_without_an_executor_has_the_same_services() {
    let start: Timestamp = at(0, 0).parse().expect("an instant");
    let minute = |minutes: i64| start.saturating_add_micros(minutes * 60_000_000);
    let clock = Arc::new(ManualClock::new(start));
    let config = Config::in_memory().without_background().with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
    let ionveil = IonVeil::open(config).expect("nothing stands in the way");
    let org: OrgId = "o".parse().expect("an id");
    let monitor = blocking::SlaMonitorService::new(&ionveil);
    let escalations = blocking::EscalationManager::new(&ionveil);
    let suppressions = blocking::AlertSuppressionManager::new(&ionveil);
    let outbox = blocking::NotificationOutbox::new(&ionveil);

    let policy = toml::from_str(POLICY).expect("a policy");
    assert_eq!(escalations.get_policy(&org).expect("an answer"), None);
    escalations.set_policy(&org, policy).expect("accepted");
    let rules: Vec<Value> = serde_json::from_str(RULES).expect("JSON");
    let rules = rules.iter().map(|rule| AlertRule::from_json(rule).expect("a rule")).collect();
    assert_eq!(monitor.add_rules(rules).expect("stored").len(), 2);
    assert!(monitor.remove_rule("warn").expect("an answer"));
    assert_eq!(monitor.get_rules(None).expect("a list").len(), 1);

    let report = monitor.at(minute(6)).check_incident(IncidentCheck {
        incident_id: "i".into(),
        org_id: org.clone(),
        priority: 1,
        dispatch_time: start,
        arrival_time: None,
        closed_time: None,
        current_time: None,
    });
    let alert = report.expect("checked").alerts[0].alert_id;
    clock.set(minute(7));
    assert_eq!(monitor.open_incidents(&org).expect("a list").len(), 1);
    assert_eq!(monitor.violations(&org, None, None).expect("a list").len(), 1);
    assert_eq!(
        outbox.list(&org, Default::default()).expect("a list").len(),
        2,
        "the rule's channel and the first level's"
    );
    let escalated = escalations.at(minute(21)).check_escalations().expect("all are asked");
    assert_eq!(escalated.iter().map(|alert| alert.alert_id).collect::<Vec<_>>(), [alert]);
    monitor.at(minute(22)).acknowledge_alert(alert, "ana", None).expect("it is open");
    monitor.at(minute(23)).resolve_alert(alert, "ana", "arrived").expect("it is not over");
    assert!(monitor.get_active_alerts(&org, None, None).expect("a list").is_empty());
    assert!(!monitor.explain(&org, "i").expect("an answer").decisions.is_empty());

    clock.set(minute(30));
    let added = suppressions.add_suppression(&org, "bre.*", 60, "drill", "ana").expect("accepted");
    assert!(suppressions.is_suppressed(&org, "breach").expect("an answer"));
    assert!(suppressions.remove_suppression(added.suppression_id).expect("an answer"));
    assert!(suppressions.get_active_suppressions(&org, false).expect("a list").is_empty());
    assert!(blocking::shutdown(&ionveil, Duration::from_secs(10)));
}
