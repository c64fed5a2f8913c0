//! Timers are state: woken at their instant, once for each, also after a restart, from out of memory, and over clock jumps.

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use ionveil_actors::domain::Timestamp;
use ionveil_actors::error::Kind;
use ionveil_actors::runtime::{Caller, Clock, Limits, ManualClock, Registry, Runtime};
use ionveil_journal::{Journal, LocalJournal, codec};

use crate::support::*;

#[test]
fn an_entity_is_woken_at_the_instant_its_state_names_and_once() {
    let world = World::new().with_background();
    assert_eq!(wait(world.schedule("a", "2026-03-01T13:00:00Z")), Ok(1));
    assert_eq!(wait(world.schedule("a", "2026-03-01T12:30:00Z")), Ok(2));
    assert!(world.look("a").rings.is_empty());
    world.clock.set(instant("2026-03-01T12:29:59.999999Z"));
    assert!(world.look("a").rings.is_empty(), "not before");
    world.clock.set(instant("2026-03-01T12:30:00Z"));
    let rung = world.await_reminder("a", |it| it.rings.len() == 1);
    assert_eq!(rung.rings[0].due, instant("2026-03-01T12:30:00Z"));
    world.clock.set(instant("2026-03-01T13:00:01Z"));
    let rung = world.await_reminder("a", |it| it.rings.len() == 2);
    assert_eq!(rung.rings[1].at, instant("2026-03-01T13:00:01Z"), "it is told the real time");
    world.clock.set(instant("2027-01-01T00:00:00Z"));
    assert_eq!(world.look("a").rings.len(), 2);
    assert_eq!(world.runtime.metrics().wakes, 2);
}

#[test]
fn without_background_work_nothing_is_woken_but_by_the_command_for_it() {
    let world = World::new();
    for (id, at) in [("a", "2026-03-01T15:00:00Z"), ("b", "2026-03-01T14:00:00Z"), ("c", "2026-03-02T00:00:00Z")] {
        assert_eq!(wait(world.schedule(id, at)), Ok(1));
    }
    assert_eq!(wait(world.schedule("a", "2026-03-01T15:30:00Z")), Ok(2));
    world.clock.set(instant("2026-04-01T00:00:00Z"));
    let world = world.reopened();
    assert!(world.look("a").rings.is_empty());
    let now = instant("2026-03-01T16:00:00Z");
    assert_eq!(
        wait(world.reminders.run_due(now)),
        Ok(vec!["b".to_owned(), "a".to_owned()]),
        "in the order of instants"
    );
    assert_eq!(world.look("a").rings.iter().map(|it| it.at).collect::<Vec<_>>(), [now, now], "as of the instant given");
    assert!(world.look("c").rings.is_empty());
    assert_eq!(wait(world.reminders.run_due(now)), Ok(vec![]), "once");
    assert!(world.outside.0.lock().expect("no panic").all.is_empty(), "effects are background work");
}

#[test]
fn a_restart_neither_loses_nor_repeats_a_wake() {
    let limits = Limits { threads: 1, snapshot_events: 5, ..Limits::default() };
    let mut world = World::with(Disk::default(), limits).with_background();
    for minute in 0..30 {
        for id in ["a", "b"] {
            wait(world.schedule(id, &format!("2026-03-01T13:{minute:02}:00Z"))).expect("scheduled");
        }
    }
    wait(world.schedule("later", "2026-03-01T13:10:00Z")).expect("scheduled");
    for step in 0..4 {
        world.clock.set(instant(&format!("2026-03-01T13:{:02}:30Z", step * 8)));
        for id in ["a", "b"] {
            world.await_reminder(id, |it| it.rings.len() == step * 8 + 1);
        }
        world = world.reopened();
        // Down for some of the instants; what was missed is made up for.
        world.clock.advance(Duration::from_secs(30));
        world = world.with_background();
    }
    world.clock.set(instant("2026-03-01T14:00:00Z"));
    for (id, expected) in [("a", 30), ("b", 30), ("later", 1)] {
        let rung = world.await_reminder(id, |it| it.rings.len() >= expected);
        let mut due: Vec<_> = rung.rings.iter().map(|ring| ring.due).collect();
        due.dedup();
        assert_eq!((rung.rings.len(), due.len()), (expected, expected));
        assert!(due.is_sorted());
    }
}

