//! What is known of an org's dispatches.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::RETENTION_HOURS_DEFAULT;
use super::cell::MinuteCell;
use super::dispatch_event::Status;
use crate::domain::{MICROS_PER_HOUR, MICROS_PER_MINUTE, Timestamp};

/// The dispatches of one org within retention, as they add up per minute.
#[derive(Debug)]
pub struct Dispatches {
    pub(super) retention_hours: u32,
    /// The latest accepted event's time.
    pub(super) watermark: Option<Timestamp>,
    /// By minute since 1970.
    pub(super) minutes: BTreeMap<i64, MinuteCell>,
    /// Every event that is counted, and when it happened.
    pub(super) event_ids: HashMap<Arc<str>, Timestamp>,
    /// What was reported of each dispatch, in the order of arrival.
    pub(super) reports: HashMap<Arc<str>, Vec<StatusReport>>,
    /// Dispatches of which anything but `closed` was ever reported.
    pub(super) ever_open: BTreeSet<Arc<str>>,
    pub(super) regions: Names,
    pub(super) unit_types: Names,
}

/// What one event said of its dispatch. In order of precedence: the later one counts, at equal instants the higher status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct StatusReport {
    pub(super) timestamp: Timestamp,
    pub(super) status: Status,
}

impl Default for Dispatches {
    fn default() -> Self {
        Dispatches {
            retention_hours: RETENTION_HOURS_DEFAULT,
            watermark: None,
            minutes: BTreeMap::new(),
            event_ids: HashMap::new(),
            reports: HashMap::new(),
            ever_open: BTreeSet::new(),
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

    /// Whether an event of that id has been counted and not been forgotten.
    pub fn has_counted(&self, event_id: &str) -> bool {
        self.event_ids.contains_key(event_id)
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

/// Names that occur again and again, kept once and known by number.
#[derive(Debug, Default)]
pub(super) struct Names {
    numbers: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

impl Names {
    pub(super) fn number_of(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = u32::try_from(self.names.len()).expect("memory ends before four billion names");
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        number
    }

    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub(super) fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    pub(super) fn name(&self, number: u32) -> &Arc<str> {
        &self.names[number as usize]
    }
}
