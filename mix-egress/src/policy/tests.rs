//! Verdicts on addresses and ports of every kind.

use proptest::prelude::*;

use super::*;

const STRICT: bool = false;
const LENIENT: bool = true;

/// Of a gateway on a rented server, with an address of each kind.
fn policy(allow_private: bool) -> NextHopPolicy {
    let addresses = ["8.8.4.4", "2606:4700::1", "10.0.0.7", "fd00::7"];
    NextHopPolicy {
        allow_private,
        ports: vec![PortRange { first: 1024, last: u16::MAX }],
        own: OwnAddresses {
            addresses: addresses.map(|address| address.parse().unwrap()).to_vec(),
            mix_ports: vec![1789, 444],
            other_ports: vec![9000],
        },
    }
}

fn verdict(allow_private: bool, ip: &str) -> Option<Forbidden> {
    verdict_at(allow_private, ip, 1790)
}

fn verdict_at(allow_private: bool, ip: &str, port: u16) -> Option<Forbidden> {
    policy(allow_private).check(SocketAddr::new(ip.parse().unwrap(), port)).err()
}

#[test]
fn public_addresses_of_this_machine_are_refused() {
    let mut ways =
        vec!["8.8.4.4", "2606:4700::1", "::ffff:8.8.4.4", "::8.8.4.4", "64:ff9b::8.8.4.4", "2002:808:404::1"];
    // Teredo: server 9.9.9.9, client 8.8.4.4.
    ways.push("2001:0:909:909:0:ffff:f7f7:fbfb");
    for ip in ways {
        for allow_private in [STRICT, LENIENT] {
            for port in [22, 6379, 9000, 1790] {
                assert_eq!(verdict_at(allow_private, ip, port), Some(Forbidden::Own), "{ip}");
            }
            assert_eq!(verdict_at(allow_private, ip, 1789), None, "{ip}");
            // Where the packet passes another machine, its port has to be listed.
            let expected = if ip.starts_with("2001:") { Some(Forbidden::Port) } else { None };
            assert_eq!(verdict_at(allow_private, ip, 444), expected, "{ip}");
        }
    }
}

#[test]
fn private_addresses_of_this_machine_hide_the_clients_port() {
    for ip in ["10.0.0.7", "fd00::7", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::10.0.0.7"] {
        assert_eq!(verdict_at(LENIENT, ip, 9000), Some(Forbidden::Own), "{ip}");
        assert_eq!(verdict_at(LENIENT, ip, 1789), None, "{ip}");
        assert_eq!(verdict_at(LENIENT, ip, 1790), None, "{ip}");
        assert_eq!(verdict_at(LENIENT, ip, 22), Some(Forbidden::Port), "{ip}");
        assert!(verdict_at(STRICT, ip, 1789).is_some_and(Forbidden::is_private), "{ip}");
    }
    assert_eq!(verdict_at(LENIENT, "10.0.0.8", 9000), None, "another machine");
}

#[test]
fn ports_that_are_not_listed_are_refused() {
    for port in [1, 25, 80, 443, 444, 1023] {
        assert_eq!(verdict_at(STRICT, "1.1.1.1", port), Some(Forbidden::Port));
    }
    for port in [1024, 1789, 9000, 65535] {
        assert_eq!(verdict_at(STRICT, "1.1.1.1", port), None);
    }
}

#[test]
fn addresses_of_the_internet_are_allowed() {
    for ip in [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2000::1",
        "2001:200::1",
        "2606:4700:4700::1111",
        "3fff:1000::1",
        "::ffff:8.8.8.8",
        "::8.8.8.8",
        "64:ff9b::8.8.8.8",
        // Whatever position the translator uses, it is an address of the internet.
        "64:ff9b:1:808:808:808:808:808",
        "2002:808:808::1",
        // Teredo, server 8.8.8.8, client 9.9.9.9.
        "2001:0:808:808:0:ffff:f6f6:f6f6",
    ] {
        assert_eq!(verdict(STRICT, ip), None, "{ip}");
        assert_eq!(verdict(LENIENT, ip), None, "{ip}");
    }
}

#[test]
fn private_addresses_are_refused_until_allowed() {
    use Forbidden::{LinkLocal, Loopback, Private, Shared};
    for (ip, reason) in [
        ("127.0.0.1", Loopback),
        ("127.255.255.255", Loopback),
        ("10.0.0.0", Private),
        ("10.255.255.255", Private),
        ("172.16.0.0", Private),
        ("172.31.255.255", Private),
        ("192.168.0.1", Private),
        ("100.64.0.0", Shared),
        ("100.127.255.255", Shared),
        ("169.254.169.254", LinkLocal),
        ("::1", Loopback),
        ("fc00::1", Private),
        ("fdff:ffff::1", Private),
        ("fec0::1", Private),
        ("fe80::1", LinkLocal),
        ("febf::1", LinkLocal),
        ("::ffff:127.0.0.1", Loopback),
        ("::127.0.0.1", Loopback),
        ("64:ff9b::10.0.0.1", Private),
        ("2002:a00:1::1", Private),
        ("2002:a9fe:a9fe::1", LinkLocal),
        // Teredo: server 10.0.0.1, client 8.8.8.8; and the other way round.
        ("2001:0:a00:1:0:ffff:f7f7:f7f7", Private),
        ("2001:0:808:808:0:ffff:f5ff:fffe", Private),
    ] {
        assert_eq!(verdict(STRICT, ip), Some(reason), "{ip}");
        assert_eq!(verdict(LENIENT, ip), None, "{ip}");
    }
}

