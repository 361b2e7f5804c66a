//! The listeners that a gateway can have, and how the operator sets each.

/// Bytes for a client that the kernel accepts although it cannot send them yet. Bytes in the client's receive window do not count, so
/// that this does not slow a client that reads. The kernel's default is 4 MiB: a hundred thousand answers to a client that sends
/// packets and reads nothing.
pub(super) const UNSENT: u32 = 64 * 1024;

/// How the operator sets the address of a listener, and what is particular to its connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListenerSettings {
    /// The name by which a service manager may pass it.
    pub(super) name: &'static str,
    /// What sets the address: flags, and the key in `config.toml`.
    pub(super) host_by: &'static str,
    /// What sets the port.
    pub(super) port_by: &'static str,
    /// The key in `config.toml`.
    pub(super) key: &'static str,
    /// Bytes that the kernel accepts although it cannot send them yet; none for the kernel's default.
    pub(super) unsent: Option<u32>,
}

impl ListenerSettings {
    /// The names of all of them.
    pub(super) const NAMES: [&'static str; 4] = [MIX.name, CLIENTS.name, HTTP.name, METRICS.name];
}

/// The port for mix nodes.
pub(super) const MIX: ListenerSettings = ListenerSettings {
    name: "mix",
    host_by: "--mix-host or mixnet_endpoint.listening_address",
    port_by: "--mix-port or mixnet_endpoint.listening_address",
    key: "mixnet_endpoint.listening_address",
    // The gateway writes nothing to these connections.
    unsent: None,
};
/// The port for clients.
pub(super) const CLIENTS: ListenerSettings = ListenerSettings {
    name: "clients",
    host_by: "--clients-host or clients_endpoint.listening_address",
    port_by: "--clients-port or clients_endpoint.listening_address",
    key: "clients_endpoint.listening_address",
    unsent: Some(UNSENT),
};

/// The port for readers of the gateway's description.
pub(super) const HTTP: ListenerSettings = ListenerSettings {
    name: "http",
    host_by: "--http-bind-address or node.http_bind_address",
    port_by: "--http-bind-address or node.http_bind_address",
    key: "node.http_bind_address",
    unsent: Some(UNSENT),
};

/// The port for programs of the operator that read metrics.
pub(super) const METRICS: ListenerSettings = ListenerSettings {
    name: "metrics",
    host_by: "metrics.listen",
    port_by: "metrics.listen",
    key: "metrics.listen",
    unsent: Some(UNSENT),
};
