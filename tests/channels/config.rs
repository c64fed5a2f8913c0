//! The configuration: what is refused, and how it is said.

use ionveil::channels::{BadConfig, Channels};
use ionveil::domain::Channel;

use crate::support::{channels, environment};

#[track_caller]
fn refused(config: &str) -> BadConfig {
    match Channels::parse_with("c.toml", config, &environment) {
        Err(bad) => bad,
        Ok(channels) => panic!("{channels:?} was set up from\n{config}"),
    }
}

#[test]
fn only_what_is_named_is_set_up() {
    let names = |config: &str| channels(config).names().map(Channel::as_str).collect::<Vec<_>>();
    assert_eq!(names(""), ["log"]);
    let radio = "[channels.radio]\nurl = \"http://10.0.0.9/\"\nallow_plain_http = true";
    assert_eq!(names(radio), ["log", "radio"]);
    assert!(channels(radio).get(Channel::Sms).is_none());
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_what_is_allowed() {
    let http = "allow_plain_http = true\n";
    let cases = [
        ("[chanels.sms]", "c.toml:1:2: chanels is an unknown key, allowed: channels, the nearest"),
        (
            "[channels.emial]",
            "c.toml:1:11: channels.emial is an unknown key, allowed: email, the nearest; also webhook, slack, pagerduty, sms, push, radio",
        ),
        (
            "[channels.fax]",
            "c.toml:1:11: channels.fax is an unknown key, allowed: email, webhook, slack, pagerduty, sms, push, radio",
        ),
        (
            "[channels.pagerduty]\nrouting-key = 1",
            "c.toml:2:1: channels.pagerduty.routing-key is an unknown key, allowed: routing_key, the nearest; also",
        ),
        (
            "[channels.pagerduty]\nrouting_key = \"hunter2\"",
            "c.toml:2:15: channels.pagerduty.routing_key is a text, allowed: { env = \"NAME\" } or { file = \"PATH\" }",
        ),
        (
            "[channels.pagerduty]\nrouting_key = 7",
            "c.toml:2:15: channels.pagerduty.routing_key is integer `7`, allowed: { env =",
        ),
        (
            "[channels.pagerduty]\nrouting_key = { env = \"NOPE\" }",
            "c.toml:2:23: channels.pagerduty.routing_key.env is NOPE, allowed: a variable that is set",
        ),
        (
            "[channels.pagerduty]\nrouting_key = { file = \"/nope\" }",
            "c.toml:2:24: channels.pagerduty.routing_key.file is /nope (No such file",
        ),
        ("[channels.pagerduty]\nrouting_key = { environment = \"NOPE\" }", "allowed: env, file"),
        ("[channels.pagerduty]", "c.toml:1:1: channels.pagerduty is missing field `routing_key`"),
        (
            "[channels.sms]\nurl = \"https://h/\"\nsegments_max = 11",
            "c.toml:3:16: channels.sms.segments_max is 11, allowed: 1 to 10",
        ),
        (
            "[channels.push]\nurl = \"https://h/\"\nsegments_max = 1",
            "channels.push.segments_max is given, allowed: left out",
        ),
        (
            "[channels.push]\nurl = \"https://h/\"\nmethod = \"post\"",
            "channels.push.method is \"post\", allowed: POST, PUT, PATCH, GET",
        ),
        (
            "[channels.push]\nurl = \"https://h/\"\nmethod = \"GET\"\nsigning_secret = { env = \"SIGNING\" }",
            "channels.push.signing_secret is given, allowed: left out beside GET, which has no body to sign",
        ),
        (
            "[channels.push]\nurl = \"http://h/\"",
            "c.toml:2:7: channels.push.url is http://…, allowed: https://…, or allow_plain_http = true beside it",
        ),
        ("[channels.push]\nurl = \"ftp://h/\"", "channels.push.url is without https://"),
        ("[channels.push]\nurl = \"https://user:hunter2@h/\"", "channels.push.url is with a user name in it"),
        ("[channels.push]\nurl = \"/path\"", "channels.push.url is without https://"),
        (
            "[channels.push]\nurl = \"https://h/\"\nlimits = { total_seconds = 0 }",
            "c.toml:3:28: channels.push.limits.total_seconds is 0, allowed: more than 0, at most 600",
        ),
        (
            "[channels.push]\nurl = \"https://h/\"\nlimits = { send_seconds = nan }",
            "channels.push.limits.send_seconds is NaN",
        ),
        (
            "[channels.push]\nurl = \"https://h/\"\nlimits = { totl_seconds = 1.0 }",
            "allowed: total_seconds, the nearest",
        ),
        (
            "[channels.push]\nurl = \"https://h/\"\nheaders = { Content-Length = \"1\" }",
            "channels.push.headers.Content-Length is given, allowed: left out",
        ),
        ("[channels.push]\nurl = \"https://h/\"\nheaders = { \"a b\" = \"1\" }", "is not the name of a header"),
        (
            "[channels.push]\nurl = \"https://h/\"\nheaders = { A = \"1\\r\\nB: 2\" }",
            "channels.push.headers.A is what no header can hold",
        ),
        (
            "[channels.push]\nurl = \"https://h/\"\nauth = { username = \"u\" }",
            "channels.push.auth is something else, allowed: username (without a colon) and password, or bearer",
        ),
        (
            "[channels.push]\nurl = \"https://h/\"\nassign = [{ to = [\"a\"] }]",
            "c.toml:3:11: channels.push.assign.0 is for every org and level",
        ),
        (
            "[channels.push]\nurl = \"https://h/\"\nassign = [{ level = 1, to = [] }, { level = 5, to = [\"a\"] }]",
            "c.toml:3:45: channels.push.assign.1.level is 5, allowed: 1 to 4",
        ),
        (
            "[channels.webhook]\nurl = \"https://h/\"\nsigning_secret = { env = \"PASSWORD\" }",
            "channels.webhook.signing_secret is a key of 7 bytes, allowed: at least 24 bytes",
        ),
        (
            "[channels.email]\nserver = \"s\"\nfrom = \"nobody\"\ntls = \"none\"",
            "c.toml:3:8: channels.email.from is \"nobody\", allowed: an address",
        ),
        (
            "[channels.email]\nserver = \"s\"\nfrom = \"a@b.c\"\ntls = \"none\"\nto = [\"a@b.c\", \"bob\"]",
            "c.toml:5:16: channels.email.to.1 is \"bob\", allowed: an address",
        ),
        (
            "[channels.email]\nserver = \"s\"\nfrom = \"a@b.c\"\ntls = \"ssl\"",
            "c.toml:4:7: channels.email.tls is unknown variant `ssl`, allowed: one of `starttls`, `implicit`, `none`",
        ),
        (
            "[channels.email]\nserver = \"s\"\nfrom = \"a@b.c\"\nusername = \"u\"",
            "channels.email.password is missing, allowed: given beside username",
        ),
        (
            "[channels.email]\nserver = \"s\"\nfrom = \"a@b.c\"\nport = 70000",
            "c.toml:4:8: channels.email.port is integer `70000`, allowed: a whole number",
        ),
        (
            "[channels.email]\nserver = \"s\"\nfrom = \"a@b.c\"\nca_file = \"/nope.pem\"",
            "c.toml:4:11: channels.email.ca_file is /nope.pem (",
        ),
        ("[channels.email\n", "c.toml:1:16: file is not TOML"),
    ];
    for (config, expected) in cases {
        let bad = refused(config).to_string();
        assert!(bad.contains(expected), "{config}\n  said: {bad}\n  not:  {expected}");
        assert!(!bad.contains("hunter2"), "{bad}");
    }
    let net = format!("[channels.push]\nurl = \"http://h/\"\n{http}allow_addresses = [\"10.0.0.0/8\", \"10.0.0.1\"]");
    assert_eq!(
        refused(&net).to_string(),
        "c.toml:4:34: channels.push.allow_addresses.1 is \"10.0.0.1\", allowed: a network, such as 10.20.0.0/16 or 10.20.0.5/32"
    );
}

#[test]
fn a_secret_from_a_file_may_end_in_a_newline_and_holds_no_other() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("key");
    let config = format!("[channels.pagerduty]\nrouting_key = {{ file = {file:?} }}");
    for (content, is_fine) in
        [("key", true), ("key\n", true), ("key\r\n", true), ("", false), ("\n", false), ("a\nb", false)]
    {
        std::fs::write(&file, content).expect("a file");
        assert_eq!(Channels::parse("c.toml", &config).is_ok(), is_fine, "{content:?}");
    }
}

#[test]
fn the_example_of_the_documentation_sets_all_channels_up() {
    let document =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/channels.md")).expect("it is there");
    let example = document.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let identity = crate::support::identity(&["127.0.0.1"]);
    let directory = tempfile::tempdir().expect("a directory");
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("a file");
    // Not every machine that runs this trusts any certificate.
    let with_certificates = |line: &str| match line.starts_with("[channels.") && !line.contains(".templates") {
        true => format!("{line}\nca_file = {:?}\n", identity.ca_file),
        false => format!("{line}\n"),
    };
    let config: String = example.lines().map(with_certificates).collect();
    let config = config.replace("/run/secrets/ionveil-webhook", secret.to_str().expect("UTF-8"));
    let environment =
        |name: &str| Some(if name.ends_with("URL") { "https://hooks.slack.com/T0" } else { "hunter2" }.to_owned());
    let channels =
        Channels::parse_with("channels.md", &config, &environment).unwrap_or_else(|bad| panic!("{bad}\n{config}"));
    assert_eq!(channels.names().count(), Channel::ALL.len() - 2, "all but callback and push: {channels:?}");
}
