//! What is known of an org's incidents, alerts and suppressions.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::alert::{Alert, AlertBook, AlertIndex, AlertState};
use super::condition;
use super::forget::{self, Archive, Forgotten, ForgottenIds, Over};
use super::incident::{Incident, Incidents, Next, Slot};
use super::known::{KnownRule, RuleBook, RuleNumber};
use super::pattern::Counter;
use super::suppression::Compiled;
use super::watch::Watch;
use crate::domain::{OrgId, Timestamp};
use crate::escalation::{self, EscalationPolicy};

/// An org's incidents, alerts and suppressions.
#[derive(Debug, Default)]
pub struct Alerts {
    pub(super) org_id: Option<OrgId>,
    pub(super) book: RuleBook,
    /// Every policy that was ever in force, since alerts keep theirs.
    pub(super) policies: BTreeMap<u64, EscalationPolicy>,
    pub(super) incidents: Incidents,
    /// When incidents are to be judged, earliest first.
    pub(super) deadlines: BTreeSet<(Timestamp, Slot)>,
    /// When the org as a whole is to be judged; stands in the deadlines as well.
    pub(super) org_due: Option<Timestamp>,
    pub(super) alerts: AlertBook,
    /// When alerts go up a level, earliest first.
    pub(super) timers: BTreeSet<(Timestamp, AlertIndex)>,
    pub(super) watches: BTreeMap<(Slot, RuleNumber), Watch>,
    pub(super) suppressions: BTreeMap<Uuid, Compiled>,
    pub(super) counters: BTreeMap<RuleNumber, Counter>,
    /// The last window that a threshold rule was judged on.
    pub(super) windows: BTreeMap<RuleNumber, JudgedWindow>,
    /// What is over and when it is forgotten, earliest first.
    pub(super) over: BTreeSet<(Timestamp, Over)>,
    /// What matters still of what was forgotten.
    pub(super) forgotten: Forgotten,
    /// Which incidents were.
    pub(super) forgotten_ids: ForgottenIds,
    /// Takes what is forgotten, where somebody reads the whole history.
    pub(super) archive: Option<Box<Archive>>,
}

/// A window that was judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct JudgedWindow {
    pub(super) met: bool,
    pub(super) end: Timestamp,
    /// The sequence of the dispatch that closed it.
    pub(super) closed_by: u64,
    pub(super) cause: Option<super::event::Cause>,
}

impl Alerts {
    /// The policy in force and its number.
    pub(super) fn policy(&self) -> Option<(u64, &EscalationPolicy)> {
        self.policies.last_key_value().map(|(&revision, policy)| (revision, policy))
    }

    pub(super) fn policy_of(&self, alert: &AlertState) -> Option<&EscalationPolicy> {
        alert.policy.and_then(|revision| self.policies.get(&revision))
    }

    pub(super) fn watch(&self, slot: Slot, rule: RuleNumber) -> Option<&Watch> {
        self.watches.get(&(slot, rule))
    }

    /// The watches of one incident.
    pub(super) fn watches_of(&self, slot: Slot) -> impl Iterator<Item = (RuleNumber, &Watch)> {
        self.watches.range((slot, 0)..=(slot, RuleNumber::MAX)).map(|(&(_, rule), watch)| (rule, watch))
    }

    /// The suppression that keeps a rule's alerts back at an instant: of several, the one that ends last.
    pub(super) fn suppression_of(&self, rule_id: &str, at: Timestamp) -> Option<&Compiled> {
        let active = |known: &&Compiled| known.is_active(at) && known.matches(rule_id);
        self.suppressions.values().filter(active).max_by_key(|known| (known.end(), known.suppression.suppression_id))
    }

    /// When no suppression keeps a rule's alerts back any more, from `at` on.
    pub(super) fn unsuppressed_from(&self, rule_id: &str, at: Timestamp) -> Timestamp {
        let mut from = at;
        while let Some(suppression) = self.suppression_of(rule_id, from) {
            from = suppression.end();
        }
        from
    }

    /// When an alert goes up a level next.
    pub(super) fn next_timer(&self) -> Option<Timestamp> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// When anything is due next.
    pub fn next_due(&self) -> Option<Timestamp> {
        let first_deadline = self.deadlines.first().map(|&(at, _)| at);
        match (first_deadline, self.next_timer()) {
            (Some(deadline), Some(timer)) => Some(deadline.min(timer)),
            (deadline, timer) => deadline.or(timer),
        }
    }

    /// How many incidents are open.
    pub fn open_incidents(&self) -> usize {
        self.incidents.open().count()
    }

    /// When an incident, or the org as a whole, is to be judged next.
    pub(super) fn due_of(&self, slot: Slot) -> Option<Timestamp> {
        let pending = self.watches_of(slot).filter_map(|(_, watch)| watch.pending).min();
        let turning = self.incidents.get(slot).and_then(|incident| next_turn(&self.book, incident));
        match (pending, turning) {
            (Some(pending), Some(turning)) => Some(pending.min(turning)),
            (pending, turning) => pending.or(turning),
        }
    }

