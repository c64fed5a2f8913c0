//! The channels `webhook`, `sms`, `push` and `radio`: one HTTP request, whose body a template writes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ionveil_actors::domain::Channel;
use ionveil_actors::error::Invalid;
use sha2::{Digest, Sha256};
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};

use super::config::{Auth, GatewayConfig, Recipients};
use super::http::{Client, Network, header_value, identify};
use super::message::{Delivery, Message, Transport};
use super::place::Fault;
use super::secret::{Environment, Revealed};
use super::signature::Signer;
use super::sms;
use super::template::{Escape, Extra, Part, TemplateText, Templates};

/// Headers that the channel writes itself.
const OWN_HEADERS: [&str; 9] = [
    "authorization",
    "content-length",
    "content-type",
    "host",
    "idempotency-key",
    "transfer-encoding",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
];

/// One of the four channels.
pub(super) struct Gateway {
    content: Content,
    client: Client,
    method: Method,
    headers: HeaderMap,
    signer: Option<Signer>,
    recipients: Recipients,
    total: Duration,
}

/// What the channel says, apart from where it sends it.
pub(super) struct Content {
    channel: Channel,
    templates: Templates,
    segments_max: u8,
}

impl Content {
    pub(super) fn new(
        channel: Channel,
        content_type: &str,
        segments_max: u8,
        given: &BTreeMap<String, TemplateText>,
        field: &str,
    ) -> Result<Self, Fault> {
        let escape = escape_for(content_type);
        let body = match channel {
            Channel::Webhook => include_str!("templates/webhook-body.json"),
            Channel::Sms => include_str!("templates/sms-body.json"),
            Channel::Push => include_str!("templates/push-body.json"),
            _ => include_str!("templates/radio-body.json"),
        };
        // What is shipped is JSON; whoever wants another type brings the template for it.
        if escape != Escape::Json && !given.contains_key("body") {
            let allowed = "a template for that type, or the content_type application/json";
            return Err(Invalid::new(format!("{field}.body"), "missing", allowed).into());
        }
        let mut parts = vec![
            Part { name: "body", escape, default: if escape == Escape::Json { body } else { "" } },
            Part { name: "query", escape: Escape::Form, default: "" },
        ];
        if channel != Channel::Webhook {
            parts.push(Part { name: "text", escape: Escape::Plain, default: include_str!("templates/short-text.txt") });
        }
        Ok(Content { channel, templates: Templates::new(channel, &parts, given, field)?, segments_max })
    }

    /// What IonVeil ships for the channel.
    pub(super) fn shipped(channel: Channel) -> Self {
        Content::new(channel, "application/json", 1, &BTreeMap::new(), "").expect("what is shipped is fine")
    }

    /// Query and body of the request for one recipient.
    fn write(&self, message: &Message, recipients: &[String], recipient: Option<&str>) -> (String, String) {
        let mut extra = Extra { recipient, recipients, text: None };
        let text = match self.channel {
            Channel::Webhook => None,
            Channel::Sms => Some(sms::fit(&self.templates.render("text", message, extra), self.segments_max)),
            _ => Some(self.templates.render("text", message, extra).trim().to_owned()),
        };
        extra.text = text.as_deref();
        let query = self.templates.render("query", message, extra).trim().to_owned();
        (query, self.templates.render("body", message, extra))
    }

    pub(super) fn preview(&self, message: &Message, recipients: &[String]) -> String {
        let (query, body) = self.write(message, recipients, recipients.first().map(String::as_str));
        match query.as_str() {
            "" => body,
            query => format!("?{query}\n\n{body}"),
        }
    }
}

fn escape_for(content_type: &str) -> Escape {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/x-www-form-urlencoded" => Escape::Form,
        json if json == "application/json" || json.ends_with("+json") => Escape::Json,
        xml if xml.ends_with("/xml") || xml.ends_with("+xml") || xml == "text/html" => Escape::Html,
        _ => Escape::Plain,
    }
}

