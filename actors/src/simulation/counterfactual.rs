//! What a proposed policy would have done with the outcomes that an org really recorded.
//!
//! It is an open-loop replay: the outcomes are taken as they were. Had the policy been another, later outcomes might have been
//! too, and no replay can know.

use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::measures::Measures;
use super::result::{as_map, share};
use crate::domain::Timestamp;
use crate::error::Invalid;
use crate::policy::{
    Event, Ladder, Machine, ManuallyMoved, OutcomeRun, PolicyConfigured, PolicyScenario, Reason, Step, Transition,
    TransitionReason,
};

/// A replay under way: takes an org's policy events in order, from the first, and compares.
#[derive(Debug)]
pub struct Counterfactual {
    /// Bounds of the span in microseconds.
    from: Option<i64>,
    to: Option<i64>,
    real: Track,
    proposed: Track,
    stage: Stage,
    outcomes: u64,
    failures: u64,
    /// The first and the latest instant of anything within the span.
    first: Option<i64>,
    last: Option<i64>,
    differences: Vec<Difference>,
    manual: Vec<ManualRecord>,
}

/// Where the replay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Before,
    Within,
    Over,
}

/// What came of a replay.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CounterfactualReport {
    /// What really happened within the span, manual steps included.
    pub real: Vec<Transition>,
    /// What the proposed policy would have done.
    pub proposed: Vec<Transition>,
    /// Outcomes to which the two reacted differently, in order.
    pub differences: Vec<Difference>,
    /// What was done by hand within the span: listed, not applied to the proposed policy.
    pub manual: Vec<ManualRecord>,
    /// Both in figures.
    pub summary: CounterfactualSummary,
}

/// Both policies in figures.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CounterfactualSummary {
    /// The first instant of the span: as asked for, else that of the first outcome. None without any.
    pub from: Option<Timestamp>,
    /// The first instant after the span: as asked for, else just after its last outcome.
    pub to: Option<Timestamp>,
    /// Outcomes within the span.
    pub outcomes: u64,
    /// Failures among them.
    pub failures: u64,
    /// How many outcomes the two reacted to differently.
    pub differences: u64,
    /// What really was.
    pub real: SpanSummary,
    /// What would have been.
    pub proposed: SpanSummary,
    /// What such a replay cannot know.
    pub note: &'static str,
}

/// What a replay cannot know.
pub const OPEN_LOOP_NOTE: &str = "open-loop replay: the outcomes are taken as they were; had the policy been different, later \
                                  outcomes might have been too";

/// One policy over the span.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpanSummary {
    /// The scenario in force at the end.
    pub scenario: String,
    /// The policy at the start.
    pub initial_policy: Arc<str>,
    /// The policy at the end.
    pub final_policy: Arc<str>,
    /// Changes to a stricter policy.
    pub total_escalations: u64,
    /// Changes to a more permissive policy.
    pub total_deescalations: u64,
    /// Seconds in each policy that was met or is on the ladder.
    #[serde(serialize_with = "as_map")]
    pub time_in_each_policy: Vec<(String, f64)>,
    /// What policies are compared by.
    #[serde(flatten)]
    pub measures: Measures,
}

/// One outcome that led the two policies to different steps.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The journal's position of the event that holds the outcome.
    pub position: u64,
    /// Which outcome of that event, from 0.
    pub outcome: u64,
    /// When it was.
    pub at: Timestamp,
    /// Whether it was a success.
    pub is_success: bool,
    /// What the real policy did.
    pub real: Reaction,
    /// What the proposed policy did.
    pub proposed: Reaction,
}

/// What one policy did with an outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Reaction {
    ladder: Arc<Ladder>,
    step: Option<Step>,
    after: Machine,
}

/// Something that was done by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ManualRecord {
    /// The journal's position.
    pub position: u64,
    /// When.
    pub at: Timestamp,
    /// `escalate`, `deescalate`, `reset` or `configure`.
    pub action: &'static str,
    /// The policy before.
    pub from: String,
    /// The policy after.
    pub to: String,
    /// Who did it; of `configure` that is in the audit trail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Why, or the name of the scenario.
    pub reason: String,
}

/// One policy on its way through the span.
#[derive(Debug)]
struct Track {
    scenario: String,
    ladder: Arc<Ladder>,
    machine: Machine,
    initial: Arc<str>,
    transitions: Vec<Transition>,
    escalations: u64,
    deescalations: u64,
    /// By policy, in the order in which they were met.
    micros: Vec<(Arc<str>, i64)>,
    micros_last: i64,
    micros_above: i64,
    /// Since when the present policy is in force.
    since: i64,
    compliant: u64,
    exposed: u64,
}

