//! How bursty recorded failures are: parameters of processes that make patterns like them.

use serde::Serialize;

use super::generator::{Generator, Rule};
use super::pattern::{FailurePattern, Offset, PreparedPattern};
use super::{Cancel, DURATION_SECONDS_MAX};
use crate::domain::{mean, sample_stddev};
use crate::error::Invalid;

/// Events that are looked at, the first ones in time; more say little more and take long.
pub const FIT_EVENTS_MAX: usize = 1_000_000;
/// Fewer failures say nothing about how they come.
const FAILURES_MIN: usize = 10;
const ITERATIONS_MAX: usize = 1_000;
/// Iterating ends when the log-likelihood per event grows by less.
const TOLERANCE: f64 = 1e-9;

/// What is found in a pattern.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BurstFit {
    /// The pattern's.
    pub pattern_id: String,
    /// Events that were looked at.
    pub events: u64,
    /// Failures among them.
    pub failures: u64,
    /// The time they span, to the end of the last one's second.
    pub duration_seconds: u64,
    /// Share of failures.
    pub failure_share: f64,
    /// Failures per second.
    pub failures_per_second: f64,
    /// Successes per second.
    pub successes_per_second: f64,
    /// Variance over mean of the failures per minute: 1 when they come evenly at random, more when in bursts. None in less
    /// than two minutes.
    pub dispersion_index: Option<f64>,
    /// Failures in a row on average; evenly at random it would be 1 / (1 − failure share).
    pub mean_failure_run: f64,
    /// Most failures in a row.
    pub longest_failure_run: u64,
    /// When failures come: a Hawkes process, by maximum likelihood. None of fewer than ten failures.
    pub hawkes: Option<HawkesFit>,
    /// In which order failures and successes come: good and bad spells, by maximum likelihood. None of fewer than ten
    /// failures, or without a success.
    pub gilbert: Option<GilbertFit>,
}

/// A Hawkes process with exponential kernel, fitted by expectation and maximisation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HawkesFit {
    /// Failures per second on average.
    pub rate: f64,
    /// Failures that each failure causes on average.
    pub branching: f64,
    /// How fast excitement fades, per second.
    pub decay: f64,
    /// Of the times of the failures.
    pub log_likelihood: f64,
    /// Akaike's criterion; the smaller the better.
    pub aic: f64,
    /// That of a Poisson process.
    pub poisson_aic: f64,
    /// Largest distance between the distribution of the rescaled waiting times and the exponential one (Kolmogorov and
    /// Smirnov): near 0 when the process describes the failures.
    pub ks_statistic: f64,
    /// How often chance alone makes a distance at least as large, about.
    pub ks_p_value: f64,
    /// The generator with these parameters, without a seed.
    pub generator: String,
}

/// Gilbert and Elliott's channel, fitted by Baum and Welch's method.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GilbertFit {
    /// Chance from event to event that a good spell ends.
    pub to_bad: f64,
    /// Chance from event to event that a bad spell ends.
    pub to_good: f64,
    /// Share of failures in good spells.
    pub good: f64,
    /// Share of failures in bad spells.
    pub bad: f64,
    /// Of the order of failures and successes.
    pub log_likelihood: f64,
    /// Akaike's criterion; the smaller the better.
    pub aic: f64,
    /// That of independent outcomes.
    pub independent_aic: f64,
    /// The generator with these parameters, without a seed.
    pub generator: String,
}

/// Fits both processes to a pattern.
///
/// # Errors
/// When the pattern has no event before 10⁹ seconds.
pub fn fit(pattern: &FailurePattern) -> Result<BurstFit, Invalid> {
    let prepared =
        PreparedPattern::new(&pattern.events, DURATION_SECONDS_MAX, &Cancel::default()).expect("nobody has the flag");
    let events: Vec<(Offset, bool)> = prepared.events().take(FIT_EVENTS_MAX).collect();
    let Some(&(last, _)) = events.last() else {
        return Err(Invalid::new("events", "none", "at least one before 1000000000 s"));
    };
    let duration_seconds = last.as_micros() as u64 / 1_000_000 + 1;
    let duration = duration_seconds as f64;
    let failures: Vec<i64> =
        events.iter().filter(|(_, is_success)| !is_success).map(|(offset, _)| offset.as_micros()).collect();
    let (count, failed) = (events.len() as f64, failures.len() as f64);
    let runs: Vec<u64> =
        events.chunk_by(|(_, a), (_, b)| a == b).filter(|run| !run[0].1).map(|run| run.len() as u64).collect();
    let is_enough = failures.len() >= FAILURES_MIN;
    let successes_per_second = (count - failed) / duration;
    Ok(BurstFit {
        pattern_id: pattern.pattern_id.clone(),
        events: events.len() as u64,
        failures: failures.len() as u64,
        duration_seconds,
        failure_share: failed / count,
        failures_per_second: failed / duration,
        successes_per_second,
        dispersion_index: dispersion(&failures, duration_seconds),
        mean_failure_run: if runs.is_empty() { 0.0 } else { failed / runs.len() as f64 },
        longest_failure_run: runs.iter().copied().max().unwrap_or(0),
        hawkes: is_enough.then(|| hawkes(&spread(&failures), duration_seconds, successes_per_second)),
        gilbert: (is_enough && failures.len() < events.len()).then(|| gilbert(&events, duration_seconds)),
    })
}

