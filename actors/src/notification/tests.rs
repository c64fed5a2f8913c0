//! Given, when, then for the outbox: what follows from an alert's life, and what becomes of a message.

mod model;
mod pacing;

use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::alerts::{AlertAcknowledged, AlertEscalated, AlertRaised, AlertResolved, Cause};
use crate::domain::{Channel, Priority};
use crate::error::Kind as ErrorKind;
use crate::rules::AlertSeverity;
use crate::runtime::testing::{Observed, Scenario};

impl Observed for Notifications {
    fn observed(&self) -> String {
        format!("{self:?}")
    }
}

const ALERT: Uuid = Uuid::from_u128(0xa1e7);

fn s(seconds: i64) -> Timestamp {
    Timestamp::EPOCH.saturating_add_micros(seconds * 1_000_000)
}

fn failed(error: impl Into<String>, retry: Retry) -> Attempt {
    Attempt::Failed { error: error.into(), retry, reached: None }
}

fn raised(channels: &[Channel]) -> alerts::Event {
    let priority = Priority::new(1).expect("1 to 5");
    let cause =
        Cause::Sla { is_warning: false, priority, dispatch: s(0), arrival: None, closed: None, seen_at: s(300) };
    alerts::Event::Raised(AlertRaised {
        alert_id: ALERT,
        rule_id: "breach".into(),
        rule_version: 1,
        incident_id: Some("i".into()),
        number: 1,
        severity: AlertSeverity::Critical,
        title: "Breach: incident i".into(),
        cause,
        at: s(300),
        due_at: None,
        late: false,
        channels: channels.to_vec(),
        policy: None,
        escalation_after_minutes: None,
    })
}

fn escalated(level: u8, cycle: u32, channels: &[Channel], held_back_by: Option<Uuid>) -> alerts::Event {
    alerts::Event::Escalated(AlertEscalated {
        alert_id: ALERT,
        at: s(400),
        due_at: None,
        from_level: 1,
        to_level: level,
        cycle,
        reason: "timeout".into(),
        by: "system".into(),
        channels: channels.to_vec(),
        held_back_by,
    })
}

fn acknowledged() -> alerts::Event {
    alerts::Event::Acknowledged(AlertAcknowledged { alert_id: ALERT, at: s(500), by: "ann".into(), note: None })
}

fn resolved() -> alerts::Event {
    let note = "done".to_owned();
    alerts::Event::Resolved(AlertResolved { alert_id: ALERT, at: s(600), by: "ann".into(), note })
}

/// An outbox in its life.
struct Life(Option<Scenario<Notifications>>);

impl Life {
    fn new() -> Self {
        Life(Some(Scenario::given([])))
    }

    /// What the org's alerts tell; how many messages it queues.
    #[track_caller]
    fn hear(&mut self, event: alerts::Event) -> usize {
        let org = "org".parse().expect("an id");
        let scenario = self.0.take().expect("a life goes on");
        let noticed = decide::noticed(scenario.state(), &org, &event);
        let queued = noticed.as_ref().map_or(0, |noticed| noticed.queued.len());
        let mut history = scenario.history().to_vec();
        history.extend(noticed.map(Event::Noticed));
        self.0 = Some(Scenario::given(history));
        queued
    }

    #[track_caller]
    fn attempt(&mut self, channel: Channel, kind: Kind, at: i64, attempt: Attempt) -> Notification {
        let notification_id = self.find(channel, kind).notification_id;
        let scenario = self.0.take().expect("a life goes on");
        let command = RecordAttempt { notification_id, told_of: vec![notification_id], at: s(at), attempt };
        self.0 = Some(scenario.when(command).then_accepted());
        self.find(channel, kind)
    }

    #[track_caller]
    fn deliver(&mut self, channel: Channel, kind: Kind, at: i64) -> Notification {
        self.attempt(channel, kind, at, Attempt::Delivered)
    }

    #[track_caller]
    fn find(&self, channel: Channel, kind: Kind) -> Notification {
        let all = self.list(GetNotifications::default());
        all.into_iter().rfind(|it| it.channel == channel && it.kind == kind).expect("it was queued")
    }

    fn list(&self, question: GetNotifications) -> Vec<Notification> {
        self.scenario().ask(question).expect("an answer")
    }

    fn scenario(&self) -> &Scenario<Notifications> {
        self.0.as_ref().expect("a life goes on")
    }

    /// All messages as `kind channel status`.
    fn shown(&self) -> Vec<String> {
        let shown =
            |it: &Notification| format!("{} {} {}", it.kind, it.channel, json!(it.status).as_str().unwrap_or(""));
        self.list(GetNotifications::default()).iter().map(shown).collect()
    }

    fn offered(&self) -> usize {
        self.scenario().state().pending().len()
    }
}

use Channel::{Email, Push, Sms};

