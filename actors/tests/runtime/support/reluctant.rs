//! A journal that does not take what it is given, or cannot be read, when it is told so.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use tokio::sync::watch;

use ionveil_journal::{
    Append, Error, Fold, Hash, Head, Journal, LocalJournal, OnDurable, OnOutcome, OnRecord, Position, Sequence,
    SnapshotCriteria, Stat, StateSnapshot, StreamId, StreamSummary, VerifyProgress, VerifyReport,
};

/// How reading goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    Works,
    Fails,
    Panics,
}

pub(crate) struct Reluctant {
    journal: Arc<LocalJournal>,
    pub(crate) is_full: AtomicBool,
    /// How many appends were not taken.
    pub(crate) turned_away: AtomicUsize,
    pub(crate) reading: Mutex<Reading>,
    /// Neither stored nor found.
    pub(crate) refuses_snapshots: AtomicBool,
    /// Done at the end of the next append, by whoever asked for it, when it is through and its reply has left.
    pub(crate) behind_next: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// Done at the end of the next reading of a stream.
    pub(crate) behind_next_read: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    /// How often a stream was read.
    pub(crate) reads: AtomicUsize,
}

impl Reluctant {
    pub(crate) fn new(journal: Arc<LocalJournal>) -> Arc<Self> {
        let reading = Mutex::new(Reading::Works);
        let (is_full, refuses_snapshots) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Reluctant {
            journal,
            is_full,
            turned_away: AtomicUsize::new(0),
            reading,
            refuses_snapshots,
            behind_next: Mutex::default(),
            behind_next_read: Mutex::default(),
            reads: AtomicUsize::new(0),
        })
    }
}

fn told_to_fail() -> Error {
    Error::Io { doing: "reading".into(), source: Arc::new(io::Error::other("told to fail")) }
}

impl Journal for Reluctant {
    fn submit(&self, append: Append, done: OnOutcome) -> Result<(), Error> {
        if self.is_full.load(Ordering::SeqCst) {
            self.turned_away.fetch_add(1, Ordering::SeqCst);
            return Err(Error::Overloaded { waiting_bytes: 1 });
        }
        let Some(behind) = self.behind_next.lock().expect("no panic while it is held").take() else {
            return self.journal.submit(append, done);
        };
        let (through, is_through) = mpsc::channel();
        let taken = self.journal.submit(
            append,
            Box::new(move |outcome| {
                done(outcome);
                let _ = through.send(());
            }),
        );
        is_through.recv_timeout(super::PATIENCE).expect("the journal writes");
        behind();
        taken
    }

    fn when_durable(&self, done: OnDurable) -> Result<(), Error> {
        self.journal.when_durable(done)
    }

    fn watch_head(&self) -> Result<watch::Receiver<Head>, Error> {
        self.journal.watch_head()
    }

    fn save_snapshot(&self, snapshot: &StateSnapshot) -> Result<(), Error> {
        if self.refuses_snapshots.load(Ordering::SeqCst) {
            return Err(told_to_fail());
        }
        self.journal.save_snapshot(snapshot)
    }

    fn latest_snapshot(
        &self,
        stream: &StreamId,
        fold: Fold,
        criteria: &SnapshotCriteria,
    ) -> Result<Option<StateSnapshot>, Error> {
        if self.refuses_snapshots.load(Ordering::SeqCst) {
            return Err(told_to_fail());
        }
        self.journal.latest_snapshot(stream, fold, criteria)
    }

    fn delete_snapshots(&self, stream: &StreamId, criteria: &SnapshotCriteria) -> Result<u64, Error> {
        self.journal.delete_snapshots(stream, criteria)
    }

    fn head(&self) -> Head {
        self.journal.head()
    }

    fn stream_head(&self, stream: &StreamId) -> Option<(Sequence, u32)> {
        self.journal.stream_head(stream)
    }

    fn read_stream(
        &self,
        stream: &StreamId,
        from: Sequence,
        to: Sequence,
        visit: &mut OnRecord<'_>,
    ) -> Result<(), Error> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let reading = *self.reading.lock().expect("no panic while it is held");
        match reading {
            Reading::Works => {
                self.journal.read_stream(stream, from, to, visit)?;
                let behind = self.behind_next_read.lock().expect("no panic while it is held").take();
                behind.into_iter().for_each(|behind| behind());
                Ok(())
            }
            Reading::Fails => Err(told_to_fail()),
            Reading::Panics => panic!("a test's own panic in reading"),
        }
    }

    fn read_all(&self, from: Position, to: Position, visit: &mut OnRecord<'_>) -> Result<(), Error> {
        self.journal.read_all(from, to, visit)
    }

    fn streams(&self) -> Vec<StreamSummary> {
        self.journal.streams()
    }

    fn stat(&self) -> Stat {
        self.journal.stat()
    }

    fn verify(&self, expected: Option<Hash>, progress: &mut VerifyProgress<'_>) -> Result<VerifyReport, Error> {
        self.journal.verify(expected, progress)
    }

    fn close(&self) {
        self.journal.close();
    }
}
