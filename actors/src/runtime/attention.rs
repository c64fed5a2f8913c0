//! Who has to be looked after, and when: one ordered index of instants and streams for the whole runtime.
//!
//! It is a hint, and never the only place where a timer is: what is due is what the entity's state says when it is looked
//! after, and the index is made anew from the states when the background work begins.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ionveil_journal::{StreamId, StreamKind};
use tokio::sync::Notify;

use crate::domain::Timestamp;

#[derive(Default)]
pub(super) struct Attention {
    /// Without background work nothing is noted.
    is_on: AtomicBool,
    index: Mutex<Index>,
    /// Told when something is due earlier than everything before.
    pub(super) changed: Notify,
}

#[derive(Default)]
struct Index {
    by_instant: BTreeSet<(Timestamp, StreamId)>,
    by_stream: HashMap<StreamId, Timestamp>,
    /// Kinds of followers, all of which have to look at their sources.
    all_of: BTreeSet<StreamKind>,
    /// What the clock showed last.
    now: Option<Timestamp>,
}

impl Attention {
    /// Whether it was on already.
    pub(super) fn turn_on(&self) -> bool {
        self.is_on.swap(true, Ordering::AcqRel)
    }

    /// Nothing is noted any more, and what was noted is forgotten.
    pub(super) fn turn_off(&self) {
        let mut index = self.index();
        self.is_on.store(false, Ordering::Release);
        *index = Index::default();
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// The stream has to be looked after at `at`, and not before; `None` for not at all.
    pub(super) fn set(&self, stream: &StreamId, at: Option<Timestamp>) {
        let is_first = {
            // Under the lock, so that nothing is noted behind `turn_off`.
            let mut index = self.index();
            self.is_on() && index.put(stream, at)
        };
        if is_first {
            self.changed.notify_one();
        }
    }

    /// The stream has to be looked after at `at` or earlier.
    pub(super) fn set_by(&self, stream: &StreamId, at: Timestamp) {
        let is_first = {
            // Under one lock, since what is noted in between may be earlier than both.
            let mut index = self.index();
            let is_earlier = index.by_stream.get(stream).is_none_or(|noted| at < *noted);
            self.is_on() && is_earlier && index.put(stream, Some(at))
        };
        if is_first {
            self.changed.notify_one();
        }
    }

    /// All followers of that kind have to be looked after now.
    pub(super) fn set_all_of(&self, kind: StreamKind) {
        let is_noted = {
            let mut index = self.index();
            self.is_on() && index.all_of.insert(kind)
        };
        if is_noted {
            self.changed.notify_one();
        }
    }

    pub(super) fn take_all_of(&self) -> BTreeSet<StreamKind> {
        std::mem::take(&mut self.index().all_of)
    }

    /// Takes out those that are due, in the order of their instants, `len_max` at most.
    pub(super) fn take_due(&self, now: Timestamp, len_max: usize) -> Vec<StreamId> {
        let mut index = self.index();
        let mut due = Vec::new();
        while due.len() < len_max
            && let Some((at, _)) = index.by_instant.first()
            && *at <= now
            && let Some((_, stream)) = index.by_instant.pop_first()
        {
            index.by_stream.remove(&stream);
            due.push(stream);
        }
        due
    }

    /// Takes notice of what the clock shows. When it was set back, those that were noted for the time until `wait` after what
    /// it showed before are due now: they may wait by that.
    pub(super) fn note_now(&self, now: Timestamp, wait: Duration) {
        let mut index = self.index();
        let Some(before) = index.now.replace(now).filter(|before| now < *before) else { return };
        let end = before.saturating_add_micros(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX));
        let early: Vec<StreamId> = index
            .by_instant
            .iter()
            .skip_while(|(at, _)| *at <= now)
            .take_while(|(at, _)| *at <= end)
            .map(|(_, stream)| stream.clone())
            .collect();
        for stream in early {
            index.put(&stream, Some(now));
        }
    }

    /// The instant of the first one.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.index().by_instant.first().map(|(at, _)| *at)
    }

    pub(super) fn len(&self) -> usize {
        self.index().by_stream.len()
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // Nothing in here panics half-way but for want of memory.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    /// Whether it is due earlier than everything before.
    fn put(&mut self, stream: &StreamId, at: Option<Timestamp>) -> bool {
        if at.is_some() && self.by_stream.get(stream).copied() == at {
            return false;
        }
        self.remove(stream);
        let Some(at) = at else { return false };
        let is_first = self.by_instant.first().is_none_or(|(first, _)| at < *first);
        self.by_stream.insert(stream.clone(), at);
        self.by_instant.insert((at, stream.clone()));
        is_first
    }

    fn remove(&mut self, stream: &StreamId) {
        if let Some(at) = self.by_stream.remove(stream) {
            self.by_instant.remove(&(at, stream.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(id: &str) -> StreamId {
        format!("alarm/{id}").parse().expect("a stream")
    }

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros).expect("an instant")
    }

    #[test]
    fn streams_come_when_they_are_due_in_that_order_and_once() {
        let attention = Attention::default();
        attention.set(&stream("ignored"), Some(at(0)));
        attention.turn_on();
        for (id, micros) in [("c", 30), ("a", 10), ("b", 20), ("moved", 1), ("gone", 2)] {
            attention.set(&stream(id), Some(at(micros)));
        }
        attention.set(&stream("moved"), Some(at(40)));
        attention.set(&stream("gone"), None);
        attention.set_by(&stream("c"), at(35));
        attention.set_by(&stream("b"), at(5));
        assert_eq!((attention.next(), attention.len()), (Some(at(5)), 4));
        assert!(attention.take_due(at(4), 9).is_empty());
        assert_eq!(attention.take_due(at(39), 2), [stream("b"), stream("a")]);
        assert_eq!(attention.take_due(at(39), 2), [stream("c")]);
        assert_eq!(attention.take_due(at(40), 2), [stream("moved")]);
        assert_eq!((attention.next(), attention.len()), (None, 0));
        attention.set(&stream("a"), Some(at(50)));
        attention.turn_off();
        attention.set(&stream("b"), Some(at(51)));
        assert!(!attention.turn_on(), "it was off");
        assert_eq!(attention.next(), None, "what was noted is forgotten, and nothing was noted since");
    }
}
