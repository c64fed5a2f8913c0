//! The one writer: from the queue into groups, from groups onto the disk, and only then to whoever waits (I-1, I-2).
//!
//! Two threads share the work, so that one group can be encoded and hashed while the one before it is being synced. The
//! *stager* takes requests, decides on them and encodes. The *committer* commits a group, shows it to readers, answers.
//! At most one group is with the committer; what comes meanwhile gathers in the next one, so that groups grow with the
//! load. A small group is committed by the stager itself: waking another thread would take longer than what it saves.
//! Of a large one that is being encoded while nothing is committed, the committer compresses the blocks as they come.

use std::cell::Cell;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, mpsc};
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::directory::Head;
use crate::error::Error;
use crate::format::{ClosedBlock, GroupEncoder, InBlock};
use crate::index::Noted;
use crate::journal::{OnDurable, OnOutcome};

use crate::position::{Position, Sequence};
use crate::record::{Append, Outcome, Written};
use crate::shared::{Shared, locked};
use crate::store::Store;
use crate::stream_id::StreamId;

/// A group is handed over when it holds this much, so that nobody waits for a commit without end.
const GROUP_BYTES_MAX: usize = 4 << 20;
/// From this size on a group goes to the committer. Below, encoding takes less time than waking a thread.
const HANDED_OVER_BYTES_MIN: usize = 64 << 10;
/// So many closed blocks are packed together: a piece that takes longer than waking a thread.
const BLOCKS_PACKED_TOGETHER: usize = 2;
const COMMITTER_LIVES: &str = "the committer works until the stager has dropped its end of the channel";

/// What the stager is asked.
pub(crate) enum Request {
    Append {
        append: Append,
        bytes: usize,
        done: OnOutcome,
    },
    WhenDurable(OnDurable),
    /// From the committer: the group it had is settled.
    Settled,
    /// Nothing comes after this but `Settled`.
    Close,
}

thread_local! {
    /// The journal whose callbacks run on this thread, by the address of what it shares; 0 for none.
    static WRITER_OF: Cell<usize> = const { Cell::new(0) };
}

/// Whether this thread is one of the journal's own, which cannot wait for its end.
pub(crate) fn is_on_writer_of(shared: &Shared) -> bool {
    WRITER_OF.get() == std::ptr::from_ref(shared).addr()
}

/// The stager's thread, until it is told to close. `settled` is the queue's other end, for the committer.
pub(crate) fn run(
    shared: &Shared,
    store: Arc<dyn Store>,
    queue: &mpsc::Receiver<Request>,
    settled: &mpsc::Sender<Request>,
) {
    WRITER_OF.set(std::ptr::from_ref(shared).addr());
    let stored = store.as_ref();
    let is_committing = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (committer, work) = mpsc::channel::<Work>();
        let commit_groups = move || {
            WRITER_OF.set(std::ptr::from_ref(shared).addr());
            let mut packed = Vec::new();
            for piece in work {
                match piece {
                    Work::Pack(mut blocks) => {
                        blocks.iter_mut().for_each(ClosedBlock::pack);
                        packed.append(&mut blocks);
                    }
                    Work::Commit(group) => {
                        let settled_group = group.commit(std::mem::take(&mut packed), shared, stored);
                        // Whoever is answered may submit the next events at once.
                        is_committing.store(false, Ordering::Relaxed);
                        settled_group.answer();
                        // The stager reads its queue to the end; it cannot be gone while this one runs.
                        let _ = settled.send(Request::Settled);
                    }
                }
            }
        };
        let spawned = std::thread::Builder::new().name("ionveil-commit".into()).spawn_scoped(scope, commit_groups);
        let committer = match spawned {
            Ok(_) => Some(committer),
            Err(error) => {
                tracing::warn!(%error, "the committer's thread could not be started; groups are committed one by one");
                None
            }
        };
        Stager::new(shared, stored, committer, is_committing).run(queue);
    });
    drop(store);
    shared.release();
}

/// What the committer does.
enum Work {
    /// Compress the next blocks of the group that is being filled.
    Pack(Vec<ClosedBlock>),
    /// Commit that group, which has the rest of its blocks.
    Commit(Box<Group>),
}

