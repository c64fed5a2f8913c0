//! Which events are counted, and what is said of those that are not.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::*;
use crate::domain::Severity;
use crate::error::Invalid;
use crate::runtime::{Aggregate as _, Command as _, Event as _, Given};

#[test]
fn an_accepted_event_is_recorded_with_all_it_says() {
    let full = event_with("e", now_plus(-1), |event| {
        event.severity = 5;
        event.response_time_minutes = 15.0;
        event.sla_met = Some(false);
        event.latitude = Some(37.75);
        event.longitude = Some(-122.5);
        event.status = Status::Active;
        event.metadata =
            json!({"units": [1, 2], "note": "é\"\\", "deep": {"a": null}}).as_object().expect("one").clone();
    });
    let metadata = full.metadata.clone();
    let scenario =
        empty_org().by("ada").when(batch([full])).then_reply(1, IngestReport { accepted: 1, ..Default::default() });
    let [Event::Recorded(recorded)] = scenario.history() else { panic!("one event") };
    assert_eq!(recorded.event_id, "e");
    assert_eq!(recorded.dispatch_id, "d-e");
    assert_eq!(recorded.timestamp, now_plus(-1));
    assert_eq!(recorded.severity, Severity::new(5).expect("5"));
    assert_eq!((recorded.response_time_minutes, recorded.distance_km), (15.0, 2.0));
    assert_eq!((recorded.region.as_str(), recorded.unit_type.as_str()), ("north", "engine"));
    assert!(!recorded.sla_met, "what was reported rules, though 15 minutes are within target");
    assert_eq!(recorded.status, Status::Active);
    assert_eq!(recorded.location, Some((37.75, -122.5)));
    let stored: Value = serde_json::from_str(recorded.metadata.as_deref().expect("kept")).expect("JSON as text");
    assert_eq!(stored, Value::Object(metadata.clone()));
    assert_eq!(crate::runtime::Event::to_json(&scenario.history()[0])["metadata"], Value::Object(metadata));
    assert!(scenario.state().has_counted("e"));
    assert_eq!(scenario.ask(GetWatermark).expect("an answer"), Some(now_plus(-1)));
}

#[test]
fn an_event_counts_once_inside_a_batch_and_across_batches() {
    let one = event("e", now_plus(0));
    let same_id = event_with("e", now_plus(-MIN), |event| event.region = "south".into());
    let report =
        |accepted, duplicates: &[usize]| IngestReport { accepted, duplicates: duplicates.into(), rejected: vec![] };
    empty_org()
        .when(batch([one.clone(), one.clone(), same_id.clone(), event("f", now_plus(0))]))
        .then_reply(2, report(2, &[1, 2]))
        .when(batch([same_id, one, event("g", now_plus(0))]))
        .then_reply(1, report(1, &[0, 1]))
        .when(batch([event("g", now_plus(0))]))
        .then_nothing_but(report(0, &[0]))
        .when(batch([]))
        .then_nothing_but(report(0, &[]));
}

