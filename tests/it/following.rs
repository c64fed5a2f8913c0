//! A host that follows the journal, and one that sends the entities their messages itself.

use ionveil::domain::OrgId;
use ionveil::rules::{self, AddRules, AlertRule};
use ionveil::runtime::Caller;
use ionveil::{AuditEntry, AuditFilter, Config, Error, IncidentCheck, IonVeil, Kind, blocking};
use pollster::block_on;
use serde_json::json;

use crate::support::dispatch;

fn org() -> OrgId {
    "sffd".parse().expect("an id")
}

fn in_memory() -> IonVeil {
    IonVeil::open(Config::in_memory()).expect("memory")
}

fn ingest(ionveil: &IonVeil, ids: std::ops::Range<u64>) {
    let events = ids.map(|id| dispatch(&format!("e-{id}"), "2026-01-31T12:00:30Z", json!({}))).collect();
    let report = blocking::DispatchAggregator::new(ionveil).ingest_batch(events).expect("taken");
    assert_eq!((report.duplicates.len(), report.rejected.len()), (0, 0));
}

#[track_caller]
fn position(entry: Option<Result<AuditEntry, Error>>) -> u64 {
    entry.expect("not shut down").expect("an entry").position
}

#[test]
fn every_event_is_heard_once_in_order_those_that_are_there_and_those_that_come() {
    let ionveil = in_memory();
    // More than a page.
    ingest(&ionveil, 1..1_201);
    let mut entries = blocking::Audit::new(&ionveil).subscribe(AuditFilter::default(), 0).expect("subscribed");
    for expected in 1..=1_200 {
        assert_eq!(position(entries.next()), expected);
    }
    // The follower waits, or is about to, when the next ones are written.
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| [position(entries.next()), position(entries.next())]);
        ingest(&ionveil, 1_201..1_203);
        assert_eq!(follower.join().expect("heard"), [1_201, 1_202]);
    });
    let mut later = blocking::Audit::new(&ionveil).subscribe(AuditFilter::default(), 1_201).expect("subscribed");
    assert_eq!(position(later.next()), 1_202);
    // It keeps nothing alive: with the last handle it ends.
    drop(ionveil);
    assert!(entries.next().is_none() && later.next().is_none());
}

#[test]
fn what_does_not_match_is_passed_over() {
    let ionveil = in_memory();
    let ann = ionveil.acting_as("ann").expect("a name");
    ingest(&ionveil, 1..4);
    ingest(&ann, 4..5);
    let of_ann = AuditFilter { user: Some("ann".into()), ..AuditFilter::default() };
    let mut entries = blocking::Audit::new(&ionveil).subscribe(of_ann, 0).expect("subscribed");
    assert_eq!(position(entries.next()), 4);
    // One that finds nothing waits on, and goes on behind what it has passed over.
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| position(entries.next()));
        ingest(&ionveil, 5..7);
        ingest(&ann, 7..8);
        assert_eq!(follower.join().expect("heard"), 7);
    });
    let stream = AuditFilter { stream: Some("dispatch/other".parse().expect("an id")), ..AuditFilter::default() };
    let mut nothing = blocking::Audit::new(&ionveil).subscribe(stream, 0).expect("subscribed");
    let nobody = AuditFilter { user: Some(String::new()), ..AuditFilter::default() };
    let refusal = blocking::Audit::new(&ionveil).subscribe(nobody, 0).err().expect("nobody is called that");
    assert_eq!(refusal.kind(), Kind::Invalid);
    drop(ann);
    drop(ionveil);
    assert!(nothing.next().is_none());
}

#[test]
fn rules_and_policies_may_be_sent_as_messages() {
    let ionveil = in_memory();
    let rule = AlertRule::from_json(&json!({
        "rule_id": "late", "name": "Late", "condition_type": "sla_breach", "severity": "critical",
        "notification_channels": ["log"],
    }));
    let stored = ionveil.rules().tell(rules::ALL, AddRules { rules: vec![rule.expect("a rule")] }, Caller::default());
    assert_eq!(block_on(stored).expect("stored")[0].version, 1);
    let policy = ionveil::escalation::EscalationPolicy::from_json(&json!({
        "policy_id": "p", "name": "P", "levels": [{ "level": 1, "timeout_minutes": 15, "channels": ["email"] }],
    }));
    let set = ionveil::escalation::SetPolicy { policy: policy.expect("a policy") };
    block_on(ionveil.escalations().tell("sffd", set, Caller::default())).expect("set");
    let check = IncidentCheck {
        incident_id: "i-1".into(),
        org_id: org(),
        priority: 1,
        dispatch_time: "2026-01-31T12:00:00Z".parse().expect("an instant"),
        arrival_time: None,
        closed_time: None,
        current_time: None,
    };
    let report = blocking::SlaMonitorService::new(&ionveil).check_incident(check).expect("checked");
    assert_eq!((report.alerts.len(), &report.alerts[0].rule_id), (1, &"late".to_owned()));
    assert_eq!(report.alerts[0].metadata["escalation_policy"], "p");
}
