//! One alert: what is kept of it, and how it is shown.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::event::{AlertRaised, Cause};
use super::incident::Slot;
use super::known::RuleNumber;
use crate::domain::{IncidentTimes, OrgId, Sla, Timestamp};
use crate::error::{Error, Invalid};
use crate::escalation::Step;
use crate::rules::AlertSeverity;

/// An alert by how many were recorded before it.
pub(super) type AlertIndex = u32;

/// Where an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertStatus {
    /// Nobody has answered.
    Open,
    /// Somebody is on it.
    Acknowledged,
    /// It is over.
    Resolved,
    /// It was due while it was not wanted. Final.
    Suppressed,
    /// Nobody answered in time, or somebody passed it on.
    Escalated,
}

impl AlertStatus {
    /// All of them.
    pub const ALL: [AlertStatus; 5] = [
        AlertStatus::Open,
        AlertStatus::Acknowledged,
        AlertStatus::Resolved,
        AlertStatus::Suppressed,
        AlertStatus::Escalated,
    ];

    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            AlertStatus::Open => "open",
            AlertStatus::Acknowledged => "acknowledged",
            AlertStatus::Resolved => "resolved",
            AlertStatus::Suppressed => "suppressed",
            AlertStatus::Escalated => "escalated",
        }
    }

    /// Whether somebody has something to do.
    pub fn is_unresolved(self) -> bool {
        matches!(self, AlertStatus::Open | AlertStatus::Acknowledged | AlertStatus::Escalated)
    }
}

impl fmt::Display for AlertStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AlertStatus {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = AlertStatus::ALL.into_iter().find(|status| status.as_str() == text);
        found.ok_or_else(|| {
            let names = AlertStatus::ALL.map(AlertStatus::as_str).join(", ");
            Invalid::new("status", format_args!("{text:?}"), names)
        })
    }
}

/// What happened to an alert's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub by: Arc<str>,
    /// What it was.
    pub from: AlertStatus,
    /// What it became.
    pub to: AlertStatus,
    /// What was said about it.
    pub note: Option<Arc<str>>,
}

/// One step of an escalation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EscalationEntry {
    /// When.
    pub at: Timestamp,
    /// The level it was on.
    pub from_level: u8,
    /// The level it got to.
    pub to_level: u8,
    /// Why.
    pub reason: Arc<str>,
    /// Who did it.
    pub by: Arc<str>,
}

/// An alert as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Its id, which follows from org, rule, incident and number of the raise.
    pub alert_id: Uuid,
    /// The rule that raised it.
    pub rule_id: String,
    /// The version of the rule that raised it.
    pub rule_version: u32,
    /// Whose it is.
    pub org_id: OrgId,
    /// The incident; none for what is about the org as a whole.
    pub incident_id: Option<String>,
    /// How bad it is.
    pub severity: AlertSeverity,
    /// Where it stands.
    pub status: AlertStatus,
    /// One line.
    pub title: String,
    /// What was seen.
    pub description: String,
    /// When it was raised.
    pub created_at: Timestamp,
    /// When anything last happened to it.
    pub updated_at: Timestamp,
    /// When somebody said that they are on it.
    pub acknowledged_at: Option<Timestamp>,
    /// Who.
    pub acknowledged_by: Option<String>,
    /// When it was over.
    pub resolved_at: Option<Timestamp>,
    /// Who said so.
    pub resolved_by: Option<String>,
    /// 1 operator, 2 supervisor, 3 manager, 4 executive.
    pub escalation_level: u8,
    /// Every step, oldest first.
    pub escalation_history: Vec<EscalationEntry>,
    /// How often a check found the condition true while it stood, the first time included.
    pub occurrences: u32,
    /// Every change of the status, oldest first.
    pub history: Vec<Change>,
    /// Values seen, and how it came about.
    #[serde(with = "super::reply::object_as_text")]
    pub metadata: Map<String, Value>,
}

impl Alert {
    /// Why it cannot be `wanted` as it stands: a `conflict`.
    pub fn cannot_be(&self, wanted: &str) -> Error {
        cannot_be(self.alert_id, self.status, wanted)
    }
}

pub(super) fn cannot_be(id: Uuid, status: AlertStatus, wanted: &str) -> Error {
    Error::Conflict { reason: format!("alert {id} is {status}, so it cannot be {wanted}") }
}

