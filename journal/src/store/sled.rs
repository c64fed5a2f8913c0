//! Blocks in sled 0.34.7, with the guards without which it loses acknowledged data (`docs/journal-format.md`, I-3).
//!
//! - sled's own `flush` hands data to the kernel but not to the device: every commit ends with `fdatasync` of a
//!   descriptor of ours on sled's file. Its background flusher is off.
//! - A leaf above a quarter of a segment would go to a blob file that is never synced: segments are large and blocks small.
//! - sled panics on damaged files: every call that can meet damage contains the panic and returns it as an error.
//! - What a killed process has written but not synced is synced before it is read: it would be shown as durable, and
//!   sled would build on it.
//! - sled's settings and the directories are synced at each start, since a start may have been killed before it did so.

use std::fs::{self, File, OpenOptions};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{BlockKey, SideChange, Store};
use crate::error::{Damage, Error};
use crate::format::SLED_SEGMENT_LEN;
use crate::position::Position;

/// The tree of what can be made anew; blocks are in the default tree.
const SIDE_TREE: &str = "side";
/// sled's cache of pages. Its default of 1 GiB grows with the data.
const CACHE_BYTES: u64 = 64 << 20;

pub(crate) struct SledStore {
    /// Taken out when it is closed, since sled may panic there as well.
    db: Option<sled::Db>,
    /// Our own descriptor of sled's log file, for `fdatasync`.
    log: File,
    dir: PathBuf,
    guards: Guards,
}

/// Which guards are on. All of them, except in the test that shows what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Guards {
    pub(crate) fdatasync: bool,
}

impl Guards {
    pub(crate) const ON: Guards = Guards { fdatasync: true };
}

impl SledStore {
    /// Opens or creates the store in `dir`.
    pub(crate) fn open(dir: &Path, guards: Guards) -> Result<Self, Error> {
        let log_path = dir.join("db");
        // sled writes its settings in two goes, before its log. Killed in between, it would not open any more.
        if !log_path.exists() && dir.join("conf").exists() {
            fs::remove_file(dir.join("conf"))
                .map_err(|error| Error::io("removing the settings of a start that was cut short", error))?;
        }
        if guards.fdatasync && log_path.exists() {
            File::open(&log_path)
                .and_then(|log| log.sync_data())
                .map_err(|error| Error::io(format!("syncing {}", log_path.display()), error))?;
        }
        let config = sled::Config::new()
            .path(dir)
            .segment_size(SLED_SEGMENT_LEN)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None);
        let db = open_db(&config, dir)?;
        let log = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&log_path)
            .map_err(|error| Error::io(format!("opening {}", log_path.display()), error))?;
        let store = SledStore { db: Some(db), log, dir: dir.to_owned(), guards };
        store.sync_files().map_err(|error| Error::io("syncing the journal's files", error))?;
        Ok(store)
    }

    /// After a power cut an unsynced `conf` can be empty, and sled then believes any settings.
    fn sync_files(&self) -> std::io::Result<()> {
        File::open(self.dir.join("conf"))?.sync_all()?;
        if self.guards.fdatasync {
            self.log.sync_all()?;
        }
        sync_dir(&self.dir)
    }

    /// The tree beside that of the blocks, if anything was ever put there.
    fn side(&self) -> sled::Result<Option<sled::Tree>> {
        let is_there = self.db().tree_names().iter().any(|name| name == SIDE_TREE.as_bytes());
        is_there.then(|| self.db().open_tree(SIDE_TREE)).transpose()
    }

    fn db(&self) -> &sled::Db {
        self.db.as_ref().expect("the database is taken out only when the store is dropped")
    }

    fn sync(&self) -> Result<(), Error> {
        self.db().flush().map_err(|error| write_failed(&error))?;
        if self.guards.fdatasync {
            self.log.sync_data().map_err(|error| Error::io("syncing the journal", error))?;
        }
        Ok(())
    }
}

/// How long sled's lock may be held by what is left of an earlier instance.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// Opens sled, which has a lock of its own. We hold the journal's, so whoever holds sled's is about to let go: a thread
/// that sled left behind, or a process that another thread is just starting and that shares our files for a moment.
fn open_db(config: &sled::Config, dir: &Path) -> Result<sled::Db, Error> {
    let begin = Instant::now();
    loop {
        let problem = match contained(|| config.open()) {
            Ok(Ok(db)) => return Ok(db),
            // What the operating system refuses (no space, no permission) is no damage. sled's own findings have no number.
            Ok(Err(sled::Error::Io(error))) if error.raw_os_error().is_some() => {
                return Err(Error::io(format!("opening sled in {}", dir.display()), error));
            }
            Ok(Err(sled::Error::Corruption { .. })) => "sled finds its files corrupted".to_owned(),
            Ok(Err(error)) if !error.to_string().contains("could not acquire lock") => {
                format!("sled cannot read its files: {error}")
            }
            Ok(Err(_)) if begin.elapsed() < LOCK_WAIT => {
                std::thread::sleep(Duration::from_millis(2));
                continue;
            }
            Ok(Err(_)) => return Err(Error::Held { path: dir.to_owned() }),
            Err(panic) => format!("sled's files are damaged: {panic}"),
        };
        return Err(Error::Unreadable { path: dir.to_owned(), problem });
    }
}

