//! What goes into the journal, and what comes out.

use std::borrow::Cow;
use std::sync::Arc;

use uuid::Uuid;

use crate::error::Error;
use crate::format;
use crate::position::{Position, Sequence};
use crate::stream_id::StreamId;

/// Who caused an event, and what it belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Who acted; `None` is the system itself. At most [`Origin::PRINCIPAL_BYTES_MAX`] bytes.
    pub principal: Option<Arc<str>>,
    /// What all events of one conversation share.
    pub correlation_id: Option<Uuid>,
    /// The event or command that this one follows from.
    pub causation_id: Option<Uuid>,
}

impl Origin {
    /// Longest principal, in bytes.
    pub const PRINCIPAL_BYTES_MAX: usize = 512;
}

/// An event that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Its identity, for ever. A retried append gives the same ids.
    pub id: Uuid,
    /// The stable name of its type, such as `dispatch-recorded`; 1–64 bytes.
    pub event_type: Cow<'static, str>,
    /// The version of its type's schema, from 1.
    pub version: u16,
    /// How `payload` is encoded; see [`crate::codec`].
    pub codec: u8,
    /// At most [`Append::EVENT_BYTES_MAX`] bytes.
    pub payload: Vec<u8>,
}

/// A request to write some events to one stream: all of them, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// Where to.
    pub stream: StreamId,
    /// The sequence of the stream's last event as the writer knows it; [`Sequence::NONE`] for a new stream.
    pub expected: Sequence,
    /// The id of that event, if the writer knows it. Then a stream that somebody else has brought to the same length is
    /// a conflict too: what was decided on events that never were cannot slip in behind others.
    pub expected_id: Option<Uuid>,
    /// The writer's incarnation. Once a later one has written, earlier ones are refused.
    pub epoch: u32,
    /// Who and why, the same for all the events.
    pub origin: Origin,
    /// In order; at least one.
    pub events: Vec<NewEvent>,
}

impl Append {
    /// Largest event as it is stored, envelope and all.
    pub const EVENT_BYTES_MAX: usize = 16 << 20;
    /// Most events of one append.
    pub const EVENTS_MAX: usize = 65_536;
    /// Longest name of an event type, in bytes.
    pub const TYPE_BYTES_MAX: usize = 64;

    /// Bytes that the request will take up, about.
    pub(crate) fn stored_bytes(&self) -> usize {
        self.events.iter().map(|event| format::frame_len(self, event)).sum()
    }

    /// Largest append, all events together.
    pub const BYTES_MAX: usize = 64 << 20;

    pub(crate) fn check(&self) -> Result<(), Error> {
        let count = self.events.len();
        if !(1..=Self::EVENTS_MAX).contains(&count) {
            return Err(invalid("events", count, format!("1 to {} of them", Self::EVENTS_MAX)));
        }
        if self.origin.principal.as_ref().is_some_and(|who| who.len() > Origin::PRINCIPAL_BYTES_MAX) {
            let allowed = format!("at most {} bytes", Origin::PRINCIPAL_BYTES_MAX);
            return Err(invalid("principal", "longer", allowed));
        }
        for event in &self.events {
            if !(1..=Self::TYPE_BYTES_MAX).contains(&event.event_type.len()) {
                let allowed = format!("1 to {} bytes", Self::TYPE_BYTES_MAX);
                return Err(invalid("event_type", &event.event_type, allowed));
            }
            let len = format::frame_len(self, event);
            if len > Self::EVENT_BYTES_MAX {
                let allowed = format!("at most {} bytes", Self::EVENT_BYTES_MAX);
                return Err(invalid("event size", len, allowed));
            }
        }
        let total = self.stored_bytes();
        if total > Self::BYTES_MAX {
            return Err(invalid("append size", total, format!("at most {} bytes", Self::BYTES_MAX)));
        }
        let mut ids: Vec<Uuid> = self.events.iter().map(|event| event.id).collect();
        ids.sort_unstable();
        if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(invalid("event_id", twice[0], "a different one for each event".into()));
        }
        Ok(())
    }
}

fn invalid(field: &'static str, value: impl ToString, allowed: String) -> Error {
    Error::Invalid { field, value: value.to_string(), allowed }
}

/// What became of an [`Append`]. Everything said here is true of the disk, not only of memory.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Written and durable.
    Committed(Written),
    /// The very same events (by id, at the same place) were written before. Nothing was written now.
    AlreadyCommitted(Written),
    /// The stream is elsewhere. Nothing was written.
    Conflict {
        /// The stream's last sequence.
        head: Sequence,
    },
    /// A later incarnation owns the stream. Nothing was written.
    Fenced {
        /// The epoch that owns it.
        epoch: u32,
    },
    /// The journal cannot take it. Nothing was written.
    Rejected(Error),
    /// The write failed on its way: the events may be on disk or not. Open the journal again and look for their ids.
    Unknown {
        /// What failed.
        cause: String,
    },
}

/// Where an append ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Sequence of its last event.
    pub sequence: Sequence,
    /// Position of its last event.
    pub position: Position,
}

/// One stored event, with everything known of it. Borrows from the block it lies in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// Place in the journal.
    pub position: Position,
    /// The stream's address.
    pub stream: &'a str,
    /// Place in the stream.
    pub sequence: Sequence,
    /// The incarnation of the writer.
    pub epoch: u32,
    /// When it was written, by the real clock: microseconds since 1970 in UTC.
    pub recorded_at_micros: i64,
    /// Its identity.
    pub id: Uuid,
    /// The stable name of its type.
    pub event_type: &'a str,
    /// The version of its type's schema.
    pub version: u16,
    /// How `payload` is encoded.
    pub codec: u8,
    /// Who acted; `None` is the system itself.
    pub principal: Option<&'a str>,
    /// What all events of one conversation share.
    pub correlation_id: Option<Uuid>,
    /// The event or command that this one follows from.
    pub causation_id: Option<Uuid>,
    /// The event itself.
    pub payload: &'a [u8],
}
