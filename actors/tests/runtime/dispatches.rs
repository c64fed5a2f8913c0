//! The dispatches of an org through the runtime: ingested, asked, restarted, and shown to an auditor.

use std::ops::ControlFlow;
use std::sync::Arc;

use ionveil_actors::catalogue::payload_json;
use ionveil_actors::dispatch::{
    AggregationType, DispatchEvent, Dispatches, GetDashboardSnapshot, GetMetric, IngestBatch, Instant, Metric,
    SetRetention,
};
use ionveil_actors::domain::TimeWindow;
use ionveil_actors::runtime::{Caller, Limits, Registry};
use ionveil_journal::{Journal, LocalJournal, Position};
use serde_json::{Value, json};

use crate::support::*;

fn events(count: usize) -> Vec<DispatchEvent> {
    (0..count)
        .map(|n| {
            DispatchEvent::from_json(&json!({
                "event_id": format!("e{n}"), "org_id": "org", "dispatch_id": format!("d{}", n / 2),
                "timestamp": format!("2026-03-01T11:{:02}:00Z", n % 60), "severity": 1 + n % 5,
                "response_time_minutes": (n % 17) as f64 * 0.7, "distance_km": 1.5, "region": (["n", "s"][n % 2]),
                "unit_type": "engine", "metadata": {"n": n}, "status": (["closed", "active"][usize::from(n % 7 == 0)]),
            }))
            .expect("well-formed")
        })
        .collect()
}

fn answers(registry: &Registry<Dispatches>) -> String {
    let metric = GetMetric {
        start: Some(Instant::FromNow(-3_600_000_000)),
        ..GetMetric::new(Metric::ResponseTime, TimeWindow::Minute5, AggregationType::Average)
    };
    let metric = wait(registry.ask("org", metric, Caller::default())).expect("an answer");
    let snapshot = GetDashboardSnapshot { org_id: "org".parse().expect("an id"), as_of: None };
    let snapshot = wait(registry.ask("org", snapshot, Caller::default())).expect("an answer");
    assert_eq!(metric.len(), 12);
    serde_json::to_string(&(metric, snapshot)).expect("JSON")
}

#[test]
fn an_org_answers_the_same_after_a_restart_and_reports_what_it_knows_as_duplicates() {
    let disk = Disk::default();
    let mut answered = Vec::new();
    for start in 0..2 {
        let journal: Arc<dyn Journal> = Arc::new(LocalJournal::on(disk.clone()).expect("a sound disk"));
        let (runtime, _) = runtime_on(Arc::clone(&journal), Limits { threads: 1, ..Limits::default() });
        let registry: Registry<Dispatches> = Registry::new(&runtime);
        if start == 0 {
            assert_eq!(wait(registry.tell("org", SetRetention { hours: 48 }, Caller::default())), Ok(true));
            let replies: Vec<_> = events(300)
                .chunks(50)
                .map(|chunk| registry.tell("org", IngestBatch::from_iter(chunk.to_vec()), Caller::default()))
                .collect();
            for reply in replies {
                assert_eq!(wait(reply).expect("accepted").accepted, 50);
            }
        }
        answered.push(answers(&registry));
        let again = wait(registry.tell("org", IngestBatch::from_iter(events(300)), Caller::default()));
        let again = again.expect("a report");
        assert_eq!((again.accepted, again.duplicates.len(), again.rejected.len()), (0, 300, 0));
        assert_eq!(journal.stat().events, 301);
        answered.push(answers(&registry));
        assert!(runtime.stop(PATIENCE));
        journal.close();
    }
    assert!(answered.iter().all(|answer| *answer == answered[0]));
}

#[test]
fn an_auditor_reads_every_payload_and_is_told_what_cannot_be_read() {
    let world = World::new();
    let registry: Registry<Dispatches> = Registry::new(&world.runtime);
    wait(registry.tell("org", SetRetention { hours: 7 }, Caller::default())).expect("accepted");
    wait(registry.tell("org", IngestBatch::from_iter(events(1)), Caller::default())).expect("accepted");
    wait(world.add("a", 1)).expect("accepted");
    let mut unknown = world.foreign("a", 1, "retention-set", 1);
    unknown.stream = "dispatch/other".parse().expect("a stream");
    unknown.expected = ionveil_journal::Sequence::NONE;
    unknown.events[0].version = 9;
    world.journal.append(unknown);
    let mut seen: Vec<Value> = Vec::new();
    world
        .journal
        .read_all(Position::FIRST, Position::MAX, &mut |record| {
            seen.push(payload_json(record));
            ControlFlow::Continue(())
        })
        .expect("a sound journal");
    assert_eq!(seen[0], json!({"hours": 7}));
    assert_eq!((&seen[1]["event_id"], &seen[1]["metadata"]), (&json!("e0"), &json!({"n": 0})));
    assert_eq!(seen[2], json!({"unreadable": "streams of kind counter are not known"}));
    assert_eq!(seen[3], json!({"unreadable": "event type retention-set version 9 is not known"}));
}
