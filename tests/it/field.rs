//! Compliance with standards and unit-hour utilisation, from a CSV file to the answer on the command line.

use serde_json::{Value, json};

use crate::support::{Home, dispatch_json, keys};

const MAPPING: &str = r#"
metadata = ["incident_kind"]
unit_id = { column = "unit" }
event_id = { column = "id" }
dispatch_id = { column = "call" }
severity = { constant = 5 }
response_time_minutes = { column = "minutes" }
distance_km = { constant = 1.0 }
region = { constant = "B04" }
unit_type = { column = "type" }
timestamp = { column = "sent", pattern = "%d.%m.%Y %H:%M:%S", time_zone = "Europe/Berlin" }
[times]
call_answered_at = { column = "answered", pattern = "%d.%m.%Y %H:%M:%S", time_zone = "Europe/Berlin" }
dispatched_at = { column = "sent", pattern = "%d.%m.%Y %H:%M:%S", time_zone = "Europe/Berlin" }
en_route_at = { column = "rolling", pattern = "%d.%m.%Y %H:%M:%S", time_zone = "Europe/Berlin" }
arrived_at = { column = "there", pattern = "%d.%m.%Y %H:%M:%S", time_zone = "Europe/Berlin" }
available_at = { column = "free", pattern = "%d.%m.%Y %H:%M:%S", time_zone = "Europe/Berlin" }
"#;

/// Two calls of one morning, three responses, and a fourth that was never sent on its way.
const RESPONSES: &str = "\
id,call,unit,type,incident_kind,minutes,answered,sent,rolling,there,free
1,a,E01,ENGINE,fire,6.0,31.01.2026 13:00:00,31.01.2026 13:00:50,31.01.2026 13:02:00,31.01.2026 13:06:00,31.01.2026 14:00:50
2,a,E02,ENGINE,fire,7.0,31.01.2026 13:00:00,31.01.2026 13:00:50,31.01.2026 13:02:30,31.01.2026 13:07:00,31.01.2026 13:30:50
3,b,M01,MEDIC,ems,4.0,31.01.2026 13:10:00,31.01.2026 13:11:30,31.01.2026 13:12:00,31.01.2026 13:14:00,31.01.2026 13:41:30
4,b,M02,MEDIC,ems,5.0,31.01.2026 13:10:00,31.01.2026 13:11:30,,,
";

fn home() -> Home {
    let home = Home::new();
    let (mapping, responses) = (home.file("m.toml", MAPPING), home.file("responses.csv", RESPONSES));
    let args = ["ingest", "--org", "sffd", "--mapping", &mapping, "--retention-hours", "0", &responses];
    assert_eq!(home.run(&args).document()["accepted"], 4);
    home
}

fn compliance(home: &Home, standard: &str) -> Value {
    home.run(&["compliance", "--org", "sffd", "--standard", standard]).document()
}

#[test]
fn compliance_is_read_off_the_times_of_a_csv_file() {
    let home = home();
    let report = compliance(&home, "nfpa-1710-2020");
    assert_eq!(keys(&report), ["end", "org_id", "requirements", "standard", "start"]);
    assert_eq!(report["standard"]["edition"], "2020");
    assert!(report["standard"]["note"].as_str().is_some_and(|note| !note.is_empty()));
    let figures = |report: &Value| -> Vec<Value> {
        let requirements = report["requirements"].as_array().expect("an array");
        let of = |requirement: &Value| {
            let all = &requirement["groups"][0];
            assert_eq!(all["dimensions"], json!({}));
            json!([
                requirement["id"],
                all["sample_count"],
                all["within"],
                all["fractile_minutes"],
                requirement["missing"]
            ])
        };
        requirements.iter().map(of).collect()
    };
    let expected = [
        json!(["turnout-fire", 2, 1, 100.0 / 60.0, 0]),
        json!(["turnout-ems", 1, 1, 0.5, 1]),
        json!(["travel-first-engine", 1, 1, 4.0, 0]),
        json!(["travel-first-responder", 1, 1, 2.0, 1]),
    ];
    assert_eq!(figures(&report), expected);
    assert_eq!(figures(&compliance(&home, "nfpa-1225-2022")), [json!(["call-processing", 2, 1, 1.5, 0])]);

    let people =
        home.run_for_people(&["compliance", "--org", "sffd", "--standard", "nfpa-1225-2022", "--by", "region"]);
    for said in ["NFPA 1225", "90 % within 60 s", "region B04", "50.0 %", "missed"] {
        assert!(people.stdout.contains(said), "{said}\n{people}");
    }
}

