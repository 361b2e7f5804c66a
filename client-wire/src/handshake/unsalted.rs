//! The handshake of clients before protocol version 3, which has no salt.
//!
//! ```text
//! client  -> gateway   identity key 32 | ephemeral key g^x 32
//! gateway -> client    ephemeral key g^y 32 | sealed signature over g^y | g^x, 64
//! client  -> gateway   sealed signature over g^x | g^y, 64
//! gateway -> client    01
//! ```
//!
//! Identities are Ed25519, ephemeral keys X25519. A signature is sealed with the session key's cipher from counter
//! zero, and without a tag, since the signature itself proves the other side.
//!
//! *Holds* nothing: no randomness and no private key. Callers agree on the secret, sign and verify.
//! *Promises*: every function gives the same bytes on both sides, so a gateway and a client built on it understand each other.

use serde::{Deserialize, Serialize};

use crate::{
    kdf,
    key::{CtrHmacKey, ZERO_IV},
};

/// Why a message of the handshake is refused. The text is what the client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum HandshakeError {
    /// The first message does not begin with an Ed25519 key. To 0.10.1 no handshake has begun then.
    #[error("malformed request")]
    NoIdentity,
    /// The first message has the wrong length.
    #[error("sent request was malformed")]
    MalformedInit,
    /// The client's sealed signature has the wrong length.
    #[error("received key material of invalid length - {got}. Expected: {expected}")]
    MaterialLength {
        /// Bytes received.
        got: usize,
        /// Bytes expected.
        expected: usize,
    },
    /// The client did not sign the handshake.
    #[error("received invalid signature")]
    InvalidSignature,
}

/// An Ed25519 or X25519 public key.
pub type PublicKey = [u8; 32];

/// An Ed25519 signature, sealed or not.
pub type Signature = [u8; SIGNATURE_LEN];

/// Bytes of a signature, sealed or not.
pub const SIGNATURE_LEN: usize = 64;

/// The gateway's last message: the client is registered.
pub const FINISHED: [u8; 1] = [1];

/// The client's first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandshakeInit {
    /// The client's Ed25519 key, and so its address.
    pub identity: PublicKey,
    /// The client's half of the key agreement.
    pub ephemeral: PublicKey,
}

impl HandshakeInit {
    /// Reads the message. `decode_identity` decodes the identity key, or returns `None` if the bytes are no key.
    ///
    /// # Errors
    /// [`HandshakeError::NoIdentity`] if the message does not begin with a key; otherwise [`HandshakeError::MalformedInit`] if its
    /// length is wrong.
    pub fn parse<K>(
        data: &[u8],
        decode_identity: impl FnOnce(&PublicKey) -> Option<K>,
    ) -> Result<(Self, K), HandshakeError> {
        let (identity, rest) = data.split_first_chunk().ok_or(HandshakeError::NoIdentity)?;
        let key = decode_identity(identity).ok_or(HandshakeError::NoIdentity)?;
        let ephemeral = rest.try_into().map_err(|_| HandshakeError::MalformedInit)?;
        let init = Self { identity: *identity, ephemeral };
        Ok((init, key))
    }

    /// The message's bytes.
    pub fn encode(&self) -> [u8; 64] {
        concat(&self.identity, &self.ephemeral)
    }
}

/// The gateway's first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayMaterial {
    /// The gateway's half of the key agreement.
    pub ephemeral: PublicKey,
    /// The gateway's signature, [sealed](seal_signature).
    pub sealed_signature: Signature,
}

impl GatewayMaterial {
    /// Reads the message; `None` if its length is wrong.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let (ephemeral, rest) = data.split_first_chunk()?;
        Some(Self { ephemeral: *ephemeral, sealed_signature: rest.try_into().ok()? })
    }

    /// The message's bytes.
    pub fn encode(&self) -> [u8; 96] {
        concat(&self.ephemeral, &self.sealed_signature)
    }
}

/// Both public halves of one key agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EphemeralKeys {
    /// g^x.
    pub client: PublicKey,
    /// g^y.
    pub gateway: PublicKey,
}

impl EphemeralKeys {
    /// What the gateway signs with its identity key: g^y, g^x.
    pub fn signed_by_gateway(&self) -> [u8; 64] {
        concat(&self.gateway, &self.client)
    }

    /// What the client signs with its identity key: g^x, g^y.
    pub fn signed_by_client(&self) -> [u8; 64] {
        concat(&self.client, &self.gateway)
    }
}

/// Derives the session key from the raw X25519 output.
pub fn derive_key(shared_secret: &[u8; 32]) -> CtrHmacKey {
    CtrHmacKey::from_bytes(*kdf::derive(shared_secret, None))
}

