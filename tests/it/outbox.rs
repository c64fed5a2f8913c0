//! Messages from the alert to the receiver and back into the outbox: a system that runs by itself, a receiver that speaks
//! HTTP, and a process that is killed between the steps.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ionveil::alerts::Alert;
use ionveil::channels::{Callback, Channels, Delivery, Message};
use ionveil::domain::{Channel, OrgId, Timestamp};
use ionveil::notification::{GetNotifications, Notification, NotificationStatus, Pacing};
use ionveil::rules::AlertRule;
use ionveil::runtime::{Clock, ManualClock};
use ionveil::{Config, IncidentCheck, IonVeil};
use pollster::block_on;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::child;

/// Longest that a test waits for what should take no time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn minute(minutes: i64) -> Timestamp {
    let noon: Timestamp = "2026-03-01T12:00:00Z".parse().expect("an instant");
    noon.saturating_add_micros(minutes * 60_000_000)
}

pub(crate) fn org() -> OrgId {
    "org".parse().expect("an id")
}

/// Answers each request with the next status, the last one again and again; keeps the bodies. What breaks off half-way, as
/// of a sender that was killed, is no request.
pub(crate) fn receiver(statuses: &[&str]) -> (String, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let bodies: Arc<Mutex<Vec<Value>>> = Arc::default();
    let (seen, statuses): (_, Vec<String>) =
        (Arc::clone(&bodies), statuses.iter().map(|status| (*status).to_owned()).collect());
    std::thread::spawn(move || {
        let mut number = 0;
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) < 3 {
                    break;
                }
                if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
                    length = text.trim().parse().expect("a length");
                }
            }
            let mut body = vec![0; length];
            if length == 0 || reader.read_exact(&mut body).is_err() {
                continue;
            }
            let body = serde_json::from_slice(&body).expect("JSON");
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(body);
            let status = &statuses[number.min(statuses.len() - 1)];
            number += 1;
            let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    (url, bodies)
}

pub(crate) fn webhook(url: &str) -> Channels {
    let config =
        format!("[channels.webhook]\nurl = \"{url}\"\nallow_plain_http = true\nallow_addresses = [\"127.0.0.0/8\"]\n");
    Channels::parse("test.toml", &config).unwrap_or_else(|bad| panic!("{bad}"))
}

/// An IonVeil that runs by itself on a clock of the test's, with a rule that tells on `channel`.
pub(crate) struct Desk {
    pub(crate) ionveil: IonVeil,
    pub(crate) clock: Arc<ManualClock>,
}

impl Desk {
    pub(crate) fn telling(channel: &str, channels: Channels) -> Self {
        let clock = Arc::new(ManualClock::new(minute(0)));
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let config = Config::in_memory().with_clock(shared).with_channels(channels);
        let desk = Desk { ionveil: IonVeil::open(config).expect("opens"), clock };
        block_on(desk.ionveil.sla_monitor_service().add_rule(breach_rule(channel))).expect("stored");
        desk
    }

    pub(crate) fn breach(&self, incident: &str) -> Alert {
        let report = block_on(self.ionveil.sla_monitor_service().check_incident(breached(incident))).expect("checked");
        report.alerts.into_iter().next().expect("it is breached")
    }

    /// Waits until the messages are as wanted, moving the clock along so that what waits for its next try comes to it.
    #[track_caller]
    pub(crate) fn until(&self, wanted: impl Fn(&[Notification]) -> bool) -> Vec<Notification> {
        let begin = Instant::now();
        loop {
            let list = self.ionveil.notification_outbox();
            let messages = block_on(list.list(&org(), GetNotifications::default())).expect("a list");
            if wanted(&messages) {
                return messages;
            }
            assert!(begin.elapsed() < PATIENCE, "{messages:#?}");
            if let Some(later) = messages.iter().map(|it| it.due_at).filter(|due| *due > self.clock.now()).min() {
                self.clock.set(later);
            }
            std::thread::yield_now();
        }
    }

    #[track_caller]
    pub(crate) fn until_settled(&self, count: usize) -> Vec<Notification> {
        self.until(|all| all.len() == count && all.iter().all(|it| it.status != NotificationStatus::Pending))
    }
}

pub(crate) fn breach_rule(channel: &str) -> AlertRule {
    let rule = AlertRule::from_json(&json!({
        "rule_id": "breach", "name": "Breach", "condition_type": "sla_breach", "severity": "critical",
        "notification_channels": [channel],
    }));
    rule.expect("a good rule")
}

/// An incident of five minutes that has taken six.
pub(crate) fn breached(incident: &str) -> IncidentCheck {
    IncidentCheck {
        incident_id: incident.into(),
        org_id: org(),
        priority: 1,
        dispatch_time: minute(-6),
        arrival_time: None,
        closed_time: None,
        current_time: None,
    }
}

