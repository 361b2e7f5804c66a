//! Where the gateway is: its ports change when it is started anew.

use std::net::SocketAddr;

use tests::gateway::Gateway;

/// The gateway's ports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// For mix nodes.
    pub(crate) mix: SocketAddr,
    /// For clients.
    pub(crate) clients: SocketAddr,
}

impl From<&Gateway> for Place {
    fn from(gateway: &Gateway) -> Self {
        Self { mix: gateway.mix, clients: gateway.clients }
    }
}
