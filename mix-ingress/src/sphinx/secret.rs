//! The secret that a packet shares with the gateway, and the keys that follow from it.
//!
//! HKDF-SHA256 expands the secret into keys in a fixed order: cipher of the header, MAC of the header, payload, and what only a mix
//! node needs. The first block identifies the packet as well as the ninth, which today's mix nodes take. So two blocks are enough for
//! a packet of today, whose payload key is made of a seed; packets of older versions need seven. Order, salts and texts are those of
//! `sphinx-packet`, `header/shared_secret.rs` and `payload/key.rs`.
//!
//! *Promises*: keys are wiped when they are dropped.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::version::Version;

/// The info with which the secret of a packet is expanded. The salt is empty.
const EXPANSION: &[u8] =
    b"Dwste mou enan moxlo arketa makru kai ena upomoxlio gia na ton topothetisw kai tha kinisw thn gh.";

/// The salt with which the seed of a payload key is extracted.
const PAYLOAD_SALT: &[u8] = b"sphinx-payload-key-V01-CS01-HKDF:SHA256-SALT";

/// The info with which the seed of a payload key is expanded.
const PAYLOAD_EXPANSION: &[u8] = b"sphinx-payload-key-V01-CS01-HKDF:SHA256-INFO";

/// Bytes of a key of the header's cipher or MAC, and of the seed of a payload key.
const KEY_LEN: usize = 16;

/// Bytes of a payload key.
const PAYLOAD_KEY_LEN: usize = 192;

/// Bytes in front of the payload key, and of a replay tag.
const HEADER_KEYS_LEN: usize = 2 * KEY_LEN;

/// Identifies a packet, however it is altered on the way: two packets with one tag are a replay.
///
/// The tag is derived from the secret that the packet shares with our key, so an outsider cannot compute the tag. It has the bytes of
/// the packet's keys, so it must be hashed, and never kept or shown.
#[derive(ZeroizeOnDrop)]
pub struct ReplayTag(pub [u8; 32]);

/// The key of a LIONESS cipher.
pub(super) type PayloadKey = Zeroizing<[u8; PAYLOAD_KEY_LEN]>;

/// The secret of a packet, ready to be expanded, and the beginning of its expansion.
pub(super) struct SharedSecret {
    hkdf: Hkdf<Sha256>,
    /// The key of the header's cipher, the key of its MAC, and the seed of the payload key.
    keys: Zeroizing<[[u8; KEY_LEN]; 3]>,
}

impl SharedSecret {
    pub(super) fn expand(secret: &[u8; 32]) -> Self {
        let hkdf = Hkdf::new(None, secret);
        let mut keys = Zeroizing::new([[0; KEY_LEN]; 3]);
        fill(&hkdf, EXPANSION, keys.as_flattened_mut());
        Self { hkdf, keys }
    }

    /// The tag of the packet, which is its first two keys.
    pub(super) fn replay_tag(&self) -> ReplayTag {
        let mut tag = ReplayTag([0; HEADER_KEYS_LEN]);
        let (header_keys, _) = self.keys.as_flattened().split_at(HEADER_KEYS_LEN);
        tag.0.copy_from_slice(header_keys);
        tag
    }

    pub(super) fn cipher_key(&self) -> &[u8; KEY_LEN] {
        let [cipher, ..] = &*self.keys;
        cipher
    }

    pub(super) fn mac_key(&self) -> &[u8; KEY_LEN] {
        let [_, mac, _] = &*self.keys;
        mac
    }

    /// The payload key: a part of the expansion, or made of the seed, as the version says.
    pub(super) fn payload_key(&self, version: Version) -> PayloadKey {
        let mut key = Zeroizing::new([0; PAYLOAD_KEY_LEN]);
        if version.has_full_payload_key() {
            let mut expansion = Zeroizing::new([0; HEADER_KEYS_LEN + PAYLOAD_KEY_LEN]);
            fill(&self.hkdf, EXPANSION, &mut expansion[..]);
            let (_, payload_key) = expansion.split_at(HEADER_KEYS_LEN);
            key.copy_from_slice(payload_key);
        } else {
            let [.., seed] = &*self.keys;
            fill(&Hkdf::new(Some(PAYLOAD_SALT), seed), PAYLOAD_EXPANSION, &mut key[..]);
        }
        key
    }
}

/// Cannot fail: HKDF fails for more than 255 blocks, and here are seven at the most.
fn fill(hkdf: &Hkdf<Sha256>, info: &[u8], keys: &mut [u8]) {
    let filled = hkdf.expand(info, keys);
    debug_assert!(filled.is_ok());
}
