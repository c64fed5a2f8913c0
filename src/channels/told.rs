//! Who has a message already, when one goes to several people and some of them could not be reached.
//!
//! Kept in memory: after a restart those who had it are told again, with the same key.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

/// Most notifications that are remembered; beyond it the oldest is forgotten.
const NOTIFICATIONS_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Told {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    recipients: HashMap<Uuid, HashSet<String>>,
    oldest_first: VecDeque<Uuid>,
}

/// Nobody's address.
impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("notifications", &self.recipients.len()).finish_non_exhaustive()
    }
}

impl Told {
    pub(super) fn has(&self, notification: Uuid, recipient: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.recipients.get(&notification).is_some_and(|recipients| recipients.contains(recipient))
    }

    pub(super) fn add(&self, notification: Uuid, recipient: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.recipients.contains_key(&notification) {
            if known.oldest_first.len() == NOTIFICATIONS_MAX
                && let Some(oldest) = known.oldest_first.pop_front()
            {
                known.recipients.remove(&oldest);
            }
            known.oldest_first.push_back(notification);
        }
        known.recipients.entry(notification).or_default().insert(recipient.to_owned());
    }

    /// Nobody is left to be told.
    pub(super) fn forget(&self, notification: Uuid) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.recipients.remove(&notification).is_some() {
            known.oldest_first.retain(|other| *other != notification);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_notifications_are_remembered() {
        let told = Told::default();
        let id = |number: usize| Uuid::from_u128(number as u128);
        for number in 0..=NOTIFICATIONS_MAX {
            told.add(id(number), "amy");
            told.add(id(number), "bob");
        }
        assert!(!told.has(id(0), "amy"), "the oldest is forgotten");
        assert!(told.has(id(1), "amy") && told.has(id(NOTIFICATIONS_MAX), "bob") && !told.has(id(1), "eve"));
        told.forget(id(1));
        assert!(!told.has(id(1), "amy"));
        told.add(id(0), "amy");
        assert!(told.has(id(2), "amy"), "there was room again");
    }
}
