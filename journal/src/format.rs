//! The bytes of blocks and records, as drawn in `docs/journal-format.md`. Only this file and its folder know them.
//!
//! Vocabulary: a *record* is one event with its envelope; a *frame* is a record with its length and checksum; a *block*
//! is the value of one key of the store: a header, then whole frames, or a *part* of a frame that is larger than a block;
//! a *group* is what one commit makes durable: some blocks, all or none.
//!
//! All integers are little-endian, except in keys, where big-endian bytes sort like the numbers.

mod group;
mod record;

use std::borrow::Cow;
use std::cell::RefCell;

use crate::chain::Hash;
use crate::error::Damage;
use crate::position::Position;
use crate::record::Append;

pub(crate) use group::{ClosedBlock, GroupEncoder, InBlock};
use record::Reader;
pub(crate) use record::{Frames, frame_len};

/// Largest block. Seventeen of them, the most that a leaf of sled's tree holds, stay below a quarter of a segment of
/// 4 MiB; sled would put anything larger into a blob file, which it never syncs (I-3).
pub(crate) const BLOCK_LEN_MAX: usize = 16 << 10;
pub(crate) const SLED_SEGMENT_LEN: usize = 4 << 20;
const SLED_LEAF_ITEMS_MAX: usize = 17;

pub(crate) const HEADER_LEN: usize = 104;
const BODY_LEN_MAX: usize = BLOCK_LEN_MAX - HEADER_LEN;
const HEADER_CHECKSUM_AT: usize = 100;
pub(crate) const BLOCK_MAGIC: [u8; 4] = *b"IVJB";
const BLOCK_VERSION: u8 = 1;
/// How a body is stored: as it is, or compressed.
const PLAIN: u8 = 0;
const LZ4: u8 = 1;
/// Before a compressed body: its length when it is not, and the checksum of what follows.
const LZ4_PREFIX_LEN: usize = 8;
/// Smaller bodies are stored as they are: little could be gained.
const LZ4_BODY_LEN_MIN: usize = 1 << 10;

/// Length and checksum before each record.
const FRAME_PREFIX_LEN: usize = 8;
/// The part of a record before its strings.
const RECORD_FIXED_LEN: usize = 52;
const RECORD_MAGIC: u8 = 0xE7;
const RECORD_VERSION: u8 = 1;
const HAS_PRINCIPAL: u8 = 1;
const HAS_CORRELATION: u8 = 2;
const HAS_CAUSATION: u8 = 4;

const _: () = assert!((BLOCK_LEN_MAX + KEY_LEN) * SLED_LEAF_ITEMS_MAX < SLED_SEGMENT_LEN / 4);
const _: () = assert!(Append::EVENT_BYTES_MAX / BODY_LEN_MAX < u16::MAX as usize);
const _: () = assert!(HEADER_CHECKSUM_AT + 4 == HEADER_LEN);

/// The key of a block: its number in the journal, from 1 without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockKey(u64);

pub(crate) const KEY_LEN: usize = 8;

impl BlockKey {
    /// That of the first block.
    pub const FIRST: BlockKey = BlockKey(1);

    /// The key of the block with that number.
    pub const fn new(number: u64) -> Self {
        BlockKey(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The key of the block so many places behind.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        BlockKey(self.0.saturating_add(count))
    }

    /// As stored: big-endian, so that keys sort like the numbers.
    pub fn to_bytes(self) -> [u8; KEY_LEN] {
        self.0.to_be_bytes()
    }

    /// The key of those bytes, unless there are not eight of them.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| BlockKey(u64::from_be_bytes(bytes)))
    }
}

