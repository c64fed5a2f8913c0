//! The toy: a number that is added to, with every way of going wrong.

use std::sync::mpsc::{Receiver, Sender};

use ionveil_actors::domain::Timestamp;
use ionveil_actors::error::{Corrupt, Error, Invalid};
use ionveil_actors::runtime::{Aggregate, Caller, Command, Decision, Event, Given, Query, ReplyCodec};
use ionveil_journal::StreamKind;
use ionveil_journal::codec::{self, DecodeError};
use serde::{Deserialize, Serialize};

#[derive(Debug, Default)]
pub(crate) struct Counter {
    total: i64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Counted {
    Added(i64),
    /// `evolve` refuses it.
    Spoiled(i64),
    /// `evolve` panics at it.
    Exploded(i64),
}

impl Aggregate for Counter {
    const KIND: StreamKind = StreamKind::new("counter");
    type Event = Counted;

    fn evolve(&mut self, event: &Counted) -> Result<(), Corrupt> {
        match event {
            Counted::Added(by) => self.total += by,
            Counted::Spoiled(_) => return Err(Corrupt("spoiled".into())),
            Counted::Exploded(_) => panic!("a test's own panic in evolve"),
        }
        Ok(())
    }
}

impl Event for Counted {
    fn event_type(&self) -> &'static str {
        match self {
            Counted::Added(_) => "added",
            Counted::Spoiled(_) => "spoiled",
            Counted::Exploded(_) => "exploded",
        }
    }

    fn version(&self) -> u16 {
        1
    }

    fn encode(&self) -> Vec<u8> {
        let (Counted::Added(by) | Counted::Spoiled(by) | Counted::Exploded(by)) = self;
        codec::encode(by)
    }

