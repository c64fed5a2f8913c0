//! `ionveil escalation-policy`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ionveil::alerts::{PolicyWhatIf, WhatIfStep};
use ionveil::domain::{OrgId, Timestamp};
use ionveil::escalation::{EscalationPolicy, PolicyLevel};
use pollster::block_on;

use super::acting::when_optional;
use super::failure::Failure;
use super::output::{Output, table};
use super::place::Place;
use super::positioned::Document;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Put a policy in force; alerts that were raised before keep theirs.
    #[command(after_help = "Example:\n  ionveil escalation-policy set --org sffd examples/escalation-policy.toml")]
    Set {
        /// Whose.
        #[arg(long)]
        org: String,
        /// The file, JSON or TOML (*.toml).
        #[arg(value_name = "F")]
        file: PathBuf,
    },
    /// Show the policy in force.
    #[command(after_help = "Example:\n  ionveil escalation-policy get --org sffd")]
    Get {
        /// Whose.
        #[arg(long)]
        org: String,
    },
    /// Tell how an org's recorded alerts would have been escalated by another policy.
    #[command(
        after_help = "Example:\n  ionveil escalation-policy what-if stricter.toml --org sffd --from 2013-08-01T00:00:00Z\n\n\
        The alerts, acknowledgements and resolutions are those that were recorded; the steps are those of this policy, up to \
        the last recorded instant. Nothing is changed."
    )]
    WhatIf {
        /// The file, JSON or TOML (*.toml).
        #[arg(value_name = "F")]
        file: PathBuf,
        /// Whose alerts.
        #[arg(long, value_name = "O")]
        org: String,
        /// Only what is raised and escalated at this instant or later.
        #[arg(long, value_name = "T", allow_hyphen_values = true)]
        from: Option<String>,
    },
}

pub(super) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    match command {
        Command::Set { org, file } => {
            let org: OrgId = org.parse()?;
            let policy = read(file)?;
            let policy = block_on(place.open()?.escalation_manager().set_policy(&org, policy))?;
            output.document(&policy, policy_for_people)?;
        }
        Command::Get { org } => {
            let org: OrgId = org.parse()?;
            let policy = block_on(place.open_to_ask()?.escalation_manager().get_policy(&org))?;
            output.document(&policy, |policy| match policy {
                Some(policy) => policy_for_people(policy),
                None => "no escalation policy".into(),
            })?;
        }
        Command::WhatIf { file, org, from } => {
            let org: OrgId = org.parse()?;
            let policy = read(file)?;
            let ionveil = place.open_to_ask()?;
            let from = when_optional(&ionveil, Some(&org), "from", from.as_deref(), None)?.unwrap_or(Timestamp::MIN);
            let what_if = block_on(ionveil.escalation_manager().what_if(&org, policy, from))?;
            output.document(&what_if, what_if_for_people)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> Result<EscalationPolicy, Failure> {
    let document = Document::read(file)?;
    EscalationPolicy::from_json(&document.root.value).map_err(|invalid| document.refuse(&document.root, invalid))
}

fn what_if_for_people(what_if: &PolicyWhatIf) -> String {
    let row = |sign: &str, step: &WhatIfStep, was: Option<Timestamp>| {
        [
            sign.to_owned(),
            step.at.to_string(),
            was.map(|was| was.to_string()).unwrap_or_default(),
            step.rule_id.clone(),
            step.incident_id.clone().unwrap_or_default(),
            format!("L{}", step.to_level),
            step.reason.clone(),
        ]
    };
    let added = what_if.added.iter().map(|step| row("+", step, None));
    let removed = what_if.removed.iter().map(|step| row("-", step, None));
    let moved = what_if.moved.iter().map(|moved| row("~", &moved.step, Some(moved.recorded_at)));
    let rows: Vec<_> = added.chain(removed).chain(moved).collect();
    let summary = format!(
        "{} alerts of {}: {} steps were taken, {} would have been; {} messages instead of {}; {} steps by hand refused",
        what_if.alerts,
        what_if.org_id,
        what_if.recorded.len(),
        what_if.proposed.len(),
        what_if.messages_proposed,
        what_if.messages_recorded,
        what_if.refused,
    );
    format!("{summary}\n{}", table(["", "at", "was at", "rule", "incident", "level", "reason"], rows))
}

fn policy_for_people(policy: &EscalationPolicy) -> String {
    let minutes =
        |minutes: Option<u32>| minutes.map_or("never".to_owned(), |minutes| format!("after {minutes} minutes"));
    let row = |level: &PolicyLevel| {
        let channels: Vec<&str> = level.channels.iter().map(|channel| channel.as_str()).collect();
        [level.level.to_string(), level.timeout_minutes.to_string(), channels.join(", ")]
    };
    format!(
        "{} ({}): at most {} escalations, repeats {}, acknowledged alerts start again {}\n{}",
        policy.name,
        policy.policy_id,
        policy.max_escalations,
        minutes(policy.repeat_after_minutes),
        minutes(policy.ack_timeout_minutes),
        table(["level", "timeout min", "channels"], policy.levels.iter().map(row)),
    )
}
