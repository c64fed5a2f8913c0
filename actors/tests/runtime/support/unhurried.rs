//! A clock that keeps the thread of the background waiting, and nobody else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};

use ionveil_actors::domain::Timestamp;
use ionveil_actors::runtime::{Clock, ManualClock};

use super::{NOW, PATIENCE, instant, until};

pub(crate) struct Unhurried {
    clock: ManualClock,
    is_held: Mutex<bool>,
    changed: Condvar,
    is_waiting: AtomicBool,
}

impl Unhurried {
    pub(crate) fn new() -> Self {
        Unhurried {
            clock: ManualClock::new(instant(NOW)),
            is_held: Mutex::new(false),
            changed: Condvar::new(),
            is_waiting: AtomicBool::new(false),
        }
    }

    /// The background waits as soon as it looks at the clock.
    pub(crate) fn hold_next(&self) {
        self.set_held(true);
    }

    /// The same; returns when it does.
    pub(crate) fn hold(&self) {
        self.hold_next();
        until("the background waits", || self.is_waiting.load(Ordering::SeqCst));
    }

    pub(crate) fn set(&self, now: Timestamp) {
        self.clock.set(now);
    }

    pub(crate) fn release(&self) {
        self.set_held(false);
    }

    fn set_held(&self, is_held: bool) {
        *self.is_held.lock().expect("no panic while it is held") = is_held;
        self.changed.notify_all();
    }
}

impl Clock for Unhurried {
    fn now(&self) -> Timestamp {
        if std::thread::current().name() == Some("ionveil-system") {
            let mut is_held = self.is_held.lock().expect("no panic while it is held");
            while *is_held {
                self.is_waiting.store(true, Ordering::SeqCst);
                is_held = self.changed.wait_timeout(is_held, PATIENCE).expect("no panic while it is held").0;
            }
        }
        self.clock.now()
    }
}
