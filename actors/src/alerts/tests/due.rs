//! Deadlines: at their instant, once, in order, and late rather than never.

use super::*;

#[test]
fn warnings_and_breaches_come_due_at_their_instants_and_once() {
    let known = known(1, &[breach(), warning(25.0)]);
    let mut life = Life::new();
    life.tell(check_i(&known, 0.0));
    assert_eq!(life.run_until(3.7499).raised, []);
    let raised = life.run_until(3.75).raised;
    assert_eq!((rules_of(&raised), raised[0].created_at), (vec!["warning"], m(3.75)));
    assert_eq!(raised[0].metadata["due_at"], json!(m(3.75)));
    assert_eq!(raised[0].metadata["late"], false);
    assert_eq!(life.run_until(4.9999).raised, []);
    let raised = life.run_until(5.0).raised;
    assert_eq!((rules_of(&raised), raised[0].created_at), (vec!["breach"], m(5.0)));
    assert_eq!(life.run_until(5_000.0).raised, []);
    assert_eq!(life.alerts(Wanted::All).len(), 2);
}

#[test]
fn what_came_due_while_the_process_was_down_is_raised_in_order_and_marked_late() {
    let known = known(1, &[breach(), warning(25.0)]);
    let mut life = Life::new();
    life.tell(check("a", &known, 0.0));
    life.tell(CheckIncident { dispatch_time: m(1.0), ..check("b", &known, 1.0) });
    let report = life.run_at(60.0);
    let raised: Vec<_> = report
        .raised
        .iter()
        .map(|alert| (alert.incident_id.as_deref().unwrap_or_default(), alert.rule_id.as_str()))
        .collect();
    assert_eq!(raised, [("a", "warning"), ("b", "warning"), ("a", "breach"), ("b", "breach")]);
    for (alert, due) in report.raised.iter().zip([3.75, 4.75, 5.0, 6.0]) {
        assert_eq!((alert.created_at, &alert.metadata["due_at"]), (m(60.0), &json!(m(due))));
        assert_eq!(alert.metadata["late"], true);
    }
    assert_eq!(report.judged, 4);
    assert_eq!(life.run_at(60.0).judged, 0);
}

#[test]
fn a_second_is_not_late() {
    let known = known(1, &[breach()]);
    for (micros, late) in [(0, false), (1_000_000, false), (1_000_001, true)] {
        let mut life = Life::new();
        life.tell(check_i(&known, 0.0));
        let raised = life.run_at(5.0 + f64::from(micros) / 6e7).raised;
        assert_eq!(raised[0].metadata["late"], late, "{micros} µs after");
    }
}

#[test]
fn a_check_that_came_first_leaves_nothing_due() {
    let known = known(1, &[breach(), warning(25.0)]);
    let mut life = Life::new();
    life.tell(check_i(&known, 0.0));
    assert_eq!(rules_of(&life.tell(check_i(&known, 6.0)).alerts), ["breach"], "a warning would be no news any more");
    assert_eq!(life.run_at(6.0).judged, 0);
}

#[test]
fn a_rule_that_comes_later_is_judged_on_what_is_open_from_then_on() {
    let none = known(0, &[]);
    let mut life = Life::new();
    life.tell(check("a", &none, 0.0));
    life.tell(check("b", &none, 4.0));
    life.tell(CheckIncident { dispatch_time: m(4.0), ..check("c", &none, 4.0) });
    assert_eq!(life.run_until(4.2).raised, []);
    assert!(life.tell(TakeKnown { known: known(1, &[warning(25.0)]), at: Some(m(4.2)) }));
    assert!(!life.tell(TakeKnown { known: known(1, &[warning(25.0)]), at: Some(m(4.2)) }), "it is known");
    let raised = life.run_until(4.2).raised;
    let incidents: Vec<_> = raised.iter().map(|alert| alert.incident_id.clone().unwrap_or_default()).collect();
    assert_eq!(incidents, ["a", "b"]);
    assert_eq!(raised[0].created_at, m(4.2));
    let raised = life.run_until(8.0).raised;
    assert_eq!((raised.len(), raised[0].created_at), (1, m(7.75)));
    // A second version with a longer warning: `c` was told of already, so nothing is new.
    let mut second = warning(50.0);
    second.version = 2;
    let known = known(2, &[second]);
    assert!(life.tell(TakeKnown { known: known.clone(), at: Some(m(8.0)) }));
    assert_eq!(life.run_until(8.5).raised, []);
    let report = life.tell(CheckIncident { dispatch_time: m(8.0), ..check("d", &known, 11.0) });
    assert_eq!(report.alerts[0].rule_version, 2, "an alert records the version that fired");
}

#[test]
fn a_rule_that_is_gone_or_disabled_raises_nothing_any_more() {
    let mut life = Life::new();
    life.tell(check_i(&known(1, &[breach(), warning(25.0)]), 0.0));
    let mut off = warning(25.0);
    (off.version, off.enabled) = (2, false);
    life.tell(TakeKnown { known: known(2, &[off]), at: Some(m(1.0)) });
    assert_eq!(life.run_until(60.0).raised, []);
}

#[test]
fn many_at_the_same_instant_are_all_raised() {
    let known = known(1, &[breach()]);
    let mut life = Life::new();
    for number in 0..50 {
        life.tell(check(&format!("i{number}"), &known, 0.0));
    }
    let report = life.run_until(5.0);
    assert_eq!((report.raised.len(), report.judged), (50, 50));
    assert!(report.raised.iter().all(|alert| alert.created_at == m(5.0)));
}

#[test]
fn an_org_that_nothing_is_known_of_has_nothing_due() {
    let mut life = Life::new();
    assert_eq!(life.run_at(5.0), RunDueReport { judged: 0, raised: vec![], escalated: vec![], has_more: false });
    assert_eq!(life.tell(EscalateDue { at: None }), []);
    assert_eq!(life.alerts(Wanted::All), []);
    assert_eq!(life.org().ask(GetNextDue), Ok(None));
}

#[test]
fn several_warnings_of_an_incident_that_came_due_while_the_process_was_down_are_raised_once_each() {
    let mut early = warning(50.0);
    early.rule_id = "early".into();
    let known = known(1, &[breach(), warning(25.0), early]);
    let mut life = Life::new();
    life.tell(check_i(&known, 0.0));
    let raised = life.run_at(60.0).raised;
    assert_eq!(rules_of(&raised), ["early", "warning", "breach"]);
    let due: Vec<_> = raised.iter().map(|alert| alert.metadata["due_at"].clone()).collect();
    assert_eq!(due, [json!(m(2.5)), json!(m(3.75)), json!(m(5.0))]);
    assert_eq!(life.alerts(Wanted::All).len(), 3);
}

#[test]
fn a_breach_counts_once_for_a_pattern_when_its_incident_is_due_again_at_once() {
    let pattern = rule("pattern", "pattern", json!({"consecutive_breaches": 2}), json!({}));
    let known = known(1, &[breach(), pattern, warning(100.0)]);
    let mut life = Life::new();
    life.tell(AddSuppression {
        suppression_id: Uuid::from_u128(1),
        org_id: org_id(),
        rule_pattern: "warning".into(),
        duration_minutes: 7,
        reason: "exercise".into(),
        created_by: "ann".into(),
        at: Some(m(0.0)),
    });
    // Due at its breach, and again when the suppression ends.
    assert_eq!(held(&life.tell(check_i(&known, 0.0))), ["warning"]);
    assert_eq!(rules_of(&life.run_at(60.0).raised), ["breach"]);
}