#[test]
fn a_standard_of_ones_own_is_a_file() {
    let home = home();
    let ours = home.file(
        "ours.toml",
        "id = 'ours'\ntitle = 'Ours'\npublisher = 'we'\nedition = '2026'\nsource = 'the board'\nchecked = 2026-01-31\n\
         [[requirement]]\nid = 'arrival'\nwhat = 'Arrival'\ninterval = 'response_time'\ncounted = 'first_of_dispatch'\n\
         within_seconds = 300\npercent = 50\nmean_seconds = 240\n",
    );
    let group = &compliance(&home, &ours)["requirements"][0]["groups"][0];
    assert_eq!(
        json!([group["sample_count"], group["within"], group["met"], group["mean_minutes"], group["mean_met"]]),
        json!([2, 1, true, 5.0, false])
    );
    let broken = home.file("broken.toml", "id = 'ours'");
    home.run(&["compliance", "--org", "sffd", "--standard", &broken]).invalid("standard, line 1", "not understood");
    home.run(&["compliance", "--org", "sffd", "--standard", "nfpa"]).invalid("standard", "nfpa");
    home.run(&["compliance", "--org", "sffd", "--standard", "no.toml"]).invalid("standard", "no.toml");
    home.run(&["compliance", "--org", "sffd", "--by", "hour"]).invalid("by", "hour");
    home.run(&["compliance", "--org", "sffd", "--start", "latest", "--end", "latest"])
        .invalid("start", "2026-01-31T12:11:30.000001Z");
}

#[test]
fn what_retention_has_forgotten_still_counts_and_a_position_is_what_was_known_then() {
    let home = Home::new();
    let events: String = (0..5)
        .map(|day| {
            let at = format!("2026-01-0{}T12:00:00Z", day + 1);
            format!(
                "{}\n",
                dispatch_json(&format!("e-{day}"), &at, json!({ "response_time_minutes": 60.0 * day as f64 }))
            )
        })
        .collect();
    home.run_with(&["ingest", "--org", "sffd", "-"], events.as_bytes()).document();
    let counted = |more: &[&str]| {
        let report = home.run(&[&["compliance", "--org", "sffd"][..], more].concat()).document();
        let all = report["requirements"][0]["groups"][0].clone();
        json!([all["sample_count"], all["within"]])
    };
    assert_eq!(counted(&[]), json!([5, 1]));
    assert_eq!(counted(&["--start", "2026-01-02T12:00:00Z", "--end", "latest"]), json!([4, 0]));
    assert_eq!(counted(&["--at-position", "3"]), json!([3, 1]));
    assert_eq!(counted(&["--at-position", "3", "--start", "2026-01-02T12:00:00Z", "--end", "latest"]), json!([2, 0]));
}

#[test]
fn utilisation_is_busy_hours_per_hour_on_duty() {
    let home = home();
    let span = ["--start", "2026-01-31T12:00:50Z", "--end", "2026-01-31T14:00:50Z"];
    let report = home.run(&[&["utilisation", "--org", "sffd", "--staffed", "MEDIC=4"][..], &span].concat()).document();
    assert_eq!(keys(&report), ["end", "missing", "org_id", "start", "unit_types", "unusable"]);
    assert_eq!(report["missing"], 1);
    let engines = json!({
        "units": 2, "responses": 2, "busy_hours": 1.5, "unit_hours": 4.0, "unit_hours_given": false, "utilisation": 0.375,
        "responses_per_unit_hour": 0.5,
        "by_unit": { "E01": { "responses": 1, "busy_hours": 1.0 }, "E02": { "responses": 1, "busy_hours": 0.5 } },
    });
    assert_eq!(report["unit_types"]["ENGINE"], engines);
    let medics = &report["unit_types"]["MEDIC"];
    assert_eq!(json!([medics["utilisation"], medics["unit_hours_given"]]), json!([0.125, true]));
    for (pair, value) in [("MEDIC", "MEDIC"), ("MEDIC=many", "MEDIC=many"), ("MEDIC=0", "MEDIC=0")] {
        home.run(&["utilisation", "--org", "sffd", "--staffed", pair]).invalid("staffed", value);
    }
    let people = home.run_for_people(&["utilisation", "--org", "sffd"]);
    assert!(people.stdout.contains("UHU") && people.stdout.contains("(assumed)"), "{people}");
}

#[test]
fn standards_lists_what_is_built_in() {
    let home = Home::new();
    let standards = home.run(&["standards"]).document();
    let ids: Vec<&str> = standards.as_array().expect("an array").iter().filter_map(|s| s["id"].as_str()).collect();
    assert_eq!(ids, ["recorded", "nfpa-1225-2022", "nfpa-1710-2020", "nhs-arp-2017"]);
    assert_eq!(standards[3]["requirements"][0]["mean_seconds"], 420);
    let none = compliance(&home, "recorded");
    assert_eq!(none["requirements"][0]["groups"][0]["share"], Value::Null);
    assert!(!home.data().exists(), "a command that only asks created something");
}
