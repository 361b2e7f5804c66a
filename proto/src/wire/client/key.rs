//! The key that a client and the gateway share.
//!
//! *Promises*: wiped when dropped, never printed, compared in constant time.

use std::fmt;

use aes::Aes128;
use bincode::{Decode, Encode};
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit, StreamCipher},
};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::hmac_blake3::{HmacBlake3, keyed};

/// The starting value of the cipher's 128-bit big-endian counter.
pub type Iv = [u8; 16];

/// Everything but the authentication token is encrypted from counter zero.
pub(super) const ZERO_IV: Iv = [0; 16];

/// The session key of clients before protocol version 3: an AES-128-CTR key and an HMAC-BLAKE3 key, 16 bytes each.
#[derive(Clone, Encode, Decode, Zeroize, ZeroizeOnDrop)]
pub struct CtrHmacKey {
    encryption: [u8; 16],
    mac: [u8; 16],
}

impl CtrHmacKey {
    /// Length in bytes, in the ledger and on links.
    pub const LEN: usize = 32;

    /// Reads the ledger's form: encryption key, then MAC key. Wipes the copy it was given.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn debug_shows_no_key_byte() {
        let key = CtrHmacKey::from_bytes([0xab; 32]);
        assert_eq!(format!("{key:?}"), "CtrHmacKey(redacted)");
    }

    #[test]
    fn travels_on_a_link_as_its_32_ledger_bytes() {
        let bytes = std::array::from_fn(|i| i as u8);
        let key = CtrHmacKey::from_bytes(bytes);
        let config = bincode::config::standard();
        let encoded = bincode::encode_to_vec(&key, config).unwrap();
        assert_eq!(encoded, bytes);
        let (decoded, read): (CtrHmacKey, usize) = bincode::decode_from_slice(&encoded, config).unwrap();
        assert_eq!((decoded, read), (key, 32));
    }

    proptest! {
        #[test]
        fn ledger_form_round_trips(bytes: [u8; 32]) {
            prop_assert_eq!(*CtrHmacKey::from_bytes(bytes).to_bytes(), bytes);
        }

        #[test]
        fn one_differing_bit_makes_another_key(bytes: [u8; 32], bit in 0..256_usize) {
            let mut other = bytes;
            other[bit / 8] ^= 1 << (bit % 8);
            prop_assert_ne!(CtrHmacKey::from_bytes(bytes), CtrHmacKey::from_bytes(other));
        }
    }
}
