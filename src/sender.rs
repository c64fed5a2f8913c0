//! The outbox's hand: takes a message that is due, makes it of the alert as it stands, has the channel try once on a thread
//! that may block, and says what came of it.

use std::sync::Arc;

use ionveil_actors::alerts::{Alerts, GetAlert};
use ionveil_actors::notification::{Attempt, Kind, Notifications, Outgoing, RecordAttempt, Retry};
use ionveil_actors::runtime::{Caller, Clock, EffectHandler, Performing, Registry};
use serde_json::json;
use uuid::Uuid;

use crate::channels::{Channels, Delivery, Message, MessageKind};

/// Sends messages on the channels that are set up.
pub(crate) struct Sender {
    channels: Channels,
    alerts: Registry<Alerts>,
    clock: Arc<dyn Clock>,
}

impl Sender {
    pub(crate) fn new(channels: Channels, alerts: Registry<Alerts>, clock: Arc<dyn Clock>) -> Self {
        Sender { channels, alerts, clock }
    }
}

impl EffectHandler<Notifications> for Sender {
    fn perform(&self, org: &str, notification_id: Uuid, outgoing: Outgoing) -> Performing<RecordAttempt> {
        let channel = outgoing.notification.channel;
        let transport = self.channels.get(channel).cloned();
        let clock = Arc::clone(&self.clock);
        let question = GetAlert { alert_id: outgoing.notification.alert_id };
        let alert = self.alerts.ask(org, question, Caller::default());
        Box::pin(async move {
            let attempt = match (transport, alert.await) {
                (None, _) => failed(format!("channel {channel} is not set up"), Retry::Never),
                // It was raised, so it is there; what keeps its entity from saying so is not for ever.
                (_, Err(_) | Ok(None)) => failed("the alert cannot be read now".into(), Retry::Later),
                (Some(transport), Ok(Some(alert))) => {
                    let message = message(outgoing, json!(alert));
                    let sending = tokio::task::spawn_blocking(move || transport.send(&message));
                    // A channel that panics is a channel that failed.
                    let sent = sending.await.unwrap_or_else(|_| Delivery::retry("the channel panicked"));
                    attempt(sent)
                }
            };
            RecordAttempt { notification_id, at: clock.now(), attempt }
        })
    }
}

fn failed(error: String, retry: Retry) -> Attempt {
    Attempt::Failed { error, retry }
}

fn attempt(delivery: Delivery) -> Attempt {
    match delivery {
        Delivery::Delivered => Attempt::Delivered { sent_with: None },
        Delivery::Refused { reason } => failed(reason, Retry::Never),
        Delivery::Retry { reason, after: None } => failed(reason, Retry::Later),
        Delivery::Retry { reason, after: Some(after) } => failed(reason, Retry::After(after.as_secs())),
    }
}

fn message(outgoing: Outgoing, alert: serde_json::Value) -> Message {
    let Outgoing { notification, subject, .. } = outgoing;
    Message {
        notification_id: notification.notification_id,
        idempotency_key: notification.idempotency_key,
        kind: match notification.kind {
            Kind::Raised => MessageKind::Raised,
            Kind::Escalated => MessageKind::Escalated,
            Kind::Acknowledged => MessageKind::Acknowledged,
            Kind::Resolved => MessageKind::Resolved,
        },
        org_id: subject.org_id,
        alert_id: notification.alert_id,
        level: notification.level,
        cycle: notification.cycle,
        alert,
        others: Vec::new(),
        recipients: Vec::new(),
    }
}
