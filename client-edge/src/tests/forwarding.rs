use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use client_wire::{frame, request::ForwardRequest};
use ipc::control::EdgeConfig;
use wire::packet::{PacketSize, PacketType};

use super::{
    client::{Client, Heard, key},
    gateway::{Gateway, config},
};

fn request() -> ForwardRequest {
    request_to("[2001:db8::7]:1789")
}

fn request_to(next_hop: &str) -> ForwardRequest {
    ForwardRequest {
        packet_type: PacketType::Mix,
        next_hop: next_hop.parse().unwrap(),
        size: PacketSize::Regular,
        packet: Bytes::from_static(&[0x55; 2413]),
    }
}

pub(super) fn sealed_packet() -> Bytes {
    frame::seal(&key(), &request().encode())
}

#[tokio::test]
async fn a_packet_goes_to_egress_and_is_answered() {
    let (mut gateway, mut store) = Gateway::start(config()).await;
    let (mut client, _) = gateway.attach(&mut store).await;
    client.binary(&sealed_packet()).await;
    client.hear_text(r#"{"type":"send","status":true}"#).await;
    let packets = gateway.forwarded().await;
    assert_eq!(packets.len(), 1);
    assert_eq!(packets[0].next_hop, request().next_hop);
    assert_eq!(packets[0].header.encode()[..], [1, 0]);
    assert_eq!(packets[0].packet.0, request().packet);
}

#[tokio::test]
async fn packets_for_too_many_new_next_hops_are_dropped() {
    let (mut gateway, mut store) = Gateway::start(EdgeConfig { new_next_hops_per_minute: 2, ..config() }).await;
    let (mut client, _) = gateway.attach(&mut store).await;
    let hops = ["192.0.2.1:1789", "192.0.2.2:1789", "192.0.2.3:1789", "192.0.2.1:1789", "192.0.2.4:1789"];
    for next_hop in hops {
        client.binary(&frame::seal(&key(), &request_to(next_hop).encode())).await;
        client.hear_text(r#"{"type":"send","status":true}"#).await;
    }
    let mut packets = Vec::new();
    while packets.len() < 3 {
        packets.extend(gateway.forwarded().await);
    }
    let forwarded: Vec<_> = packets.iter().map(|packet| packet.next_hop.to_string()).collect();
    assert_eq!(forwarded, [hops[0], hops[1], hops[3]]);
    assert_eq!(gateway.edge.counters().new_next_hops_refused.load(Relaxed), 2);
}

#[tokio::test]
async fn each_error_in_the_words_of_2021_leaves_the_connection_open() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let (mut client, _) = gateway.attach(&mut store).await;
    let malformed = |what: &str| format!("provided mix packet was malformed - {what}");
    let size = |actual: usize| {
        malformed(&format!(
            "received request had invalid size. (actual: {actual}, but expected one of: 386 (ACK), 2413 (REGULAR), \
             33133 (EXTENDED))"
        ))
    };
    let mut foreign = sealed_packet().to_vec();
    foreign[40] ^= 1;
    let seal = |plaintext: &[u8]| frame::seal(&key(), plaintext).to_vec();
    for (bytes, error) in [
        (Vec::new(), "the request is too short".into()),
        (vec![1; 31], "the request is too short".into()),
        (foreign, "provided MAC is invalid".into()),
        (seal(&[]), malformed("provided packet mode is invalid")),
        (seal(&[2, 4, 1, 2]), malformed("provided packet mode is invalid")),
        (seal(&[0, 4, 1]), malformed("address field was incorrectly encoded")),
        (seal(&[1, 5, 0, 0, 0, 0, 0, 0, 0]), malformed("address field was incorrectly encoded")),
        (seal(&[0, 4, 6, 0xfd, 127, 0, 0, 1]), size(0)),
        (seal(&[&[0, 4, 6, 0xfd, 127, 0, 0, 1][..], &[9; 385]].concat()), size(385)),
    ] {
        client.binary(&bytes).await;
        client.hear_error(&error).await;
    }
    for text in ["hello", "", &super::client::authenticate()] {
        client.text(text).await;
        client.hear_error("invalid request").await;
    }
    client.binary(&sealed_packet()).await;
    client.hear_text(r#"{"type":"send","status":true}"#).await;
}

#[tokio::test]
async fn unread_answers_stop_the_reading_and_nothing_is_lost() {
    let (gateway, mut store) = Gateway::start_narrow(config()).await;
    let mut client = Client::connect_narrow(gateway.address).await;
    store.attach(&mut client).await;
    // Ends when the gateway stops reading and the buffers of both sockets are full.
    let asked = client.flood("hello").await;
    for _ in 0..asked {
        client.hear_error("invalid request").await;
    }
}

#[tokio::test]
async fn a_ping_is_answered_in_every_phase() {
    let (gateway, mut store) = Gateway::start(config()).await;
    let mut client = gateway.connect().await;
    client.send(9, b"pingdata").await;
    assert_eq!(client.hear().await, Heard::Pong(b"pingdata".to_vec()));
    store.attach(&mut client).await;
    client.send(9, b"again").await;
    assert_eq!(client.hear().await, Heard::Pong(b"again".to_vec()));
}
