//! The one error of this crate.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::position::Position;

/// What sort of error it is, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is outside what is allowed. Nothing was written.
    Invalid,
    /// The queue is full. The same request may succeed later.
    Overloaded,
    /// There is no such journal, stream or position.
    NotFound,
    /// The journal cannot be used now: held by another process, fenced after a failure, closed, or the disk refuses.
    Unavailable,
    /// Stored data is not what was written.
    Corrupt,
}

/// Where damage was found, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("position {position}: {problem}")]
pub struct Damage {
    /// The first position that is missing or cannot be trusted.
    pub position: Position,
    /// What is wrong with it.
    pub problem: String,
}

/// Why the journal did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value is outside what is allowed.
    #[error("{field} is {value}, allowed: {allowed}")]
    Invalid {
        /// Which value.
        field: &'static str,
        /// What it was.
        value: String,
        /// What it may be.
        allowed: String,
    },
    /// More is waiting to be written than the journal accepts.
    #[error("the journal's queue is full ({waiting_bytes} bytes waiting), try again later")]
    Overloaded {
        /// Bytes waiting.
        waiting_bytes: usize,
    },
    /// There is no journal in that directory.
    #[error("there is no journal in {}", path.display())]
    NoJournal {
        /// The directory.
        path: PathBuf,
    },
    /// Another process, or another instance in this one, has the journal open.
    #[error("the journal in {} is held by another process", path.display())]
    Held {
        /// The directory.
        path: PathBuf,
    },
    /// A write or a sync failed. Nothing more is acknowledged until the journal is opened again.
    #[error("the journal is fenced after a failed write, open it again: {cause}")]
    Poisoned {
        /// The first failure.
        cause: String,
    },
    /// The journal is shut down.
    #[error("the journal is closed")]
    Closed,
    /// Stored data is not what was written.
    #[error("the journal is damaged at {0}")]
    Corrupt(#[from] Damage),
    /// The store's files cannot be read, or are not a journal of this version.
    #[error("the journal in {} cannot be opened: {problem}", path.display())]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The operating system refused.
    #[error("{doing} failed")]
    Io {
        /// What was being done.
        doing: String,
        /// Why it failed.
        #[source]
        source: Arc<io::Error>,
    },
}

impl Error {
    /// The kind, for programs.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Invalid { .. } => Kind::Invalid,
            Error::Overloaded { .. } => Kind::Overloaded,
            Error::NoJournal { .. } => Kind::NotFound,
            Error::Held { .. } | Error::Poisoned { .. } | Error::Closed | Error::Io { .. } => Kind::Unavailable,
            Error::Corrupt(_) | Error::Unreadable { .. } => Kind::Corrupt,
        }
    }

    /// The same, with the position for damage that a store met, which knows none.
    pub(crate) fn at(self, position: Position) -> Self {
        match self {
            Error::Corrupt(damage) if damage.position == Position::NONE => {
                Error::Corrupt(Damage { position, ..damage })
            }
            other => other,
        }
    }

    pub(crate) fn io(doing: impl Into<String>, source: io::Error) -> Self {
        Error::Io { doing: doing.into(), source: Arc::new(source) }
    }
}

impl PartialEq for Error {
    /// Equal when they say the same; causes from the operating system are compared by their text.
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.to_string() == other.to_string()
    }
}
