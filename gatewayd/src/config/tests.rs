use std::{
    net::IpAddr,
    num::{NonZeroU16, NonZeroU32},
    path::Path,
    time::Duration,
};

use ipc::{jail::Layer, ports::PortRange};
use proptest::prelude::*;
use semver::Version;

use super::*;
use crate::{
    overrides::Overrides,
    paths::{GatewayPaths, Root},
    version,
};

const OF_0_10_1: &str = include_str!("../../tests/fixtures/config-0.10.1.toml");

fn paths() -> GatewayPaths {
    let root = Root::new(Some("/home/nym/.nym/gateways".into()), None).unwrap();
    GatewayPaths::new(&root, &"demo".parse().unwrap())
}

fn parse(text: &str) -> Config {
    let (config, unknown) = Config::parse(text, &paths()).unwrap();
    assert_eq!(unknown, []);
    config
}

fn error(text: &str) -> ParseError {
    let mut errors = Config::parse(text, &paths()).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

fn new_config() -> Config {
    Config::new(&"demo".parse().unwrap(), &paths())
}

#[test]
fn a_file_of_0_10_1_says_what_it_said() {
    let config = parse(OF_0_10_1);
    assert_eq!(config.version, Some(version::NETWORK));
    assert_eq!(config.id, "demo");
    assert_eq!(config.keys, paths().keys());
    assert_eq!(config.validators, ["http://127.0.0.1:1317"]);
    assert_eq!(config.contract.as_deref(), Some(DEFAULT_CONTRACT));
    assert_eq!(config.root, Path::new("/home/nym/.nym/gateways"));
    assert_eq!(config.mix.listen.to_string(), "127.0.0.1:1789");
    assert_eq!(config.mix_announce(), "127.0.0.1:1789");
    assert_eq!(config.clients_announce(), "ws://127.0.0.1:9000");
    assert_eq!(config.clients.inboxes, paths().inboxes_dir());
    assert_eq!(config.clients.ledger, paths().ledger());
    // A private test network of 2021 still works, and a gateway on the Internet sends nothing to private addresses.
    assert!(config.allow_private());
    assert!(!parse(&OF_0_10_1.replace("127.0.0.1", "203.0.113.5")).allow_private());
}

#[test]
fn an_empty_file_is_all_defaults() {
    let config = parse("");
    let mut expected = new_config();
    expected.version = None;
    expected.id = String::new();
    expected.contract = None;
    expected.egress.allow_private = None;
    assert_eq!(config, expected);
    assert_eq!(config.mix.listen.to_string(), "0.0.0.0:1789");
    assert_eq!(config.clients.listen.to_string(), "0.0.0.0:9000");
}

#[test]
fn the_template_spells_out_the_defaults() {
    let config = new_config();
    let text = fresh(&config).unwrap();
    assert_eq!(parse(&text), config);
    // There is a comment above every key.
    let mut above = "";
    for line in text.lines() {
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(above.starts_with('#'), "no comment above {line}");
        }
        above = line;
    }
}

#[test]
fn a_new_file_has_the_keys_of_0_10_1_in_their_order() {
    let keys = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let keys = lines.filter_map(|line| {
            let key = line.split_once(" = ").map(|(key, _)| key.to_owned());
            key.or(line.starts_with('[').then(|| line.to_owned()))
        });
        keys.collect()
    };
    let new = keys(&fresh(&new_config()).unwrap());
    let old = keys(OF_0_10_1);
    assert_eq!(new[..old.len()], old[..]);
    assert_eq!(new[old.len()], "[delivery]");
}

#[test]
fn odd_texts_survive_being_written() {
    let mut config = new_config();
    config.id = "it's \"odd\" \\ ü".to_owned();
    config.keys.private_identity = "/srv/it's/key.pem".into();
    config.validators = vec!["http://a:1".into(), "http://b/'".into()];
    assert_eq!(parse(&fresh(&config).unwrap()), config);
}

