//! The same handshake for every protocol version: whether the first message carries a salt decides the rest.
//!
//! | | without salt | with salt |
//! |---|---|---|
//! | first message | identity 32, g^x 32 | identity 32, g^x 32, salt 16 |
//! | session key | [`CtrHmacKey`], unsalted | [`GcmSivKey`], salted |
//! | sealed signature | ciphertext 64 | ciphertext 64, tag 16, nonce 12 |

use std::borrow::Borrow;

use super::unsalted::{self, EphemeralKeys, HandshakeError, HandshakeInit, PublicKey, SIGNATURE_LEN, Signature};
use crate::{
    kdf::{self, Salt},
    key::{AEAD_TAG_LEN, CtrHmacKey, GcmSivKey, KeyKind, NONCE_LEN, Nonce, SessionKey},
    side::{self, GatewayKey, NonceRandom, Side},
};

/// The client's first message, in any version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientInit {
    /// The client's Ed25519 key, and so its address.
    pub identity: PublicKey,
    /// The client's half of the key agreement.
    pub ephemeral: PublicKey,
    /// The salt for the derivation of the session key. Clients since protocol version 3 draw one.
    pub salt: Option<Salt>,
}

impl ClientInit {
    const LEN: usize = 64;
    const SALTED_LEN: usize = 80;

    /// The kind of session key after a first message of `len` bytes, if a message can have that length.
    pub const fn kind_by_len(len: usize) -> Option<KeyKind> {
        match len {
            Self::LEN => Some(KeyKind::CtrHmac),
            Self::SALTED_LEN => Some(KeyKind::GcmSiv),
            _ => None,
        }
    }

    /// Reads the message. `decode_identity` decodes the identity key, or returns `None` if the bytes are no key.
    ///
    /// # Errors
    /// [`HandshakeError::NoIdentity`] if the message does not begin with a key; otherwise [`HandshakeError::MalformedInit`] if its
    /// length is wrong.
    pub fn parse<K>(
        data: &[u8],
        decode_identity: impl FnOnce(&PublicKey) -> Option<K>,
    ) -> Result<(Self, K), HandshakeError> {
        let (unsalted, salt) = match (Self::kind_by_len(data.len()), data.split_first_chunk::<{ Self::LEN }>()) {
            (Some(KeyKind::GcmSiv), Some((unsalted, salt))) => (&unsalted[..], salt.first_chunk().copied()),
            _ => (data, None),
        };
        let (HandshakeInit { identity, ephemeral }, key) = HandshakeInit::parse(unsalted, decode_identity)?;
        Ok((Self { identity, ephemeral, salt }, key))
    }

    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let unsalted = HandshakeInit { identity: self.identity, ephemeral: self.ephemeral }.encode();
        [&unsalted[..], self.salt.as_ref().map_or(&[], |salt| &salt[..])].concat()
    }

    /// Derives the session key from the raw X25519 output.
    pub fn derive_key(&self, shared_secret: &[u8; 32]) -> SessionKey {
        let bytes = *kdf::derive(shared_secret, self.salt.as_ref());
        match self.salt {
            None => SessionKey::CtrHmac(CtrHmacKey::from_bytes(bytes)),
            Some(_) => SessionKey::GcmSiv(GcmSivKey::from_bytes(bytes)),
        }
    }

    /// Both halves of the key agreement.
    pub const fn keys(&self, gateway: PublicKey) -> EphemeralKeys {
        EphemeralKeys { client: self.ephemeral, gateway }
    }
}

/// The gateway's first message, in any version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayReply {
    /// The gateway's half of the key agreement.
    pub ephemeral: PublicKey,
    /// The gateway's signature, [sealed](GatewayKey::seal_signature).
    pub sealed_signature: Vec<u8>,
}

impl GatewayReply {
    /// Reads the message. Returns `None` if it is too short for both parts.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let (ephemeral, sealed_signature) = data.split_first_chunk()?;
        (sealed_signature.len() >= SIGNATURE_LEN)
            .then(|| Self { ephemeral: *ephemeral, sealed_signature: sealed_signature.to_vec() })
    }

    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        [&self.ephemeral[..], &self.sealed_signature].concat()
    }
}

impl SessionKey {
    /// Encrypts a client's signature. `nonce` must be fresh and random; the older kind of key takes none.
    pub fn seal_signature(&self, signature: Signature, nonce: Nonce) -> Vec<u8> {
        match self {
            Self::CtrHmac(key) => unsalted::seal_signature(key, signature).to_vec(),
            Self::GcmSiv(key) => seal_signature(key, &nonce, signature),
        }
    }

