//! Places in a mapping file: line and column of a span, the key at it, and what the TOML reader has to say of it.

use std::fmt;
use std::ops::Range;
use std::string::FromUtf8Error;

use ionveil_actors::error::Invalid;
use toml::de::{DeTable, DeValue};

use crate::ingest::error::BadMapping;

/// The file as text, to name places in it.
#[derive(Clone, Copy)]
pub(super) struct Document<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
}

impl Document<'_> {
    /// What is wrong with the value of `key`, which stands at `span`.
    pub(super) fn refuse(
        self,
        key: String,
        span: Range<usize>,
        value: impl fmt::Display,
        allowed: impl Into<String>,
    ) -> BadMapping {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        BadMapping {
            name: self.name.to_owned(),
            line: before.matches('\n').count() as u64 + 1,
            column: before[line_start..].chars().count() as u64 + 1,
            invalid: Invalid::new(key, value, allowed),
        }
    }

    /// What the TOML reader met, in our words.
    pub(super) fn toml_error(self, error: &toml::de::Error) -> BadMapping {
        let span = error.span().unwrap_or(0..0);
        let message = error.message();
        let (met, expected) = message.split_once(", expected ").unwrap_or((message, ""));
        let Ok(table) = DeTable::parse(self.text) else {
            let allowed = if expected.is_empty() { "TOML".to_owned() } else { expected.to_owned() };
            return self.refuse("file".to_owned(), span, format_args!("not TOML ({met})"), allowed);
        };
        let key = key_at(table.get_ref(), span.start).unwrap_or_else(|| "file".to_owned());
        if met.starts_with("unknown field") {
            return self.refuse(key, span, "an unknown key", expected.replace('`', "").replace("one of ", ""));
        }
        let allowed = match expected {
            "" => message,
            "i64" => "an integer",
            "f64" => "a number",
            "a boolean" => "true or false",
            table if table.starts_with("struct ") => "a table that names a column or a constant",
            other => other,
        };
        let value = self.text.get(span.clone()).unwrap_or_default().lines().next().unwrap_or_default();
        self.refuse(key, span, value, allowed)
    }
}

/// That a file is no text.
pub(super) fn not_utf8(name: &str, error: &FromUtf8Error) -> BadMapping {
    let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let text = String::from_utf8_lossy(valid);
    Document { name, text: &text }.refuse("file".to_owned(), text.len()..text.len(), "not UTF-8", "UTF-8")
}

/// The dotted key that stands, or whose value stands, at that byte of the file.
fn key_at(table: &DeTable<'_>, byte: usize) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let inner = match value.get_ref() {
            DeValue::Table(table) => key_at(table, byte),
            _ => None,
        };
        match inner {
            Some(inner) => Some(format!("{}.{inner}", key.get_ref())),
            None => (key.span().contains(&byte) || value.span().contains(&byte)).then(|| key.get_ref().to_string()),
        }
    })
}
