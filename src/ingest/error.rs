//! What can be wrong with a row, with a file, and with a mapping.

use std::fmt;
use std::io;

use ionveil_actors::error::{Invalid, Kind};

/// Why one row was not turned into an event. The rows after it are not affected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {invalid}", Column(.column.as_deref()))]
pub struct Rejection {
    /// The physical line on which the row starts; counts from 1, the header of a CSV file included.
    pub line: u64,
    /// The column of the CSV file, when the fault lies in one.
    pub column: Option<String>,
    /// Field, value and what is allowed.
    pub invalid: Invalid,
}

impl Rejection {
    pub(super) fn new(line: u64, error: FieldError) -> Self {
        Rejection { line, column: error.column, invalid: error.invalid }
    }
}

/// A [`Rejection`] that does not know its row yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{invalid}")]
pub struct FieldError {
    /// The column of the CSV file, when the fault lies in one.
    pub column: Option<String>,
    /// Field, value and what is allowed.
    pub invalid: Invalid,
}

impl From<Invalid> for FieldError {
    fn from(invalid: Invalid) -> Self {
        FieldError { column: None, invalid }
    }
}

struct Column<'a>(Option<&'a str>);

impl fmt::Display for Column<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |column| write!(f, ", column {column}"))
    }
}

/// Why a file was not read, or not to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such file.
    #[error("file {name} does not exist")]
    NotFound {
        /// What the path was given as: `FILE` or `mapping`.
        field: &'static str,
        /// The path.
        name: String,
    },
    /// The path leads to a directory.
    #[error("{name} is a directory, allowed: a file")]
    NotAFile {
        /// What the path was given as: `FILE` or `mapping`.
        field: &'static str,
        /// The path.
        name: String,
    },
    /// A mapping of that size is none.
    #[error("mapping {name} is larger than {bytes_max} bytes")]
    TooLarge {
        /// The path.
        name: String,
        /// The largest there may be.
        bytes_max: u64,
    },
    /// The operating system does not hand the file out, or stopped doing so.
    #[error("file {name} cannot be read: {source}")]
    Unreadable {
        /// The path, or `standard input`.
        name: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// The gzip file is damaged, or ends too early. The rows before that spot have been handed out.
    #[error("file {name} is damaged: {source}, allowed: a whole gzip file")]
    DamagedGzip {
        /// The path, or `standard input`.
        name: String,
        /// What the decoder says.
        source: io::Error,
    },
    /// There is nothing in the file: no bytes, or no header where a CSV file has one.
    #[error("file {name} is empty, allowed: {allowed}")]
    Empty {
        /// The path, or `standard input`.
        name: String,
        /// What was expected.
        allowed: &'static str,
    },
    /// The header of the CSV file is not what the mapping, or CSV itself, asks for.
    #[error("header of {name}: {invalid}")]
    Header {
        /// The path, or `standard input`.
        name: String,
        /// The column, what is wrong with it, and the columns there are.
        invalid: Invalid,
    },
    /// The mapping does not say what it should.
    #[error(transparent)]
    BadMapping(#[from] BadMapping),
    /// A scenario or a pattern is none.
    #[error(transparent)]
    BadInput(#[from] Box<BadInput>),
}

/// The fault in a scenario or a pattern, with the place where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}{}{}: {invalid}", Place("line", *.line), Place("column", *.column))]
pub struct BadInput {
    /// The file.
    pub name: String,
    /// Line in it, when it has one; counts from 1.
    pub line: Option<u64>,
    /// Column in that line, when it is known; counts from 1.
    pub column: Option<u64>,
    /// Field, value and what is allowed.
    pub invalid: Invalid,
}

struct Place(&'static str, Option<u64>);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place(what, number) = self;
        number.map_or(Ok(()), |number| write!(f, ", {what} {number}"))
    }
}

/// One fault in a mapping file, with the place where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}:{line}:{column}: {invalid}")]
pub struct BadMapping {
    /// The mapping file.
    pub name: String,
    /// Line in it; counts from 1.
    pub line: u64,
    /// Column in that line, in characters; counts from 1.
    pub column: u64,
    /// The key, dotted as in `severity.values.E`, its value and what is allowed.
    pub invalid: Invalid,
}

impl Error {
    /// The kind, for programs: [`Kind::Unavailable`] when the operating system is in the way, else [`Kind::Invalid`].
    pub fn kind(&self) -> Kind {
        match self {
            Error::Unreadable { .. } => Kind::Unavailable,
            _ => Kind::Invalid,
        }
    }

    /// Field, value and what is allowed; `None` exactly when [`Error::kind`] is not [`Kind::Invalid`].
    pub fn invalid(&self) -> Option<Invalid> {
        match self {
            Error::Unreadable { .. } => None,
            Error::NotFound { field, name } => Some(Invalid::new(*field, name, "a file that exists")),
            Error::NotAFile { field, name } => {
                Some(Invalid::new(*field, format_args!("{name} (a directory)"), "a file"))
            }
            Error::TooLarge { name, bytes_max } => {
                Some(Invalid::new("mapping", format_args!("{name} (larger)"), format!("at most {bytes_max} bytes")))
            }
            Error::DamagedGzip { name, source } => {
                Some(Invalid::new("FILE", format_args!("{name} ({source})"), "a whole gzip file"))
            }
            Error::Empty { name, allowed } => Some(Invalid::new("FILE", format_args!("{name} (empty)"), *allowed)),
            Error::Header { invalid, .. } => Some(invalid.clone()),
            Error::BadMapping(bad) => Some(bad.invalid.clone()),
            Error::BadInput(bad) => Some(bad.invalid.clone()),
        }
    }

    pub(super) fn open(field: &'static str, name: String, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => Error::NotFound { field, name },
            io::ErrorKind::IsADirectory => Error::NotAFile { field, name },
            _ => Error::Unreadable { name, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_names_line_column_value_and_what_is_allowed() {
        let invalid = Invalid::new("severity", "\"X\"", "E, 3");
        let error = FieldError { column: Some("Priority".into()), invalid: invalid.clone() };
        let rejection = Rejection::new(7, error);
        assert_eq!(rejection.to_string(), "line 7, column Priority: severity is \"X\", allowed: E, 3");
        assert_eq!(Rejection::new(7, invalid.into()).to_string(), "line 7: severity is \"X\", allowed: E, 3");
    }

    #[test]
    fn only_the_operating_system_makes_a_file_unavailable() {
        let missing = Error::open("FILE", "a.csv".into(), io::ErrorKind::NotFound.into());
        assert_eq!(missing.kind(), Kind::Invalid);
        assert_eq!(missing.invalid(), Some(Invalid::new("FILE", "a.csv", "a file that exists")));
        let forbidden = Error::open("FILE", "a.csv".into(), io::ErrorKind::PermissionDenied.into());
        assert_eq!((forbidden.kind(), forbidden.invalid()), (Kind::Unavailable, None));
        assert_eq!(forbidden.to_string(), "file a.csv cannot be read: permission denied");
    }
}
