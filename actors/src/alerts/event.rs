//! What can have happened to an org's alerts, as it is stored.

use ionveil_journal::codec::{self, DecodeError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::domain::{Channel, OrgId, Priority, Timestamp};
use crate::escalation::EscalationPolicy;
use crate::rules::{AlertRule, AlertSeverity, StoredRule};
use crate::runtime;

/// Something that has happened to an org's alerts.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Rules were taken over.
    RulesTaken(RulesTaken),
    /// An escalation policy was taken over.
    PolicyTaken(PolicyTaken),
    /// An incident was checked, the first time or again.
    IncidentChecked(IncidentChecked),
    /// An open incident came to an instant at which it had to be judged.
    IncidentDue(IncidentDue),
    /// A window of a threshold rule was judged.
    WindowJudged(WindowJudged),
    /// What was held back about the org as a whole was judged again.
    RuleDue(RuleDue),
    /// An alert was raised.
    Raised(AlertRaised),
    /// An alert was due while it was not wanted.
    Suppressed(AlertSuppressed),
    /// An alert was not raised.
    HeldBack(AlertHeldBack),
    /// A check found the condition of an unresolved alert true again.
    Recurred(AlertRecurred),
    /// Somebody is on it.
    Acknowledged(AlertAcknowledged),
    /// It is over.
    Resolved(AlertResolved),
    /// It went up a level, or started again.
    Escalated(AlertEscalated),
    /// Rules are not wanted for a while.
    SuppressionAdded(SuppressionAdded),
    /// They are wanted again.
    SuppressionRemoved(SuppressionRemoved),
}

impl Event {
    /// When it happened.
    pub fn at(&self) -> Timestamp {
        match self {
            Event::RulesTaken(event) => event.at,
            Event::PolicyTaken(event) => event.at,
            Event::IncidentChecked(event) => event.at,
            Event::IncidentDue(event) => event.at,
            Event::WindowJudged(event) => event.at,
            Event::RuleDue(event) => event.at,
            Event::Raised(event) => event.at,
            Event::Suppressed(event) => event.alert.at,
            Event::HeldBack(event) => event.at,
            Event::Recurred(event) => event.at,
            Event::Acknowledged(event) => event.at,
            Event::Resolved(event) => event.at,
            Event::Escalated(event) => event.at,
            Event::SuppressionAdded(event) => event.at,
            Event::SuppressionRemoved(event) => event.at,
        }
    }
}

/// `rules-taken`, version 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RulesTaken {
    /// Whose alerts these are.
    pub org_id: OrgId,
    /// That of the rules.
    pub revision: u64,
    /// When.
    pub at: Timestamp,
    /// All rules that judge the org, in the order of their ids.
    pub rules: Vec<StoredRule>,
}

/// `escalation-policy-taken`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyTaken {
    /// That of the org's policies.
    pub revision: u64,
    /// When.
    pub at: Timestamp,
    /// The policy.
    pub policy: EscalationPolicy,
}

/// `incident-checked`, version 1. Times are as they are known after the check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentChecked {
    /// Which.
    pub incident_id: String,
    /// When it was checked.
    pub at: Timestamp,
    /// 1 to 5, 1 is worst.
    pub priority: Priority,
    /// When a unit was sent.
    pub dispatch_time: Timestamp,
    /// When the first one arrived.
    pub arrival_time: Option<Timestamp>,
    /// When it was closed.
    pub closed_time: Option<Timestamp>,
}

/// `incident-due`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentDue {
    /// Which.
    pub incident_id: String,
    /// The instant as of which it was judged.
    pub due_at: Timestamp,
    /// When it was.
    pub at: Timestamp,
}

/// `window-judged`, version 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowJudged {
    /// By which rule.
    pub rule_id: String,
    /// By which version of it.
    pub rule_version: u32,
    /// First instant of the window.
    pub window_start: Timestamp,
    /// First instant after it.
    pub window_end: Timestamp,
    /// What was measured; none when there was nothing to measure.
    pub value: Option<f64>,
    /// Dispatches that were measured.
    pub samples: u64,
    /// Whether the rule was met.
    pub met: bool,
    /// The dispatch that closed the window, by its sequence in the org's stream of dispatches.
    pub closed_by: u64,
    /// When it was judged.
    pub at: Timestamp,
}

