//! Bounds: who finds a queue full is told so at once, and nothing was done.

use std::sync::mpsc;

use ionveil_actors::error::Error;
use ionveil_actors::runtime::{Caller, Limits, Reply};

use crate::support::*;

#[track_caller]
fn overloaded<R: std::fmt::Debug>(reply: Reply<R>) -> (&'static str, usize) {
    // The disk is held, so a reply that were to wait for anything would never come.
    match wait(reply) {
        Err(Error::Overloaded { queue, len_max, retry_after }) => {
            assert!(!retry_after.is_zero());
            (queue, len_max)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_entity_takes_so_many_messages_and_no_more() {
    let limits = Limits { threads: 1, entity_messages_max: 2, system_messages_max: 100, ..Limits::default() };
    let world = World::with(Disk::default(), limits);
    // An entity starts only when what is under way is settled, so the neighbour is started before.
    assert_eq!((wait(world.add("a", 1)), wait(world.total("b"))), (Ok(1), Ok(0)));
    world.disk.hold();
    let first = world.add("a", 2);
    let second = world.total("a");
    assert_eq!(overloaded(world.add("a", 4)), ("the entity's queue", 2));
    assert_eq!(overloaded(world.total("a")), ("the entity's queue", 2));
    assert_eq!(wait(world.total("b")), Ok(0), "another entity has its own");
    world.disk.release();
    assert_eq!((wait(first), wait(second)), (Ok(3), Ok(3)));
    assert_eq!(wait(world.add("a", 8)), Ok(11), "there is room again, and nothing was done that was refused");
    assert_eq!(world.stored("a").len(), 3);
}

#[test]
fn the_system_takes_so_many_messages_and_no_more() {
    let limits = Limits { threads: 1, entity_messages_max: 100, system_messages_max: 3, ..Limits::default() };
    let world = World::with(Disk::default(), limits);
    world.disk.hold();
    let replies = [world.add("a", 1), world.add("b", 1), world.add("c", 1)];
    assert_eq!(overloaded(world.add("d", 1)), ("the system's queue", 3));
    assert_eq!(overloaded(world.add("a", 1)), ("the system's queue", 3));
    let blocking = world.runtime.run_blocking(|| Ok(()));
    assert_eq!(overloaded(blocking), ("the system's queue", 3));
    let past = world.counters.ask_at("a", position(1), Total, Caller::default());
    assert_eq!(overloaded(past), ("the system's queue", 3));
    world.disk.release();
    assert_eq!(replies.map(wait), [Ok(1), Ok(1), Ok(1)]);
    assert_eq!(wait(world.add("d", 1)), Ok(1));
    assert_eq!(wait(world.total("a")), Ok(1));
}

#[test]
fn a_message_counts_until_its_reply_has_left_whoever_waits_for_it() {
    let limits = Limits { threads: 1, entity_messages_max: 1, system_messages_max: 1, ..Limits::default() };
    let world = World::with(Disk::default(), limits);
    for round in 1..=100 {
        assert_eq!(wait(world.add("a", 1)), Ok(round), "whoever has the reply finds room");
        assert!(wait(world.counters.tell("a", Refuse, Caller::default())).is_err());
        assert!(wait(world.counters.tell("a", Panic, Caller::default())).is_err());
        assert_eq!(wait(world.total("a")), Ok(round), "also after a panic");
    }
    world.disk.hold();
    drop(world.add("a", 1));
    assert_eq!(overloaded(world.total("a")).1, 1, "a dropped reply does not make room");
    world.disk.release();
}

#[test]
fn a_message_in_the_mailbox_counts_as_one_under_way() {
    let limits = Limits { threads: 1, entity_messages_max: 2, system_messages_max: 100, ..Limits::default() };
    let world = World::with(Disk::default(), limits);
    let ((entered, has_entered), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
    let blocked = world.counters.tell("a", Block(entered, may_go_on), Caller::default());
    has_entered.recv_timeout(PATIENCE).expect("the entity is busy");
    let waiting = world.add("a", 1);
    assert_eq!(overloaded(world.add("a", 1)), ("the entity's queue", 2));
    go_on.send(()).expect("it waits");
    assert_eq!((wait(blocked), wait(waiting)), (Ok(0), Ok(1)));
}

#[test]
fn the_default_limits_are_as_documented() {
    let limits = Limits::default();
    assert_eq!((limits.entity_messages_max, limits.system_messages_max), (1_024, 65_536));
    assert!(limits.threads >= 1);
}
