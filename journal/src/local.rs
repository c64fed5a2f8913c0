//! The journal on one machine: a store, an index in memory, and one writer, which has a file of its own.
//!
//! Appends go into the writer's queue; readers see what the writer has shown them, which is durable. This file opens,
//! reads and closes.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock, mpsc};
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::blocks::{Walk, read_block};
use crate::chain::Hash;
use crate::directory::{Directory, Head, HeadCheckpoint, Lock};
use crate::error::{Damage, Error};
use crate::format::{Frames, InBlock};
use crate::index::{Index, Noted, StreamSummary};
use crate::journal::{Journal, OnDurable, OnOutcome, OnRecord, Stat};
use crate::position::{Position, Sequence};
use crate::record::{Append, Record};
use crate::shared::{Durable, Shared, locked};
use crate::snapshot::{self, Fold, SnapshotCriteria, StateSnapshot};
use crate::store::{Guards, MemoryStore, SledStore, Store};
use crate::stream_id::StreamId;
use crate::verify::{VerifyProgress, VerifyReport, verify_store};
use crate::writer::{self, Request};

/// Most bytes that wait to be written; beyond it appends are refused as overloaded.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;

/// A journal whose events lie in one store of this process.
pub struct LocalJournal {
    shared: Arc<Shared>,
    /// `None` once closed.
    queue: Mutex<Option<mpsc::Sender<Request>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl LocalJournal {
    /// Opens the sled journal in `dir`, or creates one.
    ///
    /// # Errors
    /// When another process holds it, its files are damaged, or it is behind its head checkpoint.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::open_guarded(dir, Guards::ON)
    }

    /// Opens the sled journal in `dir`; creates nothing.
    ///
    /// # Errors
    /// [`Error::NoJournal`] when there is none, else as [`LocalJournal::open`].
    pub fn open_existing(dir: &Path) -> Result<Self, Error> {
        if !Directory::new(dir).holds_journal()? {
            return Err(Error::NoJournal { path: dir.to_owned() });
        }
        Self::open(dir)
    }

    /// As [`LocalJournal::open`], but without the `fdatasync` that makes sled durable: loses data in a power cut.
    ///
    /// # Errors
    /// As [`LocalJournal::open`].
    #[cfg(feature = "testing")]
    pub fn open_without_fdatasync(dir: &Path) -> Result<Self, Error> {
        Self::open_guarded(dir, Guards { fdatasync: false })
    }

    fn open_guarded(dir: &Path, guards: Guards) -> Result<Self, Error> {
        std::fs::create_dir_all(dir).map_err(|error| Error::io(format!("creating {}", dir.display()), error))?;
        let directory = Directory::new(dir);
        let lock = directory.lock(true)?;
        if !directory.holds_journal()? {
            directory.create()?;
        }
        directory.check_header()?;
        let expected = HeadCheckpoint::read(&directory)?;
        // sled would put an empty store in the place of a lost one.
        if expected.position > Position::NONE && !directory.holds_store()? {
            let problem = format!("the store is missing, its last position was {}", expected.position);
            return Err(Error::Unreadable { path: dir.to_owned(), problem });
        }
        let store = SledStore::open(&directory.store(), guards)?;
        let checkpoint = HeadCheckpoint::open(&directory)?;
        Self::start(Arc::new(store), Some((checkpoint, expected)), lock)
    }

    /// An empty journal in memory, which is gone when it is dropped.
    pub fn in_memory() -> Self {
        Self::on(MemoryStore::default()).expect("an empty store holds nothing that could be damaged")
    }

    /// A journal on any store. It has no head checkpoint, so a cut tail goes unnoticed.
    ///
    /// # Errors
    /// When the store cannot be read, or what it holds is damaged.
    pub fn on(store: impl Store) -> Result<Self, Error> {
        Self::start(Arc::new(store), None, None)
    }

