//! The bytes of blocks and records, as drawn in `docs/journal-format.md`. Only this file knows them.
//!
//! Vocabulary: a *record* is one event with its envelope; a *frame* is a record with its length and checksum; a *block*
//! is the value of one key of the store: a header, then whole frames, or a *part* of a frame that is larger than a block;
//! a *group* is what one commit makes durable: some blocks, all or none.
//!
//! All integers are little-endian, except in keys, where big-endian bytes sort like the numbers.

use std::borrow::Cow;

use uuid::Uuid;

use crate::chain::Hash;
use crate::error::Damage;
use crate::position::{Position, Sequence};
use crate::record::{Append, NewEvent, Record};

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

/// The block with its body compressed, if that makes it smaller by an eighth at least. `block` has room for its header.
fn compressed(block: &[u8]) -> Option<Vec<u8>> {
    let body = block.get(HEADER_LEN..).filter(|body| body.len() >= LZ4_BODY_LEN_MIN)?;
    let start = HEADER_LEN + LZ4_PREFIX_LEN;
    let mut smaller = vec![0; start + lz4_flex::block::get_maximum_output_size(body.len())];
    let written = lz4_flex::block::compress_into(body, &mut smaller[start..]).ok()?;
    smaller.truncate(start + written);
    if smaller.len() > HEADER_LEN + body.len() / 8 * 7 {
        return None;
    }
    let checksum = crc32fast::hash(&smaller[start..]);
    smaller[HEADER_LEN..HEADER_LEN + 4].copy_from_slice(&(body.len() as u32).to_le_bytes());
    smaller[HEADER_LEN + 4..start].copy_from_slice(&checksum.to_le_bytes());
    Some(smaller)
}

/// The frames of a body, one after the other.
pub(crate) struct Frames<'a> {
    rest: &'a [u8],
    position: Position,
    /// Frames of other streams are passed over, unchecked.
    only: Option<&'a str>,
}

impl<'a> Frames<'a> {
    /// The frames of a body that begins at `position`.
    pub(crate) fn new(body: &'a [u8], position: Position) -> Self {
        Frames { rest: body, position, only: None }
    }

    /// Those frames of a body that are of one stream. Whether one of them was missed for damage the caller sees by the
    /// sequences.
    pub(crate) fn of_stream(body: &'a [u8], position: Position, stream: &'a str) -> Self {
        Frames { only: Some(stream), ..Frames::new(body, position) }
    }

    /// Where the next frame belongs.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The next frame's record, unless it is passed over.
    fn take(&mut self) -> Result<Option<&'a [u8]>, Damage> {
        let position = self.position;
        let damage = |problem: &str| Damage { position, problem: problem.into() };
        let mut prefix = Reader { rest: self.rest };
        if prefix.rest.len() < FRAME_PREFIX_LEN {
            return Err(damage("the record is cut"));
        }
        let (len, checksum) = (prefix.u32() as usize, prefix.u32());
        let Some((record, rest)) = prefix.rest.split_at_checked(len) else {
            return Err(damage("the record is cut, or its length is damaged"));
        };
        self.rest = rest;
        self.position = self.position.plus(1);
        if self.only.is_some_and(|stream| !is_of_stream(record, stream)) {
            return Ok(None);
        }
        if crc32fast::hash(record) != checksum {
            return Err(damage("the record's checksum does not fit"));
        }
        Ok(Some(record))
    }
}

/// Whether the bytes of a record have the stream's address where it belongs.
fn is_of_stream(record: &[u8], stream: &str) -> bool {
    let address = record.get(RECORD_FIXED_LEN..).and_then(|rest| rest.split_at_checked(2));
    address.is_some_and(|(len, rest)| len == (stream.len() as u16).to_le_bytes() && rest.starts_with(stream.as_bytes()))
}

