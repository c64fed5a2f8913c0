//! `ionveil regions`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use ionveil::dispatch::RegionSummary;
use pollster::block_on;

use super::drawing;
use super::failure::Failure;
use super::output::{Output, number, table};
use super::place::Place;
use super::progress::Progress;
use super::time;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ionveil regions --org sffd --start 2013-08-01T00:00:00Z --end latest
  ionveil regions --org sffd --start -1d --svg regions.svg --geojson regions.geojson")]
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
    /// Draw the regions as a map into this file as SVG: discs in the middle of what is located.
    #[arg(long, value_name = "F")]
    svg: Option<PathBuf>,
    /// Write the regions into this file as GeoJSON points.
    #[arg(long, value_name = "F")]
    geojson: Option<PathBuf>,
}

pub(super) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    let org = args.org.parse()?;
    let start = time::parse_optional("start", args.start.as_deref())?;
    let end = time::parse_optional("end", args.end.as_deref())?;
    let breakdown = place.open_to_ask()?.geographic_breakdown();
    let working = Progress::waiting("replaying");
    let regions = block_on(breakdown.get_regional_summary(&org, start, end))?;
    if args.svg.is_some() || args.geojson.is_some() {
        let map = block_on(breakdown.get_region_map(&org, start, end))?;
        if let Some(path) = &args.svg {
            drawing::write(path, &drawing::regions_svg(&map))?;
        }
        if let Some(path) = &args.geojson {
            drawing::write(path, &drawing::regions_geojson(&map).to_string())?;
        }
    }
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
