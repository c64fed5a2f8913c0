//! `ionveil demo`: the main job from end to end, on real input that is part of the program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant as Started};

use ionveil::dispatch::{
    AggregatedMetric, AggregationType, DashboardSnapshot, GetMetric, Instant, Metric, RegionSummary,
};
use ionveil::domain::{OrgId, TimeWindow};
use ionveil::ingest::{Mapping, Source, parse_pattern, read_from};
use ionveil::simulation::{Recommendation, Weights};
use ionveil::{Config, Error, IonVeil, PolicyScenario, Verification, verify_data};
use pollster::block_on;
use serde::Serialize;

use super::failure::Failure;
use super::ingest::{Job, Rejects, Summary};
use super::journal::verification_for_people;
use super::output::Output;
use super::regions::regions_table;

const ORG: &str = "sffd";
const ROWS: &[u8] = include_bytes!("../../examples/sf-fire-calls-extract.csv");
const ROWS_NAME: &str = "examples/sf-fire-calls-extract.csv";
const MAPPING: &str = include_str!("../../examples/sf-fire-calls.toml");
const MAPPING_NAME: &str = "examples/sf-fire-calls.toml";
const FAILURES: &[u8] = include_bytes!("../../examples/failure-stream.csv");
const FAILURES_NAME: &str = "examples/failure-stream.csv";
const FAILURES_SECONDS: u64 = 138_494;
const SCENARIOS: [&str; 2] = [include_str!("../../examples/calm.json"), include_str!("../../examples/strict.json")];
/// The extract spans 141 days.
const SPAN_DAYS: i64 = 150;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  ionveil demo --keep ./demo-data && ionveil --data ./demo-data journal stat")]
pub(super) struct Args {
    /// Keep the journal in this directory; without it the demo leaves nothing behind.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report {
    ingested: Summary,
    busiest_hour: Option<AggregatedMetric>,
    answers: Answers,
    simulated: Simulated,
    /// Whether the actors gave the same answers after they were stopped and rebuilt from the journal.
    identical_after_replay: bool,
    verified: Verification,
}

/// Policies against the failures of a real web server's workers.
#[derive(Debug, Serialize)]
struct Simulated {
    outcomes: usize,
    recommendation: Recommendation,
}

/// What is asked before the restart, and again after it.
#[derive(Debug, PartialEq, Serialize)]
struct Answers {
    snapshot: DashboardSnapshot,
    regions: BTreeMap<String, RegionSummary>,
    hours: Vec<AggregatedMetric>,
}

