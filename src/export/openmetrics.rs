//! OpenMetrics text of snapshots, for Prometheus and what speaks its language.
//!
//! Base units as that world has them: seconds, meters, ratios. A family comes once, with the samples of all orgs. What is
//! a figure of the last hour is a gauge, since it goes up and down; only what was ever journaled is a counter.

use std::fmt::Write as _;
use std::io::{self, Write};

use ionveil_actors::dispatch::{AggregatedMetric, DashboardSnapshot};

/// What an HTTP answer with this text has to call itself.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const SECONDS_PER_MINUTE: f64 = 60.0;
const METERS_PER_KILOMETER: f64 = 1_000.0;

/// What is exposed of one org.
#[derive(Debug, Clone, Copy)]
pub struct OrgMetrics<'a> {
    /// Its snapshot.
    pub snapshot: &'a DashboardSnapshot,
    /// Events ever written to its stream of dispatches.
    pub journaled_events: u64,
}

/// One family: its name without `_total`, and where its samples come from.
struct Family {
    name: &'static str,
    kind: &'static str,
    unit: &'static str,
    help: &'static str,
    samples: fn(&OrgMetrics<'_>) -> Vec<Sample>,
}

struct Sample {
    labels: Vec<(&'static str, String)>,
    value: f64,
}

const FAMILIES: [Family; 10] = [
    Family {
        name: "ionveil_response_time_seconds",
        kind: "gauge",
        unit: "seconds",
        help: "Response time of the dispatches closed in the hour up to the snapshot.",
        samples: |org| measured(org, "response_time", false, SECONDS_PER_MINUTE),
    },
    Family {
        name: "ionveil_region_response_time_seconds",
        kind: "gauge",
        unit: "seconds",
        help: "The same per region.",
        samples: |org| measured(org, "response_time", true, SECONDS_PER_MINUTE),
    },
    Family {
        name: "ionveil_distance_meters",
        kind: "gauge",
        unit: "meters",
        help: "Distance of the dispatches closed in the hour up to the snapshot.",
        samples: |org| measured(org, "distance", false, METERS_PER_KILOMETER),
    },
    Family {
        name: "ionveil_sla_compliance_ratio",
        kind: "gauge",
        unit: "ratio",
        help: "Share within target of the dispatches closed in the hour up to the snapshot; 1 when there are none.",
        samples: |org| vec![Sample { labels: vec![], value: org.snapshot.sla_compliance_rate }],
    },
    Family {
        name: "ionveil_closed_dispatches",
        kind: "gauge",
        unit: "",
        help: "Dispatches closed in the hour up to the snapshot.",
        samples: |org| counted(org, false),
    },
    Family {
        name: "ionveil_region_closed_dispatches",
        kind: "gauge",
        unit: "",
        help: "The same per region.",
        samples: |org| counted(org, true),
    },
    Family {
        name: "ionveil_open_dispatches",
        kind: "gauge",
        unit: "",
        help: "Dispatches whose latest report says that they are pending or active.",
        samples: |org| {
            let states = [("pending", org.snapshot.pending_dispatches), ("active", org.snapshot.active_dispatches)];
            let sample = |(status, count): (&str, usize)| Sample {
                labels: vec![("status", status.to_owned())],
                value: count as f64,
            };
            states.map(sample).into()
        },
    },
    Family {
        name: "ionveil_unresolved_alerts",
        kind: "gauge",
        unit: "",
        help: "Alerts that are open, acknowledged or escalated.",
        samples: |org| vec![Sample { labels: vec![], value: org.snapshot.alerts.len() as f64 }],
    },
    Family {
        name: "ionveil_snapshot_timestamp_seconds",
        kind: "gauge",
        unit: "seconds",
        help: "The instant that the snapshot is of, since 1970.",
        samples: |org| vec![Sample { labels: vec![], value: seconds(org) }],
    },
    Family {
        name: "ionveil_journaled_dispatch_events",
        kind: "counter",
        unit: "",
        help: "Events ever written to the stream of dispatches.",
        samples: |org| vec![Sample { labels: vec![], value: org.journaled_events as f64 }],
    },
];

/// Writes the metrics of some orgs as one exposition that ends with `# EOF`; gives the number of samples. With timestamps
/// each sample carries the instant of its snapshot, as an import of past data needs and a scrape does not.
///
/// # Errors
/// Those of `out`.
pub fn write_openmetrics(orgs: &[OrgMetrics<'_>], with_timestamps: bool, mut out: impl Write) -> io::Result<u64> {
    let mut written = 0;
    for Family { name, kind, unit, help, samples } in &FAMILIES {
        let mut text = format!("# TYPE {name} {kind}\n");
        if !unit.is_empty() {
            text = format!("{text}# UNIT {name} {unit}\n");
        }
        text = format!("{text}# HELP {name} {help}\n");
        let suffix = if *kind == "counter" { "_total" } else { "" };
        for org in orgs {
            for Sample { labels, value } in samples(org) {
                let mut shown = label("org_id", org.snapshot.org_id.as_str());
                for (name, value) in &labels {
                    shown = format!("{shown},{}", label(name, value));
                }
                // Debug writes 1e300 where Display writes 301 digits.
                write!(text, "{name}{suffix}{{{shown}}} {value:?}").expect("memory");
                if with_timestamps {
                    write!(text, " {:?}", seconds(org)).expect("memory");
                }
                text.push('\n');
                written += 1;
            }
        }
        out.write_all(text.as_bytes())?;
    }
    out.write_all(b"# EOF\n")?;
    out.flush()?;
    Ok(written)
}

fn seconds(org: &OrgMetrics<'_>) -> f64 {
    org.snapshot.timestamp.as_micros() as f64 / 1e6
}

/// The snapshot's metrics of that name, of all together or of each region.
fn of<'a>(org: &OrgMetrics<'a>, name: &'static str, per_region: bool) -> impl Iterator<Item = &'a AggregatedMetric> {
    let is_of = move |metric: &&AggregatedMetric| {
        metric.metric_name == name && metric.dimensions.contains_key("region") == per_region
    };
    org.snapshot.metrics.iter().filter(is_of)
}

fn measured(org: &OrgMetrics<'_>, name: &'static str, per_region: bool, factor: f64) -> Vec<Sample> {
    let sample = |metric: &AggregatedMetric| {
        let value = metric.value.map(|value| value * factor).filter(|value| value.is_finite())?;
        let mut labels = region(metric);
        labels.push(("aggregation", metric.aggregation.to_string()));
        Some(Sample { labels, value })
    };
    of(org, name, per_region).filter_map(sample).collect()
}

fn counted(org: &OrgMetrics<'_>, per_region: bool) -> Vec<Sample> {
    let sample = |metric: &AggregatedMetric| Sample { labels: region(metric), value: metric.sample_count as f64 };
    of(org, "dispatch_count", per_region).map(sample).collect()
}

fn region(metric: &AggregatedMetric) -> Vec<(&'static str, String)> {
    metric.dimensions.get("region").map(|region| ("region", region.clone())).into_iter().collect()
}

fn label(name: &str, value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{escaped}\"")
}
