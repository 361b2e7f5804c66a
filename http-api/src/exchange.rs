//! The time limits of one connection, and the stream that shows where the connection stands.
//!
//! *Promises*: a request comes whole within the limit, counted from the connection or from the answer before it; an answer is taken within
//! the limit, counted from its request. Bytes alone move no limit, so nobody gains time by sending or reading a little.
//!
//! The limits are here because hyper has one for requests only, and would wait for ever for a peer that takes no answer.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, sleep_until},
};

/// The first byte of every TLS connection: a record of the handshake (RFC 8446, section 5.1). No request begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// Where a connection stands. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Exchange(Arc<Mutex<Stand>>);

#[derive(Debug)]
struct Stand {
    limit: Duration,
    deadline: Instant,
    /// Requests that came whole.
    requests: u32,
    /// A request is not fully answered.
    answering: bool,
    /// Bytes came since the last request was whole.
    begun: bool,
    first_byte: Option<u8>,
}

/// What did not happen in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// A request did not come whole.
    Request,
    /// An answer was not taken.
    Answer,
    /// After an answer, no further request began.
    Next,
}

impl Exchange {
    /// A new connection, whose requests and answers may each take `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        Self(Arc::new(Mutex::new(Stand {
            limit,
            deadline: Instant::now() + limit,
            requests: 0,
            answering: false,
            begun: false,
            first_byte: None,
        })))
    }

    /// A request has come whole. Returns how many have. The limit of an answer begins, unless the one of another answer runs.
    pub(crate) fn request(&self) -> u32 {
        let mut stand = self.stand();
        stand.requests = stand.requests.saturating_add(1);
        stand.begun = false;
        if !stand.answering {
            stand.answering = true;
            stand.deadline = Instant::now() + stand.limit;
        }
        stand.requests
    }

    /// Waits until something is overdue.
    pub(crate) async fn overdue(&self) -> Overdue {
        loop {
            let deadline = {
                let stand = self.stand();
                if stand.deadline <= Instant::now() {
                    return stand.overdue();
                }
                stand.deadline
            };
            sleep_until(deadline).await;
        }
    }

    /// Whether the connection began as TLS does.
    pub(crate) fn began_as_tls(&self) -> bool {
        self.stand().first_byte == Some(TLS_HANDSHAKE)
    }

    fn came(&self, bytes: &[u8]) {
        let mut stand = self.stand();
        stand.begun |= !bytes.is_empty();
        stand.first_byte = stand.first_byte.or(bytes.first().copied());
    }

    /// Everything that was to be written is with the kernel.
    fn flushed(&self) {
        let mut stand = self.stand();
        if stand.answering {
            stand.answering = false;
            stand.deadline = Instant::now() + stand.limit;
        }
    }

    fn stand(&self) -> MutexGuard<'_, Stand> {
        // Nothing can panic while this is locked, and if it could, the stand would still be right.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stand {
    const fn overdue(&self) -> Overdue {
        match self {
            Self { answering: true, .. } => Overdue::Answer,
            Self { begun: false, requests: 1.., .. } => Overdue::Next,
            _ => Overdue::Request,
        }
    }
}

/// A stream whose reads and flushes are noted.
#[derive(Debug)]
pub(crate) struct Watched<S> {
    stream: S,
    exchange: Exchange,
}

impl<S> Watched<S> {
    pub(crate) const fn new(stream: S, exchange: Exchange) -> Self {
        Self { stream, exchange }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.exchange.came(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    /// hyper flushes only when it has nothing left to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.exchange.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