fn dispersion(failures: &[i64], duration_seconds: u64) -> Option<f64> {
    let minutes = (duration_seconds / 60) as usize;
    let mut counts = vec![0.0; minutes];
    for at in failures {
        if let Some(count) = counts.get_mut((at / 60_000_000) as usize) {
            *count += 1.0;
        }
    }
    let (mean, deviation) = (mean(&counts)?, sample_stddev(&counts)?);
    (mean > 0.0).then(|| deviation * deviation / mean)
}

/// Times in seconds, ascending. Those that are equal because clocks are coarse are spread over the tick they share: a process
/// in continuous time has no two events at once, and takes them for infinitely strong excitement.
fn spread(failures: &[i64]) -> Vec<f64> {
    let tick = [1_000_000, 1_000, 1].into_iter().find(|tick| failures.iter().all(|at| at % tick == 0)).unwrap_or(1);
    let spread = failures.chunk_by(|a, b| a == b).flat_map(|same| {
        let place = move |number: usize| (number as f64 + 0.5) / same.len() as f64 * tick as f64;
        (0..same.len()).map(move |number| (same[0] as f64 + place(number)) / 1e6)
    });
    spread.collect()
}

/// Base rate, branching, decay.
#[derive(Debug, Clone, Copy)]
struct Kernel {
    base: f64,
    branching: f64,
    decay: f64,
}

/// What one pass over the failures finds under a kernel.
struct Expectation {
    log_likelihood: f64,
    /// Expected number of failures that nothing caused.
    spontaneous: f64,
    /// Expected sum of the delays between failures and those that caused them.
    delays: f64,
    /// Sum over failures of the share of their excitement that falls within the time observed.
    observed: f64,
    /// Derivative of `observed` by the decay.
    cut: f64,
}

fn expect(at: &[f64], duration: f64, kernel: Kernel) -> Expectation {
    let Kernel { base, branching, decay } = kernel;
    let mut found =
        Expectation { log_likelihood: -base * duration, spontaneous: 0.0, delays: 0.0, observed: 0.0, cut: 0.0 };
    // Sums over all earlier failures of exp(−decay · age), and of age · exp(−decay · age).
    let (mut excited, mut aged) = (0.0, 0.0);
    let mut before = None;
    for &now in at {
        if let Some(before) = before {
            let wait: f64 = now - before;
            let faded = libm::exp(-decay * wait);
            aged = faded * (aged + wait * (1.0 + excited));
            excited = faded * (1.0 + excited);
        }
        let intensity = base + branching * decay * excited;
        found.log_likelihood += libm::log(intensity);
        found.spontaneous += base / intensity;
        found.delays += branching * decay * aged / intensity;
        let left = libm::exp(-decay * (duration - now));
        found.observed += 1.0 - left;
        found.cut += (duration - now) * left;
        before = Some(now);
    }
    found.log_likelihood -= branching * found.observed;
    found
}

