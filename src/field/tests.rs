//! What standards say, and what compliance and utilisation make of dispatches whose figures are known by hand.

use std::path::Path;

use ionveil_actors::dispatch::{DispatchRecorded, Status};
use ionveil_actors::domain::{OrgId, Severity, Timestamp};
use serde_json::{Value, json};

use super::*;

fn org() -> OrgId {
    "sffd".parse().expect("an id")
}

fn at(time_of_day: &str) -> Timestamp {
    format!("2026-01-31T{time_of_day}Z").parse().expect("an instant")
}

fn dispatch(number: usize, dispatch_id: &str, metadata: Value) -> DispatchRecorded {
    DispatchRecorded {
        event_id: format!("e-{number}"),
        dispatch_id: dispatch_id.to_owned(),
        timestamp: at("12:00:00"),
        severity: Severity::new(5).expect("1 to 5"),
        response_time_minutes: 2.5,
        distance_km: 0.0,
        region: "B04".to_owned(),
        unit_type: "ENGINE".to_owned(),
        sla_met: true,
        status: Status::Closed,
        location: None,
        metadata: Some(metadata.to_string()),
    }
}

/// A standard with one requirement, which says `demand` and what all of them say.
fn standard(demand: &str) -> Standard {
    Standard::parse(&text(demand)).expect("a sound standard")
}

fn text(demand: &str) -> String {
    format!(
        "id = 'ours'\ntitle = 'Ours'\npublisher = 'we'\nedition = '1'\nsource = 'a test'\nchecked = 2026-01-31\n\
         [[requirement]]\nid = 'r'\nwhat = 'it'\n{demand}\n"
    )
}

fn compliance(standard: Standard, by: GroupBy, dispatches: &[DispatchRecorded]) -> RequirementReport {
    let mut compliance = Compliance::new(standard, by, None, None);
    dispatches.iter().for_each(|dispatch| compliance.add(dispatch));
    compliance.finish(org()).requirements.remove(0)
}

#[test]
fn every_file_of_a_standard_is_part_of_the_library_and_bears_its_id() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("standards");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path().file_stem().expect("a name").to_str().expect("UTF-8").to_owned())
        .collect();
    let mut ids: Vec<String> = embedded_standards().into_iter().map(|standard| standard.id).collect();
    assert_eq!(ids[0], "recorded", "the first one counts when none is named");
    files.sort_unstable();
    ids.sort_unstable();
    assert_eq!(ids, files);
    for standard in embedded_standards() {
        assert!(!standard.note.is_empty() && !standard.publisher.is_empty() && !standard.edition.is_empty());
    }
}

#[test]
fn what_no_standard_can_mean_is_refused_by_its_key() {
    let response = "interval = 'response_time'\ncounted = 'every_response'\n";
    for (demand, field) in [
        ("percent = 0", "requirement.r.percent"),
        ("percent = 101", "requirement.r.percent"),
        ("percent = 90\nwithin_seconds = 0", "requirement.r.within_seconds"),
        ("percent = 90\nmean_seconds = 0", "requirement.r.mean_seconds"),
        ("percent = 90\nmetadata = { kind = [] }", "requirement.r.metadata.kind"),
        ("percent = 90\nwithin_secnds = 60", "standard, line 13"),
        ("percent = 90\nseverities = [6]", "standard, line 13"),
        (
            "percent = 90\n[[requirement]]\nid = 'r'\nwhat = ''\npercent = 1\ninterval = 'response_time'\ncounted = 'every_response'",
            "requirement.id",
        ),
    ] {
        let refusal = Standard::parse(&text(&format!("{response}{demand}"))).expect_err(demand);
        assert_eq!(refusal.field, field, "{demand}: {refusal}");
    }
    let refusal = Standard::parse(&text("interval = 'travel'\ncounted = 'every_response'\npercent = 90"));
    assert_eq!(refusal.expect_err("no target").field, "requirement.r.within_seconds");
    assert_eq!(Standard::parse("id = 'x'").expect_err("incomplete").field, "standard, line 1");
    let undated = text(response).replace("2026-01-31", "'yesterday'");
    assert!(Standard::parse(&undated).is_err());
}

