//! What is computed with runs: measures and recommendations, sweeps, Monte Carlo, fits.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::policy::Ladder;

fn result(name: &str, times: &[f64], transitions: u64, compliance: f64, exposure: f64) -> SimulationResult {
    let order: Vec<String> = (0..times.len()).map(|level| format!("level-{level}")).collect();
    let scenario = PolicyScenario {
        name: name.into(),
        policy_order: order.clone(),
        deescalation_thresholds: [].into(),
        ..PolicyScenario::default()
    };
    let unfinished =
        SimulationResult::unfinished(name.into(), scenario, Arc::new(pattern("")), SimulationStatus::Completed, None);
    SimulationResult {
        time_in_each_policy: order.into_iter().zip(times.iter().copied()).collect(),
        total_escalations: transitions,
        sla_compliance_rate: compliance,
        exposure,
        ..unfinished
    }
}

#[test]
fn each_measure_of_a_result() {
    let measures = Measures::of_result(&result("a", &[900.0, 600.0, 300.0], 3, 0.9, 0.5));
    assert_eq!(
        measures,
        Measures {
            sla_compliance_rate: 0.9,
            last_policy_share: 300.0 / 1_800.0,
            elevated_share: 0.5,
            transitions_per_hour: 6.0,
            exposure: 0.5,
        }
    );
    let alone = Measures::of_result(&result("a", &[1_800.0], 0, 1.0, 1.0));
    // By their bits: the elevated share is shown, and must not be −0.
    assert_eq!([alone.last_policy_share, alone.elevated_share].map(f64::to_bits), [0, 0]);
}

#[test]
fn the_smallest_score_on_the_front_is_recommended() {
    let weights = Weights::default();
    // b is dominated by a, and c trades exposure for transitions.
    let results = [
        result("a", &[90.0, 10.0], 2, 0.9, 0.5),
        result("b", &[90.0, 10.0], 4, 0.9, 0.5),
        result("c", &[80.0, 20.0], 6, 0.9, 0.1),
    ];
    let recommendation = recommend(&results, &weights).expect("completed results");
    assert_eq!(recommendation.recommended, "a");
    let shown: Vec<(&str, f64, bool)> =
        recommendation.scores.iter().map(|score| (score.name.as_str(), score.score, score.pareto)).collect();
    // a: exposure 1. b: half of the transitions, and exposure. c: three measures are the worst.
    assert_eq!(shown, [("a", 1.0, true), ("b", 1.5, false), ("c", 3.0, true)]);
    let mut only_exposure = weights;
    for measure in Measure::ALL {
        only_exposure.set(measure, if measure == Measure::Exposure { 1.0 } else { 0.0 }).expect("good weights");
    }
    assert_eq!(recommend(&results, &only_exposure).expect("completed results").recommended, "c");
    // In whatever order they are given.
    let backwards = [results[2].clone(), results[1].clone(), results[0].clone()];
    assert_eq!(recommend(&backwards, &weights), recommend(&results, &weights));
    // Equal ones tie by name; all measures are normalised to 0.
    let equal = [result("y", &[1.0], 0, 0.5, 1.0), result("x", &[1.0], 0, 0.5, 1.0)];
    let tie = recommend(&equal, &weights).expect("completed results");
    assert_eq!((tie.recommended.as_str(), tie.scores[0].score, tie.scores[1].pareto), ("x", 0.0, true));
    assert!(tie.reasons[0].contains("x never reacts"), "{:?}", tie.reasons);
    // What was not completed counts for nothing.
    let mut failed = results[0].clone();
    failed.status = SimulationStatus::Failed;
    assert_eq!(recommend(&[failed.clone()], &weights).expect_err("none is completed").field, "results");
    assert_eq!(recommend(&[], &weights).expect_err("none is completed").value, "0 of them");
    assert_eq!(recommend(&[failed, results[2].clone()], &weights).expect("one is").recommended, "c");
    for weight in [f64::NAN, -1.0, f64::INFINITY, 1e308] {
        let refused = Weights::default().set(Measure::Exposure, weight).expect_err("no weight");
        assert_eq!(
            (refused.field.as_str(), refused.allowed.as_str()),
            ("weights.exposure", "a number, 0 to 1000000000")
        );
    }
}

fn any_measures() -> impl Strategy<Value = Measures> {
    let level = || (0..4u8).prop_map(|level| f64::from(level) / 3.0);
    (level(), level(), level(), level(), level()).prop_map(|(a, b, c, d, e)| Measures {
        sla_compliance_rate: a,
        last_policy_share: b,
        elevated_share: c,
        transitions_per_hour: d * 1e9,
        exposure: e,
    })
}

