//! Random lives of an outbox against a plain model that has no lists, no events and no timers: it looks at every message in
//! every second. Receivers fail, ask to wait and take their time; the process ends and comes back.

use std::collections::BTreeMap;

use super::*;
use crate::runtime::{Aggregate, Command, Event as _, Snapshotted};

/// SplitMix64: all that is random here follows from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// The outbox as a process that may end at any moment: all it leaves behind is what was written.
#[derive(Default)]
struct Process {
    state: Notifications,
    written: Vec<Event>,
}

impl Process {
    fn write(&mut self, events: Vec<Event>) {
        for event in events {
            self.state.evolve(&event).expect("it takes what it wrote");
            self.written.push(event);
        }
    }

    fn tell<C: Command<Notifications>>(&mut self, command: C, now: i64) {
        let decision = command.decide(&self.state, &Given::at(s(now)));
        self.write(decision.unwrap_or_else(|error| panic!("{error}")).events);
    }

    fn hear(&mut self, event: &alerts::Event) {
        let noticed = decide::noticed(&self.state, &"org".parse().expect("an id"), event);
        self.write(noticed.map(Event::Noticed).into_iter().collect());
    }

    fn wake(&mut self, now: i64) {
        while let Some(due) = self.state.next_wake().filter(|due| *due <= s(now)) {
            let events = self.state.on_wake(&Given::at(s(now))).expect("a wake");
            assert!(!events.is_empty(), "a wake leads to something");
            self.write(events);
            assert!(self.state.next_wake().is_none_or(|next| next > due), "a wake gets beyond its instant");
        }
    }

    /// Comes back from a snapshot, or from every event as it was stored.
    fn restart(&mut self, from_snapshot: bool) {
        let before = format!("{:?}", self.state);
        if from_snapshot {
            self.state = Notifications::from_snapshot(&self.state.to_snapshot()).expect("a snapshot");
        } else {
            self.state = Notifications::default();
            for event in &self.written {
                let (name, version, bytes) = (event.event_type(), event.version(), event.encode());
                let read = Event::decode(name, version, ionveil_journal::codec::BINCODE_2, &bytes).expect("written");
                self.state.evolve(&read).expect("it was taken before");
            }
        }
        assert_eq!(format!("{:?}", self.state), before, "what comes back is what was");
    }
}

const CHANNELS: [Channel; 4] = [Channel::Email, Channel::Slack, Channel::Sms, Channel::Pagerduty];
const SEVERITIES: [AlertSeverity; 3] = [AlertSeverity::Info, AlertSeverity::Warning, AlertSeverity::Emergency];

/// The rules, as the outbox is told them and as the model reads them.
fn rules() -> Pacing {
    let rules = json!({
        "groups": [
            {"channels": ["email"], "severities": ["info", "warning"], "wait_seconds": 20, "interval_seconds": 60,
             "alerts_max": 3},
            {"channels": ["slack"], "levels": [1], "wait_seconds": 0, "interval_seconds": 45},
        ],
        "quiet_hours": [
            {"channels": ["email", "sms"], "severities": ["info", "warning"], "from": "00:03", "until": "00:06"},
            {"channels": ["slack"], "severities": ["info"], "levels": [1], "from": "00:05", "until": "00:08",
             "digest": true},
        ],
        "limits": [
            {"channels": ["sms"], "messages": 2, "per_seconds": 30},
            {"channels": ["slack"], "messages": 3, "per_seconds": 40},
            {"channels": ["slack", "pagerduty"], "messages": 1, "per_seconds": 5},
        ],
    });
    Pacing::from_json(&rules).expect("good rules")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// For its instant.
    Waits,
    /// In line for its channel.
    InLine,
    Out,
    Told,
    Dead,
    TakenBack,
    /// Another message stands for it.
    Along(usize),
}