    fn start(
        store: Arc<dyn Store>,
        checkpoint: Option<(HeadCheckpoint, Head)>,
        lock: Option<Lock>,
    ) -> Result<Self, Error> {
        let (checkpoint, expected) = checkpoint.unzip();
        let durable = load(store.as_ref(), expected.unwrap_or_default())?;
        if let Some(checkpoint) = &checkpoint {
            checkpoint.write(durable.head).map_err(|error| Error::io("writing the head checkpoint", error))?;
        }
        let shared = Arc::new(Shared {
            engine: store.name(),
            store: RwLock::new(Some(Arc::clone(&store))),
            checkpoint,
            head: Mutex::new(Some(watch::Sender::new(durable.head))),
            durable: RwLock::new(durable),
            waiting_bytes: AtomicUsize::new(0),
            poisoned: Mutex::new(None),
            lock: Mutex::new(lock),
        });
        let (sender, receiver) = mpsc::channel();
        let writer = std::thread::Builder::new()
            .name("ionveil-journal".into())
            .spawn({
                let (shared, settled) = (Arc::clone(&shared), sender.clone());
                move || writer::run(&shared, store, &receiver, &settled)
            })
            .map_err(|error| Error::io("starting the journal's writer thread", error))?;
        Ok(LocalJournal { shared, queue: Mutex::new(Some(sender)), writer: Mutex::new(Some(writer)) })
    }

    fn send(&self, request: Request) -> Result<(), Error> {
        if let Some(cause) = locked(&self.shared.poisoned).clone() {
            return Err(Error::Poisoned { cause });
        }
        let queue = locked(&self.queue);
        queue.as_ref().ok_or(Error::Closed)?.send(request).map_err(|_| Error::Closed)
    }
}

