//! The end: drained when there is time, and no thread left behind.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use ionveil_actors::error::Kind;
use ionveil_actors::runtime::{Caller, Limits};
use ionveil_journal::Journal;

use crate::support::*;

#[test]
fn stop_lets_nobody_in_and_waits_for_what_is_under_way() {
    let world = World::new();
    world.disk.hold();
    let mut replies = vec![world.add("a", 1)];
    world.disk.await_begun(1);
    replies.extend((2..=5).map(|by| world.add("a", by)));
    let stopping = std::thread::spawn({
        let runtime = Arc::clone(&world.runtime);
        move || runtime.stop(Duration::MAX)
    });
    // Once the door is shut, blocking work is turned away.
    while wait(world.runtime.run_blocking(|| Ok(()))).is_ok() {
        std::thread::yield_now();
    }
    let refused = wait(world.add("a", 100)).expect_err("shutting down");
    assert_eq!(outcome_of(&refused), (Kind::Unavailable, Some(true)));
    assert!(!stopping.is_finished(), "it waits for the disk");
    world.disk.release();
    assert!(stopping.join().expect("does not panic"), "everything had its reply");
    assert_eq!(replies.into_iter().map(wait).collect::<Vec<_>>(), [1, 3, 6, 10, 15].map(Ok));
    for reply in
        [world.add("a", 1), world.total("a"), world.counters.ask_at("a", position(1), Total, Caller::default())]
    {
        assert_eq!(outcome_of(&wait(reply).expect_err("stopped")), (Kind::Unavailable, Some(true)));
    }
    assert!(world.runtime.stop(Duration::ZERO), "a second time it does nothing");
}

#[test]
fn stop_without_time_tells_so_and_what_the_journal_has_taken_is_still_answered() {
    let world = World::new();
    assert_eq!(wait(world.add("a", 1)), Ok(1));
    world.disk.hold();
    let taken = world.add("a", 2);
    world.disk.await_begun(2);
    let also_taken = world.add("a", 4);
    let answer = world.total("a");
    world.let_handle("a");
    assert!(!world.runtime.stop(Duration::ZERO), "three have no reply");
    world.disk.release();
    assert_eq!((wait(taken), wait(also_taken), wait(answer)), (Ok(3), Ok(7), Ok(7)));
}

#[test]
fn what_was_not_handled_when_the_threads_end_is_unavailable() {
    let world = World::new();
    let ((entered, has_entered), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
    let busy = world.counters.tell("a", Block(entered, may_go_on), Caller::default());
    has_entered.recv_timeout(PATIENCE).expect("the entity is busy");
    let waiting = world.add("a", 1);
    let stopping = std::thread::spawn({
        let runtime = Arc::clone(&world.runtime);
        move || runtime.stop(Duration::ZERO)
    });
    while wait(world.runtime.run_blocking(|| Ok(()))).is_ok() {
        std::thread::yield_now();
    }
    go_on.send(()).expect("it waits");
    assert!(!stopping.join().expect("does not panic"));
    assert_eq!(wait(busy), Ok(0));
    // The thread may have got to it before it was told to end.
    match wait(waiting) {
        Ok(total) => assert_eq!((total, world.stored("a").len()), (1, 1)),
        Err(error) => assert_eq!(error.kind(), Kind::Unavailable),
    }
}

#[test]
fn all_threads_are_joined_and_the_entities_are_gone() {
    let world = World::with(Disk::default(), Limits { threads: 3, ..Limits::default() });
    let (sender, receiver) = mpsc::channel();
    let ids: Vec<String> = (0..24).map(|n| format!("e{n}")).collect();
    let mut threads = std::collections::HashSet::new();
    for id in &ids {
        wait(world.add(id, 1)).expect("accepted");
        threads.insert(wait(world.counters.ask(id, WatchThread(sender.clone()), Caller::default())).expect("a thread"));
    }
    drop(sender);
    assert!((2..=3).contains(&threads.len()), "24 entities are spread over the threads: {threads:?}");
    assert!(receiver.try_recv().is_err());
    assert!(world.runtime.stop(PATIENCE));
    let mut ended = 0;
    while let Ok(()) = receiver.try_recv() {
        ended += 1;
    }
    assert_eq!(ended, ids.len(), "every thread has ended when stop returns");
    let owners = Arc::strong_count(&world.journal);
    assert_eq!(owners, 2, "the test and the runtime; no entity has the journal any more");
    world.journal.close();
}

/// Threads of a runtime that was dropped instead of stopped stayed for ever.
#[test]
fn a_runtime_that_is_dropped_ends_its_threads() {
    let World { runtime, counters, .. } = World::new();
    let (sender, receiver) = mpsc::channel();
    wait(counters.ask("a", WatchThread(sender), Caller::default())).expect("a thread");
    drop(counters);
    assert!(receiver.try_recv().is_err());
    drop(runtime);
    receiver.recv_timeout(PATIENCE).expect("its thread ends");
}

#[test]
fn the_runtime_gives_out_the_journal_it_stands_on() {
    let world = World::new();
    wait(world.add("a", 1)).expect("accepted");
    assert_eq!(world.runtime.journal().stat().events, 1);
}
