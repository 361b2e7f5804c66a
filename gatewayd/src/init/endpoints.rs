//! The addresses that `init` refuses: one port for two purposes, and announced addresses to which nobody could connect.

use std::net::SocketAddr;

use crate::{config::Config, endpoint::Host};

/// Addresses with which a gateway cannot work.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEndpoints {
    /// Mix nodes and clients have the same port.
    #[error(
        "port {port} is set twice, for mix nodes ({mix}) and for clients ({clients}): set another port for one of them, for example with \
         --clients-port"
    )]
    SamePort {
        /// The port.
        port: u16,
        /// The address for mix nodes.
        mix: SocketAddr,
        /// The address for clients.
        clients: SocketAddr,
    },
    /// The description has the port of mix nodes or of clients.
    #[error(
        "port {port} is set twice, for the description of the gateway ({http}) and for {other}: set another port for one of them, for example with \
         --http-bind-address"
    )]
    SameHttpPort {
        /// The port.
        port: u16,
        /// The address of the description.
        http: SocketAddr,
        /// The other address.
        other: SocketAddr,
    },
    /// `0.0.0.0` or `::` would be announced.
    #[error(
        "{announced} would be announced, but nobody can connect to it: give the public address or the DNS name of this machine with --{flag}"
    )]
    Unspecified {
        /// The flag that announces another address.
        flag: &'static str,
        /// The address that would be announced.
        announced: String,
    },
}

pub(super) fn check(config: &Config) -> Result<(), InvalidEndpoints> {
    let (mix, clients) = (config.mix.listen, config.clients.listen);
    if overlap(mix, clients) {
        return Err(InvalidEndpoints::SamePort { port: mix.port(), mix, clients });
    }
    let http = config.node.http_bind_address;
    if config.node.enabled
        && let Some(other) = [mix, clients].into_iter().find(|other| overlap(http, *other))
    {
        return Err(InvalidEndpoints::SameHttpPort { port: http.port(), http, other });
    }
    let of_clients = config.clients.announce.host.as_ref();
    for (host, flag, announced) in [
        (Some(&config.mix.announce.host), "mix-announce-host", config.mix_announce()),
        (of_clients, "clients-announce-host", config.clients_announce()),
    ] {
        if matches!(host, Some(Host::Ip(ip)) if ip.is_unspecified()) {
            return Err(InvalidEndpoints::Unspecified { flag, announced });
        }
    }
    Ok(())
}

/// Whether both cannot be listened on at once. Port 0 means any free port.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let addresses = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    addresses && one.port() == other.port() && one.port() != 0
}
