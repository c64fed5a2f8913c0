//! Groups, quiet hours and limits: what leaves when, with what, and what it takes along.

use serde_json::Value;

use super::*;
use crate::runtime::testing::Scenario;

use Channel::{Pagerduty, Slack};

/// An outbox with a pacing, on a clock of the test's.
struct Desk {
    scenario: Option<Scenario<Notifications>>,
    now: i64,
}

fn alert(number: u128) -> Uuid {
    Uuid::from_u128(0xa000 + number)
}

fn paced(pacing: &Value) -> Desk {
    let mut desk = Desk { scenario: Some(Scenario::given([])), now: 0 };
    desk.set(pacing);
    desk
}

impl Desk {
    fn state(&self) -> &Notifications {
        self.scenario.as_ref().expect("a life goes on").state()
    }

    #[track_caller]
    fn tell<C: crate::runtime::Command<Notifications> + Clone>(&mut self, command: C)
    where
        C::Reply: std::fmt::Debug + PartialEq,
    {
        let scenario = self.scenario.take().expect("a life goes on").at(s(self.now));
        self.scenario = Some(scenario.when(command).then_accepted());
    }

    fn set(&mut self, pacing: &Value) {
        self.tell(SetPacing { pacing: Pacing::from_json(pacing).expect("a good pacing") });
    }

    /// What the org's alerts tell, as it is stored.
    #[track_caller]
    fn hear(&mut self, event: &alerts::Event) {
        let scenario = self.scenario.take().expect("a life goes on");
        self.scenario = Some(scenario.at(s(self.now)).when_read("alerts/org", event).then_accepted());
    }

    #[track_caller]
    fn raise(&mut self, number: u128, severity: AlertSeverity, channels: &[Channel]) {
        let alerts::Event::Raised(raised) = raised(channels) else { unreachable!("it is a raise") };
        let (alert_id, at) = (alert(number), s(self.now));
        self.hear(&alerts::Event::Raised(AlertRaised { alert_id, at, severity, ..raised }));
    }

    #[track_caller]
    fn resolve(&mut self, number: u128) {
        let note = "done".to_owned();
        let (alert_id, at) = (alert(number), s(self.now));
        self.hear(&alerts::Event::Resolved(AlertResolved { alert_id, at, by: "ann".into(), note }));
    }

    #[track_caller]
    fn acknowledge(&mut self, number: u128) {
        let (alert_id, at) = (alert(number), s(self.now));
        self.hear(&alerts::Event::Acknowledged(AlertAcknowledged { alert_id, at, by: "ann".into(), note: None }));
    }

    /// Time passes, and the outbox is woken whenever it wants to be.
    #[track_caller]
    fn until(&mut self, now: i64) {
        while let Some(due) = self.state().next_wake().filter(|due| *due <= s(now)) {
            let scenario = self.scenario.take().expect("a life goes on").at(due.max(s(self.now)));
            self.scenario = Some(scenario.when_woken().then_accepted());
        }
        self.now = now;
    }

    /// What is on its way: kind and channel of each message with the alerts that it tells of, by number.
    fn out(&self) -> Vec<(String, Vec<u128>)> {
        let ids = self.state().pending().into_iter();
        let mut out: Vec<(String, Vec<u128>)> = ids
            .map(|id| {
                let outgoing = self.state().effect(id).expect("it is pending");
                let mut numbers: Vec<u128> =
                    outgoing.told_of.iter().map(|told| told.alert_id.as_u128() - 0xa000).collect();
                numbers.sort_unstable();
                (format!("{} {}", outgoing.notification.kind, outgoing.notification.channel), numbers)
            })
            .collect();
        out.sort();
        out
    }