/// What a block says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// How the body is stored, [`PLAIN`] or [`LZ4`]; others are not known.
    compression: u8,
    /// The position of its first record.
    pub(crate) position: Position,
    /// 0, or the number of the part when the record has several.
    pub(crate) part: u16,
    /// How many parts the record has; 1 for a block of whole records.
    pub(crate) parts: u16,
    /// How many records it holds; 1 for a part.
    pub(crate) records: u32,
    /// Length of the body as it is stored.
    pub(crate) body_len: u32,
    /// Which block of its group it is, and how many there are.
    pub(crate) block_in_group: u32,
    pub(crate) blocks_in_group: u32,
    /// The chain before the first record and after the last.
    pub(crate) hash_before: Hash,
    pub(crate) hash_after: Hash,
}

impl Header {
    /// The position after the block's last record.
    pub(crate) fn next_position(&self) -> Position {
        self.position.plus(self.records.into())
    }

    /// Whether the body has a checksum of its own, which was looked at when the block was read.
    pub(crate) fn vouches_for_body(&self) -> bool {
        self.compression == LZ4
    }

    /// Whether it is the last block of its group.
    pub(crate) fn ends_group(&self) -> bool {
        self.block_in_group + 1 == self.blocks_in_group
    }

    /// Reads the fields, if the magic number and the checksum fit. `bytes` are [`HEADER_LEN`] many.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (checked, checksum) = bytes.split_at(HEADER_CHECKSUM_AT);
        if checked[..4] != BLOCK_MAGIC || crc32fast::hash(checked).to_le_bytes() != checksum {
            return None;
        }
        let mut fields = Reader { rest: &checked[8..] };
        Some(Header {
            compression: checked[5],
            position: Position::new(fields.u64()),
            part: fields.u16(),
            parts: fields.u16(),
            records: fields.u32(),
            body_len: fields.u32(),
            block_in_group: fields.u32(),
            blocks_in_group: fields.u32(),
            hash_before: Hash(fields.array()),
            hash_after: Hash(fields.array()),
        })
    }

    fn write(&self, out: &mut [u8]) {
        out[0..4].copy_from_slice(&BLOCK_MAGIC);
        out[4] = BLOCK_VERSION;
        out[5] = self.compression;
        out[6..8].fill(0);
        out[8..16].copy_from_slice(&self.position.get().to_le_bytes());
        out[16..18].copy_from_slice(&self.part.to_le_bytes());
        out[18..20].copy_from_slice(&self.parts.to_le_bytes());
        out[20..24].copy_from_slice(&self.records.to_le_bytes());
        out[24..28].copy_from_slice(&self.body_len.to_le_bytes());
        out[28..32].copy_from_slice(&self.block_in_group.to_le_bytes());
        out[32..36].copy_from_slice(&self.blocks_in_group.to_le_bytes());
        out[36..68].copy_from_slice(&self.hash_before.0);
        out[68..100].copy_from_slice(&self.hash_after.0);
        let checksum = crc32fast::hash(&out[..HEADER_CHECKSUM_AT]);
        out[HEADER_CHECKSUM_AT..HEADER_LEN].copy_from_slice(&checksum.to_le_bytes());
    }
}

/// One block as read: its header and its body, checked as far as the header goes, and not compressed any more.
pub(crate) struct Block<'a> {
    pub(crate) header: Header,
    pub(crate) body: Cow<'a, [u8]>,
}

impl<'a> Block<'a> {
    /// Reads the block that should begin with the record at `position`. That it does is for the caller to check.
    pub(crate) fn parse(position: Position, bytes: &'a [u8]) -> Result<Self, Damage> {
        let damage = |problem: &str| Damage { position, problem: problem.into() };
        let Some((head, body)) = bytes.split_at_checked(HEADER_LEN) else {
            return Err(damage("the block is shorter than its header"));
        };
        let Some(header) = Header::read(head) else {
            return Err(damage("the block's header is damaged"));
        };
        if head[4] != BLOCK_VERSION {
            return Err(damage(&format!("the block has format version {}, known is {BLOCK_VERSION}", head[4])));
        }
        if header.body_len as usize != body.len() {
            return Err(damage("the block is cut or has bytes after its end"));
        }
        let one_part_of_one_record = header.records == 1 && header.part < header.parts;
        let counts_are_sound = header.records > 0 && header.parts > 0 && header.block_in_group < header.blocks_in_group;
        if !counts_are_sound || (header.parts > 1 && !one_part_of_one_record) {
            return Err(damage("the block's header contradicts itself"));
        }
        let body = match header.compression {
            PLAIN => Cow::Borrowed(body),
            LZ4 => match decompressed(body) {
                Some(body) => Cow::Owned(body),
                None => return Err(damage("the block's compressed body is damaged")),
            },
            other => return Err(damage(&format!("the block is compressed in the way {other}, known is {LZ4}"))),
        };
        Ok(Block { header, body })
    }
}

