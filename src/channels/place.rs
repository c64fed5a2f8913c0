//! Where in the configuration something is wrong.

use std::ops::Range;

use ionveil_actors::error::Invalid;
use toml::de::{DeTable, DeValue};

/// One fault in a configuration file, with the place where it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}:{line}:{column}: {invalid}")]
pub struct BadConfig {
    /// The file.
    pub name: String,
    /// Line in it; counts from 1.
    pub line: u64,
    /// Column in that line, in characters; counts from 1.
    pub column: u64,
    /// The key, dotted as in `channels.email.server`, its value and what is allowed.
    pub invalid: Invalid,
}

/// A fault that does not know its file yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The key, dotted, its value and what is allowed.
    pub(super) invalid: Invalid,
    /// In a value of several lines the one that is meant; counts from 1.
    pub(super) line_in_value: Option<usize>,
}

impl From<Invalid> for Fault {
    fn from(invalid: Invalid) -> Self {
        Fault { invalid, line_in_value: None }
    }
}

/// The configuration as text.
#[derive(Clone, Copy)]
pub(super) struct Document<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
}

impl Document<'_> {
    /// Says where the key of a fault stands; when it stands nowhere, where the table around it does.
    pub(super) fn locate(self, fault: Fault) -> BadConfig {
        let table = DeTable::parse(self.text).ok();
        let span = table.and_then(|table| span_of(table.get_ref(), &fault.invalid.field)).unwrap_or(0..0);
        let lines_down = match fault.line_in_value {
            Some(line) if is_multi_line(self.text, &span) => {
                // A newline right after the opening quotes does not belong to the value.
                let opened = usize::from(self.text[span.start + 3..].trim_start_matches('\r').starts_with('\n'));
                (line - 1 + opened) as u64
            }
            _ => 0,
        };
        let mut bad = self.at(span.start, fault.invalid);
        if lines_down > 0 {
            bad.line += lines_down;
            bad.column = 1;
        }
        bad
    }

    /// What the TOML reader met, in our words.
    pub(super) fn toml_error(self, error: &toml::de::Error) -> BadConfig {
        let span = error.span().unwrap_or(0..0);
        let message = error.message();
        let (met, expected) = message.split_once(", expected ").unwrap_or((message, ""));
        let Ok(table) = DeTable::parse(self.text) else {
            let allowed = if expected.is_empty() { "TOML" } else { expected };
            return self.at(span.start, Invalid::new("file", format_args!("not TOML ({met})"), allowed));
        };
        let key = key_at(table.get_ref(), span.start).unwrap_or_else(|| "file".to_owned());
        if let Some(unknown) = met.strip_prefix("unknown field ") {
            let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
            return self
                .at(span.start, Invalid::new(key, "an unknown key", nearest(unknown.trim_matches('`'), &known)));
        }
        let allowed = match expected {
            "" => message,
            "i64" | "u8" | "u16" | "u32" | "u64" => "a whole number ≥ 0",
            "f64" => "a number",
            "a boolean" => "true or false",
            table if table.starts_with("struct ") => "a table",
            other => other,
        };
        // Not the value: it may be a secret in the wrong place.
        let met = met.strip_prefix("invalid type: ").or_else(|| met.strip_prefix("invalid value: ")).unwrap_or(met);
        let met = met.split_once(" \"").map_or(met, |(kind, _)| kind);
        self.at(span.start, Invalid::new(key, met, allowed))
    }

    fn at(self, byte: usize, invalid: Invalid) -> BadConfig {
        let before = self.text.get(..byte).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        BadConfig {
            name: self.name.to_owned(),
            line: before.matches('\n').count() as u64 + 1,
            column: before[line_start..].chars().count() as u64 + 1,
            invalid,
        }
    }
}

/// The known names, the one nearest to `met` first.
pub(super) fn nearest(met: &str, known: &[&str]) -> String {
    let near = known.iter().min_by_key(|name| strsim::damerau_levenshtein(met, name));
    match near {
        // Half of it wrong is no slip of the hand any more.
        Some(near) if strsim::damerau_levenshtein(met, near) * 2 <= met.chars().count().max(2) => {
            let others: Vec<&str> = known.iter().filter(|name| *name != near).copied().collect();
            let and = if others.is_empty() { String::new() } else { format!("; also {}", others.join(", ")) };
            format!("{near}, the nearest{and}")
        }
        _ => known.join(", "),
    }
}

fn is_multi_line(text: &str, span: &Range<usize>) -> bool {
    text.get(span.clone()).is_some_and(|value| value.starts_with("\"\"\"") || value.starts_with("'''"))
}

/// Where the value of a dotted key stands, or that of the longest part of it which is there.
fn span_of(table: &DeTable<'_>, field: &str) -> Option<Range<usize>> {
    let here = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
        let key: &toml::de::DeString<'_> = key.get_ref();
        let rest = field.strip_prefix(key.as_ref())?;
        if rest.is_empty() {
            return Some(value.span());
        }
        let rest = rest.strip_prefix('.')?;
        Some(inside(value.get_ref(), rest).unwrap_or_else(|| value.span()))
    };
    table.iter().find_map(here)
}

fn inside(value: &DeValue<'_>, field: &str) -> Option<Range<usize>> {
    match value {
        DeValue::Table(table) => span_of(table, field),
        DeValue::Array(items) => {
            let (index, rest) = field.split_once('.').unwrap_or((field, ""));
            let item = items.get(index.parse::<usize>().ok()?)?;
            Some(inside(item.get_ref(), rest).unwrap_or_else(|| item.span()))
        }
        _ => None,
    }
}

/// The dotted key that stands, or whose value stands, at that byte of the file.
fn key_at(table: &DeTable<'_>, byte: usize) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        if key.span().contains(&byte) {
            return Some(key.get_ref().to_string());
        }
        let inner = match value.get_ref() {
            DeValue::Table(table) => key_at(table, byte),
            DeValue::Array(items) => items.iter().enumerate().find_map(|(index, item)| match item.get_ref() {
                DeValue::Table(table) => key_at(table, byte).map(|key| format!("{index}.{key}")),
                _ => item.span().contains(&byte).then(|| index.to_string()),
            }),
            _ => None,
        };
        match inner {
            Some(inner) => Some(format!("{}.{inner}", key.get_ref())),
            None => value.span().contains(&byte).then(|| key.get_ref().to_string()),
        }
    })
}
