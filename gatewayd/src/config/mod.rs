//! `config.toml`: what it says ([`Config`]), how it is read ([`load`](Config::load)) and how it is written ([`edit`]).
//!
//! Files of 0.10.x load as they are. An unknown key in `[gateway]` or `[debug]` is a warning, as 0.10.x ignored it there;
//! anywhere else it is an error, as it was then. Both name the line.

mod edit;
mod file;
mod memory;
mod tuning;
mod values;

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

pub use edit::{EditError, fresh, update};
use ipc::trusted_network::TrustedNetwork;
pub use memory::Memory;
use semver::Version;
pub use tuning::{Debug, Delivery, Egress, Framing, Limits, Protocol, Replay, Sandbox, Timeouts};

use crate::{
    endpoint::{ClientsAnnounce, Host, MixAnnounce, is_private},
    path_guard::PathGuard,
    paths::{GatewayId, GatewayPaths, KeyPaths},
    version::{self, Incompatible},
};

/// The contract of 0.10.1's network, the default of `init` and of `upgrade`.
pub const DEFAULT_CONTRACT: &str = "hal1k0jntykt7e4g3y88ltc60czgjuqdy4c9c6gv94";

/// The port for Sphinx packets, unless a flag or the file names another.
pub const DEFAULT_MIX_PORT: u16 = 1789;

/// The port for clients, unless a flag or the file names another.
pub const DEFAULT_CLIENTS_PORT: u16 = 9000;

/// Characters of a wrong value that an error shows.
const LONGEST_VALUE: usize = 80;

/// Mode of a new configuration file: it holds no secret.
pub const FILE_MODE: u32 = 0o644;

/// Everything `config.toml` says, with the defaults of what it does not say. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The network version the file was written for; none before 0.9.0.
    pub version: Option<Version>,
    /// The gateway's name.
    pub id: String,
    /// The key files.
    pub keys: KeyPaths,
    /// Validators to ask for gateways that announce our addresses.
    pub validators: Vec<String>,
    /// The contract to ask them about; none before 0.10.0.
    pub contract: Option<String>,
    /// The gateway's own folder; no setting names it.
    pub home: PathBuf,
    /// The folder of all gateways, as written; nothing is derived from it.
    pub root: PathBuf,
    /// Where Sphinx packets come in.
    pub mix: MixEndpoint,
    /// Where clients connect.
    pub clients: ClientsEndpoint,
    /// `[debug]`.
    pub debug: Debug,
    /// `[delivery]`.
    pub delivery: Delivery,
    /// `[timeouts]`.
    pub timeouts: Timeouts,
    /// `[egress]`.
    pub egress: Egress,
    /// `[protocol]`.
    pub protocol: Protocol,
    /// `[replay]`.
    pub replay: Replay,
    /// The folder of the marks of packets seen; no setting names it.
    pub replay_directory: PathBuf,
    /// `[limits]`.
    pub limits: Limits,
    /// `[sandbox]`.
    pub sandbox: Sandbox,
}

/// `[mixnet_endpoint]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MixEndpoint {
    /// The address to bind.
    pub listen: SocketAddr,
    /// What mix nodes are told.
    pub announce: MixAnnounce,
}

/// `[clients_endpoint]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientsEndpoint {
    /// The address to bind.
    pub listen: SocketAddr,
    /// What clients are told.
    pub announce: ClientsAnnounce,
    /// The folder of the inboxes.
    pub inboxes: PathBuf,
    /// The client ledger.
    pub ledger: PathBuf,
    /// Proxies that name the client for whom they connect.
    pub trusted_proxies: Vec<TrustedNetwork>,
}

/// A key that is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKey {
    /// Line of the file, from 1.
    pub line: usize,
    /// The section, without brackets.
    pub section: &'static str,
    /// The key.
    pub key: String,
}

impl fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, section, key } = self;
        write!(f, "line {line}: unknown key `{key}` in [{section}] is ignored")
    }
}

/// Why a configuration file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The operating system refused.
    #[error("{error}: {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// It is of a later gateway.
    #[error(transparent)]
    Later(Incompatible),
    /// The text is not a configuration.
    #[error("{}", listed(path, errors))]
    Parse {
        /// The file.
        path: PathBuf,
        /// All that is wrong, and where.
        errors: Vec<ParseError>,
    },
}

impl LoadError {
    /// Whether there is no such file.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Read { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }
}

