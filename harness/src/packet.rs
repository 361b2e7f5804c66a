//! Final-hop packets as a sender of 2021 makes them, through a route of one hop: the gateway.
//!
//! Made and opened with the Sphinx library of 2021 (0.1.0, wire version 256). Every message is unlike every other, and so is
//! every SURB-ack, whose 21 bytes of plaintext say which packet it belongs to.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Result, anyhow, bail};
use sphinx_01::{
    ProcessedPacket, SphinxPacket, SphinxPacketBuilder,
    crypto::{PrivateKey, PublicKey},
    header::delays::Delay,
    route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes},
};
use tokio::task::spawn_blocking;
use wire::{address::ClientAddress, packet::PacketSize, routing, surb_ack};

/// Sizes that existed in 2021.
pub const SIZES_2021: [PacketSize; 3] = [PacketSize::Ack, PacketSize::Regular, PacketSize::Extended32];

/// A sender's mark in a SURB-ack.
pub type AckId = [u8; PacketSize::Ack.plaintext_len()];

/// A packet ready to be sent to the gateway, with what must come of it.
#[derive(Debug, Clone)]
pub struct FinalHopPacket {
    /// Whose mail it is.
    pub to: ClientAddress,
    /// Its size.
    pub size: PacketSize,
    /// The Sphinx packet.
    pub packet: Vec<u8>,
    /// What the client must be given.
    pub message: Vec<u8>,
    /// What the mix node must be sent; a packet that is an acknowledgement itself carries none.
    pub surb_ack: Option<SurbAck>,
}

/// The SURB-ack in a packet.
#[derive(Debug, Clone)]
pub struct SurbAck {
    /// The Sphinx packet, 386 bytes.
    pub packet: Vec<u8>,
    /// What the mix node finds in it.
    pub id: AckId,
}

/// A sender: it knows the gateway's Sphinx key, and the mix node where its SURB-ack begins and ends.
#[derive(Debug, Clone, Copy)]
pub struct PacketMaker {
    /// The gateway's public Sphinx key.
    pub gateway: [u8; 32],
    /// Where SURB-acks go.
    pub ack_hop: SocketAddr,
    /// The public Sphinx key there.
    pub ack_key: [u8; 32],
}

impl PacketMaker {
    /// A packet of the given size, filled to the last byte.
    ///
    /// # Errors
    /// If the Sphinx library refuses.
    pub fn make(&self, to: ClientAddress, size: PacketSize) -> Result<FinalHopPacket> {
        self.make_with(to, size, unique_for(size))
    }

    /// `count` regular packets.
    ///
    /// # Errors
    /// If the Sphinx library refuses.
    pub fn make_many(&self, to: ClientAddress, count: usize) -> Result<Vec<FinalHopPacket>> {
        (0..count).map(|_| self.make(to, PacketSize::Regular)).collect()
    }

    /// As [`make_many`](Self::make_many), on all cores.
    ///
    /// # Errors
    /// If the Sphinx library refuses.
    pub async fn make_in_parallel(self, to: ClientAddress, count: usize) -> Result<Vec<FinalHopPacket>> {
        self.make_in_parallel_of(PacketSize::Regular, to, count).await
    }

    /// `count` packets of this size, made on two cores.
    ///
    /// # Errors
    /// If the Sphinx library refuses.
    pub async fn make_in_parallel_of(
        self,
        size: PacketSize,
        to: ClientAddress,
        count: usize,
    ) -> Result<Vec<FinalHopPacket>> {
        let half = count / 2;
        let make = move |share| (0..share).map(|_| self.make(to, size)).collect::<Result<Vec<_>>>();
        let shares = [half, count - half].map(|share| spawn_blocking(move || make(share)));
        let mut packets = Vec::with_capacity(count);
        for share in shares {
            packets.extend(share.await??);
        }
        Ok(packets)
    }

    /// A packet with a message of the test's own.
    ///
    /// # Errors
    /// If the message does not fit.
    pub fn make_with(&self, to: ClientAddress, size: PacketSize, message: Vec<u8>) -> Result<FinalHopPacket> {
        self.make_wrapped(to, size, message, wrap)
    }

    /// A packet whose own headers, and those of its SURB-ack, are made by `wrap`: as [`wrap`] does, or for another wire version.
    ///
    /// # Errors
    /// If `wrap` refuses.
    pub fn make_wrapped(
        &self,
        to: ClientAddress,
        size: PacketSize,
        message: Vec<u8>,
        wrap: impl Fn(PacketSize, [u8; 32], [u8; 32], &[u8]) -> Result<Vec<u8>>,
    ) -> Result<FinalHopPacket> {
        let surb_ack = match size {
            PacketSize::Ack => None,
            _ => {
                let id = ack_id();
                Some(SurbAck { packet: wrap(PacketSize::Ack, self.ack_key, [0; 32], &id)?, id })
            }
        };
        let mut plaintext = Vec::with_capacity(size.plaintext_len());
        if let Some(ack) = &surb_ack {
            plaintext.extend_from_slice(&routing::encode_padded::<{ routing::IPV6_LEN }>(self.ack_hop));
            plaintext.extend_from_slice(&ack.packet);
        }
        plaintext.extend_from_slice(&message);
        let packet = wrap(size, self.gateway, *to.as_bytes(), &plaintext)?;
        Ok(FinalHopPacket { to, size, packet, message, surb_ack })
    }
}

/// A mark that no other SURB-ack has: a number, then random bytes.
fn ack_id() -> AckId {
    let mut id: AckId = rand::random();
    for (to, from) in id.iter_mut().zip(next_number().to_be_bytes()) {
        *to = from;
    }
    id
}

