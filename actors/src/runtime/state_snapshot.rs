//! Stored copies of incarnations: the state's own bytes behind what the runtime has to know beside them.
//!
//! ```text
//! format (1) · position of the last event, 0 if unknown (8, little-endian) · length of the header (4) · header · state
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};

use ionveil_journal::codec::{self, BINCODE_2};
use ionveil_journal::{Journal, Position, Sequence, SnapshotCriteria, StateSnapshot, StreamId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::abilities::Snapshots;
use super::aggregate::Aggregate;
use super::incarnation::Incarnation;
use super::notes::{CommandAnswered, Note, SourcesFollowed};
use crate::domain::Timestamp;
use crate::error::Error;

const FORMAT: u8 = 2;
const PREFIX_LEN: usize = 13;

/// What a snapshot holds beside the state.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) last_id: Uuid,
    pub(super) epoch: u32,
    /// When the state wants to be woken, and whether it has effects pending: known without reading the state.
    pub(super) next_wake: Option<Timestamp>,
    pub(super) has_effects: bool,
    pub(super) answers: Vec<CommandAnswered>,
    pub(super) sources: Vec<(String, u64)>,
}

/// The bytes of a snapshot that is not stored yet, since its last event is not durable yet.
pub(super) struct Taken {
    pub(super) sequence: Sequence,
    /// The event that the snapshot before it ends with; none if there is none.
    pub(super) before: Sequence,
    payload: Vec<u8>,
}

impl Taken {
    pub(super) fn len(&self) -> usize {
        self.payload.len()
    }
}

/// The incarnation as bytes. `None` when the entity has no snapshots, or nothing has happened to it.
pub(super) fn take<A: Aggregate>(incarnation: &Incarnation<A>) -> Option<Taken> {
    let snapshots = A::ABILITIES.snapshots?;
    let state = &incarnation.state;
    let header = codec::encode(&Header {
        last_id: incarnation.last_id?,
        epoch: incarnation.epoch,
        next_wake: A::ABILITIES.timers.and_then(|timers| (timers.next_wake)(state)),
        has_effects: A::ABILITIES.effects.is_some_and(|effects| !(effects.pending)(state).is_empty()),
        answers: incarnation.answers.stored().cloned().collect(),
        sources: incarnation.offsets.to_list(),
    });
    let state = (snapshots.encode)(state);
    let mut payload = Vec::with_capacity(PREFIX_LEN + header.len() + state.len());
    payload.push(FORMAT);
    payload.extend_from_slice(&[0; 8]);
    payload.extend_from_slice(&(header.len() as u32).to_le_bytes());
    payload.extend_from_slice(&header);
    payload.extend_from_slice(&state);
    Some(Taken { sequence: incarnation.sequence, before: incarnation.stored_at, payload })
}

/// Stores it, now that its last event is durable, at `position` if that is known. Keeps the one before it, in case this one
/// gets damaged, and deletes what is older.
pub(super) fn save<A: Aggregate>(
    journal: &dyn Journal,
    stream: &StreamId,
    taken: Taken,
    position: Position,
    taken_at: Timestamp,
) -> Result<(), Error> {
    let Some(snapshots) = A::ABILITIES.snapshots else { return Ok(()) };
    let Taken { sequence, before, mut payload } = taken;
    payload[1..9].copy_from_slice(&position.get().to_le_bytes());
    let snapshot = StateSnapshot {
        stream: stream.clone(),
        sequence,
        fold: snapshots.fold,
        taken_at_micros: taken_at.as_micros(),
        codec: BINCODE_2,
        payload,
    };
    journal.save_snapshot(&snapshot)?;
    if let Some(older) = before.get().checked_sub(1) {
        journal.delete_snapshots(stream, &SnapshotCriteria::up_to(Sequence::new(older)))?;
    }
    Ok(())
}

/// A stored snapshot, not yet decoded.
pub(super) struct Stored {
    pub(super) sequence: Sequence,
    /// [`Position::NONE`] when it is not known.
    pub(super) position: Position,
    pub(super) header: Header,
    state_at: usize,
    payload: Vec<u8>,
}

/// The latest snapshot of a stream, if there is one that can be used. One that cannot be read is none, with a warning.
pub(super) fn latest<A: Aggregate>(journal: &dyn Journal, stream: &StreamId) -> Option<(Stored, Snapshots<A>)> {
    let snapshots = A::ABILITIES.snapshots?;
    journal.stream_head(stream)?;
    let found = match journal.latest_snapshot(stream, snapshots.fold, &SnapshotCriteria::ALL) {
        Ok(found) => found?,
        Err(error) => {
            tracing::warn!(%stream, %error, "snapshots cannot be read; all events are replayed");
            return None;
        }
    };
    let sequence = found.sequence;
    match parse(found) {
        Some(stored) => Some((stored, snapshots)),
        None => {
            tracing::warn!(%stream, %sequence, "a snapshot is of another release; all events are replayed");
            None
        }
    }
}

fn parse(found: StateSnapshot) -> Option<Stored> {
    let StateSnapshot { sequence, codec, payload, .. } = found;
    let (prefix, rest) = payload.split_first_chunk::<PREFIX_LEN>()?;
    let [FORMAT, position @ .., h0, h1, h2, h3] = *prefix else { return None };
    let header_len = u32::from_le_bytes([h0, h1, h2, h3]) as usize;
    let header = codec::decode(codec, rest.get(..header_len)?).ok()?;
    let position = Position::new(u64::from_le_bytes(position));
    Some(Stored { sequence, position, header, state_at: PREFIX_LEN + header_len, payload })
}

impl Stored {
    /// The incarnation as it was.
    ///
    /// # Errors
    /// Why the bytes cannot be used.
    pub(super) fn decode<A: Aggregate>(self, snapshots: Snapshots<A>) -> Result<Incarnation<A>, String> {
        let Stored { sequence, header, state_at, payload, .. } = self;
        let state = catch_unwind(AssertUnwindSafe(|| (snapshots.decode)(&payload[state_at..])))
            .map_err(|_| "decoding it panicked".to_owned())?
            .map_err(|error| error.to_string())?;
        let Header { last_id, epoch, answers, sources, .. } = header;
        let mut incarnation = Incarnation {
            state,
            sequence,
            stored_at: sequence,
            last_id: Some(last_id),
            epoch,
            ..Incarnation::default()
        };
        let notes = answers.into_iter().map(Note::Answered);
        for note in notes.chain([Note::Followed(SourcesFollowed { sources })]) {
            incarnation.note(note).map_err(|corrupt| corrupt.to_string())?;
        }
        Ok(incarnation)
    }
}