#[test]
fn each_event_of_an_alert_queues_one_message_per_channel_under_its_own_key() {
    let mut life = Life::new();
    assert_eq!(life.hear(raised(&[Email, Sms])), 2);
    assert_eq!(life.hear(raised(&[Email, Sms])), 0, "told twice, queued once");
    assert_eq!(life.hear(escalated(2, 1, &[Sms], None)), 1);
    assert_eq!(life.hear(escalated(1, 2, &[Email], None)), 1);
    assert_eq!(life.hear(escalated(2, 2, &[Sms], None)), 1, "another cycle is another message");
    let keys: Vec<String> = life.list(GetNotifications::default()).into_iter().map(|it| it.idempotency_key).collect();
    let expected =
        ["raised/1/1/email", "raised/1/1/sms", "escalated/2/1/sms", "escalated/1/2/email", "escalated/2/2/sms"];
    assert_eq!(keys, expected.map(|key| format!("{ALERT}/{key}")));
    let first = json!(life.find(Email, Kind::Raised));
    assert_eq!(
        first,
        json!({
            "notification_id": first["notification_id"], "alert_id": ALERT, "kind": "raised", "channel": "email",
            "level": 1, "cycle": 1, "idempotency_key": keys[0], "attempts": 0, "last_error": null,
            "due_at": s(300), "delivered_at": null, "status": "pending", "sent_with": null, "held_by": null,
        })
    );
    assert_eq!(life.offered(), 5);
}

#[test]
fn whoever_was_told_is_told_of_the_end_and_nobody_else() {
    let mut life = Life::new();
    life.hear(raised(&[Email, Sms, Push]));
    life.deliver(Email, Kind::Raised, 301);
    assert_eq!(life.hear(resolved()), 1);
    assert_eq!(
        life.shown(),
        ["raised email delivered", "raised sms cancelled", "raised push cancelled", "resolved email pending"]
    );
    assert_eq!(life.offered(), 1);
    // Escalations count, too, and a channel is told once.
    let mut life = Life::new();
    life.hear(raised(&[Email]));
    life.deliver(Email, Kind::Raised, 301);
    life.hear(escalated(2, 1, &[Sms, Email], None));
    life.deliver(Sms, Kind::Escalated, 401);
    life.deliver(Email, Kind::Escalated, 401);
    assert_eq!(life.hear(resolved()), 2);
    assert_eq!(life.find(Sms, Kind::Resolved).level, 2);
}

#[test]
fn what_is_resolved_before_it_was_told_is_not_announced() {
    let mut life = Life::new();
    life.hear(raised(&[Email, Sms]));
    assert_eq!(life.hear(resolved()), 0);
    assert_eq!(life.shown(), ["raised email cancelled", "raised sms cancelled"]);
    assert_eq!(life.offered(), 0);
}

#[test]
fn a_message_that_was_on_its_way_when_the_alert_ended_is_followed_by_the_end() {
    let mut life = Life::new();
    life.hear(raised(&[Email, Sms]));
    life.hear(resolved());
    let message = life.deliver(Email, Kind::Raised, 601);
    assert_eq!(message.status, NotificationStatus::Delivered, "it is out, whatever was wished");
    assert_eq!(life.find(Email, Kind::Resolved).status, NotificationStatus::Pending);
    // One that did not get there stays taken back.
    let failed = failed("no", Retry::Later);
    assert_eq!(life.attempt(Sms, Kind::Raised, 601, failed).status, NotificationStatus::Cancelled);
    assert_eq!(life.list(GetNotifications::default()).len(), 3);
}

#[test]
fn an_acknowledgement_takes_back_what_has_not_left() {
    let mut life = Life::new();
    life.hear(raised(&[Email, Sms]));
    life.deliver(Email, Kind::Raised, 301);
    life.hear(escalated(2, 1, &[Push], None));
    assert_eq!(life.hear(acknowledged()), 0);
    assert_eq!(life.shown(), ["raised email delivered", "raised sms cancelled", "escalated push cancelled"]);
    // The chain starts again: a new cycle, new messages; the end goes to those who were told.
    assert_eq!(life.hear(escalated(1, 2, &[Email], None)), 1);
    assert_eq!(life.hear(resolved()), 1);
    assert_eq!(life.find(Email, Kind::Resolved).cycle, 2);
}

#[test]
fn pagerduty_is_told_of_an_acknowledgement_when_it_was_told_before() {
    let mut life = Life::new();
    life.hear(raised(&[Channel::Pagerduty]));
    assert_eq!(life.hear(acknowledged()), 0, "it knows of nothing");
    let mut life = Life::new();
    life.hear(raised(&[Channel::Pagerduty, Email]));
    life.deliver(Channel::Pagerduty, Kind::Raised, 301);
    life.deliver(Email, Kind::Raised, 301);
    assert_eq!(life.hear(acknowledged()), 1);
    life.deliver(Channel::Pagerduty, Kind::Acknowledged, 501);
    assert_eq!(life.hear(resolved()), 2);
}

