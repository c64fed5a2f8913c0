//! Small JSON and TOML files that people write, with the place of every value, so that what is wrong is told by its line.

use std::path::Path;

use ionveil::Invalid;
use ionveil::ingest::{self, BadMapping};
use serde_json::Value;
use serde_json::value::RawValue;
use toml::de::{DeTable, DeValue};

use super::failure::Failure;

/// Largest file.
const BYTES_MAX: u64 = 4 << 20;

/// A file that was read.
pub(super) struct Document {
    name: String,
    text: String,
    pub(super) root: Node,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    at: usize,
    /// Members of an object by name, or items of an array without.
    inner: Vec<(Option<String>, Node)>,
}

impl Document {
    /// Reads a file: TOML when its name ends in `.toml`, else JSON.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let is_too_large = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > BYTES_MAX);
        if is_too_large {
            return Err(Invalid::new("FILE", name, format!("at most {BYTES_MAX} bytes")).into());
        }
        let text = std::fs::read_to_string(path)
            .map_err(|source| Invalid::new("FILE", &name, format!("a text file that can be read ({source})")))?;
        let is_toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
        Ok(Self::parse(name, text, is_toml)?)
    }

    fn parse(name: String, text: String, is_toml: bool) -> Result<Self, ingest::Error> {
        let root = if is_toml { toml_node(&name, &text) } else { json_node(&name, &text) };
        Ok(Document { root: root?, name, text })
    }

    /// The parts of the document that each describe one thing: it itself, the items of an array, or those under one of
    /// `keys`. With them, whether there were several.
    pub(super) fn parts(&self, keys: &[&str]) -> (Vec<&Node>, bool) {
        let listed = self.root.inner.iter().find_map(|(name, node)| {
            let is_list = name.as_deref().is_some_and(|name| keys.contains(&name)) && node.value.is_array();
            is_list.then_some(node)
        });
        match listed.or_else(|| self.root.value.is_array().then_some(&self.root)) {
            Some(list) => (list.inner.iter().map(|(_, node)| node).collect(), true),
            None => (vec![&self.root], false),
        }
    }

    /// What is wrong with `part`, told with its place.
    pub(super) fn refuse(&self, part: &Node, invalid: Invalid) -> Failure {
        let node = part.find(&invalid).unwrap_or(part);
        located(&self.name, &self.text, node.at, invalid).into()
    }
}

impl Node {
    /// The value that a refusal is about: of those with its field's name the one with its value, else the first; or any
    /// text that is its value, as a wrong name within an array is.
    fn find(&self, invalid: &Invalid) -> Option<&Node> {
        let shows = |node: &Node| match &node.value {
            Value::String(text) => *text == invalid.value || format!("{text:?}") == invalid.value,
            other => *other.to_string() == *invalid.value,
        };
        let named = self.all().into_iter().filter(|(name, _)| *name == Some(invalid.field.as_str()));
        let named: Vec<&Node> = named.map(|(_, node)| node).collect();
        let exact = named.iter().find(|node| shows(node)).or(named.first());
        exact.copied().or_else(|| self.all().into_iter().map(|(_, node)| node).find(|node| shows(node)))
    }

    /// Everything below, in the order of the file.
    fn all(&self) -> Vec<(Option<&str>, &Node)> {
        let mut all = Vec::new();
        for (name, node) in &self.inner {
            all.push((name.as_deref(), node));
            all.extend(node.all());
        }
        all
    }
}

fn located(name: &str, text: &str, at: usize, invalid: Invalid) -> ingest::Error {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    ingest::Error::BadMapping(BadMapping {
        name: name.to_owned(),
        line: before.matches('\n').count() as u64 + 1,
        column: before[line_start..].chars().count() as u64 + 1,
        invalid,
    })
}

fn json_node(name: &str, text: &str) -> Result<Node, ingest::Error> {
    let not_json = |error: &serde_json::Error| {
        let line_start: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let at = (line_start + error.column().saturating_sub(1)).min(text.len());
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
        located(
            name,
            text,
            at,
            Invalid::new("FILE", format_args!("not JSON ({reason})"), "JSON, or TOML in a file *.toml"),
        )
    };
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| not_json(&error))?;
    raw_node(raw, text).map_err(|error| not_json(&error))
}