proptest! {
    #[test]
    fn the_front_is_what_nothing_dominates(policies in proptest::collection::vec(any_measures(), 1..40)) {
        let ranking = Ranking::of(&policies, &Weights::default());
        for (policy, is_pareto) in policies.iter().zip(&ranking.is_pareto) {
            prop_assert_eq!(*is_pareto, !policies.iter().any(|other| other.dominates(policy)));
        }
        // With these weights the best score is on the front.
        let best = ranking.scores.iter().copied().fold(f64::INFINITY, f64::min);
        prop_assert!(ranking.scores.iter().zip(&ranking.is_pareto).any(|(score, pareto)| *pareto && *score <= best + 1e-12));
    }
}

#[test]
fn a_sweep_holds_out_what_it_does_not_choose_by() {
    let range = |low, high| ThresholdRange::new("x", low, high).expect("a good range");
    let grid = SweepGrid {
        base: PolicyScenario::default(),
        escalation: range(1, 3),
        deescalation: [("watch".to_owned(), range(2, 3))].into(),
    };
    let whole = prepared(&pattern("FFSSFFFSSSFSFFSSSSFF"), 20);
    let (first, last) = whole.split(12);
    let none = Cancel::default();
    let entries =
        sweep(&grid, &first, Some(&last), &Weights::default(), &none).expect("a good grid").expect("not cancelled");
    let alone = sweep(&grid, &first, None, &Weights::default(), &none).expect("a good grid").expect("not cancelled");
    let later = sweep(&grid, &last, None, &Weights::default(), &none).expect("a good grid").expect("not cancelled");
    assert_eq!(entries.len(), 6);
    for ((entry, alone), later) in entries.iter().zip(alone).zip(later) {
        assert_eq!((entry.measures, entry.score, entry.pareto), (alone.measures, alone.score, alone.pareto));
        assert_eq!(entry.holdout, Some(later.measures));
    }
    let cancel = Cancel::default();
    cancel.cancel();
    assert_eq!(sweep(&grid, &first, None, &Weights::default(), &cancel), Ok(Err(Cancelled)));
}

#[test]
fn ranges_are_whole_and_ascending() {
    for (text, good) in [
        ("1..8", true),
        ("3", true),
        ("2..=4", true),
        ("8..1", false),
        ("0..3", false),
        ("-1..3", false),
        ("a", false),
        ("1..", false),
    ] {
        assert_eq!(ThresholdRange::parse("escalation", text).is_ok(), good, "{text}");
    }
}

fn asked(runs: u64) -> MonteCarlo {
    MonteCarlo {
        scenarios: vec![scenario("calm", &["open", "shut"], 5, 3), scenario("quick", &["open", "shut"], 2, 3)],
        generator: "constant:rate=0.3,duration=300".parse().expect("a generator"),
        duration_seconds: 300,
        runs,
        seed: 7,
        stop: None,
    }
}

