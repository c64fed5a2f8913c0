//! Where the bytes come from: a file or standard input, unpacked when they are gzip, counted on the way.

use std::convert::Infallible;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use super::error::Error;

const BUFFER_BYTES: usize = 64 * 1024;
/// Small, since what the decoder has unpacked of a buffer is lost when it meets damage within.
const UNPACKED_BUFFER_BYTES: usize = 8 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A file, or standard input, which is written `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `-`
    Stdin,
    /// A path. A file whose name is `-` is `./-`.
    File(PathBuf),
}

impl Source {
    /// Length of the file in bytes, as it lies on disk; `None` when it is no regular file or cannot be asked.
    pub fn bytes_total(&self) -> Option<u64> {
        let Source::File(path) = self else { return None };
        fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len())
    }

    /// Whether what is read is gone: standard input, a pipe, a device.
    pub(super) fn is_read_once(&self) -> bool {
        match self {
            Source::Stdin => true,
            Source::File(path) => fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()),
        }
    }

    pub(super) fn open(&self) -> Result<Box<dyn Read>, Error> {
        match self {
            Source::Stdin => Ok(Box::new(io::stdin().lock())),
            Source::File(path) if path.is_dir() => {
                Err(Error::open("FILE", self.to_string(), io::ErrorKind::IsADirectory.into()))
            }
            Source::File(path) => match File::open(path) {
                Ok(file) => Ok(Box::new(file)),
                Err(source) => Err(Error::open("FILE", self.to_string(), source)),
            },
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Stdin => f.write_str("standard input"),
            Source::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl From<&Path> for Source {
    fn from(path: &Path) -> Self {
        if path == Path::new("-") { Source::Stdin } else { Source::File(path.to_owned()) }
    }
}

impl FromStr for Source {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Path::new(text).into())
    }
}

/// The plain text of `input`, and whether it was packed. What is taken from `input` is added to `bytes_read`.
pub(super) fn unpack<'a>(
    input: impl Read + 'a,
    bytes_read: &'a AtomicU64,
) -> io::Result<(Box<dyn BufRead + 'a>, Packing)> {
    let mut input = BufReader::with_capacity(BUFFER_BYTES, Counted { input, bytes_read });
    // A pipe may hand out a single byte at first, so peeking into the buffer would not do.
    let mut start = Vec::with_capacity(GZIP_MAGIC.len());
    input.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut start)?;
    let packed = start == GZIP_MAGIC;
    let input = Cursor::new(start).chain(input);
    Ok(if packed {
        (Box::new(BufReader::with_capacity(UNPACKED_BUFFER_BYTES, MultiGzDecoder::new(input))), Packing::Gzip)
    } else {
        (Box::new(input), Packing::None)
    })
}

/// How the bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
}

impl Packing {
    /// Whose fault an error while reading is: the decoder's errors carry no code of the operating system.
    pub(super) fn error(self, name: &str, source: io::Error) -> Error {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        let damaged =
            source.raw_os_error().is_none() && matches!(source.kind(), InvalidData | InvalidInput | UnexpectedEof);
        match self {
            Packing::Gzip if damaged => Error::DamagedGzip { name: name.to_owned(), source },
            _ => Error::Unreadable { name: name.to_owned(), source },
        }
    }
}

/// A reader that adds up what was taken from it.
struct Counted<'a, R> {
    input: R,
    bytes_read: &'a AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.bytes_read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::ops::ControlFlow;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use ionveil_actors::error::Kind;

    use super::*;
    use crate::ingest::testing::{HEADER, MAPPING, mapping, read_bytes, rows_of, told};
    use crate::ingest::{ReadSummary, read, read_from};

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).expect("memory");
        encoder.finish().expect("memory")
    }

    fn file_of(rows: usize) -> String {
        let rows: String = (0..rows).map(|row| format!("r{row},2026-01-31,4,{}.5,North\n", row * 7 % 31)).collect();
        format!("{HEADER}{rows}")
    }

    #[test]
    fn gzip_is_known_by_its_bytes_and_may_have_several_members() {
        let mapping = mapping(MAPPING);
        let text = file_of(3);
        let (start, end) = text.split_at(text.len() / 2);
        let expected = rows_of(text.as_bytes(), Some(&mapping));
        assert_eq!(rows_of(&gzip(&text), Some(&mapping)), expected);
        assert_eq!(rows_of(&[gzip(start), gzip(""), gzip(end)].concat(), Some(&mapping)), expected);
        assert!(matches!(read_bytes(&gzip(""), Some(&mapping)).1, Err(Error::Empty { .. })));
        assert!(matches!(read_bytes(&gzip(""), None).1, Err(Error::Empty { .. })));
    }

    #[test]
    fn a_truncated_gzip_hands_out_every_whole_row_and_says_that_it_is_damaged() {
        let mapping = mapping(MAPPING);
        let text = file_of(20_000);
        let packed = gzip(&text);
        let all = rows_of(text.as_bytes(), Some(&mapping));
        for cut in [3, 15, packed.len() / 3, packed.len() - 9, packed.len() - 1] {
            let (rows, end) = read_bytes(&packed[..cut], Some(&mapping));
            let error = end.expect_err("damage");
            assert!(matches!(error, Error::DamagedGzip { .. }), "{cut}: {error}");
            assert_eq!((error.kind(), error.invalid().expect("invalid input").field.as_str()), (Kind::Invalid, "FILE"));
            assert_eq!(rows, all[..rows.len()]);

            let mut whole = Vec::new();
            let _ = flate2::read::GzDecoder::new(&packed[..cut]).read_to_end(&mut whole);
            let lines = whole.iter().filter(|&&byte| byte == b'\n').count();
            assert_eq!(rows.len(), lines.saturating_sub(1), "cut at {cut}");
        }
    }

    #[test]
    fn damage_within_a_gzip_is_an_error_after_the_rows_before_it() {
        let mapping = mapping(MAPPING);
        let text = file_of(100);
        for damaged in [[gzip(&text), b"no gzip".to_vec()].concat(), {
            let mut packed = gzip(&text);
            let checksum = packed.len() - 6;
            packed[checksum] ^= 1;
            packed
        }] {
            let (rows, end) = read_bytes(&damaged, Some(&mapping));
            assert_eq!(rows.len(), 100);
            assert!(matches!(end, Err(Error::DamagedGzip { .. })), "{end:?}");
        }
    }

    #[test]
    fn damage_in_the_midst_of_a_gzip_leaves_the_rows_well_before_it() {
        let mapping = mapping(MAPPING);
        let text = file_of(20_000);
        let all = rows_of(text.as_bytes(), Some(&mapping));
        let mut packed = gzip(&text);
        let middle = packed.len() / 2;
        packed[middle..middle + 100].fill(0xFF);
        let (rows, end) = read_bytes(&packed, Some(&mapping));
        assert!(matches!(end, Err(Error::DamagedGzip { .. })), "{end:?}");
        assert!(rows.len() > all.len() / 3, "{} of {}", rows.len(), all.len());
        assert_eq!(rows[..all.len() / 3], all[..all.len() / 3]);
    }

    #[test]
    fn bytes_read_grow_to_the_size_of_the_packed_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("calls.csv"); // gzip all the same
        fs::write(&path, gzip(&file_of(20_000))).expect("a file");
        let source = Source::from(path.as_path());
        let total = source.bytes_total().expect("a regular file");
        let (org, mapping, bytes_read) = ("sffd".parse().expect("an org"), mapping(MAPPING), AtomicU64::new(0));
        let mut seen = Vec::new();
        let summary = read(&source, &org, Some(&mapping), &bytes_read, &mut |_| {
            seen.push(bytes_read.load(Ordering::Relaxed));
            ControlFlow::Continue(())
        });
        assert_eq!(summary.expect("a good file"), ReadSummary { rows: 20_000, rejected: 0, stopped: false });
        assert!(seen.is_sorted() && seen[0] > 0 && seen[0] < total, "{} of {total}", seen[0]);
        assert_eq!(bytes_read.into_inner(), total);
    }

    #[test]
    fn a_file_that_is_not_there_is_invalid_and_one_that_cannot_be_read_is_unavailable() {
        let directory = tempfile::tempdir().expect("a directory");
        let open = |path: &Path| {
            let (org, bytes_read) = ("sffd".parse().expect("an org"), AtomicU64::new(0));
            read(&path.into(), &org, None, &bytes_read, &mut |_| ControlFlow::Continue(())).expect_err("no file")
        };
        let missing = open(&directory.path().join("none"));
        assert_eq!((missing.kind(), missing.invalid().expect("invalid").field.as_str()), (Kind::Invalid, "FILE"));
        assert!(missing.to_string().ends_with("none does not exist"));
        let folder = open(directory.path());
        assert_eq!((folder.kind(), folder.invalid().expect("invalid").allowed.as_str()), (Kind::Invalid, "a file"));
        // Its first page is never mapped, so that reading it fails, even for root.
        let unreadable = open("/proc/self/mem".as_ref());
        assert_eq!((unreadable.kind(), unreadable.invalid()), (Kind::Unavailable, None));
        assert!(unreadable.to_string().contains("cannot be read: "), "{unreadable}");
        assert_eq!(Source::from(directory.path()).bytes_total(), None);
    }

    #[test]
    fn an_error_of_the_operating_system_within_a_gzip_is_no_damage() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from_raw_os_error(5))
            }
        }
        let packed = gzip(&file_of(10));
        let input = packed[..20].chain(Failing);
        let (org, bytes_read) = ("sffd".parse().expect("an org"), AtomicU64::new(0));
        let end =
            read_from("in", input, &org, Some(&mapping(MAPPING)), &bytes_read, &mut |_| ControlFlow::Continue(()));
        assert_eq!(end.expect_err("a failing disk").kind(), Kind::Unavailable);
    }

    #[test]
    fn input_may_come_a_byte_at_a_time() {
        struct Trickle<'a>(&'a [u8]);
        impl Read for Trickle<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let count = buffer.len().min(1);
                self.0.read(&mut buffer[..count])
            }
        }
        let (org, mapping) = ("sffd".parse().expect("an org"), mapping(MAPPING));
        let text = format!("\u{FEFF}{}", file_of(3));
        for bytes in [text.as_bytes(), &gzip(&text)] {
            let mut rows = Vec::new();
            let end = read_from("in", Trickle(bytes), &org, Some(&mapping), &AtomicU64::new(0), &mut |row| {
                rows.push(row);
                ControlFlow::Continue(())
            });
            end.expect("a good file");
            assert_eq!(told(&rows), ["line 2: r0", "line 3: r1", "line 4: r2"]);
        }
    }

    #[test]
    fn a_caller_may_break_off() {
        let (org, mapping) = ("sffd".parse().expect("an org"), mapping(MAPPING));
        let text = file_of(10);
        let mut rows = 0;
        let summary = read_from("in", text.as_bytes(), &org, Some(&mapping), &AtomicU64::new(0), &mut |_| {
            rows += 1;
            if rows == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(summary.expect("a good file"), ReadSummary { rows: 2, rejected: 0, stopped: true });
    }

    #[test]
    fn a_dash_is_standard_input() {
        assert_eq!("-".parse(), Ok(Source::Stdin));
        assert_eq!("./-".parse(), Ok(Source::File("./-".into())));
        assert_eq!((Source::Stdin.to_string().as_str(), Source::Stdin.bytes_total()), ("standard input", None));
    }
}
