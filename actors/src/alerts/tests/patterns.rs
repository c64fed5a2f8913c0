//! Patterns of breaches over the incidents of an org.

use super::*;

fn pattern(config: Value) -> AlertRule {
    rule("pattern", "pattern", config, json!({}))
}

/// An incident that arrived so many minutes after its dispatch at that minute; checked as it arrives.
fn arrived(id: &str, known: &Known, dispatch: f64, took: f64) -> CheckIncident {
    CheckIncident {
        dispatch_time: m(dispatch),
        arrival_time: Some(m(dispatch + took)),
        ..check(id, known, dispatch + took)
    }
}

#[test]
fn the_nth_breach_in_a_row_raises_an_alert_about_its_incident() {
    let known = known(1, &[pattern(json!({"consecutive_breaches": 3}))]);
    let mut life = Life::new();
    let mut fires = |id: &str, took| {
        let report = life.tell(arrived(id, &known, 0.0, took));
        report.alerts.first().map(|alert| alert.incident_id.clone().unwrap_or_default())
    };
    assert_eq!([fires("a", 6.0), fires("b", 7.0)], [None, None]);
    assert_eq!(fires("c", 8.0).as_deref(), Some("c"));
    assert_eq!([fires("d", 6.0), fires("e", 6.0)], [None, None], "it starts again at 0");
    assert_eq!(fires("f", 5.0), None, "a compliant one resets the count");
    assert_eq!([fires("g", 6.0), fires("h", 6.0)], [None, None]);
    assert_eq!(fires("i", 6.0).as_deref(), Some("i"));
}

#[test]
fn an_incident_counts_once_when_its_outcome_becomes_known() {
    let known = known(1, &[pattern(json!({"consecutive_breaches": 2}))]);
    let mut life = Life::new();
    life.tell(check("a", &known, 0.0));
    life.run_until(5.0);
    // Breached by its deadline already: checks and the arrival do not count it again.
    life.tell(check("a", &known, 6.0));
    assert_eq!(life.tell(arrived("a", &known, 0.0, 7.0)).alerts, []);
    life.tell(check("b", &known, 7.0));
    assert_eq!(rules_of(&life.alerts(Wanted::All)), ["pattern"]);
    // What proves to have been in time resets the count.
    let mut life = Life::new();
    life.tell(check("a", &known, 0.0));
    life.run_until(5.0);
    life.tell(CheckIncident { arrival_time: Some(m(4.0)), ..check("a", &known, 6.0) });
    assert_eq!(life.tell(check("b", &known, 7.0)).alerts, []);
}

#[test]
fn deadlines_count_in_their_order_also_when_they_come_late() {
    let mut life = Life::new();
    let known = known(1, &[pattern(json!({"consecutive_breaches": 2})), warning(25.0)]);
    life.tell(check("a", &known, 0.0));
    life.tell(CheckIncident { dispatch_time: m(0.5), ..check("b", &known, 0.5) });
    life.tell(CheckIncident { dispatch_time: m(0.75), ..check("c", &known, 0.75) });
    let raised = life.run_at(60.0).raised;
    let fired: Vec<_> = raised.iter().filter(|alert| alert.rule_id == "pattern").collect();
    assert_eq!((fired.len(), fired[0].incident_id.as_deref()), (1, Some("b")));
    assert_eq!(fired[0].metadata["consecutive_breaches"], 2);
    assert_eq!(
        (&fired[0].metadata["first_breach"], &fired[0].metadata["last_breach"]),
        (&json!(m(5.0)), &json!(m(5.5)))
    );
}

#[test]
fn the_first_and_the_last_may_lie_no_further_apart_than_asked_for() {
    let known = known(1, &[pattern(json!({"consecutive_breaches": 2, "within_minutes": 10}))]);
    let mut life = Life::new();
    let mut fires = |id: &str, dispatch| life.tell(arrived(id, &known, dispatch, 6.0)).alerts.len();
    assert_eq!([fires("a", 0.0), fires("b", 10.01), fires("c", 20.01), fires("d", 40.0)], [0, 0, 1, 0]);
}

#[test]
fn a_changed_pattern_counts_anew_and_a_changed_name_does_not() {
    let first = pattern(json!({"consecutive_breaches": 2}));
    let changed = |version, change: &dyn Fn(&mut AlertRule)| {
        let mut rule = first.clone();
        rule.version = version;
        change(&mut rule);
        rule
    };
    let renamed = changed(2, &|rule| rule.name = "Another".into());
    let longer = changed(2, &|rule| rule.condition = pattern(json!({"consecutive_breaches": 3})).condition);
    for (second, expected) in [(renamed, 1), (longer, 0)] {
        let mut life = Life::new();
        life.tell(arrived("a", &known(1, std::slice::from_ref(&first)), 0.0, 6.0));
        let report = life.tell(arrived("b", &known(2, &[second]), 1.0, 6.0));
        assert_eq!(report.alerts.len(), expected);
    }
}

#[test]
fn a_series_that_ends_with_the_same_incident_again_is_news_after_the_first_is_resolved() {
    let known = known(1, &[pattern(json!({"consecutive_breaches": 1}))]);
    let mut life = Life::new();
    let fires = |life: &mut Life, took, at| {
        let report = life.tell(CheckIncident { at: Some(m(at)), ..arrived("a", &known, 0.0, took) });
        (report.alerts.len(), report.held_back.len())
    };
    assert_eq!(fires(&mut life, 6.0, 6.0), (1, 0));
    let first = life.alerts(Wanted::All)[0].alert_id;
    life.resolve(first, 7.0).expect("resolved");
    assert_eq!([fires(&mut life, 5.0, 8.0), fires(&mut life, 6.0, 9.0)], [(0, 0), (0, 1)], "in the window");
    assert_eq!([fires(&mut life, 5.0, 20.0), fires(&mut life, 6.0, 21.0)], [(0, 0), (1, 0)]);
}
