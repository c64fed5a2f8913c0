//! Why an alert was raised or not: every decision about one incident, told from the org's events.
//!
//! What was decided stands in the events; which rules were looked at and found false follows from them, since nothing but
//! the state and the incident's times goes into that. So the explanation is the stream, read again.

use serde::Serialize;
use uuid::Uuid;

use super::condition;
use super::event::{AlertSuppressed, Event, HeldBecause};
use super::state::Alerts;
use crate::domain::{IncidentTimes, Priority, Timestamp};
use crate::error::Corrupt;
use crate::rules::Condition;
use crate::runtime::Aggregate;

/// One decision about the incident.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// The event in the journal that it stands in or follows from.
    pub position: u64,
    /// The rule, if it is about one.
    pub rule_id: Option<String>,
    /// The version of it.
    pub rule_version: Option<u32>,
    /// The alert, if it is about one.
    pub alert_id: Option<Uuid>,
    /// `condition_true`, `condition_false`, `disabled`, `counted`, `raised`, `suppressed`, `held_back`, `recurred`,
    /// `acknowledged`, `resolved` or `escalated`.
    pub outcome: &'static str,
    /// Why, with the values that were seen.
    pub why: String,
}

/// Takes in the events of an org, oldest first, and notes what concerns one incident.
#[derive(Debug)]
pub struct Explainer {
    incident_id: String,
    state: Alerts,
    decisions: Vec<Decision>,
    alert_ids: Vec<Uuid>,
}

impl Explainer {
    /// Nothing is known yet.
    pub fn new(incident_id: &str) -> Self {
        Explainer {
            incident_id: incident_id.to_owned(),
            state: Alerts::default(),
            decisions: Vec::new(),
            alert_ids: Vec::new(),
        }
    }

    /// Takes in the org's next event, which stands at that position of the journal.
    ///
    /// # Errors
    /// When no such event can follow on those before.
    pub fn take(&mut self, position: u64, event: &Event) -> Result<(), Corrupt> {
        let counted_before = self.counts();
        self.state.evolve(event)?;
        match event {
            Event::IncidentChecked(event) if event.incident_id == self.incident_id => {
                let times = IncidentTimes {
                    dispatch: event.dispatch_time,
                    arrival: event.arrival_time,
                    closed: event.closed_time,
                };
                self.look(position, event.at, event.at, event.priority, times);
                self.counted(position, event.at, &counted_before);
            }
            Event::IncidentDue(event) if event.incident_id == self.incident_id => {
                let slot = self.state.incidents.slot(&event.incident_id);
                let incident = slot.and_then(|slot| self.state.incidents.get(slot));
                let Some((priority, times)) = incident.map(|incident| (incident.priority, incident.times)) else {
                    return Ok(());
                };
                self.look(position, event.at, event.due_at, priority, times);
                self.counted(position, event.at, &counted_before);
            }
            other => self.note(position, other),
        }
        Ok(())
    }

    /// Every decision about the incident, oldest first.
    pub fn into_decisions(self) -> Vec<Decision> {
        self.decisions
    }

    /// The ids of every alert about the incident, oldest first.
    pub fn alert_ids(&self) -> &[Uuid] {
        &self.alert_ids
    }

    fn look(&mut self, position: u64, at: Timestamp, seen_at: Timestamp, priority: Priority, times: IncidentTimes) {
        for known in &self.state.book.rules {
            let rule = &known.rule;
            let (outcome, why) = match &rule.condition {
                Condition::Threshold(_) | Condition::Pattern(_) => continue,
                _ if !rule.enabled => ("disabled", "the rule is disabled".to_owned()),
                condition => {
                    let is_met = condition::is_met(condition, priority, times, seen_at);
                    let why = condition::why(condition, priority, times, seen_at);
                    (if is_met { "condition_true" } else { "condition_false" }, why)
                }
            };
            self.decisions.push(Decision {
                at,
                position,
                rule_id: Some(rule.rule_id.clone()),
                rule_version: Some(rule.version),
                alert_id: None,
                outcome,
                why,
            });
        }
    }

    /// Breaches counted so far, by the rules that count them.
    fn counts(&self) -> Vec<(u32, usize)> {
        self.state.counters.iter().map(|(&number, counter)| (number, counter.breaches.len())).collect()
    }