#[derive(Debug, Clone)]
struct Letter {
    id: Uuid,
    key: String,
    alert: usize,
    kind: Kind,
    channel: Channel,
    level: u8,
    due: i64,
    tries: u32,
    held: Option<Held>,
    stands: Stands,
    /// Taken back, but it stands for others.
    is_cover: bool,
    along: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Case {
    severity: AlertSeverity,
    level: u8,
    is_over: bool,
    told: Vec<(Channel, u8)>,
    maybe_told: Vec<(Channel, u8)>,
}

type Group = (Channel, Kind, Vec<u8>, usize);

#[derive(Default)]
struct Model {
    letters: Vec<Letter>,
    cases: Vec<Case>,
    /// When a group leaves, and left.
    leaves: BTreeMap<Group, i64>,
    left: BTreeMap<Group, i64>,
    /// Channel, end if it is known.
    tries: Vec<(usize, Channel, Option<i64>)>,
    paused: BTreeMap<Channel, i64>,
}

impl Model {
    fn severity(&self, letter: usize) -> AlertSeverity {
        self.cases[self.letters[letter].alert].severity
    }

    fn levels(&self, letter: usize) -> Vec<u8> {
        let it = &self.letters[letter];
        if it.kind != Kind::Resolved {
            return vec![it.level];
        }
        let case = &self.cases[it.alert];
        let all = case.told.iter().chain(&case.maybe_told).filter(|(channel, _)| *channel == it.channel);
        let mut levels: Vec<u8> = all.map(|(_, level)| *level).collect();
        levels.sort_unstable();
        levels.dedup();
        levels
    }

    /// Until when a letter is kept by quiet hours, minute by minute.
    fn quiet(&self, letter: usize, now: i64) -> Option<(i64, Held)> {
        let (it, severity) = (&self.letters[letter], self.severity(letter));
        let (from, until, held) = match it.channel {
            Channel::Email | Channel::Sms if severity != AlertSeverity::Emergency => (180, 360, Held::QuietHours),
            Channel::Slack if severity == AlertSeverity::Info && it.level == 1 => (300, 480, Held::Digest),
            _ => return None,
        };
        (from <= now && now < until).then_some((until, held))
    }

    /// Wait, interval, most alerts.
    fn group(&self, letter: usize) -> Option<(Group, i64, i64, usize)> {
        let it = &self.letters[letter];
        if it.tries > 0 || !it.along.is_empty() {
            return None;
        }
        let group = |entry| (it.channel, it.kind, self.levels(letter), entry);
        match it.channel {
            Channel::Email if self.severity(letter) != AlertSeverity::Emergency => Some((group(0), 20, 60, 3)),
            Channel::Slack if it.held == Some(Held::Digest) => Some((group(9), 0, 0, 1_000)),
            Channel::Slack if it.level == 1 => Some((group(1), 0, 45, 1_000)),
            _ => None,
        }
    }

    fn has_room(&self, channel: Channel, now: i64) -> bool {
        let limits: &[(usize, i64)] = match channel {
            Channel::Sms => &[(2, 30)],
            Channel::Slack => &[(3, 40), (1, 5)],
            Channel::Pagerduty => &[(1, 5)],
            _ => &[],
        };
        let fits = |&(most, span): &(usize, i64)| {
            let counts =
                |try_: &&(usize, Channel, Option<i64>)| try_.1 == channel && try_.2.is_none_or(|end| end + span > now);
            self.tries.iter().filter(counts).count() < most
        };
        self.paused.get(&channel).is_none_or(|until| *until <= now) && limits.iter().all(fits)
    }

