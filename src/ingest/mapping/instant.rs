//! Instants: text by a pattern, in the local time of a zone, to UTC.

use std::fmt::Write as _;

use chrono::format::{self, Item, Parsed, StrftimeItems};
use chrono::{DateTime, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use ionveil_actors::domain::Timestamp;

use super::value::Read;

/// A pattern of chrono's, such as `%m/%d/%Y %I:%M:%S %p`. Without a time of day it means midnight.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    text: String,
    items: Vec<Item<'static>>,
    is_absolute: bool,
}

impl Pattern {
    /// Checks a pattern by writing an instant with it and reading that back.
    ///
    /// # Errors
    /// Says what is allowed: when something after a `%` is unknown, or what is read is not one day and one time on it.
    pub(super) fn new(text: &str) -> Result<Self, &'static str> {
        const UNKNOWN: &str = "a strftime pattern as chrono has it, such as %m/%d/%Y %I:%M:%S %p";
        const PARTIAL: &str =
            "a pattern with year, month and day, and with hour (%H, or %I and %p) and minute or neither";
        let items = StrftimeItems::new(text).parse_to_owned().map_err(|_| UNKNOWN)?;
        let sample = DateTime::UNIX_EPOCH + TimeDelta::seconds(1_101_388_455); // 2004-11-25, 13:14:15
        let mut written = String::new();
        write!(written, "{}", sample.format_with_items(items.iter())).map_err(|_| UNKNOWN)?;
        let parsed = parse(&items, &written).ok_or(PARTIAL)?;
        let read_back = absolute(&parsed).or_else(|| Some(local(&parsed)?.and_utc())).ok_or(PARTIAL)?;
        if read_back.date_naive() != sample.date_naive() {
            return Err(PARTIAL);
        }
        Ok(Pattern { text: text.to_owned(), items, is_absolute: absolute(&parsed).is_some() })
    }

    /// Whether an instant needs no zone, since the text has its offset from UTC.
    pub(super) fn is_absolute(&self) -> bool {
        self.is_absolute
    }
}

/// How a column becomes an instant.
#[derive(Debug, Clone)]
pub(super) struct Instant {
    pub(super) pattern: Pattern,
    /// The zone of local times; not asked when the pattern is absolute.
    pub(super) zone: Tz,
}

impl Read for Instant {
    type Value = Timestamp;

    fn read(&self, text: &str) -> Option<Timestamp> {
        let parsed = parse(&self.pattern.items, text)?;
        let at = match self.pattern.is_absolute {
            true => absolute(&parsed)?,
            false => in_zone(local(&parsed)?, self.zone)?,
        };
        Timestamp::from_chrono(at).ok()
    }

    fn allowed(&self) -> String {
        format!("a date and time by the pattern {}", self.pattern.text)
    }
}

/// The instant at which clocks in `zone` showed `local`. An hour that occurs twice is the earlier instant; one that
/// is skipped is what a clock would show that nobody had set forward.
fn in_zone(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    if let Some(at) = zone.from_local_datetime(&local).earliest() {
        return Some(at.to_utc());
    }
    // Back to a time before the gap, by whose offset the skipped time counts. No gap of any zone is over a day.
    let step = TimeDelta::minutes(15);
    let before =
        (1..=96).find_map(|steps| zone.from_local_datetime(&local.checked_sub_signed(step * steps)?).latest())?;
    let elapsed = local.signed_duration_since(before.naive_local());
    before.to_utc().checked_add_signed(elapsed)
}

