//! Connections: order, garbage, half frames, limits.

use std::{net::Ipv4Addr, time::Duration};

use ipc::control::IngressConfig;
use tokio::io::AsyncWriteExt;
use wire::{framing::Framing, packet::PacketSize};

use crate::{
    packets::{Sample, made},
    peers::Store,
    rig::{CONFIG, MixNode, Rig, reaches, value},
};

#[tokio::test]
async fn packets_of_one_connection_are_delivered_in_order() {
    let (rig, mut store, _egress) = Rig::start(CONFIG).await;
    let mut node = rig.connect().await;
    // Large packets take much longer to unwrap.
    let sizes = [PacketSize::Extended32, PacketSize::Ack, PacketSize::Regular, PacketSize::Ack, PacketSize::Ack];
    let samples: Vec<Sample> = (0..500).zip(sizes.into_iter().cycle()).map(|(n, size)| made(n, size)).collect();
    let stream: Vec<u8> = samples.iter().flat_map(|sample| sample.frame(Framing::V7)).collect();
    let sending = tokio::spawn(async move {
        node.write(&stream).await;
        node
    });
    for sample in &samples {
        store.next().await.assert_is(sample);
    }
    sending.await.unwrap();
}

#[tokio::test]
async fn garbage_closes_its_own_connection_and_no_other() {
    let (rig, mut store, _egress) = Rig::start(CONFIG).await;
    let (mut bad, mut good) = (rig.connect().await, rig.connect().await);
    good.send(&made(0, PacketSize::Regular)).await;
    store.next().await;
    let before = made(1, PacketSize::Regular);
    bad.write(&[before.frame(Framing::V7), vec![9], made(2, PacketSize::Regular).frame(Framing::V7)].concat()).await;
    store.next().await.assert_is(&before);
    bad.closed().await;
    let after = made(3, PacketSize::Regular);
    good.send(&after).await;
    store.next().await.assert_is(&after);
    assert_eq!(value(&rig.counters.bad_frames), 1);
}

#[tokio::test]
async fn a_half_frame_times_out_and_idle_connections_stay() {
    let config = IngressConfig { half_frame: Duration::from_millis(200), ..CONFIG };
    let (rig, mut store, _egress) = Rig::start(config).await;
    let (mut half, mut idle) = (rig.connect().await, rig.connect().await);
    let [first, second, third] = [0, 1, 2].map(|number| made(number, PacketSize::Regular));
    idle.send(&first).await;
    store.next().await.assert_is(&first);
    half.write(&[second.frame(Framing::V7), vec![7]].concat()).await;
    store.next().await.assert_is(&second);
    half.closed().await;
    idle.send(&third).await;
    store.next().await.assert_is(&third);
    assert_eq!(value(&rig.counters.half_frame_timeouts), 1);
}

#[tokio::test]
async fn the_largest_half_message_for_longest_gives_way_to_others() {
    let config = IngressConfig { half_frame_bytes: 31_000, ..CONFIG };
    let (rig, mut store, _egress) = Rig::start(config).await;
    let mut old = rig.connect().await;
    old.write(&made(1, PacketSize::Extended32).frame(Framing::V7)[..30_000]).await;
    let sample = made(0, PacketSize::Regular);
    let frame = sample.frame(Framing::V7);
    let (start, rest) = frame.split_at(600);
    let (mut second, mut third) = (rig.connect().await, rig.connect().await);
    second.write(start).await;
    third.write(start).await;
    old.closed().await;
    assert_eq!(value(&rig.counters.half_frames_for_others), 1);
    second.write(rest).await;
    store.next().await.assert_is(&sample);
}

#[tokio::test]
async fn frames_may_come_in_pieces_and_end_with_the_connection() {
    let (rig, mut store, _egress) = Rig::start(CONFIG).await;
    let mut node = rig.connect().await;
    let first = made(0, PacketSize::Regular);
    for piece in first.frame(Framing::V7).chunks(100) {
        node.write(piece).await;
    }
    store.next().await.assert_is(&first);
    let last = made(1, PacketSize::Regular);
    node.write(&[last.frame(Framing::V7), vec![7, 1]].concat()).await;
    drop(node);
    store.next().await.assert_is(&last);
}

/// Sends one packet and waits until it is delivered, by which the connection proves itself.
async fn prove(node: &mut MixNode, store: &mut Store, number: u32) {
    let sample = made(number, PacketSize::Regular);
    node.send(&sample).await;
    store.next().await.assert_is(&sample);
}

