//! What goes out now and what has to wait on: the decisions that are taken when an instant has come.
//!
//! A message whose instant has come is judged in this order: quiet hours, then its group, then its channel. What waits for its
//! channel goes the worst first, and takes along what may be told with it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;

use uuid::Uuid;

use super::event::{Event, NotificationsGrouped, NotificationsHeld, NotificationsStarted};
use super::lane::{Lane, Place};
use super::pacing::{ALERTS_MAX, Addressed, Held};
use super::state::{GroupKey, Notification, Notifications};
use crate::domain::{Channel, Timestamp};

const MICROS_PER_SECOND: i64 = 1_000_000;

/// What follows for everything that is due.
pub(super) fn release(state: &Notifications, now: Timestamp) -> Vec<Event> {
    let mut release = Release {
        state,
        now,
        held: BTreeMap::new(),
        quiet: BTreeMap::new(),
        opened: BTreeMap::new(),
        grouped: Vec::new(),
        started: Vec::new(),
    };
    let mut arrived: BTreeMap<Channel, Vec<&Notification>> = BTreeMap::new();
    for (_, id) in state.waiting.iter().take_while(|&&(at, _)| at <= now) {
        let Some(message) = state.messages.get(id) else { continue };
        match release.wait_of(message) {
            Some((until, because)) => release.hold(*id, because, Some(until)),
            None => arrived.entry(message.channel).or_default().push(message),
        }
    }
    for channel in state.lanes.keys().chain(arrived.keys()).copied().collect::<BTreeSet<_>>() {
        release.depart(channel, &arrived.remove(&channel).unwrap_or_default());
    }
    release.into_events()
}

struct Release<'a> {
    state: &'a Notifications,
    now: Timestamp,
    held: BTreeMap<(Held, Option<Timestamp>), Vec<Uuid>>,
    /// Quiet hours by whom they are for: thousands of messages ask the same.
    quiet: BTreeMap<Addressed, Option<(Timestamp, Held)>>,
    /// Groups that the messages looked at so far have opened.
    opened: BTreeMap<GroupKey, Timestamp>,
    grouped: Vec<NotificationsGrouped>,
    started: Vec<Uuid>,
}

impl Release<'_> {
    fn hold(&mut self, id: Uuid, because: Held, until: Option<Timestamp>) {
        self.held.entry((because, until)).or_default().push(id);
    }

    /// Until when a message has to wait for something other than its channel.
    fn wait_of(&mut self, message: &Notification) -> Option<(Timestamp, Held)> {
        self.quiet_until(message).or_else(|| self.group_leaves_at(message).map(|at| (at, Held::Group)))
    }

    /// A summary waits only when all that it tells may wait.
    fn quiet_until(&mut self, message: &Notification) -> Option<(Timestamp, Held)> {
        let (state, now) = (self.state, self.now);
        let pacing = state.pacing.as_ref()?;
        let mut until: Option<(Timestamp, Held)> = None;
        for told in state.pending_of(message.notification_id) {
            let addressed = state.addressed(told);
            let of_one = (*self.quiet.entry(addressed).or_insert_with(|| pacing.quiet_until(addressed, now)))?;
            until = Some(until.map_or(of_one, |known| known.min(of_one)));
        }
        until
    }

    /// When the group of a message leaves, if that is later. The first one's wait is the group's; who has waited for
    /// something else before does not wait for others again, but keeps to the interval.
    fn group_leaves_at(&mut self, message: &Notification) -> Option<Timestamp> {
        if message.held_by == Some(Held::Digest) {
            return None;
        }
        let (key, grouping) = self.state.grouping_of(message)?;
        let departures = self.state.groups.get(&key);
        let open = self.opened.get(&key).copied().or(departures.and_then(|known| known.leaves_at));
        if let Some(leaves_at) = open.filter(|at| *at > self.now) {
            return Some(leaves_at);
        }
        let seconds = |seconds: u32| i64::from(seconds) * MICROS_PER_SECOND;
        let wait = if message.held_by.is_none() { grouping.wait_seconds } else { 0 };
        let waited = message.due_at.saturating_add_micros(seconds(wait));
        let left_at = departures.and_then(|known| known.left_at);
        let interval_over = left_at.map(|at| at.saturating_add_micros(seconds(grouping.interval_seconds)));
        let leaves_at = interval_over.map_or(waited, |over| over.max(waited));
        if leaves_at <= self.now {
            return None;
        }
        self.opened.insert(key, leaves_at);
        Some(leaves_at)
    }

    /// Gives a channel what it may be given, of what waits for it and what has just come.
    fn depart(&mut self, channel: Channel, arrived: &[&Notification]) {
        let (state, now) = (self.state, self.now);
        let nothing = Lane::default();
        let lane = state.lanes.get(&channel).unwrap_or(&nothing);
        let mut room = lane.room(state.limits(channel), now);
        let new: BTreeSet<Uuid> = arrived.iter().map(|message| message.notification_id).collect();
        let mut places: Vec<Place> = Vec::new();
        if room > 0 {
            places.extend(arrived.iter().map(|message| place_of(state, message)));
            places.sort_unstable();
        }
        let mut line = Line::new(state, lane.places(), places.into_iter());
        let mut left: BTreeSet<Uuid> = BTreeSet::new();
        while room > 0
            && let Some(message) = line.next()
        {
            let id = message.notification_id;
            left.insert(id);
            // Hours may have begun while it waited for its channel.
            if !new.contains(&id)
                && let Some((until, because)) = self.quiet_until(message)
            {
                self.hold(id, because, Some(until));
                continue;
            }
            if let Some(group) = state.group_key(message) {
                let alerts_max = state.grouping_of(message).map_or(ALERTS_MAX, |(_, grouping)| grouping.alerts_max);
                let may_go =
                    |other: &Notification| new.contains(&other.notification_id) || self.quiet_until(other).is_none();
                let others = line.take_along(group, alerts_max as usize - 1, may_go);
                left.extend(&others);
                if !others.is_empty() {
                    self.grouped.push(NotificationsGrouped { notification_id: id, others, at: now });
                }
            }
            self.started.push(id);
            room -= 1;
        }
        let because = if lane.is_paused(now) { Held::Receiver } else { Held::Limit };
        new.difference(&left).for_each(|id| self.hold(*id, because, None));
    }

    fn into_events(self) -> Vec<Event> {
        let at = self.now;
        let held = self.held.into_iter().map(|((because, until), notification_ids)| {
            Event::Held(NotificationsHeld { notification_ids, at, because, until })
        });
        let mut events: Vec<Event> = held.chain(self.grouped.into_iter().map(Event::Grouped)).collect();
        if !self.started.is_empty() {
            events.push(Event::Started(NotificationsStarted { notification_ids: self.started, at }));
        }
        events
    }
}

