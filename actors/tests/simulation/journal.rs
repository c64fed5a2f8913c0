//! A journal that takes its time: what it is given waits until the run lets it go on, in order, on the run's own thread.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, mpsc};

use ionveil_journal::{
    Append, Error, Fold, Hash, Head, Journal, LocalJournal, OnDurable, OnOutcome, OnRecord, Outcome, Position,
    Sequence, SnapshotCriteria, Stat, StateSnapshot, StreamId, StreamSummary, VerifyProgress, VerifyReport,
};
use tokio::sync::watch;

pub(crate) struct SlowJournal {
    inner: LocalJournal,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Request>,
    is_gone: bool,
    /// Takes no more than so many.
    waiting_max: usize,
}

enum Request {
    Append(Append, OnOutcome),
    Durable(OnDurable),
}

impl SlowJournal {
    pub(crate) fn new(inner: LocalJournal) -> Arc<Self> {
        Arc::new(SlowJournal { inner, state: Mutex::new(State { waiting_max: usize::MAX, ..State::default() }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while it is held")
    }

    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    pub(crate) fn set_waiting_max(&self, max: usize) {
        self.state().waiting_max = max;
    }

    /// Lets so many requests go on, each to its end.
    pub(crate) fn go_on(&self, count: usize) {
        for _ in 0..count {
            let Some(request) = self.state().waiting.pop_front() else { return };
            match request {
                Request::Append(append, done) => {
                    let (sender, outcome) = mpsc::sync_channel(1);
                    let submitted = self.inner.submit(
                        append,
                        Box::new(move |outcome| {
                            let _ = sender.send(outcome);
                        }),
                    );
                    done(match submitted {
                        Ok(()) => outcome.recv().expect("the writer answers"),
                        Err(Error::Poisoned { cause }) => Outcome::Unknown { cause },
                        Err(error) => Outcome::Rejected(error),
                    });
                }
                Request::Durable(done) => {
                    let (sender, durable) = mpsc::sync_channel(1);
                    let submitted = self.inner.when_durable(Box::new(move |durable| {
                        let _ = sender.send(durable);
                    }));
                    done(submitted.and_then(|()| durable.recv().expect("the writer answers")));
                }
            }
        }
    }

    /// The process is gone: nothing that waits is answered, nothing more is taken.
    pub(crate) fn vanish(&self) {
        let waiting = {
            let mut state = self.state();
            state.is_gone = true;
            std::mem::take(&mut state.waiting)
        };
        drop(waiting);
        self.inner.close();
    }

    fn take(&self, request: Request) -> Result<(), Error> {
        let mut state = self.state();
        if state.is_gone {
            return Err(Error::Closed);
        }
        if state.waiting.len() >= state.waiting_max && matches!(request, Request::Append(..)) {
            return Err(Error::Overloaded { waiting_bytes: 1 });
        }
        state.waiting.push_back(request);
        Ok(())
    }
}

impl Journal for SlowJournal {
    fn submit(&self, append: Append, done: OnOutcome) -> Result<(), Error> {
        self.take(Request::Append(append, done))
    }

    fn when_durable(&self, done: OnDurable) -> Result<(), Error> {
        self.take(Request::Durable(done))
    }

    fn head(&self) -> Head {
        self.inner.head()
    }

    fn stream_head(&self, stream: &StreamId) -> Option<(Sequence, u32)> {
        self.inner.stream_head(stream)
    }

    fn read_stream(
        &self,
        stream: &StreamId,
        from: Sequence,
        to: Sequence,
        visit: &mut OnRecord<'_>,
    ) -> Result<(), Error> {
        self.inner.read_stream(stream, from, to, visit)
    }

    fn read_all(&self, from: Position, to: Position, visit: &mut OnRecord<'_>) -> Result<(), Error> {
        self.inner.read_all(from, to, visit)
    }

    fn watch_head(&self) -> Result<watch::Receiver<Head>, Error> {
        self.inner.watch_head()
    }

    fn save_snapshot(&self, snapshot: &StateSnapshot) -> Result<(), Error> {
        self.inner.save_snapshot(snapshot)
    }

    fn latest_snapshot(
        &self,
        stream: &StreamId,
        fold: Fold,
        criteria: &SnapshotCriteria,
    ) -> Result<Option<StateSnapshot>, Error> {
        self.inner.latest_snapshot(stream, fold, criteria)
    }

    fn delete_snapshots(&self, stream: &StreamId, criteria: &SnapshotCriteria) -> Result<u64, Error> {
        self.inner.delete_snapshots(stream, criteria)
    }

    fn streams(&self) -> Vec<StreamSummary> {
        self.inner.streams()
    }

    fn stat(&self) -> Stat {
        self.inner.stat()
    }

    fn verify(&self, expected: Option<Hash>, progress: &mut VerifyProgress<'_>) -> Result<VerifyReport, Error> {
        self.inner.verify(expected, progress)
    }

    fn close(&self) {
        self.vanish();
    }
}
