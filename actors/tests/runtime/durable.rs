//! I-2: what depends on events leaves when they are durable, and not before. Meanwhile the entity goes on.

use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};

use ionveil_actors::error::{Error, Invalid, Kind};
use ionveil_actors::runtime::{Caller, Limits, Registry, Reply};
use ionveil_journal::{Journal, LocalJournal, codec};
use uuid::Uuid;

use crate::support::*;

#[test]
fn replies_refusals_and_answers_leave_only_after_the_commit_they_depend_on() {
    let world = World::new();
    assert_eq!(wait(world.add("a", 1)), Ok(1));
    world.disk.hold();
    let mut reply = world.add("a", 4);
    world.disk.await_begun(2);
    let mut refusal = world.counters.tell("a", Refuse, Caller::default());
    let mut answer = world.total("a");
    let mut nothing_new = world.counters.tell("a", AddEach(vec![]), Caller::default());
    world.let_handle("a");
    assert!(is_pending(&mut reply));
    assert!(is_pending(&mut refusal), "a refusal tells of what is not durable");
    assert!(is_pending(&mut answer), "an answer tells of what is not durable");
    assert!(is_pending(&mut nothing_new));
    world.disk.release();
    assert_eq!(wait(reply), Ok(5));
    assert_eq!(wait(refusal), Err(Invalid::new("total", 5, "anything else").into()));
    assert_eq!((wait(answer), wait(nothing_new)), (Ok(5), Ok(5)));
}

#[test]
fn commands_are_decided_while_the_disk_is_busy_and_share_the_next_commit() {
    let world = World::new();
    world.disk.hold();
    let mut replies = vec![world.add("a", 1)];
    world.disk.await_begun(1);
    replies.extend((2..=10).map(|by| world.add("a", by)));
    world.let_handle("a");
    let order = Order::default();
    for (number, reply) in replies.iter_mut().enumerate() {
        order.watch(reply, number);
    }
    world.disk.release_one();
    world.disk.await_begun(2);
    assert_eq!(order.so_far(), [0], "the others wait for the second commit");
    world.disk.release();
    assert_eq!(order.of_all(10), (0..10).collect::<Vec<_>>(), "replies leave in the order of the commands");
    let totals: Vec<_> = replies.into_iter().map(wait).collect();
    assert_eq!(totals, [1, 3, 6, 10, 15, 21, 28, 36, 45, 55].map(Ok));
    assert_eq!((world.disk.begun(), world.journal.stat().blocks), (2, 2), "nine commands in one group");
    assert_eq!(world.stored("a").len(), 10);
}

#[test]
fn answers_and_refusals_keep_their_place_among_the_replies() {
    let world = World::new();
    world.disk.hold();
    let order = Order::default();
    let mut first = world.add("a", 1);
    world.disk.await_begun(1);
    let mut answer = world.total("a");
    let mut second = world.add("a", 2);
    let mut refusal = world.counters.tell("a", Refuse, Caller::default());
    let mut third = world.add("a", 4);
    world.let_handle("a");
    order.watch(&mut first, 0);
    order.watch(&mut answer, 1);
    order.watch(&mut second, 2);
    order.watch(&mut refusal, 3);
    order.watch(&mut third, 4);
    world.disk.release();
    assert_eq!(order.of_all(5), [0, 1, 2, 3, 4]);
    assert_eq!((wait(first), wait(answer), wait(second), wait(third)), (Ok(1), Ok(1), Ok(3), Ok(7)));
    assert_eq!(wait(refusal), Err(Invalid::new("total", 3, "anything else").into()));
}

/// Who came just after the write found nothing under way and was answered ahead of those who had waited for it.
#[test]
fn who_comes_when_a_write_is_through_is_not_answered_ahead_of_who_waited_for_it() {
    let world = World::new();
    assert_eq!(wait(world.add("a", 1)), Ok(1));
    world.disk.hold();
    let first = world.add("a", 4);
    world.disk.await_begun(2);
    // Nobody takes this answer, so the writer drops it when it is through with the write, and is held up by that.
    let (go_on, may_go_on) = mpsc::channel();
    drop(world.counters.ask("a", HoldsUp(may_go_on), Caller::default()));
    let mut second = world.counters.tell("a", Refuse, Caller::default());
    world.let_handle("a");
    world.disk.release();
    assert_eq!(wait(first), Ok(5));
    let mut third = world.total("a");
    world.let_handle("a");
    assert!(is_pending(&mut second), "the writer has not got to it");
    assert!(is_pending(&mut third), "it came later");
    drop(go_on);
    assert_eq!(wait(second), Err(Invalid::new("total", 5, "anything else").into()));
    assert_eq!(wait(third), Ok(5));
}

