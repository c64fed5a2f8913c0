//! `ionveil snapshot`

use std::process::ExitCode;

use ionveil::dispatch::DashboardSnapshot;
use ionveil::journal::Position;
use pollster::block_on;

use super::failure::Failure;
use super::metric::metrics_table;
use super::output::{Output, number};
use super::place::Place;
use super::progress::Progress;
use super::time;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ionveil snapshot --org sffd --as-of latest
  ionveil --json snapshot --org sffd --as-of 2013-12-31T23:00:00Z --at-position 4000

Covers the 60 whole minutes up to the one that holds the last instant before --as-of.")]
pub(super) struct Args {
    /// Whose dashboard.
    #[arg(long)]
    org: String,
    /// Event time: as of then, on all that is known now. Now by default.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    as_of: Option<String>,
    /// On what was known at that position of the journal.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    at_position: Option<u64>,
}

pub(super) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    let org = args.org.parse()?;
    let as_of = time::parse_optional("as_of", args.as_of.as_deref())?;
    let aggregator = place.open_to_ask()?.dispatch_aggregator();
    let working = Progress::waiting("replaying");
    let snapshot = match args.at_position {
        None => block_on(aggregator.get_dashboard_snapshot(&org, as_of))?,
        Some(position) => block_on(aggregator.get_dashboard_snapshot_at(&org, Position::new(position), as_of))?,
    };
    drop(working);
    output.document(&snapshot, for_people)?;
    Ok(ExitCode::SUCCESS)
}

fn for_people(snapshot: &DashboardSnapshot) -> String {
    format!(
        "{} as of {}\n{} active, {} pending, {:.1} % within target, {} minutes on average\n\n{}",
        snapshot.org_id,
        snapshot.timestamp,
        snapshot.active_dispatches,
        snapshot.pending_dispatches,
        100.0 * snapshot.sla_compliance_rate,
        number(snapshot.average_response_time),
        metrics_table(&snapshot.metrics),
    )
}