#[test]
fn every_field_at_and_beyond_its_bounds() {
    type Change = Box<dyn Fn(&mut DispatchEvent)>;
    // Field, value and what is allowed; nothing when it is accepted.
    type Refused = Option<(&'static str, String, &'static str)>;
    fn change(change: impl Fn(&mut DispatchEvent) + 'static) -> Change {
        Box::new(change)
    }
    let long = |len| "é".repeat(len);
    let id = "1 to 128 characters, none of them a control character or '/'";
    let label = "1 to 128 characters, none of them a control character";
    let measure = "a finite number ≥ 0";
    let severities = "1 to 5 (5 is worst)";
    let mut cases: Vec<(Change, Refused)> = Vec::new();
    let quoted = |text: &str| format!("{text:?}");
    for (text, id_fits, label_fits) in [
        ("a".to_owned(), true, true),
        (long(128), true, true),
        (long(129), false, false),
        (String::new(), false, false),
        ("a/b".into(), false, true),
        ("a\u{0}b".into(), false, false),
        ("a\nb".into(), false, false),
        ("a\u{85}b".into(), false, false),
    ] {
        let shown = quoted(&text);
        let refused = |fits: bool, field, allowed| (!fits).then(|| (field, shown.clone(), allowed));
        let given = text.clone();
        cases.push((change(move |event| event.event_id = given.clone()), refused(id_fits, "event_id", id)));
        let given = text.clone();
        cases.push((change(move |event| event.dispatch_id = given.clone()), refused(id_fits, "dispatch_id", id)));
        let given = text.clone();
        cases.push((change(move |event| event.region = given.clone()), refused(label_fits, "region", label)));
        cases.push((change(move |event| event.unit_type = text.clone()), refused(label_fits, "unit_type", label)));
    }
    for severity in [1, 2, 3, 4, 5, 0, 6, -1, 259, i64::MIN, i64::MAX] {
        let refused = (!(1..=5).contains(&severity)).then(|| ("severity", severity.to_string(), severities));
        cases.push((change(move |event| event.severity = severity), refused));
    }
    for value in
        [0.0, -0.0, f64::MIN_POSITIVE, f64::MAX, -f64::MIN_POSITIVE, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]
    {
        let fits = value.is_finite() && value >= 0.0;
        let refused = |field| (!fits).then(|| (field, value.to_string(), measure));
        cases.push((change(move |event| event.response_time_minutes = value), refused("response_time_minutes")));
        cases.push((change(move |event| event.distance_km = value), refused("distance_km")));
    }
    for (field, bound, allowed) in
        [("latitude", 90.0_f64, "a finite number, -90 to 90"), ("longitude", 180.0, "a finite number, -180 to 180")]
    {
        for value in [bound, -bound, 0.0, bound.next_up(), -bound.next_up(), f64::NAN] {
            let refused = (value.is_nan() || value.abs() > bound).then(|| (field, value.to_string(), allowed));
            let set = move |event: &mut DispatchEvent| {
                (event.latitude, event.longitude) =
                    if field == "latitude" { (Some(value), Some(0.0)) } else { (Some(0.0), Some(value)) };
            };
            cases.push((change(set), refused));
        }
    }
    let missing = || "missing".to_owned();
    cases.push((
        change(|event| event.latitude = Some(1.0)),
        Some(("longitude", missing(), "given whenever latitude is")),
    ));
    cases.push((
        change(|event| event.longitude = Some(1.0)),
        Some(("latitude", missing(), "given whenever longitude is")),
    ));

    for (number, (change, refused)) in cases.into_iter().enumerate() {
        let changed = event_with("e", now_plus(0), |event| change(event));
        let because =
            refused.map(|(field, value, allowed)| RejectedBecause::Invalid(Invalid::new(field, value, allowed)));
        let shown = because.as_ref().map(ToString::to_string);
        let mut report = IngestReport { accepted: 1, ..IngestReport::default() };
        let mut events = 1;
        if let Some(because) = because {
            report.accepted = 1;
            report.rejected.push(Rejected { index: 1, because });
        } else {
            report.accepted = 2;
            events = 2;
        }
        // The neighbour before it is accepted whatever becomes of it.
        let scenario = empty_org().when(batch([event("neighbour", now_plus(0)), changed.clone()]));
        scenario.then_reply(events, report);
        let checked = changed.check().map_err(|invalid| invalid.to_string()).err();
        assert_eq!(checked, shown, "case {number}");
    }
}

#[test]
fn the_future_begins_five_minutes_after_the_clock() {
    let edge = now_plus(5 * MIN);
    assert_eq!(fate_of(&empty_org(), event("e", edge)), "accepted");
    let beyond = now_plus(5 * MIN + 1);
    let because = RejectedBecause::InFuture { timestamp: beyond, latest: edge };
    let invalid = because.to_invalid();
    assert_eq!((invalid.field.as_str(), invalid.value.as_str()), ("timestamp", "2026-03-01T12:05:00.000001Z"));
    assert!(invalid.allowed.contains("2026-03-01T12:05:00Z"), "{invalid}");
    let scenario = empty_org()
        .when(batch([event("e", beyond)]))
        .then_nothing_but(IngestReport { rejected: vec![Rejected { index: 0, because }], ..Default::default() });
    assert_eq!(scenario.state().watermark(), None, "it moves nothing");
    // The clock, not the watermark, says what the future is.
    assert_eq!(fate_of(&org_with([event("e", edge)]), event("f", beyond)), "in_future");
}

