//! State and event to state.

use uuid::Uuid;

use super::event::{
    AlertNoticed, Event, Fact, NotificationPartlyDelivered, NotificationsGrouped, NotificationsHeld,
    NotificationsStarted, PacingSet, Queued,
};
use super::pacing::Held;
use super::state::{Kind, List, Noticed, Notification, NotificationStatus, Notifications, idempotency_key};
use crate::domain::{Channel, Timestamp};
use crate::error::Corrupt;

pub(super) fn evolve(state: &mut Notifications, event: &Event) -> Result<(), Corrupt> {
    match event {
        Event::Noticed(event) => notice_alert(state, event),
        Event::Started(event) => start(state, event),
        Event::Delivered(delivered) => {
            let message = attempt(state, delivered.notification_id, event, delivered.at)?;
            tell(state, &message);
            queue(state, message.alert_id, &delivered.queued, delivered.at)
        }
        Event::Failed(failed) => attempt(state, failed.notification_id, event, failed.at).map(|_| ()),
        Event::GivenUp(given_up) => attempt(state, given_up.notification_id, event, given_up.at).map(|_| ()),
        Event::Resent(resent) => attempt(state, resent.notification_id, event, resent.at).map(|_| ()),
        Event::PacingSet(event) => set_pacing(state, event),
        Event::Held(event) => hold(state, event),
        Event::Grouped(event) => group(state, event),
        Event::Paused(event) => {
            state.lanes.entry(event.channel).or_default().pause(event.until);
            Ok(())
        }
        Event::PartlyDelivered(event) => deliver_partly(state, event),
    }
}

fn start(state: &mut Notifications, event: &NotificationsStarted) -> Result<(), Corrupt> {
    for &id in &event.notification_ids {
        let group = state.messages.get(&id).and_then(|message| state.departs_in(message));
        if !matches!(state.take_off(id, event.at), Some(List::Waiting | List::Ready)) {
            return Err(Corrupt(format!("notification {id} is started and does not wait")));
        }
        state.put(id, List::Sending)?;
        if let Some(group) = group {
            let departures = state.groups.entry(group).or_default();
            (departures.leaves_at, departures.left_at) = (None, Some(event.at));
        }
    }
    Ok(())
}

fn hold(state: &mut Notifications, event: &NotificationsHeld) -> Result<(), Corrupt> {
    for &id in &event.notification_ids {
        // A receiver that asks to wait calls back what has not been tried yet.
        let is_called_back = event.because == Held::Receiver && state.take_from_sending(id);
        if !is_called_back && !matches!(state.take_off(id, event.at), Some(List::Waiting | List::Ready)) {
            return Err(Corrupt(format!("notification {id} is held and does not wait")));
        }
        let Some(message) = state.messages.get_mut(&id) else { continue };
        let first = message.held_by.replace(event.because);
        // What comes out of quiet hours as a digest stays one while it waits for its channel.
        if first == Some(Held::Digest) && event.until.is_none() {
            message.held_by = first;
        }
        let list = if event.until.is_some() { List::Waiting } else { List::Ready };
        message.due_at = event.until.unwrap_or(message.due_at);
        let group = state.messages.get(&id).and_then(|message| state.grouping_of(message)).map(|(key, _)| key);
        if let (Held::Group, Some(until), Some(group)) = (event.because, event.until, group) {
            state.groups.entry(group).or_default().leaves_at = Some(until);
        }
        state.put(id, list)?;
    }
    Ok(())
}

fn group(state: &mut Notifications, event: &NotificationsGrouped) -> Result<(), Corrupt> {
    for id in &event.others {
        if !matches!(state.take_off(*id, event.at), Some(List::Waiting | List::Ready)) {
            return Err(Corrupt(format!("notification {id} is grouped and does not wait")));
        }
        if let Some(message) = state.messages.get_mut(id) {
            message.sent_with = Some(event.notification_id);
        }
    }
    state.summaries.insert(event.notification_id, event.others.clone());
    Ok(())
}

/// What waits for other messages, or for the end of quiet hours, is due at once, so that it is judged by the new rules.
fn set_pacing(state: &mut Notifications, event: &PacingSet) -> Result<(), Corrupt> {
    state.pacing = Some(event.pacing.clone());
    state.groups.clear();
    let is_held = |id: &Uuid| {
        let held = state.messages.get(id).and_then(|message| message.held_by);
        matches!(held, Some(Held::Group | Held::QuietHours | Held::Digest))
    };
    let later = state.waiting.iter().filter(|&&(at, _)| at > event.at).map(|&(_, id)| id);
    for id in later.filter(is_held).collect::<Vec<_>>() {
        state.take_off(id, event.at);
        if let Some(message) = state.messages.get_mut(&id) {
            message.due_at = event.at;
        }
        state.put(id, List::Waiting)?;
    }
    Ok(())
}

fn notice_alert(state: &mut Notifications, event: &AlertNoticed) -> Result<(), Corrupt> {
    let Some(messages) = notice(state, event) else {
        return Err(Corrupt(format!("alert {} goes on and was never raised", event.alert_id)));
    };
    if matches!(event.fact, Fact::Acknowledged | Fact::Resolved { .. }) {
        messages.iter().for_each(|id| take_back(state, *id, event.at));
    }
    if matches!(event.fact, Fact::Resolved { .. }) {
        messages.iter().for_each(|id| drop_dead(state, *id, event.at));
    }
    queue(state, event.alert_id, &event.queued, event.at)
}

