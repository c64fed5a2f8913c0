//! Where blocks lie in sled's file, so that they can be read from there.
//!
//! To give one value sled reads and joins the leaf that holds it, nine blocks, out of ten places, and keeps it in a cache
//! whose bound is hard to hold. It writes a value in one piece, though, and a block says which one it is. So a block that lies
//! in the file is read with one `pread`.
//!
//! It is a shortcut, on which nothing hangs. sled says what the last block is; the ones before are known by the hash chain,
//! back from that one. Where the chain leads to none, or to several, sled is asked again. Each read checks that the very
//! block is there and whole, for sled may have moved it and used the space again. Where something does not fit, a block is
//! not known here, and sled gives it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

use crate::chain::Hash;
use crate::format::{BLOCK_LEN_MAX, BLOCK_MAGIC, BlockKey, HEADER_LEN, Header, SLED_SEGMENT_LEN, is_sound};
use crate::position::Position;

/// How much is read at a time for a scan.
const WINDOW_LEN: usize = 256 << 10;
/// How much is looked at for the next headers: a page of the file, and more and more when there is none.
const PIECE_LEN_MIN: usize = 4 << 10;
const PIECE_LEN_MAX: usize = 64 << 10;
/// So many more blocks in the file as are looked for together.
const LEARNT_TOGETHER: u64 = 256;
/// After one vain read for so many places, and [`LEARNT_TOGETHER`] more, the whole file is looked through again. To read a
/// block through sled takes many times as long as to look for a few.
const PLACES_PER_MISS: u64 = 4;

/// Places of blocks in a file.
pub(crate) struct Extents {
    file: File,
    /// By the number of the block: that of the first one is at 0.
    places: RwLock<Vec<Place>>,
    /// Up to here the file was looked through. Whoever does that, or forgets blocks, has the lock.
    end: Mutex<u64>,
    /// Reads of blocks that were not where they should be: sled moves them to use their space again.
    misses: AtomicU64,
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

/// A block in the file, in few bytes: there may be millions.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// The position after its last record.
    next: Position,
    records: u32,
    part: u16,
    parts: u16,
    /// The first bytes of the chain's hashes before and after it. Who can make something that fits these could as well copy
    /// the others.
    hash_before: [u8; 8],
    hash_after: [u8; 8],
    place: Place,
}

impl Found {
    /// The block whose header is at the beginning of `bytes`, which are at `offset`, if there is one.
    fn at(offset: u64, bytes: &[u8]) -> Option<Self> {
        let head = bytes.first_chunk::<HEADER_LEN>()?;
        let header = Header::read(head)?;
        let len = HEADER_LEN.checked_add(header.body_len as usize).filter(|&len| len <= BLOCK_LEN_MAX)?;
        // sled writes no value over the end of a segment.
        if offset % SLED_SEGMENT_LEN as u64 + len as u64 > SLED_SEGMENT_LEN as u64 {
            return None;
        }
        let beginning = |hash: Hash| hash.0.first_chunk().copied().unwrap_or_default();
        let checksum = head.last_chunk().copied().unwrap_or_default();
        Some(Found {
            next: header.next_position(),
            records: header.records,
            part: header.part,
            parts: header.parts,
            hash_before: beginning(header.hash_before),
            hash_after: beginning(header.hash_after),
            place: Place { offset, len: len as u32, checksum },
        })
    }

    /// Whether two have the same header.
    fn is_like(&self, other: &Found) -> bool {
        let anywhere = |found: &Found| (found.place.len, found.place.checksum, found.next, found.part);
        anywhere(self) == anywhere(other)
    }

    /// Whether the other one comes before it by the hash chain.
    fn is_behind(&self, other: &Found) -> bool {
        if self.part > 0 {
            let of_record = |found: &Found| (found.next, found.parts, found.hash_before, found.hash_after);
            other.part == self.part - 1 && of_record(other) == of_record(self)
        } else {
            u32::from(other.part) + 1 == u32::from(other.parts) && other.hash_after == self.hash_before
        }
    }