#[test]
fn too_late_begins_before_the_minute_that_holds_watermark_minus_retention() {
    // Retention is the default of 24 hours. The horizon lies within the minute 11:59 of the day before.
    let watermark = t("2026-03-01T11:59:30.5Z");
    let org = || {
        let accepted = IngestReport { accepted: 1, ..Default::default() };
        empty_org().when(batch([event("w", watermark)])).then_reply(1, accepted)
    };
    let edge = t("2026-02-28T11:59:00Z");
    assert_eq!(fate_of(&org(), event("e", edge)), "accepted");
    let late = edge.saturating_add_micros(-1);
    let because = RejectedBecause::TooLate { timestamp: late, earliest: edge };
    let invalid = because.to_invalid();
    assert_eq!((invalid.field.as_str(), invalid.value.as_str()), ("timestamp", "2026-02-28T11:58:59.999999Z"));
    assert!(invalid.allowed.contains("at least 2026-02-28T11:59:00Z"), "{invalid}");
    org()
        .when(batch([event("e", late)]))
        .then_nothing_but(IngestReport { rejected: vec![Rejected { index: 0, because }], ..Default::default() });
}

#[test]
fn the_watermark_moves_inside_a_batch() {
    let old = || event("old", now_plus(-25 * HOUR));
    let new = || event("new", now_plus(0));
    assert_eq!(fates_of(&empty_org(), [old(), new()]), ["accepted", "accepted"]);
    assert_eq!(fates_of(&empty_org(), [new(), old()]), ["accepted", "too_late"]);
    // Neither a rejected event nor a duplicate moves it.
    let invalid = event_with("x", now_plus(0), |event| event.severity = 0);
    assert_eq!(fates_of(&empty_org(), [invalid, old()]), ["invalid", "accepted"]);
    assert_eq!(fates_of(&empty_org(), [event("x", now_plus(HOUR)), old()]), ["in_future", "accepted"]);
    let twice = event("old", now_plus(0));
    assert_eq!(
        fates_of(&empty_org(), [old(), twice, event("b", now_plus(-26 * HOUR))]),
        ["accepted", "duplicate", "accepted"]
    );
    // One whose own minute is forgotten by the next of its batch leaves no trace.
    let org = empty_org().when(batch([old(), new()])).then_accepted();
    assert!(!org.state().has_counted("old"));
    assert!(org.state().has_counted("new"));
}

/// An id that an earlier event of the same batch makes forgotten was taken for a duplicate, though the same events one
/// by one were all accepted.
#[test]
fn what_is_forgotten_on_the_way_counts_no_more_also_within_a_batch() {
    let events = || [event("e", now_plus(-25 * HOUR)), event("new", now_plus(0)), event("e", now_plus(-HOUR))];
    let again = event("e", now_plus(-HOUR));
    let fates = fates_of(&empty_org(), events().into_iter().chain([again]));
    assert_eq!(fates, ["accepted", "accepted", "accepted", "duplicate"]);
    let together = empty_org().when(batch(events())).then_accepted();
    let apart = events().into_iter().fold(empty_org(), |org, event| org.when(batch([event])).then_accepted());
    assert_eq!(together.history(), apart.history());
    // The same when the first of them was accepted before.
    let [first, rest @ ..] = events();
    let org = empty_org().when(batch([first])).then_accepted();
    assert_eq!(fates_of(&org, rest), ["accepted"; 2]);
}

