//! An instant in UTC, in whole microseconds.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::Invalid;

/// Microseconds in a minute.
pub const MICROS_PER_MINUTE: i64 = 60_000_000;
/// Microseconds in an hour.
pub const MICROS_PER_HOUR: i64 = 60 * MICROS_PER_MINUTE;

/// An instant: microseconds since 1970-01-01T00:00:00Z, negative before it.
///
/// From the year 0000 to the year 9999, which is what RFC 3339 can write. In JSON it is RFC 3339 ending in `Z`,
/// with a fraction only when it is not zero; in the journal it is the number.
///
/// ```
/// use ionveil_actors::domain::Timestamp;
/// let at: Timestamp = "2002-01-11T02:51:44.25+01:00".parse()?;
/// assert_eq!(at.to_string(), "2002-01-11T01:51:44.250Z");
/// assert!("yesterday".parse::<Timestamp>().is_err());
/// # Ok::<(), ionveil_actors::error::Invalid>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Timestamp = Timestamp(0);
    /// 0000-01-01T00:00:00Z.
    pub const MIN: Timestamp = Timestamp(-62_167_219_200_000_000);
    /// The last microsecond of the year 9999.
    pub const MAX: Timestamp = Timestamp(253_402_300_799_999_999);

    /// The instant that many microseconds after 1970, unless it lies outside [`Timestamp::MIN`] to [`Timestamp::MAX`].
    pub fn from_micros(micros: i64) -> Option<Self> {
        let at = Timestamp(micros);
        (Self::MIN <= at && at <= Self::MAX).then_some(at)
    }

    /// Microseconds since 1970; negative before.
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// This instant moved by `micros`, stopping at [`Timestamp::MIN`] and [`Timestamp::MAX`].
    #[must_use]
    pub fn saturating_add_micros(self, micros: i64) -> Self {
        Timestamp(self.0.saturating_add(micros).clamp(Self::MIN.0, Self::MAX.0))
    }

    /// The instant of a chrono value; what is finer than a microsecond is cut off.
    ///
    /// # Errors
    /// When the year is not 0–9999.
    pub fn from_chrono(at: DateTime<Utc>) -> Result<Self, Invalid> {
        Self::from_micros(at.timestamp_micros()).ok_or_else(|| Invalid::new("timestamp", at, "years 0000 to 9999"))
    }

    /// The same instant for chrono.
    pub fn to_chrono(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).expect("years 0 to 9999 lie inside chrono's range")
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_chrono().to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

impl FromStr for Timestamp {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        DateTime::parse_from_rfc3339(text)
            .map_err(|_| Invalid::new("timestamp", text, "RFC 3339, such as 2026-01-31T08:15:00Z"))
            .and_then(|at| Self::from_chrono(at.with_timezone(&Utc)))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_i64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(de::Error::custom)
        } else {
            let micros = i64::deserialize(deserializer)?;
            Timestamp::from_micros(micros)
                .ok_or_else(|| de::Error::custom(format_args!("{micros} µs is not in years 0000 to 9999")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_utc_with_a_fraction_only_when_there_is_one() {
        for (input, output) in [
            ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"),
            ("2018-11-06T00:00:00-08:00", "2018-11-06T08:00:00Z"),
            ("2018-11-06T00:00:00.1234567Z", "2018-11-06T00:00:00.123456Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ] {
            let at: Timestamp = input.parse().expect(input);
            assert_eq!(at.to_string(), output);
            assert_eq!(serde_json::to_string(&at).expect("a string"), format!("\"{output}\""));
            assert_eq!(Timestamp::from_chrono(at.to_chrono()).expect("in range"), at);
        }
    }

    #[test]
    fn what_is_no_instant_names_itself_and_the_form() {
        for text in ["", "2018-11-06", "2018-02-30T00:00:00Z", "0000-01-01T00:00:00+01:00"] {
            let refusal = text.parse::<Timestamp>().expect_err(text);
            assert_eq!(refusal.field, "timestamp");
        }
        assert!(Timestamp::from_micros(i64::MAX).is_none());
        assert_eq!(Timestamp::MAX.saturating_add_micros(1), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.saturating_add_micros(-1), Timestamp::MIN);
    }
}
