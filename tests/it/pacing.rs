//! When messages go out: a storm is one message, nights are quiet, channels are given no more than they take. The library as
//! it runs by itself, and the command line.

use std::sync::{Arc, Mutex, PoisonError};

use ionveil::Config;
use ionveil::IonVeil;
use ionveil::channels::{Callback, Channels, Delivery, Message};
use ionveil::domain::Channel;
use ionveil::notification::{GetNotifications, Held, Notification, NotificationStatus, Pacing};
use ionveil::runtime::{Clock, ManualClock};
use pollster::block_on;
use serde_json::{Value, json};

use crate::outbox::{Desk, PATIENCE, breach_rule, breached, minute, org, receiver, webhook};
use crate::support::Home;

type Bodies = Arc<Mutex<Vec<Value>>>;

fn seen(bodies: &Bodies) -> Vec<Value> {
    bodies.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn pace(desk: &Desk, pacing: Value) {
    let pacing = Pacing::from_json(&pacing).expect("a good pacing");
    block_on(desk.ionveil.notification_outbox().set_pacing(&org(), pacing)).expect("stored");
}

#[test]
fn a_storm_reaches_the_receiver_as_one_message_and_so_does_its_end() {
    let (url, bodies) = receiver(&["503 X", "200 OK"]);
    let desk = Desk::telling("webhook", webhook(&url));
    pace(&desk, json!({"groups": [{"channels": ["webhook"], "wait_seconds": 30, "interval_seconds": 300}]}));
    let alerts: Vec<_> = (0..60).map(|number| desk.breach(&format!("i{number}"))).collect();
    let told = desk.until_settled(60);
    let lead = told.iter().find(|it| it.sent_with.is_none()).expect("one stands for all");
    let raised_at = minute(0).saturating_add_micros(30_000_000);
    assert!(told.iter().all(|it| it.status == NotificationStatus::Delivered && it.delivered_at >= Some(raised_at)));
    assert!(told.iter().all(|it| it == lead || it.sent_with == Some(lead.notification_id)));
    let bodies_seen = seen(&bodies);
    assert_eq!(bodies_seen.len(), 2, "one message, tried twice");
    let count = |body: &Value| {
        let alerts = 1 + body["others"].as_array().map_or(0, Vec::len);
        (alerts, 1 + body["other_keys"].as_array().map_or(0, Vec::len))
    };
    assert_eq!((count(&bodies_seen[0]), count(&bodies_seen[1])), ((60, 60), (60, 60)));
    assert!(bodies_seen.iter().all(|body| body["idempotency_key"] == lead.idempotency_key.as_str()));
    // An explanation of one of them tells with which it was sent, and what it waited for.
    let explanation = block_on(desk.ionveil.sla_monitor_service().explain(&org(), "i7")).expect("known");
    let told_of_it = &explanation.notifications[0];
    assert_eq!(told_of_it.held_by, Some(Held::Group));
    assert!(told_of_it.sent_with == Some(lead.notification_id) || told_of_it == lead);
    for alert in &alerts {
        block_on(desk.ionveil.sla_monitor_service().resolve_alert(alert.alert_id, "ann", "over")).expect("open");
    }
    desk.until_settled(120);
    let bodies = seen(&bodies);
    assert_eq!((bodies.len(), &bodies[2]["kind"], count(&bodies[2]).0), (3, &json!("resolved"), 60));
    assert_eq!(bodies[2]["others"][0]["status"], "resolved", "each as it is at the moment of sending");
}

/// PagerDuty would open again what a late trigger reaches after the end.
#[test]
fn an_end_does_not_overtake_what_it_ends() {
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (seen, released) = (Arc::clone(&log), Mutex::new(released));
    let note = move |text: String| seen.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    let mut channels = Channels::default();
    channels.set(
        Channel::Callback,
        Callback::new(move |message: &Message| {
            let what = format!("{} {}", message.kind, message.alert["incident_id"].as_str().unwrap_or_default());
            note(format!("{what} begins"));
            if message.kind.as_str() == "escalated" {
                let _ = released.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(PATIENCE);
            }
            note(format!("{what} ends"));
            Delivery::Delivered
        }),
    );
    let desk = Desk::telling("callback", channels);
    let levels = json!([{"level": 1, "timeout_minutes": 600, "channels": []},
                        {"level": 2, "timeout_minutes": 600, "channels": ["callback"]}]);
    let policy = json!({"policy_id": "p", "name": "P", "levels": levels});
    let policy = ionveil::escalation::EscalationPolicy::from_json(&policy).expect("a good policy");
    block_on(desk.ionveil.escalation_manager().set_policy(&org(), policy)).expect("set");
    let alert = desk.breach("a");
    desk.until_settled(1);
    block_on(desk.ionveil.escalation_manager().escalate_alert(alert.alert_id, "ann", "now")).expect("open");
    let wait_for = |text: &str| {
        let begin = std::time::Instant::now();
        while !log.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|line| line == text) {
            assert!(begin.elapsed() < PATIENCE, "no {text}");
            std::thread::yield_now();
        }
    };
    wait_for("escalated a begins");
    block_on(desk.ionveil.sla_monitor_service().resolve_alert(alert.alert_id, "ann", "over")).expect("open");
    // Another alert is not kept waiting, and by then the end would have been told, too.
    desk.breach("b");
    wait_for("raised b ends");
    release.send(()).expect("it is waited for");
    desk.until(|all| all.iter().filter(|it| it.status == NotificationStatus::Delivered).count() == 4);
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    let place = |text: &str| log.iter().position(|line| line == text);
    assert!(place("escalated a ends") < place("resolved a begins"), "{log:#?}");
}

