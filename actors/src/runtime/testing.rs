//! Tests of entities as given, when, then: no actor, no disk, no clock.
//!
//! What every entity promises is checked unasked, in each scenario:
//! - every event, given or new, survives its encoding, under its type's name and version;
//! - `evolve` takes whatever `decide` writes;
//! - the state is the same whether events were applied as they came, replayed from their bytes, or came on top of a snapshot,
//!   and equal states have equal snapshots;
//! - a reply that is remembered survives its encoding;
//! - deciding twice on the same gives the same, so nothing but state, command and `Given` was looked at, and no clock;
//! - a wake takes the entity beyond the instant that it was woken for;
//! - deciding changes nothing, and a refusal leaves no events.
//!
//! ```
//! use ionveil_actors::error::{Corrupt, Error, Invalid};
//! use ionveil_actors::runtime::testing::{Observed, Scenario};
//! use ionveil_actors::runtime::{Aggregate, Command, Decision, Event, Given};
//! use ionveil_journal::{StreamKind, codec::{self, DecodeError}};
//!
//! /// A door that counts how often it was opened.
//! #[derive(Debug, Default)]
//! struct Door { opened: u32 }
//! #[derive(Debug, Clone, PartialEq)]
//! struct Opened;
//! #[derive(Debug, Clone)]
//! struct Open;
//!
//! impl Aggregate for Door {
//!     const KIND: StreamKind = StreamKind::new("door");
//!     type Event = Opened;
//!     fn evolve(&mut self, _: &Opened) -> Result<(), Corrupt> {
//!         self.opened += 1;
//!         Ok(())
//!     }
//! }
//! impl Observed for Door {
//!     fn observed(&self) -> String { format!("{self:?}") }
//! }
//! impl Command<Door> for Open {
//!     type Reply = u32;
//!     fn decide(self, door: &Door, _: &Given) -> Result<Decision<Opened, u32>, Error> {
//!         if door.opened == 2 {
//!             return Err(Invalid::new("opened", 2, "less than 2").into());
//!         }
//!         Ok(Decision { events: vec![Opened], reply: door.opened + 1 })
//!     }
//! }
//! # impl Event for Opened {
//! #     fn event_type(&self) -> &'static str { "opened" }
//! #     fn version(&self) -> u16 { 1 }
//! #     fn encode(&self) -> Vec<u8> { Vec::new() }
//! #     fn decode(_: &str, _: u16, _: u8, _: &[u8]) -> Result<Self, DecodeError> { Ok(Opened) }
//! #     fn to_json(&self) -> serde_json::Value { serde_json::Value::Null }
//! # }
//!
//! Scenario::<Door>::given([Opened])
//!     .when(Open).then([Opened], 2)
//!     .when(Open).then_refused(Invalid::new("opened", 2, "less than 2"));
//! ```

use std::fmt::Debug;

use ionveil_journal::{OwnedRecord, Position, Sequence, codec};
use uuid::Uuid;

use super::abilities::{Follower, Snapshots, Source, Timed};
use super::aggregate::{Aggregate, Caller, Command, Decision, Event, Given, Query};
use crate::domain::Timestamp;
use crate::error::{Error, Invalid, Kind};

/// An entity whose states can be compared.
pub trait Observed: Aggregate {
    /// All that the state knows, as a text that is the same for equal states. Mind hash maps: their order differs.
    fn observed(&self) -> String;
}

/// An entity with a past, and everything from outside that the next message sees.
pub struct Scenario<A: Observed> {
    state: A,
    history: Vec<A::Event>,
    given: Given,
}

impl<A: Observed> Scenario<A> {
    /// An entity to which these events have happened. Asked by the system itself, in the first instant of 2026.
    ///
    /// # Panics
    /// When the entity does not take them, or one of the checks of this module fails.
    #[track_caller]
    pub fn given(events: impl IntoIterator<Item = A::Event>) -> Self {
        let now = "2026-01-01T00:00:00Z".parse().expect("an instant");
        let given = Given { id: Uuid::from_u128(1), ..Given::at(now) };
        let mut scenario = Scenario { state: A::default(), history: Vec::new(), given };
        scenario.apply(events.into_iter().collect(), "given");
        scenario
    }

