//! The same entity as the actors', written for cqrs-es, on the repositories that exist for it.

use std::convert::Infallible;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{PersistedEventRepository, PersistedEventStore};
use cqrs_es::{Aggregate, CqrsFramework, DomainEvent};
use postgres_es::PostgresEventRepository;
use serde::{Deserialize, Serialize};
use sqlite_es::SqliteEventRepository;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::Mutex;

use crate::postgres::Cluster;
use crate::support::appends::PAYLOAD_LEN;
use crate::support::call;

/// A snapshot after so many events: in the rows with a thousand entities there is none.
const SNAPSHOT_EVENTS: usize = 100;
/// Found to be the best for each: SQLite has one writer, and several connections would only wait for each other.
const SQLITE_CONNECTIONS: u32 = 1;
const POSTGRES_CONNECTIONS: u32 = 32;

const SQLITE_SCHEMA: &str = "
    CREATE TABLE events (aggregate_type TEXT NOT NULL, aggregate_id TEXT NOT NULL, sequence INTEGER NOT NULL,
        event_type TEXT NOT NULL, event_version TEXT NOT NULL, payload TEXT NOT NULL, metadata TEXT NOT NULL,
        PRIMARY KEY (aggregate_type, aggregate_id, sequence)) STRICT;
    CREATE TABLE snapshots (aggregate_type TEXT NOT NULL, aggregate_id TEXT NOT NULL, last_sequence INTEGER NOT NULL,
        current_snapshot INTEGER NOT NULL, payload TEXT NOT NULL,
        PRIMARY KEY (aggregate_type, aggregate_id, last_sequence)) STRICT;";
const POSTGRES_SCHEMA: &str = "
    CREATE TABLE events (aggregate_type text NOT NULL, aggregate_id text NOT NULL, sequence bigint NOT NULL,
        event_type text NOT NULL, event_version text NOT NULL, payload json NOT NULL, metadata json NOT NULL,
        PRIMARY KEY (aggregate_type, aggregate_id, sequence));
    CREATE TABLE snapshots (aggregate_type text NOT NULL, aggregate_id text NOT NULL, last_sequence bigint NOT NULL,
        current_snapshot bigint NOT NULL, payload json NOT NULL,
        PRIMARY KEY (aggregate_type, aggregate_id, last_sequence));";

/// Counts what it is told.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Tally(u64);

/// Text, since the events of cqrs-es are JSON.
pub struct Note(String);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Noted(String);

impl DomainEvent for Noted {
    fn event_type(&self) -> String {
        "noted".into()
    }

    fn event_version(&self) -> String {
        "1".into()
    }
}

impl Aggregate for Tally {
    const TYPE: &'static str = "tally";
    type Command = Note;
    type Event = Noted;
    type Error = Infallible;
    type Services = ();

    async fn handle(&mut self, Note(text): Note, _: &(), sink: &EventSink<Self>) -> Result<(), Infallible> {
        sink.write(Noted(text), self).await;
        Ok(())
    }

    fn apply(&mut self, Noted(text): Noted) {
        self.0 += text.len() as u64;
    }
}

type Framework<R> = CqrsFramework<Tally, PersistedEventStore<R, Tally>>;

pub async fn on_sqlite(path: &Path) -> Framework<SqliteEventRepository> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let pool = SqlitePoolOptions::new().max_connections(SQLITE_CONNECTIONS).acquire_timeout(Duration::from_secs(300));
    let pool = pool.connect_with(options).await.expect("opens");
    sqlx::raw_sql(SQLITE_SCHEMA).execute(&pool).await.expect("tables");
    framework(SqliteEventRepository::new(pool))
}

pub async fn on_postgres(cluster: &Cluster, database: &str) -> Framework<PostgresEventRepository> {
    let first =
        PgPoolOptions::new().max_connections(1).connect_with(cluster.database("postgres")).await.expect("answers");
    sqlx::raw_sql(&format!("CREATE DATABASE {database}")).execute(&first).await.expect("a database");
    first.close().await;
    let pool = PgPoolOptions::new().max_connections(POSTGRES_CONNECTIONS).acquire_timeout(Duration::from_secs(300));
    let pool = pool.connect_with(cluster.database(database)).await.expect("answers");
    sqlx::raw_sql(POSTGRES_SCHEMA).execute(&pool).await.expect("tables");
    framework(PostgresEventRepository::new(pool))
}

fn framework<R: PersistedEventRepository>(repository: R) -> Framework<R> {
    let store = PersistedEventStore::new_snapshot_store(repository, SNAPSHOT_EVENTS);
    CqrsFramework::new(store, Vec::new(), ())
}

/// Durable commands per second, after one to each entity.
pub fn rate<R: PersistedEventRepository + 'static>(
    open: impl Future<Output = Framework<R>>,
    callers: usize,
    entities: usize,
    time: Duration,
) -> f64 {
    let host = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&host, async {
        let framework = Rc::new(open.await);
        // The framework refuses whoever is second to write to an entity, so one at a time is let to each.
        let turns: Rc<Vec<Mutex<()>>> = Rc::new((0..entities).map(|_| Mutex::new(())).collect());
        let send = move |entity: usize, number: u64| {
            let (framework, turns) = (Rc::clone(&framework), Rc::clone(&turns));
            async move {
                let text = format!("{number:0PAYLOAD_LEN$}");
                let _turn = turns[entity].lock().await;
                framework.execute(&entity.to_string(), Note(text)).await.expect("durable");
            }
        };
        call(callers, entities, move |sent| sent < entities as u64, send.clone()).await;
        let begin = Instant::now();
        let sent = call(callers, entities, move |_| begin.elapsed() < time, send).await;
        sent as f64 / begin.elapsed().as_secs_f64()
    })
}
