//! Given, when, then for the rules.

use serde_json::{Value, json};

use super::*;
use crate::error::Invalid;
use crate::runtime::testing::{Observed, Scenario};

impl Observed for Rules {
    fn observed(&self) -> String {
        format!("{self:?}")
    }
}

/// A breach rule as JSON with some members replaced or added; a null takes one away.
fn rule_json(changes: Value) -> Value {
    let mut rule = json!({
        "rule_id": "breach", "name": "Breach", "description": "too late", "condition_type": "sla_breach",
        "threshold_config": {}, "severity": "critical", "notification_channels": ["email"],
    });
    for (name, value) in changes.as_object().expect("an object") {
        rule[name] = value.clone();
    }
    rule
}

#[track_caller]
fn rule(changes: Value) -> AlertRule {
    AlertRule::from_json(&rule_json(changes)).expect("a good rule")
}

fn versioned(mut rule: AlertRule, version: u32) -> AlertRule {
    rule.version = version;
    rule
}

fn set(rule: AlertRule) -> Event {
    Event::Set(event::RuleSet { rule: rule.into() })
}

#[test]
fn a_rule_keeps_its_id_and_each_change_raises_its_version() {
    let first = versioned(rule(json!({})), 1);
    let second = versioned(rule(json!({"severity": "emergency"})), 2);
    let third = versioned(rule(json!({})), 3);
    let rules = Scenario::<Rules>::given([])
        .when(AddRules { rules: vec![rule(json!({}))] })
        .then([set(first.clone())], vec![first])
        .when(AddRules { rules: vec![rule(json!({"severity": "emergency"}))] })
        .then([set(second.clone())], vec![second.clone()]);
    assert_eq!(rules.ask(GetRules::default()).expect("an answer").rules, [second]);
    rules
        .when(RemoveRule { rule_id: "breach".into() })
        .then([Event::Removed(RuleRemoved { rule_id: "breach".into() })], true)
        .when(RemoveRule { rule_id: "breach".into() })
        .then_nothing_but(false)
        .when(AddRules { rules: vec![rule(json!({}))] })
        .then([set(third.clone())], vec![third]);
}

#[test]
fn an_org_has_its_own_rules_and_those_of_all_and_hears_of_no_other_change() {
    let of = |id: &str, org: Option<&str>| rule(json!({"rule_id": id, "org_id": org}));
    let rules = Scenario::<Rules>::given([])
        .when(AddRules { rules: vec![of("b", None), of("a", Some("north")), of("c", Some("south"))] })
        .then_accepted();
    let ask = |rules: &Scenario<Rules>, org: Option<&str>| {
        let answer = rules.ask(GetRules { org_id: org.map(|org| org.parse().expect("an id")) }).expect("an answer");
        (answer.revision, answer.rules.into_iter().map(|rule| rule.rule_id).collect::<Vec<_>>())
    };
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    assert_eq!(ask(&rules, None), (3, ids(&["a", "b", "c"])));
    assert_eq!(ask(&rules, Some("north")), (2, ids(&["a", "b"])));
    assert_eq!(ask(&rules, Some("east")), (1, ids(&["b"])));
    let rules = rules.when(AddRules { rules: vec![of("c", Some("east"))] }).then_accepted();
    assert_eq!(ask(&rules, Some("north")), (2, ids(&["a", "b"])), "nothing of it concerns the north");
    assert_eq!(ask(&rules, Some("south")), (4, ids(&["b"])), "it has lost one");
    assert_eq!(ask(&rules, Some("east")), (4, ids(&["b", "c"])));
}

#[test]
fn a_list_is_stored_whole_or_not_at_all() {
    let mut bad = rule(json!({"rule_id": "other"}));
    bad.name = String::new();
    let empty = Scenario::<Rules>::given([]);
    let allowed = "1 to 128 characters, none of them a control character";
    let empty =
        empty.when(AddRules { rules: vec![rule(json!({})), bad] }).then_refused(Invalid::new("name", "\"\"", allowed));
    empty.when(AddRules { rules: vec![rule(json!({})), rule(json!({}))] }).then_refused(Invalid::new(
        "rule_id",
        "breach",
        "a rule once",
    ));
}

#[test]
fn defaults_are_the_seeds() {
    let short = json!({"rule_id": "a", "name": "A", "condition_type": "sla_breach", "severity": "info"});
    let rule = AlertRule::from_json(&short).expect("a good rule");
    assert_eq!(
        json!(rule),
        json!({
            "rule_id": "a", "org_id": null, "version": 0, "name": "A", "description": "", "condition_type": "sla_breach",
            "threshold_config": {}, "severity": "info", "notification_channels": [], "escalation_after_minutes": null,
            "suppression_window_minutes": 5, "enabled": true,
        })
    );
    assert_eq!(AlertRule::from_json(&json!(rule)), Ok(rule), "what is shown can be read again");
}

