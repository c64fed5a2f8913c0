//! Recorded outcomes under another policy.

use serde_json::{Value, json};

use super::*;
use crate::policy::{Configure, ManualAction, ManualStep, OrgPolicy, RecordBatch};
use crate::runtime::testing::Scenario;

const START: &str = "2026-03-01T12:00:00Z";

fn second(number: i64) -> Timestamp {
    t(START).saturating_add_micros(number * 1_000_000)
}

/// Outcomes a second apart from `from` on.
fn outcomes(from: i64, text: &str) -> RecordBatch {
    let outcomes = text.chars().zip(from..).map(|(outcome, at)| (second(at), outcome == 'S'));
    RecordBatch { outcomes: outcomes.collect(), is_whole: true }
}

fn step(at: i64, action: ManualAction) -> ManualStep {
    ManualStep { action, user: "ana".into(), reason: "storm".into(), at: Some(second(at)) }
}

/// The events of an org that recorded these, with positions from 101 on.
fn replayed(
    org: &Scenario<OrgPolicy>,
    proposed: &PolicyScenario,
    from: Option<i64>,
    to: Option<i64>,
) -> CounterfactualReport {
    let mut replay = Counterfactual::new(proposed, from.map(second), to.map(second)).expect("a good question");
    for (event, position) in org.history().iter().zip(101..) {
        if !replay.take(position, event) {
            break;
        }
    }
    replay.finish()
}

fn json_of(report: &CounterfactualReport) -> Value {
    serde_json::to_value(report).expect("JSON")
}

fn org() -> Scenario<OrgPolicy> {
    Scenario::given([]).at(t(START))
}

#[test]
fn both_policies_are_listed_with_what_they_did_differently() {
    let org = org().when(outcomes(0, "FFFSF")).then_accepted().when(outcomes(10, "FFSSSSSS")).then_accepted();
    let proposed = scenario("calm", &["normal", "watch"], 2, 3);
    let report = json_of(&replayed(&org, &proposed, None, None));
    // The second event repeats what the real policy counted at the end of the first: its burst of three spans both.
    assert_eq!(
        report["real"],
        json!([
            {"from": "normal", "to": "watch", "timestamp": "2026-03-01T12:00:02Z", "reason": "failure_burst:3"},
            {"from": "watch", "to": "restricted", "timestamp": "2026-03-01T12:00:11Z", "reason": "failure_burst:3"},
        ])
    );
    assert_eq!(
        report["proposed"],
        json!([
            {"from": "normal", "to": "watch", "timestamp": "2026-03-01T12:00:01Z", "reason": "failure_burst:2"},
            {"from": "watch", "to": "normal", "timestamp": "2026-03-01T12:00:14Z", "reason": "success_streak:3"},
        ])
    );
    assert_eq!(
        report["differences"],
        json!([
            {
                "position": 101, "outcome": 1, "at": "2026-03-01T12:00:01Z", "real": "normal", "proposed": "watch",
                "because": "the real policy stayed at normal, because its burst was 2 of 3; the proposed one escalated to watch at a failure burst of 2",
            },
            {
                "position": 101, "outcome": 2, "at": "2026-03-01T12:00:02Z", "real": "watch", "proposed": "watch",
                "because": "the real policy escalated to watch at a failure burst of 3; the proposed one stayed at watch, because it is the last of its ladder",
            },
            {
                "position": 102, "outcome": 1, "at": "2026-03-01T12:00:11Z", "real": "restricted", "proposed": "watch",
                "because": "the real policy escalated to restricted at a failure burst of 3; the proposed one stayed at watch, because it is the last of its ladder",
            },
            {
                "position": 102, "outcome": 4, "at": "2026-03-01T12:00:14Z", "real": "restricted", "proposed": "normal",
                "because": "the real policy stayed at restricted, because its streak was 3 of 10; the proposed one de-escalated to normal at a success streak of 3",
            },
        ])
    );
    let summary = &report["summary"];
    assert_eq!(
        [&summary["outcomes"], &summary["failures"], &summary["differences"]],
        [&json!(13), &json!(6), &json!(4)]
    );
    assert_eq!([&summary["from"], &summary["to"]], ["2026-03-01T12:00:00Z", "2026-03-01T12:00:17.000001Z"]);
    assert_eq!(
        summary["real"]["time_in_each_policy"],
        json!({"normal": 2.0, "watch": 9.0, "restricted": 6.0, "halted": 0.0})
    );
    assert_eq!(summary["proposed"]["time_in_each_policy"], json!({"normal": 4.0, "watch": 13.0}));
    assert_eq!([&summary["proposed"]["initial_policy"], &summary["proposed"]["final_policy"]], ["normal", "normal"]);
    // Of six failures two and three met the first policy. Of seven successes the proposed one suspended the first four.
    assert_eq!([&summary["real"]["exposure"], &summary["proposed"]["exposure"]], [&json!(0.5), &json!(2.0 / 6.0)]);
    assert_eq!(summary["proposed"]["sla_compliance_rate"].as_f64(), Some(3.0 / 13.0));
    assert!(summary["note"].as_str().is_some_and(|note| note.starts_with("open-loop replay")));
}

#[test]
fn the_same_policy_makes_no_difference() {
    let org = org().when(outcomes(0, "FFFSFFFSSSSSSSSSSSSSSSSSSSSSFFFFFFFFFFSS")).then_accepted();
    let report = replayed(&org, &PolicyScenario::default(), None, None);
    assert_eq!((report.real.len(), report.differences.len()), (7, 0));
    assert_eq!(report.real, report.proposed);
    assert_eq!(report.real, org.state().history());
    assert_eq!(report.summary.real, report.summary.proposed);
}

