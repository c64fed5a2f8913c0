//! A write that is under way: what is to be done when it is through, and those who wait behind it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Error;

/// Called when the write is through; with an error when that cannot be told any more.
pub(super) type Called = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// Shared by the entity and the journal's writer: who gets to it first settles the write.
pub(super) struct UnderWay<T>(Mutex<Inner<T>>);

struct Inner<T> {
    /// For the write's own asker.
    settled: Option<T>,
    /// `None` when the write is through and all are told.
    behind: Option<Vec<Called>>,
}

/// Those who wait for a write. They are told behind its own reply, in the order in which they came, and before anybody who
/// finds it through.
pub(super) trait Behind: Send + Sync {
    /// Gives back who comes when the write is through and all others are told.
    fn wait(&self, called: Called) -> Result<(), Called>;
}

impl<T> UnderWay<T> {
    pub(super) fn new(settled: T) -> Self {
        UnderWay(Mutex::new(Inner { settled: Some(settled), behind: Some(Vec::new()) }))
    }

    /// What settles it, once.
    pub(super) fn take(&self) -> Option<T> {
        self.inner().settled.take()
    }

    /// Tells those behind that the write is through, also those who come meanwhile.
    pub(super) fn tell(&self) {
        while let Some(behind) = self.next_behind() {
            behind.into_iter().for_each(|called| called(Ok(())));
        }
    }

    /// Those who wait; when nobody does, nobody will any more.
    fn next_behind(&self) -> Option<Vec<Called>> {
        let mut inner = self.inner();
        if inner.behind.as_ref().is_some_and(|behind| !behind.is_empty()) {
            return inner.behind.replace(Vec::new());
        }
        inner.behind = None;
        None
    }

    fn inner(&self) -> MutexGuard<'_, Inner<T>> {
        // Every change under it is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send> Behind for UnderWay<T> {
    fn wait(&self, called: Called) -> Result<(), Called> {
        match &mut self.inner().behind {
            Some(behind) => {
                behind.push(called);
                Ok(())
            }
            None => Err(called),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn all_are_told_in_order_also_who_comes_meanwhile_and_nobody_waits_behind_them() {
        let under_way = Arc::new(UnderWay::new("settled"));
        let told: Arc<Mutex<Vec<u32>>> = Arc::default();
        let note = |number| {
            let told = Arc::clone(&told);
            move || told.lock().expect("no panic while it is held").push(number)
        };
        let (first, second, third, meanwhile) = (note(1), note(2), note(3), Arc::clone(&under_way));
        let waits = |called: Called| assert!(under_way.wait(called).is_ok(), "it is under way");
        waits(Box::new(move |_| {
            first();
            assert!(meanwhile.wait(Box::new(move |_| third())).is_ok(), "one is not told yet");
        }));
        waits(Box::new(move |_| second()));
        assert_eq!((under_way.take(), under_way.take()), (Some("settled"), None));
        under_way.tell();
        assert_eq!(*told.lock().expect("no panic while it is held"), [1, 2, 3]);
        assert!(under_way.wait(Box::new(|_| ())).is_err(), "it is through");
    }
}
