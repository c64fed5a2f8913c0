//! `notification/{org}`: the outbox. What is to be told, where, how often it was tried, and what became of it.
//!
//! It follows `alerts/{org}`: how far it has read there stands in its own events, so that a crash between the alert and its
//! messages repeats the reading and loses nothing. It guards that
//! - every message is journaled before it is sent, and has a key that is the same however often it is sent;
//! - an acknowledgement or a resolution takes back what has not left yet;
//! - whoever was told of an alert is told of its end, on the same channel, and nobody else is.
//!
//! Sending itself is not here. Whoever sends asks for what is due and tells what became of it.

mod backoff;
mod command;
mod decide;
mod event;
mod evolve;
mod query;
mod state;
#[cfg(test)]
mod tests;

pub use backoff::{ATTEMPTS_MAX, RETRY_AFTER_MAX_SECONDS, retry_delay_micros};
pub use command::{Attempt, Follow, FollowReport, RecordAttempt, Resend, Retry};
pub use event::{
    AlertNoticed, Event, Fact, NotificationDelivered, NotificationFailed, NotificationGivenUp, NotificationResent,
    OutboxFollowed, Queued, RELEASED, Subject,
};
pub use query::{GetDue, GetFollowed, GetNextSending, GetNotification, GetNotifications, Outgoing};
pub use state::{Kind, Notification, NotificationStatus, Notifications};

use ionveil_journal::StreamKind;

use crate::runtime::Aggregate;

/// Events without concern for the outbox that may be read again after a restart; beyond them the reading is noted.
pub const UNNOTED_MAX: u64 = 1_000;

impl Aggregate for Notifications {
    const KIND: StreamKind = StreamKind::new("notification");
    type Event = Event;

    fn evolve(&mut self, event: &Event) -> Result<(), crate::error::Corrupt> {
        evolve::evolve(self, event)
    }
}
