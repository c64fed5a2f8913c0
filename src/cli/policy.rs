//! `ionveil policy`

use std::path::PathBuf;
use std::process::ExitCode;

use ionveil::domain::{OrgId, Timestamp};
use ionveil::ingest::{Source, read_pattern, read_scenario};
use ionveil::policy::{ManualAction, PolicyView};
use ionveil::{Error, FailurePattern, Invalid, PolicyEngine};
use pollster::block_on;

use super::failure::Failure;
use super::output::{Output, table};
use super::place::Place;
use super::progress::Progress;
use super::time;

/// The live policy of an org.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Policy, counters, ladder and history.
    #[command(after_help = "Example:\n  ionveil policy show --org sffd")]
    Show(Org),
    /// Take in successes or failures of one instant.
    #[command(after_help = "Example:\n  ionveil policy record --org sffd failure --count 3")]
    Record(RecordArgs),
    /// Take in the successes and failures of a pattern file, from an instant on.
    #[command(
        after_help = "Example:\n  ionveil policy import --org sffd examples/failure-stream.csv --start 2005-12-04T04:47:44Z"
    )]
    Import(ImportArgs),
    /// Move one level up by hand.
    #[command(after_help = "Example:\n  ionveil policy escalate --org sffd --user ana --reason \"storm coming\"")]
    Escalate(StepArgs),
    /// Move one level down by hand.
    #[command(after_help = "Example:\n  ionveil policy deescalate --org sffd --user ana --reason \"storm is over\"")]
    Deescalate(StepArgs),
    /// Move to the first level by hand.
    #[command(after_help = "Example:\n  ionveil policy reset --org sffd --user ana --reason \"drill is over\"")]
    Reset(StepArgs),
    /// Put a scenario's ladder and thresholds in force.
    #[command(after_help = "Example:\n  ionveil policy configure --org sffd examples/calm.json")]
    Configure(ConfigureArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct Org {
    /// Whose policy.
    #[arg(long)]
    org: String,
    /// Stamp what changes with this instant, which must not be earlier than the org's last one: RFC 3339, now, latest or -1h.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    now: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct RecordArgs {
    #[command(flatten)]
    org: Org,
    /// What to take in.
    #[arg(value_parser = ["success", "failure"])]
    outcome: String,
    /// How many of them, 1 to 10,000,000.
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    count: u64,
}

#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    org: Org,
    /// A pattern file: JSON, or CSV with the columns offset_seconds and is_success.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The instant of offset 0: RFC 3339, latest, or relative to --now: now, -1h.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    start: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct StepArgs {
    #[command(flatten)]
    org: Org,
    /// Who does it.
    #[arg(long, value_name = "U")]
    user: String,
    /// Why.
    #[arg(long, value_name = "R")]
    reason: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct ConfigureArgs {
    #[command(flatten)]
    org: Org,
    /// The scenario: a JSON file.
    #[arg(value_name = "F")]
    file: PathBuf,
}

pub(super) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    let view = match command {
        Command::Show(args) => show(args, place)?,
        Command::Record(args) => {
            let (org, engine, _) = open(&args.org, place)?;
            block_on(engine.record(&org, args.outcome == "success", args.count))?;
            block_on(engine.get(&org))?
        }
        Command::Import(args) => {
            let pattern = read_pattern(&Source::from(args.file.as_path()))?;
            let (org, engine, now) = open(&args.org, place)?;
            import(&engine, &org, &pattern, &args.start, now)?
        }
        Command::Escalate(args) => step(args, ManualAction::Escalate, place)?,
        Command::Deescalate(args) => step(args, ManualAction::Deescalate, place)?,
        Command::Reset(args) => step(args, ManualAction::Reset, place)?,
        Command::Configure(args) => {
            let scenario = read_scenario(&Source::from(args.file.as_path()))?;
            scenario.check()?;
            let (org, engine, _) = open(&args.org, place)?;
            block_on(engine.configure(&org, scenario))?;
            block_on(engine.get(&org))?
        }
    };
    output.document(&view, for_people)?;
    Ok(ExitCode::SUCCESS)
}

fn show(args: &Org, place: &Place) -> Result<PolicyView, Failure> {
    let org: OrgId = args.org.parse()?;
    if let Some(text) = &args.now {
        time::parse("now", text)?;
    }
    let engine = place.open_to_ask()?.policy_engine();
    // It changes nothing that could be stamped; what is no instant is refused all the same.
    instant_optional(&engine, &org, "now", args.now.as_deref())?;
    let _working = Progress::waiting("replaying");
    Ok(block_on(engine.get(&org))?)
}

