//! Random lives against a plain model that knows no deadlines and no indices: it looks at everything, every minute. And a
//! year of virtual time, lived with restarts and without.

use std::collections::BTreeMap;

use super::*;
use crate::notification::{self, Notifications};
use crate::runtime::{Aggregate, Command, Event as _, Given, Snapshotted};

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

/// The entity with its outbox, as a process that may end at any moment: all it leaves behind is what was written.
#[derive(Default)]
struct Process {
    state: Alerts,
    outbox: Notifications,
    written: Vec<Event>,
}

impl Process {
    fn tell<C: Command<Alerts>>(&mut self, command: C, now: Timestamp) -> Result<C::Reply, crate::error::Error> {
        let decision = command.decide(&self.state, &Given::at(now))?;
        for event in decision.events {
            self.state.evolve(&event).expect("evolve takes what decide writes");
            if let Some(noticed) = notification::noticed_for_tests(&self.outbox, &org_id(), &event) {
                self.outbox.evolve(&noticed).expect("evolve takes what follows");
            }
            self.written.push(event);
        }
        Ok(decision.reply)
    }

    fn run_until(&mut self, until: Timestamp) {
        while let Some(due) = self.state.next_due().filter(|&due| due <= until) {
            self.tell(RunDue { items_max: 7 }, due).expect("never refused");
            assert!(self.state.next_due().is_none_or(|next| next > due), "a wake gets beyond its instant");
        }
    }

    /// Comes back from a snapshot, or from every event as it was stored.
    fn restart(&mut self, from_snapshot: bool) {
        if from_snapshot {
            self.state = Alerts::from_snapshot(&self.state.to_snapshot()).expect("a snapshot");
            self.outbox = Notifications::from_snapshot(&self.outbox.to_snapshot()).expect("a snapshot");
            return;
        }
        self.state = Alerts::default();
        for event in &self.written {
            let (name, version, bytes) = (event.event_type(), event.version(), event.encode());
            let read = Event::decode(name, version, ionveil_journal::codec::BINCODE_2, &bytes).expect("it was written");
            self.state.evolve(&read).expect("it was taken before");
        }
    }
}

/// One alert, as the model keeps it.
#[derive(Debug, Clone, PartialEq)]
struct Plain {
    rule: usize,
    incident: usize,
    status: AlertStatus,
    created: i64,
    occurrences: u32,
    level: u8,
    steps: u32,
    since: i64,
    acknowledged: i64,
}

/// What the model knows: minutes only.
#[derive(Default)]
struct Model {
    now: i64,
    /// Dispatch, priority's minutes, arrival.
    incidents: BTreeMap<usize, (i64, i64, Option<i64>)>,
    alerts: Vec<Plain>,
    /// By incident and rule: when it was last raised, and whether the condition was false since.
    raised: BTreeMap<(usize, usize), (i64, bool)>,
    suppressed: BTreeMap<(usize, usize), usize>,
    /// From, until, rule.
    suppressions: Vec<(i64, i64, usize)>,
}

const WINDOW: i64 = 8;

impl Model {
    /// Rule 0 is the breach, rule 1 a warning at half of the target.
    fn is_met(&self, rule: usize, incident: usize) -> bool {
        let (dispatch, target, arrival) = self.incidents[&incident];
        let elapsed = arrival.unwrap_or(self.now) - dispatch;
        match (rule, arrival) {
            (0, Some(_)) => elapsed > target,
            (0, None) => elapsed >= target,
            (_, Some(_)) => false,
            (_, None) => 2 * elapsed >= target && elapsed < target,
        }
    }

