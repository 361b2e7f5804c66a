use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use super::*;
use proptest::prelude::*;

fn listen(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn listening_hosts_are_addresses() {
    let cases = [
        ("127.0.0.1", "127.0.0.1", None),
        ("127.0.0.1:4000", "127.0.0.1", Some(4000)),
        ("::", "::", None),
        ("::1", "::1", None),
        ("[::1]", "::1", None),
        ("[::1]:4000", "::1", Some(4000)),
        // Without brackets this is an address, not a port.
        ("::1:4000", "::1:4000", None),
    ];
    for (text, ip, port) in cases {
        let host: ListenHost = text.parse().unwrap();
        assert_eq!(host.ip, ip.parse::<IpAddr>().unwrap(), "{text}");
        assert_eq!(host.port.map(NonZeroU16::get), port, "{text}");
    }
    for text in ["", "foo.example", "localhost", "1.2.3", "1.2.3.4:x", "1.2.3.4:70000", "[1.2.3.4]", "[::1"] {
        assert_eq!(text.parse::<ListenHost>(), Err(InvalidListenHost::NotAnAddress), "{text}");
    }
    assert_eq!("[::1]:0".parse::<ListenHost>(), Err(InvalidListenHost::PortZero));
}

#[test]
fn mix_announcements_are_completed_from_the_listening_port() {
    let cases = [
        ("nym.example", "nym.example:1789"),
        ("nym.example:5000", "nym.example:5000"),
        ("203.0.113.5", "203.0.113.5:1789"),
        ("2001:db8::5", "[2001:db8::5]:1789"),
        ("[2001:db8::5]", "[2001:db8::5]:1789"),
        ("[2001:db8::5]:5000", "[2001:db8::5]:5000"),
    ];
    for (text, complete) in cases {
        let announce: MixAnnounce = text.parse().unwrap();
        assert_eq!(announce.complete(listen("0.0.0.0:1789")).to_string(), complete);
    }
    for text in [
        "",
        " ",
        "a b",
        "nym.example:",
        "nym.example:x",
        "nym.example:0",
        "ws://a",
        "a/b",
        "a..b",
        "1.2.3",
        "1.2.3.256",
        "\u{1b}[m",
    ] {
        assert!(text.parse::<MixAnnounce>().is_err(), "{text:?}");
    }
}

#[test]
fn client_announcements_are_urls() {
    let cases = [
        ("nym.example", "ws://nym.example:9000"),
        ("wsgateway.example", "ws://wsgateway.example:9000"),
        ("ws://nym.example", "ws://nym.example:9000"),
        ("ws://nym.example:5001", "ws://nym.example:5001"),
        ("wss://nym.example", "wss://nym.example"),
        ("wss://nym.example:444/gw", "wss://nym.example:444/gw"),
        ("::1", "ws://[::1]:9000"),
        ("ws://[::1]:5001", "ws://[::1]:5001"),
        ("ws:5001", "ws://[::]:5001"),
    ];
    for (text, complete) in cases {
        let announce: ClientsAnnounce = text.parse().unwrap();
        assert_eq!(announce.complete(listen("[::]:9000")).to_string(), complete);
    }
    assert_eq!("http://a".parse::<ClientsAnnounce>(), Err(InvalidAnnounce::Scheme));
    assert_eq!("ws://a/b c".parse::<ClientsAnnounce>(), Err(InvalidAnnounce::Path));
    assert_eq!("ws://".parse::<ClientsAnnounce>(), Err(InvalidAnnounce::Host));
}

#[test]
fn only_what_was_the_listening_address_follows_it() {
    let (old, new) = (listen("10.0.0.1:1789"), listen("[::1]:4000"));
    for (before, after) in [
        ("10.0.0.1:1789", "[::1]:4000"),
        ("nym.example:1789", "nym.example:4000"),
        ("10.0.0.1:5000", "[::1]:5000"),
        ("nym.example:5000", "nym.example:5000"),
    ] {
        let mut mix: MixAnnounce = before.parse().unwrap();
        mix.follow(old, new);
        assert_eq!(mix.to_string(), after);
        let mut clients: ClientsAnnounce = before.parse().unwrap();
        clients.follow(old, new);
        assert_eq!(clients.to_string(), format!("ws://{after}"));
    }
}

#[test]
fn private_addresses() {
    for ip in [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.1.1",
        "100.64.0.1",
        "::1",
        "fd00::1",
        "fe80::1",
        "::ffff:10.0.0.1",
    ] {
        assert!(is_private(ip.parse().unwrap()), "{ip}");
    }
    for ip in ["203.0.113.5", "100.128.0.1", "0.0.0.0", "::", "2001:db8::1", "::ffff:203.0.113.5"] {
        assert!(!is_private(ip.parse().unwrap()), "{ip}");
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,24}|[a-z0-9.:/\\[\\]]{0,24}") {
        let _ = text.parse::<ListenHost>();
        let _ = text.parse::<MixAnnounce>();
        let _ = text.parse::<ClientsAnnounce>();
    }

    #[test]
    fn complete_announcements_round_trip(ip in any::<IpAddr>(), port in 1_u16..) {
        let address = SocketAddr::new(ip, port);
        let mix = MixAnnounce::listening(address);
        prop_assert_eq!(&mix.to_string().parse::<MixAnnounce>().unwrap(), &mix);
        let clients = ClientsAnnounce::listening(address);
        prop_assert_eq!(&clients.to_string().parse::<ClientsAnnounce>().unwrap(), &clients);
    }
}

#[test]
fn only_addresses_that_the_internet_reaches_are_public() {
    for public in ["8.8.8.8", "1.1.1.1", "198.17.0.1", "2606:4700::7", "2a00::1", "::ffff:8.8.8.8"] {
        assert!(is_public(public.parse().unwrap()), "{public}");
    }
    for other in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "127.0.0.1",
        "100.64.0.1",
        "169.254.1.1",
        "192.0.0.9",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "fec0::1",
        "2001:db8::7",
        "64:ff9b::a00:1",
        "2002:a00:1::1",
        "2001::1",
        "::8.8.8.8",
        "::ffff:10.0.0.1",
    ] {
        assert!(!is_public(other.parse().unwrap()), "{other}");
    }
}
