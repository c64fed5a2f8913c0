//! Dispatch analytics beside VictoriaMetrics and DuckDB, where they do the same work, in one run: a file of dispatches to
//! stored and queryable, and three questions about a month. `cargo bench --bench analytics_peers --no-default-features`
//!
//! VictoriaMetrics is run when `victoria-metrics` (Debian's package; or what VICTORIA_METRICS names) is there, DuckDB when
//! Python (`python3`, or what DUCKDB_PYTHON names) has its package; else the line says so. `IONVEIL_BENCH_EVENTS` (250000).
//!
//! What is not the same: IonVeil and DuckDB count an id once and have every row on disk when they say so; VictoriaMetrics does
//! neither, and interpolates percentiles. IonVeil and DuckDB are asked in-process, VictoriaMetrics over HTTP on loopback with
//! its caches off. Values are compared before anything is printed.

#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant as Clock};

use ionveil::dispatch::{AggregationType, GetMetric, Instant, Metric, Percent};
use ionveil::domain::{MICROS_PER_HOUR, MICROS_PER_MINUTE, OrgId, TimeWindow, Timestamp};
use ionveil::ingest::{Mapping, Source, read};
use ionveil::{Config, DispatchAggregator, IonVeil};
use pollster::block_on;
use serde_json::{Value, json};

const DAYS: i64 = 30;
const MICROS_PER_DAY: i64 = 24 * MICROS_PER_HOUR;
/// How often each question is asked, each time about another span.
const ASKED: usize = 200;
const ROUNDS: usize = 3;

/// A question that all three can answer.
struct Question {
    what: &'static str,
    aggregation: AggregationType,
    window: TimeWindow,
    width_micros: i64,
    windows: i64,
}

const QUESTIONS: [Question; 3] = [
    Question {
        what: "mean of each of a day's 96 quarter-hours",
        aggregation: AggregationType::Average,
        window: TimeWindow::Minute15,
        width_micros: 15 * MICROS_PER_MINUTE,
        windows: 96,
    },
    Question {
        what: "p90 of each of 30 days",
        aggregation: AggregationType::Percentile(Percent::P90),
        window: TimeWindow::Day1,
        width_micros: MICROS_PER_DAY,
        windows: DAYS,
    },
    Question {
        what: "p90 of 30 days at once",
        aggregation: AggregationType::Percentile(Percent::P90),
        window: TimeWindow::All,
        width_micros: DAYS * MICROS_PER_DAY,
        windows: 1,
    },
];

impl Question {
    /// The starts of the spans that are asked about.
    fn starts(&self) -> Vec<i64> {
        let span = self.width_micros * self.windows;
        // Whole windows of the month, in an order that helps nobody's cache.
        let places = (DAYS * MICROS_PER_DAY - span) / self.width_micros + 1;
        (0..ASKED as i64).map(|number| start() + number * 7_919 % places * self.width_micros).collect()
    }
}

/// What one system did: rows per second, and per question the first answer's values and the median of microseconds.
struct Figures {
    rows_per_second: f64,
    answers: Vec<(Vec<f64>, f64)>,
}

/// Stores the rows in an empty directory and answers the questions; `None` when the system is not on this machine.
type Run = fn(rows: &Path, dir: &Path) -> Option<Figures>;

