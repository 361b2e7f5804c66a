//! The header of a frame, in its three forms.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::packet::{KeyRotation, PacketSize, PacketType};

/// Bytes of the longest header.
pub const MAX_HEADER_LEN: usize = 4;

/// Bytes of the longest frame: its header and its packet.
pub const MAX_FRAME_LEN: usize = MAX_HEADER_LEN + PacketSize::Extended32.packet_len();

const VERSION_7: u8 = 7;
const VERSION_8: u8 = 8;

/// One of the three headers, with the field that only this header has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Framing {
    /// Two bytes, without a version. The nodes of today refuse it.
    Unversioned(PacketType),
    /// Three bytes. Every node since 2022 understands it.
    V7,
    /// Four bytes. Nodes since July 2025 understand it.
    V8(KeyRotation),
}

/// The content of a frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FrameHeader {
    /// The form of the header.
    pub framing: Framing,
    /// The size of the packet behind it.
    pub size: PacketSize,
}

/// The stream is not a stream of frames. The start of the next frame is unknown, so the connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// The first byte is neither a size nor a version.
    #[error("a mix frame begins with {0}, which is neither a packet size nor a known version")]
    UnknownVersion(u8),
    /// A versioned header names no known size.
    #[error("a mix frame announces a packet of unknown size {0}")]
    UnknownSize(u8),
    /// This header cannot carry the packet type.
    #[error("a mix frame announces a packet of unknown type {0}")]
    UnknownPacketType(u8),
    /// The key rotation is neither unknown, odd nor even.
    #[error("a mix frame carries the unknown key rotation {0}")]
    UnknownKeyRotation(u8),
}

impl FrameHeader {
    /// Reads the header at the start of `bytes`. Returns the header and its length, or `None` if more bytes are needed.
    ///
    /// # Errors
    /// [`FramingError`] if no further bytes could make this a header.
    pub fn decode(bytes: &[u8]) -> Result<Option<(Self, usize)>, FramingError> {
        let (framing, size, len) = match *bytes {
            [] => return Ok(None),
            [VERSION_7, size, kind, ..] => {
                versioned_packet_type(kind)?;
                (Framing::V7, versioned_size(size)?, 3)
            }
            [VERSION_8, size, kind, rotation, ..] => {
                versioned_packet_type(kind)?;
                let rotation = KeyRotation::from_code(rotation).ok_or(FramingError::UnknownKeyRotation(rotation))?;
                (Framing::V8(rotation), versioned_size(size)?, 4)
            }
            [VERSION_7 | VERSION_8, ..] => return Ok(None),
            [size, ref rest @ ..] => {
                let size = PacketSize::from_code(size).ok_or(FramingError::UnknownVersion(size))?;
                let Some(kind) = rest.first() else {
                    return Ok(None);
                };
                let kind = PacketType::from_code(*kind).ok_or(FramingError::UnknownPacketType(*kind))?;
                (Framing::Unversioned(kind), size, 2)
            }
        };
        Ok(Some((Self { framing, size }, len)))
    }

    /// The bytes of this header.
    pub const fn encode(self) -> EncodedHeader {
        let size = self.size.code();
        let mix = PacketType::Mix.code();
        EncodedHeader(match self.framing {
            Framing::Unversioned(kind) => HeaderBytes::Two([size, kind.code()]),
            Framing::V7 => HeaderBytes::Three([VERSION_7, size, mix]),
            Framing::V8(rotation) => HeaderBytes::Four([VERSION_8, size, mix, rotation.code()]),
        })
    }

    /// The header for the SURB-ack of this frame's packet: the same with another size.
    pub const fn for_surb_ack(self) -> Self {
        Self { size: PacketSize::Ack, ..self }
    }

    /// How hops should treat the packet.
    pub const fn packet_type(self) -> PacketType {
        match self.framing {
            Framing::Unversioned(kind) => kind,
            Framing::V7 | Framing::V8(_) => PacketType::Mix,
        }
    }
}

fn versioned_size(code: u8) -> Result<PacketSize, FramingError> {
    PacketSize::from_code(code).ok_or(FramingError::UnknownSize(code))
}

fn versioned_packet_type(code: u8) -> Result<(), FramingError> {
    match PacketType::from_code(code) {
        Some(PacketType::Mix) => Ok(()),
        Some(PacketType::Vpn) | None => Err(FramingError::UnknownPacketType(code)),
    }
}

/// The two to four bytes of a header. Dereferences to a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodedHeader(HeaderBytes);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeaderBytes {
    Two([u8; 2]),
    Three([u8; 3]),
    Four([u8; 4]),
}