    /// The same becomes of everything that is on its way.
    #[track_caller]
    fn answer(&mut self, attempt: &Attempt) {
        for id in self.state().pending() {
            let outgoing = self.state().effect(id).expect("it is pending");
            let told_of = outgoing.told_of.iter().map(|told| told.notification_id).collect();
            let at = s(self.now);
            self.tell(RecordAttempt { notification_id: id, told_of, at, attempt: attempt.clone() });
        }
    }

    #[track_caller]
    fn delivered(&mut self) -> Vec<(String, Vec<u128>)> {
        let out = self.out();
        self.answer(&Attempt::Delivered);
        out
    }

    fn find(&self, number: u128, kind: Kind, channel: Channel) -> Notification {
        let all = self.state().messages.values();
        let mut fitting = all.filter(|it| (it.alert_id, it.kind, it.channel) == (alert(number), kind, channel));
        fitting.next().expect("it was queued").clone()
    }
}

const NOTHING: Vec<(String, Vec<u128>)> = Vec::new();

fn one(what: &str, numbers: &[u128]) -> Vec<(String, Vec<u128>)> {
    vec![(what.to_owned(), numbers.to_vec())]
}

use AlertSeverity::{Critical, Emergency, Info, Warning};

fn storm() -> Value {
    json!({"groups": [{"channels": ["email"], "wait_seconds": 30, "interval_seconds": 300}]})
}

#[test]
fn a_storm_is_one_message_after_the_wait_and_what_follows_one_an_interval_later() {
    let mut desk = paced(&storm());
    desk.until(100);
    (0..500).for_each(|number| desk.raise(number, Warning, &[Email]));
    desk.until(129);
    assert_eq!(desk.out(), NOTHING, "it waits for others");
    desk.until(130);
    assert_eq!(desk.delivered(), one("raised email", &(0..500).collect::<Vec<_>>()));
    let lead = desk.state().messages.values().find(|it| it.sent_with.is_none()).expect("one stands for all").clone();
    for number in 0..500 {
        let told = desk.find(number, Kind::Raised, Email);
        assert_eq!((told.status, told.delivered_at), (NotificationStatus::Delivered, Some(s(130))));
        let sent_with = Some(lead.notification_id).filter(|id| *id != told.notification_id);
        assert_eq!((told.sent_with, told.held_by), (sent_with, Some(Held::Group)));
    }
    desk.until(200);
    desk.raise(500, Critical, &[Email]);
    desk.until(300);
    desk.raise(501, Critical, &[Email, Sms]);
    assert_eq!(desk.delivered(), one("raised sms", &[501]), "no group of its own: it goes at once");
    desk.until(429);
    assert_eq!(desk.out(), NOTHING);
    desk.until(430);
    assert_eq!(desk.delivered(), one("raised email", &[500, 501]));
    desk.until(1_000);
    desk.raise(502, Critical, &[Email]);
    desk.until(1_030);
    assert_eq!(desk.delivered(), one("raised email", &[502]), "alone after its wait");
}

#[test]
fn only_messages_of_one_kind_and_the_same_people_are_told_together() {
    let mut desk = paced(&storm());
    (1..=3).for_each(|number| desk.raise(number, Info, &[Email]));
    desk.until(30);
    desk.delivered();
    desk.until(400);
    let step = |number, level| {
        let alerts::Event::Escalated(step) = escalated(level, 1, &[Email], None) else { unreachable!("a step") };
        alerts::Event::Escalated(AlertEscalated { alert_id: alert(number), at: s(400), ..step })
    };
    desk.hear(&step(1, 2));
    desk.hear(&step(2, 2));
    desk.hear(&step(3, 3));
    desk.raise(4, Info, &[Email]);
    desk.until(430);
    let sent = desk.delivered();
    let expected = [("escalated email", vec![1, 2]), ("escalated email", vec![3]), ("raised email", vec![4])];
    assert_eq!(sent, expected.map(|(what, numbers)| (what.to_owned(), numbers)));
    // The end goes to whoever was told: of 1 and 2 the people of levels 1 and 2, of 4 those of level 1.
    [1, 2, 4].into_iter().for_each(|number| desk.resolve(number));
    desk.until(460);
    let levels: Vec<Vec<u8>> =
        desk.state().pending().iter().map(|id| desk.state().effect(*id).expect("it").levels).collect();
    assert!(levels.contains(&vec![1, 2]) && levels.contains(&vec![1]), "{levels:?}");
    let expected = [("resolved email", vec![1, 2]), ("resolved email", vec![4])];
    assert_eq!(desk.out(), expected.map(|(what, numbers)| (what.to_owned(), numbers)));
}

