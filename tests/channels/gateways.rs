//! `webhook`, `sms`, `push` and `radio`: what a request says.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use ionveil::channels::{Delivery, Message, MessageKind};
use ionveil::domain::Channel;
use serde_json::json;
use sha2::Sha256;

use crate::http_server::{Act, Request, Server, answer};
use crate::support::{assert_refused, assert_retry, channel, message};

fn ok() -> Vec<Act> {
    vec![answer("200 OK", &[])]
}

/// As a receiver does it, with the key of `support::environment`.
fn is_signed(request: &Request) -> bool {
    let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key");
    let (id, timestamp) = (request.header("webhook-id"), request.header("webhook-timestamp"));
    mac.update(format!("{id}.{timestamp}.{}", request.body).as_bytes());
    let signature = request.header("webhook-signature").strip_prefix("v1,").expect("version 1");
    mac.verify_slice(&STANDARD.decode(signature).expect("base64")).is_ok()
}

#[test]
fn a_webhook_carries_the_whole_message_signed_and_named() {
    let server = Server::start(ok());
    let config = format!(
        "[channels.webhook]\nurl = {:?}\n{}\nsigning_secret = {{ env = \"SIGNING\" }}\n\
         headers = {{ X-Site = \"north\", X-Api-Key = {{ env = \"TOKEN\" }} }}\n\
         auth = {{ username = \"ionveil\", password = {{ env = \"PASSWORD\" }} }}",
        server.url(),
        server.allowed()
    );
    let webhook = channel(Channel::Webhook, &config);
    let mut sent = message();
    sent.alert["title"] = json!("\"quoted\" </script> ü 🚒\r\n");
    let before = now_seconds();
    assert_eq!(webhook.send(&sent), Delivery::Delivered);
    let request = server.request();
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/hook"));
    assert_eq!(request.json(), serde_json::to_value(&sent).expect("JSON"));
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("idempotency-key"), sent.idempotency_key);
    assert_eq!(request.header("x-ionveil-notification"), sent.notification_id.to_string());
    assert_eq!(request.header("webhook-id"), sent.notification_id.to_string());
    assert_eq!((request.header("x-site"), request.header("x-api-key")), ("north", "token-hunter2"));
    assert_eq!(request.header("authorization"), format!("Basic {}", STANDARD.encode("ionveil:hunter2")));
    let at: u64 = request.header("webhook-timestamp").parse().expect("seconds");
    assert!((before..=now_seconds()).contains(&at), "{at}");
    assert!(is_signed(&request));

    // Another attempt has the same names, so that the receiver knows it.
    assert_eq!(webhook.send(&sent), Delivery::Delivered);
    let again = server.request();
    for name in ["idempotency-key", "webhook-id", "x-ionveil-notification"] {
        assert_eq!(again.header(name), request.header(name));
    }
    let changed = Request { body: request.body.replace("critical", "info"), ..request };
    assert!(!is_signed(&changed));
}

fn now_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
}

#[test]
fn every_kind_names_the_recipients_that_fit_org_and_level_best() {
    let server = Server::start(ok());
    let config = format!(
        "[channels.push]\nurl = {:?}\n{}\nto = [\"everybody\"]\n\
         [[channels.push.assign]]\norg = \"sffd\"\nlevel = 2\nto = [\"chief\", \"deputy\"]\n\
         [[channels.push.assign]]\nlevel = 2\nto = [\"supervisors\"]\n\
         [[channels.push.assign]]\norg = \"sffd\"\nto = [\"crew\"]",
        server.url(),
        server.allowed()
    );
    let push = channel(Channel::Push, &config);
    let told = |org: &str, level: u8, own: &[&str]| {
        let recipients = own.iter().map(|name| (*name).to_owned()).collect();
        let sent = Message { org_id: org.parse().expect("an id"), level, levels: vec![level], recipients, ..message() };
        assert_eq!(push.send(&sent), Delivery::Delivered);
        server.request().json()["recipients"].clone()
    };
    assert_eq!(told("other", 1, &[]), json!(["everybody"]));
    assert_eq!(told("other", 2, &[]), json!(["supervisors"]));
    assert_eq!(told("sffd", 1, &[]), json!(["crew"]));
    assert_eq!(told("sffd", 2, &[]), json!(["chief", "deputy"]));
    assert_eq!(told("sffd", 2, &["amy"]), json!(["amy"]));
}

#[test]
fn push_and_radio_say_what_happened_in_a_few_words() {
    for (name, channel_name) in [("push", Channel::Push), ("radio", Channel::Radio)] {
        let server = Server::start(ok());
        let config = format!("[channels.{name}]\nurl = {:?}\n{}", server.url(), server.allowed());
        let gateway = channel(channel_name, &config);
        for (kind, words) in [
            (MessageKind::Raised, "CRITICAL Raised sffd: incident i-1 is late"),
            (MessageKind::Escalated, "CRITICAL Escalated to level 1 sffd: incident i-1 is late"),
            (MessageKind::Acknowledged, "CRITICAL Acknowledged sffd: incident i-1 is late"),
            (MessageKind::Resolved, "CRITICAL Resolved sffd: incident i-1 is late"),
        ] {
            assert_eq!(gateway.send(&Message { kind, ..message() }), Delivery::Delivered);
            let body = server.request().json();
            assert_eq!(body[if name == "push" { "body" } else { "text" }], words);
            let key = if name == "push" { &body["data"]["idempotency_key"] } else { &body["idempotency_key"] };
            assert_eq!(*key, message().idempotency_key);
        }
    }
}

