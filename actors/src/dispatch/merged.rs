//! What the events of a window add up to.

use super::query::{AggregationType, Metric};
use super::state::EXACT_SAMPLES_MAX;
use super::timeline::Row;
use crate::domain::{ExactSum, QuantileSketch, Severity, percentile_rank};

/// Which closed dispatches count; `None` is any. Names are numbers of the state's tables.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Filter {
    pub(super) region: Option<u32>,
    pub(super) unit_type: Option<u32>,
    pub(super) severity: Option<Severity>,
}

impl Filter {
    /// Whether a row is a closed dispatch that counts.
    pub(super) fn fits(&self, row: &Row) -> bool {
        row.is_closed
            && self.region.is_none_or(|region| region == row.region)
            && self.unit_type.is_none_or(|unit_type| unit_type == row.unit_type)
            && self.severity.is_none_or(|severity| severity == row.severity)
    }
}

/// What a window adds up to, for one metric and one aggregation.
#[derive(Debug)]
pub(super) struct Merged {
    metric: Metric,
    aggregation: AggregationType,
    pub(super) count: u64,
    pub(super) met: u64,
    sum: ExactSum,
    /// Least or greatest value, for minimum and maximum.
    extreme: Option<f64>,
    values: Values,
}

/// What a percentile is read off.
#[derive(Debug)]
pub(super) enum Values {
    Exact(Vec<f64>),
    /// Of more than [`EXACT_SAMPLES_MAX`] values.
    Sketch(QuantileSketch),
}

impl Merged {
    pub(super) fn new(metric: Metric, aggregation: AggregationType) -> Self {
        Merged {
            metric,
            aggregation,
            count: 0,
            met: 0,
            sum: ExactSum::default(),
            extreme: None,
            values: Values::default(),
        }
    }

    /// Adds a closed dispatch.
    pub(super) fn add(&mut self, row: &Row) {
        self.extend(std::iter::once(row));
    }

    /// Adds closed dispatches.
    pub(super) fn extend<'a>(&mut self, rows: impl Iterator<Item = &'a Row>) {
        let (mut count, mut met) = (0, 0);
        let rows = rows.inspect(|row| {
            count += 1;
            met += u64::from(row.sla_met);
        });
        match self.metric {
            Metric::ResponseTime => self.aggregate(rows.map(|row| row.response_time_minutes)),
            Metric::Distance => self.aggregate(rows.map(|row| row.distance_km)),
            // Counts tell all there is to know of these.
            Metric::SlaCompliance | Metric::DispatchCount => rows.for_each(|_| ()),
        }
        self.count += count;
        self.met += met;
    }

    fn aggregate(&mut self, values: impl Iterator<Item = f64>) {
        match self.aggregation {
            AggregationType::Count => values.for_each(|_| ()),
            AggregationType::Sum | AggregationType::Average => values.for_each(|value| self.sum.add(value)),
            AggregationType::Min => self.extreme = values.chain(self.extreme).reduce(f64::min),
            AggregationType::Max => self.extreme = values.chain(self.extreme).reduce(f64::max),
            AggregationType::Percentile(_) => values.for_each(|value| self.values.push(value)),
        }
    }

    pub(super) fn metric(&self) -> Metric {
        self.metric
    }

    pub(super) fn aggregation(&self) -> AggregationType {
        self.aggregation
    }

    /// Whether the value is exact; a percentile of very many values is not.
    pub(super) fn is_exact(&self) -> bool {
        matches!(self.values, Values::Exact(_))
    }

    /// The aggregated value; `None` when there are no samples and the aggregation has no value without.
    pub(super) fn value(&mut self) -> Option<f64> {
        match self.metric {
            Metric::DispatchCount => Some(self.count as f64),
            Metric::SlaCompliance => self.value_of_met(),
            Metric::ResponseTime | Metric::Distance => self.value_of_measure(),
        }
    }

    fn value_of_measure(&mut self) -> Option<f64> {
        match self.aggregation {
            AggregationType::Count => Some(self.count as f64),
            AggregationType::Sum => Some(self.sum.value()),
            _ if self.count == 0 => None,
            AggregationType::Average => Some(self.sum.value() / self.count as f64),
            AggregationType::Min | AggregationType::Max => self.extreme,
            AggregationType::Percentile(percent) => self.values.percentile(percent.into()),
        }
    }

    /// The same for a measure that is 1 when met, else 0: in ascending order the zeros come first.
    fn value_of_met(&self) -> Option<f64> {
        let missed = self.count - self.met;
        match self.aggregation {
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

impl Default for Values {
    fn default() -> Self {
        Values::Exact(Vec::new())
    }
}

impl Values {
    pub(super) fn push(&mut self, value: f64) {
        match self {
            Values::Exact(values) if values.len() < EXACT_SAMPLES_MAX => values.push(value),
            Values::Exact(values) => {
                let mut sketch: QuantileSketch = std::mem::take(values).into_iter().collect();
                sketch.add(value);
                *self = Values::Sketch(sketch);
            }
            Values::Sketch(sketch) => sketch.add(value),
        }
    }

    pub(super) fn percentile(&mut self, percent: u32) -> Option<f64> {
        match self {
            Values::Exact(values) if values.is_empty() => None,
            Values::Exact(values) => {
                let rank = percentile_rank(percent, values.len());
                Some(*values.select_nth_unstable_by(rank - 1, f64::total_cmp).1)
            }
            Values::Sketch(sketch) => sketch.percentile(percent),
        }
    }
}
