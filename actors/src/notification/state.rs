//! What is known of an org's messages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::OFFERED_MAX;
use super::event::{Queued, Reached, Subject};
use super::lane::Lane;
use super::pacing::{Addressed, Grouping, Held, Limit, Pacing, can_be_grouped};
use super::query::{Outgoing, ToldOf};
use crate::domain::{Channel, Timestamp};
use crate::error::Corrupt;
use crate::rules::AlertSeverity;

/// What a message tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An alert was raised.
    Raised,
    /// It went up a level.
    Escalated,
    /// It is over.
    Resolved,
    /// Somebody is on it. Told to PagerDuty only, which keeps a life cycle of its own.
    Acknowledged,
}

impl Kind {
    /// Its name in JSON and in keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Raised => "raised",
            Kind::Escalated => "escalated",
            Kind::Resolved => "resolved",
            Kind::Acknowledged => "acknowledged",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationStatus {
    /// It is to be sent.
    Pending,
    /// It was sent.
    Delivered,
    /// It is a dead letter.
    Dead,
    /// It was taken back before it left.
    Cancelled,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// Its id, which follows from its key.
    pub notification_id: Uuid,
    /// What it is about.
    pub alert_id: Uuid,
    /// What it tells.
    pub kind: Kind,
    /// Where.
    pub channel: Channel,
    /// The level it is for, 1 to 4.
    pub level: u8,
    /// The start of the chain it is for, from 1.
    pub cycle: u32,
    /// The same however often it is sent: receivers that know it already may ignore it.
    pub idempotency_key: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last try failed.
    pub last_error: Option<String>,
    /// When it is, or was, to be sent.
    pub due_at: Timestamp,
    /// When it was sent.
    pub delivered_at: Option<Timestamp>,
    /// Where it stands.
    pub status: NotificationStatus,
    /// The message that stands for it, when one message tells of several alerts.
    pub sent_with: Option<Uuid>,
    /// What it waits for beside its instant, or waited for last.
    pub held_by: Option<Held>,
}

/// The key of a message.
pub(super) fn idempotency_key(alert_id: Uuid, kind: Kind, level: u8, cycle: u32, channel: Channel) -> String {
    format!("{alert_id}/{kind}/{level}/{cycle}/{channel}")
}

/// The id of the message of that key.
pub(super) fn notification_id(key: &str) -> Uuid {
    /// The namespace of messages: a random UUID, fixed for ever.
    const NAMESPACE: Uuid = Uuid::from_u128(0x3b6c_95a8_2f0e_4d0b_8f4c_11d2_7a9e_5c02);
    Uuid::new_v5(&NAMESPACE, key.as_bytes())
}

/// What is known of an alert that messages are about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Noticed {
    pub(super) subject: Subject,
    pub(super) level: u8,
    pub(super) cycle: u32,
    pub(super) is_resolved: bool,
    /// Channels on which somebody was told of it, with the level whose people that were.
    pub(super) told: Vec<(Channel, u8)>,
    /// The same of what was on its way when it was taken back: it may have got there.
    pub(super) maybe_told: Vec<(Channel, u8)>,
    /// Its messages, in the order in which they were queued.
    pub(super) messages: Vec<Uuid>,
}

impl Noticed {
    /// Channels on which somebody was told of it, in that order.
    pub(super) fn told_on(&self) -> Vec<Channel> {
        let mut channels = Vec::new();
        for &(channel, _) in &self.told {
            if !channels.contains(&channel) {
                channels.push(channel);
            }
        }
        channels
    }
}

/// Messages that can be told together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct GroupKey {
    channel: Channel,
    kind: Kind,
    /// The levels whose people are told, a bit each.
    levels: u8,
    /// The entry of the pacing; none for the digest at the end of quiet hours.
    entry: Option<u8>,
}

/// When a group leaves, and left.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Departures {
    pub(super) leaves_at: Option<Timestamp>,
    pub(super) left_at: Option<Timestamp>,
}

/// Where a message waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// For its instant.
    Waiting,
    /// For its channel.
    Ready,
    /// For what becomes of it.
    Sending,
}

/// An org's outbox.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Notifications {
    pub(super) alerts: BTreeMap<Uuid, Noticed>,
    pub(super) messages: BTreeMap<Uuid, Notification>,
    /// Messages in the order in which they were queued.
    pub(super) order: Vec<Uuid>,
    /// What is to be sent later, earliest first.
    pub(super) waiting: BTreeSet<(Timestamp, Uuid)>,
    /// What is to be sent now, by channel, longest due first.
    pub(super) sending: BTreeSet<(Channel, Timestamp, Uuid)>,
    pub(super) pacing: Option<Pacing>,
    pub(super) lanes: BTreeMap<Channel, Lane>,
    pub(super) groups: BTreeMap<GroupKey, Departures>,
    /// Messages that are told by another one, by that one. It stays where it is, also when its own alert needs it no more, so
    /// that what is sent again has the same key.
    pub(super) summaries: BTreeMap<Uuid, Vec<Uuid>>,
    /// Who has a message already, of those that not everybody has.
    pub(super) reached: BTreeMap<Uuid, Reached>,
}

