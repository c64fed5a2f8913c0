//! Calls that are sent again under the same id: the first answer, and nothing happens twice, whatever lies in between.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ionveil::domain::{OrgId, Timestamp};
use ionveil::escalation::EscalationPolicy;
use ionveil::field::{GroupBy, Standard};
use ionveil::notification::{GetNotifications, NotificationStatus, Pacing};
use ionveil::rules::AlertRule;
use ionveil::runtime::{Limits, ManualClock};
use ionveil::{
    Config, DispatchEvent, Error, FailurePattern, IncidentCheck, IonVeil, Kind, PolicyScenario, SimulationRequest,
    Span, blocking,
};
use ionveil_journal::{Journal, LocalJournal, SnapshotCriteria};
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::dispatch;

const NOON: &str = "2026-01-31T12:00:00Z";

fn org() -> OrgId {
    "sffd".parse().expect("an id")
}

fn instant(minutes: i64) -> Timestamp {
    let noon: Timestamp = NOON.parse().expect("an instant");
    noon.saturating_add_micros(minutes * 60_000_000)
}

/// Does nothing by itself, and takes a snapshot of every entity after a few events.
fn open(dir: &Path) -> IonVeil {
    open_in(dir, 60)
}

/// The same, so many minutes after noon.
fn open_in(dir: &Path, minutes: i64) -> IonVeil {
    let limits = Limits { snapshot_events: 4, ..Limits::default() };
    let clock = Arc::new(ManualClock::new(instant(minutes)));
    let config = Config::at(dir).without_background().with_limits(limits).with_clock(clock);
    IonVeil::open(config).expect("it opens")
}

fn rule(id: &str) -> AlertRule {
    let rule = AlertRule::from_json(&json!({
        "rule_id": id, "name": id, "condition_type": "sla_breach", "severity": "critical",
        "notification_channels": ["sms"],
    }));
    rule.expect("a good rule")
}

fn breached(incident: &str) -> IncidentCheck {
    IncidentCheck {
        incident_id: incident.into(),
        org_id: org(),
        priority: 1,
        dispatch_time: instant(0),
        arrival_time: None,
        closed_time: None,
        current_time: Some(instant(10)),
    }
}

fn escalation_policy(name: &str) -> EscalationPolicy {
    let level = |level| json!({ "level": level, "timeout_minutes": 60, "channels": ["sms"] });
    let policy = json!({ "policy_id": "p", "name": name, "levels": [level(1), level(2)] });
    EscalationPolicy::from_json(&policy).expect("a good policy")
}

fn request() -> SimulationRequest {
    let pattern = FailurePattern { pattern_id: "p".into(), description: String::new(), events: vec![] };
    SimulationRequest::new(PolicyScenario::default(), pattern).lasting(60)
}

fn pacing() -> Pacing {
    Pacing { time_zone: "UTC".into(), groups: vec![], quiet_hours: vec![], limits: vec![] }
}

/// `count` dispatches of five to noon, called `NAME-0` and on.
fn dispatches(name: &str, count: usize) -> Vec<DispatchEvent> {
    (0..count).map(|number| dispatch(&format!("{name}-{number}"), "2026-01-31T11:55:00Z", json!({}))).collect()
}

fn events(ionveil: &IonVeil) -> u64 {
    ionveil.audit().stat().events
}

fn refused<R: Debug>(result: Result<R, Error>) -> String {
    match result {
        Err(error) if error.kind() == Kind::Invalid => error.to_string(),
        other => panic!("{other:?} is no refusal"),
    }
}

/// What the calls below are about.
struct Things {
    alerts: [Uuid; 3],
    suppression: Uuid,
    dead: Uuid,
    simulation: String,
}