fn place_of(state: &Notifications, message: &Notification) -> Place {
    (Reverse(state.severity_of(message)), message.due_at, message.notification_id)
}

/// Messages that stand in line for a channel. Thousands may: no more of them is looked at than can go.
struct Line<'a, R: Iterator<Item = Place>, A: Iterator<Item = Place>> {
    state: &'a Notifications,
    rest: InOrder<R, A>,
    taken_along: BTreeSet<Uuid>,
}

impl<'a, R, A> Line<'a, R, A>
where
    R: Iterator<Item = Place> + Clone,
    A: Iterator<Item = Place> + Clone,
{
    fn new(state: &'a Notifications, ready: R, arrived: A) -> Self {
        let rest = InOrder { ready: ready.peekable(), arrived: arrived.peekable() };
        Line { state, rest, taken_along: BTreeSet::new() }
    }

    fn next(&mut self) -> Option<&'a Notification> {
        let (state, taken_along) = (self.state, &self.taken_along);
        let mut rest = self.rest.by_ref().filter(|(_, _, id)| !taken_along.contains(id));
        rest.find_map(|(_, _, id)| state.messages.get(&id))
    }

    /// Takes others of a group out of the line.
    fn take_along(
        &mut self,
        group: GroupKey,
        len_max: usize,
        mut may_go: impl FnMut(&Notification) -> bool,
    ) -> Vec<Uuid> {
        let (state, taken_along) = (self.state, &self.taken_along);
        let rest = self.rest.clone().filter(|(_, _, id)| !taken_along.contains(id));
        let messages = rest.filter_map(|(_, _, id)| state.messages.get(&id));
        let fitting = messages.filter(|other| state.group_key(other) == Some(group) && may_go(other));
        let taken: Vec<Uuid> = fitting.take(len_max).map(|message| message.notification_id).collect();
        self.taken_along.extend(&taken);
        taken
    }
}

/// What waits for the channel already, and what has just come, as one line.
#[derive(Clone)]
struct InOrder<R: Iterator<Item = Place>, A: Iterator<Item = Place>> {
    ready: Peekable<R>,
    arrived: Peekable<A>,
}

impl<R: Iterator<Item = Place>, A: Iterator<Item = Place>> Iterator for InOrder<R, A> {
    type Item = Place;

    fn next(&mut self) -> Option<Place> {
        match (self.ready.peek(), self.arrived.peek()) {
            (Some(ready), Some(arrived)) if arrived < ready => self.arrived.next(),
            (Some(_), _) => self.ready.next(),
            (None, _) => self.arrived.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::notification::{Kind, NotificationStatus};

    /// All of them were, each time that one could go: a storm of 5,000 under a limit took 25 million looks.
    #[test]
    fn no_more_of_a_line_is_looked_at_than_can_go() {
        let mut state = Notifications::default();
        for number in 0..100 {
            let notification_id = Uuid::from_u128(number);
            let message = Notification {
                notification_id,
                alert_id: notification_id,
                kind: Kind::Raised,
                channel: Channel::Sms,
                level: 1,
                cycle: 1,
                idempotency_key: String::new(),
                attempts: 0,
                last_error: None,
                due_at: Timestamp::EPOCH,
                delivered_at: None,
                status: NotificationStatus::Pending,
                sent_with: None,
                held_by: None,
            };
            state.messages.insert(notification_id, message);
        }
        let looks = Cell::new(0);
        let places: Vec<Place> = state.messages.values().map(|message| place_of(&state, message)).collect();
        let ready = places[50..].iter().copied().inspect(|_| looks.set(looks.get() + 1));
        let mut line = Line::new(&state, ready, places[..50].iter().copied());
        let ids: Vec<u128> =
            std::iter::from_fn(|| line.next()).take(52).map(|it| it.notification_id.as_u128()).collect();
        assert_eq!(ids, (0..52).collect::<Vec<_>>());
        assert!(looks.get() <= 3, "{} looks for two", looks.get());
    }
}
