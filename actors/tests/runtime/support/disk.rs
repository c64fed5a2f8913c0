//! A store in memory that outlives its journal, and whose commits wait, fail, or are watched.

use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use ionveil_journal::{BlockKey, Error, MemoryStore, SideChange, Store};

use super::PATIENCE;

/// Cheap to clone: all clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Inner>);

#[derive(Default)]
struct Inner {
    blocks: MemoryStore,
    gate: Mutex<Gate>,
    changed: Condvar,
}

#[derive(Default)]
struct Gate {
    is_held: bool,
    /// Commits that may pass a closed gate.
    permits: usize,
    begun: usize,
    failing: Option<Failing>,
}

#[derive(Clone, Copy)]
pub(crate) enum Failing {
    /// The commit fails and nothing is there.
    Lost,
    /// The commit fails, and yet all is there.
    Kept,
}

impl Disk {
    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.0.gate.lock().expect("no panic while it is held")
    }

    fn change(&self, change: impl FnOnce(&mut Gate)) {
        change(&mut self.gate());
        self.0.changed.notify_all();
    }

    /// Commits wait from now on.
    pub(crate) fn hold(&self) {
        self.change(|gate| gate.is_held = true);
    }

    /// One of the commits that wait, or will, goes on.
    pub(crate) fn release_one(&self) {
        self.change(|gate| gate.permits += 1);
    }

    /// No commit waits any more.
    pub(crate) fn release(&self) {
        self.change(|gate| gate.is_held = false);
    }

    /// Every commit that is not through yet fails.
    pub(crate) fn fail(&self, failing: Failing) {
        self.change(|gate| gate.failing = Some(failing));
    }

    /// As after a repair.
    pub(crate) fn mend(&self) {
        self.change(|gate| gate.failing = None);
    }

    /// How many commits have begun since the disk is there.
    pub(crate) fn begun(&self) -> usize {
        self.gate().begun
    }

    /// Waits until that many commits have begun.
    #[track_caller]
    pub(crate) fn await_begun(&self, count: usize) {
        let waiting = self.0.changed.wait_timeout_while(self.gate(), PATIENCE, |gate| gate.begun < count);
        let (gate, timeout) = waiting.expect("no panic while it is held");
        assert!(!timeout.timed_out(), "commit {count} does not begin, {} have", gate.begun);
    }
}

impl Store for Disk {
    fn name(&self) -> &'static str {
        "gated"
    }

    fn commit(&self, blocks: Vec<(BlockKey, Vec<u8>)>) -> Result<(), Error> {
        self.change(|gate| gate.begun += 1);
        let held = |gate: &mut Gate| gate.is_held && gate.permits == 0;
        let (mut gate, _) =
            self.0.changed.wait_timeout_while(self.gate(), PATIENCE, held).expect("no panic while it is held");
        gate.permits = gate.permits.saturating_sub(usize::from(gate.is_held));
        match gate.failing {
            None => self.0.blocks.commit(blocks),
            Some(failing) => {
                if matches!(failing, Failing::Kept) {
                    self.0.blocks.commit(blocks)?;
                }
                let source = Arc::new(io::Error::other("the disk was told to fail"));
                Err(Error::Io { doing: "committing".into(), source })
            }
        }
    }

    fn read(&self, key: BlockKey, visit: &mut dyn FnMut(&[u8])) -> Result<bool, Error> {
        self.0.blocks.read(key, visit)
    }

    fn scan(&self, from: BlockKey, visit: &mut dyn FnMut(BlockKey, &[u8]) -> ControlFlow<()>) -> Result<(), Error> {
        self.0.blocks.scan(from, visit)
    }

    fn remove(&self, keys: &[BlockKey]) -> Result<(), Error> {
        self.0.blocks.remove(keys)
    }

    fn change_side(&self, changes: Vec<SideChange>) -> Result<(), Error> {
        self.0.blocks.change_side(changes)
    }

    fn scan_side(&self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), Error> {
        self.0.blocks.scan_side(prefix, visit)
    }

    fn bytes(&self) -> u64 {
        self.0.blocks.bytes()
    }
}
