//! What an entity can beyond deciding and answering. Each ability is a trait; [`Aggregate::ABILITIES`] lists those that an
//! entity has, and the runtime does the rest.

use ionveil_journal::codec::DecodeError;
use ionveil_journal::{Fold, OwnedRecord, StreamId, StreamKind};
use uuid::Uuid;

use super::aggregate::{Aggregate, Command, Event, Given};
use crate::domain::Timestamp;
use crate::error::{Corrupt, Error};

/// The abilities of an entity, for [`Aggregate::ABILITIES`]: `Abilities::NONE.with_snapshots().with_timers()`.
pub struct Abilities<A: Aggregate> {
    pub(super) snapshots: Option<Snapshots<A>>,
    pub(super) timers: Option<Timers<A>>,
    pub(super) follows: Option<Follows<A>>,
    pub(super) effects: Option<Effects<A>>,
}

/// The methods of [`Snapshotted`].
pub(super) struct Snapshots<A> {
    pub(super) fold: Fold,
    pub(super) encode: fn(&A) -> Vec<u8>,
    pub(super) decode: fn(&[u8]) -> Result<A, DecodeError>,
}

type OnWake<A> = fn(&A, &Given) -> Result<Vec<<A as Aggregate>::Event>, Error>;
type OnRecord<A> = fn(&A, &OwnedRecord, &Given) -> Result<Vec<<A as Aggregate>::Event>, Corrupt>;

/// The methods of [`Timed`].
pub(super) struct Timers<A: Aggregate> {
    pub(super) next_wake: fn(&A) -> Option<Timestamp>,
    pub(super) on_wake: OnWake<A>,
}

/// The methods of [`Follower`].
pub(super) struct Follows<A: Aggregate> {
    pub(super) sources: &'static [Source],
    pub(super) on_record: OnRecord<A>,
}

impl<A: Aggregate> Follows<A> {
    /// The streams that the follower called `id` reads, each once: a fixed one may have its id.
    pub(super) fn streams(&self, id: &str) -> Vec<StreamId> {
        let mut streams: Vec<StreamId> = Vec::with_capacity(self.sources.len());
        for stream in self.sources.iter().map(|source| source.stream(id)) {
            if !streams.contains(&stream) {
                streams.push(stream);
            }
        }
        streams
    }

    /// Whether streams of that kind are followed by the entity with their id.
    pub(super) fn is_same_id(&self, kind: &str) -> bool {
        self.sources.iter().any(|source| matches!(source, Source::SameId(of) if of.as_str() == kind))
    }
}

/// The part of [`Effectful`] that needs no effect's type.
pub(super) struct Effects<A> {
    pub(super) pending: fn(&A) -> Vec<Uuid>,
}

macro_rules! copied {
    ($($name:ident),*) => {
        $(
            impl<A: Aggregate> Clone for $name<A> {
                fn clone(&self) -> Self {
                    *self
                }
            }
            impl<A: Aggregate> Copy for $name<A> {}
        )*
    };
}

// Plain function pointers; deriving would ask for a state that is `Copy`.
copied!(Abilities, Snapshots, Timers, Follows, Effects);

impl<A: Aggregate> Abilities<A> {
    /// An entity that is asked and told, and no more.
    pub const NONE: Self = Abilities { snapshots: None, timers: None, follows: None, effects: None };

    /// Its state is stored now and then, so that it starts faster.
    #[must_use]
    pub const fn with_snapshots(self) -> Self
    where
        A: Snapshotted,
    {
        let snapshots = Snapshots { fold: A::FOLD, encode: A::to_snapshot, decode: A::from_snapshot };
        Abilities { snapshots: Some(snapshots), timers: self.timers, follows: self.follows, effects: self.effects }
    }

    /// It is woken at the instant that its state names.
    #[must_use]
    pub const fn with_timers(self) -> Self
    where
        A: Timed,
    {
        let timers = Timers { next_wake: A::next_wake, on_wake: A::on_wake };
        Abilities { snapshots: self.snapshots, timers: Some(timers), follows: self.follows, effects: self.effects }
    }

    /// It makes events of its own out of other streams' events.
    #[must_use]
    pub const fn with_sources(self) -> Self
    where
        A: Follower,
    {
        let follows = Follows { sources: A::SOURCES, on_record: A::on_record };
        Abilities { snapshots: self.snapshots, timers: self.timers, follows: Some(follows), effects: self.effects }
    }

    /// Its state names what is to be done outside.
    #[must_use]
    pub const fn with_effects(self) -> Self
    where
        A: Effectful,
    {
        let effects = Effects { pending: A::pending };
        Abilities { snapshots: self.snapshots, timers: self.timers, follows: self.follows, effects: Some(effects) }
    }

    /// Whether the runtime has to look after it without being asked.
    pub(super) const fn need_attention(&self) -> bool {
        self.timers.is_some() || self.follows.is_some() || self.effects.is_some()
    }
}