/// `rule-due`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleDue {
    /// Which rule.
    pub rule_id: String,
    /// The instant as of which it was judged.
    pub due_at: Timestamp,
    /// When it was.
    pub at: Timestamp,
}

/// What an alert is about, with the values that were seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// An incident and its target.
    Sla {
        /// Whether it is a warning, not a breach.
        is_warning: bool,
        /// 1 to 5, 1 is worst.
        priority: Priority,
        /// When a unit was sent.
        dispatch: Timestamp,
        /// When the first one arrived.
        arrival: Option<Timestamp>,
        /// When it was closed.
        closed: Option<Timestamp>,
        /// As of when it was judged.
        seen_at: Timestamp,
    },
    /// Breaches in a row.
    Pattern {
        /// That of the last incident.
        priority: Priority,
        /// How many.
        breaches: u32,
        /// When the first of them was breached.
        first: Timestamp,
        /// When the last of them was.
        last: Timestamp,
    },
    /// A metric over a window.
    Threshold {
        /// What was measured.
        metric: String,
        /// How the window became one value.
        aggregation: String,
        /// First instant of the window.
        window_start: Timestamp,
        /// First instant after it.
        window_end: Timestamp,
        /// The value.
        value: f64,
        /// How it was compared.
        op: String,
        /// With what.
        limit: f64,
        /// Dispatches that were measured.
        samples: u64,
    },
}

impl Cause {
    /// That of the incident, if it is about one.
    pub fn priority(&self) -> Option<Priority> {
        match self {
            Cause::Sla { priority, .. } | Cause::Pattern { priority, .. } => Some(*priority),
            Cause::Threshold { .. } => None,
        }
    }
}

/// `alert-raised`, version 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertRaised {
    /// Its id.
    pub alert_id: Uuid,
    /// The rule that raised it.
    pub rule_id: String,
    /// The version of it.
    pub rule_version: u32,
    /// The incident, if it is about one.
    pub incident_id: Option<String>,
    /// Counts what was recorded of this rule and incident, from 1.
    pub number: u32,
    /// How bad it is.
    pub severity: AlertSeverity,
    /// One line.
    pub title: String,
    /// What was seen.
    pub cause: Cause,
    /// When.
    pub at: Timestamp,
    /// The instant at which it was due; none when a check raised it.
    pub due_at: Option<Timestamp>,
    /// Whether that was more than a second before.
    pub late: bool,
    /// Where it is told.
    pub channels: Vec<Channel>,
    /// The number of the policy in force.
    pub policy: Option<u64>,
    /// Minutes until the first escalation, if the rule names them.
    pub escalation_after_minutes: Option<u32>,
}

/// `alert-suppressed`, version 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertSuppressed {
    /// The alert as it would have been raised.
    pub alert: AlertRaised,
    /// What it matched.
    pub suppression_id: Uuid,
}

/// `alert-held-back`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertHeldBack {
    /// The rule whose condition is true.
    pub rule_id: String,
    /// The version of it.
    pub rule_version: u32,
    /// The incident, if it is about one.
    pub incident_id: Option<String>,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub because: HeldBecause,
}

/// Why an alert is not raised although the condition is true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeldBecause {
    /// An alert of the same rule and incident was raised not long ago.
    Window {
        /// That alert.
        alert_id: Uuid,
        /// When the window ends.
        until: Timestamp,
    },
    /// It is not wanted.
    Suppression {
        /// What it matched.
        suppression_id: Uuid,
        /// When that ends.
        until: Timestamp,
    },
}

/// `alert-recurred`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRecurred {
    /// Which.
    pub alert_id: Uuid,
    /// When.
    pub at: Timestamp,
}

