//! What `export` hands to other tools, and what those say to it.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Home, Ran, dispatch_json, keys};

/// Dispatches in a region whose name needs every kind of escape, and one that is still open.
fn home() -> Home {
    let home = Home::new();
    let changes = |minutes: f64| json!({ "region": "north, \"east\" \\", "response_time_minutes": minutes });
    let events = [
        dispatch_json("a", "2026-01-31T12:00:30Z", changes(1.0)),
        dispatch_json("b", "2026-01-31T12:30:30Z", changes(2.0)),
        dispatch_json("c", "2026-01-31T12:31:00Z", json!({ "status": "active" })),
    ];
    home.ingest(&events.map(|event| format!("{event}\n")).concat());
    home
}

const METRICS: [&str; 15] = [
    "export",
    "metrics",
    "--org",
    "sffd",
    "--metric",
    "response_time",
    "--metric",
    "distance",
    "--agg",
    "avg",
    "--agg",
    "max",
    "--window",
    "1h",
    "--format",
];
const SPAN: [&str; 4] = ["--start", "2026-01-31T11:00:00Z", "--end", "2026-01-31T14:00:00Z"];

#[test]
fn metrics_are_rows_of_csv_or_lines_of_json() {
    let home = home();
    let csv = home.run_for_people(&[&METRICS[..], &["csv"], &SPAN].concat());
    let expected = "\
metric_name,aggregation,window_start,window_end,region,severity,unit_type,value,sample_count,exact
response_time,avg,2026-01-31T12:00:00Z,2026-01-31T13:00:00Z,,,,1.5,2,true
response_time,max,2026-01-31T12:00:00Z,2026-01-31T13:00:00Z,,,,2.0,2,true
distance,avg,2026-01-31T12:00:00Z,2026-01-31T13:00:00Z,,,,1.25,2,true
distance,max,2026-01-31T12:00:00Z,2026-01-31T13:00:00Z,,,,1.25,2,true
";
    assert_eq!((csv.code, csv.stdout.as_str()), (0, expected), "{csv}");

    let lines = home.run_for_people(&[&METRICS[..], &["jsonl", "--include-empty"], &SPAN].concat()).lines();
    let asked = ["metric", "--org", "sffd", "--metric", "response_time", "--agg", "avg", "--window", "1h"];
    let answer = home.run(&[&asked[..], &["--include-empty"], &SPAN].concat()).document();
    assert_eq!(lines.len(), 12);
    assert_eq!(Value::from(&lines[..3]), answer);
}

#[test]
fn with_json_the_data_goes_to_a_file_and_one_document_says_so() {
    let home = home();
    let file = home.path("rows.csv");
    let to = file.to_str().expect("UTF-8");
    home.run(&[&METRICS[..], &["csv"]].concat()).invalid("to", "missing");
    home.run(&["export", "openmetrics", "--org", "sffd"]).invalid("to", "missing");
    let written = home.run(&[&METRICS[..], &["csv", "--to", to], &SPAN].concat()).document();
    let bytes = std::fs::read(&file).expect("the file");
    assert_eq!(written, json!({ "file": to, "format": "csv", "rows": 4, "bytes": bytes.len() }));
    assert!(String::from_utf8(bytes).expect("UTF-8").ends_with(",1.25,2,true\n"));

    home.run(&[&METRICS[..], &["xml", "--to", to]].concat()).invalid("format", "xml");
    home.run(&[&METRICS[..], &["csv", "--to", home.path("no/where").to_str().expect("UTF-8")]].concat())
        .error(3, "unavailable");
    if cfg!(not(feature = "parquet")) {
        home.run(&[&METRICS[..], &["parquet", "--to", to]].concat()).invalid("format", "parquet");
    } else {
        let written = home.run(&[&METRICS[..], &["parquet", "--to", to], &SPAN].concat()).document();
        assert_eq!(keys(&written), ["bytes", "file", "format", "rows"]);
        assert!(std::fs::read(&file).expect("the file").starts_with(b"PAR1"));
        let ran = home.run_for_people(&[&METRICS[..], &["parquet"]].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran}");
    }
}

fn openmetrics(home: &Home, more: &[&str]) -> Ran {
    let args =
        [&["export", "openmetrics", "--org", "sffd", "--org", "nobody", "--as-of", "2026-01-31T13:00:00Z"], more];
    let ran = home.run_for_people(&args.concat());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran}");
    ran
}

#[test]
fn openmetrics_tells_the_snapshot() {
    let text = openmetrics(&home(), &[]).stdout;
    for line in [
        r#"ionveil_response_time_seconds{org_id="sffd",aggregation="avg"} 90.0"#,
        r#"ionveil_region_response_time_seconds{org_id="sffd",region="north, \"east\" \\",aggregation="p90"} 120.0"#,
        r#"ionveil_open_dispatches{org_id="sffd",status="active"} 1.0"#,
        r#"ionveil_journaled_dispatch_events_total{org_id="sffd"} 4.0"#,
        r#"ionveil_journaled_dispatch_events_total{org_id="nobody"} 0.0"#,
        r#"ionveil_closed_dispatches{org_id="nobody"} 0.0"#,
    ] {
        assert!(text.lines().any(|told| told == line), "{line} is missing\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

/// Prometheus's own reader of OpenMetrics is behind `tsdb create-blocks-from`, which wants timestamps and the end mark.
/// `check metrics` reads the older text format, where a counter is described under its full name, and knows the naming rules.
#[test]
fn promtool_accepts_the_text() {
    let Some(promtool) = promtool() else {
        eprintln!("SKIPPED: promtool (Debian's package prometheus) is not in the path");
        return;
    };
    let home = home();
    let exposition = home.file("stamped.om", openmetrics(&home, &["--timestamps"]).stdout);
    let import = |file: &str| {
        let blocks = home.path(&format!("{}-blocks", file.len()));
        let args = ["tsdb", "create-blocks-from", "openmetrics", file, blocks.to_str().expect("UTF-8")];
        let mut command = Command::new(&promtool);
        command.args(args);
        Ran::of(command, &args, b"")
    };
    let imported = import(&exposition);
    assert_eq!(imported.code, 0, "{imported}");
    let cut = home.file("stamped-cut.om", openmetrics(&home, &["--timestamps"]).stdout.replace("# EOF\n", ""));
    assert_ne!(import(&cut).code, 0, "promtool does not notice a missing end mark");

    let lint = |text: &str| {
        let mut command = Command::new(&promtool);
        command.args(["check", "metrics"]);
        Ran::of(command, &["check", "metrics"], text.as_bytes())
    };
    let text = openmetrics(&home, &[]).stdout;
    let counter = "ionveil_journaled_dispatch_events";
    let as_older_text = ["TYPE", "HELP"]
        .iter()
        .fold(text, |text, what| text.replace(&format!("# {what} {counter} "), &format!("# {what} {counter}_total ")));
    let linted = lint(&as_older_text);
    assert_eq!((linted.code, linted.stderr.as_str()), (0, ""), "{linted}");
    assert_ne!(lint(&as_older_text.replace("_seconds", "_minutes")).code, 0, "promtool does not mind minutes");
}

fn promtool() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("promtool")).find(|promtool| promtool.is_file())
}
