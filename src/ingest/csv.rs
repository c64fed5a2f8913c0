//! CSV as RFC 4180 has it: fields between commas, quotes around fields that hold commas, quotes or line ends.
//!
//! Rows are split here and not by the `csv` crate, which takes every quote problem for data: one quote that is never
//! closed would swallow the rest of the file. Here it costs one row. A quote in the midst of an unquoted field is data.

use std::io;

use ::csv::ByteRecord;
use ionveil_actors::error::Invalid;

use super::error::{Error, FieldError};
use super::lines::{Line, Lines, split_line_end};
use super::mapping::Mapping;
use super::reader::{Job, ROW_BYTES_MAX};

pub(super) fn read(job: &mut Job<'_>, mapping: &Mapping) -> Result<(), Error> {
    let mut rows = Rows::default();
    let header = |invalid| Error::Header { name: job.name.to_owned(), invalid };
    let bound = match rows.next(&mut job.lines, usize::MAX).map_err(|source| job.packing.error(job.name, source))? {
        Next::End => return Err(Error::Empty { name: job.name.to_owned(), allowed: "a header and a row a line" }),
        Next::Bad { invalid, .. } => return Err(header(invalid)),
        Next::Row { .. } => mapping.bind(&rows.record, job.name)?,
    };
    loop {
        let (line, outcome) =
            match rows.next(&mut job.lines, bound.width()).map_err(|source| job.packing.error(job.name, source))? {
                Next::End => return Ok(()),
                Next::Row { line } => (line, bound.event(&rows.record, job.org)),
                Next::Bad { line, invalid } => (line, Err(FieldError::from(invalid))),
            };
        if job.out.row(line, outcome, &rows.raw).is_break() {
            return Ok(());
        }
    }
}

/// Reads one row after the other. The row that was read last is in `record`, and as it stood in `raw`.
#[derive(Default)]
struct Rows {
    raw: Vec<u8>,
    record: ByteRecord,
    /// The quoted field that is being read.
    field: Vec<u8>,
    quoted: bool,
}

/// What [`Rows::next`] met.
enum Next {
    Row { line: u64 },
    Bad { line: u64, invalid: Invalid },
    End,
}

/// How far a row is after one of its lines.
enum Progress {
    Done,
    /// A quoted field goes on in the next line.
    Open,
    TextAfterQuote,
}

impl Rows {
    /// The next row that is not blank. `fields_max` limits how far a quoted field is followed from line to line.
    ///
    /// Whether a quote that stays open is an error shows only further down. It is one when the file ends, when the row
    /// grows beyond what a row may be, or when the quote that closes it stands before text. Then only the line on which
    /// the row started is bad, and the lines after it are read again as rows of their own.
    fn next(&mut self, lines: &mut Lines<'_>, fields_max: usize) -> io::Result<Next> {
        self.raw.clear();
        self.record.clear();
        self.field.clear();
        self.quoted = false;
        let mut first = 0..0; // the row's first line within `raw`
        let mut line = 0;
        loop {
            let start = self.raw.len();
            let met = lines.read(&mut self.raw)?;
            if start == 0 {
                first = 0..self.raw.len();
                line = lines.number();
            }
            let problem = match met {
                Line::End if start == 0 => return Ok(Next::End),
                Line::End => Invalid::new("row", "a quote that is never closed", QUOTES),
                Line::TooLong if start > 0 => {
                    // The quote was left open on the first line; the lines in between are rows of their own.
                    lines.unread_before_too_long(&self.raw[first.end..start]);
                    self.raw.truncate(first.end);
                    return Ok(Next::Bad {
                        line,
                        invalid: Invalid::new("row", "a quote that is not closed in time", QUOTES),
                    });
                }
                Line::TooLong => {
                    let allowed = format!("up to {ROW_BYTES_MAX} bytes");
                    return Ok(Next::Bad { line, invalid: Invalid::new("row", "a longer row", allowed) });
                }
                Line::Whole if start == 0 && split_line_end(&self.raw).0.is_empty() => {
                    self.raw.clear();
                    continue;
                }
                Line::Whole => match self.split(start) {
                    Progress::Done => return Ok(Next::Row { line }),
                    Progress::TextAfterQuote => Invalid::new("row", "text after a closing quote", QUOTES),
                    Progress::Open if self.raw.len() <= ROW_BYTES_MAX && self.record.len() < fields_max => continue,
                    Progress::Open => Invalid::new("row", "a quote that is not closed in time", QUOTES),
                },
            };
            lines.unread(&self.raw[first.end..]);
            self.raw.truncate(first.end);
            return Ok(Next::Bad { line, invalid: problem });
        }
    }

