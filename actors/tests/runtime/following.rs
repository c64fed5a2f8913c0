//! Followers: each event of a source counts once, in order, over restarts and crashes; who was told of a cause finds its
//! consequence.

use std::ops::ControlFlow;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use ionveil_actors::error::Kind;
use ionveil_actors::runtime::{Caller, Limits, Registry, Runtime};
use ionveil_journal::{Journal, LocalJournal, Position, Sequence};
use uuid::Uuid;

use crate::support::*;

/// Some limits under which followers leave memory after a minute and are stored often.
fn restless() -> Limits {
    Limits { threads: 1, idle_after: Duration::from_secs(60), snapshot_events: 7, ..Limits::default() }
}

#[test]
fn whoever_was_told_of_a_cause_finds_its_consequence_also_without_background_work() {
    for is_on in [false, true] {
        let world = World::new();
        let world = if is_on { world.with_background() } else { world };
        assert_eq!(world.look("a").heard, [0; 0]);
        for by in 1..=20 {
            let source = if by % 3 == 0 { "all" } else { "a" };
            wait(world.add(source, by)).expect("accepted");
            assert_eq!(world.look("a").heard, (1..=by).collect::<Vec<_>>(), "in the order of positions");
        }
        wait(world.add("b", 100)).expect("accepted");
        assert_eq!(world.look("a").heard.len(), 20, "what others follow does not concern it");
        assert_eq!(world.look("b").heard.len(), 7, "but each hears what all follow");
    }
}

#[test]
fn events_that_follow_name_their_cause() {
    let world = World::new();
    let conversation = Uuid::from_u128(7);
    let caller = Caller { principal: Some("ada".into()), correlation_id: Some(conversation), ..Caller::default() };
    wait(world.counters.tell("a", Add(5), caller)).expect("accepted");
    world.look("a");
    let mut causes = Vec::new();
    world
        .journal
        .read_all(Position::FIRST, Position::MAX, &mut |record| {
            causes.push((record.event_type.to_owned(), record.id, record.causation_id, record.correlation_id));
            assert_eq!(record.principal, record.stream.starts_with("counter").then_some("ada"));
            ControlFlow::Continue(())
        })
        .expect("a sound journal");
    let types: Vec<_> = causes.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(types, ["added", "reminded", "runtime-followed"], "the offset is noted with what was made of it");
    assert!(causes[1..].iter().all(|it| it.2 == Some(causes[0].1) && it.3 == Some(conversation)), "{causes:?}");
}

#[test]
fn a_follower_reads_by_itself_when_a_source_grows() {
    let world = World::new().with_background();
    wait(world.add("a", 5)).expect("accepted");
    let heard = |world: &World, id: &str| {
        world.journal.stream_head(&format!("reminder/{id}").parse().expect("a stream")).map_or(0, |head| head.0.get())
    };
    until("it has heard", || heard(&world, "a") == 2);
    wait(world.add("all", 6)).expect("accepted");
    until("it has heard of what all follow", || heard(&world, "a") == 4);
    assert_eq!(world.look("a").heard, [5, 6]);
}

#[test]
fn a_restart_neither_loses_nor_repeats_what_was_heard() {
    let mut world = World::with(Disk::default(), restless());
    let mut told = Vec::new();
    for round in 0..10 {
        let is_on = round % 2 == 0;
        if is_on {
            world = world.with_background();
        }
        for n in 0..10 {
            // Every third one leads to nothing.
            let by = if n % 3 == 0 { UNHEARD } else { round * 10 + n };
            wait(world.add(if n % 2 == 0 { "a" } else { "all" }, by)).expect("accepted");
            told.extend((by != UNHEARD).then_some(by));
        }
        if round % 3 == 0 {
            assert_eq!(world.look("a").heard, told);
        }
        world.clock.advance(Duration::from_secs(3600));
        world = world.reopened();
    }
    assert_eq!(world.look("a").heard, told);
}

