//! Alerts that are not wanted for a while.

use ionveil_actors::alerts::{
    AddSuppression, GetActiveSuppressions, GetSuppression, IsSuppressed, RemoveSuppression, Suppression,
};
use ionveil_actors::domain::{OrgId, Timestamp};
use uuid::Uuid;

use super::sla_monitor_service::as_user;
use crate::error::Error;
use crate::instance::IonVeil;

/// Suppressions: what matches one tells nobody while it is active.
#[derive(Clone)]
pub struct AlertSuppressionManager {
    ionveil: IonVeil,
}

impl AlertSuppressionManager {
    /// The manager of a running IonVeil.
    pub fn new(ionveil: &IonVeil) -> Self {
        AlertSuppressionManager { ionveil: ionveil.clone() }
    }

    /// The same, acting at `now` instead of the clock's instant.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        AlertSuppressionManager { ionveil: self.ionveil.at(now) }
    }

    /// The same, for one call that may be sent again under that id: [`IonVeil::with_command_id`].
    #[must_use]
    pub fn with_command_id(&self, command_id: Uuid) -> Self {
        AlertSuppressionManager { ionveil: self.ionveil.with_command_id(command_id) }
    }

    /// Suppresses the rules of an org whose whole id matches a regular expression, from now on, for so many minutes.
    ///
    /// Takes a command id.
    ///
    /// # Errors
    /// `invalid` for a pattern that is none, a duration out of range, or a reason or name that says nothing.
    pub async fn add_suppression(
        &self,
        org: &OrgId,
        rule_pattern: &str,
        duration_minutes: u32,
        reason: &str,
        created_by: &str,
    ) -> Result<Suppression, Error> {
        let command = AddSuppression {
            suppression_id: Uuid::now_v7(),
            org_id: org.clone(),
            rule_pattern: rule_pattern.to_owned(),
            duration_minutes,
            reason: reason.to_owned(),
            created_by: created_by.to_owned(),
            at: None,
        };
        let caller = as_user(&self.ionveil, created_by);
        Ok(self.ionveil.inner.alerts.tell(org.as_str(), command, caller).await?)
    }

    /// Whether the alerts of a rule are suppressed now.
    ///
    /// # Errors
    /// `invalid` when the rule's id is no identifier.
    pub async fn is_suppressed(&self, org: &OrgId, rule_id: &str) -> Result<bool, Error> {
        let question = IsSuppressed { rule_id: rule_id.to_owned(), at: None };
        Ok(self.ionveil.inner.alerts.ask(org.as_str(), question, self.ionveil.caller.clone()).await?)
    }

    /// Ends a suppression early; false when there is none of that id, or it is over.
    ///
    /// Takes a command id.
    ///
    /// # Errors
    /// `invalid` when the instant lies before the suppression.
    pub async fn remove_suppression(&self, suppression_id: Uuid) -> Result<bool, Error> {
        let alerts = &self.ionveil.inner.alerts;
        for org in alerts.ids() {
            let question = GetSuppression { suppression_id };
            if alerts.ask(&org, question, self.ionveil.caller.clone()).await?.is_some() {
                let command = RemoveSuppression { suppression_id, at: None };
                return Ok(alerts.tell(&org, command, self.ionveil.caller.clone()).await?);
            }
        }
        Ok(false)
    }

    /// The active suppressions of an org, oldest first; with `all` also those that are over.
    ///
    /// # Errors
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn get_active_suppressions(&self, org: &OrgId, all: bool) -> Result<Vec<Suppression>, Error> {
        let question = GetActiveSuppressions { all, at: None };
        Ok(self.ionveil.inner.alerts.ask(org.as_str(), question, self.ionveil.caller.clone()).await?)
    }
}
