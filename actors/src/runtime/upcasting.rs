//! How an event type gets a new version. There is no mechanism: an old form is a frozen struct, a step to the next form is
//! a `From`, and `decode` names the chain. While there is one version there is nothing to run.
//!
//! To change what a type stores:
//!
//! 1. Freeze the struct as it is under its version's name (`v1::Opened`); from now on nobody edits it.
//! 2. Give the present struct its new shape, and write `From` from the frozen one: a pure function that makes up what was
//!    not known then. The compiler asks for every field. A step leads to the next version only; older ones go through it.
//! 3. Raise `version`, add the line to `RELEASED`, and the arm to `decode`, oldest form first.
//! 4. Add the golden files of the new version. Those of the old one stay: the test of the catalogue reads every form that
//!    was ever released, and fails when a listed one has no files, a file is not listed, or what is written now is not
//!    what the newest version's file says.
//!
//! Of a type whose meaning changes no version is made but a new type: a version is another way to store the same fact.
//!
//! ```
//! use ionveil_journal::codec::{self, BINCODE_2, DecodeError};
//! use serde::{Deserialize, Serialize};
//!
//! /// The forms of `opened` that are only read any more.
//! mod v1 {
//!     #[derive(serde::Serialize, serde::Deserialize)]
//!     pub struct Opened { pub by: String }
//! }
//! mod v2 {
//!     #[derive(serde::Serialize, serde::Deserialize)]
//!     pub struct Opened { pub by: String, pub at_minute: u32 }
//!
//!     impl From<super::v1::Opened> for Opened {
//!         fn from(old: super::v1::Opened) -> Self {
//!             Opened { by: old.by, at_minute: 0 }
//!         }
//!     }
//! }
//!
//! /// `opened`, version 3: seconds instead of minutes.
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Opened { by: String, at_second: u32 }
//!
//! impl From<v2::Opened> for Opened {
//!     fn from(old: v2::Opened) -> Self {
//!         Opened { by: old.by, at_second: 60 * old.at_minute }
//!     }
//! }
//!
//! fn decode(event_type: &str, version: u16, codec: u8, payload: &[u8]) -> Result<Opened, DecodeError> {
//!     match (event_type, version) {
//!         ("opened", 1) => codec::decode::<v1::Opened>(codec, payload).map(v2::Opened::from).map(Opened::from),
//!         ("opened", 2) => codec::decode::<v2::Opened>(codec, payload).map(Opened::from),
//!         ("opened", 3) => codec::decode(codec, payload),
//!         _ => Err(DecodeError::UnknownType { event_type: event_type.to_owned(), version }),
//!     }
//! }
//!
//! # fn main() -> Result<(), DecodeError> {
//! let old = codec::encode(&v1::Opened { by: "ops".into() });
//! assert_eq!(decode("opened", 1, BINCODE_2, &old)?, Opened { by: "ops".into(), at_second: 0 });
//! let newer = codec::encode(&v2::Opened { by: "ops".into(), at_minute: 2 });
//! assert_eq!(decode("opened", 2, BINCODE_2, &newer)?, Opened { by: "ops".into(), at_second: 120 });
//! let present = Opened { by: "ops".into(), at_second: 7 };
//! assert_eq!(decode("opened", 3, BINCODE_2, &codec::encode(&present))?, present);
//! assert!(decode("opened", 4, BINCODE_2, &old).is_err());
//! # Ok(())
//! # }
//! ```
