//! `ionveil utilisation`

use std::process::ExitCode;

use ionveil::Invalid;
use ionveil::field::{StaffedHours, UnitTypeUtilisation, UtilisationReport};
use pollster::block_on;

use super::compliance::span;
use super::failure::Failure;
use super::output::{Output, number, table};
use super::place::Place;
use super::progress::Progress;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ionveil utilisation --org sffd --start -7d
  ionveil --json utilisation --org sffd --start -7d --end now --staffed MEDIC=1680 --staffed ENGINE=7056

Needs unit_id, dispatched_at and available_at in the dispatches' metadata: docs/analytics-field.md.")]
pub(super) struct Args {
    /// Whose units.
    #[arg(long)]
    org: String,
    /// Hours that the units of a type were on duty in the span, all together. May be repeated. A type without is taken to
    /// have been on duty with every unit that was dispatched, for the whole span.
    #[arg(long, value_name = "TYPE=HOURS")]
    staffed: Vec<String>,
    /// First instant; by default when the first unit was dispatched.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    start: Option<String>,
    /// First instant after; by default when the last unit was free again.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    end: Option<String>,
    /// On what was known at that position of the journal.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    at_position: Option<u64>,
}

pub(super) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    let org = args.org.parse()?;
    let mut staffed = StaffedHours::default();
    for pair in &args.staffed {
        let parsed = pair.rsplit_once('=').and_then(|(unit_type, hours)| Some((unit_type, hours.parse().ok()?)));
        let (unit_type, hours) =
            parsed.ok_or_else(|| Invalid::new("staffed", pair, "TYPE=HOURS, such as MEDIC=1680"))?;
        staffed = staffed.with(unit_type, hours)?;
    }
    let span = span(args.start.as_deref(), args.end.as_deref(), args.at_position)?;
    let performance = place.open_to_ask()?.field_performance();
    let working = Progress::waiting("reading the journal");
    let report = block_on(performance.utilisation(&org, staffed, span))?;
    drop(working);
    output.document(&report, for_people)?;
    Ok(ExitCode::SUCCESS)
}

fn for_people(report: &UtilisationReport) -> String {
    let row = |(unit_type, found): (&String, &UnitTypeUtilisation)| {
        let given = if found.unit_hours_given { "" } else { " (assumed)" };
        [
            unit_type.clone(),
            found.units.to_string(),
            found.responses.to_string(),
            number(Some(found.busy_hours)),
            format!("{}{given}", number(Some(found.unit_hours))),
            number(Some(found.utilisation)),
            number(Some(found.responses_per_unit_hour)),
        ]
    };
    let headings = ["unit type", "units", "responses", "busy h", "on duty h", "UHU", "responses per h"];
    let mut text = match (report.start, report.end) {
        (Some(start), Some(end)) => format!("{start} to {end}\n{}", table(headings, report.unit_types.iter().map(row))),
        _ => "no dispatch has a unit with times".to_owned(),
    };
    if (report.missing, report.unusable) != (0, 0) {
        text = format!(
            "{text}\nnot measured: {} without unit or times, {} with unusable times",
            report.missing, report.unusable
        );
    }
    text
}
