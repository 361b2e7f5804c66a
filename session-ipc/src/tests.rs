//! The bytes of every message, and the table of phases.

use bincode::{Decode, Encode};
use client_wire::{
    handshake::HandshakeError,
    key::{CtrHmacKey, GcmSivKey, SessionKey},
    login::{LoginError, LoginForm, LoginProof},
    token::{AuthenticationToken, GcmSivToken, LoginClaim, SignedLogin},
};
use ipc::{
    Opaque,
    codec::{decode_body, decode_one, encode_one},
};
use wire::address::ClientAddress;

use super::*;
use proptest::prelude::*;

const SESSION: SessionId = SessionId(5);

#[test]
fn a_message_costs_its_bytes_and_an_overhead_at_most_all() {
    assert_eq!([0, 40].map(message_cost), [MESSAGE_OVERHEAD, 40 + MESSAGE_OVERHEAD]);
    assert_eq!(message_cost(usize::MAX), u64::MAX);
}

/// Asserts the bytes of a message in both directions.
fn pin<M: Encode + Decode<()> + PartialEq + std::fmt::Debug>(message: M, golden: &str) {
    let bytes = encode_one(&message).unwrap();
    assert_eq!(hex::encode(&bytes), golden, "{message:?}");
    assert_eq!(decode_one(&bytes), Ok(message));
}

fn requests() -> Vec<SessionRequest> {
    let token = AuthenticationToken { address: ClientAddress([1; 32]), enc_address: [2; 32], iv: [3; 16] };
    vec![
        SessionRequest::BeginHandshake { init: vec![1, 2], logins: LoginForm::Signed },
        SessionRequest::FinishHandshake { material: vec![3] },
        SessionRequest::AbandonHandshake,
        SessionRequest::AuthenticateClient { proof: LoginProof::CtrHmac(token) },
        SessionRequest::ConfirmReceipt { up_to: Sequence(9) },
        SessionRequest::AnswerProbe { alive: true },
        SessionRequest::ForgetClient,
        SessionRequest::CloseSession,
    ]
}

#[test]
fn bytes_of_requests_are_pinned() {
    let token = format!("050300{}{}{}", "01".repeat(32), "02".repeat(32), "03".repeat(16));
    let golden = ["050002010201", "05010103", "0502", &token, "050409", "050501", "0506", "0507"];
    for (request, golden) in requests().into_iter().zip(golden) {
        pin(EdgeToStore { session: SESSION, request }, golden);
    }
}

#[test]
fn bytes_of_answers_are_pinned() {
    let pin = |answer, golden: &str| pin(StoreToEdge { session: SESSION, answer }, golden);
    let key = AttachedKey::new(SessionKey::CtrHmac(CtrHmacKey::from_bytes([7; 32])));
    let message = Opaque(vec![8].into());
    pin(SessionAnswer::ReplyHandshake { payload: vec![1] }, "05000101");
    for (reason, golden) in [
        (RegistrationRefusal::Handshake(HandshakeError::NoIdentity), "05010000"),
        (RegistrationRefusal::Handshake(HandshakeError::MalformedInit), "05010001"),
        (RegistrationRefusal::Handshake(HandshakeError::MaterialLength { got: 63, expected: 64 }), "050100023f40"),
        (RegistrationRefusal::Handshake(HandshakeError::InvalidSignature), "05010003"),
        (RegistrationRefusal::AlreadyConnected, "050101"),
        (RegistrationRefusal::StorageFailed, "050102"),
    ] {
        pin(SessionAnswer::RefuseHandshake { reason }, golden);
    }
    for (reason, golden) in [
        (AuthenticationRefusal::Login(LoginError::NotProven), "05020000"),
        (AuthenticationRefusal::Login(LoginError::Skewed { got: 1, now: 2 }), "050200010102"),
        (AuthenticationRefusal::Login(LoginError::InvalidSignature), "05020002"),
        (AuthenticationRefusal::Login(LoginError::NotRegistered), "05020003"),
        (AuthenticationRefusal::Login(LoginError::WrongKey), "05020004"),
        (AuthenticationRefusal::Login(LoginError::NotNewer), "05020005"),
        (AuthenticationRefusal::AlreadyConnected, "050201"),
        (AuthenticationRefusal::StorageFailed, "050202"),
        (AuthenticationRefusal::UnreadableEntry, "050203"),
        (AuthenticationRefusal::TooMany, "050204"),
    ] {
        pin(SessionAnswer::RefuseAuthentication { reason }, golden);
    }
    pin(SessionAnswer::AttachSession { key }, &format!("050300{}", "07".repeat(32)));
    let key = AttachedKey::new(SessionKey::GcmSiv(GcmSivKey::from_bytes([7; 32])));
    pin(SessionAnswer::AttachSession { key }, &format!("050301{}", "07".repeat(32)));
    pin(SessionAnswer::PushMessage { sequence: Sequence(300), message }, "0504fb2c010108");
    pin(SessionAnswer::ProbeSession, "0505");
    pin(SessionAnswer::ConfirmForgotten, "0506");
    pin(SessionAnswer::EndSession { reason: EndReason::Superseded }, "050700");
    pin(SessionAnswer::EndSession { reason: EndReason::StorageFailed }, "050701");
    pin(SessionAnswer::EndSession { reason: EndReason::MemoryNeeded }, "050702");
    pin(SessionAnswer::EndSession { reason: EndReason::Forgotten }, "050703");
}

