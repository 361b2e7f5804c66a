//! The login of clients since protocol version 4, `authenticateV2`: proof of the session key and of the identity key, with a
//! time by which each login is valid only once.
//!
//! Signed is `version 1 | identity 32 | AES-256-GCM-SIV(session key, nonce, identity) 48 | nonce 12 | Unix time 8`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use wire::address::ClientAddress;

use super::gcm_siv::{SealedAddress, is_sealed_address, seal_address};
use crate::{
    control::request::ClientRequest,
    handshake::{PublicKey, SIGNATURE_LEN, Signature},
    key::{GcmSivKey, NONCE_LEN, Nonce},
    side::MarkingKey,
};

/// How far the time in a login may be off, in seconds, in either direction.
pub const MAX_SKEW: u64 = 120;

const SIGNED_LEN: usize = 1 + ClientAddress::LEN + size_of::<SealedAddress>() + NONCE_LEN + size_of::<u64>();

/// The claim that a client signs to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginClaim {
    /// The protocol version as the client wrote it, since the number is signed.
    pub protocol_version: u8,
    /// The client's Ed25519 key, and so its address.
    pub identity: ClientAddress,
    /// The address under the client's session key.
    #[serde(with = "crate::long_array")]
    pub address_ciphertext: SealedAddress,
    /// The nonce of the encryption.
    pub nonce: Nonce,
    /// When the client made the login, in seconds since 1970.
    pub timestamp: u64,
}

/// The login of an `authenticateV2` message, parsed and unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedLogin {
    /// The claim.
    pub claim: LoginClaim,
    /// The signature over [`LoginClaim::signed_bytes`].
    #[serde(with = "crate::long_array")]
    pub signature: Signature,
}

/// Why the fields of an `authenticateV2` message are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignedLoginError {
    /// A field is not base64, or a key or signature has a wrong length. The text is not a request.
    #[error("an authenticateV2 request has a field that is no key, signature or base64 text")]
    Malformed,
    /// The encrypted address or its nonce has a wrong length, so the login cannot be valid.
    #[error("an authenticateV2 request has an encrypted address or a nonce of a wrong length")]
    CiphertextLength,
}

impl LoginClaim {
    /// Makes the claim for a client to sign. `nonce` must be fresh and random; `timestamp` must be later than in its last
    /// login.
    pub fn create(
        protocol_version: u8,
        key: &GcmSivKey,
        identity: ClientAddress,
        nonce: Nonce,
        timestamp: u64,
    ) -> Self {
        let address_ciphertext = seal_address(key, &identity, &nonce);
        Self { protocol_version, identity, address_ciphertext, nonce, timestamp }
    }

    /// The bytes that are signed with the identity key.
    pub fn signed_bytes(&self) -> [u8; SIGNED_LEN] {
        let mut bytes = [0; SIGNED_LEN];
        let parts = [self.protocol_version]
            .into_iter()
            .chain(self.identity.0)
            .chain(self.address_ciphertext)
            .chain(self.nonce)
            .chain(self.timestamp.to_be_bytes());
        for (to, from) in bytes.iter_mut().zip(parts) {
            *to = from;
        }
        bytes
    }

    /// Whether the time is near enough to `now`.
    pub const fn is_timely(&self, now: u64) -> bool {
        self.timestamp.abs_diff(now) <= MAX_SKEW
    }

    /// Whether the time is later than that of the client's last login.
    pub fn is_newer_than(&self, last: Option<u64>) -> bool {
        last.is_none_or(|last| self.timestamp > last)
    }

    /// Whether a client encrypted the address with the key, in constant time.
    pub fn is_of(&self, key: &MarkingKey) -> bool {
        is_sealed_address(key, &self.identity, &self.nonce, &self.address_ciphertext)
    }
}

impl SignedLogin {
    /// Reads the fields of the message, in the order of their names there.
    ///
    /// # Errors
    /// [`SignedLoginError`].
    pub fn from_fields(
        protocol_version: u8,
        client_identity: &[u8],
        address_ciphertext: &str,
        nonce: &str,
        timestamp: u64,
        request_signature: &[u8],
    ) -> Result<Self, SignedLoginError> {
        let identity = PublicKey::try_from(client_identity).map_err(|_| SignedLoginError::Malformed)?;
        let signature = request_signature.try_into().map_err(|_| SignedLoginError::Malformed)?;
        let decode = |text| STANDARD.decode(text).map_err(|_| SignedLoginError::Malformed);
        let (address_ciphertext, nonce) = (decode(address_ciphertext)?, decode(nonce)?);
        let claim = LoginClaim {
            protocol_version,
            identity: ClientAddress(identity),
            address_ciphertext: address_ciphertext.try_into().map_err(|_| SignedLoginError::CiphertextLength)?,
            nonce: nonce.try_into().map_err(|_| SignedLoginError::CiphertextLength)?,
            timestamp,
        };
        Ok(Self { claim, signature })
    }

