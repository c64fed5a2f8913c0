//! Compliance with standards, and how busy units are.

use std::ops::ControlFlow;
use std::sync::Arc;

use ionveil_actors::dispatch::{DispatchRecorded, Dispatches, Event, Instant};
use ionveil_actors::domain::{OrgId, Timestamp};
use ionveil_actors::error::{Error as ServiceError, Invalid};
use ionveil_actors::runtime::{Aggregate, Event as _, Given, Query, is_note};
use ionveil_journal::{Journal, Position, Sequence, StreamId};

use crate::error::Error;
use crate::field::{Compliance, ComplianceReport, GroupBy, StaffedHours, Standard, Utilisation, UtilisationReport};
use crate::instance::IonVeil;

/// Compares an org's dispatches with what the trade expects of them.
///
/// Answers are read off the journal, every dispatch that was ever recorded, also those that retention has forgotten. One
/// that was accepted again after it had been forgotten counts again.
#[derive(Clone)]
pub struct FieldPerformance {
    ionveil: IonVeil,
}

/// Which dispatches are looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// First instant of event time; `None` is the first there is.
    pub start: Option<Instant>,
    /// First instant after; `None` is after the last there is.
    pub end: Option<Instant>,
    /// What was known at that position of the journal; `None` is all.
    pub at_position: Option<Position>,
}

impl FieldPerformance {
    /// The comparisons of a running IonVeil.
    pub fn new(ionveil: &IonVeil) -> Self {
        FieldPerformance { ionveil: ionveil.clone() }
    }

    /// How the org's closed dispatches compare with a standard.
    ///
    /// # Errors
    /// `invalid` when start is not before end. `overloaded`, `unavailable`, `corrupt`.
    pub async fn compliance(
        &self,
        org: &OrgId,
        standard: Standard,
        by: GroupBy,
        span: Span,
    ) -> Result<ComplianceReport, Error> {
        let (start, end) = self.bounds(org, span).await?;
        let compliance = Compliance::new(standard, by, start, end);
        Ok(self.fold(org, span, compliance, Compliance::add).await?.finish(org.clone()))
    }

    /// How much of their time the org's units spend on calls.
    ///
    /// # Errors
    /// As [`FieldPerformance::compliance`].
    pub async fn utilisation(
        &self,
        org: &OrgId,
        staffed: StaffedHours,
        span: Span,
    ) -> Result<UtilisationReport, Error> {
        let (start, end) = self.bounds(org, span).await?;
        let utilisation = Utilisation::new(start, end, staffed);
        Ok(self.fold(org, span, utilisation, Utilisation::add).await?.finish(org.clone()))
    }

    async fn bounds(&self, org: &OrgId, span: Span) -> Result<(Option<Timestamp>, Option<Timestamp>), Error> {
        let query = Bounds { start: span.start, end: span.end };
        let caller = self.ionveil.caller.clone();
        let dispatches = &self.ionveil.inner.dispatches;
        let (start, end) = match (span, span.at_position) {
            (Span { start: None | Some(Instant::At(_)), end: None | Some(Instant::At(_)), .. }, _) => query.fixed(),
            (_, None) => dispatches.ask(org.as_str(), query, caller).await?,
            (_, Some(position)) => dispatches.ask_at(org.as_str(), position, query, caller).await?,
        };
        match (start, end) {
            (Some(start), Some(end)) if start >= end => {
                Err(Invalid::new("start", start, format!("before end, which is {end}")).into())
            }
            bounds => Ok(bounds),
        }
    }

    /// Hands every recorded dispatch to `add`, on a thread where that may take its time.
    async fn fold<T: Send + 'static>(
        &self,
        org: &OrgId,
        span: Span,
        mut taken: T,
        add: fn(&mut T, &DispatchRecorded),
    ) -> Result<T, Error> {
        let runtime = &self.ionveil.inner.runtime;
        let journal = Arc::clone(runtime.journal());
        let stream = StreamId::new(Dispatches::KIND, org.as_str())?;
        let until = span.at_position.unwrap_or(Position::MAX);
        let read = move || {
            each_dispatch(journal.as_ref(), &stream, until, &mut |dispatch| add(&mut taken, dispatch))?;
            Ok(taken)
        };
        Ok(runtime.run_blocking(read).await?)
    }
}

/// The dispatches of a stream up to a position, in the order in which they were recorded.
fn each_dispatch(
    journal: &dyn Journal,
    stream: &StreamId,
    until: Position,
    visit: &mut dyn FnMut(&DispatchRecorded),
) -> Result<(), ServiceError> {
    let mut corrupt = None;
    journal.read_stream(stream, Sequence::FIRST, Sequence::MAX, &mut |record| {
        if record.position > until {
            return ControlFlow::Break(());
        }
        if is_note(record.event_type) {
            return ControlFlow::Continue(());
        }
        match Event::decode(record.event_type, record.version, record.codec, record.payload) {
            Ok(Event::Recorded(dispatch)) => visit(&dispatch),
            Ok(_) => {}
            Err(error) => {
                let (stream, sequence) = (stream.to_string(), record.sequence.get());
                corrupt = Some(ServiceError::Corrupt { stream, sequence, cause: error.to_string() });
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    corrupt.map_or(Ok(()), Err)
}

/// Where a span begins and ends, for whoever knows the clock and the watermark.
struct Bounds {
    start: Option<Instant>,
    end: Option<Instant>,
}

impl Bounds {
    /// Bounds that name their instants themselves.
    fn fixed(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        let at = |instant: Option<Instant>| match instant {
            Some(Instant::At(at)) => Some(at),
            _ => None,
        };
        (at(self.start), at(self.end))
    }
}

impl Query<Dispatches> for Bounds {
    type Answer = (Option<Timestamp>, Option<Timestamp>);

    fn answer(self, state: &Dispatches, given: &Given) -> Result<Self::Answer, ServiceError> {
        let resolve = |instant: Instant| match instant {
            Instant::At(at) => at,
            Instant::FromNow(micros) => given.now.saturating_add_micros(micros),
            Instant::Latest => state.watermark().map_or(given.now, |latest| latest.saturating_add_micros(1)),
        };
        Ok((self.start.map(resolve), self.end.map(resolve)))
    }
}
