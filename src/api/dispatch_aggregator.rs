//! Ingest and metrics.

use std::collections::VecDeque;

use ionveil_actors::dispatch::{
    AggregatedMetric, DashboardSnapshot, DispatchEvent, GetMetric, GetSnapshot, GetWatermark, IngestBatch,
    IngestReport, Instant, SetRetention,
};
use ionveil_actors::domain::{OrgId, Timestamp};
use ionveil_actors::runtime::Reply;
use ionveil_journal::Position;

use crate::error::Error;
use crate::instance::IonVeil;

/// Events of one message. A batch larger than this is sent as several, so that no single one holds an entity for long.
const MESSAGE_EVENTS_MAX: usize = 1_000;
/// Messages of one batch that are under way at a time.
const MESSAGES_UNDER_WAY_MAX: usize = 16;

/// Aggregates dispatch events per org into windows and snapshots.
#[derive(Clone)]
pub struct DispatchAggregator {
    ionveil: IonVeil,
}

/// What became of a single event that was not rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ingested {
    /// It was counted and is on disk.
    Accepted,
    /// An event of that id had been counted before.
    Duplicate,
}

impl DispatchAggregator {
    /// The aggregator of a running IonVeil.
    pub fn new(ionveil: &IonVeil) -> Self {
        DispatchAggregator { ionveil: ionveil.clone() }
    }

    /// Counts one event. It is on disk when this returns.
    ///
    /// # Errors
    /// `invalid` when it is rejected: a field out of range, in the future, or before what is kept. As every method:
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn ingest_event(&self, event: DispatchEvent) -> Result<Ingested, Error> {
        let report = self.ingest_batch(vec![event]).await?;
        match report.rejected.into_iter().next() {
            Some(rejected) => Err(rejected.because.to_invalid().into()),
            None if report.duplicates.is_empty() => Ok(Ingested::Accepted),
            None => Ok(Ingested::Duplicate),
        }
    }

    /// Counts the events of a batch, of one org or of several. What was accepted is on disk when this returns.
    ///
    /// The batch is no transaction: each event stands for itself, and indices in the report are those of the batch. After
    /// an error some events may have been counted; sending all of them again is safe, since those are then duplicates.
    ///
    /// # Errors
    /// Only when no report can be given: `overloaded`, `unavailable`, `corrupt`.
    pub async fn ingest_batch(&self, events: Vec<DispatchEvent>) -> Result<IngestReport, Error> {
        let mut report = IngestReport::default();
        let mut under_way = VecDeque::new();
        for (indices, message) in messages_of(events) {
            if under_way.len() == MESSAGES_UNDER_WAY_MAX {
                settle(&mut under_way, &mut report).await?;
            }
            let org = message.events[0].org_id.clone();
            under_way.push_back((indices, self.send_batch(&org, message)));
        }
        while !under_way.is_empty() {
            settle(&mut under_way, &mut report).await?;
        }
        report.duplicates.sort_unstable();
        report.rejected.sort_unstable_by_key(|rejected| rejected.index);
        Ok(report)
    }

    /// Sends one message of events, all of `org`, and returns at once; the reply comes when they are on disk. For callers
    /// that keep several under way; the others use [`DispatchAggregator::ingest_batch`].
    pub fn send_batch(&self, org: &OrgId, batch: IngestBatch) -> Reply<IngestReport> {
        self.ionveil.inner.dispatches.tell(org.as_str(), batch, self.ionveil.caller.clone())
    }

    /// Sets how long an org's dispatches are kept: hours behind the latest event, 0 for ever. True when that is a change.
    ///
    /// # Errors
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn set_retention(&self, org: &OrgId, hours: u32) -> Result<bool, Error> {
        let command = SetRetention { hours };
        Ok(self.ionveil.inner.dispatches.tell(org.as_str(), command, self.ionveil.caller.clone()).await?)
    }

