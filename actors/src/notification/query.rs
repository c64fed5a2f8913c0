//! What an org's outbox can be asked.

use uuid::Uuid;

use super::event::Subject;
use super::state::{Notification, NotificationStatus, Notifications};
use crate::domain::Timestamp;
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

/// A message and all that it can say.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// The message.
    pub notification: Notification,
    /// What it is about.
    pub subject: Subject,
    /// Why the alert went up last.
    pub reason: Option<String>,
    /// Who resolved the alert and how.
    pub resolved: Option<(String, String)>,
}

/// Asks for what is to be sent, earliest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetDue {
    /// As of when; the clock's instant when it is left out.
    pub at: Option<Timestamp>,
    /// Most messages.
    pub messages_max: usize,
}

impl Query<Notifications> for GetDue {
    type Answer = Vec<Outgoing>;

    fn answer(self, state: &Notifications, given: &Given) -> Result<Vec<Outgoing>, Error> {
        let now = self.at.unwrap_or(given.now);
        let due = state.sending.iter().chain(state.waiting.iter().take_while(|&&(at, _)| at <= now));
        Ok(due.take(self.messages_max).filter_map(|&(_, id)| state.outgoing(id)).collect())
    }
}
