//! `ionveil fit`

use std::process::ExitCode;
use std::sync::Arc;

use ionveil::simulation::{BurstFit, fit};
use pollster::block_on;

use super::failure::Failure;
use super::output::{Output, number};
use super::pattern::{PATTERN_HELP, load};
use super::place::Place;
use super::policy::instant_optional;
use super::progress::Progress;

#[derive(Debug, clap::Args)]
#[command(after_help = format!("Examples:
  ionveil fit --pattern examples/failure-stream.csv
  ionveil montecarlo --scenario examples/calm.json --runs 100 --seed 1 \\
      --pattern \"$(ionveil --json fit --pattern examples/failure-stream.csv | jq -r .hawkes.generator)\" --duration 138494

Finds the parameters of two bursty processes by maximum likelihood: of hawkes from the times of the failures, of gilbert from
the order of failures and successes. Equal times are spread over the tick of the clock.\n\n{PATTERN_HELP}"))]
pub(super) struct Args {
    /// What to fit to: a file or a generator.
    #[arg(long, value_name = "P", required_unless_present = "org", conflicts_with = "org")]
    pattern: Option<String>,
    /// Fit to the outcomes that an org recorded.
    #[arg(long)]
    org: Option<String>,
    /// Of the org, outcomes from this instant on: RFC 3339, now, latest or -1h.
    #[arg(long, value_name = "T", allow_hyphen_values = true, requires = "org")]
    from: Option<String>,
    /// Of the org, outcomes before this instant.
    #[arg(long, value_name = "T", allow_hyphen_values = true, requires = "org")]
    to: Option<String>,
}

pub(super) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    let pattern = match (&args.pattern, &args.org) {
        (Some(pattern), _) => load(pattern)?,
        (None, org) => {
            let org = org.as_deref().unwrap_or_default().parse()?;
            let ionveil = place.open_to_ask()?;
            let engine = ionveil.policy_engine();
            let from = instant_optional(&engine, &org, "from", args.from.as_deref())?;
            let to = instant_optional(&engine, &org, "to", args.to.as_deref())?;
            Arc::new(block_on(ionveil.policy_simulator().recorded_pattern(&org, from, to))?)
        }
    };
    let working = Progress::waiting("fitting");
    let fitted = fit(&pattern)?;
    drop(working);
    output.document(&fitted, for_people)?;
    Ok(ExitCode::SUCCESS)
}

fn for_people(fit: &BurstFit) -> String {
    let mut text = format!(
        "{}: {} events over {} s, {:.2} % failures\n\
         failures per minute vary by {} times their mean (1 when they come evenly at random)\n\
         failures in a row: {:.2} on average ({:.2} evenly at random), {} at most",
        fit.pattern_id,
        fit.events,
        fit.duration_seconds,
        100.0 * fit.failure_share,
        number(fit.dispersion_index),
        fit.mean_failure_run,
        1.0 / (1.0 - fit.failure_share),
        fit.longest_failure_run,
    );
    if let Some(hawkes) = &fit.hawkes {
        text += &format!(
            "\n\nHawkes process: each failure causes {:.3} others, after {:.3} s on average\n\
             AIC {:.1} (a Poisson process: {:.1}); Kolmogorov-Smirnov {:.4}, p {:.3}\n{}",
            hawkes.branching,
            1.0 / hawkes.decay,
            hawkes.aic,
            hawkes.poisson_aic,
            hawkes.ks_statistic,
            hawkes.ks_p_value,
            hawkes.generator,
        );
    }
    if let Some(gilbert) = &fit.gilbert {
        text += &format!(
            "\n\nGilbert-Elliott channel: {:.2} % fail in good spells, {:.2} % in bad ones\n\
             AIC {:.1} (independent outcomes: {:.1})\n{}",
            100.0 * gilbert.good,
            100.0 * gilbert.bad,
            gilbert.aic,
            gilbert.independent_aic,
            gilbert.generator,
        );
    }
    text
}
