//! What can have happened to an org's outbox, as it is stored.

use std::collections::BTreeSet;

use ionveil_journal::codec::{self, DecodeError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::pacing::{Held, Pacing};
use super::state::Kind;
use crate::domain::{Channel, OrgId, Timestamp};
use crate::rules::AlertSeverity;
use crate::runtime;

/// Something that has happened to an org's outbox.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Something happened to an alert: messages were queued, or taken back.
    Noticed(AlertNoticed),
    /// The instant of messages that had to wait has come.
    Started(NotificationsStarted),
    /// A message was sent.
    Delivered(NotificationDelivered),
    /// A message could not be sent and is tried again.
    Failed(NotificationFailed),
    /// A message could not be sent and is not tried again.
    GivenUp(NotificationGivenUp),
    /// A message that was given up is tried again.
    Resent(NotificationResent),
    /// Other rules say when messages go out.
    PacingSet(PacingSet),
    /// Messages have to wait for more than their instant.
    Held(NotificationsHeld),
    /// Messages are told by one.
    Grouped(NotificationsGrouped),
    /// A receiver does not want to be asked for a while.
    Paused(ChannelPaused),
    /// Some of those that a message is for have it.
    PartlyDelivered(NotificationPartlyDelivered),
}

/// `alert-noticed`, version 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertNoticed {
    /// Which alert.
    pub alert_id: Uuid,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub fact: Fact,
    /// The messages that follow from it.
    pub queued: Vec<Queued>,
}

/// What happened to an alert, as far as the outbox is concerned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// It was raised.
    Raised(Subject),
    /// It went up a level; messages are kept back when they are not wanted.
    Escalated {
        /// The level it got to.
        level: u8,
        /// Counts every start of the chain, from 1.
        cycle: u32,
        /// Why.
        reason: String,
        /// The suppression that keeps the messages back.
        held_back_by: Option<Uuid>,
    },
    /// Somebody is on it: what has not left is taken back.
    Acknowledged,
    /// It is over: what has not left is taken back.
    Resolved {
        /// Who said so.
        by: String,
        /// How.
        note: String,
    },
}

/// What a message can say of its alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Whose it is.
    pub org_id: OrgId,
    /// The rule that raised it.
    pub rule_id: String,
    /// The incident, if it is about one.
    pub incident_id: Option<String>,
    /// How bad it is.
    pub severity: AlertSeverity,
    /// One line.
    pub title: String,
    /// What was seen.
    pub description: String,
    /// When it was raised.
    pub raised_at: Timestamp,
}

/// A message that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queued {
    /// Its id, which follows from its key.
    pub notification_id: Uuid,
    /// What it tells.
    pub kind: Kind,
    /// Where.
    pub channel: Channel,
    /// The level it is for.
    pub level: u8,
    /// The cycle it is for.
    pub cycle: u32,
    /// When it is to be sent.
    pub due_at: Timestamp,
}

/// `notifications-started`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationsStarted {
    /// Which messages.
    pub notification_ids: Vec<Uuid>,
    /// When.
    pub at: Timestamp,
}

/// `notification-delivered`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationDelivered {
    /// Which message.
    pub notification_id: Uuid,
    /// Its alert.
    pub alert_id: Uuid,
    /// When.
    pub at: Timestamp,
    /// The message that stood for it, when one summary told of many.
    pub sent_with: Option<Uuid>,
    /// The end of the alert, when it came while this was on its way.
    pub queued: Vec<Queued>,
}

/// `notification-failed`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationFailed {
    /// Which message.
    pub notification_id: Uuid,
    /// Its alert.
    pub alert_id: Uuid,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub error: String,
    /// When it is tried again.
    pub due_at: Timestamp,
}

/// `notification-given-up`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationGivenUp {
    /// Which message.
    pub notification_id: Uuid,
    /// Its alert.
    pub alert_id: Uuid,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub error: String,
}

/// `notification-resent`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationResent {
    /// Which message.
    pub notification_id: Uuid,
    /// Its alert.
    pub alert_id: Uuid,
    /// When.
    pub at: Timestamp,
}

/// `pacing-set`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PacingSet {
    /// When.
    pub at: Timestamp,
    /// All of it.
    pub pacing: Pacing,
}

/// `notifications-held`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationsHeld {
    /// Which messages.
    pub notification_ids: Vec<Uuid>,
    /// When.
    pub at: Timestamp,
    /// What they wait for.
    pub because: Held,
    /// Until when; none when it depends on what else the channel is given.
    pub until: Option<Timestamp>,
}

/// `notifications-grouped`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationsGrouped {
    /// The message that stands for all.
    pub notification_id: Uuid,
    /// The others.
    pub others: Vec<Uuid>,
    /// When.
    pub at: Timestamp,
}

/// `channel-paused`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelPaused {
    /// Which.
    pub channel: Channel,
    /// When.
    pub at: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

