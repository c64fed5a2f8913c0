//! Patterns made up by rule: the same parameters and seed give the same pattern everywhere.
//!
//! `constant`, `burst` and `cascading` are even, or random by a seed. Real failures come in bursts, and even rates mislead
//! about them: `hawkes` (each failure makes others likelier for a while), `gilbert` (good and bad spells) and `daily` (more
//! at some hours than at others) are random always.

mod named;
mod notation;

use std::f64::consts::PI;

use super::pattern::{Cancel, Cancelled, FailurePattern, Offset, check_events_len};
use super::random::Random;
use crate::error::Invalid;

pub use named::{FailurePatternGenerator, SeededPatternGenerator};
pub use notation::SYNTAX;

/// Longest pattern and simulation, in seconds.
pub const DURATION_SECONDS_MAX: u64 = 1_000_000_000;

/// A rule by which patterns are made, with its parameters. As text: `constant:rate=0.2,duration=3600,eps=1,seed=42`.
///
/// ```
/// use ionveil_actors::simulation::{Cancel, Generator};
/// let even: Generator = "constant:rate=0.25,duration=8".parse()?;
/// let failed: Vec<bool> = even.generate(&Cancel::default()).unwrap().events.iter().map(|event| !event.1).collect();
/// assert_eq!(failed, [false, false, false, true, false, false, false, true]);
/// assert_eq!(even.to_string(), "constant:rate=0.25,duration=8,eps=1");
/// # Ok::<(), ionveil_actors::error::Invalid>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Generator {
    rule: Rule,
    seed: Option<u64>,
}

/// What is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Events at equal distances that fail at one rate.
    Constant {
        /// Share of events that fail, 0–1.
        rate: f64,
        /// 1 to 10⁹ seconds.
        duration: u64,
        /// Above 0.
        events_per_second: f64,
    },
    /// An event a second; the first `size` of each `interval` fail.
    Burst {
        /// Failures in a row, at least 1.
        size: u64,
        /// Seconds from one burst's start to the next, at least 1.
        interval: u64,
        /// 1 to 10⁹ seconds.
        duration: u64,
    },
    /// An event a second; the rate grows by a factor each minute until recovery begins, and shrinks by it from then on.
    Cascading {
        /// Rate at the start, 0–1.
        initial: f64,
        /// Growth per minute, above 0.
        factor: f64,
        /// When recovery begins, in seconds.
        recovery_after: u64,
        /// 1 to 10⁹ seconds.
        duration: u64,
    },
    /// A self-exciting process: each failure brings `branching` others on average, after delays of `1 / decay` on average.
    /// Successes come evenly at random.
    Hawkes {
        /// Failures per second on average, all told.
        rate: f64,
        /// Failures that each failure causes, 0 (a Poisson process) to below 1.
        branching: f64,
        /// How fast excitement fades, per second, above 0.
        decay: f64,
        /// 1 to 10⁹ seconds.
        duration: u64,
        /// Successes per second on average.
        successes: f64,
    },
    /// Gilbert and Elliott's channel: good and bad spells with a failure rate each. Events at equal distances.
    Gilbert {
        /// Chance from event to event that a good spell ends, above 0 to 1.
        to_bad: f64,
        /// Chance from event to event that a bad spell ends, above 0 to 1.
        to_good: f64,
        /// Share of events that fail in a good spell, 0–1.
        good: f64,
        /// Share of events that fail in a bad spell, 0–1.
        bad: f64,
        /// 1 to 10⁹ seconds.
        duration: u64,
        /// Above 0.
        events_per_second: f64,
    },
    /// A Poisson process whose rate follows the day as a cosine, by thinning. Successes come evenly at random.
    Daily {
        /// Failures per second on average over a day.
        rate: f64,
        /// How far the rate swings about its mean, 0–1.
        amplitude: f64,
        /// When it is highest, in hours from the start, 0–24.
        peak: f64,
        /// 1 to 10⁹ seconds.
        duration: u64,
        /// Successes per second on average.
        successes: f64,
    },
}

/// Why a pattern was not made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GenerateError {
    /// Chance made more events than a pattern may hold.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It was told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Streams of a seed that one pattern may use.
const STREAMS_PER_PATTERN: u64 = 4;
/// Events between two looks at the flag.
const CANCEL_STRIDE: usize = 1 << 14;

impl Generator {
    /// The generator of a rule; random when there is a seed.
    ///
    /// # Errors
    /// Names the first parameter that is out of range. Rules that are random always need a seed to make a pattern, but can
    /// be had without one, for Monte Carlo.
    pub fn new(rule: Rule, seed: Option<u64>) -> Result<Self, Invalid> {
        rule.check()?;
        Ok(Generator { rule, seed })
    }

