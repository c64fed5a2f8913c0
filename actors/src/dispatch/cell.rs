//! What one minute adds up to, and how minutes are merged into a window.

use std::sync::Arc;

use super::query::{AggregationType, Metric};
use crate::domain::{ExactSum, MICROS_PER_MINUTE, Severity, Timestamp, percentile_rank};

/// All that is kept of one minute.
#[derive(Debug, Default)]
pub(super) struct MinuteCell {
    /// One group per combination of dimensions that occurs, in the order of their keys.
    groups: Vec<(GroupKey, Group)>,
    /// Whom to forget with the minute.
    pub(super) events: Vec<Remembered>,
}

/// An event that lies in the minute, closed or not.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) event_id: Arc<str>,
    pub(super) dispatch_id: Arc<str>,
}

/// One combination of dimensions. Names are numbers of the state's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct GroupKey {
    pub(super) region: u32,
    pub(super) unit_type: u32,
    pub(super) severity: Severity,
}

/// Which groups count; `None` is any.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct GroupFilter {
    pub(super) region: Option<u32>,
    pub(super) unit_type: Option<u32>,
    pub(super) severity: Option<Severity>,
}

impl GroupFilter {
    fn fits(&self, key: &GroupKey) -> bool {
        self.region.is_none_or(|region| region == key.region)
            && self.unit_type.is_none_or(|unit_type| unit_type == key.unit_type)
            && self.severity.is_none_or(|severity| severity == key.severity)
    }
}

/// The closed dispatches of one group in one minute: every sample, and the sums of them.
#[derive(Debug, Default)]
struct Group {
    samples: Vec<Sample>,
    met: u64,
    response_time: ExactSum,
    distance: ExactSum,
}

/// One closed dispatch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) timestamp: Timestamp,
    pub(super) response_time_minutes: f64,
    pub(super) distance_km: f64,
    pub(super) sla_met: bool,
}

impl MinuteCell {
    pub(super) fn add(&mut self, key: GroupKey, sample: Sample) {
        let index = match self.groups.binary_search_by_key(&key, |&(key, _)| key) {
            Ok(index) => index,
            Err(index) => {
                self.groups.insert(index, (key, Group::default()));
                index
            }
        };
        let group = &mut self.groups[index].1;
        group.samples.push(sample);
        group.met += u64::from(sample.sla_met);
        group.response_time.add(sample.response_time_minutes);
        group.distance.add(sample.distance_km);
    }

    /// Every sample, by group, in the order of arrival.
    pub(super) fn samples(&self) -> impl Iterator<Item = (GroupKey, &[Sample])> {
        self.groups.iter().map(|(key, group)| (*key, group.samples.as_slice()))
    }

    /// The regions that occur, each once: their numbers, and their part of the minute.
    pub(super) fn regions(&self) -> impl Iterator<Item = (u32, Part<'_>)> {
        let by_region = self.groups.chunk_by(|(a, _), (b, _)| a.region == b.region);
        by_region.map(|groups| (groups[0].0.region, Part(groups)))
    }

    /// Adds what fits `filter` and lies in `[from, to)` to `window`. `minute` is this cell's own.
    pub(super) fn merge_into(&self, window: &mut Merged, filter: GroupFilter, minute: i64, from: i64, to: i64) {
        Part(&self.groups).merge_into(window, filter, minute, from, to);
    }
}

/// Some groups of a minute, side by side.
#[derive(Clone, Copy)]
pub(super) struct Part<'a>(&'a [(GroupKey, Group)]);

impl Part<'_> {
    /// As [`MinuteCell::merge_into`].
    pub(super) fn merge_into(self, window: &mut Merged, filter: GroupFilter, minute: i64, from: i64, to: i64) {
        let start = minute * MICROS_PER_MINUTE;
        let is_whole = from <= start && start + MICROS_PER_MINUTE <= to;
        for (_, group) in self.0.iter().filter(|(key, _)| filter.fits(key)) {
            if is_whole {
                window.add_group(group);
            } else {
                let inside = |sample: &&Sample| (from..to).contains(&sample.timestamp.as_micros());
                group.samples.iter().filter(inside).for_each(|sample| window.add_sample(sample));
            }
        }
    }
}