/// Lets something happen to every sort of thing; the letter is dead since a system that ran by itself had no such channel.
fn things(dir: &Path) -> Things {
    let config = Config::at(dir).with_clock(Arc::new(ManualClock::new(instant(60))));
    let ionveil = IonVeil::open(config).expect("it opens");
    let monitor = blocking::SlaMonitorService::new(&ionveil);
    monitor.add_rules(vec![rule("breach"), rule("gone")]).expect("stored");
    let manager = blocking::EscalationManager::new(&ionveil);
    manager.set_policy(&org(), escalation_policy("first")).expect("set");
    let alerts = ["i", "j", "k"].map(|incident| {
        let report = monitor.check_incident(breached(incident)).expect("checked");
        report.alerts.iter().find(|alert| alert.rule_id == "breach").expect("it is breached").alert_id
    });
    let outbox = blocking::NotificationOutbox::new(&ionveil);
    let dead = loop {
        let messages = outbox.list(&org(), GetNotifications::default()).expect("a list");
        match messages.iter().find(|message| message.status == NotificationStatus::Dead) {
            Some(message) => break message.notification_id,
            None => std::thread::yield_now(),
        }
    };
    let suppressions = blocking::AlertSuppressionManager::new(&ionveil);
    let suppression = suppressions.add_suppression(&org(), "x", 600, "why", "ann").expect("added").suppression_id;
    let simulation = blocking::PolicySimulator::new(&ionveil).create_simulation(request()).expect("made");
    assert!(blocking::shutdown(&ionveil, Duration::from_secs(60)));
    Things { alerts, suppression, dead, simulation }
}

/// A call by name; its answer is shown as text.
type Call<'a> = (&'static str, Box<dyn Fn(&IonVeil) -> String + 'a>);

fn call<'a, R: Debug>(name: &'static str, call: impl Fn(&IonVeil) -> Result<R, Error> + 'a) -> Call<'a> {
    let shown = move |ionveil: &IonVeil| match call(ionveil) {
        Ok(reply) => format!("{reply:?}"),
        Err(error) => panic!("{name}: {error}"),
    };
    (name, Box::new(shown))
}

/// Every call that takes an id, in an order in which each has something to do.
fn calls(things: &Things) -> Vec<Call<'_>> {
    let engine = |ionveil: &IonVeil, minute| blocking::PolicyEngine::new(ionveil).at(instant(minute));
    let monitor = blocking::SlaMonitorService::new;
    let manager = blocking::EscalationManager::new;
    let suppressions = blocking::AlertSuppressionManager::new;
    let outbox = blocking::NotificationOutbox::new;
    let aggregator = blocking::DispatchAggregator::new;
    let simulator = blocking::PolicySimulator::new;
    let mixed = [(instant(30), false), (instant(29), true), (instant(30), false), (instant(30), false)];
    let other = || PolicyScenario { name: "other".into(), ..PolicyScenario::default() };
    let [first, second, third] = things.alerts;
    let bad = || dispatch("far", "2027-01-31T11:55:00Z", json!({}));
    vec![
        call("record_success", move |it| engine(it, 30).record_success(&org())),
        call("record_failure", move |it| engine(it, 30).record_failure(&org())),
        call("record", move |it| engine(it, 30).record(&org(), false, 3)),
        call("record_batch", move |it| engine(it, 30).record_batch(&org(), &mixed)),
        call("import", move |it| engine(it, 30).import(&org(), &[(instant(31), false)])),
        call("deescalate", move |it| engine(it, 32).deescalate(&org(), "ann", "calm")),
        call("escalate", move |it| engine(it, 32).escalate(&org(), "ann", "storm")),
        call("reset", move |it| engine(it, 33).reset(&org(), "ann", "over")),
        call("configure", move |it| engine(it, 33).configure(&org(), other())),
        call("add_rule", move |it| monitor(it).add_rule(rule("one"))),
        call("add_rules", move |it| monitor(it).add_rules(vec![rule("two"), rule("one")])),
        call("remove_rule", move |it| monitor(it).remove_rule("gone")),
        call("set_policy", move |it| manager(it).set_policy(&org(), escalation_policy("second"))),
        call("check_incident", move |it| monitor(it).check_incident(breached("l"))),
        call("acknowledge_alert", move |it| monitor(it).acknowledge_alert(first, "ann", Some("mine"))),
        call("resolve_alert", move |it| monitor(it).resolve_alert(second, "ann", "done")),
        call("escalate_alert", move |it| manager(it).escalate_alert(third, "ann", "too much")),
        call("add_suppression", move |it| suppressions(it).add_suppression(&org(), "y", 600, "why", "ann")),
        call("remove_suppression", move |it| suppressions(it).remove_suppression(things.suppression)),
        call("resend", move |it| outbox(it).resend(things.dead)),
        call("set_pacing", move |it| outbox(it).set_pacing(&org(), pacing())),
        call("ingest_event", move |it| aggregator(it).ingest_event(dispatches("single", 1).remove(0))),
        call("ingest_batch", move |it| aggregator(it).ingest_batch([dispatches("batch", 3), vec![bad()]].concat())),
        call("set_retention", move |it| aggregator(it).set_retention(&org(), 5)),
        call("set_dimension_limit", move |it| aggregator(it).set_dimension_limit(&org(), 7)),
        call("create_simulation", move |it| simulator(it).create_simulation(request())),
        call("cancel_simulation", move |it| simulator(it).cancel_simulation(&things.simulation)),
    ]
}

