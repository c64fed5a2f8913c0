//! Debian's Prometheus Alertmanager, taking in alerts over HTTP on loopback.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// One that runs, and ends with this.
pub(crate) struct Alertmanager {
    process: Child,
    address: String,
}

impl Alertmanager {
    /// Starts `program` with its data in `dir` and nobody to tell, and waits until it is ready.
    pub(crate) fn start(program: &Path, dir: &Path) -> Self {
        let config = dir.join("alertmanager.yml");
        std::fs::write(&config, "route: {receiver: none}\nreceivers: [{name: none}]\n").expect("written");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let address = format!("127.0.0.1:{port}");
        let process = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", dir.display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--cluster.listen-address=", "--log.level=error"])
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let begin = Instant::now();
        while TcpStream::connect(&address).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(20), "it does not listen");
            std::thread::yield_now();
        }
        Alertmanager { process, address }
    }

    /// Alerts per second: so many callers, each with a connection of its own on which it posts so many alerts at a time and
    /// waits for the answer.
    pub(crate) fn rate(&self, run: usize, callers: usize, batch: usize, count: usize) -> f64 {
        let per_caller = count / callers / batch;
        let begin = Instant::now();
        std::thread::scope(|scope| {
            for caller in 0..callers {
                scope.spawn(move || {
                    let mut connection = Connection::open(&self.address);
                    for request in 0..per_caller {
                        let first = (caller * per_caller + request) * batch;
                        let alerts: Vec<String> =
                            (first..first + batch).map(|number| alert(&format!("{run}-{number}"))).collect();
                        connection.post(&format!("[{}]", alerts.join(",")));
                    }
                });
            }
        });
        (per_caller * callers * batch) as f64 / begin.elapsed().as_secs_f64()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn alert(incident: &str) -> String {
    format!(
        r#"{{"labels":{{"alertname":"breach","severity":"critical","org":"org","incident":"{incident}"}},"annotations":{{"summary":"Target missed: incident {incident}"}}}}"#
    )
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        Connection(BufReader::new(stream))
    }

    fn post(&mut self, body: &str) {
        let request = format!(
            "POST /api/v2/alerts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.get_mut().write_all(request.as_bytes()).expect("sent");
        let (mut line, mut length) = (String::new(), 0);
        self.0.read_line(&mut line).expect("an answer");
        assert!(line.contains(" 200 "), "{line}");
        loop {
            line.clear();
            self.0.read_line(&mut line).expect("a header");
            if line.trim().is_empty() {
                break;
            }
            if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = text.trim().parse().expect("a number");
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a body");
    }
}
