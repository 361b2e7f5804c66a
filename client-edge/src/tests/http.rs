use std::{net::SocketAddr, sync::atomic::Ordering::Relaxed};

use ipc::control::EdgeConfig;
use session_ipc::{EdgeToStore, SessionRequest};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    client::{Heard, TIMEOUT},
    gateway::{Gateway, SOON, config, push, receipt},
};

/// All that the gateway answers to these bytes before it closes the connection.
async fn answer(gateway: SocketAddr, request: &[u8]) -> String {
    let mut socket = TcpStream::connect(gateway).await.unwrap();
    socket.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    timeout(TIMEOUT, socket.read_to_end(&mut answer)).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn http_without_a_websocket_gets_an_http_answer() {
    let (gateway, _store) = Gateway::start(config()).await;
    let long = format!("GET / HTTP/1.1\r\nCookie: {}", "x".repeat(20_000));
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 OK\r\n"),
        ("HEAD /health HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\n"),
        ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 426 Upgrade Required\r\n"),
        ("\x16\x03\x01 no HTTP at all", "HTTP/1.1 400 Bad Request\r\n"),
        ("POST / HTTP/1.1\r\nContent-Length: 9000\r\n\r\nbody", "HTTP/1.1 400 Bad Request\r\n"),
        (&long, "HTTP/1.1 431 Request Header Fields Too Large\r\n"),
    ] {
        let answer = answer(gateway.address, request.as_bytes()).await;
        assert!(answer.starts_with(status), "{request:.40} {answer}");
        assert!(!status.contains("426") || answer.contains("\r\nUpgrade: websocket\r\n"), "{answer}");
    }
    let counters = gateway.edge.counters();
    while counters.pages_served.load(Relaxed) < 2 || counters.upgrades_failed.load(Relaxed) < 4 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_request_that_does_not_end_in_time_gets_408() {
    let (gateway, _store) = Gateway::start(EdgeConfig { websocket_upgrade: SOON, ..config() }).await;
    for begun in ["G", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        let answer = answer(gateway.address, begun.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{begun:?} {answer}");
    }
    // A peer that sends nothing gets no answer.
    assert_eq!(answer(gateway.address, b"").await, "");
    let counters = gateway.edge.counters();
    while counters.upgrades_failed.load(Relaxed) < 3 {
        tokio::task::yield_now().await;
    }
}

/// A client need not wait for the answer to its upgrade before it sends frames.
#[tokio::test]
async fn a_frame_that_comes_with_the_request_is_read() {
    let (gateway, _store) = Gateway::start(config()).await;
    let request = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let close = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
    let answer = {
        let mut socket = TcpStream::connect(gateway.address).await.unwrap();
        socket.write_all(&[request.as_bytes(), &close].concat()).await.unwrap();
        let mut answer = Vec::new();
        timeout(TIMEOUT, socket.read_to_end(&mut answer)).await.unwrap().unwrap();
        answer
    };
    assert!(answer.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
    assert!(answer.ends_with(b"\r\n\r\n\x88\x02\x03\xe8"), "{answer:?}");
}

#[tokio::test]
async fn an_idle_client_gets_pings_and_stays_if_it_answers() {
    let (gateway, mut store) = Gateway::start(EdgeConfig { keepalive: SOON, ..config() }).await;
    let (mut client, session) = gateway.attach(&mut store).await;
    for _ in 0..6 {
        assert_eq!(client.hear_ping().await, b"");
        client.pong(b"").await;
    }
    for _ in 0..4 {
        assert_eq!(client.hear_ping().await, b"");
    }
    client.hear_close(1008).await;
    store.expect(EdgeToStore { session, request: SessionRequest::CloseSession }).await;
    let counters = gateway.edge.counters();
    assert_eq!((counters.keepalives_unanswered.load(Relaxed), counters.frame_floods.load(Relaxed)), (1, 0));
}

#[tokio::test]
async fn the_pong_of_a_keepalive_proves_no_receipt() {
    let (gateway, mut store) = Gateway::start(EdgeConfig { keepalive: SOON, ..config() }).await;
    let (mut client, session) = gateway.attach(&mut store).await;
    store.say(&[push(session, 3, b"mail")]).await;
    client.hear_mail(b"mail").await;
    let barrier = client.hear_ping().await;
    assert_eq!((barrier.len(), client.hear_ping().await), (8, Vec::new()));
    client.pong(b"").await;
    client.text("hello").await;
    loop {
        match client.hear().await {
            Heard::Ping(payload) => assert!(payload.is_empty()),
            other => break assert!(matches!(other, Heard::Text(_)), "{other:?}"),
        }
    }
    assert_eq!(gateway.edge.counters().receipts.load(Relaxed), 0);
    client.pong(&barrier).await;
    store.expect(receipt(session, 3)).await;
}
