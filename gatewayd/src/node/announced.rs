//! What is announced, put together from `[node]` and from the endpoints.

use std::{collections::BTreeSet, net::IpAddr, num::NonZeroU16};

use ipc::http_api::{Description, HostFacts};

use crate::{
    config::Config,
    endpoint::{Host, Scheme, is_private, is_public},
    keys::PublicKeys,
};

/// The port of TLS.
const TLS: u16 = 443;

/// Why the gateway cannot be announced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNode {
    /// There is no address.
    #[error(
        "[node] is enabled, and no address to announce is known: give the public addresses of this machine with --public-ips, or in \
         `public_ips` of [node] in config.toml"
    )]
    NoAddress,
    /// Nobody could connect to an address.
    #[error(
        "[node] would announce {0}, which the Internet cannot reach: give the public addresses of this machine with --public-ips, or in \
         `public_ips` of [node] in config.toml; in a private test network set `allow_private = true` in [egress]"
    )]
    Unreachable(IpAddr),
    /// Nobody can be reached there, in no network.
    #[error(
        "[node] would announce {0}, which is an address of nobody: give the public addresses of this machine with --public-ips, or in \
         `public_ips` of [node] in config.toml"
    )]
    OfNobody(IpAddr),
    /// More addresses than a reader needs.
    #[error(
        "[node] names {0} public addresses; {MAX_ADDRESSES} are the most, give those at which others should connect"
    )]
    TooMany(usize),
    /// A proxy for TLS is found by its name.
    #[error(
        "[node] announces a port for TLS and no name, and a certificate is for a name: give the name with --hostname, or in `hostname` of \
         [node] in config.toml"
    )]
    TlsWithoutName,
}

/// The most addresses.
const MAX_ADDRESSES: usize = 8;

/// What two workers are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// What `store` signs, if `[node]` is enabled.
    pub facts: Option<HostFacts>,
    /// What `http-api` says.
    pub description: Description,
}

impl Announced {
    /// Puts together what `config` announces.
    ///
    /// # Errors
    /// If `[node]` is enabled and there is no address that others can reach.
    pub fn of(config: &Config, keys: &PublicKeys) -> Result<Self, InvalidNode> {
        let facts = |(addresses, hostname)| HostFacts { addresses, hostname, sphinx: keys.sphinx };
        let announced = config.node.enabled.then(|| host(config)).transpose()?;
        Ok(Self { facts: announced.map(facts), description: describe(config, keys) })
    }

    /// A warning for the operator, if an address is announced that only a private network reaches.
    pub fn warning(&self) -> Option<String> {
        let facts = self.facts.as_ref()?;
        let private = facts.addresses.iter().find(|address| !is_public(**address))?;
        Some(format!(
            "[node] announces {private}, which the Internet cannot reach: that is of use in a private test network only; --public-ips \
             names the public addresses of this machine"
        ))
    }
}

/// Whether `config` can be announced, before there are keys.
///
/// # Errors
/// As [`Announced::of`].
pub fn check(config: &Config) -> Result<(), InvalidNode> {
    if config.node.enabled { host(config).map(drop) } else { Ok(()) }
}

/// The addresses and the name that an enabled `[node]` announces.
fn host(config: &Config) -> Result<(Vec<IpAddr>, Option<String>), InvalidNode> {
    let addresses = addresses(config)?;
    let hostname = hostname(config);
    if wss_port(config).is_some() && hostname.is_none() {
        return Err(InvalidNode::TlsWithoutName);
    }
    Ok((addresses, hostname))
}

/// The addresses to announce, IPv4 first: clients write an IPv6 address into a URL without its brackets, and some try the first only.
fn addresses(config: &Config) -> Result<Vec<IpAddr>, InvalidNode> {
    let of_endpoint = match config.mix.announce.host {
        Host::Ip(ip) => Some(ip),
        Host::Name(_) => None,
    };
    let named = &config.node.public_ips;
    let mut addresses: Vec<IpAddr> = if named.is_empty() { of_endpoint.into_iter().collect() } else { named.clone() };
    addresses.iter_mut().for_each(|address| *address = address.to_canonical());
    addresses.sort_by_key(IpAddr::is_ipv6);
    let mut seen = BTreeSet::new();
    addresses.retain(|address| seen.insert(*address));
    for ip in addresses.iter().filter(|ip| !is_public(**ip)) {
        match (is_private(*ip), config.allow_private()) {
            (true, true) => {}
            (true, false) => return Err(InvalidNode::Unreachable(*ip)),
            (false, _) => return Err(InvalidNode::OfNobody(*ip)),
        }
    }
    match addresses.len() {
        0 => Err(InvalidNode::NoAddress),
        count if count > MAX_ADDRESSES => Err(InvalidNode::TooMany(count)),
        _ => Ok(addresses),
    }
}

/// The name at which clients connect: the one that is set, or the one that is announced to clients.
fn hostname(config: &Config) -> Option<String> {
    config.node.hostname.as_ref().map(ToString::to_string).or_else(|| match &config.clients.announce.host {
        Some(Host::Name(name)) => Some(name.clone()),
        _ => None,
    })
}

/// The port of plain websockets.
fn ws_port(config: &Config) -> u16 {
    let announce = &config.clients.announce;
    let announced = announce.port.filter(|_| announce.scheme == Scheme::Ws);
    config.node.announce_ws_port.or(announced).map_or(config.clients.listen.port(), NonZeroU16::get)
}

/// The port of a proxy that accepts websockets over TLS, if there is one.
fn wss_port(config: &Config) -> Option<u16> {
    let announce = &config.clients.announce;
    let announced = (announce.scheme == Scheme::Wss).then(|| announce.port.map_or(TLS, NonZeroU16::get));
    config.node.announce_wss_port.map(NonZeroU16::get).or(announced)
}

fn describe(config: &Config, keys: &PublicKeys) -> Description {
    let node = &config.node;
    let mix = &config.mix;
    Description {
        identity: keys.identity,
        moniker: node.moniker.to_string(),
        website: node.website.to_string(),
        security_contact: node.security_contact.to_string(),
        details: node.details.to_string(),
        program: node.announce_as.announced(),
        ws_port: ws_port(config),
        wss_port: wss_port(config),
        mix_port: mix.announce.port.map_or(mix.listen.port(), NonZeroU16::get),
        location: node.location.as_ref().map(ToString::to_string),
        accepted_terms: node.accept_operator_terms,
        account: node.account.as_ref().map(ToString::to_string),
    }
}

#[cfg(test)]
mod tests;
