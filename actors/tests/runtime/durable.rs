//! I-2: what depends on events leaves when they are durable, and not before. Meanwhile the entity goes on.

use std::sync::mpsc;

use ionveil_actors::error::Invalid;
use ionveil_actors::runtime::Caller;
use ionveil_journal::Journal;

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
