//! An entity between two failures, as a plain value: its state, and what the runtime knows of it beside. No actor, no clock,
//! no disk; live decisions, replay and snapshots all go through here.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ionveil_journal::{Append, NewEvent, Origin, Record, Sequence, StreamId, codec};
use uuid::Uuid;

use super::aggregate::{Aggregate, Event};
use super::answers::Answers;
use super::notes::{CommandAnswered, Note, SourcesFollowed, is_note};
use crate::error::Corrupt;

/// What its events say, those under way included, and where its stream ends.
pub(super) struct Incarnation<A> {
    pub(super) state: A,
    pub(super) sequence: Sequence,
    /// The id of the last event. Sent along with what is decided next, so that it is written behind that event or not at all.
    pub(super) last_id: Option<Uuid>,
    /// The incarnation that wrote the last event; once it is alive, the one that will write the next.
    pub(super) epoch: u32,
    pub(super) answers: Answers,
    pub(super) offsets: Offsets,
    /// The event that its latest snapshot ends with; none without one.
    pub(super) stored_at: Sequence,
}

/// How far a follower has read its sources.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    read: BTreeMap<StreamId, Sequence>,
    /// How many events were read that the stream does not know of yet.
    unnoted: u64,
}

impl Offsets {
    pub(super) fn of(&self, source: &StreamId) -> Sequence {
        self.read.get(source).copied().unwrap_or_default()
    }

    /// Takes in that a source was read up to `sequence`.
    pub(super) fn advance(&mut self, source: StreamId, sequence: Sequence) {
        self.read.insert(source, sequence);
        self.unnoted += 1;
    }

    pub(super) fn unnoted(&self) -> u64 {
        self.unnoted
    }

    pub(super) fn to_list(&self) -> Vec<(String, u64)> {
        self.read.iter().map(|(stream, sequence)| (stream.to_string(), sequence.get())).collect()
    }

    fn note(&mut self, sources: Vec<(String, u64)>) -> Result<(), Corrupt> {
        for (stream, sequence) in sources {
            let stream = stream.parse().map_err(|error| Corrupt(format!("it follows what is no stream: {error}")))?;
            self.read.insert(stream, Sequence::new(sequence));
        }
        self.unnoted = 0;
        Ok(())
    }
}

impl<A: Aggregate> Default for Incarnation<A> {
    fn default() -> Self {
        Incarnation {
            state: A::default(),
            sequence: Sequence::NONE,
            last_id: None,
            epoch: 0,
            answers: Answers::default(),
            offsets: Offsets::default(),
            stored_at: Sequence::NONE,
        }
    }
}

impl<A: Aggregate> Incarnation<A> {
    /// Takes in the next event of its stream.
    pub(super) fn replay(&mut self, record: &Record<'_>) -> Result<(), String> {
        let named = |error: String| format!("event {} v{}: {error}", record.event_type, record.version);
        let (name, version, codec, payload) = (record.event_type, record.version, record.codec, record.payload);
        if is_note(name) {
            let note = Note::decode(name, version, codec, payload).map_err(|error| named(error.to_string()))?;
            self.note(note).map_err(|corrupt| named(corrupt.to_string()))?;
        } else {
            let event = A::Event::decode(name, version, codec, payload).map_err(|error| named(error.to_string()))?;
            // One that panics is as little accepted as one that is refused; caught here, it can be named.
            match catch_unwind(AssertUnwindSafe(|| self.state.evolve(&event))) {
                Ok(evolved) => evolved.map_err(|corrupt| corrupt.to_string())?,
                Err(_) => return Err(format!("applying event {name} v{version} panicked")),
            }
        }
        self.sequence = record.sequence;
        self.last_id = Some(record.id);
        self.epoch = record.epoch;
        Ok(())
    }

    pub(super) fn note(&mut self, note: Note) -> Result<(), Corrupt> {
        match note {
            Note::Answered(answered) => self.answers.note(answered),
            Note::Followed(SourcesFollowed { sources }) => self.offsets.note(sources)?,
        }
        Ok(())
    }

    /// Takes in what was decided, and gives what is to be written: the events, the answer that goes with them, and how far
    /// it has read its sources if that has changed.
    ///
    /// The state goes first: what `evolve` does not take is found out before anything is written, without a copy of the
    /// state. After an error, and when the append is not written after all, the incarnation is of no more use.
    pub(super) fn take(
        &mut self,
        stream: &StreamId,
        id: Uuid,
        origin: Origin,
        events: &[A::Event],
        answered: Option<CommandAnswered>,
    ) -> Result<Append, Corrupt> {
        events.iter().try_for_each(|event| self.state.evolve(event))?;
        let followed = (self.offsets.unnoted > 0).then(|| SourcesFollowed { sources: self.offsets.to_list() });
        let notes_len = usize::from(answered.is_some()) + usize::from(followed.is_some());
        let mut stored: Vec<NewEvent> = Vec::with_capacity(events.len() + notes_len);
        events.iter().zip(1..).for_each(|(event, number)| stored.push(stored_event(nth_id(id, number), event)));
        for note in answered.map(Note::Answered).into_iter().chain(followed.map(Note::Followed)) {
            stored.push(stored_event(nth_id(id, stored.len() as u128 + 1), &note));
            self.note(note)?;
        }
        let append = Append {
            stream: stream.clone(),
            expected: self.sequence,
            expected_id: self.last_id,
            epoch: self.epoch,
            origin,
            events: stored,
        };
        self.sequence = self.sequence.plus(append.events.len() as u64);
        self.last_id = append.events.last().map(|event| event.id).or(self.last_id);
        Ok(append)
    }
}

fn stored_event<E: Event>(id: Uuid, event: &E) -> NewEvent {
    NewEvent {
        id,
        event_type: event.event_type().into(),
        version: event.version(),
        codec: codec::BINCODE_2,
        payload: event.encode(),
    }
}

/// The `number`-th id after a version 7 UUID: its 62 random bits counted on.
fn nth_id(first: Uuid, number: u128) -> Uuid {
    const RANDOM: u128 = (1 << 62) - 1;
    let bits = first.as_u128();
    Uuid::from_u128((bits & !RANDOM) | ((bits + number) & RANDOM))
}