    fn decode(event_type: &str, version: u16, codec: u8, payload: &[u8]) -> Result<Self, DecodeError> {
        match (event_type, version) {
            ("added", 1) => codec::decode(codec, payload).map(Counted::Added),
            ("spoiled", 1) => codec::decode(codec, payload).map(Counted::Spoiled),
            ("exploded", 1) => codec::decode(codec, payload).map(Counted::Exploded),
            _ => Err(DecodeError::UnknownType { event_type: event_type.into(), version }),
        }
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

type Decided<R> = Result<Decision<Counted, R>, Error>;

/// Replies with the total that it leads to.
pub(crate) struct Add(pub(crate) i64);

impl Command<Counter> for Add {
    type Reply = i64;
    const REPLY: Option<ReplyCodec<i64>> = Some(ReplyCodec::STORED);

    fn content(&self) -> Option<Vec<u8>> {
        Some(codec::encode(&self.0))
    }

    fn decide(self, counter: &Counter, _: &Given) -> Decided<i64> {
        Ok(Decision { events: vec![Counted::Added(self.0)], reply: counter.total + self.0 })
    }
}

/// An event for each; none at all for none.
pub(crate) struct AddEach(pub(crate) Vec<i64>);

impl Command<Counter> for AddEach {
    type Reply = i64;

    fn decide(self, counter: &Counter, _: &Given) -> Decided<i64> {
        let reply = counter.total + self.0.iter().sum::<i64>();
        Ok(Decision { events: self.0.into_iter().map(Counted::Added).collect(), reply })
    }
}

/// Replies as [`Add`], in more bytes than are kept.
pub(crate) struct AddAtLength(pub(crate) i64);

#[derive(Serialize, Deserialize)]
struct Lengthy(i64, Vec<u8>);

impl From<i64> for Lengthy {
    fn from(total: i64) -> Self {
        Lengthy(total, vec![0; 1 << 20])
    }
}

impl From<Lengthy> for i64 {
    fn from(Lengthy(total, _): Lengthy) -> Self {
        total
    }
}

impl Command<Counter> for AddAtLength {
    type Reply = i64;
    const REPLY: Option<ReplyCodec<i64>> = Some(ReplyCodec::stored_as::<Lengthy, 1>());

    fn decide(self, counter: &Counter, given: &Given) -> Decided<i64> {
        Add(self.0).decide(counter, given)
    }
}

/// Writes this very event.
pub(crate) struct Write(pub(crate) Counted);

impl Command<Counter> for Write {
    type Reply = ();

    fn decide(self, _: &Counter, _: &Given) -> Decided<()> {
        Ok(Decision { events: vec![self.0], reply: () })
    }
}

/// Decides what `evolve` refuses.
pub(crate) struct Spoil;

impl Command<Counter> for Spoil {
    type Reply = i64;

    fn decide(self, counter: &Counter, _: &Given) -> Decided<i64> {
        Ok(Decision { events: vec![Counted::Spoiled(0)], reply: counter.total })
    }
}

/// Is refused, and says on what total.
pub(crate) struct Refuse;

impl Command<Counter> for Refuse {
    type Reply = ();

    fn decide(self, counter: &Counter, _: &Given) -> Decided<()> {
        Err(Invalid::new("total", counter.total, "anything else").into())
    }
}

pub(crate) struct Panic;

impl Command<Counter> for Panic {
    type Reply = ();

    fn decide(self, _: &Counter, _: &Given) -> Decided<()> {
        panic!("a test's own panic in decide")
    }
}

/// Holds its thread until it is told to go on.
pub(crate) struct Block(pub(crate) Sender<()>, pub(crate) Receiver<()>);

impl Command<Counter> for Block {
    type Reply = i64;

    fn decide(self, counter: &Counter, _: &Given) -> Decided<i64> {
        let _ = self.0.send(());
        let _ = self.1.recv_timeout(super::PATIENCE);
        Ok(Decision { events: vec![], reply: counter.total })
    }
}

pub(crate) struct Total;

impl Query<Counter> for Total {
    type Answer = i64;

    fn answer(self, counter: &Counter, _: &Given) -> Result<i64, Error> {
        Ok(counter.total)
    }
}

/// Tells the test that it is being answered.
pub(crate) struct Signal(pub(crate) Sender<()>);

impl Query<Counter> for Signal {
    type Answer = ();

    fn answer(self, _: &Counter, _: &Given) -> Result<(), Error> {
        let _ = self.0.send(());
        Ok(())
    }
}

/// Its answer holds up whoever drops it, until the sender is dropped.
pub(crate) struct HoldsUp(pub(crate) Receiver<()>);

impl Query<Counter> for HoldsUp {
    type Answer = HoldsUp;

    fn answer(self, _: &Counter, _: &Given) -> Result<HoldsUp, Error> {
        Ok(self)
    }
}

impl Drop for HoldsUp {
    fn drop(&mut self) {
        let _ = self.0.recv_timeout(super::PATIENCE);
    }
}

pub(crate) struct PanicInAnswer;

impl Query<Counter> for PanicInAnswer {
    type Answer = ();

    fn answer(self, _: &Counter, _: &Given) -> Result<(), Error> {
        panic!("a test's own panic in an answer")
    }
}

/// What comes from outside.
pub(crate) struct WhatIsGiven;

impl Query<Counter> for WhatIsGiven {
    type Answer = (Timestamp, Caller);

    fn answer(self, _: &Counter, given: &Given) -> Result<(Timestamp, Caller), Error> {
        Ok((given.now, given.caller.clone()))
    }
}

/// Leaves something with the entity's thread that signals when the thread ends; answers with the thread's id.
pub(crate) struct WatchThread(pub(crate) Sender<()>);

struct SignalOnDrop(Sender<()>);

impl Drop for SignalOnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

thread_local!(static WATCHES: std::cell::RefCell<Vec<SignalOnDrop>> = const { std::cell::RefCell::new(Vec::new()) });

impl Query<Counter> for WatchThread {
    type Answer = std::thread::ThreadId;

    fn answer(self, _: &Counter, _: &Given) -> Result<std::thread::ThreadId, Error> {
        WATCHES.with_borrow_mut(|watches| watches.push(SignalOnDrop(self.0)));
        Ok(std::thread::current().id())
    }
}
