//! Live policies: one per org, driven by the successes and failures it reports.

use std::sync::Arc;

use ionveil_actors::domain::{OrgId, Timestamp, check_id};
use ionveil_actors::error::Invalid;
use ionveil_actors::policy::metadata::{self, PolicyMetadata};
use ionveil_actors::policy::{
    BATCH_OUTCOMES_MAX, Configure, GetCurrent, GetHistory, GetLastInstant, GetPolicy, ManualAction, ManualStep,
    PolicyScenario, PolicyView, RecordBatch, RecordOutcomes, Recorded, Transition,
};
use ionveil_actors::runtime::{Caller, Query};
use ionveil_journal::Position;
use uuid::Uuid;

use super::SYSTEM;
use crate::error::Error;
use crate::instance::IonVeil;

/// The policies of all orgs.
///
/// Changes are stamped by the system's clock, or with an instant that is given ([`PolicyEngine::at`]). An org has the
/// platform's ladder and thresholds until it is configured.
#[derive(Clone)]
pub struct PolicyEngine {
    ionveil: IonVeil,
    at: Option<Timestamp>,
}

impl PolicyEngine {
    /// The engine of a running IonVeil.
    pub fn new(ionveil: &IonVeil) -> Self {
        PolicyEngine { ionveil: ionveil.clone(), at: None }
    }

