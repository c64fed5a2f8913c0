//! Rules, incidents and alerts.

use std::ops::ControlFlow;
use std::sync::Arc;

use ionveil_actors::alerts::{
    AcknowledgeAlert, Alert, AlertStatus, Alerts, CheckIncident, CheckReport, Event, ExplainedDecision, Explainer,
    Forgotten, GetActiveAlerts, GetAlert, GetForgotten, GetOpenIncidents, GetViolations, History, IncidentStatus,
    ResolveAlert, SlaViolation, TakeKnown, Wanted, WhatIf, WhatIfRun,
};
use ionveil_actors::domain::{OrgId, Timestamp};
use ionveil_actors::error::{Corrupt, Error as ServiceError};
use ionveil_actors::escalation::GetPolicy;
use ionveil_actors::notification::{GetNotifications, Notification};
use ionveil_actors::rules::{self, AddRules, AlertRule, AlertSeverity, GetRules, RemoveRule};
use ionveil_actors::runtime::{Aggregate, Caller, Event as _, is_note};
use ionveil_journal::{Sequence, StreamId};
use serde::Serialize;
use uuid::Uuid;

use super::known::known;
use crate::error::Error;
use crate::instance::IonVeil;

/// Watches incidents against their targets and raises alerts by rules.
///
/// Whatever it changes is on disk when a method returns. Deadlines move by themselves between [`SlaMonitorService::start`]
/// and [`SlaMonitorService::stop`] only; a check judges its own incident at once in any case.
#[derive(Clone)]
pub struct SlaMonitorService {
    pub(super) ionveil: IonVeil,
}

/// An incident as it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentCheck {
    /// 1–128 characters, no control characters, no `/`.
    pub incident_id: String,
    /// Whose it is.
    pub org_id: OrgId,
    /// 1 to 5, 1 is worst.
    pub priority: i64,
    /// When a unit was sent.
    pub dispatch_time: Timestamp,
    /// When the first one arrived; what is known stays when it is left out.
    pub arrival_time: Option<Timestamp>,
    /// When it was closed; what is known stays when it is left out.
    pub closed_time: Option<Timestamp>,
    /// The instant it is judged at; the clock's when it is left out.
    pub current_time: Option<Timestamp>,
}

/// Every decision about an incident, and the messages that followed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The incident.
    pub incident_id: String,
    /// Oldest first.
    pub decisions: Vec<ExplainedDecision>,
    /// In the order in which they were queued.
    pub notifications: Vec<Notification>,
}

impl SlaMonitorService {
    /// The monitor of a running IonVeil.
    pub fn new(ionveil: &IonVeil) -> Self {
        SlaMonitorService { ionveil: ionveil.clone() }
    }

