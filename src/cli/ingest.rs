//! `ionveil ingest`

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use ionveil::domain::OrgId;
use ionveil::ingest::{self, Mapping, Rejection, Row, Source};
use ionveil::{DispatchAggregator, Error, IngestStream, Invalid, Settled};
use pollster::block_on;
use serde::Serialize;
use serde_json::json;

use super::failure::Failure;
use super::output::Output;
use super::place::Place;
use super::progress::Progress;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ionveil ingest --org sffd --mapping examples/sf-fire-calls.toml --retention-hours 0 examples/sf-fire-calls-extract.csv
  zcat events.ndjson.gz | ionveil --json ingest --org sffd -

Every accepted event is on disk before it is counted in the summary. Running the same file again counts its events as
duplicates and changes nothing.")]
pub(super) struct Args {
    /// Whose dispatches they are.
    #[arg(long)]
    org: String,
    /// Says how CSV columns become events; without it the files are NDJSON, one event a line.
    #[arg(long, value_name = "M.toml")]
    mapping: Option<PathBuf>,
    /// Keep the org's dispatches so many hours behind the latest one, from now on; 0 keeps them for ever. New orgs have 24.
    #[arg(long, value_name = "N")]
    retention_hours: Option<u32>,
    /// Write rejected rows here, one JSON document a line, with line and reason.
    #[arg(long, value_name = "F")]
    rejects: Option<PathBuf>,
    /// Files, plain or gzip; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
}

/// What became of the rows.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    pub(super) read: u64,
    pub(super) accepted: u64,
    pub(super) duplicates: u64,
    pub(super) rejected: u64,
    pub(super) rejected_reasons: BTreeMap<&'static str, u64>,
    pub(super) seconds: f64,
    /// Rows read, made durable and counted per second.
    pub(super) events_per_second: f64,
}

pub(super) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    let org: OrgId = args.org.parse()?;
    let mapping = args.mapping.as_deref().map(Mapping::load).transpose()?;
    let mut rejects = Rejects::to(args.rejects.as_deref())?;
    let ionveil = place.open()?;
    let aggregator = ionveil.dispatch_aggregator();
    if let Some(hours) = args.retention_hours {
        block_on(aggregator.set_retention(&org, hours))?;
    }
    let mut summary = Summary::new();
    let started = Instant::now();
    let mut failed = None;
    for file in &args.files {
        let Ok(source) = file.parse::<Source>();
        rejects.source = source.to_string();
        if let Err(failure) = ingest_source(&aggregator, &org, mapping.as_ref(), &source, &mut rejects, &mut summary) {
            failed = Some(failure);
            break;
        }
    }
    summary.took(started);
    rejects.finish()?;
    drop((aggregator, ionveil));
    match failed {
        None => {
            output.document(&summary, Summary::for_people)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(failure) => {
            eprintln!("before the failure: {}", summary.for_people());
            Err(failure)
        }
    }
}

/// Rows that the reader hands over at a time.
const CHUNK_ROWS: usize = 256;
/// Chunks that the reader may be ahead of the aggregator.
const CHUNKS_AHEAD: usize = 8;

/// Reads one source on a thread of its own and counts its events; what was read before a failure stays counted.
fn ingest_source(
    aggregator: &DispatchAggregator,
    org: &OrgId,
    mapping: Option<&Mapping>,
    source: &Source,
    rejects: &mut Rejects,
    summary: &mut Summary,
) -> Result<(), Failure> {
    let bytes_read = AtomicU64::new(0);
    let mut progress = Progress::bytes(&source.to_string(), source.bytes_total());
    std::thread::scope(|scope| {
        let (sender, chunks) = mpsc::sync_channel(CHUNKS_AHEAD);
        let bytes_read = &bytes_read;
        let reader = scope.spawn(move || read_chunks(source, org, mapping, bytes_read, &sender));
        // When counting fails the channel is closed, and the reader stops.
        let counted = count_rows(aggregator, chunks, rejects, summary, &mut || {
            progress.set(bytes_read.load(Ordering::Relaxed));
        });
        let read = reader.join().map_err(|_| {
            let panicked = std::io::Error::other("the reader panicked");
            Error::Io { doing: format!("reading {source}"), source: panicked }
        })?;
        counted.and(read.map_err(Failure::from))
    })
}

fn read_chunks(
    source: &Source,
    org: &OrgId,
    mapping: Option<&Mapping>,
    bytes_read: &AtomicU64,
    chunks: &mpsc::SyncSender<Vec<Row>>,
) -> Result<(), ingest::Error> {
    let mut chunk = Vec::with_capacity(CHUNK_ROWS);
    let result = ingest::read(source, org, mapping, bytes_read, &mut |row| {
        chunk.push(row);
        if chunk.len() < CHUNK_ROWS {
            return ControlFlow::Continue(());
        }
        match chunks.send(std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK_ROWS))) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    // The last rows, also those before a fault in the file. Nobody may be left to take them.
    let _ = chunks.send(chunk);
    result.map(|_| ())
}