#[test]
fn the_buffer_of_0_10_for_a_next_hop_is_raised() {
    for (text, packets) in [("128", 2_000), ("127", 127), ("129", 129), ("2000", 2_000)] {
        let config = parse(&format!("[debug]\nmaximum_connection_buffer_size = {text}\n"));
        assert_eq!(config.debug.maximum_connection_buffer_size.get(), packets, "{text}");
    }
    assert_eq!(parse("").debug.maximum_connection_buffer_size.get(), 2_000);
}

#[test]
fn every_tuning_key_is_read() {
    let config = parse(
        "[debug]\npacket_forwarding_initial_backoff = '5s'\npacket_forwarding_maximum_backoff = 7000\n\
         initial_connection_timeout = '1s 500ms'\nmaximum_connection_buffer_size = 9\ncache_entry_ttl = '30s'\n\
         [delivery]\nspill_after = '0s'\nreceipt_timeout = '1m'\n\
         [timeouts]\nwebsocket_upgrade = '1ms'\nfirst_request = '2ms'\nhandshake_message = '3ms'\nhalf_frame = '4ms'\nhalf_message = '5ms'\nkeepalive = '6ms'\n\
         [egress]\nallow_private = true\nmax_next_hops = 5\nports = [1789, '4000-4010']\nnew_next_hops_per_minute = 14\n\
         [replay]\npackets_per_generation = 10\nperiod = '11s'\nkept_at_least = '9s'\nmemory = 1400\nfalse_positive_rate = 0.012\nsnapshot_interval = '13ms'\n\
         [limits]\ninbox_messages = 6\ninbox_bytes = '5 GB'\nnewcomer_share = 7\nmax_mix_connections = 8\nmax_client_connections = 9\n\
         client_buffer = 5000000001\npackets_in_flight = 10\nbytes_in_flight = 5000000002\nmemory = 5000000003\n\
         [node]\nenabled = true\nhttp_bind_address = '127.0.0.1:81'\npublic_ips = ['9.9.9.9']\nhostname = 'gw.example'\nannounce_ws_port = 82\n\
         announce_wss_port = 83\nlocation = 'CH'\nmoniker = 'm'\nwebsite = 'w'\nsecurity_contact = 's'\ndetails = 'd'\n\
         accept_operator_terms = true\nannounce_as = 'nym-node 1.31.0'\n\
         [http]\nmax_connections = 84\nmax_connections_per_prefix = 85\nrequest = '86ms'\nrequests_per_connection = 87\n\
         [metrics]\nlisten = '/m'\nallow = ['10.0.0.0/8']\n\
         [sandbox]\nrequire = ['seccomp', 'landlock-files']\nfirst_account = 10\n",
    );
    assert_eq!(config.debug.packet_forwarding_initial_backoff, Duration::from_secs(5));
    assert_eq!(config.debug.packet_forwarding_maximum_backoff, Duration::from_secs(7));
    assert_eq!(config.debug.initial_connection_timeout, Duration::from_millis(1500));
    assert_eq!(config.debug.maximum_connection_buffer_size.get(), 9);
    assert_eq!(config.delivery.spill_after, Duration::ZERO);
    let number = |n| NonZeroU32::new(n).unwrap();
    assert_eq!(
        config.http,
        HttpSection {
            max_connections: number(84),
            max_connections_per_prefix: number(85),
            request: Duration::from_millis(86),
            requests_per_connection: number(87),
        }
    );
    assert_eq!(
        config.metrics,
        MetricsSection { listen: Some(MetricsAddress::Path("/m".into())), allow: vec!["10.0.0.0/8".parse().unwrap()] }
    );
    assert_eq!(
        config.node,
        NodeSection {
            enabled: true,
            http_bind_address: "127.0.0.1:81".parse().unwrap(),
            public_ips: vec!["9.9.9.9".parse().unwrap()],
            hostname: Some("gw.example".parse().unwrap()),
            announce_ws_port: NonZeroU16::new(82),
            announce_wss_port: NonZeroU16::new(83),
            location: Some("CH".parse().unwrap()),
            moniker: "m".parse().unwrap(),
            website: "w".parse().unwrap(),
            security_contact: "s".parse().unwrap(),
            details: "d".parse().unwrap(),
            account: None,
            accept_operator_terms: true,
            announce_as: "nym-node 1.31.0".parse().unwrap(),
        }
    );
    assert_eq!(config.delivery.receipt_timeout, Duration::from_secs(60));
    assert_eq!(
        config.timeouts,
        TimeoutsSection {
            websocket_upgrade: Duration::from_millis(1),
            first_request: Duration::from_millis(2),
            handshake_message: Duration::from_millis(3),
            half_frame: Duration::from_millis(4),
            half_message: Duration::from_millis(5),
            keepalive: Duration::from_millis(6),
        }
    );
    assert_eq!((config.allow_private(), config.egress.max_next_hops.get()), (true, 5));
    let range = |first, last| PortRange { first, last };
    assert_eq!(config.egress.ports, [range(1789, 1789), range(4000, 4010)]);
    assert_eq!(config.egress.new_next_hops_per_minute.get(), 14);
    let replay = config.replay;
    assert_eq!((replay.packets_per_generation.get(), replay.period), (10, Duration::from_secs(11)));
    assert_eq!((replay.kept_at_least, replay.memory.get()), (Duration::from_secs(9), 1400));
    assert_eq!(replay.false_positive_rate.in_a_billion(), 12_000_000);
    assert_eq!(replay.snapshot_interval, Duration::from_millis(13));
    let limits = config.limits;
    assert_eq!((limits.inbox_messages.get(), limits.inbox_bytes.get()), (6, 5_000_000_000));
    assert_eq!(limits.newcomer_share.get(), 7);
    assert_eq!((limits.max_mix_connections.get(), limits.max_client_connections.get()), (8, 9));
    assert_eq!(limits.client_buffer.get(), 5_000_000_001);
    assert_eq!((limits.packets_in_flight.get(), limits.bytes_in_flight.get()), (10, 5_000_000_002));
    assert_eq!(limits.memory.get(), 5_000_000_003);
    assert_eq!(config.sandbox.require, [Layer::Seccomp, Layer::LandlockFiles]);
    assert_eq!(config.sandbox.first_account.get(), 10);
}