/// `alert-acknowledged`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertAcknowledged {
    /// Which.
    pub alert_id: Uuid,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// What was said.
    pub note: Option<String>,
}

/// `alert-resolved`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertResolved {
    /// Which.
    pub alert_id: Uuid,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// How.
    pub note: String,
}

/// `alert-escalated`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertEscalated {
    /// Which.
    pub alert_id: Uuid,
    /// When.
    pub at: Timestamp,
    /// When it was due; none when somebody did it by hand.
    pub due_at: Option<Timestamp>,
    /// The level it was on.
    pub from_level: u8,
    /// The level it got to.
    pub to_level: u8,
    /// Counts every start of the chain, from 1.
    pub cycle: u32,
    /// Why.
    pub reason: String,
    /// Who did it.
    pub by: String,
    /// Where the level's people are told.
    pub channels: Vec<Channel>,
    /// The suppression that keeps its messages back.
    pub held_back_by: Option<Uuid>,
}

/// `suppression-added`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuppressionAdded {
    /// Its id.
    pub suppression_id: Uuid,
    /// Whose rules.
    pub org_id: OrgId,
    /// A regular expression that has to match the whole rule id.
    pub rule_pattern: String,
    /// Since when.
    pub at: Timestamp,
    /// Until when, exclusively.
    pub expires_at: Timestamp,
    /// Why.
    pub reason: String,
    /// Who wanted it.
    pub by: String,
}

/// `suppression-removed`, version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuppressionRemoved {
    /// Which.
    pub suppression_id: Uuid,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
}

const RULES_TAKEN: &str = "rules-taken";
const POLICY_TAKEN: &str = "escalation-policy-taken";
const INCIDENT_CHECKED: &str = "incident-checked";
const INCIDENT_DUE: &str = "incident-due";
const WINDOW_JUDGED: &str = "window-judged";
const RULE_DUE: &str = "rule-due";
const RAISED: &str = "alert-raised";
const SUPPRESSED: &str = "alert-suppressed";
const HELD_BACK: &str = "alert-held-back";
const RECURRED: &str = "alert-recurred";
const ACKNOWLEDGED: &str = "alert-acknowledged";
const RESOLVED: &str = "alert-resolved";
const ESCALATED: &str = "alert-escalated";
const SUPPRESSION_ADDED: &str = "suppression-added";
const SUPPRESSION_REMOVED: &str = "suppression-removed";

/// Every form that was ever released. Golden files: `actors/tests/fixtures/alerts`.
pub const RELEASED: &[(&str, u16)] = &[
    (RULES_TAKEN, 1),
    (POLICY_TAKEN, 1),
    (INCIDENT_CHECKED, 1),
    (INCIDENT_DUE, 1),
    (WINDOW_JUDGED, 1),
    (RULE_DUE, 1),
    (RAISED, 1),
    (SUPPRESSED, 1),
    (HELD_BACK, 1),
    (RECURRED, 1),
    (ACKNOWLEDGED, 1),
    (RESOLVED, 1),
    (ESCALATED, 1),
    (SUPPRESSION_ADDED, 1),
    (SUPPRESSION_REMOVED, 1),
];