#[test]
fn pagerduty_callbacks_and_logs_have_a_message_of_each_alert() {
    for channel in ["pagerduty", "callback", "log"] {
        let refused = Pacing::from_json(&json!({"groups": [{"channels": [channel]}]})).expect_err(channel);
        assert_eq!((refused.field.as_str(), refused.value.as_str()), ("channels", channel));
    }
    // Not in a digest either: each incident there is ended by its own key.
    let night = json!({"quiet_hours": [
        {"channels": ["pagerduty", "email"], "from": "00:10", "until": "00:20", "digest": true},
    ]});
    let mut desk = paced(&night);
    desk.until(650);
    (1..=3).for_each(|number| desk.raise(number, Info, &[Pagerduty, Email]));
    desk.until(1_200);
    let mut expected = one("raised email", &[1, 2, 3]);
    expected.extend([1, 2, 3].map(|number| ("raised pagerduty".to_owned(), vec![number])));
    assert_eq!(desk.delivered(), expected);
    desk.resolve(2);
    assert_eq!(
        desk.state().effect(desk.find(2, Kind::Resolved, Pagerduty).notification_id).map(|it| it.told_of.len()),
        Some(1)
    );
}

#[test]
fn a_summary_is_tried_again_under_its_key_without_those_that_are_taken_back() {
    let mut desk = paced(&storm());
    (1..=4).for_each(|number| desk.raise(number, Info, &[Email]));
    desk.until(30);
    let lead = desk.state().pending()[0];
    let key = desk.state().effect(lead).expect("it").notification.idempotency_key;
    desk.answer(&failed("503", Retry::Later));
    let lead_number = desk.state().messages[&lead].alert_id.as_u128() - 0xa000;
    let others: Vec<u128> = (1..=4).filter(|number| *number != lead_number).collect();
    // The one that stands for all is taken back, and one of the others.
    desk.resolve(lead_number);
    desk.acknowledge(others[0]);
    desk.until(40);
    assert_eq!(desk.out(), one("raised email", &others[1..]));
    assert_eq!(desk.state().effect(lead).expect("it").notification.idempotency_key, key);
    desk.answer(&Attempt::Delivered);
    assert_eq!(desk.find(lead_number, Kind::Raised, Email).status, NotificationStatus::Cancelled);
    assert_eq!(desk.find(others[0], Kind::Raised, Email).status, NotificationStatus::Cancelled);
    assert!(!desk.state().messages.values().any(|it| it.kind == Kind::Resolved), "nobody was told of it");
    assert!(desk.state().summaries.is_empty() && desk.state().pending().is_empty());
    desk.resolve(others[1]);
    assert_eq!(desk.find(others[1], Kind::Resolved, Email).status, NotificationStatus::Pending);
}

#[test]
fn an_alert_that_ends_while_its_summary_is_on_its_way_is_followed_by_its_end() {
    let mut desk = paced(&storm());
    (1..=3).for_each(|number| desk.raise(number, Info, &[Email]));
    desk.until(30);
    let lead = desk.state().pending()[0];
    let told_of: Vec<Uuid> =
        desk.state().effect(lead).expect("it").told_of.iter().map(|told| told.notification_id).collect();
    (1..=3).for_each(|number| desk.resolve(number));
    assert_eq!(desk.out(), NOTHING, "all taken back");
    desk.tell(RecordAttempt { notification_id: lead, told_of, at: s(31), attempt: Attempt::Delivered });
    desk.until(400);
    assert_eq!(desk.delivered(), one("resolved email", &[1, 2, 3]), "it was out: all are told of the end");
}

