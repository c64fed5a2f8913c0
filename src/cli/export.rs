//! `ionveil export`

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use ionveil::dispatch::{AggregationType, DashboardSnapshot, Dimensions, GetMetric, Metric};
use ionveil::domain::{OrgId, TimeWindow};
use ionveil::export::{self, MetricRow};
use ionveil::{Error, IonVeil};
use pollster::block_on;

use super::failure::Failure;
use super::metric::dimensions_of;
use super::output::Output;
use super::place::Place;
use super::progress::Progress;
use super::time;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ionveil export --org sffd --metric response_time --agg p50 --agg p90 --window 1d --start 2013-08-01T00:00:00Z \\
      --end latest --format csv --out days.csv
  ionveil export --org sffd --format openmetrics

csv, jsonl and parquet have a row per window of each --metric and --agg; openmetrics has the dashboard of each --org as of
now, in base units, for a scraper.")]
pub(super) struct Args {
    /// Whose dispatches. May be repeated.
    #[arg(long, required = true)]
    org: Vec<String>,
    /// How it is written.
    #[arg(long)]
    format: Format,
    /// response_time, distance, sla_compliance or dispatch_count; all by default. May be repeated.
    #[arg(long)]
    metric: Vec<String>,
    /// sum, count, avg, p50, p90, p95, p99, min or max; the mean, or the count for dispatch_count, by default. May be repeated.
    #[arg(long)]
    agg: Vec<String>,
    /// 1m, 5m, 15m, 1h, 6h, 1d or all.
    #[arg(long, default_value = "1h")]
    window: String,
    /// Only dispatches with this region, severity or unit_type. May be repeated; all must match.
    #[arg(long, value_name = "k=v")]
    dim: Vec<String>,
    /// First instant; an hour before the end by default.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    start: Option<String>,
    /// First instant after; now by default.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    end: Option<String>,
    /// Ask as if it were then, on all that is known now.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    as_of: Option<String>,
    /// Write into this file instead of stdout.
    #[arg(long, value_name = "F")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// The OpenMetrics text format.
    Openmetrics,
    /// Apache Parquet.
    #[cfg(feature = "parquet")]
    Parquet,
}

pub(super) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    let orgs = args.org.iter().map(|org| org.parse()).collect::<Result<Vec<OrgId>, _>>()?;
    let questions = questions(args)?;
    let ionveil = place.open_to_ask()?;
    let working = Progress::waiting("replaying");
    let mut bytes = Vec::new();
    let written = match args.format {
        Format::Openmetrics => export::write_open_metrics(&snapshots(args, &ionveil, &orgs)?, &mut bytes),
        Format::Csv => export::write_csv(&rows(&ionveil, &orgs, &questions)?, &mut bytes),
        Format::Jsonl => export::write_json_lines(&rows(&ionveil, &orgs, &questions)?, &mut bytes),
        #[cfg(feature = "parquet")]
        Format::Parquet => export::write_parquet(&rows(&ionveil, &orgs, &questions)?, &mut bytes),
    };
    written.map_err(|source| Error::Io { doing: "making the export".into(), source })?;
    drop(working);
    match &args.out {
        None => output.raw(&bytes)?,
        Some(path) => {
            let file = File::create(path).map(BufWriter::new);
            file.and_then(|mut file| file.write_all(&bytes).and_then(|()| file.flush()))
                .map_err(|source| Error::Io { doing: format!("writing {}", path.display()), source })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn questions(args: &Args) -> Result<Vec<GetMetric>, Failure> {
    let dimensions: Dimensions = dimensions_of(&args.dim)?;
    let window: TimeWindow = args.window.parse()?;
    let metrics = match &args.metric[..] {
        [] => Metric::ALL.to_vec(),
        names => names.iter().map(|name| name.parse()).collect::<Result<_, _>>()?,
    };
    let aggregations = args.agg.iter().map(|name| name.parse()).collect::<Result<Vec<AggregationType>, _>>()?;
    let mut questions = Vec::new();
    for metric in metrics {
        let natural = [metric.natural_aggregation()];
        for &aggregation in if aggregations.is_empty() { &natural[..] } else { &aggregations } {
            questions.push(GetMetric {
                dimensions: dimensions.clone(),
                start: time::parse_optional("start", args.start.as_deref())?,
                end: time::parse_optional("end", args.end.as_deref())?,
                as_of: time::parse_optional("as_of", args.as_of.as_deref())?,
                ..GetMetric::new(metric, window, aggregation)
            });
        }
    }
    Ok(questions)
}

fn rows(ionveil: &IonVeil, orgs: &[OrgId], questions: &[GetMetric]) -> Result<Vec<MetricRow>, Failure> {
    let aggregator = ionveil.dispatch_aggregator();
    let mut rows = Vec::new();
    for org in orgs {
        for question in questions {
            let answer = block_on(aggregator.get_metric(org, question.clone()))?;
            rows.extend(answer.into_iter().map(|metric| MetricRow { org_id: org.clone(), metric }));
        }
    }
    Ok(rows)
}

fn snapshots(args: &Args, ionveil: &IonVeil, orgs: &[OrgId]) -> Result<Vec<DashboardSnapshot>, Failure> {
    let aggregator = ionveil.dispatch_aggregator();
    let as_of = time::parse_optional("as_of", args.as_of.as_deref())?;
    let snapshot = |org: &OrgId| Ok(block_on(aggregator.get_dashboard_snapshot(org, as_of))?);
    orgs.iter().map(snapshot).collect()
}
