//! The suite that every engine passes, run on ours, and what only a journal in files promises.

use std::path::Path;
use std::sync::Arc;

use ionveil_journal::testing::FaultyStore;
use ionveil_journal::testing::conformance::{self, Engine};
use ionveil_journal::{Error, Journal, LocalJournal, Outcome};

use crate::support::{all, append_to, event, stream};

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

/// Of a large commit sled gets the blocks only after it was answered: until then they are read from where they wait.
#[test]
fn what_was_acknowledged_is_read_at_once_however_large_it_was() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = LocalJournal::open(dir.path()).expect("opens");
    let mut next = 0;
    for large in [100, 1, 250, 200, 300, 1, 100] {
        let events = (next..next + large).map(|number| event(number, 1_000)).collect();
        let outcome = journal.append(append_to("dispatch/a", next, events));
        let Outcome::Committed(written) = outcome else { panic!("{outcome:?}") };
        let of_stream = stream(&journal, "dispatch/a", next + 1, u64::MAX);
        assert_eq!(of_stream.len() as u64, large);
        assert_eq!(all(&journal, next + 1, u64::MAX), of_stream);
        next += large;
        assert_eq!(all(&journal, 1, u64::MAX).len() as u64, written.position.get());
        assert!(journal.verify(None, &mut |_| {}).expect("readable").is_ok());
    }
}