fn with_id(ionveil: &IonVeil, number: usize) -> IonVeil {
    ionveil.with_command_id(Uuid::from_u128(1_000 + number as u128))
}

#[test]
fn every_call_that_takes_an_id_is_done_once_and_answered_as_first() {
    let dir = TempDir::new().expect("a directory");
    let things = things(dir.path());
    let calls = calls(&things);
    let ionveil = open(dir.path());
    let mut answers = Vec::new();
    for (number, (name, call)) in calls.iter().enumerate() {
        let before = events(&ionveil);
        let first = call(&with_id(&ionveil, number));
        let after = events(&ionveil);
        assert!(after > before, "{name} does nothing");
        assert_eq!(call(&with_id(&ionveil, number)), first, "{name}");
        assert_eq!(events(&ionveil), after, "{name} is done twice");
        answers.push(first);
    }
    let written = events(&ionveil);
    drop(ionveil);
    let all_again = |when: &str| {
        let ionveil = open(dir.path());
        for (number, ((name, call), first)) in calls.iter().zip(&answers).enumerate() {
            assert_eq!(&call(&with_id(&ionveil, number)), first, "{name}, {when}");
        }
        assert_eq!(events(&ionveil), written, "{when}");
    };
    all_again("from snapshots");
    let journal = LocalJournal::open_existing(&dir.path().join("journal")).expect("nobody holds it");
    let delete = |stream| journal.delete_snapshots(&stream, &SnapshotCriteria::ALL).expect("deleted");
    for stream in journal.streams() {
        let (name, deleted) = (stream.stream.to_string(), delete(stream.stream));
        assert!(deleted > 0 || !name.starts_with("policy/"), "{name} has snapshots");
    }
    assert_eq!(journal.stat().snapshots, 0);
    drop(journal);
    all_again("from events");
}

/// Rules and policies are other ones by then, and the clock shows another instant: no call says any of that.
#[test]
fn what_has_changed_since_is_no_reason_to_refuse_a_retry() {
    let dir = TempDir::new().expect("a directory");
    let things = things(dir.path());
    let calls = calls(&things);
    let ionveil = open(dir.path());
    let answers: Vec<String> =
        calls.iter().enumerate().map(|(number, (_, call))| call(&with_id(&ionveil, number))).collect();
    blocking::SlaMonitorService::new(&ionveil).add_rule(rule("three")).expect("stored");
    blocking::EscalationManager::new(&ionveil).set_policy(&org(), escalation_policy("third")).expect("set");
    blocking::PolicyEngine::new(&ionveil).configure(&org(), PolicyScenario::default()).expect("configured");
    let written = events(&ionveil);
    drop(ionveil);
    let later = open_in(dir.path(), 600).acting_as("bob").expect("a name");
    for (number, ((name, call), first)) in calls.iter().zip(&answers).enumerate() {
        assert_eq!(&call(&with_id(&later, number)), first, "{name}");
    }
    assert_eq!(events(&later), written);
}

