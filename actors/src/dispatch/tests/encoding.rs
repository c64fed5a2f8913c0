//! The stored bytes of every released event: added once, never edited.
//!
//! A changed encoding needs a new version and a fixture of its own; these stay readable for ever.

use ionveil_journal::codec;
use serde_json::{Value, json};

use super::*;
use crate::runtime::Event as _;

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("two hexadecimal digits")).collect()
}

#[test]
fn every_stored_form_is_read_as_ever_and_written_as_ever() {
    for (event_type, version, hex, expected) in [
        (
            "dispatch-recorded",
            1,
            include_str!("../../../tests/fixtures/dispatch/dispatch-recorded.v1.hex"),
            include_str!("../../../tests/fixtures/dispatch/dispatch-recorded.v1.expected.json"),
        ),
        (
            "retention-set",
            1,
            include_str!("../../../tests/fixtures/dispatch/retention-set.v1.hex"),
            include_str!("../../../tests/fixtures/dispatch/retention-set.v1.expected.json"),
        ),
    ] {
        let expected: Vec<Value> = serde_json::from_str(expected).expect("an array");
        let stored: Vec<Vec<u8>> = hex.lines().map(bytes_of).collect();
        assert_eq!(stored.len(), expected.len(), "a line of {event_type} v{version} per expected value");
        for (bytes, expected) in stored.iter().zip(expected) {
            let event = Event::decode(event_type, version, codec::BINCODE_2, bytes)
                .unwrap_or_else(|error| panic!("{event_type} v{version}: {error}"));
            assert_eq!(event.to_json(), expected, "{event_type} v{version}");
            assert_eq!((event.event_type(), event.version()), (event_type, version));
            assert_eq!(
                event.encode(),
                *bytes,
                "{event_type} v{version} is written differently now: it needs a new version"
            );
        }
    }
}

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
