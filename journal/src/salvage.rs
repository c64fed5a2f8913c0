//! Reading blocks out of sled's file without sled: for saying where damage lies when sled only says that there is some.
//!
//! sled keeps a value in one piece, often in several copies, and every block begins with a magic number and a checksummed
//! header. So the blocks are found by looking at every byte. Of several copies the first sound one counts. Nothing is
//! written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::Error;
use crate::format::{BLOCK_MAGIC, Block, BlockKey, Frames, HEADER_LEN, Header, SLED_SEGMENT_LEN};
use crate::position::Position;
use crate::store::Store;

/// The blocks that lie in a file, as a store that can only be read.
pub(crate) struct Salvaged {
    file: File,
    blocks: BTreeMap<BlockKey, Place>,
    /// The first position of which some copy is damaged, whether or not another one is sound.
    pub(crate) first_damaged_copy: Option<Position>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    offset: u64,
    len: usize,
    is_sound: bool,
}

impl Salvaged {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut salvaged = Salvaged { file, blocks: BTreeMap::new(), first_damaged_copy: None };
        let mut segment = vec![0; SLED_SEGMENT_LEN];
        let mut offset = 0;
        // No value reaches over the end of a segment.
        loop {
            let len = read_up_to(&salvaged.file, &mut segment, offset)?;
            if len == 0 {
                return Ok(salvaged);
            }
            salvaged.take_segment(&segment[..len], offset);
            offset += len as u64;
        }
    }

    fn take_segment(&mut self, segment: &[u8], offset: u64) {
        let mut at = 0;
        while let Some(found) = find_magic(&segment[at..]) {
            let start = at + found;
            at = start + 1;
            let Some(header) = segment.get(start..start + HEADER_LEN).and_then(Header::read) else { continue };
            let len = HEADER_LEN + header.body_len as usize;
            let Some(bytes) = segment.get(start..start + len) else { continue };
            let damaged_at = damaged_at(header.key, bytes);
            let place = Place { offset: offset + start as u64, len, is_sound: damaged_at.is_none() };
            let kept = *self.blocks.entry(header.key).or_insert(place);
            if place.is_sound && !kept.is_sound {
                self.blocks.insert(header.key, place);
            }
            // Of a part alone one cannot tell, but two copies of it have to be the same.
            let differs = header.parts > 1 && self.bytes_of(kept).is_ok_and(|kept| kept != bytes);
            if let Some(position) = damaged_at.or(differs.then_some(header.key.position)) {
                self.first_damaged_copy = Some(self.first_damaged_copy.map_or(position, |first| first.min(position)));
            }
        }
    }

    fn bytes_of(&self, place: Place) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; place.len];
        self.file.read_exact_at(&mut bytes, place.offset).map_err(|error| Error::io("reading sled's file", error))?;
        Ok(bytes)
    }
}

/// The first position in a block that is wrong by all that can be told without its neighbours. A part of a record is only
/// known whole.
fn damaged_at(key: BlockKey, bytes: &[u8]) -> Option<Position> {
    let Ok(Block { header, body }) = Block::parse(key, bytes) else { return Some(key.position) };
    if header.parts > 1 {
        return None;
    }
    let mut hash = header.hash_before;
    let mut frames = Frames::new(body, key.position);
    for frame in frames.by_ref() {
        match frame {
            Ok((bytes, _)) => hash = hash.then(bytes),
            Err(damage) => return Some(damage.position),
        }
    }
    let is_whole = frames.position() == header.next_position();
    (!is_whole || hash != header.hash_after).then_some(key.position)
}

fn find_magic(bytes: &[u8]) -> Option<usize> {
    bytes.windows(BLOCK_MAGIC.len()).position(|window| window == BLOCK_MAGIC)
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

impl Store for Salvaged {
    fn name(&self) -> &'static str {
        "salvaged"
    }

    fn commit(&self, _: Vec<(BlockKey, Vec<u8>)>) -> Result<(), Error> {
        Err(Error::Closed)
    }

    fn read(&self, key: BlockKey, visit: &mut dyn FnMut(&[u8])) -> Result<bool, Error> {
        let Some(&place) = self.blocks.get(&key) else { return Ok(false) };
        visit(&self.bytes_of(place)?);
        Ok(true)
    }

    fn scan(&self, from: BlockKey, visit: &mut dyn FnMut(BlockKey, &[u8]) -> ControlFlow<()>) -> Result<(), Error> {
        for (&key, &place) in self.blocks.range(from..) {
            if visit(key, &self.bytes_of(place)?).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn remove(&self, _: &[BlockKey]) -> Result<(), Error> {
        Err(Error::Closed)
    }

    fn bytes(&self) -> u64 {
        self.blocks.values().map(|place| place.len as u64).sum()
    }
}
