//! `notification/{org}`: the outbox. What is to be told, where, how often it was tried, and what became of it.
//!
//! It follows `alerts/{org}`: how far it has read there stands in its own stream, so that a crash between the alert and its
//! messages repeats the reading and loses nothing. It guards that
//! - every message is journaled before it is sent, and has a key that is the same however often it is sent;
//! - an acknowledgement or a resolution takes back what has not left yet;
//! - whoever was told of an alert is told of its end, on the same channel, and nobody else is.
//!
//! An org's [`Pacing`] says when messages go out: several as one, not in quiet hours, not more than a receiver takes. What
//! waits is state, and what was decided of it is in the stream.
//!
//! Sending itself is not here. Whoever sends asks for what is due and tells what became of it.

mod backoff;
mod command;
mod decide;
mod event;
mod evolve;
mod hours;
mod lane;
mod pacing;
mod query;
mod release;
mod state;
#[cfg(test)]
mod tests;

pub use backoff::{ATTEMPTS_MAX, RETRY_AFTER_MAX_SECONDS, retry_delay_micros};
pub use command::{Attempt, RecordAttempt, Resend, Retry, SetPacing};
pub use event::{
    AlertNoticed, ChannelPaused, Event, Fact, NotificationDelivered, NotificationFailed, NotificationGivenUp,
    NotificationPartlyDelivered, NotificationResent, NotificationsGrouped, NotificationsHeld, NotificationsStarted,
    PacingSet, Queued, RELEASED, Reached, Subject,
};
pub use hours::{Day, TimeOfDay};
pub use pacing::{Grouping, Held, Limit, Pacing, QuietHours};
pub use query::{GetCompanions, GetNotification, GetNotifications, GetOutgoing, GetPacing, Outgoing, ToldOf};
pub use state::{Kind, Notification, NotificationStatus, Notifications};

use ionveil_journal::codec::{self, DecodeError};
use ionveil_journal::{Fold, OwnedRecord, StreamKind};
use uuid::Uuid;

use crate::alerts::{self, Alerts};
use crate::domain::{Channel, OrgId, Timestamp};
use crate::error::{Corrupt, Error};
use crate::runtime::{
    Abilities, Aggregate, Effectful, Follower, Given, Snapshotted, Source, Timed, decode_record, is_note,
};

/// Messages of one channel that are offered to be sent at a time. All channels together stay below what the runtime has
/// under way of one entity, so that a receiver that does not answer keeps no other channel waiting.
const OFFERED_MAX: usize = 8;

impl Aggregate for Notifications {
    const KIND: StreamKind = StreamKind::new("notification");
    const ABILITIES: Abilities<Self> = Abilities::NONE.with_timers().with_sources().with_effects().with_snapshots();
    type Event = Event;

    fn evolve(&mut self, event: &Event) -> Result<(), Corrupt> {
        evolve::evolve(self, event)
    }
}

impl Follower for Notifications {
    const SOURCES: &'static [Source] = &[Source::SameId(Alerts::KIND)];

    fn on_record(&self, record: &OwnedRecord, _: &Given) -> Result<Vec<Event>, Corrupt> {
        if is_note(&record.event_type) {
            return Ok(Vec::new());
        }
        let org = record.stream.split_once('/').map_or("", |(_, org)| org);
        let org: OrgId = org.parse().map_err(|invalid| Corrupt(format!("{}: {invalid}", record.stream)))?;
        let event: alerts::Event = decode_record(record)?;
        Ok(decide::noticed(self, &org, &event).map(Event::Noticed).into_iter().collect())
    }
}

impl Timed for Notifications {
    fn next_wake(&self) -> Option<Timestamp> {
        let waiting = self.waiting.first().map(|&(at, _)| at);
        waiting.into_iter().chain(self.next_of_lanes()).min()
    }

    fn on_wake(&self, given: &Given) -> Result<Vec<Event>, Error> {
        Ok(release::release(self, given.now))
    }
}

impl Snapshotted for Notifications {
    const FOLD: Fold = Fold { schema: 3, version: 3 };

    fn to_snapshot(&self) -> Vec<u8> {
        codec::encode(self)
    }

    fn from_snapshot(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(codec::BINCODE_2, bytes)
    }
}

impl Effectful for Notifications {
    type Effect = Outgoing;
    type Outcome = RecordAttempt;

    fn pending(&self) -> Vec<Uuid> {
        let mut offered: Vec<(Timestamp, Uuid)> =
            Channel::ALL.iter().flat_map(|&channel| self.sending_on(channel).take(OFFERED_MAX)).collect();
        offered.sort_unstable();
        offered.into_iter().map(|(_, id)| id).collect()
    }

    fn effect(&self, id: Uuid) -> Option<Outgoing> {
        self.outgoing(id)
    }
}

/// What an alert's event leads to, for tests that live through both entities without a runtime.
#[cfg(test)]
pub(crate) fn noticed_for_tests(outbox: &Notifications, org: &OrgId, event: &alerts::Event) -> Option<Event> {
    decide::noticed(outbox, org, event).map(Event::Noticed)
}

/// How many messages tell of a raise.
#[cfg(test)]
pub(crate) fn raised_for_tests(outbox: &Notifications) -> usize {
    outbox.messages.values().filter(|message| message.kind == Kind::Raised).count()
}
