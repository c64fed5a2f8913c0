//! Messages: what is to be told, what was, and what could not be.

use ionveil_actors::domain::{OrgId, Timestamp};
use ionveil_actors::notification::{GetNotification, GetNotifications, Notification, Resend};
use uuid::Uuid;

use super::sla_monitor_service::not_found;
use crate::error::Error;
use crate::instance::IonVeil;

/// The outbox of every org.
#[derive(Clone)]
pub struct NotificationOutbox {
    ionveil: IonVeil,
}

impl NotificationOutbox {
    /// The outbox of a running IonVeil.
    pub fn new(ionveil: &IonVeil) -> Self {
        NotificationOutbox { ionveil: ionveil.clone() }
    }

    /// The same, acting at `now` instead of the clock's instant.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        NotificationOutbox { ionveil: self.ionveil.at(now) }
    }

    /// The messages of an org in the order in which they were queued.
    ///
    /// # Errors
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn list(&self, org: &OrgId, question: GetNotifications) -> Result<Vec<Notification>, Error> {
        Ok(self.ionveil.inner.notifications.ask(org.as_str(), question, self.ionveil.caller.clone()).await?)
    }

    /// Puts a dead letter back into the outbox, to be sent from the first try on.
    ///
    /// # Errors
    /// `not_found`; `conflict` when it is no dead letter.
    pub async fn resend(&self, notification_id: Uuid) -> Result<Notification, Error> {
        let notifications = &self.ionveil.inner.notifications;
        // An outbox that has never been written to holds no dead letter.
        for org in notifications.ids() {
            let question = GetNotification { notification_id };
            if notifications.ask(&org, question, self.ionveil.caller.clone()).await?.is_some() {
                let command = Resend { notification_id };
                return Ok(notifications.tell(&org, command, self.ionveil.caller.clone()).await?);
            }
        }
        Err(not_found("notification", notification_id))
    }
}
