//! The clock as a capability: real, or moved by hand.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::domain::Timestamp;

/// Tells the time. Given to the system when it starts; nothing else in it looks at a clock to decide anything.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Timestamp;

    /// Asks to be told whenever the clock was moved. A clock that runs by itself need not: it is looked at again several times
    /// a second, so that a jump of it is noticed too.
    fn watch(&self, _on_set: OnSet) {}
}

/// What a clock calls when it was moved: quick, never blocking.
pub type OnSet = Box<dyn Fn() + Send + Sync>;

/// The machine's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
        };
        Timestamp::EPOCH.saturating_add_micros(micros)
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
pub struct ManualClock {
    micros: AtomicI64,
    watchers: Mutex<Vec<OnSet>>,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        ManualClock { micros: AtomicI64::new(now.as_micros()), watchers: Mutex::default() }
    }

    /// Makes it show `now`, which may be earlier than before.
    pub fn set(&self, now: Timestamp) {
        self.micros.store(now.as_micros(), Ordering::SeqCst);
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|on_set| on_set());
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.set(self.now().saturating_add_micros(micros));
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManualClock").field(&self.now()).finish()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.micros.load(Ordering::SeqCst)).expect("the clock is only ever set to a timestamp")
    }

    fn watch(&self, on_set: OnSet) {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).push(on_set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_shows_the_machines_time() {
        let micros = || chrono::Utc::now().timestamp_micros();
        let (before, shown, after) = (micros(), SystemClock.now().as_micros(), micros());
        // The machine's clock may be set back meanwhile; then nothing can be said.
        assert!(after < before || (before..=after).contains(&shown), "{before} {shown} {after}");
    }

    #[test]
    fn a_manual_clock_stands_still_and_goes_either_way() {
        let at = |text: &str| text.parse::<Timestamp>().expect("an instant");
        let clock = ManualClock::new(at("2026-01-01T00:00:00Z"));
        assert_eq!(clock.now(), clock.now());
        for text in ["2031-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z"] {
            clock.set(at(text));
            assert_eq!(clock.now(), at(text));
        }
        clock.set(Timestamp::MAX);
        assert_eq!(clock.now(), Timestamp::MAX);
    }
}
