//! The way from a source to rows, for both formats.

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicU64;

use ionveil_actors::dispatch::DispatchEvent;
use ionveil_actors::domain::OrgId;

use super::error::{Error, FieldError, Rejection};
use super::lines::Lines;
use super::mapping::Mapping;
use super::source::{Packing, Source, unpack};
use super::{csv, ndjson};

/// A row over so many bytes (16 MiB) is rejected without being held in memory.
pub const ROW_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One row of a file, turned into an event or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The physical line on which it starts; counts from 1, the header of a CSV file included.
    pub line: u64,
    /// How long the row is, in bytes.
    pub len: usize,
    /// The row as it stood, cut after [`Row::RAW_BYTES_MAX`]; what is not UTF-8 is shown as U+FFFD.
    pub raw: String,
    /// The event, its ranges not yet checked.
    pub outcome: Result<DispatchEvent, Rejection>,
}

impl Row {
    /// So much of a row is kept, in bytes.
    pub const RAW_BYTES_MAX: usize = 4096;

    fn kept(raw: &[u8]) -> String {
        let kept = raw.trim_ascii_end();
        let kept = &kept[..kept.len().min(Self::RAW_BYTES_MAX)];
        // A cut through the middle of a character is the cut's fault, not the row's: leave the rest of it out.
        let kept = match std::str::from_utf8(kept) {
            Err(error) if error.error_len().is_none() && raw.len() > kept.len() => &kept[..error.valid_up_to()],
            _ => kept,
        };
        match std::str::from_utf8(kept) {
            Ok(text) => text.to_owned(),
            Err(_) => String::from_utf8_lossy(kept).into_owned(),
        }
    }
}

/// What [`read`] handed out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadSummary {
    /// Rows, rejected ones included; neither the header nor blank lines.
    pub rows: u64,
    /// Those that are no events.
    pub rejected: u64,
    /// Whether the caller broke off before the end.
    pub stopped: bool,
}

/// Reads `source` from start to end and hands each row to `each`, in the order of the file, until that breaks off.
///
/// With a mapping the file is CSV with a header, without one it is NDJSON, where a line may leave `org_id` out. Either
/// may be gzip, of one or several members; the bytes tell, not the name. `bytes_read` grows by what is taken from
/// the file as it lies on disk; [`Source::bytes_total`] is what it grows to.
///
/// # Errors
/// When the file cannot be read, is empty, is damaged gzip, or lacks a column of the mapping. Rows before the fault
/// have been handed out: of a gzip file that ends too early all of them, of one with damage inside those up to the
/// block of 8 KiB (unpacked) in which the decoder noticed it.
pub fn read(
    source: &Source,
    org: &OrgId,
    mapping: Option<&Mapping>,
    bytes_read: &AtomicU64,
    each: &mut dyn FnMut(Row) -> ControlFlow<()>,
) -> Result<ReadSummary, Error> {
    read_from(&source.to_string(), source.open()?, org, mapping, bytes_read, each)
}

/// Finds out whether `source` can be read at all: it is there, not empty, and has the columns of the mapping. Reads its
/// beginning only. Standard input and pipes are taken on trust, since what is read of them is gone.
///
/// # Errors
/// As [`read`].
pub fn probe(source: &Source, org: &OrgId, mapping: Option<&Mapping>) -> Result<(), Error> {
    if source.is_read_once() {
        return Ok(());
    }
    read(source, org, mapping, &AtomicU64::new(0), &mut |_| ControlFlow::Break(())).map(|_| ())
}

/// As [`read`], from any reader; `name` is what errors call it.
///
/// # Errors
/// As [`read`].
pub fn read_from(
    name: &str,
    input: impl Read,
    org: &OrgId,
    mapping: Option<&Mapping>,
    bytes_read: &AtomicU64,
    each: &mut dyn FnMut(Row) -> ControlFlow<()>,
) -> Result<ReadSummary, Error> {
    let (text, packing) =
        unpack(input, bytes_read).map_err(|source| Error::Unreadable { name: name.to_owned(), source })?;
    let mut job =
        Job { name, packing, org, lines: Lines::new(text), out: Out { each, summary: ReadSummary::default() } };
    match mapping {
        Some(mapping) => csv::read(&mut job, mapping)?,
        None => ndjson::read(&mut job)?,
    }
    Ok(job.out.summary)
}

/// What both formats need while reading one file.
pub(super) struct Job<'a> {
    pub(super) name: &'a str,
    pub(super) packing: Packing,
    pub(super) org: &'a OrgId,
    pub(super) lines: Lines<'a>,
    pub(super) out: Out<'a>,
}

/// Where rows go, and how many went there.
pub(super) struct Out<'a> {
    each: &'a mut dyn FnMut(Row) -> ControlFlow<()>,
    summary: ReadSummary,
}

impl Out<'_> {
    /// Hands one row out; `raw` are its bytes.
    pub(super) fn row(&mut self, line: u64, outcome: Result<DispatchEvent, FieldError>, raw: &[u8]) -> ControlFlow<()> {
        self.summary.rows += 1;
        self.summary.rejected += u64::from(outcome.is_err());
        let outcome = outcome.map_err(|error| Rejection::new(line, error));
        let flow = (self.each)(Row { line, len: raw.len(), raw: Row::kept(raw), outcome });
        self.summary.stopped = flow.is_break();
        flow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_kept_as_it_stood_lossy_and_capped() {
        assert_eq!(Row::kept(b"a,X\r\n"), "a,X");
        assert_eq!(Row::kept(b"a\xFFb"), "a\u{FFFD}b");
        assert_eq!(Row::kept("ä".repeat(3000).as_bytes()), "ä".repeat(2048));
        assert_eq!(Row::kept(format!("x{}", "ä".repeat(3000)).as_bytes()), format!("x{}", "ä".repeat(2047)));
    }
}
