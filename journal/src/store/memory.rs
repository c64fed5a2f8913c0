//! Blocks in memory: for tests and for sandboxes that leave nothing behind. Durable as long as it lives.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{BlockKey, SideChange, Store};
use crate::error::Error;

/// An empty store in memory.
///
/// No lock is held while a visitor runs, so that a visitor may read and append itself.
#[derive(Debug, Default)]
pub struct MemoryStore {
    blocks: Mutex<BTreeMap<BlockKey, Arc<[u8]>>>,
    side: Mutex<BTreeMap<Vec<u8>, Arc<[u8]>>>,
}

impl MemoryStore {
    fn blocks(&self) -> MutexGuard<'_, BTreeMap<BlockKey, Arc<[u8]>>> {
        // Nothing that can panic runs under the lock, other than the map's own code.
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn commit(&self, blocks: Vec<(BlockKey, Vec<u8>)>) -> Result<(), Error> {
        self.blocks().extend(blocks.into_iter().map(|(key, bytes)| (key, bytes.into())));
        Ok(())
    }

    fn read(&self, key: BlockKey, visit: &mut dyn FnMut(&[u8])) -> Result<bool, Error> {
        let found = self.blocks().get(&key).cloned();
        Ok(found.map(|bytes| visit(&bytes)).is_some())
    }

    fn scan(&self, from: BlockKey, visit: &mut dyn FnMut(BlockKey, &[u8]) -> ControlFlow<()>) -> Result<(), Error> {
        let mut bound = Bound::Included(from);
        loop {
            let found = self.blocks().range((bound, Bound::Unbounded)).next().map(|(key, bytes)| (*key, bytes.clone()));
            let Some((key, bytes)) = found else { return Ok(()) };
            if visit(key, &bytes).is_break() {
                return Ok(());
            }
            bound = Bound::Excluded(key);
        }
    }

    fn remove(&self, keys: &[BlockKey]) -> Result<(), Error> {
        let mut blocks = self.blocks();
        for key in keys {
            blocks.remove(key);
        }
        Ok(())
    }

    fn change_side(&self, changes: Vec<SideChange>) -> Result<(), Error> {
        let mut side = self.side.lock().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            match change {
                SideChange::Put(key, value) => side.insert(key, value.into()),
                SideChange::Remove(key) => side.remove(&key),
            };
        }
        Ok(())
    }

    fn scan_side(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Error> {
        let side = self.side.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = side.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        let entries: Vec<_> = entries.map(|(key, value)| (key.clone(), Arc::clone(value))).collect();
        drop(side);
        entries.iter().for_each(|(key, value)| visit(key, value));
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.blocks().values().map(|bytes| bytes.len() as u64).sum()
    }
}
