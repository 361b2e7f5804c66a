//! Writes `config.toml`: the commented template for a new gateway, and changes to an existing file.
//!
//! *Promises*: in an existing file only the values that differ change. The operator's comments, order, spelling and keys stay.

use std::{num::NonZeroU16, path::Path};

use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value};

use super::{node::NodeSection, settings::Config};
use crate::node::Program;

/// A new configuration file: every section and key, each with its comment and its default.
pub const TEMPLATE: &str = include_str!("template.toml");

/// The line of a new file that sets this key, if new files have the key and it has a default.
pub(super) fn default_line(section: &str, key: &str) -> Option<&'static str> {
    let header = format!("[{section}]");
    let in_section =
        TEMPLATE.lines().skip_while(|line| *line != header).skip(1).take_while(|line| !line.starts_with('['));
    let is_it = |line: &&str| line.split_once(" = ").is_some_and(|(name, value)| name == key && value != "''");
    in_section.into_iter().find(is_it)
}

/// Why the new text could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// A path is not UTF-8, and TOML is.
    #[error(
        "config.toml cannot name the path {0}, which is not UTF-8: choose another with --home, --inboxes or --clients-ledger"
    )]
    NotUtf8(String),
    /// The file is TOML, but no configuration.
    #[error("config.toml: [{0}] is not a section: correct the file by hand")]
    NotASection(&'static str),
    /// The file is no longer TOML.
    #[error("config.toml: {0}")]
    NotToml(String),
}

/// A key and its value.
pub(super) struct Setting {
    section: &'static str,
    key: &'static str,
    value: Value,
}

/// The text of a new file: the template with the values of `config`.
pub fn fresh(config: &Config) -> Result<String, EditError> {
    change(TEMPLATE, settings(config)?)
}

/// `text`, changed where `after` differs from `before`. `before` are the settings in `text`.
pub fn update(text: &str, before: &Config, after: &Config) -> Result<String, EditError> {
    let before: Vec<_> = settings(before)?.iter().map(Setting::spelled).collect();
    let changed = settings(after)?.into_iter().filter(|setting| !before.contains(&setting.spelled())).collect();
    change(text, changed)
}

impl Setting {
    fn new(section: &'static str, key: &'static str, value: impl Into<Value>) -> Self {
        Self { section, key, value: value.into() }
    }

    pub(super) fn spelled(&self) -> (&'static str, &'static str, String) {
        (self.section, self.key, self.value.to_string())
    }
}

/// Everything that a flag of `init` or an upgrade can change. What has no value is left out.
pub(super) fn settings(config: &Config) -> Result<Vec<Setting>, EditError> {
    let gateway = |key, value| Setting::new("gateway", key, value);
    let mixnet = |key, value| Setting::new("mixnet_endpoint", key, value);
    let clients = |key, value| Setting::new("clients_endpoint", key, value);
    let keys = &config.keys;
    let validators: Array = config.validators.iter().map(|url| literal(url)).collect();
    let mut settings = vec![
        gateway("id", literal(&config.id)),
        gateway("private_identity_key_file", path_in(&config.home, &keys.private_identity)?),
        gateway("public_identity_key_file", path_in(&config.home, &keys.public_identity)?),
        gateway("private_sphinx_key_file", path_in(&config.home, &keys.private_sphinx)?),
        gateway("public_sphinx_key_file", path_in(&config.home, &keys.public_sphinx)?),
        gateway("validator_rest_urls", validators.into()),
        gateway("nym_root_directory", path(&config.root)?),
        mixnet("listening_address", literal(&config.mix.listen.to_string())),
        mixnet("announce_address", literal(&config.mix.announce.to_string())),
        clients("listening_address", literal(&config.clients.listen.to_string())),
        clients("announce_address", literal(&config.clients.announce.to_string())),
        clients("inboxes_directory", path_in(&config.home, &config.clients.inboxes)?),
        clients("ledger_path", path_in(&config.home, &config.clients.ledger)?),
    ];
    if let Some(version) = &config.version {
        settings.push(gateway("version", literal(&version.to_string())));
    }
    if let Some(contract) = &config.contract {
        settings.push(gateway("mixnet_contract_address", literal(contract)));
    }
    if let Some(allow_private) = config.egress.allow_private {
        settings.push(Setting::new("egress", "allow_private", allow_private));
    }
    settings.extend(node_settings(&config.node));
    Ok(settings)
}

