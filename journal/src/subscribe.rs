//! Following the journal: from any position, first what is there, then what comes.
//!
//! A subscription pulls: the writer only says how far it is, and the reader fetches pages out of the journal at its own
//! pace. So nothing is buffered for a slow reader, nothing is lost to it, the writer never waits for it, and between what
//! was there and what comes there is no seam that an event could slip through or appear twice at.

use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::watch;
use uuid::Uuid;

use crate::directory::Head;
use crate::error::Error;
use crate::journal::Journal;
use crate::position::{Position, Sequence};
use crate::record::Record;
use crate::stream_id::StreamKind;

/// Events of a page at most.
const PAGE_EVENTS_MAX: usize = 1_024;
/// A page ends when its payloads have grown to this.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// A stored event that owns what it holds. See [`Record`] for the fields.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of Record")]
pub struct OwnedRecord {
    pub position: Position,
    pub stream: String,
    pub sequence: Sequence,
    pub epoch: u32,
    pub recorded_at_micros: i64,
    pub id: Uuid,
    pub event_type: String,
    pub version: u16,
    pub codec: u8,
    pub principal: Option<String>,
    pub correlation_id: Option<Uuid>,
    pub causation_id: Option<Uuid>,
    pub payload: Vec<u8>,
}

impl From<&Record<'_>> for OwnedRecord {
    fn from(record: &Record<'_>) -> Self {
        OwnedRecord {
            position: record.position,
            stream: record.stream.to_owned(),
            sequence: record.sequence,
            epoch: record.epoch,
            recorded_at_micros: record.recorded_at_micros,
            id: record.id,
            event_type: record.event_type.to_owned(),
            version: record.version,
            codec: record.codec,
            principal: record.principal.map(str::to_owned),
            correlation_id: record.correlation_id,
            causation_id: record.causation_id,
            payload: record.payload.to_vec(),
        }
    }
}

/// Which events a subscription hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// All of them.
    All,
    /// Those of one kind of streams.
    Kind(StreamKind),
}

impl Interest {
    fn covers(self, record: &Record<'_>) -> bool {
        match self {
            Interest::All => true,
            Interest::Kind(kind) => record.stream.split_once('/').is_some_and(|(of, _)| of == kind.as_str()),
        }
    }
}

/// A reader's place in the journal, and a way to wait for more.
pub struct Subscription {
    journal: Arc<dyn Journal>,
    head: watch::Receiver<Head>,
    interest: Interest,
    /// Everything up to here was handed out or passed over.
    seen: Position,
}

impl Subscription {
    /// Follows `journal` behind the position `after`; [`Position::NONE`] begins with the first event.
    ///
    /// # Errors
    /// When the journal is closed.
    pub fn new(journal: Arc<dyn Journal>, after: Position, interest: Interest) -> Result<Self, Error> {
        let head = journal.watch_head()?;
        Ok(Subscription { journal, head, interest, seen: after })
    }

    /// The position that everything up to was handed out or passed over. A later subscription goes on behind it.
    pub fn seen(&self) -> Position {
        self.seen
    }

    /// How many durable events lie between what was seen and the head, whether or not they are of interest.
    pub fn lag(&self) -> u64 {
        self.head.borrow().position.get().saturating_sub(self.seen.get())
    }

    /// The next events that are there already: at most 1,024, none when the reader has caught up. Reads the store, so it may
    /// block for as long as a disk takes.
    ///
    /// # Errors
    /// When the journal is closed, or an event on the way is damaged. What came before it was handed out.
    pub fn page(&mut self) -> Result<Vec<OwnedRecord>, Error> {
        let head = self.head.borrow_and_update().position;
        let mut page = Vec::new();
        let mut bytes = 0;
        while page.is_empty() && self.seen < head {
            let mut seen = self.seen;
            let mut is_full = false;
            let read = self.journal.read_all(self.seen.plus(1), head, &mut |record| {
                seen = record.position;
                if self.interest.covers(record) {
                    bytes += record.payload.len();
                    page.push(OwnedRecord::from(record));
                }
                is_full = page.len() == PAGE_EVENTS_MAX || bytes >= PAGE_BYTES_MAX;
                if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            // Who was not stopped has looked at everything up to the head, also where an engine leaves positions out.
            self.seen = if read.is_ok() && !is_full { head } else { seen };
            if page.is_empty() {
                read?;
            }
        }
        Ok(page)
    }

    /// Waits until there is something behind what was seen; false when the journal was closed and nothing more will come.
    /// May be dropped and called again.
    pub async fn wait(&mut self) -> bool {
        let seen = self.seen;
        self.head.wait_for(|head| head.position > seen).await.is_ok()
    }
}
