//! Dispatch analytics in memory, without journal and actors: how fast events are taken in, how long questions take with ten
//! million events and a thousand orgs loaded, what an event and an org cost, and what a crowd of subscribers does to ingest.
//!
//! `cargo bench --bench analytics`, or `-- even`, `-- skewed`, `-- one`, `-- flood` for a part of it: all orgs alike large; the
//! n-th an n-th of the first; one org with a tenth of the events; subscribers. The library does: `--no-default-features`. `IONVEIL_BENCH_EVENTS` (10000000) and
//! `IONVEIL_BENCH_ORGS` (1000) make it smaller.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant as Clock};

use ionveil::dispatch::{
    AggregationType, Dimensions, DispatchEvent, Dispatches, GetDashboardSnapshot, GetHeatmap, GetMetric, GetRegions,
    GridSize, IngestBatch, Instant, Metric, Percent, Status,
};
use ionveil::domain::{MICROS_PER_HOUR, MICROS_PER_MINUTE, OrgId, TimeWindow, Timestamp};
use ionveil::runtime::{Aggregate as _, Command as _, Given, Query};
use ionveil::{Config, IonVeil};
use pollster::block_on;

const DAYS: i64 = 30;
const BATCH: usize = 1_000;
/// Each question is asked so often, fewer times when that would take longer.
const QUESTIONS: usize = 5_000;
const QUESTIONS_MIN: usize = 200;
const QUESTION_TIME_MAX: Duration = Duration::from_secs(4);

fn main() {
    let events = setting("IONVEIL_BENCH_EVENTS", 10_000_000);
    let orgs = setting("IONVEIL_BENCH_ORGS", 1_000);
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    match wanted.first().map(String::as_str) {
        // Each in a process of its own, so that what one takes of memory is not what another gave back.
        None => ["even", "skewed", "one", "flood"].into_iter().for_each(in_own_process),
        Some("even") => {
            println!("\nall orgs alike large");
            ingest_and_ask(&vec![events / orgs; orgs]);
        }
        Some("skewed") => {
            println!("\nthe n-th org an n-th of the first");
            let shares: f64 = (1..=orgs).map(|rank| 1.0 / rank as f64).sum();
            let sizes: Vec<usize> = (1..=orgs).map(|rank| (events as f64 / shares / rank as f64) as usize).collect();
            ingest_and_ask(&sizes);
        }
        Some("one") => {
            println!("\none org with a tenth of the events");
            ingest_and_ask(&[events / 10]);
        }
        Some("flood") => flood(),
        Some("flooded") => {
            let number = |place: usize| wanted.get(place).and_then(|text| text.parse().ok()).unwrap_or_default();
            flooded(number(1), number(2));
        }
        Some(other) => panic!("there is no part {other}: even, skewed, one, flood"),
    }
}

fn in_own_process(part: &str) {
    let this = std::env::current_exe().expect("the benchmark's own file");
    let status = Command::new(this).arg(part).status().expect("it runs a second time");
    assert!(status.success(), "{part}: {status}");
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("an instant")
}

fn end() -> Timestamp {
    start().saturating_add_micros(DAYS * 24 * MICROS_PER_HOUR)
}

/// The `number`-th of `count` events of an org over the 30 days; one dispatch in ten comes out of order by up to ten minutes.
/// With a course, three events are of the same dispatch: pending, active, closed.
fn event(random: &mut Random, org: &OrgId, number: usize, count: usize, with_course: bool) -> DispatchEvent {
    let (dispatch, status) = match (with_course, number % 3) {
        (false, _) => (number, Status::Closed),
        (true, 0) => (number / 3, Status::Pending),
        (true, 1) => (number / 3, Status::Active),
        (true, _) => (number / 3, Status::Closed),
    };
    let span = DAYS * 24 * MICROS_PER_HOUR;
    let late = if dispatch % 10 == 0 { dispatch as i64 * 7_919 % 600 * (MICROS_PER_MINUTE / 60) } else { 0 };
    let at = (number as i128 * i128::from(span) / count as i128) as i64 - late;
    DispatchEvent {
        event_id: format!("{:013}-{:02}", number, random.below(100)),
        org_id: org.clone(),
        dispatch_id: format!("d-{dispatch:09}"),
        timestamp: start().saturating_add_micros(at.max(0)),
        severity: 1 + random.below(5) as i64,
        response_time_minutes: random.below(1_200) as f64 / 60.0,
        distance_km: random.below(20_000) as f64 / 1_000.0,
        region: format!("B{:02}", random.below(10)),
        unit_type: ["ENGINE", "MEDIC", "TRUCK", "CHIEF"][random.below(4) as usize].into(),
        sla_met: None,
        metadata: serde_json::Map::new(),
        latitude: Some(37.6 + random.below(1_000) as f64 / 4_000.0),
        longitude: Some(-122.5 + random.below(1_000) as f64 / 4_000.0),
        status,
    }
}

