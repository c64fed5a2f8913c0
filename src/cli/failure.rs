//! What goes wrong, as a sentence or as JSON, and the exit code for it.

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use ionveil::{Error, Invalid, Kind};
use serde_json::json;

/// Why a command ends without having done what was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// The library says why.
    Ionveil(Error),
    /// Nobody reads what is printed any more, as with `| head`. Not worth a word.
    PipeClosed,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Ionveil(error)
    }
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Failure::Ionveil(invalid.into())
    }
}

impl From<ionveil::ingest::Error> for Failure {
    fn from(error: ionveil::ingest::Error) -> Self {
        Failure::Ionveil(error.into())
    }
}

impl From<std::io::Error> for Failure {
    /// Of writing to stdout.
    fn from(source: std::io::Error) -> Self {
        match source.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::PipeClosed,
            _ => Failure::Ionveil(Error::Io { doing: "writing to stdout".into(), source }),
        }
    }
}

impl Failure {
    /// Prints the failure to stderr and gives its exit code.
    pub(super) fn report(self, as_json: bool) -> ExitCode {
        let error = match self {
            Failure::PipeClosed => return ExitCode::SUCCESS,
            Failure::Ionveil(error) => error,
        };
        if as_json {
            print_json(error.kind(), &with_sources(&error), error.invalid().as_ref());
        } else {
            eprintln!("error: {}", with_sources(&error));
        }
        exit_code(error.kind())
    }
}

fn exit_code(kind: Kind) -> ExitCode {
    ExitCode::from(match kind {
        Kind::NotFound | Kind::Conflict | Kind::Corrupt => 1,
        Kind::Invalid => 2,
        _ => 3,
    })
}

fn print_json(kind: Kind, message: &str, invalid: Option<&Invalid>) {
    let mut error = json!({ "kind": kind.as_str(), "message": message });
    if let Some(Invalid { field, value, allowed }) = invalid {
        error["field"] = json!(field);
        error["value"] = json!(value);
        error["allowed"] = json!(allowed);
    }
    eprintln!("{}", json!({ "error": error }));
}

/// An error with its causes, unless its own text has them already.
fn with_sources(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// A command line that is not understood, or that asks for help.
pub(super) fn of_usage(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return match error.print() {
            Err(source) if source.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::from(3),
            _ => ExitCode::SUCCESS,
        };
    }
    eprint!("{}", error.render());
    if std::env::args_os().any(|argument| argument == "--json") {
        print_json(Kind::Invalid, &usage_message(error), invalid_of(error).as_ref());
    }
    ExitCode::from(2)
}

fn is_command_missing(error: &clap::Error) -> bool {
    matches!(error.kind(), ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand)
}

/// The first paragraph of what clap says, on one line; the others are about usage in general.
fn usage_message(error: &clap::Error) -> String {
    if is_command_missing(error) {
        return "a command is missing, see --help".into();
    }
    let rendered = error.to_string();
    let lines: Vec<&str> = rendered.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}

fn invalid_of(error: &clap::Error) -> Option<Invalid> {
    if is_command_missing(error) {
        return Some(Invalid::new("COMMAND", "missing", "one of those that --help lists"));
    }
    let text = |kind| match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => Some(texts.join(", ")).filter(|text| !text.is_empty()),
        _ => None,
    };
    let argument = text(ContextKind::InvalidArg).or_else(|| text(ContextKind::InvalidSubcommand))?;
    let field =
        argument.trim_start_matches(['-', '<']).split([' ', '=', '>']).next().unwrap_or_default().replace('-', "_");
    let value = text(ContextKind::InvalidValue).unwrap_or_else(|| match error.kind() {
        ErrorKind::MissingRequiredArgument => "missing".into(),
        _ => argument.clone(),
    });
    // An option at the very end, without a value after it.
    let value = if error.kind() == ErrorKind::InvalidValue && value.is_empty() { "missing".into() } else { value };
    let allowed = text(ContextKind::ValidValue)
        .or_else(|| std::error::Error::source(error).map(|cause| expectation(&cause.to_string())))
        .unwrap_or_else(|| "see --help".into());
    Some(Invalid::new(field, value, allowed))
}

/// What a number may be, from what the standard library says of one that it cannot read.
fn expectation(cause: &str) -> String {
    let expected = match cause {
        "invalid digit found in string" | "cannot parse integer from empty string" => "a whole number, 0 or more",
        "number too large to fit in target type" => "a smaller whole number",
        "number too small to fit in target type" => "a larger whole number",
        "invalid float literal" | "cannot parse float from empty string" => "a number",
        // Of a number that is out of range: the number, which is told apart, then the range.
        other => other.split_once(" is not in ").map_or(other, |(_, range)| range),
    };
    expected.to_owned()
}