#[test]
fn a_summary_that_is_given_up_is_sent_again_whole_by_any_of_its_letters() {
    let mut desk = paced(&storm());
    (1..=4).for_each(|number| desk.raise(number, Info, &[Email]));
    desk.until(30);
    desk.answer(&failed("404", Retry::Never));
    let dead = desk.scenario.as_ref().expect("a life").ask(GetNotifications { dead: true, ..Default::default() });
    let dead = dead.expect("a list");
    assert_eq!(dead.len(), 4);
    let lead = dead.iter().find(|it| it.sent_with.is_none()).expect("one").clone();
    let other = dead.iter().find(|it| it.sent_with.is_some()).expect("three").clone();
    let over = dead.iter().rfind(|it| it.sent_with.is_some()).expect("three").alert_id.as_u128() - 0xa000;
    desk.resolve(over);
    desk.until(50);
    desk.tell(Resend { notification_id: other.notification_id });
    let expected: Vec<u128> = (1..=4).filter(|number| *number != over).collect();
    assert_eq!(desk.out(), one("raised email", &expected), "at once, without what is over");
    assert_eq!(desk.state().pending(), [lead.notification_id], "under the key that it had");
    desk.answer(&Attempt::Delivered);
    let dead = desk.scenario.as_ref().expect("a life").ask(GetNotifications { dead: true, ..Default::default() });
    assert_eq!(dead.expect("a list"), [], "the one that is over is taken back");
}

/// Once the rest had been sent, the letter that was left out was sent under the same key, and a receiver that drops what it
/// knows never heard of it.
#[test]
fn no_key_tells_of_more_than_it_told_of_first() {
    for is_lead_over in [false, true] {
        let mut desk = paced(&storm());
        (1..=3).for_each(|number| desk.raise(number, Info, &[Email]));
        desk.until(30);
        let lead = desk.state().pending()[0];
        desk.answer(&failed("404", Retry::Never));
        let is_over = |it: &&Notification| it.sent_with.is_none() == is_lead_over;
        let over = desk.state().messages.values().find(is_over).expect("one").clone();
        let other = desk.state().messages.values().find(|it| it.alert_id != over.alert_id).expect("two").clone();
        desk.resolve(over.alert_id.as_u128() - 0xa000);
        desk.tell(Resend { notification_id: other.notification_id });
        assert_eq!(desk.state().pending(), [lead]);
        // Nobody knows whether it got there.
        desk.answer(&failed("timed out", Retry::Never));
        let scenario = desk.scenario.take().expect("a life goes on").at(s(60));
        scenario.when(Resend { notification_id: over.notification_id }).then_refused(ErrorKind::Conflict);
    }
}

#[test]
fn a_receiver_that_does_not_answer_keeps_no_other_channel_waiting() {
    let mut desk = paced(&json!({}));
    (0..100).for_each(|number| desk.raise(number, Info, &[Email]));
    desk.raise(100, Emergency, &[Sms]);
    let out = desk.out();
    assert_eq!((out.len(), &out[OFFERED_MAX]), (OFFERED_MAX + 1, &("raised sms".to_owned(), vec![100])));
}

