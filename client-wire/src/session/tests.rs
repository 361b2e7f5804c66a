//! Sessions of every version, both sides of each.

use proptest::{collection::vec, prelude::*};
use wire::packet::{KeyRotation, PacketSize};

use super::*;
use crate::{
    aead_frame::{AeadFrameError, RequestKind},
    client_session::ClientSession,
    control::sealed::SessionType,
    frame::FrameError,
    key::{CtrHmacKey, GcmSivKey, Nonce, SessionKey},
    request::RequestError,
    side::MarkingKey,
    vectors::{bytes_of, dialogues, file, hex_of},
};

const NONCE: Nonce = [7; 12];

const RANDOM: NonceRandom = [7; 6];

fn key(kind: KeyKind) -> SessionKey {
    match kind {
        KeyKind::CtrHmac => SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32])),
        KeyKind::GcmSiv => SessionKey::GcmSiv(gcm_siv()),
    }
}

fn session(kind: KeyKind, version: Option<u8>) -> GatewaySession {
    GatewaySession::new(Protocol::negotiate(kind, version), GatewayKey::of(&key(kind))).unwrap()
}

/// The other side of a session.
fn client_of(session: &GatewaySession) -> ClientSession {
    ClientSession::new(session.protocol(), key(session.protocol().key_kind())).unwrap()
}

fn gateway() -> MarkingKey {
    MarkingKey::of(&gcm_siv())
}

fn gcm_siv() -> GcmSivKey {
    GcmSivKey::from_bytes([5; 32])
}

fn sessions() -> [GatewaySession; 5] {
    [
        session(KeyKind::CtrHmac, None),
        session(KeyKind::CtrHmac, Some(1)),
        session(KeyKind::CtrHmac, Some(2)),
        session(KeyKind::GcmSiv, Some(3)),
        session(KeyKind::GcmSiv, Some(6)),
    ]
}

fn today() -> GatewaySession {
    session(KeyKind::GcmSiv, Some(6))
}

fn request(packet_type: PacketType, key_rotation: Option<KeyRotation>) -> MarkedRequest {
    let size = PacketSize::Ack;
    let next_hop = "10.0.0.1:1789".parse().unwrap();
    let packet = vec![9; size.packet_len()].into();
    MarkedRequest { request: ForwardRequest { packet_type, next_hop, size, packet }, key_rotation }
}

fn refused(session: &GatewaySession, text: &str) -> String {
    match session.read_text(text, RANDOM) {
        TextAction::Refuse(refusal) => session.refuse(refusal).to_string(),
        other => panic!("{text}: {other:?}"),
    }
}

fn answered(session: &GatewaySession, text: &str) -> String {
    match session.read_text(text, RANDOM) {
        TextAction::Answer(answer) => answer.to_string(),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_protocol_takes_its_own_kind_of_key_only() {
    for (kind, version) in [(KeyKind::CtrHmac, None), (KeyKind::CtrHmac, Some(6)), (KeyKind::GcmSiv, Some(1))] {
        for key in [SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32])), SessionKey::GcmSiv(gcm_siv())] {
            let protocol = Protocol::negotiate(kind, version);
            let expected =
                if key.kind() == kind { None } else { Some(WrongKeyKind { expected: kind, got: key.kind() }) };
            assert_eq!(GatewaySession::new(protocol, GatewayKey::of(&key)).err(), expected);
            assert_eq!(ClientSession::new(protocol, key).err(), expected);
        }
    }
}

