//! What is written: whole appends, at the place they name, by the writer that holds the stream, once.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, mpsc};

use super::{Engine, all, by_epoch, committed, ids, ids_of, of_stream, reopened, write};
use crate::error::{Error, Kind};
use crate::position::Sequence;
use crate::record::{Append, NewEvent, Origin, Outcome};
use crate::testing::{append_to, event};

/// Whatever is wrong with one event, or with the whole, nothing of it is written and the journal goes on.
pub fn one_bad_event_refuses_the_whole_append(engine: &dyn Engine) {
    let journal = engine.open();
    let good = |number| event(number, 10);
    let unnamed = NewEvent { event_type: "".into(), ..good(2) };
    let misnamed = NewEvent { event_type: "x".repeat(Append::TYPE_BYTES_MAX + 1).into(), ..good(2) };
    let large = |number, len| NewEvent { payload: vec![7; len], ..event(number, 0) };
    let too_large = large(2, Append::EVENT_BYTES_MAX);
    let too_many = (0..=Append::EVENTS_MAX as u64).map(good).collect();
    let together_too_large = (0..5).map(|number| large(number, 15 << 20)).collect();
    let mut principal_too_long = append_to("dispatch/a", 0, vec![good(1)]);
    principal_too_long.origin.principal = Some("x".repeat(Origin::PRINCIPAL_BYTES_MAX + 1).into());
    let of = |events| append_to("dispatch/a", 0, events);
    for (what, append) in [
        ("no event", of(vec![])),
        ("an event without a type", of(vec![good(1), unnamed, good(3)])),
        ("a type with too long a name", of(vec![good(1), misnamed, good(3)])),
        ("an event that is too large", of(vec![good(1), too_large, good(3)])),
        ("an id twice", of(vec![good(1), good(2), good(1)])),
        ("too many events", of(too_many)),
        ("events that are too large together", of(together_too_large)),
        ("a principal that is too long", principal_too_long),
    ] {
        let outcome = journal.append(append);
        let is_refused = matches!(&outcome, Outcome::Rejected(error) if error.kind() == Kind::Invalid);
        assert!(is_refused, "{what}: not refused as invalid but {outcome:?}");
        assert!(all(journal.as_ref()).is_empty(), "{what}: some of it was written");
    }
    let journal = reopened(engine, journal);
    assert_eq!(journal.stat().events, 0);
    write(journal.as_ref(), "dispatch/a", 0, 1..2);
}

/// While others write, a reader sees whole appends only, without a hole, never beyond what is durable.
pub fn readers_see_whole_appends_and_a_prefix_without_gaps(engine: &dyn Engine) {
    const ROUNDS: u64 = 40;
    let journal = engine.open();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3u64)
            .map(|writer| {
                let journal = &journal;
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        // Some appends are larger than what an engine may write in one go.
                        let len = if round % 7 == 0 { 60_000 } else { 300 };
                        let number = writer * 1_000 + 2 * round;
                        let events = vec![event(number, len), event(number + 1, 10)];
                        committed(journal.append(append_to(&format!("dispatch/{writer}"), 2 * round, events)));
                    }
                })
            })
            .collect();
        let stopper = scope.spawn(|| {
            let ended: Vec<bool> = writers.into_iter().map(|writer| writer.join().is_ok()).collect();
            is_over.store(true, Ordering::Release);
            assert!(ended.into_iter().all(|is_well| is_well), "a writer was refused");
        });
        loop {
            let is_last = is_over.load(Ordering::Acquire);
            let before = journal.head().position;
            let seen = all(journal.as_ref());
            let after = journal.head().position;
            let last = seen.last().map(|record| record.position).unwrap_or_default();
            assert!((before..=after).contains(&last), "read up to {last}, the head was {before} and then {after}");
            for writer in 0..3 {
                let name = format!("dispatch/{writer}");
                let of_one: Vec<_> = seen.iter().filter(|record| record.stream == name).collect();
                assert!(
                    of_one.iter().zip(1..).all(|(record, next)| record.sequence.get() == next),
                    "{name} has a hole"
                );
                assert_eq!(of_one.len() % 2, 0, "{name}: half an append is seen");
            }
            let of_one = of_stream(journal.as_ref(), "dispatch/1", 1, u64::MAX);
            assert_eq!(of_one.len() % 2, 0, "half an append is seen");
            assert_eq!(journal.verify(None, &mut |_| {}).expect("readable").damage, None);
            if is_last {
                break;
            }
        }
        stopper.join().expect("the writers were well");
    });
    assert_eq!(all(journal.as_ref()).len() as u64, 3 * 2 * ROUNDS);
}

