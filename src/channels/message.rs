//! What is told, and what became of telling it.

use std::fmt;
use std::time::Duration;

use ionveil_actors::domain::OrgId;
use ionveil_actors::error::Invalid;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::told::Told;

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// An alert was raised.
    Raised,
    /// Nobody answered in time, or somebody passed it on.
    Escalated,
    /// Somebody is on it. Of use to PagerDuty, whose own escalation stops then; other channels tell it like the rest.
    Acknowledged,
    /// It is over.
    Resolved,
}

impl MessageKind {
    /// All of them, in the order in which they come.
    pub const ALL: [MessageKind; 4] =
        [MessageKind::Raised, MessageKind::Escalated, MessageKind::Acknowledged, MessageKind::Resolved];

    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            MessageKind::Raised => "raised",
            MessageKind::Escalated => "escalated",
            MessageKind::Acknowledged => "acknowledged",
            MessageKind::Resolved => "resolved",
        }
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One notification on its way out. As JSON it is the default body of a webhook.
#[derive(Clone, PartialEq, Serialize)]
pub struct Message {
    /// The notification's id; the same at every attempt.
    pub notification_id: Uuid,
    /// By which a receiver knows that it has this one already; the same at every attempt.
    pub idempotency_key: String,
    /// What it is about.
    pub kind: MessageKind,
    /// Whose alert it is.
    pub org_id: OrgId,
    /// Which alert.
    pub alert_id: Uuid,
    /// The level that it is for, 1 to 4.
    pub level: u8,
    /// The levels whose people are told: that one; of an end all that were told of the alert.
    pub levels: Vec<u8>,
    /// How often the chain of levels has been started, from 1.
    pub cycle: u32,
    /// The alert as JSON, as it is at the moment of sending.
    pub alert: Value,
    /// Further alerts that this one message tells of, when several were grouped.
    pub others: Vec<Value>,
    /// The keys of the messages that it stands for beside its own, in the order of `others`: by them a receiver knows one of
    /// these alerts again, should it come alone.
    pub other_keys: Vec<String>,
    /// Who is told: addresses, numbers or names, as the channel understands them. Empty: whom the configuration names.
    pub recipients: Vec<String>,
    /// Who of several has it already. A transport that tells each apart asks it, and notes in it whom it has told.
    #[serde(skip)]
    pub told: Told,
}

impl Message {
    /// A message about an alert as it stands, which is not sent but shown: `escalated`, `acknowledged` or `resolved` as its
    /// status is, else `raised`.
    ///
    /// # Errors
    /// Invalid when the value has no `alert_id` or `org_id` of an alert.
    pub fn of_alert(alert: Value) -> Result<Self, Invalid> {
        let id = alert["alert_id"].as_str().and_then(|id| Uuid::try_parse(id).ok());
        let alert_id = id.ok_or_else(|| Invalid::new("alert_id", &alert["alert_id"], "the id of an alert"))?;
        let level = alert["escalation_level"].as_u64().and_then(|level| u8::try_from(level).ok()).unwrap_or(1);
        Ok(Message {
            notification_id: Uuid::nil(),
            idempotency_key: format!("{alert_id}/preview"),
            kind: match alert["status"].as_str() {
                Some("escalated") => MessageKind::Escalated,
                Some("acknowledged") => MessageKind::Acknowledged,
                Some("resolved") => MessageKind::Resolved,
                _ => MessageKind::Raised,
            },
            org_id: alert["org_id"].as_str().unwrap_or_default().parse()?,
            alert_id,
            level,
            levels: vec![level],
            cycle: 1,
            alert,
            others: Vec::new(),
            other_keys: Vec::new(),
            recipients: Vec::new(),
            told: Told::default(),
        })
    }
}

/// Ids only: an alert's notes and the recipients are nobody's business in a log.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("notification_id", &self.notification_id)
            .field("idempotency_key", &self.idempotency_key)
            .field("kind", &self.kind)
            .field("org_id", &self.org_id)
            .field("alert_id", &self.alert_id)
            .field("level", &self.level)
            .field("cycle", &self.cycle)
            .finish_non_exhaustive()
    }
}

/// What became of one attempt. A reason holds no address, no text of the message and nothing that the receiver wrote, so
/// that it can be journaled and logged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Delivery {
    /// The receiver has it.
    Delivered,
    /// Not now; the same message may go through later.
    Retry {
        /// Why.
        reason: String,
        /// The receiver asked not to be tried before that time has passed; at most [`Delivery::AFTER_MAX`].
        after: Option<Duration>,
    },
    /// The receiver will not take it, however often it is tried.
    Refused {
        /// Why.
        reason: String,
    },
}

impl Delivery {
    /// The longest wait that a receiver can ask for: a day.
    pub const AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

    /// Later, without a wish of the receiver's.
    pub fn retry(reason: impl Into<String>) -> Self {
        Delivery::Retry { reason: reason.into(), after: None }
    }

    /// Never.
    pub fn refused(reason: impl Into<String>) -> Self {
        Delivery::Refused { reason: reason.into() }
    }
}

/// Carries messages by one channel.
///
/// Sending blocks the calling thread, for seconds if need be, up to the channel's own limits: call it from a pool made
/// for that, never from an arbiter or from an async task. Attempts of different messages may run at the same time.
pub trait Transport: Send + Sync {
    /// Tries once to deliver the message.
    fn send(&self, message: &Message) -> Delivery;

    /// What would be sent, for people to read. Secrets are left out.
    fn preview(&self, message: &Message) -> String;
}
