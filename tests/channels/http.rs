//! What holds for every channel that speaks HTTP, tried on the webhook.

use std::sync::Arc;
use std::time::Duration;

use ionveil::channels::{Delivery, Transport};
use ionveil::domain::Channel;

use crate::http_server::{Act, Full, Server, answer, answer_with};
use crate::support::{assert_refused, assert_retry, channel, identity, message};

fn webhook(server: &Server, more: &str) -> Arc<dyn Transport> {
    let (url, allowed) = (server.url(), server.allowed());
    channel(Channel::Webhook, &format!("[channels.webhook]\nurl = {url:?}\n{allowed}\n{more}"))
}

/// Limits of which one is short, so that it is the one that is met.
fn limits(short: &str) -> String {
    let all = ["connect_seconds", "send_seconds", "answer_seconds", "total_seconds"];
    let set = |name: &str| format!("{name} = {}", if name == short { 0.1 } else { 15.0 });
    format!("limits = {{ {} }}", all.map(set).join(", "))
}

#[test]
fn an_answer_is_delivered_tried_again_or_final() {
    let script = [
        "200 OK",
        "202 Accepted",
        "204 No Content",
        "500 X",
        "503 X",
        "599 X",
        "429 X",
        "400 X",
        "404 X",
        "408 X",
        "410 X",
        "300 X",
    ];
    let server = Server::start(script.iter().map(|status| answer(status, &[])).collect());
    let webhook = webhook(&server, "");
    for status in script {
        let delivery = webhook.send(&message());
        let code = &status[..3];
        match code.as_bytes()[0] {
            b'2' => assert_eq!(delivery, Delivery::Delivered, "{status}"),
            b'5' => assert_retry(&delivery, code),
            _ if code == "429" => assert_retry(&delivery, code),
            _ => assert_refused(&delivery, code),
        }
        server.request();
    }
    assert!(server.is_done(), "each attempt is one request");
}

#[test]
fn a_server_that_has_enough_says_when_to_come_back() {
    let script = vec![
        answer("429 Too Many Requests", &["retry-after: 17"]),
        answer("429 X", &["date: Sat, 31 Jan 2026 08:15:00 GMT", "retry-after: Sat, 31 Jan 2026 08:16:30 GMT"]),
        answer("503 X", &["retry-after: 5"]),
        answer("429 X", &["retry-after: 99999999"]),
        answer("400 X", &["retry-after: 5"]),
    ];
    let server = Server::start(script);
    let webhook = webhook(&server, "");
    let after = |expected: u64| match webhook.send(&message()) {
        Delivery::Retry { after: Some(after), .. } => assert_eq!(after, Duration::from_secs(expected)),
        other => panic!("{other:?}, expected a wait of {expected} s"),
    };
    [17, 90, 5, 24 * 60 * 60].into_iter().for_each(after);
    assert_refused(&webhook.send(&message()), "400");
}

#[test]
fn a_redirect_is_not_followed() {
    let target = Server::start(vec![answer("200 OK", &[])]);
    for status in ["301 X", "302 X", "303 X", "307 X", "308 X"] {
        let server = Server::start(vec![answer(status, &[&format!("location: {}", target.url())])]);
        assert_refused(&webhook(&server, "").send(&message()), "redirects are not followed");
    }
    assert!(target.is_done(), "somebody followed");
}

#[test]
fn a_server_that_stalls_is_given_up_at_the_limit_of_that_phase() {
    let cases = [
        (Act::StallBeforeAnswer, "answer_seconds", "timed out waiting for the answer"),
        (Act::StallBeforeAnswer, "total_seconds", "timed out altogether"),
        (Act::Drip, "total_seconds", "timed out altogether"),
        (Act::Drip, "answer_seconds", "timed out waiting for the answer"),
    ];
    for (act, short, expected) in cases {
        let server = Server::start(vec![act]);
        assert_retry(&webhook(&server, &limits(short)).send(&message()), expected);
    }
}

#[test]
fn a_server_that_does_not_read_is_given_up_at_the_limit_of_sending() {
    let server = Server::start(vec![Act::StallAtOnce]);
    let more = format!(
        "content_type = \"text/plain\"\n{}\n[channels.webhook.templates]\nbody = \"{{{{ alert.description }}}}\"",
        limits("send_seconds")
    );
    let mut sent = message();
    // More than the system keeps for a receiver that does not read.
    sent.alert["description"] = "x".repeat(16 << 20).into();
    assert_retry(&webhook(&server, &more).send(&sent), "timed out sending");
}

#[test]
fn a_connection_that_is_not_taken_is_given_up_at_the_limit_of_connecting() {
    let full = Full::start();
    let config = format!(
        "[channels.webhook]\nurl = \"http://{}/\"\nallow_plain_http = true\nallow_addresses = [\"127.0.0.1/32\"]\n{}",
        full.address,
        limits("connect_seconds")
    );
    assert_retry(&channel(Channel::Webhook, &config).send(&message()), "timed out connecting");

    // The same, when it is the handshake that does not come.
    let identity = identity(&["127.0.0.1"]);
    let server = Server::start(vec![Act::StallAtOnce]);
    let config = format!(
        "[channels.webhook]\nurl = \"https://{}/\"\nca_file = {:?}\nallow_addresses = [\"127.0.0.1/32\"]\n{}",
        server.address,
        identity.ca_file,
        limits("connect_seconds")
    );
    assert_retry(&channel(Channel::Webhook, &config).send(&message()), "timed out connecting");
}

