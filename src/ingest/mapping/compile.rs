//! From the TOML file to a [`Mapping`], or to the place in it where something is wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use chrono_tz::Tz;
use ionveil_actors::dispatch::Status;
use ionveil_actors::domain::{Severity, Timestamp, check_id, check_label};
use ionveil_actors::error::Invalid;
use toml::Spanned;

use super::document::Document;
use super::file::{
    Entry, File, InstantEntry, LocationEntry, NumberEntry, SeverityEntry, StatusEntry, TargetEntry, TextEntry, Times,
};
use super::instant::{Instant, Pattern};
use super::rule::{Columns, Rule};
use super::value::{Number, Pair, Read, SeverityCode, StatusCode, Target, TargetCode, Text};
use super::{Location, Mapping};
use crate::field::{MOMENTS, Moment, UNIT_ID};
use crate::ingest::error::BadMapping;

pub(super) fn mapping(name: &str, text: &str) -> Result<Mapping, BadMapping> {
    let document = Document { name, text };
    let file: File = toml::from_str(text).map_err(|error| document.toml_error(&error))?;
    let mut compiler = Compiler { document, columns: Columns::new(file.missing) };
    let this = &mut compiler;

    let event_id = this.required("event_id", file.event_id.as_ref())?;
    if event_id.finally.is_some() {
        let span = file.event_id.map_or(0..0, |entry| entry.span());
        let allowed = "columns, since it tells rows apart";
        return Err(document.refuse("event_id".to_owned(), span, "a constant", allowed));
    }
    Ok(Mapping {
        event_id,
        dispatch_id: this.required("dispatch_id", file.dispatch_id.as_ref())?,
        timestamp: this.required("timestamp", file.timestamp.as_ref())?,
        severity: this.required("severity", file.severity.as_ref())?,
        response_time_minutes: this.required("response_time_minutes", file.response_time_minutes.as_ref())?,
        distance_km: this.required("distance_km", file.distance_km.as_ref())?,
        region: this.required("region", file.region.as_ref())?,
        unit_type: this.required("unit_type", file.unit_type.as_ref())?,
        sla_met: file.sla_met.as_ref().map(|entry| this.rule("sla_met", "sla_met".to_owned(), entry)).transpose()?,
        location: file.location.as_ref().map(|entry| this.location(entry)).transpose()?,
        status: file.status.as_ref().map(|entry| this.rule("status", "status".to_owned(), entry)).transpose()?,
        unit_id: file.unit_id.as_ref().map(|entry| this.rule(UNIT_ID, UNIT_ID.to_owned(), entry)).transpose()?,
        times: this.times(&file.times)?,
        metadata: file.metadata.iter().map(|column| this.columns.slot(column.get_ref())).collect(),
        columns: compiler.columns,
    })
}

/// Turns tables into rules and notes their columns.
struct Compiler<'a> {
    document: Document<'a>,
    columns: Columns,
}

