//! Where a running gateway listens and keeps its data, as it says itself.
//!
//! *Trusts*: the gateway that answers at the admin socket. *Promises*: a place that it does not name is not taken for one of its own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::{
    admin::wire::ConfigInForce,
    config::{MetricsAddress, SettingInForce},
    plan::would_clash,
};

/// The places that a gateway uses; none of a gateway that does not run.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PlacesInUse {
    ports: Vec<SocketAddr>,
    socket: Option<PathBuf>,
    folders: Vec<PathBuf>,
}

impl PlacesInUse {
    /// Those of a gateway that runs with this configuration, and with its marks of packets seen in the folder `marks`.
    pub(super) fn of(config: &ConfigInForce, marks: &Path) -> Self {
        let text = |section, key| text_of(&config.settings, section, key);
        let mut listeners = vec![
            text("mixnet_endpoint", "listening_address"),
            text("clients_endpoint", "listening_address"),
            text("metrics", "listen"),
        ];
        if is_true(&config.settings, "node", "enabled") {
            listeners.push(text("node", "http_bind_address"));
        }
        let mut places = Self::default();
        for address in listeners.into_iter().flatten().filter_map(|text| text.parse().ok()) {
            match address {
                MetricsAddress::Port(address) => places.ports.push(address),
                MetricsAddress::Path(path) => places.socket = Some(path),
            }
        }
        let folders = [text("clients_endpoint", "inboxes_directory"), text("clients_endpoint", "ledger_path")];
        places.folders = folders.into_iter().flatten().map(PathBuf::from).chain([marks.to_owned()]).collect();
        places
    }

    /// Whether the gateway listens at exactly this address.
    pub(super) fn has_port(&self, address: SocketAddr) -> bool {
        self.ports.contains(&address)
    }

    /// Whether this address cannot be listened on as long as the gateway runs, and no longer.
    pub(super) fn is_in_the_way_of(&self, address: SocketAddr) -> bool {
        self.ports.iter().any(|port| would_clash(*port, address))
    }

    /// Whether the gateway listens at this path.
    pub(super) fn has_socket(&self, path: &Path) -> bool {
        self.socket.as_deref() == Some(path)
    }

    /// Whether the gateway keeps data in this folder.
    pub(super) fn has_folder(&self, path: &Path) -> bool {
        self.folders.iter().any(|folder| folder == path)
    }
}

/// The value of a setting, as TOML spells it.
fn spelled<'a>(settings: &'a [SettingInForce], section: &str, key: &str) -> Option<&'a str> {
    settings.iter().find(|setting| setting.section == section && setting.key == key).map(|setting| &*setting.value)
}

/// The text that a setting has as its value.
fn text_of(settings: &[SettingInForce], section: &str, key: &str) -> Option<String> {
    let alone: toml::Table = toml::from_str(&format!("x = {}", spelled(settings, section, key)?)).ok()?;
    alone.get("x")?.as_str().map(str::to_owned)
}

fn is_true(settings: &[SettingInForce], section: &str, key: &str) -> bool {
    spelled(settings, section, key) == Some("true")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    fn running(settings: &[(&str, &str, &str)]) -> PlacesInUse {
        let setting = |(section, key, value): &(&str, &str, &str)| SettingInForce {
            section: (*section).into(),
            key: (*key).into(),
            value: (*value).into(),
            origin: Origin::File,
        };
        let config = ConfigInForce { file: String::new(), settings: settings.iter().map(setting).collect() };
        PlacesInUse::of(&config, Path::new("/g/replay"))
    }

    #[test]
    fn only_what_a_running_gateway_names_is_its_own() {
        let mut settings = vec![
            ("mixnet_endpoint", "listening_address", "'127.0.0.1:1789'"),
            ("clients_endpoint", "listening_address", "\"0.0.0.0:9000\""),
            ("clients_endpoint", "inboxes_directory", "'/g/inboxes'"),
            // Too long to be told.
            ("clients_endpoint", "ledger_path", "'/g/led..."),
            ("metrics", "listen", "''"),
            ("node", "enabled", "false"),
            ("node", "http_bind_address", "'[::]:8080'"),
        ];
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let places = running(&settings);
        assert!(places.has_port(address("127.0.0.1:1789")) && !places.has_port(address("127.0.0.2:1789")));
        assert!(
            places.is_in_the_way_of(address("0.0.0.0:1789")) && !places.is_in_the_way_of(address("127.0.0.2:1789"))
        );
        assert!(!places.is_in_the_way_of(address("127.0.0.1:8080")));
        assert!(places.has_folder(Path::new("/g/replay")));
        assert!(places.has_folder(Path::new("/g/inboxes")) && !places.has_folder(Path::new("/g/ledger")));
        assert!(!places.has_socket(Path::new("/g/m.sock")));

        settings[4].2 = "'/g/m.sock'";
        settings[5].2 = "true";
        let places = running(&settings);
        assert!(places.has_socket(Path::new("/g/m.sock")) && places.is_in_the_way_of(address("127.0.0.1:8080")));
        assert!(!PlacesInUse::default().is_in_the_way_of(address("127.0.0.1:1789")));
    }
}
