//! Questions to answers.

use std::collections::BTreeMap;

use super::cell::{GroupFilter, Merged, MinuteCell};
use super::dispatch_event::Status;
use super::query::{
    AggregatedMetric, AggregationType, DashboardSnapshot, Dimensions, GetDashboardSnapshot, GetMetric, GetRegions,
    GetWatermark, Instant, Metric, Percent, RegionSummary, WINDOWS_MAX,
};
use super::state::{Dispatches, minute_of};
use crate::domain::{MICROS_PER_HOUR, MICROS_PER_MINUTE, TimeWindow, Timestamp};
use crate::error::{Error, Invalid};
use crate::runtime::{Given, Query};

impl Query<Dispatches> for GetMetric {
    type Answer = Vec<AggregatedMetric>;

    fn answer(self, state: &Dispatches, given: &Given) -> Result<Vec<AggregatedMetric>, Error> {
        let span = span_of(state, given, self.start, self.end, self.as_of)?;
        let windows = Windows::over(self.window, span)?;
        let filter = filter_of(state, &self.dimensions);
        let mut merged = filter.map(|filter| windows.merge(state, filter, self.metric, self.aggregation));
        let merged = merged.get_or_insert_default();
        merged.retain(|_, window| window.count > 0);

        let lists_empty = self.include_empty
            || self.metric == Metric::DispatchCount
            || matches!(self.aggregation, AggregationType::Sum | AggregationType::Count);
        let held = merged.keys().next().copied().zip(merged.keys().next_back().copied());
        let listed = match (self.start.is_some(), self.end.is_some(), held) {
            (true, true, _) => Some((0, windows.count - 1)),
            (_, _, None) => None,
            (start_given, end_given, Some((first, last))) => {
                Some((if start_given { 0 } else { first }, if end_given { windows.count - 1 } else { last }))
            }
        };
        let Some((first, last)) = listed else { return Ok(Vec::new()) };
        let metric = |index: i64, window: &mut Merged| {
            let (window_start, window_end) = windows.bounds(index);
            AggregatedMetric {
                metric_name: self.metric.as_str(),
                value: window.value(self.aggregation).filter(|value| value.is_finite()),
                window_start,
                window_end,
                dimensions: self.dimensions.to_map(),
                sample_count: window.count,
                aggregation: self.aggregation,
                exact: true,
            }
        };
        if !lists_empty {
            return Ok(merged.iter_mut().map(|(&index, window)| metric(index, window)).collect());
        }
        let mut nothing = Merged::new(self.metric, self.aggregation);
        Ok((first..=last).map(|index| metric(index, merged.get_mut(&index).unwrap_or(&mut nothing))).collect())
    }
}

impl Query<Dispatches> for GetDashboardSnapshot {
    type Answer = DashboardSnapshot;

    fn answer(self, state: &Dispatches, given: &Given) -> Result<DashboardSnapshot, Error> {
        let as_of = self.as_of.map_or(given.now, |instant| resolve(state, given, instant));
        let last_before = as_of.saturating_add_micros(-1);
        let end = (minute_of(last_before) + 1) * MICROS_PER_MINUTE;
        let hour = Windows { start: end - MICROS_PER_HOUR, end, width: None, count: 1 };
        let overall = |metric, aggregation| hour.single(state, Dimensions::any(), metric, aggregation);
        let p = AggregationType::Percentile;
        let mut metrics: Vec<AggregatedMetric> = [
            (Metric::ResponseTime, AggregationType::Average),
            (Metric::ResponseTime, p(Percent::P50)),
            (Metric::ResponseTime, p(Percent::P90)),
            (Metric::ResponseTime, p(Percent::P95)),
            (Metric::ResponseTime, p(Percent::P99)),
            (Metric::ResponseTime, AggregationType::Max),
            (Metric::Distance, AggregationType::Average),
            (Metric::DispatchCount, AggregationType::Count),
            (Metric::SlaCompliance, AggregationType::Average),
        ]
        .into_iter()
        .map(|(metric, aggregation)| overall(metric, aggregation))
        .collect();
        let average_response_time = metrics[0].value;
        let sla_compliance_rate = metrics[8].value.unwrap_or(1.0);
        metrics.extend(hour.by_region(state, Metric::ResponseTime, p(Percent::P90)));
        metrics.extend(hour.by_region(state, Metric::DispatchCount, AggregationType::Count));
        metrics.retain(|metric| metric.value.is_some());
        let latest = latest_statuses(state, as_of);
        let count_of = |wanted| latest.iter().filter(|&&status| status == wanted).count();
        Ok(DashboardSnapshot {
            org_id: self.org_id,
            timestamp: as_of,
            metrics,
            active_dispatches: count_of(Status::Active),
            pending_dispatches: count_of(Status::Pending),
            sla_compliance_rate,
            average_response_time,
            alerts: Vec::new(),
        })
    }
}

