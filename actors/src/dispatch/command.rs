//! What an org's dispatches can be told.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::RETENTION_HOURS_MAX;
use super::dispatch_event::DispatchEvent;
use super::event::DispatchRecorded;
use crate::domain::Timestamp;
use crate::error::Invalid;

/// Counts some dispatches: each is accepted, a duplicate, or rejected, whatever becomes of the others.
///
/// The events' `org_id` is not looked at: they count for the org whose entity the command is sent to.
///
/// Fields are checked when an event is put in, by whoever makes the batch, so that the entity, which does one thing after the
/// other for its org, has only to see what is known already.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct IngestBatch {
    /// Those whose fields are in range, as they would be recorded, in the order of the batch.
    pub(super) sound: Vec<DispatchRecorded>,
    /// The others, with their places in the batch, in its order.
    pub(super) invalid: Vec<Rejected>,
}

impl IngestBatch {
    /// Puts one event behind the others, which are in any order.
    pub fn push(&mut self, event: DispatchEvent) {
        match DispatchRecorded::from_reported(event) {
            Ok(sound) => self.sound.push(sound),
            Err(invalid) => {
                self.invalid.push(Rejected { index: self.len(), because: RejectedBecause::Invalid(invalid) });
            }
        }
    }

    /// How many events it holds.
    pub fn len(&self) -> usize {
        self.sound.len() + self.invalid.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl FromIterator<DispatchEvent> for IngestBatch {
    fn from_iter<I: IntoIterator<Item = DispatchEvent>>(events: I) -> Self {
        let events = events.into_iter();
        let mut batch = IngestBatch { sound: Vec::with_capacity(events.size_hint().0), invalid: Vec::new() };
        events.for_each(|event| batch.push(event));
        batch
    }
}

/// What became of a batch. Indices count from 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IngestReport {
    /// How many were counted.
    pub accepted: usize,
    /// Those that had been counted before. Not an error.
    pub duplicates: Vec<usize>,
    /// Those that were not counted, and why.
    pub rejected: Vec<Rejected>,
}

/// One event that was not counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// Its place in the batch, from 0.
    pub index: usize,
    /// Why.
    pub because: RejectedBecause,
}

/// Why an event was not counted, in the order of precedence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RejectedBecause {
    /// A field is out of range.
    Invalid(Invalid),
    /// It claims to be later than the clock by more than the tolerance.
    InFuture {
        /// When it claims to have happened.
        timestamp: Timestamp,
        /// The latest that would have been accepted.
        latest: Timestamp,
    },
    /// Its minute has been forgotten.
    TooLate {
        /// When it happened.
        timestamp: Timestamp,
        /// The earliest that is kept.
        earliest: Timestamp,
    },
}

impl RejectedBecause {
    /// The reason's name in reports: `invalid`, `in_future` or `too_late`.
    pub fn as_str(&self) -> &'static str {
        match self {
            RejectedBecause::Invalid(_) => "invalid",
            RejectedBecause::InFuture { .. } => "in_future",
            RejectedBecause::TooLate { .. } => "too_late",
        }
    }

    /// The reason as field, value and allowed range.
    pub fn to_invalid(&self) -> Invalid {
        match self {
            RejectedBecause::Invalid(invalid) => invalid.clone(),
            RejectedBecause::InFuture { timestamp, latest } => {
                Invalid::new("timestamp", timestamp, format!("at most {latest}, which is the clock and 5 minutes"))
            }
            RejectedBecause::TooLate { timestamp, earliest } => Invalid::new(
                "timestamp",
                timestamp,
                format!("at least {earliest}, since earlier minutes are forgotten"),
            ),
        }
    }
}

impl fmt::Display for RejectedBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_invalid().fmt(f)
    }
}

/// Changes how long dispatches are kept. What lies before the new span is forgotten; what was forgotten stays so.
/// Replies whether that was a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetRetention {
    /// Hours behind the latest event; 0 keeps everything.
    pub hours: u32,
}

impl SetRetention {
    /// Checks the range, for whoever has work to do before it is sent.
    ///
    /// # Errors
    /// Over [`RETENTION_HOURS_MAX`].
    pub fn check(self) -> Result<(), Invalid> {
        if self.hours > RETENTION_HOURS_MAX {
            let allowed = format!("0 (for ever) to {RETENTION_HOURS_MAX}");
            return Err(Invalid::new("retention_hours", self.hours, allowed));
        }
        Ok(())
    }
}

/// Changes how many regions, and how many unit types, are told apart within retention; those beyond count as `__other__`.
/// What is known already stays. Replies whether that was a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetDimensionLimit {
    /// 1 to 1,000,000.
    pub values_max: u32,
}