#[test]
fn what_is_no_host_is_always_refused() {
    use Forbidden::{Broadcast, Multicast, Reserved, Unspecified};
    for (ip, reason) in [
        ("0.0.0.0", Unspecified),
        ("::", Unspecified),
        ("255.255.255.255", Broadcast),
        ("224.0.0.1", Multicast),
        ("239.255.255.255", Multicast),
        ("ff02::1", Multicast),
        ("0.0.0.1", Reserved),
        ("192.0.0.8", Reserved),
        ("192.0.2.1", Reserved),
        ("192.88.99.1", Reserved),
        ("198.18.0.1", Reserved),
        ("198.19.255.255", Reserved),
        ("198.51.100.1", Reserved),
        ("203.0.113.1", Reserved),
        ("240.0.0.0", Reserved),
        ("255.255.255.254", Reserved),
        ("100::1", Reserved),
        ("2001:2::1", Reserved),
        ("2001:10::1", Reserved),
        ("2001:1ff::1", Reserved),
        ("2001:db8::1", Reserved),
        ("3fff::1", Reserved),
        ("4000::1", Reserved),
        ("5f00::1", Reserved),
        ("::ffff:0:8.8.8.8", Reserved),
        ("64:ff9b:0:1::8.8.8.8", Reserved),
        ("::ffff:0.0.0.0", Unspecified),
        ("::ffff:224.0.0.1", Multicast),
        ("::2", Reserved),
        ("64:ff9b::255.255.255.255", Broadcast),
        ("2002::1", Unspecified),
    ] {
        assert_eq!(verdict(STRICT, ip), Some(reason), "{ip}");
        assert_eq!(verdict(LENIENT, ip), Some(reason), "{ip}");
    }
}

#[test]
fn port_zero_is_always_refused() {
    for ip in ["8.8.8.8", "127.0.0.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"] {
        let next_hop = SocketAddr::new(ip.parse().unwrap(), 0);
        assert_eq!(policy(STRICT).check(next_hop), Err(Forbidden::PortZero), "{ip}");
        assert_eq!(policy(LENIENT).check(next_hop), Err(Forbidden::PortZero), "{ip}");
    }
}

fn v4() -> impl Strategy<Value = Ipv4Addr> {
    let edges = vec![0, 1, 10, 64, 88, 100, 127, 128, 168, 169, 172, 192, 198, 203, 224, 239, 240, 254, 255];
    let octet = move || prop_oneof![any::<u8>(), prop::sample::select(edges.clone())];
    (octet(), octet(), octet(), octet()).prop_map(|(a, b, c, d)| Ipv4Addr::new(a, b, c, d))
}

fn v6(ip: impl Into<[u8; 16]>) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(ip.into()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_inner_address_alone_decides(inner in v4(), port: u16, allow_private: bool, tail: [u8; 10]) {
        // Of the two machines in a Teredo address, only one may be this one.
        prop_assume!(port != 444);
        let policy = policy(allow_private);
        let plain = policy.check(SocketAddr::new(inner.into(), port));
        let bits = u128::from(inner.to_bits());
        let six_to_four = (0x2002 << 112) | (bits << 80) | (u128::from_be_bytes({
            let mut low = [0; 16];
            low[6..].copy_from_slice(&tail);
            low
        }));
        let teredo = (0x2001 << 112) | (0x0808_0808 << 64) | u128::from(!inner.to_bits());
        for ip in [
            inner.to_ipv6_mapped().into(),
            v6(((0x64_ff9b << 96) | bits).to_be_bytes()),
            v6(six_to_four.to_be_bytes()),
            v6(teredo.to_be_bytes()),
        ] {
            prop_assert_eq!(policy.check(SocketAddr::new(ip, port)), plain, "{}", ip);
        }
        if bits > 1 {
            prop_assert_eq!(policy.check(SocketAddr::new(v6(bits.to_be_bytes()), port)), plain);
        }
    }

    #[test]
    fn a_local_translator_never_makes_the_verdict_milder(inner in v4(), allow_private: bool, noise: [u8; 10]) {
        let policy = policy(allow_private);
        let [a, b, c, d] = inner.octets();
        for places in [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], [12, 13, 14, 15]] {
            let mut ip = [0, 0x64, 0xff, 0x9b, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            ip[6..].copy_from_slice(&noise);
            for (place, octet) in places.into_iter().zip([a, b, c, d]) {
                ip[place] = octet;
            }
            if policy.check(SocketAddr::new(inner.into(), 1790)).is_err() {
                prop_assert!(policy.check(SocketAddr::new(v6(ip), 1790)).is_err());
            }
        }
    }

    #[test]
    fn allow_private_only_ever_allows_more(ip: [u8; 16], port: u16) {
        let next_hop = SocketAddr::new(v6(ip), port);
        if policy(STRICT).check(next_hop).is_ok() {
            prop_assert_eq!(policy(LENIENT).check(next_hop), Ok(()));
        }
    }
}
