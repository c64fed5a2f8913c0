//! Questions to answers.

use std::collections::BTreeMap;

use super::dispatch_event::Status;
use super::merged::{Filter, Merged, Values};
use super::names::Names;
use super::query::{
    AggregatedMetric, AggregationType, DashboardSnapshot, DimensionInUse, Dimensions, DimensionsInUse,
    GetDashboardSnapshot, GetDimensions, GetMetric, GetMinutes, GetRegionMap, GetRegions, GetWatermark, Instant,
    Metric, Percent, RegionOnMap, RegionSummary, WINDOWS_MAX,
};
use super::state::{Dispatches, minute_of};
use super::timeline::Row;
use crate::domain::{ExactSum, MICROS_PER_HOUR, MICROS_PER_MINUTE, TimeWindow, Timestamp};
use crate::error::{Error, Invalid};
use crate::runtime::{Given, Query};

impl Query<Dispatches> for GetMetric {
    type Answer = Vec<AggregatedMetric>;

    fn answer(self, state: &Dispatches, given: &Given) -> Result<Vec<AggregatedMetric>, Error> {
        let span = span_of(state, given, self.start, self.end, self.as_of)?;
        let windows = Windows::over(self.window, span)?;
        let filter = filter_of(state, &self.dimensions);
        let merged = filter.map(|filter| windows.merge(state, filter, self.metric, self.aggregation));
        let mut held = merged.unwrap_or_default();

        let lists_empty = self.include_empty
            || self.metric == Metric::DispatchCount
            || matches!(self.aggregation, AggregationType::Sum | AggregationType::Count);
        let ends = held.first().map(|(first, _)| *first).zip(held.last().map(|(last, _)| *last));
        let listed = match (self.start.is_some(), self.end.is_some(), ends) {
            (true, true, _) => Some((0, windows.count - 1)),
            (_, _, None) => None,
            (start_given, end_given, Some((first, last))) => {
                Some((if start_given { 0 } else { first }, if end_given { windows.count - 1 } else { last }))
            }
        };
        let Some((first, last)) = listed else { return Ok(Vec::new()) };
        let dimensions = self.dimensions.to_map();
        let metric = |index: i64, window: &mut Merged| {
            let (window_start, window_end) = windows.bounds(index);
            AggregatedMetric {
                metric_name: self.metric.as_str(),
                value: window.value().filter(|value| value.is_finite()),
                window_start,
                window_end,
                dimensions: dimensions.clone(),
                sample_count: window.count,
                aggregation: self.aggregation,
                exact: window.is_exact(),
            }
        };
        if !lists_empty {
            return Ok(held.iter_mut().map(|(index, window)| metric(*index, window)).collect());
        }
        let mut nothing = Merged::new(self.metric, self.aggregation);
        let mut held = held.into_iter().peekable();
        let answer = (first..=last).map(|index| match held.next_if(|(of, _)| *of == index) {
            Some((_, mut window)) => metric(index, &mut window),
            None => metric(index, &mut nothing),
        });
        Ok(answer.collect())
    }
}

impl Query<Dispatches> for GetDashboardSnapshot {
    type Answer = DashboardSnapshot;

