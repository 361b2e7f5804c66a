//! The counters: what became of connections, requests and mail.

use client_wire::{key::KeyKind, protocol::Protocol};
use figures::Number;
pub use figures::client_edge::Counters;
use worker::peer::PortCounters;

/// The clients that are logged in with protocols of the same era.
pub(crate) const fn attached(counters: &Counters, protocol: Protocol) -> &Number {
    match (protocol.key_kind(), protocol.version()) {
        (KeyKind::CtrHmac, None) => &counters.attached_2021,
        (KeyKind::CtrHmac, Some(_)) => &counters.attached_2022,
        (KeyKind::GcmSiv, _) => &counters.attached_2024,
    }
}

/// What becomes of connections.
pub(crate) fn port(counters: &Counters) -> PortCounters<'_> {
    PortCounters {
        accepted: &counters.connections_accepted,
        evicted: &counters.connections_evicted,
        refused_limit: &counters.connections_refused_limit,
        refused_prefix: &counters.connections_refused_prefix,
        refused_descriptors: &counters.connections_refused_descriptors,
    }
}