    /// Splits the line that starts at `start` in `raw`, going on with the field that the line before left open.
    fn split(&mut self, start: usize) -> Progress {
        let (mut rest, line_end) = split_line_end(&self.raw[start..]);
        loop {
            if !self.quoted {
                if let Some(quoted) = rest.strip_prefix(b"\"") {
                    self.quoted = true;
                    rest = quoted;
                } else {
                    let end = rest.iter().position(|&byte| byte == b',');
                    self.record.push_field(&rest[..end.unwrap_or(rest.len())]);
                    let Some(end) = end else { return Progress::Done };
                    rest = &rest[end + 1..];
                }
                continue;
            }
            let Some(end) = rest.iter().position(|&byte| byte == b'"') else {
                self.field.extend_from_slice(rest);
                self.field.extend_from_slice(line_end);
                return Progress::Open;
            };
            self.field.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.first() {
                Some(b'"') => self.field.push(b'"'),
                Some(b',') | None => {
                    self.record.push_field(&self.field);
                    self.field.clear();
                    self.quoted = false;
                }
                Some(_) => return Progress::TextAfterQuote,
            }
            if rest.is_empty() {
                return Progress::Done;
            }
            rest = &rest[1..];
        }
    }
}

const QUOTES: &str = "a quoted field with a comma or the line's end after it, quotes in it doubled";

#[cfg(test)]
mod tests {
    use proptest::test_runner::{Config as ProptestConfig, RngSeed};

    use super::*;
    use crate::ingest::testing::{HEADER, MAPPING, event_of, mapping, read_bytes, rows_of, told};

    const A: &str = "a,2026-01-31,4,6.5,North\n";
    const B: &str = "b,2026-01-31,4,6.5,North\n";

    #[track_caller]
    fn assert_told(file: &str, expected: &[&str]) {
        assert_eq!(told(&rows_of(file.as_bytes(), Some(&mapping(MAPPING)))), expected, "{file:?}");
    }

    /// Rows between an open quote and a line that is too long were once read by nobody.
    #[test]
    fn rows_between_an_open_quote_and_a_line_that_is_too_long_are_read() {
        let long = "x".repeat(ROW_BYTES_MAX + 1);
        let told = told(&rows_of(format!("{HEADER}x,\"\n{A}{B}{long}\n{A}").as_bytes(), Some(&mapping(MAPPING))));
        assert!(told[0].starts_with("line 2: row is a quote that is not closed in time"), "{}", told[0]);
        assert_eq!(told[1..3], ["line 3: a", "line 4: b"]);
        assert!(told[3].starts_with("line 5: row is a longer row"), "{}", told[3]);
        assert_eq!(told[4..], ["line 6: a"]);
    }

    #[test]
    fn line_ends_blank_lines_byte_order_mark_and_a_last_line_without_end_are_fine() {
        let lf = format!("{HEADER}{A}{B}");
        assert_told(&lf, &["line 2: a", "line 3: b"]);
        assert_told(&lf.replace('\n', "\r\n"), &["line 2: a", "line 3: b"]);
        assert_told(lf.trim_end(), &["line 2: a", "line 3: b"]);
        assert_told(&format!("\u{FEFF}{lf}"), &["line 2: a", "line 3: b"]);
        assert_told(&format!("\n\r\n{HEADER}\n{A}\r\n\n{B}\n"), &["line 5: a", "line 8: b"]);
        assert_told(HEADER, &[]);
    }

