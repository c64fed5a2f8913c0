//! State and event to state.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::alert::{AlertIndex, AlertState, AlertStatus};
use super::condition;
use super::decide::{outcome_change, patterns_fired};
use super::event::{
    AlertAcknowledged, AlertEscalated, AlertHeldBack, AlertRaised, AlertResolved, Cause, Event, HeldBecause,
    IncidentChecked, IncidentDue, RuleDue, RulesTaken, SuppressionAdded, WindowJudged,
};
use super::forget;
use super::incident::{Incident, NO_INCIDENT, Next, Slot};
use super::known::RuleNumber;
use super::state::{Alerts, JudgedWindow};
use super::suppression::{Compiled, Suppression};
use super::watch::Watch;
use crate::domain::{IncidentTimes, Timestamp};
use crate::error::Corrupt;
use crate::escalation::Step;
use crate::rules::{AlertRule, Condition};

pub(super) fn evolve(state: &mut Alerts, event: &Event) -> Result<(), Corrupt> {
    match event {
        Event::RulesTaken(event) => take_rules(state, event),
        Event::PolicyTaken(event) => {
            if state.policies.insert(event.revision, event.policy.clone()).is_some() {
                return Err(Corrupt(format!("escalation policy {} is taken over twice", event.revision)));
            }
            Ok(())
        }
        // Last, so that nothing is forgotten that the event is about; and not at events that others of the same decision
        // follow on which are about something else.
        Event::IncidentChecked(event) => check(state, event).map(|()| forget::forget(state, event.at)),
        Event::IncidentDue(event) => judge(state, event).map(|()| forget::forget(state, event.at)),
        Event::WindowJudged(event) => judge_window(state, event).map(|()| forget::forget(state, event.at)),
        Event::RuleDue(event) => judge_org(state, event),
        Event::Raised(event) => record(state, event, None),
        Event::Suppressed(event) => record(state, &event.alert, Some(event.suppression_id)),
        Event::HeldBack(event) => hold_back(state, event),
        Event::Recurred(event) => {
            let (_, alert) = unresolved(state, event.alert_id)?;
            alert.occurrences += 1;
            alert.updated_at = event.at;
            let slot = alert.incident;
            touch(state, slot, event.at);
            Ok(())
        }
        Event::Acknowledged(event) => acknowledge(state, event),
        Event::Resolved(event) => resolve(state, event),
        Event::Escalated(event) => {
            let (index, alert) = unresolved(state, event.alert_id)?;
            apply_escalation(alert, event);
            let slot = alert.incident;
            touch(state, slot, event.at);
            state.retime(index);
            Ok(())
        }
        Event::SuppressionAdded(event) => add_suppression(state, event),
        Event::SuppressionRemoved(event) => {
            let Some(known) = state.suppressions.get_mut(&event.suppression_id) else {
                return Err(Corrupt(format!("suppression {} is removed and not known", event.suppression_id)));
            };
            known.suppression.removed_at = Some(event.at);
            release(state, event.suppression_id, event.at);
            Ok(())
        }
    }
}

fn take_rules(state: &mut Alerts, event: &RulesTaken) -> Result<(), Corrupt> {
    state.org_id = Some(event.org_id.clone());
    let rules = event.rules.iter().cloned().map(AlertRule::from);
    state.book = state.book.after(event.revision, rules, event.at);
    let open: Vec<Slot> = state.incidents.open().map(|(slot, _)| slot).collect();
    for slot in open {
        state.reschedule(slot);
    }
    Ok(())
}

fn check(state: &mut Alerts, event: &IncidentChecked) -> Result<(), Corrupt> {
    let times = IncidentTimes { dispatch: event.dispatch_time, arrival: event.arrival_time, closed: event.closed_time };
    let slot = state.incidents.slot(&event.incident_id);
    let former = slot.and_then(|slot| state.incidents.get(slot));
    let outcome = outcome_change(former, event.priority, times, event.at);
    count_outcome(state, outcome);
    let breached = outcome.map(|breach| breach.is_some()).or(former_outcome(state, slot));
    let rules_seen = state.book.takes;
    let slot = match slot {
        Some(slot) => slot,
        None => state.incidents.add(Incident {
            id: event.incident_id.as_str().into(),
            times,
            judged_until: event.at,
            touched_at: event.at,
            next: Next::Nothing,
            rules_seen,
            priority: event.priority,
            breached,
        }),
    };
    if let Some(incident) = state.incidents.get_mut(slot) {
        incident.times = times;
        incident.priority = event.priority;
        incident.judged_until = event.at;
        incident.touched_at = event.at;
        incident.rules_seen = rules_seen;
        incident.breached = breached;
    }
    look(state, slot, event.at);
    state.reschedule(slot);
    Ok(())
}