    fn answer(self, state: &Dispatches, given: &Given) -> Result<DashboardSnapshot, Error> {
        let as_of = self.as_of.map_or(given.now, |instant| resolve(state, given.now, instant));
        let last_before = as_of.saturating_add_micros(-1);
        let end = (minute_of(last_before) + 1) * MICROS_PER_MINUTE;
        let hour = Windows { start: end - MICROS_PER_HOUR, end, width: None, count: 1 };
        let p = AggregationType::Percentile;
        let mut headlines = [
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
        .map(|(metric, aggregation)| Merged::new(metric, aggregation));
        let mut regions: BTreeMap<u32, [Merged; 2]> = BTreeMap::new();
        for row in hour.rows(state).flatten().filter(|row| row.is_closed) {
            headlines.iter_mut().for_each(|merged| merged.add(row));
            let of_region = regions.entry(row.region).or_insert_with(|| {
                [
                    Merged::new(Metric::ResponseTime, p(Percent::P90)),
                    Merged::new(Metric::DispatchCount, AggregationType::Count),
                ]
            });
            of_region.iter_mut().for_each(|merged| merged.add(row));
        }
        let mut metrics: Vec<AggregatedMetric> =
            headlines.into_iter().map(|merged| hour.metric(merged, &Dimensions::any())).collect();
        let average_response_time = metrics[0].value;
        let sla_compliance_rate = metrics[8].value.unwrap_or(1.0);
        let by_name: BTreeMap<&str, [Merged; 2]> =
            regions.into_iter().map(|(number, merged)| (state.regions.name(number), merged)).collect();
        let (mut response_times, mut counts) = (Vec::new(), Vec::new());
        for (region, [response_time, count]) in by_name {
            let dimensions = Dimensions { region: Some(region.to_owned()), ..Dimensions::any() };
            response_times.push(hour.metric(response_time, &dimensions));
            counts.push(hour.metric(count, &dimensions));
        }
        metrics.extend(response_times);
        metrics.extend(counts);
        metrics.retain(|metric| metric.value.is_some());
        let (mut active, mut pending) = (0, 0);
        let later = || state.timeline.slices(as_of.as_micros(), i64::MAX);
        let later_count = later().map(<[Row]>::len).sum();
        for status in state.ledger.statuses(as_of, later_count, later().flatten().map(|row| row.event)) {
            active += usize::from(status == Status::Active);
            pending += usize::from(status == Status::Pending);
        }
        Ok(DashboardSnapshot {
            org_id: self.org_id,
            timestamp: as_of,
            metrics,
            active_dispatches: active,
            pending_dispatches: pending,
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
        let mut regions: ByNumber<Region> = ByNumber::new(state.regions.numbers_end());
        for row in span.rows(state).flatten().filter(|row| row.is_closed) {
            regions.of(row.region).add(row);
        }
        let summary =
            |(number, region): (u32, Region)| Some((state.regions.name(number).to_owned(), region.summary()?));
        Ok(regions.into_iter().filter_map(summary).collect())
    }
}

impl Query<Dispatches> for GetRegionMap {
    /// By name.
    type Answer = Vec<RegionOnMap>;

    fn answer(self, state: &Dispatches, given: &Given) -> Result<Vec<RegionOnMap>, Error> {
        let span = Windows::over(TimeWindow::All, span_of(state, given, self.start, self.end, None)?)?;
        let mut regions: ByNumber<(Region, Middle)> = ByNumber::new(state.regions.numbers_end());
        for (place, row) in state.timeline.located(span.start, span.end).filter(|(_, row)| row.is_closed) {
            let (region, middle) = regions.of(row.region);
            region.add(row);
            if let Some((latitude, longitude)) = place {
                middle.latitudes.add(latitude);
                middle.longitudes.add(longitude);
                middle.located += 1;
            }
        }
        let on_map = |(number, (region, middle)): (u32, (Region, Middle))| {
            let located = Some(middle.located).filter(|located| *located > 0)?;
            Some(RegionOnMap {
                region: state.regions.name(number).to_owned(),
                latitude: middle.latitudes.value() / located as f64,
                longitude: middle.longitudes.value() / located as f64,
                located,
                summary: region.summary()?,
            })
        };
        let mut on_map: Vec<RegionOnMap> = regions.into_iter().filter_map(on_map).collect();
        on_map.sort_unstable_by(|a, b| a.region.cmp(&b.region));
        Ok(on_map)
    }
}

/// Something per name of a dimension, for names that occur; found by the name's number.
struct ByNumber<T>(Vec<Option<T>>);

impl<T: Default> ByNumber<T> {
    fn new(numbers_end: usize) -> Self {
        ByNumber(std::iter::repeat_with(|| None).take(numbers_end).collect())
    }

    fn of(&mut self, number: u32) -> &mut T {
        self.0[number as usize].get_or_insert_default()
    }

    fn into_iter(self) -> impl Iterator<Item = (u32, T)> {
        (0..).zip(self.0).filter_map(|(number, it)| Some((number, it?)))
    }
}

/// Where the located dispatches of a region are.
#[derive(Default)]
struct Middle {
    latitudes: ExactSum,
    longitudes: ExactSum,
    located: u64,
}

/// What the closed dispatches of one region add up to.
#[derive(Default)]
struct Region {
    count: u64,
    met: u64,
    response_times: Values,
    response_time: ExactSum,
    distance: ExactSum,
}

impl Region {
    fn add(&mut self, row: &Row) {
        self.count += 1;
        self.met += u64::from(row.sla_met);
        self.response_times.push(row.response_time_minutes);
        self.response_time.add(row.response_time_minutes);
        self.distance.add(row.distance_km);
    }

    fn summary(mut self) -> Option<RegionSummary> {
        let count = self.count as f64;
        Some(RegionSummary {
            dispatch_count: self.count,
            avg_response: self.response_time.value() / count,
            p50_response: self.response_times.percentile(Percent::P50.into())?,
            p90_response: self.response_times.percentile(Percent::P90.into())?,
            sla_compliance: self.met as f64 / count,
            avg_distance: self.distance.value() / count,
        })
    }
}

impl Query<Dispatches> for GetMinutes {
    /// The metrics in the order of [`Metric::ALL`], for each minute.
    type Answer = Vec<[AggregatedMetric; 4]>;

    fn answer(self, state: &Dispatches, _: &Given) -> Result<Self::Answer, Error> {
        let of_minute = |at: Timestamp| {
            let start = minute_of(at) * MICROS_PER_MINUTE;
            let minute = Windows { start, end: start + MICROS_PER_MINUTE, width: None, count: 1 };
            let mut merged = Metric::ALL.map(|metric| Merged::new(metric, metric.natural_aggregation()));
            for row in minute.rows(state).flatten().filter(|row| row.is_closed) {
                merged.iter_mut().for_each(|merged| merged.add(row));
            }
            merged.map(|merged| minute.metric(merged, &Dimensions::any()))
        };
        Ok(self.minutes.into_iter().map(of_minute).collect())
    }
}

impl Query<Dispatches> for GetDimensions {
    type Answer = DimensionsInUse;

    fn answer(self, state: &Dispatches, _: &Given) -> Result<DimensionsInUse, Error> {
        let in_use = |names: &Names| DimensionInUse { values: names.distinct(), other_dispatches: names.others() };
        Ok(DimensionsInUse {
            values_max: state.dimension_values_max,
            region: in_use(&state.regions),
            unit_type: in_use(&state.unit_types),
        })
    }
}

impl Query<Dispatches> for GetWatermark {
    type Answer = Option<Timestamp>;

    fn answer(self, state: &Dispatches, _: &Given) -> Result<Option<Timestamp>, Error> {
        Ok(state.watermark())
    }
}

pub(super) fn resolve(state: &Dispatches, now: Timestamp, instant: Instant) -> Timestamp {
    match instant {
        Instant::At(at) => at,
        Instant::FromNow(micros) => now.saturating_add_micros(micros),
        Instant::Latest => state.watermark().map_or(now, |latest| latest.saturating_add_micros(1)),
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
    let as_of = as_of.map(|instant| resolve(state, given.now, instant));
    // Asked as if it were then, so that an hour ago is an hour before it.
    let now = as_of.unwrap_or(given.now);
    let end = end.map_or(now, |instant| resolve(state, now, instant));
    let end = as_of.map_or(end, |as_of| end.min(as_of));
    let hour_before = end.saturating_add_micros(-MICROS_PER_HOUR);
    let start = start.map_or(hour_before, |instant| resolve(state, now, instant));
    if start >= end {
        return Err(Invalid::new("start", start, format!("before end, which is {end}")).into());
    }
    Ok((start, end))
}

/// `None` when a dimension asks for a name that never occurred, so that nothing can match.
pub(super) fn filter_of(state: &Dispatches, dimensions: &Dimensions) -> Option<Filter> {
    let mut filter = Filter { severity: dimensions.severity, ..Filter::default() };
    if let Some(region) = &dimensions.region {
        filter.region = Some(state.regions.find(region)?);
    }
    if let Some(unit_type) = &dimensions.unit_type {
        filter.unit_type = Some(state.unit_types.find(unit_type)?);
    }
    Some(filter)
}

/// How many rows lie before `end`. Most windows hold few rows or whole chunks.
fn rows_before(end: i64, rows: &[Row]) -> usize {
    match rows.last() {
        Some(last) if last.at >= end => rows.iter().take_while(|row| row.at < end).count(),
        _ => rows.len(),
    }
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

    /// The rows that lie in the windows, in the order of time.
    fn rows<'a>(&self, state: &'a Dispatches) -> impl Iterator<Item = &'a [Row]> + use<'a> {
        state.timeline.slices(self.start, self.end)
    }

    /// What each window that holds anything adds up to, with its number, in ascending order.
    fn merge(
        &self,
        state: &Dispatches,
        filter: Filter,
        metric: Metric,
        aggregation: AggregationType,
    ) -> Vec<(i64, Merged)> {
        let mut windows: Vec<(i64, Merged)> = Vec::new();
        for mut rows in self.rows(state) {
            // Rows come in the order of time, so that those of a window lie side by side.
            while let Some(first) = rows.first() {
                let index = self.width.map_or(0, |width| (first.at - self.start).div_euclid(width));
                let end = self.width.map_or(i64::MAX, |width| self.start + (index + 1) * width);
                let (inside, behind) = rows.split_at(rows_before(end, rows));
                let mut fitting = inside.iter().filter(|row| filter.fits(row)).peekable();
                if fitting.peek().is_some() {
                    if windows.last().is_none_or(|(last, _)| *last != index) {
                        windows.push((index, Merged::new(metric, aggregation)));
                    }
                    windows.last_mut().expect("one was just there").1.extend(fitting);
                }
                rows = behind;
            }
        }
        windows
    }

    /// The value of a single window over the whole span.
    fn metric(&self, mut merged: Merged, dimensions: &Dimensions) -> AggregatedMetric {
        let (window_start, window_end) = self.bounds(0);
        AggregatedMetric {
            metric_name: merged.metric().as_str(),
            value: merged.value().filter(|value| value.is_finite()),
            window_start,
            window_end,
            dimensions: dimensions.to_map(),
            sample_count: merged.count,
            aggregation: merged.aggregation(),
            exact: merged.is_exact(),
        }
    }
}
