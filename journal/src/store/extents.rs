//! Where blocks lie in sled's file, so that they can be read from there.
//!
//! To give one value sled reads and joins the leaf that holds it, nine blocks, out of ten places, and keeps it in a cache
//! whose bound is hard to hold. It writes a value in one piece, though, and a block says which one it is. So a block that lies
//! in the file is read with one `pread`.
//!
//! It is a shortcut, on which nothing hangs. sled says what the last block is; the ones before are known by the hash chain,
//! back from that one. Each read checks that the very block is there and whole, for sled may have moved it and used the
//! space again. Where something does not fit, a block is not known here, and sled is asked.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{PoisonError, RwLock};

use crate::format::{BLOCK_LEN_MAX, BLOCK_MAGIC, BlockKey, HEADER_LEN, Header, SLED_SEGMENT_LEN, is_sound};
use crate::position::Position;

/// How much is read at a time for a scan.
const WINDOW_LEN: usize = 256 << 10;
/// How much is looked at for the next header: what sled puts between two values, and more and more when it is not there.
const GAP_LEN_MIN: usize = 256;
const GAP_LEN_MAX: usize = 64 << 10;

/// Places of blocks in a file.
pub(crate) struct Extents {
    file: File,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    /// By the number of the block: that of the first one is at 0.
    places: Vec<Place>,
    /// Up to here the file was looked through.
    end: u64,
}

/// Where a block lies, and the checksum of its header, by which it is known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    offset: u64,
    len: u32,
    checksum: [u8; 4],
}

impl Place {
    /// That of a block which was not found.
    const UNKNOWN: Place = Place { offset: 0, len: 0, checksum: [0; 4] };

    fn is_of(self, bytes: &[u8]) -> bool {
        bytes.len() == self.len as usize && bytes[HEADER_LEN - 4..HEADER_LEN] == self.checksum && is_sound(bytes)
    }
}

impl Extents {
    /// Of a file in which nothing was looked for yet.
    pub(crate) fn new(file: File) -> Self {
        Extents { file, known: RwLock::default() }
    }

    /// Up to which block places were looked for.
    pub(crate) fn known_to(&self) -> BlockKey {
        BlockKey::new(self.known.read().unwrap_or_else(PoisonError::into_inner).places.len() as u64)
    }

    /// Looks through what is new in the file for `anchor`, which sled has and says is `bytes`, and for the blocks before it.
    pub(crate) fn learn(&self, anchor: BlockKey, bytes: &[u8]) -> io::Result<()> {
        let known = &mut *self.known.write().unwrap_or_else(PoisonError::into_inner);
        let end = self.file.metadata()?.len();
        let missing = (anchor.get() as usize).saturating_sub(known.places.len());
        if missing == 0 {
            return Ok(());
        }
        let mut found = find(&self.file, known.end..end)?;
        found.sort_by_key(|(header, _)| (header.next_position(), header.part));
        let first = known.places.len();
        known.places.resize(first + missing, Place::UNKNOWN);
        let mut at = bytes.get(..HEADER_LEN).and_then(Header::read);
        for place in known.places[first..].iter_mut().rev() {
            let Some(header) = &at else { break };
            *place = self.place_of(header, &found)?;
            at = before(header, &found).cloned();
        }
        // What is left of the last segment is still to be written.
        known.end = end - end % SLED_SEGMENT_LEN as u64;
        Ok(())
    }

    /// The place of a block, unless there are several that differ.
    fn place_of(&self, header: &Header, found: &[(Header, Place)]) -> io::Result<Place> {
        let same = ending_at(header.next_position(), found).iter().filter(|(other, _)| other == header);
        let mut places = same.map(|(_, place)| *place);
        let Some(place) = places.next() else { return Ok(Place::UNKNOWN) };
        for other in places {
            if self.bytes_at(place)? != self.bytes_at(other)? {
                return Ok(Place::UNKNOWN);
            }
        }
        Ok(place)
    }

    fn bytes_at(&self, place: Place) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; place.len as usize];
        self.file.read_exact_at(&mut bytes, place.offset)?;
        Ok(bytes)
    }

    /// Forgets the blocks from `key` on.
    pub(crate) fn forget_from(&self, key: BlockKey) {
        let known = &mut *self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.places.truncate(key.get().saturating_sub(1) as usize);
    }

    fn place(&self, key: BlockKey) -> Option<Place> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let place = known.places.get(usize::try_from(key.get().checked_sub(1)?).ok()?).copied();
        place.filter(|place| *place != Place::UNKNOWN)
    }

    /// Whether a block's place is known.
    pub(crate) fn knows(&self, key: BlockKey) -> bool {
        self.place(key).is_some()
    }

    /// The block, if its place is known and it is there still.
    pub(crate) fn read(&self, key: BlockKey) -> Option<Vec<u8>> {
        let place = self.place(key)?;
        self.bytes_at(place).ok().filter(|bytes| place.is_of(bytes))
    }

    /// Points at something else, as when sled has moved the block.
    #[cfg(test)]
    pub(crate) fn misplace(&self, key: BlockKey) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.places[key.get() as usize - 1].offset += 1;
    }

    /// For reading blocks in order.
    pub(crate) fn window(&self) -> Window<'_> {
        Window { extents: self, offset: 0, bytes: Vec::new() }
    }
}

