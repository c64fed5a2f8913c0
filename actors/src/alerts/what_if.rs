//! What other rules or another policy would have raised: the org's recorded checks and suppressions, lived through again.
//!
//! Everything that came from outside is told again at its own instant, and between those instants the deadlines come due as
//! they do in a system that never was down. What people did with alerts is not told: the alerts are others.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

use super::command::{CheckIncident, JudgeWindow, Known, RunDue};
use super::event::{AlertRaised, Event};
use super::state::Alerts;
use super::window_judge::ClosedWindow;
use crate::domain::{OrgId, Timestamp};
use crate::error::Error;
use crate::escalation::PolicyVersion;
use crate::rules::{AlertRule, AlertSeverity, RuleSet};
use crate::runtime::{Aggregate, Command, Given};

/// An alert, as far as it matters which there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WhatIfAlert {
    /// When it was, or would have been, raised.
    pub at: Timestamp,
    /// By which rule.
    pub rule_id: String,
    /// About which incident.
    pub incident_id: Option<String>,
    /// How bad.
    pub severity: AlertSeverity,
}

/// What was raised, and what would have been.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WhatIf {
    /// Whose incidents.
    pub org_id: OrgId,
    /// The rules that were tried.
    pub rules: Vec<String>,
    /// Incidents that were told again.
    pub checks: u64,
    /// What these rules raised as it was, oldest first.
    pub recorded: Vec<WhatIfAlert>,
    /// What they would have raised, oldest first.
    pub proposed: Vec<WhatIfAlert>,
    /// Proposed and not recorded.
    pub added: Vec<WhatIfAlert>,
    /// Recorded and not proposed.
    pub removed: Vec<WhatIfAlert>,
    /// Escalations there would have been if nobody had answered.
    pub escalations: u64,
}

/// Lives an org's history through again.
pub struct WhatIfRun {
    org_id: OrgId,
    tried: Vec<AlertRule>,
    policy: Option<Arc<PolicyVersion>>,
    from: Timestamp,
    state: Alerts,
    checks: u64,
    recorded: Vec<WhatIfAlert>,
    proposed: Vec<WhatIfAlert>,
    escalations: u64,
}

impl WhatIfRun {
    /// Tries `rules` on what is recorded from `from` on.
    ///
    /// # Errors
    /// When a rule is out of range.
    pub fn new(
        org_id: OrgId,
        rules: Vec<AlertRule>,
        policy: Option<PolicyVersion>,
        from: Timestamp,
    ) -> Result<Self, Error> {
        let numbered = |(rule, number): (AlertRule, u32)| rule.check().map(|()| AlertRule { version: number, ..rule });
        let tried = rules.into_iter().zip(1..).map(numbered).collect::<Result<Vec<_>, _>>()?;
        Ok(WhatIfRun {
            org_id,
            tried,
            policy: policy.map(Arc::new),
            from,
            state: Alerts::default(),
            checks: 0,
            recorded: Vec::new(),
            proposed: Vec::new(),
            escalations: 0,
        })
    }

    fn known(&self) -> Known {
        let rules = RuleSet { revision: 1, rules: self.tried.clone() };
        Known { org_id: self.org_id.clone(), rules: Arc::new(rules), policy: self.policy.clone() }
    }

