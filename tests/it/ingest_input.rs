//! Bad input: each fault is told with its place, field, value and what is allowed, and costs nothing but itself.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::{Home, Ran, dispatch_json, dispatches_ndjson};

const MAPPING: &str = r#"
event_id = { column = "id" }
dispatch_id = { column = "id" }
timestamp = { column = "at", pattern = "%Y-%m-%d %H:%M:%S", time_zone = "UTC" }
severity = { column = "severity" }
response_time_minutes = { column = "minutes" }
distance_km = { constant = 0.0 }
region = { column = "region" }
unit_type = { constant = "TRUCK" }
"#;
const HEADER: &str = "id,at,severity,minutes,region\n";

fn csv(rows: &[&str]) -> String {
    format!("{HEADER}{}", rows.iter().map(|row| format!("{row}\n")).collect::<String>())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn home_with_mapping() -> Home {
    let home = Home::new();
    home.file("m.toml", MAPPING);
    home
}

fn ingest_csv(home: &Home, more: &[&str]) -> Ran {
    home.run(&[&["ingest", "--org", "sffd", "--mapping", "m.toml"], more].concat())
}

/// How many dispatches are counted, by asking.
#[track_caller]
fn counted(home: &Home) -> u64 {
    let args = ["metric", "--org", "sffd", "--metric", "dispatch_count", "--window", "all", "--agg", "count"];
    let answer = home.run(&[&args[..], &["--start", "1900-01-01T00:00:00Z", "--end", "latest"]].concat()).document();
    answer[0]["sample_count"].as_u64().unwrap_or_else(|| panic!("{answer}"))
}

/// Counts of a summary: accepted, duplicates, then rejected as invalid, in_future, too_late.
#[track_caller]
fn counts(summary: &Value) -> [u64; 5] {
    let reasons = &summary["rejected_reasons"];
    let counts = [
        &summary["accepted"],
        &summary["duplicates"],
        &reasons["invalid"],
        &reasons["in_future"],
        &reasons["too_late"],
    ]
    .map(|count| count.as_u64().unwrap_or_else(|| panic!("{summary}")));
    assert_eq!(summary["rejected"].as_u64(), Some(counts[2..].iter().sum()), "{summary}");
    assert_eq!(summary["read"].as_u64(), Some(counts.iter().sum()), "{summary}");
    counts
}

#[track_caller]
fn rejects(home: &Home, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(home.path(name)).expect("the file of rejects");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn bad_rows_are_told_and_good_rows_of_the_same_file_are_kept() {
    let home = home_with_mapping();
    let mut bytes = csv(&[
        "good-1,2026-01-31 12:00:00,4,2.5,B01",
        "nan,2026-01-31 12:00:00,4,NaN,B01",
        "inf,2026-01-31 12:00:00,4,inf,B01",
        "negative,2026-01-31 12:00:00,4,-0.5,B01",
        "severity-0,2026-01-31 12:00:00,0,2.5,B01",
        "severity-6,2026-01-31 12:00:00,6,2.5,B01",
        "text,2026-01-31 12:00:00,4,soon,B01",
        "time,31.1.2026,4,2.5,B01",
        "future,2099-01-01 00:00:00,4,2.5,B01",
        "late,2026-01-30 11:58:59,4,2.5,B01",
        "region,2026-01-31 12:00:00,4,2.5,",
        "short,2026-01-31 12:00:00,4",
        "a/b,2026-01-31 12:00:00,4,2.5,B01",
        "good-1,2026-01-31 12:00:00,4,2.5,B01",
    ])
    .into_bytes();
    bytes.extend_from_slice(b"utf8-\xFF,2026-01-31 12:00:00,4,2.5,B01\n");
    bytes.extend_from_slice(b"good-2,2026-01-31 12:00:30,4,3.5,B01\n");
    let file = home.file("bad.csv", bytes);
    let ran = ingest_csv(&home, &["--rejects", "rejects.ndjson", &file]);
    assert_eq!(counts(&ran.document()), [2, 1, 11, 1, 1]);
    assert_eq!(counted(&home), 2);
    // Exactly the accepted ones were journaled.
    assert_eq!(home.stat()["events"], 2);

    let mut told: Vec<String> = rejects(&home, "rejects.ndjson")
        .iter()
        .map(|reject| {
            let text = |name: &str| reject[name].as_str().unwrap_or("-").to_owned();
            assert!(!text("allowed").is_empty(), "{reject}");
            assert!(!text("row").is_empty() && text("row") != "-", "{reject}");
            format!("{} {} {} {} {}", reject["line"], text("reason"), text("column"), text("field"), text("value"))
        })
        .collect();
    told.sort_by_key(|line| line.split(' ').next().and_then(|line| line.parse::<u64>().ok()));
    assert_eq!(
        told,
        [
            "3 invalid minutes response_time_minutes NaN",
            "4 invalid minutes response_time_minutes inf",
            "5 invalid minutes response_time_minutes -0.5",
            "6 invalid severity severity 0",
            "7 invalid severity severity 6",
            "8 invalid minutes response_time_minutes \"soon\"",
            "9 invalid at timestamp \"31.1.2026\"",
            "10 in_future at timestamp 2099-01-01T00:00:00Z",
            "11 too_late at timestamp 2026-01-30T11:58:59Z",
            "12 invalid region region missing",
            "13 invalid - row 3 fields",
            "14 invalid id event_id \"a/b\"",
            "16 invalid id event_id \"utf8-\u{FFFD}\"",
        ]
    );
    // The first few are told at once, the rest by reference.
    let told = format!(
        "rejected (invalid): {file}, line 8, column minutes: response_time_minutes is \"soon\", allowed: a number"
    );
    assert!(ran.stderr.contains(&told), "{ran}");
    assert!(ran.stderr.contains("--rejects"), "{ran}");
}

#[test]
fn rejected_input_leaves_the_journal_as_it_was() {
    let home = home_with_mapping();
    let good = home.file("good.csv", csv(&["good,2026-01-31 12:00:00,4,2.5,B01"]));
    ingest_csv(&home, &[&good]).document();
    let before = home.stat();
    let bad = home.file(
        "bad.csv",
        csv(&[
            "a,2026-01-31 12:00:00,9,2.5,B01",
            "b,2099-01-31 12:00:00,4,2.5,B01",
            "c,2026-01-30 11:00:00,4,2.5,B01",
            "good,2026-01-31 12:00:00,4,2.5,B01",
        ]),
    );
    assert_eq!(counts(&ingest_csv(&home, &[&bad]).document()), [0, 1, 1, 1, 1]);
    let after = home.stat();
    for name in ["events", "head_position", "head_hash", "blocks"] {
        assert_eq!(after[name], before[name], "{name}");
    }
}

#[test]
fn files_that_cannot_be_read_are_told_by_name() {
    let home = home_with_mapping();
    let error = ingest_csv(&home, &["nowhere.csv"]).invalid("FILE", "nowhere.csv");
    assert!(error["message"].as_str().is_some_and(|message| message.contains("does not exist")), "{error}");
    std::fs::create_dir(home.path("dir")).expect("a directory");
    let error = ingest_csv(&home, &["dir"]).invalid("FILE", "dir (a directory)");
    assert_eq!(error["allowed"], "a file");
    home.run(&["ingest", "--org", "sffd", "--mapping", "nowhere.toml", "-"]).invalid("mapping", "nowhere.toml");
    let file = home.file("good.csv", csv(&["good,2026-01-31 12:00:00,4,2.5,B01"]));
    let error = ingest_csv(&home, &["--rejects", "no/such/dir", &file]).invalid("rejects", "no/such/dir");
    assert!(error["allowed"].as_str().is_some_and(|allowed| allowed.contains("can be written")), "{error}");
    for empty in [home.file("empty", ""), home.file("empty.gz", gzip(b""))] {
        let error = ingest_csv(&home, &[&empty]).error(2, "invalid");
        assert_eq!(error["field"], "FILE");
        assert!(error["value"].as_str().is_some_and(|value| value.contains(&empty)), "{error}");
        home.run(&["ingest", "--org", "sffd", &empty]).error(2, "invalid");
    }
}

#[test]
fn damaged_gzip_is_told_and_the_rows_before_the_damage_are_kept() {
    let home = home_with_mapping();
    // Numbers that do not compress, so that the damage lies behind many rows.
    let number = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let rows: Vec<String> = (0..5_000).map(|n| format!("{}-{n},2026-01-31 12:00:00,4,2.5,B01", number(n))).collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    let whole = gzip(csv(&rows).as_bytes());

    let garbage = home.file("garbage.gz", b"\x1f\x8bthis is no gzip at all");
    let error = ingest_csv(&home, &[&garbage]).error(2, "invalid");
    assert_eq!([&error["field"], &error["allowed"]], [&json!("FILE"), &json!("a whole gzip file")]);
    assert_eq!(counted(&home), 0);

    let truncated = home.file("truncated.gz", &whole[..whole.len() / 2]);
    let ran = ingest_csv(&home, &[&truncated]);
    let error = ran.error(2, "invalid");
    assert_eq!([&error["field"], &error["allowed"]], [&json!("FILE"), &json!("a whole gzip file")]);
    assert!(error["value"].as_str().is_some_and(|value| value.contains("truncated.gz")), "{error}");
    let kept = counted(&home);
    assert!((1_000..5_000).contains(&kept), "{kept}");
    assert!(ran.stderr.contains(&format!("accepted {kept}")), "{ran}");

    let mut flipped = whole.clone();
    let middle = flipped.len() * 3 / 4;
    flipped[middle] ^= 0x55;
    let flipped = home.file("flipped.gz", flipped);
    ingest_csv(&home, &[&flipped]).error(2, "invalid");
    // Whatever the damaged bytes were unpacked to before it was noticed, the whole file fills in the rest.
    let whole = home.file("whole.gz", whole);
    let summary = ingest_csv(&home, &[&whole]).document();
    let [accepted, duplicates, ..] = counts(&summary);
    assert_eq!(accepted + duplicates, 5_000);
    assert!(duplicates >= kept, "{summary}");
}

#[test]
fn a_missing_column_names_it_and_those_there_are() {
    let home = home_with_mapping();
    let file = home.file("other.csv", "id,when,severity,minutes,region\na,2026-01-31 12:00:00,4,2.5,B01\n");
    let error = ingest_csv(&home, &[&file]).error(2, "invalid");
    assert_eq!(error["value"], "missing");
    for (member, word) in
        [("field", "at"), ("allowed", "id, when, severity, minutes, region"), ("message", "other.csv")]
    {
        assert!(error[member].as_str().is_some_and(|text| text.contains(word)), "{member}: {error}");
    }
    assert_eq!(counted(&home), 0);
}

#[test]
fn a_bad_mapping_names_its_line_key_value_and_what_is_allowed() {
    let home = Home::new();
    let file = home.file("good.csv", csv(&["good,2026-01-31 12:00:00,4,2.5,B01"]));
    for (from, to, field) in [
        ("severity = ", "severitty = ", "severitty"),
        ("region = { column = \"region\" }\n", "", "region"),
        ("\"UTC\"", "\"Mars/Olympus\"", "time_zone"),
        ("constant = 0.0", "constant = -1.0", "distance_km"),
        ("{ column = \"minutes\" }", "{ column = 7 }", "response_time_minutes"),
        ("{ column = \"minutes\" }", "{ colum = \"minutes\" }", "response_time_minutes"),
    ] {
        let text = MAPPING.replace(from, to);
        assert_ne!(text, MAPPING, "{from}");
        home.file("m.toml", text);
        let error = ingest_csv(&home, &[&file]).error(2, "invalid");
        assert!(error["field"].as_str().is_some_and(|name| name.contains(field)), "{field}: {error}");
        assert!(error["allowed"].as_str().is_some_and(|allowed| !allowed.is_empty()), "{error}");
        assert!(error["message"].as_str().is_some_and(|message| message.contains("m.toml:")), "{error}");
    }
    home.file("m.toml", "this is no TOML");
    let error = ingest_csv(&home, &[&file]).error(2, "invalid");
    assert!(error["message"].as_str().is_some_and(|message| message.contains("m.toml:1:")), "{error}");
    assert!(!home.data().exists(), "a mapping is checked before anything is opened");
}

#[test]
fn ndjson_lines_are_checked_one_by_one() {
    let home = Home::new();
    let good = |id: &str| dispatch_json(id, "2026-01-31T12:00:00Z", json!({})).to_string();
    let with = |changes: Value| dispatch_json("bad", "2026-01-31T12:00:00Z", changes).to_string();
    let mut without_org = dispatch_json("no-org", "2026-01-31T12:00:00Z", json!({}));
    without_org.as_object_mut().expect("an object").remove("org_id");
    let lines = [
        good("a"),
        with(json!({ "org_id": "other" })),
        with(json!({ "severity": 0 })),
        with(json!({ "severity": 4.5 })),
        with(json!({ "response_time_minutes": -1 })),
        good("x").replace("2.5", "NaN"),
        with(json!({ "distance_km": "far" })),
        with(json!({ "timestamp": "2026-01-31 12:00:00" })),
        with(json!({ "timestamp": "2099-01-31T12:00:00Z" })),
        with(json!({ "status": "open" })),
        with(json!({ "latitude": 91.0, "longitude": 0.0 })),
        with(json!({ "latitude": 9.0 })),
        with(json!({ "unit_type": "\u{7}" })),
        "[]".to_owned(),
        "{\"event_id\":".to_owned(),
        without_org.to_string(),
        good("a"),
    ];
    let mut input = lines.join("\n").into_bytes();
    input.extend_from_slice(b"\n{\"event_id\":\"\xFF\"}\n");
    input.extend_from_slice(good("last").as_bytes());
    let ran = home.run_with(&["ingest", "--org", "sffd", "--rejects", "rejects.ndjson", "-"], &input);
    assert_eq!(counts(&ran.document()), [3, 1, 14, 1, 0]);
    assert_eq!((counted(&home), home.stat()["events"].as_u64()), (3, Some(3)));
    let mut told: Vec<(u64, String)> = rejects(&home, "rejects.ndjson")
        .iter()
        .map(|reject| (reject["line"].as_u64().expect("a line"), reject["field"].as_str().expect("a field").to_owned()))
        .collect();
    told.sort_unstable();
    let expected = [
        (2, "org_id"),
        (3, "severity"),
        (4, "severity"),
        (5, "response_time_minutes"),
        (6, "event"),
        (7, "distance_km"),
        (8, "timestamp"),
        (9, "timestamp"),
        (10, "status"),
        (11, "latitude"),
        (12, "longitude"),
        (13, "unit_type"),
        (14, "event"),
        (15, "event"),
        (18, "event"),
    ];
    assert_eq!(told, expected.map(|(line, field)| (line, field.to_owned())));
    let other = &rejects(&home, "rejects.ndjson")[0];
    assert_eq!([&other["reason"], &other["value"]], [&json!("invalid"), &json!("\"other\"")]);
    assert!(other["allowed"].as_str().is_some_and(|allowed| allowed.contains("sffd")), "{other}");
    assert!(other["row"].as_str().is_some_and(|row| row.contains("\"other\"")), "{other}");
}

#[test]
fn several_files_and_standard_input_add_up() {
    let home = Home::new();
    let plain = home.file("a.ndjson", dispatches_ndjson("a", 3));
    let packed = home.file("b.ndjson.gz", gzip(dispatches_ndjson("b", 4).as_bytes()));
    let args = ["ingest", "--org", "sffd", &plain, "-", &packed, &plain];
    let summary = home.run_with(&args, dispatches_ndjson("c", 5).as_bytes()).document();
    assert_eq!(counts(&summary), [12, 3, 0, 0, 0]);
    let packed_stdin = gzip(dispatches_ndjson("d", 2).as_bytes());
    assert_eq!(counts(&home.run_with(&["ingest", "--org", "sffd", "-"], &packed_stdin).document()), [2, 0, 0, 0, 0]);
    assert_eq!(counted(&home), 14);
    // Rejected rows say which of the files they are in.
    let bad = home.file("bad.ndjson", format!("{}nonsense\n", dispatches_ndjson("a", 1)));
    home.run_with(&["ingest", "--org", "sffd", "--rejects", "r.ndjson", &bad, "-"], b"\n\nnonsense\n").document();
    let told: Vec<_> =
        rejects(&home, "r.ndjson").iter().map(|reject| json!([reject["file"], reject["line"]])).collect();
    assert_eq!(told, [json!([bad, 2]), json!(["standard input", 3])]);
    // A file that is not there is missed before anything is counted.
    let more = home.file("e.ndjson", dispatches_ndjson("e", 2));
    home.run(&["ingest", "--org", "sffd", &more, "nowhere", &plain]).invalid("FILE", "nowhere");
    assert_eq!(counted(&home), 14);
    // What comes before one that fails on the way is kept, and told.
    let mut cut = gzip(dispatches_ndjson("f", 2_000).as_bytes());
    cut.truncate(cut.len() - 10);
    let cut = home.file("f.gz", cut);
    let ran = home.run(&["ingest", "--org", "sffd", &more, &cut]);
    ran.error(2, "invalid");
    assert!(ran.stderr.contains("before the failure: read"), "{ran}");
    assert!(counted(&home) >= 16, "{}", counted(&home));
}

/// A mistyped file name once shortened the retention, and with it forgot data.
#[test]
fn what_is_refused_changes_neither_retention_nor_files() {
    let home = home_with_mapping();
    let args = ["ingest", "--org", "sffd", "--retention-hours", "1"];
    home.run(&[&args[..], &["nowhere.ndjson"]].concat()).invalid("FILE", "nowhere.ndjson");
    let no_column = home.file("short.csv", "id,at\n1,2\n");
    home.run(&[&args[..], &["--mapping", "m.toml", &no_column]].concat()).error(2, "invalid");
    assert!(!home.data().exists(), "not even a journal was made");
    let bad_rows = home.file("bad.ndjson", "nonsense\n{}\n");
    home.run(&[&args[..], &[&bad_rows]].concat()).document();
    assert_eq!(home.stat()["events"], 0, "no good row, no new retention");

    let input = home.file("good.ndjson", dispatches_ndjson("a", 3));
    home.run(&["ingest", "--org", "sffd", "--rejects", &input, &input]).error(2, "invalid");
    assert_eq!(std::fs::read_to_string(&input).expect("still there"), dispatches_ndjson("a", 3));
}

/// A parser that saves a digit stored other numbers than were sent, and CSV and NDJSON gave different answers.
#[test]
fn a_number_is_kept_to_the_last_bit() {
    let home = home_with_mapping();
    let mut state = 7u64;
    let numbers: Vec<f64> = (0..500)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1u64 << 50) as f64
        })
        .chain([0.9250672021084733])
        .collect();
    let lines: Vec<String> = numbers
        .iter()
        .enumerate()
        .map(|(index, number)| {
            let mut dispatch = json!({
                "event_id": format!("e-{index}"), "dispatch_id": "d", "timestamp": "2026-01-31T12:00:00Z", "severity": 4,
                "response_time_minutes": 1, "distance_km": 1, "region": "N", "unit_type": "T",
            });
            dispatch["response_time_minutes"] = json!(number);
            dispatch.to_string()
        })
        .collect();
    home.ingest(&lines.join("\n"));
    let stored: Vec<f64> = home
        .run(&["journal", "replay", "--stream", "dispatch/sffd", "--from", "2"])
        .lines()
        .iter()
        .map(|entry| entry["payload"]["response_time_minutes"].as_f64().expect("a number"))
        .collect();
    assert_eq!(stored, numbers);
}

