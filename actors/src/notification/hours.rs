//! Quiet hours on the clock of a place: what a time of day is there, also on the days on which the clocks are changed.

use std::fmt;
use std::str::FromStr;

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Weekday};
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::pacing::QuietHours;
use crate::domain::Timestamp;
use crate::error::Invalid;

const MINUTES_OF_DAY: u16 = 24 * 60;

/// A time of day in whole minutes, 00:00 to 24:00. In JSON it is that text, in the journal the minutes since midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    /// Reads `HH:MM`.
    ///
    /// # Errors
    /// When it is no such time; `field` is what it is called.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        let digits = |text: &str| match text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse::<u16>().ok(),
            false => None,
        };
        let read = text.split_once(':').and_then(|(hours, minutes)| Some((digits(hours)?, digits(minutes)?)));
        match read {
            Some((hours, minutes)) if minutes < 60 && hours * 60 + minutes <= MINUTES_OF_DAY => {
                Ok(TimeOfDay(hours * 60 + minutes))
            }
            _ => Err(Invalid::new(field, format_args!("{text:?}"), "a time of day, 00:00 to 24:00")),
        }
    }

    /// Minutes since midnight, 0 to 1,440.
    pub fn minutes(self) -> u16 {
        self.0
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl Serialize for TimeOfDay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_u16(self.0) }
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return TimeOfDay::parse("time", &String::deserialize(deserializer)?).map_err(de::Error::custom);
        }
        let minutes = u16::deserialize(deserializer)?;
        match minutes <= MINUTES_OF_DAY {
            true => Ok(TimeOfDay(minutes)),
            false => Err(de::Error::custom(format_args!("{minutes} minutes are more than a day"))),
        }
    }
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "they say what they are")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    /// All of them, in order.
    pub const ALL: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];

    fn of(weekday: Weekday) -> Self {
        Day::ALL[weekday.num_days_from_monday() as usize]
    }

    fn as_str(self) -> &'static str {
        ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][self as usize]
    }
}

impl FromStr for Day {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let unknown = || Invalid::new("days", format_args!("{text:?}"), Day::ALL.map(Day::as_str).join(", "));
        Day::ALL.into_iter().find(|day| day.as_str() == text).ok_or_else(unknown)
    }
}

/// When the quiet hours end in which `now` lies; `None` when it lies in none.
pub(super) fn quiet_until(zone: Tz, hours: &QuietHours, now: Timestamp) -> Option<Timestamp> {
    let today = now.to_chrono().with_timezone(&zone).date_naive();
    // Those that began yesterday may still go on, and a place that crossed the date line left a day out.
    (0..=2).filter_map(|back| span(zone, hours, today.checked_sub_days(Days::new(back))?, now)).max()
}

/// The end of the hours that begin on a day, if they have begun and not ended.
fn span(zone: Tz, hours: &QuietHours, day: NaiveDate, now: Timestamp) -> Option<Timestamp> {
    if !hours.days.contains(&Day::of(day.weekday())) {
        return None;
    }
    let until_day = if hours.until <= hours.from { day.succ_opt()? } else { day };
    let (from, _) = instants(zone, at(day, hours.from)?)?;
    let (_, until) = instants(zone, at(until_day, hours.until)?)?;
    (from <= now && now < until).then_some(until)
}

fn at(day: NaiveDate, time: TimeOfDay) -> Option<NaiveDateTime> {
    day.and_hms_opt(0, 0, 0)?.checked_add_signed(TimeDelta::minutes(i64::from(time.0)))
}

/// The first and the last instant at which the clocks of the place show it. Where they are put forward over it, that is
/// when they are.
fn instants(zone: Tz, mut local: NaiveDateTime) -> Option<(Timestamp, Timestamp)> {
    // Clocks were put forward by a day at most.
    for _ in 0..=MINUTES_OF_DAY {
        let found = zone.from_local_datetime(&local);
        if let (Some(first), Some(last)) = (found.earliest(), found.latest()) {
            let [first, last] = [first, last].map(|at| Timestamp::from_chrono(at.to_utc()).ok());
            return Some((first?, last?));
        }
        local = local.checked_add_signed(TimeDelta::minutes(1))?;
    }
    None
}

