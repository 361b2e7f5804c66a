//! Control messages: one JSON object per text frame, told apart by `type`.
//!
//! *Trusts* nothing. *Promises*: `Display` writes the exact text of a frame, compact, its fields in the network's
//! order; `FromStr` accepts what nym-gateway 0.10.1 accepts: unknown fields are ignored, `type` is case-sensitive,
//! bytes are numbers from 0 to 255. Reading a text takes memory proportional to it, and a text longer than
//! [`MAX_TEXT_LEN`] is not read.
//!
//! There is one type of message per phase: during a handshake both sides send a [`HandshakeMessage`]; otherwise a client sends a
//! [`ClientRequest`] and the gateway a [`GatewayResponse`]. Which message may come when is decided elsewhere.

pub mod answer;
pub mod request;
pub mod sealed;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use self::{answer::GatewayResponse, request::ClientRequest};

/// Longest text that is read, in bytes. Real clients send about a thousand at the most.
pub const MAX_TEXT_LEN: usize = 64 * 1024;

/// A message of either side during a registration, after the first message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum HandshakeMessage {
    /// The next step of the handshake.
    HandshakePayload {
        /// The sender's protocol version; absent in 2021.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        protocol_version: Option<u8>,
        /// The handshake message.
        data: Vec<u8>,
    },
    /// The sender gives up.
    HandshakeError {
        /// The reason, for humans.
        message: String,
    },
}

/// The text is not a message of the expected type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a text frame is no control message that may come now; the peer must send one JSON object of a known type")]
pub struct MalformedMessage;

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, MalformedMessage> {
    if text.len() > MAX_TEXT_LEN {
        return Err(MalformedMessage);
    }
    serde_json::from_str(text).map_err(|_| MalformedMessage)
}

fn write(message: &impl Serialize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(&serde_json::to_string(message).map_err(|_| fmt::Error)?)
}

macro_rules! text_frame {
    ($($message:ty),*) => {$(
        impl FromStr for $message {
            type Err = MalformedMessage;

            fn from_str(text: &str) -> Result<Self, MalformedMessage> {
                parse(text)
            }
        }

        impl fmt::Display for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write(self, f)
            }
        }
    )*};
}

text_frame!(ClientRequest, HandshakeMessage, GatewayResponse);

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::vectors::dialogues;

    /// Reads `text` as a `T` and writes it again.
    fn rewritten<T: FromStr + ToString>(text: &str) -> Option<String> {
        text.parse::<T>().ok().map(|message| message.to_string())
    }

    #[test]
    fn every_recorded_text_is_read_and_written_as_it_was() {
        let mut understood = 0;
        for (name, frames) in dialogues() {
            for (speaker, text) in frames {
                let message = rewritten::<HandshakeMessage>(&text).or_else(|| match &*speaker {
                    "->" => rewritten::<ClientRequest>(&text),
                    _ => rewritten::<GatewayResponse>(&text),
                });
                let Some(message) = message else {
                    assert_eq!(speaker, "->", "{name}: {text}");
                    continue;
                };
                let as_clients_write_it =
                    text.replace(",\"extra\":1", "").replace("registerHandshakeInitRequest", "handshakePayload");
                assert_eq!(message, as_clients_write_it, "{name}");
                understood += 1;
            }
        }
        assert_eq!(understood, 85);
    }

    #[test]
    fn a_version_is_read_and_echoed_where_it_was_given() {
        for text in [
            r#"{"type":"handshakePayload","protocol_version":1,"data":[0,255]}"#,
            r#"{"type":"authenticate","protocol_version":2,"address":"a","enc_address":"b","iv":"c"}"#,
        ] {
            assert_eq!(rewritten::<ClientRequest>(text).as_deref(), Some(text));
        }
        let null = r#"{"type":"handshakePayload","protocol_version":null,"data":[]}"#;
        let parsed = HandshakeMessage::HandshakePayload { protocol_version: None, data: Vec::new() };
        assert_eq!(null.parse(), Ok(parsed));
    }

    #[test]
    fn one_phase_does_not_understand_another() {
        let init = r#"{"type":"registerHandshakeInitRequest","data":[1]}"#;
        assert!(init.parse::<ClientRequest>().is_ok());
        assert_eq!(init.parse::<HandshakeMessage>(), Err(MalformedMessage));
        let gave_up = r#"{"type":"handshakeError","message":"nope"}"#;
        assert!(gave_up.parse::<HandshakeMessage>().is_ok());
        assert_eq!(gave_up.parse::<ClientRequest>(), Err(MalformedMessage));
    }

    #[test]
    fn only_numbers_up_to_255_are_bytes() {
        for data in ["[256]", "[-1]", "[1.0]", "[\"1\"]", "\"AQ==\"", "null", "[1,]"] {
            let text = format!(r#"{{"type":"handshakePayload","data":{data}}}"#);
            assert_eq!(text.parse::<ClientRequest>(), Err(MalformedMessage), "{data}");
        }
    }

    #[test]
    fn a_text_over_the_limit_is_not_read() {
        let message = r#"{"type":"send","status":true}"#;
        let padded = |len: usize| message.to_owned() + &" ".repeat(len - message.len());
        assert!(padded(65_536).parse::<GatewayResponse>().is_ok());
        assert_eq!(padded(65_537).parse::<GatewayResponse>(), Err(MalformedMessage));
    }

    fn read_as_everything(text: &str) {
        let _ = text.parse::<ClientRequest>();
        let _ = text.parse::<HandshakeMessage>();
        let _ = text.parse::<GatewayResponse>();
    }

    proptest! {
        #[test]
        fn queries_round_trip(
            protocol_version: Option<u8>,
            data in vec(any::<u8>(), 0..200),
            [address, enc_address, iv] in prop::array::uniform3(".{0,50}"),
        ) {
            let handshake = ClientRequest::Handshake { protocol_version, data };
            prop_assert_eq!(handshake.to_string().parse(), Ok(handshake));
            let login = ClientRequest::Authenticate { protocol_version, address, enc_address, iv };
            prop_assert_eq!(login.to_string().parse(), Ok(login));
        }

        #[test]
        fn answers_round_trip(protocol_version: Option<u8>, data in vec(any::<u8>(), 0..200), message in ".{0,100}") {
            let payload = HandshakeMessage::HandshakePayload { protocol_version, data };
            prop_assert_eq!(payload.to_string().parse(), Ok(payload));
            let gave_up = HandshakeMessage::HandshakeError { message: message.clone() };
            prop_assert_eq!(gave_up.to_string().parse(), Ok(gave_up));
            let error = GatewayResponse::Error { message };
            prop_assert_eq!(error.to_string().parse(), Ok(error));
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            read_as_everything(&text);
        }

        #[test]
        fn no_damaged_message_panics(
            dialogue: prop::sample::Selector,
            at: prop::sample::Index,
            patch in r#"[\[\]{}":,0-9a-z\\]{0,4}"#,
        ) {
            let texts = dialogues().into_iter().flat_map(|(_, frames)| frames).map(|(_, text)| text);
            let text = dialogue.select(texts.filter(|text| !text.is_empty() && text.is_ascii()));
            let (before, after) = text.split_at(at.index(text.len()));
            read_as_everything(before);
            read_as_everything(&(before.to_owned() + &patch + after));
            read_as_everything(&(before.to_owned() + &patch + &after[1..]));
        }
    }
}
