//! The files around the store: who holds the journal, what it is, and where its head was.
//!
//! ```text
//! DIR/journal.toml   what this is; written once (this file)
//! DIR/lock           held while the journal is open
//! DIR/head           the head checkpoint: the last durable position and its hash, in two slots
//! DIR/sled/          the store
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::chain::Hash;
use crate::error::Error;
use crate::position::Position;
use crate::store::sync_dir;

const HEADER_FILE: &str = "journal.toml";
const LOCK_FILE: &str = "lock";
const HEAD_FILE: &str = "head";
const STORE_DIR: &str = "sled";
const HEADER: &str = "\
# An IonVeil journal. Do not edit: these are facts about the files beside this one.
format = 2
store = \"sled 0.34.7\"
segment_bytes = 4194304
# Every stream lives in one shard. A later engine with several maps a stream by the CRC-32 of its address.
shards = 1
shard_hash = \"crc32\"
";

/// The paths of one journal.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    path: PathBuf,
}

impl Directory {
    pub(crate) fn new(path: &Path) -> Self {
        Directory { path: path.to_owned() }
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path.join(STORE_DIR)
    }

    /// Whether a journal was created here. A creation that was cut short, before anything was stored, does not count; a
    /// head checkpoint that has seen events does, whatever else is gone.
    pub(crate) fn holds_journal(&self) -> Result<bool, Error> {
        Ok(self.exists(&self.path.join(HEADER_FILE))?
            || self.holds_store()?
            || HeadCheckpoint::read(self).is_ok_and(|head| head.position > Position::NONE))
    }

    pub(crate) fn holds_store(&self) -> Result<bool, Error> {
        self.exists(&self.store().join("db"))
    }

    /// As far as one can see: what may not be looked at is an error, not absent.
    fn exists(&self, path: &Path) -> Result<bool, Error> {
        path.try_exists().map_err(|error| Error::io(format!("looking at {}", path.display()), error))
    }

    /// Takes the lock of a journal, so that nobody else opens it until it is dropped.
    pub(crate) fn lock(&self, create: bool) -> Result<Option<Lock>, Error> {
        let path = self.path.join(LOCK_FILE);
        if !create && !path.exists() {
            return Ok(None);
        }
        let file = OpenOptions::new()
            .read(true)
            .write(create)
            .create(create)
            .truncate(false)
            .open(&path)
            .map_err(|error| Error::io(format!("opening {}", path.display()), error))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock(file))),
            Err(TryLockError::WouldBlock) => Err(Error::Held { path: self.path.clone() }),
            Err(TryLockError::Error(error)) => Err(Error::io(format!("locking {}", path.display()), error)),
        }
    }

    /// Creates the directory, the header and an empty head checkpoint, durably, unless they are there.
    pub(crate) fn create(&self) -> Result<(), Error> {
        let created = || -> std::io::Result<()> {
            fs::create_dir_all(self.store())?;
            let head = File::create(self.path.join(HEAD_FILE))?;
            head.write_all_at(&HeadCheckpoint::slots_of(Head::default()), 0)?;
            head.sync_all()?;
            // The header comes last: where there is one, the rest is whole.
            let unfinished = self.path.join("journal.toml.new");
            let mut header = File::create(&unfinished)?;
            header.write_all(HEADER.as_bytes())?;
            header.sync_all()?;
            fs::rename(&unfinished, self.path.join(HEADER_FILE))?;
            sync_dir(&self.path)?;
            // The directory's own entry, and those of parents that were made just now.
            for parent in self.path.canonicalize()?.ancestors().skip(1) {
                if sync_dir(parent).is_err() {
                    break;
                }
            }
            Ok(())
        };
        created().map_err(|error| Error::io(format!("creating a journal in {}", self.path.display()), error))
    }

    /// Checks that the journal here is one that this release can read.
    pub(crate) fn check_header(&self) -> Result<(), Error> {
        let unreadable = |problem: String| Error::Unreadable { path: self.path.clone(), problem };
        let header = fs::read_to_string(self.path.join(HEADER_FILE))
            .map_err(|error| unreadable(format!("{HEADER_FILE} cannot be read ({error})")))?;
        if header != HEADER {
            let format = header.lines().find_map(|line| line.strip_prefix("format = ")).filter(|format| *format != "2");
            return Err(unreadable(match format {
                Some(other) => format!("it is of format {other}, and this release reads format 2"),
                None => format!("{HEADER_FILE} is not that of journal format 2"),
            }));
        }
        Ok(())
    }

    pub(crate) fn head_file(&self) -> PathBuf {
        self.path.join(HEAD_FILE)
    }

    /// Copies a journal that nobody has open into the empty directory `to`.
    pub(crate) fn copy_to(&self, to: &Path) -> Result<(), Error> {
        fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
            fs::create_dir_all(to)?;
            for entry in fs::read_dir(from)? {
                let entry = entry?;
                let target = to.join(entry.file_name());
                if entry.file_type()?.is_dir() {
                    copy(&entry.path(), &target)?;
                } else if entry.file_name() != LOCK_FILE {
                    fs::copy(entry.path(), target)?;
                }
            }
            Ok(())
        }
        copy(&self.path, to).map_err(|error| Error::io(format!("copying {}", self.path.display()), error))
    }
}

