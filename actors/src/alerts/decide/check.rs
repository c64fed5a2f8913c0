//! An incident is registered, or told anew, and judged by every rule.

use std::collections::BTreeMap;
use std::sync::Arc;

use ionveil_journal::codec;

use super::raise::{Draft, Occasion, Subject};
use super::{Taken, instant, take};
use crate::alerts::command::{CheckIncident, CheckReport};
use crate::alerts::condition;
use crate::alerts::event::{AlertResolved, Cause, Event, IncidentChecked};
use crate::alerts::incident::{Incident, Slot};
use crate::alerts::known::{RuleBook, RuleNumber};
use crate::alerts::pattern::{Counter, Fired};
use crate::alerts::reply::StoredReport;
use crate::alerts::state::Alerts;
use crate::alerts::{OVER_KEPT_DAYS, SYSTEM};
use crate::domain::{IncidentTimes, Priority, Sla, SlaStatus, Timestamp, check_id};
use crate::error::{Error, Invalid};
use crate::rules::Condition;
use crate::runtime::{Command, Decision, Given, ReplyCodec};

impl Command<Alerts> for CheckIncident {
    type Reply = CheckReport;
    const REPLY: Option<ReplyCodec<CheckReport>> = Some(ReplyCodec::stored_as::<StoredReport, 1>());

    fn content(&self) -> Option<Vec<u8>> {
        // Rules and policy are what is known of others at the moment.
        let CheckIncident { incident_id, priority, dispatch_time, arrival_time, closed_time, at, .. } = self;
        Some(codec::encode(&(incident_id, priority, dispatch_time, arrival_time, closed_time, at)))
    }

    fn decide(self, state: &Alerts, given: &Given) -> Result<Decision<Event, CheckReport>, Error> {
        check_id("incident_id", &self.incident_id)?;
        let priority = Priority::new(self.priority)?;
        let slot = state.incidents.slot(&self.incident_id);
        let former = slot.and_then(|slot| state.incidents.get(slot));
        let times = IncidentTimes {
            dispatch: self.dispatch_time,
            arrival: self.arrival_time.or(former.and_then(|former| former.times.arrival)),
            closed: self.closed_time.or(former.and_then(|former| former.times.closed)),
        };
        check_order("arrival_time", times.arrival, times.dispatch)?;
        check_order("closed_time", times.closed, times.dispatch)?;
        let now = instant(self.at, given, former.map(|former| former.touched_at))?;
        if slot.is_none() {
            check_not_forgotten(state, &self.incident_id, times.dispatch)?;
        }

        let Taken { org_id, book, policy, events } = take(state, &self.known, now);
        let mut draft = Draft::new(state, org_id, &book, policy, now);
        draft.events = events;
        draft.events.push(Event::IncidentChecked(IncidentChecked {
            incident_id: self.incident_id.clone(),
            at: now,
            priority,
            dispatch_time: times.dispatch,
            arrival_time: times.arrival,
            closed_time: times.closed,
        }));
        let sla = Sla::assess(priority, times, now);
        if let Some(slot) = slot
            && !times.is_open()
        {
            resolve_what_is_over(&mut draft, state, slot, times, sla.status);
        }
        let incident_id: Arc<str> = self.incident_id.as_str().into();
        let subject = Subject { slot, incident_id: Some(incident_id), priority: Some(priority) };
        consider_met(&mut draft, &subject, priority, times, now, Occasion::Check);
        let fired = patterns_fired(state, &book, &mut BTreeMap::new(), outcome_change(former, priority, times, now));
        for (number, fired) in fired {
            consider_pattern(&mut draft, number, &subject, fired);
        }
        let is_known = former.is_some_and(|former| former.times == times && former.priority == priority);
        let reply = CheckReport {
            incident_id: self.incident_id,
            sla_status: sla.status,
            sla_target_minutes: sla.target_minutes,
            elapsed_minutes: sla.elapsed_minutes(),
            remaining_minutes: sla.remaining_minutes(),
            escalation_stage: sla.stage(),
            breach_time: sla.breach_time,
            alerts: draft.raised,
            held_back: draft.held_back,
            is_known,
        };
        Ok(Decision { events: draft.events, reply })
    }
}

