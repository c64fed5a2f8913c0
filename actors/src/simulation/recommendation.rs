//! Which of some policies to take, and why.

use std::collections::BTreeMap;

use serde::Serialize;

use super::measures::{Measure, Measures, Ranking, Weights};
use super::result::{SimulationResult, SimulationStatus};
use crate::error::Invalid;

/// The policy that is recommended, and how all compare.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recommendation {
    /// Its scenario's name.
    pub recommended: String,
    /// Its escalation threshold.
    pub escalation_threshold: i64,
    /// Its de-escalation thresholds.
    pub deescalation_thresholds: BTreeMap<String, i64>,
    /// All that were completed, best score first.
    pub scores: Vec<Score>,
    /// Why, in sentences with the numbers of `scores`.
    pub reasons: Vec<String>,
}

/// How one policy compares.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Score {
    /// The scenario's name.
    pub name: String,
    /// What it is compared by.
    #[serde(flatten)]
    pub measures: Measures,
    /// The weighted sum of the measures, each from 0 (best of all) to 1 (worst of all); 0 is best.
    pub score: f64,
    /// Whether no other is at least as good everywhere and better somewhere.
    pub pareto: bool,
}

/// Compares results and recommends the one with the best score on the Pareto front; of equal ones the first by name.
///
/// # Errors
/// When no result is completed.
pub fn recommend(results: &[SimulationResult], weights: &Weights) -> Result<Recommendation, Invalid> {
    let completed: Vec<&SimulationResult> =
        results.iter().filter(|result| result.status == SimulationStatus::Completed).collect();
    let measures: Vec<Measures> = completed.iter().map(|result| Measures::of_result(result)).collect();
    let Ranking { scores, is_pareto } = Ranking::of(&measures, weights);
    let mut ranked: Vec<(&SimulationResult, Score)> = completed
        .iter()
        .zip(measures)
        .zip(scores.iter().zip(is_pareto))
        .map(|((result, measures), (&score, pareto))| {
            (*result, Score { name: result.scenario.name.clone(), measures, score, pareto })
        })
        .collect();
    ranked.sort_by(|(_, a), (_, b)| a.score.total_cmp(&b.score).then_with(|| a.name.cmp(&b.name)));
    let Some((best, score)) = ranked.iter().find(|(_, score)| score.pareto) else {
        let allowed = "at least one that is completed";
        return Err(Invalid::new("results", format_args!("{} of them", results.len()), allowed));
    };
    let recommendation = Recommendation {
        recommended: score.name.clone(),
        escalation_threshold: best.scenario.escalation_threshold,
        deescalation_thresholds: best.scenario.deescalation_thresholds.clone(),
        reasons: reasons(best, score, &ranked, results.len()),
        scores: Vec::new(),
    };
    Ok(Recommendation { scores: ranked.into_iter().map(|(_, score)| score).collect(), ..recommendation })
}

fn reasons(
    best: &SimulationResult,
    score: &Score,
    ranked: &[(&SimulationResult, Score)],
    results_len: usize,
) -> Vec<String> {
    let name = &score.name;
    let others: Vec<&Score> =
        ranked.iter().map(|(_, score)| score).filter(|other| !std::ptr::eq(*other, score)).collect();
    let front = ranked.iter().filter(|(_, score)| score.pareto).count();
    let mut reasons = Vec::new();
    if best.total_escalations == 0 {
        reasons.push(format!(
            "{name} never reacts to this pattern: no failure burst of {} occurs, so it says nothing about how the policy \
             would do once it does",
            best.scenario.escalation_threshold
        ));
    }
    let completed = ranked.len();
    reasons.push(match others.iter().map(|other| other.score).min_by(f64::total_cmp) {
        None => format!("{name} is the only one that was completed, with score {}", shown(score.score)),
        Some(next) => format!(
            "{name} has score {}, the smallest of {front} on the Pareto front of {completed}; the next best score is {}",
            shown(score.score),
            shown(next)
        ),
    });
    for measure in Measure::ALL {
        let value = score.measures.get(measure);
        let of_others = others.iter().map(|other| other.measures.get(measure));
        let Some((low, high)) = range(of_others) else { continue };
        let (best, worst) = if measure.is_higher_better() { (high, low) } else { (low, high) };
        let how = if best == worst && value == best {
            "as all others".to_owned()
        } else if !measure.is_better(best, value) {
            format!("none is better, others are at {}", span(low, high))
        } else if measure.is_better(worst, value) {
            format!("the worst, others are at {}", span(low, high))
        } else {
            format!("others are at {}", span(low, high))
        };
        reasons.push(format!("{measure} {}: {how}", shown(value)));
    }
    if results_len > completed {
        reasons.push(format!("{} of {results_len} were not completed and are left out", results_len - completed));
    }
    reasons
}

fn range(values: impl Iterator<Item = f64> + Clone) -> Option<(f64, f64)> {
    values.clone().min_by(f64::total_cmp).zip(values.max_by(f64::total_cmp))
}

fn span(low: f64, high: f64) -> String {
    if low == high { shown(low) } else { format!("{} to {}", shown(low), shown(high)) }
}

/// At most four decimals.
fn shown(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
