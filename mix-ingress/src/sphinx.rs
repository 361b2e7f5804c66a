//! Takes the last layer off a Sphinx packet.
//!
//! There are two steps, so that the caller can refuse a replay before decrypting the payload:
//! [`open_header`] proves that the packet was made for our key and yields its replay tag;
//! [`CheckedHeader::unwrap_payload`] yields destination and plaintext. Together they cost one X25519 and one LIONESS
//! over the payload, whatever the packet's version, and nothing that only a mix node needs. The tests compare every outcome with that
//! of `sphinx-packet`, the library of the network.
//!
//! [`x25519`] computes the secret that a packet shares with us, [`secret`] the keys that follow from it; [`header`] and [`payload`]
//! use them as the packet's [`version`] says.
//!
//! *Trusts* nothing about a packet. *Holds* the gateway's Sphinx private key. *Promises*: no packet panics, keys are
//! wiped from the memory this module owns, and each way a packet can fail has its own [`UnwrapError`].

mod error;
mod header;
mod payload;
mod secret;
mod version;
mod x25519;

use bytes::Bytes;
use wire::{
    address::ClientAddress,
    packet::{HEADER_LEN, PacketSize},
};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use header::{Header, Routing};
use secret::SharedSecret;
use x25519::PrivateKey;

pub use error::UnwrapError;
pub use secret::ReplayTag;
pub use x25519::Implementation;

/// The gateway's Sphinx private key. It cannot be printed, copied or read back, and is wiped when dropped.
pub struct SphinxKey(PrivateKey);

/// The key inside wipes itself.
impl ZeroizeOnDrop for SphinxKey {}

impl SphinxKey {
    /// The X25519 private key with these bytes. They are clamped when used, as in every era.
    pub fn new(secret: Zeroizing<[u8; 32]>) -> Self {
        Self(PrivateKey::new(Implementation::fastest(), &secret))
    }

    /// The public key that the network knows.
    pub fn public(&self) -> [u8; 32] {
        self.0.public()
    }

    /// Which X25519 it is used with: the fastest that this processor can run.
    pub fn implementation(&self) -> Implementation {
        self.0.implementation()
    }
}

/// A packet whose header was made for our key. Its payload is still encrypted.
pub struct CheckedHeader {
    routing: Routing,
    secret: SharedSecret,
    payload: Bytes,
}

/// The content of the last layer.
#[derive(Clone, PartialEq, Eq)]
pub struct FinalHop {
    /// The client whose inbox it is for.
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
    let header = Header::parse(&header).ok_or(wrong_length)?;
    let secret = SharedSecret::expand(&key.0.agree(header.point));
    let routing = header.check(&secret)?;
    Ok(CheckedHeader { routing, secret, payload })
}

impl CheckedHeader {
    /// The tag to look up, and remember, before the payload is decrypted.
    pub fn replay_tag(&self) -> ReplayTag {
        self.secret.replay_tag()
    }

    /// Reads the destination and decrypts the payload. Copies the payload once.
    ///
    /// # Errors
    ///
    /// [`UnwrapError::UnknownFlag`], [`UnwrapError::ForwardHop`] or [`UnwrapError::BadPadding`].
    pub fn unwrap_payload(self) -> Result<FinalHop, UnwrapError> {
        let (destination, version) = self.routing.decrypt(&self.secret)?;
        let key = self.secret.payload_key(version);
        let plaintext = payload::open(&key, &self.payload).ok_or(UnwrapError::BadPadding)?;
        Ok(FinalHop { destination, plaintext })
    }
}

#[cfg(test)]
mod tests;
