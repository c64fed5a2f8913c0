//! IonVeil inside a host of any kind: threads, executors, several at once, shutting down, being flooded.

use std::sync::Arc;
use std::time::Duration;

use ionveil::dispatch::{
    AggregationType, DispatchEvent, GetMetric, IngestBatch, IngestReport, Instant, Metric, RejectedBecause,
};
use ionveil::domain::{OrgId, TimeWindow, Timestamp};
use ionveil::journal::{Hash, Position, StreamId};
use ionveil::runtime::{Caller, Limits, Reply};
use ionveil::{AuditFilter, Config, Ingested, IonVeil, Kind, blocking};
use pollster::block_on;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{child, dispatch};

const AT: &str = "2026-01-31T12:00:30Z";
const TIMEOUT: Duration = Duration::from_secs(60);

fn org() -> OrgId {
    "sffd".parse().expect("an id")
}

fn event(id: &str) -> DispatchEvent {
    dispatch(id, AT, json!({}))
}

fn in_memory() -> IonVeil {
    IonVeil::open(Config::in_memory()).expect("memory")
}

fn count_question() -> GetMetric {
    let mut question = GetMetric::new(Metric::DispatchCount, TimeWindow::All, AggregationType::Count);
    (question.start, question.end) = (Some(Instant::At(Timestamp::EPOCH)), Some(Instant::Latest));
    question
}

fn count(ionveil: &IonVeil) -> u64 {
    block_on(ionveil.dispatch_aggregator().get_metric(&org(), count_question())).expect("an answer")[0].sample_count
}

/// All that a host does, in whatever executor it is driven by: opened, used, shut down, opened again.
async fn whole_life() {
    let dir = TempDir::new().expect("a temporary directory");
    for life in 1..=2 {
        let ionveil = IonVeil::open(Config::at(dir.path())).expect("the journal is free");
        let aggregator = ionveil.dispatch_aggregator();
        let new = aggregator.ingest_event(event(&format!("e-{life}"))).await.expect("taken");
        assert_eq!(new, Ingested::Accepted);
        assert_eq!(aggregator.ingest_event(event("e-1")).await.expect("taken"), Ingested::Duplicate);
        let answer = aggregator.get_metric(&org(), count_question()).await.expect("an answer");
        assert_eq!(answer[0].sample_count, life);
        let then = aggregator.get_metric_at(&org(), Position::new(1), count_question()).await.expect("an answer");
        assert_eq!(then[0].sample_count, 1);
        assert!(aggregator.get_dashboard_snapshot(&org(), Some(Instant::Latest)).await.is_ok());
        let regions = ionveil.geographic_breakdown().get_regional_summary(&org(), None, Some(Instant::Latest)).await;
        assert_eq!(regions.expect("an answer")["B04"].dispatch_count, life);
        assert_eq!(ionveil.audit().page(AuditFilter::default(), 0).await.expect("entries").len() as u64, life);
        let verified = ionveil.audit().verify(None).await.expect("can be read");
        assert!(verified.ok && verified.events == life, "{verified:?}");
        assert!(ionveil.shutdown(TIMEOUT).await);
    }
}

#[test]
fn from_a_plain_thread() {
    block_on(whole_life());
}

#[test]
fn from_a_multi_thread_tokio_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
    runtime.block_on(async { tokio::spawn(whole_life()).await.expect("no panic") });
}

#[test]
fn from_a_current_thread_tokio_runtime() {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(whole_life());
}

#[test]
fn from_an_actix_system_of_the_host() {
    actix::System::new().block_on(async {
        whole_life().await;
        // The host's own arbiters go on.
        let (sender, receiver) = tokio::sync::oneshot::channel();
        actix::Arbiter::current().spawn(async move {
            let _ = sender.send(7);
        });
        assert_eq!(receiver.await, Ok(7));
    });
}

