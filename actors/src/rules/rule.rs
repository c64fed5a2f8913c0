//! One alert rule: what is watched for, how bad it is, who is told.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value, json};

use crate::dispatch::{AggregationType, Dimensions, Metric};
use crate::domain::{Channel, Members, OrgId, TimeWindow, check_id, check_label};
use crate::error::Invalid;

/// Longest span in minutes that a rule or a policy may name: a year.
pub const MINUTES_MAX: u32 = 366 * 24 * 60;
/// Longest pattern of breaches.
const BREACHES_MAX: u32 = 10_000;
/// Longest description, in characters.
const DESCRIPTION_CHARS_MAX: usize = 4_096;

/// How bad an alert is.
///
/// Each goes with a state of the policy ladder: info with normal, warning with watch, critical with restricted, emergency
/// with halted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertSeverity {
    /// Worth knowing.
    Info,
    /// Worth watching.
    Warning,
    /// Somebody has to act.
    Critical,
    /// Everybody has to act.
    Emergency,
}

impl AlertSeverity {
    /// All of them, mildest first.
    pub const ALL: [AlertSeverity; 4] =
        [AlertSeverity::Info, AlertSeverity::Warning, AlertSeverity::Critical, AlertSeverity::Emergency];

    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            AlertSeverity::Info => "info",
            AlertSeverity::Warning => "warning",
            AlertSeverity::Critical => "critical",
            AlertSeverity::Emergency => "emergency",
        }
    }

    /// The state of the policy ladder that it goes with.
    pub fn policy_state(self) -> &'static str {
        match self {
            AlertSeverity::Info => "normal",
            AlertSeverity::Warning => "watch",
            AlertSeverity::Critical => "restricted",
            AlertSeverity::Emergency => "halted",
        }
    }
}

impl fmt::Display for AlertSeverity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AlertSeverity {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = AlertSeverity::ALL.into_iter().find(|severity| severity.as_str() == text);
        found.ok_or_else(|| Invalid::new("severity", format_args!("{text:?}"), "info, warning, critical, emergency"))
    }
}

/// What a rule watches for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Condition {
    /// `sla_warning`: an open incident of which so little of the target is left, and that is not breached.
    SlaWarning {
        /// Per cent of the target, 0 to 100.
        sla_remaining_pct: f64,
    },
    /// `sla_breach`: an incident that has taken longer than it may.
    SlaBreach,
    /// `threshold`: a metric over the org's last complete window.
    Threshold(Threshold),
    /// `pattern`: breaches without a compliant incident between them.
    Pattern(Pattern),
}

/// A metric and what it is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// What is measured.
    #[serde(with = "metric_as_text")]
    pub metric: Metric,
    /// Over which windows; not `all`.
    #[serde(with = "window_as_text")]
    pub window: TimeWindow,
    /// How a window becomes one value.
    #[serde(with = "aggregation_as_text")]
    pub aggregation: AggregationType,
    /// The rule is met when `metric op value`.
    pub op: Comparison,
    /// What is compared with; finite.
    pub value: f64,
    /// Only dispatches that match all of these: `region`, `severity`, `unit_type`.
    pub dimensions: BTreeMap<String, String>,
}

/// So many breaches one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pattern {
    /// How many, at least 1.
    pub consecutive_breaches: u32,
    /// Minutes that the first and the last may lie apart.
    pub within_minutes: Option<u32>,
}

/// How a metric is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
}

impl Comparison {
    const ALL: [Comparison; 4] =
        [Comparison::Greater, Comparison::GreaterOrEqual, Comparison::Less, Comparison::LessOrEqual];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
        }
    }

    /// Whether `value op limit`.
    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Comparison::Greater => value > limit,
            Comparison::GreaterOrEqual => value >= limit,
            Comparison::Less => value < limit,
            Comparison::LessOrEqual => value <= limit,
        }
    }
}

