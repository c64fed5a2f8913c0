//! The service objects without async: each call waits for its answer. For hosts without an executor, and for scripts.
//!
//! Do not call from inside an async task; there the services themselves are at hand.

mod alerts;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ionveil_actors::dispatch::{
    AggregatedMetric, Anomaly, DashboardSnapshot, DimensionsInUse, DispatchEvent, GetMetric, GridSize, Heatmap,
    HeatmapCell, IngestReport, Instant, Metric, RegionOnMap, RegionSummary, TrendAnalysis,
};
use ionveil_actors::domain::{OrgId, Timestamp};
use ionveil_actors::policy::metadata::PolicyMetadata;
use ionveil_actors::policy::{PolicyScenario, PolicyView, Recorded, Transition};
use ionveil_actors::simulation::{
    BurstFit, CounterfactualReport, FailurePattern, MonteCarlo, MonteCarloReport, PatternSource, Recommendation,
    SimulationResult, SimulationStatus, SweepEntry, SweepGrid, Weights,
};
use ionveil_journal::{Hash, Position, StreamId};
use pollster::block_on;
use uuid::Uuid;

use crate::api::{
    self, AnalyzeTrend, AuditEntry, AuditFilter, DetectAnomalies, Ingested, JournalStat, SimulationRequest, Span,
    StreamEntry, Verification,
};
use crate::error::Error;
use crate::field::{ComplianceReport, GroupBy, StaffedHours, Standard, UtilisationReport};
use crate::instance::IonVeil;
use crate::updates::{self, Update};

pub use alerts::{AlertSuppressionManager, EscalationManager, NotificationOutbox, SlaMonitorService};

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

    #[must_use]
    pub fn with_command_id(&self, command_id: Uuid) -> Self {
        DispatchAggregator(self.0.with_command_id(command_id))
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

    pub fn get_buffer_size(&self) -> Result<usize, Error> {
        self.0.get_buffer_size()
    }

    pub fn flush(&self) -> Result<usize, Error> {
        block_on(self.0.flush())
    }

    pub fn subscribe_to_updates(&self, org: &OrgId, metrics: &[Metric]) -> Result<MetricUpdates, Error> {
        block_on(self.0.subscribe_to_updates(org, metrics)).map(MetricUpdates)
    }

    pub fn resume_updates(&self, org: &OrgId, metrics: &[Metric], position: Position) -> Result<MetricUpdates, Error> {
        block_on(self.0.resume_updates(org, metrics, position)).map(MetricUpdates)
    }

    pub fn set_dimension_limit(&self, org: &OrgId, values_max: u32) -> Result<bool, Error> {
        block_on(self.0.set_dimension_limit(org, values_max))
    }

    pub fn get_dimensions(&self, org: &OrgId) -> Result<DimensionsInUse, Error> {
        block_on(self.0.get_dimensions(org))
    }

    pub fn get_watermark(&self, org: &OrgId) -> Result<Option<Timestamp>, Error> {
        block_on(self.0.get_watermark(org))
    }
}

/// The updates of a subscription, one after the other; each call waits for the next. Ends when IonVeil shuts down.
pub struct MetricUpdates(updates::MetricUpdates);

impl MetricUpdates {
    /// As [`updates::MetricUpdates::position`].
    pub fn position(&self) -> Position {
        self.0.position()
    }
}

impl Iterator for MetricUpdates {
    type Item = Update;

