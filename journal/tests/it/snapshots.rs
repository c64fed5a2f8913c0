//! Snapshots under a journal that lost its end, and damaged ones: passed over, never used. What they promise otherwise is
//! in the suite that every engine passes.

use ionveil_journal::testing::FaultyStore;
use ionveil_journal::{Fold, Journal, LocalJournal, Outcome, Sequence, SnapshotCriteria, StateSnapshot};

use crate::support::{append_to, event};

const FOLD: Fold = Fold { schema: 1, version: 1 };

fn snapshot(sequence: u64, payload: Vec<u8>) -> StateSnapshot {
    StateSnapshot {
        stream: "dispatch/org1".parse().expect("a valid stream"),
        sequence: Sequence::new(sequence),
        fold: FOLD,
        taken_at_micros: 0,
        codec: 1,
        payload,
    }
}

fn latest(journal: &LocalJournal) -> Option<u64> {
    let stream = "dispatch/org1".parse().expect("a valid stream");
    let found = journal.latest_snapshot(&stream, FOLD, &SnapshotCriteria::ALL).expect("readable");
    found.map(|snapshot| snapshot.sequence.get())
}

/// A journal of ten events, each in a block of its own, with snapshots at 4 and 9.
fn with_snapshots() -> (FaultyStore, LocalJournal) {
    let store = FaultyStore::default();
    let journal = LocalJournal::on(store.clone()).expect("opens");
    for number in 0..10 {
        let outcome = journal.append(append_to("dispatch/org1", number, vec![event(number, 10)]));
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    }
    for sequence in [4, 9] {
        journal.save_snapshot(&snapshot(sequence, vec![1; 40_000])).expect("its events are durable");
    }
    (store, journal)
}

#[test]
fn a_snapshot_ahead_of_the_journal_is_passed_over() {
    let (store, journal) = with_snapshots();
    assert_eq!(latest(&journal), Some(9));
    drop(journal);
    store.change(|blocks| blocks.retain(|key, _| key.get() <= 6));
    let journal = LocalJournal::on(store.clone()).expect("a prefix opens");
    assert_eq!(latest(&journal), Some(4), "what was decided on lost events is not used");
    drop(journal);
    store.change(|blocks| blocks.retain(|key, _| key.get() <= 2));
    assert_eq!(latest(&LocalJournal::on(store).expect("a prefix opens")), None);
}

#[test]
fn a_damaged_snapshot_is_passed_over() {
    // In its first part, in its last, cut, without a part, with parts of different numbers.
    type Damage = fn(&mut Vec<(Vec<u8>, Vec<u8>)>);
    let damages: [(&str, Damage); 7] = [
        ("a byte of the first part", |parts| parts[0].1[40] ^= 1),
        ("the instant in the header", |parts| parts[0].1[12] ^= 1),
        ("the last byte", |parts| *parts.last_mut().expect("parts").1.last_mut().expect("bytes") ^= 1),
        ("a cut part", |parts| parts[1].1.truncate(10)),
        ("a lost first part", |parts| drop(parts.remove(0))),
        ("a lost last part", |parts| drop(parts.pop())),
        ("a lost middle part", |parts| drop(parts.remove(1))),
    ];
    for (what, damage) in damages {
        let (store, journal) = with_snapshots();
        store.change_side(|side| {
            let of_nine: Vec<_> = side.keys().filter(|key| key[key.len() - 5] == 9).cloned().collect();
            let mut parts: Vec<_> = of_nine.into_iter().filter_map(|key| side.remove_entry(&key)).collect();
            assert_eq!(parts.len(), 3, "{what}");
            damage(&mut parts);
            side.extend(parts);
        });
        assert_eq!(latest(&journal), Some(4), "{what}");
        let stream = "dispatch/org1".parse().expect("a valid stream");
        journal.delete_snapshots(&stream, &SnapshotCriteria::ALL).expect("deletes");
        store.change_side(|side| assert_eq!(side.len(), 0, "{what}: nothing is left of it"));
    }
}

#[test]
fn snapshots_outlive_an_orderly_close() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = LocalJournal::open(dir.path()).expect("opens");
    assert!(matches!(journal.append(append_to("dispatch/org1", 0, vec![event(1, 10)])), Outcome::Committed(_)));
    let saved = snapshot(1, vec![5; 3_000_000]);
    journal.save_snapshot(&saved).expect("its events are durable");
    drop(journal);
    let journal = LocalJournal::open(dir.path()).expect("opens");
    let found = journal.latest_snapshot(&saved.stream, FOLD, &SnapshotCriteria::ALL).expect("readable");
    assert!(found == Some(saved), "it was synced when the journal was closed");
}
