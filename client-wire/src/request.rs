//! A client's request to forward one Sphinx packet to its first mix node.
//!
//! `packet type 1 | next hop 7 or 19, not padded | Sphinx packet`, or, marked, `packet type 1 | key rotation 1 | next hop |
//! Sphinx packet`. The length of the packet tells its size.
//!
//! *Trusts* nothing: a client that holds a session key may still be hostile. Whether the gateway may connect to the
//! next hop, and whether the packet makes sense, is not decided here.

use std::net::SocketAddr;

use bytes::{Buf, Bytes};
use wire::{
    framing::{FrameHeader, Framing},
    packet::{KeyRotation, PacketSize, PacketType},
    routing,
};

use super::aead_frame::RequestKind;

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

/// Why a plaintext is not a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The first byte is no packet type, or there is none.
    #[error("a client's request does not begin with a packet type; it must be 0 (mix) or 1 (vpn)")]
    PacketType,
    /// What follows in a marked request is no key rotation.
    #[error("a client's request names no key rotation; it must be 0 (unknown), 1 (odd) or 2 (even)")]
    KeyRotation,
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
    /// The first [`RequestError`], in the order of the fields.
    pub fn parse(mut plaintext: Bytes) -> Result<Self, RequestError> {
        let packet_type = take_packet_type(&mut plaintext)?;
        Self::parse_destination(packet_type, plaintext)
    }

    fn parse_destination(packet_type: PacketType, mut plaintext: Bytes) -> Result<Self, RequestError> {
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

fn take_packet_type(plaintext: &mut Bytes) -> Result<PacketType, RequestError> {
    plaintext.try_get_u8().ok().and_then(PacketType::from_code).ok_or(RequestError::PacketType)
}

/// The frame header of a packet for which the client has named a key rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationMarks {
    /// The header with room for the mark. Nodes since July 2025 understand it.
    Kept,
    /// The header without, as for all other packets.
    Dropped,
}

/// A request of a client since protocol version 3, which may say for which key of the first hop its packet was made. Its
/// packet type is always "mix".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkedRequest {
    /// The packet and where it goes.
    pub request: ForwardRequest,
    /// The key rotation, if the client has named one.
    pub key_rotation: Option<KeyRotation>,
}

impl MarkedRequest {
    /// Reads the plaintext of a frame of this kind, without copying the packet.
    ///
    /// # Errors
    /// The first [`RequestError`], in the order of the fields.
    pub fn parse(kind: RequestKind, mut plaintext: Bytes) -> Result<Self, RequestError> {
        let packet_type = take_packet_type(&mut plaintext)?;
        if packet_type != PacketType::Mix {
            return Err(RequestError::PacketType);
        }
        let key_rotation = match kind {
            RequestKind::Forward => None,
            RequestKind::ForwardMarked => {
                let code = plaintext.try_get_u8().map_err(|_| RequestError::KeyRotation)?;
                Some(KeyRotation::from_code(code).ok_or(RequestError::KeyRotation)?)
            }
        };
        Ok(Self { request: ForwardRequest::parse_destination(packet_type, plaintext)?, key_rotation })
    }

    /// The plaintext that a client seals, and the kind of its frame.
    pub fn encode(&self) -> (RequestKind, Vec<u8>) {
        let mut plaintext = self.request.encode();
        match self.key_rotation {
            None => (RequestKind::Forward, plaintext),
            Some(rotation) => {
                plaintext.insert(1, rotation.code());
                (RequestKind::ForwardMarked, plaintext)
            }
        }
    }

