//! The contract of an entity: what it is asked, what it decides, what has happened.

use std::fmt::Debug;
use std::sync::Arc;

use ionveil_journal::StreamKind;
use ionveil_journal::codec::DecodeError;
use uuid::Uuid;

use crate::domain::Timestamp;
use crate::error::{Corrupt, Error};

/// An entity: a consistency boundary with one stream of events and one writer. Its default is the state before any event.
pub trait Aggregate: Default + Send + Unpin + 'static {
    /// The part of its stream's address before the `/`. Never renamed once released.
    const KIND: StreamKind;
    /// What can have happened to it.
    type Event: Event;

    /// Takes in what has happened. Sees the state and the event, nothing else: no clock, no random source.
    ///
    /// It gets events before they are durable and therefore before they have a position, so nothing of an event's
    /// envelope can be part of the state; what the state needs stands in the event.
    ///
    /// # Errors
    /// When no `decide` can have written this event in this state. The entity is then refused as corrupt.
    fn evolve(&mut self, event: &Self::Event) -> Result<(), Corrupt>;
}

/// An event as the runtime needs it: a stable name and version, and bytes.
pub trait Event: Debug + Clone + PartialEq + Send + 'static {
    /// The name of its type in the journal. Never renamed once released.
    fn event_type(&self) -> &'static str;
    /// The version of its type's stored shape, from 1.
    fn version(&self) -> u16;
    /// The stored bytes, in the journal's current codec.
    fn encode(&self) -> Vec<u8>;
    /// Reads an event of any released type and version; [`super::upcasting`] says how a version is added.
    ///
    /// # Errors
    /// When the type or version is unknown, or the bytes are no such event.
    fn decode(event_type: &str, version: u16, codec: u8, payload: &[u8]) -> Result<Self, DecodeError>;
    /// What an auditor sees of it.
    fn to_json(&self) -> serde_json::Value;
}

/// Something that an entity is asked to do, and may refuse. One message, one reply.
pub trait Command<A: Aggregate>: Send + 'static {
    /// What the asker gets.
    type Reply: Send + 'static;

    /// What should happen. Pure: everything from outside is in `given`.
    ///
    /// # Errors
    /// A refusal. Nothing changes.
    fn decide(self, state: &A, given: &Given) -> Result<Decision<A::Event, Self::Reply>, Error>;
}

/// Something that an entity is asked to tell. Changes nothing.
pub trait Query<A: Aggregate>: Send + 'static {
    /// What the asker gets.
    type Answer: Send + 'static;

    /// The answer. Pure, as `decide` is.
    ///
    /// # Errors
    /// When the question is not well-formed.
    fn answer(self, state: &A, given: &Given) -> Result<Self::Answer, Error>;
}

/// What a command leads to: events in order, and the reply that leaves when they are durable.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<E, R> {
    /// May be empty: then nothing is journaled.
    pub events: Vec<E>,
    /// For the asker.
    pub reply: R,
}

/// Everything from outside that an entity may look at, read once per message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The instant, by the system's clock.
    pub now: Timestamp,
    /// Who asks.
    pub caller: Caller,
}

/// Who asks, and in what connection. Stored with every event that follows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The person or token; `None` is the system itself.
    pub principal: Option<Arc<str>>,
    /// What all events of one conversation share.
    pub correlation_id: Option<Uuid>,
}
