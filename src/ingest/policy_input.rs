//! Policy scenarios and failure patterns from files: scenarios as JSON, patterns as JSON or CSV; plain or gzip.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use ionveil_actors::domain::check_id;
use ionveil_actors::error::Invalid;
use ionveil_actors::policy::PolicyScenario;
use ionveil_actors::simulation::{FailurePattern, Offset, PATTERN_EVENTS_MAX};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::error::Category;

use super::error::{BadInput, Error};
use super::source::{Source, unpack};

const PATTERN_JSON: &str =
    "JSON as {\"pattern_id\": text, \"description\": text, \"events\": [[seconds, true or false], …]}";
const PATTERN_CSV: &str = "a header with offset_seconds and is_success";
const SCENARIO_JSON: &str = "JSON as {\"name\": text, \"policy_order\": [text, …], \"escalation_threshold\": number, \
                             \"deescalation_thresholds\": {policy: number, …}}";
const EVENT: &str = "[seconds, true or false]";

/// Reads a scenario. Its ranges are not checked; `PolicyScenario::check` does that.
///
/// # Errors
/// When the file cannot be read, is no JSON (with line and column), or is no scenario (with the field).
pub fn read_scenario(source: &Source) -> Result<PolicyScenario, Error> {
    let text = read_all(source, SCENARIO_JSON)?;
    let value: Value = serde_json::from_slice(&text).map_err(|error| malformed(source, &error, SCENARIO_JSON))?;
    PolicyScenario::from_json(&value).map_err(|invalid| bad(source, None, None, invalid))
}

/// Reads a pattern: JSON, or CSV with the columns `offset_seconds` and `is_success`, whose pattern gets the file's name.
///
/// # Errors
/// When the file cannot be read, or is no pattern; says the line, and of JSON the column.
pub fn read_pattern(source: &Source) -> Result<FailurePattern, Error> {
    parse_pattern(source, &read_all(source, PATTERN_JSON)?)
}

/// As [`read_pattern`], of what was read from a source already.
///
/// # Errors
/// When it is no pattern.
pub fn parse_pattern(source: &Source, text: &[u8]) -> Result<FailurePattern, Error> {
    let is_named_json =
        matches!(source, Source::File(path) if path.extension().is_some_and(|extension| extension == "json"));
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if is_named_json || first.is_some_and(|byte| b"{[".contains(byte)) {
        pattern_of_json(source, text)
    } else {
        pattern_of_csv(source, text)
    }
}

fn read_all(source: &Source, allowed: &'static str) -> Result<Vec<u8>, Error> {
    let bytes_read = AtomicU64::new(0);
    let name = source.to_string();
    let opened = source.open()?;
    let (mut input, packing) =
        unpack(opened, &bytes_read).map_err(|error| Error::Unreadable { name: name.clone(), source: error })?;
    let mut text = Vec::new();
    input.read_to_end(&mut text).map_err(|error| packing.error(&name, error))?;
    if text.starts_with(b"\xEF\xBB\xBF") {
        text.drain(..3);
    }
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(Error::Empty { name, allowed });
    }
    Ok(text)
}

fn bad(source: &Source, line: Option<u64>, column: Option<u64>, invalid: Invalid) -> Error {
    Box::new(BadInput { name: source.to_string(), line, column, invalid }).into()
}

/// What serde_json says, without the place, which is told apart.
fn malformed(source: &Source, error: &serde_json::Error, allowed: &str) -> Error {
    let text = error.to_string();
    let fault = text.rsplit_once(" at line ").map_or(text.as_str(), |(fault, _)| fault);
    at(source, error, Invalid::new("FILE", fault, allowed))
}

fn at(source: &Source, error: &serde_json::Error, invalid: Invalid) -> Error {
    bad(source, Some(error.line() as u64), Some(error.column() as u64), invalid)
}

fn pattern_of_json(source: &Source, text: &[u8]) -> Result<FailurePattern, Error> {
    let reading = Reading::default();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let read = PatternSeed(&reading).deserialize(&mut deserializer).and_then(|pattern| {
        deserializer.end()?;
        Ok(pattern)
    });
    read.map_err(|error| match (reading.invalid.take(), error.classify(), reading.event.get()) {
        (Some(invalid), _, _) => at(source, &error, invalid),
        (None, Category::Data, Some(index)) => {
            let text = error.to_string();
            let fault = text.rsplit_once(" at line ").map_or(text.as_str(), |(fault, _)| fault);
            at(source, &error, Invalid::new(format!("events[{index}]"), fault, EVENT))
        }
        _ => malformed(source, &error, PATTERN_JSON),
    })
}

