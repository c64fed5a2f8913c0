//! What an org's alerts can be asked.

use std::collections::BTreeSet;

use serde::Serialize;
use uuid::Uuid;

use super::alert::{Alert, AlertStatus};
use super::forget::Forgotten;
use super::incident::{Incident, IncidentStatus};
use super::state::Alerts;
use super::suppression::Suppression;
use crate::domain::{OrgId, Priority, Sla, SlaStatus, Timestamp, check_id};
use crate::error::{Error, Invalid};
use crate::rules::AlertSeverity;
use crate::runtime::{Given, Query};

/// Which alerts are wanted, by their status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Open, acknowledged and escalated ones.
    #[default]
    Unresolved,
    /// Those of one status.
    Only(AlertStatus),
    /// Every one there ever was.
    All,
}

impl Wanted {
    pub(super) fn includes(self, status: AlertStatus) -> bool {
        match self {
            Wanted::Unresolved => status.is_unresolved(),
            Wanted::Only(wanted) => status == wanted,
            Wanted::All => true,
        }
    }

    /// Whether some of them may have been forgotten: resolved and suppressed ones.
    pub fn includes_over(self) -> bool {
        AlertStatus::ALL.into_iter().any(|status| self.includes(status) && !status.is_unresolved())
    }
}

/// Asks for alerts that are not forgotten, oldest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GetActiveAlerts {
    /// Only those of this severity.
    pub severity: Option<AlertSeverity>,
    /// Only those that stand so.
    pub wanted: Wanted,
}

impl Query<Alerts> for GetActiveAlerts {
    type Answer = Vec<Alert>;

    fn answer(self, state: &Alerts, _: &Given) -> Result<Vec<Alert>, Error> {
        let alerts = state.alerts.iter().map(|(_, alert)| alert).filter(|alert| self.wanted.includes(alert.status));
        let alerts = alerts.filter(|alert| self.severity.is_none_or(|severity| alert.severity == severity));
        Ok(alerts.map(|alert| state.shown(alert)).collect())
    }
}

/// Asks for one alert, if it is not forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetAlert {
    /// Which.
    pub alert_id: Uuid,
}

impl Query<Alerts> for GetAlert {
    type Answer = Option<Alert>;

    fn answer(self, state: &Alerts, _: &Given) -> Result<Option<Alert>, Error> {
        let alert = state.alerts.index(self.alert_id).and_then(|index| state.alerts.get(index));
        Ok(alert.map(|alert| state.shown(alert)))
    }
}

/// Asks for the incidents that nobody has arrived at and that are not closed, in the order of their breaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetOpenIncidents {
    /// Whose.
    pub org_id: OrgId,
    /// As of when; the clock's instant when it is left out.
    pub at: Option<Timestamp>,
}

impl Query<Alerts> for GetOpenIncidents {
    type Answer = Vec<IncidentStatus>;

    fn answer(self, state: &Alerts, given: &Given) -> Result<Vec<IncidentStatus>, Error> {
        let now = self.at.unwrap_or(given.now);
        let open = state.incidents.open().map(|(_, incident)| IncidentStatus::of(incident, &self.org_id, now));
        let mut open: Vec<IncidentStatus> = open.collect();
        open.sort_by(|a, b| (a.breach_time, &a.incident_id).cmp(&(b.breach_time, &b.incident_id)));
        Ok(open)
    }
}

/// Asks for what was breached and is not forgotten, in the order of the breaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GetViolations {
    /// Whose.
    pub org_id: OrgId,
    /// Breached at this instant or later.
    pub from: Option<Timestamp>,
    /// Breached before this instant.
    pub to: Option<Timestamp>,
    /// As of when; the clock's instant when it is left out. An open incident has taken so long as of then.
    pub at: Option<Timestamp>,
}

/// An incident that took longer than it may.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlaViolation {
    /// Which.
    pub incident_id: String,
    /// Whose.
    pub org_id: OrgId,
    /// 1 to 5, 1 is worst.
    pub priority: Priority,
    /// Minutes it may take.
    pub sla_target_minutes: u32,
    /// Minutes it took, or has taken so far.
    pub actual_minutes: f64,
    /// When the target was over.
    pub breach_time: Timestamp,
    /// Actual / target: 1.5 is half as long again.
    pub breach_magnitude: f64,
}

impl Query<Alerts> for GetViolations {
    type Answer = Vec<SlaViolation>;

    fn answer(self, state: &Alerts, given: &Given) -> Result<Vec<SlaViolation>, Error> {
        self.among(state.incidents.iter().map(|(_, incident)| incident), self.at.unwrap_or(given.now))
    }
}