impl Counterfactual {
    /// A replay of the outcomes in `[from, to)` under a scenario; without bounds, of all.
    ///
    /// # Errors
    /// When the scenario cannot be used, or `from` is not before `to`.
    pub fn new(scenario: &PolicyScenario, from: Option<Timestamp>, to: Option<Timestamp>) -> Result<Self, Invalid> {
        if let (Some(from), Some(to)) = (from, to)
            && from >= to
        {
            return Err(Invalid::new("from", from, format!("before to, which is {to}")));
        }
        Ok(Counterfactual {
            from: from.map(Timestamp::as_micros),
            to: to.map(Timestamp::as_micros),
            // What an org is under until it is configured.
            real: Track::new(&PolicyScenario::default())?,
            proposed: Track::new(scenario)?,
            stage: Stage::Before,
            outcomes: 0,
            failures: 0,
            first: None,
            last: None,
            differences: Vec::new(),
            manual: Vec::new(),
        })
    }

    /// Takes in one event of the org's stream. False when the span is over, and no later event matters.
    pub fn take(&mut self, position: u64, event: &Event) -> bool {
        match event {
            Event::Recorded(event) => {
                let mut before = 0;
                for run in event.outcomes.runs() {
                    self.take_run(position, before, &run);
                    before += run.count;
                }
            }
            Event::Moved(event) => {
                let ManuallyMoved { at, action, from, to, user, reason } = event;
                let user = Some(user.as_str());
                if self.take_manual(position, *at, action.as_str(), (from, to), user, reason) {
                    let transition_reason = TransitionReason::Manual(reason.as_str().into());
                    self.real.move_to(to, *at, transition_reason, user, self.stage);
                }
            }
            Event::Configured(event) => {
                let PolicyConfigured { at, scenario, from, to } = event;
                let scenario = PolicyScenario::from(scenario);
                if self.take_manual(position, *at, "configure", (from, to), None, &scenario.name)
                    && let Ok(ladder) = Ladder::new(&scenario)
                {
                    self.real.configure(scenario.name, ladder, to, *at, self.stage);
                }
            }
        }
        self.stage != Stage::Over
    }

    /// The comparison.
    pub fn finish(mut self) -> CounterfactualReport {
        if self.stage == Stage::Before {
            self.begin(self.from.unwrap_or(0));
        }
        let start = self.from.or(self.first);
        let end = self.to.or(self.last.map(|last| last.saturating_add(1)));
        // Without an end the time up to the last instant counts: of what comes after it nothing is known.
        let until = self.to.or(self.last).unwrap_or(self.real.since);
        self.real.pass(until.max(self.real.since));
        self.proposed.pass(until.max(self.proposed.since));
        let summary = CounterfactualSummary {
            from: start.map(instant),
            to: end.map(instant),
            outcomes: self.outcomes,
            failures: self.failures,
            differences: self.differences.len() as u64,
            real: self.real.summary(self.outcomes, self.failures),
            proposed: self.proposed.summary(self.outcomes, self.failures),
            note: OPEN_LOOP_NOTE,
        };
        CounterfactualReport {
            real: self.real.transitions,
            proposed: self.proposed.transitions,
            differences: self.differences,
            manual: self.manual,
            summary,
        }
    }

    /// The proposed policy starts where the real one is, by name, with nothing counted.
    fn begin(&mut self, at: i64) {
        if self.stage != Stage::Before {
            return;
        }
        self.stage = Stage::Within;
        let start = self.from.unwrap_or(at);
        let name = self.real.policy();
        self.proposed.machine = Machine::at(self.proposed.ladder.level_of(&name).unwrap_or(0));
        self.real.start(start);
        self.proposed.start(start);
    }

    /// The span is over, also one within which nothing happened.
    fn end(&mut self) {
        self.begin(self.to.unwrap_or(0));
        self.stage = Stage::Over;
    }

    /// Notes what was done by hand within the span; whether it came before the end.
    fn take_manual(
        &mut self,
        position: u64,
        at: Timestamp,
        action: &'static str,
        (from, to): (&str, &str),
        user: Option<&str>,
        reason: &str,
    ) -> bool {
        let micros = at.as_micros();
        if self.to.is_some_and(|to| micros >= to) {
            self.end();
            return false;
        }
        if self.from.is_none_or(|from| micros >= from) {
            self.begin(micros);
            self.touch(micros, micros);
            let (from, to, user, reason) = (from.into(), to.into(), user.map(Into::into), reason.into());
            self.manual.push(ManualRecord { position, at, action, from, to, user, reason });
        }
        true
    }

    fn touch(&mut self, first: i64, last: i64) {
        self.first.get_or_insert(first);
        self.last = Some(last);
    }