struct Stager<'a> {
    shared: &'a Shared,
    store: &'a dyn Store,
    committer: Option<mpsc::Sender<Work>>,
    /// Whether the committer has no time to pack blocks. No more than a hint: what it is given waits in order.
    is_committing: &'a AtomicBool,
    /// What is being filled.
    group: Group,
    /// Appends that were encoded while the committer was free, dropped when it has the group: a thousand events take long to
    /// drop, so nobody waits for that.
    encoded: Vec<Append>,
    /// What the group with the committer adds to the streams it touches; readers do not see it yet.
    with_committer: Option<HashMap<StreamId, Staged>>,
}

/// What one commit makes durable, and who is told when it is.
struct Group {
    encoder: GroupEncoder,
    /// The blocks before those that the encoder has, and behind those that the committer has.
    closed: Vec<ClosedBlock>,
    recorded_at_micros: i64,
    bytes: usize,
    answers: Vec<Answer>,
    /// Streams that this group touches.
    staged: HashMap<StreamId, Staged>,
    /// For the index, once the group is durable.
    placed: Vec<(InBlock, StreamId, Noted)>,
}

/// A stream as a group leaves it.
#[derive(Clone)]
struct Staged {
    head: Sequence,
    head_id: Uuid,
    epoch: u32,
    /// The events that the group adds, the last of which is the head.
    added: Vec<(Uuid, Position)>,
}

enum Answer {
    Outcome(OnOutcome, Outcome),
    Durable(OnDurable),
}

impl<'a> Stager<'a> {
    fn new(
        shared: &'a Shared,
        store: &'a dyn Store,
        committer: Option<mpsc::Sender<Work>>,
        is_committing: &'a AtomicBool,
    ) -> Self {
        let group = Group::after(shared.durable().head);
        Stager { shared, store, committer, is_committing, group, encoded: Vec::new(), with_committer: None }
    }

    fn run(mut self, queue: &mpsc::Receiver<Request>) {
        loop {
            let is_free = self.with_committer.is_none();
            if is_free && self.group.bytes >= GROUP_BYTES_MAX {
                self.hand_over();
                continue;
            }
            // With something to hand over and somebody to take it, only what waits already is taken along.
            let request = if is_free && !self.group.answers.is_empty() {
                match queue.try_recv() {
                    Ok(request) => request,
                    Err(_) => {
                        self.hand_over();
                        continue;
                    }
                }
            } else {
                match queue.recv() {
                    Ok(request) => request,
                    Err(_) => break,
                }
            };
            match request {
                Request::Close => break,
                Request::Settled => self.with_committer = None,
                Request::WhenDurable(done) => self.group.answers.push(Answer::Durable(done)),
                Request::Append { append, bytes, done } => {
                    if self.group.bytes == 0 {
                        self.group.recorded_at_micros = now_micros();
                    }
                    self.group.bytes += bytes;
                    let outcome = self.stage(&append).unwrap_or_else(Outcome::Rejected);
                    self.group.answers.push(Answer::Outcome(done, outcome));
                    // What gathers while the committer is busy may be much, and is held once. It has its time to be dropped.
                    if is_free {
                        self.encoded.push(append);
                    }
                }
            }
        }
        while self.with_committer.is_some() && queue.recv().is_ok_and(|request| matches!(request, Request::Settled)) {
            self.with_committer = None;
        }
        self.hand_over();
    }

    /// Commits the group, or has it committed, and begins the next one behind it.
    fn hand_over(&mut self) {
        if self.group.answers.is_empty() {
            return;
        }
        let next = Group::after(self.group.end());
        let mut group = std::mem::replace(&mut self.group, next);
        match &self.committer {
            Some(committer) if group.bytes >= HANDED_OVER_BYTES_MIN => {
                self.with_committer = Some(std::mem::take(&mut group.staged));
                self.is_committing.store(true, Ordering::Relaxed);
                committer.send(Work::Commit(Box::new(group))).expect(COMMITTER_LIVES);
            }
            _ => group.commit(Vec::new(), self.shared, self.store).answer(),
        }
        self.encoded.clear();
    }