impl<'a> Iterator for Frames<'a> {
    /// The record's bytes, as they enter the hash chain, and the record read from them.
    type Item = Result<(&'a [u8], Record<'a>), Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let position = self.position;
            let bytes = match self.take() {
                Ok(Some(bytes)) => bytes,
                Ok(None) => continue,
                Err(damage) => {
                    // Where the next frame begins is not known any more.
                    self.rest = &[];
                    return Some(Err(damage));
                }
            };
            return Some(match parse_record(bytes) {
                Some(record) if record.position == position => Ok((bytes, record)),
                Some(record) => {
                    let problem = format!("the record stored here is that of position {}", record.position);
                    Err(Damage { position, problem })
                }
                None => Err(Damage { position, problem: "the record cannot be read".into() }),
            });
        }
        None
    }
}

/// The length of an event's frame.
pub(crate) fn frame_len(append: &Append, event: &NewEvent) -> usize {
    let origin = &append.origin;
    FRAME_PREFIX_LEN
        + RECORD_FIXED_LEN
        + (2 + append.stream.as_str().len())
        + (1 + event.event_type.len())
        + origin.principal.as_ref().map_or(0, |who| 2 + who.len())
        + origin.correlation_id.map_or(0, |_| 16)
        + origin.causation_id.map_or(0, |_| 16)
        + event.payload.len()
}

/// What the writer adds to an event.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) position: Position,
    pub(crate) sequence: Sequence,
    pub(crate) recorded_at_micros: i64,
}

/// Writes an event's frame and returns where in `out` its record begins.
fn write_frame(out: &mut Vec<u8>, append: &Append, event: &NewEvent, place: Place) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME_PREFIX_LEN]);
    let record_at = out.len();
    let origin = &append.origin;
    let flags = origin.principal.as_ref().map_or(0, |_| HAS_PRINCIPAL)
        | origin.correlation_id.map_or(0, |_| HAS_CORRELATION)
        | origin.causation_id.map_or(0, |_| HAS_CAUSATION);
    out.extend_from_slice(&[RECORD_MAGIC, RECORD_VERSION, event.codec, flags]);
    out.extend_from_slice(&event.version.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&append.epoch.to_le_bytes());
    out.extend_from_slice(&place.position.get().to_le_bytes());
    out.extend_from_slice(&place.sequence.get().to_le_bytes());
    out.extend_from_slice(&place.recorded_at_micros.to_le_bytes());
    out.extend_from_slice(event.id.as_bytes());
    assert_eq!(out.len() - record_at, RECORD_FIXED_LEN, "the fixed part of a record is as long as documented");
    let stream = append.stream.as_str();
    out.extend_from_slice(&(stream.len() as u16).to_le_bytes());
    out.extend_from_slice(stream.as_bytes());
    out.push(event.event_type.len() as u8);
    out.extend_from_slice(event.event_type.as_bytes());
    if let Some(principal) = &origin.principal {
        out.extend_from_slice(&(principal.len() as u16).to_le_bytes());
        out.extend_from_slice(principal.as_bytes());
    }
    for id in [origin.correlation_id, origin.causation_id].into_iter().flatten() {
        out.extend_from_slice(id.as_bytes());
    }
    out.extend_from_slice(&event.payload);
    let record_len = (out.len() - record_at) as u32;
    let checksum = crc32fast::hash(&out[record_at..]);
    out[start..start + 4].copy_from_slice(&record_len.to_le_bytes());
    out[start + 4..record_at].copy_from_slice(&checksum.to_le_bytes());
    record_at
}