fn raw_node(raw: &RawValue, text: &str) -> Result<Node, serde_json::Error> {
    // The raw value is a slice of the text.
    let at = (raw.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    let mut inner = Vec::new();
    match raw.get().as_bytes().first() {
        Some(b'{') => {
            let members: std::collections::BTreeMap<String, &RawValue> = serde_json::from_str(raw.get())?;
            for (name, member) in members {
                inner.push((Some(name), raw_node(member, text)?));
            }
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(raw.get())?;
            for item in items {
                inner.push((None, raw_node(item, text)?));
            }
        }
        _ => {}
    }
    inner.sort_by_key(|(_, node)| node.at);
    Ok(Node { value: serde_json::from_str(raw.get())?, at, inner })
}

fn toml_node(name: &str, text: &str) -> Result<Node, ingest::Error> {
    let not_toml = |error: &toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start);
        let reason = error.message().lines().next().unwrap_or_default();
        located(name, text, at, Invalid::new("FILE", format_args!("not TOML ({reason})"), "TOML"))
    };
    let values: toml::Table = toml::from_str(text).map_err(|error| not_toml(&error))?;
    let spans = DeTable::parse(text).map_err(|error| not_toml(&error))?;
    Ok(table_node(&values, spans.get_ref(), spans.span().start))
}

fn table_node(values: &toml::Table, spans: &DeTable<'_>, at: usize) -> Node {
    let mut inner = Vec::new();
    for (key, span) in spans {
        if let Some(value) = values.get(key.get_ref().as_ref()) {
            inner.push((Some(key.get_ref().to_string()), value_node(value, span.get_ref(), span.span().start)));
        }
    }
    Node { value: plain(&toml::Value::Table(values.clone())), at, inner }
}

fn value_node(value: &toml::Value, span: &DeValue<'_>, at: usize) -> Node {
    match (value, span) {
        (toml::Value::Table(values), DeValue::Table(spans)) => table_node(values, spans, at),
        (toml::Value::Array(values), DeValue::Array(spans)) => {
            let items = values.iter().zip(spans.iter());
            let inner = items.map(|(value, span)| (None, value_node(value, span.get_ref(), span.span().start)));
            Node { value: plain(value), at, inner: inner.collect() }
        }
        _ => Node { value: plain(value), at, inner: Vec::new() },
    }
}

/// The same value as JSON has it.
fn plain(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => Value::from(*number),
        toml::Value::Boolean(truth) => Value::from(*truth),
        toml::Value::Datetime(instant) => Value::from(instant.to_string()),
        toml::Value::Array(items) => items.iter().map(plain).collect(),
        toml::Value::Table(members) => {
            Value::Object(members.iter().map(|(name, value)| (name.clone(), plain(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, is_toml: bool, field: &str, value: &str) -> String {
        let document = Document::parse("f".into(), text.into(), is_toml).expect("a document");
        let (parts, _) = document.parts(&["rules", "rule"]);
        match document.refuse(parts[parts.len() - 1], Invalid::new(field, value, "another")) {
            Failure::Ionveil(error) => error.to_string().split(": ").next().unwrap_or_default().to_owned(),
            Failure::PipeClosed => unreachable!("nothing is printed"),
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_line_and_column() {
        let json = "[\n {\"a\": 1},\n {\"a\": 2,\n  \"b\": {\"c\": \"x\"}}\n]";
        for (field, value, expected) in
            [("a", "2", "f:3:8"), ("c", "\"x\"", "f:4:14"), ("d", "missing", "f:3:2"), ("channel", "\"x\"", "f:4:14")]
        {
            assert_eq!(place(json, false, field, value), expected, "{field}");
        }
        let toml = "[[rule]]\na = 1\n\n[[rule]]\na = 2\n[rule.b]\nc = \"x\"\n";
        for (field, value, expected) in [("a", "2", "f:5:5"), ("c", "\"x\"", "f:7:5")] {
            assert_eq!(place(toml, true, field, value), expected, "{field}");
        }
    }

    #[test]
    fn what_is_no_document_is_told_by_its_line() {
        let message = |text: &str, is_toml| {
            let error = Document::parse("f".into(), text.into(), is_toml).map(|_| ()).expect_err("no document");
            error.to_string()
        };
        assert!(
            message("{\n\"a\": }", false).starts_with("f:2:6: FILE is not JSON"),
            "{}",
            message("{\n\"a\": }", false)
        );
        assert!(message("a = 1\nb = \n", true).starts_with("f:2:"), "{}", message("a = 1\nb = \n", true));
    }
}