fn sms(server: &Server, more: &str) -> std::sync::Arc<dyn ionveil::channels::Transport> {
    let config = format!("[channels.sms]\nurl = {:?}\n{}\n{more}", server.url(), server.allowed());
    channel(Channel::Sms, &config)
}

#[test]
fn a_text_message_goes_to_each_number_under_a_key_of_its_own() {
    let server = Server::start(ok());
    let gateway = sms(&server, "to = [\"+15550100\", \"+15550101\"]\nauth = { bearer = { env = \"TOKEN\" } }");
    assert_eq!(gateway.send(&message()), Delivery::Delivered);
    let (first, second) = (server.request(), server.request());
    let text = "CRITICAL Raised sffd: incident i-1 is late";
    assert_eq!(first.json(), json!({ "to": "+15550100", "text": text }));
    assert_eq!(second.json(), json!({ "to": "+15550101", "text": text }));
    assert_eq!(first.header("authorization"), "Bearer token-hunter2");
    let (one, two) = (first.header("idempotency-key"), second.header("idempotency-key"));
    assert!(one.starts_with(&message().idempotency_key) && two.starts_with(&message().idempotency_key));
    assert_ne!(one, two, "a gateway would take the second number for the first");
    assert!(!one.contains("555"), "a header is logged more often than a body: {one}");
}

#[test]
fn who_has_a_text_message_does_not_get_it_again() {
    let script = ["200 OK", "500 X", "200 OK", "500 X", "200 OK", "200 OK"];
    let server = Server::start(script.iter().map(|status| answer(status, &[])).collect());
    let gateway = sms(&server, "to = [\"+1\", \"+2\", \"+3\"]");
    let told = || server.request().json()["to"].as_str().expect("a number").to_owned();
    // The second number fails; the third is told nevertheless.
    let sent = message();
    assert_retry(&gateway.send(&sent), "500");
    assert_eq!([told(), told(), told()], ["+1", "+2", "+3"]);
    assert_retry(&gateway.send(&sent), "500");
    assert_eq!(told(), "+2");
    assert_eq!(gateway.send(&sent), Delivery::Delivered);
    assert_eq!(told(), "+2");
    assert!(server.is_done());
    // When it is done it is forgotten: sent once more by hand, everybody gets it.
    assert_eq!(gateway.send(&sent), Delivery::Delivered);
    assert_eq!([told(), told(), told()], ["+1", "+2", "+3"]);
}

#[test]
fn a_gateway_that_has_enough_is_not_asked_for_the_next_number() {
    let server = Server::start(vec![answer("429 X", &["retry-after: 9"]), answer("200 OK", &[])]);
    let gateway = sms(&server, "to = [\"+1\", \"+2\"]");
    let delivery = gateway.send(&message());
    assert!(matches!(delivery, Delivery::Retry { after: Some(after), .. } if after.as_secs() == 9), "{delivery:?}");
    server.request();
    assert!(server.is_done());
}

#[test]
fn a_number_that_is_refused_counts_only_when_nobody_else_was_told() {
    let server = Server::start(vec![answer("400 X", &[]), answer("200 OK", &[]), answer("400 X", &[])]);
    let gateway = sms(&server, "to = [\"+1\", \"+2\"]");
    assert_eq!(gateway.send(&message()), Delivery::Delivered);
    assert_refused(&gateway.send(&message()), "400");
    assert_refused(&sms(&server, "").send(&message()), "nobody is named");
}

#[test]
fn a_text_message_is_cut_to_what_was_allowed() {
    let server = Server::start(ok());
    let mut sent = message();
    sent.alert["title"] = json!("x".repeat(1000));
    for (segments, length) in [("", 160), ("segments_max = 3", 456)] {
        assert_eq!(sms(&server, &format!("to = [\"+1\"]\n{segments}")).send(&sent), Delivery::Delivered);
        let body = server.request().json();
        let text = body["text"].as_str().expect("a text");
        assert!(text.chars().count() == length && text.ends_with("x..."), "{text}");
    }
}

#[test]
fn a_form_and_a_query_are_encoded() {
    let server = Server::start(ok());
    let mut sent = message();
    sent.alert["title"] = json!("a&b=c d+e\r\nX: y ü");
    let form = "to = [\"+1 5\"]\ncontent_type = \"application/x-www-form-urlencoded\"\n\
                [channels.sms.templates]\nbody = \"To={{ recipient }}&Body={{ alert.title }}&From=IonVeil\"";
    assert_eq!(sms(&server, form).send(&sent), Delivery::Delivered);
    let request = server.request();
    assert_eq!(request.body, "To=%2B1%205&Body=a%26b%3Dc%20d%2Be%0D%0AX%3A%20y%20%C3%BC&From=IonVeil");
    assert_eq!(request.header("content-type"), "application/x-www-form-urlencoded");

    let query = "to = [\"+1\"]\nmethod = \"GET\"\n\
                 [channels.sms.templates]\nquery = \"to={{ recipient }}&text={{ alert.title }}\"";
    assert_eq!(sms(&server, query).send(&sent), Delivery::Delivered);
    let request = server.request();
    assert_eq!(request.path, "/hook?to=%2B1&text=a%26b%3Dc%20d%2Be%0D%0AX%3A%20y%20%C3%BC");
    assert_eq!((request.method.as_str(), request.body.as_str()), ("GET", ""));
}