#[test]
fn monte_carlo_is_the_mean_over_runs_on_the_same_patterns() {
    let asked = asked(70);
    let report = monte_carlo(&asked, &Cancel::default()).expect("good input");
    assert_eq!(report, monte_carlo(&asked, &Cancel::default()).expect("good input"), "the same seed, the same report");
    let mut differences = Vec::new();
    let mut exposures = Vec::new();
    for run in 0..70 {
        let events = asked.generator.generate_run(7, run, &Cancel::default()).expect("few events");
        let pattern = prepared(&FailurePattern { events, ..pattern("") }, 300);
        let exposure = |scenario| {
            let ladder = Ladder::new(scenario).expect("sound");
            let totals = simulate(&ladder, &pattern, &Cancel::default(), &mut ()).expect("nobody has the flag");
            Measures::of_totals(&totals, &pattern).exposure
        };
        let [calm, quick] = [exposure(&asked.scenarios[0]), exposure(&asked.scenarios[1])];
        differences.push(quick - calm);
        exposures.push(calm);
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let exposure = Measure::ALL.iter().position(|measure| *measure == Measure::Exposure).expect("it is one");
    let of_calm = report.scenarios[0].measures[exposure];
    let of_pair = report.differences[0].measures[exposure];
    assert!((of_calm.mean - mean(&exposures)).abs() < 1e-12);
    assert!((of_pair.difference.mean - mean(&differences)).abs() < 1e-12);
    let better = differences.iter().filter(|difference| **difference < 0.0).count();
    assert_eq!(of_pair.probability_b_better, better as f64 / 70.0);
    assert!(
        of_pair
            .difference
            .low
            .zip(of_pair.difference.high)
            .is_some_and(|(low, high)| low < mean(&differences) && mean(&differences) < high)
    );
    assert_eq!((report.runs, report.stopped_early, report.differences.len()), (70, false, 1));
    // The first patterns of more runs are the same ones.
    let single = monte_carlo(&MonteCarlo { runs: 1, ..asked }, &Cancel::default()).expect("good input");
    assert_eq!(
        (single.scenarios[0].measures[exposure].mean, single.scenarios[0].measures[exposure].low),
        (exposures[0], None)
    );
}

#[test]
fn monte_carlo_stops_when_it_knows_enough() {
    let stop = Some(StopRule { measure: Measure::Exposure, width: 0.5 });
    let report = monte_carlo(&MonteCarlo { stop, ..asked(100_000) }, &Cancel::default()).expect("good input");
    assert_eq!((report.runs, report.stopped_early), (64, true));
    for (changed, field) in [
        (MonteCarlo { runs: 0, ..asked(1) }, "runs"),
        (MonteCarlo { runs: RUNS_MAX + 1, ..asked(1) }, "runs"),
        (MonteCarlo { duration_seconds: 0, ..asked(1) }, "duration_seconds"),
        (MonteCarlo { scenarios: vec![], ..asked(1) }, "scenarios"),
        (MonteCarlo { scenarios: vec![PolicyScenario::default(); 2], ..asked(1) }, "name"),
        (
            MonteCarlo {
                scenarios: vec![PolicyScenario { escalation_threshold: 0, ..PolicyScenario::default() }],
                ..asked(1)
            },
            "escalation_threshold",
        ),
        (MonteCarlo { stop: Some(StopRule { measure: Measure::Exposure, width: 0.0 }), ..asked(1) }, "width"),
    ] {
        match monte_carlo(&changed, &Cancel::default()) {
            Err(GenerateError::Invalid(invalid)) => assert_eq!(invalid.field, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}

fn fitted(generator: &str) -> BurstFit {
    let pattern = generator.parse::<Generator>().expect(generator).generate(&Cancel::default()).expect(generator);
    fit(&pattern).expect("there are events")
}

#[test]
fn a_fit_finds_the_parameters_that_made_the_pattern() {
    let near =
        |value: f64, expected: f64, by: f64| assert!((value / expected - 1.0).abs() < by, "{value}, not {expected}");
    let fit = fitted("hawkes:rate=0.25,branching=0.6,decay=0.5,duration=20000,successes=0.5,seed=3");
    let hawkes = fit.hawkes.expect("thousands of failures");
    near(hawkes.rate, 0.25, 0.1);
    near(hawkes.branching, 0.6, 0.1);
    near(hawkes.decay, 0.5, 0.2);
    near(fit.successes_per_second, 0.5, 0.05);
    assert!(hawkes.aic < hawkes.poisson_aic - 100.0 && hawkes.ks_p_value > 0.01, "{hawkes:?}");
    assert!(fit.dispersion_index.is_some_and(|index| index > 2.0));
    hawkes.generator.parse::<Generator>().expect("a generator");

    let fit = fitted("gilbert:to_bad=0.02,to_good=0.1,good=0.02,bad=0.7,duration=20000,seed=3");
    let gilbert = fit.gilbert.expect("thousands of failures");
    near(gilbert.to_bad, 0.02, 0.2);
    near(gilbert.to_good, 0.1, 0.2);
    near(gilbert.good, 0.02, 0.3);
    near(gilbert.bad, 0.7, 0.1);
    assert!(gilbert.aic < gilbert.independent_aic - 100.0, "{gilbert:?}");
    gilbert.generator.parse::<Generator>().expect("a generator");

    // Where nothing causes anything, nothing is found.
    let even = fitted("hawkes:rate=0.25,branching=0,decay=1,duration=20000,successes=0.5,seed=3");
    let hawkes = even.hawkes.expect("thousands of failures");
    assert!(hawkes.branching < 0.1 && hawkes.aic > hawkes.poisson_aic - 10.0, "{hawkes:?}");
    assert!(even.dispersion_index.is_some_and(|index| (index - 1.0).abs() < 0.3));
}

#[test]
fn a_fit_of_little_says_what_it_can() {
    assert_eq!(fit(&pattern("")).expect_err("nothing").field, "events");
    let few = fit(&pattern("FFSF")).expect("four events");
    assert_eq!((few.hawkes, few.gilbert, few.longest_failure_run, few.mean_failure_run), (None, None, 2, 1.5));
    let only_failures = fit(&pattern("FFFFFFFFFFFF")).expect("twelve events");
    assert!(only_failures.gilbert.is_none() && only_failures.hawkes.is_some());
    assert_eq!(fit(&pattern("SSS")).expect("three events").mean_failure_run, 0.0);
    // All at one instant.
    let burst = FailurePattern { events: vec![(at(5.0), false); 50], ..pattern("") };
    let hawkes = fit(&burst).expect("fifty events").hawkes.expect("fifty failures");
    assert!(hawkes.log_likelihood.is_finite(), "{hawkes:?}");
}
