//! The state machine of policies: outcomes lead up and down a ladder. The live engine of an org, the simulator, replays and
//! sweeps all run this one.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::scenario::PolicyScenario;
use crate::error::Invalid;

/// A checked scenario as the machine reads it: levels are numbers from 0, the most permissive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder {
    names: Arc<[Arc<str>]>,
    escalation_threshold: u64,
    /// By level; [`Ladder::NEVER`] where no success leads down.
    deescalation_thresholds: Box<[u64]>,
}

impl Ladder {
    const NEVER: u64 = u64::MAX;

    /// The ladder of a scenario.
    ///
    /// # Errors
    /// As [`PolicyScenario::check`].
    pub fn new(scenario: &PolicyScenario) -> Result<Self, Invalid> {
        scenario.check()?;
        let threshold = |name: &String| match scenario.deescalation_thresholds.get(name) {
            Some(streak) => streak.unsigned_abs(),
            None => Self::NEVER,
        };
        Ok(Ladder {
            names: scenario.policy_order.iter().map(|name| name.as_str().into()).collect(),
            escalation_threshold: scenario.escalation_threshold.unsigned_abs(),
            deescalation_thresholds: scenario.policy_order.iter().map(threshold).collect(),
        })
    }

    /// How many levels there are, at least 1.
    #[allow(clippy::len_without_is_empty, reason = "a ladder is never empty")]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The highest level.
    pub fn last(&self) -> u32 {
        (self.names.len() - 1) as u32
    }

    /// The policy of a level.
    ///
    /// # Panics
    /// When there is no such level.
    pub fn name(&self, level: u32) -> &Arc<str> {
        &self.names[level as usize]
    }

    /// The names by level.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The level of a policy.
    pub fn level_of(&self, name: &str) -> Option<u32> {
        self.names.iter().position(|policy| &**policy == name).map(|level| level as u32)
    }

    /// The failure burst that leads one level up.
    pub fn escalation_threshold(&self) -> u64 {
        self.escalation_threshold
    }

    /// The success streak that leads from a level one down; `None` from the first, and where there is no threshold.
    pub fn deescalation_threshold(&self, level: u32) -> Option<u64> {
        Some(self.deescalation_thresholds[level as usize]).filter(|&streak| streak != Self::NEVER)
    }

    /// Whether outcomes that arrive at this level meet suspended operations: the last of two levels or more.
    pub fn is_suspended(&self, level: u32) -> bool {
        level > 0 && level == self.last()
    }
}

/// Where a policy stands: its level and the two counters. The default is the first level with nothing counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// From 0, the most permissive.
    pub level: u32,
    /// Consecutive failures since the last success or escalation.
    pub failure_burst: u64,
    /// Consecutive successes since the last failure or transition.
    pub success_streak: u64,
}

/// One level up or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The level before.
    pub from: u32,
    /// The level after.
    pub to: u32,
    /// What it took.
    pub reason: Reason,
}

/// What leads to another level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// As many failures in a row.
    FailureBurst(u64),
    /// As many successes in a row.
    SuccessStreak(u64),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::FailureBurst(count) => write!(f, "failure_burst:{count}"),
            Reason::SuccessStreak(count) => write!(f, "success_streak:{count}"),
        }
    }
}

impl Machine {
    /// The first level of a ladder, or another, with nothing counted.
    pub fn at(level: u32) -> Self {
        Machine { level, ..Machine::default() }
    }

    /// Takes in one outcome.
    pub fn apply(&mut self, ladder: &Ladder, is_success: bool) -> Option<Step> {
        let mut taken = None;
        self.apply_run(ladder, is_success, 1, |_, step| taken = Some(step));
        taken
    }

    /// Takes in `count` equal outcomes; says each step together with the outcome that led to it, counted from 0. Takes as
    /// long as there are steps, not as there are outcomes.
    #[inline]
    pub fn apply_run(&mut self, ladder: &Ladder, is_success: bool, count: u64, on_step: impl FnMut(u64, Step)) {
        if is_success {
            self.successes(ladder, count, on_step);
        } else {
            self.failures(ladder, count, on_step);
        }
    }

    /// How many more equal outcomes lead to the next step; `None` when none ever do.
    #[inline]
    pub fn until_step(&self, ladder: &Ladder, is_success: bool) -> Option<u64> {
        // A counter that is past its threshold already, after a change of the ladder, still needs one outcome more.
        if is_success {
            let threshold = ladder.deescalation_thresholds[self.level as usize];
            let can_step = self.level > 0 && threshold != Ladder::NEVER;
            can_step.then(|| threshold.saturating_sub(self.success_streak).max(1))
        } else {
            let can_step = self.level < ladder.last();
            can_step.then(|| ladder.escalation_threshold.saturating_sub(self.failure_burst).max(1))
        }
    }

    #[inline]
    fn failures(&mut self, ladder: &Ladder, count: u64, mut on_step: impl FnMut(u64, Step)) {
        self.success_streak = 0;
        let mut left = count;
        while let Some(needed) = self.until_step(ladder, false).filter(|&needed| needed <= left) {
            left -= needed;
            let reason = Reason::FailureBurst(self.failure_burst + needed);
            let step = Step { from: self.level, to: self.level + 1, reason };
            // The burst starts anew: one outage climbs one level per threshold, not one per failure.
            *self = Machine::at(step.to);
            on_step(count - left - 1, step);
        }
        self.failure_burst = self.failure_burst.saturating_add(left);
    }

    #[inline]
    fn successes(&mut self, ladder: &Ladder, count: u64, mut on_step: impl FnMut(u64, Step)) {
        self.failure_burst = 0;
        let mut left = count;
        while let Some(needed) = self.until_step(ladder, true).filter(|&needed| needed <= left) {
            left -= needed;
            let reason = Reason::SuccessStreak(self.success_streak + needed);
            let step = Step { from: self.level, to: self.level - 1, reason };
            *self = Machine::at(step.to);
            on_step(count - left - 1, step);
        }
        self.success_streak = self.success_streak.saturating_add(left);
    }
}
