//! `ionveil pattern`, and the `--pattern` of other commands: a file, or a generator.

use std::process::ExitCode;
use std::sync::Arc;

use ionveil::ingest::{Source, read_pattern};
use ionveil::simulation::{Cancel, GenerateError, Generator, PatternSource, PreparedPattern, SYNTAX};
use ionveil::{FailurePattern, Invalid};

use super::failure::Failure;
use super::output::{Output, table};
use super::progress::Progress;

/// What `--help` says of patterns.
pub(super) const PATTERN_HELP: &str = "A pattern is a file, JSON {\"pattern_id\", \"description\", \"events\": [[seconds, true or false], …]} or CSV with the
columns offset_seconds,is_success (- is standard input), or a generator:
  constant:rate=0.2,duration=3600,eps=1           even; eps is events per second
  burst:size=3,interval=60,duration=3600          the first 3 of every 60 seconds fail
  cascading:initial=0.05,factor=2,recovery=300,duration=900
each with ,seed=42 for its random form; and bursty ones, which need a seed:
  hawkes:rate=0.25,branching=0.8,decay=0.1,duration=3600,successes=1,seed=42
  gilbert:to_bad=0.01,to_good=0.1,good=0.02,bad=0.8,duration=3600,eps=1,seed=42
  daily:rate=0.05,amplitude=0.8,peak=14,duration=86400,successes=1,seed=42";

#[derive(Debug, clap::Args)]
#[command(after_help = format!("Example:\n  ionveil --json pattern burst:size=3,interval=60,duration=300 > bursts.json\n\n{PATTERN_HELP}"))]
pub(super) struct Args {
    /// A file or a generator.
    #[arg(value_name = "P")]
    pattern: String,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    let pattern = load(&args.pattern)?;
    output.document(&*pattern, for_people)?;
    Ok(ExitCode::SUCCESS)
}

/// The pattern as it is recorded: of a generator only its rule.
pub(super) fn source(text: &str) -> Result<PatternSource, Failure> {
    match generator(text)? {
        Some(generator) => Ok(generator.into()),
        None => {
            let _working = Progress::waiting("reading the pattern");
            let file: Source = text.parse().unwrap_or(Source::Stdin);
            Ok(read_pattern(&file)?.into())
        }
    }
}

/// The generator of a text; `None` when it is a file.
pub(super) fn generator(text: &str) -> Result<Option<Generator>, Invalid> {
    let is_rule = text.split_once(':').is_some_and(|(name, _)| SYNTAX.iter().any(|(known, _)| *known == name));
    let is_no_file = text.contains(':') && !std::path::Path::new(text).exists();
    if is_rule || is_no_file { text.parse().map(Some) } else { Ok(None) }
}

/// The pattern with its events.
pub(super) fn load(text: &str) -> Result<Arc<FailurePattern>, Failure> {
    match source(text)? {
        PatternSource::Given(pattern) => Ok(pattern),
        PatternSource::Generated(generator) => match generator.generate(&Cancel::default()) {
            Ok(pattern) => Ok(Arc::new(pattern)),
            Err(GenerateError::Invalid(invalid)) => Err(invalid.into()),
            Err(GenerateError::Cancelled(_)) => unreachable!("nobody has the flag"),
        },
    }
}

/// A pattern for runs of that duration; says on stderr what they leave out.
pub(super) fn prepare(pattern: &FailurePattern, duration_seconds: u64) -> PreparedPattern {
    let prepared =
        PreparedPattern::new(&pattern.events, duration_seconds, &Cancel::default()).expect("nobody has the flag");
    warn_of_ignored(prepared.ignored(), pattern.events.len() as u64, duration_seconds);
    prepared
}

/// Says on stderr that events were left out.
pub(super) fn warn_of_ignored(ignored: u64, events: u64, duration_seconds: u64) {
    if ignored > 0 {
        eprintln!(
            "warning: {ignored} of {events} events are ignored, since they lie at or after the duration of {duration_seconds} s; \
             --duration says how long the simulation lasts"
        );
    }
}

fn for_people(pattern: &FailurePattern) -> String {
    const SHOWN_MAX: usize = 20;
    let failures = pattern.events.iter().filter(|(_, is_success)| !is_success).count();
    let last = pattern.events.iter().map(|(offset, _)| *offset).max().unwrap_or_default();
    let rows = pattern.events.iter().take(SHOWN_MAX).map(|(offset, is_success)| {
        [offset.to_string(), if *is_success { "success".into() } else { "failure".into() }]
    });
    let more = match pattern.events.len().saturating_sub(SHOWN_MAX) {
        0 => String::new(),
        more => format!("\n… and {more} more; --json has them all"),
    };
    format!(
        "{}\n{}\n{} events, {failures} failures, the last at {last} s\n\n{}{more}",
        pattern.pattern_id,
        pattern.description,
        pattern.events.len(),
        table(["offset s", "outcome"], rows)
    )
}
