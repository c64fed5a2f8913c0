//! The org against a model that keeps a list of events and scans it for every answer.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed};

use super::*;
use crate::domain::{TimeWindow, mean, percentile_sorted};

/// Accepted events in the order of arrival, with those that are forgotten taken out.
#[derive(Debug, Default, Clone)]
struct Model {
    retention_hours: i64,
    kept: Vec<DispatchEvent>,
    watermark: Option<Timestamp>,
}

impl Model {
    fn earliest(&self) -> Option<i64> {
        let horizon = self.watermark?.as_micros() - self.retention_hours * HOUR;
        (self.retention_hours > 0).then(|| horizon.div_euclid(MIN) * MIN)
    }

    fn take(&mut self, event: &DispatchEvent, now: Timestamp) -> &'static str {
        let at = event.timestamp.as_micros();
        if !(1..=5).contains(&event.severity) {
            return "invalid";
        }
        if at > now.as_micros() + 5 * MIN {
            return "in_future";
        }
        if self.earliest().is_some_and(|earliest| at < earliest) {
            return "too_late";
        }
        if self.kept.iter().any(|kept| kept.event_id == event.event_id) {
            return "duplicate";
        }
        self.kept.push(event.clone());
        self.watermark = self.watermark.max(Some(event.timestamp));
        self.forget();
        "accepted"
    }

    fn forget(&mut self) {
        if let Some(earliest) = self.earliest() {
            self.kept.retain(|event| event.timestamp.as_micros() >= earliest);
        }
    }

    fn samples(&self, from: i64, to: i64, region: Option<&str>) -> Vec<f64> {
        let mut samples: Vec<f64> = self
            .kept
            .iter()
            .filter(|event| event.status == Status::Closed && (from..to).contains(&event.timestamp.as_micros()))
            .filter(|event| region.is_none_or(|region| event.region == region))
            .map(|event| event.response_time_minutes)
            .collect();
        samples.sort_by(f64::total_cmp);
        samples
    }

    fn with_status(&self, status: Status, as_of: Timestamp) -> usize {
        let mut dispatches: Vec<&str> = self.kept.iter().map(|event| event.dispatch_id.as_str()).collect();
        dispatches.sort_unstable();
        dispatches.dedup();
        let latest = |dispatch: &&str| {
            let reports = self.kept.iter().filter(|event| event.dispatch_id == *dispatch && event.timestamp < as_of);
            reports.map(|event| (event.timestamp, event.status)).max().map(|(_, status)| status)
        };
        dispatches.iter().filter_map(latest).filter(|&latest| latest == status).count()
    }
}

fn events() -> impl Strategy<Value = DispatchEvent> {
    let status = prop_oneof![4 => Just(Status::Closed), 1 => Just(Status::Active), 1 => Just(Status::Pending)];
    // Many lie around now and around one and three hours ago, where retention ends.
    let at = prop_oneof![2 => -400i64..-180, 3 => -183i64..-176, 3 => -62i64..-54, 3 => -180i64..0, 2 => 0i64..8];
    let severity = prop_oneof![12 => 1i64..=5, 1 => Just(0i64)];
    // Few ids, so that many repeat; times at and around whole minutes.
    let time = (at, prop::sample::select(vec![0, 1, MIN / 2, MIN - 1]));
    (0u32..40, 0u32..20, time, severity, 0u32..500, 0usize..3, status).prop_map(
        |(id, dispatch, (minute, micros), severity, tenths, region, status)| {
            event_with(&format!("e{id}"), now_plus(minute * MIN + micros), |event| {
                event.dispatch_id = format!("d{dispatch}");
                event.severity = severity;
                event.response_time_minutes = f64::from(tenths) * 0.1;
                event.region = ["north", "south", "west"][region].into();
                event.status = status;
            })
        },
    )
}

