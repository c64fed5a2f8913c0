//! The service objects, one file each. Every method is one message to one entity, or one reading of the journal.

mod alert_suppression_manager;
mod audit;
mod audit_entries;
mod dispatch_aggregator;
mod escalation_manager;
mod field_performance;
mod geographic_breakdown;
mod ingest_stream;
mod known;
mod notification_outbox;
mod policy_engine;
mod policy_simulator;
mod sla_monitor_service;
mod sweep;
mod trend_analyzer;
mod window_judging;

pub use alert_suppression_manager::AlertSuppressionManager;
pub(crate) use audit::SYSTEM;
pub use audit::{Audit, AuditEntry, AuditFilter, JournalHead, JournalStat, StreamEntry, Verification, verify_data};
pub use audit_entries::AuditEntries;
pub use dispatch_aggregator::{DispatchAggregator, Ingested};
pub use escalation_manager::EscalationManager;
pub use field_performance::{FieldPerformance, Span};
pub use geographic_breakdown::GeographicBreakdown;
pub use ingest_stream::{IngestStream, Settled};
pub(crate) use known::KnownCache;
pub use notification_outbox::NotificationOutbox;
pub use policy_engine::PolicyEngine;
pub(crate) use policy_simulator::resume_interrupted;
pub use policy_simulator::{PolicySimulator, SimulationRequest};
pub use sla_monitor_service::{Explanation, IncidentCheck, SlaMonitorService};
pub(crate) use sweep::Sweeper;
pub use trend_analyzer::{AnalyzeTrend, DetectAnomalies, TrendAnalyzer};
pub(crate) use window_judging::Judges;
