//! Messages, channels set up from a piece of configuration, and certificates.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ionveil::channels::{Channels, Delivery, Message, MessageKind, Told, Transport};
use ionveil::domain::Channel;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

#[path = "../../src/channels/testing.rs"]
mod testing;

pub(crate) use testing::message;

/// Secrets as the environment would hold them.
pub(crate) fn environment(name: &str) -> Option<String> {
    let value = match name {
        "SIGNING" => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "ROUTING" => "routing-key-hunter2",
        "PASSWORD" => "hunter2",
        "TOKEN" => "token-hunter2",
        _ => return std::env::var(name).ok(),
    };
    Some(value.to_owned())
}

#[track_caller]
pub(crate) fn channels(config: &str) -> Channels {
    Channels::parse_with("test.toml", config, &environment).unwrap_or_else(|bad| panic!("{bad}\n{config}"))
}

#[track_caller]
pub(crate) fn channel(channel: Channel, config: &str) -> Arc<dyn Transport> {
    Arc::clone(channels(config).get(channel).expect("it is set up"))
}

#[track_caller]
pub(crate) fn assert_retry(delivery: &Delivery, expected: &str) {
    match delivery {
        Delivery::Retry { reason, after: None } if reason.contains(expected) => {}
        other => panic!("{other:?}, expected a retry because {expected}"),
    }
}

#[track_caller]
pub(crate) fn assert_refused(delivery: &Delivery, expected: &str) {
    match delivery {
        Delivery::Refused { reason } if reason.contains(expected) => {}
        other => panic!("{other:?}, expected a refusal because {expected}"),
    }
}

/// Longer than anything takes here, so that a test that hangs fails instead.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A certificate for names on this machine that vouches for itself.
pub(crate) struct Identity {
    pub(crate) server: Arc<rustls::ServerConfig>,
    /// What a client has to trust.
    pub(crate) ca_file: PathBuf,
    _directory: tempfile::TempDir,
}

pub(crate) fn identity(names: &[&str]) -> Identity {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let certificate = CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a key that fits");
    let directory = tempfile::tempdir().expect("a directory");
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, made.cert.pem()).expect("a file");
    Identity { server: Arc::new(server), ca_file, _directory: directory }
}