#[test]
fn without_async_every_service_is_offered_as_well() {
    let ionveil = in_memory();
    let aggregator = blocking::DispatchAggregator::new(&ionveil);
    assert_eq!(aggregator.ingest_event(event("a")).expect("taken"), Ingested::Accepted);
    assert_eq!(aggregator.ingest_batch(vec![event("a"), event("b")]).expect("taken").duplicates, [0]);
    assert!(aggregator.set_retention(&org(), 0).expect("in range"));
    assert!(!aggregator.set_retention(&org(), 0).expect("in range"));
    assert_eq!(aggregator.get_watermark(&org()).expect("an answer"), Some(AT.parse().expect("an instant")));
    assert_eq!(aggregator.get_watermark(&"other".parse().expect("an id")).expect("an answer"), None);
    assert_eq!(aggregator.get_metric(&org(), count_question()).expect("an answer")[0].sample_count, 2);
    let then = Position::new(1);
    assert_eq!(aggregator.get_metric_at(&org(), then, count_question()).expect("an answer")[0].sample_count, 1);
    assert!(aggregator.get_dashboard_snapshot(&org(), None).is_ok());
    assert!(aggregator.get_dashboard_snapshot_at(&org(), then, Some(Instant::Latest)).is_ok());
    let breakdown = blocking::GeographicBreakdown::new(&ionveil);
    assert_eq!(breakdown.get_regional_summary(&org(), None, Some(Instant::Latest)).expect("an answer").len(), 1);
    let audit = blocking::Audit::new(&ionveil);
    assert_eq!(audit.page(AuditFilter::default(), 2).expect("entries").len(), 1);
    assert_eq!((audit.streams().len(), audit.stat().events), (1, 3));
    let stream: StreamId = "dispatch/sffd".parse().expect("an address");
    assert_eq!(audit.stream_len(&stream).expect("it exists"), 3);
    assert!(audit.verify(Some(audit.stat().head.head_hash)).expect("can be read").ok);
    assert!(blocking::shutdown(&ionveil, TIMEOUT));
    assert!(blocking::shutdown(&ionveil, TIMEOUT), "the second time does nothing");
}

#[test]
fn several_instances_in_one_process_know_nothing_of_each_other() {
    let dir = TempDir::new().expect("a temporary directory");
    let open = |name: &str| IonVeil::open(Config::at(dir.path().join(name))).expect("the journal is free");
    let (one, other) = (open("one"), open("other"));
    block_on(one.dispatch_aggregator().ingest_batch(vec![event("a"), event("b")])).expect("taken");
    block_on(other.dispatch_aggregator().ingest_batch(vec![event("a")])).expect("taken");
    assert_eq!((count(&one), count(&other)), (2, 1));
    assert!(block_on(one.shutdown(TIMEOUT)));
    assert_eq!(count(&other), 1);
    let held = IonVeil::open(Config::at(dir.path().join("other"))).err().expect("it is held");
    assert_eq!(held.kind(), Kind::Unavailable);
}

#[test]
fn handles_on_many_threads_lose_and_double_nothing() {
    let ionveil = in_memory();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let handle = ionveil.clone();
            scope.spawn(move || {
                let aggregator = blocking::DispatchAggregator::new(&handle);
                for number in 0..50 {
                    // Half of the ids are shared by two threads.
                    let id =
                        if number % 2 == 0 { format!("{thread}-{number}") } else { format!("{}-{number}", thread / 2) };
                    aggregator.ingest_event(event(&id)).expect("taken");
                }
            });
        }
    });
    // 4 x 25 of one thread each; of the odd numbers those of threads 0 and 1, 2 and 3 are the same.
    assert_eq!(count(&ionveil), 100 + 50);
    assert_eq!(ionveil.audit().stat().events, 150);
}

#[track_caller]
fn acting_as(ionveil: &IonVeil, principal: &str) -> IonVeil {
    ionveil.acting_as(principal).expect("a good name")
}

