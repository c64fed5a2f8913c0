//! Places: in the journal, and in one stream. Two types, so that they are never mixed.

use std::fmt;

macro_rules! place {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Before the first event.
            pub const NONE: $name = $name(0);
            /// Of the first event.
            pub const FIRST: $name = $name(1);
            /// Beyond every event.
            pub const MAX: $name = $name(u64::MAX);

            /// The place of that number; 0 is [`Self::NONE`].
            pub fn new(number: u64) -> Self {
                $name(number)
            }

            /// Its number: 1 for the first event, 0 for none.
            pub fn get(self) -> u64 {
                self.0
            }

            /// The place `count` events later.
            #[must_use]
            pub fn plus(self, count: u64) -> Self {
                $name(self.0.saturating_add(count))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

place! {
    /// The place of an event among all events of the journal. Counts from 1, without gaps, in the order of writing.
    Position
}

place! {
    /// The place of an event in its stream. Counts from 1, without gaps.
    Sequence
}
