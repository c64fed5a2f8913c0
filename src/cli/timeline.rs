//! Policies over time, drawn: in characters for a terminal, as SVG for a page.

use std::fs;
use std::io::IsTerminal;
use std::path::Path;

use ionveil::{Error, Invalid, SimulationResult};
use svg::Document;
use svg::node::element::{Group, Line, Rectangle, Style, Text, Title};

use super::failure::Failure;

/// Columns of a drawing in a terminal.
const TERMINAL_COLUMNS: usize = 72;
/// Columns of an SVG drawing, each a unit wide.
const SVG_COLUMNS: usize = 1_000;
const SVG_LABEL_WIDTH: usize = 160;
const SVG_ROW_HEIGHT: usize = 22;

/// How much of each column of time each policy was in force: by level, then by column, 0 to 1.
fn shares(result: &SimulationResult, columns: usize) -> Vec<Vec<f64>> {
    let level_of = |name: &str| result.time_in_each_policy.iter().position(|(policy, _)| policy == name).unwrap_or(0);
    let duration = duration_of(result);
    let mut shares = vec![vec![0.0; columns]; result.time_in_each_policy.len()];
    let ends =
        result.policy_transitions.iter().map(|transition| transition.offset_seconds.as_seconds()).chain([duration]);
    let levels = [0].into_iter().chain(result.policy_transitions.iter().map(|transition| level_of(&transition.to)));
    let mut since = 0.0;
    for (level, end) in levels.zip(ends) {
        let (start, stop) = (since / duration * columns as f64, end / duration * columns as f64);
        let mut column = start as usize;
        while column < columns && (column as f64) < stop {
            let part = stop.min((column + 1) as f64) - start.max(column as f64);
            shares[level][column] += part;
            column += 1;
        }
        since = end;
    }
    shares
}

fn duration_of(result: &SimulationResult) -> f64 {
    result.time_in_each_policy.iter().map(|(_, seconds)| seconds).sum()
}

/// A row of characters per policy, the strictest on top.
pub(super) fn in_characters(result: &SimulationResult) -> String {
    let is_coloured = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let names = result.time_in_each_policy.iter().map(|(name, _)| name);
    let width = names.clone().map(|name| name.chars().count()).max().unwrap_or(0).max("0 s".len());
    let levels = result.time_in_each_policy.len();
    let rows = names.zip(shares(result, TERMINAL_COLUMNS)).enumerate().rev().map(|(level, (name, shares))| {
        let row: String = shares.into_iter().map(glyph).collect();
        if is_coloured {
            format!("{name:<width$}  \u{1b}[{}m{row}\u{1b}[0m", ansi_colour(level, levels))
        } else {
            format!("{name:<width$}  {row}")
        }
    });
    let lines: Vec<String> = rows.collect();
    let end = format!("{} s", duration_of(result));
    format!("{}\n{:<width$}  0 s{end:>space$}", lines.join("\n"), "", space = TERMINAL_COLUMNS - 3)
}

fn glyph(share: f64) -> char {
    match share {
        ..0.001 => '·',
        ..0.25 => '░',
        ..0.5 => '▒',
        ..0.75 => '▓',
        _ => '█',
    }
}

/// Green at the bottom, red at the top.
fn ansi_colour(level: usize, levels: usize) -> u8 {
    const COLOURS: [u8; 4] = [32, 33, 35, 31];
    COLOURS[colour_index(level, levels, COLOURS.len())]
}

fn svg_colour(level: usize, levels: usize) -> &'static str {
    const COLOURS: [&str; 4] = ["#2e7d32", "#f9a825", "#ef6c00", "#c62828"];
    COLOURS[colour_index(level, levels, COLOURS.len())]
}

fn colour_index(level: usize, levels: usize, colours: usize) -> usize {
    if levels <= 1 { 0 } else { (level * (colours - 1)).div_ceil(levels - 1) }
}

