//! Where an alert goes next on its chain, and when: arithmetic without state.
//!
//! A chain runs through the levels of a policy, waits at each for its timeout and, when the policy repeats, starts again
//! at level 1. Every step counts, whoever takes it. Without a policy there are four levels and three steps, of which only
//! one comes by itself, and that only when the alert's rule asks for it.

use serde::{Deserialize, Serialize};

use super::policy::EscalationPolicy;
use crate::domain::{MICROS_PER_MINUTE, Timestamp};

/// The highest level there is.
pub const LEVEL_LAST: u8 = 4;
/// Steps that an alert without a policy may take.
pub const STEPS_WITHOUT_POLICY: u32 = 3;

/// Where an alert stands on its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// 1 to 4.
    pub level: u8,
    /// Counts every start of the chain, from 1.
    pub cycle: u32,
    /// Steps taken so far.
    pub steps: u32,
    /// When it got there.
    pub since: Timestamp,
}

/// A step that lies ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// When it is due.
    pub at: Timestamp,
    /// The level it leads to.
    pub level: u8,
    /// The cycle it leads to.
    pub cycle: u32,
}

/// The step that an alert which nobody answers takes next; `None` at the end of its chain.
///
/// `escalation_after_minutes` is the rule's: in the first cycle it takes the place of level 1's timeout. A level whose
/// people cannot be told is passed at once, unless the alert was raised there.
pub fn after_timeout(
    policy: Option<&EscalationPolicy>,
    escalation_after_minutes: Option<u32>,
    step: Step,
) -> Option<Next> {
    let Some(policy) = policy else {
        let minutes = escalation_after_minutes.filter(|_| step.level == 1 && step.steps == 0)?;
        return Some(Next { at: minutes_after(step.since, minutes), level: 2, cycle: step.cycle });
    };
    if step.steps >= policy.max_escalations {
        return None;
    }
    let level = policy.level(step.level);
    let is_first = step.level == 1 && step.cycle == 1;
    let timeout = match level {
        Some(level) if level.channels.is_empty() && step.steps > 0 => 0,
        Some(level) => escalation_after_minutes.filter(|_| is_first).unwrap_or(level.timeout_minutes),
        None => 0,
    };
    if step.level < policy.last_level() {
        return Some(Next { at: minutes_after(step.since, timeout), level: step.level + 1, cycle: step.cycle });
    }
    let repeat = policy.repeat_after_minutes?;
    Some(Next { at: minutes_after(step.since, timeout.saturating_add(repeat)), level: 1, cycle: step.cycle + 1 })
}

/// The step that somebody takes by hand now.
///
/// # Errors
/// Why there is none: the steps are used up, or the last level is the end.
pub fn by_hand(policy: Option<&EscalationPolicy>, step: Step, now: Timestamp) -> Result<Next, String> {
    let steps_max = policy.map_or(STEPS_WITHOUT_POLICY, |policy| policy.max_escalations);
    if step.steps >= steps_max {
        return Err(format!("it has taken all of its {steps_max} escalations"));
    }
    let last = policy.map_or(LEVEL_LAST, EscalationPolicy::last_level);
    if step.level < last {
        return Ok(Next { at: now, level: step.level + 1, cycle: step.cycle });
    }
    match policy.and_then(|policy| policy.repeat_after_minutes) {
        Some(_) => Ok(Next { at: now, level: 1, cycle: step.cycle + 1 }),
        None => Err(format!("it is on the last level, {last}, and the chain does not repeat")),
    }
}

/// When an alert that was acknowledged at `acknowledged` and never resolved starts again at level 1.
pub fn after_acknowledgement(policy: Option<&EscalationPolicy>, step: Step, acknowledged: Timestamp) -> Option<Next> {
    let policy = policy.filter(|policy| step.steps < policy.max_escalations)?;
    let at = minutes_after(acknowledged, policy.ack_timeout_minutes?);
    Some(Next { at, level: 1, cycle: step.cycle + 1 })
}

fn minutes_after(at: Timestamp, minutes: u32) -> Timestamp {
    at.saturating_add_micros(i64::from(minutes) * MICROS_PER_MINUTE)
}
