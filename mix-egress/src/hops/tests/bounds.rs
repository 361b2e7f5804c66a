//! Packets that wait for next hops are bounded, a stalled hop harms no other, and every packet is accounted for.

use super::*;

/// They come at once, before the task of the node has had a turn: more than today's clients have in flight, with the default budget
/// of bytes.
#[tokio::test]
async fn a_node_that_reads_loses_none_of_two_thousand_packets() {
    const PACKETS: u32 = 2_000;
    let node = Node::new().await;
    let (mut hops, counters) = hops(EgressConfig { queue_packets: PACKETS, queued_bytes: 64 << 20, ..config() });
    hops.hand_over(Origin::Acks, node.address, frame(0));
    let mut stream = node.accept().await;
    assert_eq!(read_packet(&mut stream).await, 0);
    until(|| value(&counters.packets_sent) == 1).await;
    for first in [1, 1 + PACKETS, 1 + 2 * PACKETS] {
        for number in first..first + PACKETS {
            hops.hand_over(Origin::Acks, node.address, frame(number));
        }
        for number in first..first + PACKETS {
            assert_eq!(read_packet(&mut stream).await, number);
        }
    }
    assert_eq!(accounted(&counters), 1 + 3 * u64::from(PACKETS));
}

#[tokio::test]
async fn a_full_queue_drops_the_newest() {
    let node = Node::new().await;
    let (mut hops, counters) = hops(EgressConfig { queue_packets: 4, ..config() });
    // The task does not run before the first await.
    for number in 0..7 {
        hops.hand_over(Origin::Clients, node.address, frame(number));
    }
    assert_eq!(value(&counters.next_hop_queue_full), 3);
    let mut stream = node.accept().await;
    for number in 0..4 {
        assert_eq!(read_packet(&mut stream).await, number);
    }
    hops.hand_over(Origin::Clients, node.address, frame(7));
    assert_eq!(read_packet(&mut stream).await, 7);
}

#[tokio::test]
async fn a_node_that_is_down_holds_its_queue_and_one_packet_more() {
    let (_socket, address) = deaf_socket();
    let (mut hops, counters) = hops(EgressConfig { initial_backoff: HOUR, maximum_backoff: HOUR, ..config() });
    hops.hand_over(Origin::Clients, address, frame(0));
    until(|| value(&counters.connects_failed) == 1).await;
    for number in 1..=131 {
        hops.hand_over(Origin::Clients, address, frame(number));
        tokio::task::yield_now().await;
    }
    assert_eq!(value(&counters.next_hop_queue_full), 3);
    assert_eq!(accounted(&counters), 3);
}

#[tokio::test]
async fn a_stalled_node_harms_no_other_and_is_given_up() {
    let (stalled, healthy) = (Node::new().await, Node::new().await);
    let timeouts = Timeouts { write: Duration::from_secs(3), ..Timeouts::default() };
    let config = EgressConfig { initial_backoff: HOUR, maximum_backoff: HOUR, ..config() };
    let (mut hops, counters) = hops_with(config, timeouts);
    let mut handed_over = 1;
    hops.hand_over(Origin::Clients, stalled.address, sized_frame(0, 33_133));
    let mut never_read = stalled.accept().await;
    until(|| {
        hops.hand_over(Origin::Clients, stalled.address, sized_frame(0, 33_133));
        handed_over += 1;
        value(&counters.next_hop_queue_full) > 0
    })
    .await;

    hops.hand_over(Origin::Clients, healthy.address, frame(0));
    let mut stream = healthy.accept().await;
    assert_eq!(read_packet(&mut stream).await, 0);
    for number in 1..100 {
        hops.hand_over(Origin::Clients, healthy.address, frame(number));
        assert_eq!(read_packet(&mut stream).await, number);
    }
    handed_over += 100;
    assert_eq!(
        value(&counters.next_hop_stalled),
        0,
        "the other node was served only after the stalled one was given up"
    );

    until(|| value(&counters.next_hop_stalled) > 0).await;
    assert_eq!(accounted(&counters), handed_over);
    hops.hand_over(Origin::Clients, healthy.address, frame(100));
    assert_eq!(read_packet(&mut stream).await, 100);
    let ended = soon(never_read.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_err(), "the kernel went on holding packets for the stalled node");
}

/// The `n`th of many addresses at which nobody listens, each in a network of its own.
fn nobody(n: u16) -> SocketAddr {
    let [high, low] = n.to_be_bytes();
    SocketAddr::from(([127, 128 + high, low, 1], 9))
}

#[tokio::test]
async fn first_connects_displace_no_proven_hop() {
    let (proven, newcomer) = (Node::new().await, Node::new().await);
    let (mut hops, counters) = hops(EgressConfig {
        max_next_hops: 1,
        queue_packets: 1_000,
        initial_backoff: HOUR,
        maximum_backoff: HOUR,
        ..config()
    });
    hops.hand_over(Origin::Acks, proven.address, frame(0));
    let mut stream = proven.accept().await;
    assert_eq!(read_packet(&mut stream).await, 0);
    until(|| value(&counters.packets_sent) == 1).await;
    for n in 0..1_000 {
        hops.hand_over(Origin::Clients, nobody(n), frame(0));
        hops.hand_over(Origin::Acks, proven.address, frame(1 + u32::from(n)));
    }
    for number in 1..=1_000 {
        assert_eq!(read_packet(&mut stream).await, number);
    }
    let displaced = || value(&counters.too_many_next_hops) + value(&counters.next_hop_unreachable);
    until(|| displaced() == 1_000 - FEWEST_FIRST_CONNECTS as u64).await;

    // The flood does not take the places for first connects of acks either.
    hops.hand_over(Origin::Acks, newcomer.address, frame(0));
    for n in 1_000..2_000 {
        hops.hand_over(Origin::Clients, nobody(n), frame(0));
    }
    assert_eq!(read_packet(&mut newcomer.accept().await).await, 0);
}