#[test]
fn bad_retention_is_refused_and_changes_nothing() {
    let home = Home::new();
    for value in ["-1", "many", "1.5", "99999999999", "87660001"] {
        let option = format!("--retention-hours={value}");
        home.run_with(&["ingest", "--org", "sffd", &option, "-"], dispatches_ndjson("a", 1).as_bytes())
            .invalid("retention_hours", value);
    }
    // At once: neither a good row nor a file that is there is needed to hear of it.
    home.run(&["ingest", "--org", "sffd", "--retention-hours", "87660001", "nowhere"])
        .invalid("retention_hours", "87660001");
    assert!(!home.data().exists(), "not even a journal was made");
}

#[test]
fn retention_stays_the_orgs_until_it_is_changed() {
    let home = Home::new();
    let events = |from: &str| -> String {
        ["2026-01-20T12:00:00Z", "2026-01-31T12:00:00Z"]
            .iter()
            .enumerate()
            .map(|(n, at)| format!("{}\n", dispatch_json(&format!("{from}-{n}"), at, json!({}))))
            .rev()
            .collect()
    };
    let ingest = |org: &str, more: &[&str], prefix: &str| {
        let lines = events(prefix).replace("\"sffd\"", &format!("\"{org}\""));
        counts(&home.run_with(&[&["ingest", "--org", org], more, &["-"]].concat(), lines.as_bytes()).document())
    };
    assert_eq!(ingest("sffd", &[], "a"), [1, 0, 0, 0, 1], "24 hours when nothing was said");
    assert_eq!(ingest("sffd", &["--retention-hours", "0"], "b"), [2, 0, 0, 0, 0]);
    assert_eq!(ingest("sffd", &[], "c"), [2, 0, 0, 0, 0], "it stays for ever");
    assert_eq!(ingest("other", &[], "a"), [1, 0, 0, 0, 1], "of that org only");
    assert_eq!(counted(&home), 5);
    assert_eq!(ingest("sffd", &["--retention-hours", "24"], "d"), [1, 0, 0, 0, 1]);
    assert_eq!(counted(&home), 4, "what lies before the new span is forgotten");
    assert_eq!(ingest("sffd", &["--retention-hours", "24"], "e"), [1, 0, 0, 0, 1]);
    let changes: Vec<Value> = home
        .run(&["audit", "--org", "sffd"])
        .lines()
        .into_iter()
        .filter(|entry| entry["type"] == "retention-set")
        .collect();
    let hours: Vec<_> = changes.iter().map(|entry| entry["payload"]["hours"].as_u64().expect("hours")).collect();
    assert_eq!(hours, [0, 24], "each change is an event, and what changes nothing is none");
}

/// Looking at a pipe before reading it would take away its beginning, as of `ingest <(zcat FILE)`.
#[test]
fn a_pipe_that_is_named_like_a_file_is_read_from_its_beginning() {
    let home = Home::new();
    let ran = home.run_with(&["ingest", "--org", "sffd", "/dev/stdin"], dispatches_ndjson("p", 5).as_bytes());
    assert_eq!(counts(&ran.document()), [5, 0, 0, 0, 0]);
}
