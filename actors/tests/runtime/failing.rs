//! Failed writes, foreign writers, panics and streams that cannot be replayed: who is told, and who lives on.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ionveil_actors::error::{Error, Kind};
use ionveil_actors::runtime::{Caller, Clock, Limits, Registry};
use ionveil_journal::{Journal, LocalJournal, Outcome};

use crate::support::*;

const UNKNOWN: (Kind, Option<bool>) = (Kind::Unavailable, Some(false));
const NOT_DONE: (Kind, Option<bool>) = (Kind::Unavailable, Some(true));

#[track_caller]
fn outcome<R: std::fmt::Debug>(reply: ionveil_actors::runtime::Reply<R>) -> (Kind, Option<bool>) {
    outcome_of(&wait(reply).expect_err("no success"))
}

#[test]
fn a_failed_commit_fails_exactly_those_who_wait_and_loses_nothing_acknowledged() {
    for (failing, left_behind) in [(Failing::Lost, 0), (Failing::Kept, 160)] {
        let world = World::new();
        assert_eq!(wait(world.add("a", 5)), Ok(5));
        assert_eq!(wait(world.add("neighbour", 7)), Ok(7));
        world.disk.hold();
        let before = world.add("neighbour", 1);
        world.disk.await_begun(3);
        // The next group, all of which hangs on one commit.
        let several = world.counters.tell("a", AddEach(vec![10, 20, 30]), Caller::default());
        let next = world.add("a", 100);
        let answer = world.total("a");
        let refusal = world.counters.tell("a", Refuse, Caller::default());
        world.let_handle("a");
        world.disk.release_one();
        world.disk.await_begun(4);
        assert_eq!(wait(before), Ok(8), "the commit before went well");
        // And one that still waits for its turn.
        let behind = world.add("neighbour", 1000);
        world.let_handle("neighbour");
        world.disk.fail(failing);
        world.disk.release();
        assert_eq!(outcome(several), UNKNOWN, "it may be on the disk");
        assert_eq!(outcome(next), UNKNOWN);
        assert_eq!(outcome(answer).0, Kind::Unavailable, "it would have told of what may never have happened");
        assert_eq!(outcome(refusal).0, Kind::Unavailable);
        assert_eq!(outcome(behind).0, Kind::Unavailable);
        // Fenced: nobody is told anything any more that could be wrong.
        assert_eq!(outcome(world.add("a", 1)).0, Kind::Unavailable);
        assert_eq!(outcome(world.total("a")).0, Kind::Unavailable);
        assert_eq!(outcome(world.add("new", 1)).0, Kind::Unavailable);
        world.disk.mend();
        assert_eq!(outcome(world.add("a", 1)).0, Kind::Unavailable, "until it is opened again");

        let world = world.reopened();
        assert_eq!(
            wait(world.total("a")),
            Ok(5 + left_behind),
            "what was acknowledged, and all or nothing of the rest"
        );
        assert_eq!(wait(world.total("neighbour")), Ok(8));
        assert_eq!(wait(world.add("a", 1)), Ok(6 + left_behind));
    }
}

#[test]
fn a_writer_from_outside_makes_the_entity_rebuild_itself() {
    let world = World::new();
    assert_eq!(wait(world.add("a", 1)), Ok(1));
    let foreign = world.journal.append(world.foreign("a", 1, "added", 100));
    assert!(matches!(foreign, Outcome::Committed(_)), "{foreign:?}");
    let reply = world.add("a", 2);
    let error = wait(reply).expect_err("the stream has moved");
    assert_eq!(outcome_of(&error), NOT_DONE);
    assert!(error.to_string().contains("sequence 2"), "{error}");
    assert_eq!(wait(world.add("a", 2)), Ok(103));
    assert_eq!(world.stored("a").len(), 3);
}

