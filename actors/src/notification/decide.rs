//! State and command to decision or refusal.

use super::backoff::{ATTEMPTS_MAX, RETRY_AFTER_MAX_SECONDS, retry_delay_micros};
use super::command::{Attempt, RecordAttempt, Resend, Retry};
use super::event::{
    AlertNoticed, Event, Fact, NotificationDelivered, NotificationFailed, NotificationGivenUp, NotificationResent,
    Queued, Subject,
};
use super::state::{Kind, Noticed, Notification, NotificationStatus, Notifications};
use crate::alerts;
use crate::domain::{Channel, OrgId, Timestamp};
use crate::error::{Error, Invalid};
use crate::runtime::{Command, Decision, Given};

/// Longest error that is kept, in characters.
const ERROR_CHARS_MAX: usize = 500;

/// What an event of the org's alerts leads to.
pub(super) fn noticed(state: &Notifications, org_id: &OrgId, event: &alerts::Event) -> Option<AlertNoticed> {
    let (alert_id, at, fact) = fact_of(org_id, event)?;
    let queued = match (&fact, event, state.alerts.get(&alert_id)) {
        (Fact::Raised(_), alerts::Event::Raised(raised), _) => {
            state.queued(alert_id, Kind::Raised, (1, 1), &raised.channels, at)
        }
        (Fact::Escalated { level, cycle, held_back_by: None, .. }, alerts::Event::Escalated(step), Some(_)) => {
            state.queued(alert_id, Kind::Escalated, (*level, *cycle), &step.channels, at)
        }
        (Fact::Resolved { .. }, _, Some(known)) => {
            state.queued(alert_id, Kind::Resolved, (known.level, known.cycle), &known.told, at)
        }
        (Fact::Acknowledged, _, Some(known)) if known.told.contains(&Channel::Pagerduty) => {
            self::acknowledged(state, alert_id, known, at)
        }
        // Of an alert that nobody was ever to be told of.
        (_, _, None) => return None,
        _ => Vec::new(),
    };
    Some(AlertNoticed { alert_id, at, fact, queued })
}

/// PagerDuty has a life cycle of its own, and goes on calling people unless it is told.
fn acknowledged(state: &Notifications, alert_id: uuid::Uuid, known: &Noticed, at: Timestamp) -> Vec<Queued> {
    state.queued(alert_id, Kind::Acknowledged, (known.level, known.cycle), &[Channel::Pagerduty], at)
}

/// What an event of the org's alerts is to the outbox.
fn fact_of(org_id: &OrgId, event: &alerts::Event) -> Option<(uuid::Uuid, Timestamp, Fact)> {
    match event {
        alerts::Event::Raised(raised) => {
            let subject = Subject {
                org_id: org_id.clone(),
                rule_id: raised.rule_id.clone(),
                incident_id: raised.incident_id.clone(),
                severity: raised.severity,
                title: raised.title.clone(),
                description: raised.cause.description(),
                raised_at: raised.at,
            };
            Some((raised.alert_id, raised.at, Fact::Raised(subject)))
        }
        alerts::Event::Escalated(step) => {
            let fact = Fact::Escalated {
                level: step.to_level,
                cycle: step.cycle,
                reason: step.reason.clone(),
                held_back_by: step.held_back_by,
            };
            Some((step.alert_id, step.at, fact))
        }
        alerts::Event::Acknowledged(event) => Some((event.alert_id, event.at, Fact::Acknowledged)),
        alerts::Event::Resolved(event) => {
            let fact = Fact::Resolved { by: event.by.clone(), note: event.note.clone() };
            Some((event.alert_id, event.at, fact))
        }
        _ => None,
    }
}

fn found(state: &Notifications, id: uuid::Uuid) -> Result<&Notification, Error> {
    state.messages.get(&id).ok_or_else(|| Error::NotFound { what: "notification", id: id.to_string() })
}

impl Command<Notifications> for RecordAttempt {
    type Reply = Notification;

    fn decide(self, state: &Notifications, _: &Given) -> Result<Decision<Event, Notification>, Error> {
        let message = found(state, self.notification_id)?;
        let (notification_id, alert_id, at) = (message.notification_id, message.alert_id, self.at);
        let event = match (self.attempt, message.status) {
            // Told twice, or of a message that was given up meanwhile.
            (_, NotificationStatus::Delivered) | (Attempt::Failed { .. }, NotificationStatus::Dead) => None,
            (Attempt::Delivered { sent_with }, _) => {
                let queued = end_of_alert(state, message, at);
                Some(Event::Delivered(NotificationDelivered { notification_id, alert_id, at, sent_with, queued }))
            }
            // It was taken back while it was on its way, and did not get there: good.
            (Attempt::Failed { .. }, NotificationStatus::Cancelled) => None,
            (Attempt::Failed { error, retry }, NotificationStatus::Pending) => {
                let error = shortened(&error);
                let attempts = message.attempts + 1;
                let wait = retry_delay_micros(notification_id, attempts);
                let wait = match retry {
                    Retry::Never => None,
                    _ if attempts >= ATTEMPTS_MAX => None,
                    Retry::Later => Some(wait),
                    Retry::After(seconds) => {
                        let asked = i64::try_from(seconds.min(RETRY_AFTER_MAX_SECONDS)).unwrap_or(0) * 1_000_000;
                        Some(wait.max(asked))
                    }
                };
                Some(match wait {
                    None => Event::GivenUp(NotificationGivenUp { notification_id, alert_id, at, error }),
                    Some(wait) => {
                        let due_at = at.saturating_add_micros(wait);
                        Event::Failed(NotificationFailed { notification_id, alert_id, at, error, due_at })
                    }
                })
            }
        };
        let mut after = message.clone();
        if let Some(event) = &event {
            super::evolve::attempted(&mut after, event);
        }
        Ok(Decision { events: event.into_iter().collect(), reply: after })
    }
}

/// An alert that ended while the first message about it was on its way: this channel is told of the end after all.
fn end_of_alert(state: &Notifications, message: &Notification, at: Timestamp) -> Vec<Queued> {
    let Some(noticed) = state.alerts.get(&message.alert_id) else { return Vec::new() };
    if noticed.resolved.is_none() || message.kind == Kind::Resolved {
        return Vec::new();
    }
    state.queued(message.alert_id, Kind::Resolved, (noticed.level, noticed.cycle), &[message.channel], at)
}

fn shortened(error: &str) -> String {
    error.chars().filter(|c| !c.is_control()).take(ERROR_CHARS_MAX).collect()
}

impl Command<Notifications> for Resend {
    type Reply = Notification;

    fn decide(self, state: &Notifications, given: &Given) -> Result<Decision<Event, Notification>, Error> {
        let message = found(state, self.notification_id)?;
        if message.status != NotificationStatus::Dead {
            let status = serde_json::json!(message.status);
            let status = status.as_str().unwrap_or_default();
            let reason = format!("notification {} is {status}, only a dead letter is sent again", self.notification_id);
            return Err(Error::Conflict { reason });
        }
        let at = given.now;
        if given.caller.now.is_some() && at < message.due_at {
            return Err(Invalid::new("now", at, format!("{} or later", message.due_at)).into());
        }
        let (notification_id, alert_id) = (message.notification_id, message.alert_id);
        let event = Event::Resent(NotificationResent { notification_id, alert_id, at });
        let mut after = message.clone();
        super::evolve::attempted(&mut after, &event);
        Ok(Decision { events: vec![event], reply: after })
    }
}
