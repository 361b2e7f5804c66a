//! The mixnet port.
//!
//! *Trusts* nobody who connects. *Holds* the listener, the task of every connection, and a spare descriptor. *Promises*:
//! never more connections than allowed, in all and of one address prefix; when descriptors run out, newcomers are turned away
//! one by one and the worker goes on.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt},
};
use proto::{
    counter::count,
    peer::{Crowded, Seats},
};
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::connection::{self, PacketPath};

/// Between attempts to accept while something that the whole system lacks is used up.
const BACK_OFF: Duration = Duration::from_millis(100);

/// Accepts connections and owns their tasks.
pub(crate) struct Acceptor {
    listener: TcpListener,
    /// Given up for a moment to turn somebody away when there is no other descriptor.
    spare: Option<OwnedFd>,
    exhausted: bool,
    seats: Seats,
    connections: JoinSet<()>,
    path: PacketPath,
}

impl Acceptor {
    /// Accepts on `listener`, as many at a time as there are `seats`.
    pub(crate) fn new(listener: TcpListener, seats: Seats, path: PacketPath) -> Self {
        let spare = spare(&listener);
        Self { listener, spare, exhausted: false, seats, connections: JoinSet::new(), path }
    }

    /// Accepts until the worker is to end; then until every connection has handed on what it read.
    pub(crate) async fn run(mut self) {
        let drain = self.path.drain.clone();
        let mut stop = std::pin::pin!(drain.begun());
        while !drain.has_begun() {
            select! {
                () = &mut stop => {}
                Some(ended) = self.connections.join_next() => note_panic(ended),
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => self.take(stream, peer),
                    Err(error) if is_exhaustion(&error) => self.turn_away(&error).await,
                    // The one who connected is gone already.
                    Err(error) => tracing::debug!(%error, "a connection ended before it was accepted"),
                },
            }
        }
        let Self { listener, mut connections, path, .. } = self;
        drop((listener, path));
        // Ends soon: connections read no more, and whoever takes their packets has a time limit.
        while let Some(ended) = connections.join_next().await {
            note_panic(ended);
        }
    }

    fn take(&mut self, stream: TcpStream, peer: SocketAddr) {
        self.exhausted = false;
        if self.spare.is_none() {
            self.spare = spare(&self.listener);
        }
        while let Some(ended) = self.connections.try_join_next() {
            note_panic(ended);
        }
        let seat = match self.seats.take(peer.ip().into()) {
            Ok(seat) => seat,
            Err(Crowded::InAll) => return count(&self.path.counters.connections_refused_limit),
            Err(Crowded::ForPrefix) => return count(&self.path.counters.connections_refused_prefix),
        };
        // A mix node that vanished would otherwise keep its place for ever: nothing is ever written to it.
        let prepared = stream
            .set_nodelay(true)
            .and_then(|()| setsockopt(&stream, sockopt::KeepAlive, &true).map_err(io::Error::from));
        if let Err(error) = prepared {
            tracing::debug!(%error, "a connection ended before it was served");
            return;
        }
        count(&self.path.counters.connections_accepted);
        tracing::trace!(%peer, "connection accepted");
        self.connections.spawn(connection::serve(stream, peer, seat, self.path.clone()));
    }

    /// Nothing can be accepted: with the spare descriptor one newcomer is told so, and then there is a pause.
    async fn turn_away(&mut self, error: &io::Error) {
        if !self.exhausted {
            self.exhausted = true;
            tracing::error!(
                %error,
                connections = self.connections.len(),
                "cannot accept connections; raise the limit on open files or lower the number of connections allowed"
            );
        }
        drop(self.spare.take());
        if let Ok(Ok(_)) = timeout(BACK_OFF, self.listener.accept()).await {
            count(&self.path.counters.connections_refused_descriptors);
        }
        self.spare = spare(&self.listener);
        sleep(BACK_OFF).await;
    }
}

/// A descriptor of no use but to be given up. A duplicate, because the jail leaves nothing that could be opened.
fn spare(listener: &TcpListener) -> Option<OwnedFd> {
    listener.as_fd().try_clone_to_owned().ok()
}

/// Whether the process or the system has run out of something; such an error repeats until somebody gives it back.
fn is_exhaustion(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM))
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the task of a connection failed; its packets are lost");
    }
}
