//! What waits for next hops is bounded, one in trouble harms no other, and every packet is accounted for.

use super::*;

#[tokio::test]
async fn a_full_queue_drops_the_newest() {
    let node = Node::new().await;
    let (mut hops, counters) = hops(EgressConfig { queue_packets: 4, ..config() });
    // The task does not run before the first await.
    for number in 0..7 {
        hops.hand_over(node.address, frame(number));
    }
    assert_eq!(value(&counters.next_hop_queue_full), 3);
    let mut stream = node.accept().await;
    for number in 0..4 {
        assert_eq!(read_packet(&mut stream).await, number);
    }
    hops.hand_over(node.address, frame(7));
    assert_eq!(read_packet(&mut stream).await, 7);
}

#[tokio::test]
async fn a_node_that_is_down_holds_no_more_than_the_queue_and_the_packet_that_asked_for_it() {
    let (_socket, address) = deaf_socket();
    let (mut hops, counters) = hops(EgressConfig { initial_backoff: HOUR, maximum_backoff: HOUR, ..config() });
    hops.hand_over(address, frame(0));
    until(|| value(&counters.connects_failed) == 1).await;
    for number in 1..=131 {
        hops.hand_over(address, frame(number));
        tokio::task::yield_now().await;
    }
    assert_eq!(value(&counters.next_hop_queue_full), 3);
    assert_eq!(accounted(&counters), 3);
}

