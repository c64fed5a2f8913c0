//! Ingest and metrics.

use ionveil_actors::alerts::GetActiveAlerts;
use ionveil_actors::dispatch::{
    AggregatedMetric, DashboardSnapshot, DispatchEvent, GetDashboardSnapshot, GetMetric, GetWatermark, IngestReport,
    Instant, SetRetention,
};
use ionveil_actors::domain::{OrgId, Timestamp};
use ionveil_journal::Position;
use serde_json::json;

use super::ingest_stream::{IngestStream, Settled};
use crate::error::Error;
use crate::instance::IonVeil;

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
        let mut stream = self.ingest_stream();
        let mut report = IngestReport::default();
        for (index, event) in events.into_iter().enumerate() {
            stream.push(index, event);
            if stream.is_full() {
                add(&mut report, stream.settle().await?);
            }
        }
        stream.flush();
        while let Some(settled) = stream.settle().await? {
            add(&mut report, Some(settled));
        }
        report.duplicates.sort_unstable();
        report.rejected.sort_unstable_by_key(|rejected| rejected.index);
        Ok(report)
    }

    /// A stream of events for callers that have very many: bounded, and several messages under way at a time. `T` is a tag
    /// that comes back with what became of the event.
    pub fn ingest_stream<T>(&self) -> IngestStream<T> {
        IngestStream::new(&self.ionveil)
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

    /// As [`DispatchAggregator::get_metric`], on what was known at a position of the journal; beyond the head that is all.
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
        let question = GetDashboardSnapshot { org_id: org.clone(), as_of };
        let caller = || self.ionveil.caller.clone();
        let mut snapshot = self.ionveil.inner.dispatches.ask(org.as_str(), question, caller()).await?;
        let alerts = self.ionveil.inner.alerts.ask(org.as_str(), GetActiveAlerts::default(), caller()).await?;
        snapshot.alerts = alerts.iter().map(|alert| json!(alert)).collect();
        Ok(snapshot)
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
        let question = GetDashboardSnapshot { org_id: org.clone(), as_of };
        let caller = || self.ionveil.caller.clone();
        let mut snapshot = self.ionveil.inner.dispatches.ask_at(org.as_str(), position, question, caller()).await?;
        let open = GetActiveAlerts::default();
        let alerts = self.ionveil.inner.alerts.ask_at(org.as_str(), position, open, caller()).await?;
        snapshot.alerts = alerts.iter().map(|alert| json!(alert)).collect();
        Ok(snapshot)
    }

    /// The time of the org's latest accepted event; `None` before the first.
    ///
    /// # Errors
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn get_watermark(&self, org: &OrgId) -> Result<Option<Timestamp>, Error> {
        Ok(self.ionveil.inner.dispatches.ask(org.as_str(), GetWatermark, self.ionveil.caller.clone()).await?)
    }
}

/// Adds what became of one message to the report of its batch; its tags are the places in the batch.
fn add(report: &mut IngestReport, settled: Option<Settled<usize>>) {
    let Some(Settled { tags, report: message }) = settled else { return };
    report.accepted += message.accepted;
    report.duplicates.extend(message.duplicates.into_iter().map(|index| tags[index]));
    report.rejected.extend(message.rejected.into_iter().map(|mut rejected| {
        rejected.index = tags[rejected.index];
        rejected
    }));
}
