//! Which keys may stand in a mapping file. What they may say is checked in `compile.rs`.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use crate::field::Moment;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) missing: Vec<String>,
    #[serde(default)]
    pub(super) metadata: Vec<Spanned<String>>,
    pub(super) event_id: Option<Spanned<TextEntry>>,
    pub(super) dispatch_id: Option<Spanned<TextEntry>>,
    pub(super) timestamp: Option<Spanned<InstantEntry>>,
    pub(super) severity: Option<Spanned<SeverityEntry>>,
    pub(super) response_time_minutes: Option<Spanned<NumberEntry>>,
    pub(super) distance_km: Option<Spanned<NumberEntry>>,
    pub(super) region: Option<Spanned<TextEntry>>,
    pub(super) unit_type: Option<Spanned<TextEntry>>,
    pub(super) sla_met: Option<Spanned<TargetEntry>>,
    pub(super) location: Option<Spanned<LocationEntry>>,
    pub(super) status: Option<Spanned<StatusEntry>>,
    pub(super) unit_id: Option<Spanned<TextEntry>>,
    #[serde(default)]
    pub(super) times: Times,
}

/// The moments of a unit's response, each where it is had from. Kept in the metadata under these names.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Times {
    pub(super) call_answered_at: Option<Spanned<InstantEntry>>,
    pub(super) dispatched_at: Option<Spanned<InstantEntry>>,
    pub(super) en_route_at: Option<Spanned<InstantEntry>>,
    pub(super) arrived_at: Option<Spanned<InstantEntry>>,
    pub(super) available_at: Option<Spanned<InstantEntry>>,
}

impl Times {
    pub(super) fn of(&self, moment: Moment) -> Option<&Spanned<InstantEntry>> {
        match moment {
            Moment::CallAnswered => self.call_answered_at.as_ref(),
            Moment::Dispatched => self.dispatched_at.as_ref(),
            Moment::EnRoute => self.en_route_at.as_ref(),
            Moment::Arrived => self.arrived_at.as_ref(),
            Moment::Available => self.available_at.as_ref(),
        }
    }
}

/// What all tables of fields have in common.
pub(super) trait Entry: Sized {
    type Constant;

    fn column(&self) -> Option<&Spanned<String>>;
    fn constant(&self) -> Option<&Spanned<Self::Constant>>;
    /// The table under `else`.
    fn otherwise(&self) -> Option<&Spanned<Self>>;
    /// Those keys that only make sense beside `column` and are there.
    fn options(&self) -> Vec<(&'static str, Range<usize>)>;
}

macro_rules! entry {
    ($(#[$doc:meta])* $name:ident, $constant:ty, { $($option:ident: $type:ty),* }) => {
        $(#[$doc])*
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            column: Option<Spanned<String>>,
            constant: Option<Spanned<$constant>>,
            #[serde(rename = "else")]
            otherwise: Option<Box<Spanned<$name>>>,
            $(pub(super) $option: Option<Spanned<$type>>,)*
        }

        impl Entry for $name {
            type Constant = $constant;

            fn column(&self) -> Option<&Spanned<String>> {
                self.column.as_ref()
            }

            fn constant(&self) -> Option<&Spanned<$constant>> {
                self.constant.as_ref()
            }

            fn otherwise(&self) -> Option<&Spanned<Self>> {
                self.otherwise.as_deref()
            }

            fn options(&self) -> Vec<(&'static str, Range<usize>)> {
                let options: [Option<(&'static str, Range<usize>)>; _] =
                    [$(self.$option.as_ref().map(|option| (stringify!($option), option.span()))),*];
                options.into_iter().flatten().collect()
            }
        }
    };
}

entry!(
    /// `event_id`, `dispatch_id`, `region`, `unit_type`, `unit_id`.
    TextEntry, String, {}
);
entry!(
    /// `response_time_minutes`, `distance_km`.
    NumberEntry, f64, {}
);
entry!(
    /// `timestamp`, `times`; a constant is RFC 3339.
    InstantEntry, String, { pattern: String, time_zone: String }
);
entry!(
    /// `severity`.
    SeverityEntry, i64, { values: BTreeMap<String, Spanned<i64>> }
);
entry!(
    /// `status`.
    StatusEntry, String, { values: BTreeMap<String, Spanned<String>> }
);
entry!(
    /// `sla_met`.
    TargetEntry, bool, { allowed_minutes: BTreeMap<String, Spanned<f64>>, optional: bool }
);
entry!(
    /// `location`: one column with both, or two columns.
    LocationEntry, String, { latitude: String, longitude: String, optional: bool }
);
