//! Takes connections from the listener, and owns the tasks that serve them.
//!
//! *Promises*: never more connections than allowed, in all and of one address prefix; at the limit of descriptors, clients are
//! turned away instead of left waiting, and the processor is not kept busy with it; when told to stop, it ends when the last
//! connection has.

use std::{io, sync::Arc, time::Duration};

use proto::{
    counter::count,
    ipc::store_edge::SessionId,
    peer::{Crowded, Door, Newcomer, Seats, TurnedAway},
};
use tokio::{
    net::TcpListener,
    task::{JoinError, JoinSet},
    time::timeout,
};

use crate::{
    attached::LEAVE_LIMIT,
    connection::{self, Arrival, Context, stopped},
    lobby::Lobby,
    websocket::CLOSE_LIMIT,
};

/// What connections get to end by themselves: receipts, goodbyes, and what a busy processor takes.
const STOP_LIMIT: Duration = LEAVE_LIMIT.saturating_add(CLOSE_LIMIT).saturating_add(Duration::from_millis(500));

/// The task.
pub(crate) struct Acceptor {
    door: Door,
    next: u64,
    lobby: Lobby,
    connections: JoinSet<()>,
    context: Arc<Context>,
}

impl Acceptor {
    /// Takes over the listener.
    ///
    /// # Errors
    /// If it is no socket that can be watched.
    pub(crate) fn new(listener: std::net::TcpListener, context: Arc<Context>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let config = &context.config;
        let seats = Seats::new(config.max_connections, config.max_connections_per_prefix);
        let lobby = Lobby::new(config.max_unauthenticated);
        let door = Door::new(TcpListener::from_std(listener)?, seats);
        Ok(Self { door, next: 0, lobby, connections: JoinSet::new(), context })
    }

    /// Accepts until the process is to stop, then waits for the connections to end.
    pub(crate) async fn run(mut self) {
        let mut stop = self.context.stop.clone();
        loop {
            tokio::select! {
                arrival = self.door.next() => match arrival {
                    Ok(newcomer) => self.admit(newcomer),
                    Err(turned_away) => self.note(turned_away),
                },
                Some(ended) = self.connections.join_next() => report(ended),
                () = stopped(&mut stop) => break,
            }
        }
        drop(self.door);
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

    fn admit(&mut self, Newcomer { stream, peer: _, seat }: Newcomer) {
        while let Some(ended) = self.connections.try_join_next() {
            report(ended);
        }
        let counters = &self.context.counters;
        count(&counters.connections_accepted);
        self.next += 1;
        let session = SessionId(self.next);
        let (guest, displaced) = self.lobby.enter(session, seat.prefix());
        if displaced {
            count(&counters.unauthenticated_displaced);
        }
        let arrival = Arrival { session, socket: stream, seat, guest };
        self.connections.spawn(connection::serve(Arc::clone(&self.context), arrival));
    }

    fn note(&self, turned_away: TurnedAway) {
        let counters = &self.context.counters;
        count(match turned_away {
            TurnedAway::Crowded(Crowded::InAll) => &counters.connections_refused_limit,
            TurnedAway::Crowded(Crowded::ForPrefix) => &counters.connections_refused_prefix,
            TurnedAway::NoDescriptor => &counters.connections_refused_descriptors,
        });
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the task of a connection failed");
    }
}
