//! The words of a message: templates, checked when they are loaded, escaped for where their text goes.
//!
//! Values are escaped, the template's own text is not: it is the operator's. A template that fails on an alert, though it
//! was fine when it was checked, gives way to the one that IonVeil ships: a poor message is better than none.

use std::collections::BTreeMap;
use std::fmt;

use ionveil_actors::domain::Channel;
use ionveil_actors::error::Invalid;
use minijinja::value::{Serde, ValueKind};
use minijinja::{AutoEscape, Environment, Output, State, UndefinedBehavior, Value, escape_formatter};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::message::{Message, MessageKind};
use super::place::{Fault, nearest};

/// Steps that one rendering may take; a message takes some hundreds.
const FUEL: u64 = 1_000_000;

/// What people call the levels, from 1.
const LEVEL_NAMES: [&str; 4] = ["operator", "supervisor", "manager", "executive"];

/// What a template can name. `text` and `recipient` are there where a channel has them.
const VARIABLES: [&str; 17] = [
    "alert",
    "alert_id",
    "channel",
    "count",
    "cycle",
    "headline",
    "idempotency_key",
    "kind",
    "level",
    "level_name",
    "message",
    "notification_id",
    "org_id",
    "others",
    "recipient",
    "recipients",
    "text",
];

/// The fields of an alert.
const ALERT_FIELDS: [&str; 20] = [
    "acknowledged_at",
    "acknowledged_by",
    "alert_id",
    "created_at",
    "description",
    "escalation_history",
    "escalation_level",
    "history",
    "incident_id",
    "metadata",
    "occurrences",
    "org_id",
    "resolved_at",
    "resolved_by",
    "rule_id",
    "rule_version",
    "severity",
    "status",
    "title",
    "updated_at",
];

/// Templates of one part, as the configuration gives them: one for all kinds, or one each.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a text, or a table of texts by kind: raised, escalated, acknowledged, resolved")]
pub enum TemplateText {
    /// For every kind of message.
    All(String),
    /// By kind; a kind that is left out keeps the default.
    ByKind(BTreeMap<String, String>),
}

/// Where the text of a part goes, and so how values in it are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escape {
    Plain,
    Html,
    Json,
    /// Form fields and queries.
    Form,
    Slack,
}

impl Escape {
    const ALL: [Escape; 5] = [Escape::Plain, Escape::Html, Escape::Json, Escape::Form, Escape::Slack];

    /// The extension by which the environment knows it.
    fn extension(self) -> &'static str {
        match self {
            Escape::Plain => "txt",
            Escape::Html => "html",
            Escape::Json => "json",
            Escape::Form => "form",
            Escape::Slack => "slack",
        }
    }

    fn of(name: &str) -> AutoEscape {
        let found = Escape::ALL.into_iter().find(|escape| name.rsplit('.').next() == Some(escape.extension()));
        match found {
            Some(Escape::Html) => AutoEscape::Html,
            Some(Escape::Json) => AutoEscape::Json,
            Some(escape @ (Escape::Form | Escape::Slack)) => AutoEscape::Custom(escape.extension().into()),
            Some(Escape::Plain) | None => AutoEscape::None,
        }
    }
}

/// One text of a channel's message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) escape: Escape,
    /// What IonVeil ships.
    pub(super) default: &'static str,
}

/// All texts of one channel.
#[derive(Debug)]
pub(super) struct Templates {
    environment: Environment<'static>,
    channel: Channel,
    parts: Vec<Part>,
}

/// What is known only while a message is being put together.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extra<'a> {
    /// The one who is told by this request.
    pub(super) recipient: Option<&'a str>,
    /// All who are told.
    pub(super) recipients: &'a [String],
    /// The part `text`, for parts around it.
    pub(super) text: Option<&'a str>,
}

impl Templates {
    /// Checks what the configuration gives; `field` is how `templates` is called in errors.
    pub(super) fn new(
        channel: Channel,
        parts: &[Part],
        given: &BTreeMap<String, TemplateText>,
        field: &str,
    ) -> Result<Self, Fault> {
        let mut templates = Templates { environment: environment(), channel, parts: parts.to_vec() };
        for part in parts {
            let name = part.file("default");
            templates.environment.add_template_owned(name, part.default).expect("what is shipped is checked by a test");
        }
        for (name, text) in given {
            let Some(part) = parts.iter().find(|part| part.name == name) else {
                let names: Vec<_> = parts.iter().map(|part| part.name).collect();
                return Err(Invalid::new(format!("{field}.{name}"), "an unknown key", nearest(name, &names)).into());
            };
            match text {
                TemplateText::All(text) => {
                    for kind in MessageKind::ALL {
                        templates.take(part, kind, text, format!("{field}.{name}"))?;
                    }
                }
                TemplateText::ByKind(texts) => {
                    for (kind, text) in texts {
                        let field = format!("{field}.{name}.{kind}");
                        let Some(found) = MessageKind::ALL.into_iter().find(|known| known.as_str() == kind) else {
                            let names = MessageKind::ALL.map(MessageKind::as_str);
                            return Err(Invalid::new(field, "an unknown key", nearest(kind, &names)).into());
                        };
                        templates.take(part, found, text, field)?;
                    }
                }
            }
        }
        Ok(templates)
    }