    fn next(&mut self) -> Option<Update> {
        block_on(self.0.next())
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

    pub fn get_region_map(
        &self,
        org: &OrgId,
        start: Option<Instant>,
        end: Option<Instant>,
    ) -> Result<Vec<RegionOnMap>, Error> {
        block_on(self.0.get_region_map(org, start, end))
    }

    pub fn get_heatmap_data(&self, org: &OrgId, metric: Metric, grid: GridSize) -> Result<Vec<HeatmapCell>, Error> {
        block_on(self.0.get_heatmap_data(org, metric, grid))
    }

    pub fn get_heatmap(&self, org: &OrgId, metric: Metric, grid: GridSize) -> Result<Heatmap, Error> {
        block_on(self.0.get_heatmap(org, metric, grid))
    }
}

/// As [`api::TrendAnalyzer`], whose documentation holds here.
#[derive(Clone)]
pub struct TrendAnalyzer(api::TrendAnalyzer);

#[allow(missing_docs, reason = "each method is documented on the service of the same name")]
#[allow(clippy::missing_errors_doc)]
impl TrendAnalyzer {
    pub fn new(ionveil: &IonVeil) -> Self {
        TrendAnalyzer(api::TrendAnalyzer::new(ionveil))
    }

    pub fn analyze_trend(&self, org: &OrgId, question: AnalyzeTrend) -> Result<TrendAnalysis, Error> {
        block_on(self.0.analyze_trend(org, question))
    }

    pub fn detect_anomalies(&self, org: &OrgId, question: DetectAnomalies) -> Result<Vec<Anomaly>, Error> {
        block_on(self.0.detect_anomalies(org, question))
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

    pub fn subscribe(&self, filter: AuditFilter, after: u64) -> Result<AuditEntries, Error> {
        self.0.subscribe(filter, after).map(AuditEntries)
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

/// The entries of a subscription, one after the other; each call waits for the next. Ends when IonVeil shuts down.
pub struct AuditEntries(api::AuditEntries);

impl Iterator for AuditEntries {
    type Item = Result<AuditEntry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        block_on(self.0.next())
    }
}

/// As [`api::PolicyEngine`], whose documentation holds here.
#[derive(Clone)]
pub struct PolicyEngine(api::PolicyEngine);

#[allow(missing_docs, reason = "each method is documented on the service of the same name")]
#[allow(clippy::missing_errors_doc)]
impl PolicyEngine {
    pub fn new(ionveil: &IonVeil) -> Self {
        PolicyEngine(api::PolicyEngine::new(ionveil))
    }

    #[must_use]
    pub fn with_command_id(self, command_id: Uuid) -> Self {
        PolicyEngine(self.0.with_command_id(command_id))
    }

    #[must_use]
    pub fn at(self, at: Timestamp) -> Self {
        PolicyEngine(self.0.at(at))
    }

    pub fn current(&self, org: &OrgId) -> Result<Arc<str>, Error> {
        block_on(self.0.current(org))
    }

    pub fn record_success(&self, org: &OrgId) -> Result<Recorded, Error> {
        block_on(self.0.record_success(org))
    }

    pub fn record_failure(&self, org: &OrgId) -> Result<Recorded, Error> {
        block_on(self.0.record_failure(org))
    }

    pub fn record(&self, org: &OrgId, is_success: bool, count: u64) -> Result<Recorded, Error> {
        block_on(self.0.record(org, is_success, count))
    }

    pub fn record_batch(&self, org: &OrgId, outcomes: &[(Timestamp, bool)]) -> Result<Recorded, Error> {
        block_on(self.0.record_batch(org, outcomes))
    }

    pub fn import(&self, org: &OrgId, outcomes: &[(Timestamp, bool)]) -> Result<Recorded, Error> {
        block_on(self.0.import(org, outcomes))
    }

    pub fn escalate(&self, org: &OrgId, user: &str, reason: &str) -> Result<Transition, Error> {
        block_on(self.0.escalate(org, user, reason))
    }

    pub fn deescalate(&self, org: &OrgId, user: &str, reason: &str) -> Result<Transition, Error> {
        block_on(self.0.deescalate(org, user, reason))
    }

    pub fn reset(&self, org: &OrgId, user: &str, reason: &str) -> Result<Transition, Error> {
        block_on(self.0.reset(org, user, reason))
    }

    pub fn configure(&self, org: &OrgId, scenario: PolicyScenario) -> Result<bool, Error> {
        block_on(self.0.configure(org, scenario))
    }

    pub fn history(&self, org: &OrgId) -> Result<Vec<Transition>, Error> {
        block_on(self.0.history(org))
    }

    pub fn get(&self, org: &OrgId) -> Result<PolicyView, Error> {
        block_on(self.0.get(org))
    }

    pub fn get_at(&self, org: &OrgId, position: Position) -> Result<PolicyView, Error> {
        block_on(self.0.get_at(org, position))
    }

    pub fn last_instant(&self, org: &OrgId) -> Result<Option<Timestamp>, Error> {
        block_on(self.0.last_instant(org))
    }

    pub fn metadata(&self, org: &OrgId) -> Result<Option<&'static PolicyMetadata>, Error> {
        block_on(self.0.metadata(org))
    }
}

/// As [`api::PolicySimulator`], whose documentation holds here.
#[derive(Clone)]
pub struct PolicySimulator(api::PolicySimulator);

#[allow(missing_docs, reason = "each method is documented on the service of the same name")]
#[allow(clippy::missing_errors_doc)]
impl PolicySimulator {
    pub fn new(ionveil: &IonVeil) -> Self {
        PolicySimulator(api::PolicySimulator::new(ionveil))
    }