impl Notifications {
    /// What a message can say.
    pub(super) fn outgoing(&self, id: Uuid) -> Option<Outgoing> {
        let notification = self.messages.get(&id)?.clone();
        let told_of: Vec<&Notification> = self.pending_of(id).collect();
        let mut levels = BTreeSet::new();
        for message in &told_of {
            levels.extend(self.levels_of(message));
        }
        let org_id = self.alerts.get(&notification.alert_id)?.subject.org_id.clone();
        let told_of = told_of.into_iter().map(|message| ToldOf {
            notification_id: message.notification_id,
            alert_id: message.alert_id,
            idempotency_key: message.idempotency_key.clone(),
        });
        let (told_of, levels) = (told_of.collect(), levels.into_iter().collect());
        Some(Outgoing { notification, org_id, told_of, levels, reached: self.reached.get(&id).cloned() })
    }

    pub(super) fn queued(
        &self,
        alert_id: Uuid,
        kind: Kind,
        (level, cycle): (u8, u32),
        channels: &[Channel],
        due_at: Timestamp,
    ) -> Vec<Queued> {
        let queue = |&channel: &Channel| {
            let key = idempotency_key(alert_id, kind, level, cycle, channel);
            Queued { notification_id: notification_id(&key), kind, channel, level, cycle, due_at }
        };
        // What has been queued once is not queued again.
        channels.iter().map(queue).filter(|queued| !self.messages.contains_key(&queued.notification_id)).collect()
    }

    /// A message and those that it stands for.
    pub(super) fn summary(&self, lead: Uuid) -> impl Iterator<Item = Uuid> {
        std::iter::once(lead).chain(self.summaries.get(&lead).into_iter().flatten().copied())
    }

    /// Those of a message and of what it stands for that are still to be told.
    pub(super) fn pending_of(&self, lead: Uuid) -> impl Iterator<Item = &Notification> {
        let of_summary = self.summary(lead).filter_map(|id| self.messages.get(&id));
        of_summary.filter(|message| message.status == NotificationStatus::Pending)
    }

    /// Whether a message, or one that it stands for, is still to be told.
    pub(super) fn is_live(&self, lead: Uuid) -> bool {
        self.pending_of(lead).next().is_some()
    }

    pub(super) fn is_sending(&self, id: Uuid) -> bool {
        self.messages.get(&id).is_some_and(|message| self.sending.contains(&(message.channel, message.due_at, id)))
    }

    /// Takes a message that is not to be sent any more off its list, and forgets what only another try would need.
    pub(super) fn settle(&mut self, lead: Uuid, now: Timestamp) {
        if self.is_live(lead) {
            return;
        }
        self.take_off(lead, now);
        let is_dead = |id| self.messages.get(&id).is_some_and(|message| message.status == NotificationStatus::Dead);
        let can_come_again = self.summary(lead).any(is_dead);
        if !can_come_again {
            self.summaries.remove(&lead);
            self.reached.remove(&lead);
        }
    }

    /// The levels whose people a message is for: its own; of an end those that were told of the alert.
    pub(super) fn levels_of(&self, message: &Notification) -> BTreeSet<u8> {
        let known = self.alerts.get(&message.alert_id).filter(|_| message.kind == Kind::Resolved);
        let told = known.into_iter().flat_map(|known| known.told.iter().chain(&known.maybe_told));
        let mut levels: BTreeSet<u8> =
            told.filter(|(channel, _)| *channel == message.channel).map(|(_, level)| *level).collect();
        if levels.is_empty() {
            levels.insert(message.level);
        }
        levels
    }

    pub(super) fn severity_of(&self, message: &Notification) -> AlertSeverity {
        self.alerts.get(&message.alert_id).map_or(AlertSeverity::Emergency, |known| known.subject.severity)
    }

    pub(super) fn addressed(&self, message: &Notification) -> Addressed {
        let (channel, level) = (message.channel, message.level);
        Addressed { channel, severity: self.severity_of(message), level }
    }

    /// Whether no receiver can have the message under its key yet. One that was sent again starts its tries anew, and
    /// still has its last error.
    fn is_first_try(&self, message: &Notification) -> bool {
        let was_tried = message.attempts > 0 || message.last_error.is_some();
        !was_tried && !self.summaries.contains_key(&message.notification_id)
    }

    /// The entry of the pacing by which a message is grouped when it is told for the first time.
    pub(super) fn grouping_of(&self, message: &Notification) -> Option<(GroupKey, &Grouping)> {
        let is_first_try = self.is_first_try(message);
        let (entry, grouping) = self.pacing.as_ref()?.grouping(self.addressed(message)).filter(|_| is_first_try)?;
        Some((self.key(message, u8::try_from(entry).ok()), grouping))
    }