    /// Decrypts the gateway's signature, as a client does. Nothing is proved until the signature is verified.
    ///
    /// # Errors
    /// [`HandshakeError::MaterialLength`] unless `sealed` is as long as a sealed signature;
    /// [`HandshakeError::InvalidSignature`] if it does not decrypt.
    pub fn open_signature(&self, sealed: &[u8]) -> Result<Signature, HandshakeError> {
        match self {
            Self::CtrHmac(key) => unsalted::open_signature(key, sealed),
            Self::GcmSiv(key) => open_signature(key, sealed),
        }
    }
}

impl GatewayKey {
    /// Encrypts the gateway's signature. `random` must be fresh and random; the older kind of key takes none.
    pub fn seal_signature(&self, signature: Signature, random: NonceRandom) -> Vec<u8> {
        match self {
            Self::CtrHmac(key) => unsalted::seal_signature(key, signature).to_vec(),
            Self::GcmSiv(key) => seal_signature(key, &key.nonce(random), signature),
        }
    }

    /// Decrypts the client's signature. Nothing is proved until the signature is verified.
    ///
    /// # Errors
    /// [`HandshakeError::MaterialLength`] unless `sealed` is as long as a sealed signature;
    /// [`HandshakeError::InvalidSignature`] if it does not decrypt, or is the gateway's own.
    pub fn open_signature(&self, sealed: &[u8]) -> Result<Signature, HandshakeError> {
        match self {
            Self::CtrHmac(key) => unsalted::open_signature(key, sealed),
            Self::GcmSiv(key) => open_signature(key, sealed),
        }
    }
}

fn seal_signature<S: Side>(side: &S, nonce: &S::Nonce, signature: Signature) -> Vec<u8> {
    let mut sealed = side::seal(side, nonce, signature.to_vec());
    sealed.extend_from_slice(nonce.borrow());
    sealed
}

