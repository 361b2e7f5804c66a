//! `[node]` and `[http]`: what is announced to today's network, and how it is served.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error as _};

use super::values::{self, positive_duration};
use crate::node::{Account, Country, Line, Name, Program};

/// The port at which readers in the network look for the documents, unless another is bonded.
pub const DEFAULT_HTTP_PORT: u16 = 8080;

/// `[node]`: the gateway as today's network sees it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSection {
    /// Whether the gateway describes itself over HTTP.
    pub enabled: bool,
    /// The address on which the documents are served.
    pub http_bind_address: SocketAddr,
    /// The addresses to announce; empty for that of `[mixnet_endpoint] announce_address`.
    #[serde(deserialize_with = "addresses")]
    pub public_ips: Vec<IpAddr>,
    /// The name at which clients connect; none for that of `[clients_endpoint] announce_address`.
    #[serde(deserialize_with = "values::parsed")]
    pub hostname: Option<Name>,
    /// The port of websockets to announce; none for that of `[clients_endpoint] announce_address`.
    #[serde(deserialize_with = "port")]
    pub announce_ws_port: Option<NonZeroU16>,
    /// The port of websockets over TLS to announce; none for that of a `wss://` address there.
    #[serde(deserialize_with = "port")]
    pub announce_wss_port: Option<NonZeroU16>,
    /// The country in which the gateway stands.
    #[serde(deserialize_with = "values::parsed")]
    pub location: Option<Country>,
    /// A name for people.
    #[serde(deserialize_with = "line")]
    pub moniker: Line,
    /// The operator's web page.
    #[serde(deserialize_with = "line")]
    pub website: Line,
    /// Where to report problems of security.
    #[serde(deserialize_with = "line")]
    pub security_contact: Line,
    /// More words about the gateway.
    #[serde(deserialize_with = "line")]
    pub details: Line,
    /// An account on the chain.
    #[serde(deserialize_with = "values::parsed")]
    pub account: Option<Account>,
    /// Whether the operator accepts the network's terms and conditions for operators.
    pub accept_operator_terms: bool,
    /// The program that is announced.
    #[serde(deserialize_with = "program")]
    pub announce_as: Program,
}

impl Default for NodeSection {
    fn default() -> Self {
        Self {
            enabled: false,
            http_bind_address: SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), DEFAULT_HTTP_PORT),
            public_ips: Vec::new(),
            hostname: None,
            announce_ws_port: None,
            announce_wss_port: None,
            location: None,
            moniker: Line::default(),
            website: Line::default(),
            security_contact: Line::default(),
            details: Line::default(),
            account: None,
            accept_operator_terms: false,
            announce_as: Program::ours(),
        }
    }
}

/// `[http]`: strangers at the port of `[node]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSection {
    /// Connections at once.
    pub max_connections: NonZeroU32,
    /// Connections from one address prefix.
    pub max_connections_per_prefix: NonZeroU32,
    /// From the connection, or from the answer before, to the end of a request's head; and the same for taking the answer.
    #[serde(deserialize_with = "positive_duration")]
    pub request: Duration,
    /// Requests of one connection.
    pub requests_per_connection: NonZeroU32,
}

impl Default for HttpSection {
    fn default() -> Self {
        Self {
            max_connections: const { NonZeroU32::new(256).unwrap() },
            max_connections_per_prefix: const { NonZeroU32::new(32).unwrap() },
            request: Duration::from_secs(10),
            requests_per_connection: const { NonZeroU32::new(100).unwrap() },
        }
    }
}

fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpAddr>, D::Error> {
    let addresses = Vec::<String>::deserialize(deserializer)?;
    let address = |text: &String| {
        text.parse().map_err(|_| D::Error::custom(format!("`{}` is no IP address", text.escape_debug())))
    };
    addresses.iter().map(address).collect()
}

/// A port; 0 means none, since TOML has no empty value.
fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NonZeroU16>, D::Error> {
    Ok(NonZeroU16::new(u16::deserialize(deserializer)?))
}

/// One line of text.
fn line<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Line, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

fn program<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Program, D::Error> {
    Ok(values::parsed(deserializer)?.unwrap_or_else(Program::ours))
}