#[test]
fn pushes_and_opens_the_frames_of_today() {
    let vectors = file("binary_frames.json");
    let key = SessionKey::GcmSiv(GcmSivKey::from_bytes(bytes_of(&vectors["shared_key"])));
    let session = GatewaySession::new(Protocol::CURRENT, GatewayKey::of(&key)).unwrap();
    let client = ClientSession::new(Protocol::CURRENT, key).unwrap();
    for case in vectors["responses"].as_array().unwrap() {
        let (frame, message) = (hex_of(&case["ws_binary"]), hex_of(&case["plaintext"]));
        let pushed = session.seal_push(RANDOM, &message);
        assert_eq!((&pushed[..8], pushed.len()), (&[&frame[..2], &RANDOM].concat()[..], frame.len()));
        assert_eq!(client.open_push(pushed).unwrap(), message);
        assert_eq!(client.open_push(frame.into()).unwrap(), message);
    }
    for case in vectors["requests"].as_array().unwrap() {
        let frame = hex_of(&case["ws_binary"]);
        let request = session.open_request(frame.clone().into()).unwrap();
        assert_eq!(request.key_rotation.is_some(), case["name"] == "ForwardSphinxV2");
        assert_eq!(client.seal_request(frame[2..14].try_into().unwrap(), &request), frame);
    }
}

