//! Every control message of a client, of every protocol version, but for those within a handshake.
//!
//! Fields are in the order in which clients write them. Names of fields are in snake case, but for `authenticateV2`.

use serde::{Deserialize, Serialize};

/// A request of a client in a text frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum ClientRequest {
    /// Asks for the protocol version of the gateway. Since 2024; today's clients ask this first.
    SupportedProtocol {},
    /// The first message of a registration. The message has two names; clients write this one.
    #[serde(rename = "handshakePayload", alias = "registerHandshakeInitRequest")]
    Handshake {
        /// The client's protocol version; absent in 2021.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        protocol_version: Option<u8>,
        /// An encoded [`ClientInit`](crate::handshake::ClientInit).
        data: Vec<u8>,
    },
    /// A login until protocol version 3. The fields make up an
    /// [`AuthenticationToken`](crate::token::AuthenticationToken) or a
    /// [`GcmSivToken`](crate::token::GcmSivToken).
    Authenticate {
        /// The client's protocol version; absent in 2021.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        protocol_version: Option<u8>,
        /// The client's address, in base58.
        address: String,
        /// The address under the session key, in base58.
        enc_address: String,
        /// The IV or nonce, in base58.
        iv: String,
    },
    /// A login since protocol version 4. The fields make up a
    /// [`SignedLogin`](crate::token::SignedLogin).
    #[serde(rename_all = "camelCase")]
    AuthenticateV2 {
        /// The client's protocol version.
        protocol_version: u8,
        /// The client's Ed25519 key.
        client_identity: Vec<u8>,
        /// The address under the session key, in base64.
        address_ciphertext: String,
        /// The nonce, in base64.
        nonce: String,
        /// The time of the login, in seconds since 1970.
        request_unix_timestamp: u64,
        /// The Ed25519 signature.
        request_signature: Vec<u8>,
    },
    /// Claims bandwidth without a credential.
    ClaimFreeTestnetBandwidth {},
    /// Claims bandwidth for a zk-nym.
    EcashCredential {
        /// The credential under the session key.
        enc_credential: Vec<u8>,
        /// The nonce.
        #[serde(alias = "nonce")]
        iv: Vec<u8>,
    },
    /// Claims bandwidth for a credential of 2022 and 2023.
    BandwidthCredential {
        /// The credential under the session key.
        enc_credential: Vec<u8>,
        /// The IV.
        iv: Vec<u8>,
    },
    /// Claims bandwidth for a credential of 2024.
    BandwidthCredentialV2 {
        /// The credential under the session key.
        enc_credential: Vec<u8>,
        /// The IV.
        iv: Vec<u8>,
    },
    /// Claims bandwidth while the network is being upgraded. Since protocol version 6.
    #[serde(rename = "upgradeModeJWT")]
    UpgradeModeJwt {
        /// A JSON web token.
        token: String,
    },
    /// A [`SensitiveRequest`](super::sealed::SensitiveRequest). Since protocol version 3.
    EncryptedRequest {
        /// The request under the session key.
        ciphertext: Vec<u8>,
        /// The nonce.
        nonce: Vec<u8>,
    },
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{control::MalformedMessage, vectors::file};

    fn rewritten(text: &str) -> Option<String> {
        text.parse::<ClientRequest>().ok().map(|request| request.to_string())
    }

    fn texts_of_today() -> Vec<String> {
        let requests = file("control_messages.json")["requests"].clone();
        let requests = requests.as_object().unwrap().values();
        let texts = requests.map(|request| request.as_str().or(request["text"].as_str()).unwrap().to_owned());
        let logins = file("authenticate_v2.json")["cases"].clone();
        let logins = logins.as_array().unwrap().iter().map(|case| case["text"].as_str().unwrap().to_owned());
        texts.chain(logins).collect()
    }

    #[test]
    fn writes_every_request_of_today_as_real_clients_do() {
        let texts = texts_of_today();
        assert_eq!(texts.len(), 6 + 6 + 3);
        for text in texts {
            assert_eq!(rewritten(&text).as_ref(), Some(&text));
        }
        let handshakes = file("handshake_v3_v6.json")["cases"].clone();
        for case in handshakes.as_array().unwrap() {
            let text = case["messages"][0]["text"].as_str().unwrap();
            assert_eq!(rewritten(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn other_names_of_the_same_thing_are_understood() {
        let ecash = r#"{"type":"ecashCredential","enc_credential":[1],"nonce":[2]}"#;
        let expected = ClientRequest::EcashCredential { enc_credential: vec![1], iv: vec![2] };
        assert_eq!(ecash.parse(), Ok(expected));
        for text in [
            r#"{"type":"supportedProtocol","extra":{"a":[1]}}"#,
            r#"{"extra":1,"type":"claimFreeTestnetBandwidth"}"#,
            r#"{"type":"registerHandshakeInitRequest","protocol_version":6,"data":[1]}"#,
            r#"{"type":"authenticate","protocol_version":null,"address":"","enc_address":"","iv":""}"#,
        ] {
            assert!(text.parse::<ClientRequest>().is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_not_quite_a_request_is_none() {
        for text in [
            r#"{"type":"SupportedProtocol"}"#,
            r#"{"type":"upgradeModeJwt","token":"a"}"#,
            r#"{"type":"encryptedRequest","ciphertext":[1]}"#,
            r#"{"type":"encryptedRequest","ciphertext":[256],"nonce":[]}"#,
            r#"{"type":"handshakePayload","protocol_version":256,"data":[]}"#,
            r#"{"type":"handshakePayload","protocol_version":6}"#,
            r#"{"type":"authenticateV2","protocol_version":6}"#,
            r#"{"type":"handshakeError","message":"nope"}"#,
            "supportedProtocol",
            "",
        ] {
            assert_eq!(text.parse::<ClientRequest>(), Err(MalformedMessage), "{text}");
        }
    }

    proptest! {
        #[test]
        fn queries_round_trip(version: Option<u8>, one in vec(any::<u8>(), 0..100), two in vec(any::<u8>(), 0..20), text in ".{0,50}") {
            for request in [
                ClientRequest::SupportedProtocol {},
                ClientRequest::Handshake { protocol_version: version, data: one.clone() },
                ClientRequest::Authenticate {
                    protocol_version: version,
                    address: text.clone(),
                    enc_address: text.clone(),
                    iv: text.clone(),
                },
                ClientRequest::AuthenticateV2 {
                    protocol_version: version.unwrap_or(6),
                    client_identity: one.clone(),
                    address_ciphertext: text.clone(),
                    nonce: text.clone(),
                    request_unix_timestamp: u64::MAX,
                    request_signature: two.clone(),
                },
                ClientRequest::ClaimFreeTestnetBandwidth {},
                ClientRequest::EcashCredential { enc_credential: one.clone(), iv: two.clone() },
                ClientRequest::BandwidthCredential { enc_credential: one.clone(), iv: two.clone() },
                ClientRequest::BandwidthCredentialV2 { enc_credential: one.clone(), iv: two.clone() },
                ClientRequest::UpgradeModeJwt { token: text.clone() },
                ClientRequest::EncryptedRequest { ciphertext: one, nonce: two },
            ] {
                prop_assert_eq!(request.to_string().parse(), Ok(request));
            }
        }

        #[test]
        fn no_text_panics(text: String, inside in r#"[\[\]{}":,0-9a-zA-Z_\\]{0,60}"#) {
            let _ = text.parse::<ClientRequest>();
            let _ = format!(r#"{{"type":{inside}}}"#).parse::<ClientRequest>();
        }

        #[test]
        fn no_damaged_request_panics(which: prop::sample::Index, at: prop::sample::Index, patch in r#"[\[\]{}":,0-9a-z\\]{0,4}"#) {
            let texts = texts_of_today();
            let text = which.get(&texts);
            let (before, after) = text.split_at(at.index(text.len()));
            let _ = before.parse::<ClientRequest>();
            let _ = (before.to_owned() + &patch + &after[1..]).parse::<ClientRequest>();
        }
    }
}