    fn consider(&mut self, rule: usize, incident: usize, is_check: bool) {
        let key = (incident, rule);
        let is_suppression =
            |&(from, until, of): &(i64, i64, usize)| of == rule && from <= self.now && self.now < until;
        let suppression = self.suppressions.iter().position(is_suppression);
        if !self.is_met(rule, incident) {
            if let Some(raised) = self.raised.get_mut(&key) {
                raised.1 = true;
            }
            self.suppressed.remove(&key);
            return;
        }
        let standing = self
            .alerts
            .iter_mut()
            .find(|alert| (alert.rule, alert.incident) == (rule, incident) && alert.status.is_unresolved());
        if let Some(alert) = standing {
            alert.occurrences += u32::from(is_check);
            if let Some(raised) = self.raised.get_mut(&key) {
                raised.1 = false;
            }
            return;
        }
        match self.raised.get(&key) {
            Some(&(_, false)) if !is_check => return,
            Some(&(at, _)) if self.now < at + WINDOW => return,
            _ => {}
        }
        let mut status = AlertStatus::Open;
        if let Some(suppression) = suppression {
            if self.suppressed.insert(key, suppression) == Some(suppression) {
                return;
            }
            status = AlertStatus::Suppressed;
        } else {
            self.raised.insert(key, (self.now, false));
            self.suppressed.remove(&key);
        }
        let (created, since) = (self.now, self.now);
        self.alerts.push(Plain {
            rule,
            incident,
            status,
            created,
            occurrences: 1,
            level: 1,
            steps: 0,
            since,
            acknowledged: 0,
        });
    }

    /// Looks at everything, minute by minute.
    fn run_until(&mut self, until: i64) {
        while self.now < until {
            self.now += 1;
            for incident in 0..INCIDENTS {
                if self.incidents.contains_key(&incident) {
                    (0..2).for_each(|rule| self.consider_by_time(rule, incident));
                }
            }
            for alert in &mut self.alerts {
                let (waited, may) = (self.now - alert.since, alert.steps < 3);
                let next = match (alert.status, alert.level) {
                    (AlertStatus::Open | AlertStatus::Escalated, 1) if may && waited == 15 => Some(2),
                    (AlertStatus::Open | AlertStatus::Escalated, 2) if may && waited == 40 => Some(1),
                    (AlertStatus::Acknowledged, _) if may && self.now - alert.acknowledged == 60 => Some(1),
                    _ => None,
                };
                if let Some(level) = next {
                    (alert.level, alert.steps, alert.since) = (level, alert.steps + 1, self.now);
                    alert.status = AlertStatus::Escalated;
                }
            }
        }
    }

    /// What has arrived is not watched, but for what a suppression kept.
    fn consider_by_time(&mut self, rule: usize, incident: usize) {
        let is_over = self.incidents[&incident].2.is_some();
        if !is_over || self.suppressed.contains_key(&(incident, rule)) {
            self.consider(rule, incident, false);
        }
    }

    fn shown(&self) -> Vec<String> {
        let mut shown: Vec<String> = self
            .alerts
            .iter()
            .map(|alert| {
                let Plain { rule, incident, status, created, occurrences, level, steps, .. } = alert;
                let name = ["breach", "warning"][*rule];
                format!("{name} i{incident} {status} {} x{occurrences} L{level} after {steps}", m(*created as f64))
            })
            .collect();
        shown.sort();
        shown
    }
}

const INCIDENTS: usize = 3;

fn shown(process: &Process) -> Vec<String> {
    let all = GetActiveAlerts { severity: None, wanted: Wanted::All };
    let alerts = crate::runtime::Query::answer(all, &process.state, &Given::at(m(0.0))).expect("an answer");
    let show = |alert: &Alert| {
        let (rule, incident) = (&alert.rule_id, alert.incident_id.as_deref().unwrap_or_default());
        let (status, at, seen, level) = (alert.status, alert.created_at, alert.occurrences, alert.escalation_level);
        format!("{rule} {incident} {status} {at} x{seen} L{level} after {}", alert.escalation_history.len())
    };
    let mut shown: Vec<String> = alerts.iter().map(show).collect();
    shown.sort();
    shown
}

