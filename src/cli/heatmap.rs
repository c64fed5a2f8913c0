//! `ionveil heatmap`

use std::path::PathBuf;
use std::process::ExitCode;

use ionveil::dispatch::{GridSize, Heatmap};
use pollster::block_on;

use super::drawing;
use super::failure::Failure;
use super::output::{Output, number};
use super::place::Place;
use super::progress::Progress;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ionveil heatmap --org sffd --metric dispatch_count --grid 20x40
  ionveil --json heatmap --org sffd --metric response_time --svg heat.svg --geojson heat.geojson

The grid covers the bounding box of all located closed dispatches that are kept: row 0 is in the south, column 0 in the
west. A cell has the count for dispatch_count, else the mean; empty ones are left out.")]
pub(super) struct Args {
    /// Whose dispatches.
    #[arg(long)]
    org: String,
    /// response_time, distance, sla_compliance or dispatch_count.
    #[arg(long)]
    metric: String,
    /// Rows and columns, each 1 to 1000.
    #[arg(long, value_name = "ROWSxCOLS", default_value = "10x10")]
    grid: String,
    /// Draw the grid into this file as SVG.
    #[arg(long, value_name = "F")]
    svg: Option<PathBuf>,
    /// Write the grid into this file as GeoJSON.
    #[arg(long, value_name = "F")]
    geojson: Option<PathBuf>,
}

pub(super) fn run(args: &Args, place: &Place, output: &mut Output) -> Result<ExitCode, Failure> {
    let org = args.org.parse()?;
    let metric = args.metric.parse()?;
    let grid: GridSize = args.grid.parse()?;
    let breakdown = place.open_to_ask()?.geographic_breakdown();
    let working = Progress::waiting("replaying");
    let heatmap = block_on(breakdown.get_heatmap(&org, metric, grid))?;
    drop(working);
    if let Some(path) = &args.svg {
        drawing::write(path, &drawing::heatmap_svg(&heatmap))?;
    }
    if let Some(path) = &args.geojson {
        drawing::write(path, &drawing::heatmap_geojson(&heatmap).to_string())?;
    }
    output.document(&heatmap.cells, |_| for_people(&heatmap))?;
    Ok(ExitCode::SUCCESS)
}

/// Columns that fit on a terminal as numbers.
const COLUMNS_SHOWN_MAX: u32 = 20;

/// The grid with north up, when it fits; else a line a cell.
fn for_people(heatmap: &Heatmap) -> String {
    let Some(bounds) = heatmap.bounds else { return "no closed dispatch is located".into() };
    let head = format!(
        "{} over {} rows and {} columns, latitude {:.5} to {:.5}, longitude {:.5} to {:.5}",
        heatmap.metric,
        heatmap.grid.rows(),
        heatmap.grid.cols(),
        bounds.south,
        bounds.north,
        bounds.west,
        bounds.east
    );
    let lines: Vec<String> = if heatmap.grid.cols() <= COLUMNS_SHOWN_MAX {
        let found = |row, col| heatmap.cells.binary_search_by_key(&(row, col), |cell| (cell.row, cell.col));
        let shown = |row, col| {
            found(row, col).map_or_else(|_| "·".to_owned(), |index| number(Some(heatmap.cells[index].value)))
        };
        let line = |row| -> String {
            (0..heatmap.grid.cols()).map(|col| format!("{:>9}", shown(row, col))).collect::<Vec<_>>().concat()
        };
        (0..heatmap.grid.rows()).rev().map(line).collect()
    } else {
        let line = |cell: &ionveil::dispatch::HeatmapCell| {
            format!("row {:>4}  column {:>4}  {}", cell.row, cell.col, number(Some(cell.value)))
        };
        heatmap.cells.iter().map(line).collect()
    };
    format!("{head}\n\n{}", lines.join("\n"))
}