#[test]
fn invalid_rules_over_in_future_over_too_late_over_duplicate() {
    let org = empty_org().when(batch([event("e", now_plus(0))])).then_accepted();
    let invalid = |event: &mut DispatchEvent| event.distance_km = f64::NAN;
    for (candidate, expected) in [
        (event_with("e", now_plus(HOUR), invalid), "invalid"),
        (event_with("e", now_plus(-30 * HOUR), invalid), "invalid"),
        (event_with("e", now_plus(0), invalid), "invalid"),
        (event("e", now_plus(HOUR)), "in_future"),
        (event("e", now_plus(-30 * HOUR)), "too_late"),
        (event("e", now_plus(0)), "duplicate"),
        (event("f", now_plus(0)), "accepted"),
    ] {
        assert_eq!(fate_of(&org, candidate.clone()), expected, "{candidate:?}");
    }
    // In the future of the clock and yet forgotten: the future is named.
    let far = Org::given([])
        .at(t("2027-01-01T00:00:00Z"))
        .when(batch([event("w", t("2027-01-01T00:00:00Z"))]))
        .then_accepted();
    assert_eq!(fate_of(&far, event("e", now_plus(HOUR))), "in_future");
}

#[test]
fn what_is_left_out_is_named_by_its_place_in_the_batch() {
    let invalid = |event: &mut DispatchEvent| event.distance_km = f64::NAN;
    let events = [
        event_with("a", now_plus(0), invalid),
        event("b", now_plus(0)),
        event("c", now_plus(HOUR)),
        event_with("d", now_plus(0), invalid),
        event_with("e", now_plus(0), invalid),
        event("b", now_plus(0)),
        event("f", now_plus(-30 * HOUR)),
        event("g", now_plus(0)),
        event_with("h", now_plus(0), invalid),
    ];
    let expected =
        ["invalid", "accepted", "in_future", "invalid", "invalid", "duplicate", "too_late", "accepted", "invalid"];
    assert_eq!(fates_of(&empty_org(), events.clone()), expected);
    let decision = batch(events).decide(&Dispatches::default(), &Given::at(t(NOW))).expect("a batch is never refused");
    let rejected: Vec<usize> = decision.reply.rejected.iter().map(|rejected| rejected.index).collect();
    assert_eq!(rejected, [0, 2, 3, 4, 6, 8], "in the order of the batch");
    let recorded: Vec<String> = decision.events.iter().map(|event| event.to_json()["event_id"].to_string()).collect();
    assert_eq!(recorded, ["\"b\"", "\"g\""]);
}

#[test]
fn ids_of_the_same_hash_are_told_apart() {
    let mut state = Dispatches::default();
    let mut met = HashMap::new();
    // A hash has 32 bits, so that two of some hundred thousand ids share one.
    let (one, other) = (0..)
        .map(|number| format!("e-{number}"))
        .find_map(|id| met.insert(state.ledger.hashed(&id).spread(), id.clone()).map(|known| (known, id)))
        .expect("there is no end of ids");
    let reported = |id: &str, at| event_with(id, at, |event| event.dispatch_id = id.into());
    let both = || batch([reported(&one, now_plus(-2 * HOUR)), reported(&other, now_plus(0))]);
    let decide = |state: &Dispatches| both().decide(state, &Given::at(t(NOW))).expect("a batch is never refused");
    let first = decide(&state);
    assert_eq!(first.reply, IngestReport { accepted: 2, ..IngestReport::default() });
    first.events.iter().for_each(|event| state.evolve(event).expect("they are two events"));
    assert_eq!(decide(&state).reply.duplicates, [0, 1]);
    assert_eq!(state.ledger.dispatch_ids().count(), 2);
    state.evolve(&Event::RetentionSet(RetentionSet { hours: 1 })).expect("it is in range");
    assert_eq!((state.has_counted(&one), state.has_counted(&other)), (false, true));
    assert_eq!(state.ledger.dispatch_ids().collect::<Vec<_>>(), [other.as_str()]);
}

