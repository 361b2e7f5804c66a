//! Whose text is this? A client that has not been let in tells its protocol by what it asks for:
//!
//! | request | [`KeyKind::GcmSiv`] | [`KeyKind::CtrHmac`] |
//! |---|---|---|
//! | `handshakePayload` | 80 bytes | 64 bytes |
//! | `authenticate` | IV of 12 bytes | IV of 16 bytes |
//! | `authenticateV2`, `supportedProtocol`, requests for sessions | always | |
//!
//! Where the lengths tell nothing, a version of 3 or more makes it the former. A text that is no request at all leaves open
//! what the connection speaks.

use super::{Protocol, ProtocolVersion, refusal::EntryRefusal};
use crate::wire::client::{
    control::request::ClientRequest,
    handshake::ClientInit,
    key::KeyKind,
    login::{LoginProof, LoginRefusal},
    token::{AuthenticationToken, GcmSivToken, SignedLogin, SignedLoginError},
};

/// Which clients are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eras {
    /// All.
    All,
    /// Those with a [`GcmSivKey`](crate::wire::client::key::GcmSivKey).
    SinceVersion3,
}

/// What a client that has not been let in may ask for. It may do so again after a refusal, if its connection lives on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// Which protocol version the gateway speaks: answer [`Protocol::supported`]. It settles nothing.
    AskVersion,
    /// To register.
    Register {
        /// What the client speaks.
        protocol: Protocol,
        /// An encoded [`ClientInit`], unread.
        init: Vec<u8>,
    },
    /// To log in.
    LogIn {
        /// What the client speaks.
        protocol: Protocol,
        /// Its proof.
        proof: LoginProof,
    },
}

/// A text that opens nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// What the client speaks, as far as can be told.
    pub protocol: Protocol,
    /// Why nothing comes of it.
    pub refusal: EntryRefusal,
}

impl Opening {
    /// Reads a text of a client that has not been let in. `spoken` is what the client was last found to speak, at first
    /// [`Protocol::UNKNOWN`].
    ///
    /// # Errors
    ///
    /// [`Misfit`], to be answered with [`Protocol::refuse_entry`].
    pub fn read(text: &str, spoken: Protocol, served: Eras) -> Result<Self, Misfit> {
        let request = text.parse().map_err(|_| Misfit { protocol: spoken, refusal: EntryRefusal::NoRequest })?;
        let protocol = protocol_of(&request);
        if protocol.key_kind() == KeyKind::CtrHmac && served == Eras::SinceVersion3 {
            return Err(Misfit { protocol, refusal: EntryRefusal::LegacyClient });
        }
        Self::of(request, protocol).map_err(|refusal| Misfit { protocol, refusal })
    }