#[test]
fn unknown_keys_of_gateway_and_debug_are_named_and_ignored() {
    let text =
        "\n[gateway]\nid = 'demo'\nlocation = 'x'\n\"pre\\nsence\" = 1\n\n[debug]\ncache_entry_ttl = 1\nfoo = 2\n";
    let (_, unknown) = Config::parse(text, &paths()).unwrap();
    let lines: Vec<_> = unknown.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "line 4: unknown key `location` in [gateway] is ignored",
            "line 5: unknown key `pre\\nsence` in [gateway] is ignored",
            "line 9: unknown key `foo` in [debug] is ignored",
        ]
    );
}

#[test]
fn unknown_keys_elsewhere_are_errors_with_their_lines() {
    for section in [
        "mixnet_endpoint",
        "clients_endpoint",
        "logging",
        "delivery",
        "timeouts",
        "egress",
        "protocol",
        "replay",
        "limits",
        "metrics",
        "sandbox",
    ] {
        let found = error(&format!("[gateway]\nid = 'x'\n\n[{section}]\n# comment\nfoo = 1\n"));
        assert_eq!(found.line, 6, "{section}: {found}");
        assert!(found.message.contains("unknown field `foo`"), "{section}: {found}");
    }
    assert_eq!(error("\n\n[foo]\nx = 1\n").line, 3);
    assert_eq!(error("\nfoo = 1\n").line, 2);
}

