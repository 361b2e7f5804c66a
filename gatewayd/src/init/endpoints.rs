//! What `init` refuses of addresses: what could be listened on only once, and what nobody could connect to.

use std::net::SocketAddr;

use crate::{config::Config, endpoint::Host};

/// Addresses of which no gateway is made.
#[derive(Debug, thiserror::Error)]
pub enum InvalidEndpoints {
    /// Both ports are one.
    #[error(
        "port {port} is asked for twice, for mix nodes ({mix}) and for clients ({clients}): give one of them another, for example \
         with --clients-port"
    )]
    SamePort {
        /// The port.
        port: u16,
        /// Where mix nodes connect.
        mix: SocketAddr,
        /// Where clients connect.
        clients: SocketAddr,
    },
    /// `0.0.0.0` or `::` would be announced.
    #[error(
        "{announced} would be announced, where nobody can connect: name the public address or the DNS name of this machine with --{flag}"
    )]
    Unspecified {
        /// The flag that announces something else.
        flag: &'static str,
        /// What would be.
        announced: String,
    },
}

pub(super) fn check(config: &Config) -> Result<(), InvalidEndpoints> {
    let (mix, clients) = (config.mix.listen, config.clients.listen);
    let overlap = mix.ip() == clients.ip() || mix.ip().is_unspecified() || clients.ip().is_unspecified();
    // Port 0 is any port that is free.
    if overlap && mix.port() == clients.port() && mix.port() != 0 {
        return Err(InvalidEndpoints::SamePort { port: mix.port(), mix, clients });
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