    /// The rule and its parameters.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// The seed, of the random form.
    pub fn seed(&self) -> Option<u64> {
        self.seed
    }

    /// How long its patterns are, in seconds.
    pub fn duration_seconds(&self) -> u64 {
        match self.rule {
            Rule::Constant { duration, .. }
            | Rule::Burst { duration, .. }
            | Rule::Cascading { duration, .. }
            | Rule::Hawkes { duration, .. }
            | Rule::Gilbert { duration, .. }
            | Rule::Daily { duration, .. } => duration,
        }
    }

    /// Whether it can make a pattern as it is.
    ///
    /// # Errors
    /// When the rule is random always and there is no seed.
    pub fn check_seed(&self) -> Result<(), Invalid> {
        if self.seed.is_none() && self.rule.is_always_random() {
            return Err(Invalid::new("seed", "missing", "a whole number, 0 to 2^64 - 1, as in seed=42"));
        }
        Ok(())
    }

    /// The pattern.
    ///
    /// # Errors
    /// When a seed is missing, chance makes more events than a pattern may hold, or it was cancelled.
    pub fn generate(&self, cancel: &Cancel) -> Result<FailurePattern, GenerateError> {
        self.check_seed()?;
        let mut random = self.seed.map(|seed| Streams { seed, first: 0 });
        Ok(FailurePattern {
            pattern_id: self.to_string(),
            description: self.rule.description(self.seed.is_some()),
            events: self.rule.events(&mut random, cancel)?,
        })
    }

    /// The events of the `run`-th of many random patterns of one seed. The generator's own seed is not looked at.
    ///
    /// # Errors
    /// As [`Generator::generate`].
    pub fn generate_run(&self, seed: u64, run: u64, cancel: &Cancel) -> Result<Vec<(Offset, bool)>, GenerateError> {
        let streams = Streams { seed, first: run.wrapping_mul(STREAMS_PER_PATTERN) };
        self.rule.events(&mut Some(streams), cancel)
    }
}

/// The random numbers of one pattern.
struct Streams {
    seed: u64,
    first: u64,
}

impl Streams {
    fn nth(&self, number: u64) -> Random {
        Random::new(self.seed, self.first.wrapping_add(number))
    }
}

impl Rule {
    fn is_always_random(&self) -> bool {
        matches!(self, Rule::Hawkes { .. } | Rule::Gilbert { .. } | Rule::Daily { .. })
    }

    fn check(&self) -> Result<(), Invalid> {
        let duration = |seconds: u64| match seconds {
            1..=DURATION_SECONDS_MAX => Ok(()),
            _ => Err(Invalid::new("duration", seconds, format!("1 to {DURATION_SECONDS_MAX} seconds"))),
        };
        let at_least_one = |field: &str, number: u64| match number {
            0 => Err(Invalid::new(field, number, "a whole number, at least 1")),
            _ => Ok(()),
        };
        let expected = |per_second: f64, seconds: u64| {
            let count = per_second * seconds as f64;
            check_events_len(if count < 1e18 { count as usize } else { usize::MAX })
        };
        match *self {
            Rule::Constant { rate, duration: seconds, events_per_second } => {
                share("rate", rate)?;
                duration(seconds)?;
                positive("events_per_second", events_per_second)?;
                check_events_len(count_of(seconds, events_per_second))
            }
            Rule::Burst { size, interval, duration: seconds } => {
                at_least_one("size", size)?;
                at_least_one("interval", interval)?;
                duration(seconds)?;
                check_events_len(seconds as usize)
            }
            Rule::Cascading { initial, factor, duration: seconds, .. } => {
                share("initial", initial)?;
                positive("factor", factor)?;
                duration(seconds)?;
                check_events_len(seconds as usize)
            }
            Rule::Hawkes { rate, branching, decay, duration: seconds, successes } => {
                not_negative("rate", rate)?;
                if !(0.0..1.0).contains(&branching) {
                    return Err(Invalid::new("branching", branching, "a number, 0 to below 1"));
                }
                positive("decay", decay)?;
                duration(seconds)?;
                not_negative("successes", successes)?;
                expected(rate + successes, seconds)
            }
            Rule::Gilbert { to_bad, to_good, good, bad, duration: seconds, events_per_second } => {
                for (field, chance) in [("to_bad", to_bad), ("to_good", to_good)] {
                    share(field, chance)?;
                    positive(field, chance)?;
                }
                share("good", good)?;
                share("bad", bad)?;
                duration(seconds)?;
                positive("events_per_second", events_per_second)?;
                check_events_len(count_of(seconds, events_per_second))
            }
            Rule::Daily { rate, amplitude, peak, duration: seconds, successes } => {
                not_negative("rate", rate)?;
                share("amplitude", amplitude)?;
                if !(0.0..=24.0).contains(&peak) {
                    return Err(Invalid::new("peak", peak, "an hour, 0 to 24"));
                }
                duration(seconds)?;
                not_negative("successes", successes)?;
                expected(rate + successes, seconds)
            }
        }
    }