/// Each of a storm was tried while the receiver wanted none, and after ten such rounds all were dead letters.
#[test]
fn a_receiver_that_asks_to_wait_is_spared_what_was_to_be_sent_already() {
    let mut desk = paced(&json!({}));
    (0..30).for_each(|number| desk.raise(number, Info, &[Sms]));
    desk.answer(&failed("429", Retry::After(10)));
    let spared = |it: &&Notification| (it.attempts, it.held_by) == (0, Some(Held::Receiver));
    assert_eq!(desk.state().messages.values().filter(spared).count(), 30 - OFFERED_MAX);
    desk.until(9);
    assert_eq!(desk.out(), NOTHING);
    desk.until(10);
    while !desk.state().pending().is_empty() {
        desk.answer(&Attempt::Delivered);
    }
    let tries: Vec<u32> = desk.state().messages.values().map(|it| it.attempts).collect();
    assert!(desk.state().messages.values().all(|it| it.status == NotificationStatus::Delivered));
    assert_eq!(tries.iter().sum::<u32>() as usize, 30 + OFFERED_MAX);
}

/// A letter that was tried is known to receivers by its key, also when its tries have begun anew.
#[test]
fn a_letter_that_is_sent_again_is_told_with_no_others() {
    let mut desk = paced(&json!({}));
    desk.raise(0, Info, &[Email]);
    desk.answer(&failed("timed out", Retry::Never));
    let first = desk.find(0, Kind::Raised, Email).notification_id;
    (1..=20).for_each(|number| desk.raise(number, Critical, &[Email]));
    desk.set(&json!({}));
    desk.until(10);
    // Behind all of those, it is called back when the receiver asks to wait.
    desk.tell(Resend { notification_id: first });
    desk.set(&json!({"groups": [{"channels": ["email"], "wait_seconds": 0, "interval_seconds": 0}]}));
    desk.answer(&failed("429", Retry::After(10)));
    assert_eq!(desk.find(0, Kind::Raised, Email).held_by, Some(Held::Receiver));
    desk.until(20);
    let effect = |id: &Uuid| desk.state().effect(*id).expect("it is pending");
    let alone = desk.state().pending().iter().map(effect).find(|it| it.notification.notification_id == first);
    assert_eq!(alone.expect("it is sent again").told_of.len(), 1);
    assert!(desk.find(0, Kind::Raised, Email).sent_with.is_none());
}

#[test]
fn more_than_fit_into_one_message_are_told_in_several_at_once() {
    let mut desk = paced(&json!({"groups": [{"channels": ["email"], "alerts_max": 2, "wait_seconds": 10}]}));
    (1..=5).for_each(|number| desk.raise(number, Info, &[Email]));
    desk.until(10);
    let mut sizes: Vec<usize> = desk.out().iter().map(|(_, numbers)| numbers.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 2, 2]);
}

#[test]
fn the_first_group_that_fits_counts_and_what_none_fits_goes_alone() {
    let mut desk = paced(&json!({"groups": [
        {"channels": ["email"], "severities": ["warning"], "wait_seconds": 5},
        {"channels": ["email"], "severities": ["info", "warning"], "levels": [1], "wait_seconds": 20},
    ]}));
    desk.raise(1, Warning, &[Email]);
    desk.raise(2, Info, &[Email]);
    desk.raise(3, Info, &[Email]);
    desk.raise(4, Critical, &[Email]);
    desk.until(0);
    assert_eq!(desk.delivered(), one("raised email", &[4]));
    desk.until(5);
    assert_eq!(desk.delivered(), one("raised email", &[1]));
    desk.until(20);
    assert_eq!(desk.delivered(), one("raised email", &[2, 3]));
}

fn night() -> Value {
    json!({"quiet_hours": [{"channels": ["sms", "email"], "from": "22:00", "until": "06:00"}]})
}

const TEN: i64 = 22 * 3_600;
const SIX: i64 = 30 * 3_600;

