//! The file as it is written: every key may be missing.

use std::{
    fs,
    io::{self, Read as _},
    net::SocketAddr,
    path::PathBuf,
};

use semver::Version;
use serde::Deserialize;
use toml::de::DeTable;

use super::{
    ClientsEndpoint, Config, DEFAULT_CLIENTS_PORT, DEFAULT_MIX_PORT, Debug, Delivery, Egress, Limits, MixEndpoint,
    ParseError, Protocol, Replay, Sandbox, Timeouts, UnknownKey, tuning::DEBUG_KEYS, unspecified, values,
};
use crate::{
    endpoint::{ClientsAnnounce, MixAnnounce},
    paths::{GatewayPaths, KeyPaths},
};

/// The largest file that is read, in bytes. Real ones have about 5,000.
const MAX_LEN: u64 = 1 << 20;

/// The keys of [`Gateway`].
const GATEWAY_KEYS: [&str; 10] = [
    "version",
    "id",
    "private_identity_key_file",
    "public_identity_key_file",
    "private_sphinx_key_file",
    "public_sphinx_key_file",
    "validator_rest_urls",
    "validator_rest_url",
    "mixnet_contract_address",
    "nym_root_directory",
];

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    gateway: Gateway,
    mixnet_endpoint: Mixnet,
    clients_endpoint: Clients,
    #[serde(rename = "logging")]
    _logging: Logging,
    debug: Debug,
    delivery: Delivery,
    timeouts: Timeouts,
    egress: Egress,
    protocol: Protocol,
    replay: Replay,
    limits: Limits,
    sandbox: Sandbox,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Gateway {
    #[serde(deserialize_with = "values::version")]
    version: Option<Version>,
    #[serde(deserialize_with = "values::text")]
    id: Option<String>,
    #[serde(deserialize_with = "values::parsed")]
    private_identity_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "values::parsed")]
    public_identity_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "values::parsed")]
    private_sphinx_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "values::parsed")]
    public_sphinx_key_file: Option<PathBuf>,
    #[serde(alias = "validator_rest_url", deserialize_with = "values::one_or_many")]
    validator_rest_urls: Vec<String>,
    #[serde(deserialize_with = "values::text")]
    mixnet_contract_address: Option<String>,
    #[serde(deserialize_with = "values::parsed")]
    nym_root_directory: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Mixnet {
    #[serde(deserialize_with = "values::parsed")]
    listening_address: Option<SocketAddr>,
    #[serde(deserialize_with = "values::parsed")]
    announce_address: Option<MixAnnounce>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Clients {
    #[serde(deserialize_with = "values::parsed")]
    listening_address: Option<SocketAddr>,
    #[serde(deserialize_with = "values::parsed")]
    announce_address: Option<ClientsAnnounce>,
    #[serde(deserialize_with = "values::parsed")]
    inboxes_directory: Option<PathBuf>,
    #[serde(deserialize_with = "values::parsed")]
    ledger_path: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Logging {}

/// The text of the file at `path`.
pub(super) fn read(file: fs::File) -> io::Result<String> {
    let mut text = String::new();
    let read = file.take(MAX_LEN + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_LEN {
        return Err(io::Error::other(format!("larger than {MAX_LEN} bytes, which no configuration is")));
    }
    Ok(text)
}

/// Reads `text`, and tells which keys are ignored.
pub(super) fn parse(text: &str) -> Result<(File, Vec<UnknownKey>), ParseError> {
    let error = |error: toml::de::Error| ParseError {
        line: error.span().map_or(1, |span| line_at(text, span.start)),
        message: error.message().replace('\n', " "),
    };
    let table = DeTable::parse(text).map_err(error)?.into_inner();
    let mut unknown = unknown_keys(text, &table, "gateway", &GATEWAY_KEYS);
    unknown.extend(unknown_keys(text, &table, "debug", &DEBUG_KEYS));
    let file = toml::from_str(text).map_err(error)?;
    Ok((file, unknown))
}

fn unknown_keys(text: &str, file: &DeTable<'_>, section: &'static str, known: &[&str]) -> Vec<UnknownKey> {
    let Some(table) = file.get(section).and_then(|value| value.get_ref().as_table()) else {
        return Vec::new();
    };
    let mut unknown: Vec<_> = table
        .keys()
        .filter(|key| !known.contains(&key.get_ref().as_ref()))
        .map(|key| UnknownKey {
            line: line_at(text, key.span().start),
            section,
            key: key.get_ref().escape_default().to_string(),
        })
        .collect();
    unknown.sort_by_key(|unknown| unknown.line);
    unknown
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}

impl File {
    /// Fills in what is missing.
    pub(super) fn resolve(self, paths: &GatewayPaths) -> Config {
        let Gateway {
            version,
            id,
            private_identity_key_file,
            public_identity_key_file,
            private_sphinx_key_file,
            public_sphinx_key_file,
            validator_rest_urls,
            mixnet_contract_address,
            nym_root_directory,
        } = self.gateway;
        let default = paths.keys();
        let mix_listen = self.mixnet_endpoint.listening_address.unwrap_or(unspecified(DEFAULT_MIX_PORT));
        let clients_listen = self.clients_endpoint.listening_address.unwrap_or(unspecified(DEFAULT_CLIENTS_PORT));
        Config {
            version,
            id: id.unwrap_or_default(),
            keys: KeyPaths {
                private_identity: absolute(private_identity_key_file, default.private_identity),
                public_identity: absolute(public_identity_key_file, default.public_identity),
                private_sphinx: absolute(private_sphinx_key_file, default.private_sphinx),
                public_sphinx: absolute(public_sphinx_key_file, default.public_sphinx),
            },
            validators: validator_rest_urls,
            contract: mixnet_contract_address,
            root: absolute(nym_root_directory, paths.root().to_owned()),
            mix: MixEndpoint {
                listen: mix_listen,
                announce: self.mixnet_endpoint.announce_address.unwrap_or(MixAnnounce::listening(mix_listen)),
            },
            clients: ClientsEndpoint {
                listen: clients_listen,
                announce: self.clients_endpoint.announce_address.unwrap_or(ClientsAnnounce::listening(clients_listen)),
                inboxes: absolute(self.clients_endpoint.inboxes_directory, paths.inboxes_dir()),
                ledger: absolute(self.clients_endpoint.ledger_path, paths.ledger()),
            },
            debug: self.debug,
            delivery: self.delivery,
            timeouts: self.timeouts,
            egress: self.egress,
            protocol: self.protocol,
            replay: self.replay,
            replay_directory: paths.replay_dir(),
            limits: self.limits,
            sandbox: self.sandbox,
        }
    }
}

/// `path` from the working directory, as 0.10.1 took it; `default` if there is none.
fn absolute(path: Option<PathBuf>, default: PathBuf) -> PathBuf {
    let Some(path) = path else { return default };
    std::path::absolute(&path).unwrap_or(path)
}
