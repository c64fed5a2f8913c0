//! A file that is made durable by its owner: what the redo log, and the store for sled's file, need of one.
//!
//! It is a `File`. In tests of this crate its power can be cut (`power.rs`).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

#[cfg(test)]
use super::power::Supply;

pub(super) struct SyncedFile {
    pub(super) file: File,
    #[cfg(test)]
    supply: Option<Supply>,
}

impl SyncedFile {
    pub(super) fn new(file: File) -> Self {
        SyncedFile {
            file,
            #[cfg(test)]
            supply: None,
        }
    }

    /// The same open file once more.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        Ok(SyncedFile {
            file: self.file.try_clone()?,
            #[cfg(test)]
            supply: self.supply.clone(),
        })
    }

    pub(super) fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        #[cfg(test)]
        self.supply.as_ref().map_or(Ok(()), Supply::write)?;
        self.file.write_all_at(bytes, offset)
    }

    /// `fdatasync`.
    pub(super) fn sync_data(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(supply) = &self.supply {
            return supply.sync(&self.file);
        }
        self.file.sync_data()
    }

    /// Has its power from there, beginning with what it holds now.
    #[cfg(test)]
    pub(super) fn connect(&mut self, power: &super::power::Power) {
        self.supply = Some(power.supply(&self.file));
    }
}
