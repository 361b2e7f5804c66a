//! What happens at each limit, and that other clients do not notice.

use std::{net::Ipv4Addr, sync::atomic::Ordering::Relaxed};

use client_wire::{handshake::HandshakeError, login::LoginError};
use ipc::control::EdgeConfig;
use session_ipc::{
    AuthenticationRefusal, EdgeToStore, RegistrationRefusal, SessionAnswer, SessionRequest, StoreToEdge,
};
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use super::{
    client::{Client, Heard, TIMEOUT, authenticate},
    gateway::{Gateway, SOON, config, push, receipt},
};

const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const INIT: &str = r#"{"type":"handshakePayload","data":[1,2,3]}"#;

#[tokio::test]
async fn one_address_takes_its_share_of_the_connections_and_no_more() {
    let (gateway, mut store) = Gateway::start(EdgeConfig { max_connections_per_prefix: 2, ..config() }).await;
    let _first = gateway.attach(&mut store).await;
    let mut second = gateway.connect().await;
    let mut third = gateway.connect().await;
    second.hear_close(1013).await;
    store.attach(&mut third).await;
    assert_eq!(gateway.edge.counters().connections_evicted.load(Relaxed), 1);
    let mut refused = TcpStream::connect(gateway.address).await.unwrap();
    assert_eq!(timeout(TIMEOUT, refused.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
    assert_eq!(gateway.edge.counters().connections_refused_prefix.load(Relaxed), 1);
    let mut elsewhere = gateway.connect_from(ELSEWHERE).await;
    store.attach(&mut elsewhere).await;
}

#[tokio::test]
async fn with_one_too_many_the_oldest_before_login_is_closed() {
    let (gateway, mut store) = Gateway::start(EdgeConfig { max_unauthenticated: 2, ..config() }).await;
    let (mut client, session) = gateway.attach(&mut store).await;
    let mut silent = gateway.connect().await;
    let mut deciding = gateway.connect().await;
    deciding.text(authenticate()).await;
    let decided = store.expect_authentication().await;
    let counters = gateway.edge.counters();
    assert_eq!(counters.unauthenticated_evicted.load(Relaxed), 0);

    let mut upgrading = TcpStream::connect(gateway.address).await.unwrap();
    silent.hear_close(1013).await;
    let mut latest = gateway.connect().await;
    deciding.hear_close(1013).await;
    store.expect(EdgeToStore { session: decided, request: SessionRequest::CloseSession }).await;
    let _one_more = gateway.connect().await;
    assert_eq!(timeout(TIMEOUT, upgrading.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
    assert_eq!(counters.unauthenticated_evicted.load(Relaxed), 3);

    // Neither the connection that came last nor the session has noticed anything.
    store.attach(&mut latest).await;
    store.say(&[push(session, 1, b"mail")]).await;
    client.hear_mail(b"mail").await;
    let ping = client.hear_ping().await;
    client.pong(&ping).await;
    store.expect(receipt(session, 1)).await;
}

#[tokio::test]
async fn logins_beyond_the_rate_never_reach_the_store() {
    let (gateway, mut store) = Gateway::start(EdgeConfig { logins_per_minute: 2, ..config() }).await;
    let mut client = gateway.connect().await;
    for _ in 0..2 {
        client.text(authenticate()).await;
        let session = store.hear().await.unwrap().session;
        let reason = AuthenticationRefusal::Login(LoginError::NotProven);
        store.say(&[StoreToEdge { session, answer: SessionAnswer::RefuseAuthentication { reason } }]).await;
        client.hear_text(r#"{"type":"authenticate","status":false}"#).await;
    }
    for mut refused in [client, gateway.connect().await] {
        refused.text(authenticate()).await;
        refused.hear_error("too many logins of this client or from this address, try again later").await;
    }
    assert_eq!(gateway.edge.counters().logins_refused_rate.load(Relaxed), 2);
    gateway.connect_from(ELSEWHERE).await.text(authenticate()).await;
    assert!(
        matches!(store.hear().await, Some(EdgeToStore { request: SessionRequest::CloseSession, .. })),
        "of the first client"
    );
    assert!(matches!(store.hear().await, Some(EdgeToStore { request: SessionRequest::AuthenticateClient { .. }, .. })));
}

#[tokio::test]
async fn registrations_beyond_the_rate_never_reach_the_store() {
    let (gateway, mut store) = Gateway::start(EdgeConfig { registrations_per_minute: 2, ..config() }).await;
    let mut client = gateway.connect().await;
    for _ in 0..2 {
        client.text(INIT).await;
        let session = store.hear().await.unwrap().session;
        store
            .say(&[StoreToEdge {
                session,
                answer: SessionAnswer::RefuseHandshake {
                    reason: RegistrationRefusal::Handshake(HandshakeError::NoIdentity),
                },
            }])
            .await;
        client.hear_error("malformed request").await;
    }
    let why = "too many registrations from this address, try again in a minute";
    for mut refused in [client, gateway.connect().await] {
        refused.text(INIT).await;
        refused.hear_text(&format!(r#"{{"type":"handshakeError","message":"{why}"}}"#)).await;
        refused.hear_error(&format!("failed to perform the handshake - {why}")).await;
    }
    assert_eq!(gateway.edge.counters().registrations_refused_rate.load(Relaxed), 2);
    gateway.connect_from(ELSEWHERE).await.text(INIT).await;
    assert!(
        matches!(store.hear().await, Some(EdgeToStore { request: SessionRequest::CloseSession, .. })),
        "of the first client"
    );
    assert!(matches!(store.hear().await, Some(EdgeToStore { request: SessionRequest::BeginHandshake { .. }, .. })));
}

#[tokio::test]
async fn so_many_refused_frames_in_a_row_end_the_connection() {
    let (gateway, mut store) = Gateway::start(EdgeConfig { malformed_frames: 3, ..config() }).await;
    let mut stranger = gateway.connect().await;
    let (mut client, session) = gateway.attach(&mut store).await;
    for _ in 0..2 {
        stranger.text("?").await;
        stranger.hear_error("malformed request").await;
        for _ in 0..2 {
            client.binary(b"?").await;
            client.hear_error("the request is too short").await;
        }
        client.binary(&super::forwarding::sealed_packet()).await;
        client.hear_text(r#"{"type":"send","status":true}"#).await;
    }
    stranger.binary(b"?").await;
    stranger.hear_error("binary request without prior authentication").await;
    stranger.hear_close(1008).await;
    for _ in 0..2 {
        client.text("?").await;
        client.hear_error("invalid request").await;
    }
    client.text("?").await;
    client.hear_error("invalid request").await;
    client.hear_close(1008).await;
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
    assert_eq!(gateway.edge.counters().malformed_limit_closures.load(Relaxed), 2);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_disconnected() {
    let (gateway, mut store) = Gateway::start_narrow(EdgeConfig { receipt_timeout: SOON, ..config() }).await;
    let mut client = Client::connect_narrow(gateway.address).await;
    let session = store.attach(&mut client).await;
    client.flood("hello").await;
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
    assert_eq!(gateway.edge.counters().unwritten_timeouts.load(Relaxed), 1);
}

const ASK_VERSION: &str = r#"{"type":"supportedProtocol"}"#;
const VERSION: &str = r#"{"type":"supportedProtocol","version":6}"#;
const LATE: &str = r#"{"type":"error","message":"timed out while waiting for initial data"}"#;

/// The time for all questions together is what ends this test.
#[tokio::test]
async fn questions_and_refusals_renew_no_time_before_a_login() {
    let (gateway, _store) = Gateway::start(EdgeConfig { first_request: SOON, ..config() }).await;
    for (asks, opcode, question) in [(true, 1, ASK_VERSION), (false, 1, "?"), (false, 2, "?")] {
        let mut client = gateway.connect().await;
        let late = async {
            loop {
                client.send(opcode, question.as_bytes()).await;
                match client.hear().await {
                    Heard::Text(text) if text == LATE => break,
                    Heard::Text(text) => assert_eq!(text == VERSION, asks, "{text}"),
                    other => panic!("{question}: {other:?}"),
                }
            }
        };
        timeout(TIMEOUT, late).await.expect("each question renews the time");
    }
    assert_eq!(gateway.edge.counters().first_request_timeouts.load(Relaxed), 3);
}

#[tokio::test]
async fn the_time_that_store_takes_is_not_the_clients() {
    let limit = 5 * SOON;
    let (gateway, mut store) = Gateway::start(EdgeConfig { first_request: limit, ..config() }).await;
    let mut client = gateway.connect().await;
    client.text(authenticate()).await;
    let session = store.expect_authentication().await;
    // `store` takes all the time that the client has.
    assert!(timeout(limit, client.hear()).await.is_err());
    let reason = AuthenticationRefusal::Login(LoginError::NotProven);
    store.say(&[StoreToEdge { session, answer: SessionAnswer::RefuseAuthentication { reason } }]).await;
    client.hear_text(r#"{"type":"authenticate","status":false}"#).await;
    store.attach(&mut client).await;
}

#[tokio::test]
async fn asking_for_the_version_again_counts_as_an_error() {
    let (gateway, mut store) = Gateway::start(EdgeConfig { malformed_frames: 2, ..config() }).await;
    let mut client = gateway.connect().await;
    for _ in 0..2 {
        client.text(ASK_VERSION).await;
        client.hear_text(VERSION).await;
    }
    store.attach(&mut client).await;
    let mut client = gateway.connect().await;
    for _ in 0..3 {
        client.text(ASK_VERSION).await;
        client.hear_text(VERSION).await;
    }
    // Clients that ask are of today, and their connections end without a Close.
    client.hear_orderly_end().await;
    assert_eq!(gateway.edge.counters().malformed_limit_closures.load(Relaxed), 1);
}

/// As `gatewayd drain` has it: whoever is connected stays and gets mail.
#[tokio::test]
async fn without_newcomers_the_attached_get_their_mail() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let (mut client, session) = gateway.attach(&mut store).await;
    gateway.newcomers.send_replace(false);
    let mut newcomer = TcpStream::connect(gateway.address).await.unwrap();
    assert_eq!(timeout(TIMEOUT, newcomer.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
    assert_eq!(gateway.edge.counters().newcomers_refused.load(Relaxed), 1);
    store.say(&[push(session, 1, b"mail")]).await;
    client.hear_mail(b"mail").await;

    gateway.newcomers.send_replace(true);
    gateway.attach(&mut store).await;
}