    /// The message with this login.
    pub fn to_request(&self) -> ClientRequest {
        ClientRequest::AuthenticateV2 {
            protocol_version: self.claim.protocol_version,
            client_identity: self.claim.identity.0.to_vec(),
            address_ciphertext: STANDARD.encode(self.claim.address_ciphertext),
            nonce: STANDARD.encode(self.claim.nonce),
            request_unix_timestamp: self.claim.timestamp,
            request_signature: self.signature.to_vec(),
        }
    }

    /// Whether the identity key has signed the claim. `verify` gets key, message and signature.
    pub fn is_signed(&self, verify: impl FnOnce(&PublicKey, &[u8], &[u8; SIGNATURE_LEN]) -> bool) -> bool {
        verify(&self.claim.identity.0, &self.claim.signed_bytes(), &self.signature)
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signature as Ed25519Signature, Signer, SigningKey, VerifyingKey};
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::vectors::{bytes_of, file, hex_of};

    fn verify(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
        VerifyingKey::from_bytes(key)
            .is_ok_and(|key| key.verify_strict(message, &Ed25519Signature::from_bytes(signature)).is_ok())
    }

    fn claim() -> LoginClaim {
        LoginClaim::create(6, &GcmSivKey::from_bytes([5; 32]), ClientAddress([1; 32]), [2; 12], 1_000)
    }

    /// What the text of a request says.
    fn read(text: &str) -> Result<SignedLogin, SignedLoginError> {
        let Ok(ClientRequest::AuthenticateV2 {
            protocol_version,
            client_identity,
            address_ciphertext,
            nonce,
            request_unix_timestamp,
            request_signature,
        }) = text.parse()
        else {
            return Err(SignedLoginError::Malformed);
        };
        SignedLogin::from_fields(
            protocol_version,
            &client_identity,
            &address_ciphertext,
            &nonce,
            request_unix_timestamp,
            &request_signature,
        )
    }

