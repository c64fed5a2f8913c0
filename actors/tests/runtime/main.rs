//! What the runtime promises, over a journal whose disk the tests hold, release and break. Nothing sleeps: a test waits
//! for what it wants to see, and fails after half a minute without it.

mod dispatches;
mod durable;
mod effects;
mod envelope;
mod failing;
mod following;
mod hosts;
mod limits;
mod observed;
mod passivation;
mod recovery;
mod retries;
mod snapshots;
mod stopping;
mod support;
mod timers;
