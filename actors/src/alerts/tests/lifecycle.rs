//! Every transition of an alert, allowed and refused; the escalation chain as it runs.

use super::*;
use crate::alerts::AlertStatus::{Acknowledged, Escalated, Open, Resolved};
use crate::error::Kind;

/// An org with one alert, raised at minute 6.
fn raised(known: &Known) -> (Life, Uuid) {
    let mut life = Life::new();
    let id = life.tell(check_i(known, 6.0)).alerts[0].alert_id;
    (life, id)
}

fn plain() -> Known {
    known(1, &[breach()])
}

/// What became of the alert by itself up to a minute: `(minute, level)`.
fn steps(life: &mut Life, id: Uuid, until: f64) -> Vec<(f64, u8)> {
    life.run_until(until);
    let minutes = |at: Timestamp| (at.as_micros() - m(0.0).as_micros()) as f64 / MICROS_PER_MINUTE as f64;
    life.alert(id).escalation_history.iter().map(|step| (minutes(step.at), step.to_level)).collect()
}

#[test]
fn every_transition_is_allowed_or_refused() {
    type Step = fn(&mut Life, Uuid, f64) -> Result<Alert, crate::error::Error>;
    let (ack, resolve, escalate): (Step, Step, Step) = (Life::ack, Life::resolve, Life::escalate);
    for (path, last, expected) in [
        (&[][..], ack, Ok(Acknowledged)),
        (&[], resolve, Ok(Resolved)),
        (&[], escalate, Ok(Escalated)),
        (&[escalate], ack, Ok(Acknowledged)),
        (&[escalate], resolve, Ok(Resolved)),
        (&[escalate], escalate, Ok(Escalated)),
        (&[ack], ack, Ok(Acknowledged)),
        (&[ack], resolve, Ok(Resolved)),
        (&[ack], escalate, Err(Kind::Conflict)),
        (&[resolve], ack, Err(Kind::Conflict)),
        (&[resolve], resolve, Err(Kind::Conflict)),
        (&[resolve], escalate, Err(Kind::Conflict)),
        (&[escalate, escalate, escalate], escalate, Err(Kind::Conflict)),
        (&[escalate, escalate, escalate], ack, Ok(Acknowledged)),
    ] {
        let (mut life, id) = raised(&plain());
        let mut at = 6.0;
        for step in path {
            at += 1.0;
            step(&mut life, id, at).expect("the way there");
        }
        let before = life.alert(id);
        let outcome = last(&mut life, id, at + 1.0);
        assert_eq!(outcome.clone().map(|alert| alert.status).map_err(|error| error.kind()), expected);
        match outcome {
            Ok(alert) => assert_eq!(alert, life.alert(id), "the reply is what is kept"),
            Err(_) => assert_eq!(life.alert(id), before, "a refusal changes nothing"),
        }
    }
}

#[test]
fn every_change_is_in_the_history_and_the_first_acknowledgement_stays() {
    let (mut life, id) = raised(&plain());
    life.escalate(id, 7.0).expect("open");
    life.tell(AcknowledgeAlert { alert_id: id, user_id: "ann".into(), note: Some("on it".into()), at: Some(m(8.0)) });
    life.tell(AcknowledgeAlert { alert_id: id, user_id: "zoe".into(), note: None, at: Some(m(9.0)) });
    life.resolve(id, 10.0).expect("acknowledged");
    let alert = json!(life.alert(id));
    assert_eq!(
        alert["history"],
        json!([
            {"at": m(7.0), "by": "cem", "from": "open", "to": "escalated", "note": "now"},
            {"at": m(8.0), "by": "ann", "from": "escalated", "to": "acknowledged", "note": "on it"},
            {"at": m(10.0), "by": "bob", "from": "acknowledged", "to": "resolved", "note": "done"},
        ])
    );
    assert_eq!(
        alert["escalation_history"],
        json!([{"at": m(7.0), "from_level": 1, "to_level": 2, "reason": "now", "by": "cem"}])
    );
    for (field, expected) in [
        ("status", json!("resolved")),
        ("acknowledged_by", json!("ann")),
        ("acknowledged_at", json!(m(8.0))),
        ("resolved_by", json!("bob")),
        ("resolved_at", json!(m(10.0))),
        ("updated_at", json!(m(10.0))),
        ("escalation_level", json!(2)),
    ] {
        assert_eq!(alert[field], expected, "{field}");
    }
}

