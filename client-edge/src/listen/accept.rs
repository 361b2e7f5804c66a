//! Takes connections from the listener, and owns the tasks that serve them.
//!
//! *Promises*:
//! - There are never more connections than allowed, in all, of one network, and before login.
//! - A connection that comes when all places are taken gets the place of one that has proved least.
//! - At the limit of descriptors, clients are refused instead of left waiting, and that does not keep the processor busy.
//! - When told to stop, the acceptor ends after the last connection.

use std::{io, sync::Arc, time::Duration};

use session_ipc::SessionId;
use tokio::{
    net::TcpListener,
    task::{JoinError, JoinSet},
    time::timeout,
};
use worker::{
    counter::count,
    peer::{Accepted, ConnectionLimit, LimitReached, Listener, Rejected},
};

use super::preauth_limit::PreauthLimit;
use crate::{
    connection::{self, session::LAST_RECEIPTS_LIMIT},
    context::{Context, stopped},
    upgrade::NewConnection,
    websocket::close_reason::CLOSE_LIMIT,
};

/// How long connections may take to end by themselves: for the last receipts, for the close, and for a busy processor.
const STOP_LIMIT: Duration = LAST_RECEIPTS_LIMIT.saturating_add(CLOSE_LIMIT).saturating_add(Duration::from_millis(500));

/// The task.
pub(crate) struct Acceptor {
    listener: Listener,
    /// The number of the last connection.
    last: u64,
    preauth: PreauthLimit,
    connections: JoinSet<()>,
    context: Arc<Context>,
}

impl Acceptor {
    /// Takes over the listener.
    ///
    /// # Errors
    /// If the runtime cannot watch the socket.
    pub(crate) fn new(listener: std::net::TcpListener, context: Arc<Context>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let config = &context.config;
        let limit = ConnectionLimit::new(config.max_connections, config.max_connections_per_prefix);
        let preauth = PreauthLimit::new(config.max_unauthenticated);
        let proxies = config.trusted_proxies.clone();
        let listener = Listener::new(TcpListener::from_std(listener)?, limit)?.behind(proxies);
        Ok(Self { listener, last: 0, preauth, connections: JoinSet::new(), context })
    }

    /// Accepts until the process is to stop, then waits for the connections to end.
    pub(crate) async fn run(mut self) {
        let mut stop = self.context.stop.clone();
        loop {
            tokio::select! {
                next = self.listener.next() => match next {
                    Ok(accepted) => self.admit(accepted).await,
                    Err(rejected) => self.count_rejected(rejected),
                },
                Some(ended) = self.connections.join_next() => log_failure(ended),
                () = stopped(&mut stop) => break,
            }
        }
        drop(self.listener);
        self.context.dispatch.stop_all().await;
        let all = async {
            while let Some(ended) = self.connections.join_next().await {
                log_failure(ended);
            }
        };
        if timeout(STOP_LIMIT, all).await.is_err() {
            tracing::warn!(connections = self.connections.len(), "connections did not end in time and are cut");
            self.connections.shutdown().await;
        }
    }

    async fn admit(&mut self, Accepted { stream, peer, permit, evicted_another }: Accepted) {
        while let Some(ended) = self.connections.try_join_next() {
            log_failure(ended);
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
        self.last += 1;
        let new = NewConnection { session: SessionId(self.last), socket: stream, peer: peer.ip(), permit, slot };
        self.connections.spawn(connection::serve(Arc::clone(&self.context), new));
    }

    fn count_rejected(&self, rejected: Rejected) {
        let counters = &self.context.counters;
        count(match rejected {
            Rejected::LimitReached(LimitReached::InAll) => &counters.connections_refused_limit,
            Rejected::LimitReached(LimitReached::ForPrefix) => &counters.connections_refused_prefix,
            Rejected::NoDescriptor => &counters.connections_refused_descriptors,
        });
    }
}

fn log_failure(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the task of a connection failed");
    }
}
