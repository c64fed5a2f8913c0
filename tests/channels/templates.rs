//! The words: shipped, replaced, checked, previewed.

use ionveil::channels::{Channels, Delivery, Message, MessageKind};
use ionveil::domain::Channel;
use serde_json::{Value, json};

use crate::http_server::{Server, answer};
use crate::support::{channel, channels, environment, message};

#[test]
fn every_channel_has_words_for_every_kind_whatever_an_alert_holds() {
    let alerts = [message().alert, json!({}), json!(null), json!({ "title": 7, "severity": [1], "metadata": "x" })];
    let channels = Channels::default();
    for channel in Channel::ALL {
        for kind in MessageKind::ALL {
            for alert in &alerts {
                let sent = Message { kind, alert: alert.clone(), others: vec![json!({}), json!("x")], ..message() };
                let preview = channels.preview(channel, &sent);
                assert!(preview.contains("sffd"), "{channel} {kind}: {preview}");
                let is_json = matches!(
                    channel,
                    Channel::Webhook | Channel::Sms | Channel::Push | Channel::Radio | Channel::Pagerduty
                );
                if is_json {
                    serde_json::from_str::<Value>(&preview)
                        .unwrap_or_else(|error| panic!("{channel} {kind}: {error}\n{preview}"));
                }
            }
        }
    }
}

#[test]
fn a_preview_is_what_is_sent_whether_or_not_the_channel_is_set_up() {
    let server = Server::start(vec![answer("200 OK", &[])]);
    let config = format!(
        "[channels.radio]\nurl = {:?}\n{}\nauth = {{ bearer = {{ env = \"TOKEN\" }} }}\n\
         [channels.radio.templates]\ntext = {{ resolved = \"all clear at {{{{ alert.incident_id }}}}\" }}",
        server.url(),
        server.allowed()
    );
    let channels = channels(&config);
    let texts = [
        (MessageKind::Raised, "CRITICAL Raised sffd: incident i-1 is late"),
        (MessageKind::Resolved, "all clear at i-1"),
    ];
    for (kind, text) in texts {
        let sent = Message { kind, ..message() };
        let preview = channels.preview(Channel::Radio, &sent);
        assert_eq!(channels.get(Channel::Radio).expect("set up").send(&sent), Delivery::Delivered);
        let request = server.request();
        assert_eq!(preview, request.body);
        assert_eq!(request.json()["text"], text);
        assert!(!preview.contains("hunter2"));
    }
    let without = Channels::default().preview(Channel::Radio, &message());
    assert_eq!(without, channels.preview(Channel::Radio, &message()));
    let email =
        channels.preview(Channel::Email, &Message { recipients: vec!["amy@example.org".to_owned()], ..message() });
    assert!(
        email.starts_with("To: amy@example.org\nSubject: [CRITICAL] Raised: incident i-1 is late (sffd)\n\n"),
        "{email}"
    );
}

#[test]
fn a_preview_of_an_alert_goes_by_its_status() {
    for (status, words) in [
        ("open", "Raised"),
        ("escalated", "Escalated to level 3"),
        ("acknowledged", "Acknowledged"),
        ("resolved", "Resolved"),
        ("suppressed", "Raised"),
    ] {
        let mut alert = message().alert;
        alert["status"] = json!(status);
        alert["escalation_level"] = json!(3);
        let shown = Message::of_alert(alert).expect("an alert");
        let preview = Channels::default().preview(Channel::Email, &shown);
        assert!(preview.contains(&format!("Subject: [CRITICAL] {words}: incident i-1 is late (sffd)\n")), "{preview}");
    }
    for missing in ["alert_id", "org_id"] {
        let mut alert = message().alert;
        alert[missing] = json!(null);
        assert_eq!(Message::of_alert(alert).expect_err("no alert").field, missing);
    }
}

#[test]
fn json_stays_json_whatever_an_alert_holds() {
    let server = Server::start(vec![answer("200 OK", &[])]);
    let config = format!(
        "[channels.push]\nurl = {:?}\n{}\n[channels.push.templates]\n\
         body = '{{\"a\": {{{{ alert.title }}}}, \"b\": {{{{ alert.missing }}}}, \"c\": [{{{{ level }}}}, {{{{ alert.incident_id }}}}]}}'",
        server.url(),
        server.allowed()
    )
    .replace("alert.missing", "alert.metadata.missing");
    let push = channel(Channel::Push, &config);
    let mut sent = message();
    sent.alert["title"] = json!("\"}, \"x\": \"\\ \n\u{2028} {{ level }} ü");
    sent.alert["incident_id"] = json!(null);
    assert_eq!(push.send(&sent), Delivery::Delivered);
    assert_eq!(server.request().json(), json!({ "a": sent.alert["title"], "b": null, "c": [1, null] }));
}