impl Query<Dispatches> for GetRegions {
    type Answer = BTreeMap<String, RegionSummary>;

    fn answer(self, state: &Dispatches, given: &Given) -> Result<BTreeMap<String, RegionSummary>, Error> {
        let span = Windows::over(TimeWindow::All, span_of(state, given, self.start, self.end, None)?)?;
        let percentile = AggregationType::Percentile;
        let mut regions: BTreeMap<u32, (Merged, Merged)> = BTreeMap::new();
        for (minute, cell) in span.cells(state) {
            for (number, part) in cell.regions() {
                let (response, distance) = regions.entry(number).or_insert_with(|| {
                    let response = Merged::new(Metric::ResponseTime, percentile(Percent::P50));
                    (response, Merged::new(Metric::Distance, AggregationType::Average))
                });
                part.merge_into(response, GroupFilter::default(), minute, span.start, span.end);
                part.merge_into(distance, GroupFilter::default(), minute, span.start, span.end);
            }
        }
        let summary = |(number, (mut response, mut distance)): (u32, (Merged, Merged))| {
            // A region that only has dispatches outside the exact span has no values, and no entry.
            let summary = RegionSummary {
                dispatch_count: response.count,
                avg_response: response.value(AggregationType::Average)?,
                p50_response: response.value(percentile(Percent::P50))?,
                p90_response: response.value(percentile(Percent::P90))?,
                sla_compliance: response.met as f64 / response.count as f64,
                avg_distance: distance.value(AggregationType::Average)?,
            };
            Some((state.regions.name(number).to_string(), summary))
        };
        Ok(regions.into_iter().filter_map(summary).collect())
    }
}

impl Query<Dispatches> for GetWatermark {
    type Answer = Option<Timestamp>;

    fn answer(self, state: &Dispatches, _: &Given) -> Result<Option<Timestamp>, Error> {
        Ok(state.watermark())
    }
}

pub(super) fn resolve(state: &Dispatches, given: &Given, instant: Instant) -> Timestamp {
    match instant {
        Instant::At(at) => at,
        Instant::FromNow(micros) => given.now.saturating_add_micros(micros),
        Instant::Latest => state.watermark().map_or(given.now, |latest| latest.saturating_add_micros(1)),
    }
}

/// The span asked for, in microseconds: start included, end not.
pub(super) fn span_of(
    state: &Dispatches,
    given: &Given,
    start: Option<Instant>,
    end: Option<Instant>,
    as_of: Option<Instant>,
) -> Result<(Timestamp, Timestamp), Error> {
    let as_of = as_of.map(|instant| resolve(state, given, instant));
    let now = as_of.unwrap_or(given.now);
    let end = end.map_or(now, |instant| resolve(state, given, instant));
    let end = as_of.map_or(end, |as_of| end.min(as_of));
    let hour_before = end.saturating_add_micros(-MICROS_PER_HOUR);
    let start = start.map_or(hour_before, |instant| resolve(state, given, instant));
    if start >= end {
        return Err(Invalid::new("start", start, format!("before end, which is {end}")).into());
    }
    Ok((start, end))
}

/// `None` when a dimension asks for a name that never occurred, so that nothing can match.
fn filter_of(state: &Dispatches, dimensions: &Dimensions) -> Option<GroupFilter> {
    let mut filter = GroupFilter { severity: dimensions.severity, ..GroupFilter::default() };
    if let Some(region) = &dimensions.region {
        filter.region = Some(state.regions.find(region)?);
    }
    if let Some(unit_type) = &dimensions.unit_type {
        filter.unit_type = Some(state.unit_types.find(unit_type)?);
    }
    Some(filter)
}

/// Some windows side by side, in microseconds.
struct Windows {
    start: i64,
    end: i64,
    /// `None` is one window from start to end.
    width: Option<i64>,
    count: i64,
}

