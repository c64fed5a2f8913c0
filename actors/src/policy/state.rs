//! What is known of an org's policy.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::machine::{Ladder, Machine, Reason, Step};
use super::scenario::PolicyScenario;
use crate::domain::Timestamp;

/// The policy of one org.
#[derive(Debug)]
pub struct OrgPolicy {
    pub(super) scenario: PolicyScenario,
    pub(super) ladder: Ladder,
    pub(super) machine: Machine,
    /// Oldest first.
    pub(super) history: Vec<Transition>,
    /// The latest instant of anything that happened.
    pub(super) last_at: Option<Timestamp>,
}

impl Default for OrgPolicy {
    fn default() -> Self {
        let scenario = PolicyScenario::default();
        let ladder = Ladder::new(&scenario).expect("the platform's own scenario is sound");
        OrgPolicy { scenario, ladder, machine: Machine::default(), history: Vec::new(), last_at: None }
    }
}

impl OrgPolicy {
    /// The ladder in force.
    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// The scenario in force.
    pub fn scenario(&self) -> &PolicyScenario {
        &self.scenario
    }

    /// Level and counters.
    pub fn machine(&self) -> Machine {
        self.machine
    }

    /// The policy in force.
    pub fn policy(&self) -> &Arc<str> {
        self.ladder.name(self.machine.level)
    }

    /// The latest instant of anything that happened; `None` before the first.
    pub fn last_at(&self) -> Option<Timestamp> {
        self.last_at
    }

    /// Every change of policy, oldest first.
    pub fn history(&self) -> &[Transition] {
        &self.history
    }
}

/// One change of policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// The policy before.
    pub from: Arc<str>,
    /// The policy after. The same as before only when an org at its first policy is reset.
    pub to: Arc<str>,
    /// When.
    pub timestamp: Timestamp,
    /// What led to it.
    pub reason: TransitionReason,
    /// Who did it, if it was done by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
}

impl Transition {
    pub(crate) fn of_step(ladder: &Ladder, timestamp: Timestamp, step: Step) -> Self {
        Transition {
            from: ladder.name(step.from).clone(),
            to: ladder.name(step.to).clone(),
            timestamp,
            reason: TransitionReason::Outcomes(step.reason),
            user: None,
        }
    }
}

/// What led to a change of policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransitionReason {
    /// Outcomes: `failure_burst:N` or `success_streak:N`.
    Outcomes(Reason),
    /// A person, with these words.
    Manual(Arc<str>),
    /// A new ladder, of the scenario of that name, in which the policy is not: `configured:NAME`.
    Configured(Arc<str>),
}

impl fmt::Display for TransitionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TransitionReason::Outcomes(reason) => reason.fmt(f),
            TransitionReason::Manual(words) => f.write_str(words),
            TransitionReason::Configured(scenario) => write!(f, "configured:{scenario}"),
        }
    }
}

impl Serialize for TransitionReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