    /// Decides on one append and, if it is good, encodes its events.
    fn stage(&mut self, append: &Append) -> Result<Outcome, Error> {
        if let Some(cause) = locked(&self.shared.poisoned).clone() {
            return Err(Error::Poisoned { cause });
        }
        let tail = self.tail_of(&append.stream);
        let is_expected = append.expected_id.is_none_or(|expected| expected == tail.head_id);
        if append.expected != tail.head || !is_expected {
            return match self.written_before(append)? {
                Some(written) => Ok(Outcome::AlreadyCommitted(written)),
                None => Ok(Outcome::Conflict { head: tail.head }),
            };
        }
        if append.epoch < tail.epoch {
            return Ok(Outcome::Fenced { epoch: tail.epoch });
        }
        let packer = self.committer.as_ref().filter(|_| !self.is_committing.load(Ordering::Relaxed));
        let Group { encoder, closed, bytes, recorded_at_micros, staged, placed, .. } = &mut self.group;
        let staged = staged.entry(append.stream.clone()).or_insert(tail);
        staged.epoch = append.epoch;
        let mut run: Option<(InBlock, Noted)> = None;
        for event in &append.events {
            staged.head = staged.head.plus(1);
            staged.head_id = event.id;
            let position = encoder.next_position();
            staged.added.push((event.id, position));
            let block = encoder.push(append, event, staged.head, *recorded_at_micros);
            match &mut run {
                Some((same, noted)) if *same == block => (noted.sequence, noted.id) = (staged.head, event.id),
                _ => {
                    let sequence = staged.head;
                    let noted = Noted { position, first: sequence, sequence, id: event.id, epoch: append.epoch };
                    placed.extend(
                        run.replace((block, noted)).map(|(block, noted)| (block, append.stream.clone(), noted)),
                    );
                }
            }
            if *bytes >= HANDED_OVER_BYTES_MIN && encoder.closed().len() >= BLOCKS_PACKED_TOGETHER {
                let begin = closed.len();
                closed.append(encoder.closed());
                match packer {
                    Some(packer) => packer.send(Work::Pack(std::mem::take(closed))).expect(COMMITTER_LIVES),
                    None => closed[begin..].iter_mut().for_each(ClosedBlock::pack),
                }
            }
        }
        placed.extend(run.map(|(block, noted)| (block, append.stream.clone(), noted)));
        let position = Position::new(encoder.next_position().get() - 1);
        Ok(Outcome::Committed(Written { sequence: staged.head, position }))
    }

    /// The end of a stream, with all that is on its way. `added` is empty.
    fn tail_of(&self, stream: &StreamId) -> Staged {
        let under_way = self.group.staged.get(stream).or_else(|| self.with_committer.as_ref()?.get(stream));
        if let Some(&Staged { head, head_id, epoch, .. }) = under_way {
            return Staged { head, head_id, epoch, added: Vec::new() };
        }
        let durable = self.shared.durable();
        let entry = durable.index.get(stream.as_str());
        let (head, head_id, epoch) =
            entry.map_or((Sequence::NONE, Uuid::nil(), 0), |entry| (entry.head, entry.head_id, entry.epoch));
        Staged { head, head_id, epoch, added: Vec::new() }
    }

    /// Where the very events of `append` stand already, if they do: by their ids, at the sequences it asks for.
    fn written_before(&self, append: &Append) -> Result<Option<Written>, Error> {
        let from = append.expected.plus(1);
        let last = append.expected.plus(append.events.len() as u64);
        let mut found: Vec<(Uuid, Position)> = Vec::with_capacity(append.events.len());
        self.shared.read_stream(append.stream.as_str(), from, last, &mut |record| {
            found.push((record.id, record.position));
            ControlFlow::Continue(())
        })?;
        // The committer may have shown its group meanwhile: what was read is not looked for again.
        let mut next = from.plus(found.len() as u64);
        let under_way = [self.with_committer.as_ref(), Some(&self.group.staged)];
        for staged in under_way.into_iter().flatten().filter_map(|streams| streams.get(&append.stream)) {
            let first = staged.head.get() + 1 - staged.added.len() as u64;
            for (&added, sequence) in staged.added.iter().zip(first..) {
                if sequence == next.get() && next <= last {
                    found.push(added);
                    next = next.plus(1);
                }
            }
        }
        let same = found.iter().map(|(id, _)| id).eq(append.events.iter().map(|event| &event.id));
        let position = found.last().map_or(Position::NONE, |&(_, position)| position);
        Ok(same.then_some(Written { sequence: last, position }))
    }
}

