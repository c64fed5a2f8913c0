//! What stands on the command line, and which file does it. Built on the library's public face, on nothing below it.

mod acting;
mod alert;
mod anomalies;
mod audit;
mod compare;
mod compliance;
mod contracts;
mod counterfactual;
mod demo;
mod drawing;
mod escalation_policy;
mod escalations;
mod export;
mod failure;
mod fit;
mod heatmap;
mod incident;
mod incident_import;
mod ingest;
mod journal;
mod metric;
mod montecarlo;
mod notifications;
mod output;
mod pattern;
mod place;
mod policy;
mod positioned;
mod progress;
mod regions;
mod rule;
mod simulate;
mod snapshot;
mod standards;
mod suppress;
mod sweep;
mod time;
mod timeline;
mod trend;
mod utilisation;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use failure::Failure;
use output::Output;

/// Event-sourced monitoring of emergency dispatch.
#[derive(Debug, Parser)]
#[command(
    name = "ionveil",
    version,
    max_term_width = 100,
    after_help = "Examples:
  ionveil demo
  ionveil --data ./data ingest --org sffd --mapping examples/sf-fire-calls.toml --retention-hours 0 examples/sf-fire-calls-extract.csv
  ionveil --data ./data snapshot --org sffd --as-of latest

Exit codes: 0 done; 1 damage, not found, conflict; 2 invalid input or usage; 3 overloaded, unavailable, anything else."
)]
struct Cli {
    /// The data directory, which holds the journal.
    #[arg(long, global = true, value_name = "DIR", default_value = "ionveil-data")]
    data: PathBuf,
    /// Print JSON on stdout instead of tables and sentences.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Do the main job on real input that is built in: ingest, aggregate, ask, restart, replay, verify.
    Demo(demo::Args),
    /// Count dispatch events from files: CSV with a mapping, or NDJSON; plain or gzip.
    Ingest(ingest::Args),
    /// A metric of an org over time windows.
    Metric(metric::Args),
    /// Everything a dashboard shows of an org.
    Snapshot(snapshot::Args),
    /// Which way a metric goes, and where it will be in an hour.
    Trend(trend::Args),
    /// The windows in which a metric stands out from the others.
    Anomalies(anomalies::Args),
    /// A summary of an org's dispatches per region.
    Regions(regions::Args),
    /// A metric over a grid of where dispatches are.
    Heatmap(heatmap::Args),
    /// Try a policy against a failure pattern.
    Simulate(simulate::Args),
    /// A failure pattern, from a file or made by rule.
    Pattern(pattern::Args),
    /// Try several policies against the same pattern.
    Compare(compare::CompareArgs),
    /// Try several policies and recommend one, with reasons.
    Recommend(compare::RecommendArgs),
    /// Try every combination of thresholds.
    Sweep(sweep::Args),
    /// Try policies against many random patterns.
    Montecarlo(montecarlo::Args),
    /// Estimate how bursty recorded failures are.
    Fit(fit::Args),
    /// What a policy would have done with the outcomes that an org recorded.
    Counterfactual(counterfactual::Args),
    /// Look at the live policy of an org, feed it, move it.
    #[command(
        subcommand,
        after_help = "Example:\n  ionveil policy record --org sffd failure --count 3 && ionveil policy show --org sffd"
    )]
    Policy(policy::Command),
    /// When alerts are raised.
    #[command(subcommand, after_help = "Example:\n  ionveil rule add examples/alert-rules.toml && ionveil rule list")]
    Rule(rule::Command),
    /// Incidents against their targets.
    #[command(
        subcommand,
        after_help = "Example:\n  ionveil incident check --org sffd --incident i-1 --priority 1 --dispatch-time -3m"
    )]
    Incident(incident::Command),
    /// Alerts and what people do with them.
    #[command(subcommand, after_help = "Example:\n  ionveil alert list --org sffd")]
    Alert(alert::Command),
    /// Alerts that are not wanted for a while.
    #[command(subcommand, after_help = "Example:\n  ionveil suppress list --org sffd")]
    Suppress(suppress::Command),
    /// Who is told when nobody answers.
    #[command(subcommand, after_help = "Example:\n  ionveil escalation-policy get --org sffd")]
    EscalationPolicy(escalation_policy::Command),
    /// Alerts that nobody answered.
    #[command(subcommand, after_help = "Example:\n  ionveil escalations check")]
    Escalations(escalations::Command),
    /// What is to be told, what was, and what could not be.
    #[command(subcommand, after_help = "Example:\n  ionveil notifications list --org sffd --pending")]
    Notifications(notifications::Command),
    /// How an org's responses compare with a published standard.
    Compliance(compliance::Args),
    /// The share of their hours that an org's units spend on calls.
    Utilisation(utilisation::Args),
    /// The response standards that `compliance` knows.
    Standards(standards::Args),
    /// Metrics and snapshots in the forms of other tools: CSV, JSON Lines, Parquet, OpenMetrics.
    #[command(
        subcommand,
        after_help = "Example:\n  ionveil export metrics --org sffd --metric response_time --window 1h --agg p90 --start -7d --format csv"
    )]
    Export(export::Command),
    /// Look at the journal, read it, verify it.
    #[command(subcommand, after_help = "Example:\n  ionveil journal verify && ionveil --json journal stat")]
    Journal(journal::Command),
    /// What changed, when, by whom and why: one event a line.
    Audit(audit::Args),
    /// The platform's services: where they listen, whom they need, and the order in which they can start.
    Contracts(contracts::Args),
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  ionveil completions bash > /etc/bash_completion.d/ionveil")]
struct CompletionsArgs {
    /// Which shell.
    shell: clap_complete::Shell,
}

