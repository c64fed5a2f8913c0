//! How much a channel is given: what waits for it, what is under way, and what it was given lately.

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::pacing::Limit;
use crate::domain::Timestamp;
use crate::rules::AlertSeverity;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// In which order messages go: the worst first, then the longest due.
pub(super) type Place = (Reverse<AlertSeverity>, Timestamp, Uuid);

/// An org's use of one channel.
///
/// A try counts from when it begins until a span after its end. So no span of the receiver's holds more than the limit,
/// however long an answer takes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Lane {
    /// What has nothing to wait for but the channel.
    ready: BTreeSet<Place>,
    /// Messages whose outcome is not known yet.
    under_way: u32,
    /// When the last ones ended, as many as limits ask for, oldest first.
    ended: VecDeque<Timestamp>,
    /// The receiver does not want to be asked before.
    paused_until: Option<Timestamp>,
}

impl Lane {
    pub(super) fn add(&mut self, severity: AlertSeverity, due_at: Timestamp, id: Uuid) -> bool {
        self.ready.insert((Reverse(severity), due_at, id))
    }

    pub(super) fn remove(&mut self, severity: AlertSeverity, due_at: Timestamp, id: Uuid) -> bool {
        self.ready.remove(&(Reverse(severity), due_at, id))
    }

    /// What waits for the channel, in the order in which it goes.
    pub(super) fn ready(&self) -> impl Iterator<Item = Uuid> {
        self.places().map(|(_, _, id)| id)
    }

    /// The same, with what the order is by.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> + Clone {
        self.ready.iter().copied()
    }

    pub(super) fn begin(&mut self) {
        self.under_way += 1;
    }

    /// What began is not tried after all.
    pub(super) fn call_back(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    pub(super) fn end(&mut self, now: Timestamp, ends_kept: usize) {
        self.under_way = self.under_way.saturating_sub(1);
        // A clock that was set back frees nothing earlier.
        let at = self.ended.back().map_or(now, |last| now.max(*last));
        self.ended.push_back(at);
        while self.ended.len() > ends_kept {
            self.ended.pop_front();
        }
    }

    pub(super) fn pause(&mut self, until: Timestamp) {
        self.paused_until = self.paused_until.max(Some(until));
    }

    pub(super) fn is_paused(&self, now: Timestamp) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// Whether what comes now has to stand in line.
    pub(super) fn is_held(&self, now: Timestamp) -> bool {
        self.is_paused(now) || !self.ready.is_empty()
    }

    /// How many messages it may be given now.
    pub(super) fn room<'a>(&self, limits: impl Iterator<Item = &'a Limit>, now: Timestamp) -> usize {
        if self.is_paused(now) {
            return 0;
        }
        let room = limits.map(|limit| {
            let counts = |ended: &&Timestamp| ended.saturating_add_micros(span(limit)) > now;
            let used = self.under_way as usize + self.ended.iter().rev().take_while(counts).count();
            (limit.messages as usize).saturating_sub(used)
        });
        room.min().unwrap_or(usize::MAX)
    }

    /// When it can be given the next one that waits; `None` when none waits, or not before an answer has come.
    pub(super) fn next_at<'a>(&self, limits: impl Iterator<Item = &'a Limit>) -> Option<Timestamp> {
        if self.ready.is_empty() {
            return None;
        }
        let mut next = self.paused_until.unwrap_or(Timestamp::MIN);
        for limit in limits {
            let free = (limit.messages as usize).checked_sub(self.under_way as usize).filter(|free| *free > 0)?;
            if let Some(freed_by) = self.ended.len().checked_sub(free) {
                next = next.max(self.ended[freed_by].saturating_add_micros(span(limit)));
            }
        }
        Some(next)
    }
}

fn span(limit: &Limit) -> i64 {
    i64::from(limit.per_seconds) * MICROS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Channel;

    fn s(seconds: i64) -> Timestamp {
        Timestamp::EPOCH.saturating_add_micros(seconds * MICROS_PER_SECOND)
    }

    #[test]
    fn no_span_holds_more_than_the_limit_and_a_slot_is_free_as_soon_as_it_may_be() {
        let limit = |messages, per_seconds| Limit { channels: vec![Channel::Sms], messages, per_seconds };
        let limits = [limit(2, 10), limit(3, 60)];
        let mut lane = Lane::default();
        lane.add(AlertSeverity::Info, s(0), Uuid::nil());
        let look = |lane: &Lane, now| (lane.room(limits.iter(), s(now)), lane.next_at(limits.iter()));
        assert_eq!(look(&lane, 0), (2, Some(Timestamp::MIN)));
        lane.begin();
        lane.begin();
        assert_eq!(look(&lane, 0), (0, None), "not before an answer");
        lane.end(s(4), 3);
        lane.end(s(5), 3);
        assert_eq!(look(&lane, 13), (0, Some(s(14))));
        assert_eq!(look(&lane, 14), (1, Some(s(14))), "three in a minute leave one");
        lane.begin();
        lane.end(s(14), 3);
        assert_eq!(look(&lane, 63), (0, Some(s(64))));
        assert_eq!(look(&lane, 74).0, 2);
        lane.pause(s(90));
        lane.pause(s(80));
        assert_eq!(look(&lane, 89), (0, Some(s(90))));
        assert_eq!(look(&lane, 90).0, 2);
        lane.end(s(5), 3);
        assert_eq!(lane.ended.back(), Some(&s(14)), "a clock that was set back");
        assert_eq!((lane.room([].iter(), s(90)), lane.next_at([].iter())), (usize::MAX, Some(s(90))));
    }
}
