//! The texts of refusals, and whether a refusal ends the connection.
//!
//! | | before authentication | in a session |
//! |---|---|---|
//! | [`KeyKind::CtrHmac`] | words of nym-gateway 0.10.1, connection stays | the same |
//! | [`KeyKind::GcmSiv`] | words of nym-node, connection ends | words of nym-node, connection stays |
//!
//! 0.10.1 had no time limits and met no later clients; for such refusals the words of nym-node are used. Clients of
//! today look at the type of the answer and never at the words. Each failure takes one answer, but a failed handshake of
//! 2021 takes two, as in 2021.

use super::version::{Protocol, ProtocolVersion};
use crate::{
    aead_frame::AeadFrameError,
    control::{HandshakeMessage, answer::GatewayResponse},
    frame::FrameError,
    handshake::HandshakeError,
    key::KeyKind,
    login::LoginError,
    refusal::{LegacyRefusal, failed_handshake},
    request::RequestError,
    token::TokenTextError,
};

/// Why a client is refused before it is logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryRefusal {
    /// A text that is not a request, or a request for a session.
    NoRequest,
    /// A binary frame.
    BinaryFrame,
    /// No request in time. Ends every connection.
    Late,
    /// Clients before protocol version 3 are not served here. Ends every connection.
    LegacyClient,
    /// A signed login of a version without signed logins, or of one that the gateway does not speak.
    Version(u8),
    /// A login with an unreadable field.
    TokenText(TokenTextError),
    /// A login that proves nothing.
    Login(LoginError),
    /// A login of a client that is connected.
    DuplicateLogin,
    /// A login too many, of one client or from one address.
    TooManyLogins,
    /// A registration too many from one address. 0.10.1 had no such limit.
    TooManyRegistrations,
    /// A handshake with a message that is refused.
    Handshake(HandshakeError),
    /// A handshake that the client gave up, and what it said.
    HandshakeGivenUp(String),
    /// No handshake message in time. Ends every connection.
    LateHandshake,
    /// A registration, complete but for its last message, of a client that is connected.
    DuplicateRegistration,
    /// The gateway could not store the registration.
    UnwrittenRegistration,
    /// The gateway could not store the login.
    UnwrittenLogin,
    /// The gateway's record of the client is damaged.
    UnreadableEntry,
}

/// Why a request in a session is not served. The connection stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestRefusal {
    /// A binary frame of before version 3 that does not open.
    Frame(FrameError),
    /// A binary frame since version 3 that does not open.
    AeadFrame(AeadFrameError),
    /// A frame that opens and does not hold a request.
    Forward(RequestError),
    /// A text that is not a request.
    MalformedText,
    /// A request to register or authenticate.
    AlreadyAuthenticated,
    /// A credential.
    Credential,
    /// An encrypted request that does not decrypt.
    SealedRequest,
    /// An encrypted request that the gateway sealed itself.
    ReflectedRequest,
    /// An encrypted request of no known kind.
    UnknownSealedRequest,
    /// An encrypted request to replace a key of before version 3.
    UpgradeKey,
    /// A request of a client that is forgotten.
    NoAccount,
    /// The gateway could not remove the client's data.
    StorageFailed,
}

impl RequestRefusal {
    /// Whether the refused frame was sealed by the gateway itself.
    pub const fn is_reflection(self) -> bool {
        matches!(self, Self::ReflectedRequest | Self::AeadFrame(AeadFrameError::Reflected))
    }
}

/// What is sent to a client that is refused before login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalReply {
    /// Text frames to send, in this order.
    pub texts: Vec<String>,
    /// Whether to close the connection afterwards.
    pub ends: bool,
}

const STORAGE_FAILED: &str = "the gateway could not write this down and has changed nothing; try again later";
const TOO_MANY_REGISTRATIONS: &str = "too many registrations from this address, try again in a minute";
const TOO_MANY_LOGINS: &str = "too many logins of this client or from this address, try again later";
const UNREADABLE_ENTRY: &str =
    "the gateway's record of this client is damaged; register again to replace it, your mail is kept";
const NOT_REGISTERED: &str = "the client is not registered";
const TAKES_NO_CREDENTIALS: &str = "this gateway takes no credentials and meters nothing; connect without credentials \
                                    (disabled credentials mode) and claim free bandwidth with claimFreeTestnetBandwidth";

impl Protocol {
    /// The reply to a client that is refused before login.
    pub fn refuse_entry(self, refusal: &EntryRefusal) -> RefusalReply {
        let ends_all = matches!(refusal, EntryRefusal::Late | EntryRefusal::LateHandshake | EntryRefusal::LegacyClient);
        match self.key_kind() {
            KeyKind::CtrHmac => RefusalReply { texts: self.entry_texts_of_2021(refusal), ends: ends_all },
            KeyKind::GcmSiv => RefusalReply { texts: vec![self.entry_text_of_today(refusal)], ends: true },
        }
    }

