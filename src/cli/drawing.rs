//! Grids and maps as SVG for people and as GeoJSON for other programs.

use std::fmt::Write as _;
use std::path::Path;

use ionveil::Error;
use ionveil::dispatch::{BoundingBox, Heatmap, HeatmapCell, RegionOnMap};
use serde_json::{Value, json};

use super::failure::Failure;
use super::output::number;

/// Writes a drawing, in place of what was there.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text)
        .map_err(|source| Error::Io { doing: format!("writing {}", path.display()), source }.into())
}

/// The longer side of the drawn area, in pixels.
const SIDE: f64 = 640.0;
/// A box that is very long and narrow is drawn no thinner than this.
const SIDE_MIN: f64 = 120.0;
const MARGIN: f64 = 16.0;
/// Room below the drawing for its legend.
const LEGEND: f64 = 56.0;

/// Width and height of what is drawn, so that a kilometre is as long to the north as to the east.
fn sides(bounds: &BoundingBox) -> (f64, f64) {
    let middle = (bounds.south + bounds.north) / 2.0;
    let width = (bounds.east - bounds.west) * middle.to_radians().cos();
    let height = bounds.north - bounds.south;
    let longer = width.max(height);
    if longer <= 0.0 {
        return (SIDE, SIDE);
    }
    ((width / longer * SIDE).max(SIDE_MIN), (height / longer * SIDE).max(SIDE_MIN))
}

/// From light to dark, so that it reads the same in grey and to the colour-blind.
const SCALE: [[f64; 3]; 5] =
    [[253.0, 231.0, 37.0], [94.0, 201.0, 98.0], [33.0, 145.0, 140.0], [59.0, 82.0, 139.0], [68.0, 1.0, 84.0]];

/// The colour of a value between `low` and `high`.
fn colour(value: f64, low: f64, high: f64) -> String {
    let share = if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) } else { 1.0 };
    let place = share * (SCALE.len() - 1) as f64;
    let step = (place as usize).min(SCALE.len() - 2);
    let mixed = |part: usize| {
        let (from, to) = (SCALE[step][part], SCALE[step + 1][part]);
        (from + (to - from) * (place - step as f64)).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", mixed(0), mixed(1), mixed(2))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// An SVG document around what `body` draws, with a title, and a legend from `low` to `high`.
fn svg(title: &str, (width, height): (f64, f64), (low, high): (f64, f64), body: &str) -> String {
    let (full_width, full_height) = (width + 2.0 * MARGIN, height + 2.0 * MARGIN + LEGEND);
    let mut text = String::new();
    let _ = write!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {full_width:.0} {full_height:.0}\" role=\"img\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<title>{}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n<g transform=\"translate({MARGIN} {MARGIN})\">\n\
         <rect width=\"{width:.2}\" height=\"{height:.2}\" fill=\"#f4f4f4\"/>\n{body}</g>\n",
        escaped(title)
    );
    let top = height + 2.0 * MARGIN;
    let steps = 5;
    for step in 0..steps {
        let value = low + (high - low) * f64::from(step) / f64::from(steps - 1);
        let x = MARGIN + f64::from(step) * 64.0;
        let _ = writeln!(
            text,
            "<rect x=\"{x:.0}\" y=\"{top:.2}\" width=\"64\" height=\"12\" fill=\"{}\"/>\
             <text x=\"{x:.0}\" y=\"{:.2}\">{}</text>",
            colour(value, low, high),
            top + 26.0,
            number(Some(value))
        );
    }
    let _ = writeln!(text, "<text x=\"{MARGIN}\" y=\"{:.2}\">{}</text>\n</svg>", top + 44.0, escaped(title));
    text
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let range = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if range.0 > range.1 { (0.0, 0.0) } else { range }
}

/// The grid as a drawing, north up.
pub(super) fn heatmap_svg(heatmap: &Heatmap) -> String {
    let nowhere = BoundingBox { south: 0.0, north: 0.0, west: 0.0, east: 0.0 };
    let (width, height) = sides(&heatmap.bounds.unwrap_or(nowhere));
    let (rows, cols) = (heatmap.grid.rows(), heatmap.grid.cols());
    let (cell_width, cell_height) = (width / f64::from(cols), height / f64::from(rows));
    let (low, high) = range(heatmap.cells.iter().map(|cell| cell.value));
    let mut body = String::new();
    for &HeatmapCell { row, col, value } in &heatmap.cells {
        let (x, y) = (f64::from(col) * cell_width, f64::from(rows - 1 - row) * cell_height);
        let _ = writeln!(
            body,
            "<rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"{cell_width:.2}\" height=\"{cell_height:.2}\" fill=\"{}\">\
             <title>row {row}, column {col}: {}</title></rect>",
            colour(value, low, high),
            number(Some(value))
        );
    }
    svg(&format!("{} by place", heatmap.metric), (width, height), (low, high), &body)
}