    /// Decides what leaves in this second.
    fn look(&mut self, now: i64) {
        let mut sorted: Vec<usize> = (0..self.letters.len()).collect();
        sorted.sort_by_key(|&letter| (self.letters[letter].due, self.letters[letter].id));
        for &letter in &sorted {
            if self.letters[letter].stands != Stands::Waits || self.letters[letter].due > now {
                continue;
            }
            if let Some((until, held)) = self.quiet_of_all(letter, now) {
                (self.letters[letter].due, self.letters[letter].held) = (until, Some(held));
                continue;
            }
            if self.letters[letter].held != Some(Held::Digest)
                && let Some((group, wait, interval, _)) = self.group(letter)
            {
                let joins = self.leaves.get(&group).copied().filter(|leaves| *leaves > now);
                let wait = if self.letters[letter].held.is_none() { wait } else { 0 };
                let after = self.left.get(&group).map_or(i64::MIN, |left| left + interval);
                let leaves = joins.unwrap_or((self.letters[letter].due + wait).max(after));
                if leaves > now {
                    self.leaves.insert(group, leaves);
                    (self.letters[letter].due, self.letters[letter].held) = (leaves, Some(Held::Group));
                    continue;
                }
            }
            self.letters[letter].stands = Stands::InLine;
        }
        for channel in CHANNELS {
            while self.has_room(channel, now) {
                let line = |letter: &usize| {
                    let it = &self.letters[*letter];
                    it.channel == channel && it.stands == Stands::InLine
                };
                let place = |letter: &usize| {
                    let it = &self.letters[*letter];
                    (std::cmp::Reverse(self.severity(*letter)), it.due, it.id)
                };
                let mut line: Vec<usize> = (0..self.letters.len()).filter(line).collect();
                line.sort_by_key(place);
                let Some(&first) = line.first() else { break };
                if let Some((until, held)) = self.quiet_of_all(first, now) {
                    let it = &mut self.letters[first];
                    (it.due, it.held, it.stands) = (until, Some(held), Stands::Waits);
                    continue;
                }
                let mut along = Vec::new();
                if let Some((group, _, _, most)) = self.group(first) {
                    along = line[1..].to_vec();
                    along.retain(|&other| {
                        self.group(other).is_some_and(|(of, ..)| of == group) && self.quiet(other, now).is_none()
                    });
                    along.truncate(most - 1);
                }
                let leaves_for: Vec<Group> =
                    (0..2).map(|entry| (channel, self.letters[first].kind, self.levels(first), entry)).collect();
                if self.letters[first].tries == 0 && self.entry(first).is_some() {
                    let group = leaves_for[self.entry(first).unwrap_or(0)].clone();
                    self.leaves.remove(&group);
                    self.left.insert(group, now);
                }
                along.iter().for_each(|&other| self.letters[other].stands = Stands::Along(first));
                if !along.is_empty() {
                    self.letters[first].along = along;
                }
                self.letters[first].stands = Stands::Out;
                self.tries.push((first, channel, None));
            }
        }
        // What waits in line has its reason.
        for letter in 0..self.letters.len() {
            let it = &self.letters[letter];
            if it.stands == Stands::InLine && it.held != Some(Held::Digest) {
                let is_paused = self.paused.get(&it.channel).is_some_and(|until| *until > now);
                let held = if is_paused { Held::Receiver } else { Held::Limit };
                if !matches!(it.held, Some(Held::Limit | Held::Receiver)) {
                    self.letters[letter].held = Some(held);
                }
            }
        }
    }

    /// What is to be sent now on a channel, longest due first.
    fn out_on(&self, channel: Channel) -> Vec<usize> {
        let is_out = |it: &Letter| it.channel == channel && it.stands == Stands::Out;
        let mut out: Vec<usize> = (0..self.letters.len()).filter(|&it| is_out(&self.letters[it])).collect();
        out.sort_by_key(|&it| (self.letters[it].due, self.letters[it].id));
        out
    }

    /// What is offered to be sent.
    fn offered(&self) -> Vec<usize> {
        CHANNELS.into_iter().flat_map(|channel| self.out_on(channel).into_iter().take(OFFERED_MAX)).collect()
    }

    /// A receiver asks to wait: what was not offered yet stands in line again, and was not tried.
    fn call_back(&mut self, lead: usize) {
        let out = self.out_on(self.letters[lead].channel);
        for letter in out.into_iter().skip(OFFERED_MAX).filter(|it| *it != lead) {
            let it = &mut self.letters[letter];
            it.stands = Stands::InLine;
            if it.held != Some(Held::Digest) {
                it.held = Some(Held::Receiver);
            }
            self.tries.retain(|(of, _, end)| *of != letter || end.is_some());
        }
    }

    fn entry(&self, letter: usize) -> Option<usize> {
        let it = &self.letters[letter];
        match it.channel {
            Channel::Email if self.severity(letter) != AlertSeverity::Emergency => Some(0),
            Channel::Slack if it.level == 1 => Some(1),
            _ => None,
        }
    }

    /// A letter that stands for others waits only when all of them may.
    fn quiet_of_all(&self, letter: usize, now: i64) -> Option<(i64, Held)> {
        let pending = self.pending(letter);
        let all: Option<Vec<_>> = pending.into_iter().map(|it| self.quiet(it, now)).collect();
        all?.into_iter().min()
    }

    fn pending(&self, lead: usize) -> Vec<usize> {
        let own = if self.letters[lead].is_cover { None } else { Some(lead) };
        let along = self.letters[lead].along.iter().copied();
        own.into_iter().chain(along.filter(|&it| self.letters[it].stands == Stands::Along(lead))).collect()
    }

