//! Takes connections from the listener, and owns the tasks that serve them.
//!
//! *Promises*: never more connections than allowed, in all and of one network, and never more before login; who comes when all
//! places are taken gets one of those who proved least; at the limit of descriptors, clients are turned away instead of left
//! waiting, and the processor is not kept busy with it; when told to stop, it ends when the last connection has.

use std::{io, sync::Arc, time::Duration};

use proto::{
    counter::count,
    ipc::store_edge::SessionId,
    peer::{Accepted, ConnectionLimit, LimitReached, Listener, Rejected},
};
use tokio::{
    net::TcpListener,
    task::{JoinError, JoinSet},
    time::timeout,
};

use crate::{
    attached::LEAVE_LIMIT,
    connection::{self, Arrival, Context, stopped},
    preauth_limit::PreauthLimit,
    websocket::CLOSE_LIMIT,
};

/// What connections get to end by themselves: receipts, goodbyes, and what a busy processor takes.
const STOP_LIMIT: Duration = LEAVE_LIMIT.saturating_add(CLOSE_LIMIT).saturating_add(Duration::from_millis(500));

/// The task.
pub(crate) struct Acceptor {
    listener: Listener,
    next: u64,
    preauth: PreauthLimit,
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
        let limit = ConnectionLimit::new(config.max_connections, config.max_connections_per_prefix);
        let preauth = PreauthLimit::new(config.max_unauthenticated);
        let proxies = config.trusted_proxies.clone();
        let listener = Listener::new(TcpListener::from_std(listener)?, limit)?.behind(proxies);
        Ok(Self { listener, next: 0, preauth, connections: JoinSet::new(), context })
    }

    /// Accepts until the process is to stop, then waits for the connections to end.
    pub(crate) async fn run(mut self) {
        let mut stop = self.context.stop.clone();
        loop {
            tokio::select! {
                arrival = self.listener.next() => match arrival {
                    Ok(accepted) => self.admit(accepted).await,
                    Err(rejected) => self.note(rejected),
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

    async fn admit(&mut self, Accepted { stream, peer, permit, evicted_another }: Accepted) {
        while let Some(ended) = self.connections.try_join_next() {
            report(ended);
        }
        let counters = &self.context.counters;
        count(&counters.connections_accepted);
        if evicted_another {
            count(&counters.connections_evicted);
        }
        let Ok((slot, evicted_another)) = self.preauth.admit(permit.prefix()).await else {
            count(&counters.unauthenticated_refused);
            return;
        };
        if evicted_another {
            count(&counters.unauthenticated_evicted);
        }
        self.next += 1;
        let arrival = Arrival { session: SessionId(self.next), socket: stream, peer: peer.ip(), permit, slot };
        self.connections.spawn(connection::serve(Arc::clone(&self.context), arrival));
    }

    fn note(&self, rejected: Rejected) {
        let counters = &self.context.counters;
        count(match rejected {
            Rejected::LimitReached(LimitReached::InAll) => &counters.connections_refused_limit,
            Rejected::LimitReached(LimitReached::ForPrefix) => &counters.connections_refused_prefix,
            Rejected::NoDescriptor => &counters.connections_refused_descriptors,
        });
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the task of a connection failed");
    }
}
