//! State and command to decision or refusal.

use ionveil_journal::codec;
use uuid::Uuid;

use super::backoff::{ATTEMPTS_MAX, RETRY_AFTER_MAX_SECONDS, retry_delay_micros};
use super::command::{Attempt, RecordAttempt, Resend, Retry, SetPacing};
use super::event::{
    AlertNoticed, ChannelPaused, Event, Fact, NotificationDelivered, NotificationFailed, NotificationGivenUp,
    NotificationPartlyDelivered, NotificationResent, NotificationsHeld, PacingSet, Queued, Reached, Subject,
};
use super::pacing::{Held, Pacing};
use super::state::{Kind, Noticed, Notification, NotificationStatus, Notifications};
use crate::alerts;
use crate::domain::{Channel, OrgId, Timestamp};
use crate::error::{Error, Invalid};
use crate::runtime::{Command, Decision, Given, ReplyCodec};

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
            state.queued(alert_id, Kind::Resolved, (known.level, known.cycle), &known.told_on(), at)
        }
        (Fact::Acknowledged, _, Some(known)) if known.told_on().contains(&Channel::Pagerduty) => {
            self::acknowledged(state, alert_id, known, at)
        }
        // Of an alert that nobody was ever to be told of.
        (_, _, None) => return None,
        _ => Vec::new(),
    };
    Some(AlertNoticed { alert_id, at, fact, queued })
}

/// PagerDuty has a life cycle of its own, and goes on calling people unless it is told.
fn acknowledged(state: &Notifications, alert_id: Uuid, known: &Noticed, at: Timestamp) -> Vec<Queued> {
    state.queued(alert_id, Kind::Acknowledged, (known.level, known.cycle), &[Channel::Pagerduty], at)
}

/// What an event of the org's alerts is to the outbox.
fn fact_of(org_id: &OrgId, event: &alerts::Event) -> Option<(Uuid, Timestamp, Fact)> {
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

fn found(state: &Notifications, id: Uuid) -> Result<&Notification, Error> {
    state.messages.get(&id).ok_or_else(|| Error::NotFound { what: "notification", id: id.to_string() })
}

impl Command<Notifications> for RecordAttempt {
    type Reply = Notification;

    fn decide(self, state: &Notifications, _: &Given) -> Result<Decision<Event, Notification>, Error> {
        let message = found(state, self.notification_id)?;
        let events = match &self.attempt {
            Attempt::Delivered => self.delivered(state),
            Attempt::Failed { error, retry, reached } => {
                let mut events = self.partly_delivered(state, reached.as_ref());
                events.extend(self.failed(state, message, error, *retry));
                events
            }
        };
        let mut after = message.clone();
        for event in events.iter().filter(|event| is_about(event, self.notification_id)) {
            super::evolve::attempted(&mut after, event);
        }
        Ok(Decision { events, reply: after })
    }
}

impl RecordAttempt {
    /// What was told, of the message itself and of those that it stood for.
    fn told<'a>(&'a self, state: &'a Notifications) -> impl Iterator<Item = (&'a Notification, Option<Uuid>)> {
        let told = self.told_of.iter().filter_map(|id| state.messages.get(id)).map(|message| {
            let is_other = message.notification_id != self.notification_id;
            (message, is_other.then_some(self.notification_id))
        });
        told.filter(|(message, sent_with)| message.sent_with == *sent_with)
    }

    fn delivered(&self, state: &Notifications) -> Vec<Event> {
        // What was delivered before was told twice.
        let told = self.told(state).filter(|(message, _)| message.status != NotificationStatus::Delivered);
        let events = told.map(|(message, sent_with)| {
            let (notification_id, alert_id, at) = (message.notification_id, message.alert_id, self.at);
            let queued = end_of_alert(state, message, at);
            Event::Delivered(NotificationDelivered { notification_id, alert_id, at, sent_with, queued })
        });
        events.collect()
    }

    /// Who has it although it failed, and is to be told of the end.
    fn partly_delivered(&self, state: &Notifications, reached: Option<&Reached>) -> Vec<Event> {
        let Some(reached) = reached.filter(|reached| state.reached.get(&self.notification_id) != Some(*reached)) else {
            return Vec::new();
        };
        let told = self.told(state).filter(|(message, _)| message.status != NotificationStatus::Delivered);
        let events = told.map(|(message, sent_with)| {
            let (notification_id, alert_id, at) = (message.notification_id, message.alert_id, self.at);
            let (queued, reached) = (end_of_alert(state, message, at), reached.clone());
            Event::PartlyDelivered(NotificationPartlyDelivered {
                notification_id,
                alert_id,
                at,
                sent_with,
                reached,
                queued,
            })
        });
        events.collect()
    }

    fn failed(&self, state: &Notifications, message: &Notification, error: &str, retry: Retry) -> Vec<Event> {
        let (notification_id, alert_id, at) = (message.notification_id, message.alert_id, self.at);
        let mut events = Vec::new();
        if let Retry::After(seconds) = retry {
            let until = at.saturating_add_micros(micros(seconds.min(RETRY_AFTER_MAX_SECONDS)));
            if until > at {
                events.push(Event::Paused(ChannelPaused { channel: message.channel, at, until }));
                events.extend(called_back(state, message, at));
            }
        }
        // It was taken back while it was on its way, and did not get there: good. Or it was given up meanwhile.
        if !state.is_live(notification_id) {
            return events;
        }
        let error = shortened(error);
        let attempts = message.attempts + 1;
        let wait = retry_delay_micros(notification_id, attempts);
        let wait = match retry {
            Retry::Never => None,
            _ if attempts >= ATTEMPTS_MAX => None,
            Retry::Later => Some(wait),
            Retry::After(seconds) => Some(wait.max(micros(seconds.min(RETRY_AFTER_MAX_SECONDS)))),
        };
        match wait {
            None => events.extend(state.pending_of(notification_id).map(|it| {
                let (notification_id, alert_id, error) = (it.notification_id, it.alert_id, error.clone());
                Event::GivenUp(NotificationGivenUp { notification_id, alert_id, at, error })
            })),
            Some(wait) => {
                let due_at = at.saturating_add_micros(wait);
                events.push(Event::Failed(NotificationFailed { notification_id, alert_id, at, error, due_at }));
            }
        }
        events
    }
}