impl Compiler<'_> {
    fn required<E: Compile>(
        &mut self,
        field: &'static str,
        entry: Option<&Spanned<E>>,
    ) -> Result<Rule<E::Reader>, BadMapping> {
        match entry {
            Some(entry) => self.rule(field, field.to_owned(), entry),
            None => {
                let allowed = format!("a table [{field}] that names a column or a constant");
                Err(self.document.refuse(field.to_owned(), 0..0, "missing", allowed))
            }
        }
    }

    /// Follows a table and those under its `else`; `key` is the way to the table.
    fn rule<E: Compile>(
        &mut self,
        field: &'static str,
        mut key: String,
        mut entry: &Spanned<E>,
    ) -> Result<Rule<E::Reader>, BadMapping> {
        let mut rule = Rule { field, columns: Vec::new(), finally: None };
        loop {
            let at = At { document: self.document, key: &key, span: entry.span() };
            let table = entry.get_ref();
            match (table.column(), table.constant()) {
                (Some(column), None) => {
                    rule.columns.push((self.columns.slot(column.get_ref()), table.reader(&at)?));
                }
                (None, Some(constant)) => {
                    if let Some((option, span)) = table.options().into_iter().next() {
                        return Err(at.refuse(option, span, "given", "left out beside a constant"));
                    }
                    if let Some(otherwise) = table.otherwise() {
                        return Err(at.refuse(
                            "else",
                            otherwise.span(),
                            "given",
                            "left out, a constant is never missing",
                        ));
                    }
                    rule.finally = Some(table.value(constant, &at)?);
                    return Ok(rule);
                }
                (None, None) => return Err(at.refuse("column", entry.span(), "missing", "a column, or a constant")),
                (Some(_), Some(constant)) => {
                    let allowed = "left out beside a column; for rows without a value write else = { constant = … }";
                    return Err(at.refuse("constant", constant.span(), "given", allowed));
                }
            }
            match (table.otherwise(), table.omitted()) {
                (Some(otherwise), None) => {
                    entry = otherwise;
                    key.push_str(".else");
                }
                (Some(otherwise), Some(_)) => {
                    return Err(at.refuse("else", otherwise.span(), "given", "else or optional"));
                }
                (None, omitted) => {
                    rule.finally = omitted;
                    return Ok(rule);
                }
            }
        }
    }

    fn location(&mut self, entry: &Spanned<LocationEntry>) -> Result<Location, BadMapping> {
        let table = entry.get_ref();
        let (latitude, longitude) = match (&table.latitude, &table.longitude) {
            (None, None) => {
                let together = self.rule("location", "location".to_owned(), entry)?;
                return Ok(Location { apart: None, together });
            }
            (Some(latitude), Some(longitude)) => (latitude, longitude),
            (Some(_), None) => return Err(self.at_location(entry).refuse("longitude", entry.span(), "missing", BOTH)),
            (None, Some(_)) => return Err(self.at_location(entry).refuse("latitude", entry.span(), "missing", BOTH)),
        };
        if let Some(span) = table.column().map(Spanned::span).or(table.constant().map(Spanned::span)) {
            return Err(self.at_location(entry).refuse(
                "column",
                span,
                "given",
                "left out beside latitude and longitude",
            ));
        }
        let apart = Some((self.columns.slot(latitude.get_ref()), self.columns.slot(longitude.get_ref())));
        let together = match (table.otherwise(), table.omitted()) {
            (Some(otherwise), None) => self.rule("location", "location.else".to_owned(), otherwise)?,
            (Some(otherwise), Some(_)) => {
                return Err(self.at_location(entry).refuse("else", otherwise.span(), "given", "else or optional"));
            }
            // Two columns of numbers and nothing after them: a rule that rejects by naming the first.
            (None, finally) => {
                Rule { field: "location", columns: vec![(self.columns.slot(latitude.get_ref()), Pair)], finally }
            }
        };
        Ok(Location { apart, together })
    }

    fn times(&mut self, times: &Times) -> Result<Vec<(Moment, Rule<Instant>)>, BadMapping> {
        let given = MOMENTS.into_iter().filter_map(|moment| Some((moment, times.of(moment)?)));
        let compile = |(moment, entry): (Moment, _)| {
            Ok((moment, self.rule(moment.as_str(), format!("times.{}", moment.as_str()), entry)?))
        };
        given.map(compile).collect()
    }

    fn at_location(&self, entry: &Spanned<LocationEntry>) -> At<'_> {
        At { document: self.document, key: "location", span: entry.span() }
    }
}

const BOTH: &str = "a column each for latitude and longitude";

/// What a table says beyond its column.
trait Compile: Entry {
    type Reader: Read;

    /// How the column is read.
    fn reader(&self, at: &At<'_>) -> Result<Self::Reader, BadMapping>;

    /// The checked constant.
    fn value(
        &self,
        constant: &Spanned<Self::Constant>,
        at: &At<'_>,
    ) -> Result<<Self::Reader as Read>::Value, BadMapping>;

    /// What a missing value means when it does not mean that the row is rejected.
    fn omitted(&self) -> Option<<Self::Reader as Read>::Value> {
        None
    }
}

impl Compile for TextEntry {
    type Reader = Text;