#[test]
fn at_night_only_what_breaks_through_is_told_and_the_rest_in_the_morning() {
    let mut desk = paced(&night());
    desk.until(TEN - 1);
    desk.raise(1, Info, &[Sms]);
    desk.until(TEN - 1);
    assert_eq!(desk.delivered(), one("raised sms", &[1]), "before it begins");
    desk.until(TEN);
    desk.raise(2, Warning, &[Sms, Slack]);
    desk.raise(3, Critical, &[Sms]);
    desk.raise(4, Emergency, &[Sms]);
    desk.resolve(1);
    desk.until(TEN);
    let expected = [("raised slack", vec![2]), ("raised sms", vec![3]), ("raised sms", vec![4])];
    assert_eq!(desk.delivered(), expected.map(|(what, numbers)| (what.to_owned(), numbers)));
    let waits = desk.find(2, Kind::Raised, Sms);
    assert_eq!((waits.held_by, waits.due_at), (Some(Held::QuietHours), s(SIX)));
    desk.until(SIX - 1);
    assert_eq!(desk.out(), NOTHING);
    desk.until(SIX);
    let expected = [("raised sms", vec![2]), ("resolved sms", vec![1])];
    assert_eq!(desk.delivered(), expected.map(|(what, numbers)| (what.to_owned(), numbers)), "no end is dropped");
}

#[test]
fn what_is_over_by_the_morning_is_not_told_and_a_try_that_fails_waits_for_it_too() {
    let mut desk = paced(&night());
    desk.until(TEN - 2);
    desk.raise(1, Info, &[Sms]);
    desk.until(TEN - 1);
    desk.answer(&failed("503", Retry::After(5)));
    desk.until(TEN + 10);
    assert_eq!((desk.out(), desk.find(1, Kind::Raised, Sms).due_at), (NOTHING, s(SIX)));
    desk.raise(2, Info, &[Sms]);
    desk.until(TEN + 20);
    desk.resolve(2);
    desk.until(SIX);
    assert_eq!(desk.delivered(), one("raised sms", &[1]));
    assert_eq!(desk.find(1, Kind::Raised, Sms).attempts, 2);
}

#[test]
fn a_process_that_was_down_when_the_night_began_judges_by_the_instant_at_which_it_is_up() {
    let mut desk = paced(&night());
    desk.until(TEN - 60);
    desk.raise(1, Info, &[Sms]);
    desk.raise(2, Critical, &[Sms]);
    // Down from here; woken in the middle of the night, and again at noon.
    let scenario = desk.scenario.take().expect("a life").at(s(TEN + 3_600));
    desk.scenario = Some(scenario.when_woken().then_accepted());
    assert_eq!(desk.out(), one("raised sms", &[2]));
    let scenario = desk.scenario.take().expect("a life").at(s(SIX + 6 * 3_600));
    desk.scenario = Some(scenario.when_woken().then_accepted());
    assert_eq!(desk.out().len(), 2);
}

#[test]
fn a_digest_is_one_message_at_the_end_of_each_night_also_when_one_leads_into_the_next() {
    let mut desk = paced(&json!({"quiet_hours": [
        {"channels": ["email"], "from": "22:00", "until": "06:00"},
        {"channels": ["email"], "from": "06:00", "until": "07:00", "digest": true},
    ]}));
    desk.until(TEN + 5);
    (1..=4).for_each(|number| desk.raise(number, Info, &[Email]));
    desk.until(TEN + 6);
    desk.acknowledge(3);
    let waits = desk.find(1, Kind::Raised, Email);
    assert_eq!((waits.held_by, waits.due_at), (Some(Held::Digest), s(SIX + 3_600)));
    desk.until(SIX + 3_600);
    assert_eq!(desk.delivered(), one("raised email", &[1, 2, 4]));
}

