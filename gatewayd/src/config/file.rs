//! The text of a file, in which every key may be missing.

use std::{
    fs,
    io::{self, Read as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use ipc::trusted_network::TrustedNetwork;
use semver::Version;
use serde::{Deserialize, Deserializer, de::Error as _};
use toml::de::DeTable;

use super::{
    error::{ParseError, UnknownKey, WrittenSetting},
    metrics::MetricsSection,
    node::{HttpSection, NodeSection},
    settings::{ClientsEndpoint, Config, DEFAULT_CLIENTS_PORT, DEFAULT_MIX_PORT, MixEndpoint},
    tuning::{
        DEBUG_KEYS, DebugSection, DeliverySection, EgressSection, LimitsSection, ProtocolSection, ReplaySection,
        SHORTEST_CLIENT_IDLE, SHORTEST_MESSAGE_AGE, SandboxSection, TimeoutsSection,
    },
    values,
};
use crate::{
    endpoint::{ClientsAnnounce, MixAnnounce},
    paths::{GatewayPaths, KeyPaths},
};

/// Keys that `init` has always written. A file without one of them may have been cut off.
const ESSENTIAL: [(&str, &str); 10] = [
    ("gateway", "private_identity_key_file"),
    ("gateway", "public_identity_key_file"),
    ("gateway", "private_sphinx_key_file"),
    ("gateway", "public_sphinx_key_file"),
    ("mixnet_endpoint", LISTENING_ADDRESS),
    ("mixnet_endpoint", "announce_address"),
    ("clients_endpoint", LISTENING_ADDRESS),
    ("clients_endpoint", "announce_address"),
    ("clients_endpoint", "inboxes_directory"),
    ("clients_endpoint", "ledger_path"),
];

/// The key of an address to bind.
pub(super) const LISTENING_ADDRESS: &str = "listening_address";

/// The largest file that is read, in bytes. A new file has about 20,000.
const MAX_LEN: u64 = 1 << 20;

/// The keys of [`GatewaySection`].
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
pub(super) struct ConfigFile {
    gateway: GatewaySection,
    mixnet_endpoint: MixnetSection,
    clients_endpoint: ClientsSection,
    #[serde(rename = "logging")]
    _logging: LoggingSection,
    debug: DebugSection,
    delivery: DeliverySection,
    timeouts: TimeoutsSection,
    egress: EgressSection,
    protocol: ProtocolSection,
    replay: ReplaySection,
    limits: LimitsSection,
    node: NodeSection,
    http: HttpSection,
    metrics: MetricsSection,
    sandbox: SandboxSection,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct GatewaySection {
    #[serde(deserialize_with = "values::version")]
    version: Option<Version>,
    #[serde(deserialize_with = "values::text")]
    id: Option<String>,
    #[serde(deserialize_with = "path")]
    private_identity_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "path")]
    public_identity_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "path")]
    private_sphinx_key_file: Option<PathBuf>,
    #[serde(deserialize_with = "path")]
    public_sphinx_key_file: Option<PathBuf>,
    #[serde(alias = "validator_rest_url", deserialize_with = "values::one_or_many")]
    validator_rest_urls: Vec<String>,
    #[serde(deserialize_with = "values::text")]
    mixnet_contract_address: Option<String>,
    #[serde(deserialize_with = "path")]
    nym_root_directory: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MixnetSection {
    #[serde(deserialize_with = "values::parsed")]
    listening_address: Option<SocketAddr>,
    #[serde(deserialize_with = "values::parsed")]
    announce_address: Option<MixAnnounce>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ClientsSection {
    #[serde(deserialize_with = "values::parsed")]
    listening_address: Option<SocketAddr>,
    #[serde(deserialize_with = "values::parsed")]
    announce_address: Option<ClientsAnnounce>,
    #[serde(deserialize_with = "path")]
    inboxes_directory: Option<PathBuf>,
    #[serde(deserialize_with = "path")]
    ledger_path: Option<PathBuf>,
    #[serde(deserialize_with = "values::networks")]
    trusted_proxies: Vec<TrustedNetwork>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LoggingSection {}

/// Reads the text of a file.
pub(super) fn read(file: fs::File) -> io::Result<String> {
    let mut bytes = Vec::new();
    let read = file.take(MAX_LEN + 1).read_to_end(&mut bytes)?;
    if read as u64 > MAX_LEN {
        return Err(io::Error::other(format!("larger than {MAX_LEN} bytes, so it is no configuration")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count();
        io::Error::other(format!("line {line} is not UTF-8: save the file as UTF-8 (`iconv -f latin1 -t utf8`)"))
    })
}

/// The version that the text names, even if the rest of it is wrong.
pub(super) fn version_of(text: &str) -> Option<Version> {
    let file = DeTable::parse(text).ok()?.into_inner();
    file.get("gateway")?.get_ref().as_table()?.get("version")?.get_ref().as_str()?.parse().ok()
}

/// The keys of [`ESSENTIAL`] that the text does not have.
pub(super) fn absent(text: &str) -> Vec<String> {
    let Ok(file) = DeTable::parse(text) else { return Vec::new() };
    let file = file.into_inner();
    let has = |section: &str, key: &str| {
        file.get(section).and_then(|value| value.get_ref().as_table()).is_some_and(|table| table.contains_key(key))
    };
    let absent = ESSENTIAL.into_iter().filter(|(section, key)| !has(section, key));
    absent.map(|(section, key)| format!("[{section}] {key}")).collect()
}

/// Parses `text`. Returns the keys that are ignored too.
///
/// # Errors
/// Everything that is wrong, not only the first error.
pub(super) fn parse(text: &str) -> Result<(ConfigFile, Vec<UnknownKey>), Vec<ParseError>> {
    let whole = |error: toml::de::Error| ParseError {
        line: error.span().map_or(1, |span| line_at(text, span.start)),
        setting: None,
        message: error.message().replace('\n', " "),
    };
    let table = DeTable::parse(text).map_err(|error| vec![whole(error)])?.into_inner();
    let mut unknown = unknown_keys(text, &table, "gateway", &GATEWAY_KEYS);
    unknown.extend(unknown_keys(text, &table, "debug", &DEBUG_KEYS));
    match toml::from_str(text) {
        Ok(file) => Ok((file, unknown)),
        Err(error) => {
            let mut errors = unknown_sections(text, &table);
            errors.extend(settings(text, &table).filter_map(|(line, setting)| wrong(line, setting)));
            errors.sort_by_key(|error| error.line);
            // If no single setting is wrong, the error is in the file as a whole.
            Err(if errors.is_empty() { vec![whole(error)] } else { errors })
        }
    }
}

/// Errors for tables and keys that a configuration does not have.
fn unknown_sections(text: &str, file: &DeTable<'_>) -> Vec<ParseError> {
    let wrong = |name: &toml::Spanned<toml::de::DeString<'_>>| {
        let error = section_alone(name.get_ref()).err()?;
        let message = error.message().replace('\n', " ");
        Some(ParseError { line: line_at(text, name.span().start), setting: None, message })
    };
    file.keys().filter_map(wrong).collect()
}

/// Every setting in a known section, with its line.
fn settings<'a>(text: &'a str, file: &DeTable<'_>) -> impl Iterator<Item = (usize, WrittenSetting)> + use<'a> {
    let mut settings = Vec::new();
    for (section, value) in file {
        let Some(table) = value.get_ref().as_table() else { continue };
        if section_alone(section.get_ref()).is_err() {
            continue;
        }
        settings.extend(table.iter().map(|(key, value)| {
            let value = text.get(value.span()).unwrap_or_default().to_owned();
            let setting =
                WrittenSetting { section: section.get_ref().to_string(), key: key.get_ref().to_string(), value };
            (line_at(text, key.span().start), setting)
        }));
    }
    settings.into_iter()
}

/// The error that names the first of `keys` that is in the text.
fn written_fault(text: &str, section: &str, keys: &[&str], message: String) -> Option<ParseError> {
    let file = DeTable::parse(text).ok()?.into_inner();
    let told: Vec<_> = settings(text, &file).filter(|(_, setting)| setting.section == section).collect();
    let mut named = keys.iter().filter_map(|key| told.iter().find(|(_, setting)| setting.key == *key));
    let (line, setting) = named.next().cloned()?;
    Some(ParseError { line, message, setting: Some(setting) })
}

/// The error of a setting that is parsed by itself, if there is one.
fn wrong(line: usize, setting: WrittenSetting) -> Option<ParseError> {
    let alone = format!("[{}]\n{} = {}\n", quoted(&setting.section), quoted(&setting.key), setting.value);
    let error = toml::from_str::<ConfigFile>(&alone).err()?;
    Some(ParseError { line, message: error.message().replace('\n', " "), setting: Some(setting) })
}

/// Parses an empty section of this name.
fn section_alone(name: &str) -> Result<ConfigFile, toml::de::Error> {
    toml::from_str(&format!("[{}]\n", quoted(name)))
}

/// A key in quotes, which may contain any character.
fn quoted(key: &str) -> String {
    toml::Value::from(key).to_string()
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

impl ConfigFile {
    /// Errors for retention times that are so short that mail would be removed before its client can fetch it.
    pub(super) fn too_short(&self, text: &str) -> Vec<ParseError> {
        let limits = &self.limits;
        if limits.short_retention {
            return Vec::new();
        }
        let retention = [
            ("message_age", limits.message_age, SHORTEST_MESSAGE_AGE),
            ("client_idle", limits.client_idle, SHORTEST_CLIENT_IDLE),
        ];
        let short = |(key, value, least): (&str, Duration, Duration)| {
            let message = format!(
                "this must be at least {}; to remove messages or clients sooner, add `short_retention = true` beside it",
                humantime::format_duration(least)
            );
            let value = humantime::format_duration(value).to_string();
            let line = 1 + text.lines().position(|line| line.trim_start().starts_with(key)).unwrap_or_default();
            ParseError {
                line,
                message,
                setting: Some(WrittenSetting { section: "limits".into(), key: key.into(), value }),
            }
        };
        retention.into_iter().filter(|(_, value, least)| value < least).map(short).collect()
    }

    /// Errors for settings that contradict each other. Each names one that is in the text.
    pub(super) fn contradictions(&self, text: &str) -> Vec<ParseError> {
        let replay = self.replay.of_worker().check().err();
        let replay = replay.and_then(|fault| written_fault(text, "replay", fault.keys(), fault.to_string()));
        let metrics = self.metrics.fault().and_then(|fault| written_fault(text, "metrics", &["listen"], fault));
        replay.into_iter().chain(metrics).collect()
    }

    /// Fills in the defaults of missing keys.
    pub(super) fn resolve(self, paths: &GatewayPaths) -> Config {
        let GatewaySection {
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
        let (home, default) = (paths.home(), paths.keys());
        let mix_listen = self.mixnet_endpoint.listening_address.unwrap_or(unspecified(DEFAULT_MIX_PORT));
        let clients_listen = self.clients_endpoint.listening_address.unwrap_or(unspecified(DEFAULT_CLIENTS_PORT));
        Config {
            version,
            id: id.unwrap_or_default(),
            keys: KeyPaths {
                private_identity: path_in(home, private_identity_key_file, default.private_identity),
                public_identity: path_in(home, public_identity_key_file, default.public_identity),
                private_sphinx: path_in(home, private_sphinx_key_file, default.private_sphinx),
                public_sphinx: path_in(home, public_sphinx_key_file, default.public_sphinx),
            },
            validators: validator_rest_urls,
            contract: mixnet_contract_address,
            home: home.to_owned(),
            root: path_in(home, nym_root_directory, paths.root().to_owned()),
            mix: MixEndpoint {
                listen: mix_listen,
                announce: self.mixnet_endpoint.announce_address.unwrap_or(MixAnnounce::listening(mix_listen)),
            },
            clients: ClientsEndpoint {
                listen: clients_listen,
                announce: self.clients_endpoint.announce_address.unwrap_or(ClientsAnnounce::listening(clients_listen)),
                inboxes: path_in(home, self.clients_endpoint.inboxes_directory, paths.inboxes_dir()),
                ledger: path_in(home, self.clients_endpoint.ledger_path, paths.ledger()),
                trusted_proxies: self.clients_endpoint.trusted_proxies,
            },
            debug: self.debug,
            delivery: self.delivery,
            timeouts: self.timeouts,
            egress: self.egress,
            protocol: self.protocol,
            replay: self.replay,
            replay_directory: paths.replay_dir(),
            limits: self.limits,
            node: self.node,
            http: self.http,
            metrics: self.metrics,
            sandbox: self.sandbox,
        }
    }
}

fn unspecified(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

/// A path of the file, relative to the gateway's folder; `default` if there is none. 0.10.1 wrote only absolute paths.
fn path_in(home: &Path, path: Option<PathBuf>, default: PathBuf) -> PathBuf {
    path.map_or(default, |path| home.join(path))
}

/// A path. One that begins with `~` is an error, because no shell expands it here.
fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path: Option<PathBuf> = values::parsed(deserializer)?;
    if path.as_ref().is_some_and(|path| path.to_string_lossy().starts_with('~')) {
        return Err(D::Error::custom("`~` is not expanded here: write the path of the folder itself"));
    }
    Ok(path)
}
