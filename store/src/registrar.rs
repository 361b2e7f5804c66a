//! The gateway's half of the registration handshake: agrees on a key, signs, and checks that the client signed.
//!
//! *Trusts* nothing the client sent. *Holds* nothing between the two steps but what [`Begun`] carries. *Promises*: a
//! [`Registration`] exists only for a client that signed this very handshake.

use client_wire::{
    handshake::{ClientInit, EphemeralKeys, GatewayReply, HandshakeError, PublicKey as IdentityKey, Signature},
    key::SessionKey,
    login::LoginForm,
    side::GatewayKey,
};
use ed25519_dalek::{Signature as Ed25519Signature, VerifyingKey};
use wire::address::ClientAddress;
use x25519_dalek::{EphemeralSecret, PublicKey};

use identity::Identity;

/// A handshake that waits for the client's signature.
#[derive(Debug)]
pub struct Begun {
    client: VerifyingKey,
    keys: EphemeralKeys,
    key: SessionKey,
    logins: LoginForm,
}

#[cfg(test)]
impl Begun {
    /// A handshake that is never finished, for tests that do no arithmetic.
    pub(crate) fn idle() -> Self {
        let keys = EphemeralKeys { client: [0; 32], gateway: [0; 32] };
        let key = SessionKey::CtrHmac(client_wire::key::CtrHmacKey::from_bytes([0; 32]));
        Self { client: VerifyingKey::default(), keys, key, logins: LoginForm::Token }
    }
}

/// A client that has proved its identity, and the key it shares with the gateway.
#[derive(Debug)]
pub struct Registration {
    /// Which client.
    pub client: ClientAddress,
    /// The key.
    pub key: SessionKey,
    /// How it will log in with that key.
    pub logins: LoginForm,
}

/// Answers the client's first message, which says by its length what kind of key there will be; with that the client will log
/// in in the form `logins`. Costs two X25519 and one Ed25519 operation.
///
/// # Errors
/// If the message is none.
pub fn begin(identity: &Identity, init: &[u8], logins: LoginForm) -> Result<(Begun, Vec<u8>), HandshakeError> {
    let (init, client) = ClientInit::parse(init, |identity| VerifyingKey::from_bytes(identity).ok())?;
    let secret = EphemeralSecret::random_from_rng(&mut rand::rng());
    let keys = init.keys(PublicKey::from(&secret).to_bytes());
    let key = init.derive_key(secret.diffie_hellman(&PublicKey::from(init.ephemeral)).as_bytes());
    let sealed_signature = GatewayKey::of(&key).seal_signature(identity.sign_registration(&keys), rand::random());
    let reply = GatewayReply { ephemeral: keys.gateway, sealed_signature };
    Ok((Begun { client, keys, key, logins }, reply.encode()))
}

/// Checks the client's second message.
///
/// # Errors
/// If it is none, or the client did not sign.
pub fn finish(begun: Begun, material: &[u8]) -> Result<Registration, HandshakeError> {
    let signature = GatewayKey::of(&begun.key).open_signature(material)?;
    begun
        .client
        .verify_strict(&begun.keys.signed_by_client(), &Ed25519Signature::from_bytes(&signature))
        .map_err(|_| HandshakeError::InvalidSignature)?;
    let client = ClientAddress(begun.client.to_bytes());
    Ok(Registration { client, key: begun.key, logins: begun.logins })
}

/// Whether the Ed25519 key has signed the message.
pub fn is_signed(key: &IdentityKey, message: &[u8], signature: &Signature) -> bool {
    VerifyingKey::from_bytes(key)
        .is_ok_and(|key| key.verify_strict(message, &Ed25519Signature::from_bytes(signature)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use client_wire::key::KeyKind;
    use ed25519_dalek::{Signer, SigningKey};

    fn client_init(client: &SigningKey, secret: &EphemeralSecret, salt: Option<[u8; 16]>) -> ClientInit {
        ClientInit { identity: client.verifying_key().to_bytes(), ephemeral: PublicKey::from(secret).to_bytes(), salt }
    }

    #[test]
    fn both_sides_agree_and_sign_in_every_era() {
        let identity = Identity::from_seed(&[1; 32]).unwrap();
        let client = SigningKey::from_bytes(&[2; 32]);
        for (salt, kind) in [(None, KeyKind::CtrHmac), (Some([5; 16]), KeyKind::GcmSiv)] {
            let secret = EphemeralSecret::random_from_rng(&mut rand::rng());
            let init = client_init(&client, &secret, salt);
            let (begun, reply) = begin(&identity, &init.encode(), LoginForm::Signed).unwrap();
            let reply = GatewayReply::parse(&reply).unwrap();
            let keys = init.keys(reply.ephemeral);
            let key = init.derive_key(secret.diffie_hellman(&PublicKey::from(reply.ephemeral)).as_bytes());
            assert_eq!(key.kind(), kind);
            let signature = key.open_signature(&reply.sealed_signature).unwrap();
            let gateway = SigningKey::from_bytes(&[1; 32]).verifying_key().to_bytes();
            assert!(is_signed(&gateway, &keys.signed_by_gateway(), &signature));
            let answer = key.seal_signature(client.sign(&keys.signed_by_client()).to_bytes(), [6; 12]);
            let registration = finish(begun, &answer).unwrap();
            assert_eq!(registration.client.0, client.verifying_key().to_bytes());
            assert_eq!((registration.key, registration.logins), (key, LoginForm::Signed));
        }
    }

    #[test]
    fn a_client_that_did_not_sign_is_refused() {
        let identity = Identity::from_seed(&[1; 32]).unwrap();
        for (salt, expected) in [(None, 64), (Some([5; 16]), 92)] {
            let secret = EphemeralSecret::random_from_rng(&mut rand::rng());
            let init = client_init(&SigningKey::from_bytes(&[2; 32]), &secret, salt);
            let begun = || begin(&identity, &init.encode(), LoginForm::Token).unwrap().0;
            assert_eq!(finish(begun(), &vec![7; expected]).unwrap_err(), HandshakeError::InvalidSignature);
            assert_eq!(finish(begun(), &[7; 63]).unwrap_err(), HandshakeError::MaterialLength { got: 63, expected });
        }
    }

    #[test]
    fn a_first_message_that_is_none_is_refused() {
        let identity = Identity::from_seed(&[1; 32]).unwrap();
        let mut not_a_point = [1; 64];
        not_a_point[..32].copy_from_slice(&[0; 32]);
        not_a_point[0] = 2;
        let begin = |init: &[u8]| begin(&identity, init, LoginForm::Token);
        assert_eq!(begin(&not_a_point).unwrap_err(), HandshakeError::NoIdentity);
        assert_eq!(begin(&[1; 31]).unwrap_err(), HandshakeError::NoIdentity);
        let key = SigningKey::from_bytes(&[2; 32]).verifying_key().to_bytes();
        assert_eq!(begin(&key).unwrap_err(), HandshakeError::MalformedInit);
    }
}