#[test]
fn a_connection_that_breaks_is_tried_again() {
    for act in [Act::CloseBeforeAnswer, Act::CloseInHead] {
        let server = Server::start(vec![act, answer("200 OK", &[])]);
        let webhook = webhook(&server, "");
        assert_retry(&webhook.send(&message()), "connection failed");
        assert_eq!(webhook.send(&message()), Delivery::Delivered);
    }
    let gone = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let config = format!(
        "[channels.webhook]\nurl = \"http://{gone}/\"\nallow_plain_http = true\nallow_addresses = [\"127.0.0.1/32\"]"
    );
    assert_retry(&channel(Channel::Webhook, &config).send(&message()), "connection refused");
}

#[test]
fn an_answer_without_an_end_is_not_read_to_its_end() {
    for act in [Act::EndlessHead, Act::EndlessLine] {
        let server = Server::start(vec![act]);
        assert_retry(&webhook(&server, &limits("none")).send(&message()), "the answer");
        assert!(server.written() < WRITTEN_MAX);
    }
    // What the status says has been understood.
    let server = Server::start(vec![Act::EndlessBody]);
    assert_refused(&webhook(&server, &limits("none")).send(&message()), "400");
    assert!(server.written() < WRITTEN_MAX);
}

/// What a server gets rid of before it notices that nobody reads: what the system keeps for a connection, and more.
const WRITTEN_MAX: u64 = 32 << 20;

#[test]
fn what_is_no_http_is_tried_again() {
    let server = Server::start(vec![Act::Answer("220 mail.example ESMTP\r\n\r\n".to_owned())]);
    assert_retry(&webhook(&server, "").send(&message()), "the answer is not HTTP");
}

#[test]
fn addresses_that_are_not_public_are_refused_unless_allowed() {
    let server = Server::start(vec![answer("200 OK", &[])]);
    let port = server.address.port();
    // localhost is a name: it is what it leads to that counts.
    let hosts = [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "10.1.2.3",
        "169.254.169.254",
        "2130706433",
    ];
    for host in hosts {
        let config = format!("[channels.webhook]\nurl = \"http://{host}:{port}/\"\nallow_plain_http = true");
        assert_refused(&channel(Channel::Webhook, &config).send(&message()), "no public address");
    }
    assert!(server.is_done(), "somebody connected");

    let allowed = |net: &str, host: &str| {
        let config = format!(
            "[channels.webhook]\nurl = \"http://{host}:{port}/\"\nallow_plain_http = true\nallow_addresses = [{net:?}]"
        );
        channel(Channel::Webhook, &config).send(&message())
    };
    assert_eq!(allowed("127.0.0.1/32", "127.0.0.1"), Delivery::Delivered);
    assert_eq!(allowed("127.0.0.0/8", "localhost"), Delivery::Delivered);
    assert_refused(&allowed("10.0.0.0/8", "127.0.0.1"), "no public address");
}

#[test]
fn a_server_has_to_prove_who_it_is() {
    let trusted = identity(&["127.0.0.1"]);
    let server = Server::start_tls(vec![answer("200 OK", &[])], Arc::clone(&trusted.server));
    let send = |ca_file: &std::path::Path, host: &str| {
        let config = format!(
            "[channels.webhook]\nurl = \"https://{host}:{}/\"\nca_file = {ca_file:?}\nallow_addresses = [\"127.0.0.0/8\"]",
            server.address.port(),
        );
        channel(Channel::Webhook, &config).send(&message())
    };
    assert_eq!(send(&trusted.ca_file, "127.0.0.1"), Delivery::Delivered);
    assert_eq!(server.request().method, "POST");
    assert_retry(&send(&trusted.ca_file, "localhost"), "did not prove who it is");
    assert_retry(&send(&identity(&["127.0.0.1"]).ca_file, "127.0.0.1"), "did not prove who it is");
    assert!(server.is_done(), "somebody told a stranger");
}

#[test]
fn no_proxy_is_asked_whatever_the_environment_says() {
    // The variables are set for a child, since this process has many threads: see `environment_proxy` below.
    let proxy = Server::start(vec![answer_with("200 OK", &[], "from the proxy")]);
    let target = Server::start(vec![answer("204 No Content", &[])]);
    let child = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "http::environment_proxy", "--nocapture"])
        .env("IONVEIL_TEST_TARGET", target.url())
        .env("http_proxy", format!("http://{}", proxy.address))
        .env("HTTP_PROXY", format!("http://{}", proxy.address))
        .env("ALL_PROXY", format!("http://{}", proxy.address))
        .status()
        .expect("a child");
    assert!(child.success());
    target.request();
    assert!(proxy.is_done(), "the proxy was asked");
}

/// The child of the test above; on its own it does nothing.
#[test]
fn environment_proxy() {
    let Ok(url) = std::env::var("IONVEIL_TEST_TARGET") else { return };
    let config =
        format!("[channels.webhook]\nurl = {url:?}\nallow_plain_http = true\nallow_addresses = [\"127.0.0.0/8\"]");
    assert_eq!(channel(Channel::Webhook, &config).send(&message()), Delivery::Delivered);
}
