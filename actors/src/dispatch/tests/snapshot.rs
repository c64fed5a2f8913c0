//! `GetDashboardSnapshot`: the last hour in whole minutes, and what is under way.

use super::*;

#[track_caller]
fn snapshot(org: &Org, as_of: Option<Instant>) -> DashboardSnapshot {
    org.ask(GetDashboardSnapshot { org_id: "org".parse().expect("an id"), as_of }).expect("an answer")
}

fn report(event_id: &str, dispatch_id: &str, at: Timestamp, status: Status) -> DispatchEvent {
    event_with(event_id, at, |event| (event.dispatch_id, event.status) = (dispatch_id.into(), status))
}

#[test]
fn nothing_known_gives_the_empty_answer() {
    let empty = snapshot(&empty_org(), None);
    assert_eq!(empty.org_id.as_str(), "org");
    assert_eq!(empty.timestamp, t(NOW));
    assert_eq!((empty.active_dispatches, empty.pending_dispatches), (0, 0));
    assert_eq!((empty.sla_compliance_rate, empty.average_response_time), (1.0, None));
    let metrics: Vec<_> = empty.metrics.iter().map(|it| (it.metric_name, it.value)).collect();
    assert_eq!(metrics, [("dispatch_count", Some(0.0))], "what has no value without samples is left out");
    assert!(empty.alerts.is_empty());
}

#[test]
fn it_covers_the_sixty_whole_minutes_up_to_the_one_that_holds_the_last_instant() {
    // As of 12:00:00 the last instant before lies in 11:59, so the span is 11:00 to 12:00.
    let counted = |at: &str, as_of: &str| {
        let org = org_with([event("e", t(at))]);
        snapshot(&org, Some(Instant::At(t(as_of)))).metrics.iter().any(|it| it.sample_count == 1)
    };
    for (at, as_of, is_in) in [
        ("2026-03-01T11:00:00Z", NOW, true),
        ("2026-03-01T10:59:59.999999Z", NOW, false),
        ("2026-03-01T11:59:59.999999Z", NOW, true),
        ("2026-03-01T12:00:00Z", NOW, false),
        // One microsecond later the minute 12:00 is the last one, whole.
        ("2026-03-01T12:00:59.999999Z", "2026-03-01T12:00:00.000001Z", true),
        ("2026-03-01T11:01:00Z", "2026-03-01T12:00:00.000001Z", true),
        ("2026-03-01T11:00:59.999999Z", "2026-03-01T12:00:00.000001Z", false),
    ] {
        assert_eq!(counted(at, as_of), is_in, "{at} as of {as_of}");
    }
    let latest = org_with([event("e", now_plus(-9 * HOUR))]);
    let latest = snapshot(&latest, Some(Instant::Latest));
    assert_eq!(latest.timestamp, now_plus(-9 * HOUR + 1));
    assert_eq!(latest.average_response_time, Some(10.0));
}

#[test]
fn the_headline_metrics_come_first_then_those_per_region() {
    let of = |id: &str, region: &str, minutes: f64, met| {
        event_with(id, now_plus(-MIN), |event| {
            (event.region, event.response_time_minutes, event.sla_met) = (region.into(), minutes, Some(met));
        })
    };
    let org = org_with([of("a", "south", 1.0, true), of("b", "north", 2.0, false), of("c", "north", 6.0, true)]);
    let snapshot = snapshot(&org, None);
    let shown: Vec<_> = snapshot
        .metrics
        .iter()
        .map(|it| {
            let region = it.dimensions.get("region").map_or("", String::as_str);
            (it.metric_name, it.aggregation.as_str(), region, it.value, it.sample_count)
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("response_time", "avg", "", Some(3.0), 3),
            ("response_time", "p50", "", Some(2.0), 3),
            ("response_time", "p90", "", Some(6.0), 3),
            ("response_time", "p95", "", Some(6.0), 3),
            ("response_time", "p99", "", Some(6.0), 3),
            ("response_time", "max", "", Some(6.0), 3),
            ("distance", "avg", "", Some(2.0), 3),
            ("dispatch_count", "count", "", Some(3.0), 3),
            ("sla_compliance", "avg", "", Some(2.0 / 3.0), 3),
            ("response_time", "p90", "north", Some(6.0), 2),
            ("response_time", "p90", "south", Some(1.0), 1),
            ("dispatch_count", "count", "north", Some(2.0), 2),
            ("dispatch_count", "count", "south", Some(1.0), 1),
        ]
    );
    assert_eq!((snapshot.sla_compliance_rate, snapshot.average_response_time), (2.0 / 3.0, Some(3.0)));
    assert_eq!(snapshot.metrics[0].window_start, now_plus(-HOUR));
    assert_eq!(snapshot.metrics[0].window_end, now_plus(0));
}

#[test]
fn the_latest_report_says_what_a_dispatch_is_and_at_equal_instants_the_higher_status() {
    use Status::{Active, Closed, Pending};
    // The statuses are those of the minutes −3, −2, … before now; the same minute twice is the same instant.
    for (reports, active, pending) in [
        (vec![(-3, Pending)], 0, 1),
        (vec![(-3, Active)], 1, 0),
        (vec![(-3, Closed)], 0, 0),
        (vec![(-3, Pending), (-2, Active)], 1, 0),
        (vec![(-3, Pending), (-2, Active), (-1, Closed)], 0, 0),
        (vec![(-3, Closed), (-2, Pending)], 0, 1),
        (vec![(-3, Active), (-2, Pending)], 0, 1),
        (vec![(-3, Active), (-3, Pending)], 1, 0),
        (vec![(-3, Closed), (-3, Pending)], 0, 0),
        (vec![(-3, Closed), (-3, Active)], 0, 0),
        (vec![(-3, Closed), (-3, Active), (-3, Pending)], 0, 0),
        // Reports of what is not yet are not looked at: now itself is not before now.
        (vec![(-3, Pending), (0, Active)], 0, 1),
        (vec![(0, Active)], 0, 0),
    ] {
        let mut events: Vec<_> = reports
            .iter()
            .enumerate()
            .map(|(n, &(minute, status))| report(&format!("e{n}"), "one", now_plus(minute * MIN), status))
            .collect();
        for order in ["as listed", "reversed"] {
            let seen = snapshot(&org_with(events.clone()), None);
            assert_eq!((seen.active_dispatches, seen.pending_dispatches), (active, pending), "{reports:?} {order}");
            events.reverse();
        }
    }
}

#[test]
fn statuses_as_of_an_instant_are_those_before_it() {
    use Status::{Active, Closed, Pending};
    let at = |minute: i64| now_plus(minute * MIN);
    let org = org_with([
        report("a", "one", at(-30), Pending),
        report("b", "one", at(-20), Active),
        report("c", "one", at(-10), Closed),
        report("d", "two", at(-15), Active),
    ]);
    for (as_of, active, pending) in
        [(-31, 0, 0), (-30, 0, 0), (-29, 0, 1), (-19, 1, 0), (-14, 2, 0), (-9, 1, 0), (0, 1, 0)]
    {
        let seen = snapshot(&org, Some(Instant::At(at(as_of))));
        assert_eq!((seen.active_dispatches, seen.pending_dispatches), (active, pending), "as of minute {as_of}");
    }
}