/// An entity whose state can be stored. A snapshot is a cache: deleting all of them changes how long a start takes, and
/// nothing else.
pub trait Snapshotted: Aggregate {
    /// Changed by hand: the schema when the bytes change, the version when `evolve` makes another state of the same events.
    /// Snapshots of another fold are not looked at.
    const FOLD: Fold;

    /// The whole state as bytes, the same for equal states. Taken on the entity's own thread, every so many events.
    fn to_snapshot(&self) -> Vec<u8>;

    /// The state that [`Snapshotted::to_snapshot`] was taken of.
    ///
    /// # Errors
    /// When the bytes are no such state. The entity is then rebuilt from all its events, and a warning says why.
    fn from_snapshot(bytes: &[u8]) -> Result<Self, DecodeError>;
}

/// An entity that has to do something at an instant. The timer is part of its state, so it survives whatever its events
/// survive.
pub trait Timed: Aggregate {
    /// When it next has to be woken; `None` for not at all. Follows from the state alone.
    fn next_wake(&self) -> Option<Timestamp>;

    /// What happens when that instant has come. `given.now` may be much later: the system was down, or the clock was moved.
    /// The events must take `next_wake` beyond the instant that it named, or clear it; so everything due at that instant is
    /// handled at once. Anything else is a fault: nothing is written, it is logged and counted, and the entity is not woken
    /// for that instant again until its state names another one.
    ///
    /// # Errors
    /// When it cannot decide now. It is woken again after a while.
    fn on_wake(&self, given: &Given) -> Result<Vec<Self::Event>, Error>;
}

/// What a follower follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The stream of that kind with the follower's own id: `escalation/org1` follows `alerts/org1`.
    SameId(StreamKind),
    /// One stream, whatever the follower's id: `rules/all`.
    Stream(StreamKind, &'static str),
}

impl Source {
    /// The stream that the follower called `id` reads.
    fn stream(self, id: &str) -> StreamId {
        let (kind, id) = match self {
            Source::SameId(kind) => (kind, id),
            Source::Stream(kind, id) => (kind, id),
        };
        StreamId::new(kind, id)
            .expect("a follower's id is that of a stream, and a fixed one is checked by every test of it")
    }
}

/// A process manager: an entity that makes events of its own out of other streams' events, each of which counts once.
///
/// How far it has read is noted in its own stream together with what it made of it, so a crash in between repeats the
/// reading and not the result. Before it handles any message it has read all that was durable in its sources when the
/// message came, so that whoever was told of an event there finds its consequence here. In `serve` it also reads by itself
/// as soon as a source grows.
pub trait Follower: Aggregate {
    /// Where it reads.
    const SOURCES: &'static [Source];

    /// What one event of a source leads to; often nothing. Events of all sources come in the order of their positions.
    /// [`decode_record`] reads the event. What follows is recorded as caused by it, under its correlation id.
    ///
    /// # Errors
    /// When it cannot be understood. The follower then refuses everything as `corrupt` and names the event.
    fn on_record(&self, record: &OwnedRecord, given: &Given) -> Result<Vec<Self::Event>, Corrupt>;
}

/// An entity with an outbox: its state names what is still to be done outside, by ids that stay the same.
///
/// Each pending effect is handed to the [`EffectHandler`] of its kind when the events that it follows from are durable, and
/// what came of it comes back as a command. After a restart everything that is pending is handed out again, so an effect
/// happens at least once; its id lets the other side tell a repetition.
pub trait Effectful: Aggregate {
    /// What is to be done.
    type Effect: Send + 'static;
    /// What the handler tells the entity afterwards. Its events take the effect off the list; one that stays on it is handed
    /// out again after a while.
    type Outcome: Command<Self>;

    /// The effects that are to be done, by id, most urgent first. Called after every event, so it should be quick.
    fn pending(&self) -> Vec<Uuid>;

    /// One of them.
    fn effect(&self, id: Uuid) -> Option<Self::Effect>;
}

/// Does the effects of one kind of entities: the only place where an entity's decisions reach the outside world.
pub trait EffectHandler<A: Effectful>: Send + Sync + 'static {
    /// Does it, and says what came of it. Runs on the entity's thread, so it must not block; it may be called again for the
    /// same id, after a restart or when it panicked.
    fn perform(&self, entity: &str, id: Uuid, effect: A::Effect) -> Performing<A::Outcome>;
}

/// An effect on its way.
pub type Performing<O> = std::pin::Pin<Box<dyn Future<Output = O> + Send>>;

/// Reads the event in a record of another stream.
///
/// # Errors
/// When it is none of that kind, or of a version that is not known.
pub fn decode_record<E: Event>(record: &OwnedRecord) -> Result<E, Corrupt> {
    E::decode(&record.event_type, record.version, record.codec, &record.payload)
        .map_err(|error| Corrupt(format!("event {} v{}: {error}", record.event_type, record.version)))
}
