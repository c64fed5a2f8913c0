//! Ingest and metrics.

use ionveil_actors::alerts::GetActiveAlerts;
use std::sync::Arc;

use ionveil_actors::dispatch::{
    AggregatedMetric, DashboardSnapshot, DimensionsInUse, DispatchEvent, GetDashboardSnapshot, GetDimensions,
    GetMetric, GetWatermark, IngestReport, Instant, Metric, SetDimensionLimit, SetRetention,
};
use ionveil_actors::domain::{OrgId, Timestamp};
use ionveil_journal::Position;
use serde_json::json;
use uuid::Uuid;

use super::ingest_stream::{IngestStream, Settled};
use crate::error::Error;
use crate::instance::IonVeil;
use crate::updates::MetricUpdates;

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

    /// The same, for one call that may be sent again under that id: [`IonVeil::with_command_id`].
    #[must_use]
    pub fn with_command_id(&self, command_id: Uuid) -> Self {
        DispatchAggregator { ionveil: self.ionveil.with_command_id(command_id) }
    }

    /// Counts one event. It is on disk when this returns.
    ///
    /// Takes a command id: sent again, it is accepted again instead of being a duplicate, and counted once either way.
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
    /// Takes a command id: sent again, the same batch gets the same report, and what a crash left out is done now. Of an org's
    /// batch of more than about a million events the first ones are duplicates then.
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
    /// Takes a command id.
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

    /// Events accepted since the last flush, of all orgs; 0 after a start. Reads the journal's latest events, so it may
    /// block for as long as a disk takes.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn get_buffer_size(&self) -> Result<usize, Error> {
        self.ionveil.inner.updates.buffered()
    }

    /// Tells subscribers now what changed since the last flush: one update per changed minute and metric. How many that
    /// makes, heard or not. Queries see every acknowledged event whether or not it was flushed.
    ///
    /// # Errors
    /// As every method; what could not be told is told with the next flush.
    pub async fn flush(&self) -> Result<usize, Error> {
        let updates = Arc::clone(&self.ionveil.inner.updates);
        apart(&self.ionveil, move || updates.flush()).await
    }

    /// Live updates of an org's metrics, from the next flush on. Who is too slow loses the oldest and is told how many.
    ///
    /// # Errors
    /// `invalid` when no metric is named.
    pub async fn subscribe_to_updates(&self, org: &OrgId, metrics: &[Metric]) -> Result<MetricUpdates, Error> {
        self.ionveil.inner.updates.subscribe(org, metrics, None)
    }

    /// As [`DispatchAggregator::subscribe_to_updates`], but first the present values of every minute that changed behind a
    /// position of the journal: that of the last update heard, or [`MetricUpdates::position`].
    ///
    /// # Errors
    /// As [`DispatchAggregator::subscribe_to_updates`], and when the journal cannot be read.
    pub async fn resume_updates(
        &self,
        org: &OrgId,
        metrics: &[Metric],
        position: Position,
    ) -> Result<MetricUpdates, Error> {
        let updates = Arc::clone(&self.ionveil.inner.updates);
        let (org, metrics) = (org.clone(), metrics.to_vec());
        apart(&self.ionveil, move || updates.subscribe(&org, &metrics, Some(position))).await
    }

    /// Sets how many regions, and how many unit types, of an org are told apart within retention, 10,000 by default; those
    /// beyond count as `__other__`. True when that is a change.
    ///
    /// Takes a command id.
    ///
    /// # Errors
    /// `invalid` when it is not 1 to 1,000,000.
    pub async fn set_dimension_limit(&self, org: &OrgId, values_max: u32) -> Result<bool, Error> {
        let command = SetDimensionLimit { values_max };
        Ok(self.ionveil.inner.dispatches.tell(org.as_str(), command, self.ionveil.caller.clone()).await?)
    }

    /// How many regions and unit types are told apart, and how many dispatches count as `__other__`.
    ///
    /// # Errors
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn get_dimensions(&self, org: &OrgId) -> Result<DimensionsInUse, Error> {
        Ok(self.ionveil.inner.dispatches.ask(org.as_str(), GetDimensions, self.ionveil.caller.clone()).await?)
    }

    /// The time of the org's latest accepted event; `None` before the first.
    ///
    /// # Errors
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn get_watermark(&self, org: &OrgId) -> Result<Option<Timestamp>, Error> {
        Ok(self.ionveil.inner.dispatches.ask(org.as_str(), GetWatermark, self.ionveil.caller.clone()).await?)
    }
}

/// Does work that may block on a thread apart.
async fn apart<R: Send + 'static>(
    ionveil: &IonVeil,
    work: impl FnOnce() -> Result<R, Error> + Send + 'static,
) -> Result<R, Error> {
    ionveil.inner.runtime.run_blocking(move || Ok(work())).await?
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
