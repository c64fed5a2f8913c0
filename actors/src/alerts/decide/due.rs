//! Instants that were waited for have come: incidents are judged, alerts go up a level.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::check::{consider_met, consider_pattern, outcome_change, patterns_fired};
use super::instant;
use super::lifecycle::{Stepping, take_steps};
use super::raise::{Draft, Occasion, Subject};
use crate::alerts::alert::{Alert, AlertIndex, AlertStatus};
use crate::alerts::command::{EscalateDue, RunDue, RunDueReport};
use crate::alerts::event::{Event, IncidentDue, RuleDue};
use crate::alerts::incident::{NO_INCIDENT, Slot};
use crate::alerts::known::RuleNumber;
use crate::alerts::pattern::Counter;
use crate::alerts::state::{Alerts, next_turn};
use crate::domain::Timestamp;
use crate::error::Error;
use crate::runtime::{Command, Decision, Given};

/// What can come due. Incidents before alerts at the same instant, so that what is resolved is not escalated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    Judge(Slot),
    Escalate(AlertIndex),
}

impl Command<Alerts> for RunDue {
    type Reply = RunDueReport;

    fn decide(self, state: &Alerts, given: &Given) -> Result<Decision<Event, RunDueReport>, Error> {
        let now = given.now;
        let mut report = RunDueReport { judged: 0, raised: Vec::new(), escalated: Vec::new(), has_more: false };
        let Some(org_id) = state.org_id.clone() else { return Ok(Decision { events: vec![], reply: report }) };
        let mut draft = Draft::new(state, org_id, &state.book, state.policy(), now);
        let mut due = Due::gather(state, now, self.items_max);
        let mut counters = BTreeMap::new();
        let mut items = 0;
        let mut last = None;
        while let Some(Reverse((due_at, item))) = due.heap.pop() {
            // What is due at the same instant is done at the same time.
            let is_full = items >= self.items_max && last != Some(due_at);
            if is_full || due.second_turn.is_some_and(|second| second <= due_at) {
                report.has_more = true;
                break;
            }
            (items, last) = (items + 1, Some(due_at));
            match item {
                Item::Judge(NO_INCIDENT) => judge_org(&mut draft, state),
                Item::Judge(slot) => {
                    report.judged += 1;
                    judge(&mut draft, state, &mut counters, slot, due_at);
                    due.note_second_turn(state, slot, due_at, now);
                }
                Item::Escalate(index) => {
                    report.escalated.extend(escalate(state, &mut draft.events, now, index, due_at));
                }
            }
        }
        report.has_more |= due.second_turn.is_some();
        report.raised = draft.raised;
        Ok(Decision { events: draft.events, reply: report })
    }
}

/// What is due, earliest first.
struct Due {
    heap: BinaryHeap<Reverse<(Timestamp, Item)>>,
    /// The first instant at which an incident that was judged already is due again. It has to see what its first turn led
    /// to, so what is due from then on is left to the next wake.
    second_turn: Option<Timestamp>,
}

impl Due {
    fn gather(state: &Alerts, now: Timestamp, items_max: usize) -> Self {
        let deadlines = state.deadlines.iter().map(|&(at, slot)| (at, Item::Judge(slot)));
        let timers = state.timers.iter().map(|&(at, index)| (at, Item::Escalate(index)));
        let due = |&(at, _): &(Timestamp, Item)| at <= now;
        let mut heap = BinaryHeap::new();
        // The earliest `items_max` of both together are among the earliest `items_max` of each, and those of the instant at
        // which that many are reached come along.
        let first = |items: &mut dyn Iterator<Item = (Timestamp, Item)>, heap: &mut BinaryHeap<_>| {
            let mut last = None;
            for (count, (at, item)) in items.enumerate() {
                if count > items_max && last != Some(at) {
                    break;
                }
                last = Some(at);
                heap.push(Reverse((at, item)));
            }
        };
        first(&mut deadlines.take_while(due), &mut heap);
        first(&mut timers.take_while(due), &mut heap);
        Due { heap, second_turn: None }
    }