#[test]
fn the_target_is_met_up_to_and_with_its_last_minute() {
    for (severity, target) in [(5, 15.0_f64), (4, 30.0), (3, 60.0), (2, 120.0), (1, 480.0)] {
        for (minutes, given, met) in [
            (target, None, true),
            (target.next_up(), None, false),
            (0.0, None, true),
            (target, Some(false), false),
            (target.next_up(), Some(true), true),
        ] {
            let reported = event_with("e", now_plus(0), |event| {
                (event.severity, event.response_time_minutes, event.sla_met) = (severity, minutes, given);
            });
            assert_eq!(reported.sla_met(), met, "severity {severity}, {minutes} min, given {given:?}");
            let org = empty_org().when(batch([reported])).then_accepted();
            let [Event::Recorded(recorded)] = org.history() else { panic!("one event") };
            assert_eq!(recorded.sla_met, met);
        }
    }
    assert!(!event_with("e", now_plus(0), |event| event.severity = 6).sla_met());
}

/// −0 passes as ≥ 0, but is smaller than 0 for a percentile and equal to it for a minimum: order then showed in answers.
#[test]
fn minus_zero_is_recorded_as_zero() {
    let negative =
        event_with("e", now_plus(0), |event| (event.response_time_minutes, event.distance_km) = (-0.0, -0.0));
    let org = empty_org().when(batch([negative])).then_accepted();
    let [Event::Recorded(recorded)] = org.history() else { panic!("one event") };
    assert_eq!((recorded.response_time_minutes.to_bits(), recorded.distance_km.to_bits()), (0, 0));
}

#[test]
fn json_is_read_field_by_field() {
    let full = json!({
        "event_id": "e", "org_id": "org", "dispatch_id": "d-e", "timestamp": NOW, "severity": 3,
        "response_time_minutes": 10, "distance_km": 2.0, "region": "north", "unit_type": "engine",
    });
    assert_eq!(DispatchEvent::from_json(&full), Ok(event("e", now_plus(0))));
    // What is written is read back, optional fields and all.
    let rich = event_with("e", now_plus(1), |event| {
        event.sla_met = Some(true);
        event.metadata = json!({"a": 1}).as_object().expect("one").clone();
        (event.latitude, event.longitude, event.status) = (Some(1.5), Some(2.5), Status::Pending);
    });
    let written = serde_json::to_value(&rich).expect("an object");
    assert_eq!(DispatchEvent::from_json(&written), Ok(rich));

    for (field, value, shown) in [
        ("event_id", json!(7), "7"),
        ("event_id", json!(null), "missing"),
        ("org_id", json!("a/b"), "\"a/b\""),
        ("dispatch_id", json!(["d"]), "[\"d\"]"),
        ("timestamp", json!("yesterday"), "yesterday"),
        ("severity", json!(3.5), "3.5"),
        ("severity", json!("3"), "\"3\""),
        ("response_time_minutes", json!("10"), "\"10\""),
        ("distance_km", json!(null), "missing"),
        ("region", json!(1), "1"),
        ("unit_type", json!({}), "{}"),
        ("sla_met", json!("yes"), "\"yes\""),
        ("metadata", json!([]), "[]"),
        ("latitude", json!("n"), "\"n\""),
        ("longitude", json!(true), "true"),
        ("status", json!("open"), "\"open\""),
        ("status", json!(1), "1"),
    ] {
        let mut changed = full.clone();
        changed[field] = value;
        let invalid = DispatchEvent::from_json(&changed).expect_err(field);
        assert_eq!((invalid.field.as_str(), invalid.value.as_str()), (field, shown));
        assert!(!invalid.allowed.is_empty());
    }
    assert_eq!(DispatchEvent::from_json(&json!([1])).expect_err("no object").field, "event");
}

#[test]
fn names_of_statuses_and_reasons_round_trip() {
    for status in [Status::Pending, Status::Active, Status::Closed] {
        assert_eq!(status.to_string().parse::<Status>(), Ok(status));
        assert_eq!(serde_json::to_value(status).expect("a string"), json!(status.as_str()));
    }
    let late = RejectedBecause::TooLate { timestamp: now_plus(0), earliest: now_plus(1) };
    assert_eq!(late.as_str(), "too_late");
    assert_eq!(late.to_string(), late.to_invalid().to_string());
}