fn listed(path: &Path, errors: &[ParseError]) -> String {
    let errors: Vec<_> = errors.iter().map(|error| format!("{}: {error}", path.display())).collect();
    errors.join("\n")
}

/// A key of a configuration as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The section, without brackets.
    pub section: String,
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// `, [section] key = value`, or nothing.
fn named(setting: Option<&Setting>) -> String {
    let named = |Setting { section, key, value }: &Setting| {
        let value: String = value.escape_debug().take(LONGEST_VALUE).collect();
        format!(", [{}] {} = {value}", section.escape_debug(), key.escape_debug())
    };
    setting.map(named).unwrap_or_default()
}

/// What to write in place of a setting, if it is one that new files have.
fn example(setting: Option<&Setting>) -> String {
    let Some(line) = setting.and_then(|setting| edit::default_line(&setting.section, &setting.key)) else {
        return "correct the line".to_owned();
    };
    format!("correct the line; the default is `{line}`")
}

/// What is wrong in the text of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {message}; {}", named(setting.as_ref()), example(setting.as_ref()))]
pub struct ParseError {
    /// Line of the file, from 1.
    pub line: usize,
    /// Which setting, if it is one.
    pub setting: Option<Setting>,
    /// What is wrong.
    pub message: String,
}

/// A configuration file in memory: its text, what it says, and what it says in vain.
#[derive(Debug)]
pub struct Loaded {
    /// The text, for [`update`].
    pub text: String,
    /// What it says.
    pub config: Config,
    /// Keys that were ignored.
    pub unknown: Vec<UnknownKey>,
    /// Keys that every gateway needs and that the text does not have, as `[section] key`.
    pub absent: Vec<String>,
}

impl Loaded {
    /// Logs a warning for each ignored key.
    pub fn warn_unknown(&self) {
        for unknown in &self.unknown {
            tracing::warn!("config.toml {unknown}");
        }
    }
}

impl Config {
    /// Reads the file at `path`. What it leaves out comes from `paths`.
    pub fn load(path: &Path, paths: &GatewayPaths, guard: &PathGuard) -> Result<Loaded, LoadError> {
        let text = guard
            .open_file(path)
            .and_then(file::read)
            .map_err(|error| LoadError::Read { path: path.to_owned(), error })?;
        if let Some(version) = file::version_of(&text).filter(version::is_later) {
            return Err(LoadError::Later(Incompatible::Later(version, paths.id())));
        }
        match Self::parse(&text, paths) {
            Ok((config, unknown)) => {
                let absent = file::absent(&text);
                Ok(Loaded { text, config, unknown, absent })
            }
            Err(errors) => Err(LoadError::Parse { path: path.to_owned(), errors }),
        }
    }

    /// Reads the text of a file. What it leaves out comes from `paths`.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(text: &str, paths: &GatewayPaths) -> Result<(Self, Vec<UnknownKey>), Vec<ParseError>> {
        let (file, unknown) = file::parse(text)?;
        let mut errors = file.too_short(text);
        errors.extend(file.contradiction(text));
        if errors.is_empty() { Ok((file.resolve(paths), unknown)) } else { Err(errors) }
    }

    /// The configuration of a new gateway, before any flag.
    pub fn new(id: &GatewayId, paths: &GatewayPaths) -> Self {
        let mut config = file::File::default().resolve(paths);
        config.version = Some(version::NETWORK);
        config.id = id.to_string();
        config.contract = Some(DEFAULT_CONTRACT.to_owned());
        config.egress.allow_private = Some(false);
        config
    }

    /// What mix nodes are told: `host:port`.
    pub fn mix_announce(&self) -> String {
        let announce = self.mix.announce.clone();
        announce.complete(self.mix.listen).to_string()
    }

    /// What clients are told: a websocket URL.
    pub fn clients_announce(&self) -> String {
        let announce = self.clients.announce.clone();
        announce.complete(self.clients.listen).to_string()
    }

    /// Whether packets may be sent to private addresses: what the file says, else whether the gateway itself has one.
    pub fn allow_private(&self) -> bool {
        self.egress.allow_private.unwrap_or_else(|| self.is_in_private_network())
    }

    /// Whether the address announced to mix nodes is one that the Internet cannot reach.
    pub fn is_in_private_network(&self) -> bool {
        matches!(self.mix.announce.host, Host::Ip(ip) if is_private(ip))
    }
}

fn unspecified(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

#[cfg(test)]
mod tests;