/// An alert as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct AlertState {
    pub(super) id: Uuid,
    pub(super) rule_id: Arc<str>,
    pub(super) rule: RuleNumber,
    pub(super) rule_version: u32,
    pub(super) incident: Slot,
    pub(super) severity: AlertSeverity,
    pub(super) status: AlertStatus,
    pub(super) title: Box<str>,
    pub(super) cause: Cause,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) due_at: Option<Timestamp>,
    pub(super) late: bool,
    pub(super) acknowledged: Option<(Timestamp, Arc<str>)>,
    pub(super) resolved: Option<(Timestamp, Arc<str>)>,
    pub(super) step: Step,
    /// The number of the policy in force when it was raised.
    pub(super) policy: Option<u64>,
    pub(super) escalation_after_minutes: Option<u32>,
    pub(super) occurrences: u32,
    pub(super) history: Vec<Change>,
    pub(super) escalations: Vec<EscalationEntry>,
    pub(super) suppressed_by: Option<Uuid>,
    /// When its next step is due; stands in the timers as well.
    pub(super) timer: Option<Timestamp>,
}

impl AlertState {
    /// An alert at the moment it is recorded.
    pub(super) fn recorded(
        raised: &AlertRaised,
        rule: RuleNumber,
        incident: Slot,
        suppressed_by: Option<Uuid>,
    ) -> Self {
        let status = if suppressed_by.is_some() { AlertStatus::Suppressed } else { AlertStatus::Open };
        AlertState {
            id: raised.alert_id,
            rule_id: raised.rule_id.as_str().into(),
            rule,
            rule_version: raised.rule_version,
            incident,
            severity: raised.severity,
            status,
            title: raised.title.as_str().into(),
            cause: raised.cause.clone(),
            created_at: raised.at,
            updated_at: raised.at,
            due_at: raised.due_at,
            late: raised.late,
            acknowledged: None,
            resolved: None,
            step: Step { level: 1, cycle: 1, steps: 0, since: raised.at },
            policy: raised.policy,
            escalation_after_minutes: raised.escalation_after_minutes,
            occurrences: 1,
            history: Vec::new(),
            escalations: Vec::new(),
            suppressed_by,
            timer: None,
        }
    }

    pub(super) fn change(&mut self, at: Timestamp, by: &Arc<str>, to: AlertStatus, note: Option<Arc<str>>) {
        self.history.push(Change { at, by: Arc::clone(by), from: self.status, to, note });
        self.status = to;
        self.updated_at = at;
    }

    pub(super) fn shown(&self, org_id: &OrgId, incident_id: Option<&str>, policy_id: Option<&str>) -> Alert {
        let mut metadata = self.cause.metadata();
        if let Some(due_at) = self.due_at {
            metadata.insert("due_at".into(), json!(due_at));
            metadata.insert("late".into(), json!(self.late));
        }
        if let Some(policy_id) = policy_id {
            metadata.insert("escalation_policy".into(), json!(policy_id));
        }
        if let Some(suppression) = self.suppressed_by {
            metadata.insert("suppression_id".into(), json!(suppression));
        }
        Alert {
            alert_id: self.id,
            rule_id: self.rule_id.as_ref().to_owned(),
            rule_version: self.rule_version,
            org_id: org_id.clone(),
            incident_id: incident_id.map(str::to_owned),
            severity: self.severity,
            status: self.status,
            title: self.title.as_ref().to_owned(),
            description: self.cause.description(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            acknowledged_at: self.acknowledged.as_ref().map(|(at, _)| *at),
            acknowledged_by: self.acknowledged.as_ref().map(|(_, by)| by.as_ref().to_owned()),
            resolved_at: self.resolved.as_ref().map(|(at, _)| *at),
            resolved_by: self.resolved.as_ref().map(|(_, by)| by.as_ref().to_owned()),
            escalation_level: self.step.level,
            escalation_history: self.escalations.clone(),
            occurrences: self.occurrences,
            history: self.history.clone(),
            metadata,
        }
    }
}

impl Cause {
    /// What was seen, as a sentence.
    pub fn description(&self) -> String {
        match self {
            Cause::Sla { priority, dispatch, seen_at, arrival, closed, .. } => {
                let times = IncidentTimes { dispatch: *dispatch, arrival: *arrival, closed: *closed };
                let sla = Sla::assess(*priority, times, *seen_at);
                let (elapsed, target) = (sla.elapsed_minutes(), sla.target_minutes);
                let stand = if times.is_open() { "nobody has arrived" } else { "somebody arrived or it was closed" };
                format!(
                    "priority {priority}, dispatched at {dispatch}: {elapsed:.2} of {target} minutes had passed at \
                     {seen_at}, {stand}; the target ends at {}",
                    sla.breach_time
                )
            }
            Cause::Pattern { breaches, first, last, .. } => {
                format!("{breaches} incidents in a row were breached, from {first} to {last}")
            }
            Cause::Threshold { metric, aggregation, window_start, window_end, value, op, limit, .. } => {
                format!(
                    "{metric} {aggregation} was {value} from {window_start} to {window_end}, asked for {op} {limit}"
                )
            }
        }
    }

