//! What is read and written on a connection before it is a websocket: the header of a proxy, one HTTP request, its answer.
//!
//! *Trusts* nothing that is read.
//!
//! *Promises*: a peer that speaks HTTP gets an HTTP answer and can read it, even if it has sent more than a request; a request
//! takes no more memory than [`REQUEST_LIMIT`]; it has come by the deadline, and its answer takes at most twice [`CLOSE_LIMIT`].

use std::net::IpAddr;

use ipc::trusted_network::TrustedNetwork;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

use super::{
    http_request::{Answer, RequestHead},
    proxy_header::ProxyHeader,
};
use crate::websocket::{close_reason::CLOSE_LIMIT, throttle::shut_down_and_discard};

/// Bytes that a request may have.
const REQUEST_LIMIT: usize = 8 * 1024;
/// Bytes that most requests have.
const USUAL_REQUEST: usize = 512;

/// Why a connection does not become a websocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotUpgraded {
    /// The page for proxies and uptime checks was asked for.
    Page,
    /// The request was for something that is not served, and the answer said so.
    NotServed,
    /// The transport failed, or the peer has closed.
    PeerGone,
    /// The deadline has passed.
    Late,
    /// A limit leaves no place for the connection, or gave its place to another. Counted where that was decided.
    NoPlace,
}

/// A connection that is not a websocket yet.
#[derive(Debug)]
pub(super) struct HttpExchange {
    /// The connection.
    pub(super) socket: TcpStream,
    /// Bytes that came and are not part of what was read so far.
    pub(super) bytes: Vec<u8>,
    deadline: Instant,
}

impl HttpExchange {
    /// A connection from which nothing was read; the request has to come by `deadline`.
    pub(super) const fn new(socket: TcpStream, deadline: Instant) -> Self {
        Self { socket, bytes: Vec::new(), deadline }
    }

    /// Reads the client's address from the PROXY protocol, if the peer speaks it. Only for trusted proxies.
    ///
    /// # Errors
    /// If the connection does not become a websocket.
    pub(super) async fn read_proxy_header(&mut self) -> Result<Option<IpAddr>, NotUpgraded> {
        loop {
            match ProxyHeader::read(&self.bytes) {
                ProxyHeader::Absent => return Ok(None),
                ProxyHeader::Complete { len, source } => {
                    self.bytes.drain(..len);
                    return Ok(source);
                }
                ProxyHeader::Invalid => return Err(NotUpgraded::NotServed),
                ProxyHeader::Incomplete => self.read_some(REQUEST_LIMIT).await?,
            }
        }
    }

    /// Reads the request, and leaves what came behind it. `proxies` is empty if the peer is not one of them.
    ///
    /// # Errors
    /// If the connection does not become a websocket.
    pub(super) async fn read_request(&mut self, proxies: &[TrustedNetwork]) -> Result<RequestHead, NotUpgraded> {
        let mut parsed = 0;
        loop {
            // Parsed only at the first bytes, where TLS and the like are noticed, and after each line. Parsing after every byte of a
            // slow peer would cost the gateway more than the peer.
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
                // The peer has begun a request, so it can be told what went wrong.
                Err(NotUpgraded::Late) if parsed > 0 => {
                    return Ok(RequestHead { len: parsed, answer: Answer::TimedOut, client: None });
                }
                read => read?,
            }
        }
    }

    /// Answers the request.
    ///
    /// # Errors
    /// If the connection does not become a websocket.
    pub(super) async fn answer(&mut self, answer: &Answer) -> Result<(), NotUpgraded> {
        let written = timeout(CLOSE_LIMIT, self.socket.write_all(&answer.to_bytes())).await;
        written.map_err(|_| NotUpgraded::Late)?.map_err(|_| NotUpgraded::PeerGone)?;
        let reason = match answer {
            Answer::Switch { .. } => return Ok(()),
            Answer::Page { .. } => NotUpgraded::Page,
            Answer::UpgradeRequired | Answer::TooLarge | Answer::BadRequest | Answer::TimedOut => {
                NotUpgraded::NotServed
            }
        };
        // By then the peer has had time to read the answer, even if it does not close.
        let _ = timeout(CLOSE_LIMIT, shut_down_and_discard(&mut self.socket)).await;
        Err(reason)
    }

    /// Reads more, up to `most` bytes in all.
    async fn read_some(&mut self, most: usize) -> Result<(), NotUpgraded> {
        self.bytes.reserve(USUAL_REQUEST);
        let room = most.saturating_sub(self.bytes.len()) as u64;
        let mut limited = AsyncReadExt::take(&mut self.socket, room);
        let read = timeout_at(self.deadline, limited.read_buf(&mut self.bytes)).await.map_err(|_| NotUpgraded::Late)?;
        if read.map_err(|_| NotUpgraded::PeerGone)? == 0 { Err(NotUpgraded::PeerGone) } else { Ok(()) }
    }
}