#[tokio::test]
async fn a_stalled_node_harms_no_other_and_is_given_up() {
    let (stalled, healthy) = (Node::new().await, Node::new().await);
    let (mut hops, counters) = hops(EgressConfig {
        write_timeout: Duration::from_secs(3),
        initial_backoff: HOUR,
        maximum_backoff: HOUR,
        ..config()
    });
    let mut handed_over = 1;
    hops.hand_over(stalled.address, sized_frame(0, 33_133));
    let mut never_read = stalled.accept().await;
    until(|| {
        hops.hand_over(stalled.address, sized_frame(0, 33_133));
        handed_over += 1;
        value(&counters.next_hop_queue_full) > 0
    })
    .await;

    hops.hand_over(healthy.address, frame(0));
    let mut stream = healthy.accept().await;
    assert_eq!(read_packet(&mut stream).await, 0);
    for number in 1..100 {
        hops.hand_over(healthy.address, frame(number));
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
    hops.hand_over(healthy.address, frame(100));
    assert_eq!(read_packet(&mut stream).await, 100);
    let ended = soon(never_read.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_err(), "the kernel went on holding packets for the stalled node");
}

#[tokio::test]
async fn the_table_is_bounded_and_idle_hops_make_room() {
    let (a, b, c) = (Node::new().await, Node::new().await, Node::new().await);
    let (mut hops, counters) = hops(EgressConfig { max_next_hops: 2, ..config() });
    // No task runs before the first await, so neither of the two is idle.
    hops.hand_over(a.address, frame(0));
    hops.hand_over(b.address, frame(0));
    hops.hand_over(c.address, frame(0));
    assert_eq!(value(&counters.too_many_next_hops), 1);

    let (mut stream_a, mut stream_b) = (a.accept().await, b.accept().await);
    assert_eq!(read_packet(&mut stream_a).await, 0);
    assert_eq!(read_packet(&mut stream_b).await, 0);
    until(|| hops.hops.values().all(|entry| entry.dispensable() == Some(Standing::Idle))).await;

    // Again none is idle, although no task has seen its packet yet.
    hops.hand_over(b.address, frame(1));
    hops.hand_over(a.address, frame(1));
    hops.hand_over(c.address, frame(1));
    assert_eq!(value(&counters.too_many_next_hops), 2);
    assert_eq!(read_packet(&mut stream_a).await, 1);
    assert_eq!(read_packet(&mut stream_b).await, 1);
    until(|| hops.hops.values().all(|entry| entry.dispensable() == Some(Standing::Idle))).await;

    hops.hand_over(c.address, frame(1));
    assert_eq!(read_packet(&mut c.accept().await).await, 1);
    assert!(has_ended(&mut stream_b).await, "the one not used for longest makes room");
    hops.hand_over(a.address, frame(2));
    assert_eq!(read_packet(&mut stream_a).await, 2);
    assert_eq!(value(&counters.too_many_next_hops), 2);
    assert_eq!(accounted(&counters), 8);
}

#[tokio::test]
async fn unreachable_hops_make_room_before_idle_ones() {
    let (idle, newcomer) = (Node::new().await, Node::new().await);
    let (_socket, unreachable) = deaf_socket();
    let (mut hops, counters) =
        hops(EgressConfig { max_next_hops: 2, initial_backoff: HOUR, maximum_backoff: HOUR, ..config() });
    hops.hand_over(idle.address, frame(0));
    let mut stream = idle.accept().await;
    assert_eq!(read_packet(&mut stream).await, 0);
    for number in 0..3 {
        hops.hand_over(unreachable, frame(number));
    }
    until(|| value(&counters.connects_failed) == 1).await;

    hops.hand_over(newcomer.address, frame(0));
    assert_eq!(read_packet(&mut newcomer.accept().await).await, 0);
    until(|| value(&counters.next_hop_unreachable) == 3).await;
    hops.hand_over(idle.address, frame(1));
    assert_eq!(read_packet(&mut stream).await, 1);
}

#[tokio::test]
async fn bytes_in_all_are_bounded_and_unreachable_hops_make_room() {
    let node = Node::new().await;
    let (_socket, unreachable) = deaf_socket();
    let (mut hops, counters) =
        hops(EgressConfig { max_queued_bytes: 3 * 389, initial_backoff: HOUR, maximum_backoff: HOUR, ..config() });
    for number in 0..3 {
        hops.hand_over(unreachable, frame(number));
    }
    until(|| value(&counters.connects_failed) == 1).await;
    hops.hand_over(node.address, frame(0));
    assert_eq!(value(&counters.queued_bytes_full), 1);
    until(|| value(&counters.next_hop_unreachable) == 3).await;
    for number in 1..4 {
        hops.hand_over(node.address, frame(number));
    }
    let mut stream = node.accept().await;
    for number in 1..4 {
        assert_eq!(read_packet(&mut stream).await, number);
    }
    assert_eq!(value(&counters.queued_bytes_full), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_packet_is_accounted_for() {
    let (_socket, unreachable) = deaf_socket();
    let mut nodes = JoinSet::new();
    let mut addresses = vec![unreachable];
    // How many packets each node reads before it hangs up; the last one reads for ever.
    for patience in [0, 1, 7, 100, usize::MAX] {
        let node = Node::new().await;
        addresses.push(node.address);
        nodes.spawn(async move {
            loop {
                let (mut stream, _) = node.listener.accept().await.unwrap();
                for _ in 0..patience {
                    if stream.read_exact(&mut [0; 389]).await.is_err() {
                        break;
                    }
                }
            }
        });
    }
    let (mut hops, counters) = hops(EgressConfig {
        max_next_hops: 4,
        queue_packets: 16,
        max_queued_bytes: 40 * 389,
        idle_limit: Duration::from_millis(1),
        initial_backoff: Duration::from_millis(1),
        ..config()
    });
    let mut handed_over = 0;
    for round in 0..5_000 {
        for &address in addresses.iter().cycle().skip(round % 7).take(round % 11) {
            hops.hand_over(address, frame(0));
            handed_over += 1;
        }
        tokio::task::yield_now().await;
    }
    soon(hops.drain(Instant::now() + Duration::from_millis(200))).await;
    assert_eq!(accounted(&counters), handed_over, "{:?}", counters.snapshot());
    assert!(value(&counters.packets_sent) > 0);
}
