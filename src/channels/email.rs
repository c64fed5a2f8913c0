//! The channel `email`: SMTP, one session a message.
//!
//! lettre writes mails and speaks SMTP; what is here is who is told, what an answer means, and the limits: each step has
//! its time, the whole session has one, and `bounded.rs` reads only so much of each answer.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;

use ionveil_actors::domain::Channel;
use ionveil_actors::error::Invalid;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Mailboxes, MultiPart};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::{Address, Message as Mime};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::bounded::Bounded;
use super::config::{EmailConfig, EmailTls, Recipients, Times};
use super::http::{STRANGER, header_value, is_of_tls, trusted};
use super::message::{Delivery, Message, Transport};
use super::place::Fault;
use super::secret::Environment;
use super::template::{Escape, Extra, Part, TemplateText, Templates};

/// Longest subject, in characters.
const SUBJECT_CHARS_MAX: usize = 200;

pub(super) struct Email {
    content: Content,
    server: String,
    port: u16,
    encryption: Encryption,
    credentials: Option<Credentials>,
    from: Mailbox,
    hello_name: ClientId,
    recipients: Recipients,
    times: Times,
}

enum Encryption {
    Starttls(TlsParameters),
    Implicit(TlsConnector, ServerName<'static>),
    None,
}

/// What the channel says.
pub(super) struct Content {
    templates: Templates,
}

/// A mail that is not addressed yet.
struct Texts {
    subject: String,
    plain: String,
    html: String,
}

impl Content {
    fn new(given: &BTreeMap<String, TemplateText>) -> Result<Self, Fault> {
        let part = |name, escape, default| Part { name, escape, default };
        let parts = [
            part("subject", Escape::Plain, include_str!("templates/email-subject.txt")),
            part("text", Escape::Plain, include_str!("templates/email-text.txt")),
            part("html", Escape::Html, include_str!("templates/email-html.html")),
        ];
        Ok(Content { templates: Templates::new(Channel::Email, &parts, given, "channels.email.templates")? })
    }

    /// What IonVeil ships for the channel.
    pub(super) fn shipped() -> Self {
        Content::new(&BTreeMap::new()).expect("what is shipped is fine")
    }

    fn write(&self, message: &Message) -> Texts {
        let extra = Extra { recipients: &message.recipients, ..Extra::default() };
        let subject = self.templates.render("subject", message, extra);
        // A subject is one line, whatever an alert's title holds.
        let words: Vec<&str> = subject.split(|char: char| char.is_control() || char.is_whitespace()).collect();
        let subject = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        Texts {
            subject: super::cut(&subject, SUBJECT_CHARS_MAX),
            plain: self.templates.render("text", message, extra),
            html: self.templates.render("html", message, extra),
        }
    }

    pub(super) fn preview(&self, message: &Message, to: &[String]) -> String {
        let texts = self.write(message);
        format!("To: {}\nSubject: {}\n\n{}\n\n{}", to.join(", "), texts.subject, texts.plain.trim_end(), texts.html)
    }
}

impl Email {
    pub(super) fn new(config: &EmailConfig, environment: Environment<'_>) -> Result<Self, Fault> {
        let field = |name: &str| format!("channels.email.{name}");
        let times = config.limits.check("channels.email")?;
        let from: Mailbox = config.from.parse().map_err(|_| {
            Invalid::new(field("from"), format_args!("{:?}", config.from), "an address, or a name with <address>")
        })?;
        let check =
            |name: &str| name.parse::<Mailbox>().map(|_| ()).map_err(|_| "an address, or a name with <address>");
        let recipients = Recipients::new(&config.to, &config.assign, "channels.email", check)?;
        let credentials = match (&config.username, &config.password) {
            (None, None) => None,
            (Some(_), Some(_)) if config.tls == EmailTls::None => {
                let allowed = "starttls or implicit beside a password, which would go out for all to read";
                return Err(Invalid::new(field("tls"), "none", allowed).into());
            }
            (Some(username), Some(password)) => {
                let password = password.read(&field("password"), environment)?;
                Some(Credentials::new(username.clone(), password.expose().to_owned()))
            }
            (Some(_), None) => return Err(Invalid::new(field("password"), "missing", "given beside username").into()),
            (None, Some(_)) => return Err(Invalid::new(field("username"), "missing", "given beside password").into()),
        };
        if config.server.is_empty() || config.server.chars().any(|char| char.is_whitespace() || char.is_control()) {
            let value = format_args!("{:?}", config.server);
            return Err(Invalid::new(field("server"), value, "the name or address of a mail server").into());
        }
        let hello_name = match config.hello_name.as_deref().unwrap_or_else(|| from.email.domain()) {
            name if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()) => name.to_owned(),
            name => {
                let value = format_args!("{name:?}");
                return Err(Invalid::new(field("hello_name"), value, "a domain, or an address in [ ]").into());
            }
        };
        Ok(Email {
            content: Content::new(&config.templates)?,
            encryption: encryption(config)?,
            port: config.port.unwrap_or(match config.tls {
                EmailTls::Starttls => 587,
                EmailTls::Implicit => 465,
                EmailTls::None => 25,
            }),
            server: config.server.clone(),
            credentials,
            from,
            hello_name: ClientId::Domain(hello_name),
            recipients,
            times,
        })
    }

