//! What a journal promises, as a suite that every engine has to pass.
//!
//! Each promise is a function that is named for it, takes an engine whose journal is empty, and panics where the engine
//! breaks it. [`run`] goes through all of [`PROMISES`] and says which are broken. An engine's author writes:
//!
//! ```
//! use std::sync::Arc;
//! use ionveil_journal::testing::{FaultyStore, conformance};
//! use ionveil_journal::{Journal, LocalJournal};
//!
//! /// An engine that keeps its journal as long as the process lives.
//! struct InProcess(FaultyStore);
//!
//! impl conformance::Engine for InProcess {
//!     fn open(&self) -> Arc<dyn Journal> {
//!         Arc::new(LocalJournal::on(self.0.clone()).expect("it opens"))
//!     }
//!     fn lasts(&self) -> bool {
//!         true
//!     }
//! }
//!
//! conformance::run(|| InProcess(FaultyStore::default()));
//! ```
//!
//! Positions are compared, never counted, so an engine may leave gaps between them. What needs a disk that fails (crashes,
//! full disks, damage) is not here: that is tested per engine, with the means that its store gives.

mod appending;
mod following;
mod replaying;
mod snapshots;
mod whole;

pub use appending::*;
pub use following::*;
pub use replaying::*;
pub use snapshots::*;
pub use whole::*;

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::journal::Journal;
use crate::position::{Position, Sequence};
use crate::record::{Append, NewEvent, Outcome, Written};
use crate::subscribe::OwnedRecord;
use crate::testing::{append_to, event};

/// An engine under test: opens the same journal again and again.
pub trait Engine {
    /// Opens the journal. What was opened before is closed by then.
    fn open(&self) -> Arc<dyn Journal>;

    /// Whether what was written is there when it is opened again. If not, each opening gives an empty journal.
    fn lasts(&self) -> bool;
}

/// One thing that a journal promises.
#[derive(Clone, Copy)]
pub struct Promise {
    /// The function's name, which says what is promised.
    pub name: &'static str,
    /// Panics when an engine, whose journal is empty, breaks the promise.
    pub check: fn(&dyn Engine),
}

macro_rules! promises {
    ($($name:ident,)*) => {
        /// Everything that is promised, the simple before the intricate.
        pub const PROMISES: &[Promise] = &[$(Promise { name: stringify!($name), check: $name },)*];
    };
}

promises! {
    // Replaying.
    an_empty_journal_has_nothing_and_says_so,
    what_goes_in_comes_out_in_order,
    every_field_of_an_event_comes_back,
    the_bounds_of_a_stream_are_inclusive,
    the_bounds_of_all_events_are_inclusive,
    a_reader_stops_when_it_says_so,
    an_unknown_stream_is_empty,
    a_name_that_begins_another_is_another_stream,
    heads_are_those_of_the_last_event,
    large_events_and_large_batches_come_back,
    a_visitor_may_read_and_append,
    // Appending.
    one_bad_event_refuses_the_whole_append,
    readers_see_whole_appends_and_a_prefix_without_gaps,
    a_stale_writer_meets_a_conflict,
    of_two_writers_at_one_version_one_wins,
    a_retry_is_answered_and_not_written_again,
    a_retry_after_reopening_is_answered_too,
    an_id_is_looked_for_where_the_append_names_it,
    a_stream_of_other_events_is_a_conflict,
    a_later_epoch_fences_earlier_ones,
    outcomes_come_in_the_order_of_submission,
    when_durable_comes_after_what_was_taken_before,
    // Snapshots.
    the_latest_snapshot_is_found,
    a_snapshot_is_bounded_by_sequence,
    a_snapshot_is_bounded_by_time,
    a_snapshot_belongs_to_one_fold_and_one_stream,
    a_snapshot_is_replaced_by_one_of_the_same_sequence,
    snapshots_are_deleted_one_by_one,
    snapshots_are_deleted_by_criteria,
    large_snapshots_come_back,
    a_snapshot_ahead_of_the_journal_is_refused,
    a_snapshot_after_reopening_is_the_saved_one_or_none,
    // Following.
    a_subscription_catches_up_and_then_follows,
    a_subscription_begins_behind_any_position,
    a_subscription_of_one_kind_passes_over_the_others,
    there_is_no_seam_between_what_was_there_and_what_comes,
    a_subscription_ends_with_the_journal,
    // The whole.
    every_event_changes_the_hash_and_every_past_hash_is_vouched_for,
    a_hash_of_another_history_is_missed,
    verification_tells_its_progress,
    closing_finishes_what_was_taken,
    a_closed_journal_refuses_everything,
    reopening_changes_nothing,
}

/// A promise that an engine breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which one.
    pub promise: &'static str,
    /// What was met instead, as the check's panic says it.
    pub how: String,
}