fn open_signature(side: &impl Side, sealed: &[u8]) -> Result<Signature, HandshakeError> {
    const EXPECTED: usize = SIGNATURE_LEN + AEAD_TAG_LEN + NONCE_LEN;
    match sealed.split_last_chunk() {
        Some((ciphertext, nonce)) if sealed.len() == EXPECTED => side::open(side, nonce, ciphertext.to_vec())
            .ok()
            .and_then(|signature| signature.try_into().ok())
            .ok_or(HandshakeError::InvalidSignature),
        _ => Err(HandshakeError::MaterialLength { got: sealed.len(), expected: EXPECTED }),
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signature as Ed25519Signature, Signer, SigningKey, Verifier};
    use proptest::{collection::vec, prelude::*};
    use serde_json::Value;
    use x25519_dalek::{PublicKey as X25519Key, StaticSecret};

    use super::*;
    use crate::{
        side::{GatewayNonce, MarkingKey},
        vectors::{bytes_of, file, hex_of},
    };

    fn any_key(bytes: &PublicKey) -> Option<PublicKey> {
        Some(*bytes)
    }

    fn init(salt: Option<Salt>) -> ClientInit {
        ClientInit { identity: [1; 32], ephemeral: [2; 32], salt }
    }

    /// Plays both sides of a recorded registration, from their secrets and nonces alone.
    fn re_enact(case: &Value) {
        let message = |n: usize| hex_of(&case["messages"][n]["data"]);
        let identity = |side: &str| SigningKey::from_bytes(&bytes_of(&case[side]["secret_seed"]));
        let secret = |side: &str| StaticSecret::from(bytes_of::<32>(&case[side]["secret"]));
        let (client, gateway) = (identity("client_identity"), identity("gateway_identity"));
        let (x, y) = (secret("client_ephemeral_x25519"), secret("gateway_ephemeral_x25519"));

        let init = ClientInit {
            identity: client.verifying_key().to_bytes(),
            ephemeral: X25519Key::from(&x).to_bytes(),
            salt: Some(bytes_of(&case["hkdf_salt"])),
        };
        assert_eq!(init.encode(), message(0));
        assert_eq!(ClientInit::parse(&message(0), any_key), Ok((init, init.identity)));

        let keys = init.keys(X25519Key::from(&y).to_bytes());
        let shared = y.diffie_hellman(&X25519Key::from(keys.client));
        assert_eq!(shared.as_bytes(), x.diffie_hellman(&X25519Key::from(keys.gateway)).as_bytes());
        let key = init.derive_key(shared.as_bytes());
        assert_eq!(key, SessionKey::GcmSiv(GcmSivKey::from_bytes(bytes_of(&case["derived_shared_key"]))));

        let nonce = |message: &[u8]| *message.last_chunk().unwrap();
        let reply = GatewayReply::parse(&message(1)).unwrap();
        let signature = gateway.sign(&keys.signed_by_gateway()).to_bytes();
        let SessionKey::GcmSiv(plain) = &key else { panic!("another kind of key") };
        let (side, nonce_1) = (MarkingKey::of(plain), GatewayNonce::recorded(nonce(&message(1))));
        let sealed_signature = seal_signature(&side, &nonce_1, signature);
        assert_eq!(GatewayReply { ephemeral: keys.gateway, sealed_signature }, reply);
        assert_eq!(reply.encode(), message(1));
        let opened = Ed25519Signature::from_bytes(&key.open_signature(&reply.sealed_signature).unwrap());
        gateway.verifying_key().verify(&keys.signed_by_gateway(), &opened).unwrap();

        let signature = client.sign(&keys.signed_by_client()).to_bytes();
        assert_eq!(key.seal_signature(signature, nonce(&message(2))), message(2));
        let opened = Ed25519Signature::from_bytes(&GatewayKey::of(&key).open_signature(&message(2)).unwrap());
        client.verifying_key().verify_strict(&keys.signed_by_client(), &opened).unwrap();
        assert_eq!(message(3), crate::handshake::FINISHED);
    }

    #[test]
    fn every_recorded_registration_of_today_verifies() {
        let vectors = file("handshake_v3_v6.json");
        let cases = vectors["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 5);
        cases.iter().for_each(re_enact);
    }

    #[test]
    fn without_salt_it_is_the_handshake_of_2021() {
        let key = init(None).derive_key(&[5; 32]);
        let legacy = crate::handshake::derive_key(&[5; 32]);
        assert_eq!(key, SessionKey::CtrHmac(legacy.clone()));
        assert_eq!(key.seal_signature([7; 64], [0; 12]), crate::handshake::seal_signature(&legacy, [7; 64]));
        assert_eq!(init(None).encode(), HandshakeInit { identity: [1; 32], ephemeral: [2; 32] }.encode());
    }

    #[test]
    fn identity_is_judged_before_length() {
        let parse = |len| ClientInit::parse(&vec![1; len], any_key).map(|(init, _)| init.salt.is_some());
        for len in [0, 31] {
            assert_eq!(parse(len), Err(HandshakeError::NoIdentity), "{len}");
        }
        for len in [32, 63, 65, 79, 81] {
            assert_eq!(parse(len), Err(HandshakeError::MalformedInit), "{len}");
        }
        assert_eq!((parse(64), parse(80)), (Ok(false), Ok(true)));
        for len in [64, 80, 81] {
            let no_key = ClientInit::parse(&vec![1; len], |_| None::<()>);
            assert_eq!(no_key, Err(HandshakeError::NoIdentity), "{len}");
        }
    }

    #[test]
    fn only_a_whole_sealed_signature_is_opened() {
        for (salt, expected, lens) in [(None, 64, [0, 63, 92]), (Some([3; 16]), 92, [64, 91, 93])] {
            let key = init(salt).derive_key(&[5; 32]);
            for got in lens {
                let refused = Err(HandshakeError::MaterialLength { got, expected });
                assert_eq!(key.open_signature(&vec![7; got]), refused);
                assert_eq!(GatewayKey::of(&key).open_signature(&vec![7; got]), refused);
            }
        }
        let key = init(Some([3; 16])).derive_key(&[5; 32]);
        assert_eq!(key.open_signature(&[7; 92]), Err(HandshakeError::InvalidSignature));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(data in vec(any::<u8>(), 0..140)) {
            if let Ok((init, _)) = ClientInit::parse(&data, any_key) {
                prop_assert_eq!(ClientInit::kind_by_len(data.len()), Some(init.derive_key(&[5; 32]).kind()));
                prop_assert_eq!(init.encode(), &data[..]);
            }
            if let Some(reply) = GatewayReply::parse(&data) {
                prop_assert_eq!(reply.encode(), &data[..]);
            }
            for salt in [None, Some([3; 16])] {
                let key = init(salt).derive_key(&[5; 32]);
                let _ = (key.open_signature(&data), GatewayKey::of(&key).open_signature(&data));
            }
        }

        #[test]
        fn messages_and_signatures_round_trip(secret: [u8; 32], salt: Option<[u8; 16]>, nonce: [u8; 12], half: [u8; 32]) {
            let init = init(salt);
            prop_assert_eq!(ClientInit::parse(&init.encode(), any_key), Ok((init, init.identity)));
            let key = init.derive_key(&secret);
            let signature: Signature = [half, secret].concat().try_into().unwrap();
            let (gateway, [random @ .., _, _, _, _, _, _]) = (GatewayKey::of(&key), nonce);
            prop_assert_eq!(gateway.open_signature(&key.seal_signature(signature, nonce)), Ok(signature));
            let sealed = gateway.seal_signature(signature, random);
            prop_assert_eq!(key.open_signature(&sealed), Ok(signature));
            let sent_back = if salt.is_some() { Err(HandshakeError::InvalidSignature) } else { Ok(signature) };
            prop_assert_eq!(gateway.open_signature(&sealed), sent_back);
        }
    }
}
