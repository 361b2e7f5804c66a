//! Where the gateway is: its ports change when it is restarted.

use std::net::SocketAddr;

use crate::gateway::Gateway;

/// The gateway's ports.
#[derive(Debug, Clone, Copy)]
pub struct Addrs {
    /// For mix nodes.
    pub mix: SocketAddr,
    /// For clients.
    pub clients: SocketAddr,
}

impl From<&Gateway> for Addrs {
    fn from(gateway: &Gateway) -> Self {
        Self { mix: gateway.mix, clients: gateway.clients }
    }
}