    /// Stamps what it changes with `at`, which is refused when it is earlier than an org's last instant.
    #[must_use]
    pub fn at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }

    /// The same, for one call that may be sent again under that id: [`IonVeil::with_command_id`].
    #[must_use]
    pub fn with_command_id(mut self, command_id: Uuid) -> Self {
        self.ionveil = self.ionveil.with_command_id(command_id);
        self
    }

    /// The policy in force.
    ///
    /// # Errors
    /// As every method: `overloaded`, `unavailable`, `corrupt`.
    pub async fn current(&self, org: &OrgId) -> Result<Arc<str>, Error> {
        self.ask(org, GetCurrent).await
    }

    /// Takes in one success.
    ///
    /// Takes a command id.
    ///
    /// # Errors
    /// `invalid` when the instant given is earlier than the org's last one.
    pub async fn record_success(&self, org: &OrgId) -> Result<Recorded, Error> {
        self.record(org, true, 1).await
    }

    /// Takes in one failure.
    ///
    /// Takes a command id.
    ///
    /// # Errors
    /// As [`PolicyEngine::record_success`].
    pub async fn record_failure(&self, org: &OrgId) -> Result<Recorded, Error> {
        self.record(org, false, 1).await
    }

    /// Takes in `count` equal outcomes of one instant, 1 to 10⁷.
    ///
    /// Takes a command id.
    ///
    /// # Errors
    /// As [`PolicyEngine::record_success`]; also when the count is out of range.
    pub async fn record(&self, org: &OrgId, is_success: bool, count: u64) -> Result<Recorded, Error> {
        let command = RecordOutcomes { is_success, count, at: self.at };
        Ok(self.ionveil.inner.policies.tell(org.as_str(), command, self.ionveil.caller.clone()).await?)
    }

    /// Takes in outcomes with their instants, in this order. One that is earlier than what was recorded before it is
    /// rejected with its index; the others are taken in.
    ///
    /// Takes a command id for up to a million outcomes whose report fits in 1 MiB; others are refused with it, and nothing is
    /// taken in.
    ///
    /// # Errors
    /// Only when no report can be given. Some of more than a million outcomes may then have been taken in.
    pub async fn record_batch(&self, org: &OrgId, outcomes: &[(Timestamp, bool)]) -> Result<Recorded, Error> {
        self.record_all(org, outcomes, false).await
    }

    /// Takes in outcomes with their instants, which must be in order and not earlier than the org's last one.
    ///
    /// Takes a command id for up to a million outcomes whose report fits in 1 MiB; others are refused with it, and nothing is
    /// taken in.
    ///
    /// # Errors
    /// `invalid` when they are not; of up to a million outcomes none is then taken in.
    pub async fn import(&self, org: &OrgId, outcomes: &[(Timestamp, bool)]) -> Result<Recorded, Error> {
        self.record_all(org, outcomes, true).await
    }

    async fn record_all(&self, org: &OrgId, outcomes: &[(Timestamp, bool)], is_whole: bool) -> Result<Recorded, Error> {
        if let Some(command_id) = self.ionveil.caller.command_id.filter(|_| outcomes.len() > BATCH_OUTCOMES_MAX) {
            let allowed = format!("none for more than {BATCH_OUTCOMES_MAX} outcomes, which are several commands");
            return Err(Invalid::new("command_id", command_id, allowed).into());
        }
        let policy = self.current(org).await?;
        let mut all = Recorded { accepted: 0, rejected: Vec::new(), policy, transitions: Vec::new() };
        for (number, part) in outcomes.chunks(BATCH_OUTCOMES_MAX).enumerate() {
            let command = RecordBatch { outcomes: part.to_vec(), is_whole };
            let caller = self.ionveil.caller.clone();
            let recorded = self.ionveil.inner.policies.tell(org.as_str(), command, caller).await?;
            all.accepted += recorded.accepted;
            all.rejected.extend(recorded.rejected.into_iter().map(|mut rejected| {
                rejected.index += number * BATCH_OUTCOMES_MAX;
                rejected
            }));
            all.policy = recorded.policy;
            all.transitions.extend(recorded.transitions);
        }
        Ok(all)
    }

    /// Moves one level up. It is recorded as done by `user`.
    ///
    /// Takes a command id.
    ///
    /// # Errors
    /// `conflict` at the last level; `invalid` when the user is no identifier or the reason blank or too long.
    pub async fn escalate(&self, org: &OrgId, user: &str, reason: &str) -> Result<Transition, Error> {
        self.step(org, ManualAction::Escalate, user, reason).await
    }

    /// Moves one level down. It is recorded as done by `user`.
    ///
    /// Takes a command id.
    ///
    /// # Errors
    /// `conflict` at the first level; else as [`PolicyEngine::escalate`].
    pub async fn deescalate(&self, org: &OrgId, user: &str, reason: &str) -> Result<Transition, Error> {
        self.step(org, ManualAction::Deescalate, user, reason).await
    }

    /// Moves to the first level, also from there. It is recorded as done by `user`.
    ///
    /// Takes a command id.
    ///
    /// # Errors
    /// As [`PolicyEngine::escalate`], without the conflict.
    pub async fn reset(&self, org: &OrgId, user: &str, reason: &str) -> Result<Transition, Error> {
        self.step(org, ManualAction::Reset, user, reason).await
    }

    /// Moves by hand.
    ///
    /// Takes a command id.
    ///
    /// # Errors
    /// As [`PolicyEngine::escalate`].
    pub async fn step(&self, org: &OrgId, action: ManualAction, user: &str, reason: &str) -> Result<Transition, Error> {
        check_id("user", user)?;
        if user == SYSTEM {
            return Err(Invalid::new("user", user, "any name but that of the system itself").into());
        }
        let command = ManualStep { action, user: user.to_owned(), reason: reason.to_owned(), at: self.at };
        // Who moves a policy is who stands in the audit trail for it, whoever passes it on.
        let caller = Caller { principal: Some(user.into()), ..self.ionveil.caller.clone() };
        Ok(self.ionveil.inner.policies.tell(org.as_str(), command, caller).await?)
    }

    /// Puts a scenario's ladder and thresholds in force. The policy is kept by its name, with its counters; when the ladder
    /// does not have it, the first is in force. False when that is the scenario in force already.
    ///
    /// Takes a command id.
    ///
    /// # Errors
    /// `invalid` when the scenario is.
    pub async fn configure(&self, org: &OrgId, scenario: PolicyScenario) -> Result<bool, Error> {
        let command = Configure { scenario, at: self.at };
        Ok(self.ionveil.inner.policies.tell(org.as_str(), command, self.ionveil.caller.clone()).await?)
    }

    /// Every change of policy, oldest first.
    ///
    /// # Errors
    /// As [`PolicyEngine::current`].
    pub async fn history(&self, org: &OrgId) -> Result<Vec<Transition>, Error> {
        self.ask(org, GetHistory).await
    }

    /// Policy, counters, scenario and history.
    ///
    /// # Errors
    /// As [`PolicyEngine::current`].
    pub async fn get(&self, org: &OrgId) -> Result<PolicyView, Error> {
        self.ask(org, GetPolicy { org_id: org.clone() }).await
    }

    /// As [`PolicyEngine::get`], as it was known at a position of the journal.
    ///
    /// # Errors
    /// As [`PolicyEngine::current`].
    pub async fn get_at(&self, org: &OrgId, position: Position) -> Result<PolicyView, Error> {
        let (question, caller) = (GetPolicy { org_id: org.clone() }, self.ionveil.caller.clone());
        Ok(self.ionveil.inner.policies.ask_at(org.as_str(), position, question, caller).await?)
    }

    /// The instant of the org's latest outcome or other change; `None` before the first.
    ///
    /// # Errors
    /// As [`PolicyEngine::current`].
    pub async fn last_instant(&self, org: &OrgId) -> Result<Option<Timestamp>, Error> {
        self.ask(org, GetLastInstant).await
    }

    /// What the policy in force means to those who work under it; `None` when it is not one of the platform's.
    ///
    /// # Errors
    /// As [`PolicyEngine::current`].
    pub async fn metadata(&self, org: &OrgId) -> Result<Option<&'static PolicyMetadata>, Error> {
        Ok(metadata::of(&self.current(org).await?))
    }

    async fn ask<Q: Query<ionveil_actors::policy::OrgPolicy>>(
        &self,
        org: &OrgId,
        query: Q,
    ) -> Result<Q::Answer, Error> {
        Ok(self.ionveil.inner.policies.ask(org.as_str(), query, self.ionveil.caller.clone()).await?)
    }
}
