//! A window of a threshold rule was closed: is the rule met by it?

use super::raise::{Draft, Occasion, Subject};
use super::{Taken, instant, take};
use crate::alerts::alert::Alert;
use crate::alerts::command::JudgeWindow;
use crate::alerts::event::{Event, WindowJudged};
use crate::alerts::evolve::threshold_cause;
use crate::alerts::state::Alerts;
use crate::error::Error;
use crate::rules::Condition;
use crate::runtime::{Command, Decision, Given};

impl Command<Alerts> for JudgeWindow {
    type Reply = Vec<Alert>;

    fn decide(self, state: &Alerts, given: &Given) -> Result<Decision<Event, Vec<Alert>>, Error> {
        let now = instant(self.at, given, None)?;
        let window = self.window;
        let Taken { org_id, book, policy, events } = take(state, &self.known, now);
        // A rule that has changed since is judged on the next window.
        let known = book.by_id(&window.rule_id).filter(|known| known.rule.enabled);
        let threshold = known.filter(|known| known.rule.version == window.rule_version).and_then(|known| {
            let Condition::Threshold(threshold) = &known.rule.condition else { return None };
            Some((known, threshold))
        });
        let Some((known, threshold)) = threshold else { return Ok(Decision { events, reply: vec![] }) };
        let last = state.windows.get(&known.number);
        if last.is_some_and(|last| last.end >= window.window_end) {
            return Ok(Decision { events, reply: vec![] });
        }
        let met = window.value.is_some_and(|value| threshold.op.holds(value, threshold.value));
        let says_nothing = !met && window.samples == 0 && last.is_none_or(|last| !last.met);
        if says_nothing {
            return Ok(Decision { events, reply: vec![] });
        }
        let judged = WindowJudged {
            rule_id: window.rule_id,
            rule_version: window.rule_version,
            window_start: window.window_start,
            window_end: window.window_end,
            value: window.value,
            samples: window.samples,
            met,
            closed_by: window.closed_by,
            at: now,
        };
        let mut draft = Draft::new(state, org_id, &book, policy, now);
        draft.events = events;
        let cause = threshold_cause(&known.rule, &judged);
        draft.events.push(Event::WindowJudged(judged));
        if let Some(cause) = cause.filter(|_| met) {
            let subject = Subject { slot: None, incident_id: None, priority: None };
            draft.consider(known, &subject, Occasion::Happened, cause);
        }
        Ok(Decision { events: draft.events, reply: draft.raised })
    }
}
