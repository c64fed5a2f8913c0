//! Suppressions: what they keep, when they end, what happens then.

use super::*;
use crate::error::Kind;

fn suppression(number: u128, pattern: &str, minutes: u32, at: f64) -> AddSuppression {
    AddSuppression {
        suppression_id: Uuid::from_u128(number),
        org_id: org_id(),
        rule_pattern: pattern.into(),
        duration_minutes: minutes,
        reason: "works on the line".into(),
        created_by: "ann".into(),
        at: Some(m(at)),
    }
}

fn remove(number: u128, at: f64) -> RemoveSuppression {
    RemoveSuppression { suppression_id: Uuid::from_u128(number), at: Some(m(at)) }
}

impl Life {
    fn is_suppressed(&self, rule_id: &str, at: f64) -> bool {
        self.org().ask(IsSuppressed { rule_id: rule_id.into(), at: Some(m(at)) }).expect("an answer")
    }
}

#[test]
fn it_holds_from_its_first_instant_to_its_last_and_is_removed_once() {
    let mut life = Life::new();
    let added = life.tell(suppression(1, "br.*", 10, 2.0));
    assert_eq!(
        json!(added),
        json!({
            "suppression_id": Uuid::from_u128(1), "org_id": "org", "rule_pattern": "br.*", "created_at": m(2.0),
            "expires_at": m(12.0), "reason": "works on the line", "created_by": "ann",
        })
    );
    for (rule, at, expected) in [
        ("breach", 1.999, false),
        ("breach", 2.0, true),
        ("breach", 11.999, true),
        ("breach", 12.0, false),
        ("warning", 5.0, false),
        ("abreach", 5.0, false),
    ] {
        assert_eq!(life.is_suppressed(rule, at), expected, "{rule} at {at}");
    }
    assert_eq!(life.tell(suppression(1, "br.*", 10, 3.0)), added, "told twice");
    life.by("bob");
    assert!(life.tell(remove(1, 5.0)));
    assert!(!life.tell(remove(1, 5.0)) && !life.tell(remove(2, 5.0)));
    assert!(!life.is_suppressed("breach", 5.0) && life.is_suppressed("breach", 4.999));
    let list = |all| {
        let asked = GetActiveSuppressions { all, at: Some(m(6.0)) };
        life.org().ask(asked).expect("an answer").into_iter().map(|known| known.removed_at).collect::<Vec<_>>()
    };
    assert_eq!((list(false), list(true)), (vec![], vec![Some(m(5.0))]), "the record is kept");
    // One that has expired is not there to be removed.
    let mut life = Life::new();
    life.tell(suppression(1, "br.*", 10, 2.0));
    assert_eq!(life.try_tell(remove(1, 1.0)).expect_err("before it was made").kind(), Kind::Invalid);
    assert!(!life.tell(remove(1, 12.0)));
}

#[test]
fn what_is_due_meanwhile_is_recorded_tells_nobody_and_is_raised_at_the_end() {
    let known = known(1, &[breach(), warning(25.0)]);
    let mut life = Life::new();
    life.tell(suppression(1, ".*", 10, 0.0));
    life.tell(check_i(&known, 0.0));
    assert_eq!(life.run_until(9.999).raised, []);
    assert_eq!(life.alerts(Wanted::Unresolved), []);
    let suppressed = life.alerts(Wanted::Only(AlertStatus::Suppressed));
    assert_eq!(rules_of(&suppressed), ["warning", "breach"]);
    assert_eq!(suppressed[0].metadata["suppression_id"], json!(Uuid::from_u128(1)));
    // The breach still holds, the warning does not.
    let raised = life.run_until(10.0).raised;
    assert_eq!((rules_of(&raised), raised[0].created_at), (vec!["breach"], m(10.0)));
    assert_ne!(raised[0].alert_id, suppressed[1].alert_id);
    for transition in [Life::ack, Life::resolve, Life::escalate] {
        let error = transition(&mut life, suppressed[0].alert_id, 11.0).expect_err("suppressed is final");
        assert_eq!(error.kind(), Kind::Conflict);
    }
}

#[test]
fn a_check_meanwhile_says_what_was_kept_and_records_it_once() {
    let known = known(1, &[breach()]);
    let mut life = Life::new();
    life.tell(suppression(1, "breach", 10, 0.0));
    for at in [6.0, 7.0, 8.0] {
        let report = life.tell(check_i(&known, at));
        assert_eq!((report.alerts.len(), held(&report)), (0, vec!["breach"]));
        assert!(report.held_back[0].reason.contains("works on the line"));
    }
    assert_eq!(life.alerts(Wanted::All).len(), 1);
    // It counts for no window: the alert is raised by the first check after the end.
    let report = life.tell(check_i(&known, 10.0));
    assert_eq!(rules_of(&report.alerts), ["breach"]);
    assert_eq!(life.run_until(60.0).raised, [], "and not twice");
}