    #[test]
    fn is_the_login_of_a_real_client_from_its_key_to_its_text() {
        let vectors = file("authenticate_v2.json");
        let key = GcmSivKey::from_bytes(bytes_of(&vectors["shared_key"]));
        let identity = SigningKey::from_bytes(&bytes_of(&vectors["client_identity"]["secret_seed"]));
        let address = ClientAddress(bytes_of(&vectors["destination_address"]));
        assert_eq!(address.0, identity.verifying_key().to_bytes());
        let cases = vectors["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 3);
        for case in cases {
            let number = |field: &str| case[field].as_u64().unwrap();
            let version = number("protocol_version").try_into().unwrap();
            let nonce = bytes_of(&case["nonce"]);
            let claim = LoginClaim::create(version, &key, address, nonce, number("request_unix_timestamp"));
            assert_eq!(claim.address_ciphertext, bytes_of(&case["address_ciphertext"]));
            assert_eq!(claim.signed_bytes()[..], hex_of(&case["signed_plaintext"]));
            let login = SignedLogin { claim, signature: identity.sign(&claim.signed_bytes()).to_bytes() };
            assert_eq!(login.signature, bytes_of(&case["signature"]));
            assert_eq!(login.to_request().to_string(), case["text"]);
            assert_eq!(read(case["text"].as_str().unwrap()), Ok(login));
            assert!(login.is_signed(verify) && claim.is_of(&MarkingKey::of(&key)));
        }
    }

    /// `client-edge` and `store` tell each other logins in this form.
    #[test]
    fn a_login_travels_as_its_fields_and_bytes_in_a_row() {
        let login = SignedLogin { claim: claim(), signature: std::array::from_fn(|n| n as u8) };
        let mut form = serde_json::to_value(login).unwrap();
        assert_eq!(form["signature"], serde_json::json!(login.signature.to_vec()));
        assert_eq!(serde_json::from_value::<SignedLogin>(form.clone()).unwrap(), login);
        form["signature"].as_array_mut().unwrap().pop();
        let error = serde_json::from_value::<SignedLogin>(form.clone()).unwrap_err().to_string();
        assert_eq!(error, "invalid length 63, expected 64 bytes");
        form["signature"] = 7.into();
        assert!(serde_json::from_value::<SignedLogin>(form).is_err());
    }

    #[test]
    fn the_time_may_be_two_minutes_off() {
        for (now, timely) in
            [(879, false), (880, true), (1_000, true), (1_120, true), (1_121, false), (u64::MAX, false)]
        {
            assert_eq!(claim().is_timely(now), timely, "{now}");
        }
    }

    #[test]
    fn the_same_second_is_not_newer() {
        assert!(claim().is_newer_than(None));
        assert!(claim().is_newer_than(Some(999)));
        assert!(!claim().is_newer_than(Some(1_000)));
        assert!(!claim().is_newer_than(Some(1_001)));
    }

    #[test]
    fn a_field_of_a_wrong_length_is_no_request_or_no_proof() {
        let (address, nonce) = (STANDARD.encode([1; 48]), STANDARD.encode([2; 12]));
        let read = |identity, address: &str, nonce: &str, signature| {
            SignedLogin::from_fields(6, &vec![1; identity], address, nonce, 7, &vec![3; signature]).err()
        };
        assert_eq!(read(32, &address, &nonce, 64), None);
        let (malformed, length) = (Some(SignedLoginError::Malformed), Some(SignedLoginError::CiphertextLength));
        for identity in [0, 31, 33] {
            assert_eq!(read(identity, &address, &nonce, 64), malformed);
        }
        for signature in [0, 63, 65] {
            assert_eq!(read(32, &address, &nonce, signature), malformed);
        }
        assert_eq!(read(32, "*", &nonce, 64), malformed);
        assert_eq!(read(32, &address, nonce.trim_end_matches('=').get(1..).unwrap(), 64), malformed);
        assert_eq!(read(32, "", &nonce, 64), length);
        assert_eq!(read(32, &address, &address, 64), length);
    }

    proptest! {
        #[test]
        fn every_signed_byte_counts(at in 0..SIGNED_LEN, bit in 0..8) {
            let identity = SigningKey::from_bytes(&[9; 32]);
            let key = GcmSivKey::from_bytes([5; 32]);
            let address = ClientAddress(identity.verifying_key().to_bytes());
            let claim = LoginClaim::create(6, &key, address, [2; 12], 1_000);
            let signature = identity.sign(&claim.signed_bytes()).to_bytes();
            let mut bytes = claim.signed_bytes();
            bytes[at] ^= 1_u8 << bit;
            let damaged = LoginClaim {
                protocol_version: bytes[0],
                identity: ClientAddress(bytes[1..33].try_into().unwrap()),
                address_ciphertext: bytes[33..81].try_into().unwrap(),
                nonce: bytes[81..93].try_into().unwrap(),
                timestamp: u64::from_be_bytes(bytes[93..].try_into().unwrap()),
            };
            prop_assert_eq!(damaged.signed_bytes(), bytes);
            let is_signed = SignedLogin { claim: damaged, signature }.is_signed(verify);
            prop_assert!(!is_signed);
            prop_assert_eq!(damaged.is_of(&MarkingKey::of(&key)), !(1..93).contains(&at));
        }

        #[test]
        fn no_fields_panic(identity in vec(any::<u8>(), 0..70), address in ".{0,80}", nonce in "[A-Za-z0-9+/=]{0,20}") {
            let _ = SignedLogin::from_fields(6, &identity, &address, &nonce, 0, &identity);
            let _ = SignedLogin::from_fields(6, &[1; 32], &address, &nonce, 0, &[1; 64]);
        }

        #[test]
        fn texts_round_trip(version: u8, identity: [u8; 32], nonce: [u8; 12], timestamp: u64, signature in vec(any::<u8>(), 64)) {
            let key = GcmSivKey::from_bytes([5; 32]);
            let claim = LoginClaim::create(version, &key, ClientAddress(identity), nonce, timestamp);
            let login = SignedLogin { claim, signature: signature.try_into().unwrap() };
            prop_assert_eq!(read(&login.to_request().to_string()), Ok(login));
        }
    }
}
