//! `ionveil compliance`

use std::process::ExitCode;

use ionveil::Span;
use ionveil::field::{ComplianceGroup, ComplianceReport, RequirementReport, Standard};
use ionveil::journal::Position;
use pollster::block_on;

use super::failure::Failure;
use super::output::{Output, number, table};
use super::place::Place;
use super::progress::Progress;
use super::time;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ionveil compliance --org sffd
  ionveil --json compliance --org sffd --standard nhs-arp-2017 --start 2013-08-01T00:00:00Z --end latest
  ionveil compliance --org sffd --standard ./ours.toml --by region

All that was ever recorded is looked at, also what retention has forgotten, unless --start and --end bound it. Intervals
other than the response time need unit times in the dispatches' metadata: docs/analytics-field.md.")]
pub(super) struct Args {
    /// Whose dispatches.
    #[arg(long)]
    org: String,
    /// A standard that `ionveil standards` lists, or the path of a .toml file with one.
    #[arg(long, value_name = "S", default_value = "recorded")]
    standard: String,
    /// What to tell responses apart by: severity, region or unit_type.
    #[arg(long, value_name = "D", default_value = "severity")]
    by: String,
    /// First instant; by default the first dispatch there is.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    start: Option<String>,
    /// First instant after; by default after the last dispatch there is.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    end: Option<String>,
    /// On what was known at that position of the journal.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    at_position: Option<u64>,
}

pub(super) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    let org = args.org.parse()?;
    let by = args.by.parse()?;
    let standard = Standard::find(&args.standard)?;
    let span = span(args.start.as_deref(), args.end.as_deref(), args.at_position)?;
    let performance = place.open_to_ask()?.field_performance();
    let working = Progress::waiting("reading the journal");
    let report = block_on(performance.compliance(&org, standard, by, span))?;
    drop(working);
    output.document(&report, for_people)?;
    Ok(ExitCode::SUCCESS)
}

/// The span that options name.
pub(super) fn span(start: Option<&str>, end: Option<&str>, at_position: Option<u64>) -> Result<Span, Failure> {
    Ok(Span {
        start: time::parse_optional("start", start)?,
        end: time::parse_optional("end", end)?,
        at_position: at_position.map(Position::new),
    })
}

fn for_people(report: &ComplianceReport) -> String {
    let standard = &report.standard;
    let mut text = format!(
        "{}\n{} {}, figures checked on {}\n",
        standard.title, standard.publisher, standard.edition, standard.checked
    );
    if !standard.note.is_empty() {
        text = format!("{text}{}\n", standard.note);
    }
    for requirement in &report.requirements {
        text = format!("{text}\n{}\n", requirement_for_people(requirement));
    }
    text
}

fn requirement_for_people(report: &RequirementReport) -> String {
    let requirement = &report.requirement;
    let target = requirement.within_seconds.map_or("its own target".to_owned(), |seconds| format!("{seconds} s"));
    let mean = requirement.mean_seconds.map_or(String::new(), |seconds| format!(", mean at most {seconds} s"));
    let heading = format!("{}: {} % within {target}{mean}", requirement.what, requirement.percent);
    let percent = |share: Option<f64>| share.map_or("–".to_owned(), |share| format!("{:.1} %", 100.0 * share));
    let row = |group: &ComplianceGroup| {
        let which = group.dimensions.iter().map(|(name, value)| format!("{name} {value}")).next();
        let verdict = match (group.met, group.conclusive) {
            (None, _) => "no samples",
            (Some(true), Some(true)) => "met",
            (Some(true), _) => "met, not certain",
            (Some(false), Some(true)) => "missed",
            (Some(false), _) => "missed, not certain",
        };
        let mean_verdict = if group.mean_met == Some(false) { "; mean missed" } else { "" };
        [
            which.unwrap_or_else(|| "all".to_owned()),
            group.sample_count.to_string(),
            percent(group.share),
            format!("{} to {}", percent(group.share_low), percent(group.share_high)),
            number(group.fractile_minutes),
            number(group.mean_minutes),
            format!("{verdict}{mean_verdict}"),
        ]
    };
    let fractile = format!("p{} min", requirement.percent);
    let headings = ["of", "samples", "within", "95 % interval", &fractile, "mean min", "demand"];
    let table = table(headings, report.groups.iter().map(row));
    match (report.missing, report.unusable) {
        (0, 0) => format!("{heading}\n{table}"),
        (missing, unusable) => {
            format!("{heading}\n{table}\nnot measured: {missing} without times, {unusable} with unusable ones")
        }
    }
}
