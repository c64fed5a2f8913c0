//! How fast policies are tried: outcomes per second of the state machine, beside a naive loop in Rust and the same rules in
//! plain Python and in simpy; a sweep; a counterfactual replay from the journal. Interleaved runs, medians.
//! `cargo bench --bench policy`
//!
//! Python is run when there is a `python3`, simpy when Python has it; else the line says so.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use ionveil::domain::{OrgId, Timestamp};
use ionveil::policy::{Ladder, PolicyScenario};
use ionveil::simulation::{
    Cancel, FailurePatternGenerator, OnStep, PreparedPattern, SweepGrid, ThresholdRange, Weights, simulate, sweep,
};
use ionveil::{Config, FailurePattern, IonVeil, blocking};

const ROUNDS: usize = 5;
const SEED: u64 = 42;

fn main() {
    println!("median of {ROUNDS} interleaved runs; one core unless it says otherwise");
    for rate in [0.02, 0.2, 0.5] {
        state_machine(rate);
    }
    a_sweep();
    counterfactual();
}

/// A million outcomes, one a second, of which `rate` fail at random.
fn pattern(rate: f64) -> FailurePattern {
    FailurePatternGenerator::seeded(SEED).constant_failure_rate(rate, 1_000_000, 1.0).expect("a good pattern")
}

fn state_machine(rate: f64) {
    let (pattern, scenario) = (pattern(rate), PolicyScenario::default());
    let ladder = Ladder::new(&scenario).expect("the platform's scenario is sound");
    let prepared = PreparedPattern::new(&pattern.events, 1_000_000, &Cancel::default()).expect("nobody has the flag");
    let (mut without, mut with, mut naively, mut preparing) = (vec![], vec![], vec![], vec![]);
    let mut steps = Vec::new();
    for _ in 0..ROUNDS {
        without.push(timed(20, || drop(black_box(run(&ladder, &prepared, &mut ())))));
        with.push(timed(20, || {
            steps.clear();
            black_box(run(&ladder, &prepared, &mut steps));
        }));
        naively.push(timed(5, || {
            black_box(naive(&scenario, &pattern));
        }));
        preparing.push(timed(5, || {
            black_box(PreparedPattern::new(&pattern.events, 1_000_000, &Cancel::default()).ok());
        }));
    }
    // What is compared is the same: changes of policy, and time in the first.
    let totals = run(&ladder, &prepared, &mut ());
    assert_eq!(
        (totals.escalations + totals.deescalations, totals.micros_by_level[0] / 1_000_000),
        naive(&scenario, &pattern)
    );
    let per_second = |took: Duration| pattern.events.len() as f64 / took.as_secs_f64() / 1e6;
    let (without, with, naively) = (per_second(median(without)), per_second(median(with)), per_second(median(naively)));
    println!("\n{:.0} % of 1,000,000 outcomes fail, {} changes of policy", 100.0 * rate, steps.len());
    println!("  without recording changes  {without:>8.0} M outcomes/s  {:>6.1} of the naive loop", without / naively);
    println!("  recording changes          {with:>8.0} M outcomes/s  {:>6.1} of the naive loop", with / naively);
    println!("  naive loop in Rust         {naively:>8.0} M outcomes/s");
    println!("  sorting and preparing      {:>8.0} M outcomes/s", per_second(median(preparing)));
    for (name, script) in [("plain Python", PYTHON), ("simpy", SIMPY)] {
        match python(script, rate) {
            Some(rate) => println!("  {name:<26} {rate:>8.3} M outcomes/s  {:>6.5} of the naive loop", rate / naively),
            None => println!("  {name:<26} is not on this machine"),
        }
    }
}

fn run(ladder: &Ladder, pattern: &PreparedPattern, steps: &mut impl OnStep) -> ionveil::simulation::Totals {
    simulate(ladder, pattern, &Cancel::default(), steps).expect("nobody has the flag")
}

/// The rules as one writes them down at first: names, maps, an outcome at a time. Changes of policy, and seconds in the first.
fn naive(scenario: &PolicyScenario, pattern: &FailurePattern) -> (u64, i64) {
    let order = &scenario.policy_order;
    let (mut level, mut burst, mut streak, mut changes) = (0, 0, 0, 0);
    let (mut since, mut in_first) = (0, 0);
    let mut compliant = 0u64;
    for (offset, is_success) in &pattern.events {
        let at = offset.as_micros() / 1_000_000;
        let before = level;
        if *is_success {
            compliant += u64::from(level + 1 < order.len());
            burst = 0;
            streak += 1;
            if level > 0
                && let Some(&threshold) = scenario.deescalation_thresholds.get(&order[level])
                && streak >= threshold
            {
                level -= 1;
                streak = 0;
            }
        } else {
            streak = 0;
            burst += 1;
            if burst >= scenario.escalation_threshold && level + 1 < order.len() {
                level += 1;
                burst = 0;
            }
        }
        if level != before {
            changes += 1;
            in_first += if before == 0 { at - since } else { 0 };
            since = at;
        }
    }
    black_box(compliant);
    (changes, in_first + if level == 0 { 1_000_000 - since } else { 0 })
}

