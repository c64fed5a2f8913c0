//! `ionveil metric`

use std::process::ExitCode;

use ionveil::Invalid;
use ionveil::dispatch::{AggregatedMetric, Dimensions, GetMetric};
use ionveil::journal::Position;
use pollster::block_on;

use super::failure::Failure;
use super::output::{Output, number, table};
use super::place::Place;
use super::progress::Progress;
use super::time;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ionveil metric --org sffd --metric response_time --window 1h --agg p90 --start -1d
  ionveil --json metric --org sffd --metric sla_compliance --window all --agg avg --dim region=B04 \\
      --start 2013-08-01T00:00:00Z --end latest

Times are RFC 3339, now, latest (just after the org's latest event) or -1h (from now). The windows are whole: from the one
that holds --start to the one that holds the last instant before --end. --as-of takes the place of now, also in -1h.")]
pub(super) struct Args {
    /// Whose dispatches.
    #[arg(long)]
    org: String,
    /// response_time, distance, sla_compliance or dispatch_count.
    #[arg(long)]
    metric: String,
    /// sum, count, avg, p50, p90, p95, p99, min or max.
    #[arg(long)]
    agg: String,
    #[command(flatten)]
    which: Which,
}

/// Which dispatches, in which windows, as known when.
#[derive(Debug, clap::Args)]
pub(super) struct Which {
    /// 1m, 5m, 15m, 1h, 6h, 1d or all.
    #[arg(long)]
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
    /// List windows without samples also where they have no value.
    #[arg(long)]
    include_empty: bool,
    /// Ask as if it were then, on all that is known now.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    as_of: Option<String>,
    /// Ask on what was known at that position of the journal.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    at_position: Option<u64>,
}

pub(super) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    let answer = args.which.ask(&args.org, &[&args.metric], &[&args.agg], place)?;
    output.document(&answer, |answer| metrics_table(answer))?;
    Ok(ExitCode::SUCCESS)
}

impl Which {
    /// Asks for every metric in every aggregation, one answer after the other.
    pub(super) fn ask(
        &self,
        org: &str,
        metrics: &[&String],
        aggregations: &[&String],
        place: &Place,
    ) -> Result<Vec<AggregatedMetric>, Failure> {
        let org = org.parse()?;
        let mut dimensions = Dimensions::any();
        for pair in &self.dim {
            let (name, value) =
                pair.split_once('=').ok_or_else(|| Invalid::new("dim", pair, "name=value, such as region=B04"))?;
            dimensions = dimensions.with(name, value)?;
        }
        let mut questions = Vec::new();
        for metric in metrics {
            for aggregation in aggregations {
                questions.push(GetMetric {
                    metric: metric.parse()?,
                    window: self.window.parse()?,
                    aggregation: aggregation.parse()?,
                    dimensions: dimensions.clone(),
                    start: time::parse_optional("start", self.start.as_deref())?,
                    end: time::parse_optional("end", self.end.as_deref())?,
                    as_of: time::parse_optional("as_of", self.as_of.as_deref())?,
                    include_empty: self.include_empty,
                });
            }
        }
        let aggregator = place.open_to_ask()?.dispatch_aggregator();
        let _working = Progress::waiting("replaying");
        let mut answers = Vec::new();
        for question in questions {
            answers.extend(match self.at_position {
                None => block_on(aggregator.get_metric(&org, question))?,
                Some(position) => block_on(aggregator.get_metric_at(&org, Position::new(position), question))?,
            });
        }
        Ok(answers)
    }
}

/// Metrics for people, one a row.
pub(super) fn metrics_table(metrics: &[AggregatedMetric]) -> String {
    if metrics.is_empty() {
        return "nothing in these windows".into();
    }
    let row = |metric: &AggregatedMetric| {
        let dimensions: Vec<String> = metric.dimensions.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let name = format!("{} {}", metric.metric_name, metric.aggregation);
        let samples = metric.sample_count.to_string();
        [metric.window_start.to_string(), name, dimensions.join(" "), number(metric.value), samples]
    };
    table(["window start", "metric", "dimensions", "value", "samples"], metrics.iter().map(row))
}
