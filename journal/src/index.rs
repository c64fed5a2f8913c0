//! What is where: built in memory while the journal opens, and kept up by the writer. Never stored.

use hashbrown::HashMap;
use uuid::Uuid;

use crate::error::Damage;
use crate::format::{BlockKey, InBlock};
use crate::position::{Position, Sequence};
use crate::stream_id::StreamId;

/// Of each stream its head, its writer, and the blocks it lies in.
///
/// Small, since it grows with the history: 8 bytes a block, and 8 bytes for each stream that a block holds events of.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// The first position of each block, in the order of their keys: the first has key 1.
    blocks: Vec<Position>,
    streams: HashMap<StreamId, StreamEntry>,
}

#[derive(Debug, Default)]
pub(crate) struct StreamEntry {
    pub(crate) head: Sequence,
    /// The last event's id.
    pub(crate) head_id: Uuid,
    pub(crate) epoch: u32,
    blocks: Vec<OfStream>,
}

/// A block that holds events of a stream.
#[derive(Debug, Clone, Copy)]
struct OfStream {
    /// Its place in [`Index::blocks`]; of a record in parts that of the first one.
    number: u32,
    /// The first of the stream's sequences in it; those beyond four billion count as that, and are found by reading on.
    first: u32,
}

fn low(sequence: Sequence) -> u32 {
    u32::try_from(sequence.get()).unwrap_or(u32::MAX)
}

/// Where a block is, or the first part of a record that has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockAt {
    pub(crate) key: BlockKey,
    /// The position of its first record.
    pub(crate) position: Position,
}

impl BlockAt {
    pub(crate) const FIRST: BlockAt = BlockAt { key: BlockKey::FIRST, position: Position::FIRST };
}

/// Of one event, or of several of one stream that follow one another in a block, what the index looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Noted {
    /// Of the first one.
    pub(crate) position: Position,
    pub(crate) first: Sequence,
    /// Of the last one.
    pub(crate) sequence: Sequence,
    pub(crate) id: Uuid,
    pub(crate) epoch: u32,
}

/// What one stream holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSummary {
    /// Its address.
    pub stream: StreamId,
    /// How many events it holds.
    pub events: u64,
    /// The sequence of the last one.
    pub last_sequence: Sequence,
}

impl Index {
    pub(crate) fn get(&self, stream: &str) -> Option<&StreamEntry> {
        // `StreamId` hashes like the text it holds; see its `Borrow`.
        self.streams.get(stream)
    }

    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> u64 {
        self.blocks.len() as u64
    }

    /// The key that the next block gets.
    pub(crate) fn next_key(&self) -> BlockKey {
        BlockKey::FIRST.plus(self.blocks())
    }

    /// Notes one event that lies in `block`, or several.
    pub(crate) fn note(&mut self, block: InBlock, stream: &str, event: Noted) -> Result<(), Damage> {
        let Noted { position, first, sequence, id, epoch } = event;
        let entry = match self.streams.get_mut(stream) {
            Some(entry) => entry,
            None => {
                let id: StreamId =
                    stream.parse().map_err(|_| Damage { position, problem: format!("{stream:?} is no stream") })?;
                self.streams.entry(id).or_default()
            }
        };
        if first != entry.head.plus(1) {
            let problem = format!("stream {stream} goes from sequence {} to {first}", entry.head);
            return Err(Damage { position, problem });
        }
        entry.head = sequence;
        entry.head_id = id;
        entry.epoch = entry.epoch.max(epoch);
        if self.blocks.last() != Some(&block.first) {
            self.blocks.extend(std::iter::repeat_n(block.first, block.parts.into()));
        }
        let number = u32::try_from(self.blocks.len() - usize::from(block.parts))
            .expect("memory ends before four billion blocks");
        if entry.blocks.last().is_none_or(|last| last.number != number) {
            entry.blocks.push(OfStream { number, first: low(first) });
        }
        Ok(())
    }

    /// The block that holds `position`, which is not beyond the end.
    pub(crate) fn block_holding(&self, position: Position) -> BlockAt {
        let after = self.blocks.partition_point(|&first| first <= position);
        let Some(&first) = after.checked_sub(1).and_then(|last| self.blocks.get(last)) else { return BlockAt::FIRST };
        // Of a record in parts it is the first part.
        self.block_at(self.blocks.partition_point(|&other| other < first))
    }

    fn block_at(&self, number: usize) -> BlockAt {
        BlockAt { key: BlockKey::FIRST.plus(number as u64), position: self.blocks[number] }
    }

    /// The blocks that can hold the stream's events `from` to `to`, in order.
    pub(crate) fn blocks_of(&self, stream: &str, from: Sequence, to: Sequence) -> Vec<BlockAt> {
        let Some(entry) = self.get(stream) else { return Vec::new() };
        let begin = entry.blocks.partition_point(|block| block.first <= low(from) && block.first < u32::MAX);
        let end = entry.blocks.partition_point(|block| block.first <= low(to));
        let blocks = &entry.blocks[begin.saturating_sub(1).min(end)..end];
        blocks.iter().map(|block| self.block_at(block.number as usize)).collect()
    }

    /// All streams, by address.
    pub(crate) fn summaries(&self) -> Vec<StreamSummary> {
        let mut all: Vec<StreamSummary> = self
            .streams
            .iter()
            .map(|(stream, entry)| StreamSummary {
                stream: stream.clone(),
                events: entry.head.get(),
                last_sequence: entry.head,
            })
            .collect();
        all.sort_unstable_by(|a, b| a.stream.cmp(&b.stream));
        all
    }
}
