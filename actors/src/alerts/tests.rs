//! Given, when, then for the alerts of one org; helpers that all tables share.

mod check;
mod due;
mod forgetting;
mod lifecycle;
mod model;
mod patterns;
mod policy_what_if;
mod suppressions;
mod what_if;
mod windows;

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::domain::{MICROS_PER_MINUTE, OrgId, Timestamp};
use crate::escalation::{EscalationPolicy, PolicyVersion};
use crate::rules::{AlertRule, RuleSet};
use crate::runtime::testing::{Observed, Scenario};

type Org = Scenario<Alerts>;

impl Observed for Alerts {
    fn observed(&self) -> String {
        let mut text = format!("{:?} {:?} {} {}\n", self.org_id, self.org_due, self.book.revision, self.book.takes);
        for known in &self.book.rules {
            let _ = writeln!(text, "{known:?}");
        }
        let _ = writeln!(text, "{:?}\n{:?}\n{:?}", self.policies, self.incidents.places(), self.deadlines);
        let _ = writeln!(text, "{:?}\n{:?}\n{:?}", self.alerts.all(), self.timers, self.watches);
        let _ = writeln!(text, "{:?}\n{:?}\n{:?}", self.suppressions, self.counters, self.windows);
        let _ = writeln!(text, "{:?}\n{:?}\n{}", self.over, self.forgotten, self.alerts.next());
        let _ = writeln!(text, "{:?}", self.forgotten_ids);
        text
    }
}

/// Noon of the tests' day, when everything is dispatched unless it is said otherwise.
const NOON: &str = "2026-03-01T12:00:00Z";

/// So many minutes after noon.
fn m(minutes: f64) -> Timestamp {
    let noon: Timestamp = NOON.parse().expect("an instant");
    noon.saturating_add_micros((minutes * MICROS_PER_MINUTE as f64).round() as i64)
}

fn org_id() -> OrgId {
    "org".parse().expect("an id")
}

/// A rule of all orgs; `changes` replaces members.
#[track_caller]
fn rule(rule_id: &str, condition_type: &str, config: Value, changes: Value) -> AlertRule {
    let mut rule = json!({
        "rule_id": rule_id, "name": format!("Rule {rule_id}"), "condition_type": condition_type,
        "threshold_config": config, "severity": "critical", "notification_channels": ["email"],
    });
    for (name, value) in changes.as_object().expect("an object") {
        rule[name] = value.clone();
    }
    let mut rule = AlertRule::from_json(&rule).expect("a good rule");
    rule.version = 1;
    rule
}

fn breach() -> AlertRule {
    rule("breach", "sla_breach", json!({}), json!({}))
}

fn warning(pct: f64) -> AlertRule {
    rule("warning", "sla_warning", json!({"sla_remaining_pct": pct}), json!({"severity": "warning"}))
}

/// What the org goes by.
fn known(revision: u64, rules: &[AlertRule]) -> Known {
    let mut rules = rules.to_vec();
    rules.sort_by(|a, b| a.rule_id.cmp(&b.rule_id));
    Known { org_id: org_id(), rules: Arc::new(RuleSet { revision, rules }), policy: None }
}

fn with_policy(known: &Known, revision: u64, changes: Value) -> Known {
    let mut policy = json!({
        "policy_id": format!("p{revision}"), "name": "Policy", "repeat_after_minutes": 30,
        "levels": [
            {"level": 1, "timeout_minutes": 15, "channels": ["slack"]},
            {"level": 2, "timeout_minutes": 10, "channels": ["sms"]},
        ],
    });
    for (name, value) in changes.as_object().expect("an object") {
        policy[name] = value.clone();
    }
    let policy = EscalationPolicy::from_json(&policy).expect("a good policy");
    Known { policy: Some(Arc::new(PolicyVersion { revision, policy })), ..known.clone() }
}

/// A check of incident `i` of priority 1 (5 minutes), dispatched at noon.
fn check_i(known: &Known, at: f64) -> CheckIncident {
    check("i", known, at)
}

fn check(incident_id: &str, known: &Known, at: f64) -> CheckIncident {
    CheckIncident {
        incident_id: incident_id.into(),
        priority: 1,
        dispatch_time: m(0.0),
        arrival_time: None,
        closed_time: None,
        at: Some(m(at)),
        known: known.clone(),
    }
}

/// An org in its life, one step after the other, with every promise of the harness kept.
struct Life(Option<Org>);

impl Life {
    fn new() -> Self {
        Life(Some(Org::given([])))
    }

    /// Gives the command and takes its reply.
    #[track_caller]
    fn tell<C>(&mut self, command: C) -> C::Reply
    where
        C: crate::runtime::Command<Alerts> + Clone,
        C::Reply: std::fmt::Debug + PartialEq,
    {
        self.try_tell(command).expect("accepted")
    }