/// The entity had decided twice when another writer moved its stream by one event: the first append failed, but the
/// second one's sequence fitted by chance, and its reply told of a total that never was.
#[test]
fn a_command_decided_on_events_that_were_not_written_is_not_acknowledged() {
    let world = World::new();
    assert_eq!(wait(world.add("a", 1)), Ok(1));
    world.disk.hold();
    assert_eq!(wait(world.total("neighbour")), Ok(0));
    let neighbour = world.add("neighbour", 1);
    world.disk.await_begun(2);
    let queued = world.journal.submit(world.foreign("a", 1, "added", 100), Box::new(drop));
    assert!(queued.is_ok());
    let first = world.add("a", 2);
    let second = world.add("a", 4);
    let answer = world.total("a");
    world.let_handle("a");
    world.disk.release();
    assert_eq!(outcome(first), NOT_DONE);
    assert_eq!(outcome(second), NOT_DONE);
    assert_eq!(outcome(answer).0, Kind::Unavailable);
    assert_eq!(wait(neighbour), Ok(1));
    assert_eq!(world.stored("a").len(), 2, "neither was written");
    assert_eq!(wait(world.total("a")), Ok(101), "the rebuilt entity is what the journal says");
}

#[test]
fn a_panic_is_told_to_its_asker_and_to_nobody_else() {
    let world = World::new();
    assert_eq!(wait(world.add("a", 1)), Ok(1));
    assert_eq!(wait(world.add("b", 2)), Ok(2));
    world.disk.hold();
    let before = world.add("a", 1);
    world.disk.await_begun(3);
    let panics = world.counters.tell("a", Panic, Caller::default());
    assert_eq!(outcome(panics), UNKNOWN);
    let after = world.add("a", 1);
    assert_eq!(wait(world.total("b")), Ok(2), "the neighbour on the same thread lives");
    world.disk.release();
    assert_eq!((wait(before), wait(after)), (Ok(2), Ok(3)), "what was under way is counted once");
    assert_eq!(outcome(world.counters.ask("a", PanicInAnswer, Caller::default())), UNKNOWN);
    assert_eq!(wait(world.add("a", 1)), Ok(4));
    let epochs: Vec<u32> = world.stored("a").into_iter().map(|(_, epoch, _)| epoch).collect();
    assert_eq!(epochs, [1, 1, 2, 3], "each incarnation writes under an epoch of its own");
}

#[test]
fn a_stream_that_cannot_be_replayed_is_named_and_its_neighbours_live() {
    for (event, cause) in [("spoiled", "spoiled"), ("exploded", "applying event exploded v1 panicked")] {
        let world = World::new();
        assert_eq!(wait(world.counters.tell("a", AddEach(vec![1, 2]), Caller::default())), Ok(3));
        let written = world.journal.append(world.foreign("a", 2, event, 0));
        assert!(
            matches!(written, Outcome::Committed(_)),
            "past the entity, which then finds that its stream has moved"
        );
        assert_eq!(outcome(world.add("a", 1)), NOT_DONE);
        for _ in 0..2 {
            assert_eq!(wait(world.add("a", 1)).map_err(corrupt), Err(("counter/a".into(), 3, cause.into())));
            assert_eq!(wait(world.total("a")).map_err(corrupt), Err(("counter/a".into(), 3, cause.into())));
        }
        assert_eq!(wait(world.add("b", 2)), Ok(2));
        assert_eq!(world.stored("a").len(), 3, "nothing is added to it");
        let quarantined = world.runtime.quarantined();
        assert_eq!(quarantined.len(), 1, "{quarantined:?}");
        let it = &quarantined[0];
        assert_eq!((it.entity.as_str(), it.stream.as_str(), it.cause.as_str()), ("counter/a", "counter/a", cause));
        assert_eq!((it.sequence.get(), it.position, it.since), (3, position(3), world.clock.now()));
        assert_eq!(world.runtime.metrics().quarantined, 1);
        let before = world.counters.ask_at("a", position(2), Total, Caller::default());
        assert_eq!(wait(before), Ok(3), "it is readable up to there");
        let world = world.reopened();
        assert_eq!(wait(world.total("a")).map_err(corrupt), Err(("counter/a".into(), 3, cause.into())));
        assert_eq!(wait(world.total("b")), Ok(2));
    }
}

