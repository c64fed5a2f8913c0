//! A power cut in memory, for tests: it comes at the worst of moments, while a file is being synced.
//!
//! The disk is an ext4 at its worst. Of what was not synced nothing is left. The sync that is under way when the power goes
//! is reported as done, as it was seen to be, though only the data got through: that new space of the file is used now was
//! still to be noted, and what lies there is zeros afterwards. From then on no write or sync succeeds.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard};

/// The power of some files that are synced in some order.
#[derive(Clone)]
pub(super) struct Power(Arc<Mutex<State>>);

struct State {
    /// So many syncs go well before the one at which it is cut.
    syncs_before: usize,
    is_cut: bool,
    /// What each file holds for certain; its length is how much space is noted to be used.
    durable: Vec<Vec<u8>>,
}

impl Power {
    /// Is cut while the next sync but so many is under way.
    pub(super) fn cut_after(syncs_before: usize) -> Self {
        Power(Arc::new(Mutex::new(State { syncs_before, is_cut: false, durable: Vec::new() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics with it")
    }

    /// For one more file, which is durable as it is now.
    pub(super) fn supply(&self, file: &File) -> Supply {
        let mut state = self.state();
        state.durable.push(bytes_of(file));
        Supply { power: self.clone(), number: state.durable.len() - 1 }
    }

    pub(super) fn is_cut(&self) -> bool {
        self.state().is_cut
    }

    /// What the disk has of each file, in the order in which they were supplied.
    pub(super) fn durable(&self) -> Vec<Vec<u8>> {
        self.state().durable.clone()
    }
}

/// One file's power.
#[derive(Clone)]
pub(super) struct Supply {
    power: Power,
    number: usize,
}

impl Supply {
    /// Before a write.
    pub(super) fn write(&self) -> io::Result<()> {
        if self.power.is_cut() { Err(gone()) } else { Ok(()) }
    }

    /// In the place of a sync.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        let mut state = self.power.state();
        if state.is_cut {
            return Err(gone());
        }
        let mut bytes = bytes_of(file);
        match state.syncs_before.checked_sub(1) {
            Some(before) => state.syncs_before = before,
            None => {
                state.is_cut = true;
                bytes.resize(state.durable[self.number].len(), 0);
            }
        }
        state.durable[self.number] = bytes;
        Ok(())
    }
}

fn gone() -> io::Error {
    io::Error::other("the power is cut")
}

fn bytes_of(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().expect("open").len() as usize];
    file.read_exact_at(&mut bytes, 0).expect("readable");
    bytes
}