    fn told_of(&self, lead: usize) -> Vec<String> {
        let mut keys: Vec<String> = self.pending(lead).iter().map(|&it| self.letters[it].key.clone()).collect();
        keys.sort();
        keys
    }

    fn queue(&mut self, alert: usize, kind: Kind, channels: &[Channel], level: u8, now: i64) {
        for &channel in channels {
            let key = format!("{}/{kind}/{level}/1/{channel}", alert_id(alert));
            if self.letters.iter().any(|it| it.key == key) {
                continue;
            }
            let id = state::notification_id(&key);
            let stands = Stands::Waits;
            self.letters.push(Letter {
                id,
                key,
                alert,
                kind,
                channel,
                level,
                due: now,
                tries: 0,
                held: None,
                stands,
                is_cover: false,
                along: Vec::new(),
            });
        }
    }

    fn take_back(&mut self, alert: usize, now: i64) {
        for letter in 0..self.letters.len() {
            if self.letters[letter].alert != alert {
                continue;
            }
            let lead = match self.letters[letter].stands {
                Stands::Waits | Stands::InLine | Stands::Out if !self.letters[letter].is_cover => letter,
                Stands::Along(lead) => lead,
                _ => continue,
            };
            if self.letters[lead].stands == Stands::Out {
                let place = (self.letters[letter].channel, self.letters[letter].level);
                self.cases[alert].maybe_told.push(place);
            }
            if lead == letter {
                self.letters[letter].is_cover = true;
            } else {
                self.letters[letter].stands = Stands::TakenBack;
            }
            if self.pending(lead).is_empty() {
                self.end_try(lead, now);
                self.letters[lead].stands = Stands::TakenBack;
            }
        }
    }

    fn end_try(&mut self, lead: usize, now: i64) {
        if let Some(open) = self.tries.iter_mut().find(|(of, _, end)| *of == lead && end.is_none()) {
            open.2 = Some(now);
        }
    }

