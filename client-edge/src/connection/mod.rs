//! One connection from its first byte to its last: upgrade, login, session, close. One task serves it alone.

mod barrier;
mod error_budget;
mod login;
mod refusal;
pub(crate) mod session;
mod timer;

use std::{sync::Arc, time::Duration};

use client_wire::protocol::Protocol;
use session_ipc::SessionId;
use tokio::time::timeout;
use worker::{
    counter::count,
    peer::{ConnectionPermit, FULL_PROOF},
};

use crate::{
    context::Context,
    listen::preauth_limit::PreauthSlot,
    store::handle::StoreHandle,
    upgrade::{NewConnection, Upgraded, upgrade},
    websocket::{
        Websocket,
        close_reason::{CLOSE_LIMIT, CloseReason},
    },
};
use login::Login;
use session::Session;

/// How long the close of an evicted connection may take. Another connection has its place already.
const EVICTION_LIMIT: Duration = Duration::from_millis(50);

/// Serves one connection. `store` is told of its end before the client is.
pub(crate) async fn serve(context: Arc<Context>, new: NewConnection) {
    let session = new.session;
    let _open = context.counters.connections_open.raise();
    // Boxed: the state of the upgrade would otherwise enlarge the task of every connection for as long as it lives.
    let Some(upgraded) = Box::pin(upgrade(&context, new)).await else { return };
    let Upgraded { mut websocket, permit, slot } = upgraded;
    let (mut store, mut protocol) = (None, Protocol::UNKNOWN);
    let (reason, limit) = tokio::select! {
        reason = log_in_and_serve(&context, session, &mut websocket, &mut store, &mut protocol, &permit, slot) =>
            (reason, CLOSE_LIMIT),
        () = permit.evicted() => (CloseReason::EVICTED, EVICTION_LIMIT),
    };
    // Before `store` hears of the end, because `store` then gives the memory to other sessions.
    websocket.drop_mail();
    if let Some(store) = store {
        store.close().await;
    }
    match reason {
        CloseReason::ProtocolError(_) => count(&context.counters.websocket_faults),
        CloseReason::Flood => count(&context.counters.frame_floods),
        CloseReason::MemoryNeeded => count(&context.counters.half_messages_for_others),
        CloseReason::PeerGone | CloseReason::ByClient | CloseReason::LoginRefused | CloseReason::ByGateway(..) => {}
    }
    tracing::debug!(session = session.0, ?reason, "a connection ends");
    let _ = timeout(limit, websocket.close(reason, protocol)).await;
}

async fn log_in_and_serve(
    context: &Context,
    session: SessionId,
    websocket: &mut Websocket,
    store: &mut Option<StoreHandle>,
    protocol: &mut Protocol,
    permit: &ConnectionPermit,
    slot: PreauthSlot,
) -> CloseReason {
    let logged_in = match Login::new(context, session, websocket, store, protocol, &slot).run().await {
        Ok(logged_in) => logged_in,
        Err(reason) => return reason,
    };
    slot.logged_in();
    permit.prove(FULL_PROOF);
    websocket.allow_large_messages();
    match store {
        Some(store) => Session::new(context, websocket, store, permit, logged_in).serve().await,
        // Never the case: a login succeeds only by an answer of `store`.
        None => CloseReason::STORE_UNAVAILABLE,
    }
}