/// The receiver's side of a callback: what it was told, and how many at a time.
fn callback(told: &Arc<Mutex<Vec<(String, String)>>>) -> Channels {
    let told = Arc::clone(told);
    let mut channels = Channels::default();
    channels.set(
        Channel::Callback,
        Callback::new(move |message: &Message| {
            let incident = message.alert["incident_id"].as_str().unwrap_or_default().to_owned();
            told.lock().unwrap_or_else(PoisonError::into_inner).push((message.kind.to_string(), incident));
            Delivery::Delivered
        }),
    );
    channels
}

#[test]
fn a_night_is_quiet_over_a_restart_and_the_morning_comes_by_itself() {
    let home = Home::new();
    let told: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let clock = Arc::new(ManualClock::new(minute(0)));
    let open = |clock: &Arc<ManualClock>| {
        let shared: Arc<dyn Clock> = Arc::clone(clock) as _;
        IonVeil::open(Config::at(home.data()).with_clock(shared).with_channels(callback(&told))).expect("opens")
    };
    let ionveil = open(&clock);
    // Noon in UTC is nine in the evening in Tokyo; quiet until six, which is nine hours later.
    let pacing = json!({"time_zone": "Asia/Tokyo", "quiet_hours": [
        {"channels": ["callback"], "severities": ["critical"], "from": "21:00", "until": "06:00"},
    ]});
    let outbox = ionveil.notification_outbox();
    block_on(outbox.set_pacing(&org(), Pacing::from_json(&pacing).expect("good"))).expect("stored");
    block_on(ionveil.sla_monitor_service().add_rule(breach_rule("callback"))).expect("stored");
    block_on(ionveil.sla_monitor_service().check_incident(breached("i"))).expect("checked");
    let wait = |ionveil: &IonVeil, status: NotificationStatus, held: Option<Held>| {
        let begin = std::time::Instant::now();
        loop {
            let all =
                block_on(ionveil.notification_outbox().list(&org(), GetNotifications::default())).expect("a list");
            if all.iter().any(|it| it.status == status && it.held_by == held) {
                return all;
            }
            assert!(begin.elapsed() < PATIENCE, "{all:#?}");
            std::thread::yield_now();
        }
    };
    let all = wait(&ionveil, NotificationStatus::Pending, Some(Held::QuietHours));
    assert_eq!(all[0].due_at, minute(9 * 60));
    assert!(block_on(ionveil.shutdown(PATIENCE)));
    drop((ionveil, outbox));
    clock.set(minute(9 * 60 - 1));
    let ionveil = open(&clock);
    wait(&ionveil, NotificationStatus::Pending, Some(Held::QuietHours));
    assert!(told.lock().unwrap_or_else(PoisonError::into_inner).is_empty());
    clock.set(minute(9 * 60));
    let all = wait(&ionveil, NotificationStatus::Delivered, Some(Held::QuietHours));
    assert_eq!(all[0].delivered_at, Some(minute(9 * 60)));
    assert_eq!(*told.lock().unwrap_or_else(PoisonError::into_inner), [("raised".to_owned(), "i".to_owned())]);
}

