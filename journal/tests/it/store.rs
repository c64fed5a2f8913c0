//! A store in memory that tests can damage, make fail and hold up, and that outlives the journals opened on it.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use ionveil_journal::{BlockKey, Error, Store};

pub(crate) type Blocks = BTreeMap<BlockKey, Vec<u8>>;

/// What a failing commit has stored before it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    Nothing,
    Half,
    All,
}

/// Clones share one map of blocks.
#[derive(Clone, Default)]
pub(crate) struct SharedStore {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    blocks: Blocks,
    commits: u64,
    /// Which commit fails, counted from 1, and what is stored by then.
    fails_at: Option<(u64, Stored)>,
    is_held: bool,
    waiting: u64,
}

impl SharedStore {
    pub(crate) fn holding(blocks: Blocks) -> Self {
        let store = SharedStore::default();
        store.replace(blocks);
        store
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no test panics under this lock")
    }

    pub(crate) fn blocks(&self) -> Blocks {
        self.state().blocks.clone()
    }

    /// Swaps what is stored under the journals that are open on it.
    pub(crate) fn replace(&self, blocks: Blocks) {
        self.state().blocks = blocks;
    }

    /// Changes what is stored under the journals that are open on it.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Blocks)) {
        change(&mut self.state().blocks);
    }

    pub(crate) fn commits(&self) -> u64 {
        self.state().commits
    }

    /// The `number`-th commit from now fails, with so much stored.
    pub(crate) fn fail_commit(&self, number: u64, stored: Stored) {
        let mut state = self.state();
        state.fails_at = Some((state.commits + number, stored));
    }

    /// Commits wait, with their last block already stored, until the answer is dropped.
    #[must_use]
    pub(crate) fn hold(&self) -> Held {
        self.state().is_held = true;
        Held(self.clone())
    }
}

/// Holds up the commits of a store; lets go also when a test fails, so that its journal can end.
pub(crate) struct Held(SharedStore);

impl Held {
    /// Waits until a commit waits.
    pub(crate) fn wait_for_commit(&self) {
        drop(self.0.shared.changed.wait_while(self.0.state(), |state| state.waiting == 0).expect("no panic"));
    }

    pub(crate) fn release(self) {}
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.state().is_held = false;
        self.0.shared.changed.notify_all();
    }
}

impl Store for SharedStore {
    fn name(&self) -> &'static str {
        "shared"
    }

    fn commit(&self, blocks: Vec<(BlockKey, Vec<u8>)>) -> Result<(), Error> {
        let mut state = self.state();
        if state.is_held {
            state.blocks.extend(blocks.last().cloned());
        }
        state.waiting += 1;
        self.shared.changed.notify_all();
        let mut state = self.shared.changed.wait_while(state, |state| state.is_held).expect("no panic");
        state.waiting -= 1;
        state.commits += 1;
        let stored = match state.fails_at {
            Some((number, stored)) if number == state.commits => stored,
            _ => {
                state.blocks.extend(blocks);
                return Ok(());
            }
        };
        let count = match stored {
            Stored::Nothing => 0,
            Stored::Half => blocks.len() / 2,
            Stored::All => blocks.len(),
        };
        state.blocks.extend(blocks.into_iter().take(count));
        Err(Error::Io { doing: "writing".into(), source: Arc::new(io::Error::other("no space left")) })
    }

    fn read(&self, key: BlockKey, visit: &mut dyn FnMut(&[u8])) -> Result<bool, Error> {
        let found = self.state().blocks.get(&key).cloned();
        Ok(found.map(|bytes| visit(&bytes)).is_some())
    }

    fn scan(&self, from: BlockKey, visit: &mut dyn FnMut(BlockKey, &[u8]) -> ControlFlow<()>) -> Result<(), Error> {
        let mut next = self.state().blocks.range(from..).next().map(|(key, bytes)| (*key, bytes.clone()));
        while let Some((key, bytes)) = next {
            if visit(key, &bytes).is_break() {
                break;
            }
            let state = self.state();
            let mut rest = state.blocks.range(key..).filter(|(other, _)| **other > key);
            next = rest.next().map(|(key, bytes)| (*key, bytes.clone()));
        }
        Ok(())
    }

    fn remove(&self, keys: &[BlockKey]) -> Result<(), Error> {
        self.state().blocks.retain(|key, _| !keys.contains(key));
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.state().blocks.values().map(|bytes| bytes.len() as u64).sum()
    }
}
