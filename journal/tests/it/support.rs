//! What every test of the journal needs: events that can be told apart, and all that a journal holds as plain values.

use std::ops::ControlFlow;
use std::sync::Once;

pub(crate) use ionveil_journal::testing::{append_to, event};
use ionveil_journal::{Journal, Position, Record, Sequence};
use uuid::Uuid;

/// A record without its borrow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) position: u64,
    pub(crate) stream: String,
    pub(crate) sequence: u64,
    pub(crate) id: Uuid,
    pub(crate) payload: Vec<u8>,
}

impl From<&Record<'_>> for Seen {
    fn from(record: &Record<'_>) -> Self {
        Seen {
            position: record.position.get(),
            stream: record.stream.to_owned(),
            sequence: record.sequence.get(),
            id: record.id,
            payload: record.payload.to_vec(),
        }
    }
}

/// Everything from `from` to `to`.
#[track_caller]
pub(crate) fn all(journal: &dyn Journal, from: u64, to: u64) -> Vec<Seen> {
    let mut seen = Vec::new();
    journal
        .read_all(Position::new(from), Position::new(to), &mut |record| {
            seen.push(Seen::from(record));
            ControlFlow::Continue(())
        })
        .expect("a sound journal can be read");
    seen
}

/// One stream from `from` to `to`.
#[track_caller]
pub(crate) fn stream(journal: &dyn Journal, stream: &str, from: u64, to: u64) -> Vec<Seen> {
    let mut seen = Vec::new();
    journal
        .read_stream(&stream.parse().expect("a valid stream"), Sequence::new(from), Sequence::new(to), &mut |record| {
            seen.push(Seen::from(record));
            ControlFlow::Continue(())
        })
        .expect("a sound journal can be read");
    seen
}

/// sled panics on damage, here hundreds of times: the library contains that, and the messages would bury real ones.
pub(crate) fn quieten_sled() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !panic.location().is_some_and(|location| location.file().contains("sled-0.34")) {
                others(panic);
            }
        }));
    });
}

/// How often a long test goes round, unless the environment says otherwise.
pub(crate) fn count_from_env(variable: &str, usual: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, not a number")),
        Err(_) => usual,
    }
}