fn step(args: &StepArgs, action: ManualAction, place: &Place) -> Result<PolicyView, Failure> {
    let (org, engine, _) = open(&args.org, place)?;
    block_on(engine.step(&org, action, &args.user, &args.reason))?;
    Ok(block_on(engine.get(&org))?)
}

/// The engine, stamping what `--now` says, and that instant.
fn open(args: &Org, place: &Place) -> Result<(OrgId, PolicyEngine, Option<Timestamp>), Failure> {
    let org: OrgId = args.org.parse()?;
    // Before anything is opened, so that a bad instant leaves no trace.
    if let Some(text) = &args.now {
        time::parse("now", text)?;
    }
    let engine = place.open()?.policy_engine();
    let now = instant_optional(&engine, &org, "now", args.now.as_deref())?;
    let engine = match now {
        Some(now) => engine.at(now),
        None => engine,
    };
    Ok((org, engine, now))
}

/// An instant as it is written; relative to `now`, or to the machine's clock. `latest` is just after the org's last outcome or
/// change.
fn instant(
    engine: &PolicyEngine,
    org: &OrgId,
    field: &str,
    text: &str,
    now: Option<Timestamp>,
) -> Result<Timestamp, Failure> {
    use ionveil::dispatch::Instant;
    use ionveil::runtime::{Clock, SystemClock};
    Ok(match time::parse(field, text)? {
        Instant::At(at) => at,
        Instant::FromNow(micros) => now.unwrap_or_else(|| SystemClock.now()).saturating_add_micros(micros),
        Instant::Latest => block_on(engine.last_instant(org))?.unwrap_or(Timestamp::EPOCH).saturating_add_micros(1),
    })
}

/// As [`instant`], for an option that may be left out.
pub(super) fn instant_optional(
    engine: &PolicyEngine,
    org: &OrgId,
    field: &str,
    text: Option<&str>,
) -> Result<Option<Timestamp>, Failure> {
    text.map(|text| instant(engine, org, field, text, None)).transpose()
}

fn import(
    engine: &PolicyEngine,
    org: &OrgId,
    pattern: &FailurePattern,
    start: &str,
    now: Option<Timestamp>,
) -> Result<PolicyView, Failure> {
    // Outcomes carry instants of their own; only here does anybody look at the one they are taken in at.
    if let (Some(now), Some(last)) = (now, block_on(engine.last_instant(org))?)
        && now < last
    {
        let allowed = format!("{last} or later, the last instant of what it touches");
        return Err(Invalid::new("now", now, allowed).into());
    }
    let start = instant(engine, org, "start", start, now)?;
    let mut outcomes = Vec::with_capacity(pattern.events.len());
    for (offset, is_success) in &pattern.events {
        let at = Timestamp::from_micros(start.as_micros().saturating_add(offset.as_micros()));
        let allowed = "an instant from which all outcomes lie before year 10000";
        outcomes.push((at.ok_or_else(|| Invalid::new("start", start, allowed))?, *is_success));
    }
    // As patterns are always taken: by offset, those of equal offsets as they were given.
    outcomes.sort_by_key(|(at, _)| *at);
    let _working = Progress::waiting("importing");
    block_on(engine.import(org, &outcomes)).map_err(|error| match error.invalid() {
        // Of outcomes that are in order only the first can be too early.
        Some(invalid) if invalid.field == "timestamp" => {
            Error::from(Invalid { field: "start".into(), value: start.to_string(), ..invalid })
        }
        _ => error,
    })?;
    Ok(block_on(engine.get(org))?)
}

fn for_people(view: &PolicyView) -> String {
    const SHOWN_MAX: usize = 20;
    let skipped = view.history.len().saturating_sub(SHOWN_MAX);
    let rows = view.history[skipped..].iter().map(|transition| {
        let by = transition.user.as_deref().unwrap_or_default();
        let change = format!("{} → {}", transition.from, transition.to);
        [transition.timestamp.to_string(), change, transition.reason.to_string(), by.to_owned()]
    });
    let history = match view.history.len() {
        0 => "the policy never changed".to_owned(),
        len if skipped > 0 => {
            format!("{len} changes, the last {SHOWN_MAX}:\n{}", table(["at", "change", "reason", "by"], rows))
        }
        _ => table(["at", "change", "reason", "by"], rows),
    };
    format!(
        "{} is {}\nfailure burst {} of {}, success streak {}{}\nscenario {}\n\n{history}",
        view.org_id,
        view.policy,
        view.failure_burst,
        view.scenario.escalation_threshold,
        view.success_streak,
        view.scenario
            .deescalation_thresholds
            .get(&*view.policy)
            .map(|threshold| format!(" of {threshold}"))
            .unwrap_or_default(),
        view.scenario.name,
    )
}
