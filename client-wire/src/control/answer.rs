//! Every control message of the gateway, of every protocol version, but for those within a handshake.
//!
//! Later versions added fields, which earlier clients ignore and earlier gateways did not write.
//! [`Protocol`](crate::protocol::Protocol) decides which fields a client gets; a client reads any. Fields are in the order
//! in which gateways write them.

use serde::{Deserialize, Serialize};

/// An answer of the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum GatewayResponse {
    /// The end of a registration.
    Register {
        /// The protocol version of the session; absent in 2021.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        protocol_version: Option<u8>,
        /// Whether the client is now registered and connected.
        status: bool,
        /// Whether the network is being upgraded; since version 6.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        upgrade_mode: Option<bool>,
    },
    /// The answer to a login.
    Authenticate {
        /// The protocol version of the session; absent in 2021.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        protocol_version: Option<u8>,
        /// Whether the client is now connected.
        status: bool,
        /// Bytes that the client may send; absent in 2021.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bandwidth_remaining: Option<i64>,
        /// Whether the network is being upgraded; since version 6.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        upgrade_mode: Option<bool>,
    },
    /// The answer to a forward request.
    Send {
        /// Whether the packet was taken, which may still be dropped; until version 2.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<bool>,
        /// Bytes that the client may send; absent in 2021.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remaining_bandwidth: Option<i64>,
        /// Whether the network is being upgraded; since version 6.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        upgrade_mode: Option<bool>,
    },
    /// The answer to a claim of bandwidth.
    Bandwidth {
        /// Bytes that the client may send.
        available_total: i64,
        /// Whether the network is being upgraded; since version 6.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        upgrade_mode: Option<bool>,
    },
    /// The answer to the question for the protocol version.
    SupportedProtocol {
        /// The highest version that the gateway speaks.
        version: u8,
    },
    /// A [`SensitiveResponse`](super::sealed::SensitiveResponse).
    EncryptedResponse {
        /// The response under the session key.
        ciphertext: Vec<u8>,
        /// The nonce.
        nonce: Vec<u8>,
    },
    /// A failure for a reason on which clients act.
    TypedError {
        /// The reason.
        error: TypedError,
    },
    /// Any other failure.
    Error {
        /// The reason, for humans.
        message: String,
    },
}

/// A reason on which clients act. This gateway meters nothing, so it never gives one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TypedError {
    /// The client has no bandwidth left.
    OutOfBandwidth {
        /// Bytes that the request would have taken.
        required: i64,
        /// Bytes that are left.
        available: i64,
    },
    /// A credential was spent before.
    TicketReplay,
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{
        control::HandshakeMessage,
        vectors::{dialogues, file},
    };

    fn rewritten(text: &str) -> Option<String> {
        text.parse::<GatewayResponse>().ok().map(|response| response.to_string())
    }

    #[test]
    fn writes_every_answer_of_today_as_real_gateways_do() {
        let vectors = file("control_messages.json");
        let answers = vectors["responses"].as_object().unwrap();
        assert_eq!(answers.len(), 10);
        for answer in answers.values() {
            let text = answer.as_str().or(answer["text"].as_str()).unwrap();
            assert_eq!(rewritten(text).as_deref(), Some(text));
        }
        let gave_up = vectors["handshake_error"].as_str().unwrap();
        assert_eq!(gave_up.parse::<HandshakeMessage>().unwrap().to_string(), gave_up);
    }

    #[test]
    fn writes_every_answer_of_2021_as_the_real_gateway_did() {
        let mut answers = 0;
        for (name, frames) in dialogues() {
            for (_, text) in frames.iter().filter(|(speaker, text)| speaker == "<-" && !text.contains("\"handshake")) {
                assert_eq!(rewritten(text).as_ref(), Some(text), "{name}");
                answers += 1;
            }
        }
        assert!(answers > 30, "{answers}");
    }

    #[test]
    fn reads_what_a_client_of_today_reads() {
        let vectors = file("control_messages.json");
        let cases = vectors["accepted_variants"]["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 4);
        for case in cases {
            let text = case["text"].as_str().unwrap();
            assert_eq!(rewritten(text).as_deref(), Some(text));
        }
    }

    proptest! {
        #[test]
        fn answers_round_trip(
            protocol_version: Option<u8>,
            status: bool,
            bandwidth: Option<i64>,
            upgrade_mode: Option<bool>,
            ciphertext in vec(any::<u8>(), 0..100),
            message in ".{0,100}",
        ) {
            let (required, available) = (bandwidth.unwrap_or(2413), -5);
            for answer in [
                GatewayResponse::Register { protocol_version, status, upgrade_mode },
                GatewayResponse::Authenticate { protocol_version, status, bandwidth_remaining: bandwidth, upgrade_mode },
                GatewayResponse::Send { status: Some(status), remaining_bandwidth: bandwidth, upgrade_mode },
                GatewayResponse::Bandwidth { available_total: required, upgrade_mode },
                GatewayResponse::SupportedProtocol { version: 6 },
                GatewayResponse::EncryptedResponse { ciphertext, nonce: vec![1; 12] },
                GatewayResponse::TypedError { error: TypedError::OutOfBandwidth { required, available } },
                GatewayResponse::TypedError { error: TypedError::TicketReplay },
                GatewayResponse::Error { message },
            ] {
                prop_assert_eq!(answer.to_string().parse(), Ok(answer));
            }
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = text.parse::<GatewayResponse>();
        }
    }
}
