//! Given, when, then for escalation policies, and tables for the chain.

use serde_json::{Value, json};

use super::*;
use crate::domain::Timestamp;
use crate::runtime::testing::{Observed, Scenario};

impl Observed for Escalation {
    fn observed(&self) -> String {
        format!("{self:?}")
    }
}

fn policy_json(changes: Value) -> Value {
    let mut policy = json!({
        "policy_id": "p", "name": "Night", "max_escalations": 3, "repeat_after_minutes": 30,
        "levels": [
            {"level": 1, "timeout_minutes": 15, "channels": ["email"]},
            {"level": 2, "timeout_minutes": 10, "channels": ["sms", "push"]},
        ],
    });
    for (name, value) in changes.as_object().expect("an object") {
        policy[name] = value.clone();
    }
    policy
}

#[track_caller]
fn policy(changes: Value) -> EscalationPolicy {
    EscalationPolicy::from_json(&policy_json(changes)).expect("a good policy")
}

fn minute(minutes: i64) -> Timestamp {
    Timestamp::EPOCH.saturating_add_micros(minutes * 60_000_000)
}

/// Every step that comes by itself, as `(minute, level, cycle)`, of an alert raised at minute 0.
fn walk(policy: Option<&EscalationPolicy>, escalation_after: Option<u32>) -> Vec<(i64, u8, u32)> {
    let mut step = Step { level: 1, cycle: 1, steps: 0, since: minute(0) };
    let mut taken = Vec::new();
    while let Some(next) = after_timeout(policy, escalation_after, step) {
        step = Step { level: next.level, cycle: next.cycle, steps: step.steps + 1, since: next.at };
        taken.push((next.at.as_micros() / 60_000_000, next.level, next.cycle));
        assert!(taken.len() < 2_000, "the chain never ends");
    }
    taken
}

#[test]
fn a_policy_is_in_force_until_the_next_and_setting_it_twice_changes_nothing() {
    let (day, night) = (policy(json!({"name": "Day"})), policy(json!({})));
    let version = |revision, policy: &EscalationPolicy| PolicyVersion { revision, policy: policy.clone() };
    let set = |policy: &EscalationPolicy| Event::PolicySet(PolicySet { policy: policy.clone() });
    let empty = Scenario::<Escalation>::given([]);
    assert_eq!(empty.ask(GetPolicy), Ok(None));
    let both = empty
        .when(SetPolicy { policy: day.clone() })
        .then([set(&day)], version(1, &day))
        .when(SetPolicy { policy: day.clone() })
        .then_nothing_but(version(1, &day))
        .when(SetPolicy { policy: night.clone() })
        .then([set(&night)], version(2, &night));
    assert_eq!(both.ask(GetPolicy), Ok(Some(version(2, &night))));
    assert_eq!(EscalationPolicy::from_json(&json!(night)), Ok(night), "what is shown can be read again");
}

#[test]
fn the_chain_waits_at_each_level_repeats_and_ends() {
    let levels = |levels: Value| json!({ "levels": levels });
    let none_at_2 = levels(json!([
        {"level": 1, "timeout_minutes": 15, "channels": ["email"]},
        {"level": 2, "timeout_minutes": 10, "channels": []},
        {"level": 3, "timeout_minutes": 10, "channels": ["email"]},
    ]));
    let one = levels(json!([{"level": 1, "timeout_minutes": 15, "channels": ["email"]}]));
    let nobody = levels(json!([
        {"level": 1, "timeout_minutes": 15, "channels": []}, {"level": 2, "timeout_minutes": 10, "channels": []},
    ]));
    for (what, changes, after, expected) in [
        ("the specification's example", json!({}), None, vec![(15, 2, 1), (55, 1, 2), (70, 2, 2)]),
        ("the rule's minutes in the first cycle only", json!({}), Some(5), vec![(5, 2, 1), (45, 1, 2), (60, 2, 2)]),
        ("no repeat: the last level is the end", json!({"repeat_after_minutes": null}), None, vec![(15, 2, 1)]),
        ("no steps allowed", json!({"max_escalations": 0}), None, vec![]),
        ("one step allowed", json!({"max_escalations": 1}), None, vec![(15, 2, 1)]),
        ("a level with nobody is passed at once", none_at_2, None, vec![(15, 2, 1), (15, 3, 1), (55, 1, 2)]),
        ("one level, repeated", one, None, vec![(45, 1, 2), (90, 1, 3), (135, 1, 4)]),
        ("nobody anywhere: steps are used up", nobody, None, vec![(15, 2, 1), (45, 1, 2), (45, 2, 2)]),
    ] {
        assert_eq!(walk(Some(&policy(changes)), after), expected, "{what}");
    }
    assert_eq!(walk(None, None), [], "without a policy nothing comes by itself");
    assert_eq!(walk(None, Some(7)), [(7, 2, 1)], "but one step, when the rule asks for it");
}

