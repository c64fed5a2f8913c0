//! Stored copies of states: a cache beside the events. Deleting all of them changes how long a start takes, nothing else.
//!
//! A snapshot says which schema its bytes have and which fold made them of the events: a state whose arithmetic was changed
//! looks like the old one and is not. One that is ahead of the journal, damaged, or of another schema or fold is passed
//! over with a warning.

use crate::error::Error;
use crate::format::BLOCK_LEN_MAX;
use crate::position::Sequence;
use crate::store::{SideChange, Store};
use crate::stream_id::StreamId;

/// Largest snapshot, in bytes.
pub const SNAPSHOT_BYTES_MAX: usize = 256 << 20;

/// What made a state of events: both numbers change with the code, by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fold {
    /// The shape of the bytes.
    pub schema: u16,
    /// The arithmetic that made them.
    pub version: u16,
}

/// A copy of a state as it was after one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSnapshot {
    /// Whose state it is.
    pub stream: StreamId,
    /// The last event that is in it.
    pub sequence: Sequence,
    /// What made it.
    pub fold: Fold,
    /// When it was made: microseconds since 1970.
    pub taken_at_micros: i64,
    /// How the payload is encoded; see [`crate::codec`].
    pub codec: u8,
    /// The state, at most [`SNAPSHOT_BYTES_MAX`] bytes.
    pub payload: Vec<u8>,
}

/// Which snapshots are meant: all within both bounds, which are included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotCriteria {
    /// The least and the greatest sequence.
    pub sequence: (Sequence, Sequence),
    /// The earliest and the latest instant at which it was made, in microseconds since 1970.
    pub taken_at_micros: (i64, i64),
}

impl SnapshotCriteria {
    /// Every snapshot.
    pub const ALL: SnapshotCriteria =
        SnapshotCriteria { sequence: (Sequence::NONE, Sequence::MAX), taken_at_micros: (i64::MIN, i64::MAX) };

    /// Those that hold no event after `sequence`.
    pub fn up_to(sequence: Sequence) -> Self {
        SnapshotCriteria { sequence: (Sequence::NONE, sequence), ..SnapshotCriteria::ALL }
    }

    fn covers(&self, sequence: Sequence, taken_at_micros: i64) -> bool {
        (self.sequence.0..=self.sequence.1).contains(&sequence)
            && (self.taken_at_micros.0..=self.taken_at_micros.1).contains(&taken_at_micros)
    }
}

/// Before the bytes of each part: magic, codec, zeros, parts, taken at, checksum of everything else in it.
const PART_HEADER_LEN: usize = 24;
const PART_MAGIC: [u8; 4] = *b"IVJS";
const PART_BODY_LEN: usize = BLOCK_LEN_MAX - PART_HEADER_LEN;
/// About as many bytes are handed to the store at a time.
const WRITTEN_AT_ONCE: usize = 1 << 20;

/// Stores a snapshot in place of one of the same stream, fold and sequence. `head` is the stream's durable end.
pub(crate) fn save(store: &dyn Store, snapshot: &StateSnapshot, head: Sequence) -> Result<(), Error> {
    let invalid = |field, value: u64, allowed| Err(Error::Invalid { field, value: value.to_string(), allowed });
    if snapshot.sequence > head || snapshot.sequence == Sequence::NONE {
        return invalid("sequence", snapshot.sequence.get(), format!("1 to {head}, the last durable one"));
    }
    if snapshot.payload.len() > SNAPSHOT_BYTES_MAX {
        return invalid("payload", snapshot.payload.len() as u64, format!("at most {SNAPSHOT_BYTES_MAX} bytes"));
    }
    let mut changes = Vec::new();
    let prefix = key_prefix(&snapshot.stream, snapshot.fold, snapshot.sequence);
    store.scan_side(&prefix, &mut |key, _| changes.push(SideChange::Remove(key.to_vec())))?;
    let bodies: Vec<&[u8]> = match snapshot.payload.len() {
        0 => vec![&[]],
        _ => snapshot.payload.chunks(PART_BODY_LEN).collect(),
    };
    let parts = bodies.len() as u32;
    let mut len = 0;
    for (number, body) in (0u32..).zip(bodies) {
        let mut value = Vec::with_capacity(PART_HEADER_LEN + body.len());
        value.extend_from_slice(&PART_MAGIC);
        value.extend_from_slice(&[snapshot.codec, 0, 0, 0]);
        value.extend_from_slice(&parts.to_le_bytes());
        value.extend_from_slice(&snapshot.taken_at_micros.to_le_bytes());
        let checksum = checksum(&value, body);
        value.extend_from_slice(&checksum.to_le_bytes());
        value.extend_from_slice(body);
        let mut key = prefix.clone();
        key.extend_from_slice(&number.to_be_bytes());
        len += value.len();
        changes.push(SideChange::Put(key, value));
        // A copy of a large state is not held once more as a whole. One of which parts are missing is none.
        if len > WRITTEN_AT_ONCE {
            store.change_side(std::mem::take(&mut changes))?;
            len = 0;
        }
    }
    store.change_side(changes)
}

