//! The channel `slack`: an incoming webhook.

use std::collections::BTreeMap;

use ionveil_actors::domain::Channel;
use serde_json::json;
use ureq::http::{HeaderValue, Method, Request, header};

use super::config::SlackConfig;
use super::http::{Client, Network, identify};
use super::message::{Delivery, Message, Transport};
use super::place::Fault;
use super::secret::Environment;
use super::template::{Escape, Extra, Part, TemplateText, Templates};

/// Longest text that Slack takes without cutting it, in characters.
const TEXT_CHARS_MAX: usize = 4_000;
/// Longest token of a refusal that is taken for one.
const TOKEN_BYTES_MAX: usize = 60;

pub(super) struct Slack {
    content: Content,
    client: Client,
}

/// What the channel says.
pub(super) struct Content {
    templates: Templates,
}

impl Content {
    fn new(given: &BTreeMap<String, TemplateText>) -> Result<Self, Fault> {
        let text = Part { name: "text", escape: Escape::Slack, default: include_str!("templates/slack-text.slack") };
        Ok(Content { templates: Templates::new(Channel::Slack, &[text], given, "channels.slack.templates")? })
    }

    /// What IonVeil ships for the channel.
    pub(super) fn shipped() -> Self {
        Content::new(&BTreeMap::new()).expect("what is shipped is fine")
    }

    pub(super) fn write(&self, message: &Message) -> String {
        let text = self.templates.render("text", message, Extra::default());
        super::cut(text.trim(), TEXT_CHARS_MAX)
    }
}

impl Slack {
    pub(super) fn new(config: &SlackConfig, environment: Environment<'_>) -> Result<Self, Fault> {
        let field = "channels.slack";
        let url = config.url.read("channels.slack.url", environment)?;
        let network = Network {
            url: url.expose(),
            allow_addresses: &config.allow_addresses,
            allow_plain_http: config.allow_plain_http,
            ca_file: config.ca_file.as_deref(),
            times: config.limits.check(field)?,
        };
        Ok(Slack { content: Content::new(&config.templates)?, client: Client::new(&network, field)? })
    }
}

impl Transport for Slack {
    fn send(&self, message: &Message) -> Delivery {
        let mut request = Request::new(json!({ "text": self.content.write(message) }).to_string().into_bytes());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.client.url().clone();
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        identify(request.headers_mut(), message, &message.idempotency_key);
        let answer = self.client.send(request);
        match answer.delivery {
            // Slack says in one word what is wrong, such as channel_is_archived.
            Delivery::Refused { reason } if is_token(answer.body.trim()) => {
                Delivery::refused(format!("{reason}, {}", answer.body.trim()))
            }
            delivery => delivery,
        }
    }

    fn preview(&self, message: &Message) -> String {
        self.content.write(message)
    }
}

/// A word of Slack's own, and nothing that could come from a message.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= TOKEN_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}
