//! Alerts over months and after crashes: what is forgotten, what the journal still tells, what the sweep finds.

use std::time::{Duration, Instant};

use ionveil::dispatch::IngestBatch;
use ionveil::domain::OrgId;
use ionveil::rules::{AlertRule, AlertSeverity, Condition};
use ionveil::{Config, DispatchEvent, IncidentCheck, IonVeil};
use pollster::block_on;
use serde_json::{Value, json};

use crate::support::{Home, Ran};

const RULES: &str = r#"[{"rule_id": "breach", "name": "Breach", "condition_type": "sla_breach", "severity": "critical",
    "notification_channels": ["log"]}]"#;

fn with_rules() -> Home {
    let home = Home::new();
    let file = home.file("rules.json", RULES);
    home.run(&["rule", "add", &file]).document();
    home
}

/// A check of an incident of priority 1 that was dispatched at noon of a day of 2026 and reached nine minutes later.
fn late(home: &Home, incident: &str, day: &str) -> Ran {
    let (dispatch, arrival) = (format!("2026-{day}T12:00:00Z"), format!("2026-{day}T12:09:00Z"));
    let mut args = vec!["incident", "check", "--org", "o", "--incident", incident, "--priority", "1"];
    args.extend(["--dispatch-time", &dispatch, "--arrival", &arrival, "--now", &arrival]);
    home.run(&args)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} of {value}"))
}

fn column<'a>(list: &'a Value, name: &str) -> Vec<&'a str> {
    list.as_array().expect("an array").iter().map(|item| text(item, name)).collect()
}

#[test]
fn what_is_forgotten_is_told_from_the_journal_as_if_it_were_not() {
    let home = with_rules();
    let raised = late(&home, "first", "01-01").document()["alerts"][0].clone();
    let id = text(&raised, "alert_id");
    let resolve = ["alert", "resolve", id, "--user", "ann", "--note", "over", "--now", "2026-01-01T13:00:00Z"];
    let resolved = home.run(&resolve).document();
    let ask = |args: &[&str]| home.run(args).document();
    let questions: [&[&str]; 5] = [
        &["alert", "show", id],
        &["alert", "list", "--org", "o", "--status", "resolved"],
        &["incident", "violations", "--org", "o"],
        &["incident", "violations", "--org", "o", "--to", "2026-01-02T00:00:00Z"],
        &["alert", "explain", "--org", "o", "--incident", "first"],
    ];
    let before = questions.map(ask);
    assert_eq!(before[0], resolved);
    late(&home, "second", "03-01").document();
    // Nobody would notice, but for a check of it.
    let after = questions.map(ask);
    assert_eq!((&after[0], &after[1], &after[3], &after[4]), (&before[0], &before[1], &before[3], &before[4]));
    assert_eq!(column(&after[2], "incident_id"), ["first", "second"]);
    assert_eq!(column(&ask(&["alert", "list", "--org", "o", "--all"]), "status"), ["resolved", "open"]);
    assert_eq!(column(&ask(&["alert", "list", "--org", "o"]), "incident_id"), ["second"]);
    let recent = ["incident", "violations", "--org", "o", "--from", "2026-02-01T00:00:00Z"];
    assert_eq!(column(&ask(&recent), "incident_id"), ["second"]);
    home.run(&["alert", "show", "0b9d9b0e-55b1-5e0c-a9f0-9a86d2a5a0d7"]).error(1, "not_found");
    let now = "2026-03-01T12:10:00Z";
    for args in [
        &["alert", "ack", id, "--user", "ann", "--now", now][..],
        &["alert", "resolve", id, "--user", "ann", "--note", "again", "--now", now],
        &["alert", "escalate", id, "--now", now],
    ] {
        let error = home.run(args).error(1, "conflict");
        assert!(text(&error, "message").contains("is resolved, so it cannot be"), "{error}");
    }
    late(&home, "first", "01-01").invalid("dispatch_time", "2026-01-01T12:00:00Z");
}

#[test]
fn a_file_that_is_imported_again_after_months_raises_nothing_again() {
    let home = with_rules();
    let line = |id: &str, day: &str, took: f64| {
        let changes = json!({"response_time_minutes": took, "severity": 5});
        format!("{}\n", crate::support::dispatch_json(id, &format!("2026-{day}T12:00:00Z"), changes))
    };
    let first = line("a", "01-01", 9.0);
    let import = |rows: &str, now: &str| {
        home.run_with(&["incident", "import", "--org", "sffd", "--now", now, "-"], rows.as_bytes()).document()
    };
    assert_eq!(import(&first, "2026-01-01T13:00:00Z")["accepted"], 1);
    let alerts = home.run(&["alert", "list", "--org", "sffd"]).document();
    let id = text(&alerts[0], "alert_id");
    home.run(&["alert", "resolve", id, "--user", "ann", "--note", "over", "--now", "2026-01-01T14:00:00Z"]).document();
    let second = line("b", "03-01", 9.0);
    assert_eq!(import(&second, "2026-03-01T13:00:00Z")["accepted"], 1);
    // One that was never told is taken, although it is as old as one that is forgotten.
    let never = line("c", "01-01", 4.0);
    let summary = import(&[first, second, never].concat(), "2026-03-01T13:01:00Z");
    assert_eq!((&summary["rejected_reasons"]["too_late"], &summary["duplicates"]), (&json!(1), &json!(1)));
    assert_eq!(summary["accepted"], 1);
    assert_eq!(column(&home.run(&["alert", "list", "--org", "sffd", "--all"]).document(), "incident_id"), ["a", "b"]);
}

