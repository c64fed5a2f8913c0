//! `slack`: an incoming webhook.

use ionveil::channels::{Delivery, Message, MessageKind};
use ionveil::domain::Channel;
use serde_json::json;

use crate::http_server::{Server, answer, answer_with};
use crate::support::{channel, channels, message};

/// The URL of a webhook is a secret, so it stands in a file.
fn config(server: &Server, directory: &tempfile::TempDir) -> String {
    let file = directory.path().join("slack-url");
    std::fs::write(&file, format!("{}\n", server.url())).expect("a file");
    format!("[channels.slack]\nurl = {{ file = {file:?} }}\n{}", server.allowed())
}

#[test]
fn a_message_is_text_in_which_nothing_is_markup_but_ours() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start(vec![answer_with("200 OK", &[], "ok")]);
    let slack = channel(Channel::Slack, &config(&server, &directory));
    let mut sent = message();
    sent.alert["title"] = json!("<!channel> & <http://evil|click>");
    assert_eq!(slack.send(&sent), Delivery::Delivered);
    let request = server.request();
    let body = request.json();
    let text = body["text"].as_str().expect("a text");
    assert!(
        text.starts_with("*[CRITICAL] Raised: &lt;!channel&gt; &amp; &lt;http://evil|click&gt;* (sffd)\n"),
        "{text}"
    );
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(1));
    assert_eq!(request.header("idempotency-key"), sent.idempotency_key);

    sent = Message { kind: MessageKind::Resolved, ..message() };
    sent.alert["resolved_by"] = json!("amy");
    assert_eq!(slack.send(&sent), Delivery::Delivered);
    let body = server.request().json();
    assert!(body["text"].as_str().is_some_and(|text| text.ends_with("Resolved by amy")), "{body}");
}

#[test]
fn the_word_that_slack_refuses_with_is_kept_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let bodies = ["channel_is_archived", "incident i-1 of Mr Smith", ""];
    let script = bodies.iter().map(|body| answer_with("404 Not Found", &[], body)).collect();
    let server = Server::start(script);
    let slack = channel(Channel::Slack, &config(&server, &directory));
    assert_eq!(slack.send(&message()), Delivery::refused("the server answered 404, channel_is_archived"));
    for _ in 1..bodies.len() {
        assert_eq!(slack.send(&message()), Delivery::refused("the server answered 404"));
    }
}

#[test]
fn a_long_storm_is_cut_to_what_slack_takes() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start(vec![answer("200 OK", &[])]);
    let slack = channel(Channel::Slack, &config(&server, &directory));
    let sent = Message { others: vec![message().alert; 500], ..message() };
    assert_eq!(slack.send(&sent), Delivery::Delivered);
    let text = server.request().json()["text"].as_str().expect("a text").to_owned();
    assert!(text.chars().count() == 4_000 && text.ends_with('…') && text.contains("• critical: incident i-1 is late"));
}

#[test]
fn its_url_is_not_shown() {
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start(vec![answer("500 X", &[])]);
    let config = config(&server, &directory);
    assert!(!format!("{:?}", channels(&config)).contains("hook"));
    std::fs::write(directory.path().join("slack-url"), "http//hooks.slack.example/T0/hunter2").expect("a file");
    let refusal = ionveil::channels::Channels::parse("c.toml", &config).expect_err("no URL");
    assert!(!refusal.to_string().contains("hunter2"), "{refusal}");
}
