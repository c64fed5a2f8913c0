//! How long dispatches are kept, and that what is forgotten leaves nothing behind.

use super::*;
use crate::domain::TimeWindow;
use crate::error::{Invalid, Kind};

fn retention_set(hours: u32) -> Event {
    Event::RetentionSet(RetentionSet { hours })
}

#[test]
fn a_change_is_an_event_and_no_change_is_none() {
    let org = empty_org();
    assert_eq!(org.state().retention_hours(), RETENTION_HOURS_DEFAULT);
    let org = org
        .when(SetRetention { hours: 24 })
        .then_nothing_but(false)
        .when(SetRetention { hours: 0 })
        .then([retention_set(0)], true)
        .when(SetRetention { hours: 0 })
        .then_nothing_but(false)
        .when(SetRetention { hours: RETENTION_HOURS_MAX })
        .then([retention_set(RETENTION_HOURS_MAX)], true)
        .when(SetRetention { hours: RETENTION_HOURS_MAX + 1 })
        .then_refused(Invalid::new("retention_hours", 87_660_001, "0 (for ever) to 87660000"))
        .when(SetRetention { hours: u32::MAX })
        .then_refused(Kind::Invalid);
    assert_eq!(org.state().retention_hours(), RETENTION_HOURS_MAX);
}

#[test]
fn the_longest_retention_keeps_the_first_instant_there_is() {
    let org =
        Org::given([retention_set(RETENTION_HOURS_MAX)]).at(t(NOW)).when(batch([event("w", t(NOW))])).then_accepted();
    assert_eq!(fate_of(&org, event("e", Timestamp::MIN)), "accepted");
}

#[test]
fn a_shorter_span_forgets_and_a_longer_one_does_not_bring_back() {
    let events = || {
        [
            event("w", now_plus(0)),
            event("at the edge", now_plus(-HOUR)),
            event("beyond", now_plus(-HOUR - 1)),
            event("old", now_plus(-20 * HOUR)),
        ]
    };
    let known = |org: &Org| {
        let ids = events().map(|event| event.event_id);
        ids.into_iter().filter(|id| org.state().has_counted(id)).collect::<Vec<_>>()
    };
    let org = empty_org().when(batch(events())).then_accepted();
    assert_eq!(known(&org).len(), 4);
    let org = org.when(SetRetention { hours: 1 }).then([retention_set(1)], true);
    assert_eq!(known(&org), ["w", "at the edge"]);
    assert_eq!(fate_of(&org, event("new", now_plus(-HOUR - 1))), "too_late");
    let org = org.when(SetRetention { hours: 48 }).then([retention_set(48)], true);
    assert_eq!(known(&org), ["w", "at the edge"], "what was forgotten stays so");
    // Now that its minute is kept again it is news, and counts again.
    assert_eq!(fate_of(&org, event("old", now_plus(-20 * HOUR))), "accepted");
    let org = org.when(SetRetention { hours: 0 }).then([retention_set(0)], true);
    assert_eq!(fate_of(&org, event("ancient", Timestamp::MIN)), "accepted");
}

#[test]
fn forgetting_takes_measures_ids_and_statuses_with_it() {
    let pending = event_with("p", now_plus(-2 * HOUR), |event| {
        (event.dispatch_id, event.status) = ("one".into(), Status::Pending);
    });
    let active = event_with("a", now_plus(-2 * HOUR), |event| {
        (event.dispatch_id, event.status) = ("two".into(), Status::Active);
    });
    // It was pending long ago, and closed lately: only the latter stays.
    let closed = event_with("c", now_plus(-MIN), |event| event.dispatch_id = "one".into());
    let org = empty_org()
        .when(batch([pending, active, event("m", now_plus(-2 * HOUR)), closed, event("w", now_plus(0))]))
        .then_accepted()
        .when(SetRetention { hours: 1 })
        .then([retention_set(1)], true);
    let state = org.state();
    assert_eq!(state.events(), 2);
    let mut dispatches: Vec<&str> = state.ledger.dispatch_ids().collect();
    dispatches.sort_unstable();
    assert_eq!(dispatches, ["d-w", "one"], "that of what was closed lately, and that of the latest");
    assert_eq!(state.ledger.ever_open(), 0);
    let snapshot =
        org.ask(GetDashboardSnapshot { org_id: "org".parse().expect("an id"), as_of: Some(Instant::Latest) });
    let snapshot = snapshot.expect("an answer");
    assert_eq!((snapshot.active_dispatches, snapshot.pending_dispatches), (0, 0));
    let count = GetMetric {
        start: Some(Instant::At(now_plus(-9 * HOUR))),
        end: Some(Instant::Latest),
        ..GetMetric::new(Metric::DispatchCount, TimeWindow::All, AggregationType::Count)
    };
    assert_eq!(org.ask(count).expect("an answer")[0].value, Some(2.0));
    assert_eq!(fate_of(&org, event("m", now_plus(-30 * MIN))), "accepted");
}

#[test]
fn ids_are_known_while_they_are_kept_however_many_were_forgotten() {
    let id = |number: i64| format!("event-{number:04}");
    // Some are forgotten with every event from the sixtieth on, so that the ids move together more than once.
    let mut org = Org::given([retention_set(1)]).at(t(NOW));
    for hour in 0..40 {
        let at = |number: i64| now_plus((hour * 60 + number - 2_400) * MIN);
        let events = (0..60).map(|number| event(&id(hour * 60 + number), at(number)));
        org = org.when(batch(events)).then_accepted();
        assert!(org.state().ledger.id_bytes() < 8 << 10, "{} bytes of ids", org.state().ledger.id_bytes());
    }
    for number in 2_340..2_400 {
        assert_eq!(fate_of(&org, event(&id(number), now_plus((number - 2_400) * MIN))), "duplicate", "{number}");
        let dispatch_id = format!("d-{}", id(number));
        assert!(org.state().ledger.dispatch_ids().any(|known| known == dispatch_id), "{dispatch_id}");
    }
    assert!(!org.state().has_counted(&id(2_300)));
}

#[test]
fn events_before_1970_are_kept_and_forgotten_by_the_same_rule() {
    let at = |text| t(text);
    let org = Org::given([retention_set(1)])
        .at(at("1969-12-31T23:00:00Z"))
        .when(batch([event("w", at("1969-12-31T22:30:30Z"))]))
        .then_accepted();
    assert_eq!(fate_of(&org, event("e", at("1969-12-31T21:30:00Z"))), "accepted");
    assert_eq!(fate_of(&org, event("e", at("1969-12-31T21:29:59.999999Z"))), "too_late");
}
