//! The authentication token of clients before protocol version 3.
//!
//! `AES-128-CTR(encryption key, IV drawn by the client, the client's 32-byte address)`, sent in base58. A token
//! can be replayed, so its checker must also remember which IVs the client has used.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use wire::address::ClientAddress;

use super::text::{TokenTextError, from_base58};
use crate::key::{CtrHmacKey, Iv};

/// The claim of an `authenticate` message, parsed and unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthenticationToken {
    /// The address that the sender claims.
    pub address: ClientAddress,
    /// The address under the sender's key.
    pub enc_address: [u8; ClientAddress::LEN],
    /// The start of the sender's keystream.
    pub iv: Iv,
}

/// Why a token proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Its keystream is that of sealed frames, so it could be forged from a frame whose plaintext is known.
    #[error("an authentication token uses a reserved IV below 2^32; the client must draw a random one")]
    ReservedIv,
    /// The token was not made with the client's key.
    #[error("an authentication token was not made with the client's session key; the client has to register again")]
    WrongKey,
}

/// Whether frames use this keystream too. They do for an IV below 2^32, read as a 128-bit big-endian number.
pub fn is_reserved_iv(iv: &Iv) -> bool {
    u128::from_be_bytes(*iv) < 1 << 32
}

impl AuthenticationToken {
    /// Makes the token a client sends. `iv` must be fresh and random, and not [reserved](is_reserved_iv).
    pub fn create(key: &CtrHmacKey, address: ClientAddress, iv: Iv) -> Self {
        Self { address, enc_address: encrypt(key, &address, &iv), iv }
    }

    /// Whether the text is an IV of this kind of token.
    pub(crate) fn owns_iv(iv: &str) -> bool {
        from_base58::<{ size_of::<Iv>() }>(iv).is_some()
    }

    /// Reads the three base58 fields.
    ///
    /// # Errors
    /// The first [`TokenTextError`], in the order in which 0.10.1 complains.
    pub fn from_base58(address: &str, enc_address: &str, iv: &str) -> Result<Self, TokenTextError> {
        Ok(Self {
            address: address.parse().map_err(|_| TokenTextError::Address)?,
            enc_address: from_base58(enc_address).ok_or(TokenTextError::EncryptedAddress)?,
            iv: from_base58(iv).ok_or(TokenTextError::Iv)?,
        })
    }

    /// Checks that `key` made this token, in constant time. Says nothing about a replay.
    ///
    /// # Errors
    /// [`TokenError`]. The client gets the same answer in both cases.
    pub fn verify(&self, key: &CtrHmacKey) -> Result<(), TokenError> {
        if is_reserved_iv(&self.iv) {
            return Err(TokenError::ReservedIv);
        }
        if encrypt(key, &self.address, &self.iv).ct_eq(&self.enc_address).into() {
            Ok(())
        } else {
            Err(TokenError::WrongKey)
        }
    }
}

fn encrypt(key: &CtrHmacKey, address: &ClientAddress, iv: &Iv) -> [u8; ClientAddress::LEN] {
    let mut bytes = *address.as_bytes();
    key.apply_keystream(iv, &mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors;

    const RANDOM_IV: Iv = [0x64; 16];

    fn vector_key() -> CtrHmacKey {
        CtrHmacKey::from_bytes(vectors::bytes("/sealing/shared_keys"))
    }

    fn vector_token() -> AuthenticationToken {
        AuthenticationToken {
            address: ClientAddress(vectors::bytes("/authenticate/address")),
            enc_address: vectors::bytes("/authenticate/enc_address"),
            iv: vectors::bytes("/authenticate/iv"),
        }
    }

    #[test]
    fn is_the_token_of_a_real_client() {
        let expected = vector_token();
        let created = AuthenticationToken::create(&vector_key(), expected.address, expected.iv);
        assert_eq!(created, expected);
        assert_eq!(expected.verify(&vector_key()), Ok(()));
    }

    #[test]
    fn reads_the_base58_of_a_real_client() {
        let read = AuthenticationToken::from_base58(
            &vectors::text("/authenticate/address_b58"),
            &vectors::text("/authenticate/enc_address_b58"),
            &vectors::text("/authenticate/iv_b58"),
        );
        assert_eq!(read, Ok(vector_token()));
    }

    #[test]
    fn complains_about_the_first_bad_field() {
        let (bytes32, bytes16) = (bs58::encode([9; 32]).into_string(), bs58::encode([9; 16]).into_string());
        let read = AuthenticationToken::from_base58;
        assert_eq!(read("0OIl", "abc", "abc"), Err(TokenTextError::Address));
        assert_eq!(read(&bytes32, &bytes16, "abc"), Err(TokenTextError::EncryptedAddress));
        assert_eq!(read(&bytes32, &bytes32, &bytes32), Err(TokenTextError::Iv));
        assert!(read(&bytes32, &bytes32, &bytes16).is_ok());
    }

    #[test]
    fn the_keystream_of_frames_is_reserved() {
        let iv = |number: u128| number.to_be_bytes();
        assert!(is_reserved_iv(&iv(0)));
        assert!(is_reserved_iv(&iv(u128::from(u32::MAX))));
        assert!(!is_reserved_iv(&iv(1 << 32)));
        assert!(!is_reserved_iv(&iv(u128::MAX)));
        let forged = AuthenticationToken::create(&vector_key(), ClientAddress([1; 32]), iv(0));
        assert_eq!(forged.verify(&vector_key()), Err(TokenError::ReservedIv));
    }

    proptest! {
        #[test]
        fn what_is_created_verifies_under_its_key_only(key: [u8; 32], other: [u8; 32], address: [u8; 32]) {
            let token = AuthenticationToken::create(&CtrHmacKey::from_bytes(key), ClientAddress(address), RANDOM_IV);
            prop_assert_eq!(token.verify(&CtrHmacKey::from_bytes(key)), Ok(()));
            prop_assert_eq!(token.verify(&CtrHmacKey::from_bytes(other)), Err(TokenError::WrongKey));
        }

        #[test]
        fn any_flipped_bit_is_refused(bit in 0..640_usize) {
            let mut token = vector_token();
            let bytes = token.address.0.iter_mut().chain(&mut token.enc_address).chain(&mut token.iv);
            *bytes.into_iter().nth(bit / 8).unwrap() ^= 1 << (bit % 8);
            prop_assert_eq!(token.verify(&vector_key()), Err(TokenError::WrongKey));
        }

        #[test]
        fn no_text_panics(address in ".{0,60}", enc_address in "[1-9A-Za-z]{0,60}", iv in "[1-9A-Za-z]{0,60}") {
            let bytes32 = bs58::encode([9; 32]).into_string();
            let _ = AuthenticationToken::from_base58(&address, &enc_address, &iv);
            let _ = AuthenticationToken::from_base58(&bytes32, &enc_address, &iv);
            let _ = AuthenticationToken::from_base58(&bytes32, &bytes32, &iv);
        }
    }
}