impl runtime::Event for Event {
    fn event_type(&self) -> &'static str {
        match self {
            Event::RulesTaken(_) => RULES_TAKEN,
            Event::PolicyTaken(_) => POLICY_TAKEN,
            Event::IncidentChecked(_) => INCIDENT_CHECKED,
            Event::IncidentDue(_) => INCIDENT_DUE,
            Event::WindowJudged(_) => WINDOW_JUDGED,
            Event::RuleDue(_) => RULE_DUE,
            Event::Raised(_) => RAISED,
            Event::Suppressed(_) => SUPPRESSED,
            Event::HeldBack(_) => HELD_BACK,
            Event::Recurred(_) => RECURRED,
            Event::Acknowledged(_) => ACKNOWLEDGED,
            Event::Resolved(_) => RESOLVED,
            Event::Escalated(_) => ESCALATED,
            Event::SuppressionAdded(_) => SUPPRESSION_ADDED,
            Event::SuppressionRemoved(_) => SUPPRESSION_REMOVED,
        }
    }

    fn version(&self) -> u16 {
        1
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Event::RulesTaken(event) => codec::encode(event),
            Event::PolicyTaken(event) => codec::encode(event),
            Event::IncidentChecked(event) => codec::encode(event),
            Event::IncidentDue(event) => codec::encode(event),
            Event::WindowJudged(event) => codec::encode(event),
            Event::RuleDue(event) => codec::encode(event),
            Event::Raised(event) => codec::encode(event),
            Event::Suppressed(event) => codec::encode(event),
            Event::HeldBack(event) => codec::encode(event),
            Event::Recurred(event) => codec::encode(event),
            Event::Acknowledged(event) => codec::encode(event),
            Event::Resolved(event) => codec::encode(event),
            Event::Escalated(event) => codec::encode(event),
            Event::SuppressionAdded(event) => codec::encode(event),
            Event::SuppressionRemoved(event) => codec::encode(event),
        }
    }

    fn decode(event_type: &str, version: u16, codec: u8, payload: &[u8]) -> Result<Self, DecodeError> {
        match (event_type, version) {
            (RULES_TAKEN, 1) => codec::decode(codec, payload).map(Event::RulesTaken),
            (POLICY_TAKEN, 1) => codec::decode(codec, payload).map(Event::PolicyTaken),
            (INCIDENT_CHECKED, 1) => codec::decode(codec, payload).map(Event::IncidentChecked),
            (INCIDENT_DUE, 1) => codec::decode(codec, payload).map(Event::IncidentDue),
            (WINDOW_JUDGED, 1) => codec::decode(codec, payload).map(Event::WindowJudged),
            (RULE_DUE, 1) => codec::decode(codec, payload).map(Event::RuleDue),
            (RAISED, 1) => codec::decode(codec, payload).map(Event::Raised),
            (SUPPRESSED, 1) => codec::decode(codec, payload).map(Event::Suppressed),
            (HELD_BACK, 1) => codec::decode(codec, payload).map(Event::HeldBack),
            (RECURRED, 1) => codec::decode(codec, payload).map(Event::Recurred),
            (ACKNOWLEDGED, 1) => codec::decode(codec, payload).map(Event::Acknowledged),
            (RESOLVED, 1) => codec::decode(codec, payload).map(Event::Resolved),
            (ESCALATED, 1) => codec::decode(codec, payload).map(Event::Escalated),
            (SUPPRESSION_ADDED, 1) => codec::decode(codec, payload).map(Event::SuppressionAdded),
            (SUPPRESSION_REMOVED, 1) => codec::decode(codec, payload).map(Event::SuppressionRemoved),
            _ => Err(DecodeError::UnknownType { event_type: event_type.to_owned(), version }),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Event::RulesTaken(event) => {
                let rules: Vec<AlertRule> = event.rules.iter().cloned().map(AlertRule::from).collect();
                json!({ "org_id": event.org_id, "revision": event.revision, "at": event.at, "rules": rules })
            }
            Event::PolicyTaken(event) => json!(event),
            Event::IncidentChecked(event) => json!(event),
            Event::IncidentDue(event) => json!(event),
            Event::WindowJudged(event) => json!(event),
            Event::RuleDue(event) => json!(event),
            Event::Raised(event) => json!(event),
            Event::Suppressed(event) => {
                // Flat, so that it is found by its alert and its incident like every other.
                let mut json = json!(event.alert);
                json["suppression_id"] = json!(event.suppression_id);
                json
            }
            Event::HeldBack(event) => json!(event),
            Event::Recurred(event) => json!(event),
            Event::Acknowledged(event) => json!(event),
            Event::Resolved(event) => json!(event),
            Event::Escalated(event) => json!(event),
            Event::SuppressionAdded(event) => json!(event),
            Event::SuppressionRemoved(event) => json!(event),
        }
    }
}
