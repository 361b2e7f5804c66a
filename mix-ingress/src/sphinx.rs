//! The last layer of a Sphinx packet, taken off.
//!
//! In two steps, so that the caller can refuse a replay before it costs a decryption of the payload:
//! [`open_header`] proves that the packet was made for our key and yields its replay tag;
//! [`CheckedHeader::unwrap_payload`] yields destination and plaintext. Together they cost one X25519 and one LIONESS
//! over the payload, unless the packet has another version than its frame suggests. Nothing outside this module knows the
//! library behind it.
//!
//! *Trusts* nothing about a packet. *Holds* the gateway's Sphinx private key. *Promises*: no packet panics, keys are
//! wiped from the memory this module owns, and each way a packet can fail has its own [`UnwrapError`].

use bytes::Bytes;
use proto::{
    address::ClientAddress,
    wire::{
        framing::Framing,
        packet::{HEADER_LEN, PacketSize},
    },
};
use sphinx_packet::{
    ProcessedPacketData, SphinxPacket,
    header::{SphinxHeader, shared_secret::ExpandedSharedSecret},
    payload::{
        Payload,
        key::{PayloadKey, derive_payload_key},
    },
    version::Version,
};
use x25519_dalek::StaticSecret;
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// Versions whose packets are encrypted with the full payload key; in all others its first 16 bytes are a seed.
///
/// A version is the last two of three bytes that first were a semantic version: 256 is 0.1.0, which the whole network
/// of 2021 speaks, 257 is 0.1.1, 512 is 0.2.0, which was never released; then 258 was simply the next number. 1 is what
/// newer libraries took 0.1.0 for.
const FULL_PAYLOAD_KEY_VERSIONS: [u16; 5] = [1, 256, 257, 258, 512];

/// Zero bytes in front of every plaintext: proof that the payload key was right and the payload is intact.
const LEADING_ZEROS: usize = 16;

/// The byte behind the plaintext. Everything after it is padding.
const END_OF_PLAINTEXT: u8 = 1;

/// The shortest payload that the library decrypts.
const SHORTEST_PAYLOAD: usize = 33;

/// The gateway's Sphinx private key. It cannot be printed, copied or read back, and is wiped when dropped.
#[derive(ZeroizeOnDrop)]
pub struct SphinxKey(StaticSecret);

impl SphinxKey {
    /// The X25519 private key with these bytes. They are clamped when used, as in every era.
    pub fn new(secret: Zeroizing<[u8; 32]>) -> Self {
        Self(StaticSecret::from(*secret))
    }

    /// The public key, as the network knows it.
    pub fn public(&self) -> [u8; 32] {
        x25519_dalek::PublicKey::from(&self.0).to_bytes()
    }
}

/// Identifies a packet, however it is altered on the way: two packets with one tag are a replay.
///
/// Derived from the secret that the packet shares with our key, so it tells an outsider nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplayTag(pub [u8; 32]);

/// Why a packet has no destination here. Packets that fail are dropped; nobody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// No Sphinx packet has this many bytes.
    #[error("a packet of {0} bytes is no Sphinx packet")]
    WrongLength(usize),
    /// The header was not made for our key, or was altered.
    #[error("the packet's header does not fit this gateway's Sphinx key")]
    BadMac,
    /// The header is authentic but says neither "forward" nor "deliver".
    #[error("the packet's header holds an unknown routing flag")]
    UnknownFlag,
    /// The packet is for another node behind us. A gateway is the last hop, not a mix node.
    #[error("the packet wants to be forwarded to another mix node")]
    ForwardHop,
    /// The decrypted payload does not begin with zeros or has no end: it was altered, or made for another version.
    #[error("the packet's payload does not decrypt to a padded plaintext")]
    BadPadding,
}

/// A packet whose header was made for our key. Its payload is still encrypted.
pub struct CheckedHeader {
    header: SphinxHeader,
    secret: ExpandedSharedSecret,
    payload: Bytes,
}

/// How old the sender's software is, as far as the frame around a packet suggests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SenderAge {
    /// It writes Sphinx version 256, like everybody in 2021.
    Of2021,
    /// It writes a version that the library knows.
    Later,
}

impl From<Framing> for SenderAge {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::Unversioned(_) => Self::Of2021,
            Framing::V7 | Framing::V8(_) => Self::Later,
        }
    }
}

