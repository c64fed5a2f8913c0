//! Scenarios against many random patterns: what they do on average, and which of two is better, how surely.
//!
//! All scenarios meet the same patterns (common random numbers), so that the luck of a pattern cancels out of their
//! differences. Intervals are Student's t intervals of a mean over runs.

use std::collections::BTreeSet;

use serde::Serialize;
use serde::ser::SerializeMap;

use super::generator::{GenerateError, Generator};
use super::measures::{Measure, Measures};
use super::parallel::in_parallel;
use super::pattern::{Cancel, PreparedPattern};
use super::random::{GENERATOR_NAME, GENERATOR_VERSION};
use super::run::simulate;
use crate::error::Invalid;
use crate::policy::{Ladder, PolicyScenario};

/// Most runs.
pub const RUNS_MAX: u64 = 1_000_000;
/// Runs after which it is asked first, and then again and again, whether that is enough.
const BATCH_RUNS: u64 = 64;
/// Intervals hold the mean with this confidence.
const CONFIDENCE: f64 = 0.95;

/// What is to be tried.
#[derive(Debug, Clone)]
pub struct MonteCarlo {
    /// At least one, each with another name.
    pub scenarios: Vec<PolicyScenario>,
    /// How patterns are made. Its own seed, if any, is not looked at.
    pub generator: Generator,
    /// How long each run lasts.
    pub duration_seconds: u64,
    /// How many patterns, 1 to 10⁶.
    pub runs: u64,
    /// The seed; pattern `n` is drawn from streams of its own, whatever the number of runs.
    pub seed: u64,
    /// When fewer runs are enough.
    pub stop: Option<StopRule>,
}

/// Stops when the interval of every difference between two scenarios (of every scenario, when there is one) in a measure is
/// narrow enough. Looked at after every 64 runs; since it is looked at often, the interval holds a little less surely than
/// it says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StopRule {
    /// Of which measure.
    pub measure: Measure,
    /// How wide the interval may be; above 0.
    pub width: f64,
}

/// What came of it, with all it takes to get it again.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MonteCarloReport {
    /// Patterns that were tried.
    pub runs: u64,
    /// Whether fewer than asked for were enough.
    pub stopped_early: bool,
    /// The seed.
    pub seed: u64,
    /// The generator of the patterns.
    pub pattern: String,
    /// How long each run lasted.
    pub duration_seconds: u64,
    /// What numbers are drawn with.
    pub random: &'static str,
    /// How they are drawn.
    pub generator_version: u16,
    /// What computed it.
    pub software: &'static str,
    /// How surely intervals hold the mean.
    pub confidence: f64,
    /// By scenario, in the order given.
    pub scenarios: Vec<ScenarioEstimate>,
    /// Of each pair, the second less the first.
    pub differences: Vec<PairedDifference>,
}

/// How one scenario does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScenarioEstimate {
    /// Its name.
    pub name: String,
    /// The scenario.
    pub scenario: PolicyScenario,
    /// Mean and interval of each measure.
    #[serde(serialize_with = "by_measure")]
    pub measures: Vec<Estimate>,
}

/// A mean and how well it is known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// Over all runs.
    pub mean: f64,
    /// Lower end of the interval; none with a single run.
    pub low: Option<f64>,
    /// Upper end of the interval; none with a single run.
    pub high: Option<f64>,
}

/// How two scenarios differ on the same patterns.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairedDifference {
    /// The first.
    pub a: String,
    /// The second.
    pub b: String,
    /// Of each measure.
    #[serde(serialize_with = "by_measure")]
    pub measures: Vec<Comparison>,
}

/// How two scenarios differ in one measure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Comparison {
    /// b less a.
    #[serde(flatten)]
    pub difference: Estimate,
    /// Share of the patterns on which b is better.
    pub probability_b_better: f64,
    /// Share of the patterns on which they are equal.
    pub probability_equal: f64,
}

fn by_measure<T: Serialize, S: serde::Serializer>(values: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(values.len()))?;
    for (measure, value) in Measure::ALL.into_iter().zip(values) {
        map.serialize_entry(measure.as_str(), value)?;
    }
    map.end()
}

