//! What another escalation policy would have done on the recorded alerts.
//!
//! The org's events are taken in as they were recorded, but for the steps of escalation: those follow from the policy that
//! is tried, at the instants at which they would have been due. What people did is done again when they did it: an
//! acknowledgement stops the chain where it then is, and a step by hand is taken if the policy allows one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use super::SYSTEM;
use super::alert::AlertStatus;
use super::command::EscalateAlert;
use super::decide::{channels_told, steps_due};
use super::event::{AlertEscalated, AlertRaised, Event, PolicyTaken};
use super::state::Alerts;
use crate::domain::{Channel, OrgId, Timestamp};
use crate::error::{Corrupt, Error};
use crate::escalation::EscalationPolicy;
use crate::runtime::{Aggregate, Command, Given};

/// The revision of the policy that is tried.
const TRIED: u64 = 1;

/// One step of an alert, as far as it matters which there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WhatIfStep {
    /// When it was, or would have been, taken.
    pub at: Timestamp,
    /// Of which alert.
    pub alert_id: Uuid,
    /// By which rule that was raised.
    pub rule_id: String,
    /// About which incident.
    pub incident_id: Option<String>,
    /// The level that it leads to.
    pub to_level: u8,
    /// Counts every start of the chain, from 1.
    pub cycle: u32,
    /// Why.
    pub reason: String,
    /// Where people are told; nowhere when a suppression keeps that back.
    pub channels: Vec<Channel>,
}

/// A step that both take, at another instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MovedStep {
    /// As it would have been.
    #[serde(flatten)]
    pub step: WhatIfStep,
    /// When it was.
    pub recorded_at: Timestamp,
}

/// What was escalated, and what would have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyWhatIf {
    /// Whose alerts.
    pub org_id: OrgId,
    /// The policy that was tried.
    pub policy_id: String,
    /// Alerts that were raised.
    pub alerts: u64,
    /// Steps as they were taken, oldest first.
    pub recorded: Vec<WhatIfStep>,
    /// Steps as they would have been, oldest first.
    pub proposed: Vec<WhatIfStep>,
    /// Proposed and not recorded.
    pub added: Vec<WhatIfStep>,
    /// Recorded and not proposed.
    pub removed: Vec<WhatIfStep>,
    /// Both, at another instant.
    pub moved: Vec<MovedStep>,
    /// Steps by hand that the policy would have refused.
    pub refused: u64,
    /// Messages about raises and steps, one a channel, as they were.
    pub messages_recorded: u64,
    /// The same, as they would have been.
    pub messages_proposed: u64,
}

/// Lives an org's history through again.
pub struct PolicyWhatIfRun {
    state: Alerts,
    from: Timestamp,
    found: PolicyWhatIf,
}

impl PolicyWhatIfRun {
    /// Tries `policy` on all that is recorded, and tells what was raised and escalated from `from` on.
    ///
    /// # Errors
    /// When the policy could not be followed.
    pub fn new(org_id: OrgId, policy: EscalationPolicy, from: Timestamp) -> Result<Self, Error> {
        policy.check()?;
        let found = PolicyWhatIf {
            org_id,
            policy_id: policy.policy_id.clone(),
            alerts: 0,
            recorded: Vec::new(),
            proposed: Vec::new(),
            added: Vec::new(),
            removed: Vec::new(),
            moved: Vec::new(),
            refused: 0,
            messages_recorded: 0,
            messages_proposed: 0,
        };
        let mut run = PolicyWhatIfRun { state: Alerts::default(), from, found };
        let taken = PolicyTaken { revision: TRIED, at: Timestamp::MIN, policy };
        run.state.evolve(&Event::PolicyTaken(taken)).map_err(internal)?;
        Ok(run)
    }

    /// Takes in the org's next event as it was recorded.
    ///
    /// # Errors
    /// When no such event can follow on those before.
    pub fn take(&mut self, event: &Event) -> Result<(), Error> {
        self.run_until(event.at())?;
        match event {
            Event::PolicyTaken(_) => Ok(()),
            Event::Raised(raised) => self.raise(raised),
            Event::Escalated(step) => self.escalate(step),
            // The first one stays, and after its time-out it is the next that counts.
            Event::Acknowledged(event) if self.status(event.alert_id) == Some(AlertStatus::Acknowledged) => Ok(()),
            event => self.state.evolve(event).map_err(internal),
        }
    }