fn live(seed: u64) {
    let mut random = Random(seed);
    let window = json!({"suppression_window_minutes": WINDOW});
    let rules = [
        rule("breach", "sla_breach", json!({}), window.clone()),
        rule("warning", "sla_warning", json!({"sla_remaining_pct": 50}), window),
    ];
    let known = with_policy(&known(1, &rules), 1, json!({"ack_timeout_minutes": 60}));
    let (mut process, mut model) = (Process::default(), Model::default());
    let mut told = Vec::new();
    for step in 0..60 {
        let now = model.now + random.below(9) as i64;
        model.run_until(now);
        process.run_until(m(now as f64));
        let at = Some(m(now as f64));
        match random.below(10) {
            0..=4 => {
                let incident = random.below(INCIDENTS as u64) as usize;
                let former = model.incidents.get(&incident).copied();
                let (dispatch, target, arrival) = former.unwrap_or((now - random.below(3) as i64, 10, None));
                let (priority, target) = match random.below(4) {
                    0 => (3, 20),
                    _ if target == 20 => (3, 20),
                    _ => (2, 10),
                };
                let is_arriving = arrival.is_none() && random.below(4) == 0;
                let arrival = if is_arriving { Some(now) } else { arrival };
                model.incidents.insert(incident, (dispatch, target, arrival));
                if arrival.is_some() {
                    let in_time = !model.is_met(0, incident);
                    for alert in model.alerts.iter_mut().filter(|alert| alert.incident == incident) {
                        if alert.status.is_unresolved() && (alert.rule == 1 || in_time) {
                            alert.status = AlertStatus::Resolved;
                        }
                    }
                }
                (0..2).for_each(|rule| model.consider(rule, incident, true));
                let command = CheckIncident {
                    priority,
                    dispatch_time: m(dispatch as f64),
                    arrival_time: arrival.map(|at| m(at as f64)),
                    at,
                    ..check(&format!("i{incident}"), &known, 0.0)
                };
                process.tell(command, m(now as f64)).expect("a good check");
                told.push(format!("{now}: check i{incident} {dispatch} {target} {arrival:?}"));
            }
            5 | 6 if !model.alerts.is_empty() => {
                let index = random.below(model.alerts.len() as u64) as usize;
                let is_acknowledgement = random.below(2) == 0;
                let alert = &mut model.alerts[index];
                let id = find(&process, alert);
                let (user_id, status) = ("ann".to_owned(), alert.status);
                let allowed = status.is_unresolved();
                if is_acknowledgement {
                    if allowed && status != AlertStatus::Acknowledged {
                        (alert.status, alert.acknowledged) = (AlertStatus::Acknowledged, now);
                    }
                    let command = AcknowledgeAlert { alert_id: id, user_id, note: None, at };
                    assert_eq!(process.tell(command, m(now as f64)).is_ok(), allowed, "seed {seed}, step {step}");
                } else {
                    if allowed {
                        alert.status = AlertStatus::Resolved;
                    }
                    let command = ResolveAlert { alert_id: id, user_id, resolution_note: "done".into(), at };
                    assert_eq!(process.tell(command, m(now as f64)).is_ok(), allowed, "seed {seed}, step {step}");
                }
                told.push(format!("{now}: acknowledge {is_acknowledgement} of {index}"));
            }
            7 => {
                let (rule, minutes) = (random.below(2) as usize, 1 + random.below(12) as i64);
                model.suppressions.push((now, now + minutes, rule));
                let command = AddSuppression {
                    suppression_id: Uuid::from_u128(1 + model.suppressions.len() as u128),
                    org_id: org_id(),
                    rule_pattern: ["breach", "warning"][rule].into(),
                    duration_minutes: minutes as u32,
                    reason: "tests".into(),
                    created_by: "ann".into(),
                    at,
                };
                // One at a time: which of several is named is not the model's to say.
                let is_alone =
                    model.suppressions.iter().filter(|(_, until, of)| *of == rule && now < *until).count() == 1;
                if is_alone {
                    process.tell(command, m(now as f64)).expect("a good suppression");
                } else {
                    model.suppressions.pop();
                }
                told.push(format!("{now}: suppress {rule} for {minutes}"));
            }
            _ => process.restart(random.below(2) == 0),
        }
        assert_eq!(shown(&process), model.shown(), "seed {seed}, step {step} (left: IonVeil)\n{}", told.join("\n"));
    }
    // Every alert that was raised is told once per channel, whatever happened in between.
    let raised = process.written.iter().filter(|event| matches!(event, Event::Raised(_))).count();
    let messages = notification::raised_for_tests(&process.outbox);
    assert_eq!(messages, 2 * raised, "seed {seed}: the rule's channel and level 1's");
}

