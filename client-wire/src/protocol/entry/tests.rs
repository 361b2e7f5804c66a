//! Whose text is whose, in every version.

use proptest::prelude::*;
use wire::address::ClientAddress;

use super::*;
use crate::{
    key::{CtrHmacKey, GcmSivKey},
    token::{LoginClaim, TokenTextError},
    vectors::{dialogues, file},
};

const ADDRESS: ClientAddress = ClientAddress([1; 32]);

fn read(text: &str) -> Result<EntryRequest, RejectedRequest> {
    EntryRequest::read(text, Protocol::UNKNOWN, Eras::All)
}

/// The kind of key and the version, as a pair that is short to write.
fn spoken(text: &str) -> (KeyKind, Option<u8>) {
    let protocol = read(text).map_or_else(|rejected| rejected.protocol, |entry| entry.protocol());
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
    let expected = EntryRequest::LogIn { protocol: Protocol::UNKNOWN, proof: LoginProof::CtrHmac(token) };
    assert_eq!(read(&text.to_string()), Ok(expected));

    let token = GcmSivToken::create(&gcm, ADDRESS, [9; 12]);
    let protocol = Protocol::negotiate(KeyKind::GcmSiv, Some(3));
    let expected = EntryRequest::LogIn { protocol, proof: LoginProof::GcmSiv(token) };
    assert_eq!(read(&token.to_request(Some(3)).to_string()), Ok(expected));

    for case in file("authenticate_v2.json")["cases"].as_array().unwrap() {
        let Ok(EntryRequest::LogIn { protocol, proof: LoginProof::Signed(login) }) =
            read(case["text"].as_str().unwrap())
        else {
            panic!("{case}");
        };
        assert_eq!(case["protocol_version"], protocol.version().unwrap().number());
        assert_eq!(case["text"], login.to_request().to_string());
    }
}

/// The version is judged before anything else in the login.
#[test]
fn a_signed_login_of_another_version_is_refused_for_that() {
    let key = GcmSivKey::from_bytes([5; 32]);
    for version in [0, 3, 7, 255] {
        let claim = LoginClaim::create(version, &key, ADDRESS, [9; 12], 0);
        let rejected = read(&SignedLogin { claim, signature: [0; 64] }.to_request().to_string()).unwrap_err();
        assert_eq!(rejected.refusal, EntryRefusal::Version(version));
        assert_eq!(rejected.protocol.key_kind(), KeyKind::GcmSiv);
    }
}

/// The words are those of the real gateway.
#[test]
fn a_signed_login_with_fields_of_wrong_lengths_is_refused() {
    let claim = LoginClaim::create(6, &GcmSivKey::from_bytes([5; 32]), ADDRESS, [9; 12], 0);
    let text = SignedLogin { claim, signature: [0; 64] }.to_request().to_string();
    let nonce = r#""nonce":"CQkJCQkJCQkJCQkJ""#;
    assert!(text.contains(nonce));
    let refusal = |text: String| read(&text).unwrap_err().refusal;
    assert_eq!(refusal(text.replace(nonce, r#""nonce":"CQk=""#)), EntryRefusal::Login(LoginError::WrongKey));
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
        let expected = RejectedRequest { protocol: Protocol::CURRENT, refusal: EntryRefusal::NoRequest };
        assert_eq!(read(text), Err(expected), "{text}");
    }
}

#[test]
fn a_text_that_is_no_request_leaves_open_who_speaks() {
    let asked = read(r#"{"type":"supportedProtocol"}"#).unwrap();
    assert_eq!(asked, EntryRequest::AskVersion);
    for spoken in [Protocol::UNKNOWN, asked.protocol()] {
        let rejected = EntryRequest::read("no request", spoken, Eras::All);
        assert_eq!(rejected, Err(RejectedRequest { protocol: spoken, refusal: EntryRefusal::NoRequest }));
    }
    // Old enough to register without a salt, young enough to ask.
    let entry = EntryRequest::read(&init(Some(2), 64), asked.protocol(), Eras::All).unwrap();
    assert_eq!(entry.protocol(), Protocol::negotiate(KeyKind::CtrHmac, Some(2)));
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
    let read = |text: &str| EntryRequest::read(text, Protocol::UNKNOWN, Eras::SinceVersion3);
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
                match EntryRequest::read(&text, Protocol::UNKNOWN, served) {
                    Ok(entry) => {
                        prop_assert!(served == Eras::All || entry.protocol().key_kind() == KeyKind::GcmSiv);
                    }
                    Err(rejected) => {
                        let refused = rejected.protocol.refuse_entry(&rejected.refusal);
                        prop_assert!(!refused.texts.is_empty());
                    }
                }
            }
        }
    }
}