#[test]
fn bad_values_are_errors_with_their_lines() {
    for (line, words) in [
        ("[timeouts]\nfirst_request = '10 parsecs'", "a duration like"),
        ("[timeouts]\nfirst_request = -1", "has no unit"),
        ("[timeouts]\nfirst_request = '0s'", "longer than zero"),
        ("[limits]\nclient_idle = 180", "180 has no unit: write a duration like '180s' or '180days'"),
        ("[limits]\nmessage_age = '59m'", "at least 1h"),
        ("[limits]\nclient_idle = '180s'", "at least 1day"),
        ("[limits]\ndata_bytes = '10 parsecs'", "'128 MiB'"),
        ("[limits]\ndata_bytes = '63 MiB'", "at least 67108864"),
        ("[clients_endpoint]\ninboxes_directory = '~/inboxes'", "`~` is not expanded"),
        ("[limits]\ninbox_bytes = 0", "nonzero"),
        ("[limits]\nclient_buffer = 0", "nonzero"),
        ("[limits]\npackets_in_flight = 0", "nonzero"),
        ("[limits]\nbytes_in_flight = 0", "nonzero"),
        ("[limits]\nmemory = 25165823", "at least 25165824"),
        ("[replay]\npackets_per_generation = 0", "nonzero"),
        ("[replay]\nmemory = 0", "nonzero"),
        ("[replay]\nkept_at_least = '0s'", "longer than zero"),
        ("[replay]\nfalse_positive_rate = 0.0", "from 0.000000001 to 0.1"),
        ("[replay]\nfalse_positive_rate = nan", "from 0.000000001 to 0.1"),
        ("[replay]\nfalse_positive_rate = 0.5", "from 0.000000001 to 0.1"),
        ("[replay]\nsnapshot_interval = '0s'", "longer than zero"),
        ("[limits]\nmax_mix_connections = 5000000000", "u32"),
        ("[egress]\nallow_private = 'yes'", "boolean"),
        ("[egress]\nports = []", "at least one port"),
        ("[egress]\nports = [0]", "neither a port"),
        ("[egress]\nports = ['2-1']", "neither a port"),
        ("[egress]\nports = [70000]", "neither a port"),
        ("[egress]\nports = [true]", "a port like 1789"),
        ("[egress]\nports = '1789'", "sequence"),
        ("[egress]\nnew_next_hops_per_minute = 0", "nonzero"),
        ("[metrics]\nlisten = '0.0.0.0:9100'", "say in `allow` of [metrics]"),
        ("[metrics]\nlisten = 'localhost:9100'", "neither the path of a socket"),
        ("[sandbox]\nrequire = ['sekkomp']", "not a layer of the jail"),
        ("[sandbox]\nfirst_account = 0", "nonzero"),
        ("[mixnet_endpoint]\nlistening_address = 'foo.example:1'", "invalid socket address"),
        ("[mixnet_endpoint]\nannounce_address = 'a b'", "give an IP address or a DNS name"),
        ("[clients_endpoint]\nannounce_address = 'http://a'", "ws://"),
        ("[gateway]\nversion = 'new'", "like '0.10.1'"),
        ("[gateway]\nvalidator_rest_urls = 1", "an array of strings"),
        ("[gateway]\nid = 'x", "string"),
    ] {
        let found = error(line);
        assert_eq!(found.line, 2, "{line}: {found}");
        assert!(found.message.contains(words), "{line}: {found}");
        assert!(!found.to_string().contains('\n'), "{found}");
    }
}

#[test]
fn all_errors_are_told_at_once_with_what_is_allowed() {
    let text =
        "[gateway]\nid = 'x'\n[limits]\nclient_idle = 180\ninbox_bytes = 0\nfoo = 1\n[egress]\nallow_private = 'yes'\n";
    let errors = Config::parse(text, &paths()).unwrap_err();
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(errors.iter().map(|error| error.line).collect::<Vec<_>>(), [4, 5, 6, 8], "{texts:?}");
    assert!(texts[0].starts_with("line 4, [limits] client_idle = 180: 180 has no unit"), "{texts:?}");
    assert!(texts[0].ends_with("the default is `client_idle = '180days'`"), "{texts:?}");
    assert!(texts[1].contains("inbox_bytes = 0: ") && texts[1].contains("nonzero"), "{texts:?}");
    assert!(texts[3].contains("boolean") && texts[3].contains("`allow_private = false`"), "{texts:?}");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (text, line, key, words) in [
        ("[limits]\nmemory = '64 MiB'\n[replay]\nmemory = 59906623\n", 4, "memory", "two generations of 29953312"),
        ("[replay]\npackets_per_generation = 300000000", 2, "packets_per_generation", "raise `memory`"),
        ("[replay]\npackets_per_generation = 4000000000", 2, "packets_per_generation", "are allowed"),
        ("[replay]\nperiod = '30m'", 2, "period", "`kept_at_least` is longer than `period`"),
        ("[replay]\nperiod = '2h'\nkept_at_least = '3h'", 3, "kept_at_least", "raise `period`"),
    ] {
        let found = error(text);
        let setting = found.setting.as_ref().unwrap();
        assert_eq!((found.line, setting.section.as_str(), setting.key.as_str()), (line, "replay", key), "{found}");
        assert!(found.message.contains(words), "{found}");
    }
    parse("[replay]\nmemory = 59906624\nperiod = '1h'");
}

