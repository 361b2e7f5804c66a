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
    /// The flag for the address.
    pub(super) host_flag: &'static str,
    /// The flag for the port.
    pub(super) port_flag: &'static str,
    /// The key in `config.toml`.
    pub(super) key: &'static str,
    /// Bytes that the kernel accepts although it cannot send them yet; none for the kernel's default.
    pub(super) unsent: Option<u32>,
}

impl ListenerSettings {
    /// The names of all of them.
    pub(super) const NAMES: [&'static str; 3] = [MIX.name, CLIENTS.name, HTTP.name];
}

/// The port for mix nodes.
pub(super) const MIX: ListenerSettings = ListenerSettings {
    name: "mix",
    host_flag: "--mix-host",
    port_flag: "--mix-port",
    key: "mixnet_endpoint.listening_address",
    // The gateway writes nothing to these connections.
    unsent: None,
};
/// The port for clients.
pub(super) const CLIENTS: ListenerSettings = ListenerSettings {
    name: "clients",
    host_flag: "--clients-host",
    port_flag: "--clients-port",
    key: "clients_endpoint.listening_address",
    unsent: Some(UNSENT),
};

/// The port for readers of the gateway's description.
pub(super) const HTTP: ListenerSettings = ListenerSettings {
    name: "http",
    host_flag: "--http-bind-address",
    port_flag: "--http-bind-address",
    key: "node.http_bind_address",
    unsent: Some(UNSENT),
};