/// Behind or ahead of the stream, it is told where the stream is, and nothing is written.
pub fn a_stale_writer_meets_a_conflict(engine: &dyn Engine) {
    let journal = engine.open();
    write(journal.as_ref(), "dispatch/a", 0, 1..4);
    let journal = reopened(engine, journal);
    for expected in [0, 1, 2, 4, 1_000, u64::MAX] {
        let outcome = journal.append(append_to("dispatch/a", expected, vec![event(9, 10)]));
        assert_eq!(outcome, Outcome::Conflict { head: Sequence::new(3) }, "after {expected}");
    }
    let outcome = journal.append(append_to("dispatch/new", 1, vec![event(9, 10)]));
    assert_eq!(outcome, Outcome::Conflict { head: Sequence::NONE });
    assert_eq!(ids(&all(journal.as_ref())), ids_of(1..4));
}

/// Also when they come at the same moment: one is committed, the others are told that they lost.
pub fn of_two_writers_at_one_version_one_wins(engine: &dyn Engine) {
    const WRITERS: u64 = 4;
    const ROUNDS: u64 = 30;
    let journal = engine.open();
    let mut winners = Vec::new();
    for round in 0..ROUNDS {
        let barrier = Barrier::new(WRITERS as usize);
        let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
            let race = |writer| {
                let (journal, barrier) = (&journal, &barrier);
                move || {
                    barrier.wait();
                    journal.append(append_to("dispatch/a", round, vec![event(round * WRITERS + writer, 20)]))
                }
            };
            let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(race(writer))).collect();
            writers.into_iter().map(|writer| writer.join().expect("an append does not panic")).collect()
        });
        let conflict = Outcome::Conflict { head: Sequence::new(round + 1) };
        let losers = outcomes.iter().filter(|outcome| **outcome == conflict).count();
        assert_eq!(losers, WRITERS as usize - 1, "{outcomes:?}");
        let winner = outcomes.iter().position(|outcome| matches!(outcome, Outcome::Committed(_)));
        winners.push(round * WRITERS + winner.expect("one of them is committed") as u64);
    }
    let journal = reopened(engine, journal);
    assert_eq!(ids(&of_stream(journal.as_ref(), "dispatch/a", 1, u64::MAX)), ids_of(winners));
}

/// The same ids at the same place: the first answer again. More or other events than were written are a conflict.
pub fn a_retry_is_answered_and_not_written_again(engine: &dyn Engine) {
    let journal = engine.open();
    let events = |numbers: std::ops::Range<u64>| numbers.map(|number| event(number, 10)).collect::<Vec<_>>();
    let first = append_to("dispatch/a", 0, events(1..3));
    let written = committed(journal.append(first.clone()));
    assert_eq!(journal.append(first.clone()), Outcome::AlreadyCommitted(written));
    let second = committed(journal.append(append_to("dispatch/a", 2, events(3..5))));
    assert_eq!(journal.append(first.clone()), Outcome::AlreadyCommitted(written), "also when others came behind it");
    let part = journal.append(append_to("dispatch/a", 2, events(3..4)));
    assert!(matches!(part, Outcome::AlreadyCommitted(part) if part.sequence.get() == 3), "{part:?}");
    let both = journal.append(append_to("dispatch/a", 0, events(1..5)));
    assert_eq!(both, Outcome::AlreadyCommitted(second), "whatever appends they came in");
    let conflict = Outcome::Conflict { head: Sequence::new(4) };
    assert_eq!(journal.append(append_to("dispatch/a", 2, events(3..6))), conflict, "one more than was written");
    assert_eq!(journal.append(append_to("dispatch/a", 0, vec![event(2, 10), event(1, 10)])), conflict, "another order");
    assert_eq!(ids(&all(journal.as_ref())), ids_of(1..5));
}

/// A writer that crashed between its append and the answer asks again and learns what became of it.
pub fn a_retry_after_reopening_is_answered_too(engine: &dyn Engine) {
    let journal = engine.open();
    let append = append_to("dispatch/a", 0, vec![event(1, 10), event(2, 60_000)]);
    let (sender, outcome) = mpsc::channel();
    let done = Box::new(move |outcome| {
        // Nobody waits for it: the writer is gone.
        let _ = sender.send(outcome);
    });
    journal.submit(append.clone(), done).expect("taken");
    journal.close();
    let written = committed(outcome.try_recv().expect("closing finishes what was taken"));
    if !engine.lasts() {
        return;
    }
    drop(journal);
    let journal = engine.open();
    assert_eq!(journal.append(append), Outcome::AlreadyCommitted(written));
    assert_eq!(ids(&all(journal.as_ref())), ids_of(1..3));
}

