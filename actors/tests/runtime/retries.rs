//! Command ids: a command that is sent again gives the first answer, also after a restart and from a snapshot.

use ionveil_actors::error::{Error, Kind};
use ionveil_actors::runtime::{ANSWERS_MAX, Caller, Limits, Reply};
use uuid::Uuid;

use crate::support::*;

fn with_id(id: u128) -> Caller {
    Caller { command_id: Some(Uuid::from_u128(id)), ..Caller::default() }
}

fn add(world: &World, id: &str, by: i64, command_id: u128) -> Reply<i64> {
    world.counters.tell(id, Add(by), with_id(command_id))
}

#[test]
fn a_retry_gives_the_first_answer_and_does_nothing() {
    let mut world = World::new();
    assert_eq!(wait(add(&world, "a", 5, 1)), Ok(5));
    for restart in 0..3 {
        assert_eq!(wait(add(&world, "a", 5, 1)), Ok(5));
        assert_eq!(wait(add(&world, "a", 1, 100 + restart)), Ok(6 + restart as i64));
        assert_eq!(wait(add(&world, "a", 5, 1)), Ok(5), "also when the state has gone on");
        assert_eq!(wait(add(&world, "b", 5, 1 + restart)), Ok(5 * (1 + restart as i64)), "another entity has its own");
        world = world.reopened();
    }
    assert_eq!(wait(world.total("a")), Ok(8));
}

#[test]
fn a_retry_while_the_first_is_on_its_way_waits_for_it() {
    let world = World::new();
    assert_eq!(wait(world.add("a", 1)), Ok(1));
    world.disk.hold();
    let first = add(&world, "a", 5, 1);
    let mut retry = add(&world, "a", 5, 1);
    world.let_handle("a");
    assert!(is_pending(&mut retry), "it tells of what is not durable");
    world.disk.release();
    assert_eq!((wait(first), wait(retry)), (Ok(6), Ok(6)));
    assert_eq!(wait(world.total("a")), Ok(6));
}

/// The outcome of the first is not known to its caller: the disk failed, and yet all is there.
#[test]
fn a_retry_after_an_unknown_outcome_gives_the_answer_that_was_written_or_does_it() {
    for failing in [Failing::Kept, Failing::Lost] {
        let world = World::new();
        assert_eq!(wait(world.add("a", 1)), Ok(1));
        world.disk.fail(failing);
        assert!(wait(add(&world, "a", 5, 1)).is_err());
        world.disk.mend();
        let world = world.reopened();
        assert_eq!(wait(add(&world, "a", 5, 1)), Ok(6));
        assert_eq!(wait(world.total("a")), Ok(6));
    }
}

#[test]
fn answers_are_in_the_snapshot_too() {
    let limits = Limits { threads: 1, snapshot_events: 10, ..Limits::default() };
    let mut world = World::with(Disk::default(), limits);
    for minute in 0..40 {
        let at = instant(&format!("2026-03-01T13:{minute:02}:00Z"));
        assert_eq!(wait(world.reminders.tell("a", Schedule(at), with_id(minute))), Ok(minute as usize + 1));
        if minute % 13 == 0 {
            world = world.reopened();
        }
    }
    let world = world.reopened();
    for minute in 0..40 {
        let at = instant(&format!("2026-03-01T13:{minute:02}:00Z"));
        assert_eq!(wait(world.reminders.tell("a", Schedule(at), with_id(minute))), Ok(minute as usize + 1));
    }
    assert_eq!(world.look("a").scheduled.len(), 40);
}

#[test]
fn a_refusal_and_a_reply_without_events_are_remembered_as_long_as_the_entity_lives() {
    let world = World::new();
    let at = instant("2026-03-01T13:00:00Z");
    assert_eq!(wait(world.schedule("a", "2026-03-01T13:00:00Z")), Ok(1));
    let refused = wait(world.reminders.tell("a", Schedule(at), with_id(1))).expect_err("twice");
    assert_eq!(wait(world.reminders.tell("a", Count, with_id(2))), Ok(0));
    wait(world.reminders.run_due(at)).expect("woken");
    assert_eq!(wait(world.reminders.tell("a", Schedule(at), with_id(1))), Err(refused));
    assert_eq!(wait(world.reminders.tell("a", Count, with_id(2))), Ok(0));
    assert_eq!(wait(world.reminders.tell("a", Count, with_id(3))), Ok(1));
}

