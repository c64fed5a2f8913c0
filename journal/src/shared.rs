//! What the handle, readers and the writer of a local journal share.

use std::ops::ControlFlow;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use tokio::sync::watch;

use crate::blocks::read_block;
use crate::directory::{Head, HeadCheckpoint, Lock};
use crate::error::{Damage, Error};
use crate::format::Frames;
use crate::index::Index;
use crate::journal::OnRecord;
use crate::position::{Position, Sequence};
use crate::store::Store;

/// What the handle, readers and the writer share.
pub(crate) struct Shared {
    pub(crate) engine: &'static str,
    /// `None` once closed. Readers under way keep it until they are done.
    pub(crate) store: RwLock<Option<Arc<dyn Store>>>,
    pub(crate) checkpoint: Option<HeadCheckpoint>,
    pub(crate) durable: RwLock<Durable>,
    /// Says how far the journal is; `None` once closed.
    pub(crate) head: Mutex<Option<watch::Sender<Head>>>,
    pub(crate) waiting_bytes: AtomicUsize,
    /// The first failure of the store. From then on nothing is acknowledged.
    pub(crate) poisoned: Mutex<Option<String>>,
    /// Keeps others out until the journal is closed.
    pub(crate) lock: Mutex<Option<Lock>>,
}

/// What readers may see. Changed by the writer only, after a commit.
pub(crate) struct Durable {
    pub(crate) index: Index,
    pub(crate) head: Head,
}

impl Shared {
    pub(crate) fn durable(&self) -> RwLockReadGuard<'_, Durable> {
        self.durable.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of everything that somebody else may want: the writer does so when nothing is left to write.
    pub(crate) fn release(&self) {
        if let Some(checkpoint) = &self.checkpoint
            && let Err(error) = checkpoint.sync()
        {
            tracing::warn!(%error, "the head checkpoint could not be synced");
        }
        drop(locked(&self.head).take());
        // The store first: who gets the lock finds it closed.
        drop(self.store.write().unwrap_or_else(PoisonError::into_inner).take());
        drop(locked(&self.lock).take());
    }

    pub(crate) fn store(&self) -> Result<Arc<dyn Store>, Error> {
        self.store.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Error::Closed)
    }

    pub(crate) fn read_stream(
        &self,
        stream: &str,
        from: Sequence,
        to: Sequence,
        visit: &mut OnRecord<'_>,
    ) -> Result<(), Error> {
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
                for frame in Frames::of_stream(body, header.position, stream) {
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
            at = first.position;
        }
        if next <= last {
            return Err(Damage { position: at, problem: format!("stream {stream} misses sequence {next}") }.into());
        }
        Ok(())
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The values behind these locks are replaced whole, so a panic elsewhere cannot have left one half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
