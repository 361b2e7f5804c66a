//! Takes connections from the listener, and owns the tasks that serve them.
//!
//! *Promises*: never more connections than allowed, in all and of one address prefix; at the limit of descriptors, clients are
//! turned away instead of left waiting, and the processor is not kept busy with it; when told to stop, it ends when the last
//! connection has.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt},
};
use proto::{
    counter::count,
    ipc::store_edge::SessionId,
    peer::{AddressPrefix, Crowded, Seats},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};

use crate::{
    attached::LEAVE_LIMIT,
    connection::{self, Arrival, Context, stopped},
    lobby::Lobby,
    websocket::CLOSE_LIMIT,
};

/// Pause after the listener failed for want of something.
const PAUSE: Duration = Duration::from_millis(100);
/// What connections get to end by themselves: receipts, goodbyes, and what a busy processor takes.
const STOP_LIMIT: Duration = LEAVE_LIMIT.saturating_add(CLOSE_LIMIT).saturating_add(Duration::from_millis(500));

/// The task.
pub(crate) struct Acceptor {
    listener: TcpListener,
    /// Given up for a moment to turn a client away when no descriptor is left.
    spare: Option<OwnedFd>,
    exhausted: bool,
    next: u64,
    seats: Seats,
    lobby: Lobby,
    connections: JoinSet<()>,
    context: Arc<Context>,
}

impl Acceptor {
    /// Takes over the listener.
    ///
    /// # Errors
    /// If it is no socket that can be watched, or no descriptor is left to spare.
    pub(crate) fn new(listener: std::net::TcpListener, context: Arc<Context>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let spare = Some(listener.as_fd().try_clone_to_owned()?);
        let listener = TcpListener::from_std(listener)?;
        let config = &context.config;
        let seats = Seats::new(config.max_connections, config.max_connections_per_prefix);
        let lobby = Lobby::new(config.max_unauthenticated);
        Ok(Self { listener, spare, exhausted: false, next: 0, seats, lobby, connections: JoinSet::new(), context })
    }

    /// Accepts until the process is to stop, then waits for the connections to end.
    pub(crate) async fn run(mut self) {
        let mut stop = self.context.stop.clone();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((socket, peer)) => self.admit(socket, peer.ip().into()),
                    Err(error) => self.failed(error).await,
                },
                Some(ended) = self.connections.join_next() => report(ended),
                () = stopped(&mut stop) => break,
            }
        }
        drop(self.listener);
        self.context.dispatch.leave_all().await;
        let all = async {
            while let Some(ended) = self.connections.join_next().await {
                report(ended);
            }
        };
        if timeout(STOP_LIMIT, all).await.is_err() {
            tracing::warn!(connections = self.connections.len(), "connections did not end in time and are cut");
            self.connections.shutdown().await;
        }
    }

    fn admit(&mut self, socket: TcpStream, prefix: AddressPrefix) {
        self.exhausted = false;
        while let Some(ended) = self.connections.try_join_next() {
            report(ended);
        }
        let counters = &self.context.counters;
        let seat = match self.seats.take(prefix) {
            Ok(seat) => seat,
            Err(Crowded::InAll) => return count(&counters.connections_refused_limit),
            Err(Crowded::ForPrefix) => return count(&counters.connections_refused_prefix),
        };
        // A socket that refuses is dead already.
        if prepare(&socket).is_err() {
            return;
        }
        count(&counters.connections_accepted);
        self.next += 1;
        let session = SessionId(self.next);
        let (guest, displaced) = self.lobby.enter(session, prefix);
        if displaced {
            count(&counters.unauthenticated_displaced);
        }
        let arrival = Arrival { session, socket, seat, guest };
        self.connections.spawn(connection::serve(Arc::clone(&self.context), arrival));
    }

    async fn failed(&mut self, error: io::Error) {
        let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
        if matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) {
            if !std::mem::replace(&mut self.exhausted, true) {
                tracing::error!(%error, "no descriptor or memory left to accept clients; raise the limit on open files");
            }
            self.turn_one_away().await;
            sleep(PAUSE).await;
        } else {
            // accept(2) reports errors of the connection that is gone.
            tracing::debug!(%error, "a connection was lost before it was accepted");
        }
    }

    async fn turn_one_away(&mut self) {
        drop(self.spare.take());
        if let Ok(Ok(_)) = timeout(PAUSE, self.listener.accept()).await {
            count(&self.context.counters.connections_refused_descriptors);
        }
        self.spare = self.listener.as_fd().try_clone_to_owned().ok();
    }
}

/// Without the first, latency jumps by tens of milliseconds under light load. Without the second, a client that vanished
/// keeps its place for ever if it has no mail.
fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    Ok(setsockopt(socket, sockopt::KeepAlive, &true)?)
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the task of a connection failed");
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt, sync::watch};

    use super::*;
    use crate::{counters::Counters, dispatch, tests::config};

    #[tokio::test]
    async fn a_client_that_cannot_be_served_for_want_of_descriptors_is_turned_away() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let counters = Arc::new(Counters::default());
        let first_up = tokio::sync::oneshot::channel().0;
        let (dispatch, _dispatcher) = dispatch::dispatcher(config().session_credit, Arc::clone(&counters), first_up);
        let (egress, _carrier) = proto::link::lossy::channel(Arc::default());
        let (_stop, stop) = watch::channel(false);
        let context = Context::new(config(), Arc::clone(&counters), dispatch, egress, stop);
        let mut acceptor = Acceptor::new(listener, Arc::new(context)).unwrap();

        let mut client = TcpStream::connect(address).await.unwrap();
        acceptor.failed(io::Error::from_raw_os_error(Errno::EMFILE as i32)).await;
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
        assert_eq!(counters.connections_refused_descriptors.load(std::sync::atomic::Ordering::Relaxed), 1);
        assert!(acceptor.spare.is_some() && acceptor.exhausted);
    }
}
