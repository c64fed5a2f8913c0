//! Live updates: what a flush tells, to whom, and what becomes of those who are slow or away.

use std::sync::Arc;
use std::time::Duration;

use ionveil::dispatch::{Metric, Status};
use ionveil::domain::{MICROS_PER_MINUTE, OrgId, Timestamp};
use ionveil::journal::Position;
use ionveil::runtime::{Caller, ManualClock};
use ionveil::{BUFFERED_UPDATES_MAX, Config, DispatchEvent, IonVeil, Kind, MetricUpdate, Update, blocking};
use serde_json::json;

use crate::support::{Home, dispatch};

const NOW: &str = "2026-01-31T12:00:00Z";

fn org() -> OrgId {
    "sffd".parse().expect("an id")
}

fn config(config: Config) -> Config {
    let clock = ManualClock::new(NOW.parse().expect("an instant"));
    config.with_clock(Arc::new(clock)).with_flush_interval(Duration::ZERO)
}

fn in_memory() -> (IonVeil, blocking::DispatchAggregator) {
    let ionveil = IonVeil::open(config(Config::in_memory())).expect("memory");
    let aggregator = blocking::DispatchAggregator::new(&ionveil);
    (ionveil, aggregator)
}

/// An event so many minutes before now.
fn minutes_ago(id: &str, minutes: i64) -> DispatchEvent {
    let now: Timestamp = NOW.parse().expect("an instant");
    dispatch(id, &now.saturating_add_micros(-minutes * MICROS_PER_MINUTE).to_string(), json!({}))
}

fn ingest(aggregator: &blocking::DispatchAggregator, events: impl IntoIterator<Item = DispatchEvent>) {
    let report = aggregator.ingest_batch(events.into_iter().collect()).expect("taken");
    assert_eq!(report.rejected, []);
}

#[track_caller]
fn metric(update: Option<Update>) -> Arc<MetricUpdate> {
    match update {
        Some(Update::Metric(update)) => update,
        other => panic!("{other:?} is no update of a metric"),
    }
}

/// Window start, metric and value of what comes next.
#[track_caller]
fn said(update: Option<Update>) -> (String, &'static str, Option<f64>) {
    let update = metric(update);
    (update.metric.window_start.to_string()[11..16].to_owned(), update.metric.metric_name, update.metric.value)
}

#[test]
fn a_flush_counts_one_update_per_changed_minute_and_metric_heard_or_not() {
    let (_ionveil, aggregator) = in_memory();
    assert_eq!((aggregator.get_buffer_size().expect("read"), aggregator.flush().expect("told")), (0, 0));
    aggregator.set_retention(&org(), 48).expect("in range");
    assert_eq!(aggregator.get_buffer_size().expect("read"), 0, "only events are counted");
    let pending = DispatchEvent { status: Status::Pending, ..minutes_ago("p", 9) };
    ingest(&aggregator, [minutes_ago("a", 5), minutes_ago("b", 5), minutes_ago("c", 1), minutes_ago("a", 5), pending]);
    assert_eq!(aggregator.get_buffer_size().expect("read"), 4, "a duplicate is not accepted");
    assert_eq!(aggregator.flush().expect("told"), 2 * Metric::ALL.len(), "a pending one changes no window");
    assert_eq!((aggregator.get_buffer_size().expect("read"), aggregator.flush().expect("told")), (0, 0));
    ingest(&aggregator, [DispatchEvent { org_id: "other".parse().expect("an id"), ..minutes_ago("a", 5) }]);
    assert_eq!((aggregator.get_buffer_size().expect("read"), aggregator.flush().expect("told")), (1, 4));
}

#[test]
fn messages_that_a_host_sends_itself_are_told_like_any_other() {
    let (ionveil, aggregator) = in_memory();
    let message = ionveil::dispatch::IngestBatch::from_iter([minutes_ago("a", 5)]);
    let report = pollster::block_on(ionveil.dispatches().tell("sffd", message, Caller::default())).expect("taken");
    assert_eq!((report.accepted, aggregator.get_buffer_size().expect("read")), (1, 1));
}