    /// The position after the last record of the one before.
    fn position_behind(&self) -> Position {
        if self.part > 0 { self.next } else { Position::new(self.next.get().saturating_sub(self.records.into())) }
    }
}

impl Extents {
    /// Of a file in which nothing was looked for yet.
    pub(crate) fn new(file: File) -> Self {
        Extents { file, places: RwLock::default(), end: Mutex::default(), misses: AtomicU64::new(0) }
    }

    /// Up to which block places were looked for.
    pub(crate) fn known_to(&self) -> BlockKey {
        BlockKey::new(self.places.read().unwrap_or_else(PoisonError::into_inner).len() as u64)
    }

    /// Whether it is time to learn where blocks are, of which `last` is the last one that is in the file.
    pub(crate) fn is_due(&self, last: BlockKey) -> bool {
        let known = self.known_to();
        let is_new = last > known && (known < BlockKey::FIRST || last >= known.plus(LEARNT_TOGETHER));
        is_new || self.has_moved(known.get())
    }

    /// Whether too much of what was known is not true any more.
    fn has_moved(&self, known: u64) -> bool {
        self.misses.load(Ordering::Relaxed) > known / PLACES_PER_MISS + LEARNT_TOGETHER
    }

    /// Looks through what is new in the file for `anchor`, which is in it, and for the blocks before it, unless that is being
    /// done; or through all of it, when much has moved. `bytes_of` are those of a block as sled has it.
    ///
    /// # Errors
    /// When the file cannot be read. Nothing is found then, and what is there is not looked through again.
    pub(crate) fn learn<B: AsRef<[u8]>>(
        &self,
        anchor: BlockKey,
        bytes_of: impl Fn(BlockKey) -> Option<B>,
    ) -> io::Result<()> {
        let Ok(mut begin) = self.end.try_lock() else { return Ok(()) };
        let mut first = self.known_to().get();
        if self.has_moved(first) {
            (*begin, first) = (0, 0);
            self.misses.store(0, Ordering::Relaxed);
        }
        if anchor.get() <= first {
            return Ok(());
        }
        let end = self.file.metadata()?.len();
        let found = find(&self.file, *begin..end);
        // What is left of the last segment is still to be written.
        *begin = end - end % SLED_SEGMENT_LEN as u64;
        let mut places = vec![Place::UNKNOWN; (anchor.get() - first) as usize];
        if let Ok(found) = &found {
            let mut behind: Option<Found> = None;
            for (place, number) in places.iter_mut().rev().zip((first + 1..=anchor.get()).rev()) {
                let by_chain = behind.and_then(|behind| before(&behind, found));
                let by_sled = || Found::at(0, bytes_of(BlockKey::new(number))?.as_ref());
                let Some(block) = by_chain.or_else(by_sled) else { break };
                *place = self.place_of(&block, found);
                behind = Some(block);
            }
        }
        let mut known = self.places.write().unwrap_or_else(PoisonError::into_inner);
        if found.is_ok() {
            known.truncate(first as usize);
            known.append(&mut places);
        } else {
            let len = known.len().max(anchor.get() as usize);
            known.resize(len, Place::UNKNOWN);
        }
        found.map(drop)
    }

    /// The place of a block, unless there are several that differ.
    fn place_of(&self, block: &Found, found: &[Found]) -> Place {
        let mut same =
            ending_at(block.next, found).iter().filter(|other| other.is_like(block)).map(|other| other.place);
        let Some(place) = same.next() else { return Place::UNKNOWN };
        let is_copy = |other: Place| matches!((self.bytes_at(place), self.bytes_at(other)), (Ok(a), Ok(b)) if a == b);
        if same.all(is_copy) { place } else { Place::UNKNOWN }
    }

