//! What is between lettre and a mail server: limits on what is read.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How much of a server is read before it is spoken to again, in bytes; answers have some hundreds, a chain of certificates
/// some thousands.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// How much is read at once, in bytes.
const READ_BYTES: usize = 4 * 1024;

/// A stream that hands out one line at a time, and at each turn only so much.
///
/// So much: a line without an end would otherwise be kept in memory as far as it comes. One line: lettre reads ahead and keeps
/// what it has when encryption begins, so that whoever is in between could put answers behind the one to STARTTLS, which
/// then count as the server's own. What comes behind that line stays here, where the handshake meets it and breaks.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    inner: S,
    left: usize,
    /// What was read and not handed out, from `next` on.
    ahead: Vec<u8>,
    next: usize,
}

impl<S> Bounded<S> {
    pub(super) fn new(inner: S) -> Self {
        Bounded { inner, left: ANSWER_BYTES_MAX, ahead: Vec::new(), next: 0 }
    }

    /// The next line, or as much of it as has come and fits.
    fn hand_out(&mut self, buf: &mut ReadBuf<'_>) {
        let ahead = &self.ahead[self.next..];
        let line = ahead.iter().position(|byte| *byte == b'\n').map_or(ahead.len(), |end| end + 1);
        let count = line.min(buf.remaining());
        buf.put_slice(&ahead[..count]);
        self.next += count;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.next == this.ahead.len() {
            if this.left == 0 {
                return Poll::Ready(Err(io::Error::other("the server's answers have no end")));
            }
            this.ahead.resize(this.left.min(READ_BYTES), 0);
            this.next = 0;
            let mut read = ReadBuf::new(&mut this.ahead);
            let polled = Pin::new(&mut this.inner).poll_read(cx, &mut read);
            let count = read.filled().len();
            this.ahead.truncate(count);
            this.left -= count;
            if !matches!(polled, Poll::Ready(Ok(()))) {
                return polled;
            }
        }
        this.hand_out(buf);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.left = ANSWER_BYTES_MAX;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Whose address the stream has.
trait Peer {
    fn peer(&self) -> io::Result<SocketAddr>;
}

impl Peer for TcpStream {
    fn peer(&self) -> io::Result<SocketAddr> {
        self.peer_addr()
    }
}

impl Peer for tokio_rustls::client::TlsStream<TcpStream> {
    fn peer(&self) -> io::Result<SocketAddr> {
        self.get_ref().0.peer_addr()
    }
}

impl<S: AsyncRead + AsyncWrite + Peer + Send + Sync + Unpin + fmt::Debug> AsyncTokioStream for Bounded<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.peer()
    }
}
