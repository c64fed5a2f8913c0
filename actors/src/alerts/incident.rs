//! The incidents of an org, kept small: a million of them may be open.

use std::collections::BTreeSet;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use serde::Serialize;

use crate::domain::{IncidentTimes, OrgId, Priority, Sla, SlaStatus, Timestamp};

/// An incident by its place. The place of one that was forgotten is given to another.
pub(super) type Slot = u32;
/// Stands for "no incident" where an alert is about the org as a whole.
pub(super) const NO_INCIDENT: Slot = u32::MAX;

/// What is known of one incident.
#[derive(Debug, Clone)]
pub(super) struct Incident {
    pub(super) id: Box<str>,
    pub(super) times: IncidentTimes,
    /// Every rule has been judged on it up to this instant.
    pub(super) judged_until: Timestamp,
    /// The latest instant at which anything happened to it.
    pub(super) touched_at: Timestamp,
    pub(super) next: Next,
    /// The number of the last takeover of rules that was judged on it.
    pub(super) rules_seen: u32,
    pub(super) priority: Priority,
    /// Whether it was breached, once that is known.
    pub(super) breached: Option<bool>,
}

/// What an incident waits for; stands in the deadlines, or among what is over, as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Something that somebody has to do.
    Nothing,
    /// To be judged by itself.
    Judged(Timestamp),
    /// It is over, and kept until then.
    Forgotten(Timestamp),
}

impl Incident {
    pub(super) fn breach_time(&self) -> Timestamp {
        self.times.dispatch.saturating_add_micros(self.priority.sla_micros())
    }

    /// The latest instant that it knows of.
    pub(super) fn last(&self) -> Timestamp {
        let IncidentTimes { dispatch, arrival, closed } = self.times;
        arrival.into_iter().chain(closed).fold(self.touched_at.max(dispatch), Timestamp::max)
    }
}

/// Incidents by place and by id.
#[derive(Debug, Default)]
pub(super) struct Incidents {
    places: Vec<Option<Incident>>,
    /// Places that nobody has; the lowest is given first, so that it does not matter in which order they became free.
    free: BTreeSet<Slot>,
    /// The ids lie beside the rest of their incident.
    slots: HashTable<Slot>,
    hasher: DefaultHashBuilder,
}

impl Incidents {
    /// Incidents at their places.
    pub(super) fn at(places: Vec<Option<Incident>>) -> Self {
        let mut incidents = Incidents { slots: HashTable::with_capacity(places.len()), ..Incidents::default() };
        for (place, slot) in places.iter().zip(0..) {
            match place {
                None => {
                    incidents.free.insert(slot);
                }
                Some(incident) => {
                    let rehash = |&slot: &Slot| hash_at(&incidents.hasher, &places, slot);
                    incidents.slots.insert_unique(incidents.hasher.hash_one(&*incident.id), slot, rehash);
                }
            }
        }
        incidents.places = places;
        incidents
    }

    pub(super) fn slot(&self, id: &str) -> Option<Slot> {
        let is_it = |&slot: &Slot| self.get(slot).is_some_and(|incident| *incident.id == *id);
        self.slots.find(self.hasher.hash_one(id), is_it).copied()
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Incident> {
        self.places.get(slot as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Incident> {
        self.places.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn add(&mut self, incident: Incident) -> Slot {
        let hash = self.hasher.hash_one(&*incident.id);
        let slot = match self.free.pop_first() {
            Some(slot) => {
                self.places[slot as usize] = Some(incident);
                slot
            }
            None => {
                self.places.push(Some(incident));
                Slot::try_from(self.places.len() - 1).expect("memory ends before four billion incidents")
            }
        };
        self.slots.insert_unique(hash, slot, |&slot| hash_at(&self.hasher, &self.places, slot));
        slot
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<Incident> {
        let incident = self.places.get_mut(slot as usize)?.take()?;
        let hash = self.hasher.hash_one(&*incident.id);
        if let Ok(entry) = self.slots.find_entry(hash, |&known| known == slot) {
            entry.remove();
        }
        self.free.insert(slot);
        Some(incident)
    }

    /// Every place, those that nobody has included.
    pub(super) fn places(&self) -> &[Option<Incident>] {
        &self.places
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Incident)> {
        self.places.iter().zip(0..).filter_map(|(place, slot)| Some((slot, place.as_ref()?)))
    }

    pub(super) fn open(&self) -> impl Iterator<Item = (Slot, &Incident)> {
        self.iter().filter(|(_, incident)| incident.times.is_open())
    }
}

fn hash_at(hasher: &DefaultHashBuilder, places: &[Option<Incident>], slot: Slot) -> u64 {
    let id = places.get(slot as usize).and_then(Option::as_ref).map_or("", |incident| &*incident.id);
    hasher.hash_one(id)
}

/// How an incident stands at an instant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IncidentStatus {
    /// Its id.
    pub incident_id: String,
    /// Whose it is.
    pub org_id: OrgId,
    /// 1 to 5, 1 is worst.
    pub priority: Priority,
    /// When a unit was sent.
    pub dispatch_time: Timestamp,
    /// When the first one arrived.
    pub arrival_time: Option<Timestamp>,
    /// When it was closed.
    pub closed_time: Option<Timestamp>,
    /// Compliant, warning or breached.
    pub sla_status: SlaStatus,
    /// Minutes it may take.
    pub sla_target_minutes: u32,
    /// Minutes from dispatch to arrival, else closing, else now.
    pub elapsed_minutes: f64,
    /// Minutes left; negative when the target is over.
    pub remaining_minutes: f64,
    /// How many of 50, 75, 90 and 100 % of the target have passed.
    pub escalation_stage: u8,
    /// Dispatch + target.
    pub breach_time: Timestamp,
    /// When it is judged next by itself.
    pub next_deadline: Option<Timestamp>,
}

impl IncidentStatus {
    pub(super) fn of(incident: &Incident, org_id: &OrgId, now: Timestamp) -> Self {
        let sla = Sla::assess(incident.priority, incident.times, now);
        IncidentStatus {
            incident_id: incident.id.to_string(),
            org_id: org_id.clone(),
            priority: incident.priority,
            dispatch_time: incident.times.dispatch,
            arrival_time: incident.times.arrival,
            closed_time: incident.times.closed,
            sla_status: sla.status,
            sla_target_minutes: sla.target_minutes,
            elapsed_minutes: sla.elapsed_minutes(),
            remaining_minutes: sla.remaining_minutes(),
            escalation_stage: sla.stage(),
            breach_time: sla.breach_time,
            next_deadline: match incident.next {
                Next::Judged(at) => Some(at),
                Next::Nothing | Next::Forgotten(_) => None,
            },
        }
    }
}
