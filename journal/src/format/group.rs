//! The events of a group packed into blocks.

use super::record::{Place, frame_len, write_frame};
use super::{BLOCK_LEN_MAX, BODY_LEN_MAX, BlockKey, HEADER_LEN, Header, LZ4, PLAIN, compress};
use crate::chain::Hash;
use crate::position::{Position, Sequence};
use crate::record::{Append, NewEvent};

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

/// A block that gets no more events. How many there are in its group is not known yet, so it has no header.
pub(crate) struct ClosedBlock {
    header: Header,
    /// With room for the header in front.
    bytes: Vec<u8>,
    /// Whether it was tried to compress the body.
    is_packed: bool,
}

impl ClosedBlock {
    /// Compresses the body if that makes it smaller, and if it was not tried before.
    pub(crate) fn pack(&mut self) {
        if !std::mem::replace(&mut self.is_packed, true) && compress(&mut self.bytes) {
            self.header.compression = LZ4;
            self.header.body_len = (self.bytes.len() - HEADER_LEN) as u32;
        }
    }
}

/// Packs the events of one group into blocks and carries the chain along.
pub(crate) struct GroupEncoder {
    blocks: Vec<ClosedBlock>,
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

    /// The blocks that are closed. Whoever takes some gives them back when the group is finished.
    pub(crate) fn closed(&mut self) -> &mut Vec<ClosedBlock> {
        &mut self.blocks
    }

    /// The finished blocks, in order, the first with the key `first`. `taken` are all that were taken before.
    pub(crate) fn finish(mut self, mut taken: Vec<ClosedBlock>, first: BlockKey) -> Vec<(BlockKey, Vec<u8>)> {
        self.close_block();
        taken.append(&mut self.blocks);
        let blocks_in_group = taken.len() as u32;
        let finish = |(index, mut block): (usize, ClosedBlock)| {
            block.pack();
            let ClosedBlock { mut header, mut bytes, .. } = block;
            header.block_in_group = index as u32;
            header.blocks_in_group = blocks_in_group;
            header.write(&mut bytes[..HEADER_LEN]);
            (first.plus(index as u64), bytes)
        };
        taken.into_iter().enumerate().map(finish).collect()
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
        let header = Header {
            compression: PLAIN,
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
        self.blocks.push(ClosedBlock { header, bytes, is_packed: false });
    }
}
