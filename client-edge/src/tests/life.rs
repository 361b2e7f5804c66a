use std::sync::atomic::Ordering::Relaxed;

use futures_util::{SinkExt, StreamExt};
use ipc::control::EdgeConfig;
use session_ipc::{EdgeToStore, SessionRequest};
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};
use tokio_tungstenite::{client_async, tungstenite::Message};

use super::{
    client::{Heard, TIMEOUT, authenticate},
    gateway::{Gateway, SOON, attach, config, push, receipt},
};

#[tokio::test]
async fn when_store_is_lost_sessions_end_and_others_get_the_next() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let (mut logged_in, _) = gateway.attach(&mut store).await;
    let mut deciding = gateway.connect().await;
    deciding.text(authenticate()).await;
    store.expect_authentication().await;
    let mut fresh = gateway.connect().await;
    drop(store);
    logged_in.hear_close(1012).await;
    deciding.hear_close(1012).await;

    let mut early = gateway.connect().await;
    early.text(authenticate()).await;
    let mut store = gateway.new_store().await;
    let session = store.expect_authentication().await;
    store.say(&[attach(session)]).await;
    early.hear_text(r#"{"type":"authenticate","status":true}"#).await;
    store.attach(&mut fresh).await;
    assert_eq!(gateway.edge.counters().store_link_losses.load(Relaxed), 1);
    assert_eq!(gateway.edge.counters().store_unavailable.load(Relaxed), 0);
}

#[tokio::test]
async fn a_client_does_not_wait_for_ever_for_a_store() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let (mut logged_in, _) = gateway.attach(&mut store).await;
    drop(store);
    logged_in.hear_close(1012).await;
    let mut client = gateway.connect().await;
    client.text(authenticate()).await;
    client.hear_close(1012).await;
    assert_eq!(gateway.edge.counters().store_unavailable.load(Relaxed), 1);
}

#[tokio::test]
async fn a_client_of_a_real_library_is_served_whole() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let socket = TcpStream::connect(gateway.address).await.unwrap();
    let (mut client, _) = client_async("ws://gateway/", socket).await.unwrap();
    client.send(Message::text(authenticate())).await.unwrap();
    let session = store.expect_authentication().await;
    store.say(&[attach(session), push(session, 5, b"mail")]).await;
    let answer = client.next().await.unwrap().unwrap();
    assert_eq!(answer, Message::text(r#"{"type":"authenticate","status":true}"#));
    assert!(client.next().await.unwrap().unwrap().is_binary());
    assert!(client.next().await.unwrap().unwrap().is_ping());
    client.flush().await.unwrap();
    store.expect(receipt(session, 5)).await;
    client.close(None).await.unwrap();
    while let Some(Ok(_)) = client.next().await {}
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
}

#[tokio::test]
async fn a_close_is_answered_with_a_close() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let (mut client, session) = gateway.attach(&mut store).await;
    client.close(1000).await;
    assert_eq!(client.hear().await, Heard::Close(1000));
    assert_eq!(client.hear().await, Heard::End);
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
}

#[tokio::test]
async fn when_told_to_stop_it_waits_for_receipts_and_says_goodbye() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let (mut client, session) = gateway.attach(&mut store).await;
    let mut fresh = gateway.connect().await;
    store.say(&[push(session, 1, b"in flight")]).await;
    client.hear_mail(b"in flight").await;
    let ping = client.hear_ping().await;
    let drain = tokio::spawn(gateway.drain());
    fresh.hear_close(1001).await;
    client.pong(&ping).await;
    client.hear_close(1001).await;
    store.expect(receipt(session, 1)).await;
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
    assert_eq!(store.hear().await, None, "the link ends after its last message");
    timeout(TIMEOUT, drain).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_says_nothing_does_not_keep_it_from_stopping() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let (client, session) = gateway.attach(&mut store).await;
    store.say(&[push(session, 1, b"never proved")]).await;
    let _half_open = TcpStream::connect(gateway.address).await.unwrap();
    timeout(TIMEOUT, gateway.drain()).await.unwrap();
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
    drop(client);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_at_once_and_counted() {
    let (gateway, mut store) = Gateway::start(EdgeConfig { max_connections: 1, ..config() }).await;
    let (client, session) = gateway.attach(&mut store).await;
    let mut refused = TcpStream::connect(gateway.address).await.unwrap();
    assert_eq!(timeout(TIMEOUT, refused.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
    assert_eq!(gateway.edge.counters().connections_refused_limit.load(Relaxed), 1);
    drop(client);
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
}

#[tokio::test]
async fn an_upgrade_that_does_not_come_is_not_waited_for() {
    let (gateway, _store) = Gateway::start(EdgeConfig { websocket_upgrade: SOON, ..config() }).await;
    let mut silent = TcpStream::connect(gateway.address).await.unwrap();
    assert_eq!(timeout(TIMEOUT, silent.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
    assert_eq!(gateway.edge.counters().upgrades_failed.load(Relaxed), 1);
}
