//! What a client reads when something is refused, and whether its connection ends.
//!
//! | | before authentication | in a session |
//! |---|---|---|
//! | [`KeyKind::CtrHmac`] | words of nym-gateway 0.10.1, connection stays | the same |
//! | [`KeyKind::GcmSiv`] | words of nym-node, connection ends | words of nym-node, connection stays |
//!
//! What 0.10.1 had no words for (it had no time limits and met no later clients) is said in those of nym-node. No client of
//! today looks at the words; all look at the type of the answer. Each failure takes one answer, but for a failed handshake of
//! 2021, which takes the two of then.

use super::{Protocol, ProtocolVersion};
use crate::wire::client::{
    aead_frame::AeadFrameError,
    control::{HandshakeMessage, answer::GatewayResponse},
    frame::FrameError,
    key::KeyKind,
    login::LoginRefusal,
    refusal::{HandshakeFailure, LegacyRefusal},
    request::RequestError,
    token::TokenTextError,
};

/// Why a client is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryRefusal {
    /// A text that is no request, or one that is for sessions.
    NoRequest,
    /// A binary frame.
    BinaryFrame,
    /// No request in time. Ends every connection.
    Late,
    /// Clients before protocol version 3 are not served here. Ends every connection.
    LegacyClient,
    /// A signed login of this version, which has none or is not ours.
    Version(u8),
    /// A login with an unreadable field.
    TokenText(TokenTextError),
    /// A login that proves nothing.
    Login(LoginRefusal),
    /// A login of a client that is connected.
    DuplicateLogin,
    /// A handshake that failed.
    Handshake(HandshakeFailure),
    /// No handshake message in time. Ends every connection.
    LateHandshake,
    /// A registration, complete but for its last word, of a client that is connected.
    DuplicateRegistration,
    /// The gateway could not write down the registration or login.
    StorageFailed,
}

/// Why a request in a session is not served. The connection stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestRefusal {
    /// A binary frame of before version 3 that does not open.
    Frame(FrameError),
    /// A binary frame since version 3 that does not open.
    AeadFrame(AeadFrameError),
    /// A frame that opens but holds no request.
    Forward(RequestError),
    /// A text that is no request.
    MalformedText,
    /// A request to register or authenticate.
    AlreadyAuthenticated,
    /// A credential.
    Credential,
    /// An encrypted request that does not decrypt.
    SealedRequest,
    /// An encrypted request of no known kind.
    UnknownSealedRequest,
    /// An encrypted request to replace a key of before version 3.
    UpgradeKey,
    /// The gateway could not remove what it was to forget.
    StorageFailed,
}

/// What becomes of a client that is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Text frames to send, in this order.
    pub texts: Vec<String>,
    /// Whether to close the connection then.
    pub ends: bool,
}

const STORAGE_FAILED: &str = "the gateway could not write this down and has changed nothing; try again later";
const TAKES_NO_CREDENTIALS: &str = "this gateway takes no credentials and meters nothing; connect without credentials \
                                    (disabled credentials mode) and claim free bandwidth with claimFreeTestnetBandwidth";

impl Protocol {
    /// Refuses a client that is not let in.
    pub fn refuse_entry(self, refusal: &EntryRefusal) -> Refused {
        let ends_all = matches!(refusal, EntryRefusal::Late | EntryRefusal::LateHandshake | EntryRefusal::LegacyClient);
        match self.key {
            KeyKind::CtrHmac => Refused { texts: self.entry_texts_of_2021(refusal), ends: ends_all },
            KeyKind::GcmSiv => Refused { texts: vec![self.entry_text_of_today(refusal)], ends: true },
        }
    }

    /// The answer that refuses a request in a session.
    pub(in crate::wire::client) fn refuse_request(self, refusal: RequestRefusal) -> GatewayResponse {
        error(match self.key {
            KeyKind::CtrHmac => request_words_of_2021(refusal),
            KeyKind::GcmSiv => request_words_of_today(refusal),
        })
    }

