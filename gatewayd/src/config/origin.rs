//! Every setting with its value as text, and where the value comes from.
//!
//! *Promises*: what is listed is what the gateway runs with. A key file is listed by its path; no key is in a configuration.

use std::collections::HashMap;

use bincode::{Decode, Encode};
use serde::Serialize;
use toml::{Table, Value};
use toml_edit::DocumentMut;

use super::{
    edit,
    settings::Config,
    tuning::{DEBUG_KEYS, DebugSection},
};

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Nobody has chosen it.
    Default,
    /// The configuration file.
    File,
    /// A flag of `run`.
    Flag,
    /// A variable of the environment.
    Environment,
}

impl Origin {
    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Flag => "flag",
            Self::Environment => "environment",
        }
    }
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct SettingInForce {
    /// The section, without brackets. That of variables of the environment is [`ENVIRONMENT`].
    pub section: String,
    /// The key.
    pub key: String,
    /// The value, as TOML.
    pub value: String,
    /// Where the value comes from.
    pub origin: Origin,
}

impl SettingInForce {
    /// A variable of the environment.
    pub fn of_environment(key: &str, value: &str, is_set: bool) -> Self {
        let origin = if is_set { Origin::Environment } else { Origin::Default };
        Self { section: ENVIRONMENT.to_owned(), key: key.to_owned(), value: Value::from(value).to_string(), origin }
    }

    /// The same with a value that fits into a message together with all others.
    #[must_use]
    pub fn shortened(mut self) -> Self {
        if let Some((end, _)) = self.value.char_indices().nth(LONGEST) {
            self.value.truncate(end);
            self.value.push_str("...");
        }
        self
    }

    /// Its name: `[section] key`.
    pub fn name(&self) -> String {
        format!("[{}] {}", self.section, self.key)
    }

    /// Whether it is this setting.
    pub fn is(&self, other: &Self) -> bool {
        (&self.section, &self.key) == (&other.section, &other.key)
    }
}

/// The longest value that is shown whole, in characters. A list of addresses may be longer.
const LONGEST: usize = 250;

/// The section under which variables of the environment are listed. No configuration has it.
pub const ENVIRONMENT: &str = "environment";

/// A configuration as it comes to be.
#[derive(Clone, Copy, Debug)]
pub struct Stages<'a> {
    /// The text of the file.
    pub text: &'a str,
    /// What the text says.
    pub of_file: &'a Config,
    /// After the flags.
    pub with_flags: &'a Config,
    /// After the environment: what is in force.
    pub in_force: &'a Config,
}

/// Every setting, in the order of a new file.
pub fn in_force(stages: Stages<'_>) -> Vec<SettingInForce> {
    let written: Table = toml::from_str(stages.text).unwrap_or_default();
    let [of_file, with_flags, in_force] = [stages.of_file, stages.with_flags, stages.in_force].map(spelled);
    let mut settings = Vec::new();
    for (section, key, default) in keys() {
        let name = (section.as_str(), key.as_str());
        let in_file = value_in(&written, &section, &key);
        let value = in_force.get(&name).cloned().or_else(|| in_file.map(Value::to_string)).unwrap_or(default);
        let origin = if in_force.get(&name) != with_flags.get(&name) {
            Origin::Environment
        } else if with_flags.get(&name) != of_file.get(&name) {
            Origin::Flag
        } else if in_file.is_some() {
            Origin::File
        } else {
            Origin::Default
        };
        settings.push(SettingInForce { section, key, value, origin });
    }
    settings
}

/// A section, a key and its default.
pub(crate) type Key = (String, String, String);

/// The keys of a new file in its order, each with its default, and those that a new file does not have in their sections.
fn keys() -> Vec<Key> {
    let template: DocumentMut = edit::TEMPLATE.parse().unwrap_or_default();
    let mut keys: Vec<Key> = Vec::new();
    for (section, table) in template.iter().filter_map(|(section, item)| Some((section, item.as_table()?))) {
        let values = table.iter().filter_map(|(key, item)| Some((key, item.as_value()?)));
        keys.extend(values.map(|(key, value)| (section.to_owned(), key.to_owned(), canonical(value.to_string()))));
    }
    let others = std::iter::once((("clients_endpoint", "trusted_proxies"), "[]".to_owned()))
        .chain(spelled_debug(&DebugSection::default()));
    for ((section, key), default) in others {
        let end = keys.iter().rposition(|(of, ..)| of == section).map_or(keys.len(), |last| last + 1);
        keys.insert(end, (section.to_owned(), key.to_owned(), default));
    }
    keys
}

/// Every key that a file may have, with its default. A key that is only read for the sake of old files has an empty one.
pub(crate) fn known_keys() -> Vec<Key> {
    let mut known = keys();
    let of_old_files = DEBUG_KEYS.map(|key| ("debug", key)).into_iter().chain([("gateway", "validator_rest_url")]);
    for (section, key) in of_old_files {
        if !known.iter().any(|(of, name, _)| (of.as_str(), name.as_str()) == (section, key)) {
            known.push((section.to_owned(), key.to_owned(), String::new()));
        }
    }
    known
}

