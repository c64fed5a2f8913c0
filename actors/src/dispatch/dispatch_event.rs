//! What an embedder, a file or a wire hands in: one dispatch, not yet checked.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::METADATA_DEPTH_MAX;
use crate::domain::{OrgId, Severity, Timestamp, check_id, check_label};
use crate::error::Invalid;

/// What is happening with a dispatch. Only closed ones are measured; the others are counted in the snapshot.
///
/// The order is that of precedence at equal instants: closed over active over pending.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waiting for a unit.
    Pending,
    /// A unit is on it.
    Active,
    /// Over: its measures are final.
    #[default]
    Closed,
}

impl Status {
    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Active => "active",
            Status::Closed => "closed",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        [Status::Pending, Status::Active, Status::Closed]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| Invalid::new("status", format_args!("{text:?}"), "pending, active, closed"))
    }
}

/// One dispatch as it is reported. Any value may stand in any field; [`DispatchEvent::check`] says whether it is accepted.
///
/// ```
/// use ionveil_actors::dispatch::DispatchEvent;
/// let event = DispatchEvent::from_json(&serde_json::json!({
///     "event_id": "e-1", "org_id": "sffd", "dispatch_id": "d-1", "timestamp": "2002-01-11T01:51:44Z",
///     "severity": 4, "response_time_minutes": 2.95, "distance_km": 1.2, "region": "B04", "unit_type": "TRUCK",
/// }))?;
/// event.check()?;
/// assert!(event.sla_met());
/// # Ok::<(), ionveil_actors::error::Invalid>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DispatchEvent {
    /// Counted once per org; 1–128 characters, no control characters, no `/`.
    pub event_id: String,
    /// The organisation.
    pub org_id: OrgId,
    /// The dispatch; several events may report on one. As `event_id`.
    pub dispatch_id: String,
    /// When it happened.
    pub timestamp: Timestamp,
    /// 1–5, 5 is worst.
    pub severity: i64,
    /// Minutes, finite, ≥ 0.
    pub response_time_minutes: f64,
    /// Kilometres, finite, ≥ 0.
    pub distance_km: f64,
    /// 1–128 characters, no control characters.
    pub region: String,
    /// 1–128 characters, no control characters.
    pub unit_type: String,
    /// Whether the target was met; when left out, response time ≤ the severity's target decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sla_met: Option<bool>,
    /// Anything else worth keeping. Stored, not interpreted.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
    /// WGS 84 degrees, −90 to 90; with `longitude` or not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    /// WGS 84 degrees, −180 to 180; with `latitude` or not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
    /// Defaults to closed.
    pub status: Status,
}

impl DispatchEvent {
    /// Checks every field, in the order of the struct.
    ///
    /// # Errors
    /// Names the first field that is out of range, its value and the range.
    pub fn check(&self) -> Result<(), Invalid> {
        check_id("event_id", &self.event_id)?;
        check_id("dispatch_id", &self.dispatch_id)?;
        Severity::new(self.severity)?;
        check_range("response_time_minutes", self.response_time_minutes, 0.0, f64::MAX)?;
        check_range("distance_km", self.distance_km, 0.0, f64::MAX)?;
        check_label("region", &self.region)?;
        check_label("unit_type", &self.unit_type)?;
        if self.metadata.values().any(|value| is_deeper_than(METADATA_DEPTH_MAX, value)) {
            let allowed = format!("nested at most {METADATA_DEPTH_MAX} deep");
            return Err(Invalid::new("metadata", "nested deeper", allowed));
        }
        match (self.latitude, self.longitude) {
            (None, None) => Ok(()),
            (Some(latitude), Some(longitude)) => {
                check_range("latitude", latitude, -90.0, 90.0)?;
                check_range("longitude", longitude, -180.0, 180.0)
            }
            (Some(_), None) => Err(Invalid::new("longitude", "missing", "given whenever latitude is")),
            (None, Some(_)) => Err(Invalid::new("latitude", "missing", "given whenever longitude is")),
        }
    }

    /// Whether the target was met: as reported, else by the response time and the severity's target.
    /// A severity out of range meets nothing.
    pub fn sla_met(&self) -> bool {
        self.sla_met.unwrap_or_else(|| {
            Severity::new(self.severity)
                .is_ok_and(|severity| self.response_time_minutes <= f64::from(severity.sla_minutes()))
        })
    }

    /// Reads an event from a JSON object. Names that are not fields are ignored; ranges are left to [`DispatchEvent::check`].
    ///
    /// # Errors
    /// Names the first field that is missing or not of its type.
    pub fn from_json(value: &Value) -> Result<Self, Invalid> {
        let Value::Object(object) = value else {
            return Err(Invalid::new("event", value, "a JSON object"));
        };
        let fields = Fields(object);
        Ok(DispatchEvent {
            event_id: fields.text("event_id")?,
            org_id: fields.text("org_id")?.parse()?,
            dispatch_id: fields.text("dispatch_id")?,
            timestamp: fields.text("timestamp")?.parse()?,
            severity: fields.required("severity", "an integer, 1 to 5 (5 is worst)", Value::as_i64)?,
            response_time_minutes: fields.required("response_time_minutes", "a number ≥ 0", Value::as_f64)?,
            distance_km: fields.required("distance_km", "a number ≥ 0", Value::as_f64)?,
            region: fields.text("region")?,
            unit_type: fields.text("unit_type")?,
            sla_met: fields.optional("sla_met", "true or false", Value::as_bool)?,
            metadata: fields
                .optional("metadata", "a JSON object", |value| value.as_object().cloned())?
                .unwrap_or_default(),
            latitude: fields.optional("latitude", "a number, -90 to 90", Value::as_f64)?,
            longitude: fields.optional("longitude", "a number, -180 to 180", Value::as_f64)?,
            status: match fields.optional("status", "pending, active, closed", |v| v.as_str().map(str::to_owned))? {
                Some(name) => name.parse()?,
                None => Status::default(),
            },
        })
    }
}

/// Whether a value has more than `levels` levels; looks no deeper than that.
fn is_deeper_than(levels: usize, value: &Value) -> bool {
    let deeper = |value: &Value| match levels {
        0 => true,
        _ => is_deeper_than(levels - 1, value),
    };
    match value {
        Value::Array(values) => values.iter().any(deeper),
        Value::Object(members) => members.values().any(deeper),
        _ => false,
    }
}

fn check_range(field: &str, value: f64, min: f64, max: f64) -> Result<(), Invalid> {
    if value.is_finite() && (min..=max).contains(&value) {
        return Ok(());
    }
    let allowed =
        if max == f64::MAX { format!("a finite number ≥ {min}") } else { format!("a finite number, {min} to {max}") };
    Err(Invalid::new(field, value, allowed))
}

/// The members of one JSON object, read with errors that name the member.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn optional<T>(&self, name: &str, allowed: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Option<T>, Invalid> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| Invalid::new(name, value, allowed)),
        }
    }

    fn required<T>(&self, name: &str, allowed: &str, read: impl Fn(&Value) -> Option<T>) -> Result<T, Invalid> {
        self.optional(name, allowed, read)?.ok_or_else(|| Invalid::new(name, "missing", allowed))
    }

    fn text(&self, name: &str) -> Result<String, Invalid> {
        self.required(name, "a string", |value| value.as_str().map(str::to_owned))
    }
}