#[test]
fn a_short_retention_has_to_be_confirmed() {
    let limits = parse("[limits]\nmessage_age = '2s'\nclient_idle = '3s'\nshort_retention = true").limits;
    assert_eq!((limits.message_age, limits.client_idle), (Duration::from_secs(2), Duration::from_secs(3)));
}

#[test]
fn paths_are_taken_from_the_gateways_folder_and_written_so() {
    let config = parse("[clients_endpoint]\ninboxes_directory = 'data/mail'\nledger_path = '/srv/ledger'");
    assert_eq!(config.clients.inboxes, paths().home().join("data/mail"));
    assert_eq!(config.clients.ledger, Path::new("/srv/ledger"));
    let text = fresh(&config).unwrap();
    assert!(text.contains("inboxes_directory = 'data/mail'") && text.contains("ledger_path = '/srv/ledger'"), "{text}");
    assert!(text.contains("private_sphinx_key_file = 'data/private_sphinx.pem'"), "{text}");
}

#[test]
fn what_a_file_that_was_cut_off_lacks_is_named() {
    let whole = fresh(&new_config()).unwrap();
    assert_eq!(file::absent(&whole), Vec::<String>::new());
    let cut: String = whole.lines().take(40).map(|line| format!("{line}\n")).collect();
    let absent = file::absent(&cut);
    assert!(absent.contains(&"[mixnet_endpoint] listening_address".to_owned()), "{absent:?}");
}

#[test]
fn older_spellings_of_the_validators() {
    assert_eq!(parse("[gateway]\nvalidator_rest_url = 'http://a'").validators, ["http://a"]);
    assert_eq!(parse("[gateway]\nvalidator_rest_urls = ['http://a', 'http://b']").validators.len(), 2);
    let missing = "[gateway]\nversion = 'MISSING VALUE'\nvalidator_rest_urls = ['MISSING VALUE']\n\
                   mixnet_contract_address = 'MISSING VALUE'";
    let config = parse(missing);
    assert_eq!((config.version, config.validators.len(), config.contract), (None, 0, None));
}

#[test]
fn an_announcement_without_port_is_completed_but_not_rewritten() {
    let text = OF_0_10_1.replace("announce_address = '127.0.0.1:1789'", "announce_address = 'nym.example'");
    let config = parse(&text);
    assert_eq!(config.mix_announce(), "nym.example:1789");
    assert_eq!(update(&text, &config, &config).unwrap(), text);
}

#[test]
fn what_0_10_1_announced_by_mistake_gets_a_host() {
    let text = OF_0_10_1.replace("'ws://127.0.0.1:9000'", "'ws:5001'");
    assert_eq!(parse(&text).clients_announce(), "ws://127.0.0.1:5001");
}

#[test]
fn an_update_changes_values_and_nothing_else() {
    let text = OF_0_10_1.replace("version = '0.10.1'", "version   =   '0.10.1' # mine");
    let before = parse(&text);
    let mut after = before.clone();
    after.version = Some(Version::new(0, 10, 2));
    after.mix.listen.set_port(4000);
    let expected = text
        .replace("'0.10.1' # mine", "'0.10.2' # mine")
        .replace("listening_address = '127.0.0.1:1789'", "listening_address = '127.0.0.1:4000'");
    assert_eq!(update(&text, &before, &after).unwrap(), expected);
    assert_eq!(update(&text, &before, &before).unwrap(), text);
}

