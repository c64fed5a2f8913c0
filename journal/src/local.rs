//! The journal on one machine: a store, an index in memory, and one writer thread.
//!
//! The writer takes whatever waits, packs it into one group, commits it, and only then tells anybody: many callers
//! share one sync (group commit). Nothing else writes. A failed commit fences the journal for good (I-5).

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, mpsc};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use uuid::Uuid;

use crate::blocks::{Walk, read_block};
use crate::chain::Hash;
use crate::directory::{Directory, Head, HeadCheckpoint, Lock};
use crate::error::{Damage, Error};
use crate::format::{Frames, GroupEncoder};
use crate::index::{Index, Noted, StreamSummary};
use crate::journal::{Journal, OnDurable, OnOutcome, OnRecord, Stat};
use crate::position::{Position, Sequence};
use crate::record::{Append, Outcome, Record, Written};
use crate::snapshot::{self, Fold, SnapshotCriteria, StateSnapshot};
use crate::store::{Guards, MemoryStore, SledStore, Store};
use crate::stream_id::StreamId;
use crate::verify::{VerifyProgress, VerifyReport, verify_store};

/// Most bytes that wait to be written; beyond it appends are refused as overloaded.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;
/// A group is closed when it holds this much, so that nobody waits for a commit without end.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// A journal whose events lie in one store of this process.
pub struct LocalJournal {
    shared: Arc<Shared>,
    /// `None` once closed.
    queue: Mutex<Option<mpsc::Sender<Request>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    engine: &'static str,
    /// `None` once closed. Readers under way keep it until they are done.
    store: RwLock<Option<Arc<dyn Store>>>,
    checkpoint: Option<HeadCheckpoint>,
    durable: RwLock<Durable>,
    /// Says how far the journal is; `None` once closed.
    head: Mutex<Option<watch::Sender<Head>>>,
    waiting_bytes: AtomicUsize,
    /// The first failure of the store. From then on nothing is acknowledged.
    poisoned: Mutex<Option<String>>,
    /// Keeps others out until the journal is closed.
    lock: Mutex<Option<Lock>>,
}

/// What readers may see. Changed by the writer only, after a commit.
struct Durable {
    index: Index,
    head: Head,
    blocks: u64,
}

enum Request {
    Append { append: Append, bytes: usize, done: OnOutcome },
    WhenDurable(OnDurable),
}

impl LocalJournal {
    /// Opens the sled journal in `dir`, or creates one.
    ///
    /// # Errors
    /// When another process holds it, its files are damaged, or it is behind its head checkpoint.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Self::open_guarded(dir, Guards::ON)
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
        if !directory.holds_journal() {
            directory.create()?;
        }
        directory.check_header()?;
        let expected = HeadCheckpoint::read(&directory)?;
        // sled would put an empty store in the place of a lost one.
        if expected.position > Position::NONE && !directory.holds_store() {
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
                let shared = Arc::clone(&shared);
                move || write_groups(&shared, store.as_ref(), &receiver)
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
            blocks: durable.blocks,
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
        locked(&self.queue).take();
        // A callback may hold the last handle of the journal: the writer thread cannot wait for its own end, which comes
        // as soon as the queue is empty.
        if let Some(writer) = locked(&self.writer).take()
            && writer.thread().id() != std::thread::current().id()
            && writer.join().is_err()
        {
            tracing::error!("the journal's writer panicked");
        }
        if let Some(checkpoint) = &self.shared.checkpoint
            && let Err(error) = checkpoint.sync()
        {
            tracing::warn!(%error, "the head checkpoint could not be synced");
        }
        drop(locked(&self.shared.head).take());
        // The store first: who gets the lock finds it closed.
        drop(self.shared.store.write().unwrap_or_else(PoisonError::into_inner).take());
        drop(locked(&self.shared.lock).take());
    }
}