    /// The answer that refuses a request in a session.
    pub(crate) fn refuse_request(self, refusal: RequestRefusal) -> GatewayResponse {
        error(match self.key_kind() {
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
            EntryRefusal::Handshake(HandshakeError::NoIdentity) => LegacyRefusal::MalformedRequest,
            EntryRefusal::Handshake(error) => return failed_handshake(error, false),
            EntryRefusal::TooManyRegistrations => return failed_handshake(&TOO_MANY_REGISTRATIONS, false),
            EntryRefusal::HandshakeGivenUp(why) => return failed_handshake(&given_up(why), true),
            EntryRefusal::Login(LoginError::NotProven) => return vec![self.not_authenticated().to_string()],
            EntryRefusal::Login(_)
            | EntryRefusal::Late
            | EntryRefusal::LegacyClient
            | EntryRefusal::Version(_)
            | EntryRefusal::LateHandshake
            | EntryRefusal::UnwrittenRegistration
            | EntryRefusal::UnwrittenLogin
            | EntryRefusal::TooManyLogins
            | EntryRefusal::UnreadableEntry => return vec![error(Self::entry_words_of_today(refusal)).to_string()],
        };
        vec![error(legacy.to_string()).to_string()]
    }

    fn entry_text_of_today(self, refusal: &EntryRefusal) -> String {
        let message = Self::entry_words_of_today(refusal);
        match refusal {
            EntryRefusal::Login(LoginError::NotProven) => self.not_authenticated().to_string(),
            // In the middle of a handshake the client waits for a handshake message and reads nothing else.
            EntryRefusal::Handshake(HandshakeError::MaterialLength { .. } | HandshakeError::InvalidSignature)
            | EntryRefusal::TooManyRegistrations
            | EntryRefusal::LateHandshake
            | EntryRefusal::DuplicateRegistration
            | EntryRefusal::UnwrittenRegistration => HandshakeMessage::HandshakeError { message }.to_string(),
            _ => error(message).to_string(),
        }
    }

    fn entry_words_of_today(refusal: &EntryRefusal) -> String {
        match refusal {
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
            EntryRefusal::Login(refusal) => login_words(refusal),
            EntryRefusal::DuplicateLogin | EntryRefusal::DuplicateRegistration => {
                "There is already an open connection to this client".to_owned()
            }
            EntryRefusal::TooManyRegistrations => TOO_MANY_REGISTRATIONS.to_owned(),
            EntryRefusal::Handshake(error) => match error {
                HandshakeError::MaterialLength { .. } | HandshakeError::InvalidSignature => error.to_string(),
                // To the client both are the same: its first message is not what it should be.
                HandshakeError::NoIdentity | HandshakeError::MalformedInit => {
                    handshake_words(&HandshakeError::MalformedInit)
                }
            },
            EntryRefusal::HandshakeGivenUp(why) => handshake_words(&given_up(why)),
            EntryRefusal::LateHandshake => handshake_words(&"timed out waiting for a handshake message"),
            EntryRefusal::UnwrittenRegistration | EntryRefusal::UnwrittenLogin => STORAGE_FAILED.to_owned(),
            EntryRefusal::TooManyLogins => TOO_MANY_LOGINS.to_owned(),
            EntryRefusal::UnreadableEntry => UNREADABLE_ENTRY.to_owned(),
        }
    }
}

fn error(message: String) -> GatewayResponse {
    GatewayResponse::Error { message }
}

fn handshake_words(why: &dyn std::fmt::Display) -> String {
    format!("Failed to perform registration handshake: {why}")
}

fn given_up(why: &str) -> String {
    format!("error on the remote: {why}")
}

fn login_words(refusal: &LoginError) -> String {
    match refusal {
        LoginError::NotProven | LoginError::WrongKey => "failed to verify provided address ciphertext".to_owned(),
        LoginError::Skewed { got, now } => {
            format!("the provided request timestamp is excessively skewed. got {got} whilst the server time is {now}")
        }
        LoginError::InvalidSignature => "failed to verify request signature".to_owned(),
        LoginError::NotRegistered => NOT_REGISTERED.to_owned(),
        LoginError::NotNewer => "the provided request timestamp is smaller or equal to one previously used".to_owned(),
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
        | RequestRefusal::ReflectedRequest
        | RequestRefusal::UnknownSealedRequest
        | RequestRefusal::NoAccount
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
        RequestRefusal::Frame(FrameError::InvalidMac)
        | RequestRefusal::AeadFrame(AeadFrameError::NotAuthentic | AeadFrameError::Reflected) => {
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
        RequestRefusal::SealedRequest | RequestRefusal::ReflectedRequest => {
            "failed to decrypt provided text request".to_owned()
        }
        RequestRefusal::UnknownSealedRequest => {
            "Provided text request was malformed - the encrypted request is none that this gateway knows".to_owned()
        }
        RequestRefusal::UpgradeKey => "this session's key needs no upgrade; register again to replace it".to_owned(),
        RequestRefusal::NoAccount => NOT_REGISTERED.to_owned(),
        RequestRefusal::StorageFailed => STORAGE_FAILED.to_owned(),
    }
}

#[cfg(test)]
mod tests;
