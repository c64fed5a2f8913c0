//! Which events were counted, and what was reported of each dispatch.

use std::collections::BTreeSet;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use super::dispatch_event::Status;
use super::texts::{Text, Texts};
use crate::domain::Timestamp;

/// No entry.
const NONE: u32 = u32::MAX;

/// Events by id, and the reports of each dispatch as a list through its events.
///
/// Ids are looked up by tables that hold numbers only; the ids themselves lie in one text, so that none is an allocation.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    hasher: DefaultHashBuilder,
    texts: Texts,
    event_numbers: HashTable<Slot>,
    events: Vec<Event>,
    /// The first entry that can be used again; the others follow by `next`.
    free_event: Option<u32>,
    dispatch_numbers: HashTable<Slot>,
    dispatches: Vec<Dispatch>,
    free_dispatches: Vec<u32>,
    /// The latest report of each dispatch of which anything but `closed` is known.
    ever_open: HashMap<u32, Report>,
    /// Those of them whose latest report is not `closed`.
    open: BTreeSet<u32>,
}

/// A number in a table, with part of its id's hash: so most other ids are told apart, and tables grow, without a look at ids.
#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u32,
    number: u32,
}

impl Slot {
    fn spread(&self) -> u64 {
        spread(self.hash)
    }
}

/// A table looks at both ends of a hash.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

/// An id with its hash.
#[derive(Clone, Copy)]
pub(super) struct Hashed<'a> {
    id: &'a str,
    hash: u32,
}

impl Hashed<'_> {
    /// The hash as a table takes it.
    pub(super) fn spread(self) -> u64 {
        spread(self.hash)
    }
}

/// When a dispatch was reported to be what. The later one counts, at equal instants the higher status.
type Report = (Timestamp, Status);

#[derive(Debug)]
struct Event {
    id: Text,
    at: Timestamp,
    dispatch: u32,
    /// Neighbours in the list of the dispatch's reports.
    next: u32,
    previous: u32,
    status: Status,
}

#[derive(Debug)]
struct Dispatch {
    id: Text,
    /// The latest to arrive of its reports.
    first: u32,
    /// How many of its reports are not `closed`.
    open_reports: u32,
}

