//! Dispatch analytics in memory, without journal and actors: how fast events are taken in, how long questions take with ten
//! million events and a thousand orgs loaded, what an event and an org cost, and what a crowd of subscribers does to ingest.
//! `cargo bench --bench analytics`; `IONVEIL_BENCH_EVENTS` (10000000) and `IONVEIL_BENCH_ORGS` (1000) make it smaller.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;
use std::time::{Duration, Instant as Clock};

use ionveil::dispatch::{
    AggregationType, Dimensions, DispatchEvent, Dispatches, GetDashboardSnapshot, GetHeatmap, GetMetric, GetRegions,
    GridSize, IngestBatch, Instant, Metric, Percent, Status,
};
use ionveil::domain::{MICROS_PER_HOUR, MICROS_PER_MINUTE, OrgId, TimeWindow, Timestamp};
use ionveil::runtime::{Aggregate as _, Command as _, Given, Query};
use ionveil::{Config, IonVeil, Update};
use pollster::block_on;

const DAYS: i64 = 30;
const BATCH: usize = 1_000;
const QUESTIONS: usize = 20_000;

fn main() {
    let events = setting("IONVEIL_BENCH_EVENTS", 10_000_000);
    let orgs = setting("IONVEIL_BENCH_ORGS", 1_000);
    ingest_and_ask(events, orgs);
    flood();
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

/// The `number`-th of `count` events of an org over the 30 days; one in ten comes out of order by up to ten minutes.
fn event(random: &mut Random, org: &OrgId, number: usize, count: usize) -> DispatchEvent {
    let span = DAYS * 24 * MICROS_PER_HOUR;
    let late = if random.below(10) == 0 { random.below(10 * MICROS_PER_MINUTE as u64) as i64 } else { 0 };
    let at = (number as i128 * i128::from(span) / count as i128) as i64 - late;
    DispatchEvent {
        event_id: format!("{:013}-{:02}", number, random.below(100)),
        org_id: org.clone(),
        dispatch_id: format!("d-{number:09}"),
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
        status: Status::Closed,
    }
}

fn ingest_and_ask(events: usize, orgs: usize) {
    let given = Given::at(end());
    let per_org = events / orgs;
    let mut random = Random(1);
    let memory_before = resident_bytes();
    let mut states: Vec<Dispatches> = Vec::new();
    let mut spent = Duration::ZERO;
    for number in 0..orgs {
        let org: OrgId = format!("org-{number}").parse().expect("an id");
        let mut state = Dispatches::default();
        state
            .evolve(&ionveil::dispatch::Event::RetentionSet(ionveil::dispatch::RetentionSet { hours: 0 }))
            .expect("a retention");
        for first in (0..per_org).step_by(BATCH) {
            let batch: Vec<DispatchEvent> =
                (first..(first + BATCH).min(per_org)).map(|number| event(&mut random, &org, number, per_org)).collect();
            let begun = Clock::now();
            let decided = IngestBatch { events: batch }.decide(&state, &given).expect("a batch is never refused");
            for event in &decided.events {
                state.evolve(event).expect("what decide writes");
            }
            spent += begun.elapsed();
        }
        states.push(state);
    }
    let counted: usize = states.iter().map(Dispatches::events).sum();
    println!("{counted} events of {orgs} orgs over {DAYS} days, one core, located, batches of {BATCH}");
    println!("ingest with deduplication   {:>10.0} events/s", counted as f64 / spent.as_secs_f64());
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
        let mut micros: Vec<f64> = (0..QUESTIONS)
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
    ask("snapshot", &|random, state| {
        let at = start().saturating_add_micros(random.below((DAYS * 24 * MICROS_PER_HOUR) as u64) as i64);
        let question = GetDashboardSnapshot { org_id: "org".parse().expect("an id"), as_of: Some(Instant::At(at)) };
        black_box(question.answer(state, &given).expect("an answer"));
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

/// Ingest through actors and a journal in memory, alone and with 1,000 subscribers of which 10 never read.
fn flood() {
    const EVENTS: usize = 300_000;
    const ROUNDS: usize = 3;
    let rate = |subscribers: usize, stuck: usize| -> f64 {
        let config = Config::in_memory().with_flush_interval(Duration::from_millis(100));
        let ionveil = IonVeil::open(config).expect("memory");
        let aggregator = ionveil.dispatch_aggregator();
        let org: OrgId = "flooded".parse().expect("an id");
        block_on(aggregator.set_retention(&org, 0)).expect("in range");
        let subscribe = || block_on(aggregator.subscribe_to_updates(&org, &Metric::ALL)).expect("a subscription");
        let held: Vec<_> = (0..stuck).map(|_| subscribe()).collect();
        let reading: Vec<_> = (stuck..subscribers).map(|_| subscribe()).collect();
        let reader = std::thread::spawn(move || {
            // One thread reads for all; each sees every update or is told what it missed.
            let mut reading = reading;
            let mut heard = 0u64;
            while !reading.is_empty() {
                reading.retain_mut(|updates| match block_on(updates.next()) {
                    Some(Update::Metric(_) | Update::Missed { .. }) => {
                        heard += 1;
                        true
                    }
                    None => false,
                });
            }
            heard
        });
        let mut random = Random(2);
        let batches: Vec<Vec<DispatchEvent>> = (0..EVENTS)
            .step_by(BATCH)
            .map(|first| (first..first + BATCH).map(|number| event(&mut random, &org, number, EVENTS)).collect())
            .collect();
        let begun = Clock::now();
        for batch in batches {
            block_on(aggregator.ingest_batch(batch)).expect("taken");
        }
        let rate = EVENTS as f64 / begun.elapsed().as_secs_f64();
        drop(held);
        block_on(ionveil.shutdown(Duration::from_secs(10)));
        reader.join().expect("does not panic");
        rate
    };
    let (mut alone, mut crowded) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        alone.push(rate(0, 0));
        crowded.push(rate(1_000, 10));
    }
    let median = |mut rates: Vec<f64>| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    let (alone, crowded) = (median(alone), median(crowded));
    println!("ingest without subscribers  {alone:>10.0} events/s (journal in memory, median of {ROUNDS})");
    println!("with 1,000, 10 of them stuck{crowded:>10.0} events/s, {:.2} of that", crowded / alone);
}

/// Memory of this process that is in use; 0 where the system does not say.
fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kilobytes| kilobytes.parse::<usize>().ok()).unwrap_or_default() * 1024
}