    fn metadata(&self) -> Map<String, Value> {
        let value = match self {
            Cause::Sla { priority, dispatch, seen_at, arrival, closed, .. } => {
                let times = IncidentTimes { dispatch: *dispatch, arrival: *arrival, closed: *closed };
                let sla = Sla::assess(*priority, times, *seen_at);
                json!({
                    "priority": priority, "dispatch_time": dispatch, "seen_at": seen_at,
                    "sla_status": sla.status, "sla_target_minutes": sla.target_minutes,
                    "elapsed_minutes": sla.elapsed_minutes(), "remaining_minutes": sla.remaining_minutes(),
                    "breach_time": sla.breach_time,
                })
            }
            Cause::Pattern { priority, breaches, first, last } => {
                json!({ "priority": priority, "consecutive_breaches": breaches, "first_breach": first, "last_breach": last })
            }
            Cause::Threshold { metric, aggregation, window_start, window_end, value, op, limit, samples } => json!({
                "metric": metric, "aggregation": aggregation, "window_start": window_start, "window_end": window_end,
                "value": value, "op": op, "limit": limit, "sample_count": samples,
            }),
        };
        match value {
            Value::Object(metadata) => metadata,
            _ => Map::new(),
        }
    }
}

/// Alerts in the order in which they were recorded, and by id.
#[derive(Debug, Default)]
pub(super) struct AlertBook {
    all: BTreeMap<AlertIndex, AlertState>,
    /// The index of the next one. An index is never given twice.
    next: AlertIndex,
    by_id: HashMap<Uuid, AlertIndex>,
    by_incident: BTreeSet<(Slot, AlertIndex)>,
}

impl AlertBook {
    /// The alerts as they were, and the index of the next one.
    pub(super) fn restored(all: BTreeMap<AlertIndex, AlertState>, next: AlertIndex) -> Self {
        let by_id = all.iter().map(|(&index, alert)| (alert.id, index)).collect();
        let by_incident = all.iter().map(|(&index, alert)| (alert.incident, index)).collect();
        AlertBook { all, next, by_id, by_incident }
    }

    pub(super) fn index(&self, id: Uuid) -> Option<AlertIndex> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn get(&self, index: AlertIndex) -> Option<&AlertState> {
        self.all.get(&index)
    }

    pub(super) fn get_mut(&mut self, index: AlertIndex) -> Option<&mut AlertState> {
        self.all.get_mut(&index)
    }

    pub(super) fn add(&mut self, alert: AlertState) -> AlertIndex {
        let index = self.next;
        self.next = index.checked_add(1).expect("nobody lives to see four billion alerts of one org");
        self.by_id.insert(alert.id, index);
        self.by_incident.insert((alert.incident, index));
        self.all.insert(index, alert);
        index
    }

    pub(super) fn remove(&mut self, index: AlertIndex) -> Option<AlertState> {
        let alert = self.all.remove(&index)?;
        self.by_id.remove(&alert.id);
        self.by_incident.remove(&(alert.incident, index));
        Some(alert)
    }

    /// Oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (AlertIndex, &AlertState)> {
        self.all.iter().map(|(&index, alert)| (index, alert))
    }

    /// Those about one incident, oldest first.
    pub(super) fn about(&self, slot: Slot) -> impl Iterator<Item = AlertIndex> {
        self.by_incident.range((slot, 0)..=(slot, AlertIndex::MAX)).map(|&(_, index)| index)
    }

    pub(super) fn all(&self) -> &BTreeMap<AlertIndex, AlertState> {
        &self.all
    }

    pub(super) fn next(&self) -> AlertIndex {
        self.next
    }
}

/// The id of an alert.
pub(super) fn alert_id(org: &OrgId, rule_id: &str, incident_id: Option<&str>, number: u32) -> Uuid {
    /// The namespace of alerts: a random UUID, fixed for ever.
    const NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_2d0c_6e0b_4a53_9a6e_5a0f_6c1b_7d01);
    // Ids have no slash, so that no two alerts share a name.
    let name = format!("{org}/{rule_id}/{}/{number}", incident_id.unwrap_or_default());
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}
