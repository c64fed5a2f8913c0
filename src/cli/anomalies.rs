//! `ionveil anomalies`

use std::process::ExitCode;

use ionveil::DetectAnomalies;
use ionveil::dispatch::{Anomaly, SENSITIVITY_DEFAULT};
use ionveil::domain::OutlierTest;
use pollster::block_on;

use super::failure::Failure;
use super::output::{Output, number, table};
use super::place::Place;
use super::progress::Progress;
use super::time;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ionveil anomalies --org sffd --metric response_time --window 1d --sensitivity 3
  ionveil --json anomalies --org sffd --metric dispatch_count --window 1h --poisson --start -2d --end now

A window stands out when it differs from the mean of the others by more than --sensitivity of their standard deviations.
--robust takes their median and the median distance from it, which a few wild ones do not move. --poisson asks how
improbable so high or so low a count is; between bounds that are given it sees windows without any dispatch, too.")]
pub(super) struct Args {
    /// Whose dispatches.
    #[arg(long)]
    org: String,
    /// response_time, distance, sla_compliance or dispatch_count.
    #[arg(long)]
    metric: String,
    /// 1m, 5m, 15m, 1h, 6h or 1d.
    #[arg(long)]
    window: String,
    /// How many deviations are too many; a number ≥ 0.
    #[arg(long, value_name = "X", default_value_t = SENSITIVITY_DEFAULT, allow_negative_numbers = true)]
    sensitivity: f64,
    /// Compare by median and MAD instead of mean and deviation.
    #[arg(long, conflicts_with = "poisson")]
    robust: bool,
    /// Compare counts as counts; for dispatch_count.
    #[arg(long)]
    poisson: bool,
    /// First instant; by default that of the first window that holds anything.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    start: Option<String>,
    /// First instant after; by default the last window that holds anything is the last.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    end: Option<String>,
}

pub(super) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    let org = args.org.parse()?;
    let test = match (args.robust, args.poisson) {
        (true, _) => OutlierTest::Robust,
        (_, true) => OutlierTest::Poisson,
        _ => OutlierTest::ZScore,
    };
    let question = DetectAnomalies {
        metric: args.metric.parse()?,
        window: args.window.parse()?,
        sensitivity: args.sensitivity,
        test,
        start: time::parse_optional("start", args.start.as_deref())?,
        end: time::parse_optional("end", args.end.as_deref())?,
    };
    let analyzer = place.open_to_ask()?.trend_analyzer();
    let working = Progress::waiting("replaying");
    let anomalies = block_on(analyzer.detect_anomalies(&org, question))?;
    drop(working);
    output.document(&anomalies, |anomalies| for_people(anomalies))?;
    Ok(ExitCode::SUCCESS)
}

fn for_people(anomalies: &[Anomaly]) -> String {
    if anomalies.is_empty() {
        return "no window stands out".into();
    }
    let row = |anomaly: &Anomaly| {
        let at = anomaly.timestamp.to_string();
        [at, number(Some(anomaly.value)), number(Some(anomaly.expected)), number(anomaly.z_score)]
    };
    table(["window start", "value", "expected", "deviations"], anomalies.iter().map(row))
}