#[tokio::test]
async fn a_connection_too_many_is_closed_at_once() {
    let (rig, mut store, _egress) = Rig::start(IngressConfig { max_connections: 2, ..CONFIG }).await;
    let mut nodes = [rig.connect().await, rig.connect().await];
    for (number, node) in (0..).zip(&mut nodes) {
        prove(node, &mut store, number).await;
    }
    let mut third = rig.connect().await;
    third.closed().await;
    assert_eq!(value(&rig.counters.connections_refused_limit), 1);
    for (number, node) in (10..).zip(&mut nodes) {
        prove(node, &mut store, number).await;
    }
    // A place that becomes free goes to a newcomer. Garbage ends the connection, so the moment is known.
    let [mut first, _second] = nodes;
    first.write(&[0]).await;
    first.closed().await;
    prove(&mut rig.connect().await, &mut store, 20).await;
}

#[tokio::test]
async fn silent_connections_give_way_to_a_node_elsewhere() {
    let (rig, mut store, _egress) = Rig::start(IngressConfig { max_connections: 16, ..CONFIG }).await;
    let mut node = rig.connect_from(Ipv4Addr::new(127, 0, 1, 1)).await;
    prove(&mut node, &mut store, 0).await;
    let mut crowd = Vec::new();
    for number in 0..15 {
        crowd.push(rig.connect_from(Ipv4Addr::new(127, 0, 2, 1 + number % 5)).await);
    }
    reaches(&rig.counters.connections_accepted, 16).await;
    let mut newcomer = rig.connect_from(Ipv4Addr::new(127, 0, 3, 1)).await;
    prove(&mut newcomer, &mut store, 1).await;
    crowd[0].closed().await;
    prove(&mut node, &mut store, 2).await;
    assert_eq!(value(&rig.counters.connections_evicted), 1);
}

#[tokio::test]
async fn one_address_takes_its_share_of_the_connections_and_no_more() {
    let (rig, mut store, _egress) = Rig::start(IngressConfig { max_connections_per_prefix: 2, ..CONFIG }).await;
    let mut crowd = [rig.connect().await, rig.connect().await];
    prove(&mut crowd[0], &mut store, 0).await;
    let mut third = rig.connect().await;
    crowd[1].closed().await;
    prove(&mut third, &mut store, 1).await;
    rig.connect().await.closed().await;
    assert_eq!(value(&rig.counters.connections_evicted), 1);
    assert_eq!(value(&rig.counters.connections_refused_prefix), 1);
    prove(&mut rig.connect_from(Ipv4Addr::new(127, 0, 0, 2)).await, &mut store, 2).await;
}

/// There are always more bytes to read, and the limit must be noticed all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_garbage_is_cut_off_at_the_limit() {
    const LIMIT: u32 = 200;
    // The packets that are read and not judged when the limit is reached: two batches for each of two threads, the batch that reaches
    // the limit, and one more that waits.
    const BEGUN: u64 = 6 * 32;
    let (rig, mut store, _egress) = Rig::start(IngressConfig { malformed_packets: LIMIT, ..CONFIG }).await;
    let garbage: Vec<u8> = (0..64)
        .flat_map(|number| {
            let mut frame = made(number, PacketSize::Ack).frame(Framing::V7);
            frame[100] ^= 1;
            frame
        })
        .collect();
    let mut flood = rig.connect_from(Ipv4Addr::new(127, 0, 1, 1)).await;
    let flooding = tokio::spawn(async move {
        let mut sent = 0_u64;
        while sent < 1_000_000 && flood.0.write_all(&garbage).await.is_ok() {
            sent += 64;
        }
        sent
    });
    let sent = flooding.await.unwrap();
    assert!(sent < 1_000_000, "the flood was never cut off");
    reaches(&rig.counters.malformed_limit_closures, 1).await;
    let received = value(&rig.counters.packets_received);
    assert!((u64::from(LIMIT)..=u64::from(LIMIT) + BEGUN).contains(&received), "{received} packets were read");
    prove(&mut rig.connect().await, &mut store, 1_000).await;
}

#[tokio::test]
async fn a_connection_with_malformed_packets_alone_is_closed() {
    let (rig, mut store, _egress) = Rig::start(IngressConfig { malformed_packets: 4, ..CONFIG }).await;
    let mut node = rig.connect().await;
    let malformed = |number| {
        let mut frame = made(number, PacketSize::Regular).frame(Framing::V7);
        frame[100] ^= 1;
        frame
    };
    let mut dropped = 0;
    for number in [0, 1, 2, 10, 3, 4, 5] {
        // One at a time, because packets that come together are judged together.
        if number == 10 {
            let good = made(number, PacketSize::Regular);
            node.send(&good).await;
            store.next().await.assert_is(&good);
        } else {
            node.write(&malformed(number)).await;
            dropped += 1;
            reaches(&rig.counters.unwrap_bad_mac, dropped).await;
        }
    }
    node.write(&malformed(6)).await;
    node.closed().await;
    assert_eq!(value(&rig.counters.malformed_limit_closures), 1);
    let after = made(11, PacketSize::Regular);
    rig.connect().await.send(&after).await;
    store.next().await.assert_is(&after);
}
