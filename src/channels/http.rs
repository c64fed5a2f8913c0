//! One HTTP request out, and what its answer means.
//!
//! Every request has a connection of its own, made to an address that was judged. Redirects are not followed, proxies are
//! not asked, and of an answer nothing is read but its head and, where a channel wants it, a bounded piece of its body.

use std::error::Error;
use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ionveil_actors::error::Invalid;
use ipnet::IpNet;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Timeout};

use super::address::is_allowed;
use super::config::Times;
use super::message::{Delivery, Message};

/// Largest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How much of an answer's body a channel can ask for, in bytes.
const BODY_BYTES_MAX: u64 = 4 * 1024;

/// What a channel says about where its requests may go.
pub(super) struct Network<'a> {
    pub(super) url: &'a str,
    pub(super) allow_addresses: &'a [String],
    pub(super) allow_plain_http: bool,
    pub(super) ca_file: Option<&'a Path>,
    pub(super) times: Times,
}

/// Sends requests to one URL.
#[derive(Debug, Clone)]
pub(super) struct Client {
    agent: Agent,
    url: Uri,
}

/// What a request brought.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) delivery: Delivery,
    /// The beginning of the body, of answers that are no success.
    pub(super) body: String,
}

impl Client {
    /// Checks the URL and what goes with it; `field` is how the channel is called in errors, which do not show the URL.
    pub(super) fn new(network: &Network<'_>, field: &str) -> Result<Self, Invalid> {
        let url = check_url(network, field)?;
        let parse = |(at, text): (usize, &String)| {
            let allowed = "a network, such as 10.20.0.0/16 or 10.20.0.5/32";
            let refuse = |_| Invalid::new(format!("{field}.allow_addresses.{at}"), format_args!("{text:?}"), allowed);
            text.parse::<IpNet>().map_err(refuse)
        };
        let allowed = network.allow_addresses.iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
        // Certificates are not looked for where none is needed.
        let certificates = match url.scheme_str() {
            Some("https") => trusted(network.ca_file, field)?,
            _ => Vec::new(),
        };
        let resolver = Guard { names: DefaultResolver::default(), allowed };
        Ok(Client { agent: agent(network.times, &certificates, resolver), url })
    }

    pub(super) fn url(&self) -> &Uri {
        &self.url
    }

    /// Sends one request and tells what its answer means.
    pub(super) fn send(&self, mut request: Request<Vec<u8>>) -> Answer {
        let us = HeaderValue::from_static(concat!("IonVeil/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().entry(header::USER_AGENT).or_insert(us);
        let outcome =
            if request.body().is_empty() { self.agent.run(request.map(|_| ())) } else { self.agent.run(request) };
        match outcome {
            Ok(mut response) => {
                let delivery = judge(response.status(), response.headers(), SystemTime::now());
                let body = match delivery {
                    Delivery::Delivered => String::new(),
                    // Whatever is wrong with the body, the status has been understood.
                    _ => read_beginning(response.body_mut()),
                };
                Answer { delivery, body }
            }
            Err(error) => Answer { delivery: failed(&error), body: String::new() },
        }
    }
}

fn check_url(network: &Network<'_>, field: &str) -> Result<Uri, Invalid> {
    let field = format!("{field}.url");
    let parsed: Option<Uri> = network.url.parse().ok();
    let (Some(url), true) = (parsed, network.url.is_ascii()) else {
        return Err(Invalid::new(field, "no URL", "https://host/path"));
    };
    match url.scheme_str() {
        Some("https") => {}
        Some("http") if network.allow_plain_http => {}
        Some("http") => {
            return Err(Invalid::new(field, "http://…", "https://…, or allow_plain_http = true beside it"));
        }
        _ => return Err(Invalid::new(field, "without https://", "https://host/path")),
    }
    let authority = url.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        return Err(Invalid::new(field, "with a user name in it", "https://host/path, and auth beside it"));
    }
    if url.host().is_none_or(str::is_empty) {
        return Err(Invalid::new(field, "without a host", "https://host/path"));
    }
    Ok(url)
}

/// The certificates that vouch for servers: those of the file, or those that the machine trusts.
pub(super) fn trusted(ca_file: Option<&Path>, field: &str) -> Result<Vec<CertificateDer<'static>>, Invalid> {
    let field = format!("{field}.ca_file");
    let Some(path) = ca_file else {
        let found = rustls_native_certs::load_native_certs().certs;
        if found.is_empty() {
            return Err(Invalid::new(
                field,
                "missing, and this machine trusts no certificate",
                "a PEM file, or the package ca-certificates",
            ));
        }
        return Ok(found);
    };
    let refuse = |why: &dyn fmt::Display| {
        Invalid::new(&field, format_args!("{} ({why})", path.display()), "a PEM file with certificates")
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(|found| found.collect::<Result<Vec<_>, _>>())
        .map_err(|error| refuse(&error))?;
    if certificates.is_empty() {
        return Err(refuse(&"none in it"));
    }
    Ok(certificates)
}

fn agent(times: Times, certificates: &[CertificateDer<'static>], resolver: impl Resolver) -> Agent {
    let certificates: Vec<Certificate<'static>> =
        certificates.iter().map(|der| Certificate::from_der(der.as_ref()).to_owned()).collect();
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&certificates))
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .max_idle_connections(0)
        .max_response_header_size(HEAD_BYTES_MAX)
        .timeout_resolve(Some(times.connect))
        .timeout_connect(Some(times.connect))
        .timeout_send_request(Some(times.send))
        .timeout_send_body(Some(times.send))
        .timeout_recv_response(Some(times.answer))
        .timeout_recv_body(Some(times.answer))
        .timeout_global(Some(times.total))
        .build();
    Agent::with_parts(config, DefaultConnector::default(), resolver)
}