/// The latest usable snapshot that meets the criteria. `head` is the stream's durable end.
pub(crate) fn latest(
    store: &dyn Store,
    stream: &StreamId,
    fold: Fold,
    criteria: &SnapshotCriteria,
    head: Sequence,
) -> Result<Option<StateSnapshot>, Error> {
    for found in list(store, stream)?.into_iter().rev() {
        if found.fold != fold || !criteria.covers(found.sequence, found.taken_at_micros) {
            continue;
        }
        if found.sequence > head {
            tracing::warn!(%stream, sequence = %found.sequence, %head, "a snapshot is ahead of the journal; it is ignored");
            continue;
        }
        match read(store, stream, &found)? {
            Some(snapshot) => return Ok(Some(snapshot)),
            None => tracing::warn!(%stream, sequence = %found.sequence, "a snapshot is damaged; it is ignored"),
        }
    }
    Ok(None)
}

/// Deletes the snapshots that meet the criteria, of whatever fold, and says how many.
pub(crate) fn delete(store: &dyn Store, stream: &StreamId, criteria: &SnapshotCriteria) -> Result<u64, Error> {
    let mut deleted = 0;
    let mut changes = Vec::new();
    for found in list(store, stream)? {
        if criteria.covers(found.sequence, found.taken_at_micros) {
            let prefix = key_prefix(stream, found.fold, found.sequence);
            store.scan_side(&prefix, &mut |key, _| changes.push(SideChange::Remove(key.to_vec())))?;
            deleted += 1;
        }
    }
    store.change_side(changes)?;
    Ok(deleted)
}

/// How many snapshots the store holds, of all streams.
pub(crate) fn count(store: &dyn Store) -> Result<u64, Error> {
    let mut count = 0;
    store.scan_side(&[], &mut |key, _| count += u64::from(key.ends_with(&[0; 4])))?;
    Ok(count)
}

/// A snapshot of which at least a part is there, as far as the first of those tells.
struct Found {
    fold: Fold,
    sequence: Sequence,
    taken_at_micros: i64,
}

/// All snapshots of a stream, by fold and sequence. Those of which parts are missing are among them, so that what is left of
/// them is deleted like the others: one that is deleted while it is written loses its first parts.
fn list(store: &dyn Store, stream: &StreamId) -> Result<Vec<Found>, Error> {
    let prefix = stream_prefix(stream);
    let mut found: Vec<Found> = Vec::new();
    store.scan_side(&prefix, &mut |key, value| {
        let Some(&[s0, s1, v0, v1, ref rest @ ..]) = key.get(prefix.len()..) else { return };
        let Some((sequence, _)) = rest.split_first_chunk::<8>() else { return };
        let fold = Fold { schema: u16::from_be_bytes([s0, s1]), version: u16::from_be_bytes([v0, v1]) };
        let sequence = Sequence::new(u64::from_be_bytes(*sequence));
        // The parts of one lie one after the other.
        if found.last().is_none_or(|last| (last.fold, last.sequence) != (fold, sequence)) {
            found.push(Found {
                fold,
                sequence,
                taken_at_micros: value.get(12..20).and_then(|at| at.try_into().ok()).map_or(0, i64::from_le_bytes),
            });
        }
    })?;
    Ok(found)
}

/// A snapshot put together of its parts; `None` when one is missing or damaged.
fn read(store: &dyn Store, stream: &StreamId, found: &Found) -> Result<Option<StateSnapshot>, Error> {
    let mut payload = Vec::new();
    let mut codec = None;
    let (mut seen, mut parts_expected) = (0u32, 0);
    let mut is_sound = true;
    store.scan_side(&key_prefix(stream, found.fold, found.sequence), &mut |_, value| {
        let Some((header, body)) = value.split_at_checked(PART_HEADER_LEN) else {
            is_sound = false;
            return;
        };
        let (checked, stored) = header.split_at(PART_HEADER_LEN - 4);
        let parts = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        is_sound &= header[..4] == PART_MAGIC
            && checksum(checked, body).to_le_bytes() == stored
            && (seen == 0 || parts == parts_expected);
        parts_expected = parts;
        seen += 1;
        codec = Some(header[4]);
        payload.extend_from_slice(body);
    })?;
    Ok(codec.filter(|_| is_sound && seen == parts_expected).map(|codec| StateSnapshot {
        stream: stream.clone(),
        sequence: found.sequence,
        fold: found.fold,
        taken_at_micros: found.taken_at_micros,
        codec,
        payload,
    }))
}

fn checksum(header: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(body);
    hasher.finalize()
}

/// The stream's address and a zero byte, which no address contains, so that `org1` is no prefix of `org10`.
fn stream_prefix(stream: &StreamId) -> Vec<u8> {
    let mut key = stream.as_str().as_bytes().to_vec();
    key.push(0);
    key
}

/// All but the number of the part.
fn key_prefix(stream: &StreamId, fold: Fold, sequence: Sequence) -> Vec<u8> {
    let mut key = stream_prefix(stream);
    key.extend_from_slice(&fold.schema.to_be_bytes());
    key.extend_from_slice(&fold.version.to_be_bytes());
    key.extend_from_slice(&sequence.get().to_be_bytes());
    key
}
