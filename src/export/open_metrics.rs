//! Dashboards in the OpenMetrics text format, for a scraper such as Prometheus.
//!
//! Everything is a gauge over the snapshot's hour, in base units: seconds, metres, ratios.

use std::io::{self, Write};

use ionveil_actors::dispatch::{AggregatedMetric, DashboardSnapshot};

/// A family of gauges.
struct Family {
    name: &'static str,
    unit: Option<&'static str>,
    help: &'static str,
    /// The metric of the snapshot that it shows, and what its values are multiplied by.
    of: Of,
}

enum Of {
    Metric(&'static str, f64),
    Single(fn(&DashboardSnapshot) -> f64),
}

const FAMILIES: [Family; 6] = [
    Family {
        name: "ionveil_response_time_seconds",
        unit: Some("seconds"),
        help: "Response time of the closed dispatches of the last 60 minutes.",
        of: Of::Metric("response_time", 60.0),
    },
    Family {
        name: "ionveil_distance_meters",
        unit: Some("meters"),
        help: "Distance of the closed dispatches of the last 60 minutes.",
        of: Of::Metric("distance", 1_000.0),
    },
    Family {
        name: "ionveil_closed_dispatches",
        unit: None,
        help: "Closed dispatches of the last 60 minutes.",
        of: Of::Metric("dispatch_count", 1.0),
    },
    Family {
        name: "ionveil_sla_compliance_ratio",
        unit: Some("ratio"),
        help: "Share of the closed dispatches of the last 60 minutes within target.",
        of: Of::Metric("sla_compliance", 1.0),
    },
    Family {
        name: "ionveil_active_dispatches",
        unit: None,
        help: "Dispatches whose latest report says active.",
        of: Of::Single(|snapshot| snapshot.active_dispatches as f64),
    },
    Family {
        name: "ionveil_pending_dispatches",
        unit: None,
        help: "Dispatches whose latest report says pending.",
        of: Of::Single(|snapshot| snapshot.pending_dispatches as f64),
    },
];

/// Writes the snapshots of some orgs, the end marker included.
///
/// # Errors
/// Those of the writer.
pub fn write_open_metrics(snapshots: &[DashboardSnapshot], mut out: impl Write) -> io::Result<()> {
    for Family { name, unit, help, of } in &FAMILIES {
        writeln!(out, "# TYPE {name} gauge")?;
        if let Some(unit) = unit {
            writeln!(out, "# UNIT {name} {unit}")?;
        }
        writeln!(out, "# HELP {name} {help}")?;
        for snapshot in snapshots {
            let org = label("org", snapshot.org_id.as_str());
            match of {
                Of::Single(value) => writeln!(out, "{name}{{{org}}} {}", value(snapshot))?,
                Of::Metric(metric, factor) => {
                    for shown in snapshot.metrics.iter().filter(|shown| shown.metric_name == *metric) {
                        if let Some(value) = shown.value {
                            writeln!(out, "{name}{{{org}{}}} {}", labels(shown), value * factor)?;
                        }
                    }
                }
            }
        }
    }
    writeln!(out, "# EOF")?;
    out.flush()
}

fn labels(metric: &AggregatedMetric) -> String {
    let dimensions = metric.dimensions.iter().map(|(name, value)| format!(",{}", label(name, value)));
    format!(",{}{}", label("aggregation", metric.aggregation.as_str()), dimensions.collect::<String>())
}

fn label(name: &str, value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{name}=\"{escaped}\"")
}
