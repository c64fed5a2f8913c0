//! Fractile compliance: which share of responses was within target, what the slowest of the demanded share took, and how
//! sure that is.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

use ionveil_actors::dispatch::{DispatchRecorded, Status};
use ionveil_actors::domain::{OrgId, Timestamp, mean, percentile_sorted, wilson_interval};
use ionveil_actors::error::Invalid;
use serde::Serialize;

use super::standard::{Counted, Requirement, Standard};
use super::unit_times::{Interval, UnitTimes, Unmeasured};

const MICROS_PER_MINUTE: f64 = ionveil_actors::domain::MICROS_PER_MINUTE as f64;

/// What the responses are told apart by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GroupBy {
    /// `severity`, 1–5 (5 is worst).
    #[default]
    Severity,
    /// `region`
    Region,
    /// `unit_type`
    UnitType,
}

impl GroupBy {
    fn as_str(self) -> &'static str {
        match self {
            GroupBy::Severity => "severity",
            GroupBy::Region => "region",
            GroupBy::UnitType => "unit_type",
        }
    }

    fn of(self, dispatch: &DispatchRecorded) -> String {
        match self {
            GroupBy::Severity => dispatch.severity.to_string(),
            GroupBy::Region => dispatch.region.clone(),
            GroupBy::UnitType => dispatch.unit_type.clone(),
        }
    }
}

impl FromStr for GroupBy {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let all = [GroupBy::Severity, GroupBy::Region, GroupBy::UnitType];
        let found = all.into_iter().find(|by| by.as_str() == text);
        found.ok_or_else(|| Invalid::new("by", text, "severity, region, unit_type"))
    }
}

/// How an org's closed dispatches compare with a standard.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComplianceReport {
    /// Whose dispatches.
    pub org_id: OrgId,
    /// First instant; `None` is the first dispatch there is.
    pub start: Option<Timestamp>,
    /// First instant after; `None` is after the last one.
    pub end: Option<Timestamp>,
    /// What they were compared with, without its requirements, which follow.
    pub standard: StandardName,
    /// In the standard's order.
    pub requirements: Vec<RequirementReport>,
}

/// Which standard, of which edition, and where its figures are from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the fields of Standard under the same names")]
pub struct StandardName {
    pub id: String,
    pub title: String,
    pub publisher: String,
    pub edition: String,
    pub source: String,
    pub note: String,
    pub checked: String,
}

/// One requirement and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequirementReport {
    /// What was demanded.
    #[serde(flatten)]
    pub requirement: Requirement,
    /// First all together, with no dimension; then one group for each value that occurs.
    pub groups: Vec<ComplianceGroup>,
    /// Responses that the requirement is about but whose moments are not all known.
    pub missing: u64,
    /// Those whose moments are no instants, or in the wrong order.
    pub unusable: u64,
}

/// What some responses add up to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComplianceGroup {
    /// Which ones; none is all.
    pub dimensions: BTreeMap<&'static str, String>,
    /// How many were measured.
    pub sample_count: u64,
    /// How many of them were within the target.
    pub within: u64,
    /// The share within, 0–1; `None` without samples, as everything below.
    pub share: Option<f64>,
    /// Lower end of the share's 95 % confidence interval after Wilson, which takes responses for independent.
    pub share_low: Option<f64>,
    /// Upper end.
    pub share_high: Option<f64>,
    /// What the slowest of the demanded share took, in minutes: the nearest-rank percentile.
    pub fractile_minutes: Option<f64>,
    /// The mean, in minutes.
    pub mean_minutes: Option<f64>,
    /// Whether the share within is as demanded.
    pub met: Option<bool>,
    /// Whether that is certain: the whole confidence interval lies on one side of what is demanded.
    pub conclusive: Option<bool>,
    /// Whether the mean is as demanded; `None` when nothing is demanded of it.
    pub mean_met: Option<bool>,
}

/// Takes in dispatches one by one and compares them with a standard.
#[derive(Debug)]
pub struct Compliance {
    standard: Standard,
    by: GroupBy,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    measured: Vec<Measured>,
    needs_metadata: bool,
}

/// What was measured for one requirement.
#[derive(Debug, Default)]
struct Measured {
    responses: Vec<Response>,
    /// Of each dispatch, the place in `responses` of the one that counts.
    first: HashMap<String, usize>,
    missing: u64,
    unusable: u64,
}

#[derive(Debug)]
struct Response {
    group: String,
    minutes: f64,
    is_within: bool,
    /// When the interval ended; of response times, how long it was.
    end: i64,
}

impl Response {
    /// Whether it counts for its dispatch rather than another one. Equal ends are told apart by all the rest, so that it
    /// never matters which one was recorded first.
    fn is_before(&self, other: &Response) -> bool {
        let order = self.end.cmp(&other.end).then(self.minutes.total_cmp(&other.minutes));
        order.then(other.is_within.cmp(&self.is_within)).then_with(|| self.group.cmp(&other.group)).is_lt()
    }
}

impl Compliance {
    /// Nothing yet, of the dispatches in `[start, end)`.
    pub fn new(standard: Standard, by: GroupBy, start: Option<Timestamp>, end: Option<Timestamp>) -> Self {
        let measured = standard.requirements.iter().map(|_| Measured::default()).collect();
        let plain = |of: &Requirement| of.interval == Interval::ResponseTime && of.metadata.is_empty();
        let needs_metadata = !standard.requirements.iter().all(plain);
        Compliance { standard, by, start, end, measured, needs_metadata }
    }