pub(super) fn run(args: &Args, output: &mut Output) -> Result<ExitCode, Failure> {
    let temporary = Temporary::beside(args.keep.as_deref());
    let org: OrgId = ORG.parse()?;

    let ionveil = open(&temporary.dir)?;
    let ingested = ingest(&ionveil, &org)?;
    let answers = ask(&ionveil, &org)?;
    let simulated = simulate(&ionveil)?;
    block_on(ionveil.shutdown(Duration::from_secs(10)));
    drop(ionveil);

    let reopened = open(&temporary.dir)?;
    let answers_again = ask(&reopened, &org)?;
    block_on(reopened.shutdown(Duration::from_secs(10)));
    drop(reopened);

    let verified = verify_data(&temporary.dir, None, &mut |_| {})?;
    let busiest_hour = answers
        .hours
        .iter()
        .max_by(|a, b| {
            a.value.partial_cmp(&b.value).unwrap_or(std::cmp::Ordering::Equal).then(b.window_start.cmp(&a.window_start))
        })
        .cloned();
    let identical_after_replay = answers == answers_again;
    let report = Report { ingested, busiest_hour, answers, simulated, identical_after_replay, verified };
    output.document(&report, |report| for_people(report, args.keep.as_deref()))?;
    let all_well = report.identical_after_replay && report.verified.ok;
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn open(dir: &Path) -> Result<IonVeil, Failure> {
    Ok(IonVeil::open(Config::at(dir).without_background())?.acting_as("demo")?)
}

fn ingest(ionveil: &IonVeil, org: &OrgId) -> Result<Summary, Failure> {
    let aggregator = ionveil.dispatch_aggregator();
    let mapping = Mapping::parse(MAPPING_NAME, MAPPING)?;
    let started = Started::now();
    let mut rows = Vec::new();
    read_from(ROWS_NAME, ROWS, org, Some(&mapping), &AtomicU64::new(0), &mut |row| {
        rows.push(row);
        std::ops::ControlFlow::Continue(())
    })?;
    let mut summary = Summary::new();
    let mut job = Job { aggregator: &aggregator, org, mapping: Some(&mapping), retention_hours: Some(0) };
    job.count([rows], &mut Rejects::to(None, &[])?, &mut summary, &mut || {})?;
    summary.took(started);
    Ok(summary)
}

fn ask(ionveil: &IonVeil, org: &OrgId) -> Result<Answers, Failure> {
    let aggregator = ionveil.dispatch_aggregator();
    let latest = block_on(aggregator.get_watermark(org))?.unwrap_or(ionveil::domain::Timestamp::EPOCH);
    let start = latest.saturating_add_micros(-SPAN_DAYS * 24 * ionveil::domain::MICROS_PER_HOUR);
    let (start, end) = (Some(Instant::At(start)), Some(Instant::Latest));
    let mut hours = GetMetric::new(Metric::DispatchCount, TimeWindow::Hour1, AggregationType::Count);
    (hours.start, hours.end) = (start, end);
    Ok(Answers {
        snapshot: block_on(aggregator.get_dashboard_snapshot(org, Some(Instant::Latest)))?,
        regions: block_on(ionveil.geographic_breakdown().get_regional_summary(org, start, end))?,
        hours: block_on(aggregator.get_metric(org, hours))?,
    })
}

/// The platform's own policy and the two of the examples, of which one is recommended.
fn simulate(ionveil: &IonVeil) -> Result<Simulated, Failure> {
    let pattern = parse_pattern(&Source::from(Path::new(FAILURES_NAME)), FAILURES)?;
    let outcomes = pattern.events.len();
    let mut scenarios = vec![PolicyScenario::default()];
    for text in SCENARIOS {
        let value: serde_json::Value = serde_json::from_str(text).expect("an example that is tested");
        scenarios.push(PolicyScenario::from_json(&value)?);
    }
    let simulator = ionveil.policy_simulator();
    let results = block_on(simulator.compare_scenarios(scenarios, pattern, FAILURES_SECONDS))?;
    let results: Vec<_> = results.into_values().collect();
    Ok(Simulated { outcomes, recommendation: simulator.generate_recommendation(&results, &Weights::default())? })
}

fn for_people(report: &Report, kept_in: Option<&Path>) -> String {
    let Report { ingested, busiest_hour, answers, simulated, identical_after_replay, verified } = report;
    let busiest = match busiest_hour {
        Some(hour) => format!("{} with {} dispatches", hour.window_start, hour.sample_count),
        None => "none".into(),
    };
    let identical = if *identical_after_replay { "identical answers" } else { "DIFFERENT ANSWERS" };
    let kept = kept_in.map(|dir| format!("\n\nkept in {}", dir.display())).unwrap_or_default();
    format!(
        "San Francisco fire calls, {} real rows\n\n\
         ingest         {}\n\
         busiest hour   {busiest}\n\n{}\n\n\
         simulate       {}\n\
         restart        actors stopped, journal replayed: {identical}\n\
         verify         {}{kept}",
        ingested.read,
        ingested.for_people(),
        regions_table(&answers.regions),
        simulated.for_people(),
        verification_for_people(verified).replace('\n', "\n               "),
    )
}

impl Simulated {
    fn for_people(&self) -> String {
        let Recommendation { recommended, scores, .. } = &self.recommendation;
        let shares =
            scores.iter().map(|score| format!("{} {:.1} %", score.name, 100.0 * score.measures.elevated_share));
        format!(
            "{} policies against {} real outcomes of a web server: {recommended} is recommended\n               \
             time above normal: {}",
            scores.len(),
            self.outcomes,
            shares.collect::<Vec<_>>().join(", "),
        )
    }
}

/// The directory of a demo: a given one that stays, or one of its own that goes.
struct Temporary {
    dir: PathBuf,
    is_ours: bool,
}

impl Temporary {
    fn beside(keep: Option<&Path>) -> Self {
        match keep {
            Some(dir) => Temporary { dir: dir.to_owned(), is_ours: false },
            None => Temporary {
                dir: std::env::temp_dir().join(format!("ionveil-demo-{}", uuid::Uuid::now_v7())),
                is_ours: true,
            },
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.is_ours
            && self.dir.exists()
            && let Err(source) = std::fs::remove_dir_all(&self.dir)
        {
            let error = Error::Io { doing: format!("removing {}", self.dir.display()), source };
            eprintln!("note: {error}");
        }
    }
}
