//! Blocks in memory: for tests and for sandboxes that leave nothing behind. Durable as long as it lives.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{BlockKey, Store};
use crate::error::Error;

/// An empty store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    blocks: RwLock<BTreeMap<BlockKey, Vec<u8>>>,
}

impl MemoryStore {
    fn blocks(&self) -> RwLockReadGuard<'_, BTreeMap<BlockKey, Vec<u8>>> {
        // A visitor that panicked while reading has left the map as it was.
        self.blocks.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The blocks themselves, so that a test can damage them.
    pub(crate) fn blocks_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<BlockKey, Vec<u8>>> {
        self.blocks.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn commit(&self, blocks: Vec<(BlockKey, Vec<u8>)>) -> Result<(), Error> {
        self.blocks_mut().extend(blocks);
        Ok(())
    }

    fn read(&self, key: BlockKey, visit: &mut dyn FnMut(&[u8])) -> Result<bool, Error> {
        Ok(self.blocks().get(&key).map(|bytes| visit(bytes)).is_some())
    }

    fn scan(&self, from: BlockKey, visit: &mut dyn FnMut(BlockKey, &[u8]) -> ControlFlow<()>) -> Result<(), Error> {
        for (key, bytes) in self.blocks().range(from..) {
            if visit(*key, bytes).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn remove(&self, keys: &[BlockKey]) -> Result<(), Error> {
        let mut blocks = self.blocks_mut();
        for key in keys {
            blocks.remove(key);
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.blocks().values().map(|bytes| bytes.len() as u64).sum()
    }
}
