//! What is over is forgotten after thirty days, what is not over is not, and nothing is lost by it.

use super::*;
use crate::error::Error;
use crate::rules::AlertSeverity;

const DAY: f64 = 24.0 * 60.0;

fn slot(life: &Life, incident: &str) -> Option<u32> {
    life.state().incidents.slot(incident)
}

/// Everything that the org's events tell.
fn history(life: &Life) -> History {
    let mut history = History::default();
    life.org().history().iter().for_each(|event| history.take(event).expect("it happened"));
    history
}

fn arrived(incident: &str, known: &Known, dispatch: f64, arrival: f64) -> CheckIncident {
    CheckIncident {
        dispatch_time: m(dispatch),
        arrival_time: Some(m(arrival)),
        ..check(incident, known, arrival.max(dispatch))
    }
}

/// A check of an incident that has nothing to do with the others.
fn time_goes_on(life: &mut Life, known: &Known, at: f64) {
    life.tell(arrived(&format!("other-{at}"), known, at, at));
}

#[test]
fn an_incident_that_is_over_is_kept_for_thirty_days_and_then_forgotten_with_its_alerts() {
    let known = known(1, &[breach(), warning(25.0)]);
    let mut life = Life::new();
    life.tell(check_i(&known, 4.0));
    life.tell(arrived("i", &known, 0.0, 4.5));
    let alerts = life.alerts(Wanted::All);
    assert_eq!(rules_of(&alerts), ["warning"]);
    time_goes_on(&mut life, &known, 30.0 * DAY + 4.499);
    assert!(slot(&life, "i").is_some());
    assert_eq!(life.alerts(Wanted::All), alerts);
    time_goes_on(&mut life, &known, 30.0 * DAY + 4.5);
    assert_eq!(slot(&life, "i"), None);
    assert_eq!(life.alerts(Wanted::All), []);
    let forgotten = life.org().ask(GetForgotten).expect("an answer");
    assert_eq!((forgotten.incidents, forgotten.alerts, forgotten.dispatched_until), (1, 1, Some(m(0.0))));
}

#[test]
fn what_is_not_over_is_never_forgotten() {
    let known = known(1, &[breach(), warning(25.0)]);
    let mut life = Life::new();
    // Open for ever; arrived late, with an alert that nobody resolves; over, but dispatched in the future.
    life.tell(check("open", &known, 0.0));
    life.tell(arrived("late", &known, 0.0, 9.0));
    life.tell(CheckIncident { at: Some(m(9.0)), ..arrived("ahead", &known, 300.0 * DAY, 300.0 * DAY) });
    life.run_until(20.0);
    time_goes_on(&mut life, &known, 200.0 * DAY);
    for incident in ["open", "late", "ahead"] {
        assert!(slot(&life, incident).is_some(), "{incident}");
    }
    let breach_of_late = life.alerts(Wanted::Unresolved)[0].clone();
    assert_eq!(breach_of_late.incident_id.as_deref(), Some("late"));
    // From its resolution on it is over.
    life.resolve(breach_of_late.alert_id, 201.0 * DAY).expect("open");
    time_goes_on(&mut life, &known, 230.9 * DAY);
    assert!(slot(&life, "late").is_some());
    time_goes_on(&mut life, &known, 231.0 * DAY);
    assert_eq!(slot(&life, "late"), None);
    assert!(slot(&life, "open").is_some());
}

#[test]
fn what_a_suppression_keeps_back_is_not_over() {
    let known = known(1, &[breach()]);
    let mut life = Life::new();
    life.tell(AddSuppression {
        suppression_id: Uuid::from_u128(1),
        org_id: org_id(),
        rule_pattern: "breach".into(),
        duration_minutes: 100 * 24 * 60,
        reason: "tests".into(),
        created_by: "ann".into(),
        at: Some(m(0.0)),
    });
    life.tell(arrived("late", &known, 0.0, 9.0));
    time_goes_on(&mut life, &known, 99.0 * DAY);
    assert_eq!(rules_of(&life.run_until(100.0 * DAY).raised), ["breach"]);
}

#[test]
fn a_check_of_what_was_forgotten_is_refused_unless_it_is_another_incident() {
    let known = known(1, &[breach()]);
    let mut life = Life::new();
    let first = life.tell(arrived("late", &known, 0.0, 9.0)).alerts[0].alert_id;
    life.resolve(first, 10.0).expect("open");
    life.tell(arrived("in-time", &known, 2.0, 3.0));
    time_goes_on(&mut life, &known, 31.0 * DAY);
    let before = life.org().history().len();
    // Told again without its arrival it would be breached by now, and with it raised anew.
    for check in [
        CheckIncident { at: Some(m(31.0 * DAY)), ..check("late", &known, 0.0) },
        CheckIncident { at: Some(m(31.0 * DAY)), ..arrived("late", &known, 0.0, 9.0) },
        CheckIncident { at: Some(m(31.0 * DAY)), ..arrived("in-time", &known, 2.0, 3.0) },
    ] {
        let refused = life.try_tell(check).expect_err("it is too late");
        assert!(matches!(&refused, Error::Invalid(invalid) if invalid.field == "dispatch_time"), "{refused}");
    }
    assert_eq!(life.org().history().len(), before);
    // Dispatched later it is another incident of that name, and its alert another alert.
    let again = life.tell(arrived("late", &known, 30.0 * DAY, 30.0 * DAY + 9.0)).alerts[0].alert_id;
    assert_ne!(again, first);
    life.tell(CheckIncident { at: Some(m(31.0 * DAY)), ..arrived("late-but-new", &known, 2.001, 3.0) });
}

