//! One suite over every engine: what goes in comes out, in order, once, also after a restart.

use std::path::Path;

use ionveil_journal::{Error, Hash, Journal, LocalJournal, MemoryStore, Outcome, Sequence, Written};

use crate::support::{all, append_to, event, stream};

/// Opens the same journal again and again.
struct Engine {
    name: &'static str,
    dir: tempfile::TempDir,
}

impl Engine {
    fn open(&self) -> LocalJournal {
        match self.name {
            "sled" => LocalJournal::open(self.dir.path()).expect("opens"),
            _ => LocalJournal::on(MemoryStore::default()).expect("opens"),
        }
    }

    fn is_lasting(&self) -> bool {
        self.name == "sled"
    }
}

fn engines() -> [Engine; 2] {
    ["sled", "memory"].map(|name| Engine { name, dir: tempfile::tempdir().expect("a directory") })
}

#[track_caller]
fn committed(outcome: Outcome) -> Written {
    match outcome {
        Outcome::Committed(written) => written,
        other => panic!("not committed but {other:?}"),
    }
}

#[test]
fn what_goes_in_comes_out_also_after_a_restart() {
    for engine in engines() {
        let journal = engine.open();
        assert_eq!(journal.head().hash, Hash::GENESIS);
        let mut number = 0;
        for round in 0..20u64 {
            for org in 0..3 {
                let events = (0..=org)
                    .map(|_| {
                        number += 1;
                        event(number, 100 * number as usize)
                    })
                    .collect();
                committed(journal.append(append_to(&format!("dispatch/org{org}"), round * (org + 1), events)));
            }
        }
        // Larger than a block, and than two.
        committed(journal.append(append_to(
            "dispatch/large",
            0,
            vec![event(1000, 50_000), event(1001, 5), event(1002, 200_000)],
        )));
        let before = all(&journal, 1, u64::MAX);
        assert_eq!(before.len(), 123, "{}", engine.name);
        assert!(before.iter().zip(1..).all(|(seen, position)| seen.position == position));
        let head = journal.head();
        assert!(journal.verify(Some(head.hash), &mut |_| {}).expect("readable").is_ok());
        drop(journal);
        if engine.is_lasting() {
            let journal = engine.open();
            assert_eq!(all(&journal, 1, u64::MAX), before);
            assert_eq!(journal.head(), head);
            for bounds in [(1, 0), (1, 1), (5, 5), (3, 7), (121, 123), (122, 900), (124, 900)] {
                let expected: Vec<_> =
                    before.iter().filter(|seen| (bounds.0..=bounds.1).contains(&seen.position)).cloned().collect();
                assert_eq!(all(&journal, bounds.0, bounds.1), expected, "{bounds:?}");
                let expected: Vec<_> = before
                    .iter()
                    .filter(|seen| seen.stream == "dispatch/org2" && (bounds.0..=bounds.1).contains(&seen.sequence))
                    .cloned()
                    .collect();
                assert_eq!(stream(&journal, "dispatch/org2", bounds.0, bounds.1), expected, "{bounds:?}");
            }
            assert_eq!(stream(&journal, "dispatch/large", 1, 3), before[120..]);
            committed(journal.append(append_to("dispatch/large", 3, vec![event(1003, 1)])));
            assert!(journal.verify(Some(head.hash), &mut |_| {}).expect("readable").is_ok());
        }
    }
}

