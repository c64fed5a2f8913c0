//! An event journal: streams of events in one hash-chained, totally ordered log, durable before it is acknowledged.

mod error;
mod position;
mod stream_id;

pub use error::{Damage, Error, Kind};
pub use position::{Position, Sequence};
pub use stream_id::{StreamId, StreamKind};
