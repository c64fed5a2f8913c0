//! How blocks come into sled's tree: by the thread that commits them, or by one of its own while they are written.
//!
//! Which thread does it is a matter of size. To put 260 KB there takes longer than to write them into the redo log, and a
//! commit is durable with that. A few blocks are there sooner than another thread would be awake.
//!
//! So sled may have blocks of a large commit that the redo log has not, when the power is cut or a write fails. They were
//! not acknowledged; a start finds them whole or removes them, as with commits that never go to the redo log.

use std::sync::{Arc, PoisonError, RwLock, mpsc};
use std::thread::JoinHandle;

use super::guarded::{contained, write_failed};
use super::halves::Commit;
use super::redo::Keyed;
use crate::error::Error;
use crate::format::BlockKey;

/// From this size on a commit is put into the tree by the other thread.
pub(super) const FED_LEN_MIN: usize = 64 << 10;
/// How many keys there are at least behind the one that gets its block next, and how many more are made at a time.
const KEYS_AHEAD_MIN: u64 = 32;
const KEYS_AHEAD: u64 = 256;

/// The tree, for whoever writes to it.
pub(super) struct Tree {
    db: sled::Db,
    /// The last key that there is, with a block or without.
    last_key: BlockKey,
    /// The key of the last block.
    last_block: BlockKey,
    /// What happens when that block comes.
    #[cfg(test)]
    pub(super) breaks_at: Option<(BlockKey, Break)>,
}

/// How sled fails.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub(super) enum Break {
    Error,
    Panic,
}

impl Tree {
    /// That of a database. If a block on the way to the last one is damaged, none is taken for the last: the damage is for
    /// whoever reads to find.
    pub(super) fn of(db: sled::Db) -> sled::Result<Self> {
        let number = |(key, _): (sled::IVec, sled::IVec)| BlockKey::from_bytes(&key);
        let last_key = db.last()?.and_then(number).unwrap_or(BlockKey::new(0));
        let has_block =
            |item: &sled::Result<(sled::IVec, sled::IVec)>| !matches!(item, Ok((_, bytes)) if bytes.is_empty());
        let last_block = contained(|| db.iter().rev().find(has_block)).ok().flatten().and_then(Result::ok);
        let last_block = last_block.and_then(number).unwrap_or(BlockKey::new(0));
        Ok(Tree {
            db,
            last_key,
            last_block,
            #[cfg(test)]
            breaks_at: None,
        })
    }

    pub(super) fn last_block(&self) -> BlockKey {
        self.last_block
    }

    /// Gives a key its block.
    pub(super) fn insert(&mut self, key: BlockKey, bytes: &[u8]) -> Result<(), Error> {
        self.make_keys(key.plus(KEYS_AHEAD_MIN))?;
        #[cfg(test)]
        self.break_at(key)?;
        self.db.insert(key.to_bytes(), bytes).map_err(|error| write_failed(&error))?;
        self.last_block = self.last_block.max(key);
        Ok(())
    }

    /// Takes the block from a key, and with it all that were after it.
    pub(super) fn clear(&mut self, key: BlockKey) -> Result<(), Error> {
        self.db.insert(key.to_bytes(), &[]).map_err(|error| write_failed(&error))?;
        self.last_block = self.last_block.min(BlockKey::new(key.get().saturating_sub(1)));
        Ok(())
    }

    #[cfg(test)]
    fn break_at(&self, key: BlockKey) -> Result<(), Error> {
        match self.breaks_at {
            Some((at, Break::Error)) if at == key => Err(write_failed(&sled::Error::Unsupported("broken".into()))),
            Some((at, Break::Panic)) if at == key => panic!("broken"),
            _ => Ok(()),
        }
    }

    /// Makes keys without blocks, up to `needed` and some more.
    ///
    /// sled writes a leaf of its tree anew when it is split, and when it was changed ten times since. Leaves of empty values
    /// are split while that costs nothing, and are left with nine keys. Nine blocks are nine changes: each is written once.
    fn make_keys(&mut self, needed: BlockKey) -> Result<(), Error> {
        if needed <= self.last_key {
            return Ok(());
        }
        let end = needed.plus(KEYS_AHEAD);
        while self.last_key < end {
            let key = self.last_key.plus(1);
            self.db.insert(key.to_bytes(), &[]).map_err(|error| write_failed(&error))?;
            self.last_key = key;
        }
        Ok(())
    }
}