/// Whether a drawing can be put there; asked before anything is recorded.
pub(super) fn check_svg(path: Option<&Path>) -> Result<(), Invalid> {
    let Some(path) = path else { return Ok(()) };
    // A bare name is in the present directory, and its parent is the empty path.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if directory.is_dir() && !path.is_dir() { Ok(()) } else { Err(no_place(path)) }
}

fn no_place(path: &Path) -> Invalid {
    Invalid::new("svg", path.display(), "a file in a directory that exists")
}

/// Writes a drawing of the results, one below the other, to a file.
pub(super) fn write_svg(path: &Path, results: &[&SimulationResult]) -> Result<(), Failure> {
    let drawn = document(results).to_string();
    fs::write(path, drawn).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::IsADirectory => Failure::from(no_place(path)),
        _ => Error::Io { doing: format!("writing {}", path.display()), source }.into(),
    })
}

fn document(results: &[&SimulationResult]) -> Document {
    let mut document =
        Document::new().set("role", "img").set("font-family", "sans-serif").set("font-size", 13).add(Style::new(
            "text { fill: #222 } line { stroke: #888 } @media (prefers-color-scheme: dark) { text { fill: #ddd } }",
        ));
    let mut top = 0;
    for result in results {
        let (group, height) = drawing(result);
        document = document.add(group.set("transform", format!("translate(0 {top})")));
        top += height;
    }
    let width = SVG_LABEL_WIDTH + SVG_COLUMNS + 20;
    document.set("viewBox", (0, 0, width, top.max(1))).set("width", width).set("height", top.max(1))
}

/// One result, and how high it is.
fn drawing(result: &SimulationResult) -> (Group, usize) {
    let levels = result.time_in_each_policy.len();
    let name = &result.scenario.name;
    let mut group = Group::new()
        .add(Title::new(format!("{name}: policies over {} s", duration_of(result))))
        .add(Text::new(name.as_str()).set("x", 4).set("y", 18).set("font-weight", "bold"));
    let top = 28;
    if let Some(message) = &result.error_message {
        group = group.add(Text::new(message.as_str()).set("x", 4).set("y", top + 14));
        return (group, top + SVG_ROW_HEIGHT);
    }
    for (level, ((policy, seconds), shares)) in
        result.time_in_each_policy.iter().zip(shares(result, SVG_COLUMNS)).enumerate()
    {
        let y = top + (levels - 1 - level) * SVG_ROW_HEIGHT;
        group = group.add(Text::new(policy.as_str()).set("x", 4).set("y", y + 15));
        for (start, length, share) in stretches(&shares) {
            let rectangle = Rectangle::new()
                .set("x", SVG_LABEL_WIDTH + start)
                .set("y", y + 2)
                .set("width", length)
                .set("height", SVG_ROW_HEIGHT - 4)
                .set("fill", svg_colour(level, levels))
                .set("fill-opacity", format!("{:.2}", share.clamp(0.15, 1.0)));
            group = group.add(rectangle.add(Title::new(format!("{policy}: {seconds} s in all"))));
        }
    }
    let bottom = top + levels * SVG_ROW_HEIGHT;
    let (left, right) = (SVG_LABEL_WIDTH, SVG_LABEL_WIDTH + SVG_COLUMNS);
    let axis = Line::new().set("x1", left).set("x2", right).set("y1", bottom).set("y2", bottom);
    let end =
        Text::new(format!("{} s", duration_of(result))).set("x", right).set("y", bottom + 16).set("text-anchor", "end");
    group = group.add(axis).add(Text::new("0 s").set("x", left).set("y", bottom + 16)).add(end);
    (group, bottom + 30)
}

/// Runs of equal shares above 0: first column, length, share.
fn stretches(shares: &[f64]) -> Vec<(usize, usize, f64)> {
    let mut stretches: Vec<(usize, usize, f64)> = Vec::new();
    for (column, &share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
        match stretches.last_mut() {
            Some((start, length, before)) if *start + *length == column && (*before - share).abs() < 1e-9 => {
                *length += 1
            }
            _ => stretches.push((column, 1, share)),
        }
    }
    stretches
}
