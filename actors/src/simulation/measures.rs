//! What policies are compared by, scores, and the Pareto front.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::pattern::PreparedPattern;
use super::result::{SimulationResult, share};
use super::run::Totals;
use crate::error::Invalid;

/// One thing that policies are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Measure {
    /// Share of events that succeeded and met no suspended operations; higher is better.
    SlaComplianceRate,
    /// Share of time in the last policy, 0 for a ladder of one; lower is better.
    LastPolicyShare,
    /// Share of time above the first policy; lower is better.
    ElevatedShare,
    /// Changes of policy per hour; lower is better.
    TransitionsPerHour,
    /// Share of failures that met the first policy; lower is better, since a policy that never reacts is not a good one.
    Exposure,
}

impl Measure {
    /// Every measure, in the order in which they are shown.
    pub const ALL: [Measure; 5] = [
        Measure::SlaComplianceRate,
        Measure::LastPolicyShare,
        Measure::ElevatedShare,
        Measure::TransitionsPerHour,
        Measure::Exposure,
    ];

    /// Its name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Measure::SlaComplianceRate => "sla_compliance_rate",
            Measure::LastPolicyShare => "last_policy_share",
            Measure::ElevatedShare => "elevated_share",
            Measure::TransitionsPerHour => "transitions_per_hour",
            Measure::Exposure => "exposure",
        }
    }

    /// Whether more of it is better.
    pub fn is_higher_better(self) -> bool {
        matches!(self, Measure::SlaComplianceRate)
    }

    /// Whether `a` is better than `b`.
    pub fn is_better(self, a: f64, b: f64) -> bool {
        if self.is_higher_better() { a > b } else { a < b }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Measure {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let found = Self::ALL.into_iter().find(|measure| measure.as_str() == text);
        found.ok_or_else(|| Invalid::new("measure", text, Self::ALL.map(Self::as_str).join(", ")))
    }
}

/// The measures of one run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measures {
    /// See [`Measure::SlaComplianceRate`].
    pub sla_compliance_rate: f64,
    /// See [`Measure::LastPolicyShare`].
    pub last_policy_share: f64,
    /// See [`Measure::ElevatedShare`].
    pub elevated_share: f64,
    /// See [`Measure::TransitionsPerHour`].
    pub transitions_per_hour: f64,
    /// See [`Measure::Exposure`].
    pub exposure: f64,
}

impl Measures {
    /// The measures of a completed result.
    pub fn of_result(result: &SimulationResult) -> Self {
        let seconds: Vec<f64> = result.time_in_each_policy.iter().map(|(_, seconds)| *seconds).collect();
        let transitions = result.total_escalations + result.total_deescalations;
        Self::new(&seconds, transitions, result.sla_compliance_rate, result.exposure)
    }

    /// The measures of a run over a pattern.
    pub fn of_totals(totals: &Totals, pattern: &PreparedPattern) -> Self {
        let seconds: Vec<f64> = totals.micros_by_level.iter().map(|&micros| micros as f64 / 1e6).collect();
        let compliance = share(totals.compliant, pattern.len() as u64, 1.0);
        let exposure = share(totals.exposed, pattern.failures(), 0.0);
        Self::new(&seconds, totals.escalations + totals.deescalations, compliance, exposure)
    }

    /// From seconds by level, of which there is at least one.
    pub(super) fn new(seconds: &[f64], transitions: u64, sla_compliance_rate: f64, exposure: f64) -> Self {
        let duration: f64 = seconds.iter().sum();
        // From 0 on: the sum of nothing is −0.
        let above = seconds[1..].iter().fold(0.0, |above, seconds| above + seconds);
        let last = if seconds.len() > 1 { seconds[seconds.len() - 1] } else { 0.0 };
        Self::of_times(duration, last, above, transitions, sla_compliance_rate, exposure)
    }

    /// From seconds in all, in the last policy, and above the first. Of no time at all every share is 0.
    pub(super) fn of_times(
        duration: f64,
        last: f64,
        above: f64,
        transitions: u64,
        sla_compliance_rate: f64,
        exposure: f64,
    ) -> Self {
        let per_time = |value: f64| if duration > 0.0 { value / duration } else { 0.0 };
        Measures {
            sla_compliance_rate,
            last_policy_share: per_time(last),
            elevated_share: per_time(above),
            transitions_per_hour: per_time(transitions as f64 * 3_600.0),
            exposure,
        }
    }

