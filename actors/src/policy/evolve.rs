//! State and event to state.

use super::event::{Event, ManuallyMoved, OutcomesRecorded, PolicyConfigured, StoredStep, instant};
use super::machine::{Ladder, Machine, Step};
use super::outcome_log::OutcomeLog;
use super::scenario::PolicyScenario;
use super::state::{OrgPolicy, Transition, TransitionReason};
use crate::domain::Timestamp;
use crate::error::Corrupt;

pub(super) fn evolve(state: &mut OrgPolicy, event: &Event) -> Result<(), Corrupt> {
    match event {
        Event::Recorded(event) => recorded(state, event),
        Event::Moved(event) => moved(state, event),
        Event::Configured(event) => configured(state, event),
    }
}

/// Runs the machine over a log; says each step with the number of its outcome and the instant in microseconds.
pub(super) fn walk(
    machine: &mut Machine,
    ladder: &Ladder,
    outcomes: &OutcomeLog,
    mut on_step: impl FnMut(u64, i64, Step),
) {
    let mut before = 0;
    for run in outcomes.runs() {
        machine.apply_run(ladder, run.is_success, run.count, |number, step| {
            on_step(before + number, run.time_of(number), step);
        });
        before += run.count;
    }
}

fn recorded(state: &mut OrgPolicy, event: &OutcomesRecorded) -> Result<(), Corrupt> {
    let mut last = state.last_at.map_or(i64::MIN, Timestamp::as_micros);
    for run in event.outcomes.runs() {
        if run.first < last || run.distance < 0 {
            return Err(Corrupt("outcomes go back in time".into()));
        }
        last = run.time_of(run.count - 1);
    }
    // What is stored with the outcomes is what was acted upon; another machine than the one that wrote it is noticed here.
    let mut stored = event.steps.iter();
    let mut differs = false;
    let OrgPolicy { machine, ladder, history, .. } = state;
    walk(machine, ladder, &event.outcomes, |outcome, at, step| {
        let lived = StoredStep { outcome, from_level: step.from, to_level: step.to, reason: step.reason };
        differs |= stored.next() != Some(&lived);
        history.push(Transition::of_step(ladder, instant(at), step));
    });
    if differs || stored.next().is_some() {
        return Err(Corrupt("the outcomes do not lead to the steps that are stored with them".into()));
    }
    if event.outcomes.count() > 0 {
        state.last_at = Some(Timestamp::from_micros(last).ok_or_else(|| Corrupt(format!("{last} µs is no instant")))?);
    }
    Ok(())
}

fn moved(state: &mut OrgPolicy, event: &ManuallyMoved) -> Result<(), Corrupt> {
    let ManuallyMoved { at, from, to, user, reason, .. } = event;
    check_place(state, *at, from)?;
    let level = state.ladder.level_of(to).ok_or_else(|| Corrupt(format!("{to} is not on the ladder")))?;
    state.history.push(Transition {
        from: state.policy().clone(),
        to: state.ladder.name(level).clone(),
        timestamp: *at,
        reason: TransitionReason::Manual(reason.as_str().into()),
        user: Some(user.as_str().into()),
    });
    state.machine = Machine::at(level);
    state.last_at = Some(*at);
    Ok(())
}

fn configured(state: &mut OrgPolicy, event: &PolicyConfigured) -> Result<(), Corrupt> {
    let PolicyConfigured { at, scenario, from, to } = event;
    check_place(state, *at, from)?;
    let scenario = PolicyScenario::from(scenario);
    let ladder = Ladder::new(&scenario).map_err(|invalid| Corrupt(invalid.to_string()))?;
    let level = ladder.level_of(to).ok_or_else(|| Corrupt(format!("{to} is not on the ladder")))?;
    if from == to {
        state.machine.level = level;
    } else {
        state.history.push(Transition {
            from: state.policy().clone(),
            to: ladder.name(level).clone(),
            timestamp: *at,
            reason: TransitionReason::Configured(scenario.name.as_str().into()),
            user: None,
        });
        state.machine = Machine::at(level);
    }
    (state.scenario, state.ladder, state.last_at) = (scenario, ladder, Some(*at));
    Ok(())
}

fn check_place(state: &OrgPolicy, at: Timestamp, from: &str) -> Result<(), Corrupt> {
    if state.last_at.is_some_and(|last| at < last) {
        return Err(Corrupt(format!("{at} is before what happened last")));
    }
    if **state.policy() != *from {
        return Err(Corrupt(format!("the policy is {}, not {from}", state.policy())));
    }
    Ok(())
}