/// `[node]`. A value that is not set is written as a text or number that means none, so that the key keeps its place.
fn node_settings(node: &NodeSection) -> Vec<Setting> {
    fn text(value: Option<&impl ToString>) -> Value {
        literal(&value.map(ToString::to_string).unwrap_or_default())
    }
    let node_setting = |key, value: Value| Setting::new("node", key, value);
    let port = |port: Option<NonZeroU16>| Value::from(i64::from(port.map_or(0, NonZeroU16::get)));
    let addresses: Array = node.public_ips.iter().map(|ip| literal(&ip.to_string())).collect();
    let chosen = Some(&node.announce_as).filter(|program| **program != Program::ours());
    vec![
        node_setting("enabled", node.enabled.into()),
        node_setting("http_bind_address", literal(&node.http_bind_address.to_string())),
        node_setting("public_ips", addresses.into()),
        node_setting("hostname", text(node.hostname.as_ref())),
        node_setting("announce_ws_port", port(node.announce_ws_port)),
        node_setting("announce_wss_port", port(node.announce_wss_port)),
        node_setting("location", text(node.location.as_ref())),
        node_setting("moniker", text(Some(&node.moniker))),
        node_setting("website", text(Some(&node.website))),
        node_setting("security_contact", text(Some(&node.security_contact))),
        node_setting("details", text(Some(&node.details))),
        node_setting("account", text(node.account.as_ref())),
        node_setting("accept_operator_terms", node.accept_operator_terms.into()),
        node_setting("announce_as", text(chosen)),
    ]
}

/// A path below the gateway's folder becomes relative to it, so that the folder can be moved and copied.
fn path_in(home: &Path, full: &Path) -> Result<Value, EditError> {
    path(full.strip_prefix(home).unwrap_or(full))
}

fn path(path: &Path) -> Result<Value, EditError> {
    match path.to_str() {
        Some(text) => Ok(literal(text)),
        None => Err(EditError::NotUtf8(path.to_string_lossy().into_owned())),
    }
}

/// A string in single quotes, as 0.10.1 wrote them, where TOML allows it.
fn literal(text: &str) -> Value {
    let plain = !text.contains(|letter: char| letter == '\'' || letter.is_control());
    plain.then(|| format!("'{text}'").parse().ok()).flatten().unwrap_or_else(|| text.into())
}

fn change(text: &str, settings: Vec<Setting>) -> Result<String, EditError> {
    let not_toml = |error: toml_edit::TomlError| EditError::NotToml(error.message().to_owned());
    let template: DocumentMut = TEMPLATE.parse().map_err(not_toml)?;
    let mut document: DocumentMut = text.parse().map_err(not_toml)?;
    for setting in settings {
        let comments = template.get(setting.section).and_then(Item::as_table);
        let section = document
            .entry(setting.section)
            .or_insert_with(|| new_section(comments))
            .as_table_like_mut()
            .ok_or(EditError::NotASection(setting.section))?;
        set(section, comments, setting);
    }
    Ok(document.to_string())
}

/// An empty section under the template's heading, at the end of the file.
fn new_section(template: Option<&Table>) -> Item {
    let mut table = Table::new();
    if let Some(heading) = template {
        *table.decor_mut() = heading.decor().clone();
    }
    Item::Table(table)
}

/// Sets one key. A key that is missing is added, with the template's comment.
fn set(section: &mut dyn TableLike, template: Option<&Table>, setting: Setting) {
    let Setting { key, mut value, .. } = setting;
    if key == "validator_rest_urls" && !section.contains_key(key) {
        // Older files use this name. Both names together would be one key twice.
        section.remove("validator_rest_url");
    }
    if let Some(old) = section.get_mut(key) {
        if let Some(old) = old.as_value() {
            *value.decor_mut() = old.decor().clone();
        }
        *old = Item::Value(value);
        return;
    }
    match template.and_then(|table| table.key(key)) {
        Some(commented) => {
            section.entry_format(commented).or_insert(Item::Value(value));
        }
        None => {
            section.insert(key, Item::Value(value));
        }
    }
}