/// The blocks of one commit.
pub(super) type Blocks = Arc<Vec<Keyed>>;

/// Puts commits into the tree, one at a time.
pub(super) struct Feeder {
    /// Away while the other thread has it.
    tree: Option<Tree>,
    /// Which commit the other thread is at.
    under_way: Commit,
    latest: Latest,
    thread: Option<Thread>,
}

/// What is on its way into the tree, for readers, who ask for it once it is durable.
#[derive(Clone, Default)]
pub(super) struct Latest(Arc<RwLock<Option<Blocks>>>);

struct Thread {
    jobs: mpsc::Sender<(Tree, Blocks)>,
    done: mpsc::Receiver<(Tree, Result<(), Error>)>,
    handle: JoinHandle<()>,
}

impl Latest {
    /// The block with that key, if it is on its way. Who finds none here finds it in the tree, if it is there at all.
    pub(super) fn get(&self, key: BlockKey) -> Option<Vec<u8>> {
        let latest = self.0.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        latest.iter().find(|(other, _)| *other == key).map(|(_, bytes)| bytes.clone())
    }

    fn set(&self, blocks: Option<Blocks>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = blocks;
    }
}

impl Feeder {
    pub(super) fn new(tree: Tree) -> Self {
        Feeder { tree: Some(tree), under_way: 0, latest: Latest::default(), thread: None }
    }

    pub(super) fn latest(&self) -> Latest {
        self.latest.clone()
    }

    /// The tree, and the commit whose blocks have all come there meanwhile; 0 when there was none.
    ///
    /// # Errors
    /// When they could not be put there. Readers go on finding them here.
    pub(super) fn gather(&mut self) -> Result<(&mut Tree, Commit), Error> {
        let commit = std::mem::take(&mut self.under_way);
        if self.tree.is_none() {
            let thread = self.thread.as_ref().ok_or_else(thread_is_gone)?;
            let (tree, fed) = thread.done.recv().map_err(|_| thread_is_gone())?;
            self.tree = Some(tree);
            fed?;
            self.latest.set(None);
        }
        Ok((self.tree.as_mut().expect("it came back"), commit))
    }

    /// Has the other thread put the blocks of a commit into the tree. The one before was gathered.
    pub(super) fn feed(&mut self, commit: Commit, blocks: Blocks) -> Result<(), Error> {
        let thread = match &self.thread {
            Some(thread) => thread,
            None => self.thread.insert(Thread::start()?),
        };
        self.latest.set(Some(Arc::clone(&blocks)));
        let tree = self.tree.take().expect("the one before was gathered");
        if let Err(mpsc::SendError((tree, _))) = thread.jobs.send((tree, blocks)) {
            self.tree = Some(tree);
            return Err(thread_is_gone());
        }
        self.under_way = commit;
        Ok(())
    }
}

fn thread_is_gone() -> Error {
    Error::io("writing to sled", std::io::Error::other("the thread that does it is gone"))
}

impl Thread {
    fn start() -> Result<Self, Error> {
        let (jobs, queue) = mpsc::channel::<(Tree, Blocks)>();
        let (finished, done) = mpsc::channel();
        let work = move || {
            for (mut tree, blocks) in queue {
                let feed = || blocks.iter().try_for_each(|(key, bytes)| tree.insert(*key, bytes));
                let fed = contained(feed)
                    .unwrap_or_else(|panic| Err(Error::io("writing to sled", std::io::Error::other(panic))));
                drop(blocks);
                if finished.send((tree, fed)).is_err() {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("ionveil-feeder".into()).spawn(work);
        let handle = thread.map_err(|error| Error::io("starting the thread that writes to sled", error))?;
        Ok(Thread { jobs, done, handle })
    }
}

impl Drop for Feeder {
    /// Whatever is on its way comes into the tree, and nobody uses sled any more.
    fn drop(&mut self) {
        let _ = self.gather();
        if let Some(Thread { jobs, done, handle }) = self.thread.take() {
            drop((jobs, done));
            let _ = handle.join();
        }
    }
}
