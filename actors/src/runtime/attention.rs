//! Who has to be looked after, and when: two ordered indexes for the whole runtime, of instants that states name, and of waits.
//!
//! They are a hint, and never the only place where a timer is: what is due is what the entity's state says when it is looked
//! after, and the indexes are made anew from the states when the background work begins.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ionveil_journal::{StreamId, StreamKind};
use tokio::sync::Notify;

use super::steady::SteadyTime;
use crate::domain::Timestamp;

#[derive(Default)]
pub(super) struct Attention {
    /// Without background work nothing is noted.
    is_on: AtomicBool,
    noted: Mutex<Noted>,
    /// Told when something is due earlier than everything before.
    pub(super) changed: Notify,
}

#[derive(Default)]
struct Noted {
    /// By what the clock shows.
    instants: Index<Timestamp>,
    /// By the time that only goes on.
    waits: Index<SteadyTime>,
    /// Kinds of followers, all of which have to look at their sources.
    all_of: BTreeSet<StreamKind>,
}

/// Each stream once at most.
struct Index<T> {
    by_time: BTreeSet<(T, StreamId)>,
    by_stream: HashMap<StreamId, T>,
}

impl Attention {
    /// Whether it was on already.
    pub(super) fn turn_on(&self) -> bool {
        self.is_on.swap(true, Ordering::AcqRel)
    }

    /// Nothing is noted any more, and what was noted is forgotten.
    pub(super) fn turn_off(&self) {
        let mut noted = self.noted();
        self.is_on.store(false, Ordering::Release);
        *noted = Noted::default();
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// The stream has to be looked after at `at` or when the wait is over, whichever comes first, and not before; `None` for
    /// neither.
    pub(super) fn set(&self, stream: &StreamId, at: Option<Timestamp>, wait_until: Option<SteadyTime>) {
        // Both, whatever the first says.
        self.note(|noted| noted.instants.put(stream, at) | noted.waits.put(stream, wait_until));
    }

    /// The stream has to be looked after at `at` or earlier.
    pub(super) fn set_by(&self, stream: &StreamId, at: Timestamp) {
        self.note(|noted| noted.instants.put_by(stream, at));
    }

    /// The stream has to be looked after when the wait is over, or earlier.
    pub(super) fn wait_by(&self, stream: &StreamId, wait_until: SteadyTime) {
        self.note(|noted| noted.waits.put_by(stream, wait_until));
    }

    /// All followers of that kind have to be looked after now.
    pub(super) fn set_all_of(&self, kind: StreamKind) {
        self.note(|noted| noted.all_of.insert(kind));
    }

    /// `change` says whether something is due earlier than everything before.
    fn note(&self, change: impl FnOnce(&mut Noted) -> bool) {
        let is_first = {
            // Under the lock, so that nothing is noted behind `turn_off`.
            let mut noted = self.noted();
            self.is_on() && change(&mut noted)
        };
        if is_first {
            self.changed.notify_one();
        }
    }

    pub(super) fn take_all_of(&self) -> BTreeSet<StreamKind> {
        std::mem::take(&mut self.noted().all_of)
    }

    /// Takes out those that are due, in the order of their instants, then those whose wait is over, `len_max` at most.
    pub(super) fn take_due(&self, now: Timestamp, steady_now: SteadyTime, len_max: usize) -> Vec<StreamId> {
        let mut noted = self.noted();
        let mut due = Vec::new();
        while due.len() < len_max
            && let Some(stream) = noted.instants.pop_until(now).or_else(|| noted.waits.pop_until(steady_now))
        {
            noted.instants.remove(&stream);
            noted.waits.remove(&stream);
            due.push(stream);
        }
        due
    }

    /// How long it is until the first one is due.
    pub(super) fn left(&self, now: Timestamp, steady_now: SteadyTime) -> Option<Duration> {
        let noted = self.noted();
        let micros = |at: Timestamp| at.as_micros().saturating_sub(now.as_micros()).max(0) as u64;
        let instant = noted.instants.first().map(|at| Duration::from_micros(micros(at)));
        let wait = noted.waits.first().map(|until| until.left(steady_now));
        instant.into_iter().chain(wait).min()
    }

    pub(super) fn len(&self) -> usize {
        let Noted { instants, waits, .. } = &*self.noted();
        let waits = waits.by_stream.keys().filter(|stream| !instants.by_stream.contains_key(*stream));
        instants.by_stream.len() + waits.count()
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        // Nothing in here panics half-way but for want of memory.
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Index { by_time: BTreeSet::new(), by_stream: HashMap::new() }
    }
}

impl<T: Copy + Ord> Index<T> {
    fn first(&self) -> Option<T> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Whether it is due earlier than everything before.
    fn put(&mut self, stream: &StreamId, at: Option<T>) -> bool {
        if self.by_stream.get(stream).copied() == at {
            return false;
        }
        self.remove(stream);
        let Some(at) = at else { return false };
        let is_first = self.first().is_none_or(|first| at < first);
        self.by_stream.insert(stream.clone(), at);
        self.by_time.insert((at, stream.clone()));
        is_first
    }