#[test]
fn what_is_older_than_what_was_forgotten_and_new_is_judged_as_ever() {
    // A file of one year is read, and two months later that of the year before.
    let known = known(1, &[breach()]);
    let mut life = Life::new();
    for day in 0..3 {
        let at = Some(m(400.0 * DAY));
        life.tell(CheckIncident {
            at,
            ..arrived(&format!("new-{day}"), &known, f64::from(day) * DAY, 4.0 + f64::from(day) * DAY)
        });
    }
    time_goes_on(&mut life, &known, 460.0 * DAY);
    assert_eq!(life.org().ask(GetForgotten).expect("an answer").incidents, 3);
    for (incident, dispatch, minutes) in
        [("old-1", -300.0 * DAY, 9.0), ("old-2", -301.0 * DAY, 4.0), ("old-3", 1.0, 6.0)]
    {
        let check = arrived(incident, &known, dispatch, dispatch + minutes);
        let report = life.tell(CheckIncident { at: Some(m(460.0 * DAY)), ..check.clone() });
        assert_eq!(report.alerts.len(), usize::from(minutes > 5.0), "{incident}");
        let again = life.tell(CheckIncident { at: Some(m(461.0 * DAY)), ..check });
        assert!(again.is_known, "{incident}");
    }
    // What nobody was told of so far may be open still, and is breached at once.
    let open = life.tell(CheckIncident { at: Some(m(461.0 * DAY)), ..check("open", &known, -300.0 * DAY) });
    assert_eq!(rules_of(&open.alerts), ["breach"]);
}

#[test]
fn years_of_incidents_raise_the_same_alerts_in_any_order() {
    let known = known(1, &[breach()]);
    let mut life = Life::new();
    let (mut raised, mut expected) = (Vec::new(), Vec::new());
    for number in 0..101 {
        // A permutation of 101 weeks, told one every five days.
        let dispatch = f64::from(number * 37 % 101) * 7.0 * DAY;
        let (took, told_at) = (f64::from(number % 7) + 2.5, 800.0 * DAY + f64::from(number) * 5.0 * DAY);
        let incident = format!("i{number}");
        let check = arrived(&incident, &known, dispatch, dispatch + took);
        let alerts = life.tell(CheckIncident { at: Some(m(told_at)), ..check }).alerts;
        for alert in alerts {
            life.resolve(alert.alert_id, told_at).expect("open");
            raised.extend(alert.incident_id);
        }
        expected.extend((took > 5.0).then_some(incident));
    }
    assert_eq!(raised, expected);
    assert!(life.org().ask(GetForgotten).expect("an answer").incidents > 90);
}

#[test]
fn an_incident_is_known_as_long_as_the_window_of_an_alert_goes_on() {
    let rule = AlertRule { suppression_window_minutes: 60 * 24 * 60, ..breach() };
    let known = known(1, &[rule]);
    let mut life = Life::new();
    let first = life.tell(arrived("late", &known, 0.0, 9.0)).alerts[0].alert_id;
    life.resolve(first, 10.0).expect("open");
    time_goes_on(&mut life, &known, 45.0 * DAY);
    let again = life.tell(CheckIncident { at: Some(m(59.0 * DAY)), ..arrived("late", &known, 0.0, 9.0) });
    assert_eq!((again.alerts.len(), again.held_back.len(), again.is_known), (0, 1, true));
    time_goes_on(&mut life, &known, 89.0 * DAY);
    assert_eq!(slot(&life, "late"), None, "from its last check on");
}

#[test]
fn an_alert_about_the_org_is_forgotten_by_itself_and_its_window_is_not() {
    let config = json!({"metric": "response_time", "window": "5m", "aggregation": "avg", "op": ">", "value": 10});
    let changes = json!({"suppression_window_minutes": 60 * 24 * 60});
    let known = known(1, &[rule("slow", "threshold", config, changes)]);
    let mut life = Life::new();
    let judge = |life: &mut Life, start: f64, value: f64| {
        let window = ClosedWindow {
            rule_id: "slow".into(),
            rule_version: 1,
            window_start: m(start),
            window_end: m(start + 5.0),
            value: Some(value),
            samples: 1,
            closed_by: 1 + start as u64,
        };
        life.tell(JudgeWindow { window, known: known.clone(), at: Some(m(start + 5.0)) })
    };
    let first = judge(&mut life, 0.0, 11.0)[0].alert_id;
    judge(&mut life, 31.0 * DAY, 11.0);
    assert_eq!(life.alerts(Wanted::All).len(), 1, "it is not resolved");
    life.resolve(first, 32.0 * DAY).expect("open");
    judge(&mut life, 61.9 * DAY, 9.0);
    assert_eq!(life.alerts(Wanted::All).len(), 1);
    let second = judge(&mut life, 62.0 * DAY, 11.0);
    assert_eq!(life.alerts(Wanted::Only(AlertStatus::Resolved)), []);
    assert_ne!(second[0].alert_id, first, "after its window of 60 days");
    life.resolve(second[0].alert_id, 63.0 * DAY).expect("open");
    judge(&mut life, 94.0 * DAY, 9.0);
    assert_eq!(life.alerts(Wanted::All), []);
    assert_eq!(judge(&mut life, 95.0 * DAY, 11.0), [], "its window goes on although it is forgotten");
    assert_eq!(life.types().last(), Some(&"alert-held-back"));
    assert_eq!(
        history(&life).alerts(None, Wanted::All).iter().map(|it| it.alert_id).collect::<Vec<_>>(),
        [first, second[0].alert_id]
    );
}

