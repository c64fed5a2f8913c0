//! `ionveil incident`

use std::process::ExitCode;

use ionveil::IncidentCheck;
use ionveil::alerts::{CheckReport, IncidentStatus, SlaViolation};
use ionveil::dispatch::Instant;
use ionveil::domain::OrgId;
use ionveil::runtime::{Clock as _, SystemClock};
use pollster::block_on;

use super::acting::{At, when, when_optional};
use super::alert::alerts_table;
use super::failure::Failure;
use super::incident_import;
use super::output::{Output, number, table};
use super::place::Place;
use super::time;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Register an incident, or tell what is new of it, and judge it by every rule.
    #[command(after_help = "Examples:
  ionveil incident check --org sffd --incident i-1 --priority 1 --dispatch-time 2026-01-31T08:00:00Z
  ionveil incident check --org sffd --incident i-1 --priority 1 --dispatch-time 2026-01-31T08:00:00Z \\
      --arrival 2026-01-31T08:04:10Z --now 2026-01-31T08:04:10Z

A known arrival or closing stays when it is left out.")]
    Check(Check),
    /// List incidents that nobody has arrived at and that are not closed.
    #[command(after_help = "Example:\n  ionveil incident list --org sffd")]
    List {
        /// Whose.
        #[arg(long)]
        org: String,
        #[command(flatten)]
        at: At,
    },
    /// List incidents that took longer than they may.
    #[command(after_help = "Example:\n  ionveil incident violations --org sffd --from 2013-08-01T00:00:00Z")]
    Violations {
        /// Whose.
        #[arg(long)]
        org: String,
        /// Only those whose target was over at this instant or later.
        #[arg(long, value_name = "T", allow_hyphen_values = true)]
        from: Option<String>,
        /// Only those whose target was over before this instant.
        #[arg(long, value_name = "T", allow_hyphen_values = true)]
        to: Option<String>,
        #[command(flatten)]
        at: At,
    },
    /// Check incidents from files: CSV with a mapping, or NDJSON.
    Import(incident_import::Args),
}

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Whose it is.
    #[arg(long)]
    org: String,
    /// Its id.
    #[arg(long)]
    incident: String,
    /// 1 to 5, 1 is worst.
    #[arg(long, allow_negative_numbers = true)]
    priority: i64,
    /// When a unit was sent: RFC 3339, now, latest, or -1h.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    dispatch_time: String,
    /// When the first one arrived.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    arrival: Option<String>,
    /// When it was closed.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    closed: Option<String>,
    #[command(flatten)]
    at: At,
}

pub(super) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    match command {
        Command::Check(args) => check(args, place, output)?,
        Command::List { org, at } => {
            let org: OrgId = org.parse()?;
            let ionveil = place.open_to_ask()?;
            let monitor = ionveil.sla_monitor_service();
            let monitor = at.instant(&ionveil, Some(&org))?.map_or(monitor.clone(), |at| monitor.at(at));
            let open = block_on(monitor.open_incidents(&org))?;
            output.document(&open, |open| open_table(open))?;
        }
        Command::Violations { org, from, to, at } => {
            let org: OrgId = org.parse()?;
            let ionveil = place.open_to_ask()?;
            let now = at.instant(&ionveil, Some(&org))?;
            let from = when_optional(&ionveil, Some(&org), "from", from.as_deref(), now)?;
            let to = when_optional(&ionveil, Some(&org), "to", to.as_deref(), now)?;
            let monitor = ionveil.sla_monitor_service();
            let monitor = now.map_or(monitor.clone(), |at| monitor.at(at));
            let violations = block_on(monitor.violations(&org, from, to))?;
            output.document(&violations, |violations| violations_table(violations))?;
        }
        Command::Import(args) => return incident_import::run(args, place, output),
    }
    Ok(ExitCode::SUCCESS)
}

fn check(args: &Check, place: &Place, output: &mut Output) -> Result<(), Failure> {
    let org: OrgId = args.org.parse()?;
    let ionveil = place.open()?;
    let mut current_time = args.at.instant(&ionveil, Some(&org))?;
    let times = [Some(&args.dispatch_time), args.arrival.as_ref(), args.closed.as_ref()];
    let is_relative = |text: &String| matches!(time::parse("now", text), Ok(Instant::FromNow(_)));
    if current_time.is_none() && times.into_iter().flatten().any(is_relative) {
        // The clock is read once, so that what was dispatched -6m ago has taken six minutes and no more.
        current_time = Some(SystemClock.now());
    }
    let of =
        |field: &str, text: &Option<String>| when_optional(&ionveil, Some(&org), field, text.as_deref(), current_time);
    let check = IncidentCheck {
        incident_id: args.incident.clone(),
        priority: args.priority,
        dispatch_time: when(&ionveil, Some(&org), "dispatch_time", &args.dispatch_time, current_time)?,
        arrival_time: of("arrival_time", &args.arrival)?,
        closed_time: of("closed_time", &args.closed)?,
        current_time,
        org_id: org,
    };
    let report = block_on(ionveil.sla_monitor_service().check_incident(check))?;
    Ok(output.document(&report, report_for_people)?)
}

fn report_for_people(report: &CheckReport) -> String {
    let mut text = format!(
        "incident {}: {}, stage {}, {} of {} minutes, {} left, target ends at {}",
        report.incident_id,
        report.sla_status,
        report.escalation_stage,
        number(Some(report.elapsed_minutes)),
        report.sla_target_minutes,
        number(Some(report.remaining_minutes)),
        report.breach_time,
    );
    if !report.alerts.is_empty() {
        text = format!("{text}\n\nraised:\n{}", alerts_table(&report.alerts));
    }
    for held in &report.held_back {
        text = format!("{text}\nheld back: {}: {}", held.rule_id, held.reason);
    }
    text
}

fn open_table(open: &[IncidentStatus]) -> String {
    if open.is_empty() {
        return "no open incidents".into();
    }
    let row = |incident: &IncidentStatus| {
        [
            incident.incident_id.clone(),
            incident.priority.to_string(),
            incident.dispatch_time.to_string(),
            incident.sla_status.to_string(),
            incident.escalation_stage.to_string(),
            number(Some(incident.remaining_minutes)),
            incident.next_deadline.map_or("–".into(), |at| at.to_string()),
        ]
    };
    let headings = ["incident", "priority", "dispatched", "status", "stage", "minutes left", "next deadline"];
    table(headings, open.iter().map(row))
}

fn violations_table(violations: &[SlaViolation]) -> String {
    if violations.is_empty() {
        return "no violations".into();
    }
    let row = |violation: &SlaViolation| {
        [
            violation.incident_id.clone(),
            violation.priority.to_string(),
            violation.breach_time.to_string(),
            violation.sla_target_minutes.to_string(),
            number(Some(violation.actual_minutes)),
            number(Some(violation.breach_magnitude)),
        ]
    };
    table(["incident", "priority", "breached", "target min", "actual min", "times target"], violations.iter().map(row))
}