/// Each of those calls that says something, with something else to say: the refusal.
fn others(things: &Things) -> Vec<Call<'_>> {
    fn other<'a, R: Debug>(name: &'static str, call: impl Fn(&IonVeil) -> Result<R, Error> + 'a) -> Call<'a> {
        (name, Box::new(move |ionveil: &IonVeil| refused(call(ionveil))))
    }
    let engine = |ionveil: &IonVeil, minute| blocking::PolicyEngine::new(ionveil).at(instant(minute));
    let monitor = blocking::SlaMonitorService::new;
    let manager = blocking::EscalationManager::new;
    let suppressions = blocking::AlertSuppressionManager::new;
    let outbox = blocking::NotificationOutbox::new;
    let aggregator = blocking::DispatchAggregator::new;
    let [first, second, third] = things.alerts;
    let later = || IncidentCheck { current_time: Some(instant(11)), ..breached("l") };
    let in_berlin = || Pacing { time_zone: "Europe/Berlin".into(), ..pacing() };
    vec![
        other("record_success", move |it| engine(it, 31).record_success(&org())),
        other("record_failure", move |it| engine(it, 30).record_success(&org())),
        other("record", move |it| engine(it, 30).record(&org(), false, 4)),
        other("record_batch", move |it| engine(it, 30).record_batch(&org(), &[(instant(30), false)])),
        other("import", move |it| engine(it, 30).import(&org(), &[(instant(31), true)])),
        other("deescalate", move |it| engine(it, 32).escalate(&org(), "ann", "calm")),
        other("escalate", move |it| engine(it, 32).escalate(&org(), "bob", "storm")),
        other("reset", move |it| engine(it, 33).reset(&org(), "ann", "not over")),
        other("configure", move |it| engine(it, 33).configure(&org(), PolicyScenario::default())),
        other("add_rule", move |it| monitor(it).add_rule(AlertRule { enabled: false, ..rule("one") })),
        other("add_rules", move |it| monitor(it).add_rules(vec![rule("one"), rule("two")])),
        other("remove_rule", move |it| monitor(it).remove_rule("one")),
        other("set_policy", move |it| manager(it).set_policy(&org(), escalation_policy("third"))),
        other("check_incident", move |it| monitor(it).check_incident(later())),
        other("acknowledge_alert", move |it| monitor(it).acknowledge_alert(first, "ann", None)),
        other("resolve_alert", move |it| monitor(it).resolve_alert(second, "ann", "over")),
        other("escalate_alert", move |it| manager(it).escalate_alert(third, "bob", "too much")),
        other("add_suppression", move |it| suppressions(it).add_suppression(&org(), "y", 601, "why", "ann")),
        other("set_pacing", move |it| outbox(it).set_pacing(&org(), in_berlin())),
        other("set_retention", move |it| aggregator(it).set_retention(&org(), 6)),
        other("set_dimension_limit", move |it| aggregator(it).set_dimension_limit(&org(), 8)),
        other("create_simulation", move |it| {
            blocking::PolicySimulator::new(it).create_simulation(request().lasting(61))
        }),
    ]
}

/// It was answered as the first one was.
#[test]
fn a_call_that_says_something_else_under_the_id_is_refused_and_not_done() {
    let dir = TempDir::new().expect("a directory");
    let things = things(dir.path());
    let (calls, others) = (calls(&things), others(&things));
    let ionveil = open(dir.path());
    let answers: Vec<String> =
        calls.iter().enumerate().map(|(number, (_, call))| call(&with_id(&ionveil, number))).collect();
    drop(ionveil);
    let ionveil = open(dir.path());
    let written = events(&ionveil);
    for (name, other) in others {
        let number = calls.iter().position(|(of, _)| *of == name).expect("it is one of them");
        let refusal = other(&with_id(&ionveil, number));
        assert!(refusal.contains("command_id") && refusal.contains("other content"), "{name}: {refusal}");
        assert_eq!(calls[number].1(&with_id(&ionveil, number)), answers[number], "{name}");
    }
    assert_eq!(events(&ionveil), written);
}

#[test]
fn without_an_id_or_under_another_one_a_call_is_done_again() {
    let ionveil = IonVeil::open(Config::in_memory()).expect("it opens");
    let record = |it: &IonVeil| blocking::PolicyEngine::new(it).record(&org(), false, 2).expect("recorded");
    let first = record(&with_id(&ionveil, 1));
    for again in [ionveil.clone(), ionveil.clone(), with_id(&ionveil, 2)] {
        let before = events(&ionveil);
        record(&again);
        assert!(events(&ionveil) > before);
    }
    assert_eq!(record(&with_id(&ionveil, 1)), first);
    let services = blocking::PolicyEngine::new(&ionveil).with_command_id(Uuid::from_u128(1_001));
    assert_eq!(services.record(&org(), false, 2).expect("recorded"), first, "as given to the service");
}

