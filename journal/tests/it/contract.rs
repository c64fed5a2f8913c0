//! The suite that every engine passes, run on ours, and what only a journal in files promises.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use ionveil_journal::testing::FaultyStore;
use ionveil_journal::testing::conformance::{self, Engine};
use ionveil_journal::{Error, Journal, Kind, LocalJournal, Options, Outcome, Sequence};

use crate::support::{all, append_to, event};

struct Sled(tempfile::TempDir);

impl Engine for Sled {
    fn open(&self) -> Arc<dyn Journal> {
        Arc::new(LocalJournal::open(self.0.path()).expect("opens"))
    }

    fn lasts(&self) -> bool {
        true
    }
}

struct Memory;

impl Engine for Memory {
    fn open(&self) -> Arc<dyn Journal> {
        Arc::new(LocalJournal::in_memory())
    }

    fn lasts(&self) -> bool {
        false
    }
}

/// The store of the fault tests, as long as it is told no fault.
pub(crate) struct Shared(pub(crate) FaultyStore);

impl Engine for Shared {
    fn open(&self) -> Arc<dyn Journal> {
        Arc::new(LocalJournal::on(self.0.clone()).expect("opens"))
    }

    fn lasts(&self) -> bool {
        true
    }
}

#[test]
fn sled_keeps_every_promise() {
    conformance::run(|| Sled(tempfile::tempdir().expect("a directory")));
}

#[test]
fn memory_keeps_every_promise() {
    conformance::run(|| Memory);
}

#[test]
fn the_faulty_store_keeps_every_promise_as_long_as_it_does_not_fail() {
    conformance::run(|| Shared(FaultyStore::default()));
}

#[test]
fn one_journal_is_held_by_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = LocalJournal::open(dir.path()).expect("opens");
    assert!(matches!(LocalJournal::open(dir.path()), Err(Error::Held { .. })));
    journal.close();
    for _ in 0..20 {
        LocalJournal::open(Path::new(dir.path())).expect("a journal that was let go can be opened at once");
    }
}

#[test]
fn sled_never_writes_a_blob_file() {
    // It never syncs them (I-3). Leaves full of the largest blocks are the worst case.
    const LARGEST_IN_ONE_BLOCK: usize = 16_180;
    let dir = tempfile::tempdir().expect("a directory");
    let journal = LocalJournal::open(dir.path()).expect("opens");
    let append = |stream, expected, number, len| {
        let outcome = journal.append(append_to(stream, expected, vec![event(number, len)]));
        assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
    };
    for number in 0..150 {
        append("dispatch/a", number, number, LARGEST_IN_ONE_BLOCK);
    }
    append("dispatch/b", 0, 1_000, 12 << 20);
    let blocks_of_singles = journal.stat().blocks - (12 << 20) / 16_280 - 1;
    assert_eq!(blocks_of_singles, 150, "each event is one block, as large as there are");
    drop(journal);
    drop(LocalJournal::open(dir.path()).expect("opens"));
    let blobs = std::fs::read_dir(dir.path().join("sled/blobs")).expect("sled makes the directory").count();
    assert_eq!(blobs, 0);
}

#[test]
fn a_cache_of_any_size_gives_the_same_events_and_none_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let events = {
        let journal = LocalJournal::open(dir.path()).expect("opens");
        for number in 0..40 {
            let events = (0..10).map(|of| event(number * 10 + of, 15_000)).collect();
            let outcome = journal.append(append_to("dispatch/a", number * 10, events));
            assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
        }
        all(&journal, 1, u64::MAX)
    };
    for cache_bytes in [Options::CACHE_BYTES_MIN, 2 << 20, 1 << 30] {
        let journal = LocalJournal::open_with(dir.path(), Options { cache_bytes }).expect("opens");
        assert_eq!(all(&journal, 1, u64::MAX), events, "{cache_bytes}");
        let mut sequence = Sequence::NONE;
        let stream = "dispatch/a".parse().expect("a stream");
        let read = journal.read_stream(&stream, Sequence::FIRST, Sequence::MAX, &mut |record| {
            sequence = record.sequence;
            ControlFlow::Continue(())
        });
        assert_eq!((read.is_ok(), sequence.get()), (true, 400), "{cache_bytes}");
    }
    let options = Options { cache_bytes: Options::CACHE_BYTES_MIN - 1 };
    assert_eq!(LocalJournal::open_with(dir.path(), options).err().expect("refused").kind(), Kind::Invalid);
}