fn former_outcome(state: &Alerts, slot: Option<Slot>) -> Option<bool> {
    slot.and_then(|slot| state.incidents.get(slot)).and_then(|incident| incident.breached)
}

fn judge(state: &mut Alerts, event: &IncidentDue) -> Result<(), Corrupt> {
    let Some(slot) = state.incidents.slot(&event.incident_id) else {
        return Err(Corrupt(format!("incident {} is due and not known", event.incident_id)));
    };
    let Some(incident) = state.incidents.get(slot) else { return Ok(()) };
    let outcome = outcome_change(Some(incident), incident.priority, incident.times, event.due_at);
    count_outcome(state, outcome);
    let rules_seen = state.book.takes;
    if let Some(incident) = state.incidents.get_mut(slot) {
        incident.judged_until = incident.judged_until.max(event.due_at);
        incident.touched_at = incident.touched_at.max(event.at);
        incident.rules_seen = rules_seen;
        if let Some(breach) = outcome {
            incident.breached = Some(breach.is_some());
        }
    }
    look(state, slot, event.due_at);
    state.reschedule(slot);
    Ok(())
}

/// Counts an outcome for every pattern rule.
fn count_outcome(state: &mut Alerts, outcome: Option<Option<Timestamp>>) {
    let mut moved = BTreeMap::new();
    // What fires is raised by an event of its own.
    let _ = patterns_fired(state, &state.book, &mut moved, outcome);
    state.counters.extend(moved);
}

/// Every rule has been looked at as of `at`: notes which were false, and that nothing is waited for any more.
fn look(state: &mut Alerts, slot: Slot, at: Timestamp) {
    let Some(incident) = state.incidents.get(slot) else { return };
    let (priority, times) = (incident.priority, incident.times);
    let numbers: Vec<RuleNumber> = state.watches_of(slot).map(|(number, _)| number).collect();
    for number in numbers {
        let known = state.book.by_number(number).filter(|known| known.rule.enabled);
        let is_about_incident = known
            .is_some_and(|known| matches!(known.rule.condition, Condition::SlaWarning { .. } | Condition::SlaBreach));
        let is_met = known.is_some_and(|known| condition::is_met(&known.rule.condition, priority, times, at));
        let Some(watch) = state.watches.get_mut(&(slot, number)) else { continue };
        if watch.pending.is_some_and(|pending| pending <= at) || !is_met {
            watch.pending = None;
        }
        if is_about_incident && !is_met {
            watch.was_false = true;
            watch.suppressed_by = None;
        }
        // What turns true again while an alert stands is part of that alert, and no news when it is resolved.
        if is_met && watch.current.is_some() {
            watch.was_false = false;
        }
    }
}

fn judge_window(state: &mut Alerts, event: &WindowJudged) -> Result<(), Corrupt> {
    let Some(known) = state.book.by_id(&event.rule_id) else {
        return Err(Corrupt(format!("rule {} judges a window and is not known", event.rule_id)));
    };
    let number = known.number;
    let cause = threshold_cause(&known.rule, event);
    if let Some(watch) = state.watches.get_mut(&(NO_INCIDENT, number))
        && !event.met
    {
        watch.was_false = true;
        watch.pending = None;
        watch.suppressed_by = None;
    }
    state
        .windows
        .insert(number, JudgedWindow { met: event.met, end: event.window_end, closed_by: event.closed_by, cause });
    state.reschedule(NO_INCIDENT);
    Ok(())
}