/// It was written, and with it the stream was spoiled for good.
#[test]
fn what_evolve_does_not_take_is_not_written() {
    for event in [Counted::Spoiled(0), Counted::Exploded(0)] {
        let world = World::new();
        assert_eq!(wait(world.add("a", 1)), Ok(1));
        world.disk.hold();
        let before = world.add("a", 2);
        world.disk.await_begun(2);
        let refused = world.counters.tell("a", Write(event.clone()), Caller::default());
        let after = world.add("a", 4);
        world.disk.release();
        assert_eq!(outcome(refused).0, Kind::Unavailable);
        assert_eq!((wait(before), wait(after)), (Ok(3), Ok(7)), "{event:?}");
        assert_eq!(world.stored("a").len(), 3);
        let metrics = world.runtime.metrics();
        assert_eq!(metrics.faults + metrics.panics, 1);
        assert_eq!(metrics.commits_failed, 0);
        assert_eq!(wait(world.reopened().total("a")), Ok(7));
    }
}

/// What keeps failing is not tried in a hot loop: its askers are told when it is worth while again.
#[test]
fn who_fails_again_and_again_is_left_alone_for_longer_and_longer() {
    let world = World::new();
    assert_eq!(wait(world.add("a", 1)), Ok(1));
    let mut waits = Vec::new();
    for _ in 0..12 {
        assert_eq!(outcome(world.counters.tell("a", Panic, Caller::default())), UNKNOWN, "its turn has come");
        let refused = world.runtime.metrics().recoveries;
        let mut wait_for = std::time::Duration::ZERO;
        // The first failure is forgiven at once.
        if !waits.is_empty() {
            let error = wait(world.add("a", 1)).expect_err("it is left alone");
            wait_for = error.retry_after().expect("a hint");
            assert_eq!(world.runtime.metrics().recoveries, refused, "and not rebuilt meanwhile");
            assert_eq!(wait(world.add("b", 1)), Ok(waits.len() as i64), "its neighbour is not");
        }
        waits.push(wait_for);
        world.clock.advance(wait_for);
    }
    assert!(waits[..10].is_sorted(), "{waits:?}");
    assert!(waits[1].as_millis() >= 75 && waits[10..].iter().all(|it| (22..=30).contains(&it.as_secs())), "{waits:?}");
    assert_eq!(wait(world.add("a", 1)), Ok(2), "nothing is lost");
    assert_eq!(outcome(world.counters.tell("a", Panic, Caller::default())), UNKNOWN);
    assert_eq!(wait(world.add("a", 1)), Ok(3), "whoever did well begins anew");
}

#[test]
fn an_event_of_unknown_type_is_named() {
    let world = World::new();
    let written = world.journal.append(world.foreign("a", 0, "unheard-of", 1));
    assert!(matches!(written, Outcome::Committed(_)));
    let (stream, sequence, cause) = corrupt(wait(world.add("a", 1)).expect_err("it cannot be read"));
    assert_eq!((stream.as_str(), sequence), ("counter/a", 1));
    assert!(cause.contains("unheard-of"), "{cause}");
    assert_eq!(wait(world.add("b", 1)), Ok(1));
}

#[track_caller]
fn corrupt(error: Error) -> (String, u64, String) {
    assert_eq!(error.kind(), Kind::Corrupt);
    match error {
        Error::Corrupt { stream, sequence, cause } => (stream, sequence, cause),
        other => panic!("{other}"),
    }
}

