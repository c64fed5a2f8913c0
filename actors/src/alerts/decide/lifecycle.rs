//! What people do with an alert, and what a step of its escalation is.

use std::sync::Arc;

use ionveil_journal::codec;

use super::{check_note, check_user, conflict, found, instant};
use crate::alerts::SYSTEM;
use crate::alerts::alert::{Alert, AlertState, AlertStatus};
use crate::alerts::command::{AcknowledgeAlert, EscalateAlert, ResolveAlert};
use crate::alerts::event::{AlertAcknowledged, AlertEscalated, AlertResolved, Event};
use crate::alerts::evolve::apply_escalation;
use crate::alerts::state::Alerts;
use crate::domain::Timestamp;
use crate::error::Error;
use crate::escalation;
use crate::runtime::{Command, Decision, Given, ReplyCodec};

impl Command<Alerts> for AcknowledgeAlert {
    type Reply = Alert;
    const REPLY: Option<ReplyCodec<Alert>> = Some(ReplyCodec::STORED);

    fn content(&self) -> Option<Vec<u8>> {
        Some(codec::encode(&(self.alert_id, &self.user_id, &self.note, self.at)))
    }

    fn decide(self, state: &Alerts, given: &Given) -> Result<Decision<Event, Alert>, Error> {
        check_user("user_id", &self.user_id)?;
        self.note.as_deref().map_or(Ok(()), |note| check_note("note", note))?;
        let (_, alert) = found(state, self.alert_id)?;
        let at = instant(self.at, given, Some(alert.updated_at))?;
        match alert.status {
            AlertStatus::Resolved | AlertStatus::Suppressed => Err(conflict(alert, "acknowledged")),
            // The first one stays.
            AlertStatus::Acknowledged => Ok(Decision { events: vec![], reply: state.shown(alert) }),
            AlertStatus::Open | AlertStatus::Escalated => {
                let mut after = alert.clone();
                let by: Arc<str> = self.user_id.as_str().into();
                after.acknowledged = Some((at, Arc::clone(&by)));
                after.change(at, &by, AlertStatus::Acknowledged, self.note.as_deref().map(Arc::from));
                let event = AlertAcknowledged { alert_id: self.alert_id, at, by: self.user_id, note: self.note };
                Ok(Decision { events: vec![Event::Acknowledged(event)], reply: state.shown(&after) })
            }
        }
    }
}

impl Command<Alerts> for ResolveAlert {
    type Reply = Alert;
    const REPLY: Option<ReplyCodec<Alert>> = Some(ReplyCodec::STORED);

    fn content(&self) -> Option<Vec<u8>> {
        Some(codec::encode(&(self.alert_id, &self.user_id, &self.resolution_note, self.at)))
    }

    fn decide(self, state: &Alerts, given: &Given) -> Result<Decision<Event, Alert>, Error> {
        check_user("user_id", &self.user_id)?;
        check_note("note", &self.resolution_note)?;
        let (_, alert) = found(state, self.alert_id)?;
        let at = instant(self.at, given, Some(alert.updated_at))?;
        if !alert.status.is_unresolved() {
            return Err(conflict(alert, "resolved"));
        }
        let mut after = alert.clone();
        let by: Arc<str> = self.user_id.as_str().into();
        after.resolved = Some((at, Arc::clone(&by)));
        after.change(at, &by, AlertStatus::Resolved, Some(self.resolution_note.as_str().into()));
        let event = AlertResolved { alert_id: self.alert_id, at, by: self.user_id, note: self.resolution_note };
        Ok(Decision { events: vec![Event::Resolved(event)], reply: state.shown(&after) })
    }
}

impl Command<Alerts> for EscalateAlert {
    type Reply = Alert;
    const REPLY: Option<ReplyCodec<Alert>> = Some(ReplyCodec::STORED);

    fn content(&self) -> Option<Vec<u8>> {
        Some(codec::encode(&(self.alert_id, &self.user_id, &self.reason, self.at)))
    }

    fn decide(self, state: &Alerts, given: &Given) -> Result<Decision<Event, Alert>, Error> {
        check_user("user_id", &self.user_id)?;
        check_note("reason", &self.reason)?;
        let (_, alert) = found(state, self.alert_id)?;
        let at = instant(self.at, given, Some(alert.updated_at))?;
        if !matches!(alert.status, AlertStatus::Open | AlertStatus::Escalated) {
            return Err(conflict(alert, "escalated"));
        }
        let next = escalation::by_hand(state.policy_of(alert), alert.step, at)
            .map_err(|why| Error::Conflict { reason: format!("alert {} cannot be escalated: {why}", alert.id) })?;
        let mut after = alert.clone();
        let stepping = Stepping { now: at, due_at: None, by: &self.user_id, reason: &self.reason };
        let events = take_steps(state, &mut after, next, stepping);
        Ok(Decision { events, reply: state.shown(&after) })
    }
}

/// How a step comes about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stepping<'a> {
    pub(super) now: Timestamp,
    pub(super) due_at: Option<Timestamp>,
    pub(super) by: &'a str,
    pub(super) reason: &'a str,
}

/// Takes a step, and those that follow at once since nobody can be told at the level it leads to. `alert` is moved along.
pub(super) fn take_steps(
    state: &Alerts,
    alert: &mut AlertState,
    next: escalation::Next,
    stepping: Stepping<'_>,
) -> Vec<Event> {
    let mut events = Vec::new();
    let mut next = Some((next, stepping));
    while let Some((step, how)) = next {
        let policy = state.policy_of(alert);
        let channels = policy.and_then(|policy| policy.level(step.level)).map(|level| level.channels.clone());
        let is_passed = channels.as_ref().is_some_and(Vec::is_empty);
        let suppression = state.suppression_of(&alert.rule_id, how.now);
        let event = AlertEscalated {
            alert_id: alert.id,
            at: how.now,
            due_at: how.due_at,
            from_level: alert.step.level,
            to_level: step.level,
            cycle: step.cycle,
            reason: how.reason.to_owned(),
            by: how.by.to_owned(),
            channels: channels.unwrap_or_default(),
            held_back_by: suppression.map(|known| known.suppression.suppression_id),
        };
        apply_escalation(alert, &event);
        events.push(Event::Escalated(event));
        let follows = state.next_step(alert).filter(|follow| is_passed && follow.at <= how.now);
        let how = Stepping { by: SYSTEM, reason: "nobody_to_tell", ..how };
        next = follows.map(|follow| (follow, how));
    }
    events
}
