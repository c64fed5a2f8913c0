//! What the tests of the channels share, here and in `tests/channels`.

use ionveil_actors::domain::OrgId;
use serde_json::json;
use uuid::Uuid;

use super::{Message, MessageKind, Told};

/// A raised alert about a late ambulance, at level 1.
pub(crate) fn message() -> Message {
    let org_id: OrgId = "sffd".parse().expect("an id");
    Message {
        notification_id: Uuid::from_u128(0x0198_c0de_0000_5000_8000_0000_0000_0011),
        idempotency_key: "0198c0de-0000-5000-8000-000000000001/raised/1/1/test".to_owned(),
        kind: MessageKind::Raised,
        org_id,
        alert_id: Uuid::from_u128(0x0198_c0de_0000_5000_8000_0000_0000_0001),
        level: 1,
        levels: vec![1],
        cycle: 1,
        alert: json!({
            "alert_id": "0198c0de-0000-5000-8000-000000000001", "rule_id": "sla-breach", "rule_version": 3,
            "org_id": "sffd", "incident_id": "i-1", "severity": "critical", "status": "open",
            "title": "incident i-1 is late", "description": "5.00 of 5 minutes had passed",
            "created_at": "2026-01-31T08:15:00Z", "updated_at": "2026-01-31T08:15:00Z", "acknowledged_at": null,
            "acknowledged_by": null, "resolved_at": null, "resolved_by": null, "escalation_level": 1,
            "escalation_history": [], "occurrences": 1, "history": [], "metadata": { "priority": 1 },
        }),
        others: Vec::new(),
        other_keys: Vec::new(),
        recipients: Vec::new(),
        told: Told::default(),
    }
}
