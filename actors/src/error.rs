//! The one error of this crate, and the kinds by which programs tell errors apart.

use std::fmt;
use std::time::Duration;

use ionveil_journal as journal;
use serde::{Deserialize, Serialize};

/// What sort of error it is, for programs: retry, correct the input, or call a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The thing asked for by its id does not exist.
    NotFound,
    /// The input is outside what is allowed. Nothing was changed or journaled.
    Invalid,
    /// The input is fine, but not in the present state.
    Conflict,
    /// A queue is full. The same call may succeed later.
    Overloaded,
    /// The caller may not do this.
    Forbidden,
    /// The system, or a part of it, cannot answer now.
    Unavailable,
    /// Stored data is not what was written.
    Corrupt,
}

impl Kind {
    /// The name in JSON: `not_found`, `invalid`, `conflict`, `overloaded`, `forbidden`, `unavailable`, `corrupt`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::NotFound => "not_found",
            Kind::Invalid => "invalid",
            Kind::Conflict => "conflict",
            Kind::Overloaded => "overloaded",
            Kind::Forbidden => "forbidden",
            Kind::Unavailable => "unavailable",
            Kind::Corrupt => "corrupt",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An input that was not accepted: which field, what it was, what it may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{field} is {value}, allowed: {allowed}")]
pub struct Invalid {
    /// The field as it is called in JSON, such as `severity`.
    pub field: String,
    /// The value met, shortened to [`Invalid::VALUE_CHARS_MAX`] characters.
    pub value: String,
    /// What would have been accepted.
    pub allowed: String,
}

impl Invalid {
    /// A shown value is cut here, so that an error never carries a whole document.
    pub const VALUE_CHARS_MAX: usize = 200;

    /// Notes that `field` was `value` where `allowed` was expected.
    pub fn new(field: impl Into<String>, value: impl fmt::Display, allowed: impl Into<String>) -> Self {
        let shown = value.to_string();
        let value = match shown.char_indices().nth(Self::VALUE_CHARS_MAX) {
            Some((cut, _)) => format!("{}…", &shown[..cut]),
            None => shown,
        };
        Invalid { field: field.into(), value, allowed: allowed.into() }
    }
}

/// Why a command or a query got no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input cannot be accepted as it is. Nothing was changed or journaled.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is no such thing.
    #[error("{what} {id} does not exist")]
    NotFound {
        /// What was looked for, such as `stream`.
        what: &'static str,
        /// The id that leads nowhere.
        id: String,
    },
    /// The input is fine, but not in the present state. Nothing was changed.
    #[error("{reason}")]
    Conflict {
        /// What is in the way.
        reason: String,
    },
    /// A queue is full; nothing was done. Try again after the time given.
    #[error("{queue} is full ({len_max} waiting), try again in {} ms", retry_after.as_millis())]
    Overloaded {
        /// Which queue.
        queue: &'static str,
        /// Its limit, in messages.
        len_max: usize,
        /// A hint, not a promise.
        retry_after: Duration,
    },
    /// The system is shutting down, or the entity failed while this was under way. What the
    /// call would have changed may or may not be in the journal when `outcome_known` is false.
    #[error("{reason}")]
    Unavailable {
        /// What is in the way.
        reason: String,
        /// Whether it is certain that nothing was changed.
        outcome_known: bool,
        /// When to try again, if it is known to be of use: a hint, not a promise.
        retry_after: Option<Duration>,
    },
    /// An entity cannot be rebuilt from its stream; it refuses everything until the stream is mended.
    #[error("stream {stream} cannot be replayed past sequence {sequence}: {cause}")]
    Corrupt {
        /// The stream.
        stream: String,
        /// The event that cannot be applied; counts from 1.
        sequence: u64,
        /// Why not.
        cause: String,
    },
    /// The journal did not do what was asked.
    #[error(transparent)]
    Journal(#[from] journal::Error),
}

/// What a caller who finds the journal's queue full is told to wait.
const JOURNAL_RETRY_AFTER: Duration = Duration::from_millis(100);

impl Error {
    /// How long to wait before the same call is tried again, where that is of any use.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Overloaded { retry_after, .. } => Some(*retry_after),
            Error::Unavailable { retry_after, .. } => *retry_after,
            Error::Journal(journal) if journal.kind() == journal::Kind::Overloaded => Some(JOURNAL_RETRY_AFTER),
            _ => None,
        }
    }

    /// Nothing is known of when it is of use to try again.
    pub(crate) fn unavailable(reason: impl Into<String>, outcome_known: bool) -> Self {
        Error::Unavailable { reason: reason.into(), outcome_known, retry_after: None }
    }

    /// The kind, for programs.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Invalid(_) => Kind::Invalid,
            Error::NotFound { .. } => Kind::NotFound,
            Error::Conflict { .. } => Kind::Conflict,
            Error::Overloaded { .. } => Kind::Overloaded,
            Error::Unavailable { .. } => Kind::Unavailable,
            Error::Corrupt { .. } => Kind::Corrupt,
            Error::Journal(journal) => match journal.kind() {
                journal::Kind::Invalid => Kind::Invalid,
                journal::Kind::Corrupt => Kind::Corrupt,
                journal::Kind::Overloaded => Kind::Overloaded,
                journal::Kind::NotFound => Kind::NotFound,
                journal::Kind::Unavailable => Kind::Unavailable,
            },
        }
    }
}

