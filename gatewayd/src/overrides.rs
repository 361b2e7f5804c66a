//! The flags that `init` and `run` share. `init` writes the changes to the file; `run` applies them for one run.

use std::{
    io,
    net::SocketAddr,
    num::NonZeroU16,
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::Args;

mod node;
mod port;

use port::port;

pub use node::NodeFlags;

use crate::{
    config::Config,
    endpoint::{ClientsAnnounce, ListenHost, MixAnnounce},
};

/// Flags that change a configuration. A flag that is not given changes nothing.
#[derive(Debug, Clone, Default, Args)]
pub struct Overrides {
    /// The address on which the gateway listens for Sphinx packets of mix nodes
    #[arg(long, value_name = "IP[:PORT]")]
    pub mix_host: Option<ListenHost>,

    /// The port on which the gateway listens for Sphinx packets of mix nodes [default: 1789]
    #[arg(long, value_name = "PORT", value_parser = port)]
    pub mix_port: Option<NonZeroU16>,

    /// The address on which the gateway listens for clients
    #[arg(long, value_name = "IP[:PORT]")]
    pub clients_host: Option<ListenHost>,

    /// The port on which the gateway listens for clients [default: 9000]
    #[arg(long, value_name = "PORT", value_parser = port)]
    pub clients_port: Option<NonZeroU16>,

    /// The address or name that is announced to mix nodes [default: that of --mix-host]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub mix_announce_host: Option<MixAnnounce>,

    /// The port that is announced to mix nodes [default: the one listened on]
    #[arg(long, visible_alias = "mixnet-announce-port", value_name = "PORT", value_parser = port)]
    pub mix_announce_port: Option<NonZeroU16>,

    /// The address, name or websocket URL that is announced to clients [default: that of --clients-host]
    #[arg(long, value_name = "HOST[:PORT] or URL")]
    pub clients_announce_host: Option<ClientsAnnounce>,

    /// The port that is announced to clients [default: the one listened on]
    #[arg(long, value_name = "PORT", value_parser = port)]
    pub clients_announce_port: Option<NonZeroU16>,

    /// Folder of the clients' stored messages [default: data/inboxes in the gateway's folder]
    #[arg(long, value_name = "FOLDER")]
    pub inboxes: Option<PathBuf>,

    /// Folder of the ledger of registered clients [default: data/client_ledger.sled in the gateway's folder]
    #[arg(long, value_name = "FOLDER")]
    pub clients_ledger: Option<PathBuf>,

    /// Validators to ask before the start, separated by commas; an empty list for none [default: none]
    #[arg(long, value_name = "URL,URL...")]
    pub validators: Option<ValidatorList>,

    /// The contract to ask the validators about [default: that of the network of 0.10]
    #[arg(long, value_name = "ADDRESS", value_parser = contract)]
    pub mixnet_contract: Option<String>,

    /// About today's network.
    #[command(flatten)]
    pub node: NodeFlags,
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

fn contract(text: &str) -> Result<String, &'static str> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        Ok(text.to_owned())
    } else {
        Err("not a contract address: give its letters and digits, such as hal1k0jntykt7e4g3y88ltc60czgjuqdy4c9c6gv94")
    }
}

/// Flags that can be parsed and cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidFlag {
    /// A path that cannot be used.
    #[error("--{flag} `{}`: {error}; give the path of a folder", path.display())]
    Path {
        /// The flag.
        flag: &'static str,
        /// Its value.
        path: PathBuf,
        /// What the operating system answered.
        error: io::Error,
    },
    /// Two values for one port.
    #[error("--{host_flag} sets port {of_host}, and --{port_flag} sets {of_port}: give the port once")]
    TwoPorts {
        /// The flag with a host and a port.
        host_flag: &'static str,
        /// Its port.
        of_host: NonZeroU16,
        /// The flag with a port.
        port_flag: &'static str,
        /// Its port.
        of_port: NonZeroU16,
    },
}

impl Overrides {
    /// Changes `config`.
    ///
    /// When the listening address changes, each part of an announced address that equals it changes too. A part that was chosen on purpose
    /// stays until a flag changes it.
    pub fn apply(&self, config: &mut Config) -> Result<(), InvalidFlag> {
        self.check_ports()?;
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
        self.node.apply(config);
        Ok(())
    }
}

impl Overrides {
    /// Refuses two values for one port: a port may be given with the host, or by a flag of its own.
    fn check_ports(&self) -> Result<(), InvalidFlag> {
        let listening = |host: Option<ListenHost>| host.and_then(|host| host.port);
        let mix_announce = self.mix_announce_host.as_ref().and_then(|host| host.port);
        let clients_announce = self.clients_announce_host.as_ref().and_then(|host| host.port);
        for (host_flag, of_host, port_flag, of_port) in [
            ("mix-host", listening(self.mix_host), "mix-port", self.mix_port),
            ("clients-host", listening(self.clients_host), "clients-port", self.clients_port),
            ("mix-announce-host", mix_announce, "mix-announce-port", self.mix_announce_port),
            ("clients-announce-host", clients_announce, "clients-announce-port", self.clients_announce_port),
        ] {
            if let (Some(of_host), Some(of_port)) = (of_host, of_port)
                && of_host != of_port
            {
                return Err(InvalidFlag::TwoPorts { host_flag, of_host, port_flag, of_port });
            }
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

fn absolute(flag: &'static str, path: &Path) -> Result<PathBuf, InvalidFlag> {
    std::path::absolute(path).map_err(|error| InvalidFlag::Path { flag, path: path.to_owned(), error })
}

#[cfg(test)]
mod tests;
