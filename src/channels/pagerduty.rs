//! The channel `pagerduty`: the Events API, version 2. An alert is one incident there, whatever is told about it: its id
//! is the key by which events are put together.

use std::collections::BTreeMap;

use ionveil_actors::domain::Channel;
use serde_json::{Value, json};
use ureq::http::{HeaderValue, Method, Request, header};

use super::config::PagerdutyConfig;
use super::http::{Client, Network, identify};
use super::message::{Delivery, Message, MessageKind, Transport};
use super::place::Fault;
use super::secret::{Environment, Revealed};
use super::template::{Escape, Extra, Part, TemplateText, Templates};

/// Longest summary that the API takes, in characters.
const SUMMARY_CHARS_MAX: usize = 1_024;

pub(super) struct Pagerduty {
    content: Content,
    client: Client,
    routing_key: Revealed,
}

/// What the channel says.
pub(super) struct Content {
    templates: Templates,
}

impl Content {
    fn new(given: &BTreeMap<String, TemplateText>) -> Result<Self, Fault> {
        let summary =
            Part { name: "summary", escape: Escape::Plain, default: include_str!("templates/short-text.txt") };
        let field = "channels.pagerduty.templates";
        Ok(Content { templates: Templates::new(Channel::Pagerduty, &[summary], given, field)? })
    }

    /// What IonVeil ships for the channel.
    pub(super) fn shipped() -> Self {
        Content::new(&BTreeMap::new()).expect("what is shipped is fine")
    }

    /// The event, but for the key by which it is let in.
    pub(super) fn write(&self, message: &Message) -> Value {
        let action = match message.kind {
            MessageKind::Raised | MessageKind::Escalated => "trigger",
            MessageKind::Acknowledged => "acknowledge",
            MessageKind::Resolved => "resolve",
        };
        let summary = self.templates.render("summary", message, Extra::default());
        let severity = match message.alert["severity"].as_str() {
            Some("emergency") => "critical",
            Some("critical") => "error",
            Some("info") => "info",
            _ => "warning",
        };
        let mut event = json!({
            "event_action": action,
            "dedup_key": message.alert_id,
            "client": "IonVeil",
            "payload": {
                "summary": super::cut(summary.trim(), SUMMARY_CHARS_MAX),
                "source": message.org_id,
                "severity": severity,
                "timestamp": message.alert["created_at"],
                "component": message.alert["incident_id"],
                "group": message.org_id,
                "class": message.alert["rule_id"],
                "custom_details": {
                    "idempotency_key": message.idempotency_key,
                    "notification_id": message.notification_id,
                    "kind": message.kind,
                    "level": message.level,
                    "cycle": message.cycle,
                    "alert": message.alert,
                    "others": message.others,
                },
            },
        });
        // The API refuses what is null; what there is not is left out.
        if let Some(payload) = event["payload"].as_object_mut() {
            payload.retain(|_, value| !value.is_null());
        }
        event
    }
}

impl Pagerduty {
    pub(super) fn new(config: &PagerdutyConfig, environment: Environment<'_>) -> Result<Self, Fault> {
        let field = "channels.pagerduty";
        let network = Network {
            url: &config.url,
            allow_addresses: &config.allow_addresses,
            allow_plain_http: config.allow_plain_http,
            ca_file: config.ca_file.as_deref(),
            times: config.limits.check(field)?,
        };
        Ok(Pagerduty {
            content: Content::new(&config.templates)?,
            client: Client::new(&network, field)?,
            routing_key: config.routing_key.read("channels.pagerduty.routing_key", environment)?,
        })
    }
}

impl Transport for Pagerduty {
    fn send(&self, message: &Message) -> Delivery {
        let mut event = self.content.write(message);
        event["routing_key"] = self.routing_key.expose().into();
        let mut request = Request::new(event.to_string().into_bytes());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.client.url().clone();
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        identify(request.headers_mut(), message, &message.idempotency_key);
        self.client.send(request).delivery
    }

    fn preview(&self, message: &Message) -> String {
        format!("{:#}", self.content.write(message))
    }
}
