//! What is read: everything that was written, in order, within bounds.

use std::ops::ControlFlow;
use std::sync::Arc;

use uuid::Uuid;

use super::{Engine, all, all_between, assert_is, committed, history, ids, ids_of, of_stream, reopened, write};
use crate::chain::Hash;
use crate::directory::Head;
use crate::position::{Position, Sequence};
use crate::record::{Append, NewEvent, Origin};
use crate::testing::{append_to, event};

/// Nothing can be read, no stream is listed, and the chain stands at its beginning.
pub fn an_empty_journal_has_nothing_and_says_so(engine: &dyn Engine) {
    let journal = reopened(engine, engine.open());
    assert_eq!(journal.head(), Head { position: Position::NONE, hash: Hash::GENESIS });
    assert_eq!(all(journal.as_ref()), []);
    assert_eq!(journal.streams(), []);
    let stat = journal.stat();
    assert_eq!((stat.events, stat.streams, stat.snapshots), (0, 0, 0));
    let report = journal.verify(None, &mut |_| {}).expect("readable");
    assert_eq!((report.damage, report.events), (None, 0));
}

/// Every event, once, in the order of the appends, at growing positions; in each stream at the sequences 1, 2, 3, …
pub fn what_goes_in_comes_out_in_order(engine: &dyn Engine) {
    let journal = engine.open();
    let written = history(journal.as_ref());
    let journal = reopened(engine, journal);
    let seen = all(journal.as_ref());
    assert_is(&seen, &written);
    for name in ["dispatch/org0", "dispatch/org1", "dispatch/org2", "dispatch/large"] {
        let of_one = of_stream(journal.as_ref(), name, 1, u64::MAX);
        let expected: Vec<_> = seen.iter().filter(|record| record.stream == name).cloned().collect();
        assert_eq!(of_one, expected, "{name}");
        assert!(of_one.iter().zip(1..).all(|(record, sequence)| record.sequence.get() == sequence), "{name}");
    }
}

/// Ids, type, version, codec, epoch, who and why, payload; and it says when it was written.
pub fn every_field_of_an_event_comes_back(engine: &dyn Engine) {
    let journal = engine.open();
    let long = "é".repeat(Origin::PRINCIPAL_BYTES_MAX / 2);
    let origins = [
        Origin::default(),
        Origin { principal: Some("ops".into()), correlation_id: None, causation_id: Some(Uuid::from_u128(3)) },
        Origin { principal: Some("".into()), correlation_id: Some(Uuid::nil()), causation_id: None },
        Origin {
            principal: Some(long.into()),
            correlation_id: Some(Uuid::from_u128(u128::MAX)),
            causation_id: Some(Uuid::from_u128(2)),
        },
    ];
    let types = ["t".to_owned(), "dispatch-recorded".to_owned(), "x".repeat(Append::TYPE_BYTES_MAX), "ä".to_owned()];
    let appends: Vec<Append> = origins
        .iter()
        .zip(&types)
        .zip([1, 2, 77, u32::MAX])
        .zip(0u64..)
        .map(|(((origin, event_type), epoch), number)| Append {
            epoch,
            origin: origin.clone(),
            events: vec![NewEvent {
                event_type: event_type.clone().into(),
                version: 1 + 21_844 * number as u16,
                codec: (number * 85) as u8,
                payload: if number == 0 { Vec::new() } else { vec![number as u8; 300] },
                ..event(100 + number, 0)
            }],
            ..append_to("dispatch/é x", number, Vec::new())
        })
        .collect();
    for append in &appends {
        committed(journal.append(append.clone()));
    }
    let journal = reopened(engine, journal);
    let seen = of_stream(journal.as_ref(), "dispatch/é x", 1, u64::MAX);
    assert_eq!(seen, all(journal.as_ref()), "both ways of reading give the same");
    assert_eq!(seen.len(), appends.len());
    for (record, append) in seen.iter().zip(&appends) {
        let (event, origin) = (&append.events[0], &append.origin);
        assert_eq!(record.id, event.id);
        assert_eq!(
            (&*record.event_type, record.version, record.codec),
            (&*event.event_type, event.version, event.codec)
        );
        assert_eq!(record.epoch, append.epoch);
        assert_eq!(record.payload, event.payload);
        assert_eq!(record.principal.as_deref(), origin.principal.as_deref());
        assert_eq!((record.correlation_id, record.causation_id), (origin.correlation_id, origin.causation_id));
        assert!(record.recorded_at_micros > 0, "no clock stands before 1970");
    }
}

