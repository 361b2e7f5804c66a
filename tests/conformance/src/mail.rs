//! Messages as clients send them to each other, made and opened by the published Sphinx crates.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use nym_crypto::{
    asymmetric::{ed25519, x25519},
    rng::os_rng,
};
use nym_sphinx::{
    acknowledgements::{AckKey, identifier::recover_identifier, surb_ack::SurbAck},
    addressing::clients::Recipient,
    anonymous_replies::{ReplySurbWithKeyRotation, encryption_key::SurbEncryptionKey},
    chunking::fragment::{COVER_FRAG_ID, FragmentIdentifier},
    forwarding::packet::MixPacket,
    message::NymMessage,
    params::{PacketSize, PacketType, SphinxKeyRotation},
    preparer::{MessagePreparer, PreparedFragment},
    receiver::{MessageReceiver, SphinxMessageReceiver},
};
use nym_topology::{CachedEpochRewardedSet, NymRouteProvider, NymTopology, NymTopologyMetadata, RoutingNode};

/// No rotation of Sphinx keys: packets say that theirs is unknown.
pub const NO_ROTATION: u32 = u32::MAX;

/// A route of one hop has no mix node that delays.
const NO_DELAY: Duration = Duration::from_millis(1);

/// The sizes of packets that carry messages.
pub const MESSAGE_SIZES: [PacketSize; 4] = [
    PacketSize::RegularPacket,
    PacketSize::ExtendedPacket8,
    PacketSize::ExtendedPacket16,
    PacketSize::ExtendedPacket32,
];

/// A message in its packets, and what the SURB-ack of each will say.
#[derive(Debug)]
pub struct PreparedMessage {
    /// In the order in which they are to be sent.
    pub packets: Vec<MixPacket>,
    /// In the same order.
    pub acks: Vec<FragmentIdentifier>,
}

impl From<Vec<PreparedFragment>> for PreparedMessage {
    fn from(prepared: Vec<PreparedFragment>) -> Self {
        let (acks, packets) = prepared.into_iter().map(|one| (one.fragment_identifier, one.mix_packet)).unzip();
        Self { packets, acks }
    }
}

/// An end of a conversation: its address, the keys of its messages, and the network as it knows it.
pub struct Correspondent {
    /// Where messages for it go.
    pub address: Recipient,
    encryption: x25519::KeyPair,
    ack_key: AckKey,
    gateway: RoutingNode,
}

impl Correspondent {
    /// The client with this identity, at this gateway, with new keys.
    pub fn new(identity: &ed25519::PublicKey, gateway: RoutingNode) -> Self {
        let encryption = x25519::KeyPair::new(&mut os_rng());
        let address = Recipient::new(*identity, *encryption.public_key(), gateway.identity_key);
        Self { address, encryption, ack_key: AckKey::new(&mut os_rng()), gateway }
    }

    /// The network of one gateway.
    fn network(&self, rotation: u32) -> NymRouteProvider {
        let metadata = NymTopologyMetadata::new(rotation, 1, SystemTime::now());
        NymTopology::new(metadata, CachedEpochRewardedSet::default(), vec![self.gateway.clone()]).into()
    }

    fn preparer(&self) -> MessagePreparer<nym_crypto::rng::OsRng> {
        let without_mix_nodes = true;
        MessagePreparer::new(os_rng(), false, self.address, NO_DELAY, NO_DELAY, without_mix_nodes)
    }

    /// A message in packets of this size, while this rotation of Sphinx keys is on.
    ///
    /// # Errors
    /// If the published code refuses, or makes packets of another size.
    pub fn prepare(
        &self,
        to: &Recipient,
        message: NymMessage,
        size: PacketSize,
        rotation: u32,
    ) -> Result<PreparedMessage> {
        let network = self.network(rotation);
        let mut preparer = self.preparer();
        let prepared: Result<Vec<_>, _> = preparer
            .pad_and_split_message(message, size)
            .into_iter()
            .map(|part| preparer.prepare_chunk_for_sending(part, &network, &self.ack_key, to, PacketType::Mix))
            .collect();
        let prepared = PreparedMessage::from(prepared?);
        ensure!(
            prepared.packets.iter().all(|packet| packet.packet().len() == size.size()),
            "the published code made packets of another size than {size:?}"
        );
        Ok(prepared)
    }

