//! `dispatch/{org}`: the dispatches of one organisation and what they add up to.
//!
//! It guards three things: an event is counted once per `event_id` within retention; any order of the same events gives
//! the same answers; what lies before the retained span is forgotten, and nothing else is. Percentiles are always exact,
//! since samples are kept as they came.
//!
//! Reading order: [`DispatchEvent`] is what comes in, `event` what is journaled, `command` and `decide` what may happen,
//! `state`, `cell` and `evolve` what is known, `query` what can be asked and `answer` how it is answered.

mod answer;
mod cell;
mod command;
mod decide;
mod dispatch_event;
mod event;
mod evolve;
mod query;
mod state;
mod state_snapshot;
#[cfg(test)]
mod tests;

pub use command::{IngestBatch, IngestReport, Rejected, RejectedBecause, SetRetention};
pub use dispatch_event::{DispatchEvent, Status};
pub use event::{DispatchRecorded, Event, RELEASED, RetentionSet};
pub use query::{
    AggregatedMetric, AggregationType, DashboardSnapshot, Dimensions, GetDashboardSnapshot, GetMetric, GetRegions,
    GetWatermark, Instant, Metric, Percent, RegionSummary, WINDOWS_MAX,
};
pub use state::Dispatches;

use crate::runtime::{Abilities, Aggregate};
use ionveil_journal::StreamKind;

/// The clock may be this far behind an event's own time; what is later is rejected as `in_future`.
pub const FUTURE_TOLERANCE_MINUTES: i64 = 5;
/// Most bytes of an event's metadata as JSON: what the journal takes as one event, less room for everything else of it.
pub const METADATA_BYTES_MAX: usize = ionveil_journal::Append::EVENT_BYTES_MAX - (64 << 10);
/// Deepest nesting of an event's metadata: far more than anybody means, and few enough to walk without fear.
pub const METADATA_DEPTH_MAX: usize = 100;
/// What an org keeps until it is told otherwise.
pub const RETENTION_HOURS_DEFAULT: u32 = 24;
/// The longest retention that is not for ever: 10,000 years, all that a timestamp spans.
pub const RETENTION_HOURS_MAX: u32 = 10_000 * 8_766;

impl Aggregate for Dispatches {
    const KIND: StreamKind = StreamKind::new("dispatch");
    const ABILITIES: Abilities<Self> = Abilities::NONE.with_snapshots();
    type Event = Event;

    fn evolve(&mut self, event: &Event) -> Result<(), crate::error::Corrupt> {
        evolve::evolve(self, event)
    }
}
