//! `email`: mails over SMTP.

use std::sync::Arc;

use ionveil::channels::{Channels, Delivery, Message, MessageKind, Transport};
use ionveil::domain::Channel;
use serde_json::json;

use crate::smtp_server::{Behaviour, Reply, Server, Tls};
use crate::support::{assert_refused, assert_retry, channel, environment, identity, message};

fn email(server: &Server, more: &str) -> Arc<dyn Transport> {
    let to = if more.contains("to = ") { "" } else { "to = [\"ops@example.org\"]" };
    let tls = if more.contains("tls = ") { "" } else { "tls = \"none\"" };
    let config = format!(
        "[channels.email]\nserver = \"127.0.0.1\"\nport = {}\nfrom = \"IonVeil <ionveil@example.org>\"\n{to}\n{tls}\n{more}",
        server.port
    );
    channel(Channel::Email, &config)
}

fn server(answers: &[(&'static str, Reply)]) -> Server {
    Server::start(vec![Behaviour { answers: answers.to_vec(), ..Behaviour::default() }])
}

#[test]
fn a_mail_says_what_happened_and_which_message_it_is() {
    let server = server(&[]);
    let email = email(&server, "to = [\"Amy <amy@example.org>\", \"bob@example.org\"]");
    let sent = Message { kind: MessageKind::Escalated, level: 2, others: vec![message().alert], ..message() };
    assert_eq!(email.send(&sent), Delivery::Delivered);
    let taken = server.taken();
    assert_eq!((taken.from.as_str(), taken.encrypted), ("ionveil@example.org", false));
    assert_eq!(taken.to, ["amy@example.org", "bob@example.org"]);
    assert_eq!(taken.header("From"), "IonVeil <ionveil@example.org>");
    assert_eq!(taken.header("To"), "Amy <amy@example.org>, bob@example.org");
    assert_eq!(taken.header("Subject"), "[CRITICAL] Escalated to level 2: incident i-1 is late (sffd) and 1 more");
    assert_eq!(taken.header("Idempotency-Key"), sent.idempotency_key);
    assert_eq!(taken.header("Message-ID"), format!("<{}@example.org>", sent.notification_id));
    assert_eq!(taken.header("References"), format!("<{}.alert@example.org>", sent.alert_id));
    assert_eq!(taken.header("Auto-Submitted"), "auto-generated");
    assert!(taken.header("Content-Type").starts_with("multipart/alternative"));
    for words in
        ["Content-Type: text/plain", "Content-Type: text/html", "5.00 of 5 minutes had passed", "supervisor", "i-1"]
    {
        assert!(taken.data.contains(words), "no {words} in\n{}", taken.data);
    }

    assert_eq!(email.send(&sent), Delivery::Delivered);
    assert_eq!(server.taken().header("Message-ID"), taken.header("Message-ID"), "mail servers drop the second by it");
}

#[test]
fn a_mail_in_words() {
    let preview = email(&server(&[]), "").preview(&message());
    let text = preview.split("<!doctype").next().expect("a text").trim_end();
    let expected = "To: ops@example.org
Subject: [CRITICAL] Raised: incident i-1 is late (sffd)

Raised: incident i-1 is late

5.00 of 5 minutes had passed

Organisation:  sffd
Incident:      i-1
Severity:      critical
Status:        open
Level:         1 (operator)
Raised:        2026-01-31T08:15:00Z
Rule:          sla-breach, version 3
Alert:         0198c0de-0000-5000-8000-000000000001

Please acknowledge it.";
    assert_eq!(text, expected);
}

/// Where the outbox sends from.
#[test]
fn sending_works_on_the_blocking_pool_of_a_runtime() {
    let server = server(&[]);
    let email = email(&server, "");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let sent = runtime.block_on(async move { tokio::task::spawn_blocking(move || email.send(&message())).await });
    assert_eq!(sent.expect("no panic"), Delivery::Delivered);
    server.taken();
}

#[test]
fn an_alert_cannot_write_headers_or_commands() {
    let server = server(&[]);
    let email = email(&server, "");
    let mut sent = message();
    let evil = "late\r\nBcc: eve@example.org\r\n\r\nhello\u{2028}\u{85}\0 ü 🚒";
    sent.alert["title"] = json!(evil);
    sent.alert["description"] = json!("one\r\n.\r\nRCPT TO:<eve@example.org>\r\n");
    sent.alert["severity"] = json!("critical\r\nX-Evil: 1");
    sent.idempotency_key = "key\r\nX-Evil: 1".to_owned();
    assert_eq!(email.send(&sent), Delivery::Delivered);
    let taken = server.taken();
    assert_eq!(taken.to, ["ops@example.org"]);
    let names: Vec<String> = taken.headers().map(|(name, _)| name).collect();
    assert!(!names.iter().any(|name| name == "Bcc" || name == "X-Evil"), "{names:?}");
    assert_eq!(taken.header("Idempotency-Key"), "key%0D%0AX-Evil: 1");
    assert!(taken.data.is_ascii(), "{}", taken.data);
    assert_eq!(server.said().iter().filter(|line| line.starts_with("RCPT")).count(), 1);
    let subject = email.preview(&sent);
    let subject = subject.lines().nth(1).expect("a subject");
    assert_eq!(subject, "Subject: [CRITICAL X-EVIL: 1] Raised: late Bcc: eve@example.org hello ü 🚒 (sffd)");
}

#[test]
fn html_in_an_alert_is_text_in_the_html_part() {
    let email = email(&server(&[]), "");
    let mut sent = message();
    sent.alert["title"] = json!("<script>alert(1)</script> & \"more\"");
    let preview = email.preview(&sent);
    let (text, html) = preview.split_once("<!doctype html>").expect("two parts");
    assert!(text.contains("<script>alert(1)</script> & \"more\""), "{text}");
    assert!(!html.contains("<script>") && html.contains("&lt;script&gt;alert(1)&lt;"), "{html}");
}

#[test]
fn what_a_server_answers_is_tried_again_or_final() {
    let steps = [
        ("GREETING", "greeting"),
        ("EHLO", "greeting"),
        ("MAIL", "naming the sender"),
        ("RCPT", "naming a recipient"),
        ("DATA", "announcing the mail"),
        ("MAIL DATA END", "sending the mail"),
    ];
    for (step, doing) in steps {
        let now = server(&[(step, Reply::Line("421 4.3.2 ops@example.org: not now"))]);
        let delivery = email(&now, "").send(&message());
        assert_retry(&delivery, "421");
        assert_retry(&delivery, doing);
        let never = server(&[(step, Reply::Line("554 5.7.1 ops@example.org: never"))]);
        let delivery = email(&never, "").send(&message());
        assert_refused(&delivery, "554");
        // The server's words name mailboxes.
        assert!(!format!("{delivery:?}").contains("ops@"), "{delivery:?}");
        assert!(now.has_no_mail() && never.has_no_mail());
    }
}

#[test]
fn a_session_that_breaks_stalls_or_has_no_end_is_tried_again() {
    let answer = "limits = { answer_seconds = 0.1, send_seconds = 0.1, total_seconds = 15 }";
    let total = "limits = { answer_seconds = 15, total_seconds = 0.1 }";
    for step in ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "MAIL DATA END"] {
        for (reply, limits, expected) in [(Reply::Close, "", "broke"), (Reply::Stall, answer, "timed out")] {
            let server = server(&[(step, reply)]);
            assert_retry(&email(&server, limits).send(&message()), expected);
            assert!(server.has_no_mail());
        }
    }
    for step in ["GREETING", "MAIL DATA END"] {
        for (reply, limits, expected) in [
            (Reply::Stall, total, "timed out altogether"),
            (Reply::Drip, total, "timed out altogether"),
            (Reply::Endless, "", "broke"),
            (Reply::EndlessLines, "", "broke"),
        ] {
            let server = server(&[(step, reply)]);
            assert_retry(&email(&server, limits).send(&message()), expected);
            assert!(server.has_no_mail());
        }
    }
}

#[test]
fn a_server_that_is_not_there_is_tried_again() {
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let config = format!(
        "[channels.email]\nserver = \"127.0.0.1\"\nport = {port}\nfrom = \"a@example.org\"\nto = [\"b@example.org\"]\ntls = \"none\""
    );
    assert_retry(
        &channel(Channel::Email, &config).send(&message()),
        "connection failed connecting: connection refused",
    );
    let full = crate::http_server::Full::start();
    let config =
        config.replace(&port.to_string(), &full.address.port().to_string()) + "\nlimits = { connect_seconds = 0.2 }";
    assert_retry(&channel(Channel::Email, &config).send(&message()), "timed out connecting");
}

#[test]
fn a_mail_that_was_taken_is_delivered_whatever_comes_after() {
    for reply in [Reply::Close, Reply::Stall, Reply::Line("554 no")] {
        let server = server(&[("QUIT", reply)]);
        assert_eq!(email(&server, "limits = { answer_seconds = 1 }").send(&message()), Delivery::Delivered);
        server.taken();
    }
}

const THREE: &str = "to = [\"amy@example.org\", \"bob@example.org\", \"cid@example.org\"]";

#[test]
fn who_has_a_mail_does_not_get_it_again() {
    let full = Behaviour { answers: vec![("RCPT TO:<bob", Reply::Line("452 4.2.2 full"))], ..Behaviour::default() };
    let server = Server::start(vec![full.clone(), full, Behaviour::default()]);
    let email = email(&server, THREE);
    let sent = message();
    assert_retry(&email.send(&sent), "452");
    assert_eq!(server.taken().to, ["amy@example.org", "cid@example.org"]);
    assert_retry(&email.send(&sent), "452");
    assert!(server.has_no_mail());
    assert_eq!(email.send(&sent), Delivery::Delivered);
    let taken = server.taken();
    assert_eq!(taken.to, ["bob@example.org"]);
    assert_eq!(taken.header("To"), "amy@example.org, bob@example.org, cid@example.org", "as the others have it");
    // Another notification goes to everybody.
    assert_eq!(email.send(&Message { notification_id: uuid::Uuid::from_u128(7), ..message() }), Delivery::Delivered);
    assert_eq!(server.taken().to.len(), 3);
}

#[test]
fn a_mailbox_that_is_gone_counts_only_when_nobody_else_was_told() {
    let gone = server(&[("RCPT TO:<bob", Reply::Line("550 5.1.1 no such user"))]);
    assert_eq!(email(&gone, THREE).send(&message()), Delivery::Delivered);
    assert_eq!(gone.taken().to, ["amy@example.org", "cid@example.org"]);
    let all = server(&[("RCPT", Reply::Line("550 5.1.1 no such user"))]);
    assert_refused(&email(&all, THREE).send(&message()), "550");
    assert!(all.has_no_mail());
}

#[test]
fn recipients_come_from_the_message_or_from_the_configuration() {
    let server = server(&[]);
    let email = email(
        &server,
        "to = [\"ops@example.org\"]\n[[channels.email.assign]]\norg = \"sffd\"\nlevel = 3\nto = [\"chief@example.org\"]",
    );
    let told = |level: u8, recipients: &[&str]| {
        let recipients = recipients.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(email.send(&Message { level, levels: vec![level], recipients, ..message() }), Delivery::Delivered);
        server.taken().to
    };
    assert_eq!(told(1, &[]), ["ops@example.org"]);
    assert_eq!(told(3, &[]), ["chief@example.org"]);
    assert_eq!(told(3, &["amy@example.org", "not an address"]), ["amy@example.org"]);
    // An end goes to the people of every level that was told, each once.
    let end = Message { kind: MessageKind::Resolved, level: 3, levels: vec![1, 2, 3], ..message() };
    assert_eq!(email.send(&end), Delivery::Delivered);
    assert_eq!(server.taken().to, ["ops@example.org", "chief@example.org"]);
    let nobody = Message { recipients: vec!["not an address".to_owned()], ..message() };
    assert_refused(&email.send(&nobody), "no recipient is an address");
}

#[test]
fn starttls_comes_before_anything_else_is_said() {
    let identity = identity(&["127.0.0.1"]);
    let behaviour = Behaviour {
        tls: Some((Tls::Starttls, Arc::clone(&identity.server))),
        login: Some(("ionveil", "hunter2")),
        ..Behaviour::default()
    };
    let server = Server::start(vec![behaviour]);
    let more = format!(
        "tls = \"starttls\"\nca_file = {:?}\nusername = \"ionveil\"\npassword = {{ env = \"PASSWORD\" }}",
        identity.ca_file
    );
    assert_eq!(email(&server, &more).send(&message()), Delivery::Delivered);
    let taken = server.taken();
    assert!(taken.encrypted);
    assert_eq!(taken.login.as_deref(), Some("ionveil"));
    let said = server.said();
    assert_eq!(said[..3], ["EHLO example.org", "STARTTLS", "EHLO example.org"], "{said:?}");
}

#[test]
fn tls_from_the_first_byte_works_as_well() {
    let identity = identity(&["127.0.0.1"]);
    let behaviour = Behaviour { tls: Some((Tls::Implicit, Arc::clone(&identity.server))), ..Behaviour::default() };
    let server = Server::start(vec![behaviour]);
    let more = format!("tls = \"implicit\"\nca_file = {:?}", identity.ca_file);
    assert_eq!(email(&server, &more).send(&message()), Delivery::Delivered);
    assert!(server.taken().encrypted);
}

#[test]
fn nothing_is_said_to_a_server_that_does_not_encrypt_or_is_a_stranger() {
    let trusted = identity(&["127.0.0.1"]);
    let more =
        |tls: &str| format!("tls = {tls:?}\nca_file = {:?}\nlimits = {{ connect_seconds = 3 }}", trusted.ca_file);

    let plain = server(&[]);
    assert_retry(&email(&plain, &more("starttls")).send(&message()), "does not offer STARTTLS");
    assert!(plain.said().iter().all(|line| line.starts_with("EHLO") || line == "QUIT"));

    let stranger = identity(&["127.0.0.1"]);
    let elsewhere = identity(&["mail.example.org"]);
    for (tls, name) in [(Tls::Starttls, "starttls"), (Tls::Implicit, "implicit")] {
        for identity in [&stranger, &elsewhere] {
            let behaviour = Behaviour { tls: Some((tls, Arc::clone(&identity.server))), ..Behaviour::default() };
            let server = Server::start(vec![behaviour]);
            // A certificate that is trusted, but of another name.
            let more = more(name).replace(
                trusted.ca_file.to_str().expect("UTF-8"),
                if std::ptr::eq(identity, &raw const elsewhere) {
                    elsewhere.ca_file.to_str()
                } else {
                    trusted.ca_file.to_str()
                }
                .expect("UTF-8"),
            );
            let delivery = email(&server, &more).send(&message());
            assert_retry(&delivery, "did not prove who it is");
            assert!(!server.said().iter().any(|line| line.starts_with("MAIL") || line.starts_with("AUTH")));
        }
    }
}

/// Somebody in between puts plain answers behind the one to STARTTLS and then lets nothing through any more. A client that
/// kept them would take them for what the server says in secret, and a mail that went nowhere for delivered.
#[test]
fn nothing_that_was_said_in_the_open_counts_once_a_session_is_encrypted() {
    let identity = identity(&["127.0.0.1"]);
    let injected =
        "220 go ahead\r\n250-loopback\r\n250 8BITMIME\r\n250 ok\r\n250 ok\r\n354 go on\r\n250 queued\r\n221 bye";
    let behaviour = Behaviour {
        tls: Some((Tls::Starttls, Arc::clone(&identity.server))),
        answers: vec![("STARTTLS", Reply::Line(injected)), ("MAIL", Reply::Stall)],
        ..Behaviour::default()
    };
    let server = Server::start(vec![behaviour]);
    let more = format!("tls = \"starttls\"\nca_file = {:?}\nlimits = {{ total_seconds = 3 }}", identity.ca_file);
    assert_retry(&email(&server, &more).send(&message()), "did not prove who it is");
    assert!(server.has_no_mail());
}

#[test]
fn a_password_that_is_not_taken_is_final_and_one_that_cannot_be_checked_is_not() {
    let identity = identity(&["127.0.0.1"]);
    let behaviour = |login, answers: &[(&'static str, Reply)]| Behaviour {
        tls: Some((Tls::Implicit, Arc::clone(&identity.server))),
        login,
        answers: answers.to_vec(),
    };
    let more = format!(
        "tls = \"implicit\"\nca_file = {:?}\nusername = \"ionveil\"\npassword = {{ env = \"PASSWORD\" }}",
        identity.ca_file
    );
    let send = |behaviour| email(&Server::start(vec![behaviour]), &more).send(&message());
    assert_refused(&send(behaviour(Some(("ionveil", "another")), &[])), "535 logging in");
    assert_retry(&send(behaviour(Some(("ionveil", "hunter2")), &[("AUTH", Reply::Line("454 4.7.0 not now"))])), "454");
    assert_refused(&send(behaviour(None, &[])), "no way of logging in");
}

#[test]
fn a_password_never_goes_out_for_all_to_read() {
    let config = "[channels.email]\nserver = \"127.0.0.1\"\nfrom = \"a@example.org\"\ntls = \"none\"\nusername = \"u\"\n\
                  password = { env = \"PASSWORD\" }";
    let refusal = Channels::parse_with("c.toml", config, &environment).expect_err("in the open");
    assert_eq!(refusal.invalid.field, "channels.email.tls");
    assert_eq!(refusal.line, 4);
}
