//! Checks: what an incident may be, what is raised, counted again, held back, resolved.

use super::*;
use crate::domain::SlaStatus;
use crate::error::Kind;

#[test]
fn a_check_says_how_the_incident_stands_and_raises_what_is_true() {
    let known = known(1, &[breach(), warning(25.0)]);
    for (at, status, stage, elapsed, remaining, raised) in [
        (0.0, SlaStatus::Compliant, 0, 0.0, 5.0, &[][..]),
        (2.5, SlaStatus::Compliant, 1, 2.5, 2.5, &[]),
        (3.75, SlaStatus::Warning, 2, 3.75, 1.25, &["warning"]),
        (4.5, SlaStatus::Warning, 3, 4.5, 0.5, &["warning"]),
        (5.0, SlaStatus::Breached, 4, 5.0, 0.0, &["breach"]),
        (7.5, SlaStatus::Breached, 4, 7.5, -2.5, &["breach"]),
    ] {
        let report = Life::new().tell(check_i(&known, at));
        assert_eq!((report.sla_status, report.escalation_stage), (status, stage), "at {at}");
        assert_eq!((report.elapsed_minutes, report.remaining_minutes), (elapsed, remaining), "at {at}");
        assert_eq!((report.sla_target_minutes, report.breach_time), (5, m(5.0)));
        assert_eq!(rules_of(&report.alerts), raised, "at {at}");
        assert_eq!(held(&report), [""; 0]);
    }
}

#[test]
fn an_alert_shows_the_seeds_fields() {
    let known = known(1, &[breach()]);
    let mut life = Life::new();
    let report = life.tell(check_i(&known, 6.0));
    let alert = json!(report.alerts[0]);
    assert_eq!(alert, json!(life.alerts(Wanted::Unresolved)[0]), "the reply is what is kept");
    let id = uuid::Uuid::parse_str(alert["alert_id"].as_str().expect("an id")).expect("an id");
    assert_eq!(id.get_version_num(), 5);
    for (field, expected) in [
        ("rule_id", json!("breach")),
        ("rule_version", json!(1)),
        ("org_id", json!("org")),
        ("incident_id", json!("i")),
        ("severity", json!("critical")),
        ("status", json!("open")),
        ("title", json!("Rule breach: incident i")),
        ("created_at", json!(m(6.0))),
        ("updated_at", json!(m(6.0))),
        ("acknowledged_at", Value::Null),
        ("acknowledged_by", Value::Null),
        ("resolved_at", Value::Null),
        ("resolved_by", Value::Null),
        ("escalation_level", json!(1)),
        ("escalation_history", json!([])),
        ("occurrences", json!(1)),
        ("history", json!([])),
    ] {
        assert_eq!(alert[field], expected, "{field}");
    }
    assert_eq!(alert["metadata"]["elapsed_minutes"], 6.0);
    assert!(alert["description"].as_str().expect("a text").contains("6.00 of 5 minutes"));
    // The same org, rule, incident and number give the same id, anything else another one.
    let again = Life::new().tell(check_i(&known, 9.0)).alerts[0].alert_id;
    assert_eq!(again, id);
    assert_ne!(Life::new().tell(check("j", &known, 6.0)).alerts[0].alert_id, id);
}

#[test]
fn there_is_one_unresolved_alert_and_a_check_counts_it_again() {
    let known = known(1, &[breach()]);
    let mut life = Life::new();
    let id = life.tell(check_i(&known, 5.0)).alerts[0].alert_id;
    for (at, occurrences) in [(6.0, 2), (60.0, 3)] {
        let report = life.tell(check_i(&known, at));
        assert_eq!((report.alerts, report.held_back), (vec![], vec![]), "also after its window");
        assert_eq!(life.alert(id).occurrences, occurrences);
        life.run_at(at);
        assert_eq!(life.alert(id).occurrences, occurrences, "sweeps and deadlines do not count");
    }
    life.ack(id, 61.0).expect("it is open");
    life.tell(check_i(&known, 62.0));
    assert_eq!(life.alert(id).occurrences, 4, "an acknowledged one stands as well");
    assert_eq!(life.alerts(Wanted::All).len(), 1);
}

#[test]
fn after_a_raise_the_window_holds_the_next_one_back_also_when_it_was_resolved() {
    let known = known(1, &[rule("breach", "sla_breach", json!({}), json!({"suppression_window_minutes": 10}))]);
    let mut life = Life::new();
    let first = life.tell(check_i(&known, 6.0)).alerts[0].clone();
    life.resolve(first.alert_id, 7.0).expect("it is open");
    for at in [7.0, 15.0, 15.999] {
        let report = life.tell(check_i(&known, at));
        assert_eq!((report.alerts.len(), held(&report)), (0, vec!["breach"]), "at {at}");
        assert!(report.held_back[0].reason.contains("window"), "{}", report.held_back[0].reason);
    }
    assert_eq!(life.run_until(40.0).raised, [], "without a check nothing was false in between");
    let report = life.tell(check_i(&known, 40.0));
    assert_eq!((rules_of(&report.alerts), held(&report)), (vec!["breach"], vec![]));
    assert_ne!(report.alerts[0].alert_id, first.alert_id, "it is a new alert");
    assert_eq!(life.alerts(Wanted::Unresolved).len(), 1);
    // The window ends with its last instant exclusively.
    let mut life = Life::new();
    let first = life.tell(check_i(&known, 6.0)).alerts[0].clone();
    life.resolve(first.alert_id, 7.0).expect("it is open");
    assert_eq!(rules_of(&life.tell(check_i(&known, 16.0)).alerts), ["breach"]);
}

