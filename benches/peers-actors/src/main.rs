//! Durable commands through the actors beside the crate cqrs-es on SQLite (WAL, synchronous FULL) and on PostgreSQL, in one
//! run, as ratios to the actors: `cargo run --release --manifest-path benches/peers-actors/Cargo.toml`. Settings as for the
//! runtime's own benchmark: `IONVEIL_BENCH_SECONDS` (0.8), `IONVEIL_BENCH_REPETITIONS` (5).
//!
//! All get the same callers on one thread, with one command in flight each, and the same commands of one event with 200 bytes.
//! PostgreSQL is a cluster of its own in a temporary directory, with its default settings (`postgres`); where it is not
//! installed (Debian: `apt-get install postgresql`) its column stays empty.

#[path = "../../../actors/benches/support/mod.rs"]
mod support;

mod peer;
mod postgres;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ionveil_actors::runtime::{Limits, Registry, Runtime, SystemClock};
use ionveil_journal::LocalJournal;

use postgres::Cluster;
use support::appends::{STREAMS, median, setting};
use support::{PlainTally, note_rate, plain_rate};

/// Callers, and entities they send to.
const ROWS: [(&str, usize, usize); 4] = [
    ("1 caller", 1, STREAMS),
    ("64 callers", 64, STREAMS),
    ("512 callers", 512, STREAMS),
    ("64 callers, one entity", 64, 1),
];

fn main() {
    let seconds = Duration::from_secs_f64(setting("IONVEIL_BENCH_SECONDS", 0.8));
    let repetitions = setting("IONVEIL_BENCH_REPETITIONS", 5.0) as usize;
    let place = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory on the disk of the build");
    let cluster = Cluster::start();
    println!("durable commands/s and ratio to the actors, medians of {repetitions} interleaved runs\n");
    print!("{:>22}", "");
    for name in ["actors", "cqrs-es, SQLite FULL", "cqrs-es, PostgreSQL", "actors, no disk"] {
        print!(" {name:>22}");
    }
    println!();
    for (row, (name, callers, entities)) in ROWS.into_iter().enumerate() {
        let mut rates = [const { Vec::new() }; 4];
        for repetition in 0..repetitions {
            let dir = place.path().join(format!("{row}-{repetition}"));
            std::fs::create_dir(&dir).expect("created");
            rates[0].push(actors_rate(&dir, callers, entities, seconds));
            let sqlite = dir.join("events.db");
            rates[1].push(peer::rate(peer::on_sqlite(&sqlite), callers, entities, seconds));
            if let Some(cluster) = &cluster {
                let database = format!("peer_{row}_{repetition}");
                let postgres = peer::on_postgres(cluster, &database);
                rates[2].push(peer::rate(postgres, callers, entities, seconds));
            }
            rates[3].push(plain_rate(&PlainTally::start_many(entities), callers, seconds));
            std::fs::remove_dir_all(&dir).expect("removed");
        }
        print!("{name:>22}");
        for of in &rates {
            let ratios: Vec<f64> = of.iter().zip(&rates[0]).map(|(rate, actors)| rate / actors).collect();
            if of.is_empty() {
                print!(" {:>22}", "-");
            } else {
                print!(" {:>14.0} ({:>5.3})", median(of.clone()), median(ratios));
            }
        }
        println!();
    }
}

fn actors_rate(dir: &Path, callers: usize, entities: usize, seconds: Duration) -> f64 {
    let journal = Arc::new(LocalJournal::open(&dir.join("actors")).expect("opens"));
    let runtime = Runtime::start(Arc::clone(&journal) as _, Arc::new(SystemClock), Limits::default()).expect("threads");
    let rate = note_rate(&Registry::new(&runtime), callers, entities, seconds);
    assert!(runtime.stop(Duration::from_secs(10)));
    rate
}
