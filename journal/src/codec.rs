//! How payloads are encoded. The codec's number is stored with every event, so that several can live side by side.
//!
//! bincode is not self-describing: swapped fields or reordered variants decode without an error. What a payload is
//! comes from the event type and version beside it, never from its bytes.

mod bounded;

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::bounded::Bounded;

/// bincode 2, standard configuration (little-endian, variable-length integers).
pub const BINCODE_2: u8 = 1;

/// Why bytes are not the value they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The codec's number is not one of this release.
    #[error("codec {0} is not known")]
    UnknownCodec(u8),
    /// The event type, or this version of it, is not one of this release.
    #[error("event type {event_type} version {version} is not known")]
    UnknownType {
        /// The type's name.
        event_type: String,
        /// Its version.
        version: u16,
    },
    /// The bytes are no such value.
    #[error("the bytes are no such value ({0})")]
    Malformed(String),
    /// The value ends before the bytes do.
    #[error("{0} bytes are left over after the value")]
    LeftOver(usize),
}

/// Encodes a value with [`BINCODE_2`].
///
/// # Panics
/// When the value cannot be encoded at all: a map of unknown length, or `skip_serializing_if`. That is a mistake in
/// the type, which every test of it meets.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Room for most events: grown from nothing, their bytes would move four times.
    let mut bytes = Vec::with_capacity(128);
    bincode::serde::encode_into_std_write(value, &mut bytes, bincode::config::standard())
        .expect("stored types are plain structs and enums");
    bytes
}

/// Decodes a value that `codec` encoded. Every byte must be used.
///
/// It takes no more memory than the value needs that the bytes really hold, whatever lengths they claim.
///
/// # Errors
/// When the codec is unknown or the bytes are no such value. Never panics, whatever the bytes are.
pub fn decode<T: DeserializeOwned>(codec: u8, bytes: &[u8]) -> Result<T, DecodeError> {
    if codec != BINCODE_2 {
        return Err(DecodeError::UnknownCodec(codec));
    }
    // Without bincode's own limit: it counts every integer with its full width and would refuse sound values.
    let seed = Bounded(PhantomData::<T>);
    let (value, used) = bincode::serde::seed_decode_from_slice(seed, bytes, bincode::config::standard())
        .map_err(|error| DecodeError::Malformed(error.to_string()))?;
    match bytes.len() - used {
        0 => Ok(value),
        left => Err(DecodeError::LeftOver(left)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_survives_and_nothing_else_is_taken_for_one() {
        let value = (7u8, "north".to_owned(), vec![1.5f64, 2.5]);
        let bytes = encode(&value);
        assert_eq!(decode::<(u8, String, Vec<f64>)>(BINCODE_2, &bytes), Ok(value));
        assert_eq!(decode::<(u8, String)>(BINCODE_2, &bytes), Err(DecodeError::LeftOver(17)));
        assert_eq!(decode::<u8>(9, &bytes), Err(DecodeError::UnknownCodec(9)));
        for len in 0..bytes.len() {
            assert!(decode::<(u8, String, Vec<f64>)>(BINCODE_2, &bytes[..len]).is_err(), "cut at {len}");
        }
    }
    /// bincode's limit counted an integer as wide as it may be: what had been encoded could not be decoded again.
    #[test]
    fn many_small_numbers_are_read_back() {
        let value: Vec<u64> = (0..3_000_000).map(|n| n % 200).collect();
        assert!(decode::<Vec<u64>>(BINCODE_2, &encode(&value)).is_ok_and(|decoded| decoded == value));
    }

    #[test]
    fn every_sort_of_value_is_read_back() {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        enum Sort {
            Unit,
            New(Box<Sort>),
            Pair(i8, char),
            Fields { text: String, bytes: Vec<u8> },
        }
        type Value = (Vec<Sort>, std::collections::BTreeMap<String, Option<f32>>, [u16; 3], (), u128, i128);
        let sorts = vec![
            Sort::Unit,
            Sort::New(Box::new(Sort::New(Box::new(Sort::Unit)))),
            Sort::Pair(-7, 'é'),
            Sort::Fields { text: "north".into(), bytes: vec![0, 255] },
        ];
        let map = [("a".to_owned(), Some(1.5)), ("b".to_owned(), None)].into();
        let value: Value = (sorts, map, [1, 300, 65_535], (), u128::MAX, i128::MIN);
        let bytes = encode(&value);
        assert_eq!(decode::<Value>(BINCODE_2, &bytes), Ok(value));
        for len in 0..bytes.len() {
            assert!(decode::<Value>(BINCODE_2, &bytes[..len]).is_err(), "cut at {len}");
        }
    }
}
