//! `pagerduty`: events that belong together have one key.

use ionveil::channels::{Delivery, Message, MessageKind};
use ionveil::domain::Channel;
use serde_json::json;

use crate::http_server::{Server, answer};
use crate::support::{assert_refused, assert_retry, channel, message};

fn config(server: &Server) -> String {
    let (url, allowed) = (server.url(), server.allowed());
    format!("[channels.pagerduty]\nrouting_key = {{ env = \"ROUTING\" }}\nurl = {url:?}\n{allowed}")
}

#[test]
fn an_alert_is_triggered_acknowledged_and_resolved_under_one_key() {
    let server = Server::start(vec![answer("202 Accepted", &[])]);
    let pagerduty = channel(Channel::Pagerduty, &config(&server));
    for (kind, action) in [
        (MessageKind::Raised, "trigger"),
        (MessageKind::Escalated, "trigger"),
        (MessageKind::Acknowledged, "acknowledge"),
        (MessageKind::Resolved, "resolve"),
    ] {
        let sent = Message { kind, idempotency_key: format!("key/{kind}"), ..message() };
        assert_eq!(pagerduty.send(&sent), Delivery::Delivered);
        let request = server.request();
        let event = request.json();
        assert_eq!(event["event_action"], action);
        assert_eq!(event["dedup_key"], json!(sent.alert_id));
        assert_eq!(event["routing_key"], "routing-key-hunter2");
        assert_eq!(event["payload"]["custom_details"]["idempotency_key"], json!(sent.idempotency_key));
        assert_eq!(request.header("idempotency-key"), sent.idempotency_key);
    }
}

#[test]
fn an_event_has_what_the_api_asks_for_and_nothing_that_is_null() {
    let server = Server::start(vec![answer("202 Accepted", &[])]);
    let pagerduty = channel(Channel::Pagerduty, &config(&server));
    for (ours, theirs) in
        [("info", "info"), ("warning", "warning"), ("critical", "error"), ("emergency", "critical"), ("?", "warning")]
    {
        let mut sent = message();
        sent.alert["severity"] = json!(ours);
        sent.alert["incident_id"] = json!(null);
        sent.alert["title"] = json!("x".repeat(2000));
        assert_eq!(pagerduty.send(&sent), Delivery::Delivered);
        let event = server.request().json();
        let payload = event["payload"].as_object().expect("an object");
        assert_eq!(payload["severity"], theirs);
        assert_eq!(payload["source"], "sffd");
        assert_eq!(payload["class"], "sla-breach");
        assert_eq!(payload["timestamp"], "2026-01-31T08:15:00Z");
        assert!(payload["summary"].as_str().is_some_and(|text| text.chars().count() == 1024));
        assert!(payload.values().all(|value| !value.is_null()), "{payload:?}");
    }
}

#[test]
fn what_it_refuses_is_final_and_what_it_cannot_take_now_is_not() {
    let script = ["400 X", "429 X", "500 X"].iter().map(|status| answer(status, &[])).collect();
    let server = Server::start(script);
    let pagerduty = channel(Channel::Pagerduty, &config(&server));
    assert_refused(&pagerduty.send(&message()), "400");
    assert_retry(&pagerduty.send(&message()), "429");
    assert_retry(&pagerduty.send(&message()), "500");
    assert!(!pagerduty.preview(&message()).contains("hunter2"));
}