/// Encrypts a signature for the other side.
pub fn seal_signature(key: &CtrHmacKey, mut signature: Signature) -> Signature {
    key.apply_keystream(&ZERO_IV, &mut signature);
    signature
}

/// Decrypts the other side's signature. Nothing is proved until the signature is verified.
///
/// # Errors
/// [`HandshakeError::MaterialLength`] unless `sealed` is as long as a signature.
pub fn open_signature(key: &CtrHmacKey, sealed: &[u8]) -> Result<Signature, HandshakeError> {
    let mut signature: Signature =
        sealed.try_into().map_err(|_| HandshakeError::MaterialLength { got: sealed.len(), expected: SIGNATURE_LEN })?;
    key.apply_keystream(&ZERO_IV, &mut signature);
    Ok(signature)
}

fn concat<const A: usize, const B: usize, const N: usize>(first: &[u8; A], second: &[u8; B]) -> [u8; N] {
    const { assert!(A + B == N) };
    let mut whole = [0; N];
    for (to, from) in whole.iter_mut().zip(first.iter().chain(second)) {
        *to = *from;
    }
    whole
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::vectors;

    const INIT: HandshakeInit = HandshakeInit { identity: [1; 32], ephemeral: [2; 32] };

    fn any_key(bytes: &PublicKey) -> Option<PublicKey> {
        Some(*bytes)
    }

    #[test]
    fn key_is_what_2021_derives() {
        let key = derive_key(&vectors::bytes("/hkdf/dh_output"));
        assert_eq!(*key.to_bytes(), vectors::bytes("/hkdf/okm32"));
    }

    #[test]
    fn signed_bytes_begin_with_the_signer() {
        let keys = EphemeralKeys { client: [0xc; 32], gateway: [0x9; 32] };
        assert_eq!(keys.signed_by_gateway()[31..33], [0x9, 0xc]);
        assert_eq!(keys.signed_by_client()[31..33], [0xc, 0x9]);
    }

    #[test]
    fn messages_have_their_lengths_and_order() {
        assert_eq!(INIT.encode()[31..33], [1, 2]);
        let material = GatewayMaterial { ephemeral: [3; 32], sealed_signature: [4; 64] };
        assert_eq!(material.encode()[31..33], [3, 4]);
        assert_eq!(GatewayMaterial::parse(&material.encode()), Some(material));
        assert_eq!(GatewayMaterial::parse(&[0; 95]), None);
        assert_eq!(GatewayMaterial::parse(&[0; 97]), None);
    }

    #[test]
    fn identity_is_judged_before_length() {
        let parse = |data: &[u8]| HandshakeInit::parse(data, any_key).map(|(init, _)| init);
        assert_eq!(parse(&[]), Err(HandshakeError::NoIdentity));
        assert_eq!(parse(&[1; 31]), Err(HandshakeError::NoIdentity));
        assert_eq!(parse(&[1; 32]), Err(HandshakeError::MalformedInit));
        assert_eq!(parse(&[1; 63]), Err(HandshakeError::MalformedInit));
        assert_eq!(parse(&[1; 65]), Err(HandshakeError::MalformedInit));
        assert_eq!(parse(&INIT.encode()), Ok(INIT));
        for len in [32, 64, 65] {
            let no_key = HandshakeInit::parse(&vec![1; len], |_| None::<()>);
            assert_eq!(no_key, Err(HandshakeError::NoIdentity), "{len}");
        }
    }

    #[test]
    fn only_a_whole_signature_is_opened() {
        let key = derive_key(&[5; 32]);
        for len in [0, 63, 65] {
            assert_eq!(
                open_signature(&key, &vec![7; len]),
                Err(HandshakeError::MaterialLength { got: len, expected: 64 })
            );
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(data in vec(any::<u8>(), 0..130)) {
            if let Ok((init, identity)) = HandshakeInit::parse(&data, any_key) {
                prop_assert_eq!(identity, init.identity);
                prop_assert_eq!(&init.encode()[..], &data);
            }
            if let Some(material) = GatewayMaterial::parse(&data) {
                prop_assert_eq!(&material.encode()[..], &data);
            }
            let _ = open_signature(&derive_key(&[5; 32]), &data);
        }

        #[test]
        fn signatures_round_trip_sealed(secret: [u8; 32], half: [[u8; 32]; 2]) {
            let key = derive_key(&secret);
            let signature = concat(&half[0], &half[1]);
            let sealed = seal_signature(&key, signature);
            prop_assert_ne!(sealed, signature);
            prop_assert_eq!(open_signature(&key, &sealed), Ok(signature));
        }
    }
}