/// Tries scenarios on many random patterns, on all cores. The same seed gives the same report on any number of them.
///
/// # Errors
/// When a scenario, the number of runs or the stop rule cannot be used, names repeat, chance makes a pattern that is too
/// large, or it was cancelled.
pub fn monte_carlo(asked: &MonteCarlo, cancel: &Cancel) -> Result<MonteCarloReport, GenerateError> {
    let ladders = check(asked)?;
    let pairs: Vec<(usize, usize)> =
        (0..ladders.len()).flat_map(|a| (a + 1..ladders.len()).map(move |b| (a, b))).collect();
    let mut of_scenarios = vec![[Tally::default(); Measure::ALL.len()]; ladders.len()];
    let mut of_pairs = vec![[Tally::default(); Measure::ALL.len()]; pairs.len()];
    let mut runs = 0;
    let mut is_enough = false;
    while runs < asked.runs && !is_enough {
        let batch: Vec<u64> = (runs..asked.runs.min(runs + BATCH_RUNS)).collect();
        let measured = in_parallel(&batch, |&run| measure(asked, &ladders, run, cancel));
        // In the order of the runs, so that sums are the same on any number of cores.
        for measures in measured {
            let measures = measures?;
            for (number, measure) in Measure::ALL.into_iter().enumerate() {
                for (tallies, measures) in of_scenarios.iter_mut().zip(&measures) {
                    tallies[number].add(measures.get(measure), false, false);
                }
                for (tallies, &(a, b)) in of_pairs.iter_mut().zip(&pairs) {
                    let (a, b) = (measures[a].get(measure), measures[b].get(measure));
                    tallies[number].add(b - a, measure.is_better(b, a), a == b);
                }
            }
        }
        runs += batch.len() as u64;
        is_enough = asked.stop.is_some_and(|stop| {
            let watched = if of_pairs.is_empty() { &of_scenarios } else { &of_pairs };
            let t = student_t(runs);
            watched
                .iter()
                .all(|tallies| tallies[stop.measure as usize].width(t).is_some_and(|width| width <= stop.width))
        });
    }
    let t = student_t(runs);
    let names = || asked.scenarios.iter().map(|scenario| scenario.name.clone());
    let names: Vec<String> = names().collect();
    let scenarios = asked.scenarios.iter().zip(&of_scenarios).map(|(scenario, tallies)| ScenarioEstimate {
        name: scenario.name.clone(),
        scenario: scenario.clone(),
        measures: tallies.iter().map(|tally| tally.estimate(t)).collect(),
    });
    let differences = pairs.iter().zip(&of_pairs).map(|(&(a, b), tallies)| PairedDifference {
        a: names[a].clone(),
        b: names[b].clone(),
        measures: tallies.iter().map(|tally| tally.comparison(t)).collect(),
    });
    Ok(MonteCarloReport {
        runs,
        stopped_early: runs < asked.runs,
        seed: asked.seed,
        pattern: asked.generator.to_string(),
        duration_seconds: asked.duration_seconds,
        random: GENERATOR_NAME,
        generator_version: GENERATOR_VERSION,
        software: super::SOFTWARE,
        confidence: CONFIDENCE,
        scenarios: scenarios.collect(),
        differences: differences.collect(),
    })
}

fn check(asked: &MonteCarlo) -> Result<Vec<Ladder>, Invalid> {
    if asked.scenarios.is_empty() {
        return Err(Invalid::new("scenarios", "none", "at least one"));
    }
    if !(1..=RUNS_MAX).contains(&asked.runs) {
        return Err(Invalid::new("runs", asked.runs, format!("1 to {RUNS_MAX}")));
    }
    super::check_duration(asked.duration_seconds)?;
    if let Some(stop) = asked.stop
        && !(stop.width > 0.0 && stop.width.is_finite())
    {
        return Err(Invalid::new("width", stop.width, "a finite number above 0"));
    }
    let mut names = BTreeSet::new();
    if let Some(repeated) = asked.scenarios.iter().find(|scenario| !names.insert(scenario.name.as_str())) {
        return Err(Invalid::new("name", format_args!("{:?}", repeated.name), "each scenario's name once"));
    }
    asked.scenarios.iter().map(Ladder::new).collect()
}

/// How every scenario does on one pattern.
fn measure(asked: &MonteCarlo, ladders: &[Ladder], run: u64, cancel: &Cancel) -> Result<Vec<Measures>, GenerateError> {
    let events = asked.generator.generate_run(asked.seed, run, cancel)?;
    let pattern = PreparedPattern::new(&events, asked.duration_seconds, cancel)?;
    let measures = ladders.iter().map(|ladder| {
        let totals = simulate(ladder, &pattern, cancel, &mut ())?;
        Ok(Measures::of_totals(&totals, &pattern))
    });
    measures.collect()
}