    /// The same, acting at `now` instead of the clock's instant. Earlier than the last instant of what is touched is
    /// `invalid`.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        SlaMonitorService { ionveil: self.ionveil.at(now) }
    }

    /// The same, for one call that may be sent again under that id: [`IonVeil::with_command_id`].
    #[must_use]
    pub fn with_command_id(&self, command_id: Uuid) -> Self {
        SlaMonitorService { ionveil: self.ionveil.with_command_id(command_id) }
    }

    /// Begins to do what is due by itself, after what came due meanwhile: deadlines, escalations, messages. Returns when what
    /// was due has been found. Starting twice is starting once.
    ///
    /// # Errors
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn start(&self) -> Result<(), Error> {
        self.ionveil.start_background().await?;
        self.push_known().await
    }

    /// Does nothing by itself any more: neither deadlines nor escalations nor messages. What is under way is finished, and what
    /// comes due is done, and marked late, after the next [`SlaMonitorService::start`]. Stopping twice is stopping once.
    pub fn stop(&self) {
        self.ionveil.stop_background();
    }

    /// Stores a rule, or a new version of the one of that id; replies with it as it is stored.
    ///
    /// Takes a command id: sent again, it also tells the orgs what a crash left untold.
    ///
    /// # Errors
    /// `invalid` when it could not be judged.
    pub async fn add_rule(&self, rule: AlertRule) -> Result<AlertRule, Error> {
        let mut stored = self.add_rules(vec![rule]).await?;
        stored.pop().ok_or_else(|| Corrupt("a rule was stored and not shown".into())).map_err(internal)
    }

    /// Stores several rules, all of them or none.
    ///
    /// Takes a command id: as [`SlaMonitorService::add_rule`].
    ///
    /// # Errors
    /// `invalid` when one could not be judged, or stands there twice.
    pub async fn add_rules(&self, rules: Vec<AlertRule>) -> Result<Vec<AlertRule>, Error> {
        let stored = self.ionveil.inner.rules.tell(rules::ALL, AddRules { rules }, self.caller()).await?;
        self.push_known().await?;
        Ok(stored)
    }

    /// Removes a rule; false when there is none of that id. Its alerts stay.
    ///
    /// Takes a command id: as [`SlaMonitorService::add_rule`].
    ///
    /// # Errors
    /// As every method: `overloaded`, `unavailable`, `corrupt`.
    pub async fn remove_rule(&self, rule_id: &str) -> Result<bool, Error> {
        let command = RemoveRule { rule_id: rule_id.to_owned() };
        let removed = self.ionveil.inner.rules.tell(rules::ALL, command, self.caller()).await?;
        if removed {
            self.push_known().await?;
        }
        Ok(removed)
    }

    /// The rules of an org with those of all orgs, or every rule there is, in the order of their ids.
    ///
    /// # Errors
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn get_rules(&self, org: Option<&OrgId>) -> Result<Vec<AlertRule>, Error> {
        let question = GetRules { org_id: org.cloned() };
        Ok(self.ionveil.inner.rules.ask(rules::ALL, question, self.caller()).await?.rules)
    }

    /// Registers an incident, or tells what is new of it, judges it by every rule, and says what that led to.
    ///
    /// Takes a command id.
    ///
    /// # Errors
    /// `invalid` when a field is out of range, arrival or closing lies before dispatch, or `current_time` before the
    /// incident's last instant.
    pub async fn check_incident(&self, check: IncidentCheck) -> Result<CheckReport, Error> {
        let known = known(&self.ionveil, &check.org_id).await?;
        let org = check.org_id;
        let command = CheckIncident {
            incident_id: check.incident_id,
            priority: check.priority,
            dispatch_time: check.dispatch_time,
            arrival_time: check.arrival_time,
            closed_time: check.closed_time,
            at: check.current_time,
            known,
        };
        Ok(self.ionveil.inner.alerts.tell(org.as_str(), command, self.caller()).await?)
    }

    /// Open, acknowledged and escalated alerts of an org, oldest first; with `status` those of that status instead.
    ///
    /// # Errors
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn get_active_alerts(
        &self,
        org: &OrgId,
        severity: Option<AlertSeverity>,
        status: Option<AlertStatus>,
    ) -> Result<Vec<Alert>, Error> {
        self.get_alerts(org, severity, status.map_or(Wanted::Unresolved, Wanted::Only)).await
    }

    /// Alerts of an org, oldest first. What was over long ago is read from the journal, which takes as long as replaying the
    /// org's alerts.
    ///
    /// # Errors
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn get_alerts(
        &self,
        org: &OrgId,
        severity: Option<AlertSeverity>,
        wanted: Wanted,
    ) -> Result<Vec<Alert>, Error> {
        let question = GetActiveAlerts { severity, wanted };
        let present = self.ionveil.inner.alerts.ask(org.as_str(), question, self.caller()).await?;
        // Asked last, so that nothing is missed that is forgotten in between.
        if wanted.includes_over() && self.forgotten(org).await?.alerts > 0 {
            return Ok(self.history(org).await?.alerts(severity, wanted));
        }
        Ok(present)
    }

    /// One alert, also one that was over long ago.
    ///
    /// # Errors
    /// `not_found` when no org has one of that id.
    pub async fn get_alert(&self, alert_id: Uuid) -> Result<Alert, Error> {
        Ok(find_alert(&self.ionveil, alert_id).await?.alert)
    }

    /// Says that somebody is on it: escalation stops, and what has not been sent is taken back. Saying so again changes
    /// nothing.
    ///
    /// Takes a command id.
    ///
    /// # Errors
    /// `not_found`; `conflict` when it is resolved or suppressed; `invalid` for a name or a note that says nothing.
    pub async fn acknowledge_alert(&self, alert_id: Uuid, user_id: &str, note: Option<&str>) -> Result<Alert, Error> {
        let org = org_of_alert(&self.ionveil, alert_id, "acknowledged").await?;
        let note = note.map(str::to_owned);
        let command = AcknowledgeAlert { alert_id, user_id: user_id.to_owned(), note, at: None };
        Ok(self.ionveil.inner.alerts.tell(&org, command, self.caller_as(user_id)).await?)
    }

    /// Says that it is over, and how.
    ///
    /// Takes a command id.
    ///
    /// # Errors
    /// `not_found`; `conflict` when it is over already; `invalid` for a name or a note that says nothing.
    pub async fn resolve_alert(&self, alert_id: Uuid, user_id: &str, resolution_note: &str) -> Result<Alert, Error> {
        let org = org_of_alert(&self.ionveil, alert_id, "resolved").await?;
        let (user, resolution_note) = (user_id.to_owned(), resolution_note.to_owned());
        let command = ResolveAlert { alert_id, user_id: user, resolution_note, at: None };
        Ok(self.ionveil.inner.alerts.tell(&org, command, self.caller_as(user_id)).await?)
    }

    /// Incidents that nobody has arrived at and that are not closed, in the order of their breaches.
    ///
    /// # Errors
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn open_incidents(&self, org: &OrgId) -> Result<Vec<IncidentStatus>, Error> {
        let question = GetOpenIncidents { org_id: org.clone(), at: None };
        Ok(self.ionveil.inner.alerts.ask(org.as_str(), question, self.caller()).await?)
    }

    /// Incidents whose target was over in `[from, to)`, in the order of their breaches.
    ///
    /// # Errors
    /// `invalid` when from is not before to.
    pub async fn violations(
        &self,
        org: &OrgId,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Vec<SlaViolation>, Error> {
        let question = GetViolations { org_id: org.clone(), from, to, at: None };
        let present = self.ionveil.inner.alerts.ask(org.as_str(), question.clone(), self.caller()).await?;
        let forgotten = self.forgotten(org).await?;
        if from.is_none_or(|from| forgotten.may_have_breached(from)) && forgotten.incidents > 0 {
            let now = self.ionveil.now();
            return Ok(self.history(org).await?.violations(&question, now)?);
        }
        Ok(present)
    }

    /// Every decision about an incident as it stands in the journal: rules looked at and values seen, what was raised or held
    /// back and why, who was told, and how often that was tried. An incident that nothing is known of has none.
    ///
    /// # Errors
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn explain(&self, org: &OrgId, incident_id: &str) -> Result<Explanation, Error> {
        let explainer = self.read_history(org, Explainer::new(incident_id), |explainer, position, event| {
            explainer.take(position, event).map_err(|corrupt| corrupt.to_string())
        });
        let explainer = explainer.await?;
        let mut notifications = Vec::new();
        for &alert_id in explainer.alert_ids() {
            let question = GetNotifications { alert_id: Some(alert_id), ..GetNotifications::default() };
            notifications.extend(self.ionveil.inner.notifications.ask(org.as_str(), question, self.caller()).await?);
        }
        let decisions = explainer.into_decisions();
        Ok(Explanation { incident_id: incident_id.to_owned(), decisions, notifications })
    }

    /// What other rules would have raised on the org's recorded incidents since `from`, with the org's present escalation
    /// policy. Nothing is changed.
    ///
    /// # Errors
    /// `invalid` when a rule could not be judged.
    pub async fn what_if(&self, org: &OrgId, rules: Vec<AlertRule>, from: Timestamp) -> Result<WhatIf, Error> {
        let policy = self.ionveil.inner.escalation.ask(org.as_str(), GetPolicy, self.caller()).await?;
        let run = WhatIfRun::new(org.clone(), rules, policy, from)?;
        let run = self.read_history(org, (run, from), |(run, last), _, event| {
            if let Event::IncidentChecked(check) = event {
                *last = (*last).max(check.at);
            }
            run.take(event).map_err(|error| error.to_string())
        });
        let (run, last) = run.await?;
        Ok(self.ionveil.inner.runtime.run_blocking(move || run.finish(last)).await?)
    }

    async fn forgotten(&self, org: &OrgId) -> Result<Forgotten, Error> {
        Ok(self.ionveil.inner.alerts.ask(org.as_str(), GetForgotten, self.caller()).await?)
    }

    /// Everything there ever was of an org's alerts, from the journal.
    async fn history(&self, org: &OrgId) -> Result<History, Error> {
        history(&self.ionveil, org.as_str()).await
    }

    /// Folds the org's alerts, oldest event first, on a thread apart.
    async fn read_history<S: Send + 'static>(
        &self,
        org: &OrgId,
        folded: S,
        fold: impl Fn(&mut S, u64, &Event) -> Result<(), String> + Send + 'static,
    ) -> Result<S, Error> {
        read_history(&self.ionveil, org.as_str(), folded, fold).await
    }

    /// Tells every org that is known what it goes by from now on, so that what is open is judged by it. Without background
    /// work each org learns of it with its next check.
    async fn push_known(&self) -> Result<(), Error> {
        if !self.ionveil.is_in_background() {
            return Ok(());
        }
        for id in self.ionveil.inner.alerts.ids() {
            let org: OrgId = id.parse()?;
            let known = known(&self.ionveil, &org).await?;
            self.ionveil.inner.alerts.tell(&id, TakeKnown { known, at: None }, self.ionveil.following()).await?;
        }
        Ok(())
    }

    fn caller(&self) -> Caller {
        self.ionveil.caller.clone()
    }

    fn caller_as(&self, user: &str) -> Caller {
        as_user(&self.ionveil, user)
    }
}