/// Reads a record; `None` when the bytes are none, or are too few or too many.
fn parse_record(bytes: &[u8]) -> Option<Record<'_>> {
    if bytes.len() < RECORD_FIXED_LEN {
        return None;
    }
    let mut fields = Reader { rest: bytes };
    let [magic, record_version, codec, flags] = fields.array();
    let version = fields.u16();
    let reserved = fields.u16();
    let epoch = fields.u32();
    let position = Position::new(fields.u64());
    let sequence = Sequence::new(fields.u64());
    let recorded_at_micros = fields.u64() as i64;
    let id = Uuid::from_bytes(fields.array());
    if (magic, record_version, reserved) != (RECORD_MAGIC, RECORD_VERSION, 0)
        || flags & !(HAS_PRINCIPAL | HAS_CORRELATION | HAS_CAUSATION) != 0
    {
        return None;
    }
    let stream_len = usize::from(fields.checked::<2>().map(u16::from_le_bytes)?);
    let stream = fields.text(stream_len)?;
    let type_len = usize::from(fields.checked::<1>()?[0]);
    let event_type = fields.text(type_len)?;
    let principal = if flags & HAS_PRINCIPAL != 0 {
        let len = usize::from(fields.checked::<2>().map(u16::from_le_bytes)?);
        Some(fields.text(len)?)
    } else {
        None
    };
    let mut optional_id = |flag| -> Option<Option<Uuid>> {
        if flags & flag == 0 { Some(None) } else { fields.checked().map(|bytes| Some(Uuid::from_bytes(bytes))) }
    };
    let correlation_id = optional_id(HAS_CORRELATION)?;
    let causation_id = optional_id(HAS_CAUSATION)?;
    Some(Record {
        position,
        stream,
        sequence,
        epoch,
        recorded_at_micros,
        id,
        event_type,
        version,
        codec,
        principal,
        correlation_id,
        causation_id,
        payload: fields.rest,
    })
}

/// An empty block, with room for its header in front and for all it may grow to.
fn new_block() -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK_LEN_MAX);
    block.resize(HEADER_LEN, 0);
    block
}

/// The block that an event lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InBlock {
    /// The position of its first record.
    pub(crate) first: Position,
    /// How many blocks it really is: the parts of a record that is larger than one.
    pub(crate) parts: u16,
}

/// Packs the events of one group into blocks and carries the chain along.
pub(crate) struct GroupEncoder {
    blocks: Vec<(Header, Vec<u8>)>,
    /// The block being filled, with room for its header in front.
    open: Vec<u8>,
    open_first: Position,
    open_hash_before: Hash,
    next: Position,
    hash: Hash,
}

impl GroupEncoder {
    /// A group whose first event gets the position `next`, after the chain value `hash`.
    pub(crate) fn new(next: Position, hash: Hash) -> Self {
        GroupEncoder { blocks: Vec::new(), open: new_block(), open_first: next, open_hash_before: hash, next, hash }
    }

    /// The position that the next event gets.
    pub(crate) fn next_position(&self) -> Position {
        self.next
    }

    /// The chain after the last event.
    pub(crate) fn hash(&self) -> Hash {
        self.hash
    }

    /// Adds one event and says which block it lies in.
    pub(crate) fn push(
        &mut self,
        append: &Append,
        event: &NewEvent,
        sequence: Sequence,
        recorded_at_micros: i64,
    ) -> InBlock {
        let len = frame_len(append, event);
        if self.open.len() + len > BLOCK_LEN_MAX {
            self.close_block();
        }
        let place = Place { position: self.next, sequence, recorded_at_micros };
        let record_at = write_frame(&mut self.open, append, event, place);
        self.hash = self.hash.then(&self.open[record_at..]);
        self.next = self.next.plus(1);
        let mut block = InBlock { first: self.open_first, parts: 1 };
        if self.open.len() > BLOCK_LEN_MAX {
            block.parts = self.close_oversized();
        }
        block
    }

    /// The finished blocks, in order, the first with the key `first`.
    pub(crate) fn finish(mut self, first: BlockKey) -> Vec<(BlockKey, Vec<u8>)> {
        self.close_block();
        let blocks_in_group = self.blocks.len() as u32;
        let finish = |(index, (mut header, mut bytes)): (usize, (Header, Vec<u8>))| {
            header.block_in_group = index as u32;
            header.blocks_in_group = blocks_in_group;
            header.write(&mut bytes[..HEADER_LEN]);
            (first.plus(index as u64), bytes)
        };
        self.blocks.into_iter().enumerate().map(finish).collect()
    }