    #[track_caller]
    fn try_tell<C>(&mut self, command: C) -> Result<C::Reply, crate::error::Error>
    where
        C: crate::runtime::Command<Alerts> + Clone,
        C::Reply: std::fmt::Debug + PartialEq,
    {
        let org = self.0.take().expect("a life goes on");
        let given = org.given_now();
        let decided = command.clone().decide(org.state(), &given);
        match decided {
            Ok(decision) => {
                self.0 = Some(org.when(command).then_accepted());
                self.check_snapshot();
                Ok(decision.reply)
            }
            Err(error) => {
                self.0 = Some(org.when(command).then_refused(error.clone()));
                Err(error)
            }
        }
    }

    /// The clock shows so many minutes after noon, and everything due is done, at that instant.
    #[track_caller]
    fn run_at(&mut self, at: f64) -> RunDueReport {
        self.clock(at);
        let mut all = RunDueReport { judged: 0, raised: vec![], escalated: vec![], has_more: false };
        for _ in 0..1_000 {
            if self.state().next_due().is_none_or(|due| due > m(at)) {
                return all;
            }
            let report = self.tell(RunDue { items_max: 3 });
            all.judged += report.judged;
            all.raised.extend(report.raised);
            all.escalated.extend(report.escalated);
        }
        panic!("what is due never ends");
    }

    /// Goes through time as a running system does: every instant of interest up to `until` is met as it comes.
    #[track_caller]
    fn run_until(&mut self, until: f64) -> RunDueReport {
        let mut all = RunDueReport { judged: 0, raised: vec![], escalated: vec![], has_more: false };
        while let Some(due) = self.state().next_due().filter(|&due| due <= m(until)) {
            let minutes = (due.as_micros() - m(0.0).as_micros()) as f64 / MICROS_PER_MINUTE as f64;
            let report = self.run_at(minutes);
            all.judged += report.judged;
            all.raised.extend(report.raised);
            all.escalated.extend(report.escalated);
        }
        self.clock(until);
        all
    }

    /// The state comes back from its snapshot as it was, and its snapshot is the same again.
    fn check_snapshot(&self) {
        use crate::runtime::Snapshotted as _;
        let bytes = self.state().to_snapshot();
        let restored = Alerts::from_snapshot(&bytes).expect("a snapshot");
        assert_eq!(restored.observed(), self.state().observed());
        assert_eq!(restored.to_snapshot(), bytes);
    }

    fn clock(&mut self, at: f64) {
        let org = self.0.take().expect("a life goes on");
        self.0 = Some(org.at(m(at)));
    }

    fn by(&mut self, who: &str) {
        let org = self.0.take().expect("a life goes on");
        self.0 = Some(org.by(who));
    }

    fn state(&self) -> &Alerts {
        self.org().state()
    }

    fn org(&self) -> &Org {
        self.0.as_ref().expect("a life goes on")
    }

    fn alerts(&self, wanted: Wanted) -> Vec<Alert> {
        self.org().ask(GetActiveAlerts { severity: None, wanted }).expect("an answer")
    }

    fn alert(&self, id: Uuid) -> Alert {
        self.org().ask(GetAlert { alert_id: id }).expect("an answer").expect("it is there")
    }

    /// Types of all events, oldest first.
    fn types(&self) -> Vec<&'static str> {
        use crate::runtime::Event as _;
        self.org().history().iter().map(|event| event.event_type()).collect()
    }

    #[track_caller]
    fn ack(&mut self, id: Uuid, at: f64) -> Result<Alert, crate::error::Error> {
        self.try_tell(AcknowledgeAlert { alert_id: id, user_id: "ann".into(), note: None, at: Some(m(at)) })
    }

    #[track_caller]
    fn resolve(&mut self, id: Uuid, at: f64) -> Result<Alert, crate::error::Error> {
        let resolution_note = "done".to_owned();
        self.try_tell(ResolveAlert { alert_id: id, user_id: "bob".into(), resolution_note, at: Some(m(at)) })
    }

    #[track_caller]
    fn escalate(&mut self, id: Uuid, at: f64) -> Result<Alert, crate::error::Error> {
        let (user_id, reason) = ("cem".to_owned(), "now".to_owned());
        self.try_tell(EscalateAlert { alert_id: id, user_id, reason, at: Some(m(at)) })
    }
}

/// Rule ids of alerts.
fn rules_of(alerts: &[Alert]) -> Vec<&str> {
    alerts.iter().map(|alert| alert.rule_id.as_str()).collect()
}

/// Rule ids of what was held back.
fn held(report: &CheckReport) -> Vec<&str> {
    report.held_back.iter().map(|held| held.rule_id.as_str()).collect()
}