    /// Takes in one dispatch; only closed ones within the span count.
    pub fn add(&mut self, dispatch: &DispatchRecorded) {
        let is_within_span = self.start.is_none_or(|start| dispatch.timestamp >= start)
            && self.end.is_none_or(|end| dispatch.timestamp < end);
        if dispatch.status != Status::Closed || !is_within_span {
            return;
        }
        let times = if self.needs_metadata { UnitTimes::of(dispatch) } else { UnitTimes::default() };
        for (requirement, measured) in self.standard.requirements.iter().zip(&mut self.measured) {
            if requirement.is_about(dispatch, &times) {
                measured.add(requirement, dispatch, &times, self.by);
            }
        }
    }

    /// What they add up to.
    pub fn finish(self, org_id: OrgId) -> ComplianceReport {
        let Standard { id, title, publisher, edition, source, note, checked, requirements } = self.standard;
        let checked = checked.to_string();
        let requirements = requirements.into_iter().zip(self.measured);
        ComplianceReport {
            org_id,
            start: self.start,
            end: self.end,
            standard: StandardName { id, title, publisher, edition, source, note, checked },
            requirements: requirements.map(|(requirement, measured)| measured.report(requirement, self.by)).collect(),
        }
    }
}

impl Measured {
    fn add(&mut self, requirement: &Requirement, dispatch: &DispatchRecorded, times: &UnitTimes, by: GroupBy) {
        let response = match response(requirement, dispatch, times, by) {
            Ok(response) => response,
            Err(Unmeasured::Missing) => return self.missing += 1,
            Err(Unmeasured::Unusable) => return self.unusable += 1,
        };
        if requirement.counted == Counted::EveryResponse {
            return self.responses.push(response);
        }
        match self.first.get(&dispatch.dispatch_id) {
            Some(&place) if response.is_before(&self.responses[place]) => self.responses[place] = response,
            Some(_) => {}
            None => {
                self.first.insert(dispatch.dispatch_id.clone(), self.responses.len());
                self.responses.push(response);
            }
        }
    }

    fn report(self, requirement: Requirement, by: GroupBy) -> RequirementReport {
        let mut groups: BTreeMap<&str, Vec<&Response>> = BTreeMap::new();
        for response in &self.responses {
            groups.entry(&response.group).or_default().push(response);
        }
        let all = group(&requirement, BTreeMap::new(), &self.responses.iter().collect::<Vec<_>>());
        let of_value = |(value, responses): (&&str, &Vec<&Response>)| {
            group(&requirement, BTreeMap::from([(by.as_str(), (*value).to_owned())]), responses)
        };
        let groups = std::iter::once(all).chain(groups.iter().map(of_value)).collect();
        RequirementReport { requirement, groups, missing: self.missing, unusable: self.unusable }
    }
}

fn response(
    requirement: &Requirement,
    dispatch: &DispatchRecorded,
    times: &UnitTimes,
    by: GroupBy,
) -> Result<Response, Unmeasured> {
    let group = by.of(dispatch);
    let Some(moments) = requirement.interval.moments() else {
        let minutes = dispatch.response_time_minutes;
        let is_within = match requirement.within_seconds {
            Some(seconds) => minutes <= f64::from(seconds) / 60.0,
            None => dispatch.sla_met,
        };
        // The bits of numbers that are not negative are in the numbers' order.
        return Ok(Response { group, minutes, is_within, end: minutes.to_bits().cast_signed() });
    };
    let (from, to) = times.between(moments)?;
    let micros = to.as_micros() - from.as_micros();
    let is_within = requirement.within_seconds.is_some_and(|seconds| micros <= i64::from(seconds) * 1_000_000);
    Ok(Response { group, minutes: micros as f64 / MICROS_PER_MINUTE, is_within, end: to.as_micros() })
}

fn group(
    requirement: &Requirement,
    dimensions: BTreeMap<&'static str, String>,
    responses: &[&Response],
) -> ComplianceGroup {
    let mut minutes: Vec<f64> = responses.iter().map(|response| response.minutes).collect();
    minutes.sort_unstable_by(f64::total_cmp);
    let sample_count = minutes.len() as u64;
    let within = responses.iter().filter(|response| response.is_within).count() as u64;
    let interval = wilson_interval(within, sample_count);
    let demanded = f64::from(requirement.percent) / 100.0;
    // In whole numbers: 90 of 100 is 90 %, whatever 0.9 is in binary.
    let met = interval.map(|_| within * 100 >= u64::from(requirement.percent) * sample_count);
    let mean_minutes = mean(&minutes).filter(|mean| mean.is_finite());
    ComplianceGroup {
        dimensions,
        sample_count,
        within,
        share: interval.map(|_| within as f64 / sample_count as f64),
        share_low: interval.map(|(low, _)| low),
        share_high: interval.map(|(_, high)| high),
        fractile_minutes: percentile_sorted(&minutes, requirement.percent),
        mean_minutes,
        met,
        conclusive: interval.map(|(low, high)| low >= demanded || high < demanded),
        mean_met: requirement.mean_seconds.zip(mean_minutes).map(|(seconds, mean)| mean <= f64::from(seconds) / 60.0),
    }
}