    fn events(&self, random: &mut Option<Streams>, cancel: &Cancel) -> Result<Vec<(Offset, bool)>, GenerateError> {
        match *self {
            Rule::Constant { rate, duration, events_per_second } => {
                regular(count_of(duration, events_per_second), events_per_second, random, cancel, |_| rate)
            }
            Rule::Burst { size, interval, duration } => {
                let rate = |second: u64| if second % interval < size { 1.0 } else { 0.0 };
                regular(duration as usize, 1.0, random, cancel, rate)
            }
            Rule::Cascading { initial, factor, recovery_after, duration } => {
                let rate = |second| cascading_rate(second, initial, factor, recovery_after);
                regular(duration as usize, 1.0, random, cancel, rate)
            }
            Rule::Gilbert { to_bad, to_good, good, bad, duration, events_per_second } => {
                let mut spells = random.as_ref().map(|streams| streams.nth(1)).expect("a seed was asked for");
                let mut is_bad = spells.chance(to_bad / (to_bad + to_good));
                let rate = |_| {
                    let rate = if is_bad { bad } else { good };
                    is_bad ^= spells.chance(if is_bad { to_good } else { to_bad });
                    rate
                };
                regular(count_of(duration, events_per_second), events_per_second, random, cancel, rate)
            }
            Rule::Hawkes { rate, branching, decay, duration, successes } => {
                let streams = random.as_ref().expect("a seed was asked for");
                let failures = hawkes(&mut streams.nth(0), rate, branching, decay, duration as f64, cancel)?;
                with_successes(failures, &mut streams.nth(1), successes, duration as f64, cancel)
            }
            Rule::Daily { rate, amplitude, peak, duration, successes } => {
                let streams = random.as_ref().expect("a seed was asked for");
                let (mut arrivals, mut thinning) = (streams.nth(0), streams.nth(2));
                let highest = rate * (1.0 + amplitude);
                let mut failures = poisson(&mut arrivals, highest, duration as f64, cancel)?;
                failures.retain(|at| {
                    let phase = 2.0 * PI * (at / 86_400.0 - peak / 24.0);
                    thinning.chance((1.0 + amplitude * libm::cos(phase)) / (1.0 + amplitude))
                });
                with_successes(failures, &mut streams.nth(1), successes, duration as f64, cancel)
            }
        }
    }

    fn description(&self, is_random: bool) -> String {
        let how = if is_random { "at random" } else { "evenly" };
        match self {
            Rule::Constant { rate, duration, events_per_second } => {
                format!("{events_per_second} events a second for {duration} s, of which {rate} fail {how}")
            }
            Rule::Burst { size, interval, duration } => {
                format!("an event a second for {duration} s; {size} in a row fail every {interval} s")
            }
            Rule::Cascading { initial, factor, recovery_after, duration } => format!(
                "an event a second for {duration} s; {initial} fail {how}, {factor} times as many each minute until \
                 recovery begins at {recovery_after} s"
            ),
            Rule::Hawkes { rate, branching, decay, duration, successes } => format!(
                "{rate} failures a second for {duration} s, each causing {branching} others, fading at {decay} a second; \
                 {successes} successes a second"
            ),
            Rule::Gilbert { to_bad, to_good, good, bad, duration, events_per_second } => format!(
                "{events_per_second} events a second for {duration} s; {good} fail in good spells, which end with chance \
                 {to_bad}, {bad} in bad ones, which end with chance {to_good}"
            ),
            Rule::Daily { rate, amplitude, peak, duration, successes } => format!(
                "{rate} failures a second for {duration} s, swinging by {amplitude} over the day with its peak at hour \
                 {peak}; {successes} successes a second"
            ),
        }
    }
}

fn share(field: &str, value: f64) -> Result<(), Invalid> {
    if (0.0..=1.0).contains(&value) { Ok(()) } else { Err(Invalid::new(field, value, "a number, 0 to 1")) }
}

fn positive(field: &str, value: f64) -> Result<(), Invalid> {
    if value > 0.0 && value.is_finite() { Ok(()) } else { Err(Invalid::new(field, value, "a finite number above 0")) }
}

fn not_negative(field: &str, value: f64) -> Result<(), Invalid> {
    if value >= 0.0 && value.is_finite() {
        Ok(())
    } else {
        Err(Invalid::new(field, value, "a finite number, at least 0"))
    }
}

/// How many events at equal distances lie in a duration.
fn count_of(duration: u64, events_per_second: f64) -> usize {
    // A cast stops at the largest number there is.
    libm::floor(duration as f64 * events_per_second + 1e-9) as usize
}

