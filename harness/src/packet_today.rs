//! Final-hop packets as senders since 2022 make them, through a route of one hop: the gateway.
//!
//! Made with the Sphinx library of today (0.8), which writes every wire version from 257 on. They carry what those of 2021
//! carry, in two more sizes.

use anyhow::{Result, anyhow};
use sphinx_packet::{
    SphinxPacketBuilder,
    header::delays::Delay,
    route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes},
    version::Version,
};
use wire::{address::ClientAddress, packet::PacketSize};
use x25519_dalek::PublicKey;

use crate::packet::{FinalHopPacket, PacketMaker, unique_for};

/// Sizes that exist today.
pub const SIZES_TODAY: [PacketSize; 5] =
    [PacketSize::Ack, PacketSize::Regular, PacketSize::Extended8, PacketSize::Extended16, PacketSize::Extended32];

/// Wire versions of Sphinx, as they are written into the header.
pub const SPHINX_VERSIONS: [u16; 4] = [257, 258, 259, 260];

/// A sender since 2022.
#[derive(Debug, Clone, Copy)]
pub struct PacketMakerToday {
    route: PacketMaker,
    version: u16,
}

impl PacketMakerToday {
    /// Makes what this sender of 2021 makes, in this wire version, one of [`SPHINX_VERSIONS`].
    pub fn like(route: PacketMaker, version: u16) -> Self {
        Self { route, version }
    }

    /// A packet of the given size, filled to the last byte.
    ///
    /// # Errors
    /// If the Sphinx library refuses.
    pub fn make(&self, to: ClientAddress, size: PacketSize) -> Result<FinalHopPacket> {
        self.route.make_wrapped(to, size, unique_for(size), |size, hop_key, destination, plaintext| {
            self.wrap(size, hop_key, destination, plaintext)
        })
    }

    fn wrap(&self, size: PacketSize, hop_key: [u8; 32], destination: [u8; 32], plaintext: &[u8]) -> Result<Vec<u8>> {
        let hop = Node::new(NodeAddressBytes::from_bytes([0; 32]), PublicKey::from(hop_key));
        let destination = Destination::new(DestinationAddressBytes::from_bytes(destination), [0; 16]);
        let packet = SphinxPacketBuilder::new()
            .with_version(Version::new(self.version))
            .with_payload_size(size.payload_len())
            .build_packet(plaintext, &[hop], &destination, &[Delay::new_from_nanos(0)])
            .map_err(|error| anyhow!("the Sphinx library refused to make a packet: {error:?}"))?;
        Ok(packet.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use sphinx_packet::{ProcessedPacketData, SphinxPacket};
    use wire::surb_ack;
    use x25519_dalek::StaticSecret;

    use super::*;

    /// The versions are those of today, too.
    #[test]
    fn packets_have_todays_sizes_and_open_to_what_was_put_in() {
        let secret = StaticSecret::from([7; 32]);
        let public = PublicKey::from(&secret).to_bytes();
        let ack_hop = "[::1]:1789".parse().unwrap();
        let open = |packet: &[u8]| {
            let processed = SphinxPacket::from_bytes(packet).unwrap().process(&secret).unwrap();
            let ProcessedPacketData::FinalHop { payload, .. } = processed.data else { panic!("not the final hop") };
            payload.recover_plaintext().unwrap()
        };
        for version in SPHINX_VERSIONS {
            let maker = PacketMakerToday::like(PacketMaker { gateway: public, ack_hop, ack_key: public }, version);
            for (size, packet_len, message_len) in SIZES_TODAY
                .into_iter()
                .zip([386, 2413, 8557, 16749, 33133])
                .zip([21, 1643, 7787, 15979, 32363])
                .map(|((size, packet_len), message_len)| (size, packet_len, message_len))
            {
                let made = maker.make(ClientAddress([7; 32]), size).unwrap();
                assert_eq!((made.packet.len(), made.message.len()), (packet_len, message_len));
                let content = surb_ack::split(size, open(&made.packet).into()).unwrap();
                assert_eq!(content.message, made.message);
                assert_eq!(content.surb_ack.is_some(), made.surb_ack.is_some());
                if let (Some(found), Some(put_in)) = (content.surb_ack, made.surb_ack) {
                    assert_eq!((found.next_hop, &found.packet[..]), (ack_hop, &put_in.packet[..]));
                    assert_eq!(open(&found.packet), put_in.id);
                }
            }
        }
    }
}