/// What serde's errors cannot carry.
#[derive(Default)]
struct Reading {
    /// The event that is being read.
    event: Cell<Option<usize>>,
    /// What is wrong with the pattern, other than its JSON.
    invalid: RefCell<Option<Invalid>>,
}

impl Reading {
    fn refuse<E: serde::de::Error>(&self, invalid: Invalid) -> E {
        let error = E::custom(&invalid);
        *self.invalid.borrow_mut() = Some(invalid);
        error
    }
}

struct PatternSeed<'a>(&'a Reading);

impl<'de> DeserializeSeed<'de> for PatternSeed<'_> {
    type Value = FailurePattern;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<FailurePattern, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for PatternSeed<'_> {
    type Value = FailurePattern;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a pattern, which is an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FailurePattern, A::Error> {
        let reading = self.0;
        let (mut pattern_id, mut description, mut events) = (None, None, None);
        let text = |field: &str, value: Value| match value {
            Value::String(text) => Ok(text),
            other => Err(reading.refuse(Invalid::new(field, other, "a string"))),
        };
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "pattern_id" => {
                    let id = text("pattern_id", map.next_value()?)?;
                    check_id("pattern_id", &id).map_err(|invalid| reading.refuse(invalid))?;
                    pattern_id = Some(id);
                }
                "description" => description = Some(text("description", map.next_value()?)?),
                "events" => events = Some(map.next_value_seed(EventsSeed(reading))?),
                unknown => {
                    let allowed = "the fields pattern_id, description, events";
                    return Err(reading.refuse(Invalid::new(unknown, "given", allowed)));
                }
            }
        }
        let missing = |field: &str, allowed: &str| reading.refuse(Invalid::new(field, "missing", allowed));
        Ok(FailurePattern {
            pattern_id: pattern_id.ok_or_else(|| missing("pattern_id", "a string"))?,
            description: description.unwrap_or_default(),
            events: events.ok_or_else(|| missing("events", "an array of [seconds, true or false]"))?,
        })
    }
}

struct EventsSeed<'a>(&'a Reading);

impl<'de> DeserializeSeed<'de> for EventsSeed<'_> {
    type Value = Vec<(Offset, bool)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for EventsSeed<'_> {
    type Value = Vec<(Offset, bool)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the events, which are an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let reading = self.0;
        let mut events = Vec::new();
        loop {
            reading.event.set(Some(events.len()));
            let Some(event) = seq.next_element_seed(EventSeed { reading, index: events.len() })? else { break };
            if events.len() == PATTERN_EVENTS_MAX {
                let allowed = format!("at most {PATTERN_EVENTS_MAX}");
                return Err(reading.refuse(Invalid::new("events", "more", allowed)));
            }
            events.push(event);
        }
        reading.event.set(None);
        Ok(events)
    }
}

struct EventSeed<'a> {
    reading: &'a Reading,
    index: usize,
}

impl<'de> DeserializeSeed<'de> for EventSeed<'_> {
    type Value = (Offset, bool);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for EventSeed<'_> {
    type Value = (Offset, bool);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event, which is an array of two")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let EventSeed { reading, index } = self;
        let field = |name: &str| format!("events[{index}].{name}");
        let offset: Value = seq.next_element()?.unwrap_or_default();
        let offset = match offset.as_f64() {
            Some(seconds) => Offset::from_seconds(seconds)
                .map_err(|invalid| reading.refuse(Invalid { field: field("offset_seconds"), ..invalid }))?,
            None => return Err(reading.refuse(Invalid::new(field("offset_seconds"), offset, "a number of seconds"))),
        };
        let is_success: Value = seq.next_element()?.unwrap_or_default();
        let Value::Bool(is_success) = is_success else {
            return Err(reading.refuse(Invalid::new(field("is_success"), is_success, "true or false")));
        };
        if seq.next_element::<IgnoredAny>()?.is_some() {
            return Err(reading.refuse(Invalid::new(format!("events[{index}]"), "longer", EVENT)));
        }
        Ok((offset, is_success))
    }
}

