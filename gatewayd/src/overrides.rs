//! The flags that `init` and `run` share, and what they change: `init` writes it down, `run` forgets it when it ends.

use std::{
    io,
    net::SocketAddr,
    num::NonZeroU16,
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::Args;

use crate::{
    config::Config,
    endpoint::{ClientsAnnounce, ListenHost, MixAnnounce},
};

/// Flags that change a configuration; those not given change nothing.
#[derive(Debug, Clone, Default, Args)]
pub struct Overrides {
    /// The custom host on which the gateway will be running for receiving sphinx packets
    #[arg(long, value_name = "mix-host")]
    pub mix_host: Option<ListenHost>,

    /// The port on which the gateway will be listening for sphinx packets
    #[arg(long, value_name = "mix-port", value_parser = port)]
    pub mix_port: Option<NonZeroU16>,

    /// The custom host on which the gateway will be running for receiving clients gateway-requests
    #[arg(long, value_name = "clients-host")]
    pub clients_host: Option<ListenHost>,

    /// The port on which the gateway will be listening for clients gateway-requests
    #[arg(long, value_name = "clients-port", value_parser = port)]
    pub clients_port: Option<NonZeroU16>,

    /// The host that will be announced to mix nodes
    #[arg(long, value_name = "mix-announce-host")]
    pub mix_announce_host: Option<MixAnnounce>,

    /// The port that will be announced to mix nodes
    #[arg(long, value_name = "mix-announce-port", value_parser = port)]
    pub mix_announce_port: Option<NonZeroU16>,

    /// The host that will be announced to clients
    #[arg(long, value_name = "clients-announce-host")]
    pub clients_announce_host: Option<ClientsAnnounce>,

    /// The port that will be announced to clients
    #[arg(long, value_name = "clients-announce-port", value_parser = port)]
    pub clients_announce_port: Option<NonZeroU16>,

    /// Directory with inboxes where all packets for the clients are stored
    #[arg(long, value_name = "inboxes")]
    pub inboxes: Option<PathBuf>,

    /// Ledger containing registered clients
    #[arg(long, value_name = "clients-ledger")]
    pub clients_ledger: Option<PathBuf>,

    /// Comma separated list of rest endpoints of the validators; an empty one for none
    #[arg(long, value_name = "validators")]
    pub validators: Option<ValidatorList>,

    /// Address of the validator contract managing the network
    #[arg(long, value_name = "mixnet-contract", value_parser = contract)]
    pub mixnet_contract: Option<String>,
}

/// The addresses of validators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorList(pub Vec<String>);

impl FromStr for ValidatorList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let urls: Vec<_> = text.split(',').map(str::trim).filter(|url| !url.is_empty()).map(str::to_owned).collect();
        let is_address = |url: &str| {
            let host = url.strip_prefix("http://").or(url.strip_prefix("https://"));
            host.is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
                && url.bytes().all(|byte| byte.is_ascii_graphic())
        };
        match urls.iter().find(|url| !is_address(url)) {
            None => Ok(Self(urls)),
            Some(url) => Err(format!(
                "`{}` is not the address of a validator: give addresses that begin with http:// or https://, \
                 separated by commas",
                url.escape_debug()
            )),
        }
    }
}

fn port(text: &str) -> Result<NonZeroU16, &'static str> {
    text.parse().map_err(|_| "not a port: give a whole number from 1 to 65535")
}

fn contract(text: &str) -> Result<String, &'static str> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        Ok(text.to_owned())
    } else {
        Err("not a contract address: give its letters and digits, such as hal1k0jntykt7e4g3y88ltc60czgjuqdy4c9c6gv94")
    }
}

/// A path that a flag gave cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("--{flag} `{}`: {error}; give the path of a place on disk", path.display())]
pub struct InvalidPath {
    flag: &'static str,
    path: PathBuf,
    error: io::Error,
}

