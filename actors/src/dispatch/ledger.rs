//! Which events were counted, and what was reported of each dispatch.

use std::collections::BTreeSet;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::dispatch_event::Status;
use crate::domain::Timestamp;

/// No entry.
const NONE: u32 = u32::MAX;

/// Events by id, and the reports of each dispatch as a list through its events.
///
/// Ids are looked up by tables that hold numbers only; the ids themselves lie beside the rest of their entry.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    hasher: DefaultHashBuilder,
    event_numbers: HashTable<u32>,
    events: Vec<Event>,
    /// The first entry that can be used again; the others follow by `next`.
    free_event: Option<u32>,
    dispatch_numbers: HashTable<u32>,
    dispatches: Vec<Dispatch>,
    free_dispatches: Vec<u32>,
    /// Dispatches of which anything but `closed` is known.
    ever_open: BTreeSet<u32>,
}

#[derive(Debug)]
struct Event {
    id: Box<str>,
    at: Timestamp,
    dispatch: u32,
    /// Neighbours in the list of the dispatch's reports.
    next: u32,
    previous: u32,
    status: Status,
}

#[derive(Debug)]
struct Dispatch {
    id: Box<str>,
    /// The latest to arrive of its reports.
    first: u32,
    /// How many of its reports are not `closed`.
    open_reports: u32,
}

impl Ledger {
    /// When the event of that id happened, if it was counted.
    pub(super) fn counted_at(&self, event_id: &str) -> Option<Timestamp> {
        let hash = self.hasher.hash_one(event_id);
        let number = self.event_numbers.find(hash, |&number| &*self.events[number as usize].id == event_id)?;
        Some(self.events[*number as usize].at)
    }

    /// Counts an event and gives its number; `None` when one of that id was counted.
    pub(super) fn count(&mut self, event_id: &str, dispatch_id: &str, at: Timestamp, status: Status) -> Option<u32> {
        let Ledger { hasher, event_numbers, events, .. } = self;
        let hash = hasher.hash_one(event_id);
        let number = self.free_event.unwrap_or(events.len() as u32);
        assert!(number < NONE, "memory ends before four billion events");
        let entry = event_numbers.entry(
            hash,
            |&number| &*events[number as usize].id == event_id,
            |&number| hasher.hash_one(&*events[number as usize].id),
        );
        let hashbrown::hash_table::Entry::Vacant(entry) = entry else { return None };
        entry.insert(number);
        let dispatch = self.dispatch(dispatch_id);
        let next = self.dispatches[dispatch as usize].first;
        let event = Event { id: event_id.into(), at, dispatch, next, previous: NONE, status };
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
        if status != Status::Closed {
            reported.open_reports += 1;
            self.ever_open.insert(dispatch);
        }
        Some(number)
    }

    fn dispatch(&mut self, dispatch_id: &str) -> u32 {
        let Ledger { hasher, dispatch_numbers, dispatches, free_dispatches, .. } = self;
        let entry = dispatch_numbers.entry(
            hasher.hash_one(dispatch_id),
            |&number| &*dispatches[number as usize].id == dispatch_id,
            |&number| hasher.hash_one(&*dispatches[number as usize].id),
        );
        let vacant = match entry {
            hashbrown::hash_table::Entry::Occupied(entry) => return *entry.get(),
            hashbrown::hash_table::Entry::Vacant(vacant) => vacant,
        };
        let number = free_dispatches.pop().unwrap_or(dispatches.len() as u32);
        vacant.insert(number);
        let dispatch = Dispatch { id: dispatch_id.into(), first: NONE, open_reports: 0 };
        match dispatches.get_mut(number as usize) {
            Some(free) => *free = dispatch,
            None => dispatches.push(dispatch),
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
        let hash = self.hasher.hash_one(&*id);
        if let Ok(entry) = self.event_numbers.find_entry(hash, |&other| other == number) {
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
            if reported.open_reports == 0 {
                self.ever_open.remove(&dispatch);
            }
        }
        if reported.first == NONE {
            let hash = self.hasher.hash_one(&*std::mem::take(&mut reported.id));
            if let Ok(entry) = self.dispatch_numbers.find_entry(hash, |&other| other == dispatch) {
                entry.remove();
            }
            self.free_dispatches.push(dispatch);
        }
    }

    /// Gives back room when most of it is unused.
    pub(super) fn shrink(&mut self) {
        let Ledger { hasher, event_numbers, events, dispatch_numbers, dispatches, .. } = self;
        if event_numbers.len() < event_numbers.capacity() / 4 {
            event_numbers.shrink_to(event_numbers.len() * 2, |&number| hasher.hash_one(&*events[number as usize].id));
        }
        if dispatch_numbers.len() < dispatch_numbers.capacity() / 4 {
            dispatch_numbers
                .shrink_to(dispatch_numbers.len() * 2, |&number| hasher.hash_one(&*dispatches[number as usize].id));
        }
        if event_numbers.is_empty() {
            (self.events, self.free_event) = (Vec::new(), None);
            (self.dispatches, self.free_dispatches) = (Vec::new(), Vec::new());
        }
    }

    /// How many dispatches are in each status by their latest report before `as_of`, of those that were ever anything but
    /// closed. The later report counts, at equal instants the higher status.
    pub(super) fn latest_statuses(&self, as_of: Timestamp) -> impl Iterator<Item = Status> {
        self.ever_open.iter().filter_map(move |&dispatch| {
            let reports = self.reports(dispatch).filter(|event| event.at < as_of);
            reports.map(|event| (event.at, event.status)).max().map(|(_, status)| status)
        })
    }

    fn reports(&self, dispatch: u32) -> impl Iterator<Item = &Event> {
        let entry = |number: u32| (number != NONE).then(|| &self.events[number as usize]);
        std::iter::successors(entry(self.dispatches[dispatch as usize].first), move |event| entry(event.next))
    }

    /// The ids of all dispatches that an event reports on, in no order.
    #[cfg(test)]
    pub(super) fn dispatch_ids(&self) -> impl Iterator<Item = &str> {
        self.dispatch_numbers.iter().map(|&number| &*self.dispatches[number as usize].id)
    }

    /// What is known of an event that is counted.
    pub(super) fn entry(&self, number: u32) -> Entry<'_> {
        let event = &self.events[number as usize];
        Entry { event_id: &event.id, dispatch: event.dispatch, status: event.status }
    }

    /// The id of a dispatch that an event reports on.
    pub(super) fn dispatch_id(&self, number: u32) -> &str {
        &self.dispatches[number as usize].id
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