/// `notification-partly-delivered`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationPartlyDelivered {
    /// Which message.
    pub notification_id: Uuid,
    /// Its alert.
    pub alert_id: Uuid,
    /// When.
    pub at: Timestamp,
    /// The message that stood for it, when one told of many.
    pub sent_with: Option<Uuid>,
    /// Who has it.
    pub reached: Reached,
    /// The end of the alert, when it came while this was on its way.
    pub queued: Vec<Queued>,
}

/// Who has a message already, of several recipients. Nobody is named: the list is known by a digest, and those on it by
/// their places.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Of all recipients and the message's id. With another list nobody counts as reached.
    pub digest: u64,
    /// Places in the list, from 0.
    pub places: BTreeSet<u16>,
}

const NOTICED: &str = "alert-noticed";
const STARTED: &str = "notifications-started";
const DELIVERED: &str = "notification-delivered";
const FAILED: &str = "notification-failed";
const GIVEN_UP: &str = "notification-given-up";
const RESENT: &str = "notification-resent";
const PACING_SET: &str = "pacing-set";
const HELD: &str = "notifications-held";
const GROUPED: &str = "notifications-grouped";
const PAUSED: &str = "channel-paused";
const PARTLY_DELIVERED: &str = "notification-partly-delivered";

/// Every form that was ever released. Golden files: `actors/tests/fixtures/notification`.
pub const RELEASED: &[(&str, u16)] = &[
    (NOTICED, 1),
    (STARTED, 1),
    (DELIVERED, 1),
    (FAILED, 1),
    (GIVEN_UP, 1),
    (RESENT, 1),
    (PACING_SET, 1),
    (HELD, 1),
    (GROUPED, 1),
    (PAUSED, 1),
    (PARTLY_DELIVERED, 1),
];

impl runtime::Event for Event {
    fn event_type(&self) -> &'static str {
        match self {
            Event::Noticed(_) => NOTICED,
            Event::Started(_) => STARTED,
            Event::Delivered(_) => DELIVERED,
            Event::Failed(_) => FAILED,
            Event::GivenUp(_) => GIVEN_UP,
            Event::Resent(_) => RESENT,
            Event::PacingSet(_) => PACING_SET,
            Event::Held(_) => HELD,
            Event::Grouped(_) => GROUPED,
            Event::Paused(_) => PAUSED,
            Event::PartlyDelivered(_) => PARTLY_DELIVERED,
        }
    }

    fn version(&self) -> u16 {
        1
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Event::Noticed(event) => codec::encode(event),
            Event::Started(event) => codec::encode(event),
            Event::Delivered(event) => codec::encode(event),
            Event::Failed(event) => codec::encode(event),
            Event::GivenUp(event) => codec::encode(event),
            Event::Resent(event) => codec::encode(event),
            Event::PacingSet(event) => codec::encode(event),
            Event::Held(event) => codec::encode(event),
            Event::Grouped(event) => codec::encode(event),
            Event::Paused(event) => codec::encode(event),
            Event::PartlyDelivered(event) => codec::encode(event),
        }
    }

    fn decode(event_type: &str, version: u16, codec: u8, payload: &[u8]) -> Result<Self, DecodeError> {
        match (event_type, version) {
            (NOTICED, 1) => codec::decode(codec, payload).map(Event::Noticed),
            (STARTED, 1) => codec::decode(codec, payload).map(Event::Started),
            (DELIVERED, 1) => codec::decode(codec, payload).map(Event::Delivered),
            (FAILED, 1) => codec::decode(codec, payload).map(Event::Failed),
            (GIVEN_UP, 1) => codec::decode(codec, payload).map(Event::GivenUp),
            (RESENT, 1) => codec::decode(codec, payload).map(Event::Resent),
            (PACING_SET, 1) => codec::decode(codec, payload).map(Event::PacingSet),
            (HELD, 1) => codec::decode(codec, payload).map(Event::Held),
            (GROUPED, 1) => codec::decode(codec, payload).map(Event::Grouped),
            (PAUSED, 1) => codec::decode(codec, payload).map(Event::Paused),
            (PARTLY_DELIVERED, 1) => codec::decode(codec, payload).map(Event::PartlyDelivered),
            _ => Err(DecodeError::UnknownType { event_type: event_type.to_owned(), version }),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Event::Noticed(event) => {
                let mut json = json!(event);
                // Flat, so that what is about an incident is found by it.
                if let Fact::Raised(subject) = &event.fact {
                    json["incident_id"] = json!(subject.incident_id);
                }
                json
            }
            Event::Started(event) => json!(event),
            Event::Delivered(event) => json!(event),
            Event::Failed(event) => json!(event),
            Event::GivenUp(event) => json!(event),
            Event::Resent(event) => json!(event),
            Event::PacingSet(event) => json!(event),
            Event::Held(event) => json!(event),
            Event::Grouped(event) => json!(event),
            Event::Paused(event) => json!(event),
            Event::PartlyDelivered(event) => json!(event),
        }
    }
}