#[test]
fn what_is_wrong_with_a_template_is_said_when_it_is_loaded() {
    let email = "[channels.email]\nserver = \"s\"\nfrom = \"a@b.c\"\ntls = \"none\"\n[channels.email.templates]\n";
    let push = "[channels.push]\nurl = \"http://h/\"\nallow_plain_http = true\n[channels.push.templates]\n";
    let cases = [
        (
            email,
            "subjct = \"x\"",
            "6:10: channels.email.templates.subjct is an unknown key, allowed: subject, the nearest; also text, html",
        ),
        (email, "subject = \"{{ alert.title\"", "6:11: channels.email.templates.subject is line 1: syntax error, "),
        (
            email,
            "text = \"\"\"\nfine {{ level }}\n{% if %}\n\"\"\"",
            "8:1: channels.email.templates.text is line 2: syntax error",
        ),
        (
            email,
            "subject = { raised = \"x\", resolvd = \"y\" }",
            "6:37: channels.email.templates.subject.resolvd is an unknown key, allowed: resolved, the nearest; also raised, escalated, acknowledged",
        ),
        (email, "subject = 7", "6:11: channels.email.templates.subject is "),
        (email, "subject = \"{{ alrt.title }}\"", "unknown name \"alrt.title\", allowed: alert, the nearest"),
        (
            email,
            "text = \"\"\"\n\n{{ alert.titel }}\"\"\"",
            "8:1: channels.email.templates.text is unknown name \"alert.titel\", allowed: title, the nearest",
        ),
        (email, "text = \"{{ level | shout }}\"", "unknown filter"),
        (email, "text = \"{% include 'other' %}\"", "template not found"),
        (
            email,
            "text = \"{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}\"",
            "ran out of fuel",
        ),
        (
            push,
            "body = '{\"a\": \"{{ alert.title }}\"}'",
            "5:8: channels.push.templates.body is JSON no more when it is rendered",
        ),
        (push, "body = '{\"a\": {{ alert.title }}'", "JSON no more when it is rendered"),
    ];
    for (head, template, expected) in cases {
        match Channels::parse_with("c.toml", &format!("{head}{template}"), &environment) {
            Err(bad) => assert!(bad.to_string().contains(expected), "{template}\n  said: {bad}\n  not:  {expected}"),
            Ok(_) => panic!("{template} is fine"),
        }
    }
    for fine in [
        "text = \"{% for other in others %}{{ other.title }}{{ loop.index }}{% endfor %}{{ range(3) | list }}\"",
        "text = \"{% set where = alert.incident_id or 'nowhere' %}{{ where }}{{ alert.metadata.anything.at.all }}\"",
        "text = { acknowledged = \"{{ alert.acknowledged_by }} has it\" }\nhtml = \"<p>{{ message.alert.title }}</p>\"",
    ] {
        channels(&format!("{email}{fine}"));
    }
}

#[test]
fn a_template_that_fails_on_an_alert_gives_way_to_the_default() {
    let server = Server::start(vec![answer("200 OK", &[])]);
    let config = format!(
        "[channels.radio]\nurl = {:?}\n{}\n[channels.radio.templates]\n\
         text = \"{{{{ 10 // alert.occurrences }}}} times\"\n",
        server.url(),
        server.allowed()
    );
    let radio = channel(Channel::Radio, &config);
    let mut sent = message();
    assert_eq!(radio.send(&sent), Delivery::Delivered);
    assert_eq!(server.request().json()["text"], "10 times");
    sent.alert["occurrences"] = json!(0);
    assert_eq!(radio.send(&sent), Delivery::Delivered);
    assert_eq!(server.request().json()["text"], "CRITICAL Raised sffd: incident i-1 is late");
}

#[test]
fn a_body_that_is_json_no_more_for_an_alert_gives_way_to_the_default() {
    let server = Server::start(vec![answer("200 OK", &[])]);
    let config = format!(
        "[channels.radio]\nurl = {:?}\n{}\n[channels.radio.templates]\n\
         body = '{{\"times\": {{% if alert.occurrences > 5 %}}many{{% else %}}{{{{ alert.occurrences }}}}{{% endif %}}}}'",
        server.url(),
        server.allowed()
    );
    let radio = channel(Channel::Radio, &config);
    let mut sent = message();
    assert_eq!(radio.send(&sent), Delivery::Delivered);
    assert_eq!(server.request().json(), json!({ "times": 1 }));
    sent.alert["occurrences"] = json!(6);
    assert_eq!(radio.send(&sent), Delivery::Delivered);
    assert_eq!(server.request().json()["text"], "CRITICAL Raised sffd: incident i-1 is late");
}