fn a_sweep() {
    let pattern = pattern(0.2);
    let prepared = PreparedPattern::new(&pattern.events, 1_000_000, &Cancel::default()).expect("nobody has the flag");
    let range = |low, high| ThresholdRange::new("threshold", low, high).expect("a good range");
    let deescalation = [("watch".to_owned(), range(1, 10)), ("restricted".to_owned(), range(1, 10))].into();
    let grid = SweepGrid { base: PolicyScenario::default(), escalation: range(1, 10), deescalation };
    let sweeps = (0..ROUNDS).map(|_| {
        timed(1, || {
            black_box(sweep(&grid, &prepared, None, &Weights::default(), &Cancel::default()).ok());
        })
    });
    let took = median(sweeps.collect());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!("\nsweep of 1,000 scenarios over 1,000,000 outcomes, {cores} cores: {:.2} s", took.as_secs_f64());
}

/// Ten million journaled outcomes, read and replayed.
fn counterfactual() {
    let dir = tempfile::tempdir().expect("a directory for the journal");
    let org: OrgId = "bench".parse().expect("an id");
    let ionveil = IonVeil::open(Config::at(dir.path())).expect("a new journal");
    let engine = blocking::PolicyEngine::new(&ionveil);
    for part in 0..10 {
        let pattern =
            FailurePatternGenerator::seeded(part).constant_failure_rate(0.2, 1_000_000, 1.0).expect("a good pattern");
        let start = part as i64 * 1_000_000_000_000;
        let instant = |micros| Timestamp::from_micros(start + micros).expect("an instant of this century");
        let outcomes: Vec<(Timestamp, bool)> =
            pattern.events.iter().map(|(offset, is_success)| (instant(offset.as_micros()), *is_success)).collect();
        engine.import(&org, &outcomes).expect("in order");
    }
    let proposed = PolicyScenario { name: "proposed".into(), escalation_threshold: 4, ..PolicyScenario::default() };
    let simulator = blocking::PolicySimulator::new(&ionveil);
    let mut differences = 0;
    let replays = (0..3).map(|_| {
        timed(1, || {
            let report = simulator.counterfactual(&org, &proposed, None, None).expect("an answer");
            assert_eq!(report.summary.outcomes, 10_000_000);
            differences = report.differences.len();
        })
    });
    let took = median(replays.collect());
    println!(
        "counterfactual replay of 10,000,000 journaled outcomes, {differences} differences: {:.2} s, reading included",
        took.as_secs_f64()
    );
}

/// How long it takes once, of so many times.
fn timed(times: u32, mut work: impl FnMut()) -> Duration {
    let started = Instant::now();
    for _ in 0..times {
        work();
    }
    started.elapsed() / times
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Millions of outcomes per second that a script prints; `None` where it cannot be run.
fn python(script: &str, rate: f64) -> Option<f64> {
    let output = Command::new("python3").args(["-c", script, &rate.to_string()]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// The same rules; times its loop only.
const PYTHON: &str = r#"
import random, sys, time
random.seed(42)
rate, n = float(sys.argv[1]), 1_000_000
events = [(t, random.random() >= rate) for t in range(n)]
order = ["normal", "watch", "restricted", "halted"]
down = {"halted": 20, "restricted": 10, "watch": 5}
best = None
for _ in range(3):
    began = time.perf_counter()
    level = burst = streak = compliant = since = 0
    time_in = dict.fromkeys(order, 0)
    changes = []
    last = len(order) - 1
    for at, ok in events:
        policy = order[level]
        if ok:
            if level != last:
                compliant += 1
            burst = 0
            streak += 1
            if level > 0 and streak >= down[policy]:
                level -= 1
                streak = 0
        else:
            streak = 0
            burst += 1
            if burst >= 3 and level != last:
                level += 1
                burst = 0
        if order[level] != policy:
            changes.append((policy, order[level], at))
            time_in[policy] += at - since
            since = at
    took = time.perf_counter() - began
    best = took if best is None else min(best, took)
print(n / best / 1e6)
"#;

/// The same rules as a process that waits for each event; a tenth of the events.
const SIMPY: &str = r#"
import random, sys, time
import simpy
random.seed(42)
rate, n = float(sys.argv[1]), 100_000
events = [(t, random.random() >= rate) for t in range(n)]
down = {3: 20, 2: 10, 1: 5}

def engine(env):
    level = burst = streak = 0
    changes = []
    for at, ok in events:
        yield env.timeout(at - env.now)
        before = level
        if ok:
            burst = 0
            streak += 1
            if level > 0 and streak >= down[level]:
                level -= 1
                streak = 0
        else:
            streak = 0
            burst += 1
            if burst >= 3 and level != 3:
                level += 1
                burst = 0
        if level != before:
            changes.append((before, level, env.now))

env = simpy.Environment()
env.process(engine(env))
began = time.perf_counter()
env.run()
print(n / (time.perf_counter() - began) / 1e6)
"#;
