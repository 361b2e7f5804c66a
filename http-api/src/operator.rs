//! The listener of the operator's own programs: who may connect, and how many at once.
//!
//! *Promises*: never more connections than [`CONNECTIONS`]; the oldest gives way to a new one, so that silent ones keep nobody out. At a
//! port only this machine and the networks of the configuration are answered. At a path the mode of the socket says who may connect.

use std::{collections::VecDeque, future::pending, io, net::IpAddr, os::fd::OwnedFd, sync::Arc, time::Duration};

use ipc::trusted_network::TrustedNetwork;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    select,
    task::{AbortHandle, JoinSet},
    time::sleep,
};
use worker::{counter::count, drain::Drain};

use crate::{connection, metrics::Metrics};

/// Connections at once.
const CONNECTIONS: usize = 16;
/// The pause after a failed accept, because the next one may fail too.
const REST: Duration = Duration::from_millis(100);

/// Where the operator's programs connect.
#[derive(Debug)]
pub enum OperatorSocket {
    /// A listening TCP socket, and who beside this machine may connect.
    Port(OwnedFd, Vec<TrustedNetwork>),
    /// A listening Unix socket.
    Path(OwnedFd),
}

/// The socket in the runtime.
#[derive(Debug)]
enum Listener {
    Port(TcpListener, Vec<TrustedNetwork>),
    Path(UnixListener),
}

/// What serves the operator's programs.
#[derive(Debug)]
pub(crate) struct Operator {
    listener: Listener,
    metrics: Arc<Metrics>,
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Operator {
    /// To be made in the runtime that serves.
    ///
    /// # Errors
    /// If the socket cannot be watched.
    pub(crate) fn new(socket: OperatorSocket, metrics: Metrics) -> io::Result<Self> {
        let listener = match socket {
            OperatorSocket::Port(socket, allow) => {
                let socket = std::net::TcpListener::from(socket);
                socket.set_nonblocking(true)?;
                Listener::Port(TcpListener::from_std(socket)?, allow)
            }
            OperatorSocket::Path(socket) => {
                let socket = std::os::unix::net::UnixListener::from(socket);
                socket.set_nonblocking(true)?;
                Listener::Path(UnixListener::from_std(socket)?)
            }
        };
        Ok(Self { listener, metrics: Arc::new(metrics) })
    }

    /// Publishes metrics and answers, until the drain has begun and the answers under way have ended.
    pub(crate) async fn serve(self, drain: Drain) {
        let mut connections = JoinSet::new();
        select! {
            () = self.metrics.publish_each_minute() => {}
            () = self.accept_all(&mut connections, &drain) => {}
            () = drain.begun() => {}
        }
        while connections.join_next().await.is_some() {}
    }

    async fn accept_all(&self, connections: &mut JoinSet<()>, drain: &Drain) {
        let counters = &self.metrics.limits.counters;
        let mut open: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            let stream = match self.next().await {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::debug!(%error, "a connection to the metrics cannot be accepted");
                    sleep(REST).await;
                    continue;
                }
            };
            count(&counters.operator_connections_accepted);
            while connections.try_join_next().is_some() {}
            open.retain(|connection| !connection.is_finished());
            if open.len() >= CONNECTIONS
                && let Some(oldest) = open.pop_front()
            {
                count(&counters.operator_connections_evicted);
                oldest.abort();
            }
            let (metrics, drain) = (Arc::clone(&self.metrics), drain.clone());
            open.push_back(connections.spawn(async move {
                let answer = |request: &_| metrics.answer(request);
                connection::serve_with(stream, &metrics.limits, &drain, pending(), answer).await;
            }));
        }
    }

    /// The next connection of somebody who may connect. Cancel-safe.
    async fn next(&self) -> io::Result<Box<dyn Stream>> {
        match &self.listener {
            Listener::Port(listener, allow) => loop {
                let (stream, peer) = listener.accept().await?;
                if may_connect(peer.ip(), allow) {
                    stream.set_nodelay(true)?;
                    return Ok(Box::new(stream));
                }
                count(&self.metrics.limits.counters.operator_connections_refused);
            },
            Listener::Path(listener) => Ok(Box::new(listener.accept().await?.0)),
        }
    }
}

fn may_connect(peer: IpAddr, allow: &[TrustedNetwork]) -> bool {
    peer.to_canonical().is_loopback() || allow.iter().any(|network| network.contains(peer))
}

#[cfg(test)]
mod tests;