    /// An incident that was judged at one instant may have come to the next one long ago.
    fn note_second_turn(&mut self, state: &Alerts, slot: Slot, judged_at: Timestamp, now: Timestamp) {
        let Some(mut incident) = state.incidents.get(slot).cloned() else { return };
        incident.judged_until = judged_at;
        incident.rules_seen = state.book.takes;
        let pending = state.watches_of(slot).filter_map(|(_, watch)| watch.pending).filter(|&at| at > judged_at).min();
        let next = next_turn(&state.book, &incident).into_iter().chain(pending).min();
        self.second_turn = self.second_turn.into_iter().chain(next.filter(|&next| next <= now)).min();
    }
}

fn judge(
    draft: &mut Draft<'_>,
    state: &Alerts,
    counters: &mut BTreeMap<RuleNumber, Counter>,
    slot: Slot,
    due_at: Timestamp,
) {
    let Some(incident) = state.incidents.get(slot) else { return };
    draft.events.push(Event::IncidentDue(IncidentDue { incident_id: incident.id.to_string(), due_at, at: draft.now }));
    let (priority, times) = (incident.priority, incident.times);
    let subject = Subject { slot: Some(slot), incident_id: Some((*incident.id).into()), priority: Some(priority) };
    consider_met(draft, &subject, priority, times, due_at, Occasion::Due(due_at));
    let outcome = outcome_change(Some(incident), priority, times, due_at);
    for (number, fired) in patterns_fired(state, &state.book, counters, outcome) {
        consider_pattern(draft, number, &subject, fired);
    }
}

/// What was held back about the org as a whole: the last window of a rule, if the rule was met by it.
fn judge_org(draft: &mut Draft<'_>, state: &Alerts) {
    let subject = Subject { slot: None, incident_id: None, priority: None };
    for (number, watch) in state.watches_of(NO_INCIDENT) {
        let Some(due_at) = watch.pending.filter(|&pending| pending <= draft.now) else { continue };
        let Some(known) = draft.book.by_number(number) else { continue };
        let rule_id = known.rule.rule_id.clone();
        draft.events.push(Event::RuleDue(RuleDue { rule_id, due_at, at: draft.now }));
        let last = state.windows.get(&number).filter(|window| window.met && known.rule.enabled);
        if let Some(cause) = last.and_then(|window| window.cause.clone()) {
            draft.consider(known, &subject, Occasion::Due(due_at), cause);
        }
    }
}

fn escalate(
    state: &Alerts,
    events: &mut Vec<Event>,
    now: Timestamp,
    index: AlertIndex,
    due_at: Timestamp,
) -> Option<Alert> {
    let mut alert = state.alerts.get(index)?.clone();
    let next = state.next_step(&alert)?;
    let reason = if alert.status == AlertStatus::Acknowledged { "ack_timeout" } else { "timeout" };
    let stepping = Stepping { now, due_at: Some(due_at), by: crate::alerts::SYSTEM, reason };
    events.extend(take_steps(state, &mut alert, next, stepping));
    Some(state.shown(&alert))
}

impl Command<Alerts> for EscalateDue {
    type Reply = Vec<Alert>;

    fn decide(self, state: &Alerts, given: &Given) -> Result<Decision<Event, Vec<Alert>>, Error> {
        let now = instant(self.at, given, state.last_change())?;
        let (mut events, mut escalated) = (Vec::new(), Vec::new());
        for &(at, index) in state.timers.iter().take_while(|&&(at, _)| at <= now) {
            escalated.extend(escalate(state, &mut events, now, index, at));
        }
        Ok(Decision { events, reply: escalated })
    }
}

/// The steps that are due at `now`, one an alert and what follows on it at once.
pub(in crate::alerts) fn steps_due(state: &Alerts, now: Timestamp) -> Vec<Event> {
    let mut events = Vec::new();
    for &(at, index) in state.timers.iter().take_while(|&&(at, _)| at <= now) {
        // Who wants the events does not want the alerts.
        let _ = escalate(state, &mut events, now, index, at);
    }
    events
}