#[test]
fn a_channel_is_given_no_more_than_its_limit_the_worst_first_and_nothing_is_lost() {
    let mut desk = paced(&json!({"limits": [{"channels": ["sms"], "messages": 2, "per_seconds": 60}]}));
    for (number, severity) in [(1, Info), (2, Info), (3, Info), (4, Warning), (5, Emergency), (6, Info)] {
        desk.raise(number, severity, &[Sms, Email]);
    }
    desk.until(0);
    let sms = |desk: &Desk| -> Vec<u128> {
        let out = desk.out().into_iter().filter(|(what, _)| what == "raised sms");
        out.flat_map(|(_, numbers)| numbers).collect()
    };
    assert_eq!(sms(&desk), [4, 5]);
    assert_eq!(desk.find(1, Kind::Raised, Sms).held_by, Some(Held::Limit));
    desk.answer(&Attempt::Delivered);
    desk.until(59);
    assert_eq!(sms(&desk), [0u128; 0]);
    desk.until(60);
    assert_eq!(sms(&desk).len(), 2);
    // A try counts, whatever becomes of it, and until a minute after it has ended.
    desk.until(80);
    desk.answer(&failed("503", Retry::Later));
    desk.until(139);
    assert_eq!(sms(&desk), [0u128; 0]);
    desk.until(140);
    assert_eq!(sms(&desk).len(), 2);
    desk.answer(&Attempt::Delivered);
    desk.until(200);
    desk.answer(&Attempt::Delivered);
    desk.until(400);
    assert_eq!(desk.out(), NOTHING);
    assert!(desk.state().messages.values().all(|it| it.status == NotificationStatus::Delivered));
}

#[test]
fn what_waits_for_a_limit_is_taken_back_grouped_and_held_by_the_night_as_it_goes() {
    let mut desk = paced(&json!({
        "groups": [{"channels": ["sms"], "severities": ["critical"], "wait_seconds": 0, "interval_seconds": 0}],
        "quiet_hours": [{"channels": ["sms"], "from": "22:00", "until": "06:00"}],
        "limits": [{"channels": ["sms"], "messages": 1, "per_seconds": 60}],
    }));
    desk.until(TEN - 30);
    desk.raise(1, Warning, &[Sms]);
    desk.until(TEN - 30);
    assert_eq!(desk.delivered(), one("raised sms", &[1]));
    desk.raise(2, Warning, &[Sms]);
    (3..=5).for_each(|number| desk.raise(number, Critical, &[Sms]));
    desk.until(TEN);
    desk.resolve(4);
    desk.until(TEN + 30);
    assert_eq!(desk.delivered(), one("raised sms", &[3, 5]), "together, since they wait for the same");
    desk.until(TEN + 90);
    assert_eq!(desk.out(), NOTHING);
    assert_eq!(desk.find(2, Kind::Raised, Sms).due_at, s(SIX), "hours have begun since");
    desk.until(SIX);
    assert_eq!(desk.delivered(), one("raised sms", &[2]));
}

#[test]
fn a_receiver_that_asks_to_wait_is_left_alone_by_all_and_costs_the_others_no_try() {
    let mut desk = paced(&json!({}));
    desk.raise(1, Info, &[Sms]);
    desk.answer(&failed("429", Retry::After(120)));
    desk.raise(2, Info, &[Sms, Email]);
    desk.until(50);
    assert_eq!(desk.delivered(), one("raised email", &[2]));
    desk.raise(3, Emergency, &[Sms]);
    desk.until(119);
    assert_eq!((desk.out(), desk.find(2, Kind::Raised, Sms).held_by), (NOTHING, Some(Held::Receiver)));
    desk.until(120);
    assert_eq!(desk.out().len(), 3);
    desk.answer(&Attempt::Delivered);
    assert_eq!(desk.find(3, Kind::Raised, Sms).attempts, 1);
    assert_eq!(desk.find(1, Kind::Raised, Sms).attempts, 2);
}

#[test]
fn another_pacing_judges_what_waits_anew_and_the_same_again_changes_nothing() {
    let mut desk = paced(&night());
    desk.until(TEN);
    desk.raise(1, Info, &[Sms]);
    desk.until(TEN + 1);
    let events = desk.scenario.as_ref().expect("a life").history().len();
    desk.set(&night());
    assert_eq!(desk.scenario.as_ref().expect("a life").history().len(), events);
    desk.set(&json!({"quiet_hours": [{"channels": ["sms"], "from": "22:00", "until": "23:00"}]}));
    desk.until(TEN + 2);
    assert_eq!(desk.find(1, Kind::Raised, Sms).due_at, s(TEN + 3_600));
    desk.set(&json!({"limits": [{"channels": ["email"], "messages": 1, "per_seconds": 1}]}));
    desk.until(TEN + 3);
    assert_eq!(desk.delivered(), one("raised sms", &[1]));
}

