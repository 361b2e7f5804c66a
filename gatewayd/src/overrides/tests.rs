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
        (&["--mix-host ::1 --clients-host [::1]:4000"], ["[::1]:1789", "[::1]:1789", "[::1]:4000", "ws://[::1]:4000"]),
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
            &["--mix-host 10.0.0.1:4001 --mix-port 4001 --clients-host 10.0.0.1 --clients-announce-port 5001"],
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

#[test]
fn a_port_that_is_given_twice_must_be_one() {
    for flags in [
        "--mix-host 1.2.3.4:1789 --mix-port 1790",
        "--clients-host [::1]:9000 --clients-port 9001",
        "--mix-announce-host nym.example:1 --mix-announce-port 2",
        "--clients-announce-host ws://nym.example:1 --clients-announce-port 2",
    ] {
        let given = Flags::try_parse_from(format!("x {flags}").split(' ')).unwrap().overrides;
        let mut config = new_config();
        let error = given.apply(&mut config).unwrap_err().to_string();
        assert_eq!(config, new_config());
        let words: Vec<_> = flags.split(' ').collect();
        assert!(error.contains(words[0]) && error.contains(words[2]) && error.contains(words[3]), "{error}");
    }
}

#[test]
fn flags_of_the_node_bear_the_names_of_nym_node() {
    let mut config = new_config();
    apply(
        &mut config,
        "--node --public-ips 9.9.9.9,2606:4700::7 --hostname gw.example --location CH --http-bind-address 0.0.0.0:81 \
         --announce-ws-port 82 --announce-wss-port 83 --mixnet-announce-port 84 --accept-operator-terms-and-conditions \
         --moniker m --website w --security-contact s --details d",
    );
    let node = &config.node;
    assert!(node.enabled && node.accept_operator_terms);
    assert_eq!(node.public_ips, ["9.9.9.9", "2606:4700::7"].map(|ip| ip.parse::<std::net::IpAddr>().unwrap()));
    assert_eq!(node.http_bind_address.to_string(), "0.0.0.0:81");
    assert_eq!(node.hostname.as_ref().unwrap().to_string(), "gw.example");
    assert_eq!(node.location.unwrap().to_string(), "CH");
    assert_eq!((node.announce_ws_port, node.announce_wss_port), (NonZeroU16::new(82), NonZeroU16::new(83)));
    assert_eq!(config.mix.announce.port, NonZeroU16::new(84));
    assert_eq!(
        [&node.moniker, &node.website, &node.security_contact, &node.details].map(ToString::to_string),
        ["m", "w", "s", "d"]
    );
    apply(&mut config, "--node=false --accept-operator-terms-and-conditions=false");
    assert!(!config.node.enabled && !config.node.accept_operator_terms);
    let flags = ["x", "--announce-as", "nym-node 1.31.0"];
    Flags::try_parse_from(flags).unwrap().overrides.apply(&mut config).unwrap();
    assert_eq!(config.node.announce_as.to_string(), "nym-node 1.31.0");
}

#[test]
fn flags_of_the_node_with_bad_values_say_what_is_good() {
    for (flags, word) in [
        (["x", "--location", "XX"], "ISO 3166"),
        (["x", "--hostname", "9.9.9.9"], "--public-ips"),
        (["x", "--account", "n1abc"], "wallet"),
        (["x", "--announce-as", "gatewayd"], "three numbers"),
        (["x", "--public-ips", "gw.example"], "separated by commas"),
        (["x", "--http-bind-address", "gw.example"], "not an IP address"),
    ] {
        let error = Flags::try_parse_from(flags).err().unwrap().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn an_empty_flag_of_the_node_takes_back_what_was_set() {
    let mut config = new_config();
    let before = config.node.clone();
    apply(
        &mut config,
        "--public-ips 9.9.9.9,[2606:4700::7] --hostname gw.example --location CH --announce-ws-port 1 --announce-wss-port 2",
    );
    let flags = [
        "--public-ips=",
        "--hostname=",
        "--location=",
        "--account=",
        "--announce-as=",
        "--announce-ws-port=0",
        "--announce-wss-port=0",
    ];
    apply(&mut config, &flags.join(" "));
    assert_eq!(config.node, before);
}