/// Looks names up and hands out only addresses that may be connected to. What it hands out is what is connected to: there
/// is no second look-up that could say otherwise.
#[derive(Debug)]
struct Guard<R> {
    names: R,
    allowed: Vec<IpNet>,
}

#[derive(Debug, thiserror::Error)]
#[error("the host has no public address, and none that allow_addresses names")]
struct NotAllowed;

impl<R: Resolver> Resolver for Guard<R> {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.names.resolve(uri, config, timeout)?;
        let mut kept = self.empty();
        for address in found.iter().filter(|address| is_allowed(address.ip(), &self.allowed)) {
            kept.push(*address);
        }
        if kept.is_empty() {
            return Err(ureq::Error::Other(Box::new(NotAllowed)));
        }
        Ok(kept)
    }
}

/// What a status means: 2xx is delivered, 429 and 5xx are tried again, everything else is final.
fn judge(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Delivery {
    let code = status.as_u16();
    match code {
        200..=299 => Delivery::Delivered,
        429 | 500..=599 => {
            Delivery::Retry { reason: format!("the server answered {code}"), after: retry_after(headers, now) }
        }
        300..=399 => Delivery::refused(format!("the server answered {code}, and redirects are not followed")),
        _ => Delivery::refused(format!("the server answered {code}")),
    }
}

/// `Retry-After`, in seconds or as a date, which counts from the server's own `Date` where there is one: clocks differ.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let given = text(header::RETRY_AFTER)?;
    let after = if !given.is_empty() && given.bytes().all(|byte| byte.is_ascii_digit()) {
        given.parse().map_or(Delivery::AFTER_MAX, Duration::from_secs)
    } else {
        let at = httpdate::parse_http_date(given).ok()?;
        let from = text(header::DATE).and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or(now);
        at.duration_since(from).unwrap_or_default()
    };
    Some(after.min(Delivery::AFTER_MAX))
}

/// What a request that got no answer means. Nothing of the error's own text is kept: it may name addresses.
fn failed(error: &ureq::Error) -> Delivery {
    use ureq::Error as E;
    match error {
        E::Timeout(phase) => Delivery::retry(format!("timed out {}", doing(*phase))),
        E::Other(inner) if inner.is::<NotAllowed>() => Delivery::refused(NotAllowed.to_string()),
        E::HostNotFound => Delivery::retry("the host was not found"),
        E::Io(io) if is_of_tls(io) => Delivery::retry(STRANGER),
        E::Io(io) => Delivery::retry(format!("the connection failed: {}", io.kind())),
        E::Tls(_) | E::Rustls(_) | E::TlsRequired | E::Pem(_) => Delivery::retry(STRANGER),
        E::LargeResponseHeader(..) => Delivery::retry("the answer has no end"),
        E::Protocol(_) => Delivery::retry("the answer is not HTTP"),
        E::Http(_) | E::BadUri(_) | E::RequireHttpsOnly(_) => {
            Delivery::refused("the request cannot be written as HTTP")
        }
        _ => Delivery::retry("the connection failed"),
    }
}

/// Why nothing is said to a server whose certificate is not trusted, or is another's. The operator may be about to renew
/// it, and somebody in between may go away: it is tried again.
pub(super) const STRANGER: &str = "the server did not prove who it is";

/// Whether the error, or one that it stems from, is one of TLS.
pub(super) fn is_of_tls(error: &(dyn Error + 'static)) -> bool {
    let of_io = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is::<rustls::Error>() || of_io.is_some_and(|inner| is_of_tls(inner)) || error.source().is_some_and(is_of_tls)
}

fn doing(phase: Timeout) -> &'static str {
    match phase {
        Timeout::Resolve => "looking up the host",
        Timeout::Connect => "connecting",
        Timeout::SendRequest | Timeout::SendBody => "sending",
        Timeout::RecvResponse | Timeout::RecvBody => "waiting for the answer",
        _ => "altogether",
    }
}

