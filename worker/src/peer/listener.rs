//! A listening port that survives a shortage of descriptors: a connection is admitted if there is a place and a descriptor for it, and
//! closed otherwise.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use ipc::trusted_network::TrustedNetwork;
use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt},
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep_until, timeout},
};

use super::limit::{Admitted, ConnectionLimit, ConnectionPermit, LimitReached};

/// Pause between attempts to accept while descriptors or memory are used up.
const PAUSE: Duration = Duration::from_millis(100);
/// Time without a shortage after which the next one is logged again. Otherwise connections that come and go at the limit would fill
/// the log.
const QUIET: Duration = Duration::from_secs(60);

/// Seconds of silence before TCP probes a peer. A peer that has vanished loses its place after two minutes; without probes it would
/// keep the place for ever if nothing is written to it.
const KEEPALIVE_IDLE: u32 = 60;
const KEEPALIVE_INTERVAL: u32 = 15;
const KEEPALIVE_PROBES: u32 = 4;

/// The port. *Promises*: never more connections than the limit allows. When descriptors run out, new connections are closed one
/// by one instead of left waiting, without a busy loop.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    /// A spare descriptor, freed for a moment to accept and close a connection when there is no other.
    spare: Option<OwnedFd>,
    /// The last shortage.
    exhausted: Option<Instant>,
    pause: Option<Instant>,
    limit: ConnectionLimit,
    proxies: Vec<TrustedNetwork>,
}

/// A connection, prepared for use.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: TcpStream,
    /// The address of the peer.
    pub peer: SocketAddr,
    /// Its place, to be held until the connection ends.
    pub permit: ConnectionPermit,
    /// Whether another connection was evicted for this one.
    pub evicted_another: bool,
}

/// Why a connection was closed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// There was no place.
    LimitReached(LimitReached),
    /// There was no descriptor.
    NoDescriptor,
}

impl Listener {
    /// Accepts connections from `socket`, as many at a time as `limit` allows.
    ///
    /// # Errors
    /// If the kernel refuses the options that every connection is to have.
    pub fn new(socket: TcpListener, limit: ConnectionLimit) -> io::Result<Self> {
        prepare(&socket)?;
        let mut listener = Self { socket, spare: None, exhausted: None, pause: None, limit, proxies: Vec::new() };
        listener.keep_spare();
        Ok(listener)
    }

    /// Connections from these proxies count for no prefix until their client is known.
    #[must_use]
    pub fn behind(mut self, proxies: Vec<TrustedNetwork>) -> Self {
        self.proxies = proxies;
        self
    }

    /// Waits for the next connection that is admitted. Cancel-safe: no connection is lost or left uncounted.
    ///
    /// # Errors
    /// If the next connection was closed instead, and why.
    pub async fn next(&mut self) -> Result<Accepted, Rejected> {
        loop {
            if let Some(end) = self.pause {
                sleep_until(end).await;
                self.pause = None;
            }
            self.limit.departures().await;
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    self.keep_spare();
                    let is_proxied = self.proxies.iter().any(|proxy| proxy.contains(peer.ip()));
                    let prefix = peer.ip().into();
                    let admitted = if is_proxied { self.limit.admit_proxied(prefix) } else { self.limit.admit(prefix) };
                    let Admitted { permit, evicted_another } = admitted.map_err(Rejected::LimitReached)?;
                    return Ok(Accepted { stream, peer, permit, evicted_another });
                }
                Err(error) if is_exhaustion(&error) => {
                    if self.turn_one_away(&error).await {
                        return Err(Rejected::NoDescriptor);
                    }
                }
                // accept(2) reports errors of the connection that is gone.
                Err(error) => tracing::debug!(%error, "a connection ended before it was accepted"),
            }
        }
    }

    /// Nothing can be accepted. Closes one waiting connection by means of the spare descriptor, then pauses.
    async fn turn_one_away(&mut self, error: &io::Error) -> bool {
        let now = Instant::now();
        if self.exhausted.replace(now).is_none_or(|last| now > last + QUIET) {
            tracing::error!(
                id = "GWD-W007",
                %error,
                "cannot accept connections; raise the limit on open files or lower the number of connections allowed"
            );
        }
        drop(self.spare.take());
        let turned_away = matches!(timeout(PAUSE, self.socket.accept()).await, Ok(Ok(_)));
        self.keep_spare();
        self.pause = Some(Instant::now() + PAUSE);
        turned_away
    }

    /// The spare descriptor is a duplicate of the socket, because in the jail nothing can be opened.
    fn keep_spare(&mut self) {
        if self.spare.is_none() {
            self.spare = self.socket.as_fd().try_clone_to_owned().ok();
        }
    }
}

