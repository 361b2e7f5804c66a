use client_wire::login::LoginError;
use ipc::control::EdgeConfig;
use session_ipc::{AuthenticationRefusal, EdgeToStore, SessionAnswer, SessionRequest, StoreToEdge};
use tokio::time::timeout;

use super::{
    client::{Heard, authenticate},
    gateway::{Gateway, SOON, attach, config, push},
};

#[tokio::test]
async fn the_answer_comes_before_the_first_mail() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let mut client = gateway.connect().await;
    client.text(authenticate()).await;
    let session = store.expect_authentication().await;
    store.say(&[attach(session), push(session, 0, b"waited")]).await;
    client.hear_text(r#"{"type":"authenticate","status":true}"#).await;
    client.hear_mail(b"waited").await;
}

#[tokio::test]
async fn each_refusal_in_the_words_of_2021_leaves_the_connection_open() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let mut client = gateway.connect().await;
    for (reason, answer) in [
        (AuthenticationRefusal::Login(LoginError::NotProven), r#"{"type":"authenticate","status":false}"#),
        (
            AuthenticationRefusal::AlreadyConnected,
            r#"{"type":"error","message":"Authentication failure - duplicate connection detected"}"#,
        ),
    ] {
        client.text(authenticate()).await;
        let session = store.expect_authentication().await;
        store.say(&[StoreToEdge { session, answer: SessionAnswer::RefuseAuthentication { reason } }]).await;
        client.hear_text(answer).await;
    }
    store.attach(&mut client).await;
}

#[tokio::test]
async fn what_is_no_request_is_refused_without_asking_store() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let mut client = gateway.connect().await;
    let good = authenticate();
    let field = |name: &str, value: &str| {
        let start = good.find(&format!("\"{name}\":\"")).unwrap() + name.len() + 4;
        let end = start + good[start..].find('"').unwrap();
        format!("{}{value}{}", &good[..start], &good[end..])
    };
    for (text, error) in [
        (String::new(), "malformed request"),
        ("foo".into(), "malformed request"),
        ("{}".into(), "malformed request"),
        (good.replace("authenticate", "Authenticate"), "malformed request"),
        (good.replace("enc_address", "encAddress"), "malformed request"),
        (r#"{"type":"handshakePayload","data":[256]}"#.into(), "malformed request"),
        (field("address", "0OIl"), "malformed destination address"),
        (field("enc_address", "abc"), "malformed encrypted address"),
        (field("iv", "abc"), "malformed iv"),
    ] {
        client.text(&text).await;
        client.hear_error(error).await;
    }
    for bytes in [&b""[..], b"x", &[b'x'; 2453]] {
        client.binary(bytes).await;
        client.hear_error("binary request without prior authentication").await;
    }
    // The first thing that store hears of is the request that can be read.
    store.attach(&mut client).await;
}

#[tokio::test]
async fn a_client_that_asks_nothing_in_time_never_reaches_the_store() {
    let (gateway, mut store) = Gateway::start(EdgeConfig { first_request: SOON, ..config() }).await;
    let mut silent = gateway.connect().await;
    // Ten times as long as it may take, if every Pong counted as a request.
    let mut heard = None;
    for _ in 0..40 {
        silent.pong(b"a Pong is no request").await;
        heard = timeout(SOON / 4, silent.hear()).await.ok();
        if heard.is_some() {
            break;
        }
    }
    let late = r#"{"type":"error","message":"timed out while waiting for initial data"}"#;
    assert_eq!(heard, Some(Heard::Text(late.to_owned())));
    silent.hear_close(1008).await;
    let mut refused = gateway.connect().await;
    refused.text("foo").await;
    refused.hear_error("malformed request").await;
    refused.hear_text(late).await;
    refused.hear_close(1008).await;
    assert_eq!(gateway.edge.counters().first_request_timeouts.load(std::sync::atomic::Ordering::Relaxed), 2);

    let mut client = gateway.connect().await;
    store.attach(&mut client).await;
    drop(client);
    assert!(matches!(store.hear().await, Some(EdgeToStore { request: SessionRequest::CloseSession, .. })));
}
