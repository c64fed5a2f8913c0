//! The contract of an entity: what it is asked, what it decides, what has happened.

use std::fmt::Debug;
use std::sync::Arc;

use ionveil_journal::StreamKind;
use ionveil_journal::codec::{self, DecodeError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::abilities::Abilities;
use crate::domain::Timestamp;
use crate::error::{Corrupt, Error};

/// An entity: a consistency boundary with one stream of events and one writer. Its default is the state before any event.
pub trait Aggregate: Default + Send + Unpin + 'static {
    /// The part of its stream's address before the `/`. Never renamed once released.
    const KIND: StreamKind;
    /// What it can beyond deciding and answering: be stored as a snapshot, be woken, follow other streams, have effects.
    const ABILITIES: Abilities<Self> = Abilities::NONE;
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
    /// How its reply is remembered for whoever sends the command again with the same [`Caller::command_id`]. Without it a
    /// command that brings an id is refused as invalid: nobody is to believe that a retry is safe when it is not.
    const REPLY: Option<ReplyCodec<Self::Reply>> = None;

    /// What it says, as bytes that are the same whenever the same is said: all that its sender makes up, and nothing that is
    /// found out on its way, such as a fresh id. Asked only of a command that brings an id: sent again under that id it has to
    /// say the same, else it is refused as invalid. `None` for a command of which that is not compared.
    fn content(&self) -> Option<Vec<u8>> {
        None
    }

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

/// How a reply is stored beside the events that it came with: in the journal's codec, behind the version of its shape.
///
/// A reply is remembered for a day, so its shape may change with a release. Then its version is raised, and a retry across
/// that release is refused instead of misread. Golden bytes in `actors/src/catalogue/replies.rs` show when a shape changes.
pub struct ReplyCodec<R> {
    pub(crate) encode: fn(&R) -> Vec<u8>,
    pub(crate) decode: fn(u8, &[u8]) -> Result<R, DecodeError>,
}

impl<R: Clone + Serialize + DeserializeOwned> ReplyCodec<R> {
    /// As it is, version 1.
    pub const STORED: Self = ReplyCodec::stored_as::<R, 1>();
}

impl<R: Clone> ReplyCodec<R> {
    /// As an `S`, whose shape has that version: for replies that are shaped for people.
    pub const fn stored_as<S, const VERSION: u16>() -> Self
    where
        S: From<R> + Into<R> + Serialize + DeserializeOwned,
    {
        ReplyCodec {
            encode: |reply| codec::encode(&(VERSION, S::from(reply.clone()))),
            decode: |codec, bytes| match codec::decode::<(u16, S)>(codec, bytes)? {
                (version, stored) if version == VERSION => Ok(stored.into()),
                (version, _) => Err(DecodeError::UnknownType { event_type: "reply".to_owned(), version }),
            },
        }
    }
}

/// Everything from outside that an entity may look at, read once per message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The instant: the caller's own if it brings one, else that of the system's clock.
    pub now: Timestamp,
    /// A fresh version 7 UUID for each command and each wake, of the time that the system's clock shows: what comes into being
    /// can be called by it. Nil for queries.
    pub id: Uuid,
    /// Who asks.
    pub caller: Caller,
}

impl Given {
    /// Asked at `now` by the system itself.
    pub fn at(now: Timestamp) -> Self {
        Given { now, id: Uuid::nil(), caller: Caller::default() }
    }
}

/// Who asks, and in what connection. Stored with every event that follows, but for the instant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The person or token; `None` is the system itself.
    pub principal: Option<Arc<str>>,
    /// What all events of one conversation share.
    pub correlation_id: Option<Uuid>,
    /// The command's identity, if it may be sent again: the entity then gives the first answer once more.
    pub command_id: Option<Uuid>,
    /// The instant that the message is to be judged at, in place of the clock's (`--now T`). Whether it may lie before what
    /// the entity knows already is for the entity to say.
    pub now: Option<Timestamp>,
}