impl Drop for LocalJournal {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn durable(&self) -> std::sync::RwLockReadGuard<'_, Durable> {
        self.durable.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> Result<Arc<dyn Store>, Error> {
        self.store.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Error::Closed)
    }

    fn read_stream(&self, stream: &str, from: Sequence, to: Sequence, visit: &mut OnRecord<'_>) -> Result<(), Error> {
        let store = self.store()?;
        let (blocks, last) = {
            let durable = self.durable();
            let head = durable.index.get(stream).map_or(Sequence::NONE, |entry| entry.head);
            (durable.index.blocks_of(stream, from, to), to.min(head))
        };
        let mut next = from.max(Sequence::FIRST);
        let mut at = Position::FIRST;
        for first in blocks {
            let flow = read_block(store.as_ref(), first, |header, body| -> Result<ControlFlow<()>, Damage> {
                for frame in Frames::of_stream(body, header.key.position, stream) {
                    let (_, record) = frame?;
                    if record.sequence < next {
                        continue;
                    }
                    if record.sequence > last {
                        return Ok(ControlFlow::Break(()));
                    }
                    if record.sequence != next {
                        let problem = format!("stream {stream} goes on at sequence {}, not {next}", record.sequence);
                        return Err(Damage { position: record.position, problem });
                    }
                    next = next.plus(1);
                    if visit(&record).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Ok(ControlFlow::Continue(()))
            })??;
            if flow.is_break() {
                return Ok(());
            }
            at = first;
        }
        if next <= last {
            return Err(Damage { position: at, problem: format!("stream {stream} misses sequence {next}") }.into());
        }
        Ok(())
    }
}

/// Reads all blocks, checks them as far as one pass can without hashing every event, and builds the index.
fn load(store: &dyn Store, checkpoint: Head) -> Result<Durable, Error> {
    let (mut index, mut walk) = index_of(store)?;
    if let Some(keys) = walk.unfinished_group() {
        // What the checkpoint vouches for was acknowledged: then it is not a write cut short but damage, and stays as
        // it is for whoever looks into it.
        if checkpoint.position >= keys[0].position {
            let problem =
                format!("the group ends here unfinished, but position {} was acknowledged", checkpoint.position);
            return Err(Damage { position: walk.next, problem }.into());
        }
        tracing::warn!(
            position = %keys[0].position,
            "a write that a crash cut short lies at the end of the journal; nobody was told of it, it is dropped"
        );
        store.remove(keys)?;
        (index, walk) = index_of(store)?;
    }
    let position = Position::new(walk.next.get() - 1);
    let head = Head { position, hash: walk.hash.unwrap_or_default() };
    check_against(store, &index, head, checkpoint)?;
    Ok(Durable { index, head, blocks: walk.blocks })
}

fn index_of(store: &dyn Store) -> Result<(Index, Walk), Error> {
    let mut index = Index::default();
    let mut walk = Walk::whole();
    walk.run(store, &mut |header, _, record| {
        let Record { position, sequence, id, epoch, .. } = *record;
        index.note(header.key.position, record.stream, Noted { position, sequence, id, epoch })?;
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
            let count = checkpoint.position.get() - first.get() + 1;
            let records = Frames::new(body, first).take(count as usize);
            records.into_iter().try_fold(header.hash_before, |hash, frame| frame.map(|(bytes, _)| hash.then(bytes)))
        })??;
    }
    if checkpoint.position > Position::NONE && hash != checkpoint.hash {
        let problem = "the hash is not the one that the head checkpoint has for it: history was rewritten".into();
        return Err(Damage { position: checkpoint.position, problem }.into());
    }
    Ok(())
}

/// The writer thread: until the queue is closed and empty.
fn write_groups(shared: &Shared, store: &dyn Store, queue: &mpsc::Receiver<Request>) {
    while let Ok(first) = queue.recv() {
        let mut group = Group::new(shared, store);
        group.take(first);
        while group.bytes < GROUP_BYTES_MAX
            && let Ok(request) = queue.try_recv()
        {
            group.take(request);
        }
        group.commit();
    }
}

