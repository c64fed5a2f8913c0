//! `ionveil incident import`: checks from files.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use ionveil::domain::{MICROS_PER_MINUTE, OrgId};
use ionveil::ingest::{self, Mapping, Source};
use ionveil::{DispatchEvent, IncidentCheck, Invalid};
use pollster::block_on;

use super::acting::At;
use super::failure::Failure;
use super::ingest::Summary;
use super::output::Output;
use super::place::Place;

#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  ionveil incident import --org sffd --mapping examples/sf-fire-calls.toml examples/sf-fire-calls-extract.csv

The mapping is that of ingest: event_id is the incident, timestamp its dispatch, 6 − severity its priority, and it was
arrived at response_time_minutes later (a pending or active one was not). Without a mapping a file is NDJSON of dispatch
events. An incident that is told again without anything new is a duplicate and changes nothing.")]
pub(super) struct Args {
    /// Whose incidents they are.
    #[arg(long)]
    org: String,
    /// Says how CSV columns become incidents; without it the files are NDJSON, one event a line.
    #[arg(long, value_name = "M.toml")]
    mapping: Option<PathBuf>,
    /// Files, plain or gzip; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    #[command(flatten)]
    at: At,
}

/// Checks under way at a time.
const UNDER_WAY_MAX: usize = 256;

pub(super) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    let org: OrgId = args.org.parse()?;
    let mapping = args.mapping.as_deref().map(Mapping::load).transpose()?;
    let sources: Vec<Source> =
        args.files.iter().map(|file| file.parse().unwrap_or_else(|never| match never {})).collect();
    for source in &sources {
        ingest::probe(source, &org, mapping.as_ref())?;
    }
    let ionveil = place.open()?;
    let current_time = args.at.instant(&ionveil, Some(&org))?;
    let monitor = ionveil.sla_monitor_service();
    let (mut summary, started) = (Summary::new(), Instant::now());
    // The first one is waited for: with it the rules are at hand, and the others are sent, and judged, in the order of the file.
    let mut under_way_max = 1;
    for source in &sources {
        let mut under_way = VecDeque::new();
        let mut failed = None;
        let mut settle = |check: Pinned, summary: &mut Summary| match block_on(check) {
            Ok(report) if report.is_known => summary.duplicates += 1,
            Ok(_) => summary.accepted += 1,
            Err(error) => match error.invalid() {
                Some(invalid) => {
                    // Of rows that can be read only those are refused by it that are older than what is kept.
                    let reason = if invalid.field == "dispatch_time" { "too_late" } else { "invalid" };
                    eprintln!("rejected ({reason}): {source}: {invalid}");
                    summary.reject(reason);
                }
                None => failed = Some(error),
            },
        };
        let read = ingest::read(source, &org, mapping.as_ref(), &AtomicU64::new(0), &mut |row| {
            summary.read += 1;
            match row.outcome.map_err(|rejection| rejection.invalid).and_then(|event| check_of(&event, current_time)) {
                Err(invalid) => {
                    eprintln!("rejected (invalid): {source}, line {}: {invalid}", row.line);
                    summary.reject("invalid");
                }
                Ok(check) => {
                    let monitor = monitor.clone();
                    under_way.push_back(started_check(monitor, check));
                    if under_way.len() >= under_way_max
                        && let Some(oldest) = under_way.pop_front()
                    {
                        settle(oldest, &mut summary);
                        under_way_max = UNDER_WAY_MAX;
                    }
                }
            }
            ControlFlow::Continue(())
        });
        for check in under_way {
            settle(check, &mut summary);
        }
        read?;
        if let Some(error) = failed {
            return Err(error.into());
        }
    }
    summary.took(started);
    output.document(&summary, Summary::for_people)?;
    Ok(ExitCode::SUCCESS)
}

type Pinned = std::pin::Pin<Box<dyn Future<Output = Result<ionveil::alerts::CheckReport, ionveil::Error>>>>;

/// A check that is on its way when this returns.
fn started_check(monitor: ionveil::SlaMonitorService, check: IncidentCheck) -> Pinned {
    let mut running: Pinned = Box::pin(async move { monitor.check_incident(check).await });
    // Polled once, so that it is sent; the reply is waited for later.
    let waker = std::task::Waker::noop();
    match running.as_mut().poll(&mut std::task::Context::from_waker(waker)) {
        std::task::Poll::Ready(done) => Box::pin(std::future::ready(done)),
        std::task::Poll::Pending => running,
    }
}

/// A dispatch as the incident that it reports on.
fn check_of(event: &DispatchEvent, current_time: Option<ionveil::domain::Timestamp>) -> Result<IncidentCheck, Invalid> {
    event.check()?;
    let micros = (event.response_time_minutes * MICROS_PER_MINUTE as f64).round();
    let is_over = event.status == ionveil::dispatch::Status::Closed;
    Ok(IncidentCheck {
        incident_id: event.event_id.clone(),
        org_id: event.org_id.clone(),
        priority: 6 - event.severity,
        dispatch_time: event.timestamp,
        arrival_time: is_over.then(|| event.timestamp.saturating_add_micros(micros as i64)),
        closed_time: None,
        current_time,
    })
}
