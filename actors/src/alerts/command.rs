//! What an org's alerts can be told.
//!
//! Each command carries the instant it counts from (`at`): one that is given has to be no earlier than what it touches;
//! without one it is the clock's, or the last instant of what it touches when the clock has been set back.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::alert::Alert;
use super::window_judge::ClosedWindow;
use crate::domain::{OrgId, SlaStatus, Timestamp};
use crate::escalation::PolicyVersion;
use crate::rules::RuleSet;

/// What the org goes by, as it stands now: taken over when it is newer than what the org has.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Whose alerts these are.
    pub org_id: OrgId,
    /// The org's rules and those of all orgs.
    pub rules: Arc<RuleSet>,
    /// The org's escalation policy.
    pub policy: Option<Arc<PolicyVersion>>,
}

/// Registers an incident, or tells what is new of it, and judges it by every rule.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckIncident {
    /// 1–128 characters, no control characters, no `/`.
    pub incident_id: String,
    /// 1 to 5, 1 is worst.
    pub priority: i64,
    /// When a unit was sent.
    pub dispatch_time: Timestamp,
    /// When the first one arrived; what is known stays when it is left out.
    pub arrival_time: Option<Timestamp>,
    /// When it was closed; what is known stays when it is left out.
    pub closed_time: Option<Timestamp>,
    /// When it is checked.
    pub at: Option<Timestamp>,
    /// By what.
    pub known: Known,
}

/// How an incident stands, and what that led to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// Which.
    pub incident_id: String,
    /// Compliant, warning or breached.
    pub sla_status: SlaStatus,
    /// Minutes it may take.
    pub sla_target_minutes: u32,
    /// Minutes from dispatch to arrival, else closing, else now.
    pub elapsed_minutes: f64,
    /// Minutes left; negative when the target is over.
    pub remaining_minutes: f64,
    /// How many of 50, 75, 90 and 100 % of the target have passed.
    pub escalation_stage: u8,
    /// Dispatch + target.
    pub breach_time: Timestamp,
    /// The alerts that this check raised.
    pub alerts: Vec<Alert>,
    /// What a window or a suppression kept.
    pub held_back: Vec<HeldBack>,
    /// Whether nothing was told that was not known before.
    #[serde(skip)]
    pub is_known: bool,
}

/// A rule whose condition is true and that raised nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBack {
    /// Which.
    pub rule_id: String,
    /// Why.
    pub reason: String,
}

/// Takes over rules and policy without anything else; true when they were newer.
#[derive(Debug, Clone, PartialEq)]
pub struct TakeKnown {
    /// What.
    pub known: Known,
    /// When.
    pub at: Option<Timestamp>,
}

/// Judges a threshold rule on a window that was closed; replies with the alert, if it raises one. Told twice, it counts
/// once.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgeWindow {
    /// The window, of a rule in a version.
    pub window: ClosedWindow,
    /// By what.
    pub known: Known,
    /// When.
    pub at: Option<Timestamp>,
}

/// Does what is due: judges incidents whose deadline has come, and escalates alerts that nobody answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunDue {
    /// Most incidents and alerts at a time, but for those of the same instant; more are left for the next.
    pub items_max: usize,
}

/// What was done.
#[derive(Debug, Clone, PartialEq)]
pub struct RunDueReport {
    /// Incidents that were judged.
    pub judged: usize,
    /// Alerts that were raised.
    pub raised: Vec<Alert>,
    /// Alerts that were escalated.
    pub escalated: Vec<Alert>,
    /// Whether more is due already.
    pub has_more: bool,
}

/// Escalates every alert of the org that is due for it, one step each; replies with those alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EscalateDue {
    /// When.
    pub at: Option<Timestamp>,
}

/// Says that somebody is on it. Saying so again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcknowledgeAlert {
    /// Which.
    pub alert_id: Uuid,
    /// Who; 1–128 characters.
    pub user_id: String,
    /// Anything to be remembered; at most 4,096 characters.
    pub note: Option<String>,
    /// When.
    pub at: Option<Timestamp>,
}

/// Says that it is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveAlert {
    /// Which.
    pub alert_id: Uuid,
    /// Who; 1–128 characters.
    pub user_id: String,
    /// How; 1–4,096 characters.
    pub resolution_note: String,
    /// When.
    pub at: Option<Timestamp>,
}

/// Passes it on to the next level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EscalateAlert {
    /// Which.
    pub alert_id: Uuid,
    /// Who; 1–128 characters.
    pub user_id: String,
    /// Why; 1–4,096 characters.
    pub reason: String,
    /// When.
    pub at: Option<Timestamp>,
}

/// Tells nobody of the alerts of some rules for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddSuppression {
    /// Its id, given by the caller.
    pub suppression_id: Uuid,
    /// Whose rules.
    pub org_id: OrgId,
    /// A regular expression that has to match the whole rule id.
    pub rule_pattern: String,
    /// For how long; 1 to a year.
    pub duration_minutes: u32,
    /// Why; 1–4,096 characters.
    pub reason: String,
    /// Who; 1–128 characters.
    pub created_by: String,
    /// Since when.
    pub at: Option<Timestamp>,
}

/// Ends a suppression early; false when there is none that is active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveSuppression {
    /// Which.
    pub suppression_id: Uuid,
    /// When.
    pub at: Option<Timestamp>,
}