#[test]
fn a_follower_that_has_not_begun_when_the_power_goes_begins_after_it() {
    let world = World::new();
    wait(world.add("a", 5)).expect("accepted");
    let world = world.reopened().with_background();
    let stream = "reminder/a".parse().expect("a stream");
    until("it has heard", || world.journal.stream_head(&stream).is_some());
    assert_eq!(world.look("a").heard, [5]);
}

#[test]
fn events_that_lead_to_nothing_are_passed_over_without_a_note_but_not_for_ever() {
    let world = World::new();
    for _ in 0..5 {
        wait(world.counters.tell("a", AddEach(vec![UNHEARD; 1_000]), Caller::default())).expect("accepted");
    }
    assert!(world.look("a").heard.is_empty());
    let stream = "reminder/a".parse().expect("a stream");
    assert_eq!(world.journal.stream_head(&stream).map(|head| head.0), Some(Sequence::new(1)), "once in 4,096");
    wait(world.add("a", 5)).expect("accepted");
    assert_eq!(world.look("a").heard, [5]);
    assert_eq!(world.reopened().look("a").heard, [5]);
}

/// Many events of one source, few of the other: what is read of them page by page keeps their order.
#[test]
fn a_long_source_is_read_page_by_page_in_the_order_of_positions() {
    let world = World::new();
    let mut told = Vec::new();
    for round in 0..40 {
        let many: Vec<i64> = (0..100).map(|n| 1 + round * 1_000 + n).collect();
        told.extend(many.iter().copied());
        wait(world.counters.tell("a", AddEach(many), Caller::default())).expect("accepted");
        told.push(1_000_000 + round);
        wait(world.add("all", 1_000_000 + round)).expect("accepted");
    }
    assert_eq!(world.look("a").heard, told);
    assert_eq!(world.reopened().look("a").heard, told);
}

/// Both sources grow while they are read, first the one that was read already: what is read of the other ends where that
/// one ended, or its event would count before an earlier one.
#[test]
fn sources_that_grow_while_they_are_read_keep_the_order_of_positions() {
    let journal = Reluctant::new(Arc::new(LocalJournal::in_memory()));
    let (runtime, _) = runtime_on(Arc::clone(&journal) as _, Limits { threads: 1, ..Limits::default() });
    let counters: Registry<Counter> = Registry::new(&runtime);
    let reminders: Registry<Reminder> = Registry::new(&runtime);
    let look = || wait(reminders.ask("a", Look, Caller::default())).expect("an answer").heard;
    let add = |id: &str, by| wait(counters.tell(id, Add(by), Caller::default())).expect("accepted");
    add("a", 1);
    add("all", 2);
    assert_eq!(look(), [1, 2]);
    add("a", 3);
    *journal.behind_next_read.lock().expect("no panic while it is held") = Some(Box::new({
        let counters = counters.clone();
        move || {
            for id in ["a", "all"] {
                wait(counters.tell(id, Add(if id == "a" { 4 } else { 5 }), Caller::default())).expect("accepted");
            }
        }
    }));
    look();
    assert!(journal.behind_next_read.lock().expect("no panic while it is held").is_none(), "it was read");
    assert_eq!(look(), [1, 2, 3, 4, 5]);
    assert!(runtime.stop(PATIENCE));
}

#[test]
fn a_failed_write_of_a_follower_is_made_up_for() {
    let world = World::new();
    wait(world.add("a", 1)).expect("accepted");
    world.disk.fail(Failing::Lost);
    let refused = wait(world.reminders.ask("a", Look, Caller::default())).expect_err("nothing can be written");
    assert_eq!(refused.kind(), Kind::Unavailable);
    world.disk.mend();
    let world = world.reopened();
    assert_eq!(world.look("a").heard, [1]);
}

