//! The incidents of an org, kept small: a million of them may be open.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::{IncidentTimes, OrgId, Priority, Sla, SlaStatus, Timestamp};

/// An incident by its place.
pub(super) type Slot = u32;
/// Stands for "no incident" where an alert is about the org as a whole.
pub(super) const NO_INCIDENT: Slot = u32::MAX;

/// What is known of one incident.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Incident {
    pub(super) id: Arc<str>,
    pub(super) times: IncidentTimes,
    /// Every rule has been judged on it up to this instant.
    pub(super) judged_until: Timestamp,
    /// The latest instant at which anything happened to it.
    pub(super) touched_at: Timestamp,
    /// When it is to be judged next; stands in the deadlines as well.
    pub(super) due: Option<Timestamp>,
    /// The number of the last takeover of rules that was judged on it.
    pub(super) rules_seen: u32,
    pub(super) priority: Priority,
    /// Whether it was breached, once that is known.
    pub(super) breached: Option<bool>,
}

impl Incident {
    pub(super) fn breach_time(&self) -> Timestamp {
        self.times.dispatch.saturating_add_micros(self.priority.sla_micros())
    }
}

/// Incidents by place and by id.
#[derive(Debug, Default)]
pub(super) struct Incidents {
    pub(super) all: Vec<Incident>,
    by_id: HashMap<Arc<str>, Slot>,
}

impl Incidents {
    pub(super) fn slot(&self, id: &str) -> Option<Slot> {
        self.by_id.get(id).copied()
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Incident> {
        self.all.get(slot as usize)
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Incident> {
        self.all.get_mut(slot as usize)
    }

    pub(super) fn add(&mut self, incident: Incident) -> Slot {
        let slot = Slot::try_from(self.all.len()).expect("memory ends before four billion incidents");
        self.by_id.insert(Arc::clone(&incident.id), slot);
        self.all.push(incident);
        slot
    }

    pub(super) fn open(&self) -> impl Iterator<Item = (Slot, &Incident)> {
        self.all
            .iter()
            .zip(0..)
            .filter(|(incident, _)| incident.times.is_open())
            .map(|(incident, slot)| (slot, incident))
    }
}

impl From<Vec<Incident>> for Incidents {
    fn from(all: Vec<Incident>) -> Self {
        let by_id = all.iter().zip(0..).map(|(incident, slot)| (Arc::clone(&incident.id), slot)).collect();
        Incidents { all, by_id }
    }
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
            incident_id: incident.id.as_ref().to_owned(),
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
            next_deadline: incident.due,
        }
    }
}
