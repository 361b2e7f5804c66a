//! A frame on its way out: header ‖ Sphinx packet, as it goes onto the wire.
//!
//! Trusts nobody: a packet of another length than its header says would garble what everybody else sends to the same
//! next hop. Promises that there is no such frame.

use bytes::Bytes;
use proto::{
    ipc::Opaque,
    wire::framing::{EncodedHeader, FrameHeader},
};
use thiserror::Error;

/// The packet is not as long as its header says. Only a peer that was taken over or has a bug asks for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{}", Self::RULE)]
pub struct WrongLength;

impl WrongLength {
    /// The rule that was broken.
    pub const RULE: &'static str = "a packet to be sent is as long as its frame header says";
}

/// A frame on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutgoingFrame {
    header: EncodedHeader,
    packet: Bytes,
}

impl OutgoingFrame {
    pub(crate) fn new(header: FrameHeader, Opaque(packet): Opaque) -> Result<Self, WrongLength> {
        if packet.len() != header.size.packet_len() {
            return Err(WrongLength);
        }
        Ok(Self { header: header.encode(), packet })
    }

    /// A frame of any length, to fill the buffers of the kernel with.
    #[cfg(test)]
    pub(crate) fn of_any_length(header: FrameHeader, packet: Bytes) -> Self {
        Self { header: header.encode(), packet }
    }

    /// What goes onto the wire, one part after the other.
    pub(crate) fn parts(&self) -> [&[u8]; 2] {
        [&self.header, &self.packet]
    }

    /// Bytes on the wire.
    pub(crate) fn wire_len(&self) -> usize {
        self.header.len() + self.packet.len()
    }
}

#[cfg(test)]
mod tests {
    use proto::wire::{
        framing::Framing,
        packet::{KeyRotation, PacketSize, PacketType},
    };

    use super::*;

    #[test]
    fn a_packet_is_as_long_as_its_header_says() {
        for framing in [Framing::Unversioned(PacketType::Vpn), Framing::V7, Framing::V8(KeyRotation::Odd)] {
            for size in PacketSize::ALL {
                let header = FrameHeader { framing, size };
                let packet = |len| Opaque(vec![0xa5; len].into());
                let frame = OutgoingFrame::new(header, packet(size.packet_len())).unwrap();
                let wire = frame.parts().concat();
                assert_eq!(wire.len(), frame.wire_len());
                assert_eq!(FrameHeader::decode(&wire), Ok(Some((header, wire.len() - size.packet_len()))));
                for wrong in [0, size.packet_len() - 1, size.packet_len() + 1] {
                    assert_eq!(OutgoingFrame::new(header, packet(wrong)), Err(WrongLength));
                }
            }
        }
    }
}
