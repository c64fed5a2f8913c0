//! How urgent an incident is: 1 to 5, and 1 is worst.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::timestamp::MICROS_PER_MINUTE;
use crate::error::Invalid;

/// Priority of an incident, **1 (critical)** to 5 (informational).
///
/// Severity of a dispatch runs the other way (5 is worst) and is another type, so that the two are never mixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

impl Priority {
    /// The priority of that number.
    ///
    /// # Errors
    /// When it is not 1–5.
    pub fn new(number: i64) -> Result<Self, Invalid> {
        match u8::try_from(number) {
            Ok(n @ 1..=5) => Ok(Priority(n)),
            _ => Err(Invalid::new("priority", number, "1 to 5 (1 is worst)")),
        }
    }

    /// 1 to 5.
    pub fn get(self) -> u8 {
        self.0
    }

    /// Minutes within which an incident of this priority has to be reached.
    pub fn sla_minutes(self) -> u32 {
        match self.0 {
            1 => 5,
            2 => 10,
            3 => 20,
            4 => 45,
            _ => 120,
        }
    }

    /// The same in microseconds.
    pub fn sla_micros(self) -> i64 {
        i64::from(self.sla_minutes()) * MICROS_PER_MINUTE
    }

    /// The channels on which an alert about such an incident is told when its rule names none.
    pub fn channels(self) -> &'static [Channel] {
        match self.0 {
            1 => &[Channel::Sms, Channel::Push, Channel::Radio, Channel::Email],
            2 => &[Channel::Sms, Channel::Push, Channel::Email],
            3 => &[Channel::Push, Channel::Email],
            _ => &[Channel::Email],
        }
    }
}

impl TryFrom<u8> for Priority {
    type Error = Invalid;

    fn try_from(number: u8) -> Result<Self, Invalid> {
        Priority::new(number.into())
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> u8 {
        priority.0
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_worst_has_the_shortest_target_and_the_most_channels() {
        let all: Vec<Priority> = (1..=5).map(|n| Priority::new(n).expect("1 to 5")).collect();
        assert_eq!(all.iter().map(|p| p.sla_minutes()).collect::<Vec<_>>(), [5, 10, 20, 45, 120]);
        let names = |p: &Priority| p.channels().iter().map(|channel| channel.as_str()).collect::<Vec<_>>().join(" ");
        let told: Vec<String> = all.iter().map(names).collect();
        assert_eq!(told, ["sms push radio email", "sms push email", "push email", "email", "email"]);
        for number in [0, 6, -1, 256 + 3] {
            let refusal = Priority::new(number).expect_err("outside");
            assert_eq!((refusal.field.as_str(), refusal.value), ("priority", number.to_string()));
        }
    }
}
