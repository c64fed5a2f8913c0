//! The service objects, one file each. Every method is one message to one entity, or one reading of the journal.

mod audit;
mod dispatch_aggregator;
mod field_performance;
mod geographic_breakdown;
mod ingest_stream;
mod policy_engine;
mod policy_simulator;
mod trend_analyzer;

pub(crate) use audit::SYSTEM;
pub use audit::{Audit, AuditEntry, AuditFilter, JournalHead, JournalStat, StreamEntry, Verification, verify_data};
pub use dispatch_aggregator::{DispatchAggregator, Ingested};
pub use field_performance::{FieldPerformance, Span};
pub use geographic_breakdown::GeographicBreakdown;
pub use ingest_stream::{IngestStream, Settled};
pub use policy_engine::PolicyEngine;
pub(crate) use policy_simulator::resume_interrupted;
pub use policy_simulator::{PolicySimulator, SimulationRequest};
pub use trend_analyzer::{AnalyzeTrend, DetectAnomalies, TrendAnalyzer};
