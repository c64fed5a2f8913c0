//! `ionveil simulate`

use std::path::PathBuf;
use std::process::ExitCode;

use ionveil::domain::Timestamp;
use ionveil::ingest::{Source, read_scenario};
use ionveil::simulation::DURATION_SECONDS_DEFAULT;
use ionveil::{SimulationRequest, SimulationResult};
use pollster::block_on;

use super::failure::Failure;
use super::output::{Output, table};
use super::pattern::{PATTERN_HELP, source, warn_of_ignored};
use super::place::Place;
use super::progress::Progress;
use super::timeline;

/// What `--help` says of scenarios.
pub(super) const SCENARIO_HELP: &str = "A scenario is a JSON file:
  {\"name\": \"calm\", \"policy_order\": [\"normal\", \"watch\", \"restricted\", \"halted\"], \"escalation_threshold\": 4,
   \"deescalation_thresholds\": {\"watch\": 5, \"restricted\": 10, \"halted\": 20}}";

#[derive(Debug, clap::Args)]
#[command(after_help = format!("Example:
  ionveil simulate --scenario examples/calm.json --pattern examples/failure-stream.csv --duration 138494

The run and its result are recorded.\n\n{SCENARIO_HELP}\n\n{PATTERN_HELP}"))]
pub(super) struct Args {
    /// The policy to try: a JSON file.
    #[arg(long, value_name = "F")]
    scenario: PathBuf,
    /// What to try it against: a file or a generator.
    #[arg(long, value_name = "P")]
    pattern: String,
    /// How long, in virtual seconds.
    #[arg(long, value_name = "S", default_value_t = DURATION_SECONDS_DEFAULT, allow_negative_numbers = true)]
    duration: u64,
    /// The virtual start, RFC 3339; 1970-01-01T00:00:00Z by default.
    #[arg(long, value_name = "T")]
    start: Option<String>,
    /// Draw the policies over time into this file.
    #[arg(long, value_name = "F")]
    svg: Option<PathBuf>,
}

pub(super) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    let scenario = read_scenario(&Source::from(args.scenario.as_path()))?;
    scenario.check()?;
    let start = match &args.start {
        Some(text) => text.parse().map_err(|invalid| ionveil::Invalid { field: "start".into(), ..invalid })?,
        None => Timestamp::EPOCH,
    };
    timeline::check_svg(args.svg.as_deref())?;
    let request = SimulationRequest::new(scenario, source(&args.pattern)?).lasting(args.duration).starting(start);
    let simulator = place.open()?.policy_simulator();
    let working = Progress::waiting("simulating");
    let id = block_on(simulator.create_simulation(request))?;
    let result = block_on(simulator.run_simulation(&id))?;
    drop(working);
    warn_of_ignored(result.events_ignored, result.events_simulated + result.events_ignored, args.duration);
    if let Some(path) = &args.svg {
        timeline::write_svg(path, &[&result])?;
    }
    output.document(&result, for_people)?;
    Ok(ExitCode::SUCCESS)
}

fn for_people(result: &SimulationResult) -> String {
    const SHOWN_MAX: usize = 20;
    let transitions = &result.policy_transitions;
    let rows = transitions.iter().take(SHOWN_MAX).map(|transition| {
        let change = format!("{} → {}", transition.from, transition.to);
        [transition.offset_seconds.to_string(), change, transition.reason.to_string()]
    });
    let more = match transitions.len().saturating_sub(SHOWN_MAX) {
        0 => String::new(),
        more => format!("\n… and {more} more; --json has them all"),
    };
    let list = if transitions.is_empty() {
        "the policy never changes".to_owned()
    } else {
        format!("{}{more}", table(["offset s", "change", "reason"], rows))
    };
    format!("{}\n\n{}\n\n{list}", summary(result), timeline::in_characters(result))
}

/// A result in a few sentences.
pub(super) fn summary(result: &SimulationResult) -> String {
    let times: Vec<String> =
        result.time_in_each_policy.iter().map(|(policy, seconds)| format!("{policy} {seconds} s")).collect();
    format!(
        "{} against {}: ends {}\n{} events, {:.2} % compliant, {:.2} % of failures met the first policy\n\
         {} up, {} down; {}\nsimulation {}",
        result.scenario.name,
        result.failure_pattern.pattern_id,
        result.final_policy,
        result.events_simulated,
        100.0 * result.sla_compliance_rate,
        100.0 * result.exposure,
        result.total_escalations,
        result.total_deescalations,
        times.join(", "),
        result.simulation_id,
    )
}
