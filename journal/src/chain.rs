//! The hash chain: what makes the journal's history unchangeable once a head hash is known elsewhere.
//!
//! `hash(n) = SHA-256(hash(n − 1) ‖ record n)`, and `hash(0)` is 32 zero bytes. A record's bytes hold its position, so the
//! hash of position n vouches for every event up to n, their order and their number. It does not depend on how records
//! are packed into blocks: storage may be rewritten without changing any hash.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::error::Error;

/// The chain's value after some position. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hash(pub(crate) [u8; Hash::LEN]);

impl Hash {
    /// Length in bytes.
    pub const LEN: usize = 32;
    /// The value before the first event.
    pub const GENESIS: Hash = Hash([0; Hash::LEN]);

    /// The value after one more record.
    #[must_use]
    pub(crate) fn then(self, record: &[u8]) -> Hash {
        let digest = Sha256::new().chain_update(self.0).chain_update(record).finalize();
        Hash(digest.into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = || Error::Invalid {
            field: "hash",
            value: text.chars().take(80).collect::<String>().escape_debug().to_string(),
            allowed: "64 hexadecimal digits".into(),
        };
        if text.len() != 2 * Self::LEN || !text.is_ascii() {
            return Err(refused());
        }
        let mut bytes = [0; Self::LEN];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| refused())?;
            // `from_str_radix` takes a sign, which is no digit of a hash.
            *byte = match digits.as_bytes()[0] {
                b'+' => return Err(refused()),
                _ => u8::from_str_radix(digits, 16).map_err(|_| refused())?,
            };
        }
        Ok(Hash(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_plain_sha_256_so_that_any_tool_can_check_it() {
        // (head -c 32 /dev/zero; printf abc) | sha256sum
        let expected = "365aa7d8f7f9402c4b9434502b4cc89ddb09fe50d7cd95b493b834c62d5a5370";
        let first = Hash::GENESIS.then(b"abc");
        assert_eq!(first.to_string(), expected);
        assert_ne!(first, Hash::GENESIS.then(b"abd"));
        assert_ne!(first.then(b"abc"), first);
        assert_eq!(first.to_string().parse::<Hash>().expect("its own text"), first);
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let long = "0".repeat(65);
        let plus = "+f".repeat(32);
        let odd = "é".repeat(32);
        for text in ["", "00", "zz", long.as_str(), plus.as_str(), odd.as_str()] {
            assert!(text.parse::<Hash>().is_err(), "{text}");
        }
    }
}