    /// Takes in the org's next event as it was recorded.
    ///
    /// # Errors
    /// When it cannot be told again.
    pub fn take(&mut self, event: &Event) -> Result<(), Error> {
        match event {
            Event::IncidentChecked(check) => {
                self.checks += 1;
                self.run_until(check.at)?;
                let command = CheckIncident {
                    incident_id: check.incident_id.clone(),
                    priority: check.priority.get().into(),
                    dispatch_time: check.dispatch_time,
                    arrival_time: check.arrival_time,
                    closed_time: check.closed_time,
                    at: None,
                    known: self.known(),
                };
                match self.tell(command, check.at) {
                    // The incident is over for longer than it was with the alerts that really were raised, and forgotten.
                    Err(Error::Invalid(_)) => Ok(()),
                    told => told,
                }
            }
            Event::WindowJudged(window) => {
                // The value stands in the record; whether it is met is for the tried rule to say, if it measures the same.
                let Some(rule) = self.tried.iter().find(|rule| rule.rule_id == window.rule_id) else { return Ok(()) };
                let closed = ClosedWindow {
                    rule_id: window.rule_id.clone(),
                    rule_version: rule.version,
                    window_start: window.window_start,
                    window_end: window.window_end,
                    value: window.value,
                    samples: window.samples,
                    closed_by: window.closed_by,
                };
                self.run_until(window.at)?;
                let known = self.known();
                self.tell(JudgeWindow { window: closed, known, at: None }, window.at)
            }
            Event::SuppressionAdded(added) => {
                self.run_until(added.at)?;
                Ok(self.apply(event)?)
            }
            Event::SuppressionRemoved(removed) => {
                self.run_until(removed.at)?;
                Ok(self.apply(event)?)
            }
            Event::Raised(raised) => {
                if self.tried.iter().any(|rule| rule.rule_id == raised.rule_id) && raised.at >= self.from {
                    self.recorded.push(shown(raised));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What came of it, with everything that is due up to `until`.
    ///
    /// # Errors
    /// As [`WhatIfRun::take`].
    pub fn finish(mut self, until: Timestamp) -> Result<WhatIf, Error> {
        self.run_until(until)?;
        let (added, removed) = (without(&self.proposed, &self.recorded), without(&self.recorded, &self.proposed));
        Ok(WhatIf {
            org_id: self.org_id,
            rules: self.tried.into_iter().map(|rule| rule.rule_id).collect(),
            checks: self.checks,
            recorded: self.recorded,
            proposed: self.proposed,
            added,
            removed,
            escalations: self.escalations,
        })
    }

    /// Does everything when it is due. What comes later in the record may lie before: a check names its own instant.
    fn run_until(&mut self, until: Timestamp) -> Result<(), Error> {
        while let Some(due) = self.state.next_due().filter(|&due| due <= until) {
            self.tell(RunDue { items_max: 1_000 }, due)?;
        }
        Ok(())
    }

    fn tell<C: Command<Alerts>>(&mut self, command: C, now: Timestamp) -> Result<(), Error> {
        let given = Given { id: Uuid::nil(), ..Given::at(now) };
        let decision = command.decide(&self.state, &given)?;
        for event in &decision.events {
            self.apply(event)?;
            match event {
                Event::Raised(raised) if raised.at >= self.from => self.proposed.push(shown(raised)),
                Event::Escalated(step) if step.at >= self.from => self.escalations += 1,
                _ => {}
            }
        }
        Ok(())
    }

    fn apply(&mut self, event: &Event) -> Result<(), Error> {
        self.state.evolve(event).map_err(|corrupt| Error::Unavailable {
            reason: format!("the history cannot be lived through again: {corrupt}"),
            outcome_known: true,
            retry_after: None,
        })
    }
}

fn shown(raised: &AlertRaised) -> WhatIfAlert {
    WhatIfAlert {
        at: raised.at,
        rule_id: raised.rule_id.clone(),
        incident_id: raised.incident_id.clone(),
        severity: raised.severity,
    }
}

/// Those of `alerts` that have no counterpart of the same rule and incident among `others`, each counterpart counted once.
fn without(alerts: &[WhatIfAlert], others: &[WhatIfAlert]) -> Vec<WhatIfAlert> {
    let key = |alert: &WhatIfAlert| (alert.rule_id.clone(), alert.incident_id.clone());
    let mut left: BTreeMap<_, usize> = BTreeMap::new();
    others.iter().for_each(|alert| *left.entry(key(alert)).or_default() += 1);
    let is_alone = |alert: &&WhatIfAlert| match left.get_mut(&key(alert)) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    alerts.iter().filter(is_alone).cloned().collect()
}
