//! Threshold rules are judged when dispatches close their windows: after each message of them, in the order of the journal.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use ionveil_actors::alerts::{ClosedWindow, GetJudgedWindows, JudgeWindow, WindowJudge};
use ionveil_actors::dispatch::{self, Dispatches};
use ionveil_actors::domain::OrgId;
use ionveil_actors::error::Error as ServiceError;
use ionveil_actors::rules::{self, AlertRule, Condition, Rules};
use ionveil_actors::runtime::{Aggregate, Event as _, is_note};
use ionveil_journal::{Journal, Position, Sequence, StreamId};

use super::known::known;
use crate::error::Error;
use crate::instance::IonVeil;

/// Windows under way to one org at a time.
const UNDER_WAY_MAX: usize = 256;

/// The judges of orgs with threshold rules, each with how far it has read.
#[derive(Default)]
pub(crate) struct Judges(Mutex<HashMap<OrgId, Reading>>);

struct Reading {
    /// That of the rules it was made for.
    revision: u64,
    judge: WindowJudge,
    /// The next dispatch to be read, by its sequence.
    next: u64,
}

/// Judges the windows that the org's new dispatches have closed.
pub(super) async fn judge_windows(ionveil: &IonVeil, org: &OrgId) -> Result<(), Error> {
    let known = known(ionveil, org).await?;
    let is_about_windows = |rule: &AlertRule| rule.enabled && matches!(rule.condition, Condition::Threshold(_));
    if !known.rules.rules.iter().any(is_about_windows) {
        return Ok(());
    }
    let taken = ionveil.inner.judges.0.lock().unwrap_or_else(PoisonError::into_inner).remove(org);
    let judged = ionveil.inner.alerts.ask(org.as_str(), GetJudgedWindows, ionveil.caller.clone()).await?;
    let journal = Arc::clone(ionveil.inner.runtime.journal());
    let (rules, stream) = (Arc::clone(&known.rules), StreamId::new(Dispatches::KIND, org.as_str())?);
    let read = move || {
        let mut reading = match taken.filter(|reading| reading.revision == rules.revision) {
            Some(reading) => reading,
            None => {
                let last = |rule: &AlertRule| judged.iter().find(|(id, _, _)| *id == rule.rule_id).map(|it| it.2);
                let since = sequences_of_rules(journal.as_ref(), &stream, &rules.rules)?;
                let told_until =
                    |rule: &AlertRule| last(rule).unwrap_or(0).max(since.get(&rule.rule_id).copied().unwrap_or(0));
                let judge = WindowJudge::new(&rules.rules, told_until);
                // The open windows begin with the dispatches that closed those before; of a changed rule that is not known.
                let start = |rule: &AlertRule| match (last(rule), since.get(&rule.rule_id)) {
                    (Some(last), since) if since.is_none_or(|since| *since <= last) => last,
                    _ => 1,
                };
                let next = rules.rules.iter().filter(|rule| is_about_windows(rule)).map(start);
                Reading { revision: rules.revision, judge, next: next.min().unwrap_or(1).max(1) }
            }
        };
        let closed = read_on(journal.as_ref(), &stream, &mut reading)?;
        Ok((reading, closed))
    };
    let (reading, closed) = ionveil.inner.runtime.run_blocking(read).await?;
    let mut under_way = std::collections::VecDeque::new();
    for window in closed {
        let command = JudgeWindow { window, known: known.clone(), at: None };
        under_way.push_back(ionveil.inner.alerts.tell(org.as_str(), command, ionveil.following()));
        if under_way.len() == UNDER_WAY_MAX
            && let Some(oldest) = under_way.pop_front()
        {
            oldest.await?;
        }
    }
    for reply in under_way {
        reply.await?;
    }
    // Only now: after a failure it is read again, and what was judged counts once.
    ionveil.inner.judges.0.lock().unwrap_or_else(PoisonError::into_inner).insert(org.clone(), reading);
    Ok(())
}

fn read_on(journal: &dyn Journal, stream: &StreamId, reading: &mut Reading) -> Result<Vec<ClosedWindow>, ServiceError> {
    let mut closed = Vec::new();
    let mut failed = None;
    journal.read_stream(stream, Sequence::new(reading.next), Sequence::MAX, &mut |record| {
        let sequence = record.sequence.get();
        if !is_note(record.event_type) {
            match dispatch::Event::decode(record.event_type, record.version, record.codec, record.payload) {
                Ok(dispatch::Event::Recorded(dispatch)) => closed.extend(reading.judge.take(sequence, &dispatch)),
                Ok(_) => {}
                Err(error) => {
                    let (stream, cause) = (record.stream.to_owned(), error.to_string());
                    failed = Some(ServiceError::Corrupt { stream, sequence, cause });
                    return ControlFlow::Break(());
                }
            }
        }
        reading.next = sequence + 1;
        ControlFlow::Continue(())
    })?;
    failed.map_or(Ok(closed), Err)
}

/// For each rule the last dispatch that the journal held before the rule's present version: what that and earlier ones have
/// closed was not for this version to judge.
fn sequences_of_rules(
    journal: &dyn Journal,
    dispatches: &StreamId,
    wanted: &[AlertRule],
) -> Result<HashMap<String, u64>, ServiceError> {
    let mut positions: HashMap<String, Position> = HashMap::new();
    let stream = StreamId::new(Rules::KIND, rules::ALL)?;
    journal.read_stream(&stream, Sequence::FIRST, Sequence::MAX, &mut |record| {
        let event = rules::Event::decode(record.event_type, record.version, record.codec, record.payload);
        if let Ok(rules::Event::Set(set)) = event {
            positions.insert(set.rule.rule_id, record.position);
        }
        ControlFlow::Continue(())
    })?;
    positions.retain(|rule_id, _| wanted.iter().any(|rule| rule.rule_id == *rule_id));
    let mut since = HashMap::new();
    journal.read_stream(dispatches, Sequence::FIRST, Sequence::MAX, &mut |record| {
        let before: Vec<&String> =
            positions.iter().filter(|(_, position)| record.position < **position).map(|(rule_id, _)| rule_id).collect();
        if before.is_empty() {
            return ControlFlow::Break(());
        }
        for rule_id in before {
            since.insert(rule_id.clone(), record.sequence.get());
        }
        ControlFlow::Continue(())
    })?;
    Ok(since)
}
