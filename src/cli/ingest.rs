//! `ionveil ingest`

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ionveil::dispatch::SetRetention;
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
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
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
    if let Some(hours) = args.retention_hours {
        SetRetention { hours }.check()?;
    }
    let mapping = args.mapping.as_deref().map(Mapping::load).transpose()?;
    let sources: Vec<Source> =
        args.files.iter().map(|file| file.parse().unwrap_or_else(|never| match never {})).collect();
    // What can be refused is refused before anything is changed.
    for source in &sources {
        ingest::probe(source, &org, mapping.as_ref())?;
    }
    let mut rejects = Rejects::to(args.rejects.as_deref(), &sources)?;
    let ionveil = place.open()?;
    let aggregator = ionveil.dispatch_aggregator();
    rejects.begin()?;
    let mut job =
        Job { aggregator: &aggregator, org: &org, mapping: mapping.as_ref(), retention_hours: args.retention_hours };
    let mut summary = Summary::new();
    let started = Instant::now();
    let mut failed = None;
    for source in &sources {
        rejects.source = source.to_string();
        if let Err(failure) = job.ingest(source, &mut rejects, &mut summary) {
            failed = Some(failure);
            break;
        }
    }
    summary.took(started);
    rejects.finish()?;
    let _ = block_on(ionveil.shutdown(SHUTDOWN_TIMEOUT));
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

/// Rows that the reader hands over at a time, fewer when they are long.
const CHUNK_ROWS: usize = 256;
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks that the reader may be ahead of the aggregator. What a row holds can take many times its bytes in memory.
const CHUNKS_AHEAD: usize = 2;

/// How long the end of the command waits for what is under way; nothing is, once everything is settled.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// What all sources of one ingest share; also what `demo` does.
pub(super) struct Job<'a> {
    pub(super) aggregator: &'a DispatchAggregator,
    pub(super) org: &'a OrgId,
    pub(super) mapping: Option<&'a Mapping>,
    /// Set with the first good row, since a file without one changes nothing.
    pub(super) retention_hours: Option<u32>,
}

/// A row under way: where it stands, and as it stood.
struct Tag {
    line: u64,
    raw: String,
}

impl Job<'_> {
    /// Reads one source on a thread of its own and counts its events; what was read before a failure stays counted.
    fn ingest(&mut self, source: &Source, rejects: &mut Rejects, summary: &mut Summary) -> Result<(), Failure> {
        let bytes_read = AtomicU64::new(0);
        let mut progress = Progress::bytes(&source.to_string(), source.bytes_total());
        std::thread::scope(|scope| {
            let (sender, chunks) = mpsc::sync_channel(CHUNKS_AHEAD);
            let (bytes_read, org, mapping, keeps_raw) = (&bytes_read, self.org, self.mapping, rejects.file.is_some());
            let reader = scope.spawn(move || read_chunks(source, org, mapping, keeps_raw, bytes_read, &sender));
            // When counting fails the channel is closed, and the reader stops.
            let counted = self.count(chunks, rejects, summary, &mut || {
                progress.set(bytes_read.load(Ordering::Relaxed));
            });
            let read = reader.join().map_err(|_| {
                let panicked = std::io::Error::other("the reader panicked");
                Error::Io { doing: format!("reading {source}"), source: panicked }
            })?;
            counted.and(read.map_err(Failure::from))
        })
    }

    /// Counts rows that are read already.
    pub(super) fn count(
        &mut self,
        chunks: impl IntoIterator<Item = Vec<Row>>,
        rejects: &mut Rejects,
        summary: &mut Summary,
        after_chunk: &mut dyn FnMut(),
    ) -> Result<(), Failure> {
        let mut stream = self.aggregator.ingest_stream();
        for chunk in chunks {
            for Row { line, raw, outcome, .. } in chunk {
                summary.read += 1;
                match outcome {
                    Ok(event) => {
                        if let Some(hours) = self.retention_hours.take() {
                            block_on(self.aggregator.set_retention(self.org, hours))?;
                        }
                        stream.push(Tag { line, raw }, event);
                    }
                    Err(Rejection { column, invalid, .. }) => {
                        summary.reject("invalid");
                        rejects.note(&Tag { line, raw }, "invalid", column.as_deref(), &invalid)?;
                    }
                }
                if stream.is_full() {
                    self.settle(&mut stream, rejects, summary)?;
                }
            }
            after_chunk();
        }
        stream.flush();
        while self.settle(&mut stream, rejects, summary)? {}
        Ok(())
    }

    /// Waits for the oldest message under way; false when there is none.
    fn settle(
        &self,
        stream: &mut IngestStream<Tag>,
        rejects: &mut Rejects,
        summary: &mut Summary,
    ) -> Result<bool, Failure> {
        let Some(Settled { tags, report }) = block_on(stream.settle())? else { return Ok(false) };
        summary.accepted += report.accepted as u64;
        summary.duplicates += report.duplicates.len() as u64;
        for rejected in report.rejected {
            let reason = rejected.because.as_str();
            summary.reject(reason);
            let invalid = rejected.because.to_invalid();
            let column = self.mapping.and_then(|mapping| mapping.column_of(&invalid.field));
            rejects.note(&tags[rejected.index], reason, column, &invalid)?;
        }
        Ok(true)
    }
}