fn pattern_of_csv(source: &Source, text: &[u8]) -> Result<FailurePattern, Error> {
    let mut lines = (1u64..).zip(text.split(|&byte| byte == b'\n'));
    let refuse = |line: u64, field: &str, value: &str, allowed: &str| {
        bad(source, Some(line), None, Invalid::new(field, format_args!("{value:?}"), allowed))
    };
    let header = lines.next().map(|(_, header)| fields(header)).unwrap_or_default();
    let column = |name: &str| header.iter().position(|field| field == name);
    let (Some(offset_column), Some(success_column)) = (column("offset_seconds"), column("is_success")) else {
        let name = source.to_string();
        let met = format!("{:?}", header.join(","));
        return Err(Error::Header {
            name,
            invalid: Invalid::new("header", met, format!("{PATTERN_CSV}, or {PATTERN_JSON}")),
        });
    };
    let mut events = Vec::new();
    for (number, line) in lines {
        let row = fields(line);
        if row.iter().all(String::is_empty) {
            continue;
        }
        if row.len() != header.len() {
            let allowed = format!("{} fields, as in the header", header.len());
            return Err(refuse(number, "row", &row.join(","), &allowed));
        }
        let text = &row[offset_column];
        let seconds: f64 = text.parse().map_err(|_| refuse(number, "offset_seconds", text, "a number of seconds"))?;
        let offset = Offset::from_seconds(seconds).map_err(|invalid| bad(source, Some(number), None, invalid))?;
        let is_success = match row[success_column].to_ascii_lowercase().as_str() {
            "true" | "1" => true,
            "false" | "0" => false,
            _ => return Err(refuse(number, "is_success", &row[success_column], "true or false")),
        };
        if events.len() == PATTERN_EVENTS_MAX {
            return Err(refuse(number, "events", "more", &format!("at most {PATTERN_EVENTS_MAX}")));
        }
        events.push((offset, is_success));
    }
    let description = format!("{} events of {source}", events.len());
    Ok(FailurePattern { pattern_id: name_of(source), description, events })
}

fn fields(line: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(line);
    text.trim().split(',').map(|field| field.trim().trim_matches('"').to_owned()).collect()
}

