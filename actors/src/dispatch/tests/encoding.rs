//! What is not an event is refused, and what an auditor sees. The golden files are tested for all kinds in the catalogue.

use ionveil_journal::codec;
use serde_json::json;

use super::*;
use crate::runtime::Event as _;

#[test]
fn unknown_types_versions_codecs_and_damaged_bytes_are_refused() {
    let event = Event::RetentionSet(RetentionSet { hours: 300 });
    let bytes = event.encode();
    assert!(Event::decode("retention-set", 1, codec::BINCODE_2, &bytes).is_ok());
    for (event_type, version, codec, bytes, message) in [
        ("retention-set", 2, codec::BINCODE_2, &bytes[..], "event type retention-set version 2 is not known"),
        ("retention-sat", 1, codec::BINCODE_2, &bytes[..], "event type retention-sat version 1 is not known"),
        ("retention-set", 1, 9, &bytes[..], "codec 9 is not known"),
        ("retention-set", 1, codec::BINCODE_2, &[1, 2][..], "1 bytes are left over after the value"),
        ("dispatch-recorded", 1, codec::BINCODE_2, &[][..], "the bytes are no such value"),
    ] {
        let error = Event::decode(event_type, version, codec, bytes).expect_err(message).to_string();
        assert!(error.contains(message), "{error}");
    }
    // A severity that was never valid is damage, however well it decodes.
    let org = empty_org().when(batch([super::event("e", now_plus(0))])).then_accepted();
    let good = org.history()[0].encode();
    let severity_at = good.iter().rposition(|&byte| byte == 3).expect("severity 3");
    let mut changed = 0;
    for severity in [0u8, 6, 250] {
        let mut bytes = good.clone();
        bytes[severity_at] = severity;
        changed += usize::from(Event::decode("dispatch-recorded", 1, codec::BINCODE_2, &bytes).is_err());
    }
    assert_eq!(changed, 3);
}

#[test]
fn an_auditor_sees_each_event_as_json() {
    assert_eq!(Event::RetentionSet(RetentionSet { hours: 7 }).to_json(), json!({"hours": 7}));
    let org = empty_org().when(batch([super::event("e", now_plus(0))])).then_accepted();
    assert_eq!(
        org.history()[0].to_json(),
        json!({
            "event_id": "e", "dispatch_id": "d-e", "timestamp": NOW, "severity": 3, "response_time_minutes": 10.0,
            "distance_km": 2.0, "region": "north", "unit_type": "engine", "sla_met": true, "status": "closed",
            "location": null, "metadata": null,
        })
    );
}