/// What a window adds up to, for one metric.
#[derive(Debug)]
pub(super) struct Merged {
    metric: Metric,
    /// Only percentiles, minimum and maximum look at single values.
    wants_values: bool,
    pub(super) count: u64,
    pub(super) met: u64,
    sum: ExactSum,
    values: Vec<f64>,
}

impl Merged {
    pub(super) fn new(metric: Metric, aggregation: AggregationType) -> Self {
        let measured = matches!(metric, Metric::ResponseTime | Metric::Distance);
        let single = !matches!(aggregation, AggregationType::Sum | AggregationType::Count | AggregationType::Average);
        Merged {
            metric,
            wants_values: measured && single,
            count: 0,
            met: 0,
            sum: ExactSum::default(),
            values: Vec::new(),
        }
    }

    fn add_group(&mut self, group: &Group) {
        self.count += group.samples.len() as u64;
        self.met += group.met;
        match self.metric {
            Metric::ResponseTime => self.sum.merge(&group.response_time),
            Metric::Distance => self.sum.merge(&group.distance),
            Metric::SlaCompliance | Metric::DispatchCount => {}
        }
        if self.wants_values {
            let metric = self.metric;
            self.values.extend(group.samples.iter().map(|sample| measure(metric, sample)));
        }
    }

    fn add_sample(&mut self, sample: &Sample) {
        self.count += 1;
        self.met += u64::from(sample.sla_met);
        let value = measure(self.metric, sample);
        self.sum.add(value);
        if self.wants_values {
            self.values.push(value);
        }
    }

    /// The aggregated value; `None` when there are no samples and the aggregation has no value without.
    pub(super) fn value(&mut self, aggregation: AggregationType) -> Option<f64> {
        match self.metric {
            Metric::DispatchCount => Some(self.count as f64),
            Metric::SlaCompliance => self.value_of_met(aggregation),
            Metric::ResponseTime | Metric::Distance => self.value_of_measure(aggregation),
        }
    }

    fn value_of_measure(&mut self, aggregation: AggregationType) -> Option<f64> {
        match aggregation {
            AggregationType::Count => Some(self.count as f64),
            AggregationType::Sum => Some(self.sum.value()),
            _ if self.count == 0 => None,
            AggregationType::Average => Some(self.sum.value() / self.count as f64),
            AggregationType::Min => self.values.iter().copied().reduce(f64::min),
            AggregationType::Max => self.values.iter().copied().reduce(f64::max),
            AggregationType::Percentile(percent) => {
                let rank = percentile_rank(percent.into(), self.values.len());
                Some(*self.values.select_nth_unstable_by(rank - 1, f64::total_cmp).1)
            }
        }
    }

    /// The same for a measure that is 1 when met, else 0: in ascending order the zeros come first.
    fn value_of_met(&self, aggregation: AggregationType) -> Option<f64> {
        let missed = self.count - self.met;
        match aggregation {
            AggregationType::Count => Some(self.count as f64),
            AggregationType::Sum => Some(self.met as f64),
            _ if self.count == 0 => None,
            AggregationType::Average => Some(self.met as f64 / self.count as f64),
            AggregationType::Min => Some(if missed > 0 { 0.0 } else { 1.0 }),
            AggregationType::Max => Some(if self.met > 0 { 1.0 } else { 0.0 }),
            AggregationType::Percentile(percent) => {
                let rank = percentile_rank(percent.into(), self.count as usize) as u64;
                Some(if rank <= missed { 0.0 } else { 1.0 })
            }
        }
    }
}

fn measure(metric: Metric, sample: &Sample) -> f64 {
    match metric {
        Metric::ResponseTime => sample.response_time_minutes,
        Metric::Distance => sample.distance_km,
        Metric::SlaCompliance => f64::from(u8::from(sample.sla_met)),
        Metric::DispatchCount => 1.0,
    }
}