    fn reader(&self, _: &At<'_>) -> Result<Text, BadMapping> {
        Ok(Text)
    }

    fn value(&self, constant: &Spanned<String>, at: &At<'_>) -> Result<String, BadMapping> {
        let check = if at.key.starts_with("dispatch_id") { check_id } else { check_label };
        check("constant", constant.get_ref())
            .map_err(|invalid| at.refuse("constant", constant.span(), invalid.value, invalid.allowed))?;
        Ok(constant.get_ref().clone())
    }
}

impl Compile for NumberEntry {
    type Reader = Number;

    fn reader(&self, _: &At<'_>) -> Result<Number, BadMapping> {
        Ok(Number)
    }

    fn value(&self, constant: &Spanned<f64>, at: &At<'_>) -> Result<f64, BadMapping> {
        at.not_negative("constant", constant)
    }
}

impl Compile for InstantEntry {
    type Reader = Instant;

    fn reader(&self, at: &At<'_>) -> Result<Instant, BadMapping> {
        let pattern = at.given("pattern", self.pattern.as_ref(), "a pattern such as %m/%d/%Y %I:%M:%S %p")?;
        let read = Pattern::new(pattern.get_ref()).map_err(|allowed| {
            at.refuse("pattern", pattern.span(), format_args!("{:?}", pattern.get_ref()), allowed)
        })?;
        match &self.time_zone {
            None if read.is_absolute() => Ok(Instant { pattern: read, zone: Tz::UTC }),
            Some(zone) if read.is_absolute() => {
                Err(at.refuse("time_zone", zone.span(), "given", "left out, since the pattern has the offset from UTC"))
            }
            zone => {
                let zone = at.given("time_zone", zone.as_ref(), ZONE)?;
                let name = zone.get_ref();
                let zone =
                    name.parse().map_err(|_| at.refuse("time_zone", zone.span(), format_args!("{name:?}"), ZONE))?;
                Ok(Instant { pattern: read, zone })
            }
        }
    }

    fn value(&self, constant: &Spanned<String>, at: &At<'_>) -> Result<Timestamp, BadMapping> {
        let parsed: Result<Timestamp, Invalid> = constant.get_ref().parse();
        parsed.map_err(|invalid| at.refuse("constant", constant.span(), invalid.value, invalid.allowed))
    }
}

const ZONE: &str = "an IANA time zone, such as America/Los_Angeles";

impl Compile for SeverityEntry {
    type Reader = SeverityCode;

    fn reader(&self, at: &At<'_>) -> Result<SeverityCode, BadMapping> {
        match &self.values {
            Some(values) => Ok(SeverityCode::Table(at.table("values", values, |key, value| at.severity(key, value))?)),
            None => Ok(SeverityCode::Number),
        }
    }

    fn value(&self, constant: &Spanned<i64>, at: &At<'_>) -> Result<i64, BadMapping> {
        at.severity("constant", constant)
    }
}

impl Compile for StatusEntry {
    type Reader = StatusCode;

    fn reader(&self, at: &At<'_>) -> Result<StatusCode, BadMapping> {
        match &self.values {
            Some(values) => Ok(StatusCode::Table(at.table("values", values, |key, value| at.status(key, value))?)),
            None => Ok(StatusCode::Name),
        }
    }

    fn value(&self, constant: &Spanned<String>, at: &At<'_>) -> Result<Status, BadMapping> {
        at.status("constant", constant)
    }
}

impl Compile for TargetEntry {
    type Reader = TargetCode;

    fn reader(&self, at: &At<'_>) -> Result<TargetCode, BadMapping> {
        match &self.allowed_minutes {
            Some(allowed) => {
                let minutes = at.table("allowed_minutes", allowed, |key, value| at.not_negative(key, value))?;
                Ok(TargetCode::Minutes(minutes))
            }
            None => Ok(TargetCode::TrueFalse),
        }
    }

