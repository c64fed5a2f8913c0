//! A store that fails on purpose: at the n-th write or read, in one of the ways in which disks fail.
//!
//! It is a disk with a cache in memory. What a commit writes is seen at once and lasts once it is synced; what was not
//! synced when the power goes is lost or kept, each write by itself, so that later writes may outlive earlier ones. Nothing
//! waits for a clock: the same calls with the same seed give the same store.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Random;
use crate::error::Error;
use crate::store::{BlockKey, SideChange, Store};

/// What a store holds, without its side map.
pub type Blocks = BTreeMap<BlockKey, Vec<u8>>;

/// How a write fails. All of them are answered with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is written.
    Nothing,
    /// The first half of the blocks is written, nothing is synced.
    Half,
    /// Everything is written and nothing is synced: a power cut may take it.
    NotSynced,
    /// Everything is written and synced, only the answer is wrong.
    All,
    /// Nothing is written, and so on until there is room again: [`FaultyStore::free_space`].
    Full,
    /// Everything is written, and before it is synced the power goes, as by [`FaultyStore::cut_power`] with this seed.
    PowerCut(u64),
    /// Every second block is written. **No store may do this**: a commit is all of its blocks, the first few, or none.
    Scattered,
}

/// A store in memory that outlives the journals opened on it. Clones share what they hold.
#[derive(Clone, Default)]
pub struct FaultyStore {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What readers see.
    seen: Image,
    /// What a power cut leaves.
    synced: Image,
    /// What was written since the last sync, in order.
    unsynced: Vec<Write>,
    writes: u64,
    reads: u64,
    /// Which writes and reads fail, counted from 1.
    failing_writes: BTreeMap<u64, Fault>,
    failing_read: Option<u64>,
    is_full: bool,
    is_off: bool,
    is_held: bool,
    /// Commits that wait while the store is held.
    waiting: u64,
}

#[derive(Clone, Default)]
struct Image {
    blocks: Blocks,
    side: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Image {
    fn apply(&mut self, write: &Write) {
        match write {
            Write::Blocks(blocks) => self.blocks.extend(blocks.iter().cloned()),
            Write::Removal(keys) => self.blocks.retain(|key, _| !keys.contains(key)),
            Write::Side(changes) => {
                for change in changes {
                    match change {
                        SideChange::Put(key, value) => self.side.insert(key.clone(), value.clone()),
                        SideChange::Remove(key) => self.side.remove(key),
                    };
                }
            }
        }
    }
}

enum Write {
    Blocks(Vec<(BlockKey, Vec<u8>)>),
    Removal(Vec<BlockKey>),
    Side(Vec<SideChange>),
}

impl Write {
    /// What is left of it when only so many of its blocks get through. Other writes are whole or not there.
    fn first(self, count: usize) -> Self {
        match self {
            Write::Blocks(mut blocks) => {
                blocks.truncate(count);
                Write::Blocks(blocks)
            }
            Write::Removal(_) => Write::Removal(Vec::new()),
            Write::Side(_) => Write::Side(Vec::new()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Write::Blocks(blocks) => blocks.len(),
            Write::Removal(_) | Write::Side(_) => 1,
        }
    }
}

impl State {
    fn put(&mut self, write: Write) {
        self.seen.apply(&write);
        self.unsynced.push(write);
    }

    fn sync(&mut self) {
        for write in std::mem::take(&mut self.unsynced) {
            self.synced.apply(&write);
        }
    }

    fn cut_power(&mut self, random: &mut Random) {
        for write in std::mem::take(&mut self.unsynced) {
            match random.below(3) {
                0 => {}
                1 => self.synced.apply(&write),
                _ => {
                    let count = random.below(write.len() + 1);
                    let is_whole = count == write.len();
                    self.synced.apply(&if is_whole { write } else { write.first(count) });
                }
            }
        }
        self.seen = self.synced.clone();
        self.is_off = true;
    }

    fn write(&mut self, write: Write, is_synced: bool) -> Result<(), Error> {
        self.writes += 1;
        let fault = self.failing_writes.remove(&self.writes);
        if self.is_off {
            return Err(failed("the disk is gone"));
        }
        if self.is_full || fault == Some(Fault::Full) {
            self.is_full = true;
            return Err(Error::io("writing", io::ErrorKind::StorageFull.into()));
        }
        match fault {
            None => {
                self.put(write);
                if is_synced {
                    self.sync();
                }
                return Ok(());
            }
            Some(Fault::Nothing | Fault::Full) => {}
            Some(Fault::Half) => {
                let half = write.len() / 2;
                self.put(write.first(half));
            }
            Some(Fault::NotSynced) => self.put(write),
            Some(Fault::All) => {
                self.put(write);
                self.sync();
            }
            Some(Fault::PowerCut(seed)) => {
                self.put(write);
                self.cut_power(&mut Random::new(seed));
            }
            Some(Fault::Scattered) => {
                if let Write::Blocks(blocks) = write {
                    self.put(Write::Blocks(blocks.into_iter().step_by(2).collect()));
                }
            }
        }
        Err(failed("it was told to"))
    }

