//! Sessions of every version, both sides of each.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::wire::{
    client::{
        aead_frame::AeadFrameError,
        frame::FrameError,
        key::{CtrHmacKey, GcmSivKey},
        request::RequestError,
        vectors::{bytes_of, dialogues, file, hex_of},
    },
    packet::{KeyRotation, PacketSize},
};

const NONCE: Nonce = [7; 12];

fn session(kind: KeyKind, version: Option<u8>) -> Session {
    let key = match kind {
        KeyKind::CtrHmac => SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32])),
        KeyKind::GcmSiv => SessionKey::GcmSiv(gcm_siv()),
    };
    Session::new(Protocol::negotiate(kind, version), key).unwrap()
}

fn gcm_siv() -> GcmSivKey {
    GcmSivKey::from_bytes([5; 32])
}

fn sessions() -> [Session; 5] {
    [
        session(KeyKind::CtrHmac, None),
        session(KeyKind::CtrHmac, Some(1)),
        session(KeyKind::CtrHmac, Some(2)),
        session(KeyKind::GcmSiv, Some(3)),
        session(KeyKind::GcmSiv, Some(6)),
    ]
}

fn today() -> Session {
    session(KeyKind::GcmSiv, Some(6))
}

fn request(packet_type: PacketType, key_rotation: Option<KeyRotation>) -> MarkedRequest {
    let size = PacketSize::Ack;
    let next_hop = "10.0.0.1:1789".parse().unwrap();
    let packet = vec![9; size.packet_len()].into();
    MarkedRequest { request: ForwardRequest { packet_type, next_hop, size, packet }, key_rotation }
}

fn refused(session: &Session, text: &str) -> String {
    match session.read_text(text, NONCE) {
        Command::Refuse(answer) => answer.to_string(),
        other => panic!("{text}: {other:?}"),
    }
}

fn answered(session: &Session, text: &str) -> String {
    match session.read_text(text, NONCE) {
        Command::Answer(answer) => answer.to_string(),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_protocol_takes_its_own_kind_of_key_only() {
    for (kind, version) in [(KeyKind::CtrHmac, None), (KeyKind::CtrHmac, Some(6)), (KeyKind::GcmSiv, Some(1))] {
        for key in [SessionKey::CtrHmac(CtrHmacKey::from_bytes([5; 32])), SessionKey::GcmSiv(gcm_siv())] {
            let made = Session::new(Protocol::negotiate(kind, version), key.clone());
            let expected =
                if key.kind() == kind { None } else { Some(WrongKeyKind { expected: kind, got: key.kind() }) };
            assert_eq!(made.err(), expected);
        }
    }
}

#[test]
fn pushes_and_opens_the_frames_of_today() {
    let vectors = file("binary_frames.json");
    let key = SessionKey::GcmSiv(GcmSivKey::from_bytes(bytes_of(&vectors["shared_key"])));
    let session = Session::new(Protocol::CURRENT, key).unwrap();
    for case in vectors["responses"].as_array().unwrap() {
        let (frame, message) = (hex_of(&case["ws_binary"]), hex_of(&case["plaintext"]));
        assert_eq!(session.seal_push(frame[2..14].try_into().unwrap(), &message), frame);
        assert_eq!(session.open_push(frame.into()).unwrap(), message);
    }
    for case in vectors["requests"].as_array().unwrap() {
        let frame = hex_of(&case["ws_binary"]);
        let request = session.open_request(frame.clone().into()).unwrap();
        assert_eq!(request.key_rotation.is_some(), case["name"] == "ForwardSphinxV2");
        assert_eq!(session.seal_request(frame[2..14].try_into().unwrap(), &request), frame);
    }
}

#[test]
fn a_packet_leaves_with_the_header_of_its_clients_time() {
    let header = |session: &Session, packet_type, rotation, marks| {
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
fn today_a_binary_frame_is_refused_in_the_words_of_the_real_gateway() {
    let session = today();
    let refusal = |frame: Vec<u8>| {
        let refusal = session.open_request(frame.into()).unwrap_err();
        session.refuse(refusal).to_string()
    };
    let sealed = |plaintext: &[u8]| aead_frame::seal(&gcm_siv(), PushKind::Message, &NONCE, plaintext).to_vec();
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
fn before_version_3_a_binary_frame_is_refused_in_the_words_of_2021() {
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
fn bandwidth_is_for_the_asking_since_2022_and_credentials_are_not_taken() {
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
    let key = SessionKey::GcmSiv(GcmSivKey::from_bytes(bytes_of(&vectors["shared_key"])));
    let session = Session::new(Protocol::CURRENT, key).unwrap();
    let text = |message: &serde_json::Value| message["text"].as_str().unwrap().to_owned();
    let (forgotten, remembered) = (&vectors["responses"]["forget_me_ack"], &vectors["responses"]["remember_me_ack"]);
    for request in ["forget_me", "forget_me_both"] {
        match session.read_text(&text(&vectors["requests"][request]), bytes_of(&forgotten["nonce"])) {
            Command::Forget { done } => assert_eq!(done.to_string(), text(forgotten)),
            other => panic!("{other:?}"),
        }
    }
    for request in ["remember_me_vpn", "remember_me_native", "remember_me_mixnet", "remember_me_unknown"] {
        match session.read_text(&text(&vectors["requests"][request]), bytes_of(&remembered["nonce"])) {
            Command::Answer(done) => assert_eq!(done.to_string(), text(remembered)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn forgetting_what_was_counted_removes_no_client() {
    let only_stats = SensitiveRequest::ForgetMe { client: false, stats: true }.seal(&gcm_siv(), NONCE);
    let answer = answered(&today(), &only_stats.to_string());
    assert_eq!(answer, SensitiveResponse::ForgetMeAck {}.seal(&gcm_siv(), NONCE).to_string());
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
    let unknown =
        ClientRequest::EncryptedRequest { ciphertext: gcm_siv().seal(&NONCE, b"{}".to_vec()), nonce: NONCE.to_vec() };
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
    let frame = today().seal_request(NONCE, &request(PacketType::Mix, None));
    let refusal = session(KeyKind::CtrHmac, None).open_request(frame).unwrap_err();
    assert_eq!(refusal, RequestRefusal::Frame(FrameError::InvalidMac));
    let frame = session(KeyKind::CtrHmac, None).seal_request(NONCE, &request(PacketType::Mix, None));
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
            let pushed = session.open_push(session.seal_push(nonce, &message));
            prop_assert_eq!(pushed, Ok(message.clone().into()));
            let rotation = (session.protocol().key_kind() == KeyKind::GcmSiv).then_some(KeyRotation::Even);
            for rotation in [None, rotation] {
                let request = request(PacketType::Mix, rotation);
                prop_assert_eq!(session.open_request(session.seal_request(nonce, &request)), Ok(request));
            }
        }
    }

    #[test]
    fn no_frame_and_no_text_panics(bytes in vec(any::<u8>(), 0..600), text: String) {
        for session in sessions() {
            prop_assert!(session.open_request(bytes.clone().into()).is_err());
            prop_assert!(session.open_push(bytes.clone().into()).is_err());
            let _ = session.open_request(session.seal_push(NONCE, &bytes));
            prop_assert!(matches!(session.read_text(&text, NONCE), Command::Refuse(_)));
        }
    }
}
