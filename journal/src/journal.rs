//! The trait every engine implements: what a journal promises, whatever it is made of.

use std::ops::ControlFlow;

use tokio::sync::watch;

use crate::directory::Head;
use crate::error::Error;
use crate::index::StreamSummary;
use crate::position::{Position, Sequence};
use crate::record::{Append, Outcome, Record};
use crate::snapshot::{Fold, SnapshotCriteria, StateSnapshot};
use crate::stream_id::StreamId;
use crate::verify::{VerifyProgress, VerifyReport};

/// Called once with what became of an append. Runs on the journal's writer thread: it must be quick and never block.
pub type OnOutcome = Box<dyn FnOnce(Outcome) + Send>;

/// Called once when everything submitted before is durable, or with the reason why that cannot be said.
pub type OnDurable = Box<dyn FnOnce(Result<Head, Error>) + Send>;

/// What a reader calls for each event; it stops when told to break.
pub type OnRecord<'a> = dyn FnMut(&Record<'_>) -> ControlFlow<()> + 'a;

/// An append-only journal of events in streams, totally ordered, hash-chained, durable before it answers.
///
/// Readers see durable events only. Positions are ordered tokens: compare them, but do not count on their distance
/// (this crate's engines count from 1 without gaps; a distributed one may not).
pub trait Journal: Send + Sync + 'static {
    /// Takes an append into the queue and returns at once; `done` is called when its outcome is on disk.
    ///
    /// Outcomes come in the order in which appends were taken. An append is idempotent: the same event ids at the same place
    /// of the stream are one append, however often it is submitted. Its ids are not looked for anywhere else.
    ///
    /// # Errors
    /// When it was not taken: not well-formed, queue full, fenced, closed. Nothing will be written, and `done` is dropped.
    fn submit(&self, append: Append, done: OnOutcome) -> Result<(), Error>;

    /// Calls `done` when everything taken before is durable. Writes nothing.
    ///
    /// # Errors
    /// When the journal is fenced or closed. `done` is then dropped.
    fn when_durable(&self, done: OnDurable) -> Result<(), Error>;

    /// The end of what is durable.
    fn head(&self) -> Head;

    /// The last durable sequence of a stream and the epoch that wrote it; `None` for a stream without events.
    fn stream_head(&self, stream: &StreamId) -> Option<(Sequence, u32)>;

    /// Reads the durable events of one stream, sequences `from` to `to`, both included.
    ///
    /// # Errors
    /// When the store cannot be read, or an event on the way is damaged.
    fn read_stream(
        &self,
        stream: &StreamId,
        from: Sequence,
        to: Sequence,
        visit: &mut OnRecord<'_>,
    ) -> Result<(), Error>;

    /// Reads all durable events, positions `from` to `to`, both included.
    ///
    /// # Errors
    /// When the store cannot be read, or an event on the way is damaged.
    fn read_all(&self, from: Position, to: Position, visit: &mut OnRecord<'_>) -> Result<(), Error>;

    /// A view of the end of what is durable, which changes as the journal grows and ends when it is closed. What
    /// [`crate::Subscription`] waits for.
    ///
    /// # Errors
    /// When the journal is closed.
    fn watch_head(&self) -> Result<watch::Receiver<Head>, Error>;

    /// Stores a copy of a state, in place of one of the same stream, fold and sequence. Not synced: it may be lost, and is
    /// made anew then.
    ///
    /// # Errors
    /// When its sequence is not durable, it is too large, or the store cannot be written.
    fn save_snapshot(&self, snapshot: &StateSnapshot) -> Result<(), Error>;

    /// The latest snapshot of a stream that this fold made and that meets the criteria. One that cannot be used is passed
    /// over with a warning.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn latest_snapshot(
        &self,
        stream: &StreamId,
        fold: Fold,
        criteria: &SnapshotCriteria,
    ) -> Result<Option<StateSnapshot>, Error>;

    /// Deletes the snapshots of a stream that meet the criteria, whatever fold made them, and says how many.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn delete_snapshots(&self, stream: &StreamId, criteria: &SnapshotCriteria) -> Result<u64, Error>;

    /// Every stream with its length, by address.
    fn streams(&self) -> Vec<StreamSummary>;

    /// Figures about the whole.
    fn stat(&self) -> Stat;

    /// Checks every durable event against the chain, the head that was acknowledged and, if given, a hash kept elsewhere.
    ///
    /// # Errors
    /// When the store cannot be read at all. Damage is not an error but the answer.
    fn verify(&self, expected: Option<crate::Hash>, progress: &mut VerifyProgress<'_>) -> Result<VerifyReport, Error>;

    /// Finishes what was taken, syncs, lets the store go, and refuses everything from then on. The same place can be
    /// opened again at once. Does nothing the second time.
    fn close(&self);

    /// As [`Journal::submit`], but waits for the outcome.
    fn append(&self, append: Append) -> Outcome {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        let done: OnOutcome = Box::new(move |outcome| {
            // The receiver is waiting below; it cannot be gone.
            let _ = sender.send(outcome);
        });
        match self.submit(append, done) {
            Ok(()) => receiver.recv().unwrap_or(Outcome::Unknown { cause: "the journal's writer stopped".into() }),
            Err(error) => Outcome::Rejected(error),
        }
    }
}

/// Figures about a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The engine's name.
    pub engine: &'static str,
    /// Durable events.
    pub events: u64,
    /// Blocks they lie in.
    pub blocks: u64,
    /// Streams.
    pub streams: u64,
    /// The end.
    pub head: Head,
    /// Bytes taken up on disk, with all that surrounds the events.
    pub bytes_on_disk: u64,
    /// Stored snapshots of state.
    pub snapshots: u64,
}
