//! The stored bytes of every reply that is remembered under a command id. A changed encoding needs a new version where the
//! command names its [`crate::runtime::ReplyCodec`]: a retry across the release is then refused instead of misread.

use std::fmt::Debug;

use ionveil_journal::codec::{self, BINCODE_2, DecodeError};
use serde_json::json;
use uuid::Uuid;

use crate::alerts::{
    AcknowledgeAlert, AddSuppression, Alert, AlertStatus, Alerts, Change, CheckIncident, CheckReport, EscalateAlert,
    EscalationEntry, HeldBack, RemoveSuppression, ResolveAlert, Suppression,
};
use crate::dispatch::{
    Dispatches, IngestBatch, IngestReport, Rejected, RejectedBecause, SetDimensionLimit, SetRetention,
};
use crate::domain::{Channel, OrgId, SlaStatus, Timestamp};
use crate::error::Invalid;
use crate::escalation::{Escalation, EscalationPolicy, PolicyLevel, PolicyVersion, SetPolicy};
use crate::notification::{Held, Kind, Notification, NotificationStatus, Notifications, Pacing, Resend, SetPacing};
use crate::policy::{
    Configure, ManualStep, OrgPolicy, Reason, RecordBatch, RecordOutcomes, Recorded, RejectedOutcome, Transition,
    TransitionReason,
};
use crate::rules::{AddRules, AlertRule, AlertSeverity, Condition, RemoveRule, Rules};
use crate::runtime::{Aggregate, Command};
use crate::simulation::{CancelSimulation, CreateSimulation, Simulation};

/// The reply to `C` is stored as these bytes, given in hexadecimal, and read as it was.
#[track_caller]
fn golden<A: Aggregate, C: Command<A, Reply: Debug + PartialEq>>(reply: &C::Reply, bytes: &str) {
    let codec = C::REPLY.expect("its reply is remembered");
    let stored = (codec.encode)(reply);
    assert_eq!((codec.decode)(BINCODE_2, &stored).as_ref(), Ok(reply));
    let stored: String = stored.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(stored, bytes, "{} is stored differently: it needs a new version", std::any::type_name::<C>());
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000).expect("in range")
}

fn org() -> OrgId {
    "sffd".parse().expect("an id")
}

fn invalid() -> Invalid {
    Invalid::new("f", 6, "1 to 5")
}

#[test]
fn yes_and_no() {
    for (reply, bytes) in [(false, "0100"), (true, "0101")] {
        golden::<OrgPolicy, Configure>(&reply, bytes);
        golden::<Rules, RemoveRule>(&reply, bytes);
        golden::<Alerts, RemoveSuppression>(&reply, bytes);
        golden::<Dispatches, SetRetention>(&reply, bytes);
        golden::<Dispatches, SetDimensionLimit>(&reply, bytes);
        golden::<Simulation, CancelSimulation>(&reply, bytes);
    }
    golden::<Simulation, CreateSimulation>(&(), "01");
}

#[test]
fn policies() {
    let transition = |reason, user: Option<&str>| Transition {
        from: "a".into(),
        to: "b".into(),
        timestamp: at(1),
        reason,
        user: user.map(Into::into),
    };
    let transitions = vec![
        transition(TransitionReason::Outcomes(Reason::FailureBurst(3)), None),
        transition(TransitionReason::Outcomes(Reason::SuccessStreak(300)), None),
        transition(TransitionReason::Manual("why".into()), Some("ann")),
        transition(TransitionReason::Configured("s".into()), None),
    ];
    golden::<OrgPolicy, ManualStep>(&transitions[2], "0101610162fc80841e0001037768790103616e6e");
    let rejected = vec![RejectedOutcome { index: 7, because: invalid() }];
    let recorded = Recorded { accepted: 2, rejected, policy: "b".into(), transitions };
    let bytes = "0102010701660136063120746f203501620401610162fc80841e000000030001610162fc80841e000001fb2c010001610162fc80841e0001037768790103616e6e01610162fc80841e0002017300";
    golden::<OrgPolicy, RecordOutcomes>(&recorded, bytes);
    golden::<OrgPolicy, RecordBatch>(&recorded, bytes);
}

#[test]
fn rules_and_escalation_policies() {
    let rule = AlertRule::new("r", "n", Condition::SlaWarning { sla_remaining_pct: 25.0 }, AlertSeverity::Critical);
    let rule = AlertRule { org_id: Some(org()), version: 2, notification_channels: vec![Channel::Email], ..rule };
    golden::<Rules, AddRules>(&vec![rule], "0101017201047366666402016e00000000000000003940020102000501");
    let level = PolicyLevel { level: 1, timeout_minutes: 5, channels: vec![Channel::Sms] };
    let policy = EscalationPolicy {
        policy_id: "p".into(),
        name: "n".into(),
        levels: vec![level],
        repeat_after_minutes: Some(7),
        max_escalations: 3,
        ack_timeout_minutes: None,
    };
    golden::<Escalation, SetPolicy>(&PolicyVersion { revision: 2, policy }, "01020170016e010105010601070300");
}