    /// What the client speaks; to be passed on to the next [`Opening::read`].
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
                let login = login.map_err(|_| EntryRefusal::Login(LoginRefusal::WrongKey))?;
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

/// What a client speaks that asks for this. The table above.
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        address::ClientAddress,
        wire::client::{
            key::{CtrHmacKey, GcmSivKey},
            token::{LoginClaim, TokenTextError},
            vectors::{dialogues, file},
        },
    };

    const ADDRESS: ClientAddress = ClientAddress([1; 32]);

    fn read(text: &str) -> Result<Opening, Misfit> {
        Opening::read(text, Protocol::UNKNOWN, Eras::All)
    }

    /// The kind of key and the version, as a pair that is short to write.
    fn spoken(text: &str) -> (KeyKind, Option<u8>) {
        let protocol = read(text).map_or_else(|misfit| misfit.protocol, |opening| opening.protocol());
        (protocol.key_kind(), protocol.version().map(ProtocolVersion::number))
    }

    fn init(version: Option<u8>, len: usize) -> String {
        ClientRequest::Handshake { protocol_version: version, data: vec![9; len] }.to_string()
    }

    fn authenticate(version: Option<u8>, iv: &[u8]) -> String {
        let iv = bs58::encode(iv).into_string();
        let (address, enc_address) = (ADDRESS.to_string(), bs58::encode([2; 32]).into_string());
        ClientRequest::Authenticate { protocol_version: version, address, enc_address, iv }.to_string()
    }

    #[test]
    fn the_length_of_the_first_handshake_message_tells() {
        use KeyKind::{CtrHmac, GcmSiv};
        for (version, len, expected) in [
            (None, 64, (CtrHmac, None)),
            (Some(1), 64, (CtrHmac, Some(1))),
            (Some(2), 64, (CtrHmac, Some(2))),
            (Some(6), 64, (CtrHmac, Some(2))),
            (None, 80, (GcmSiv, Some(0))),
            (Some(1), 80, (GcmSiv, Some(1))),
            (Some(3), 80, (GcmSiv, Some(3))),
            (Some(6), 80, (GcmSiv, Some(6))),
            (Some(48), 80, (GcmSiv, Some(6))),
            (None, 65, (CtrHmac, None)),
            (Some(2), 79, (CtrHmac, Some(2))),
            (Some(3), 79, (GcmSiv, Some(3))),
            (Some(6), 0, (GcmSiv, Some(6))),
        ] {
            assert_eq!(spoken(&init(version, len)), expected, "{version:?} {len}");
            let alias = init(version, len).replace("handshakePayload", "registerHandshakeInitRequest");
            assert_eq!(spoken(&alias), expected, "{version:?} {len}");
        }
    }

    #[test]
    fn the_length_of_the_iv_tells() {
        use KeyKind::{CtrHmac, GcmSiv};
        for (version, len, expected) in [
            (None, 16, (CtrHmac, None)),
            (Some(2), 16, (CtrHmac, Some(2))),
            (Some(3), 16, (CtrHmac, Some(2))),
            (None, 12, (GcmSiv, Some(0))),
            (Some(3), 12, (GcmSiv, Some(3))),
            (Some(7), 12, (GcmSiv, Some(6))),
            (None, 13, (CtrHmac, None)),
            (Some(3), 13, (GcmSiv, Some(3))),
        ] {
            assert_eq!(spoken(&authenticate(version, &vec![9; len])), expected, "{version:?} {len}");
        }
    }

    #[test]
    fn logins_of_all_versions_are_read() {
        let (ctr, gcm) = (CtrHmacKey::from_bytes([5; 32]), GcmSivKey::from_bytes([5; 32]));
        let token = AuthenticationToken::create(&ctr, ADDRESS, [9; 16]);
        let text = ClientRequest::Authenticate {
            protocol_version: None,
            address: ADDRESS.to_string(),
            enc_address: bs58::encode(token.enc_address).into_string(),
            iv: bs58::encode(token.iv).into_string(),
        };
        let expected = Opening::LogIn { protocol: Protocol::UNKNOWN, proof: LoginProof::CtrHmac(token) };
        assert_eq!(read(&text.to_string()), Ok(expected));

        let token = GcmSivToken::create(&gcm, ADDRESS, [9; 12]);
        let protocol = Protocol::negotiate(KeyKind::GcmSiv, Some(3));
        let expected = Opening::LogIn { protocol, proof: LoginProof::GcmSiv(token) };
        assert_eq!(read(&token.to_request(Some(3)).to_string()), Ok(expected));

        for case in file("authenticate_v2.json")["cases"].as_array().unwrap() {
            let Ok(Opening::LogIn { protocol, proof: LoginProof::Signed(login) }) =
                read(case["text"].as_str().unwrap())
            else {
                panic!("{case}");
            };
            assert_eq!(case["protocol_version"], protocol.version().unwrap().number());
            assert_eq!(case["text"], login.to_request().to_string());
        }
    }

    #[test]
    fn a_signed_login_of_another_version_is_refused_before_anything_about_it() {
        let key = GcmSivKey::from_bytes([5; 32]);
        for version in [0, 3, 7, 255] {
            let claim = LoginClaim::create(version, &key, ADDRESS, [9; 12], 0);
            let misfit = read(&SignedLogin { claim, signature: [0; 64] }.to_request().to_string()).unwrap_err();
            assert_eq!(misfit.refusal, EntryRefusal::Version(version));
            assert_eq!(misfit.protocol.key_kind(), KeyKind::GcmSiv);
        }
    }

    #[test]
    fn a_signed_login_with_fields_of_wrong_lengths_is_refused_as_by_the_real_gateway() {
        let claim = LoginClaim::create(6, &GcmSivKey::from_bytes([5; 32]), ADDRESS, [9; 12], 0);
        let text = SignedLogin { claim, signature: [0; 64] }.to_request().to_string();
        let nonce = r#""nonce":"CQkJCQkJCQkJCQkJ""#;
        assert!(text.contains(nonce));
        let refusal = |text: String| read(&text).unwrap_err().refusal;
        assert_eq!(refusal(text.replace(nonce, r#""nonce":"CQk=""#)), EntryRefusal::Login(LoginRefusal::WrongKey));
        assert_eq!(refusal(text.replace(nonce, r#""nonce":"CQk""#)), EntryRefusal::NoRequest);
        assert_eq!(refusal(text.replace("\"clientIdentity\":[1,", "\"clientIdentity\":[")), EntryRefusal::NoRequest);
    }

    #[test]
    fn a_request_for_sessions_tells_the_era_but_opens_nothing() {
        for text in [
            r#"{"type":"claimFreeTestnetBandwidth"}"#,
            r#"{"type":"ecashCredential","enc_credential":[1],"iv":[2]}"#,
            r#"{"type":"bandwidthCredential","enc_credential":[1],"iv":[2]}"#,
            r#"{"type":"bandwidthCredentialV2","enc_credential":[1],"iv":[2]}"#,
            r#"{"type":"upgradeModeJWT","token":"a"}"#,
            r#"{"type":"encryptedRequest","ciphertext":[1],"nonce":[2]}"#,
        ] {
            let expected = Misfit { protocol: Protocol::CURRENT, refusal: EntryRefusal::NoRequest };
            assert_eq!(read(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_request_leaves_open_who_speaks() {
        let asked = read(r#"{"type":"supportedProtocol"}"#).unwrap();
        assert_eq!(asked, Opening::AskVersion);
        for spoken in [Protocol::UNKNOWN, asked.protocol()] {
            let misfit = Opening::read("no request", spoken, Eras::All);
            assert_eq!(misfit, Err(Misfit { protocol: spoken, refusal: EntryRefusal::NoRequest }));
        }
        // Old enough to register without a salt, young enough to ask.
        let opening = Opening::read(&init(Some(2), 64), asked.protocol(), Eras::All).unwrap();
        assert_eq!(opening.protocol(), Protocol::negotiate(KeyKind::CtrHmac, Some(2)));
    }

    #[test]
    fn unreadable_fields_are_named_in_the_order_of_the_fields() {
        let refusal = |text: String| read(&text).unwrap_err().refusal;
        let text = authenticate(None, &[9; 16]);
        let damage = |text: &str, field: &str| text.replace(&format!(r#""{field}":""#), &format!(r#""{field}":"0"#));
        assert_eq!(refusal(damage(&text, "address")), EntryRefusal::TokenText(TokenTextError::Address));
        assert_eq!(refusal(damage(&text, "enc_address")), EntryRefusal::TokenText(TokenTextError::EncryptedAddress));
        assert_eq!(refusal(damage(&text, "iv")), EntryRefusal::TokenText(TokenTextError::Iv));
        // 32 bytes are too few for version 3, which appends a tag.
        let today = authenticate(Some(3), &[9; 12]);
        assert_eq!(refusal(today), EntryRefusal::TokenText(TokenTextError::EncryptedAddress));
    }

    #[test]
    fn everybody_before_version_3_can_be_turned_away() {
        let read = |text: &str| Opening::read(text, Protocol::UNKNOWN, Eras::SinceVersion3);
        for text in [init(None, 64), init(Some(2), 64), init(None, 65), authenticate(None, &[9; 16])] {
            assert_eq!(read(&text).unwrap_err().refusal, EntryRefusal::LegacyClient, "{text}");
        }
        assert!(read(&init(Some(3), 80)).is_ok());
        assert!(read(&init(None, 80)).is_ok());
        assert!(read(r#"{"type":"supportedProtocol"}"#).is_ok());
    }

    #[test]
    fn nobody_in_the_dialogues_of_2021_is_taken_for_somebody_else() {
        for (name, frames) in dialogues() {
            for (_, text) in frames.iter().filter(|(speaker, _)| speaker == "->") {
                assert_eq!(spoken(text), (KeyKind::CtrHmac, None), "{name}: {text}");
            }
        }
    }

    proptest! {
        #[test]
        fn every_text_has_an_answer(text: String, version: Option<u8>, len in 0..100_usize, iv in "[1-9A-Za-z]{0,30}") {
            let authenticate = ClientRequest::Authenticate {
                protocol_version: version,
                address: text.clone(),
                enc_address: text.clone(),
                iv,
            };
            for text in [text, init(version, len), authenticate.to_string()] {
                for served in [Eras::All, Eras::SinceVersion3] {
                    match Opening::read(&text, Protocol::UNKNOWN, served) {
                        Ok(opening) => {
                            prop_assert!(served == Eras::All || opening.protocol().key_kind() == KeyKind::GcmSiv);
                        }
                        Err(misfit) => {
                            let refused = misfit.protocol.refuse_entry(&misfit.refusal);
                            prop_assert!(!refused.texts.is_empty());
                        }
                    }
                }
            }
        }
    }
}
