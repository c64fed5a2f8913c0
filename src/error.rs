//! The one error of this crate.

use std::io;

use ionveil_actors::error::{Invalid, Kind};

use crate::ingest;

/// Why IonVeil did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A service refused or could not answer.
    #[error(transparent)]
    Service(#[from] ionveil_actors::error::Error),
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

    /// For input that was refused: which field, what it was, what it may be.
    pub fn invalid(&self) -> Option<Invalid> {
        use ionveil_actors::error::Error as Service;
        match self {
            Error::Service(Service::Invalid(invalid)) => Some(invalid.clone()),
            Error::Service(Service::Journal(ionveil_journal::Error::Invalid { field, value, allowed })) => {
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