    /// What an incident waits for, as it stands.
    fn next_of(&self, slot: Slot) -> Next {
        match (self.due_of(slot), self.incidents.get(slot)) {
            (Some(due), _) => Next::Judged(due),
            (None, Some(incident)) if !incident.times.is_open() && !self.has_unresolved(slot) => {
                let windows = self.watches_of(slot).filter_map(|(rule, watch)| {
                    let (raised_at, _) = watch.raised?;
                    Some(self.book.by_number(rule)?.window_end(raised_at))
                });
                Next::Forgotten(windows.fold(forget::kept_until(incident.last()), Timestamp::max))
            }
            _ => Next::Nothing,
        }
    }

    fn has_unresolved(&self, slot: Slot) -> bool {
        self.watches_of(slot).any(|(_, watch)| watch.current.is_some())
    }

    /// Notes anew what an incident, or the org as a whole, waits for.
    pub(super) fn reschedule(&mut self, slot: Slot) {
        let next = self.next_of(slot);
        let former = match self.incidents.get_mut(slot) {
            Some(incident) => std::mem::replace(&mut incident.next, next),
            None => {
                let due = match next {
                    Next::Judged(due) => Some(due),
                    Next::Nothing | Next::Forgotten(_) => None,
                };
                std::mem::replace(&mut self.org_due, due).map_or(Next::Nothing, Next::Judged)
            }
        };
        if former == next {
            return;
        }
        match former {
            Next::Nothing => {}
            Next::Judged(due) => drop(self.deadlines.remove(&(due, slot))),
            Next::Forgotten(at) => drop(self.over.remove(&(at, Over::Incident(slot)))),
        }
        match next {
            Next::Nothing => {}
            Next::Judged(due) => drop(self.deadlines.insert((due, slot))),
            Next::Forgotten(at) => drop(self.over.insert((at, Over::Incident(slot)))),
        }
    }

    /// Sets the timer of an alert anew.
    pub(super) fn retime(&mut self, index: AlertIndex) {
        let Some(alert) = self.alerts.get(index) else { return };
        let timer = self.next_step(alert).map(|next| next.at);
        let former = alert.timer;
        if former == timer {
            return;
        }
        if let Some(former) = former {
            self.timers.remove(&(former, index));
        }
        if let Some(timer) = timer {
            self.timers.insert((timer, index));
        }
        if let Some(alert) = self.alerts.get_mut(index) {
            alert.timer = timer;
        }
    }

    /// The last instant of the alerts that are not resolved. All of them are looked at when escalations are checked.
    pub(super) fn last_change(&self) -> Option<Timestamp> {
        let unresolved = self.alerts.iter().filter(|(_, alert)| alert.status.is_unresolved());
        unresolved.map(|(_, alert)| alert.updated_at).max()
    }

    /// The step that an alert takes next by itself.
    pub(super) fn next_step(&self, alert: &AlertState) -> Option<escalation::Next> {
        use super::alert::AlertStatus::{Acknowledged, Escalated, Open, Resolved, Suppressed};
        let policy = self.policy_of(alert);
        match alert.status {
            Open | Escalated => escalation::after_timeout(policy, alert.escalation_after_minutes, alert.step),
            Acknowledged => {
                let (at, _) = alert.acknowledged.as_ref()?;
                escalation::after_acknowledgement(policy, alert.step, *at)
            }
            Resolved | Suppressed => None,
        }
    }

    /// An alert as it is shown.
    pub(super) fn shown(&self, alert: &AlertState) -> Alert {
        let org_id = self.org_id.as_ref().expect("an org with alerts has taken over rules");
        let incident_id = self.incidents.get(alert.incident).map(|incident| &*incident.id);
        let policy_id = self.policy_of(alert).map(|policy| policy.policy_id.as_str());
        alert.shown(org_id, incident_id, policy_id)
    }
}

/// When a rule turns true, or the incident is breached, after what was judged already. Rules that came later than the
/// last judgement are judged from when they came.
pub(super) fn next_turn(book: &RuleBook, incident: &Incident) -> Option<Timestamp> {
    if !incident.times.is_open() {
        return None;
    }
    let breach = incident.breach_time();
    // Its outcome is of interest even when no rule is.
    let mut next = (breach > incident.judged_until).then_some(breach);
    for known in book.enabled() {
        if let Some(turn) = turn_of(known, incident) {
            next = Some(next.map_or(turn, |next| next.min(turn)));
        }
    }
    next
}

fn turn_of(known: &KnownRule, incident: &Incident) -> Option<Timestamp> {
    let (from, until) = condition::met_during(&known.rule.condition, incident.priority, incident.times.dispatch)?;
    if known.since > incident.rules_seen {
        let from = from.max(known.taken_at);
        return (from < until).then_some(from);
    }
    (from > incident.judged_until).then_some(from)
}
