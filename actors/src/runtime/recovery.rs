//! Rebuilding entities from their streams: one at its start or after a failure, one as of the past, or many in one pass.

use std::collections::HashMap;
use std::ops::ControlFlow;

use ionveil_journal::{Journal, Position, Record, Sequence, StreamId};

use super::aggregate::Aggregate;
use super::incarnation::Incarnation;
use super::state_snapshot;
use crate::domain::Timestamp;
use crate::error::Error;

/// The end of what is to be known: the journal up to a position, or up to an instant at which it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Events up to this position, included.
    Position(Position),
    /// Events recorded up to this instant, included. `recorded_at` is the machine's clock: where that was set back, the
    /// first event that is later ends it.
    Recorded(Timestamp),
}

impl From<Position> for Until {
    fn from(position: Position) -> Self {
        Until::Position(position)
    }
}

impl From<Timestamp> for Until {
    fn from(instant: Timestamp) -> Self {
        Until::Recorded(instant)
    }
}

impl Until {
    fn covers(self, record: &Record<'_>) -> bool {
        match self {
            Until::Position(position) => record.position <= position,
            Until::Recorded(instant) => record.recorded_at_micros <= instant.as_micros(),
        }
    }
}

/// The entity as it was, from its events alone.
pub(super) fn as_of<A: Aggregate>(
    journal: &dyn Journal,
    stream: &StreamId,
    until: Until,
) -> Result<Incarnation<A>, Error> {
    let mut incarnation = Incarnation::default();
    replay(journal, stream, Sequence::FIRST, until, &mut incarnation)?;
    Ok(incarnation)
}

/// The entity as it is: from its latest snapshot and what has happened since, or from all its events.
pub(super) fn recover<A: Aggregate>(journal: &dyn Journal, stream: &StreamId) -> Result<Incarnation<A>, Error> {
    if let Some(mut incarnation) = from_snapshot::<A>(journal, stream).map(|(incarnation, _)| incarnation) {
        // The last event of the snapshot is read again: is it that of this journal?
        match replay(journal, stream, incarnation.sequence, Until::Position(Position::MAX), &mut incarnation) {
            Ok(()) => return Ok(incarnation),
            Err(error @ Error::Corrupt { .. }) => {
                tracing::warn!(%stream, %error, "a snapshot does not fit its stream; all events are replayed");
            }
            Err(error) => return Err(error),
        }
    }
    as_of(journal, stream, Until::Position(Position::MAX))
}

fn from_snapshot<A: Aggregate>(journal: &dyn Journal, stream: &StreamId) -> Option<(Incarnation<A>, Position)> {
    let (stored, snapshots) = state_snapshot::latest::<A>(journal, stream)?;
    let position = stored.position;
    match stored.decode(snapshots) {
        Ok(incarnation) => Some((incarnation, position)),
        Err(problem) => {
            tracing::warn!(%stream, problem, "a snapshot cannot be used; all events are replayed");
            None
        }
    }
}

fn replay<A: Aggregate>(
    journal: &dyn Journal,
    stream: &StreamId,
    from: Sequence,
    until: Until,
    incarnation: &mut Incarnation<A>,
) -> Result<(), Error> {
    let mut corrupt = None;
    journal.read_stream(stream, from, Sequence::MAX, &mut |record| {
        if !until.covers(record) {
            return ControlFlow::Break(());
        }
        match take_in(incarnation, record) {
            Ok(()) => ControlFlow::Continue(()),
            Err(cause) => {
                corrupt = Some(corrupt_at(stream, record.sequence, cause));
                ControlFlow::Break(())
            }
        }
    })?;
    corrupt.map_or(Ok(()), Err)
}

/// The next event, or the last one of a snapshot once more.
fn take_in<A: Aggregate>(incarnation: &mut Incarnation<A>, record: &Record<'_>) -> Result<(), String> {
    if record.sequence < incarnation.sequence {
        return Ok(());
    }
    if record.sequence == incarnation.sequence {
        let is_same = incarnation.last_id == Some(record.id);
        return if is_same { Ok(()) } else { Err("the snapshot is of another history".into()) };
    }
    incarnation.replay(record)
}

fn corrupt_at(stream: &StreamId, sequence: Sequence, cause: String) -> Error {
    Error::Corrupt { stream: stream.to_string(), sequence: sequence.get(), cause }
}

/// Many entities as they are. Those that lie scattered over the journal are read in one pass over it, since reading each by
/// itself would go through the same blocks again and again; all of them are then in memory at once.
pub(super) fn recover_many<A: Aggregate>(
    journal: &dyn Journal,
    streams: Vec<StreamId>,
) -> Vec<(StreamId, Result<Incarnation<A>, Error>)> {
    let mut behind = 0;
    let mut earliest = journal.head().position;
    let mut begun: Vec<(StreamId, Incarnation<A>)> = Vec::with_capacity(streams.len());
    for stream in streams {
        let head = journal.stream_head(&stream).map_or(Sequence::NONE, |(head, _)| head);
        let (incarnation, position) = from_snapshot(journal, &stream).unwrap_or_default();
        if incarnation.sequence < head {
            behind += head.get() - incarnation.sequence.get();
            earliest = earliest.min(position);
        }
        begun.push((stream, incarnation));
    }
    let span = journal.head().position.get() - earliest.get();
    // A block holds events of many streams, so one by one costs several times what one pass costs per event.
    if behind * 4 < span || behind == 0 {
        return begun.into_iter().map(|(stream, begun)| finish_alone(journal, stream, begun)).collect();
    }
    let mut places: HashMap<StreamId, (Incarnation<A>, Option<Error>)> =
        begun.into_iter().map(|(stream, begun)| (stream, (begun, None))).collect();
    let read = journal.read_all(earliest, Position::MAX, &mut |record| {
        if let Some((incarnation, corrupt)) = places.get_mut(record.stream)
            && corrupt.is_none()
            && let Err(cause) = take_in(incarnation, record)
        {
            let stream = record.stream.to_owned();
            *corrupt = Some(Error::Corrupt { stream, sequence: record.sequence.get(), cause });
        }
        ControlFlow::Continue(())
    });
    let read = read.map_err(Error::from);
    let finished = places.into_iter().map(|(stream, (incarnation, corrupt))| {
        // What went wrong in the pass may be the snapshot's fault, or that of a damaged block far away.
        let recovered = match (&read, corrupt) {
            (Ok(()), None) => Ok(incarnation),
            _ => recover(journal, &stream),
        };
        (stream, recovered)
    });
    finished.collect()
}

fn finish_alone<A: Aggregate>(
    journal: &dyn Journal,
    stream: StreamId,
    mut begun: Incarnation<A>,
) -> (StreamId, Result<Incarnation<A>, Error>) {
    // Also when the snapshot is of the last event: that is read again, as in `recover`.
    let from = begun.sequence.max(Sequence::FIRST);
    let finished = replay(journal, &stream, from, Until::Position(Position::MAX), &mut begun);
    let recovered = finished.map(|()| begun).or_else(|_| recover(journal, &stream));
    (stream, recovered)
}
