//! Leaving memory: when idle, or when there are too many; and a message that meets it.

use std::collections::HashMap;
use std::time::Duration;

use ionveil_actors::runtime::{Caller, Clock, Limits};

use crate::support::*;

fn world(idle_secs: u64, live_max: usize) -> World {
    let limits = Limits {
        threads: 2,
        idle_after: Duration::from_secs(idle_secs),
        entities_live_max: live_max,
        ..Limits::default()
    };
    World::with(Disk::default(), limits)
}

fn live(world: &World) -> usize {
    world.runtime.metrics().entities_live["counter"]
}

#[test]
fn who_is_idle_leaves_memory_and_comes_back_as_it_was() {
    let world = world(60, 100).with_background();
    for id in ["a", "b", "c"] {
        assert_eq!(wait(world.add(id, 7)), Ok(7));
    }
    assert_eq!(live(&world), 3);
    world.clock.advance(Duration::from_secs(40));
    assert_eq!(wait(world.add("b", 1)), Ok(8));
    world.clock.advance(Duration::from_secs(30));
    until("two are gone", || live(&world) == 1);
    assert!(world.runtime.metrics().passivations >= 2, "their followers leave too");
    assert_eq!(wait(world.total("a")), Ok(7));
    assert_eq!(wait(world.add("a", 1)), Ok(8));
    assert_eq!(world.stored("a").iter().map(|it| it.1).collect::<Vec<_>>(), [1, 2], "as the next incarnation");
}

/// For as long as the clock had been set back nobody left.
#[test]
fn who_was_used_before_the_clock_was_set_back_does_not_stay_until_then() {
    let world = world(60, 100).with_background();
    assert_eq!(wait(world.add("a", 7)), Ok(7));
    world.clock.set(world.clock.now().saturating_add_micros(-86_400_000_000));
    until("it is gone", || live(&world) == 0);
    assert_eq!(wait(world.add("a", 1)), Ok(8));
    world.clock.advance(Duration::from_secs(60));
    until("and again", || live(&world) == 0);
}

#[test]
fn above_the_cap_those_leave_that_were_not_used_for_longest() {
    let world = world(3_600, 10);
    for n in 0..50 {
        world.clock.advance(Duration::from_micros(1));
        assert_eq!(wait(world.add(&format!("e{n}"), 1)), Ok(1));
        world.clock.advance(Duration::from_micros(1));
        assert_eq!(wait(world.add("favourite", 1)), Ok(n + 1));
    }
    assert_eq!(live(&world), 10);
    let recoveries = world.runtime.metrics().recoveries;
    assert_eq!(wait(world.total("favourite")), Ok(50));
    assert_eq!(wait(world.total("e49")), Ok(1));
    assert_eq!(world.runtime.metrics().recoveries, recoveries, "the latest were there");
    assert_eq!(wait(world.total("e0")), Ok(1));
    assert_eq!(world.runtime.metrics().recoveries, recoveries + 1);
    assert_eq!(world.stored("favourite").iter().filter(|it| it.1 != 1).count(), 0, "it never left");
}

#[test]
fn who_has_a_message_under_way_stays() {
    let world = world(60, 2).with_background();
    assert_eq!(wait(world.add("a", 1)), Ok(1));
    world.disk.hold();
    let under_way = world.add("a", 1);
    world.let_handle("a");
    world.clock.advance(Duration::from_secs(3_600));
    assert_eq!(wait(world.total("b")), Ok(0));
    world.runtime.metrics();
    assert_eq!(live(&world), 1);
    world.disk.release();
    assert_eq!(wait(under_way), Ok(2));
    world.clock.advance(Duration::from_secs(3_600));
    until("it leaves", || live(&world) == 0);
    assert_eq!(wait(world.add("a", 1)), Ok(3));
    assert_eq!(world.stored("a").len(), 3);
}

/// A thousand meetings of a message with an entity that is about to leave.
#[test]
fn a_message_that_meets_it_is_neither_lost_nor_handled_twice() {
    let world = world(0, 3).with_background();
    let mut expected: HashMap<String, i64> = HashMap::new();
    let mut replies = Vec::new();
    for n in 0..2_000 {
        let id = format!("e{}", n % 7);
        let total = expected.entry(id.clone()).or_default();
        *total += 1;
        replies.push((*total, world.add(&id, 1)));
        if n % 3 == 0 {
            world.clock.advance(Duration::from_micros(1));
        }
        if n % 11 == 0 {
            let (expected, reply) = replies.pop().expect("just put there");
            assert_eq!(wait(reply), Ok(expected));
        }
    }
    for (expected, reply) in replies {
        assert_eq!(wait(reply), Ok(expected));
    }
    assert!(world.runtime.metrics().passivations > 20, "{:?}", world.runtime.metrics().passivations);
    for (id, total) in expected {
        assert_eq!(wait(world.total(&id)), Ok(total));
        let stored = world.stored(&id);
        assert_eq!(stored.len() as i64, total);
        assert!(stored.is_sorted_by_key(|it| it.1), "epochs never go back");
    }
}

#[test]
fn recoveries_wait_in_line() {
    let limits = Limits { threads: 2, recoveries_max: 2, ..Limits::default() };
    let world = World::with(Disk::default(), limits);
    assert_eq!(wait(world.add("first", 1)), Ok(1));
    world.disk.hold();
    let held = world.add("first", 1);
    world.disk.await_begun(2);
    let replies: Vec<_> = (0..20).map(|n| world.add(&format!("e{n}"), 1)).collect();
    until("as many as may", || world.runtime.metrics().recoveries_under_way == 2);
    assert_eq!(world.runtime.metrics().recoveries, 3, "the others have not begun");
    world.disk.release();
    assert_eq!(wait(held), Ok(2));
    for reply in replies {
        assert_eq!(wait(reply), Ok(1));
    }
    assert_eq!(world.runtime.metrics().recoveries_under_way, 0);
}

#[test]
fn all_entities_are_started_at_once_when_told_so() {
    let world = World::new();
    for n in 0..200 {
        let id = format!("e{}", n % 40);
        wait(world.add(&id, 1)).expect("accepted");
    }
    let world = world.reopened();
    assert_eq!(wait(world.counters.start_all()), Ok(40));
    let recoveries = world.runtime.metrics().recoveries;
    for n in 0..40 {
        assert_eq!(wait(world.total(&format!("e{n}"))), Ok(5));
        assert_eq!(wait(world.counters.tell(&format!("e{n}"), Add(1), Caller::default())), Ok(6));
    }
    assert_eq!(world.runtime.metrics().recoveries, recoveries);
    assert_eq!(wait(world.counters.start_all()), Ok(40), "those that live already stay as they are");
}
