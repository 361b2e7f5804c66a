//! A session as a client has it, of every version. The gateway's side is [`GatewaySession`](super::session::GatewaySession).
//!
//! *Holds* the client's key. *Promises*: the same bytes that published clients send.

use bytes::Bytes;

use super::{
    aead_frame::{self, PushKind},
    frame,
    key::{Nonce, SessionKey},
    protocol::{Protocol, refusal::RequestRefusal},
    request::MarkedRequest,
    session::WrongKeyKind,
};

/// The client's side of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSession(SessionKey);

impl ClientSession {
    /// Makes the client's side of a session.
    ///
    /// # Errors
    /// [`WrongKeyKind`], if the protocol has keys of another kind.
    pub fn new(protocol: Protocol, key: SessionKey) -> Result<Self, WrongKeyKind> {
        WrongKeyKind::unless_equal(protocol.key_kind(), key.kind())?;
        Ok(Self(key))
    }

    /// Seals a request. `nonce` must be fresh and random; the older kind of key takes none, and no mark of a key rotation.
    pub fn seal_request(&self, nonce: Nonce, request: &MarkedRequest) -> Bytes {
        match &self.0 {
            SessionKey::CtrHmac(key) => frame::seal(key, &request.request.encode()),
            SessionKey::GcmSiv(key) => {
                let (kind, plaintext) = request.encode();
                aead_frame::seal(key, kind, &nonce, &plaintext)
            }
        }
    }

    /// Opens a message that the gateway pushed.
    ///
    /// # Errors
    /// Why the frame does not open.
    pub fn open_push(&self, frame: Bytes) -> Result<Bytes, RequestRefusal> {
        match &self.0 {
            SessionKey::CtrHmac(key) => frame::open(key, frame).map_err(RequestRefusal::Frame),
            SessionKey::GcmSiv(key) => {
                let (PushKind::Message, message) = aead_frame::open(key, frame).map_err(RequestRefusal::AeadFrame)?;
                Ok(message)
            }
        }
    }
}
