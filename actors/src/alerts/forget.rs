//! What is over is forgotten after a while, so that memory follows what goes on and not what ever was. The journal keeps it
//! all, and whoever asks for more is answered from there ([`History`]).
//!
//! An incident is over when a unit has arrived or it was closed, none of its alerts is unresolved, and nothing about it
//! is held back. It is forgotten with its alerts 30 days after the last instant that it knows of, and not before the
//! suppression windows of its alerts are over. A resolved alert about the org as a whole is forgotten 30 days after it
//! was resolved. It happens when something else happens at that instant or later, and follows from the events alone:
//! live, replayed and from a snapshot the same is forgotten.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::alert::{Alert, AlertIndex};
use super::event::Event;
use super::incident::{Incident, NO_INCIDENT, Slot};
use super::query::{GetViolations, SlaViolation, Wanted};
use super::state::Alerts;
use crate::domain::{MICROS_PER_HOUR, Priority, Timestamp};
use crate::error::{Corrupt, Error};
use crate::rules::AlertSeverity;
use crate::runtime::Aggregate;

/// What is over is kept in memory for so many days.
pub const OVER_KEPT_DAYS: i64 = 30;

/// Until when something is kept that was over at `last`.
pub(super) fn kept_until(last: Timestamp) -> Timestamp {
    last.saturating_add_micros(OVER_KEPT_DAYS * 24 * MICROS_PER_HOUR)
}

/// Something that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Over {
    /// An incident with its alerts.
    Incident(Slot),
    /// An alert about the org as a whole.
    Alert(AlertIndex),
}

/// What matters still of what an org has forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// How many incidents.
    pub incidents: u64,
    /// How many alerts.
    pub alerts: u64,
    /// The latest dispatch of an incident that was forgotten. One dispatched later is another incident, whatever its id.
    pub dispatched_until: Option<Timestamp>,
    /// The highest number of a raise that was forgotten.
    number_max: u32,
}

impl Forgotten {
    /// Whether an incident that was forgotten can have been breached at `from` or later.
    pub fn may_have_breached(&self, from: Timestamp) -> bool {
        let longest =
            (1..=5).filter_map(|number| Priority::new(number).ok()).map(Priority::sla_micros).max().unwrap_or(0);
        self.dispatched_until.is_some_and(|dispatched| dispatched.saturating_add_micros(longest) >= from)
    }

    /// The number of the next raise of a rule and incident of which `recorded` is the number of the last one, 0 for none. An
    /// incident's id may come again when it is forgotten; the ids of its alerts must not.
    pub(super) fn next_number(&self, recorded: u32) -> u32 {
        if recorded == 0 { self.number_max + 1 } else { recorded + 1 }
    }
}

/// The ids of the incidents that were forgotten, eight bytes each: an incident that was forgotten is told from one that is
/// new to the org, however long ago it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ForgottenIds(BTreeSet<u64>);

impl ForgottenIds {
    pub(super) fn contains(&self, incident_id: &str) -> bool {
        self.0.contains(&mark(incident_id))
    }
}

/// Among a million ids two have the same mark once in 40 million orgs. Stored in snapshots.
fn mark(incident_id: &str) -> u64 {
    /// The namespace of incidents: a random UUID, fixed for ever.
    const NAMESPACE: Uuid = Uuid::from_u128(0xd3b7_51c4_0a8e_4f6b_b2f1_94e6_7c0d_38a5);
    let (high, low) = Uuid::new_v5(&NAMESPACE, incident_id.as_bytes()).as_u64_pair();
    high ^ low
}

/// Forgets what is over at `now`.
pub(super) fn forget(state: &mut Alerts, now: Timestamp) {
    while let Some((_, over)) = state.over.first().copied().filter(|&(at, _)| at <= now) {
        state.over.pop_first();
        match over {
            Over::Incident(slot) => forget_incident(state, slot),
            Over::Alert(index) => forget_alert(state, index),
        }
    }
}