    /// Takes a template in the place of a default when it is fine for every alert that may come.
    fn take(&mut self, part: &Part, kind: MessageKind, text: &str, field: String) -> Result<(), Fault> {
        let fault = |error: &minijinja::Error| Fault {
            invalid: Invalid::new(&field, Told(error), "a template that can be rendered"),
            line_in_value: error.line(),
        };
        let name = part.file(kind.as_str());
        self.environment.add_template_owned(name.clone(), text.to_owned()).map_err(|error| fault(&error))?;
        let template = self.environment.get_template(&name).map_err(|error| fault(&error))?;
        let globals: Vec<&str> = self.environment.globals().map(|(name, _)| name).collect();
        for path in template.undeclared_variables(true) {
            let mut steps = path.split('.');
            let root = steps.next().unwrap_or_default();
            let field_of_alert = steps.next().filter(|_| root == "alert");
            let (name, known) = match field_of_alert {
                Some(name) => (name, &ALERT_FIELDS[..]),
                None => (root, &VARIABLES[..]),
            };
            if !known.contains(&name) && !globals.contains(&name) {
                let line = text.lines().position(|line| line.contains(name)).map(|at| at + 1);
                let invalid = Invalid::new(&field, format_args!("unknown name {path:?}"), nearest(name, known));
                return Err(Fault { invalid, line_in_value: line });
            }
        }
        for sample in samples(kind) {
            let context =
                self.context(&sample, Extra { recipient: Some("+15550100"), recipients: &[], text: Some("text") });
            let rendered = template.render(context).map_err(|error| fault(&error))?;
            if let Err(error) = part.check(&rendered) {
                let value = format_args!("JSON no more when it is rendered ({error})");
                let invalid = Invalid::new(&field, value, "JSON with values in it, which bring their own quotes");
                return Err(Fault { invalid, line_in_value: Some(error.line()) });
            }
        }
        Ok(())
    }

    /// The text of a part.
    pub(super) fn render(&self, part: &str, message: &Message, extra: Extra<'_>) -> String {
        let part = self.parts.iter().find(|known| known.name == part).expect("channels ask for their own parts");
        let context = self.context(message, extra);
        let own = self.environment.get_template(&part.file(message.kind.as_str()));
        let rendered = own.ok().and_then(|template| match template.render(&context) {
            Ok(text) if part.check(&text).is_ok() => Some(text),
            outcome => {
                let line = outcome.err().and_then(|error| error.line());
                tracing::warn!(
                    channel = self.channel.as_str(), part = part.name, kind = message.kind.as_str(), line,
                    notification_id = %message.notification_id, "a template failed, the default is sent instead"
                );
                None
            }
        });
        rendered.unwrap_or_else(|| {
            let default = self.environment.get_template(&part.file("default"));
            // Nothing in a default can fail, whatever an alert holds; if it did, the ids would still go out.
            default
                .and_then(|template| template.render(&context))
                .unwrap_or_else(|_| format!("{} {}", message.kind, message.alert_id))
        })
    }

    fn context(&self, message: &Message, extra: Extra<'_>) -> Value {
        let level_name = LEVEL_NAMES.get(usize::from(message.level).wrapping_sub(1)).copied().unwrap_or_default();
        let headline = match message.kind {
            MessageKind::Raised => "Raised".to_owned(),
            MessageKind::Escalated => format!("Escalated to level {}", message.level),
            MessageKind::Acknowledged => "Acknowledged".to_owned(),
            MessageKind::Resolved => "Resolved".to_owned(),
        };
        Value::from(Serde(json!({
            "alert": message.alert,
            "alert_id": message.alert_id,
            "channel": self.channel,
            "count": message.others.len() + 1,
            "cycle": message.cycle,
            "headline": headline,
            "idempotency_key": message.idempotency_key,
            "kind": message.kind,
            "level": message.level,
            "level_name": level_name,
            "message": message,
            "notification_id": message.notification_id,
            "org_id": message.org_id,
            "others": message.others,
            "recipient": extra.recipient,
            "recipients": extra.recipients,
            "text": extra.text,
        })))
    }
}

impl Part {
    fn file(&self, variant: &str) -> String {
        format!("{variant}/{}.{}", self.name, self.escape.extension())
    }

