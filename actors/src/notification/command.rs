//! What an org's outbox can be told.

use uuid::Uuid;

use super::event::Reached;
use super::pacing::Pacing;
use crate::domain::Timestamp;

/// Tells what became of sending a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordAttempt {
    /// Which.
    pub notification_id: Uuid,
    /// The messages that it told of, its own among them: what [`super::Outgoing::told_of`] listed.
    pub told_of: Vec<Uuid>,
    /// When.
    pub at: Timestamp,
    /// What.
    pub attempt: Attempt,
}

/// What became of sending a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// The receiver has it.
    Delivered,
    /// The receiver has it not, as far as is known.
    Failed {
        /// Why; nothing personal.
        error: String,
        /// Whether and when to try again.
        retry: Retry,
        /// Who has it all the same, when it is for several.
        reached: Option<Reached>,
    },
}

/// Whether a message that failed is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It would fail again.
    Never,
    /// After a while that grows with each try.
    Later,
    /// After so many seconds, as the receiver asked for, but not before the usual while. Nothing else is sent on the channel
    /// until then.
    After(u64),
}

/// Tries a dead letter again, at once and from the first try on. One that was told together with others is told with them
/// again. Replies with the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resend {
    /// Which.
    pub notification_id: Uuid,
}

/// Says when the org's messages go out; what waits is looked at anew. Replies with what is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetPacing {
    /// All of it.
    pub pacing: Pacing,
}
