//! The key that a client and the gateway share. There is one kind until protocol version 2, another since version 3.
//!
//! *Promises*: wiped when dropped, never printed, compared in constant time.

use std::fmt;

use aes::Aes128;
use aes_gcm_siv::{AeadInOut, Aes256GcmSiv, KeyInit};
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit, StreamCipher},
};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::hmac_blake3::{HmacBlake3, keyed};

/// The starting value of the cipher's 128-bit big-endian counter.
pub type Iv = [u8; 16];

/// The IV of everything but the authentication token.
pub(super) const ZERO_IV: Iv = [0; 16];

/// The nonce of an encryption under a [`GcmSivKey`]. Each encryption needs a fresh random one.
pub type Nonce = [u8; NONCE_LEN];

/// Bytes of a [`Nonce`].
pub const NONCE_LEN: usize = 12;

/// Bytes that AES-256-GCM-SIV appends to the ciphertext.
pub const AEAD_TAG_LEN: usize = 16;

/// The session key of clients before protocol version 3: an AES-128-CTR key and an HMAC-BLAKE3 key, 16 bytes each.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct CtrHmacKey {
    encryption: [u8; 16],
    mac: [u8; 16],
}

impl CtrHmacKey {
    /// Length in bytes, in the ledger and on links.
    pub const LEN: usize = 32;

    /// Reads the ledger's form: encryption key, then MAC key. Wipes the argument.
    pub fn from_bytes(mut bytes: [u8; Self::LEN]) -> Self {
        let mut key = Self { encryption: [0; 16], mac: [0; 16] };
        for (to, from) in key.encryption.iter_mut().chain(&mut key.mac).zip(&bytes) {
            *to = *from;
        }
        bytes.zeroize();
        key
    }

    /// The ledger's form: encryption key, then MAC key.
    pub fn to_bytes(&self) -> Zeroizing<[u8; Self::LEN]> {
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        for (to, from) in bytes.iter_mut().zip(self.encryption.iter().chain(&self.mac)) {
            *to = *from;
        }
        bytes
    }

    /// Encrypts or decrypts in place.
    pub(super) fn apply_keystream(&self, iv: &Iv, buffer: &mut [u8]) {
        Ctr128BE::<Aes128>::new(&self.encryption.into(), iv.into()).apply_keystream(buffer);
    }

    /// Starts a MAC.
    pub(super) fn hmac(&self) -> HmacBlake3 {
        keyed(&self.mac)
    }
}

impl PartialEq for CtrHmacKey {
    fn eq(&self, other: &Self) -> bool {
        (self.encryption.ct_eq(&other.encryption) & self.mac.ct_eq(&other.mac)).into()
    }
}

impl Eq for CtrHmacKey {}

impl fmt::Debug for CtrHmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CtrHmacKey(redacted)")
    }
}

/// The session key of clients since protocol version 3: for AES-256-GCM-SIV (RFC 8452), without associated data.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct GcmSivKey([u8; GcmSivKey::LEN]);

/// The bytes were not encrypted under this key with this nonce, or were altered since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bytes do not decrypt under the session key; the client has to register again if this persists")]
pub struct NotAuthentic;

impl GcmSivKey {
    /// Length in bytes, in the ledger and on links.
    pub const LEN: usize = 32;

    /// Reads the ledger's form. Wipes the argument.
    pub fn from_bytes(mut bytes: [u8; Self::LEN]) -> Self {
        let key = Self(bytes);
        bytes.zeroize();
        key
    }

    /// The ledger's form.
    pub fn to_bytes(&self) -> Zeroizing<[u8; Self::LEN]> {
        Zeroizing::new(self.0)
    }

    fn cipher(&self) -> Aes256GcmSiv {
        Aes256GcmSiv::new((&self.0).into())
    }

    /// Encrypts in place and returns the tag that goes behind.
    pub(super) fn seal_in_place(&self, nonce: &Nonce, buffer: &mut [u8]) -> [u8; AEAD_TAG_LEN] {
        // Fails only for a plaintext of more than 64 GiB.
        self.cipher().encrypt_inout_detached(nonce.into(), &[], buffer.into()).unwrap_or_default().into()
    }

    /// Checks the tag in constant time and decrypts in place. On an error the buffer is unchanged.
    pub(super) fn open_in_place(
        &self,
        nonce: &Nonce,
        buffer: &mut [u8],
        tag: &[u8; AEAD_TAG_LEN],
    ) -> Result<(), NotAuthentic> {
        self.cipher().decrypt_inout_detached(nonce.into(), &[], buffer.into(), tag.into()).map_err(|_| NotAuthentic)
    }
}

