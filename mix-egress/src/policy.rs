//! The policy for next hops: which addresses and ports are allowed.
//!
//! *Trusts* nobody: any client may name any next hop, and without this check the gateway would carry packets into the operator's own
//! network, and into services of the gateway's own machine.
//!
//! At an address of this machine, the ports at which the gateway takes Sphinx packets are always allowed, because a SURB-ack may name
//! the gateway itself. The gateway's other ports are never allowed. Every other port of such an address is refused if the address is
//! public. If the address is private, `allow_private` decides, as for any private address.
//!
//! *Promises*: no way of writing an IPv4 address inside an IPv6 one changes the verdict to a milder one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipc::{control::OwnAddresses, ports::PortRange};
use thiserror::Error;

/// Why a next hop is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Forbidden {
    /// Port 0.
    #[error("port 0 is no port to connect to")]
    PortZero,
    /// `0.0.0.0` or `::`.
    #[error("the unspecified address names no host")]
    Unspecified,
    /// `255.255.255.255`.
    #[error("the broadcast address is no single host")]
    Broadcast,
    /// `224.0.0.0/4` or `ff00::/8`.
    #[error("a multicast address is no single host")]
    Multicast,
    /// Reserved for documentation, measurements or the future, or not assigned.
    #[error("the address is reserved and no host of the Internet has it")]
    Reserved,
    /// `127.0.0.0/8` or `::1`.
    #[error("the address is this host's own loopback; set allow_private if it is meant")]
    Loopback,
    /// RFC 1918, `fc00::/7`, or the old site-local `fec0::/10`.
    #[error("the address is in a private network; set allow_private if it is meant")]
    Private,
    /// `100.64.0.0/10`, shared between a provider and its customers (RFC 6598).
    #[error("the address is in a provider's shared network; set allow_private if it is meant")]
    Shared,
    /// `169.254.0.0/16` or `fe80::/10`.
    #[error("the address is link-local; set allow_private if it is meant")]
    LinkLocal,
    /// An address of this machine, at a port at which the gateway takes no Sphinx packets.
    #[error("the address is this machine's own")]
    Own,
    /// A port that is not in the list.
    #[error("the port is not among `ports` in the section [egress] of config.toml")]
    Port,
}

impl Forbidden {
    /// Whether `allow_private` lifts this reason.
    const fn is_private(self) -> bool {
        match self {
            Self::Loopback | Self::Private | Self::Shared | Self::LinkLocal => true,
            Self::PortZero
            | Self::Unspecified
            | Self::Broadcast
            | Self::Multicast
            | Self::Reserved
            | Self::Own
            | Self::Port => false,
        }
    }
}

/// The rules for next hops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHopPolicy {
    /// Allow loopback, private, shared and link-local addresses: for a gateway whose own mix address is private.
    pub allow_private: bool,
    /// The allowed ports. The gateway's own mix ports are allowed besides.
    pub ports: Vec<PortRange>,
    /// The addresses and ports of this machine.
    pub own: OwnAddresses,
}

impl NextHopPolicy {
    /// Whether packets may be sent to `next_hop`.
    ///
    /// # Errors
    /// The reason why the next hop is refused.
    pub fn check(&self, next_hop: SocketAddr) -> Result<(), Forbidden> {
        let port = next_hop.port();
        if port == 0 {
            return Err(Forbidden::PortZero);
        }
        let is_own_mix_port = match next_hop.ip() {
            IpAddr::V4(address) => self.check_v4(address, port),
            IpAddr::V6(address) => self.check_v6(address, port),
        }?;
        let is_listed = self.ports.iter().any(|range| range.contains(port));
        if is_own_mix_port || is_listed { Ok(()) } else { Err(Forbidden::Port) }
    }

    /// Returns whether this is a mix port of this machine, which need not be listed.
    fn check_v4(&self, address: Ipv4Addr, port: u16) -> Result<bool, Forbidden> {
        self.judge(address.into(), port, reason_v4(address))
    }

    fn check_v6(&self, address: Ipv6Addr, port: u16) -> Result<bool, Forbidden> {
        if address.is_unspecified() || address.is_loopback() {
            return self.judge(address.into(), port, reason_v6(address));
        }
        match Embedded::in_address(address) {
            Embedded::None => self.judge(address.into(), port, reason_v6(address)),
            Embedded::One(inner) => self.check_v4(inner, port),
            Embedded::Teredo { server, client } => self.check_all([server, client], port),
            Embedded::AnyOf(readings) => self.check_all(readings, port),
        }
    }

