//! The rules of scenarios and of the state machine, each a row; and the machine against another one that is written as the rules
//! are spoken.

use proptest::prelude::*;

use super::super::*;

/// A ladder `a`, `b`, `c`, … with these thresholds; 0 is none.
fn ladder(escalation: i64, down: &[i64]) -> Ladder {
    let names: Vec<String> = (0..=down.len()).map(|level| char::from(b'a' + level as u8).to_string()).collect();
    let thresholds = names[1..].iter().zip(down).filter(|(_, streak)| **streak > 0);
    let scenario = PolicyScenario {
        name: "test".into(),
        escalation_threshold: escalation,
        deescalation_thresholds: thresholds.map(|(name, streak)| (name.clone(), *streak)).collect(),
        policy_order: names,
        ..PolicyScenario::default()
    };
    Ladder::new(&scenario).expect("a good scenario")
}

/// Outcomes as they are written here: `F` and `S`, a number before one repeats it.
fn outcomes(text: &str) -> Vec<bool> {
    let mut outcomes = Vec::new();
    for word in text.split_whitespace() {
        let (count, letter) = word.split_at(word.len() - 1);
        let count = if count.is_empty() { 1 } else { count.parse().expect("a number") };
        outcomes.extend(std::iter::repeat_n(letter == "S", count));
    }
    outcomes
}