/// `count` events at equal distances; `rate` says with which rate each fails.
fn regular(
    count: usize,
    events_per_second: f64,
    random: &mut Option<Streams>,
    cancel: &Cancel,
    mut rate: impl FnMut(u64) -> f64,
) -> Result<Vec<(Offset, bool)>, GenerateError> {
    let mut random = random.as_ref().map(|streams| streams.nth(0));
    let mut sum = 0.0;
    let mut events = Vec::with_capacity(count);
    for number in 0..count {
        if number.is_multiple_of(CANCEL_STRIDE) {
            cancel.check()?;
        }
        let rate = rate(number as u64);
        let fails = match &mut random {
            Some(random) => random.chance(rate),
            None => {
                sum += rate;
                let fails = sum >= 1.0 - 1e-9;
                sum -= f64::from(u8::from(fails));
                fails
            }
        };
        events.push((Offset::from_seconds(number as f64 / events_per_second)?, !fails));
    }
    Ok(events)
}

fn cascading_rate(second: u64, initial: f64, factor: f64, recovery_after: u64) -> f64 {
    if initial == 0.0 {
        return 0.0; // also where the factor's power is infinite
    }
    let power = |minutes: u64| libm::pow(factor, minutes as f64);
    let growing = |second: u64| f64::min(1.0, initial * power(second / 60));
    if second < recovery_after {
        return growing(second);
    }
    let peak = if recovery_after == 0 { initial } else { growing(recovery_after - 1) };
    let rate = peak / power(1 + (second - recovery_after) / 60);
    if factor <= 1.0 || rate < initial * (1.0 - 1e-9) { 0.0 } else { rate }
}

/// Instants of a Poisson process, in seconds.
fn poisson(random: &mut Random, rate: f64, duration: f64, cancel: &Cancel) -> Result<Vec<f64>, GenerateError> {
    let mut instants = Vec::new();
    let mut at = random.exponential(rate);
    while at < duration {
        instants.push(at);
        check_growing(instants.len(), cancel)?;
        at += random.exponential(rate);
    }
    Ok(instants)
}

/// Instants of a Hawkes process with an exponential kernel, by Ogata's thinning: the intensity only falls between events, so
/// that its present value bounds what follows.
fn hawkes(
    random: &mut Random,
    rate: f64,
    branching: f64,
    decay: f64,
    duration: f64,
    cancel: &Cancel,
) -> Result<Vec<f64>, GenerateError> {
    let base = rate * (1.0 - branching);
    let mut instants = Vec::new();
    if base == 0.0 {
        return Ok(instants);
    }
    // It starts before the pattern, so that the pattern begins amid the process and has its mean rate from the first second.
    // The longest memory of the process fades by e within 1 / (decay · (1 − branching)).
    let mut at = -10.0 / (decay * (1.0 - branching));
    let mut excitement = 0.0;
    let mut drawn = 0usize;
    loop {
        let bound = base + excitement;
        let wait = random.exponential(bound);
        at += wait;
        drawn += 1;
        if drawn.is_multiple_of(CANCEL_STRIDE) {
            cancel.check()?;
        }
        if at >= duration {
            return Ok(instants);
        }
        excitement *= libm::exp(-decay * wait);
        if random.chance((base + excitement) / bound) {
            excitement += branching * decay;
            if at >= 0.0 {
                instants.push(at);
                check_growing(instants.len(), cancel)?;
            }
        }
    }
}

/// Failures at these instants, and successes of a Poisson process among them.
fn with_successes(
    failures: Vec<f64>,
    random: &mut Random,
    rate: f64,
    duration: f64,
    cancel: &Cancel,
) -> Result<Vec<(Offset, bool)>, GenerateError> {
    let successes = poisson(random, rate, duration, cancel)?;
    check_events_len(failures.len() + successes.len())?;
    let mut events = Vec::with_capacity(failures.len() + successes.len());
    let (mut failures, mut successes) = (failures.into_iter().peekable(), successes.into_iter().peekable());
    loop {
        let is_success = match (failures.peek(), successes.peek()) {
            (None, None) => return Ok(events),
            (Some(failure), Some(success)) => success < failure,
            (failure, _) => failure.is_none(),
        };
        let at = if is_success { successes.next() } else { failures.next() }.expect("it was peeked at");
        events.push((Offset::from_seconds(at)?, is_success));
        if events.len().is_multiple_of(CANCEL_STRIDE) {
            cancel.check()?;
        }
    }
}

fn check_growing(len: usize, cancel: &Cancel) -> Result<(), GenerateError> {
    if len.is_multiple_of(CANCEL_STRIDE) {
        cancel.check()?;
        check_events_len(len)?;
    }
    Ok(())
}
