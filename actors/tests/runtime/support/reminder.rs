//! An entity with every ability: it follows the counter of its own id and one called `all`, rings at the instants it is told
//! or has heard of, and has each ring delivered outside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};

use ionveil_actors::domain::Timestamp;
use ionveil_actors::error::{Corrupt, Error, Invalid};
use ionveil_actors::runtime::{
    Abilities, Aggregate, Command, Decision, EffectHandler, Effectful, Event, Follower, Given, Performing, Query,
    ReplyCodec, Snapshotted, Source, Timed, decode_record, is_note,
};
use ionveil_journal::codec::{self, DecodeError};
use ionveil_journal::{Append, Fold, OwnedRecord, StreamKind};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{Counted, Counter};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reminder {
    pub(crate) scheduled: BTreeSet<Timestamp>,
    pub(crate) rings: Vec<Ring>,
    /// By id: when it rang for.
    pub(crate) undelivered: BTreeMap<Uuid, Timestamp>,
    /// What the counters added, in the order in which it was heard.
    pub(crate) heard: Vec<i64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ring {
    pub(crate) due: Timestamp,
    pub(crate) at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Reminded {
    Scheduled(Timestamp),
    Rang(Ring),
    Delivered(Uuid),
    Heard(i64),
    /// Nothing changes, so that a timer that wrote it stays where it was.
    Idled,
}

impl Aggregate for Reminder {
    const KIND: StreamKind = StreamKind::new("reminder");
    const ABILITIES: Abilities<Self> = Abilities::NONE.with_snapshots().with_timers().with_sources().with_effects();
    type Event = Reminded;

    fn evolve(&mut self, event: &Reminded) -> Result<(), Corrupt> {
        match event {
            Reminded::Scheduled(at) if !self.scheduled.insert(*at) => return Err(Corrupt("scheduled twice".into())),
            Reminded::Rang(ring) if !self.scheduled.remove(&ring.due) => {
                return Err(Corrupt("rang without being scheduled".into()));
            }
            Reminded::Rang(ring) => {
                self.undelivered.insert(effect_id(ring.due), ring.due);
                self.rings.push(ring.clone());
            }
            Reminded::Delivered(id) if self.undelivered.remove(id).is_none() => {
                return Err(Corrupt("delivered twice".into()));
            }
            Reminded::Heard(EXPLODING) => panic!("a test's own panic in taking in what was heard"),
            Reminded::Heard(by) => self.heard.push(*by),
            Reminded::Scheduled(_) | Reminded::Delivered(_) | Reminded::Idled => {}
        }
        Ok(())
    }
}

pub(crate) fn effect_id(due: Timestamp) -> Uuid {
    Uuid::from_u128(due.as_micros() as u128)
}

impl Event for Reminded {
    fn event_type(&self) -> &'static str {
        "reminded"
    }

    fn version(&self) -> u16 {
        1
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    fn decode(event_type: &str, version: u16, codec: u8, payload: &[u8]) -> Result<Self, DecodeError> {
        match (event_type, version) {
            ("reminded", 1) => codec::decode(codec, payload),
            _ => Err(DecodeError::UnknownType { event_type: event_type.into(), version }),
        }
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

impl Snapshotted for Reminder {
    const FOLD: Fold = Fold { schema: 1, version: 1 };

    fn to_snapshot(&self) -> Vec<u8> {
        codec::encode(self)
    }

    fn from_snapshot(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(codec::BINCODE_2, bytes)
    }
}

/// Scheduled for the first instant there is, it is a timer that cannot get beyond its instant.
pub(crate) const STUCK: Timestamp = Timestamp::EPOCH;
/// Scheduled for this instant, it is a timer that panics.
pub(crate) const EXPLOSIVE: Timestamp = Timestamp::MIN;
/// Scheduled for this instant, in microseconds after 1970, it is a timer that refuses to ring, and one that panics when it is
/// asked when that is.
pub(crate) const REFUSED: i64 = 1;
pub(crate) const UNSPEAKABLE: i64 = 2;
/// Refuses to ring too, and nobody counts it.
pub(crate) const TIMID: i64 = 3;
/// How often a timer has refused to ring, in all tests together.
pub(crate) static REFUSALS: AtomicUsize = AtomicUsize::new(0);

impl Timed for Reminder {
    fn next_wake(&self) -> Option<Timestamp> {
        let first = self.scheduled.first().copied();
        assert_ne!(first.map(Timestamp::as_micros), Some(UNSPEAKABLE), "a test's own panic about a timer");
        first
    }

    fn on_wake(&self, given: &Given) -> Result<Vec<Reminded>, Error> {
        assert!(!self.scheduled.contains(&EXPLOSIVE), "a test's own panic in a timer");
        if self.scheduled.iter().any(|due| due.as_micros() == REFUSED) {
            REFUSALS.fetch_add(1, Ordering::SeqCst);
            return Err(Invalid::new("due", REFUSED, "any other instant").into());
        }
        if self.scheduled.iter().any(|due| due.as_micros() == TIMID) {
            return Err(Invalid::new("due", TIMID, "any other instant").into());
        }
        if self.scheduled.contains(&STUCK) {
            return Ok(vec![Reminded::Idled]);
        }
        let due = self.scheduled.iter().filter(|due| **due <= given.now);
        Ok(due.map(|due| Reminded::Rang(Ring { due: *due, at: given.now })).collect())
    }
}

/// Counted by that much, a follower hears of an instant: so many microseconds after 1970.
pub(crate) const UNHEARD: i64 = 0;
pub(crate) const INDIGESTIBLE: i64 = -666;
/// What is made of it cannot be taken in.
pub(crate) const EXPLODING: i64 = -667;

impl Follower for Reminder {
    const SOURCES: &'static [Source] = &[Source::SameId(Counter::KIND), Source::Stream(Counter::KIND, "all")];

    fn on_record(&self, record: &OwnedRecord, _: &Given) -> Result<Vec<Reminded>, Corrupt> {
        if is_note(&record.event_type) {
            return Ok(Vec::new());
        }
        match decode_record(record)? {
            Counted::Added(UNHEARD) => Ok(Vec::new()),
            Counted::Added(INDIGESTIBLE) => Err(Corrupt("indigestible".into())),
            Counted::Added(by) => Ok(vec![Reminded::Heard(by)]),
            other => Err(Corrupt(format!("{other:?}"))),
        }
    }
}

impl Effectful for Reminder {
    type Effect = Timestamp;
    type Outcome = Deliver;

    fn pending(&self) -> Vec<Uuid> {
        self.undelivered.keys().copied().collect()
    }

    fn effect(&self, id: Uuid) -> Option<Timestamp> {
        self.undelivered.get(&id).copied()
    }
}

/// Replies how many instants are scheduled then. An instant that is scheduled already is refused.
#[derive(Debug, Clone)]
pub(crate) struct Schedule(pub(crate) Timestamp);

impl Command<Reminder> for Schedule {
    type Reply = usize;
    const REPLY: Option<ReplyCodec<usize>> = Some(ReplyCodec::STORED);

    fn content(&self) -> Option<Vec<u8>> {
        Some(codec::encode(&self.0))
    }

    fn decide(self, state: &Reminder, _: &Given) -> Result<Decision<Reminded, usize>, Error> {
        if state.scheduled.contains(&self.0) {
            return Err(Invalid::new("at", self.0, "an instant that is not scheduled").into());
        }
        Ok(Decision { events: vec![Reminded::Scheduled(self.0)], reply: state.scheduled.len() + 1 })
    }
}

/// Rings for that instant at once.
#[derive(Debug, Clone)]
pub(crate) struct RingFor(pub(crate) Timestamp);

impl Command<Reminder> for RingFor {
    type Reply = ();

    fn decide(self, _: &Reminder, given: &Given) -> Result<Decision<Reminded, ()>, Error> {
        let rang = Reminded::Rang(Ring { due: self.0, at: given.now });
        Ok(Decision { events: vec![Reminded::Scheduled(self.0), rang], reply: () })
    }
}

/// More events than the journal takes at a time.
pub(crate) struct Overfill;

impl Command<Reminder> for Overfill {
    type Reply = ();

    fn decide(self, _: &Reminder, _: &Given) -> Result<Decision<Reminded, ()>, Error> {
        Ok(Decision { events: vec![Reminded::Idled; Append::EVENTS_MAX + 1], reply: () })
    }
}

/// The whole state, when the test lets it go on.
pub(crate) struct LookAtLeisure(pub(crate) Sender<()>, pub(crate) Receiver<()>);

impl Query<Reminder> for LookAtLeisure {
    type Answer = Reminder;

    fn answer(self, state: &Reminder, _: &Given) -> Result<Reminder, Error> {
        let _ = self.0.send(());
        let _ = self.1.recv_timeout(super::PATIENCE);
        Ok(state.clone())
    }
}

/// Replies how often it has rung; changes nothing.
#[derive(Debug, Clone)]
pub(crate) struct Count;

impl Command<Reminder> for Count {
    type Reply = usize;
    const REPLY: Option<ReplyCodec<usize>> = Some(ReplyCodec::STORED);

    fn decide(self, state: &Reminder, _: &Given) -> Result<Decision<Reminded, usize>, Error> {
        Ok(Decision { events: Vec::new(), reply: state.rings.len() })
    }
}

/// Does nothing when it is delivered already, or when the delivery failed.
#[derive(Debug, Clone)]
pub(crate) struct Deliver(pub(crate) Uuid, pub(crate) bool);

impl Command<Reminder> for Deliver {
    type Reply = ();

    fn decide(self, state: &Reminder, _: &Given) -> Result<Decision<Reminded, ()>, Error> {
        let is_news = self.1 && state.undelivered.contains_key(&self.0);
        Ok(Decision { events: is_news.then_some(Reminded::Delivered(self.0)).into_iter().collect(), reply: () })
    }
}

/// The whole state.
#[derive(Debug, Clone)]
pub(crate) struct Look;

impl Query<Reminder> for Look {
    type Answer = Reminder;

    fn answer(self, state: &Reminder, _: &Given) -> Result<Reminder, Error> {
        Ok(state.clone())
    }
}

/// The world outside: notes what is delivered, and goes wrong when it is told so.
#[derive(Clone, Default)]
pub(crate) struct Outside(pub(crate) Arc<Mutex<Delivered>>);

#[derive(Default)]
pub(crate) struct Delivered {
    /// Whose, which, for what.
    pub(crate) all: Vec<(String, Uuid, Timestamp)>,
    /// So many deliveries fail from now on; so many panic before that.
    pub(crate) failing: usize,
    pub(crate) panicking: usize,
    /// Deliveries that begin take until they are told to go on.
    pub(crate) until: Option<Arc<Notify>>,
}

impl Outside {
    /// Notes a delivery; says whether it goes well, and what it waits for.
    fn begin(&self, entity: String, id: Uuid, effect: Timestamp) -> (bool, Option<Arc<Notify>>) {
        let mut delivered = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        delivered.all.push((entity, id, effect));
        if delivered.panicking > 0 {
            delivered.panicking -= 1;
            drop(delivered);
            panic!("a test's own panic in an effect");
        }
        let is_done = delivered.failing == 0;
        delivered.failing = delivered.failing.saturating_sub(1);
        (is_done, delivered.until.clone())
    }
}

impl EffectHandler<Reminder> for Outside {
    fn perform(&self, entity: &str, id: Uuid, effect: Timestamp) -> Performing<Deliver> {
        let (outside, entity) = (self.clone(), entity.to_owned());
        Box::pin(async move {
            let (is_done, until) = outside.begin(entity, id, effect);
            if let Some(until) = until {
                until.notified().await;
            }
            Deliver(id, is_done)
        })
    }
}
