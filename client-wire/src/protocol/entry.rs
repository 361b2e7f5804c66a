//! The requests of a client that is not logged in. The request tells which protocol the client speaks:
//!
//! | request | [`KeyKind::GcmSiv`] | [`KeyKind::CtrHmac`] |
//! |---|---|---|
//! | `handshakePayload` | 80 bytes | 64 bytes |
//! | `authenticate` | IV of 12 bytes | IV of 16 bytes |
//! | `authenticateV2`, `supportedProtocol`, requests for sessions | always | |
//!
//! Where the lengths decide nothing, a version of 3 or more means [`KeyKind::GcmSiv`]. A text that is not a request leaves the protocol
//! of the connection as it was.

use super::{
    refusal::EntryRefusal,
    version::{Protocol, ProtocolVersion},
};
use crate::{
    control::request::ClientRequest,
    handshake::ClientInit,
    key::KeyKind,
    login::{LoginError, LoginProof},
    token::{AuthenticationToken, GcmSivToken, SignedLogin, SignedLoginError},
};

/// Which clients are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eras {
    /// Clients of every version.
    All,
    /// Only clients with a [`GcmSivKey`](crate::key::GcmSivKey).
    SinceVersion3,
}

/// A request of a client that is not logged in. After a refusal the client may make another, if its connection stays open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryRequest {
    /// Asks for the protocol version of the gateway. Answered with [`Protocol::supported`]; decides nothing.
    AskVersion,
    /// To register.
    Register {
        /// The client's protocol.
        protocol: Protocol,
        /// An encoded [`ClientInit`], unread.
        init: Vec<u8>,
    },
    /// To log in.
    LogIn {
        /// The client's protocol.
        protocol: Protocol,
        /// The client's proof.
        proof: LoginProof,
    },
}

/// A text that is refused before login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRequest {
    /// The client's protocol, as far as it is known.
    pub protocol: Protocol,
    /// The reason.
    pub refusal: EntryRefusal,
}

impl EntryRequest {
    /// Reads a text of a client that is not logged in. `spoken` is the protocol of the client's last text, at first
    /// [`Protocol::UNKNOWN`].
    ///
    /// # Errors
    /// [`RejectedRequest`], to be answered with [`Protocol::refuse_entry`].
    pub fn read(text: &str, spoken: Protocol, served: Eras) -> Result<Self, RejectedRequest> {
        let request =
            text.parse().map_err(|_| RejectedRequest { protocol: spoken, refusal: EntryRefusal::NoRequest })?;
        let protocol = protocol_of(&request);
        if protocol.key_kind() == KeyKind::CtrHmac && served == Eras::SinceVersion3 {
            return Err(RejectedRequest { protocol, refusal: EntryRefusal::LegacyClient });
        }
        Self::of(request, protocol).map_err(|refusal| RejectedRequest { protocol, refusal })
    }

    /// The client's protocol, for the next [`EntryRequest::read`].
    pub const fn protocol(&self) -> Protocol {
        match self {
            Self::AskVersion => Protocol::CURRENT,
            Self::Register { protocol, .. } | Self::LogIn { protocol, .. } => *protocol,
        }
    }

    fn of(request: ClientRequest, protocol: Protocol) -> Result<Self, EntryRefusal> {
        match request {
            ClientRequest::SupportedProtocol {} => Ok(Self::AskVersion),
            ClientRequest::Handshake { data, .. } => Ok(Self::Register { protocol, init: data }),
            ClientRequest::Authenticate { address, enc_address, iv, .. } => {
                let proof = match protocol.key_kind() {
                    KeyKind::CtrHmac => {
                        AuthenticationToken::from_base58(&address, &enc_address, &iv).map(LoginProof::CtrHmac)
                    }
                    KeyKind::GcmSiv => GcmSivToken::from_base58(&address, &enc_address, &iv).map(LoginProof::GcmSiv),
                };
                Ok(Self::LogIn { protocol, proof: proof.map_err(EntryRefusal::TokenText)? })
            }
            ClientRequest::AuthenticateV2 {
                protocol_version,
                client_identity,
                address_ciphertext,
                nonce,
                request_unix_timestamp,
                request_signature,
            } => {
                let login = SignedLogin::from_fields(
                    protocol_version,
                    &client_identity,
                    &address_ciphertext,
                    &nonce,
                    request_unix_timestamp,
                    &request_signature,
                );
                if login == Err(SignedLoginError::Malformed) {
                    return Err(EntryRefusal::NoRequest);
                }
                if ProtocolVersion::of_signed_login(protocol_version).is_none() {
                    return Err(EntryRefusal::Version(protocol_version));
                }
                let login = login.map_err(|_| EntryRefusal::Login(LoginError::WrongKey))?;
                Ok(Self::LogIn { protocol, proof: LoginProof::Signed(login) })
            }
            ClientRequest::ClaimFreeTestnetBandwidth {}
            | ClientRequest::EcashCredential { .. }
            | ClientRequest::BandwidthCredential { .. }
            | ClientRequest::BandwidthCredentialV2 { .. }
            | ClientRequest::UpgradeModeJwt { .. }
            | ClientRequest::EncryptedRequest { .. } => Err(EntryRefusal::NoRequest),
        }
    }
}

/// The protocol of a client that makes this request, by the table of this module.
fn protocol_of(request: &ClientRequest) -> Protocol {
    let by_version = |version: Option<u8>| match version {
        Some(version) if version >= ProtocolVersion::GCM_SIV.number() => KeyKind::GcmSiv,
        _ => KeyKind::CtrHmac,
    };
    match request {
        ClientRequest::Handshake { protocol_version, data } => {
            let key = ClientInit::kind_by_len(data.len()).unwrap_or_else(|| by_version(*protocol_version));
            Protocol::negotiate(key, *protocol_version)
        }
        ClientRequest::Authenticate { protocol_version, iv, .. } => {
            let key = if GcmSivToken::owns_iv(iv) {
                KeyKind::GcmSiv
            } else if AuthenticationToken::owns_iv(iv) {
                KeyKind::CtrHmac
            } else {
                by_version(*protocol_version)
            };
            Protocol::negotiate(key, *protocol_version)
        }
        ClientRequest::AuthenticateV2 { protocol_version, .. } => {
            Protocol::negotiate(KeyKind::GcmSiv, Some(*protocol_version))
        }
        ClientRequest::SupportedProtocol {}
        | ClientRequest::ClaimFreeTestnetBandwidth {}
        | ClientRequest::EcashCredential { .. }
        | ClientRequest::BandwidthCredential { .. }
        | ClientRequest::BandwidthCredentialV2 { .. }
        | ClientRequest::UpgradeModeJwt { .. }
        | ClientRequest::EncryptedRequest { .. } => Protocol::CURRENT,
    }
}

#[cfg(test)]
mod tests;
