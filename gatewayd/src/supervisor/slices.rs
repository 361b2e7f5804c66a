//! Each worker's slice of the configuration: what it needs to know, and nothing about the others.

use proto::ipc::{
    Role,
    control::{EdgeConfig, EgressConfig, IngressConfig, StoreConfig, WorkerConfig},
};

use crate::config::Config;

/// The slice for `role`.
pub(super) fn slice(config: &Config, role: Role) -> WorkerConfig {
    match role {
        Role::MixIngress => WorkerConfig::MixIngress(IngressConfig {
            half_frame: config.timeouts.half_frame,
            max_connections: config.limits.max_mix_connections.get(),
        }),
        Role::MixEgress => WorkerConfig::MixEgress(EgressConfig {
            connect_timeout: config.debug.initial_connection_timeout,
            initial_backoff: config.debug.packet_forwarding_initial_backoff,
            maximum_backoff: config.debug.packet_forwarding_maximum_backoff,
            queue_packets: config.debug.maximum_connection_buffer_size.get(),
            allow_private: config.allow_private(),
            max_next_hops: config.egress.max_next_hops.get(),
        }),
        Role::ClientEdge => WorkerConfig::ClientEdge(EdgeConfig {
            websocket_upgrade: config.timeouts.websocket_upgrade,
            first_request: config.timeouts.first_request,
            handshake_message: config.timeouts.handshake_message,
            receipt_timeout: config.delivery.receipt_timeout,
            max_connections: config.limits.max_client_connections.get(),
        }),
        Role::Store => WorkerConfig::Store(StoreConfig {
            spill_after: config.delivery.spill_after,
            inbox_messages: config.limits.inbox_messages.get(),
            inbox_bytes: config.limits.inbox_bytes.get(),
        }),
    }
}