#[test]
fn a_suppression_keeps_escalation_messages_back_and_no_resolution() {
    let mut life = Life::new();
    life.hear(raised(&[Email]));
    life.deliver(Email, Kind::Raised, 301);
    assert_eq!(life.hear(escalated(2, 1, &[Sms], Some(Uuid::from_u128(1)))), 0);
    assert_eq!(life.hear(resolved()), 1);
    assert_eq!(life.find(Email, Kind::Resolved).level, 2);
}

#[test]
fn a_failure_is_tried_again_later_and_at_last_given_up() {
    let mut life = Life::new();
    life.hear(raised(&[Email]));
    let mut now = 300;
    for attempts in 1..ATTEMPTS_MAX {
        let failed = failed("503", Retry::Later);
        let message = life.attempt(Email, Kind::Raised, now, failed);
        let expected = s(now).saturating_add_micros(retry_delay_micros(message.notification_id, attempts));
        assert_eq!((message.attempts, message.status), (attempts, NotificationStatus::Pending));
        assert_eq!((message.due_at, message.last_error.as_deref()), (expected, Some("503")));
        assert_eq!(life.offered(), 0, "it waits");
        now = expected.as_micros() / 1_000_000 + 1;
        let woken = life.scenario().state().on_wake(&Given::at(s(now))).expect("a wake");
        let mut history = life.scenario().history().to_vec();
        history.extend(woken);
        life.0 = Some(Scenario::given(history));
        assert_eq!((life.offered(), life.scenario().state().next_wake()), (1, None));
    }
    let failed = failed("503", Retry::Later);
    let message = life.attempt(Email, Kind::Raised, now, failed);
    assert_eq!((message.attempts, message.status), (ATTEMPTS_MAX, NotificationStatus::Dead));
    assert_eq!(life.list(GetNotifications { dead: true, ..Default::default() }).len(), 1);
    assert_eq!(life.list(GetNotifications { pending: true, ..Default::default() }), []);
}

#[test]
fn retry_after_is_honoured_within_reason_and_never_sooner_than_usual() {
    for (seconds, at_least, at_most) in [(0, 0, 1), (120, 120, 120), (1_000_000, 3_600, 3_600)] {
        let mut life = Life::new();
        life.hear(raised(&[Email]));
        let failed = failed("429", Retry::After(seconds));
        let wait = (life.attempt(Email, Kind::Raised, 300, failed).due_at.as_micros() - s(300).as_micros()) / 1_000_000;
        assert!((at_least..=at_most).contains(&wait), "asked for {seconds}, waits {wait} s");
    }
}

#[test]
fn a_final_failure_is_a_dead_letter_that_can_be_sent_again() {
    let mut life = Life::new();
    life.hear(raised(&[Email]));
    let error = format!("404\u{7}{}", "x".repeat(600));
    let message = life.attempt(Email, Kind::Raised, 301, failed(error, Retry::Never));
    assert_eq!((message.attempts, message.status), (1, NotificationStatus::Dead));
    assert_eq!(message.last_error.expect("an error").len(), 500, "shortened, without control characters");
    assert_eq!(life.offered(), 0);
    let resend = Resend { notification_id: message.notification_id };
    let scenario = life.0.take().expect("a life").at(s(900)).when(resend).then_accepted();
    life.0 = Some(scenario);
    let message = life.find(Email, Kind::Raised);
    assert_eq!((message.attempts, message.status, message.due_at), (0, NotificationStatus::Pending, s(900)));
    assert_eq!(life.offered(), 1);
    life.deliver(Email, Kind::Raised, 901);
    let scenario = life.0.take().expect("a life").when(resend).then_refused(ErrorKind::Conflict);
    scenario.when(Resend { notification_id: Uuid::nil() }).then_refused(ErrorKind::NotFound);
}

#[test]
fn what_became_of_a_message_counts_once() {
    let mut life = Life::new();
    life.hear(raised(&[Email]));
    life.deliver(Email, Kind::Raised, 301);
    let events = life.scenario().history().len();
    life.deliver(Email, Kind::Raised, 302);
    life.attempt(Email, Kind::Raised, 303, failed("late", Retry::Later));
    assert_eq!(life.scenario().history().len(), events);
    assert_eq!(life.find(Email, Kind::Raised).delivered_at, Some(s(301)));
}

#[test]
fn a_history_that_was_never_decided_is_corrupt() {
    let mut outbox = Notifications::default();
    let id = Uuid::from_u128(7);
    for event in [
        Event::Noticed(AlertNoticed { alert_id: ALERT, at: s(1), fact: Fact::Acknowledged, queued: vec![] }),
        Event::Started(NotificationsStarted { notification_ids: vec![id], at: s(1) }),
        Event::Resent(NotificationResent { notification_id: id, alert_id: ALERT, at: s(1) }),
    ] {
        assert!(outbox.evolve(&event).is_err(), "{event:?}");
    }
}
