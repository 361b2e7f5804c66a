use client_wire::{control::HandshakeMessage, handshake::HandshakeError};
use session_ipc::{EdgeToStore, RegistrationRefusal, SessionAnswer, SessionId, SessionRequest, StoreToEdge};

use super::{
    client::{Client, authenticate},
    gateway::{Gateway, SOON, Store, attach, config, push, receipt},
};

fn payload(data: &[u8]) -> String {
    HandshakeMessage::HandshakePayload { protocol_version: None, data: data.to_vec() }.to_string()
}

/// Up to the point where the gateway waits for the second handshake message.
async fn begin(client: &mut Client, store: &mut Store) -> SessionId {
    client.text(payload(&[3; 64])).await;
    let Some(EdgeToStore { session, request: SessionRequest::BeginHandshake { init, .. } }) = store.hear().await else {
        panic!("no handshake")
    };
    assert_eq!(init, [3; 64]);
    store.say(&[StoreToEdge { session, answer: SessionAnswer::ReplyHandshake { payload: vec![4; 96] } }]).await;
    client.hear_text(&payload(&[4; 96])).await;
    session
}

#[tokio::test]
async fn both_answers_come_before_the_first_mail_and_the_first_ping() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let mut client = gateway.connect().await;
    let session = begin(&mut client, &mut store).await;
    client.text(payload(&[5; 64])).await;
    store.expect(EdgeToStore { session, request: SessionRequest::FinishHandshake { material: vec![5; 64] } }).await;
    store.say(&[attach(session), push(session, 7, b"mail that waited")]).await;
    client.hear_text(r#"{"type":"handshakePayload","data":[1]}"#).await;
    client.hear_text(r#"{"type":"register","status":true}"#).await;
    client.hear_mail(b"mail that waited").await;
    let ping = client.hear_ping().await;
    client.pong(&ping).await;
    store.expect(receipt(session, 7)).await;
}

#[tokio::test]
async fn the_first_message_has_two_names_and_old_versions_are_echoed() {
    let (gateway, mut store) = Gateway::start(config()).await;
    for (sent, answered) in [
        (r#"{"type":"registerHandshakeInitRequest","data":[1]}"#, r#"{"type":"handshakePayload","data":[9]}"#),
        (
            r#"{"type":"handshakePayload","protocol_version":2,"data":[1]}"#,
            r#"{"type":"handshakePayload","protocol_version":2,"data":[9]}"#,
        ),
        (
            r#"{"type":"handshakePayload","protocol_version":3,"data":[1]}"#,
            r#"{"type":"handshakePayload","protocol_version":3,"data":[9]}"#,
        ),
    ] {
        let mut client = gateway.connect().await;
        client.text(sent).await;
        let Some(EdgeToStore { session, request: SessionRequest::BeginHandshake { init, .. } }) = store.hear().await
        else {
            panic!("no handshake")
        };
        assert_eq!(init, [1]);
        store.say(&[StoreToEdge { session, answer: SessionAnswer::ReplyHandshake { payload: vec![9] } }]).await;
        client.hear_text(answered).await;
        drop(client);
        store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
    }
}

#[tokio::test]
async fn a_refused_client_stays_connected_and_may_try_again() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let mut client = gateway.connect().await;
    client.text(payload(&[3; 65])).await;
    let Some(EdgeToStore { session, request: SessionRequest::BeginHandshake { .. } }) = store.hear().await else {
        panic!("no handshake")
    };
    store
        .say(&[StoreToEdge {
            session,
            answer: SessionAnswer::RefuseHandshake {
                reason: RegistrationRefusal::Handshake(HandshakeError::MalformedInit),
            },
        }])
        .await;
    client.hear_text(r#"{"type":"handshakeError","message":"sent request was malformed"}"#).await;
    client.hear_error("failed to perform the handshake - sent request was malformed").await;

    assert_eq!(begin(&mut client, &mut store).await, session);
    client.text(payload(&[7; 64])).await;
    store.expect(EdgeToStore { session, request: SessionRequest::FinishHandshake { material: vec![7; 64] } }).await;
    store
        .say(&[StoreToEdge {
            session,
            answer: SessionAnswer::RefuseHandshake {
                reason: RegistrationRefusal::Handshake(HandshakeError::InvalidSignature),
            },
        }])
        .await;
    client.hear_text(r#"{"type":"handshakeError","message":"received invalid signature"}"#).await;
    client.hear_error("failed to perform the handshake - received invalid signature").await;

    assert_eq!(store.attach(&mut client).await, session);
}

#[tokio::test]
async fn a_client_connected_elsewhere_is_told_so_at_the_end() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let mut client = gateway.connect().await;
    let session = begin(&mut client, &mut store).await;
    client.text(payload(&[5; 64])).await;
    store.expect(EdgeToStore { session, request: SessionRequest::FinishHandshake { material: vec![5; 64] } }).await;
    store
        .say(&[StoreToEdge {
            session,
            answer: SessionAnswer::RefuseHandshake { reason: RegistrationRefusal::AlreadyConnected },
        }])
        .await;
    client.hear_error("Registration failure - duplicate connection detected").await;
    store.attach(&mut client).await;
}

#[tokio::test]
async fn what_is_no_handshake_message_is_ignored_during_one() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let mut client = gateway.connect().await;
    let session = begin(&mut client, &mut store).await;
    client.text("garbage").await;
    client.binary(b"binary").await;
    client.pong(b"pong").await;
    client.text(authenticate()).await;
    client.text(payload(&[7; 63])).await;
    store.expect(EdgeToStore { session, request: SessionRequest::FinishHandshake { material: vec![7; 63] } }).await;
    let reason = RegistrationRefusal::Handshake(HandshakeError::MaterialLength { got: 63, expected: 64 });
    store.say(&[StoreToEdge { session, answer: SessionAnswer::RefuseHandshake { reason } }]).await;
    let text = "received key material of invalid length - 63. Expected: 64";
    client.hear_text(&format!(r#"{{"type":"handshakeError","message":"{text}"}}"#)).await;
    client.hear_error(&format!("failed to perform the handshake - {text}")).await;
}

#[tokio::test]
async fn a_client_that_gives_up_is_told_what_it_said() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let mut client = gateway.connect().await;
    let session = begin(&mut client, &mut store).await;
    client.text(r#"{"type":"handshakeError","message":"nope"}"#).await;
    store.expect(EdgeToStore { session, request: SessionRequest::AbandonHandshake }).await;
    client.hear_error("failed to perform the handshake - error on the remote: nope").await;
    begin(&mut client, &mut store).await;
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_abandoned() {
    let (gateway, mut store) = Gateway::start(ipc::control::EdgeConfig { handshake_message: SOON, ..config() }).await;
    let mut client = gateway.connect().await;
    let session = begin(&mut client, &mut store).await;
    client.text("no handshake message").await;
    store.expect(EdgeToStore { session, request: SessionRequest::AbandonHandshake }).await;
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
    client.hear_error("Failed to perform registration handshake: timed out waiting for a handshake message").await;
    client.hear_close(1008).await;
}

#[tokio::test]
async fn a_client_that_hangs_up_after_its_last_message_is_registered() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let mut client = gateway.connect().await;
    let session = begin(&mut client, &mut store).await;
    client.text(payload(&[5; 64])).await;
    store.expect(EdgeToStore { session, request: SessionRequest::FinishHandshake { material: vec![5; 64] } }).await;
    drop(client);
    store.say(&[attach(session)]).await;
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
}
