//! The one error of this crate.

use std::io;
use std::time::Duration;

use ionveil_actors::error::{Error as ServiceError, Invalid, Kind};

use crate::ingest;

/// Why IonVeil did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A service refused or could not answer.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// A file could not be taken in.
    #[error(transparent)]
    Ingest(#[from] ingest::Error),
    /// The operating system refused.
    #[error("{doing} failed: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    /// The kind, for programs.
    pub fn kind(&self) -> Kind {
        match self {
            Error::Service(error) => error.kind(),
            Error::Ingest(error) => error.kind(),
            Error::Io { .. } => Kind::Unavailable,
        }
    }

    /// When to try again, for what was refused only because a queue is full; a hint, not a promise.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Error::Service(ServiceError::Overloaded { retry_after, .. }) => Some(*retry_after),
            // The journal's queue drains with each group that reaches the disk.
            _ if self.kind() == Kind::Overloaded => Some(Duration::from_millis(100)),
            _ => None,
        }
    }

    /// For input that was refused: which field, what it was, what it may be.
    pub fn invalid(&self) -> Option<Invalid> {
        match self {
            Error::Service(ServiceError::Invalid(invalid)) => Some(invalid.clone()),
            Error::Service(ServiceError::Journal(ionveil_journal::Error::Invalid { field, value, allowed })) => {
                Some(Invalid::new(*field, value, allowed))
            }
            Error::Ingest(error) => error.invalid(),
            Error::Service(_) | Error::Io { .. } => None,
        }
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        Error::Service(invalid.into())
    }
}

impl From<ionveil_journal::Error> for Error {
    fn from(error: ionveil_journal::Error) -> Self {
        Error::Service(error.into())
    }
}