fn hawkes(at: &[f64], duration_seconds: u64, successes_per_second: f64) -> HawkesFit {
    let (count, duration) = (at.len() as f64, duration_seconds as f64);
    let gap = duration / count;
    // The likelihood may have several peaks; starts from slow to fast excitement find the highest.
    let starts: &[f64] = if at.len() > 100_000 { &[3.0] } else { &[0.3, 3.0, 30.0] };
    let fits = starts.iter().map(|start| maximise(at, duration, start / gap));
    let (kernel, log_likelihood) = fits.max_by(|a, b| a.1.total_cmp(&b.1)).expect("there is a start");
    let (ks_statistic, ks_p_value) = kolmogorov_smirnov(at, kernel);
    // Chance may find a little less than no excitement of its own; rates are what was observed.
    let rate = kernel.base / (1.0 - kernel.branching);
    let rule = Rule::Hawkes {
        rate: rounded(rate),
        branching: rounded(kernel.branching),
        decay: rounded(kernel.decay),
        duration: duration_seconds,
        successes: rounded(successes_per_second),
    };
    HawkesFit {
        rate,
        branching: kernel.branching,
        decay: kernel.decay,
        log_likelihood,
        aic: 2.0 * 3.0 - 2.0 * log_likelihood,
        poisson_aic: 2.0 - 2.0 * (count * libm::log(count / duration) - count),
        ks_statistic,
        ks_p_value,
        generator: text_of(rule),
    }
}

fn maximise(at: &[f64], duration: f64, decay: f64) -> (Kernel, f64) {
    const BRANCHING_MAX: f64 = 0.999;
    let count = at.len() as f64;
    let mut kernel = Kernel { base: 0.5 * count / duration, branching: 0.5, decay };
    let mut found = expect(at, duration, kernel);
    for _ in 0..ITERATIONS_MAX {
        let caused = count - found.spontaneous;
        let better = Kernel {
            base: found.spontaneous / duration,
            branching: (caused / found.observed).min(BRANCHING_MAX),
            decay: caused / (found.delays + kernel.branching * found.cut),
        };
        // Where nothing is caused by anything there is no decay to know.
        if !(better.decay.is_finite() && better.decay > 0.0 && better.branching > 1e-12) {
            break;
        }
        let next = expect(at, duration, better);
        let gain = (next.log_likelihood - found.log_likelihood) / count;
        (kernel, found) = (better, next);
        if gain.abs() < TOLERANCE {
            break;
        }
    }
    (kernel, found.log_likelihood)
}

/// The time-rescaling test: under the right process the integrated intensity between failures is exponential with mean 1.
fn kolmogorov_smirnov(at: &[f64], kernel: Kernel) -> (f64, f64) {
    let Kernel { base, branching, decay } = kernel;
    let mut excited = 0.0;
    let mut uniform: Vec<f64> = Vec::with_capacity(at.len());
    let mut before = 0.0;
    for &now in at {
        let faded = libm::exp(-decay * (now - before));
        let integrated = base * (now - before) + branching * excited * (1.0 - faded);
        uniform.push(-libm::expm1(-integrated));
        excited = excited * faded + 1.0;
        before = now;
    }
    uniform.sort_by(f64::total_cmp);
    let count = uniform.len() as f64;
    let distance = |(rank, value): (usize, &f64)| {
        let (below, above) = (rank as f64 / count, (rank + 1) as f64 / count);
        (value - below).abs().max((above - value).abs())
    };
    let statistic = uniform.iter().enumerate().map(distance).fold(0.0, f64::max);
    // Kolmogorov's distribution, with Stephens's correction for few values.
    let scaled = statistic * (count.sqrt() + 0.12 + 0.11 / count.sqrt());
    let term = |k: i32| {
        let sign = if k % 2 == 1 { 1.0 } else { -1.0 };
        sign * libm::exp(-2.0 * f64::from(k * k) * scaled * scaled)
    };
    let p_value = if scaled < 0.2 { 1.0 } else { 2.0 * (1..=100).map(term).sum::<f64>() };
    (statistic, p_value.clamp(0.0, 1.0))
}

/// The channel's parameters.
#[derive(Debug, Clone, Copy)]
struct Channel {
    to_bad: f64,
    to_good: f64,
    good: f64,
    bad: f64,
}