    fn counted(&mut self, position: u64, at: Timestamp, before: &[(u32, usize)]) {
        for (number, count) in self.counts() {
            let was = before.iter().find(|(other, _)| *other == number).map_or(0, |(_, count)| *count);
            let Some(known) = self.state.book.by_number(number).filter(|_| was != count) else { continue };
            self.decisions.push(Decision {
                at,
                position,
                rule_id: Some(known.rule.rule_id.clone()),
                rule_version: Some(known.rule.version),
                alert_id: None,
                outcome: "counted",
                why: format!("breaches in a row: {was} before, {count} now"),
            });
        }
    }

    fn note(&mut self, position: u64, event: &Event) {
        if let Event::Raised(alert) | Event::Suppressed(AlertSuppressed { alert, .. }) = event
            && alert.incident_id.as_deref() == Some(self.incident_id.as_str())
        {
            self.alert_ids.push(alert.alert_id);
        }
        let is_ours = |incident_id: &Option<String>| incident_id.as_deref() == Some(self.incident_id.as_str());
        let (at, alert_id, rule, outcome, why) = match event {
            Event::Raised(event) if is_ours(&event.incident_id) => {
                let late = if event.late { ", late" } else { "" };
                let due = event.due_at.map(|due_at| format!("; due at {due_at}{late}")).unwrap_or_default();
                let channels: Vec<&str> = event.channels.iter().map(|channel| channel.as_str()).collect();
                let why = format!("{}{due}; to be told on {}", event.cause.description(), channels.join(", "));
                (event.at, Some(event.alert_id), Some((event.rule_id.clone(), event.rule_version)), "raised", why)
            }
            Event::Suppressed(event) if is_ours(&event.alert.incident_id) => {
                let alert = &event.alert;
                let why = format!("suppression {}: {}", event.suppression_id, alert.cause.description());
                (alert.at, Some(alert.alert_id), Some((alert.rule_id.clone(), alert.rule_version)), "suppressed", why)
            }
            Event::HeldBack(event) if is_ours(&event.incident_id) => {
                let why = match &event.because {
                    HeldBecause::Window { alert_id, until } => {
                        format!("suppression window of alert {alert_id} until {until}")
                    }
                    HeldBecause::Suppression { suppression_id, until } => {
                        format!("suppression {suppression_id} until {until}")
                    }
                };
                (event.at, None, Some((event.rule_id.clone(), event.rule_version)), "held_back", why)
            }
            Event::Recurred(event) => {
                (event.at, Some(event.alert_id), None, "recurred", "a check found it true again".to_owned())
            }
            Event::Acknowledged(event) => {
                let note = event.note.as_deref().map(|note| format!(": {note}")).unwrap_or_default();
                (event.at, Some(event.alert_id), None, "acknowledged", format!("by {}{note}", event.by))
            }
            Event::Resolved(event) => {
                (event.at, Some(event.alert_id), None, "resolved", format!("by {}: {}", event.by, event.note))
            }
            Event::Escalated(event) => {
                let channels: Vec<&str> = event.channels.iter().map(|channel| channel.as_str()).collect();
                let told = match event.held_back_by {
                    Some(suppression) => format!("told nobody, suppression {suppression}"),
                    None if channels.is_empty() => "nobody to tell".to_owned(),
                    None => format!("to be told on {}", channels.join(", ")),
                };
                let (from, to, reason, by) = (event.from_level, event.to_level, &event.reason, &event.by);
                let why = format!("{reason}, by {by}, from level {from} to {to}, {told}");
                (event.at, Some(event.alert_id), None, "escalated", why)
            }
            _ => return,
        };
        let rule = match (rule, alert_id) {
            (Some(rule), _) => Some(rule),
            (None, Some(alert_id)) => {
                let alert = self.state.alerts.index(alert_id).and_then(|index| self.state.alerts.get(index));
                let slot = self.state.incidents.slot(&self.incident_id);
                match alert.filter(|alert| Some(alert.incident) == slot) {
                    Some(alert) => Some((alert.rule_id.as_ref().to_owned(), alert.rule_version)),
                    None => return, // Of another incident.
                }
            }
            (None, None) => None,
        };
        let (rule_id, rule_version) = rule.unzip();
        self.decisions.push(Decision { at, position, rule_id, rule_version, alert_id, outcome, why });
    }
}
