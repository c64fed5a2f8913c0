//! How much may be under way and in memory.

use std::time::Duration;

/// Bounds on what may be under way and in memory. Beyond them askers are told `overloaded`; nothing queues without end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Arbiter threads that entities live on; at least one is started.
    pub threads: usize,
    /// Most messages under way to one entity.
    pub entity_messages_max: usize,
    /// Most messages under way in the whole runtime.
    pub system_messages_max: usize,
    /// Most entities of one kind in memory. Beyond it those that were not used for longest leave; those with messages under
    /// way stay, so that as many more as there are messages may live.
    pub entities_live_max: usize,
    /// An entity that was not used for so long leaves memory, while background work is on.
    pub idle_after: Duration,
    /// Most entities that are rebuilt at a time; the others wait in line.
    pub recoveries_max: usize,
    /// A snapshot is taken after so many events, and of large states more seldom.
    pub snapshot_events: u64,
}

impl Default for Limits {
    /// One thread per core but one, which the journal's writer keeps busy, 1,024 messages per entity, 65,536 in all, 100,000
    /// entities of a kind in memory, gone after ten minutes, 2 rebuilt at a time per core, a snapshot every 1,000 events.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Limits {
            threads: cores.saturating_sub(1).max(1),
            entity_messages_max: 1_024,
            system_messages_max: 65_536,
            entities_live_max: 100_000,
            idle_after: Duration::from_secs(600),
            recoveries_max: 2 * cores,
            snapshot_events: 1_000,
        }
    }
}