#[test]
fn one_that_is_removed_releases_what_it_kept_and_another_may_keep_it_on() {
    let known = known(1, &[breach()]);
    let mut life = Life::new();
    life.tell(suppression(1, "breach", 60, 0.0));
    life.tell(suppression(2, "b.*", 20, 0.0));
    life.tell(check_i(&known, 6.0));
    assert!(life.tell(remove(1, 10.0)));
    assert_eq!(life.run_until(19.999).raised, [], "the other one still matches");
    assert_eq!(rules_of(&life.run_until(20.0).raised), ["breach"]);
    let mut life = Life::new();
    life.tell(suppression(1, "breach", 60, 0.0));
    life.tell(check_i(&known, 6.0));
    assert!(life.tell(remove(1, 10.0)));
    let raised = life.run_until(10.0).raised;
    assert_eq!((rules_of(&raised), raised[0].created_at), (vec!["breach"], m(10.0)));
    // An incident that has proved to be in time meanwhile is not raised.
    let mut life = Life::new();
    life.tell(suppression(1, "breach", 60, 0.0));
    life.tell(check_i(&known, 6.0));
    life.tell(CheckIncident { arrival_time: Some(m(4.0)), ..check_i(&known, 7.0) });
    assert_eq!(life.run_until(500.0).raised, []);
}

#[test]
fn a_true_breach_that_has_arrived_is_raised_when_the_suppression_ends() {
    let known = known(1, &[breach()]);
    let mut life = Life::new();
    life.tell(suppression(1, "breach", 60, 0.0));
    life.tell(CheckIncident { arrival_time: Some(m(6.0)), ..check_i(&known, 6.0) });
    assert_eq!(rules_of(&life.run_until(60.0).raised), ["breach"]);
}

#[test]
fn alerts_from_before_keep_their_life_and_only_their_messages_are_held_back() {
    let mut life = Life::new();
    let id = life.tell(check_i(&with_policy(&known(1, &[breach()]), 1, json!({})), 6.0)).alerts[0].alert_id;
    life.tell(suppression(1, "breach", 30, 7.0));
    life.run_until(62.0);
    let held: Vec<_> = life
        .org()
        .history()
        .iter()
        .filter_map(|event| match event {
            Event::Escalated(step) => Some(step.held_back_by.is_some()),
            _ => None,
        })
        .collect();
    assert_eq!(held, [true, false], "the first step falls into it, the second does not");
    assert_eq!(life.ack(id, 62.0).expect("escalated").status, AlertStatus::Acknowledged);
}

#[test]
fn a_pattern_that_was_kept_is_not_raised_later() {
    let pattern = rule("pattern", "pattern", json!({"consecutive_breaches": 1}), json!({}));
    let known = known(1, &[pattern]);
    let mut life = Life::new();
    life.tell(suppression(1, "pattern", 10, 0.0));
    let report = life.tell(check_i(&known, 6.0));
    assert_eq!((report.alerts.len(), held(&report)), (0, vec!["pattern"]));
    assert_eq!(life.run_until(500.0).raised, [], "it happened once, and nothing of it holds");
    assert_eq!(rules_of(&life.alerts(Wanted::All)), ["pattern"]);
}

#[test]
fn what_it_may_not_be_is_refused_by_name() {
    let mut life = Life::new();
    let good = suppression(1, ".*", 10, 0.0);
    for (command, field) in [
        (AddSuppression { rule_pattern: "(".into(), ..good.clone() }, "rule_pattern"),
        (AddSuppression { rule_pattern: String::new(), ..good.clone() }, "rule_pattern"),
        (AddSuppression { duration_minutes: 0, ..good.clone() }, "duration_minutes"),
        (AddSuppression { duration_minutes: u32::MAX, ..good.clone() }, "duration_minutes"),
        (AddSuppression { reason: " ".into(), ..good.clone() }, "reason"),
        (AddSuppression { created_by: String::new(), ..good.clone() }, "created_by"),
    ] {
        let error = life.try_tell(command).expect_err(field);
        assert!(matches!(&error, crate::error::Error::Invalid(invalid) if invalid.field == field), "{error}");
    }
    assert_eq!(life.org().history(), []);
}
