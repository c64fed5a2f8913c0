//! What the journal says, read from it directly, and what must hold of it at any moment.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use ionveil_actors::domain::Timestamp;
use ionveil_actors::runtime::{Aggregate, Event, Follower, is_note};
use ionveil_journal::{Journal, Position};

use crate::counter::Counted;
use crate::reminder::{Reminded, Reminder, UNHEARD};

/// All durable events, as one reader without snapshots or actors understands them.
#[derive(Default)]
pub(crate) struct Model {
    /// Of each counter what was added, in the order of the stream, and its place there.
    pub(crate) added: BTreeMap<String, Vec<i64>>,
    pub(crate) reminders: BTreeMap<String, Reminder>,
    /// Of each reminder what it could have heard of by now, in the order of positions, and where.
    sources: Vec<(Position, String, i64)>,
}

impl Model {
    /// Reads the whole journal and checks what can be checked without knowing what was asked.
    pub(crate) fn read(journal: &dyn Journal) -> Self {
        let mut model = Model::default();
        let mut epochs: HashMap<String, u32> = HashMap::new();
        let mut ids = BTreeSet::new();
        journal
            .read_all(Position::FIRST, Position::MAX, &mut |record| {
                assert!(ids.insert(record.id), "an event twice: {record:?}");
                let epoch = epochs.entry(record.stream.to_owned()).or_default();
                assert!(record.epoch >= *epoch, "an incarnation wrote after a later one: {record:?}");
                *epoch = record.epoch;
                if is_note(record.event_type) {
                    return ControlFlow::Continue(());
                }
                let (kind, id) = record.stream.split_once('/').expect("an address");
                match kind {
                    "counter" => {
                        let event = Counted::decode(record.event_type, record.version, record.codec, record.payload);
                        let Ok(Counted::Added(by)) = event else { panic!("{event:?}") };
                        model.added.entry(id.to_owned()).or_default().push(by);
                        model.sources.push((record.position, record.stream.to_owned(), by));
                    }
                    "reminder" => {
                        let event = Reminded::decode(record.event_type, record.version, record.codec, record.payload);
                        let event = event.expect("an event of reminders");
                        if let Reminded::Rang(ring) = &event {
                            assert!(ring.due <= ring.at, "rung before its time: {ring:?}");
                        }
                        // It refuses what rings without being scheduled, is scheduled twice, or delivered twice.
                        model.reminders.entry(id.to_owned()).or_default().evolve(&event).expect("a sound history");
                    }
                    other => panic!("a stream of kind {other}"),
                }
                ControlFlow::Continue(())
            })
            .expect("a sound journal");
        for added in model.added.values() {
            let once: BTreeSet<i64> = added.iter().copied().filter(|by| *by != UNHEARD).collect();
            let nonzero = added.iter().filter(|by| **by != UNHEARD).count();
            assert_eq!(once.len(), nonzero, "a command was done twice: {added:?}");
        }
        for (id, reminder) in &model.reminders {
            let heard = model.may_be_heard(id);
            assert!(heard.starts_with(&reminder.heard), "{id} has heard {:?} of {heard:?}", reminder.heard);
        }
        model
    }

    /// What the sources of that reminder hold, in order.
    pub(crate) fn may_be_heard(&self, id: &str) -> Vec<i64> {
        let streams: BTreeSet<String> = Reminder::SOURCES
            .iter()
            .map(|source| match source {
                ionveil_actors::runtime::Source::SameId(kind) => format!("{}/{id}", kind.as_str()),
                ionveil_actors::runtime::Source::Stream(kind, fixed) => format!("{}/{fixed}", kind.as_str()),
            })
            .collect();
        let sources = self.sources.iter().filter(|(_, stream, by)| *by != UNHEARD && streams.contains(stream));
        sources.map(|(_, _, by)| *by).collect()
    }

    /// Every total that a counter has had, with none at the beginning.
    pub(crate) fn totals(&self, id: &str) -> Vec<i64> {
        let added = self.added.get(id).map_or(&[][..], Vec::as_slice);
        let totals = added.iter().scan(0, |total, by| {
            *total += by;
            Some(*total)
        });
        std::iter::once(0).chain(totals).collect()
    }

    /// For what a reminder has rung.
    pub(crate) fn rung(&self, id: &str) -> BTreeSet<Timestamp> {
        self.reminders.get(id).map(|it| it.rings.iter().map(|ring| ring.due).collect()).unwrap_or_default()
    }
}
