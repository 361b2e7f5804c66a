use std::sync::atomic::Ordering::Relaxed;

use ipc::control::EdgeConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::yield_now,
    time::timeout,
};

use super::{
    client::TIMEOUT,
    gateway::{Gateway, config},
};

/// How a proxy names its client: the bytes before the request, and a line among its headers.
type Naming = fn(last: u8) -> (Vec<u8>, String);

const NAMINGS: [Naming; 4] = [
    |last| (format!("PROXY TCP4 192.0.2.{last} 127.0.0.1 4711 9000\r\n").into_bytes(), String::new()),
    |last| {
        let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c";
        ([&header[..], &[192, 0, 2, last, 127, 0, 0, 1, 1, 1, 2, 2]].concat(), String::new())
    },
    |last| (Vec::new(), format!("Forwarded: for=203.0.113.9, for=\"192.0.2.{last}:4711\";proto=https\r\n")),
    |last| (Vec::new(), format!("X-Forwarded-For: 203.0.113.9, 192.0.2.{last}\r\n")),
];

async fn enter(gateway: &Gateway, naming: Naming, last: u8) -> (TcpStream, String) {
    let (before, header) = naming(last);
    let request = format!(
        "GET / HTTP/1.1\r\nHost: x\r\n{header}Upgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    socket.write_all(&[before, request.into_bytes()].concat()).await.unwrap();
    let mut answer = vec![0; 12];
    timeout(TIMEOUT, socket.read_exact(&mut answer)).await.unwrap().unwrap();
    (socket, String::from_utf8(answer).unwrap())
}

fn one_for_each_client(trusted: &[&str]) -> EdgeConfig {
    let trusted_proxies = trusted.iter().map(|proxy| proxy.parse().unwrap()).collect();
    EdgeConfig { max_connections_per_prefix: 1, trusted_proxies, ..config() }
}

#[tokio::test]
async fn clients_of_a_trusted_proxy_are_told_apart() {
    for naming in NAMINGS {
        let (gateway, _store) = Gateway::start(one_for_each_client(&["127.0.0.0/8"])).await;
        let mut held = Vec::new();
        for last in [1, 2, 3] {
            let (socket, answer) = enter(&gateway, naming, last).await;
            assert_eq!(answer, "HTTP/1.1 101");
            held.push(socket);
        }
        let counters = gateway.edge.counters();
        assert_eq!(counters.connections_evicted.load(Relaxed), 0);
        // The fourth connection is the second from its address.
        let _fourth = enter(&gateway, naming, 1).await;
        assert_eq!(counters.connections_evicted.load(Relaxed), 1);
    }
}

#[tokio::test]
async fn only_a_trusted_proxy_names_another_client() {
    for (number, naming) in NAMINGS.into_iter().enumerate() {
        let (gateway, _store) = Gateway::start(one_for_each_client(&["198.51.100.7"])).await;
        let (_first, answer) = enter(&gateway, naming, 1).await;
        assert_eq!(answer, if number < 2 { "HTTP/1.1 400" } else { "HTTP/1.1 101" });
        if number >= 2 {
            let (_second, _) = enter(&gateway, naming, 2).await;
            assert_eq!(gateway.edge.counters().connections_evicted.load(Relaxed), 1);
        }
    }
}

/// A proxy that names no client has the share of one client once its request has come.
#[tokio::test]
async fn a_trusted_proxy_that_names_nobody_counts_for_itself() {
    let (gateway, _store) = Gateway::start(one_for_each_client(&["127.0.0.1"])).await;
    let nobody: Naming = |_| (Vec::new(), String::new());
    let (_first, _) = enter(&gateway, nobody, 1).await;
    let (_second, _) = enter(&gateway, nobody, 1).await;
    assert_eq!(gateway.edge.counters().connections_evicted.load(Relaxed), 1);
}

#[tokio::test]
async fn a_broken_proxy_header_ends_the_connection() {
    let (gateway, _store) = Gateway::start(one_for_each_client(&["127.0.0.1"])).await;
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    socket.write_all(b"PROXY TCP4 nobody 127.0.0.1 1 2\r\n").await.unwrap();
    assert_eq!(timeout(TIMEOUT, socket.read(&mut [0; 1])).await.unwrap().unwrap(), 0);
    while gateway.edge.counters().upgrades_failed.load(Relaxed) == 0 {
        yield_now().await;
    }
}