/// What an alert about a judged window says.
pub(super) fn threshold_cause(rule: &AlertRule, event: &WindowJudged) -> Option<Cause> {
    let Condition::Threshold(threshold) = &rule.condition else { return None };
    Some(Cause::Threshold {
        metric: threshold.metric.as_str().to_owned(),
        aggregation: threshold.aggregation.as_str().to_owned(),
        window_start: event.window_start,
        window_end: event.window_end,
        value: event.value?,
        op: threshold.op.as_str().to_owned(),
        limit: threshold.value,
        samples: event.samples,
    })
}

fn judge_org(state: &mut Alerts, event: &RuleDue) -> Result<(), Corrupt> {
    let number = state.book.number_of(&event.rule_id);
    let watch = number.and_then(|number| state.watches.get_mut(&(NO_INCIDENT, number)));
    let Some(watch) = watch else {
        return Err(Corrupt(format!("rule {} is due and nothing of it is held back", event.rule_id)));
    };
    watch.pending = None;
    state.reschedule(NO_INCIDENT);
    Ok(())
}

/// The place of an incident that an alert is about.
fn slot_of(state: &Alerts, incident_id: Option<&str>) -> Result<Slot, Corrupt> {
    match incident_id {
        None => Ok(NO_INCIDENT),
        Some(id) => state.incidents.slot(id).ok_or_else(|| Corrupt(format!("incident {id} is not known"))),
    }
}

fn rule_of(state: &Alerts, rule_id: &str) -> Result<RuleNumber, Corrupt> {
    state.book.number_of(rule_id).ok_or_else(|| Corrupt(format!("rule {rule_id} is not known")))
}

fn record(state: &mut Alerts, raised: &AlertRaised, suppressed_by: Option<Uuid>) -> Result<(), Corrupt> {
    let slot = slot_of(state, raised.incident_id.as_deref())?;
    let number = rule_of(state, &raised.rule_id)?;
    if state.alerts.index(raised.alert_id).is_some() {
        return Err(Corrupt(format!("alert {} is raised twice", raised.alert_id)));
    }
    let alert = AlertState::recorded(raised, number, slot, suppressed_by);
    let ends_at = suppressed_by.map(|_| state.unsuppressed_from(&raised.rule_id, raised.at));
    let index = state.alerts.add(alert);
    let is_pattern = matches!(raised.cause, Cause::Pattern { .. });
    let watch = state.watches.entry((slot, number)).or_default();
    if watch.current.is_some() {
        return Err(Corrupt(format!("rule {} has two unresolved alerts about one incident", raised.rule_id)));
    }
    watch.recorded = raised.number;
    match ends_at {
        None => {
            *watch = Watch {
                recorded: raised.number,
                raised: Some((raised.at, raised.alert_id)),
                current: Some(index),
                ..Watch::default()
            };
        }
        Some(ends_at) => {
            // A series of breaches happens once; nothing of it holds when the suppression ends.
            watch.pending = (!is_pattern).then_some(ends_at);
            watch.suppressed_by = (!is_pattern).then_some(suppressed_by).flatten();
        }
    }
    touch(state, slot, raised.at);
    state.reschedule(slot);
    state.retime(index);
    if suppressed_by.is_some() {
        forget::note_over(state, index);
    }
    Ok(())
}

fn hold_back(state: &mut Alerts, event: &AlertHeldBack) -> Result<(), Corrupt> {
    let slot = slot_of(state, event.incident_id.as_deref())?;
    let number = rule_of(state, &event.rule_id)?;
    let is_pattern =
        state.book.by_number(number).is_some_and(|known| matches!(known.rule.condition, Condition::Pattern(_)));
    let unsuppressed = state.unsuppressed_from(&event.rule_id, event.at);
    let watch = state.watches.entry((slot, number)).or_default();
    match &event.because {
        _ if is_pattern => {}
        // Without a check only what was false in between is raised when the window ends.
        HeldBecause::Window { until, .. } => watch.pending = watch.was_false.then_some(*until),
        HeldBecause::Suppression { suppression_id, .. } => {
            watch.pending = Some(unsuppressed);
            watch.suppressed_by = Some(*suppression_id);
        }
    }
    touch(state, slot, event.at);
    state.reschedule(slot);
    Ok(())
}