    fn check_all<const N: usize>(&self, addresses: [Ipv4Addr; N], port: u16) -> Result<bool, Forbidden> {
        addresses.into_iter().try_fold(true, |all, address| Ok(self.check_v4(address, port)? && all))
    }

    /// `reason` is the objection to the address, whatever the port.
    fn judge(&self, address: IpAddr, port: u16, reason: Option<Forbidden>) -> Result<bool, Forbidden> {
        if let Some(reason) = reason
            && !(self.allow_private && reason.is_private())
        {
            return Err(reason);
        }
        if self.own.addresses.contains(&address) || address.is_loopback() {
            let is_private = reason.is_some();
            if self.own.mix_ports.contains(&port) {
                return Ok(true);
            }
            if !is_private || self.own.other_ports.contains(&port) {
                return Err(Forbidden::Own);
            }
        }
        Ok(false)
    }
}

/// The IPv4 addresses at which a packet to an IPv6 address may end up.
enum Embedded {
    None,
    One(Ipv4Addr),
    /// RFC 4380: the packet goes to the client by way of its server.
    Teredo {
        server: Ipv4Addr,
        client: Ipv4Addr,
    },
    /// The local translation prefix of RFC 8215. The operator of the translator chose one of the positions of RFC 6052 for the inner
    /// address, with a prefix of 48, 56, 64 or 96 bits. The choice is not known here, so every position counts.
    AnyOf([Ipv4Addr; 4]),
}

impl Embedded {
    fn in_address(address: Ipv6Addr) -> Self {
        match address.octets() {
            // Mapped, and the compatible form of RFC 4291.
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
            | [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]
            // NAT64, RFC 6052.
            | [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]
            // 6to4, RFC 3056.
            | [0x20, 0x02, a, b, c, d, ..] => Self::One(Ipv4Addr::new(a, b, c, d)),
            [0x20, 0x01, 0, 0, a, b, c, d, _, _, _, _, e, f, g, h] => Self::Teredo {
                server: Ipv4Addr::new(a, b, c, d),
                client: Ipv4Addr::new(!e, !f, !g, !h),
            },
            // Octet 8 is skipped by RFC 6052.
            [0, 0x64, 0xff, 0x9b, 0, 1, b6, b7, _, b9, b10, b11, b12, b13, b14, b15] => Self::AnyOf([
                Ipv4Addr::new(b6, b7, b9, b10),
                Ipv4Addr::new(b7, b9, b10, b11),
                Ipv4Addr::new(b9, b10, b11, b12),
                Ipv4Addr::new(b12, b13, b14, b15),
            ]),
            _ => Self::None,
        }
    }
}

/// The objection to an IPv4 address (IANA IPv4 special-purpose address registry).
const fn reason_v4(address: Ipv4Addr) -> Option<Forbidden> {
    Some(match address.octets() {
        [0, 0, 0, 0] => Forbidden::Unspecified,
        [255, 255, 255, 255] => Forbidden::Broadcast,
        [127, ..] => Forbidden::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Forbidden::Private,
        [100, 64..=127, ..] => Forbidden::Shared,
        [169, 254, ..] => Forbidden::LinkLocal,
        [224..=239, ..] => Forbidden::Multicast,
        // This network, protocol assignments, the former 6to4 relays, measurements, documentation, the future.
        [0, ..]
        | [192, 0, 0, _]
        | [192, 88, 99, _]
        | [198, 18..=19, ..]
        | [192, 0, 2, _]
        | [198, 51, 100, _]
        | [203, 0, 113, _]
        | [240..=255, ..] => Forbidden::Reserved,
        _ => return None,
    })
}

/// The objection to an IPv6 address that embeds no other (IANA IPv6 special-purpose address registry).
const fn reason_v6(address: Ipv6Addr) -> Option<Forbidden> {
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Forbidden::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Forbidden::Loopback,
        [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Forbidden::Private,
        [0xfe80..=0xfebf, ..] => Forbidden::LinkLocal,
        [0xff00..=0xffff, ..] => Forbidden::Multicast,
        // Protocol assignments (2001::/23) and documentation inside global unicast space.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Forbidden::Reserved,
        [0x2000..=0x3fff, ..] => return None,
        // Everything else is not assigned.
        _ => Forbidden::Reserved,
    })
}

#[cfg(test)]
mod tests {
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
}
