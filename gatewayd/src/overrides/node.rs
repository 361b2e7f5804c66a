//! The flags about `[node]`, with the names of nym-node where it has them.

use std::{net::IpAddr, num::NonZeroU16};

use clap::Args;

use super::port;
use crate::{
    config::{Config, DEFAULT_HTTP_PORT},
    endpoint::{Host, ListenHost},
    node::{Account, Country, Line, Program},
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
    #[arg(long, value_name = "IP,IP...", value_delimiter = ',')]
    pub public_ips: Option<Vec<IpAddr>>,

    /// The DNS name at which clients connect [default: the name announced to clients]
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub hostname: Option<Host>,

    /// The port for clients that the description names [default: the one announced to clients]
    #[arg(long, value_name = "PORT", value_parser = port)]
    pub announce_ws_port: Option<NonZeroU16>,

    /// The port at which a proxy of yours accepts clients over TLS [default: none]
    #[arg(long, value_name = "PORT", value_parser = port)]
    pub announce_wss_port: Option<NonZeroU16>,

    /// The country in which the gateway stands, such as CH
    #[arg(long, value_name = "COUNTRY")]
    pub location: Option<Country>,

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
    pub account: Option<Account>,

    /// Accept the Nym project's terms and conditions for operators, which you have read
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub accept_operator_terms_and_conditions: Option<bool>,

    /// The program and version to announce, such as 'nym-node 1.31.0'; config.toml says what depends on it [default: gatewayd]
    #[arg(long, value_name = "'PROGRAM VERSION'")]
    pub announce_as: Option<Program>,
}

fn name(text: &str) -> Result<Host, String> {
    match text.parse() {
        Ok(Host::Ip(_)) => Err("not a DNS name: addresses are given with --public-ips".into()),
        Ok(name) => Ok(name),
        Err(error) => Err(error.to_string()),
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
        set(&mut node.public_ips, &self.public_ips);
        set_some(&mut node.hostname, &self.hostname);
        set_some(&mut node.announce_ws_port, &self.announce_ws_port);
        set_some(&mut node.announce_wss_port, &self.announce_wss_port);
        set_some(&mut node.location, &self.location);
        set(&mut node.moniker, &self.moniker);
        set(&mut node.website, &self.website);
        set(&mut node.security_contact, &self.security_contact);
        set(&mut node.details, &self.details);
        set_some(&mut node.account, &self.account);
        set(&mut node.accept_operator_terms, &self.accept_operator_terms_and_conditions);
        set(&mut node.announce_as, &self.announce_as);
    }
}

fn set<T: Clone>(setting: &mut T, flag: &Option<T>) {
    if let Some(value) = flag {
        setting.clone_from(value);
    }
}

fn set_some<T: Clone>(setting: &mut Option<T>, flag: &Option<T>) {
    if flag.is_some() {
        setting.clone_from(flag);
    }
}