/// What one commit makes durable, and who is told when it is.
struct Group<'a> {
    shared: &'a Shared,
    store: &'a dyn Store,
    encoder: GroupEncoder,
    recorded_at_micros: i64,
    bytes: usize,
    answers: Vec<Answer>,
    /// Streams that this group has touched.
    staged: HashMap<StreamId, Staged>,
    /// For the index, once the group is durable.
    placed: Vec<(Position, StreamId, Noted)>,
}

struct Staged {
    head: Sequence,
    head_id: Uuid,
    epoch: u32,
    /// The events that this group adds; the first of them follows the durable head.
    added: Vec<(Uuid, Position)>,
}

enum Answer {
    Outcome(OnOutcome, Outcome),
    Durable(OnDurable),
}

impl<'a> Group<'a> {
    fn new(shared: &'a Shared, store: &'a dyn Store) -> Self {
        let head = shared.durable().head;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Group {
            shared,
            store,
            encoder: GroupEncoder::new(head.position.plus(1), head.hash),
            recorded_at_micros: i64::try_from(now.as_micros()).unwrap_or(i64::MAX),
            bytes: 0,
            answers: Vec::new(),
            staged: HashMap::new(),
            placed: Vec::new(),
        }
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::WhenDurable(done) => self.answers.push(Answer::Durable(done)),
            Request::Append { append, bytes, done } => {
                self.shared.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
                self.bytes += bytes;
                let outcome = self.stage(&append).unwrap_or_else(Outcome::Rejected);
                self.answers.push(Answer::Outcome(done, outcome));
            }
        }
    }

    /// Decides on one append and, if it is good, encodes its events.
    fn stage(&mut self, append: &Append) -> Result<Outcome, Error> {
        if let Some(cause) = locked(&self.shared.poisoned).clone() {
            return Err(Error::Poisoned { cause });
        }
        let (durable_head, durable_id, durable_epoch) = self
            .shared
            .durable()
            .index
            .get(append.stream.as_str())
            .map_or((Sequence::NONE, Uuid::nil(), 0), |entry| (entry.head, entry.head_id, entry.epoch));
        let (head, head_id, epoch) = match self.staged.get(&append.stream) {
            Some(staged) => (staged.head, staged.head_id, staged.epoch),
            None => (durable_head, durable_id, durable_epoch),
        };
        if append.expected != head || append.expected_id.is_some_and(|expected| expected != head_id) {
            return match self.written_before(append, durable_head)? {
                Some(written) => Ok(Outcome::AlreadyCommitted(written)),
                None => Ok(Outcome::Conflict { head }),
            };
        }
        if append.epoch < epoch {
            return Ok(Outcome::Fenced { epoch });
        }
        let staged = self.staged.entry(append.stream.clone()).or_insert_with(|| Staged {
            head: durable_head,
            head_id: durable_id,
            epoch: durable_epoch,
            added: Vec::new(),
        });
        staged.epoch = append.epoch;
        for event in &append.events {
            staged.head = staged.head.plus(1);
            staged.head_id = event.id;
            let position = self.encoder.next_position();
            staged.added.push((event.id, position));
            let block = self.encoder.push(append, event, staged.head, self.recorded_at_micros);
            let noted = Noted { position, sequence: staged.head, id: event.id, epoch: append.epoch };
            self.placed.push((block, append.stream.clone(), noted));
        }
        let position = Position::new(self.encoder.next_position().get() - 1);
        Ok(Outcome::Committed(Written { sequence: staged.head, position }))
    }

    /// Where the very events of `append` stand already, if they do: by their ids, at the sequences it asks for.
    fn written_before(&self, append: &Append, durable_head: Sequence) -> Result<Option<Written>, Error> {
        let last = append.expected.plus(append.events.len() as u64);
        let mut found = Vec::with_capacity(append.events.len());
        let mut position = Position::NONE;
        let from = append.expected.plus(1);
        self.shared.read_stream(append.stream.as_str(), from, last.min(durable_head), &mut |record| {
            found.push(record.id);
            position = record.position;
            ControlFlow::Continue(())
        })?;
        if let Some(staged) = self.staged.get(&append.stream) {
            let skipped = append.expected.get().saturating_sub(durable_head.get());
            let wanted = append.events.len() - found.len().min(append.events.len());
            let begin = staged.added.len().min(usize::try_from(skipped).unwrap_or(usize::MAX));
            for &(id, added_at) in staged.added[begin..].iter().take(wanted) {
                found.push(id);
                position = added_at;
            }
        }
        let same = found.iter().eq(append.events.iter().map(|event| &event.id));
        Ok(same.then_some(Written { sequence: last, position }))
    }

    /// Makes the group durable, shows it to readers, and tells everybody.
    fn commit(self) {
        let Group { shared, store, encoder, answers, placed, .. } = self;
        if let Some(cause) = locked(&shared.poisoned).clone() {
            return shared.refuse(answers, &cause);
        }
        let mut head = shared.durable().head;
        if !placed.is_empty() {
            head = Head { position: Position::new(encoder.next_position().get() - 1), hash: encoder.hash() };
            let blocks = encoder.finish();
            let blocks_len = blocks.len() as u64;
            if let Err(error) = store.commit(blocks) {
                return shared.fail(answers, &error);
            }
            let mut durable = shared.durable.write().unwrap_or_else(PoisonError::into_inner);
            for (block, stream, noted) in placed {
                let noted = durable.index.note(block, stream.as_str(), noted);
                noted.expect("staging gave the stream's next sequence");
            }
            durable.head = head;
            durable.blocks += blocks_len;
            drop(durable);
            if let Some(checkpoint) = &shared.checkpoint
                && let Err(error) = checkpoint.write(head)
            {
                // The events are durable; only the witness of their end is late.
                tracing::warn!(%error, "the head checkpoint could not be written");
            }
        }
        // Before the answers: who has been told of an event finds it when following the journal.
        if let Some(watched) = locked(&shared.head).as_ref() {
            watched.send_if_modified(|seen| std::mem::replace(seen, head) != head);
        }
        for answer in answers {
            answer.give(|outcome| outcome, Ok(head));
        }
    }
}

