//! `ionveil contracts`

use std::process::ExitCode;

use ionveil::ServiceRegistry;

use super::failure::Failure;
use super::output::{Output, table};

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  ionveil --json contracts | jq -r '.topological_order[]'")]
pub(super) struct Args {}

pub(super) fn run(output: &mut Output) -> Result<ExitCode, Failure> {
    output.document(&ServiceRegistry::platform(), for_people)?;
    Ok(ExitCode::SUCCESS)
}

/// One service a row, in an order in which they can start.
fn for_people(registry: &ServiceRegistry) -> String {
    let row = |id: &String| {
        let service = registry.get(id).expect("the order names the registry's own services");
        [id.clone(), service.port.to_string(), service.deps.join(", "), service.description.clone()]
    };
    table(["service", "port", "needs", "what it is for"], registry.topological_order().iter().map(row))
}