fn read_beginning(body: &mut ureq::Body) -> String {
    let mut beginning = Vec::new();
    let read = body.as_reader().take(BODY_BYTES_MAX).read_to_end(&mut beginning);
    // A body that breaks off is as good as the piece that came.
    let _ = read;
    String::from_utf8_lossy(&beginning).into_owned()
}

/// The headers by which a receiver knows which message this is.
pub(super) fn identify(headers: &mut HeaderMap, message: &Message, key: &str) {
    let mut insert = |name: &'static str, value: &str| {
        headers.insert(name, header_value(value));
    };
    insert("idempotency-key", key);
    insert("x-ionveil-notification", &message.notification_id.to_string());
}

/// The text as the value of a header. What a header cannot hold is percent-encoded, so that no two texts become the same.
pub(super) fn header_value(text: &str) -> HeaderValue {
    let encoded: String = percent_encoding::utf8_percent_encode(text, percent_encoding::CONTROLS).collect();
    HeaderValue::from_str(&encoded).expect("percent-encoding leaves visible ASCII")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a value"))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now = httpdate::parse_http_date("Sat, 31 Jan 2026 08:15:00 GMT").expect("a date");
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let cases = [
            (vec![], None),
            (vec![("retry-after", "0")], seconds(0)),
            (vec![("retry-after", "120")], seconds(120)),
            (vec![("retry-after", " 7 ")], seconds(7)),
            (vec![("retry-after", "Sat, 31 Jan 2026 08:16:30 GMT")], seconds(90)),
            (vec![("retry-after", "Saturday, 31-Jan-26 08:16:30 GMT")], seconds(90)),
            (vec![("retry-after", "Sat, 31 Jan 2026 08:14:00 GMT")], seconds(0)),
            // The server's clock is an hour ahead of ours.
            (
                vec![("retry-after", "Sat, 31 Jan 2026 09:16:00 GMT"), ("date", "Sat, 31 Jan 2026 09:15:00 GMT")],
                seconds(60),
            ),
            (vec![("retry-after", "86401")], Some(Delivery::AFTER_MAX)),
            (vec![("retry-after", "99999999999999999999999999")], Some(Delivery::AFTER_MAX)),
            (vec![("retry-after", "-5")], None),
            (vec![("retry-after", "soon")], None),
        ];
        for (given, expected) in cases {
            assert_eq!(retry_after(&headers(&given), now), expected, "{given:?}");
        }
    }

    #[test]
    fn each_status_has_one_meaning() {
        let now = SystemTime::UNIX_EPOCH;
        for code in 100..=999 {
            let status = StatusCode::from_u16(code).expect("a status");
            let delivery = judge(status, &headers(&[("retry-after", "3")]), now);
            let expected = match code {
                200..=299 => "delivered",
                429 | 500..=599 => "retry",
                _ => "refused",
            };
            let met = match delivery {
                Delivery::Delivered => "delivered",
                Delivery::Retry { after, .. } => {
                    assert_eq!(after, Some(Duration::from_secs(3)));
                    "retry"
                }
                Delivery::Refused { .. } => "refused",
            };
            assert_eq!(met, expected, "{code}");
        }
    }

    #[test]
    fn a_key_with_any_characters_becomes_a_header() {
        assert_eq!(header_value("a/raised/1/1/email").to_str().expect("ASCII"), "a/raised/1/1/email");
        assert_eq!(header_value("ü\r\nX: y").to_str().expect("ASCII"), "%C3%BC%0D%0AX: y");
    }

    /// A name server that says something else every time.
    #[derive(Debug)]
    struct Rebinding(AtomicUsize);

    impl Resolver for Rebinding {
        fn resolve(
            &self,
            _: &Uri,
            _: &ureq::config::Config,
            _: NextTimeout,
        ) -> Result<ResolvedSocketAddrs, ureq::Error> {
            let answers: [&[&str]; 3] = [&["8.8.8.8:443"], &["127.0.0.1:443"], &["10.0.0.1:443", "8.8.4.4:443"]];
            let mut found = self.empty();
            for address in answers[self.0.fetch_add(1, Ordering::Relaxed) % 3] {
                found.push(address.parse().expect("an address"));
            }
            Ok(found)
        }
    }

    #[test]
    fn a_name_that_changes_its_address_is_judged_every_time() {
        let guard = Guard { names: Rebinding(AtomicUsize::new(0)), allowed: Vec::new() };
        let uri: Uri = "https://hook.example/".parse().expect("a URL");
        let config = Agent::config_builder().build();
        let timeout = || NextTimeout {
            after: ureq::unversioned::transport::time::Duration::NotHappening,
            reason: Timeout::Global,
            ..Default::default()
        };
        let resolve = || {
            guard
                .resolve(&uri, &config, timeout())
                .map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(resolve().expect("public"), ["8.8.8.8:443"]);
        let refusal = resolve().expect_err("loopback");
        assert_eq!(failed(&refusal), Delivery::refused(NotAllowed.to_string()));
        assert_eq!(resolve().expect("one is public"), ["8.8.4.4:443"]);
    }
}