    /// Reply-SURBs for others: with one, somebody can answer without knowing an address.
    ///
    /// # Errors
    /// If the published code refuses.
    pub fn reply_surbs(&self, count: usize) -> Result<Vec<ReplySurbWithKeyRotation>> {
        Ok(self.preparer().generate_reply_surbs(count, &self.network(NO_ROTATION))?)
    }

    /// An answer of one regular packet, sent with somebody's reply-SURB.
    ///
    /// # Errors
    /// If the published code refuses, or needs more than one packet.
    pub fn reply(&self, surb: ReplySurbWithKeyRotation, message: NymMessage) -> Result<PreparedMessage> {
        let network = self.network(NO_ROTATION);
        let mut preparer = self.preparer();
        let mut parts = preparer.pad_and_split_message(message, PacketSize::RegularPacket);
        let part = parts.pop().context("the published code made nothing of the message")?;
        ensure!(parts.is_empty(), "the message needs more than one packet");
        let prepared =
            preparer.prepare_reply_chunk_for_sending(part, &network, &self.ack_key, surb, PacketType::Mix)?;
        Ok(vec![prepared].into())
    }

    /// A SURB-ack, sent as a packet of its own. It is of the smallest size, and comes back as an acknowledgement.
    ///
    /// # Errors
    /// If the published code refuses.
    pub fn bare_ack(&self) -> Result<PreparedMessage> {
        let network = self.network(NO_ROTATION);
        let ack = self.preparer().generate_surb_ack(COVER_FRAG_ID, &network, &self.ack_key, PacketType::Mix)?;
        let (_, bytes) = ack.prepare_for_sending()?;
        let (next_hop, packet) = SurbAck::try_recover_first_hop_packet(&bytes, PacketType::Mix)?;
        let packet = MixPacket::new(next_hop, packet, PacketType::Mix, SphinxKeyRotation::Unknown);
        Ok(PreparedMessage { packets: vec![packet], acks: vec![COVER_FRAG_ID] })
    }

    /// Opens what the gateway pushed: a part of a message. Gives the message if that part was its last.
    ///
    /// # Errors
    /// If it is not what somebody sealed for this correspondent.
    pub fn open(&self, parts: &mut SphinxMessageReceiver, mut pushed: Vec<u8>) -> Result<Option<NymMessage>> {
        let part = parts.recover_plaintext_from_regular_packet(self.encryption.private_key(), &mut pushed)?;
        let part = parts.recover_fragment(part)?;
        Ok(parts.insert_new_fragment(part)?.map(|(message, _)| message))
    }

    /// Opens an answer that was sent with a reply-SURB of this key.
    ///
    /// # Errors
    /// If it was not.
    pub fn open_reply(&self, key: SurbEncryptionKey, pushed: &[u8]) -> Result<NymMessage> {
        let digest = key.compute_digest();
        let sealed = pushed.strip_prefix(&digest[..]).context("the reply is for another reply-SURB")?;
        let mut part = sealed.to_vec();
        let mut parts = SphinxMessageReceiver::default();
        parts.recover_plaintext_from_reply(&mut part, key)?;
        let part = parts.recover_fragment(&part)?;
        Ok(parts.insert_new_fragment(part)?.context("the reply is not complete")?.0)
    }

    /// Opens an acknowledgement.
    ///
    /// # Errors
    /// If it is none of this correspondent's.
    pub fn open_ack(&self, pushed: &[u8]) -> Result<FragmentIdentifier> {
        let identifier = recover_identifier(&self.ack_key, pushed).context("an acknowledgement is too short")?;
        Ok(FragmentIdentifier::try_from_bytes(identifier)?)
    }
}
