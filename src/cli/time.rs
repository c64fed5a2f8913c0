//! Instants as they are written on the command line.

use ionveil::Invalid;
use ionveil::dispatch::Instant;

const ALLOWED: &str = "RFC 3339 such as 2026-01-31T08:15:00Z, now, latest, or -N with s, m, h or d, such as -1h";

/// Reads `now`, `latest`, `-1h` or RFC 3339. `field` is the option's name.
pub(super) fn parse(field: &str, text: &str) -> Result<Instant, Invalid> {
    let refused = || Invalid::new(field, text, ALLOWED);
    match text {
        "now" => Ok(Instant::FromNow(0)),
        "latest" => Ok(Instant::Latest),
        _ => match text.strip_prefix('-') {
            Some(ago) => micros(ago).map(|micros| Instant::FromNow(-micros)).ok_or_else(refused),
            None => text.parse().map(Instant::At).map_err(|_| refused()),
        },
    }
}

/// As [`parse`], for an option that may be left out.
pub(super) fn parse_optional(field: &str, text: Option<&str>) -> Result<Option<Instant>, Invalid> {
    text.map(|text| parse(field, text)).transpose()
}

fn micros(ago: &str) -> Option<i64> {
    let unit = ago.chars().next_back()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let digits = &ago[..ago.len() - unit.len_utf8()];
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<i64>().ok()?.checked_mul(seconds)?.checked_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_absolute_or_relative() {
        for (text, expected) in [
            ("now", Some(Instant::FromNow(0))),
            ("latest", Some(Instant::Latest)),
            ("-1h", Some(Instant::FromNow(-3_600_000_000))),
            ("-90s", Some(Instant::FromNow(-90_000_000))),
            ("-2d", Some(Instant::FromNow(-172_800_000_000))),
            ("1970-01-01T00:00:00Z", Some(Instant::At(ionveil::domain::Timestamp::EPOCH))),
            ("", None),
            ("-", None),
            ("-h", None),
            ("-1", None),
            ("-1y", None),
            ("--1h", None),
            ("-99999999999999999d", None),
            ("yesterday", None),
        ] {
            assert_eq!(parse("start", text).ok(), expected, "{text:?}");
        }
    }
}
