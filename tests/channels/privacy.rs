//! Nothing personal, and no secret, is logged or stands in a reason.

use std::io;
use std::sync::{Arc, Mutex};

use ionveil::channels::{Callback, Channels, Config, Delivery, Message};
use ionveil::domain::Channel;
use serde_json::json;

use crate::http_server::{Server, answer_with};
use crate::smtp_server::{Behaviour, Reply};
use crate::support::{channels, message};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All that is logged, at the most talkative level, by us and by what we use, while `run` runs.
fn logged(run: impl FnOnce()) -> String {
    let captured = Captured::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, run);
    let bytes = captured.0.lock().expect("no panic").clone();
    String::from_utf8(bytes).expect("UTF-8")
}

/// An alert full of people.
fn personal() -> Message {
    let mut sent = message();
    sent.alert["title"] = json!("Mr Smith of 5 Elm Street");
    sent.alert["description"] = json!("Mrs Smith called");
    sent.alert["acknowledged_by"] = json!("amy.smith");
    sent.alert["history"] = json!([{ "by": "amy.smith", "note": "Smith is home" }]);
    sent.recipients = vec!["amy.smith@example.org".to_owned(), "bob.smith@example.org".to_owned()];
    sent
}

const PERSONAL: [&str; 4] = ["mith", "Elm", "hunter2", "+1555"];

#[test]
fn no_channel_logs_people_or_secrets_or_gives_them_as_a_reason() {
    let http = Server::start(
        ["200 OK", "400 X", "500 X", "302 X"]
            .iter()
            .map(|status| answer_with(status, &[], "Mr Smith is unknown"))
            .collect(),
    );
    let smtp = crate::smtp_server::Server::start(vec![
        Behaviour {
            answers: vec![("RCPT TO:<bob", Reply::Line("550 bob.smith@example.org unknown"))],
            ..Behaviour::default()
        },
        Behaviour { answers: vec![("RCPT", Reply::Line("450 bob.smith@example.org full"))], ..Behaviour::default() },
        Behaviour { answers: vec![("DATA", Reply::Line("554 bob.smith@example.org bad"))], ..Behaviour::default() },
        Behaviour { answers: vec![("MAIL", Reply::Close)], ..Behaviour::default() },
    ]);
    let gateway = |name: &str| {
        format!(
            "[channels.{name}]\nurl = {:?}\n{}\nauth = {{ bearer = {{ env = \"TOKEN\" }} }}\n\
             signing_secret = {{ env = \"SIGNING\" }}\n",
            http.url(),
            http.allowed()
        )
    };
    let directory = tempfile::tempdir().expect("a directory");
    let slack_url = directory.path().join("url");
    std::fs::write(&slack_url, format!("{}/hunter2", http.url())).expect("a file");
    let config = format!(
        "{}{}{}{}[channels.slack]\nurl = {{ file = {slack_url:?} }}\n{}\n\
         [channels.pagerduty]\nrouting_key = {{ env = \"ROUTING\" }}\nurl = {:?}\n{}\n\
         [channels.email]\nserver = \"127.0.0.1\"\nport = {}\nfrom = \"ionveil@example.org\"\ntls = \"none\"\n",
        gateway("webhook"),
        gateway("sms"),
        gateway("push"),
        gateway("radio"),
        http.allowed(),
        http.url(),
        http.allowed(),
        smtp.port
    );
    let mut reasons = String::new();
    let log = logged(|| {
        let mut channels = channels(&config);
        channels.set(Channel::Callback, Callback::new(|_: &Message| Delivery::Delivered));
        let mut sent = personal();
        for channel in Channel::ALL {
            let transport = channels.get(channel).expect("all are set up");
            if channel == Channel::Sms {
                sent.recipients = vec!["+15550100".to_owned(), "+15550101".to_owned()];
            }
            for _ in 0..5 {
                reasons.push_str(&format!("{:?}\n", transport.send(&sent)));
            }
        }
        tracing::info!(?sent, ?channels, "as they are debugged");
    });
    assert!(log.contains("not everybody could be told"), "the log was not captured:\n{log}");
    assert!(log.contains("rule_id=\"sla-breach\""), "the channel log said nothing:\n{log}");
    assert!(reasons.contains("400") && reasons.contains("450"), "{reasons}");
    for word in PERSONAL {
        assert!(!log.contains(word), "{word} is logged:\n{log}");
        assert!(!reasons.contains(word), "{word} is a reason:\n{reasons}");
    }
}

#[test]
fn a_configuration_is_debugged_without_its_secrets() {
    let text = "[channels.pagerduty]\nrouting_key = { env = \"ROUTING\" }\n\
                [channels.push]\nurl = \"https://push.example/hunter2\"\nheaders = { X-Key = \"hunter2\" }";
    let shown = format!("{:?}", Config::parse("c.toml", text).expect("a configuration"));
    assert!(shown.contains("ROUTING") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn the_log_tells_ids_and_how_bad_it_is() {
    let log = logged(|| {
        let delivery = Channels::default().get(Channel::Log).expect("it is always there").send(&personal());
        assert_eq!(delivery, Delivery::Delivered);
    });
    assert!(log.contains("ERROR ionveil::notification: alert notification_id=0198c0de"), "{log}");
    for part in [
        "kind=\"raised\"",
        "org_id=\"sffd\"",
        "severity=\"critical\"",
        "incident_id=\"i-1\"",
        "level=1",
        "idempotency_key=",
    ] {
        assert!(log.contains(part), "no {part} in {log}");
    }
}
