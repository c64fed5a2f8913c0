//! How channels are set up: the tables under `[channels]` of the configuration file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ionveil_actors::error::Invalid;
use serde::Deserialize;

use super::message::Message;
use super::place::{BadConfig, Document, Fault};
use super::secret::{Secret, Setting};
use super::template::TemplateText;

/// What is set up, by channel. `log` needs no set-up, `callback` is set by the host.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// SMTP.
    pub email: Option<EmailConfig>,
    /// A signed HTTP request.
    pub webhook: Option<GatewayConfig>,
    /// An incoming webhook of Slack.
    pub slack: Option<SlackConfig>,
    /// PagerDuty's Events API, version 2.
    pub pagerduty: Option<PagerdutyConfig>,
    /// Text messages over an HTTP gateway.
    pub sms: Option<GatewayConfig>,
    /// Push messages over an HTTP gateway.
    pub push: Option<GatewayConfig>,
    /// The radio dispatcher over an HTTP gateway.
    pub radio: Option<GatewayConfig>,
}

impl Config {
    /// Reads a file of which `[channels]` is the only table. `name` is what the file is called in errors.
    ///
    /// # Errors
    /// What is wrong first, with its line, key, value and what is allowed; for an unknown key the nearest known one.
    pub fn parse(name: &str, text: &str) -> Result<Self, BadConfig> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            #[serde(default)]
            channels: Config,
        }
        let file: File = toml::from_str(text).map_err(|error| Document { name, text }.toml_error(&error))?;
        Ok(file.channels)
    }
}

/// `[channels.email]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmailConfig {
    /// Name or address of the mail server.
    pub server: String,
    /// Default 587 with STARTTLS, 465 with TLS from the first byte, 25 without.
    pub port: Option<u16>,
    /// How the connection is encrypted.
    #[serde(default)]
    pub tls: EmailTls,
    /// With `password`, for servers that ask who it is. Never over a connection that is not encrypted.
    pub username: Option<String>,
    /// With `username`.
    pub password: Option<Secret>,
    /// The sender, `IonVeil <ionveil@example.org>`.
    pub from: String,
    /// Whom mails go to when nothing else says so.
    #[serde(default)]
    pub to: Vec<String>,
    /// Whom they go to instead, by org and level.
    #[serde(default)]
    pub assign: Vec<Assignment>,
    /// What the server is greeted with; default the domain of `from`.
    pub hello_name: Option<String>,
    /// PEM file of the only certificates that are trusted; default those that the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// Time limits.
    #[serde(default)]
    pub limits: Limits,
    /// Parts `subject`, `text`, `html`.
    #[serde(default)]
    pub templates: BTreeMap<String, TemplateText>,
}

/// How a connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EmailTls {
    /// After STARTTLS; a server that does not offer it gets nothing.
    #[default]
    Starttls,
    /// From the first byte.
    Implicit,
    /// Not at all: for a relay on the same machine.
    None,
}

/// `[channels.webhook]`, `[channels.sms]`, `[channels.push]`, `[channels.radio]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// Where requests go; a secret when its path or query holds a token.
    pub url: Setting,
    /// `POST` (default), `PUT`, `PATCH`, or `GET`, which has no body.
    #[serde(default = "post")]
    pub method: String,
    /// Further headers.
    #[serde(default)]
    pub headers: BTreeMap<String, Setting>,
    /// What the `Authorization` header says.
    pub auth: Option<Auth>,
    /// Key of the signature; without one requests are not signed.
    pub signing_secret: Option<Secret>,
    /// Default `application/json`. It decides how values in the template of the body are escaped.
    #[serde(default = "application_json")]
    pub content_type: String,
    /// Whom messages go to when nothing else says so. `sms` makes a request for each of them.
    #[serde(default)]
    pub to: Vec<String>,
    /// Whom they go to instead, by org and level.
    #[serde(default)]
    pub assign: Vec<Assignment>,
    /// `sms` only: into how many short messages a text may be split before it is cut, 1 to 10; default 1.
    pub segments_max: Option<u8>,
    /// Networks that are not public and yet may be connected to, such as `10.20.0.0/16`.
    #[serde(default)]
    pub allow_addresses: Vec<String>,
    /// Whether the URL may begin with `http://`.
    #[serde(default)]
    pub allow_plain_http: bool,
    /// PEM file of the only certificates that are trusted; default those that the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// Time limits.
    #[serde(default)]
    pub limits: Limits,
    /// Parts `body`, `query`, and for all but `webhook` `text`, which the body may name.
    #[serde(default)]
    pub templates: BTreeMap<String, TemplateText>,
}

fn post() -> String {
    "POST".to_owned()
}

fn application_json() -> String {
    "application/json".to_owned()
}

/// What the `Authorization` header of a request says: a user name with a password, or a token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// `Basic`, with `password`.
    pub username: Option<String>,
    /// With `username`.
    pub password: Option<Secret>,
    /// `Bearer`.
    pub bearer: Option<Secret>,
}

/// `[channels.slack]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlackConfig {
    /// The incoming webhook; whoever knows it can post.
    pub url: Secret,
    /// Networks that are not public and yet may be connected to.
    #[serde(default)]
    pub allow_addresses: Vec<String>,
    /// Whether the URL may begin with `http://`.
    #[serde(default)]
    pub allow_plain_http: bool,
    /// PEM file of the only certificates that are trusted; default those that the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// Time limits.
    #[serde(default)]
    pub limits: Limits,
    /// Part `text`.
    #[serde(default)]
    pub templates: BTreeMap<String, TemplateText>,
}