/// Takes in what happened to an alert; its messages so far.
fn notice(state: &mut Notifications, event: &AlertNoticed) -> Option<Vec<Uuid>> {
    if let Fact::Raised(subject) = &event.fact {
        let noticed = Noticed {
            subject: subject.clone(),
            level: 1,
            cycle: 1,
            is_resolved: false,
            told: Vec::new(),
            maybe_told: Vec::new(),
            messages: Vec::new(),
        };
        state.alerts.insert(event.alert_id, noticed);
        return Some(Vec::new());
    }
    let noticed = state.alerts.get_mut(&event.alert_id)?;
    match &event.fact {
        Fact::Escalated { level, cycle, .. } => (noticed.level, noticed.cycle) = (*level, *cycle),
        Fact::Resolved { .. } => noticed.is_resolved = true,
        Fact::Acknowledged | Fact::Raised(_) => {}
    }
    Some(noticed.messages.clone())
}

/// Takes a message back that has not left yet. One that stands for others stays for them.
fn take_back(state: &mut Notifications, id: Uuid, now: Timestamp) {
    let Some(message) = state.messages.get_mut(&id).filter(|it| it.status == NotificationStatus::Pending) else {
        return;
    };
    message.status = NotificationStatus::Cancelled;
    let lead = message.sent_with.unwrap_or(id);
    let (alert_id, place) = (message.alert_id, (message.channel, message.level));
    if state.is_sending(lead)
        && let Some(noticed) = state.alerts.get_mut(&alert_id)
    {
        noticed.maybe_told.push(place);
    }
    state.settle(lead, now);
}

/// Takes a dead letter of a summary back whose alert is over. The others may be sent again without it, and then their key
/// cannot tell of it any more: a receiver that knows the key would drop it.
fn drop_dead(state: &mut Notifications, id: Uuid, now: Timestamp) {
    let Some(message) = state.messages.get_mut(&id) else { return };
    let lead = message.sent_with.unwrap_or(id);
    if message.status == NotificationStatus::Dead && state.summaries.contains_key(&lead) {
        message.status = NotificationStatus::Cancelled;
        state.settle(lead, now);
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
            sent_with: None,
            held_by: None,
        };
        if state.messages.insert(notification_id, message).is_some() {
            return Err(Corrupt(format!("notification {notification_id} is queued twice")));
        }
        state.order.push(notification_id);
        if let Some(noticed) = state.alerts.get_mut(&alert_id) {
            noticed.messages.push(notification_id);
        }
        let goes_now = due_at <= now && !state.is_paced(channel, now);
        state.put(notification_id, if goes_now { List::Sending } else { List::Waiting })?;
    }
    Ok(())
}

fn attempt(state: &mut Notifications, id: Uuid, event: &Event, now: Timestamp) -> Result<Notification, Corrupt> {
    let never_queued = || Corrupt(format!("notification {id} was never queued"));
    let lead = state.messages.get(&id).map(|message| message.sent_with.unwrap_or(id)).ok_or_else(never_queued)?;
    let was_live = state.is_live(lead);
    let is_again = matches!(event, Event::Failed(_));
    if is_again {
        state.take_off(lead, now);
    }
    let message = state.messages.get_mut(&id).ok_or_else(never_queued)?;
    attempted(message, event);
    let message = message.clone();
    if let (Event::Resent(resent), false) = (event, was_live) {
        // Tries and instants are those of the message that goes out.
        if let Some(lead) = state.messages.get_mut(&lead) {
            (lead.attempts, lead.due_at) = (0, resent.at);
        }
        // Somebody wants it to be sent: it waits for nothing.
        state.put(lead, List::Sending)?;
    }
    if is_again && state.is_live(lead) {
        state.put(lead, List::Waiting)?;
    }
    state.settle(lead, now);
    Ok(message)
}

fn deliver_partly(state: &mut Notifications, event: &NotificationPartlyDelivered) -> Result<(), Corrupt> {
    let Some(message) = state.messages.get(&event.notification_id).cloned() else {
        return Err(Corrupt(format!("notification {} was never queued", event.notification_id)));
    };
    state.reached.insert(event.sent_with.unwrap_or(event.notification_id), event.reached.clone());
    tell(state, &message);
    queue(state, message.alert_id, &event.queued, event.at)
}

/// Somebody knows of the alert now, and is to know of its end.
fn tell(state: &mut Notifications, message: &Notification) {
    let place: (Channel, u8) = (message.channel, message.level);
    if let Some(noticed) = state.alerts.get_mut(&message.alert_id)
        && message.kind != Kind::Resolved
        && !noticed.told.contains(&place)
    {
        noticed.told.push(place);
    }
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
            // It waits for its next try now.
            message.held_by = None;
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
        Event::Noticed(_)
        | Event::Started(_)
        | Event::PacingSet(_)
        | Event::Held(_)
        | Event::Grouped(_)
        | Event::Paused(_)
        | Event::PartlyDelivered(_) => {}
    }
}
