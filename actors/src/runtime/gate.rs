//! A bound on how many messages are under way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets at most `max` messages be under way at a time. Who does not get in is told at once; nobody waits in line.
#[derive(Debug)]
pub(super) struct Gate {
    max: usize,
    /// How many are inside, and [`CLOSED`] once it is. One number, since every message passes here twice, on two threads.
    state: AtomicUsize,
    /// For whoever waits until it is empty.
    empty: Condvar,
    waiting: Mutex<()>,
}

const CLOSED: usize = 1 << (usize::BITS - 1);

/// The right to be under way; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Pass(Arc<Gate>);

/// Why nobody gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Full { max: usize },
    Closed,
}

impl Gate {
    pub(super) fn new(max: usize) -> Arc<Self> {
        let state = AtomicUsize::new(0);
        Arc::new(Gate { max: max.min(CLOSED - 1), state, empty: Condvar::new(), waiting: Mutex::new(()) })
    }

    pub(super) fn enter(self: &Arc<Self>) -> Result<Pass, Refused> {
        // A closed gate looks like one with more inside than any other.
        let has_room = |state: usize| (state < self.max).then_some(state + 1);
        match self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, has_room) {
            Ok(_) => Ok(Pass(Arc::clone(self))),
            Err(state) if state & CLOSED != 0 => Err(Refused::Closed),
            Err(_) => Err(Refused::Full { max: self.max }),
        }
    }

    /// As [`Gate::enter`], also once it is closed: for those whom somebody under way needs to come to an end.
    pub(super) fn enter_though_closed(self: &Arc<Self>) -> Result<Pass, Refused> {
        let has_room = |state: usize| (state & !CLOSED < self.max).then_some(state + 1);
        match self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, has_room) {
            Ok(_) => Ok(Pass(Arc::clone(self))),
            Err(_) => Err(Refused::Full { max: self.max }),
        }
    }

    /// How many are inside.
    pub(super) fn inside(&self) -> usize {
        self.state.load(Ordering::Acquire) & !CLOSED
    }

    /// Lets nobody in any more.
    pub(super) fn shut(&self) {
        self.state.fetch_or(CLOSED, Ordering::AcqRel);
    }

    /// Lets nobody in any more and waits until the last one is out; false when that took longer than `timeout`.
    pub(super) fn close(&self, timeout: Duration) -> bool {
        // A timeout beyond what the clock can count is for ever.
        let deadline = Instant::now().checked_add(timeout);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.shut();
        while self.inside() > 0 {
            waiting = match deadline.map(|deadline| deadline.checked_duration_since(Instant::now())) {
                None => self.empty.wait(waiting).unwrap_or_else(PoisonError::into_inner),
                Some(Some(left)) => self.empty.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0,
                Some(None) => return false,
            };
        }
        true
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.0.state.fetch_sub(1, Ordering::AcqRel) == CLOSED + 1 {
            // Whoever waits looks at the number while it holds this, so it cannot fall asleep in between.
            drop(self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            self.0.empty.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_gate_refuses_and_a_closed_one_waits_for_the_last() {
        let gate = Gate::new(2);
        let first = gate.enter().expect("room");
        let second = gate.enter().expect("room");
        assert_eq!(gate.enter().expect_err("full"), Refused::Full { max: 2 });
        drop(first);
        let third = gate.enter().expect("room again");
        assert!(!gate.close(Duration::ZERO), "two are still inside");
        assert_eq!(gate.enter().expect_err("closed"), Refused::Closed);
        drop(second);
        let second = gate.enter_though_closed().expect("room");
        assert_eq!(gate.enter_though_closed().expect_err("full"), Refused::Full { max: 2 });
        assert_eq!((gate.inside(), gate.close(Duration::ZERO)), (2, false), "who came later counts too");
        drop(second);
        let waiter = std::thread::spawn({
            let gate = Arc::clone(&gate);
            move || gate.close(Duration::MAX)
        });
        drop(third);
        assert!(waiter.join().expect("does not panic"));
    }
}
