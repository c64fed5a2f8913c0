//! Where things happen.

use std::collections::BTreeMap;

use ionveil_actors::dispatch::{GetRegions, Instant, RegionSummary};
use ionveil_actors::domain::OrgId;

use crate::error::Error;
use crate::instance::IonVeil;

/// Breaks dispatch metrics down by place.
#[derive(Clone)]
pub struct GeographicBreakdown {
    ionveil: IonVeil,
}

impl GeographicBreakdown {
    /// The breakdown of a running IonVeil.
    pub fn new(ionveil: &IonVeil) -> Self {
        GeographicBreakdown { ionveil: ionveil.clone() }
    }

    /// A summary per region over exactly `[start, end)`; `end` defaults to now, `start` to an hour before `end`.
    ///
    /// # Errors
    /// `invalid` when start is not before end.
    pub async fn get_regional_summary(
        &self,
        org: &OrgId,
        start: Option<Instant>,
        end: Option<Instant>,
    ) -> Result<BTreeMap<String, RegionSummary>, Error> {
        let question = GetRegions { start, end };
        Ok(self.ionveil.inner.dispatches.ask(org.as_str(), question, self.ionveil.caller.clone()).await?)
    }
}
