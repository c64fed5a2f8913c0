//! IonVeil watches over emergency dispatch: one event-sourced actor system, embedded in a host.
//!
//! [`IonVeil`] is the way in: open it with a [`Config`], take a service object from it, drive its futures with any
//! executor (or use [`blocking`], which needs none), and shut it down. Everything that changes is an event in a journal
//! on disk before anybody is told of it; [`Audit`] reads and verifies that journal.
//!
//! ```
//! use ionveil::{Config, DispatchEvent, IonVeil};
//! use ionveil::dispatch::{AggregationType, GetMetric, Metric};
//! use ionveil::domain::TimeWindow;
//!
//! let ionveil = IonVeil::open(Config::in_memory())?; // or Config::at("ionveil-data") for one that lasts
//! let aggregator = ionveil::blocking::DispatchAggregator::new(&ionveil);
//! let org = "sffd".parse()?;
//! aggregator.ingest_event(DispatchEvent::from_json(&serde_json::json!({
//!     "event_id": "e-1", "org_id": "sffd", "dispatch_id": "d-1", "timestamp": "2002-01-11T01:51:44Z",
//!     "severity": 4, "response_time_minutes": 2.95, "distance_km": 1.2, "region": "B04", "unit_type": "TRUCK",
//! }))?)?;
//! let mut question = GetMetric::new(Metric::ResponseTime, TimeWindow::Hour1, AggregationType::Average);
//! question.end = Some(ionveil::dispatch::Instant::Latest);
//! let answer = aggregator.get_metric(&org, question)?;
//! assert_eq!(answer[0].value, Some(2.95));
//! # Ok::<(), ionveil::Error>(())
//! ```

pub mod blocking;
pub mod channels;
pub mod export;
pub mod field;
pub mod ingest;

mod api;
mod contracts;
mod error;
mod instance;
mod sender;
mod simulation_pool;
mod updates;

pub use api::{
    AlertSuppressionManager, AnalyzeTrend, Audit, AuditEntries, AuditEntry, AuditFilter, DetectAnomalies,
    DispatchAggregator, EscalationManager, Explanation, FieldPerformance, GeographicBreakdown, IncidentCheck,
    IngestStream, Ingested, JournalHead, JournalStat, NotificationOutbox, PolicyEngine, PolicySimulator, Settled,
    SimulationRequest, SlaMonitorService, Span, StreamEntry, TrendAnalyzer, Verification, verify_data,
};
pub use contracts::{ServiceContract, ServiceRegistry};
pub use error::Error;
pub use instance::{Config, IonVeil};
pub use updates::{BUFFERED_UPDATES_MAX, MetricUpdate, MetricUpdates, Update};
/// Places in the journal, and its hashes.
pub mod journal {
    pub use ionveil_journal::{Hash, Position, Sequence, StreamId, StreamKind};
}
/// Incidents, alerts and suppressions: messages and answers.
pub use ionveil_actors::alerts;
/// The dispatch analytics' messages and answers.
pub use ionveil_actors::dispatch;
pub use ionveil_actors::dispatch::DispatchEvent;
/// Values that several services share.
pub use ionveil_actors::domain;
pub use ionveil_actors::error::{Error as ServiceError, Invalid, Kind};
/// Escalation policies.
pub use ionveil_actors::escalation;
/// Messages of alerts.
pub use ionveil_actors::notification;
/// Live policies' messages and answers, and the state machine itself.
pub use ionveil_actors::policy;
pub use ionveil_actors::policy::{PolicyScenario, ScenarioBuilder};
/// Alert rules.
pub use ionveil_actors::rules;
/// The runtime underneath: clocks, limits, registries, for hosts that send messages themselves.
pub use ionveil_actors::runtime;
/// Simulations: patterns, runs, comparison, and the messages and answers behind them.
pub use ionveil_actors::simulation;
pub use ionveil_actors::simulation::{FailurePattern, FailurePatternGenerator, SimulationResult, SimulationStatus};