/// The file's name without its endings, when that is an identifier.
fn name_of(source: &Source) -> String {
    let name = match source {
        Source::Stdin => None,
        Source::File(path) => path.file_name().map(Path::new).and_then(Path::to_str),
    };
    let stem = name.and_then(|name| name.split('.').next()).unwrap_or_default();
    if check_id("pattern_id", stem).is_ok() { stem.to_owned() } else { "pattern".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn read(name: &str, text: &str) -> Result<FailurePattern, String> {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        read_pattern(&path.as_path().into()).map_err(|error| {
            assert!(error.invalid().is_some(), "{error}");
            error.to_string().replace(&format!("{}/", dir.path().display()), "")
        })
    }

    #[test]
    fn json_and_csv_are_read() {
        let at = |seconds| Offset::from_seconds(seconds).expect("an offset");
        let events = vec![(at(3.0), false), (at(0.5), true)];
        let json = r#" {"events": [[3, false], [0.5, true]], "pattern_id": "p", "description": "d"}"#;
        let pattern = FailurePattern { pattern_id: "p".into(), description: "d".into(), events: events.clone() };
        assert_eq!(read("p.json", json), Ok(pattern.clone()));
        assert_eq!(read("p.txt", json), Ok(pattern));
        for csv in [
            "offset_seconds,is_success\n3,false\n0.5,true\n",
            "\u{FEFF}offset_seconds,is_success\r\n3,False\r\n\r\n0.5,TRUE",
            "is_success, note, offset_seconds\n0,a,3\n\"1\",,0.5\n",
        ] {
            let read = read("stream.2.csv", csv).expect(csv);
            assert_eq!((read.pattern_id.as_str(), &read.events), ("stream", &events), "{csv}");
        }
        assert_eq!(read("p.csv", "offset_seconds,is_success\n").expect("no events are fine").events, []);
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        for (name, text, message) in [
            (
                "p.json",
                "{\"pattern_id\": \"p\",\n \"events\": [[1, true] [2, true]]}",
                "p.json, line 2, column 23: FILE is expected `,` or `]`",
            ),
            (
                "p.json",
                "{\"pattern_id\": \"p\", \"events\": [[1, true]]",
                "p.json, line 1, column 41: FILE is EOF while parsing",
            ),
            (
                "p.json",
                "{\"pattern_id\": \"p\", \"events\": []} x",
                "p.json, line 1, column 35: FILE is trailing characters",
            ),
            ("p.json", "pattern", "p.json, line 1, column 1: FILE is expected value"),
            ("p.json", "[]", "p.json, line 1, column 0: FILE is invalid type: sequence, expected a pattern"),
            ("p.json", "{\"events\": []}", "pattern_id is missing, allowed: a string"),
            ("p.json", "{\"pattern_id\": \"p\"}", "events is missing, allowed: an array"),
            ("p.json", "{\"pattern_id\": 7, \"events\": []}", "pattern_id is 7, allowed: a string"),
            ("p.json", "{\"pattern_id\": \"a/b\", \"events\": []}", "pattern_id is \"a/b\", allowed: 1 to 128"),
            (
                "p.json",
                "{\"pattern_id\": \"p\", \"events\": 3}",
                "FILE is invalid type: integer `3`, expected the events",
            ),
            ("p.json", "{\"pattern_id\": \"p\", \"rate\": 1}", "rate is given, allowed: the fields pattern_id"),
            (
                "p.json",
                "{\"pattern_id\": \"p\", \"events\": [[1, true], [-1, true]]}",
                "events[1].offset_seconds is -1, allowed: a number, 0 to",
            ),
            ("p.json", "{\"pattern_id\": \"p\", \"events\": [[1e99, true]]}", "events[0].offset_seconds is 1"),
            (
                "p.json",
                "{\"pattern_id\": \"p\", \"events\": [[\"1\", true]]}",
                "events[0].offset_seconds is \"1\", allowed: a number",
            ),
            ("p.json", "{\"pattern_id\": \"p\", \"events\": [[]]}", "events[0].offset_seconds is null"),
            (
                "p.json",
                "{\"pattern_id\": \"p\", \"events\": [[1]]}",
                "events[0].is_success is null, allowed: true or false",
            ),
            (
                "p.json",
                "{\"pattern_id\": \"p\", \"events\": [[1, 1]]}",
                "events[0].is_success is 1, allowed: true or false",
            ),
            ("p.json", "{\"pattern_id\": \"p\", \"events\": [[1, true, 2]]}", "events[0] is longer, allowed: [seconds"),
            (
                "p.json",
                "{\"pattern_id\": \"p\", \"events\": [[1, true], {}]}",
                "events[1] is invalid type: map, expected an event",
            ),
            (
                "p.json",
                "{\"pattern_id\": \"p\", \"events\": [[NaN, true]]}",
                "line 1, column 33: FILE is expected value",
            ),
            ("p.csv", "", "file p.csv is empty"),
            (
                "p.csv",
                "1,true\n2,false\n",
                "header of p.csv: header is \"1,true\", allowed: a header with offset_seconds",
            ),
            ("p.csv", "offset_seconds,is_success\n1,true\nx,true\n", "p.csv, line 3: offset_seconds is \"x\""),
            (
                "p.csv",
                "offset_seconds,is_success\n-1,true\n",
                "p.csv, line 2: offset_seconds is -1, allowed: a number, 0",
            ),
            ("p.csv", "offset_seconds,is_success\nNaN,true\n", "p.csv, line 2: offset_seconds is NaN"),
            (
                "p.csv",
                "offset_seconds,is_success\n1,maybe\n",
                "p.csv, line 2: is_success is \"maybe\", allowed: true or false",
            ),
            ("p.csv", "offset_seconds,is_success\n1\n", "p.csv, line 2: row is \"1\", allowed: 2 fields"),
        ] {
            let error = read(name, text).expect_err(text);
            assert!(error.contains(message), "{text}\ngives     {error}\nexpected  {message}");
        }
    }

    #[test]
    fn a_scenario_that_is_none_is_named_with_its_place() {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("s.json");
        for (text, message) in [
            ("{\n  \"name\": \"a\",,\n}", "line 2, column 15: FILE is"),
            ("[]", "scenario is [], allowed: a JSON object"),
            ("{\"name\": \"a\"}", "policy_order is missing"),
        ] {
            std::fs::write(&path, text).expect("a file");
            let error = read_scenario(&path.as_path().into()).expect_err(text).to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