#[test]
fn what_people_give_is_checked() {
    let (mut life, id) = raised(&plain());
    let long = "x".repeat(4_097);
    let ack = |user: &str, note: Option<&str>| AcknowledgeAlert {
        alert_id: id,
        user_id: user.into(),
        note: note.map(Into::into),
        at: Some(m(7.0)),
    };
    for (command, field) in [
        (ack("", None), "user_id"),
        (ack("system", None), "user_id"),
        (ack("a\nb", None), "user_id"),
        (ack("ann", Some(" ")), "note"),
        (ack("ann", Some(&long)), "note"),
        (AcknowledgeAlert { at: Some(m(5.0)), ..ack("ann", None) }, "now"),
    ] {
        let error = life.try_tell(command).expect_err(field);
        assert!(matches!(&error, crate::error::Error::Invalid(invalid) if invalid.field == field), "{error}");
    }
    for note in ["", "  \n"] {
        let command =
            ResolveAlert { alert_id: id, user_id: "ann".into(), resolution_note: note.into(), at: Some(m(7.0)) };
        assert_eq!(life.try_tell(command).expect_err("a note is needed").kind(), Kind::Invalid);
    }
    let unknown = Uuid::nil();
    assert_eq!(life.ack(unknown, 7.0).expect_err("unknown").kind(), Kind::NotFound);
    assert_eq!(life.resolve(unknown, 7.0).expect_err("unknown").kind(), Kind::NotFound);
    assert_eq!(life.escalate(unknown, 7.0).expect_err("unknown").kind(), Kind::NotFound);
    assert_eq!(life.alert(id).status, Open);
}

#[test]
fn the_chain_runs_as_in_the_specifications_example() {
    let (mut life, id) = raised(&with_policy(&plain(), 1, json!({})));
    assert_eq!(steps(&mut life, id, 5_000.0), [(21.0, 2), (61.0, 1), (76.0, 2)]);
    let alert = life.alert(id);
    assert_eq!((alert.status, alert.escalation_level), (Escalated, 2));
    assert!(
        alert.escalation_history.iter().all(|step| step.by.as_ref() == "system" && step.reason.as_ref() == "timeout")
    );
    assert_eq!(life.escalate(id, 5_001.0).expect_err("all steps are taken").kind(), Kind::Conflict);
}

#[test]
fn by_hand_and_by_itself_count_together() {
    let (mut life, id) = raised(&with_policy(&plain(), 1, json!({})));
    assert_eq!(life.escalate(id, 10.0).expect("open").escalation_level, 2);
    // Its timeout counts from when it got there.
    assert_eq!(steps(&mut life, id, 49.9), [(10.0, 2)]);
    assert_eq!(steps(&mut life, id, 5_000.0), [(10.0, 2), (50.0, 1), (65.0, 2)]);
    // On the last level of a chain that repeats the next one is level 1; of one that does not there is none.
    let (mut life, id) = raised(&with_policy(&plain(), 1, json!({"repeat_after_minutes": null})));
    life.escalate(id, 7.0).expect("open");
    let error = life.escalate(id, 8.0).expect_err("the last level");
    assert_eq!(error.kind(), Kind::Conflict, "{error}");
    let (mut life, id) = raised(&with_policy(&plain(), 1, json!({})));
    life.escalate(id, 7.0).expect("open");
    assert_eq!(life.escalate(id, 8.0).expect("it repeats").escalation_level, 1);
}

