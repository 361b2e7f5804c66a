//! An outgoing frame: header ‖ Sphinx packet.
//!
//! *Trusts* nobody: a packet of another length than its header says would garble all further packets to the same next hop. *Promises*:
//! there is no such frame.

use bytes::Bytes;
use ipc::{Opaque, egress::Rule};
use wire::framing::{EncodedHeader, FrameHeader};

/// A frame header and its packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutgoingFrame {
    header: EncodedHeader,
    packet: Bytes,
}

impl OutgoingFrame {
    /// # Errors
    /// [`Rule::WrongLength`] if the packet is not as long as its header says. Only a worker that was taken over or has a bug sends such a
    /// packet.
    pub(crate) fn new(header: FrameHeader, Opaque(packet): Opaque) -> Result<Self, Rule> {
        if packet.len() != header.size.packet_len() {
            return Err(Rule::WrongLength);
        }
        Ok(Self { header: header.encode(), packet })
    }

    /// A frame of any length, to fill the buffers of the kernel with.
    #[cfg(test)]
    pub(crate) fn of_any_length(header: FrameHeader, packet: Bytes) -> Self {
        Self { header: header.encode(), packet }
    }

    /// The parts of the frame, in the order of the wire.
    pub(crate) fn parts(&self) -> [&[u8]; 2] {
        [&self.header, &self.packet]
    }

    /// The length on the wire.
    pub(crate) fn wire_len(&self) -> usize {
        self.header.len() + self.packet.len()
    }
}

#[cfg(test)]
mod tests {
    use wire::{
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
                    assert_eq!(OutgoingFrame::new(header, packet(wrong)), Err(Rule::WrongLength));
                }
            }
        }
    }
}
