//! An SMTP server on loopback: greeting, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, QUIT (RFC 5321, 3207, 4954), which
//! answers as it is told to and keeps what it was given.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::PATIENCE;

/// How the server behaves. The default takes every mail in plain text.
#[derive(Clone, Default)]
pub(crate) struct Behaviour {
    /// With STARTTLS on offer, or from the first byte.
    pub(crate) tls: Option<(Tls, Arc<rustls::ServerConfig>)>,
    /// User and password without which nothing is taken.
    pub(crate) login: Option<(&'static str, &'static str)>,
    /// Answers in the place of its own, by the beginning of what the client says; `GREETING` and `MAIL DATA END` too. Of
    /// several that fit the first counts; one without an answer closes the connection.
    pub(crate) answers: Vec<(&'static str, Reply)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    Starttls,
    Implicit,
}

#[derive(Clone, Copy)]
pub(crate) enum Reply {
    Line(&'static str),
    /// The connection is closed.
    Close,
    /// Nothing comes.
    Stall,
    /// A line that goes on for ever.
    Endless,
    /// Lines that go on for ever.
    EndlessLines,
    /// A byte at a time, without ever coming to the end of the line.
    Drip,
}

/// A mail as the server took it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) data: String,
    pub(crate) encrypted: bool,
    pub(crate) login: Option<String>,
}

impl Taken {
    /// A header, unfolded; of the mail itself, not of its parts.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> String {
        self.headers()
            .find_map(|(key, value)| (key == name).then_some(value))
            .unwrap_or_else(|| panic!("no {name} in\n{}", self.data))
    }

    pub(crate) fn headers(&self) -> impl Iterator<Item = (String, String)> {
        let head = self.data.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n ", " ");
        let pairs: Vec<_> = head
            .split("\r\n")
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        pairs.into_iter()
    }
}

pub(crate) struct Server {
    pub(crate) port: u16,
    taken: Receiver<Taken>,
    said: Receiver<String>,
}

impl Server {
    /// Serves one connection after the other. The thread ends with the test process.
    pub(crate) fn start(behaviours: Vec<Behaviour>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (taken_sender, taken) = channel();
        let (said_sender, said) = channel();
        std::thread::spawn(move || {
            for (number, connection) in listener.incoming().enumerate() {
                let behaviour = &behaviours[number.min(behaviours.len() - 1)];
                let Ok(connection) = connection else { continue };
                let mut session = Session {
                    behaviour,
                    stream: Stream::Plain(connection),
                    mail: Taken::default(),
                    say: &|line| drop(said_sender.send(line.to_owned())),
                    take: &|mail| drop(taken_sender.send(mail)),
                };
                // Clients hang up in the middle: that is what some of these tests are about.
                drop(session.serve());
            }
        });
        Server { port, taken, said }
    }

    #[track_caller]
    pub(crate) fn taken(&self) -> Taken {
        self.taken.recv_timeout(PATIENCE).expect("a mail")
    }

    pub(crate) fn has_no_mail(&self) -> bool {
        self.taken.try_recv().is_err()
    }

    /// What clients have said so far.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.try_iter().collect()
    }
}

enum Stream {
    Plain(TcpStream),
    Encrypted(Box<rustls::StreamOwned<rustls::ServerConnection, TcpStream>>),
    Gone,
}