/// Keeps others out until it is dropped.
///
/// It is given back in so many words: closing the file is not enough while another thread starts a process, which shares
/// the open file for a moment.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the journal's lock could not be given back");
        }
    }
}

/// The end of the journal: its last position and the chain's value there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    /// The last event's position; [`Position::NONE`] in an empty journal.
    pub position: Position,
    /// The chain after it.
    pub hash: Hash,
}

const SLOT_LEN: usize = 64;
const SLOT_CHECKSUM_AT: usize = SLOT_LEN - 4;
const SLOT_MAGIC: [u8; 4] = *b"IVJH";

/// The head as it was after the last commit, kept outside the store's own files: without it a tail that was cut off
/// would leave no trace.
///
/// It is written after each commit, when the commit is durable, so it is never ahead of the journal (I-6). It is not
/// synced each time: what a power cut takes from it only makes it an older, still true, witness.
pub(crate) struct HeadCheckpoint {
    file: File,
    writes: AtomicU64,
}

impl HeadCheckpoint {
    pub(crate) fn open(directory: &Directory) -> Result<Self, Error> {
        let path = directory.head_file();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| Error::io(format!("opening {}", path.display()), error))?;
        Ok(HeadCheckpoint { file, writes: AtomicU64::new(0) })
    }

    /// The later of the two slots that can be read.
    pub(crate) fn read(directory: &Directory) -> Result<Head, Error> {
        let path = directory.head_file();
        let unreadable = |problem: String| Error::Unreadable {
            path: directory.path.clone(),
            problem: format!("the head checkpoint {problem}"),
        };
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(2 * SLOT_LEN as u64).read_to_end(&mut bytes))
            .map_err(|error| unreadable(format!("cannot be read ({error})")))?;
        let slots = bytes.chunks_exact(SLOT_LEN).filter_map(Self::parse);
        slots.max_by_key(|head| head.position).ok_or_else(|| unreadable("is damaged in both its slots".into()))
    }

    /// Notes a head that is durable.
    pub(crate) fn write(&self, head: Head) -> std::io::Result<()> {
        let slot = self.writes.fetch_add(1, Ordering::Relaxed) % 2;
        self.file.write_all_at(&Self::slot(head), slot * SLOT_LEN as u64)
    }

    pub(crate) fn sync(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }

    fn slots_of(head: Head) -> Vec<u8> {
        Self::slot(head).repeat(2)
    }

    fn slot(head: Head) -> [u8; SLOT_LEN] {
        let mut bytes = [0; SLOT_LEN];
        bytes[..4].copy_from_slice(&SLOT_MAGIC);
        bytes[8..16].copy_from_slice(&head.position.get().to_le_bytes());
        bytes[16..48].copy_from_slice(&head.hash.0);
        let checksum = crc32fast::hash(&bytes[..SLOT_CHECKSUM_AT]);
        bytes[SLOT_CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Head> {
        let checksum = crc32fast::hash(&bytes[..SLOT_CHECKSUM_AT]).to_le_bytes();
        if bytes[..4] != SLOT_MAGIC || bytes[SLOT_CHECKSUM_AT..] != checksum {
            return None;
        }
        Some(Head {
            position: Position::new(u64::from_le_bytes(bytes[8..16].try_into().ok()?)),
            hash: Hash(bytes[16..48].try_into().ok()?),
        })
    }
}