#[test]
fn by_hand_one_level_up_at_once_until_the_steps_or_the_levels_are_used_up() {
    let step = |level, cycle, steps| Step { level, cycle, steps, since: minute(0) };
    let repeating = policy(json!({}));
    let ending = policy(json!({"repeat_after_minutes": null}));
    for (policy, from, expected) in [
        (Some(&repeating), step(1, 1, 0), Ok((2, 1))),
        (Some(&repeating), step(2, 1, 1), Ok((1, 2))),
        (Some(&repeating), step(2, 2, 3), Err("it has taken all of its 3 escalations")),
        (Some(&ending), step(1, 1, 0), Ok((2, 1))),
        (Some(&ending), step(2, 1, 1), Err("it is on the last level, 2, and the chain does not repeat")),
        (None, step(1, 1, 0), Ok((2, 1))),
        (None, step(3, 1, 2), Ok((4, 1))),
        (None, step(4, 1, 3), Err("it has taken all of its 3 escalations")),
    ] {
        let next = by_hand(policy, from, minute(3)).map(|next| {
            assert_eq!(next.at, minute(3));
            (next.level, next.cycle)
        });
        assert_eq!(next, expected.map_err(str::to_owned), "{from:?}");
    }
}

#[test]
fn an_acknowledgement_that_leads_to_nothing_starts_the_chain_again() {
    let step = Step { level: 2, cycle: 1, steps: 1, since: minute(15) };
    let next = |policy: &EscalationPolicy, step| after_acknowledgement(Some(policy), step, minute(20));
    let with = policy(json!({"ack_timeout_minutes": 60}));
    assert_eq!(next(&with, step), Some(Next { at: minute(80), level: 1, cycle: 2 }));
    assert_eq!(next(&with, Step { steps: 3, ..step }), None, "every step counts");
    assert_eq!(next(&policy(json!({})), step), None, "not asked for");
    assert_eq!(after_acknowledgement(None, step, minute(20)), None);
}

#[test]
fn what_could_not_be_followed_is_refused_by_name() {
    let level = |changes: Value| {
        let mut level = json!({"level": 1, "timeout_minutes": 15, "channels": []});
        for (name, value) in changes.as_object().expect("an object") {
            level[name] = value.clone();
        }
        json!({ "levels": [level] })
    };
    let ordered = |numbers: &[u8]| {
        let levels: Vec<Value> = numbers.iter().map(|n| json!({"level": n, "timeout_minutes": 1})).collect();
        json!({ "levels": levels })
    };
    for (changes, field, value) in [
        (json!({"policy_id": "a/b"}), "policy_id", "\"a/b\""),
        (json!({"policy_id": null}), "policy_id", "missing"),
        (json!({"name": ""}), "name", "\"\""),
        (json!({"levels": []}), "levels", "0 levels"),
        (json!({"levels": null}), "levels", "missing"),
        (json!({"levels": [1]}), "level", "1"),
        (ordered(&[1, 2, 3, 4, 4]), "levels", "5 levels"),
        (ordered(&[2]), "level", "2"),
        (ordered(&[1, 3]), "level", "3"),
        (level(json!({"level": 5})), "level", "5"),
        (level(json!({"timeout_minutes": 0})), "timeout_minutes", "0"),
        (level(json!({"timeout_minutes": null})), "timeout_minutes", "missing"),
        (level(json!({"channels": ["fax"]})), "channel", "\"fax\""),
        (level(json!({"who": "me"})), "who", "an unknown key"),
        (json!({"repeat_after_minutes": 0}), "repeat_after_minutes", "0"),
        (json!({"max_escalations": 1001}), "max_escalations", "1001"),
        (json!({"ack_timeout_minutes": 0}), "ack_timeout_minutes", "0"),
        (json!({"max_escalation": 3}), "max_escalation", "an unknown key"),
    ] {
        let refusal = EscalationPolicy::from_json(&policy_json(changes.clone())).expect_err(field);
        assert_eq!((refusal.field.as_str(), refusal.value.as_str()), (field, value), "{changes}");
    }
    assert_eq!(policy(json!({"max_escalations": null})).max_escalations, 3);
}