/// Whether the hours leave no minute of a week.
pub(super) fn fill_the_week<'a>(all: impl Iterator<Item = &'a QuietHours>) -> bool {
    const WEEK: usize = 7 * MINUTES_OF_DAY as usize;
    let mut is_quiet = vec![false; WEEK];
    let mut any = false;
    for hours in all {
        any = true;
        for day in &hours.days {
            let from = *day as usize * usize::from(MINUTES_OF_DAY) + usize::from(hours.from.0);
            let length = (MINUTES_OF_DAY + hours.until.0 - hours.from.0) % MINUTES_OF_DAY;
            let length = if length == 0 { MINUTES_OF_DAY } else { length };
            (from..from + usize::from(length)).for_each(|minute| is_quiet[minute % WEEK] = true);
        }
    }
    any && is_quiet.iter().all(|is_quiet| *is_quiet)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hours(days: &[&str], from: &str, until: &str) -> QuietHours {
        let pacing = json!({"quiet_hours": [{"from": from, "until": until, "days": days}]});
        super::super::Pacing::from_json(&pacing).expect("good hours").quiet_hours.remove(0)
    }

    const ALL: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

    #[test]
    fn they_end_where_the_clocks_of_the_place_say_also_over_midnight_and_changed_clocks() {
        // Zone, days, from, until, now, the end or none. Clocks in New York: forward on 2026-03-08 at 07:00Z, back on
        // 2026-11-01 at 06:00Z.
        type Case =
            (&'static str, &'static [&'static str], &'static str, &'static str, &'static str, Option<&'static str>);
        let cases: [Case; 23] = [
            ("UTC", &ALL, "22:00", "07:00", "2026-01-31T21:59:59.999999Z", None),
            ("UTC", &ALL, "22:00", "07:00", "2026-01-31T22:00:00Z", Some("2026-02-01T07:00:00Z")),
            ("UTC", &ALL, "22:00", "07:00", "2026-02-01T06:59:59.999999Z", Some("2026-02-01T07:00:00Z")),
            ("UTC", &ALL, "22:00", "07:00", "2026-02-01T07:00:00Z", None),
            ("UTC", &ALL, "12:00", "13:30", "2026-02-01T13:00:00Z", Some("2026-02-01T13:30:00Z")),
            // 2026-01-30 is a Friday: the day is that on which they begin.
            ("UTC", &["fri"], "22:00", "07:00", "2026-01-31T06:00:00Z", Some("2026-01-31T07:00:00Z")),
            ("UTC", &["fri"], "22:00", "07:00", "2026-01-31T22:00:00Z", None),
            ("UTC", &["sat"], "00:00", "24:00", "2026-01-31T23:59:59Z", Some("2026-02-01T00:00:00Z")),
            ("UTC", &["sat"], "22:00", "24:00", "2026-02-01T00:00:00Z", None),
            ("America/New_York", &ALL, "22:00", "07:00", "2026-01-31T03:00:00Z", Some("2026-01-31T12:00:00Z")),
            ("America/New_York", &ALL, "22:00", "07:00", "2026-01-31T02:59:59Z", None),
            // The night is an hour shorter, an hour longer.
            ("America/New_York", &ALL, "22:00", "07:00", "2026-03-08T03:00:00Z", Some("2026-03-08T11:00:00Z")),
            ("America/New_York", &ALL, "22:00", "07:00", "2026-11-01T02:00:00Z", Some("2026-11-01T12:00:00Z")),
            // A time that is left out is when the clocks are put forward.
            ("America/New_York", &ALL, "22:00", "02:30", "2026-03-08T06:59:59Z", Some("2026-03-08T07:00:00Z")),
            ("America/New_York", &ALL, "22:00", "02:30", "2026-03-08T07:00:00Z", None),
            ("America/New_York", &ALL, "02:30", "07:00", "2026-03-08T06:59:59Z", None),
            ("America/New_York", &ALL, "02:30", "07:00", "2026-03-08T07:00:00Z", Some("2026-03-08T11:00:00Z")),
            // One that comes twice begins with the first and ends with the last.
            ("America/New_York", &ALL, "01:30", "07:00", "2026-11-01T05:30:00Z", Some("2026-11-01T12:00:00Z")),
            ("America/New_York", &ALL, "22:00", "01:30", "2026-11-01T05:45:00Z", Some("2026-11-01T06:30:00Z")),
            ("America/New_York", &ALL, "22:00", "01:30", "2026-11-01T06:30:00Z", None),
            // Samoa left out 2011-12-30: what ends on that day ends, and what begins on it begins, where it would have been.
            ("Pacific/Apia", &ALL, "22:00", "07:00", "2011-12-30T09:00:00Z", Some("2011-12-30T10:00:00Z")),
            ("Pacific/Apia", &ALL, "22:00", "07:00", "2011-12-30T10:00:00Z", Some("2011-12-30T17:00:00Z")),
            ("Asia/Kathmandu", &ALL, "00:15", "00:30", "2026-01-30T18:40:00Z", Some("2026-01-30T18:45:00Z")),
        ];
        for (zone, days, from, until, now, expected) in cases {
            let zone: Tz = zone.parse().expect("a zone");
            let end = quiet_until(zone, &hours(days, from, until), now.parse().expect("an instant"));
            assert_eq!(end.map(|end| end.to_string()).as_deref(), expected, "{zone} {from} to {until} at {now}");
        }
    }

    #[test]
    fn a_time_of_day_is_four_digits_up_to_midnight() {
        for text in ["00:00", "09:05", "23:59", "24:00"] {
            assert_eq!(TimeOfDay::parse("from", text).expect(text).to_string(), text);
        }
        for text in ["", "9:00", "24:01", "12:60", "12-00", "+1:00", "12:00:00", "１２:00"] {
            assert_eq!(TimeOfDay::parse("from", text).expect_err(text).field, "from");
        }
    }
}