#[test]
fn a_condition_that_was_false_in_between_is_raised_when_the_window_ends() {
    let known = known(1, &[rule("breach", "sla_breach", json!({}), json!({"suppression_window_minutes": 10}))]);
    let mut life = Life::new();
    let first = life.tell(check_i(&known, 6.0)).alerts[0].clone();
    life.resolve(first.alert_id, 6.5).expect("it is open");
    // Of priority 2 it has 10 minutes: not breached at 7, breached at 10, in the window until 16.
    let of_priority_2 = |at| CheckIncident { priority: 2, ..check_i(&known, at) };
    assert_eq!(life.tell(of_priority_2(7.0)).sla_status, SlaStatus::Compliant);
    assert_eq!(life.run_until(15.999).raised, []);
    assert_eq!(life.types().iter().filter(|kind| **kind == "alert-held-back").count(), 1, "it says why not");
    let raised = life.run_until(16.0).raised;
    assert_eq!((rules_of(&raised), raised[0].created_at), (vec!["breach"], m(16.0)));
}

#[test]
fn arrival_resolves_warnings_and_breaches_that_were_none() {
    let known = known(1, &[breach(), warning(25.0)]);
    for (arrival, expected) in [
        (4.9, &[("warning", "resolved"), ("breach", "resolved")][..]),
        (5.0, &[("warning", "resolved"), ("breach", "resolved")]),
        (5.1, &[("warning", "resolved"), ("breach", "open")]),
    ] {
        for closing in [false, true] {
            let mut life = Life::new();
            life.tell(check_i(&known, 0.0));
            life.run_until(6.0);
            assert_eq!(rules_of(&life.alerts(Wanted::Unresolved)), ["warning", "breach"]);
            let mut check = check_i(&known, 7.0);
            if closing {
                check.closed_time = Some(m(arrival));
            } else {
                check.arrival_time = Some(m(arrival));
            }
            let report = life.tell(check);
            assert_eq!(report.alerts, []);
            let alerts = life.alerts(Wanted::All);
            let found: Vec<_> = alerts.iter().map(|alert| (alert.rule_id.as_str(), alert.status.as_str())).collect();
            assert_eq!(found, expected, "arrival at {arrival}, closing {closing}");
            let resolved = &alerts[0];
            assert_eq!((resolved.resolved_by.as_deref(), resolved.resolved_at), (Some("system"), Some(m(7.0))));
            assert!(resolved.history[0].note.as_ref().is_some_and(|note| note.contains("at 2026-03-01T12:0")));
            assert_eq!(life.state().next_due().filter(|_| expected[1].1 == "resolved"), None, "nothing is watched");
        }
    }
}

#[test]
fn an_incident_that_has_arrived_late_is_breached_for_good() {
    let known = known(1, &[breach(), warning(25.0)]);
    let mut life = Life::new();
    let arrived = CheckIncident { arrival_time: Some(m(6.0)), ..check_i(&known, 90.0) };
    let report = life.tell(arrived.clone());
    assert_eq!((report.sla_status, report.elapsed_minutes), (SlaStatus::Breached, 6.0));
    assert_eq!(rules_of(&report.alerts), ["breach"]);
    // A known arrival stays when it is left out.
    let report = life.tell(check_i(&known, 100.0));
    assert_eq!((report.sla_status, report.elapsed_minutes), (SlaStatus::Breached, 6.0));
    let violations =
        life.org().ask(GetViolations { org_id: org_id(), from: None, to: None, at: None }).expect("an answer");
    assert_eq!(
        json!(violations),
        json!([{
            "incident_id": "i", "org_id": "org", "priority": 1, "sla_target_minutes": 5, "actual_minutes": 6.0,
            "breach_time": m(5.0), "breach_magnitude": 1.2,
        }])
    );
    let ask = |from, to| {
        let span = GetViolations { org_id: org_id(), from: Some(m(from)), to: Some(m(to)), at: None };
        life.org().ask(span).map(|found| found.len())
    };
    assert_eq!((ask(5.0, 5.1), ask(4.0, 5.0), ask(5.1, 6.0)), (Ok(1), Ok(0), Ok(0)));
    assert_eq!(ask(6.0, 6.0).expect_err("no span").kind(), Kind::Invalid);
}