    /// What came of it, with every step that was due by the last recorded instant.
    pub fn finish(self) -> PolicyWhatIf {
        let mut found = self.found;
        let key = |step: &WhatIfStep| (step.alert_id, step.to_level, step.cycle);
        let mut recorded: BTreeMap<_, Vec<&WhatIfStep>> = BTreeMap::new();
        found.recorded.iter().rev().for_each(|step| recorded.entry(key(step)).or_default().push(step));
        for step in &found.proposed {
            match recorded.get_mut(&key(step)).and_then(Vec::pop) {
                None => found.added.push(step.clone()),
                Some(other) if other.at != step.at => {
                    found.moved.push(MovedStep { step: step.clone(), recorded_at: other.at });
                }
                Some(_) => {}
            }
        }
        found.removed = recorded.into_values().flatten().cloned().collect();
        found.removed.sort_by_key(|step| (step.at, step.alert_id));
        found
    }

    /// Takes each step when it is due. What comes later in the record may lie before: a check names its own instant.
    fn run_until(&mut self, until: Timestamp) -> Result<(), Error> {
        while let Some(due) = self.state.next_timer().filter(|&due| due <= until) {
            for event in steps_due(&self.state, due) {
                self.step(&event)?;
            }
        }
        Ok(())
    }

    fn raise(&mut self, raised: &AlertRaised) -> Result<(), Error> {
        let known = self.state.book.by_id(&raised.rule_id);
        let policy = self.state.policy().map(|(_, policy)| policy);
        let priority = raised.cause.priority();
        let channels = known.map_or_else(Vec::new, |known| channels_told(&known.rule, priority, policy));
        if raised.at >= self.from {
            self.found.alerts += 1;
            self.found.messages_recorded += raised.channels.len() as u64;
            self.found.messages_proposed += channels.len() as u64;
        }
        let raised = AlertRaised { policy: Some(TRIED), channels, ..raised.clone() };
        self.state.evolve(&Event::Raised(raised)).map_err(internal)
    }

    /// A step that was taken. One by hand is taken here as well.
    fn escalate(&mut self, step: &AlertEscalated) -> Result<(), Error> {
        if step.at >= self.from {
            let shown = self.shown(step);
            self.found.messages_recorded += shown.channels.len() as u64;
            self.found.recorded.push(shown);
        }
        if step.by == SYSTEM {
            return Ok(());
        }
        let again =
            EscalateAlert { alert_id: step.alert_id, user_id: step.by.clone(), reason: step.reason.clone(), at: None };
        let Ok(decision) = again.decide(&self.state, &Given::at(step.at)) else {
            self.found.refused += u64::from(step.at >= self.from);
            return Ok(());
        };
        decision.events.iter().try_for_each(|event| self.step(event))
    }

    fn step(&mut self, event: &Event) -> Result<(), Error> {
        if let Event::Escalated(step) = event
            && step.at >= self.from
        {
            let shown = self.shown(step);
            self.found.messages_proposed += shown.channels.len() as u64;
            self.found.proposed.push(shown);
        }
        self.state.evolve(event).map_err(internal)
    }

    fn shown(&self, step: &AlertEscalated) -> WhatIfStep {
        let index = self.state.alerts.index(step.alert_id);
        let alert = index.and_then(|index| self.state.alerts.get(index));
        let incident = alert.and_then(|alert| self.state.incidents.get(alert.incident));
        WhatIfStep {
            at: step.at,
            alert_id: step.alert_id,
            rule_id: alert.map(|alert| Arc::clone(&alert.rule_id)).unwrap_or_default().to_string(),
            incident_id: incident.map(|incident| incident.id.to_string()),
            to_level: step.to_level,
            cycle: step.cycle,
            reason: step.reason.clone(),
            channels: if step.held_back_by.is_none() { step.channels.clone() } else { Vec::new() },
        }
    }

    fn status(&self, alert_id: Uuid) -> Option<AlertStatus> {
        let index = self.state.alerts.index(alert_id)?;
        self.state.alerts.get(index).map(|alert| alert.status)
    }
}

fn internal(corrupt: Corrupt) -> Error {
    Error::Unavailable {
        reason: format!("the history cannot be lived through again: {corrupt}"),
        outcome_known: true,
        retry_after: None,
    }
}