fn value_in<'a>(file: &'a Table, section: &str, key: &str) -> Option<&'a Value> {
    let section = file.get(section)?.as_table()?;
    // Older files use the other name.
    let older = (key == "validator_rest_urls").then(|| section.get("validator_rest_url")).flatten();
    section.get(key).or(older)
}

/// The settings that do not stand in the file as they are in force: those that a flag can change, and those that are changed as they are
/// read.
fn spelled(config: &Config) -> HashMap<(&'static str, &'static str), String> {
    // Only a path that is not UTF-8 cannot be spelled. The file cannot name it either.
    let mut spelled: HashMap<_, _> = edit::settings(config)
        .unwrap_or_default()
        .iter()
        .map(edit::Setting::spelled)
        .map(|(section, key, value)| ((section, key), canonical(value)))
        .collect();
    spelled.insert(("egress", "allow_private"), config.allow_private().to_string());
    spelled.extend(spelled_debug(&config.debug));
    spelled
}

/// `[debug]`, which no new file has.
fn spelled_debug(debug: &DebugSection) -> [((&'static str, &'static str), String); 4] {
    let time = |duration| Value::from(humantime::format_duration(duration).to_string()).to_string();
    [
        (("debug", "packet_forwarding_initial_backoff"), time(debug.packet_forwarding_initial_backoff)),
        (("debug", "packet_forwarding_maximum_backoff"), time(debug.packet_forwarding_maximum_backoff)),
        (("debug", "initial_connection_timeout"), time(debug.initial_connection_timeout)),
        (("debug", "maximum_connection_buffer_size"), debug.maximum_connection_buffer_size.to_string()),
    ]
}

/// The same value in the spelling of all others here.
fn canonical(value: String) -> String {
    let alone: Option<Table> = toml::from_str(&format!("x = {value}")).ok();
    alone.and_then(|table| table.get("x").map(Value::to_string)).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::{GatewayId, GatewayPaths, Root};

    fn listed(text: &str, change: impl Fn(&mut Config)) -> Vec<SettingInForce> {
        let id: GatewayId = "demo".parse().unwrap();
        let paths = GatewayPaths::new(&Root::new(Some("/r".into()), None).unwrap(), &id);
        let of_file = Config::parse(text, &paths).unwrap().0;
        let mut with_flags = of_file.clone();
        change(&mut with_flags);
        let mut in_force = with_flags.clone();
        in_force.keys.private_sphinx = "/credentials/private_sphinx.pem".into();
        in_force_of(text, &of_file, &with_flags, &in_force)
    }

    fn in_force_of(text: &str, of_file: &Config, with_flags: &Config, last: &Config) -> Vec<SettingInForce> {
        in_force(Stages { text, of_file, with_flags, in_force: last })
    }

    #[test]
    fn each_value_names_where_it_comes_from() {
        let text = "[limits]\nmax_mix_connections = 7\n[debug]\nmaximum_connection_buffer_size = 128\n\
                    [gateway]\nvalidator_rest_url = 'http://a:1'\n";
        let settings = listed(text, |config| config.mix.listen = "1.2.3.4:5".parse().unwrap());
        let of = |section: &str, key: &str| {
            let found = settings.iter().find(|setting| (&*setting.section, &*setting.key) == (section, key)).unwrap();
            (found.value.as_str(), found.origin)
        };
        assert_eq!(of("limits", "max_mix_connections"), ("7", Origin::File));
        assert_eq!(of("limits", "max_client_connections"), ("20000", Origin::Default));
        assert_eq!(of("mixnet_endpoint", "listening_address"), ("\"1.2.3.4:5\"", Origin::Flag));
        let key = ("\"/credentials/private_sphinx.pem\"", Origin::Environment);
        assert_eq!(of("gateway", "private_sphinx_key_file"), key);
        assert_eq!(of("gateway", "validator_rest_urls"), ("[\"http://a:1\"]", Origin::File));
        // The number that 0.10.1 wrote is not the one in force.
        assert_eq!(of("debug", "maximum_connection_buffer_size"), ("2000", Origin::File));
        assert_eq!(of("debug", "initial_connection_timeout"), ("\"1s 500ms\"", Origin::Default));
        assert_eq!(of("clients_endpoint", "trusted_proxies"), ("[]", Origin::Default));
        assert_eq!(of("gateway", "public_sphinx_key_file"), ("\"data/public_sphinx.pem\"", Origin::Default));
    }

    #[test]
    fn every_key_is_listed_once() {
        let settings = listed("", |_| {});
        for (number, setting) in settings.iter().enumerate() {
            assert!(!settings[..number].iter().any(|other| other.is(setting)), "{} twice", setting.name());
        }
        assert!(settings.len() > 80, "{}", settings.len());
        let mut sections: Vec<&str> = settings.iter().map(|setting| setting.section.as_str()).collect();
        sections.dedup();
        assert_eq!(sections[..3], ["gateway", "mixnet_endpoint", "clients_endpoint"]);
        assert_eq!(sections.iter().filter(|section| **section == "clients_endpoint").count(), 1, "{sections:?}");
    }
}