    /// A metric over windows. An org that nothing is known of has none.
    ///
    /// # Errors
    /// `invalid` when start is not before end, or there would be too many windows.
    pub async fn get_metric(&self, org: &OrgId, question: GetMetric) -> Result<Vec<AggregatedMetric>, Error> {
        Ok(self.ionveil.inner.dispatches.ask(org.as_str(), question, self.ionveil.caller.clone()).await?)
    }

    /// As [`DispatchAggregator::get_metric`], on what was known at a position of the journal.
    ///
    /// # Errors
    /// As [`DispatchAggregator::get_metric`].
    pub async fn get_metric_at(
        &self,
        org: &OrgId,
        position: Position,
        question: GetMetric,
    ) -> Result<Vec<AggregatedMetric>, Error> {
        let caller = self.ionveil.caller.clone();
        Ok(self.ionveil.inner.dispatches.ask_at(org.as_str(), position, question, caller).await?)
    }

    /// Everything a dashboard shows, as of an instant (`None` is now).
    ///
    /// # Errors
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn get_dashboard_snapshot(
        &self,
        org: &OrgId,
        as_of: Option<Instant>,
    ) -> Result<DashboardSnapshot, Error> {
        let question = GetSnapshot { org_id: org.clone(), as_of };
        Ok(self.ionveil.inner.dispatches.ask(org.as_str(), question, self.ionveil.caller.clone()).await?)
    }

    /// As [`DispatchAggregator::get_dashboard_snapshot`], on what was known at a position of the journal.
    ///
    /// # Errors
    /// As [`DispatchAggregator::get_dashboard_snapshot`].
    pub async fn get_dashboard_snapshot_at(
        &self,
        org: &OrgId,
        position: Position,
        as_of: Option<Instant>,
    ) -> Result<DashboardSnapshot, Error> {
        let question = GetSnapshot { org_id: org.clone(), as_of };
        let caller = self.ionveil.caller.clone();
        Ok(self.ionveil.inner.dispatches.ask_at(org.as_str(), position, question, caller).await?)
    }

    /// The time of the org's latest accepted event; `None` before the first.
    ///
    /// # Errors
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn get_watermark(&self, org: &OrgId) -> Result<Option<Timestamp>, Error> {
        Ok(self.ionveil.inner.dispatches.ask(org.as_str(), GetWatermark, self.ionveil.caller.clone()).await?)
    }
}

/// The events of a batch as messages, each of one org, with the events' places in the batch.
fn messages_of(events: Vec<DispatchEvent>) -> Vec<(Vec<usize>, IngestBatch)> {
    let mut messages: Vec<(Vec<usize>, IngestBatch)> = Vec::new();
    let mut open: std::collections::HashMap<OrgId, usize> = std::collections::HashMap::new();
    for (index, event) in events.into_iter().enumerate() {
        let filling = open.get(&event.org_id).copied();
        let message = match filling {
            Some(message) if messages[message].0.len() < MESSAGE_EVENTS_MAX => message,
            _ => {
                messages.push((Vec::new(), IngestBatch { events: Vec::new() }));
                open.insert(event.org_id.clone(), messages.len() - 1);
                messages.len() - 1
            }
        };
        messages[message].0.push(index);
        messages[message].1.events.push(event);
    }
    messages
}

/// Waits for the oldest message and adds what became of it to the report, with the places of the batch.
async fn settle(
    under_way: &mut VecDeque<(Vec<usize>, Reply<IngestReport>)>,
    report: &mut IngestReport,
) -> Result<(), Error> {
    let Some((indices, reply)) = under_way.pop_front() else { return Ok(()) };
    let settled = reply.await?;
    report.accepted += settled.accepted;
    report.duplicates.extend(settled.duplicates.into_iter().map(|index| indices[index]));
    report.rejected.extend(settled.rejected.into_iter().map(|mut rejected| {
        rejected.index = indices[rejected.index];
        rejected
    }));
    Ok(())
}