/// Sets the options of all connections at the listener. The kernel hands them down, so that they cost no system call for each connection.
/// Without the first option, latency jumps by tens of milliseconds under light load.
fn prepare(socket: &TcpListener) -> io::Result<()> {
    setsockopt(socket, sockopt::TcpNoDelay, &true)?;
    setsockopt(socket, sockopt::KeepAlive, &true)?;
    setsockopt(socket, sockopt::TcpKeepIdle, &KEEPALIVE_IDLE)?;
    setsockopt(socket, sockopt::TcpKeepInterval, &KEEPALIVE_INTERVAL)?;
    Ok(setsockopt(socket, sockopt::TcpKeepCount, &KEEPALIVE_PROBES)?)
}

/// Whether the process or the system has run out of something. Such an error repeats until something is freed.
fn is_exhaustion(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM))
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::getsockopt;
    use tokio::io::AsyncReadExt;

    use super::*;

    async fn listener(limit: ConnectionLimit) -> (Listener, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        (Listener::new(socket, limit).unwrap(), address)
    }

    #[tokio::test]
    async fn without_descriptors_one_is_turned_away_and_the_next_served() {
        let (mut listener, address) = listener(ConnectionLimit::new(1, 1)).await;
        let mut first = TcpStream::connect(address).await.unwrap();
        let began = Instant::now();
        assert!(listener.turn_one_away(&io::Error::from_raw_os_error(Errno::EMFILE as i32)).await);
        assert_eq!(first.read(&mut [0; 1]).await.unwrap(), 0);
        assert!(listener.spare.is_some() && listener.exhausted.is_some());
        let second = TcpStream::connect(address).await.unwrap();
        let accepted = listener.next().await.unwrap();
        assert_eq!(accepted.peer, second.local_addr().unwrap());
        assert!(began.elapsed() >= PAUSE);
    }

    #[tokio::test]
    async fn without_descriptors_and_newcomers_nobody_is_counted() {
        let (mut listener, _) = listener(ConnectionLimit::new(1, 1)).await;
        assert!(!listener.turn_one_away(&io::Error::from_raw_os_error(Errno::ENFILE as i32)).await);
    }

    #[tokio::test]
    async fn one_too_many_is_closed_and_the_reason_named() {
        let (mut listener, address) = listener(ConnectionLimit::new(1, 1)).await;
        let _first = TcpStream::connect(address).await.unwrap();
        let accepted = listener.next().await.unwrap();
        accepted.permit.prove(1);
        let mut second = TcpStream::connect(address).await.unwrap();
        assert_eq!(listener.next().await.unwrap_err(), Rejected::LimitReached(LimitReached::ForPrefix));
        assert_eq!(second.read(&mut [0; 1]).await.unwrap(), 0);
        drop(accepted);
        let _third = TcpStream::connect(address).await.unwrap();
        assert!(listener.next().await.is_ok_and(|accepted| !accepted.evicted_another));
    }

    /// The options come from the listener, so it is the connection that has to be asked.
    #[tokio::test]
    async fn a_vanished_peer_is_gone_after_two_minutes() {
        let (mut listener, address) = listener(ConnectionLimit::new(1, 1)).await;
        let _peer = TcpStream::connect(address).await.unwrap();
        let Accepted { stream, .. } = listener.next().await.unwrap();
        assert!(getsockopt(&stream, sockopt::KeepAlive).unwrap());
        let idle = getsockopt(&stream, sockopt::TcpKeepIdle).unwrap();
        let asked = getsockopt(&stream, sockopt::TcpKeepInterval).unwrap()
            * getsockopt(&stream, sockopt::TcpKeepCount).unwrap();
        assert_eq!((idle, idle + asked), (60, 120));
        assert!(getsockopt(&stream, sockopt::TcpNoDelay).unwrap());
    }
}