/// It refused for ever what one failed read had kept it from.
#[test]
fn an_entity_that_could_not_be_read_is_tried_again() {
    let journal = Reluctant::new(Arc::new(LocalJournal::in_memory()));
    let (runtime, clock) = runtime_on(Arc::clone(&journal) as _, Limits { threads: 1, ..Limits::default() });
    let counters: Registry<Counter> = Registry::new(&runtime);
    let set = |reading| *journal.reading.lock().expect("no panic while it is held") = reading;
    for reading in [Reading::Fails, Reading::Panics] {
        set(reading);
        assert_eq!(outcome(counters.tell("a", Add(1), Caller::default())).0, Kind::Unavailable);
        let error = wait(counters.tell("a", Add(1), Caller::default())).expect_err("again");
        assert_eq!(error.kind(), Kind::Unavailable);
        set(Reading::Works);
        let error = wait(counters.tell("a", Add(1), Caller::default())).expect_err("it is not tried at once");
        clock.advance(error.retry_after().expect("a hint"));
        assert_eq!(wait(counters.ask("a", Total, Caller::default())), Ok(0), "{reading:?}");
        // A panic makes it rebuild, so that the next round begins unloaded.
        assert_eq!(outcome(counters.tell("a", Panic, Caller::default())), UNKNOWN);
    }
    assert!(runtime.stop(PATIENCE));
}

/// An append that was not taken counted as a failed write until its entity had noticed, and everybody else who waited
/// for the journal's writer meanwhile was told that their events could not be written. The entity itself rebuilds: its state
/// was ahead of what could be written.
#[test]
fn an_append_that_is_not_taken_fails_nobody_else() {
    let disk = Disk::default();
    let journal = Reluctant::new(Arc::new(LocalJournal::on(disk.clone()).expect("a sound disk")));
    let (runtime, _) = runtime_on(Arc::clone(&journal) as _, Limits { threads: 1, ..Limits::default() });
    let counters: Registry<Counter> = Registry::new(&runtime);
    assert_eq!(wait(counters.tell("a", Add(1), Caller::default())), Ok(1));
    disk.hold();
    let taken = counters.tell("a", Add(2), Caller::default());
    disk.await_begun(2);
    let answer = counters.ask("a", Total, Caller::default());
    let (sender, receiver) = std::sync::mpsc::channel();
    let also = counters.ask("a", Signal(sender), Caller::default());
    receiver.recv_timeout(PATIENCE).expect("handled");
    journal.is_full.store(true, Ordering::SeqCst);
    let refused = counters.tell("a", Add(4), Caller::default());
    until("it was not taken", || journal.turned_away.load(Ordering::SeqCst) == 1);
    journal.is_full.store(false, Ordering::SeqCst);
    let after = counters.tell("a", Add(8), Caller::default());
    disk.release();
    assert_eq!((wait(taken), wait(answer), wait(also)), (Ok(3), Ok(3), Ok(())));
    assert_eq!(wait(refused).expect_err("not taken").kind(), Kind::Overloaded);
    assert_eq!(wait(after), Ok(11), "what was refused was not done");
    assert_eq!(wait(counters.ask("a", Total, Caller::default())), Ok(11));
    assert_eq!(journal.reads.load(Ordering::SeqCst), 2, "when it started, and when it had to forget");
    assert!(runtime.stop(PATIENCE));
}

/// What the journal refuses for being too large is refused as invalid, and the entity goes on.
#[test]
fn a_decision_that_no_append_can_hold_is_refused() {
    let world = World::new();
    let too_many = vec![1; ionveil_journal::Append::EVENTS_MAX + 1];
    let refused = wait(world.counters.tell("a", AddEach(too_many), Caller::default())).expect_err("too many events");
    assert_eq!(refused.kind(), Kind::Invalid);
    assert_eq!(wait(world.add("a", 1)), Ok(1));
    assert_eq!(outcome(world.add("a/b", 1)).0, Kind::Invalid, "an id that no stream can have");
}
