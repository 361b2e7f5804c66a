use super::*;
use crate::{
    node::Program,
    paths::{GatewayPaths, Root},
};

const KEYS: PublicKeys = PublicKeys { identity: [1; 32], sphinx: [2; 32] };

fn config() -> Config {
    let root = Root::new(Some("/r".into()), None).unwrap();
    let id = "demo".parse().unwrap();
    let mut config = Config::new(&id, &GatewayPaths::new(&root, &id));
    config.node.enabled = true;
    config.mix.announce = "8.8.8.8".parse().unwrap();
    config.clients.announce = "ws://8.8.8.8:9000".parse().unwrap();
    config
}

fn facts(config: &Config) -> Result<HostFacts, InvalidNode> {
    Announced::of(config, &KEYS).map(|announced| announced.facts.unwrap())
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn nothing_is_signed_for_a_node_that_is_off() {
    let mut config = config();
    config.node.enabled = false;
    config.node.public_ips = ips(&["0.0.0.0"]);
    assert_eq!(Announced::of(&config, &KEYS).unwrap().facts, None);
}

#[test]
fn the_address_for_mix_nodes_is_announced_by_default() {
    let expected = HostFacts { addresses: ips(&["8.8.8.8"]), hostname: None, sphinx: [2; 32] };
    assert_eq!(facts(&config()), Ok(expected));
    let mut named = config();
    named.mix.announce = "mix.example:1789".parse().unwrap();
    assert_eq!(facts(&named), Err(InvalidNode::NoAddress));
}

#[test]
fn addresses_come_once_and_ipv4_is_first() {
    let mut config = config();
    config.node.public_ips = ips(&["2606:4700::7", "9.9.9.9", "::ffff:9.9.9.9", "1.1.1.1"]);
    assert_eq!(facts(&config).unwrap().addresses, ips(&["9.9.9.9", "1.1.1.1", "2606:4700::7"]));
}

#[test]
fn addresses_that_nobody_reaches_are_refused() {
    for bad in ["127.0.0.1", "10.1.2.3", "::1", "fe80::1"] {
        let mut config = config();
        config.node.public_ips = ips(&["9.9.9.9", bad]);
        let error = facts(&config).unwrap_err();
        assert_eq!(error, InvalidNode::Unreachable(ips(&[bad])[0]), "{bad}");
        assert!(error.to_string().contains("--public-ips") && error.to_string().contains("allow_private"), "{error}");
    }
    let mut config = config();
    config.egress.allow_private = Some(true);
    config.node.public_ips = ips(&["127.0.0.1"]);
    assert_eq!(facts(&config).unwrap().addresses, ips(&["127.0.0.1"]));
    let warning = Announced::of(&config, &KEYS).unwrap().warning().unwrap();
    assert!(warning.contains("127.0.0.1") && warning.contains("--public-ips"), "{warning}");
    config.node.public_ips = ips(&["0.0.0.0"]);
    assert!(matches!(facts(&config), Err(InvalidNode::OfNobody(_))));
}

#[test]
fn there_are_not_more_addresses_than_fit() {
    let mut config = config();
    config.node.public_ips = (1..=9).map(|last| [9, 9, 9, last].into()).collect();
    assert_eq!(facts(&config), Err(InvalidNode::TooMany(9)));
}

#[test]
fn a_proxy_for_tls_needs_a_name() {
    let mut config = config();
    config.node.announce_wss_port = NonZeroU16::new(443);
    assert_eq!(facts(&config), Err(InvalidNode::TlsWithoutName));
    config.node.hostname = Some("gw.example".parse().unwrap());
    assert_eq!(facts(&config).unwrap().hostname.as_deref(), Some("gw.example"));
}

#[test]
fn a_websocket_url_gives_name_and_port_of_tls() {
    let mut config = config();
    config.clients.announce = "wss://gw.example".parse().unwrap();
    let announced = Announced::of(&config, &KEYS).unwrap();
    assert_eq!(announced.facts.unwrap().hostname.as_deref(), Some("gw.example"));
    let Description { ws_port, wss_port, mix_port, .. } = announced.description;
    assert_eq!((ws_port, wss_port, mix_port), (9000, Some(443), 1789));
    config.clients.announce = "ws://gw.example:8443".parse().unwrap();
    config.node.announce_ws_port = NonZeroU16::new(80);
    assert_eq!(Announced::of(&config, &KEYS).unwrap().description.ws_port, 80);
}

#[test]
fn the_description_says_what_the_operator_wrote() {
    let mut config = config();
    config.node.moniker = "ours".parse().unwrap();
    config.node.location = Some("CH".parse().unwrap());
    config.node.announce_as = "nym-node 1.31.0".parse().unwrap();
    let description = Announced::of(&config, &KEYS).unwrap().description;
    assert_eq!((description.moniker.as_str(), description.location.as_deref()), ("ours", Some("CH")));
    assert_eq!(description.program, "nym-node 1.31.0".parse::<Program>().unwrap().announced());
    assert!(!description.accepted_terms);
    assert_eq!(description.identity, [1; 32]);
}

#[test]
fn addresses_of_nobody_are_refused_in_every_network() {
    for bad in ["0.0.0.0", "224.0.0.1", "ff02::1", "255.255.255.255", "::", "2001:db8::7", "64:ff9b::a00:1"] {
        let mut config = config();
        config.egress.allow_private = Some(true);
        config.node.public_ips = ips(&["9.9.9.9", bad]);
        let error = facts(&config).unwrap_err();
        assert!(
            matches!(error, InvalidNode::OfNobody(_)) && !error.to_string().contains("allow_private"),
            "{bad}: {error}"
        );
    }
    assert_eq!(Announced::of(&config(), &KEYS).unwrap().warning(), None);
}
