//! What is known after a restart, and what was known at a position.

use std::ops::ControlFlow;

use ionveil_actors::domain::Timestamp;
use ionveil_actors::error::Kind;
use ionveil_actors::runtime::Caller;
use ionveil_journal::{Journal, Position};

use crate::support::*;

#[test]
fn a_restart_gives_the_same_answers_and_each_incarnation_its_epoch() {
    let mut world = World::new();
    let mut expected = 0;
    for restart in 0..3 {
        for by in 1..=20 {
            expected += by;
            assert_eq!(wait(world.add("a", by)), Ok(expected));
        }
        assert_eq!(wait(world.add("b", 1)), Ok(restart + 1));
        world = world.reopened();
        assert_eq!(wait(world.total("a")), Ok(expected));
    }
    let stored = world.stored("a");
    let sequences: Vec<u64> = stored.iter().map(|(sequence, ..)| *sequence).collect();
    assert_eq!(sequences, (1..=60).collect::<Vec<_>>());
    let epochs: Vec<u32> = stored.iter().map(|(_, epoch, _)| *epoch).collect();
    assert_eq!(epochs, (0..60).map(|index| 1 + index / 20).collect::<Vec<_>>());
}

#[test]
fn an_incarnation_that_wrote_nothing_takes_no_epoch() {
    let world = World::new();
    assert_eq!(wait(world.add("a", 1)), Ok(1));
    let world = world.reopened();
    assert_eq!(wait(world.total("a")), Ok(1));
    let world = world.reopened();
    assert_eq!(wait(world.add("a", 1)), Ok(2));
    assert_eq!(world.stored("a").iter().map(|it| it.1).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn the_past_is_answered_as_it_was_and_the_present_is_left_alone() {
    let world = World::new();
    let mut then = vec![0];
    for by in 1..=10 {
        then.push(wait(world.add("a", by)).expect("accepted"));
        wait(world.add("b", 1)).expect("accepted");
    }
    // Positions alternate between the two.
    let at = |number| world.counters.ask_at("a", position(number), Total, Caller::default());
    for number in 0..=20u64 {
        let known = then[number.div_ceil(2) as usize];
        assert_eq!(wait(at(number)), Ok(known), "at position {number}");
    }
    assert_eq!(wait(at(u64::MAX)), Ok(55));
    // A past state shows durable events only, and its answer waits for no disk.
    world.disk.hold();
    let live = world.add("a", 1000);
    world.disk.await_begun(21);
    assert_eq!(wait(at(u64::MAX)), Ok(55));
    assert_eq!(wait(at(3)), Ok(3));
    world.disk.release();
    assert_eq!(wait(live), Ok(1055));
    assert_eq!(wait(world.total("a")), Ok(1055));
    assert_eq!(world.stored("a").iter().filter(|it| it.1 != 1).count(), 0, "the live entity was not rebuilt");
    assert_eq!(wait(world.counters.ask_at("nobody", position(5), Total, Caller::default())), Ok(0));
    let no_id = wait(world.counters.ask_at("a/b", position(5), Total, Caller::default())).expect_err("no such id");
    assert_eq!(no_id.kind(), Kind::Invalid);
}

#[test]
fn blocking_work_runs_apart_and_its_errors_and_panics_come_back() {
    let world = World::new();
    assert_eq!(wait(world.add("a", 1)), Ok(1));
    let (sender, receiver) = std::sync::mpsc::channel();
    wait(world.counters.ask("a", WatchThread(sender), Caller::default())).expect("the entity's thread");
    let entitys = wait(world.counters.ask("a", WatchThread(std::sync::mpsc::channel().0), Caller::default()));
    let apart = wait(world.runtime.run_blocking(|| Ok(std::thread::current().id())));
    assert_ne!(apart, entitys);
    assert_ne!(apart, Ok(std::thread::current().id()));
    let refused = wait(
        world
            .runtime
            .run_blocking(|| -> Result<(), _> { Err(ionveil_actors::error::Invalid::new("a", 1, "2").into()) }),
    );
    assert_eq!(refused.expect_err("as told").kind(), Kind::Invalid);
    let panicked = world.runtime.run_blocking(|| -> Result<(), _> { panic!("a test's own panic in blocking work") });
    assert_eq!(outcome_of(&wait(panicked).expect_err("it panicked")), (Kind::Unavailable, Some(false)));
    assert_eq!(wait(world.add("a", 1)), Ok(2), "the entities go on");
    assert!(receiver.try_recv().is_err(), "on the thread they were on");
}

/// It was started by way of an entity's thread, and waited there for whatever that entity was busy with.
#[test]
fn blocking_work_does_not_wait_for_a_busy_entity() {
    let world = World::new();
    let ((entered, has_entered), (go_on, may_go_on)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
    let busy = world.counters.tell("a", Block(entered, may_go_on), Caller::default());
    has_entered.recv_timeout(PATIENCE).expect("the entity is busy");
    assert_eq!(wait(world.runtime.run_blocking(|| Ok(7))), Ok(7));
    go_on.send(()).expect("it waits");
    assert_eq!(wait(busy), Ok(0));
}

#[test]
fn the_past_of_an_instant_is_what_was_recorded_by_then() {
    let world = World::new();
    let mut total = 0;
    for by in 1..=10 {
        total = wait(world.add("a", by)).expect("accepted");
    }
    let mut recorded = Vec::new();
    let read = world.journal.read_all(position(1), Position::MAX, &mut |record| {
        recorded.push(record.recorded_at_micros);
        ControlFlow::Continue(())
    });
    read.expect("a sound journal");
    let at = |micros| {
        let instant = Timestamp::from_micros(micros).expect("an instant");
        wait(world.counters.ask_at("a", instant, Total, Caller::default()))
    };
    for micros in recorded.iter().flat_map(|at| [at - 1, *at]) {
        // The first that was recorded later ends it, also where the machine's clock was set back.
        let known = (1..).zip(&recorded).take_while(|(_, recorded)| **recorded <= micros).map(|(by, _)| by).sum();
        assert_eq!(at(micros), Ok(known), "at {micros} of {recorded:?}");
    }
    assert_eq!((at(recorded[0] - 1), at(Timestamp::MAX.as_micros())), (Ok(0), Ok(total)));
}