impl Stream {
    fn as_io(&mut self) -> io::Result<&mut dyn ReadWrite> {
        match self {
            Stream::Plain(stream) => Ok(stream),
            Stream::Encrypted(stream) => Ok(stream.as_mut()),
            Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

struct Session<'a> {
    behaviour: &'a Behaviour,
    stream: Stream,
    mail: Taken,
    say: &'a dyn Fn(&str),
    take: &'a dyn Fn(Taken),
}

impl Session<'_> {
    fn serve(&mut self) -> io::Result<()> {
        if matches!(self.behaviour.tls, Some((Tls::Implicit, _))) {
            self.encrypt()?;
        }
        self.answer("GREETING", "220 loopback ESMTP")?;
        loop {
            let line = self.read_line()?;
            (self.say)(&line);
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let is_known = self.behaviour.login.is_none() || self.mail.login.is_some();
            match verb.as_str() {
                "EHLO" => {
                    let mut lines = vec!["250-loopback", "250-8BITMIME", "250-SMTPUTF8"];
                    if matches!(self.behaviour.tls, Some((Tls::Starttls, _))) && !self.mail.encrypted {
                        lines.push("250-STARTTLS");
                    }
                    if self.behaviour.login.is_some() {
                        lines.push("250-AUTH PLAIN LOGIN");
                    }
                    lines.push("250 SIZE 1000000");
                    self.answer(&line, &lines.join("\r\n"))?;
                }
                "STARTTLS" => {
                    self.answer(&line, "220 go ahead")?;
                    self.encrypt()?;
                }
                "AUTH" => self.auth(&line)?,
                "MAIL" if is_known => {
                    self.mail.from = path(&line);
                    self.mail.to.clear();
                    self.answer(&line, "250 sender ok")?;
                }
                "RCPT" if is_known => {
                    if self.answer(&line, "250 recipient ok")? {
                        self.mail.to.push(path(&line));
                    }
                }
                "DATA" if is_known && !self.mail.to.is_empty() => {
                    if self.answer(&line, "354 end with a full stop")? {
                        self.mail.data = self.read_data()?;
                        if self.answer("MAIL DATA END", "250 queued")? {
                            (self.take)(self.mail.clone());
                        }
                    }
                }
                "QUIT" => {
                    self.answer(&line, "221 bye")?;
                    return Ok(());
                }
                _ => drop(self.answer(&line, "530 not now")?),
            }
        }
    }

    /// Sends the scripted answer, else `usual`; whether it was a good one.
    fn answer(&mut self, said: &str, usual: &str) -> io::Result<bool> {
        let scripted = self.behaviour.answers.iter().find(|(begins, _)| said.starts_with(begins));
        let stream = self.stream.as_io()?;
        let text = match scripted.map(|(_, reply)| *reply) {
            None => usual,
            Some(Reply::Line(line)) => line,
            Some(Reply::Close) => return Err(io::ErrorKind::ConnectionAborted.into()),
            Some(Reply::Stall) => {
                // Until the client has gone.
                while stream.read(&mut [0; 64])? > 0 {}
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Some(Reply::Endless) => {
                stream.write_all(b"250 ")?;
                loop {
                    stream.write_all(&[b'x'; 1024])?;
                }
            }
            Some(Reply::EndlessLines) => loop {
                stream.write_all(b"250-and another thing\r\n")?;
            },
            Some(Reply::Drip) => {
                let (_keep, never) = channel::<()>();
                loop {
                    stream.write_all(b"2")?;
                    stream.flush()?;
                    let _ = never.recv_timeout(std::time::Duration::from_millis(20));
                }
            }
        };
        // In one piece, as a line that is sent at once arrives.
        stream.write_all(format!("{text}\r\n").as_bytes())?;
        stream.flush()?;
        Ok(text.starts_with(['2', '3']))
    }

    fn encrypt(&mut self) -> io::Result<()> {
        let (_, config) = self.behaviour.tls.as_ref().expect("it was offered");
        let Stream::Plain(stream) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return Err(io::ErrorKind::AlreadyExists.into());
        };
        let session = rustls::ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
        self.stream = Stream::Encrypted(Box::new(rustls::StreamOwned::new(session, stream)));
        self.mail.encrypted = true;
        Ok(())
    }

    fn auth(&mut self, line: &str) -> io::Result<()> {
        let Some((user, password)) = self.behaviour.login else { return self.answer(line, "503 no").map(|_| ()) };
        let given = line.strip_prefix("AUTH PLAIN ").and_then(|encoded| STANDARD.decode(encoded.trim()).ok());
        if given == Some(format!("\0{user}\0{password}").into_bytes()) {
            self.mail.login = Some(user.to_owned());
            self.answer(line, "235 welcome")?;
        } else {
            self.answer(line, "535 5.7.8 not with that password")?;
        }
        Ok(())
    }

    /// Byte by byte, so that nothing is read that belongs to the handshake after it.
    fn read_line(&mut self) -> io::Result<String> {
        let stream = self.stream.as_io()?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        line.truncate(line.len() - 2);
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    fn read_data(&mut self) -> io::Result<String> {
        let mut data = String::new();
        loop {
            match self.read_line()?.as_str() {
                "." => return Ok(data),
                line => {
                    data.push_str(line.strip_prefix('.').unwrap_or(line));
                    data.push_str("\r\n");
                }
            }
        }
    }
}

/// What stands between `<` and `>`.
fn path(line: &str) -> String {
    line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(path, _)| path.to_owned()).unwrap_or_default()
}