#[test]
fn open_incidents_are_listed_with_their_next_instant() {
    let known = known(1, &[warning(25.0)]);
    let mut life = Life::new();
    life.tell(check("late", &known, 0.0));
    life.tell(CheckIncident { priority: 5, ..check("long", &known, 0.0) });
    life.tell(CheckIncident { arrival_time: Some(m(1.0)), ..check("over", &known, 1.0) });
    let open = life.org().ask(GetOpenIncidents { org_id: org_id(), at: Some(m(4.0)) }).expect("an answer");
    let shown: Vec<_> = open
        .iter()
        .map(|open| (open.incident_id.as_str(), open.sla_status.as_str(), open.remaining_minutes, open.next_deadline))
        .collect();
    assert_eq!(shown, [("late", "warning", 1.0, Some(m(3.75))), ("long", "compliant", 116.0, Some(m(90.0)))]);
}

#[test]
fn what_an_incident_may_not_be_is_refused_by_name_and_changes_nothing() {
    let known = known(1, &[breach()]);
    let mut life = Life::new();
    life.tell(check_i(&known, 6.0));
    let events = life.org().history().len();
    for (command, field, value) in [
        (CheckIncident { incident_id: String::new(), ..check_i(&known, 7.0) }, "incident_id", "\"\"".to_owned()),
        (CheckIncident { incident_id: "a/b".into(), ..check_i(&known, 7.0) }, "incident_id", "\"a/b\"".into()),
        (CheckIncident { priority: 0, ..check_i(&known, 7.0) }, "priority", "0".into()),
        (CheckIncident { priority: 6, ..check_i(&known, 7.0) }, "priority", "6".into()),
        (CheckIncident { arrival_time: Some(m(-0.1)), ..check_i(&known, 7.0) }, "arrival_time", m(-0.1).to_string()),
        (CheckIncident { closed_time: Some(m(-1.0)), ..check_i(&known, 7.0) }, "closed_time", m(-1.0).to_string()),
        (check_i(&known, 5.999), "now", m(5.999).to_string()),
    ] {
        let error = life.try_tell(command).expect_err(field);
        let crate::error::Error::Invalid(invalid) = error else { panic!("{error}") };
        assert_eq!((invalid.field.as_str(), invalid.value), (field, value));
    }
    assert_eq!(life.org().history().len(), events);
    // Another incident has a time of its own, and a clock that was set back is no reason to refuse.
    life.tell(check("j", &known, 1.0));
    life.clock(0.0);
    let report = life.tell(CheckIncident { at: None, ..check_i(&known, 0.0) });
    assert_eq!(report.elapsed_minutes, 6.0, "as of the last instant of the incident");
}

#[test]
fn a_later_check_may_change_priority_and_times() {
    let known = known(1, &[breach(), warning(25.0)]);
    let mut life = Life::new();
    life.tell(check_i(&known, 0.0));
    assert_eq!(life.state().next_due(), Some(m(3.75)));
    life.tell(CheckIncident { priority: 2, ..check_i(&known, 1.0) });
    assert_eq!(life.state().next_due(), Some(m(7.5)));
    life.tell(CheckIncident { priority: 2, dispatch_time: m(-5.0), ..check_i(&known, 2.0) });
    assert_eq!(life.state().next_due(), Some(m(2.5)));
    assert_eq!(rules_of(&life.run_until(4.0).raised), ["warning"]);
    assert_eq!(rules_of(&life.run_until(60.0).raised), ["breach"]);
    assert_eq!(life.state().next_due(), None);
}

#[test]
fn channels_are_the_rules_else_the_priorities_and_level_ones() {
    let silent = rule("breach", "sla_breach", json!({}), json!({"notification_channels": []}));
    let plain = known(1, &[silent]);
    let own = known(1, &[breach()]);
    let channels_of = |known: &Known, priority| {
        let mut life = Life::new();
        life.tell(CheckIncident { priority, ..check_i(known, 500.0) });
        let raised = life.org().history().iter().find_map(|event| match event {
            Event::Raised(raised) => Some(raised.channels.iter().map(|c| c.as_str()).collect::<Vec<_>>().join(" ")),
            _ => None,
        });
        raised.expect("it is breached")
    };
    assert_eq!(channels_of(&plain, 1), "sms push radio email");
    assert_eq!(channels_of(&plain, 3), "push email");
    assert_eq!(channels_of(&plain, 5), "email");
    assert_eq!(channels_of(&own, 1), "email");
    assert_eq!(channels_of(&with_policy(&own, 1, json!({})), 1), "email slack");
    let level_1 = json!({"levels": [{"level": 1, "timeout_minutes": 1, "channels": ["email", "log"]}]});
    assert_eq!(channels_of(&with_policy(&plain, 1, level_1), 5), "email log");
}

#[test]
fn disabled_rules_and_those_of_other_orgs_do_not_fire() {
    let disabled = rule("breach", "sla_breach", json!({}), json!({"enabled": false}));
    assert_eq!(Life::new().tell(check_i(&known(1, &[disabled]), 9.0)).alerts, []);
    assert_eq!(Life::new().tell(check_i(&known(0, &[]), 9.0)).alerts, []);
}
