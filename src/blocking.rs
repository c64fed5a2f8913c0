//! The service objects without async: each call waits for its answer. For hosts without an executor, and for scripts.
//!
//! Do not call from inside an async task; there the services themselves are at hand.

use std::collections::BTreeMap;
use std::time::Duration;

use ionveil_actors::dispatch::{
    AggregatedMetric, DashboardSnapshot, DispatchEvent, GetMetric, IngestReport, Instant, RegionSummary,
};
use ionveil_actors::domain::{OrgId, Timestamp};
use ionveil_journal::{Hash, Position, StreamId};
use pollster::block_on;

use crate::api::{self, AuditEntry, AuditFilter, Ingested, JournalStat, Span, StreamEntry, Verification};
use crate::error::Error;
use crate::field::{ComplianceReport, GroupBy, StaffedHours, Standard, UtilisationReport};
use crate::instance::IonVeil;

/// As [`IonVeil::shutdown`].
pub fn shutdown(ionveil: &IonVeil, timeout: Duration) -> bool {
    block_on(ionveil.shutdown(timeout))
}

/// As [`api::DispatchAggregator`], whose documentation holds here.
#[derive(Clone)]
pub struct DispatchAggregator(api::DispatchAggregator);

#[allow(missing_docs, reason = "each method is documented on the service of the same name")]
#[allow(clippy::missing_errors_doc)]
impl DispatchAggregator {
    pub fn new(ionveil: &IonVeil) -> Self {
        DispatchAggregator(api::DispatchAggregator::new(ionveil))
    }

    pub fn ingest_event(&self, event: DispatchEvent) -> Result<Ingested, Error> {
        block_on(self.0.ingest_event(event))
    }

    pub fn ingest_batch(&self, events: Vec<DispatchEvent>) -> Result<IngestReport, Error> {
        block_on(self.0.ingest_batch(events))
    }

    pub fn set_retention(&self, org: &OrgId, hours: u32) -> Result<bool, Error> {
        block_on(self.0.set_retention(org, hours))
    }

    pub fn get_metric(&self, org: &OrgId, question: GetMetric) -> Result<Vec<AggregatedMetric>, Error> {
        block_on(self.0.get_metric(org, question))
    }

    pub fn get_metric_at(
        &self,
        org: &OrgId,
        position: Position,
        question: GetMetric,
    ) -> Result<Vec<AggregatedMetric>, Error> {
        block_on(self.0.get_metric_at(org, position, question))
    }

    pub fn get_dashboard_snapshot(&self, org: &OrgId, as_of: Option<Instant>) -> Result<DashboardSnapshot, Error> {
        block_on(self.0.get_dashboard_snapshot(org, as_of))
    }

    pub fn get_dashboard_snapshot_at(
        &self,
        org: &OrgId,
        position: Position,
        as_of: Option<Instant>,
    ) -> Result<DashboardSnapshot, Error> {
        block_on(self.0.get_dashboard_snapshot_at(org, position, as_of))
    }

    pub fn get_watermark(&self, org: &OrgId) -> Result<Option<Timestamp>, Error> {
        block_on(self.0.get_watermark(org))
    }
}

/// As [`api::GeographicBreakdown`], whose documentation holds here.
#[derive(Clone)]
pub struct GeographicBreakdown(api::GeographicBreakdown);

#[allow(missing_docs, reason = "each method is documented on the service of the same name")]
#[allow(clippy::missing_errors_doc)]
impl GeographicBreakdown {
    pub fn new(ionveil: &IonVeil) -> Self {
        GeographicBreakdown(api::GeographicBreakdown::new(ionveil))
    }

    pub fn get_regional_summary(
        &self,
        org: &OrgId,
        start: Option<Instant>,
        end: Option<Instant>,
    ) -> Result<BTreeMap<String, RegionSummary>, Error> {
        block_on(self.0.get_regional_summary(org, start, end))
    }
}

/// As [`api::FieldPerformance`], whose documentation holds here.
#[derive(Clone)]
pub struct FieldPerformance(api::FieldPerformance);

#[allow(missing_docs, reason = "each method is documented on the service of the same name")]
#[allow(clippy::missing_errors_doc)]
impl FieldPerformance {
    pub fn new(ionveil: &IonVeil) -> Self {
        FieldPerformance(api::FieldPerformance::new(ionveil))
    }

    pub fn compliance(
        &self,
        org: &OrgId,
        standard: Standard,
        by: GroupBy,
        span: Span,
    ) -> Result<ComplianceReport, Error> {
        block_on(self.0.compliance(org, standard, by, span))
    }

    pub fn utilisation(&self, org: &OrgId, staffed: StaffedHours, span: Span) -> Result<UtilisationReport, Error> {
        block_on(self.0.utilisation(org, staffed, span))
    }
}

/// As [`api::Audit`], whose documentation holds here.
#[derive(Clone)]
pub struct Audit(api::Audit);

#[allow(missing_docs, reason = "each method is documented on the service of the same name")]
#[allow(clippy::missing_errors_doc)]
impl Audit {
    pub fn new(ionveil: &IonVeil) -> Self {
        Audit(api::Audit::new(ionveil))
    }

    pub fn page(&self, filter: AuditFilter, after: u64) -> Result<Vec<AuditEntry>, Error> {
        block_on(self.0.page(filter, after))
    }

    pub fn streams(&self) -> Vec<StreamEntry> {
        self.0.streams()
    }

    pub fn stream_len(&self, stream: &StreamId) -> Result<u64, Error> {
        self.0.stream_len(stream)
    }

    pub fn stat(&self) -> JournalStat {
        self.0.stat()
    }

    pub fn verify(&self, expected: Option<Hash>) -> Result<Verification, Error> {
        block_on(self.0.verify(expected))
    }
}
