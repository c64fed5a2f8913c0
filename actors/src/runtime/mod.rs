//! The one runtime of all entities: event-sourced actors, written once.
//!
//! An entity is a pure type ([`Aggregate`]) with commands, queries and events; it knows no actor, clock or disk. Around
//! it, per entity, stands one actor (`entity`) on one of the runtime's own threads (`threads`). [`Registry`] starts
//! actors on demand and hands them messages; `replay` rebuilds an entity from its stream.
//!
//! What the runtime promises: replies come in the order of commands, and a reply, a refusal or an answer leaves only
//! when every event it depends on is durable (I-2). While events are on their way to disk the entity goes on deciding on
//! the state they lead to. If their write fails, everybody who waited for it is told, and the entity rebuilds itself
//! from the journal before it answers again.

mod aggregate;
mod clock;
mod entity;
mod gate;
mod registry;
mod replay;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod threads;
pub mod upcasting;

pub use aggregate::{Aggregate, Caller, Command, Decision, Event, Given, Query};
pub use clock::{Clock, ManualClock, SystemClock};
pub use registry::{Limits, Registry, Reply, Runtime};