#[test]
fn bytes_of_newer_logins_are_pinned() {
    let key = GcmSivKey::from_bytes([7; 32]);
    let address = ClientAddress([1; 32]);
    let token = GcmSivToken { address, enc_address: [2; 48], nonce: [3; 12] };
    let golden = format!("050301{}{}{}", "01".repeat(32), "02".repeat(48), "03".repeat(12));
    pin(
        EdgeToStore {
            session: SESSION,
            request: SessionRequest::AuthenticateClient { proof: LoginProof::GcmSiv(token) },
        },
        &golden,
    );
    let claim = LoginClaim { address_ciphertext: [2; 48], ..LoginClaim::create(6, &key, address, [3; 12], 9) };
    let login = SignedLogin { claim, signature: [4; 64] };
    let (claim, signature) = ("02".repeat(48) + &"03".repeat(12) + "09", "04".repeat(64));
    let golden = format!("05030206{}{claim}{signature}", "01".repeat(32));
    pin(
        EdgeToStore {
            session: SESSION,
            request: SessionRequest::AuthenticateClient { proof: LoginProof::Signed(login) },
        },
        &golden,
    );
}

#[test]
fn a_key_stays_where_it_is_when_its_message_moves() {
    let address = |messages: &[StoreToEdge]| match messages.first().map(|first| &first.answer) {
        Some(SessionAnswer::AttachSession { key }) => std::ptr::from_ref::<SessionKey>(&**key),
        other => panic!("no key but {other:?}"),
    };
    let key = AttachedKey::new(SessionKey::GcmSiv(GcmSivKey::from_bytes([7; 32])));
    let mut messages = vec![StoreToEdge { session: SESSION, answer: SessionAnswer::AttachSession { key } }];
    let before = address(&messages);
    messages.extend((0..1_000).map(|_| StoreToEdge { session: SESSION, answer: SessionAnswer::ProbeSession }));
    assert_eq!(address(&messages), before);
}

#[test]
fn the_table_of_phases_is_the_documented_one() {
    use Admission::{Ignore as I, Proceed as P, Violation as V};
    let phases = [Phase::Fresh, Phase::Handshaking, Phase::Deciding, Phase::Attached, Phase::Detached];
    let table = [
        [P, V, V, V, I],
        [V, P, V, V, I],
        [V, P, V, V, I],
        [P, V, V, V, I],
        [V, V, V, P, I],
        [V, V, V, P, I],
        [V, V, V, P, I],
        [P, P, P, P, P],
    ];
    for (request, row) in requests().into_iter().zip(table) {
        for (phase, expected) in phases.into_iter().zip(row) {
            assert_eq!(phase.admits(&request), expected, "{request:?} when {phase:?}");
        }
    }
}

#[test]
fn every_proof_travels() {
    let (ctr, gcm) = (CtrHmacKey::from_bytes([5; 32]), GcmSivKey::from_bytes([5; 32]));
    let (address, claim) =
        (ClientAddress([1; 32]), LoginClaim::create(6, &gcm, ClientAddress([1; 32]), [3; 12], 1_000));
    for (proof, len) in [
        (LoginProof::CtrHmac(AuthenticationToken::create(&ctr, address, [2; 16])), 1 + 80),
        (LoginProof::GcmSiv(GcmSivToken::create(&gcm, address, [3; 12])), 1 + 92),
        (LoginProof::Signed(SignedLogin { claim, signature: [4; 64] }), 1 + 1 + 32 + 48 + 12 + 3 + 64),
    ] {
        let request = EdgeToStore { session: SESSION, request: SessionRequest::AuthenticateClient { proof } };
        let encoded = encode_one(&request).unwrap();
        assert_eq!(encoded.len(), 2 + len);
        assert_eq!(decode_one(&encoded), Ok(request));
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = decode_body::<EdgeToStore>(&bytes);
        let _ = decode_body::<StoreToEdge>(&bytes);
    }

    #[test]
    fn a_session_key_travels_as_its_kind_and_its_32_bytes(bytes: [u8; 32]) {
        for (kind, key) in [
            (0, SessionKey::CtrHmac(CtrHmacKey::from_bytes(bytes))),
            (1, SessionKey::GcmSiv(GcmSivKey::from_bytes(bytes))),
        ] {
            let answer = SessionAnswer::AttachSession { key: AttachedKey::new(key) };
            let answer = StoreToEdge { session: SESSION, answer };
            let encoded = encode_one(&answer).unwrap();
            prop_assert_eq!(&encoded, &[&[5, 3, kind][..], &bytes].concat());
            prop_assert_eq!(decode_one(&encoded), Ok(answer));
        }
    }
}