    fn entry_texts_of_2021(self, refusal: &EntryRefusal) -> Vec<String> {
        let legacy = match refusal {
            EntryRefusal::NoRequest => LegacyRefusal::MalformedRequest,
            EntryRefusal::BinaryFrame => LegacyRefusal::BinaryBeforeAuthentication,
            EntryRefusal::TokenText(field) => LegacyRefusal::from(*field),
            EntryRefusal::DuplicateLogin => LegacyRefusal::DuplicateAuthentication,
            EntryRefusal::DuplicateRegistration => LegacyRefusal::DuplicateRegistration,
            EntryRefusal::Handshake(failure) => {
                let (end, answer) = failure.answers();
                return end.map(|end| end.to_string()).into_iter().chain([answer.to_string()]).collect();
            }
            EntryRefusal::Login(_)
            | EntryRefusal::Late
            | EntryRefusal::LegacyClient
            | EntryRefusal::Version(_)
            | EntryRefusal::LateHandshake
            | EntryRefusal::StorageFailed => return vec![self.entry_text_of_today(refusal)],
        };
        vec![error(legacy.to_string()).to_string()]
    }

    fn entry_text_of_today(self, refusal: &EntryRefusal) -> String {
        let words = match refusal {
            EntryRefusal::NoRequest => "Only 'Register' or 'Authenticate' requests are allowed".to_owned(),
            EntryRefusal::BinaryFrame => {
                "possibly received a sphinx packet without prior authentication. Request is going to be ignored"
                    .to_owned()
            }
            EntryRefusal::Late => "timed out while waiting for initial data".to_owned(),
            EntryRefusal::LegacyClient => format!(
                "this gateway does not serve clients before protocol version {}; update the client or choose another gateway",
                ProtocolVersion::GCM_SIV.number()
            ),
            EntryRefusal::Version(version) => format!(
                "Attempted to negotiate connection with client using incompatible protocol version. Ours is {} and the \
                 client reports {version}",
                ProtocolVersion::CURRENT.number()
            ),
            EntryRefusal::TokenText(TokenTextError::Address) => {
                "Provided client address is malformed: expected the base58 form of 32 bytes".to_owned()
            }
            EntryRefusal::TokenText(TokenTextError::EncryptedAddress) => {
                "Provided encrypted client address is malformed: expected the base58 form of 48 bytes".to_owned()
            }
            EntryRefusal::TokenText(TokenTextError::Iv) => {
                "Provided authentication IV is malformed: expected the base58 form of 12 bytes".to_owned()
            }
            EntryRefusal::Login(LoginRefusal::NotProven) => return self.not_authenticated().to_string(),
            EntryRefusal::Login(refusal) => login_words(refusal),
            EntryRefusal::DuplicateLogin | EntryRefusal::DuplicateRegistration => {
                "There is already an open connection to this client".to_owned()
            }
            EntryRefusal::Handshake(failure) => match failure {
                // The client waits for a handshake message and reads nothing else.
                HandshakeFailure::MaterialLength { .. } | HandshakeFailure::InvalidSignature => {
                    return HandshakeMessage::HandshakeError { message: failure.to_string() }.to_string();
                }
                // To the client this is the same: the beginning was not what it should be.
                HandshakeFailure::NoIdentity => handshake_words(&HandshakeFailure::MalformedInit),
                HandshakeFailure::MalformedInit | HandshakeFailure::Remote(_) => handshake_words(failure),
            },
            EntryRefusal::LateHandshake => handshake_words(&"timed out waiting for a handshake message"),
            EntryRefusal::StorageFailed => STORAGE_FAILED.to_owned(),
        };
        error(words).to_string()
    }
}

fn error(message: String) -> GatewayResponse {
    GatewayResponse::Error { message }
}

fn handshake_words(why: &dyn std::fmt::Display) -> String {
    format!("Failed to perform registration handshake: {why}")
}

fn login_words(refusal: &LoginRefusal) -> String {
    match refusal {
        LoginRefusal::NotProven | LoginRefusal::WrongKey => "failed to verify provided address ciphertext".to_owned(),
        LoginRefusal::Skewed { got, now } => {
            format!("the provided request timestamp is excessively skewed. got {got} whilst the server time is {now}")
        }
        LoginRefusal::InvalidSignature => "failed to verify request signature".to_owned(),
        LoginRefusal::NotRegistered => "the client is not registered".to_owned(),
        LoginRefusal::NotNewer => {
            "the provided request timestamp is smaller or equal to one previously used".to_owned()
        }
    }
}

