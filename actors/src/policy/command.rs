//! What an org's policy can be told.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::scenario::PolicyScenario;
use super::state::Transition;
use crate::domain::Timestamp;
use crate::error::Invalid;

/// Takes in equal outcomes of one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordOutcomes {
    /// What they were.
    pub is_success: bool,
    /// How many, 1 to [`super::OUTCOMES_MAX`].
    pub count: u64,
    /// When; refused when earlier than the org's last instant. `None` is now, or the org's last instant if the clock is
    /// behind it.
    pub at: Option<Timestamp>,
}

/// Takes in outcomes that each have their instant, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordBatch {
    /// When, and whether it was a success. At most [`super::BATCH_OUTCOMES_MAX`].
    pub outcomes: Vec<(Timestamp, bool)>,
    /// Whether one that is earlier than what was recorded before it makes the whole batch invalid, instead of being
    /// rejected by itself.
    pub is_whole: bool,
}

/// What became of some outcomes.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// How many were taken in.
    pub accepted: u64,
    /// Those that were not; indices count from 0.
    pub rejected: Vec<RejectedOutcome>,
    /// The policy they led to.
    pub policy: Arc<str>,
    /// The changes of policy on the way.
    pub transitions: Vec<Transition>,
}

/// One outcome that was not taken in.
#[derive(Debug, Clone, PartialEq)]
pub struct RejectedOutcome {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// Why.
    pub because: Invalid,
}

/// What a person does to a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManualAction {
    /// One level up. A conflict at the last.
    Escalate,
    /// One level down. A conflict at the first.
    Deescalate,
    /// To the first level.
    Reset,
}

impl ManualAction {
    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            ManualAction::Escalate => "escalate",
            ManualAction::Deescalate => "deescalate",
            ManualAction::Reset => "reset",
        }
    }
}

impl fmt::Display for ManualAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Moves the policy by hand; both counters return to 0. Replies the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManualStep {
    /// Where to.
    pub action: ManualAction,
    /// Who does it: an identifier.
    pub user: String,
    /// Why: 1–1,000 characters, not blank.
    pub reason: String,
    /// When; as in [`RecordOutcomes`].
    pub at: Option<Timestamp>,
}

/// Gives the org a scenario's ladder and thresholds. The level is kept by the policy's name, with its counters; when the
/// new ladder has no such policy it is the first. Replies whether that was a change.
#[derive(Debug, Clone, PartialEq)]
pub struct Configure {
    /// The scenario.
    pub scenario: PolicyScenario,
    /// When; as in [`RecordOutcomes`].
    pub at: Option<Timestamp>,
}