#[test]
fn the_proposed_policy_starts_at_the_real_level_with_nothing_counted() {
    let org = org().when(outcomes(0, "FFFFFSFF")).then_accepted();
    // At 4 the real policy is at watch with a burst of 1; of the proposed one the count starts anew.
    let proposed = scenario("same", &["calm", "watch", "shut"], 3, 1);
    let report = replayed(&org, &proposed, Some(4), Some(7));
    assert_eq!(report.summary.proposed.initial_policy.as_ref(), "watch");
    assert_eq!((report.summary.outcomes, report.summary.real.initial_policy.as_ref()), (3, "watch"));
    let proposed_steps = json_of(&report)["proposed"].clone();
    assert_eq!(
        proposed_steps,
        json!([
            {"from": "watch", "to": "calm", "timestamp": "2026-03-01T12:00:05Z", "reason": "success_streak:1"},
        ])
    );
    // Three seconds from 4 on, up to but without 7.
    assert_eq!(
        json_of(&report)["summary"]["proposed"]["time_in_each_policy"],
        json!({"calm": 2.0, "watch": 1.0, "shut": 0.0})
    );
    assert_eq!([report.summary.from, report.summary.to], [Some(second(4)), Some(second(7))]);
    // A ladder without the real policy starts at its first.
    let other = replayed(&org, &scenario("other", &["a", "b"], 9, 1), Some(4), None);
    assert_eq!(other.summary.proposed.initial_policy.as_ref(), "a");
}

#[test]
fn what_was_done_by_hand_is_listed_and_not_applied() {
    let ladder = scenario("short", &["normal", "restricted"], 2, 2);
    let org = org()
        .when(outcomes(0, "FF"))
        .then_accepted()
        .when(step(2, ManualAction::Escalate))
        .then_accepted()
        .when(step(3, ManualAction::Escalate))
        .then_accepted()
        .when(Configure { scenario: ladder.clone(), at: Some(second(4)) })
        .then_accepted()
        .when(outcomes(5, "SSF"))
        .then_accepted()
        .when(step(8, ManualAction::Reset))
        .then_accepted();
    let report = json_of(&replayed(&org, &PolicyScenario::default(), None, Some(8)));
    assert_eq!(
        report["manual"],
        json!([
            {"position": 102, "at": "2026-03-01T12:00:02Z", "action": "escalate", "from": "normal", "to": "watch", "user": "ana", "reason": "storm"},
            {"position": 103, "at": "2026-03-01T12:00:03Z", "action": "escalate", "from": "watch", "to": "restricted", "user": "ana", "reason": "storm"},
            {"position": 104, "at": "2026-03-01T12:00:04Z", "action": "configure", "from": "restricted", "to": "restricted", "reason": "short"},
        ])
    );
    assert_eq!(report["real"].as_array().map(Vec::len), Some(3));
    assert_eq!(report["real"][0]["user"], "ana");
    assert_eq!([&report["real"][2]["to"], &report["real"][2]["reason"]], ["normal", "success_streak:2"]);
    assert_eq!(report["proposed"], json!([]));
    assert_eq!(report["differences"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        report["differences"][0]["because"],
        "the real policy de-escalated to normal at a success streak of 2; the proposed one stayed at normal, because it is the first of its ladder"
    );
    let summary = &report["summary"];
    assert_eq!([&summary["real"]["scenario"], &summary["proposed"]["scenario"]], ["short", "platform"]);
    assert_eq!(summary["real"]["time_in_each_policy"], json!({"normal": 4.0, "restricted": 3.0, "watch": 1.0}));
}

#[test]
fn a_span_cuts_through_events_and_runs() {
    // One event, one run of a hundred failures a second apart.
    let org = org().when(outcomes(0, &"F".repeat(100))).then_accepted();
    let never = scenario("never", &["normal", "watch"], 1_000, 1);
    for (from, to, count) in [
        (None, None, 100),
        (Some(0), None, 100),
        (Some(1), Some(99), 98),
        (Some(99), Some(100), 1),
        (Some(100), None, 0),
        (Some(-5), Some(0), 0),
    ] {
        let report = replayed(&org, &never, from, to);
        assert_eq!(report.summary.outcomes, count, "{from:?} {to:?}");
        let times: f64 = report.summary.proposed.time_in_each_policy.iter().map(|(_, seconds)| seconds).sum();
        if let (Some(from), Some(to)) = (from, to) {
            assert_eq!(times, (to - from) as f64);
        }
    }
    // All at one instant, which bounds take or leave whole.
    let at_once = RecordBatch { outcomes: vec![(second(3), false); 9], is_whole: true };
    let org = self::org().when(at_once).then_accepted();
    for (from, to, count) in [(Some(3), Some(4), 9), (Some(4), None, 0), (None, Some(3), 0)] {
        let report = replayed(&org, &never, from, to);
        assert_eq!(report.summary.outcomes, count, "{from:?} {to:?}");
        assert!(json_of(&report)["summary"]["real"]["elevated_share"].is_number(), "no time at all is no NaN");
    }
}

#[test]
fn questions_that_make_no_sense_are_refused() {
    let good = PolicyScenario::default();
    let refused = Counterfactual::new(&good, Some(second(5)), Some(second(5))).expect_err("no span");
    assert_eq!((refused.field.as_str(), refused.value), ("from", second(5).to_string()));
    let bad = PolicyScenario { policy_order: vec![], ..good };
    assert_eq!(Counterfactual::new(&bad, None, None).expect_err("no ladder").field, "policy_order");
    let report = Counterfactual::new(&PolicyScenario::default(), None, None).expect("a good question").finish();
    assert_eq!((report.summary.outcomes, report.summary.from, report.real.len()), (0, None, 0));
}
