//! Walking over the records of a store, with every check that a single pass can make.

use std::ops::ControlFlow;

use crate::chain::Hash;
use crate::error::{Damage, Error};
use crate::format::{Block, BlockKey, Frames, Header};
use crate::index::BlockAt;
use crate::position::Position;
use crate::record::Record;
use crate::store::Store;

/// What a walk calls for each record: with the header of its block, its bytes as they enter the chain, and the record.
pub(crate) type Visit<'a> = dyn FnMut(&Header, &[u8], &Record<'_>) -> Result<ControlFlow<()>, Damage> + 'a;

/// Walks over blocks and hands out each record with its bytes and the header of its block (for a record in parts, that of
/// the last part). Checks that positions follow one another, that each block continues the chain of the one before, and
/// that parts and groups are whole.
pub(crate) struct Walk {
    /// Where the scan begins: before the first key when the walk covers the whole, to meet what does not belong.
    begin: BlockKey,
    /// Whether the store may not take any shortcut.
    is_strict: bool,
    /// The key of the next block.
    next_key: BlockKey,
    /// Blocks that begin beyond it are not looked at: while a journal runs, they may be half written.
    last: Position,
    /// Where the next record belongs.
    pub(crate) next: Position,
    /// The chain after the last block; unknown at the start of a walk that begins in the middle.
    pub(crate) hash: Option<Hash>,
    pub(crate) blocks: u64,
    /// The keys of the last group, while it is not whole.
    open_group: Vec<BlockKey>,
    /// Where the last group begins.
    group_position: Position,
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
            begin: BlockKey::new(0),
            hash: Some(Hash::GENESIS),
            group: Some((0, 0)),
            ..Walk::between(BlockAt::FIRST, Position::MAX)
        }
    }

    /// Over the blocks from `first` to the one that holds `last`.
    pub(crate) fn between(first: BlockAt, last: Position) -> Self {
        Walk {
            begin: first.key,
            is_strict: false,
            next_key: first.key,
            last,
            next: first.position,
            hash: None,
            blocks: 0,
            open_group: Vec::new(),
            group_position: first.position,
            group: None,
            parts: Vec::new(),
            parts_seen: 0,
            parts_len: 0,
            stopped: false,
        }
    }

    /// The same walk, past every shortcut of the store.
    pub(crate) fn strict(self) -> Self {
        Walk { is_strict: true, ..self }
    }

    /// The same walk, but no further than `last`; it is damage when the store ends before.
    pub(crate) fn until(self, last: Position) -> Self {
        Walk { last, ..self }
    }

    /// Walks until the end, a break, or damage, which is returned as an error.
    pub(crate) fn run(&mut self, store: &dyn Store, visit: &mut Visit<'_>) -> Result<(), Error> {
        let mut damage = None;
        let (begin, is_strict) = (self.begin, self.is_strict);
        let mut block = |key, bytes: &[u8]| {
            if self.next > self.last {
                return ControlFlow::Break(());
            }
            self.block(key, bytes, visit).unwrap_or_else(|found| {
                damage = Some(found);
                ControlFlow::Break(())
            })
        };
        let scanned = if is_strict { store.scan_strictly(begin, &mut block) } else { store.scan(begin, &mut block) };
        scanned.map_err(|error| error.at(self.next))?;
        if damage.is_none() && !self.stopped && self.last < Position::MAX && self.next <= self.last {
            damage = Some(self.missing_until(self.last));
        }
        damage.map_or(Ok(()), |found| Err(found.into()))
    }

    fn block(&mut self, key: BlockKey, bytes: &[u8], visit: &mut Visit<'_>) -> Result<ControlFlow<()>, Damage> {
        let Block { header, body } = Block::parse(self.next, bytes)?;
        self.check_place(key, &header)?;
        self.next_key = key.plus(1);
        self.blocks += 1;
        if header.parts == 1 {
            return self.records(&header, &body, visit);
        }
        self.parts.extend_from_slice(&body);
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
        let is_vouched_for = !self.is_strict && header.parts == 1 && header.vouches_for_body();
        let frames_of = if is_vouched_for { Frames::vouched_for } else { Frames::new };
        let mut frames = frames_of(body, header.position);
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

    fn check_place(&mut self, key: BlockKey, header: &Header) -> Result<(), Damage> {
        // Whatever else is wrong with the block, this is where one was expected.
        let position = self.next;
        let damage = |problem: &str| Err(Damage { position, problem: problem.into() });
        if header.position > position {
            return Err(self.missing_until(Position::new(header.position.get() - 1)));
        }
        if (header.position, header.part) != (position, self.parts_seen) {
            return damage("a block stands here twice, or a part of a record is missing");
        }
        if key != self.next_key {
            return damage(&format!("the block has number {}, the next one is {}", key.get(), self.next_key.get()));
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
        if self.open_group.is_empty() {
            self.group_position = position;
        }
        self.open_group.push(key);
        Ok(())
    }

    fn missing_until(&self, last: Position) -> Damage {
        let problem = match self.next {
            next if next == last => "the event is missing".to_owned(),
            next => format!("the events {next} to {last} are missing"),
        };
        Damage { position: self.next, problem }
    }

    /// The keys of the last group and where it begins, if it is not whole: a write that a crash cut short, and that nobody
    /// was told of.
    pub(crate) fn unfinished_group(&self) -> Option<(&[BlockKey], Position)> {
        (!self.open_group.is_empty()).then_some((&self.open_group, self.group_position))
    }
}

/// Reads the whole body of a block, of all its parts if there are several, and hands it on.
pub(crate) fn read_block<T>(
    store: &dyn Store,
    block: BlockAt,
    visit: impl FnOnce(&Header, &[u8]) -> T,
) -> Result<T, Error> {
    let BlockAt { key, position } = block;
    let mut whole: Vec<u8> = Vec::new();
    let mut visit = Some(visit);
    let mut answer = None;
    let mut parts = 1;
    let mut part = 0;
    while part < parts {
        let mut step = Ok(());
        let found = store.read(key.plus(part.into()), &mut |bytes| {
            step = Block::parse(position, bytes).and_then(|Block { header, body }| {
                if (header.position, header.part) != (position, part) {
                    let problem = format!("the block stored here is that of position {}", header.position);
                    return Err(Damage { position, problem });
                }
                parts = header.parts;
                if parts == 1 {
                    answer = visit.take().map(|visit| visit(&header, &body));
                    return Ok(());
                }
                whole.extend_from_slice(&body);
                if part + 1 == parts {
                    answer = visit.take().map(|visit| visit(&header, &whole));
                }
                Ok(())
            });
        });
        let found = found.map_err(|error| error.at(position))?;
        step?;
        if !found {
            return Err(Damage { position, problem: "the block is missing".into() }.into());
        }
        part += 1;
    }
    Ok(answer.expect("a block has at least one part, and the last one gives the answer"))
}