impl Gateway {
    pub(super) fn new(channel: Channel, config: &GatewayConfig, environment: Environment<'_>) -> Result<Self, Fault> {
        let field = format!("channels.{channel}");
        let times = config.limits.check(&field)?;
        let segments_max = match (channel, config.segments_max) {
            (_, None) => 1,
            (Channel::Sms, Some(segments @ 1..=10)) => segments,
            (Channel::Sms, Some(segments)) => {
                return Err(Invalid::new(format!("{field}.segments_max"), segments, "1 to 10").into());
            }
            (_, Some(_)) => return Err(Invalid::new(format!("{field}.segments_max"), "given", "left out").into()),
        };
        let method = match config.method.as_str() {
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            "PATCH" => Method::PATCH,
            "GET" => Method::GET,
            other => {
                let value = format_args!("{other:?}");
                return Err(Invalid::new(format!("{field}.method"), value, "POST, PUT, PATCH, GET").into());
            }
        };
        let url = config.url.read(&format!("{field}.url"), environment)?;
        let network = Network {
            url: url.expose(),
            allow_addresses: &config.allow_addresses,
            allow_plain_http: config.allow_plain_http,
            ca_file: config.ca_file.as_deref(),
            times,
        };
        let signer = match &config.signing_secret {
            Some(secret) => {
                let field = format!("{field}.signing_secret");
                if method == Method::GET {
                    return Err(Invalid::new(field, "given", "left out beside GET, which has no body to sign").into());
                }
                Some(Signer::new(&secret.read(&field, environment)?, &field)?)
            }
            None => None,
        };
        let check = |name: &str| match name.trim().is_empty() || name.chars().any(char::is_control) {
            true => Err("a text without control characters"),
            false => Ok(()),
        };
        Ok(Gateway {
            content: Content::new(
                channel,
                &config.content_type,
                segments_max,
                &config.templates,
                &format!("{field}.templates"),
            )?,
            client: Client::new(&network, &field)?,
            method,
            headers: headers(config, &field, environment)?,
            signer,
            recipients: Recipients::new(&config.to, &config.assign, &field, check)?,
            total: times.total,
        })
    }

    /// One request, about one recipient or about all.
    fn request(&self, message: &Message, recipients: &[String], recipient: Option<&str>) -> Delivery {
        let (query, body) = self.content.write(message, recipients, recipient);
        let Some(url) = with_query(self.client.url(), &query) else {
            return Delivery::refused("the template of the query makes no URL");
        };
        let body = if self.method == Method::GET { Vec::new() } else { body.into_bytes() };
        let key = match recipient {
            // A gateway that knows a key takes it for the same message, which the next one's is not.
            Some(recipient) => format!("{}/{}", message.idempotency_key, short_hash(recipient)),
            None => message.idempotency_key.clone(),
        };
        let mut headers = self.headers.clone();
        if self.method == Method::GET {
            headers.remove(header::CONTENT_TYPE);
        }
        identify(&mut headers, message, &key);
        if let Some(signer) = &self.signer {
            let id = match recipient {
                Some(recipient) => format!("{}-{}", message.notification_id, short_hash(recipient)),
                None => message.notification_id.to_string(),
            };
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            headers.insert("webhook-signature", header_value(&signer.sign(&id, now, &body)));
            headers.insert("webhook-timestamp", now.into());
            headers.insert("webhook-id", header_value(&id));
        }
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = url;
        *request.headers_mut() = headers;
        self.client.send(request).delivery
    }