fn gilbert(events: &[(Offset, bool)], duration_seconds: u64) -> GilbertFit {
    let failed: Vec<bool> = events.iter().map(|(_, is_success)| !is_success).collect();
    let count = failed.len() as f64;
    let share = failed.iter().filter(|failed| **failed).count() as f64 / count;
    let mut channel = Channel { to_bad: 0.05, to_good: 0.2, good: share / 2.0, bad: (1.0 + share) / 2.0 };
    let (mut better, mut log_likelihood) = step_of_baum_welch(&failed, channel);
    for _ in 0..ITERATIONS_MAX {
        let (next, next_log_likelihood) = step_of_baum_welch(&failed, better);
        channel = better;
        let gain = (next_log_likelihood - log_likelihood) / count;
        (better, log_likelihood) = (next, next_log_likelihood);
        if gain.abs() < TOLERANCE {
            break;
        }
    }
    if channel.good > channel.bad {
        // Which of the two spells is called bad is a matter of names.
        channel = Channel { to_bad: channel.to_good, to_good: channel.to_bad, good: channel.bad, bad: channel.good };
    }
    let rule = Rule::Gilbert {
        to_bad: rounded(channel.to_bad).clamp(1e-6, 1.0),
        to_good: rounded(channel.to_good).clamp(1e-6, 1.0),
        good: rounded(channel.good).clamp(0.0, 1.0),
        bad: rounded(channel.bad).clamp(0.0, 1.0),
        duration: duration_seconds,
        events_per_second: rounded(count / duration_seconds as f64),
    };
    let entropy = |p: f64| if p > 0.0 { p * libm::log(p) } else { 0.0 };
    let independent = count * (entropy(share) + entropy(1.0 - share));
    GilbertFit {
        to_bad: channel.to_bad,
        to_good: channel.to_good,
        good: channel.good,
        bad: channel.bad,
        log_likelihood,
        aic: 2.0 * 4.0 - 2.0 * log_likelihood,
        independent_aic: 2.0 - 2.0 * independent,
        generator: text_of(rule),
    }
}

/// Better parameters, and the log-likelihood under the present ones. A spell begins as the stationary distribution says.
fn step_of_baum_welch(failed: &[bool], channel: Channel) -> (Channel, f64) {
    let Channel { to_bad, to_good, good, bad } = channel;
    let chance = |failed: bool| if failed { [good, bad] } else { [1.0 - good, 1.0 - bad] };
    let moves = [[1.0 - to_bad, to_bad], [to_good, 1.0 - to_good]];
    // Forward: the probability of a bad spell at each event, given what came up to it.
    let mut forward = Vec::with_capacity(failed.len());
    let mut scales = Vec::with_capacity(failed.len());
    let mut prior = [to_good / (to_bad + to_good), to_bad / (to_bad + to_good)];
    let mut log_likelihood = 0.0;
    for &outcome in failed {
        let chance = chance(outcome);
        let joint = [prior[0] * chance[0], prior[1] * chance[1]];
        let scale = (joint[0] + joint[1]).max(f64::MIN_POSITIVE);
        log_likelihood += libm::log(scale);
        let here = [joint[0] / scale, joint[1] / scale];
        forward.push(here);
        scales.push(scale);
        prior = [here[0] * moves[0][0] + here[1] * moves[1][0], here[0] * moves[0][1] + here[1] * moves[1][1]];
    }
    // Backward, adding up what is expected on the way.
    let mut backward = [1.0, 1.0];
    let (mut spent, mut failures, mut moved, mut left) = ([0.0; 2], [0.0; 2], [0.0; 2], [0.0; 2]);
    for index in (0..failed.len()).rev() {
        let here = forward[index];
        let weight = [here[0] * backward[0], here[1] * backward[1]];
        for spell in 0..2 {
            spent[spell] += weight[spell];
            failures[spell] += if failed[index] { weight[spell] } else { 0.0 };
        }
        if index > 0 {
            let (before, chance, scale) = (forward[index - 1], chance(failed[index]), scales[index]);
            let after = [chance[0] * backward[0] / scale, chance[1] * backward[1] / scale];
            moved[0] += before[0] * to_bad * after[1];
            moved[1] += before[1] * to_good * after[0];
            backward =
                [moves[0][0] * after[0] + moves[0][1] * after[1], moves[1][0] * after[0] + moves[1][1] * after[1]];
            for spell in 0..2 {
                left[spell] += before[spell] * backward[spell];
            }
        }
    }
    let ratio = |part: f64, whole: f64, otherwise: f64| if whole > 0.0 { part / whole } else { otherwise };
    let better = Channel {
        to_bad: ratio(moved[0], left[0], to_bad).clamp(1e-9, 1.0),
        to_good: ratio(moved[1], left[1], to_good).clamp(1e-9, 1.0),
        good: ratio(failures[0], spent[0], good).clamp(0.0, 1.0),
        bad: ratio(failures[1], spent[1], bad).clamp(0.0, 1.0),
    };
    (better, log_likelihood)
}

/// Six significant digits: as many as an estimate deserves, and short enough to read.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().expect("a number is read back")
}

fn text_of(rule: Rule) -> String {
    match Generator::new(rule, None) {
        Ok(generator) => generator.to_string(),
        // A stream so dense or so long that no pattern holds it.
        Err(invalid) => format!("none: {invalid}"),
    }
}