impl Overrides {
    /// Changes `config`.
    ///
    /// Each part of an announced address that equals the listening address follows it when that moves; what was
    /// announced on purpose stays until a flag announces something else.
    pub fn apply(&self, config: &mut Config) -> Result<(), InvalidPath> {
        let mix = &mut config.mix;
        let listen = moved(mix.listen, self.mix_host, self.mix_port);
        mix.announce.follow(mix.listen, listen);
        mix.listen = listen;
        if let Some(announce) = &self.mix_announce_host {
            mix.announce = announce.clone().complete(listen);
        }
        if let Some(port) = self.mix_announce_port {
            mix.announce.port = Some(port);
        }

        let clients = &mut config.clients;
        let listen = moved(clients.listen, self.clients_host, self.clients_port);
        clients.announce.follow(clients.listen, listen);
        clients.listen = listen;
        if let Some(announce) = &self.clients_announce_host {
            clients.announce = announce.clone().complete(listen);
        }
        if let Some(port) = self.clients_announce_port {
            clients.announce = clients.announce.clone().complete(listen);
            clients.announce.port = Some(port);
        }

        if let Some(path) = &self.inboxes {
            clients.inboxes = absolute("inboxes", path)?;
        }
        if let Some(path) = &self.clients_ledger {
            clients.ledger = absolute("clients-ledger", path)?;
        }
        if let Some(ValidatorList(urls)) = &self.validators {
            config.validators.clone_from(urls);
        }
        if let Some(contract) = &self.mixnet_contract {
            config.contract = Some(contract.clone());
        }
        Ok(())
    }
}

fn moved(mut listen: SocketAddr, host: Option<ListenHost>, port: Option<NonZeroU16>) -> SocketAddr {
    if let Some(host) = host {
        listen.set_ip(host.ip);
    }
    if let Some(port) = port.or(host.and_then(|host| host.port)) {
        listen.set_port(port.get());
    }
    listen
}