impl Group {
    /// An empty group behind the event that `end` is of.
    fn after(end: Head) -> Self {
        Group {
            encoder: GroupEncoder::new(end.position.plus(1), end.hash),
            closed: Vec::new(),
            recorded_at_micros: 0,
            bytes: 0,
            answers: Vec::new(),
            staged: HashMap::new(),
            placed: Vec::new(),
        }
    }

    /// The end of the journal once this group is durable.
    fn end(&self) -> Head {
        Head { position: Position::new(self.encoder.next_position().get() - 1), hash: self.encoder.hash() }
    }

    /// Makes the group durable and shows it to readers. `packed` are its first blocks.
    fn commit(self, mut packed: Vec<ClosedBlock>, shared: &Shared, store: &dyn Store) -> Settled {
        let head = self.end();
        let Group { encoder, mut closed, bytes, answers, placed, .. } = self;
        shared.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(cause) = locked(&shared.poisoned).clone() {
            return Settled { answers, end: Err(cause) };
        }
        if placed.is_empty() {
            return Settled { answers, end: Ok(head) };
        }
        packed.append(&mut closed);
        let blocks = encoder.finish(packed, shared.durable().index.next_key());
        let committed = catch_unwind(AssertUnwindSafe(|| store.commit(blocks)))
            .unwrap_or_else(|_| Err(Error::io("committing", std::io::Error::other("the store panicked"))));
        if let Err(error) = committed {
            return Settled { answers, end: Err(fence(shared, &error)) };
        }
        let mut durable = shared.durable.write().unwrap_or_else(PoisonError::into_inner);
        for (block, stream, noted) in placed {
            let noted = durable.index.note(block, stream.as_str(), noted);
            noted.expect("staging gave the stream's next sequence");
        }
        durable.head = head;
        drop(durable);
        if let Some(checkpoint) = &shared.checkpoint
            && let Err(error) = checkpoint.write(head)
        {
            // The events are durable; only the witness of their end is late.
            tracing::warn!(%error, "the head checkpoint could not be written");
        }
        // Before the answers: who has been told of an event finds it when following the journal.
        if let Some(watched) = locked(&shared.head).as_ref() {
            watched.send_replace(head);
        }
        Settled { answers, end: Ok(head) }
    }
}

/// A failed commit: nobody knows what is on disk, so nothing is acknowledged any more until the journal is reopened (I-5).
fn fence(shared: &Shared, error: &Error) -> String {
    let cause = with_sources(error);
    tracing::error!(cause, "the journal could not write; it is fenced until it is opened again");
    locked(&shared.poisoned).get_or_insert_with(|| cause.clone());
    cause
}

/// A group of which it is known how it ended, and nobody was told yet.
struct Settled {
    answers: Vec<Answer>,
    /// The end of the journal, or why the group may not be there.
    end: Result<Head, String>,
}

impl Settled {
    /// Tells everybody.
    fn answer(self) {
        let Settled { answers, end } = self;
        match end {
            Ok(head) => answers.into_iter().for_each(|answer| answer.give(|outcome| outcome, Ok(head))),
            Err(cause) => refuse(answers, &cause),
        }
    }
}

fn refuse(answers: Vec<Answer>, cause: &str) {
    // A refusal wrote nothing and stays true; anything else may hang on events of the failed group.
    let outcome_of = |outcome| match outcome {
        Outcome::Rejected(error) => Outcome::Rejected(error),
        _ => Outcome::Unknown { cause: cause.into() },
    };
    for answer in answers {
        answer.give(outcome_of, Err(Error::Poisoned { cause: cause.into() }));
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

fn now_micros() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
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
