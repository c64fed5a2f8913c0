//! Every combination of some thresholds against one pattern.

use std::collections::BTreeMap;

use serde::Serialize;

use super::measures::{Measures, Ranking, Weights};
use super::parallel::in_parallel;
use super::pattern::{Cancel, Cancelled, PreparedPattern};
use super::run::simulate;
use crate::error::Invalid;
use crate::policy::{Ladder, PolicyScenario};

/// Most combinations of a sweep.
pub const SWEEP_SCENARIOS_MAX: usize = 1_000_000;

/// Whole numbers from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ThresholdRange {
    low: i64,
    high: i64,
}

impl ThresholdRange {
    /// `low` to `high`, 1 ≤ low ≤ high.
    ///
    /// # Errors
    /// Names `field` when they are not in that order.
    pub fn new(field: &str, low: i64, high: i64) -> Result<Self, Invalid> {
        if !(1..=high).contains(&low) {
            return Err(Invalid::new(field, format_args!("{low}..{high}"), "A..B with 1 ≤ A ≤ B, or one number"));
        }
        Ok(ThresholdRange { low, high })
    }

    /// Reads `A..B`, both included, or one number.
    ///
    /// # Errors
    /// Names `field` when it is neither.
    pub fn parse(field: &str, text: &str) -> Result<Self, Invalid> {
        let (low, high) = text.split_once("..").unwrap_or((text, text));
        let number = |text: &str| {
            let digits = text.trim().trim_start_matches('=');
            digits.parse::<i64>().map_err(|_| Invalid::new(field, text, "A..B with 1 ≤ A ≤ B, or one number"))
        };
        Self::new(field, number(low)?, number(high)?)
    }

    fn len(self) -> u128 {
        (i128::from(self.high) - i128::from(self.low) + 1) as u128
    }
}

/// What to try: a scenario, with the thresholds that are varied.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepGrid {
    /// The ladder, and the thresholds that stay.
    pub base: PolicyScenario,
    /// Escalation thresholds.
    pub escalation: ThresholdRange,
    /// De-escalation thresholds by policy.
    pub deescalation: BTreeMap<String, ThresholdRange>,
}

/// One combination, and how it does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SweepEntry {
    /// The failure burst that leads one level up.
    pub escalation_threshold: i64,
    /// All success streaks that lead one level down, those that stay included.
    pub deescalation_thresholds: BTreeMap<String, i64>,
    /// On the whole pattern, or on the stretch that is chosen by.
    #[serde(flatten)]
    pub measures: Measures,
    /// Among all combinations; 0 is best.
    pub score: f64,
    /// Whether no other combination is at least as good everywhere and better somewhere.
    pub pareto: bool,
    /// On the stretch that was held out, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holdout: Option<Measures>,
}

impl SweepGrid {
    /// The combinations in order: the escalation threshold changes slowest, then the policies' in the order of their names.
    ///
    /// # Errors
    /// When there are too many, or a policy cannot have a threshold.
    pub fn scenarios(&self) -> Result<Vec<PolicyScenario>, Invalid> {
        let ranges = self.deescalation.values().chain([&self.escalation]);
        let count = ranges.fold(1u128, |count, range| count.saturating_mul(range.len()));
        if count > SWEEP_SCENARIOS_MAX as u128 {
            return Err(Invalid::new(
                "escalation",
                format_args!("{count} combinations"),
                format!("at most {SWEEP_SCENARIOS_MAX} in all"),
            ));
        }
        let mut scenarios = vec![self.base.clone()];
        let mut vary = |range: ThresholdRange, set: &dyn Fn(&mut PolicyScenario, i64)| {
            let varied = scenarios.iter().flat_map(|scenario| {
                (range.low..=range.high).map(move |threshold| {
                    let mut scenario = scenario.clone();
                    set(&mut scenario, threshold);
                    scenario
                })
            });
            scenarios = varied.collect();
        };
        vary(self.escalation, &|scenario, threshold| scenario.escalation_threshold = threshold);
        for (policy, &range) in &self.deescalation {
            vary(range, &|scenario, threshold| {
                scenario.deescalation_thresholds.insert(policy.clone(), threshold);
            });
        }
        // All of them are sound when one is: they differ by thresholds that are.
        scenarios[0].check()?;
        Ok(scenarios)
    }
}

/// Tries every combination on a pattern, on all cores. With `holdout`, a second pattern, each is also run on that, and neither
/// score nor Pareto front know of it.
///
/// # Errors
/// As [`SweepGrid::scenarios`]; `Ok(Err(Cancelled))` when it was cancelled.
pub fn sweep(
    grid: &SweepGrid,
    pattern: &PreparedPattern,
    holdout: Option<&PreparedPattern>,
    weights: &Weights,
    cancel: &Cancel,
) -> Result<Result<Vec<SweepEntry>, Cancelled>, Invalid> {
    let scenarios = grid.scenarios()?;
    let measured = in_parallel(&scenarios, |scenario| {
        let ladder = Ladder::new(scenario).expect("the grid has only sound scenarios");
        let on = |pattern: &PreparedPattern| {
            simulate(&ladder, pattern, cancel, &mut ()).map(|totals| Measures::of_totals(&totals, pattern))
        };
        Ok((on(pattern)?, holdout.map(on).transpose()?))
    });
    let measured: Vec<(Measures, Option<Measures>)> = match measured.into_iter().collect() {
        Ok(measured) => measured,
        Err(cancelled) => return Ok(Err(cancelled)),
    };
    let measures: Vec<Measures> = measured.iter().map(|(measures, _)| *measures).collect();
    let Ranking { scores, is_pareto } = Ranking::of(&measures, weights);
    let entries = scenarios.into_iter().zip(measured).zip(scores.into_iter().zip(is_pareto)).map(
        |((scenario, (measures, holdout)), (score, pareto))| SweepEntry {
            escalation_threshold: scenario.escalation_threshold,
            deescalation_thresholds: scenario.deescalation_thresholds,
            measures,
            score,
            pareto,
            holdout,
        },
    );
    Ok(Ok(entries.collect()))
}
