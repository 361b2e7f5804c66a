//! The mixnet port.
//!
//! *Trusts* nobody who connects. *Promises*: never more connections than allowed, in all and of one network; a newcomer at the limit
//! replaces the connection that proved least; when descriptors run out, newcomers are turned away one by one and the worker goes
//! on; after the order to drain nothing more is read.

use worker::peer::{Accepted, Acceptor, Listener};

use crate::{
    connection::{self, PacketPath},
    counters,
};

/// Accepts until the worker drains. Then waits until every connection has handed on what it read.
pub(crate) async fn accept(listener: Listener, path: PacketPath) {
    let mut acceptor = Acceptor::new(listener);
    while let Some(accepted) = acceptor.next(&path.drain, counters::port(&path.counters)).await {
        let Accepted { stream, peer, permit, .. } = accepted;
        tracing::trace!(%peer, "connection accepted");
        acceptor.spawn(connection::serve(stream, peer, permit, path.clone()));
    }
    // Ends soon: connections read no more, and the receiver of their packets has a time limit.
    acceptor.stop().ended().await;
}
