//! The gateway's side of a session of any version: a protocol and its key. The client's side is
//! [`ClientSession`](super::client_session::ClientSession).
//!
//! *Holds* the key of one client, in the memory that the owner of the session chooses. *Promises*: the kind of key alone decides
//! how messages are sealed. Since version 3 nothing opens that the gateway sealed itself. Once the client is forgotten, no request that
//! needs an account is served. A refusal in a session never ends it.

use std::borrow::Borrow;

use bytes::Bytes;
use wire::{
    framing::{FrameHeader, Framing},
    packet::PacketType,
};

use super::{
    aead_frame::{self, PushKind},
    control::{
        answer::GatewayResponse,
        request::ClientRequest,
        sealed::{SealedMessageError, SensitiveRequest, SensitiveResponse},
    },
    frame,
    key::KeyKind,
    protocol::{Protocol, refusal::RequestRefusal},
    request::{ForwardRequest, MarkedRequest, RotationMarks},
    side::{GatewayKey, NonceRandom},
};

/// The protocol of a client that is logged in, and its key.
#[derive(Debug)]
pub struct GatewaySession<K = GatewayKey> {
    protocol: Protocol,
    key: K,
    has_account: bool,
}

/// The key is of another kind than the protocol's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session of a protocol with keys of kind {expected:?} was given one of kind {got:?}")]
pub struct WrongKeyKind {
    /// The kind of the protocol.
    pub expected: KeyKind,
    /// The kind of the key.
    pub got: KeyKind,
}

impl WrongKeyKind {
    pub(super) fn unless_equal(expected: KeyKind, got: KeyKind) -> Result<(), Self> {
        if expected == got { Ok(()) } else { Err(Self { expected, got }) }
    }
}

/// What is to be done after a text in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextAction {
    /// Answer.
    Answer(GatewayResponse),
    /// [Refuse](GatewaySession::refuse). The connection stays.
    Refuse(RequestRefusal),
    /// Remove the client's key and mail, durably, then answer this.
    Forget {
        /// The answer after the removal. If the removal fails, refuse with [`RequestRefusal::StorageFailed`].
        done: GatewayResponse,
    },
}

impl<K: Borrow<GatewayKey>> GatewaySession<K> {
    /// Makes the session of a client that is logged in.
    ///
    /// # Errors
    /// [`WrongKeyKind`] if the key is from another handshake or login than the client's.
    pub fn new(protocol: Protocol, key: K) -> Result<Self, WrongKeyKind> {
        WrongKeyKind::unless_equal(protocol.key_kind(), key.borrow().kind())?;
        Ok(Self { protocol, key, has_account: true })
    }

    /// The protocol of the session.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Notes that the client is not registered any more.
    pub const fn forget_account(&mut self) {
        self.has_account = false;
    }

    fn with_account(&self) -> Result<(), RequestRefusal> {
        if self.has_account { Ok(()) } else { Err(RequestRefusal::NoAccount) }
    }

    /// Seals a message of the client's inbox. `random` must be fresh and random; the older kind of key takes none.
    pub fn seal_push(&self, random: NonceRandom, message: &[u8]) -> Bytes {
        match self.key.borrow() {
            GatewayKey::CtrHmac(key) => frame::seal(key, message),
            GatewayKey::GcmSiv(key) => aead_frame::seal(key, PushKind::Message, &key.nonce(random), message),
        }
    }

    /// Opens a binary frame of the client.
    ///
    /// # Errors
    /// The refusal to answer with, by [`refuse`](GatewaySession::refuse).
    pub fn open_request(&self, frame: Bytes) -> Result<MarkedRequest, RequestRefusal> {
        let request = match self.key.borrow() {
            GatewayKey::CtrHmac(key) => {
                let plaintext = frame::open(key, frame).map_err(RequestRefusal::Frame)?;
                let request = ForwardRequest::parse(plaintext).map_err(RequestRefusal::Forward)?;
                MarkedRequest { request, key_rotation: None }
            }
            GatewayKey::GcmSiv(key) => {
                let (kind, plaintext) = aead_frame::open(key, frame).map_err(RequestRefusal::AeadFrame)?;
                MarkedRequest::parse(kind, plaintext).map_err(RequestRefusal::Forward)?
            }
        };
        self.with_account()?;
        Ok(request)
    }