/// The message itself, as a host may send it.
fn send(ionveil: &IonVeil, number: u64) -> Reply<IngestReport> {
    let message = IngestBatch::from_iter([event(&format!("e-{number}"))]);
    ionveil.dispatches().tell(org().as_str(), message, Caller::default())
}

#[test]
fn after_shutdown_every_call_is_unavailable() {
    if !child::alone("embedding::after_shutdown_every_call_is_unavailable") {
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    let ionveil = IonVeil::open(Config::at(dir.path())).expect("the journal is free");
    let aggregator = ionveil.dispatch_aggregator();
    let under_way: Vec<_> = (0..20).map(|number| send(&ionveil, number)).collect();
    assert!(block_on(ionveil.shutdown(TIMEOUT)), "what was accepted is drained");
    for reply in under_way {
        assert_eq!(block_on(reply).expect("it was accepted before").accepted, 1);
    }
    let kinds = [
        block_on(aggregator.ingest_event(event("late"))).expect_err("shut").kind(),
        block_on(aggregator.get_metric(&org(), count_question())).expect_err("shut").kind(),
        block_on(aggregator.get_metric_at(&org(), Position::new(1), count_question())).expect_err("shut").kind(),
        block_on(aggregator.get_dashboard_snapshot(&org(), None)).expect_err("shut").kind(),
        block_on(aggregator.set_retention(&org(), 1)).expect_err("shut").kind(),
        block_on(ionveil.audit().page(AuditFilter::default(), 0)).expect_err("shut").kind(),
        block_on(ionveil.audit().verify(None)).expect_err("shut").kind(),
    ];
    assert_eq!(kinds, [Kind::Unavailable; 7]);
    drop((aggregator, ionveil));
    let reopened = IonVeil::open(Config::at(dir.path())).expect("the journal is free at once");
    assert_eq!(count(&reopened), 20);
}

#[test]
fn dropping_the_last_handle_shuts_down_as_well() {
    if !child::alone("embedding::dropping_the_last_handle_shuts_down_as_well") {
        return;
    }
    let dir = TempDir::new().expect("a temporary directory");
    for life in 0..5u64 {
        let ionveil = IonVeil::open(Config::at(dir.path())).expect("the journal is free at once");
        let aggregator = ionveil.dispatch_aggregator();
        let reply = send(&ionveil, life);
        drop(ionveil);
        // The aggregator is a handle too.
        assert!(block_on(aggregator.get_watermark(&org())).expect("it still runs").is_some());
        drop(aggregator);
        assert_eq!(block_on(reply).expect("it was accepted before").accepted, 1);
    }
    assert_eq!(count(&IonVeil::open(Config::at(dir.path())).expect("the journal is free at once")), 5);
}

/// In a process of its own, since other tests of this one have threads of the same names.
#[test]
fn no_thread_is_left_behind() {
    if !child::alone("embedding::no_thread_is_left_behind") {
        return;
    }
    let ours = || -> Vec<String> {
        let tasks = std::fs::read_dir("/proc/self/task").expect("Linux has it");
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        let is_ours =
            |name: &String| name.starts_with("ionveil") || name.starts_with("actix") || name.starts_with("tokio");
        names.filter(is_ours).collect()
    };
    assert_eq!(ours(), [""; 0]);
    let dir = TempDir::new().expect("a temporary directory");
    for drop_only in [false, true] {
        let ionveil = IonVeil::open(Config::at(dir.path())).expect("the journal is free");
        block_on(ionveil.dispatch_aggregator().ingest_event(event("a"))).expect("taken");
        block_on(ionveil.audit().page(AuditFilter::default(), 0)).expect("entries");
        assert!(ours().len() >= 3, "a system, an arbiter and the journal's writer: {:?}", ours());
        if !drop_only {
            assert!(block_on(ionveil.shutdown(TIMEOUT)));
        }
        drop(ionveil);
        // The thread that shut it down has answered and is on its way out; joined threads may be listed for a moment.
        let deadline = std::time::Instant::now() + TIMEOUT;
        while !ours().is_empty() {
            assert!(std::time::Instant::now() < deadline, "left behind: {:?}", ours());
            std::thread::yield_now();
        }
    }
}

#[test]
fn errors_have_kinds_that_programs_can_tell_apart() {
    let ionveil = in_memory();
    let aggregator = blocking::DispatchAggregator::new(&ionveil);
    let mut bad = event("a");
    bad.severity = 6;
    let error = aggregator.ingest_event(bad.clone()).expect_err("out of range");
    let invalid = error.invalid().expect("it says what is allowed");
    assert_eq!((error.kind(), invalid.field.as_str(), invalid.value.as_str()), (Kind::Invalid, "severity", "6"));
    let report = aggregator.ingest_batch(vec![event("a"), bad, event("b"), event("a")]).expect("taken");
    assert_eq!((report.accepted, report.duplicates.as_slice(), report.rejected.len()), (2, &[3][..], 1));
    assert_eq!(report.rejected[0].index, 1);
    assert!(matches!(report.rejected[0].because, RejectedBecause::Invalid(_)));
    assert_eq!(ionveil.audit().stat().events, 2);
    assert_eq!(aggregator.set_retention(&org(), u32::MAX).expect_err("out of range").kind(), Kind::Invalid);
    let nobody: StreamId = "dispatch/nobody".parse().expect("an address");
    assert_eq!(ionveil.audit().stream_len(&nobody).expect_err("nothing there").kind(), Kind::NotFound);
    let foreign: Hash = "ab".repeat(32).parse().expect("64 digits");
    let verified = block_on(ionveil.audit().verify(Some(foreign))).expect("can be read");
    assert!(!verified.ok && verified.problem.is_some(), "{verified:?}");
    let names = [
        Kind::NotFound,
        Kind::Invalid,
        Kind::Conflict,
        Kind::Overloaded,
        Kind::Forbidden,
        Kind::Unavailable,
        Kind::Corrupt,
    ]
    .map(Kind::as_str);
    assert_eq!(names, ["not_found", "invalid", "conflict", "overloaded", "forbidden", "unavailable", "corrupt"]);
}

#[test]
fn a_batch_of_several_orgs_reports_by_its_own_indices() {
    let ionveil = in_memory();
    let aggregator = blocking::DispatchAggregator::new(&ionveil);
    let orgs = ["a", "b", "c"];
    let mut events: Vec<_> =
        (0..3_300).map(|n| dispatch(&format!("e-{n}"), AT, json!({ "org_id": (orgs[n % 3]) }))).collect();
    for index in [5, 1_500, 3_299] {
        events[index].distance_km = f64::NAN;
    }
    events[3_000] = events[0].clone();
    let report = aggregator.ingest_batch(events).expect("taken");
    assert_eq!((report.accepted, report.duplicates.as_slice()), (3_300 - 4, &[3_000][..]));
    assert_eq!(report.rejected.iter().map(|rejected| rejected.index).collect::<Vec<_>>(), [5, 1_500, 3_299]);
    assert_eq!(ionveil.audit().streams().len(), 3);
}

#[test]
fn a_flood_is_refused_with_a_hint_and_nothing_accepted_is_lost() {
    let limits = Limits { threads: 1, entity_messages_max: 8, system_messages_max: 1_000, ..Limits::default() };
    let dir = TempDir::new().expect("a temporary directory");
    let ionveil = IonVeil::open(Config::at(dir.path()).with_limits(limits)).expect("the journal is free");
    let aggregator = ionveil.dispatch_aggregator();
    let replies: Vec<_> = (0..500).map(|number| send(&ionveil, number)).collect();
    let mut accepted = Vec::new();
    let mut refused = 0;
    for (number, reply) in replies.into_iter().enumerate() {
        match block_on(reply) {
            Ok(report) => {
                assert_eq!(report.accepted, 1);
                accepted.push(format!("e-{number}"));
            }
            Err(error) => {
                assert_eq!(error.kind(), Kind::Overloaded, "{error}");
                assert!(ionveil::Error::from(error).retry_after().is_some_and(|hint| hint > Duration::ZERO));
                refused += 1;
            }
        }
    }
    assert!(accepted.len() >= 8 && refused > 0, "{} accepted, {refused} refused", accepted.len());
    let entries = block_on(ionveil.audit().page(AuditFilter::default(), 0)).expect("entries");
    let journaled: Vec<_> =
        entries.iter().map(|entry| entry.payload["event_id"].as_str().expect("a text").to_owned()).collect();
    assert_eq!(journaled, accepted, "in the order in which they were sent");
    // Later it works again.
    let late = block_on(aggregator.ingest_event(event("late"))).expect("the queue is empty again");
    assert_eq!(late, Ingested::Accepted);
}

#[test]
fn who_acts_stands_in_the_audit_with_one_correlation() {
    let ionveil = in_memory();
    let (ada, bob) = (acting_as(&ionveil, "ada"), acting_as(&ionveil, "bob"));
    let send =
        |handle: &IonVeil, id: &str| block_on(handle.dispatch_aggregator().ingest_event(event(id))).expect("taken");
    send(&ada, "a");
    send(&bob, "b");
    send(&ada.clone(), "c");
    send(&ionveil, "d");
    let page = |user: Option<&str>| {
        let filter = AuditFilter { user: user.map(str::to_owned), ..AuditFilter::default() };
        block_on(ionveil.audit().page(filter, 0)).expect("entries")
    };
    let all = page(None);
    assert_eq!(all.iter().map(|entry| entry.by.as_str()).collect::<Vec<_>>(), ["ada", "bob", "ada", "system"]);
    let of = |index: usize| all[index].correlation_id;
    assert!(of(0).is_some() && of(0) == of(2) && of(0) != of(1) && of(3).is_none());
    assert!(all.iter().all(|entry| entry.causation_id.is_some()));
    assert_eq!(page(Some("ada")), [all[0].clone(), all[2].clone()]);
    assert_eq!(page(Some("system")), [all[3].clone()]);
}

#[test]
fn a_clock_of_the_hosts_decides_what_now_is() {
    let clock = Arc::new(ionveil::runtime::ManualClock::new("2001-01-01T00:00:00Z".parse().expect("an instant")));
    let ionveil = IonVeil::open(Config::in_memory().with_clock(Arc::clone(&clock) as _)).expect("memory");
    let aggregator = blocking::DispatchAggregator::new(&ionveil);
    assert_eq!(aggregator.ingest_event(event("a")).expect_err("in the future").kind(), Kind::Invalid);
    clock.set(AT.parse().expect("an instant"));
    assert_eq!(aggregator.ingest_event(event("a")).expect("taken"), Ingested::Accepted);
    let snapshot = aggregator.get_dashboard_snapshot(&org(), None).expect("an answer");
    assert_eq!(snapshot.timestamp.to_string(), AT);
    // When it was written is the machine's business.
    let entry = &block_on(ionveil.audit().page(AuditFilter::default(), 0)).expect("entries")[0];
    assert!(entry.recorded_at > "2026-06-01T00:00:00Z".parse().expect("an instant"), "{}", entry.recorded_at);
}

fn assert_is_a_handle<T: Clone + Send + Sync + 'static>() {}

#[test]
fn handles_may_go_anywhere() {
    assert_is_a_handle::<IonVeil>();
    assert_is_a_handle::<ionveil::DispatchAggregator>();
    assert_is_a_handle::<ionveil::GeographicBreakdown>();
    assert_is_a_handle::<ionveil::Audit>();
}

/// Large events once made an ingest of its own crowd itself out of the journal's queue.
#[test]
fn a_stream_of_large_events_never_crowds_itself_out() {
    let dir = TempDir::new().expect("a temporary directory");
    let ionveil = IonVeil::open(Config::at(dir.path())).expect("the journal is free");
    let large = |number: u64| {
        let mut event = event(&format!("e-{number}"));
        event.metadata.insert("note".into(), json!("x".repeat(4 << 20)));
        event
    };
    let mut stream = ionveil.dispatch_aggregator().ingest_stream();
    let mut settled_tags = Vec::new();
    for number in 0..24 {
        stream.push(number, large(number));
        while stream.is_full() {
            let settled = block_on(stream.settle()).expect("there is room").expect("something is under way");
            assert_eq!(settled.report.accepted, settled.tags.len());
            settled_tags.extend(settled.tags);
        }
    }
    stream.flush();
    while let Some(settled) = block_on(stream.settle()).expect("there is room") {
        settled_tags.extend(settled.tags);
    }
    assert_eq!(settled_tags, (0..24).collect::<Vec<_>>());
    assert_eq!(count(&ionveil), 24);

    let mut too_large = event("too-large");
    too_large.metadata.insert("note".into(), json!("x".repeat(16 << 20)));
    let refused =
        block_on(ionveil.dispatch_aggregator().ingest_event(too_large)).expect_err("no event may be so large");
    assert_eq!(refused.invalid().expect("it names the field").field, "metadata");
    assert_eq!(count(&ionveil), 24);
}

#[test]
fn a_name_in_the_audit_trail_is_a_name_and_not_the_systems() {
    let ionveil = IonVeil::open(Config::in_memory()).expect("memory");
    for name in ["", "system", "a/b", "a\nb", &"x".repeat(129)] {
        let refused = ionveil.acting_as(name).err().unwrap_or_else(|| panic!("{name:?} was taken"));
        assert_eq!(refused.invalid().expect("it names the field").field, "principal", "{name:?}");
    }
}

/// The second one was once told that all was done while the first was still at it.
#[test]
fn whoever_shuts_down_second_waits_for_the_first() {
    let dir = TempDir::new().expect("a temporary directory");
    for _ in 0..10 {
        let ionveil = IonVeil::open(Config::at(dir.path())).expect("the journal is free");
        let under_way: Vec<_> = (0..50).map(|number| send(&ionveil, number)).collect();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    assert!(block_on(ionveil.shutdown(TIMEOUT)));
                    drop(IonVeil::open(Config::at(dir.path()).existing()).map_err(|error| error.kind()));
                    let late = block_on(ionveil.dispatch_aggregator().get_watermark(&org()));
                    assert_eq!(late.expect_err("shut").kind(), Kind::Unavailable);
                });
            }
        });
        under_way.into_iter().for_each(|reply| drop(block_on(reply).expect("it was accepted before")));
    }
}

