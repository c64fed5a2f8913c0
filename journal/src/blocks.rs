//! Walking over the records of a store, with every check that a single pass can make.

use std::ops::ControlFlow;

use crate::chain::Hash;
use crate::error::{Damage, Error};
use crate::format::{Block, BlockKey, Frames, Header};
use crate::position::Position;
use crate::record::Record;
use crate::store::Store;

/// What a walk calls for each record: with the header of its block, its bytes as they enter the chain, and the record.
pub(crate) type Visit<'a> = dyn FnMut(&Header, &[u8], &Record<'_>) -> Result<ControlFlow<()>, Damage> + 'a;

/// Walks over blocks and hands out each record with its bytes and the header of its block (for a record in parts, that of
/// the last part). Checks that positions follow one another, that each block continues the chain of the one before, and
/// that parts and groups are whole.
pub(crate) struct Walk {
    /// Where the scan begins: before the first position when the walk covers the whole, to meet what does not belong.
    begin: Position,
    /// Blocks that begin beyond it are not looked at: while a journal runs, they may be half written.
    last: Position,
    /// Where the next record belongs.
    pub(crate) next: Position,
    /// The chain after the last block; unknown at the start of a walk that begins in the middle.
    pub(crate) hash: Option<Hash>,
    pub(crate) blocks: u64,
    /// The keys of the last group, while it is not whole.
    open_group: Vec<BlockKey>,
    /// Which block of its group comes next, and of how many; unknown at the start of a walk that begins in the middle.
    group: Option<(u32, u32)>,
    parts: Vec<u8>,
    parts_seen: u16,
    parts_len: u16,
    stopped: bool,
}

impl Walk {
    /// Over everything that the store holds.
    pub(crate) fn whole() -> Self {
        Walk {
            begin: Position::NONE,
            hash: Some(Hash::GENESIS),
            group: Some((0, 0)),
            ..Walk::between(Position::FIRST, Position::MAX)
        }
    }

    /// Over the blocks from the one that begins at `first` to the one that holds `last`.
    pub(crate) fn between(first: Position, last: Position) -> Self {
        Walk {
            begin: first,
            last,
            next: first,
            hash: None,
            blocks: 0,
            open_group: Vec::new(),
            group: None,
            parts: Vec::new(),
            parts_seen: 0,
            parts_len: 0,
            stopped: false,
        }
    }

    /// The same walk, but no further than `last`; it is damage when the store ends before.
    pub(crate) fn until(self, last: Position) -> Self {
        Walk { last, ..self }
    }

    /// Walks until the end, a break, or damage, which is returned as an error.
    pub(crate) fn run(&mut self, store: &dyn Store, visit: &mut Visit<'_>) -> Result<(), Error> {
        let mut damage = None;
        store.scan(BlockKey::first(self.begin), &mut |key, bytes| {
            if key.position > self.last {
                return ControlFlow::Break(());
            }
            self.block(key, bytes, visit).unwrap_or_else(|found| {
                damage = Some(found);
                ControlFlow::Break(())
            })
        })?;
        if damage.is_none() && !self.stopped && self.last < Position::MAX && self.next <= self.last {
            damage = Some(self.missing_until(self.last));
        }
        damage.map_or(Ok(()), |found| Err(found.into()))
    }

    fn block(&mut self, key: BlockKey, bytes: &[u8], visit: &mut Visit<'_>) -> Result<ControlFlow<()>, Damage> {
        let Block { header, body } = Block::parse(key, bytes)?;
        self.check_place(&header)?;
        self.blocks += 1;
        if header.parts == 1 {
            return self.records(&header, body, visit);
        }
        self.parts.extend_from_slice(body);
        self.parts_seen += 1;
        self.parts_len = header.parts;
        if self.parts_seen < header.parts {
            return Ok(ControlFlow::Continue(()));
        }
        let whole = std::mem::take(&mut self.parts);
        self.parts_seen = 0;
        self.records(&header, &whole, visit)
    }

    fn records(&mut self, header: &Header, body: &[u8], visit: &mut Visit<'_>) -> Result<ControlFlow<()>, Damage> {
        let mut frames = Frames::new(body, header.key.position);
        for frame in frames.by_ref() {
            let (bytes, record) = frame?;
            if visit(header, bytes, &record)?.is_break() {
                self.stopped = true;
                return Ok(ControlFlow::Break(()));
            }
        }
        if frames.position() != header.next_position() {
            let problem = format!("the block should hold {} records", header.records);
            return Err(Damage { position: frames.position(), problem });
        }
        self.next = header.next_position();
        self.hash = Some(header.hash_after);
        if header.ends_group() {
            self.open_group.clear();
            self.group = Some((0, 0));
        }
        Ok(ControlFlow::Continue(()))
    }

    fn check_place(&mut self, header: &Header) -> Result<(), Damage> {
        let position = header.key.position;
        let damage = |problem: &str| Err(Damage { position, problem: problem.into() });
        if position > self.next {
            return Err(self.missing_until(Position::new(position.get() - 1)));
        }
        if (position, header.key.part) != (self.next, self.parts_seen) {
            return damage("a block stands here twice, or a part of a record is missing");
        }
        if self.parts_seen > 0 && header.parts != self.parts_len {
            return damage("the parts of the record disagree about their number");
        }
        if self.hash.is_some_and(|hash| hash != header.hash_before) {
            return damage("the block does not continue the hash chain of the one before");
        }
        if let Some((next, len)) = self.group
            && (header.block_in_group != next || (next > 0 && header.blocks_in_group != len))
        {
            return damage("the block is not the next one of its group");
        }
        self.group = Some((header.block_in_group + 1, header.blocks_in_group));
        self.open_group.push(header.key);
        Ok(())
    }

    fn missing_until(&self, last: Position) -> Damage {
        let problem = match self.next {
            next if next == last => "the event is missing".to_owned(),
            next => format!("the events {next} to {last} are missing"),
        };
        Damage { position: self.next, problem }
    }

    /// The keys of the last group, if it is not whole: a write that a crash cut short, and that nobody was told of.
    pub(crate) fn unfinished_group(&self) -> Option<&[BlockKey]> {
        (!self.open_group.is_empty()).then_some(&self.open_group)
    }
}

/// Reads the whole body of the block that begins at `position` and hands it on.
pub(crate) fn read_block<T>(
    store: &dyn Store,
    position: Position,
    visit: impl FnOnce(&Header, &[u8]) -> T,
) -> Result<T, Error> {
    let mut whole: Vec<u8> = Vec::new();
    let mut visit = Some(visit);
    let mut answer = None;
    let mut parts = 1;
    let mut part = 0;
    while part < parts {
        let key = BlockKey { position, part };
        let mut step = Ok(());
        let found = store.read(key, &mut |bytes| {
            step = Block::parse(key, bytes).map(|Block { header, body }| {
                parts = header.parts;
                if parts == 1 {
                    answer = visit.take().map(|visit| visit(&header, body));
                    return;
                }
                whole.extend_from_slice(body);
                if part + 1 == parts {
                    answer = visit.take().map(|visit| visit(&header, &whole));
                }
            });
        })?;
        step?;
        if !found {
            return Err(Damage { position, problem: "the block is missing".into() }.into());
        }
        part += 1;
    }
    Ok(answer.expect("a block has at least one part, and the last one gives the answer"))
}
