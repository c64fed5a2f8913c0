//! `ionveil suppress`

use std::process::ExitCode;

use ionveil::alerts::Suppression;
use ionveil::domain::OrgId;
use ionveil::{AlertSuppressionManager, IonVeil};
use pollster::block_on;
use serde::Serialize;

use super::acting::At;
use super::failure::Failure;
use super::output::{Output, table};
use super::place::Place;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Tell nobody of the alerts of some rules for a while.
    #[command(
        after_help = "Example:\n  ionveil suppress add --org sffd --pattern 'sla-.*' --minutes 30 --reason \"radio tests\" --by ann\n\n\
        The pattern is a regular expression that has to match the whole rule id."
    )]
    Add {
        /// Whose.
        #[arg(long)]
        org: String,
        /// A regular expression that has to match the whole rule id.
        #[arg(long, value_name = "RE", allow_hyphen_values = true)]
        pattern: String,
        /// For how long.
        #[arg(long, value_name = "N", allow_negative_numbers = true)]
        minutes: i64,
        /// Why.
        #[arg(long)]
        reason: String,
        /// Who wants it.
        #[arg(long, value_name = "U")]
        by: String,
        #[command(flatten)]
        at: At,
    },
    /// List suppressions that are active.
    #[command(after_help = "Example:\n  ionveil suppress list --org sffd")]
    List {
        /// Whose.
        #[arg(long)]
        org: String,
        /// Those that are over as well.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        at: At,
    },
    /// Say whether the alerts of a rule are suppressed.
    #[command(after_help = "Example:\n  ionveil suppress test --org sffd --rule sla-warning")]
    Test {
        /// Whose.
        #[arg(long)]
        org: String,
        /// The rule.
        #[arg(long, value_name = "ID")]
        rule: String,
        #[command(flatten)]
        at: At,
    },
    /// End a suppression early.
    #[command(after_help = "Example:\n  ionveil suppress remove 019a0f3e-8d7c-7c50-b5bd-3f1f5d1f8b7a")]
    Remove {
        /// Its id.
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        at: At,
    },
}

#[derive(Serialize)]
struct Suppressed {
    suppressed: bool,
}

#[derive(Serialize)]
struct Removed {
    removed: bool,
}

pub(super) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    match command {
        Command::Add { org, pattern, minutes, reason, by, at } => {
            let org: OrgId = org.parse()?;
            // Outside of what fits it is out of range as well, and is to be named as it was written.
            let duration = u32::try_from(*minutes).map_err(|_| {
                ionveil::Invalid::new("duration_minutes", minutes, "a whole number, 1 to a year (527040)")
            })?;
            let manager = manager(&place.open()?, at, Some(&org))?;
            let suppression = block_on(manager.add_suppression(&org, pattern, duration, reason, by))?;
            output.document(&suppression, |one| suppressions_table(std::slice::from_ref(one)))?;
        }
        Command::List { org, all, at } => {
            let org: OrgId = org.parse()?;
            let manager = manager(&place.open_to_ask()?, at, Some(&org))?;
            let list = block_on(manager.get_active_suppressions(&org, *all))?;
            output.document(&list, |list| suppressions_table(list))?;
        }
        Command::Test { org, rule, at } => {
            let org: OrgId = org.parse()?;
            let manager = manager(&place.open_to_ask()?, at, Some(&org))?;
            let suppressed = block_on(manager.is_suppressed(&org, rule))?;
            output.document(&Suppressed { suppressed }, |_| {
                format!("{rule} is {}suppressed", if suppressed { "" } else { "not " })
            })?;
        }
        Command::Remove { id, at } => {
            let manager = manager(&place.open_existing_or_none()?, at, None)?;
            let removed = match id.parse() {
                Ok(id) => block_on(manager.remove_suppression(id))?,
                // No suppression is called that.
                Err(_) => false,
            };
            output.document(&Removed { removed }, |_| {
                if removed { "removed".into() } else { "there is no such suppression, or it is over".into() }
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn manager(ionveil: &IonVeil, at: &At, org: Option<&OrgId>) -> Result<AlertSuppressionManager, Failure> {
    let manager = ionveil.alert_suppression_manager();
    Ok(at.instant(ionveil, org)?.map_or(manager.clone(), |at| manager.at(at)))
}

fn suppressions_table(suppressions: &[Suppression]) -> String {
    if suppressions.is_empty() {
        return "no suppressions".into();
    }
    let row = |suppression: &Suppression| {
        [
            suppression.suppression_id.to_string(),
            suppression.rule_pattern.clone(),
            suppression.created_at.to_string(),
            suppression.removed_at.unwrap_or(suppression.expires_at).to_string(),
            suppression.created_by.clone(),
            suppression.reason.clone(),
        ]
    };
    table(["suppression", "pattern", "from", "until", "by", "reason"], suppressions.iter().map(row))
}
