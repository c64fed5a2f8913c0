//! Unit-hour utilisation: the share of their hours that units spend on calls.

use std::collections::BTreeMap;

use ionveil_actors::dispatch::{DispatchRecorded, Status};
use ionveil_actors::domain::{MICROS_PER_HOUR, OrgId, Timestamp};
use ionveil_actors::error::Invalid;
use serde::Serialize;

use super::unit_times::{Moment, UNIT_ID, UnitTimes, Unmeasured};

/// Hours that the units of a type were on duty in the span, all units together; by unit type, each finite and > 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StaffedHours(BTreeMap<String, f64>);

impl StaffedHours {
    /// Adds the hours of one more type.
    ///
    /// # Errors
    /// When the hours are not finite and > 0, or the type has some already.
    pub fn with(mut self, unit_type: &str, hours: f64) -> Result<Self, Invalid> {
        if !hours.is_finite() || hours <= 0.0 {
            return Err(Invalid::new("staffed", format_args!("{unit_type}={hours}"), "hours, finite and > 0"));
        }
        match self.0.insert(unit_type.to_owned(), hours) {
            None => Ok(self),
            Some(_) => Err(Invalid::new("staffed", unit_type, "each unit type at most once")),
        }
    }
}

/// How busy an org's units were.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UtilisationReport {
    /// Whose units.
    pub org_id: OrgId,
    /// First instant: as asked, else when the first unit was dispatched; `None` when none ever was.
    pub start: Option<Timestamp>,
    /// First instant after: as asked, else when the last unit was free again.
    pub end: Option<Timestamp>,
    /// By unit type.
    pub unit_types: BTreeMap<String, UnitTypeUtilisation>,
    /// Closed dispatches of the span without a unit, without the moment it was dispatched, or without the one it was free
    /// again.
    pub missing: u64,
    /// Those whose moments are no instants, or in the wrong order.
    pub unusable: u64,
}

/// The units of one type.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnitTypeUtilisation {
    /// How many units were dispatched at all.
    pub units: u64,
    /// Responses that reach into the span.
    pub responses: u64,
    /// Hours on calls, all units together. A unit that is on two calls at a time is busy once.
    pub busy_hours: f64,
    /// Hours on duty, all units together.
    pub unit_hours: f64,
    /// Whether the hours on duty were given. If not, every unit that was dispatched is taken to have been on duty for the
    /// whole span, which understates the utilisation of units that were not.
    pub unit_hours_given: bool,
    /// Busy hours per hour on duty: the UHU. Over 1 when the hours given were too few.
    pub utilisation: f64,
    /// Responses per hour on duty.
    pub responses_per_unit_hour: f64,
    /// Each unit by its name.
    pub by_unit: BTreeMap<String, UnitBusy>,
}

/// One unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct UnitBusy {
    /// Responses that reach into the span.
    pub responses: u64,
    /// Hours on calls.
    pub busy_hours: f64,
}

/// Takes in dispatches one by one and adds up the hours of their units.
#[derive(Debug)]
pub struct Utilisation {
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    staffed: StaffedHours,
    /// From dispatched to free again, by type and unit.
    busy: BTreeMap<String, BTreeMap<String, Vec<(Timestamp, Timestamp)>>>,
    missing: u64,
    unusable: u64,
}

impl Utilisation {
    /// Nothing yet, of the span `[start, end)`.
    pub fn new(start: Option<Timestamp>, end: Option<Timestamp>, staffed: StaffedHours) -> Self {
        Utilisation { start, end, staffed, busy: BTreeMap::new(), missing: 0, unusable: 0 }
    }

    /// Takes in one dispatch. Only closed ones count; whether one lies in the span is decided by its unit's moments.
    pub fn add(&mut self, dispatch: &DispatchRecorded) {
        if dispatch.status != Status::Closed {
            return;
        }
        let times = UnitTimes::of(dispatch);
        let unit = times.text(UNIT_ID).ok_or(Unmeasured::Missing);
        match unit.and_then(|unit| Ok((unit, times.between((Moment::Dispatched, Moment::Available))?))) {
            Ok((unit, busy)) => {
                let units = self.busy.entry(dispatch.unit_type.clone()).or_default();
                units.entry(unit.to_owned()).or_default().push(busy);
            }
            Err(_) if !self.is_in_span(dispatch.timestamp) => {}
            Err(Unmeasured::Missing) => self.missing += 1,
            Err(Unmeasured::Unusable) => self.unusable += 1,
        }
    }

    fn is_in_span(&self, at: Timestamp) -> bool {
        self.start.is_none_or(|start| at >= start) && self.end.is_none_or(|end| at < end)
    }

    /// What they add up to.
    pub fn finish(self, org_id: OrgId) -> UtilisationReport {
        let all = || self.busy.values().flat_map(BTreeMap::values).flatten();
        let start = self.start.or_else(|| all().map(|&(from, _)| from).min());
        let end = self.end.or_else(|| all().map(|&(_, to)| to).max());
        let mut unit_types = BTreeMap::new();
        if let (Some(start), Some(end)) = (start, end)
            && start < end
        {
            for (unit_type, units) in &self.busy {
                let given = self.staffed.0.get(unit_type).copied();
                unit_types.extend(utilisation(units, (start, end), given).map(|found| (unit_type.clone(), found)));
            }
        }
        UtilisationReport { org_id, start, end, unit_types, missing: self.missing, unusable: self.unusable }
    }
}

/// `None` when no unit of the type was busy in the span.
fn utilisation(
    units: &BTreeMap<String, Vec<(Timestamp, Timestamp)>>,
    (start, end): (Timestamp, Timestamp),
    given: Option<f64>,
) -> Option<UnitTypeUtilisation> {
    let mut by_unit = BTreeMap::new();
    let mut busy_micros = 0;
    for (unit_id, busy) in units {
        let mut inside: Vec<(i64, i64)> = busy
            .iter()
            .filter(|&&(from, to)| from < end && to > start)
            .map(|&(from, to)| (from.max(start).as_micros(), to.min(end).as_micros()))
            .collect();
        if inside.is_empty() {
            continue;
        }
        let responses = inside.len() as u64;
        let micros = covered(&mut inside);
        busy_micros += micros;
        by_unit.insert(unit_id.clone(), UnitBusy { responses, busy_hours: hours(micros) });
    }
    let responses: u64 = by_unit.values().map(|unit| unit.responses).sum();
    if responses == 0 {
        return None;
    }
    let span_hours = hours(end.as_micros() - start.as_micros());
    let unit_hours = given.unwrap_or(by_unit.len() as f64 * span_hours);
    let busy_hours = hours(busy_micros);
    Some(UnitTypeUtilisation {
        units: by_unit.len() as u64,
        responses,
        busy_hours,
        unit_hours,
        unit_hours_given: given.is_some(),
        utilisation: busy_hours / unit_hours,
        responses_per_unit_hour: responses as f64 / unit_hours,
        by_unit,
    })
}

/// The length that intervals cover together, each instant once.
fn covered(intervals: &mut [(i64, i64)]) -> i64 {
    intervals.sort_unstable();
    let mut total = 0;
    let mut reached = i64::MIN;
    for &mut (from, to) in intervals {
        total += (to - from.max(reached)).max(0);
        reached = reached.max(to);
    }
    total
}

fn hours(micros: i64) -> f64 {
    micros as f64 / MICROS_PER_HOUR as f64
}
