//! The flags that `init` and `run` share, and what they change: `init` writes it down, `run` forgets it when it ends.

use std::{
    io,
    net::SocketAddr,
    num::NonZeroU16,
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::Args;

use crate::{
    config::Config,
    endpoint::{ClientsAnnounce, ListenHost, MixAnnounce},
};

/// Flags that change a configuration; those not given change nothing.
#[derive(Debug, Clone, Default, Args)]
pub struct Overrides {
    /// The custom host on which the gateway will be running for receiving sphinx packets
    #[arg(long, value_name = "mix-host")]
    pub mix_host: Option<ListenHost>,

    /// The port on which the gateway will be listening for sphinx packets
    #[arg(long, value_name = "mix-port", value_parser = port)]
    pub mix_port: Option<NonZeroU16>,

    /// The custom host on which the gateway will be running for receiving clients gateway-requests
    #[arg(long, value_name = "clients-host")]
    pub clients_host: Option<ListenHost>,

    /// The port on which the gateway will be listening for clients gateway-requests
    #[arg(long, value_name = "clients-port", value_parser = port)]
    pub clients_port: Option<NonZeroU16>,

    /// The host that will be announced to mix nodes
    #[arg(long, value_name = "mix-announce-host")]
    pub mix_announce_host: Option<MixAnnounce>,

    /// The port that will be announced to mix nodes
    #[arg(long, value_name = "mix-announce-port", value_parser = port)]
    pub mix_announce_port: Option<NonZeroU16>,

    /// The host that will be announced to clients
    #[arg(long, value_name = "clients-announce-host")]
    pub clients_announce_host: Option<ClientsAnnounce>,

    /// The port that will be announced to clients
    #[arg(long, value_name = "clients-announce-port", value_parser = port)]
    pub clients_announce_port: Option<NonZeroU16>,

    /// Directory with inboxes where all packets for the clients are stored
    #[arg(long, value_name = "inboxes")]
    pub inboxes: Option<PathBuf>,

    /// Ledger containing registered clients
    #[arg(long, value_name = "clients-ledger")]
    pub clients_ledger: Option<PathBuf>,

    /// Comma separated list of rest endpoints of the validators; an empty one for none
    #[arg(long, value_name = "validators")]
    pub validators: Option<ValidatorList>,

    /// Address of the validator contract managing the network
    #[arg(long, value_name = "mixnet-contract", value_parser = contract)]
    pub mixnet_contract: Option<String>,
}

/// The addresses of validators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorList(pub Vec<String>);

impl FromStr for ValidatorList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let urls: Vec<_> = text.split(',').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned).collect();
        let is_address = |url: &str| {
            let host = url.strip_prefix("http://").or(url.strip_prefix("https://"));
            host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
                && url.bytes().all(|byte| byte.is_ascii_graphic())
        };
        match urls.iter().find(|url| !is_address(url)) {
            None => Ok(Self(urls)),
            Some(url) => Err(format!(
                "`{}` is not the address of a validator: give addresses that begin with http:// or https://, \
                 separated by commas",
                url.escape_debug()
            )),
        }
    }
}

fn port(text: &str) -> Result<NonZeroU16, &'static str> {
    text.parse().map_err(|_| "not a port: give a whole number from 1 to 65535")
}

fn contract(text: &str) -> Result<String, &'static str> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        Ok(text.to_owned())
    } else {
        Err("not a contract address: give its letters and digits, such as hal1k0jntykt7e4g3y88ltc60czgjuqdy4c9c6gv94")
    }
}

/// A path that a flag gave cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("--{flag} `{}`: {error}; give the path of a place on disk", path.display())]
pub struct InvalidPath {
    flag: &'static str,
    path: PathBuf,
    error: io::Error,
}

impl Overrides {
    /// Changes `config`.
    ///
    /// Each part of an announced address that equals the listening address follows it when that moves; what was
    /// announced on purpose stays until a flag announces something else.
    pub fn apply(&self, config: &mut Config) -> Result<(), InvalidPath> {
        let mix = &mut config.mix;
        let listen = moved(mix.listen, self.mix_host, self.mix_port);
        mix.announce.follow(mix.listen, listen);
        mix.listen = listen;
        if let Some(announce) = &self.mix_announce_host {
            mix.announce = announce.clone().complete(listen);
        }
        if let Some(port) = self.mix_announce_port {
            mix.announce.port = Some(port);
        }

        let clients = &mut config.clients;
        let listen = moved(clients.listen, self.clients_host, self.clients_port);
        clients.announce.follow(clients.listen, listen);
        clients.listen = listen;
        if let Some(announce) = &self.clients_announce_host {
            clients.announce = announce.clone().complete(listen);
        }
        if let Some(port) = self.clients_announce_port {
            clients.announce = clients.announce.clone().complete(listen);
            clients.announce.port = Some(port);
        }

        if let Some(path) = &self.inboxes {
            clients.inboxes = absolute("inboxes", path)?;
        }
        if let Some(path) = &self.clients_ledger {
            clients.ledger = absolute("clients-ledger", path)?;
        }
        if let Some(ValidatorList(urls)) = &self.validators {
            config.validators.clone_from(urls);
        }
        if let Some(contract) = &self.mixnet_contract {
            config.contract = Some(contract.clone());
        }
        Ok(())
    }
}

fn moved(mut listen: SocketAddr, host: Option<ListenHost>, port: Option<NonZeroU16>) -> SocketAddr {
    if let Some(host) = host {
        listen.set_ip(host.ip);
    }
    if let Some(port) = port.or(host.and_then(|host| host.port)) {
        listen.set_port(port.get());
    }
    listen
}

fn absolute(flag: &'static str, path: &Path) -> Result<PathBuf, InvalidPath> {
    std::path::absolute(path).map_err(|error| InvalidPath { flag, path: path.to_owned(), error })
}

#[cfg(test)]
mod tests;
