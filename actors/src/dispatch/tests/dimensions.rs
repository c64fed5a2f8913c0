//! Names of regions and unit types, and the limit on how many are told apart.

use super::*;
use crate::domain::TimeWindow;

fn in_region(id: &str, at: Timestamp, region: &str) -> DispatchEvent {
    event_with(id, at, |event| event.region = region.into())
}

fn limit_set(values_max: u32) -> Event {
    Event::DimensionLimitSet(DimensionLimitSet { values_max })
}

#[track_caller]
fn counts(org: &Org) -> Vec<(String, u64)> {
    let regions = GetRegions { start: Some(Instant::FromNow(-9 * HOUR)), end: Some(Instant::FromNow(MIN)) };
    let regions = org.ask(regions).expect("an answer");
    regions.into_iter().map(|(region, summary)| (region, summary.dispatch_count)).collect()
}

fn named(counts: &[(&str, u64)]) -> Vec<(String, u64)> {
    counts.iter().map(|&(region, count)| (region.to_owned(), count)).collect()
}

#[test]
fn names_beyond_the_limit_count_as_other_and_are_counted() {
    let regions = ["a", "b", "c", "a", "d", "b"];
    let events = regions.iter().zip(0..).map(|(region, n)| in_region(&format!("e{n}"), now_plus(-n), region));
    let org = Org::given([limit_set(2)]).at(t(NOW)).when(batch(events)).then_accepted();
    assert_eq!(counts(&org), named(&[("__other__", 2), ("a", 2), ("b", 2)]));
    let in_use = org.ask(GetDimensions).expect("an answer");
    assert_eq!(in_use.region, DimensionInUse { values: 2, other_dispatches: 2 });
    assert_eq!(in_use.unit_type, DimensionInUse { values: 1, other_dispatches: 0 });
    let of = |region: &str| {
        let dimensions = Dimensions::any().with("region", region).expect("a region");
        let query = GetMetric {
            dimensions,
            start: Some(Instant::FromNow(-HOUR)),
            ..GetMetric::new(Metric::DispatchCount, TimeWindow::All, AggregationType::Count)
        };
        org.ask(GetMetric { end: Some(Instant::FromNow(MIN)), ..query }).expect("an answer")[0].value
    };
    assert_eq!([of("a"), of("c"), of(OTHER)], [Some(2.0), Some(0.0), Some(2.0)]);
    // With more room the next new name is known; what counted as other stays there.
    let org = org.when(SetDimensionLimit { values_max: 3 }).then([limit_set(3)], true);
    let org = org.when(batch([in_region("f", now_plus(0), "c"), in_region("g", now_plus(0), "d")])).then_accepted();
    assert_eq!(counts(&org), named(&[("__other__", 3), ("a", 2), ("b", 2), ("c", 1)]));
}

#[test]
fn a_forgotten_name_makes_room() {
    let org = Org::given([limit_set(1), Event::RetentionSet(RetentionSet { hours: 1 })]).at(t(NOW));
    let org = org.when(batch([in_region("a", now_plus(-HOUR), "old")])).then_accepted();
    let org = org.when(batch([in_region("b", now_plus(-30 * MIN), "new")])).then_accepted();
    assert_eq!(counts(&org), named(&[("__other__", 1), ("old", 1)]));
    let org = org.when(batch([in_region("c", now_plus(2 * MIN), "new")])).then_accepted();
    assert_eq!(counts(&org), named(&[("__other__", 1)]), "the minute after now is not asked about");
    assert_eq!(org.state().regions.distinct(), 1);
    let later = in_region("d", now_plus(3 * MIN), "another");
    assert_eq!(
        org.when(batch([later])).then_accepted().ask(GetDimensions).expect("an answer").region.other_dispatches,
        2
    );
}

#[test]
fn only_closed_dispatches_have_names() {
    let open = event_with("o", now_plus(0), |event| (event.region, event.status) = ("far".into(), Status::Pending));
    let org = org_with([open]);
    assert_eq!(org.ask(GetDimensions).expect("an answer").region.values, 0);
}

#[test]
fn limits_are_checked_and_a_limit_that_is_set_already_is_no_change() {
    for values_max in [0, DIMENSION_VALUES_MAX + 1] {
        empty_org().when(SetDimensionLimit { values_max }).then_refused(crate::error::Kind::Invalid);
    }
    empty_org().when(SetDimensionLimit { values_max: DIMENSION_VALUES_DEFAULT }).then_nothing_but(false);
    empty_org()
        .when(SetDimensionLimit { values_max: DIMENSION_VALUES_MAX })
        .then([limit_set(DIMENSION_VALUES_MAX)], true);
}

#[test]
fn a_hundred_thousand_regions_are_folded_and_none_is_lost() {
    let events = (0..100_000).map(|n| in_region(&format!("e{n}"), now_plus(-n), &format!("r{n}")));
    let mut state = Dispatches::default();
    use crate::runtime::{Aggregate as _, Command as _, Given};
    let decided = batch(events).decide(&state, &Given::at(t(NOW))).expect("a batch is never refused");
    for event in &decided.events {
        state.evolve(event).expect("what decide writes");
    }
    assert_eq!(state.regions.distinct() as u32, DIMENSION_VALUES_DEFAULT);
    assert_eq!(state.regions.others(), u64::from(100_000 - DIMENSION_VALUES_DEFAULT));
}