fn absolute(flag: &'static str, path: &Path) -> Result<PathBuf, InvalidPath> {
    std::path::absolute(path).map_err(|error| InvalidPath { flag, path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::paths::{GatewayPaths, Root};

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        overrides: Overrides,
    }

    fn new_config() -> Config {
        let root = Root::new(Some("/r".into()), None).unwrap();
        let id = "demo".parse().unwrap();
        Config::new(&id, &GatewayPaths::new(&root, &id))
    }

    fn apply(config: &mut Config, flags: &str) {
        let flags = Flags::try_parse_from(format!("x {flags}").split(' ')).unwrap();
        flags.overrides.apply(config).unwrap();
    }

    fn announced(flags: &[&str]) -> (String, String, String, String) {
        let mut config = new_config();
        for flags in flags {
            apply(&mut config, flags);
        }
        (
            config.mix.listen.to_string(),
            config.mix.announce.to_string(),
            config.clients.listen.to_string(),
            config.clients.announce.to_string(),
        )
    }

    #[test]
    fn addresses_and_announcements() {
        let cases: [(&[&str], [&str; 4]); 9] = [
            (
                &["--mix-host 127.0.0.1 --clients-host 127.0.0.1"],
                ["127.0.0.1:1789", "127.0.0.1:1789", "127.0.0.1:9000", "ws://127.0.0.1:9000"],
            ),
            (
                &["--mix-host ::1 --clients-host [::1]:4000"],
                ["[::1]:1789", "[::1]:1789", "[::1]:4000", "ws://[::1]:4000"],
            ),
            (&["--mix-host :: --clients-host ::"], ["[::]:1789", "[::]:1789", "[::]:9000", "ws://[::]:9000"]),
            // What 0.10.1 announced as `ws:5001`.
            (
                &["--mix-host 127.0.0.1 --clients-host 127.0.0.1 --mix-port 4000 --clients-port 4001 \
                   --mix-announce-host nym.example --mix-announce-port 5000 \
                   --clients-announce-host nym.example --clients-announce-port 5001"],
                ["127.0.0.1:4000", "nym.example:5000", "127.0.0.1:4001", "ws://nym.example:5001"],
            ),
            (
                &["--mix-host 10.0.0.1 --mix-announce-host nym.example --mix-port 4000 \
                   --clients-host 10.0.0.1 --clients-announce-host wss://nym.example"],
                ["10.0.0.1:4000", "nym.example:4000", "10.0.0.1:9000", "wss://nym.example"],
            ),
            (
                &["--mix-host 10.0.0.1:4000 --mix-port 4001 --clients-host 10.0.0.1 --clients-announce-port 5001"],
                ["10.0.0.1:4001", "10.0.0.1:4001", "10.0.0.1:9000", "ws://10.0.0.1:5001"],
            ),
            // A second `init`: nothing changes that no flag changes.
            (
                &[
                    "--mix-host 10.0.0.1:4000 --mix-announce-host nym.example:5000 --clients-host 10.0.0.1:4001",
                    "--mix-host 10.0.0.1 --clients-host 10.0.0.1",
                ],
                ["10.0.0.1:4000", "nym.example:5000", "10.0.0.1:4001", "ws://10.0.0.1:4001"],
            ),
            (
                &[
                    "--mix-host 10.0.0.1 --mix-announce-host nym.example --clients-host 10.0.0.1",
                    "--mix-host 10.0.0.2 --mix-port 4000 --clients-host 10.0.0.2",
                ],
                ["10.0.0.2:4000", "nym.example:4000", "10.0.0.2:9000", "ws://10.0.0.2:9000"],
            ),
            (
                &["--mix-announce-host 2001:db8::5 --clients-announce-host ws://[2001:db8::5]:5001"],
                ["0.0.0.0:1789", "[2001:db8::5]:1789", "0.0.0.0:9000", "ws://[2001:db8::5]:5001"],
            ),
        ];
        for (flags, [mix, mix_announce, clients, clients_announce]) in cases {
            let expected = (mix.into(), mix_announce.into(), clients.into(), clients_announce.into());
            assert_eq!(announced(flags), expected, "{flags:?}");
        }
    }

    #[test]
    fn an_announced_port_mends_what_0_10_1_wrote() {
        let mut config = new_config();
        config.clients.announce = "ws:5001".parse().unwrap();
        apply(&mut config, "--clients-host 10.0.0.1 --clients-announce-port 5002");
        assert_eq!(config.clients.announce.to_string(), "ws://10.0.0.1:5002");
    }

    #[test]
    fn paths_become_absolute() {
        let mut config = new_config();
        apply(&mut config, "--inboxes in --clients-ledger /led");
        assert_eq!(config.clients.inboxes, std::env::current_dir().unwrap().join("in"));
        assert_eq!(config.clients.ledger, Path::new("/led"));
    }

    #[test]
    fn validators_are_a_list_of_addresses() {
        let list = |text: &str| text.parse::<ValidatorList>().map(|list| list.0);
        assert_eq!(list("http://a:1, https://b:2 ,").unwrap(), ["http://a:1", "https://b:2"]);
        assert_eq!(list("").unwrap(), [""; 0]);
        for bad in ["a:1", "http://", "http:///x", "ftp://a", "http://a b", "http://a\u{1b}[m"] {
            assert!(list(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bad_value_names_its_flag_and_the_remedy() {
        for (flags, remedy) in [
            ("--mix-host foo.example", "give the address"),
            ("--clients-host 1.2.3.4:0", "from 1 to 65535"),
            ("--mix-port 70000", "from 1 to 65535"),
            ("--clients-port 0", "from 1 to 65535"),
            ("--mix-announce-host a/b", "give an IP address or a DNS name"),
            ("--clients-announce-host http://a", "ws:// or wss://"),
            ("--clients-announce-port x", "from 1 to 65535"),
            ("--validators a", "begin with http://"),
            ("--mixnet-contract a/b", "letters and digits"),
        ] {
            let error = Flags::try_parse_from(format!("x {flags}").split(' ')).err().unwrap();
            let text = error.to_string();
            let flag = flags.split(' ').next().unwrap();
            assert!(text.contains(flag) && text.contains(remedy), "{text}");
        }
    }
}
