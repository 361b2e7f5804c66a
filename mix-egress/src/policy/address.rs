//! What an address alone says about a next hop: its registry entry, and the IPv4 addresses inside an IPv6 one.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::forbidden::Forbidden;

/// The IPv4 addresses at which a packet to an IPv6 address may end up.
pub(super) enum Embedded {
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
    pub(super) fn in_address(address: Ipv6Addr) -> Self {
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
pub(super) const fn reason_v4(address: Ipv4Addr) -> Option<Forbidden> {
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
pub(super) const fn reason_v6(address: Ipv6Addr) -> Option<Forbidden> {
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