    /// The next messages come at `now`.
    #[must_use]
    pub fn at(mut self, now: Timestamp) -> Self {
        self.given.now = now;
        self
    }

    /// The next messages come from `principal`.
    #[must_use]
    pub fn by(mut self, principal: &str) -> Self {
        self.given.caller =
            Caller { principal: Some(principal.into()), correlation_id: Some(Uuid::nil()), ..Caller::default() };
        self
    }

    /// Gives the entity a command. What came of it is for the `then` that follows to say.
    ///
    /// # Panics
    /// When deciding twice does not give the same.
    #[track_caller]
    pub fn when<C>(self, command: C) -> When<A, C::Reply>
    where
        C: Command<A> + Clone,
        C::Reply: Debug + PartialEq,
    {
        let before = self.state.observed();
        let decided = command.clone().decide(&self.state, &self.given);
        let again = later(|| command.decide(&self.state, &self.given));
        assert!(decided == again, "deciding twice on the same differs:\n{decided:#?}\nthen\n{again:#?}");
        assert_eq!(self.state.observed(), before, "deciding changed the state");
        if let (Some(reply_codec), Ok(Decision { reply, .. })) = (C::REPLY, &decided) {
            let read = (reply_codec.decode)(codec::BINCODE_2, &(reply_codec.encode)(reply));
            assert!(
                read.as_ref() == Ok(reply),
                "the reply changes when remembered:\n{reply:#?}\nis read as\n{read:#?}"
            );
        }
        When { scenario: self, decided }
    }

    /// The instant that the state names has come, or is long over: the entity is woken.
    ///
    /// # Panics
    /// When it is not due, when waking twice does not give the same, or when the events do not get it beyond that instant.
    #[track_caller]
    pub fn when_woken(self) -> When<A, ()>
    where
        A: Timed,
    {
        let due = self.state.next_wake().filter(|due| *due <= self.given.now);
        let due =
            due.unwrap_or_else(|| panic!("it is {}, the next wake is {:?}", self.given.now, self.state.next_wake()));
        let decided = self.decided_by_itself(|state, given| state.on_wake(given));
        if let Ok(Decision { events, .. }) = &decided {
            let mut woken = A::default();
            self.history.iter().chain(events).for_each(|event| woken.evolve(event).expect("it takes what it wrote"));
            let next = woken.next_wake();
            assert!(next.is_none_or(|next| next > due), "woken for {due}, it wants to be woken at {next:?}");
        }
        When { scenario: self, decided }
    }

    /// The entity reads an event of a stream that it follows.
    ///
    /// # Panics
    /// When it does not follow that stream, or reading twice does not give the same. The stream's id is the follower's own if
    /// it follows the one with its id.
    #[track_caller]
    pub fn when_read<E: Event>(self, stream: &str, event: &E) -> When<A, ()>
    where
        A: Follower,
    {
        let (kind, id) = stream.split_once('/').expect("kind/id");
        let is_source = |source: &Source| match source {
            Source::SameId(of) => of.as_str() == kind,
            Source::Stream(of, fixed) => of.as_str() == kind && *fixed == id,
        };
        assert!(A::SOURCES.iter().any(is_source), "{stream} is none of {:?}", A::SOURCES);
        let record = OwnedRecord {
            position: Position::FIRST,
            stream: stream.to_owned(),
            sequence: Sequence::FIRST,
            epoch: 1,
            recorded_at_micros: self.given.now.as_micros(),
            id: Uuid::from_u128(2),
            event_type: event.event_type().to_owned(),
            version: event.version(),
            codec: codec::BINCODE_2,
            principal: None,
            correlation_id: self.given.caller.correlation_id,
            causation_id: None,
            payload: event.encode(),
        };
        let decided = self.decided_by_itself(|state, given| {
            state.on_record(&record, given).map_err(|corrupt| Error::Corrupt {
                stream: record.stream.clone(),
                sequence: record.sequence.get(),
                cause: corrupt.to_string(),
            })
        });
        When { scenario: self, decided }
    }