impl Condition {
    /// Its name in JSON: `sla_warning`, `sla_breach`, `threshold` or `pattern`.
    pub fn condition_type(&self) -> &'static str {
        match self {
            Condition::SlaWarning { .. } => "sla_warning",
            Condition::SlaBreach => "sla_breach",
            Condition::Threshold(_) => "threshold",
            Condition::Pattern(_) => "pattern",
        }
    }

    /// Its settings as JSON.
    pub fn threshold_config(&self) -> Value {
        match self {
            Condition::SlaWarning { sla_remaining_pct } => json!({ "sla_remaining_pct": number(*sla_remaining_pct) }),
            Condition::SlaBreach => json!({}),
            Condition::Threshold(threshold) => {
                let mut config = json!({
                    "metric": threshold.metric.as_str(), "window": threshold.window.as_str(),
                    "aggregation": threshold.aggregation.as_str(), "op": threshold.op.as_str(),
                    "value": number(threshold.value),
                });
                if !threshold.dimensions.is_empty() {
                    config["dimensions"] = json!(threshold.dimensions);
                }
                config
            }
            Condition::Pattern(pattern) => {
                let mut config = json!({ "consecutive_breaches": pattern.consecutive_breaches });
                if let Some(minutes) = pattern.within_minutes {
                    config["within_minutes"] = json!(minutes);
                }
                config
            }
        }
    }

    /// Reads the settings of a condition of that type. Keys of the other types may stand beside those that count.
    fn from_config(condition_type: &str, config: &Value) -> Result<Self, Invalid> {
        const KEYS: [&str; 9] = [
            "sla_remaining_pct",
            "metric",
            "window",
            "aggregation",
            "op",
            "value",
            "dimensions",
            "consecutive_breaches",
            "within_minutes",
        ];
        let members = Members::of("threshold_config", config)?;
        members.only(&KEYS)?;
        match condition_type {
            "sla_warning" => {
                let share = |value: &Value| value.as_f64().filter(|pct| (0.0..=100.0).contains(pct));
                let sla_remaining_pct = members.required("sla_remaining_pct", "a number, 0 to 100", share)?;
                Ok(Condition::SlaWarning { sla_remaining_pct })
            }
            "sla_breach" => Ok(Condition::SlaBreach),
            "threshold" => Ok(Condition::Threshold(Threshold {
                metric: members.text("metric")?.parse()?,
                window: members.text("window")?.parse()?,
                aggregation: members.text("aggregation")?.parse()?,
                op: {
                    let op = members.text("op")?;
                    let found = Comparison::ALL.into_iter().find(|known| known.as_str() == op);
                    found.ok_or_else(|| Invalid::new("op", format_args!("{op:?}"), ">, >=, <, <="))?
                },
                value: members.required("value", "a finite number", Value::as_f64)?,
                dimensions: match members.optional("dimensions", "an object of texts", Value::as_object)? {
                    Some(dimensions) => dimensions.iter().map(dimension).collect::<Result<_, _>>()?,
                    None => BTreeMap::new(),
                },
            })),
            "pattern" => {
                let allowed = format!("a whole number, 1 to {BREACHES_MAX}");
                let consecutive_breaches = members
                    .whole("consecutive_breaches", 1, BREACHES_MAX)?
                    .ok_or_else(|| Invalid::new("consecutive_breaches", "missing", allowed))?;
                let within_minutes = members.whole("within_minutes", 1, MINUTES_MAX)?;
                Ok(Condition::Pattern(Pattern { consecutive_breaches, within_minutes }))
            }
            other => Err(Invalid::new(
                "condition_type",
                format_args!("{other:?}"),
                "sla_breach, sla_warning, threshold, pattern",
            )),
        }
    }

    /// Checks what the types do not.
    fn check(&self) -> Result<(), Invalid> {
        match self {
            Condition::SlaWarning { sla_remaining_pct } if !(0.0..=100.0).contains(sla_remaining_pct) => {
                Err(Invalid::new("sla_remaining_pct", sla_remaining_pct, "a number, 0 to 100"))
            }
            Condition::SlaWarning { .. } | Condition::SlaBreach => Ok(()),
            Condition::Threshold(threshold) => {
                if threshold.window == TimeWindow::All {
                    return Err(Invalid::new("window", threshold.window, "1m, 5m, 15m, 1h, 6h, 1d"));
                }
                if !threshold.value.is_finite() {
                    return Err(Invalid::new("value", threshold.value, "a finite number"));
                }
                threshold.dimensions().map(|_| ())
            }
            Condition::Pattern(pattern) => {
                check_span("consecutive_breaches", pattern.consecutive_breaches, 1, BREACHES_MAX)?;
                pattern.within_minutes.map_or(Ok(()), |minutes| check_span("within_minutes", minutes, 1, MINUTES_MAX))
            }
        }
    }
}

