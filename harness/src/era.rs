//! The protocols that clients have spoken since 2021.

use std::fmt;

use anyhow::{Result, bail};
use client_wire::{
    client_session::ClientSession,
    control::HandshakeMessage,
    key::{KeyKind, SessionKey},
    protocol::{Protocol, ProtocolVersion},
};

/// The protocol of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Era {
    /// The protocol of May 2021, which had no number.
    Of2021,
    /// A later one, by the number a client gives.
    Version(u8),
}

impl Era {
    /// One of each kind that the gateway serves, oldest first.
    pub const ALL: [Self; 6] =
        [Self::Of2021, Self::Version(2), Self::Version(3), Self::Version(4), Self::Version(5), Self::Version(6)];

    /// The newest.
    pub const TODAY: Self = Self::Version(6);

    /// The number that its clients give.
    pub const fn number(self) -> Option<u8> {
        match self {
            Self::Of2021 => None,
            Self::Version(number) => Some(number),
        }
    }

    /// The kind of session key that its clients agree on.
    pub fn key_kind(self) -> KeyKind {
        match self {
            Self::Version(number) if number >= ProtocolVersion::GCM_SIV.number() => KeyKind::GcmSiv,
            Self::Of2021 | Self::Version(_) => KeyKind::CtrHmac,
        }
    }

    /// A session with this key, as seen from the client.
    ///
    /// # Errors
    /// If the key is of another kind.
    pub fn session(self, key: SessionKey) -> Result<ClientSession> {
        Ok(ClientSession::new(Protocol::negotiate(self.key_kind(), self.number()), key)?)
    }

    /// The text of a client's handshake message.
    pub fn handshake_text(self, data: &[u8]) -> String {
        HandshakeMessage::HandshakePayload { protocol_version: self.number(), data: data.to_vec() }.to_string()
    }
}

impl fmt::Display for Era {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of2021 => f.write_str("2021"),
            Self::Version(number) => write!(f, "version {number}"),
        }
    }
}

/// The data of a handshake message.
///
/// # Errors
/// If the text is something else.
pub fn handshake_data(text: &str) -> Result<Vec<u8>> {
    match text.parse() {
        Ok(HandshakeMessage::HandshakePayload { data, .. }) => Ok(data),
        _ => bail!("expected a handshake message from the gateway, not {text}"),
    }
}
