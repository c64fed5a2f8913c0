//! What an org's policy can be asked.

use std::sync::Arc;

use serde::Serialize;

use super::scenario::PolicyScenario;
use super::state::{OrgPolicy, Transition};
use crate::domain::{OrgId, Timestamp};
use crate::error::Error;
use crate::runtime::{Given, Query};

/// Everything that is known. The answer of an org that nothing is known of is the platform's policy at its first level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetPolicy {
    /// The org, for the answer.
    pub org_id: OrgId,
}

/// The policy in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetCurrent;

/// Every change of policy, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetHistory;

/// The instant of the latest outcome or other change; `None` before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetLastInstant;

/// An org's policy as users see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyView {
    /// Whose.
    pub org_id: OrgId,
    /// The policy in force.
    pub policy: Arc<str>,
    /// Consecutive failures since the last success or escalation.
    pub failure_burst: u64,
    /// Consecutive successes since the last failure or transition.
    pub success_streak: u64,
    /// The ladder in force, with its thresholds.
    pub scenario: PolicyScenario,
    /// Every change of policy, oldest first.
    pub history: Vec<Transition>,
}

impl Query<OrgPolicy> for GetPolicy {
    type Answer = PolicyView;

    fn answer(self, state: &OrgPolicy, _: &Given) -> Result<PolicyView, Error> {
        let machine = state.machine();
        Ok(PolicyView {
            org_id: self.org_id,
            policy: state.policy().clone(),
            failure_burst: machine.failure_burst,
            success_streak: machine.success_streak,
            scenario: state.scenario().clone(),
            history: state.history().to_vec(),
        })
    }
}

impl Query<OrgPolicy> for GetCurrent {
    type Answer = Arc<str>;

    fn answer(self, state: &OrgPolicy, _: &Given) -> Result<Arc<str>, Error> {
        Ok(state.policy().clone())
    }
}

impl Query<OrgPolicy> for GetHistory {
    type Answer = Vec<Transition>;

    fn answer(self, state: &OrgPolicy, _: &Given) -> Result<Vec<Transition>, Error> {
        Ok(state.history().to_vec())
    }
}

impl Query<OrgPolicy> for GetLastInstant {
    type Answer = Option<Timestamp>;

    fn answer(self, state: &OrgPolicy, _: &Given) -> Result<Option<Timestamp>, Error> {
        Ok(state.last_at())
    }
}