/// Counts rows that are read already; also what `demo` does.
pub(super) fn count_rows(
    aggregator: &DispatchAggregator,
    chunks: impl IntoIterator<Item = Vec<Row>>,
    rejects: &mut Rejects,
    summary: &mut Summary,
    after_chunk: &mut dyn FnMut(),
) -> Result<(), Failure> {
    let mut stream = aggregator.ingest_stream();
    for chunk in chunks {
        for Row { line, outcome } in chunk {
            summary.read += 1;
            match outcome {
                Ok(event) => stream.push(line, event),
                Err(rejection) => {
                    summary.reject("invalid");
                    rejects.row(&rejection)?;
                }
            }
            if stream.is_full() {
                settle(&mut stream, rejects, summary)?;
            }
        }
        after_chunk();
    }
    stream.flush();
    while settle(&mut stream, rejects, summary)? {}
    Ok(())
}

/// Waits for the oldest message under way; false when there is none.
fn settle(stream: &mut IngestStream<u64>, rejects: &mut Rejects, summary: &mut Summary) -> Result<bool, Failure> {
    let Some(Settled { tags: lines, report }) = block_on(stream.settle())? else { return Ok(false) };
    summary.accepted += report.accepted as u64;
    summary.duplicates += report.duplicates.len() as u64;
    for rejected in report.rejected {
        let reason = rejected.because.as_str();
        summary.reject(reason);
        rejects.note(lines[rejected.index], reason, None, &rejected.because.to_invalid(), None)?;
    }
    Ok(true)
}

impl Summary {
    pub(super) fn new() -> Self {
        let none = ["invalid", "in_future", "too_late"].map(|reason| (reason, 0));
        Summary { rejected_reasons: none.into(), ..Summary::default() }
    }

    pub(super) fn took(&mut self, started: Instant) {
        self.seconds = started.elapsed().as_secs_f64();
        self.events_per_second = self.read as f64 / self.seconds.max(1e-9);
    }

    fn reject(&mut self, reason: &'static str) {
        self.rejected += 1;
        *self.rejected_reasons.entry(reason).or_default() += 1;
    }

    pub(super) fn for_people(&self) -> String {
        let reasons: Vec<String> =
            self.rejected_reasons.iter().filter(|(_, n)| **n > 0).map(|(reason, n)| format!("{n} {reason}")).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
        format!(
            "read {}, accepted {}, duplicates {}, rejected {}{reasons}, in {:.2} s ({:.0} rows/s)",
            self.read, self.accepted, self.duplicates, self.rejected, self.seconds, self.events_per_second
        )
    }
}

/// Where rejected rows go. The first few are also told on stderr, so that nobody has to run twice to see what is wrong.
pub(super) struct Rejects {
    file: Option<(BufWriter<File>, PathBuf)>,
    told: usize,
    /// Where the rows come from: a line says little when there are several files.
    pub(super) source: String,
}

const TOLD_MAX: usize = 5;

impl Rejects {
    pub(super) fn to(path: Option<&std::path::Path>) -> Result<Self, Failure> {
        let create = |path: &std::path::Path| {
            let file = File::create(path).map_err(|source| {
                Invalid::new("rejects", path.display(), format!("a file that can be written ({source})"))
            })?;
            Ok::<_, Failure>((BufWriter::new(file), path.to_owned()))
        };
        Ok(Rejects { file: path.map(create).transpose()?, told: 0, source: String::new() })
    }

    fn row(&mut self, rejection: &Rejection) -> Result<(), Failure> {
        let Rejection { line, column, invalid, raw } = rejection;
        self.note(*line, "invalid", column.as_deref(), invalid, Some(raw))
    }

    fn note(
        &mut self,
        line: u64,
        reason: &str,
        column: Option<&str>,
        invalid: &Invalid,
        row: Option<&str>,
    ) -> Result<(), Failure> {
        self.told += 1;
        if self.told <= TOLD_MAX {
            let column = column.map(|column| format!(", column {column}")).unwrap_or_default();
            eprintln!("rejected ({reason}): {}, line {line}{column}: {invalid}", self.source);
        } else if self.told == TOLD_MAX + 1 {
            eprintln!("rejected: more, see --rejects FILE");
        }
        let Some((file, path)) = &mut self.file else { return Ok(()) };
        let Invalid { field, value, allowed } = invalid;
        let rejected = json!({
            "file": self.source, "line": line, "reason": reason, "column": column, "field": field, "value": value, "allowed": allowed, "row": row,
        });
        writeln!(file, "{rejected}")
            .map_err(|source| Error::Io { doing: format!("writing {}", path.display()), source }.into())
    }

    fn finish(self) -> Result<(), Failure> {
        let Some((mut file, path)) = self.file else { return Ok(()) };
        file.flush().map_err(|source| Error::Io { doing: format!("writing {}", path.display()), source }.into())
    }
}
