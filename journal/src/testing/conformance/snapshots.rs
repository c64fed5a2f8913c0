//! Stored copies of states: found again, bounded, replaced, deleted, refused when they are ahead.

use super::{Engine, reopened, write};
use crate::error::{Error, Kind};
use crate::journal::Journal;
use crate::position::Sequence;
use crate::snapshot::{Fold, SnapshotCriteria, StateSnapshot};

const FOLD: Fold = Fold { schema: 1, version: 1 };

fn snapshot(of: &str, sequence: u64, payload: &[u8]) -> StateSnapshot {
    StateSnapshot {
        stream: of.parse().expect("a valid stream"),
        sequence: Sequence::new(sequence),
        fold: FOLD,
        taken_at_micros: 1_000 * sequence as i64,
        codec: 1,
        payload: payload.to_vec(),
    }
}

fn sequences(from: u64, to: u64) -> SnapshotCriteria {
    SnapshotCriteria { sequence: (Sequence::new(from), Sequence::new(to)), ..SnapshotCriteria::ALL }
}

fn times(from: i64, to: i64) -> SnapshotCriteria {
    SnapshotCriteria { taken_at_micros: (from, to), ..SnapshotCriteria::ALL }
}

#[track_caller]
fn find(journal: &dyn Journal, of: &str, fold: Fold, criteria: &SnapshotCriteria) -> Option<StateSnapshot> {
    journal.latest_snapshot(&of.parse().expect("a valid stream"), fold, criteria).expect("readable")
}

#[track_caller]
fn latest(journal: &dyn Journal, of: &str, criteria: SnapshotCriteria) -> Option<u64> {
    find(journal, of, FOLD, &criteria).map(|snapshot| snapshot.sequence.get())
}

#[track_caller]
fn delete(journal: &dyn Journal, of: &str, criteria: SnapshotCriteria) -> u64 {
    journal.delete_snapshots(&of.parse().expect("a valid stream"), &criteria).expect("deleted")
}

/// Saves the snapshots 2, 5 and 9 of a stream of ten events, out of order, and one of a neighbour.
#[track_caller]
fn with_snapshots(engine: &dyn Engine) -> std::sync::Arc<dyn Journal> {
    let journal = engine.open();
    for name in ["dispatch/org1", "dispatch/org10"] {
        write(journal.as_ref(), name, 0, 1..11);
    }
    for sequence in [5, 9, 2] {
        journal.save_snapshot(&snapshot("dispatch/org1", sequence, b"state")).expect("its events are durable");
    }
    journal.save_snapshot(&snapshot("dispatch/org10", 7, b"another's")).expect("its events are durable");
    journal
}

/// With everything that was saved; none before any was.
pub fn the_latest_snapshot_is_found(engine: &dyn Engine) {
    let journal = with_snapshots(engine);
    let found = find(journal.as_ref(), "dispatch/org1", FOLD, &SnapshotCriteria::ALL);
    assert_eq!(found, Some(snapshot("dispatch/org1", 9, b"state")));
    assert_eq!(latest(journal.as_ref(), "dispatch/nobody", SnapshotCriteria::ALL), None);
    assert_eq!(journal.stat().snapshots, 4);
    assert_eq!(journal.verify(None, &mut |_| {}).expect("readable").events, 20, "snapshots are beside the events");
}

/// Both bounds are included.
pub fn a_snapshot_is_bounded_by_sequence(engine: &dyn Engine) {
    let journal = with_snapshots(engine);
    let org1 = |criteria| latest(journal.as_ref(), "dispatch/org1", criteria);
    for (up_to, expected) in [(10, Some(9)), (9, Some(9)), (8, Some(5)), (5, Some(5)), (2, Some(2)), (1, None)] {
        assert_eq!(org1(SnapshotCriteria::up_to(Sequence::new(up_to))), expected, "up to {up_to}");
    }
    for (from, to, expected) in [(9, 9, Some(9)), (5, 8, Some(5)), (6, 8, None), (3, 5, Some(5)), (9, 2, None)] {
        assert_eq!(org1(sequences(from, to)), expected, "{from} to {to}");
    }
}

/// Both bounds are included, and they hold together with those of the sequence.
pub fn a_snapshot_is_bounded_by_time(engine: &dyn Engine) {
    let journal = with_snapshots(engine);
    let org1 = |criteria| latest(journal.as_ref(), "dispatch/org1", criteria);
    for (from, to, expected) in [
        (0, 5_000, Some(5)),
        (0, 4_999, Some(2)),
        (5_000, 5_000, Some(5)),
        (5_001, 8_999, None),
        (9_000, i64::MAX, Some(9)),
        (i64::MIN, 0, None),
    ] {
        assert_eq!(org1(times(from, to)), expected, "{from} to {to}");
    }
    let both = SnapshotCriteria { sequence: (Sequence::new(1), Sequence::new(8)), ..times(5_000, i64::MAX) };
    assert_eq!(org1(both), Some(5));
}

/// Changed arithmetic does not use the old state, and `org1` does not use that of `org10`.
pub fn a_snapshot_belongs_to_one_fold_and_one_stream(engine: &dyn Engine) {
    let journal = with_snapshots(engine);
    for fold in [Fold { version: 2, ..FOLD }, Fold { schema: 2, ..FOLD }, Fold { schema: 0, version: 0 }] {
        assert_eq!(find(journal.as_ref(), "dispatch/org1", fold, &SnapshotCriteria::ALL), None, "{fold:?}");
    }
    let newer = StateSnapshot { fold: Fold { version: 2, ..FOLD }, ..snapshot("dispatch/org1", 4, b"new arithmetic") };
    journal.save_snapshot(&newer).expect("its events are durable");
    let found = find(journal.as_ref(), "dispatch/org1", newer.fold, &SnapshotCriteria::ALL);
    assert_eq!(found.as_ref(), Some(&newer));
    assert_eq!(latest(journal.as_ref(), "dispatch/org1", SnapshotCriteria::ALL), Some(9));
    assert_eq!(latest(journal.as_ref(), "dispatch/org10", SnapshotCriteria::ALL), Some(7));
    assert_eq!(latest(journal.as_ref(), "alerts/org1", SnapshotCriteria::ALL), None);
}

