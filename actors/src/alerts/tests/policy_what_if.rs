//! Another policy on recorded alerts: the same people at the same instants, other steps.

use super::*;

fn policy(changes: Value) -> EscalationPolicy {
    with_policy(&known(1, &[]), 1, changes).policy.expect("a policy").policy.clone()
}

fn run(life: &Life, policy: EscalationPolicy, from: f64) -> PolicyWhatIf {
    let mut run = PolicyWhatIfRun::new(org_id(), policy, m(from)).expect("a good policy");
    life.org().history().iter().for_each(|event| run.take(event).expect("it happened"));
    run.finish()
}

fn steps(of: &[WhatIfStep]) -> Vec<(f64, u8, u32)> {
    let minutes = |at: Timestamp| (at.as_micros() - m(0.0).as_micros()) as f64 / MICROS_PER_MINUTE as f64;
    of.iter().map(|step| (minutes(step.at), step.to_level, step.cycle)).collect()
}

/// Raised at 5 minutes; by the policy of the org level 2 at 20, level 1 again at 60, and level 2 at 75, unless somebody comes.
fn life() -> (Life, Known, Uuid) {
    let known = with_policy(&known(1, &[breach()]), 1, json!({}));
    let mut life = Life::new();
    life.tell(check_i(&known, 0.0));
    let raised = life.run_until(10.0).raised;
    (life, known, raised[0].alert_id)
}

#[test]
fn the_same_policy_takes_the_same_steps() {
    let (mut life, known, _) = life();
    life.run_until(100.0);
    life.tell(check("other", &known, 101.0));
    let what_if = run(&life, policy(json!({})), 0.0);
    assert_eq!(steps(&what_if.recorded), [(20.0, 2, 1), (60.0, 1, 2), (75.0, 2, 2)]);
    assert_eq!(what_if.proposed, what_if.recorded);
    assert_eq!((&what_if.added[..], &what_if.removed[..], &what_if.moved[..]), (&[][..], &[][..], &[][..]));
    assert_eq!(what_if.messages_proposed, what_if.messages_recorded);
    assert_eq!((what_if.alerts, what_if.refused), (2, 0));
}

#[test]
fn another_policy_adds_moves_and_leaves_out_steps() {
    let (mut life, known, alert) = life();
    life.run_until(100.0);
    life.tell(check_i(&known, 101.0));
    // Level 2 is passed after 3 minutes, there is a third, and nothing is repeated.
    let levels = json!([
        {"level": 1, "timeout_minutes": 3, "channels": []},
        {"level": 2, "timeout_minutes": 7, "channels": ["sms", "push"]},
        {"level": 3, "timeout_minutes": 5, "channels": ["radio"]},
    ]);
    let proposed = policy(json!({"levels": levels, "repeat_after_minutes": null}));
    let what_if = run(&life, proposed.clone(), 0.0);
    assert_eq!(steps(&what_if.proposed), [(8.0, 2, 1), (15.0, 3, 1)]);
    assert_eq!(steps(&what_if.added), [(15.0, 3, 1)]);
    assert_eq!(steps(&what_if.removed), [(60.0, 1, 2), (75.0, 2, 2)]);
    assert_eq!((what_if.moved.len(), what_if.moved[0].recorded_at, what_if.moved[0].step.at), (1, m(20.0), m(8.0)));
    // Mail and level 1's slack at the raise, then sms, slack, sms; mail, then sms and push, radio.
    assert_eq!((what_if.messages_recorded, what_if.messages_proposed), (5, 4));
    let step = &what_if.proposed[0];
    assert_eq!((step.alert_id, step.rule_id.as_str(), step.incident_id.as_deref()), (alert, "breach", Some("i")));
    let later = run(&life, proposed, 10.0);
    assert_eq!((steps(&later.proposed), later.alerts, later.messages_proposed), (vec![(15.0, 3, 1)], 0, 1));
}

#[test]
fn what_people_did_is_done_again_when_they_did_it() {
    let (mut life, known, alert) = life();
    life.run_until(20.0);
    life.ack(alert, 30.0).expect("escalated");
    life.resolve(alert, 90.0).expect("acknowledged");
    life.tell(check("other", &known, 300.0));
    // Twice as fast, the chain has gone on to level 1 before anybody comes; acknowledged for 20 minutes it starts again.
    let levels = json!([
        {"level": 1, "timeout_minutes": 5, "channels": ["slack"]},
        {"level": 2, "timeout_minutes": 5, "channels": ["sms"]},
    ]);
    let changes = json!({"levels": levels, "repeat_after_minutes": 5, "ack_timeout_minutes": 20, "max_escalations": 4});
    let what_if = run(&life, policy(changes), 0.0);
    let of_first: Vec<WhatIfStep> = what_if.proposed.iter().filter(|it| it.alert_id == alert).cloned().collect();
    assert_eq!(steps(&of_first), [(10.0, 2, 1), (20.0, 1, 2), (25.0, 2, 2), (50.0, 1, 3)]);
    assert_eq!(
        of_first.iter().map(|step| step.reason.as_str()).collect::<Vec<_>>(),
        ["timeout", "timeout", "timeout", "ack_timeout"]
    );
    // Four are all; without that limit it goes on after the acknowledgement until the resolution.
    let levels = json!([{"level": 1, "timeout_minutes": 5, "channels": ["slack"]}]);
    let changes =
        json!({"levels": levels, "repeat_after_minutes": 15, "ack_timeout_minutes": 20, "max_escalations": 9});
    let what_if = run(&life, policy(changes), 0.0);
    let of_first: Vec<WhatIfStep> = what_if.proposed.into_iter().filter(|it| it.alert_id == alert).collect();
    assert_eq!(steps(&of_first), [(25.0, 1, 2), (50.0, 1, 3), (70.0, 1, 4), (90.0, 1, 5)]);
}

#[test]
fn a_step_by_hand_is_taken_if_the_policy_has_one() {
    let (mut life, known, alert) = life();
    life.escalate(alert, 12.0).expect("open");
    life.tell(check("other", &known, 13.0));
    let what_if = run(&life, policy(json!({})), 0.0);
    assert_eq!((steps(&what_if.proposed), what_if.refused), (vec![(12.0, 2, 1)], 0));
    assert_eq!(what_if.proposed, what_if.recorded);
    let what_if = run(&life, policy(json!({"max_escalations": 0})), 0.0);
    assert_eq!((steps(&what_if.proposed), what_if.refused), (vec![], 1));
    assert_eq!(steps(&what_if.removed), [(12.0, 2, 1)]);
}

#[test]
fn what_was_told_late_is_escalated_at_its_own_instants() {
    let known = with_policy(&known(1, &[breach()]), 1, json!({}));
    let mut life = Life::new();
    life.tell(CheckIncident { dispatch_time: m(1_000.0), ..check("other", &known, 1_000.0) });
    let late = CheckIncident { arrival_time: Some(m(9.0)), ..check("i", &known, 9.0) };
    let alert = life.tell(late).alerts[0].alert_id;
    life.tell(EscalateDue { at: Some(m(24.0)) });
    life.escalate(alert, 30.0).expect("escalated");
    let what_if = run(&life, policy(json!({})), 0.0);
    assert_eq!(steps(&what_if.recorded), [(24.0, 2, 1), (30.0, 1, 2)]);
    assert_eq!(what_if.proposed, what_if.recorded);
}

#[test]
fn a_policy_that_could_not_be_followed_is_refused() {
    let bad = EscalationPolicy { max_escalations: 1_001, ..policy(json!({})) };
    assert!(PolicyWhatIfRun::new(org_id(), bad, m(0.0)).is_err());
}