/// As a time-out around `shutdown` does it: the future is dropped, then the handle, and the directory has to be free.
#[test]
fn a_shutdown_that_nobody_waits_for_is_waited_for_by_the_last_handle() {
    let dir = TempDir::new().expect("a temporary directory");
    for number in 0..20 {
        let ionveil = IonVeil::open(Config::at(dir.path())).expect("the last handle has waited");
        drop(send(&ionveil, number));
        let mut shutdown = Box::pin(ionveil.shutdown(TIMEOUT));
        let _ = shutdown.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        drop(shutdown);
        drop(ionveil);
    }
}

#[test]
fn a_stream_over_more_orgs_than_the_queues_hold_gets_through() {
    let limits = Limits { threads: 1, entity_messages_max: 2, system_messages_max: 3, ..Limits::default() };
    let ionveil = IonVeil::open(Config::in_memory().with_limits(limits)).expect("memory");
    let events = (0..3_000).map(|number| {
        let mut event = event(&format!("e-{number}"));
        event.org_id = format!("org-{}", number % 700).parse().expect("an org");
        event
    });
    let report = block_on(ionveil.dispatch_aggregator().ingest_batch(events.collect())).expect("it makes its own room");
    assert_eq!((report.accepted, report.rejected.len()), (3_000, 0));
    assert_eq!(ionveil.audit().streams().len(), 700);
}