fn ingest_and_ask(sizes: &[usize]) {
    let given = Given::at(end());
    let mut random = Random(1);
    let memory_before = resident_bytes();
    let mut states: Vec<Dispatches> = Vec::new();
    let mut spent = Duration::ZERO;
    for (number, &size) in sizes.iter().enumerate() {
        let org: OrgId = format!("org-{number}").parse().expect("an id");
        let mut state = Dispatches::default();
        state
            .evolve(&ionveil::dispatch::Event::RetentionSet(ionveil::dispatch::RetentionSet { hours: 0 }))
            .expect("a retention");
        for first in (0..size).step_by(BATCH) {
            let batch: Vec<DispatchEvent> = (first..(first + BATCH).min(size))
                .map(|event_number| event(&mut random, &org, event_number, size, number % 2 == 1))
                .collect();
            let begun = Clock::now();
            let decided = IngestBatch::from_iter(batch).decide(&state, &given).expect("a batch is never refused");
            for event in &decided.events {
                state.evolve(event).expect("what decide writes");
            }
            spent += begun.elapsed();
        }
        states.push(state);
    }
    let counted: usize = states.iter().map(Dispatches::events).sum();
    println!(
        "{counted} events of {} orgs over {DAYS} days, {} of the largest; every other org reports each dispatch three times",
        sizes.len(),
        sizes[0]
    );
    println!("ingest with deduplication   {:>10.0} events/s on one core", counted as f64 / spent.as_secs_f64());
    let memory = resident_bytes().saturating_sub(memory_before);
    println!("memory                      {:>10.0} bytes an event", memory as f64 / counted as f64);
    let before_idle = resident_bytes();
    let idle: Vec<Dispatches> = (0..100_000).map(|_| Dispatches::default()).collect();
    let idle_memory = resident_bytes().saturating_sub(before_idle);
    println!(
        "                            {:>10.0} bytes an org without events",
        idle_memory as f64 / idle.len() as f64
    );
    drop(idle);

    let mut ask = |what: &str, question: &dyn Fn(&mut Random, &Dispatches)| {
        let until = Clock::now() + QUESTION_TIME_MAX;
        let mut micros: Vec<f64> = (0..QUESTIONS)
            .take_while(|asked| *asked < QUESTIONS_MIN || Clock::now() < until)
            .map(|_| {
                let state = &states[random.below(states.len() as u64) as usize];
                let begun = Clock::now();
                question(&mut random, state);
                begun.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        micros.sort_by(f64::total_cmp);
        let at = |percent: usize| micros[(percent * micros.len()).div_ceil(100) - 1];
        println!("{what:<27} {:>10.1} µs median {:>10.1} µs p99", at(50), at(99));
    };
    let over = |days: i64, windows: &'static [TimeWindow]| {
        let given = &given;
        move |random: &mut Random, state: &Dispatches| {
            let first = random.below((DAYS - days + 1) as u64) as i64;
            let from = start().saturating_add_micros(first * 24 * MICROS_PER_HOUR);
            let window = windows[random.below(windows.len() as u64) as usize];
            let aggregation = AggregationType::ALL[random.below(9) as usize];
            let mut question = GetMetric::new(Metric::ALL[random.below(4) as usize], window, aggregation);
            question.start = Some(Instant::At(from));
            question.end = Some(Instant::At(from.saturating_add_micros(days * 24 * MICROS_PER_HOUR)));
            question.include_empty = true;
            if random.below(2) == 0 {
                let region = format!("B{:02}", random.below(10));
                question.dimensions = Dimensions::any().with("region", &region).expect("a region");
            }
            black_box(question.answer(state, given).expect("an answer"));
        }
    };
    // At most 100 windows: 96 quarter-hours of a day, 30 days.
    ask(
        "any window over a day",
        &over(1, &[TimeWindow::Minute15, TimeWindow::Hour1, TimeWindow::Hour6, TimeWindow::All]),
    );
    ask("any window over 25 days", &over(25, &[TimeWindow::Hour6, TimeWindow::Day1, TimeWindow::All]));
    ask("any window over 30 days", &over(30, &[TimeWindow::Day1, TimeWindow::All]));
    let snapshot = |state: &Dispatches, as_of: Option<Instant>| {
        let question = GetDashboardSnapshot { org_id: "org".parse().expect("an id"), as_of };
        black_box(question.answer(state, &given).expect("an answer"));
    };
    ask("snapshot", &|_, state| snapshot(state, None));
    ask("snapshot of a past instant", &|random, state| {
        let at = start().saturating_add_micros(random.below((DAYS * 24 * MICROS_PER_HOUR) as u64) as i64);
        snapshot(state, Some(Instant::At(at)));
    });
    ask("regions over 30 days", &|_, state| {
        let question = GetRegions { start: Some(Instant::At(start())), end: Some(Instant::At(end())) };
        black_box(question.answer(state, &given).expect("an answer"));
    });
    ask("heatmap of 30 days", &|_, state| {
        let question = GetHeatmap { metric: Metric::ResponseTime, grid: GridSize::default() };
        black_box(question.answer(state, &given).expect("an answer"));
    });
    let p90 = AggregationType::Percentile(Percent::P90);
    ask("p90 over 30 days at once", &|_, state| {
        let mut question = GetMetric::new(Metric::ResponseTime, TimeWindow::All, p90);
        (question.start, question.end) = (Some(Instant::At(start())), Some(Instant::At(end())));
        black_box(question.answer(state, &given).expect("an answer"));
    });
}

/// Ingest through actors and a journal in memory, alone and with 1,000 subscribers of which 10 never read. Every run is a
/// process of its own, so that the most memory that it ever had is its own.
fn flood() {
    const ROUNDS: usize = 5;
    let (mut alone, mut crowded) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(flooded_in_own_process(0, 0));
        crowded.push(flooded_in_own_process(1_000, 10));
    }
    let median = |runs: &[(f64, f64)], of: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (rate_alone, rate_crowded) = (median(&alone, |run| run.0), median(&crowded, |run| run.0));
    let (bytes_alone, bytes_crowded) = (median(&alone, |run| run.1), median(&crowded, |run| run.1));
    println!(
        "\n{FLOOD_EVENTS} events through actors and a journal in memory, a flush each 100 ms, medians of {ROUNDS}"
    );
    println!("without subscribers         {rate_alone:>10.0} events/s {:>6.0} MB at most", bytes_alone / 1e6);
    println!(
        "with 1,000, 10 of them stuck{rate_crowded:>10.0} events/s {:>6.0} MB at most, {:.2} of the rate",
        bytes_crowded / 1e6,
        rate_crowded / rate_alone
    );
}

