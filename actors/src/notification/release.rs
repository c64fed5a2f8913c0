//! What goes out now and what has to wait on: the decisions that are taken when an instant has come.
//!
//! A message whose instant has come is judged in this order: quiet hours, then its group, then its channel. What waits for its
//! channel goes the worst first, and takes along what may be told with it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::event::{Event, NotificationsGrouped, NotificationsHeld, NotificationsStarted};
use super::lane::Lane;
use super::pacing::{ALERTS_MAX, Addressed, Held};
use super::state::{GroupKey, Notification, Notifications};
use crate::domain::{Channel, Timestamp};
use crate::rules::AlertSeverity;

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
        let mut line = Line::default();
        if room > 0 {
            let ready = lane.ready().filter_map(|id| state.messages.get(&id));
            ready.chain(arrived.iter().copied()).for_each(|message| line.join(state, message));
        }
        let mut left: BTreeSet<Uuid> = BTreeSet::new();
        while room > 0
            && let Some((message, group)) = line.next()
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
            if let Some(group) = group {
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

/// The worst first, then the longest due.
type Place = (Reverse<AlertSeverity>, Timestamp, Uuid);

/// Messages that stand in line for a channel.
#[derive(Default)]
struct Line<'a> {
    all: BTreeMap<Place, (&'a Notification, Option<GroupKey>)>,
    by_group: BTreeMap<GroupKey, BTreeSet<Place>>,
}

impl<'a> Line<'a> {
    fn join(&mut self, state: &Notifications, message: &'a Notification) {
        let place = (Reverse(state.severity_of(message)), message.due_at, message.notification_id);
        let group = state.group_key(message);
        if let Some(group) = group {
            self.by_group.entry(group).or_default().insert(place);
        }
        self.all.insert(place, (message, group));
    }

    fn next(&mut self) -> Option<(&'a Notification, Option<GroupKey>)> {
        let (place, (message, group)) = self.all.pop_first()?;
        if let Some(waiting) = group.and_then(|group| self.by_group.get_mut(&group)) {
            waiting.remove(&place);
        }
        Some((message, group))
    }

    /// Takes others of a group out of the line.
    fn take_along(
        &mut self,
        group: GroupKey,
        len_max: usize,
        mut may_go: impl FnMut(&Notification) -> bool,
    ) -> Vec<Uuid> {
        let Some(places) = self.by_group.get_mut(&group) else { return Vec::new() };
        let fits = |place: &&Place| self.all.get(*place).is_some_and(|(message, _)| may_go(message));
        let taken: Vec<Place> = places.iter().filter(fits).take(len_max).copied().collect();
        for place in &taken {
            places.remove(place);
            self.all.remove(place);
        }
        taken.into_iter().map(|(_, _, id)| id).collect()
    }
}