/// What `user` does is recorded as done by them.
pub(super) fn as_user(ionveil: &IonVeil, user: &str) -> Caller {
    Caller { principal: Some(user.into()), ..ionveil.caller.clone() }
}

/// An alert and where it is.
struct Found {
    org: String,
    alert: Alert,
    /// It was over long ago, and is known to the journal only.
    is_forgotten: bool,
}

/// Asks every org for an alert, then the journals of those that have forgotten any: ids do not tell whose they are.
async fn find_alert(ionveil: &IonVeil, alert_id: Uuid) -> Result<Found, Error> {
    let (alerts, caller) = (&ionveil.inner.alerts, || ionveil.caller.clone());
    let orgs = alerts.ids();
    for org in &orgs {
        if let Some(alert) = alerts.ask(org, GetAlert { alert_id }, caller()).await? {
            return Ok(Found { org: org.clone(), alert, is_forgotten: false });
        }
    }
    for org in orgs {
        if alerts.ask(&org, GetForgotten, caller()).await?.alerts == 0 {
            continue;
        }
        if let Some(alert) = history(ionveil, &org).await?.alert(alert_id) {
            return Ok(Found { org, alert, is_forgotten: true });
        }
    }
    Err(not_found("alert", alert_id))
}

/// The org of an alert to which something is to be done.
pub(super) async fn org_of_alert(ionveil: &IonVeil, alert_id: Uuid, wanted: &str) -> Result<String, Error> {
    let Found { org, alert, is_forgotten } = find_alert(ionveil, alert_id).await?;
    if is_forgotten {
        return Err(alert.cannot_be(wanted).into());
    }
    Ok(org)
}