/// Wraps `plaintext` for one hop, which is the final one.
///
/// # Errors
/// If it does not fit.
pub fn wrap(size: PacketSize, hop_key: [u8; 32], destination: [u8; 32], plaintext: &[u8]) -> Result<Vec<u8>> {
    let hop = Node::new(NodeAddressBytes::from_bytes([0; 32]), PublicKey::from(hop_key));
    let destination = Destination::new(DestinationAddressBytes::from_bytes(destination), [0; 16]);
    let packet = SphinxPacketBuilder::new()
        .with_payload_size(size.payload_len())
        .build_packet(plaintext, &[hop], &destination, &[Delay::new_from_nanos(0)])
        .map_err(|error| anyhow!("the Sphinx library of 2021 refused to make a packet: {error:?}"))?;
    Ok(packet.to_bytes())
}

/// Opens a packet at its final hop.
///
/// # Errors
/// If it was not made for this key, or this is not its final hop.
pub fn unwrap_final_hop(packet: &[u8], secret: &PrivateKey) -> Result<Vec<u8>> {
    let refused = |error| anyhow!("the Sphinx library of 2021 refused to open a packet: {error:?}");
    match SphinxPacket::from_bytes(packet).and_then(|packet| packet.process(secret)).map_err(refused)? {
        ProcessedPacket::FinalHop(_, _, payload) => payload.recover_plaintext().map_err(refused),
        ProcessedPacket::ForwardHop(..) => bail!("a packet wants to go further than its final hop"),
    }
}

/// A unique message that fills a packet of this size to the last byte.
pub fn unique_for(size: PacketSize) -> Vec<u8> {
    let ack_len = if size == PacketSize::Ack { 0 } else { surb_ack::SURB_ACK_LEN };
    unique(size.plaintext_len() - ack_len)
}

/// A unique message of `len` bytes: a number, then random bytes, as far as they fit.
pub fn unique(len: usize) -> Vec<u8> {
    let mut message = next_number().to_be_bytes().to_vec();
    message.resize(len, 0);
    rand::fill(message.get_mut(size_of::<u64>()..).unwrap_or_default());
    message
}

/// Checks that exactly the messages of these packets came, each once and in order.
///
/// # Errors
/// If not; the text gives the numbers of the packets in the order in which their messages came, as runs.
pub fn expect_in_order(received: &[Vec<u8>], sent: &[FinalHopPacket]) -> Result<()> {
    if received.iter().eq(sent.iter().map(|packet| &packet.message)) {
        return Ok(());
    }
    let mut runs: Vec<(Option<usize>, usize)> = Vec::new();
    for message in received {
        let number = sent.iter().position(|packet| packet.message == *message);
        match runs.last_mut() {
            Some((Some(first), len)) if number == Some(*first + *len) => *len += 1,
            _ => runs.push((number, 1)),
        }
    }
    let runs: Vec<String> = runs
        .into_iter()
        .map(|(first, len)| match first {
            Some(first) if len > 1 => format!("{first} to {}", first + len - 1),
            Some(first) => first.to_string(),
            None => "one that was not sent".to_owned(),
        })
        .collect();
    bail!("of {} packets in order came: {}", sent.len(), runs.join(", "))
}

fn next_number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_have_the_sizes_of_2021_and_open_to_what_was_put_in() {
        let secret = PrivateKey::new();
        let public = *PublicKey::from(&secret).as_bytes();
        let ack_hop = "[::1]:1789".parse().unwrap();
        let maker = PacketMaker { gateway: public, ack_hop, ack_key: public };
        for (size, packet_len, message_len) in
            [(PacketSize::Ack, 386, 21), (PacketSize::Regular, 2413, 1643), (PacketSize::Extended32, 33133, 32363)]
        {
            let made = maker.make(ClientAddress([7; 32]), size).unwrap();
            assert_eq!(made.packet.len(), packet_len);
            assert_eq!(made.message.len(), message_len);
            let plaintext = unwrap_final_hop(&made.packet, &secret).unwrap();
            let content = surb_ack::split(size, plaintext.into()).unwrap();
            assert_eq!(content.message, made.message);
            match (content.surb_ack, made.surb_ack) {
                (None, None) => assert_eq!(size, PacketSize::Ack),
                (Some(found), Some(put_in)) => {
                    assert_eq!(found.next_hop, ack_hop);
                    assert_eq!(found.packet, put_in.packet);
                    assert_eq!(unwrap_final_hop(&found.packet, &secret).unwrap(), put_in.id);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_out_of_order_is_named() {
        let maker = PacketMaker { gateway: [9; 32], ack_hop: "[::1]:1789".parse().unwrap(), ack_key: [9; 32] };
        let sent = maker.make_many(ClientAddress([7; 32]), 4).unwrap();
        let mut received: Vec<Vec<u8>> = sent.iter().map(|packet| packet.message.clone()).collect();
        expect_in_order(&received, &sent).unwrap();
        assert!(expect_in_order(&received[1..], &sent).is_err());
        received.rotate_left(1);
        received.push(vec![1]);
        let error = expect_in_order(&received, &sent).unwrap_err().to_string();
        assert_eq!(error, "of 4 packets in order came: 1 to 3, 0, one that was not sent");
    }

    #[test]
    fn no_two_messages_are_alike() {
        assert_ne!(unique(32), unique(32));
        assert_eq!(unique(0), [0; 0]);
        assert_eq!(unique(1643).len(), 1643);
    }
}
