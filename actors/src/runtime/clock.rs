//! The clock as a capability: real, or moved by hand.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::domain::Timestamp;

/// Tells the time. Given to the system when it starts; nothing else in it looks at a clock to decide anything.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// The machine's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_chrono(chrono::Utc::now()).unwrap_or(Timestamp::MAX)
    }
}

/// A clock that stands still until it is set: for tests and for driving a system through virtual time.
///
/// ```
/// use ionveil_actors::runtime::{Clock, ManualClock};
/// let clock = ManualClock::new("2026-01-01T00:00:00Z".parse()?);
/// clock.set("2027-01-01T00:00:00Z".parse()?);
/// assert_eq!(clock.now().to_string(), "2027-01-01T00:00:00Z");
/// # Ok::<(), ionveil_actors::error::Invalid>(())
/// ```
#[derive(Debug)]
pub struct ManualClock {
    micros: AtomicI64,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        ManualClock { micros: AtomicI64::new(now.as_micros()) }
    }

    /// Makes it show `now`, which may be earlier than before.
    pub fn set(&self, now: Timestamp) {
        self.micros.store(now.as_micros(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.micros.load(Ordering::SeqCst)).expect("the clock is only ever set to a timestamp")
    }
}