impl Ledger {
    /// An id as the tables look for it.
    pub(super) fn hashed<'a>(&self, id: &'a str) -> Hashed<'a> {
        Hashed { id, hash: self.hash(id) }
    }

    fn hash(&self, id: &str) -> u32 {
        self.hasher.hash_one(id) as u32
    }

    /// When the event of that id happened, if it was counted.
    pub(super) fn counted_at(&self, event_id: Hashed<'_>) -> Option<Timestamp> {
        let is_it = |slot: &Slot| self.texts.get(self.events[slot.number as usize].id) == event_id.id;
        let found = self.event_numbers.find(event_id.spread(), |other| other.hash == event_id.hash && is_it(other))?;
        Some(self.events[found.number as usize].at)
    }

    /// Counts an event and gives its number; `None` when one of that id was counted.
    pub(super) fn count(&mut self, event_id: &str, dispatch_id: &str, at: Timestamp, status: Status) -> Option<u32> {
        let number = self.free_event.unwrap_or(self.events.len() as u32);
        assert!(number < NONE, "memory ends before four billion events");
        let slot = Slot { hash: self.hash(event_id), number };
        let is_it =
            |other: &Slot| other.hash == slot.hash && self.texts.get(self.events[other.number as usize].id) == event_id;
        match self.event_numbers.entry(slot.spread(), is_it, Slot::spread) {
            hashbrown::hash_table::Entry::Occupied(_) => return None,
            hashbrown::hash_table::Entry::Vacant(free) => free.insert(slot),
        };
        let dispatch = self.dispatch(dispatch_id);
        let next = self.dispatches[dispatch as usize].first;
        let event = Event { id: self.texts.add(event_id), at, dispatch, next, previous: NONE, status };
        if next != NONE {
            self.events[next as usize].previous = number;
        }
        match self.events.get_mut(number as usize) {
            Some(free) => {
                self.free_event = Some(free.next).filter(|&next| next != NONE);
                *free = event;
            }
            None => self.events.push(event),
        }
        let reported = &mut self.dispatches[dispatch as usize];
        reported.first = number;
        reported.open_reports += u32::from(status != Status::Closed);
        if reported.open_reports > 0 {
            let latest = match self.ever_open.get(&dispatch) {
                Some(latest) => Some((at, status).max(*latest)),
                None => self.reports(dispatch).max(),
            };
            let latest = latest.expect("one was just put in");
            self.ever_open.insert(dispatch, latest);
            let _ = if latest.1 == Status::Closed { self.open.remove(&dispatch) } else { self.open.insert(dispatch) };
        }
        Some(number)
    }

    fn dispatch(&mut self, dispatch_id: &str) -> u32 {
        let number = self.free_dispatches.last().copied().unwrap_or(self.dispatches.len() as u32);
        let slot = Slot { hash: self.hash(dispatch_id), number };
        let is_it = |other: &Slot| {
            other.hash == slot.hash && self.texts.get(self.dispatches[other.number as usize].id) == dispatch_id
        };
        match self.dispatch_numbers.entry(slot.spread(), is_it, Slot::spread) {
            hashbrown::hash_table::Entry::Occupied(known) => return known.get().number,
            hashbrown::hash_table::Entry::Vacant(free) => free.insert(slot),
        };
        self.free_dispatches.pop();
        let dispatch = Dispatch { id: self.texts.add(dispatch_id), first: NONE, open_reports: 0 };
        match self.dispatches.get_mut(number as usize) {
            Some(free) => *free = dispatch,
            None => self.dispatches.push(dispatch),
        }
        number
    }

    /// Forgets an event, and its dispatch with the last report of it.
    pub(super) fn forget(&mut self, number: u32) {
        let event = &mut self.events[number as usize];
        let (dispatch, next, previous) = (event.dispatch, event.next, event.previous);
        let (id, status) = (std::mem::take(&mut event.id), event.status);
        event.next = self.free_event.unwrap_or(NONE);
        self.free_event = Some(number);
        let slot = Slot { hash: self.hash(self.texts.get(id)), number };
        self.texts.remove(id);
        if let Ok(entry) = self.event_numbers.find_entry(slot.spread(), |other| other.number == number) {
            entry.remove();
        }
        if next != NONE {
            self.events[next as usize].previous = previous;
        }
        if previous != NONE {
            self.events[previous as usize].next = next;
        }
        let reported = &mut self.dispatches[dispatch as usize];
        if previous == NONE {
            reported.first = next;
        }
        if status != Status::Closed {
            reported.open_reports -= 1;
            // While there are more, the latest stays: what is forgotten is the oldest, and all of an instant at once.
            if reported.open_reports == 0 {
                self.ever_open.remove(&dispatch);
                self.open.remove(&dispatch);
            }
        }
        if reported.first == NONE {
            let id = std::mem::take(&mut reported.id);
            let slot = Slot { hash: self.hash(self.texts.get(id)), number: dispatch };
            self.texts.remove(id);
            if let Ok(entry) = self.dispatch_numbers.find_entry(slot.spread(), |other| other.number == dispatch) {
                entry.remove();
            }
            self.free_dispatches.push(dispatch);
        }
    }

    /// Gives back room when most of it is unused.
    pub(super) fn shrink(&mut self) {
        for table in [&mut self.event_numbers, &mut self.dispatch_numbers] {
            if table.len() < table.capacity() / 4 {
                table.shrink_to(table.len() * 2, Slot::spread);
            }
        }
        if self.ever_open.len() < self.ever_open.capacity() / 4 {
            self.ever_open.shrink_to(self.ever_open.len() * 2);
        }
        // Entries are kept for use again: after a peak most of them hold nothing.
        if self.texts.are_mostly_unused(self.events.len() + self.dispatches.len()) {
            let all = std::mem::take(&mut self.texts);
            let ids = self.events.iter_mut().map(|event| &mut event.id);
            for id in ids.chain(self.dispatches.iter_mut().map(|dispatch| &mut dispatch.id)) {
                *id = self.texts.add(all.get(*id));
            }
        }
        if self.event_numbers.is_empty() {
            (self.events, self.free_event) = (Vec::new(), None);
            (self.dispatches, self.free_dispatches) = (Vec::new(), Vec::new());
            self.texts = Texts::default();
        }
    }

    /// The statuses of dispatches by their latest report before `as_of`: of all that are anything but closed then, and of some
    /// that are closed. `later` are the numbers of the events at `as_of` or later, `later_count` is how many.
    pub(super) fn statuses(
        &self,
        as_of: Timestamp,
        later_count: usize,
        later: impl Iterator<Item = u32>,
    ) -> impl Iterator<Item = Status> {
        let mut looked_at: Vec<u32> = if later_count < self.ever_open.len() {
            // Who is closed by its latest report, and has none later than the instant, was closed then.
            let later = later.map(|event| self.events[event as usize].dispatch);
            self.open.iter().copied().chain(later.filter(|dispatch| self.ever_open.contains_key(dispatch))).collect()
        } else {
            self.ever_open.keys().copied().collect()
        };
        looked_at.sort_unstable();
        looked_at.dedup();
        looked_at.into_iter().filter_map(move |dispatch| {
            let latest = self.reports(dispatch).filter(|(at, _)| *at < as_of).max();
            latest.map(|(_, status)| status)
        })
    }

    fn reports(&self, dispatch: u32) -> impl Iterator<Item = Report> {
        let entry = |number: u32| (number != NONE).then(|| &self.events[number as usize]);
        let reports =
            std::iter::successors(entry(self.dispatches[dispatch as usize].first), move |event| entry(event.next));
        reports.map(|event| (event.at, event.status))
    }

    /// How many dispatches anything but `closed` is known of.
    #[cfg(test)]
    pub(super) fn ever_open(&self) -> usize {
        self.ever_open.len().max(self.open.len())
    }

    /// The ids of all dispatches that an event reports on, in no order.
    #[cfg(test)]
    pub(super) fn dispatch_ids(&self) -> impl Iterator<Item = &str> {
        self.dispatch_numbers.iter().map(|slot| self.dispatch_id(slot.number))
    }

    /// Bytes that ids take up, those that were forgotten and are not given back among them.
    #[cfg(test)]
    pub(super) fn id_bytes(&self) -> usize {
        self.texts.bytes()
    }

    /// What is known of an event that is counted.
    pub(super) fn entry(&self, number: u32) -> Entry<'_> {
        let event = &self.events[number as usize];
        Entry { event_id: self.texts.get(event.id), dispatch: event.dispatch, status: event.status }
    }

    /// The id of a dispatch that an event reports on.
    pub(super) fn dispatch_id(&self, number: u32) -> &str {
        self.texts.get(self.dispatches[number as usize].id)
    }

    /// Above every number of a dispatch.
    pub(super) fn dispatch_numbers_end(&self) -> usize {
        self.dispatches.len()
    }
}

/// What is known of an event.
pub(super) struct Entry<'a> {
    pub(super) event_id: &'a str,
    pub(super) dispatch: u32,
    pub(super) status: Status,
}