impl Windows {
    fn over(window: TimeWindow, (start, end): (Timestamp, Timestamp)) -> Result<Self, Error> {
        let Some(width) = window.width_micros() else {
            return Ok(Windows { start: start.as_micros(), end: end.as_micros(), width: None, count: 1 });
        };
        let first = window.floor_micros(start);
        let last = window.floor_micros(end.saturating_add_micros(-1));
        let count = (last - first) / width + 1;
        if count > WINDOWS_MAX {
            let allowed = format!("at most {WINDOWS_MAX} windows from start to end");
            return Err(Invalid::new("window", format_args!("{window} ({count} windows)"), allowed).into());
        }
        Ok(Windows { start: first, end: last + width, width: Some(width), count })
    }

    fn bounds(&self, index: i64) -> (Timestamp, Timestamp) {
        let (start, end) = match self.width {
            Some(width) => (self.start + index * width, self.start + (index + 1) * width),
            None => (self.start, self.end),
        };
        // A window at the edge of the calendar can reach over it.
        let clamped = |micros: i64| Timestamp::EPOCH.saturating_add_micros(micros);
        (clamped(start), clamped(end))
    }

    /// The minutes that the windows touch.
    fn cells<'a>(&self, state: &'a Dispatches) -> impl Iterator<Item = (i64, &'a MinuteCell)> + use<'a> {
        let first = self.start.div_euclid(MICROS_PER_MINUTE);
        let last = (self.end - 1).div_euclid(MICROS_PER_MINUTE);
        state.minutes.range(first..=last).map(|(&minute, cell)| (minute, cell))
    }

    /// What each window that may hold anything adds up to, by its number.
    fn merge(
        &self,
        state: &Dispatches,
        filter: GroupFilter,
        metric: Metric,
        aggregation: AggregationType,
    ) -> BTreeMap<i64, Merged> {
        let mut windows: BTreeMap<i64, Merged> = BTreeMap::new();
        for (minute, cell) in self.cells(state) {
            let index = self.width.map_or(0, |width| (minute * MICROS_PER_MINUTE - self.start).div_euclid(width));
            let window = windows.entry(index).or_insert_with(|| Merged::new(metric, aggregation));
            cell.merge_into(window, filter, minute, self.start, self.end);
        }
        windows
    }

    /// The value of a single window over the whole span.
    fn single(
        &self,
        state: &Dispatches,
        dimensions: Dimensions,
        metric: Metric,
        aggregation: AggregationType,
    ) -> AggregatedMetric {
        let merged = match filter_of(state, &dimensions) {
            Some(filter) => self.merge(state, filter, metric, aggregation).remove(&0),
            None => None,
        };
        self.metric(merged.unwrap_or_else(|| Merged::new(metric, aggregation)), &dimensions, metric, aggregation)
    }

    /// The values of a single window over the whole span, of each region that has closed dispatches in it, by name.
    fn by_region(&self, state: &Dispatches, metric: Metric, aggregation: AggregationType) -> Vec<AggregatedMetric> {
        let mut regions: BTreeMap<&str, Merged> = BTreeMap::new();
        for (minute, cell) in self.cells(state) {
            for (number, part) in cell.regions() {
                let region =
                    regions.entry(state.regions.name(number)).or_insert_with(|| Merged::new(metric, aggregation));
                part.merge_into(region, GroupFilter::default(), minute, self.start, self.end);
            }
        }
        let of_region = |(region, merged): (&str, Merged)| {
            let dimensions = Dimensions { region: Some(region.to_owned()), ..Dimensions::any() };
            self.metric(merged, &dimensions, metric, aggregation)
        };
        regions.into_iter().map(of_region).collect()
    }

    fn metric(
        &self,
        mut merged: Merged,
        dimensions: &Dimensions,
        metric: Metric,
        aggregation: AggregationType,
    ) -> AggregatedMetric {
        let (window_start, window_end) = self.bounds(0);
        AggregatedMetric {
            metric_name: metric.as_str(),
            value: merged.value(aggregation).filter(|value| value.is_finite()),
            window_start,
            window_end,
            dimensions: dimensions.to_map(),
            sample_count: merged.count,
            aggregation,
            exact: true,
        }
    }
}

/// The latest status before `as_of` of each dispatch that was ever anything but closed.
fn latest_statuses(state: &Dispatches, as_of: Timestamp) -> Vec<Status> {
    let latest = state.ever_open.iter().filter_map(|dispatch_id| {
        let reports = state.reports[dispatch_id].iter().filter(|report| report.timestamp < as_of);
        reports.max().map(|report| report.status)
    });
    latest.collect()
}