impl PartialEq for GcmSivKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for GcmSivKey {}

impl fmt::Debug for GcmSivKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GcmSivKey(redacted)")
    }
}

/// The two kinds of session key. The kind decides how everything in a session is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// Protocol of 2021, and versions 1 and 2.
    CtrHmac,
    /// Version 3 and later.
    GcmSiv,
}

/// The key that the gateway shares with one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionKey {
    /// AES-128-CTR and HMAC-BLAKE3.
    CtrHmac(CtrHmacKey),
    /// AES-256-GCM-SIV.
    GcmSiv(GcmSivKey),
}

/// Both kinds of key wipe themselves.
impl ZeroizeOnDrop for SessionKey {}

impl SessionKey {
    /// The kind of the key.
    pub const fn kind(&self) -> KeyKind {
        match self {
            Self::CtrHmac(_) => KeyKind::CtrHmac,
            Self::GcmSiv(_) => KeyKind::GcmSiv,
        }
    }

    /// A key in a place of its own, which `read` fills with its 32 bytes, part by part, in the ledger's form. The bytes come to no other
    /// place: whatever a key is moved out of keeps a copy that is not wiped.
    ///
    /// # Errors
    /// That of `read`.
    pub fn read_in_place<E>(kind: KeyKind, mut read: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Box<Self>, E> {
        let mut key = Box::new(match kind {
            KeyKind::CtrHmac => Self::CtrHmac(CtrHmacKey { encryption: [0; 16], mac: [0; 16] }),
            KeyKind::GcmSiv => Self::GcmSiv(GcmSivKey([0; GcmSivKey::LEN])),
        });
        match &mut *key {
            Self::CtrHmac(CtrHmacKey { encryption, mac }) => {
                read(encryption)?;
                read(mac)?;
            }
            Self::GcmSiv(GcmSivKey(bytes)) => read(bytes)?,
        }
        Ok(key)
    }

    /// The ledger's form, which does not say the kind.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        match self {
            Self::CtrHmac(key) => key.to_bytes(),
            Self::GcmSiv(key) => key.to_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn debug_shows_no_key_byte() {
        let key = CtrHmacKey::from_bytes([0xab; 32]);
        assert_eq!(format!("{key:?}"), "CtrHmacKey(redacted)");
        let key = GcmSivKey::from_bytes([0xab; 32]);
        assert_eq!(format!("{:?}", SessionKey::GcmSiv(key)), "GcmSiv(GcmSivKey(redacted))");
    }

    proptest! {
        #[test]
        fn ledger_form_round_trips(bytes: [u8; 32]) {
            prop_assert_eq!(*CtrHmacKey::from_bytes(bytes).to_bytes(), bytes);
            prop_assert_eq!(*GcmSivKey::from_bytes(bytes).to_bytes(), bytes);
            prop_assert_eq!(*SessionKey::CtrHmac(CtrHmacKey::from_bytes(bytes)).to_bytes(), bytes);
            prop_assert_eq!(*SessionKey::GcmSiv(GcmSivKey::from_bytes(bytes)).to_bytes(), bytes);
        }

        #[test]
        fn gcm_siv_opens_only_what_it_sealed_under_the_same_nonce(
            key: [u8; 32],
            nonce: [u8; 12],
            plaintext in vec(any::<u8>(), 0..300),
            at: prop::sample::Index,
        ) {
            let key = GcmSivKey::from_bytes(key);
            let mut sealed = plaintext.clone();
            let tag = key.seal_in_place(&nonce, &mut sealed);
            sealed.extend_from_slice(&tag);
            let open = |nonce: &Nonce, mut sealed: Vec<u8>| {
                let (ciphertext, tag) = sealed.split_last_chunk_mut().unwrap();
                key.open_in_place(nonce, ciphertext, tag).map(|()| ciphertext.to_vec())
            };
            prop_assert_eq!(open(&nonce, sealed.clone()), Ok(plaintext));
            let bit = at.index(sealed.len() * 8);
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(open(&nonce, damaged), Err(NotAuthentic));
            let mut other = nonce;
            other[bit / 8 % 12] ^= 1 << (bit % 8);
            prop_assert_eq!(open(&other, sealed), Err(NotAuthentic));
        }

        #[test]
        fn one_differing_bit_makes_another_key(bytes: [u8; 32], bit in 0..256_usize) {
            let mut other = bytes;
            other[bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(CtrHmacKey::from_bytes(bytes), CtrHmacKey::from_bytes(other));
            prop_assert_ne!(GcmSivKey::from_bytes(bytes), GcmSivKey::from_bytes(other));
        }
    }
}