#[tokio::test]
async fn with_too_many_proven_hops_the_last_proven_gives_way() {
    let nodes = [Node::new().await, Node::new().await, Node::new().await];
    let (mut hops, counters) = hops(EgressConfig { max_next_hops: 2, ..config() });
    let mut streams = Vec::new();
    for (sent, node) in (1..).zip(&nodes) {
        hops.hand_over(Origin::Clients, node.address, frame(0));
        let mut stream = node.accept().await;
        assert_eq!(read_packet(&mut stream).await, 0);
        streams.push(stream);
        until(|| value(&counters.packets_sent) == sent).await;
        until(|| {
            hops.hear_news();
            !matches!(hops.hops.get(&node.address), Some(Entry { place: HopPlace::First(_), .. }))
        })
        .await;
    }
    assert!(has_ended(&mut streams[2]).await);
    for (node, stream) in nodes.iter().zip(&mut streams).take(2) {
        hops.hand_over(Origin::Clients, node.address, frame(1));
        assert_eq!(read_packet(stream).await, 1);
    }
    assert_eq!(accounted(&counters), 5);
}

#[tokio::test]
async fn a_hop_that_went_down_gives_its_place_to_one_that_works() {
    let (down, works) = (Node::new().await, Node::new().await);
    let (mut hops, counters) = hops(EgressConfig { max_next_hops: 1, ..config() });
    hops.hand_over(Origin::Clients, down.address, frame(0));
    let mut stream = down.accept().await;
    assert_eq!(read_packet(&mut stream).await, 0);
    until(|| value(&counters.packets_sent) == 1).await;
    hops.hear_news();
    let address = down.address;
    drop((down, stream));
    // Hands over packets until the task has noticed, holds a packet, and has failed to connect often enough.
    until(|| {
        hops.hand_over(Origin::Clients, address, frame(1));
        value(&counters.connects_failed) > 5
    })
    .await;
    hops.hand_over(Origin::Clients, works.address, frame(0));
    let mut stream = works.accept().await;
    for number in 0..10 {
        assert_eq!(read_packet(&mut stream).await, number);
        hops.hand_over(Origin::Clients, works.address, frame(number + 1));
    }
    assert!(matches!(hops.hops.get(&works.address), Some(Entry { place: HopPlace::Proven(_), .. })));
}

#[tokio::test]
async fn hops_that_hoard_bytes_leave_some_for_others() {
    let (hoarder, other) = (Node::new().await, Node::new().await);
    let (_socket, nobody) = deaf_socket();
    let (mut hops, counters) = hops(EgressConfig {
        queue_packets: 10_000,
        max_next_hops: 16,
        queued_bytes: 128 << 10,
        initial_backoff: HOUR,
        maximum_backoff: HOUR,
        ..config()
    });
    // First connects of clients have 16 KiB. A hop may hold its part, which is 512 bytes or one frame, and an eighth of 8 KiB, which is
    // two frames.
    for number in 0..5 {
        hops.hand_over(Origin::Clients, nobody, frame(number));
    }
    assert_eq!(value(&counters.queued_bytes_full), 2);
    hops.hand_over(Origin::Clients, hoarder.address, frame(0));
    let mut never_read = hoarder.accept().await;
    assert_eq!(read_packet(&mut never_read).await, 0);
    let mut handed_over = 6;
    until(|| {
        for _ in 0..10 {
            hops.hand_over(Origin::Clients, hoarder.address, frame(0));
            handed_over += 1;
        }
        value(&counters.queued_bytes_full) > 100
    })
    .await;
    hops.hand_over(Origin::Clients, other.address, frame(0));
    let mut stream = other.accept().await;
    for number in 0..100 {
        assert_eq!(read_packet(&mut stream).await, number);
        hops.hand_over(Origin::Clients, other.address, frame(number + 1));
    }
    assert_eq!(read_packet(&mut stream).await, 100);
    hops.drain(Instant::now()).await;
    assert_eq!(accounted(&counters), handed_over + 101);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_packet_is_accounted_for() {
    let (_socket, unreachable) = deaf_socket();
    let mut nodes = JoinSet::new();
    let mut addresses = vec![unreachable];
    // Each node reads so many packets before it hangs up; the last one reads for ever.
    for packets in [0, 1, 7, 100, usize::MAX] {
        let node = Node::new().await;
        addresses.push(node.address);
        nodes.spawn(async move {
            loop {
                let (mut stream, _) = node.listener.accept().await.unwrap();
                for _ in 0..packets {
                    if stream.read_exact(&mut [0; 389]).await.is_err() {
                        break;
                    }
                }
            }
        });
    }
    let timeouts = Timeouts { idle: Duration::from_millis(1), ..Timeouts::default() };
    let config = EgressConfig {
        max_next_hops: 4,
        queue_packets: 16,
        queued_bytes: 8 * 40 * 389,
        initial_backoff: Duration::from_millis(1),
        ..config()
    };
    let (mut hops, counters) = hops_with(config, timeouts);
    let mut handed_over = 0;
    for round in 0..5_000 {
        for &address in addresses.iter().cycle().skip(round % 7).take(round % 11) {
            hops.hand_over(Origin::Clients, address, frame(0));
            handed_over += 1;
        }
        tokio::task::yield_now().await;
    }
    soon(hops.drain(Instant::now() + Duration::from_millis(200))).await;
    assert_eq!(accounted(&counters), handed_over, "{:?}", counters.snapshot());
    assert!(value(&counters.packets_sent) > 0);
}
