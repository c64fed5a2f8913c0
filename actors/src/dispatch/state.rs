//! What is known of an org's dispatches.

use super::ledger::Ledger;
use super::names::Names;
use super::timeline::Timeline;
use super::{DIMENSION_VALUES_DEFAULT, RETENTION_HOURS_DEFAULT};
use crate::domain::{MICROS_PER_HOUR, MICROS_PER_MINUTE, Timestamp};

/// Percentiles of a window with so many samples are exact; of one with more they come from a sketch.
pub(super) const EXACT_SAMPLES_MAX: usize = 262_144;

/// The dispatches of one org within retention.
///
/// Every sample is kept, and answers are made of them when they are asked for: what a window adds up to depends on the
/// events alone, not on the order in which they came or on how they were stored in between.
#[derive(Debug)]
pub struct Dispatches {
    pub(super) retention_hours: u32,
    /// Most regions, and most unit types, that are told apart.
    pub(super) dimension_values_max: u32,
    /// The latest accepted event's time.
    pub(super) watermark: Option<Timestamp>,
    pub(super) timeline: Timeline,
    pub(super) ledger: Ledger,
    /// Of closed dispatches.
    pub(super) regions: Names,
    pub(super) unit_types: Names,
}

impl Default for Dispatches {
    fn default() -> Self {
        Dispatches {
            retention_hours: RETENTION_HOURS_DEFAULT,
            dimension_values_max: DIMENSION_VALUES_DEFAULT,
            watermark: None,
            timeline: Timeline::default(),
            ledger: Ledger::default(),
            regions: Names::default(),
            unit_types: Names::default(),
        }
    }
}

impl Dispatches {
    /// The latest accepted event's time; `None` before the first.
    pub fn watermark(&self) -> Option<Timestamp> {
        self.watermark
    }

    /// Hours behind the watermark that are kept; 0 is everything.
    pub fn retention_hours(&self) -> u32 {
        self.retention_hours
    }

    /// Most regions, and most unit types, that are told apart; those beyond count as `__other__`.
    pub fn dimension_values_max(&self) -> u32 {
        self.dimension_values_max
    }

    /// Events within retention, whatever their status.
    pub fn events(&self) -> usize {
        self.timeline.len()
    }

    /// Whether an event of that id has been counted and not been forgotten.
    pub fn has_counted(&self, event_id: &str) -> bool {
        self.ledger.counted_at(self.ledger.hashed(event_id)).is_some()
    }
}

/// The first instant that is kept: the start of the minute that holds watermark − retention. `None` keeps everything.
pub(super) fn earliest_kept(watermark: Option<Timestamp>, retention_hours: u32) -> Option<Timestamp> {
    if retention_hours == 0 {
        return None;
    }
    let horizon = watermark?.saturating_add_micros(-i64::from(retention_hours) * MICROS_PER_HOUR);
    Timestamp::from_micros(minute_of(horizon) * MICROS_PER_MINUTE)
}

/// The minute that holds an instant, counted from 1970; negative before.
pub(super) fn minute_of(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(MICROS_PER_MINUTE)
}
