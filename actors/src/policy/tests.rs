//! Given, when, then for the policy of one org; the rules of the state machine as tables.

mod machine;

use serde_json::{Value, json};

use super::*;
use crate::domain::Timestamp;
use crate::error::{Invalid, Kind};
use crate::runtime::testing::{Observed, Scenario};
use crate::runtime::{Command, Event as _, Given};

const NOW: &str = "2026-03-01T12:00:00Z";

impl Observed for OrgPolicy {
    fn observed(&self) -> String {
        format!("{self:?}")
    }
}

type Org = Scenario<OrgPolicy>;

#[track_caller]
fn t(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn now_plus(seconds: i64) -> Timestamp {
    t(NOW).saturating_add_micros(seconds * 1_000_000)
}

fn empty_org() -> Org {
    Org::given([]).at(t(NOW))
}

fn failures(count: u64) -> RecordOutcomes {
    RecordOutcomes { is_success: false, count, at: None }
}

fn successes(count: u64) -> RecordOutcomes {
    RecordOutcomes { is_success: true, count, at: None }
}

fn manually(action: ManualAction) -> ManualStep {
    ManualStep { action, user: "ana".into(), reason: "storm".into(), at: None }
}

/// The org as its users see it.
fn view(org: &Org) -> Value {
    let view = org.ask(GetPolicy { org_id: "sffd".parse().expect("an id") }).expect("an answer");
    serde_json::to_value(view).expect("JSON")
}

fn policy_of(org: &Org) -> (String, u64, u64) {
    let machine = org.state().machine();
    (org.state().policy().to_string(), machine.failure_burst, machine.success_streak)
}

#[test]
fn an_org_that_nothing_is_known_of_has_the_platforms_policy() {
    assert_eq!(
        view(&empty_org()),
        json!({
            "org_id": "sffd", "policy": "normal", "failure_burst": 0, "success_streak": 0, "history": [],
            "scenario": {
                "name": "platform", "policy_order": ["normal", "watch", "restricted", "halted"],
                "escalation_threshold": 3, "deescalation_thresholds": {"halted": 20, "restricted": 10, "watch": 5},
                "metadata": {},
            },
        })
    );
    assert_eq!(empty_org().ask(GetLastInstant), Ok(None));
    assert_eq!(empty_org().ask(GetHistory), Ok(vec![]));
}

#[test]
fn outcomes_lead_up_and_down_with_their_reasons() {
    let org = empty_org()
        .when(failures(2))
        .then_accepted()
        .at(now_plus(1))
        .when(failures(1))
        .then_accepted()
        .at(now_plus(2))
        .when(successes(5))
        .then_accepted();
    assert_eq!(policy_of(&org), ("normal".into(), 0, 0));
    assert_eq!(
        view(&org)["history"],
        json!([
            {"from": "normal", "to": "watch", "timestamp": "2026-03-01T12:00:01Z", "reason": "failure_burst:3"},
            {"from": "watch", "to": "normal", "timestamp": "2026-03-01T12:00:02Z", "reason": "success_streak:5"},
        ])
    );
    assert_eq!(org.ask(GetCurrent).expect("an answer").as_ref(), "normal");
}

#[test]
fn recording_replies_where_it_led() {
    let steps = |recorded: &Recorded| -> Vec<(String, String)> {
        recorded.transitions.iter().map(|step| (step.from.to_string(), step.reason.to_string())).collect()
    };
    let given = Given::at(t(NOW));
    let recorded = failures(7).decide(empty_org().state(), &given).expect("accepted").reply;
    assert_eq!((recorded.accepted, &*recorded.policy), (7, "restricted"));
    let up = |from: &str| (from.to_owned(), "failure_burst:3".to_owned());
    assert_eq!(steps(&recorded), [up("normal"), up("watch")]);
}

#[test]
fn counts_out_of_range_are_refused() {
    for count in [0, OUTCOMES_MAX + 1, u64::MAX] {
        empty_org().when(failures(count)).then_refused(Invalid::new("count", count, "1 to 10000000"));
    }
    let org = empty_org().when(failures(OUTCOMES_MAX)).then_accepted();
    assert_eq!(policy_of(&org), ("halted".into(), OUTCOMES_MAX - 9, 0));
}

#[test]
fn manual_steps_move_one_level_and_reset_both_counters() {
    use ManualAction::{Deescalate, Escalate, Reset};
    // Level and counters before, what is done, and the policy after; None is a conflict.
    for (before, action, after) in [
        (vec![], Escalate, Some("watch")),
        (vec![], Deescalate, None),
        (vec![], Reset, Some("normal")),
        (vec![failures(5)], Escalate, Some("restricted")),
        (vec![failures(5)], Deescalate, Some("normal")),
        (vec![failures(3), successes(4)], Escalate, Some("restricted")),
        (vec![failures(9)], Escalate, None),
        (vec![failures(9)], Deescalate, Some("restricted")),
        (vec![failures(10)], Reset, Some("normal")),
    ] {
        let mut org = empty_org();
        for command in before {
            org = org.when(command).then_accepted();
        }
        let from = org.state().policy().to_string();
        let entries = org.state().history().len();
        let when = org.when(manually(action));
        match after {
            None => {
                let org = when.then_refused(Kind::Conflict);
                assert_eq!(org.state().policy().as_ref(), from);
            }
            Some(to) => {
                let org = when.then_accepted();
                assert_eq!(policy_of(&org), (to.into(), 0, 0), "{action} from {from}");
                assert_eq!(
                    view(&org)["history"][entries],
                    json!({"from": from, "to": to, "timestamp": NOW, "reason": "storm", "user": "ana"})
                );
            }
        }
    }
}

#[test]
fn a_conflict_says_where_the_policy_stands() {
    let first = crate::error::Error::Conflict { reason: "the policy is normal, the first of its ladder".into() };
    let refused = empty_org().when(manually(ManualAction::Deescalate));
    refused.then_refused(crate::runtime::testing::Refusal::Error(first));
}

#[test]
fn a_manual_step_needs_a_user_and_a_reason() {
    let long = "x".repeat(REASON_CHARS_MAX + 1);
    for (user, reason, field) in [
        ("", "storm", "user"),
        ("a/b", "storm", "user"),
        ("a\nb", "storm", "user"),
        ("ana", "", "reason"),
        ("ana", " \t", "reason"),
        ("ana", long.as_str(), "reason"),
    ] {
        let step = ManualStep { user: user.into(), reason: reason.into(), ..manually(ManualAction::Escalate) };
        let given = Given::at(t(NOW));
        match step.decide(empty_org().state(), &given) {
            Err(crate::error::Error::Invalid(invalid)) => assert_eq!(invalid.field, field),
            other => panic!("{user:?} {reason:?}: {other:?}"),
        }
    }
}

#[test]
fn an_instant_that_is_given_is_not_before_the_last_and_the_clock_never_goes_back() {
    let org = empty_org().when(failures(1)).then_accepted();
    let earlier = Some(now_plus(-1));
    let refusal = |field: &str| {
        Invalid::new(field, now_plus(-1), format!("at least {NOW}, the last instant of the org's policy"))
    };
    let org = org.when(RecordOutcomes { at: earlier, ..failures(1) }).then_refused(refusal("now"));
    let org = org.when(ManualStep { at: earlier, ..manually(ManualAction::Escalate) }).then_refused(refusal("now"));
    let configure = Configure { scenario: PolicyScenario::default(), at: earlier };
    let org = org.when(configure).then_refused(refusal("now"));
    // A clock that is behind stamps the last instant again.
    let org = org.at(now_plus(-60)).when(failures(1)).then_accepted();
    assert_eq!(org.state().last_at(), Some(t(NOW)));
    let org = org.when(RecordOutcomes { at: Some(now_plus(0)), ..failures(1) }).then_accepted();
    assert_eq!(policy_of(&org), ("watch".into(), 0, 0));
}

fn batch(outcomes: &[(i64, bool)], is_whole: bool) -> RecordBatch {
    RecordBatch { outcomes: outcomes.iter().map(|&(second, ok)| (now_plus(second), ok)).collect(), is_whole }
}

#[test]
fn a_batch_rejects_what_goes_back_in_time_and_takes_the_rest() {
    let outcomes = [(10, false), (9, false), (10, false), (-5, true), (11, false)];
    let org = empty_org().when(successes(1)).then_accepted();
    let given = Given::at(t(NOW));
    let recorded = batch(&outcomes, false).decide(org.state(), &given).expect("accepted").reply;
    let rejected: Vec<usize> = recorded.rejected.iter().map(|rejected| rejected.index).collect();
    assert_eq!((recorded.accepted, rejected, &*recorded.policy), (3, vec![1, 3], "watch"));
    assert_eq!(recorded.rejected[0].because.field, "timestamp");
    let org = org.when(batch(&outcomes, true)).then_refused(Kind::Invalid);
    let org = org.when(batch(&outcomes, false)).then_accepted();
    assert_eq!(org.state().last_at(), Some(now_plus(11)));
    assert_eq!(org.state().history()[0].timestamp, now_plus(11));
    org.when(batch(&[], true)).then_accepted();
}

#[test]
fn a_batch_is_not_larger_than_one_append_takes() {
    let outcomes = vec![(t(NOW), true); BATCH_OUTCOMES_MAX + 1];
    let refusal = Invalid::new("outcomes", "1000001 outcomes", "at most 1000000");
    empty_org().when(RecordBatch { outcomes: outcomes.clone(), is_whole: true }).then_refused(refusal);
    let outcomes = outcomes[1..].to_vec();
    let given = Given::at(t(NOW));
    let decision = RecordBatch { outcomes, is_whole: true }.decide(empty_org().state(), &given).expect("accepted");
    assert_eq!(decision.events.len(), 4);
    let counts = |event: &Event| if let Event::Recorded(event) = event { event.outcomes.count() } else { 0 };
    assert_eq!(decision.events.iter().map(counts).sum::<u64>(), 1_000_000);
}

#[test]
fn configuring_keeps_the_policy_by_name_with_its_counters() {
    let build = |order: &[&str], escalation| {
        ScenarioBuilder::new("other")
            .with_policy_order(order.iter().copied())
            .with_escalation_threshold(escalation)
            .build()
            .expect("a good scenario")
    };
    // What happened before, the new ladder, policy and counters after, and what one more failure leads to.
    for (before, order, escalation, after, then) in [
        (failures(2), &["normal", "watch"][..], 9, ("normal", 2, 0), ("normal", 3, 0)),
        (failures(5), &["calm", "normal", "watch", "shut"], 9, ("watch", 2, 0), ("watch", 3, 0)),
        // A burst past the new threshold still needs a failure more.
        (failures(5), &["normal", "watch", "shut"], 1, ("watch", 2, 0), ("shut", 0, 0)),
        (failures(10), &["halted"], 1, ("halted", 1, 0), ("halted", 2, 0)),
        (failures(10), &["open", "shut"], 3, ("open", 0, 0), ("open", 1, 0)),
        (successes(4), &["open", "shut"], 3, ("open", 0, 0), ("open", 1, 0)),
        (successes(4), &["normal"], 3, ("normal", 0, 4), ("normal", 1, 0)),
    ] {
        let org = empty_org().when(before).then_accepted();
        let history = org.state().history().len();
        let (from, scenario) = (org.state().policy().to_string(), build(order, escalation));
        let org = org.when(Configure { scenario: scenario.clone(), at: None }).then_reply(1, true);
        let expected = |(policy, burst, streak): (&str, u64, u64)| (policy.to_owned(), burst, streak);
        assert_eq!(policy_of(&org), expected(after), "{order:?}");
        assert_eq!(org.state().scenario(), &scenario);
        let moved = json!({"from": from, "to": after.0, "timestamp": NOW, "reason": "configured:other"});
        let entry = view(&org)["history"].get(history).cloned();
        assert_eq!(entry, (from != after.0).then_some(moved), "{order:?}");
        let org = org.when(Configure { scenario, at: None }).then_nothing_but(false);
        let org = org.when(failures(1)).then_accepted();
        assert_eq!(policy_of(&org), expected(then), "{order:?}");
    }
}

#[test]
fn a_scenario_that_cannot_be_used_is_not_put_in_force() {
    let scenario = PolicyScenario { escalation_threshold: 0, ..PolicyScenario::default() };
    let refusal = Invalid::new("escalation_threshold", 0, "a whole number, at least 1");
    empty_org().when(Configure { scenario, at: None }).then_refused(refusal);
}

#[test]
fn histories_that_were_never_decided_are_corrupt() {
    use crate::runtime::Aggregate;
    let log = |outcomes: &[(i64, bool)]| OutcomeLog::pack(outcomes.iter().copied());
    let recorded = |outcomes: OutcomeLog, steps: Vec<StoredStep>| Event::Recorded(OutcomesRecorded { outcomes, steps });
    let step = StoredStep { outcome: 2, from_level: 0, to_level: 1, reason: Reason::FailureBurst(3) };
    let moved = |at, from: &str, to: &str| {
        let (from, to, user, reason) = (from.into(), to.into(), "ana".into(), "storm".into());
        Event::Moved(ManuallyMoved { at, action: ManualAction::Escalate, from, to, user, reason })
    };
    let configured = |order: &[&str], to: &str| {
        let policy_order = order.iter().map(|name| (*name).to_owned()).collect();
        let scenario = PolicyScenario { policy_order, deescalation_thresholds: [].into(), ..PolicyScenario::default() };
        let scenario = StoredScenario::from(&scenario);
        Event::Configured(PolicyConfigured { at: t(NOW), scenario, from: "normal".into(), to: to.into() })
    };
    for (event, message) in [
        (recorded(log(&[(5, true), (4, true)]), vec![]), "go back in time"),
        (recorded(log(&[(1, false); 3]), vec![]), "do not lead to the steps"),
        (recorded(log(&[(1, false); 2]), vec![step]), "do not lead to the steps"),
        (recorded(log(&[(1, false); 3]), vec![StoredStep { outcome: 1, ..step }]), "do not lead to the steps"),
        (recorded(log(&[(1 << 60, true)]), vec![]), "is no instant"),
        (moved(t(NOW), "watch", "restricted"), "the policy is normal, not watch"),
        (moved(t(NOW), "normal", "nowhere"), "nowhere is not on the ladder"),
        (configured(&["open"], "normal"), "normal is not on the ladder"),
        (configured(&[], "normal"), "policy_order is []"),
    ] {
        let corrupt = OrgPolicy::default().evolve(&event).expect_err(message).to_string();
        assert!(corrupt.contains(message), "{corrupt}");
    }
    let mut state = OrgPolicy::default();
    state.evolve(&moved(t(NOW), "normal", "watch")).expect("decided");
    for event in [moved(now_plus(-1), "watch", "restricted"), recorded(log(&[(0, true)]), vec![])] {
        state.evolve(&event).expect_err("back in time");
    }
}

#[test]
fn unknown_types_versions_and_damaged_bytes_are_refused() {
    let org = empty_org().when(failures(300)).then_accepted();
    let event = &org.history()[0];
    let bytes = event.encode();
    for (event_type, version, bytes, message) in [
        ("outcomes-recorded", 2, &bytes[..], "event type outcomes-recorded version 2 is not known"),
        ("policy-moved", 1, &bytes[..], "the bytes are no such value"),
        ("outcomes-recorded", 1, &bytes[..5], "the bytes are no such value"),
    ] {
        let error = Event::decode(event_type, version, 1, bytes).expect_err(message).to_string();
        assert!(error.contains(message), "{error}");
    }
    // The count that stands first is another than the bytes hold.
    let mut damaged = bytes;
    assert_eq!(&damaged[..3], [0xfb, 0x2c, 0x01]);
    damaged[1] ^= 1;
    let error = Event::decode("outcomes-recorded", 1, 1, &damaged).expect_err("301").to_string();
    assert!(error.contains("an outcome log of 301 outcomes is damaged"), "{error}");
}

#[test]
fn a_snapshot_is_small_and_one_that_is_damaged_is_refused() {
    use crate::runtime::Snapshotted as _;
    let mut org = empty_org().by("ana");
    for _ in 0..50 {
        org = org.when(failures(3)).then_accepted().when(manually(ManualAction::Reset)).then_accepted();
    }
    let org = org.when(failures(4)).then_accepted();
    let bytes = org.state().to_snapshot();
    let restored = OrgPolicy::from_snapshot(&bytes).expect("a snapshot");
    assert_eq!((restored.observed(), restored.to_snapshot() == bytes), (org.state().observed(), true));
    assert!(bytes.len() < 2_000, "{} bytes for 101 changes", bytes.len());
    for end in 0..bytes.len() {
        assert!(OrgPolicy::from_snapshot(&bytes[..end]).is_err(), "cut after {end} bytes");
    }
    // Whatever is in there: an error or a state that can be asked, never a panic.
    for place in 0..bytes.len() {
        for byte in [0, 1, 9, 127, u8::MAX] {
            let mut touched = bytes.clone();
            touched[place] = byte;
            if let Ok(state) = OrgPolicy::from_snapshot(&touched) {
                assert!(state.ladder().last() >= state.machine().level, "byte {place} as {byte}: {}", state.policy());
            }
        }
    }
}