impl Store for SledStore {
    fn name(&self) -> &'static str {
        "sled"
    }

    fn commit(&self, blocks: Vec<(BlockKey, Vec<u8>)>) -> Result<(), Error> {
        contained(|| {
            // A batch costs a second write of sled's log, so a single block does without.
            if blocks.len() == 1 {
                for (key, bytes) in blocks {
                    self.db().insert(key.to_bytes(), bytes).map_err(|error| write_failed(&error))?;
                }
            } else {
                let mut batch = sled::Batch::default();
                for (key, bytes) in blocks {
                    batch.insert(&key.to_bytes(), bytes);
                }
                self.db().apply_batch(batch).map_err(|error| write_failed(&error))?;
            }
            self.sync()
        })
        .unwrap_or_else(|panic| Err(Error::io("writing to sled", std::io::Error::other(panic))))
    }

    fn read(&self, key: BlockKey, visit: &mut dyn FnMut(&[u8])) -> Result<bool, Error> {
        let found = contained(|| self.db().get(key.to_bytes())).map_err(|panic| damaged(key, panic))?;
        match found.map_err(|error| damaged(key, error.to_string()))? {
            Some(bytes) => {
                visit(&bytes);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    fn scan(&self, from: BlockKey, visit: &mut dyn FnMut(BlockKey, &[u8]) -> ControlFlow<()>) -> Result<(), Error> {
        let mut last = from;
        let mut items = self.db().range(from.to_bytes()..);
        loop {
            let item = contained(|| items.next()).map_err(|panic| damaged(last, panic))?;
            let Some(item) = item else { return Ok(()) };
            let (key, bytes) = item.map_err(|error| damaged(last, error.to_string()))?;
            let Some(key) = BlockKey::from_bytes(&key) else {
                return Err(damaged(last, "a key that is not one of a block follows".into()));
            };
            last = key;
            if visit(key, &bytes).is_break() {
                return Ok(());
            }
        }
    }

    fn remove(&self, keys: &[BlockKey]) -> Result<(), Error> {
        let mut batch = sled::Batch::default();
        for key in keys {
            batch.remove(&key.to_bytes());
        }
        contained(|| {
            self.db().apply_batch(batch).map_err(|error| write_failed(&error))?;
            self.sync()
        })
        .unwrap_or_else(|panic| Err(Error::io("writing to sled", std::io::Error::other(panic))))
    }

    fn change_side(&self, changes: Vec<SideChange>) -> Result<(), Error> {
        let mut batch = sled::Batch::default();
        for change in changes {
            match change {
                SideChange::Put(key, value) => batch.insert(key, value),
                SideChange::Remove(key) => batch.remove(key),
            }
        }
        contained(|| self.db().open_tree(SIDE_TREE).and_then(|side| side.apply_batch(batch)))
            .unwrap_or_else(|panic| Err(sled::Error::Io(std::io::Error::other(panic))))
            .map_err(|error| write_failed(&error))
    }

    fn scan_side(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Error> {
        let unreadable = |problem: String| Error::io("reading sled", std::io::Error::other(problem));
        let side = contained(|| self.side()).map_err(unreadable)?.map_err(|error| unreadable(error.to_string()))?;
        let Some(side) = side else { return Ok(()) };
        let mut items = side.scan_prefix(prefix);
        while let Some(item) = contained(|| items.next()).map_err(unreadable)? {
            let (key, value) = item.map_err(|error| unreadable(error.to_string()))?;
            visit(&key, &value);
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        dir_bytes(&self.dir)
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        let db = self.db.take();
        if let Err(panic) = contained(move || drop(db)) {
            tracing::warn!(panic, "sled panicked while closing; everything acknowledged was synced before");
        }
    }
}

/// Runs `work` and turns a panic into its message. sled's state is not used again after a panic, hence the assertion.
fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        format!("sled panicked: {}", message.lines().next().unwrap_or_default())
    })
}

fn write_failed(error: &sled::Error) -> Error {
    Error::io("writing to sled", std::io::Error::other(error.to_string()))
}

fn damaged(key: BlockKey, problem: String) -> Error {
    let position = key.position.max(Position::FIRST);
    Error::Corrupt(Damage { position, problem: format!("the block cannot be read from the store ({problem})") })
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

fn dir_bytes(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let sizes = entries.flatten().filter_map(|entry| {
        let meta = entry.metadata().ok()?;
        Some(if meta.is_dir() { dir_bytes(&entry.path()) } else { meta.len() })
    });
    sizes.sum()
}
