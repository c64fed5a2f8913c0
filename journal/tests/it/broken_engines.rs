//! The suite notices engines that break a promise: each one here breaks one on purpose.

use std::sync::Arc;

use ionveil_journal::testing::FaultyStore;
use ionveil_journal::testing::conformance::{self, Engine};
use ionveil_journal::{
    Append, Error, Fold, Hash, Head, Journal, LocalJournal, OnDurable, OnOutcome, OnRecord, Origin, Outcome, Position,
    Sequence, SnapshotCriteria, Stat, StateSnapshot, StreamId, StreamSummary, VerifyProgress, VerifyReport,
};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// Writes the events of an append one by one.
    NotAtomic,
    /// The last block is not there when it is opened again.
    LosesTheEndOnReopening,
    /// An upper bound is not read itself.
    ExclusiveUpperBound,
    /// A lower bound is not read itself.
    ExclusiveLowerBound,
    /// A retry is taken for a conflict.
    ForgetsRetries,
    /// Takes a stale append as if it came at the right place.
    WritesAtTheEndWhateverIsExpected,
    /// Every epoch is the first.
    IgnoresEpochs,
    /// Looks at the length of a stream only.
    IgnoresExpectedIds,
    /// Does not store who and why.
    ForgetsOrigins,
    /// Reads on when told to stop.
    NeverStops,
    /// Finds the latest snapshot whatever was asked.
    IgnoresCriteria,
    /// Deletes all snapshots whatever was asked.
    DeletesAllSnapshots,
    /// Vouches for any hash.
    BelievesAnyHash,
    /// Goes on after it was closed.
    NeverCloses,
    /// Says that all is durable before it is.
    DurableTooEarly,
}

use Flaw::*;

/// Each flaw with promises that it must be found to break.
const FLAWS: [(Flaw, &[&str]); 15] = [
    (NotAtomic, &["one_bad_event_refuses_the_whole_append"]),
    (LosesTheEndOnReopening, &["reopening_changes_nothing", "a_retry_after_reopening_is_answered_too"]),
    (ExclusiveUpperBound, &["the_bounds_of_a_stream_are_inclusive", "the_bounds_of_all_events_are_inclusive"]),
    (ExclusiveLowerBound, &["the_bounds_of_a_stream_are_inclusive", "the_bounds_of_all_events_are_inclusive"]),
    (ForgetsRetries, &["a_retry_is_answered_and_not_written_again"]),
    (WritesAtTheEndWhateverIsExpected, &["a_stale_writer_meets_a_conflict", "of_two_writers_at_one_version_one_wins"]),
    (IgnoresEpochs, &["a_later_epoch_fences_earlier_ones", "every_field_of_an_event_comes_back"]),
    (IgnoresExpectedIds, &["a_stream_of_other_events_is_a_conflict"]),
    (ForgetsOrigins, &["every_field_of_an_event_comes_back"]),
    (NeverStops, &["a_reader_stops_when_it_says_so"]),
    (IgnoresCriteria, &["a_snapshot_is_bounded_by_sequence", "a_snapshot_is_bounded_by_time"]),
    (DeletesAllSnapshots, &["snapshots_are_deleted_one_by_one", "snapshots_are_deleted_by_criteria"]),
    (BelievesAnyHash, &["a_hash_of_another_history_is_missed"]),
    (NeverCloses, &["a_closed_journal_refuses_everything"]),
    (DurableTooEarly, &["when_durable_comes_after_what_was_taken_before"]),
];

struct Flawed {
    store: FaultyStore,
    flaw: Flaw,
}

impl Engine for Flawed {
    fn open(&self) -> Arc<dyn Journal> {
        if self.flaw == LosesTheEndOnReopening {
            self.store.change(|blocks| drop(blocks.pop_last()));
        }
        let inner = LocalJournal::on(self.store.clone()).expect("opens");
        Arc::new(FlawedJournal { inner, flaw: self.flaw })
    }