#[derive(Debug, Clone)]
enum Step {
    Batch(Vec<DispatchEvent>),
    Retention(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let batches = vec(events(), 0..12).prop_map(Step::Batch);
    vec(prop_oneof![8 => batches, 1 => (0u32..4).prop_map(Step::Retention)], 1..12)
}

/// The same cases in every run; a case that fails is printed, shrunk.
fn fixed(cases: u32) -> Config {
    Config {
        cases,
        rng_seed: RngSeed::Fixed(20_260_301),
        rng_algorithm: RngAlgorithm::ChaCha,
        failure_persistence: None,
        ..Config::default()
    }
}

/// Every kind of answer, as text to the last bit.
fn answers(org: &Org) -> String {
    let mut text = String::new();
    for metric in Metric::ALL {
        for aggregation in AggregationType::ALL {
            for window in [TimeWindow::Minute5, TimeWindow::Hour1, TimeWindow::All] {
                let query = GetMetric {
                    start: Some(Instant::At(now_plus(-3 * HOUR + 17 * MIN + 5))),
                    end: Some(Instant::At(now_plus(7 * MIN))),
                    ..GetMetric::new(metric, window, aggregation)
                };
                let values = org.ask(query).expect("an answer");
                let bits = values.iter().map(|it| (it.window_start, it.value.map(f64::to_bits), it.sample_count));
                let _ = writeln!(text, "{metric} {aggregation} {window} {:?}", bits.collect::<Vec<_>>());
            }
        }
    }
    let span = GetRegions { start: Some(Instant::FromNow(-4 * HOUR)), end: Some(Instant::Latest) };
    let _ = writeln!(text, "{:?}", org.ask(span));
    for as_of in [None, Some(Instant::Latest), Some(Instant::FromNow(-HOUR))] {
        let snapshot = org.ask(GetDashboardSnapshot { org_id: "org".parse().expect("an id"), as_of });
        let _ = writeln!(text, "{:?}", snapshot.expect("an answer"));
    }
    text
}

proptest! {
    #![proptest_config(fixed(200))]

    #[test]
    fn the_org_accepts_and_answers_as_a_list_of_events_would(
        hours in prop::sample::select(vec![0u32, 1, 1, 3]), steps in steps(), from in -200i64..0, len in 1i64..120, cut in 0i64..MIN,
    ) {
        let mut model = Model { retention_hours: i64::from(RETENTION_HOURS_DEFAULT), ..Model::default() };
        let mut org = empty_org();
        for step in [Step::Retention(hours)].into_iter().chain(steps) {
            match step {
                Step::Batch(events) => {
                    let expected: Vec<_> = events.iter().map(|event| model.take(event, t(NOW))).collect();
                    prop_assert_eq!(fates_of(&org, events.clone()), expected);
                    org = org.when(batch(events)).then_accepted();
                }
                Step::Retention(hours) => {
                    model.retention_hours = hours.into();
                    model.forget();
                    org = org.when(SetRetention { hours }).then_accepted();
                }
            }
        }
        prop_assert_eq!(org.state().watermark(), model.watermark);
        let (start, end) = (now_plus(from * MIN + cut), now_plus((from + len) * MIN));
        for region in [None, Some("north")] {
            for window in [TimeWindow::All, TimeWindow::Minute1, TimeWindow::Minute15, TimeWindow::Hour1] {
                for aggregation in [AggregationType::Average, AggregationType::Percentile(Percent::P90), AggregationType::Min] {
                    let dimensions = match region {
                        Some(region) => Dimensions::any().with("region", region).expect("a region"),
                        None => Dimensions::any(),
                    };
                    let answer = org.ask(GetMetric {
                        start: Some(Instant::At(start)),
                        end: Some(Instant::At(end)),
                        dimensions,
                        include_empty: true,
                        ..GetMetric::new(Metric::ResponseTime, window, aggregation)
                    });
                    let answer = answer.expect("an answer");
                    prop_assert!(answer.windows(2).all(|pair| pair[0].window_end == pair[1].window_start));
                    prop_assert!(answer[0].window_start <= start && end <= answer[answer.len() - 1].window_end);
                    for value in answer {
                        let span = (value.window_start.as_micros(), value.window_end.as_micros());
                        let samples = model.samples(span.0, span.1, region);
                        let expected = match aggregation {
                            AggregationType::Average => mean(&samples),
                            AggregationType::Min => samples.first().copied(),
                            _ => percentile_sorted(&samples, 90),
                        };
                        prop_assert_eq!(value.value, expected, "{} {} {:?}", window, aggregation, span);
                        prop_assert_eq!(value.sample_count, samples.len() as u64);
                    }
                }
            }
        }
        for as_of in [-200, -61, -30, -5, 0, 6].map(|minute| now_plus(minute * MIN)) {
            let seen = org.ask(GetDashboardSnapshot { org_id: "org".parse().expect("an id"), as_of: Some(Instant::At(as_of)) });
            let seen = seen.expect("an answer");
            prop_assert_eq!(seen.active_dispatches, model.with_status(Status::Active, as_of));
            prop_assert_eq!(seen.pending_dispatches, model.with_status(Status::Pending, as_of));
        }
    }

    #[test]
    fn any_order_of_the_same_events_gives_the_same_answers_to_the_bit(
        (events, shuffled) in vec(events(), 0..80).prop_map(|mut events| {
            // An id that repeats is the same event; which of two different ones came first may show.
            events.sort_by(|a, b| a.event_id.cmp(&b.event_id));
            events.dedup_by(|a, b| a.event_id == b.event_id);
            events
        }).prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle())),
        size in 1usize..30,
    ) {
        let keep_all = || Org::given([Event::RetentionSet(RetentionSet { hours: 0 })]).at(t(NOW));
        let in_order = keep_all().when(batch(events)).then_accepted();
        let in_batches = shuffled.chunks(size).fold(keep_all(), |org, chunk| org.when(batch(chunk.to_vec())).then_accepted());
        prop_assert_eq!(answers(&in_order), answers(&in_batches));
    }
}