#[test]
fn an_entity_out_of_memory_is_woken_all_the_same() {
    let limits = Limits { threads: 1, idle_after: Duration::from_secs(60), ..Limits::default() };
    let world = World::with(Disk::default(), limits).with_background();
    assert_eq!(wait(world.schedule("a", "2026-03-01T18:00:00Z")), Ok(1));
    world.clock.set(instant("2026-03-01T17:00:00Z"));
    until("nobody in memory", || world.runtime.metrics().entities_live.values().all(|live| *live == 0));
    world.clock.set(instant("2026-03-01T18:00:00Z"));
    until("woken", || world.runtime.metrics().wakes == 1);
    assert_eq!(world.look("a").rings.len(), 1);
}

#[test]
fn years_pass_in_no_time_and_a_clock_that_is_set_back_wakes_nobody_twice() {
    let world = World::new().with_background();
    for year in 2027..2077 {
        wait(world.schedule("a", &format!("{year}-01-01T00:00:00Z"))).expect("scheduled");
    }
    for (year, rings) in [(2030, 4), (2029, 4), (2031, 5), (2026, 5), (2076, 50), (2026, 50)] {
        world.clock.set(instant(&format!("{year}-06-01T00:00:00Z")));
        world.await_reminder("a", |it| it.rings.len() == rings);
    }
    assert_eq!(wait(world.schedule("a", "2026-06-02T00:00:00Z")), Ok(1));
    world.clock.set(instant("2026-06-02T00:00:00Z"));
    world.await_reminder("a", |it| it.rings.len() == 51);
}

#[test]
fn thousands_that_are_due_together_are_all_woken() {
    let world = World::new().with_background();
    let replies: Vec<_> = (0..10_000).map(|n| world.schedule(&format!("e{n}"), "2026-03-01T13:00:00Z")).collect();
    for reply in replies {
        assert_eq!(wait(reply), Ok(1));
    }
    until("all are noted", || world.runtime.metrics().attention_waiting == 10_000);
    world.clock.set(instant("2026-03-01T13:00:00Z"));
    until("all woken", || world.runtime.metrics().wakes == 10_000);
    assert_eq!(world.look("e7777").rings.len(), 1);
}

#[test]
fn a_timer_that_does_not_get_beyond_its_instant_is_a_fault_and_does_not_spin() {
    let world = World::new().with_background();
    assert_eq!(wait(world.reminders.tell("a", Schedule(STUCK), Caller::default())), Ok(1));
    until("noticed", || world.runtime.metrics().faults == 1);
    let events = world.journal.stat().events;
    assert_eq!(wait(world.schedule("b", "2026-03-01T12:00:01Z")), Ok(1));
    world.clock.advance(Duration::from_secs(3600));
    world.await_reminder("b", |it| it.rings.len() == 1);
    assert_eq!(world.runtime.metrics().faults, 1, "not again for this instant");
    assert!(world.look("a").rings.is_empty());
    assert_eq!(wait(world.schedule("a", "2026-03-01T12:00:00Z")), Ok(2), "it goes on otherwise");
    assert!(world.journal.stat().events > events);
}

#[test]
fn a_timer_that_panics_is_tried_again_after_a_while() {
    let world = World::new().with_background();
    assert_eq!(wait(world.reminders.tell("a", Schedule(EXPLOSIVE), Caller::default())), Ok(1));
    until("it panicked twice", || world.runtime.metrics().panics == 2);
    let error = wait(world.schedule("a", "2026-03-01T12:00:00Z")).expect_err("it is left alone");
    assert!(error.retry_after().is_some());
    assert_eq!(world.runtime.metrics().panics, 2, "no hot loop");
    world.clock.advance(Duration::from_secs(1));
    until("and again", || world.runtime.metrics().panics == 3);
}