impl GetViolations {
    /// Those of `incidents` that are violations as of `now`.
    pub(super) fn among<'a>(
        &self,
        incidents: impl Iterator<Item = &'a Incident>,
        now: Timestamp,
    ) -> Result<Vec<SlaViolation>, Error> {
        if let (Some(from), Some(to)) = (self.from, self.to)
            && from >= to
        {
            return Err(Invalid::new("from", from, format!("before to, which is {to}")).into());
        }
        let mut violations = Vec::new();
        for incident in incidents {
            let sla = Sla::assess(incident.priority, incident.times, now);
            let is_within =
                self.from.is_none_or(|from| sla.breach_time >= from) && self.to.is_none_or(|to| sla.breach_time < to);
            if sla.status == SlaStatus::Breached && is_within {
                violations.push(SlaViolation {
                    incident_id: incident.id.to_string(),
                    org_id: self.org_id.clone(),
                    priority: incident.priority,
                    sla_target_minutes: sla.target_minutes,
                    actual_minutes: sla.elapsed_minutes(),
                    breach_time: sla.breach_time,
                    breach_magnitude: sla.ratio(),
                });
            }
        }
        violations.sort_by(|a, b| (a.breach_time, &a.incident_id).cmp(&(b.breach_time, &b.incident_id)));
        Ok(violations)
    }
}

/// Asks what was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetForgotten;

impl Query<Alerts> for GetForgotten {
    type Answer = Forgotten;

    fn answer(self, state: &Alerts, _: &Given) -> Result<Forgotten, Error> {
        Ok(state.forgotten)
    }
}

/// Asks for the suppressions that are active, oldest first, or for every one there ever was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GetActiveSuppressions {
    /// Whether those that are over are wanted as well.
    pub all: bool,
    /// As of when; the clock's instant when it is left out.
    pub at: Option<Timestamp>,
}

impl Query<Alerts> for GetActiveSuppressions {
    type Answer = Vec<Suppression>;

    fn answer(self, state: &Alerts, given: &Given) -> Result<Vec<Suppression>, Error> {
        let now = self.at.unwrap_or(given.now);
        let wanted = state.suppressions.values().filter(|known| self.all || known.is_active(now));
        let mut wanted: Vec<Suppression> = wanted.map(|known| known.suppression.clone()).collect();
        wanted.sort_by_key(|suppression| (suppression.created_at, suppression.suppression_id));
        Ok(wanted)
    }
}

/// Asks for one suppression, active or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetSuppression {
    /// Which.
    pub suppression_id: Uuid,
}

impl Query<Alerts> for GetSuppression {
    type Answer = Option<Suppression>;

    fn answer(self, state: &Alerts, _: &Given) -> Result<Option<Suppression>, Error> {
        Ok(state.suppressions.get(&self.suppression_id).map(|known| known.suppression.clone()))
    }
}

/// Asks whether the alerts of a rule are not wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsSuppressed {
    /// The rule, whether or not there is one of that id.
    pub rule_id: String,
    /// As of when; the clock's instant when it is left out.
    pub at: Option<Timestamp>,
}

impl Query<Alerts> for IsSuppressed {
    type Answer = bool;

    fn answer(self, state: &Alerts, given: &Given) -> Result<bool, Error> {
        check_id("rule_id", &self.rule_id)?;
        Ok(state.suppression_of(&self.rule_id, self.at.unwrap_or(given.now)).is_some())
    }
}

/// Asks for the last instant of the alerts that are not resolved: escalations cannot be checked as of an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetLastChange;

impl Query<Alerts> for GetLastChange {
    type Answer = Option<Timestamp>;

    fn answer(self, state: &Alerts, _: &Given) -> Result<Option<Timestamp>, Error> {
        Ok(state.last_change())
    }
}

/// Asks when anything is due next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetNextDue;

impl Query<Alerts> for GetNextDue {
    type Answer = Option<Timestamp>;

    fn answer(self, state: &Alerts, _: &Given) -> Result<Option<Timestamp>, Error> {
        Ok(state.next_due())
    }
}

/// Asks for what the threshold rules were judged on last: rule, end of the window, sequence of the dispatch that closed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetJudgedWindows;

impl Query<Alerts> for GetJudgedWindows {
    type Answer = BTreeSet<(String, Timestamp, u64)>;

    fn answer(self, state: &Alerts, _: &Given) -> Result<Self::Answer, Error> {
        let judged = state.book.rules.iter().filter_map(|known| {
            let window = state.windows.get(&known.number)?;
            Some((known.rule.rule_id.clone(), window.end, window.closed_by))
        });
        Ok(judged.collect())
    }
}