    /// `before` outcomes of the event came before this run.
    fn take_run(&mut self, position: u64, before: u64, run: &OutcomeRun) {
        let start = self.from.map_or(0, |from| count_before(run, from));
        let end = self.to.map_or(run.count, |to| count_before(run, to)).max(start);
        if self.stage == Stage::Over {
            return;
        }
        if start > 0 {
            self.real.machine.apply_run(&self.real.ladder, run.is_success, start, |_, _| {});
        }
        if start < end {
            self.begin(run.time_of(start));
            self.touch(run.time_of(start), run.time_of(end - 1));
            self.outcomes += end - start;
            self.failures += if run.is_success { 0 } else { end - start };
            self.compare(position, before, run, start, end);
        }
        if end < run.count {
            self.end();
        }
    }

    /// Leads both through the outcomes `number` to `end` of a run, from step to step of either.
    fn compare(&mut self, position: u64, before: u64, run: &OutcomeRun, mut number: u64, end: u64) {
        while number < end {
            let next = |track: &Track| track.machine.until_step(&track.ladder, run.is_success).unwrap_or(u64::MAX);
            let count = next(&self.real).min(next(&self.proposed)).min(end - number);
            number += count;
            let at = run.time_of(number - 1);
            let real = self.real.advance(run.is_success, count, at);
            let proposed = self.proposed.advance(run.is_success, count, at);
            let names = |track: &Track, step: Option<Step>| {
                step.map(|step| (track.ladder.name(step.from).clone(), track.ladder.name(step.to).clone()))
            };
            if (real.is_some() || proposed.is_some()) && names(&self.real, real) != names(&self.proposed, proposed) {
                self.differences.push(Difference {
                    position,
                    outcome: before + number - 1,
                    at: instant(at),
                    is_success: run.is_success,
                    real: self.real.reaction(real),
                    proposed: self.proposed.reaction(proposed),
                });
            }
        }
    }
}

/// How many outcomes of a run come before an instant.
fn count_before(run: &OutcomeRun, instant: i64) -> u64 {
    if run.first >= instant {
        return 0;
    }
    if run.distance <= 0 {
        return run.count;
    }
    let steps = (instant - run.first - 1) / run.distance + 1;
    run.count.min(steps.unsigned_abs())
}

fn instant(micros: i64) -> Timestamp {
    Timestamp::EPOCH.saturating_add_micros(micros)
}

impl Track {
    fn new(scenario: &PolicyScenario) -> Result<Self, Invalid> {
        let ladder = Arc::new(Ladder::new(scenario)?);
        Ok(Track {
            scenario: scenario.name.clone(),
            initial: ladder.name(0).clone(),
            ladder,
            machine: Machine::default(),
            transitions: Vec::new(),
            escalations: 0,
            deescalations: 0,
            micros: Vec::new(),
            micros_last: 0,
            micros_above: 0,
            since: 0,
            compliant: 0,
            exposed: 0,
        })
    }

    fn policy(&self) -> Arc<str> {
        self.ladder.name(self.machine.level).clone()
    }

    fn start(&mut self, at: i64) {
        self.initial = self.policy();
        self.since = at;
    }

    /// The present policy was in force up to this instant.
    fn pass(&mut self, until: i64) {
        let micros = until - self.since;
        let level = self.machine.level;
        self.micros_above += if level > 0 { micros } else { 0 };
        self.micros_last += if self.ladder.is_suspended(level) { micros } else { 0 };
        let name = self.ladder.name(level);
        match self.micros.iter_mut().find(|(met, _)| met == name) {
            Some((_, total)) => *total += micros,
            None => self.micros.push((name.clone(), micros)),
        }
        self.since = until;
    }

    /// Takes in equal outcomes of which only the last, at `at`, may lead to a step.
    fn advance(&mut self, is_success: bool, count: u64, at: i64) -> Option<Step> {
        let before = self.machine;
        if is_success {
            self.compliant += if self.ladder.is_suspended(before.level) { 0 } else { count };
        } else {
            self.exposed += if before.level == 0 { count } else { 0 };
        }
        let mut taken = None;
        self.machine.apply_run(&self.ladder, is_success, count, |_, step| taken = Some(step));
        let step = taken?;
        let after = std::mem::replace(&mut self.machine, before);
        self.pass(at);
        self.machine = after;
        self.count(step.to > step.from);
        self.transitions.push(Transition::of_step(&self.ladder, instant(at), step));
        taken
    }

    fn count(&mut self, is_up: bool) {
        if is_up {
            self.escalations += 1;
        } else {
            self.deescalations += 1;
        }
    }

    fn reaction(&self, step: Option<Step>) -> Reaction {
        Reaction { ladder: Arc::clone(&self.ladder), step, after: self.machine }
    }