#[test]
fn an_update_adds_missing_keys_under_their_comments() {
    let text = "[gateway]\nid = 'demo'\nvalidator_rest_url = 'http://a'\n\n[logging]\n";
    let before = parse(text);
    let mut after = before.clone();
    after.contract = Some("hal1x".into());
    after.validators.clear();
    after.egress.allow_private = Some(true);
    let updated = update(text, &before, &after).unwrap();
    assert_eq!(parse(&updated), after);
    assert!(!updated.contains("validator_rest_url ="), "{updated}");
    let contract = "# Address of the validator contract managing the network.\nmixnet_contract_address = 'hal1x'\n";
    assert!(updated.contains(contract), "{updated}");
    assert!(updated.contains("needs `true`.\nallow_private = true\n"), "{updated}");
}

#[test]
fn a_section_that_is_none_is_an_error() {
    let before = new_config();
    let mut after = before.clone();
    after.id = "other".into();
    assert_eq!(update("gateway = 1", &before, &after), Err(EditError::NotASection("gateway")));
}

#[test]
fn paths_that_toml_cannot_hold_are_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let mut config = new_config();
    config.clients.inboxes = std::ffi::OsString::from_vec(b"/\xff".to_vec()).into();
    assert!(matches!(fresh(&config), Err(EditError::NotUtf8(_))));
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,40}|(\\[(gateway|debug|limits)\\]\n)?([a-z_]{1,9} = ('x'|[0-9]{1,3}|\\[\\]|\\{\\})\n){0,3}") {
        let _ = Config::parse(&text, &paths());
    }

    #[test]
    fn any_change_is_read_back(
        ip in any::<IpAddr>(),
        port in 1_u16..,
        id in "\\PC{1,12}",
        validators in prop::collection::vec("http://[a-z']{1,8}", 0..3),
    ) {
        let before = parse(OF_0_10_1);
        let mut after = before.clone();
        let host = crate::endpoint::ListenHost { ip, port: NonZeroU16::new(port) };
        let flags = Overrides { mix_host: Some(host), ..Overrides::default() };
        flags.apply(&mut after).unwrap();
        after.id = id;
        after.validators = validators;
        prop_assert_eq!(parse(&update(OF_0_10_1, &before, &after).unwrap()), after);
    }
}

#[test]
fn proxies_that_are_no_networks_are_refused() {
    let config = parse("[clients_endpoint]\ntrusted_proxies = ['127.0.0.1', '10.0.0.0/8']\n");
    assert_eq!(config.clients.trusted_proxies, ["127.0.0.1", "10.0.0.0/8"].map(|proxy| proxy.parse().unwrap()));
    let text = "[clients_endpoint]\ntrusted_proxies = ['proxy.example']\n";
    let errors = Config::parse(text, &paths()).unwrap_err();
    assert!(errors.iter().any(|error| error.to_string().contains("proxy.example")), "{errors:?}");
}

#[test]
fn values_of_the_node_that_no_reader_takes_are_refused() {
    for (line, word) in [
        ("location = 'XX'", "ISO 3166"),
        ("account = 'n1abc'", "wallet"),
        ("announce_as = 'nym-node'", "three numbers"),
        ("hostname = '9.9.9.9'", "public_ips"),
        ("public_ips = ['gw.example']", "no IP address"),
        ("moniker = \"a\\nb\"", "one line"),
        ("announce_ws_port = 70000", "70000"),
    ] {
        let error = error(&format!("[node]\n{line}\n")).to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn what_the_flags_say_of_the_node_is_written_under_its_comments() {
    let before = parse(OF_0_10_1);
    let mut after = before.clone();
    after.node.enabled = true;
    after.node.location = Some("CH".parse().unwrap());
    after.node.announce_as = "nym-node 1.31.0".parse().unwrap();
    let text = update(OF_0_10_1, &before, &after).unwrap();
    assert!(
        text.contains("[node]\n") && text.contains("two letters of ISO 3166, such as 'CH'.\nlocation = 'CH'\n"),
        "{text}"
    );
    assert_eq!(parse(&text), after);
    let fresh = fresh(&after).unwrap();
    assert_eq!(parse(&fresh).node, after.node);
}
