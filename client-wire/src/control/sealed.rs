//! Requests under the session key and their answers: JSON objects with one member, encrypted into the
//! messages `encryptedRequest` and `encryptedResponse`. Since protocol version 3.

use std::borrow::Borrow;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{answer::GatewayResponse, request::ClientRequest};
use crate::{
    key::{GcmSivKey, Nonce},
    side::{self, GatewayNonce, MarkingKey, NotOpened, Side},
};

/// A request of a client under its session key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SensitiveRequest {
    /// Remove the data that the gateway keeps of the client.
    ForgetMe {
        /// Whether to remove key and mail.
        client: bool,
        /// Whether to remove statistics.
        stats: bool,
    },
    /// Count the session as one of this kind.
    RememberMe {
        /// The kind of session.
        session_type: SessionType,
    },
    /// Replace a session key of before version 3. Until 2025.
    UpgradeKey {
        /// The salt for the derivation of the new key.
        hkdf_salt: Vec<u8>,
        /// A hash of the new key.
        derived_key_digest: Vec<u8>,
    },
}

/// The purpose of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionType {
    /// A tunnel of NymVPN.
    Vpn,
    /// Messages through the mixnet in general.
    Mixnet,
    /// A client in a browser.
    Wasm,
    /// A stand-alone client program.
    Native,
    /// A SOCKS5 proxy.
    Socks5,
    /// The client does not say.
    Unknown,
}

/// An answer of the gateway under the session key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SensitiveResponse {
    /// The request was carried out.
    ForgetMeAck {},
    /// The request was carried out.
    RememberMeAck {},
    /// The request was carried out. Until 2025.
    KeyUpgradeAck {},
}

/// Why an encrypted message was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealedMessageError {
    /// The message was made under another key, or altered on the way.
    #[error("an encrypted control message does not decrypt under the session key; the client has to register again")]
    NotAuthentic,
    /// The gateway made the message itself.
    #[error("an encrypted control message was sealed by the gateway itself; somebody who listens sent it back")]
    Reflected,
    /// The plaintext is not a message of this direction.
    #[error("an encrypted control message is of no known kind")]
    Unknown,
}

impl From<NotOpened> for SealedMessageError {
    fn from(why: NotOpened) -> Self {
        match why {
            NotOpened::NotAuthentic(_) => Self::NotAuthentic,
            NotOpened::Reflected => Self::Reflected,
        }
    }
}

impl SensitiveRequest {
    /// Encrypts the request, as a client does. `nonce` must be fresh and random.
    pub fn seal(&self, key: &GcmSivKey, nonce: Nonce) -> ClientRequest {
        ClientRequest::EncryptedRequest { ciphertext: seal(key, &nonce, self), nonce: nonce.to_vec() }
    }

    /// Decrypts the fields of an `encryptedRequest`.
    ///
    /// # Errors
    /// [`SealedMessageError`].
    pub fn open(key: &MarkingKey, ciphertext: Vec<u8>, nonce: &[u8]) -> Result<Self, SealedMessageError> {
        open(key, ciphertext, nonce)
    }
}

impl SensitiveResponse {
    /// Encrypts the response.
    pub fn seal(&self, key: &MarkingKey, nonce: GatewayNonce) -> GatewayResponse {
        let plain: &Nonce = nonce.borrow();
        GatewayResponse::EncryptedResponse { ciphertext: seal(key, &nonce, self), nonce: plain.to_vec() }
    }

    /// Decrypts the fields of an `encryptedResponse`, as a client does.
    ///
    /// # Errors
    /// [`SealedMessageError`].
    pub fn open(key: &GcmSivKey, ciphertext: Vec<u8>, nonce: &[u8]) -> Result<Self, SealedMessageError> {
        open(key, ciphertext, nonce)
    }
}

fn seal<S: Side>(side: &S, nonce: &S::Nonce, message: &impl Serialize) -> Vec<u8> {
    // Cannot fail, since numbers, strings and lists always have a JSON form.
    side::seal(side, nonce, serde_json::to_vec(message).unwrap_or_default())
}

