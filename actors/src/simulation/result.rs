//! What comes of a simulation, as its users see it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::pattern::{FailurePattern, Offset, PreparedPattern};
use super::run::Totals;
use crate::domain::Timestamp;
use crate::error::Invalid;
use crate::policy::{Ladder, PolicyScenario, Reason, Step};

/// Where a simulation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SimulationStatus {
    /// Created, or waiting to run.
    Pending,
    /// Under way.
    Running,
    /// Done; its result is kept.
    Completed,
    /// It could not be done.
    Failed,
    /// Somebody called it off.
    Cancelled,
}

impl SimulationStatus {
    /// Every status there is.
    pub const ALL: [SimulationStatus; 5] = [
        SimulationStatus::Pending,
        SimulationStatus::Running,
        SimulationStatus::Completed,
        SimulationStatus::Failed,
        SimulationStatus::Cancelled,
    ];

    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            SimulationStatus::Pending => "pending",
            SimulationStatus::Running => "running",
            SimulationStatus::Completed => "completed",
            SimulationStatus::Failed => "failed",
            SimulationStatus::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for SimulationStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SimulationStatus {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|status| status.as_str() == text);
        found.ok_or_else(|| Invalid::new("status", text, Self::ALL.map(Self::as_str).join(", ")))
    }
}

/// The outcome of one scenario under one pattern.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SimulationResult {
    /// The simulation's id.
    pub simulation_id: String,
    /// What was tried.
    pub scenario: PolicyScenario,
    /// What it was tried against.
    pub failure_pattern: Arc<FailurePattern>,
    /// Every change of policy, in order.
    pub policy_transitions: Vec<PolicyTransition>,
    /// The policy at the end; empty when the scenario has none.
    pub final_policy: String,
    /// Changes to a stricter policy.
    pub total_escalations: u64,
    /// Changes to a more permissive policy.
    pub total_deescalations: u64,
    /// Seconds in each policy of the order; their sum is the duration. Empty when nothing was simulated.
    #[serde(serialize_with = "as_map")]
    pub time_in_each_policy: Vec<(String, f64)>,
    /// Share of the simulated events that succeeded and did not meet suspended operations; 1 without events.
    pub sla_compliance_rate: f64,
    /// Completed, failed or cancelled.
    pub status: SimulationStatus,
    /// Why it failed.
    pub error_message: Option<String>,
    /// Events that the policy met.
    pub events_simulated: u64,
    /// Events at or after the duration.
    pub events_ignored: u64,
    /// Share of the failures that met the first policy; 0 without failures.
    pub exposure: f64,
}

/// One change of policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyTransition {
    /// The policy before.
    pub from: Arc<str>,
    /// The policy after.
    pub to: Arc<str>,
    /// When, from the virtual start.
    pub offset_seconds: Offset,
    /// The virtual instant.
    pub timestamp: Timestamp,
    /// `failure_burst:N` or `success_streak:N`.
    #[serde(serialize_with = "as_text")]
    pub reason: Reason,
}

impl SimulationResult {
    /// The result of a run that was completed.
    pub fn completed(
        simulation_id: String,
        scenario: PolicyScenario,
        failure_pattern: Arc<FailurePattern>,
        run: CompletedRun<'_>,
    ) -> Self {
        let CompletedRun { ladder, start, totals, steps, events_simulated, events_ignored, failures } = run;
        let transition = |&(offset, step): &(Offset, Step)| PolicyTransition {
            from: ladder.name(step.from).clone(),
            to: ladder.name(step.to).clone(),
            offset_seconds: offset,
            timestamp: start.saturating_add_micros(offset.as_micros()),
            reason: step.reason,
        };
        let seconds = |(name, &micros): (&Arc<str>, &i64)| (name.to_string(), micros as f64 / 1e6);
        SimulationResult {
            simulation_id,
            scenario,
            failure_pattern,
            policy_transitions: steps.iter().map(transition).collect(),
            final_policy: ladder.name(totals.final_level).to_string(),
            total_escalations: totals.escalations,
            total_deescalations: totals.deescalations,
            time_in_each_policy: ladder.names().iter().zip(&totals.micros_by_level).map(seconds).collect(),
            sla_compliance_rate: share(totals.compliant, events_simulated, 1.0),
            status: SimulationStatus::Completed,
            error_message: None,
            events_simulated,
            events_ignored,
            exposure: share(totals.exposed, failures, 0.0),
        }
    }

    /// The result of a run that came to nothing, with the reason if it failed. Nothing was simulated.
    pub fn unfinished(
        simulation_id: String,
        scenario: PolicyScenario,
        failure_pattern: Arc<FailurePattern>,
        status: SimulationStatus,
        error_message: Option<String>,
    ) -> Self {
        SimulationResult {
            simulation_id,
            final_policy: scenario.policy_order.first().cloned().unwrap_or_default(),
            scenario,
            failure_pattern,
            policy_transitions: Vec::new(),
            total_escalations: 0,
            total_deescalations: 0,
            time_in_each_policy: Vec::new(),
            sla_compliance_rate: 1.0,
            status,
            error_message,
            events_simulated: 0,
            events_ignored: 0,
            exposure: 0.0,
        }
    }
}

/// All that a completed run has come to.
#[derive(Debug)]
pub struct CompletedRun<'a> {
    /// The scenario's ladder.
    pub ladder: &'a Ladder,
    /// The virtual start.
    pub start: Timestamp,
    /// What it adds up to.
    pub totals: &'a Totals,
    /// The steps in order.
    pub steps: &'a [(Offset, Step)],
    /// Events that the policy met.
    pub events_simulated: u64,
    /// Events at or after the duration.
    pub events_ignored: u64,
    /// Failures among those that the policy met.
    pub failures: u64,
}

impl<'a> CompletedRun<'a> {
    /// A run over a prepared pattern.
    pub fn new(
        ladder: &'a Ladder,
        start: Timestamp,
        totals: &'a Totals,
        steps: &'a [(Offset, Step)],
        pattern: &PreparedPattern,
    ) -> Self {
        let (events_simulated, events_ignored) = (pattern.len() as u64, pattern.ignored());
        CompletedRun { ladder, start, totals, steps, events_simulated, events_ignored, failures: pattern.failures() }
    }
}

/// `part` of `whole`; `of_nothing` when there is no whole.
pub(super) fn share(part: u64, whole: u64, of_nothing: f64) -> f64 {
    if whole == 0 { of_nothing } else { part as f64 / whole as f64 }
}

pub(super) fn as_map<S: Serializer>(pairs: &[(String, f64)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(pairs.len()))?;
    for (name, value) in pairs {
        map.serialize_entry(name, value)?;
    }
    map.end()
}

fn as_text<S: Serializer>(reason: &Reason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(reason)
}
