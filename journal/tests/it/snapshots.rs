//! Stored copies of states: found again, bounded, replaced, deleted, passed over when they cannot be used.

use ionveil_journal::{
    Error, Fold, Journal, LocalJournal, MemoryStore, Outcome, Sequence, SnapshotCriteria, StateSnapshot, StreamId,
};

use crate::support::{append_to, event};

const FOLD: Fold = Fold { schema: 1, version: 1 };

fn stream(name: &str) -> StreamId {
    name.parse().expect("a valid stream")
}

fn snapshot(of: &str, sequence: u64, payload: &[u8]) -> StateSnapshot {
    StateSnapshot {
        stream: stream(of),
        sequence: Sequence::new(sequence),
        fold: FOLD,
        taken_at_micros: 1_000 * sequence as i64,
        codec: 1,
        payload: payload.to_vec(),
    }
}

/// A journal whose streams `dispatch/org1` and `dispatch/org10` have ten events each.
#[track_caller]
fn filled(journal: LocalJournal) -> LocalJournal {
    for name in ["dispatch/org1", "dispatch/org10"] {
        let events = (1..=10).map(|number| event(number, 20)).collect();
        assert!(matches!(journal.append(append_to(name, 0, events)), Outcome::Committed(_)));
    }
    journal
}

#[track_caller]
fn latest(journal: &dyn Journal, of: &str, criteria: SnapshotCriteria) -> Option<u64> {
    let found = journal.latest_snapshot(&stream(of), FOLD, &criteria).expect("readable");
    found.map(|snapshot| snapshot.sequence.get())
}

#[test]
fn a_snapshot_is_found_again_by_stream_fold_sequence_and_time() {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, journal) in [
        ("sled", LocalJournal::open(dir.path()).expect("opens")),
        ("memory", LocalJournal::on(MemoryStore::default()).expect("opens")),
    ] {
        let journal = filled(journal);
        assert_eq!(latest(&journal, "dispatch/org1", SnapshotCriteria::ALL), None, "{name}");
        for sequence in [2, 5, 9] {
            journal.save_snapshot(&snapshot("dispatch/org1", sequence, b"state")).expect("durable events");
        }
        journal.save_snapshot(&snapshot("dispatch/org10", 7, b"another's")).expect("durable events");
        assert_eq!(latest(&journal, "dispatch/org1", SnapshotCriteria::ALL), Some(9), "{name}");
        assert_eq!(latest(&journal, "dispatch/org10", SnapshotCriteria::ALL), Some(7), "{name}");
        for (up_to, expected) in [(10, Some(9)), (9, Some(9)), (8, Some(5)), (2, Some(2)), (1, None)] {
            let criteria = SnapshotCriteria::up_to(Sequence::new(up_to));
            assert_eq!(latest(&journal, "dispatch/org1", criteria), expected, "{name} up to {up_to}");
        }
        let early = SnapshotCriteria { taken_at_micros: (0, 5_000), ..SnapshotCriteria::ALL };
        assert_eq!(latest(&journal, "dispatch/org1", early), Some(5), "{name}");
        let other_fold = Fold { version: 2, ..FOLD };
        let found = journal.latest_snapshot(&stream("dispatch/org1"), other_fold, &SnapshotCriteria::ALL);
        assert_eq!(found.expect("readable"), None, "changed arithmetic does not use the old state");
        assert_eq!(journal.stat().snapshots, 4, "{name}");

        let middle = SnapshotCriteria { sequence: (Sequence::new(3), Sequence::new(5)), ..SnapshotCriteria::ALL };
        assert_eq!(journal.delete_snapshots(&stream("dispatch/org1"), &middle), Ok(1), "{name}");
        assert_eq!(latest(&journal, "dispatch/org1", SnapshotCriteria::up_to(Sequence::new(8))), Some(2), "{name}");
        assert_eq!(journal.delete_snapshots(&stream("dispatch/org1"), &SnapshotCriteria::ALL), Ok(2), "{name}");
        assert_eq!(latest(&journal, "dispatch/org10", SnapshotCriteria::ALL), Some(7), "{name}: a neighbour's stays");
    }
}

#[test]
fn a_large_snapshot_is_replaced_whole_and_outlives_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = filled(LocalJournal::open(dir.path()).expect("opens"));
    let large: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    for payload in [&b"small"[..], &large, b"", &large[..100_000]] {
        let saved = snapshot("dispatch/org1", 10, payload);
        journal.save_snapshot(&saved).expect("durable events");
        let found = journal.latest_snapshot(&saved.stream, FOLD, &SnapshotCriteria::ALL).expect("readable");
        assert_eq!(found.as_ref(), Some(&saved), "{} bytes", payload.len());
    }
    assert_eq!(journal.stat().snapshots, 1);
    drop(journal);
    let journal = LocalJournal::open(dir.path()).expect("opens");
    let found = journal.latest_snapshot(&stream("dispatch/org1"), FOLD, &SnapshotCriteria::ALL).expect("readable");
    assert_eq!(found.expect("it was synced when the journal was closed").payload, large[..100_000]);
    assert!(journal.verify(None, &mut |_| {}).expect("readable").is_ok(), "snapshots are beside the events");
}

#[test]
fn a_snapshot_of_events_that_are_not_durable_is_refused() {
    let journal = filled(LocalJournal::in_memory());
    for (of, sequence) in [("dispatch/org1", 11), ("dispatch/org1", 0), ("dispatch/nobody", 1)] {
        let refused = journal.save_snapshot(&snapshot(of, sequence, b"state"));
        assert!(matches!(refused, Err(Error::Invalid { field: "sequence", .. })), "{of} {sequence}: {refused:?}");
    }
    assert_eq!(journal.stat().snapshots, 0);
}
