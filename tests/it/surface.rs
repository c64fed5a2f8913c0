//! Methods of the API that no other test calls: the waiting twin of each says what the other says, and the like.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use ionveil::alerts::Wanted;
use ionveil::dispatch::{GridSize, Instant, Metric};
use ionveil::domain::{Channel, OrgId, Timestamp};
use ionveil::escalation::EscalationPolicy;
use ionveil::field::StaffedHours;
use ionveil::notification::Pacing;
use ionveil::rules::AlertRule;
use ionveil::runtime::ManualClock;
use ionveil::simulation::{Cancel, Generator};
use ionveil::{
    Config, FailurePattern, FailurePatternGenerator as Patterns, IncidentCheck, Invalid, IonVeil, Span, blocking,
};
use pollster::block_on;
use serde_json::json;
use uuid::Uuid;

use crate::support::dispatch;

fn org() -> OrgId {
    "sffd".parse().expect("an id")
}

fn instant(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn rule(id: &str) -> AlertRule {
    let rule = json!({
        "rule_id": id, "name": id, "condition_type": "sla_breach", "severity": "critical", "notification_channels": ["sms"],
    });
    AlertRule::from_json(&rule).expect("a good rule")
}

fn policy(timeout_minutes: u32) -> EscalationPolicy {
    let level = |level| json!({ "level": level, "timeout_minutes": timeout_minutes, "channels": ["sms"] });
    let policy = json!({ "policy_id": "p", "name": "P", "levels": [level(1), level(2)] });
    EscalationPolicy::from_json(&policy).expect("a good policy")
}

/// A dispatch in the north and one in the south, each with the times of its unit, and an incident nobody arrived at.
fn watched() -> (IonVeil, Uuid) {
    let clock = Arc::new(ManualClock::new(instant("2026-01-31T12:00:00Z")));
    let ionveil = IonVeil::open(Config::in_memory().without_background().with_clock(clock)).expect("it opens");
    let aggregator = blocking::DispatchAggregator::new(&ionveil);
    let events = [("north", 37.8), ("south", 37.7)].map(|(id, latitude)| {
        let metadata = json!({
            "unit_id": id, "dispatched_at": "2026-01-31T11:00:00Z", "available_at": "2026-01-31T11:30:00Z",
        });
        let changes = json!({ "latitude": latitude, "longitude": -122.4, "region": id, "metadata": metadata });
        dispatch(id, "2026-01-31T11:55:00Z", changes)
    });
    assert_eq!(aggregator.ingest_batch(events.to_vec()).expect("taken in").accepted, 2);
    let monitor = blocking::SlaMonitorService::new(&ionveil);
    monitor.add_rules(vec![rule("breach")]).expect("stored");
    blocking::EscalationManager::new(&ionveil).set_policy(&org(), policy(30)).expect("set");
    let report = monitor.check_incident(IncidentCheck {
        incident_id: "i".into(),
        org_id: org(),
        priority: 1,
        dispatch_time: instant("2026-01-31T11:50:00Z"),
        arrival_time: None,
        closed_time: None,
        current_time: None,
    });
    let alert = report.expect("checked").alerts[0].alert_id;
    (ionveil, alert)
}

#[track_caller]
fn same<T: Debug, E: Debug>(waiting: Result<T, E>, promised: Result<T, E>) -> T {
    let (waiting, promised) = (waiting.expect("an answer"), promised.expect("an answer"));
    assert_eq!(format!("{waiting:?}"), format!("{promised:?}"));
    waiting
}

#[test]
fn a_question_that_waits_is_answered_as_the_one_that_does_not() {
    let (ionveil, alert) = watched();
    let org = &org();

    let (waiting, promised) = (blocking::DispatchAggregator::new(&ionveil), ionveil.dispatch_aggregator());
    let in_use = same(waiting.get_dimensions(org), block_on(promised.get_dimensions(org)));
    assert_eq!((in_use.region.values, in_use.unit_type.values), (2, 1));
    let updates = waiting.subscribe_to_updates(org, &[Metric::DispatchCount]).expect("subscribed");
    assert_eq!(updates.position().get(), ionveil.audit().stat().head.head_position, "nothing was missed");

    let (waiting, promised) = (blocking::GeographicBreakdown::new(&ionveil), ionveil.geographic_breakdown());
    let regions = same(waiting.get_region_map(org, None, None), block_on(promised.get_region_map(org, None, None)));
    assert_eq!(regions.len(), 2, "{regions:?}");
    let grid = || GridSize::new(2, 1).expect("a grid");
    let ask = block_on(promised.get_heatmap(org, Metric::DispatchCount, grid()));
    same(waiting.get_heatmap(org, Metric::DispatchCount, grid()), ask);

    let (waiting, promised) = (blocking::FieldPerformance::new(&ionveil), ionveil.field_performance());
    let span = || Span { start: Some(Instant::At(instant("2026-01-31T11:00:00Z"))), ..Span::default() };
    let ask = block_on(promised.utilisation(org, StaffedHours::default(), span()));
    let report = same(waiting.utilisation(org, StaffedHours::default(), span()), ask);
    assert!(format!("{report:?}").contains("TRUCK"), "{report:?}");

    let (waiting, promised) = (blocking::SlaMonitorService::new(&ionveil), ionveil.sla_monitor_service());
    let alerts = same(
        waiting.get_alerts(org, None, Wanted::Unresolved),
        block_on(promised.get_alerts(org, None, Wanted::Unresolved)),
    );
    assert_eq!(alerts.iter().map(|alert| alert.alert_id).collect::<Vec<_>>(), [alert]);
    same(waiting.get_alert(alert), block_on(promised.get_alert(alert)));
    let from = Timestamp::MIN;
    let rules = || vec![rule("breach"), rule("other")];
    let tried = same(waiting.what_if(org, rules(), from), block_on(promised.what_if(org, rules(), from)));
    assert_eq!(tried.added.len(), 1, "the other rule's");

    let (waiting, promised) = (blocking::EscalationManager::new(&ionveil), ionveil.escalation_manager());
    same(waiting.what_if(org, policy(5), from), block_on(promised.what_if(org, policy(5), from)));

    let (waiting, promised) = (blocking::NotificationOutbox::new(&ionveil), ionveil.notification_outbox());
    assert_eq!(same(waiting.get_pacing(org), block_on(promised.get_pacing(org))), None);
    let pacing = || Pacing { time_zone: "UTC".into(), groups: vec![], quiet_hours: vec![], limits: vec![] };
    waiting.set_pacing(org, pacing()).expect("set");
    assert_eq!(same(waiting.get_pacing(org), block_on(promised.get_pacing(org))), Some(pacing()));
    let ask = block_on(promised.companions(org, alert, Channel::Sms));
    assert_eq!(same(waiting.companions(org, alert, Channel::Sms), ask), [] as [Uuid; 0]);
    for (channel, is_set_up) in [(Channel::Log, true), (Channel::Sms, false)] {
        assert_eq!((waiting.is_set_up(channel), promised.is_set_up(channel)), (is_set_up, is_set_up), "{channel:?}");
    }
    assert!(blocking::shutdown(&ionveil, Duration::from_secs(10)));
}

/// Each service by itself, not by way of the handle that they come from.
#[test]
fn a_service_takes_a_command_id_and_an_instant_of_its_own() {
    let (ionveil, _) = watched();
    let org = &org();
    let (id, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let events = || ionveil.audit().stat().events;

    let aggregator = blocking::DispatchAggregator::new(&ionveil).with_command_id(id);
    let ask = || aggregator.set_retention(org, 5).expect("set");
    assert_eq!((ask(), ask()), (true, true), "the first answer");

    let monitor = blocking::SlaMonitorService::new(&ionveil).with_command_id(id);
    let ask = || monitor.remove_rule("breach").expect("removed");
    assert_eq!((ask(), ask()), (true, true));

    let suppressions = blocking::AlertSuppressionManager::new(&ionveil).with_command_id(id);
    let before = instant("2026-01-31T12:10:00Z");
    let ask = || suppressions.at(before).add_suppression(org, "b.*", 10, "drill", "ann").expect("added");
    let (first, second) = (ask(), ask());
    assert_eq!((first.suppression_id, first.created_at), (second.suppression_id, before));

    let outbox = blocking::NotificationOutbox::new(&ionveil).with_command_id(id);
    let pacing = |zone: &str| Pacing { time_zone: zone.into(), groups: vec![], quiet_hours: vec![], limits: vec![] };
    outbox.at(before).set_pacing(org, pacing("UTC")).expect("set");
    let count = events();
    outbox.set_pacing(org, pacing("UTC")).expect("answered as before");
    assert_eq!(events(), count, "it was done already");
    outbox.with_command_id(other).set_pacing(org, pacing("Europe/Berlin")).expect("set");
    assert!(events() > count, "another command");

    let simulator = blocking::PolicySimulator::new(&ionveil).with_command_id(id);
    let pattern = || FailurePattern { pattern_id: "p".into(), description: String::new(), events: vec![] };
    let request = || ionveil::SimulationRequest::new(ionveil::PolicyScenario::default(), pattern()).lasting(60);
    let ask = || simulator.create_simulation(request()).expect("made");
    assert_eq!(ask(), ask());
    assert!(blocking::shutdown(&ionveil, Duration::from_secs(10)));
}

/// A host that starts and stops what is due by itself, without an executor.
#[test]
fn what_is_due_by_itself_is_started_and_stopped() {
    let clock = Arc::new(ManualClock::new(instant("2026-01-31T12:00:00Z")));
    let config = Config::in_memory().without_background().with_clock(Arc::clone(&clock) as _);
    let ionveil = IonVeil::open(config).expect("it opens");
    let monitor = blocking::SlaMonitorService::new(&ionveil);
    monitor.add_rules(vec![rule("breach")]).expect("stored");
    let dispatched = IncidentCheck {
        incident_id: "i".into(),
        org_id: org(),
        priority: 1,
        dispatch_time: instant("2026-01-31T12:00:00Z"),
        arrival_time: None,
        closed_time: None,
        current_time: None,
    };
    monitor.check_incident(dispatched).expect("checked");
    monitor.start().expect("started");
    clock.set(instant("2026-01-31T12:06:00Z"));
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while monitor.get_active_alerts(&org(), None, None).expect("a list").is_empty() {
        assert!(std::time::Instant::now() < deadline, "nothing comes due");
        std::thread::yield_now();
    }
    monitor.stop();
    assert!(blocking::shutdown(&ionveil, Duration::from_secs(10)));
}

/// The interface contract's names make what the generators' own language makes.
#[test]
fn each_named_generator_makes_the_pattern_of_its_rule() {
    let written = |text: &str| {
        let generator: Generator = text.parse().expect("a generator");
        generator.generate(&Cancel::default()).expect("a pattern")
    };
    let is = |named: Result<FailurePattern, Invalid>, text: &str| assert_eq!(named.expect("a pattern"), written(text));
    let seeded = Patterns::seeded(7);
    is(Patterns::constant_failure_rate(0.2, 90, 2.0), "constant:rate=0.2,duration=90,eps=2");
    is(seeded.constant_failure_rate(0.2, 90, 2.0), "constant:rate=0.2,duration=90,eps=2,seed=7");
    is(Patterns::burst_failure(3, 60, 200), "burst:size=3,interval=60,duration=200");
    is(seeded.burst_failure(3, 60, 200), "burst:size=3,interval=60,duration=200,seed=7");
    is(Patterns::cascading_failure(0.1, 1.5, 180, 400), "cascading:initial=0.1,factor=1.5,recovery=180,duration=400");
    is(
        seeded.cascading_failure(0.1, 1.5, 180, 400),
        "cascading:initial=0.1,factor=1.5,recovery=180,duration=400,seed=7",
    );
    for (refused, field) in [
        (Patterns::constant_failure_rate(1.5, 90, 1.0), "rate"),
        (seeded.constant_failure_rate(0.5, 0, 1.0), "duration"),
        (Patterns::burst_failure(0, 60, 200), "size"),
        (seeded.cascading_failure(0.1, 0.0, 180, 400), "factor"),
    ] {
        assert_eq!(refused.expect_err("it is refused").field, field);
    }
}

/// For a host that sends the entities' messages itself.
#[test]
fn the_entities_behind_the_services_are_there() {
    let (ionveil, _) = watched();
    assert_eq!((ionveil.alerts().ids(), ionveil.policies().ids()), (vec!["sffd".to_owned()], vec![]));
    assert!(blocking::shutdown(&ionveil, Duration::from_secs(10)));
}
