//! The part of an address by which strangers are told apart. The owner of one IPv6 address has a whole /64.
//!
//! Addresses are also sold and rented in larger blocks. Therefore a prefix lies in wider networks with limits of their own: an
//! IPv4 address in its /24, an IPv6 /64 in its /56 and its /48.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 address, or the first half of an IPv6 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressPrefix {
    /// A /32.
    V4(Ipv4Addr),
    /// A /64.
    V6([u8; 8]),
}

/// A network that has a limit: a prefix, or one of the wider networks in which the prefix lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    /// The first bits of the address, the others zero.
    bits: u64,
    /// How many bits count. The two families use different lengths, so the length tells them apart.
    len: u8,
}

impl AddressPrefix {
    /// The networks in which the prefix lies, the widest first and the prefix itself last.
    pub fn networks(self) -> impl DoubleEndedIterator<Item = Network> {
        let (bits, lengths): (u64, &'static [u8]) = match self {
            Self::V4(address) => (u64::from(u32::from(address)) << 32, &[24, 32]),
            Self::V6(half) => (u64::from_be_bytes(half), &[48, 56, 64]),
        };
        lengths.iter().map(move |&len| Network { bits: bits & (u64::MAX << (64 - len)), len })
    }
}

impl Network {
    /// The limit of this network if that of a prefix is `most`. A wider network has honest neighbours in it, so its limit is higher,
    /// but far below that of all its prefixes together: four times as much for each step.
    pub fn share(self, most: u32) -> u32 {
        match self.len {
            32 | 64 => most,
            24 | 56 => most.saturating_mul(4),
            _ => most.saturating_mul(16),
        }
    }
}

impl From<IpAddr> for AddressPrefix {
    /// An IPv6 address that embeds an IPv4 address counts as the IPv4 address. On a listener for both they are the same peer,
    /// the owner of one IPv4 address has 65,536 6to4 networks, and behind a translator all of IPv4 shares one network.
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => embedded(address).map_or_else(|| Self::V6(first_half(address)), Self::V4),
        }
    }
}

fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.octets() {
        // Mapped; NAT64 (RFC 6052); 6to4 (RFC 3056).
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
        | [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]
        | [0x20, 0x02, a, b, c, d, ..] => Some(Ipv4Addr::new(a, b, c, d)),
        _ => None,
    }
}

const fn first_half(address: Ipv6Addr) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = address.octets();
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(text: &str) -> AddressPrefix {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn ipv6_neighbours_are_one_and_ipv4_neighbours_are_not() {
        assert_eq!(prefix("2001:db8:1:2::1"), prefix("2001:db8:1:2:ffff::9"));
        assert_ne!(prefix("2001:db8:1:2::1"), prefix("2001:db8:1:3::1"));
        assert_ne!(prefix("192.0.2.1"), prefix("192.0.2.2"));
    }

    #[test]
    fn neighbours_share_the_wider_networks() {
        let shared = |one, other| {
            prefix(one).networks().zip(prefix(other).networks()).filter(|(one, other)| one == other).count()
        };
        assert_eq!(shared("192.0.2.1", "192.0.2.255"), 1);
        assert_eq!(shared("192.0.2.1", "192.0.3.1"), 0);
        assert_eq!(shared("2001:db8:1:2::1", "2001:db8:1:2:3::"), 3);
        assert_eq!(shared("2001:db8:1:2::1", "2001:db8:1:3::1"), 2);
        assert_eq!(shared("2001:db8:1:2::1", "2001:db8:1:103::1"), 1);
        assert_eq!(shared("2001:db8:1:2::1", "2001:db8:2:2::1"), 0);
    }

    #[test]
    fn a_wider_network_has_more_and_not_all() {
        let shares = |text| prefix(text).networks().map(|network| network.share(10)).collect::<Vec<_>>();
        assert_eq!(shares("192.0.2.1"), [40, 10]);
        assert_eq!(shares("2001:db8::1"), [160, 40, 10]);
    }

    #[test]
    fn no_ipv6_network_is_taken_for_an_ipv4_one() {
        let v4: Vec<_> = prefix("32.1.13.184").networks().collect();
        assert!(prefix("2001:db8::1").networks().all(|network| !v4.contains(&network)));
    }

    #[test]
    fn an_embedded_ipv4_address_is_judged_as_itself() {
        for embedding in ["::ffff:192.0.2.1", "64:ff9b::192.0.2.1", "2002:c000:201:7::1"] {
            assert_eq!(prefix(embedding), prefix("192.0.2.1"), "{embedding}");
        }
    }
}
