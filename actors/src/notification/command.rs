//! What an org's outbox can be told.

use uuid::Uuid;

use crate::domain::Timestamp;

/// Tells what became of sending a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordAttempt {
    /// Which.
    pub notification_id: Uuid,
    /// When.
    pub at: Timestamp,
    /// What.
    pub attempt: Attempt,
}

/// What became of sending a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The receiver has it.
    Delivered {
        /// The message that stood for it, when one summary told of many.
        sent_with: Option<Uuid>,
    },
    /// The receiver has it not, as far as is known.
    Failed {
        /// Why; nothing personal.
        error: String,
        /// Whether and when to try again.
        retry: Retry,
    },
}

/// Whether a message that failed is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It would fail again.
    Never,
    /// After a while that grows with each try.
    Later,
    /// After so many seconds, as the receiver asked for, but not before the usual while.
    After(u64),
}

/// Tries a dead letter again, from the first try on. Replies with the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resend {
    /// Which.
    pub notification_id: Uuid,
}
