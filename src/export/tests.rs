//! Rows and text as other tools have to read them.

use std::collections::BTreeMap;

use ionveil_actors::dispatch::{AggregatedMetric, AggregationType, DashboardSnapshot, Percent};
use ionveil_actors::domain::Timestamp;

use super::*;

fn metric(name: &'static str, dimensions: &[(&'static str, &str)], value: Option<f64>) -> AggregatedMetric {
    AggregatedMetric {
        metric_name: name,
        value,
        window_start: Timestamp::EPOCH.saturating_add_micros(-3_600_000_000),
        window_end: Timestamp::EPOCH,
        dimensions: dimensions.iter().map(|&(name, value)| (name, value.to_owned())).collect(),
        sample_count: 3,
        aggregation: AggregationType::Percentile(Percent::P90),
        exact: true,
    }
}

/// A value of each kind: full, tiny and empty; names that need quotes.
fn metrics() -> Vec<AggregatedMetric> {
    vec![
        metric("response_time", &[("region", "north, \"east\""), ("severity", "5")], Some(0.1)),
        metric("distance", &[("unit_type", "Zürich\\")], Some(1e-300)),
        metric("distance", &[], None),
    ]
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut bytes = Vec::new();
    write(&mut bytes);
    String::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn csv_has_a_header_and_reads_back_as_what_was_written() {
    let written = text(|out| write_csv(&metrics(), out).expect("memory"));
    assert_eq!(
        written.lines().nth(1),
        Some(r#"response_time,p90,1969-12-31T23:00:00Z,1970-01-01T00:00:00Z,"north, ""east""",5,,0.1,3,true"#)
    );
    let mut reader = csv::Reader::from_reader(written.as_bytes());
    assert_eq!(reader.headers().expect("a header"), COLUMNS.as_slice());
    let rows: Vec<BTreeMap<String, String>> = reader.deserialize().collect::<Result<_, _>>().expect("rows");
    assert_eq!(rows.len(), 3);
    assert_eq!((rows[0]["region"].as_str(), rows[1]["value"].parse()), ("north, \"east\"", Ok(1e-300)));
    assert_eq!((rows[2]["value"].as_str(), rows[2]["region"].as_str()), ("", ""));
    assert_eq!(text(|out| write_csv(&[], out).expect("memory")), format!("{}\n", COLUMNS.join(",")));
}

#[test]
fn json_lines_are_the_documents_of_the_answer() {
    let written = text(|out| write_jsonl(&metrics(), out).expect("memory"));
    let lines: Vec<serde_json::Value> =
        written.lines().map(|line| serde_json::from_str(line).expect("a document")).collect();
    assert_eq!(serde_json::Value::from(lines), serde_json::to_value(metrics()).expect("JSON"));
    assert!(written.ends_with('\n'));
}

fn snapshot(org: &str, metrics: Vec<AggregatedMetric>) -> DashboardSnapshot {
    DashboardSnapshot {
        org_id: org.parse().expect("an id"),
        timestamp: Timestamp::EPOCH.saturating_add_micros(1_500_000),
        metrics,
        active_dispatches: 2,
        pending_dispatches: 1,
        sla_compliance_rate: 0.5,
        average_response_time: None,
        alerts: vec![serde_json::Value::Null],
    }
}

#[test]
fn openmetrics_text_has_each_family_once_in_base_units() {
    let first = snapshot("a\"b\\c", vec![metric("response_time", &[], Some(2.5)), metric("distance", &[], Some(1.25))]);
    let second = snapshot(
        "d",
        vec![
            metric("response_time", &[("region", "B04")], Some(f64::MAX)),
            metric("dispatch_count", &[("region", "B04")], Some(3.0)),
        ],
    );
    let orgs =
        [OrgMetrics { snapshot: &first, journaled_events: 7 }, OrgMetrics { snapshot: &second, journaled_events: 0 }];
    let written = text(|out| {
        let samples = write_openmetrics(&orgs, false, out).expect("memory");
        assert_eq!(samples, 15);
    });
    for line in [
        r#"ionveil_response_time_seconds{org_id="a\"b\\c",aggregation="p90"} 150.0"#,
        r#"ionveil_distance_meters{org_id="a\"b\\c",aggregation="p90"} 1250.0"#,
        r#"ionveil_region_closed_dispatches{org_id="d",region="B04"} 3.0"#,
        r#"ionveil_open_dispatches{org_id="d",status="active"} 2.0"#,
        r#"ionveil_unresolved_alerts{org_id="d"} 1.0"#,
        r#"ionveil_journaled_dispatch_events_total{org_id="a\"b\\c"} 7.0"#,
        "# TYPE ionveil_journaled_dispatch_events counter",
        "# UNIT ionveil_response_time_seconds seconds",
    ] {
        assert!(written.lines().any(|written| written == line), "{line} is missing\n{written}");
    }
    // In seconds this one is beyond what a number can be, so there is none.
    assert!(!written.contains("ionveil_region_response_time_seconds{") && !written.contains("inf"), "{written}");
    assert!(written.ends_with("\n# EOF\n") && written.matches("# EOF").count() == 1);
    let families: Vec<&str> = written.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let distinct: std::collections::BTreeSet<_> = families.iter().collect();
    assert_eq!(families.len(), distinct.len());

    let stamped = text(|out| {
        write_openmetrics(&orgs, true, out).expect("memory");
    });
    let samples = stamped.lines().filter(|line| !line.starts_with('#'));
    assert!(samples.into_iter().all(|line| line.ends_with(" 1.5")), "{stamped}");
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_reads_back_as_what_was_written() {
    use ::parquet::file::reader::{FileReader, SerializedFileReader};
    use ::parquet::record::Field;

    let read = |metrics: &[AggregatedMetric]| {
        let mut bytes = Vec::new();
        write_parquet(metrics, &mut bytes).expect("memory");
        let file = SerializedFileReader::new(bytes::Bytes::from(bytes)).expect("a Parquet file");
        let rows = file.get_row_iter(None).expect("rows").map(|row| row.expect("a row"));
        rows.collect::<Vec<_>>()
    };
    let rows = read(&metrics());
    assert_eq!(rows.len(), 3);
    let names: Vec<&String> = rows[0].get_column_iter().map(|(name, _)| name).collect();
    assert_eq!(names, COLUMNS);
    let fields: Vec<Vec<Field>> =
        rows.iter().map(|row| row.get_column_iter().map(|(_, field)| field.clone()).collect()).collect();
    let text = |text: &str| Field::Str(text.to_owned());
    let first = vec![
        text("response_time"),
        text("p90"),
        Field::TimestampMicros(-3_600_000_000),
        Field::TimestampMicros(0),
        text("north, \"east\""),
        text("5"),
        Field::Null,
        Field::Double(0.1),
        Field::Long(3),
        Field::Bool(true),
    ];
    assert_eq!(fields[0], first);
    assert_eq!((&fields[1][6], &fields[1][7]), (&text("Zürich\\"), &Field::Double(1e-300)));
    assert_eq!((&fields[2][4], &fields[2][7]), (&Field::Null, &Field::Null));
    assert!(read(&[]).is_empty());
}
