//! Blocks in sled 0.34.7, with the guards without which it loses acknowledged data (`docs/journal-format.md`, I-3).
//!
//! - sled's own `flush` hands data to the kernel but not to the device: it is followed by `fdatasync` of a descriptor of
//!   ours on sled's file. Its background flusher is off.
//! - A small commit is made durable in the redo log (`redo.rs`); sled is made durable once for many of them,
//!   and whenever a large commit comes. Between two such checkpoints it gets less than a segment: then what it recovers
//!   after a power cut has no holes.
//! - A leaf above a quarter of a segment would go to a blob file that is never synced: segments are large and blocks small.
//! - sled panics on damaged files: every call that can meet damage contains the panic and returns it as an error.
//! - What a killed process has written but not synced is synced before it is read: it would be shown as durable, and
//!   sled would build on it.
//! - sled's settings and the directories are synced at each start, since a start may have been killed before it did so.

use std::fs::{self, File, OpenOptions};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::extents::Extents;
use super::guarded::{contained, write_failed};
use super::halves::Covers;
use super::redo::{COMMIT_LEN_MAX, Keyed, RedoLog};
use super::synced::SyncedFile;
use super::tree::{FED_LEN_MIN, Feeder, Latest, Tree};
use super::{BlockKey, SideChange, Store};
use crate::error::{Damage, Error};
use crate::format::SLED_SEGMENT_LEN;
use crate::position::Position;

/// The tree of what can be made anew; blocks are in the default tree.
const SIDE_TREE: &str = "side";
/// How much sled keeps in memory of what was written and read. What was written last is read from there, and the rest where it
/// lies (`extents.rs`): more would not be faster.
const CACHE_BYTES: u64 = 16 << 20;
/// How many bytes of a scan one more access is made for. A part of sled's cache looks for something to forget after 64
/// accesses: with this many bytes to an access that is every other leaf.
const BYTES_PER_TOUCH: usize = 4 << 10;
/// How many more accesses are made for a single block, for which sled may have read a whole leaf: as many as for scanning it.
const TOUCHES_PER_READ: usize = 32;
/// The file of the latest small commits, beside sled's.
pub(crate) const REDO_FILE: &str = "redo";
/// Most bytes that sled is given before it is made durable: with what is in the redo log well below a segment.
const UNSYNCED_MAX: usize = 2 << 20;

pub(crate) struct SledStore {
    /// Taken out when it is closed, since sled may panic there as well.
    db: Option<sled::Db>,
    /// What is on its way into the database.
    latest: Latest,
    /// Our own descriptor of sled's log file, for `fdatasync`.
    log: SyncedFile,
    extents: Extents,
    /// The number of the last block that is in sled's file for certain.
    in_file: AtomicU64,
    dir: PathBuf,
    guards: Guards,
    /// Bytes in sled's log, about: when it opened, and what it was given since.
    stored: AtomicU64,
    writing: Mutex<Writing>,
}

/// What a commit changes.
struct Writing {
    redo: RedoLog,
    /// Taken out when the store is closed, before the database.
    feeder: Option<Feeder>,
    /// Bytes that sled was given since it was made durable.
    unsynced: usize,
    checkpoint: Option<Checkpoint>,
    /// Something went wrong: what the redo log holds may be all there is of it. No commit is taken any more, and nothing is
    /// synced.
    has_failed: bool,
}

