//! `ionveil standards`

use std::process::ExitCode;

use ionveil::field::{Requirement, Standard, embedded_standards};

use super::failure::Failure;
use super::output::Output;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  ionveil --json standards

They are the files in standards/, which are part of the binary. Copy one, change it, and name its path to `compliance`.")]
pub(super) struct Args {}

pub(super) fn run(output: &mut Output) -> Result<ExitCode, Failure> {
    output.document(&embedded_standards(), |standards| {
        standards.iter().map(for_people).collect::<Vec<_>>().join("\n\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

fn for_people(standard: &Standard) -> String {
    let demand = |requirement: &Requirement| {
        let within = requirement.within_seconds.map_or("its own target".to_owned(), |seconds| format!("{seconds} s"));
        format!("  {}: {} % within {within}", requirement.what, requirement.percent)
    };
    let demands: Vec<String> = standard.requirements.iter().map(demand).collect();
    let Standard { id, title, edition, source, checked, .. } = standard;
    format!("{id}: {title}, {edition}\n  source: {source}, checked on {checked}\n{}", demands.join("\n"))
}
