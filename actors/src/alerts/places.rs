//! Incidents as they lie in a snapshot: one after the other, each instant as its distance from one before it, since a million
//! of them are stored at a time.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::incident::{Incident, Next};
use crate::domain::{IncidentTimes, Priority, Timestamp};

/// The incidents of an org at their places, on their way into a snapshot or out of one.
pub(super) enum StoredPlaces<'a> {
    Borrowed(&'a [Option<Incident>]),
    Owned(Vec<Option<Incident>>),
}

impl StoredPlaces<'_> {
    pub(super) fn into_places(self) -> Vec<Option<Incident>> {
        match self {
            StoredPlaces::Borrowed(places) => places.to_vec(),
            StoredPlaces::Owned(places) => places,
        }
    }
}

/// One of them. Distances are in microseconds.
#[derive(Serialize, Deserialize)]
struct StoredIncident<'a> {
    id: &'a str,
    /// From the dispatch of the one before, from the epoch for the first.
    dispatch: i64,
    /// From the dispatch.
    arrival: Option<i64>,
    /// From the dispatch.
    closed: Option<i64>,
    /// From the dispatch.
    judged_until: i64,
    /// From `judged_until`.
    touched_at: i64,
    /// From the dispatch.
    next: StoredNext,
    rules_seen: u32,
    priority: Priority,
    breached: Option<bool>,
}

#[derive(Serialize, Deserialize)]
enum StoredNext {
    Nothing,
    Judged(i64),
    Forgotten(i64),
}

impl<'a> StoredIncident<'a> {
    fn of(incident: &'a Incident, before: Timestamp) -> Self {
        let dispatch = incident.times.dispatch;
        let apart = |at: Timestamp| at.as_micros() - dispatch.as_micros();
        StoredIncident {
            id: &incident.id,
            dispatch: dispatch.as_micros() - before.as_micros(),
            arrival: incident.times.arrival.map(apart),
            closed: incident.times.closed.map(apart),
            judged_until: apart(incident.judged_until),
            touched_at: incident.touched_at.as_micros() - incident.judged_until.as_micros(),
            next: match incident.next {
                Next::Nothing => StoredNext::Nothing,
                Next::Judged(at) => StoredNext::Judged(apart(at)),
                Next::Forgotten(at) => StoredNext::Forgotten(apart(at)),
            },
            rules_seen: incident.rules_seen,
            priority: incident.priority,
            breached: incident.breached,
        }
    }

    /// `None` when an instant lies beyond what there is.
    fn restored(self, before: Timestamp) -> Option<Incident> {
        let after = |at: Timestamp, micros: i64| Timestamp::from_micros(at.as_micros().checked_add(micros)?);
        let dispatch = after(before, self.dispatch)?;
        let optional = |micros: Option<i64>| match micros {
            Some(micros) => after(dispatch, micros).map(Some),
            None => Some(None),
        };
        let judged_until = after(dispatch, self.judged_until)?;
        Some(Incident {
            id: self.id.into(),
            times: IncidentTimes { dispatch, arrival: optional(self.arrival)?, closed: optional(self.closed)? },
            judged_until,
            touched_at: after(judged_until, self.touched_at)?,
            next: match self.next {
                StoredNext::Nothing => Next::Nothing,
                StoredNext::Judged(micros) => Next::Judged(after(dispatch, micros)?),
                StoredNext::Forgotten(micros) => Next::Forgotten(after(dispatch, micros)?),
            },
            rules_seen: self.rules_seen,
            priority: self.priority,
            breached: self.breached,
        })
    }
}

impl Serialize for StoredPlaces<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let places: &[Option<Incident>] = match self {
            StoredPlaces::Borrowed(places) => places,
            StoredPlaces::Owned(places) => places,
        };
        let mut sequence = serializer.serialize_seq(Some(places.len()))?;
        let mut before = Timestamp::EPOCH;
        for place in places {
            sequence.serialize_element(&place.as_ref().map(|incident| StoredIncident::of(incident, before)))?;
            before = place.as_ref().map_or(before, |incident| incident.times.dispatch);
        }
        sequence.end()
    }
}

impl<'de> Deserialize<'de> for StoredPlaces<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Places).map(StoredPlaces::Owned)
    }
}

struct Places;

impl<'de> Visitor<'de> for Places {
    type Value = Vec<Option<Incident>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("incidents at their places")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let (mut places, mut before) = (Vec::new(), Timestamp::EPOCH);
        while let Some(stored) = sequence.next_element::<Option<StoredIncident<'de>>>()? {
            let out_of_range = || de::Error::custom("an instant is out of range");
            let place = match stored {
                Some(stored) => Some(stored.restored(before).ok_or_else(out_of_range)?),
                None => None,
            };
            before = place.as_ref().map_or(before, |incident| incident.times.dispatch);
            places.push(place);
        }
        Ok(places)
    }
}