/// Nothing kept it from being tried in a hot loop.
#[test]
fn a_timer_that_refuses_is_tried_again_after_longer_and_longer() {
    let world = World::new().with_background();
    let refusals = || REFUSALS.load(Ordering::SeqCst);
    let at = Timestamp::from_micros(REFUSED).expect("an instant");
    assert_eq!(wait(world.reminders.tell("a", Schedule(at), Caller::default())), Ok(1));
    for (tries, wait_ms) in [(1, 100), (2, 200), (3, 400)] {
        // Noted, too: until then it reads the clock to say when it is tried again.
        until("it was tried", || refusals() == tries && world.runtime.metrics().attention_waiting == 1);
        // A quarter earlier at most. What it is asked and told meanwhile makes it no less patient.
        world.clock.advance(Duration::from_millis(wait_ms * 3 / 4 - 1));
        for _ in 0..10 {
            world.look("a");
        }
        assert_eq!(refusals(), tries, "not before its time");
        world.clock.advance(Duration::from_millis(wait_ms / 2 + 2));
    }
    until("and again", || refusals() == 4);
    // Another instant has done nothing to be left alone for.
    let earlier = Timestamp::EPOCH.saturating_add_micros(-1);
    assert_eq!(wait(world.reminders.tell("a", Schedule(earlier), Caller::default())), Ok(2));
    until("it is woken for that at once", || refusals() == 5);
}

/// As [`looked_after`], as soon as anybody is.
async fn somebody_looked_after(runtime: &Runtime) -> usize {
    let begin = Instant::now();
    loop {
        match looked_after(runtime).await {
            0 => assert!(begin.elapsed() < PATIENCE, "nobody is looked after"),
            some => return some,
        }
    }
}

/// Does nothing by itself, on this thread, and has no idle entity leave.
fn by_hand(limits: Limits) -> (Arc<Runtime>, Arc<ManualClock>, Registry<Counter>, Registry<Reminder>) {
    let clock = Arc::new(ManualClock::new(instant(NOW)));
    let journal = Arc::new(LocalJournal::in_memory());
    let limits = Limits { idle_after: Duration::MAX, ..limits };
    let runtime = Runtime::on_this_thread(journal, Arc::clone(&clock) as _, limits);
    let (counters, reminders) = (Registry::new(&runtime), Registry::new(&runtime));
    (runtime, clock, counters, reminders)
}

/// It would be looked at again and again in vain, as quickly as a processor can.
#[test]
fn who_waits_for_the_next_try_is_not_looked_after_meanwhile() {
    actix::System::new().block_on(async {
        let (runtime, clock, _, reminders) = by_hand(Limits::default());
        let due = Timestamp::from_micros(TIMID).expect("an instant");
        clock.set(due);
        assert_eq!(runtime.start_background().await, Ok(()));
        assert_eq!(reminders.tell("a", Schedule(due), Caller::default()).await, Ok(1));
        assert_eq!((looked_after(&runtime).await, looked_after(&runtime).await), (1, 0));
        clock.advance(Duration::from_millis(125));
        assert_eq!((looked_after(&runtime).await, looked_after(&runtime).await), (1, 0), "it has waited enough");
        // When it has waited again it is not due any more.
        clock.set(due.saturating_add_micros(-3_600_000_000));
        assert_eq!(looked_after(&runtime).await, 0, "it waits all the same");
        clock.advance(Duration::from_millis(250));
        assert_eq!((looked_after(&runtime).await, looked_after(&runtime).await), (1, 0));
        clock.set(due);
        assert_eq!((looked_after(&runtime).await, looked_after(&runtime).await), (1, 0), "it is again");
    });
}