#[test]
fn a_follower_that_cannot_take_an_event_says_which_and_leaves_the_others_alone() {
    let world = World::new().with_background();
    wait(world.add("a", 5)).expect("accepted");
    wait(world.add("a", INDIGESTIBLE)).expect("accepted");
    for _ in 0..2 {
        let refused = wait(world.reminders.ask("a", Look, Caller::default())).expect_err("it cannot go on");
        assert_eq!(refused.kind(), Kind::Corrupt);
        assert_eq!(refused.to_string(), "stream counter/a cannot be replayed past sequence 2: indigestible");
    }
    let quarantined = world.runtime.quarantined();
    assert_eq!(quarantined.len(), 1);
    assert_eq!((quarantined[0].entity.as_str(), quarantined[0].stream.as_str()), ("reminder/a", "counter/a"));
    assert_eq!(wait(world.add("a", 1)), Ok(6 + INDIGESTIBLE), "its source goes on");
    assert!(world.look("b").heard.is_empty());
    // What it took in before is not lost.
    until("the note of it", || {
        world.journal.stream_head(&"reminder/a".parse().expect("a stream")).is_some_and(|head| head.0.get() == 2)
    });
}

#[test]
fn the_lag_of_a_follower_can_be_seen() {
    let world = World::new();
    assert!(world.look("a").heard.is_empty());
    assert_eq!(world.runtime.metrics().follower_lag, [("reminder/a".parse().expect("a stream"), 0)]);
    wait(world.counters.tell("a", AddEach(vec![1; 30]), Caller::default())).expect("accepted");
    wait(world.add("all", 1)).expect("accepted");
    assert_eq!(world.runtime.metrics().follower_lag[0].1, 31, "it does not read by itself here");
    world.look("a");
    assert_eq!(world.runtime.metrics().follower_lag[0].1, 0);
}

/// It was told that its source had grown while it answered something, and forgot that when the answer was given.
#[test]
fn a_source_that_grows_while_its_follower_is_busy_is_read_afterwards() {
    let disk = Disk::default();
    let journal = Arc::new(LocalJournal::on(disk.clone()).expect("a sound disk"));
    let clock = Arc::new(Unhurried::new());
    let limits = Limits { threads: 1, ..Limits::default() };
    let runtime = Runtime::start(Arc::clone(&journal) as _, Arc::clone(&clock) as _, limits).expect("threads");
    let counters: Registry<Counter> = Registry::new(&runtime);
    let reminders: Registry<Reminder> = Registry::new(&runtime);
    wait(runtime.start_background()).expect("a survey");
    assert!(wait(reminders.ask("a", Look, Caller::default())).expect("an answer").heard.is_empty());
    assert_eq!(wait(counters.ask("a", Total, Caller::default())), Ok(0));
    clock.hold();
    disk.hold();
    let cause = counters.tell("a", Add(5), Caller::default());
    disk.await_begun(1);
    let ((entered, has_entered), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
    let busy = reminders.ask("a", LookAtLeisure(entered, may_go_on), Caller::default());
    has_entered.recv_timeout(PATIENCE).expect("the follower is busy");
    disk.release();
    assert_eq!(wait(cause), Ok(5));
    until("the follower is told", || runtime.metrics().attention_waiting == 1);
    go_on.send(()).expect("it waits");
    assert!(wait(busy).expect("an answer").heard.is_empty());
    // So that it is through with all that it does after an answer.
    assert_eq!(wait(counters.ask("a", Total, Caller::default())), Ok(5));
    clock.release();
    let stream = "reminder/a".parse().expect("a stream");
    until("it has heard", || journal.stream_head(&stream).is_some());
    assert!(runtime.stop(PATIENCE));
}

/// The panic ended the actor: it was not counted, nothing kept it from being tried in a hot loop, and nothing looked after it
/// any more.
#[test]
fn a_follower_that_panics_at_what_it_makes_of_an_event_is_left_alone_for_a_while() {
    let world = World::new();
    wait(world.add("a", EXPLODING)).expect("accepted");
    for panics in 1..=2 {
        let refused = wait(world.reminders.ask("a", Look, Caller::default())).expect_err("it panics");
        assert_eq!((refused.kind(), world.runtime.metrics().panics), (Kind::Unavailable, panics));
    }
    let refused = wait(world.reminders.ask("a", Look, Caller::default())).expect_err("it is left alone");
    assert!(refused.retry_after().is_some_and(|wait| !wait.is_zero()), "{refused:?}");
    assert_eq!(world.runtime.metrics().panics, 2, "no hot loop");
    assert!(world.look("b").heard.is_empty(), "its neighbour lives");
}