#[test]
fn a_limit_is_kept_over_a_restart() {
    let home = Home::new();
    let told: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let clock = Arc::new(ManualClock::new(minute(0)));
    let open = || {
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
        IonVeil::open(Config::at(home.data()).with_clock(shared).with_channels(callback(&told))).expect("opens")
    };
    let delivered = |ionveil: &IonVeil, count: usize| {
        let begin = std::time::Instant::now();
        loop {
            let all =
                block_on(ionveil.notification_outbox().list(&org(), GetNotifications::default())).expect("a list");
            let held = all.iter().filter(|it| it.held_by == Some(Held::Limit)).count();
            if all.iter().filter(|it| it.status == NotificationStatus::Delivered).count() == count && held == 3 {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{all:#?}");
            std::thread::yield_now();
        }
    };
    let ionveil = open();
    let pacing = json!({"limits": [{"channels": ["callback"], "messages": 2, "per_seconds": 600}]});
    let outbox = ionveil.notification_outbox();
    block_on(outbox.set_pacing(&org(), Pacing::from_json(&pacing).expect("good"))).expect("stored");
    block_on(ionveil.sla_monitor_service().add_rule(breach_rule("callback"))).expect("stored");
    for number in 0..5 {
        block_on(ionveil.sla_monitor_service().check_incident(breached(&format!("i{number}")))).expect("checked");
    }
    delivered(&ionveil, 2);
    assert!(block_on(ionveil.shutdown(PATIENCE)));
    drop((ionveil, outbox));
    // It comes back within the span: nothing more is given.
    clock.set(minute(9));
    let ionveil = open();
    delivered(&ionveil, 2);
    clock.set(minute(10));
    delivered(&ionveil, 4);
    clock.set(minute(20));
    delivered(&ionveil, 5);
    assert_eq!(told.lock().unwrap_or_else(PoisonError::into_inner).len(), 5);
}

#[test]
fn who_has_a_message_is_known_after_a_restart_and_hears_of_the_end() {
    let (url, bodies) = receiver(&["200 OK", "500 X", "200 OK"]);
    let sms = format!(
        "[channels.sms]\nurl = \"{url}\"\nto = [\"+1\", \"+2\"]\nallow_plain_http = true\nallow_addresses = [\"127.0.0.0/8\"]\n"
    );
    let home = Home::new();
    let clock = Arc::new(ManualClock::new(minute(0)));
    let open = || {
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let channels = Channels::parse("test.toml", &sms).unwrap_or_else(|bad| panic!("{bad}"));
        IonVeil::open(Config::at(home.data()).with_clock(shared).with_channels(channels)).expect("opens")
    };
    let wait = |ionveil: &IonVeil, wanted: &dyn Fn(&[Notification]) -> bool| {
        let begin = std::time::Instant::now();
        loop {
            let all =
                block_on(ionveil.notification_outbox().list(&org(), GetNotifications::default())).expect("a list");
            if wanted(&all) {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{all:#?}");
            std::thread::yield_now();
        }
    };
    let told = || -> Vec<String> { seen(&bodies).iter().map(|body| text(body, "to").to_owned()).collect() };
    let ionveil = open();
    block_on(ionveil.sla_monitor_service().add_rule(breach_rule("sms"))).expect("stored");
    let report = block_on(ionveil.sla_monitor_service().check_incident(breached("i"))).expect("checked");
    wait(&ionveil, &|all| all.iter().any(|it| it.attempts == 1));
    assert_eq!(told(), ["+1", "+2"], "the second number could not be reached");
    assert!(block_on(ionveil.shutdown(PATIENCE)));
    drop(ionveil);
    clock.set(minute(1));
    let ionveil = open();
    wait(&ionveil, &|all| all.iter().all(|it| it.status == NotificationStatus::Delivered));
    assert_eq!(told()[2..], ["+2"], "who has it does not get it again");
    let alert_id = report.alerts[0].alert_id;
    block_on(ionveil.sla_monitor_service().resolve_alert(alert_id, "ann", "over")).expect("open");
    wait(&ionveil, &|all| all.len() == 2 && all.iter().all(|it| it.status == NotificationStatus::Delivered));
    assert_eq!(told()[3..], ["+1", "+2"]);
    assert!(block_on(ionveil.shutdown(PATIENCE)));
    drop(ionveil);
    let journal = home.run(&["journal", "export"]).lines();
    let partly = journal.iter().find(|entry| entry["type"] == "notification-partly-delivered").expect("it is there");
    assert_eq!(partly["payload"]["reached"]["places"], json!([0]));
    assert!(journal.iter().all(|entry| !entry.to_string().contains("\"+")), "no number is in the journal");
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} of {value}"))
}

#[test]
fn the_command_line_sets_shows_and_checks_the_pacing() {
    let home = Home::new();
    let settings = ["notifications", "settings", "--org", "o"];
    assert_eq!(home.run(&settings).document(), Value::Null);
    let example = format!("{}/examples/notification-pacing.toml", env!("CARGO_MANIFEST_DIR"));
    let set = home.run(&["notifications", "configure", "--org", "o", &example]).document();
    assert_eq!(set, home.run(&settings).document());
    assert_eq!(
        set["quiet_hours"][1],
        json!({"channels": ["email"], "severities": ["info"], "levels": [1, 2, 3, 4], "days": ["fri", "sat", "sun"],
               "from": "18:00", "until": "07:00", "digest": true})
    );
    let shown = home.run_for_people(&settings).stdout;
    assert!(shown.contains("18:00 to 07:00 America/Los_Angeles") && shown.contains("20 in 60 s"), "{shown}");
    let bad = home.file("bad.toml", "time_zone = \"UTC\"\n\n[[quiet_hours]]\nfrom = \"22:00\"\nuntil = \"7:00\"\n");
    let refused = home.run(&["notifications", "configure", "--org", "o", &bad]);
    refused.error(2, "invalid");
    assert!(refused.stderr.contains("bad.toml:5:") && refused.stderr.contains("until"), "{}", refused.stderr);
    // Of several entries that which is wrong, also when a good one has the same value before, or the key is missing.
    let limit = "[[limits]]\nchannels = [\"log\"]\nmessages = 1\n";
    for (name, text, place) in [
        ("same.toml", format!("{limit}per_seconds = 1\n[[groups]]\nchannels = [\"log\"]\n"), "same.toml:6:"),
        ("missing.toml", format!("{limit}per_seconds = 1\n{limit}"), "missing.toml:5:"),
    ] {
        let refused = home.run(&["notifications", "configure", "--org", "o", &home.file(name, &text)]);
        refused.error(2, "invalid");
        assert!(refused.stderr.contains(place), "{}", refused.stderr);
    }
    assert_eq!(home.run(&settings).document(), set, "what is refused changes nothing");
}

#[test]
fn a_preview_shows_what_is_told_along() {
    let home = Home::new();
    let rule = home.file(
        "rule.json",
        r#"{"rule_id": "breach", "name": "Breach", "condition_type": "sla_breach", "severity": "warning",
            "notification_channels": ["email", "pagerduty"]}"#,
    );
    home.run(&["rule", "add", &rule]).document();
    let pacing = home.file("pacing.json", r#"{"groups": [{"channels": ["email"]}]}"#);
    home.run(&["notifications", "configure", "--org", "o", &pacing]).document();
    let mut ids = Vec::new();
    for incident in ["a", "b", "c"] {
        let (dispatch, now) = ("2026-01-31T12:00:00Z", "2026-01-31T12:06:00Z");
        let mut check = vec!["incident", "check", "--org", "o", "--incident", incident, "--priority", "1"];
        check.extend(["--dispatch-time", dispatch, "--now", now]);
        ids.push(text(&home.run(&check).document()["alerts"][0], "alert_id").to_owned());
    }
    let preview =
        |channel: &str| home.run(&["notifications", "preview", "--alert", &ids[0], "--channel", channel]).document();
    let mail = preview("email");
    let mut others: Vec<&str> = mail["others"].as_array().expect("an array").iter().filter_map(Value::as_str).collect();
    others.sort_unstable();
    let mut expected = [ids[1].as_str(), &ids[2]];
    expected.sort_unstable();
    assert_eq!(others, expected);
    assert!(text(&mail, "preview").contains("and 2 more"), "{mail}");
    assert_eq!(preview("pagerduty")["others"], json!([]));
}

#[test]
fn a_dead_letter_that_is_sent_again_by_a_command_leaves_at_once_or_says_why_not() {
    let home = Home::new();
    let shared: Arc<dyn Clock> = Arc::new(ManualClock::new(minute(0)));
    let ionveil = IonVeil::open(Config::at(home.data()).with_clock(shared)).expect("opens");
    block_on(ionveil.sla_monitor_service().add_rule(breach_rule("webhook"))).expect("stored");
    for incident in ["a", "b", "c"] {
        block_on(ionveil.sla_monitor_service().check_incident(breached(incident))).expect("checked");
    }
    let begin = std::time::Instant::now();
    let dead = loop {
        let question = GetNotifications { dead: true, ..GetNotifications::default() };
        let dead = block_on(ionveil.notification_outbox().list(&org(), question)).expect("a list");
        if dead.len() == 3 {
            break dead.into_iter().map(|it| it.notification_id.to_string()).collect::<Vec<_>>();
        }
        assert!(begin.elapsed() < PATIENCE, "the channel is not set up");
        std::thread::yield_now();
    };
    assert!(block_on(ionveil.shutdown(PATIENCE)));
    drop(ionveil);
    let waits = home.run(&["notifications", "resend", &dead[0]]);
    assert_eq!(text(&waits.document(), "status"), "pending");
    assert!(waits.stderr.contains("webhook is not set up here"), "{}", waits.stderr);
    let (url, bodies) = receiver(&["200 OK", "404 X"]);
    let channels =
        format!("[channels.webhook]\nurl = \"{url}\"\nallow_plain_http = true\nallow_addresses = [\"127.0.0.0/8\"]\n");
    let config = home.file("channels.toml", channels);
    let sent = home.run(&["notifications", "resend", &dead[1], "--config", &config]).document();
    assert_eq!((text(&sent, "status"), &sent["attempts"]), ("delivered", &json!(1)));
    assert_eq!(seen(&bodies)[0]["notification_id"], dead[1].as_str());
    let refused = home.run(&["notifications", "resend", &dead[2], "--config", &config]).document();
    assert_eq!((text(&refused, "status"), text(&refused, "last_error")), ("dead", "the server answered 404"));
    home.run(&["notifications", "resend", &dead[1], "--config", &config]).error(1, "conflict");
}