    /// The value of one measure.
    pub fn get(&self, measure: Measure) -> f64 {
        match measure {
            Measure::SlaComplianceRate => self.sla_compliance_rate,
            Measure::LastPolicyShare => self.last_policy_share,
            Measure::ElevatedShare => self.elevated_share,
            Measure::TransitionsPerHour => self.transitions_per_hour,
            Measure::Exposure => self.exposure,
        }
    }

    /// Whether this is nowhere worse than the other, and somewhere better.
    pub fn dominates(&self, other: &Measures) -> bool {
        let worse = |measure: Measure| measure.is_better(other.get(measure), self.get(measure));
        let better = |measure: Measure| measure.is_better(self.get(measure), other.get(measure));
        !Measure::ALL.into_iter().any(worse) && Measure::ALL.into_iter().any(better)
    }
}

/// How much each measure counts in a score; 1 unless it is said otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights([f64; Measure::ALL.len()]);

impl Default for Weights {
    fn default() -> Self {
        Weights([1.0; Measure::ALL.len()])
    }
}

impl Weights {
    /// The largest weight: with it scores are still finite, and a measure of weight 1 still counts.
    pub const MAX: f64 = 1e9;

    /// Sets the weight of a measure: a number, 0 to [`Weights::MAX`].
    ///
    /// # Errors
    /// When it is not.
    pub fn set(&mut self, measure: Measure, weight: f64) -> Result<(), Invalid> {
        if !(0.0..=Self::MAX).contains(&weight) {
            let field = format!("weights.{measure}");
            return Err(Invalid::new(field, weight, format!("a number, 0 to {}", Self::MAX)));
        }
        self.0[measure as usize] = weight;
        Ok(())
    }

    /// The weight of a measure.
    pub fn get(&self, measure: Measure) -> f64 {
        self.0[measure as usize]
    }
}

/// How some policies compare.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// By policy, in the order given: the weighted sum of its measures, each from 0 (best of all) to 1 (worst of all).
    pub scores: Vec<f64>,
    /// By policy, whether no other dominates it.
    pub is_pareto: Vec<bool>,
}

impl Ranking {
    /// Compares policies with one another.
    pub fn of(policies: &[Measures], weights: &Weights) -> Self {
        let mut scores = vec![0.0; policies.len()];
        for measure in Measure::ALL {
            let values = || policies.iter().map(|policy| policy.get(measure));
            let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
            for (score, value) in scores.iter_mut().zip(values()) {
                let distance = if measure.is_higher_better() { high - value } else { value - low };
                // Where all are equal nobody is worse.
                let normalised = if high > low { distance / (high - low) } else { 0.0 };
                *score += weights.get(measure) * normalised;
            }
        }
        Ranking { scores, is_pareto: pareto_front(policies) }
    }
}

/// Which of them no other dominates. In the order of a weighted sum none is dominated by a later one, so each is compared with
/// the front found so far only.
fn pareto_front(policies: &[Measures]) -> Vec<bool> {
    let costs = |policy: &Measures| {
        Measure::ALL.map(|measure| policy.get(measure) * if measure.is_higher_better() { -1.0 } else { 1.0 })
    };
    // Rounding may make sums equal that are not; then the first measure that differs decides.
    let key = |index: &usize| {
        let costs = costs(&policies[*index]);
        [costs.iter().sum(), costs[0], costs[1], costs[2], costs[3], costs[4]]
    };
    let mut order: Vec<usize> = (0..policies.len()).collect();
    order.sort_by_cached_key(|index| key(index).map(Total));
    let mut front: Vec<usize> = Vec::new();
    let mut is_pareto = vec![false; policies.len()];
    for index in order {
        if !front.iter().any(|&other| policies[other].dominates(&policies[index])) {
            front.push(index);
            is_pareto[index] = true;
        }
    }
    is_pareto
}

/// Numbers in their total order.
#[derive(PartialEq)]
struct Total(f64);

impl Eq for Total {}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Total {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}