#[test]
fn subscribers_hear_of_their_org_and_metrics_only() {
    let (_ionveil, aggregator) = in_memory();
    let metrics = [Metric::ResponseTime, Metric::DispatchCount];
    let mut updates = aggregator.subscribe_to_updates(&org(), &metrics).expect("a subscription");
    let mut again = aggregator.subscribe_to_updates(&org(), &[metrics[1], metrics[0]]).expect("a subscription");
    let slow = dispatch("b", "2026-01-31T11:55:30Z", json!({ "response_time_minutes": 7.5 }));
    let elsewhere = DispatchEvent { org_id: "other".parse().expect("an id"), ..minutes_ago("x", 3) };
    ingest(&aggregator, [minutes_ago("a", 5), slow, minutes_ago("c", 1), elsewhere]);
    assert_eq!(aggregator.flush().expect("told"), 3 * 4);
    let expected = [
        ("11:55".to_owned(), "response_time", Some(5.0)),
        ("11:55".to_owned(), "dispatch_count", Some(2.0)),
        ("11:59".to_owned(), "response_time", Some(2.5)),
        ("11:59".to_owned(), "dispatch_count", Some(1.0)),
    ];
    let heard: Vec<Arc<MetricUpdate>> = (0..4).map(|_| metric(updates.next())).collect();
    let heard_again: Vec<Arc<MetricUpdate>> = (0..4).map(|_| metric(again.next())).collect();
    for (update, expected) in heard.iter().zip(&expected) {
        assert_eq!(said(Some(Update::Metric(Arc::clone(update)))), *expected);
    }
    // Equal subscriptions share one update, not copies of it.
    assert!(heard.iter().zip(&heard_again).all(|(one, other)| Arc::ptr_eq(one, other)));
    // A window that changes again is told again, with its whole value.
    ingest(&aggregator, [minutes_ago("d", 5)]);
    aggregator.flush().expect("told");
    assert_eq!(said(updates.next()), ("11:55".to_owned(), "response_time", Some((2.5 + 7.5 + 2.5) / 3.0)));
    assert!(metric(updates.next()).position > heard[3].position, "positions grow");
    let json = serde_json::to_value(&*heard[0]).expect("JSON");
    assert_eq!((&json["position"], &json["metric_name"]), (&json!(heard[0].position.get()), &json!("response_time")));
    let refused = aggregator.subscribe_to_updates(&org(), &[]).err().expect("no metric");
    assert_eq!((refused.kind(), refused.invalid().map(|it| it.field)), (Kind::Invalid, Some("metrics".into())));
}

#[test]
fn a_slow_subscriber_loses_the_oldest_is_told_how_many_and_resumes() {
    let (_ionveil, aggregator) = in_memory();
    let counts = [Metric::DispatchCount];
    let mut slow = aggregator.subscribe_to_updates(&org(), &counts).expect("a subscription");
    ingest(&aggregator, [minutes_ago("first", 1_300)]);
    aggregator.flush().expect("told");
    let first = metric(slow.next());
    for n in 0..BUFFERED_UPDATES_MAX as i64 + 10 {
        ingest(&aggregator, [minutes_ago(&format!("e{n}"), 1_200 - n)]);
        if n % 3 == 0 {
            aggregator.flush().expect("told");
        }
    }
    aggregator.flush().expect("told");
    let Some(Update::Missed { updates, resume_from }) = slow.next() else { panic!("it was too slow") };
    assert_eq!((updates, resume_from), (10, first.position));
    let kept: Vec<_> = (0..BUFFERED_UPDATES_MAX).map(|_| said(slow.next())).collect();
    assert_eq!(kept.len(), BUFFERED_UPDATES_MAX);
    // From where it was it hears the present value of every minute since, as far as the buffer goes.
    let mut resumed = aggregator.resume_updates(&org(), &counts, resume_from).expect("a subscription");
    let Some(Update::Missed { updates: 10, resume_from: again }) = resumed.next() else { panic!("it was away long") };
    assert_eq!(again, resume_from);
    let since: Vec<_> = (0..BUFFERED_UPDATES_MAX).map(|_| said(resumed.next())).collect();
    assert_eq!(since, kept);
    // And then what comes.
    ingest(&aggregator, [minutes_ago("last", 1)]);
    aggregator.flush().expect("told");
    assert_eq!(said(resumed.next()), ("11:59".to_owned(), "dispatch_count", Some(1.0)));
}

