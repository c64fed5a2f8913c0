//! Standard output: one JSON document, JSON lines, tables, or sentences.

use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;

/// Where answers go. Everything else goes to stderr.
pub(super) struct Output {
    json: bool,
    out: BufWriter<StdoutLock<'static>>,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Output { json, out: BufWriter::new(io::stdout().lock()) }
    }

    /// Whether JSON was asked for.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints the one document of a command: as JSON, or as `for_people` says it.
    pub(super) fn document<T: Serialize>(
        &mut self,
        value: &T,
        for_people: impl FnOnce(&T) -> String,
    ) -> io::Result<()> {
        if self.json {
            self.json_line(value)?;
        } else {
            writeln!(self.out, "{}", for_people(value).trim_end())?;
        }
        self.out.flush()
    }

    /// Prints one of many documents on a line of its own.
    pub(super) fn json_line<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, value)?;
        self.out.write_all(b"\n")
    }

    /// Prints one line for people.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")
    }

    /// Prints bytes as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.out.flush()
    }

    /// Hands over what was printed so far.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A table for people: headings, then rows. Columns of figures are aligned to the right.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = rows.into_iter().collect();
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(headings);
    for (index, column) in table.column_iter_mut().enumerate() {
        if rows.iter().all(|row| is_figure(&row[index])) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    table.add_rows(rows);
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Whether it is a number, a share, an interval of such, or the lack of one.
fn is_figure(cell: &str) -> bool {
    let is_number = |text: &str| text.trim_end_matches(" %").parse::<f64>().is_ok();
    cell.is_empty() || cell == "–" || cell.split(" to ").all(is_number)
}

/// A number for people: at most three decimals.
pub(super) fn number(value: Option<f64>) -> String {
    match value {
        None => "–".into(),
        Some(value) if value.fract() == 0.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.3}"),
    }
}