#[test]
fn another_escalation_policy_is_tried_on_what_is_recorded() {
    let home = with_rules();
    let policy = |timeout: u32| {
        let text = format!(
            r#"{{"policy_id": "p{timeout}", "name": "P", "levels": [
                {{"level": 1, "timeout_minutes": {timeout}, "channels": ["email"]}},
                {{"level": 2, "timeout_minutes": {timeout}, "channels": ["sms"]}}]}}"#
        );
        home.file(&format!("p{timeout}.json"), text)
    };
    home.run(&["escalation-policy", "set", "--org", "o", &policy(15)]).document();
    late(&home, "i", "01-01").document();
    home.run(&["escalations", "check", "--now", "2026-01-01T12:24:00Z"]).document();
    let before = home.stat();
    let what_if = |args: &[&str]| {
        let mut all = vec!["escalation-policy", "what-if", "--org", "o"];
        all.extend(args);
        home.run(&all).document()
    };
    let same = what_if(&[&policy(15)]);
    assert_eq!((&same["recorded"], &same["added"], &same["moved"]), (&same["proposed"], &json!([]), &json!([])));
    assert_eq!(column(&same["recorded"], "at"), ["2026-01-01T12:24:00Z"]);
    let faster = what_if(&[&policy(5)]);
    assert_eq!((column(&faster["proposed"], "at"), &faster["policy_id"]), (vec!["2026-01-01T12:14:00Z"], &json!("p5")));
    assert_eq!(
        (column(&faster["moved"], "at"), column(&faster["moved"], "recorded_at")),
        (vec!["2026-01-01T12:14:00Z"], vec!["2026-01-01T12:24:00Z"])
    );
    let slower = what_if(&[&policy(60), "--from", "2026-01-01T12:10:00Z"]);
    assert_eq!((column(&slower["removed"], "incident_id"), &slower["proposed"]), (vec!["i"], &json!([])));
    assert_eq!((&slower["messages_recorded"], &slower["messages_proposed"]), (&json!(1), &json!(0)));
    assert_eq!(home.stat()["events"], before["events"], "it changes nothing");
    let bad = home.file("bad.json", r#"{"policy_id": "p", "name": "P", "levels": []}"#);
    home.run(&["escalation-policy", "what-if", &bad, "--org", "o"]).invalid("levels", "0 levels");
    let nobody = home.run(&["escalation-policy", "what-if", &policy(5), "--org", "nobody"]).document();
    assert_eq!((&nobody["proposed"], &nobody["alerts"]), (&json!([]), &json!(0)));
}

#[test]
fn what_was_dispatched_six_minutes_ago_has_taken_six_minutes() {
    let home = with_rules();
    let check = ["incident", "check", "--org", "o", "--incident", "i", "--priority", "1", "--dispatch-time", "-6m"];
    let report = home.run(&check).document();
    assert_eq!((&report["elapsed_minutes"], &report["remaining_minutes"]), (&json!(6.0), &json!(-1.0)));
    let arrived = [&check[..], &["--arrival", "now"]].concat();
    home.run(&arrived).document();
}

/// A crash came between a rule and telling the orgs of it, and between a dispatch and judging the window it closed.
#[test]
fn what_a_crash_left_out_is_found_when_the_system_runs_again() {
    let home = Home::new();
    let org: OrgId = "o".parse().expect("an id");
    let hours_ago = |hours: i64| {
        use ionveil::runtime::{Clock as _, SystemClock};
        SystemClock.now().saturating_add_micros(-hours * 3_600_000_000)
    };
    {
        let ionveil = IonVeil::open(Config::at(home.data()).without_background()).expect("opens");
        let monitor = ionveil.sla_monitor_service();
        let check = IncidentCheck {
            incident_id: "i".into(),
            org_id: org.clone(),
            priority: 1,
            dispatch_time: hours_ago(1),
            arrival_time: None,
            closed_time: None,
            current_time: None,
        };
        block_on(monitor.check_incident(check)).expect("checked");
        let config =
            json!({"metric": "dispatch_count", "window": "1m", "aggregation": "count", "op": ">=", "value": 1});
        let threshold = json!({"rule_id": "busy", "name": "Busy", "condition_type": "threshold", "severity": "info",
            "threshold_config": config, "notification_channels": ["log"]});
        let breach = AlertRule::new("breach", "Breach", Condition::SlaBreach, AlertSeverity::Critical);
        block_on(monitor.add_rules(vec![AlertRule::from_json(&threshold).expect("a rule"), breach])).expect("stored");
        for (id, hours) in [("a", 3), ("b", 2)] {
            let dispatch = crate::support::dispatch_json(id, &hours_ago(hours).to_string(), json!({"org_id": "o"}));
            let event = DispatchEvent::from_json(&dispatch).expect("a dispatch");
            let told = ionveil.dispatches().tell("o", IngestBatch::from_iter([event]), Default::default());
            block_on(told).expect("recorded");
        }
    }
    let ionveil = IonVeil::open(Config::at(home.data())).expect("opens");
    let begin = Instant::now();
    loop {
        let alerts = block_on(ionveil.sla_monitor_service().get_active_alerts(&org, None, None)).expect("a list");
        let mut rules: Vec<&str> = alerts.iter().map(|alert| alert.rule_id.as_str()).collect();
        rules.sort_unstable();
        if rules == ["breach", "busy"] {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "only {rules:?}");
        std::thread::yield_now();
    }
}
