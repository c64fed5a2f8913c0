//! How the text of a column becomes a value.

use std::collections::BTreeMap;
use std::fmt::Debug;

use ionveil_actors::dispatch::Status;

/// Reads a text that is not empty.
pub(super) trait Read: Debug {
    type Value: Clone + Debug;

    /// The value, or `None` when `text` is not what [`Read::allowed`] says.
    fn read(&self, text: &str) -> Option<Self::Value>;

    /// What may stand in the column, for people.
    fn allowed(&self) -> String;
}

/// Any text.
#[derive(Debug, Clone)]
pub(super) struct Text;

impl Read for Text {
    type Value = String;

    fn read(&self, text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn allowed(&self) -> String {
        "a text".to_owned()
    }
}

/// A decimal number. `NaN` and `inf` are numbers here as they are in IEEE 754: `DispatchEvent::check` refuses them, as
/// it does every other number out of range.
#[derive(Debug, Clone)]
pub(super) struct Number;

impl Read for Number {
    type Value = f64;

    fn read(&self, text: &str) -> Option<f64> {
        text.parse().ok()
    }

    fn allowed(&self) -> String {
        "a number".to_owned()
    }
}

/// A severity: by a table, or the number itself, whose range is left to `DispatchEvent::check`.
#[derive(Debug, Clone)]
pub(super) enum SeverityCode {
    Number,
    Table(BTreeMap<String, i64>),
}

impl Read for SeverityCode {
    type Value = i64;

    fn read(&self, text: &str) -> Option<i64> {
        match self {
            SeverityCode::Number => text.parse().ok(),
            SeverityCode::Table(table) => table.get(text).copied(),
        }
    }

    fn allowed(&self) -> String {
        match self {
            SeverityCode::Number => "an integer, 1 to 5 (5 is worst)".to_owned(),
            SeverityCode::Table(table) => keys(table),
        }
    }
}

/// A status: by a table, or by its own name.
#[derive(Debug, Clone)]
pub(super) enum StatusCode {
    Name,
    Table(BTreeMap<String, Status>),
}

impl Read for StatusCode {
    type Value = Status;

    fn read(&self, text: &str) -> Option<Status> {
        match self {
            StatusCode::Name => text.parse().ok(),
            StatusCode::Table(table) => table.get(text).copied(),
        }
    }

    fn allowed(&self) -> String {
        match self {
            StatusCode::Name => "pending, active, closed".to_owned(),
            StatusCode::Table(table) => keys(table),
        }
    }
}

/// Whether the target was met: as the file says it, or by the minutes it allows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Target {
    Met(bool),
    /// Met when the response time is not over it.
    Minutes(f64),
}

/// A target: `true` or `false`, or by a table of minutes. No value means that the event is without.
#[derive(Debug, Clone)]
pub(super) enum TargetCode {
    TrueFalse,
    Minutes(BTreeMap<String, f64>),
}

impl Read for TargetCode {
    type Value = Option<Target>;

    fn read(&self, text: &str) -> Option<Option<Target>> {
        match self {
            TargetCode::TrueFalse if text.eq_ignore_ascii_case("true") => Some(Some(Target::Met(true))),
            TargetCode::TrueFalse if text.eq_ignore_ascii_case("false") => Some(Some(Target::Met(false))),
            TargetCode::TrueFalse => None,
            TargetCode::Minutes(table) => table.get(text).map(|&minutes| Some(Target::Minutes(minutes))),
        }
    }

    fn allowed(&self) -> String {
        match self {
            TargetCode::TrueFalse => "true or false".to_owned(),
            TargetCode::Minutes(table) => keys(table),
        }
    }
}

/// Latitude and longitude in one field. No value means that the event is without.
#[derive(Debug, Clone)]
pub(super) struct Pair;

impl Read for Pair {
    type Value = Option<(f64, f64)>;

    fn read(&self, text: &str) -> Option<Option<(f64, f64)>> {
        let bare = match text.strip_prefix('(') {
            Some(opened) => opened.strip_suffix(')')?,
            None => text,
        };
        let (latitude, longitude) = bare.split_once(',')?;
        Some(Some((latitude.trim().parse().ok()?, longitude.trim().parse().ok()?)))
    }

    fn allowed(&self) -> String {
        "latitude, longitude in degrees, with or without parentheses around both".to_owned()
    }
}

fn keys<V>(table: &BTreeMap<String, V>) -> String {
    table.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_two_numbers_and_a_comma_with_or_without_parentheses() {
        for text in ["(37.7895, -122.428)", "37.7895, -122.428", "37.7895,-122.428", "( 37.7895 , -122.428 )"] {
            assert_eq!(Pair.read(text), Some(Some((37.7895, -122.428))), "{text}");
        }
        for text in ["37.7895", "(37.7895, -122.428", "37.7895, -122.428)", "a, b", "1, 2, 3", "()", ","] {
            assert_eq!(Pair.read(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_are_what_ieee_754_has() {
        for (text, value) in [("2.95", 2.95), ("-1", -1.0), ("1e3", 1000.0), ("inf", f64::INFINITY)] {
            assert_eq!(Number.read(text), Some(value), "{text}");
        }
        assert!(Number.read("NaN").expect("a number to the parser").is_nan());
        for text in ["1,5", "2 min", "--1", "0x10"] {
            assert_eq!(Number.read(text), None, "{text}");
        }
    }

    #[test]
    fn codes_without_a_table_are_the_values_themselves() {
        assert_eq!(SeverityCode::Number.read("4"), Some(4));
        assert_eq!(SeverityCode::Number.read("4.0"), None);
        assert_eq!(StatusCode::Name.read("active"), Some(Status::Active));
        assert_eq!(StatusCode::Name.read("Active"), None);
        assert_eq!(TargetCode::TrueFalse.read("TRUE"), Some(Some(Target::Met(true))));
        assert_eq!(TargetCode::TrueFalse.read("yes"), None);
    }
}
