//! A metric as a series over time, which trends and anomalies are read off.

use serde::Serialize;

use super::answer::{resolve, span_of};
use super::merged::Merged;
use super::query::{AggregationType, Instant, Metric, WINDOWS_MAX};
use super::state::Dispatches;
use crate::domain::{TimeWindow, Timestamp};
use crate::error::{Error, Invalid};
use crate::runtime::{Given, Query};

/// A metric's value over one window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TrendPoint {
    /// The start of the window.
    pub timestamp: Timestamp,
    /// The mean, or the count for `dispatch_count`.
    pub value: f64,
}

/// The finished windows of a metric, oldest first: its mean over each that has one; for `dispatch_count` the count, also of
/// the empty windows between the first and the last that hold anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetSeries {
    /// What is measured.
    pub metric: Metric,
    /// How wide the windows are; `all` has no series.
    pub window: TimeWindow,
    /// Which windows.
    pub which: Which,
    /// Takes the place of now: what is later is not looked at, and the window that holds it is not finished.
    pub as_of: Option<Instant>,
}

/// Which windows of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The latest so many.
    Latest(usize),
    /// All within retention.
    Retained,
    /// From the one that holds `start` to the one that holds the last instant before `end`. The defaults are the first and
    /// the last that hold anything. With `in_full` a count is 0 up to a bound that is given, also where nothing comes after.
    Between {
        /// First instant.
        start: Option<Instant>,
        /// First instant after.
        end: Option<Instant>,
        /// Whether counts go on to the bounds.
        in_full: bool,
    },
}

impl Query<Dispatches> for GetSeries {
    type Answer = Vec<TrendPoint>;

    fn answer(self, state: &Dispatches, given: &Given) -> Result<Vec<TrendPoint>, Error> {
        let Some(width) = self.window.width_micros() else {
            return Err(Invalid::new("window", self.window, "1m, 5m, 15m, 1h, 6h, 1d").into());
        };
        let now = self.as_of.map_or(given.now, |as_of| resolve(state, given.now, as_of));
        // Windows are counted from 1970; the one that holds now is not finished.
        let finished = now.as_micros().div_euclid(width) - 1;
        let window_of = |at: Timestamp| at.as_micros().div_euclid(width);
        let (mut first, mut last, mut in_full) = (i64::MIN, finished, (false, false));
        if let Which::Between { start, end, in_full: full } = self.which {
            if let (Some(_), Some(_)) = (start, end) {
                span_of(state, given, start, end, None)?;
            }
            if let Some(start) = start {
                first = window_of(resolve(state, given.now, start));
            }
            if let Some(end) = end {
                last = last.min(window_of(resolve(state, given.now, end).saturating_add_micros(-1)));
            }
            in_full = (full && start.is_some(), full && end.is_some());
        }
        let Some((held_first, held_last)) = held(state, now, width) else { return Ok(Vec::new()) };
        if !in_full.0 || self.metric != Metric::DispatchCount {
            first = first.max(held_first);
        }
        if !in_full.1 || self.metric != Metric::DispatchCount {
            last = last.min(held_last);
        }
        if last < first {
            return Ok(Vec::new());
        }
        let points = match self.which {
            Which::Latest(count) => latest(state, self.metric, width, first, last, count),
            Which::Retained | Which::Between { .. } => {
                let count = last - first + 1;
                if count > WINDOWS_MAX {
                    let allowed = format!("at most {WINDOWS_MAX} windows");
                    return Err(
                        Invalid::new("window", format_args!("{} ({count} windows)", self.window), allowed).into()
                    );
                }
                latest(state, self.metric, width, first, last, WINDOWS_MAX as usize)
            }
        };
        Ok(points)
    }
}

/// The first and the last window that hold a closed dispatch before `now`.
fn held(state: &Dispatches, now: Timestamp, width: i64) -> Option<(i64, i64)> {
    let slices = || state.timeline.slices(i64::MIN, now.as_micros());
    let first = slices().flatten().find(|row| row.is_closed)?;
    let last = slices().rev().flat_map(|rows| rows.iter().rev()).find(|row| row.is_closed)?;
    Some((first.at.div_euclid(width), last.at.div_euclid(width)))
}

/// The latest `count` values in windows `first` to `last`, oldest first.
fn latest(state: &Dispatches, metric: Metric, width: i64, first: i64, last: i64, count: usize) -> Vec<TrendPoint> {
    let is_counted = metric == Metric::DispatchCount;
    // A count has a value in every window, so it is known where the latest ones begin.
    let first = if is_counted { first.max(last.saturating_sub(count as i64 - 1)) } else { first };
    let mut windows: Vec<(i64, Merged)> = Vec::new();
    // Backwards, until there are enough; no row lies behind the start of the window that it is in.
    let mut window_start = i64::MAX;
    let slices = state.timeline.slices(first.saturating_mul(width), (last + 1) * width).rev();
    for row in slices.flat_map(|rows| rows.iter().rev()).filter(|row| row.is_closed) {
        if row.at < window_start {
            if windows.len() == count {
                break;
            }
            let window = row.at.div_euclid(width);
            window_start = window * width;
            windows.push((window, Merged::new(metric, AggregationType::Average)));
        }
        if let Some((_, merged)) = windows.last_mut() {
            merged.add(row);
        }
    }
    let timestamp = |window: i64| Timestamp::EPOCH.saturating_add_micros(window * width);
    let mut windows = windows.into_iter().rev().peekable();
    if is_counted {
        let point = |window| {
            let held = windows.next_if(|(of, _)| *of == window);
            TrendPoint { timestamp: timestamp(window), value: held.map_or(0, |(_, merged)| merged.count) as f64 }
        };
        return (first..=last).map(point).collect();
    }
    let point = |(window, mut merged): (i64, Merged)| {
        let value = merged.value().filter(|value| value.is_finite())?;
        Some(TrendPoint { timestamp: timestamp(window), value })
    };
    windows.filter_map(point).collect()
}
