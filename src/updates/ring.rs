//! The latest updates of one topic, shared by all that subscribed to it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::{BUFFERED_UPDATES_MAX, MetricUpdate};

/// A bounded buffer that forgets the oldest. Readers keep their own place in it, so a slow one holds nobody up.
pub(super) struct Ring(Mutex<State>);

struct State {
    /// The number of the first update in `held`; all numbers before it are forgotten.
    first: u64,
    held: VecDeque<Arc<MetricUpdate>>,
    /// Readers that have seen everything, by their number.
    waiting: HashMap<u64, Waker>,
    readers: u64,
    next_reader: u64,
    is_closed: bool,
}

/// What a reader finds at its place.
pub(super) enum Found {
    Update(Arc<MetricUpdate>),
    /// So many updates behind the reader's place are forgotten.
    Missed(u64),
    /// Nothing yet; the waker is called when there is.
    Waiting,
    Closed,
}

impl Ring {
    pub(super) fn new() -> Self {
        Ring(Mutex::new(State {
            first: 0,
            held: VecDeque::new(),
            waiting: HashMap::new(),
            readers: 0,
            next_reader: 0,
            is_closed: false,
        }))
    }

    /// A new reader: its number, and the place behind all that is there.
    pub(super) fn enter(&self) -> (u64, u64) {
        let mut state = self.state();
        let reader = state.next_reader;
        state.next_reader += 1;
        state.readers += 1;
        (reader, state.first + state.held.len() as u64)
    }

    pub(super) fn leave(&self, reader: u64) {
        let mut state = self.state();
        state.readers -= 1;
        state.waiting.remove(&reader);
    }

    /// Whether anybody reads.
    pub(super) fn is_heard(&self) -> bool {
        self.state().readers > 0
    }

    /// Adds updates, after `skipped` that nobody will see.
    pub(super) fn publish(&self, skipped: u64, updates: impl Iterator<Item = Arc<MetricUpdate>>) {
        let waiting = {
            let mut state = self.state();
            if skipped > 0 {
                state.first += state.held.len() as u64 + skipped;
                state.held.clear();
            }
            for update in updates {
                if state.held.len() == BUFFERED_UPDATES_MAX {
                    state.held.pop_front();
                    state.first += 1;
                }
                state.held.push_back(update);
            }
            std::mem::take(&mut state.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    pub(super) fn close(&self) {
        let waiting = {
            let mut state = self.state();
            state.is_closed = true;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_values().for_each(Waker::wake);
    }

    pub(super) fn look(&self, reader: u64, place: u64, waker: &Waker) -> Found {
        let mut state = self.state();
        if place < state.first {
            return Found::Missed(state.first - place);
        }
        match state.held.get((place - state.first) as usize) {
            Some(update) => Found::Update(Arc::clone(update)),
            None if state.is_closed => Found::Closed,
            None => {
                state.waiting.insert(reader, waker.clone());
                Found::Waiting
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