    /// The frame header with which a packet of this client leaves. The header of 2021 is the only one with room for the packet type of
    /// 2021; later headers have a version instead.
    pub fn header(&self, request: &MarkedRequest, marks: RotationMarks) -> FrameHeader {
        let packet_type = request.request.packet_type;
        if self.protocol.version().is_none() || packet_type == PacketType::Vpn {
            return FrameHeader { framing: Framing::Unversioned(packet_type), size: request.request.size };
        }
        request.header(marks)
    }

    /// The answer to a forward request whose packet was taken.
    pub fn sent(&self) -> GatewayResponse {
        self.protocol.sent()
    }

    /// The answer to a request that is not served.
    pub fn refuse(&self, refusal: RequestRefusal) -> GatewayResponse {
        self.protocol.refuse_request(refusal)
    }

    /// Reads a text of the client. `random` must be fresh and random; it seals the answer, if that is to be sealed.
    pub fn read_text(&self, text: &str, random: NonceRandom) -> TextAction {
        self.command(text, random).unwrap_or_else(TextAction::Refuse)
    }

    fn command(&self, text: &str, random: NonceRandom) -> Result<TextAction, RequestRefusal> {
        // In 2021 there were no text requests in a session.
        if self.protocol.version().is_none() {
            return Err(RequestRefusal::MalformedText);
        }
        match text.parse().map_err(|_| RequestRefusal::MalformedText)? {
            ClientRequest::SupportedProtocol {} => Ok(TextAction::Answer(Protocol::supported())),
            ClientRequest::ClaimFreeTestnetBandwidth {} => {
                self.with_account()?;
                Ok(TextAction::Answer(self.protocol.claimed()))
            }
            ClientRequest::EcashCredential { .. }
            | ClientRequest::BandwidthCredential { .. }
            | ClientRequest::BandwidthCredentialV2 { .. }
            | ClientRequest::UpgradeModeJwt { .. } => Err(RequestRefusal::Credential),
            ClientRequest::Handshake { .. }
            | ClientRequest::Authenticate { .. }
            | ClientRequest::AuthenticateV2 { .. } => Err(RequestRefusal::AlreadyAuthenticated),
            ClientRequest::EncryptedRequest { ciphertext, nonce } => self.sealed_command(ciphertext, &nonce, random),
        }
    }

    fn sealed_command(
        &self,
        ciphertext: Vec<u8>,
        nonce: &[u8],
        random: NonceRandom,
    ) -> Result<TextAction, RequestRefusal> {
        let GatewayKey::GcmSiv(key) = self.key.borrow() else { return Err(RequestRefusal::SealedRequest) };
        let request = SensitiveRequest::open(key, ciphertext, nonce).map_err(|why| match why {
            SealedMessageError::NotAuthentic => RequestRefusal::SealedRequest,
            SealedMessageError::Reflected => RequestRefusal::ReflectedRequest,
            SealedMessageError::Unknown => RequestRefusal::UnknownSealedRequest,
        })?;
        self.with_account()?;
        let acknowledge = |response: SensitiveResponse| response.seal(key, key.nonce(random));
        match request {
            SensitiveRequest::ForgetMe { client: true, .. } => {
                Ok(TextAction::Forget { done: acknowledge(SensitiveResponse::ForgetMeAck {}) })
            }
            // There are no statistics about single clients, so there is nothing to remove.
            SensitiveRequest::ForgetMe { client: false, .. } => {
                Ok(TextAction::Answer(acknowledge(SensitiveResponse::ForgetMeAck {})))
            }
            SensitiveRequest::RememberMe { .. } => {
                Ok(TextAction::Answer(acknowledge(SensitiveResponse::RememberMeAck {})))
            }
            SensitiveRequest::UpgradeKey { .. } => Err(RequestRefusal::UpgradeKey),
        }
    }
}

#[cfg(test)]
mod tests;
