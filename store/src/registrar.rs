//! The gateway's half of the registration handshake: agrees on a key, signs, and checks that the client signed.
//!
//! *Trusts* nothing the client sent. *Holds* nothing between the two steps but what [`Begun`] carries. *Promises*: a
//! [`Registration`] exists only for a client that signed this very handshake.

use ed25519_dalek::{Signature as Ed25519Signature, VerifyingKey};
use proto::{
    address::ClientAddress,
    ipc::store_edge::{HandshakeRefusal, SessionKey},
    wire::client::{
        handshake::{self, EphemeralKeys, GatewayMaterial, HandshakeInit},
        key::CtrHmacKey,
        refusal::HandshakeFailure,
    },
};
use x25519_dalek::{EphemeralSecret, PublicKey};

use crate::identity::Identity;

/// A handshake that waits for the client's signature.
#[derive(Debug)]
pub struct Begun {
    client: VerifyingKey,
    keys: EphemeralKeys,
    key: CtrHmacKey,
}

/// A client that has proved its identity, and the key it shares with the gateway.
#[derive(Debug)]
pub struct Registration {
    /// Who.
    pub client: ClientAddress,
    /// The key.
    pub key: SessionKey,
}

/// Answers the client's first message. Costs two X25519 and one Ed25519 operation.
///
/// # Errors
/// If the message is none.
pub fn begin(identity: &Identity, init: &[u8]) -> Result<(Begun, Vec<u8>), HandshakeRefusal> {
    let (init, client) =
        HandshakeInit::parse(init, |identity| VerifyingKey::from_bytes(identity).ok()).map_err(refusal)?;
    let secret = EphemeralSecret::random_from_rng(&mut rand::rng());
    let keys = EphemeralKeys { client: init.ephemeral, gateway: PublicKey::from(&secret).to_bytes() };
    let key = handshake::derive_key(secret.diffie_hellman(&PublicKey::from(init.ephemeral)).as_bytes());
    let material = GatewayMaterial {
        ephemeral: keys.gateway,
        sealed_signature: handshake::seal_signature(&key, identity.sign(&keys)),
    };
    Ok((Begun { client, keys, key }, material.encode().to_vec()))
}

/// Checks the client's second message.
///
/// # Errors
/// If it is none, or the client did not sign.
pub fn finish(begun: Begun, material: &[u8]) -> Result<Registration, HandshakeRefusal> {
    let signature = handshake::open_signature(&begun.key, material).map_err(refusal)?;
    begun
        .client
        .verify_strict(&begun.keys.signed_by_client(), &Ed25519Signature::from_bytes(&signature))
        .map_err(|_| HandshakeRefusal::InvalidSignature)?;
    Ok(Registration { client: ClientAddress(begun.client.to_bytes()), key: SessionKey::CtrHmac(begun.key) })
}

fn refusal(failure: HandshakeFailure) -> HandshakeRefusal {
    let bytes = |len| u32::try_from(len).unwrap_or(u32::MAX);
    match failure {
        HandshakeFailure::NoIdentity => HandshakeRefusal::NoIdentity,
        // The client's own complaint never reaches this process.
        HandshakeFailure::MalformedInit | HandshakeFailure::Remote(_) => HandshakeRefusal::MalformedInit,
        HandshakeFailure::MaterialLength { got, expected } => {
            HandshakeRefusal::MaterialLength { got: bytes(got), expected: bytes(expected) }
        }
        HandshakeFailure::InvalidSignature => HandshakeRefusal::InvalidSignature,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey, Verifier};

    fn client_init(client: &SigningKey, secret: &EphemeralSecret) -> HandshakeInit {
        HandshakeInit { identity: client.verifying_key().to_bytes(), ephemeral: PublicKey::from(secret).to_bytes() }
    }

    #[test]
    fn both_sides_agree_and_sign() {
        let identity = Identity::from_seed(&[1; 32]).unwrap();
        let client = SigningKey::from_bytes(&[2; 32]);
        let secret = EphemeralSecret::random_from_rng(&mut rand::rng());
        let init = client_init(&client, &secret);
        let (begun, reply) = begin(&identity, &init.encode()).unwrap();
        let reply = GatewayMaterial::parse(&reply).unwrap();
        let keys = EphemeralKeys { client: init.ephemeral, gateway: reply.ephemeral };
        let key = handshake::derive_key(secret.diffie_hellman(&PublicKey::from(reply.ephemeral)).as_bytes());
        let signature = handshake::open_signature(&key, &reply.sealed_signature).unwrap();
        let gateway = SigningKey::from_bytes(&[1; 32]).verifying_key();
        gateway.verify(&keys.signed_by_gateway(), &Ed25519Signature::from_bytes(&signature)).unwrap();
        let answer = handshake::seal_signature(&key, client.sign(&keys.signed_by_client()).to_bytes());
        let registration = finish(begun, &answer).unwrap();
        assert_eq!(registration.client.0, client.verifying_key().to_bytes());
        assert_eq!(registration.key, SessionKey::CtrHmac(key));
    }

    #[test]
    fn a_client_that_did_not_sign_is_refused() {
        let identity = Identity::from_seed(&[1; 32]).unwrap();
        let secret = EphemeralSecret::random_from_rng(&mut rand::rng());
        let init = client_init(&SigningKey::from_bytes(&[2; 32]), &secret);
        let begun = || begin(&identity, &init.encode()).unwrap().0;
        assert_eq!(finish(begun(), &[7; 64]).unwrap_err(), HandshakeRefusal::InvalidSignature);
        assert_eq!(finish(begun(), &[7; 63]).unwrap_err(), HandshakeRefusal::MaterialLength { got: 63, expected: 64 });
    }

    #[test]
    fn a_first_message_that_is_none_is_refused() {
        let identity = Identity::from_seed(&[1; 32]).unwrap();
        let mut not_a_point = [1; 64];
        not_a_point[..32].copy_from_slice(&[0; 32]);
        not_a_point[0] = 2;
        assert_eq!(begin(&identity, &not_a_point).unwrap_err(), HandshakeRefusal::NoIdentity);
        assert_eq!(begin(&identity, &[1; 31]).unwrap_err(), HandshakeRefusal::NoIdentity);
        let key = SigningKey::from_bytes(&[2; 32]).verifying_key().to_bytes();
        assert_eq!(begin(&identity, &key).unwrap_err(), HandshakeRefusal::MalformedInit);
    }
}
