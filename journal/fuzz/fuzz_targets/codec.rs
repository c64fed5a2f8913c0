//! Any bytes decode to a value or an error. What is a value is encoded to a value that is the same again.

#![no_main]

use std::collections::BTreeMap;

use ionveil_journal::codec::{BINCODE_2, decode, encode};
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};

/// Everything that a stored type is made of.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Anything {
    Unit,
    Number(u64),
    Signed(i128),
    Fields { text: String, maybe: Option<(f64, f32)>, flag: bool, letter: char },
    List(Vec<String>),
    Bytes(Vec<u8>),
    Map(BTreeMap<u16, Vec<i32>>),
    Array([u16; 3], ()),
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(values) = decode::<Vec<Anything>>(BINCODE_2, bytes) {
        let again = encode(&values);
        let twice = decode::<Vec<Anything>>(BINCODE_2, &again).expect("its own bytes");
        // By their bytes, since some numbers are no numbers.
        assert_eq!(encode(&twice), again);
    }
});