    /// The frame header with which the packet leaves.
    pub fn header(&self, marks: RotationMarks) -> FrameHeader {
        let framing = match (self.key_rotation, marks) {
            (Some(rotation), RotationMarks::Kept) => Framing::V8(rotation),
            _ => Framing::V7,
        };
        FrameHeader { framing, size: self.request.size }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::vectors::{file, hex_of};

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

    fn parse_marked(kind: RequestKind, plaintext: &[u8]) -> Result<MarkedRequest, RequestError> {
        MarkedRequest::parse(kind, Bytes::copy_from_slice(plaintext))
    }

    #[test]
    fn reads_and_writes_every_packet_of_real_clients() {
        let vectors = file("mix_packet.json");
        let cases = vectors["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 12);
        for case in cases {
            let packet = hex_of(&case["sphinx_packet"]);
            let size = PacketSize::from_packet_len(packet.len()).unwrap();
            assert_eq!(case["size"], format!("{size:?}").to_lowercase());
            let next_hop = case["next_hop"].as_str().unwrap().parse().unwrap();
            let request = ForwardRequest { packet_type: PacketType::Mix, next_hop, size, packet: packet.into() };
            let rotation = KeyRotation::from_code(case["key_rotation"].as_u64().unwrap().try_into().unwrap());
            assert!(rotation.is_some());
            for (kind, field, key_rotation) in
                [(RequestKind::Forward, "v1", None), (RequestKind::ForwardMarked, "v2", rotation)]
            {
                let plaintext = hex_of(&case[field]);
                let expected = MarkedRequest { request: request.clone(), key_rotation };
                assert_eq!(expected.encode(), (kind, plaintext.clone()));
                assert_eq!(parse_marked(kind, &plaintext), Ok(expected));
            }
        }
    }

    #[test]
    fn a_marked_request_complains_in_the_order_of_its_fields() {
        let marked = |bytes: &[u8]| parse_marked(RequestKind::ForwardMarked, bytes).unwrap_err();
        assert_eq!(marked(&[]), RequestError::PacketType);
        assert_eq!(marked(&[2]), RequestError::PacketType);
        assert_eq!(marked(&[0]), RequestError::KeyRotation);
        assert_eq!(marked(&[0, 3]), RequestError::KeyRotation);
        assert_eq!(marked(&[0, 2]), RequestError::NextHop);
        assert_eq!(marked(&[0, 2, 4, 1, 2, 3, 4, 5, 6, 7]), RequestError::Size(1));
    }

    #[test]
    fn vpn_packets_exist_without_marks_only() {
        let vpn = request(PacketType::Vpn, "1.2.3.4:5".parse().unwrap(), PacketSize::Ack).encode();
        assert!(parse(&vpn).is_ok());
        assert_eq!(parse_marked(RequestKind::Forward, &vpn), Err(RequestError::PacketType));
    }

    #[test]
    fn a_mark_leaves_only_if_there_is_one_and_it_is_wanted() {
        let request = request(PacketType::Mix, "1.2.3.4:5".parse().unwrap(), PacketSize::Ack);
        let header =
            |key_rotation, marks| MarkedRequest { request: request.clone(), key_rotation }.header(marks).encode();
        let odd = Some(KeyRotation::Odd);
        assert_eq!(header(odd, RotationMarks::Kept)[..], [8, 2, 0, 1]);
        assert_eq!(header(Some(KeyRotation::Unknown), RotationMarks::Kept)[..], [8, 2, 0, 0]);
        assert_eq!(header(odd, RotationMarks::Dropped)[..], [7, 2, 0]);
        assert_eq!(header(None, RotationMarks::Kept)[..], [7, 2, 0]);
    }

    proptest! {
        #[test]
        fn what_parses_marked_encodes_to_the_same_bytes(
            head in (0..3_u8, 0..4_u8, 3..8_u8, vec(any::<u8>(), 0..20)),
            rest in prop_oneof![Just(0), Just(386), 0..9000_usize],
        ) {
            let (packet_type, rotation, address_type, address) = head;
            let plaintext = [&[packet_type, rotation, address_type], &address[..], &vec![7; rest]].concat();
            for kind in [RequestKind::Forward, RequestKind::ForwardMarked] {
                if let Ok(request) = parse_marked(kind, &plaintext) {
                    prop_assert_eq!(request.encode(), (kind, plaintext.clone()));
                }
            }
        }

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
