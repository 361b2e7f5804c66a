//! The part of an address that tells strangers apart: whoever has one IPv6 address has a whole /64 of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4 address, or the first half of an IPv6 one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressPrefix {
    /// A /32.
    V4(Ipv4Addr),
    /// A /64.
    V6([u8; 8]),
}

impl From<IpAddr> for AddressPrefix {
    /// An IPv6 address that embeds an IPv4 one is judged by what it embeds: on a listener for both they are the same peer,
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
    fn an_embedded_ipv4_address_is_judged_as_itself() {
        for embedding in ["::ffff:192.0.2.1", "64:ff9b::192.0.2.1", "2002:c000:201:7::1"] {
            assert_eq!(prefix(embedding), prefix("192.0.2.1"), "{embedding}");
        }
    }
}