    #[track_caller]
    fn decided_by_itself(
        &self,
        decide: impl Fn(&A, &Given) -> Result<Vec<A::Event>, Error>,
    ) -> Result<Decision<A::Event, ()>, Error> {
        let before = self.state.observed();
        let decided = decide(&self.state, &self.given);
        let again = later(|| decide(&self.state, &self.given));
        assert!(decided == again, "deciding twice on the same differs:\n{decided:#?}\nthen\n{again:#?}");
        assert_eq!(self.state.observed(), before, "deciding changed the state");
        decided.map(|events| Decision { events, reply: () })
    }

    /// Asks the entity.
    ///
    /// # Errors
    /// What the query says.
    pub fn ask<Q: Query<A>>(&self, query: Q) -> Result<Q::Answer, Error> {
        query.answer(&self.state, &self.given)
    }

    /// Everything from outside that the next message sees.
    pub fn given_now(&self) -> Given {
        self.given.clone()
    }

    /// The state, for what no query tells.
    pub fn state(&self) -> &A {
        &self.state
    }

    /// All that has happened, oldest first.
    pub fn history(&self) -> &[A::Event] {
        &self.history
    }

    #[track_caller]
    fn apply(&mut self, events: Vec<A::Event>, whose: &str) {
        let mut from_snapshot = A::ABILITIES.snapshots.map(|snapshots| restored(&self.state, snapshots));
        for (event, number) in events.into_iter().zip(1..) {
            let decoded = decoded(&event);
            assert!(
                decoded == event,
                "{whose} event {number} changes when stored:\n{event:#?}\nis read as\n{decoded:#?}"
            );
            let name = (event.event_type(), event.version());
            assert_eq!(
                (decoded.event_type(), decoded.version()),
                name,
                "{whose} event {number} is read as another type"
            );
            if let Err(corrupt) = self.state.evolve(&event) {
                panic!("evolve does not take {whose} event {number}: {corrupt}\n{event:#?}");
            }
            if let Some(state) = &mut from_snapshot {
                state.evolve(&event).expect("it takes what the live state takes");
            }
            self.history.push(event);
        }
        if let (Some(state), Some(snapshots)) = (from_snapshot, A::ABILITIES.snapshots) {
            let lived = self.state.observed();
            assert_eq!(
                state.observed(),
                lived,
                "from a snapshot and what followed (left) is not what was lived (right)"
            );
            assert!(
                (snapshots.encode)(&state) == (snapshots.encode)(&self.state),
                "equal states have different snapshots"
            );
        }
        let mut replayed = A::default();
        for (event, number) in self.history.iter().zip(1..) {
            if let Err(corrupt) = replayed.evolve(&decoded(event)) {
                panic!("replay does not take event {number}: {corrupt}\n{event:#?}");
            }
        }
        assert_eq!(replayed.observed(), self.state.observed(), "replayed (left) is not what was lived (right)");
    }
}

/// The same once more, when the machine's clock shows another time.
fn later<R>(again: impl FnOnce() -> R) -> R {
    let before = std::time::SystemTime::now();
    while std::time::SystemTime::now() == before {
        std::hint::spin_loop();
    }
    again()
}

/// A state as its snapshot has it.
#[track_caller]
fn restored<A: Aggregate>(state: &A, snapshots: Snapshots<A>) -> A {
    (snapshots.decode)(&(snapshots.encode)(state))
        .unwrap_or_else(|error| panic!("the snapshot of the state cannot be read back: {error}"))
}

#[track_caller]
fn decoded<E: Event>(event: &E) -> E {
    let (name, version) = (event.event_type(), event.version());
    E::decode(name, version, codec::BINCODE_2, &event.encode())
        .unwrap_or_else(|error| panic!("{name} v{version} cannot be read back: {error}\n{event:#?}"))
}

/// A command has been decided on. Nothing has happened yet.
#[must_use = "a scenario says what is expected by one of the `then` methods"]
pub struct When<A: Observed, R> {
    scenario: Scenario<A>,
    decided: Result<Decision<A::Event, R>, Error>,
}

