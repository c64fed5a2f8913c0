//! How the columns of a CSV file become dispatch events, as a TOML file says it.
//!
//! A field of the event is had from a column, or is the same in every row; a column may name what stands in for it in
//! rows without a value. `examples/sf-fire-calls.toml` shows every form.
//!
//! | file | answers |
//! | --- | --- |
//! | `file.rs` | which keys may stand in the TOML file |
//! | `compile.rs` | what is wrong with one, and how it becomes a mapping |
//! | `document.rs` | where in the file that is |
//! | `rule.rs` | which column a field is taken from in this row |
//! | `value.rs` `instant.rs` | how the text of a column becomes a value |

mod compile;
mod document;
mod file;
mod instant;
mod rule;
#[cfg(test)]
mod tests;
mod value;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use csv::ByteRecord;
use ionveil_actors::dispatch::{DispatchEvent, Status};
use ionveil_actors::domain::OrgId;
use ionveil_actors::error::Invalid;
use serde_json::{Map, Value};

use self::instant::Instant;
use self::rule::{Columns, Fields, Rule, Slot};
use self::value::{Number, Pair, SeverityCode, StatusCode, Target, TargetCode, Text};
use super::error::{Error, FieldError};
use crate::field::{Moment, UNIT_ID};

/// Largest mapping file.
const MAPPING_BYTES_MAX: u64 = 1 << 20;

/// A checked mapping: it says for each field of a [`DispatchEvent`] how it is had from a CSV file.
#[derive(Debug, Clone)]
pub struct Mapping {
    columns: Columns,
    event_id: Rule<Text>,
    dispatch_id: Rule<Text>,
    timestamp: Rule<Instant>,
    severity: Rule<SeverityCode>,
    response_time_minutes: Rule<Number>,
    distance_km: Rule<Number>,
    region: Rule<Text>,
    unit_type: Rule<Text>,
    sla_met: Option<Rule<TargetCode>>,
    location: Option<Location>,
    status: Option<Rule<StatusCode>>,
    metadata: Vec<Slot>,
    unit_id: Option<Rule<Text>>,
    times: Vec<(Moment, Rule<Instant>)>,
}

/// Where degrees come from.
#[derive(Debug, Clone)]
struct Location {
    /// Latitude and longitude, each in a column of its own.
    apart: Option<(Slot, Slot)>,
    /// Both in one field; asked when there are no columns apart, or no values in them.
    together: Rule<Pair>,
}

impl Mapping {
    /// Reads and checks a mapping file.
    ///
    /// # Errors
    /// When the file cannot be read, or as [`Mapping::parse`].
    pub fn load(path: &Path) -> Result<Mapping, Error> {
        let name = path.display().to_string();
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAPPING_BYTES_MAX + 1).read_to_end(&mut bytes))
            .map_err(|source| Error::open("mapping", name.clone(), source))?;
        if bytes.len() as u64 > MAPPING_BYTES_MAX {
            return Err(Error::TooLarge { name, bytes_max: MAPPING_BYTES_MAX });
        }
        let text = String::from_utf8(bytes).map_err(|error| document::not_utf8(&name, &error))?;
        Mapping::parse(&name, &text)
    }

    /// Checks the text of a mapping file; `name` is what errors call it.
    ///
    /// # Errors
    /// [`Error::BadMapping`] names line, column, key, value and what is allowed: when the text is not TOML, a key is
    /// unknown, a required one is missing, or a value cannot be meant.
    pub fn parse(name: &str, text: &str) -> Result<Mapping, Error> {
        Ok(compile::mapping(name, text)?)
    }

    /// The column that a field of the event is taken from first; `None` for a constant, and for what is no field.
    pub fn column_of(&self, field: &str) -> Option<&str> {
        let slot = match field {
            "event_id" => self.event_id.first_column(),
            "dispatch_id" => self.dispatch_id.first_column(),
            "timestamp" => self.timestamp.first_column(),
            "severity" => self.severity.first_column(),
            "response_time_minutes" => self.response_time_minutes.first_column(),
            "distance_km" => self.distance_km.first_column(),
            "region" => self.region.first_column(),
            "unit_type" => self.unit_type.first_column(),
            "sla_met" => self.sla_met.as_ref()?.first_column(),
            "status" => self.status.as_ref()?.first_column(),
            "latitude" => self.location.as_ref()?.column(|(latitude, _)| latitude),
            "longitude" => self.location.as_ref()?.column(|(_, longitude)| longitude),
            _ => None,
        };
        slot.map(|slot| self.columns.name(slot))
    }

    /// Finds the columns in the header of a file; `file` is what errors call it. Spaces around a name do not count.
    ///
    /// # Errors
    /// [`Error::Header`] when a column is missing or two have its name.
    pub fn bind(&self, header: &ByteRecord, file: &str) -> Result<BoundMapping<'_>, Error> {
        let indices =
            self.columns.find_in(header).map_err(|invalid| Error::Header { name: file.to_owned(), invalid })?;
        Ok(BoundMapping { mapping: self, indices, width: header.len() })
    }
}