/// Its source grew, so it was looked after before it was to be, and after that no more.
#[test]
fn who_is_looked_after_too_early_is_looked_after_again_in_time() {
    actix::System::new().block_on(async {
        let (runtime, clock, counters, _reminders) = by_hand(Limits::default());
        assert_eq!(runtime.start_background().await, Ok(()));
        assert_eq!(counters.tell("a", Add(EXPLODING), Caller::default()).await, Ok(EXPLODING));
        // That its source has grown is said behind the reply.
        assert_eq!((somebody_looked_after(&runtime).await, looked_after(&runtime).await), (1, 1));
        assert_eq!((looked_after(&runtime).await, runtime.metrics().panics), (0, 2));
        assert_eq!(counters.tell("a", Add(1), Caller::default()).await, Ok(EXPLODING + 1));
        assert_eq!((somebody_looked_after(&runtime).await, looked_after(&runtime).await), (1, 0));
        assert_eq!(runtime.metrics().panics, 2, "it is left alone");
        clock.advance(Duration::from_millis(125));
        assert_eq!((looked_after(&runtime).await, runtime.metrics().panics), (1, 3));
    });
}

#[test]
fn who_is_due_while_there_is_no_room_is_woken_when_there_is() {
    actix::System::new().block_on(async {
        let (runtime, clock, counters, reminders) = by_hand(Limits { system_messages_max: 1, ..Limits::default() });
        assert_eq!(runtime.start_background().await, Ok(()));
        let at = instant("2026-03-01T13:00:00Z");
        assert_eq!(reminders.tell("a", Schedule(at), Caller::default()).await, Ok(1));
        clock.set(at);
        let other = counters.tell("b", AddEach(vec![]), Caller::default());
        assert_eq!((looked_after(&runtime).await, runtime.metrics().wakes), (1, 0), "that was the other message");
        assert_eq!((other.await, looked_after(&runtime).await), (Ok(0), 0));
        clock.advance(Duration::from_millis(100));
        assert_eq!((looked_after(&runtime).await, runtime.metrics().wakes), (1, 1));
    });
}

/// When the events could not be written, the entity was only looked after when the state that never was would have been due.
#[test]
fn an_entity_whose_write_failed_is_woken_for_what_its_stream_says() {
    let world = World::new().with_background();
    assert_eq!(wait(world.schedule("a", "2026-03-01T13:00:00Z")), Ok(1));
    foreign_schedule(world.journal.as_ref(), "a", 1, "2026-03-01T12:10:00Z");
    assert!(wait(world.schedule("a", "2026-03-01T14:00:00Z")).is_err(), "its stream has moved");
    world.clock.set(instant("2026-03-01T12:10:00Z"));
    until("it rings", || world.runtime.metrics().wakes == 1);
}

/// It was told of the failure before it was through with its message, and forgot it at the end of that.
#[test]
fn a_write_that_has_failed_before_its_message_is_through_is_not_forgotten() {
    let journal = Reluctant::new(Arc::new(LocalJournal::in_memory()));
    let clock = Arc::new(Unhurried::new());
    let limits = Limits { threads: 1, ..Limits::default() };
    let runtime = Runtime::start(Arc::clone(&journal) as _, Arc::clone(&clock) as _, limits).expect("threads");
    let (counters, reminders): (Registry<Counter>, Registry<Reminder>) =
        (Registry::new(&runtime), Registry::new(&runtime));
    wait(runtime.start_background()).expect("a survey");
    let schedule = |at| wait(reminders.tell("a", Schedule(instant(at)), Caller::default()));
    assert_eq!(schedule("2026-03-01T13:00:00Z"), Ok(1));
    assert_eq!(wait(counters.ask("a", Total, Caller::default())), Ok(0));
    clock.hold();
    foreign_schedule(journal.as_ref(), "a", 1, "2026-03-01T12:10:00Z");
    *journal.behind_next.lock().expect("no panic while it is held") = Some(Box::new(|| ()));
    assert!(schedule("2026-03-01T14:00:00Z").is_err(), "its stream has moved");
    // On the same thread, so it is through.
    assert_eq!(wait(counters.tell("a", AddEach(vec![]), Caller::default())), Ok(0));
    clock.set(instant("2026-03-01T12:10:00Z"));
    clock.release();
    until("it rings", || runtime.metrics().wakes == 1);
    assert!(runtime.stop(PATIENCE));
}