fn open<T: DeserializeOwned>(side: &impl Side, ciphertext: Vec<u8>, nonce: &[u8]) -> Result<T, SealedMessageError> {
    let nonce = nonce.try_into().map_err(|_| SealedMessageError::NotAuthentic)?;
    let plaintext = side::open(side, nonce, ciphertext)?;
    serde_json::from_slice(&plaintext).map_err(|_| SealedMessageError::Unknown)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::vectors::{bytes_of, file, hex_of};

    const NONCE: Nonce = [7; 12];

    fn key() -> GcmSivKey {
        GcmSivKey::from_bytes([5; 32])
    }

    fn gateway() -> MarkingKey {
        MarkingKey::of(&key())
    }

    #[test]
    fn requests_and_answers_are_those_of_the_real_ones() {
        use SensitiveRequest::{ForgetMe, RememberMe};
        let vectors = file("control_messages.json");
        let key = GcmSivKey::from_bytes(bytes_of(&vectors["shared_key"]));
        for (name, request) in [
            ("forget_me", ForgetMe { client: true, stats: false }),
            ("forget_me_both", ForgetMe { client: true, stats: true }),
            ("remember_me_vpn", RememberMe { session_type: SessionType::Vpn }),
            ("remember_me_native", RememberMe { session_type: SessionType::Native }),
            ("remember_me_mixnet", RememberMe { session_type: SessionType::Mixnet }),
            ("remember_me_unknown", RememberMe { session_type: SessionType::Unknown }),
        ] {
            let case = &vectors["requests"][name];
            assert_eq!(serde_json::to_string(&request).unwrap(), case["plaintext"]);
            let (ciphertext, nonce) = (hex_of(&case["ciphertext"]), bytes_of(&case["nonce"]));
            assert_eq!(request.seal(&key, nonce).to_string(), case["text"]);
            assert_eq!(SensitiveRequest::open(&MarkingKey::of(&key), ciphertext, &nonce), Ok(request));
        }
        for (name, answer) in [
            ("forget_me_ack", SensitiveResponse::ForgetMeAck {}),
            ("remember_me_ack", SensitiveResponse::RememberMeAck {}),
        ] {
            let case = &vectors["responses"][name];
            assert_eq!(serde_json::to_string(&answer).unwrap(), case["plaintext"]);
            let (ciphertext, nonce) = (hex_of(&case["ciphertext"]), bytes_of(&case["nonce"]));
            let sealed = answer.seal(&MarkingKey::of(&key), GatewayNonce::recorded(nonce));
            assert_eq!(sealed.to_string(), case["text"]);
            assert_eq!(SensitiveResponse::open(&key, ciphertext, &nonce), Ok(answer));
        }
    }

    #[test]
    fn the_upgrade_of_a_key_is_recognised() {
        let text = r#"{"UpgradeKey":{"hkdf_salt":[1],"derived_key_digest":[2]}}"#;
        let upgrade = SensitiveRequest::UpgradeKey { hkdf_salt: vec![1], derived_key_digest: vec![2] };
        assert_eq!(SensitiveRequest::open(&gateway(), side::seal(&key(), &NONCE, text.into()), &NONCE), Ok(upgrade));
    }

    #[test]
    fn only_known_requests_under_this_key_are_read() {
        let open =
            |plaintext: &str| SensitiveRequest::open(&gateway(), side::seal(&key(), &NONCE, plaintext.into()), &NONCE);
        for unknown in ["", "{}", r#"{"forgetMe":{"client":true,"stats":true}}"#, r#"{"ForgetMe":{"client":true}}"#] {
            assert_eq!(open(unknown), Err(SealedMessageError::Unknown), "{unknown}");
        }
        assert_eq!(open(r#"{"RememberMe":{"session_type":"Other"}}"#), Err(SealedMessageError::Unknown));
        let sealed = side::seal(&key(), &NONCE, br#"{"ForgetMe":{"client":true,"stats":true}}"#.to_vec());
        for nonce in [&[][..], &[7; 11], &[7; 13], &[8; 12]] {
            let refused = SensitiveRequest::open(&gateway(), sealed.clone(), nonce);
            assert_eq!(refused, Err(SealedMessageError::NotAuthentic));
        }
    }

    #[test]
    fn what_the_gateway_sealed_is_no_request() {
        let nonce = gateway().nonce([7; 6]);
        let plaintext = br#"{"ForgetMe":{"client":true,"stats":true}}"#;
        let sealed = side::seal(&gateway(), &nonce, plaintext.to_vec());
        let plain: &Nonce = nonce.borrow();
        assert_eq!(SensitiveRequest::open(&gateway(), sealed, plain), Err(SealedMessageError::Reflected));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(ciphertext in vec(any::<u8>(), 0..100), nonce in vec(any::<u8>(), 0..14), text: String) {
            prop_assert!(SensitiveRequest::open(&gateway(), ciphertext.clone(), &nonce).is_err());
            prop_assert!(SensitiveResponse::open(&key(), ciphertext, &nonce).is_err());
            let sealed = side::seal(&key(), &NONCE, text.into());
            prop_assert_eq!(SensitiveRequest::open(&gateway(), sealed, &NONCE), Err(SealedMessageError::Unknown));
        }

        #[test]
        fn round_trips(client: bool, stats: bool, nonce: [u8; 12]) {
            let request = SensitiveRequest::ForgetMe { client, stats };
            let ClientRequest::EncryptedRequest { ciphertext, nonce } = request.seal(&key(), nonce) else {
                return Err(TestCaseError::fail("another request"));
            };
            prop_assert_eq!(SensitiveRequest::open(&gateway(), ciphertext, &nonce), Ok(request));
        }
    }
}
