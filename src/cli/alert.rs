//! `ionveil alert`

use std::process::ExitCode;

use ionveil::Explanation;
use ionveil::alerts::{Alert, Wanted};
use ionveil::domain::OrgId;
use pollster::block_on;

use super::acting::{At, id};
use super::failure::Failure;
use super::notifications::notifications_table;
use super::output::{Output, table};
use super::place::Place;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List alerts: those that are open, acknowledged or escalated, unless it is said otherwise.
    #[command(
        after_help = "Examples:\n  ionveil alert list --org sffd\n  ionveil alert list --org sffd --status resolved --severity critical"
    )]
    List {
        /// Whose.
        #[arg(long)]
        org: String,
        /// info, warning, critical or emergency.
        #[arg(long, value_name = "S")]
        severity: Option<String>,
        /// open, acknowledged, resolved, suppressed or escalated.
        #[arg(long, value_name = "S", conflicts_with = "all")]
        status: Option<String>,
        /// Every alert there ever was.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        at: At,
    },
    /// Show an alert with its history.
    #[command(after_help = "Example:\n  ionveil alert show 0b9d9b0e-55b1-5e0c-a9f0-9a86d2a5a0d7")]
    Show {
        /// Its id.
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        at: At,
    },
    /// Say that somebody is on it: escalation stops, and what was not sent yet is taken back.
    #[command(
        after_help = "Example:\n  ionveil alert ack 0b9d9b0e-55b1-5e0c-a9f0-9a86d2a5a0d7 --user ann --note \"on my way\""
    )]
    Ack {
        /// Its id.
        #[arg(value_name = "ID")]
        id: String,
        /// Who.
        #[arg(long)]
        user: String,
        /// Anything to be remembered.
        #[arg(long)]
        note: Option<String>,
        #[command(flatten)]
        at: At,
    },
    /// Say that it is over.
    #[command(
        after_help = "Example:\n  ionveil alert resolve 0b9d9b0e-55b1-5e0c-a9f0-9a86d2a5a0d7 --user ann --note \"unit 7 arrived\""
    )]
    Resolve {
        /// Its id.
        #[arg(value_name = "ID")]
        id: String,
        /// Who.
        #[arg(long)]
        user: String,
        /// How.
        #[arg(long)]
        note: String,
        #[command(flatten)]
        at: At,
    },
    /// Pass it on to the next level.
    #[command(
        after_help = "Example:\n  ionveil alert escalate 0b9d9b0e-55b1-5e0c-a9f0-9a86d2a5a0d7 --reason \"needs a second unit\""
    )]
    Escalate {
        /// Its id.
        #[arg(value_name = "ID")]
        id: String,
        /// Why.
        #[arg(long, default_value = "manual")]
        reason: String,
        /// Who.
        #[arg(long, default_value = "command-line")]
        user: String,
        #[command(flatten)]
        at: At,
    },
    /// Tell every decision about an incident: what was looked at, raised, held back and why, who was told.
    #[command(after_help = "Example:\n  ionveil alert explain --org sffd --incident i-1")]
    Explain {
        /// Whose.
        #[arg(long)]
        org: String,
        /// Its id.
        #[arg(long)]
        incident: String,
        #[command(flatten)]
        at: At,
    },
}

pub(super) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    match command {
        Command::List { org, severity, status, all, at } => {
            let org: OrgId = org.parse()?;
            let severity = severity.as_deref().map(str::parse).transpose()?;
            let wanted = match status {
                _ if *all => Wanted::All,
                Some(status) => Wanted::Only(status.parse()?),
                None => Wanted::Unresolved,
            };
            let ionveil = place.open_to_ask()?;
            let _ = at.instant(&ionveil, Some(&org))?;
            let alerts = block_on(ionveil.sla_monitor_service().get_alerts(&org, severity, wanted))?;
            output.document(&alerts, |alerts| alerts_table(alerts))?;
        }
        Command::Show { id: text, at } => {
            let ionveil = place.open_to_ask()?;
            let _ = at.instant(&ionveil, None)?;
            let alert = block_on(ionveil.sla_monitor_service().get_alert(id("alert", text)?))?;
            output.document(&alert, alert_for_people)?;
        }
        Command::Ack { id: text, user, note, at } => {
            let alert_id = id("alert", text)?;
            let monitor = place.monitor_at(at)?;
            let alert = block_on(monitor.acknowledge_alert(alert_id, user, note.as_deref()))?;
            output.document(&alert, alert_for_people)?;
        }
        Command::Resolve { id: text, user, note, at } => {
            let alert_id = id("alert", text)?;
            let alert = block_on(place.monitor_at(at)?.resolve_alert(alert_id, user, note))?;
            output.document(&alert, alert_for_people)?;
        }
        Command::Escalate { id: text, reason, user, at } => {
            let alert_id = id("alert", text)?;
            let ionveil = place.open_existing_or_none()?;
            let manager = ionveil.escalation_manager();
            let manager = at.instant(&ionveil, None)?.map_or(manager.clone(), |at| manager.at(at));
            let alert = block_on(manager.escalate_alert(alert_id, user, reason))?;
            output.document(&alert, alert_for_people)?;
        }
        Command::Explain { org, incident, at } => {
            let org: OrgId = org.parse()?;
            let ionveil = place.open_to_ask()?;
            let _ = at.instant(&ionveil, Some(&org))?;
            let explanation = block_on(ionveil.sla_monitor_service().explain(&org, incident))?;
            output.document(&explanation, explanation_for_people)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Alerts for people, one a row.
pub(super) fn alerts_table(alerts: &[Alert]) -> String {
    if alerts.is_empty() {
        return "no alerts".into();
    }
    let row = |alert: &Alert| {
        [
            alert.alert_id.to_string(),
            alert.created_at.to_string(),
            alert.severity.to_string(),
            alert.status.to_string(),
            format!("L{}", alert.escalation_level),
            alert.occurrences.to_string(),
            alert.title.clone(),
        ]
    };
    table(["alert", "raised", "severity", "status", "level", "seen", "title"], alerts.iter().map(row))
}

fn alert_for_people(alert: &Alert) -> String {
    let mut text = format!(
        "{} ({})\n{}, {}, level {}, seen {} times, rule {} version {}\n{}\nraised {}",
        alert.title,
        alert.alert_id,
        alert.severity,
        alert.status,
        alert.escalation_level,
        alert.occurrences,
        alert.rule_id,
        alert.rule_version,
        alert.description,
        alert.created_at,
    );
    for change in &alert.history {
        let note = change.note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
        text = format!("{text}\n{}  {} → {} by {}{note}", change.at, change.from, change.to, change.by);
    }
    text
}

fn explanation_for_people(explanation: &Explanation) -> String {
    if explanation.decisions.is_empty() {
        return format!("nothing is known of incident {}", explanation.incident_id);
    }
    let line = |decision: &ionveil::alerts::ExplainedDecision| {
        let rule = decision.rule_id.as_deref().unwrap_or("–");
        format!("{}  #{}  {rule}  {}: {}", decision.at, decision.position, decision.outcome, decision.why)
    };
    let decisions: Vec<String> = explanation.decisions.iter().map(line).collect();
    format!("{}\n\n{}", decisions.join("\n"), notifications_table(&explanation.notifications))
}
