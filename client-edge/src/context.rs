//! What every connection needs: the settings, the limits on all of them together, and the ways to the other workers.

use std::sync::Arc;

use client_wire::{protocol::Eras, request::RotationMarks};
use ipc::control::EdgeConfig;
use session_ipc::{EndReason, Rule, SessionId};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use worker::{budget::PartialBudget, counter::count, drain::Drain, lossy::LossySender, peer::RateLimit};

use crate::{
    counters::Counters,
    next_hops::NextHopLimit,
    store::{dispatch::Dispatch, handle::StoreHandle},
    websocket::close_reason::CloseReason,
};

/// One for the process; all connections share it.
pub(crate) struct Context {
    /// The settings.
    pub(crate) config: EdgeConfig,
    /// The counters of the process.
    pub(crate) counters: Arc<Counters>,
    /// Opens a session's way to `store`.
    pub(crate) dispatch: Dispatch,
    /// The way to `mix-egress`.
    pub(crate) egress: LossySender,
    /// The eras of clients that are served.
    pub(crate) eras: Eras,
    /// What becomes of a client's key-rotation mark.
    pub(crate) marks: RotationMarks,
    /// Limits registrations per address prefix.
    pub(crate) registrations: RateLimit,
    /// Limits logins per address prefix.
    pub(crate) logins: RateLimit,
    /// Limits new next hops per address prefix.
    pub(crate) next_hops: NextHopLimit,
    /// Bounds the memory for messages that have begun and not ended.
    pub(crate) half_messages: PartialBudget,
    /// Tells when the process is to stop.
    pub(crate) drain: Drain,
}

impl Context {
    /// Takes the limits and choices from `config`.
    pub(crate) fn new(
        config: EdgeConfig,
        counters: Arc<Counters>,
        dispatch: Dispatch,
        egress: LossySender,
        drain: Drain,
    ) -> Self {
        let eras = if config.legacy_clients { Eras::All } else { Eras::SinceVersion3 };
        let marks = if config.rotation_marks { RotationMarks::Kept } else { RotationMarks::Dropped };
        let registrations = RateLimit::per_minute(config.registrations_per_minute);
        let logins = RateLimit::per_minute(config.logins_per_minute);
        let half_messages = PartialBudget::new(config.half_message_bytes, counters.half_message_memory.clone());
        let next_hops = NextHopLimit::per_minute(config.new_next_hops_per_minute);
        Self { config, counters, dispatch, egress, eras, marks, registrations, logins, next_hops, half_messages, drain }
    }

    /// Counts a session that `store` has ended. Returns the close reason, with the text for the client.
    pub(crate) fn ended_by_store(&self, session: SessionId, reason: EndReason) -> CloseReason {
        count(&self.counters.sessions_ended_by_store);
        tracing::debug!(session = session.0, ?reason, "store has ended a session");
        let text = match reason {
            EndReason::Superseded => "another connection of this client took over",
            EndReason::StorageFailed => "the gateway could not write to its disk",
            EndReason::MemoryNeeded => "too much was not taken in time, connect again",
            EndReason::Forgotten => "the operator has removed this client, register again",
        };
        CloseReason::ByGateway(CloseCode::Policy, text)
    }

    /// Drops the link to `store` because `store` broke `rule`.
    pub(crate) fn store_violated(&self, store: &StoreHandle, rule: Rule) -> CloseReason {
        count(&self.counters.store_violations);
        store.drop_link(rule)
    }
}
