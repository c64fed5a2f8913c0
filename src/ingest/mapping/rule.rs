//! Which column a field is taken from in this row: the first of several that has a value, else a constant, else none.

use csv::ByteRecord;
use ionveil_actors::error::Invalid;

use super::value::Read;
use crate::ingest::error::FieldError;

/// A column of the mapping, by its place in [`Columns`].
pub(super) type Slot = usize;

/// The columns a mapping uses, each once, and the words that mean "no value" in all of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    names: Vec<String>,
    missing: Vec<String>,
}

impl Columns {
    pub(super) fn new(missing: Vec<String>) -> Self {
        Columns { names: Vec::new(), missing }
    }

    /// The slot of the column called `name`, a new one if need be.
    pub(super) fn slot(&mut self, name: &str) -> Slot {
        self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        })
    }

    pub(super) fn name(&self, slot: Slot) -> &str {
        &self.names[slot]
    }

    /// The index in `header` of each slot.
    pub(super) fn find_in(&self, header: &ByteRecord) -> Result<Vec<usize>, Invalid> {
        let find = |name: &String| {
            let mut found = header.iter().enumerate().filter(|(_, column)| column.trim_ascii() == name.as_bytes());
            match (found.next(), found.next()) {
                (Some((index, _)), None) => Ok(index),
                (None, _) => Err(Invalid::new(format!("column {name}"), "missing", listed(header))),
                (Some((first, _)), Some((second, _))) => {
                    let met = format_args!("there twice (columns {} and {})", first + 1, second + 1);
                    Err(Invalid::new(format!("column {name}"), met, "one column of that name"))
                }
            }
        };
        self.names.iter().map(find).collect()
    }
}

fn listed(header: &ByteRecord) -> String {
    const SHOWN_MAX: usize = 30;
    let shown = |name: &[u8]| {
        String::from_utf8_lossy(name.trim_ascii()).chars().take(100).flat_map(char::escape_debug).collect()
    };
    let mut names: Vec<String> = header.iter().take(SHOWN_MAX).map(shown).collect();
    if header.len() > SHOWN_MAX {
        names.push(format!("and {} more", header.len() - SHOWN_MAX));
    }
    format!("a column of the file ({})", names.join(", "))
}

/// How one field of the event is had.
#[derive(Debug, Clone)]
pub(super) struct Rule<R: Read> {
    /// The field as it is called in JSON.
    pub(super) field: &'static str,
    /// Asked in order; the first that has a value is read.
    pub(super) columns: Vec<(Slot, R)>,
    /// The value when no column has one. Without it the row is rejected.
    pub(super) finally: Option<R::Value>,
}

impl<R: Read> Rule<R> {
    pub(super) fn first_column(&self) -> Option<Slot> {
        self.columns.first().map(|&(slot, _)| slot)
    }

    pub(super) fn value(&self, fields: &Fields<'_>) -> Result<R::Value, FieldError> {
        match (self.value_if_any(fields)?, self.columns.first()) {
            (Some(value), _) => Ok(value),
            (None, Some((slot, reader))) => Err(fields.missing(self.field, *slot, &reader.allowed())),
            (None, None) => unreachable!("a rule without columns has a constant"),
        }
    }

    /// As [`Rule::value`], but a row without a value has none and is not rejected.
    pub(super) fn value_if_any(&self, fields: &Fields<'_>) -> Result<Option<R::Value>, FieldError> {
        for (slot, reader) in &self.columns {
            if let Some(text) = fields.text(*slot, self.field)? {
                return fields.read(reader, *slot, self.field, text).map(Some);
            }
        }
        Ok(self.finally.clone())
    }
}

/// One row, seen through the columns of the mapping.
pub(super) struct Fields<'a> {
    pub(super) columns: &'a Columns,
    pub(super) indices: &'a [usize],
    pub(super) record: &'a ByteRecord,
}

impl<'a> Fields<'a> {
    /// The text in a column, without spaces around it; `None` when it is empty or a word for "no value".
    pub(super) fn text(&self, slot: Slot, field: &'static str) -> Result<Option<&'a str>, FieldError> {
        let bytes = self.record[self.indices[slot]].trim_ascii();
        let text = str::from_utf8(bytes).map_err(|_| {
            let shown = String::from_utf8_lossy(bytes);
            self.error(slot, Invalid::new(field, format_args!("{shown:?}"), "UTF-8"))
        })?;
        let missing = text.is_empty() || self.columns.missing.iter().any(|word| word == text);
        Ok((!missing).then_some(text))
    }

    /// Reads `text`, which stands in that column.
    pub(super) fn read<R: Read>(
        &self,
        reader: &R,
        slot: Slot,
        field: &'static str,
        text: &str,
    ) -> Result<R::Value, FieldError> {
        reader
            .read(text)
            .ok_or_else(|| self.error(slot, Invalid::new(field, format_args!("{text:?}"), reader.allowed())))
    }

    pub(super) fn missing(&self, field: &'static str, slot: Slot, allowed: &str) -> FieldError {
        self.error(slot, Invalid::new(field, "missing", allowed))
    }

    fn error(&self, slot: Slot, invalid: Invalid) -> FieldError {
        FieldError { column: Some(self.columns.name(slot).to_owned()), invalid }
    }
}