    fn check_read(&mut self) -> Result<(), Error> {
        self.reads += 1;
        if self.is_off || self.failing_read == Some(self.reads) {
            return Err(Error::io("reading", io::Error::other("it was told to")));
        }
        Ok(())
    }
}

fn failed(why: &str) -> Error {
    Error::io("writing", io::Error::other(why.to_owned()))
}

impl FaultyStore {
    /// A sound store that holds those blocks.
    pub fn holding(blocks: Blocks) -> Self {
        let store = FaultyStore::default();
        store.replace(blocks);
        store
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What readers see.
    pub fn blocks(&self) -> Blocks {
        self.state().seen.blocks.clone()
    }

    /// Swaps what is stored under the journals that are open on it.
    pub fn replace(&self, blocks: Blocks) {
        self.change(|there| *there = blocks);
    }

    /// Changes what is stored under the journals that are open on it.
    pub fn change(&self, change: impl FnOnce(&mut Blocks)) {
        let mut state = self.state();
        state.sync();
        change(&mut state.seen.blocks);
        state.synced.blocks = state.seen.blocks.clone();
    }

    /// Changes the side map under the journals that are open on it.
    pub fn change_side(&self, change: impl FnOnce(&mut BTreeMap<Vec<u8>, Vec<u8>>)) {
        let mut state = self.state();
        state.sync();
        change(&mut state.seen.side);
        state.synced.side = state.seen.side.clone();
    }

    /// How many writes were tried: commits, removals and changes of the side map.
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// The `number`-th write from now fails, counted from 1.
    pub fn fail_write(&self, number: u64, fault: Fault) {
        let mut state = self.state();
        let at = state.writes + number;
        state.failing_writes.insert(at, fault);
    }

    /// The `number`-th read or scan from now fails, counted from 1.
    pub fn fail_read(&self, number: u64) {
        let mut state = self.state();
        state.failing_read = Some(state.reads + number);
    }

    /// Forgets the faults that have not happened yet.
    pub fn fail_no_more(&self) {
        let mut state = self.state();
        state.failing_writes.clear();
        state.failing_read = None;
    }

    /// Whether there is no room.
    pub fn is_full(&self) -> bool {
        self.state().is_full
    }

    /// Makes room again.
    pub fn free_space(&self) {
        self.state().is_full = false;
    }

    /// Takes the power: of what was not synced each write is lost, torn or kept, as the seed has it. Everything fails until
    /// [`FaultyStore::start`].
    pub fn cut_power(&self, seed: u64) {
        self.state().cut_power(&mut Random::new(seed));
    }

    /// What a start does before it reads: the power is there, and what a killed process left in the kernel is synced.
    pub fn start(&self) {
        let mut state = self.state();
        state.is_off = false;
        state.sync();
    }

    /// Commits wait, with their last block already to be seen, until the answer is dropped.
    #[must_use]
    pub fn hold(&self) -> Held {
        self.state().is_held = true;
        Held(self.clone())
    }
}

/// Holds up the commits of a store; lets go when dropped, also by a test that fails, so that its journal can end.
pub struct Held(FaultyStore);

impl Held {
    /// Waits until a commit waits.
    pub fn wait_for_commit(&self) {
        let waited = self.0.shared.changed.wait_while(self.0.state(), |state| state.waiting == 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Lets the commits go on.
    pub fn release(self) {}
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.state().is_held = false;
        self.0.shared.changed.notify_all();
    }
}

impl Store for FaultyStore {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn commit(&self, blocks: Vec<(BlockKey, Vec<u8>)>) -> Result<(), Error> {
        let mut state = self.state();
        let shown = blocks.last().filter(|_| state.is_held).cloned();
        state.seen.blocks.extend(shown.clone());
        state.waiting += 1;
        self.shared.changed.notify_all();
        let waited = self.shared.changed.wait_while(state, |state| state.is_held);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        if let Some((key, _)) = shown {
            state.seen.blocks.remove(&key);
        }
        state.write(Write::Blocks(blocks), true)
    }

    fn read(&self, key: BlockKey, visit: &mut dyn FnMut(&[u8])) -> Result<bool, Error> {
        let mut state = self.state();
        state.check_read()?;
        let found = state.seen.blocks.get(&key).cloned();
        drop(state);
        Ok(found.map(|bytes| visit(&bytes)).is_some())
    }

    fn scan(&self, from: BlockKey, visit: &mut dyn FnMut(BlockKey, &[u8]) -> ControlFlow<()>) -> Result<(), Error> {
        self.state().check_read()?;
        let mut next = self.state().seen.blocks.range(from..).next().map(|(key, bytes)| (*key, bytes.clone()));
        while let Some((key, bytes)) = next {
            if visit(key, &bytes).is_break() {
                break;
            }
            let state = self.state();
            let mut rest = state.seen.blocks.range(key..).filter(|(other, _)| **other > key);
            next = rest.next().map(|(key, bytes)| (*key, bytes.clone()));
        }
        Ok(())
    }

    fn remove(&self, keys: &[BlockKey]) -> Result<(), Error> {
        self.state().write(Write::Removal(keys.to_vec()), true)
    }

    fn change_side(&self, changes: Vec<SideChange>) -> Result<(), Error> {
        self.state().write(Write::Side(changes), false)
    }

    fn scan_side(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Error> {
        let mut state = self.state();
        state.check_read()?;
        let there = state.seen.side.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        let there: Vec<_> = there.map(|(key, value)| (key.clone(), value.clone())).collect();
        drop(state);
        there.iter().for_each(|(key, value)| visit(key, value));
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.state().seen.blocks.values().map(|bytes| bytes.len() as u64).sum()
    }
}
