//! `ionveil journal stat|verify|streams|replay|export`

use std::process::ExitCode;

use ionveil::journal::{Hash, StreamId};
use ionveil::{AuditFilter, Error, Invalid, JournalStat, Verification, verify_data};

use super::audit::print_all;
use super::failure::Failure;
use super::output::{Output, table};
use super::place::Place;
use super::progress::Progress;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Figures about the journal: events, streams, head position and hash, bytes on disk.
    #[command(after_help = "Example:\n  ionveil --json journal stat")]
    Stat,
    /// Check every event against the hash chain and the head checkpoint, on a copy. Exit code 1 on damage.
    #[command(after_help = "Example:
  ionveil journal verify --expect-head \"$(cat head-hash-from-last-month)\"

A head hash that is kept elsewhere (journal stat prints it) proves that nothing up to it was changed since. The copy is
made in TMPDIR; the files themselves are only read.")]
    Verify {
        /// A hash that the journal must have had as its head at some position.
        #[arg(long, value_name = "HASH")]
        expect_head: Option<String>,
    },
    /// Every stream with its length, one a line.
    #[command(after_help = "Example:\n  ionveil --json journal streams")]
    Streams,
    /// The events of one stream, one a line.
    #[command(after_help = "Example:\n  ionveil --json journal replay --stream dispatch/sffd --from 1 --to 10")]
    Replay {
        /// The stream, such as dispatch/sffd.
        #[arg(long, value_name = "S")]
        stream: String,
        /// First sequence; 1 by default.
        #[arg(long, value_name = "N")]
        from: Option<u64>,
        /// Last sequence; that of the last event by default.
        #[arg(long, value_name = "N")]
        to: Option<u64>,
    },
    /// All events as JSON, one a line.
    #[command(after_help = "Example:\n  ionveil journal export | gzip > events.ndjson.gz")]
    Export,
}

pub(super) fn run(command: &Command, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    match command {
        Command::Stat => {
            let stat = place.open_to_ask()?.audit().stat();
            output.document(&stat, stat_for_people)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Verify { expect_head } => {
            let expected = expect_head.as_deref().map(expected_head).transpose()?;
            let mut progress = Progress::events("verifying");
            let copying = Progress::waiting("copying");
            let mut copying = Some(copying);
            let verification = verify_data(&place.data, expected, &mut |events| {
                drop(copying.take());
                progress.set(events);
            })?;
            drop(progress);
            output.document(&verification, verification_for_people)?;
            Ok(if verification.ok { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
        Command::Streams => {
            let streams = place.open_to_ask()?.audit().streams();
            if output.is_json() {
                streams.iter().try_for_each(|stream| output.json_line(stream))?;
            } else {
                let rows = streams.iter().map(|stream| [stream.stream.clone(), stream.events.to_string()]);
                output.line(&table(["stream", "events"], rows))?;
            }
            output.flush()?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Replay { stream, from, to } => {
            let stream: StreamId = stream.parse().map_err(Error::from)?;
            if let (Some(from), Some(to)) = (from, to)
                && from > to
            {
                return Err(Invalid::new("from", from, format!("at most to, which is {to}")).into());
            }
            let audit = place.open_to_ask()?.audit();
            audit.stream_len(&stream)?;
            let filter =
                AuditFilter { stream: Some(stream), from_sequence: *from, to_sequence: *to, ..AuditFilter::default() };
            print_all(&audit, &filter, output.is_json(), output)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Export => {
            print_all(&place.open_to_ask()?.audit(), &AuditFilter::default(), true, output)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn expected_head(text: &str) -> Result<Hash, Invalid> {
    text.parse().map_err(|_| Invalid::new("expect_head", text, "64 hexadecimal digits"))
}

fn stat_for_people(stat: &JournalStat) -> String {
    format!(
        "{} events in {} streams, {} blocks, {} bytes on disk ({})\nhead position {}\nhead hash {}",
        stat.events,
        stat.streams,
        stat.blocks,
        stat.bytes_on_disk,
        stat.engine,
        stat.head.head_position,
        stat.head.head_hash
    )
}

/// What a verification found, for people.
pub(super) fn verification_for_people(verification: &Verification) -> String {
    let Verification { events, blocks, head, .. } = verification;
    match (verification.first_bad_position, &verification.problem) {
        (Some(position), Some(problem)) => {
            format!("DAMAGED at position {position}: {problem}\n{events} events before it are as they were written")
        }
        _ => format!("ok: {events} events in {blocks} blocks are as they were written\nhead hash {}", head.head_hash),
    }
}
