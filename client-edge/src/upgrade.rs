//! From the first byte of a connection to the beginning of its websocket.
//!
//! *Trusts* nothing that is read. *Promises*: whoever speaks HTTP gets an HTTP answer and can read it, whatever else it has sent; a
//! request takes no more memory than [`REQUEST_LIMIT`]; it has come by the deadline, and its answer takes at most twice
//! [`CLOSE_LIMIT`].

use std::net::IpAddr;

use proto::peer::TrustedNetwork;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    http_request::{Answer, RequestHead},
    pace::Pace,
    proxy_header::ProxyHeader,
    websocket::CLOSE_LIMIT,
};

/// Bytes that a request may have.
const REQUEST_LIMIT: usize = 8 * 1024;
/// Bytes that most requests have.
const USUAL_REQUEST: usize = 512;

/// Why a connection becomes no websocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoWebsocket {
    /// The page for proxies and uptime checks was asked for.
    Page,
    /// Something was asked for that is not served, and the answer said so.
    Refused,
    /// The peer is gone.
    Gone,
    /// The deadline has passed.
    Late,
    /// There is no place for the connection, or no more. Counted already.
    Evicted,
}

/// A connection before its websocket.
#[derive(Debug)]
pub(crate) struct Beginning {
    /// The connection.
    pub(crate) socket: TcpStream,
    /// What has come over it and is not understood yet.
    pub(crate) bytes: Vec<u8>,
    deadline: Instant,
}

impl Beginning {
    /// Nothing has been read yet; the request has to come by `deadline`.
    pub(crate) const fn new(socket: TcpStream, deadline: Instant) -> Self {
        Self { socket, bytes: Vec::new(), deadline }
    }

    /// Who the peer, a trusted proxy, says it connects for with the PROXY protocol, if it speaks that.
    ///
    /// # Errors
    /// If the connection becomes no websocket.
    pub(crate) async fn read_proxy_header(&mut self) -> Result<Option<IpAddr>, NoWebsocket> {
        loop {
            match ProxyHeader::read(&self.bytes) {
                ProxyHeader::Absent => return Ok(None),
                ProxyHeader::Complete { len, source } => {
                    self.bytes.drain(..len);
                    return Ok(source);
                }
                ProxyHeader::Invalid => return Err(NoWebsocket::Refused),
                ProxyHeader::Incomplete => self.read_some(REQUEST_LIMIT).await?,
            }
        }
    }

    /// Reads the request; what came behind it is left. `proxies` is empty if the peer is none of them.
    ///
    /// # Errors
    /// If the connection becomes no websocket.
    pub(crate) async fn read_request(&mut self, proxies: &[TrustedNetwork]) -> Result<RequestHead, NoWebsocket> {
        let mut parsed = 0;
        loop {
            // A request ends with a line. What can be none, such as TLS, is noticed at its first bytes. Parsing after every byte of
            // a slow peer would cost the gateway more than the peer.
            let has_new_line = self.bytes.get(parsed..).is_some_and(|new| new.contains(&b'\n'));
            if (parsed == 0 || has_new_line)
                && let Some(head) = RequestHead::read(&self.bytes, proxies)
            {
                self.bytes.drain(..head.len);
                return Ok(head);
            }
            parsed = self.bytes.len();
            if parsed >= REQUEST_LIMIT {
                return Ok(RequestHead { len: parsed, answer: Answer::TooLarge, client: None });
            }
            match self.read_some(REQUEST_LIMIT).await {
                // Whoever has begun to speak can be told what went wrong.
                Err(NoWebsocket::Late) if parsed > 0 => {
                    return Ok(RequestHead { len: parsed, answer: Answer::TimedOut, client: None });
                }
                read => read?,
            }
        }
    }

    /// Answers the request.
    ///
    /// # Errors
    /// If the connection becomes no websocket.
    pub(crate) async fn answer(&mut self, answer: &Answer) -> Result<(), NoWebsocket> {
        let written = timeout(CLOSE_LIMIT, self.socket.write_all(&answer.to_bytes())).await;
        written.map_err(|_| NoWebsocket::Late)?.map_err(|_| NoWebsocket::Gone)?;
        let reason = match answer {
            Answer::Switch { .. } => return Ok(()),
            Answer::Page { .. } => NoWebsocket::Page,
            Answer::UpgradeRequired | Answer::TooLarge | Answer::BadRequest | Answer::TimedOut => NoWebsocket::Refused,
        };
        // The peer that does not hang up by then has had time to read the answer.
        let _ = timeout(CLOSE_LIMIT, discard(&mut self.socket)).await;
        Err(reason)
    }

    /// Reads more, up to `most` bytes in all.
    async fn read_some(&mut self, most: usize) -> Result<(), NoWebsocket> {
        self.bytes.reserve(USUAL_REQUEST);
        let room = most.saturating_sub(self.bytes.len()) as u64;
        let mut limited = AsyncReadExt::take(&mut self.socket, room);
        let read = timeout_at(self.deadline, limited.read_buf(&mut self.bytes)).await.map_err(|_| NoWebsocket::Late)?;
        if read.map_err(|_| NoWebsocket::Gone)? == 0 { Err(NoWebsocket::Gone) } else { Ok(()) }
    }
}

/// Reads on without understanding. A socket closed with unread bytes would take the answer back from the peer.
async fn discard(socket: &mut TcpStream) {
    let mut bytes = [0; 512];
    if socket.shutdown().await.is_ok() {
        let mut pace = Pace::default();
        while let Ok(len @ 1..) = socket.read(&mut bytes).await {
            pace.keep(len).await;
        }
    }
}