impl Threshold {
    /// Which dispatches count.
    ///
    /// # Errors
    /// When a dimension is unknown or its value out of range.
    pub fn dimensions(&self) -> Result<Dimensions, Invalid> {
        let with = |all: Dimensions, (name, value): (&String, &String)| all.with(name, value);
        self.dimensions.iter().try_fold(Dimensions::any(), with)
    }
}

fn dimension((name, value): (&String, &Value)) -> Result<(String, String), Invalid> {
    let text = match value {
        Value::String(text) => text.clone(),
        // A severity may be written as the number it is.
        Value::Number(number) => number.to_string(),
        other => return Err(Invalid::new(name.as_str(), other, "a text")),
    };
    Ok((name.clone(), text))
}

fn check_span(field: &str, value: u32, min: u32, max: u32) -> Result<(), Invalid> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Invalid::new(field, value, format!("a whole number, {min} to {max}")))
}

/// A number as people write it: 25, not 25.0.
fn number(value: f64) -> Value {
    let whole = value as i64;
    if whole as f64 == value { json!(whole) } else { json!(value) }
}

/// One alert rule. [`AlertRule::check`] says whether it is accepted; `version` is given by the rules themselves.
///
/// ```
/// use ionveil_actors::rules::AlertRule;
/// let rule = AlertRule::from_json(&serde_json::json!({
///     "rule_id": "late", "name": "Late", "condition_type": "sla_warning", "severity": "warning",
///     "threshold_config": {"sla_remaining_pct": 25}, "notification_channels": ["email"],
/// }))?;
/// assert_eq!((rule.suppression_window_minutes, rule.enabled), (5, true));
/// # Ok::<(), ionveil_actors::error::Invalid>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct AlertRule {
    /// Its name for ever; 1–128 characters, no control characters, no `/`.
    pub rule_id: String,
    /// The org it belongs to; `None` is every org.
    pub org_id: Option<OrgId>,
    /// How many times it was stored, this one included; counts from 1. 0 before it is stored.
    pub version: u32,
    /// What people call it; 1–128 characters.
    pub name: String,
    /// What it is for; at most 4,096 characters.
    pub description: String,
    /// What it watches for.
    pub condition: Condition,
    /// How bad its alerts are.
    pub severity: AlertSeverity,
    /// Where they are told; when empty the incident's priority decides.
    pub notification_channels: Vec<Channel>,
    /// In the first cycle, takes the place of level 1's timeout: 1 to a year.
    pub escalation_after_minutes: Option<u32>,
    /// So long after a raise the same rule and incident raise no other alert; 0 to a year.
    pub suppression_window_minutes: u32,
    /// Whether it fires.
    pub enabled: bool,
}

/// What stands for a suppression window that is not given.
const SUPPRESSION_WINDOW_DEFAULT: u32 = 5;

impl AlertRule {
    /// The keys of its JSON.
    pub const KEYS: [&'static str; 12] = [
        "rule_id",
        "name",
        "description",
        "condition_type",
        "threshold_config",
        "severity",
        "notification_channels",
        "escalation_after_minutes",
        "suppression_window_minutes",
        "enabled",
        "org_id",
        "version",
    ];

    /// An enabled rule of every org with the seed's defaults.
    pub fn new(rule_id: &str, name: &str, condition: Condition, severity: AlertSeverity) -> Self {
        AlertRule {
            rule_id: rule_id.to_owned(),
            org_id: None,
            version: 0,
            name: name.to_owned(),
            description: String::new(),
            condition,
            severity,
            notification_channels: Vec::new(),
            escalation_after_minutes: None,
            suppression_window_minutes: SUPPRESSION_WINDOW_DEFAULT,
            enabled: true,
        }
    }