#[test]
fn the_rules_minutes_replace_level_ones_timeout_in_the_first_cycle() {
    let quick = rule("breach", "sla_breach", json!({}), json!({"escalation_after_minutes": 5}));
    let (mut life, id) = raised(&with_policy(&known(1, std::slice::from_ref(&quick)), 1, json!({})));
    assert_eq!(steps(&mut life, id, 5_000.0), [(11.0, 2), (51.0, 1), (66.0, 2)]);
    // Without a policy there is that one step, and two more by hand.
    let (mut life, id) = raised(&known(1, &[quick]));
    assert_eq!(steps(&mut life, id, 5_000.0), [(11.0, 2)]);
    assert_eq!(life.escalate(id, 5_001.0).expect("level 3").escalation_level, 3);
    assert_eq!(life.escalate(id, 5_002.0).expect("level 4").escalation_level, 4);
    assert_eq!(life.escalate(id, 5_003.0).expect_err("three steps").kind(), Kind::Conflict);
    let (mut life, id) = raised(&plain());
    assert_eq!(steps(&mut life, id, 5_000.0), []);
}

#[test]
fn an_alert_keeps_the_policy_it_was_raised_with_and_its_timers() {
    let first = with_policy(&plain(), 1, json!({}));
    let (mut life, id) = raised(&first);
    let levels = json!({"levels": [{"level": 1, "timeout_minutes": 1, "channels": ["log"]}], "max_escalations": 1});
    let second = with_policy(&plain(), 2, levels);
    assert!(life.tell(TakeKnown { known: second.clone(), at: Some(m(10.0)) }));
    let mut changed = breach();
    (changed.version, changed.escalation_after_minutes) = (2, Some(1));
    let third = Known { rules: known(2, &[changed]).rules, ..second };
    assert!(life.tell(TakeKnown { known: third, at: Some(m(11.0)) }));
    assert_eq!(steps(&mut life, id, 5_000.0), [(21.0, 2), (61.0, 1), (76.0, 2)]);
    assert_eq!(life.alert(id).metadata["escalation_policy"], "p1");
}

#[test]
fn acknowledging_stops_the_chain_and_what_is_not_resolved_in_time_starts_again() {
    let with = with_policy(&plain(), 1, json!({"ack_timeout_minutes": 60, "max_escalations": 5}));
    let (mut life, id) = raised(&with);
    life.run_until(21.0);
    life.ack(id, 22.0).expect("escalated");
    assert_eq!(steps(&mut life, id, 81.9), [(21.0, 2)]);
    assert_eq!(life.alert(id).status, Acknowledged);
    assert_eq!(steps(&mut life, id, 82.0), [(21.0, 2), (82.0, 1)]);
    let alert = life.alert(id);
    assert_eq!((alert.status, alert.escalation_history[1].reason.as_ref()), (Escalated, "ack_timeout"));
    assert_eq!(steps(&mut life, id, 97.0), [(21.0, 2), (82.0, 1), (97.0, 2)], "level 1 has its own timeout again");
    // Acknowledged again, and resolved in time: silence.
    life.ack(id, 98.0).expect("escalated");
    life.resolve(id, 99.0).expect("acknowledged");
    assert_eq!(steps(&mut life, id, 5_000.0).len(), 3);
    // Without an acknowledgement timeout an acknowledged alert stays where it is.
    let (mut life, id) = raised(&with_policy(&plain(), 1, json!({})));
    life.ack(id, 7.0).expect("open");
    assert_eq!(steps(&mut life, id, 5_000.0), []);
}

