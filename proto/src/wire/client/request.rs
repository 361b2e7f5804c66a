//! What a client's frame asks for: forward one Sphinx packet to its first mix node.
//!
//! `packet type 1 | next hop 7 or 19, not padded | Sphinx packet`. The length of the packet tells its size.
//!
//! *Trusts* nothing: a client that holds a session key may still be hostile. Whether the gateway may connect to the
//! next hop, and whether the packet makes sense, is for others to judge.

use std::net::SocketAddr;

use bytes::{Buf, Bytes};

use crate::wire::{
    packet::{PacketSize, PacketType},
    routing,
};

/// One Sphinx packet and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardRequest {
    /// How hops should treat the packet.
    pub packet_type: PacketType,
    /// The first mix node.
    pub next_hop: SocketAddr,
    /// The size of the packet.
    pub size: PacketSize,
    /// The Sphinx packet: as many bytes as `size` says.
    pub packet: Bytes,
}

/// Why a plaintext is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The first byte is no packet type, or there is none.
    #[error("a client's request does not begin with a packet type; it must be 0 (mix) or 1 (vpn)")]
    PacketType,
    /// What follows is no address.
    #[error("a client's request names no next hop; an IPv4 (7 bytes) or IPv6 (19 bytes) address must follow the type")]
    NextHop,
    /// What remains has the length of no packet.
    #[error("a client's request holds {0} bytes of Sphinx packet; no packet has that size")]
    Size(usize),
}

impl ForwardRequest {
    /// Reads the plaintext of a frame, without copying the packet.
    ///
    /// # Errors
    ///
    /// The first [`RequestError`], in the order of the fields.
    pub fn parse(mut plaintext: Bytes) -> Result<Self, RequestError> {
        let packet_type =
            plaintext.try_get_u8().ok().and_then(PacketType::from_code).ok_or(RequestError::PacketType)?;
        let (next_hop, address_len) = routing::decode_prefix(&plaintext).map_err(|_| RequestError::NextHop)?;
        plaintext.advance(address_len);
        let size = PacketSize::from_packet_len(plaintext.len()).ok_or(RequestError::Size(plaintext.len()))?;
        Ok(Self { packet_type, next_hop, size, packet: plaintext })
    }

    /// The plaintext that a client seals.
    pub fn encode(&self) -> Vec<u8> {
        let address = routing::encode(self.next_hop);
        [&[self.packet_type.code()], &address[..], &self.packet].concat()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn request(packet_type: PacketType, next_hop: SocketAddr, size: PacketSize) -> ForwardRequest {
        ForwardRequest { packet_type, next_hop, size, packet: vec![0x16; size.packet_len()].into() }
    }

    fn parse(plaintext: &[u8]) -> Result<ForwardRequest, RequestError> {
        ForwardRequest::parse(Bytes::copy_from_slice(plaintext))
    }

    #[test]
    fn layout_is_that_of_2021() {
        let next_hop = "127.0.0.1:1789".parse().unwrap();
        let plaintext = request(PacketType::Vpn, next_hop, PacketSize::Ack).encode();
        assert_eq!(plaintext[..9], [1, 4, 0x06, 0xfd, 127, 0, 0, 1, 0x16]);
        assert_eq!(plaintext.len(), 1 + 7 + 386);
        let next_hop = "[2001:db8::1]:1789".parse().unwrap();
        let plaintext = request(PacketType::Mix, next_hop, PacketSize::Regular).encode();
        assert_eq!(plaintext[..6], [0, 6, 0x06, 0xfd, 0x20, 0x01]);
        assert_eq!(plaintext.len(), 1 + 19 + 2413);
    }

    #[test]
    fn every_size_and_type_round_trips() {
        for size in PacketSize::ALL {
            for packet_type in [PacketType::Mix, PacketType::Vpn] {
                for next_hop in ["127.0.0.1:1", "[::1]:65535"] {
                    let request = request(packet_type, next_hop.parse().unwrap(), size);
                    assert_eq!(parse(&request.encode()), Ok(request));
                }
            }
        }
    }

    #[test]
    fn complains_in_the_order_of_the_fields() {
        assert_eq!(parse(&[]), Err(RequestError::PacketType));
        assert_eq!(parse(&[2]), Err(RequestError::PacketType));
        assert_eq!(parse(&[1]), Err(RequestError::NextHop));
        assert_eq!(parse(&[0, 4, 1]), Err(RequestError::NextHop));
        assert_eq!(parse(&[0, 5, 1, 2, 3, 4, 5, 6, 7, 8]), Err(RequestError::NextHop));
        assert_eq!(parse(&[0, 6, 1, 2, 3, 4, 5, 6]), Err(RequestError::NextHop));
        assert_eq!(parse(&[0, 4, 1, 2, 3, 4, 5, 6]), Err(RequestError::Size(0)));
        assert_eq!(parse(&[0, 4, 1, 2, 3, 4, 5, 6, 7]), Err(RequestError::Size(1)));
        let mut one_short = request(PacketType::Mix, "1.2.3.4:5".parse().unwrap(), PacketSize::Ack).encode();
        one_short.pop();
        assert_eq!(parse(&one_short), Err(RequestError::Size(385)));
    }

    #[test]
    fn the_packet_is_not_copied() {
        let plaintext = Bytes::from(request(PacketType::Mix, "1.2.3.4:5".parse().unwrap(), PacketSize::Ack).encode());
        let packet = plaintext[8..].as_ptr();
        assert_eq!(ForwardRequest::parse(plaintext).unwrap().packet.as_ptr(), packet);
    }

    proptest! {
        #[test]
        fn what_parses_encodes_to_the_same_bytes(
            head in (0..3_u8, 3..8_u8, vec(any::<u8>(), 0..20)),
            rest in prop_oneof![Just(0), Just(386), 0..9000_usize],
        ) {
            let (packet_type, address_type, address) = head;
            let plaintext = [&[packet_type, address_type], &address[..], &vec![7; rest]].concat();
            if let Ok(request) = parse(&plaintext) {
                prop_assert_eq!(request.encode(), plaintext);
            }
        }

        #[test]
        fn round_trips(ip: std::net::IpAddr, port: u16, content in vec(any::<u8>(), 386)) {
            let request = ForwardRequest {
                packet_type: PacketType::Mix,
                next_hop: (ip, port).into(),
                size: PacketSize::Ack,
                packet: content.into(),
            };
            prop_assert_eq!(parse(&request.encode()), Ok(request));
        }
    }
}