/// What was refused for a reason of its own was answered at once, ahead of whatever was under way.
#[test]
fn what_depends_on_nothing_is_refused_in_its_turn_too() {
    let disk = Disk::default();
    let journal = Reluctant::new(Arc::new(LocalJournal::on(disk.clone()).expect("a sound disk")));
    let (runtime, _) = runtime_on(Arc::clone(&journal) as _, Limits { threads: 1, ..Limits::default() });
    let counters: Registry<Counter> = Registry::new(&runtime);
    let total = |id| wait(counters.ask(id, Total, Caller::default()));
    // Started before the disk is held.
    assert_eq!(wait(counters.tell("b", AddEach(vec![]), Caller::default())), Ok(0));
    let under_way = || {
        let begun = disk.begun();
        disk.hold();
        let reply = counters.tell("a", Add(1), Caller::default());
        disk.await_begun(begun + 1);
        reply
    };
    let refused = |mut reply: Reply<i64>, before: Reply<i64>| {
        // On the same thread, so it is through.
        assert_eq!(total("b"), Ok(0));
        assert!(is_pending(&mut reply), "it is refused ahead of the reply before");
        disk.release();
        (wait(before), wait(reply).expect_err("it is refused").kind())
    };

    let before = under_way();
    let with_id = Caller { command_id: Some(Uuid::from_u128(1)), ..Caller::default() };
    let takes_no_id = counters.tell("a", AddEach(vec![1]), with_id);
    assert_eq!(refused(takes_no_id, before), (Ok(1), Kind::Invalid));

    let before = under_way();
    let with_id = Caller { command_id: Some(Uuid::from_u128(2)), ..Caller::default() };
    let has_too_long_a_reply = counters.tell("a", AddAtLength(1), with_id);
    assert_eq!(refused(has_too_long_a_reply, before), (Ok(2), Kind::Invalid));

    let before = under_way();
    let breaks_its_rules = counters.tell("a", Spoil, Caller::default());
    assert_eq!(refused(breaks_its_rules, before), (Ok(3), Kind::Unavailable));

    let before = under_way();
    journal.is_full.store(true, Ordering::SeqCst);
    let is_not_taken = counters.tell("a", Add(1), Caller::default());
    assert_eq!(refused(is_not_taken, before), (Ok(4), Kind::Overloaded));
    assert_eq!(total("a"), Ok(4));
    assert!(runtime.stop(PATIENCE));
}

/// Its turn comes when the write before it is through, well or not.
#[test]
fn what_depends_on_nothing_is_refused_for_its_own_reason_also_when_the_write_before_it_fails() {
    let disk = Disk::default();
    let journal = Reluctant::new(Arc::new(LocalJournal::on(disk.clone()).expect("a sound disk")));
    let (runtime, _) = runtime_on(Arc::clone(&journal) as _, Limits { threads: 1, ..Limits::default() });
    let counters: Registry<Counter> = Registry::new(&runtime);
    assert_eq!(wait(counters.tell("a", Add(1), Caller::default())), Ok(1));
    disk.hold();
    let by_another = foreign("counter/a", 1, "added", codec::encode(&100i64));
    journal.submit(by_another, Box::new(drop)).expect("taken");
    let before = counters.tell("a", Add(2), Caller::default());
    let with_id = Caller { command_id: Some(Uuid::from_u128(1)), ..Caller::default() };
    let takes_no_id = counters.tell("a", AddEach(vec![4]), with_id);
    let (sender, receiver) = mpsc::channel();
    let answer = counters.ask("a", Signal(sender), Caller::default());
    receiver.recv_timeout(PATIENCE).expect("handled");
    journal.is_full.store(true, Ordering::SeqCst);
    let is_not_taken = counters.tell("a", Add(8), Caller::default());
    until("it was not taken", || journal.turned_away.load(Ordering::SeqCst) == 1);
    journal.is_full.store(false, Ordering::SeqCst);
    disk.release();
    let kind = |refused: Result<i64, Error>| refused.expect_err("it is refused").kind();
    assert_eq!(kind(wait(before)), Kind::Unavailable, "the stream has moved");
    assert_eq!(wait(answer).expect_err("of what never was").kind(), Kind::Unavailable);
    assert_eq!((kind(wait(takes_no_id)), kind(wait(is_not_taken))), (Kind::Invalid, Kind::Overloaded));
    assert_eq!(wait(counters.tell("a", Add(16), Caller::default())), Ok(117), "none of it was done");
    assert!(runtime.stop(PATIENCE));
}

#[test]
fn what_was_asked_for_happens_also_when_nobody_waits_for_the_reply() {
    let world = World::new();
    drop(world.add("a", 3));
    assert_eq!(wait(world.total("a")), Ok(3));
}

#[test]
fn an_answer_that_depends_on_nothing_new_does_not_wait_for_a_neighbours_write() {
    let world = World::new();
    assert_eq!(wait(world.add("a", 1)), Ok(1));
    world.disk.hold();
    let neighbour = world.add("b", 1);
    // The neighbour is being loaded, so its write may not have begun; either way the disk is held.
    assert_eq!(wait(world.total("a")), Ok(1));
    world.disk.release();
    assert_eq!(wait(neighbour), Ok(1));
}
