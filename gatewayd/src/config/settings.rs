//! The content of `config.toml`, as values.

use std::{net::SocketAddr, path::PathBuf};

use ipc::{Role, trusted_network::TrustedNetwork};
use semver::Version;

use super::{
    metrics::MetricsSection,
    node::{HttpSection, NodeSection},
    tuning::{
        DebugSection, DeliverySection, EgressSection, LimitsSection, ProtocolSection, ReplaySection, SandboxSection,
        TimeoutsSection,
    },
};
use crate::{
    endpoint::{ClientsAnnounce, Host, MixAnnounce, is_private},
    paths::KeyPaths,
};

/// The contract of 0.10.1's network, the default of `init` and of `upgrade`.
pub const DEFAULT_CONTRACT: &str = "hal1k0jntykt7e4g3y88ltc60czgjuqdy4c9c6gv94";

/// The port for Sphinx packets, unless a flag or the file names another.
pub const DEFAULT_MIX_PORT: u16 = 1789;

/// The port for clients, unless a flag or the file names another.
pub const DEFAULT_CLIENTS_PORT: u16 = 9000;

/// The mode of a new configuration file, which holds no secret.
pub const FILE_MODE: u32 = 0o644;

/// The content of `config.toml`, with defaults for missing keys. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The version of the network for which the file was written; none before 0.9.0.
    pub version: Option<Version>,
    /// The gateway's name.
    pub id: String,
    /// The key files.
    pub keys: KeyPaths,
    /// Validators to ask whether another gateway announces our addresses.
    pub validators: Vec<String>,
    /// The contract to ask them about; none before 0.10.0.
    pub contract: Option<String>,
    /// The gateway's own folder; no setting names it.
    pub home: PathBuf,
    /// The folder of all gateways, as the file names it. No other path is derived from it.
    pub root: PathBuf,
    /// The port for Sphinx packets.
    pub mix: MixEndpoint,
    /// The port for clients.
    pub clients: ClientsEndpoint,
    /// `[debug]`.
    pub debug: DebugSection,
    /// `[delivery]`.
    pub delivery: DeliverySection,
    /// `[timeouts]`.
    pub timeouts: TimeoutsSection,
    /// `[egress]`.
    pub egress: EgressSection,
    /// `[protocol]`.
    pub protocol: ProtocolSection,
    /// `[replay]`.
    pub replay: ReplaySection,
    /// The folder of the marks of packets seen; no setting names it.
    pub replay_directory: PathBuf,
    /// `[limits]`.
    pub limits: LimitsSection,
    /// `[node]`.
    pub node: NodeSection,
    /// `[http]`.
    pub http: HttpSection,
    /// `[metrics]`.
    pub metrics: MetricsSection,
    /// `[sandbox]`.
    pub sandbox: SandboxSection,
}

/// `[mixnet_endpoint]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MixEndpoint {
    /// The address to bind.
    pub listen: SocketAddr,
    /// The address that mix nodes are told.
    pub announce: MixAnnounce,
}

/// `[clients_endpoint]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientsEndpoint {
    /// The address to bind.
    pub listen: SocketAddr,
    /// The address that clients are told.
    pub announce: ClientsAnnounce,
    /// The folder of the inboxes.
    pub inboxes: PathBuf,
    /// The client ledger.
    pub ledger: PathBuf,
    /// Proxies that name the client for which they connect.
    pub trusted_proxies: Vec<TrustedNetwork>,
}

impl Config {
    /// The address that mix nodes are told: `host:port`.
    pub fn mix_announce(&self) -> String {
        let announce = self.mix.announce.clone();
        announce.complete(self.mix.listen).to_string()
    }

    /// The address that clients are told: a websocket URL.
    pub fn clients_announce(&self) -> String {
        let announce = self.clients.announce.clone();
        announce.complete(self.clients.listen).to_string()
    }

    /// The workers that run: `http-api` only in a gateway that is described to today's network, or whose metrics are read.
    pub fn roles(&self) -> impl Iterator<Item = Role> + use<> {
        let is_asked = self.node.enabled || self.metrics.listen.is_some();
        Role::ALL.into_iter().filter(move |role| *role != Role::HttpApi || is_asked)
    }

    /// Whether packets may be sent to private addresses. Without a setting, this is allowed if the gateway itself announces one.
    pub fn allow_private(&self) -> bool {
        self.egress.allow_private.unwrap_or_else(|| self.is_in_private_network())
    }

    /// Whether the Internet cannot reach the address that mix nodes are told.
    pub fn is_in_private_network(&self) -> bool {
        matches!(self.mix.announce.host, Host::Ip(ip) if is_private(ip))
    }
}