#[test]
fn what_takes_no_id_and_what_an_id_was_not_given_to_is_refused() {
    let dir = TempDir::new().expect("a directory");
    let things = things(dir.path());
    let ionveil = open(dir.path());
    let once = with_id(&ionveil, 1);
    let engine = blocking::PolicyEngine::new(&once);
    engine.record(&org(), true, 1).expect("recorded");
    let simulator = blocking::PolicySimulator::new(&once);
    let before = events(&ionveil);
    let many = vec![(instant(70), true); 1_000_001];
    // The first is taken in, each of the others is rejected with a reason: too much to be remembered.
    let rejected: Vec<_> = (0..20_000).map(|number| (instant(100 - number), false)).collect();
    let SimulationRequest { scenario, pattern, .. } = request();
    for refusal in [
        refused(engine.configure(&org(), PolicyScenario { name: "other".into(), ..PolicyScenario::default() })),
        refused(engine.record_batch(&org(), &many)),
        refused(blocking::PolicyEngine::new(&with_id(&ionveil, 2)).record_batch(&org(), &rejected)),
        refused(simulator.run_simulation(&things.simulation)),
        refused(simulator.compare_scenarios(vec![scenario], pattern, 60)),
        refused(blocking::EscalationManager::new(&once).check_escalations()),
    ] {
        assert!(refusal.contains("command_id"), "{refusal}");
    }
    assert_eq!(events(&ionveil), before);
}

/// What a call tells others by itself does not go under its id, and the streams are read past what the runtime notes.
#[test]
fn what_follows_from_a_call_goes_on_as_ever() {
    let clock = Arc::new(ManualClock::new(instant(60)));
    let ionveil = IonVeil::open(Config::in_memory().with_clock(clock)).expect("it opens");
    let monitor = |number| blocking::SlaMonitorService::new(&with_id(&ionveil, number));
    monitor(1).check_incident(breached("i")).expect("checked");
    let slow = AlertRule::from_json(&json!({
        "rule_id": "slow", "name": "Slow", "condition_type": "threshold", "severity": "critical",
        "threshold_config": {"metric": "response_time", "window": "5m", "aggregation": "avg", "op": ">", "value": 1},
        "notification_channels": ["log"],
    }));
    monitor(2).add_rule(slow.expect("a good rule")).expect("stored");
    let policy = escalation_policy("p");
    let manager = blocking::EscalationManager::new(&ionveil).with_command_id(Uuid::from_u128(3));
    assert_eq!(manager.set_policy(&org(), policy.clone()).expect("set"), policy);
    let aggregator = blocking::DispatchAggregator::new(&with_id(&ionveil, 4));
    let at = |id: &str, minute| dispatch(id, &instant(minute).to_string(), json!({}));
    let closing = vec![at("a", 0), at("b", 7)];
    for _ in 0..2 {
        assert_eq!(aggregator.ingest_batch(closing.clone()).expect("counted").accepted, 2);
    }
    let raised = monitor(5).get_active_alerts(&org(), None, None).expect("a list");
    assert_eq!(raised.iter().map(|alert| alert.rule_id.as_str()).collect::<Vec<_>>(), ["slow"]);
    let standard = Standard::find("nfpa-1710-2020").expect("a standard");
    let field = blocking::FieldPerformance::new(&ionveil);
    field.compliance(&org(), standard, GroupBy::Severity, Span::default()).expect("a report");
}

#[test]
fn a_batch_of_several_messages_is_reported_as_it_was() {
    let ionveil = IonVeil::open(Config::in_memory()).expect("it opens");
    // The same thousand twice: the second message brings the same events, and gets its own report.
    let batch = [dispatches("e", 1_000), dispatches("e", 1_000), dispatches("f", 5)].concat();
    let ingest = |it: &IonVeil| blocking::DispatchAggregator::new(it).ingest_batch(batch.clone()).expect("counted");
    let first = ingest(&with_id(&ionveil, 1));
    assert_eq!((first.accepted, first.duplicates.len()), (1_005, 1_000));
    let before = events(&ionveil);
    assert_eq!(ingest(&with_id(&ionveil, 1)), first);
    assert_eq!(ingest(&ionveil).duplicates.len(), 2_005);
    assert_eq!(events(&ionveil), before);
    // Other events under the same id are judged by themselves.
    let other = blocking::DispatchAggregator::new(&with_id(&ionveil, 1));
    assert_eq!(other.ingest_batch(dispatches("g", 3)).expect("counted").accepted, 3);
    for ids in [["ab", "c"], ["a", "bc"]] {
        let (batch, before) = (ids.map(|id| dispatch(id, "2026-01-31T11:55:00Z", json!({}))), events(&ionveil));
        assert_eq!(other.ingest_batch(batch.to_vec()).expect("counted").accepted, 2, "{ids:?}");
        assert!(events(&ionveil) >= before + 2, "{ids:?} are other events");
    }
}
