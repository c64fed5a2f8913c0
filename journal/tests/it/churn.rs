//! Readers, snapshots and large commits at once: sled moves blocks and uses their space again, commits come into its tree
//! while they are read, and what lay where is looked for meanwhile. No reader ever meets a gap.

use std::sync::atomic::{AtomicBool, Ordering};

use ionveil_journal::testing::Random;
use ionveil_journal::{Fold, Journal, LocalJournal, Outcome, Sequence, StateSnapshot};

use crate::support::{all, append_to, count_from_env, event, stream};

const FOLD: Fold = Fold { schema: 1, version: 1 };

/// Saved again and again under one sequence: each time all that was there is garbage.
fn snapshot(number: u64, len: usize) -> StateSnapshot {
    StateSnapshot {
        stream: "dispatch/a".parse().expect("a valid stream"),
        sequence: Sequence::new(1),
        fold: FOLD,
        taken_at_micros: number as i64,
        codec: 1,
        payload: vec![number as u8; len],
    }
}

fn is_whole(journal: &LocalJournal, from: u64, to: u64) {
    let seen = all(journal, from, to);
    assert!(seen.iter().map(|event| event.position).eq(from..=to), "{from} to {to}: {} events", seen.len());
    assert!(seen.iter().all(|seen| u128::from(seen.position - 1) == seen.id.as_u128()), "each is the very event");
}

#[test]
fn readers_meet_no_gap_while_sled_moves_blocks_and_commits_are_on_their_way() {
    let rounds = count_from_env("IONVEIL_TEST_CYCLES", 60);
    let dir = tempfile::tempdir().expect("a directory");
    let journal = LocalJournal::open(dir.path()).expect("opens");
    assert!(matches!(journal.append(append_to("dispatch/a", 0, vec![event(0, 10)])), Outcome::Committed(_)));
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let (journal, is_done) = (&journal, &is_done);
            scope.spawn(move || {
                let mut random = Random::new(reader);
                while !is_done.load(Ordering::Relaxed) {
                    let end = journal.head().position.get();
                    let from = end - random.below(end.min(200) as usize) as u64;
                    match reader {
                        0 => is_whole(journal, from, end),
                        1 => assert!(
                            stream(journal, "dispatch/a", from, end).iter().map(|seen| seen.sequence).eq(from..=end)
                        ),
                        _ => {
                            let report = journal.verify(None, &mut |_| {}).expect("readable");
                            assert!(report.is_ok(), "{report:?}");
                        }
                    }
                }
            });
        }
        let mut random = Random::new(7);
        let mut next = 1;
        for round in 0..rounds {
            let count = [1, 20, 60][random.below(3)];
            let events = (next..next + count).map(|number| event(number, 4_000)).collect();
            let outcome = journal.append(append_to("dispatch/a", next, events));
            assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
            next += count;
            journal.save_snapshot(&snapshot(round, 300_000)).expect("its event is durable");
        }
        is_done.store(true, Ordering::Relaxed);
    });
    let end = journal.head().position.get();
    is_whole(&journal, 1, end);
    drop(journal);
    let journal = LocalJournal::open(dir.path()).expect("opens");
    assert_eq!(journal.head().position.get(), end);
    is_whole(&journal, 1, end);
    assert!(journal.verify(None, &mut |_| {}).expect("readable").is_ok());
}