impl Deref for EncodedHeader {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            HeaderBytes::Two(bytes) => bytes,
            HeaderBytes::Three(bytes) => bytes,
            HeaderBytes::Four(bytes) => bytes,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    pub(in crate::framing) fn known_frames() -> Vec<(FrameHeader, Bytes, Vec<u8>)> {
        let vectors: Value = serde_json::from_str(include_str!("../../vectors/framing.json")).unwrap();
        let cases = vectors["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 25);
        cases.iter().map(known_frame).collect()
    }

    fn known_frame(case: &Value) -> (FrameHeader, Bytes, Vec<u8>) {
        let rotation = match case["key_rotation"].as_str().unwrap() {
            "none" | "unknown" => KeyRotation::Unknown,
            "odd" => KeyRotation::Odd,
            "even" => KeyRotation::Even,
            other => panic!("{other}"),
        };
        let framing = match case["framing_version"].as_u64().unwrap() {
            0 => Framing::Unversioned(PacketType::Mix),
            7 => Framing::V7,
            8 => Framing::V8(rotation),
            other => panic!("{other}"),
        };
        let name = case["size"].as_str().unwrap();
        let size = PacketSize::ALL.into_iter().find(|size| format!("{size:?}").to_lowercase() == name).unwrap();
        let header = hex::decode(case["header"].as_str().unwrap()).unwrap();
        let frame = hex::decode(case["frame"].as_str().unwrap()).unwrap();
        let packet = frame.strip_prefix(&header[..]).unwrap().to_vec();
        (FrameHeader { framing, size }, packet.into(), frame)
    }

    pub(in crate::framing) fn any_header() -> impl Strategy<Value = FrameHeader> {
        let rotation = proptest::sample::select(vec![KeyRotation::Unknown, KeyRotation::Odd, KeyRotation::Even]);
        let framing = prop_oneof![
            Just(Framing::Unversioned(PacketType::Mix)),
            Just(Framing::Unversioned(PacketType::Vpn)),
            Just(Framing::V7),
            rotation.prop_map(Framing::V8),
        ];
        let size = proptest::sample::select(PacketSize::ALL.to_vec());
        (framing, size).prop_map(|(framing, size)| FrameHeader { framing, size })
    }

    #[test]
    fn every_known_frame_is_read_and_written() {
        for (header, _, frame) in known_frames() {
            let len = header.encode().len();
            assert_eq!(header.encode()[..], frame[..len]);
            assert_eq!(FrameHeader::decode(&frame), Ok(Some((header, len))));
        }
    }

    #[test]
    fn a_surb_ack_leaves_as_its_packet_came() {
        for (from, to) in [
            (&[1, 0][..], &[2, 0][..]),
            (&[3, 1], &[2, 1]),
            (&[7, 5, 0], &[7, 2, 0]),
            (&[8, 4, 0, 1], &[8, 2, 0, 1]),
            (&[8, 1, 0, 2], &[8, 2, 0, 2]),
        ] {
            let (header, _) = FrameHeader::decode(from).unwrap().unwrap();
            assert_eq!(&*header.for_surb_ack().encode(), to);
        }
    }

    #[test]
    fn an_unknown_first_byte_is_refused_at_once() {
        for byte in (0..=u8::MAX).filter(|byte| ![1, 2, 3, 4, 5, 7, 8].contains(byte)) {
            let error = FramingError::UnknownVersion(byte);
            assert_eq!(FrameHeader::decode(&[byte]), Err(error));
            assert_eq!(FrameHeader::decode(&[byte, 1, 0, 0]), Err(error));
        }
    }

    #[test]
    fn unknown_values_are_refused() {
        use FramingError::*;
        for (header, error) in [
            (&[1, 2][..], UnknownPacketType(2)),
            (&[5, 255], UnknownPacketType(255)),
            (&[7, 0, 0], UnknownSize(0)),
            (&[7, 6, 0], UnknownSize(6)),
            (&[7, 1, 1], UnknownPacketType(1)),
            (&[7, 1, 2], UnknownPacketType(2)),
            (&[8, 7, 0, 0], UnknownSize(7)),
            (&[8, 1, 1, 0], UnknownPacketType(1)),
            (&[8, 1, 2, 0], UnknownPacketType(2)),
            (&[8, 1, 0, 3], UnknownKeyRotation(3)),
        ] {
            assert_eq!(FrameHeader::decode(header), Err(error), "{header:?}");
        }
    }

    #[test]
    fn only_the_2021_header_says_vpn() {
        let (header, _) = FrameHeader::decode(&[1, 1]).unwrap().unwrap();
        assert_eq!(header.packet_type(), PacketType::Vpn);
        let (header, _) = FrameHeader::decode(&[7, 1, 0]).unwrap().unwrap();
        assert_eq!(header.packet_type(), PacketType::Mix);
    }

    proptest! {
        #[test]
        fn headers_round_trip(header in any_header(), behind: [u8; 3]) {
            let encoded = header.encode();
            for len in 0..encoded.len() {
                prop_assert_eq!(FrameHeader::decode(&encoded[..len]), Ok(None));
            }
            let bytes = [&encoded[..], &behind].concat();
            prop_assert_eq!(FrameHeader::decode(&bytes), Ok(Some((header, encoded.len()))));
        }
    }
}