    /// Reads a rule from a JSON object. A `version` may stand there and is not looked at, so that what is listed can be
    /// added again.
    ///
    /// # Errors
    /// Names the first member that is unknown, missing, or out of range.
    pub fn from_json(value: &Value) -> Result<Self, Invalid> {
        let members = Members::of("rule", value)?;
        members.only(&Self::KEYS)?;
        let empty = Value::Object(Map::new());
        let config = members.optional("threshold_config", "an object", |value| value.is_object().then_some(value))?;
        let rule_id = members.text("rule_id")?;
        check_id("rule_id", rule_id)?;
        let rule = AlertRule {
            rule_id: rule_id.to_owned(),
            org_id: members.optional("org_id", "a text", Value::as_str)?.map(str::parse).transpose()?,
            version: 0,
            name: members.text("name")?.to_owned(),
            description: members.optional("description", "a text", Value::as_str)?.unwrap_or_default().to_owned(),
            condition: Condition::from_config(members.text("condition_type")?, config.unwrap_or(&empty))?,
            severity: members.text("severity")?.parse()?,
            notification_channels: channels(members.optional(
                "notification_channels",
                "an array of channels",
                Value::as_array,
            )?)?,
            escalation_after_minutes: members.whole("escalation_after_minutes", 1, MINUTES_MAX)?,
            suppression_window_minutes: members
                .whole("suppression_window_minutes", 0, MINUTES_MAX)?
                .unwrap_or(SUPPRESSION_WINDOW_DEFAULT),
            enabled: members.optional("enabled", "true or false", Value::as_bool)?.unwrap_or(true),
        };
        rule.check()?;
        Ok(rule)
    }

    /// Checks every field.
    ///
    /// # Errors
    /// Names the first field that is out of range, its value and the range.
    pub fn check(&self) -> Result<(), Invalid> {
        check_id("rule_id", &self.rule_id)?;
        check_label("name", &self.name)?;
        let chars = self.description.chars().count();
        if chars > DESCRIPTION_CHARS_MAX {
            let allowed = format!("at most {DESCRIPTION_CHARS_MAX} characters");
            return Err(Invalid::new("description", format_args!("{chars} characters"), allowed));
        }
        self.condition.check()?;
        if let Some(minutes) = self.escalation_after_minutes {
            check_span("escalation_after_minutes", minutes, 1, MINUTES_MAX)?;
        }
        check_span("suppression_window_minutes", self.suppression_window_minutes, 0, MINUTES_MAX)
    }

    /// Whether it judges the incidents of `org`.
    pub fn is_of(&self, org: &OrgId) -> bool {
        self.org_id.as_ref().is_none_or(|own| own == org)
    }
}

/// Channels by their names, in order, each once.
pub(crate) fn channels(names: Option<&Vec<Value>>) -> Result<Vec<Channel>, Invalid> {
    let mut channels = Vec::new();
    for name in names.into_iter().flatten() {
        let text = name.as_str().ok_or_else(|| Invalid::new("channel", name, "a text"))?;
        let channel: Channel = text.parse()?;
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    Ok(channels)
}

impl Serialize for AlertRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Self::KEYS.len()))?;
        map.serialize_entry("rule_id", &self.rule_id)?;
        map.serialize_entry("org_id", &self.org_id)?;
        map.serialize_entry("version", &self.version)?;
        map.serialize_entry("name", &self.name)?;
        map.serialize_entry("description", &self.description)?;
        map.serialize_entry("condition_type", self.condition.condition_type())?;
        map.serialize_entry("threshold_config", &self.condition.threshold_config())?;
        map.serialize_entry("severity", &self.severity)?;
        map.serialize_entry("notification_channels", &self.notification_channels)?;
        map.serialize_entry("escalation_after_minutes", &self.escalation_after_minutes)?;
        map.serialize_entry("suppression_window_minutes", &self.suppression_window_minutes)?;
        map.serialize_entry("enabled", &self.enabled)?;
        map.end()
    }
}

/// A module that stores a value by its name, so that the order of an enum never reaches the disk.
macro_rules! as_text {
    ($module:ident, $type:ty) => {
        mod $module {
            use super::*;

            pub(super) fn serialize<S: Serializer>(value: &$type, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(value.as_str())
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

as_text!(metric_as_text, Metric);
as_text!(window_as_text, TimeWindow);
as_text!(aggregation_as_text, AggregationType);
