//! Who has a message already, when one goes to several people and some of them could not be reached.
//!
//! A transport notes it while it sends; the outbox journals it, and brings it along with the next try, also after a restart.
//! Nobody is named: recipients are known by their places in the list, and the list by a digest.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ionveil_actors::notification::Reached;

/// Those of a message's recipients who have it. Clones are the same.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<Reached>>);

impl Told {
    pub(crate) fn new(reached: Option<Reached>) -> Self {
        Told(Arc::new(Mutex::new(reached.unwrap_or_default())))
    }

    /// Who has it, if anybody.
    pub(crate) fn reached(&self) -> Option<Reached> {
        Some(self.lock().clone()).filter(|reached| !reached.places.is_empty())
    }

    fn lock(&self) -> MutexGuard<'_, Reached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for Told {
    fn eq(&self, other: &Self) -> bool {
        self.reached() == other.reached()
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told").field("recipients", &self.lock().places.len()).finish_non_exhaustive()
    }
}

#[cfg(feature = "channels")]
mod noting {
    use ionveil_actors::notification::Reached;
    use sha2::{Digest, Sha256};
    use uuid::Uuid;

    use super::Told;

    impl Told {
        /// A try for these recipients begins. What is known of another list, because the set-up was changed, is forgotten.
        pub(in super::super) fn begin(&self, notification: Uuid, recipients: &[String]) {
            let mut hash = Sha256::new();
            // The message's id, so that the same people have another digest in each.
            hash.update(notification.as_bytes());
            for recipient in recipients {
                hash.update((recipient.len() as u64).to_be_bytes());
                hash.update(recipient.as_bytes());
            }
            let digest = hash.finalize().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            let mut reached = self.lock();
            if reached.digest != digest {
                *reached = Reached { digest, places: [].into() };
            }
        }

        pub(in super::super) fn has(&self, place: usize) -> bool {
            u16::try_from(place).is_ok_and(|place| self.lock().places.contains(&place))
        }

        /// Nobody is left to be told.
        pub(in super::super) fn forget(&self) {
            self.lock().places.clear();
        }

        pub(in super::super) fn add(&self, place: usize) {
            // Of a list that is longer than that the rest is told again.
            if let Ok(place) = u16::try_from(place) {
                self.lock().places.insert(place);
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn it_is_kept_for_the_same_message_and_the_same_people_and_for_no_others() {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            let (id, ab) = (Uuid::from_u128(1), names(&["amy", "bob"]));
            let told = Told::default();
            told.begin(id, &ab);
            assert_eq!(told.reached(), None);
            told.add(1);
            let after_a_restart = Told::new(told.reached());
            after_a_restart.begin(id, &ab);
            assert_eq!((after_a_restart.has(0), after_a_restart.has(1)), (false, true));
            after_a_restart.forget();
            assert_eq!(after_a_restart.reached(), None);
            for (id, names) in [(Uuid::from_u128(2), ab), (id, names(&["bob", "amy"])), (id, names(&["amyb", "ob"]))] {
                let other = Told::new(told.reached());
                other.begin(id, &names);
                assert_eq!(other.reached(), None, "{names:?}");
            }
        }
    }
}
