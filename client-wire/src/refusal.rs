//! The refusals for clients before protocol version 3: the texts of nym-gateway 0.10.1, word for word.
//!
//! Only these clients see these words; the log uses the texts of the parsers' errors.

use std::fmt::Display;

use wire::packet::PacketSize::{Ack, Extended32, Regular};

use super::{
    control::{HandshakeMessage, MalformedMessage, answer::GatewayResponse},
    frame::FrameError,
    request::RequestError,
    token::TokenTextError,
};

/// A refusal that takes one `error` message. `Display` is its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LegacyRefusal {
    /// Before authentication: a text that is no request.
    #[error("malformed request")]
    MalformedRequest,
    /// Before authentication: a binary frame.
    #[error("binary request without prior authentication")]
    BinaryBeforeAuthentication,
    /// A login without a readable address.
    #[error("malformed destination address")]
    MalformedAddress,
    /// A login without a readable encrypted address.
    #[error("malformed encrypted address")]
    MalformedEncryptedAddress,
    /// A login without a readable IV.
    #[error("malformed iv")]
    MalformedIv,
    /// A login of a client that is connected.
    #[error("Authentication failure - duplicate connection detected")]
    DuplicateAuthentication,
    /// A registration, complete but for its last word, of a client that is connected.
    #[error("Registration failure - duplicate connection detected")]
    DuplicateRegistration,
    /// After authentication: any text.
    #[error("invalid request")]
    InvalidRequest,
    /// A frame without a whole tag.
    #[error("the request is too short")]
    TooShort,
    /// A frame that was not sealed with the session key.
    #[error("provided MAC is invalid")]
    InvalidMac,
    /// A forward request with an unknown packet type, or an empty one.
    #[error("provided mix packet was malformed - provided packet mode is invalid")]
    PacketMode,
    /// A forward request without a readable next hop.
    #[error("provided mix packet was malformed - address field was incorrectly encoded")]
    NextHop,
    /// A forward request with a packet of this many bytes. The text lists the sizes of 2021; the other two are accepted too.
    #[error(
        "provided mix packet was malformed - received request had invalid size. (actual: {0}, but expected one of: \
         {ack} (ACK), {regular} (REGULAR), {extended} (EXTENDED))",
        ack = Ack.packet_len(), regular = Regular.packet_len(), extended = Extended32.packet_len()
    )]
    PacketSize(usize),
}

impl From<MalformedMessage> for LegacyRefusal {
    fn from(MalformedMessage: MalformedMessage) -> Self {
        Self::MalformedRequest
    }
}

impl From<TokenTextError> for LegacyRefusal {
    fn from(error: TokenTextError) -> Self {
        match error {
            TokenTextError::Address => Self::MalformedAddress,
            TokenTextError::EncryptedAddress => Self::MalformedEncryptedAddress,
            TokenTextError::Iv => Self::MalformedIv,
        }
    }
}

impl From<FrameError> for LegacyRefusal {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::TooShort => Self::TooShort,
            FrameError::InvalidMac => Self::InvalidMac,
        }
    }
}

impl From<RequestError> for LegacyRefusal {
    fn from(error: RequestError) -> Self {
        match error {
            // Requests had no key rotation in 2021; the byte follows the type.
            RequestError::PacketType | RequestError::KeyRotation => Self::PacketMode,
            RequestError::NextHop => Self::NextHop,
            RequestError::Size(len) => Self::PacketSize(len),
        }
    }
}

impl From<LegacyRefusal> for GatewayResponse {
    fn from(refusal: LegacyRefusal) -> Self {
        Self::Error { message: refusal.to_string() }
    }
}

/// What ends a handshake that failed, in this order: the end of the handshake, unless the client knows of the failure, and the answer
/// to its request to register. The connection stays open.
pub(crate) fn failed_handshake(why: &dyn Display, client_knows: bool) -> Vec<String> {
    let end = HandshakeMessage::HandshakeError { message: why.to_string() };
    let answer = GatewayResponse::Error { message: format!("failed to perform the handshake - {why}") };
    let end = (!client_knows).then(|| end.to_string());
    end.into_iter().chain([answer.to_string()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        handshake::HandshakeError,
        protocol::{Protocol, refusal::EntryRefusal},
        vectors::dialogues,
    };

    /// The text frames with which the real gateway answered in one recorded dialogue.
    fn answers_in(name: &str) -> Vec<String> {
        let (_, frames) = dialogues().into_iter().find(|(other, _)| other == name).unwrap();
        let answers = frames.into_iter().filter(|(speaker, _)| speaker == "<-");
        answers.map(|(_, text)| text).collect()
    }

    #[test]
    fn texts_are_those_of_the_real_gateway() {
        for (dialogue, refusal) in [
            ("not_json", LegacyRefusal::MalformedRequest),
            ("binary_before_auth", LegacyRefusal::BinaryBeforeAuthentication),
            ("authenticate_bad_b58_address", LegacyRefusal::MalformedAddress),
            ("authenticate_bad_enc", LegacyRefusal::MalformedEncryptedAddress),
            ("authenticate_bad_iv", LegacyRefusal::MalformedIv),
            ("authenticate_duplicate", LegacyRefusal::DuplicateAuthentication),
            ("text_after_registration", LegacyRefusal::InvalidRequest),
            ("binary_too_short", FrameError::TooShort.into()),
            ("binary_bad_mac", FrameError::InvalidMac.into()),
            ("binary_bad_mode", RequestError::PacketType.into()),
            ("binary_short_address", RequestError::NextHop.into()),
            ("binary_bad_packet_size", RequestError::Size(385).into()),
            ("binary_no_packet", RequestError::Size(0).into()),
        ] {
            let text = GatewayResponse::from(refusal).to_string();
            assert_eq!([text], answers_in(dialogue)[..], "{dialogue}");
        }
        assert_eq!(
            answers_in("register_duplicate_while_open").last().unwrap(),
            &GatewayResponse::from(LegacyRefusal::DuplicateRegistration).to_string()
        );
    }

    #[test]
    fn a_failed_handshake_ends_as_with_the_real_gateway() {
        let short = HandshakeError::MaterialLength { got: 63, expected: 64 };
        for (dialogue, refusal) in [
            ("handshake_init_short", EntryRefusal::Handshake(HandshakeError::NoIdentity)),
            ("handshake_init_not_a_point", EntryRefusal::Handshake(HandshakeError::NoIdentity)),
            ("handshake_init_65_bytes", EntryRefusal::Handshake(HandshakeError::MalformedInit)),
            ("handshake_bad_signature", EntryRefusal::Handshake(HandshakeError::InvalidSignature)),
            ("handshake_short_material", EntryRefusal::Handshake(short)),
            ("handshake_client_error", EntryRefusal::HandshakeGivenUp("nope".into())),
        ] {
            assert_eq!(Protocol::UNKNOWN.refuse_entry(&refusal).texts, answers_in(dialogue), "{dialogue}");
        }
    }
}