/// The alert of the model, by what it is about: of several the one of the same creation.
fn find(process: &Process, alert: &Plain) -> Uuid {
    let all = GetActiveAlerts { severity: None, wanted: Wanted::All };
    let alerts = crate::runtime::Query::answer(all, &process.state, &Given::at(m(0.0))).expect("an answer");
    let is_it = |it: &&Alert| {
        it.rule_id == ["breach", "warning"][alert.rule]
            && it.incident_id.as_deref() == Some(&format!("i{}", alert.incident))
            && it.created_at == m(alert.created as f64)
            && (it.status == AlertStatus::Suppressed) == (alert.status == AlertStatus::Suppressed)
    };
    alerts.iter().find(is_it).expect("both have it").alert_id
}

#[test]
fn random_lives_are_as_the_plain_model_says() {
    let seeds = std::env::var("IONVEIL_TEST_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(60);
    (0..seeds).for_each(live);
}

/// A year: so many incidents, 50 rules; ends in what was written.
fn year(incidents: usize, restarts: &[usize]) -> (Vec<Event>, usize) {
    let mut rules: Vec<AlertRule> = (1..=8)
        .map(|n| {
            let config = json!({"sla_remaining_pct": n * 10});
            rule(&format!("warn-{n}"), "sla_warning", config, json!({"escalation_after_minutes": n}))
        })
        .collect();
    rules.extend((1..=2).map(|n| rule(&format!("breach-{n}"), "sla_breach", json!({}), json!({}))));
    rules.extend((1..=20).map(|n| {
        let config = json!({"consecutive_breaches": 2 + n, "within_minutes": 60 * n});
        rule(&format!("series-{n}"), "pattern", config, json!({}))
    }));
    rules.extend((1..=20).map(|n| rule(&format!("off-{n}"), "sla_breach", json!({}), json!({"enabled": false}))));
    let known = with_policy(&known(1, &rules), 1, json!({}));
    assert_eq!(rules.len(), 50);
    let (mut random, mut process) = (Random(2026), Process::default());
    let apart = 525_600 / incidents as u64;
    for number in 0..incidents {
        let dispatch = (number as u64 * apart + random.below(apart)) as f64;
        process.run_until(m(dispatch));
        let took = random.below(30) as f64;
        let of = |at: f64, arrival_time| CheckIncident {
            priority: 1 + (number % 3) as i64,
            dispatch_time: m(dispatch),
            arrival_time,
            at: Some(m(at)),
            ..check(&format!("i{number}"), &known, 0.0)
        };
        process.tell(of(dispatch, None), m(dispatch)).expect("a good check");
        process.run_until(m(dispatch + took));
        process.tell(of(dispatch + took, Some(m(dispatch + took))), m(dispatch + took)).expect("a good check");
        if let Some(place) = restarts.iter().position(|&restart| restart == number) {
            process.restart(place % 5 != 0);
        }
    }
    process.run_until(m(366.0 * 24.0 * 60.0));
    (process.written, notification::raised_for_tests(&process.outbox))
}

#[test]
fn a_year_with_twenty_restarts_is_a_year_without() {
    // The whole year has 10,000 of them; a debug build takes minutes for that.
    let incidents = std::env::var("IONVEIL_TEST_INCIDENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(500);
    let mut random = Random(42);
    let restarts: Vec<usize> = (0..20).map(|_| random.below(incidents as u64) as usize).collect();
    let (with, told_with) = year(incidents, &restarts);
    let (without, told_without) = year(incidents, &[]);
    assert!(with == without, "the years differ");
    assert_eq!(told_with, told_without);
    let raised = with.iter().filter(|event| matches!(event, Event::Raised(_))).count();
    assert!(raised > incidents, "{raised} alerts");
}
