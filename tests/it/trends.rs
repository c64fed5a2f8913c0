//! Trends, anomalies and maps, by command line and by API, with answers worked out by hand.

use ionveil::dispatch::{GridSize, Metric};
use ionveil::domain::{OutlierTest, TimeWindow};
use ionveil::{AnalyzeTrend, Config, DetectAnomalies, IonVeil, blocking};
use serde_json::{Value, json};

use crate::support::{Home, dispatch_json, keys};

/// A dispatch per hour from midnight on, with these response times.
fn hourly(minutes: &[f64]) -> Home {
    let home = Home::new();
    let line = |(hour, minutes): (usize, &f64)| {
        let changes = json!({
            "response_time_minutes": minutes, "latitude": 37.0 + hour as f64, "longitude": -122.0 - hour as f64,
        });
        format!("{}\n", dispatch_json(&format!("e-{hour}"), &format!("2026-01-31T{hour:02}:10:00Z"), changes))
    };
    home.ingest(&minutes.iter().enumerate().map(line).collect::<String>());
    home
}

fn trend<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["trend", "--org", "sffd", "--metric", "response_time", "--window", "1h"], more].concat()
}

fn anomalies<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["anomalies", "--org", "sffd", "--window", "1h"], more].concat()
}

#[test]
fn trend_answers_with_points_direction_slope_and_forecasts() {
    let home = hourly(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let answer = home.run(&trend(&[])).document();
    let expected = [
        "confidence",
        "forecast_next_hour",
        "mann_kendall",
        "metric_name",
        "points",
        "seasonal",
        "slope",
        "smoothed",
        "theil_sen",
        "trend_direction",
    ];
    assert_eq!(keys(&answer), expected);
    assert_eq!(answer["points"][0], json!({ "timestamp": "2026-01-31T00:00:00Z", "value": 1.0 }));
    assert_eq!(
        [&answer["metric_name"], &answer["trend_direction"], &answer["slope"], &answer["forecast_next_hour"]],
        [&json!("response_time"), &json!("increasing"), &json!(1.0), &json!(7.0)]
    );
    assert_eq!([&answer["confidence"], &answer["theil_sen"]["slope"]], [&json!(1.0), &json!(1.0)]);
    assert_eq!(answer["mann_kendall"]["s"], 15);
    let as_of = home.run(&trend(&["--lookback", "2", "--as-of", "2026-01-31T04:59:59Z"])).document();
    assert_eq!(as_of["points"][1], json!({ "timestamp": "2026-01-31T03:00:00Z", "value": 4.0 }));
    assert_eq!(
        [&as_of["trend_direction"], &as_of["slope"], &as_of["confidence"], &as_of["forecast_next_hour"]],
        [&json!("stable"), &json!(0.0), &json!(0.0), &json!(4.0)]
    );
    let nobody = home.run(&["trend", "--org", "other", "--metric", "distance", "--window", "1d"]).document();
    assert_eq!([&nobody["points"], &nobody["forecast_next_hour"]], [&json!([]), &Value::Null]);
}

#[test]
fn anomalies_answer_with_windows_that_stand_out() {
    let home = hourly(&[4.0, 5.0, 6.0, 5.0, 40.0, 5.0, 4.0, 6.0]);
    let answer = home.run(&anomalies(&["--metric", "response_time"])).document();
    assert_eq!(answer.as_array().map(Vec::len), Some(1), "{answer}");
    assert_eq!(keys(&answer[0]), ["expected", "timestamp", "value", "z_score"]);
    let met = [&answer[0]["timestamp"], &answer[0]["value"], &answer[0]["expected"]];
    assert_eq!(met, [&json!("2026-01-31T04:00:00Z"), &json!(40.0), &json!(5.0)]);
    let robust = home.run(&anomalies(&["--metric", "response_time", "--robust", "--sensitivity", "3"])).document();
    assert_eq!((robust.as_array().map(Vec::len), &robust[0]["timestamp"]), (Some(1), &answer[0]["timestamp"]));
    let before = ["--metric", "response_time", "--end", "2026-01-31T04:00:00Z", "--sensitivity", "3"];
    assert_eq!(home.run(&anomalies(&before)).document(), json!([]));
    // Every count is 1; three empty hours after the last are only seen where an end is given and counts are compared.
    assert_eq!(home.run(&anomalies(&["--metric", "dispatch_count"])).document(), json!([]));
    let equal = home.run(&anomalies(&["--metric", "sla_compliance", "--sensitivity", "1"])).document();
    assert_eq!(equal[0]["z_score"], Value::Null, "one late among seven in time: {equal}");
}

#[test]
fn heatmap_answers_with_cells_and_draws_them() {
    let home = hourly(&[1.0, 2.0, 3.0]);
    let (svg, geojson) = (home.path("heat.svg"), home.path("heat.geojson"));
    let (svg_text, geojson_text) = (svg.to_str().expect("UTF-8"), geojson.to_str().expect("UTF-8"));
    let args = ["heatmap", "--org", "sffd", "--metric", "response_time", "--grid", "2x4"];
    let answer = home.run(&[&args[..], &["--svg", svg_text, "--geojson", geojson_text]].concat()).document();
    let cell = |row: u32, col: u32, value: f64| json!({ "row": row, "col": col, "value": value });
    assert_eq!(answer, json!([cell(0, 3, 1.0), cell(1, 0, 3.0), cell(1, 2, 2.0)]));
    let svg = std::fs::read_to_string(svg).expect("an SVG file");
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{svg}");
    assert_eq!(svg.matches("<title>row ").count(), 3, "{svg}");
    let geojson: Value = serde_json::from_str(&std::fs::read_to_string(geojson).expect("a file")).expect("JSON");
    assert_eq!(
        (&geojson["type"], geojson["features"].as_array().map(Vec::len)),
        (&json!("FeatureCollection"), Some(3))
    );
    let first = &geojson["features"][0];
    assert_eq!(first["properties"], json!({ "row": 0, "col": 3, "metric": "response_time", "value": 1.0 }));
    assert_eq!(first["geometry"]["type"], "Polygon");
    let ring = first["geometry"]["coordinates"][0].as_array().expect("a ring");
    assert_eq!((ring.len(), &ring[0], &ring[2]), (5, &json!([-122.5, 37.0]), &json!([-122.0, 38.0])));
    assert_eq!(ring[0], ring[4], "a ring is closed");
    let count = home.run(&["heatmap", "--org", "sffd", "--metric", "dispatch_count"]).document();
    assert_eq!(count, json!([cell(0, 9, 1.0), cell(5, 5, 1.0), cell(9, 0, 1.0)]));
    let nobody = home.run(&["heatmap", "--org", "other", "--metric", "dispatch_count"]).document();
    assert_eq!(nobody, json!([]));
}

#[test]
fn regions_are_drawn_where_their_dispatches_are() {
    let home = Home::new();
    let line = |id: &str, region: &str, place: Option<(f64, f64)>| {
        let (latitude, longitude) = place.unzip();
        let changes = json!({ "region": region, "latitude": latitude, "longitude": longitude });
        format!("{}\n", dispatch_json(id, "2026-01-31T12:00:00Z", changes))
    };
    let lines = [
        line("a", "north & <east>", Some((38.0, -122.0))),
        line("b", "north & <east>", Some((39.0, -121.0))),
        line("c", "north & <east>", None),
        line("d", "south", Some((37.0, -122.5))),
        line("e", "nowhere", None),
    ];
    home.ingest(&lines.concat());
    let (svg, geojson) = (home.path("regions.svg"), home.path("regions.geojson"));
    let span = ["--start", "2026-01-31T00:00:00Z", "--end", "latest"];
    let files = ["--svg", svg.to_str().expect("UTF-8"), "--geojson", geojson.to_str().expect("UTF-8")];
    let answer = home.run(&[&["regions", "--org", "sffd"], &span[..], &files].concat()).document();
    assert_eq!(keys(&answer), ["north & <east>", "nowhere", "south"], "files change nothing of the answer");
    let geojson: Value = serde_json::from_str(&std::fs::read_to_string(geojson).expect("a file")).expect("JSON");
    let features = geojson["features"].as_array().expect("features");
    assert_eq!(features.len(), 2, "what is not located is on no map");
    assert_eq!(features[0]["geometry"], json!({ "type": "Point", "coordinates": [-121.5, 38.5] }));
    let properties = &features[0]["properties"];
    assert_eq!([&properties["located"], &properties["dispatch_count"]], [&json!(2), &json!(3)]);
    let svg = std::fs::read_to_string(svg).expect("a file");
    assert_eq!(svg.matches("<circle ").count(), 2, "{svg}");
    assert!(svg.contains("north &amp; &lt;east&gt;: 3 dispatches"), "{svg}");
}

#[test]
fn people_get_tables() {
    let home = hourly(&[4.0, 5.0, 6.0, 5.0, 40.0]);
    for (args, expected) in [
        (&trend(&[])[..], "response_time is stable"),
        (&anomalies(&["--metric", "response_time"])[..], "2026-01-31T04:00:00Z"),
        (&anomalies(&["--metric", "dispatch_count"])[..], "no window stands out"),
        (&["heatmap", "--org", "sffd", "--metric", "dispatch_count"][..], "10 rows and 10 columns"),
        (&["heatmap", "--org", "sffd", "--metric", "dispatch_count", "--grid", "2x30"][..], "column   29"),
        (&["heatmap", "--org", "other", "--metric", "dispatch_count"][..], "no closed dispatch is located"),
    ] {
        let ran = home.run_for_people(args);
        assert_eq!(ran.code, 0, "{ran}");
        assert!(ran.stdout.contains(expected), "{ran}");
    }
}

#[test]
fn values_out_of_range_name_field_value_and_what_is_allowed() {
    let home = hourly(&[1.0]);
    for (args, field, value) in [
        (trend(&["--lookback", "0"]), "lookback_periods", "0"),
        (trend(&["--lookback", "10001"]), "lookback_periods", "10001"),
        (vec!["trend", "--org", "sffd", "--metric", "distance", "--window", "all"], "window", "all"),
        (vec!["trend", "--org", "sffd", "--metric", "speed", "--window", "1h"], "metric", "speed"),
        (trend(&["--as-of", "soon"]), "as_of", "soon"),
        (anomalies(&["--metric", "distance", "--sensitivity", "-1"]), "sensitivity", "-1"),
        (anomalies(&["--metric", "distance", "--sensitivity", "NaN"]), "sensitivity", "NaN"),
        (anomalies(&["--metric", "distance", "--poisson"]), "metric", "distance"),
        (
            anomalies(&["--metric", "distance", "--start", "2026-01-31T00:00:00Z", "--end", "2026-01-31T00:00:00Z"]),
            "start",
            "2026-01-31T00:00:00Z",
        ),
        (vec!["heatmap", "--org", "sffd", "--metric", "distance", "--grid", "0x9"], "grid_size", "0x9"),
        (vec!["heatmap", "--org", "sffd", "--metric", "distance", "--grid", "9x1001"], "grid_size", "9x1001"),
    ] {
        home.run(&args).invalid(field, value);
    }
}

#[test]
fn the_api_gives_the_same_with_and_without_async() {
    let home = hourly(&[4.0, 5.0, 6.0, 5.0, 40.0]);
    let ionveil = IonVeil::open(Config::at(home.data())).expect("the journal is free");
    let org = "sffd".parse().expect("an id");
    let analyzer = blocking::TrendAnalyzer::new(&ionveil);
    let question = AnalyzeTrend::new(Metric::ResponseTime, TimeWindow::Hour1);
    let trend = analyzer.analyze_trend(&org, question.clone()).expect("a trend");
    assert_eq!(trend, pollster::block_on(ionveil.trend_analyzer().analyze_trend(&org, question)).expect("a trend"));
    assert_eq!(trend.points.len(), 5);
    for (test, found) in [(OutlierTest::ZScore, 1), (OutlierTest::Robust, 1)] {
        let question =
            DetectAnomalies { test, sensitivity: 3.0, ..DetectAnomalies::new(Metric::ResponseTime, TimeWindow::Hour1) };
        assert_eq!(analyzer.detect_anomalies(&org, question).expect("an answer").len(), found, "{test:?}");
    }
    let geography = blocking::GeographicBreakdown::new(&ionveil);
    let cells = geography.get_heatmap_data(&org, Metric::DispatchCount, GridSize::default()).expect("cells");
    assert_eq!(cells.len(), 5);
    let refused = AnalyzeTrend { lookback_periods: 0, ..AnalyzeTrend::new(Metric::Distance, TimeWindow::Hour1) };
    assert_eq!(analyzer.analyze_trend(&org, refused).expect_err("out of range").kind(), ionveil::Kind::Invalid);
}
