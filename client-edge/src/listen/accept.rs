//! Takes connections from the listener, and owns the tasks that serve them.
//!
//! *Promises*:
//! - There are never more connections than allowed, in all, of one network, and before login.
//! - A connection that comes when all places are taken gets the place of one that has proved least.
//! - At the limit of descriptors, clients are refused instead of left waiting, and that does not keep the processor busy.
//! - While no newcomers are let in, a connection is closed as soon as it comes. Those that are open go on.
//! - When told to stop, the acceptor ends after the last connection.

use std::{io, sync::Arc, time::Duration};

use session_ipc::SessionId;
use tokio::{net::TcpListener, sync::watch, time::timeout};
use worker::{
    counter::count,
    peer::{Accepted, Acceptor, ConnectionLimit, Listener},
};

use super::{port::ClientPort, preauth_limit::PreauthLimit};
use crate::{
    connection::{self, session::LAST_RECEIPTS_LIMIT},
    context::Context,
    counters,
    upgrade::NewConnection,
    websocket::close_reason::CLOSE_LIMIT,
};

/// How long connections may take to end by themselves: for the last receipts, for the close, and for a busy processor.
const STOP_LIMIT: Duration = LAST_RECEIPTS_LIMIT.saturating_add(CLOSE_LIMIT).saturating_add(Duration::from_millis(500));

/// The task.
pub(crate) struct ClientAcceptor {
    acceptor: Acceptor,
    /// The number of the last connection.
    last: u64,
    preauth: PreauthLimit,
    /// Whether new clients are let in.
    newcomers: watch::Receiver<bool>,
    context: Arc<Context>,
}

impl ClientAcceptor {
    /// Takes over the listener.
    ///
    /// # Errors
    /// If the runtime cannot watch the socket.
    pub(crate) fn new(port: ClientPort, context: Arc<Context>) -> io::Result<Self> {
        let ClientPort { listener, newcomers } = port;
        listener.set_nonblocking(true)?;
        let config = &context.config;
        let limit = ConnectionLimit::new(config.max_connections, config.max_connections_per_prefix);
        let preauth = PreauthLimit::new(config.max_unauthenticated);
        let proxies = config.trusted_proxies.clone();
        let listener = Listener::new(TcpListener::from_std(listener)?, limit)?.behind(proxies);
        Ok(Self { acceptor: Acceptor::new(listener), last: 0, preauth, newcomers, context })
    }

    /// Accepts until the process is to stop, then waits for the connections to end.
    pub(crate) async fn run(mut self) {
        let context = Arc::clone(&self.context);
        while let Some(accepted) = self.acceptor.next(&context.drain, counters::port(&context.counters)).await {
            self.admit(accepted).await;
        }
        let mut serving = self.acceptor.stop();
        context.dispatch.stop_all().await;
        if timeout(STOP_LIMIT, serving.ended()).await.is_err() {
            let connections = serving.cut().await;
            tracing::warn!(id = "GWD-C002", connections, "connections did not end in time and were cut");
        }
    }

    async fn admit(&mut self, Accepted { stream, peer, permit, .. }: Accepted) {
        let counters = &self.context.counters;
        if !*self.newcomers.borrow() {
            count(&counters.newcomers_refused);
            return;
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
        self.acceptor.spawn(connection::serve(Arc::clone(&self.context), new));
    }
}
