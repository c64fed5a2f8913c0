//! Runs against properties, and against the rules as they are spoken.

use proptest::prelude::*;

use super::*;
use crate::policy::{Ladder, Step};

/// A scenario with any thresholds, some policies without one.
fn any_scenario() -> impl Strategy<Value = PolicyScenario> {
    (1..5i64, proptest::collection::vec(0..6i64, 0..4)).prop_map(|(up, down)| {
        let order: Vec<String> = (0..=down.len()).map(|level| format!("level-{level}")).collect();
        let thresholds = order[1..].iter().cloned().zip(down).filter(|(_, streak)| *streak > 0);
        let scenario = PolicyScenario {
            name: "any".into(),
            escalation_threshold: up,
            deescalation_thresholds: thresholds.collect(),
            policy_order: order,
            ..PolicyScenario::default()
        };
        scenario.check().expect("a good scenario");
        scenario
    })
}

fn any_events() -> impl Strategy<Value = Vec<(Offset, bool)>> {
    let micros = prop_oneof![(0..40i64).prop_map(|second| second * 1_000_000), 0..40_000_000i64];
    let event = (micros, any::<bool>()).prop_map(|(at, ok)| (Offset::from_micros(at).expect("an offset"), ok));
    proptest::collection::vec(event, 0..150)
}

proptest! {
    #[test]
    fn times_sum_to_the_duration_and_transitions_form_a_path(
        scenario in any_scenario(), events in any_events(), duration in 1..40u64,
    ) {
        let ladder = Ladder::new(&scenario).expect("sound");
        let pattern = FailurePattern { events, ..pattern("") };
        let prepared = prepared(&pattern, duration);
        let mut steps = Vec::new();
        let totals = simulate(&ladder, &prepared, &Cancel::default(), &mut steps).expect("nobody has the flag");
        prop_assert_eq!(totals.micros_by_level.iter().sum::<i64>(), duration as i64 * 1_000_000);
        prop_assert_eq!(prepared.len() as u64 + prepared.ignored(), pattern.events.len() as u64);
        let mut level = 0;
        let mut before = Offset::default();
        for (offset, step) in &steps {
            prop_assert_eq!(step.from, level);
            prop_assert_eq!(step.from.abs_diff(step.to), 1);
            prop_assert!(*offset >= before);
            (level, before) = (step.to, *offset);
        }
        prop_assert_eq!(totals.final_level, level);
        prop_assert_eq!(totals.escalations + totals.deescalations, steps.len() as u64);
        // Without recording steps it is the same.
        prop_assert_eq!(&totals, &simulate(&ladder, &prepared, &Cancel::default(), &mut ()).expect("nobody has the flag"));

        let spoken = spoken(&scenario, &pattern, duration);
        prop_assert_eq!((totals.compliant, totals.exposed), (spoken.0, spoken.1));
        prop_assert_eq!(totals.micros_by_level, spoken.2);
    }
}

/// Compliant successes, exposed failures and time by level, by the rules as they are spoken: an event at a time.
fn spoken(scenario: &PolicyScenario, pattern: &FailurePattern, duration: u64) -> (u64, u64, Vec<i64>) {
    let order = &scenario.policy_order;
    let mut events = pattern.events.clone();
    events.sort_by_key(|event| event.0);
    let (mut level, mut burst, mut streak) = (0, 0, 0);
    let (mut compliant, mut exposed) = (0, 0);
    let mut time = vec![0; order.len()];
    let mut now = 0;
    for (offset, is_success) in events {
        let at = offset.as_micros();
        if at >= duration as i64 * 1_000_000 {
            break;
        }
        time[level] += at - now;
        now = at;
        if is_success {
            compliant += u64::from(order.len() == 1 || level + 1 < order.len());
            (burst, streak) = (0, streak + 1);
            let threshold = scenario.deescalation_thresholds.get(&order[level]);
            if level > 0 && threshold.is_some_and(|threshold| streak >= *threshold) {
                (level, streak) = (level - 1, 0);
            }
        } else {
            exposed += u64::from(level == 0);
            (streak, burst) = (0, burst + 1);
            if burst >= scenario.escalation_threshold && level + 1 < order.len() {
                (level, burst) = (level + 1, 0);
            }
        }
    }
    time[level] += duration as i64 * 1_000_000 - now;
    (compliant, exposed, time)
}

#[test]
fn a_run_that_is_cancelled_stops() {
    let ladder = Ladder::new(&PolicyScenario::default()).expect("sound");
    let cancel = Cancel::default();
    cancel.cancel();
    assert_eq!(simulate(&ladder, &prepared(&pattern("FS"), 5), &cancel, &mut ()), Err(Cancelled));
    for rule in [
        "constant:rate=0.5,duration=9",
        "hawkes:rate=1,branching=0.9,decay=1,duration=100000,seed=1",
        "daily:rate=1,amplitude=0.9,peak=1,duration=100000,seed=1",
        "gilbert:to_bad=0.5,to_good=0.5,good=0,bad=1,duration=9,seed=1",
    ] {
        let generator: Generator = rule.parse().expect("a generator");
        assert_eq!(generator.generate(&cancel), Err(GenerateError::Cancelled(Cancelled)), "{rule}");
    }
}

