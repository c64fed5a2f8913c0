//! What an org's outbox can be asked.

use uuid::Uuid;

use super::event::Reached;
use super::pacing::Pacing;
use super::state::{Notification, NotificationStatus, Notifications};
use crate::domain::{Channel, OrgId};
use crate::error::Error;
use crate::runtime::{Given, Query};

/// Asks for messages in the order in which they were queued: every one, or those that stand so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GetNotifications {
    /// Only those about this alert.
    pub alert_id: Option<Uuid>,
    /// Those that are to be sent. With `dead` both kinds.
    pub pending: bool,
    /// Those that were given up.
    pub dead: bool,
}

impl Query<Notifications> for GetNotifications {
    type Answer = Vec<Notification>;

    fn answer(self, state: &Notifications, _: &Given) -> Result<Vec<Notification>, Error> {
        let fits = |message: &&Notification| {
            let by_status = match message.status {
                NotificationStatus::Pending => self.pending || !self.dead,
                NotificationStatus::Dead => self.dead || !self.pending,
                NotificationStatus::Delivered | NotificationStatus::Cancelled => !self.pending && !self.dead,
            };
            by_status && self.alert_id.is_none_or(|alert_id| message.alert_id == alert_id)
        };
        let all = state.order.iter().filter_map(|id| state.messages.get(id));
        Ok(all.filter(fits).cloned().collect())
    }
}

/// Asks for one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetNotification {
    /// Which.
    pub notification_id: Uuid,
}

impl Query<Notifications> for GetNotification {
    type Answer = Option<Notification>;

    fn answer(self, state: &Notifications, _: &Given) -> Result<Option<Notification>, Error> {
        Ok(state.messages.get(&self.notification_id).cloned())
    }
}

/// A message that is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// The message.
    pub notification: Notification,
    /// Whose it is.
    pub org_id: OrgId,
    /// What it tells of, in that order: most often of its own alert alone.
    pub told_of: Vec<ToldOf>,
    /// The levels whose people it is for.
    pub levels: Vec<u8>,
    /// Who has it already.
    pub reached: Option<Reached>,
}

/// A message that another one, or it itself, tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldOf {
    /// Which.
    pub notification_id: Uuid,
    /// Its alert.
    pub alert_id: Uuid,
    /// Its key.
    pub idempotency_key: String,
}

/// Asks for a message as it is to be sent; `None` when it is not to be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetOutgoing {
    /// Which.
    pub notification_id: Uuid,
}

impl Query<Notifications> for GetOutgoing {
    type Answer = Option<Outgoing>;

    fn answer(self, state: &Notifications, _: &Given) -> Result<Option<Outgoing>, Error> {
        let message = state.messages.get(&self.notification_id);
        let is_sent = message.is_some_and(|it| state.is_sending(it.notification_id));
        Ok(if is_sent { state.outgoing(self.notification_id) } else { None })
    }
}

/// Asks what else is told with what is to be told of an alert on a channel: alerts whose messages go, or would go as things
/// stand, in the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetCompanions {
    /// The alert.
    pub alert_id: Uuid,
    /// The channel.
    pub channel: Channel,
}

impl Query<Notifications> for GetCompanions {
    type Answer = Vec<Uuid>;

    fn answer(self, state: &Notifications, _: &Given) -> Result<Vec<Uuid>, Error> {
        let of_alert = state.alerts.get(&self.alert_id).into_iter().flat_map(|known| &known.messages);
        let mut messages = of_alert.filter_map(|id| state.messages.get(id));
        let is_meant = |it: &&Notification| it.channel == self.channel && it.status == NotificationStatus::Pending;
        let Some(message) = messages.rfind(is_meant) else { return Ok(Vec::new()) };
        let lead = message.sent_with.unwrap_or(message.notification_id);
        let companions: Vec<&Notification> = if state.summaries.contains_key(&lead) {
            state.pending_of(lead).collect()
        } else {
            let Some(key) = state.group_key(message) else { return Ok(Vec::new()) };
            let waiting = state.waiting.iter().map(|(_, id)| *id).chain(state.ready_on(self.channel));
            let waiting = waiting.filter_map(|id| state.messages.get(&id));
            waiting.filter(|other| state.group_key(other) == Some(key)).collect()
        };
        Ok(companions.into_iter().map(|it| it.alert_id).filter(|id| *id != self.alert_id).collect())
    }
}

/// Asks for the pacing in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetPacing;

impl Query<Notifications> for GetPacing {
    type Answer = Option<Pacing>;

    fn answer(self, state: &Notifications, _: &Given) -> Result<Option<Pacing>, Error> {
        Ok(state.pacing.clone())
    }
}