/// Whether the bytes are those of a block as it was written, by its checksums. A part that is not compressed has none of its
/// own and is not vouched for.
pub(crate) fn is_sound(bytes: &[u8]) -> bool {
    let Some((head, body)) = bytes.split_at_checked(HEADER_LEN) else { return false };
    let Some(header) = Header::read(head) else { return false };
    match header.compression {
        LZ4 => {
            body.get(4..LZ4_PREFIX_LEN).is_some_and(|sum| sum == crc32fast::hash(&body[LZ4_PREFIX_LEN..]).to_le_bytes())
        }
        PLAIN => header.parts == 1 && Frames::new(body, header.position).all(|frame| frame.is_ok()),
        _ => false,
    }
}

/// A compressed body as it was. Whatever the bytes are, it takes no more memory than a block.
fn decompressed(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut fields = Reader { rest: bytes };
    let len = u32::from_le_bytes(fields.checked()?) as usize;
    let checksum = u32::from_le_bytes(fields.checked()?);
    if len > BODY_LEN_MAX || crc32fast::hash(fields.rest) != checksum {
        return None;
    }
    let mut body = vec![0; len];
    let written = lz4_flex::block::decompress_into(fields.rest, &mut body).ok()?;
    (written == len).then_some(body)
}

thread_local! {
    /// Reused from block to block.
    static SMALLER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Compresses the body of a block if that makes it smaller by an eighth at least. `block` has room for its header.
fn compress(block: &mut Vec<u8>) -> bool {
    let len = block.len() - HEADER_LEN;
    if len < LZ4_BODY_LEN_MIN {
        return false;
    }
    SMALLER.with_borrow_mut(|smaller| {
        smaller.resize(lz4_flex::block::get_maximum_output_size(BODY_LEN_MAX), 0);
        let Ok(written) = lz4_flex::block::compress_into(&block[HEADER_LEN..], smaller) else { return false };
        if LZ4_PREFIX_LEN + written > len / 8 * 7 {
            return false;
        }
        let smaller = &smaller[..written];
        block.truncate(HEADER_LEN);
        block.extend_from_slice(&(len as u32).to_le_bytes());
        block.extend_from_slice(&crc32fast::hash(smaller).to_le_bytes());
        block.extend_from_slice(smaller);
        true
    })
}

/// Makes the checksums of a block's header and of its compressed body, or its first record, fit whatever the bytes are.
#[cfg(feature = "testing")]
pub(crate) fn put_checksums(block: &mut [u8]) {
    let Some((head, body)) = block.split_at_mut_checked(HEADER_LEN) else { return };
    let checksum = crc32fast::hash(&head[..HEADER_CHECKSUM_AT]);
    head[HEADER_CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
    let Some((prefix, rest)) = body.split_first_chunk_mut::<FRAME_PREFIX_LEN>() else { return };
    if head[5] == LZ4 {
        return prefix[4..].copy_from_slice(&crc32fast::hash(rest).to_le_bytes());
    }
    let len = u32::from_le_bytes([prefix[0], prefix[1], prefix[2], prefix[3]]) as usize;
    if let Some(record) = rest.get(..len) {
        prefix[4..].copy_from_slice(&crc32fast::hash(record).to_le_bytes());
    }
}

#[cfg(test)]
mod tests;