    /// The same if it is noted for later or not at all.
    fn put_by(&mut self, stream: &StreamId, at: T) -> bool {
        self.by_stream.get(stream).is_none_or(|noted| at < *noted) && self.put(stream, Some(at))
    }

    fn pop_until(&mut self, now: T) -> Option<StreamId> {
        let is_due = self.first().is_some_and(|at| at <= now);
        let (_, stream) = is_due.then(|| self.by_time.pop_first()).flatten()?;
        self.by_stream.remove(&stream);
        Some(stream)
    }

    fn remove(&mut self, stream: &StreamId) {
        if let Some(at) = self.by_stream.remove(stream) {
            self.by_time.remove(&(at, stream.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: SteadyTime = SteadyTime::BEGIN;

    fn stream(id: &str) -> StreamId {
        format!("alarm/{id}").parse().expect("a stream")
    }

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros).expect("an instant")
    }

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn streams_come_when_they_are_due_in_that_order_and_once() {
        let attention = Attention::default();
        attention.set(&stream("ignored"), Some(at(0)), None);
        attention.turn_on();
        for (id, micros) in [("c", 30), ("a", 10), ("b", 20), ("moved", 1), ("gone", 2)] {
            attention.set(&stream(id), Some(at(micros)), None);
        }
        attention.set(&stream("moved"), Some(at(40)), None);
        attention.set(&stream("gone"), None, None);
        attention.set_by(&stream("c"), at(35));
        attention.set_by(&stream("b"), at(5));
        assert_eq!((attention.left(at(2), BEGIN), attention.len()), (Some(micros(3)), 4));
        assert!(attention.take_due(at(4), BEGIN, 9).is_empty());
        assert_eq!(attention.take_due(at(39), BEGIN, 2), [stream("b"), stream("a")]);
        assert_eq!(attention.take_due(at(39), BEGIN, 2), [stream("c")]);
        assert_eq!(attention.take_due(at(40), BEGIN, 2), [stream("moved")]);
        assert_eq!((attention.left(at(40), BEGIN), attention.len()), (None, 0));
        attention.set(&stream("a"), Some(at(50)), None);
        attention.turn_off();
        attention.set(&stream("b"), Some(at(51)), None);
        assert!(!attention.turn_on(), "it was off");
        assert_eq!(attention.left(at(0), BEGIN), None, "what was noted is forgotten, and nothing was noted since");
    }

    #[test]
    fn who_waits_and_has_an_instant_too_comes_by_the_first_of_both_and_once() {
        let attention = Attention::default();
        attention.turn_on();
        let after = |wait| BEGIN.after(micros(wait));
        attention.set(&stream("a"), Some(at(10)), Some(after(100)));
        attention.set(&stream("b"), Some(at(1_000)), Some(after(30)));
        attention.set(&stream("c"), None, Some(after(20)));
        attention.wait_by(&stream("c"), after(40));
        attention.wait_by(&stream("a"), after(50));
        assert_eq!((attention.len(), attention.left(at(0), after(15))), (3, Some(micros(5))));
        assert_eq!(attention.left(at(8), after(15)), Some(micros(2)));
        // However far the clock is set back.
        assert_eq!(attention.take_due(at(-1_000), after(29), 9), [stream("c")]);
        assert_eq!(attention.take_due(at(10), after(30), 9), [stream("a"), stream("b")]);
        assert_eq!((attention.len(), attention.left(at(0), BEGIN)), (0, None));
        attention.set(&stream("a"), None, Some(after(60)));
        attention.set(&stream("a"), Some(at(70)), None);
        assert!(attention.take_due(at(69), after(69), 9).is_empty(), "and not before");
    }
}
