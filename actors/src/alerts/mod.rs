//! `alerts/{org}`: the incidents an org watches, its alerts with their levels and timers, its suppressions.
//!
//! It is the consistency boundary of everything that races: one unresolved alert per rule and incident; acknowledging,
//! resolving and escalating one alert; a suppression and what it holds back. It guards that
//! - every warning and breach of an open incident comes due once, at its instant, and late rather than never;
//! - what is not raised is journaled with the reason;
//! - an alert keeps the rule version and the escalation policy it was raised with.
//!
//! The org's rules and its escalation policy are taken over from `rules/all` and `escalation/{org}` as events of this
//! stream, so that it alone says what was judged by what.
//!
//! Reading order: `condition` (when is a rule met), `incident`, `watch` and `alert` (what is known of each), `event`,
//! `command` with `decide` and the files under it, `evolve`, `query`.

mod alert;
mod command;
mod condition;
mod decide;
mod event;
mod evolve;
mod explain;
mod forget;
mod incident;
mod known;
mod pattern;
mod places;
mod policy_what_if;
mod query;
mod reply;
mod snapshot;
mod state;
mod suppression;
#[cfg(test)]
mod tests;
mod watch;
mod what_if;
mod window_judge;

pub use alert::{Alert, AlertStatus, Change, EscalationEntry};
pub use command::{
    AcknowledgeAlert, AddSuppression, CheckIncident, CheckReport, EscalateAlert, EscalateDue, HeldBack, JudgeWindow,
    Known, RemoveSuppression, ResolveAlert, RunDue, RunDueReport, TakeKnown,
};
pub use event::{
    AlertAcknowledged, AlertEscalated, AlertHeldBack, AlertRaised, AlertRecurred, AlertResolved, AlertSuppressed,
    Cause, Event, HeldBecause, IncidentChecked, IncidentDue, PolicyTaken, RELEASED, RuleDue, RulesTaken,
    SuppressionAdded, SuppressionRemoved, WindowJudged,
};
pub use explain::{Decision as ExplainedDecision, Explainer};
pub use forget::{Forgotten, History, OVER_KEPT_DAYS};
pub use incident::IncidentStatus;
pub use policy_what_if::{MovedStep, PolicyWhatIf, PolicyWhatIfRun, WhatIfStep};
pub use query::{
    GetActiveAlerts, GetActiveSuppressions, GetAlert, GetForgotten, GetJudgedWindows, GetLastChange, GetNextDue,
    GetOpenIncidents, GetSuppression, GetViolations, IsSuppressed, SlaViolation, Wanted,
};
pub use state::Alerts;
pub use suppression::Suppression;
pub use what_if::{WhatIf, WhatIfAlert, WhatIfRun};
pub use window_judge::{ClosedWindow, WindowJudge};

use ionveil_journal::StreamKind;

use crate::domain::Timestamp;
use crate::error::Error;
use crate::runtime::{Abilities, Aggregate, Command as _, Given, Timed};

/// Who stands for IonVeil itself in histories.
pub const SYSTEM: &str = "system";
/// What comes due may be raised so many microseconds after its instant before it counts as late.
pub const LATE_MICROS: i64 = 1_000_000;

impl Aggregate for Alerts {
    const KIND: StreamKind = StreamKind::new("alerts");
    const ABILITIES: Abilities<Self> = Abilities::NONE.with_timers().with_snapshots();
    type Event = Event;

    fn evolve(&mut self, event: &Event) -> Result<(), crate::error::Corrupt> {
        evolve::evolve(self, event)
    }
}

/// What a wake does at least before it leaves the rest to the next one, so that askers get their turn in between.
const WAKE_ITEMS_MAX: usize = 1_000;

impl Timed for Alerts {
    fn next_wake(&self) -> Option<Timestamp> {
        self.next_due()
    }

    fn on_wake(&self, given: &Given) -> Result<Vec<Event>, Error> {
        Ok(RunDue { items_max: WAKE_ITEMS_MAX }.decide(self, given)?.events)
    }
}
