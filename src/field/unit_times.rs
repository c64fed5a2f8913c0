//! The moments of a unit's response, and the intervals between them.

use std::fmt;

use ionveil_actors::dispatch::DispatchRecorded;
use ionveil_actors::domain::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The metadata key of the unit's name.
pub const UNIT_ID: &str = "unit_id";

/// A moment of a response that a dispatch may carry in its metadata, as RFC 3339 text under the moment's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// `call_answered_at`: somebody took the call.
    CallAnswered,
    /// `dispatched_at`: the unit was told.
    Dispatched,
    /// `en_route_at`: the unit was on its way.
    EnRoute,
    /// `arrived_at`: the unit was on scene.
    Arrived,
    /// `available_at`: the unit was free again.
    Available,
}

/// Every moment, in the order in which they come.
pub const MOMENTS: [Moment; 5] =
    [Moment::CallAnswered, Moment::Dispatched, Moment::EnRoute, Moment::Arrived, Moment::Available];

impl Moment {
    /// Its metadata key.
    pub fn as_str(self) -> &'static str {
        match self {
            Moment::CallAnswered => "call_answered_at",
            Moment::Dispatched => "dispatched_at",
            Moment::EnRoute => "en_route_at",
            Moment::Arrived => "arrived_at",
            Moment::Available => "available_at",
        }
    }
}

/// What is measured of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// The dispatch's own `response_time_minutes`.
    ResponseTime,
    /// From the call answered to the unit dispatched.
    CallProcessing,
    /// From the unit dispatched to the unit en route.
    Turnout,
    /// From the unit en route to its arrival.
    Travel,
}

impl Interval {
    /// The moments it lies between; `None` for the response time, which is reported as it is.
    pub fn moments(self) -> Option<(Moment, Moment)> {
        match self {
            Interval::ResponseTime => None,
            Interval::CallProcessing => Some((Moment::CallAnswered, Moment::Dispatched)),
            Interval::Turnout => Some((Moment::Dispatched, Moment::EnRoute)),
            Interval::Travel => Some((Moment::EnRoute, Moment::Arrived)),
        }
    }

    /// Its name in JSON and in standards.
    pub fn as_str(self) -> &'static str {
        match self {
            Interval::ResponseTime => "response_time",
            Interval::CallProcessing => "call_processing",
            Interval::Turnout => "turnout",
            Interval::Travel => "travel",
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an interval of a dispatch has no length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmeasured {
    /// One of its moments is not there.
    Missing,
    /// A moment is no RFC 3339 text, or the later one lies before the earlier one.
    Unusable,
}

/// What a dispatch's metadata says of its unit and of when things happened.
#[derive(Debug, Default)]
pub struct UnitTimes(Map<String, Value>);

impl UnitTimes {
    /// Those of a dispatch; none when it has no metadata.
    pub fn of(dispatch: &DispatchRecorded) -> Self {
        let object = dispatch.metadata.as_deref().and_then(|text| serde_json::from_str(text).ok());
        UnitTimes(object.unwrap_or_default())
    }

    /// The text under a key.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.as_str()
    }

    /// Start and end between two moments.
    ///
    /// # Errors
    /// When there are no such two moments in this order.
    pub fn between(&self, (from, to): (Moment, Moment)) -> Result<(Timestamp, Timestamp), Unmeasured> {
        let (from, to) = (self.at(from)?, self.at(to)?);
        if from <= to { Ok((from, to)) } else { Err(Unmeasured::Unusable) }
    }

    fn at(&self, moment: Moment) -> Result<Timestamp, Unmeasured> {
        match self.0.get(moment.as_str()) {
            None | Some(Value::Null) => Err(Unmeasured::Missing),
            Some(value) => value.as_str().and_then(|text| text.parse().ok()).ok_or(Unmeasured::Unusable),
        }
    }
}