/// Mean and spread of what was added, by Welford's updates.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    count: u64,
    mean: f64,
    squares: f64,
    better: u64,
    equal: u64,
}

impl Tally {
    fn add(&mut self, value: f64, is_better: bool, is_equal: bool) {
        self.count += 1;
        let from_mean = value - self.mean;
        self.mean += from_mean / self.count as f64;
        self.squares += from_mean * (value - self.mean);
        self.better += u64::from(is_better);
        self.equal += u64::from(is_equal);
    }

    /// Width of the interval; `t` is Student's quantile for as many runs.
    fn width(&self, t: Option<f64>) -> Option<f64> {
        let count = self.count as f64;
        t.map(|t| 2.0 * t * (self.squares / (count - 1.0) / count).sqrt())
    }

    fn estimate(&self, t: Option<f64>) -> Estimate {
        let half = self.width(t).map(|width| width / 2.0);
        Estimate { mean: self.mean, low: half.map(|half| self.mean - half), high: half.map(|half| self.mean + half) }
    }

    fn comparison(&self, t: Option<f64>) -> Comparison {
        Comparison {
            difference: self.estimate(t),
            probability_b_better: self.better as f64 / self.count as f64,
            probability_equal: self.equal as f64 / self.count as f64,
        }
    }
}

/// Student's two-sided quantile for a mean of so many values; `None` for fewer than two.
fn student_t(count: u64) -> Option<f64> {
    if count < 2 {
        return None;
    }
    let degrees = (count - 1) as f64;
    // The probability beyond ±t falls as t grows; halving the bracket finds where it is what is left of the confidence.
    let (mut low, mut high) = (0.0, 1e6);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if beyond(middle, degrees) > 1.0 - CONFIDENCE {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some((low + high) / 2.0)
}

/// Probability that Student's t with so many degrees of freedom lies beyond ±t.
fn beyond(t: f64, degrees: f64) -> f64 {
    incomplete_beta(degrees / (degrees + t * t), degrees / 2.0, 0.5)
}

/// The regularised incomplete beta function, by its continued fraction (Lentz's method).
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    let front = libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * libm::log(x) + b * libm::log1p(-x);
    // The fraction converges fast on this side of the mean only.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(1.0 - x, b, a);
    }
    const TINY: f64 = 1e-300;
    let (mut c, mut d) = (1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0)).max(TINY));
    let mut fraction = d;
    for step in 1..1_000 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        for coefficient in [even, odd] {
            d = 1.0 / (1.0 + coefficient * d).max(TINY);
            c = (1.0 + coefficient / c).max(TINY);
            fraction *= c * d;
        }
        if (c * d - 1.0).abs() < 1e-15 {
            break;
        }
    }
    libm::exp(front) * fraction / a
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quantiles as tables print them.
    #[test]
    fn intervals_use_students_quantiles() {
        for (count, expected) in
            [(2, 12.706_205), (3, 4.302_653), (5, 2.776_445), (11, 2.228_139), (31, 2.042_272), (1_001, 1.962_339)]
        {
            let t = student_t(count).expect("two values or more");
            assert!((t - expected).abs() < 1e-5, "{count}: {t}");
        }
        assert_eq!(student_t(1), None);
    }

    #[test]
    fn a_tally_has_mean_and_interval() {
        let mut tally = Tally::default();
        for value in [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0] {
            tally.add(value, value > 4.0, value == 4.0);
        }
        let comparison = tally.comparison(student_t(8));
        assert_eq!(
            (comparison.difference.mean, comparison.probability_b_better, comparison.probability_equal),
            (5.0, 0.5, 0.375)
        );
        // Sample deviation √(32/7), t of 7 degrees 2.364624.
        let half = 2.364_624 * (32.0_f64 / 7.0 / 8.0).sqrt();
        assert!((comparison.difference.high.expect("eight values") - 5.0 - half).abs() < 1e-5);
        let mut single = Tally::default();
        single.add(1.0, false, false);
        assert_eq!(single.estimate(student_t(1)), Estimate { mean: 1.0, low: None, high: None });
    }
}
