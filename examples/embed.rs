//! A host daemon with IonVeil inside: it takes dispatches in, asks for a metric, reads its own audit trail, and shuts
//! down cleanly. Run it with `cargo run --example embed`; it leaves nothing behind.

#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::time::Duration;

use ionveil::dispatch::{AggregationType, GetMetric, Instant, Metric, Percent};
use ionveil::domain::{OrgId, TimeWindow};
use ionveil::{AuditFilter, Config, DispatchEvent, IonVeil};
use serde_json::json;

// What a command allocates on one thread is freed on another, so a host with many callers does well with an allocator that is
// good at that. It is the host's choice: without one, everything works as it does with the C library's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

// The host has a runtime of its own; IonVeil neither needs nor blocks it. Any other executor would do as well.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data_dir = tempfile::tempdir()?;
    let ionveil = IonVeil::open(Config::at(data_dir.path()))?;
    let org: OrgId = "sffd".parse()?;

    // Whoever acts is named once; everything this handle changes is recorded under that name.
    let intake = ionveil.acting_as("intake-gateway")?.dispatch_aggregator();
    let reported = (0..90).map(|minute| {
        DispatchEvent::from_json(&json!({
            "event_id": format!("e-{minute}"), "dispatch_id": format!("d-{minute}"), "org_id": "sffd",
            "timestamp": format!("2026-01-31T{:02}:{:02}:00Z", 8 + minute / 60, minute % 60),
            "severity": 1 + minute % 5, "response_time_minutes": 3.0 + f64::from(minute % 7), "distance_km": 2.5,
            "region": if minute % 2 == 0 { "north" } else { "south" }, "unit_type": "ENGINE",
        }))
    });
    let report = intake.ingest_batch(reported.collect::<Result<_, _>>()?).await?;
    println!("accepted {}, rejected {}", report.accepted, report.rejected.len());

    let mut question =
        GetMetric::new(Metric::ResponseTime, TimeWindow::Hour1, AggregationType::Percentile(Percent::P90));
    question.start = Some(Instant::At("2026-01-31T08:00:00Z".parse()?));
    question.end = Some(Instant::Latest);
    for metric in ionveil.dispatch_aggregator().get_metric(&org, question).await? {
        println!(
            "{}  p90 {} min of {} dispatches",
            metric.window_start,
            metric.value.unwrap_or(0.0),
            metric.sample_count
        );
    }

    let trail = ionveil.audit().page(AuditFilter { org: Some(org), ..AuditFilter::default() }, 0).await?;
    println!("the first of {} entries: {} by {}", trail.len(), trail[0].event_type, trail[0].by);
    println!("head hash {}", ionveil.audit().stat().head.head_hash);

    let drained = ionveil.shutdown(Duration::from_secs(5)).await;
    println!("drained: {drained}");
    Ok(())
}