    /// The group of which a message that starts is the first to leave since.
    pub(super) fn departs_in(&self, message: &Notification) -> Option<GroupKey> {
        let (entry, _) = self.pacing.as_ref()?.grouping(self.addressed(message)).filter(|_| message.attempts == 0)?;
        Some(self.key(message, u8::try_from(entry).ok()))
    }

    /// With what a message is told together; `None` when it goes alone, or goes again as it went before.
    pub(super) fn group_key(&self, message: &Notification) -> Option<GroupKey> {
        let is_first_try = self.is_first_try(message);
        if message.held_by == Some(Held::Digest) && is_first_try && can_be_grouped(message.channel) {
            return Some(self.key(message, None));
        }
        self.grouping_of(message).map(|(key, _)| key)
    }

    fn key(&self, message: &Notification, entry: Option<u8>) -> GroupKey {
        let levels = self.levels_of(message).into_iter().fold(0, |bits, level| bits | 1 << level);
        GroupKey { channel: message.channel, kind: message.kind, levels, entry }
    }

    /// Whether messages of a channel may have to wait for more than their instant.
    pub(super) fn is_paced(&self, channel: Channel, now: Timestamp) -> bool {
        self.pacing.as_ref().is_some_and(|pacing| pacing.concerns(channel))
            || self.lanes.get(&channel).is_some_and(|lane| lane.is_held(now))
    }

    /// The limits of a channel.
    pub(super) fn limits(&self, channel: Channel) -> impl Iterator<Item = &Limit> {
        self.pacing.iter().flat_map(move |pacing| pacing.limits(channel))
    }

    /// What is to be sent now on a channel, longest due first.
    pub(super) fn sending_on(&self, channel: Channel) -> impl Iterator<Item = (Timestamp, Uuid)> {
        let from = (channel, Timestamp::MIN, Uuid::nil());
        self.sending.range(from..).take_while(move |&&(on, _, _)| on == channel).map(|&(_, due_at, id)| (due_at, id))
    }

    /// What is to be sent now on a channel and was not offered to be sent yet.
    pub(super) fn not_offered_on(&self, channel: Channel) -> impl Iterator<Item = Uuid> {
        self.sending_on(channel).skip(OFFERED_MAX).map(|(_, id)| id)
    }

    /// Takes a message that was not tried from what is to be sent; it counts for no limit.
    pub(super) fn take_from_sending(&mut self, id: Uuid) -> bool {
        let Some(&Notification { channel, due_at, .. }) = self.messages.get(&id) else { return false };
        let was_sending = self.sending.remove(&(channel, due_at, id));
        if was_sending {
            self.lanes.entry(channel).or_default().call_back();
        }
        was_sending
    }

    /// What waits for a channel, in the order in which it goes.
    pub(super) fn ready_on(&self, channel: Channel) -> impl Iterator<Item = Uuid> {
        self.lanes.get(&channel).into_iter().flat_map(Lane::ready)
    }

    /// When something that waits for its channel can go.
    pub(super) fn next_of_lanes(&self) -> Option<Timestamp> {
        self.lanes.iter().filter_map(|(&channel, lane)| lane.next_at(self.limits(channel))).min()
    }

    /// Puts a message on a list, by its instant.
    pub(super) fn put(&mut self, id: Uuid, list: List) -> Result<(), Corrupt> {
        let message = self.messages.get(&id).ok_or_else(|| Corrupt(format!("notification {id} was never queued")))?;
        let (due_at, channel, severity) = (message.due_at, message.channel, self.severity_of(message));
        match list {
            List::Waiting => self.waiting.insert((due_at, id)),
            List::Ready => self.lanes.entry(channel).or_default().add(severity, due_at, id),
            List::Sending => {
                self.lanes.entry(channel).or_default().begin();
                self.sending.insert((channel, due_at, id))
            }
        };
        Ok(())
    }

    /// Takes a message from the list that it is on; what was sent counts for its channel's limits from `now`.
    pub(super) fn take_off(&mut self, id: Uuid, now: Timestamp) -> Option<List> {
        let message = self.messages.get(&id)?;
        let (due_at, channel, severity) = (message.due_at, message.channel, self.severity_of(message));
        if self.waiting.remove(&(due_at, id)) {
            return Some(List::Waiting);
        }
        let ends_kept = self.limits(channel).map(|limit| limit.messages).max();
        let lane = self.lanes.entry(channel).or_default();
        if self.sending.remove(&(channel, due_at, id)) {
            lane.end(now, ends_kept.unwrap_or(0) as usize);
            return Some(List::Sending);
        }
        lane.remove(severity, due_at, id).then_some(List::Ready)
    }
}
