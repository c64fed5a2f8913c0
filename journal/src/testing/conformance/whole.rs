//! The journal as a whole: its chain, its end, and its being opened and closed.

use std::ops::ControlFlow;
use std::sync::mpsc;

use super::{Engine, all, assert_is, history, reopened, write};
use crate::chain::Hash;
use crate::error::Error;
use crate::position::{Position, Sequence};
use crate::record::Outcome;
use crate::testing::{append_to, event};

/// Each head's hash is a new one, and whoever kept one is told that it belongs to this history, also after reopening.
pub fn every_event_changes_the_hash_and_every_past_hash_is_vouched_for(engine: &dyn Engine) {
    let journal = engine.open();
    let mut kept = vec![Hash::GENESIS];
    for number in 0..12 {
        write(journal.as_ref(), "dispatch/a", number, number..number + 1);
        let hash = journal.head().hash;
        assert!(!kept.contains(&hash), "two positions have the hash {hash}");
        kept.push(hash);
    }
    let head = journal.head();
    let journal = reopened(engine, journal);
    assert_eq!(journal.head(), head);
    for hash in kept {
        let report = journal.verify(Some(hash), &mut |_| {}).expect("readable");
        assert_eq!((report.damage, report.head, report.events), (None, head, 12), "{hash}");
    }
}

/// A hash that no position has: verification says that the history is another one.
pub fn a_hash_of_another_history_is_missed(engine: &dyn Engine) {
    let journal = engine.open();
    write(journal.as_ref(), "dispatch/a", 0, 1..4);
    let foreign: Hash = "5a".repeat(Hash::LEN).parse().expect("a hash");
    let report = journal.verify(Some(foreign), &mut |_| {}).expect("readable");
    assert!(!report.is_ok());
    assert!(journal.verify(None, &mut |_| {}).expect("readable").is_ok());
}

/// It grows, and ends with the number of events.
pub fn verification_tells_its_progress(engine: &dyn Engine) {
    let journal = engine.open();
    for number in 0..20 {
        write(journal.as_ref(), "dispatch/a", 1_000 * number, 1_000 * number..1_000 * number + 1_000);
    }
    let mut told = Vec::new();
    let report = journal.verify(None, &mut |events| told.push(events)).expect("readable");
    assert_eq!(report.damage, None);
    assert!(told.len() > 1 && told.is_sorted(), "{told:?}");
    assert_eq!(told.last(), Some(&report.events));
}

/// Everything that was taken has its outcome when `close` returns, and is there when the journal is opened again.
pub fn closing_finishes_what_was_taken(engine: &dyn Engine) {
    let journal = engine.open();
    let (sender, outcomes) = mpsc::channel();
    for number in 0..100 {
        let sender = sender.clone();
        let done = Box::new(move |outcome| drop(sender.send(outcome)));
        journal.submit(append_to(&format!("dispatch/{number}"), 0, vec![event(number, 10)]), done).expect("taken");
    }
    journal.close();
    let outcomes: Vec<Outcome> = outcomes.try_iter().collect();
    assert_eq!(outcomes.len(), 100);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Committed(_))), "{outcomes:?}");
    if engine.lasts() {
        // The closed one is still about: it has let everything go.
        assert_eq!(all(engine.open().as_ref()).len(), 100);
    }
}

/// As closed; to close it again does nothing.
pub fn a_closed_journal_refuses_everything(engine: &dyn Engine) {
    let journal = engine.open();
    write(journal.as_ref(), "dispatch/a", 0, 1..2);
    journal.close();
    journal.close();
    let append = append_to("dispatch/a", 1, vec![event(2, 10)]);
    assert_eq!(journal.append(append), Outcome::Rejected(Error::Closed));
    assert_eq!(journal.when_durable(Box::new(|_| ())), Err(Error::Closed));
    assert!(matches!(journal.watch_head(), Err(Error::Closed)));
    let mut visit = |_: &crate::Record<'_>| ControlFlow::Continue(());
    assert_eq!(journal.read_all(Position::FIRST, Position::MAX, &mut visit), Err(Error::Closed));
    let stream = "dispatch/a".parse().expect("a valid stream");
    assert_eq!(journal.read_stream(&stream, Sequence::FIRST, Sequence::MAX, &mut visit), Err(Error::Closed));
    assert_eq!(journal.verify(None, &mut |_| {}), Err(Error::Closed));
}

/// Again and again, at once, with appends in between.
pub fn reopening_changes_nothing(engine: &dyn Engine) {
    let mut journal = engine.open();
    let written = history(journal.as_ref());
    let (head, before) = (journal.head(), all(journal.as_ref()));
    assert_is(&before, &written);
    for _ in 0..3 {
        journal = reopened(engine, journal);
        assert_eq!(journal.head(), head);
        assert!(all(journal.as_ref()) == before, "other events after reopening");
    }
    for number in 0..5 {
        write(journal.as_ref(), "dispatch/later", number, number..number + 1);
        journal = reopened(engine, journal);
    }
    assert!(all(journal.as_ref())[..before.len()] == before[..], "what was there has changed");
    assert_eq!(journal.stat().events, 128);
    let report = journal.verify(Some(head.hash), &mut |_| {}).expect("readable");
    assert_eq!((report.damage, report.head), (None, journal.head()));
}