fn request_words_of_2021(refusal: RequestRefusal) -> String {
    match refusal {
        RequestRefusal::Frame(error) => LegacyRefusal::from(error).to_string(),
        RequestRefusal::Forward(error) => LegacyRefusal::from(error).to_string(),
        RequestRefusal::Credential => TAKES_NO_CREDENTIALS.to_owned(),
        RequestRefusal::StorageFailed => STORAGE_FAILED.to_owned(),
        RequestRefusal::AeadFrame(_)
        | RequestRefusal::MalformedText
        | RequestRefusal::AlreadyAuthenticated
        | RequestRefusal::SealedRequest
        | RequestRefusal::UnknownSealedRequest
        | RequestRefusal::UpgradeKey => LegacyRefusal::InvalidRequest.to_string(),
    }
}

fn request_words_of_today(refusal: RequestRefusal) -> String {
    let binary = |why: &dyn std::fmt::Display| format!("Provided binary request was malformed - {why}");
    match refusal {
        RequestRefusal::Frame(FrameError::TooShort) | RequestRefusal::AeadFrame(AeadFrameError::TooShort) => {
            binary(&"the request is too short")
        }
        RequestRefusal::AeadFrame(AeadFrameError::Flag(_)) => binary(&"the encryption flag had an unexpected value"),
        RequestRefusal::AeadFrame(AeadFrameError::UnknownKind(kind)) => {
            binary(&format_args!("received request with an unknown kind: {kind}"))
        }
        RequestRefusal::Frame(FrameError::InvalidMac) | RequestRefusal::AeadFrame(AeadFrameError::NotAuthentic) => {
            binary(&"failed to either encrypt or decrypt provided message")
        }
        RequestRefusal::Forward(error) => binary(&format_args!("failed to serialise created sphinx packet: {error}")),
        RequestRefusal::MalformedText => {
            "Provided text request was malformed - it is no control message that this gateway knows".to_owned()
        }
        RequestRefusal::AlreadyAuthenticated => {
            "The received request is not valid in the current context: the connection \
                                                 is already authenticated"
                .to_owned()
        }
        RequestRefusal::Credential => TAKES_NO_CREDENTIALS.to_owned(),
        RequestRefusal::SealedRequest => "failed to decrypt provided text request".to_owned(),
        RequestRefusal::UnknownSealedRequest => {
            "Provided text request was malformed - the encrypted request is none that this gateway knows".to_owned()
        }
        RequestRefusal::UpgradeKey => "this session's key needs no upgrade; register again to replace it".to_owned(),
        RequestRefusal::StorageFailed => STORAGE_FAILED.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::client::{
        protocol::{Eras, Opening},
        vectors::dialogues,
    };

    fn said(text: &str) -> String {
        format!(r#"{{"type":"error","message":"{text}"}}"#)
    }

    fn refuse(protocol: Protocol, refusal: EntryRefusal) -> (Vec<String>, bool) {
        let refused = protocol.refuse_entry(&refusal);
        (refused.texts, refused.ends)
    }

    #[test]
    fn today_each_refusal_before_authentication_is_one_answer_and_the_end() {
        let handshake = |failure| EntryRefusal::Handshake(failure);
        let registration = |why: &str| said(&format!("Failed to perform registration handshake: {why}"));
        for (refusal, text) in [
            (EntryRefusal::NoRequest, said("Only 'Register' or 'Authenticate' requests are allowed")),
            (
                EntryRefusal::BinaryFrame,
                said("possibly received a sphinx packet without prior authentication. Request is going to be ignored"),
            ),
            (EntryRefusal::Late, said("timed out while waiting for initial data")),
            (
                EntryRefusal::Version(3),
                said(
                    "Attempted to negotiate connection with client using incompatible protocol version. Ours is 6 and the \
                     client reports 3",
                ),
            ),
            (
                EntryRefusal::Login(LoginRefusal::Skewed { got: 5, now: 500 }),
                said("the provided request timestamp is excessively skewed. got 5 whilst the server time is 500"),
            ),
            (
                EntryRefusal::Login(LoginRefusal::NotNewer),
                said("the provided request timestamp is smaller or equal to one previously used"),
            ),
            (EntryRefusal::Login(LoginRefusal::WrongKey), said("failed to verify provided address ciphertext")),
            (EntryRefusal::Login(LoginRefusal::InvalidSignature), said("failed to verify request signature")),
            (EntryRefusal::Login(LoginRefusal::NotRegistered), said("the client is not registered")),
            (EntryRefusal::DuplicateLogin, said("There is already an open connection to this client")),
            (EntryRefusal::DuplicateRegistration, said("There is already an open connection to this client")),
            (handshake(HandshakeFailure::MalformedInit), registration("sent request was malformed")),
            (handshake(HandshakeFailure::NoIdentity), registration("sent request was malformed")),
            (handshake(HandshakeFailure::Remote("nope".into())), registration("error on the remote: nope")),
            (EntryRefusal::LateHandshake, registration("timed out waiting for a handshake message")),
            (
                handshake(HandshakeFailure::InvalidSignature),
                r#"{"type":"handshakeError","message":"received invalid signature"}"#.to_owned(),
            ),
            (EntryRefusal::StorageFailed, said(STORAGE_FAILED)),
        ] {
            assert_eq!(refuse(Protocol::CURRENT, refusal.clone()), (vec![text], true), "{refusal:?}");
        }
    }

    #[test]
    fn a_replayed_login_of_version_3_is_status_false() {
        let protocol = Protocol::negotiate(KeyKind::GcmSiv, Some(3));
        let text = r#"{"type":"authenticate","protocol_version":3,"status":false,"bandwidth_remaining":0,"upgrade_mode":false}"#;
        assert_eq!(refuse(protocol, EntryRefusal::Login(LoginRefusal::NotProven)), (vec![text.to_owned()], true));
    }

    #[test]
    fn each_first_text_of_2021_that_failed_then_fails_with_the_same_words_and_may_be_followed_by_another() {
        for name in [
            "authenticate_short_address",
            "authenticate_bad_b58_address",
            "authenticate_bad_enc",
            "authenticate_bad_iv",
            "authenticate_camelcase_field",
            "capitalised_type",
            "unknown_type",
            "no_type",
            "empty_text",
            "not_json",
            "handshake_data_over_255",
        ] {
            let (_, frames) = dialogues().into_iter().find(|(other, _)| other == name).unwrap();
            let misfit = Opening::read(&frames[0].1, Protocol::UNKNOWN, Eras::All).unwrap_err();
            assert_eq!(refuse(misfit.protocol, misfit.refusal), (vec![frames[1].1.clone()], false), "{name}");
        }
    }

    #[test]
    fn in_2021_refusals_have_the_words_of_then() {
        let handshake = |failure| EntryRefusal::Handshake(failure);
        for (refusal, texts) in [
            (EntryRefusal::BinaryFrame, vec![said("binary request without prior authentication")]),
            (
                EntryRefusal::Login(LoginRefusal::NotProven),
                vec![r#"{"type":"authenticate","status":false}"#.to_owned()],
            ),
            (EntryRefusal::DuplicateLogin, vec![said("Authentication failure - duplicate connection detected")]),
            (EntryRefusal::DuplicateRegistration, vec![said("Registration failure - duplicate connection detected")]),
            (handshake(HandshakeFailure::NoIdentity), vec![said("malformed request")]),
            (
                handshake(HandshakeFailure::InvalidSignature),
                vec![
                    r#"{"type":"handshakeError","message":"received invalid signature"}"#.to_owned(),
                    said("failed to perform the handshake - received invalid signature"),
                ],
            ),
            (
                handshake(HandshakeFailure::Remote("nope".into())),
                vec![said("failed to perform the handshake - error on the remote: nope")],
            ),
        ] {
            assert_eq!(refuse(Protocol::UNKNOWN, refusal.clone()), (texts, false), "{refusal:?}");
        }
    }

    #[test]
    fn some_refusals_end_every_connection() {
        for protocol in [Protocol::UNKNOWN, Protocol::negotiate(KeyKind::CtrHmac, Some(1)), Protocol::CURRENT] {
            for refusal in [EntryRefusal::Late, EntryRefusal::LateHandshake, EntryRefusal::LegacyClient] {
                let (texts, ends) = refuse(protocol, refusal);
                assert_eq!((texts.len(), ends), (1, true));
            }
        }
        let (texts, _) = refuse(Protocol::UNKNOWN, EntryRefusal::LegacyClient);
        assert!(texts[0].contains("protocol version 3"), "{}", texts[0]);
    }

    #[test]
    fn the_answer_to_a_credential_says_how_to_do_without() {
        for protocol in [Protocol::negotiate(KeyKind::CtrHmac, Some(2)), Protocol::CURRENT] {
            let text = protocol.refuse_request(RequestRefusal::Credential).to_string();
            assert!(text.contains("takes no credentials") && text.contains("claimFreeTestnetBandwidth"), "{text}");
        }
    }
}
