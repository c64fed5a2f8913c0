//! The promises of a mapping.

use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use crate::ingest::testing::{event_of, mapping, read_bytes, rows_of, shared_data};
use crate::ingest::{Error, Mapping, ReadSummary, Source, read};

/// The required fields, one a line, `id` being a column.
const FIELDS: [(&str, &str); 8] = [
    ("event_id", r#"{ column = "id" }"#),
    ("dispatch_id", r#"{ constant = "d" }"#),
    ("timestamp", r#"{ constant = "2026-01-31T08:15:00Z" }"#),
    ("severity", "{ constant = 4 }"),
    ("response_time_minutes", "{ constant = 2.5 }"),
    ("distance_km", "{ constant = 1.0 }"),
    ("region", r#"{ constant = "North" }"#),
    ("unit_type", r#"{ constant = "TRUCK" }"#),
];

/// The text of a mapping in which `field` is had as `how`; a field that is not required comes on line 9.
fn with(field: &str, how: &str) -> String {
    let mut text = String::new();
    let mut replaced = false;
    for (name, usual) in FIELDS {
        replaced |= name == field;
        writeln!(text, "{name} = {}", if name == field { how } else { usual }).expect("memory");
    }
    if replaced { text } else { format!("{text}{field} = {how}\n") }
}

/// Reads the only row of a file, by that mapping.
#[track_caller]
fn read_row(mapping_text: &str, header: &str, row: &str) -> String {
    let rows = rows_of(format!("{header}\n{row}\n").as_bytes(), Some(&mapping(mapping_text)));
    match &rows[0].outcome {
        Ok(event) => serde_json::to_string(event).expect("JSON"),
        Err(rejection) => rejection.to_string(),
    }
}

/// Checks that the event of a row has that member in JSON, or that the row is rejected with that text.
#[track_caller]
fn assert_row(field: &str, how: &str, header: &str, row: &str, expected: &str) {
    let told = read_row(&with(field, how), &format!("id,{header}"), &format!("e,{row}"));
    assert!(told.contains(expected), "{field} = {how}, row {row}:\n{told}\nlacks {expected}");
}

#[track_caller]
fn assert_absent(field: &str, how: &str, header: &str, row: &str) {
    let told = read_row(&with(field, how), &format!("id,{header}"), &format!("e,{row}"));
    assert!(told.starts_with('{') && !told.contains(&format!("\"{field}\":")), "{told}");
}

#[test]
fn a_field_is_a_column_or_a_constant() {
    for (field, column, constant, text, value) in [
        ("dispatch_id", "column = \"x\"", "constant = \"d-1\"", "d-1", r#""d-1""#),
        ("severity", "column = \"x\"", "constant = 3", "3", "3"),
        ("response_time_minutes", "column = \"x\"", "constant = 2", "2", "2.0"),
        ("distance_km", "column = \"x\"", "constant = 0.25", "0.25", "0.25"),
        ("region", "column = \"x\"", "constant = \"B 04\"", " B 04 ", r#""B 04""#),
        ("unit_type", "column = \"x\"", "constant = \"TRUCK\"", "TRUCK", r#""TRUCK""#),
        ("sla_met", "column = \"x\"", "constant = false", "False", "false"),
        ("status", "column = \"x\"", "constant = \"active\"", "active", r#""active""#),
        (
            "timestamp",
            "column = \"x\", pattern = \"%d.%m.%Y %H:%M\", time_zone = \"Europe/Berlin\"",
            "constant = \"2026-07-01T10:00:00+02:00\"",
            "1.7.2026 10:00",
            r#""2026-07-01T08:00:00Z""#,
        ),
    ] {
        let expected = format!("\"{field}\":{value}");
        assert_row(field, &format!("{{ {column} }}"), "x", text, &expected);
        assert_row(field, &format!("{{ {constant} }}"), "x", text, &expected);
    }
}

#[test]
fn a_missing_value_is_another_column_or_a_constant_or_rejects_the_row() {
    let missing = |how: &str, row: &str, expected: &str| {
        let text = format!("missing = [\"None\", \"n/a\"]\n{}", with("region", how));
        let told = read_row(&text, "id,a,b", row);
        assert!(told.contains(expected), "{how}, {row}: {told}");
    };
    let rejected = "line 2, column a: region is missing, allowed: a text";
    for none in ["", "None", "n/a", "  ", " None ", "\"\""] {
        missing(r#"{ column = "a" }"#, &format!("e,{none},B"), rejected);
        missing(r#"{ column = "a", else = { column = "b" } }"#, &format!("e,{none},B"), r#""region":"B""#);
        missing(r#"{ column = "a", else = { column = "b" } }"#, &format!("e,{none},{none}"), rejected);
        missing(r#"{ column = "a", else = { constant = "C" } }"#, &format!("e,{none},B"), r#""region":"C""#);
        let chain = r#"{ column = "a", else = { column = "b", else = { constant = "C" } } }"#;
        missing(chain, &format!("e,{none},{none}"), r#""region":"C""#);
        missing(chain, &format!("e,{none},B"), r#""region":"B""#);
        missing(chain, &format!("e,A,{none}"), r#""region":"A""#);
    }
    missing(r#"{ column = "a" }"#, "e,none,B", r#""region":"none""#);
}

#[test]
fn another_column_has_its_own_pattern_and_zone_and_stands_in_for_nothing_but_missing_values() {
    let how = r#"{ column = "at", pattern = "%m/%d/%Y %I:%M:%S %p", time_zone = "America/Los_Angeles", else = { column = "day", pattern = "%Y-%m-%d", time_zone = "UTC" } }"#;
    for (row, expected) in [
        ("01/11/2002 01:51:44 AM,2002-01-12", r#""2002-01-11T09:51:44Z""#),
        (",2002-01-12", r#""2002-01-12T00:00:00Z""#),
        ("11/05/2017 01:30:00 AM,", r#""2017-11-05T08:30:00Z""#),
        ("03/12/2017 02:30:00 AM,", r#""2017-03-12T10:30:00Z""#),
        (
            "soon,2002-01-12",
            r#"line 2, column at: timestamp is "soon", allowed: a date and time by the pattern %m/%d/%Y"#,
        ),
        (",", "line 2, column at: timestamp is missing"),
    ] {
        assert_row("timestamp", how, "at,day", row, expected);
    }
}

#[test]
fn tables_say_what_each_value_of_a_column_means() {
    let severity = r#"{ column = "p", values = { E = 5, 3 = 4, "Non Emergency" = 1 } }"#;
    assert_row("severity", severity, "p", "E", r#""severity":5"#);
    assert_row("severity", severity, "p", "3", r#""severity":4"#);
    assert_row("severity", severity, "p", "Non Emergency", r#""severity":1"#);
    let told = r#"line 2, column p: severity is "X", allowed: 3, E, Non Emergency"#;
    assert_row("severity", severity, "p", "X", told);
    let status = r#"{ column = "s", values = { open = "active", done = "closed" } }"#;
    assert_row("status", status, "s", "open", r#""status":"active""#);
    assert_row("status", status, "s", "closed", r#"status is "closed", allowed: done, open"#);
}

#[test]
fn the_target_is_met_when_the_response_time_is_not_over_the_allowed_minutes() {
    let text = format!(
        "{}sla_met = {{ column = \"p\", allowed_minutes = {{ E = 5, 3 = 10.5 }} }}\n",
        with("response_time_minutes", r#"{ column = "m" }"#)
    );
    for (row, expected) in [
        ("e,E,5", r#""sla_met":true"#),
        ("e,E,5.01", r#""sla_met":false"#),
        ("e,3,10.5", r#""sla_met":true"#),
        ("e,9,1", r#"column p: sla_met is "9", allowed: 3, E"#),
        ("e,,1", "column p: sla_met is missing"),
    ] {
        let told = read_row(&text, "id,p,m", row);
        assert!(told.contains(expected), "{row}: {told}");
    }
}

#[test]
fn what_an_event_can_be_without_may_be_optional() {
    for field in ["sla_met", "location"] {
        assert_row(field, r#"{ column = "x" }"#, "x", "", "missing");
        assert_absent(field, r#"{ column = "x", optional = true }"#, "x", "");
        assert_row(field, r#"{ column = "x", optional = false }"#, "x", "", "missing");
        assert_row(field, r#"{ column = "x", optional = true }"#, "x", "?", "allowed");
    }
    assert_row("region", r#"{ constant = "N" }"#, "x", "", r#""status":"closed""#);
}

#[test]
fn a_location_is_one_field_or_two() {
    let expected = r#""latitude":37.5,"longitude":-122.25"#;
    let one = r#"{ column = "l" }"#;
    assert_row("location", one, "l", "\"(37.5, -122.25)\"", expected);
    assert_row("location", one, "l", "\"37.5,-122.25\"", expected);
    assert_row("location", one, "l", "37.5", "column l: location is \"37.5\", allowed: latitude, longitude in degrees");
    assert_row("location", r#"{ constant = "37.5, -122.25" }"#, "l", "", expected);
    assert_row("location", r#"{ column = "l", else = { constant = "37.5, -122.25" } }"#, "l", "", expected);

    let two = r#"{ latitude = "a", longitude = "o" }"#;
    assert_row("location", two, "a,o", "37.5,-122.25", expected);
    assert_row("location", two, "o,a", "-122.25,37.5", expected);
    assert_row("location", two, "a,o", "37.5,", "column o: longitude is missing, allowed: a number");
    assert_row("location", two, "a,o", ",1", "column a: latitude is missing, allowed: a number");
    assert_row("location", two, "a,o", ",", "column a: location is missing");
    assert_row("location", two, "a,o", "x,1", "column a: latitude is \"x\", allowed: a number");
}

#[test]
fn two_columns_without_values_may_be_optional_or_have_another_in_their_place() {
    let optional = r#"{ latitude = "a", longitude = "o", optional = true }"#;
    let told = read_row(&with("location", optional), "id,a,o", "e,,");
    assert!(told.starts_with('{') && !told.contains("latitude"), "{told}");
    assert_row("location", optional, "a,o", "1,", "column o: longitude is missing");
    let other = r#"{ latitude = "a", longitude = "o", else = { column = "l" } }"#;
    assert_row("location", other, "a,o,l", ",,\"1, 2\"", r#""latitude":1.0,"longitude":2.0"#);
}

#[test]
fn metadata_is_kept_as_text_and_left_out_where_it_is_missing() {
    let text = format!("missing = [\"None\"]\n{}", with("metadata", r#"["a", "b"]"#));
    let told = read_row(&text, "id,b,a", "e,x,007");
    assert!(told.contains(r#""metadata":{"a":"007","b":"x"}"#), "{told}");
    let told = read_row(&text, "id,b,a", "e,None,");
    assert!(told.starts_with('{') && !told.contains("metadata"), "{told}");
}

#[test]
fn a_bad_mapping_names_line_column_key_value_and_what_is_allowed() {
    const PATTERN: &str = "timestamp.pattern is \"%Q\", allowed: a strftime pattern";
    for (field, how, told) in [
        ("regoin", r#"{ column = "x" }"#, "m:9:1: regoin is an unknown key, allowed: missing, metadata, event_id,"),
        ("region", r#"{ colum = "x" }"#, "m:7:12: region.colum is an unknown key, allowed: column, constant, else"),
        ("region", r#"{ column = 3 }"#, "m:7:21: region.column is 3, allowed: a string"),
        ("region", r#""x""#, "m:7:10: region is \"x\", allowed: a table"),
        ("region", "{}", "m:7:10: region.column is missing, allowed: a column, or a constant"),
        ("region", r#"{ constant = "" }"#, "m:7:23: region.constant is \"\", allowed: 1 to 128 characters"),
        ("region", r#"{ column = "x", constant = "y" }"#, "m:7:37: region.constant is given, allowed: left out beside"),
        (
            "region",
            r#"{ constant = "y", else = { column = "x" } }"#,
            "m:7:35: region.else is given, allowed: left out, a constant is never missing",
        ),
        ("region", r#"{ column = "x", else = {} }"#, "m:7:33: region.else.column is missing"),
        ("event_id", r#"{ constant = "x" }"#, "m:1:12: event_id is a constant, allowed: columns"),
        ("severity", r#"{ constant = 6 }"#, "m:4:25: severity.constant is 6, allowed: 1 to 5"),
        ("severity", r#"{ constant = 1.5 }"#, "m:4:25: severity.constant is 1.5, allowed: an integer"),
        (
            "severity",
            r#"{ column = "x", values = { A = 1, B = 0 } }"#,
            "m:4:50: severity.values.B is 0, allowed: 1 to 5",
        ),
        ("severity", r#"{ column = "x", values = {} }"#, "m:4:37: severity.values is empty, allowed: a value for each"),
        ("severity", r#"{ constant = 1, values = { A = 1 } }"#, "m:4:37: severity.values is given, allowed: left out"),
        (
            "severity",
            r#"{ column = "x", else = { column = "y", values = { A = 9 } } }"#,
            "m:4:66: severity.else.values.A is 9, allowed: 1 to 5",
        ),
        ("status", r#"{ constant = "open" }"#, "m:9:23: status.constant is \"open\", allowed: pending, active, closed"),
        ("status", r#"{ column = "x", values = { A = "x" } }"#, "m:9:41: status.values.A is \"x\", allowed: pending,"),
        ("distance_km", "{ constant = -1 }", "m:6:28: distance_km.constant is -1, allowed: a finite number ≥ 0"),
        ("distance_km", "{ constant = nan }", "m:6:28: distance_km.constant is NaN, allowed: a finite number ≥ 0"),
        ("timestamp", r#"{ column = "x" }"#, "m:3:13: timestamp.pattern is missing, allowed: a pattern such as"),
        ("timestamp", r#"{ column = "x", pattern = "%Q" }"#, &format!("m:3:39: {PATTERN}")),
        (
            "timestamp",
            r#"{ column = "x", pattern = "%m/%d" }"#,
            "m:3:39: timestamp.pattern is \"%m/%d\", allowed: a pattern with year",
        ),
        (
            "timestamp",
            r#"{ column = "x", pattern = "%Y-%m-%d" }"#,
            "m:3:13: timestamp.time_zone is missing, allowed: an IANA time zone, such as America/Los_Angeles",
        ),
        (
            "timestamp",
            r#"{ column = "x", pattern = "%Y-%m-%d", time_zone = "Pacific" }"#,
            "m:3:63: timestamp.time_zone is \"Pacific\", allowed: an IANA time zone, such as America/Los_Angeles",
        ),
        (
            "timestamp",
            r#"{ column = "x", pattern = "%+", time_zone = "UTC" }"#,
            "m:3:57: timestamp.time_zone is given, allowed: left out, since the pattern has the offset",
        ),
        ("timestamp", r#"{ constant = "today" }"#, "m:3:26: timestamp.constant is today, allowed: RFC 3339"),
        (
            "sla_met",
            r#"{ column = "x", allowed_minutes = { E = -5 } }"#,
            "m:9:51: sla_met.allowed_minutes.E is -5, allowed: a finite number ≥ 0",
        ),
        ("sla_met", r#"{ constant = "yes" }"#, "m:9:24: sla_met.constant is \"yes\", allowed: true or false"),
        (
            "sla_met",
            r#"{ column = "x", optional = true, else = { constant = true } }"#,
            "m:9:51: sla_met.else is given, allowed: else or optional",
        ),
        ("location", r#"{ latitude = "x" }"#, "m:9:12: location.longitude is missing, allowed: a column each"),
        ("location", r#"{ constant = "here" }"#, "m:9:25: location.constant is \"here\", allowed: latitude (-90 to"),
        ("location", r#"{ constant = "95, 0" }"#, "m:9:25: location.constant is \"95, 0\", allowed: latitude (-90 to"),
        ("dispatch_id", r#"{ constant = "a/b" }"#, "m:2:28: dispatch_id.constant is \"a/b\", allowed: 1 to 128"),
        (
            "location",
            r#"{ latitude = "x", longitude = "y", column = "z" }"#,
            "m:9:56: location.column is given, allowed: left out beside latitude and longitude",
        ),
        ("metadata", r#"["a", 3]"#, "m:9:18: metadata is 3, allowed: a string"),
        ("x", "= 3", "m:9:5: file is not TOML ("),
    ] {
        let error = Mapping::parse("m", &with(field, how)).expect_err(how);
        assert!(error.to_string().starts_with(told), "{field} = {how}:\n{error}\nis not\n{told}");
        assert!(error.invalid().is_some());
    }
}

#[test]
fn a_required_field_that_is_absent_is_named() {
    for (field, _) in FIELDS {
        let text = with(field, "").replace(&format!("{field} = \n"), "");
        let error = Mapping::parse("m", &text).expect_err(field).to_string();
        assert_eq!(
            error,
            format!("m:1:1: {field} is missing, allowed: a table [{field}] that names a column or a constant")
        );
    }
}

#[test]
fn tables_with_headers_have_their_lines_too() {
    let text = format!(
        "{}\n[sla_met]\ncolumn = \"p\"\n\n[sla_met.allowed_minutes]\nE = 5\nF = -1\n",
        with("status", "{ constant = \"closed\" }")
    );
    let error = Mapping::parse("m", &text).expect_err("a negative time").to_string();
    assert!(error.starts_with("m:16:5: sla_met.allowed_minutes.F is -1, allowed: "), "{error}");
}

#[test]
fn a_mapping_file_that_cannot_be_read_says_why() {
    let directory = tempfile::tempdir().expect("a directory");
    let missing = Mapping::load(&directory.path().join("none.toml")).expect_err("no file");
    assert_eq!(missing.invalid().expect("invalid").field, "mapping");
    assert!(matches!(Mapping::load(directory.path()), Err(Error::NotAFile { field: "mapping", .. })));
    // Its first page is never mapped, so that reading it fails, even for root.
    assert!(matches!(Mapping::load("/proc/self/mem".as_ref()), Err(Error::Unreadable { .. })));
    let path = directory.path().join("latin.toml");
    std::fs::write(&path, b"# ok\nevent_id = { column = \"\xE4\" }\n").expect("a file");
    let error = Mapping::load(&path).expect_err("not UTF-8").to_string();
    assert!(error.ends_with("latin.toml:2:24: file is not UTF-8, allowed: UTF-8"), "{error}");
}

fn example() -> Mapping {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/sf-fire-calls.toml");
    Mapping::load(&path).expect("the example")
}

#[test]
fn the_example_reads_a_real_row() {
    let file = concat!(
        "CallNumber,UnitID,IncidentNumber,CallType,CallDate,WatchDate,CallFinalDisposition,AvailableDtTm,Address,City,",
        "Zipcode,Battalion,StationArea,Box,OriginalPriority,Priority,FinalPriority,ALSUnit,CallTypeGroup,NumAlarms,",
        "UnitType,UnitSequenceInCallDispatch,FirePreventionDistrict,SupervisorDistrict,Neighborhood,Location,RowID,Delay\n",
        "20110016,T13,2003235,Structure Fire,01/11/2002,01/10/2002,Other,01/11/2002 01:51:44 AM,2000 Block of CALIFORNIA ",
        "ST,SF,94109,B04,38,3362,3,3,3,false,,1,TRUCK,2,4,5,Pacific Heights,\"(37.7895840679362, -122.428071912459)\",",
        "020110016-T13,2.95\n",
    );
    let rows = rows_of(file.as_bytes(), Some(&example()));
    let event = event_of(&rows);
    event.check().expect("in range");
    assert_eq!(
        serde_json::to_value(event).expect("JSON"),
        serde_json::json!({
            "event_id": "020110016-T13", "org_id": "sffd", "dispatch_id": "20110016",
            "timestamp": "2002-01-11T09:51:44Z", "severity": 4, "response_time_minutes": 2.95, "distance_km": 0.0,
            "region": "B04", "unit_type": "TRUCK", "sla_met": true,
            "latitude": 37.7895840679362, "longitude": -122.428071912459, "status": "closed",
        })
    );
}

#[test]
fn every_row_of_the_extract_is_an_event() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/sf-fire-calls-extract.csv");
    let (rows, end) = read_bytes(&std::fs::read(path).expect("the extract"), Some(&example()));
    assert_eq!(end.expect("a good file"), ReadSummary { rows: 4000, rejected: 0, stopped: false });
    assert!(rows.iter().all(|row| row.outcome.as_ref().is_ok_and(|event| event.check().is_ok())));
}

#[test]
fn the_whole_file_agrees_with_the_reference_figures() {
    let Some(path) = shared_data("sf-fire-calls.csv.gz") else { return };
    let reference = shared_data("sf-fire-calls.reference.json").expect("beside the data");
    let reference = std::fs::read_to_string(reference).expect("the reference");
    let reference: serde_json::Value = serde_json::from_str(&reference).expect("JSON");

    let (mapping, org) = (example(), "sffd".parse().expect("an org"));
    let mut by_severity = [0_u64; 6];
    let (mut met, mut refused) = (0, 0);
    let summary = read(&Source::from(path.as_path()), &org, Some(&mapping), &AtomicU64::new(0), &mut |row| {
        match row.outcome {
            Ok(event) if event.check().is_ok() => {
                by_severity[event.severity as usize] += 1;
                met += u64::from(event.sla_met());
            }
            _ => refused += 1,
        }
        ControlFlow::Continue(())
    });
    assert_eq!(summary.expect("a good file"), ReadSummary { rows: 175_296, rejected: 0, stopped: false });
    assert_eq!((refused, reference["rows"].as_u64()), (0, Some(175_296)));
    assert_eq!(reference["overall"]["sla_met"], met);
    for (severity, count) in by_severity.into_iter().enumerate().skip(1) {
        let priority = (6 - severity).to_string();
        assert_eq!(reference["by_priority"][&priority]["count"], count, "priority {priority}");
    }
}

#[test]
fn unit_and_times_are_kept_in_the_metadata_and_may_be_missing() {
    let pattern = r#"pattern = "%Y-%m-%d %H:%M:%S", time_zone = "Europe/Berlin""#;
    let text = |times: &str| format!("{}\n[times]\n{times}\n", with("unit_id", r#"{ column = "unit" }"#));
    let mapped = text(&format!(
        "dispatched_at = {{ column = \"sent\", {pattern} }}\narrived_at = {{ column = \"there\", {pattern} }}"
    ));
    let told = read_row(&mapped, "id,unit,sent,there", "e,E01,2026-07-01 10:00:00,2026-07-01 10:04:30");
    let metadata =
        r#""metadata":{"unit_id":"E01","dispatched_at":"2026-07-01T08:00:00Z","arrived_at":"2026-07-01T08:04:30Z"}"#;
    let sorted =
        r#""metadata":{"arrived_at":"2026-07-01T08:04:30Z","dispatched_at":"2026-07-01T08:00:00Z","unit_id":"E01"}"#;
    assert!(told.contains(metadata) || told.contains(sorted), "{told}");
    let told = read_row(&mapped, "id,unit,sent,there", "e,,,");
    assert!(told.starts_with('{') && !told.contains("metadata"), "{told}");
    let told = read_row(&mapped, "id,unit,sent,there", "e,E01,yesterday,");
    assert!(told.contains("dispatched_at") && told.contains("sent"), "{told}");
    let refused = Mapping::parse("m.toml", &text("left_at = { column = \"x\" }")).expect_err("no such moment");
    assert!(refused.to_string().contains("times"), "{refused}");
}