/// The second one counts, whether it is larger or smaller, and there is one of them.
pub fn a_snapshot_is_replaced_by_one_of_the_same_sequence(engine: &dyn Engine) {
    let journal = engine.open();
    write(journal.as_ref(), "dispatch/org1", 0, 1..11);
    let large = vec![7; 300_000];
    for payload in [&b"small"[..], &large, b"", &large[..100_000], b"small again"] {
        let saved = StateSnapshot { taken_at_micros: payload.len() as i64, ..snapshot("dispatch/org1", 10, payload) };
        journal.save_snapshot(&saved).expect("its events are durable");
        let found = find(journal.as_ref(), "dispatch/org1", FOLD, &SnapshotCriteria::ALL);
        assert!(found.as_ref() == Some(&saved), "the one of {} bytes does not come back", payload.len());
        assert_eq!(journal.stat().snapshots, 1);
    }
}

/// The one before it is the latest then; to delete it again deletes nothing.
pub fn snapshots_are_deleted_one_by_one(engine: &dyn Engine) {
    let journal = with_snapshots(engine);
    let journal = journal.as_ref();
    for (sequence, left) in [(9, Some(5)), (2, Some(5)), (5, None)] {
        assert_eq!(delete(journal, "dispatch/org1", sequences(sequence, sequence)), 1);
        assert_eq!(delete(journal, "dispatch/org1", sequences(sequence, sequence)), 0);
        assert_eq!(latest(journal, "dispatch/org1", SnapshotCriteria::ALL), left);
    }
    assert_eq!(latest(journal, "dispatch/org10", SnapshotCriteria::ALL), Some(7), "a neighbour's stays");
}

/// By bounds of sequence and of time, of whatever fold; others stay, the events too.
pub fn snapshots_are_deleted_by_criteria(engine: &dyn Engine) {
    let journal = with_snapshots(engine);
    let other = StateSnapshot { fold: Fold { version: 2, ..FOLD }, ..snapshot("dispatch/org1", 4, b"") };
    journal.save_snapshot(&other).expect("its events are durable");
    let journal = journal.as_ref();
    assert_eq!(delete(journal, "dispatch/org1", sequences(3, 5)), 2, "of both folds");
    assert_eq!(latest(journal, "dispatch/org1", SnapshotCriteria::up_to(Sequence::new(8))), Some(2));
    assert_eq!(delete(journal, "dispatch/org1", times(9_001, i64::MAX)), 0);
    assert_eq!(delete(journal, "dispatch/org1", times(9_000, 9_000)), 1);
    assert_eq!(latest(journal, "dispatch/org1", SnapshotCriteria::ALL), Some(2));
    assert_eq!(delete(journal, "dispatch/org1", SnapshotCriteria::ALL), 1);
    assert_eq!(latest(journal, "dispatch/org10", SnapshotCriteria::ALL), Some(7), "a neighbour's stays");
    assert_eq!(journal.stat().events, 20);
}

/// Larger than anything that an engine stores in one piece, to the byte.
pub fn large_snapshots_come_back(engine: &dyn Engine) {
    let journal = engine.open();
    write(journal.as_ref(), "dispatch/org1", 0, 1..3);
    for (sequence, len) in [(1, 3_000_000), (2, 49_128)] {
        let payload: Vec<u8> = (0..len).map(|n: u32| (n % 251) as u8).collect();
        let saved = snapshot("dispatch/org1", sequence, &payload);
        journal.save_snapshot(&saved).expect("its events are durable");
        let found = find(journal.as_ref(), "dispatch/org1", FOLD, &SnapshotCriteria::ALL);
        assert!(found == Some(saved), "{len} bytes do not come back");
    }
}

/// It would hold events that a crash may take. One of the sequence 0 holds none at all.
pub fn a_snapshot_ahead_of_the_journal_is_refused(engine: &dyn Engine) {
    let journal = with_snapshots(engine);
    for (of, sequence) in [("dispatch/org1", 11), ("dispatch/org1", 0), ("dispatch/nobody", 1)] {
        let refused = journal.save_snapshot(&snapshot(of, sequence, b"state"));
        let is_invalid = refused.as_ref().is_err_and(|error: &Error| error.kind() == Kind::Invalid);
        assert!(is_invalid, "{of} {sequence}: {refused:?}");
    }
    assert_eq!(journal.stat().snapshots, 4);
}

/// A snapshot may be lost, it is never another one.
pub fn a_snapshot_after_reopening_is_the_saved_one_or_none(engine: &dyn Engine) {
    let journal = reopened(engine, with_snapshots(engine));
    let found = find(journal.as_ref(), "dispatch/org1", FOLD, &SnapshotCriteria::ALL);
    if let Some(found) = found {
        assert_eq!(found, snapshot("dispatch/org1", found.sequence.get(), b"state"));
    }
    journal.save_snapshot(&snapshot("dispatch/org1", 10, b"anew")).expect("its events are durable");
    assert_eq!(latest(journal.as_ref(), "dispatch/org1", SnapshotCriteria::ALL), Some(10));
}
