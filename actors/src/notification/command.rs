//! What an org's outbox can be told.

use uuid::Uuid;

use crate::alerts;
use crate::domain::{OrgId, Timestamp};

/// Hands over what happened to the org's alerts after what is known already. Told twice, it counts once.
#[derive(Debug, Clone, PartialEq)]
pub struct Follow {
    /// Whose.
    pub org_id: OrgId,
    /// The sequence after which `events` begin; when the outbox has not read so far, nothing is taken in.
    pub after: u64,
    /// The events of `alerts/{org}` in their order, without gaps.
    pub events: Vec<alerts::Event>,
}

/// How far the outbox has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowReport {
    /// The last sequence of `alerts/{org}` that was taken in.
    pub followed: u64,
    /// Messages that were queued.
    pub queued: usize,
}

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
    Delivered,
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
    /// When.
    pub at: Option<Timestamp>,
}