    fn close_block(&mut self) {
        if self.open.len() > HEADER_LEN {
            let bytes = std::mem::replace(&mut self.open, new_block());
            self.push_block(0, 1, bytes);
            self.begin_block();
        }
    }

    /// Splits the one record of the open block, which is larger than a block, into parts.
    fn close_oversized(&mut self) -> u16 {
        let bytes = std::mem::replace(&mut self.open, new_block());
        let chunks = bytes[HEADER_LEN..].chunks(BODY_LEN_MAX);
        let parts = chunks.len() as u16;
        for (part, chunk) in chunks.enumerate() {
            let mut part_bytes = vec![0; HEADER_LEN];
            part_bytes.extend_from_slice(chunk);
            self.push_block(part as u16, parts, part_bytes);
        }
        self.begin_block();
        parts
    }

    fn begin_block(&mut self) {
        self.open_first = self.next;
        self.open_hash_before = self.hash;
    }

    fn push_block(&mut self, part: u16, parts: u16, bytes: Vec<u8>) {
        let (compression, bytes) = compressed(&bytes).map_or((PLAIN, bytes), |smaller| (LZ4, smaller));
        let header = Header {
            compression,
            position: self.open_first,
            part,
            parts,
            records: (self.next.get() - self.open_first.get()) as u32,
            body_len: (bytes.len() - HEADER_LEN) as u32,
            block_in_group: 0,
            blocks_in_group: 0,
            hash_before: self.open_hash_before,
            hash_after: self.hash,
        };
        self.blocks.push((header, bytes));
    }
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

/// Reads little-endian fields off the front. The plain readers panic at the end, the `checked` ones do not.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn checked<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.checked().expect("the caller has checked that the fixed part is whole")
    }

    fn text(&mut self, len: usize) -> Option<&'a str> {
        let (text, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        std::str::from_utf8(text).ok()
    }

    fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::codec;
    use crate::record::Origin;

    fn append(payloads: &[&[u8]]) -> Append {
        let events = payloads.iter().zip(1..).map(|(payload, number)| NewEvent {
            id: Uuid::from_u128(0xA000 + number),
            event_type: "dispatch-recorded".into(),
            version: 3,
            codec: codec::BINCODE_2,
            payload: payload.to_vec(),
        });
        Append {
            stream: "dispatch/sffd".parse().expect("a stream"),
            expected: Sequence::new(40),
            expected_id: None,
            epoch: 7,
            origin: Origin {
                principal: Some("ops".into()),
                correlation_id: Some(Uuid::from_u128(0xC0)),
                causation_id: None,
            },
            events: events.collect(),
        }
    }

    fn encode(append: &Append, first: u64, before: Hash) -> (Vec<(BlockKey, Vec<u8>)>, Hash) {
        let mut encoder = GroupEncoder::new(Position::new(first), before);
        for (event, number) in append.events.iter().zip(1..) {
            encoder.push(append, event, append.expected.plus(number), 1_700_000_000_123_456);
        }
        let hash = encoder.hash();
        (encoder.finish(BlockKey::new(0x0203)), hash)
    }

    /// Changing any of these bytes makes every journal in the field unreadable: then a new format version is due.
    #[test]
    fn the_bytes_of_a_block_are_what_the_document_says() {
        let (blocks, hash) = encode(&append(&[b"one", b""]), 1000, Hash([0x11; 32]));
        let [(key, bytes)] = blocks.as_slice() else { panic!("one block, not {}", blocks.len()) };
        assert_eq!(key.to_bytes(), [0, 0, 0, 0, 0, 0, 2, 3]);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
        assert_eq!(hash.to_string(), GOLDEN[2 * 68..2 * 100]);
    }

    #[rustfmt::skip] // one field a line
    const GOLDEN: &str = concat!(
        "49564a42", // magic "IVJB"
        "01000000", // version 1, zeros
        "e803000000000000", // position 1000
        "0000", // part 0
        "0100", // of 1
        "02000000", // 2 records
        "e7000000", // body length
        "00000000", // block 0 of its group
        "01000000", // of 1
        "1111111111111111111111111111111111111111111111111111111111111111", // hash before
        "82df6df48538a7b834eed5c863e1e575c1824998294e6b52e2afe684dfc95a72", // hash after
        "12135773", // CRC-32 of the header
        "6d000000", // record length
        "ee5aab01", // CRC-32 of the record
        "e7010103", // magic E7, version 1, codec 1, flags
        "03000000", // event version 3, zeros
        "07000000", // epoch 7
        "e803000000000000", // position
        "2900000000000000", // sequence
        "40222018240a0600", // recorded at
        "0000000000000000000000000000a001", // event id
        "0d0064697370617463682f73666664", // stream "dispatch/sffd"
        "1164697370617463682d7265636f72646564", // type "dispatch-recorded"
        "03006f7073", // principal "ops"
        "000000000000000000000000000000c0", // correlation id
        "6f6e65", // payload "one"
        "6a000000", // record length
        "af319332", // CRC-32 of the record
        "e7010103", // magic E7, version 1, codec 1, flags
        "03000000", // event version 3, zeros
        "07000000", // epoch 7
        "e903000000000000", // position
        "2a00000000000000", // sequence
        "40222018240a0600", // recorded at
        "0000000000000000000000000000a002", // event id
        "0d0064697370617463682f73666664", // stream "dispatch/sffd"
        "1164697370617463682d7265636f72646564", // type "dispatch-recorded"
        "03006f7073", // principal "ops"
        "000000000000000000000000000000c0", // correlation id
    );

    #[test]
    fn the_chain_can_be_followed_with_nothing_but_sha_256() {
        let (blocks, hash) = encode(&append(&[b"one", b"", b"three"]), 1, Hash::GENESIS);
        let mut body = &blocks[0].1[104..];
        let mut chain = [0u8; 32];
        while !body.is_empty() {
            let len = u32::from_le_bytes([body[0], body[1], body[2], body[3]]) as usize;
            chain = Sha256::new().chain_update(chain).chain_update(&body[8..8 + len]).finalize().into();
            body = &body[8 + len..];
        }
        assert_eq!(chain, hash.0);
    }

    #[test]
    fn what_is_encoded_is_read_back_whatever_its_size() {
        let room = BODY_LEN_MAX - frame_len(&append(&[b""]), &append(&[b""]).events[0]);
        let large = vec![5; 3 * BLOCK_LEN_MAX];
        let sizes: [&[usize]; 6] =
            [&[0], &[room], &[room + 1], &[1, room, 1], &[large.len()], &[1, large.len(), 1, room / 2, room / 2, room]];
        for sizes in sizes {
            let payloads: Vec<&[u8]> = sizes.iter().map(|&size| &large[..size]).collect();
            let append = append(&payloads);
            let (blocks, hash) = encode(&append, 1, Hash::GENESIS);
            let mut seen = Vec::new();
            let mut body = Vec::new();
            for (index, (key, bytes)) in blocks.iter().enumerate() {
                assert_eq!(key.get(), 0x0203 + index as u64, "{sizes:?}");
                assert!(bytes.len() <= BLOCK_LEN_MAX, "{sizes:?}");
                let block = Block::parse(Position::FIRST, bytes).expect("its own bytes");
                assert_eq!(block.header.block_in_group as usize, index, "{sizes:?}");
                assert_eq!(block.header.ends_group(), index + 1 == blocks.len(), "{sizes:?}");
                body.extend_from_slice(&block.body);
                if block.header.part + 1 == block.header.parts {
                    let frames = Frames::new(&body, block.header.position);
                    seen.extend(frames.map(|frame| frame.expect("its own bytes").1.payload.to_vec()));
                    body.clear();
                }
            }
            assert_eq!(seen, payloads, "{sizes:?}");
            assert_eq!(
                Block::parse(Position::FIRST, &blocks.last().expect("some").1).expect("its own").header.hash_after,
                hash
            );
        }
    }

    #[test]
    fn a_body_is_compressed_when_that_makes_it_smaller_by_an_eighth() {
        let mut state = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(8_000)
        .collect();
        let mostly_noise = [&noise[..], &[0; 1_000]].concat();
        let cases: [(&[u8], bool); 5] =
            [(&noise, false), (&mostly_noise, false), (&[9; 8_000], true), (&[9; 500], false), (&[9; 50_000], true)];
        for (payload, is_compressed) in cases {
            let append = append(&[payload]);
            let (blocks, hash) = encode(&append, 1, Hash::GENESIS);
            let stored: usize = blocks.iter().map(|(_, bytes)| bytes.len()).sum();
            assert_eq!(stored < payload.len() / 2, is_compressed, "{} bytes as {stored}", payload.len());
            let mut body = Vec::new();
            for (_, bytes) in &blocks {
                body.extend_from_slice(&Block::parse(Position::FIRST, bytes).expect("its own bytes").body);
            }
            let (bytes, record) = Frames::new(&body, Position::FIRST).next().expect("one").expect("sound");
            assert_eq!(record.payload, payload);
            assert_eq!(Hash::GENESIS.then(bytes), hash, "the chain does not know how bodies are stored");
        }
    }

    /// Written by hand after the description of LZ4 blocks: whoever compresses later, this has to be read for ever.
    #[test]
    fn a_compressed_body_is_lz4_as_the_document_says() {
        // One literal, a match of 14 bytes one back, five literals.
        let body = [0x1A, b'a', 1, 0, 0x50, b'b', b'c', b'd', b'e', b'f'];
        let stored =
            |len: u32, body: &[u8]| [&len.to_le_bytes()[..], &crc32fast::hash(body).to_le_bytes(), body].concat();
        assert_eq!(decompressed(&stored(20, &body)).expect("sound"), b"aaaaaaaaaaaaaaabcdef");
        for len in [0, 19, 21, BODY_LEN_MAX as u32, BODY_LEN_MAX as u32 + 1, u32::MAX] {
            assert_eq!(decompressed(&stored(len, &body)), None, "{len}");
        }
        for cut in 0..body.len() {
            assert_eq!(decompressed(&stored(20, &body[..cut])), None, "cut to {cut}");
            assert_eq!(decompressed(&stored(20, &body)[..8 + cut]), None, "cut to {cut}, checksum of the whole");
        }
    }

    #[test]
    fn whatever_the_bytes_are_reading_them_never_panics() {
        let (blocks, _) = encode(&append(&[b"one"]), 1, Hash::GENESIS);
        let record = &blocks[0].1[HEADER_LEN + FRAME_PREFIX_LEN..];
        assert!(parse_record(record).is_some());
        for len in 0..record.len() - b"one".len() {
            assert_eq!(parse_record(&record[..len]), None, "cut to {len}");
        }
        for at in 0..record.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = record.to_vec();
                changed[at] = value;
                let _ = parse_record(&changed);
            }
        }
    }

    #[test]
    fn keys_sort_like_their_numbers() {
        let keys: Vec<BlockKey> = [0, 1, 2, 255, 256, 1 << 40, u64::MAX].map(BlockKey::new).into();
        assert!(keys.is_sorted_by(|a, b| a < b && a.to_bytes() < b.to_bytes()));
        for key in keys {
            assert_eq!(BlockKey::from_bytes(&key.to_bytes()), Some(key));
        }
        assert_eq!(BlockKey::from_bytes(&[0; 9]), None);
    }
}