/// And nowhere else, so that no index of all ids is needed: at another place, or in another stream, the same id is
/// another event. (Within one append an id is refused the second time.)
pub fn an_id_is_looked_for_where_the_append_names_it(engine: &dyn Engine) {
    let journal = engine.open();
    write(journal.as_ref(), "dispatch/a", 0, 1..4);
    let conflict = Outcome::Conflict { head: Sequence::new(3) };
    assert_eq!(journal.append(append_to("dispatch/a", 1, vec![event(1, 10)])), conflict);
    assert_eq!(journal.append(append_to("dispatch/a", 0, vec![event(3, 10)])), conflict);
    committed(journal.append(append_to("dispatch/b", 0, vec![event(1, 10)])));
    committed(journal.append(append_to("dispatch/a", 3, vec![event(1, 10)])));
    let journal = reopened(engine, journal);
    assert_eq!(ids(&of_stream(journal.as_ref(), "dispatch/a", 1, 9)), ids_of([1, 2, 3, 1]));
    assert_eq!(ids(&of_stream(journal.as_ref(), "dispatch/b", 1, 9)), ids_of([1]));
}

/// A writer that names the event it follows is not fooled by a stream that somebody else made as long.
pub fn a_stream_of_other_events_is_a_conflict(engine: &dyn Engine) {
    let journal = engine.open();
    write(journal.as_ref(), "dispatch/a", 0, 1..3);
    let journal = reopened(engine, journal);
    let after = |id: u64, events| Append { expected_id: Some(event(id, 0).id), ..append_to("dispatch/a", 2, events) };
    let conflict = Outcome::Conflict { head: Sequence::new(2) };
    assert_eq!(journal.append(after(9, vec![event(3, 10)])), conflict, "an event that is not there");
    assert_eq!(journal.append(after(1, vec![event(3, 10)])), conflict, "an event further back");
    let right = after(2, vec![event(3, 10)]);
    let written = committed(journal.append(right.clone()));
    assert_eq!(journal.append(right), Outcome::AlreadyCommitted(written));
    assert_eq!(ids(&all(journal.as_ref())), ids_of(1..4));
}

/// In that one stream, also after reopening; a retry is answered whoever asks.
pub fn a_later_epoch_fences_earlier_ones(engine: &dyn Engine) {
    let journal = engine.open();
    let of = |epoch, expected, number| by_epoch(epoch, append_to("dispatch/a", expected, vec![event(number, 10)]));
    let first = committed(journal.append(of(2, 0, 1)));
    committed(journal.append(of(5, 1, 2)));
    let journal = reopened(engine, journal);
    for epoch in [0, 2, 4] {
        assert_eq!(journal.append(of(epoch, 2, 3)), Outcome::Fenced { epoch: 5 });
    }
    assert_eq!(journal.append(of(2, 0, 1)), Outcome::AlreadyCommitted(first));
    committed(journal.append(of(5, 2, 3)));
    committed(journal.append(by_epoch(1, append_to("dispatch/b", 0, vec![event(9, 10)]))));
    let epochs: Vec<u32> = of_stream(journal.as_ref(), "dispatch/a", 1, 9).iter().map(|record| record.epoch).collect();
    assert_eq!(epochs, [2, 5, 5]);
}

/// Whatever they are, and each append gets exactly one.
pub fn outcomes_come_in_the_order_of_submission(engine: &dyn Engine) {
    let journal = engine.open();
    let (sender, outcomes) = mpsc::channel();
    for number in 0..200u64 {
        // Every tenth one is in conflict.
        let expected = if number % 10 == 9 { 1_000 } else { number / 10 * 9 + number % 10 };
        let sender = sender.clone();
        let done = Box::new(move |outcome: Outcome| {
            // The check below counts what arrives.
            let _ = sender.send((number, matches!(outcome, Outcome::Committed(_))));
        });
        journal.submit(append_to("dispatch/a", expected, vec![event(number, 10)]), done).expect("taken");
    }
    drop(sender);
    journal.close();
    let told: Vec<(u64, bool)> = outcomes.iter().collect();
    assert_eq!(told, (0..200).map(|number| (number, number % 10 != 9)).collect::<Vec<_>>());
}

/// It names a head at which all of them can be read.
pub fn when_durable_comes_after_what_was_taken_before(engine: &dyn Engine) {
    let journal = engine.open();
    let (sender, told) = mpsc::channel();
    for number in 0..50u64 {
        let sender = sender.clone();
        let done = Box::new(move |_| drop(sender.send(None)));
        journal.submit(append_to("dispatch/a", number, vec![event(number, 1_000)]), done).expect("taken");
    }
    journal.when_durable(Box::new(move |head| drop(sender.send(Some(head))))).expect("taken");
    let mut told: Vec<Option<Result<_, Error>>> = told.iter().collect();
    let head = told.pop().flatten().expect("the answer comes last").expect("the journal is sound");
    assert!(told.len() == 50 && told.iter().all(Option::is_none), "every outcome comes before it");
    let mut last = None;
    let read = journal.read_all(head.position, head.position, &mut |record| {
        last = Some(record.sequence.get());
        ControlFlow::Continue(())
    });
    assert_eq!((read, last), (Ok(()), Some(50)));
}
