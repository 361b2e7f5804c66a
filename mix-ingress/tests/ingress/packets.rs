//! Packets to send, and the deliveries that must follow.

use std::{net::SocketAddr, sync::LazyLock};

use bytes::Bytes;
use ipc::{Opaque, egress::SendPacket};
use serde_json::Value;
use sphinx_packet::{
    SphinxPacketBuilder,
    header::delays::Delay,
    route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes},
};
use wire::{
    address::ClientAddress,
    framing::{FrameHeader, Framing},
    packet::PacketSize,
    routing,
};
use x25519_dalek::StaticSecret;

/// A packet and its content.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) size: PacketSize,
    pub(crate) packet: Vec<u8>,
    pub(crate) destination: ClientAddress,
    pub(crate) message: Bytes,
    pub(crate) ack: Option<(SocketAddr, Bytes)>,
}

static VECTORS: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../wire/vectors/final_hop.json")).unwrap());

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

/// The Sphinx private key to which all samples are addressed.
pub(crate) fn secret() -> [u8; 32] {
    bytes(&VECTORS["gateway_sphinx"]["secret"]).try_into().unwrap()
}

/// Packets recorded from real software, all of which must be delivered: every size, next hops of both kinds.
pub(crate) fn recorded() -> Vec<Sample> {
    let cases = VECTORS["cases"].as_array().unwrap();
    let good = cases.iter().filter(|case| case["expected"]["ok"] == true);
    let samples: Vec<Sample> = good
        .map(|case| {
            let packet = bytes(&case["packet"]);
            let expected = &case["expected"];
            let next_hop = expected["forward_ack_next_hop"].as_str();
            Sample {
                size: PacketSize::from_packet_len(packet.len()).unwrap(),
                packet,
                destination: ClientAddress(bytes(&expected["destination"]).try_into().unwrap()),
                message: bytes(&expected["message"]).into(),
                ack: next_hop.map(|hop| (hop.parse().unwrap(), bytes(&expected["forward_ack_packet"]).into())),
            }
        })
        .collect();
    assert_eq!(samples.len(), 9);
    samples
}

/// Packets recorded from real software that must not be delivered: four with no address where the SURB-ack's should be,
/// and a short one.
pub(crate) fn recorded_without_surb_ack() -> Vec<Sample> {
    let cases = VECTORS["cases"].as_array().unwrap();
    let bad = cases.iter().filter(|case| case["expected"]["ok"] == false);
    let samples: Vec<Sample> = bad
        .map(|case| {
            let packet = bytes(&case["packet"]);
            Sample {
                size: PacketSize::from_packet_len(packet.len()).unwrap(),
                packet,
                destination: ClientAddress([0; 32]),
                message: Bytes::new(),
                ack: None,
            }
        })
        .collect();
    assert_eq!(samples.len(), 5);
    samples
}

/// A packet unlike any other: destination, message and SURB-ack carry `number`.
pub(crate) fn made(number: u32, size: PacketSize) -> Sample {
    let mark = number.to_be_bytes();
    let mut destination = [1; 32];
    destination[..4].copy_from_slice(&mark);
    let (ack, message) = if size == PacketSize::Ack {
        (None, [&mark[..], &[3; 17]].concat())
    } else {
        let next_hop: SocketAddr = "10.20.30.40:1789".parse().unwrap();
        let ack = [&mark[..], &[2; 382]].concat();
        let room = size.plaintext_len() - routing::IPV6_LEN - ack.len();
        (Some((next_hop, Bytes::from(ack))), [&mark[..], &vec![3; room - 4]].concat())
    };
    let head = ack.as_ref().map_or_else(Vec::new, |(next_hop, ack)| {
        [&routing::encode_padded::<{ routing::IPV6_LEN }>(*next_hop)[..], ack].concat()
    });
    let gateway = Node::new(NodeAddressBytes::from_bytes([0; 32]), (&StaticSecret::from(secret())).into());
    let packet = SphinxPacketBuilder::new()
        .with_payload_size(size.payload_len())
        .build_packet(
            [&head[..], &message].concat(),
            &[gateway],
            &Destination::new(DestinationAddressBytes::from_bytes(destination), [0; 16]),
            &[Delay::new_from_nanos(0)],
        )
        .unwrap()
        .to_bytes();
    Sample { size, packet, destination: ClientAddress(destination), message: message.into(), ack }
}

impl Sample {
    /// The frame that carries the packet.
    pub(crate) fn frame(&self, framing: Framing) -> Vec<u8> {
        [&FrameHeader { framing, size: self.size }.encode()[..], &self.packet].concat()
    }

    /// What `mix-egress` must be asked when the packet came in that frame and its message is safe.
    pub(crate) fn paid(&self, framing: Framing) -> SendPacket {
        let (next_hop, packet) = self.ack.clone().unwrap();
        let header = FrameHeader { framing, size: PacketSize::Ack };
        SendPacket { next_hop, header, packet: Opaque(packet) }
    }
}
