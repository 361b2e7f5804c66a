//! The encoding of a next hop's address in Sphinx headers, SURB-acks and client requests.
//!
//! `04 | port 2 | octets 4` or `06 | port 2 | octets 16`. A client request carries the address without padding. In front
//! of a SURB-ack it is zero-padded to 19 bytes, in a Sphinx header to 32.
//!
//! *Trusts* nothing. *Promises*: decoding reads at most 19 bytes and checks only the form. Whether the gateway may
//! connect to an address is not decided here. An IPv4-mapped IPv6 address stays an IPv6 address.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of an IPv4 address without padding.
pub const IPV4_LEN: usize = 7;

/// Bytes of an IPv6 address, and of any address in front of a SURB-ack.
pub const IPV6_LEN: usize = 19;

const IPV4_TYPE: u8 = 4;
const IPV6_TYPE: u8 = 6;

/// The bytes are not the address of a next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RoutingAddressError {
    /// The first byte names neither IPv4 nor IPv6.
    #[error("the next hop has an address of unknown type {0}: expected 4 (IPv4) or 6 (IPv6)")]
    UnknownType(u8),
    /// The bytes end within the address.
    #[error("the next hop's address ends after {0} bytes: IPv4 takes 7 and IPv6 takes 19")]
    TooShort(usize),
}

/// Reads the address at the start of `bytes`. Returns the address and its length.
///
/// # Errors
/// [`RoutingAddressError`] if the bytes do not begin with an address.
pub fn decode_prefix(bytes: &[u8]) -> Result<(SocketAddr, usize), RoutingAddressError> {
    let too_short = RoutingAddressError::TooShort(bytes.len());
    let (kind, rest) = bytes.split_first().ok_or(too_short)?;
    match *kind {
        IPV4_TYPE => {
            let (port, octets) = port_and_octets::<4>(rest).ok_or(too_short)?;
            Ok(((Ipv4Addr::from(octets), port).into(), IPV4_LEN))
        }
        IPV6_TYPE => {
            let (port, octets) = port_and_octets::<16>(rest).ok_or(too_short)?;
            Ok(((Ipv6Addr::from(octets), port).into(), IPV6_LEN))
        }
        other => Err(RoutingAddressError::UnknownType(other)),
    }
}

fn port_and_octets<const N: usize>(bytes: &[u8]) -> Option<(u16, [u8; N])> {
    let (port, rest) = bytes.split_first_chunk()?;
    Some((u16::from_be_bytes(*port), *rest.first_chunk()?))
}

/// Reads the address in a padded field. The padding is ignored, as in every real node.
///
/// # Errors
/// [`RoutingAddressError`] if the field does not begin with an address.
pub fn decode_padded(field: &[u8]) -> Result<SocketAddr, RoutingAddressError> {
    decode_prefix(field).map(|(address, _)| address)
}

/// The shortest form of `address`, 7 or 19 bytes.
pub fn encode(address: SocketAddr) -> Vec<u8> {
    let port = address.port().to_be_bytes();
    match address {
        SocketAddr::V4(v4) => [&[IPV4_TYPE][..], &port, &v4.ip().octets()].concat(),
        SocketAddr::V6(v6) => [&[IPV6_TYPE][..], &port, &v6.ip().octets()].concat(),
    }
}

/// The form of `address` for a field of `N` bytes, zero-padded. `N` below [`IPV6_LEN`] does not compile.
pub fn encode_padded<const N: usize>(address: SocketAddr) -> [u8; N] {
    const { assert!(N >= IPV6_LEN) };
    let mut field = [0; N];
    for (to, from) in field.iter_mut().zip(encode(address)) {
        *to = from;
    }
    field
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_of_every_known_address() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../vectors/routing_addresses.json")).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 6);
        for case in cases {
            let address: SocketAddr = case["addr"].as_str().unwrap().parse().unwrap();
            let bytes = |field: &str| hex::decode(case[field].as_str().unwrap()).unwrap();

            let shortest = bytes("min_bytes");
            assert_eq!(encode(address), shortest);
            assert_eq!(decode_prefix(&shortest), Ok((address, shortest.len())));

            let in_surb_ack = bytes("zero_padded_19");
            assert_eq!(encode_padded::<19>(address)[..], in_surb_ack);
            assert_eq!(decode_padded(&in_surb_ack), Ok(address));

            let in_header = bytes("sphinx_node_address_32");
            assert_eq!(encode_padded::<32>(address)[..], in_header);
            assert_eq!(decode_padded(&in_header), Ok(address));
            assert_eq!(decode_prefix(&in_header), Ok((address, shortest.len())));
        }
    }

    #[test]
    fn a_mapped_address_stays_ipv6() {
        let address: SocketAddr = "[::ffff:1.2.3.4]:1789".parse().unwrap();
        assert_eq!(encode(address)[0], 6);
        assert!(decode_padded(&encode(address)).unwrap().is_ipv6());
    }

    #[test]
    fn an_address_that_ends_early_is_refused() {
        for address in ["1.2.3.4:5", "[::1]:5"] {
            let bytes = encode(address.parse().unwrap());
            for len in 0..bytes.len() {
                assert_eq!(decode_prefix(&bytes[..len]), Err(RoutingAddressError::TooShort(len)));
            }
        }
    }

    #[test]
    fn an_unknown_type_is_refused_even_when_short() {
        for kind in (0..=u8::MAX).filter(|kind| ![4, 6].contains(kind)) {
            for len in [1, 2, 7, 19] {
                let mut bytes = [0; 19];
                bytes[0] = kind;
                assert_eq!(decode_prefix(&bytes[..len]), Err(RoutingAddressError::UnknownType(kind)));
            }
        }
    }

    proptest! {
        #[test]
        fn decoding_never_panics_and_what_it_reads_round_trips(
            kind in prop_oneof![Just(4), Just(6), any::<u8>()],
            rest in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let bytes = [&[kind][..], &rest].concat();
            if let Ok((address, used)) = decode_prefix(&bytes) {
                prop_assert_eq!(encode(address), &bytes[..used]);
            }
        }

        #[test]
        fn every_address_round_trips(ip: std::net::IpAddr, port: u16) {
            let address = SocketAddr::new(ip, port);
            prop_assert_eq!(decode_padded(&encode(address)), Ok(address));
            prop_assert_eq!(decode_padded(&encode_padded::<32>(address)), Ok(address));
        }
    }
}
