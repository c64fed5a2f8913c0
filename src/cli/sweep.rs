//! `ionveil sweep`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use ionveil::ingest::{Source, read_scenario};
use ionveil::simulation::{
    Cancel, DURATION_SECONDS_DEFAULT, SweepEntry, SweepGrid, ThresholdRange, check_duration, sweep,
};
use ionveil::{Invalid, PolicyScenario};

use super::compare::weights;
use super::failure::Failure;
use super::output::{Output, table};
use super::pattern::{PATTERN_HELP, load, prepare};
use super::progress::Progress;

#[derive(Debug, clap::Args)]
#[command(after_help = format!("Example:
  ionveil sweep --pattern examples/failure-stream.csv --duration 138494 --escalation 1..8 --deescalation watch=2..10 --holdout 0.3

Both ends of a range are included. With --holdout, thresholds are judged on the first part of the time only, and each also
says how it does on the last part, since the best of many flatters itself.\n\n{PATTERN_HELP}"))]
pub(super) struct Args {
    /// What to try them against: a file or a generator.
    #[arg(long, value_name = "P")]
    pattern: String,
    /// Escalation thresholds: A..B, both included, or one number.
    #[arg(long, value_name = "A..B")]
    escalation: String,
    /// De-escalation thresholds of a policy. May be repeated.
    #[arg(long, value_name = "POLICY=A..B")]
    deescalation: Vec<String>,
    /// The ladder, and the thresholds that stay; the platform's by default.
    #[arg(long, value_name = "F")]
    scenario: Option<PathBuf>,
    /// How long, in virtual seconds.
    #[arg(long, value_name = "S", default_value_t = DURATION_SECONDS_DEFAULT, allow_negative_numbers = true)]
    duration: u64,
    /// Share of the time, at its end, that is held out: above 0 and below 1.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    holdout: Option<f64>,
    /// How much a measure counts, 1 unless given. May be repeated.
    #[arg(long, value_name = "MEASURE=N")]
    weight: Vec<String>,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    let weights = weights(&args.weight)?;
    let grid = SweepGrid {
        base: match &args.scenario {
            Some(path) => read_scenario(&Source::from(path.as_path()))?,
            None => PolicyScenario::default(),
        },
        escalation: ThresholdRange::parse("escalation", &args.escalation)?,
        deescalation: thresholds(&args.deescalation)?,
    };
    grid.scenarios()?;
    check_duration(args.duration)?;
    let split_at = args.holdout.map(|share| split_second(share, args.duration)).transpose()?;
    let pattern = load(&args.pattern)?;
    let _working = Progress::waiting("sweeping");
    let prepared = prepare(&pattern, args.duration);
    let (chosen_on, held_out) = match split_at {
        Some(second) => {
            let (first, last) = prepared.split(second);
            (first, Some(last))
        }
        None => (prepared, None),
    };
    let entries =
        sweep(&grid, &chosen_on, held_out.as_ref(), &weights, &Cancel::default())?.expect("nobody has the flag");
    output.document(&entries, |entries| for_people(entries))?;
    Ok(ExitCode::SUCCESS)
}

fn split_second(share: f64, duration: u64) -> Result<u64, Invalid> {
    let second = (duration as f64 * (1.0 - share)).round();
    if share > 0.0 && share < 1.0 && second >= 1.0 && second < duration as f64 {
        return Ok(second as u64);
    }
    Err(Invalid::new("holdout", share, "above 0 and below 1, so that each part has a second at least"))
}

fn thresholds(texts: &[String]) -> Result<BTreeMap<String, ThresholdRange>, Invalid> {
    let mut thresholds = BTreeMap::new();
    for text in texts {
        let refused = || Invalid::new("deescalation", text, "POLICY=A..B, each policy once");
        let (policy, range) = text.rsplit_once('=').ok_or_else(refused)?;
        let range = ThresholdRange::parse("deescalation", range)?;
        if thresholds.insert(policy.to_owned(), range).is_some() {
            return Err(refused());
        }
    }
    Ok(thresholds)
}

fn for_people(entries: &[SweepEntry]) -> String {
    const SHOWN_MAX: usize = 20;
    let mut best: Vec<&SweepEntry> = entries.iter().collect();
    best.sort_by(|a, b| a.score.total_cmp(&b.score));
    let percent = |share: f64| format!("{:.2}", 100.0 * share);
    let rows = best.iter().take(SHOWN_MAX).map(|entry| {
        let down: Vec<String> =
            entry.deescalation_thresholds.iter().map(|(policy, streak)| format!("{policy} {streak}")).collect();
        let held_out = entry.holdout.map(|holdout| percent(holdout.sla_compliance_rate)).unwrap_or_default();
        [
            entry.escalation_threshold.to_string(),
            down.join(", "),
            percent(entry.measures.sla_compliance_rate),
            percent(entry.measures.last_policy_share),
            percent(entry.measures.elevated_share),
            format!("{:.3}", entry.measures.transitions_per_hour),
            percent(entry.measures.exposure),
            format!("{:.3}", entry.score),
            if entry.pareto { "yes".into() } else { String::new() },
            held_out,
        ]
    });
    let headings = [
        "up at",
        "down at",
        "compliant %",
        "in last %",
        "elevated %",
        "changes/h",
        "failures at first %",
        "score",
        "Pareto",
        "held out: compliant %",
    ];
    let front = entries.iter().filter(|entry| entry.pareto).count();
    format!(
        "{} combinations, {front} on the Pareto front; the best {} by score\n\n{}",
        entries.len(),
        best.len().min(SHOWN_MAX),
        table(headings, rows)
    )
}
