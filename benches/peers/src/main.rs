//! Durable appends of the journal beside SQLite (WAL, synchronous FULL), fjall 3 and a plain file, in one run, as ratios to
//! the plain file: `cargo run --release --manifest-path benches/peers/Cargo.toml`. Settings as for the journal's own
//! benchmark: `IONVEIL_BENCH_SECONDS` (0.8), `IONVEIL_BENCH_REPETITIONS` (5).

#[path = "../../../journal/benches/support/mod.rs"]
mod support;

use std::path::Path;
use std::time::Duration;

use ionveil_journal::{Append, LocalJournal};
use rusqlite::Connection;
use support::{APPENDS, Engine, GroupWriter, Payloads, PlainFile, Sink, append_rate, median, setting};

const ENGINES: [&str; 4] = ["plain file", "journal", "SQLite FULL", "fjall 3"];

fn main() {
    let seconds = Duration::from_secs_f64(setting("IONVEIL_BENCH_SECONDS", 0.8));
    let repetitions = setting("IONVEIL_BENCH_REPETITIONS", 5.0) as usize;
    let place = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory on the disk of the build");
    let payloads = Payloads::new();
    println!("durable appends, events/s and ratio to the plain file, medians of {repetitions} interleaved runs\n");
    print!("{:>10} {:>8}", "in flight", "batch");
    ENGINES.iter().for_each(|name| print!(" {name:>20}"));
    println!();
    for (in_flight, batch) in APPENDS {
        let mut rates = vec![Vec::new(); ENGINES.len()];
        for repetition in 0..repetitions {
            for (engine, rates) in rates.iter_mut().enumerate() {
                let dir = place.path().join(format!("{in_flight}-{batch}-{repetition}-{engine}"));
                std::fs::create_dir(&dir).expect("created");
                rates.push(append_rate(open(engine, &dir).as_ref(), &payloads, in_flight, batch, seconds));
                std::fs::remove_dir_all(&dir).expect("removed");
            }
        }
        print!("{in_flight:>10} {batch:>8}");
        for of in &rates {
            let ratios = of.iter().zip(&rates[0]).map(|(rate, plain)| rate / plain).collect();
            print!(" {:>13.0} ({:.2})", median(of.clone()), median(ratios));
        }
        println!();
    }
}

fn open(engine: usize, dir: &Path) -> Box<dyn Engine> {
    match ENGINES[engine] {
        "plain file" => Box::new(GroupWriter::start(PlainFile::create(&dir.join("file")))),
        "journal" => Box::new(LocalJournal::open(&dir.join("journal")).expect("opens")),
        "SQLite FULL" => Box::new(GroupWriter::start(Sqlite::create(&dir.join("events.db")))),
        _ => Box::new(GroupWriter::start(Fjall::create(&dir.join("fjall")))),
    }
}

/// A row an event, found by stream and sequence; one transaction a group.
struct Sqlite(Connection);

impl Sqlite {
    fn create(path: &Path) -> Self {
        let connection = Connection::open(path).expect("created");
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).expect("WAL");
        let schema = "PRAGMA synchronous = FULL;
            CREATE TABLE events (stream TEXT, sequence INTEGER, id BLOB, payload BLOB, PRIMARY KEY (stream, sequence))
            WITHOUT ROWID;";
        connection.execute_batch(schema).expect("a table");
        Sqlite(connection)
    }
}

impl Sink for Sqlite {
    fn commit(&mut self, group: &[Append]) {
        let transaction = self.0.transaction().expect("begun");
        {
            let mut insert = transaction.prepare_cached("INSERT INTO events VALUES (?, ?, ?, ?)").expect("prepared");
            for append in group {
                for (event, number) in append.events.iter().zip(1..) {
                    let sequence = append.expected.get() as i64 + number;
                    insert
                        .execute((append.stream.as_str(), sequence, event.id.as_bytes(), &event.payload))
                        .expect("inserted");
                }
            }
        }
        transaction.commit().expect("committed");
    }
}

/// A key an event, the stream and the sequence; one batch a group, synced.
struct Fjall {
    database: fjall::Database,
    events: fjall::Keyspace,
}

impl Fjall {
    fn create(path: &Path) -> Self {
        let database = fjall::Database::builder(path).open().expect("created");
        let events = database.keyspace("events", fjall::KeyspaceCreateOptions::default).expect("created");
        Fjall { database, events }
    }
}

impl Sink for Fjall {
    fn commit(&mut self, group: &[Append]) {
        let mut batch = self.database.batch().durability(Some(fjall::PersistMode::SyncData));
        for append in group {
            for (event, number) in append.events.iter().zip(1..) {
                let mut key = append.stream.as_str().as_bytes().to_vec();
                key.push(0);
                key.extend_from_slice(&(append.expected.get() + number).to_be_bytes());
                let mut value = event.id.as_bytes().to_vec();
                value.extend_from_slice(&event.payload);
                batch.insert(&self.events, key, value);
            }
        }
        batch.commit().expect("committed");
    }
}