    fn lasts(&self) -> bool {
        true
    }
}

#[test]
fn every_flaw_is_noticed() {
    for (flaw, promises) in FLAWS {
        for name in promises {
            let promise = conformance::PROMISES.iter().find(|promise| promise.name == *name).expect("it is one");
            let broken = promise.broken_by(&Flawed { store: FaultyStore::default(), flaw });
            assert!(broken.is_some(), "an engine with the flaw {flaw:?} passes {name}");
        }
    }
}

struct FlawedJournal {
    inner: LocalJournal,
    flaw: Flaw,
}

impl FlawedJournal {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }
}

impl Journal for FlawedJournal {
    fn submit(&self, mut append: Append, done: OnOutcome) -> Result<(), Error> {
        if self.has(IgnoresEpochs) {
            append.epoch = 1;
        }
        if self.has(IgnoresExpectedIds) {
            append.expected_id = None;
        }
        if self.has(ForgetsOrigins) {
            append.origin = Origin::default();
        }
        if self.has(WritesAtTheEndWhateverIsExpected) {
            append.expected = self.stream_head(&append.stream).map_or(Sequence::NONE, |(head, _)| head);
        }
        if self.has(NotAtomic) {
            while append.events.len() > 1 {
                let event = append.events.remove(0);
                self.inner.submit(Append { events: vec![event], ..append.clone() }, Box::new(|_| ()))?;
                append.expected = append.expected.plus(1);
            }
        }
        if self.has(ForgetsRetries) {
            let forgetful: OnOutcome = Box::new(|outcome| {
                done(match outcome {
                    Outcome::AlreadyCommitted(written) => Outcome::Conflict { head: written.sequence },
                    other => other,
                });
            });
            return self.inner.submit(append, forgetful);
        }
        self.inner.submit(append, done)
    }

    fn when_durable(&self, done: OnDurable) -> Result<(), Error> {
        if self.has(DurableTooEarly) {
            done(Ok(Head::default()));
            return Ok(());
        }
        self.inner.when_durable(done)
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
        let from = if self.has(ExclusiveLowerBound) && from > Sequence::FIRST { from.plus(1) } else { from };
        let to = if self.has(ExclusiveUpperBound) && to < Sequence::MAX {
            Sequence::new(to.get().saturating_sub(1))
        } else {
            to
        };
        self.inner.read_stream(stream, from, to, visit)
    }

    fn read_all(&self, from: Position, to: Position, visit: &mut OnRecord<'_>) -> Result<(), Error> {
        let from = if self.has(ExclusiveLowerBound) && from > Position::FIRST { from.plus(1) } else { from };
        let to = if self.has(ExclusiveUpperBound) && to < Position::MAX {
            Position::new(to.get().saturating_sub(1))
        } else {
            to
        };
        if self.has(NeverStops) {
            return self.inner.read_all(from, to, &mut |record| {
                let _ = visit(record);
                std::ops::ControlFlow::Continue(())
            });
        }
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
        let criteria = if self.has(IgnoresCriteria) { &SnapshotCriteria::ALL } else { criteria };
        self.inner.latest_snapshot(stream, fold, criteria)
    }

    fn delete_snapshots(&self, stream: &StreamId, criteria: &SnapshotCriteria) -> Result<u64, Error> {
        let criteria = if self.has(DeletesAllSnapshots) { &SnapshotCriteria::ALL } else { criteria };
        self.inner.delete_snapshots(stream, criteria)
    }

    fn streams(&self) -> Vec<StreamSummary> {
        self.inner.streams()
    }

    fn stat(&self) -> Stat {
        self.inner.stat()
    }

    fn verify(&self, expected: Option<Hash>, progress: &mut VerifyProgress<'_>) -> Result<VerifyReport, Error> {
        let expected = expected.filter(|_| !self.has(BelievesAnyHash));
        self.inner.verify(expected, progress)
    }

    fn close(&self) {
        if !self.has(NeverCloses) {
            self.inner.close();
        }
    }
}
