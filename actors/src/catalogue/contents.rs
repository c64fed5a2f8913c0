//! What every command says that may be sent again, as the bytes that a retry is compared by. When they change, a retry across
//! the release is refused as one that says something else, for a day: better left as they are.

use std::sync::Arc;

use uuid::Uuid;

use crate::alerts::{
    AcknowledgeAlert, AddSuppression, Alerts, CheckIncident, EscalateAlert, Known, RemoveSuppression, ResolveAlert,
};
use crate::dispatch::{Dispatches, SetDimensionLimit, SetRetention};
use crate::domain::{Channel, OrgId, Timestamp};
use crate::escalation::{Escalation, EscalationPolicy, PolicyLevel, SetPolicy};
use crate::notification::{Notifications, Pacing, Resend, SetPacing};
use crate::policy::{Configure, ManualAction, ManualStep, OrgPolicy, PolicyScenario, RecordBatch, RecordOutcomes};
use crate::rules::{AddRules, AlertRule, AlertSeverity, Condition, RemoveRule, RuleSet, Rules};
use crate::runtime::{Aggregate, Command};
use crate::simulation::{CreateSimulation, FailurePattern, Generator, Offset, PatternSource, Simulation};

/// The command says these bytes, given in hexadecimal.
#[track_caller]
fn golden<A: Aggregate, C: Command<A>>(command: C, bytes: &str) {
    let content = command.content().expect("it is compared");
    let content: String = content.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(content, bytes, "{} says the same in other bytes", std::any::type_name::<C>());
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000).expect("in range")
}

fn org() -> OrgId {
    "sffd".parse().expect("an id")
}

#[test]
fn policies() {
    golden::<OrgPolicy, _>(RecordOutcomes { is_success: true, count: 300, at: Some(at(1)) }, "01fb2c0101fc80841e00");
    golden::<OrgPolicy, _>(
        RecordBatch { outcomes: vec![(at(1), false), (at(2), true)], is_whole: true },
        "02fc80841e0000fc00093d000101",
    );
    let step = |action| ManualStep { action, user: "ann".into(), reason: "why".into(), at: None };
    golden::<OrgPolicy, _>(step(ManualAction::Escalate), "0003616e6e0377687900");
    golden::<OrgPolicy, _>(step(ManualAction::Deescalate), "0103616e6e0377687900");
    golden::<OrgPolicy, _>(step(ManualAction::Reset), "0203616e6e0377687900");
    golden::<OrgPolicy, _>(
        Configure { scenario: PolicyScenario::default(), at: Some(at(1)) },
        "08706c6174666f726d04066e6f726d616c0577617463680a726573747269637465640668616c74656406030668616c746564280a72657374726963746564140577617463680a0001fc80841e00",
    );
}

#[test]
fn rules_and_escalation_policies() {
    let rule = AlertRule::new("r", "n", Condition::SlaWarning { sla_remaining_pct: 25.0 }, AlertSeverity::Critical);
    let rule = AlertRule { org_id: Some(org()), notification_channels: vec![Channel::Email], ..rule };
    for version in [0, 7] {
        golden::<Rules, _>(
            AddRules { rules: vec![AlertRule { version, ..rule.clone() }] },
            "01017201047366666400016e00000000000000003940020102000501",
        );
    }
    golden::<Rules, _>(RemoveRule { rule_id: "r".into() }, "0172");
    let level = PolicyLevel { level: 1, timeout_minutes: 5, channels: vec![Channel::Sms] };
    let policy = EscalationPolicy {
        policy_id: "p".into(),
        name: "n".into(),
        levels: vec![level],
        repeat_after_minutes: Some(7),
        max_escalations: 3,
        ack_timeout_minutes: None,
    };
    golden::<Escalation, _>(SetPolicy { policy }, "0170016e010105010601070300");
}

#[test]
fn alerts() {
    let (alert_id, user_id, at_second) = (Uuid::from_u128(1), "ann".to_owned(), Some(at(1)));
    let note = Some("n".to_owned());
    golden::<Alerts, _>(
        AcknowledgeAlert { alert_id, user_id: user_id.clone(), note, at: None },
        "100000000000000000000000000000000103616e6e01016e00",
    );
    let resolution_note = "done".to_owned();
    golden::<Alerts, _>(
        ResolveAlert { alert_id, user_id: user_id.clone(), resolution_note, at: at_second },
        "100000000000000000000000000000000103616e6e04646f6e6501fc80841e00",
    );
    golden::<Alerts, _>(
        EscalateAlert { alert_id, user_id, reason: "why".into(), at: at_second },
        "100000000000000000000000000000000103616e6e0377687901fc80841e00",
    );
    for revision in [0, 7] {
        let check = CheckIncident {
            incident_id: "i".into(),
            priority: 2,
            dispatch_time: at(1),
            arrival_time: Some(at(2)),
            closed_time: None,
            at: Some(at(3)),
            known: Known { org_id: org(), rules: Arc::new(RuleSet { revision, rules: vec![] }), policy: None },
        };
        golden::<Alerts, _>(check, "016904fc80841e0001fc00093d000001fc808d5b00");
    }
    for id in [1, 2] {
        let add = AddSuppression {
            suppression_id: Uuid::from_u128(id),
            org_id: org(),
            rule_pattern: "r*".into(),
            duration_minutes: 600,
            reason: "why".into(),
            created_by: "ann".into(),
            at: None,
        };
        golden::<Alerts, _>(add, "02722afb58020377687903616e6e00");
    }
    golden::<Alerts, _>(
        RemoveSuppression { suppression_id: Uuid::from_u128(1), at: None },
        "100000000000000000000000000000000100",
    );
}

#[test]
fn dispatches_and_notifications() {
    golden::<Dispatches, _>(SetRetention { hours: 300 }, "fb2c01");
    golden::<Dispatches, _>(SetDimensionLimit { values_max: 7 }, "07");
    golden::<Notifications, _>(Resend { notification_id: Uuid::from_u128(1) }, "1000000000000000000000000000000001");
    let pacing = Pacing { time_zone: "UTC".into(), groups: vec![], quiet_hours: vec![], limits: vec![] };
    golden::<Notifications, _>(SetPacing { pacing }, "03555443000000");
}

#[test]
fn simulations() {
    let create = |pattern| CreateSimulation {
        id: "s".into(),
        scenario: PolicyScenario::default(),
        pattern,
        duration_seconds: 60,
        start: at(1),
    };
    let events = vec![(Offset::from_seconds(1.0).expect("an offset"), true)];
    let pattern = FailurePattern { pattern_id: "p".into(), description: "d".into(), events };
    golden::<Simulation, _>(
        create(PatternSource::from(pattern)),
        "08706c6174666f726d04066e6f726d616c0577617463680a726573747269637465640668616c74656406030668616c746564280a72657374726963746564140577617463680a000c010170016401fc80841e00013cfc80841e00",
    );
    let generator: Generator = "hawkes:rate=0.1,branching=0.5,decay=1,duration=10".parse().expect("a generator");
    golden::<Simulation, _>(
        create(PatternSource::from(generator)),
        "08706c6174666f726d04066e6f726d616c0577617463680a726573747269637465640668616c74656406030668616c746564280a72657374726963746564140577617463680a003f003d6861776b65733a726174653d302e312c6272616e6368696e673d302e352c64656361793d312c6475726174696f6e3d31302c7375636365737365733d313cfc80841e00",
    );
}