/// What the last layer hid.
#[derive(Clone, PartialEq, Eq)]
pub struct FinalHop {
    /// Whose inbox it is for.
    pub destination: ClientAddress,
    /// SURB-ack and message, without padding.
    pub plaintext: Bytes,
}

/// Checks that `packet` is a whole Sphinx packet with an authentic header.
///
/// This is the expensive step: one X25519.
///
/// # Errors
///
/// [`UnwrapError::WrongLength`] or [`UnwrapError::BadMac`].
pub fn open_header(key: &SphinxKey, packet: Bytes) -> Result<CheckedHeader, UnwrapError> {
    let wrong_length = UnwrapError::WrongLength(packet.len());
    PacketSize::from_packet_len(packet.len()).ok_or(wrong_length)?;
    let mut payload = packet;
    let header = payload.split_to(HEADER_LEN);
    let header = SphinxHeader::from_bytes(&header).map_err(|_| wrong_length)?;
    let secret = header.compute_expanded_shared_secret(&key.0);
    header.ensure_header_integrity(&secret).map_err(|_| UnwrapError::BadMac)?;
    Ok(CheckedHeader { header, secret, payload })
}

impl CheckedHeader {
    /// What to look up, and remember, before the payload is worth decrypting.
    pub fn replay_tag(&self) -> ReplayTag {
        ReplayTag(*self.secret.replay_tag())
    }

    /// Reads the destination and decrypts the payload. Copies the payload once. A wrong guess at the sender's age costs a
    /// decryption, and changes nothing else.
    ///
    /// # Errors
    ///
    /// [`UnwrapError::UnknownFlag`], [`UnwrapError::ForwardHop`] or [`UnwrapError::BadPadding`].
    pub fn unwrap_payload(self, probably: SenderAge) -> Result<FinalHop, UnwrapError> {
        // The library shows the destination and the version only of a packet whose payload it decrypted, and picks the
        // wrong payload key for version 256. Where that is to be expected it gets the shortest payload there is.
        let real = match probably {
            SenderAge::Of2021 => None,
            SenderAge::Later => Some(&self.payload),
        };
        let processed = Payload::from_bytes(real.map_or(&[0; SHORTEST_PAYLOAD], |payload| payload))
            .and_then(|payload| {
                SphinxPacket { header: self.header, payload }.process_with_expanded_secret(&self.secret)
            })
            .map_err(|_| UnwrapError::UnknownFlag)?;
        let ProcessedPacketData::FinalHop { destination, payload, .. } = processed.data else {
            return Err(UnwrapError::ForwardHop);
        };
        let version = processed.version;
        let payload = if real.is_some() && wants_full_key(version) == version.expects_legacy_full_payload_keys() {
            payload
        } else {
            let key = payload_key(version, &self.secret);
            Payload::from_bytes(&self.payload)
                .and_then(|payload| payload.unwrap::<&PayloadKey>(&key))
                .map_err(|_| UnwrapError::BadPadding)?
        };
        Ok(FinalHop {
            destination: ClientAddress(destination.as_bytes()),
            plaintext: without_padding(payload.into_bytes()).ok_or(UnwrapError::BadPadding)?,
        })
    }
}

fn wants_full_key(version: Version) -> bool {
    FULL_PAYLOAD_KEY_VERSIONS.contains(&version.value())
}

fn payload_key(version: Version, secret: &ExpandedSharedSecret) -> Zeroizing<PayloadKey> {
    Zeroizing::new(if wants_full_key(version) {
        *secret.legacy_payload_key()
    } else {
        derive_payload_key(secret.payload_key_seed())
    })
}

/// The end is the last byte that equals 1, and what follows it is not checked, as in every real node.
fn without_padding(payload: Vec<u8>) -> Option<Bytes> {
    let (zeros, rest) = payload.split_at_checked(LEADING_ZEROS)?;
    if zeros.iter().any(|byte| *byte != 0) {
        return None;
    }
    let len = rest.iter().rposition(|byte| *byte == END_OF_PLAINTEXT)?;
    Some(Bytes::from(payload).slice(LEADING_ZEROS..LEADING_ZEROS + len))
}

#[cfg(test)]
mod tests;
