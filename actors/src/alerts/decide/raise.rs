//! A rule's condition is true: is an alert raised, counted again, kept by a window, or not wanted?

use std::sync::Arc;

use uuid::Uuid;

use crate::alerts::alert::{Alert, AlertState, alert_id};
use crate::alerts::command::HeldBack;
use crate::alerts::event::{AlertHeldBack, AlertRaised, AlertRecurred, AlertSuppressed, Cause, Event, HeldBecause};
use crate::alerts::incident::{NO_INCIDENT, Slot};
use crate::alerts::known::{KnownRule, RuleBook};
use crate::alerts::state::Alerts;
use crate::alerts::{LATE_MICROS, watch::Watch};
use crate::domain::{Channel, OrgId, Priority, Timestamp};
use crate::escalation::EscalationPolicy;
use crate::rules::AlertRule;

/// What made somebody look at the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// A check of the incident.
    Check,
    /// An instant that had been waited for.
    Due(Timestamp),
    /// Something that happened once: a window was closed, a series of breaches was complete.
    Happened,
}

/// An incident that a rule is judged on, as it will be after the command.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// Its place; none when it is new.
    pub(super) slot: Option<Slot>,
    pub(super) incident_id: Option<Arc<str>>,
    pub(super) priority: Option<Priority>,
}

/// What one command leads to.
pub(super) struct Draft<'a> {
    state: &'a Alerts,
    org_id: OrgId,
    pub(super) book: &'a RuleBook,
    policy: Option<(u64, &'a EscalationPolicy)>,
    pub(super) now: Timestamp,
    pub(super) events: Vec<Event>,
    pub(super) raised: Vec<Alert>,
    pub(super) held_back: Vec<HeldBack>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        state: &'a Alerts,
        org_id: OrgId,
        book: &'a RuleBook,
        policy: Option<(u64, &'a EscalationPolicy)>,
        now: Timestamp,
    ) -> Self {
        Draft { state, org_id, book, policy, now, events: Vec::new(), raised: Vec::new(), held_back: Vec::new() }
    }

    /// The condition of `known` is true for `subject`.
    pub(super) fn consider(&mut self, known: &KnownRule, subject: &Subject, occasion: Occasion, cause: Cause) {
        let slot = if subject.incident_id.is_none() { Some(NO_INCIDENT) } else { subject.slot };
        let watch = slot.and_then(|slot| self.state.watch(slot, known.number)).cloned().unwrap_or_default();
        if let Some(current) = watch.current.and_then(|current| self.state.alerts.get(current)) {
            if occasion == Occasion::Check {
                self.events.push(Event::Recurred(AlertRecurred { alert_id: current.id, at: self.now }));
            }
            return;
        }
        if let Occasion::Due(due_at) = occasion
            && watch.pending.is_some_and(|pending| pending > due_at)
        {
            return; // Its own turn comes.
        }
        // A series of breaches is news by itself: the count starts again at 0.
        let is_series = matches!(cause, Cause::Pattern { .. });
        let is_news = watch.raised.is_none() || watch.was_false || occasion == Occasion::Check || is_series;
        if !is_news {
            return;
        }
        if let Some((until, alert_id)) = self.window_of(known, &watch) {
            let because = HeldBecause::Window { alert_id, until };
            let minutes = known.rule.suppression_window_minutes;
            let reason = format!("suppression window of {minutes} minutes of alert {alert_id}, until {until}");
            return self.hold_back(known, subject, because, reason);
        }
        let draft = self.alert(known, subject, occasion, cause, self.state.forgotten.next_number(watch.recorded));
        let Some(suppression) = self.state.suppression_of(&known.rule.rule_id, self.now) else {
            return self.raise(draft, known, slot);
        };
        let (suppression_id, until) = (suppression.suppression.suppression_id, suppression.end());
        let reason = format!("suppression {suppression_id} until {until}: {}", suppression.suppression.reason);
        if watch.suppressed_by == Some(suppression_id) {
            // The same due alert again: it is on record already.
            let because = HeldBecause::Suppression { suppression_id, until };
            return self.hold_back(known, subject, because, reason);
        }
        self.events.push(Event::Suppressed(AlertSuppressed { alert: draft, suppression_id }));
        self.held_back.push(HeldBack { rule_id: known.rule.rule_id.clone(), reason });
    }

    /// The window of the last raise, if it is not over.
    fn window_of(&self, known: &KnownRule, watch: &Watch) -> Option<(Timestamp, Uuid)> {
        let (raised_at, alert) = watch.raised?;
        let until = known.window_end(raised_at);
        (self.now < until).then_some((until, alert))
    }

    fn hold_back(&mut self, known: &KnownRule, subject: &Subject, because: HeldBecause, reason: String) {
        let rule = &known.rule;
        self.events.push(Event::HeldBack(AlertHeldBack {
            rule_id: rule.rule_id.clone(),
            rule_version: rule.version,
            incident_id: subject.incident_id.as_deref().map(str::to_owned),
            at: self.now,
            because,
        }));
        self.held_back.push(HeldBack { rule_id: rule.rule_id.clone(), reason });
    }

    fn raise(&mut self, raised: AlertRaised, known: &KnownRule, slot: Option<Slot>) {
        let alert = AlertState::recorded(&raised, known.number, slot.unwrap_or(NO_INCIDENT), None);
        let policy_id = self.policy.map(|(_, policy)| policy.policy_id.as_str());
        self.raised.push(alert.shown(&self.org_id, raised.incident_id.as_deref(), policy_id));
        self.events.push(Event::Raised(raised));
    }

    fn alert(
        &self,
        known: &KnownRule,
        subject: &Subject,
        occasion: Occasion,
        cause: Cause,
        number: u32,
    ) -> AlertRaised {
        let rule = &known.rule;
        let incident_id = subject.incident_id.as_deref();
        let due_at = match occasion {
            Occasion::Due(due_at) => Some(due_at),
            Occasion::Check | Occasion::Happened => None,
        };
        AlertRaised {
            alert_id: alert_id(&self.org_id, &rule.rule_id, incident_id, number),
            rule_id: rule.rule_id.clone(),
            rule_version: rule.version,
            incident_id: incident_id.map(str::to_owned),
            number,
            severity: rule.severity,
            title: match incident_id {
                Some(incident_id) => format!("{}: incident {incident_id}", rule.name),
                None => rule.name.clone(),
            },
            cause,
            at: self.now,
            due_at,
            late: due_at.is_some_and(|due_at| self.now.as_micros() - due_at.as_micros() > LATE_MICROS),
            channels: channels_told(rule, subject.priority, self.policy.map(|(_, policy)| policy)),
            policy: self.policy.map(|(revision, _)| revision),
            escalation_after_minutes: rule.escalation_after_minutes,
        }
    }
}

/// Where a raise is told: the rule's channels, if it names none the priority's, and those of level 1.
pub(in crate::alerts) fn channels_told(
    rule: &AlertRule,
    priority: Option<Priority>,
    policy: Option<&EscalationPolicy>,
) -> Vec<Channel> {
    let own = &rule.notification_channels;
    let by_priority = priority.map_or(&[][..], Priority::channels);
    let mut channels = if own.is_empty() { by_priority.to_vec() } else { own.clone() };
    for &channel in policy.and_then(|policy| policy.level(1)).into_iter().flat_map(|level| &level.channels) {
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    channels
}
