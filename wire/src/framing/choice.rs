//! Which header a frame gets that leaves the gateway.

use serde::{Deserialize, Serialize};

use super::header::{FrameHeader, Framing};
use crate::packet::KeyRotation;

/// The setting for the headers of frames that leave the gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FramingChoice {
    /// The header that came with the packet: for a SURB-ack that of its packet, for a client's packet that of the client's era.
    #[default]
    AsGiven,
    /// Always the header of two bytes.
    Unversioned,
    /// Always the header of three bytes.
    V7,
    /// Always the header of four bytes. The rotation is "unknown" if the sender has named none.
    V8,
}

impl FramingChoice {
    /// The header with which a frame leaves.
    pub const fn apply(self, header: FrameHeader) -> FrameHeader {
        let framing = match (self, header.framing) {
            (Self::AsGiven, framing) => framing,
            (Self::Unversioned, _) => Framing::Unversioned(header.packet_type()),
            (Self::V7, _) => Framing::V7,
            (Self::V8, Framing::V8(rotation)) => Framing::V8(rotation),
            (Self::V8, _) => Framing::V8(KeyRotation::Unknown),
        };
        FrameHeader { framing, size: header.size }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{PacketSize, PacketType};

    #[test]
    fn a_forced_framing_keeps_what_it_has_room_for() {
        use FramingChoice as Choice;
        let header = |framing| FrameHeader { framing, size: PacketSize::Ack };
        let (vpn, odd) = (Framing::Unversioned(PacketType::Vpn), Framing::V8(KeyRotation::Odd));
        for (choice, given, leaves) in [
            (Choice::AsGiven, vpn, vpn),
            (Choice::AsGiven, odd, odd),
            (Choice::Unversioned, vpn, vpn),
            (Choice::Unversioned, odd, Framing::Unversioned(PacketType::Mix)),
            (Choice::V7, vpn, Framing::V7),
            (Choice::V7, odd, Framing::V7),
            (Choice::V8, odd, odd),
            (Choice::V8, Framing::V7, Framing::V8(KeyRotation::Unknown)),
        ] {
            assert_eq!(choice.apply(header(given)), header(leaves), "{choice:?} {given:?}");
        }
    }
}