    fn move_to(&mut self, to: &str, at: Timestamp, reason: TransitionReason, user: Option<&str>, stage: Stage) {
        let Some(level) = self.ladder.level_of(to) else { return };
        if stage == Stage::Within {
            self.pass(at.as_micros());
            if level != self.machine.level {
                self.count(level > self.machine.level);
            }
            let (from, to) = (self.policy(), self.ladder.name(level).clone());
            self.transitions.push(Transition { from, to, timestamp: at, reason, user: user.map(Into::into) });
        }
        self.machine = Machine::at(level);
    }

    fn configure(&mut self, scenario: String, ladder: Ladder, to: &str, at: Timestamp, stage: Stage) {
        if stage == Stage::Within {
            self.pass(at.as_micros());
        }
        let from = self.policy();
        let level = ladder.level_of(to).unwrap_or(0);
        self.ladder = Arc::new(ladder);
        if *from == *to {
            self.machine.level = level;
        } else {
            self.machine = Machine::at(level);
            if stage == Stage::Within {
                let reason = TransitionReason::Configured(scenario.as_str().into());
                self.transitions.push(Transition { from, to: self.policy(), timestamp: at, reason, user: None });
            }
        }
        self.scenario = scenario;
    }

    fn summary(&self, outcomes: u64, failures: u64) -> SpanSummary {
        let seconds = |micros: i64| micros as f64 / 1e6;
        let spent = |name: &Arc<str>| self.micros.iter().find(|(met, _)| met == name).map_or(0, |(_, micros)| *micros);
        // The ladder's policies in their order, then those of earlier ladders.
        let on_ladder = self.ladder.names().iter().map(|name| (name.to_string(), seconds(spent(name))));
        let others = self.micros.iter().filter(|(met, _)| self.ladder.level_of(met).is_none());
        let time_in_each_policy =
            on_ladder.chain(others.map(|(name, micros)| (name.to_string(), seconds(*micros)))).collect();
        let total: i64 = self.micros.iter().map(|(_, micros)| micros).sum();
        SpanSummary {
            scenario: self.scenario.clone(),
            initial_policy: self.initial.clone(),
            final_policy: self.policy(),
            total_escalations: self.escalations,
            total_deescalations: self.deescalations,
            time_in_each_policy,
            measures: Measures::of_times(
                seconds(total),
                seconds(self.micros_last),
                seconds(self.micros_above),
                self.escalations + self.deescalations,
                share(self.compliant, outcomes, 1.0),
                share(self.exposed, failures, 0.0),
            ),
        }
    }
}

impl Reaction {
    /// The policy in force after the outcome.
    pub fn policy(&self) -> &Arc<str> {
        self.ladder.name(self.after.level)
    }

    /// What was done, and why: for sentences that name the policy before and go on after.
    fn in_words(&self, is_success: bool) -> String {
        let policy = self.policy();
        if let Some(step) = self.step {
            return match step.reason {
                Reason::FailureBurst(count) => format!("escalated to {policy} at a failure burst of {count}"),
                Reason::SuccessStreak(count) => format!("de-escalated to {policy} at a success streak of {count}"),
            };
        }
        let Machine { level, failure_burst, success_streak } = self.after;
        if is_success {
            match self.ladder.deescalation_threshold(level) {
                _ if level == 0 => format!("stayed at {policy}, because it is the first of its ladder"),
                Some(threshold) => {
                    format!("stayed at {policy}, because its streak was {success_streak} of {threshold}")
                }
                None => format!("stayed at {policy}, because no streak leads down from it"),
            }
        } else if level == self.ladder.last() {
            format!("stayed at {policy}, because it is the last of its ladder")
        } else {
            let threshold = self.ladder.escalation_threshold();
            format!("stayed at {policy}, because its burst was {failure_burst} of {threshold}")
        }
    }
}

impl Difference {
    /// The difference in a sentence.
    pub fn because(&self) -> impl fmt::Display + '_ {
        Because(self)
    }
}

struct Because<'a>(&'a Difference);

impl fmt::Display for Because<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { is_success, real, proposed, .. } = self.0;
        let (real, proposed) = (real.in_words(*is_success), proposed.in_words(*is_success));
        write!(f, "the real policy {real}; the proposed one {proposed}")
    }
}

impl Serialize for Difference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Difference", 6)?;
        object.serialize_field("position", &self.position)?;
        object.serialize_field("outcome", &self.outcome)?;
        object.serialize_field("at", &self.at)?;
        object.serialize_field("real", self.real.policy())?;
        object.serialize_field("proposed", self.proposed.policy())?;
        object.serialize_field("because", &format_args!("{}", self.because()))?;
        object.end()
    }
}
