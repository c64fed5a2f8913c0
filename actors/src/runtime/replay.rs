//! Rebuilding an entity from its stream: at start, after a failure, or as of a past position.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ionveil_journal::{Journal, Position, Record, Sequence, StreamId};

use uuid::Uuid;

use super::aggregate::{Aggregate, Event};
use crate::error::Error;

/// An entity as its events say, and where its stream ends.
pub(super) struct Replayed<A> {
    pub(super) state: A,
    pub(super) sequence: Sequence,
    /// The id of the last event. Sent along with what is decided next, so that it is written behind that event or not at all.
    pub(super) last_id: Option<Uuid>,
    /// The last incarnation that wrote; 0 for none.
    pub(super) epoch: u32,
}

/// Applies the stream's events up to `until`, included.
pub(super) fn replay<A: Aggregate>(
    journal: &dyn Journal,
    stream: &StreamId,
    until: Position,
) -> Result<Replayed<A>, Error> {
    let mut replayed = Replayed { state: A::default(), sequence: Sequence::NONE, last_id: None, epoch: 0 };
    let mut corrupt = None;
    journal.read_stream(stream, Sequence::FIRST, Sequence::MAX, &mut |record| {
        if record.position > until {
            return ControlFlow::Break(());
        }
        if let Err(cause) = apply(&mut replayed.state, record) {
            corrupt = Some(Error::Corrupt { stream: stream.to_string(), sequence: record.sequence.get(), cause });
            return ControlFlow::Break(());
        }
        replayed.sequence = record.sequence;
        replayed.last_id = Some(record.id);
        replayed.epoch = record.epoch;
        ControlFlow::Continue(())
    })?;
    match corrupt {
        Some(error) => Err(error),
        None => Ok(replayed),
    }
}

fn apply<A: Aggregate>(state: &mut A, record: &Record<'_>) -> Result<(), String> {
    let event = A::Event::decode(record.event_type, record.version, record.codec, record.payload)
        .map_err(|error| format!("event {} v{}: {error}", record.event_type, record.version))?;
    // One that panics is as little accepted as one that is refused; caught here, it can be named.
    match catch_unwind(AssertUnwindSafe(|| state.evolve(&event))) {
        Ok(evolved) => evolved.map_err(|corrupt| corrupt.to_string()),
        Err(_) => Err(format!("applying event {} v{} panicked", record.event_type, record.version)),
    }
}