/// What else was to be sent on the channel of a message, and is spared the try.
fn called_back(state: &Notifications, message: &Notification, at: Timestamp) -> Option<Event> {
    let others = state.not_offered_on(message.channel).filter(|id| *id != message.notification_id);
    let notification_ids: Vec<Uuid> = others.collect();
    let held = NotificationsHeld { notification_ids, at, because: Held::Receiver, until: None };
    (!held.notification_ids.is_empty()).then_some(Event::Held(held))
}

fn micros(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(0) * 1_000_000
}

/// Whether an event is what became of that message.
fn is_about(event: &Event, id: Uuid) -> bool {
    match event {
        Event::Delivered(event) => event.notification_id == id,
        Event::Failed(event) => event.notification_id == id,
        Event::GivenUp(event) => event.notification_id == id,
        Event::Resent(event) => event.notification_id == id,
        _ => false,
    }
}

/// An alert that ended while the first message about it was on its way: this channel is told of the end after all.
fn end_of_alert(state: &Notifications, message: &Notification, at: Timestamp) -> Vec<Queued> {
    let Some(noticed) = state.alerts.get(&message.alert_id) else { return Vec::new() };
    if !noticed.is_resolved || message.kind == Kind::Resolved {
        return Vec::new();
    }
    state.queued(message.alert_id, Kind::Resolved, (noticed.level, noticed.cycle), &[message.channel], at)
}

fn shortened(error: &str) -> String {
    error.chars().filter(|c| !c.is_control()).take(ERROR_CHARS_MAX).collect()
}

impl Command<Notifications> for Resend {
    type Reply = Notification;
    const REPLY: Option<ReplyCodec<Notification>> = Some(ReplyCodec::STORED);

    fn content(&self) -> Option<Vec<u8>> {
        Some(codec::encode(&self.notification_id))
    }

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
        let lead = message.sent_with.unwrap_or(self.notification_id);
        // All of them: what goes without one of them under this key could never tell of that one again.
        let of_summary = state.summary(lead).filter_map(|id| state.messages.get(&id));
        let dead = of_summary.filter(|it| it.status == NotificationStatus::Dead);
        let events: Vec<Event> = dead
            .map(|it| {
                let (notification_id, alert_id) = (it.notification_id, it.alert_id);
                Event::Resent(NotificationResent { notification_id, alert_id, at })
            })
            .collect();
        let mut after = message.clone();
        for event in events.iter().filter(|event| is_about(event, self.notification_id)) {
            super::evolve::attempted(&mut after, event);
        }
        Ok(Decision { events, reply: after })
    }
}

impl Command<Notifications> for SetPacing {
    type Reply = Pacing;
    const REPLY: Option<ReplyCodec<Pacing>> = Some(ReplyCodec::STORED);

    fn content(&self) -> Option<Vec<u8>> {
        Some(codec::encode(&self.pacing))
    }

    fn decide(self, state: &Notifications, given: &Given) -> Result<Decision<Event, Pacing>, Error> {
        self.pacing.check()?;
        let pacing = self.pacing;
        // The same again changes nothing, so that setting it twice is safe.
        if state.pacing.as_ref() == Some(&pacing) {
            return Ok(Decision { events: vec![], reply: pacing });
        }
        let event = Event::PacingSet(PacingSet { at: given.now, pacing: pacing.clone() });
        Ok(Decision { events: vec![event], reply: pacing })
    }
}
