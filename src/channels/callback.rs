//! The channel `callback`: a function of the host.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::message::{Delivery, Message, Transport};

/// Hands each message to a function of the host that embeds IonVeil.
pub struct Callback<F>(F);

impl<F: Fn(&Message) -> Delivery + Send + Sync> Callback<F> {
    /// The function may block. One that panics has its message tried again.
    pub fn new(call: F) -> Self {
        Callback(call)
    }
}

impl<F: Fn(&Message) -> Delivery + Send + Sync> Transport for Callback<F> {
    fn send(&self, message: &Message) -> Delivery {
        // The function is the host's and sees the message only by reference: nothing of ours is left half changed.
        catch_unwind(AssertUnwindSafe(|| (self.0)(message)))
            .unwrap_or_else(|_| Delivery::retry("the host's callback panicked"))
    }

    fn preview(&self, message: &Message) -> String {
        serde_json::to_string_pretty(message).expect("a message has only texts as keys")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::channels::testing::message;

    #[test]
    fn the_hosts_answer_is_the_outcome_and_a_panic_is_tried_again() {
        let calls = AtomicU32::new(0);
        let callback = Callback::new(|message: &Message| {
            assert_eq!(message.level, 1);
            match calls.fetch_add(1, Ordering::Relaxed) {
                0 => panic!("on purpose"),
                1 => Delivery::refused("not on duty"),
                _ => Delivery::Delivered,
            }
        });
        assert_eq!(callback.send(&message()), Delivery::retry("the host's callback panicked"));
        assert_eq!(callback.send(&message()), Delivery::refused("not on duty"));
        assert_eq!(callback.send(&message()), Delivery::Delivered);
    }
}
