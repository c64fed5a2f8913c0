//! For those who test: a suite that every engine has to pass, a store that fails on purpose, and what both are made of.
//!
//! Behind the feature `testing`, since none of it belongs into a product. [`conformance`] says what a journal promises,
//! one function a promise; [`FaultyStore`] is a disk that fails, tears, fills up and loses its power when it is told to.

pub mod bytes;
pub mod conformance;

mod faulty;
mod random;

pub use faulty::{Blocks, Fault, FaultyStore, Held};
pub use random::Random;

use uuid::Uuid;

use crate::codec;
use crate::position::Sequence;
use crate::record::{Append, NewEvent, Origin};

/// An event whose id and payload follow from `number`. No compression makes the payload smaller.
pub fn event(number: u64, payload_len: usize) -> NewEvent {
    let mut random = Random::new(number);
    with_payload(number, (0..payload_len).map(|_| random.below(256) as u8).collect())
}

/// As [`event`], with a payload that compression makes much smaller.
pub fn repetitive_event(number: u64, payload_len: usize) -> NewEvent {
    with_payload(number, (0..payload_len).map(|at| (at as u64 * 7 + number * 31) as u8).collect())
}

fn with_payload(number: u64, payload: Vec<u8>) -> NewEvent {
    NewEvent {
        id: Uuid::from_u128(number.into()),
        event_type: "tested".into(),
        version: 1,
        codec: codec::BINCODE_2,
        payload,
    }
}

/// An append of some events after `expected`, by epoch 1.
///
/// # Panics
/// When `stream` is no address.
#[track_caller]
pub fn append_to(stream: &str, expected: u64, events: Vec<NewEvent>) -> Append {
    Append {
        stream: stream.parse().expect("a valid stream"),
        expected: Sequence::new(expected),
        expected_id: None,
        epoch: 1,
        origin: Origin::default(),
        events,
    }
}