fn parse(items: &[Item<'static>], text: &str) -> Option<Parsed> {
    let mut parsed = Parsed::new();
    format::parse(&mut parsed, text, items.iter()).ok()?;
    Some(parsed)
}

fn absolute(parsed: &Parsed) -> Option<DateTime<Utc>> {
    match (parsed.offset(), parsed.timestamp()) {
        (Some(offset), _) => {
            local(parsed)?.checked_sub_signed(TimeDelta::seconds(offset.into())).map(|at| at.and_utc())
        }
        (None, Some(_)) => parsed.to_datetime_with_timezone(&Utc).ok(),
        (None, None) => None,
    }
}

fn local(parsed: &Parsed) -> Option<NaiveDateTime> {
    let has_time = parsed.hour_div_12().is_some()
        || parsed.hour_mod_12().is_some()
        || parsed.minute().is_some()
        || parsed.second().is_some();
    let time = if has_time { parsed.to_naive_time().ok()? } else { NaiveTime::MIN };
    Some(parsed.to_naive_date().ok()?.and_time(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_reads(pattern: &str, zone: Tz, text: &str, expected: Option<&str>) {
        let instant = Instant { pattern: Pattern::new(pattern).expect(pattern), zone };
        let read = instant.read(text).map(|at| at.to_string());
        assert_eq!(read.as_deref(), expected, "{text} by {pattern} in {zone}");
    }

    #[test]
    fn local_times_are_instants_also_when_clocks_change() {
        use chrono_tz::{America::Los_Angeles, Australia::Lord_Howe, Europe::Berlin, Pacific::Apia};
        for (zone, local, utc) in [
            (Los_Angeles, "2017-11-05 00:59", "2017-11-05T07:59:00Z"),
            (Los_Angeles, "2017-11-05 01:30", "2017-11-05T08:30:00Z"), // occurs twice: the earlier
            (Los_Angeles, "2017-11-05 02:00", "2017-11-05T10:00:00Z"),
            (Los_Angeles, "2017-03-12 01:59", "2017-03-12T09:59:00Z"),
            (Los_Angeles, "2017-03-12 02:00", "2017-03-12T10:00:00Z"), // skipped, so 03:00
            (Los_Angeles, "2017-03-12 02:30", "2017-03-12T10:30:00Z"), // skipped, so 03:30
            (Los_Angeles, "2017-03-12 03:00", "2017-03-12T10:00:00Z"),
            (Berlin, "2026-10-25 02:30", "2026-10-25T00:30:00Z"),
            (Berlin, "2026-03-29 02:30", "2026-03-29T01:30:00Z"),
            (Lord_Howe, "2017-10-01 02:15", "2017-09-30T15:45:00Z"), // a gap of half an hour
            (Apia, "2011-12-30 12:00", "2011-12-30T22:00:00Z"),      // a day that was left out
        ] {
            assert_reads("%Y-%m-%d %H:%M", zone, local, Some(utc));
        }
    }

    #[test]
    fn a_pattern_without_time_of_day_means_midnight() {
        let zone = chrono_tz::America::Los_Angeles;
        assert_reads("%m/%d/%Y", zone, "11/06/2018", Some("2018-11-06T08:00:00Z"));
        assert_reads("%m/%d/%Y", zone, "11/06/2018 01:00", None);
        assert_reads("%m/%d/%Y %I:%M:%S %p", zone, "11/06/2018", None);
        assert_reads("%m/%d/%Y %I:%M:%S %p", zone, "11/06/2018 12:00:00 AM", Some("2018-11-06T08:00:00Z"));
    }

    #[test]
    fn a_pattern_with_an_offset_needs_no_zone() {
        let zone = chrono_tz::America::Los_Angeles;
        assert_reads("%Y-%m-%dT%H:%M:%S%.f%:z", zone, "2018-11-06T01:00:00.5+01:00", Some("2018-11-06T00:00:00.500Z"));
        assert_reads("%+", zone, "2018-11-06T01:00:00Z", Some("2018-11-06T01:00:00Z"));
        assert_reads("%s", zone, "1541462400", Some("2018-11-06T00:00:00Z"));
    }

    #[test]
    fn what_is_no_instant_is_none() {
        let zone = chrono_tz::America::Los_Angeles;
        for text in ["02/30/2018", "13/01/2018", "2018-11-06", "11/06/2018x", "11/06/10000", "", "None"] {
            assert_reads("%m/%d/%Y", zone, text, None);
        }
    }

    #[test]
    fn a_pattern_that_leaves_the_instant_open_is_refused() {
        for pattern in ["%Q", "%", "", "date", "%m/%d", "%H:%M", "%Y-%m-%d %I:%M", "%Y-%m-%d %H", "%Y-%m-%d %M"] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }
}
