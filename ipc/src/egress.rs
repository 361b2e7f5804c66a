//! Links `mix-ingress` → `mix-egress` (SURB-acks) and `client-edge` → `mix-egress` (clients' packets): one way.
//!
//! *mix-egress trusts its peers* for nothing: it checks every next hop against its own policy. What they say of packets that were lost
//! stands in a counter, and decides nothing. *The peers trust mix-egress* for nothing either: the mixnet is lossy by design, and the
//! maker of a lost packet sends it again. Therefore the sender never waits; a packet that does not fit is dropped and counted.

use std::net::SocketAddr;

use bincode::{Decode, Encode};
use wire::framing::FrameHeader;

use crate::Opaque;

/// A message to `mix-egress`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ToEgress {
    /// The first message on each link, and no later one.
    BeginLink {
        /// The packets that the sender and its predecessors have sent over earlier links. Those of them that were not taken are lost.
        sent_before: u64,
    },
    /// A packet.
    SendPacket(SendPacket),
}

/// Send this Sphinx packet to that mix node.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SendPacket {
    /// The mix node.
    pub next_hop: SocketAddr,
    /// The frame header to put in front.
    #[bincode(with_serde)]
    pub header: FrameHeader,
    /// The Sphinx packet. Its length is that of the size in the header.
    pub packet: Opaque,
}

/// What a peer can do that is against the rules of these links. The text is what the log says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rule {
    /// `mix-egress` says something.
    #[error("an answer on a link that has none")]
    Spoke,
    /// A sender sends a packet of another length than its header says.
    #[error("a packet to be sent is as long as its frame header says")]
    WrongLength,
    /// A sender begins a link twice, or sends before it begins.
    #[error("a link begins once, and before its first packet")]
    Beginning,
}

impl SendPacket {
    /// Bytes of memory that the message takes while it waits.
    pub fn cost(&self) -> usize {
        self.packet.0.len().saturating_add(size_of::<Self>())
    }
}

#[cfg(test)]
mod tests {
    use wire::{
        framing::Framing,
        packet::{KeyRotation, PacketSize, PacketType},
    };

    use super::*;
    use crate::codec::{decode_one, encode_one, golden::pin};

    #[test]
    fn bytes_are_pinned() {
        let packet = |next_hop: &str, framing| {
            ToEgress::SendPacket(SendPacket {
                next_hop: next_hop.parse().unwrap(),
                header: FrameHeader { framing, size: PacketSize::Ack },
                packet: Opaque(vec![1, 2].into()),
            })
        };
        pin(ToEgress::BeginLink { sent_before: 1_000 }, "00fbe803");
        pin(packet("127.0.0.1:1789", Framing::Unversioned(PacketType::Vpn)), "01007f000001fbfd06000100020102");
        pin(
            packet("[::1]:1789", Framing::V8(KeyRotation::Even)),
            &format!("0101{}01fbfd06020200020102", "00".repeat(15)),
        );
    }

    #[test]
    fn a_packet_costs_its_bytes_and_those_around_it() {
        let header = FrameHeader { framing: Framing::V7, size: PacketSize::Regular };
        let packet = SendPacket { next_hop: "[::1]:1".parse().unwrap(), header, packet: Opaque(vec![3; 2_413].into()) };
        assert_eq!(packet.cost(), 2_413 + size_of::<SendPacket>());
    }

    #[test]
    fn every_header_travels() {
        let framings = [PacketType::Mix, PacketType::Vpn].map(Framing::Unversioned).into_iter().chain([Framing::V7]);
        let rotations = [KeyRotation::Unknown, KeyRotation::Odd, KeyRotation::Even].map(Framing::V8);
        for framing in framings.chain(rotations) {
            for size in PacketSize::ALL {
                let header = FrameHeader { framing, size };
                let sent = SendPacket { next_hop: "[::1]:1".parse().unwrap(), header, packet: Opaque(vec![3].into()) };
                assert_eq!(decode_one(&encode_one(&sent).unwrap()), Ok(sent));
            }
        }
    }
}
