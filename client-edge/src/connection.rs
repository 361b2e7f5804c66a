//! One connection from its first byte to its last: upgrade, visitor, attached, goodbye. One task serves it alone.

use std::{net::IpAddr, sync::Arc, time::Duration};

use proto::{
    budget::Partials,
    counter::count,
    ipc::{
        control::EdgeConfig,
        egress::SendPacket,
        store_edge::{EndReason, SessionId},
    },
    link::lossy::LossySender,
    peer::{ConnectionPermit, FULL_PROOF, RateLimit},
    wire::client::{
        protocol::{Eras, Protocol},
        request::RotationMarks,
    },
};
use tokio::{net::TcpStream, sync::watch, time::timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::{
    attached::Attached,
    counters::Counters,
    dispatch::Dispatch,
    entrance::{Entered, enter},
    line::Line,
    next_hops::NextHopLimit,
    preauth_limit::PreauthSlot,
    visitor::Visitor,
    websocket::{CLOSE_LIMIT, Exit, Websocket},
};

/// How long a connection whose place is another's already may take to say goodbye.
const EVICTION_LIMIT: Duration = Duration::from_millis(50);

/// What every connection needs.
pub(crate) struct Context {
    /// The limits.
    pub(crate) config: EdgeConfig,
    /// What is counted.
    pub(crate) counters: Arc<Counters>,
    /// The way to `store`.
    pub(crate) dispatch: Dispatch,
    /// The way to `mix-egress`.
    pub(crate) egress: LossySender<SendPacket>,
    /// Whose clients are served.
    pub(crate) eras: Eras,
    /// What becomes of a client's key-rotation mark.
    pub(crate) marks: RotationMarks,
    /// Who may begin a registration.
    pub(crate) registrations: RateLimit,
    /// To whom clients may send.
    pub(crate) next_hops: NextHopLimit,
    /// Messages that have begun and not ended.
    pub(crate) half_messages: Partials,
    /// Who may log in.
    pub(crate) logins: RateLimit,
    /// Turns true when the process is to stop.
    pub(crate) stop: watch::Receiver<bool>,
}

/// A connection that was accepted, and its places among the others.
pub(crate) struct Arrival {
    /// Its number.
    pub(crate) session: SessionId,
    /// The connection.
    pub(crate) socket: TcpStream,
    /// The address of its peer.
    pub(crate) peer: IpAddr,
    /// Its place, to the end.
    pub(crate) permit: ConnectionPermit,
    /// Its place until it has authenticated.
    pub(crate) slot: PreauthSlot,
}

impl Context {
    /// The limits and choices are those of `config`.
    pub(crate) fn new(
        config: EdgeConfig,
        counters: Arc<Counters>,
        dispatch: Dispatch,
        egress: LossySender<SendPacket>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let eras = if config.legacy_clients { Eras::All } else { Eras::SinceVersion3 };
        let marks = if config.rotation_marks { RotationMarks::Kept } else { RotationMarks::Dropped };
        let registrations = RateLimit::per_minute(config.registrations_per_minute);
        let logins = RateLimit::per_minute(config.logins_per_minute);
        let half_messages = Partials::new(config.half_message_bytes, Arc::clone(&counters.half_message_memory));
        let next_hops = NextHopLimit::per_minute(config.new_next_hops_per_minute);
        Self { config, counters, dispatch, egress, eras, marks, registrations, next_hops, half_messages, logins, stop }
    }

    /// `store` has ended the session.
    pub(crate) fn ended(&self, session: SessionId, reason: EndReason) -> Exit {
        count(&self.counters.sessions_ended_by_store);
        tracing::debug!(session = session.0, ?reason, "store has ended a session");
        let text = match reason {
            EndReason::Superseded => "another connection of this client took over",
            EndReason::StorageFailed => "the gateway could not write to its disk",
            EndReason::MemoryNeeded => "too much was not taken in time, connect again",
        };
        Exit::Farewell(CloseCode::Policy, text)
    }

    /// `store` broke a rule: its link is dropped.
    pub(crate) fn violated(&self, line: &Line, rule: &'static str) -> Exit {
        count(&self.counters.store_violations);
        line.drop_link(rule)
    }
}

/// Serves one connection. `store` is told of its end before the client is.
pub(crate) async fn serve(context: Arc<Context>, arrival: Arrival) {
    let session = arrival.session;
    // Boxed: otherwise it would set the size of every connection for good.
    let Some(entered) = Box::pin(enter(&context, arrival)).await else { return };
    let Entered { mut websocket, permit, slot } = entered;
    let (mut line, mut spoken) = (None, Protocol::UNKNOWN);
    let (exit, limit) = tokio::select! {
        exit = stay(&context, session, &mut websocket, &mut line, &mut spoken, &permit, slot) => (exit, CLOSE_LIMIT),
        () = permit.evicted() => (Exit::CROWDED, EVICTION_LIMIT),
    };
    // Before `store` hears of the end: from then on the memory is for others.
    websocket.let_go_of_mail();
    if let Some(line) = line {
        line.close().await;
    }
    match exit {
        Exit::Fault(_) => count(&context.counters.websocket_faults),
        Exit::Flood => count(&context.counters.frame_floods),
        Exit::MemoryNeeded => count(&context.counters.half_messages_for_others),
        Exit::Gone | Exit::ClosedByClient | Exit::Refused | Exit::Farewell(..) => {}
    }
    tracing::debug!(session = session.0, ?exit, "a connection ends");
    let _ = timeout(limit, websocket.end(exit, spoken)).await;
}

async fn stay(
    context: &Context,
    session: SessionId,
    websocket: &mut Websocket,
    line: &mut Option<Line>,
    spoken: &mut Protocol,
    permit: &ConnectionPermit,
    slot: PreauthSlot,
) -> Exit {
    let admitted = match Visitor::new(context, session, websocket, line, spoken, &slot).admit().await {
        Ok(admitted) => admitted,
        Err(exit) => return exit,
    };
    slot.logged_in();
    permit.prove(FULL_PROOF);
    websocket.log_in();
    match line {
        Some(line) => Attached::new(context, websocket, line, permit, admitted).serve().await,
        // Nobody is admitted but over a line.
        None => Exit::RESTART,
    }
}

/// Waits until the process is to stop.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the process is at its end.
    let _ = stop.wait_for(|stop| *stop).await;
}
