//! `ionveil compare` and `ionveil recommend`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use ionveil::ingest::{Source, read_scenario};
use ionveil::simulation::{DURATION_SECONDS_DEFAULT, Measures, Recommendation, Weights};
use ionveil::{Invalid, PolicyScenario, SimulationResult, SimulationStatus};
use pollster::block_on;

use super::failure::Failure;
use super::output::{Output, table};
use super::pattern::{PATTERN_HELP, source, warn_of_ignored};
use super::place::Place;
use super::progress::Progress;
use super::simulate::SCENARIO_HELP;
use super::timeline;

#[derive(Debug, clap::Args)]
pub(super) struct Inputs {
    /// The policies to try: JSON files, each with another name.
    #[arg(long, value_name = "F", required = true, num_args = 1..)]
    scenario: Vec<PathBuf>,
    /// What to try them against: a file or a generator.
    #[arg(long, value_name = "P")]
    pattern: String,
    /// How long, in virtual seconds.
    #[arg(long, value_name = "S", default_value_t = DURATION_SECONDS_DEFAULT, allow_negative_numbers = true)]
    duration: u64,
    /// Draw the policies over time into this file, one below the other.
    #[arg(long, value_name = "F")]
    svg: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = format!("Example:
  ionveil compare --scenario examples/calm.json examples/strict.json --pattern burst:size=5,interval=300,duration=3600

The runs and their results are recorded.\n\n{SCENARIO_HELP}\n\n{PATTERN_HELP}"))]
pub(super) struct CompareArgs {
    #[command(flatten)]
    inputs: Inputs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = format!("Example:
  ionveil recommend --scenario examples/calm.json examples/strict.json --pattern examples/failure-stream.csv \\
      --duration 138494 --weight exposure=2

Policies are compared by sla_compliance_rate, last_policy_share, elevated_share, transitions_per_hour and exposure, each from
0 (best of all) to 1 (worst of all); the smallest sum on the Pareto front is recommended.\n\n{SCENARIO_HELP}\n\n{PATTERN_HELP}"))]
pub(super) struct RecommendArgs {
    #[command(flatten)]
    inputs: Inputs,
    /// How much a measure counts, 1 unless given. May be repeated.
    #[arg(long, value_name = "MEASURE=N")]
    weight: Vec<String>,
}

pub(super) fn run_compare(args: &CompareArgs, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    let results = compare(&args.inputs, place)?;
    output.document(&results, comparison)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn run_recommend(args: &RecommendArgs, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    let weights = weights(&args.weight)?;
    let results: Vec<SimulationResult> = compare(&args.inputs, place)?.into_values().collect();
    let recommendation = ionveil::simulation::recommend(&results, &weights)?;
    output.document(&recommendation, for_people)?;
    Ok(ExitCode::SUCCESS)
}

/// Weights as they are written on the command line.
pub(super) fn weights(texts: &[String]) -> Result<Weights, Invalid> {
    let mut weights = Weights::default();
    for text in texts {
        let refused = || Invalid::new("weight", text, "MEASURE=N, such as exposure=2");
        let (measure, weight) = text.split_once('=').ok_or_else(refused)?;
        weights.set(measure.parse()?, weight.parse().map_err(|_| refused())?)?;
    }
    Ok(weights)
}

/// Scenarios from files. Whether they can be used is not checked.
pub(super) fn scenarios(paths: &[PathBuf]) -> Result<Vec<PolicyScenario>, Failure> {
    let read = |path: &PathBuf| Ok(read_scenario(&Source::from(path.as_path()))?);
    paths.iter().map(read).collect()
}

fn compare(inputs: &Inputs, place: &Place) -> Result<BTreeMap<String, SimulationResult>, Failure> {
    timeline::check_svg(inputs.svg.as_deref())?;
    let (scenarios, pattern) = (scenarios(&inputs.scenario)?, source(&inputs.pattern)?);
    let simulator = place.open()?.policy_simulator();
    let working = Progress::waiting("simulating");
    let results = block_on(simulator.compare_scenarios(scenarios, pattern, inputs.duration))?;
    drop(working);
    if let Some(result) = results.values().find(|result| result.status == SimulationStatus::Completed) {
        warn_of_ignored(result.events_ignored, result.events_simulated + result.events_ignored, inputs.duration);
    }
    if let Some(path) = &inputs.svg {
        timeline::write_svg(path, &results.values().collect::<Vec<_>>())?;
    }
    Ok(results)
}

fn comparison(results: &BTreeMap<String, SimulationResult>) -> String {
    let row = |result: &SimulationResult| {
        let name = result.scenario.name.clone();
        match &result.error_message {
            Some(message) => [name, message.clone(), String::new(), String::new(), String::new(), String::new()],
            None => measures_row(name, &Measures::of_result(result)),
        }
    };
    let drawn = results.values().filter(|result| result.status == SimulationStatus::Completed);
    let timelines = drawn.map(|result| format!("{}\n{}", result.scenario.name, timeline::in_characters(result)));
    let timelines: Vec<String> = timelines.collect();
    format!("{}\n\n{}", table(MEASURE_HEADINGS, results.values().map(row)), timelines.join("\n\n"))
}

const MEASURE_HEADINGS: [&str; 6] =
    ["scenario", "compliant %", "in last %", "elevated %", "changes/h", "failures at first %"];

fn measures_row(name: String, measures: &Measures) -> [String; 6] {
    let percent = |share: f64| format!("{:.2}", 100.0 * share);
    [
        name,
        percent(measures.sla_compliance_rate),
        percent(measures.last_policy_share),
        percent(measures.elevated_share),
        format!("{:.3}", measures.transitions_per_hour),
        percent(measures.exposure),
    ]
}

fn for_people(recommendation: &Recommendation) -> String {
    let rows = recommendation.scores.iter().map(|score| {
        let [name, compliant, last, elevated, changes, exposure] = measures_row(score.name.clone(), &score.measures);
        let front = if score.pareto { "yes" } else { "" };
        [name, compliant, last, elevated, changes, exposure, format!("{:.3}", score.score), front.into()]
    });
    let [a, b, c, d, e, f] = MEASURE_HEADINGS;
    let reasons: Vec<String> = recommendation.reasons.iter().map(|reason| format!("- {reason}")).collect();
    format!(
        "recommended: {}\n\n{}\n\n{}",
        recommendation.recommended,
        reasons.join("\n"),
        table([a, b, c, d, e, f, "score", "Pareto"], rows)
    )
}