impl Journal for LocalJournal {
    fn submit(&self, append: Append, done: OnOutcome) -> Result<(), Error> {
        append.check()?;
        let bytes = append.stored_bytes();
        let waiting_bytes = self.shared.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        // An append is always taken when nothing else waits.
        let taken = if waiting_bytes > 0 && waiting_bytes + bytes > QUEUE_BYTES_MAX {
            Err(Error::Overloaded { waiting_bytes })
        } else {
            self.send(Request::Append { append, bytes, done })
        };
        if taken.is_err() {
            self.shared.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        taken
    }

    fn when_durable(&self, done: OnDurable) -> Result<(), Error> {
        self.send(Request::WhenDurable(done))
    }

    fn head(&self) -> Head {
        self.shared.durable().head
    }

    fn stream_head(&self, stream: &StreamId) -> Option<(Sequence, u32)> {
        self.shared.durable().index.get(stream.as_str()).map(|entry| (entry.head, entry.epoch))
    }

    fn read_stream(
        &self,
        stream: &StreamId,
        from: Sequence,
        to: Sequence,
        visit: &mut OnRecord<'_>,
    ) -> Result<(), Error> {
        self.shared.read_stream(stream.as_str(), from, to, visit)
    }

    fn read_all(&self, from: Position, to: Position, visit: &mut OnRecord<'_>) -> Result<(), Error> {
        let from = from.max(Position::FIRST);
        let to = to.min(self.head().position);
        if from > to {
            return Ok(());
        }
        let store = self.shared.store()?;
        // The block that holds `from` may begin before it.
        let first = self.shared.durable().index.block_holding(from);
        Walk::between(first, to).run(store.as_ref(), &mut |_, _, record| {
            if record.position > to {
                return Ok(ControlFlow::Break(()));
            }
            Ok(if record.position >= from { visit(record) } else { ControlFlow::Continue(()) })
        })
    }

    fn watch_head(&self) -> Result<watch::Receiver<Head>, Error> {
        locked(&self.shared.head).as_ref().map(watch::Sender::subscribe).ok_or(Error::Closed)
    }

    fn save_snapshot(&self, snapshot: &StateSnapshot) -> Result<(), Error> {
        let head = self.stream_head(&snapshot.stream).map_or(Sequence::NONE, |(head, _)| head);
        snapshot::save(self.shared.store()?.as_ref(), snapshot, head)
    }

    fn latest_snapshot(
        &self,
        stream: &StreamId,
        fold: Fold,
        criteria: &SnapshotCriteria,
    ) -> Result<Option<StateSnapshot>, Error> {
        let head = self.stream_head(stream).map_or(Sequence::NONE, |(head, _)| head);
        snapshot::latest(self.shared.store()?.as_ref(), stream, fold, criteria, head)
    }

    fn delete_snapshots(&self, stream: &StreamId, criteria: &SnapshotCriteria) -> Result<u64, Error> {
        snapshot::delete(self.shared.store()?.as_ref(), stream, criteria)
    }

    fn streams(&self) -> Vec<StreamSummary> {
        self.shared.durable().index.summaries()
    }

    fn stat(&self) -> Stat {
        let store = self.shared.store().ok();
        let durable = self.shared.durable();
        Stat {
            engine: self.shared.engine,
            events: durable.head.position.get(),
            blocks: durable.index.blocks(),
            streams: durable.index.len() as u64,
            head: durable.head,
            bytes_on_disk: store.as_ref().map_or(0, |store| store.bytes()),
            snapshots: store.map_or(0, |store| snapshot::count(store.as_ref()).unwrap_or_default()),
        }
    }

    fn verify(&self, expected: Option<Hash>, progress: &mut VerifyProgress<'_>) -> Result<VerifyReport, Error> {
        let head = self.head();
        verify_store(self.shared.store()?.as_ref(), Some(head.position), Some(head), expected, progress)
    }

    fn close(&self) {
        if let Some(queue) = locked(&self.queue).take() {
            // The writer reads its queue until it is told to close.
            let _ = queue.send(Request::Close);
        }
        // A callback may hold the last handle of the journal: the writer cannot wait for its own end, which comes as soon as
        // the queue is empty.
        if let Some(writer) = locked(&self.writer).take()
            && !writer::is_on_writer_of(&self.shared)
            && writer.join().is_err()
        {
            tracing::error!("the journal's writer panicked");
        }
    }
}

impl Drop for LocalJournal {
    fn drop(&mut self) {
        self.close();
    }
}

/// Reads all blocks, checks them as far as one pass can without hashing every event, and builds the index.
fn load(store: &dyn Store, checkpoint: Head) -> Result<Durable, Error> {
    let (mut index, mut walk) = index_of(store)?;
    if let Some((keys, position)) = walk.unfinished_group() {
        // What the checkpoint vouches for was acknowledged: then it is not a write cut short but damage, and stays as
        // it is for whoever looks into it.
        if checkpoint.position >= position {
            let problem =
                format!("the group ends here unfinished, but position {} was acknowledged", checkpoint.position);
            return Err(Damage { position: walk.next, problem }.into());
        }
        tracing::warn!(
            %position,
            "a write that a crash cut short lies at the end of the journal; nobody was told of it, it is dropped"
        );
        store.remove(keys)?;
        (index, walk) = index_of(store)?;
    }
    let position = Position::new(walk.next.get() - 1);
    let head = Head { position, hash: walk.hash.unwrap_or_default() };
    check_against(store, &index, head, checkpoint)?;
    Ok(Durable { index, head })
}

fn index_of(store: &dyn Store) -> Result<(Index, Walk), Error> {
    let mut index = Index::default();
    let mut walk = Walk::whole();
    walk.run(store, &mut |header, _, record| {
        let Record { position, sequence, id, epoch, .. } = *record;
        let block = InBlock { first: header.position, parts: header.parts };
        index.note(block, record.stream, Noted { position, first: sequence, sequence, id, epoch })?;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok((index, walk))
}

/// A journal that is behind its checkpoint, or that has another past there, is not the one that was written (I-6).
fn check_against(store: &dyn Store, index: &Index, head: Head, checkpoint: Head) -> Result<(), Error> {
    if checkpoint.position > head.position {
        let problem = format!(
            "the journal ends here, but the head checkpoint is at position {}: events are missing",
            checkpoint.position
        );
        return Err(Damage { position: head.position.plus(1), problem }.into());
    }
    let mut hash = head.hash;
    if checkpoint.position < head.position && checkpoint.position > Position::NONE {
        let first = index.block_holding(checkpoint.position);
        hash = read_block(store, first, |header, body| {
            let count = checkpoint.position.get() - first.position.get() + 1;
            let records = Frames::new(body, first.position).take(count as usize);
            records.into_iter().try_fold(header.hash_before, |hash, frame| frame.map(|(bytes, _)| hash.then(bytes)))
        })??;
    }
    if checkpoint.position > Position::NONE && hash != checkpoint.hash {
        let problem = "the hash is not the one that the head checkpoint has for it: history was rewritten".into();
        return Err(Damage { position: checkpoint.position, problem }.into());
    }
    Ok(())
}