#[test]
fn an_id_belongs_to_one_command_and_only_to_commands_whose_reply_is_kept() {
    let world = World::new();
    assert_eq!(wait(world.schedule("a", "2026-03-01T13:00:00Z")), Ok(1));
    assert_eq!(wait(world.reminders.tell("a", Count, with_id(1))), Ok(0));
    let at = instant("2026-03-01T14:00:00Z");
    let other = wait(world.reminders.tell("a", Schedule(at), with_id(1))).expect_err("of another command");
    assert_eq!(other.kind(), Kind::Invalid);
    assert!(other.to_string().contains("command_id"), "{other}");
    let never = wait(world.counters.tell("a", AddEach(vec![1]), with_id(1))).expect_err("no reply is kept");
    assert!(matches!(never, Error::Invalid(invalid) if invalid.field == "command_id"));
    assert_eq!(wait(world.total("a")), Ok(0));
}

/// It was answered as the first one was, and not carried out.
#[test]
fn a_command_that_says_something_else_under_the_id_is_refused() {
    let limits = Limits { threads: 1, snapshot_events: 3, ..Limits::default() };
    let mut world = World::with(Disk::default(), limits);
    let schedule = |world: &World, at: &str| wait(world.reminders.tell("a", Schedule(instant(at)), with_id(1)));
    assert_eq!(wait(add(&world, "a", 5, 1)), Ok(5));
    assert_eq!(schedule(&world, "2026-03-01T13:00:00Z"), Ok(1));
    for minute in 0..3 {
        for refused in [
            wait(add(&world, "a", 6, 1)).expect_err("another number").to_string(),
            schedule(&world, "2026-03-01T14:00:00Z").expect_err("another instant").to_string(),
        ] {
            assert!(refused.contains("command_id") && refused.contains("other content"), "{refused}");
        }
        assert_eq!(wait(add(&world, "a", 5, 1)), Ok(5));
        assert_eq!(schedule(&world, "2026-03-01T13:00:00Z"), Ok(1), "also from a snapshot");
        assert_eq!(wait(world.schedule("a", &format!("2026-03-01T15:0{minute}:00Z"))), Ok(minute + 2));
        world = world.reopened();
    }
    assert_eq!(wait(world.total("a")), Ok(5));
    // What changed nothing is remembered as long as the entity lives.
    let again = instant("2026-03-01T13:00:00Z");
    assert!(wait(world.reminders.tell("a", Schedule(again), with_id(2))).is_err(), "it is scheduled already");
    let other = wait(world.reminders.tell("a", Schedule(instant(NOW)), with_id(2))).expect_err("another instant");
    assert!(other.to_string().contains("other content"), "{other}");
}

#[test]
fn what_is_remembered_is_bounded_by_number_and_age() {
    let world = World::new();
    let last = ANSWERS_MAX as u128;
    for some in (0..=last).collect::<Vec<_>>().chunks(100) {
        let replies: Vec<_> = some.iter().map(|id| add(&world, "a", 1, *id)).collect();
        replies.into_iter().for_each(|reply| assert!(wait(reply).is_ok()));
    }
    assert_eq!(wait(add(&world, "a", 1, 1)), Ok(2), "remembered");
    assert_eq!(wait(add(&world, "a", 1, 0)), Ok(last as i64 + 2), "forgotten, so it is done again");
    world.clock.advance(std::time::Duration::from_secs(25 * 3600));
    assert_eq!(wait(add(&world, "a", 1, last)), Ok(last as i64 + 1), "nothing has come since");
    assert_eq!(wait(add(&world, "a", 1, 9_999)), Ok(last as i64 + 3));
    let world = world.reopened();
    assert_eq!(wait(add(&world, "a", 1, last)), Ok(last as i64 + 4), "a day is over");
}

/// The events carry the command's id as their cause, and ids of their own.
#[test]
fn events_name_the_command() {
    let world = World::new();
    assert_eq!((wait(add(&world, "a", 5, 1)), wait(add(&world, "b", 5, 1))), (Ok(5), Ok(5)));
    let types: Vec<String> = world.stored("a").into_iter().map(|it| it.2).collect();
    assert_eq!(types, ["added", "runtime-answered"]);
    let mut ids = std::collections::HashSet::new();
    ionveil_journal::Journal::read_all(world.journal.as_ref(), position(1), position(9), &mut |record| {
        assert_eq!(record.causation_id, Some(Uuid::from_u128(1)));
        assert!(ids.insert(record.id));
        std::ops::ControlFlow::Continue(())
    })
    .expect("a sound journal");
}