fn forget_incident(state: &mut Alerts, slot: Slot) {
    let alerts: Vec<AlertIndex> = state.alerts.about(slot).collect();
    alerts.into_iter().for_each(|index| forget_alert(state, index));
    let rules: Vec<_> = state.watches_of(slot).map(|(rule, _)| rule).collect();
    for rule in rules {
        if let Some(watch) = state.watches.remove(&(slot, rule)) {
            state.forgotten.number_max = state.forgotten.number_max.max(watch.recorded);
        }
    }
    let Some(incident) = state.incidents.remove(slot) else { return };
    state.forgotten.incidents += 1;
    state.forgotten_ids.0.insert(mark(&incident.id));
    state.forgotten.dispatched_until = state.forgotten.dispatched_until.max(Some(incident.times.dispatch));
    if let Some(archive) = &mut state.archive
        && incident.breached == Some(true)
    {
        archive.breached.push(incident);
    }
}

fn forget_alert(state: &mut Alerts, index: AlertIndex) {
    if state.archive.is_some()
        && let Some(alert) = state.alerts.get(index)
    {
        let shown = state.shown(alert);
        if let Some(archive) = &mut state.archive {
            archive.alerts.push((index, shown));
        }
    }
    if state.alerts.remove(index).is_some() {
        state.forgotten.alerts += 1;
    }
}

/// Notes that an alert is over; one about an incident goes with its incident.
pub(super) fn note_over(state: &mut Alerts, index: AlertIndex) {
    let Some(alert) = state.alerts.get(index).filter(|alert| alert.incident == NO_INCIDENT) else { return };
    state.over.insert((kept_until(alert.updated_at), Over::Alert(index)));
}

/// What was forgotten on the way.
#[derive(Debug, Default)]
pub(super) struct Archive {
    alerts: Vec<(AlertIndex, Alert)>,
    breached: Vec<Incident>,
}

/// Takes in the events of an org, oldest first, and knows everything there ever was.
#[derive(Debug)]
pub struct History(Alerts);

impl Default for History {
    fn default() -> Self {
        History(Alerts { archive: Some(Box::default()), ..Alerts::default() })
    }
}

impl History {
    /// Takes in the org's next event.
    ///
    /// # Errors
    /// When no such event can follow on those before.
    pub fn take(&mut self, event: &Event) -> Result<(), Corrupt> {
        self.0.evolve(event)
    }

    /// Alerts, oldest first.
    pub fn alerts(&self, severity: Option<AlertSeverity>, wanted: Wanted) -> Vec<Alert> {
        let forgotten = self.archive().alerts.iter().map(|(index, alert)| (*index, alert.clone()));
        let present = self.0.alerts.iter().map(|(index, alert)| (index, self.0.shown(alert)));
        let is_wanted =
            |alert: &Alert| wanted.includes(alert.status) && severity.is_none_or(|severity| alert.severity == severity);
        let mut alerts: Vec<(AlertIndex, Alert)> =
            forgotten.chain(present).filter(|(_, alert)| is_wanted(alert)).collect();
        alerts.sort_by_key(|&(index, _)| index);
        alerts.into_iter().map(|(_, alert)| alert).collect()
    }

    /// One alert.
    pub fn alert(&self, alert_id: Uuid) -> Option<Alert> {
        let forgotten = self.archive().alerts.iter().map(|(_, alert)| alert).find(|alert| alert.alert_id == alert_id);
        let present = || {
            let index = self.0.alerts.index(alert_id)?;
            self.0.alerts.get(index).map(|alert| self.0.shown(alert))
        };
        forgotten.cloned().or_else(present)
    }

    /// What was breached, in the order of the breaches; open incidents have taken as long as of `now`.
    ///
    /// # Errors
    /// As [`GetViolations`].
    pub fn violations(&self, question: &GetViolations, now: Timestamp) -> Result<Vec<SlaViolation>, Error> {
        let present = self.0.incidents.iter().map(|(_, incident)| incident);
        question.among(self.archive().breached.iter().chain(present), now)
    }

    fn archive(&self) -> &Archive {
        self.0.archive.as_ref().expect("a history has one from its beginning")
    }
}