#[test]
fn exactly_the_target_is_within_and_a_microsecond_more_is_not() {
    let turnout = standard("interval = 'turnout'\ncounted = 'every_response'\nwithin_seconds = 60\npercent = 90");
    let times = |to: &str| json!({ "dispatched_at": "2026-01-31T12:00:00Z", "en_route_at": to });
    let dispatches = [
        dispatch(1, "a", times("2026-01-31T12:01:00Z")),
        dispatch(2, "b", times("2026-01-31T13:01:00+01:00")),
        dispatch(3, "c", times("2026-01-31T12:01:00.000001Z")),
        dispatch(4, "d", times("2026-01-31T11:59:59Z")),
        dispatch(5, "e", times("12:00")),
        dispatch(6, "f", json!({ "dispatched_at": "2026-01-31T12:00:00Z" })),
        DispatchRecorded { metadata: None, ..dispatch(7, "g", json!({})) },
        DispatchRecorded { status: Status::Active, ..dispatch(8, "h", times("2026-01-31T12:01:00Z")) },
    ];
    let report = compliance(turnout, GroupBy::Severity, &dispatches);
    let all = &report.groups[0];
    assert_eq!((all.sample_count, all.within, report.missing, report.unusable), (3, 2, 2, 2));
    assert_eq!((all.met, all.conclusive), (Some(false), Some(false)));
    assert!(all.fractile_minutes.is_some_and(|minutes| minutes > 1.0 && minutes < 1.000_001));
}

#[test]
fn ninety_of_a_hundred_are_ninety_percent_and_the_fractile_is_the_ninetieth() {
    let response = standard(
        "interval = 'response_time'\ncounted = 'every_response'\nwithin_seconds = 5400\npercent = 90\nmean_seconds = 3030",
    );
    let dispatches: Vec<_> = (1..=100)
        .map(|n| DispatchRecorded { response_time_minutes: n as f64, ..dispatch(n, &n.to_string(), json!({})) })
        .collect();
    let report = compliance(response.clone(), GroupBy::Region, &dispatches);
    let all = &report.groups[0];
    assert_eq!((all.within, all.share, all.met, all.fractile_minutes), (90, Some(0.9), Some(true), Some(90.0)));
    assert_eq!((all.mean_minutes, all.mean_met), (Some(50.5), Some(true)));
    // Wilson's interval of 90 of 100.
    let near = |value: Option<f64>, expected: f64| value.is_some_and(|value| (value - expected).abs() < 5e-5);
    assert!(near(all.share_low, 0.8256) && near(all.share_high, 0.9448), "{all:?}");
    assert_eq!(all.conclusive, Some(false));
    assert_eq!(report.groups[1].dimensions["region"], "B04");

    let none = compliance(response, GroupBy::Region, &[]);
    assert_eq!(none.groups.len(), 1);
    let all = &none.groups[0];
    assert_eq!((all.sample_count, all.share, all.met, all.conclusive), (0, None, None, None));
}

#[test]
fn a_target_that_came_with_the_dispatch_is_the_one_that_was_recorded() {
    let recorded = Standard::find("recorded").expect("embedded");
    let missed = DispatchRecorded { sla_met: false, ..dispatch(1, "a", json!({})) };
    let report = compliance(recorded, GroupBy::Severity, &[missed, dispatch(2, "b", json!({}))]);
    assert_eq!((report.groups[0].within, report.groups[0].sample_count), (1, 2));
}

#[test]
fn of_each_dispatch_the_first_arrival_counts_whatever_the_order_of_recording() {
    let travel = "interval = 'travel'\ncounted = 'first_of_dispatch'\nwithin_seconds = 240\npercent = 90\nunit_types = ['ENGINE']\nmetadata = { incident_kind = ['fire'] }";
    let unit = |number, id: &str, from: &str, to: &str, kind: &str| {
        let times = json!({ "en_route_at": format!("2026-01-31T{from}Z"), "arrived_at": format!("2026-01-31T{to}Z"), "incident_kind": kind });
        dispatch(number, id, times)
    };
    let mut dispatches = vec![
        unit(1, "a", "12:00:00", "12:06:00", "fire"),
        unit(2, "a", "12:01:00", "12:04:30", "fire"), // arrives first, and travelled 3.5 minutes
        unit(3, "a", "12:04:00", "12:05:00", "fire"),
        unit(4, "b", "12:01:30", "12:05:00", "fire"),
        unit(5, "b", "12:04:00", "12:05:00", "fire"), // at the same instant: the shorter way counts
        unit(6, "c", "12:00:00", "12:01:00", "ems"),
        DispatchRecorded { unit_type: "TRUCK".to_owned(), ..unit(7, "a", "12:00:00", "12:01:00", "fire") },
    ];
    let forwards = compliance(standard(travel), GroupBy::Severity, &dispatches);
    assert_eq!((forwards.groups[0].sample_count, forwards.groups[0].mean_minutes), (2, Some(2.25)));
    dispatches.reverse();
    assert_eq!(compliance(standard(travel), GroupBy::Severity, &dispatches), forwards);
}