async fn history(ionveil: &IonVeil, org: &str) -> Result<History, Error> {
    let take = |history: &mut History, _, event: &Event| history.take(event).map_err(|corrupt| corrupt.to_string());
    read_history(ionveil, org, History::default(), take).await
}

/// Folds an org's alerts, oldest event first, on a thread apart.
pub(super) async fn read_history<S: Send + 'static>(
    ionveil: &IonVeil,
    org: &str,
    mut folded: S,
    fold: impl Fn(&mut S, u64, &Event) -> Result<(), String> + Send + 'static,
) -> Result<S, Error> {
    let stream = StreamId::new(Alerts::KIND, org)?;
    let journal = Arc::clone(ionveil.inner.runtime.journal());
    let read = move || {
        let mut failed = None;
        journal.read_stream(&stream, Sequence::FIRST, Sequence::MAX, &mut |record| {
            if is_note(record.event_type) {
                return ControlFlow::Continue(());
            }
            let event = Event::decode(record.event_type, record.version, record.codec, record.payload);
            let event = event.map_err(|error| error.to_string());
            if let Err(cause) = event.and_then(|event| fold(&mut folded, record.position.get(), &event)) {
                let (stream, sequence) = (record.stream.to_owned(), record.sequence.get());
                failed = Some(ServiceError::Corrupt { stream, sequence, cause });
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        failed.map_or(Ok(folded), Err)
    };
    Ok(ionveil.inner.runtime.run_blocking(read).await?)
}

pub(super) fn not_found(what: &'static str, id: Uuid) -> Error {
    ServiceError::NotFound { what, id: id.to_string() }.into()
}

fn internal(corrupt: Corrupt) -> Error {
    ServiceError::Unavailable { reason: corrupt.to_string(), outcome_known: false, retry_after: None }.into()
}