    /// The mail, addressed to all, also when it is sent to some of them again.
    fn mime(&self, message: &Message, to: Vec<Mailbox>) -> Result<Vec<u8>, lettre::error::Error> {
        let texts = self.content.write(message);
        let domain = self.from.email.domain();
        let header = |name: &'static str, value: String| HeaderValue::new(HeaderName::new_from_ascii_str(name), value);
        let key = header_value(&message.idempotency_key);
        // A mail that answers the thread of its alert; the thread's own id is never a mail's.
        let thread = format!("<{}.alert@{domain}>", message.alert_id);
        let mut mime = Mime::builder()
            .from(self.from.clone())
            // The same at every attempt, so that mail servers and readers drop the second of two.
            .message_id(Some(format!("<{}@{domain}>", message.notification_id)))
            .in_reply_to(thread.clone())
            .references(thread)
            .subject(texts.subject)
            .raw_header(header("Auto-Submitted", "auto-generated".to_owned()))
            .raw_header(header("Idempotency-Key", key.to_str().unwrap_or_default().to_owned()))
            .raw_header(header("X-IonVeil-Notification", message.notification_id.to_string()))
            .raw_header(header("X-IonVeil-Kind", message.kind.to_string()));
        let all: Mailboxes = to.into_iter().collect();
        mime = mime.mailbox(lettre::message::header::To::from(all));
        Ok(mime.multipart(MultiPart::alternative_plain_html(texts.plain, texts.html))?.formatted())
    }

