//! The service objects, one file each. Every method is one message to one entity, or one reading of the journal.

mod audit;
mod dispatch_aggregator;
mod field_performance;
mod geographic_breakdown;
mod ingest_stream;

pub(crate) use audit::SYSTEM;
pub use audit::{Audit, AuditEntry, AuditFilter, JournalHead, JournalStat, StreamEntry, Verification, verify_data};
pub use dispatch_aggregator::{DispatchAggregator, Ingested};
pub use field_performance::{FieldPerformance, Span};
pub use geographic_breakdown::GeographicBreakdown;
pub use ingest_stream::{IngestStream, Settled};
