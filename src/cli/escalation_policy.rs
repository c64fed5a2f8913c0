//! `ionveil escalation-policy`

use std::path::PathBuf;
use std::process::ExitCode;

use ionveil::domain::OrgId;
use ionveil::escalation::{EscalationPolicy, PolicyLevel};
use pollster::block_on;

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
}

pub(super) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    match command {
        Command::Set { org, file } => {
            let org: OrgId = org.parse()?;
            let document = Document::read(file)?;
            let policy = EscalationPolicy::from_json(&document.root.value)
                .map_err(|invalid| document.refuse(&document.root, invalid))?;
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
    }
    Ok(ExitCode::SUCCESS)
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