/// Makes sled durable with all that is in the half of the redo log that is not being written.
struct Checkpoint {
    covers: Covers,
    /// The last block that sled had when it began.
    last: BlockKey,
    thread: JoinHandle<Result<(), Error>>,
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
        // It is made before sled's log: a store that has one has both.
        let redo_path = dir.join(REDO_FILE);
        if log_path.exists() && !redo_path.exists() {
            return Err(Error::Unreadable { path: dir.to_owned(), problem: format!("{REDO_FILE} is missing") });
        }
        let (redo, latest) = fs::create_dir_all(dir)
            .and_then(|()| RedoLog::open(&redo_path))
            .map_err(|error| Error::io(format!("reading {}", redo_path.display()), error))?;
        let db = open_db(&config, dir)?;
        let log = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&log_path)
            .map_err(|error| Error::io(format!("opening {}", log_path.display()), error))?;
        let stored = log.metadata().map_err(|error| Error::io(format!("reading {}", log_path.display()), error))?.len();
        let tree = contained(|| Tree::of(db.clone())).map_err(|panic| damaged(&panic))?;
        let tree = tree.map_err(|error| damaged(&error.to_string()))?;
        let in_file = AtomicU64::new(tree.last_block().get());
        let feeder = Feeder::new(tree);
        let extents = log.try_clone().map_err(|error| Error::io(format!("opening {}", log_path.display()), error))?;
        let latest_blocks = feeder.latest();
        let writing = Writing { redo, feeder: Some(feeder), unsynced: 0, checkpoint: None, has_failed: false };
        let store = SledStore {
            db: Some(db),
            latest: latest_blocks,
            log: SyncedFile::new(log),
            extents: Extents::new(extents),
            in_file,
            dir: dir.to_owned(),
            guards,
            stored: AtomicU64::new(stored),
            writing: Mutex::new(writing),
        };
        store.sync_files().map_err(|error| Error::io("syncing the journal's files", error))?;
        if !latest.is_empty() {
            store.write(|writing| {
                store.insert(latest, writing)?;
                writing.redo.halves.gave(writing.redo.halves.latest());
                store.checkpoint(writing)?;
                writing.redo.clear().map_err(|error| Error::io("writing the redo log", error))
            })?;
        }
        Ok(store)
    }

    /// After a power cut an unsynced `conf` can be empty, and sled then believes any settings.
    fn sync_files(&self) -> std::io::Result<()> {
        File::open(self.dir.join("conf"))?.sync_all()?;
        if self.guards.fdatasync {
            self.log.file.sync_all()?;
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

    /// Looks at a key again and again, so that sled comes to forget something. Its cache has 256 parts, and a part forgets
    /// pages only when 64 accesses to it have come together: whoever reads every page once would fill the memory before that.
    fn touch(&self, key: BlockKey, times: usize) -> sled::Result<()> {
        for _ in 0..times {
            self.db().contains_key(key.to_bytes())?;
        }
        Ok(())
    }

    /// A block out of sled's tree.
    fn get(&self, key: BlockKey) -> Result<Option<sled::IVec>, Error> {
        let get = || {
            let found = self.db().get(key.to_bytes())?;
            if self.outgrows_cache() {
                self.touch(key, TOUCHES_PER_READ)?;
            }
            Ok(found)
        };
        let found: sled::Result<Option<sled::IVec>> = contained(get).map_err(|panic| damaged(&panic))?;
        Ok(found.map_err(|error| damaged(&error.to_string()))?.filter(|bytes| !bytes.is_empty()))
    }

    /// Whether there is more than the cache may hold. Before that nothing has to be forgotten.
    fn outgrows_cache(&self) -> bool {
        self.stored.load(Ordering::Relaxed) > CACHE_BYTES
    }

    fn writing(&self) -> MutexGuard<'_, Writing> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does one piece of writing. When it fails, or sled panics, the redo log stays as it is from then on.
    fn write(&self, work: impl FnOnce(&mut Writing) -> Result<(), Error>) -> Result<(), Error> {
        let writing = &mut *self.writing();
        let done = contained(|| work(writing))
            .unwrap_or_else(|panic| Err(Error::io("writing to sled", std::io::Error::other(panic))));
        writing.has_failed |= done.is_err();
        done
    }

    /// Gives sled blocks, in order: of those that it has when it recovers from a crash there are none without the ones
    /// before.
    fn insert(&self, blocks: Vec<Keyed>, writing: &mut Writing) -> Result<(), Error> {
        for (key, bytes) in blocks {
            self.make_room(bytes.len(), writing)?;
            writing.tree()?.insert(key, &bytes)?;
        }
        Ok(())
    }

    /// Makes sled durable if it would get too much else.
    fn make_room(&self, len: usize, writing: &mut Writing) -> Result<(), Error> {
        if writing.unsynced + len > UNSYNCED_MAX {
            self.checkpoint(writing)?;
        }
        writing.unsynced += len;
        self.stored.fetch_add(len as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Makes everything durable that sled was given. The redo log goes on where it is: the commit that this happens in may
    /// have an entry there, and blocks that sled gets later.
    fn checkpoint(&self, writing: &mut Writing) -> Result<(), Error> {
        self.finish_checkpoint(writing)?;
        let last = writing.tree()?.last_block();
        let covers = writing.redo.halves.checkpoint();
        make_durable(self.db(), &self.log, self.guards)?;
        writing.redo.halves.checkpointed(covers);
        self.in_file.store(last.get(), Ordering::Release);
        writing.unsynced = 0;
        Ok(())
    }

    /// Asks a second time whether what was synced into new space is there. A file system that goes away while it notes that
    /// the space is used now (ext4 does so after the data is written) may call the first sync done, but not another one.
    fn confirm(&self) -> Result<(), Error> {
        if !self.guards.fdatasync {
            return Ok(());
        }
        self.log.sync_data().map_err(|error| Error::io("syncing the journal", error))
    }

    /// Makes a commit durable in the redo log, which has room for it.
    fn enter(&self, blocks: &[Keyed], writing: &mut Writing) -> Result<(), Error> {
        let entered = writing.redo.append(blocks).map_err(|error| Error::io("writing the redo log", error))?;
        assert!(entered, "an empty half has room for the largest commit");
        Ok(())
    }

    /// Goes on in the other half of the redo log, once sled is durable with what is in there, and begins to make it so with
    /// what is in this one.
    fn turn_redo_log(&self, writing: &mut Writing) -> Result<(), Error> {
        self.finish_checkpoint(writing)?;
        let last = writing.tree()?.last_block();
        let covers = writing.redo.halves.checkpoint();
        let (db, guards) = (self.db().clone(), self.guards);
        let log = self.log.try_clone().map_err(|error| Error::io("syncing the journal", error))?;
        let work = move || {
            contained(|| make_durable(&db, &log, guards))
                .unwrap_or_else(|panic| Err(Error::io("writing to sled", std::io::Error::other(panic))))
        };
        let thread = std::thread::Builder::new().name("ionveil-checkpoint".into()).spawn(work);
        let thread = thread.map_err(|error| Error::io("starting a checkpoint", error))?;
        writing.checkpoint = Some(Checkpoint { covers, last, thread });
        writing.unsynced = 0;
        writing.redo.turn().map_err(|error| Error::io("writing the redo log", error))
    }

    /// Waits for the checkpoint that is under way, if there is one.
    fn finish_checkpoint(&self, writing: &mut Writing) -> Result<(), Error> {
        let Some(Checkpoint { covers, last, thread }) = writing.checkpoint.take() else { return Ok(()) };
        let ended = thread.join();
        ended.unwrap_or_else(|_| Err(Error::io("writing to sled", std::io::Error::other("a checkpoint panicked"))))?;
        writing.redo.halves.checkpointed(covers);
        self.in_file.store(last.get(), Ordering::Release);
        Ok(())
    }

    /// Looks for the blocks that came into sled's file or were moved there since that was done, before one of those from `key`
    /// on is read, if there are many.
    fn learn_extents(&self, key: BlockKey) {
        let last = BlockKey::new(self.in_file.load(Ordering::Acquire));
        if key > last || !self.extents.is_due(last) {
            return;
        }
        // Whatever goes wrong, sled is asked then.
        if let Err(error) = self.extents.learn(last, |key| self.get(key).ok().flatten()) {
            tracing::debug!(%error, "sled's file could not be looked through");
        }
    }

    /// Gives blocks out of sled's tree, and those on their way there, until there are no more, or `visit` breaks, which is
    /// true.
    fn scan_tree(
        &self,
        from: BlockKey,
        visit: &mut dyn FnMut(BlockKey, &[u8]) -> ControlFlow<()>,
    ) -> Result<bool, Error> {
        let mut items = self.db().range(from.to_bytes()..);
        let (mut scanned, mut touched) = (0, 0);
        let (mut next, mut looked_again) = (from.max(BlockKey::FIRST), false);
        loop {
            let item = contained(|| items.next()).map_err(|panic| damaged(&panic))?;
            let Some(item) = item else {
                if let Some(bytes) = self.latest.get(next) {
                    if visit(next, &bytes).is_break() {
                        return Ok(true);
                    }
                    (next, looked_again) = (next.plus(1), false);
                } else if looked_again {
                    return Ok(false);
                } else {
                    // It may have come into the tree between the two.
                    looked_again = true;
                }
                items = self.db().range(next.to_bytes()..);
                continue;
            };
            let (key, bytes) = item.map_err(|error| damaged(&error.to_string()))?;
            let Some(key) = BlockKey::from_bytes(&key) else {
                return Err(damaged("a key that is not one of a block follows"));
            };
            if bytes.is_empty() {
                continue;
            }
            if key > next && self.get(next)?.is_some() {
                // It came into the tree after sled's iterator had looked at the leaf.
                items = self.db().range(next.to_bytes()..);
                continue;
            }
            (next, looked_again) = (key.plus(1), false);
            scanned += bytes.len();
            let due = scanned / BYTES_PER_TOUCH;
            if self.outgrows_cache() {
                contained(|| self.touch(key, due - touched))
                    .map_err(|panic| damaged(&panic))?
                    .map_err(|error| damaged(&error.to_string()))?;
            }
            touched = due;
            if visit(key, &bytes).is_break() {
                return Ok(true);
            }
        }
    }
}

const FEEDER_LIVES: &str = "the feeder is taken out only when the store is dropped";

impl Writing {
    /// The tree, when all commits before have come there.
    fn tree(&mut self) -> Result<&mut Tree, Error> {
        let feeder = self.feeder.as_mut().expect(FEEDER_LIVES);
        let (tree, commit) = feeder.gather()?;
        self.redo.halves.gave(commit);
        Ok(tree)
    }

    fn feeder(&mut self) -> &mut Feeder {
        self.feeder.as_mut().expect(FEEDER_LIVES)
    }
}

fn make_durable(db: &sled::Db, log: &SyncedFile, guards: Guards) -> Result<(), Error> {
    db.flush().map_err(|error| write_failed(&error))?;
    if guards.fdatasync {
        log.sync_data().map_err(|error| Error::io("syncing the journal", error))?;
    }
    Ok(())
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

    fn commit(&self, blocks: Vec<Keyed>) -> Result<(), Error> {
        let len: usize = blocks.iter().map(|(_, bytes)| bytes.len()).sum();
        self.write(|writing| {
            if writing.has_failed {
                let problem = "an earlier write failed, and nobody knows what is in its file";
                return Err(Error::io("writing to sled", std::io::Error::other(problem)));
            }
            if !self.guards.fdatasync || len > COMMIT_LEN_MAX {
                self.insert(blocks, writing)?;
                self.checkpoint(writing)?;
                return self.confirm();
            }
            if !writing.redo.has_room_for(&blocks) {
                self.turn_redo_log(writing)?;
            }
            let blocks = Arc::new(blocks);
            if len < FED_LEN_MIN {
                self.enter(&blocks, writing)?;
                self.make_room(len, writing)?;
                let tree = writing.tree()?;
                blocks.iter().try_for_each(|(key, bytes)| tree.insert(*key, bytes))?;
                writing.redo.halves.gave(writing.redo.halves.latest());
                return Ok(());
            }
            // While the entry is synced there is a processor for sled's tree. Later others need it.
            writing.tree()?;
            self.make_room(len, writing)?;
            let commit = writing.redo.halves.next();
            writing.feeder().feed(commit, Arc::clone(&blocks))?;
            self.enter(&blocks, writing)
        })
    }

    fn read(&self, key: BlockKey, visit: &mut dyn FnMut(&[u8])) -> Result<bool, Error> {
        self.learn_extents(key);
        if let Some(bytes) = self.extents.read(key) {
            visit(&bytes);
            return Ok(true);
        }
        if let Some(bytes) = self.latest.get(key) {
            visit(&bytes);
            return Ok(true);
        }
        Ok(self.get(key)?.map(|bytes| visit(&bytes)).is_some())
    }

    fn scan(&self, from: BlockKey, visit: &mut dyn FnMut(BlockKey, &[u8]) -> ControlFlow<()>) -> Result<(), Error> {
        self.learn_extents(from);
        let mut window = self.extents.window();
        let mut next = from;
        loop {
            while let Some(bytes) = window.read(next) {
                if visit(next, bytes).is_break() {
                    return Ok(());
                }
                next = next.plus(1);
            }
            // Out of the tree, as long as the file does not have them.
            let mut is_done = false;
            let ended = !self.scan_tree(next, &mut |key, bytes| {
                next = key.plus(1);
                is_done = visit(key, bytes).is_break();
                if is_done || self.extents.knows(next) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            if ended || is_done {
                return Ok(());
            }
        }
    }

    fn scan_strictly(
        &self,
        from: BlockKey,
        visit: &mut dyn FnMut(BlockKey, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.scan_tree(from, visit).map(|_| ())
    }

    fn remove(&self, keys: &[BlockKey]) -> Result<(), Error> {
        self.write(|writing| {
            for &key in keys {
                writing.tree()?.clear(key)?;
                self.extents.forget_from(key);
            }
            self.checkpoint(writing)?;
            writing.redo.clear().map_err(|error| Error::io("writing the redo log", error))
        })
    }

    fn change_side(&self, changes: Vec<SideChange>) -> Result<(), Error> {
        let mut batch = sled::Batch::default();
        let mut len = 0;
        for change in changes {
            match change {
                SideChange::Put(key, value) => {
                    len += value.len();
                    batch.insert(key, value);
                }
                SideChange::Remove(key) => batch.remove(key),
            }
        }
        self.write(|writing| {
            self.db()
                .open_tree(SIDE_TREE)
                .and_then(|side| side.apply_batch(batch))
                .map_err(|error| write_failed(&error))?;
            writing.unsynced += len;
            // After a failure nothing is synced any more: that could seem to go well.
            let is_due = writing.unsynced > UNSYNCED_MAX && !writing.has_failed;
            if is_due { self.checkpoint(writing) } else { Ok(()) }
        })
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
        if self.writing().has_failed {
            // Whatever it says: the redo log stays. But nobody uses sled any more when this returns.
            let _ = self.finish_checkpoint(&mut self.writing());
        } else {
            let closed = self.write(|writing| {
                self.checkpoint(writing)?;
                writing.redo.clear().map_err(|error| Error::io("writing the redo log", error))
            });
            if let Err(error) = closed {
                tracing::warn!(%error, "sled could not be made durable while closing; the next start does it");
            }
        }
        let feeder = self.writing().feeder.take();
        drop(feeder);
        let db = self.db.take();
        if let Err(panic) = contained(move || drop(db)) {
            tracing::warn!(panic, "sled panicked while closing; everything acknowledged was synced before");
        }
    }
}

fn damaged(problem: &str) -> Error {
    let problem = format!("the block cannot be read from the store ({problem})");
    Error::Corrupt(Damage { position: Position::NONE, problem })
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

#[cfg(test)]
mod tests;