#[test]
fn a_stream_has_one_next_event_and_a_retry_is_not_a_second_one() {
    for engine in engines() {
        let journal = engine.open();
        let first = append_to("dispatch/a", 0, vec![event(1, 10), event(2, 10)]);
        let written = committed(journal.append(first.clone()));
        assert_eq!(written.sequence.get(), 2);
        assert_eq!(journal.append(first.clone()), Outcome::AlreadyCommitted(written));
        assert_eq!(
            journal.append(append_to("dispatch/a", 0, vec![event(3, 10)])),
            Outcome::Conflict { head: Sequence::new(2) }
        );
        assert_eq!(
            journal.append(append_to("dispatch/a", 7, vec![event(3, 10)])),
            Outcome::Conflict { head: Sequence::new(2) }
        );
        // As long as the writer thinks, but it knows another last event: somebody else's events are in between.
        let mut elsewhere = append_to("dispatch/a", 2, vec![event(3, 10)]);
        elsewhere.expected_id = Some(event(9, 10).id);
        assert_eq!(journal.append(elsewhere), Outcome::Conflict { head: Sequence::new(2) });
        let mut later = append_to("dispatch/a", 2, vec![event(4, 10)]);
        later.expected_id = Some(event(2, 10).id);
        later.epoch = 5;
        committed(journal.append(later));
        assert_eq!(journal.append(append_to("dispatch/a", 3, vec![event(5, 10)])), Outcome::Fenced { epoch: 5 });
        assert_eq!(all(&journal, 1, 99).len(), 3, "{}", engine.name);
    }
}

#[test]
fn what_is_not_well_formed_is_refused_whole() {
    let journal = LocalJournal::in_memory();
    let mut long_type = event(2, 1);
    long_type.event_type = "x".repeat(65).into();
    let mut long_principal = append_to("dispatch/a", 0, vec![event(2, 1)]);
    long_principal.origin.principal = Some("x".repeat(513).into());
    for (append, field) in [
        (append_to("dispatch/a", 0, vec![]), "events"),
        (append_to("dispatch/a", 0, vec![event(1, 1), event(1, 2)]), "event_id"),
        (append_to("dispatch/a", 0, vec![event(1, 1), long_type]), "event_type"),
        (append_to("dispatch/a", 0, vec![event(1, 16 << 20)]), "event size"),
        (append_to("dispatch/a", 0, (0..5).map(|n| event(n, 15 << 20)).collect()), "append size"),
        (long_principal, "principal"),
    ] {
        match journal.append(append) {
            Outcome::Rejected(Error::Invalid { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{field}: {other:?}"),
        }
    }
    assert_eq!(journal.stat().events, 0);
    committed(journal.append(append_to("dispatch/a", 0, vec![event(1, (16 << 20) - 200)])));
    assert_eq!(all(&journal, 1, 9)[0].payload, event(1, (16 << 20) - 200).payload);
}

#[test]
fn one_journal_is_held_by_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = LocalJournal::open(dir.path()).expect("opens");
    assert!(matches!(LocalJournal::open(dir.path()), Err(Error::Held { .. })));
    journal.close();
    assert_eq!(journal.append(append_to("dispatch/a", 0, vec![event(1, 1)])), Outcome::Rejected(Error::Closed));
    drop(journal);
    for _ in 0..20 {
        LocalJournal::open(Path::new(dir.path())).expect("a journal that was let go can be opened at once");
    }
}

#[test]
fn sled_never_writes_a_blob_file() {
    // It never syncs them (I-3). Leaves full of the largest blocks are the worst case.
    const LARGEST_IN_ONE_BLOCK: usize = 48_950;
    let dir = tempfile::tempdir().expect("a directory");
    let journal = LocalJournal::open(dir.path()).expect("opens");
    for number in 0..150 {
        committed(journal.append(append_to("dispatch/a", number, vec![event(number, LARGEST_IN_ONE_BLOCK)])));
    }
    committed(journal.append(append_to("dispatch/b", 0, vec![event(1_000, 12 << 20)])));
    let blocks_of_singles = journal.stat().blocks - (12 << 20) / 49_048 - 1;
    assert_eq!(blocks_of_singles, 150, "each event is one block, as large as there are");
    drop(journal);
    drop(LocalJournal::open(dir.path()).expect("opens"));
    let blobs = std::fs::read_dir(dir.path().join("sled/blobs")).expect("sled makes the directory").count();
    assert_eq!(blobs, 0);
}