    fn value(&self, constant: &Spanned<bool>, _: &At<'_>) -> Result<Option<Target>, BadMapping> {
        Ok(Some(Target::Met(*constant.get_ref())))
    }

    fn omitted(&self) -> Option<Option<Target>> {
        self.optional.as_ref().is_some_and(|optional| *optional.get_ref()).then_some(None)
    }
}

impl Compile for LocationEntry {
    type Reader = Pair;

    fn reader(&self, at: &At<'_>) -> Result<Pair, BadMapping> {
        match self.latitude.as_ref().or(self.longitude.as_ref()) {
            Some(apart) => Err(at.refuse("column", apart.span(), "given", "left out beside latitude and longitude")),
            None => Ok(Pair),
        }
    }

    fn value(&self, constant: &Spanned<String>, at: &At<'_>) -> Result<Option<(f64, f64)>, BadMapping> {
        let in_range = |(latitude, longitude): &(f64, f64)| {
            (-90.0..=90.0).contains(latitude) && (-180.0..=180.0).contains(longitude)
        };
        let degrees = Pair.read(constant.get_ref()).filter(|degrees| degrees.as_ref().is_some_and(in_range));
        degrees.ok_or_else(|| {
            let allowed = "latitude (-90 to 90), longitude (-180 to 180)";
            at.refuse("constant", constant.span(), format_args!("{:?}", constant.get_ref()), allowed)
        })
    }

    fn omitted(&self) -> Option<Option<(f64, f64)>> {
        self.optional.as_ref().is_some_and(|optional| *optional.get_ref()).then_some(None)
    }
}

/// A table of the file and the way to it.
struct At<'a> {
    document: Document<'a>,
    key: &'a str,
    span: Range<usize>,
}

impl At<'_> {
    fn refuse(
        &self,
        key: &str,
        span: Range<usize>,
        value: impl fmt::Display,
        allowed: impl Into<String>,
    ) -> BadMapping {
        self.document.refuse(format!("{}.{key}", self.key), span, value, allowed)
    }

    fn given<'s, T>(
        &self,
        key: &str,
        value: Option<&'s Spanned<T>>,
        allowed: &str,
    ) -> Result<&'s Spanned<T>, BadMapping> {
        value.ok_or_else(|| self.refuse(key, self.span.clone(), "missing", allowed))
    }

    /// Checks every value of a table; `read` is given the key of each as it is called in errors.
    fn table<T, V>(
        &self,
        key: &str,
        table: &Spanned<BTreeMap<String, Spanned<T>>>,
        read: impl Fn(&str, &Spanned<T>) -> Result<V, BadMapping>,
    ) -> Result<BTreeMap<String, V>, BadMapping> {
        if table.get_ref().is_empty() {
            return Err(self.refuse(key, table.span(), "empty", "a value for each text in the column"));
        }
        let read_one = |(text, value): (&String, _)| Ok((text.clone(), read(&format!("{key}.{text}"), value)?));
        table.get_ref().iter().map(read_one).collect()
    }

    fn severity(&self, key: &str, value: &Spanned<i64>) -> Result<i64, BadMapping> {
        Severity::new(*value.get_ref())
            .map_err(|invalid| self.refuse(key, value.span(), invalid.value, invalid.allowed))?;
        Ok(*value.get_ref())
    }

    fn status(&self, key: &str, value: &Spanned<String>) -> Result<Status, BadMapping> {
        let parsed: Result<Status, Invalid> = value.get_ref().parse();
        parsed.map_err(|invalid| self.refuse(key, value.span(), invalid.value, invalid.allowed))
    }

    fn not_negative(&self, key: &str, value: &Spanned<f64>) -> Result<f64, BadMapping> {
        let number = *value.get_ref();
        if number.is_finite() && number >= 0.0 {
            return Ok(number);
        }
        Err(self.refuse(key, value.span(), number, "a finite number ≥ 0"))
    }
}
