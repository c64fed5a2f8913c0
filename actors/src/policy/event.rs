//! What can have happened to an org's policy, as it is stored. Catalogue: `docs/events.md`.

use std::collections::BTreeMap;

use ionveil_journal::codec::{self, DecodeError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::command::ManualAction;
use super::machine::Reason;
use super::outcome_log::OutcomeLog;
use super::scenario::PolicyScenario;
use crate::domain::Timestamp;
use crate::runtime;

/// An event of a `policy/{org}` stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Outcomes were taken in.
    Recorded(OutcomesRecorded),
    /// A person moved the policy.
    Moved(ManuallyMoved),
    /// The ladder was changed.
    Configured(PolicyConfigured),
}

/// `outcomes-recorded`, version 1: successes and failures, and the steps they led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomesRecorded {
    /// The outcomes; times are microseconds since 1970.
    pub outcomes: OutcomeLog,
    /// The changes of policy on the way, in order.
    pub steps: Vec<StoredStep>,
}

/// A change of policy by an outcome. Levels count from 0, the most permissive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredStep {
    /// Which outcome of the event, from 0.
    pub outcome: u64,
    /// The level before.
    pub from_level: u32,
    /// The level after.
    pub to_level: u32,
    /// What it took.
    pub reason: Reason,
}

/// `policy-moved`, version 1: by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManuallyMoved {
    /// When.
    pub at: Timestamp,
    /// What was done.
    pub action: ManualAction,
    /// The policy before.
    pub from: String,
    /// The policy after.
    pub to: String,
    /// Who did it.
    pub user: String,
    /// Why.
    pub reason: String,
}

/// `policy-configured`, version 1: another ladder is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyConfigured {
    /// When.
    pub at: Timestamp,
    /// The ladder and its thresholds.
    pub scenario: StoredScenario,
    /// The policy before.
    pub from: String,
    /// The policy after: the same, or the first when the new ladder does not have it.
    pub to: String,
}

/// A checked scenario as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredScenario {
    /// Not empty.
    pub name: String,
    /// Most permissive first.
    pub policy_order: Vec<String>,
    /// At least 1.
    pub escalation_threshold: i64,
    /// By policy, at least 1.
    pub deescalation_thresholds: BTreeMap<String, i64>,
    /// A JSON object as text; bincode cannot read back what describes itself.
    pub metadata: Option<String>,
}

impl From<&PolicyScenario> for StoredScenario {
    fn from(scenario: &PolicyScenario) -> Self {
        let metadata = &scenario.metadata;
        StoredScenario {
            name: scenario.name.clone(),
            policy_order: scenario.policy_order.clone(),
            escalation_threshold: scenario.escalation_threshold,
            deescalation_thresholds: scenario.deescalation_thresholds.clone(),
            metadata: (!metadata.is_empty()).then(|| Value::Object(metadata.clone()).to_string()),
        }
    }
}

impl From<&StoredScenario> for PolicyScenario {
    fn from(stored: &StoredScenario) -> Self {
        PolicyScenario {
            name: stored.name.clone(),
            policy_order: stored.policy_order.clone(),
            escalation_threshold: stored.escalation_threshold,
            deescalation_thresholds: stored.deescalation_thresholds.clone(),
            metadata: stored.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default(),
        }
    }
}

const RECORDED: &str = "outcomes-recorded";
const MOVED: &str = "policy-moved";
const CONFIGURED: &str = "policy-configured";

/// Every form that was ever released; see [`crate::dispatch::RELEASED`]. Golden files: `actors/tests/fixtures/policy`.
pub const RELEASED: &[(&str, u16)] = &[(RECORDED, 1), (MOVED, 1), (CONFIGURED, 1)];

impl runtime::Event for Event {
    fn event_type(&self) -> &'static str {
        match self {
            Event::Recorded(_) => RECORDED,
            Event::Moved(_) => MOVED,
            Event::Configured(_) => CONFIGURED,
        }
    }

    fn version(&self) -> u16 {
        1
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Event::Recorded(event) => codec::encode(event),
            Event::Moved(event) => codec::encode(event),
            Event::Configured(event) => codec::encode(event),
        }
    }

    fn decode(event_type: &str, version: u16, codec: u8, payload: &[u8]) -> Result<Self, DecodeError> {
        match (event_type, version) {
            (RECORDED, 1) => {
                let event: OutcomesRecorded = codec::decode(codec, payload)?;
                event.outcomes.check().map_err(|damaged| DecodeError::Malformed(damaged.to_string()))?;
                Ok(Event::Recorded(event))
            }
            (MOVED, 1) => codec::decode(codec, payload).map(Event::Moved),
            (CONFIGURED, 1) => codec::decode(codec, payload).map(Event::Configured),
            _ => Err(DecodeError::UnknownType { event_type: event_type.to_owned(), version }),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Event::Recorded(event) => event.to_json(),
            Event::Moved(event) => serde_json::to_value(event).expect("texts and an instant"),
            Event::Configured(event) => {
                let PolicyConfigured { at, scenario, from, to } = event;
                json!({ "at": at, "scenario": PolicyScenario::from(scenario), "from": from, "to": to })
            }
        }
    }
}

impl OutcomesRecorded {
    /// Runs of equal outcomes at equal distances are one entry each.
    fn to_json(&self) -> Value {
        let runs = self.outcomes.runs().map(|run| {
            let mut shown = json!({ "at": instant(run.first), "is_success": run.is_success, "count": run.count });
            if run.count > 1 {
                shown["every_seconds"] = json!(run.distance as f64 / 1e6);
            }
            shown
        });
        let step = |step: &StoredStep| {
            let StoredStep { outcome, from_level, to_level, reason } = step;
            json!({ "outcome": outcome, "from_level": from_level, "to_level": to_level, "reason": reason.to_string() })
        };
        json!({
            "count": self.outcomes.count(),
            "outcomes": runs.collect::<Vec<_>>(),
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
        })
    }
}

/// An instant of a log. Those beyond the calendar, which no decision writes, are shown as its end.
pub(super) fn instant(micros: i64) -> Timestamp {
    Timestamp::EPOCH.saturating_add_micros(micros)
}
