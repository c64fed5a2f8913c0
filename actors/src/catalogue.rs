//! Every kind of stream with its events, for whoever reads the journal without knowing what is in it.

#[cfg(test)]
mod contents;
#[cfg(test)]
mod replies;

use ionveil_journal::codec::DecodeError;
use ionveil_journal::{Record, StreamKind};
use serde_json::{Value, json};

use crate::runtime::{Aggregate, Event, NOTES_RELEASED, Note, is_note};
use crate::{alerts, dispatch, escalation, notification, policy, rules, simulation};

/// A kind of streams, and what its events are stored as.
pub struct Kind {
    /// The part of the address before the `/`.
    pub kind: StreamKind,
    /// Every event type and version that was ever released.
    pub released: &'static [(&'static str, u16)],
    json: fn(&str, u16, u8, &[u8]) -> Result<Value, DecodeError>,
    /// An event that was read, as it would be written now.
    #[cfg(test)]
    rewritten: fn(&str, u16, u8, &[u8]) -> Result<Form, DecodeError>,
}

/// Type, version and bytes.
#[cfg(test)]
type Form = (&'static str, u16, Vec<u8>);

/// Every kind there is.
pub const KINDS: [Kind; 7] = [
    Kind::of::<dispatch::Dispatches>(dispatch::RELEASED),
    Kind::of::<policy::OrgPolicy>(policy::RELEASED),
    Kind::of::<simulation::Simulation>(simulation::RELEASED),
    Kind::of::<rules::Rules>(rules::RELEASED),
    Kind::of::<alerts::Alerts>(alerts::RELEASED),
    Kind::of::<escalation::Escalation>(escalation::RELEASED),
    Kind::of::<notification::Notifications>(notification::RELEASED),
];

/// What the runtime notes of its own, in streams of any kind.
pub const NOTES: Kind = Kind::of_events::<Note>(StreamKind::new("runtime"), NOTES_RELEASED);

impl Kind {
    const fn of<A: Aggregate>(released: &'static [(&'static str, u16)]) -> Self {
        Self::of_events::<A::Event>(A::KIND, released)
    }

    const fn of_events<E: Event>(kind: StreamKind, released: &'static [(&'static str, u16)]) -> Self {
        Kind {
            kind,
            released,
            json: |event_type, version, codec, payload| {
                E::decode(event_type, version, codec, payload).map(|event| event.to_json())
            },
            #[cfg(test)]
            rewritten: |event_type, version, codec, payload| {
                E::decode(event_type, version, codec, payload)
                    .map(|event| (event.event_type(), event.version(), event.encode()))
            },
        }
    }
}

/// A stored event's payload as an auditor sees it. One that cannot be read is shown as `{"unreadable": why}`.
pub fn payload_json(record: &Record<'_>) -> Value {
    let name = record.stream.split('/').next().unwrap_or_default();
    let kind = match is_note(record.event_type) {
        true => Some(&NOTES),
        false => KINDS.iter().find(|kind| kind.kind.as_str() == name),
    };
    let decoded = match kind {
        Some(kind) => (kind.json)(record.event_type, record.version, record.codec, record.payload)
            .map_err(|error| error.to_string()),
        None => Err(format!("streams of kind {name} are not known")),
    };
    decoded.unwrap_or_else(|why| json!({ "unreadable": why }))
}

/// The stored bytes of every released form: added once, never edited. A changed encoding needs a new version with files of
/// its own ([`crate::runtime::upcasting`]).
#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use ionveil_journal::codec::BINCODE_2;

    use super::*;

    fn all() -> impl Iterator<Item = &'static Kind> {
        KINDS.iter().chain([&NOTES])
    }

    fn fixtures() -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "tests", "fixtures"].iter().collect()
    }

    fn bytes_of(hex: &str) -> Vec<u8> {
        let digits: String = hex.split_whitespace().collect();
        let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("ASCII"));
        pairs.map(|pair| u8::from_str_radix(pair, 16).expect("two hexadecimal digits")).collect()
    }

    /// The bytes and the expected JSON of a form, one line and one element per example.
    fn examples(kind: &Kind, event_type: &str, version: u16) -> Vec<(Vec<u8>, Value)> {
        let read = |ending: &str| {
            let path = fixtures().join(kind.kind.as_str()).join(format!("{event_type}.v{version}.{ending}"));
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("golden file {}: {error}", path.display()))
        };
        let stored: Vec<Vec<u8>> = read("hex").lines().map(bytes_of).collect();
        let expected: Vec<Value> = serde_json::from_str(&read("expected.json")).expect("an array");
        assert_eq!(stored.len(), expected.len(), "a line of {event_type} v{version} per expected value");
        assert!(!stored.is_empty(), "{event_type} v{version} has no example");
        stored.into_iter().zip(expected).collect()
    }

    fn newest(kind: &Kind, event_type: &str) -> u16 {
        let versions = kind.released.iter().filter(|(of, _)| *of == event_type).map(|(_, version)| *version);
        versions.max().expect("it is released")
    }

    #[test]
    fn every_released_form_is_read_as_ever_and_the_newest_written_as_ever() {
        for kind in all() {
            for &(event_type, version) in kind.released {
                let newest = newest(kind, event_type);
                for (bytes, expected) in examples(kind, event_type, version) {
                    let read = (kind.json)(event_type, version, BINCODE_2, &bytes);
                    assert_eq!(read, Ok(expected), "{event_type} v{version}");
                    let written = (kind.rewritten)(event_type, version, BINCODE_2, &bytes).expect("just read");
                    assert_eq!((written.0, written.1), (event_type, newest), "what is written is the newest version");
                    if version == newest {
                        assert_eq!(
                            written.2, bytes,
                            "{event_type} v{version} is written differently: it needs a new version"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn every_golden_file_is_that_of_a_released_form() {
        let listed: BTreeSet<String> = all()
            .flat_map(|kind| kind.released.iter().map(move |(event_type, version)| (kind, event_type, version)))
            .flat_map(|(kind, event_type, version)| {
                ["hex", "expected.json"]
                    .map(|ending| format!("{}/{event_type}.v{version}.{ending}", kind.kind.as_str()))
            })
            .collect();
        let mut found = BTreeSet::new();
        for dir in std::fs::read_dir(fixtures()).expect("the fixtures").map(|entry| entry.expect("readable")) {
            for file in
                std::fs::read_dir(dir.path()).expect("a directory per kind").map(|entry| entry.expect("readable"))
            {
                found.insert(format!("{}/{}", dir.file_name().to_string_lossy(), file.file_name().to_string_lossy()));
            }
        }
        assert_eq!(found, listed);
    }

    #[test]
    fn versions_count_from_one_without_gaps_and_the_next_one_is_unknown() {
        for kind in all() {
            let types: BTreeSet<&str> = kind.released.iter().map(|(event_type, _)| *event_type).collect();
            for event_type in types {
                let versions: Vec<u16> =
                    kind.released.iter().filter(|(of, _)| *of == event_type).map(|(_, version)| *version).collect();
                assert_eq!(versions, (1..=newest(kind, event_type)).collect::<Vec<_>>(), "{event_type}");
                let next = newest(kind, event_type) + 1;
                let unknown = DecodeError::UnknownType { event_type: event_type.to_owned(), version: next };
                assert_eq!((kind.json)(event_type, next, BINCODE_2, &[]), Err(unknown));
            }
        }
    }
}
