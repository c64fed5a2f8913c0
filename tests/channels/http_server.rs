//! An HTTP server on loopback that does what a script says, one act a connection.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};

use crate::support::PATIENCE;

/// What becomes of one connection.
#[derive(Clone)]
pub(crate) enum Act {
    /// The request is read, and this comes back, as it stands.
    Answer(String),
    /// The request is read, and nothing comes back.
    StallBeforeAnswer,
    /// Nothing is read, nothing comes back.
    StallAtOnce,
    /// The request is read, and the connection is closed.
    CloseBeforeAnswer,
    /// The connection is closed in the middle of the head of the answer.
    CloseInHead,
    /// A head with ever more headers.
    EndlessHead,
    /// A header without an end.
    EndlessLine,
    /// A refusal with a body that goes on for ever.
    EndlessBody,
    /// One byte of the head whenever the client may be losing patience, but not yet.
    Drip,
}

/// `HTTP/1.1 <status>`, headers and an empty body.
pub(crate) fn answer(status: &str, headers: &[&str]) -> Act {
    answer_with(status, headers, "")
}

pub(crate) fn answer_with(status: &str, headers: &[&str], body: &str) -> Act {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    Act::Answer(format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()))
}

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Request {
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    requests: Receiver<Request>,
    written: Receiver<u64>,
}

impl Server {
    /// Does one act after the other, the last one for all further connections. The thread ends with the test process.
    pub(crate) fn start(script: Vec<Act>) -> Self {
        Self::start_with(script, None)
    }

    pub(crate) fn start_tls(script: Vec<Act>, tls: Arc<rustls::ServerConfig>) -> Self {
        Self::start_with(script, Some(tls))
    }

    fn start_with(script: Vec<Act>, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, requests) = channel();
        let (written_sender, written) = channel();
        let scheme = if tls.is_some() { "https" } else { "http" };
        std::thread::spawn(move || {
            for (number, connection) in listener.incoming().enumerate() {
                let act = script[number.min(script.len() - 1)].clone();
                let Ok(connection) = connection else { continue };
                let received = |request| drop(sender.send(request));
                let wrote = |bytes| written_sender.send(bytes).unwrap_or_default();
                let outcome = match &tls {
                    None => serve(connection, &act, &received, &wrote),
                    Some(tls) => {
                        rustls::ServerConnection::new(Arc::clone(tls)).map_err(io::Error::other).and_then(|session| {
                            let stream = rustls::StreamOwned::new(session, connection);
                            serve(stream, &act, &received, &wrote)
                        })
                    }
                };
                // Clients hang up in the middle: that is what most of these tests are about.
                drop(outcome);
            }
        });
        Server { address, scheme, requests, written }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://127.0.0.1:{}/hook", self.scheme, self.address.port())
    }

    /// Where and how it may be reached, for the configuration of a channel.
    pub(crate) fn allowed(&self) -> String {
        "allow_addresses = [\"127.0.0.0/8\"]\nallow_plain_http = true".to_owned()
    }

    #[track_caller]
    pub(crate) fn request(&self) -> Request {
        self.requests.recv_timeout(PATIENCE).expect("a request")
    }

    /// How much of something endless was written before the client hung up, in bytes.
    #[track_caller]
    pub(crate) fn written(&self) -> u64 {
        self.written.recv_timeout(PATIENCE).expect("the client hung up")
    }

    /// Whether no further request has come.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.requests.try_recv(), Err(std::sync::mpsc::TryRecvError::Empty))
    }
}

/// A listener whose queue is full: whoever connects now waits for an answer that does not come.
pub(crate) struct Full {
    pub(crate) address: SocketAddr,
    _listener: tokio::net::TcpListener,
    _waiting: Vec<TcpStream>,
    _runtime: tokio::runtime::Runtime,
}

impl Full {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        let entered = runtime.enter();
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let listener = socket.listen(0).expect("a listener");
        let address = listener.local_addr().expect("an address");
        drop(entered);
        let patience = std::time::Duration::from_millis(50);
        let mut waiting = Vec::new();
        while let Ok(connection) = TcpStream::connect_timeout(&address, patience) {
            waiting.push(connection);
            assert!(waiting.len() < 10_000, "the queue has no end");
        }
        Full { address, _listener: listener, _waiting: waiting, _runtime: runtime }
    }
}

fn serve(
    mut stream: impl Read + Write,
    act: &Act,
    received: &dyn Fn(Request),
    written: &dyn Fn(u64),
) -> io::Result<()> {
    if matches!(act, Act::StallAtOnce) {
        // Held until the test is over. Reading is what would let the client go on.
        let (_keep, never) = channel::<()>();
        while never.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {}
        return Ok(());
    }
    let request = read(&mut stream)?;
    received(request);
    match act {
        Act::Answer(answer) => {
            stream.write_all(answer.as_bytes())?;
            stream.flush()
        }
        Act::StallBeforeAnswer => stream.read(&mut [0]).map(|_| ()),
        Act::CloseBeforeAnswer | Act::StallAtOnce => Ok(()),
        Act::CloseInHead => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le"),
        Act::EndlessHead => endless(&mut stream, "HTTP/1.1 200 OK\r\n", "x-more: and more and more\r\n", written),
        Act::EndlessLine => endless(&mut stream, "HTTP/1.1 200 OK\r\nx-more: ", "and more and more ", written),
        Act::EndlessBody => {
            let head = "HTTP/1.1 400 Bad Request\r\ntransfer-encoding: chunked\r\n\r\n";
            endless(&mut stream, head, &format!("1000\r\n{}\r\n", "x".repeat(0x1000)), written)
        }
        Act::Drip => {
            let (_keep, never) = channel::<()>();
            for byte in b"HTTP/1.1 200 OK\r\nx-slow: ".iter().chain([b'x'].iter().cycle()) {
                stream.write_all(&[*byte])?;
                stream.flush()?;
                let _ = never.recv_timeout(std::time::Duration::from_millis(20));
            }
            Ok(())
        }
    }
}

/// Until the client hangs up; then says how much there was.
fn endless(stream: &mut impl Write, head: &str, piece: &str, written: &dyn Fn(u64)) -> io::Result<()> {
    stream.write_all(head.as_bytes())?;
    let pieces = piece.repeat(1 + 64 * 1024 / piece.len());
    let mut count = 0;
    while stream.write_all(pieces.as_bytes()).is_ok() {
        count += pieces.len() as u64;
    }
    written(count);
    Ok(())
}

fn read(stream: &mut impl Read) -> io::Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Request { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() })
}
