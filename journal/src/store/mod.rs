//! Where blocks are kept: an ordered map from [`BlockKey`] to bytes that is durable when it says so, and nothing more.
//!
//! Everything that makes a journal of it (positions, the chain, groups, streams) is done above, once for all stores.

mod extents;
mod guarded;
mod halves;
mod memory;
#[cfg(test)]
mod power;
pub(crate) mod redo;
mod sled;
mod synced;
mod tree;

use std::ops::ControlFlow;

pub(crate) use self::extents::read_up_to;
pub use self::memory::MemoryStore;
pub(crate) use self::sled::{Guards, REDO_FILE, SledStore, sync_dir};
use crate::error::Error;
pub use crate::format::BlockKey;

/// A change of the side map. Values are no larger than blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SideChange {
    /// Stores a value under a key, new or not.
    Put(Vec<u8>, Vec<u8>),
    /// Removes a key, if it is there.
    Remove(Vec<u8>),
}

/// An ordered map of blocks with durable commits.
///
/// Damage that a store meets while reading has the position 0: it does not know which events a block holds.
pub trait Store: Send + Sync + 'static {
    /// What the engine is called in `journal stat`.
    fn name(&self) -> &'static str;

    /// Stores blocks under the next keys, in order, and returns only when they are on stable storage. A crash before may
    /// leave all of them, the first few, or none.
    ///
    /// # Errors
    /// When a write or a sync fails. What is left then is as after a crash; the caller must not use the store any more.
    fn commit(&self, blocks: Vec<(BlockKey, Vec<u8>)>) -> Result<(), Error>;

    /// Hands the block under `key` to `visit`; false when there is none.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn read(&self, key: BlockKey, visit: &mut dyn FnMut(&[u8])) -> Result<bool, Error>;

    /// Hands each block from `from` on to `visit`, in the order of the keys, until it breaks. The visitor may use the
    /// store itself, and commits go on meanwhile; what they add may be met or not.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn scan(&self, from: BlockKey, visit: &mut dyn FnMut(BlockKey, &[u8]) -> ControlFlow<()>) -> Result<(), Error>;

    /// As [`Store::scan`], and without any shortcut: also what does not belong there is met, and what is lost is missed.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn scan_strictly(
        &self,
        from: BlockKey,
        visit: &mut dyn FnMut(BlockKey, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.scan(from, visit)
    }

    /// Removes blocks that were never acknowledged, durably. Only used while a journal opens.
    ///
    /// # Errors
    /// When a write or a sync fails.
    fn remove(&self, keys: &[BlockKey]) -> Result<(), Error>;

    /// Changes the side map, which holds what can be made anew: all changes or none, durable some time later. A store may
    /// do without a side map, as this default does: then nothing is kept.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn change_side(&self, _changes: Vec<SideChange>) -> Result<(), Error> {
        Ok(())
    }

    /// Hands each entry of the side map whose key begins with `prefix` to `visit`, in the order of the keys.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn scan_side(&self, _prefix: &[u8], _visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Error> {
        Ok(())
    }

    /// Bytes taken up, of the disk or of memory.
    fn bytes(&self) -> u64;
}