#[test]
fn the_history_knows_what_memory_does_not() {
    let known = known(1, &[breach(), warning(25.0)]);
    let mut life = Life::new();
    let mut all = Vec::new();
    for number in 0..10 {
        let at = f64::from(number) * 10.0 * DAY;
        let incident = format!("i{number}");
        life.tell(CheckIncident { dispatch_time: m(at), ..check(&incident, &known, at + 4.0) });
        life.tell(arrived(&incident, &known, at, at + 6.0 + f64::from(number)));
        for alert in life.alerts(Wanted::Unresolved) {
            life.resolve(alert.alert_id, at + 20.0).expect("open");
        }
        all.extend(life.alerts(Wanted::All).into_iter().filter(|it| it.incident_id.as_deref() == Some(&incident)));
    }
    assert_eq!(all.len(), 20);
    assert!(life.alerts(Wanted::All).len() < 10, "most are forgotten");
    let history = history(&life);
    assert_eq!(history.alerts(None, Wanted::All), all);
    let warnings: Vec<Alert> = all.iter().filter(|it| it.severity == AlertSeverity::Warning).cloned().collect();
    assert_eq!(history.alerts(Some(AlertSeverity::Warning), Wanted::Only(AlertStatus::Resolved)), warnings);
    assert_eq!(history.alerts(None, Wanted::Unresolved), []);
    for alert in &all {
        assert_eq!(history.alert(alert.alert_id).as_ref(), Some(alert));
    }
    assert_eq!(history.alert(Uuid::nil()), None);
    let question = GetViolations { org_id: org_id(), from: None, to: None, at: None };
    let violations = history.violations(&question, m(0.0)).expect("an answer");
    let expected: Vec<(String, f64)> = (0..10).map(|number| (format!("i{number}"), 6.0 + f64::from(number))).collect();
    let met: Vec<_> = violations.into_iter().map(|it| (it.incident_id, it.actual_minutes)).collect();
    assert_eq!(met, expected);
    let some = GetViolations { from: Some(m(10.0 * DAY)), to: Some(m(30.0 * DAY)), ..question };
    assert_eq!(history.violations(&some, m(0.0)).expect("an answer").len(), 2);
    // A question about what nobody forgot needs no history.
    let forgotten = life.org().ask(GetForgotten).expect("an answer");
    assert_eq!(forgotten.dispatched_until, Some(m(50.0 * DAY)));
    assert!(
        forgotten.may_have_breached(m(50.0 * DAY + 120.0)) && !forgotten.may_have_breached(m(50.0 * DAY + 120.001))
    );
}

#[test]
fn everything_about_a_forgotten_incident_is_explained() {
    let known = known(1, &[breach()]);
    let mut life = Life::new();
    let alert = life.tell(arrived("late", &known, 0.0, 9.0)).alerts[0].alert_id;
    life.resolve(alert, 10.0).expect("open");
    time_goes_on(&mut life, &known, 40.0 * DAY);
    assert_eq!(slot(&life, "late"), None);
    let mut explainer = Explainer::new("late");
    for (event, position) in life.org().history().iter().zip(1..) {
        explainer.take(position, event).expect("it happened");
    }
    assert_eq!(explainer.alert_ids(), [alert]);
    let outcomes: Vec<_> = explainer.into_decisions().iter().map(|decision| decision.outcome).collect();
    assert_eq!(outcomes, ["condition_true", "raised", "resolved"]);
}

#[test]
fn memory_follows_what_goes_on_and_not_what_ever_was() {
    let known = known(1, &[breach(), warning(25.0)]);
    let mut life = Life::new();
    for day in 0..200 {
        let at = f64::from(day) * DAY;
        life.tell(CheckIncident { dispatch_time: m(at), ..check(&format!("i{day}"), &known, at + 4.0) });
        life.tell(arrived(&format!("i{day}"), &known, at, at + 4.5));
    }
    let state = life.state();
    assert_eq!((state.incidents.iter().count(), state.alerts.iter().count()), (30, 30));
    assert_eq!(
        (state.watches.len(), state.over.len(), state.incidents.places().len()),
        (30, 30, 31),
        "a place is used again"
    );
}