    async fn deliver(&self, message: &Message, mail: &[u8], pending: &[(usize, &Mailbox)]) -> Result<Outcome, Failure> {
        let mut session = self.connect().await?;
        let answer = self.times.answer;
        if let Some(credentials) = &self.credentials {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            within(answer, "logging in", session.auth(&mechanisms, credentials)).await?;
        }
        let mut parameters = Vec::new();
        if session.server_info().supports_feature(Extension::EightBitMime) {
            parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        } else if !mail.is_ascii() {
            return Err(Failure::Unfit("the server takes ASCII only"));
        }
        let is_ascii = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
        if !is_ascii(&self.from.email) || !pending.iter().all(|(_, mailbox)| is_ascii(&mailbox.email)) {
            if !session.server_info().supports_feature(Extension::SmtpUtfEight) {
                return Err(Failure::Unfit("the server takes ASCII addresses only"));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        let from = Mail::new(Some(self.from.email.clone()), parameters);
        within(answer, "naming the sender", session.command(from)).await?;

        let mut outcome = Outcome::default();
        let mut accepted = Vec::new();
        for (place, mailbox) in pending {
            let rcpt = Rcpt::new(mailbox.email.clone(), Vec::new());
            match within(answer, "naming a recipient", session.command(rcpt)).await {
                Ok(_) => accepted.push(*place),
                // One mailbox that is full, or gone, keeps nobody else from being told.
                Err(failure) => match failure.code() {
                    Some(code) if failure.is_permanent() => outcome.refused = Some(code),
                    Some(_) => outcome.later = Some(failure),
                    None => return Err(failure),
                },
            }
        }
        if !accepted.is_empty() {
            within(answer, "announcing the mail", session.command(Data)).await?;
            within(self.times.send + answer, "sending the mail", session.message(mail)).await?;
            outcome.told = accepted.len();
            accepted.into_iter().for_each(|place| message.told.add(place));
        }
        // The mail is theirs, whatever becomes of the farewell.
        let _ = within(answer, "saying goodbye", session.quit()).await;
        Ok(outcome)
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Failure> {
        let Times { connect, answer, .. } = self.times;
        let tcp = TcpStream::connect((self.server.as_str(), self.port));
        let tcp = within(connect, "connecting", tcp).await?;
        let greeted = "waiting for the greeting";
        match &self.encryption {
            Encryption::None => {
                let stream = Box::new(Bounded::new(tcp));
                within(answer, greeted, AsyncSmtpConnection::connect_with_transport(stream, &self.hello_name)).await
            }
            Encryption::Starttls(parameters) => {
                let stream = Box::new(Bounded::new(tcp));
                let session = AsyncSmtpConnection::connect_with_transport(stream, &self.hello_name);
                let mut session = within(answer, greeted, session).await?;
                if !session.can_starttls() {
                    // Somebody in between may be taking the offer out: nothing is said until it is back.
                    return Err(Failure::NoStarttls);
                }
                let encrypt = session.starttls(parameters.clone(), &self.hello_name);
                within(connect, "encrypting", encrypt).await?;
                Ok(session)
            }
            Encryption::Implicit(connector, name) => {
                let tls = connector.connect(name.clone(), tcp);
                let stream = Box::new(Bounded::new(within(connect, "encrypting", tls).await?));
                within(answer, greeted, AsyncSmtpConnection::connect_with_transport(stream, &self.hello_name)).await
            }
        }
    }
}

impl Transport for Email {
    fn send(&self, message: &Message) -> Delivery {
        let recipients = self.recipients.of(message);
        let parsed: Vec<Option<Mailbox>> = recipients.iter().map(|name| name.parse().ok()).collect();
        let all: Vec<Mailbox> = parsed.iter().flatten().cloned().collect();
        if all.is_empty() {
            let reason =
                if recipients.is_empty() { "nobody is named as recipient" } else { "no recipient is an address" };
            return Delivery::refused(reason);
        }
        message.told.begin(message.notification_id, &recipients);
        let pending: Vec<(usize, &Mailbox)> =
            all.iter().enumerate().filter(|(place, _)| !message.told.has(*place)).collect();
        let told_before = all.len() - pending.len();
        let mut unfit = parsed.len() - all.len();
        let outcome = if pending.is_empty() {
            Outcome::default()
        } else {
            let Ok(mail) = self.mime(message, all.clone()) else {
                return Delivery::refused("the mail cannot be written");
            };
            // A runtime of its own for each session: mails are rare, and no host's runtime is needed.
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return Delivery::retry(format!("no session could be begun: {}", error.kind())),
            };
            let session = self.deliver(message, &mail, &pending);
            let outcome = runtime.block_on(within_total(self.times.total, session));
            // A look-up of the name may still be waiting; nobody waits for it.
            runtime.shutdown_background();
            match outcome {
                Ok(outcome) => outcome,
                Err(failure) => return failure.delivery(),
            }
        };
        if let Some(failure) = outcome.later {
            return failure.delivery();
        }
        message.told.forget();
        let told = outcome.told + told_before;
        unfit += pending.len() - outcome.told;
        match outcome.refused {
            Some(code) if told == 0 => Delivery::refused(format!("the server answered {code} to every recipient")),
            _ => {
                if unfit > 0 {
                    tracing::warn!(
                        channel = "email", notification_id = %message.notification_id, told, refused = unfit,
                        "not everybody could be told"
                    );
                }
                Delivery::Delivered
            }
        }
    }

    fn preview(&self, message: &Message) -> String {
        self.content.preview(message, &self.recipients.of(message))
    }
}

/// What became of the recipients of one session.
#[derive(Default)]
struct Outcome {
    told: usize,
    /// The code of a refusal for good.
    refused: Option<u16>,
    /// A refusal for now.
    later: Option<Failure>,
}

/// Why a session ended.
enum Failure {
    TimedOut(&'static str),
    Io(&'static str, io::ErrorKind),
    Smtp(&'static str, lettre::transport::smtp::Error),
    NoStarttls,
    Stranger,
    /// The server cannot take such a mail.
    Unfit(&'static str),
}

impl Failure {
    fn code(&self) -> Option<u16> {
        match self {
            Failure::Smtp(_, error) => error.status().map(u16::from),
            _ => None,
        }
    }

    fn is_permanent(&self) -> bool {
        matches!(self, Failure::Smtp(_, error) if error.is_permanent())
    }

    /// The server's own words are left out: they name mailboxes.
    fn delivery(&self) -> Delivery {
        match self {
            Failure::TimedOut(doing) => Delivery::retry(format!("timed out {doing}")),
            Failure::Io(doing, kind) => Delivery::retry(format!("the connection failed {doing}: {kind}")),
            Failure::NoStarttls => Delivery::retry("the server does not offer STARTTLS"),
            Failure::Stranger => Delivery::retry(STRANGER),
            Failure::Unfit(why) => Delivery::refused(*why),
            Failure::Smtp(doing, error) => match self.code() {
                Some(code) if error.is_permanent() => Delivery::refused(format!("the server answered {code} {doing}")),
                Some(code) => Delivery::retry(format!("the server answered {code} {doing}")),
                None if error.is_client() => Delivery::refused(format!("the server offers no way of {doing}")),
                None => Delivery::retry(format!("the session broke {doing}")),
            },
        }
    }
}

impl From<(&'static str, io::Error)> for Failure {
    fn from((doing, error): (&'static str, io::Error)) -> Self {
        if is_of_tls(&error) {
            return Failure::Stranger;
        }
        Failure::Io(doing, error.kind())
    }
}

impl From<(&'static str, lettre::transport::smtp::Error)> for Failure {
    fn from((doing, error): (&'static str, lettre::transport::smtp::Error)) -> Self {
        if is_of_tls(&error) {
            return Failure::Stranger;
        }
        Failure::Smtp(doing, error)
    }
}

/// One step of a session; `doing` says in a reason what was under way.
async fn within<T, E>(
    limit: std::time::Duration,
    doing: &'static str,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, Failure>
where
    Failure: From<(&'static str, E)>,
{
    match tokio::time::timeout(limit, step).await {
        Ok(outcome) => outcome.map_err(|error| Failure::from((doing, error))),
        Err(_) => Err(Failure::TimedOut(doing)),
    }
}

async fn within_total<T>(
    limit: std::time::Duration,
    session: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(limit, session).await.unwrap_or(Err(Failure::TimedOut("altogether")))
}

fn encryption(config: &EmailConfig) -> Result<Encryption, Invalid> {
    let name = config.server.clone();
    let unfit = |_: &dyn fmt::Display| {
        Invalid::new("channels.email.server", format_args!("{name:?}"), "a name that a certificate can have")
    };
    if config.tls == EmailTls::None {
        return Ok(Encryption::None);
    }
    let certificates = trusted(config.ca_file.as_deref(), "channels.email")?;
    if config.tls == EmailTls::Starttls {
        let mut builder = TlsParameters::builder(name.clone()).certificate_store(CertificateStore::None);
        for der in &certificates {
            // What the machine trusts may hold certificates that rustls does not know how to read.
            if let Ok(certificate) = Certificate::from_der(der.to_vec()) {
                builder = builder.add_root_certificate(certificate);
            }
        }
        return builder.build().map(Encryption::Starttls).map_err(|error| unfit(&error));
    }
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unfit(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerName::try_from(name.clone()).map_err(|error| unfit(&error))?;
    Ok(Encryption::Implicit(TlsConnector::from(Arc::new(tls)), server))
}