    /// A request for each who has not been told; those who cannot be told now do not keep the others waiting.
    fn send_to_each(&self, message: &Message) -> Delivery {
        let recipients = self.recipients.of(message);
        if recipients.is_empty() {
            return Delivery::refused("nobody is named as recipient");
        }
        let started = Instant::now();
        message.told.begin(message.notification_id, &recipients);
        let (mut told, mut retry, mut refused) = (0, None, None);
        for (place, recipient) in recipients.iter().enumerate() {
            if message.told.has(place) {
                told += 1;
                continue;
            }
            if started.elapsed() >= self.total {
                retry.get_or_insert_with(|| Delivery::retry("timed out before everybody was told"));
                break;
            }
            match self.request(message, &recipients, Some(recipient)) {
                Delivery::Delivered => {
                    message.told.add(place);
                    told += 1;
                }
                // The gateway has enough for now, whoever is next.
                wait @ Delivery::Retry { after: Some(_), .. } => {
                    retry = Some(wait);
                    break;
                }
                again @ Delivery::Retry { .. } => retry = retry.or(Some(again)),
                never @ Delivery::Refused { .. } => refused = refused.or(Some(never)),
            }
        }
        if let Some(retry) = retry {
            return retry;
        }
        message.told.forget();
        match refused {
            Some(refusal) if told == 0 => refusal,
            Some(_) => {
                tracing::warn!(
                    channel = self.content.channel.as_str(), notification_id = %message.notification_id,
                    told, refused = recipients.len() - told, "not everybody could be told"
                );
                Delivery::Delivered
            }
            None => Delivery::Delivered,
        }
    }
}

impl Transport for Gateway {
    fn send(&self, message: &Message) -> Delivery {
        match self.content.channel {
            Channel::Sms => self.send_to_each(message),
            _ => self.request(message, &self.recipients.of(message), None),
        }
    }

    fn preview(&self, message: &Message) -> String {
        self.content.preview(message, &self.recipients.of(message))
    }
}

fn headers(config: &GatewayConfig, field: &str, environment: Environment<'_>) -> Result<HeaderMap, Invalid> {
    let mut headers = HeaderMap::new();
    for (name, value) in &config.headers {
        let field = format!("{field}.headers.{name}");
        let parsed = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| Invalid::new(&field, "not the name of a header", "letters, digits and hyphens"))?;
        if OWN_HEADERS.contains(&parsed.as_str()) {
            return Err(Invalid::new(field, "given", "left out: auth, content_type or signing_secret say it"));
        }
        let value = value.read(&field, environment)?;
        headers.insert(parsed, secret_header(value.expose(), &field)?);
    }
    if let Some(auth) = &config.auth {
        let field = format!("{field}.auth");
        headers.insert(header::AUTHORIZATION, authorization(auth, &field, environment)?);
    }
    let content_type = HeaderValue::from_str(&config.content_type)
        .map_err(|_| Invalid::new(format!("{field}.content_type"), "not a type", "such as application/json"))?;
    headers.insert(header::CONTENT_TYPE, content_type);
    Ok(headers)
}

fn authorization(auth: &Auth, field: &str, environment: Environment<'_>) -> Result<HeaderValue, Invalid> {
    let read = |name: &str, secret: &super::Secret| -> Result<Revealed, Invalid> {
        secret.read(&format!("{field}.{name}"), environment)
    };
    let text = match (&auth.username, &auth.password, &auth.bearer) {
        (Some(username), Some(password), None) if !username.contains(':') => {
            let pair = format!("{username}:{}", read("password", password)?.expose());
            format!("Basic {}", STANDARD.encode(pair))
        }
        (None, None, Some(token)) => format!("Bearer {}", read("bearer", token)?.expose()),
        _ => {
            let allowed = "username (without a colon) and password, or bearer";
            return Err(Invalid::new(field, "something else", allowed));
        }
    };
    secret_header(&text, field)
}

fn secret_header(text: &str, field: &str) -> Result<HeaderValue, Invalid> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Invalid::new(field, "what no header can hold", "a text without control characters"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn with_query(url: &Uri, query: &str) -> Option<Uri> {
    if query.is_empty() {
        return Some(url.clone());
    }
    let separator = if url.query().is_some() { '&' } else { '?' };
    format!("{url}{separator}{query}").parse().ok()
}

/// So much of a recipient's hash that two of one message are told apart, and no number is given away.
fn short_hash(recipient: &str) -> String {
    Sha256::digest(recipient.as_bytes())[..6].iter().map(|byte| format!("{byte:02x}")).collect()
}
