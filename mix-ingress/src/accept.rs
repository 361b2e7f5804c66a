//! The mixnet port.
//!
//! *Trusts* nobody who connects. *Holds* the listener and the task of every connection. *Promises*: never more connections than
//! allowed, in all and of one network; a newcomer at the limit replaces the connection that proved least; when descriptors run
//! out, newcomers are turned away one by one and the worker goes on.

use tokio::{select, task::JoinSet};
use worker::{
    counter::count,
    peer::{Accepted, LimitReached, Listener, Rejected},
};

use crate::connection::{self, PacketPath};

/// Accepts connections and owns their tasks.
pub(crate) struct Acceptor {
    listener: Listener,
    connections: JoinSet<()>,
    path: PacketPath,
}

impl Acceptor {
    /// Accepts on `listener`, within its limit of connections.
    pub(crate) fn new(listener: Listener, path: PacketPath) -> Self {
        Self { listener, connections: JoinSet::new(), path }
    }

    /// Accepts until the worker is to end. Then waits until every connection has handed on what it read.
    pub(crate) async fn run(mut self) {
        let drain = self.path.drain.clone();
        let mut stop = std::pin::pin!(drain.begun());
        while !drain.has_begun() {
            select! {
                () = &mut stop => {}
                Some(ended) = self.connections.join_next() => note_panic(ended),
                arrival = self.listener.next() => match arrival {
                    Ok(accepted) => self.take(accepted),
                    Err(rejected) => self.note(rejected),
                },
            }
        }
        let Self { listener, mut connections, path } = self;
        drop((listener, path));
        // Ends soon: connections read no more, and the receiver of their packets has a time limit.
        while let Some(ended) = connections.join_next().await {
            note_panic(ended);
        }
    }

    fn take(&mut self, Accepted { stream, peer, permit, evicted_another }: Accepted) {
        while let Some(ended) = self.connections.try_join_next() {
            note_panic(ended);
        }
        count(&self.path.counters.connections_accepted);
        if evicted_another {
            count(&self.path.counters.connections_evicted);
        }
        tracing::trace!(%peer, "connection accepted");
        self.connections.spawn(connection::serve(stream, peer, permit, self.path.clone()));
    }

    fn note(&self, rejected: Rejected) {
        let counters = &self.path.counters;
        count(match rejected {
            Rejected::LimitReached(LimitReached::InAll) => &counters.connections_refused_limit,
            Rejected::LimitReached(LimitReached::ForPrefix) => &counters.connections_refused_prefix,
            Rejected::NoDescriptor => &counters.connections_refused_descriptors,
        });
    }
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the task of a connection failed; its packets are lost");
    }
}