#[test]
fn who_has_a_message_that_others_still_miss_is_remembered_and_told_of_the_end() {
    let mut desk = paced(&json!({}));
    desk.raise(1, Info, &[Email]);
    let reached = Reached { digest: 7, places: [0, 2].into() };
    let partly = Attempt::Failed { error: "450".into(), retry: Retry::Later, reached: Some(reached.clone()) };
    desk.answer(&partly);
    desk.until(10);
    let outgoing = desk.state().effect(desk.state().pending()[0]).expect("it is tried again");
    assert_eq!(outgoing.reached, Some(reached.clone()));
    // Taken back, but some have it: they are told of the end.
    desk.resolve(1);
    assert_eq!(desk.find(1, Kind::Raised, Email).status, NotificationStatus::Cancelled);
    assert_eq!(desk.find(1, Kind::Resolved, Email).status, NotificationStatus::Pending);
    // The same while it was on its way.
    desk.raise(2, Info, &[Email]);
    let id = desk.find(2, Kind::Raised, Email).notification_id;
    desk.resolve(2);
    desk.tell(RecordAttempt { notification_id: id, told_of: vec![id], at: s(11), attempt: partly });
    assert_eq!(desk.find(2, Kind::Resolved, Email).status, NotificationStatus::Pending);
}

#[test]
fn a_pacing_that_cannot_be_kept_is_refused_by_its_field() {
    let cases = [
        (json!({"zone": "UTC"}), "zone", "an unknown key"),
        (json!({"time_zone": "Mars/Base"}), "time_zone", "\"Mars/Base\""),
        (json!({"groups": [{"wait": 3}]}), "wait", "an unknown key"),
        (json!({"groups": [{"alerts_max": 1}]}), "alerts_max", "1"),
        (json!({"groups": [{"levels": [5]}]}), "levels", "5"),
        (json!({"groups": [{"channels": []}]}), "channels", "[]"),
        (json!({"groups": [{"severities": ["bad"]}]}), "severity", "bad"),
        (json!({"groups": [{"wait_seconds": 86_401}]}), "wait_seconds", "86401"),
        (json!({"quiet_hours": [{"from": "22:00"}]}), "until", "missing"),
        (json!({"quiet_hours": [{"from": "22:00", "until": "22:00"}]}), "until", "22:00"),
        (json!({"quiet_hours": [{"from": "24:00", "until": "07:00"}]}), "from", "24:00"),
        (json!({"quiet_hours": [{"from": "22:00", "until": "07:00", "days": ["monday"]}]}), "days", "\"monday\""),
        (json!({"limits": [{"messages": 1, "per_seconds": 1}]}), "channels", "missing"),
        (json!({"limits": [{"channels": ["sms"], "messages": 0, "per_seconds": 1}]}), "messages", "0"),
        (json!({"limits": [{"channels": ["sms"], "messages": 1, "per_seconds": 86_401}]}), "per_seconds", "86401"),
        (
            json!({"quiet_hours": [{"from": "07:00", "until": "22:00"}, {"from": "22:00", "until": "07:00"}]}),
            "quiet_hours",
            "every minute of the week for info on email, level 1",
        ),
    ];
    for (pacing, field, value) in cases {
        let refused = Pacing::from_json(&pacing).expect_err(field);
        assert_eq!(
            (refused.field.as_str(), refused.value.trim_matches('"')),
            (field, value.trim_matches('"')),
            "{pacing}"
        );
    }
}
