use bytes::Bytes;
use proto::wire::{
    client::{frame, request::ForwardRequest},
    packet::{PacketSize, PacketType},
};

use super::{
    client::{Client, Heard, key},
    gateway::{Gateway, config},
};

fn request() -> ForwardRequest {
    ForwardRequest {
        packet_type: PacketType::Mix,
        next_hop: "[2001:db8::7]:1789".parse().unwrap(),
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
async fn each_error_has_the_words_of_2021_and_leaves_the_connection_open() {
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
async fn answers_that_nobody_reads_stop_the_reading_and_nothing_is_lost() {
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
