//! A bound on how many messages are under way.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lets at most `max` messages be under way at a time. Who does not get in is told at once; nobody waits in line.
#[derive(Debug)]
pub(super) struct Gate {
    max: usize,
    state: Mutex<State>,
    empty: Condvar,
}

#[derive(Debug, Default)]
struct State {
    inside: usize,
    closed: bool,
}

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
        Arc::new(Gate { max, state: Mutex::default(), empty: Condvar::new() })
    }

    pub(super) fn enter(self: &Arc<Self>) -> Result<Pass, Refused> {
        let mut state = self.state();
        if state.closed {
            return Err(Refused::Closed);
        }
        if state.inside >= self.max {
            return Err(Refused::Full { max: self.max });
        }
        state.inside += 1;
        Ok(Pass(Arc::clone(self)))
    }

    /// How many are inside.
    pub(super) fn inside(&self) -> usize {
        self.state().inside
    }

    /// Lets nobody in any more and waits until the last one is out; false when that took longer than `timeout`.
    pub(super) fn close(&self, timeout: Duration) -> bool {
        // A timeout beyond what the clock can count is for ever.
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.state();
        state.closed = true;
        while state.inside > 0 {
            state = match deadline.map(|deadline| deadline.checked_duration_since(Instant::now())) {
                None => self.empty.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Some(left)) => self.empty.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                Some(None) => return false,
            };
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change of the state is a single assignment, so a panic elsewhere cannot have left it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.inside -= 1;
        if state.inside == 0 {
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
        let waiter = std::thread::spawn({
            let gate = Arc::clone(&gate);
            move || gate.close(Duration::MAX)
        });
        drop(third);
        assert!(waiter.join().expect("does not panic"));
    }
}