/// `from` and `to` belong to what is read; `from` above `to`, and bounds outside, give what there is, possibly nothing.
pub fn the_bounds_of_a_stream_are_inclusive(engine: &dyn Engine) {
    let journal = engine.open();
    history(journal.as_ref());
    let journal = reopened(engine, journal);
    let whole = of_stream(journal.as_ref(), "dispatch/org2", 0, u64::MAX);
    assert_eq!(whole.len(), 60, "a lower bound of 0 begins with the first event");
    for (from, to) in [
        (1, 1),
        (1, 0),
        (0, 0),
        (2, 1),
        (5, 5),
        (3, 7),
        (59, 60),
        (60, 60),
        (60, 61),
        (61, 61),
        (61, u64::MAX),
        (40, 20),
        (u64::MAX, u64::MAX),
        (u64::MAX, 1),
    ] {
        let expected: Vec<_> =
            whole.iter().filter(|record| (from..=to).contains(&record.sequence.get())).cloned().collect();
        let seen = of_stream(journal.as_ref(), "dispatch/org2", from, to);
        assert_eq!(ids(&seen), ids(&expected), "sequences {from} to {to}");
        assert_eq!(seen, expected, "sequences {from} to {to}");
    }
}

/// As for one stream, for positions.
pub fn the_bounds_of_all_events_are_inclusive(engine: &dyn Engine) {
    let journal = engine.open();
    history(journal.as_ref());
    let journal = reopened(engine, journal);
    let whole = all_between(journal.as_ref(), Position::NONE, Position::MAX);
    assert_eq!(whole.len(), 123, "a lower bound of none begins with the first event");
    let at = |index: usize| whole[index].position;
    for (from, to, expected) in [
        (at(0), at(0), 0..1),
        (at(0), Position::NONE, 0..0),
        (Position::NONE, Position::NONE, 0..0),
        (at(1), at(0), 0..0),
        (at(7), at(7), 7..8),
        (at(7), at(20), 7..21),
        (at(100), Position::MAX, 100..123),
        (at(122), at(122), 122..123),
        (at(122).plus(1), Position::MAX, 0..0),
        (Position::MAX, Position::MAX, 0..0),
        (at(120), at(3), 0..0),
    ] {
        assert_eq!(all_between(journal.as_ref(), from, to), whole[expected], "positions {from} to {to}");
    }
}