impl<A: Observed, R: Debug + PartialEq> When<A, R> {
    /// These events happen, and this is the reply.
    ///
    /// # Panics
    /// When it is otherwise, or one of the checks of this module fails.
    #[track_caller]
    pub fn then(self, events: impl IntoIterator<Item = A::Event>, reply: R) -> Scenario<A> {
        let expected = Decision { events: events.into_iter().collect(), reply };
        match &self.decided {
            Ok(decision) => {
                assert!(*decision == expected, "decided\n{decision:#?}\nexpected\n{expected:#?}");
            }
            Err(refusal) => panic!("refused: {refusal}\nexpected\n{expected:#?}"),
        }
        self.goes_on()
    }

    /// Nothing happens; this is the reply.
    ///
    /// # Panics
    /// As [`When::then`].
    #[track_caller]
    pub fn then_nothing_but(self, reply: R) -> Scenario<A> {
        self.then([], reply)
    }

    /// This is the reply; as many events happen as `events_len` says.
    ///
    /// # Panics
    /// As [`When::then`].
    #[track_caller]
    pub fn then_reply(self, events_len: usize, reply: R) -> Scenario<A> {
        match &self.decided {
            Ok(decision) => {
                assert_eq!(decision.reply, reply, "the reply (left) is not the expected one (right)");
                assert_eq!(decision.events.len(), events_len, "as many events: {:#?}", decision.events);
            }
            Err(refusal) => panic!("refused: {refusal}\nexpected the reply\n{reply:#?}"),
        }
        self.goes_on()
    }

    /// Whatever it is, it is accepted and happens.
    ///
    /// # Panics
    /// When it is refused, or one of the checks of this module fails.
    #[track_caller]
    pub fn then_accepted(self) -> Scenario<A> {
        if let Err(refusal) = &self.decided {
            panic!("refused: {refusal}");
        }
        self.goes_on()
    }

    /// It is refused: for this reason, or with this kind of reason. The scenario goes on as before.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn then_refused(self, expected: impl Into<Refusal>) -> Scenario<A> {
        let refusal = match self.decided {
            Ok(decision) => panic!("decided\n{decision:#?}\nexpected a refusal"),
            Err(refusal) => refusal,
        };
        match expected.into() {
            Refusal::Kind(kind) => assert_eq!(refusal.kind(), kind, "refused as another kind: {refusal}"),
            Refusal::Error(error) => assert_eq!(refusal, error, "refused for another reason"),
        }
        self.scenario
    }

    #[track_caller]
    fn goes_on(self) -> Scenario<A> {
        let mut scenario = self.scenario;
        scenario.apply(self.decided.expect("a refusal was met before").events, "decided");
        scenario
    }
}

/// What is expected of a refusal.
#[derive(Debug)]
pub enum Refusal {
    /// That it is of this kind.
    Kind(Kind),
    /// That it is this one.
    Error(Error),
}

