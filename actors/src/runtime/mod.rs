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

mod abilities;
mod aggregate;
mod answers;
mod attention;
mod backoff;
mod clock;
mod entity;
mod gate;
mod ids;
mod incarnation;
mod limits;
mod metrics;
mod notes;
mod recovery;
mod registry;
mod reply;
#[expect(clippy::module_inception, reason = "the file of the type that the module is named for")]
mod runtime;
mod shared;
mod state_snapshot;
mod steady;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod threads;
pub mod upcasting;

pub use abilities::{
    Abilities, EffectHandler, Effectful, Follower, Performing, Snapshotted, Source, Timed, decode_record,
};
pub use aggregate::{Aggregate, Caller, Command, Decision, Event, Given, Query, ReplyCodec};
pub use answers::{ANSWER_HOURS, ANSWERS_MAX, REPLY_BYTES_MAX};
pub use clock::{Clock, ManualClock, OnSet, SystemClock};
pub use limits::Limits;
pub use metrics::{Latency, Metrics};
pub use notes::{CommandAnswered, Note, RELEASED as NOTES_RELEASED, SourcesFollowed, is_note};
pub use recovery::Until;
pub use registry::Registry;
pub use reply::Reply;
pub use runtime::Runtime;
pub use shared::Quarantined;