#[test]
fn every_condition_reads_back_as_it_is_shown() {
    for (condition_type, config) in [
        ("sla_warning", json!({"sla_remaining_pct": 25})),
        ("sla_warning", json!({"sla_remaining_pct": 12.5})),
        ("sla_breach", json!({})),
        ("pattern", json!({"consecutive_breaches": 3})),
        ("pattern", json!({"consecutive_breaches": 3, "within_minutes": 60})),
        (
            "threshold",
            json!({"metric": "response_time", "window": "15m", "aggregation": "p90", "op": ">=", "value": 7.5}),
        ),
        (
            "threshold",
            json!({"metric": "dispatch_count", "window": "1h", "aggregation": "count", "op": "<", "value": 1,
                   "dimensions": {"region": "B04", "severity": "5"}}),
        ),
    ] {
        let rule = rule(json!({"condition_type": condition_type, "threshold_config": config}));
        assert_eq!((rule.condition.condition_type(), rule.condition.threshold_config()), (condition_type, config));
    }
    // The seed's own example has keys of two types side by side.
    let both = json!({"sla_remaining_pct": 25, "consecutive_breaches": 3});
    let rule = rule(json!({"condition_type": "sla_warning", "threshold_config": both}));
    assert_eq!(rule.condition, Condition::SlaWarning { sla_remaining_pct: 25.0 });
}

#[test]
fn what_could_not_be_judged_is_refused_by_name() {
    let threshold = |changes: Value| {
        let mut config = json!({"metric": "distance", "window": "1m", "aggregation": "avg", "op": ">", "value": 1});
        for (name, value) in changes.as_object().expect("an object") {
            config[name] = value.clone();
        }
        json!({"condition_type": "threshold", "threshold_config": config})
    };
    let config = |kind: &str, config: Value| json!({"condition_type": kind, "threshold_config": config});
    for (changes, field, value) in [
        (json!({"rule_id": ""}), "rule_id", "\"\""),
        (json!({"rule_id": "a/b"}), "rule_id", "\"a/b\""),
        (json!({"rule_id": null}), "rule_id", "missing"),
        (json!({"rule_id": 7}), "rule_id", "7"),
        (json!({"org_id": "a/b"}), "org_id", "\"a/b\""),
        (json!({"name": null}), "name", "missing"),
        (json!({"name": "a\nb"}), "name", "\"a\\nb\""),
        (json!({"description": "x".repeat(4_097)}), "description", "4097 characters"),
        (json!({"severity": "bad"}), "severity", "\"bad\""),
        (json!({"severity": null}), "severity", "missing"),
        (json!({"notification_channels": ["fax"]}), "channel", "\"fax\""),
        (json!({"notification_channels": "email"}), "notification_channels", "\"email\""),
        (json!({"escalation_after_minutes": 0}), "escalation_after_minutes", "0"),
        (json!({"escalation_after_minutes": 1.5}), "escalation_after_minutes", "1.5"),
        (json!({"suppression_window_minutes": -1}), "suppression_window_minutes", "-1"),
        (json!({"enabled": "yes"}), "enabled", "\"yes\""),
        (json!({"condition_type": "sometimes"}), "condition_type", "\"sometimes\""),
        (json!({"severty": "info"}), "severty", "an unknown key"),
        (json!({"threshold_config": []}), "threshold_config", "[]"),
        (config("sla_breach", json!({"sla_remaining": 1})), "sla_remaining", "an unknown key"),
        (config("sla_warning", json!({})), "sla_remaining_pct", "missing"),
        (config("sla_warning", json!({"sla_remaining_pct": 100.5})), "sla_remaining_pct", "100.5"),
        (config("sla_warning", json!({"sla_remaining_pct": -1})), "sla_remaining_pct", "-1"),
        (config("pattern", json!({})), "consecutive_breaches", "missing"),
        (config("pattern", json!({"consecutive_breaches": 0})), "consecutive_breaches", "0"),
        (config("pattern", json!({"consecutive_breaches": 2, "within_minutes": 0})), "within_minutes", "0"),
        (threshold(json!({"metric": "speed"})), "metric", "speed"),
        (threshold(json!({"window": "all"})), "window", "all"),
        (threshold(json!({"window": "2m"})), "window", "2m"),
        (threshold(json!({"aggregation": "p42"})), "aggregation", "p42"),
        (threshold(json!({"op": "=="})), "op", "\"==\""),
        (threshold(json!({"value": "1"})), "value", "\"1\""),
        (threshold(json!({"value": null})), "value", "missing"),
        (threshold(json!({"dimensions": {"colour": "red"}})), "dimension", "colour"),
    ] {
        let refusal = AlertRule::from_json(&rule_json(changes.clone())).expect_err(field);
        assert_eq!((refusal.field.as_str(), refusal.value.as_str()), (field, value), "{changes}");
    }
    let nan = Condition::SlaWarning { sla_remaining_pct: f64::NAN };
    assert!(AlertRule::new("a", "A", nan, AlertSeverity::Info).check().is_err());
}

#[test]
fn severities_go_with_the_states_of_the_policy_ladder() {
    let pairs = AlertSeverity::ALL.map(|severity| (severity.as_str(), severity.policy_state()));
    assert_eq!(pairs, [("info", "normal"), ("warning", "watch"), ("critical", "restricted"), ("emergency", "halted")]);
    for severity in AlertSeverity::ALL {
        assert_eq!(severity.as_str().parse(), Ok(severity));
    }
}

#[test]
fn a_history_that_was_never_decided_is_corrupt() {
    let mut rules = Rules::default();
    let removed = Event::Removed(RuleRemoved { rule_id: "breach".into() });
    assert!(evolve::evolve(&mut rules, &removed).is_err());
    assert!(evolve::evolve(&mut rules, &set(versioned(rule(json!({})), 2))).is_err());
}