    /// Whether the rendered text is what it has to be.
    fn check(&self, rendered: &str) -> Result<(), serde_json::Error> {
        match self.escape {
            Escape::Json => serde_json::from_str::<IgnoredAny>(rendered).map(|_| ()),
            _ => Ok(()),
        }
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(Escape::of);
    environment.set_formatter(write_escaped);
    // What an alert does not have is left out; names that no alert has were refused before.
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_fuel(Some(FUEL));
    environment
}

/// Everything in a form field but letters, digits and what RFC 3986 never reserves.
const FORM_ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn write_escaped(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    let is_nothing = matches!(value.kind(), ValueKind::None | ValueKind::Undefined);
    match state.auto_escape() {
        AutoEscape::Json if is_nothing => Ok(out.write_str("null")?),
        _ if is_nothing => Ok(()),
        AutoEscape::Custom(_) if value.is_safe() => Ok(out.write_str(&value.to_string())?),
        AutoEscape::Custom(kind) if kind == Escape::Form.extension() => {
            Ok(write!(out, "{}", utf8_percent_encode(&value.to_string(), FORM_ESCAPED))?)
        }
        AutoEscape::Custom(_) => {
            // The three characters by which Slack knows its own markup.
            let text = value.to_string().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            Ok(out.write_str(&text)?)
        }
        _ => escape_formatter(out, state, value),
    }
}

/// An error of a template, in one line.
struct Told<'a>(&'a minijinja::Error);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.0.line() {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{}", self.0.kind())?;
        self.0.detail().map_or(Ok(()), |detail| write!(f, ", {detail}"))
    }
}

/// Messages with everything that may be in them, and with as little as possible.
fn samples(kind: MessageKind) -> [Message; 2] {
    let alert = json!({
        "alert_id": "0198c0de-0000-5000-8000-000000000001", "rule_id": "sla-breach", "rule_version": 1, "org_id": "sffd",
        "incident_id": "i-1", "severity": "critical", "status": "open", "title": "incident i-1 is \"late\"",
        "description": "5.00 of 5 minutes had passed", "created_at": "2026-01-31T08:15:00Z",
        "updated_at": "2026-01-31T08:15:00Z", "acknowledged_at": "2026-01-31T08:16:00Z", "acknowledged_by": "amy",
        "resolved_at": "2026-01-31T08:17:00Z", "resolved_by": "amy", "escalation_level": 2,
        "escalation_history": [{ "at": "2026-01-31T08:15:00Z", "from_level": 1, "to_level": 2, "reason": "timeout", "by": "system" }],
        "occurrences": 1,
        "history": [{ "at": "2026-01-31T08:16:00Z", "by": "amy", "from": "open", "to": "acknowledged", "note": "on it" }],
        "metadata": { "priority": 1, "sla_target_minutes": 5 },
    });
    let lean = json!({
        "alert_id": "0198c0de-0000-5000-8000-000000000002", "rule_id": "quiet", "rule_version": 1, "org_id": "sffd",
        "incident_id": null, "severity": "info", "status": "open", "title": "", "description": "",
        "created_at": "2026-01-31T08:15:00Z", "updated_at": "2026-01-31T08:15:00Z", "acknowledged_at": null,
        "acknowledged_by": null, "resolved_at": null, "resolved_by": null, "escalation_level": 1,
        "escalation_history": [], "occurrences": 1, "history": [], "metadata": {},
    });
    let message = |alert: &serde_json::Value, others: Vec<serde_json::Value>| Message {
        notification_id: uuid::Uuid::from_u128(1),
        idempotency_key: "key".to_owned(),
        kind,
        org_id: "sffd".parse().expect("an id"),
        alert_id: uuid::Uuid::from_u128(2),
        level: 1,
        levels: vec![1],
        cycle: 1,
        alert: alert.clone(),
        other_keys: others.iter().map(|_| "other".to_owned()).collect(),
        others,
        recipients: Vec::new(),
        told: super::Told::default(),
    };
    [message(&alert, vec![lean.clone()]), message(&lean, Vec::new())]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ionveil_actors::rules::{AlertRule, AlertSeverity, Condition};
    use pollster::block_on;

    use super::*;
    use crate::{Config, IncidentCheck, IonVeil};

    #[test]
    fn templates_may_name_what_a_real_alert_has_and_nothing_else() {
        let ionveil = IonVeil::open(Config::in_memory().without_background()).expect("opens");
        let monitor = ionveil.sla_monitor_service();
        let rule = AlertRule::new("breach", "Breach", Condition::SlaBreach, AlertSeverity::Critical);
        block_on(monitor.add_rule(rule)).expect("a good rule");
        let check = IncidentCheck {
            incident_id: "i".into(),
            org_id: "org".parse().expect("an id"),
            priority: 1,
            dispatch_time: "2026-01-31T08:00:00Z".parse().expect("an instant"),
            arrival_time: None,
            closed_time: None,
            current_time: Some("2026-01-31T08:06:00Z".parse().expect("an instant")),
        };
        let alerts = block_on(monitor.check_incident(check)).expect("checked").alerts;
        let fields = |alert: &serde_json::Value| -> BTreeSet<String> {
            alert.as_object().expect("an object").keys().cloned().collect()
        };
        let known: BTreeSet<String> = ALERT_FIELDS.iter().map(|field| (*field).to_owned()).collect();
        assert_eq!(fields(&json!(alerts[0])), known);
        for kind in MessageKind::ALL {
            for sample in samples(kind) {
                assert_eq!(fields(&sample.alert), known, "what templates are checked with");
            }
        }
    }
}