/// Checks every promise, each on an engine of its own that `fresh` makes with an empty journal.
///
/// # Panics
/// When a promise is broken; the message lists all that are.
#[track_caller]
pub fn run<E: Engine>(fresh: impl Fn() -> E) {
    let broken = broken_promises(fresh);
    let list: String = broken.iter().map(|Broken { promise, how }| format!("\n  {promise}: {how}")).collect();
    assert!(broken.is_empty(), "the engine breaks {} of {} promises:{list}", broken.len(), PROMISES.len());
}

/// As [`run`], but returns what is broken.
pub fn broken_promises<E: Engine>(fresh: impl Fn() -> E) -> Vec<Broken> {
    PROMISES.iter().filter_map(|promise| promise.broken_by(&fresh())).collect()
}

impl Promise {
    /// How that engine, whose journal is empty, breaks the promise; `None` when it keeps it.
    pub fn broken_by(&self, engine: &dyn Engine) -> Option<Broken> {
        let panic = catch_unwind(AssertUnwindSafe(|| (self.check)(engine))).err()?;
        let how = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Some(Broken { promise: self.name, how: how.unwrap_or("it panicked").to_owned() })
    }
}

/// The same journal opened anew; of an engine that does not last, as it is.
fn reopened(engine: &dyn Engine, journal: Arc<dyn Journal>) -> Arc<dyn Journal> {
    if !engine.lasts() {
        return journal;
    }
    journal.close();
    drop(journal);
    engine.open()
}

#[track_caller]
fn committed(outcome: Outcome) -> Written {
    match outcome {
        Outcome::Committed(written) => written,
        other => panic!("not committed but {other:?}"),
    }
}

/// Appends events of those numbers, of ten bytes each.
#[track_caller]
fn write(journal: &dyn Journal, stream: &str, expected: u64, numbers: std::ops::Range<u64>) -> Written {
    let events = numbers.map(|number| event(number, 10)).collect();
    committed(journal.append(append_to(stream, expected, events)))
}

#[track_caller]
fn all_between(journal: &dyn Journal, from: Position, to: Position) -> Vec<OwnedRecord> {
    let mut seen = Vec::new();
    let read = journal.read_all(from, to, &mut |record| {
        seen.push(OwnedRecord::from(record));
        ControlFlow::Continue(())
    });
    read.expect("a sound journal can be read");
    seen
}

#[track_caller]
fn all(journal: &dyn Journal) -> Vec<OwnedRecord> {
    all_between(journal, Position::FIRST, Position::MAX)
}

#[track_caller]
fn of_stream(journal: &dyn Journal, stream: &str, from: u64, to: u64) -> Vec<OwnedRecord> {
    let mut seen = Vec::new();
    let stream = stream.parse().expect("a valid stream");
    let read = journal.read_stream(&stream, Sequence::new(from), Sequence::new(to), &mut |record| {
        seen.push(OwnedRecord::from(record));
        ControlFlow::Continue(())
    });
    read.expect("a sound journal can be read");
    seen
}

fn ids(records: &[OwnedRecord]) -> Vec<uuid::Uuid> {
    records.iter().map(|record| record.id).collect()
}

fn ids_of(numbers: impl IntoIterator<Item = u64>) -> Vec<uuid::Uuid> {
    numbers.into_iter().map(|number| event(number, 0).id).collect()
}

/// Writes some streams in turn, small and large, one event and several at a time; returns stream and event in the order
/// in which they were appended.
#[track_caller]
fn history(journal: &dyn Journal) -> Vec<(String, NewEvent)> {
    let mut written = Vec::new();
    let mut append = |stream: String, expected, events: Vec<NewEvent>| {
        written.extend(events.iter().map(|event| (stream.clone(), event.clone())));
        committed(journal.append(append_to(&stream, expected, events)));
    };
    let mut number = 0;
    for round in 0..20u64 {
        for org in 0..3 {
            let events = (0..=org).map(|_| {
                number += 1;
                event(number, 100 * number as usize)
            });
            append(format!("dispatch/org{org}"), round * (org + 1), events.collect());
        }
    }
    append("dispatch/large".into(), 0, vec![event(1000, 50_000), event(1001, 5), event(1002, 200_000)]);
    written
}

/// Compares what is read with what was written: nothing else, nothing twice, in order.
#[track_caller]
fn assert_is(seen: &[OwnedRecord], written: &[(String, NewEvent)]) {
    assert_eq!(seen.len(), written.len(), "as many events as were written");
    for (seen, (stream, event)) in seen.iter().zip(written) {
        assert_eq!((&seen.stream, seen.id), (stream, event.id));
        assert!(seen.payload == event.payload, "{stream} sequence {}: another payload", seen.sequence);
    }
    assert!(seen.is_sorted_by(|a, b| a.position < b.position), "positions grow");
}

/// An append by a later incarnation.
fn by_epoch(epoch: u32, append: Append) -> Append {
    Append { epoch, ..append }
}
