//! Messages: what is to be told, what was, and what could not be.

use ionveil_actors::domain::{Channel, OrgId, Timestamp};
use ionveil_actors::notification::{
    GetCompanions, GetNotification, GetNotifications, GetOutgoing, GetPacing, Notification, Pacing, Resend, SetPacing,
};
use ionveil_actors::runtime::EffectHandler;
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

    /// The same, for one call that may be sent again under that id: [`IonVeil::with_command_id`].
    #[must_use]
    pub fn with_command_id(&self, command_id: Uuid) -> Self {
        NotificationOutbox { ionveil: self.ionveil.with_command_id(command_id) }
    }

    /// The messages of an org in the order in which they were queued.
    ///
    /// # Errors
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn list(&self, org: &OrgId, question: GetNotifications) -> Result<Vec<Notification>, Error> {
        Ok(self.ionveil.inner.notifications.ask(org.as_str(), question, self.ionveil.caller.clone()).await?)
    }

    /// Tries a dead letter again, from the first try on; one that was told together with others is told with them again. A
    /// system that runs by itself sends it by itself. One that does not tries once, if its channel is set up, and replies with
    /// what became of it.
    ///
    /// Takes a command id: sent again, it begins no second series of tries, but makes up for a try that a crash prevented, and
    /// the reply says how the message stands then.
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
                let resent = notifications.tell(&org, command, self.ionveil.caller.clone()).await?;
                if self.ionveil.is_in_background() || !self.is_set_up(resent.channel) {
                    return Ok(resent);
                }
                self.send(&org, resent.sent_with.unwrap_or(notification_id)).await?;
                let sent = notifications.ask(&org, question, self.ionveil.caller.clone()).await?;
                return Ok(sent.unwrap_or(resent));
            }
        }
        Err(not_found("notification", notification_id))
    }

    /// Whether messages of that channel leave here at all.
    pub fn is_set_up(&self, channel: Channel) -> bool {
        self.ionveil.inner.sender.is_set_up(channel)
    }

    /// Says when an org's messages go out. What waits is looked at anew.
    ///
    /// Takes a command id.
    ///
    /// # Errors
    /// `invalid` when it could not be kept.
    pub async fn set_pacing(&self, org: &OrgId, pacing: Pacing) -> Result<Pacing, Error> {
        let command = SetPacing { pacing };
        Ok(self.ionveil.inner.notifications.tell(org.as_str(), command, self.ionveil.caller.clone()).await?)
    }

    /// When an org's messages go out; `None` when it was never said: then at once, each alone.
    ///
    /// # Errors
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn get_pacing(&self, org: &OrgId) -> Result<Option<Pacing>, Error> {
        Ok(self.ionveil.inner.notifications.ask(org.as_str(), GetPacing, self.ionveil.caller.clone()).await?)
    }

    /// The other alerts that are told in the same message as this one on that channel, as things stand.
    ///
    /// # Errors
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn companions(&self, org: &OrgId, alert_id: Uuid, channel: Channel) -> Result<Vec<Uuid>, Error> {
        let question = GetCompanions { alert_id, channel };
        Ok(self.ionveil.inner.notifications.ask(org.as_str(), question, self.ionveil.caller.clone()).await?)
    }

    /// Tries once to send what is to be sent now.
    async fn send(&self, org: &str, notification_id: Uuid) -> Result<(), Error> {
        let inner = &self.ionveil.inner;
        let question = GetOutgoing { notification_id };
        let Some(outgoing) = inner.notifications.ask(org, question, self.ionveil.caller.clone()).await? else {
            return Ok(());
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.map_err(|source| Error::Io { doing: "making a runtime to send with".into(), source })?;
        let performing = inner.sender.perform(org, notification_id, outgoing);
        let outcome = inner.runtime.run_blocking(move || Ok(runtime.block_on(performing)));
        let outcome = outcome.await?;
        inner.notifications.tell(org, outcome, self.ionveil.following()).await?;
        Ok(())
    }
}