/// What failed just before waited for its old instant, for as long as the clock had been set back; by less than half a minute
/// it was set back unnoticed.
#[test]
fn what_failed_before_the_clock_was_set_back_waits_no_longer_for_that() {
    // Who leaves memory starts afresh, and the clock may be set back by so much that all are idle.
    let limits = Limits { threads: 1, idle_after: Duration::from_secs(86_400), ..Limits::default() };
    for set_back_secs in [1, 20, 3_600] {
        let world = World::with(Disk::default(), limits).with_background();
        assert_eq!(wait(world.reminders.tell("a", Schedule(EXPLOSIVE), Caller::default())), Ok(1));
        until("it panicked twice and is left alone", || {
            let metrics = world.runtime.metrics();
            metrics.panics == 2 && metrics.attention_waiting == 1
        });
        world.clock.set(world.clock.now().saturating_add_micros(-1_000_000 * set_back_secs));
        let error = wait(world.schedule("a", "2026-03-01T12:00:00Z")).expect_err("it is left alone");
        let left = error.retry_after().expect("it says for how long");
        assert!(!left.is_zero() && left <= Duration::from_millis(125), "{set_back_secs}: {left:?}");
        world.clock.advance(left);
        until("and again", || world.runtime.metrics().panics == 3);
    }
}

/// It was left alone until the clock came to where it had been for a moment, which nobody had seen.
#[test]
fn what_failed_while_the_clock_was_ahead_for_a_moment_waits_no_longer_for_that() {
    let clock = Arc::new(Unhurried::new());
    let limits = Limits { threads: 1, ..Limits::default() };
    let runtime =
        Runtime::start(Arc::new(LocalJournal::in_memory()), Arc::clone(&clock) as _, limits).expect("threads");
    let (counters, reminders): (Registry<Counter>, Registry<Reminder>) =
        (Registry::new(&runtime), Registry::new(&runtime));
    wait(runtime.start_background()).expect("a survey");
    clock.hold();
    clock.set(instant("2026-03-01T13:00:00Z"));
    assert_eq!(wait(counters.tell("a", Add(EXPLODING), Caller::default())), Ok(EXPLODING));
    let ask = || wait(reminders.ask("a", Look, Caller::default())).expect_err("it fails at what it hears");
    drop([ask(), ask()]);
    clock.set(instant(NOW));
    let left = ask().retry_after().expect("it says for how long");
    assert!(!left.is_zero() && left <= Duration::from_millis(125), "{left:?}");
    assert_eq!(runtime.metrics().panics, 2);
    clock.set(instant(NOW).saturating_add_micros(left.as_micros() as i64));
    clock.release();
    until("it is tried again", || runtime.metrics().panics == 3);
    assert!(runtime.stop(PATIENCE));
}

/// It was put off for half a minute by a command that had nothing to do with it.
#[test]
fn a_command_that_the_journal_does_not_take_puts_no_wake_off() {
    let world = World::new().with_background();
    assert_eq!(wait(world.schedule("a", "2026-03-01T12:00:05Z")), Ok(1));
    let refused = wait(world.reminders.tell("a", Overfill, Caller::default())).expect_err("too many events");
    assert_eq!(refused.kind(), Kind::Invalid);
    world.clock.set(instant("2026-03-01T12:00:05Z"));
    until("it rings", || world.runtime.metrics().wakes == 1);
}

/// What was under way when the background began was neither noted nor found on the disk.
#[test]
fn what_is_on_its_way_when_the_background_begins_is_looked_after() {
    let world = World::new();
    world.disk.hold();
    let scheduled = world.schedule("a", "2026-03-01T13:00:00Z");
    world.disk.await_begun(1);
    let begun = world.runtime.start_background();
    assert_eq!(wait(world.runtime.run_blocking(|| Ok(()))), Ok(()));
    world.disk.release();
    assert_eq!((wait(scheduled), wait(begun)), (Ok(1), Ok(())));
    world.clock.set(instant("2026-03-01T13:00:00Z"));
    until("it rings", || world.runtime.metrics().wakes == 1);
}

