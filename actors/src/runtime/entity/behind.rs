//! Those who wait for a write that is under way.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Error;

/// Called when the write is through; with an error when that cannot be told any more.
pub(super) type Called = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// They are told behind the write's own reply, in the order in which they came, and before anybody who finds it through.
pub(super) struct Behind(Mutex<Option<Vec<Called>>>);

impl Behind {
    pub(super) fn new() -> Self {
        Behind(Mutex::new(Some(Vec::new())))
    }

    /// Gives back who comes when the write is through and all others are told.
    pub(super) fn wait(&self, called: Called) -> Result<(), Called> {
        match &mut *self.waiting() {
            Some(waiting) => {
                waiting.push(called);
                Ok(())
            }
            None => Err(called),
        }
    }

    /// Tells them that the write is through, also those who come meanwhile.
    pub(super) fn tell(&self) {
        while let Some(waiting) = self.take() {
            waiting.into_iter().for_each(|called| called(Ok(())));
        }
    }

    /// Those who wait; when nobody does, nobody will any more.
    fn take(&self) -> Option<Vec<Called>> {
        let mut waiting = self.waiting();
        if waiting.as_ref().is_some_and(|waiting| !waiting.is_empty()) {
            return waiting.replace(Vec::new());
        }
        *waiting = None;
        None
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Vec<Called>>> {
        // Every change under it is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn all_are_told_in_order_also_who_comes_meanwhile_and_nobody_waits_behind_them() {
        let behind = Arc::new(Behind::new());
        let told: Arc<Mutex<Vec<u32>>> = Arc::default();
        let note = |number| {
            let told = Arc::clone(&told);
            move || told.lock().expect("no panic while it is held").push(number)
        };
        let (first, second, third, meanwhile) = (note(1), note(2), note(3), Arc::clone(&behind));
        let waits = |called: Called| assert!(behind.wait(called).is_ok(), "it is under way");
        waits(Box::new(move |_| {
            first();
            assert!(meanwhile.wait(Box::new(move |_| third())).is_ok(), "one is not told yet");
        }));
        waits(Box::new(move |_| second()));
        behind.tell();
        assert_eq!(*told.lock().expect("no panic while it is held"), [1, 2, 3]);
        assert!(behind.wait(Box::new(|_| ())).is_err(), "it is through");
    }
}