/// A visitor that breaks has seen as many events as it wanted and is not called again: after one, after some.
pub fn a_reader_stops_when_it_says_so(engine: &dyn Engine) {
    let journal = engine.open();
    history(journal.as_ref());
    let org2 = "dispatch/org2".parse().expect("a valid stream");
    for wanted in [1, 2, 31, 60] {
        let stop_at = |count: &mut usize| {
            *count += 1;
            assert!(*count <= wanted, "called again after it broke");
            if *count == wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let (mut of_one, mut of_all) = (0, 0);
        let read = journal.read_stream(&org2, Sequence::FIRST, Sequence::MAX, &mut |_| stop_at(&mut of_one));
        assert_eq!((read, of_one), (Ok(()), wanted));
        let read = journal.read_all(Position::FIRST, Position::MAX, &mut |_| stop_at(&mut of_all));
        assert_eq!((read, of_all), (Ok(()), wanted));
    }
}

/// It is no error to ask for a stream that nobody wrote to.
pub fn an_unknown_stream_is_empty(engine: &dyn Engine) {
    let journal = engine.open();
    write(journal.as_ref(), "dispatch/a", 0, 1..3);
    let journal = reopened(engine, journal);
    for name in ["dispatch/b", "alerts/a"] {
        assert_eq!(of_stream(journal.as_ref(), name, 0, u64::MAX), []);
        assert_eq!(journal.stream_head(&name.parse().expect("a valid stream")), None);
    }
}

/// `org1` is not `org10`, and the same id of two kinds is two streams.
pub fn a_name_that_begins_another_is_another_stream(engine: &dyn Engine) {
    let journal = engine.open();
    let names = ["dispatch/org1", "dispatch/org10", "dispatch/org", "alerts/org1", "dispatch/org1 "];
    for (name, number) in names.iter().zip(1..) {
        write(journal.as_ref(), name, 0, number..number + 1);
    }
    let journal = reopened(engine, journal);
    for (name, number) in names.iter().zip(1..) {
        assert_eq!(ids(&of_stream(journal.as_ref(), name, 1, 9)), ids_of([number]), "{name}");
    }
}

/// Of the journal, of each stream with its epoch, in the list of streams and in the figures.
pub fn heads_are_those_of_the_last_event(engine: &dyn Engine) {
    let mut journal = engine.open();
    let mut last = Position::NONE;
    for (stream, expected, count, epoch) in
        [("dispatch/b", 0, 2, 1), ("dispatch/a", 0, 1, 7), ("dispatch/b", 2, 3, 4), ("alerts/a", 0, 1, 1)]
    {
        let events = (0..count).map(|number| event(1_000 * last.get() + number, 5)).collect();
        let append = super::by_epoch(epoch, append_to(stream, expected, events));
        let written = committed(journal.append(append.clone()));
        assert!(written.position > last, "positions grow");
        assert_eq!(written.sequence.get(), expected + count);
        assert_eq!(journal.head().position, written.position);
        assert_eq!(journal.stream_head(&append.stream), Some((written.sequence, epoch)));
        last = written.position;
        journal = reopened(engine, journal);
        assert_eq!(journal.head().position, last);
        assert_eq!(journal.stream_head(&append.stream), Some((written.sequence, epoch)), "after reopening");
    }
    let list: Vec<_> =
        journal.streams().into_iter().map(|of| (of.stream.to_string(), of.last_sequence.get())).collect();
    let expected = [("alerts/a", 1), ("dispatch/a", 1), ("dispatch/b", 5)];
    assert_eq!(list, expected.map(|(name, last)| (name.to_owned(), last)), "every stream, by address");
    assert_eq!((journal.stat().events, journal.stat().streams), (7, 3));
    assert_eq!(journal.stat().head, journal.head());
}

/// An event as large as allowed, and thousands of events in one append.
pub fn large_events_and_large_batches_come_back(engine: &dyn Engine) {
    let journal = engine.open();
    let largest = NewEvent { payload: vec![7; Append::EVENT_BYTES_MAX - 200], ..event(1, 0) };
    let many: Vec<NewEvent> = (0..5_000).map(|number| event(10 + number, 40)).collect();
    committed(journal.append(append_to("dispatch/a", 0, vec![largest.clone()])));
    committed(journal.append(append_to("dispatch/b", 0, many.clone())));
    let journal = reopened(engine, journal);
    let seen = of_stream(journal.as_ref(), "dispatch/a", 1, 1);
    assert!(seen[0].payload == largest.payload, "the largest event came back as another one");
    let seen = of_stream(journal.as_ref(), "dispatch/b", 1, u64::MAX);
    assert!(seen.iter().map(|record| record.id).eq(many.iter().map(|event| event.id)), "the batch is another one");
}

/// What it appends lies behind the end that the reader was given.
pub fn a_visitor_may_read_and_append(engine: &dyn Engine) {
    let journal = engine.open();
    write(journal.as_ref(), "dispatch/a", 0, 0..5);
    let mut copied = 0;
    let other = Arc::clone(&journal);
    let read = journal.read_all(Position::FIRST, Position::MAX, &mut |_| {
        write(other.as_ref(), "dispatch/copy", copied, 100 + copied..101 + copied);
        copied += 1;
        assert_eq!(of_stream(other.as_ref(), "dispatch/copy", 1, u64::MAX).len() as u64, copied);
        ControlFlow::Continue(())
    });
    assert_eq!((read, copied), (Ok(()), 5));
}
