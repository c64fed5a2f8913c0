//! `ionveil regions`

use std::collections::BTreeMap;
use std::process::ExitCode;

use ionveil::dispatch::RegionSummary;
use pollster::block_on;

use super::failure::Failure;
use super::output::{Output, number, table};
use super::place::Place;
use super::progress::Progress;
use super::time;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  ionveil regions --org sffd --start 2013-08-01T00:00:00Z --end latest")]
pub(super) struct Args {
    /// Whose dispatches.
    #[arg(long)]
    org: String,
    /// First instant; an hour before the end by default.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    start: Option<String>,
    /// First instant after; now by default.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    end: Option<String>,
}

pub(super) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    let org = args.org.parse()?;
    let start = time::parse_optional("start", args.start.as_deref())?;
    let end = time::parse_optional("end", args.end.as_deref())?;
    let breakdown = place.open_to_ask()?.geographic_breakdown();
    let working = Progress::waiting("replaying");
    let regions = block_on(breakdown.get_regional_summary(&org, start, end))?;
    drop(working);
    output.document(&regions, regions_table)?;
    Ok(ExitCode::SUCCESS)
}

/// Regions for people, one a row.
pub(super) fn regions_table(regions: &BTreeMap<String, RegionSummary>) -> String {
    let row = |(region, summary): (&String, &RegionSummary)| {
        [
            region.clone(),
            summary.dispatch_count.to_string(),
            number(Some(summary.avg_response)),
            number(Some(summary.p50_response)),
            number(Some(summary.p90_response)),
            format!("{:.1} %", 100.0 * summary.sla_compliance),
        ]
    };
    table(["region", "dispatches", "mean min", "p50 min", "p90 min", "within target"], regions.iter().map(row))
}
