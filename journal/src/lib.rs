//! An event journal: streams of events in one hash-chained, totally ordered log, durable before it is acknowledged.
//!
//! It knows streams and bytes, and no word of what the events mean. Reading order: [`Journal`] is what every engine
//! promises, [`Append`] and [`Outcome`] are what goes in and what became of it, [`Record`] is what comes out,
//! [`LocalJournal`] is the journal of one machine (on sled, or in memory), [`verify_copy`] checks one that lies still.
//! The bytes are drawn in `docs/journal-format.md`.
//!
//! ```
//! use std::ops::ControlFlow;
//! use ionveil_journal::{Append, Journal, LocalJournal, NewEvent, Origin, Outcome, Sequence, codec};
//!
//! let journal = LocalJournal::in_memory(); // or LocalJournal::open(path) for one that lasts
//! let stream = "greeting/world".parse()?;
//! let outcome = journal.append(Append {
//!     stream,
//!     expected: Sequence::NONE,
//!     expected_id: None,
//!     epoch: 1,
//!     origin: Origin::default(),
//!     events: vec![NewEvent {
//!         id: uuid::Uuid::now_v7(),
//!         event_type: "said".into(),
//!         version: 1,
//!         codec: codec::BINCODE_2,
//!         payload: b"hello".to_vec(),
//!     }],
//! });
//! assert!(matches!(outcome, Outcome::Committed(_)));
//! let stream = "greeting/world".parse()?;
//! journal.read_stream(&stream, Sequence::FIRST, Sequence::MAX, &mut |record| {
//!     assert_eq!(record.payload, b"hello");
//!     ControlFlow::Continue(())
//! })?;
//! # Ok::<(), ionveil_journal::Error>(())
//! ```

pub mod codec;
#[cfg(feature = "testing")]
pub mod testing;

mod blocks;
mod chain;
mod directory;
mod error;
mod format;
mod index;
mod journal;
mod local;
mod position;
mod record;
mod salvage;
mod shared;
mod snapshot;
mod store;
mod stream_id;
mod subscribe;
mod verify;
mod writer;

pub use chain::Hash;
pub use directory::Head;
pub use error::{Damage, Error, Kind};
pub use index::StreamSummary;
pub use journal::{Journal, OnDurable, OnOutcome, OnRecord, Stat};
pub use local::{LocalJournal, QUEUE_BYTES_MAX};
pub use position::{Position, Sequence};
pub use record::{Append, NewEvent, Origin, Outcome, Record, Written};
pub use snapshot::{Fold, SNAPSHOT_BYTES_MAX, SnapshotCriteria, StateSnapshot};
pub use store::{BlockKey, MemoryStore, SideChange, Store};
pub use stream_id::{StreamId, StreamKind};
pub use subscribe::{Interest, OwnedRecord, Subscription};
pub use verify::{VerifyProgress, VerifyReport, verify_copy};
