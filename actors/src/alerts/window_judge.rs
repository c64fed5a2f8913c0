//! The windows of threshold rules, as the watermark closes them: a fold over the org's dispatches in the order of its stream,
//! so that every reading of it gives the same windows with the same values, however they came in batches.
//!
//! Only one window per rule can still change: the one that holds the watermark. A later dispatch closes it; an earlier one is
//! too late for what was judged and changes nothing. So all there is to remember are the samples of that window, and they
//! begin at the dispatch that closed the one before it.

use crate::dispatch::{AggregationType, DispatchRecorded, Metric, Status};
use crate::domain::{ExactSum, Timestamp, percentile_sorted};
use crate::rules::{AlertRule, Condition, Threshold};

/// A window that was closed, and what was measured in it.
#[derive(Debug, Clone, PartialEq)]
pub struct ClosedWindow {
    /// The rule that is to be judged.
    pub rule_id: String,
    /// The version of it.
    pub rule_version: u32,
    /// First instant of the window.
    pub window_start: Timestamp,
    /// First instant after it.
    pub window_end: Timestamp,
    /// What was measured; none when there was nothing to measure.
    pub value: Option<f64>,
    /// Dispatches that were measured.
    pub samples: u64,
    /// The dispatch that closed it, by its sequence.
    pub closed_by: u64,
}

/// The open window of each threshold rule.
#[derive(Debug, Clone, Default)]
pub struct WindowJudge {
    open: Vec<OpenWindow>,
}

#[derive(Debug, Clone)]
struct OpenWindow {
    rule_id: String,
    rule_version: u32,
    threshold: Threshold,
    /// Windows closed by this dispatch or an earlier one are not told.
    told_until: u64,
    /// Where the window starts; none before the first dispatch.
    start: Option<i64>,
    samples: Vec<f64>,
}

impl WindowJudge {
    /// Begins with the rules that are about windows; of each, only windows that are closed by a dispatch after the one of the
    /// sequence that `told_until` gives are told.
    pub fn new<'a>(rules: impl IntoIterator<Item = &'a AlertRule>, told_until: impl Fn(&AlertRule) -> u64) -> Self {
        let open = rules.into_iter().filter(|rule| rule.enabled).filter_map(|rule| match &rule.condition {
            Condition::Threshold(threshold) => Some(OpenWindow {
                rule_id: rule.rule_id.clone(),
                rule_version: rule.version,
                threshold: threshold.clone(),
                told_until: told_until(rule),
                start: None,
                samples: Vec::new(),
            }),
            _ => None,
        });
        WindowJudge { open: open.collect() }
    }

    /// Whether there is no rule about windows.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes in the org's next dispatch and tells which windows it closes, oldest first: the one that held the watermark and,
    /// when others were passed over, the last of those, which is empty as they all are.
    pub fn take(&mut self, sequence: u64, dispatch: &DispatchRecorded) -> Vec<ClosedWindow> {
        let mut closed = Vec::new();
        for open in &mut self.open {
            open.take(sequence, dispatch, &mut closed);
        }
        closed
    }
}

impl OpenWindow {
    fn take(&mut self, sequence: u64, dispatch: &DispatchRecorded, closed: &mut Vec<ClosedWindow>) {
        let Some(width) = self.threshold.window.width_micros() else { return };
        let start = self.threshold.window.floor_micros(dispatch.timestamp);
        let former = *self.start.get_or_insert(start);
        if start < former {
            return; // Too late: that window has been judged.
        }
        if start > former {
            let is_told = sequence > self.told_until;
            if is_told {
                closed.extend(self.close(former, former + width, sequence));
            }
            self.samples.clear();
            if is_told && start - width > former {
                closed.extend(self.close(start - width, start, sequence));
            }
            self.start = Some(start);
        }
        if dispatch.status == Status::Closed && self.matches(dispatch) {
            self.samples.push(match self.threshold.metric {
                Metric::ResponseTime => dispatch.response_time_minutes,
                Metric::Distance => dispatch.distance_km,
                Metric::SlaCompliance => f64::from(u8::from(dispatch.sla_met)),
                Metric::DispatchCount => 1.0,
            });
        }
    }

    fn close(&self, start: i64, end: i64, closed_by: u64) -> Option<ClosedWindow> {
        Some(ClosedWindow {
            rule_id: self.rule_id.clone(),
            rule_version: self.rule_version,
            window_start: Timestamp::from_micros(start)?,
            window_end: Timestamp::from_micros(end)?,
            value: value(self.threshold.metric, self.threshold.aggregation, &self.samples),
            samples: self.samples.len() as u64,
            closed_by,
        })
    }

    fn matches(&self, dispatch: &DispatchRecorded) -> bool {
        self.threshold.dimensions.iter().all(|(name, wanted)| match name.as_str() {
            "region" => dispatch.region == *wanted,
            "unit_type" => dispatch.unit_type == *wanted,
            "severity" => dispatch.severity.to_string() == *wanted,
            _ => false,
        })
    }
}

/// The samples of a window as one value, as the dispatch analytics would give it.
fn value(metric: Metric, aggregation: AggregationType, samples: &[f64]) -> Option<f64> {
    let sum = || samples.iter().copied().collect::<ExactSum>().value();
    let count = samples.len() as f64;
    let value = match aggregation {
        _ if metric == Metric::DispatchCount => Some(count),
        AggregationType::Count => Some(count),
        AggregationType::Sum => Some(sum()),
        _ if samples.is_empty() => None,
        AggregationType::Average => Some(sum() / count),
        AggregationType::Min => samples.iter().copied().reduce(f64::min),
        AggregationType::Max => samples.iter().copied().reduce(f64::max),
        AggregationType::Percentile(percent) => {
            let mut ascending = samples.to_vec();
            ascending.sort_by(f64::total_cmp);
            percentile_sorted(&ascending, percent.into())
        }
    };
    value.filter(|value| value.is_finite())
}
