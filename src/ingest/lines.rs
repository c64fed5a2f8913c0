//! Physical lines with their numbers, none of them longer than [`ROW_BYTES_MAX`] in memory.

use std::io::{self, BufRead, Read};

use super::reader::ROW_BYTES_MAX;

/// The lines of a text. A byte order mark at its start is left out.
pub(super) struct Lines<'a> {
    input: Box<dyn BufRead + 'a>,
    /// Lines that were read once and are to be read again, before those of `input`.
    again: io::Cursor<Vec<u8>>,
    /// Whether a line that was too long came after those in `again`.
    again_too_long: bool,
    number: u64,
}

/// What [`Lines::read`] met.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line was appended, with its line end if it has one.
    Whole,
    /// The line is longer than [`ROW_BYTES_MAX`]. Its start was appended, its end is read past.
    TooLong,
    /// There is no further line.
    End,
}

impl<'a> Lines<'a> {
    pub(super) fn new(input: Box<dyn BufRead + 'a>) -> Self {
        Lines { input, again: io::Cursor::default(), again_too_long: false, number: 0 }
    }

    /// The line that was read last; counts from 1.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Appends the next line to `buffer`.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<Line> {
        if self.again.read_until(b'\n', buffer)? > 0 {
            self.number += 1;
            return Ok(Line::Whole); // it was not too long the first time
        }
        if std::mem::take(&mut self.again_too_long) {
            self.number += 1;
            return Ok(Line::TooLong);
        }
        let start = buffer.len();
        let count = self.input.by_ref().take(ROW_BYTES_MAX as u64 + 1).read_until(b'\n', buffer)?;
        if count == 0 {
            return Ok(Line::End);
        }
        self.number += 1;
        if self.number == 1 && buffer[start..].starts_with(b"\xEF\xBB\xBF") {
            buffer.drain(start..start + 3);
        }
        if count > ROW_BYTES_MAX {
            if buffer.last() != Some(&b'\n') {
                self.input.skip_until(b'\n')?;
            }
            return Ok(Line::TooLong);
        }
        Ok(Line::Whole)
    }

    /// As [`Lines::unread`], of lines after which one was met that is too long, and is to be met again.
    pub(super) fn unread_before_too_long(&mut self, bytes: &[u8]) {
        self.number -= 1;
        self.unread(bytes);
        self.again_too_long = true;
    }

    /// Makes the lines in `bytes`, which were read last, the next ones again.
    pub(super) fn unread(&mut self, bytes: &[u8]) {
        self.number -= bytes.split_inclusive(|&byte| byte == b'\n').count() as u64;
        let position = self.again.position();
        if position < self.again.get_ref().len() as u64 {
            // Nothing is read from `input` before `again` is used up, so they came from here.
            self.again.set_position(position - bytes.len() as u64);
        } else {
            self.again = io::Cursor::new(bytes.to_vec());
        }
    }
}

/// A line without its line end, and the line end.
pub(super) fn split_line_end(line: &[u8]) -> (&[u8], &[u8]) {
    let content = line.strip_suffix(b"\n").unwrap_or(line);
    let content = content.strip_suffix(b"\r").unwrap_or(content);
    line.split_at(content.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_and_can_be_read_again() {
        let mut lines = Lines::new(Box::new(&b"\xEF\xBB\xBFa\nb\r\nc"[..]));
        let mut buffer = Vec::new();
        for number in 1..=3 {
            assert_eq!(lines.read(&mut buffer).expect("memory"), Line::Whole);
            assert_eq!(lines.number(), number);
        }
        assert_eq!(buffer, b"a\nb\r\nc");
        lines.unread(b"b\r\nc");
        buffer.clear();
        assert_eq!(lines.read(&mut buffer).expect("memory"), Line::Whole);
        assert_eq!((lines.number(), buffer.as_slice()), (2, &b"b\r\n"[..]));
        lines.unread(b"b\r\n");
        assert_eq!(lines.number(), 1);
        for number in 2..=3 {
            assert_eq!(lines.read(&mut buffer).expect("memory"), Line::Whole);
            assert_eq!(lines.number(), number);
        }
        assert_eq!(lines.read(&mut buffer).expect("memory"), Line::End);
    }

    #[test]
    fn a_line_end_is_lf_or_crlf_or_the_end() {
        for (line, content, end) in
            [("a\n", "a", "\n"), ("a\r\n", "a", "\r\n"), ("a", "a", ""), ("a\r\r\n", "a\r", "\r\n"), ("\n", "", "\n")]
        {
            assert_eq!(split_line_end(line.as_bytes()), (content.as_bytes(), end.as_bytes()), "{line:?}");
        }
    }
}