/// A mapping and where its columns are in one file.
#[derive(Debug, Clone)]
pub struct BoundMapping<'m> {
    mapping: &'m Mapping,
    indices: Vec<usize>,
    width: usize,
}

impl BoundMapping<'_> {
    /// Columns in the file's header: a row has as many fields.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Turns one row into an event of `org`. Ranges are not checked, see [`DispatchEvent::check`].
    ///
    /// # Errors
    /// Names the first field, in the order of [`DispatchEvent`], that the row does not yield, and the column.
    pub fn event(&self, record: &ByteRecord, org: &OrgId) -> Result<DispatchEvent, FieldError> {
        if record.len() != self.width {
            let (met, allowed) = (record.len(), self.width);
            return Err(
                Invalid::new("row", format_args!("{met} fields"), format!("{allowed} fields, as the header")).into()
            );
        }
        let mapping = self.mapping;
        let fields = Fields { columns: &mapping.columns, indices: &self.indices, record };
        let event_id = mapping.event_id.value(&fields)?;
        let dispatch_id = mapping.dispatch_id.value(&fields)?;
        let timestamp = mapping.timestamp.value(&fields)?;
        let severity = mapping.severity.value(&fields)?;
        let response_time_minutes = mapping.response_time_minutes.value(&fields)?;
        let distance_km = mapping.distance_km.value(&fields)?;
        let region = mapping.region.value(&fields)?;
        let unit_type = mapping.unit_type.value(&fields)?;
        let sla_met = match &mapping.sla_met {
            Some(rule) => rule.value(&fields)?.map(|target| match target {
                Target::Met(met) => met,
                Target::Minutes(allowed) => response_time_minutes <= allowed,
            }),
            None => None,
        };
        let mut metadata = metadata(&mapping.metadata, &fields)?;
        if let Some(unit_id) = mapping.unit_id.as_ref().map(|rule| rule.value_if_any(&fields)).transpose()?.flatten() {
            metadata.insert(UNIT_ID.to_owned(), Value::from(unit_id));
        }
        for (moment, rule) in &mapping.times {
            if let Some(at) = rule.value_if_any(&fields)? {
                metadata.insert(moment.as_str().to_owned(), Value::from(at.to_string()));
            }
        }
        let degrees = match &mapping.location {
            Some(location) => location.value(&fields)?,
            None => None,
        };
        let status = match &mapping.status {
            Some(rule) => rule.value(&fields)?,
            None => Status::default(),
        };
        Ok(DispatchEvent {
            event_id,
            org_id: org.clone(),
            dispatch_id,
            timestamp,
            severity,
            response_time_minutes,
            distance_km,
            region,
            unit_type,
            sla_met,
            metadata,
            latitude: degrees.map(|(latitude, _)| latitude),
            longitude: degrees.map(|(_, longitude)| longitude),
            status,
        })
    }
}

impl Location {
    fn column(&self, of: fn((Slot, Slot)) -> Slot) -> Option<Slot> {
        self.apart.map(of).or_else(|| self.together.first_column())
    }

    fn value(&self, fields: &Fields<'_>) -> Result<Option<(f64, f64)>, FieldError> {
        let Some((latitude, longitude)) = self.apart else { return self.together.value(fields) };
        let number = |field, slot| match fields.text(slot, field)? {
            Some(text) => fields.read(&Number, slot, field, text).map(Some),
            None => Ok(None),
        };
        match (number("latitude", latitude)?, number("longitude", longitude)?) {
            (Some(latitude), Some(longitude)) => Ok(Some((latitude, longitude))),
            (None, None) => self.together.value(fields),
            (Some(_), None) => Err(fields.missing("longitude", longitude, "a number, as there is a latitude")),
            (None, Some(_)) => Err(fields.missing("latitude", latitude, "a number, as there is a longitude")),
        }
    }
}

/// The values that are there, as strings under the names of their columns.
fn metadata(slots: &[Slot], fields: &Fields<'_>) -> Result<Map<String, Value>, FieldError> {
    let mut metadata = Map::new();
    for &slot in slots {
        if let Some(text) = fields.text(slot, "metadata")? {
            metadata.insert(fields.columns.name(slot).to_owned(), Value::from(text));
        }
    }
    Ok(metadata)
}
