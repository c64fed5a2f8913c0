//! NDJSON: one dispatch event a line, blank lines skipped.

use ionveil_actors::dispatch::DispatchEvent;
use ionveil_actors::domain::OrgId;
use ionveil_actors::error::Invalid;
use serde_json::Value;

use super::error::{Error, FieldError};
use super::lines::Line;
use super::reader::{Job, ROW_BYTES_MAX};

pub(super) fn read(job: &mut Job<'_>) -> Result<(), Error> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let outcome = match job.lines.read(&mut line).map_err(|source| job.packing.error(job.name, source))? {
            Line::End if job.lines.number() == 0 => {
                return Err(Error::Empty { name: job.name.to_owned(), allowed: "a JSON object a line" });
            }
            Line::End => return Ok(()),
            Line::Whole if line.trim_ascii().is_empty() => continue,
            Line::Whole => event(&line, job.org),
            Line::TooLong => {
                Err(Invalid::new("event", "a longer line", format!("a line of up to {ROW_BYTES_MAX} bytes")).into())
            }
        };
        if job.out.row(job.lines.number(), outcome, &line).is_break() {
            return Ok(());
        }
    }
}

fn event(line: &[u8], org: &OrgId) -> Result<DispatchEvent, FieldError> {
    let mut value: Value = serde_json::from_slice(line.trim_ascii()).map_err(|error| {
        // Within one line the parser's line is always 1, and would be taken for the file's.
        let reason = error.to_string().replacen(" at line 1 column ", " at column ", 1);
        Invalid::new("event", format_args!("not JSON ({reason})"), "a JSON object on one line")
    })?;
    if let Value::Object(object) = &mut value {
        match object.get("org_id") {
            None | Some(Value::Null) => {
                object.insert("org_id".to_owned(), Value::from(org.as_str()));
            }
            Some(Value::String(given)) if given != org.as_str() => {
                return Err(Invalid::new("org_id", format_args!("{given:?}"), format!("{org}, or left out")).into());
            }
            Some(_) => {} // the right one, or no string, which the next step refuses
        }
    }
    Ok(DispatchEvent::from_json(&value)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::testing::{event_of, read_bytes, rows_of, told};

    const EVENT: &str = r#"{"event_id":"a","dispatch_id":"d","timestamp":"2026-01-31T08:15:00Z","severity":4,"response_time_minutes":2.5,"distance_km":1,"region":"N","unit_type":"TRUCK"}"#;

    fn with(member: &str) -> String {
        EVENT.replacen('{', &format!("{{{member},"), 1)
    }

    #[track_caller]
    fn assert_told(file: &str, expected: &[&str]) {
        assert_eq!(told(&rows_of(file.as_bytes(), None)), expected, "{file:?}");
    }

    #[test]
    fn an_event_a_line_blank_lines_skipped() {
        assert_told(&format!("{EVENT}\n"), &["line 1: a"]);
        assert_told(EVENT, &["line 1: a"]);
        assert_told(&format!("\u{FEFF}{EVENT}\r\n\r\n  \n{EVENT}"), &["line 1: a", "line 4: a"]);
        assert_told("\n", &[]);
        let event = rows_of(
            with(r#""latitude":1,"longitude":2,"status":"active","metadata":{"k":1},"more":0"#).as_bytes(),
            None,
        );
        let event = event_of(&event);
        assert_eq!((event.latitude, event.longitude, event.status.as_str()), (Some(1.0), Some(2.0), "active"));
        assert_eq!(event.metadata["k"], 1);
    }

    #[test]
    fn the_org_may_be_left_out_but_not_be_another() {
        for line in [EVENT.to_owned(), with(r#""org_id":null"#), with(r#""org_id":"sffd""#)] {
            assert_eq!(event_of(&rows_of(line.as_bytes(), None)).org_id.as_str(), "sffd");
        }
        assert_told(
            &format!("{}\n{}\n{EVENT}\n", with(r#""org_id":"other""#), with(r#""org_id":7"#)),
            &[
                "line 1: org_id is \"other\", allowed: sffd, or left out",
                "line 2: org_id is 7, allowed: a string",
                "line 3: a",
            ],
        );
    }

    #[test]
    fn a_line_that_is_no_event_is_rejected_alone() {
        assert_told(
            &format!(
                "{{\"event_id\":\n[]\n{}\n{}\n{EVENT}\n",
                EVENT.replace("4", "\"4\""),
                EVENT.replace("\"region\"", "\"r\"")
            ),
            &[
                "line 1: event is not JSON (EOF while parsing a value at column 12), allowed: a JSON object on one line",
                "line 2: event is [], allowed: a JSON object",
                "line 3: severity is \"4\", allowed: an integer, 1 to 5 (5 is worst)",
                "line 4: region is missing, allowed: a string",
                "line 5: a",
            ],
        );
        let rows = rows_of(b"{\"event_id\":\"\xFF\"}\n", None);
        assert_eq!(rows[0].raw, "{\"event_id\":\"\u{FFFD}\"}");
    }

    #[test]
    fn a_line_beyond_the_limit_is_rejected_and_reading_goes_on() {
        let fits = format!("{}{EVENT}\n", " ".repeat(ROW_BYTES_MAX - EVENT.len() - 1));
        let long = format!("{{\"event_id\":\"{}\"}}\n", "x".repeat(2 * ROW_BYTES_MAX));
        let rows = rows_of(format!("{fits}{long}{EVENT}").as_bytes(), None);
        assert_eq!(
            told(&rows),
            ["line 1: a", "line 2: event is a longer line, allowed: a line of up to 16777216 bytes", "line 3: a"]
        );
        assert_eq!(rows[1].raw.len(), 4096);
    }

    #[test]
    fn a_file_without_bytes_is_refused() {
        let error = read_bytes(b"", None).1.expect_err("no bytes");
        assert_eq!(error.to_string(), "file in is empty, allowed: a JSON object a line");
    }
}
