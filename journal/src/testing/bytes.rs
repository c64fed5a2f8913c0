//! The readers of stored bytes, for fuzzing: whatever the bytes are, they give a value or an error.

use crate::error::Damage;
use crate::format::{Block, Frames};
use crate::position::Position;

/// Reads bytes as the block that begins at `position` and, if it is one of whole records, every record in it. Returns how many
/// records were read.
///
/// # Errors
/// When the bytes are no such block, or a record in it is damaged.
pub fn read_block(position: Position, bytes: &[u8]) -> Result<usize, Damage> {
    let Block { header, body } = Block::parse(position, bytes)?;
    if header.parts > 1 { Ok(0) } else { read_records(header.position, &body) }
}

/// Reads bytes as records with their lengths and checksums, the first at `position`. Returns how many there are.
///
/// # Errors
/// When one of them is damaged.
pub fn read_records(position: Position, bytes: &[u8]) -> Result<usize, Damage> {
    let mut count = 0;
    for frame in Frames::new(bytes, position) {
        frame?;
        count += 1;
    }
    Ok(count)
}

/// Puts the right checksum into a block's header and into the compressed body, or the first record, behind it, so that a fuzzer gets past them.
pub fn with_checksums(mut block: Vec<u8>) -> Vec<u8> {
    crate::format::put_checksums(&mut block);
    block
}
