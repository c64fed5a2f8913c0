//! Where blocks are kept: an ordered map from [`BlockKey`] to bytes that is durable when it says so, and nothing more.
//!
//! Everything that makes a journal of it (positions, the chain, groups, streams) is done above, once for all stores.

mod memory;
mod sled;

use std::ops::ControlFlow;

pub use self::memory::MemoryStore;
pub(crate) use self::sled::{Guards, SledStore, sync_dir};
use crate::error::Error;
pub use crate::format::BlockKey;

/// An ordered map of blocks with atomic, durable commits.
pub trait Store: Send + Sync + 'static {
    /// What the engine is called in `journal stat`.
    fn name(&self) -> &'static str;

    /// Stores blocks under new keys, all or none, and returns only when they are on stable storage.
    ///
    /// # Errors
    /// When a write or a sync fails. The blocks may be stored or not; the caller must not use the store any more.
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

    /// Removes blocks that were never acknowledged, durably. Only used while a journal opens.
    ///
    /// # Errors
    /// When a write or a sync fails.
    fn remove(&self, keys: &[BlockKey]) -> Result<(), Error>;

    /// Bytes taken up, of the disk or of memory.
    fn bytes(&self) -> u64;
}
