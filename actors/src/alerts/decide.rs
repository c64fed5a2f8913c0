//! State and command to decision or refusal: what all commands share. The commands themselves are in the files beside it.

mod check;
mod due;
mod lifecycle;
mod raise;
mod suppress;
mod window;

pub(super) use check::{outcome_change, patterns_fired};
pub(super) use due::steps_due;
pub(super) use raise::channels_told;

use std::borrow::Cow;

use super::alert::{AlertIndex, AlertState, cannot_be};
use super::command::{Known, TakeKnown};
use super::event::{Event, PolicyTaken, RulesTaken};
use super::known::RuleBook;
use super::state::Alerts;
use crate::domain::{OrgId, Timestamp, check_label};
use crate::error::{Error, Invalid};
use crate::escalation::EscalationPolicy;
use crate::runtime::{Command, Decision, Given};

use uuid::Uuid;

/// Longest note or reason, in characters.
const NOTE_CHARS_MAX: usize = 4_096;

/// The instant a command counts from: the one it names, which may not be before `last`, else the clock's.
fn instant(at: Option<Timestamp>, given: &Given, last: Option<Timestamp>) -> Result<Timestamp, Invalid> {
    match (at.or(given.caller.now), last) {
        (Some(at), Some(last)) if at < last => {
            Err(Invalid::new("now", at, format!("{last} or later, the last instant of what it touches")))
        }
        (Some(at), _) => Ok(at),
        // The machine's clock may have been set back: what happens next is not before what happened last.
        (None, last) => Ok(last.map_or(given.now, |last| given.now.max(last))),
    }
}

/// The org's rules and policy as they will be once what is newer has been taken over.
struct Taken<'a> {
    org_id: OrgId,
    book: Cow<'a, RuleBook>,
    policy: Option<(u64, &'a EscalationPolicy)>,
    events: Vec<Event>,
}

fn take<'a>(state: &'a Alerts, known: &'a Known, at: Timestamp) -> Taken<'a> {
    let mut events = Vec::new();
    // The org's name has to be known before anything is raised, so the first takeover is recorded even without a rule.
    let book = if known.rules.revision > state.book.revision || state.org_id.is_none() {
        let rules = known.rules.rules.iter().cloned();
        events.push(Event::RulesTaken(RulesTaken {
            org_id: known.org_id.clone(),
            revision: known.rules.revision,
            at,
            rules: rules.clone().map(Into::into).collect(),
        }));
        Cow::Owned(state.book.after(known.rules.revision, rules, at))
    } else {
        Cow::Borrowed(&state.book)
    };
    let present = state.policy();
    let policy = match &known.policy {
        Some(newer) if present.is_none_or(|(revision, _)| newer.revision > revision) => {
            let (revision, policy) = (newer.revision, &newer.policy);
            events.push(Event::PolicyTaken(PolicyTaken { revision, at, policy: policy.clone() }));
            Some((revision, policy))
        }
        _ => present,
    };
    Taken { org_id: known.org_id.clone(), book, policy, events }
}

impl Command<Alerts> for TakeKnown {
    type Reply = bool;

    fn decide(self, state: &Alerts, given: &Given) -> Result<Decision<Event, bool>, Error> {
        let at = instant(self.at, given, None)?;
        // An org that nothing ever happened to has nothing to judge anew.
        if state.org_id.is_none() {
            return Ok(Decision { events: vec![], reply: false });
        }
        let Taken { events, .. } = take(state, &self.known, at);
        let reply = !events.is_empty();
        Ok(Decision { events, reply })
    }
}

/// An alert that has to be there.
fn found(state: &Alerts, alert_id: Uuid) -> Result<(AlertIndex, &AlertState), Error> {
    let found = state.alerts.index(alert_id).and_then(|index| Some((index, state.alerts.get(index)?)));
    found.ok_or_else(|| Error::NotFound { what: "alert", id: alert_id.to_string() })
}

fn conflict(alert: &AlertState, wanted: &str) -> Error {
    cannot_be(alert.id, alert.status, wanted)
}

/// Checks who did something: anybody but the system itself.
fn check_user(field: &str, user: &str) -> Result<(), Invalid> {
    check_label(field, user)?;
    if user == super::SYSTEM {
        return Err(Invalid::new(field, format_args!("{user:?}"), "any name but that of the system itself"));
    }
    Ok(())
}

/// Checks a text that has to say something.
fn check_note(field: &str, note: &str) -> Result<(), Invalid> {
    let chars = note.chars().count();
    if note.trim().is_empty() {
        return Err(Invalid::new(field, format_args!("{note:?}"), "a text that says something"));
    }
    if chars > NOTE_CHARS_MAX {
        let allowed = format!("at most {NOTE_CHARS_MAX} characters");
        return Err(Invalid::new(field, format_args!("{chars} characters"), allowed));
    }
    Ok(())
}
