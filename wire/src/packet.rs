//! The kinds of Sphinx packets: sizes, types and key rotations.
//!
//! *Trusts* nothing: a code is one byte from a stranger. *Holds* every size of the wire, so that no other file has
//! to. *Promises*: only a code that the network knows becomes a value of these types.

use serde::{Deserialize, Serialize};

/// Bytes of a Sphinx header: ephemeral key 32, MAC 16, routing information 300.
pub const HEADER_LEN: usize = 348;

/// Bytes of a payload that are not plaintext: 16 leading zero bytes and the byte that ends the plaintext.
pub const PAYLOAD_OVERHEAD: usize = 17;

/// The size of a Sphinx packet. The network has no other sizes.
///
/// The 2021 network knew `Regular`, `Ack` and `Extended32` only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PacketSize {
    /// 386 bytes: an acknowledgement.
    Ack,
    /// 2,413 bytes: nearly all traffic.
    Regular,
    /// 8,557 bytes.
    Extended8,
    /// 16,749 bytes.
    Extended16,
    /// 33,133 bytes.
    Extended32,
}

impl PacketSize {
    /// Every size, the smallest first.
    pub const ALL: [Self; 5] = [Self::Ack, Self::Regular, Self::Extended8, Self::Extended16, Self::Extended32];

    /// The byte of this size in a frame header.
    pub const fn code(self) -> u8 {
        match self {
            Self::Regular => 1,
            Self::Ack => 2,
            Self::Extended32 => 3,
            Self::Extended8 => 4,
            Self::Extended16 => 5,
        }
    }

    /// The size with this code, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Regular),
            2 => Some(Self::Ack),
            3 => Some(Self::Extended32),
            4 => Some(Self::Extended8),
            5 => Some(Self::Extended16),
            _ => None,
        }
    }

    /// Bytes that a sender can put into a packet of this size: the SURB-ack and the message.
    pub const fn plaintext_len(self) -> usize {
        match self {
            Self::Ack => 21,
            Self::Regular => 2 * 1024,
            Self::Extended8 => 8 * 1024,
            Self::Extended16 => 16 * 1024,
            Self::Extended32 => 32 * 1024,
        }
    }

    /// Bytes behind the Sphinx header.
    pub const fn payload_len(self) -> usize {
        self.plaintext_len() + PAYLOAD_OVERHEAD
    }

    /// Bytes of the whole packet, without a frame header.
    pub const fn packet_len(self) -> usize {
        HEADER_LEN + self.payload_len()
    }

    /// The size of a packet of `len` bytes, if packets of that length exist.
    pub fn from_packet_len(len: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|size| size.packet_len() == len)
    }
}

/// How a hop should treat a packet. It has no effect at a gateway, but a SURB-ack inherits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PacketType {
    /// Delayed at every hop.
    Mix,
    /// Not delayed; existed in 2021 only.
    Vpn,
}

impl PacketType {
    /// The byte of this type on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Mix => 0,
            Self::Vpn => 1,
        }
    }

    /// The type with this code, if there is one. Code 2 was "outfox", which no longer exists.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Mix),
            1 => Some(Self::Vpn),
            _ => None,
        }
    }
}

/// The Sphinx key of a hop for which a packet was made. A hop has two keys, which alternate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyRotation {
    /// The sender did not say.
    Unknown,
    /// The key of a rotation with an odd number.
    Odd,
    /// The key of a rotation with an even number.
    Even,
}

impl KeyRotation {
    /// The byte of this mark on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Odd => 1,
            Self::Even => 2,
        }
    }

    /// The mark with this code, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Unknown),
            1 => Some(Self::Odd),
            2 => Some(Self::Even),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_network() {
        let vectors: serde_json::Value = serde_json::from_str(include_str!("../vectors/packet_sizes.json")).unwrap();
        assert_eq!(vectors["header_bytes"], HEADER_LEN);
        assert_eq!(vectors["payload_overhead"], PAYLOAD_OVERHEAD);
        let cases = vectors["cases"].as_array().unwrap();
        assert_eq!(cases.len(), PacketSize::ALL.len());
        for (case, size) in cases.iter().zip(PacketSize::ALL) {
            assert_eq!(case["name"], format!("{size:?}").to_lowercase());
            assert_eq!(case["code"], size.code());
            assert_eq!(case["packet_bytes"], size.packet_len());
            assert_eq!(case["payload_bytes"], size.payload_len());
            assert_eq!(case["plaintext_bytes"], size.plaintext_len());
        }
    }

    #[test]
    fn codes_and_lengths_name_one_size_each() {
        for size in PacketSize::ALL {
            assert_eq!(PacketSize::from_code(size.code()), Some(size));
            assert_eq!(PacketSize::from_packet_len(size.packet_len()), Some(size));
            assert_eq!(PacketSize::from_packet_len(size.packet_len() + 1), None);
        }
        let known = (0..=u8::MAX).filter_map(PacketSize::from_code).count();
        assert_eq!(known, PacketSize::ALL.len());
    }

    #[test]
    fn types_and_rotations_round_trip_and_nothing_else_is_one() {
        for code in 0..=u8::MAX {
            let kind = PacketType::from_code(code);
            assert_eq!(kind.map(PacketType::code), (code < 2).then_some(code));
            let rotation = KeyRotation::from_code(code);
            assert_eq!(rotation.map(KeyRotation::code), (code < 3).then_some(code));
        }
    }
}