#[test]
fn a_raise_and_its_end_reach_the_receiver_under_stable_keys_over_failures() {
    let (url, bodies) = receiver(&["500 X", "503 X", "200 OK"]);
    let desk = Desk::telling("webhook", webhook(&url));
    let alert = desk.breach("i");
    let told = desk.until_settled(1);
    assert_eq!((told[0].status, told[0].attempts), (NotificationStatus::Delivered, 3), "{told:?}");
    block_on(desk.ionveil.sla_monitor_service().resolve_alert(alert.alert_id, "ann", "unit 7 is there")).expect("open");
    let told = desk.until_settled(2);
    assert_eq!(told[1].status, NotificationStatus::Delivered);
    let bodies = bodies.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let keys: Vec<&str> = bodies.iter().filter_map(|body| body["idempotency_key"].as_str()).collect();
    let (raised, resolved) = (told[0].idempotency_key.as_str(), told[1].idempotency_key.as_str());
    assert_eq!(keys, [raised, raised, raised, resolved]);
    assert_eq!((&bodies[0]["kind"], &bodies[3]["kind"]), (&json!("raised"), &json!("resolved")));
    assert_eq!(bodies[3]["alert"]["resolved_by"], "ann", "the alert as it is at the moment of sending");
}

#[test]
fn what_is_refused_for_good_or_not_set_up_is_a_dead_letter_that_can_be_sent_again() {
    let (url, bodies) = receiver(&["404 X", "200 OK"]);
    let desk = Desk::telling("webhook", webhook(&url));
    desk.breach("i");
    let told = desk.until_settled(1);
    assert_eq!((told[0].status, told[0].attempts), (NotificationStatus::Dead, 1), "{told:?}");
    block_on(desk.ionveil.notification_outbox().resend(told[0].notification_id)).expect("a dead letter");
    assert_eq!(desk.until_settled(1)[0].status, NotificationStatus::Delivered);
    assert_eq!(bodies.lock().unwrap_or_else(PoisonError::into_inner).len(), 2);
    let desk = Desk::telling("sms", Channels::default());
    desk.breach("i");
    let told = desk.until_settled(1);
    assert_eq!(told[0].status, NotificationStatus::Dead);
    assert_eq!(told[0].last_error.as_deref(), Some("channel sms is not set up"));
}

#[test]
fn deadlines_and_escalations_move_by_themselves_as_the_clock_does() {
    let levels: Arc<Mutex<Vec<(String, u8)>>> = Arc::default();
    let seen = Arc::clone(&levels);
    let mut channels = Channels::default();
    channels.set(
        Channel::Callback,
        Callback::new(move |message: &Message| {
            seen.lock().unwrap_or_else(PoisonError::into_inner).push((message.kind.to_string(), message.level));
            Delivery::Delivered
        }),
    );
    let desk = Desk::telling("callback", channels);
    let policy = ionveil::escalation::EscalationPolicy::from_json(&json!({
        "policy_id": "p", "name": "P", "levels": [
            {"level": 1, "timeout_minutes": 15, "channels": []},
            {"level": 2, "timeout_minutes": 10, "channels": ["callback"]},
        ],
    }));
    block_on(desk.ionveil.escalation_manager().set_policy(&org(), policy.expect("a good policy"))).expect("set");
    let monitor = desk.ionveil.sla_monitor_service();
    let check = IncidentCheck { dispatch_time: minute(0), ..breached("i") };
    assert_eq!(block_on(monitor.check_incident(check)).expect("checked").alerts, []);
    let wait_for = |count: usize| {
        let begin = Instant::now();
        while levels.lock().unwrap_or_else(PoisonError::into_inner).len() < count {
            assert!(begin.elapsed() < PATIENCE, "nothing happens by itself");
            std::thread::yield_now();
        }
        levels.lock().unwrap_or_else(PoisonError::into_inner).clone()
    };
    desk.clock.set(minute(5));
    assert_eq!(wait_for(1), [("raised".to_owned(), 1)]);
    desk.clock.set(minute(20));
    assert_eq!(wait_for(2)[1], ("escalated".to_owned(), 2));
    let alerts = block_on(monitor.get_active_alerts(&org(), None, None)).expect("a list");
    assert_eq!((alerts.len(), alerts[0].created_at, alerts[0].updated_at), (1, minute(5), minute(20)));
}

/// The process that is killed: it watches, raises and tells, and says each step on stderr.
#[test]
fn teller() {
    if !child::is("teller") {
        return;
    }
    let dir = std::env::var("IONVEIL_TEST_DIR").expect("the parent says where");
    let url = std::env::var("IONVEIL_TEST_URL").expect("the parent says whom");
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(minute(0)));
    let config = Config::at(Path::new(&dir).join("data")).with_clock(clock).with_channels(webhook(&url));
    let ionveil = IonVeil::open(config).expect("the journal is free");
    let monitor = ionveil.sla_monitor_service();
    block_on(monitor.add_rule(breach_rule("webhook"))).expect("stored");
    if std::env::var("IONVEIL_TEST_GROUPED").is_ok() {
        block_on(ionveil.notification_outbox().set_pacing(&org(), grouped())).expect("stored");
    }
    let first = block_on(monitor.open_incidents(&org())).expect("a list").len();
    for number in first.. {
        eprintln!("checking {number}");
        block_on(monitor.check_incident(breached(&format!("i{number}")))).expect("checked");
        eprintln!("acknowledged {number}");
    }
}