/// The ladder, what happens, the level and counters it ends with, and the steps: outcome, levels, reason.
type Row<'a> = (&'a Ladder, &'a str, (u32, u64, u64), &'a [&'a str]);

#[test]
fn each_rule_of_the_machine() {
    let platform = Ladder::new(&PolicyScenario::default()).expect("sound");
    let one = ladder(2, &[]);
    let two = ladder(2, &[3]);
    let sticky = ladder(1, &[2, 0]);
    let quick = ladder(1, &[1, 1]);
    let table: &[Row<'_>] = &[
        (&platform, "", (0, 0, 0), &[]),
        // A failure ends the streak, a success the burst.
        (&platform, "4S", (0, 0, 4), &[]),
        (&platform, "4S F", (0, 1, 0), &[]),
        (&platform, "2F S", (0, 0, 1), &[]),
        (&platform, "2F S 2F", (0, 2, 0), &[]),
        // A burst of the threshold leads one level up and starts anew.
        (&platform, "3F", (1, 0, 0), &["2: 0→1 failure_burst:3"]),
        (&platform, "5F", (1, 2, 0), &["2: 0→1 failure_burst:3"]),
        (&platform, "2F S 3F", (1, 0, 0), &["5: 0→1 failure_burst:3"]),
        (&platform, "9F", (3, 0, 0), &["2: 0→1 failure_burst:3", "5: 1→2 failure_burst:3", "8: 2→3 failure_burst:3"]),
        // On the last level a burst keeps counting and changes nothing.
        (&two, "7F", (1, 5, 0), &["1: 0→1 failure_burst:2"]),
        (&one, "9F", (0, 9, 0), &[]),
        // A streak of the level's own threshold leads one level down and starts anew.
        (&two, "2F 2S", (1, 0, 2), &["1: 0→1 failure_burst:2"]),
        (&two, "2F 3S", (0, 0, 0), &["1: 0→1 failure_burst:2", "4: 1→0 success_streak:3"]),
        (&two, "2F 5S", (0, 0, 2), &["1: 0→1 failure_burst:2", "4: 1→0 success_streak:3"]),
        (&two, "2F 2S F 2S", (1, 0, 2), &["1: 0→1 failure_burst:2"]),
        (
            &quick,
            "2F 2S",
            (0, 0, 0),
            &["0: 0→1 failure_burst:1", "1: 1→2 failure_burst:1", "2: 2→1 success_streak:1", "3: 1→0 success_streak:1"],
        ),
        // The first level has no threshold; its streak only counts. So does one without a threshold.
        (&two, "99S", (0, 0, 99), &[]),
        (&one, "99S", (0, 0, 99), &[]),
        (&sticky, "2F 99S", (2, 0, 99), &["0: 0→1 failure_burst:1", "1: 1→2 failure_burst:1"]),
        // Successes before an escalation do not count towards coming down.
        (&two, "9S 2F 2S", (1, 0, 2), &["10: 0→1 failure_burst:2"]),
    ];
    for (ladder, text, ends, expected) in table {
        let mut machine = Machine::default();
        let mut steps = Vec::new();
        for (number, is_success) in outcomes(text).into_iter().enumerate() {
            if let Some(Step { from, to, reason }) = machine.apply(ladder, is_success) {
                steps.push(format!("{number}: {from}→{to} {reason}"));
            }
        }
        assert_eq!((machine.level, machine.failure_burst, machine.success_streak), *ends, "{text}");
        assert_eq!(steps, *expected, "{text}");
    }
}

/// The rules as they are spoken, an outcome at a time.
struct Spoken {
    level: usize,
    burst: u64,
    streak: u64,
}

impl Spoken {
    fn apply(&mut self, escalation: u64, down: &[i64], is_success: bool) -> Option<(usize, usize)> {
        let last = down.len();
        let from = self.level;
        if !is_success {
            self.streak = 0;
            self.burst += 1;
            if self.burst >= escalation && self.level != last {
                self.level += 1;
                self.burst = 0;
                return Some((from, self.level));
            }
        } else {
            self.burst = 0;
            self.streak += 1;
            if self.level > 0 && down[self.level - 1] > 0 && self.streak >= down[self.level - 1] as u64 {
                self.level -= 1;
                self.streak = 0;
                return Some((from, self.level));
            }
        }
        None
    }
}

proptest! {
    #[test]
    fn runs_of_outcomes_lead_where_single_ones_lead(
        escalation in 1..5i64,
        down in proptest::collection::vec(0..5i64, 0..5),
        runs in proptest::collection::vec((any::<bool>(), 1..9u64), 0..60),
        start in (0..5u32, 0..4u64),
    ) {
        let ladder = ladder(escalation, &down);
        // Counters may be past a threshold, as after a change of the ladder.
        let mut machine = Machine { level: start.0.min(ladder.last()), failure_burst: start.1, success_streak: 0 };
        let mut spoken = Spoken { level: machine.level as usize, burst: start.1, streak: 0 };
        for (is_success, count) in runs {
            let mut steps = Vec::new();
            machine.apply_run(&ladder, is_success, count, |number, step| steps.push((number, step.from as usize, step.to as usize)));
            let mut expected = Vec::new();
            for number in 0..count {
                if let Some((from, to)) = spoken.apply(escalation as u64, &down, is_success) {
                    expected.push((number, from, to));
                }
            }
            prop_assert_eq!(steps, expected);
            prop_assert_eq!((machine.level as usize, machine.failure_burst, machine.success_streak), (spoken.level, spoken.burst, spoken.streak));
        }
    }
}

#[test]
fn each_field_of_a_scenario() {
    let with = |change: &dyn Fn(&mut PolicyScenario)| {
        let mut scenario = PolicyScenario::default();
        change(&mut scenario);
        scenario
    };
    let thresholds = |pairs: &[(&str, i64)]| pairs.iter().map(|&(name, streak)| (name.to_owned(), streak)).collect();
    for (scenario, refused) in [
        (with(&|_| {}), None),
        (with(&|s| s.name = String::new()), Some(("name", "\"\""))),
        (with(&|s| s.name = "a / b\n".into()), None),
        (with(&|s| s.policy_order = vec![]), Some(("policy_order", "[]"))),
        (with(&|s| s.policy_order[2] = String::new()), Some(("policy_order[2]", "\"\""))),
        (with(&|s| s.policy_order[3] = "watch".into()), Some(("policy_order[3]", "\"watch\""))),
        (with(&|s| s.escalation_threshold = 0), Some(("escalation_threshold", "0"))),
        (with(&|s| s.escalation_threshold = -3), Some(("escalation_threshold", "-3"))),
        (with(&|s| s.escalation_threshold = i64::MAX), None),
        (with(&|s| s.deescalation_thresholds = thresholds(&[])), None),
        (
            with(&|s| s.deescalation_thresholds = thresholds(&[("watch", 0)])),
            Some(("deescalation_thresholds.watch", "0")),
        ),
        (
            with(&|s| s.deescalation_thresholds = thresholds(&[("normal", 1)])),
            Some(("deescalation_thresholds.normal", "1")),
        ),
        (
            with(&|s| s.deescalation_thresholds = thresholds(&[("other", 1)])),
            Some(("deescalation_thresholds.other", "1")),
        ),
        (
            with(&|s| {
                s.policy_order = vec!["a".into()];
                s.deescalation_thresholds = thresholds(&[]);
            }),
            None,
        ),
        (
            with(&|s| {
                s.policy_order = vec!["a".into()];
                s.deescalation_thresholds = thresholds(&[("a", 1)]);
            }),
            Some(("deescalation_thresholds.a", "1")),
        ),
    ] {
        let refusal = scenario.check().err();
        let shown = refusal.as_ref().map(|invalid| (invalid.field.as_str(), invalid.value.as_str()));
        assert_eq!(shown, refused, "{scenario:?}");
        assert_eq!(Ladder::new(&scenario).is_ok(), refused.is_none());
    }
}

#[test]
fn the_builder_starts_from_the_platform() {
    let platform = ScenarioBuilder::new("platform").build().expect("sound");
    assert_eq!(platform, PolicyScenario::default());
    let changed = ScenarioBuilder::new("changed")
        .with_policy_order(["normal", "halted", "gone"])
        .with_escalation_threshold(7)
        .with_deescalation_threshold("gone", 4)
        .with_metadata(serde_json::Map::from_iter([("why".to_owned(), "drill".into())]))
        .build()
        .expect("a good scenario");
    // Of the platform's thresholds those of its policies that are left stay.
    assert_eq!(changed.deescalation_thresholds, [("gone".to_owned(), 4), ("halted".to_owned(), 20)].into());
    assert_eq!((changed.escalation_threshold, changed.metadata["why"].as_str()), (7, Some("drill")));
    // What is asked for is not dropped, however the ladder looks.
    let refused =
        ScenarioBuilder::new("x").with_deescalation_threshold("gone", 4).build().expect_err("not on the ladder");
    assert_eq!(refused.field, "deescalation_thresholds.gone");
    for builder in [
        ScenarioBuilder::new(""),
        ScenarioBuilder::new("x").with_policy_order(Vec::<String>::new()),
        ScenarioBuilder::new("x").with_escalation_threshold(0),
        ScenarioBuilder::new("x").with_deescalation_threshold("normal", 1),
    ] {
        builder.build().expect_err("not a good scenario");
    }
}

#[test]
fn a_scenario_from_json_has_exactly_its_fields() {
    use serde_json::json;
    let good = json!({
        "name": "calm", "policy_order": ["a", "b"], "escalation_threshold": 2, "deescalation_thresholds": {"b": 3},
        "metadata": {"x": [1]},
    });
    let scenario = PolicyScenario::from_json(&good).expect("a scenario");
    assert_eq!(serde_json::to_value(&scenario).expect("JSON"), good);
    for (field, value, refused) in [
        ("name", json!(3), "name"),
        ("policy_order", json!("a"), "policy_order"),
        ("policy_order", json!(["a", 2]), "policy_order[1]"),
        ("escalation_threshold", json!("2"), "escalation_threshold"),
        ("escalation_threshold", json!(1.5), "escalation_threshold"),
        ("escalation_threshold", json!(1e30), "escalation_threshold"),
        ("deescalation_thresholds", json!([]), "deescalation_thresholds"),
        ("deescalation_thresholds", json!({"b": null}), "deescalation_thresholds.b"),
        ("metadata", json!([]), "metadata"),
        ("deescalation", json!({}), "deescalation"),
    ] {
        let mut changed = good.clone();
        changed[field] = value.clone();
        assert_eq!(PolicyScenario::from_json(&changed).expect_err(field).field, refused, "{value}");
    }
    for field in ["name", "policy_order", "escalation_threshold", "deescalation_thresholds"] {
        let mut changed = good.clone();
        changed.as_object_mut().expect("an object").remove(field);
        let refusal = PolicyScenario::from_json(&changed).expect_err(field);
        assert_eq!((refusal.field.as_str(), refusal.value.as_str()), (field, "missing"));
    }
    let mut without = good;
    without.as_object_mut().expect("an object").remove("metadata");
    assert!(PolicyScenario::from_json(&without).expect("metadata may be left out").metadata.is_empty());
}
