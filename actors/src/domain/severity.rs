//! How bad a dispatch is: 1 to 5, and 5 is worst.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Invalid;

/// Severity of a dispatch, 1 (informational) to **5 (critical)**.
///
/// Priority runs the other way (1 is worst) and is another type, so that the two are never mixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Severity(u8);

impl Severity {
    /// The severity of that number.
    ///
    /// # Errors
    /// When it is not 1–5.
    pub fn new(number: i64) -> Result<Self, Invalid> {
        match u8::try_from(number) {
            Ok(n @ 1..=5) => Ok(Severity(n)),
            _ => Err(Invalid::new("severity", number, "1 to 5 (5 is worst)")),
        }
    }

    /// 1 to 5.
    pub fn get(self) -> u8 {
        self.0
    }

    /// Minutes within which a dispatch of this severity has to be reached.
    pub fn sla_minutes(self) -> u32 {
        match self.0 {
            5 => 15,
            4 => 30,
            3 => 60,
            2 => 120,
            _ => 480,
        }
    }
}

impl TryFrom<u8> for Severity {
    type Error = Invalid;

    fn try_from(number: u8) -> Result<Self, Invalid> {
        Severity::new(number.into())
    }
}

impl From<Severity> for u8 {
    fn from(severity: Severity) -> u8 {
        severity.0
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_is_worst_and_has_the_shortest_target() {
        let targets: Vec<u32> = (1..=5).map(|n| Severity::new(n).expect("1 to 5").sla_minutes()).collect();
        assert_eq!(targets, [480, 120, 60, 30, 15]);
        for number in [0, 6, -1, 256 + 3] {
            let refusal = Severity::new(number).expect_err("outside");
            assert_eq!((refusal.field.as_str(), refusal.value), ("severity", number.to_string()));
        }
    }
}
