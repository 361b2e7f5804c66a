//! The mixnet port.
//!
//! *Trusts* nobody who connects. *Holds* the door and the task of every connection. *Promises*: never more connections than
//! allowed, in all and of one address prefix; when descriptors run out, newcomers are turned away one by one and the worker
//! goes on.

use proto::{
    counter::count,
    peer::{Crowded, Door, Newcomer, Seats, TurnedAway},
};
use tokio::{net::TcpListener, select, task::JoinSet};

use crate::connection::{self, PacketPath};

/// Accepts connections and owns their tasks.
pub(crate) struct Acceptor {
    door: Door,
    connections: JoinSet<()>,
    path: PacketPath,
}

impl Acceptor {
    /// Accepts on `listener`, as many at a time as there are `seats`.
    pub(crate) fn new(listener: TcpListener, seats: Seats, path: PacketPath) -> Self {
        Self { door: Door::new(listener, seats), connections: JoinSet::new(), path }
    }

    /// Accepts until the worker is to end; then until every connection has handed on what it read.
    pub(crate) async fn run(mut self) {
        let drain = self.path.drain.clone();
        let mut stop = std::pin::pin!(drain.begun());
        while !drain.has_begun() {
            select! {
                () = &mut stop => {}
                Some(ended) = self.connections.join_next() => note_panic(ended),
                arrival = self.door.next() => match arrival {
                    Ok(newcomer) => self.take(newcomer),
                    Err(turned_away) => self.note(turned_away),
                },
            }
        }
        let Self { door, mut connections, path } = self;
        drop((door, path));
        // Ends soon: connections read no more, and whoever takes their packets has a time limit.
        while let Some(ended) = connections.join_next().await {
            note_panic(ended);
        }
    }

    fn take(&mut self, Newcomer { stream, peer, seat }: Newcomer) {
        while let Some(ended) = self.connections.try_join_next() {
            note_panic(ended);
        }
        count(&self.path.counters.connections_accepted);
        tracing::trace!(%peer, "connection accepted");
        self.connections.spawn(connection::serve(stream, peer, seat, self.path.clone()));
    }

    fn note(&self, turned_away: TurnedAway) {
        let counters = &self.path.counters;
        count(match turned_away {
            TurnedAway::Crowded(Crowded::InAll) => &counters.connections_refused_limit,
            TurnedAway::Crowded(Crowded::ForPrefix) => &counters.connections_refused_prefix,
            TurnedAway::NoDescriptor => &counters.connections_refused_descriptors,
        });
    }
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the task of a connection failed; its packets are lost");
    }
}