/// Runs the command line and says how it went: 0 done, 1 damage, not found or conflict, 2 invalid, 3 anything else.
pub(crate) fn main() -> ExitCode {
    quiet_panics_of_sled();
    start_logging();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::of_usage(&error),
    };
    let mut output = Output::new(cli.json);
    let place = place::Place { data: cli.data };
    match run(cli.command, &place, &mut output) {
        Ok(code) => code,
        Err(failure) => failure.report(cli.json),
    }
}

fn run(command: Command, place: &place::Place, output: &mut Output) -> Result<ExitCode, Failure> {
    match command {
        Command::Demo(args) => demo::run(&args, output),
        Command::Ingest(args) => ingest::run(&args, place, output),
        Command::Metric(args) => metric::run(&args, place, output),
        Command::Snapshot(args) => snapshot::run(&args, place, output),
        Command::Trend(args) => trend::run(&args, place, output),
        Command::Anomalies(args) => anomalies::run(&args, place, output),
        Command::Regions(args) => regions::run(&args, place, output),
        Command::Heatmap(args) => heatmap::run(&args, place, output),
        Command::Simulate(args) => simulate::run(&args, place, output),
        Command::Pattern(args) => pattern::run(&args, output),
        Command::Compare(args) => compare::run_compare(&args, place, output),
        Command::Recommend(args) => compare::run_recommend(&args, place, output),
        Command::Sweep(args) => sweep::run(&args, output),
        Command::Montecarlo(args) => montecarlo::run(&args, output),
        Command::Fit(args) => fit::run(&args, place, output),
        Command::Counterfactual(args) => counterfactual::run(&args, place, output),
        Command::Policy(command) => policy::run(&command, place, output),
        Command::Rule(command) => rule::run(&command, place, output),
        Command::Incident(command) => incident::run(&command, place, output),
        Command::Alert(command) => alert::run(&command, place, output),
        Command::Suppress(command) => suppress::run(&command, place, output),
        Command::EscalationPolicy(command) => escalation_policy::run(&command, place, output),
        Command::Escalations(command) => escalations::run(&command, place, output),
        Command::Notifications(command) => notifications::run(&command, place, output),
        Command::Compliance(args) => compliance::run(&args, place, output),
        Command::Utilisation(args) => utilisation::run(&args, place, output),
        Command::Standards(standards::Args {}) => standards::run(output),
        Command::Export(command) => export::run(&command, place, output),
        Command::Journal(command) => journal::run(&command, place, output),
        Command::Audit(args) => audit::run(&args, place, output),
        Command::Contracts(contracts::Args {}) => contracts::run(output),
        Command::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "ionveil", &mut script);
            output.raw(&script)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// sled panics on damaged files. The journal contains that and reports the damage; what the panic itself would print
/// looks like a crash of ours, so it goes to the log instead.
fn quiet_panics_of_sled() {
    let default_hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let in_sled = panic.location().is_some_and(|location| location.file().contains("/sled-0."));
        if in_sled {
            tracing::debug!(%panic, "sled panicked");
        } else {
            default_hook(panic);
        }
    }));
}

/// Logs go to stderr, in colours only on a terminal; `IONVEIL_LOG` says how much, by default warnings.
fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("IONVEIL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,sled=off"));
    let logging = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() { logging.init() } else { logging.with_ansi(false).init() }
}
