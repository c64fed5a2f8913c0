//! What can have happened to an org's dispatches, as it is stored. Catalogue: `docs/events.md`.

use ionveil_journal::codec::{self, DecodeError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::METADATA_BYTES_MAX;
use super::dispatch_event::{DispatchEvent, Status};
use crate::domain::{Severity, Timestamp};
use crate::error::Invalid;
use crate::runtime;

/// An event of a `dispatch/{org}` stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A dispatch was accepted.
    Recorded(DispatchRecorded),
    /// How long dispatches are kept was changed.
    RetentionSet(RetentionSet),
    /// How many values of a dimension are told apart was changed.
    DimensionLimitSet(DimensionLimitSet),
}

/// `dispatch-recorded`, version 1: a dispatch that was checked and counted. The org is the stream's id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DispatchRecorded {
    /// Unique in the org within retention.
    pub event_id: String,
    /// The dispatch it reports on.
    pub dispatch_id: String,
    /// When it happened.
    pub timestamp: Timestamp,
    /// 1–5, 5 is worst.
    pub severity: Severity,
    /// Minutes, finite, ≥ 0.
    pub response_time_minutes: f64,
    /// Kilometres, finite, ≥ 0.
    pub distance_km: f64,
    /// 1–128 characters.
    pub region: String,
    /// 1–128 characters.
    pub unit_type: String,
    /// Whether the target was met, as reported or as derived when it was recorded.
    pub sla_met: bool,
    /// Where it stood.
    pub status: Status,
    /// Latitude and longitude, WGS 84 degrees.
    pub location: Option<(f64, f64)>,
    /// A JSON object as text; bincode cannot read back what describes itself.
    pub metadata: Option<String>,
}

impl DispatchRecorded {
    /// The event as it would be recorded, if every field is in range.
    pub(super) fn from_reported(event: DispatchEvent) -> Result<Self, Invalid> {
        event.check()?;
        let (severity, sla_met) = (Severity::new(event.severity)?, event.sla_met());
        let metadata = (!event.metadata.is_empty()).then(|| Value::Object(event.metadata).to_string());
        let metadata_bytes = metadata.as_ref().map_or(0, String::len);
        if metadata_bytes > METADATA_BYTES_MAX {
            let allowed = format!("at most {METADATA_BYTES_MAX} bytes as JSON");
            return Err(Invalid::new("metadata", format_args!("{metadata_bytes} bytes"), allowed));
        }
        Ok(DispatchRecorded {
            event_id: event.event_id,
            dispatch_id: event.dispatch_id,
            timestamp: event.timestamp,
            severity,
            // Adding 0 makes 0 of −0, so that which of the two is smaller never matters.
            response_time_minutes: event.response_time_minutes + 0.0,
            distance_km: event.distance_km + 0.0,
            region: event.region,
            unit_type: event.unit_type,
            sla_met,
            status: event.status,
            location: event.latitude.zip(event.longitude),
            metadata,
        })
    }
}

/// `retention-set`, version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionSet {
    /// Hours behind the latest event that are kept; 0 keeps everything.
    pub hours: u32,
}

/// `dimension-limit-set`, version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DimensionLimitSet {
    /// Most regions, and most unit types, that are told apart from now on.
    pub values_max: u32,
}

const RECORDED: &str = "dispatch-recorded";
const RETENTION_SET: &str = "retention-set";
const DIMENSION_LIMIT_SET: &str = "dimension-limit-set";

/// Every form that was ever released, the versions of a type in order; the last one is what is written. A form stays here
/// and readable for ever. Golden files: `actors/tests/fixtures/dispatch`.
pub const RELEASED: &[(&str, u16)] = &[(RECORDED, 1), (RETENTION_SET, 1), (DIMENSION_LIMIT_SET, 1)];

impl runtime::Event for Event {
    fn event_type(&self) -> &'static str {
        match self {
            Event::Recorded(_) => RECORDED,
            Event::RetentionSet(_) => RETENTION_SET,
            Event::DimensionLimitSet(_) => DIMENSION_LIMIT_SET,
        }
    }

    fn version(&self) -> u16 {
        1
    }

    fn encode(&self) -> Vec<u8> {
        match self {
            Event::Recorded(event) => codec::encode(event),
            Event::RetentionSet(event) => codec::encode(event),
            Event::DimensionLimitSet(event) => codec::encode(event),
        }
    }

    fn decode(event_type: &str, version: u16, codec: u8, payload: &[u8]) -> Result<Self, DecodeError> {
        match (event_type, version) {
            (RECORDED, 1) => codec::decode(codec, payload).map(Event::Recorded),
            (RETENTION_SET, 1) => codec::decode(codec, payload).map(Event::RetentionSet),
            (DIMENSION_LIMIT_SET, 1) => codec::decode(codec, payload).map(Event::DimensionLimitSet),
            _ => Err(DecodeError::UnknownType { event_type: event_type.to_owned(), version }),
        }
    }

    fn to_json(&self) -> Value {
        let json = match self {
            Event::RetentionSet(event) => serde_json::to_value(event),
            Event::DimensionLimitSet(event) => serde_json::to_value(event),
            Event::Recorded(event) => serde_json::to_value(event).map(|mut json| {
                // Kept as text in the journal, shown as the object it is.
                if let Some(metadata) = event.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok()) {
                    json["metadata"] = metadata;
                }
                json
            }),
        };
        json.expect("the fields of an event have string keys and finite numbers")
    }
}