fn main() {
    let events = std::env::var("IONVEIL_BENCH_EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(250_000);
    let place = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory on the disk of the build");
    let rows = place.path().join("rows.csv");
    std::fs::write(&rows, csv(events)).expect("the disk takes it");
    println!("{events} dispatches of one org over {DAYS} days, medians of {ROUNDS} interleaved runs\n");
    let systems: [(&str, Run); 3] = [("IonVeil", ionveil), ("DuckDB", duckdb), ("VictoriaMetrics", victoria_metrics)];
    let mut runs: Vec<Vec<Figures>> = systems.iter().map(|_| Vec::new()).collect();
    for round in 0..ROUNDS {
        for (number, (_, run)) in systems.iter().enumerate() {
            let dir = place.path().join(format!("{round}-{number}"));
            std::fs::create_dir(&dir).expect("created");
            runs[number].extend(run(&rows, &dir));
            std::fs::remove_dir_all(&dir).expect("removed");
        }
    }
    let ours = &runs[0];
    for ((name, _), figures) in systems.iter().zip(&runs) {
        figures.iter().for_each(|figures| assert_alike(name, &ours[0], figures));
    }
    let line = |what: &str, of: &dyn Fn(&Figures) -> f64, unit: &str| {
        let median = |figures: &[Figures]| median(figures.iter().map(of).collect());
        println!("{what}");
        for ((name, _), figures) in systems.iter().zip(&runs) {
            match figures.as_slice() {
                [] => println!("  {name:<16} is not on this machine"),
                figures => {
                    let (value, ratio) = (median(figures), median(figures) / median(ours));
                    println!("  {name:<16} {value:>12.0} {unit}  {ratio:.2}");
                }
            }
        }
    };
    line("CSV file to stored and queryable", &|figures| figures.rows_per_second, "rows/s");
    for (number, question) in QUESTIONS.iter().enumerate() {
        line(question.what, &|figures| figures.answers[number].1, "µs");
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn start() -> i64 {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().expect("an instant").as_micros()
}

/// Rows with an id, an instant that no window begins or ends with, minutes with two digits, a region.
fn csv(events: usize) -> String {
    let mut text = "event_id,at,minutes,region\n".to_owned();
    let mut state = 1u64;
    for number in 0..events as i64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let millis = number * (DAYS * MICROS_PER_DAY / 1_000 - 1_000) / events as i64 / 1_000 * 1_000 + 137;
        let at = Timestamp::EPOCH.saturating_add_micros(start() + millis * 1_000);
        let (minutes, region) = ((state >> 40) % 3_000, (state >> 20) % 10);
        let _ = writeln!(text, "e-{number:08},{at},{}.{:02},B{region:02}", minutes / 100, minutes % 100);
    }
    text
}

/// Means and exact percentiles are equal but for the last digits; VictoriaMetrics' percentiles lie between two neighbours.
fn assert_alike(name: &str, ours: &Figures, theirs: &Figures) {
    for ((question, (ours, _)), (theirs, _)) in QUESTIONS.iter().zip(&ours.answers).zip(&theirs.answers) {
        let is_mean = question.aggregation == AggregationType::Average;
        let tolerance = if is_mean || name == "DuckDB" { 1e-9 } else { 5e-3 };
        let alike = |(ours, theirs): (&f64, &f64)| (ours - theirs).abs() <= tolerance * ours;
        assert!(
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(alike),
            "{} by {name}: {theirs:?} instead of {ours:?}",
            question.what
        );
    }
}

const MAPPING: &str = r#"
    event_id = { column = "event_id" }
    dispatch_id = { column = "event_id" }
    timestamp = { column = "at", pattern = "%Y-%m-%dT%H:%M:%S%.fZ", time_zone = "UTC" }
    severity = { constant = 3 }
    response_time_minutes = { column = "minutes" }
    distance_km = { constant = 0.0 }
    region = { column = "region" }
    unit_type = { constant = "ENGINE" }
"#;

fn ionveil(rows: &Path, dir: &Path) -> Option<Figures> {
    let mapping = dir.join("mapping.toml");
    std::fs::write(&mapping, MAPPING).expect("the disk takes it");
    let mapping = Mapping::load(&mapping).expect("a good mapping");
    let org: OrgId = "org".parse().expect("an id");
    let ionveil = IonVeil::open(Config::at(dir.join("data"))).expect("opens");
    let aggregator = ionveil.dispatch_aggregator();
    let begun = Clock::now();
    block_on(aggregator.set_retention(&org, 0)).expect("in range");
    let counted = ingest(&aggregator, rows, &org, &mapping);
    let rows_per_second = counted as f64 / begun.elapsed().as_secs_f64();
    let answers = QUESTIONS.iter().map(|question| {
        asked(question, |from, to| {
            let mut metric = GetMetric::new(Metric::ResponseTime, question.window, question.aggregation);
            let at = |micros| Some(Instant::At(Timestamp::EPOCH.saturating_add_micros(micros)));
            (metric.start, metric.end) = (at(from), at(to));
            let answer = block_on(aggregator.get_metric(&org, metric)).expect("an answer");
            answer.into_iter().filter_map(|metric| metric.value).collect()
        })
    });
    let figures = Figures { rows_per_second, answers: answers.collect() };
    block_on(ionveil.shutdown(Duration::from_secs(10)));
    Some(figures)
}

/// A reader on one thread, counting on the actors', as the command line does.
fn ingest(aggregator: &DispatchAggregator, rows: &Path, org: &OrgId, mapping: &Mapping) -> usize {
    let mut counted = 0;
    let mut stream = aggregator.ingest_stream();
    read(&Source::from(rows), org, Some(mapping), &AtomicU64::new(0), &mut |row| {
        stream.push((), row.outcome.expect("every row is good"));
        if stream.is_full() {
            counted += block_on(stream.settle()).expect("taken").map_or(0, |settled| settled.report.accepted);
        }
        ControlFlow::Continue(())
    })
    .expect("readable");
    stream.flush();
    while let Some(settled) = block_on(stream.settle()).expect("taken") {
        counted += settled.report.accepted;
    }
    counted
}

/// The first answer, and the median of all in microseconds.
fn asked(question: &Question, mut ask: impl FnMut(i64, i64) -> Vec<f64>) -> (Vec<f64>, f64) {
    let span = question.width_micros * question.windows;
    let mut first = Vec::new();
    let micros = question.starts().into_iter().enumerate().map(|(number, from)| {
        let begun = Clock::now();
        let values = ask(from, from + span);
        let micros = begun.elapsed().as_secs_f64() * 1e6;
        if number == 0 {
            first = values;
        }
        micros
    });
    let micros = median(micros.collect());
    (first, micros)
}

/// Prints the rows per second, then of each question the first answer and the median of microseconds.
const DUCKDB: &str = r#"
import json, sys, time
import duckdb
rows, database, questions = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
db = duckdb.connect(database)
db.execute("SET TimeZone = 'UTC'; SET threads = 2")
db.execute("CREATE TABLE dispatches (event_id VARCHAR PRIMARY KEY, moment TIMESTAMP, minutes DOUBLE, region VARCHAR)")
begun = time.perf_counter()
db.execute(f"INSERT INTO dispatches SELECT * FROM read_csv('{rows}', types={{'at': 'TIMESTAMP'}}) ON CONFLICT DO NOTHING")
count = db.execute("SELECT count(*) FROM dispatches").fetchone()[0]
rate = count / (time.perf_counter() - begun)
answers = []
for question in questions:
    took, first, span = [], None, question["width"] * question["windows"]
    sql = f"""SELECT {question["value"]} FROM dispatches WHERE moment >= make_timestamp($1) AND moment < make_timestamp($2)
        GROUP BY (epoch_us(moment) - $1) // {question["width"]} ORDER BY (epoch_us(moment) - $1) // {question["width"]}"""
    for start in question["starts"]:
        begun = time.perf_counter()
        values = [row[0] for row in db.execute(sql, [start, start + span]).fetchall()]
        took.append(time.perf_counter() - begun)
        first = first or values
    answers.append([first, sorted(took)[len(took) // 2] * 1e6])
print(json.dumps([rate, answers]))
"#;

fn duckdb(rows: &Path, dir: &Path) -> Option<Figures> {
    let python = std::env::var("DUCKDB_PYTHON").unwrap_or_else(|_| "python3".into());
    let is_there = Command::new(&python).args(["-c", "import duckdb"]).stderr(Stdio::null()).status();
    is_there.ok().filter(std::process::ExitStatus::success)?;
    let question = |question: &Question| {
        let value = match question.aggregation {
            AggregationType::Average => "avg(minutes)",
            _ => "quantile_disc(minutes, 0.9)",
        };
        json!({
            "value": value, "width": question.width_micros, "windows": question.windows, "starts": question.starts(),
        })
    };
    let questions = Value::from_iter(QUESTIONS.iter().map(question)).to_string();
    let args = [rows.display().to_string(), dir.join("db").display().to_string(), questions];
    let output = Command::new(&python).args(["-c", DUCKDB]).args(args).output().expect("it was there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (rows_per_second, answers) = serde_json::from_slice(&output.stdout).expect("what the script prints");
    Some(Figures { rows_per_second, answers })
}

/// A server that ends with its owner.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn victoria_metrics(rows: &Path, dir: &Path) -> Option<Figures> {
    let program = std::env::var("VICTORIA_METRICS").unwrap_or_else(|_| "victoria-metrics".into());
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let child = Command::new(program)
        .args(["-retentionPeriod=100y", "-search.latencyOffset=0", "-search.disableCache", "-loggerLevel=ERROR"])
        .arg(format!("-httpListenAddr={free}"))
        .arg(format!("-storageDataPath={}", dir.join("data").display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _server = Server(child.ok()?);
    let until = Clock::now() + Duration::from_secs(20);
    let connection = loop {
        match TcpStream::connect(free) {
            Ok(connection) => break connection,
            Err(error) => assert!(Clock::now() < until, "VictoriaMetrics does not answer: {error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    connection.set_nodelay(true).expect("a socket");
    let mut http = Http(BufReader::new(connection));
    let text = std::fs::read_to_string(rows).expect("readable");
    let (_, body) = text.split_once('\n').expect("a header");
    let begun = Clock::now();
    http.post("/api/v1/import/csv?format=2:time:rfc3339,3:metric:minutes", body);
    http.get("/internal/force_flush");
    let rows_per_second = body.lines().count() as f64 / begun.elapsed().as_secs_f64();
    let answers = QUESTIONS.iter().map(|question| {
        let seconds = question.width_micros / 1_000_000;
        let query = match question.aggregation {
            AggregationType::Average => format!("avg_over_time%28minutes%5B{seconds}s%5D%29"),
            _ => format!("quantile_over_time%280.9%2Cminutes%5B{seconds}s%5D%29"),
        };
        asked(question, |from, to| {
            // A window is asked for by its end.
            let (from, to) = ((from + question.width_micros) / 1_000_000, to / 1_000_000);
            let path = format!("/api/v1/query_range?nocache=1&query={query}&start={from}&end={to}&step={seconds}s");
            let answer: Value = serde_json::from_slice(&http.get(&path)).expect("JSON");
            let values = answer["data"]["result"][0]["values"].as_array().expect("a series");
            values.iter().filter_map(|point| point[1].as_str()?.parse().ok()).collect()
        })
    });
    Some(Figures { rows_per_second, answers: answers.collect() })
}

/// Just enough of HTTP/1.1 to ask a server on loopback over one connection.
struct Http(BufReader<TcpStream>);

impl Http {
    fn get(&mut self, path: &str) -> Vec<u8> {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: loopback\r\n\r\n"), "")
    }

    fn post(&mut self, path: &str, body: &str) -> Vec<u8> {
        let head = format!("POST {path} HTTP/1.1\r\nHost: loopback\r\nContent-Length: {}\r\n\r\n", body.len());
        self.send(&head, body)
    }

    fn send(&mut self, head: &str, body: &str) -> Vec<u8> {
        let connection = self.0.get_mut();
        connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(body.as_bytes())).expect("sent");
        let status = self.line();
        assert!(status.starts_with("HTTP/1.1 20"), "{head}: {status}");
        let (mut length, mut is_chunked) = (0, false);
        loop {
            let header = self.line().to_ascii_lowercase();
            match header.split_once(": ") {
                None => break,
                Some(("content-length", value)) => length = value.parse().expect("a length"),
                Some(("transfer-encoding", value)) => is_chunked = value == "chunked",
                Some(_) => {}
            }
        }
        if !is_chunked {
            return self.take(length);
        }
        let mut whole = Vec::new();
        loop {
            let length = usize::from_str_radix(&self.line(), 16).expect("a length");
            whole.extend(self.take(length));
            self.line();
            if length == 0 {
                return whole;
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("readable");
        line.trim_end().to_owned()
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).expect("readable");
        bytes
    }
}