    #[test]
    fn quoted_fields_hold_commas_quotes_and_line_ends() {
        for (quoted, region) in [
            (r#""North""#, "North"),
            (r#""North, East""#, "North, East"),
            (r#""the ""old"" North""#, r#"the "old" North"#),
            ("\"North\nEast\"", "North\nEast"),
            ("\"North\r\n\r\nEast\"", "North\r\n\r\nEast"),
            (r#"12" North"#, r#"12" North"#), // a quote within an unquoted field is data
            (r#""""""#, r#"""#),
        ] {
            let file = format!("{HEADER}a,2026-01-31,\"4\",6.5,{quoted}\n");
            assert_eq!(event_of(&rows_of(file.as_bytes(), Some(&mapping(MAPPING)))).region, region);
        }
        assert_told(&format!("{HEADER}a,2026-01-31,4,6.5,\"x\ny\"\n{B}"), &["line 2: a", "line 4: b"]);
    }

    #[test]
    fn a_row_with_the_wrong_number_of_fields_is_rejected_alone() {
        assert_told(
            &format!("{HEADER}{A}b,2026-01-31,4,6.5\nc,2026-01-31,4,6.5,North,\n,\n{B}"),
            &[
                "line 2: a",
                "line 3: row is 4 fields, allowed: 5 fields, as the header",
                "line 4: row is 6 fields, allowed: 5 fields, as the header",
                "line 5: row is 2 fields, allowed: 5 fields, as the header",
                "line 6: b",
            ],
        );
    }

    #[test]
    fn a_quote_problem_costs_one_row_also_when_it_shows_lines_later() {
        let allowed = format!("allowed: {QUOTES}");
        let never = format!("line 2: row is a quote that is never closed, {allowed}");
        let after = format!("line 2: row is text after a closing quote, {allowed}");
        let late = format!("line 2: row is a quote that is not closed in time, {allowed}");
        let open = "x,2026-01-31,4,6.5,\"North\n";
        assert_told(&format!("{HEADER}{open}"), &[&never]);
        assert_told(&format!("{HEADER}{open}{A}{B}"), &[&never, "line 3: a", "line 4: b"]);
        assert_told(&format!("{HEADER}{open}{A}{}", B.trim_end()), &[&never, "line 3: a", "line 4: b"]);
        // The quote is closed by the one that opens a later field.
        let quoted = "a,2026-01-31,4,6.5,\"North\"\n";
        assert_told(&format!("{HEADER}{open}{quoted}{B}"), &[&after, "line 3: a", "line 4: b"]);
        assert_told(&format!("{HEADER}x,2026-01-31,4,6.5,\"North\"x\n{B}"), &[&after, "line 3: b"]);
        // Each line closes a quote and opens the next, which would never end.
        let next = "\",4,6.5,North,\"";
        let rows = rows_of(format!("{HEADER}x,\"\n{next}\n{A}").as_bytes(), Some(&mapping(MAPPING)));
        assert_eq!((told(&rows)[0].as_str(), told(&rows).last().expect("rows").as_str()), (late.as_str(), "line 4: a"));
        let [first, ..] = &rows[..] else { panic!("no rows") };
        assert_eq!(first.raw, "x,\"");
    }

    #[test]
    fn a_quote_that_stays_open_is_followed_only_so_far() {
        let filler = "x".repeat(1 << 20);
        let mut file = format!("{HEADER}x,2026-01-31,4,6.5,\"North\n");
        for _ in 0..17 {
            file.push_str(&filler);
            file.push('\n');
        }
        let (rows, end) = read_bytes(format!("{file}{A}").as_bytes(), Some(&mapping(MAPPING)));
        assert_eq!(end.expect("a file that can be read").rows, 19);
        assert!(told(&rows)[0].starts_with("line 2: row is a quote that is not closed in time"));
        assert_eq!(told(&rows)[18], "line 20: a");
        assert_eq!(rows[1].raw.len(), 4096);
    }

    #[test]
    fn a_row_beyond_the_limit_is_rejected_and_reading_goes_on() {
        let long = "x".repeat(ROW_BYTES_MAX + 10);
        assert_told(
            &format!("{HEADER}{long}\n{A}"),
            &["line 2: row is a longer row, allowed: up to 16777216 bytes", "line 3: a"],
        );
    }

    #[test]
    fn invalid_utf8_rejects_the_row_only_in_a_column_that_is_used() {
        let all = mapping(&MAPPING.replace("\"region\"", "\"id\""));
        let file =
            [HEADER.as_bytes(), b"a,2026-01-31,4,6.5,N\xFFrth\nb\xFF,2026-01-31,4,6.5,x\n", B.as_bytes()].concat();
        let rows = rows_of(&file, Some(&all));
        let told = told(&rows);
        assert_eq!(told, ["line 2: a", "line 3, column id: event_id is \"b\u{FFFD}\", allowed: UTF-8", "line 4: b"]);
        assert_eq!(rows[1].raw, "b\u{FFFD},2026-01-31,4,6.5,x");
    }

    #[test]
    fn what_no_field_can_be_made_of_names_line_column_value_and_what_is_allowed() {
        for (row, told) in [
            (",2026-01-31,4,6.5,N", "column id: event_id is missing, allowed: a text"),
            (
                "a,31.1.2026,4,6.5,N",
                "column at: timestamp is \"31.1.2026\", allowed: a date and time by the pattern %Y-%m-%d",
            ),
            (
                "a,2026-01-31,4.5,6.5,N",
                "column severity: severity is \"4.5\", allowed: an integer, 1 to 5 (5 is worst)",
            ),
            ("a,2026-01-31,4,6:30,N", "column minutes: response_time_minutes is \"6:30\", allowed: a number"),
            ("a,2026-01-31,4, ,N", "column minutes: response_time_minutes is missing, allowed: a number"),
        ] {
            assert_told(&format!("{HEADER}{row}\n{B}"), &[&format!("line 2, {told}"), "line 3: b"]);
        }
    }

    #[test]
    fn numbers_out_of_range_are_left_to_the_check() {
        for (row, field) in [
            ("a,2026-01-31,4,NaN,N", "response_time_minutes"),
            ("a,2026-01-31,4,inf,N", "response_time_minutes"),
            ("a,2026-01-31,4,-1,N", "response_time_minutes"),
            ("a,2026-01-31,9,6.5,N", "severity"),
        ] {
            let rows = rows_of(format!("{HEADER}{row}").as_bytes(), Some(&mapping(MAPPING)));
            assert_eq!(event_of(&rows).check().expect_err(row).field, field);
        }
    }

    #[test]
    fn a_file_without_header_or_with_a_broken_one_is_refused() {
        for (file, told) in [
            ("", "file in is empty, allowed: a header and a row a line"),
            ("\u{FEFF}\n\n", "file in is empty, allowed: a header and a row a line"),
            (
                "id,at,severity,minutes\n",
                "header of in: column region is missing, allowed: a column of the file (id, at, severity, minutes)",
            ),
            (
                "id,at,severity,minutes,region, at \n",
                "header of in: column at is there twice (columns 2 and 6), allowed: one column of that name",
            ),
        ] {
            let (rows, end) = read_bytes(file.as_bytes(), Some(&mapping(MAPPING)));
            let error = end.expect_err(file);
            assert_eq!((rows.len(), error.to_string().as_str()), (0, told));
            assert!(error.invalid().is_some());
        }
        let (_, end) = read_bytes(b"id,\"at\n", Some(&mapping(MAPPING)));
        assert!(
            end.expect_err("an open quote")
                .to_string()
                .starts_with("header of in: row is a quote that is never closed")
        );
    }

    #[test]
    fn a_name_that_is_there_twice_matters_only_when_it_is_used() {
        assert_told(&format!("{},note,note\n{},,\n", HEADER.trim_end(), A.trim_end()), &["line 2: a"]);
    }

    fn all_rows(text: &[u8], fields_max: usize) -> Vec<Result<Vec<Vec<u8>>, u64>> {
        let (mut rows, mut lines) = (Rows::default(), Lines::new(Box::new(text)));
        let mut all = Vec::new();
        loop {
            match rows.next(&mut lines, fields_max).expect("memory") {
                Next::Row { .. } => all.push(Ok(rows.record.iter().map(<[u8]>::to_vec).collect())),
                Next::Bad { line, .. } => all.push(Err(line)),
                Next::End => return all,
            }
        }
    }

    proptest::proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(4180), failure_persistence: None, ..Default::default() })]

        #[test]
        fn what_the_csv_crate_writes_is_read_back(
            records in proptest::collection::vec(proptest::collection::vec("[a ,\"\r\n\u{e4}]{0,5}", 2..5), 0..6),
            crlf: bool,
        ) {
            let terminator = if crlf { ::csv::Terminator::CRLF } else { ::csv::Terminator::Any(b'\n') };
            let mut writer = ::csv::WriterBuilder::new().flexible(true).terminator(terminator).from_writer(Vec::new());
            for record in &records {
                writer.write_record(record).expect("memory");
            }
            let written = writer.into_inner().expect("memory");
            let expected: Vec<_> =
                records.iter().map(|record| Ok(record.iter().map(|field| field.clone().into_bytes()).collect())).collect();
            proptest::prop_assert_eq!(all_rows(&written, 5), expected);
        }

        #[test]
        fn whatever_stands_in_a_file_every_line_is_in_one_row_at_most(text in "[a,\"\r\n]{0,60}", fields_max in 1_usize..4) {
            let blank = |line: &&str| split_line_end(line.as_bytes()).0.is_empty();
            let lines = text.split_inclusive('\n').filter(|line| !blank(line)).count();
            let rows = all_rows(text.as_bytes(), fields_max);
            proptest::prop_assert!(rows.len() <= lines);
            proptest::prop_assert!(rows.iter().filter_map(|row| row.as_ref().err()).is_sorted());
        }
    }
}
