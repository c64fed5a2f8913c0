//! The outbox's hand: takes a message that is due, makes it of the alerts as they stand, has the channel try once on a thread
//! that may block, and says what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use ionveil_actors::alerts::{Alert, Alerts, GetAlert};
use ionveil_actors::domain::Channel;
use ionveil_actors::notification::{Attempt, Kind, Notifications, Outgoing, RecordAttempt, Retry};
use ionveil_actors::runtime::{Caller, Clock, EffectHandler, Performing, Registry};
use serde_json::json;
use tokio::sync::OwnedMutexGuard;
use uuid::Uuid;

use crate::channels::{Channels, Delivery, Message, MessageKind, Told};

/// Sends messages on the channels that are set up.
#[derive(Clone)]
pub(crate) struct Sender {
    channels: Channels,
    alerts: Registry<Alerts>,
    clock: Arc<dyn Clock>,
    turns: Turns,
}

impl Sender {
    pub(crate) fn new(channels: Channels, alerts: Registry<Alerts>, clock: Arc<dyn Clock>) -> Self {
        Sender { channels, alerts, clock, turns: Turns::default() }
    }

    /// Whether a message of that channel would leave.
    pub(crate) fn is_set_up(&self, channel: Channel) -> bool {
        self.channels.get(channel).is_some()
    }

    /// Tries once.
    async fn send(&self, org: &str, outgoing: &Outgoing) -> Attempt {
        let channel = outgoing.notification.channel;
        let Some(transport) = self.channels.get(channel).cloned() else {
            return failed(format!("channel {channel} is not set up"), Retry::Never, None);
        };
        let alert_ids: Vec<Uuid> = outgoing.told_of.iter().map(|told| told.alert_id).collect();
        let _turn = self.turns.wait_for(channel, &alert_ids).await;
        let mut alerts = Vec::with_capacity(alert_ids.len());
        for alert_id in alert_ids {
            match self.alerts.ask(org, GetAlert { alert_id }, Caller::default()).await {
                Ok(Some(alert)) => alerts.push(alert),
                // It was raised, so it is there; what keeps its entity from saying so is not for ever.
                Err(_) | Ok(None) => return failed("the alert cannot be read now".into(), Retry::Later, None),
            }
        }
        let Some(message) = message(outgoing, &alerts) else {
            return failed("there is nothing to tell any more".into(), Retry::Later, None);
        };
        let told = message.told.clone();
        let sending = tokio::task::spawn_blocking(move || transport.send(&message));
        // A channel that panics is a channel that failed.
        let delivery = sending.await.unwrap_or_else(|_| Delivery::retry("the channel panicked"));
        match delivery {
            Delivery::Delivered => Attempt::Delivered,
            Delivery::Refused { reason } => failed(reason, Retry::Never, Some(&told)),
            Delivery::Retry { reason, after: None } => failed(reason, Retry::Later, Some(&told)),
            Delivery::Retry { reason, after: Some(after) } => {
                failed(reason, Retry::After(after.as_secs()), Some(&told))
            }
        }
    }
}

impl EffectHandler<Notifications> for Sender {
    fn perform(&self, org: &str, notification_id: Uuid, outgoing: Outgoing) -> Performing<RecordAttempt> {
        let (sender, org) = (self.clone(), org.to_owned());
        Box::pin(async move {
            let attempt = sender.send(&org, &outgoing).await;
            let told_of = outgoing.told_of.into_iter().map(|told| told.notification_id).collect();
            RecordAttempt { notification_id, told_of, at: sender.clock.now(), attempt }
        })
    }
}

fn failed(error: String, retry: Retry, told: Option<&Told>) -> Attempt {
    Attempt::Failed { error, retry, reached: told.and_then(Told::reached) }
}

/// The message, about the first of the alerts and further ones.
fn message(outgoing: &Outgoing, alerts: &[Alert]) -> Option<Message> {
    let Outgoing { notification, org_id, told_of, levels, reached } = outgoing;
    let (first, others) = alerts.split_first()?;
    Some(Message {
        notification_id: notification.notification_id,
        idempotency_key: notification.idempotency_key.clone(),
        kind: match notification.kind {
            Kind::Raised => MessageKind::Raised,
            Kind::Escalated => MessageKind::Escalated,
            Kind::Acknowledged => MessageKind::Acknowledged,
            Kind::Resolved => MessageKind::Resolved,
        },
        org_id: org_id.clone(),
        alert_id: first.alert_id,
        level: notification.level,
        levels: levels.clone(),
        cycle: notification.cycle,
        alert: json!(first),
        others: others.iter().map(|alert| json!(alert)).collect(),
        other_keys: told_of.iter().skip(1).map(|told| told.idempotency_key.clone()).collect(),
        recipients: Vec::new(),
        told: Told::new(reached.clone()),
    })
}

/// One after the other, what is told of an alert on a channel: an end must not overtake what it ends.
#[derive(Clone, Default)]
struct Turns(Arc<Mutex<BTreeMap<(Channel, Uuid), Turn>>>);

/// Held by whoever tells of the alert.
type Turn = Arc<tokio::sync::Mutex<()>>;

impl Turns {
    async fn wait_for(&self, channel: Channel, alert_ids: &[Uuid]) -> Vec<OwnedMutexGuard<()>> {
        let of_each: Vec<Turn> = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // What nobody holds or waits for any more is known here alone.
            all.retain(|_, turn| Arc::strong_count(turn) > 1);
            // In one order, so that no two wait for each other.
            let alert_ids: BTreeSet<Uuid> = alert_ids.iter().copied().collect();
            alert_ids.into_iter().map(|id| Arc::clone(all.entry((channel, id)).or_default())).collect()
        };
        let mut turns = Vec::with_capacity(of_each.len());
        for turn in of_each {
            turns.push(turn.lock_owned().await);
        }
        turns
    }
}
