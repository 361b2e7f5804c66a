//! The flags about `[node]`, with the names of nym-node where it has them.

use std::{fmt, net::IpAddr, num::NonZeroU16, str::FromStr};

use clap::Args;

use super::port::port;
use crate::{
    config::{Config, DEFAULT_HTTP_PORT},
    endpoint::{Host, ListenHost},
    node::{Account, Country, Line, Name, Program},
};

/// Flags that change what is announced to today's network. A flag that is not given changes nothing.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Joining today's network")]
pub struct NodeFlags {
    /// Describe the gateway over HTTP, so that the network's directory lists it; --node=false turns it off
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub node: Option<bool>,

    /// The address on which the description is served [default: [::]:8080]
    #[arg(long, value_name = "IP[:PORT]")]
    pub http_bind_address: Option<ListenHost>,

    /// The public addresses of this machine, separated by commas [default: the address announced to mix nodes]
    #[arg(long, value_name = "IP,IP...")]
    pub public_ips: Option<Addresses>,

    /// The DNS name at which clients connect [default: the name announced to clients]
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<Given<Name>>,

    /// The port for clients that the description names [default: the one announced to clients]
    #[arg(long, value_name = "PORT", value_parser = port_or_none)]
    pub announce_ws_port: Option<Given<NonZeroU16>>,

    /// The port at which a proxy of yours accepts clients over TLS [default: none]
    #[arg(long, value_name = "PORT", value_parser = port_or_none)]
    pub announce_wss_port: Option<Given<NonZeroU16>>,

    /// The country in which the gateway stands, such as CH
    #[arg(long, value_name = "COUNTRY")]
    pub location: Option<Given<Country>>,

    /// A name for the gateway, for people
    #[arg(long, value_name = "TEXT")]
    pub moniker: Option<Line>,

    /// Your web page
    #[arg(long, value_name = "URL")]
    pub website: Option<Line>,

    /// Where to report problems of security
    #[arg(long, value_name = "TEXT")]
    pub security_contact: Option<Line>,

    /// More words about the gateway
    #[arg(long, value_name = "TEXT")]
    pub details: Option<Line>,

    /// An account of yours on the chain (n1...)
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<Given<Account>>,

    /// Accept the Nym project's terms and conditions for operators, which you have read
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub accept_operator_terms_and_conditions: Option<bool>,

    /// The program and version to announce, such as 'nym-node 1.31.0'; config.toml says what depends on it [default: gatewayd]
    #[arg(long, value_name = "'PROGRAM VERSION'")]
    pub announce_as: Option<Given<Program>>,
}

/// A value, or none: an empty text takes back what was set before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given<T>(Option<T>);

impl<T: FromStr> FromStr for Given<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text.trim().is_empty() { Ok(Self(None)) } else { text.parse().map(|value| Self(Some(value))) }
    }
}

/// A port, or 0 for none.
fn port_or_none(text: &str) -> Result<Given<NonZeroU16>, &'static str> {
    if text == "0" { Ok(Given(None)) } else { port(text).map(|port| Given(Some(port))) }
}

/// Addresses, separated by commas; an empty list takes back what was set before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses(Vec<IpAddr>);

/// Why a text is no such list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAddresses(String);

impl fmt::Display for NotAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wrong = self.0.escape_debug();
        write!(f, "`{wrong}` is no IP address: give addresses such as 203.0.113.5 or 2001:db8::5, separated by commas")
    }
}

impl std::error::Error for NotAddresses {}

impl FromStr for Addresses {
    type Err = NotAddresses;

    fn from_str(text: &str) -> Result<Self, NotAddresses> {
        let texts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
        let address = |text: &str| match text.parse() {
            Ok(Host::Ip(ip)) => Ok(ip),
            Ok(Host::Name(_)) | Err(_) => Err(NotAddresses(text.to_owned())),
        };
        texts.map(address).collect::<Result<_, _>>().map(Self)
    }
}

impl NodeFlags {
    /// Changes `config`.
    pub(super) fn apply(&self, config: &mut Config) {
        let node = &mut config.node;
        set(&mut node.enabled, &self.node);
        if let Some(ListenHost { ip, port }) = self.http_bind_address {
            node.http_bind_address = (ip, port.map_or(DEFAULT_HTTP_PORT, NonZeroU16::get)).into();
        }
        if let Some(Addresses(addresses)) = &self.public_ips {
            node.public_ips.clone_from(addresses);
        }
        set_or_unset(&mut node.hostname, &self.hostname);
        set_or_unset(&mut node.announce_ws_port, &self.announce_ws_port);
        set_or_unset(&mut node.announce_wss_port, &self.announce_wss_port);
        set_or_unset(&mut node.location, &self.location);
        set(&mut node.moniker, &self.moniker);
        set(&mut node.website, &self.website);
        set(&mut node.security_contact, &self.security_contact);
        set(&mut node.details, &self.details);
        set_or_unset(&mut node.account, &self.account);
        set(&mut node.accept_operator_terms, &self.accept_operator_terms_and_conditions);
        if let Some(Given(program)) = &self.announce_as {
            node.announce_as = program.clone().unwrap_or_else(Program::ours);
        }
    }
}

fn set<T: Clone>(setting: &mut T, flag: &Option<T>) {
    if let Some(value) = flag {
        setting.clone_from(value);
    }
}

fn set_or_unset<T: Clone>(setting: &mut Option<T>, flag: &Option<Given<T>>) {
    if let Some(Given(value)) = flag {
        setting.clone_from(value);
    }
}
