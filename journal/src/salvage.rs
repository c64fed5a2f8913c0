//! Reading blocks out of the store's files without sled: for saying where damage lies when sled only says that there is some.
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
use crate::store::{REDO_FILE, Store, read_up_to, redo};

/// The blocks that lie in sled's file and in the redo log, as a store that can only be read. Their keys are not in them: it
/// numbers those that it finds.
pub(crate) struct Salvaged {
    file: File,
    /// By the position of their first record and the part of it that they are.
    found: BTreeMap<(Position, u16), Place>,
    /// The same, in that order.
    blocks: Vec<Place>,
    /// The first position of which some copy is damaged, whether or not another one is sound.
    pub(crate) first_damaged_copy: Option<Position>,
}

#[derive(Debug, Clone)]
enum Place {
    InFile {
        offset: u64,
        len: usize,
        is_sound: bool,
    },
    /// From the redo log, which has a checksum of its own.
    Latest(Vec<u8>),
}

impl Place {
    fn is_sound(&self) -> bool {
        matches!(self, Place::InFile { is_sound: true, .. } | Place::Latest(_))
    }

    fn len(&self) -> usize {
        match self {
            Place::InFile { len, .. } => *len,
            Place::Latest(bytes) => bytes.len(),
        }
    }
}

impl Salvaged {
    /// Looks through the files of a store.
    pub(crate) fn open(store: &Path) -> io::Result<Self> {
        let file = File::open(store.join("db"))?;
        let mut salvaged = Salvaged { file, found: BTreeMap::new(), blocks: Vec::new(), first_damaged_copy: None };
        let mut segment = vec![0; SLED_SEGMENT_LEN];
        let mut offset = 0;
        // No value reaches over the end of a segment.
        loop {
            let len = read_up_to(&salvaged.file, &mut segment, offset)?;
            if len == 0 {
                break;
            }
            salvaged.take_segment(&segment[..len], offset);
            offset += len as u64;
        }
        for (_, bytes) in redo::blocks_in(&store.join(REDO_FILE))? {
            let header = bytes.get(..HEADER_LEN).and_then(Header::read);
            if let Some(header) = header {
                salvaged.found.insert((header.position, header.part), Place::Latest(bytes));
            }
        }
        salvaged.blocks = std::mem::take(&mut salvaged.found).into_values().collect();
        Ok(salvaged)
    }

    fn take_segment(&mut self, segment: &[u8], offset: u64) {
        let mut at = 0;
        while let Some(found) = find_magic(&segment[at..]) {
            let start = at + found;
            at = start + 1;
            let Some(header) = segment.get(start..start + HEADER_LEN).and_then(Header::read) else { continue };
            let len = HEADER_LEN + header.body_len as usize;
            let Some(bytes) = segment.get(start..start + len) else { continue };
            let place_of = (header.position, header.part);
            let damaged_at = damaged_at(header.position, bytes);
            let place = Place::InFile { offset: offset + start as u64, len, is_sound: damaged_at.is_none() };
            let kept = self.found.entry(place_of).or_insert_with(|| place.clone()).clone();
            if place.is_sound() && !kept.is_sound() {
                self.found.insert(place_of, place);
            }
            // Of a part alone one cannot tell, but two copies of it have to be the same.
            let differs = header.parts > 1 && self.bytes_of(&kept).is_ok_and(|kept| kept != bytes);
            if let Some(position) = damaged_at.or(differs.then_some(header.position)) {
                self.first_damaged_copy = Some(self.first_damaged_copy.map_or(position, |first| first.min(position)));
            }
        }
    }

    fn bytes_of(&self, place: &Place) -> Result<Vec<u8>, Error> {
        let (offset, len) = match place {
            Place::Latest(bytes) => return Ok(bytes.clone()),
            Place::InFile { offset, len, .. } => (*offset, *len),
        };
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, offset).map_err(|error| Error::io("reading sled's file", error))?;
        Ok(bytes)
    }
}

/// The first position in a block that is wrong by all that can be told without its neighbours. A part of a record is only
/// known whole.
fn damaged_at(position: Position, bytes: &[u8]) -> Option<Position> {
    let Ok(Block { header, body }) = Block::parse(position, bytes) else { return Some(position) };
    if header.parts > 1 {
        return None;
    }
    let mut hash = header.hash_before;
    let mut frames = Frames::new(&body, position);
    for frame in frames.by_ref() {
        match frame {
            Ok((bytes, _)) => hash = hash.then(bytes),
            Err(damage) => return Some(damage.position),
        }
    }
    let is_whole = frames.position() == header.next_position();
    (!is_whole || hash != header.hash_after).then_some(position)
}

fn find_magic(bytes: &[u8]) -> Option<usize> {
    bytes.windows(BLOCK_MAGIC.len()).position(|window| window == BLOCK_MAGIC)
}

impl Store for Salvaged {
    fn name(&self) -> &'static str {
        "salvaged"
    }

    fn commit(&self, _: Vec<(BlockKey, Vec<u8>)>) -> Result<(), Error> {
        Err(Error::Closed)
    }

    fn read(&self, key: BlockKey, visit: &mut dyn FnMut(&[u8])) -> Result<bool, Error> {
        let Some(place) = key.get().checked_sub(1).and_then(|at| self.blocks.get(at as usize)) else {
            return Ok(false);
        };
        visit(&self.bytes_of(place)?);
        Ok(true)
    }

    fn scan(&self, from: BlockKey, visit: &mut dyn FnMut(BlockKey, &[u8]) -> ControlFlow<()>) -> Result<(), Error> {
        let begin = from.get().saturating_sub(1);
        for (place, number) in self.blocks.iter().zip(1..).skip(begin as usize) {
            if visit(BlockKey::new(number), &self.bytes_of(place)?).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn remove(&self, _: &[BlockKey]) -> Result<(), Error> {
        Err(Error::Closed)
    }

    fn bytes(&self) -> u64 {
        self.blocks.iter().map(|place| place.len() as u64).sum()
    }
}