impl From<Kind> for Refusal {
    fn from(kind: Kind) -> Self {
        Refusal::Kind(kind)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Error(error)
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Refusal::Error(invalid.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Corrupt;
    use crate::runtime::{Abilities, ReplyCodec, Snapshotted, decode_record};
    use ionveil_journal::codec::DecodeError;
    use ionveil_journal::{Fold, StreamKind};
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// An entity with the faults that the harness is to find.
    #[derive(Debug, Default)]
    struct Faulty {
        sum: u8,
        replayed: bool,
        /// Left out of the snapshot.
        forgotten: bool,
        due: Option<Timestamp>,
    }

    #[derive(Debug, Clone, PartialEq)]
    enum Fault {
        None,
        /// Loses its content when stored.
        Lossy(u8),
        /// Is refused by evolve.
        Refused,
        /// Leaves another state when it was stored before.
        Remembering,
        RememberingReplayed,
        /// What it leaves is not in the snapshot.
        Forgettable,
        /// Names an instant, and no event takes it back.
        Due,
    }

    impl Snapshotted for Faulty {
        const FOLD: Fold = Fold { schema: 1, version: 1 };

        fn to_snapshot(&self) -> Vec<u8> {
            codec::encode(&(self.sum, self.replayed, self.due))
        }

        fn from_snapshot(bytes: &[u8]) -> Result<Self, DecodeError> {
            let (sum, replayed, due) = codec::decode(codec::BINCODE_2, bytes)?;
            Ok(Faulty { sum, replayed, forgotten: false, due })
        }
    }

    impl Timed for Faulty {
        fn next_wake(&self) -> Option<Timestamp> {
            self.due
        }

        fn on_wake(&self, _: &Given) -> Result<Vec<Fault>, Error> {
            Ok(vec![Fault::None])
        }
    }

    impl Follower for Faulty {
        const SOURCES: &'static [Source] = &[Source::SameId(StreamKind::new("faulty"))];

        fn on_record(&self, record: &OwnedRecord, _: &Given) -> Result<Vec<Fault>, Corrupt> {
            Ok(vec![decode_record(record)?])
        }
    }

    impl Aggregate for Faulty {
        const KIND: StreamKind = StreamKind::new("faulty");
        const ABILITIES: Abilities<Self> = Abilities::NONE.with_snapshots().with_timers().with_sources();
        type Event = Fault;

        fn evolve(&mut self, event: &Fault) -> Result<(), Corrupt> {
            match event {
                Fault::Refused => return Err(Corrupt("never".into())),
                Fault::RememberingReplayed => self.replayed = true,
                Fault::Forgettable => self.forgotten = true,
                Fault::Due => self.due = Some(Timestamp::EPOCH),
                _ => self.sum += 1,
            }
            Ok(())
        }
    }

    impl Observed for Faulty {
        fn observed(&self) -> String {
            format!("{self:?}")
        }
    }

    thread_local!(static DECODED: Cell<u32> = const { Cell::new(0) });

    impl Event for Fault {
        fn event_type(&self) -> &'static str {
            match self {
                Fault::None => "none",
                Fault::Lossy(_) => "lossy",
                Fault::Refused => "refused",
                Fault::Remembering | Fault::RememberingReplayed => "remembering",
                Fault::Forgettable => "forgettable",
                Fault::Due => "due",
            }
        }

        fn version(&self) -> u16 {
            1
        }

        fn encode(&self) -> Vec<u8> {
            Vec::new()
        }

        fn decode(event_type: &str, version: u16, _: u8, _: &[u8]) -> Result<Self, DecodeError> {
            DECODED.set(DECODED.get() + 1);
            match event_type {
                "none" => Ok(Fault::None),
                "lossy" => Ok(Fault::Lossy(0)),
                "refused" => Ok(Fault::Refused),
                "forgettable" => Ok(Fault::Forgettable),
                "due" => Ok(Fault::Due),
                // The first reading is faithful, the second, in the replay, is not.
                "remembering" if DECODED.get() == 1 => Ok(Fault::Remembering),
                "remembering" => Ok(Fault::RememberingReplayed),
                _ => Err(DecodeError::UnknownType { event_type: event_type.to_owned(), version }),
            }
        }

        fn to_json(&self) -> serde_json::Value {
            serde_json::Value::Null
        }
    }

    /// Writes what it is told to, or refuses.
    #[derive(Debug, Clone)]
    struct Write(Result<Fault, Invalid>);

    impl Command<Faulty> for Write {
        type Reply = u8;
        const REPLY: Option<ReplyCodec<u8>> = Some(ReplyCodec {
            encode: |reply| vec![*reply],
            // A reply of 100 is not remembered well.
            decode: |_, bytes| Ok(if bytes[0] == 100 { 0 } else { bytes[0] }),
        });

        fn decide(self, state: &Faulty, _: &Given) -> Result<Decision<Fault, u8>, Error> {
            Ok(Decision { events: vec![self.0?], reply: state.sum })
        }
    }

    /// Looks at something that nobody gave it.
    #[derive(Debug, Clone)]
    struct LookAside;

    impl Command<Faulty> for LookAside {
        type Reply = u32;

        fn decide(self, _: &Faulty, _: &Given) -> Result<Decision<Fault, u32>, Error> {
            DECODED.set(DECODED.get() + 1);
            Ok(Decision { events: vec![], reply: DECODED.get() })
        }
    }

    fn failure_of(scenario: impl FnOnce()) -> String {
        DECODED.set(0);
        let payload = catch_unwind(AssertUnwindSafe(scenario)).expect_err("the harness should have found a fault");
        payload
            .downcast_ref::<String>()
            .cloned()
            .or(payload.downcast_ref::<&str>().map(|s| (*s).into()))
            .unwrap_or_default()
    }

    #[test]
    fn every_fault_is_found_and_named() {
        let empty = || Scenario::<Faulty>::given([]);
        let writes = |fault| move || drop(empty().when(Write(Ok(fault))).then_accepted());
        let invalid = Invalid::new("a", 1, "2");
        for (message, failure) in [
            ("changes when stored", failure_of(writes(Fault::Lossy(1)))),
            ("evolve does not take decided event 1: never", failure_of(writes(Fault::Refused))),
            ("evolve does not take given event 1", failure_of(|| drop(Scenario::<Faulty>::given([Fault::Refused])))),
            ("is not what was lived", failure_of(writes(Fault::Remembering))),
            ("deciding twice", failure_of(|| drop(empty().when(LookAside)))),
            (
                "from a snapshot and what followed",
                failure_of(|| {
                    drop(Scenario::<Faulty>::given([Fault::Forgettable]).when(Write(Ok(Fault::None))).then_accepted())
                }),
            ),
            ("the next wake is None", failure_of(|| drop(empty().when_woken()))),
            ("it wants to be woken at", failure_of(|| drop(Scenario::<Faulty>::given([Fault::Due]).when_woken()))),
            ("is none of", failure_of(|| drop(empty().when_read("other/a", &Fault::None)))),
            (
                "the reply changes when remembered",
                failure_of(|| drop(Scenario::<Faulty>::given(vec![Fault::None; 100]).when(Write(Ok(Fault::None))))),
            ),
            ("expected", failure_of(|| drop(empty().when(Write(Ok(Fault::None))).then([], 0)))),
            ("expected", failure_of(|| drop(empty().when(Write(Ok(Fault::None))).then([Fault::None], 1)))),
            ("the reply", failure_of(|| drop(empty().when(Write(Ok(Fault::None))).then_reply(1, 9)))),
            ("as many events", failure_of(|| drop(empty().when(Write(Ok(Fault::None))).then_reply(2, 0)))),
            (
                "expected a refusal",
                failure_of(|| drop(empty().when(Write(Ok(Fault::None))).then_refused(Kind::Invalid))),
            ),
            (
                "another kind",
                failure_of(|| drop(empty().when(Write(Err(invalid.clone()))).then_refused(Kind::NotFound))),
            ),
            ("refused: a is 1", failure_of(|| drop(empty().when(Write(Err(invalid.clone()))).then_accepted()))),
            ("refused: a is 1", failure_of(|| drop(empty().when(Write(Err(invalid.clone()))).then_nothing_but(0)))),
            ("refused: a is 1", failure_of(|| drop(empty().when(Write(Err(invalid.clone()))).then_reply(0, 0)))),
        ] {
            assert!(failure.contains(message), "expected {message:?} in {failure:?}");
        }
    }

    #[test]
    fn what_a_follower_reads_is_told_like_a_command() {
        let scenario = Scenario::<Faulty>::given([]).when_read("faulty/a", &Fault::None).then([Fault::None], ());
        assert_eq!(scenario.state().sum, 1);
    }

    #[test]
    fn a_sound_scenario_goes_on_from_step_to_step() {
        let scenario = Scenario::<Faulty>::given([Fault::None])
            .by("ada")
            .at(Timestamp::EPOCH)
            .when(Write(Ok(Fault::None)))
            .then([Fault::None], 1)
            .when(Write(Err(Invalid::new("a", 1, "2"))))
            .then_refused(Error::from(Invalid::new("a", 1, "2")))
            .when(Write(Ok(Fault::None)))
            .then_reply(1, 2);
        assert_eq!((scenario.history().len(), scenario.state().sum), (3, 3));
        assert_eq!(scenario.given.caller.principal.as_deref(), Some("ada"));
        assert_eq!(scenario.given.now, Timestamp::EPOCH);
    }
}