fn unresolved(state: &mut Alerts, alert_id: Uuid) -> Result<(AlertIndex, &mut AlertState), Corrupt> {
    let index = state.alerts.index(alert_id).ok_or_else(|| Corrupt(format!("alert {alert_id} is not known")))?;
    match state.alerts.get_mut(index) {
        Some(alert) if alert.status.is_unresolved() => Ok((index, alert)),
        _ => Err(Corrupt(format!("alert {alert_id} changes although it is over"))),
    }
}

fn acknowledge(state: &mut Alerts, event: &AlertAcknowledged) -> Result<(), Corrupt> {
    let (index, alert) = unresolved(state, event.alert_id)?;
    if alert.status == AlertStatus::Acknowledged {
        return Err(Corrupt(format!("alert {} is acknowledged twice", event.alert_id)));
    }
    let by: Arc<str> = event.by.as_str().into();
    alert.acknowledged = Some((event.at, Arc::clone(&by)));
    alert.change(event.at, &by, AlertStatus::Acknowledged, event.note.as_deref().map(Arc::from));
    let slot = alert.incident;
    touch(state, slot, event.at);
    state.retime(index);
    Ok(())
}

fn resolve(state: &mut Alerts, event: &AlertResolved) -> Result<(), Corrupt> {
    let (index, alert) = unresolved(state, event.alert_id)?;
    let by: Arc<str> = event.by.as_str().into();
    alert.resolved = Some((event.at, Arc::clone(&by)));
    alert.change(event.at, &by, AlertStatus::Resolved, Some(event.note.as_str().into()));
    let (slot, rule) = (alert.incident, alert.rule);
    if let Some(watch) = state.watches.get_mut(&(slot, rule)) {
        watch.current = None;
    }
    touch(state, slot, event.at);
    state.reschedule(slot);
    state.retime(index);
    forget::note_over(state, index);
    Ok(())
}

/// One step on the chain.
pub(super) fn apply_escalation(alert: &mut AlertState, event: &AlertEscalated) {
    let by: Arc<str> = event.by.as_str().into();
    let reason: Arc<str> = event.reason.as_str().into();
    alert.step = Step { level: event.to_level, cycle: event.cycle, steps: alert.step.steps + 1, since: event.at };
    alert.escalations.push(super::alert::EscalationEntry {
        at: event.at,
        from_level: event.from_level,
        to_level: event.to_level,
        reason: Arc::clone(&reason),
        by: Arc::clone(&by),
    });
    alert.change(event.at, &by, AlertStatus::Escalated, Some(reason));
}

fn add_suppression(state: &mut Alerts, event: &SuppressionAdded) -> Result<(), Corrupt> {
    let suppression = Suppression {
        suppression_id: event.suppression_id,
        org_id: event.org_id.clone(),
        rule_pattern: event.rule_pattern.clone(),
        created_at: event.at,
        expires_at: event.expires_at,
        reason: event.reason.clone(),
        created_by: event.by.clone(),
        removed_at: None,
    };
    let compiled = Compiled::new(suppression).map_err(|invalid| Corrupt(invalid.to_string()))?;
    match state.suppressions.insert(event.suppression_id, compiled) {
        Some(_) => Err(Corrupt(format!("suppression {} is added twice", event.suppression_id))),
        None => Ok(()),
    }
}

/// What a suppression kept back is due as soon as no other one keeps it.
fn release(state: &mut Alerts, suppression_id: Uuid, at: Timestamp) {
    let kept = |(&(slot, number), watch): (&(Slot, RuleNumber), &Watch)| {
        let known = state.book.by_number(number)?;
        let is_kept = watch.pending.is_some() && watch.suppressed_by.is_some();
        let concerns = state.suppressions.get(&suppression_id)?.matches(&known.rule.rule_id);
        (is_kept && concerns).then(|| (slot, number, state.unsuppressed_from(&known.rule.rule_id, at)))
    };
    let released: Vec<_> = state.watches.iter().filter_map(kept).collect();
    for (slot, number, due) in released {
        if let Some(watch) = state.watches.get_mut(&(slot, number)) {
            watch.pending = Some(due);
        }
        state.reschedule(slot);
    }
}

fn touch(state: &mut Alerts, slot: Slot, at: Timestamp) {
    if let Some(incident) = state.incidents.get_mut(slot) {
        incident.touched_at = incident.touched_at.max(at);
    }
}
