//! A sender of authentic packets whose content is up to the caller.
//!
//! The fuzz target of final hops includes this file.

use hkdf::Hkdf;
use sha2::Sha256;
use sphinx_packet::{
    constants::{
        EXPANDED_SHARED_SECRET_HKDF_INFO, EXPANDED_SHARED_SECRET_HKDF_SALT, EXPANDED_SHARED_SECRET_LENGTH,
        HEADER_INTEGRITY_MAC_SIZE, PAYLOAD_KEY_SEED_SIZE, PAYLOAD_KEY_SIZE,
    },
    crypto::{STREAM_CIPHER_INIT_VECTOR, compute_keyed_hmac, generate_pseudorandom_bytes},
    payload::{Payload, key::derive_payload_key},
};
use wire::packet::HEADER_LEN;
use x25519_dalek::{PublicKey, StaticSecret};

/// Bytes of routing information.
const ROUTING_LEN: usize = HEADER_LEN - 32 - HEADER_INTEGRITY_MAC_SIZE;

/// The secrets that one sender shares with the gateway.
pub(crate) struct Sender {
    alpha: [u8; 32],
    keystream: Vec<u8>,
    mac_key: [u8; 16],
    payload_key: [u8; PAYLOAD_KEY_SIZE],
    /// The first two keys of the shared secret.
    pub(crate) header_keys: [u8; 32],
}

/// How a payload is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayloadKind {
    /// Not encrypted.
    Raw,
    /// With the full key of old versions.
    FullKey,
    /// With a key that is made of a seed.
    Seed,
}

impl Sender {
    /// Uses any point `alpha`. The gateway's secret gives the shared secret without the secret of `alpha`.
    pub(crate) fn new(gateway_secret: [u8; 32], alpha: [u8; 32]) -> Self {
        let shared = StaticSecret::from(gateway_secret).diffie_hellman(&PublicKey::from(alpha));
        let mut expanded = [0; EXPANDED_SHARED_SECRET_LENGTH];
        Hkdf::<Sha256>::new(Some(EXPANDED_SHARED_SECRET_HKDF_SALT), shared.as_bytes())
            .expand(EXPANDED_SHARED_SECRET_HKDF_INFO, &mut expanded)
            .unwrap();
        // In this order: the keys of stream cipher, MAC and payload, and what mix nodes need.
        let (cipher_key, rest) = expanded.split_first_chunk().unwrap();
        let (mac_key, rest) = rest.split_first_chunk().unwrap();
        Self {
            alpha,
            keystream: generate_pseudorandom_bytes(cipher_key, &STREAM_CIPHER_INIT_VECTOR, ROUTING_LEN),
            mac_key: *mac_key,
            payload_key: *rest.first_chunk().unwrap(),
            header_keys: *expanded.first_chunk().unwrap(),
        }
    }

    /// A packet with this routing information, zeros behind it, and this payload.
    pub(crate) fn packet(&self, routing: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut encrypted = self.keystream.clone();
        encrypted.iter_mut().zip(routing).for_each(|(to, from)| *to ^= from);
        let mac = compute_keyed_hmac::<Sha256>(&self.mac_key, &encrypted).unwrap().into_bytes();
        [&self.alpha, &mac[..HEADER_INTEGRITY_MAC_SIZE], &encrypted, payload].concat()
    }

    /// A payload of `len` bytes that decrypts to `content` and zeros after it, without padding.
    pub(crate) fn payload(&self, kind: PayloadKind, content: &[u8], len: usize) -> Vec<u8> {
        let content = &content[..content.len().min(len)];
        let block = [content, &vec![0; len - content.len()]].concat();
        if kind == PayloadKind::Raw {
            return block;
        }
        Payload::from_bytes(&block).unwrap().add_encryption_layer(self.key(kind)).unwrap().into_bytes()
    }

    /// A valid payload of `len` bytes.
    pub(crate) fn padded_payload(&self, kind: PayloadKind, plaintext: &[u8], len: usize) -> Vec<u8> {
        Payload::encapsulate_message(plaintext, &[self.key(kind)], len).unwrap().into_bytes()
    }

    fn key(&self, kind: PayloadKind) -> [u8; PAYLOAD_KEY_SIZE] {
        match kind {
            PayloadKind::Raw | PayloadKind::FullKey => self.payload_key,
            PayloadKind::Seed => derive_payload_key(self.payload_key.first_chunk::<PAYLOAD_KEY_SEED_SIZE>().unwrap()),
        }
    }
}

/// How the network encrypts the payload of a version.
pub(crate) fn kind_of(version: u16) -> PayloadKind {
    if [1, 256, 257, 258, 512].contains(&version) { PayloadKind::FullKey } else { PayloadKind::Seed }
}
