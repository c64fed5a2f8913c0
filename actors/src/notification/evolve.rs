//! State and event to state.

use uuid::Uuid;

use super::event::{AlertNoticed, Event, Fact, NotificationsStarted, Queued};
use super::state::{Kind, Noticed, Notification, NotificationStatus, Notifications, idempotency_key};
use crate::domain::Timestamp;
use crate::error::Corrupt;

pub(super) fn evolve(state: &mut Notifications, event: &Event) -> Result<(), Corrupt> {
    match event {
        Event::Noticed(event) => notice_alert(state, event),
        Event::Started(event) => start(state, event),
        Event::Delivered(delivered) => {
            let message = attempt(state, delivered.notification_id, event)?;
            if let Some(noticed) = state.alerts.get_mut(&message.alert_id)
                && message.kind != Kind::Resolved
                && !noticed.told.contains(&message.channel)
            {
                noticed.told.push(message.channel);
            }
            queue(state, message.alert_id, &delivered.queued, delivered.at)
        }
        Event::Failed(failed) => attempt(state, failed.notification_id, event).map(|_| ()),
        Event::GivenUp(given_up) => attempt(state, given_up.notification_id, event).map(|_| ()),
        Event::Resent(resent) => attempt(state, resent.notification_id, event).map(|_| ()),
    }
}

fn start(state: &mut Notifications, event: &NotificationsStarted) -> Result<(), Corrupt> {
    for &id in &event.notification_ids {
        let due_at = state.messages.get(&id).map(|message| message.due_at);
        match due_at {
            Some(due_at) if state.waiting.remove(&(due_at, id)) => state.sending.insert((due_at, id)),
            _ => return Err(Corrupt(format!("notification {id} is started and does not wait"))),
        };
    }
    Ok(())
}

fn notice_alert(state: &mut Notifications, event: &AlertNoticed) -> Result<(), Corrupt> {
    let mut noticed = state.alerts.remove(&event.alert_id);
    notice(&mut noticed, &event.fact);
    let Some(noticed) = noticed else {
        return Err(Corrupt(format!("alert {} goes on and was never raised", event.alert_id)));
    };
    if matches!(event.fact, Fact::Acknowledged | Fact::Resolved { .. }) {
        for id in &noticed.messages {
            let Some(message) = state.messages.get_mut(id) else { continue };
            if message.status == NotificationStatus::Pending {
                message.status = NotificationStatus::Cancelled;
                state.waiting.remove(&(message.due_at, *id));
                state.sending.remove(&(message.due_at, *id));
            }
        }
    }
    state.alerts.insert(event.alert_id, noticed);
    queue(state, event.alert_id, &event.queued, event.at)
}

/// What is known of an alert after something happened to it.
pub(super) fn notice(noticed: &mut Option<Noticed>, fact: &Fact) {
    match (fact, noticed.as_mut()) {
        (Fact::Raised(subject), _) => {
            *noticed = Some(Noticed {
                subject: subject.clone(),
                level: 1,
                cycle: 1,
                reason: None,
                resolved: None,
                told: Vec::new(),
                messages: Vec::new(),
            });
        }
        (Fact::Escalated { level, cycle, reason, .. }, Some(noticed)) => {
            (noticed.level, noticed.cycle, noticed.reason) = (*level, *cycle, Some(reason.clone()));
        }
        (Fact::Resolved { by, note }, Some(noticed)) => noticed.resolved = Some((by.clone(), note.clone())),
        (Fact::Acknowledged, Some(_)) | (_, None) => {}
    }
}

fn queue(state: &mut Notifications, alert_id: Uuid, queued: &[Queued], now: Timestamp) -> Result<(), Corrupt> {
    for queued in queued {
        let Queued { notification_id, kind, channel, level, cycle, due_at } = *queued;
        let message = Notification {
            notification_id,
            alert_id,
            kind,
            channel,
            level,
            cycle,
            idempotency_key: idempotency_key(alert_id, kind, level, cycle, channel),
            attempts: 0,
            last_error: None,
            due_at,
            delivered_at: None,
            status: NotificationStatus::Pending,
        };
        if state.messages.insert(notification_id, message).is_some() {
            return Err(Corrupt(format!("notification {notification_id} is queued twice")));
        }
        state.order.push(notification_id);
        let list = if due_at <= now { &mut state.sending } else { &mut state.waiting };
        list.insert((due_at, notification_id));
        if let Some(noticed) = state.alerts.get_mut(&alert_id) {
            noticed.messages.push(notification_id);
        }
    }
    Ok(())
}

fn attempt(state: &mut Notifications, id: Uuid, event: &Event) -> Result<Notification, Corrupt> {
    let Some(message) = state.messages.get_mut(&id) else {
        return Err(Corrupt(format!("notification {id} was never queued")));
    };
    state.waiting.remove(&(message.due_at, id));
    state.sending.remove(&(message.due_at, id));
    attempted(message, event);
    if message.status == NotificationStatus::Pending {
        // One that is tried again waits for it; one that somebody wants to be sent again does not.
        let list = if matches!(event, Event::Resent(_)) { &mut state.sending } else { &mut state.waiting };
        list.insert((message.due_at, id));
    }
    Ok(message.clone())
}

/// What a try, or the wish for another one, makes of a message.
pub(super) fn attempted(message: &mut Notification, event: &Event) {
    match event {
        Event::Delivered(event) => {
            message.attempts += 1;
            message.status = NotificationStatus::Delivered;
            message.delivered_at = Some(event.at);
        }
        Event::Failed(event) => {
            message.attempts += 1;
            message.last_error = Some(event.error.clone());
            message.due_at = event.due_at;
        }
        Event::GivenUp(event) => {
            message.attempts += 1;
            message.last_error = Some(event.error.clone());
            message.status = NotificationStatus::Dead;
        }
        Event::Resent(event) => {
            message.attempts = 0;
            message.status = NotificationStatus::Pending;
            message.due_at = event.at;
        }
        Event::Noticed(_) | Event::Started(_) => {}
    }
}