    #[must_use]
    pub fn with_command_id(&self, command_id: Uuid) -> Self {
        PolicySimulator(self.0.with_command_id(command_id))
    }

    pub fn create_simulation(&self, request: SimulationRequest) -> Result<String, Error> {
        block_on(self.0.create_simulation(request))
    }

    pub fn run_simulation(&self, simulation_id: &str) -> Result<SimulationResult, Error> {
        block_on(self.0.run_simulation(simulation_id))
    }

    pub fn get_simulation_status(&self, simulation_id: &str) -> Result<SimulationStatus, Error> {
        block_on(self.0.get_simulation_status(simulation_id))
    }

    pub fn get_simulation_result(&self, simulation_id: &str) -> Result<Option<SimulationResult>, Error> {
        block_on(self.0.get_simulation_result(simulation_id))
    }

    pub fn get_simulation_progress(&self, simulation_id: &str) -> Option<u64> {
        self.0.get_simulation_progress(simulation_id)
    }

    pub fn cancel_simulation(&self, simulation_id: &str) -> Result<bool, Error> {
        block_on(self.0.cancel_simulation(simulation_id))
    }

    pub fn compare_scenarios(
        &self,
        scenarios: Vec<PolicyScenario>,
        pattern: impl Into<PatternSource>,
        duration_seconds: u64,
    ) -> Result<BTreeMap<String, SimulationResult>, Error> {
        block_on(self.0.compare_scenarios(scenarios, pattern, duration_seconds))
    }

    pub fn generate_recommendation(
        &self,
        results: &[SimulationResult],
        weights: &Weights,
    ) -> Result<Recommendation, Error> {
        self.0.generate_recommendation(results, weights)
    }

    pub fn sweep(
        &self,
        grid: SweepGrid,
        pattern: impl Into<PatternSource>,
        duration_seconds: u64,
        holdout: Option<f64>,
        weights: Weights,
    ) -> Result<Vec<SweepEntry>, Error> {
        block_on(self.0.sweep(grid, pattern, duration_seconds, holdout, weights))
    }

    pub fn monte_carlo(&self, asked: MonteCarlo) -> Result<MonteCarloReport, Error> {
        block_on(self.0.monte_carlo(asked))
    }

    pub fn fit(&self, pattern: impl Into<PatternSource>) -> Result<BurstFit, Error> {
        block_on(self.0.fit(pattern))
    }

    pub fn recorded_pattern(
        &self,
        org: &OrgId,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<FailurePattern, Error> {
        block_on(self.0.recorded_pattern(org, from, to))
    }

    pub fn counterfactual(
        &self,
        org: &OrgId,
        scenario: &PolicyScenario,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<CounterfactualReport, Error> {
        block_on(self.0.counterfactual(org, scenario, from, to))
    }
}