    /// What became of a letter that told of those.
    fn answer(&mut self, lead: usize, told_of: &[String], attempt: &Attempt, now: i64) {
        if let Attempt::Failed { retry: Retry::After(_), .. } = attempt {
            self.call_back(lead);
        }
        if self.letters[lead].stands == Stands::Out {
            self.end_try(lead, now);
        }
        match attempt {
            Attempt::Delivered => {
                let told: Vec<usize> =
                    (0..self.letters.len()).filter(|&it| told_of.contains(&self.letters[it].key)).collect();
                for letter in told {
                    let it = &mut self.letters[letter];
                    (it.stands, it.is_cover) = (Stands::Told, false);
                    let (alert, kind, channel, level) = (it.alert, it.kind, it.channel, it.level);
                    if kind != Kind::Resolved && !self.cases[alert].told.contains(&(channel, level)) {
                        self.cases[alert].told.push((channel, level));
                    }
                    if kind != Kind::Resolved && self.cases[alert].is_over {
                        let level = self.cases[alert].level;
                        self.queue(alert, Kind::Resolved, &[channel], level, now);
                    }
                }
                if self.letters[lead].is_cover {
                    self.letters[lead].stands = Stands::TakenBack;
                }
            }
            Attempt::Failed { retry, .. } => {
                if let Retry::After(seconds) = retry {
                    let until = now + *seconds as i64;
                    let paused = self.paused.entry(self.letters[lead].channel).or_insert(until);
                    *paused = until.max(*paused);
                }
                if self.letters[lead].stands != Stands::Out {
                    return;
                }
                let it = &mut self.letters[lead];
                it.tries += 1;
                it.held = None;
                // Whole seconds: the model knows no others, and the tests' receivers ask for more than the usual wait.
                match retry {
                    Retry::Never => {
                        let pending = self.pending(lead);
                        pending.iter().for_each(|&it| self.letters[it].stands = Stands::Dead);
                        if self.letters[lead].is_cover {
                            self.letters[lead].stands = Stands::TakenBack;
                        }
                    }
                    Retry::After(seconds) => (it.due, it.stands) = (now + *seconds as i64, Stands::Waits),
                    Retry::Later => unreachable!("not in these lives"),
                }
            }
        }
    }
}

fn alert_id(alert: usize) -> Uuid {
    Uuid::from_u128(0xb000 + alert as u128)
}

/// A letter on its way: when what becomes of it is known, which it is, what it tells of, by ids and by keys, and what becomes
/// of it.
type OnItsWay = (i64, Uuid, Vec<Uuid>, Vec<String>, Attempt);

fn live(seed: u64) {
    let mut random = Random(seed);
    let (mut process, mut model) = (Process::default(), Model::default());
    process.tell(SetPacing { pacing: rules() }, 0);
    let mut on_their_way: Vec<OnItsWay> = Vec::new();
    let mut received: BTreeMap<String, Vec<Uuid>> = BTreeMap::new();
    let mut got_there: BTreeMap<String, Vec<Uuid>> = BTreeMap::new();
    let mut tries: Vec<(Channel, i64)> = Vec::new();
    let mut log = Vec::new();
    let is_open =
        |process: &Process| process.state.messages.values().any(|it| it.status == NotificationStatus::Pending);
    for now in 0.. {
        let calm = now > 420;
        if calm && !is_open(&process) && on_their_way.is_empty() {
            break;
        }
        assert!(now < 5_000, "seed {seed}: it comes to no end");
        for (_, id, told_of, keys, attempt) in on_their_way.extract_if(.., |it| it.0 <= now).collect::<Vec<_>>() {
            log.push(format!("{now}: {attempt:?} of {id} for {keys:?}"));
            if attempt == Attempt::Delivered {
                keys.iter().for_each(|key| received.entry(key.clone()).or_default().push(id));
            }
            let lead = model.letters.iter().position(|it| it.id == id).expect("both have it");
            model.answer(lead, &keys, &attempt, now);
            process.tell(RecordAttempt { notification_id: id, told_of, at: s(now), attempt }, now);
        }
        for _ in 0..if calm { 0 } else { u64::from(random.below(4) == 0) + 6 * u64::from(random.below(60) == 0) } {
            let (count, roll) = (model.cases.len(), random.below(10));
            let alert = random.below(count.max(1) as u64) as usize;
            log.push(format!("{now}: {roll} on {alert} of {count}"));
            if roll < 4 || count == 0 {
                let severity = SEVERITIES[random.below(3) as usize];
                let channels: Vec<Channel> = CHANNELS.into_iter().filter(|_| random.below(2) == 0).collect();
                model.cases.push(Case { severity, level: 1, is_over: false, told: vec![], maybe_told: vec![] });
                model.queue(count, Kind::Raised, &channels, 1, now);
                let alerts::Event::Raised(raised) = raised(&channels) else { unreachable!("a raise") };
                let (alert_id, at) = (alert_id(count), s(now));
                process.hear(&alerts::Event::Raised(AlertRaised { alert_id, at, severity, ..raised }));
            } else if model.cases[alert].is_over {
                continue;
            } else if roll < 6 && model.cases[alert].level < 4 {
                let level = model.cases[alert].level + 1;
                model.cases[alert].level = level;
                let channels: Vec<Channel> = CHANNELS.into_iter().filter(|_| random.below(2) == 0).collect();
                model.queue(alert, Kind::Escalated, &channels, level, now);
                let alerts::Event::Escalated(step) = escalated(level, 1, &channels, None) else {
                    unreachable!("a step")
                };
                let (alert_id, at) = (alert_id(alert), s(now));
                process.hear(&alerts::Event::Escalated(AlertEscalated { alert_id, at, ..step }));
            } else if roll < 8 {
                model.take_back(alert, now);
                let case = model.cases[alert].clone();
                if case.told.iter().any(|(channel, _)| *channel == Channel::Pagerduty) {
                    model.queue(alert, Kind::Acknowledged, &[Channel::Pagerduty], case.level, now);
                }
                let (alert_id, at) = (alert_id(alert), s(now));
                process.hear(&alerts::Event::Acknowledged(AlertAcknowledged {
                    alert_id,
                    at,
                    by: "ann".into(),
                    note: None,
                }));
            } else {
                model.take_back(alert, now);
                model.cases[alert].is_over = true;
                let case = model.cases[alert].clone();
                let mut channels: Vec<Channel> = Vec::new();
                for (channel, _) in case.told {
                    if !channels.contains(&channel) {
                        channels.push(channel);
                    }
                }
                model.queue(alert, Kind::Resolved, &channels, case.level, now);
                let (alert_id, at, note) = (alert_id(alert), s(now), "done".to_owned());
                process.hear(&alerts::Event::Resolved(AlertResolved { alert_id, at, by: "ann".into(), note }));
            }
        }
        if random.below(8) == 0 {
            process.restart(random.below(2) == 0);
            // What was on its way is handed out again; whether it got there nobody knows.
            for (_, id, _, keys, _) in &on_their_way {
                if random.below(3) == 0 {
                    keys.iter().for_each(|key| got_there.entry(key.clone()).or_default().push(*id));
                }
            }
        }
        process.wake(now);
        model.look(now);
        let offered: Vec<(Uuid, Vec<String>)> =
            model.offered().into_iter().map(|it| (model.letters[it].id, model.told_of(it))).collect();
        let known_before: Vec<Uuid> = on_their_way.iter().map(|it| it.1).collect();
        let known = |id: &Uuid| known_before.contains(id);
        let ids: Vec<Uuid> = process.state.pending().into_iter().filter(|id| !known(id)).collect();
        let mut left = Vec::new();
        for id in ids {
            let outgoing = process.state.effect(id).expect("it is pending");
            let mut keys: Vec<String> = outgoing.told_of.iter().map(|it| it.idempotency_key.clone()).collect();
            keys.sort();
            left.push((id, keys.clone()));
            tries.push((outgoing.notification.channel, now));
            let attempt = match random.below(12) {
                // Longer than the usual wait, which is in fractions of seconds.
                0..=2 if !calm => failed("429", Retry::After((1 << outgoing.notification.attempts) + random.below(9))),
                3 if !calm => failed("404", Retry::Never),
                _ => Attempt::Delivered,
            };
            let told_of = outgoing.told_of.iter().map(|it| it.notification_id).collect();
            on_their_way.push((now + random.below(4) as i64, id, told_of, keys, attempt));
        }
        left.sort();
        let offered = offered.into_iter().filter(|(id, _)| !known_before.contains(id));
        let mut expected: Vec<(Uuid, Vec<String>)> = offered.collect();
        expected.sort();
        assert_eq!(left, expected, "seed {seed}, second {now} (left: IonVeil)\n{}", log.join("\n"));
        if !left.is_empty() {
            log.push(format!("{now}: leave {left:?}"));
        }
    }
    // Nothing is left behind, nothing got there twice, and never under another key.
    for message in process.state.messages.values() {
        let count = received.get(&message.idempotency_key).map_or(0, Vec::len);
        let expected = usize::from(message.status == NotificationStatus::Delivered);
        assert_ne!(message.status, NotificationStatus::Pending, "seed {seed}: {message:?}");
        assert_eq!(count, expected, "seed {seed}: {message:?}");
        // However often it got there: under one key, by which a receiver knows it again.
        let leads = received.get(&message.idempotency_key).into_iter().chain(got_there.get(&message.idempotency_key));
        let leads: std::collections::BTreeSet<&Uuid> = leads.flatten().collect();
        assert!(leads.len() <= 1, "seed {seed}: {message:?} by {leads:?}");
    }
    // Whoever was told is told of the end.
    for (alert, case) in model.cases.iter().enumerate().filter(|(_, case)| case.is_over) {
        for (channel, _) in &case.told {
            let ends = process
                .state
                .messages
                .values()
                .filter(|it| (it.alert_id, it.kind, it.channel) == (alert_id(alert), Kind::Resolved, *channel));
            assert_eq!(ends.count(), 1, "seed {seed}: alert {alert} on {channel}");
        }
    }
    // As the receivers see it.
    for (channel, most, span) in [(Channel::Sms, 2, 30), (Channel::Slack, 3, 40), (Channel::Slack, 1, 5)] {
        let at: Vec<i64> = tries.iter().filter(|(of, _)| *of == channel).map(|(_, at)| *at).collect();
        let crowded = at.iter().find(|&&from| at.iter().filter(|&&at| from <= at && at < from + span).count() > most);
        assert_eq!(crowded, None, "seed {seed}: {channel} has more than {most} in {span} s");
    }
}

#[test]
fn random_lives_are_as_the_plain_model_says() {
    let seeds = std::env::var("IONVEIL_TEST_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(8);
    (0..seeds).for_each(live);
}
