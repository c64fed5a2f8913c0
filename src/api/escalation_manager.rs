//! Who is told when nobody answers.

use ionveil_actors::alerts::{
    Alert, EscalateAlert, EscalateDue, Event, GetLastChange, PolicyWhatIf, PolicyWhatIfRun, TakeKnown,
};
use ionveil_actors::domain::{OrgId, Timestamp};
use ionveil_actors::error::Invalid;
use ionveil_actors::escalation::{EscalationPolicy, GetPolicy, SetPolicy};
use ionveil_actors::runtime::Caller;
use uuid::Uuid;

use super::known::known;
use super::sla_monitor_service::{as_user, org_of_alert, read_history};
use crate::error::Error;
use crate::instance::IonVeil;

/// Escalation policies, and the steps that alerts take by them.
#[derive(Clone)]
pub struct EscalationManager {
    ionveil: IonVeil,
}

impl EscalationManager {
    /// The manager of a running IonVeil.
    pub fn new(ionveil: &IonVeil) -> Self {
        EscalationManager { ionveil: ionveil.clone() }
    }

    /// The same, acting at `now` instead of the clock's instant.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        EscalationManager { ionveil: self.ionveil.at(now) }
    }

    /// The same, for one call that may be sent again under that id: [`IonVeil::with_command_id`].
    #[must_use]
    pub fn with_command_id(&self, command_id: Uuid) -> Self {
        EscalationManager { ionveil: self.ionveil.with_command_id(command_id) }
    }

    /// Puts a policy in force; alerts that were raised before keep theirs.
    ///
    /// Takes a command id: sent again, it also tells the org's alerts what a crash left untold.
    ///
    /// # Errors
    /// `invalid` when it could not be followed.
    pub async fn set_policy(&self, org: &OrgId, policy: EscalationPolicy) -> Result<EscalationPolicy, Error> {
        let version = self.ionveil.inner.escalation.tell(org.as_str(), SetPolicy { policy }, self.caller()).await?;
        if self.ionveil.is_in_background() {
            let known = known(&self.ionveil, org).await?;
            self.ionveil
                .inner
                .alerts
                .tell(org.as_str(), TakeKnown { known, at: None }, self.ionveil.following())
                .await?;
        }
        Ok(version.policy)
    }

    /// The policy in force; `None` when none was ever set.
    ///
    /// # Errors
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn get_policy(&self, org: &OrgId) -> Result<Option<EscalationPolicy>, Error> {
        let version = self.ionveil.inner.escalation.ask(org.as_str(), GetPolicy, self.caller()).await?;
        Ok(version.map(|version| version.policy))
    }

    /// Escalates every alert of every org that is due for it, one step each; replies with those alerts. An org with an
    /// unresolved alert that was touched later than the instant given is left as it is, with a warning in the log.
    ///
    /// Takes no command id: done again, it does what is due then.
    ///
    /// # Errors
    /// `invalid` when that is so of every org that has unresolved alerts.
    pub async fn check_escalations(&self) -> Result<Vec<Alert>, Error> {
        let alerts = &self.ionveil.inner.alerts;
        let (mut escalated, mut has_checked, mut too_early) = (Vec::new(), false, None);
        for org in alerts.ids() {
            let last = alerts.ask(&org, GetLastChange, self.caller()).await?;
            if let (Some(now), Some(last)) = (self.ionveil.caller.now, last)
                && now < last
            {
                tracing::warn!(org, %now, %last, "escalations are not checked: the org has alerts that were touched later");
                let allowed = format!("{last} or later, the last instant of what it touches");
                too_early = too_early.or(Some(Invalid::new("now", now, allowed)));
                continue;
            }
            has_checked |= last.is_some();
            escalated.extend(alerts.tell(&org, EscalateDue { at: None }, self.caller()).await?);
        }
        match too_early {
            Some(invalid) if !has_checked => Err(invalid.into()),
            _ => Ok(escalated),
        }
    }

    /// Passes an alert on to the next level, by hand.
    ///
    /// Takes a command id.
    ///
    /// # Errors
    /// `not_found`; `conflict` when it is acknowledged, resolved or suppressed, or all its steps or levels are used up.
    pub async fn escalate_alert(&self, alert_id: Uuid, user_id: &str, reason: &str) -> Result<Alert, Error> {
        let org = org_of_alert(&self.ionveil, alert_id, "escalated").await?;
        let (user, reason) = (user_id.to_owned(), reason.to_owned());
        let command = EscalateAlert { alert_id, user_id: user, reason, at: None };
        Ok(self.ionveil.inner.alerts.tell(&org, command, as_user(&self.ionveil, user_id)).await?)
    }

    /// What another policy would have done on the org's recorded alerts since `from`: their raises, acknowledgements and
    /// resolutions as they were, their steps by that policy, up to the last recorded instant. Nothing is changed.
    ///
    /// # Errors
    /// `invalid` when the policy could not be followed.
    pub async fn what_if(&self, org: &OrgId, policy: EscalationPolicy, from: Timestamp) -> Result<PolicyWhatIf, Error> {
        let run = PolicyWhatIfRun::new(org.clone(), policy, from)?;
        let take = |run: &mut PolicyWhatIfRun, _, event: &Event| run.take(event).map_err(|error| error.to_string());
        Ok(read_history(&self.ionveil, org.as_str(), run, take).await?.finish())
    }

    fn caller(&self) -> Caller {
        self.ionveil.caller.clone()
    }
}
