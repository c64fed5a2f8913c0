//! What is known of an org's messages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::event::{Queued, Subject};
use super::query::Outgoing;
use crate::domain::{Channel, Timestamp};

/// What a message tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An alert was raised.
    Raised,
    /// It went up a level.
    Escalated,
    /// It is over.
    Resolved,
    /// Somebody is on it. Told to PagerDuty only, which keeps a life cycle of its own.
    Acknowledged,
}

impl Kind {
    /// Its name in JSON and in keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Raised => "raised",
            Kind::Escalated => "escalated",
            Kind::Resolved => "resolved",
            Kind::Acknowledged => "acknowledged",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationStatus {
    /// It is to be sent.
    Pending,
    /// It was sent.
    Delivered,
    /// It is a dead letter.
    Dead,
    /// It was taken back before it left.
    Cancelled,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Its id, which follows from its key.
    pub notification_id: Uuid,
    /// What it is about.
    pub alert_id: Uuid,
    /// What it tells.
    pub kind: Kind,
    /// Where.
    pub channel: Channel,
    /// The level it is for, 1 to 4.
    pub level: u8,
    /// The start of the chain it is for, from 1.
    pub cycle: u32,
    /// The same however often it is sent: receivers that know it already may ignore it.
    pub idempotency_key: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// When it is, or was, to be sent.
    pub due_at: Timestamp,
    /// When it was sent.
    pub delivered_at: Option<Timestamp>,
    /// Where it stands.
    pub status: NotificationStatus,
}

/// The key of a message.
pub(super) fn idempotency_key(alert_id: Uuid, kind: Kind, level: u8, cycle: u32, channel: Channel) -> String {
    format!("{alert_id}/{kind}/{level}/{cycle}/{channel}")
}

/// The id of the message of that key.
pub(super) fn notification_id(key: &str) -> Uuid {
    /// The namespace of messages: a random UUID, fixed for ever.
    const NAMESPACE: Uuid = Uuid::from_u128(0x3b6c_95a8_2f0e_4d0b_8f4c_11d2_7a9e_5c02);
    Uuid::new_v5(&NAMESPACE, key.as_bytes())
}

/// What is known of an alert that messages are about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Noticed {
    pub(super) subject: Subject,
    pub(super) level: u8,
    pub(super) cycle: u32,
    /// Why it went up last.
    pub(super) reason: Option<String>,
    /// Who resolved it and how.
    pub(super) resolved: Option<(String, String)>,
    /// Channels on which somebody was told of it.
    pub(super) told: Vec<Channel>,
    /// Its messages, in the order in which they were queued.
    pub(super) messages: Vec<Uuid>,
}

/// An org's outbox.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Notifications {
    pub(super) alerts: BTreeMap<Uuid, Noticed>,
    pub(super) messages: BTreeMap<Uuid, Notification>,
    /// Messages in the order in which they were queued.
    pub(super) order: Vec<Uuid>,
    /// What is to be sent later, earliest first.
    pub(super) waiting: BTreeSet<(Timestamp, Uuid)>,
    /// What is to be sent now, longest due first.
    pub(super) sending: BTreeSet<(Timestamp, Uuid)>,
}

impl Notifications {
    /// What a message can say.
    pub(super) fn outgoing(&self, id: Uuid) -> Option<Outgoing> {
        let notification = self.messages.get(&id)?.clone();
        let noticed = self.alerts.get(&notification.alert_id)?;
        Some(Outgoing {
            notification,
            subject: noticed.subject.clone(),
            reason: noticed.reason.clone(),
            resolved: noticed.resolved.clone(),
        })
    }

    pub(super) fn queued(
        &self,
        alert_id: Uuid,
        kind: Kind,
        (level, cycle): (u8, u32),
        channels: &[Channel],
        due_at: Timestamp,
    ) -> Vec<Queued> {
        let queue = |&channel: &Channel| {
            let key = idempotency_key(alert_id, kind, level, cycle, channel);
            Queued { notification_id: notification_id(&key), kind, channel, level, cycle, due_at }
        };
        // What has been queued once is not queued again.
        channels.iter().map(queue).filter(|queued| !self.messages.contains_key(&queued.notification_id)).collect()
    }
}