/// Refuses what is told again of an incident that was forgotten: it would be raised anew, and its arrival is not known.
fn check_not_forgotten(state: &Alerts, incident_id: &str, dispatch: Timestamp) -> Result<(), Invalid> {
    let until = state.forgotten.dispatched_until.filter(|&until| dispatch <= until);
    match until.filter(|_| state.forgotten_ids.contains(incident_id)) {
        Some(until) => {
            let kept = format!("incidents that are over are kept for {OVER_KEPT_DAYS} days");
            let allowed = format!("later than {until} for an incident that is not known any more: {kept}");
            Err(Invalid::new("dispatch_time", dispatch, allowed))
        }
        None => Ok(()),
    }
}

fn check_order(field: &str, at: Option<Timestamp>, dispatch: Timestamp) -> Result<(), Invalid> {
    match at {
        Some(at) if at < dispatch => {
            Err(Invalid::new(field, at, format!("{dispatch} or later, when it was dispatched")))
        }
        _ => Ok(()),
    }
}

/// Considers every rule about single incidents whose condition is true as of `seen_at`.
pub(super) fn consider_met(
    draft: &mut Draft<'_>,
    subject: &Subject,
    priority: Priority,
    times: IncidentTimes,
    seen_at: Timestamp,
    occasion: Occasion,
) {
    let book = draft.book;
    for known in book.enabled() {
        if condition::is_met(&known.rule.condition, priority, times, seen_at) {
            let cause = Cause::Sla {
                is_warning: matches!(known.rule.condition, Condition::SlaWarning { .. }),
                priority,
                dispatch: times.dispatch,
                arrival: times.arrival,
                closed: times.closed,
                seen_at,
            };
            draft.consider(known, subject, occasion, cause);
        }
    }
}

/// A series of breaches is complete.
pub(super) fn consider_pattern(draft: &mut Draft<'_>, number: RuleNumber, subject: &Subject, fired: Fired) {
    let book = draft.book;
    let (Some(known), Some(priority)) = (book.by_number(number), subject.priority) else { return };
    let Fired { breaches, first, last } = fired;
    draft.consider(known, subject, Occasion::Happened, Cause::Pattern { priority, breaches, first, last });
}

/// What becomes known of an incident's outcome: `Some(Some(when))` it was breached, `Some(None)` it was not, `None` nothing
/// new.
pub(in crate::alerts) fn outcome_change(
    former: Option<&Incident>,
    priority: Priority,
    times: IncidentTimes,
    now: Timestamp,
) -> Option<Option<Timestamp>> {
    let sla = Sla::assess(priority, times, now);
    let is_breached = sla.status == SlaStatus::Breached;
    if times.is_open() && !is_breached {
        return None; // It may still go either way.
    }
    let is_new = former.is_none_or(|former| former.breached != Some(is_breached));
    is_new.then_some(is_breached.then_some(sla.breach_time))
}

/// Which pattern rules an outcome makes fire; `counters` are those that have moved in this command already.
pub(in crate::alerts) fn patterns_fired(
    state: &Alerts,
    book: &RuleBook,
    counters: &mut BTreeMap<RuleNumber, Counter>,
    outcome: Option<Option<Timestamp>>,
) -> Vec<(RuleNumber, Fired)> {
    let Some(breach) = outcome else { return Vec::new() };
    let mut fired = Vec::new();
    for (known, pattern) in book.patterns() {
        let counter = counters.entry(known.number).or_insert_with(|| {
            let counter = state.counters.get(&known.number).filter(|counter| counter.since == known.counts_since);
            counter.cloned().unwrap_or(Counter { since: known.counts_since, ..Counter::default() })
        });
        fired.extend(counter.take(pattern, breach).map(|what| (known.number, what)));
    }
    fired
}

/// Arrival and closing end every warning of the incident, and every breach that was none.
fn resolve_what_is_over(draft: &mut Draft<'_>, state: &Alerts, slot: Slot, times: IncidentTimes, status: SlaStatus) {
    for (_, watch) in state.watches_of(slot) {
        let Some(alert) = watch.current.and_then(|current| state.alerts.get(current)) else { continue };
        let Cause::Sla { is_warning, .. } = alert.cause else { continue };
        if !is_warning && status == SlaStatus::Breached {
            continue; // A true breach stays for a person.
        }
        let end = match (times.arrival, times.closed) {
            (Some(arrival), _) => format!("a unit arrived at {arrival}"),
            (None, Some(closed)) => format!("the incident was closed at {closed}"),
            (None, None) => continue,
        };
        let judgement = if status == SlaStatus::Breached { "too late" } else { "in time" };
        draft.events.push(Event::Resolved(AlertResolved {
            alert_id: alert.id,
            at: draft.now,
            by: SYSTEM.to_owned(),
            note: format!("{end}, {judgement}"),
        }));
    }
}