#[test]
fn a_span_is_half_open() {
    let recorded = Standard::find("recorded").expect("embedded");
    let mut compliance = Compliance::new(recorded, GroupBy::Severity, Some(at("12:00:00")), Some(at("12:00:01")));
    for (number, timestamp) in ["11:59:59.999999", "12:00:00", "12:00:00.999999", "12:00:01"].into_iter().enumerate() {
        compliance.add(&DispatchRecorded { timestamp: at(timestamp), ..dispatch(number, "a", json!({})) });
    }
    assert_eq!(compliance.finish(org()).requirements[0].groups[0].sample_count, 2);
}

/// A unit's response from dispatched to available.
fn busy(number: usize, unit: &str, from: &str, to: &str) -> DispatchRecorded {
    let times = json!({
        "unit_id": unit, "dispatched_at": format!("2026-01-31T{from}Z"), "available_at": format!("2026-01-31T{to}Z"),
    });
    dispatch(number, &number.to_string(), times)
}

#[test]
fn a_unit_on_two_calls_is_busy_once_and_the_span_cuts_its_hours() {
    let span = (Some(at("12:00:00")), Some(at("16:00:00")));
    let mut utilisation = Utilisation::new(span.0, span.1, StaffedHours::default());
    for response in [
        busy(1, "E01", "11:00:00", "12:30:00"), // half an hour of it inside
        busy(2, "E01", "13:00:00", "14:00:00"),
        busy(3, "E01", "13:30:00", "14:30:00"), // overlaps for half an hour
        busy(4, "E02", "15:30:00", "17:00:00"), // half an hour
        busy(5, "E03", "09:00:00", "12:00:00"), // ends as the span begins
        busy(6, "E04", "14:00:00", "13:00:00"),
        DispatchRecorded { metadata: None, ..dispatch(7, "d", json!({})) },
        DispatchRecorded { timestamp: at("16:00:00"), metadata: None, ..dispatch(8, "d", json!({})) },
    ] {
        utilisation.add(&response);
    }
    let report = utilisation.finish(org());
    assert_eq!((report.missing, report.unusable), (1, 1));
    let engines = &report.unit_types["ENGINE"];
    assert_eq!((engines.units, engines.responses, engines.busy_hours), (2, 4, 2.5));
    assert_eq!((engines.unit_hours, engines.unit_hours_given, engines.utilisation), (8.0, false, 2.5 / 8.0));
    assert_eq!(engines.by_unit["E01"], UnitBusy { responses: 3, busy_hours: 2.0 });
}

#[test]
fn hours_on_duty_may_be_given_and_the_span_defaults_to_what_is_known() {
    let staffed = StaffedHours::default().with("ENGINE", 24.0).expect("hours");
    let mut utilisation = Utilisation::new(None, None, staffed.clone());
    utilisation.add(&busy(1, "E01", "12:00:00", "14:00:00"));
    utilisation.add(&busy(2, "E02", "13:00:00", "14:24:00"));
    let report = utilisation.finish(org());
    assert_eq!((report.start, report.end), (Some(at("12:00:00")), Some(at("14:24:00"))));
    let engines = &report.unit_types["ENGINE"];
    assert_eq!((engines.unit_hours, engines.unit_hours_given), (24.0, true));
    assert_eq!((engines.utilisation, engines.responses_per_unit_hour), (3.4 / 24.0, 2.0 / 24.0));

    for hours in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(StaffedHours::default().with("ENGINE", hours).expect_err("no hours").field, "staffed");
    }
    assert!(staffed.with("ENGINE", 1.0).is_err());
    let nothing = Utilisation::new(None, None, StaffedHours::default()).finish(org());
    assert_eq!((nothing.start, nothing.unit_types.len()), (None, 0));
}