const FLOOD_EVENTS: usize = 600_000;

/// Events per second, and the most bytes of memory.
fn flooded_in_own_process(subscribers: usize, stuck: usize) -> (f64, f64) {
    let this = std::env::current_exe().expect("the benchmark's own file");
    let args = ["flooded".to_owned(), subscribers.to_string(), stuck.to_string()];
    let output = Command::new(this).args(args).output().expect("it runs a second time");
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    assert!(output.status.success() && numbers.len() == 2, "{text}{}", String::from_utf8_lossy(&output.stderr));
    (numbers[0], numbers[1])
}

/// Prints events per second and the most bytes of memory.
fn flooded(subscribers: usize, stuck: usize) {
    let config = Config::in_memory().with_flush_interval(Duration::from_millis(100));
    let ionveil = IonVeil::open(config).expect("memory");
    let aggregator = ionveil.dispatch_aggregator();
    let org: OrgId = "flooded".parse().expect("an id");
    block_on(aggregator.set_retention(&org, 0)).expect("in range");
    let subscribe = || block_on(aggregator.subscribe_to_updates(&org, &Metric::ALL)).expect("a subscription");
    let held: Vec<_> = (0..stuck).map(|_| subscribe()).collect();
    let mut reading: Vec<_> = (stuck..subscribers).map(|_| subscribe()).collect();
    // One thread reads for all; each sees every update or is told what it missed.
    let reader = std::thread::spawn(move || {
        while !reading.is_empty() {
            reading.retain_mut(|updates| block_on(updates.next()).is_some());
        }
    });
    let mut random = Random(2);
    let batches: Vec<Vec<DispatchEvent>> = (0..FLOOD_EVENTS)
        .step_by(BATCH)
        .map(|first| {
            (first..first + BATCH).map(|number| event(&mut random, &org, number, FLOOD_EVENTS, false)).collect()
        })
        .collect();
    let begun = Clock::now();
    for batch in batches {
        block_on(aggregator.ingest_batch(batch)).expect("taken");
    }
    let rate = FLOOD_EVENTS as f64 / begun.elapsed().as_secs_f64();
    println!("{rate} {}", memory("VmHWM:"));
    drop(held);
    block_on(ionveil.shutdown(Duration::from_secs(10)));
    reader.join().expect("does not panic");
}

/// Memory of this process that is in use; 0 where the system does not say.
fn resident_bytes() -> usize {
    memory("VmRSS:")
}

fn memory(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<usize>().ok()).unwrap_or_default() * 1024
}
