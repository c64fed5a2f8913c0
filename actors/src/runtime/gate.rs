//! Bounds on how many messages are under way: in the whole runtime, and to one entity.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets at most `max` messages be under way at a time. Who does not get in is told at once; nobody waits in line.
///
/// Every message passes here twice, on two threads: those who come and those who leave are counted apart, so that the two do
/// not take the count from each other's processor all the time.
#[derive(Debug)]
pub(super) struct Gate {
    max: usize,
    /// How many have ever come, and [`CLOSED`] once it is.
    came: AtomicU64,
    /// As many have left at least: what was seen of `left` when it last mattered.
    left_seen: AtomicU64,
    left: Apart,
    /// For whoever waits until it is empty.
    empty: Condvar,
    waiting: Mutex<()>,
}

/// On cache lines of its own. How many have ever left, and [`CLOSED`] once the gate is.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart(AtomicU64);

/// Of 64 bits on every machine: what only grows does not get here.
const CLOSED: u64 = 1 << (u64::BITS - 1);

/// Somebody who is inside, until it is dropped or somebody else answers for it.
#[derive(Debug)]
pub(super) struct Admitted<'a>(&'a Gate);

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
        Arc::new(Gate {
            max,
            came: AtomicU64::new(0),
            left_seen: AtomicU64::new(0),
            left: Apart::default(),
            empty: Condvar::new(),
            waiting: Mutex::new(()),
        })
    }

    pub(super) fn admit(&self) -> Result<Admitted<'_>, Refused> {
        self.admit_unless(|state| state & CLOSED != 0)
    }

    /// As [`Gate::admit`], also once it is closed: for those whom somebody under way needs to come to an end.
    pub(super) fn admit_though_closed(&self) -> Result<Admitted<'_>, Refused> {
        self.admit_unless(|_| false)
    }

    pub(super) fn enter(self: &Arc<Self>) -> Result<Pass, Refused> {
        self.admit().map(|admitted| admitted.keep(self))
    }

    fn admit_unless(&self, is_closed: impl Fn(u64) -> bool) -> Result<Admitted<'_>, Refused> {
        let max = self.max as u64;
        let mut state = self.came.load(Ordering::Acquire);
        loop {
            if is_closed(state) {
                return Err(Refused::Closed);
            }
            let came = state & !CLOSED;
            if came.saturating_sub(self.left_seen.load(Ordering::Relaxed)) >= max {
                let left = self.left();
                self.left_seen.store(left, Ordering::Relaxed);
                if came.saturating_sub(left) >= max {
                    return Err(Refused::Full { max: self.max });
                }
            }
            match self.came.compare_exchange_weak(state, state + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(Admitted(self)),
                Err(now) => state = now,
            }
        }
    }

    fn left(&self) -> u64 {
        self.left.0.load(Ordering::Acquire) & !CLOSED
    }

    fn leave(&self) {
        if self.left.0.fetch_add(1, Ordering::AcqRel) & CLOSED != 0 {
            // Whoever waits looks at the numbers while it holds this, so it cannot fall asleep in between.
            drop(self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            self.empty.notify_all();
        }
    }

    /// How many are inside; too many rather than too few while some come and leave.
    pub(super) fn inside(&self) -> usize {
        // In this order: nobody has left who is not among those who have come. Any number may come in between.
        let left = self.left();
        let came = self.came.load(Ordering::Acquire) & !CLOSED;
        usize::try_from(came - left).unwrap_or(usize::MAX).min(self.max)
    }

    /// Lets nobody in any more.
    pub(super) fn shut(&self) {
        self.came.fetch_or(CLOSED, Ordering::AcqRel);
        // Who leaves behind this tells whoever waits; who left before is counted already.
        self.left.0.fetch_or(CLOSED, Ordering::AcqRel);
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

impl Admitted<'_> {
    /// The same for as long as it takes. `gate` is the one that it is inside of.
    pub(super) fn keep(self, gate: &Arc<Gate>) -> Pass {
        debug_assert!(std::ptr::eq(self.0, Arc::as_ptr(gate)), "of that gate");
        std::mem::forget(self);
        Pass(Arc::clone(gate))
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Counts the messages under way to one entity, or what else keeps it in memory. The smaller of the two: there is one for
/// each entity.
#[derive(Debug)]
pub(super) struct Room {
    max: usize,
    inside: AtomicUsize,
    /// Who has a seat is inside of this too.
    within: Option<Arc<Gate>>,
}

/// The right to be under way to an entity, and in the runtime; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seat(Arc<Room>);

impl Room {
    /// For those whom `gate` has admitted.
    pub(super) fn within(gate: &Arc<Gate>, max: usize) -> Arc<Self> {
        Arc::new(Room { max, inside: AtomicUsize::new(0), within: Some(Arc::clone(gate)) })
    }

    /// For everybody.
    pub(super) fn unbounded() -> Arc<Self> {
        Arc::new(Room { max: usize::MAX, inside: AtomicUsize::new(0), within: None })
    }

    /// A seat for one whom the gate around it has admitted.
    pub(super) fn seat(self: &Arc<Self>, admitted: Admitted<'_>) -> Result<Seat, Refused> {
        debug_assert!(
            self.within.as_ref().is_some_and(|gate| std::ptr::eq(admitted.0, Arc::as_ptr(gate))),
            "of that gate"
        );
        let seat = self.enter()?;
        // It leaves with the seat.
        std::mem::forget(admitted);
        Ok(seat)
    }

    /// A seat in a room with no gate around it.
    pub(super) fn seat_anybody(self: &Arc<Self>) -> Result<Seat, Refused> {
        debug_assert!(self.within.is_none(), "nobody has admitted it");
        self.enter()
    }

    fn enter(self: &Arc<Self>) -> Result<Seat, Refused> {
        let has_room = |inside: usize| (inside < self.max).then_some(inside + 1);
        match self.inside.fetch_update(Ordering::AcqRel, Ordering::Acquire, has_room) {
            Ok(_) => Ok(Seat(Arc::clone(self))),
            Err(_) => Err(Refused::Full { max: self.max }),
        }
    }

    /// How many are inside.
    pub(super) fn inside(&self) -> usize {
        self.inside.load(Ordering::Acquire)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::AcqRel);
        // Last: whoever waits for the gate finds the rooms within it empty too.
        if let Some(gate) = &self.0.within {
            gate.leave();
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
        let second = gate.admit_though_closed().expect("room").keep(&gate);
        assert_eq!(gate.admit_though_closed().expect_err("full"), Refused::Full { max: 2 });
        assert_eq!((gate.inside(), gate.close(Duration::ZERO)), (2, false), "who came later counts too");
        drop(second);
        let waiter = std::thread::spawn({
            let gate = Arc::clone(&gate);
            move || gate.close(Duration::MAX)
        });
        drop(third);
        assert!(waiter.join().expect("does not panic"));
    }

    #[test]
    fn a_seat_is_a_place_in_the_room_and_at_the_gate_around_it() {
        let gate = Gate::new(2);
        let room = Room::within(&gate, 1);
        let seat = room.seat(gate.admit().expect("room")).expect("a seat");
        assert_eq!((room.inside(), gate.inside()), (1, 1));
        let refused = room.seat(gate.admit().expect("room")).expect_err("full");
        assert_eq!((refused, gate.inside()), (Refused::Full { max: 1 }, 1), "who gets no seat is out again");
        drop(seat);
        assert_eq!((room.inside(), gate.inside()), (0, 0));
        let holds = Room::unbounded();
        let held = holds.seat_anybody().expect("a seat");
        assert_eq!(holds.inside(), 1);
        drop(held);
        assert_eq!(holds.inside(), 0);
    }

    /// Threads come and leave as fast as they can: never more than may are inside, nobody is lost, and there is room again
    /// for as many.
    #[test]
    fn many_threads_never_are_more_than_may_and_the_last_one_is_waited_for() {
        for max in [1, 3] {
            let (gate, inside) = (Gate::new(max), Arc::new(AtomicUsize::new(0)));
            let come_and_leave = |gate: Arc<Gate>, inside: Arc<AtomicUsize>| {
                move || loop {
                    match gate.enter() {
                        Ok(pass) => {
                            assert!(inside.fetch_add(1, Ordering::SeqCst) < max, "one too many");
                            inside.fetch_sub(1, Ordering::SeqCst);
                            drop(pass);
                        }
                        Err(Refused::Full { .. }) => std::hint::spin_loop(),
                        Err(Refused::Closed) => return,
                    }
                }
            };
            let threads: Vec<_> =
                (0..6).map(|_| std::thread::spawn(come_and_leave(Arc::clone(&gate), Arc::clone(&inside)))).collect();
            while gate.left() < 1_000_000 && !threads.iter().any(std::thread::JoinHandle::is_finished) {
                assert!(gate.inside() <= max, "it says more than may");
            }
            assert!(gate.close(LONG));
            assert_eq!((gate.inside(), inside.load(Ordering::SeqCst)), (0, 0));
            threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
            let again: Vec<_> = (0..max).map(|_| gate.admit_though_closed().expect("room")).collect();
            assert_eq!(gate.admit_though_closed().expect_err("full"), Refused::Full { max });
            drop(again);
        }
    }

    /// The last one leaves just when somebody begins to wait for it.
    #[test]
    fn who_waits_is_told_however_closely_the_last_one_leaves_and_finds_its_seat_free() {
        let (seats, waits) = std::sync::mpsc::sync_channel::<Seat>(0);
        let leaves = std::thread::spawn(move || waits.into_iter().for_each(drop));
        for round in 0..50_000 {
            let gate = Gate::new(1);
            let room = Room::within(&gate, 1);
            seats.send(room.seat(gate.admit().expect("room")).expect("a seat")).expect("somebody takes it");
            // From none to as much as the other needs for its part.
            (0..round % 64).for_each(|_| std::hint::spin_loop());
            assert!(gate.close(LONG), "round {round}: nobody has told that the last one left");
            assert_eq!((gate.inside(), room.inside()), (0, 0), "round {round}");
        }
        drop(seats);
        leaves.join().expect("no panic");
    }

    #[test]
    fn a_panic_gives_a_seat_back() {
        let gate = Gate::new(1);
        let room = Room::within(&gate, 1);
        let seat = room.seat(gate.admit().expect("room")).expect("a seat");
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _seat = seat;
            std::panic::resume_unwind(Box::new("on purpose"));
        }));
        assert!(panicked.is_err());
        assert_eq!((room.inside(), gate.inside()), (0, 0));
        assert!(gate.enter().is_ok());
    }

    /// Longer than any of this takes on the busiest machine.
    const LONG: Duration = Duration::from_secs(60);
}
