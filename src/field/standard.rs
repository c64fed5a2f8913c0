//! What a standard demands: data that names its source and the day it was checked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ionveil_actors::dispatch::DispatchRecorded;
use ionveil_actors::domain::Severity;
use ionveil_actors::error::Invalid;
use serde::{Deserialize, Serialize};

use super::unit_times::{Interval, UnitTimes};
use crate::error::Error;

/// Largest file of a standard.
const BYTES_MAX: usize = 1 << 20;

/// The files in `standards/`, which are part of the library.
const EMBEDDED: [&str; 4] = [
    include_str!("../../standards/recorded.toml"),
    include_str!("../../standards/nfpa-1225-2022.toml"),
    include_str!("../../standards/nfpa-1710-2020.toml"),
    include_str!("../../standards/nhs-arp-2017.toml"),
];

/// A published set of requirements on response times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standard {
    /// A short name with the edition in it, such as `nfpa-1710-2020`.
    pub id: String,
    /// As it is published.
    pub title: String,
    /// Who publishes it.
    pub publisher: String,
    /// Which edition the figures are of.
    pub edition: String,
    /// Where the figures were read.
    pub source: String,
    /// What a reader has to know before he relies on it.
    #[serde(default)]
    pub note: String,
    /// The day on which the figures were last compared with the source.
    #[serde(with = "day")]
    pub checked: toml::value::Date,
    /// What it demands.
    #[serde(rename(deserialize = "requirement", serialize = "requirements"))]
    pub requirements: Vec<Requirement>,
}

/// One demand: a share of some responses within a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// Unique in its standard.
    pub id: String,
    /// In words.
    pub what: String,
    /// What is measured.
    pub interval: Interval,
    /// Every response, or one of each dispatch.
    pub counted: Counted,
    /// Of which severities; empty is any.
    #[serde(default)]
    pub severities: BTreeSet<Severity>,
    /// Of which unit types; empty is any.
    #[serde(default)]
    pub unit_types: BTreeSet<String>,
    /// Which texts a key of the metadata has to have, one of those listed; all keys must match.
    #[serde(default)]
    pub metadata: BTreeMap<String, BTreeSet<String>>,
    /// Seconds, > 0. Without it the target that was recorded with each dispatch counts (`sla_met`), which only a
    /// response time has.
    #[serde(default)]
    pub within_seconds: Option<u32>,
    /// The share of responses in percent that has to be within, 1–100; also the percentile that is reported.
    pub percent: u32,
    /// Seconds that the mean may not be over, where the standard demands that too; > 0.
    #[serde(default)]
    pub mean_seconds: Option<u32>,
}

/// Which of the responses to a dispatch count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Each for itself.
    EveryResponse,
    /// Of each dispatch the one whose interval ended first; of response times, the shortest.
    FirstOfDispatch,
}

impl Standard {
    /// The standard of that id that is part of the library, or the one in the file of that path (one that ends in
    /// `.toml`).
    ///
    /// # Errors
    /// `invalid` when it is neither, or the file says something that no standard can mean.
    pub fn find(id_or_path: &str) -> Result<Self, Error> {
        if !id_or_path.ends_with(".toml") {
            let known = embedded_standards();
            let ids: Vec<&str> = known.iter().map(|standard| standard.id.as_str()).collect();
            let allowed = format!("{}, or the path of a .toml file", ids.join(", "));
            let found = known.iter().find(|standard| standard.id == id_or_path).cloned();
            return Ok(found.ok_or_else(|| Invalid::new("standard", id_or_path, allowed))?);
        }
        let unreadable = |why: String| Invalid::new("standard", id_or_path, format!("a readable file ({why})"));
        let length = std::fs::metadata(Path::new(id_or_path)).map_err(|error| unreadable(error.to_string()))?.len();
        if length > BYTES_MAX as u64 {
            return Err(Invalid::new("standard", format_args!("{length} bytes"), format!("at most {BYTES_MAX}")).into());
        }
        let text = std::fs::read_to_string(id_or_path).map_err(|error| unreadable(error.to_string()))?;
        Ok(Standard::parse(&text)?)
    }

    /// Reads and checks the text of a standard's file.
    ///
    /// # Errors
    /// Names the key, its value and what is allowed.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let standard: Standard = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            Invalid::new(format!("standard, line {line}"), "not understood", error.message().replace('\n', " "))
        })?;
        standard.check()?;
        Ok(standard)
    }

    fn check(&self) -> Result<(), Invalid> {
        let refuse = |key: &str, value: &dyn std::fmt::Display, allowed: &str| Err(Invalid::new(key, value, allowed));
        for (key, value) in [("id", &self.id), ("title", &self.title), ("source", &self.source)] {
            if value.trim().is_empty() {
                return refuse(key, &"empty", "a text");
            }
        }
        if self.requirements.is_empty() {
            return refuse("requirement", &"none", "at least one");
        }
        let mut ids = BTreeSet::new();
        for requirement in &self.requirements {
            let key = |name: &str| format!("requirement.{}.{name}", requirement.id);
            if requirement.id.trim().is_empty() || !ids.insert(&requirement.id) {
                return refuse("requirement.id", &requirement.id, "a name of its own for each requirement");
            }
            if !(1..=100).contains(&requirement.percent) {
                return refuse(&key("percent"), &requirement.percent, "1 to 100");
            }
            match requirement.within_seconds {
                Some(0) => return refuse(&key("within_seconds"), &0, "more than 0"),
                None if requirement.interval != Interval::ResponseTime => {
                    let allowed = "seconds; only a response time comes with a target of its own";
                    return refuse(&key("within_seconds"), &"missing", allowed);
                }
                _ => {}
            }
            if requirement.mean_seconds == Some(0) {
                return refuse(&key("mean_seconds"), &0, "more than 0");
            }
            if let Some((name, _)) = requirement.metadata.iter().find(|(_, values)| values.is_empty()) {
                return refuse(&key(&format!("metadata.{name}")), &"empty", "at least one text");
            }
        }
        Ok(())
    }
}

impl Requirement {
    /// Whether it is about that dispatch.
    pub(super) fn is_about(&self, dispatch: &DispatchRecorded, times: &UnitTimes) -> bool {
        (self.severities.is_empty() || self.severities.contains(&dispatch.severity))
            && (self.unit_types.is_empty() || self.unit_types.contains(&dispatch.unit_type))
            && self.metadata.iter().all(|(key, texts)| times.text(key).is_some_and(|text| texts.contains(text)))
    }
}

/// The standards that are part of the library, by file in `standards/`. The first one is what counts when none is named.
pub fn embedded_standards() -> Vec<Standard> {
    let parse = |text: &&str| Standard::parse(text).expect("a test reads every embedded standard");
    EMBEDDED.iter().map(parse).collect()
}

/// A day as TOML and JSON have it.
mod day {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use toml::value::{Date, Datetime};

    pub(super) fn serialize<S: Serializer>(day: &Date, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(day)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Date, D::Error> {
        let at = Datetime::deserialize(deserializer)?;
        match (at.date, at.time, at.offset) {
            (Some(date), None, None) => Ok(date),
            _ => Err(de::Error::custom("expected a day such as 2026-01-31")),
        }
    }
}