/// Together is what waits at the same time.
fn grouped() -> Pacing {
    let group = json!({"channels": ["webhook"], "wait_seconds": 0, "interval_seconds": 0});
    Pacing::from_json(&json!({"groups": [group]})).expect("a good pacing")
}

#[test]
fn whatever_was_raised_is_told_at_least_once_under_one_key_over_kills() {
    over_kills(false);
}

#[test]
fn what_is_told_together_is_told_at_least_once_under_one_key_over_kills() {
    over_kills(true);
}

fn over_kills(is_grouped: bool) {
    let (url, bodies) = receiver(&["200 OK"]);
    let dir = TempDir::new().expect("a temporary directory");
    for round in 0..4 {
        let mut command = child::command("teller", "outbox::teller");
        command.env("IONVEIL_TEST_DIR", dir.path()).env("IONVEIL_TEST_URL", &url);
        if is_grouped {
            command.env("IONVEIL_TEST_GROUPED", "1");
        }
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut running = command.spawn().expect("the program starts");
        let said = BufReader::new(running.stderr.take().expect("a piped stderr")).lines().map_while(Result::ok);
        // Killed at another step in each round: before, in the middle of, and after raising, telling and recording.
        let steps =
            said.filter(|line| line.starts_with("checking") || line.starts_with("acknowledged")).take(3 + round * 3);
        assert_eq!(steps.count(), 3 + round * 3, "the child ended by itself");
        running.kill().expect("it can be killed");
        running.wait().expect("it has ended");
    }
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(minute(0)));
    let config = Config::at(dir.path().join("data")).with_clock(clock).with_channels(webhook(&url));
    let ionveil = IonVeil::open(config).expect("the journal is free");
    let begin = Instant::now();
    let told = loop {
        let all = block_on(ionveil.notification_outbox().list(&org(), GetNotifications::default())).expect("a list");
        if all.iter().all(|it| it.status == NotificationStatus::Delivered) {
            break all;
        }
        assert!(begin.elapsed() < PATIENCE, "{all:#?}");
        std::thread::yield_now();
    };
    let alerts = block_on(ionveil.sla_monitor_service().get_active_alerts(&org(), None, None)).expect("a list");
    assert!(alerts.len() >= 8, "{} alerts", alerts.len());
    assert_eq!(told.len(), alerts.len(), "one message each");
    let bodies = bodies.lock().unwrap_or_else(PoisonError::into_inner).clone();
    // By each key, the keys under which messages told of it.
    let mut keys: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for body in &bodies {
        let lead = body["idempotency_key"].as_str().expect("a key");
        let others = body["other_keys"].as_array().expect("an array").iter().filter_map(Value::as_str);
        [lead].into_iter().chain(others).for_each(|key| {
            keys.entry(key).or_default().insert(lead);
        });
    }
    let expected: BTreeSet<&str> = told.iter().map(|it| it.idempotency_key.as_str()).collect();
    assert_eq!(keys.keys().copied().collect::<BTreeSet<_>>(), expected, "each at least once");
    assert!(keys.values().all(|leads| leads.len() == 1), "and never under a second key: {keys:#?}");
}

/// The failures measured on the field's best-known alert manager after kill -9: a suppression ended by hand active again,
/// and an acknowledged suppression gone.
#[test]
fn suppressions_made_and_ended_outlive_a_kill() {
    let dir = TempDir::new().expect("a temporary directory");
    let mut command = child::command("suppressor", "outbox::suppressor");
    command.env("IONVEIL_TEST_DIR", dir.path()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = command.spawn().expect("the program starts");
    let said = BufReader::new(running.stderr.take().expect("a piped stderr")).lines().map_while(Result::ok);
    assert_eq!(said.filter(|line| line == "done").take(1).count(), 1, "the child ended by itself");
    running.kill().expect("it can be killed");
    running.wait().expect("it has ended");
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(minute(2)));
    let ionveil = IonVeil::open(Config::at(dir.path().join("data")).with_clock(clock)).expect("the journal is free");
    let manager = ionveil.alert_suppression_manager();
    assert!(!block_on(manager.is_suppressed(&org(), "ended")).expect("an answer"));
    assert!(block_on(manager.is_suppressed(&org(), "kept")).expect("an answer"));
    assert_eq!(block_on(manager.get_active_suppressions(&org(), true)).expect("a list").len(), 2);
}

#[test]
fn suppressor() {
    if !child::is("suppressor") {
        return;
    }
    let dir = std::env::var("IONVEIL_TEST_DIR").expect("the parent says where");
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(minute(0)));
    let ionveil =
        IonVeil::open(Config::at(Path::new(&dir).join("data")).with_clock(clock)).expect("the journal is free");
    let manager = ionveil.alert_suppression_manager();
    let ended = block_on(manager.add_suppression(&org(), "ended", 60, "tests", "ann")).expect("good");
    block_on(manager.add_suppression(&org(), "kept", 60, "tests", "ann")).expect("good");
    assert!(block_on(manager.remove_suppression(ended.suppression_id)).expect("an answer"));
    eprintln!("done");
    loop {
        std::thread::park();
    }
}
