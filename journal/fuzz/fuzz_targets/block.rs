//! Any bytes are a block with so many records, or damage.

#![no_main]

use ionveil_journal::Position;
use ionveil_journal::testing::bytes::{read_block, read_records, with_checksums};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let number = bytes.get(8..16).and_then(|at| at.try_into().ok()).map_or(1, u64::from_le_bytes);
    let position = Position::new(number);
    let _ = read_records(position, bytes);
    let _ = read_block(position, bytes);
    // Behind the checksums, which a fuzzer does not guess, lies what they protect.
    let _ = read_block(position, &with_checksums(bytes.to_vec()));
});
