//! What can have happened to the rules, as it is stored.

use ionveil_journal::codec::{self, DecodeError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::rule::{AlertRule, AlertSeverity, Condition};
use crate::domain::{Channel, OrgId};
use crate::runtime;

/// Something that has happened to the rules.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A rule was stored, or stored anew.
    Set(RuleSet),
    /// A rule was removed.
    Removed(RuleRemoved),
}

/// `rule-set`, version 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleSet {
    /// All of it.
    pub rule: StoredRule,
}

/// `rule-removed`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRemoved {
    /// Which.
    pub rule_id: String,
}

/// A rule as it is stored. Frozen: the streams of rules and of alerts hold it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredRule {
    /// Its id.
    pub rule_id: String,
    /// Whose it is; `None` is every org's.
    pub org_id: Option<OrgId>,
    /// Counts from 1.
    pub version: u32,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What it watches for.
    pub condition: Condition,
    /// How bad its alerts are.
    pub severity: AlertSeverity,
    /// Where they are told.
    pub notification_channels: Vec<Channel>,
    /// Minutes until the first escalation.
    pub escalation_after_minutes: Option<u32>,
    /// Minutes after a raise without another.
    pub suppression_window_minutes: u32,
    /// Whether it fires.
    pub enabled: bool,
}

impl From<AlertRule> for StoredRule {
    fn from(rule: AlertRule) -> Self {
        StoredRule {
            rule_id: rule.rule_id,
            org_id: rule.org_id,
            version: rule.version,
            name: rule.name,
            description: rule.description,
            condition: rule.condition,
            severity: rule.severity,
            notification_channels: rule.notification_channels,
            escalation_after_minutes: rule.escalation_after_minutes,
            suppression_window_minutes: rule.suppression_window_minutes,
            enabled: rule.enabled,
        }
    }
}

impl From<StoredRule> for AlertRule {
    fn from(rule: StoredRule) -> Self {
        AlertRule {
            rule_id: rule.rule_id,
            org_id: rule.org_id,
            version: rule.version,
            name: rule.name,
            description: rule.description,
            condition: rule.condition,
            severity: rule.severity,
            notification_channels: rule.notification_channels,
            escalation_after_minutes: rule.escalation_after_minutes,
            suppression_window_minutes: rule.suppression_window_minutes,
            enabled: rule.enabled,
        }
    }
}

const SET: &str = "rule-set";
const REMOVED: &str = "rule-removed";

/// Every form that was ever released. Golden files: `actors/tests/fixtures/rules`.
pub const RELEASED: &[(&str, u16)] = &[(SET, 1), (REMOVED, 1)];

impl runtime::Event for Event {
    fn event_type(&self) -> &'static str {
        match self {
            Event::Set(_) => SET,
            Event::Removed(_) => REMOVED,
        }
    }

    fn version(&self) -> u16 {
        1
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Event::Set(event) => codec::encode(event),
            Event::Removed(event) => codec::encode(event),
        }
    }

    fn decode(event_type: &str, version: u16, codec: u8, payload: &[u8]) -> Result<Self, DecodeError> {
        match (event_type, version) {
            (SET, 1) => codec::decode(codec, payload).map(Event::Set),
            (REMOVED, 1) => codec::decode(codec, payload).map(Event::Removed),
            _ => Err(DecodeError::UnknownType { event_type: event_type.to_owned(), version }),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Event::Set(event) => json!(AlertRule::from(event.rule.clone())),
            Event::Removed(event) => json!(event),
        }
    }
}