/// A piece of the file in memory.
pub(crate) struct Window<'a> {
    extents: &'a Extents,
    offset: u64,
    bytes: Vec<u8>,
}

impl Window<'_> {
    /// The block, if its place is known and it is there still.
    pub(crate) fn read(&mut self, key: BlockKey) -> Option<&[u8]> {
        let place = self.extents.place(key)?;
        let len = place.len as usize;
        let is_there = |offset: u64, have: usize| {
            place.offset >= offset && place.offset - offset + u64::from(place.len) <= have as u64
        };
        if !is_there(self.offset, self.bytes.len()) {
            self.bytes.resize(WINDOW_LEN, 0);
            let read = read_up_to(&self.extents.file, &mut self.bytes, place.offset).unwrap_or_default();
            self.bytes.truncate(read);
            self.offset = place.offset;
        }
        let start = usize::try_from(place.offset - self.offset).ok()?;
        self.bytes.get(start..start + len).filter(|bytes| place.is_of(bytes))
    }
}

/// The block that comes before another one by the hash chain.
fn before<'a>(header: &Header, found: &'a [(Header, Place)]) -> Option<&'a Header> {
    let (position, part) =
        if header.part > 0 { (header.next_position(), Some(header.part - 1)) } else { (header.position, None) };
    let of_it = |other: &Header| match part {
        Some(part) => {
            (other.part, other.parts) == (part, header.parts)
                && (other.hash_before, other.hash_after) == (header.hash_before, header.hash_after)
        }
        None => other.part + 1 == other.parts && other.hash_after == header.hash_before,
    };
    ending_at(position, found).iter().map(|(other, _)| other).find(|other| of_it(other))
}

/// Those that end before a position.
fn ending_at(position: Position, found: &[(Header, Place)]) -> &[(Header, Place)] {
    let begin = found.partition_point(|(header, _)| header.next_position() < position);
    let len = found[begin..].partition_point(|(header, _)| header.next_position() == position);
    &found[begin..begin + len]
}

/// The blocks in a part of the file, by their headers alone: what lies inside a block is none.
fn find(file: &File, range: Range<u64>) -> io::Result<Vec<(Header, Place)>> {
    let mut found = Vec::new();
    let mut gap = vec![0; GAP_LEN_MAX];
    let (mut at, mut gap_len) = (range.start, GAP_LEN_MIN);
    while at + (HEADER_LEN as u64) < range.end {
        let read = read_up_to(file, &mut gap[..gap_len], at)?;
        let Some(start) = gap[..read].windows(BLOCK_MAGIC.len()).position(|bytes| bytes == BLOCK_MAGIC) else {
            // The magic number may begin at the end of what was looked at.
            at += (read - (BLOCK_MAGIC.len() - 1)) as u64;
            gap_len = (gap_len * 2).min(GAP_LEN_MAX);
            continue;
        };
        at += start as u64;
        gap_len = GAP_LEN_MIN;
        if start + HEADER_LEN > read {
            // The next time it is at the beginning of what is looked at.
            continue;
        }
        let head = &gap[start..start + HEADER_LEN];
        let header = Header::read(head).filter(|header| {
            let len = HEADER_LEN + header.body_len as usize;
            len <= BLOCK_LEN_MAX && at % SLED_SEGMENT_LEN as u64 + len as u64 <= SLED_SEGMENT_LEN as u64
        });
        let Some(header) = header else {
            at += 1;
            continue;
        };
        let mut place = Place { offset: at, len: HEADER_LEN as u32 + header.body_len, checksum: [0; 4] };
        place.checksum.copy_from_slice(&head[HEADER_LEN - 4..]);
        at += u64::from(place.len);
        found.push((header, place));
    }
    Ok(found)
}

fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut len = 0;
    while len < buffer.len() {
        match file.read_at(&mut buffer[len..], offset + len as u64)? {
            0 => break,
            read => len += read,
        }
    }
    Ok(len)
}

#[cfg(test)]
pub(crate) mod tests;
