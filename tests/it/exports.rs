//! Answers for other programs, read back as those would read them.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Home, Ran, dispatch_json};

/// Three dispatches in two hours, in regions with all that a format has to escape.
fn two_hours() -> Home {
    let home = Home::new();
    let line = |id: &str, at: &str, minutes: f64, region: &str| {
        format!("{}\n", dispatch_json(id, at, json!({ "response_time_minutes": minutes, "region": region })))
    };
    home.ingest(
        &[
            line("a", "2026-01-31T10:10:00Z", 2.5, "B04"),
            line("b", "2026-01-31T11:20:00Z", 0.1, "\"north\", \\old"),
            line("c", "2026-01-31T11:30:00Z", 0.2, "B04"),
        ]
        .concat(),
    );
    home
}

const SPAN: [&str; 4] = ["--start", "2026-01-31T10:00:00Z", "--end", "latest"];

#[track_caller]
fn export(home: &Home, more: &[&str]) -> Ran {
    let ran = home.run(&[&["export", "--org", "sffd"], more, &SPAN].concat());
    assert_eq!(ran.code, 0, "{ran}");
    ran
}

#[test]
fn csv_has_a_header_and_a_row_per_window_metric_and_aggregation() {
    let home = two_hours();
    let args = ["--format", "csv", "--metric", "response_time", "--agg", "avg", "--agg", "max"];
    let head =
        "org_id,metric_name,aggregation,window_start,window_end,region,severity,unit_type,value,sample_count,exact";
    let row = |aggregation: &str, hour: u32, value: &str, count: u32| {
        format!(
            "sffd,response_time,{aggregation},2026-01-31T{hour}:00:00Z,2026-01-31T{}:00:00Z,,,,{value},{count},true",
            hour + 1
        )
    };
    let expected = [
        head.to_owned(),
        row("avg", 10, "2.5", 1),
        row("avg", 11, "0.15000000000000002", 2),
        row("max", 10, "2.5", 1),
        row("max", 11, "0.2", 2),
    ];
    assert_eq!(export(&home, &args).stdout.lines().collect::<Vec<_>>(), expected);
    let dimension = "region=\"north\", \\old";
    let one = export(&home, &["--format", "csv", "--metric", "distance", "--agg", "min", "--dim", dimension]).stdout;
    let rows: Vec<Vec<String>> = csv::Reader::from_reader(one.as_bytes())
        .records()
        .map(|row| row.expect("a row").iter().map(str::to_owned).collect())
        .collect();
    assert_eq!((rows.len(), rows[0][5].as_str()), (1, "\"north\", \\old"));
}

#[test]
fn json_lines_are_what_metric_answers_with_its_org() {
    let home = two_hours();
    let lines = export(&home, &["--format", "jsonl"]).lines();
    assert_eq!(lines.len(), 2 * 4, "two hours of every metric");
    let args = ["metric", "--org", "sffd", "--metric", "response_time", "--window", "1h", "--agg", "avg"];
    let Value::Array(answer) = home.run(&[&args[..], &SPAN].concat()).document() else { panic!("no array") };
    for (line, metric) in lines.iter().zip(answer) {
        let mut expected = metric;
        expected["org_id"] = json!("sffd");
        assert_eq!(*line, expected);
    }
}

#[test]
fn an_export_goes_into_a_file_and_says_what_is_wrong() {
    let home = two_hours();
    let file = home.path("out.csv");
    let ran = export(&home, &["--format", "csv", "--out", file.to_str().expect("UTF-8")]);
    assert_eq!((ran.stdout.as_str(), std::fs::read_to_string(file).expect("a file").lines().count()), ("", 9));
    home.run(&["export", "--org", "sffd", "--format", "xml"]).error(2, "invalid");
    home.run(&["export", "--org", "sffd", "--format", "csv", "--metric", "speed"]).invalid("metric", "speed");
    home.run(&["export", "--org", "sffd", "--format", "csv", "--out", "/no/such/place"]).error(3, "unavailable");
}

#[test]
fn open_metrics_are_gauges_in_base_units_that_promtool_takes() {
    let home = two_hours();
    let args = ["export", "--org", "sffd", "--org", "other", "--format", "openmetrics", "--as-of", "latest"];
    let text = home.run(&args).stdout;
    for line in [
        "# TYPE ionveil_response_time_seconds gauge",
        "# UNIT ionveil_response_time_seconds seconds",
        "ionveil_response_time_seconds{org=\"sffd\",aggregation=\"max\"} 12",
        "ionveil_response_time_seconds{org=\"sffd\",aggregation=\"p90\",region=\"\\\"north\\\", \\\\old\"} 6",
        "ionveil_distance_meters{org=\"sffd\",aggregation=\"avg\"} 1250",
        "ionveil_closed_dispatches{org=\"sffd\",aggregation=\"count\"} 2",
        "ionveil_closed_dispatches{org=\"other\",aggregation=\"count\"} 0",
        "ionveil_sla_compliance_ratio{org=\"sffd\",aggregation=\"avg\"} 1",
        "ionveil_pending_dispatches{org=\"sffd\"} 0",
    ] {
        assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("\n# EOF\n"), "{text}");
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        eprintln!("skipped: promtool is not installed (apt-get install prometheus)");
        return;
    };
    std::io::Write::write_all(&mut promtool.stdin.take().expect("a piped stdin"), text.as_bytes()).expect("it reads");
    let checked = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success() && said.is_empty(), "{said}\n{text}");
}
