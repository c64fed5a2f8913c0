//! `ionveil export`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ionveil::dispatch::AggregatedMetric;
use ionveil::domain::OrgId;
use ionveil::export::{OrgMetrics, write_csv, write_jsonl, write_openmetrics};
use ionveil::journal::{Position, StreamId};
use ionveil::{Error, Invalid, Kind};
use pollster::block_on;
use serde::Serialize;

use super::failure::Failure;
use super::metric::Which;
use super::output::Output;
use super::place::Place;
use super::progress::Progress;
use super::time;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Metrics over time windows, a row each.
    Metrics(MetricsArgs),
    /// Snapshots as OpenMetrics text, as Prometheus scrapes it.
    Openmetrics(OpenmetricsArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ionveil export metrics --org sffd --metric response_time --metric distance --agg avg --agg p90 --window 1d \\
      --start 2013-08-01T00:00:00Z --end latest --format csv > days.csv
  ionveil export metrics --org sffd --metric dispatch_count --agg count --window 1h --start -7d --format parquet --to week.parquet

Every metric in every aggregation, one answer after the other, oldest window first. Which windows are listed is as with
`ionveil metric`. With --json, --to is needed: the data goes to the file, and one document on stdout says what is in it.")]
pub(super) struct MetricsArgs {
    /// Whose dispatches.
    #[arg(long)]
    org: String,
    /// response_time, distance, sla_compliance or dispatch_count. May be repeated.
    #[arg(long, required = true)]
    metric: Vec<String>,
    /// sum, count, avg, p50, p90, p95, p99, min or max. May be repeated.
    #[arg(long, required = true)]
    agg: Vec<String>,
    #[command(flatten)]
    which: Which,
    /// csv, jsonl or parquet.
    #[arg(long)]
    format: String,
    /// The file, made anew; without it standard output.
    #[arg(long, value_name = "F")]
    to: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ionveil export openmetrics --org sffd --org oakfd
  ionveil export openmetrics --org sffd --as-of latest --timestamps

Figures of the 60 whole minutes up to --as-of, in seconds and meters. The text ends with # EOF.")]
pub(super) struct OpenmetricsArgs {
    /// Whose snapshot. May be repeated.
    #[arg(long, required = true)]
    org: Vec<String>,
    /// Event time: as of then, on all that is known now. Now by default.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    as_of: Option<String>,
    /// On what was known at that position of the journal.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    at_position: Option<u64>,
    /// Give each sample the instant of its snapshot, as an import of the past needs it.
    #[arg(long)]
    timestamps: bool,
    /// The file, made anew; without it standard output.
    #[arg(long, value_name = "F")]
    to: Option<PathBuf>,
}

/// What was written where.
#[derive(Serialize)]
struct Written {
    file: String,
    format: String,
    rows: u64,
    bytes: u64,
}

pub(super) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    match command {
        Command::Metrics(args) => metrics(args, place, output),
        Command::Openmetrics(args) => openmetrics(args, place, output),
    }
}

fn metrics(args: &MetricsArgs, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    let format = Format::of(&args.format, args.to.as_deref())?;
    check_target(args.to.as_deref(), output)?;
    let metrics: Vec<&String> = args.metric.iter().collect();
    let aggregations: Vec<&String> = args.agg.iter().collect();
    let rows = args.which.ask(&args.org, &metrics, &aggregations, place)?;
    let bytes = format.write(&rows)?;
    deliver(&bytes, rows.len() as u64, &args.format, args.to.as_deref(), output)
}

fn openmetrics(args: &OpenmetricsArgs, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    check_target(args.to.as_deref(), output)?;
    let as_of = time::parse_optional("as_of", args.as_of.as_deref())?;
    let mut orgs: Vec<OrgId> = args.org.iter().map(|org| org.parse()).collect::<Result<_, Invalid>>()?;
    orgs.sort_unstable();
    orgs.dedup();
    let ionveil = place.open_to_ask()?;
    let (aggregator, audit) = (ionveil.dispatch_aggregator(), ionveil.audit());
    let working = Progress::waiting("replaying");
    let mut found = Vec::new();
    for org in &orgs {
        let snapshot = match args.at_position {
            None => block_on(aggregator.get_dashboard_snapshot(org, as_of))?,
            Some(position) => block_on(aggregator.get_dashboard_snapshot_at(org, Position::new(position), as_of))?,
        };
        let stream: StreamId = format!("dispatch/{org}").parse().map_err(Error::from)?;
        let journaled = match audit.stream_len(&stream) {
            Err(error) if error.kind() == Kind::NotFound => 0,
            length => length?,
        };
        found.push((snapshot, journaled));
    }
    drop(working);
    let exposed: Vec<OrgMetrics<'_>> =
        found.iter().map(|(snapshot, journaled)| OrgMetrics { snapshot, journaled_events: *journaled }).collect();
    let mut bytes = Vec::new();
    let samples = write_openmetrics(&exposed, args.timestamps, &mut bytes)?;
    deliver(&bytes, samples, "openmetrics", args.to.as_deref(), output)
}

/// The forms of rows.
enum Format {
    Csv,
    Jsonl,
    #[cfg(feature = "parquet")]
    Parquet,
}

impl Format {
    fn of(name: &str, to: Option<&Path>) -> Result<Self, Invalid> {
        match name {
            "csv" => Ok(Format::Csv),
            "jsonl" => Ok(Format::Jsonl),
            #[cfg(feature = "parquet")]
            "parquet" if to.is_none() => {
                Err(Invalid::new("to", "missing", "a file, as Parquet is nothing for a terminal"))
            }
            #[cfg(feature = "parquet")]
            "parquet" => Ok(Format::Parquet),
            #[cfg(not(feature = "parquet"))]
            "parquet" => {
                let _ = to;
                Err(Invalid::new("format", name, "csv, jsonl; parquet in a binary built with --features parquet"))
            }
            _ => Err(Invalid::new("format", name, "csv, jsonl, parquet")),
        }
    }

    fn write(&self, rows: &[AggregatedMetric]) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self {
            Format::Csv => write_csv(rows, &mut bytes)?,
            Format::Jsonl => write_jsonl(rows, &mut bytes)?,
            #[cfg(feature = "parquet")]
            Format::Parquet => ionveil::export::write_parquet(rows, &mut bytes)?,
        }
        Ok(bytes)
    }
}

/// `--json` promises one document on stdout, which leaves no room for the data.
fn check_target(to: Option<&Path>, output: &Output) -> Result<(), Invalid> {
    if output.is_json() && to.is_none() {
        return Err(Invalid::new("to", "missing", "a file, as --json prints one document on stdout"));
    }
    Ok(())
}

fn deliver(bytes: &[u8], rows: u64, format: &str, to: Option<&Path>, output: &mut Output) -> Result<ExitCode, Failure> {
    let Some(to) = to else {
        output.raw(bytes)?;
        return Ok(ExitCode::SUCCESS);
    };
    let file = to.display().to_string();
    std::fs::write(to, bytes).map_err(|source| Error::Io { doing: format!("writing {file}"), source })?;
    let written = Written { file, format: format.to_owned(), rows, bytes: bytes.len() as u64 };
    output.document(&written, |written| format!("{} rows to {}", written.rows, written.file))?;
    Ok(ExitCode::SUCCESS)
}