/// It was told at once that all were looked after, when nobody was yet.
#[test]
fn who_begins_the_background_a_second_time_waits_for_what_the_first_one_finds_out() {
    let world = World::new();
    assert_eq!(wait(world.schedule("a", "2026-03-01T13:00:00Z")), Ok(1));
    world.disk.hold();
    let under_way = world.add("a", 1);
    world.disk.await_begun(2);
    let first = world.runtime.start_background();
    let mut second = world.runtime.start_background();
    for _ in 0..100 {
        assert_eq!(wait(world.runtime.run_blocking(|| Ok(()))), Ok(()));
        assert!(is_pending(&mut second), "it is not known yet what is to be done");
    }
    world.disk.release();
    assert_eq!((wait(under_way), wait(second)), (Ok(1), Ok(())));
    let third = world.runtime.start_background();
    assert_eq!((wait(first), wait(third)), (Ok(()), Ok(())));
    world.clock.set(instant("2026-03-01T13:00:00Z"));
    until("it rings", || world.runtime.metrics().wakes == 1);
}

/// Also while the journal is read, and when whoever was the first waits no more.
#[test]
fn who_begins_the_background_a_second_time_waits_until_the_last_stream_is_read() {
    let journal = Reluctant::new(Arc::new(LocalJournal::in_memory()));
    // So much of others that the journal is not read as a whole.
    for number in 0..9 {
        let other = foreign("counter/b", number, "added", codec::encode(&1i64));
        journal.submit(other, Box::new(drop)).expect("taken");
    }
    foreign_schedule(journal.as_ref(), "a", 0, "2026-03-01T13:00:00Z");
    let (runtime, clock) = runtime_on(Arc::clone(&journal) as _, Limits { threads: 1, ..Limits::default() });
    let _reminders: Registry<Reminder> = Registry::new(&runtime);
    let ((entered, has_entered), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
    *journal.behind_next_read.lock().expect("no panic while it is held") = Some(Box::new(move || {
        let _ = entered.send(());
        let _ = may_go_on.recv_timeout(PATIENCE);
    }));
    drop(runtime.start_background());
    has_entered.recv_timeout(PATIENCE).expect("the stream is read");
    let mut others = [runtime.start_background(), runtime.start_background()];
    for _ in 0..100 {
        assert_eq!(wait(runtime.run_blocking(|| Ok(()))), Ok(()));
        assert!(!others.iter_mut().any(|other| !is_pending(other)), "it is not known yet what is to be done");
    }
    go_on.send(()).expect("it waits");
    assert_eq!(others.map(wait), [Ok(()), Ok(())]);
    clock.set(instant("2026-03-01T13:00:00Z"));
    until("it rings", || runtime.metrics().wakes == 1);
    assert!(runtime.stop(PATIENCE));
}

/// What is to be done is not found out any more, and both are told so.
#[test]
fn stopping_waits_for_nobody_who_begins_the_background_when_it_is_too_late() {
    let world = World::new();
    world.disk.hold();
    let under_way = world.add("a", 1);
    world.disk.await_begun(1);
    let (first, second) = (world.runtime.start_background(), world.runtime.start_background());
    let stopping = std::thread::spawn({
        let runtime = Arc::clone(&world.runtime);
        move || runtime.stop(PATIENCE)
    });
    // Once the door is shut, blocking work is turned away.
    until("the door is shut", || wait(world.runtime.run_blocking(|| Ok(()))).is_err());
    let third = world.runtime.start_background();
    world.disk.release();
    assert!(stopping.join().expect("does not panic"), "everything had its reply");
    assert_eq!(wait(under_way), Ok(1));
    for refused in [first, second, third] {
        assert_eq!(wait(refused).expect_err("shutting down").kind(), Kind::Unavailable);
    }
}

/// The background counted as begun, and what was in the journal was not looked after before the next start.
#[test]
fn who_begins_the_background_after_that_has_failed_finds_out_what_is_to_be_done() {
    let limits = Limits { threads: 1, system_messages_max: 1, ..Limits::default() };
    let world = World::with(Disk::default(), limits);
    assert_eq!(wait(world.schedule("a", "2026-03-01T13:00:00Z")), Ok(1));
    let ((entered, has_entered), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
    let blocked = world.counters.tell("b", Block(entered, may_go_on), Caller::default());
    has_entered.recv_timeout(PATIENCE).expect("the entity is busy");
    let refused = wait(world.runtime.start_background()).expect_err("there is room for one only");
    assert_eq!(refused.kind(), Kind::Overloaded);
    go_on.send(()).expect("it waits");
    assert_eq!(wait(blocked), Ok(0));
    assert_eq!(wait(world.runtime.start_background()), Ok(()));
    world.clock.set(instant("2026-03-01T13:00:00Z"));
    until("it rings", || world.runtime.metrics().wakes == 1);
}

/// The panic ended the search, and nobody was looked after.
#[test]
fn who_panics_when_asked_what_is_due_keeps_nobody_else_from_being_found() {
    let world = World::new();
    let unspeakable = Timestamp::from_micros(UNSPEAKABLE).expect("an instant");
    assert_eq!(wait(world.schedule("a", "2026-03-01T13:00:00Z")), Ok(1));
    assert_eq!(wait(world.reminders.tell("b", Schedule(unspeakable), Caller::default())), Ok(1));
    assert_eq!(wait(world.schedule("c", "2026-03-01T13:00:00Z")), Ok(1));
    let world = world.reopened().with_background();
    world.clock.set(instant("2026-03-01T13:00:00Z"));
    until("its neighbours ring", || world.runtime.metrics().wakes == 2);
    let quarantined = world.runtime.quarantined();
    assert_eq!(quarantined.len(), 1, "{quarantined:?}");
    let it = &quarantined[0];
    assert_eq!((it.entity.as_str(), it.sequence.get()), ("reminder/b", 1));
    assert_eq!(it.cause, "asking its state what is to be done panicked");
}

#[test]
fn a_wake_whose_events_could_not_be_written_comes_again() {
    let world = World::new().with_background();
    assert_eq!(wait(world.schedule("a", "2026-03-01T13:00:00Z")), Ok(1));
    world.disk.fail(Failing::Lost);
    world.clock.set(instant("2026-03-01T13:00:00Z"));
    until("it failed", || world.runtime.metrics().commits_failed > 0);
    world.disk.mend();
    let world = world.reopened().with_background();
    let rung = world.await_reminder("a", |it| it.rings.len() == 1);
    assert_eq!(rung.rings[0].due, instant("2026-03-01T13:00:00Z"));
}

#[test]
fn a_caller_may_bring_its_own_instant() {
    let world = World::new();
    let caller = Caller { now: Some(instant("2001-01-01T00:00:00Z")), ..Caller::default() };
    let (now, _) = wait(world.counters.ask("a", WhatIsGiven, caller.clone())).expect("an answer");
    assert_eq!(now, instant("2001-01-01T00:00:00Z"));
    wait(world.add("a", 1)).expect("accepted");
    let (now, seen) = wait(world.counters.ask("a", WhatIsGiven, caller.clone())).expect("an answer");
    assert_eq!((now, &seen), (instant("2001-01-01T00:00:00Z"), &caller));
    assert_ne!(world.clock.now(), now);
}

#[test]
fn a_wake_whose_events_the_journal_has_no_room_for_comes_again() {
    let journal = Reluctant::new(Arc::new(LocalJournal::in_memory()));
    let (runtime, clock) = runtime_on(Arc::clone(&journal) as _, Limits { threads: 1, ..Limits::default() });
    let reminders: Registry<Reminder> = Registry::new(&runtime);
    wait(runtime.start_background()).expect("a survey");
    let at = instant("2026-03-01T13:00:00Z");
    assert_eq!(wait(reminders.tell("a", Schedule(at), Caller::default())), Ok(1));
    journal.is_full.store(true, Ordering::SeqCst);
    clock.set(at);
    until("it was turned away", || journal.turned_away.load(Ordering::SeqCst) > 0);
    journal.is_full.store(false, Ordering::SeqCst);
    until("it rings", || {
        clock.advance(Duration::from_millis(100));
        runtime.metrics().wakes == 1
    });
    assert!(runtime.stop(PATIENCE));
}
