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
