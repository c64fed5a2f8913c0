//! `ionveil counterfactual`

use std::path::PathBuf;
use std::process::ExitCode;

use ionveil::domain::OrgId;
use ionveil::ingest::{Source, read_scenario};
use ionveil::simulation::{CounterfactualReport, SpanSummary};
use pollster::block_on;

use super::failure::Failure;
use super::output::{Output, table};
use super::place::Place;
use super::policy::instant_optional;
use super::progress::Progress;
use super::simulate::SCENARIO_HELP;

#[derive(Debug, clap::Args)]
#[command(after_help = format!("Example:
  ionveil counterfactual --org sffd --scenario examples/calm.json --from 2005-12-04T00:00:00Z --to latest

An open-loop replay: the outcomes are taken as they were recorded; had the policy been different, later outcomes might have
been too. The proposed policy starts where the real one was at --from, with nothing counted.\n\n{SCENARIO_HELP}"))]
pub(super) struct Args {
    /// Whose outcomes.
    #[arg(long)]
    org: String,
    /// The proposed policy: a JSON file.
    #[arg(long, value_name = "F")]
    scenario: PathBuf,
    /// First instant; that of the first outcome by default: RFC 3339, now, latest or -1h.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    from: Option<String>,
    /// First instant after; just after the last outcome by default.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    to: Option<String>,
}

pub(super) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    let org: OrgId = args.org.parse()?;
    let scenario = read_scenario(&Source::from(args.scenario.as_path()))?;
    scenario.check()?;
    let ionveil = place.open_to_ask()?;
    let engine = ionveil.policy_engine();
    let from = instant_optional(&engine, &org, "from", args.from.as_deref())?;
    let to = instant_optional(&engine, &org, "to", args.to.as_deref())?;
    let working = Progress::waiting("replaying");
    let report = block_on(ionveil.policy_simulator().counterfactual(&org, &scenario, from, to))?;
    drop(working);
    output.document(&report, for_people)?;
    Ok(ExitCode::SUCCESS)
}

fn for_people(report: &CounterfactualReport) -> String {
    const SHOWN_MAX: usize = 20;
    let summary = &report.summary;
    let column = |of: &SpanSummary| {
        let percent = |share: f64| format!("{:.2}", 100.0 * share);
        [
            of.scenario.clone(),
            of.initial_policy.to_string(),
            of.final_policy.to_string(),
            of.total_escalations.to_string(),
            of.total_deescalations.to_string(),
            percent(of.measures.sla_compliance_rate),
            percent(of.measures.last_policy_share),
            percent(of.measures.elevated_share),
            percent(of.measures.exposure),
        ]
    };
    let names = [
        "scenario",
        "starts at",
        "ends at",
        "up",
        "down",
        "compliant %",
        "in last %",
        "elevated %",
        "failures at first %",
    ];
    let rows = names.into_iter().zip(column(&summary.real)).zip(column(&summary.proposed));
    let figures = table(["", "real", "proposed"], rows.map(|((name, real), proposed)| [name.into(), real, proposed]));
    let mut lines: Vec<String> = report
        .differences
        .iter()
        .take(SHOWN_MAX)
        .map(|difference| {
            format!(
                "position {} outcome {}, {}: {}",
                difference.position,
                difference.outcome,
                difference.at,
                difference.because()
            )
        })
        .collect();
    if report.differences.len() > SHOWN_MAX {
        lines.push(format!("… and {} more; --json has them all", report.differences.len() - SHOWN_MAX));
    }
    let manual = report.manual.iter().map(|record| {
        let user = record.user.as_deref().map(|user| format!(" by {user}")).unwrap_or_default();
        format!(
            "position {}, {}: {} {} → {}{user}: {}",
            record.position, record.at, record.action, record.from, record.to, record.reason
        )
    });
    let manual: Vec<String> = manual.collect();
    let manual = if manual.is_empty() {
        String::new()
    } else {
        format!("\n\nby hand, not applied to the proposed policy:\n{}", manual.join("\n"))
    };
    format!(
        "{} outcomes, {} failures, {} differences\n\n{figures}\n\n{}{manual}\n\n{}",
        summary.outcomes,
        summary.failures,
        summary.differences,
        lines.join("\n"),
        summary.note
    )
}