fn read_chunks(
    source: &Source,
    org: &OrgId,
    mapping: Option<&Mapping>,
    keeps_raw: bool,
    bytes_read: &AtomicU64,
    chunks: &mpsc::SyncSender<Vec<Row>>,
) -> Result<(), ingest::Error> {
    let mut chunk = Vec::with_capacity(CHUNK_ROWS);
    let mut bytes = 0;
    let result = ingest::read(source, org, mapping, bytes_read, &mut |mut row| {
        bytes += row.len;
        if !keeps_raw {
            // Nobody will ask how the row stood; what is freed here need not be carried through the whole system.
            row.raw = String::new();
        }
        chunk.push(row);
        if chunk.len() < CHUNK_ROWS && bytes < CHUNK_BYTES {
            return ControlFlow::Continue(());
        }
        bytes = 0;
        match chunks.send(std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK_ROWS))) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    // The last rows, also those before a fault in the file. Nobody may be left to take them.
    let _ = chunks.send(chunk);
    result.map(|_| ())
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

    pub(super) fn reject(&mut self, reason: &'static str) {
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

/// Where rejected rows go, in the order in which they were found out. The first few are also told on stderr, so that
/// nobody has to run twice to see what is wrong.
pub(super) struct Rejects {
    file: Option<(BufWriter<File>, PathBuf)>,
    told: usize,
    /// Where the rows come from: a line says little when there are several files.
    pub(super) source: String,
}

const TOLD_MAX: usize = 5;

impl Rejects {
    /// Opens the file, but leaves what is in it until [`Rejects::begin`].
    pub(super) fn to(path: Option<&Path>, sources: &[Source]) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Rejects { file: None, told: 0, source: String::new() }) };
        let same_file = |source: &Source| match (source, path.canonicalize()) {
            (Source::File(input), Ok(path)) => input.canonicalize().is_ok_and(|input| input == path),
            _ => false,
        };
        if sources.iter().any(same_file) {
            return Err(Invalid::new("rejects", path.display(), "another file than the input").into());
        }
        let file = OpenOptions::new().create(true).write(true).truncate(false).open(path).map_err(|source| {
            Invalid::new("rejects", path.display(), format!("a file that can be written ({source})"))
        })?;
        Ok(Rejects { file: Some((BufWriter::new(file), path.to_owned())), told: 0, source: String::new() })
    }

    /// Forgets what an earlier run has left in the file.
    fn begin(&mut self) -> Result<(), Failure> {
        let Some((file, path)) = &mut self.file else { return Ok(()) };
        file.get_ref().set_len(0).map_err(|source| not_written(path, source))
    }

    fn note(&mut self, row: &Tag, reason: &str, column: Option<&str>, invalid: &Invalid) -> Result<(), Failure> {
        let Tag { line, raw } = row;
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
            "file": self.source, "line": line, "reason": reason, "column": column,
            "field": field, "value": value, "allowed": allowed, "row": raw,
        });
        writeln!(file, "{rejected}").map_err(|source| not_written(path, source))
    }

    fn finish(self) -> Result<(), Failure> {
        let Some((mut file, path)) = self.file else { return Ok(()) };
        file.flush().map_err(|source| not_written(&path, source))
    }
}

fn not_written(path: &Path, source: std::io::Error) -> Failure {
    Error::Io { doing: format!("writing {}", path.display()), source }.into()
}
