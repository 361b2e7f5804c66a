//! The authentication token of clients of protocol version 3.
//!
//! `AES-256-GCM-SIV(session key, nonce drawn by the client, the client's 32-byte address)`, sent in base58, the nonce in the
//! field `iv`. This token can be replayed too.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use wire::address::ClientAddress;

use super::text::{TokenTextError, from_base58};
use crate::{
    control::request::ClientRequest,
    key::{AEAD_TAG_LEN, GcmSivKey, NONCE_LEN, Nonce},
    side::{self, MarkingKey},
};

/// An address under a [`GcmSivKey`], and its tag.
pub type SealedAddress = [u8; ClientAddress::LEN + AEAD_TAG_LEN];

/// The claim of an `authenticate` message of version 3, parsed and unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GcmSivToken {
    /// The address that the sender claims.
    pub address: ClientAddress,
    /// The address under the sender's key.
    #[serde(with = "crate::long_array")]
    pub enc_address: SealedAddress,
    /// The nonce of the encryption.
    pub nonce: Nonce,
}

impl GcmSivToken {
    /// Makes the token a client sends. `nonce` must be fresh and random.
    pub fn create(key: &GcmSivKey, address: ClientAddress, nonce: Nonce) -> Self {
        Self { address, enc_address: seal_address(key, &address, &nonce), nonce }
    }

    /// Whether the text is an IV of this kind of token.
    pub(crate) fn owns_iv(iv: &str) -> bool {
        from_base58::<NONCE_LEN>(iv).is_some()
    }

    /// Reads the three base58 fields.
    ///
    /// # Errors
    /// The first [`TokenTextError`].
    pub fn from_base58(address: &str, enc_address: &str, iv: &str) -> Result<Self, TokenTextError> {
        Ok(Self {
            address: address.parse().map_err(|_| TokenTextError::Address)?,
            enc_address: from_base58(enc_address).ok_or(TokenTextError::EncryptedAddress)?,
            nonce: from_base58(iv).ok_or(TokenTextError::Iv)?,
        })
    }

    /// The message with this token.
    pub fn to_request(&self, protocol_version: Option<u8>) -> ClientRequest {
        ClientRequest::Authenticate {
            protocol_version,
            address: self.address.to_string(),
            enc_address: bs58::encode(self.enc_address).into_string(),
            iv: bs58::encode(self.nonce).into_string(),
        }
    }

    /// Whether a client made this token with the key, in constant time. Says nothing about a replay. A token that the gateway itself
    /// sealed does not count, since somebody may have sent the client its own address as a message.
    pub fn is_of(&self, key: &MarkingKey) -> bool {
        is_sealed_address(key, &self.address, &self.nonce, &self.enc_address)
    }
}

/// Whether a client encrypted this address.
pub(super) fn is_sealed_address(
    key: &MarkingKey,
    address: &ClientAddress,
    nonce: &Nonce,
    sealed: &SealedAddress,
) -> bool {
    side::open(key, nonce, sealed.to_vec()).is_ok_and(|opened| opened.ct_eq(address.as_bytes()).into())
}

/// Encrypts an address, as a client does.
pub(super) fn seal_address(key: &GcmSivKey, address: &ClientAddress, nonce: &Nonce) -> SealedAddress {
    let mut sealed = [0; ClientAddress::LEN + AEAD_TAG_LEN];
    if let Some((ciphertext, tag)) = sealed.split_last_chunk_mut() {
        ciphertext.copy_from_slice(address.as_bytes());
        *tag = side::seal_in_place(key, nonce, ciphertext);
    }
    sealed
}

#[cfg(test)]
mod tests {
    use std::borrow::Borrow;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn its_iv_has_12_bytes() {
        for len in 0..40 {
            let iv = bs58::encode(vec![7; len]).into_string();
            assert_eq!(GcmSivToken::owns_iv(&iv), len == 12, "{len}");
        }
        assert!(!GcmSivToken::owns_iv("0OIl"));
    }

    #[test]
    fn complains_about_the_first_bad_field() {
        let text = |len| bs58::encode(vec![9; len]).into_string();
        let read = |address, enc_address, iv| GcmSivToken::from_base58(&text(address), &text(enc_address), &text(iv));
        assert_eq!(read(31, 32, 16), Err(TokenTextError::Address));
        assert_eq!(read(32, 32, 16), Err(TokenTextError::EncryptedAddress));
        assert_eq!(read(32, 48, 16), Err(TokenTextError::Iv));
        assert!(read(32, 48, 12).is_ok());
    }

    #[test]
    fn an_address_that_the_gateway_sealed_is_no_token() {
        let (key, address) = (GcmSivKey::from_bytes([5; 32]), ClientAddress([1; 32]));
        let gateway = MarkingKey::of(&key);
        let nonce = gateway.nonce([2; 6]);
        let enc_address = side::seal(&gateway, &nonce, address.as_bytes().to_vec()).try_into().unwrap();
        let token = GcmSivToken { address, enc_address, nonce: *nonce.borrow() };
        assert_eq!(token, GcmSivToken::create(&key, address, token.nonce));
        assert!(!token.is_of(&gateway));
    }

    proptest! {
        #[test]
        fn is_of_its_key_only_and_survives_its_text(key: [u8; 32], other: [u8; 32], address: [u8; 32], nonce: [u8; 12]) {
            let key = GcmSivKey::from_bytes(key);
            let token = GcmSivToken::create(&key, ClientAddress(address), nonce);
            prop_assert!(token.is_of(&MarkingKey::of(&key)));
            prop_assert!(!token.is_of(&MarkingKey::of(&GcmSivKey::from_bytes(other))));
            let ClientRequest::Authenticate { address, enc_address, iv, .. } = token.to_request(Some(3)) else {
                return Err(TestCaseError::fail("another request"));
            };
            prop_assert_eq!(GcmSivToken::from_base58(&address, &enc_address, &iv), Ok(token));
        }

        #[test]
        fn any_flipped_bit_is_refused(bit in 0..736_usize) {
            let key = GcmSivKey::from_bytes([5; 32]);
            let mut token = GcmSivToken::create(&key, ClientAddress([1; 32]), [2; 12]);
            let bytes = token.address.0.iter_mut().chain(&mut token.enc_address).chain(&mut token.nonce);
            *bytes.into_iter().nth(bit / 8).unwrap() ^= 1 << (bit % 8);
            prop_assert!(!token.is_of(&MarkingKey::of(&key)));
        }

        #[test]
        fn no_text_panics(address in ".{0,60}", enc_address in "[1-9A-Za-z]{0,80}", iv in "[1-9A-Za-z]{0,60}") {
            let bytes32 = bs58::encode([9; 32]).into_string();
            let bytes48 = bs58::encode([9; 48]).into_string();
            let _ = GcmSivToken::owns_iv(&iv);
            let _ = GcmSivToken::from_base58(&address, &enc_address, &iv);
            let _ = GcmSivToken::from_base58(&bytes32, &enc_address, &iv);
            let _ = GcmSivToken::from_base58(&bytes32, &bytes48, &iv);
        }
    }
}
