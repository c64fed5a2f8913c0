//! Time that only goes on: waits are measured by it, so that a clock which is set back prolongs none.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::Clock;
use crate::domain::Timestamp;

/// A moment of one [`SteadyClock`], in microseconds since that began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SteadyTime(i64);

impl SteadyTime {
    /// When the clock began.
    pub(super) const BEGIN: Self = SteadyTime(0);

    /// When a wait that begins now is over.
    pub(super) fn after(self, wait: Duration) -> Self {
        SteadyTime(self.0.saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long it is until then, from `now` on; nothing if it has been.
    pub(super) fn left(self, now: SteadyTime) -> Duration {
        Duration::from_micros(self.0.saturating_sub(now.0).max(0) as u64)
    }
}

/// Counts how far the system's clock goes forward, whenever it is looked at; what it goes back counts for nothing. What passes
/// between two looks is lost when it is set back between them: no more than the background looks away for.
pub(super) struct SteadyClock {
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    shown: Timestamp,
    passed: SteadyTime,
}

impl SteadyClock {
    pub(super) fn of(clock: Arc<dyn Clock>) -> Self {
        let seen = Seen { shown: clock.now(), passed: SteadyTime::BEGIN };
        SteadyClock { clock, seen: Mutex::new(seen) }
    }

    pub(super) fn now(&self) -> SteadyTime {
        loop {
            let before = *self.seen();
            // Not under the lock: it is somebody else's clock, and may keep one thread waiting without the others.
            let shown = self.clock.now();
            let mut seen = self.seen();
            // Of two who look at the same time the second may have looked first, and would take the clock for set back.
            if *seen == before {
                let gone_on = shown.as_micros().saturating_sub(before.shown.as_micros()).max(0);
                *seen = Seen { shown, passed: SteadyTime(before.passed.0.saturating_add(gone_on)) };
                return seen.passed;
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // It is only ever replaced as a whole.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::ManualClock;
    use super::*;

    #[test]
    fn it_goes_on_with_the_clock_and_not_back_with_it() {
        let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
        let steady = SteadyClock::of(Arc::clone(&clock) as _);
        let begun = steady.now();
        let over = begun.after(Duration::from_secs(20));
        assert_eq!(over.left(begun), Duration::from_secs(20));
        clock.advance(Duration::from_secs(5));
        assert_eq!(over.left(steady.now()), Duration::from_secs(15));
        clock.set(Timestamp::MIN);
        assert_eq!(over.left(steady.now()), Duration::from_secs(15));
        clock.advance(Duration::from_secs(15));
        assert_eq!((over.left(steady.now()), over <= steady.now()), (Duration::ZERO, true));
        clock.set(Timestamp::MAX);
        clock.set(Timestamp::MIN);
        assert_eq!(over.left(steady.now()), Duration::ZERO);
        assert!(begun.after(Duration::MAX).left(steady.now()) > Duration::from_secs(1 << 40));
    }

    /// What it shows has gone by when it is known: meanwhile something happens, once.
    struct Late {
        clock: ManualClock,
        meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    }

    impl Clock for Late {
        fn now(&self) -> Timestamp {
            let shown = self.clock.now();
            let meanwhile = self.meanwhile.lock().expect("no panic while it is held").take();
            meanwhile.into_iter().for_each(|meanwhile| meanwhile());
            shown
        }
    }

    #[test]
    fn who_has_looked_first_and_comes_last_lets_nothing_pass_twice() {
        let clock = Arc::new(Late { clock: ManualClock::new(Timestamp::EPOCH), meanwhile: Mutex::default() });
        let steady = Arc::new(SteadyClock::of(Arc::clone(&clock) as _));
        *clock.meanwhile.lock().expect("no panic while it is held") = Some(Box::new({
            let (clock, steady) = (Arc::clone(&clock), Arc::clone(&steady));
            move || {
                clock.clock.advance(Duration::from_secs(1));
                assert_eq!(steady.now(), SteadyTime(1_000_000));
            }
        }));
        assert_eq!([(); 2].map(|()| steady.now()), [SteadyTime(1_000_000); 2]);
    }

    /// Threads that look at it while it is moved on: none of what passes counts twice.
    #[test]
    fn many_who_look_at_once_do_not_hurry_it() {
        let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
        let steady = SteadyClock::of(Arc::clone(&clock) as _);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut last = steady.now();
                    for _ in 0..20_000 {
                        let now = steady.now();
                        assert!(now >= last, "it went back");
                        last = now;
                    }
                });
            }
            (0..20_000).for_each(|_| clock.advance(Duration::from_micros(1)));
        });
        assert_eq!(steady.now(), SteadyTime(20_000));
    }
}