/// `[channels.pagerduty]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PagerdutyConfig {
    /// The integration key of a service.
    pub routing_key: Secret,
    /// Default the service region of the United States; `https://events.eu.pagerduty.com/v2/enqueue` for Europe.
    #[serde(default = "pagerduty_url")]
    pub url: String,
    /// Networks that are not public and yet may be connected to.
    #[serde(default)]
    pub allow_addresses: Vec<String>,
    /// Whether the URL may begin with `http://`.
    #[serde(default)]
    pub allow_plain_http: bool,
    /// PEM file of the only certificates that are trusted; default those that the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// Time limits.
    #[serde(default)]
    pub limits: Limits,
    /// Part `summary`.
    #[serde(default)]
    pub templates: BTreeMap<String, TemplateText>,
}

fn pagerduty_url() -> String {
    "https://events.pagerduty.com/v2/enqueue".to_owned()
}

/// Who is told of an org's alerts, of a level, or of both. The entry that says most wins: org and level, org, level.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// Any org when left out.
    pub org: Option<String>,
    /// 1 to 4; any level when left out.
    pub level: Option<u8>,
    /// Addresses, numbers or names, as the channel understands them.
    pub to: Vec<String>,
}

/// How long each phase of one attempt may take, in seconds: more than 0, at most 600, fractions allowed.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Looking up the name, and then connecting, encryption included; default 5.
    pub connect_seconds: f64,
    /// Sending; default 10.
    pub send_seconds: f64,
    /// Waiting for an answer; default 10.
    pub answer_seconds: f64,
    /// All of it; default 20.
    pub total_seconds: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { connect_seconds: 5.0, send_seconds: 10.0, answer_seconds: 10.0, total_seconds: 20.0 }
    }
}

/// [`Limits`] that were checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) connect: Duration,
    pub(super) send: Duration,
    pub(super) answer: Duration,
    pub(super) total: Duration,
}

impl Limits {
    pub(super) fn check(self, field: &str) -> Result<Times, Invalid> {
        let check = |name: &str, seconds: f64| {
            if seconds > 0.0 && seconds <= 600.0 {
                return Ok(Duration::from_secs_f64(seconds));
            }
            Err(Invalid::new(format!("{field}.limits.{name}"), seconds, "more than 0, at most 600"))
        };
        Ok(Times {
            connect: check("connect_seconds", self.connect_seconds)?,
            send: check("send_seconds", self.send_seconds)?,
            answer: check("answer_seconds", self.answer_seconds)?,
            total: check("total_seconds", self.total_seconds)?,
        })
    }
}

/// Whom a channel tells.
#[derive(Debug, Clone)]
pub(super) struct Recipients {
    to: Vec<String>,
    assign: Vec<Assignment>,
}

impl Recipients {
    /// Checks levels, that nobody is named by nothing, and each name by `check`.
    pub(super) fn new(
        to: &[String],
        assign: &[Assignment],
        field: &str,
        check: impl Fn(&str) -> Result<(), &'static str>,
    ) -> Result<Self, Fault> {
        let check_all = |field: &str, names: &[String]| {
            names.iter().enumerate().try_for_each(|(at, name)| {
                check(name).map_err(|allowed| Invalid::new(format!("{field}.{at}"), format_args!("{name:?}"), allowed))
            })
        };
        check_all(&format!("{field}.to"), to)?;
        for (at, entry) in assign.iter().enumerate() {
            let field = format!("{field}.assign.{at}");
            if let Some(level) = entry.level.filter(|level| !(1..=4).contains(level)) {
                return Err(Invalid::new(format!("{field}.level"), level, "1 to 4").into());
            }
            if entry.org.is_none() && entry.level.is_none() {
                return Err(Invalid::new(field, "for every org and level", "an org, a level, or both").into());
            }
            check_all(&format!("{field}.to"), &entry.to)?;
        }
        Ok(Recipients { to: to.to_vec(), assign: assign.to_vec() })
    }

    /// Whom the message itself names, else whom the configuration names for its org and levels.
    pub(super) fn of(&self, message: &Message) -> Vec<String> {
        if !message.recipients.is_empty() {
            return message.recipients.clone();
        }
        let levels = if message.levels.is_empty() { &[message.level][..] } else { &message.levels };
        let mut all: Vec<String> = Vec::new();
        for name in levels.iter().flat_map(|level| self.of_level(message, *level)) {
            if !all.contains(name) {
                all.push(name.clone());
            }
        }
        all
    }

    fn of_level(&self, message: &Message, level: u8) -> &[String] {
        let matches = |entry: &&Assignment| {
            entry.org.as_deref().is_none_or(|org| org == message.org_id.as_str())
                && entry.level.is_none_or(|of| of == level)
        };
        let specific = |entry: &&Assignment| (entry.org.is_some(), entry.level.is_some());
        // Of two that say as much the later one, as with keys that are given twice.
        self.assign.iter().filter(matches).max_by_key(specific).map_or(&self.to, |entry| &entry.to)
    }
}
