//! Time windows: half-open, aligned to 1970, right for times before it.

use std::fmt;
use std::str::FromStr;

use super::timestamp::{MICROS_PER_HOUR, MICROS_PER_MINUTE, Timestamp};
use crate::error::Invalid;

/// The width of a window, or the whole span asked for at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeWindow {
    /// `1m`
    Minute1,
    /// `5m`
    Minute5,
    /// `15m`
    Minute15,
    /// `1h`
    Hour1,
    /// `6h`
    Hour6,
    /// `1d`
    Day1,
    /// `all`: one window over exactly the span asked for.
    All,
}

impl TimeWindow {
    /// Every window, narrowest first.
    pub const ALL: [TimeWindow; 7] = [
        TimeWindow::Minute1,
        TimeWindow::Minute5,
        TimeWindow::Minute15,
        TimeWindow::Hour1,
        TimeWindow::Hour6,
        TimeWindow::Day1,
        TimeWindow::All,
    ];

    /// Its name in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            TimeWindow::Minute1 => "1m",
            TimeWindow::Minute5 => "5m",
            TimeWindow::Minute15 => "15m",
            TimeWindow::Hour1 => "1h",
            TimeWindow::Hour6 => "6h",
            TimeWindow::Day1 => "1d",
            TimeWindow::All => "all",
        }
    }

    /// Width in microseconds; `None` for [`TimeWindow::All`], whose width is the span's.
    pub fn width_micros(self) -> Option<i64> {
        match self {
            TimeWindow::Minute1 => Some(MICROS_PER_MINUTE),
            TimeWindow::Minute5 => Some(5 * MICROS_PER_MINUTE),
            TimeWindow::Minute15 => Some(15 * MICROS_PER_MINUTE),
            TimeWindow::Hour1 => Some(MICROS_PER_HOUR),
            TimeWindow::Hour6 => Some(6 * MICROS_PER_HOUR),
            TimeWindow::Day1 => Some(24 * MICROS_PER_HOUR),
            TimeWindow::All => None,
        }
    }

    /// The start of the window that holds `at`, in microseconds; `at` itself for [`TimeWindow::All`].
    pub fn floor_micros(self, at: Timestamp) -> i64 {
        match self.width_micros() {
            Some(width) => at.as_micros().div_euclid(width) * width,
            None => at.as_micros(),
        }
    }
}

impl fmt::Display for TimeWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TimeWindow {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        TimeWindow::ALL
            .into_iter()
            .find(|window| window.as_str() == text)
            .ok_or_else(|| Invalid::new("window", text, "1m, 5m, 15m, 1h, 6h, 1d, all"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_start_at_or_before_the_instant_also_before_1970() {
        for (window, at, start) in [
            (TimeWindow::Minute1, "1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:00Z"),
            (TimeWindow::Minute5, "1970-01-01T00:04:59Z", "1970-01-01T00:00:00Z"),
            (TimeWindow::Minute15, "1969-12-31T23:44:59Z", "1969-12-31T23:30:00Z"),
            (TimeWindow::Hour1, "2002-01-11T01:00:00Z", "2002-01-11T01:00:00Z"),
            (TimeWindow::Hour6, "1969-12-31T12:00:00Z", "1969-12-31T12:00:00Z"),
            (TimeWindow::Day1, "1969-12-31T00:00:01Z", "1969-12-31T00:00:00Z"),
            (TimeWindow::All, "1969-12-31T00:00:01Z", "1969-12-31T00:00:01Z"),
        ] {
            let at: Timestamp = at.parse().expect(at);
            let floor = Timestamp::from_micros(window.floor_micros(at)).expect("in range");
            assert_eq!(floor.to_string(), start, "{window}");
        }
    }

    #[test]
    fn names_round_trip() {
        for window in TimeWindow::ALL {
            assert_eq!(window.to_string().parse::<TimeWindow>(), Ok(window));
        }
        assert_eq!("2m".parse::<TimeWindow>().expect_err("no such window").field, "window");
    }
}