/// A push sent back as it is would be a request to forward, if the sender of the message chose so.
#[test]
fn what_the_gateway_sealed_is_refused_when_it_comes_back() {
    let session = today();
    let (kind, plaintext) = request(PacketType::Mix, None).encode();
    assert_eq!(kind, RequestKind::Forward);
    let push = session.seal_push(RANDOM, &plaintext);
    let refusal = session.open_request(push.clone()).unwrap_err();
    assert_eq!(refusal, RequestRefusal::AeadFrame(AeadFrameError::Reflected));
    assert!(refusal.is_reflection());
    assert!(!RequestRefusal::AeadFrame(AeadFrameError::NotAuthentic).is_reflection());
    assert_eq!(session.refuse(refusal), session.refuse(RequestRefusal::AeadFrame(AeadFrameError::NotAuthentic)));

    let as_text = |frame: &[u8]| {
        ClientRequest::EncryptedRequest { ciphertext: frame[14..].to_vec(), nonce: frame[2..14].to_vec() }.to_string()
    };
    let text = as_text(&session.seal_push(RANDOM, br#"{"ForgetMe":{"client":true,"stats":true}}"#));
    assert_eq!(session.read_text(&text, RANDOM), TextAction::Refuse(RequestRefusal::ReflectedRequest));
    assert!(RequestRefusal::ReflectedRequest.is_reflection() && !RequestRefusal::SealedRequest.is_reflection());
    assert_eq!(session.refuse(RequestRefusal::ReflectedRequest), session.refuse(RequestRefusal::SealedRequest));
    let answer = SensitiveResponse::ForgetMeAck {}.seal(&gateway(), gateway().nonce(RANDOM));
    let GatewayResponse::EncryptedResponse { ciphertext, nonce } = answer else { panic!("{answer:?}") };
    let text = ClientRequest::EncryptedRequest { ciphertext, nonce }.to_string();
    assert_eq!(session.read_text(&text, RANDOM), TextAction::Refuse(RequestRefusal::ReflectedRequest));
}

/// Their frames have no nonce: README.privsep.md says what that means.
#[test]
fn before_version_3_a_push_sent_back_is_a_request() {
    let session = session(KeyKind::CtrHmac, None);
    let request = request(PacketType::Mix, None);
    assert_eq!(session.open_request(session.seal_push(RANDOM, &request.request.encode())), Ok(request));
}

#[test]
fn a_packet_leaves_with_the_header_of_its_clients_time() {
    let header = |session: &GatewaySession, packet_type, rotation, marks| {
        session.header(&request(packet_type, rotation), marks).encode().to_vec()
    };
    let (mix, odd) = (PacketType::Mix, Some(KeyRotation::Odd));
    let [may_2021, version_1, version_2, version_3, version_6] = sessions();
    for marks in [RotationMarks::Kept, RotationMarks::Dropped] {
        assert_eq!(header(&may_2021, mix, None, marks), [2, 0]);
        for session in [&may_2021, &version_1, &version_2] {
            assert_eq!(header(session, PacketType::Vpn, None, marks), [2, 1]);
        }
        for session in [&version_1, &version_2, &version_3, &version_6] {
            assert_eq!(header(session, mix, None, marks), [7, 2, 0]);
        }
    }
    assert_eq!(header(&version_6, mix, odd, RotationMarks::Dropped), [7, 2, 0]);
    assert_eq!(header(&version_6, mix, odd, RotationMarks::Kept), [8, 2, 0, 1]);
}

#[test]
fn a_binary_frame_is_refused_in_todays_words() {
    let session = today();
    let refusal = |frame: Vec<u8>| {
        let refusal = session.open_request(frame.into()).unwrap_err();
        session.refuse(refusal).to_string()
    };
    let sealed = |plaintext: &[u8]| aead_frame::seal(&gcm_siv(), RequestKind::Forward, &NONCE, plaintext).to_vec();
    let said = |why: &str| format!(r#"{{"type":"error","message":"Provided binary request was malformed - {why}"}}"#);
    let mut damaged = sealed(&request(PacketType::Mix, None).encode().1);
    damaged[40] ^= 1;
    assert_eq!(refusal(damaged), said("failed to either encrypt or decrypt provided message"));
    assert_eq!(refusal(vec![1]), said("the request is too short"));
    assert_eq!(refusal(vec![1, 2, 0]), said("the encryption flag had an unexpected value"));
    assert_eq!(refusal([&[1, 0][..], &[0; 500]].concat()), said("the encryption flag had an unexpected value"));
    assert_eq!(refusal([&[9, 1][..], &[0; 500]].concat()), said("received request with an unknown kind: 9"));
    for plaintext in [&[][..], &[3], &[0, 5, 0], &[0, 4, 1, 2, 3, 4, 5, 6, 7]] {
        let text = refusal(sealed(plaintext));
        assert!(text.contains("malformed - failed to serialise created sphinx packet: "), "{text}");
    }
}

#[test]
fn a_binary_frame_before_version_3_is_refused_in_words_of_2021() {
    let recorded = |name: &str| {
        let (_, frames) = dialogues().into_iter().find(|(other, _)| other == name).unwrap();
        frames.into_iter().rfind(|(speaker, _)| speaker == "<-").unwrap().1
    };
    for session in &sessions()[..3] {
        for (refusal, dialogue) in [
            (RequestRefusal::Frame(FrameError::TooShort), "binary_too_short"),
            (RequestRefusal::Frame(FrameError::InvalidMac), "binary_bad_mac"),
            (RequestRefusal::Forward(RequestError::PacketType), "binary_bad_mode"),
            (RequestRefusal::Forward(RequestError::NextHop), "binary_short_address"),
            (RequestRefusal::Forward(RequestError::Size(385)), "binary_bad_packet_size"),
        ] {
            assert_eq!(session.refuse(refusal).to_string(), recorded(dialogue), "{dialogue}");
        }
        assert_eq!(session.open_request(vec![0; 31].into()), Err(RequestRefusal::Frame(FrameError::TooShort)));
    }
}

#[test]
fn in_2021_there_is_nothing_to_say() {
    let session = session(KeyKind::CtrHmac, None);
    for text in ["", "hello", r#"{"type":"supportedProtocol"}"#, r#"{"type":"claimFreeTestnetBandwidth"}"#] {
        assert_eq!(refused(&session, text), r#"{"type":"error","message":"invalid request"}"#);
    }
}

#[test]
fn since_2022_bandwidth_is_told_and_credentials_are_refused() {
    for session in &sessions()[1..] {
        let upgrade_mode =
            if session.protocol().key_kind() == KeyKind::GcmSiv { r#","upgrade_mode":false"# } else { "" };
        let expected = format!(r#"{{"type":"bandwidth","available_total":68719476736{upgrade_mode}}}"#);
        assert_eq!(answered(session, r#"{"type":"claimFreeTestnetBandwidth"}"#), expected);
        for text in [
            r#"{"type":"ecashCredential","enc_credential":[1],"iv":[2]}"#,
            r#"{"type":"bandwidthCredential","enc_credential":[1],"iv":[2]}"#,
            r#"{"type":"bandwidthCredentialV2","enc_credential":[1],"iv":[2]}"#,
            r#"{"type":"upgradeModeJWT","token":"a.b.c"}"#,
        ] {
            assert!(refused(session, text).contains("takes no credentials"), "{text}");
        }
        let version = r#"{"type":"supportedProtocol","version":6}"#;
        assert_eq!(answered(session, r#"{"type":"supportedProtocol"}"#), version);
    }
}

#[test]
fn the_answer_to_a_packet_is_that_of_the_version() {
    let texts = sessions().map(|session| session.sent().to_string());
    let bandwidth = r#""remaining_bandwidth":68719476736"#;
    let until_2 = format!(r#"{{"type":"send","status":true,{bandwidth}}}"#);
    let since_3 = format!(r#"{{"type":"send",{bandwidth},"upgrade_mode":false}}"#);
    assert_eq!(
        texts,
        [r#"{"type":"send","status":true}"#.to_owned(), until_2.clone(), until_2, since_3.clone(), since_3]
    );
}

#[test]
fn what_is_encrypted_is_answered_encrypted() {
    let vectors = file("control_messages.json");
    let key = GcmSivKey::from_bytes(bytes_of(&vectors["shared_key"]));
    let session = GatewaySession::new(Protocol::CURRENT, GatewayKey::GcmSiv(MarkingKey::of(&key))).unwrap();
    let read = |request: &str| session.read_text(vectors["requests"][request]["text"].as_str().unwrap(), RANDOM);
    let opened = |answer: GatewayResponse| match answer {
        GatewayResponse::EncryptedResponse { ciphertext, nonce } => {
            assert_eq!(nonce[..6], RANDOM);
            SensitiveResponse::open(&key, ciphertext, &nonce).unwrap()
        }
        other => panic!("{other:?}"),
    };
    for request in ["forget_me", "forget_me_both"] {
        match read(request) {
            TextAction::Forget { done } => assert_eq!(opened(done), SensitiveResponse::ForgetMeAck {}),
            other => panic!("{other:?}"),
        }
    }
    for request in ["remember_me_vpn", "remember_me_native", "remember_me_mixnet", "remember_me_unknown"] {
        match read(request) {
            TextAction::Answer(done) => assert_eq!(opened(done), SensitiveResponse::RememberMeAck {}),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn forgetting_what_was_counted_removes_no_client() {
    let only_stats = SensitiveRequest::ForgetMe { client: false, stats: true }.seal(&gcm_siv(), NONCE);
    let answer = answered(&today(), &only_stats.to_string());
    assert_eq!(answer, SensitiveResponse::ForgetMeAck {}.seal(&gateway(), gateway().nonce(RANDOM)).to_string());
}

#[test]
fn a_session_without_an_account_refuses_what_takes_one() {
    let mut session = today();
    session.forget_account();
    let client = client_of(&session);
    let packet = client.seal_request(NONCE, &request(PacketType::Mix, None));
    assert_eq!(session.open_request(packet), Err(RequestRefusal::NoAccount));
    let damaged = client.seal_request(NONCE, &request(PacketType::Mix, None)).slice(..100);
    assert_eq!(session.open_request(damaged), Err(RequestRefusal::AeadFrame(AeadFrameError::NotAuthentic)));
    let sealed = |request: SensitiveRequest| request.seal(&gcm_siv(), NONCE).to_string();
    for text in [
        r#"{"type":"claimFreeTestnetBandwidth"}"#.to_owned(),
        sealed(SensitiveRequest::ForgetMe { client: true, stats: true }),
        sealed(SensitiveRequest::ForgetMe { client: false, stats: true }),
        sealed(SensitiveRequest::RememberMe { session_type: SessionType::Vpn }),
    ] {
        assert_eq!(refused(&session, &text), r#"{"type":"error","message":"the client is not registered"}"#);
    }
    assert!(answered(&session, r#"{"type":"supportedProtocol"}"#).contains("supportedProtocol"));
}

#[test]
fn an_encrypted_request_that_comes_to_nothing_is_refused() {
    let text = |key: &GcmSivKey, request: SensitiveRequest| request.seal(key, NONCE).to_string();
    let forget = SensitiveRequest::ForgetMe { client: true, stats: true };
    let said = |why: &str| format!(r#"{{"type":"error","message":"{why}"}}"#);
    let other = GcmSivKey::from_bytes([6; 32]);
    assert_eq!(refused(&today(), &text(&other, forget.clone())), said("failed to decrypt provided text request"));
    let upgrade = SensitiveRequest::UpgradeKey { hkdf_salt: vec![1], derived_key_digest: vec![2] };
    assert!(refused(&today(), &text(&gcm_siv(), upgrade)).contains("register again"));
    let frame = aead_frame::seal(&gcm_siv(), RequestKind::Forward, &NONCE, b"{}");
    let unknown = ClientRequest::EncryptedRequest { ciphertext: frame[14..].to_vec(), nonce: NONCE.to_vec() };
    assert!(refused(&today(), &unknown.to_string()).contains("Provided text request was malformed - "));
    let old = session(KeyKind::CtrHmac, Some(2));
    assert_eq!(refused(&old, &text(&gcm_siv(), forget)), said("invalid request"));
}

#[test]
fn who_is_in_need_not_ask_again() {
    let init = file("handshake_v3_v6.json")["cases"][0]["messages"][0]["text"].as_str().unwrap().to_owned();
    let login = file("authenticate_v2.json")["cases"][0]["text"].as_str().unwrap().to_owned();
    let old_login = r#"{"type":"authenticate","address":"a","enc_address":"b","iv":"c"}"#.to_owned();
    for text in [init, login, old_login] {
        assert!(refused(&today(), &text).contains("not valid in the current context"), "{text}");
        let old = session(KeyKind::CtrHmac, Some(1));
        assert_eq!(refused(&old, &text), r#"{"type":"error","message":"invalid request"}"#);
    }
    assert!(refused(&today(), "hello").contains("Provided text request was malformed - "));
}

#[test]
fn before_version_3_kinds_of_frame_do_not_exist() {
    let frame = client_of(&today()).seal_request(NONCE, &request(PacketType::Mix, None));
    let old = session(KeyKind::CtrHmac, None);
    assert_eq!(old.open_request(frame), Err(RequestRefusal::Frame(FrameError::InvalidMac)));
    let frame = client_of(&old).seal_request(NONCE, &request(PacketType::Mix, None));
    assert!(matches!(
        today().open_request(frame),
        Err(RequestRefusal::AeadFrame(
            AeadFrameError::Flag(_) | AeadFrameError::UnknownKind(_) | AeadFrameError::NotAuthentic
        ))
    ));
}

proptest! {
    #[test]
    fn both_sides_of_every_version_understand_each_other(nonce: [u8; 12], message in vec(any::<u8>(), 0..300)) {
        for session in sessions() {
            let client = client_of(&session);
            let [random @ .., _, _, _, _, _, _] = nonce;
            prop_assert_eq!(client.open_push(session.seal_push(random, &message)), Ok(message.clone().into()));
            let rotation = (session.protocol().key_kind() == KeyKind::GcmSiv).then_some(KeyRotation::Even);
            for rotation in [None, rotation] {
                let request = request(PacketType::Mix, rotation);
                prop_assert_eq!(session.open_request(client.seal_request(nonce, &request)), Ok(request));
            }
        }
    }

    #[test]
    fn no_frame_and_no_text_panics(bytes in vec(any::<u8>(), 0..600), text: String) {
        for session in sessions() {
            prop_assert!(session.open_request(bytes.clone().into()).is_err());
            prop_assert!(client_of(&session).open_push(bytes.clone().into()).is_err());
            let _ = session.open_request(session.seal_push(RANDOM, &bytes));
            prop_assert!(matches!(session.read_text(&text, RANDOM), TextAction::Refuse(_)));
        }
    }
}