/// The cells of a grid as features: polygons, or lines and points where the box has no extent.
pub(super) fn heatmap_geojson(heatmap: &Heatmap) -> Value {
    let Some(bounds) = heatmap.bounds else { return collection(Vec::new()) };
    let feature = |&HeatmapCell { row, col, value }: &HeatmapCell| {
        let edge =
            |from: f64, to: f64, index: u32, cells: u32| from + (to - from) * f64::from(index) / f64::from(cells);
        let latitude = |row| edge(bounds.south, bounds.north, row, heatmap.grid.rows());
        let longitude = |col| edge(bounds.west, bounds.east, col, heatmap.grid.cols());
        let (south, north, west, east) = (latitude(row), latitude(row + 1), longitude(col), longitude(col + 1));
        let geometry = match (south < north, west < east) {
            // Counterclockwise, and closed.
            (true, true) => json!({
                "type": "Polygon",
                "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
            }),
            (false, false) => json!({ "type": "Point", "coordinates": [west, south] }),
            _ => json!({ "type": "LineString", "coordinates": [[west, south], [east, north]] }),
        };
        let metric = heatmap.metric.as_str();
        let properties = json!({ "row": row, "col": col, "metric": metric, "value": value });
        json!({ "type": "Feature", "geometry": geometry, "properties": properties })
    };
    collection(heatmap.cells.iter().map(feature).collect())
}

/// The largest disc of a map, as a radius in pixels.
const DISC: f64 = 36.0;

/// Regions as discs in the middle of their located dispatches: the area by their number, the colour by the 90th percentile
/// of the response time.
pub(super) fn regions_svg(regions: &[RegionOnMap]) -> String {
    let (south, north) = range(regions.iter().map(|region| region.latitude));
    let (west, east) = range(regions.iter().map(|region| region.longitude));
    let bounds = BoundingBox { south, north, west, east };
    let (inner_width, inner_height) = sides(&bounds);
    let (width, height) = (inner_width + 2.0 * DISC, inner_height + 2.0 * DISC);
    let (low, high) = range(regions.iter().map(|region| region.summary.p90_response));
    let most = regions.iter().map(|region| region.summary.dispatch_count).max().unwrap_or(1).max(1);
    let place = |at: f64, from: f64, to: f64| if to > from { (at - from) / (to - from) } else { 0.5 };
    let mut body = String::new();
    // The small ones last, so that none is hidden by a large one.
    let mut by_size: Vec<&RegionOnMap> = regions.iter().collect();
    by_size.sort_by_key(|region| std::cmp::Reverse(region.summary.dispatch_count));
    for RegionOnMap { region, latitude, longitude, summary, .. } in by_size {
        let x = DISC + place(*longitude, west, east) * inner_width;
        let y = DISC + (1.0 - place(*latitude, south, north)) * inner_height;
        let radius = (DISC * (summary.dispatch_count as f64 / most as f64).sqrt()).max(4.0);
        let name = escaped(region);
        let _ = writeln!(
            body,
            "<circle cx=\"{x:.2}\" cy=\"{y:.2}\" r=\"{radius:.2}\" fill=\"{}\" fill-opacity=\"0.85\" stroke=\"#333333\">\
             <title>{name}: {} dispatches, 90 % within {} minutes</title></circle>\
             <text x=\"{x:.2}\" y=\"{:.2}\" text-anchor=\"middle\" stroke=\"#ffffff\" stroke-width=\"3\" \
             paint-order=\"stroke\">{name}</text>",
            colour(summary.p90_response, low, high),
            summary.dispatch_count,
            number(Some(summary.p90_response)),
            y + 4.0
        );
    }
    svg("Response time p90 in minutes by region", (width, height), (low, high), &body)
}

/// Regions as points with their summaries.
pub(super) fn regions_geojson(regions: &[RegionOnMap]) -> Value {
    let feature = |region: &RegionOnMap| {
        let geometry = json!({ "type": "Point", "coordinates": [region.longitude, region.latitude] });
        let mut properties = json!(region.summary);
        properties["region"] = json!(region.region);
        properties["located"] = json!(region.located);
        json!({ "type": "Feature", "geometry": geometry, "properties": properties })
    };
    collection(regions.iter().map(feature).collect())
}

fn collection(features: Vec<Value>) -> Value {
    json!({ "type": "FeatureCollection", "features": features })
}