/// A step for each outcome, the first of which calls the run off.
struct CallsOff(Cancel, usize);

impl OnStep for CallsOff {
    fn on_step(&mut self, _: Offset, _: Step) {
        self.0.cancel();
        self.1 += 1;
    }
}

#[test]
fn a_run_that_is_cancelled_on_its_way_stops_within_a_millisecond_of_work() {
    let scenario = PolicyScenario {
        policy_order: vec!["low".into(), "high".into()],
        escalation_threshold: 1,
        deescalation_thresholds: [("high".to_owned(), 1)].into(),
        ..PolicyScenario::default()
    };
    let ladder = Ladder::new(&scenario).expect("sound");
    let mut steps = CallsOff(Cancel::default(), 0);
    let prepared = prepared(&pattern(&"FS".repeat(100_000)), 200_000);
    assert_eq!(simulate(&ladder, &prepared, &steps.0.clone(), &mut steps), Err(Cancelled));
    assert!(steps.1 <= 1 << 15, "{} outcomes more, at some hundred million a second", steps.1);
}

#[test]
fn a_generator_is_read_back_from_its_text() {
    for text in [
        "constant:rate=0.2,duration=3600,eps=1",
        "burst:size=3,interval=60,duration=3600,seed=0",
        "cascading:initial=0.05,factor=2,recovery=300,duration=900,seed=18446744073709551615",
        "hawkes:rate=0.25,branching=0.8,decay=0.1,duration=3600,successes=1,seed=42",
        "gilbert:to_bad=0.01,to_good=0.1,good=0.02,bad=0.8,duration=3600,eps=0.30000000000000004,seed=42",
        "daily:rate=0.05,amplitude=0.8,peak=14,duration=86400,successes=1,seed=42",
    ] {
        let generator: Generator = text.parse().expect(text);
        assert_eq!(generator.to_string(), text);
        let pattern = generator.generate(&Cancel::default()).expect(text);
        assert_eq!(pattern.pattern_id, text);
        assert!(pattern.events.is_sorted_by_key(|event| event.0), "{text}");
        let end = at(generator.duration_seconds() as f64);
        assert!(pattern.events.iter().all(|event| event.0 < end), "{text}");
    }
}

/// What bursty processes are for: at the same mean rate of failures, even ones hide what bursts do.
#[test]
fn bursty_failures_reach_what_even_ones_do_not() {
    let share_of_hours = |branching: f64| {
        let rule = Rule::Hawkes { rate: 0.25, branching, decay: 0.1, duration: 3_600, successes: 0.0 };
        let generator = Generator::new(rule, None).expect("a good rule");
        let hours = 200;
        let reached = (0..hours).filter(|&hour| {
            let events = generator.generate_run(11, hour, &Cancel::default()).expect("few events");
            let seconds: Vec<f64> = events.iter().map(|event| event.0.as_seconds()).collect();
            // 35 failures within a minute.
            seconds.windows(35).any(|window| window[34] - window[0] < 60.0)
        });
        reached.count() as f64 / hours as f64
    };
    let (even, bursty) = (share_of_hours(0.0), share_of_hours(0.8));
    assert!(even < 0.05 && bursty > 0.8, "{even} {bursty}");
}

#[test]
fn processes_have_the_rates_they_are_given() {
    let counts = |text: &str| {
        let pattern = text.parse::<Generator>().expect(text).generate(&Cancel::default()).expect(text);
        let failures = pattern.events.iter().filter(|event| !event.1).count() as f64;
        (failures, pattern.events.len() as f64 - failures, pattern)
    };
    let near =
        |value: f64, expected: f64, by: f64| assert!((value / expected - 1.0).abs() < by, "{value}, not {expected}");
    let (failures, successes, _) =
        counts("hawkes:rate=0.25,branching=0.8,decay=0.5,duration=200000,successes=0.5,seed=5");
    near(failures, 50_000.0, 0.05);
    near(successes, 100_000.0, 0.02);
    // Good spells last 100 events on average, bad ones 10.
    let (failures, _, _) = counts("gilbert:to_bad=0.01,to_good=0.1,good=0.02,bad=0.8,duration=200000,seed=5");
    near(failures, 200_000.0 * (0.02 * 10.0 + 0.8) / 11.0, 0.05);
    let (failures, _, pattern) = counts("daily:rate=0.1,amplitude=1,peak=6,duration=864000,successes=0,seed=5");
    near(failures, 86_400.0, 0.02);
    let by_hour = |hour: i64| {
        let in_hour = |event: &&(Offset, bool)| event.0.as_micros() / 3_600_000_000 % 24 == hour;
        pattern.events.iter().filter(in_hour).count()
    };
    assert!(by_hour(6) > 6_000 && by_hour(18) < 200, "{} {}", by_hour(6), by_hour(18));
}
