//! Where things happen.

use std::collections::BTreeMap;

use ionveil_actors::dispatch::{
    GetHeatmap, GetRegionMap, GetRegions, GridSize, Heatmap, HeatmapCell, Instant, Metric, RegionOnMap, RegionSummary,
};
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

    /// The same with where each region is: the middle of its located dispatches.
    ///
    /// # Errors
    /// As [`GeographicBreakdown::get_regional_summary`].
    pub async fn get_region_map(
        &self,
        org: &OrgId,
        start: Option<Instant>,
        end: Option<Instant>,
    ) -> Result<Vec<RegionOnMap>, Error> {
        let question = GetRegionMap { start, end };
        Ok(self.ionveil.inner.dispatches.ask(org.as_str(), question, self.ionveil.caller.clone()).await?)
    }

    /// A metric over a grid of the bounding box of all located closed dispatches within retention: the cells that hold any,
    /// by row from the south and column from the west.
    ///
    /// # Errors
    /// `overloaded`, `unavailable`, `corrupt`.
    pub async fn get_heatmap_data(
        &self,
        org: &OrgId,
        metric: Metric,
        grid: GridSize,
    ) -> Result<Vec<HeatmapCell>, Error> {
        Ok(self.get_heatmap(org, metric, grid).await?.cells)
    }

    /// As [`GeographicBreakdown::get_heatmap_data`], with where the grid lies.
    ///
    /// # Errors
    /// As [`GeographicBreakdown::get_heatmap_data`].
    pub async fn get_heatmap(&self, org: &OrgId, metric: Metric, grid: GridSize) -> Result<Heatmap, Error> {
        let question = GetHeatmap { metric, grid };
        Ok(self.ionveil.inner.dispatches.ask(org.as_str(), question, self.ionveil.caller.clone()).await?)
    }
}