#[test]
fn a_subscription_resumes_over_a_restart_and_a_restart_empties_the_buffer() {
    let home = Home::new();
    let open = || {
        let ionveil = IonVeil::open(config(Config::at(home.data()))).expect("the journal is free");
        let aggregator = blocking::DispatchAggregator::new(&ionveil);
        (ionveil, aggregator)
    };
    let (ionveil, aggregator) = open();
    let mut updates = aggregator.subscribe_to_updates(&org(), &[Metric::DispatchCount]).expect("a subscription");
    ingest(&aggregator, [minutes_ago("a", 9)]);
    aggregator.flush().expect("told");
    let heard = metric(updates.next()).position;
    ingest(&aggregator, [minutes_ago("b", 7), minutes_ago("c", 5)]);
    drop((ionveil, aggregator));
    let (_ionveil, aggregator) = open();
    assert_eq!((aggregator.get_buffer_size().expect("read"), aggregator.flush().expect("told")), (0, 0));
    let mut resumed = aggregator.resume_updates(&org(), &[Metric::DispatchCount], heard).expect("a subscription");
    assert_eq!([said(resumed.next()).0, said(resumed.next()).0], ["11:53".to_owned(), "11:55".to_owned()]);
    let mut all = aggregator.resume_updates(&org(), &[Metric::Distance], Position::NONE).expect("a subscription");
    assert_eq!(said(all.next()), ("11:51".to_owned(), "distance", Some(1.25)));
}

#[test]
fn the_stream_waits_without_an_executor_of_ours_and_ends_with_ionveil() {
    let (ionveil, aggregator) = in_memory();
    let mut updates =
        pollster::block_on(ionveil.dispatch_aggregator().subscribe_to_updates(&org(), &[Metric::DispatchCount]))
            .expect("a subscription");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let reader = std::thread::spawn(move || {
        runtime.block_on(async move {
            let mut heard = 0;
            while let Some(Update::Metric(_)) = updates.next().await {
                heard += 1;
            }
            heard
        })
    });
    ingest(&aggregator, [minutes_ago("a", 5), minutes_ago("b", 4)]);
    aggregator.flush().expect("told");
    drop(aggregator);
    pollster::block_on(ionveil.shutdown(Duration::from_secs(10)));
    drop(ionveil);
    assert_eq!(reader.join().expect("does not panic"), 2);
}

#[test]
fn it_flushes_by_itself_at_an_interval() {
    let config = config(Config::in_memory()).with_flush_interval(Duration::from_millis(1));
    let ionveil = IonVeil::open(config).expect("memory");
    let aggregator = blocking::DispatchAggregator::new(&ionveil);
    let mut updates = aggregator.subscribe_to_updates(&org(), &[Metric::DispatchCount]).expect("a subscription");
    ingest(&aggregator, [minutes_ago("a", 5)]);
    assert_eq!(said(updates.next()), ("11:55".to_owned(), "dispatch_count", Some(1.0)));
}

/// A thousand subscribers, ten of which never read: memory is bounded by the rings, and nobody waits for them.
#[test]
fn stuck_subscribers_hold_nobody_up() {
    let (_ionveil, aggregator) = in_memory();
    let sets: Vec<Vec<Metric>> = vec![vec![Metric::DispatchCount], Metric::ALL.to_vec()];
    let mut subscribers: Vec<_> =
        (0..1_000).map(|n| aggregator.subscribe_to_updates(&org(), &sets[n % 2]).expect("a subscription")).collect();
    let stuck = subscribers.split_off(990);
    let mut heard = 0;
    for round in 0..40 {
        ingest(&aggregator, (0..30).map(|n| minutes_ago(&format!("{round}-{n}"), 1_300 - round * 30 - n)));
        assert_eq!(aggregator.flush().expect("told"), 30 * Metric::ALL.len());
        for (number, updates) in subscribers.iter_mut().enumerate() {
            for _ in 0..30 * sets[number % 2].len() {
                heard += usize::from(matches!(updates.next(), Some(Update::Metric(_))));
            }
        }
    }
    assert_eq!(heard, 40 * 30 * 495 * (1 + 4), "all that read heard everything");
    for (number, mut updates) in stuck.into_iter().enumerate() {
        let lost = 40 * 30 * sets[number % 2].len() - BUFFERED_UPDATES_MAX;
        assert!(matches!(updates.next(), Some(Update::Missed { updates, .. }) if updates == lost as u64));
    }
}