#[test]
fn alerts() {
    let by = "ann";
    let change = Change {
        at: at(3),
        by: by.into(),
        from: AlertStatus::Open,
        to: AlertStatus::Acknowledged,
        note: Some("n".into()),
    };
    let entry = EscalationEntry { at: at(2), from_level: 1, to_level: 2, reason: "w".into(), by: by.into() };
    let metadata = json!({ "late": true, "minutes": 5.0, "count": 7, "of": [null, "x"] });
    let alert = Alert {
        alert_id: Uuid::from_u128(1),
        rule_id: "r".into(),
        rule_version: 2,
        org_id: org(),
        incident_id: Some("i".into()),
        severity: AlertSeverity::Warning,
        status: AlertStatus::Escalated,
        title: "t".into(),
        description: "d".into(),
        created_at: at(1),
        updated_at: at(3),
        acknowledged_at: Some(at(3)),
        acknowledged_by: Some(by.into()),
        resolved_at: None,
        resolved_by: None,
        escalation_level: 2,
        escalation_history: vec![entry],
        occurrences: 4,
        history: vec![change],
        metadata: metadata.as_object().expect("an object").clone(),
    };
    let bytes = "0110000000000000000000000000000000010172020473666664010169010401740164fc80841e00fc808d5b0001fc808d5b000103616e6e00000201fc00093d000102017703616e6e0401fc808d5b0003616e6e000101016e357b22636f756e74223a372c226c617465223a747275652c226d696e75746573223a352e302c226f66223a5b6e756c6c2c2278225d7d";
    golden::<Alerts, AcknowledgeAlert>(&alert, bytes);
    golden::<Alerts, ResolveAlert>(&alert, bytes);
    golden::<Alerts, EscalateAlert>(&alert, bytes);
    let report = CheckReport {
        incident_id: "i".into(),
        sla_status: SlaStatus::Warning,
        sla_target_minutes: 5,
        elapsed_minutes: 4.5,
        remaining_minutes: 0.5,
        escalation_stage: 3,
        breach_time: at(300),
        alerts: vec![],
        held_back: vec![HeldBack { rule_id: "r".into(), reason: "w".into() }],
        is_known: true,
    };
    golden::<Alerts, CheckIncident>(&report, "01016901050000000000001240000000000000e03f03fc0046c32300010172017701");
    let suppression = Suppression {
        suppression_id: Uuid::from_u128(1),
        org_id: org(),
        rule_pattern: "r.*".into(),
        created_at: at(1),
        expires_at: at(2),
        reason: "w".into(),
        created_by: by.into(),
        removed_at: None,
    };
    golden::<Alerts, AddSuppression>(
        &suppression,
        "011000000000000000000000000000000001047366666403722e2afc80841e00fc00093d00017703616e6e00",
    );
}

#[test]
fn messages() {
    let message = Notification {
        notification_id: Uuid::from_u128(1),
        alert_id: Uuid::from_u128(2),
        kind: Kind::Escalated,
        channel: Channel::Sms,
        level: 2,
        cycle: 1,
        idempotency_key: "k".into(),
        attempts: 0,
        last_error: Some("e".into()),
        due_at: at(1),
        delivered_at: None,
        status: NotificationStatus::Pending,
        sent_with: None,
        held_by: Some(Held::QuietHours),
    };
    golden::<Notifications, Resend>(
        &message,
        "011000000000000000000000000000000001100000000000000000000000000000000201060201016b00010165fc80841e000000000101",
    );
    let pacing = Pacing { time_zone: "UTC".into(), groups: vec![], quiet_hours: vec![], limits: vec![] };
    golden::<Notifications, SetPacing>(&pacing, "0103555443000000");
}

#[test]
fn dispatches() {
    let because = [
        RejectedBecause::Invalid(invalid()),
        RejectedBecause::InFuture { timestamp: at(2), latest: at(1) },
        RejectedBecause::TooLate { timestamp: at(1), earliest: at(2) },
    ];
    let rejected = because.into_iter().zip(3..).map(|(because, index)| Rejected { index, because }).collect();
    let report = IngestReport { accepted: 2, duplicates: vec![1, 2], rejected };
    golden::<Dispatches, IngestBatch>(
        &report,
        "010202010203030001660136063120746f20350401fc00093d00fc80841e000502fc80841e00fc00093d00",
    );
}

#[test]
fn a_reply_of_another_version_is_refused() {
    let codec = <Configure as Command<OrgPolicy>>::REPLY.expect("its reply is remembered");
    let refused = DecodeError::UnknownType { event_type: "reply".into(), version: 2 };
    assert_eq!((codec.decode)(BINCODE_2, &codec::encode(&(2u16, true))), Err(refused));
}