    fn bytes_at(&self, place: Place) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; place.len as usize];
        self.file.read_exact_at(&mut bytes, place.offset)?;
        Ok(bytes)
    }

    /// Forgets the blocks from `key` on.
    pub(crate) fn forget_from(&self, key: BlockKey) {
        let _end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        places.truncate(key.get().saturating_sub(1) as usize);
    }

    fn looked_up(&self, key: BlockKey) -> Option<Place> {
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        places.get(usize::try_from(key.get().checked_sub(1)?).ok()?).copied()
    }

    /// Where to read a block, unless it was not found, which counts as read in vain.
    fn place(&self, key: BlockKey) -> Option<Place> {
        let place = self.looked_up(key)?;
        self.noted(Some(place).filter(|place| *place != Place::UNKNOWN))
    }

    /// Counts it when a block is not where it should be.
    fn noted<T>(&self, read: Option<T>) -> Option<T> {
        self.misses.fetch_add(read.is_none().into(), Ordering::Relaxed);
        read
    }

    /// Whether a block's place is known.
    pub(crate) fn knows(&self, key: BlockKey) -> bool {
        self.looked_up(key).is_some_and(|place| place != Place::UNKNOWN)
    }

    /// The block, if its place is known and it is there still.
    pub(crate) fn read(&self, key: BlockKey) -> Option<Vec<u8>> {
        let place = self.place(key)?;
        self.noted(self.bytes_at(place).ok().filter(|bytes| place.is_of(bytes)))
    }

    /// Points at something else, as when sled has moved the block.
    #[cfg(test)]
    pub(crate) fn misplace(&self, key: BlockKey) {
        self.places.write().expect("nobody panicked")[key.get() as usize - 1].offset += 1;
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
        self.extents.noted(self.bytes.get(start..start + len).filter(|bytes| place.is_of(bytes)))
    }
}

/// The block that comes before another one by the hash chain, if all that do are alike.
fn before(block: &Found, found: &[Found]) -> Option<Found> {
    let mut all = ending_at(block.position_behind(), found).iter().filter(|other| block.is_behind(other));
    let first = all.next()?;
    all.all(|other| other.is_like(first)).then_some(*first)
}

/// Those that end before a position.
fn ending_at(position: Position, found: &[Found]) -> &[Found] {
    let begin = found.partition_point(|block| block.next < position);
    let len = found[begin..].partition_point(|block| block.next == position);
    &found[begin..begin + len]
}

/// The blocks in a part of the file, by their headers alone and sorted by where they end: what lies inside a block is none.
fn find(file: &File, range: Range<u64>) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut piece = vec![0; PIECE_LEN_MAX];
    let (mut at, mut len) = (range.start, PIECE_LEN_MIN);
    while at < range.end {
        let read = read_up_to(file, &mut piece[..len], at)?;
        if read < HEADER_LEN {
            // It ends here: sled may have made it shorter.
            break;
        }
        let before = found.len();
        at += find_in(&piece[..read], at, &mut found);
        len = if found.len() > before { PIECE_LEN_MIN } else { (len * 2).min(PIECE_LEN_MAX) };
    }
    found.sort_unstable_by_key(|block: &Found| (block.next, block.part, block.place.offset));
    Ok(found)
}

/// The blocks that begin in a piece of the file, and how far it was looked through: beyond its end when the last one is.
/// That is some way at least, if a header has room in it.
fn find_in(piece: &[u8], offset: u64, found: &mut Vec<Found>) -> u64 {
    let mut at = 0;
    while let Some(rest) = piece.get(at..) {
        let Some(start) = rest.windows(BLOCK_MAGIC.len()).position(|bytes| bytes == BLOCK_MAGIC) else {
            // The magic number may begin in the last bytes.
            at = at.max(piece.len() + 1 - BLOCK_MAGIC.len());
            break;
        };
        at += start;
        if piece.len() - at < HEADER_LEN {
            break;
        }
        let block = Found::at(offset + at as u64, &piece[at..]);
        at += block.map_or(1, |block| block.place.len as usize);
        found.extend(block);
    }
    at as u64
}

/// Fills the buffer as far as the file goes, and says how far.
pub(crate) fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
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