impl Answer {
    /// Calls back. A panic of the caller's code is the caller's alone: the others still get their answers.
    fn give(self, outcome_of: impl FnOnce(Outcome) -> Outcome, durable: Result<Head, Error>) {
        let called = catch_unwind(AssertUnwindSafe(|| match self {
            Answer::Outcome(done, outcome) => done(outcome_of(outcome)),
            Answer::Durable(done) => done(durable),
        }));
        if called.is_err() {
            tracing::error!("a callback of the journal panicked");
        }
    }
}

impl Shared {
    /// A failed commit: nobody knows what is on disk, so nothing is acknowledged any more until the journal is reopened.
    fn fail(&self, answers: Vec<Answer>, error: &Error) {
        let cause = with_sources(error);
        tracing::error!(cause, "the journal could not write; it is fenced until it is opened again");
        locked(&self.poisoned).get_or_insert_with(|| cause.clone());
        self.refuse(answers, &cause);
    }

    fn refuse(&self, answers: Vec<Answer>, cause: &str) {
        // A refusal wrote nothing and stays true; anything else may hang on events of the failed group.
        let outcome_of = |outcome| match outcome {
            Outcome::Rejected(error) => Outcome::Rejected(error),
            _ => Outcome::Unknown { cause: cause.into() },
        };
        for answer in answers {
            answer.give(outcome_of, Err(Error::Poisoned { cause: cause.into() }));
        }
    }
}

fn with_sources(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The values behind these locks are replaced whole, so a panic elsewhere cannot have left one half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
