//! Where things happen: a grid over the bounding box of what is located, and the middle of each region.

use std::collections::BTreeMap;

use serde::Serialize;

use super::merged::Merged;
use super::query::{AggregationType, Metric};
use super::state::Dispatches;
use crate::error::{Error, Invalid};
use crate::runtime::{Given, Query};

/// Most rows, and most columns, of a heatmap.
pub const GRID_MAX: u32 = 1_000;

/// The rows and columns of a heatmap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GridSize {
    rows: u32,
    cols: u32,
}

impl Default for GridSize {
    /// 10 by 10.
    fn default() -> Self {
        GridSize { rows: 10, cols: 10 }
    }
}

impl GridSize {
    /// So many rows from south to north and columns from west to east.
    ///
    /// # Errors
    /// When either is not 1 to [`GRID_MAX`].
    pub fn new(rows: u32, cols: u32) -> Result<Self, Invalid> {
        if (1..=GRID_MAX).contains(&rows) && (1..=GRID_MAX).contains(&cols) {
            return Ok(GridSize { rows, cols });
        }
        Err(Invalid::new("grid_size", format_args!("{rows}x{cols}"), format!("1 to {GRID_MAX} rows and columns")))
    }

    /// Rows, from south to north.
    pub fn rows(self) -> u32 {
        self.rows
    }

    /// Columns, from west to east.
    pub fn cols(self) -> u32 {
        self.cols
    }
}

impl std::str::FromStr for GridSize {
    type Err = Invalid;

    /// Reads `ROWSxCOLS`, such as `10x10`.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let allowed = || format!("ROWSxCOLS such as 10x10, each 1 to {GRID_MAX}");
        let refused = || Invalid::new("grid_size", text, allowed());
        let (rows, cols) = text.split_once('x').ok_or_else(refused)?;
        let number = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => digits.parse::<u32>().map_err(|_| refused()),
            false => Err(refused()),
        };
        GridSize::new(number(rows)?, number(cols)?).map_err(|_| refused())
    }
}

/// The smallest box around all located closed dispatches, in WGS 84 degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundingBox {
    /// Least latitude.
    pub south: f64,
    /// Greatest latitude.
    pub north: f64,
    /// Least longitude.
    pub west: f64,
    /// Greatest longitude.
    pub east: f64,
}

impl BoundingBox {
    fn around(located: impl Iterator<Item = (f64, f64)>) -> Option<Self> {
        located.fold(None, |bounds: Option<BoundingBox>, (latitude, longitude)| {
            let bounds =
                bounds.unwrap_or(BoundingBox { south: latitude, north: latitude, west: longitude, east: longitude });
            Some(BoundingBox {
                south: bounds.south.min(latitude),
                north: bounds.north.max(latitude),
                west: bounds.west.min(longitude),
                east: bounds.east.max(longitude),
            })
        })
    }

    fn cell_of(&self, grid: GridSize, (latitude, longitude): (f64, f64)) -> (u32, u32) {
        let index = |at: f64, from: f64, to: f64, cells: u32| {
            if to <= from {
                return 0;
            }
            let index = ((at - from) / (to - from) * f64::from(cells)).floor();
            (index as u32).min(cells - 1)
        };
        let row = index(latitude, self.south, self.north, grid.rows);
        (row, index(longitude, self.west, self.east, grid.cols))
    }
}

/// A metric over a grid of the bounding box of all located closed dispatches within retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GetHeatmap {
    /// What is measured.
    pub metric: Metric,
    /// How fine the grid is.
    pub grid: GridSize,
}

/// A grid with values.
#[derive(Debug, Clone, PartialEq)]
pub struct Heatmap {
    /// What was measured.
    pub metric: Metric,
    /// How fine the grid is.
    pub grid: GridSize,
    /// Where it lies; `None` when nothing is located.
    pub bounds: Option<BoundingBox>,
    /// The cells that hold dispatches, by row and column.
    pub cells: Vec<HeatmapCell>,
}

/// One cell of a heatmap that holds dispatches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HeatmapCell {
    /// From 0 in the south.
    pub row: u32,
    /// From 0 in the west.
    pub col: u32,
    /// The count for `dispatch_count`, else the mean.
    pub value: f64,
}

impl Query<Dispatches> for GetHeatmap {
    type Answer = Heatmap;

    fn answer(self, state: &Dispatches, _: &Given) -> Result<Heatmap, Error> {
        let samples = || state.timeline.located(i64::MIN, i64::MAX).filter_map(|(place, row)| Some((place?, row)));
        let bounds = BoundingBox::around(samples().map(|(location, _)| location));
        let mut cells: BTreeMap<(u32, u32), Merged> = BTreeMap::new();
        if let Some(bounds) = bounds {
            for (location, row) in samples() {
                let cell = cells.entry(bounds.cell_of(self.grid, location));
                cell.or_insert_with(|| Merged::new(self.metric, AggregationType::Average)).add(row);
            }
        }
        let value = |((row, col), mut merged): ((u32, u32), Merged)| {
            let value = merged.value().filter(|value| value.is_finite())?;
            Some(HeatmapCell { row, col, value })
        };
        let cells = cells.into_iter().filter_map(value).collect();
        Ok(Heatmap { metric: self.metric, grid: self.grid, bounds, cells })
    }
}
