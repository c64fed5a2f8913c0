//! `ionveil montecarlo`

use std::path::PathBuf;
use std::process::ExitCode;

use ionveil::Invalid;
use ionveil::simulation::{
    Cancel, DURATION_SECONDS_DEFAULT, Estimate, GenerateError, Measure, MonteCarlo, MonteCarloReport, StopRule,
    monte_carlo,
};

use super::compare::scenarios;
use super::failure::Failure;
use super::output::{Output, table};
use super::pattern::{PATTERN_HELP, generator};
use super::progress::Progress;
use super::simulate::SCENARIO_HELP;

#[derive(Debug, clap::Args)]
#[command(after_help = format!("Example:
  ionveil montecarlo --scenario examples/calm.json examples/strict.json --runs 1000 --seed 7 \\
      --pattern hawkes:rate=0.25,branching=0.8,decay=0.1,duration=3600

All scenarios meet the same patterns. Differences are of the second less the first, with 95 % intervals of Student's t.
ionveil fit finds the parameters that make patterns like recorded ones.\n\n{SCENARIO_HELP}\n\n{PATTERN_HELP}"))]
pub(super) struct Args {
    /// The policies to try: JSON files, each with another name.
    #[arg(long, value_name = "F", required = true, num_args = 1..)]
    scenario: Vec<PathBuf>,
    /// The generator of the patterns; without a seed, which --seed gives.
    #[arg(long, value_name = "P")]
    pattern: String,
    /// How many patterns, 1 to 1,000,000.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    runs: u64,
    /// What chance starts from.
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    seed: u64,
    /// How long each run lasts, in virtual seconds.
    #[arg(long, value_name = "S", default_value_t = DURATION_SECONDS_DEFAULT, allow_negative_numbers = true)]
    duration: u64,
    /// Stop when the interval of every difference in a measure is this narrow.
    #[arg(long, value_name = "MEASURE=WIDTH")]
    until: Option<String>,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    let Some(generator) = generator(&args.pattern)? else {
        let allowed = "a generator; ionveil fit finds one that resembles a file";
        return Err(Invalid::new("pattern", &args.pattern, allowed).into());
    };
    if generator.seed().is_some() {
        eprintln!("warning: --seed is used, the pattern's own seed is not");
    }
    if generator.duration_seconds() > args.duration {
        eprintln!(
            "warning: patterns last {} s, of which {} s are simulated; --duration says how long a run lasts",
            generator.duration_seconds(),
            args.duration
        );
    }
    let asked = MonteCarlo {
        scenarios: scenarios(&args.scenario)?,
        generator,
        duration_seconds: args.duration,
        runs: args.runs,
        seed: args.seed,
        stop: args.until.as_deref().map(stop_rule).transpose()?,
    };
    let working = Progress::waiting("simulating");
    let report = monte_carlo(&asked, &Cancel::default()).map_err(|error| match error {
        GenerateError::Invalid(invalid) => Failure::from(invalid),
        GenerateError::Cancelled(_) => unreachable!("nobody has the flag"),
    })?;
    drop(working);
    output.document(&report, for_people)?;
    Ok(ExitCode::SUCCESS)
}

fn stop_rule(text: &str) -> Result<StopRule, Invalid> {
    let refused = || Invalid::new("until", text, "MEASURE=WIDTH, such as sla_compliance_rate=0.01");
    let (measure, width) = text.split_once('=').ok_or_else(refused)?;
    Ok(StopRule { measure: measure.parse()?, width: width.parse().map_err(|_| refused())? })
}

fn for_people(report: &MonteCarloReport) -> String {
    let enough = if report.stopped_early { ", which were enough" } else { "" };
    let scenarios = report.scenarios.iter().flat_map(|scenario| {
        Measure::ALL.into_iter().zip(&scenario.measures).map(|(measure, estimate)| {
            let [mean, interval] = shown(estimate);
            [scenario.name.clone(), measure.to_string(), mean, interval]
        })
    });
    let differences = report.differences.iter().flat_map(|pair| {
        Measure::ALL.into_iter().zip(&pair.measures).map(|(measure, comparison)| {
            let [mean, interval] = shown(&comparison.difference);
            let better = format!("{:.1} %", 100.0 * comparison.probability_b_better);
            let equal = format!("{:.1} %", 100.0 * comparison.probability_equal);
            [format!("{} less {}", pair.b, pair.a), measure.to_string(), mean, interval, better, equal]
        })
    });
    let by_scenario = table(["scenario", "measure", "mean", "95 % interval"], scenarios);
    let by_pair = match report.differences.is_empty() {
        true => String::new(),
        false => {
            let headings = ["difference", "measure", "mean", "95 % interval", "better", "equal"];
            format!("\n\n{}", table(headings, differences))
        }
    };
    format!("{} patterns of {}, seed {}{enough}\n\n{by_scenario}{by_pair}", report.runs, report.pattern, report.seed)
}

fn shown(estimate: &Estimate) -> [String; 2] {
    let interval = match (estimate.low, estimate.high) {
        (Some(low), Some(high)) => format!("{low:.5} to {high:.5}"),
        _ => "–".into(),
    };
    [format!("{:.5}", estimate.mean), interval]
}
