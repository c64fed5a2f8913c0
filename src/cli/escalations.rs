//! `ionveil escalations`

use std::process::ExitCode;

use pollster::block_on;

use super::acting::At;
use super::alert::alerts_table;
use super::failure::Failure;
use super::output::Output;
use super::place::Place;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Escalate every alert that nobody answered in time, one step each.
    #[command(after_help = "Example:\n  ionveil escalations check --now 2026-01-31T08:30:00Z")]
    Check {
        #[command(flatten)]
        at: At,
    },
}

pub(super) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    let Command::Check { at } = command;
    let ionveil = place.open_existing_or_none()?;
    let manager = ionveil.escalation_manager();
    let manager = at.instant(&ionveil, None)?.map_or(manager.clone(), |at| manager.at(at));
    let escalated = block_on(manager.check_escalations())?;
    output.document(&escalated, |escalated| alerts_table(escalated))?;
    Ok(ExitCode::SUCCESS)
}