#[test]
fn after_downtime_one_overdue_step_is_taken_and_the_next_is_timed_from_then() {
    let (mut life, id) = raised(&with_policy(&plain(), 1, json!({})));
    assert_eq!(life.run_at(1_000.0).escalated.len(), 1);
    assert_eq!(life.alert(id).escalation_level, 2);
    assert_eq!(steps(&mut life, id, 5_000.0), [(1_000.0, 2), (1_040.0, 1), (1_055.0, 2)]);
    // The same by the command that is asked for.
    let (mut life, id) = raised(&with_policy(&plain(), 1, json!({})));
    assert_eq!(life.tell(EscalateDue { at: Some(m(20.9)) }), []);
    let escalated = life.tell(EscalateDue { at: Some(m(500.0)) });
    assert_eq!((escalated.len(), escalated[0].alert_id), (1, id));
    assert_eq!(life.tell(EscalateDue { at: Some(m(500.0)) }), [], "one step each");
    let error = life.try_tell(EscalateDue { at: Some(m(499.0)) }).expect_err("before the last step");
    assert_eq!(error.kind(), Kind::Invalid);
}

#[test]
fn a_level_with_nobody_to_tell_is_recorded_and_passed_at_once() {
    let levels = json!([
        {"level": 1, "timeout_minutes": 15, "channels": ["slack"]},
        {"level": 2, "timeout_minutes": 10, "channels": []},
        {"level": 3, "timeout_minutes": 10, "channels": ["sms"]},
    ]);
    let (mut life, id) = raised(&with_policy(&plain(), 1, json!({ "levels": levels })));
    assert_eq!(steps(&mut life, id, 21.0), [(21.0, 2), (21.0, 3)]);
    let reasons: Vec<_> = life.alert(id).escalation_history.iter().map(|step| step.reason.to_string()).collect();
    assert_eq!(reasons, ["timeout", "nobody_to_tell"]);
    assert_eq!(steps(&mut life, id, 5_000.0), [(21.0, 2), (21.0, 3), (61.0, 1)], "every step counts");
    let (mut life, id) = raised(&with_policy(&plain(), 1, json!({ "levels": levels })));
    let alert = life.escalate(id, 7.0).expect("open");
    assert_eq!((alert.escalation_level, alert.escalation_history.len()), (3, 2), "also by hand");
    assert_eq!(alert.escalation_history[1].by.as_ref(), "system");
}

#[test]
fn an_acknowledgement_that_races_wins_or_loses_cleanly() {
    let with = with_policy(&plain(), 1, json!({}));
    // Before the timer: the timer that was overtaken does nothing.
    let (mut life, id) = raised(&with);
    life.ack(id, 21.0).expect("open");
    assert_eq!(life.run_at(21.0).escalated, []);
    // After it: an escalated alert is acknowledged.
    let (mut life, id) = raised(&with);
    assert_eq!(life.run_at(21.0).escalated.len(), 1);
    assert_eq!(life.ack(id, 21.0).expect("escalated").status, Acknowledged);
    // A resolution that comes first is never reopened.
    life.resolve(id, 22.0).expect("acknowledged");
    assert_eq!(life.ack(id, 22.0).expect_err("resolved").kind(), Kind::Conflict);
    assert_eq!(life.alert(id).status, Resolved);
    assert_eq!(life.run_at(5_000.0).escalated, []);
}

#[test]
fn alerts_are_listed_by_status_and_severity() {
    use crate::rules::AlertSeverity;
    let known = known(1, &[breach(), warning(100.0)]);
    let mut life = Life::new();
    let a = life.tell(check("a", &known, 1.0)).alerts[0].alert_id;
    let b = life.tell(check("b", &known, 6.0)).alerts[0].alert_id;
    life.resolve(a, 6.0).expect("open");
    let ask = |severity, wanted| {
        let alerts = life.org().ask(GetActiveAlerts { severity, wanted }).expect("an answer");
        alerts.into_iter().map(|alert| alert.alert_id).collect::<Vec<_>>()
    };
    assert_eq!(ask(None, Wanted::Unresolved), [b]);
    assert_eq!(ask(None, Wanted::All), [a, b]);
    assert_eq!(ask(None, Wanted::Only(Resolved)), [a]);
    assert_eq!(ask(Some(AlertSeverity::Critical), Wanted::All), [b]);
    assert!(ask(Some(AlertSeverity::Info), Wanted::All).is_empty());
    assert_eq!(life.org().ask(GetAlert { alert_id: Uuid::nil() }), Ok(None));
}
