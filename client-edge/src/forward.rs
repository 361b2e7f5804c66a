//! A client's binary frame, and the packet for the mixnet inside.
//!
//! *Trusts* nothing: the frame's tag is checked before anything is read. Whether the gateway may connect to the next hop is for
//! `mix-egress` to judge.

use bytes::Bytes;
use proto::{
    ipc::{Opaque, egress::SendPacket},
    wire::{
        client::{frame, key::CtrHmacKey, refusal::LegacyRefusal, request::ForwardRequest},
        framing::{FrameHeader, Framing},
    },
};

/// Opens the frame of a client of the 2021 protocol. Its packets leave with the header of that time.
///
/// # Errors
/// What the client is to be told.
pub(crate) fn open(key: &CtrHmacKey, frame: Bytes) -> Result<SendPacket, LegacyRefusal> {
    let request = ForwardRequest::parse(frame::open(key, frame)?)?;
    Ok(SendPacket {
        next_hop: request.next_hop,
        header: FrameHeader { framing: Framing::Unversioned(request.packet_type), size: request.size },
        packet: Opaque(request.packet),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proto::wire::packet::{PacketSize, PacketType};

    use super::*;

    fn key() -> CtrHmacKey {
        CtrHmacKey::from_bytes([5; 32])
    }

    #[test]
    fn a_packet_leaves_with_the_header_of_2021_and_its_own_type() {
        for (packet_type, header) in [(PacketType::Mix, [2, 0]), (PacketType::Vpn, [2, 1])] {
            let request = ForwardRequest {
                packet_type,
                next_hop: "10.0.0.1:1789".parse().unwrap(),
                size: PacketSize::Ack,
                packet: vec![9; 386].into(),
            };
            let packet = open(&key(), frame::seal(&key(), &request.encode())).unwrap();
            assert_eq!(packet.header.encode()[..], header);
            assert_eq!((packet.next_hop, packet.packet.0), (request.next_hop, request.packet));
        }
    }

    #[test]
    fn a_sealed_empty_frame_is_refused_like_any_other() {
        assert_eq!(open(&key(), frame::seal(&key(), &[])), Err(LegacyRefusal::PacketMode));
    }

    proptest! {
        #[test]
        fn no_frame_and_no_plaintext_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = open(&key(), frame::seal(&key(), &bytes));
            prop_assert!(open(&key(), bytes.into()).is_err());
        }
    }
}