/// A history that `decide` cannot have written. The message says which rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Corrupt(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_kind_and_says_what_was_met() {
        let duration = Duration::from_millis(250);
        let io = || std::sync::Arc::new(std::io::Error::other("no space"));
        for (error, kind, text) in [
            (Invalid::new("severity", 6, "1 to 5").into(), "invalid", "severity is 6, allowed: 1 to 5"),
            (Error::NotFound { what: "stream", id: "a".into() }, "not_found", "stream a does not exist"),
            (Error::Conflict { reason: "it is resolved".into() }, "conflict", "it is resolved"),
            (
                Error::Overloaded { queue: "the queue", len_max: 3, retry_after: duration },
                "overloaded",
                "the queue is full (3 waiting), try again in 250 ms",
            ),
            (
                Error::Unavailable { reason: "closing".into(), outcome_known: true, retry_after: None },
                "unavailable",
                "closing",
            ),
            (
                Error::Corrupt { stream: "a/b".into(), sequence: 7, cause: "why".into() },
                "corrupt",
                "stream a/b cannot be replayed past sequence 7: why",
            ),
            (journal::Error::Closed.into(), "unavailable", "the journal is closed"),
            (journal::Error::Overloaded { waiting_bytes: 1 }.into(), "overloaded", "(1 bytes waiting)"),
            (journal::Error::NoJournal { path: "p".into() }.into(), "not_found", "no journal in p"),
            (journal::Error::Io { doing: "syncing".into(), source: io() }.into(), "unavailable", "syncing failed"),
            (
                journal::Error::Corrupt(journal::Damage { position: journal::Position::FIRST, problem: "x".into() })
                    .into(),
                "corrupt",
                "damaged at position 1: x",
            ),
            (
                journal::Error::Invalid { field: "f", value: "v".into(), allowed: "w".into() }.into(),
                "invalid",
                "f is v, allowed: w",
            ),
        ] {
            assert_eq!(error.kind().to_string(), kind, "{error}");
            assert!(error.to_string().contains(text), "{error}");
        }
        assert_eq!(Kind::Forbidden.as_str(), "forbidden");
        assert_eq!(Corrupt("twice".into()).to_string(), "twice");
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let fits = "é".repeat(Invalid::VALUE_CHARS_MAX);
        assert_eq!(Invalid::new("f", &fits, "a").value, fits);
        assert_eq!(Invalid::new("f", format!("{fits}é"), "a").value, format!("{fits}…"));
    }
}
